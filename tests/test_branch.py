"""The physical branch is reached from the left of the spectrum, at any ζ, in few steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from continued import continued_from_above
from problems import USUAL, draw

import rfspec as rf
from rfspec.numerics import continuation
from rfspec.resolvent.branch import reach, reach_inside
from rfspec.resolvent.equations import equations

pytestmark = pytest.mark.filterwarnings("ignore::rfspec.SaturationWarning")
MODELS = 6
RADII = np.geomspace(1e-14, 3.0, 24)


def models(draws):
    rng = np.random.default_rng(17)
    return [draw(rng, draws=draws, atoms=4, box=USUAL) for _ in range(MODELS)]


def iterated(model, zeta, steps=4000):
    """(q, δ) by u = f(u) of (6) and (7) or (19) and (20), and where q no longer changes."""
    ge, psi_p, psi_n = rf.gaussian_equivalent(model), float(model.psi_p), float(model.psi_n)
    k, b, v, s = (float(c) for c in (ge.kappa2, ge.b2, ge.v2, ge.s2))
    values, weights = (np.asarray(a) for a in (model.covariance.values, model.covariance.weights))
    m, own = float(model.noise_draws), np.isfinite(model.noise_draws)
    zeta, s = np.asarray(zeta)[:, None], s if own else 0.0
    q, one, two = -1.0 / zeta, 0.0 * zeta, 0.0 * zeta
    for _ in range(steps):
        D1, D2 = 1.0 / (1.0 + one), 1.0 / (1.0 + two)
        f = D1 / m + (1.0 - 1.0 / m) * D2 if own else 1.0
        T = b * f + k * values * D1
        e = 1.0 + psi_p * T * q
        at = lambda a, e=e: (weights * a / e).sum(axis=1, keepdims=True)
        drawn = (s * q + b * q * at(1.0)) / m if own else 0.0
        before, (one, two, q) = (
            q,
            (
                psi_p / psi_n * (v * q + k * q * at(values) + drawn),
                psi_p / psi_n * drawn,
                1.0 / (s * f + v * D1 - zeta + at(T)),
            ),
        )
    settled = np.abs(q / before - 1)[:, 0] < 1e-14
    return [a[:, 0] for a in ((q, one, two) if own else (q, one))], settled


def equations_of(model):
    return equations(model, rf.gaussian_equivalent(model))


# on the axis, next to it, and far from it
ANGLES = np.array([0.0, 1e-6, 0.1, 1.0, 3.0, np.pi])


@jax.jit
def on_rays(eq):
    rays = jnp.asarray(RADII[:, None] * np.exp(1j * ANGLES)[None])
    zeta = (jnp.where(ANGLES[None] == 0, rays.real + 0j, rays) * eq.upper_bound).ravel()
    u, known, _ = jax.vmap(lambda z: reach(eq, z))(zeta)
    return zeta, u, known, jax.vmap(lambda z: continued_from_above(eq, z))(zeta)


@pytest.mark.parametrize("draws", [(np.inf,), (1, 2, 30)], ids=["all draws", "few draws"])
def test_every_solution_is_recognised_and_that_from_high_above(draws):
    for model in models(draws):
        _, u, known, above = jax.tree.map(np.asarray, on_rays(equations_of(model)))
        assert np.all(known)
        for one, other in zip(u, above, strict=True):
            assert np.all(np.abs(one / other - 1) < 1e-7)  # next to edges half the digits are left


@pytest.mark.parametrize("draws", [(np.inf,), (1, 2, 30)], ids=["all draws", "few draws"])
def test_off_the_axis_it_is_the_fixed_point_of_the_iteration(draws):
    off = jax.jit(lambda eq, z: jax.vmap(lambda z: reach_inside(eq, z))(z))
    for model in models(draws):
        eq = equations_of(model)
        zeta = RADII * np.exp(1j) * float(eq.upper_bound)
        true, settled = iterated(model, zeta)
        assert np.mean(settled) > 0.7
        for u, by_iteration in zip(off(eq, zeta), true, strict=True):
            assert np.all(np.abs(u / by_iteration - 1)[settled] < 1e-9)


@jax.jit
def on_the_left(eq):
    zeta = -eq.upper_bound * jnp.geomspace(1e-60, 10.0, 60)
    u = jax.vmap(lambda z: continuation.on_the_left(eq, z))(zeta)
    return u, jax.vmap(lambda z, *u: jnp.stack(eq.quotients(u, z)))(zeta, *u)


@pytest.mark.parametrize("draws", [(np.inf,), (1, 2, 30)], ids=["all draws", "few draws"])
def test_newtons_method_converges_from_anywhere_left_of_the_spectrum(draws):
    """All unknowns are positive there, over sixty decades, and u = f(u)."""
    for model in models(draws):
        u, quotients = jax.tree.map(np.asarray, on_the_left(equations_of(model)))
        assert np.all(np.stack(u) > 0)
        assert np.all(np.abs(quotients - 1) < 1e-9)


def test_median_of_ten_steps(monkeypatch):
    """So many on the arc; the steps left of the spectrum are real, and cost a third."""
    monkeypatch.setattr(continuation, "MOST_ON_THE_ARC", np.array([10, 10]))

    @jax.jit
    def found(eq):
        zeta = jnp.asarray(RADII + 0j) * eq.upper_bound
        left = jax.vmap(lambda z: continuation.on_the_left(eq, -jnp.abs(z), close=0.3))(zeta)
        return jax.vmap(lambda z, *u: continuation.along_the_arc(eq, u, z)[1])(zeta, *left)

    assert np.mean([found(equations_of(model)) for model in models((np.inf,))]) > 0.5
