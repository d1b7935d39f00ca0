r"""Closed-form limits: the Marchenko-Pastur edges of FΣFᵀ and the two bulks of the paper's Theorem
3.2.

To leading order for ψ_p, ψ_n ≫ 1 there is a sample bulk of Marchenko-Pastur form around
s² + v²(1 + ψ_p/ψ_n), and a population bulk, the spectrum of μ1²FΣ_tFᵀ + (v² + s²)I with
Σ_t = α²Σ + β²I. The theorem knows no satellite.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from ..files.tables import in_brief
from ..models.gaussian_equivalent import gaussian_equivalent
from ..models.model import RandomFeatureModel
from ..numerics.types import Real, Vector, Whole
from ..resolvent.equations import equations
from ..resolvent.interface import Equations


class LeadingOrder(NamedTuple):
    """Edges of the two bulks of Theorem 3.2.

    Attributes
    ----------
    population, sample : (float, float)
        The lower and the upper edge, in the unit of the eigenvalues of U; exact to rounding as
        values of the formulas.
    """

    population: tuple[Real, Real]
    sample: tuple[Real, Real]

    def __repr__(self) -> str:
        return in_brief(self)


def leading_order(model: RandomFeatureModel) -> LeadingOrder:
    r"""Edges of the sample and population bulks to leading order in 1/ψ_p, 1/ψ_n.

    .. math::

        λ_±(\text{sample}) = s^2 + v^2 (1 ± \sqrt{ψ_p/ψ_n})^2

    The population bulk is the nonzero spectrum of μ1²FΣ_tFᵀ, shifted by v² + s².

    Parameters
    ----------
    model : RandomFeatureModel

    Returns
    -------
    LeadingOrder
        ``.population`` and ``.sample``, each (lower, upper). They are exact to rounding as values
        of the formulas, and differ from the edges of ``rf.spectrum`` by a relative order 1/√ψ. The
        upper edge of the population is ∞ for a covariance without a largest eigenvalue.

    Notes
    -----
    arXiv 2505.17638, Theorem 3.2; equation (28) of docs/theory.md.

    Examples
    --------
    >>> import rfspec as rf
    >>> limit = rf.leading_order(rf.RandomFeatureModel(psi_p=64.0, psi_n=8.0, t=0.01))
    >>> print(f"{limit.population[1]:.6f}")
    29.744628
    """
    return leading_order_of(equations(model.limit, gaussian_equivalent(model)))


@jax.jit
def leading_order_of(eq: Equations) -> LeadingOrder:
    ge = eq.ge
    if jnp.ndim(ge.v2):
        nowhere = (jnp.nan + 0.0 * eq.psi_p,) * 2
        return LeadingOrder(nowhere, nowhere)
    # μ1²Σ_t has the eigenvalues κ²λ + b²
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

    Both are ψ_p z(w) at a zero of z'(w) beyond an end of Σ's spectrum, where
    z(w) = w + ∫ dρ_Σ(λ) λw/(w - λ)/ψ_p (Silverstein and Choi 1995). For Σ = I they are (1 ± √ψ_p)².
    """
    ratio = 1.0 / psi_p

    def edge(end: Real, sign: float) -> Real:
        # at w = end + sign·x; it decreases in x > 0
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
