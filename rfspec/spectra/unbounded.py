"""Laws without a largest eigenvalue: edges that are none, and what is learnt along those that were put lower."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from ..models.law_quadrature import TAIL
from ..numerics.holomorphic import Unknowns, condition, implicit
from ..numerics.rounding import EPS
from ..resolvent.interface import AT_LEAST_HALVED, Equations
from ..resolvent.solver import left_of_origin, solve_left


def open_ends(eq: Equations, support: Any) -> Any:
    """The support with the edges of an unbounded law: no upper one, and none between the first bulk and an atom.

    Both are where 1 + ψ_pTq vanishes beyond the largest eigenvalue of Σ, and move with it.
    """
    place, open_ = jnp.arange(support.lower.size), eq.unbounded
    first, last = open_ & (place == 0) & (eq.atom_mass > 0), open_ & (place == support.count - 1)
    return support._replace(lower=jnp.where(first, 0.0, support.lower), upper=jnp.where(last, jnp.inf, support.upper))


def learnt_beyond(eq: Equations) -> tuple[Any, Any]:
    """The loss drop along eigenvalues of Σ that the equations hold lower, and the error of all drops without them.

    All of Σ is in the equations for smooth averages, and in them all drops together are known (15). Other modes than
    the last are those of the equations to TAIL.
    """
    whole = eq.averaged
    if whole is None:
        return 0.0, 0.0
    still, short = jax.lax.stop_gradient((whole, eq))
    u, v = (solve_left(e, -e.decay) for e in (still, short))
    learnt = _learnt(whole, u)
    other = still.on_other_nodes
    differ = 0.0 if other is None else jnp.abs(_learnt(other, solve_left(other, -other.decay)) - learnt)
    moved = condition(still, lambda e: _learnt(e, u))
    error = AT_LEAST_HALVED * differ + (4 * EPS + still.accuracy) * moved + TAIL * learnt
    return learnt - _learnt(eq, v), jax.lax.stop_gradient(error)


def _learnt(eq: Equations, u: Unknowns) -> Any:
    """∫ dν(λ) (λ + 2γ')/(λ + γ')² over the whole spectrum, from the solution u at z = -γ'."""
    at = lambda z: eq.explained(eq.at(implicit(eq, u, left_of_origin(eq, z))))[0]
    total, slope = jax.jvp(at, (-eq.decay,), (jnp.ones_like(eq.decay),))
    return total + eq.decay * slope
