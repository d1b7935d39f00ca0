"""Corners on purpose that need more than an entry of the zoo: no nonlinear part, hardly one,
or no linear one.
"""

import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest

import rfspec as rf

SHAPES = [(16.0, 4.0), (4.0, 16.0), (16.0, 0.5), (0.5, 4.0)]


def model_of(psi_p, psi_n, activation):
    return rf.RandomFeatureModel(psi_p, psi_n, t=0.1, activation=activation)


@pytest.mark.parametrize(("psi_p", "psi_n"), SHAPES)
def test_a_linear_activation(psi_p, psi_n):
    """U has rank min(p, d): no sample part, an atom at 0, and masses that count only W."""
    sp = rf.spectrum(model_of(psi_p, psi_n, lambda x: 2 * x + 1))
    ge = sp.equations.ge
    assert (float(ge.v2), float(ge.s2), float(sp.atom.location)) == (0.0, 0.0, 0.0)
    assert float(ge.error) < 1e-14
    assert float(sp.atom.mass) == max(0.0, 1.0 - 1.0 / psi_p)
    population, satellite = min(1.0, psi_n, psi_p), min(1.0, psi_p) - min(1.0, psi_n, psi_p)
    assert np.allclose(sp.parts.mass, np.array([population, 0.0, satellite]) / psi_p, atol=1e-15)
    assert [b.part for b in sp.bulks] == ["satellite"] * (satellite > 0) + ["population"]
    certificate = rf.certify(sp, activation=lambda x: 2 * x + 1)
    assert certificate.honest, certificate


@pytest.mark.parametrize(
    ("psi_p", "psi_n", "size"),
    [
        (16.0, 4.0, 1e-6),
        *(
            pytest.param(16.0, n, s, marks=pytest.mark.slow)
            for n in (4.0, 0.5)
            for s in (1e-3, 1e-10)
        ),
    ],
)
def test_a_nearly_linear_activation(psi_p, psi_n, size):
    """v² and s² fall as size², and their relative error is claimed as what cancellation leaves."""
    sp = rf.spectrum(model_of(psi_p, psi_n, lambda x: x + size * jnp.tanh(x)))
    certificate = rf.certify(sp, activation=lambda x: x + mp.mpf(size) * mp.tanh(x))
    assert certificate.honest, certificate
    assert float(sp.atom.mass) == 1.0 - (1.0 + psi_n) / psi_p
    assert float(sp.equations.ge.v2) == pytest.approx(1.384145e-2 * size**2, rel=2e-3)


@pytest.mark.parametrize(("psi_p", "psi_n"), SHAPES)
def test_an_activation_without_linear_part(psi_p, psi_n):
    """κ² = b² = 0: U - s² is v² times a Wishart matrix,
    whose Marchenko-Pastur edges are v²(1 ± √(ψ_p/ψ_n))².
    """
    sp = rf.spectrum(model_of(psi_p, psi_n, lambda x: x**2 - 1))
    ge, ratio = sp.equations.ge, psi_p / psi_n
    assert (float(ge.kappa2), float(ge.b2)) == (0.0, 0.0)
    assert float(sp.atom.mass) == max(0.0, 1.0 - psi_n / psi_p)
    edges = float(ge.s2) + float(ge.v2) * np.array(
        [(1 - np.sqrt(ratio)) ** 2, (1 + np.sqrt(ratio)) ** 2]
    )
    assert np.allclose(sp.edges, edges, rtol=1e-13)
    (bulk,) = sp.bulks
    assert bulk.part == "sample"
    assert float(bulk.loss_drop) == 0.0
    x = np.linspace(edges[0], edges[1], 7)[1:-1]
    zeta = (x - float(ge.s2)) / float(ge.v2)
    low, high = (edges - float(ge.s2)) / float(ge.v2)
    marchenko_pastur = (
        np.sqrt((high - zeta) * (zeta - low)) / (2 * np.pi * ratio * zeta) / float(ge.v2)
    )
    assert np.allclose(sp.density(x), marchenko_pastur, rtol=1e-12)


def test_two_atoms_closer_and_closer_become_one():
    """Splitting an eigenvalue by 1e-6 moves the edges by no more than that."""
    one = rf.spectrum(rf.RandomFeatureModel(32.0, 4.0, 0.05))
    two = rf.spectrum(
        rf.RandomFeatureModel(32.0, 4.0, 0.05, covariance=rf.Atoms([1.0, 1.0 + 1e-6], [0.5, 0.5]))
    )
    assert np.allclose(two.edges, one.edges, rtol=1e-6)
    assert not np.array_equal(two.edges, one.edges)


def test_the_hard_edge_is_approached_from_both_sides():
    """Around ψ_p = 1 + ψ_n the lowest edge closes in on s² as the square of the distance."""
    for sign in (1, -1):
        gaps = []
        for off in (1e-3, 1e-4):
            sp = rf.spectrum(rf.RandomFeatureModel(2.0 + sign * off, 1.0, 0.01))
            gaps.append(float(sp.support.lower[0]))
            assert float(sp.atom.mass) == pytest.approx(
                max(0.0, sign * off / 2), rel=1e-2, abs=1e-15
            )
        assert gaps[0] / gaps[1] == pytest.approx(100.0, rel=1e-2)
