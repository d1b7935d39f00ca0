"""The six constants: reference values, independent routes that must agree,
and claimed errors that hold.
"""

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
import true_constants
from problems import REFERENCE, ZOO, model_of
from scipy import integrate

import rfspec as rf
from rfspec.models.gaussian_averages import double_integrals, hermite_sum, log_correlation
from rfspec.numerics.quadrature import trapezoid
from rfspec.numerics.rounding import EPS

NAMES = ("mu1", "kappa2", "b2", "v2", "s2")
# small and large Γ² are meant
pytestmark = pytest.mark.filterwarnings("ignore::rfspec.SaturationWarning")


@pytest.mark.parametrize("reference", REFERENCE, ids=lambda r: r["name"])
def test_reference(reference):
    ge = rf.gaussian_equivalent(model_of(reference))
    for name in NAMES:
        assert float(getattr(ge, name)) == pytest.approx(
            float(reference["constants"][name]), rel=1e-12
        ), name
    assert float(ge.mu0) == pytest.approx(float(reference["constants"]["mu0"]), abs=1e-15)


@pytest.mark.parametrize("t", [1e-4, 1e-2, 0.3, 1.0, 5.0])
@pytest.mark.parametrize("name", ["erf", "sin", "relu"])
def test_closed_forms_agree_with_double_integrals(name, t):
    closed = rf.RandomFeatureModel(1.0, 1.0, t, activation=name)
    kinks = (0.0,) if name == "relu" else ()
    same = rf.Activation(closed.activation.function, name="anonymous", kinks=kinks)
    mu0, mu1, v2, s2, error, *_ = jax.jit(double_integrals)(same, _variances(closed))
    ge = rf.gaussian_equivalent(closed)
    for ours, theirs in ((mu1, ge.mu1), (v2, ge.v2), (s2, ge.s2)):
        assert float(ours) == pytest.approx(float(theirs), rel=1e-12)
    assert float(mu0) == pytest.approx(float(ge.mu0), abs=1e-14)
    assert float(error) < 1e-6


@pytest.mark.parametrize("t", [1e-4, 1e-2, 1.0, 5.0])
@pytest.mark.parametrize("name", ["erf", "sin"])
def test_hermite_sum_agrees_with_closed_forms(name, t):
    model = rf.RandomFeatureModel(1.0, 1.0, t, activation=name)
    values = model.activation(jnp.sqrt(sum(_variances(model))) * trapezoid()[0])
    _, mu1, v2, s2, error, *_ = hermite_sum(values, *_variances(model))
    ge = rf.gaussian_equivalent(model)
    assert float(error) < 1e-13
    assert np.allclose([mu1, v2, s2], [ge.mu1, ge.v2, ge.s2], rtol=1e-12, atol=0)


def _variances(model):
    return jnp.stack([model.process.alpha**2 * model.covariance.trace, model.process.beta2])


def test_logarithm_of_the_correlation_is_exact_to_rounding():
    rest = np.concatenate([np.geomspace(1e-20, 0.5, 4001), np.linspace(0.3, 0.5, 4001)])
    exact = np.log1p(-rest.astype(np.longdouble))
    assert (
        np.abs(np.asarray(jax.jit(log_correlation)(1.0 - rest, rest)) / exact - 1.0).max() < 2 * EPS
    )


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
    gauss = lambda f: integrate.quad(
        lambda z: f(z) * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi), -9, 9
    )[0]
    g = lambda u: gauss(lambda w: np.tanh(alpha * u + beta * w))
    mu1 = gauss(lambda z: 1 - np.tanh(z) ** 2)
    kappa2, b2 = alpha**2 * mu1**2, beta**2 * mu1**2
    v2 = gauss(lambda u: g(u) ** 2) - kappa2
    s2 = gauss(lambda z: np.tanh(z) ** 2) - kappa2 - v2 - b2
    ge = rf.gaussian_equivalent(model)
    assert np.allclose(
        [ge.mu1, ge.kappa2, ge.b2, ge.v2, ge.s2], [mu1, kappa2, b2, v2, s2], rtol=1e-8
    )


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


