"""Kernels in place of features: their constants, those of deep networks, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rfspec as rf
from rfspec.models import kernels

WIDE = rf.RandomFeatureModel(float("inf"), 8.0, 0.1)
CONSTANTS = ("mu1", "kappa2", "b2", "v2")


def constants(kernel, t=0.1, **known):
    ge = rf.gaussian_equivalent(WIDE.replace(t=t, activation=kernel, **known))
    return np.array([float(getattr(ge, name)) for name in CONSTANTS])


@pytest.mark.parametrize("activation", ["tanh", "erf", "relu", "gelu", "sin"])
@pytest.mark.parametrize("t", [1e-3, 0.1, 3.0])
def test_one_hidden_layer_is_the_features(activation, t):
    """All constants that matter, from other integrals."""
    found = constants(rf.Kernel.nngp(1, activation), t)
    np.testing.assert_allclose(found, constants(activation, t), rtol=1e-11)


@pytest.mark.parametrize("t", [0.1, 4.0])
def test_constants_of_a_polynomial(t):
    """Those of the quintic of arXiv 2608.23938: μ1² = 1, v² = 0.005 (α²σ_x²)⁵."""
    sigma = rf.Atoms([17 / 12, 1 / 36], [0.7, 0.3])
    c = float(np.exp(-2 * t)) * (0.7 * 17 / 12 + 0.3 / 36)
    found = constants(rf.Kernel(lambda t: t + 0.005 * t**5), t, covariance=sigma)
    np.testing.assert_allclose(
        found, [1.0, np.exp(-2 * t), -np.expm1(-2 * t), 0.005 * c**5], rtol=1e-10
    )


@pytest.mark.parametrize("weight", [1.0, 25.0, 400.0])
@pytest.mark.parametrize("kind", ["nngp", "ntk"])
def test_claimed_errors_of_a_network(kind, weight, monkeypatch):
    """The steeper its layers, the larger is the error of the averages, and it says so."""
    make = lambda: getattr(rf.Kernel, kind)(2, "tanh", weight_variance=weight)
    claimed = float(rf.gaussian_equivalent(WIDE.replace(activation=make())).error)
    found = constants(make())
    monkeypatch.setattr(kernels, "GRID", np.linspace(-9.0, 9.0, 1153))
    jax.clear_caches()
    exact = constants(make())
    jax.clear_caches()
    assert np.all(np.abs(found / exact - 1) <= 2 * claimed + 1e-14)
    assert (claimed < 1e-12) == (weight == 1.0)


def drawn(t, kind, key, width=1500, d=40):
    """The kernel of a drawn network of two hidden layers at points of overlap t."""
    rng = np.random.default_rng(key)
    x, y = np.linalg.qr(rng.standard_normal((d, 2)))[0].T * np.sqrt(d)
    points = jnp.asarray(np.stack([x, t * x + np.sqrt(1 - t**2) * y]))
    sizes = ((d, width), (width, width), (width, 1))
    weights = [jnp.asarray(rng.standard_normal(size)) for size in sizes]

    def layers(weights, x):
        for W in weights[:-1]:
            x = jnp.tanh(x @ W / np.sqrt(W.shape[0]))
        return x

    if kind == "nngp":
        one, other = (layers(weights, x) for x in points)
        return float(one @ other) / width
    out = lambda weights, x: (layers(weights, x) @ weights[-1])[0] / np.sqrt(width)
    one, other = (jax.grad(out)(weights, x) for x in points)
    return float(sum(jnp.sum(a * b) for a, b in zip(one, other, strict=True)))


@pytest.mark.parametrize(
    ("kind", "t"),
    [("nngp", 0.6), *(pytest.param("ntk", t, marks=pytest.mark.slow) for t in (0.0, 0.6))],
)
def test_against_drawn_networks(kind, t):
    """Of finite width, at initialisation."""
    kernel = getattr(rf.Kernel, kind)(2)
    exact = float(kernel.function(jnp.asarray(t), jnp.asarray(1.0)))
    each = [drawn(t, kind, key) for key in range(6)]
    assert abs(np.mean(each) - exact) < 4 * np.std(each) / np.sqrt(6) + 0.003


def test_losses_of_a_network():
    """Deeper networks have the same curves at other times, and a larger sample part."""
    flat, deep = (rf.early_stopping(WIDE.replace(activation=rf.Kernel.ntk(k))) for k in (1, 3))
    assert float(deep.test) == pytest.approx(float(flat.test), rel=1e-3)
    excess = [c[3] / c[0] ** 2 for c in (constants(rf.Kernel.ntk(k)) for k in (1, 2, 3))]
    assert excess[0] < excess[1] < excess[2]


def test_derivatives_in_the_diffusion_time():
    """Constants depend on it through the overlap and the length."""
    test = lambda t: rf.learning_curve(
        rf.RandomFeatureModel(float("inf"), 8.0, t, activation=rf.Kernel.ntk(2)), jnp.array([10.0])
    ).test[0]
    h = 1e-5
    slope = (test(0.1 + h) - test(0.1 - h)) / (2 * h)
    assert jax.grad(test)(0.1) == pytest.approx(float(slope), rel=1e-7)


@pytest.mark.parametrize(
    ("kernel", "words"),
    [
        (lambda t: t - 0.1 * t**3, r"got -0.1 of t\^3"),
        (lambda t: -1.0 + t, r"got -1 of t\^0"),
        (lambda t: 1.0 + t**2, r"linear part, got 0 of t\^1"),
        (lambda t: jnp.log(t), "at least 0, got -inf"),
        (lambda t, s: t * s, "of one number"),
        (3.0, "must be a callable"),
    ],
)
def test_what_is_no_kernel(kernel, words):
    """The message names the Taylor coefficient."""
    with pytest.raises(ValueError, match=words):
        rf.Kernel(kernel)


def test_what_does_not_go_together():
    """Kernels need an infinite width, and networks depth and an activation."""
    with pytest.raises(ValueError, match=r"psi_p = inf only, got psi_p=8"):
        rf.RandomFeatureModel(8.0, 8.0, 0.1, activation=rf.Kernel.ntk(2))
    with pytest.raises(ValueError, match="depth must be"):
        rf.Kernel.ntk(0)
    with pytest.raises(ValueError, match="weight_variance must be"):
        rf.Kernel.nngp(2, weight_variance=0.0)
    with pytest.raises(ValueError, match=r'must be "relu" or without kinks'):
        rf.Kernel.nngp(2, lambda x: jnp.maximum(x, 0.1 * x))
    with pytest.raises(ValueError, match="must be a name or a callable"):
        rf.Kernel.nngp(2, rf.Polynomial([0.0, 1.0]))
