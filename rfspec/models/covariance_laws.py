r"""Continuous laws of the eigenvalues of Σ.

A law is held twice. A grid gives its integrals with a pole anywhere (``rfspec.models.continuum``),
for the spectrum of U. A quadrature of few nodes serves losses, which are smooth averages over Σ.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ..numerics.checks import concrete, integer, namespace, real_array, real_scalar
from ..numerics.types import Given, Real, Vector
from .covariance import Atoms, Covariance
from .law_quadrature import (
    SOFT,
    TAIL,
    checked_density,
    density_from,
    legendre,
    power_at,
    quadrature,
    soft_ends,
    with_grids,
)
from .mixtures import ZERO, mixture

# log of the largest node of an unbounded law, in units of its scale; of the eigenvalues beyond only
# their contribution λ du to the trace matters
LARGEST = np.log(1e20)


class PowerLaw(Covariance):
    r"""The continuous power law λ(u) = scale·u^{-exponent}, u uniform on (cutoff, 1).

    This is the limit of λ_k ∝ (k/d)^{-a}, k = 1..d, without its cutoff·d largest. Natural
    normalisation: the smallest eigenvalue is `scale`, and
    Tr Σ/d = scale (1 - cutoff^{1-a})/((1-a)(1-cutoff)).

    Parameters
    ----------
    exponent : float
        a > 0.
    cutoff : float
        Fraction of the dimensions that is cut off at the top, 0 ≤ cutoff < 1; 0 only with a < 1.
    scale : float
        λ(1) > 0.
    nodes : int, optional
        K, from 4 to 2048, of the losses' quadrature: Gauss-Legendre in log u, or for cutoff = 0 in
        y = u^{(1-a)/m}, where λ du ∝ y^{m-1} dy, with m the integer next above 5(1 - a). By default
        16, 32 or 64, as many as give ``error`` ≤ 1e-10.

    Raises
    ------
    ValueError
        If an argument is outside its range, or the law has no trace: a ≥ 1 without a cutoff.

    Notes
    -----
    Without a cutoff the eigenvalues have no upper bound. Then the spectrum of U has none either:
    its last edge is ∞ and, if it has an atom, its first edge lies at the atom. The spectrum is
    computed with the largest eigenvalues, a fraction u = 10^{-11/(1+a)} of all, put below λ(u).
    That changes the other modes by 1e-11, relative, and the upper tail of the distribution by
    u/ψ_p. Loss drops count all eigenvalues.

    Examples
    --------
    >>> import rfspec as rf
    >>> round(float(rf.PowerLaw(0.5).trace), 12)
    2.0
    >>> rf.PowerLaw.of_dimension(1.0, 4).values.round(3).tolist()
    [1.0, 0.5, 0.333, 0.25]
    """

    def __init__(
        self, exponent: Given, cutoff: Given = 0.0, *, scale: Given = 1.0, nodes: int | None = None
    ):
        a, scale = (
            real_scalar("exponent", exponent, above=0.0),
            real_scalar("scale", scale, above=0.0),
        )
        cutoff = _cutoff(cutoff)
        whole = concrete(cutoff) and cutoff == 0
        if whole and concrete(a) and a >= 1:
            raise ValueError(
                "exponent must be less than 1 for a power law without a cutoff, which is not "
                f"summable (its trace is infinite), got exponent={float(a)!r} with cutoff=0"
            )
        xp = namespace(a, cutoff, scale)
        smooth = xp.maximum(1.0, xp.ceil(5 * (1 - a)))

        def rule(n: int) -> tuple[Vector, Vector]:
            y, w = legendre(n)
            if whole:
                power = smooth / (1 - a)
                values = xp.exp(xp.minimum(-a * power * np.log(y), LARGEST))
                return scale * values, w * power * y ** (smooth - 1) / values
            logarithm = -xp.log(cutoff)
            u = xp.exp(-logarithm * y)
            return scale * u**-a, w * logarithm * u / (1 - cutoff)

        tail = TAIL ** (1 / (1 + a))
        width = scale * ((tail if whole else cutoff) ** -a - 1)

        def density(up: Vector, down: Vector) -> Vector:
            power = (1 + up / scale) ** (-1 / a - 1) / (a * scale)
            # the mass `tail` is so small that it marks an end of the spectrum, above rounding, only
            # if it crowds at the end of the law
            return (
                power + tail * 15 / 16 / width * (up / width) ** 2 * (down / width) ** -0.5
                if whole
                else power
            )

        length = xp.log(xp.maximum(width / scale, 1.0))
        span = (1.0, length, 0.0, 20.0) if whole else (1.0, length, 1.0, 0.0)
        lowered = tail if whole else 0.0
        atoms = quadrature(rule, nodes)
        self.values, self.weights, self.fewer, self.more, self.continua = with_grids(
            atoms, scale, scale + width, density, span, nodes=nodes, lowered=lowered
        )

    @staticmethod
    def of_dimension(exponent: Given, d: int) -> Atoms:
        """The finite list of atoms λ_k = k^{-a}, k = 1..d, with weights 1/d.

        Parameters
        ----------
        exponent : float
            a > 0.
        d : int
            From 1 to 1,000,000.

        Raises
        ------
        ValueError
            If an argument is outside its range.
        """
        a, d = real_scalar("exponent", exponent, above=0.0), integer("d", d, 1, 10**6)
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
    nodes : int, optional
        K, from 4 to 2048, of the losses' quadrature, Gauss-Legendre in u; by default 16, 32 or 64.

    Raises
    ------
    ValueError
        If an argument is outside its range.

    Examples
    --------
    >>> import rfspec as rf
    >>> print(f"{rf.Exponential(1.0).trace:.12f}")
    0.632120558829
    """

    def __init__(self, rate: Given, scale: Given = 1.0, *, nodes: int | None = None):
        rate, scale = real_scalar("rate", rate, above=0.0), real_scalar("scale", scale, above=0.0)
        xp = namespace(rate, scale)

        def rule(n: int) -> tuple[Vector, Vector]:
            u, w = legendre(n)
            return scale * xp.exp(-rate * u), w

        low = scale * xp.exp(-rate)
        density = lambda up, down: 1 / (low + up)
        span = (1.0, xp.log(xp.maximum(xp.expm1(rate), 1.0)), 1.0, 0.0)
        self.values, self.weights, self.fewer, self.more, self.continua = with_grids(
            quadrature(rule, nodes), low, scale, density, span, nodes=nodes
        )


