r"""A solution of F(u; ζ) = 0 with all Im u > 0, found at any ζ with Im ζ ≥ 0 without a guess.

Left of the spectrum, at ζ = -x, all unknowns are positive, and each is a rising function of all
that grows more slowly than they do. Newton's method in their logarithms, with the first unknown
kept between bounds, converges there from anywhere. The arc |ζ| = x leads from there to every other
ζ. Along it the solution changes little, whatever scales the spectrum has, so that few steps follow
it.

Nothing here knows which equations are solved. A loop makes one Newton step an iteration, since a
body of one step compiles several times faster than one with all steps.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .holomorphic import Unknowns, jacobian, reciprocal, residual_at, solve_small, square
from .types import Number, Real, Truth, Whole

# --------------------------------------------------------------------------------------------------
# left of the spectrum

MOST_ON_THE_LEFT = 64
# smallest logarithm's argument: what is smaller counts as 0
LEAST = 1e-300
# a first guess of unknowns that may be tiny
TINY = 1e-100
# difference of two logarithms that may be rounding, ratio of two residuals that is small, Newton
# step that need not stay between bounds, and how much faster than u = f(u) others may go
SLACK, SETTLED, SMALL, FASTER = 1e-10, 0.01, 0.1, 10.0


def on_the_left(eq: Any, zeta: Real, *, close: float = 1e-9, wanted: Truth = True) -> Unknowns:
    """The positive solution at a real ζ < 0, to a relative change of `close` in a Newton step.

    |ζ| may be as small as 10⁻⁶⁰ of the spectrum's bound. Where a Newton step leaves the bounds of
    the first unknown, they are halved instead. The result is any number where it is not wanted.
    """
    quotients = lambda *u: eq.quotients(u, zeta)

    def cond(carry: tuple[Whole, Unknowns, Real, Real, Real]) -> Truth:
        k, _, _, _, change = carry
        return wanted & (k < MOST_ON_THE_LEFT) & (change > close)

    # f_i/u_i in logarithms, and its derivatives in those of u
    def body(carry: tuple[Whole, Unknowns, Real, Real, Real]) -> Any:
        k, u, low, high, _ = carry
        ratios, columns = jacobian(quotients, u)
        value = tuple(jnp.log(jnp.maximum(r, LEAST)) for r in ratios)
        columns = [
            tuple(v * c / r for c, r in zip(column, ratios, strict=True))
            for v, column in zip(u, columns, strict=True)
        ]
        step = solve_small(columns, value)
        # on which side the solution lies is known where all equations ask for the same direction,
        # or those of the others nearly hold
        settled = jnp.max(jnp.abs(jnp.stack(value[1:]))) < SETTLED * jnp.abs(value[0])
        upwards, downwards = (
            (settled & (s * value[0] > 0)) | (jnp.min(s * jnp.stack(value)) > -SLACK)
            for s in (1.0, -1.0)
        )
        place = jnp.log(u[0])
        low, high = jnp.where(upwards, place, low), jnp.where(downwards, place, high)
        change, end = jnp.max(jnp.abs(jnp.stack(step))), place - step[0]
        sound = (change < SMALL) | ((end >= low) & (end <= high) & jnp.isfinite(change))
        halved = (low + high) / 2 - place
        others = _others(value, columns, halved)
        moves = (jnp.where(sound, -a, b) for a, b in zip(step, (halved, *others), strict=True))
        new = tuple(v * jnp.exp(a) for v, a in zip(u, moves, strict=True))
        return k + 1, new, low, high, jnp.where(jnp.isnan(change), jnp.inf, change)

    low, high = -jnp.log(eq.upper_bound - zeta), -jnp.log(-zeta)
    first = jnp.exp((low + high) / 2), *(jnp.full_like(low, TINY) for _ in eq.start(zeta)[1:])
    first = first[0], *(v * r for v, r in zip(first[1:], quotients(*first)[1:], strict=True))
    start = 0, first, low - SLACK, high + SLACK, jnp.full_like(low, jnp.inf)
    return jax.lax.while_loop(cond, body, start)[1]


def _others(value: Unknowns, columns: list[Unknowns], moved: Real) -> Unknowns:
    # by how much all unknowns but the first move while it moves by so much: not much faster than
    # the iteration u = f(u)
    step = solve_small([column[1:] for column in columns[1:]], value[1:])
    faster = (
        jnp.where(jnp.abs(b) < FASTER * jnp.abs(v), -b, jnp.where(jnp.isnan(b), 1.0, FASTER) * v)
        for b, v in zip(step, value[1:], strict=True)
    )
    return tuple(moved + c for c in faster)


# --------------------------------------------------------------------------------------------------
# along an arc

# Two ways along an arc, a quick one and a careful one: the angles at which Newton's method stops,
# the last of which stand for ζ itself; the largest relative Newton step after which the next angle
# is in reach; and how many steps there may be.
LENGTH = 48
ANGLES = np.full((2, LENGTH), -1.0)
ANGLES[0, :5] = np.pi, np.pi / 2, 0.47, 0.14, 0.042
ANGLES[1, :-1] = np.pi * 0.45 ** np.arange(LENGTH - 1)
IN_REACH, MOST_ON_THE_ARC = np.array([0.3, 0.01]), np.array([32, 6 * LENGTH])
WAYS = len(ANGLES)
# an angle this near to that of ζ is not stopped at
NEARLY = 1.5
# largest relative Newton step after which u is found
FOUND = 1e-9


def along_the_arc(
    eq: Any, left: Unknowns, zeta: Number, way: Whole = 0, *, wanted: Truth = True
) -> tuple[Unknowns, Truth]:
    """The solution at ζ, Im ζ ≥ 0, followed along |ζ| from `left`, and whether a root was found.

    `left` is the solution at -|ζ|. Each angle starts from the power law u ∝ ζˢ with the slope at
    the last one. The result is any number where it is not wanted.
    """
    radius, last = jnp.abs(zeta), jnp.arctan2(zeta.imag, zeta.real)
    in_reach, most = jnp.asarray(IN_REACH)[way] ** 2, jnp.asarray(MOST_ON_THE_ARC)[way]

    def place(j: Whole) -> tuple[Real, Number]:
        angle = jnp.asarray(ANGLES).ravel()[way * LENGTH + j]
        z = radius * jnp.asarray(np.exp(1j * ANGLES)).ravel()[way * LENGTH + j]
        on_the_way = angle > NEARLY * last
        return jnp.where(on_the_way, angle, last), jnp.where(on_the_way, z, zeta)

    def cond(carry: tuple[Whole, Whole, Truth, Unknowns]) -> Truth:
        k, _, found, _ = carry
        return ~found & (k < most)

    def body(carry: tuple[Whole, Whole, Truth, Unknowns]) -> Any:
        k, j, _, u = carry
        (angle, z), (next_angle, _) = place(j), place(j + 1)
        value, columns = jacobian(residual_at(eq, z), u)
        _, by_z = jax.jvp(lambda z: eq.residual(u, z), (z,), (jnp.ones_like(z),))
        step, fall = solve_small(columns, value), solve_small(columns, by_z)
        moved = tuple(a - b for a, b in zip(u, step, strict=True))
        change = functools.reduce(
            jnp.maximum, (square(a) / square(b) for a, b in zip(step, u, strict=True))
        )
        onwards = (angle != last) & (change < in_reach)
        turn = jnp.where(onwards, next_angle - angle, 0.0) / 4
        way_on = (-1j * turn * z * f for f in fall)
        new = tuple(a * _square_of_ratio(a, b) for a, b in zip(moved, way_on, strict=True))
        found = ((angle == last) & (change < FOUND**2)) | jnp.isnan(change)
        return k + 1, j + onwards, found, new

    start = 0, 0, jnp.logical_not(wanted), tuple(v + 0j for v in left)
    *_, found, u = jax.lax.while_loop(cond, body, start)
    return u, found & ~jnp.isnan(u[0])


def _square_of_ratio(a: Number, b: Number) -> Number:
    # e^{4b/a} roughly, for a few operations
    ratio = (a + b) * reciprocal(a - b)
    return ratio * ratio
