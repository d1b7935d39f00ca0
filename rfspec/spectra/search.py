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

from typing import NamedTuple

import jax
import jax.numpy as jnp

from ..numerics.checks import on_host
from ..numerics.holomorphic import Unknowns
from ..numerics.types import Real, Reals, Truth, Truths, Vector, Whole, Wholes
from ..resolvent.branch import reach
from ..resolvent.column_equations import SAME
from ..resolvent.interface import Equations
from ..resolvent.solver import REAL

CUTS = 16  # points put into an interval that is cut
ROUNDS = 16  # how often intervals are cut
AT_ONCE = 4096  # points solved for at once, times eigenvalues of Σ
NARROWEST = 1e-13  # relative width of the narrowest gap or bulk
FEW = 8  # so many largest numbers are found one by one
FOUND = (
    1e-3  # largest relative Newton step after which a solution counts; next to edges it is not 0
)
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
    """The points x, with what the solution at each tells; NaN where a solution was lost."""

    def point(x: Real) -> Points:
        used = ~jnp.isnan(x)
        zeta = jnp.where(used, x, eq.upper_bound)
        u, certain, found = reach(eq, zeta + 0j, wanted=used)
        positive = jnp.min(jnp.stack([v.imag / jnp.abs(v) for v in u])) > -REAL
        good, inside = used & (certain | (found & positive)), is_inside(eq, u)
        u = on_axis(u, inside)
        return Points(
            jnp.where(good, x, jnp.nan),
            eq.tail(u, zeta),
            eq.level_number(eq.ranks_above(u)),
            inside & good,
            u,
        )

    most = max(1, AT_ONCE // eq.weights.size)
    few = next(k for k in range(min(most, x.size), 0, -1) if x.size % k == 0)
    return jax.lax.map(point, x, batch_size=few)


def merged(points: Points, more: Points) -> Points:
    """Both, ascending; unused rows come last, and the last ones are given up for `more`."""
    # a sort of all rows would take longer than the solutions do
    more = jax.tree.map(lambda a: a[jnp.argsort(more.x)], more)
    points = jax.tree.map(lambda a: a[: a.shape[0] - more.x.size], points)
    old, new = (jnp.where(jnp.isnan(a), jnp.inf, a) for a in (points.x, more.x))
    places = jnp.concatenate(
        [
            jnp.arange(old.size) + jnp.searchsorted(new, old, side="left"),
            jnp.arange(new.size) + jnp.searchsorted(old, new, side="right"),
        ]
    )
    order = jnp.zeros(places.size, int).at[places].set(jnp.arange(places.size), unique_indices=True)
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b])[order], points, more)


def cut_points(points: Points, width: Vector, rows: int, cuts: int) -> Vector:
    """`cuts` points in each of the widest intervals; `width` is 0 where there is nothing to cut."""
    width, which = _largest(width, rows)
    fractions = jnp.arange(1, cuts + 1) / (cuts + 1)
    inner = points.x[which][:, None] * jnp.exp(width[:, None] * fractions[None, :])
    return jnp.where(width[:, None] > NARROWEST, inner, jnp.nan).ravel()


def _largest(a: Vector, count: int) -> tuple[Vector, Wholes]:
    if count > FEW:
        values, places = jax.lax.top_k(a, count)  # which sorts
        return values, places

    def take(a: Vector, _: None) -> tuple[Vector, tuple[Real, Whole]]:
        i = jnp.argmax(a)
        return a.at[i].set(0.0), (a[i], i)

    return jax.lax.scan(take, a, length=count)[1]


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
