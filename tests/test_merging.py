"""Lines on which parts merge, against the discriminant of the discriminant and the spectra on both
sides.
"""

import jax
import numpy as np
import pytest
import sympy as sp
from problems import TWO

import rfspec as rf
from rfspec.algebraic import branch_points, elimination

MODEL = rf.RandomFeatureModel(1.0, 1.0, t=0.3)
SIDES = {
    "population_sample": ("population", "sample", 8.0),
    "sample_satellite": ("sample", "satellite", 8.0),
    "population_satellite": ("population", "satellite", 0.4),
}


@pytest.fixture(scope="module")
def lines():
    return rf.merging_lines(MODEL, psi_n=[0.4, 8.0], psi_p=(0.5, 1000.0))


def merged(model, first, second):
    return any({first, second} <= set(b.part.split("+")) for b in rf.spectrum(model).bulks)


@pytest.mark.parametrize("pair", SIDES)
def test_the_parts_are_apart_on_one_side_only(pair, lines):
    first, second, psi_n = SIDES[pair]
    line = getattr(lines, pair)
    column = [0.4, 8.0].index(psi_n)
    (psi_p,) = np.asarray(line.psi_p)[:, column][~np.isnan(np.asarray(line.psi_p)[:, column])]
    sides = [
        merged(rf.RandomFeatureModel(psi_p * f, psi_n, t=0.3), first, second)
        for f in (1 - 1e-4, 1 + 1e-4)
    ]
    assert sides[0] != sides[1]
    assert np.nanmax(line.error) < 1e-12


@pytest.mark.parametrize("pair", SIDES)
def test_lines_are_zeros_of_the_discriminant_of_the_discriminant(pair, lines):
    """The discriminant in t of R(t), itself the discriminant of the curve, changes sign there,
    exactly computed.
    """
    _, _, psi_n = SIDES[pair]
    column = [0.4, 8.0].index(psi_n)
    psi_p = float(np.nanmin(np.asarray(getattr(lines, pair).psi_p)[:, column]))
    numbers = elimination.model_numbers(rf.RandomFeatureModel(psi_p, psi_n, t=0.3), 25)

    def sign(factor):
        exact = elimination.rational(numbers)
        moved = exact._replace(psi_p=exact.psi_p * (1 + sp.Rational(factor, 10**11)))
        return sp.sign(sp.discriminant(branch_points.branch_polynomial(moved)[0]))

    assert sign(-1) * sign(1) == -1


def test_the_two_kinds_of_grid_agree(lines):
    psi_p = float(lines.sample_satellite.psi_p[0, 1])
    other = rf.merging_lines(MODEL, psi_p=[psi_p], psi_n=(1.01, 1000.0))
    assert np.any(np.abs(np.asarray(other.sample_satellite.psi_n) / 8.0 - 1) < 1e-11)


def test_closed_lines(lines):
    assert np.array_equal(lines.hard_edge[1], [1.4, 9.0])
    assert np.array_equal(lines.interpolation[1], [0.4, 8.0])
    psi_n, psi_p = lines.hard_edge
    for n, p in zip(np.asarray(psi_n), np.asarray(psi_p), strict=True):
        spectrum = rf.spectrum(rf.RandomFeatureModel(p, n, t=0.3))
        assert float(spectrum.edges[0]) == float(spectrum.atom.location)
        assert float(spectrum.atom.mass) == 0.0


@pytest.mark.slow
def test_slopes_in_t_and_in_a_variance():
    def place(t, variance):
        model = rf.RandomFeatureModel(1.0, 1.0, t=t, covariance=rf.Isotropic(variance))
        return rf.merging_lines(
            model, psi_n=[8.0], psi_p=(20.0, 200.0), search=8
        ).sample_satellite.psi_p[0, 0]

    in_time, in_variance = jax.grad(place, argnums=(0, 1))(0.3, 0.7)
    h = 1e-5
    assert float(in_time) == pytest.approx(
        float(place(0.3 + h, 0.7) - place(0.3 - h, 0.7)) / (2 * h), rel=1e-6
    )
    assert float(in_variance) == pytest.approx(
        float(place(0.3, 0.7 + h) - place(0.3, 0.7 - h)) / (2 * h), rel=1e-6
    )


def test_no_crossing_is_an_empty_line():
    lines = rf.merging_lines(
        rf.RandomFeatureModel(1.0, 1.0, t=0.01, covariance=TWO), psi_n=[8.0], psi_p=(60.0, 70.0)
    )
    assert lines.population_sample.psi_p.shape == (0, 1)
