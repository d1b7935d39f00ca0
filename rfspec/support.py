"""The support with the masses of its bulks, the parts they belong to, and what is computed on it point by point.

Density and distribution function are solved for at each point asked for, to nearly full precision wherever it is.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .solver import solve_real_axis

PARTS = ("population", "sample", "satellite")
ON_EDGE = 8 * float(jnp.finfo(float).eps)  # of its place
SAME = 1e-11  # masses are known better than this


class Support(NamedTuple):
    """Bulks in ascending order, in ζ, padded with NaN: edges, exact masses, train-loss drops; how many."""

    lower: Any
    upper: Any
    mass: Any
    drop: Any
    count: Any


class PartEdges(NamedTuple):
    """Edges of the three parts, arrays over (population, sample, satellite); NaN where a part has merged."""

    lower: Any
    upper: Any
    mass: Any


def part_edges(eq: Any, support: Support) -> PartEdges:
    """Edges of the parts: those of the bulks that begin and end at the dividing masses."""
    mass = jnp.nan_to_num(jax.lax.stop_gradient(support.mass))
    parts = jax.lax.stop_gradient(eq.parts)
    stop = jnp.cumsum(parts)[:, None]
    upto = jnp.cumsum(mass[::-1])[::-1]  # mass from the top down to and including each bulk
    exists = (mass > 0) & (parts[:, None] > SAME)
    ends_here = exists & (jnp.abs(upto - stop) < SAME)
    begins_here = exists & (jnp.abs(upto - mass - stop + parts[:, None]) < SAME)

    def pick(hit: Any, edges: Any) -> Any:
        place = jnp.argmax(hit, axis=1)
        return jnp.where(jnp.any(hit, axis=1), eq.origin + edges[place], jnp.nan)

    return PartEdges(pick(ends_here, support.lower), pick(begins_here, support.upper), parts)


def open_ends(eq: Any, support: Support) -> Support:
    """The support with the edges of an unbounded law: no upper one, and none between the first bulk and an atom.

    Both are where 1 + ψ_pTq vanishes beyond the largest eigenvalue of Σ, and move with it.
    """
    if not eq.unbounded:
        return support
    place = jnp.arange(support.lower.size)
    first, last = (place == 0) & (eq.atom_mass > 0), place == support.count - 1
    return support._replace(lower=jnp.where(first, 0.0, support.lower), upper=jnp.where(last, jnp.inf, support.upper))


def depth(support: Support, zeta: Any) -> tuple[Any, Any]:
    """Whether ζ is inside a bulk, and its distance to the ends of that bulk.

    What is no further from an edge than the edge's own rounding is on it: the equations are singular there.
    """
    left, right = zeta - support.lower, support.upper - zeta
    inside = (left > ON_EDGE * zeta) & (right > ON_EDGE * zeta)
    distance = jnp.where(inside, jnp.minimum(left, right), jnp.inf)
    return jnp.any(inside), jnp.min(distance)


@jax.jit
def density_at(eq: Any, support: Support, x: Any) -> Any:
    """Density of the continuous part at eigenvalues x."""

    def one(zeta: Any) -> Any:
        inside, distance = depth(jax.lax.stop_gradient(support), jax.lax.stop_gradient(zeta))
        safe = jnp.where(inside, zeta, -eq.bound)
        u = solve_real_axis(eq, safe, 0.02 * jnp.where(inside, distance, eq.bound))
        return jnp.where(inside, u[0].imag / jnp.pi, 0.0)

    x = jnp.asarray(x, float)
    return jax.vmap(one)(x.ravel() - eq.origin).reshape(x.shape)


def cdf_at_one(eq: Any, support: Support, zeta: Any) -> Any:
    """Mass up to ζ: from the solution there inside a bulk, a sum of masses elsewhere."""
    still, at = jax.lax.stop_gradient((support, zeta))
    inside, distance = depth(still, at)
    safe = jnp.where(inside, zeta, -eq.bound)
    u = solve_real_axis(eq, safe, 0.02 * jnp.where(inside, distance, eq.bound))
    atom = jnp.where(zeta >= 0, eq.atom_mass, 0.0)
    return jnp.where(
        inside,
        eq.distribution(u, safe),
        atom + jnp.nansum(jnp.where(at >= still.upper - ON_EDGE * at, support.mass, 0)),
    )


@jax.jit
def cdf_at(eq: Any, support: Support, x: Any) -> Any:
    """Distribution function at eigenvalues x, the atom included."""
    x = jnp.asarray(x, float)
    return jax.vmap(lambda zeta: cdf_at_one(eq, support, zeta))(x.ravel() - eq.origin).reshape(x.shape)
