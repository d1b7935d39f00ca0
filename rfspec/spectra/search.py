r"""The search for all bulks of a spectrum, which knows when it is complete.

The search works on ζ > 0, the distance from the atom. Two exact facts are known of every point from
the solution there alone: whether it lies in the support, and the mass above it (`eq.tail`). In a
gap that mass is a sum of ranks and weights that make up U (`eq.levels`). Gaps are told apart by
which of these they are (`eq.ranks_above`), so that no weight is too small.

Two neighbours on a logarithmic grid that lie in different gaps enclose a bulk that was stepped
over. For each possible level there is a gap; or two neighbours at which the density is the same and
positive; or nothing wider than rounding. Intervals are cut until one of these is found.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ..numerics.checks import on_host
from ..numerics.holomorphic import Unknowns, descend
from ..numerics.types import Real, Reals, Truth, Truths, Vector, Whole, Wholes
from ..resolvent.column_equations import SAME
from ..resolvent.interface import Equations
from ..resolvent.solver import REAL, is_the_solution

CUTS = 16  # points put into an interval that is cut
ROUNDS = 16  # how often intervals are cut
AT_ONCE = 1024  # points solved for at once, times eigenvalues of Σ
NARROWEST = 1e-13  # relative width of the narrowest gap or bulk
# two ways down to the axis, short and long: lowest height, Newton steps at each level and at last
WAYS = ((0.1, 1, 8), (1e-16, 2, 4))
# Neighbours have no gap between them if they are this near, relative to their place, and the
# solution changes by less than STEADY between them, relative to its imaginary part.
NEAR = 0.05
STEADY = 0.1


class Points(NamedTuple):
    """Points on the real axis, in ζ; NaN where a row is not used."""

    x: Reals
    mass_above: Reals
    # which of the levels the mass is, at points in a gap
    level: Wholes
    # whether the point lies in the support
    inside: Truths
    # the solution
    u: Unknowns


class Search(NamedTuple):
    """Ascending points, the number of edges between them, and whether the search is complete."""

    points: Points
    changes: Whole
    complete: Truth

    @property
    def count(self) -> Whole:
        """How many bulks there are."""
        return (on_host(self.changes) + on_host(self.points.inside)[0]) // 2


def is_inside(eq: Equations, u: Unknowns) -> Truth:
    return eq.relative_imaginary(u) > REAL


def on_axis(u: Unknowns, inside: Truth) -> Unknowns:
    # without what rounding leaves of an imaginary part off the support
    return tuple(jnp.where(inside, v, v.real + 0j) for v in u)


def search_support(eq: Equations) -> Search:
    """Points of which at least one lies in every gap and every bulk of the support."""
    eq = jax.lax.stop_gradient(eq)
    marks = jnp.clip(eq.bulk_guesses / eq.upper_bound, 1e-14, 1.0)
    grid = jnp.concatenate([jnp.geomspace(1e-14, 1.0 + 1e-6, 43), 0.8 * marks, marks, 1.25 * marks])
    lowest = 1e-24 * jnp.minimum(
        1.0, jnp.min(jnp.where(eq.bulk_guesses > 0, eq.bulk_guesses, jnp.inf)) / eq.upper_bound
    )
    grid = eq.upper_bound * jnp.append(grid, lowest)
    levels, whole = _levels_and_whole(eq)
    rows = max(-(-grid.size // CUTS), -(-levels[0].size // 4))  # intervals cut in one round
    first = jnp.full(rows * CUTS, jnp.nan).at[: grid.size].set(grid)
    empty = jnp.full(rows * CUTS * ROUNDS, jnp.nan)
    ones = tuple(jnp.ones(empty.size, complex) for _ in eq.start(1.0 + 0j))
    none = jnp.zeros(empty.size, bool)
    points = Points(empty, jnp.ones(empty.size), jnp.zeros(empty.size, int), none, ones)

    def cond(carry: tuple[Points, Vector, Truth, Whole]) -> Truth:
        _, pending, _, k = carry
        return (k < ROUNDS) & jnp.any(~jnp.isnan(pending))

    def body(carry: tuple[Points, Vector, Truth, Whole]) -> tuple[Points, Vector, Truth, Whole]:
        points, pending, _, k = carry
        points = merged(points, measured_at(eq, pending))
        hidden, wanted = _intervals_to_cut(eq, levels, points)
        span = jnp.log(points.x[1:] / points.x[:-1])
        width = jnp.where(wanted & (span > NARROWEST), span, 0.0)
        complete = ~jnp.any(hidden) & ~jnp.any(width > 0)
        complete = complete & (
            points.inside[0] | _same_gap(eq, points.level[0], points.mass_above[0], *whole)
        )
        return points, cut_points(points, width, rows, CUTS), complete, k + 1

    points, _, complete, _ = jax.lax.while_loop(cond, body, (points, first, False, 0))
    return Search(points, jnp.sum(points.inside[1:] != points.inside[:-1]), complete)


def measured_at(eq: Equations, x: Vector) -> Points:
    """The points x, with what the solution at each tells; NaN where a solution was lost.

    Newton's method from not far above finds most solutions, and these can be recognised. The others
    are continued down to where nothing changes.
    """
    used = ~jnp.isnan(x)
    zeta = jnp.where(used, x, eq.upper_bound)
    few = max(1, min(CUTS, AT_ONCE // eq.weights.size))

    def attempt(
        carry: tuple[Unknowns, Truths], way: tuple[Real, ...]
    ) -> tuple[tuple[Unknowns, Truths], None]:
        floor, steps, final = way

        def one(x: Real) -> tuple[Unknowns, Truth]:
            u = descend(eq, x + 0j, floor * x, steps=steps, final=final)
            return u, is_the_solution(eq, u, x)

        u, certain = carry
        again, certain_now = _where_wanted(one, zeta, used & ~certain, few)
        return (jax.tree.map(partial(jnp.where, certain), u, again), certain | certain_now), None

    nothing = tuple(jnp.ones(x.size, complex) for _ in eq.start(1.0 + 0j)), jnp.zeros(x.size, bool)
    (u, _), _ = jax.lax.scan(attempt, nothing, tuple(map(jnp.array, zip(*WAYS, strict=True))))

    def point(x: Real, used: Truth, *u: Any) -> Points:
        good = used & (jnp.min(jnp.stack([v.imag / jnp.abs(v) for v in u])) > -REAL)
        inside = is_inside(eq, u)
        u = on_axis(u, inside)
        return Points(
            jnp.where(good, x, jnp.nan),
            eq.tail(u, x),
            eq.level_number(eq.ranks_above(u)),
            inside & good,
            u,
        )

    return jax.vmap(point)(zeta, used, *u)


def _where_wanted(
    f: Callable[[Any], Any], x: Vector, wanted: Truths, few: int
) -> tuple[Unknowns, Truths]:
    # a few points at a time; f may be anything where it is not wanted
    few = min(few, x.size)
    order = jnp.argsort(~wanted)
    size = -(-x.size // few) * few
    sorted_x, wanted = (
        jnp.pad(x[order], (0, size - x.size), mode="edge"),
        jnp.pad(wanted[order], (0, size - x.size)),
    )

    def turn(carry: Any) -> Any:
        values, k = carry
        new = jax.vmap(f)(jax.lax.dynamic_slice_in_dim(sorted_x, few * k, few))
        put = lambda a, b: jax.lax.dynamic_update_slice_in_dim(a, b, few * k, 0)
        return jax.tree.map(put, values, new), k + 1

    shapes = jax.eval_shape(jax.vmap(f), sorted_x)
    empty = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes)
    left_over = lambda carry: few * carry[1] < jnp.sum(wanted)
    values, _ = jax.lax.while_loop(left_over, turn, (empty, 0))
    return jax.tree.map(lambda a: jnp.zeros_like(a[: x.size]).at[order].set(a[: x.size]), values)


def merged(points: Points, more: Points) -> Points:
    # unused rows sort last and are overwritten
    points = jax.tree.map(lambda a, b: a.at[-b.size :].set(b), points, more)
    order = jnp.argsort(points.x)
    return jax.tree.map(lambda a: a[order], points)


def cut_points(points: Points, width: Vector, rows: int, cuts: int) -> Vector:
    """`cuts` points in each of the widest intervals; `width` is 0 where there is nothing to cut."""
    width, which = jax.lax.top_k(width, rows)
    fractions = jnp.arange(1, cuts + 1) / (cuts + 1)
    inner = points.x[which][:, None] * jnp.exp(width[:, None] * fractions[None, :])
    return jnp.where(width[:, None] > NARROWEST, inner, jnp.nan).ravel()


def _levels_and_whole(eq: Equations) -> tuple[tuple[Vector, Wholes, Truths], tuple[Whole, Real]]:
    # of each level mass, number and whether there may be a gap; number and mass of the whole
    mass, number, possible = eq.levels
    whole = eq.level_number(eq.total), eq.mass_of(eq.total)
    all_ranks = (
        (whole[0] >= 0) & (mass <= (1.0 + SAME) * whole[1]) & ~_same_gap(eq, number, mass, *whole)
    )
    return (
        mass,
        number,
        possible & (mass > 0) & ((mass < (1.0 - SAME) * whole[1]) | all_ranks),
    ), whole


def _same_gap(eq: Equations, level: Wholes, above: Reals, other: Wholes, mass: Reals) -> Truths:
    # of equal level, or of equal mass to which different columns add up
    block = eq.components + 1
    return (level == other) | (
        (level // block != other // block) & (jnp.abs(above - mass) <= SAME * mass)
    )


def _intervals_to_cut(
    eq: Equations, levels: tuple[Vector, Wholes, Truths], points: Points
) -> tuple[Truths, Truths]:
    # intervals in which a bulk was stepped over; and these with those in which a gap may lie
    x, above, level, inside, _ = points
    mass, number, possible = levels
    used = ~jnp.isnan(x)
    gap = ~inside & used
    hidden = gap[:-1] & gap[1:] & ~_same_gap(eq, level[:-1], above[:-1], level[1:], above[1:])
    # A gap of each level lies right of the last point that has more above it. Masses tell which
    # point that is and, between gaps, ranks do.
    index = jnp.where(gap, jnp.arange(x.size), -1)
    last = jnp.full(mass.size + 1, -1).at[jnp.where(gap, level, -1)].max(index)[:-1]
    later = jax.lax.cummax(last.reshape(-1, eq.components + 1), axis=1, reverse=True)
    more = jnp.pad(later[:, 1:], ((0, 0), (0, 1)), constant_values=-1).ravel()
    falling = -jax.lax.cummin(jnp.where(used, above, 0.0))
    left = jnp.clip(
        jnp.maximum(jnp.searchsorted(falling, -(1.0 + SAME) * mass) - 1, more), 0, x.size - 2
    )
    right = left + 1
    settled = (last >= 0) | (gap[right] & _same_gap(eq, level[right], above[right], number, mass))
    maybe = jnp.zeros(x.size - 1, bool).at[left].max(~settled & possible)
    return hidden, hidden | (maybe & ~_no_gap_between(points))


def _no_gap_between(points: Points) -> Truths:
    # neighbours with nearly the same solution, whose densities account for the mass between them
    x, above, _, inside, u = points
    # far up q itself is -1/ζ and little more
    natural = (1.0 + x * u[0], *u[1:])
    change = jnp.stack(
        [jnp.abs(jnp.diff(v)) / jnp.minimum(v.imag[1:], v.imag[:-1]) for v in natural]
    )
    area = jnp.diff(x) * (u[0].imag[1:] + u[0].imag[:-1]) / (2 * jnp.pi)
    near = inside[:-1] & inside[1:] & (x[1:] < (1.0 + NEAR) * x[:-1])
    steady = (jnp.max(change, axis=0) < STEADY) & (jnp.abs(jnp.diff(above) / area + 1.0) < STEADY)
    return near & steady