def test_a_callable_relu_is_the_named_one():
    named = rf.gaussian_equivalent(rf.RandomFeatureModel(4.0, 2.0, 1e-4, activation="relu"))
    own = rf.gaussian_equivalent(
        rf.RandomFeatureModel(4.0, 2.0, 1e-4, activation=lambda x: jnp.maximum(x, 0.0))
    )
    for name in ("mu0", *NAMES):
        assert float(getattr(own, name)) == pytest.approx(float(getattr(named, name)), rel=1e-12)


@pytest.mark.parametrize("name", ["tanh", "relu", "gelu"])
def test_derivative_in_t(name):
    f = lambda t: rf.gaussian_equivalent(rf.RandomFeatureModel(1.0, 1.0, t, activation=name)).s2
    h = 1e-5
    assert float(jax.grad(f)(0.1)) == pytest.approx(
        float(f(0.1 + h) - f(0.1 - h)) / (2 * h), rel=1e-7
    )


def test_vmap_is_the_loop():
    f = lambda t: rf.gaussian_equivalent(rf.RandomFeatureModel(1.0, 1.0, t)).v2
    ts = [1e-3, 0.1, 2.0]
    assert np.allclose(jax.vmap(f)(jnp.array(ts)), [f(t) for t in ts], rtol=1e-13)


# ----------------------------------------------------------------- claimed errors against the truth


def judge(activation, t, variance, truth, claimed=1e-9):
    """The claim covers the distance from the true (μ0, Γμ1, v², s²),
    and is small unless a number is a difference.
    """
    model = rf.RandomFeatureModel(
        1.0, 1.0, t, activation=activation, covariance=rf.Isotropic(variance)
    )
    ge, (gamma2, _) = rf.gaussian_equivalent(model), true_constants.variances(t, variance)
    mu0, linear, v2, s2 = truth
    spread = mp.sqrt(linear**2 + v2 + s2)
    errors = {"mu0": abs(float(ge.mu0) - mu0) / mp.sqrt(mu0**2 + spread**2)}
    for name, found, true in (
        ("kappa2", ge.kappa2, mp.exp(-2 * mp.mpf(t)) * linear**2 / gamma2),
        ("b2", ge.b2, -mp.expm1(-2 * mp.mpf(t)) * linear**2 / gamma2),
        ("v2", ge.v2, v2),
        ("s2", ge.s2, s2),
    ):
        if float(found):  # 0 are what rounding hides, and numbers under the smallest double
            errors[name] = abs(float(found) / true - 1)
        else:
            assert true < mp.mpf("1e-290") or (
                name in ("kappa2", "b2") and abs(linear) < 1e-10 * spread
            ), name
    for name, error in errors.items():
        assert error <= float(ge.error), (name, float(error), float(ge.error))
    sizes = (mu0**2 + spread**2, v2), (mu0**2 + spread**2, s2), (spread, abs(linear))
    condition = max(size / number for size, number in sizes if number)
    assert float(ge.error) < claimed + 16 * EPS * condition


def log_uniform(rng, low, high):
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def place(rng, widest=50.0):
    """t, σ_x² and the true Γ² and c."""
    t, variance = log_uniform(rng, 1e-4, 5.0), log_uniform(rng, 0.05, widest)
    return (t, variance), true_constants.variances(t, variance)


JUMPS, BENDS, SLOPE = [(1 / 3, 1.0), (-0.7, 0.2)], [(1 / 3, 0.5), (-1.234567890123, -0.3)], 0.4


def jumping(x):
    return sum(a * jnp.sign(x - k) for k, a in JUMPS)


def bending(x):
    return SLOPE * x + sum(b * jnp.abs(x - k) for k, b in BENDS)


def sixth_power(x):
    return jnp.maximum(x, 0.0) ** 6


def growing(x):
    return jnp.maximum(x, 0.0) ** 3 * jnp.exp(x)


