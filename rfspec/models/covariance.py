r"""The data covariance Σ, known to the theory through its spectral measure ρ_Σ = Σ_k w_k δ(λ - λ_k)
alone.

Every covariance is a list of atoms: values λ_k ≥ 0 (variances, in the squared unit of the data) and
weights w_k > 0 that sum to one. Nothing is rescaled: Tr Σ/d = Σ_k w_k λ_k is what it is, and
``normalised`` returns another.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..numerics.checks import concrete, namespace, real_array, real_scalar, real_vector
from ..numerics.rounding import EPS
from ..numerics.types import Given, Real, Vector

SHRINKAGES = ("ledoit_wolf", "oas")
LARGEST = 1e70  # of data, with fourth powers to spare


class Covariance(eqx.Module):
    """Atoms λ_k with weights w_k; the base class of every covariance.

    Of a continuous law they are a quadrature for smooth averages over Σ, such as losses; `fewer`
    and `more` have half and twice as many nodes, which tells its error; `continua` holds the law
    itself, on a fine grid and on a coarse one. All three are None where the atoms are Σ.
    """

    values: Vector
    weights: Vector
    fewer: tuple[Vector, Vector] | None = None
    more: tuple[Vector, Vector] | None = None
    continua: Any = None

    @property
    def atomic(self) -> bool:
        """Whether the atoms are Σ itself, rather than a quadrature of a continuous law."""
        return self.continua is None

    @property
    def error(self) -> Real:
        """Relative error of smooth averages over Σ by its nodes: 0 for atoms,
        an estimate for a continuous law.

        The largest relative difference between all nodes and half as many in ∫ρ, ∫λρ and ∫λρ/(λ+x)
        with x = 0.01, 0.1, 1 and 10 times the mean: an upper bound in practice, and where
        convergence is geometric only about the root of the error. Losses take their own, from these
        nodes and twice as many.
        """
        if self.fewer is None:
            return 0.0
        both = (self.values, self.weights), self.fewer
        xp = namespace(both)  # known numbers stay known inside jax.jit
        both = both if xp is np else jax.lax.stop_gradient(both)
        x = (both[0][0] * both[0][1]).sum() * np.array([0.01, 0.1, 1.0, 10.0])[:, None]

        def integrals(v: Vector, w: Vector) -> list[Real]:
            return [w.sum(), (w * v).sum(), *((w * v)[None, :] / (v[None, :] + x)).sum(1)]

        pairs = zip(integrals(*both[0]), integrals(*both[1]), strict=True)
        return xp.max(xp.stack([xp.abs(fine / coarse - 1) for fine, coarse in pairs]))

    @property
    def trace(self) -> Real:
        """Tr Σ/d = σ_x², the mean variance."""
        return (self.weights * self.values).sum()

    def normalised(self, trace: Given = 1.0) -> Covariance:
        """The covariance scaled to Tr Σ/d = trace > 0.

        Examples
        --------
        >>> import rfspec as rf
        >>> rf.Atoms([1.0, 3.0], [0.5, 0.5]).normalised().values.tolist()
        [0.5, 1.5]
        """
        factor = real_scalar("trace", trace, above=0.0) / self.trace
        scaled = eqx.tree_at(lambda c: c.values, self, self.values * factor)
        if self.fewer is None or self.more is None:
            return scaled
        rules = ((values * factor, weights) for values, weights in (self.fewer, self.more))
        return eqx.tree_at(
            lambda c: (c.fewer, c.more, c.continua),
            scaled,
            (*rules, tuple(law.scaled(factor) for law in self.continua)),
        )


class Isotropic(Covariance):
    """Σ = variance · I.

    Parameters
    ----------
    variance : float
        σ_x² > 0.
    """

    def __init__(self, variance: Given = 1.0):
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
        Fractions w_k > 0 of the dimensions; they must sum to 1 within 1e-9 and are then normalised
        exactly.

    Examples
    --------
    >>> import rfspec as rf
    >>> float(rf.Atoms([0.5, 1.5], [0.5, 0.5]).trace)
    1.0
    """

    def __init__(self, values: Given, weights: Given):
        rule = "a one-dimensional array of finite real numbers"
        self.values = real_vector("values", values, rule)
        self.weights = real_vector("weights", weights, rule)
        if np.shape(self.values) != np.shape(self.weights):
            raise ValueError(
                f"weights must have the shape of values {np.shape(self.values)}, got "
                f"{np.shape(self.weights)}"
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

    S = (1/n) Σ_i (x_i - x̄)(x_i - x̄)ᵀ, the mean x̄ subtracted; with shrinkage Σ = (1 - ϱ)S + ϱ (Tr
    S/d) I.

    Parameters
    ----------
    X : array, shape (n, d)
        Samples in rows, n ≥ 2.
    shrinkage : {None, "ledoit_wolf", "oas"}
        Estimate of ϱ in [0, 1], which takes out of the eigenvalues the spread that n samples add to
        them: that of Ledoit and Wolf (2004), or of Chen et al. (2010), for Gaussian data. It keeps
        Tr Σ.
    trace : float, optional
        Rescale Σ to this Tr Σ/d > 0. By default nothing is rescaled. Features see the data, so
        these have to be rescaled along with it.
    nodes : int, optional
        Keep at most so many eigenvalues, ≥ 1; see ``compressed``. By default all.

    Attributes
    ----------
    n_points : int
        Samples the covariance comes from.
    shrinkage : float
        ϱ; 0 without shrinkage.
    compression_error : float
        ∫|F - F_K| dλ / (Tr Σ/d), F and F_K the distribution functions of the eigenvalues before and
        after compression: no average of f(λ) over them is off by more than this times (Tr Σ/d)
        max|f'|. 0 without compression.

    Raises
    ------
    ValueError
        If X is no finite real matrix with at least two rows, all its rows are equal, they differ by
        less than 1e-70 or more than 1e70 without a trace, or an option is out of range.

    Notes
    -----
    The theory adds the noise of n samples to Σ. The eigenvalues of S carry it already, the more so
    the smaller n/d is, so that without shrinkage it is counted twice. Shrinkage is linear: it pulls
    all eigenvalues towards their mean by one factor, and lifts those that are 0 to ϱ Tr S/d.

    Examples
    --------
    >>> import numpy as np, rfspec as rf
    >>> X = np.random.default_rng(0).normal(size=(80, 40))
    >>> rough, shrunk = rf.FromData(X), rf.FromData(X, shrinkage="ledoit_wolf")
    >>> for law in (rough, shrunk):
    ...     print(f"{law.values.max():.2f}, trace {law.trace:.4f}")
    2.77, trace 0.9890
    1.15, trace 0.9890
    """

    n_points: int = eqx.field(static=True, default=0)
    shrinkage: Real = 0.0
    compression_error: Real = 0.0

    def __init__(
        self,
        X: Given,
        shrinkage: str | None = None,
        *,
        trace: float | None = None,
        nodes: int | None = None,
    ):
        rule = "a finite real matrix of shape (samples, dimensions) with at least two rows"
        data = real_array("X", X, rule)
        if data.ndim != 2 or data.shape[0] < 2 or data.shape[1] < 1:
            raise ValueError(f"X must be {rule}, got an array of shape {data.shape}")
        if shrinkage not in (None, *SHRINKAGES):
            raise ValueError(
                f"shrinkage must be None or one of {', '.join(SHRINKAGES)}, got {shrinkage!r}"
            )
        exponent, center = _frame(data)
        centred = np.ldexp(data, -exponent) - center
        values = np.zeros(data.shape[1])
        found = np.linalg.svd(centred, compute_uv=False) ** 2 / data.shape[0]
        values[: found.size] = found[: values.size]
        # what rounding leaves of a direction without variance is no variance
        values[values <= EPS * max(data.shape) * values.max()] = 0.0
        if not np.any(values > 0):
            raise ValueError(f"X must vary, got {data.shape[0]} equal rows")
        mean = values.mean()
        self.n_points, self.shrinkage = data.shape[0], _shrinkage(centred, shrinkage)
        values = (1.0 - self.shrinkage) * values + self.shrinkage * mean
        if trace is None:
            with np.errstate(over="ignore"):
                size = np.ldexp(np.abs(centred).max(), exponent)
            if not 1.0 / LARGEST <= size <= LARGEST:
                raise ValueError(
                    f"X must vary by {1.0 / LARGEST:g} to {LARGEST:g}, where double precision "
                    "holds squares of "
                    f"variances, or come with a trace, got {size:g}"
                )
            values = np.ldexp(values, 2 * exponent)
        else:
            values = values * (real_scalar("trace", trace, above=0.0) / mean)
        distinct, counts = np.unique(values, return_counts=True)
        self.values, self.weights, self.compression_error = _compressed(
            distinct, counts / data.shape[1], nodes
        )

    def compressed(self, nodes: int) -> FromData:
        r"""The same covariance with at most K = `nodes` atoms.

        They are the nodes and weights of the Gauss quadrature of the eigenvalues (Golub and
        Welsch): the moments Σ_k w_k λ_k^m are exact for m ≤ 2K - 1. Where there are eigenvalues 0
        these stay an atom of their own, for they are a rank, and K - 1 nodes serve the others.

        Raises
        ------
        ValueError
            If `nodes` is no integer of at least 1 (2 where eigenvalues are 0 and others are not).

        Notes
        -----
        A spectrum of 62 atoms takes seconds, one of 16 a fraction. Losses are smooth averages over
        Σ, for which a few nodes do. The spectrum of U is one only where Σ's eigenvalues have merged
        in it: at large ψ_p each that stands apart has a bulk of its own, which K nodes replace by
        fewer, heavier ones; and the smallest node lies above the smallest eigenvalue, so that
        edges, and the times that follow from them, move.
        """
        values, weights, error = _compressed(
            np.asarray(self.values), np.asarray(self.weights), nodes
        )
        fields = lambda c: (c.values, c.weights, c.compression_error)
        return eqx.tree_at(fields, self, (values, weights, self.compression_error + error))


def _frame(X: np.ndarray) -> tuple[int, np.ndarray]:
    """The exponent of a power of two above all entries, and the mean of the rows in units of it."""
    exponent = int(np.frexp(np.abs(X).max())[1])
    return exponent, np.ldexp(X, -exponent).mean(0)


def centring(X: np.ndarray, trace: Real | None = None) -> Callable[[np.ndarray], np.ndarray]:
    """What subtracts the mean of X from rows and, with a trace,
    rescales them so that X would have this Tr Σ/d.
    """
    exponent, center = _frame(X)
    moved = lambda rows: np.ldexp(rows, -exponent) - center
    if trace is None:
        return lambda rows: np.ldexp(moved(rows), exponent)
    trace, square = real_scalar("trace", trace, above=0.0), np.mean(moved(X) ** 2)
    return lambda rows: np.sqrt(trace / (square if square > 0 else trace)) * moved(rows)


def _shrinkage(centred: np.ndarray, name: str | None) -> np.float64:
    """The estimate of ϱ."""
    if name is None:
        return np.float64(0.0)
    from sklearn import covariance  # takes as long to import as everything else

    estimate = covariance.LedoitWolf if name == "ledoit_wolf" else covariance.OAS
    return np.float64(estimate(store_precision=False, assume_centered=True).fit(centred).shrinkage_)


def _compressed(
    values: np.ndarray, weights: np.ndarray, nodes: int | None
) -> tuple[Vector, Vector, Real]:
    """At most so many atoms with the same moments,
    and the relative distance of the distribution functions.
    """
    zero = int(np.any(values == 0) and np.any(values > 0))
    if nodes is not None and (
        isinstance(nodes, bool) or not isinstance(nodes, int | np.integer) or nodes < 1 + zero
    ):
        rule = (
            "an integer of at least 2, one for the eigenvalues 0"
            if zero
            else "an integer of at least 1"
        )
        raise ValueError(f"nodes must be {rule}, got {nodes!r}")
    if nodes is None or nodes >= values.size:
        return values, weights, np.float64(0.0)
    positive = values > 0
    share = weights[positive].sum()
    few, heavy = _gauss(values[positive], weights[positive] / share, nodes - zero)
    few, heavy = np.append(values[~positive], few), np.append(weights[~positive], share * heavy)
    at = np.append(values, few)
    order = np.argsort(at, kind="stable")
    excess = np.cumsum(np.append(weights, -heavy)[order])[:-1]
    error = np.abs(excess) @ np.diff(at[order]) / (weights @ values)
    return few, heavy, np.float64(error)


def _gauss(values: np.ndarray, weights: np.ndarray, K: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of the K-point Gauss quadrature of atoms,
    by Lanczos' recurrence with all vectors kept.
    """
    Q = np.zeros((K + 1, values.size))
    diagonal, side = np.zeros(K), np.zeros(K)
    Q[0] = np.sqrt(weights)
    for k in range(K):
        v = values * Q[k]
        diagonal[k] = v @ Q[k]
        for _ in range(2):  # twice is enough
            v = v - Q[: k + 1].T @ (Q[: k + 1] @ v)
        side[k] = np.linalg.norm(v)
        Q[k + 1] = v / side[k]
    jacobi = np.diag(diagonal) + np.diag(side[:-1], 1) + np.diag(side[:-1], -1)
    nodes, vectors = np.linalg.eigh(jacobi)
    heavy = vectors[0] ** 2
    keep = heavy > 0
    return np.clip(nodes[keep], values.min(), values.max()), heavy[keep] / heavy[keep].sum()
