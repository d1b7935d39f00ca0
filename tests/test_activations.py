"""Polynomials, the table of constants, the outlier of a mean,
and a warning where an activation saturates.
"""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rfspec as rf
from rfspec.models.activations import _find_kinks

NAMES = ("mu0", "mu1", "kappa2", "b2", "v2", "s2")
COEFFICIENTS = [0.3, 1.0, -0.4, 0.2, 0.05, -0.01]


@pytest.mark.parametrize("variance", [0.5, 2.0])
@pytest.mark.parametrize("t", [1e-4, 0.1, 2.0])
def test_polynomials_agree_with_the_quadrature(t, variance):
    models = (
        rf.RandomFeatureModel(1.0, 1.0, t, activation=sigma, covariance=rf.Isotropic(variance))
        for sigma in (rf.Polynomial(COEFFICIENTS), _as_a_function)
    )
    exact, general = map(rf.gaussian_equivalent, models)
    for name in NAMES:
        assert float(getattr(exact, name)) == pytest.approx(
            float(getattr(general, name)), rel=1e-12
        ), name
    assert float(exact.error) < 1e-13


def _as_a_function(x):
    return sum(c * x**j for j, c in enumerate(COEFFICIENTS))


def test_a_cubic_in_closed_form():
    """σ = x + ax³ at Γ = 1: μ1 = 1 + 3a, v² = 6a²c³, s² = 6a²(1 - c³), c = e^{-2t}."""
    t, a = 0.1, 0.5
    f = lambda a: rf.gaussian_equivalent(
        rf.RandomFeatureModel(1.0, 1.0, t, activation=rf.Polynomial(jnp.stack([0.0, 1.0, 0.0, a])))
    )
    assert float(f(a).mu1) == pytest.approx(2.5, rel=1e-14)
    assert float(f(a).v2) == pytest.approx(6 * a**2 * np.exp(-6 * t), rel=1e-14)
    assert float(f(a).s2) == pytest.approx(-6 * a**2 * np.expm1(-6 * t), rel=1e-14)
    assert float(jax.grad(lambda a: f(a).s2)(a)) == pytest.approx(
        -12 * a * np.expm1(-6 * t), rel=1e-13
    )


def test_a_linear_activation_has_no_nonlinear_part():
    ge = rf.gaussian_equivalent(
        rf.RandomFeatureModel(1.0, 1.0, 0.1, activation=rf.Polynomial([0.0, 2.0]))
    )
    assert float(ge.v2) == float(ge.s2) == 0.0
    assert float(ge.mu1) == 2.0


def test_a_polynomial_of_high_degree_grows_as_it_likes():
    model = rf.RandomFeatureModel(
        1.0, 1.0, 0.1, activation=rf.Polynomial(np.r_[0.0, 1.0, np.zeros(30), 1e-20])
    )
    assert float(rf.gaussian_equivalent(model).error) < 1e-12


def test_table_of_constants():
    ts = [0.01, 0.5]
    table = rf.constants_table(
        ts, ["erf", rf.Polynomial([0.0, 1.0, 1.0])], covariance=rf.Isotropic(2.0)
    )
    assert table.v2.dims == ("activation", "t")
    assert table.activation.values.tolist() == ["erf", "polynomial"]
    assert all(
        {"units", "long_name"} <= set(table[name].attrs)
        for name in (*NAMES, "gamma2", "error", "t")
    )
    for t in ts:
        ge = rf.gaussian_equivalent(
            rf.RandomFeatureModel(9.0, 5.0, t, activation="erf", covariance=rf.Isotropic(2.0))
        )
        for name in NAMES:
            assert float(table[name].sel(activation="erf", t=t)) == float(getattr(ge, name))
    assert np.allclose(table.gamma2, 1 + np.exp(-2 * np.array(ts)), rtol=1e-14)


# -------------------------------------------------------------------------------------------- kinks

KINKED = {
    "relu": (lambda x: jnp.maximum(x, 0.0), (0.0,)),
    "clip": (lambda x: jnp.clip(x, -1.0, 1.0), (-1.0, 1.0)),
    "smooth": (lambda x: jnp.tanh(3 * x), ()),
    "shifted relu": (lambda x: jnp.maximum(x - 1 / 3, 0.0), (1 / 3,)),
    "jump": (lambda x: jnp.sign(x - 1 / 3), (1 / 3,)),
    "jump of a quotient": (lambda x: jnp.sign(3 * x - 1), (1 / 3,)),
    "jump and slope": (lambda x: jnp.where(x > np.pi, jnp.sin(x), x**2), (np.pi,)),
    "steps": (lambda x: jnp.floor(jnp.clip(x, -2.0, 2.0)), (-1.0, 0.0, 1.0, 2.0)),
    "three": (
        lambda x: jnp.sign(x) + jnp.abs(x - 0.7) + jnp.maximum(x + 2.13, 0.0),
        (-2.13, 0.0, 0.7),
    ),
    "second derivative": (jax.nn.elu, (0.0,)),
    "square": (lambda x: jnp.maximum(x - 0.1, 0.0) ** 2, (0.1,)),
    "cube": (lambda x: jnp.maximum(x - 0.1, 0.0) ** 3, (0.1,)),
}


@pytest.mark.parametrize("name", KINKED)
def test_kinks_are_found_to_all_digits(name):
    function, kinks = KINKED[name]
    assert rf.Activation(function).kinks == pytest.approx(kinks, rel=3e-16, abs=1e-16)


