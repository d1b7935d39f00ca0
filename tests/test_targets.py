"""Targets, finite draws of the noise and weight decay: sampled matrices, limits, identities,
derivatives.
"""

import jax
import numpy as np
import pytest
from problems import draw_wide

import rfspec as rf
from rfspec.numerics.holomorphic import condition, implicit
from rfspec.numerics.rounding import EPS
from rfspec.resolvent.equations import equations
from rfspec.resolvent.solver import unknowns_at
from rfspec.training.exact_score import score_error

SIGMA = rf.Atoms([0.5, 1.5], [0.5, 0.5])
TAU = np.array([0.3, 3.0, 30.0, 1e3, 1e12])


def model_of(**kwargs):
    kwargs = {"process": rf.FlowMatching(0.3), "covariance": SIGMA} | kwargs
    return rf.RandomFeatureModel(6.0, 3.0, **kwargs)


def coefficients(model):
    """(c_x, c_ξ, ω²) of the target, written out again."""
    process = model.process
    return {
        "noise": (0.0, -1.0, float(process.beta2)),
        "score": (0.0, -1.0 / float(process.beta), 1.0),
        "data": (1.0, 0.0, 1.0),
        "velocity": (-1.0, 1.0, 1.0),  # of flow matching: ξ - x
    }[model.target]


def regression(model, d, seed):
    """Losses at TAU of one sampled Gaussian equivalent, column by column, by dense matrices."""
    ge, rng = rf.gaussian_equivalent(model), np.random.default_rng(seed)
    kappa, b, v, s = (float(np.sqrt(x)) for x in (ge.kappa2, ge.b2, ge.v2, ge.s2))
    cx, cn, pace = coefficients(model)
    p, n = round(float(model.psi_p) * d), round(float(model.psi_n) * d)
    sigma = np.repeat(model.covariance.values, d // 2)
    F, X = rng.normal(size=(p, d)) / np.sqrt(d), np.sqrt(sigma)[:, None] * rng.normal(size=(d, n))
    G = kappa * F @ X + v * rng.normal(size=(p, n))
    if np.isinf(model.noise_draws):
        U = G @ G.T / n + b**2 * F @ F.T + s**2 * np.eye(p)
        V = cn * b * F + cx * G @ X.T / n
        untrained = cx**2 * np.sum(X**2) / (n * d) + cn**2
    else:
        m = int(model.noise_draws)
        xi = rng.normal(size=(d, n * m))
        phi = np.repeat(G, m, axis=1) + b * F @ xi + s * rng.normal(size=(p, n * m))
        y = cx * np.repeat(X, m, axis=1) + cn * xi
        U, V, untrained = phi @ phi.T / (n * m), phi @ y.T / (n * m), np.sum(y**2) / (n * m * d)
    U_test = kappa**2 * (F * sigma) @ F.T + b**2 * F @ F.T + (v**2 + s**2) * np.eye(p)
    V_test = cn * b * F + cx * kappa * F * sigma
    values, basis = np.linalg.eigh(U)
    values = np.maximum(values, 0.0) + float(model.weight_decay) / pace
    found = []
    for tau in TAU:
        h = -np.expm1(-2 * pace * tau / float(model.psi_p) * values) / np.where(
            values < 1e-13, np.inf, values
        )
        A = V.T @ (basis * h) @ basis.T
        loss = lambda U, V, start, A=A: start + (np.trace(A @ U @ A.T) - 2 * np.trace(A @ V)) / d
        found.append([loss(U, V, untrained), loss(U_test, V_test, cx**2 * sigma.mean() + cn**2)])
    return np.array(found).T


CASES = {
    "velocity": {"target": "velocity"},
    "data, weight decay": {"target": "data", "weight_decay": 0.02},
    "score, weight decay": {"target": "score", "weight_decay": 0.05},
    "one draw": {"noise_draws": 1},
    "three draws, weight decay": {"noise_draws": 3, "weight_decay": 0.001},
    "velocity, four draws": {"target": "velocity", "noise_draws": 4},
}
RARELY = ("score, weight decay", "one draw", "three draws, weight decay")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in RARELY else n for n in CASES]
)
def test_against_regression_on_sampled_matrices(name):
    """At two sizes: the mean over draws deviates by O(1/d²) at most,
    and the scatter falls like 1/d.
    """
    model = model_of(**CASES[name])
    curve = rf.learning_curve(model, TAU)
    exact = np.array([curve.train, curve.test])
    scatter = []
    for d in (16, 64):
        drawn = np.array([regression(model, d, seed) for seed in range(6)])
        spread = drawn.std(0, ddof=1) / np.sqrt(6)
        assert np.all(np.abs(drawn.mean(0) - exact) < 5 * spread + 6 * exact.max() / d**2)
        scatter.append(spread.max())
    assert scatter[1] < 0.6 * scatter[0]
    assert np.all(np.asarray(curve.error) < 1e-9 * exact.max())


