"""All of training at a glance: losses on a grid of times, to ten digits.

In u = log τ the losses are analytic for |Im u| < π/2, so that a grid with steps of half a unit sees
every minimum and every crossing. Before the grid lies one interval more, down to τ = 0, on which
the losses are nearly parabolas in τ.

The grid is walked by continuation. The nodes of a contour for 2ω²τ/ψ_p = c lie on rays z ∝ 1/c,
along which three Newton steps follow the solution from one training time to the next.

The variable v along training is log c from c0 on, where nothing is learnt yet, and 1 + v - log c0 =
c/c0 before.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ..numerics.holomorphic import Unknowns
from ..numerics.types import Numbers, Real, Reals, Vector
from ..resolvent.interface import Equations
from ..resolvent.solver import solve_off_axis, towards
from .contour import flow
from .losses import losses, pairs_of

# times on the grid, τ = 0 included
GRID = 96
# the grid reaches from cλ = FIRST for the largest λ to cλ = LAST for the smallest
FIRST, LAST = 1e-3, 40.0
# contour nodes, and the error that they leave, relative to the untrained loss
NODES = 24
ACCURACY = 1e-10
# times whose two-point functions are in memory at once
AT_ONCE = 8
# no eigenvalue that is smaller, relative to the largest, learns
SMALLEST = 1e-16


class Scan(NamedTuple):
    """Losses, and the slope of L_test in v, on a grid of v, vectors [GRID]; the first is at c = 0.

    `log_start`: log c0, the second of the grid.
    """

    grid: Vector
    train: Vector
    test: Vector
    test_slope: Vector

    @property
    def log_start(self) -> Real:
        return self.grid[1]


def time_at(v: Reals, log_start: Real) -> Reals:
    """The training time c of v, smooth once across c0; zero at v = log c0 - 1."""
    late = v > log_start
    before = jnp.exp(log_start) * (1.0 + v - log_start)
    return jnp.where(late, jnp.exp(jnp.where(late, v, log_start)), before)


def variable_at(c: Real, log_start: Real) -> Real:
    """The v of a training time c."""
    late = c > jnp.exp(log_start)
    before = log_start - 1.0 + c / jnp.exp(log_start)
    return jnp.where(late, jnp.log(jnp.where(late, c, 1.0)), before)


def scan(eq: Equations) -> Scan:
    """Walk training from c = 0 to where nothing is left to learn; not differentiated."""
    eq = jax.lax.stop_gradient(eq)
    slowest = jnp.maximum(eq.slowest_mode, SMALLEST * eq.fastest_mode) + eq.decay
    log_start = jnp.log(FIRST / eq.fastest_mode)
    later = jnp.linspace(log_start, jnp.log(LAST / slowest), GRID - 1)
    grid = jnp.append(log_start - 1.0, later)
    nodes = jax.vmap(lambda c: flow(c, eq.top, NODES).nodes)(time_at(grid, log_start)) - eq.decay

    def follow(u: Unknowns, z: Numbers) -> tuple[Unknowns, Unknowns]:
        u = jax.vmap(lambda z, *u: towards(eq, u, z))(z, *u)
        return u, u

    untrained, first = zip(*jax.vmap(jax.vmap(partial(solve_off_axis, eq)))(nodes[:2]), strict=True)
    _, followed = jax.lax.scan(follow, first, nodes[1:])
    along = tuple(jnp.concatenate([a[None], b]) for a, b in zip(untrained, followed, strict=True))

    def losses_and_slopes(
        point: tuple[Real, Unknowns],
    ) -> tuple[tuple[Real, Real], tuple[Real, Real]]:
        v, u = point
        pairs, around = pairs_of(eq, u), time_at(v, log_start)
        path = lambda w: flow(time_at(w, log_start), eq.top, NODES, around=around)
        both = lambda w: losses(eq, path(w), pairs)[:2]
        return jax.jvp(both, (v,), (jnp.ones_like(v),))

    (train, test), (_, test_slope) = jax.lax.map(
        losses_and_slopes, (grid, along), batch_size=AT_ONCE
    )
    return Scan(grid, train, test, test_slope)


def lowest_between(scanned: Scan) -> Vector:
    """The smallest L_test in each interval in which it turns upwards, ∞ in the others, [GRID - 1].

    It is read off the cubic that has the values and slopes at the ends.
    """
    h, value, slope = jnp.diff(scanned.grid)[None], scanned.test[None], scanned.test_slope[None]
    a, b, c, d = value[:, :-1], value[:, 1:], h * slope[:, :-1], h * slope[:, 1:]
    x = jnp.linspace(0.0, 1.0, 9)[:, None]
    cubic = (
        a * (1 + 2 * x) * (1 - x) ** 2
        + b * x**2 * (3 - 2 * x)
        + c * x * (1 - x) ** 2
        - d * x**2 * (1 - x)
    )
    turns = (scanned.test_slope[:-1] < 0) & (scanned.test_slope[1:] >= 0)
    return jnp.where(turns, jnp.min(cubic, axis=0), jnp.inf)
