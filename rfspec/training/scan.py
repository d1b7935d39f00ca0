"""All of training at a glance: losses on a grid of times, to ten digits.

In u = log τ the losses are analytic for |Im u| < π/2, so that a grid with steps of half a unit sees
every minimum and every crossing. Before the grid lies one interval more, down to τ = 0, on which
the losses are nearly parabolas in τ.

The grid is walked in rungs, within which all times share a contour for 2ω²τ/ψ_p = c.

The variable v along training is log c from c0 on, where nothing is learnt yet, and 1 + v - log c0 =
c/c0 before.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..numerics.types import Real, Reals, Vector, Whole
from ..resolvent.branch import reach_inside
from ..resolvent.interface import Equations
from .contour import flow
from .kernel import kernel_of
from .losses import losses

# the grid reaches from cλ = FIRST for the largest λ to cλ = LAST for the smallest
FIRST, LAST = 1e-3, 40.0
# no eigenvalue that is smaller, relative to the largest, learns
SMALLEST = 1e-16
# contour nodes, and the error that they leave, relative to the untrained loss
NODES = 32
ACCURACY = 1e-10
# a rung serves times within this factor, so many of them; most rungs
SPREAD = 12.0
POINTS = 5
RUNGS = int(np.ceil(np.log(LAST / FIRST / SMALLEST) / np.log(SPREAD)))
# times on the grid, those before the first rung included
GRID = 2 + POINTS * RUNGS


class Scan(NamedTuple):
    """Losses, and the slope of L_test in v, on a grid of v, vectors [GRID]; the first is at c = 0.

    Beyond the index `last` they repeat themselves. `log_start`: log c0, the second of the grid.
    """

    grid: Vector
    train: Vector
    test: Vector
    test_slope: Vector
    last: Whole

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
    length = jnp.log(LAST / slowest) - log_start
    rungs = jnp.clip(jnp.ceil(length / np.log(SPREAD)), 1, RUNGS).astype(int)
    height = length / rungs

    # two rungs hold the times of the grid before c0 and of c0 itself
    def climb(carry: tuple[Whole, Reals]) -> tuple[Whole, Reals]:
        i, along = carry
        up = log_start + height * (i - 2 + np.arange(1, POINTS + 1) / POINTS)
        v = jnp.where(i < 2, log_start + jnp.minimum(i - 1.0, 0.0), up)
        return i + 1, along.at[i].set(_on_rung(eq, log_start, v))

    _, along = jax.lax.while_loop(
        lambda carry: carry[0] < rungs + 2, climb, (0, jnp.zeros((RUNGS + 2, POINTS, 4)))
    )
    last = 1 + POINTS * rungs
    rows = along.reshape(-1, 4)[2 * POINTS - 2 :].at[0].set(along[0, 0])
    grid, train, test, slope = rows[jnp.minimum(np.arange(GRID), last)].T
    return Scan(grid, train, test, slope, last)


def _on_rung(eq: Equations, log_start: Real, v: Vector) -> Reals:
    # v, both losses and the slope of L_test at times that share the nodes of the latest, [time, 4]
    around = time_at(v[-1], log_start)
    contour = flow(around, eq.top, NODES, spread=SPREAD)
    u = jax.vmap(lambda z: reach_inside(eq, z - eq.decay - eq.origin))(contour.nodes)
    kernel = kernel_of(eq, contour, u, still=True)

    def at(v: Real) -> Vector:
        path = lambda v: flow(time_at(v, log_start), eq.top, NODES, around=around, spread=SPREAD)
        both, slopes = jax.jvp(lambda v: losses(eq, path(v), kernel), (v,), (jnp.ones_like(v),))
        return jnp.stack([v, both[0], both[1], slopes[1]])

    return jax.vmap(at)(v)


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
