"""The six constants: reference values, and three independent routes that must agree."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import REFERENCE, ZOO, model_of
from scipy import integrate

import rfspec as rf
from rfspec.gaussian_equivalent import EPS, _double_integrals, _hermite_sum, _log_correlation

NAMES = ("mu1", "kappa2", "b2", "v2", "s2")
pytestmark = pytest.mark.filterwarnings("ignore::rfspec.SaturationWarning")  # small and large Γ² are meant


@pytest.mark.parametrize("reference", REFERENCE, ids=lambda r: r["name"])
def test_reference(reference):
    ge = rf.gaussian_equivalent(model_of(reference))
    for name in NAMES:
        assert float(getattr(ge, name)) == pytest.approx(float(reference["constants"][name]), rel=1e-12), name
    assert float(ge.mu0) == pytest.approx(float(reference["constants"]["mu0"]), abs=1e-15)


@pytest.mark.parametrize("t", [1e-4, 1e-2, 0.3, 1.0, 5.0])
@pytest.mark.parametrize("name", ["erf", "sin", "relu"])
def test_closed_forms_agree_with_double_integrals(name, t):
    closed = rf.RandomFeatureModel(1.0, 1.0, t, activation=name)
    kinks = (0.0,) if name == "relu" else ()
    same = rf.Activation(closed.activation.function, name="anonymous", kinks=kinks)
    mu0, mu1, v2, s2, error, *_ = jax.jit(_double_integrals)(same, _variances(closed))
    ge = rf.gaussian_equivalent(closed)
    for ours, theirs in ((mu1, ge.mu1), (v2, ge.v2), (s2, ge.s2)):
        assert float(ours) == pytest.approx(float(theirs), rel=1e-12)
    assert float(mu0) == pytest.approx(float(ge.mu0), abs=1e-14)
    assert float(error) < 1e-6


@pytest.mark.parametrize("t", [1e-4, 1e-2, 1.0, 5.0])
@pytest.mark.parametrize("name", ["erf", "sin"])
def test_hermite_sum_agrees_with_closed_forms(name, t):
    model = rf.RandomFeatureModel(1.0, 1.0, t, activation=name)
    _, mu1, v2, s2, error, *_ = _hermite_sum(model.activation, *_variances(model))
    ge = rf.gaussian_equivalent(model)
    assert float(error) < 1e-13
    assert np.allclose([mu1, v2, s2], [ge.mu1, ge.v2, ge.s2], rtol=1e-12, atol=0)


def _variances(model):
    return jnp.stack([model.process.alpha**2 * model.covariance.trace, model.process.beta2])


def test_logarithm_of_the_correlation_is_exact_to_rounding():
    rest = np.concatenate([np.geomspace(1e-20, 0.5, 4001), np.linspace(0.3, 0.5, 4001)])
    exact = np.log1p(-rest.astype(np.longdouble))
    assert np.abs(np.asarray(jax.jit(_log_correlation)(1.0 - rest, rest)) / exact - 1.0).max() < 2 * EPS


@pytest.mark.parametrize("variance", [0.04, 9.0, 100.0])
@pytest.mark.parametrize("t", [1e-4, 0.05, 2.0])
def test_error_estimate_covers_the_difference_between_routes(variance, t):
    model = rf.RandomFeatureModel(1.0, 1.0, t, activation="erf", covariance=rf.Isotropic(variance))
    exact = rf.gaussian_equivalent(model)
    anonymous = rf.Activation(model.activation.function, name="anonymous", kinks=())
    general = rf.gaussian_equivalent(
        rf.RandomFeatureModel(1.0, 1.0, t, activation=anonymous, covariance=rf.Isotropic(variance))
    )
    for name in NAMES:
        a, b = float(getattr(exact, name)), float(getattr(general, name))
        assert abs(a - b) <= float(general.error + exact.error) * abs(a), name
    assert float(general.error) < 1e-10


def test_averages_of_the_paper_at_moderate_t():
    """The definitions as differences of averages, by an unrelated adaptive quadrature."""
    model = rf.RandomFeatureModel(1.0, 1.0, 0.5)
    alpha, beta = float(model.process.alpha), float(model.process.beta)
    gauss = lambda f: integrate.quad(lambda z: f(z) * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi), -9, 9)[0]
    g = lambda u: gauss(lambda w: np.tanh(alpha * u + beta * w))
    mu1 = gauss(lambda z: 1 - np.tanh(z) ** 2)
    kappa2, b2 = alpha**2 * mu1**2, beta**2 * mu1**2
    v2 = gauss(lambda u: g(u) ** 2) - kappa2
    s2 = gauss(lambda z: np.tanh(z) ** 2) - kappa2 - v2 - b2
    ge = rf.gaussian_equivalent(model)
    assert np.allclose([ge.mu1, ge.kappa2, ge.b2, ge.v2, ge.s2], [mu1, kappa2, b2, v2, s2], rtol=1e-8)


@pytest.mark.parametrize("problem", ZOO, ids=lambda p: p.name)
def test_constants_add_up_to_the_variance_of_the_feature(problem):
    """κ²σ_x² + v² + b² + s² = Var σ(Γz)."""
    model = problem.model
    ge = rf.gaussian_equivalent(model)
    gamma = float(np.sqrt(model.gamma2))
    z = np.linspace(-12, 12, 400001)
    y = np.asarray(model.activation(gamma * z))
    weight = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi) * (z[1] - z[0])
    variance = np.sum(weight * (y - np.sum(weight * y)) ** 2)
    total = ge.kappa2 * model.covariance.trace + ge.v2 + ge.b2 + ge.s2
    assert float(total) == pytest.approx(variance, rel=1e-9)


def test_kinks_are_found():
    assert rf.Activation(lambda x: jnp.maximum(x, 0.0)).kinks == (0.0,)
    assert rf.Activation(lambda x: jnp.clip(x, -1.0, 1.0)).kinks == pytest.approx((-1.0, 1.0), abs=1e-8)
    assert rf.Activation(lambda x: jnp.tanh(3 * x)).kinks == ()


def test_a_callable_relu_is_the_named_one():
    named = rf.gaussian_equivalent(rf.RandomFeatureModel(4.0, 2.0, 1e-4, activation="relu"))
    own = rf.gaussian_equivalent(rf.RandomFeatureModel(4.0, 2.0, 1e-4, activation=lambda x: jnp.maximum(x, 0.0)))
    for name in ("mu0", *NAMES):
        assert float(getattr(own, name)) == pytest.approx(float(getattr(named, name)), rel=1e-12)


@pytest.mark.parametrize("name", ["tanh", "relu", "gelu"])
def test_derivative_in_t(name):
    f = lambda t: rf.gaussian_equivalent(rf.RandomFeatureModel(1.0, 1.0, t, activation=name)).s2
    h = 1e-5
    assert float(jax.grad(f)(0.1)) == pytest.approx(float(f(0.1 + h) - f(0.1 - h)) / (2 * h), rel=1e-7)


def test_vmap_is_the_loop():
    f = lambda t: rf.gaussian_equivalent(rf.RandomFeatureModel(1.0, 1.0, t)).v2
    ts = [1e-3, 0.1, 2.0]
    assert np.allclose(jax.vmap(f)(jnp.array(ts)), [f(t) for t in ts], rtol=1e-13)