def test_the_drops_add_up():
    """Real-axis integrals over the bulks against the contour."""
    for kwargs in (CASES["velocity, four draws"],):
        model = model_of(**kwargs)
        curve = rf.learning_curve(model, TAU)
        cx, cn, _ = coefficients(model)
        assert np.allclose(
            sum(curve.drops.values()), cx**2 + cn**2 - curve.train, rtol=0, atol=1e-10
        )


def test_many_draws_are_their_expectation():
    many, all_ = (rf.learning_curve(model_of(noise_draws=m), TAU[:4]) for m in (1e12, np.inf))
    assert np.allclose(many.train, all_.train, rtol=0, atol=1e-9)
    assert np.allclose(many.test, all_.test, rtol=0, atol=1e-9)


def test_score_and_noise_are_one_regression():
    """The score target is the noise target over β², with a clock β² times slower."""
    beta2 = 0.3**2
    noise, score = (
        rf.learning_curve(model_of(), TAU),
        rf.learning_curve(model_of(target="score"), TAU * beta2),
    )
    assert np.allclose(noise.test, beta2 * score.test, rtol=1e-12)
    assert np.allclose(noise.score_error, score.score_error, rtol=1e-10)


@pytest.mark.parametrize("target", ["noise", "score", "data", "velocity"])
def test_losses_and_score_errors_of_any_linear_predictor(target):
    """Per eigenvalue λ of Σ the predictor B x_t of y stands for the score (B - c_x/α)/ρ x_t;
    both errors by hand.
    """
    model = model_of(target=target)
    (cx, cn, pace), (alpha, beta) = coefficients(model), (0.7, 0.3)
    rho = cx * beta**2 / alpha - cn * beta
    values, B = np.array([0.5, 1.5]), np.array([0.8, -0.3])
    variance = alpha**2 * values + beta**2
    loss = np.mean(
        cx**2 * values + cn**2 - 2 * B * (cx * alpha * values + cn * beta) + B**2 * variance
    )
    score = np.mean(((B - cx / alpha) / rho + 1 / variance) ** 2 * variance)
    assert float(score_error(model, loss)) == pytest.approx(score, rel=1e-12)
    assert float(model.pace) == pytest.approx(pace, rel=1e-14)


def test_weight_decay_in_the_times():
    """All relaxation times are those of U + γ/ω²."""
    plain, decayed = model_of(target="data"), model_of(target="data", weight_decay=0.1)
    fast, slow = rf.timescales(plain, "spectrum"), rf.timescales(decayed, "spectrum")
    for part in ("population", "satellite"):
        before, after = (1 / float(getattr(times.slow, part)) for times in (fast, slow))
        assert after - before == pytest.approx(0.1 / 6.0, rel=1e-10)
    end = rf.learning_curve(decayed, np.inf)
    late = rf.learning_curve(decayed, 1e6)
    assert float(end.test) == pytest.approx(float(late.test), rel=1e-12)


@pytest.mark.parametrize(
    "name",
    ["weight_decay", *(pytest.param(n, marks=pytest.mark.slow) for n in ("target", "noise_draws"))],
)
def test_stopping_early_for_every_model(name):
    for kwargs in ({name: {"target": "velocity", "weight_decay": 0.01, "noise_draws": 2}[name]},):
        model = model_of(**kwargs)
        stop = rf.early_stopping(model)
        curve = rf.learning_curve(model, float(stop.tau) * np.array([0.9, 1.0, 1.1]))
        assert int(np.argmin(curve.test)) == 1
        assert float(curve.test[1]) == pytest.approx(float(stop.test), abs=1e-11)


@pytest.mark.slow
def test_the_gradient_of_a_velocity_curve():
    f = lambda s: (
        rf.learning_curve(model_of(process=rf.FlowMatching(s), target="velocity"), 3.0).test
    )
    h = 1e-5
    assert float(jax.grad(f)(0.3)) == pytest.approx(
        float(f(0.3 + h) - f(0.3 - h)) / (2 * h), rel=1e-6
    )


@pytest.mark.filterwarnings("ignore::rfspec.SaturationWarning")
@pytest.mark.parametrize("models", [12, pytest.param(100, marks=pytest.mark.slow)])
def test_what_is_explained_far_from_the_spectrum_keeps_its_digits(models):
    """There columns hardly fluctuate: 1 - D, which multiplies the variance of the target, is tiny.

    As a difference it lost them all, and train losses early in training up to a thousand times
    their rounding.
    """
    rng = np.random.default_rng(4)

    @jax.jit
    def explained(eq, z):
        """Also how it moves with all numbers in the equations."""
        u = unknowns_at(eq, z)[0]
        near = lambda e: e.explained(e.point(implicit(e, u, z - e.origin)))[0].real
        return eq.explained(eq.point(u))[0], condition(eq, near)

    for model in (draw_wide(rng, atoms=1) for _ in range(models)):
        eq = equations(model, rf.gaussian_equivalent(model))
        z = -1e6 * float(eq.top)
        exact = complex(rf.algebraic.explained(model, z, 20).sample)
        found, moved = explained(eq, z + 0j)
        assert abs(complex(found) - exact) <= 1e-14 * abs(exact) + (
            4 * EPS + float(eq.accuracy)
        ) * float(moved), model
