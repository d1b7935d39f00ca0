r"""All the bulks of a spectrum: a search that knows when it is complete,
and edges to rounding error.

The search works on ζ > 0, the distance from the atom. Two exact facts are known of every point from
the solution there alone: whether it lies in the support, and the mass above it (`eq.tail`), which
in a gap is a sum of ranks and weights that make up U (`eq.levels`). Gaps are told apart by which of
these they are (`eq.above`), so that no weight is too small. On a logarithmic grid two neighbours in
different gaps enclose a bulk that was stepped over, and at each possible level there is a gap, or
neighbours at which the density is the same and positive, or nothing wider than rounding. Intervals
are cut until one of them is found. An edge is then a real fold of the equations (F = 0 and det
∂F/∂u = 0) in its bracket, by Newton's method.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ..numerics.checks import on_host
from ..numerics.holomorphic import Unknowns, descend
from ..numerics.types import Matrix, Real, Reals, Truth, Truths, Vector, Whole, Wholes
from ..resolvent.column_equations import SAME
from ..resolvent.interface import Equations
from ..resolvent.solver import REAL, is_the_solution
from .folds import Fold, fold_from, implicit_fold

CUTS, ROUNDS = 16, 16  # points put into an interval that is cut
FEW_CUTS, MORE_ROUNDS = 4, 11  # where intervals are cut only to find the edge that they hold
AT_ONCE = 1024  # points times eigenvalues of Σ
NARROWEST = 1e-13  # relative width of the narrowest gap or bulk
# down to the axis, short and long: lowest height, Newton steps a level and at last
WAYS = ((0.1, 1, 8), (1e-16, 2, 4))
# neighbours nearer than this, relative, between which the solution changes by less than this,
# relative to its imaginary part, have no gap between them
NEAR, STEADY = 0.05, 0.1


class Edges(NamedTuple):
    """Bulks in ascending order, in ζ, padded with NaN; relative error of each edge,
    and what of it is rounding; which ranks lie above each gap between them; how many there are.
    """

    lower: Vector
    upper: Vector
    error: Vector
    rounding: Vector
    above: Matrix
    count: Whole
    failed: Truth


class _Points(NamedTuple):
    """Places, the mass above each, which of the levels it is where there is a gap,
    whether there is none, solution.
    """

    x: Reals
    above: Reals
    level: Wholes
    inside: Truths
    u: Unknowns


class Search(NamedTuple):
    """Points on the real axis, ascending, the number of edges between them,
    and whether nothing is left to look for.
    """

    points: _Points
    changes: Whole
    complete: Truth

    @property
    def count(self) -> Whole:
        """How many bulks there are."""
        return (on_host(self.changes) + on_host(self.points.inside)[0]) // 2


def find_edges(eq: Equations, search: Search, *, bulks: int) -> Edges:
    """Edges of up to `bulks` bulks, from a search; `failed` where one is missing.

    The search is not differentiated; edges are implicit functions of the parameters.
    """
    still, search = jax.lax.stop_gradient((eq, search))
    hard, count = search.points.inside[0], search.count
    near, w, place, ok, _ = _all_folds(still, search, bulks)
    zeta, error, rounding = jax.vmap(partial(implicit_fold, eq))(near, w, place)
    # edges that a law without an end does not have lie anywhere in the tail that is put lower
    which, atom = jnp.arange(2 * bulks), (still.atom_mass > 0) & ~hard
    open_ = still.unbounded & ~ok & ((which == search.changes - 1) | ((which == 0) & atom))
    zeta, error, rounding, ok = (
        jnp.where(open_, a, b)
        for a, b in ((place, zeta), (0.0, error), (0.0, rounding), (True, ok))
    )
    # support down to the atom: the first edge is ζ = 0 and no fold
    shift = lambda a, first: jnp.where(hard, jnp.concatenate([first, a[:-1]]), a)
    zeta, error, rounding = (shift(a, jnp.zeros(1)) for a in (zeta, error, rounding))
    ok = shift(ok, jnp.ones(1, bool))
    lower, upper = zeta[::2], zeta[1::2]
    exists = jnp.arange(bulks) < count
    unsound = exists & ~(ok[::2] & ok[1::2] & (upper > lower))
    failed = (count < 1) | (count > bulks) | jnp.any(unsound) | ~search.complete
    keep = lambda a: jnp.where(exists, a, jnp.nan)
    error, rounding = (jnp.where(jnp.repeat(exists, 2), a, jnp.nan) for a in (error, rounding))
    above = jnp.where(exists[1:, None], _above_gaps(still, search.points, bulks), 0.0)
    return Edges(keep(lower), keep(upper), error, rounding, above, count, failed)


def _above_gaps(eq: Equations, points: _Points, bulks: int) -> Matrix:
    """Which ranks lie above each gap between bulks,
    by a point in the middle of those that the search has there.
    """
    ends = _transitions(points, bulks)
    upper = 2 * jnp.arange(bulks - 1) + 1 - points.inside[0]
    middle = (ends[upper] + 1 + ends[upper + 1]) // 2
    return jax.vmap(lambda *u: eq.above(u))(*(v[middle] for v in points.u))


# --------------------------------------------------------------------------------------------------
# search


def is_inside(eq: Equations, u: Unknowns) -> Truth:
    """Whether a solution on the real axis lies in the support."""
    return eq.depth(u) > REAL


def on_axis(u: Unknowns, inside: Truth) -> Unknowns:
    """A solution on the real axis without what rounding left of its imaginary part."""
    return tuple(jnp.where(inside, v, v.real + 0j) for v in u)


def _measure(eq: Equations, x: Vector) -> _Points:
    """What is known at each x from the solution there alone; NaN marks unused or lost places.

    Newton's method from not far above finds most solutions, and it can be told which; the others
    are continued down to where nothing changes.
    """
    used = ~jnp.isnan(x)
    place = jnp.where(used, x, eq.bound)
    few = max(1, min(CUTS, AT_ONCE // eq.weights.size))

    def attempt(
        carry: tuple[Unknowns, Truths], way: tuple[Real, ...]
    ) -> tuple[tuple[Unknowns, Truths], None]:
        floor, steps, final = way

        def one(x: Real) -> tuple[Unknowns, Truth]:
            u = descend(eq, x + 0j, floor * x, steps=steps, final=final)
            return u, is_the_solution(eq, u, x)

        u, sure = carry
        again, told = _in_turns(one, place, used & ~sure, few)
        return (jax.tree.map(partial(jnp.where, sure), u, again), sure | told), None

    nothing = tuple(jnp.ones(x.size, complex) for _ in eq.start(1.0 + 0j)), jnp.zeros(x.size, bool)
    (u, _), _ = jax.lax.scan(attempt, nothing, tuple(map(jnp.array, zip(*WAYS, strict=True))))

    def known(x: Real, used: Truth, *u: Any) -> _Points:
        good = used & (jnp.min(jnp.stack([v.imag / jnp.abs(v) for v in u])) > -REAL)
        inside = is_inside(eq, u)
        u = on_axis(u, inside)
        return _Points(
            jnp.where(good, x, jnp.nan), eq.tail(u, x), eq.level(eq.above(u)), inside & good, u
        )

    return jax.vmap(known)(place, used, *u)


def _in_turns(
    f: Callable[[Any], Any], x: Vector, wanted: Truths, few: int
) -> tuple[Unknowns, Truths]:
    """f where it is wanted, a few points at a time; anything elsewhere."""
    few = min(few, x.size)
    order = jnp.argsort(~wanted)
    size = -(-x.size // few) * few
    place, wanted = (
        jnp.pad(x[order], (0, size - x.size), mode="edge"),
        jnp.pad(wanted[order], (0, size - x.size)),
    )

    def turn(carry: Any) -> Any:
        found, k = carry
        here = jax.vmap(f)(jax.lax.dynamic_slice_in_dim(place, few * k, few))
        put = lambda a, b: jax.lax.dynamic_update_slice_in_dim(a, b, few * k, 0)
        return jax.tree.map(put, found, here), k + 1

    shapes = jax.eval_shape(jax.vmap(f), place)
    empty = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes)
    found, _ = jax.lax.while_loop(lambda carry: few * carry[1] < jnp.sum(wanted), turn, (empty, 0))
    return jax.tree.map(lambda a: jnp.zeros_like(a[: x.size]).at[order].set(a[: x.size]), found)


def search_support(eq: Equations) -> Search:
    """Points that tell of every gap and every bulk of the support."""
    eq = jax.lax.stop_gradient(eq)
    marks = jnp.clip(eq.landmarks / eq.bound, 1e-14, 1.0)
    grid = jnp.concatenate([jnp.geomspace(1e-14, 1.0 + 1e-6, 43), 0.8 * marks, marks, 1.25 * marks])
    lowest = 1e-24 * jnp.minimum(
        1.0, jnp.min(jnp.where(eq.landmarks > 0, eq.landmarks, jnp.inf)) / eq.bound
    )
    grid = eq.bound * jnp.append(grid, lowest)
    levels, whole = _levels(eq)
    rows = max(-(-grid.size // CUTS), -(-levels[0].size // 4))  # intervals cut in one round
    first = jnp.full(rows * CUTS, jnp.nan).at[: grid.size].set(grid)
    empty = jnp.full(rows * CUTS * ROUNDS, jnp.nan)
    ones = tuple(jnp.ones(empty.size, complex) for _ in eq.start(1.0 + 0j))
    none = jnp.zeros(empty.size, bool)
    points = _Points(empty, jnp.ones(empty.size), jnp.zeros(empty.size, int), none, ones)

    def cond(carry: tuple[_Points, Vector, Truth, Whole]) -> Truth:
        _, pending, _, k = carry
        return (k < ROUNDS) & jnp.any(~jnp.isnan(pending))

    def body(carry: tuple[_Points, Vector, Truth, Whole]) -> tuple[_Points, Vector, Truth, Whole]:
        points, pending, _, k = carry
        points = _joined(points, _measure(eq, pending))
        hidden, wanted = _wanted(eq, levels, points)
        span = jnp.log(points.x[1:] / points.x[:-1])
        width = jnp.where(wanted & (span > NARROWEST), span, 0.0)
        complete = ~jnp.any(hidden) & ~jnp.any(width > 0)
        complete = complete & (
            points.inside[0] | _alike(eq, points.level[0], points.above[0], *whole)
        )
        return points, _cuts(points, width, rows, CUTS), complete, k + 1

    points, _, complete, _ = jax.lax.while_loop(cond, body, (points, first, False, 0))
    return Search(points, jnp.sum(points.inside[1:] != points.inside[:-1]), complete)


def _joined(points: _Points, more: _Points) -> _Points:
    """Points with new ones, ascending; unused places sort last and are overwritten."""
    points = jax.tree.map(lambda a, b: a.at[-b.size :].set(b), points, more)
    order = jnp.argsort(points.x)
    return jax.tree.map(lambda a: a[order], points)


def _cuts(points: _Points, width: Vector, rows: int, cuts: int) -> Vector:
    """Points in the widest intervals, so many each; `width` is 0 where there is nothing to do."""
    width, which = jax.lax.top_k(width, rows)
    share = jnp.arange(1, cuts + 1) / (cuts + 1)
    inner = points.x[which][:, None] * jnp.exp(width[:, None] * share[None, :])
    return jnp.where(width[:, None] > NARROWEST, inner, jnp.nan).ravel()


def _all_folds(eq: Equations, search: Search, bulks: int) -> Fold:
    """Folds in ascending order, padded with the first.

    Newton's method starts from the two ends of an interval; where it leads elsewhere the interval
    is cut.
    """
    rows = 2 * bulks
    extra = jnp.full(rows * FEW_CUTS * MORE_ROUNDS, jnp.nan)
    ones = tuple(jnp.ones(extra.size, complex) for _ in search.points.u)
    spare = _Points(
        extra, jnp.ones(extra.size), jnp.zeros(extra.size, int), jnp.zeros(extra.size, bool), ones
    )
    points = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), search.points, spare)

    def cond(carry: tuple[_Points, Vector, Fold, Whole]) -> Truth:
        _, pending, _, k = carry
        return (k < MORE_ROUNDS) & ((k == 0) | jnp.any(~jnp.isnan(pending)))

    def body(carry: tuple[_Points, Vector, Fold, Whole]) -> tuple[_Points, Vector, Fold, Whole]:
        points, pending, _, k = carry
        points = _joined(points, _measure(eq, pending))
        place = _transitions(points, bulks)
        folds = _folds(eq, points, place)
        span = jnp.log(points.x[place + 1] / points.x[place])
        width = jnp.zeros(points.x.size - 1).at[place].max(jnp.where(folds.settled, 0.0, span))
        return points, _cuts(points, width, rows, FEW_CUTS), folds, k + 1

    like = jax.eval_shape(partial(_folds, eq), points, jnp.zeros(rows, int))
    none = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), like)
    nothing = jnp.full(rows * FEW_CUTS, jnp.nan)
    return jax.lax.while_loop(cond, body, (points, nothing, none, 0))[2]


def _levels(eq: Equations) -> tuple[tuple[Vector, Wholes, Truths], tuple[Whole, Real]]:
    """Mass and number of each level, and whether there may be a gap there;
    mass and number of the whole spectrum.
    """
    mass, number, told = eq.levels
    whole = eq.level(eq.total), eq.share(eq.total)
    all_ranks = (
        (whole[0] >= 0) & (mass <= (1.0 + SAME) * whole[1]) & ~_alike(eq, number, mass, *whole)
    )
    return (mass, number, told & (mass > 0) & ((mass < (1.0 - SAME) * whole[1]) | all_ranks)), whole


def _alike(eq: Equations, level: Wholes, above: Reals, other: Wholes, mass: Reals) -> Truths:
    """Whether two gaps are the same one: of equal level,
    or of equal mass that only different columns add up to.
    """
    block = eq.components + 1
    return (level == other) | (
        (level // block != other // block) & (jnp.abs(above - mass) <= SAME * mass)
    )


def _wanted(
    eq: Equations, levels: tuple[Vector, Wholes, Truths], points: _Points
) -> tuple[Truths, Truths]:
    """Intervals in which a bulk was stepped over,
    and these with those in which a gap may have been.
    """
    x, above, level, inside, u = points
    mass, number, possible = levels
    used = ~jnp.isnan(x)
    gap = ~inside & used
    hidden = gap[:-1] & gap[1:] & ~_alike(eq, level[:-1], above[:-1], level[1:], above[1:])
    # of each level, the last point above whose mass there is more, by that mass or, in gaps, by the
    # ranks
    here = jnp.where(gap, jnp.arange(x.size), -1)
    last = jnp.full(mass.size + 1, -1).at[jnp.where(gap, level, -1)].max(here)[:-1]
    later = jax.lax.cummax(last.reshape(-1, eq.components + 1), axis=1, reverse=True)
    more = jnp.pad(later[:, 1:], ((0, 0), (0, 1)), constant_values=-1).ravel()
    falling = -jax.lax.cummin(jnp.where(used, above, 0.0))
    place = jnp.clip(
        jnp.maximum(jnp.searchsorted(falling, -(1.0 + SAME) * mass) - 1, more), 0, x.size - 2
    )
    beside = place + 1
    seen = (last >= 0) | (gap[beside] & _alike(eq, level[beside], above[beside], number, mass))
    maybe = jnp.zeros(x.size - 1, bool).at[place].max(~seen & possible)
    # no gap between neighbours with nearly the same solution, whose densities account for the mass
    # between them
    natural = (1.0 + x * u[0], *u[1:])  # q itself is -1/ζ and little more, far up
    change = jnp.stack(
        [jnp.abs(jnp.diff(v)) / jnp.minimum(v.imag[1:], v.imag[:-1]) for v in natural]
    )
    area = jnp.diff(x) * (u[0].imag[1:] + u[0].imag[:-1]) / (2 * jnp.pi)
    steady = inside[:-1] & inside[1:] & (x[1:] < (1.0 + NEAR) * x[:-1])
    steady = (
        steady
        & (jnp.max(change, axis=0) < STEADY)
        & (jnp.abs(jnp.diff(above) / area + 1.0) < STEADY)
    )
    return hidden, hidden | (maybe & ~steady)


def _transitions(points: _Points, bulks: int) -> Wholes:
    """Intervals with one end inside, ascending and padded with the first."""
    (place,) = jnp.nonzero(points.inside[1:] != points.inside[:-1], size=2 * bulks, fill_value=-1)
    return jnp.where(place < 0, place[0], place)


def _folds(eq: Equations, points: _Points, place: Wholes) -> Fold:
    """A fold inside each interval, by Newton's method from its ends; where none is found,
    its end off the support.
    """
    ends = jnp.concatenate([place, place + 1])
    left, right = jnp.tile(points.x[place], 2), jnp.tile(points.x[place + 1], 2)
    folds = jax.vmap(partial(fold_from, eq))(tuple(v[ends] for v in points.u), points.x[ends])
    inside = (folds.zeta > left * (1 - 1e-9)) & (folds.zeta < right * (1 + 1e-9))
    folds = folds._replace(found=folds.found & inside, settled=folds.settled & inside)
    worth = folds.found.astype(int) + folds.settled
    first = worth[: place.size] >= worth[place.size :]
    best = jax.tree.map(lambda a: jnp.where(first, a[: place.size], a[place.size :]), folds)
    outer = jnp.where(points.inside[place], points.x[place + 1], points.x[place])
    return best._replace(zeta=jnp.where(best.found, best.zeta, outer))