class MarchenkoPastur(Covariance):
    r"""The eigenvalues of a sample covariance Σ = variance·XXᵀ/N of white data X, shape (d, N).

    With ratio = d/N the density is

    .. math::

        ρ(λ) = \frac{\sqrt{(λ_+ - λ)(λ - λ_-)}}{2π \text{ ratio variance } λ}, \quad
        λ_± = \text{variance } (1 ± \sqrt{\text{ratio}})^2,

    and for ratio > 1 there is an atom of weight 1 - 1/ratio at 0. At ratio = 1 the density has a
    hard edge ∝ λ^{-1/2} at 0. Natural normalisation: Tr Σ/d = variance.

    Parameters
    ----------
    ratio : float
        d/N > 0.
    variance : float
        Tr Σ/d > 0.
    nodes : int, optional
        K, from 4 to 2048, of the losses' quadrature, the Gauss rule of the law itself, which is
        exact for its first 2K - 1 moments. By default 16, 32 or 64 nodes; near ratio = 1, where
        these do not resolve the small eigenvalues, the 192 nodes of the law's grid.

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

    def __init__(self, ratio: Given, variance: Given = 1.0, *, nodes: int | None = None):
        ratio, variance = (
            real_scalar("ratio", ratio, above=0.0),
            real_scalar("variance", variance, above=0.0),
        )
        xp = namespace(ratio)
        # the nonzero part is the law of XᵀX
        c, top = xp.minimum(ratio, 1 / ratio), xp.maximum(ratio, 1.0)

        def rule(n: int) -> tuple[Vector, Vector]:
            jacobi = xp.eye(n) + c * xp.diag(1.0 * (np.arange(n) > 0))
            jacobi = jacobi + xp.sqrt(c) * (np.eye(n, k=1) + np.eye(n, k=-1))
            values, vectors = xp.linalg.eigh(jacobi)
            return variance * top * xp.maximum(values, 0.0), vectors[0] ** 2

        root = xp.sqrt(c)
        unit = variance * top
        low, high = unit * (1 - root) ** 2, unit * (1 + root) ** 2
        # ρ falls as λ^{-1/2} above `low` and as (λ - low)^{1/2} next to it
        density = lambda up, down: (up * down) ** 0.5 / (low + up)
        span = partial(soft_ends, low, high - low)
        law = with_grids(quadrature(rule, nodes), low, high, density, span, nodes=nodes)
        if not concrete(ratio) or ratio > 1:
            atom = 1 - 1 / top
            law = mixture((ZERO, law), namespace(atom).stack([atom, 1 - atom]))
        self.values, self.weights, self.fewer, self.more, self.continua = law


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
        p > -1 and q > -1, where ρ ~ (λ - low)^p near `low` and ρ ~ (high - λ)^q near `high`. With
        exponents the losses' quadrature is a Gauss-Jacobi rule. Without them the exponents are
        estimated from ρ, and the quadrature is Gauss-Legendre in θ, λ = low + (high - low)
        sin²(θ/2). It converges geometrically wherever p and q are multiples of 1/2, as at soft
        edges, hard edges λ^{-1/2} and finite ends.
    nodes : int, optional
        K, from 4 to 2048, of that quadrature; by default 16, 32 or 64.
    tolerance : float
        The largest |∫ρ - 1| that is not refused, > 0; the weights are then normalised exactly.

    Raises
    ------
    ValueError
        If an argument is outside its range, or ρ is negative, not finite, or does not integrate to
        1.

    Examples
    --------
    >>> import rfspec as rf
    >>> round(float(rf.Density(lambda x: 0.5 + 0 * x, 1.0, 3.0).trace), 12)
    2.0
    """

    def __init__(
        self,
        pdf: Callable[[Any], Any],
        low: Given,
        high: Given,
        *,
        exponents: tuple[float, float] | None = None,
        nodes: int | None = None,
        tolerance: float = 1e-6,
    ):
        if not callable(pdf):
            raise ValueError(f"pdf must be a callable, got {pdf!r:.100}")
        low, high = real_scalar("low", low, above=-np.inf), real_scalar("high", high, above=0.0)
        if concrete(low, high) and not 0 <= low < high:
            raise ValueError(
                f"low and high must satisfy 0 ≤ low < high, got {float(low)!r} and {float(high)!r}"
            )
        tolerance = float(real_scalar("tolerance", tolerance, above=0.0))
        if exponents is not None:
            exponents = _exponents(exponents)

        def rule(n: int) -> tuple[Vector, Vector]:
            if exponents is None:
                y, w = legendre(n)
                x, jacobian = np.sin(np.pi * y / 2) ** 2, w * np.pi / 2 * np.sin(np.pi * y)
            else:
                from scipy.special import roots_jacobi

                p, q = exponents
                t, w = roots_jacobi(n, q, p)
                x = (1 + t) / 2
                jacobian = w / 2 ** (p + q + 1) / (x**p * (1 - x) ** q)
            values = low + (high - low) * x
            height = pdf(values)
            return values, (high - low) * jacobian * checked_density(height, values)

        atoms = quadrature(rule, nodes, tolerance)
        powers = exponents or tuple(
            power_at(pdf, end, step) for end, step in ((low, high - low), (high, low - high))
        )
        below, above = (namespace(p).maximum(1 / (1 + p), SOFT) for p in powers)
        span = (below, 0.0, above, 0.0)
        self.values, self.weights, self.fewer, self.more, self.continua = with_grids(
            atoms, low, high, density_from(pdf, low, high, powers), span, nodes=nodes
        )


def _cutoff(value: Given) -> Real:
    value = real_scalar("cutoff", value, above=-np.inf)
    if concrete(value) and not 0 <= value < 1:
        raise ValueError(f"cutoff must be in [0, 1), got {float(value)!r}")
    return value


def _exponents(exponents: Given) -> tuple[float, float]:
    pair = real_array("exponents", exponents, "two real numbers greater than -1")
    if pair.shape != (2,) or np.any(pair <= -1):
        raise ValueError(
            f"exponents must be two real numbers greater than -1, got {exponents!r:.100}"
        )
    return float(pair[0]), float(pair[1])
