r"""All the bulks of a spectrum: a search that knows when it is complete, and edges to rounding error.

The search works on ζ > 0, the distance from the atom. On a logarithmic grid two exact facts are known of every
point: whether it lies in the support, and the mass to its left (a vertical integral of q). Two neighbours in
gaps with different mass enclose a bulk that was stepped over, so intervals are cut until none is left. Gaps
that were stepped over are looked for at the masses where the theory says they can be. An edge is then a real
fold of the equations (F = 0 and det ∂F/∂u = 0) inside its bracket, found by Newton's method.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .holomorphic import Unknowns, fold, fold_step, implicit, vertical

SAME_MASS = 1e-8  # masses are known to this in the search, and two gaps with equal mass are one
CUTS = 16  # points put into an interval that is cut
ROUNDS = 12
LEVELS = 100  # heights of a vertical integral during the search: better than 1e-6 everywhere
INSIDE = 1e-10  # relative imaginary part that says "in the support"


class Edges(NamedTuple):
    """Bulks in ascending order, in ζ, padded with NaN; relative error of each edge; how many there are."""

    lower: Any
    upper: Any
    error: Any
    count: Any
    failed: Any


class _Points(NamedTuple):
    x: Any
    mass: Any
    inside: Any
    u: Unknowns


def find_edges(eq: Any, tries: Any, hints: Any, *, bulks: int) -> Edges:
    """Edges of up to `bulks` bulks; `failed` where one is missing.

    A gap is looked for at each possible mass in `tries` rounds, which resolve 16^-tries of the grid's spacing,
    and wherever `hints` (an array of ζ's) says.
    The search is not differentiated; edges are implicit functions of the parameters.
    """
    u, zeta, ok, changes, hard = _search(jax.lax.stop_gradient(eq), bulks, tries, hints)
    zeta, error = jax.vmap(lambda u, z: _implicit_fold(eq, u, z))(u, zeta)
    # support down to the atom: the first edge is ζ = 0 and no fold
    shift = lambda a, first: jnp.where(hard, jnp.concatenate([first, a[:-1]]), a)
    zeta, error, ok = shift(zeta, jnp.zeros(1)), shift(error, jnp.zeros(1)), shift(ok, jnp.ones(1, bool))
    count = (changes + hard) // 2
    lower, upper = zeta[::2], zeta[1::2]
    exists = jnp.arange(bulks) < count
    unsound = exists & ~(ok[::2] & ok[1::2] & (upper > lower))
    failed = (count < 1) | (count > bulks) | jnp.any(unsound)
    keep = lambda a: jnp.where(exists, a, jnp.nan)
    return Edges(keep(lower), keep(upper), jnp.where(jnp.repeat(exists, 2), error, jnp.nan), count, failed)


# --------------------------------------------------------------------------------------------------- search


def _measure(eq: Any, x: Any) -> _Points:
    """Mass to the left of each x and whether x is in the support; NaN marks an unused place."""

    def one(x: Any) -> tuple[Any, Any, Unknowns]:
        u, half = vertical(eq, x, lambda u, _: (u[0],), levels=LEVELS, steps=3)
        inside = jnp.max(jnp.stack([v.imag / jnp.abs(v) for v in u])) > INSIDE
        return 0.5 - half[0], inside, u

    used = ~jnp.isnan(x)
    mass, inside, u = jax.vmap(one)(jnp.where(used, x, eq.bound))
    return _Points(x, mass, inside & used, u)


def _search(eq: Any, bulks: int, tries: Any, hints: Any) -> tuple[Unknowns, Any, Any, Any, Any]:
    """Folds in ascending order, whether each was found, how many there must be, and whether 0 is inside."""
    marks, hints = (jnp.clip(a / eq.bound, 1e-14, 1.0) for a in (eq.landmarks, hints))
    even = jnp.geomspace(1e-14, 1.0 + 1e-6, 43)
    grid = jnp.concatenate([jnp.array([1e-24]), even, 0.8 * marks, marks, 1.25 * marks, hints])
    per_round = -(-grid.size // CUTS)  # intervals cut in one round
    pending = jnp.full(per_round * CUTS, jnp.nan).at[: grid.size].set(eq.bound * grid)
    empty = jnp.full(per_round * CUTS * ROUNDS, jnp.nan)
    ones = tuple(jnp.ones(empty.size, complex) for _ in eq.start(1.0 + 0j))
    points = _Points(empty, jnp.ones(empty.size), jnp.zeros(empty.size, bool), ones)

    def cond(carry: Any) -> Any:
        _, pending, _, k = carry
        return (k < ROUNDS) & jnp.any(~jnp.isnan(pending))

    def body(carry: Any) -> Any:
        points, pending, _, k = carry
        points = jax.tree.map(  # unused places sort last and are overwritten
            lambda a, b: a.at[-b.size :].set(b), points, _measure(eq, pending)
        )
        order = jnp.argsort(points.x)
        points = jax.tree.map(lambda a: a[order], points)
        place, changes = _transitions(points, bulks)
        folds = _folds(eq, points, place)
        width = (
            _wanted(eq, points, k < tries)
            .at[place]
            .max(jnp.where(folds[2], 0.0, jnp.log(points.x[place + 1] / points.x[place])))
        )
        width, which = jax.lax.top_k(width, per_round)
        inner = points.x[which][:, None] * jnp.exp(width[:, None] * jnp.arange(1, CUTS + 1) / (CUTS + 1))
        pending = jnp.where(width[:, None] > 1e-14, inner, jnp.nan).ravel()
        return points, pending, (*folds, changes, points.inside[0]), k + 1

    edges = jnp.zeros(2 * bulks)
    none = (tuple(edges for _ in ones), edges, edges > 0, 0, False)
    return jax.lax.while_loop(cond, body, (points, pending, none, 0))[2]


def _wanted(eq: Any, points: _Points, try_gaps: Any) -> Any:
    """Log-widths of the intervals to cut: a bulk was stepped over, or perhaps a gap."""
    x, mass, inside = points.x, points.mass, points.inside
    error = SAME_MASS + 10 * jnp.exp(-(jnp.pi**2) * LEVELS / jnp.log(1e18 * eq.bound / x))
    hidden = ~inside[:-1] & ~inside[1:] & (jnp.diff(mass) > error[:-1] + error[1:])
    at = 1.0 - eq.levels[:, None]
    settled = jnp.any((jnp.abs(mass - at) < error) & ~inside & ~jnp.isnan(x), axis=1)
    place = jnp.max(jnp.where((mass < at) & ~jnp.isnan(x), jnp.arange(x.size), 0), axis=1)
    place = jnp.minimum(place, x.size - 2)
    maybe = jnp.zeros(x.size - 1, bool).at[place].max(~settled & try_gaps)
    maybe = maybe & (inside[:-1] | inside[1:])
    return jnp.where(hidden | maybe, jnp.log(x[1:] / x[:-1]), 0.0)


def _transitions(points: _Points, bulks: int) -> tuple[Any, Any]:
    """Intervals with one end inside, ascending and padded with the first, and their number."""
    change = points.inside[1:] != points.inside[:-1]
    (place,) = jnp.nonzero(change, size=2 * bulks, fill_value=-1)
    return jnp.where(place < 0, place[0], place), jnp.sum(change)


def _folds(eq: Any, points: _Points, place: Any) -> tuple[Unknowns, Any, Any]:
    """A fold inside each interval, by Newton's method from its two ends; and whether one was found."""
    ends = jnp.concatenate([place, place + 1])
    left, right = jnp.tile(points.x[place], 2), jnp.tile(points.x[place + 1], 2)
    u, z, step = jax.vmap(lambda u, x: fold(eq, u, x))(tuple(v[ends].real for v in points.u), points.x[ends])
    ok = (step < 1e-6) & (z > left * (1 - 1e-9)) & (z < right * (1 + 1e-9))
    first = ok[: place.size]
    pick = lambda a: jnp.where(first, a[: place.size], a[place.size :])
    return tuple(pick(v) for v in u), pick(z), first | ok[place.size :]


def _implicit_fold(eq: Any, u: Unknowns, zeta: Any) -> tuple[Any, Any]:
    """An edge as a differentiable function of the parameters, and its estimated relative error."""
    u, zeta = jax.lax.stop_gradient((u, zeta))
    _, polished = jax.lax.fori_loop(0, 2, lambda _, v: fold_step(eq, *v), (u, zeta))
    return polished, jnp.abs(jax.lax.stop_gradient(polished) / zeta - 1.0) + 8 * jnp.finfo(float).eps


# -------------------------------------------------------------------------------------------------- contents


def contents(eq: Any, edges: Edges, total: Any) -> tuple[Any, Any]:
    """Mass and train-loss drop of each bulk, from vertical integrals through the gaps between them.

    `total` is s(z = 0) = ∫ dν_s/λ; the drop of a bulk is eq.drop_scale times its share of that integral.
    """
    gaps = jax.lax.stop_gradient(jnp.sqrt(edges.upper[:-1] * edges.lower[1:]))
    open_ = jnp.arange(gaps.size) < edges.count - 1

    def readouts(u: Unknowns, zeta: Any) -> tuple[Any, Any]:
        u = implicit(eq, u, zeta)
        return u[0], (eq.transforms(u)[1] - total) / (eq.origin + zeta)

    def left_of(x: Any) -> Any:
        return vertical(eq, x, readouts, levels=160, steps=3)[1]

    half = jax.vmap(left_of)(jnp.where(open_, gaps, eq.bound))
    ends = jnp.stack([jnp.ones_like(total), total])
    below = jnp.where(open_[:, None], ends / 2 - half, ends)
    start = jnp.stack([eq.atom_mass, 0.0])
    steps = jnp.diff(jnp.concatenate([start[None], below, ends[None]]), axis=0)
    exists = jnp.arange(gaps.size + 1) < edges.count
    return jnp.where(exists, steps[:, 0], jnp.nan), jnp.where(exists, eq.drop_scale * steps[:, 1], jnp.nan)
