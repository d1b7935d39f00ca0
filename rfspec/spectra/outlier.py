r"""The eigenvalue that the mean of σ adds to the spectrum (beyond arXiv 2505.17638,
whose σ is odd).

The theory subtracts μ0 = E[σ(Γz)] from σ. The features as they are have the correlation matrix
U_true = (1/n) Σ_ν E_ξ[φφᵀ] with φ_i = m_i + centred, m_i = E[φ_i] = μ0(w_iΣ_tw_iᵀ/d), Σ_t = α²Σ +
β²I, so that

    U_true = m mᵀ + m ēᵀ + ē mᵀ + U_c,   ē = (1/n) Σ_ν E_ξ[φ - m],   |ē|² → (ψ_p/ψ_n)(κ²σ_x² + v²):

the bulks of U and one eigenvalue of order d. Perturbation theory in the rest, with g = μ0(Γ²), g' =
dg/dΓ², m₂ = Tr Σ_t²/d and p = ψ_p d, gives it to order 1:

    Λ = p g² + 2ψ_pm₂ (2g'² + g g'') + Var σ(Γz) + (ψ_p/ψ_n)(κ²σ_x² + v²) + O(d^{-1/2}).

2ψ_pm₂(g'² + g g'') is the spread of |w_i|²; the other 2ψ_pm₂g'² is that of |x_t|², which moves all
features at once. By the heat equation g' = E[σ''(Γz)]/2 = h_2/(√2Γ²) and g'' = E[σ⁽⁴⁾(Γz)]/4 = √6
h_4/(2Γ⁴), without a derivative of σ.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..models.gaussian_equivalent import gaussian_equivalent
from ..models.model import RandomFeatureModel
from ..numerics.checks import concrete, real_scalar
from ..numerics.quadrature import REACH, gaussian_weight, hermite_functions, panels
from ..numerics.types import Given, Real

NO_MEAN = 1e-12  # |μ0| relative to the root of E[σ²] below which it is rounding


class MeanOutlier(NamedTuple):
    """The outlier of the uncentred features.

    `leading`: ψ_p d μ0². `location`: with the correction of order 1. `deviation`: standard
    deviation over draws of features and data, also of order 1.
    """

    leading: Real
    location: Real
    deviation: Real


def mean_outlier(model: RandomFeatureModel, d: Given) -> MeanOutlier:
    r"""Largest eigenvalue of the uncentred feature correlation matrix at dimension d,
    caused by μ0 ≠ 0.

        Λ = ψ_p d μ0² + 2ψ_pm₂(2g'² + g g'') + Var σ(Γz) + (ψ_p/ψ_n)(κ²σ_x² + v²),
        Var Λ = 8 (g g')² (ψ_pm₂ + ψ_p² α⁴ (Tr Σ²/d)/ψ_n) + 4μ0² (ψ_p/ψ_n)(κ²σ_x² + v²),

    g(Γ²) = μ0, m₂ = Tr (α²Σ + β²I)²/d, for Gaussian data.

    Parameters
    ----------
    model : RandomFeatureModel
    d : float
        Dimension of the data, > 0; d ≥ 1 makes sense.

    Returns
    -------
    MeanOutlier
        ``.leading .location .deviation``.

    Raises
    ------
    ValueError
        If d is no positive number or σ has no mean (an odd σ), and so no outlier.

    Notes
    -----
    To leading order: what is neglected is O(d^{-1/2}). Against relu features sampled at d = 40 to
    120 (200 draws each) the location was right within 0.17 and the deviation within a quarter,
    statistical errors 0.07 and 5 %. The expansion holds where Λ is far above the bulks, whose top
    is of order ψ_pμ1²Γ²; to them the mean does nothing as d → ∞. Beyond arXiv 2505.17638.

    Examples
    --------
    >>> import rfspec as rf
    >>> outlier = rf.mean_outlier(rf.RandomFeatureModel(4.0, 2.0, t=0.1, activation="relu"), 100)
    >>> print(f"{outlier.leading:.4f}")
    63.6620
    """
    d = real_scalar("d", d, above=0.0)
    ge = gaussian_equivalent(model)
    size = jnp.sqrt(ge.mu0**2 + ge.kappa2 * model.covariance.trace + ge.b2 + ge.v2 + ge.s2)
    if concrete(ge.mu0, size) and abs(float(ge.mu0)) <= NO_MEAN * float(size):
        raise ValueError(
            "activation must have a mean for an outlier, got E[σ(Γz)] = 0 from "
            f"{model.activation.name!r}"
        )
    return MeanOutlier(*_outlier(model, ge, d))


@jax.jit
def _outlier(model: RandomFeatureModel, ge: Any, d: Real) -> tuple[Real, Real, Real]:
    psi_p, psi_n, gamma2 = model.psi_p, model.psi_n, model.gamma2
    values, weights = jnp.asarray(model.covariance.values), jnp.asarray(model.covariance.weights)
    alpha2 = model.process.alpha**2
    second_moment = jnp.sum(weights * (alpha2 * values + model.process.beta2) ** 2)
    gamma = jnp.sqrt(gamma2)
    breaks = jnp.asarray(sorted({0.0, *model.activation.kinks}))
    x, w = panels(-REACH * gamma, REACH * gamma, breaks, 0.25 * jnp.minimum(1.0, gamma), 12)
    h = hermite_functions(x / gamma, 5) @ (
        w * gaussian_weight(x / gamma) / gamma * model.activation(x)
    )
    g, first, second = ge.mu0, h[2] / (np.sqrt(2.0) * gamma2), np.sqrt(6.0) * h[4] / (2 * gamma2**2)
    column = ge.kappa2 * model.covariance.trace + ge.v2
    variance = column + ge.b2 + ge.s2
    leading = psi_p * d * g**2
    location = (
        leading
        + 2 * psi_p * second_moment * (2 * first**2 + g * second)
        + variance
        + psi_p / psi_n * column
    )
    signal2 = alpha2**2 * jnp.sum(weights * values**2)
    norms = 8 * (g * first) ** 2 * (psi_p * second_moment + psi_p**2 * signal2 / psi_n)
    deviation = jnp.sqrt(norms + 4 * g**2 * psi_p / psi_n * column)
    return leading, location, deviation
