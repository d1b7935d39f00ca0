"""The covariance of a data matrix, shrunk and compressed where that is asked for."""

from __future__ import annotations

from collections.abc import Callable

import equinox as eqx
import numpy as np

from ..numerics.checks import real_array, real_scalar
from ..numerics.rounding import EPS
from ..numerics.types import Given, Real, Vector
from .covariance import Covariance

SHRINKAGES = ("ledoit_wolf", "oas")
# the largest variation of data for which double precision holds its fourth powers
LARGEST = 1e70


class FromData(Covariance):
    r"""The eigenvalues of the covariance of a data matrix, each with weight 1/d.

    S = (1/n) Σ_i (x_i - x̄)(x_i - x̄)ᵀ with the mean x̄ of the samples, and Σ = S or, with shrinkage,
    Σ = (1 - ϱ)S + ϱ (Tr S/d) I.

    Parameters
    ----------
    X : array, shape (n, d)
        Samples in rows, n ≥ 2.
    shrinkage : {None, "ledoit_wolf", "oas"}
        How ϱ in [0, 1] is estimated: as Ledoit and Wolf (2004) do, or as Chen et al. (2010) do for
        Gaussian data. Shrinkage takes out the spread that n samples add to the eigenvalues, and
        keeps Tr Σ.
    trace : float, optional
        Rescale Σ to this Tr Σ/d > 0. By default nothing is rescaled. Data that features are to see
        must then be rescaled in the same way.
    nodes : int, optional
        Keep at most this many eigenvalues, ≥ 1; see ``compressed``. None or 0 keep all.

    Attributes
    ----------
    n_points : int
        Samples the covariance comes from.
    shrinkage : float
        ϱ; 0 without shrinkage.
    compression_error : float
        ∫|F - F_K| dλ / (Tr Σ/d), with F and F_K the distribution functions of the eigenvalues
        before and after compression. An average of f(λ) is off by at most this times
        (Tr Σ/d) max|f'|. 0 without compression.

    Raises
    ------
    ValueError
        If X is no finite real matrix with at least two rows, all its rows are equal, they differ by
        less than 1e-70 or more than 1e70 without a trace, or an option is out of range.

    Notes
    -----
    The theory adds the noise of n samples to Σ. The eigenvalues of S carry this noise already, the
    more so the smaller n/d is, so that without shrinkage it is counted twice. Shrinkage is linear:
    it pulls all eigenvalues towards their mean by one factor, and lifts those at 0 to ϱ Tr S/d.

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
        variances = np.linalg.svd(centred, compute_uv=False) ** 2 / data.shape[0]
        values[: variances.size] = variances[: values.size]
        # a direction without variance has eigenvalue 0, of which rounding leaves more
        values[values <= EPS * max(data.shape) * values.max()] = 0.0
        if not np.any(values > 0):
            raise ValueError(f"X must vary, got {data.shape[0]} equal rows")
        mean = values.mean()
        self.n_points, self.shrinkage = data.shape[0], _estimated_shrinkage(centred, shrinkage)
        values = (1.0 - self.shrinkage) * values + self.shrinkage * mean
        if trace is None:
            with np.errstate(over="ignore"):
                size = np.ldexp(np.abs(centred).max(), exponent)
            if not 1.0 / LARGEST <= size <= LARGEST:
                raise ValueError(
                    f"X must vary by {1.0 / LARGEST:g} to {LARGEST:g}, where double precision "
                    f"holds squares of variances, or come with a trace, got {size:g}"
                )
            values = np.ldexp(values, 2 * exponent)
        else:
            values = values * (real_scalar("trace", trace, above=0.0) / mean)
        distinct, counts = np.unique(values, return_counts=True)
        self.values, self.weights, self.compression_error = _compressed(
            distinct, counts / data.shape[1], nodes or None
        )

    def compressed(self, nodes: int) -> FromData:
        r"""The same covariance with at most K = `nodes` atoms.

        The atoms are the nodes and weights of the Gauss quadrature of the eigenvalues (Golub and
        Welsch), so the moments Σ_k w_k λ_k^m are exact for m ≤ 2K - 1. Eigenvalues 0 are a rank, so
        they stay an atom of their own, and K - 1 nodes serve the others.

        Parameters
        ----------
        nodes : int
            K ≥ 1.

        Returns
        -------
        FromData
            With ``compression_error``.

        Raises
        ------
        ValueError
            If `nodes` is no integer of at least 1 (2 where eigenvalues are 0 and others are not).

        Notes
        -----
        A spectrum of 62 atoms takes seconds, one of 16 atoms a fraction of one. Losses are smooth
        averages over Σ, for which a few nodes suffice. The spectrum of U is such an average only
        where the eigenvalues of Σ have merged in it. At large ψ_p an eigenvalue that stands apart
        has a bulk of its own, and K nodes give fewer and heavier bulks. The smallest node lies
        above the smallest eigenvalue, so edges move, and the times that follow from them.

        Examples
        --------
        >>> import numpy as np, rfspec as rf
        >>> law = rf.FromData(np.random.default_rng(0).normal(size=(80, 40)))
        >>> few = law.compressed(8)
        >>> print(f"{few.values.size} atoms, trace {few.trace:.4f}, {few.compression_error:.2f}")
        8 atoms, trace 0.9890, 0.09
        """
        values, weights, error = _compressed(
            np.asarray(self.values), np.asarray(self.weights), nodes
        )
        fields = lambda c: (c.values, c.weights, c.compression_error)
        return eqx.tree_at(fields, self, (values, weights, self.compression_error + error))


def _frame(X: np.ndarray) -> tuple[int, np.ndarray]:
    # the exponent of a power of two above all entries, and the mean row in units of this power
    exponent = int(np.frexp(np.abs(X).max())[1])
    return exponent, np.ldexp(X, -exponent).mean(0)


def centring(X: np.ndarray, trace: Real | None = None) -> Callable[[np.ndarray], np.ndarray]:
    """The function that subtracts the mean of X from rows, shape (·, d), and rescales them.

    With a trace the factor is the one that gives X this Tr Σ/d; without one it is 1.
    """
    exponent, center = _frame(X)
    centred = lambda rows: np.ldexp(rows, -exponent) - center
    if trace is None:
        return lambda rows: np.ldexp(centred(rows), exponent)
    trace, square = real_scalar("trace", trace, above=0.0), np.mean(centred(X) ** 2)
    return lambda rows: np.sqrt(trace / (square if square > 0 else trace)) * centred(rows)


def _estimated_shrinkage(centred: np.ndarray, name: str | None) -> np.float64:
    if name is None:
        return np.float64(0.0)
    # imported here, because it takes as long to import as everything else
    from sklearn import covariance

    estimate = covariance.LedoitWolf if name == "ledoit_wolf" else covariance.OAS
    return np.float64(estimate(store_precision=False, assume_centered=True).fit(centred).shrinkage_)


def _compressed(
    values: np.ndarray, weights: np.ndarray, nodes: int | None
) -> tuple[Vector, Vector, Real]:
    # values, weights and the compression error
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
    mass = weights[positive].sum()
    few, heavy = gauss_quadrature(values[positive], weights[positive] / mass, nodes - zero)
    few, heavy = np.append(values[~positive], few), np.append(weights[~positive], mass * heavy)
    eigenvalues = np.append(values, few)
    order = np.argsort(eigenvalues, kind="stable")
    excess = np.cumsum(np.append(weights, -heavy)[order])[:-1]
    error = np.abs(excess) @ np.diff(eigenvalues[order]) / (weights @ values)
    return few, heavy, np.float64(error)


def gauss_quadrature(
    values: np.ndarray, weights: np.ndarray, K: int
) -> tuple[np.ndarray, np.ndarray]:
    # Lanczos' recurrence; all vectors are kept, so that they stay orthogonal
    Q = np.zeros((K + 1, values.size))
    diagonal, side = np.zeros(K), np.zeros(K)
    Q[0] = np.sqrt(weights)
    for k in range(K):
        v = values * Q[k]
        diagonal[k] = v @ Q[k]
        # orthogonalised twice, which leaves rounding only
        for _ in range(2):
            v = v - Q[: k + 1].T @ (Q[: k + 1] @ v)
        side[k] = np.linalg.norm(v)
        Q[k + 1] = v / side[k]
    jacobi = np.diag(diagonal) + np.diag(side[:-1], 1) + np.diag(side[:-1], -1)
    nodes, vectors = np.linalg.eigh(jacobi)
    heavy = vectors[0] ** 2
    keep = heavy > 0
    return np.clip(nodes[keep], values.min(), values.max()), heavy[keep] / heavy[keep].sum()
