"""The support with the masses of its bulks, the parts they belong to,
and what is computed on it point by point.

Density and distribution function are solved for at each point asked for, to nearly full precision
wherever it is.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from ..numerics.rounding import EPS
from ..numerics.types import Real, Reals, Truth, Truths, Vector, Wholes
from ..resolvent.interface import Equations
from ..resolvent.solver import solve_real_axis
from .edges import Edges
from .unbounded import open_ends

PARTS = ("population", "sample", "satellite")
BELOW = "draws"  # differences of finitely many draws of the noise, below these
ON_EDGE = 8 * EPS  # of its place


class Support(NamedTuple):
    """Bulks in ascending order, in ζ, padded with NaN: edges; what rounding leaves open of each,
    relative; exact masses; train-loss drops with errors; how many.
    """

    lower: Reals
    upper: Reals
    rounding: Reals
    mass: Reals
    drop: Reals
    drop_error: Reals
    count: Wholes


class PartEdges(NamedTuple):
    """Edges and masses of the three parts, arrays over (population, sample, satellite).

    An edge is NaN where a part does not exist (its mass is then 0) or has merged.

    `holds`: which bulks hold some of each of these, and of the differences of draws below them,
        [part, bulk].
    """

    lower: Reals
    upper: Reals
    mass: Reals
    holds: Truths


def masses_and_parts(eq: Equations, edges: Edges) -> tuple[Vector, PartEdges]:
    """Masses of the bulks, and the parts that these belong to,
    by counting the ranks above every gap.
    """
    total, dividing = (
        jax.lax.stop_gradient(eq.total)[None],
        jnp.concatenate([eq.dividing, eq.total[None]]),
    )
    levels = jnp.concatenate([total, edges.above, jnp.zeros_like(total)])
    exists = jnp.arange(levels.shape[0] - 1) < edges.count
    mass = jax.vmap(eq.excess)(levels[:-1], levels[1:]) / eq.psi_p
    over = jax.lax.stop_gradient(
        jax.vmap(lambda a: jax.vmap(lambda b: eq.excess(a, b))(dividing))(levels)
    )
    some = jax.vmap(eq.excess)(dividing[1:], dividing[:-1]) > 0
    below, above = over[:-1], over[1:]  # each bulk
    holds = exists[:, None] & some[None, :] & (above[:, 1:] < 0) & (below[:, :-1] > 0)
    begins, ends = holds & (above[:, :-1] == 0), holds & (below[:, 1:] == 0)
    open_ = open_ends(eq, edges)

    def pick(hit: Truths, edges: Vector, opened: Vector) -> Vector:
        hit, place = hit.T[:3], jnp.argmax(hit.T[:3], axis=1)
        found = blank(eq.origin + jnp.where(exists, edges, 1.0)[place], ~jnp.any(hit, axis=1))
        return jnp.where(jnp.any(hit, axis=1) & jnp.isinf(opened[place]), jnp.inf, found)

    parts = PartEdges(
        pick(ends, open_.lower, open_.lower),
        pick(begins, edges.upper, open_.upper),
        eq.parts,
        holds.T,
    )
    return jnp.where(exists, mass, jnp.nan), parts


def blank(value: Vector, missing: Truths) -> Vector:
    """NaN where a number is missing, with NaN for its derivatives,
    and no trace of it in those of other numbers.

    A constant NaN would have the derivative 0, and a factor NaN would make NaN of the 0 that stands
    in reverse mode for what nobody asked for. Here it is ∞ - ∞, by an overflow that 0 survives;
    along two paths, for reverse mode adds what comes back to one.
    """
    large = jnp.where(missing, 1e300, 1.0)
    return value + (value * large * large - value * large * large)


def depth(support: Support, zeta: Real) -> tuple[Truth, Real]:
    """Whether ζ is inside a bulk, and its distance to the ends of that bulk.

    What is no further from an edge than the edge's own rounding is on it: the equations are
    singular there.
    """
    left, right = zeta - support.lower, support.upper - zeta
    inside = (left > ON_EDGE * zeta) & (right > ON_EDGE * zeta)
    distance = jnp.where(inside, jnp.minimum(left, right), jnp.inf)
    return jnp.any(inside), jnp.min(distance)


@jax.jit
def density_at(eq: Equations, support: Support, x: Vector) -> Vector:
    """Density of the continuous part at eigenvalues x, a flat array."""

    def one(zeta: Real) -> Real:
        inside, distance = depth(jax.lax.stop_gradient(support), jax.lax.stop_gradient(zeta))
        safe = jnp.where(inside, zeta, -eq.bound)
        u = solve_real_axis(eq, safe, 0.02 * jnp.where(inside, distance, eq.bound))
        return jnp.where(inside, u[0].imag / jnp.pi, 0.0)

    return jax.vmap(one)(x - eq.origin)


def cdf_at_one(eq: Equations, support: Support, zeta: Real) -> Real:
    """Mass up to ζ: from the solution there inside a bulk, a sum of masses elsewhere."""
    still, at = jax.lax.stop_gradient((support, zeta))
    inside, distance = depth(still, at)
    safe = jnp.where(inside, zeta, -eq.bound)
    u = solve_real_axis(eq, safe, 0.02 * jnp.where(inside, distance, eq.bound))
    atom = jnp.where(zeta >= 0, eq.atom_mass, 0.0)
    below = atom + jnp.nansum(jnp.where(at >= still.upper - ON_EDGE * at, support.mass, 0))
    return jnp.where(inside, 1.0 - eq.tail(u, safe), jnp.minimum(below, 1.0))


@jax.jit
def cdf_at(eq: Equations, support: Support, x: Vector) -> Vector:
    """Distribution function at eigenvalues x, a flat array; the atom included."""
    return jax.vmap(lambda zeta: cdf_at_one(eq, support, zeta))(x - eq.origin)
