r"""Closed-form limits: the Marchenko-Pastur edges of FΣFᵀ and the two bulks of the paper's Theorem
3.2.

Leading order for ψ_p, ψ_n ≫ 1: a sample bulk of Marchenko-Pastur form around s² + v²(1 + ψ_p/ψ_n),
and a population bulk, the spectrum of μ1²FΣ_tFᵀ + (v² + s²)I with Σ_t = α²Σ + β²I. The theorem
knows no satellite.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from ..models.gaussian_equivalent import gaussian_equivalent
from ..models.model import RandomFeatureModel
from ..numerics.types import Real, Vector, Whole
from ..resolvent.equations import equations
from ..resolvent.interface import Equations


class LeadingOrder(NamedTuple):
    """Edges (lower, upper) of the two bulks of Theorem 3.2."""

    population: tuple[Real, Real]
    sample: tuple[Real, Real]


def leading_order(model: RandomFeatureModel) -> LeadingOrder:
    r"""Edges of the sample and population bulks to leading order in 1/ψ_p, 1/ψ_n.

    ρ_1 on s² + v²(1 ± √(ψ_p/ψ_n))²; ρ_2 the nonzero spectrum of μ1²FΣ_tFᵀ, shifted by v² + s².

    Parameters
    ----------
    model : RandomFeatureModel

    Returns
    -------
    LeadingOrder
        ``.population`` and ``.sample``, each (lower, upper). The formulas are exact to rounding;
        the distance to the exact edges of ``rf.spectrum`` is of relative order 1/√ψ.

    Notes
    -----
    arXiv 2505.17638, Theorem 3.2.
    """
    return leading_order_of(equations(model, gaussian_equivalent(model)))


@jax.jit
def leading_order_of(eq: Equations) -> LeadingOrder:
    """The same from equations that hold the constants; μ1²Σ_t has the eigenvalues κ²λ + b²."""
    ge = eq.ge
    low, high = marchenko_pastur_edges(ge.kappa2 * eq.values + ge.b2, eq.weights, eq.psi_p)
    high = jnp.where(eq.unbounded, jnp.inf, high)
    width = jnp.sqrt(eq.psi_p / eq.psi_n)
    floor = ge.v2 + ge.s2
    return LeadingOrder(  # (28)
        population=(floor + low, floor + high),
        sample=(ge.s2 + ge.v2 * (1.0 - width) ** 2, ge.s2 + ge.v2 * (1.0 + width) ** 2),
    )


def marchenko_pastur_edges(values: Vector, weights: Vector, psi_p: Real) -> tuple[Real, Real]:
    r"""Lowest and highest edge of the nonzero spectrum of FΣFᵀ, F = W/√d with W p×d, ψ_p = p/d.

    Both are ψ_p z(w) at the zeros of z'(w) that lie beyond the ends of Σ's spectrum, where
    z(w) = w + ∫ dρ_Σ(λ) λw/(w - λ)/ψ_p (Silverstein and Choi 1995); (1 ± √ψ_p)² for Σ = I.
    """
    ratio = 1.0 / psi_p

    def edge(end: Real, sign: float) -> Real:
        """With w = end + sign·x the condition ratio·∫ λ²/(w - λ)² = 1 decreases in x > 0."""

        def excess(x: Real) -> Real:
            return ratio * jnp.sum(weights * values**2 / (end + sign * x - values) ** 2) - 1.0

        def bisect(_: Whole, ends: tuple[Real, Real]) -> tuple[Real, Real]:
            low, high = ends
            middle = jnp.sqrt(low * high)
            above = excess(middle) > 0
            return jnp.where(above, middle, low), jnp.where(above, high, middle)

        furthest = jnp.sqrt(ratio) * jnp.max(values)
        low, high = jax.lax.fori_loop(0, 100, bisect, (1e-12 * furthest, 1.0000001 * furthest))
        x = jax.lax.stop_gradient(jnp.sqrt(low * high))
        for _ in range(2):  # the root as an implicit function
            slope = jax.grad(excess)(x)
            x = x - excess(x) / slope
        w = end + sign * x
        return psi_p * w * (1.0 + ratio * jnp.sum(weights * values / (w - values)))

    return edge(jnp.min(values), -1.0), edge(jnp.max(values), 1.0)
