"""The loss over all noise of the samples, and bias and variance of the score, against sampled
Gaussian features, limits, and each other.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import draw

import rfspec as rf
from rfspec.models.targets import combination
from rfspec.training.exact_score import score_unit

TAUS = [3.0, 100.0, 3000.0, np.inf]
SIGMA = rf.Atoms([0.5, 1.5], [0.5, 0.5])


def model_of(psi_p=2.0, psi_n=4.0, m=1, **known):
    return rf.RandomFeatureModel(
        psi_p, psi_n, 0.1, **{"noise_draws": m, "covariance": SIGMA, **known}
    )


class Sampled:
    """Gaussian features G = κFX + vΩ with noise bFZ + sH, trained by diagonalising U."""

    def __init__(self, model, d, seed):
        self.model, self.d, self.rng = model, d, np.random.default_rng(seed)
        ge, self.y = rf.gaussian_equivalent(model), combination(model.target, model.process)
        self.b, self.kappa, self.v, self.s = (
            float(a) ** 0.5 for a in (ge.b2, ge.kappa2, ge.v2, ge.s2)
        )
        self.n, self.p = round(model.psi_n * d), round(model.psi_p * d)
        counts = np.round(np.asarray(model.covariance.weights) * d).astype(int)
        self.lam = np.repeat(np.asarray(model.covariance.values), counts)
        self.F = self.rng.standard_normal((self.p, d)) / np.sqrt(d)
        self.signal = 0.0 if self.y.signal is None else float(self.y.signal)

    def sample(self):
        x = np.sqrt(self.lam)[:, None] * self.rng.standard_normal((self.d, self.n))
        return x, self.kappa * self.F @ x + self.v * self.rng.standard_normal((self.p, self.n))

    def moments(self, x, g):
        """U and V over all noise."""
        V = self.signal * g @ x.T / self.n + float(self.y.noise) * self.b * self.F
        noise = self.b**2 * self.F @ self.F.T + self.s**2 * np.eye(self.p)
        return g @ g.T / self.n + noise, V

    @property
    def population(self):
        """The same over fresh data."""
        V = self.signal * self.kappa * self.F * self.lam + float(self.y.noise) * self.b * self.F
        of_x = self.kappa**2 * (self.F * self.lam) @ self.F.T
        noise = self.b**2 * self.F @ self.F.T
        return of_x + noise + (self.v**2 + self.s**2) * np.eye(self.p), V

    def trained(self, x, g, taus=TAUS):
        """A of each time from new draws of the noise."""
        U, V = self.moments(x, g)
        if np.isfinite(self.model.noise_draws):
            m = int(self.model.noise_draws)
            xi = self.rng.standard_normal((self.d, self.n, m))
            h = self.b * np.einsum("pd,dnm->pnm", self.F, xi)
            h += self.s * self.rng.standard_normal(h.shape)
            phi = (g[:, :, None] + h).reshape(self.p, -1)
            y = (self.signal * x[:, :, None] + float(self.y.noise) * xi).reshape(self.d, -1)
            U, V = phi @ phi.T / (self.n * m), phi @ y.T / (self.n * m)
        values, vectors = np.linalg.eigh(U)
        some = values > 1e-12
        values = np.where(some, values, 1.0)
        each = []
        for tau in taus:
            c = 2 * float(self.y.pace) * tau / self.model.psi_p
            h = np.where(some, -np.expm1(-c * values) / values, c if np.isfinite(c) else 0.0)
            each.append((vectors * h) @ (vectors.T @ V))
        return each

    def loss(self, B, moments):
        U, V = moments
        y0 = self.signal**2 * self.lam.mean() + float(self.y.noise) ** 2
        return y0 + (-2 * np.sum(V * B) + np.sum(B * (U @ B))) / self.d

    def empirical(self):
        x, g = self.sample()
        return [self.loss(B, self.moments(x, g)) for B in self.trained(x, g)]

    def parts(self):
        """What two trainings share: slopes on the eigenspaces, W, the samples, all."""
        first, second = self.sample(), self.sample()
        U, _ = self.population
        shared = lambda a, b: np.sum(a * (U @ b)) / self.d
        slope = lambda B: self.b / float(self.model.process.beta) * np.sum(self.F * B, axis=0)
        of_each = lambda B: [slope(B)[self.lam == x].mean() for x in np.unique(self.lam)]
        runs = zip(self.trained(*first), self.trained(*first), self.trained(*second), strict=True)
        return [[shared(a, c), shared(a, b), shared(a, a), *of_each(a)] for a, b, c in runs]


def measured_parts(model, d, draws):
    """bias², variances of features, data and noise, and standard errors of the last three."""
    each = np.array([Sampled(model, d, seed).parts() for seed in range(draws)])
    mean, error = each.mean(axis=0), each.std(axis=0) / np.sqrt(draws)
    y, process = combination(model.target, model.process), model.process
    values, weights = (np.asarray(a) for a in (model.covariance.values, model.covariance.weights))
    A = process.alpha**2 * values + process.beta2
    signal = 0.0 if y.signal is None else float(y.signal)
    best = (signal * process.alpha * values + float(y.noise) * process.beta) / A
    first = (weights * A * mean[:, 3:] ** 2).sum(axis=1)
    bias = (weights * A * (mean[:, 3:] - best) ** 2).sum(axis=1)
    shared = np.stack([first, *mean[:, :3].T], axis=1)
    of_slopes = 2 * np.sum(weights * A * np.abs(mean[:, 3:] - best) * error[:, 3:], axis=1)
    of_first = 2 * np.sum(weights * A * np.abs(mean[:, 3:]) * error[:, 3:], axis=1)
    wide = np.stack([of_slopes, of_first + error[:, 0], error[:, 1], error[:, 2]], axis=1)
    unit = float(score_unit(model))
    return np.concatenate([bias[:, None], np.diff(shared, axis=1)], axis=1) / unit, wide / unit


@pytest.mark.parametrize(
    ("target", "ratios", "m", "d", "draws"),
    [
        ("noise", (2.0, 4.0), 1, 60, 6),
        pytest.param("velocity", (4.0, 3.0), 2, 40, 6, marks=pytest.mark.slow),
        *(
            pytest.param(target, (6.0, 2.0), m, d, 4, marks=pytest.mark.slow)
            for target in ("noise", "data")
            for m in (1, 4)
            for d in (100, 200)
        ),
    ],
)
def test_loss_over_all_noise_against_sampled_features(target, ratios, m, d, draws):
    """Within three standard errors and 1/d, at every time."""
    model = model_of(*ratios, m, target=target)
    theory = np.asarray(rf.learning_curve(model, TAUS).empirical)
    each = np.array([Sampled(model, d, seed).empirical() for seed in range(draws)])
    error = each.std(axis=0, ddof=1) / np.sqrt(draws)
    np.testing.assert_array_less(np.abs(each.mean(axis=0) - theory), 3 * error + theory / d)


@pytest.mark.parametrize(
    ("target", "ratios", "m", "d", "draws"),
    [
        ("noise", (2.0, 4.0), 1, 40, 12),
        *(
            pytest.param(target, ratios, m, d, 16, marks=pytest.mark.slow)
            for target in ("noise", "velocity")
            for ratios, m in (((4.0, 3.0), 2), ((6.0, 2.0), np.inf))
            for d in (50, 100)
        ),
    ],
)
def test_parts_of_the_score_error_against_sampled_features(target, ratios, m, d, draws):
    """Bias and the three variances, from trainings that share W, and the samples."""
    model = model_of(*ratios, m, target=target)
    parts = rf.learning_curve(model, TAUS).score_parts
    theory = np.stack([parts.bias2, parts.of_features, parts.of_data, parts.of_noise], axis=1)
    found, error = measured_parts(model, d, draws)
    total = np.sum(theory, axis=1, keepdims=True)
    np.testing.assert_array_less(np.abs(found - theory), 3 * error + total / d)


@pytest.mark.filterwarnings("ignore::rfspec.SaturationWarning")
@pytest.mark.parametrize(
    ("models", "atoms"), [(6, 2), pytest.param(60, None, marks=pytest.mark.slow)]
)
def test_parts_add_up(models, atoms):
    """To the score error, on random models; none is negative; and what is shared is 0 at τ = 0."""
    rng = np.random.default_rng(3)
    for _ in range(models):
        model = draw(rng, (1.0, 2.0, 5.0), atoms)
        curve = rf.learning_curve(model, [0.0, 1.0, 1e3, 1e5])
        parts = curve.score_parts
        unit = float(score_unit(model))
        size = 1.0 / unit + np.asarray(curve.score_error)
        off = np.asarray(parts.bias2 + parts.variance - curve.score_error)
        claimed = np.asarray(parts.error + curve.error / unit)
        np.testing.assert_array_less(np.abs(off), 4 * claimed + 1e-13 * size)
        for part in (parts.bias2, parts.of_features, parts.of_data, parts.of_noise):
            assert np.all(np.asarray(part) >= -np.asarray(parts.error) - 1e-13 * size)
        assert abs(float(parts.variance[0])) <= 1e-12 / unit


def test_many_draws_are_all_noise():
    """The loss over all noise tends to the train loss, and nothing varies with the draws."""
    limit = rf.learning_curve(model_of(m=np.inf), TAUS)
    many = rf.learning_curve(model_of(m=10**6), TAUS)
    np.testing.assert_array_equal(limit.empirical, limit.train)
    assert np.all(np.asarray(many.empirical_error) < 1e-10)
    np.testing.assert_allclose(many.empirical, limit.train, rtol=1e-4)
    assert np.all(np.asarray(limit.score_parts.of_noise) == 0)
    np.testing.assert_allclose(many.score_parts.of_data, limit.score_parts.of_data, rtol=1e-4)
    assert np.all(np.asarray(many.score_parts.of_noise) < 1e-3)


def test_as_many_features_as_columns():
    """At p = nm the loss over all noise and the variance from the draws end at infinity."""
    curve = rf.learning_curve(model_of(6.0, 3.0, 2), [np.inf])
    assert np.isinf(curve.empirical[0])
    assert np.isinf(curve.score_parts.of_noise[0])
    assert np.isinf(curve.score_parts.error[0])
    assert np.isfinite(curve.score_parts.bias2[0])


def test_much_data_and_many_features_vary_little():
    """Of many features none matters, and of many samples none does."""
    of = lambda psi_p, psi_n: rf.learning_curve(model_of(psi_p, psi_n, 2), [100.0]).score_parts
    few, wide, rich = of(4.0, 4.0), of(4e4, 4.0), of(4.0, 4e4)
    assert wide.of_features[0] < 1e-3 * few.of_features[0]
    assert rich.of_data[0] < 1e-3 * few.of_data[0]
    assert rich.of_noise[0] < 1e-3 * few.of_noise[0]


@pytest.mark.slow
def test_steps_and_weight_decay():
    """Small steps are gradient flow; with weight decay both end at the same loss."""
    model = model_of(weight_decay=0.01)
    flow = rf.learning_curve(model, [50.0, np.inf])
    steps = rf.learning_curve(model, [50.0, np.inf], step=0.001)
    np.testing.assert_allclose(steps.empirical, flow.empirical, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("known", [{"step": 0.05}, {"step": 0.05, "momentum": 0.5}])
def test_parts_under_steps(known):
    """They add up, too."""
    curve = rf.learning_curve(model_of(weight_decay=0.01), [50.0, np.inf], **known)
    parts = curve.score_parts
    np.testing.assert_allclose(parts.bias2 + parts.variance, curve.score_error, rtol=1e-9)


@pytest.mark.slow
def test_a_law_is_like_its_atoms():
    """A continuous law of Σ and many of its quantiles have the same parts."""
    law = rf.Density(lambda x: 0.5 + 0.0 * x, 1.0, 3.0)
    atoms = rf.Atoms(1.0 + 2.0 * (np.arange(512) + 0.5) / 512, np.full(512, 1 / 512))
    one, other = (
        rf.learning_curve(model_of(m=2, covariance=sigma), [10.0, 1e4]) for sigma in (law, atoms)
    )
    np.testing.assert_allclose(one.empirical, other.empirical, rtol=1e-5)
    np.testing.assert_allclose(one.score_parts.bias2, other.score_parts.bias2, rtol=1e-4)


def at_samples(name, psi_n):
    return getattr(rf.learning_curve(model_of(psi_n=psi_n), jnp.array([100.0])), name)[0]


@pytest.mark.parametrize("name", ["bias2", pytest.param("variance", marks=pytest.mark.slow)])
def test_derivatives(name):
    """Under jit and vmap as well they are those of differences."""
    at, h = partial(at_samples, name), 1e-3
    slope = (at(4.0 + h) - at(4.0 - h)) / (2 * h)
    of_many = jax.jit(jax.vmap(jax.grad(at)))(jnp.array([4.0, 5.0]))
    assert of_many[0] == pytest.approx(float(slope), rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["empirical", "bias2", "variance"])
def test_second_derivatives(name):
    """They are differences of first ones."""
    at, h = partial(at_samples, name), 1e-3
    slope = (at(4.0 + h) - at(4.0 - h)) / (2 * h)
    assert jax.grad(at)(4.0) == pytest.approx(float(slope), rel=1e-5)
    rise = (jax.grad(at)(4.0 + h) - jax.grad(at)(4.0 - h)) / (2 * h)
    assert jax.grad(jax.grad(at))(4.0) == pytest.approx(float(rise), rel=1e-4)


def test_what_is_not_known_is_refused():
    """Of sampled curves, at finite d, and of data with classes."""
    curve = lambda model: rf.LearningCurve(*[jnp.ones(1)] * 5, model=model)
    sampled = curve(None)
    with pytest.raises(ValueError, match="curves of the theory only"):
        _ = sampled.empirical
    with pytest.raises(ValueError, match="curves of the theory only"):
        _ = sampled.bias2
    with pytest.raises(NotImplementedError, match="exists for d=None only, got 40"):
        _ = curve(model_of(m=np.inf, d=40)).bias2
    classes = rf.Classes([0.5, 0.5], [[1.0], [2.0]], [1.0])
    with pytest.raises(NotImplementedError, match="got classes"):
        _ = curve(model_of(m=np.inf, covariance=classes)).variance
