"""Derivatives of what follows from the solution: first and second, in every mode,
at τ = 0 and ∞ too.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rfspec as rf
from rfspec.numerics.holomorphic import implicit, newton_step

MODES = {  # of second derivatives; forward over forward is the one to compare with
    "forward over forward": lambda f: jax.jacfwd(jax.jacfwd(f)),
    "forward over reverse": lambda f: jax.jacfwd(jax.jacrev(f)),
    "reverse over forward": lambda f: jax.jacrev(jax.jacfwd(f)),
    "reverse over reverse": lambda f: jax.jacrev(jax.jacrev(f)),
}


class Cubics:
    """u1 = p + u2³/9, u2 = ζ + u1²/9: the solution is a polynomial's, known to any precision."""

    def __init__(self, p):
        self.p = p

    def residual(self, u, zeta):
        a, b = u
        return a - self.p - b**3 / 9, b - zeta - a**2 / 9


jax.tree_util.register_pytree_node(Cubics, lambda e: ((e.p,), None), lambda _, p: Cubics(*p))


def solved(p):
    """u1 at ζ = p², by iterations that are not differentiated."""
    still, zeta = jax.lax.stop_gradient((Cubics(p), p**2))
    u = (still.p, zeta)
    for _ in range(8):
        u = newton_step(lambda *v: still.residual(v, zeta), u)
    return implicit(Cubics(p), u, p**2)[0]


def true_derivatives(p):
    """u1 and its first three derivatives, by multi-precision differences."""
    import mpmath as mp

    with mp.workdps(60):
        f = lambda x: mp.findroot(lambda a: a - x - (x**2 + a**2 / 9) ** 3 / 9, x)
        return [float(mp.diff(f, mp.mpf(p), k)) for k in range(4)]


WRAPPED = {
    "plainly": lambda f: f,
    "in a loop": lambda f: lambda p: jax.lax.map(f, p[None])[0],
    "mapped": lambda f: lambda p: jax.vmap(f)(p[None])[0],
    "compiled": jax.jit,
}


@pytest.mark.parametrize("wrapped", WRAPPED)
def test_implicit_functions_in_every_mode(wrapped):
    """In a loop, reverse over reverse once forgot that the solution depends on the parameters."""
    f, p = WRAPPED[wrapped](solved), 0.7
    value, first, second, third = true_derivatives(p)
    assert float(f(jnp.float64(p))) == pytest.approx(value, rel=1e-14)
    for once in (jax.jacfwd, jax.jacrev):
        assert float(once(f)(p)) == pytest.approx(first, rel=1e-13)
    for name, twice in MODES.items():
        assert float(twice(f)(p)) == pytest.approx(second, rel=1e-13), name
    assert float(jax.grad(jax.grad(jax.grad(f)))(p)) == pytest.approx(third, rel=1e-12)


# -------------------------------------------------------------------------------------------------
# losses


def random_models(seed, count):
    """ψ_p, ψ_n in [0.1, 1000], log-uniform."""
    return 10.0 ** np.random.default_rng(seed).uniform(-1, 3, (count, 2))


def curve(ratios, tau, **kwargs):
    return rf.learning_curve(rf.RandomFeatureModel(ratios[0], ratios[1], 0.1, **kwargs), tau)


def differences(f, x, h=1e-4):
    """Gradient of f in log x by central differences of fourth order."""
    step = lambda *k: f(x * np.exp(h * np.asarray(k)))
    weights = {-2: 1 / 12, -1: -2 / 3, 1: 2 / 3, 2: -1 / 12}
    return np.array(
        [sum(w * step(*(k * e)) for k, w in weights.items()) / h for e in np.eye(x.size)]
    )


@pytest.mark.parametrize(
    "tau",
    [pytest.param(np.inf, marks=pytest.mark.slow), [10.0, np.inf]],
    ids=["the end", "a time and the end"],
)
def test_gradients_at_the_end_of_training(tau):
    """They were NaN in reverse mode in ψ_p, or 0; a limit has the derivatives of a limit."""
    f = lambda x: jnp.sum(curve(x, tau).test)
    for ratios in random_models(1, 2):
        slopes = differences(lambda x: float(f(x)), ratios) / ratios
        assert np.allclose(jax.grad(f)(ratios), slopes, rtol=1e-6, atol=1e-9)
        assert np.allclose(jax.jacfwd(f)(ratios), slopes, rtol=1e-6, atol=1e-9)


def test_slopes_in_training_time_at_both_ends():
    """dL_test/dτ at τ = 0 is that of the first step, 2β²/ψ_p Tr ṼᵀV/d = 2β²b²; at τ = ∞ it is 0."""
    model = rf.RandomFeatureModel(8.0, 2.0, 0.05)
    ge = rf.gaussian_equivalent(model)
    for once in (jax.grad, jax.jacfwd):
        slope = once(lambda tau: rf.learning_curve(model, tau).test)(0.0)
        assert float(slope) == pytest.approx(-4 * float(model.pace) * float(ge.b2), rel=1e-12)
        assert float(once(lambda tau: rf.learning_curve(model, tau).test)(jnp.inf)) == 0.0


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_second_derivatives_of_losses(mode):
    """Flow, descent, and the end of training: the same Hessian in every mode, symmetric,
    and that of differences.
    """

    def f(x):
        step = rf.learning_curve(rf.RandomFeatureModel(x[0], x[1], 0.1), 20.0, 1e-4).test
        return jnp.sum(curve(x, [10.0, 300.0, np.inf]).test) + step

    hessian = jax.jit(MODES[mode](f))
    for ratios in random_models(2, 3):
        found = np.asarray(hessian(ratios))
        slopes = np.array(
            [
                differences(lambda x, i=i: float(jax.grad(f)(x)[i]), ratios) / ratios
                for i in range(2)
            ]
        )
        assert np.allclose(found, found.T, rtol=1e-9, atol=1e-12)
        assert np.allclose(found, slopes, rtol=1e-5, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_second_derivatives_of_stopping_times(mode):
    """Best time, window's ends and onset of the gap, over models at which all are finite."""

    def times(x):
        stop = rf.early_stopping(rf.RandomFeatureModel(x[0], x[1], 0.05))
        onset = rf.gap_onset(rf.RandomFeatureModel(x[0], x[1], 0.05))[0]
        return jnp.log(jnp.stack([stop.tau, stop.window.upper, onset])) @ jnp.array([1.0, 0.7, 0.4])

    hessian = jax.jit(MODES[mode](times))
    slope = jax.jit(jax.jacfwd(times))
    for ratios in (np.array([64.0, 8.0]), np.array([20.0, 3.0])):
        found = np.asarray(hessian(ratios))
        slopes = np.array(
            [differences(lambda x, i=i: float(slope(x)[i]), ratios) / ratios for i in range(2)]
        )
        assert np.allclose(found, found.T, rtol=1e-7)
        assert np.allclose(found, slopes, rtol=1e-4, atol=1e-8)


@pytest.mark.slow
def test_a_map_over_models_of_second_derivatives():
    f = lambda n: curve((8.0, n), 30.0).test
    many = jax.vmap(jax.grad(jax.grad(f)))(jnp.array([2.0, 4.0]))
    h = 1e-3
    slopes = [(float(jax.grad(f)(n + h)) - float(jax.grad(f)(n - h))) / (2 * h) for n in (2.0, 4.0)]
    assert np.allclose(many, slopes, rtol=1e-5)
