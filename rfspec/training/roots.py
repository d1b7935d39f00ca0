"""A time at which a combination of the losses passes a level, inside a bracket.

The two-point functions are computed once for an interval of the grid, the losses and their slopes
at its Chebyshev nodes. In log τ they are analytic in a strip of half-width π/2, so that polynomials
through so many nodes are exact to rounding, and the root is one of polynomials.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..numerics.types import Matrix, Real, Reals, Truth, Vector, Whole
from ..resolvent.branch import reach_inside
from ..resolvent.interface import Equations
from .contour import FINEST, flow
from .kernel import kernel_of
from .losses import losses, solutions
from .rows import Checked, with_checks
from .scan import time_at

# Chebyshev nodes of an interval: 13^{-SAMPLES} is less than rounding
SAMPLES = 16
# from the Chebyshev coefficients of a function to those of its derivative
DERIVATIVE = np.pad(np.polynomial.chebyshev.chebder(np.eye(SAMPLES), axis=1), ((0, 0), (0, 1)))
# guarded Newton steps, at most: one follows another until a step is CLOSE, relative to the bracket,
# and two more double its digits twice
GUARDED = 24
CLOSE = 1e-4
# as far as a last Newton step goes, relative to the bracket: rounding may send it anywhere
NEAR = 1 / 64


class Root(NamedTuple):
    """A time v and both losses there, [2].

    `slope`, `residual`: of the condition at v. `around`, `u`: the time that the contours used are
    made for, and the solutions on them.
    """

    v: Real
    slope: Real
    residual: Real
    losses: Vector
    around: Real
    u: Checked


class Sampled(NamedTuple):
    """Chebyshev coefficients of both losses, their slopes and bends in v, [order, loss, sample].

    `middle`, `half`: of the interval of v.
    """

    coefficients: Reals
    middle: Real
    half: Real

    def at(self, v: Real) -> Matrix:
        """Losses, slopes and bends at v, [3, 2]."""
        x = (v - self.middle) / self.half
        T = [jnp.ones_like(x), x]
        while len(T) < SAMPLES:
            T.append(2.0 * x * T[-1] - T[-2])
        return self.coefficients @ jnp.stack(T)


def root(
    eq: Equations,
    log_start: Real,
    interval: tuple[Real, Real],
    bracket: tuple[Real, Real],
    weights: Vector,
    level: Real,
    rising: Truth,
) -> Root:
    """Where weights·(L_train, L_test, dL_test/dv) passes the level in a bracket of an interval."""
    low, high = interval
    around = time_at(high, log_start)
    contours = with_checks(lambda count: flow(around, eq.top, count), FINEST)
    u = solutions(eq, contours, reach_inside)
    kernel = kernel_of(eq, contours.fine, u.fine, still=True)
    path = lambda v: flow(time_at(v, log_start), eq.top, FINEST, around=around)
    sampled = _sampled(lambda v: losses(eq, path(v), kernel), low, high)
    low, high = bracket

    def value_and_losses(sampled: Sampled, v: Real) -> tuple[Vector, Vector]:
        # the value of the condition and its slope in v, [2], and both losses, [2]
        loss, slope, bend = sampled.at(v)
        value = weights[:2] @ loss + weights[2] * slope[1] - level
        return jnp.stack([value, weights[:2] @ slope + weights[2] * bend[1]]), loss

    def refine(v: Real, _: Any) -> tuple[Real, tuple[Real, tuple[Real, Real], Vector]]:
        (value, slope), loss = value_and_losses(sampled, v)
        most = NEAR * (high - low)
        return v + jnp.clip(-value / slope, -most, most), (v, (slope, jnp.abs(value)), loss)

    v = _guarded_newton(lambda v: value_and_losses(sampled, v)[0], (low, high), rising)
    _, refined = jax.lax.scan(refine, v, length=3)
    v, (slope, residual), loss = jax.tree.map(lambda a: a[-1], refined)
    return Root(v, slope, residual, loss, around, u)


def _sampled(f: Callable[[Real], Vector], low: Real, high: Real) -> Sampled:
    middle, half = (low + high) / 2, (high - low) / 2
    angle = np.pi * (np.arange(SAMPLES) + 0.5) / SAMPLES

    at = lambda v: jnp.stack(jax.jvp(f, (v,), (jnp.ones_like(v),)))
    values = jax.vmap(at, out_axes=-1)(middle + half * np.cos(angle))
    k = np.arange(SAMPLES)
    to_series = np.where(k == 0, 1.0, 2.0) / SAMPLES * np.cos(np.outer(angle, k))
    series = values @ to_series
    # bends serve Newton's method and errors only
    bends = series[1:] @ DERIVATIVE / half
    return Sampled(jnp.concatenate([series, bends]), middle, half)


def _guarded_newton(
    condition: Callable[[Real], Vector], bracket: tuple[Real, Real], rising: Truth
) -> Real:
    def step(
        carry: tuple[Whole, Real, Real, Real, Real],
    ) -> tuple[Whole, Real, Real, Real, Real]:
        count, low, high, v, _ = carry
        value, slope = condition(v)
        is_right = (value > 0) == rising
        low, high = jnp.where(is_right, low, v), jnp.where(is_right, v, high)
        newton = v - value / slope
        new = jnp.where((newton > low) & (newton < high), newton, (low + high) / 2)
        return count + 1, low, high, new, jnp.abs(new - v)

    def goes_on(carry: tuple[Whole, Real, Real, Real, Real]) -> Truth:
        count, low, high, _, moved = carry
        return (count < GUARDED) & (moved > CLOSE * (high - low))

    middle = (bracket[0] + bracket[1]) / 2
    *_, v, _ = jax.lax.while_loop(goes_on, step, (0, *bracket, middle, jnp.inf))
    return v
