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
from ..numerics.types import Given, Matrix, Vector
from .classes import Elliptical
from .covariance import Covariance

# nodes by default, and those of the rule that they are compressed from
NODES, FINE = 16, 4000
# nodes of the rule that tells the error, as a multiple
FINER = 2
# logarithm of the share of the law that the fine rule leaves out at each end
LEFT_OUT = 80.0


class StudentT(Elliptical):
    r"""Data with a multivariate Student law of ν degrees of freedom, x = √ρ z, ρ = (ν - 2)/χ²_ν.

    E[ρ] = 1: the data have the covariance given, not the scatter matrix of the law.

    Parameters
    ----------
    nu : float
        ν > 2, a known number; the smaller, the heavier the tails.
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

    def __init__(self, nu: float, covariance: Covariance, nodes: int = NODES):
        nu = float(real_scalar("nu", nu, above=2.0))
        nodes = integer("nodes", nodes, least=2, most=64)
        scales, shares = scale_rule(nu, nodes)
        super().__init__(covariance, scales, shares)
        scales, shares = scale_rule(nu, FINER * nodes)
        self.finer = scales[:, None], shares


def scale_rule(nu: float, nodes: int) -> tuple[Vector, Vector]:
    """Nodes and weights for averages over ρ = (ν - 2)/χ²_ν; E[1] and E[ρ] are exact."""
    a = nu / 2.0
    # y = log(χ²/2) has the density e^{ay - e^y}/Γ(a), whose logarithm is largest at log a
    low, high = np.log(a) - LEFT_OUT / (a - 1.0), np.log(a + LEFT_OUT)
    y = np.linspace(low, high, FINE)
    log = a * y - np.exp(y) - lgamma(a)
    # with the weight 1 + ρ the Gauss rule in 1/(1 + √ρ) has both averages
    rho = (nu / 2.0 - 1.0) * np.exp(-y)
    weights = np.exp(log) * (y[1] - y[0])
    weights /= weights.sum()
    x = 1.0 / (1.0 + np.sqrt(rho))
    x, weights = gauss_rule(x, weights, nodes)
    rho = (1.0 / x - 1.0) ** 2
    return rho, weights


def gauss_rule(x: Vector, weights: Vector, nodes: int) -> tuple[Vector, Vector]:
    """The Gauss rule of a discrete measure, by Lanczos' method with full orthogonalisation."""
    basis: Matrix = np.zeros((nodes, x.size))
    diagonal, beside = np.zeros(nodes), np.zeros(nodes - 1)
    v = np.sqrt(weights)
    for k in range(nodes):
        basis[k] = v
        v = x * basis[k]
        diagonal[k] = v @ basis[k]
        for _ in range(2):
            v = v - basis[: k + 1].T @ (basis[: k + 1] @ v)
        if k + 1 < nodes:
            beside[k] = np.linalg.norm(v)
            v = v / beside[k]
    values, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1))
    return values, vectors[0] ** 2