@pytest.mark.parametrize("jumps", [True, False])
def test_random_kinks_are_found(jumps):
    """None hides at the end of an interval of the search, or behind another one."""
    rng = np.random.default_rng(7)
    for _ in range(200):
        places = np.sort(rng.uniform(-2, 2, rng.integers(1, 4)))
        sizes = rng.normal(size=places.size)
        each = (lambda x: np.sign(x)) if jumps else (lambda x: np.abs(x))
        found = _find_kinks(
            lambda x: 0.3 * x + sum(a * each(x - k) for k, a in zip(places, sizes, strict=True))
        )
        assert found == pytest.approx(places, rel=3e-16, abs=3e-16 if jumps else 1e-11)


@pytest.mark.parametrize("scale", [1e-5, 1e6])
def test_a_faint_kink_is_found(scale):
    """On a slope, and on a constant, that are 10⁵ and 10⁶ times as large."""
    f = (
        (lambda x: x + scale * jnp.abs(x - 1 / 9))
        if scale < 1
        else (lambda x: scale + jnp.abs(x - 1 / 9))
    )
    assert rf.Activation(f).kinks == pytest.approx((1 / 9,), abs=1e-9)


# ----------------------------------------------------------------------------------------- the mean


def sampled_outlier(psi_p, psi_n, t, values, draws, seed):
    """Largest eigenvalue of the relu features of Gaussian data,
    with a few draws of the noise for each sample.
    """
    rng, d = np.random.default_rng(seed), len(values)
    W = rng.standard_normal((round(psi_p * d), d))
    X = np.tile(np.sqrt(values)[:, None] * rng.standard_normal((d, round(psi_n * d))), draws)
    noisy = np.exp(-t) * X + np.sqrt(-np.expm1(-2 * t)) * rng.standard_normal(X.shape)
    phi = np.maximum(W @ noisy / np.sqrt(d), 0.0)
    v, size = np.ones(len(W)), 0.0
    for _ in range(8):
        v = phi @ (phi.T @ v) / phi.shape[1]
        size = np.linalg.norm(v)
        v = v / size
    return size


@pytest.mark.parametrize("values", [[1.0], [0.2, 1.8]])
def test_outlier_of_sampled_relu_features(values):
    """With m draws of the noise the part that it redraws adds (ψ_p/ψ_n)(b² + s²)/m to |ē|²."""
    psi_p, psi_n, t, d, m, seeds = 4.0, 2.0, 0.1, 80, 8, 60
    law = rf.Atoms(values, np.full(len(values), 1 / len(values)))
    model = rf.RandomFeatureModel(psi_p, psi_n, t, activation="relu", covariance=law)
    outlier, ge = rf.mean_outlier(model, d), rf.gaussian_equivalent(model)
    found = [
        sampled_outlier(psi_p, psi_n, t, np.repeat(values, d // len(values)), m, seed)
        for seed in range(seeds)
    ]
    redrawn = psi_p / psi_n * float(ge.b2 + ge.s2) / m
    standard_error = float(outlier.deviation) / np.sqrt(seeds)
    assert np.mean(found) == pytest.approx(
        float(outlier.location) + redrawn, abs=3 * standard_error
    )
    # the correction is seen
    assert abs(np.mean(found) - float(outlier.leading)) > 6 * standard_error
    assert np.std(found) == pytest.approx(float(outlier.deviation), rel=3 / np.sqrt(2 * seeds))


def test_outlier_of_relu_in_closed_form():
    """g = √(Γ²/2π): at Γ = 1 2g'² + gg'' = 1/(8π)."""
    t, psi_p, psi_n, d = 0.3, 3.0, 1.5, 50.0
    model = rf.RandomFeatureModel(psi_p, psi_n, t, activation="relu")
    outlier, ge = rf.mean_outlier(model, d), rf.gaussian_equivalent(model)
    assert float(outlier.leading) == pytest.approx(psi_p * d / (2 * np.pi), rel=1e-12)
    rest = psi_p / (4 * np.pi) + 0.5 - 1 / (2 * np.pi) + psi_p / psi_n * float(ge.kappa2 + ge.v2)
    assert float(outlier.location - outlier.leading) == pytest.approx(rest, rel=1e-10)


# --------------------------------------------------------------------------------------------
# saturation


@pytest.mark.parametrize(("variance", "effect"), [(100.0, "saturated"), (0.01, "nearly linear")])
@pytest.mark.parametrize("name", ["tanh", "erf", "sin"])
def test_saturation_is_said(name, variance, effect):
    with pytest.warns(
        rf.SaturationWarning, match=f"Γ².*outside .*{name} is {effect}.*normalised"
    ) as caught:
        rf.RandomFeatureModel(4.0, 2.0, 0.01, activation=name, covariance=rf.Isotropic(variance))
    assert caught[0].filename == __file__


def test_no_word_where_nothing_saturates():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rf.RandomFeatureModel(4.0, 2.0, 0.01, covariance=rf.Isotropic(9.0))
        rf.RandomFeatureModel(4.0, 2.0, 0.01, activation="relu", covariance=rf.Isotropic(1e4))
        jax.vmap(
            lambda v: rf.RandomFeatureModel(4.0, 2.0, 0.01, covariance=rf.Isotropic(v)).gamma2
        )(jnp.array([1e4]))
