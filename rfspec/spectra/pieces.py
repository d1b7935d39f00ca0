"""Bulks cut into pieces, where a narrow peak or a split nearby needs more nodes."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from ..numerics.checks import fixed, namespace, on_host
from ..numerics.programs import program
from ..numerics.rounding import EPS
from ..numerics.types import Real, Truths, Vector, Wholes
from ..resolvent.interface import Equations
from ..resolvent.solver import solve_inside
from .series import PART, Piece, Series, drops_of, resolve, series_of, zeta_at
from .support import Support
from .unbounded import with_drop_of_unbounded_bulk

SERIES_GOAL = 1e-10  # largest error, as a fraction of the mass and of the untrained loss
FEWEST_PIECES = 32  # smallest number of pieces for which arrays have room
AT_ONCE = 8  # pieces in one call
MOST_PIECES = 2048
NARROWEST = 2.0**-40  # a piece that is a smaller fraction of its bulk's θ is not cut
NOISE = 1e-12  # rounding of a piece, relative to itself, which more nodes do not reduce
COUNTED = 64 * EPS  # relative error of the mass right of a point
HOLE = 1e-9  # density of a node, relative to nodes on both sides, that counts as 0


def in_pieces(eq: Equations, support: Support, series: Series) -> tuple[Support, Series, bool]:
    """Support and series with bulks in pieces where needed, and whether a bulk has a gap inside."""
    goal = SERIES_GOAL / (4 * int(support.count))
    drop_goal = goal * float(fixed(eq.untrained))
    rough = (np.asarray(on_host(series.error)) > goal) | (
        np.asarray(on_host(series.drop_error)) > drop_goal
    )
    if not np.any(rough):
        return support, series, False
    series, support = (jax.tree.map(on_host, a) for a in (series, support))
    bulk, begin, end, pieces = cut(eq, support, np.flatnonzero(rough), goal, drop_goal)
    hole = has_holes(bulk, pieces)
    missing = max(FEWEST_PIECES, 1 << (bulk.size - 1).bit_length()) - bulk.size
    pad = lambda a: namespace(a).pad(a, [(0, missing)] + [(0, 0)] * (a.ndim - 1), mode="edge")
    bulk = np.pad(bulk, (0, missing), constant_values=rough.size)
    ranges = bulk, pad(begin), pad(end)
    pieces = jax.tree.map(pad, pieces)
    return *_with_rough_bulks_in_pieces(eq, support, series, rough, ranges, pieces), hole


@program
def _with_rough_bulks_in_pieces(
    eq: Equations,
    support: Support,
    series: Series,
    rough: Truths,
    ranges: tuple[Wholes, Vector, Vector],
    pieces: Piece,
) -> tuple[Support, Series]:
    bulk, begin, end = ranges
    drops = drops_of(eq, support, bulk, pieces)
    drop, drop_error = (
        jnp.where(rough, a, b)
        for a, b in zip(drops, (support.drop, support.drop_error), strict=True)
    )
    drop, drop_error = with_drop_of_unbounded_bulk(eq, drop, drop_error, support.count)
    more = series_of(support, bulk, begin, end, pieces)
    kept = series._replace(
        bulk=jnp.where(jnp.append(rough, False)[series.bulk], rough.size, series.bulk)
    )
    order = jnp.argsort(jnp.concatenate([kept.bulk, more.bulk]), stable=True)
    joined = jax.tree.map(lambda a, b: jnp.concatenate([a, b])[order], kept[:6], more[:6])
    errors = (jnp.where(rough, a, b) for a, b in zip(more[6:], kept[6:], strict=True))
    return support._replace(drop=drop, drop_error=drop_error), Series(*joined, *errors)


def cut(
    eq: Equations, support: Support, bulks: Wholes, goal: float, drop_goal: float
) -> tuple[Wholes, Vector, Vector, Piece]:
    """Pieces that resolve these bulks, ascending: the bulk of each, its begin, end and contents.

    The mass right of any point is exact, so it is known what the nodes of a piece miss of its mass.
    """
    mass = np.nan_to_num(fixed(support.mass))
    right, accuracy = (
        np.append(np.cumsum(mass[::-1])[::-1], 0.0),
        float(fixed(eq.accuracy)),
    )
    todo = [(int(k), 0.0, 1.0, right[k], right[k + 1]) for k in bulks]
    done: list[tuple[int, float, float, Piece]] = []
    while todo:
        batch, todo = todo[:AT_ONCE], todo[AT_ONCE:]
        bulk, begin, end, above, beyond = map(
            np.array, zip(*batch, *batch[-1:] * (AT_ONCE - len(batch)), strict=True)
        )
        pieces, middle = _resolve(eq, support.lower[bulk], support.upper[bulk], begin, end)
        pieces, middle = jax.tree.map(on_host, pieces), fixed(middle)
        known = jax.tree.map(fixed, pieces)
        # of a continuous law the mass right of a point is known only to the error of the law
        unsure = COUNTED * above + accuracy * mass[bulk]
        missed = np.maximum(np.abs(known.mass - (above - beyond)) - unsure, 0.0)
        known = known._replace(drop_error=known.drop_error + missed * known.steepest)
        pieces = pieces._replace(drop_error=known.drop_error)
        rough = known.error > np.maximum(goal, NOISE * known.mass)
        rough |= known.drop_error > np.maximum(drop_goal, NOISE * known.size)
        for i, (k, a, b, over, under) in enumerate(batch):
            whole, half = b - a == 1.0, (a + b) / 2
            if whole or (rough[i] and b - a > NARROWEST and len(done) + len(todo) < MOST_PIECES):
                todo += [(k, a, half, over, middle[i]), (k, half, b, middle[i], under)]
            else:
                done.append((k, a, b, jax.tree.map(lambda column, i=i: column[i], pieces)))
    done.sort(key=lambda piece: piece[:2])
    *ranges, rows = zip(*done, strict=True)
    return *map(np.array, ranges), jax.tree.map(lambda *a: namespace(*a).stack(a), *rows)


@program
@partial(jax.vmap, in_axes=(None, 0, 0, 0, 0))
def _resolve(eq: Equations, lower: Real, upper: Real, begin: Real, end: Real) -> tuple[Piece, Real]:
    # a piece, and the mass right of its middle
    frozen, zeta = jax.lax.stop_gradient((eq, zeta_at(lower, upper, np.pi * (begin + end) / 2)))
    middle, *_ = zeta
    u = solve_inside(frozen, middle + 0j)
    return resolve(eq, lower, upper, begin, end, PART), frozen.tail(u, middle)


def has_holes(bulk: np.ndarray, pieces: Piece) -> bool:
    # a node without density between others of its bulk lies in a gap that the search missed
    density = fixed(pieces.density)
    for k in np.unique(bulk):
        inside = density[bulk == k].ravel()
        around = np.minimum(
            np.maximum.accumulate(inside), np.maximum.accumulate(inside[::-1])[::-1]
        )
        if np.any((np.abs(inside) < HOLE * around) & (around > 0)):
            return True
    return False
