r"""The edges of all bulks of a spectrum, to rounding error.

A search (``rfspec.spectra.search``) brackets every edge. An edge is then a real fold of the
equations, F = 0 and det ∂F/∂u = 0, found by Newton's method in its bracket.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..numerics.holomorphic import Unknowns
from ..numerics.types import Matrix, Truth, Truths, Vector, Whole, Wholes
from ..resolvent.interface import Equations
from .folds import Fold, fold_from, implicit_fold
from .search import NARROWEST, Points, Search, measured_at

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


class Bracket(NamedTuple):
    """Neighbours of which one lies inside a bulk: their places, the solutions there, and which."""

    low: Vector
    high: Vector
    u_low: Unknowns
    u_high: Unknowns
    low_inside: Truths


def _all_folds(eq: Equations, search: Search, bulks: int) -> Fold:
    # Newton's method starts from both ends of an interval; where it leads elsewhere the interval is
    # cut. The folds are ascending and padded with the first.
    points, left = search.points, _brackets(search.points, bulks)
    at = lambda i: (points.x[i], tuple(v[i] for v in points.u))
    (low, u_low), (high, u_high) = at(left), at(left + 1)
    bracket = Bracket(low, high, u_low, u_high, points.inside[left])

    def cond(carry: tuple[Bracket, Fold, Whole]) -> Truth:
        bracket, folds, k = carry
        wide = jnp.log(bracket.high / bracket.low) > NARROWEST
        return (k < ROUNDS) & jnp.any(~folds.settled & wide)

    def body(carry: tuple[Bracket, Fold, Whole]) -> tuple[Bracket, Fold, Whole]:
        bracket, _, k = carry
        bracket = _cut(eq, bracket)
        return bracket, _folds_in(eq, bracket), k + 1

    start = bracket, _folds_in(eq, bracket), 1
    return jax.lax.while_loop(cond, body, start)[1]


def _cut(eq: Equations, bracket: Bracket) -> Bracket:
    between = lambda share: bracket.low * (bracket.high / bracket.low) ** share
    x = jax.vmap(between)(np.arange(1, CUTS + 1) / (CUTS + 1))
    points = jax.tree.map(lambda a: a.reshape(x.shape), measured_at(eq, x.ravel()))
    low, high, u_low, u_high, low_inside = bracket
    beyond = jnp.zeros_like(low_inside)
    for k in range(CUTS):
        new, u = points.x[k], tuple(v[k] for v in points.u)
        known = ~jnp.isnan(new) & ~beyond
        same = points.inside[k] == low_inside
        up, down, beyond = known & same, known & ~same, beyond | (known & ~same)
        choose = lambda here, a, b: jax.tree.map(partial(jnp.where, here), a, b)
        low, u_low = choose(up, (new, u), (low, u_low))
        high, u_high = choose(down, (new, u), (high, u_high))
    return Bracket(low, high, u_low, u_high, low_inside)


def _brackets(points: Points, bulks: int) -> Wholes:
    # the left ends of the intervals with one end inside, ascending and padded with the first
    (left,) = jnp.nonzero(points.inside[1:] != points.inside[:-1], size=2 * bulks, fill_value=-1)
    return jnp.where(left < 0, left[0], left)


def _folds_in(eq: Equations, bracket: Bracket) -> Fold:
    # where neither end leads to a fold, ζ is the end off the support
    low, high = (jnp.tile(a, 2) for a in (bracket.low, bracket.high))
    both = lambda a, b: jnp.concatenate([a, b])
    x, u = jax.tree.map(both, (bracket.low, bracket.u_low), (bracket.high, bracket.u_high))
    folds = jax.vmap(partial(fold_from, eq))(u, x)
    inside = (folds.zeta > low * (1 - 1e-9)) & (folds.zeta < high * (1 + 1e-9))
    folds = folds._replace(is_edge=folds.is_edge & inside, settled=folds.settled & inside)
    worth = folds.is_edge.astype(int) + folds.settled
    size = bracket.low.size
    first = worth[:size] >= worth[size:]
    best = jax.tree.map(lambda a: jnp.where(first, a[:size], a[size:]), folds)
    outer = jnp.where(bracket.low_inside, bracket.high, bracket.low)
    return best._replace(zeta=jnp.where(best.is_edge, best.zeta, outer))
