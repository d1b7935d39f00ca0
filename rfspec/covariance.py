r"""The data covariance Σ, known to the theory through its spectral measure ρ_Σ = Σ_k w_k δ(λ - λ_k) alone.

Every covariance is a list of atoms: values λ_k ≥ 0 (variances, in the squared unit of the data) and weights
w_k > 0 that sum to one. Nothing is rescaled: Tr Σ/d = Σ_k w_k λ_k is what it is, and ``normalised`` returns another.

A continuous law (``PowerLaw``, ``Exponential``, ``MarchenkoPastur``, ``Density``) is a quadrature of K nodes. Its
integrals converge fast in K; the spectrum of U asks for more, because it resolves single nodes where there are many
features and samples. ρ_Σ enters the equations as ∫ dρ_Σ(λ) f(λ)/(λ - λ*), and inside the population bulk λ* lies
above λ at a height of π ρ_Σ(λ) [(λ + β²/α²)²/ψ_p + λ²/ψ_n] to leading order; nodes at a distance Δ then err by
exp(-T), T = 2π height/Δ. With ρ_Σ = w/Δ,

    T = 2π² (w/Δ²) [(λ + β²/α²)²/ψ_p + λ²/ψ_n],   proportional to K.

Below T ≈ 1 each node has a bulk of its own. Measured against twice the nodes at ψ_p = 4 and 16, the edges of the
population err by 4e-3 at T = 1.2, 2e-4 at T = 2.4, under 1e-4 at T = 5 and 1e-7 at T = 12, the distribution by a tenth
of that or less (``Covariance.unresolved``, ``Covariance.nodes_needed``).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import roots_jacobi

from ._checks import concrete, real_array, real_scalar, real_vector

RESOLVED = 2.0  # T from which on a node of a continuous law counts as resolved
MOST_NODES = 2048


class ResolutionWarning(UserWarning):
    """A continuous covariance has too few nodes: the spectrum of U would show them one by one."""


class Covariance(eqx.Module):
    """Atoms λ_k with weights w_k; the base class of every covariance.

    `spacing` holds the distance Δ_k from node to node of a continuous law, 0 for an eigenvalue of Σ itself.
    """

    values: Any
    weights: Any
    spacing: Any = None
    quadrature_error: Any = None

    @property
    def atomic(self) -> bool:
        """Whether the atoms are Σ itself, rather than a quadrature of a continuous law."""
        return self.spacing is None

    @property
    def error(self) -> Any:
        """Relative error of integrals over ρ_Σ: 0 for atoms, an estimate for the quadrature of a continuous law.

        The largest relative difference between all nodes and half as many in ∫ρ, ∫λρ and ∫λρ/(λ+x) with
        x = 0.01, 0.1, 1 and 10 times the mean: an upper bound in practice, and where convergence is geometric only
        about the root of the error. It says nothing of single nodes in the spectrum of U: see ``unresolved``.
        """
        return 0.0 if self.quadrature_error is None else self.quadrature_error

    @property
    def trace(self) -> Any:
        """Tr Σ/d = σ_x², the mean variance."""
        return (self.weights * self.values).sum()

    def normalised(self, trace: Any = 1.0) -> Covariance:
        """The covariance scaled to Tr Σ/d = trace > 0.

        Examples
        --------
        >>> import rfspec as rf
        >>> rf.Atoms([1.0, 3.0], [0.5, 0.5]).normalised().values.tolist()
        [0.5, 1.5]
        """
        factor = real_scalar("trace", trace, above=0.0) / self.trace
        scaled = eqx.tree_at(lambda c: c.values, self, self.values * factor)
        return scaled if self.spacing is None else eqx.tree_at(lambda c: c.spacing, scaled, self.spacing * factor)

    def unresolved(self, psi_p: Any, psi_n: Any = np.inf, noise: Any = 0.0) -> Any:
        r"""Share of the dimensions whose nodes the spectrum of U shows one by one.

        The weight of the nodes with T < 2 in

            T = 2π² (w/Δ²) [(λ + β²/α²)²/ψ_p + λ²/ψ_n].

        Parameters
        ----------
        psi_p, psi_n : float
            ψ_p and ψ_n of the model.
        noise : float
            β²/α² ≥ 0 of its process.

        Returns
        -------
        float
            0 where the spectrum is that of the continuous law (edges to about 1e-3), and for every list of atoms.

        Notes
        -----
        T is proportional to the number of nodes. Valid to leading order in 1/ψ_p and 1/ψ_n. Beyond arXiv 2505.17638.

        Examples
        --------
        >>> import rfspec as rf
        >>> law = rf.MarchenkoPastur(0.5, nodes=32)
        >>> float(law.unresolved(4.0, 2.0)), float(law.unresolved(512.0, 256.0)) > 0.5
        (0.0, True)
        """
        if self.spacing is None:
            return 0.0
        return (self.weights * self._short(psi_p, psi_n, noise, RESOLVED)).sum()

    def nodes_needed(self, psi_p: Any, psi_n: Any = np.inf, noise: Any = 0.0, share: float = 0.05) -> int:
        """Nodes with which at most `share` of the dimensions would be unresolved, from T ∝ K; concrete values only."""
        if self.spacing is None:
            return len(self.values)
        low, high = 1e-9, 1e9
        for _ in range(60):
            middle = float(np.sqrt(low * high))
            enough = float((self.weights * self._short(psi_p, psi_n, noise, middle)).sum()) <= share
            low, high = (middle, high) if enough else (low, middle)
        return int(np.ceil(np.count_nonzero(self.spacing) * RESOLVED / low))

    def _short(self, psi_p: Any, psi_n: Any, noise: Any, least: float) -> Any:
        """Which nodes have T < least."""
        width = (self.values + noise) ** 2 / psi_p + self.values**2 / psi_n
        return 2 * np.pi**2 * self.weights * width < least * self.spacing**2


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


# ----------------------------------------------------------------------------------------- continuous laws


class PowerLaw(Covariance):
    r"""The continuous power law λ(u) = scale·u^{-exponent}, u uniform on (cutoff, 1).

    The limit of λ_k ∝ (k/d)^{-a}, k = 1..d, without its cutoff·d largest. Natural normalisation: the smallest
    eigenvalue is `scale`; Tr Σ/d = scale (1 - cutoff^{1-a})/((1-a)(1-cutoff)).

    Parameters
    ----------
    exponent : float
        a > 0.
    cutoff : float
        Fraction of the dimensions that is cut off at the top, 0 ≤ cutoff < 1; 0 only with a < 1.
    scale : float
        λ(1) > 0.
    nodes : int
        K, Gauss-Legendre in log u; for cutoff = 0 in y = u^{(1-a)/2}, where λρ is linear. At the default of 64 the
        error is 1e-14 with a cutoff; without one it is algebraic in K, 1e-9 or less.

    Raises
    ------
    ValueError
        If an argument is outside its range, or the law has no trace: a ≥ 1 without a cutoff.

    Notes
    -----
    T of ``unresolved`` is smallest at the top, 2π²K u/(a² log(1/cutoff)) (1/ψ_p + 1/ψ_n) there: single nodes are seen
    below u ≈ a² log(1/cutoff)/(10 K (1/ψ_p + 1/ψ_n)).

    Examples
    --------
    >>> import rfspec as rf
    >>> round(float(rf.PowerLaw(0.5).trace), 12)
    2.0
    >>> rf.PowerLaw.of_dimension(1.0, 4).values.round(3).tolist()
    [1.0, 0.5, 0.333, 0.25]
    """

    def __init__(self, exponent: Any, cutoff: Any = 0.0, *, scale: Any = 1.0, nodes: int = 64):
        a, scale = real_scalar("exponent", exponent, above=0.0), real_scalar("scale", scale, above=0.0)
        cutoff = _fraction("cutoff", cutoff)
        whole = concrete(cutoff) and cutoff == 0
        if whole and concrete(a) and a >= 1:
            raise ValueError(
                f"exponent must be less than 1 for a power law without a cutoff, which is not summable (its trace is "
                f"infinite), got exponent={float(a)!r} with cutoff=0"
            )
        xp = np if concrete(a, cutoff, scale) else jnp
        power = 2 / (1 - a) if whole else 1.0

        def rule(n: int) -> tuple[Any, Any]:
            y, w = _legendre(n)
            if whole:
                return scale * y ** (-a * power), w * power * y ** (power - 1)
            logarithm = -xp.log(cutoff)
            u = xp.exp(-logarithm * y)
            return scale * u**-a, w * logarithm * u / (1 - cutoff)

        _fill(self, rule, nodes)

    @staticmethod
    def of_dimension(exponent: Any, d: int) -> Atoms:
        """The finite list λ_k = k^{-exponent}, k = 1..d, each of weight 1/d: atoms, no quadrature."""
        a, d = real_scalar("exponent", exponent, above=0.0), _integer("d", d, 1, 10**6)
        return Atoms(np.arange(1.0, d + 1) ** -a, np.full(d, 1.0 / d))


class Exponential(Covariance):
    r"""Exponentially decaying eigenvalues λ(u) = scale·exp(-rate·u), u uniform on (0, 1).

    Natural normalisation: the largest eigenvalue is `scale`; Tr Σ/d = scale (1 - e^{-rate})/rate.

    Parameters
    ----------
    rate : float
        Decay over all dimensions, > 0.
    scale : float
        Largest eigenvalue, > 0.
    nodes : int
        K, Gauss-Legendre in u: T of ``unresolved`` is near 2π²K (1/ψ_p + 1/ψ_n)/rate², and larger at the ends.

    Raises
    ------
    ValueError
        If an argument is outside its range.
    """

    def __init__(self, rate: Any, scale: Any = 1.0, *, nodes: int = 64):
        rate, scale = real_scalar("rate", rate, above=0.0), real_scalar("scale", scale, above=0.0)
        xp = np if concrete(rate, scale) else jnp

        def rule(n: int) -> tuple[Any, Any]:
            u, w = _legendre(n)
            return scale * xp.exp(-rate * u), w

        _fill(self, rule, nodes)


class MarchenkoPastur(Covariance):
    r"""The eigenvalues of a sample covariance of white data: Σ = variance·XXᵀ/N, X of shape (d, N), d/N = ratio.

        ρ(λ) = sqrt((λ₊ - λ)(λ - λ₋))/(2π·ratio·variance·λ),   λ± = variance (1 ± √ratio)²,

    and an atom at 0 of weight 1 - 1/ratio where ratio > 1; at ratio = 1 a hard edge ∝ λ^{-1/2} at 0. Natural
    normalisation: Tr Σ/d = variance.

    Parameters
    ----------
    ratio : float
        d/N > 0.
    variance : float
        > 0.
    nodes : int
        K, a Gauss rule of the law itself: exact for its first 2K - 1 moments. T of ``unresolved`` is near
        (K/ratio) λ (1/ψ_p + 1/ψ_n)/variance for ratio ≤ 1: smallest at the lower edge, where about
        2 ratio ψ/(1 - √ratio)² nodes, 1/ψ = 1/ψ_p + 1/ψ_n, are enough.

    Raises
    ------
    ValueError
        If an argument is outside its range.

    Examples
    --------
    >>> import rfspec as rf
    >>> law = rf.MarchenkoPastur(0.5)
    >>> print(f"{(law.weights * law.values**2).sum():.12f}")
    1.500000000000
    """

    def __init__(self, ratio: Any, variance: Any = 1.0, *, nodes: int = 64):
        ratio, variance = real_scalar("ratio", ratio, above=0.0), real_scalar("variance", variance, above=0.0)
        xp = np if concrete(ratio) else jnp
        c, top = xp.minimum(ratio, 1 / ratio), xp.maximum(ratio, 1.0)  # the nonzero part is the law of XᵀX

        def rule(n: int) -> tuple[Any, Any]:
            jacobi = c * xp.eye(n, k=0) * (np.arange(n) > 0) + xp.eye(n)
            jacobi = jacobi + xp.sqrt(c) * (np.eye(n, k=1) + np.eye(n, k=-1))
            values, vectors = xp.linalg.eigh(jacobi)
            return variance * top * xp.maximum(values, 0.0), vectors[0] ** 2

        _fill(self, rule, nodes)
        if not concrete(ratio) or ratio > 1:
            null = xp.reshape(1 - 1 / top, (1,))
            joined = _joined([(np.zeros(1), np.ones(1), np.zeros(1)), (self.values, self.weights, self.spacing)])
            self.values, self.weights, self.spacing = joined[0], joined[1] * _repeat(null, 1 - null, nodes), joined[2]


class Density(Covariance):
    r"""An arbitrary density ρ(λ) on an interval.

    Natural normalisation: none; Tr Σ/d = ∫ λρ.

    Parameters
    ----------
    pdf : callable
        ρ ≥ 0, elementwise on arrays; it must integrate to 1. It is never evaluated at the ends.
    low, high : float
        The interval, 0 ≤ low < high.
    exponents : tuple of two floats, optional
        (p, q) > -1, where ρ ~ (λ - low)^p near `low` and (high - λ)^q near `high`: a Gauss-Jacobi rule. By default
        Gauss-Legendre in θ, λ = low + (high - low) sin²(θ/2), which converges geometrically wherever p and q
        are multiples of 1/2: soft edges, hard edges λ^{-1/2}, and finite ends.
    nodes : int
        K.
    tolerance : float
        By how much the integral may differ from 1 before ρ is refused; the weights are then normalised exactly.

    Raises
    ------
    ValueError
        If an argument is outside its range, or ρ is negative, not finite, or does not integrate to 1.

    Notes
    -----
    Nodes lie at distances near π sqrt((λ - low)(high - λ))/K, which gives T of ``unresolved``.

    Examples
    --------
    >>> import rfspec as rf
    >>> round(float(rf.Density(lambda x: 0.5 + 0 * x, 1.0, 3.0).trace), 12)
    2.0
    """

    def __init__(
        self,
        pdf: Callable[[Any], Any],
        low: Any,
        high: Any,
        *,
        exponents: tuple[float, float] | None = None,
        nodes: int = 64,
        tolerance: float = 1e-6,
    ):
        if not callable(pdf):
            raise ValueError(f"pdf must be a callable, got {pdf!r:.100}")
        low, high = real_scalar("low", low, above=-np.inf), real_scalar("high", high, above=0.0)
        if concrete(low, high) and not 0 <= low < high:
            raise ValueError(f"low and high must satisfy 0 ≤ low < high, got {float(low)!r} and {float(high)!r}")
        tolerance = float(real_scalar("tolerance", tolerance, above=0.0))
        if exponents is not None:
            exponents = _exponents(exponents)

        def rule(n: int) -> tuple[Any, Any]:
            if exponents is None:
                y, w = _legendre(n)
                x, jacobian = np.sin(np.pi * y / 2) ** 2, w * np.pi / 2 * np.sin(np.pi * y)
            else:
                p, q = exponents
                t, w = roots_jacobi(n, q, p)
                x = (1 + t) / 2
                jacobian = w / 2 ** (p + q + 1) / (x**p * (1 - x) ** q)
            values = low + (high - low) * x
            height = pdf(values)
            return values, (high - low) * jacobian * _heights(height, values)

        _fill(self, rule, nodes, tolerance)


# ------------------------------------------------------------------------------------- made of others


class Subspace(Covariance):
    r"""Data in a random subspace: a covariance on D = fraction·d dimensions, nothing on the others.

    Natural normalisation: Tr Σ/d = fraction times that of the part.

    Parameters
    ----------
    fraction : float
        D/d, 0 < fraction ≤ 1.
    variance : float, optional
        The eigenvalue in the subspace, > 0; 1 by default.
    covariance : Covariance, optional
        Instead of `variance`, the covariance in the subspace.

    Raises
    ------
    ValueError
        If an argument is outside its range, or both `variance` and `covariance` are given.

    Examples
    --------
    >>> import rfspec as rf
    >>> rf.Subspace(0.25, 2.0).weights.tolist()
    [0.75, 0.25]
    """

    def __init__(self, fraction: Any, variance: Any = None, *, covariance: Covariance | None = None):
        if variance is not None and covariance is not None:
            raise ValueError(f"give at most one of variance and covariance, got {variance!r} and {covariance!r:.100}")
        fraction = real_scalar("fraction", fraction, above=0.0)
        if concrete(fraction) and fraction > 1:
            raise ValueError(f"fraction must be at most 1, got {float(fraction)!r}")
        part = Isotropic(1.0 if variance is None else variance) if covariance is None else covariance
        _mix(self, [None, _a_covariance("covariance", part)], _pair(1 - fraction, fraction))


class Mixture(Covariance):
    r"""A mixture of covariances: ρ_Σ = Σ_i w_i ρ_i, each on its own share w_i of the dimensions.

    Natural normalisation: Tr Σ/d = Σ_i w_i Tr Σ_i/d.

    Parameters
    ----------
    covariances : list of Covariance
    weights : array, one a covariance
        Shares > 0; they must sum to 1 within 1e-9 and are then normalised exactly.

    Raises
    ------
    ValueError
        If there is no covariance, one is none, or the weights do not fit.

    Examples
    --------
    >>> import rfspec as rf
    >>> float(rf.Mixture([rf.Isotropic(1.0), rf.Exponential(1.0)], [0.5, 0.5]).values.max())
    1.0
    """

    def __init__(self, covariances: Sequence[Covariance], weights: Any):
        if not isinstance(covariances, list | tuple) or not covariances:
            raise ValueError(f"covariances must be a list of at least one Covariance, got {covariances!r:.100}")
        parts = [_a_covariance("covariances", part) for part in covariances]
        shares = Atoms(np.ones(len(parts)), weights).weights
        _mix(self, parts, shares)


# ------------------------------------------------------------------------------------------- their quadrature


def _fill(law: Covariance, rule: Callable[[int], tuple[Any, Any]], nodes: int, tolerance: float | None = None) -> None:
    """Values, weights, spacing and error of a continuous law from rule(n) = values and weights of n nodes.

    A `tolerance` is that of the integral, where it is not known to be 1.
    """
    nodes = _integer("nodes", nodes, 4, MOST_NODES)
    values, weights = rule(nodes)
    coarse_values, coarse_weights = rule(nodes // 2)
    total = weights.sum()
    if tolerance is not None and concrete(total) and not abs(total - 1) <= tolerance:
        off = abs(float(total - coarse_weights.sum()))
        raise ValueError(
            f"pdf must integrate to 1 within {tolerance:g} on its interval, got {float(total)!r} with an error near "
            f"{off:.1g}: normalise it, or give more nodes or its exponents"
        )
    mean = (weights * values).sum() / total
    x = mean * np.array([0.01, 0.1, 1.0, 10.0])[:, None]

    def integrals(v: Any, w: Any) -> list[Any]:
        return [w.sum(), (w * v).sum(), *(w * v / (v + x)).sum(1)]

    pairs = zip(integrals(values, weights), integrals(coarse_values, coarse_weights), strict=True)
    xp = np if concrete(values, weights) else jnp
    error = xp.max(xp.stack([xp.abs(fine / coarse - 1) for fine, coarse in pairs]))
    if not concrete(error):
        error = jax.lax.stop_gradient(error)
    order = slice(None) if not concrete(values) else np.argsort(values)
    law.values, law.weights = values[order], (weights / total)[order]
    law.spacing = xp.abs(xp.gradient(law.values))
    law.quadrature_error = error


def _mix(law: Covariance, parts: Sequence[Covariance | None], shares: Any) -> None:
    """Atoms of all parts (None: an eigenvalue 0), weighted; equal eigenvalues of Σ become one."""
    zero = (np.zeros(1), np.ones(1), np.zeros(1))
    rows = []
    for part in parts:
        spacing = None if part is None else part.spacing
        rows.append(
            zero
            if part is None
            else (part.values, part.weights, np.zeros(len(part.values)) if spacing is None else spacing)
        )
    values, weights, spacing = _joined([(v, s * w, d) for (v, w, d), s in zip(rows, shares, strict=True)])
    if concrete(values, weights, spacing):
        values, which = np.unique(values, return_inverse=True)
        spacing = np.array([spacing[which == i].max() for i in range(values.size)])
        weights = np.bincount(which, weights)
        values, weights, spacing = (a[weights > 0] for a in (values, weights, spacing))
    law.values, law.weights = values, weights
    if any(part is not None and part.spacing is not None for part in parts):
        law.spacing = spacing
        errors = [part.error for part in parts if part is not None]
        law.quadrature_error = (np if concrete(*errors) else jnp).max(
            jnp.stack(errors) if not concrete(*errors) else errors
        )


def _joined(rows: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
    """Columns of the rows, joined."""
    columns = [list(column) for column in zip(*rows, strict=True)]
    return tuple((np if concrete(*c) else jnp).concatenate(c) for c in columns)


def _pair(a: Any, b: Any) -> Any:
    return (np if concrete(a, b) else jnp).stack([a, b])


def _repeat(null: Any, rest: Any, nodes: int) -> Any:
    """The weight of an atom and the factor of `nodes` others."""
    xp = np if concrete(null, rest) else jnp
    return xp.concatenate([null, xp.broadcast_to(rest, (nodes,))])


def _legendre(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre on (0, 1)."""
    x, w = np.polynomial.legendre.leggauss(n)
    return (1 + x) / 2, w / 2


