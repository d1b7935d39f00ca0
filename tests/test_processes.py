"""Processes: their amplitudes and rates, and that everything downstream sees (α, β) alone."""

import jax
import numpy as np
import pytest

import rfspec as rf

INSTANCES = {
    "OrnsteinUhlenbeck": (rf.OrnsteinUhlenbeck, 0.3),
    "FlowMatching": (rf.FlowMatching, 0.3),
    "Cosine": (rf.Cosine, 0.3),
    "VarianceExploding": (rf.VarianceExploding, 0.7),
}


def numbers(model):
    ge = rf.gaussian_equivalent(model)
    return [float(x) for x in (ge.mu1, ge.kappa2, ge.b2, ge.v2, ge.s2)]


@pytest.mark.parametrize("name", INSTANCES)
def test_rates_are_derivatives(name):
    kind, at = INSTANCES[name]
    slopes = jax.grad(lambda x: kind(x).alpha)(at), jax.grad(lambda x: kind(x).beta)(at)
    assert np.allclose(kind(at).velocity, slopes, rtol=1e-12, atol=1e-15)


def test_a_ddpm_step_is_a_time():
    """t = -½ log ᾱ exactly, from betas and from ᾱ;
    constants agree with the Ornstein-Uhlenbeck process to rounding.
    """
    betas = np.linspace(1e-4, 0.02, 1000)
    alpha_bars = np.cumprod(1 - betas)
    for step in (1, 10, 500, 1000):
        one, two, default = (
            rf.DDPM(step, betas),
            rf.DDPM(step, alpha_bars=alpha_bars),
            rf.DDPM(step),
        )
        assert float(one.alpha) == pytest.approx(np.sqrt(alpha_bars[step - 1]), rel=1e-13)
        assert float(one.t) == float(default.t)
        assert float(one.t) == pytest.approx(float(two.t), rel=1e-11)
        assert float(one.beta2) == pytest.approx(-np.expm1(-2 * float(one.t)), rel=1e-14)
        same = (
            rf.RandomFeatureModel(8.0, 2.0, float(one.t)),
            rf.RandomFeatureModel(8.0, 2.0, process=one),
        )
        assert np.allclose(numbers(same[0]), numbers(same[1]), rtol=1e-13)
    assert float(rf.DDPM(1, betas).beta2) == pytest.approx(1e-4, rel=1e-14)


def test_the_velocity_of_a_ddpm_step_is_the_v_prediction():
    step = rf.DDPM(300)
    assert np.allclose(step.velocity, (-step.beta, step.alpha))


def test_an_interpolant_is_its_numbers():
    flow, same = rf.FlowMatching(0.3), rf.Interpolant(0.7, 0.3, -1.0, 1.0)
    a, b = (
        rf.learning_curve(
            rf.RandomFeatureModel(6.0, 3.0, process=p, target="velocity"), [1.0, 100.0]
        )
        for p in (flow, same)
    )
    assert np.allclose(a.test, b.test, rtol=1e-13)


def test_exploding_variance_is_a_rescaled_process():
    """x + σξ is x_t/α of Ornstein-Uhlenbeck at α = 1/√(1+σ²);
    with a homogeneous σ the features only change scale.
    """
    sigma = 0.5
    t = 0.5 * np.log1p(sigma**2)
    one = rf.RandomFeatureModel(8.0, 2.0, process=rf.VarianceExploding(sigma), activation="relu")
    two = rf.RandomFeatureModel(8.0, 2.0, t, activation="relu")
    scale = 1 + sigma**2
    assert np.allclose(numbers(one)[1:], scale * np.array(numbers(two)[1:]), rtol=1e-12)


def test_times_and_spectra_follow_for_every_process():
    for kind, at in INSTANCES.values():
        model = rf.RandomFeatureModel(16.0, 4.0, process=kind(at))
        times = rf.timescales(model, "spectrum")
        edges = rf.spectrum(model).parts.lower
        assert float(times.tau_gen) == pytest.approx(
            16.0 / float(kind(at).beta2 * edges[0]), rel=1e-12
        )
