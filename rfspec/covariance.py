r"""The data covariance Σ, known to the theory through its spectral measure ρ_Σ = Σ_k w_k δ(λ - λ_k) alone.

Every covariance is a list of atoms: values λ_k ≥ 0 (variances, in the squared unit of the data) and weights
w_k > 0 that sum to one. Nothing is rescaled: Tr Σ/d = Σ_k w_k λ_k is what it is.
"""

from __future__ import annotations

from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from ._checks import concrete, real_array, real_scalar, real_vector


class Covariance(eqx.Module):
    """Atoms λ_k with weights w_k; the base class of every covariance.

    `atomic` says whether they are Σ itself, or a quadrature of a continuous law.
    """

    atomic: ClassVar[bool] = True

    values: Any
    weights: Any

    @property
    def trace(self) -> Any:
        """Tr Σ/d = σ_x², the mean variance."""
        return (self.weights * self.values).sum()


class Isotropic(Covariance):
    """Σ = variance · I.

    Parameters
    ----------
    variance : float
        σ_x² > 0.
    """

    def __init__(self, variance: Any = 1.0):
        value = real_scalar("variance", variance, above=0.0)
        self.values = value[None] if concrete(value) else jnp.reshape(value, (1,))
        self.weights = np.ones(1)


class Atoms(Covariance):
    """A covariance with finitely many distinct eigenvalues.

    Parameters
    ----------
    values : array, shape (K,)
        Eigenvalues λ_k ≥ 0, not all zero.
    weights : array, shape (K,)
        Fractions w_k > 0 of the dimensions; they must sum to 1 within 1e-9 and are then normalised exactly.

    Examples
    --------
    >>> import rfspec as rf
    >>> float(rf.Atoms([0.5, 1.5], [0.5, 0.5]).trace)
    1.0
    """

    def __init__(self, values: Any, weights: Any):
        rule = "a one-dimensional array of finite real numbers"
        self.values = real_vector("values", values, rule)
        self.weights = real_vector("weights", weights, rule)
        if np.shape(self.values) != np.shape(self.weights):
            raise ValueError(
                f"weights must have the shape of values {np.shape(self.values)}, got {np.shape(self.weights)}"
            )
        if concrete(self.values):
            if np.any(self.values < 0):
                raise ValueError(f"values must be variances, none below 0, got {self.values.min()}")
            if not np.any(self.values > 0):
                raise ValueError(f"values must not all be zero, got {self.values}")
        if concrete(self.weights):
            if np.any(self.weights <= 0):
                raise ValueError(f"weights must be greater than 0, got {self.weights.min()}")
            if abs(self.weights.sum() - 1.0) > 1e-9:
                raise ValueError(f"weights must sum to 1, got a sum of {self.weights.sum()!r}")
            self.weights = self.weights / self.weights.sum()


class FromData(Covariance):
    r"""The eigenvalues of the covariance of a data matrix, each with weight 1/d.

    Σ = (1/n) Σ_i (x_i - x̄)(x_i - x̄)ᵀ; the mean x̄ is subtracted, nothing is rescaled.

    Parameters
    ----------
    X : array, shape (n, d)
        Samples in rows, n ≥ 2.

    Raises
    ------
    ValueError
        If X is no finite real matrix with at least two rows, or all its rows are equal.
    """

    def __init__(self, X: Any):
        rule = "a finite real matrix of shape (samples, dimensions) with at least two rows"
        data = real_array("X", X, rule)
        if data.ndim != 2 or data.shape[0] < 2 or data.shape[1] < 1:
            raise ValueError(f"X must be {rule}, got an array of shape {data.shape}")
        centred = data - data.mean(0)
        values = np.zeros(data.shape[1])
        found = np.linalg.svd(centred, compute_uv=False) ** 2 / data.shape[0]
        values[: found.size] = found[: values.size]
        # what rounding leaves of a direction without variance is no variance
        values[values <= np.finfo(float).eps * max(data.shape) * values.max()] = 0.0
        if not np.any(values > 0):
            raise ValueError(f"X must vary, got {data.shape[0]} equal rows")
        distinct, counts = np.unique(values, return_counts=True)
        self.values = distinct
        self.weights = counts / data.shape[1]
