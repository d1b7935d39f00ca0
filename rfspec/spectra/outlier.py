r"""The eigenvalue that the mean of σ adds to the spectrum.

This goes beyond arXiv 2505.17638, whose σ is odd. The theory subtracts μ0 = E[σ(Γz)] from σ. The
features as they are have the correlation matrix U_true = (1/n) Σ_ν E_ξ[φφᵀ] with φ_i = m_i +
centred, m_i = E[φ_i] = μ0(w_iΣ_tw_iᵀ/d), Σ_t = α²Σ + β²I, so that

    U_true = m mᵀ + m ēᵀ + ē mᵀ + U_c,   ē = (1/n) Σ_ν E_ξ[φ - m],   |ē|² → (ψ_p/ψ_n)(κ²σ_x² + v²),

which has the bulks of U and one eigenvalue of order d. Perturbation theory around m mᵀ gives that
eigenvalue to order 1. With g = μ0(Γ²), g' = dg/dΓ², m₂ = Tr Σ_t²/d and p = ψ_p d,

    Λ = p g² + 2ψ_pm₂ (2g'² + g g'') + Var σ(Γz) + (ψ_p/ψ_n)(κ²σ_x² + v²) + O(d^{-1/2}).

The term 2ψ_pm₂(g'² + g g'') is due to the variance of |w_i|². The other 2ψ_pm₂g'² is due to the
variance of |x_t|², which moves all features at once. No derivative of σ is needed: by the heat
equation g' = E[σ''(Γz)]/2 = h_2/(√2Γ²) and g'' = E[σ⁽⁴⁾(Γz)]/4 = √6 h_4/(2Γ⁴).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..files.tables import in_brief
from ..models.classes import refuse_classes
from ..models.gaussian_equivalent import gaussian_equivalent
from ..models.model import RandomFeatureModel
from ..numerics.checks import concrete, real_scalar
from ..numerics.quadrature import REACH, gaussian_weight, hermite_functions, panels
from ..numerics.types import Given, Real

NO_MEAN = 1e-12  # largest |μ0| that is rounding, relative to the root of E[σ²]


class MeanOutlier(NamedTuple):
    """The outlier of the uncentred features.

    Attributes
    ----------
    leading : float
        ψ_p d μ0².
    location : float
        The mean eigenvalue, with the correction of order 1.
    deviation : float
        Its standard deviation over draws of features and data, of order 1.
    """

    leading: Real
    location: Real
    deviation: Real

    def __repr__(self) -> str:
        return in_brief(self)


def mean_outlier(model: RandomFeatureModel, d: Given) -> MeanOutlier:
    r"""The eigenvalue of the uncentred feature correlation matrix that μ0 ≠ 0 causes, at finite d.

    .. math::

        &Λ = ψ_p d μ_0^2 + 2ψ_p m_2 (2g'^2 + g g'') + \operatorname{Var} σ(Γz)
            + \frac{ψ_p}{ψ_n} (κ^2 σ_x^2 + v^2), \\
        &\operatorname{Var} Λ = 8 (g g')^2 \Bigl(ψ_p m_2
            + \frac{ψ_p^2 α^4}{ψ_n} \frac{\operatorname{Tr} Σ^2}{d}\Bigr)
            + 4μ_0^2 \frac{ψ_p}{ψ_n} (κ^2 σ_x^2 + v^2)

    with g(Γ²) = μ0 and m_2 = Tr (α²Σ + β²I)²/d, for Gaussian data.

    Parameters
    ----------
    model : RandomFeatureModel
    d : float
        Dimension of the data, > 0.

    Returns
    -------
    MeanOutlier
        ``.leading .location .deviation``, in the unit of the eigenvalues of U. The error of the
        location is O(d^{-1/2}).

    Raises
    ------
    ValueError
        If d is no positive number, or if σ has no mean, as an odd σ, and so no outlier.

    Notes
    -----
    Against relu features sampled at d = 40 to 120, 200 draws each, the location was right within
    0.17 and the deviation within a quarter; the statistical errors were 0.07 and 5 %. The expansion
    holds where Λ is far above the bulks, whose top is of order ψ_pμ1²Γ². The mean does not change
    the bulks as d → ∞. Beyond arXiv 2505.17638.

    Examples
    --------
    >>> import rfspec as rf
    >>> outlier = rf.mean_outlier(rf.RandomFeatureModel(4.0, 2.0, t=0.1, activation="relu"), 100)
    >>> print(f"{outlier.leading:.4f}")
    63.6620
    """
    d = real_scalar("d", d, above=0.0)
    refuse_classes(model, "the outlier of the mean")
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
