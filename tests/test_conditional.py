"""Losses for given weights, expected over the data: against eigenvalues, sampled matrices and
sampled features with the same weights, Monte Carlo moments, rows, and the theory as d grows.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rfspec as rf
from rfspec.empirical.conditional_moments import moments_of
from rfspec.empirical.draws import Draw, Sampling, drawn
from rfspec.empirical.enclosing import enclosing
from rfspec.empirical.features import matrices_of
from rfspec.numerics.session import enter

SIGMA = rf.Atoms([0.4, 1.6], [0.5, 0.5])
TAU = np.array([1.0, 10.0, 100.0, 1e3, 1e5])


def model_of(psi_p=4.0, psi_n=3.0, t=0.1, **kwargs):
    return rf.RandomFeatureModel(psi_p, psi_n, t, **{"covariance": SIGMA} | kwargs)


def curves_of_draws(model, d, kind, count):
    """Losses [draw, 2, time] of sampled matrices with the weights of key 0 and their own data."""
    enter()
    first = drawn(jax.random.key(0), model, Sampling(d, kind))
    rng, curves = np.random.default_rng(7), []
    for _ in range(count):
        X = np.asarray(first.spread)[:, None] * rng.normal(size=first.X.shape)
        omega = None if first.Omega is None else jnp.asarray(rng.normal(size=first.Omega.shape))
        draw = Draw(first.W, jnp.asarray(X), None, omega, first.spread, first.noise)
        curve = rf.empirical.gradient_flow(matrices_of(model, draw), TAU)
        curves.append([curve.train, curve.test])
    return np.array(curves)


def means(curves):
    return curves.mean(axis=0), curves.std(axis=0, ddof=1) / np.sqrt(len(curves))


def both(curve):
    return np.array([curve.train, curve.test])


def random_moments(p=30, d=4, smallest=1e-3):
    rng = np.random.default_rng(3)
    spread = np.geomspace(1.0, 0.01, p)
    C = (rng.normal(size=(p, p)) * spread) @ rng.normal(size=(p, p))
    C = C @ C.T / p
    noise = rng.normal(size=(p, d))
    return C, C + noise @ noise.T + smallest * np.eye(p), 0.3 * noise / np.sqrt(p)


# --------------------------------------------------------------------------------------------------
# the contour, and limits


@pytest.mark.parametrize("ratio", [10.0, 1e4, 1e8])
def test_the_contour_gives_functions_of_every_eigenvalue(ratio):
    """Of 1 and of 1/z, for an interval as wide as 1e8."""
    path = enclosing(1.0, ratio, np.inf, 140)
    values = np.geomspace(1.0, ratio, 77)
    for f in (lambda z: 1.0 + 0.0 * z, lambda z: 1.0 / z):
        sums = 2.0 * ((path.weights * f(path.nodes)) @ (1 / (values - path.nodes[:, None]))).real
        np.testing.assert_allclose(sums, f(values), rtol=1e-9)


@pytest.mark.parametrize("decay", [0.0, 0.05])
def test_infinitely_many_samples_leave_the_modes_of_the_expectation(decay):
    """U is Ũ, and both losses are sums over its eigenvalues."""
    C, U, V = random_moments()
    tau = np.array([0.0, 0.1, 3.0, 1e3, np.inf])
    curve = rf.empirical.conditional_curve_of(C, U, V, 1e15, tau, decay=decay, tolerance=1e-9)
    values, Q = np.linalg.eigh(U)
    power = np.sum((Q.T @ V) ** 2, axis=1) / V.shape[1]
    h = -np.expm1(-np.multiply.outer(tau, values + decay)) / (values + decay)
    exact = 1.0 - (2 * h - values * h**2) @ power
    assert np.all(np.abs(both(curve) - exact) <= np.asarray(curve.error) + 1e-12)
    np.testing.assert_allclose(both(curve), np.array([exact, exact]), rtol=1e-7)


def test_claimed_errors_cover_what_more_nodes_change():
    C, U, V = random_moments()
    tau = np.array([0.3, 10.0, 1e4, np.inf])
    fine = rf.empirical.conditional_curve_of(C, U, V, 20, tau, tolerance=1e-10)
    for tolerance in (1e-2, 1e-4, 1e-6):
        rough = rf.empirical.conditional_curve_of(C, U, V, 20, tau, tolerance=tolerance)
        assert np.all(np.abs(rough.test - fine.test) <= rough.error)
        assert np.all(np.abs(rough.train - fine.train) <= rough.train_error)
        assert np.all(np.asarray(rough.error) < 30 * tolerance * (1 + np.abs(fine.test)))


@pytest.mark.slow
def test_a_singular_part_of_the_noise_is_no_obstacle():
    """H of rank d alone, at finite times and at the end, where 1e12 is as good as infinity."""
    C, U, V = random_moments(smallest=0.0)
    curve = rf.empirical.conditional_curve_of(C, U, V, 100, [1.0, 1e3, 1e12, np.inf])
    assert np.all(np.isfinite(both(curve)))
    np.testing.assert_allclose(curve.test[2], curve.test[3], rtol=1e-5)


def test_before_training_and_the_shape_of_times():
    model = model_of()
    tau = np.array([[0.0, np.inf], [10.0, 0.0]])
    curve = rf.empirical.conditional_curve(0, model, tau, 8)
    alone = [rf.empirical.conditional_curve(0, model, x, 8) for x in (np.inf, 10.0)]
    assert curve.test.shape == tau.shape
    assert float(curve.train[0, 0]) == float(curve.test[1, 1]) == 1.0
    np.testing.assert_allclose(curve.test[0, 1], alone[0].test, rtol=1e-5)
    np.testing.assert_allclose(curve.test[1, 0], alone[1].test, rtol=1e-5)
    assert np.all(np.asarray(curve.gap)[tau > 0] > 0)


# --------------------------------------------------------------------------------------------------
# against sampled matrices, and the theory


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"target": "velocity", "weight_decay": 1e-2},
        pytest.param({"target": "data"}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_gaussian_equivalent_against_sampled_matrices_and_the_theory(kwargs):
    """Of every kind of target, with the same weights; and the limit is approached."""
    model = model_of(**kwargs)
    curve = rf.empirical.conditional_curve(0, model, TAU, 16, kind="gaussian")
    mean, error = means(curves_of_draws(model, 16, "gaussian", 60))
    # the next order is a share 1/n² of the losses
    assert np.all(np.abs(both(curve) - mean) <= 3.5 * error + 1e-3 * mean)
    theory = both(rf.learning_curve(model, TAU))
    wide = rf.empirical.conditional_curve(0, model, TAU, 64, kind="gaussian")
    off = [np.max(np.abs(both(c) / theory - 1.0)) for c in (curve, wide)]
    assert off[1] < off[0]
    assert off[1] < 0.01


@pytest.mark.parametrize(("target", "share"), [("noise", 0.005), ("data", 0.02)])
def test_features_against_samples_with_the_same_weights(target, share):
    """Up to what differs between samples beyond g: Cov(φ|x) and E[φξᵀ|x] by 1/n = 0.4 %, and |x|²,
    which y = x sees, by 1/d = 4 %.
    """
    model = model_of(psi_n=10.0, target=target)
    mean, error = means(curves_of_draws(model, 24, "features", 20))
    curve = rf.empirical.conditional_curve(0, model, TAU, 24)
    off = np.abs(both(curve) - mean)
    assert np.all(off <= 3 * error + share * mean)
    # the first degree alone is further away
    theory = np.abs(both(rf.learning_curve(model, TAU)) - mean)
    assert np.max(theory[1]) > 1.5 * np.max(off[1])


@pytest.mark.slow
def test_kinked_features_against_samples_with_the_same_weights():
    model = model_of(psi_p=4.0, psi_n=10.0, t=0.01, activation="relu")
    mean, error = means(curves_of_draws(model, 24, "features", 8))
    curve = rf.empirical.conditional_curve(0, model, TAU, 24)
    off = np.abs(both(curve) - mean)
    assert np.all(off <= 3 * error + 0.03 * mean)
    assert np.all(off[:, :3] <= 3 * error[:, :3] + 1e-3 * mean[:, :3])


@pytest.mark.parametrize(("activation", "t"), [("tanh", 0.1), ("relu", 0.02)])
def test_moments_of_features_against_drawn_data_and_noise(activation, t):
    """Every entry of C and Ũ, and their traces."""
    model = model_of(t=t, activation=activation)
    enter()
    draw = drawn(jax.random.key(0), model, Sampling(6))
    moments, error = moments_of(model, draw)
    rng, samples = np.random.default_rng(1), 40_000
    X = rng.normal(size=(samples, 6)) * np.asarray(draw.spread)
    alpha, beta = float(model.process.alpha), float(model.process.beta)
    W, mu0 = np.asarray(draw.W), float(rf.gaussian_equivalent(model).mu0)
    noise = [rng.normal(size=X.shape) for _ in range(2)]
    sigma = {"tanh": np.tanh, "relu": lambda x: np.maximum(x, 0.0)}[activation]
    first, second = (sigma((alpha * X + beta * xi) @ W.T / np.sqrt(6)) - mu0 for xi in noise)
    for matrix, other in ((moments.U, first), (moments.C, second)):
        mean = first.T @ other / samples
        error = np.sqrt((first**2).T @ other**2 / samples - mean**2) / np.sqrt(samples)
        assert np.all(np.abs(np.asarray(matrix) - mean) < 5 * error)
        of_trace = np.std(np.mean(first * other, axis=1)) / np.sqrt(samples)
        assert abs(np.mean(np.diagonal(matrix)) - np.mean(np.diagonal(mean))) < 4 * of_trace
    V = first.T @ noise[0] / samples
    assert np.all(np.abs(np.asarray(moments.fixed) - V) < 5 / np.sqrt(samples))


def test_draws_of_the_weights_are_averaged():
    model = model_of()
    one = [rf.empirical.conditional_curve(k, model, TAU, 8) for k in jax.random.split(
        jax.random.key(5), 2)]  # fmt: skip
    mean = rf.empirical.conditional_curve(5, model, TAU, 8, repeats=2)
    np.testing.assert_allclose(mean.test, (one[0].test + one[1].test) / 2)
    np.testing.assert_allclose(
        mean.standard_error.test, np.abs(one[0].test - one[1].test) / 2, rtol=1e-6
    )
    np.testing.assert_allclose(mean.score_error, np.mean([c.score_error for c in one], axis=0))


# --------------------------------------------------------------------------------------------------
# rows


def rows_of(model, d, count, seed=2):
    spread = np.repeat(np.sqrt(np.asarray(model.covariance.values)), d // 2)
    return np.random.default_rng(seed).normal(size=(count, d)) * spread


def test_all_rows_have_their_own_train_loss():
    """At n = S that of a sample of just these rows."""
    model, d = model_of(), 12
    X = rows_of(model, d, 36)
    curve = rf.empirical.conditional_curve(0, model, TAU, data=X, groups=0)
    W = drawn(jax.random.key(0), model, Sampling(d)).W
    draw = Draw(W, jnp.asarray(X.T), None, None, jnp.ones(d), jax.random.key(0))
    exact = rf.empirical.gradient_flow(matrices_of(model, draw), TAU)
    np.testing.assert_allclose(curve.train, exact.train, rtol=1e-5)


@pytest.mark.parametrize("share", [1, 4])
def test_rows_tell_the_losses_of_their_law(share):
    """Without any held out: from n rows, and from four times as many."""
    model, d = model_of(), 24
    X = rows_of(model, d, 72 * share)
    curve = rf.empirical.conditional_curve(0, model, TAU, data=X)
    known = rf.empirical.conditional_curve(0, model, TAU, d)
    error = np.array(curve.standard_error[:2])
    assert np.all(np.abs(both(curve) - both(known)) < 4 * error + 0.02 * both(known))
    assert np.all(error < 0.2)
    assert np.all(np.isnan(curve.score_error))


def test_any_features_with_rows_of_their_own():
    """Moments from S samples of Gaussian features, of which n train, against exact moments."""
    C, U, V = random_moments(p=60, smallest=1e-2)
    exact = rf.empirical.conditional_curve_of(C, U, V, 40, TAU)
    samples = np.random.default_rng(4).multivariate_normal(np.zeros(60), C, size=(8, 60))
    seen = []
    for rows in samples:
        C_S = rows.T @ rows / 60
        seen.append(
            both(rf.empirical.conditional_curve_of(C_S, U - C + C_S, V, 40, TAU, samples=60))
        )
    mean, error = means(np.array(seen))
    assert np.all(np.abs(mean - both(exact)) < 4 * error + 2e-3)


@pytest.mark.slow
def test_digits_covariance():
    """Losses at the end of training for the covariance of the digits, found by another program."""
    datasets = pytest.importorskip("sklearn.datasets")
    X = datasets.load_digits().data
    X = X - X.mean(axis=0)
    values = np.linalg.eigvalsh(X.T @ X)
    sigma = rf.Atoms(np.maximum(values / values.mean(), 0.0), np.full(64, 1 / 64))
    found = {("tanh", 0.01): 1.009, ("relu", 0.01): 0.981, ("relu", 0.1): 0.546,
             ("tanh", 0.1): 0.543}  # fmt: skip
    for (activation, t), test in found.items():
        model = rf.RandomFeatureModel(16.0, 1438 / 64, t, activation=activation, covariance=sigma)
        curve = rf.empirical.conditional_curve(0, model, np.inf, 64, tolerance=1e-4)
        # other weights were drawn there
        assert abs(float(curve.test) - test) < 0.006, (activation, t)


# --------------------------------------------------------------------------------------------------
# what is refused

FINITE = model_of(noise_draws=2)
CLASSES = model_of(covariance=rf.Classes([0.5, 0.5], [[1.0], [2.0]]))
X = rows_of(model_of(), 8, 30)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f: f(0, FINITE, 1.0, 8), "noise_draws must be inf .* got 2"),
        (lambda f: f(0, CLASSES, 1.0, 8), "covariance must be that of data of one class"),
        (lambda f: f(0, model_of(), -1.0, 8), "tau must be real numbers of at least 0"),
        (lambda f: f(0, model_of(), 1.0, 0), "d must be an integer of at least 1, got 0"),
        (lambda f: f(0, model_of(), 1.0, 8, kind="other"), "kind must be one of"),
        (lambda f: f(0, model_of(), 1.0, 8, rows="other"), "rows must be one of"),
        (lambda f: f(0, model_of(), 1.0, 8, repeats=0), "repeats must be an integer"),
        (lambda f: f(0, model_of(), 1.0, 8, groups=1), "groups must be an integer of at least 2"),
        (lambda f: f(0, model_of(), 1.0, 8, tolerance=0.1), "tolerance must be between"),
        (lambda f: f("0", model_of(), 1.0, 8), "key must be"),
        (lambda f: f(0, model_of(), 1.0, data=X[:20]), "data must have at least n = .* got 20"),
        (lambda f: f(0, model_of(), 1.0, 9, data=X), "d must be the number of columns of data"),
        (lambda f: f(0, model_of(), 1.0, data=X, kind="gaussian"), "data goes with"),
        (lambda f: f(0, model_of(), 1.0, data=X, groups=31), "groups must be at most"),
        (lambda f: f(0, model_of(target="data"), 1.0, data=X), 'target must be "noise" or "score"'),
    ],
)
def test_what_a_model_may_not_be(call, message, given_anything):
    with pytest.raises(ValueError, match=message):
        call(rf.empirical.conditional_curve)


GOOD = {"C": np.eye(2), "U": 2 * np.eye(2), "V": np.ones((2, 1)), "n": 5, "tau": 1.0}


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"C": np.eye(3)}, r"C must have shape \(2, 2\), V's rows, got \(3, 3\)"),
        ({"C": [1.0]}, r"C must be a matrix, got shape \(1,\)"),
        ({"U": [[1.0, 0.5], [0.0, 1.0]]}, "U must be symmetric"),
        ({"U": 0.5 * np.eye(2)}, "U - C must have no negative eigenvalue, got one of -0.5"),
        ({"C": -np.eye(2)}, "C must have no negative eigenvalue, got one of -1"),
        ({"V": [[np.nan], [1.0]]}, "V must be a finite real matrix, got nan"),
        ({"n": 0}, "n must be a finite real number greater than 0"),
        ({"tau": [np.nan]}, "tau must be real numbers of at least 0"),
        ({"signal": np.ones((2, 2))}, r"signal must have V's shape \(2, 1\), got \(2, 2\)"),
        ({"power": -1.0}, "power must be a finite real number of at least 0"),
        ({"untrained": 0.0}, "untrained must be a finite real number greater than 0"),
        ({"time_unit": 0.0}, "time_unit must be a finite real number greater than 0"),
        ({"decay": -1.0}, "decay must be a finite real number of at least 0"),
        ({"samples": 4}, "samples must be a number of at least n = 5, or inf, got 4"),
        ({"samples": 9, "signal": np.ones((2, 1))}, "samples must be inf where there is a signal"),
        ({"tolerance": 1e-15}, "tolerance must be between 1e-11 and 0.01, got 1e-15"),
    ],
)
def test_what_moments_may_not_be(bad, message, given_anything):
    with pytest.raises(ValueError, match=message):
        rf.empirical.conditional_curve_of(**GOOD | bad)
