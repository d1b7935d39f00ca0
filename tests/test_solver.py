"""The fixed point at given z: reference values, branch, symmetry, derivatives, statuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from continued import continued_from_above
from problems import REFERENCE, ZOO, model_of, sparing

import rfspec as rf
from rfspec.resolvent.equations import equations
from rfspec.resolvent.solver import STATUS

HALF_PLANE = np.array([0.3 + 1e-3j, -1 + 0.5j, 5 + 1e-6j, 30 + 2j, 1e-3 + 1e-4j])


@pytest.mark.parametrize("reference", REFERENCE, ids=lambda r: r["name"])
def test_reference(reference):
    model = model_of(reference)
    for z, q, delta in reference["resolvent"]:
        z, q, delta = (complex(float(re), float(im)) for re, im in (z, q, delta))
        solution = rf.solve(model, z)
        assert complex(solution.q) == pytest.approx(q, rel=1e-10)
        assert complex(solution.delta) == pytest.approx(delta, rel=1e-10)
        assert abs(complex(solution.q) / q - 1) <= 10 * float(solution.error)


@pytest.mark.parametrize("problem", sparing(ZOO, 2))
def test_physical_branch_and_the_papers_equations(problem):
    """All three equations of Theorem 3.1 as the paper prints them,
    which the package never evaluates.
    """
    model = problem.model
    ge = jax.tree.map(np.asarray, rf.gaussian_equivalent(model))
    sol = rf.solve(model, HALF_PLANE)
    assert np.all(sol.status == 0)
    assert np.all(sol.q.imag > 0)
    assert np.all(sol.delta.imag > 0)
    q, r, s = (np.asarray(x) for x in (sol.q, sol.r, sol.s))
    psi_p, psi_n = float(model.psi_p), float(model.psi_n)
    values, weights = model.covariance.values[:, None], model.covariance.weights[:, None]
    denominator = 1 + psi_p / psi_n * (ge.v2 * q + ge.kappa2 * r)  # 1 + δ
    s_hat, r_hat = psi_p * ge.b2 + 1 / q, psi_p * ge.kappa2 / denominator
    assert np.allclose(s, np.sum(weights / (s_hat + values * r_hat), axis=0), rtol=1e-10)
    assert np.allclose(r, np.sum(weights * values / (s_hat + values * r_hat), axis=0), rtol=1e-10)
    terms = psi_p * (ge.s2 - HALF_PLANE), psi_p * ge.v2 / denominator, (1 - psi_p) / q, -s / q**2
    assert np.all(np.abs(sum(terms)) < 1e-10 * sum(np.abs(t) for t in terms))


@pytest.mark.parametrize("problem", sparing(ZOO, 2))
def test_conjugate_symmetry(problem):
    up, down = rf.solve(problem.model, HALF_PLANE), rf.solve(problem.model, HALF_PLANE.conj())
    for name in ("q", "delta", "r", "s"):
        assert np.array_equal(getattr(up, name), np.conj(getattr(down, name)))


@pytest.mark.parametrize("problem", sparing(ZOO, 2))
def test_large_z(problem):
    """q = -1/z - m1/z² + O(z⁻³)."""
    from problems import closed_moments

    first, second = closed_moments(problem.model)
    z = 1e4j * np.sqrt(second)
    q = complex(rf.solve(problem.model, z).q)
    assert abs(q + 1 / z + first / z**2) < 2 * second / abs(z) ** 3


def test_shape_and_scalar():
    model = ZOO[0].model
    z = HALF_PLANE[:4].reshape(2, 2)
    solution = rf.solve(model, z)
    assert solution.q.shape == solution.residual.shape == solution.status.shape == (2, 2)
    assert rf.solve(model, 1 + 1j).q.shape == ()
    assert complex(solution.q[1, 0]) == pytest.approx(
        complex(rf.solve(model, z[1, 0]).q), rel=1e-13
    )


@pytest.mark.parametrize("problem", sparing(ZOO), ids=str)
def test_many_points_are_the_few(problem):
    """Neighbours start from one another, whatever their order; the truth comes from high above."""
    eq = equations(problem.model, rf.gaussian_equivalent(problem.model))
    far = float(eq.origin + eq.upper_bound)
    z = np.concatenate([np.geomspace(1e-6, 2.0, 500) * far, np.linspace(-1.0, 2.0, 100) * far + 0j])
    z = z + np.where(np.arange(600) % 3 == 0, 1e-3j, 0.0) * far
    z = np.concatenate([z[:500], np.random.default_rng(5).permutation(z[500:])])
    z[::50] = z[::50].conj()
    z[7], z[300] = np.nan, np.inf
    many = rf.solve(problem.model, z)
    known = np.isfinite(z) & (np.asarray(many.status) == 0)
    assert np.mean(known) > 0.95
    upper = np.where(known, np.where(z.imag < 0, z.conj(), z) - float(eq.origin), 1j * far)
    above = np.asarray(_from_high_above(eq, upper)[0])
    above = np.where(z.imag < 0, above.conj(), above)
    apart = np.abs(np.asarray(many.q) / above - 1)[known]
    assert np.all(apart <= 10 * np.asarray(many.error)[known] + 1e-12)


@jax.jit
def _from_high_above(eq, zeta):
    return jax.vmap(lambda z: continued_from_above(eq, z))(zeta)


def test_the_derivative_at_many_points():
    z = np.linspace(0.1, 40.0, 300) + 0.5j
    f = lambda p: rf.solve(rf.RandomFeatureModel(p, 8.0, 0.01), z).q.imag.sum()
    h = 1e-3
    assert float(jax.grad(f)(64.0)) == pytest.approx(
        float(f(64.0 + h) - f(64.0 - h)) / (2 * h), rel=1e-7
    )


def test_vmap_over_models_is_the_loop():
    f = lambda p: rf.solve(rf.RandomFeatureModel(p, 8.0, 0.01), jnp.asarray(HALF_PLANE)).q
    ps = [0.5, 9.0, 300.0]
    assert np.allclose(jax.vmap(f)(jnp.array(ps)), [f(p) for p in ps], rtol=1e-12)


def test_first_and_second_derivative():
    f = lambda p: rf.solve(rf.RandomFeatureModel(p, 8.0, 0.01), 20.0 + 0.5j).q.imag
    h = 1e-3
    assert float(jax.grad(f)(64.0)) == pytest.approx(
        float(f(64.0 + h) - f(64.0 - h)) / (2 * h), rel=1e-7
    )
    slope = jax.grad(f)
    assert float(jax.hessian(f)(64.0)) == pytest.approx(
        float(slope(64.0 + h) - slope(64.0 - h)) / (2 * h), rel=1e-6
    )


def test_statuses_stay_with_their_points():
    model = ZOO[0].model
    atom = float(rf.spectrum(model).atom.location)
    solution = rf.solve(model, np.array([1 + 1j, np.nan, atom, np.inf]))
    assert list(np.asarray(solution.status)) == [0, 1, 2, 1]
    assert STATUS[2] in solution.message
    assert np.isnan(complex(solution.q[1]))


def test_a_scalar_raises_its_status():
    with pytest.raises(rf.ConvergenceError, match="place of the atom"):
        rf.solve(ZOO[0].model, float(rf.spectrum(ZOO[0].model).atom.location))


def test_error_estimate_grows_towards_an_edge():
    model = ZOO[0].model
    edge = float(rf.spectrum(model).edges[-1])
    near, far = rf.solve(model, edge * (1 - 1e-11)), rf.solve(model, edge * 0.9)
    assert float(near.error) > 100 * float(far.error)
