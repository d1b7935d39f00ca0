"""From the equations to the arrays of a spectrum: edges, masses, parts and nodes of every bulk."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp

from ..numerics.checks import concrete
from ..numerics.programs import program
from ..numerics.types import Truth, Vector, Whole
from ..resolvent.interface import Equations
from .edges import find_edges
from .search import Search, search_support
from .series import WHOLE, Series, drops_of, resolve, series_of
from .support import Atom, PartEdges, Support, masses_and_parts
from .unbounded import with_drop_of_unbounded_bulk

MOST_BULKS = 17  # arrays have room for so many bulks; where there are more, for twice as many
# where Σ has many eigenvalues room is dear, and arrays have room for fewer bulks at first
FEW_BULKS, MANY_EIGENVALUES = 4, 64

searched = program(search_support)


def room_for(eq: Equations, count: Whole) -> int:
    """The number of bulks for which arrays have room.

    It is one of few numbers, so that models share compilations.
    """
    room = FEW_BULKS if concrete(count) and eq.values.size > MANY_EIGENVALUES else MOST_BULKS
    while concrete(count) and room < int(count):
        room *= 2
    return min(room, eq.most_bulks)


@partial(program, static_argnames="bulks")
def contents(
    eq: Equations, search: Search, *, bulks: int
) -> tuple[Support, Atom, PartEdges, Vector, Series, Truth]:
    """All fields of a Spectrum but model and equations, so that models share one compilation."""
    edges = find_edges(eq, search, bulks=bulks)
    exists = ~jnp.isnan(edges.lower)
    or_any = lambda a, other: jnp.where(exists, a, other)
    mass, parts = masses_and_parts(eq, edges)
    pieces = jax.vmap(lambda a, b: resolve(eq, a, b, 0.0, 1.0, WHOLE))(
        or_any(edges.lower, eq.upper_bound), or_any(edges.upper, 2 * eq.upper_bound)
    )
    unknown = jnp.full(bulks, jnp.nan)
    rounding = jnp.nan_to_num(edges.rounding).reshape(-1, 2)
    support = Support(edges.lower, edges.upper, rounding, mass, unknown, unknown, edges.count)
    bulk, zero = jnp.where(exists, jnp.arange(bulks), bulks), jnp.zeros(bulks)
    drops = with_drop_of_unbounded_bulk(eq, *drops_of(eq, support, bulk, pieces), edges.count)
    drop, drop_error = (or_any(a, jnp.nan) for a in drops)
    support = support._replace(drop=drop, drop_error=drop_error)
    series = series_of(support, bulk, zero, zero + 1.0, pieces)
    failed = edges.failed | jnp.any(mass <= 0)
    return support, Atom(eq.origin, eq.atom_mass), parts, edges.error, series, failed
