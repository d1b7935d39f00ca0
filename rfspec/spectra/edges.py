r"""The edges of all bulks of a spectrum, to rounding error.

A search (``rfspec.spectra.search``) brackets every edge. An edge is then a real fold of the
equations, F = 0 and det ∂F/∂u = 0, found by Newton's method in its bracket.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ..numerics.types import Matrix, Truth, Vector, Whole, Wholes
from ..resolvent.interface import Equations
from .folds import Fold, fold_from, implicit_fold
from .search import Points, Search, cut_points, measured_at, merged

CUTS = 4  # points put into an interval that is cut to find the edge in it
ROUNDS = 11  # how often such intervals are cut


class Edges(NamedTuple):
    """Bulks in ascending order, padded with NaN."""

    # in ζ
    lower: Vector
    upper: Vector
    # the relative error of each edge, and what of it is rounding
    error: Vector
    rounding: Vector
    # which ranks lie above each gap between two bulks
    ranks_above: Matrix
    # how many bulks there are, and whether one of their edges is missing
    count: Whole
    failed: Truth


def find_edges(eq: Equations, search: Search, *, bulks: int) -> Edges:
    """Edges of up to `bulks` bulks, from a search.

    The search is not differentiated. Edges are implicit functions of the parameters.
    """
    frozen, search = jax.lax.stop_gradient((eq, search))
    hard, count = search.points.inside[0], search.count
    near, w, guess, ok, _ = _all_folds(frozen, search, bulks)
    zeta, error, rounding = jax.vmap(partial(implicit_fold, eq))(near, w, guess)
    # a law without an end has no such edge; any place in the tail that is put lower serves
    which, atom = jnp.arange(2 * bulks), (frozen.atom_mass > 0) & ~hard
    open_ = frozen.unbounded & ~ok & ((which == search.changes - 1) | ((which == 0) & atom))
    zeta, error, rounding, ok = (
        jnp.where(open_, a, b)
        for a, b in ((guess, zeta), (0.0, error), (0.0, rounding), (True, ok))
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
    above = jnp.where(exists[1:, None], _ranks_above_gaps(frozen, search.points, bulks), 0.0)
    return Edges(keep(lower), keep(upper), error, rounding, above, count, failed)


def _ranks_above_gaps(eq: Equations, points: Points, bulks: int) -> Matrix:
    # by the middle one of the points that the search has in each gap
    ends = _brackets(points, bulks)
    upper = 2 * jnp.arange(bulks - 1) + 1 - points.inside[0]
    middle = (ends[upper] + 1 + ends[upper + 1]) // 2
    return jax.vmap(lambda *u: eq.ranks_above(u))(*(v[middle] for v in points.u))


def _all_folds(eq: Equations, search: Search, bulks: int) -> Fold:
    # Newton's method starts from both ends of an interval; where it leads elsewhere the interval is
    # cut. The folds are ascending and padded with the first.
    rows = 2 * bulks
    extra = jnp.full(rows * CUTS * ROUNDS, jnp.nan)
    ones = tuple(jnp.ones(extra.size, complex) for _ in search.points.u)
    spare = Points(
        extra, jnp.ones(extra.size), jnp.zeros(extra.size, int), jnp.zeros(extra.size, bool), ones
    )
    points = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), search.points, spare)

    def cond(carry: tuple[Points, Vector, Fold, Whole]) -> Truth:
        _, pending, _, k = carry
        return (k < ROUNDS) & ((k == 0) | jnp.any(~jnp.isnan(pending)))

    def body(carry: tuple[Points, Vector, Fold, Whole]) -> tuple[Points, Vector, Fold, Whole]:
        points, pending, _, k = carry
        points = merged(points, measured_at(eq, pending))
        left = _brackets(points, bulks)
        folds = _folds_between(eq, points, left)
        span = jnp.log(points.x[left + 1] / points.x[left])
        width = jnp.zeros(points.x.size - 1).at[left].max(jnp.where(folds.settled, 0.0, span))
        return points, cut_points(points, width, rows, CUTS), folds, k + 1

    like = jax.eval_shape(partial(_folds_between, eq), points, jnp.zeros(rows, int))
    none = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), like)
    nothing = jnp.full(rows * CUTS, jnp.nan)
    return jax.lax.while_loop(cond, body, (points, nothing, none, 0))[2]


def _brackets(points: Points, bulks: int) -> Wholes:
    # the left ends of the intervals with one end inside, ascending and padded with the first
    (left,) = jnp.nonzero(points.inside[1:] != points.inside[:-1], size=2 * bulks, fill_value=-1)
    return jnp.where(left < 0, left[0], left)


def _folds_between(eq: Equations, points: Points, left: Wholes) -> Fold:
    # where neither end leads to a fold, ζ is the end off the support
    ends = jnp.concatenate([left, left + 1])
    low, high = jnp.tile(points.x[left], 2), jnp.tile(points.x[left + 1], 2)
    folds = jax.vmap(partial(fold_from, eq))(tuple(v[ends] for v in points.u), points.x[ends])
    inside = (folds.zeta > low * (1 - 1e-9)) & (folds.zeta < high * (1 + 1e-9))
    folds = folds._replace(is_edge=folds.is_edge & inside, settled=folds.settled & inside)
    worth = folds.is_edge.astype(int) + folds.settled
    first = worth[: left.size] >= worth[left.size :]
    best = jax.tree.map(lambda a: jnp.where(first, a[: left.size], a[left.size :]), folds)
    outer = jnp.where(points.inside[left], points.x[left + 1], points.x[left])
    return best._replace(zeta=jnp.where(best.is_edge, best.zeta, outer))
