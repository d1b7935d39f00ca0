"""Laws without a largest eigenvalue: edges that are none,
and what is learnt along those that were put lower.
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
    """The support with the edges of an unbounded law: no upper one,
    and none between the first bulk and an atom.

    Both are where 1 + ψ_pTq vanishes beyond the largest eigenvalue of Σ, and move with it.
    """
    if concrete(eq.lowered) and eq.lowered == 0:
        return support
    place, open_ = jnp.arange(support.lower.size), eq.unbounded
    first, last = open_ & (place == 0) & (eq.atom_mass > 0), open_ & (place == support.count - 1)
    return support._replace(
        lower=jnp.where(first, 0.0, support.lower), upper=jnp.where(last, jnp.inf, support.upper)
    )


def with_the_last(
    eq: Equations, drop: Vector, error: Vector, count: Whole
) -> tuple[Vector, Vector]:
    """Drops of bulks and their errors where the last one has no end:
    its drop is what the others leave of all of them.

    All of Σ is in the equations for smooth averages, and in them all drops together are known (15).
    Other bulks than the last are those of the equations to TAIL.
    """
    if eq.averaged is None:
        return drop, error
    whole, still = eq.averaged, jax.lax.stop_gradient(eq.averaged)
    u = solve_left(still, -still.decay)
    learnt, other = _learnt(whole, u), still.on_other_nodes
    differ = (
        0.0 if other is None else jnp.abs(_learnt(other, solve_left(other, -other.decay)) - learnt)
    )
    moved = condition(still, lambda e: _learnt(e, u))
    unsure = AT_LEAST_HALVED * differ + (4 * EPS + still.accuracy) * moved + TAIL * learnt
    last, before = (
        (jnp.arange(drop.size) == count - 1) & eq.unbounded,
        jnp.arange(drop.size) < count - 1,
    )
    left = learnt - jnp.sum(jnp.where(before, drop, 0.0))
    open_ = jnp.sum(jnp.where(before, error, 0.0)) + unsure
    return jnp.where(last, left, drop), jax.lax.stop_gradient(jnp.where(last, open_, error))


def _learnt(eq: Equations, u: Unknowns) -> Real:
    """∫ dν(λ) (λ + 2γ')/(λ + γ')² over the whole spectrum, from the solution u at z = -γ'."""
    at = lambda z: eq.explained(eq.at(implicit(eq, u, left_of_origin(eq, z))))[0]
    total, slope = jax.jvp(at, (-eq.decay,), (jnp.ones_like(eq.decay),))
    return total + eq.decay * slope
