"""Bulks cut into pieces where a peak, or a split that is near,
needs more nodes than a whole bulk has.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from ..numerics.checks import namespace, on_host
from ..numerics.rounding import EPS
from ..numerics.types import Real, Truths, Vector, Wholes
from ..resolvent.interface import Equations
from ..resolvent.solver import solve_real_axis
from .series import PART, Piece, Series, drops_of, place, resolve, series_of
from .support import Support
from .unbounded import with_the_last

SERIES_GOAL = 1e-10  # of the mass, and of the untrained loss
FEWEST_PIECES = 32  # that there is room for
AT_ONCE = 8  # pieces in one call
MOST_PIECES = 2048
NARROWEST = 2.0**-40  # share of a bulk's θ below which a piece is cut no further
NOISE = 1e-12  # of a piece's own size, that more nodes would not end
COUNTED = 64 * EPS  # of the mass right of a point, its error
HOLE = 1e-9  # density of a node, relative to others on both sides, that is none


def in_pieces(eq: Equations, support: Support, series: Series) -> tuple[Support, Series, bool]:
    """Support and series with bulks in pieces where that is needed,
    and whether a gap was found inside of one.
    """
    goal = SERIES_GOAL / (4 * int(support.count))
    drop_goal = goal * float(jax.lax.stop_gradient(eq.untrained))
    rough = (np.asarray(on_host(series.error)) > goal) | (
        np.asarray(on_host(series.drop_error)) > drop_goal
    )
    if not np.any(rough):
        return support, series, False
    series, support = (jax.tree.map(on_host, a) for a in (series, support))
    bulk, begin, end, found = cut(eq, support, np.flatnonzero(rough), goal, drop_goal)
    hole = holes(bulk, found)
    missing = max(FEWEST_PIECES, 1 << (bulk.size - 1).bit_length()) - bulk.size
    pad = lambda a: namespace(a).pad(a, [(0, missing)] + [(0, 0)] * (a.ndim - 1), mode="edge")
    bulk = np.pad(bulk, (0, missing), constant_values=rough.size)
    places = bulk, pad(begin), pad(end)
    return *_replaced(eq, support, series, rough, places, jax.tree.map(pad, found)), hole


@jax.jit
def _replaced(
    eq: Equations,
    support: Support,
    series: Series,
    rough: Truths,
    places: tuple[Wholes, Vector, Vector],
    found: Piece,
) -> tuple[Support, Series]:
    """Support and series with the rough bulks in pieces."""
    bulk, begin, end = places
    drops = drops_of(eq, support, bulk, found)
    drop, drop_error = (
        jnp.where(rough, a, b)
        for a, b in zip(drops, (support.drop, support.drop_error), strict=True)
    )
    drop, drop_error = with_the_last(eq, drop, drop_error, support.count)
    more = series_of(support, bulk, begin, end, found)
    kept = series._replace(
        bulk=jnp.where(jnp.append(rough, False)[series.bulk], rough.size, series.bulk)
    )
    order = jnp.argsort(jnp.concatenate([kept.bulk, more.bulk]), stable=True)
    pieces = (jnp.concatenate([a, b])[order] for a, b in zip(kept[:5], more[:5], strict=True))
    errors = (jnp.where(rough, a, b) for a, b in zip(more[5:], kept[5:], strict=True))
    return support._replace(drop=drop, drop_error=drop_error), Series(*pieces, *errors)


def cut(
    eq: Equations, support: Support, bulks: Wholes, goal: float, drop_goal: float
) -> tuple[Wholes, Vector, Vector, Piece]:
    """Pieces that resolve these bulks, ascending: the bulk of each, its begin, end and contents.

    The mass right of any point is exact, so that what the nodes of a piece miss of its own is
    known.
    """
    mass = np.nan_to_num(np.asarray(jax.lax.stop_gradient(support.mass)))
    right, accuracy = (
        np.append(np.cumsum(mass[::-1])[::-1], 0.0),
        float(jax.lax.stop_gradient(eq.accuracy)),
    )
    todo = [(int(k), 0.0, 1.0, right[k], right[k + 1]) for k in bulks]
    done: list[tuple[int, float, float, Piece]] = []
    while todo:
        batch, todo = todo[:AT_ONCE], todo[AT_ONCE:]
        bulk, begin, end, above, beyond = map(
            np.array, zip(*batch, *batch[-1:] * (AT_ONCE - len(batch)), strict=True)
        )
        found, middle = _resolve(eq, support.lower[bulk], support.upper[bulk], begin, end)
        found, middle = jax.tree.map(on_host, found), np.asarray(jax.lax.stop_gradient(middle))
        known = jax.tree.map(lambda a: np.asarray(jax.lax.stop_gradient(a)), found)
        # the mass right of a point is that of a law to its error
        unsure = COUNTED * above + accuracy * mass[bulk]
        off = np.maximum(np.abs(known.mass - (above - beyond)) - unsure, 0.0)
        known = known._replace(drop_error=known.drop_error + off * known.steepest)
        found = found._replace(drop_error=known.drop_error)
        rough = known.error > np.maximum(goal, NOISE * known.mass)
        rough |= known.drop_error > np.maximum(drop_goal, NOISE * known.size)
        for i, (k, a, b, over, under) in enumerate(batch):
            whole, half = b - a == 1.0, (a + b) / 2
            if whole or (rough[i] and b - a > NARROWEST and len(done) + len(todo) < MOST_PIECES):
                todo += [(k, a, half, over, middle[i]), (k, half, b, middle[i], under)]
            else:
                done.append((k, a, b, jax.tree.map(lambda column, i=i: column[i], found)))
    done.sort(key=lambda piece: piece[:2])
    *places, rows = zip(*done, strict=True)
    return *map(np.array, places), jax.tree.map(lambda *a: namespace(*a).stack(a), *rows)


@jax.jit
@partial(jax.vmap, in_axes=(None, 0, 0, 0, 0))
def _resolve(eq: Equations, lower: Real, upper: Real, begin: Real, end: Real) -> tuple[Piece, Real]:
    """A piece, and the mass right of its middle."""
    still, zeta = jax.lax.stop_gradient((eq, place(lower, upper, np.pi * (begin + end) / 2)))
    middle, _, left, right = zeta
    u = solve_real_axis(still, middle, 0.02 * jnp.minimum(left, right))
    return resolve(eq, lower, upper, begin, end, PART), still.tail(u, middle)


def holes(bulk: np.ndarray, found: Piece) -> bool:
    """Whether there are nodes without density between others of the same bulk:
    they lie in a gap that was missed.
    """
    density = np.asarray(jax.lax.stop_gradient(found.density))
    for k in np.unique(bulk):
        inside = density[bulk == k].ravel()
        around = np.minimum(
            np.maximum.accumulate(inside), np.maximum.accumulate(inside[::-1])[::-1]
        )
        if np.any((np.abs(inside) < HOLE * around) & (around > 0)):
            return True
    return False
