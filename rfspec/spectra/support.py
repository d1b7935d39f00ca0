"""The support with the masses and the parts of its bulks."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..files.tables import in_brief
from ..numerics.checks import concrete
from ..numerics.rounding import EPS
from ..numerics.types import Real, Reals, Truth, Truths, Vector, Wholes
from ..resolvent.interface import Equations
from .edges import Edges
from .unbounded import open_ends

PARTS = ("population", "sample", "satellite")
BELOW = "draws"  # the part below these: differences of finitely many draws of the noise
ON_EDGE = 8 * EPS  # largest relative distance from an edge of a point that is on it


class Support(NamedTuple):
    """Bulks in ascending order, padded with NaN."""

    # in ζ
    lower: Reals
    upper: Reals
    # what rounding leaves open of each edge, relative, [bulk, lower or upper]
    rounding: Reals
    # exact
    mass: Reals
    # train-loss drops with their errors
    drop: Reals
    drop_error: Reals
    # how many bulks there are
    count: Wholes


class Atom(NamedTuple):
    """A multiple eigenvalue.

    Attributes
    ----------
    location : float
        The eigenvalue.
    mass : float
        Its share of all eigenvalues, exact; 0 where there is no atom.
    """

    location: Reals
    mass: Reals

    def __repr__(self) -> str:
        return in_brief(self)


class Bulk(NamedTuple):
    """An interval of the support.

    Attributes
    ----------
    lower, upper : float
        Its edges, in the unit of the eigenvalues of U.
    mass : float
        Its share of all eigenvalues, exact to rounding relative to itself.
    loss_drop : float
        By how much the train loss falls when its modes are trained for ever under the model's
        weight decay.
    part : str or None
        "population", "sample", "satellite" or "draws", the last below the others and with finitely
        many draws of the noise only. Several are joined by "+" where they have merged. None inside
        a JAX transformation.
    loss_drop_error : float
        Estimated absolute error of `loss_drop`.
    """

    lower: Real
    upper: Real
    mass: Real
    loss_drop: Real
    part: str | None
    loss_drop_error: Real

    def __repr__(self) -> str:
        return in_brief(self)


class PartEdges(NamedTuple):
    """Edges and masses of the three parts, arrays over (population, sample, satellite).

    Attributes
    ----------
    lower, upper : arrays, shape (3,)
        Edges, in the unit of the eigenvalues of U. NaN where a part does not exist or has merged;
        ∞ for an upper edge that does not exist.
    mass : array, shape (3,)
        Exact masses; 0 where a part does not exist.
    holds : bool array, shape (4, bulks)
        Which bulks hold some of each part, and of the differences of draws below them.
    """

    lower: Reals
    upper: Reals
    mass: Reals
    holds: Truths


def masses_and_parts(eq: Equations, edges: Edges) -> tuple[Vector, PartEdges]:
    """Masses of the bulks, and the parts, by counting the ranks above every gap."""
    total, dividing = (
        jax.lax.stop_gradient(eq.total)[None],
        jnp.concatenate([eq.dividing, eq.total[None]]),
    )
    levels = jnp.concatenate([total, edges.ranks_above, jnp.zeros_like(total)])
    exists = jnp.arange(levels.shape[0] - 1) < edges.count
    mass = jax.vmap(eq.excess)(levels[:-1], levels[1:]) / eq.psi_p
    over = jax.lax.stop_gradient(
        jax.vmap(lambda a: jax.vmap(lambda b: eq.excess(a, b))(dividing))(levels)
    )
    some = jax.vmap(eq.excess)(dividing[1:], dividing[:-1]) > 0
    below, above = over[:-1], over[1:]  # below and above each bulk
    holds = exists[:, None] & some[None, :] & (above[:, 1:] < 0) & (below[:, :-1] > 0)
    begins, ends = holds & (above[:, :-1] == 0), holds & (below[:, 1:] == 0)
    open_ = open_ends(eq, edges)

    def pick(hit: Truths, edges: Vector, opened: Vector) -> Vector:
        hit, bulk = hit.T[:3], jnp.argmax(hit.T[:3], axis=1)
        edge = blank(eq.origin + jnp.where(exists, edges, 1.0)[bulk], ~jnp.any(hit, axis=1))
        return jnp.where(jnp.any(hit, axis=1) & jnp.isinf(opened[bulk]), jnp.inf, edge)

    parts = PartEdges(
        pick(ends, open_.lower, open_.lower),
        pick(begins, edges.upper, open_.upper),
        eq.parts,
        holds.T,
    )
    return jnp.where(exists, mass, jnp.nan), parts


def blank(value: Vector, missing: Truths) -> Vector:
    """NaN where a number is missing, with NaN derivatives that do not spread to other numbers.

    A constant NaN would have the derivative 0. A factor NaN would turn the 0 that stands in reverse
    mode for what nobody asked for into NaN. Here NaN comes from ∞ - ∞, by an overflow that a 0
    survives. It takes two paths, because reverse mode adds what comes back along one.
    """
    if concrete(value, missing):
        return np.where(missing, np.nan, value)
    large = jnp.where(missing, 1e300, 1.0)
    return value + (value * large * large - value * large * large)


def inside_and_distance(support: Support, zeta: Real) -> tuple[Truth, Real]:
    """Whether ζ is inside a bulk, and its distance to the nearer end of that bulk.

    A point no further from an edge than the edge's rounding counts as on it, and not inside, since
    the equations are singular there.
    """
    left, right = zeta - support.lower, support.upper - zeta
    inside = (left > ON_EDGE * zeta) & (right > ON_EDGE * zeta)
    distance = jnp.where(inside, jnp.minimum(left, right), jnp.inf)
    return jnp.any(inside), jnp.min(distance)
