"""Laws without a largest eigenvalue: their missing edges, and the drop of their last bulk.

The equations hold the largest eigenvalues of such a law lower than they are.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from ..models.law_quadrature import TAIL
from ..numerics.checks import concrete
from ..numerics.holomorphic import Unknowns, condition, implicit
from ..numerics.rounding import EPS
from ..numerics.types import Real, Vector, Whole
from ..resolvent.interface import AT_LEAST_HALVED, Equations
from ..resolvent.solver import left_of_origin, solve_left


def open_ends(eq: Equations, support: Any) -> Any:
    """The support with the edges of an unbounded law.

    It has no upper edge, and no edge between the first bulk and an atom. Where the equations have
    these edges, 1 + ψ_pTq vanishes beyond the largest eigenvalue of Σ, and they move with it.
    """
    if concrete(eq.lowered) and eq.lowered == 0:
        return support
    bulk, open_ = jnp.arange(support.lower.size), eq.unbounded
    first, last = open_ & (bulk == 0) & (eq.atom_mass > 0), open_ & (bulk == support.count - 1)
    return support._replace(
        lower=jnp.where(first, 0.0, support.lower), upper=jnp.where(last, jnp.inf, support.upper)
    )


def with_drop_of_unbounded_bulk(
    eq: Equations, drop: Vector, error: Vector, count: Whole
) -> tuple[Vector, Vector]:
    """Drops of bulks and their errors, where the last bulk has no end.

    Its drop is what the others leave of the sum of all drops. That sum is known from (15) in the
    equations for smooth averages, which hold all of Σ. The drops of the other bulks are right to
    TAIL.
    """
    if eq.averaged is None:
        return drop, error
    whole, frozen = eq.averaged, jax.lax.stop_gradient(eq.averaged)
    u = solve_left(frozen, -frozen.decay)
    total, other = _sum_of_drops(whole, u), frozen.on_other_nodes
    change = (
        0.0
        if other is None
        else jnp.abs(_sum_of_drops(other, solve_left(other, -other.decay)) - total)
    )
    moved = condition(frozen, lambda e: _sum_of_drops(e, u))
    unsure = AT_LEAST_HALVED * change + (4 * EPS + frozen.accuracy) * moved + TAIL * total
    last, before = (
        (jnp.arange(drop.size) == count - 1) & eq.unbounded,
        jnp.arange(drop.size) < count - 1,
    )
    left = total - jnp.sum(jnp.where(before, drop, 0.0))
    open_ = jnp.sum(jnp.where(before, error, 0.0)) + unsure
    return jnp.where(last, left, drop), jax.lax.stop_gradient(jnp.where(last, open_, error))


def _sum_of_drops(eq: Equations, u: Unknowns) -> Real:
    # ∫ dν(λ) (λ + 2γ')/(λ + γ')² over the whole spectrum, from the solution u at z = -γ'
    explained = lambda z: eq.explained(eq.point(implicit(eq, u, left_of_origin(eq, z))))[0]
    total, slope = jax.jvp(explained, (-eq.decay,), (jnp.ones_like(eq.decay),))
    return total + eq.decay * slope
