"""The best weight decay, and the double descent that it cures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import draw

import rfspec as rf

MODEL = rf.RandomFeatureModel(8.0, 2.0, 0.1)
STEPS = np.geomspace(0.1, 10.0, 9)


def decay_of(psi_n):
    return rf.best_weight_decay(MODEL.replace(psi_n=psi_n)).weight_decay


def loss(model, decay, tau=np.inf):
    model = model.replace(weight_decay=decay)
    if tau is None:
        return float(rf.early_stopping(model).test)
    return float(rf.learning_curve(model, [tau]).test[0])


def check(model, tau=np.inf):
    """No decay of a dense grid is better, and the loss is what a curve says."""
    best = rf.best_weight_decay(model, tau)
    decay, claimed = float(best.weight_decay), 4 * float(best.error)
    assert float(best.without) == pytest.approx(loss(model, 0.0, tau), rel=1e-9)
    if np.isfinite(decay):
        assert float(best.test) == pytest.approx(loss(model, decay, tau), rel=1e-9)
    around = STEPS * decay if 0 < decay < np.inf else np.geomspace(1e-6, 1e4, 16)
    others = [loss(model, x, tau) for x in (0.0, *around)]
    assert float(best.test) <= min(others) + claimed + 1e-12 * float(best.test)
    return best


@pytest.mark.parametrize(
    "tau", [np.inf, *(pytest.param(tau, marks=pytest.mark.slow) for tau in (30.0, None))]
)
@pytest.mark.parametrize(
    "known", [{"noise_draws": 2}, pytest.param({"target": "data"}, marks=pytest.mark.slow)]
)
def test_no_other_decay_is_better(tau, known):
    """At the end of training, at a time, and at the best time."""
    check(MODEL.replace(**known), tau)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::rfspec.SaturationWarning")
def test_on_random_models():
    """With all draws of the noise and with few."""
    rng = np.random.default_rng(5)
    for _ in range(40):
        check(draw(rng, (1.0, 3.0, np.inf), target=str(rng.choice(["noise", "data", "velocity"]))))


@pytest.mark.slow
@pytest.mark.parametrize(
    "known",
    [
        {"d": 40},
        {"covariance": rf.PowerLaw(0.5)},
        {"covariance": rf.Classes([0.9, 0.1], [[1.0], [2.0]], [1.0])},
    ],
)
def test_every_kind_of_model(known):
    """Finite d, laws without a largest eigenvalue, and classes."""
    check(MODEL.replace(**known))


def test_loss_falls_with_features_under_the_best_decay():
    """There is no peak, and the best decay is beyond the best stopping time or beside it."""
    each = [rf.best_weight_decay(MODEL.replace(psi_p=p, noise_draws=2)) for p in (1.0, 4.0, 32.0)]
    tests = [float(best.test) for best in each]
    assert tests[0] > tests[1] > tests[2]
    assert float(rf.learning_curve(MODEL.replace(psi_p=4.0, noise_draws=2), [np.inf]).test[0]) > 1e6


def test_it_is_a_function_of_the_model():
    """γ* has the derivative of differences."""
    decay, h = decay_of, 1e-4
    slope = (decay(2.0 + h) - decay(2.0 - h)) / (2 * h)
    assert jax.grad(decay)(2.0) == pytest.approx(float(slope), rel=1e-6)


@pytest.mark.slow
def test_many_models_at_once():
    """Under vmap and jit each has its own decay."""
    both = jax.jit(jax.vmap(decay_of))(jnp.array([2.0, 3.0]))
    np.testing.assert_allclose(both, [decay_of(2.0), decay_of(3.0)], rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("tau", [np.inf, 30.0, None])
def test_derivatives(tau):
    """First and second derivatives of γ* and of the loss."""
    h = 1e-3
    for name in ("weight_decay", "test"):
        of = lambda n, name=name: getattr(
            rf.best_weight_decay(MODEL.replace(psi_n=n, target="data"), tau), name
        )
        slope = (of(2.0 + h) - of(2.0 - h)) / (2 * h)
        assert jax.grad(of)(2.0) == pytest.approx(float(slope), rel=1e-4, abs=1e-9)
        rise = (jax.grad(of)(2.0 + h) - jax.grad(of)(2.0 - h)) / (2 * h)
        assert jax.grad(jax.grad(of))(2.0) == pytest.approx(float(rise), rel=1e-4, abs=1e-8)


def test_where_training_only_harms():
    """γ* is ∞, and the loss that of no training."""
    model = rf.RandomFeatureModel(8.0, 4.0, process=rf.DDPM(300), target="velocity")
    best = rf.best_weight_decay(model)
    assert np.isinf(best.weight_decay)
    assert float(best.test) == float(best.train) == pytest.approx(1.0, abs=1e-12)
    assert float(best.model.weight_decay) == 0.0


@pytest.mark.parametrize("tau", [0.0, -1.0, [1.0, 2.0], np.nan])
def test_times_that_are_none(tau):
    """The time has to be one positive number."""
    with pytest.raises(ValueError, match="tau must be"):
        rf.best_weight_decay(MODEL, tau)


@pytest.mark.slow
def test_peak_is_where_features_are_as_many_as_columns():
    """p = nm, where there is no decay; the losses are those of curves, and add up."""
    ratios = np.array([0.5, 2.0, 6.0, 20.0])
    found = rf.double_descent(MODEL, ratios, noise_draws=[2.0, 3.0])
    np.testing.assert_allclose(found.peak.values[:, 0], found["columns"].values, rtol=1e-6)
    curve = rf.learning_curve(MODEL.replace(psi_p=6.0, noise_draws=2), [np.inf])
    at = found.sel(noise_draws=2.0, weight_decay=0.0, psi_p=6.0)
    assert float(at.test) == float(curve.test[0])
    assert float(at.empirical) == float(curve.empirical[0])
    parts = at.bias2 + at.of_features + at.of_data + at.of_noise
    assert float(parts) == pytest.approx(float(curve.score_error[0]), rel=1e-10)
    assert np.all(np.diff(found.test_best_weight_decay.values, axis=1) < 0)
    assert np.all(found.test_best_weight_decay.values <= found.test.values[:, 0])


@pytest.mark.slow
def test_no_peak_under_much_decay():
    """Then peak and rise are NaN; with a little decay the peak is near p = nm."""
    found = rf.double_descent(
        MODEL, [0.5, 2.0, 4.5, 20.0], noise_draws=2.0, weight_decay=[1e-3, 10.0]
    )
    assert 3.0 < float(found.peak[0, 0]) < 8.0
    assert np.isnan(found.peak[0, 1])
    assert np.isnan(found.rise[0, 1])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"psi_p": [2.0, 1.0]}, "that ascend"),
        ({"psi_p": []}, "psi_p"),
        ({"psi_p": [1.0], "tau": 0.0}, "positive number"),
        ({"psi_p": [1.0], "noise_draws": [0.5]}, "noise_draws"),
        ({"psi_p": [1.0], "weight_decay": [-1.0]}, "weight_decay"),
    ],
)
def test_grids_that_are_none(given, words):
    """The message says which argument, and what it may be."""
    with pytest.raises(ValueError, match=words):
        rf.double_descent(MODEL, **given)
