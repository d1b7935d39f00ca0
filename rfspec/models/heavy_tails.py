r"""Elliptical data with Student's law: classes that are a quadrature over its scale.

x = √ρ z with ρ = (ν - 2)/χ²_ν, so that E[ρ] = 1 and x has the covariance Σ of z. In y = log(χ²_ν/2)
the law is analytic and falls off exponentially on both sides, so that the trapezoid rule converges
geometrically. It is compressed to the Gauss rule of few nodes in a variable in which what the
theory averages is smooth.
"""

from __future__ import annotations

from math import lgamma

import numpy as np

from ..numerics.checks import integer, real_scalar
from ..numerics.types import Given, Vector
from .classes import Elliptical
from .covariance import Covariance
from .from_data import gauss_quadrature

# nodes by default, and those of the rule that they are compressed from
NODES, FINE = 16, 4000
# nodes of the rule that tells the error, as a multiple
FINER = 2
# logarithm of the share of the law that the fine rule leaves out at each end
LEFT_OUT = 34.0
# the least ν whose scales double precision holds
LEAST = 2.1


class StudentT(Elliptical):  # type: ignore[misc]
    r"""Data with a multivariate Student law of ν degrees of freedom, x = √ρ z, ρ = (ν - 2)/χ²_ν.

    E[ρ] = 1: the data have the covariance given, not the scatter matrix of the law.

    Parameters
    ----------
    nu : float
        ν ≥ 2.1, a known number; the smaller, the heavier the tails. At 2 there is no covariance.
    covariance : Covariance
        Σ of the data, by its eigenvalues.
    nodes : int, optional
        Nodes of the quadrature over ρ, from 2 to 64; 16 by default.

    Raises
    ------
    ValueError
        If an argument is outside its range, or the covariance is a continuous law.

    Notes
    -----
    The errors of losses count the change that twice as many nodes make. A spectrum is that of the
    nodes: edges that the largest scales make of their own move with the number of nodes.

    Examples
    --------
    >>> import rfspec as rf
    >>> data = rf.StudentT(5.0, rf.Isotropic(1.0))
    >>> round(float(data.trace), 10), data.shares.shape
    (1.0, (16,))
    """

    def __init__(self, nu: Given, covariance: Covariance, nodes: int = NODES):
        nu = float(real_scalar("nu", nu, above=2.0))
        if nu < LEAST:
            raise ValueError(f"nu must be at least {LEAST} for E[ρ] to be resolved, got {nu!r}")
        nodes = integer("nodes", nodes, least=2, most=64)
        scales, shares = scale_rule(nu, nodes)
        super().__init__(covariance, scales, shares)
        scales, shares = scale_rule(nu, FINER * nodes)
        self.finer = scales[:, None], shares


def scale_rule(nu: float, nodes: int) -> tuple[Vector, Vector]:
    """Nodes and weights for averages over ρ = (ν - 2)/χ²_ν; those of 1 and ρ are exact."""
    a = nu / 2.0
    # y = log(χ²/2) has the density e^{ay - e^y}/Γ(a); of ρ times it e^{(a-1)y} is left for y → -∞
    low, high = np.log(a) - (LEFT_OUT + a) / (a - 1.0), np.log(a + 8.0 * np.sqrt(a) + LEFT_OUT)
    y = np.linspace(low, high, FINE)
    density = np.exp(a * y - np.exp(y) - lgamma(a)) * (y[1] - y[0])
    rho = (a - 1.0) * np.exp(-y)
    # the Gauss rule in x = 1/(1 + √ρ) of the law with the weight 1/x², of which 1 is x² and ρ is
    # (1 - x)², two polynomials
    weights = density * (1.0 + np.sqrt(rho)) ** 2
    x, weights = gauss_quadrature(1.0 / (1.0 + np.sqrt(rho)), weights / weights.sum(), nodes)
    weights = weights * x**2
    # ascending in ρ
    return (1.0 / x[::-1] - 1.0) ** 2, weights[::-1] / weights.sum()