def _heights(height: Any, values: Any) -> Any:
    """Values of a density, checked."""
    if np.shape(height) != np.shape(values):
        raise ValueError(f"pdf must return an array of its argument's shape {np.shape(values)}, got {np.shape(height)}")
    if concrete(height):
        height = real_array("pdf", height, "finite and real on its interval")
        if np.any(height < 0):
            bad = int(np.argmin(height))
            raise ValueError(f"pdf must be at least 0, got {float(height[bad])!r} at {float(values[bad])!r}")
    return height


def _fraction(name: str, value: Any) -> Any:
    """A number in [0, 1)."""
    value = real_scalar(name, value, above=-np.inf)
    if concrete(value) and not 0 <= value < 1:
        raise ValueError(f"{name} must be in [0, 1), got {float(value)!r}")
    return value


def _exponents(exponents: Any) -> tuple[float, float]:
    pair = real_array("exponents", exponents, "two real numbers greater than -1")
    if pair.shape != (2,) or np.any(pair <= -1):
        raise ValueError(f"exponents must be two real numbers greater than -1, got {exponents!r:.100}")
    return float(pair[0]), float(pair[1])


def _integer(name: str, value: Any, least: int, most: int) -> int:
    try:
        n = operator.index(value)
    except TypeError as e:
        raise ValueError(f"{name} must be an integer from {least} to {most}, got {value!r:.100}") from e
    if isinstance(value, bool) or not least <= n <= most:
        raise ValueError(f"{name} must be an integer from {least} to {most}, got {value!r}")
    return n


def _a_covariance(name: str, value: Any) -> Covariance:
    if not isinstance(value, Covariance):
        raise ValueError(f"{name} must be a Covariance such as rf.Isotropic(1.0), got {value!r:.100}")
    return value