KNOWN = {
    "jumps": (jumping, 50.0, lambda *at: true_constants.piecewise(JUMPS, [], 0, *at)),
    "bends": (bending, 50.0, lambda *at: true_constants.piecewise([], BENDS, SLOPE, *at)),
    "even": (jnp.abs, 50.0, lambda *at: true_constants.piecewise([], [(0.0, 1.0)], 0, *at)),
    "sixth power": (sixth_power, 50.0, lambda *at: true_constants.power(6, 0, *at)),
    "growing": (growing, 3.0, lambda *at: true_constants.power(3, 1, *at)),
    "relu": ("relu", 1e4, lambda *at: true_constants.power(1, 0, *at)),
    "sin": ("sin", 3000.0, true_constants.sin),
    "erf": ("erf", 1e4, true_constants.erf),
}


@pytest.mark.parametrize("name", KNOWN)
def test_claimed_errors_cover_the_truth(name):
    activation, widest, truth = KNOWN[name]
    with mp.workdps(30):
        for seed in range(3):
            at, true = place(np.random.default_rng(seed), widest)
            judge(activation, *at, truth(*true))


def weak_linear_part(rng, degree=None):
    """A polynomial whose Γμ1 is from 1e-16 to 1e-2 of its size, or any."""
    degree = int(rng.integers(2, 12)) if degree is None else degree
    at, true = place(rng)
    coefficients = rng.normal(size=degree + 1) * 10.0 ** rng.uniform(-3, 0, size=degree + 1)
    slope = float(true_constants.polynomial(coefficients, *true)[1] / mp.sqrt(true[0]))
    coefficients[1] -= slope * (1 + 10.0 ** rng.uniform(-16, -2)) * (rng.random() < 0.7)
    return coefficients, at, true_constants.polynomial([float(a) for a in coefficients], *true)


@pytest.mark.parametrize("seed", [0, 1])
def test_polynomials_with_a_weak_linear_part(seed):
    rng = np.random.default_rng(seed)
    with mp.workdps(40):
        for _ in range(30):
            coefficients, at, truth = weak_linear_part(rng, 7)  # of one degree, for one compilation
            judge(rf.Polynomial(coefficients), *at, truth, claimed=np.inf)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_claimed_errors_of_random_activations(seed):
    rng = np.random.default_rng(seed)
    shift = lambda: float(rng.uniform(-2, 2))
    with mp.workdps(30):
        for _ in range(40):
            coefficients, at, truth = weak_linear_part(rng)
            judge(rf.Polynomial(coefficients), *at, truth, claimed=np.inf)
        for activation, widest, truth in KNOWN.values():
            for _ in range(10):
                at, true = place(rng, widest)
                judge(activation, *at, truth(*true))
        for _ in range(3):
            jumps = [(shift(), float(rng.normal())) for _ in range(rng.integers(1, 4))]
            f = lambda x: sum(a * jnp.sign(x - k) for k, a in jumps)
            at, true = place(rng)
            judge(f, *at, true_constants.piecewise(jumps, [], 0, *true))
            bends, slope = (
                [(shift(), float(rng.normal())) for _ in range(rng.integers(1, 4))],
                float(rng.normal()),
            )
            f = lambda x: slope * x + sum(b * jnp.abs(x - k) for k, b in bends)
            at, true = place(rng)
            judge(f, *at, true_constants.piecewise([], bends, slope, *true), claimed=1e-7)
            n = int(rng.integers(1, 7))
            at, true = place(rng)
            judge(lambda x: jnp.maximum(x, 0.0) ** n, *at, true_constants.power(n, 0, *true))
            for f, name in ((jnp.sin, "sin"), (jax.scipy.special.erf, "erf")):
                at, true = place(rng)
                judge(lambda x: f(x), *at, getattr(true_constants, name)(*true), claimed=1e-7)


def test_kinks_that_are_given_are_kept_to():
    """A bend too faint for the search, and for the differences between two steps of the Hermite
    sum.
    """
    k, faint = 1 / 3, 1e-4
    f = lambda x: 0.5 * x + faint * jnp.abs(x - k)
    with mp.workdps(30):
        true = true_constants.piecewise([], [(k, faint)], 0.5, *true_constants.variances(0.1, 1.0))
        judge(rf.Activation(f, kinks=(k,)), 0.1, 1.0, true)


