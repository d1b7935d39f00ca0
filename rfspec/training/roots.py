"""A time at which a combination of the losses passes a level, inside a bracket.

The two-point functions are computed once for the whole bracket, so that the root is one in the
weights of a contour alone. Three Newton steps at the end make it an implicit function of the model,
which can be differentiated twice.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ..numerics.types import Real, Truth, Vector, Whole
from ..resolvent.interface import Equations
from ..resolvent.solver import solve_off_axis
from .contour import FINEST, Contour, flow
from .losses import Pairs, losses, pairs_of
from .scan import time_at

# guarded Newton steps, at most: one follows another until a step is CLOSE, relative to the bracket,
# and two more double its digits twice
GUARDED = 24
CLOSE = 1e-4
# as far as a last Newton step goes, relative to the bracket: rounding may send it anywhere
NEAR = 1 / 64


class Condition(NamedTuple):
    """weights·(L_train, L_test, dL_test/dv) - level as a function of v, on one contour's nodes.

    `pairs`: the two-point functions on the nodes for the training time `around`.
    """

    eq: Equations
    pairs: Pairs
    weights: Vector
    level: Real
    around: Real
    log_start: Real

    def value_and_losses(self, v: Real) -> tuple[Vector, Vector]:
        """The value and its slope in v, [2], and both losses, [2]."""
        one = jnp.ones_like(v)
        both = lambda v: jnp.stack(losses(self.eq, self._contour(v), self.pairs)[:2])
        slopes = lambda v: jax.jvp(both, (v,), (one,))
        (loss, slope), (_, bend) = jax.jvp(slopes, (v,), (one,))
        value = self.weights[:2] @ loss + self.weights[2] * slope[1] - self.level
        return jnp.stack([value, self.weights[:2] @ slope + self.weights[2] * bend[1]]), loss

    def _contour(self, v: Real) -> Contour:
        return flow(time_at(v, self.log_start), self.eq.top, FINEST, around=self.around)


def root(
    eq: Equations,
    log_start: Real,
    bracket: tuple[Real, Real],
    weights: Vector,
    level: Real,
    rising: Truth,
) -> tuple[Real, Vector, Vector]:
    """The v at which weights·(L_train, L_test, dL_test/dv) passes the level in a bracket.

    Returns v, differentiable in the equations and the level; the slope of the condition and what is
    left of it, [2]; and both losses there, [2].
    """
    low, high = jax.lax.stop_gradient(bracket)

    def once(
        carry: tuple[Real, Real], guarded: Whole
    ) -> tuple[tuple[Real, Real], tuple[Real, Vector, Vector]]:
        center, guess = carry
        around = time_at(center, log_start)
        nodes = flow(around, eq.top, FINEST).nodes
        u = jax.vmap(partial(solve_off_axis, eq))(nodes - eq.decay)
        condition = Condition(eq, pairs_of(eq, u), weights, level, around, log_start)
        v = _guarded_newton(condition, (low, high), guess, rising, guarded)
        refined = _last(jax.lax.scan(partial(_refine, condition, high - low), v, length=3))
        v = jax.lax.stop_gradient(refined[0])
        return (v, v), refined

    # the contour of the first round serves the whole bracket, that of the second the root found
    return _last(jax.lax.scan(once, (high, (low + high) / 2), jnp.array([GUARDED, 0])))


def _guarded_newton(
    condition: Condition, bracket: tuple[Real, Real], guess: Real, rising: Truth, most: Whole
) -> Real:
    frozen = jax.lax.stop_gradient(condition)

    def step(
        carry: tuple[Whole, Real, Real, Real, Real],
    ) -> tuple[Whole, Real, Real, Real, Real]:
        count, low, high, v, _ = carry
        value, slope = frozen.value_and_losses(v)[0]
        is_right = (value > 0) == rising
        low, high = jnp.where(is_right, low, v), jnp.where(is_right, v, high)
        newton = v - value / slope
        new = jnp.where((newton > low) & (newton < high), newton, (low + high) / 2)
        return count + 1, low, high, new, jnp.abs(new - v)

    def goes_on(carry: tuple[Whole, Real, Real, Real, Real]) -> Truth:
        count, low, high, _, moved = carry
        return (count < most) & (moved > CLOSE * (high - low))

    *_, v, _ = jax.lax.while_loop(goes_on, step, (0, *bracket, guess, jnp.inf))
    return v


def _refine(
    condition: Condition, width: Real, v: Real, _: Any
) -> tuple[Real, tuple[Real, Vector, Vector]]:
    (value, slope), loss = condition.value_and_losses(v)
    slope_and_residual = jax.lax.stop_gradient(jnp.stack([slope, jnp.abs(value)]))
    most = NEAR * width
    return v + jnp.clip(-value / slope, -most, most), (v, slope_and_residual, loss)


def _last(scanned: tuple[Any, Any]) -> tuple[Real, Vector, Vector]:
    return jax.tree.map(lambda a: a[-1], scanned[1])