@pytest.mark.slow
def test_kinks_denied_are_a_matter_of_the_claim():
    model = rf.RandomFeatureModel(1.0, 1.0, 0.1, activation=rf.Activation(jnp.abs, kinks=()))
    with mp.workdps(30):
        truth = true_constants.piecewise([], [(0.0, 1.0)], 0, *true_constants.variances(0.1, 1.0))
    ge = rf.gaussian_equivalent(model)
    assert abs(float(ge.s2) / float(truth[3]) - 1) < float(ge.error)
    assert abs(float(ge.v2) / float(truth[2]) - 1) < float(ge.error)


# -------------------------------------------------------------------------- derivatives and batches


def _own_erf(x):
    return jax.scipy.special.erf(x)


def _constants(activation):
    def f(p):
        model = rf.RandomFeatureModel(
            1.0, 1.0, p[0], activation=activation, covariance=rf.Isotropic(p[1])
        )
        ge = rf.gaussian_equivalent(model)
        return jnp.stack([ge.mu1, ge.kappa2, ge.v2, ge.s2])

    return f


SECOND = {
    "forward": lambda f: jax.jacfwd(jax.jacfwd(f)),
    "reverse": lambda f: jax.jacrev(jax.jacrev(f)),
    "Hessian": jax.hessian,
    "reverse of a loop": lambda f: jax.jacrev(
        jax.jacrev(lambda p: jax.lax.map(f, jnp.stack([p, p]))[1])
    ),
    "reverse, mapped": lambda f: (
        lambda p: jax.vmap(jax.jacrev(jax.jacrev(f)))(jnp.stack([2 * p, p]))[1]
    ),
}


@pytest.mark.parametrize(
    "mode",
    [
        pytest.param(m, marks=[] if m in ("Hessian", "reverse of a loop") else [pytest.mark.slow])
        for m in SECOND
    ],
)
def test_second_derivatives_of_the_integrals(mode):
    """Those of erf by double integrals, where Γ² = 6 is too large for the Hermite sum,
    beside the closed form's.
    """
    p = jnp.array([0.3, 9.0])
    ours, exact = (
        SECOND[mode](_constants(_own_erf))(p),
        jax.jacfwd(jax.jacfwd(_constants("erf")))(p),
    )
    assert np.allclose(ours, exact, rtol=1e-11, atol=1e-13)


def test_derivative_across_a_jump():
    p, h = np.array([0.2, 1.5]), 1e-8
    slope = jax.jacfwd(_constants(jumping))(jnp.array(p))[2:]
    with mp.workdps(30):
        f = lambda p: np.array(
            true_constants.piecewise(JUMPS, [], 0, *true_constants.variances(*p))[2:]
        )
        for i, step in enumerate(mp.mpf(h) * np.eye(2, dtype=int)):
            exact = (f(p + step) - f(p - step)) / (2 * mp.mpf(h))
            assert np.allclose(np.asarray(slope[:, i]), exact.astype(float), rtol=1e-11)


def test_memory_of_a_batch():
    """A model takes some kilobytes, with the gradient too,
    whatever it is that differs between models.
    """
    f = lambda t, v: (
        rf.gaussian_equivalent(rf.RandomFeatureModel(1.0, 1.0, t, covariance=rf.Isotropic(v))).s2
    )
    batch, models = jax.grad(lambda *p: jnp.sum(jax.vmap(f)(*p)), argnums=(0, 1)), 2048
    used = (
        jax.jit(batch).lower(*2 * [jnp.ones(models)]).compile().memory_analysis().temp_size_in_bytes
    )
    assert used < 64 * 1024 * models


def test_a_batch_of_which_some_need_integrals_is_the_loop():
    f = lambda v: (
        rf.gaussian_equivalent(rf.RandomFeatureModel(1.0, 1.0, 0.1, covariance=rf.Isotropic(v))).s2
    )
    variances = [0.5, 1.0, 9.0, 2.0, 30.0]
    assert np.allclose(jax.vmap(f)(jnp.array(variances)), [f(v) for v in variances], rtol=1e-13)
