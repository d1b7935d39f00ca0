r"""Continuous laws of the eigenvalues of Σ, subspaces and mixtures.

A continuous law (``PowerLaw``, ``Exponential``, ``MarchenkoPastur``, ``Density``) is held twice: as
a grid that gives its integrals with a pole anywhere (``rfspec.models.continuum``), for the spectrum
of U, and as a quadrature of few nodes, for losses, which are smooth averages over Σ.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
from scipy.special import roots_jacobi

from ..numerics.checks import concrete, integer, real_array, real_scalar
from ..numerics.types import Given, Real, Vector
from .covariance import Atoms, Covariance
from .law_quadrature import (
    SOFT,
    TAIL,
    continue_law,
    density_from,
    fill,
    heights,
    legendre,
    power_at,
    soft_ends,
)
from .mixtures import mix, pair

LARGEST = np.log(1e20)  # of an unbounded law's eigenvalues: of those beyond λ du is all that counts


class PowerLaw(Covariance):
    r"""The continuous power law λ(u) = scale·u^{-exponent}, u uniform on (cutoff, 1).

    The limit of λ_k ∝ (k/d)^{-a}, k = 1..d, without its cutoff·d largest. Natural normalisation:
    the smallest eigenvalue is `scale`; Tr Σ/d = scale (1 - cutoff^{1-a})/((1-a)(1-cutoff)).

    Parameters
    ----------
    exponent : float
        a > 0.
    cutoff : float
        Fraction of the dimensions that is cut off at the top, 0 ≤ cutoff < 1; 0 only with a < 1.
    scale : float
        λ(1) > 0.
    nodes : int, optional
        K of the losses' quadrature, Gauss-Legendre in log u; for cutoff = 0 in y = u^{(1-a)/m},
        where λ du ∝ y^{m-1} dy, with m the integer next above 5(1 - a). By default 16, 32 or 64, as
        many as give ``error`` ≤ 1e-10.

    Raises
    ------
    ValueError
        If an argument is outside its range, or the law has no trace: a ≥ 1 without a cutoff.

    Notes
    -----
    Without a cutoff the eigenvalues have no upper bound. Then neither has the spectrum of U: its
    last edge is ∞, and where it has an atom the first one is the place of the atom. It is computed
    with the share u = 10^{-11/(1+a)} of the largest eigenvalues put below λ(u), which changes the
    other modes by relative 1e-11, the distribution in its upper tail by u/ψ_p; loss drops are those
    of all eigenvalues.

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
        cutoff = _fraction("cutoff", cutoff)
        whole = concrete(cutoff) and cutoff == 0
        if whole and concrete(a) and a >= 1:
            raise ValueError(
                "exponent must be less than 1 for a power law without a cutoff, which is not "
                "summable (its trace is "
                f"infinite), got exponent={float(a)!r} with cutoff=0"
            )
        xp = np if concrete(a, cutoff, scale) else jnp
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

        fill(self, rule, nodes)
        tail = TAIL ** (1 / (1 + a))
        width = scale * ((tail if whole else cutoff) ** -a - 1)

        def density(up: Vector, down: Vector) -> Vector:
            power = (1 + up / scale) ** (-1 / a - 1) / (a * scale)
            # so little mass ends the spectrum in a place that rounding tells only if it crowds at
            # the end
            return (
                power + tail * 15 / 16 / width * (up / width) ** 2 * (down / width) ** -0.5
                if whole
                else power
            )

        length = xp.log(xp.maximum(width / scale, 1.0))
        span = (1.0, length, 0.0, 20.0) if whole else (1.0, length, 1.0, 0.0)
        continue_law(
            self, scale, scale + width, density, span, nodes=nodes, lowered=tail if whole else 0.0
        )

    @staticmethod
    def of_dimension(exponent: Given, d: int) -> Atoms:
        """The finite list λ_k = k^{-exponent}, k = 1..d, of weights 1/d: atoms, no quadrature."""
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
        K of the losses' quadrature, Gauss-Legendre in u; by default 16, 32 or 64.

    Raises
    ------
    ValueError
        If an argument is outside its range.
    """

    def __init__(self, rate: Given, scale: Given = 1.0, *, nodes: int | None = None):
        rate, scale = real_scalar("rate", rate, above=0.0), real_scalar("scale", scale, above=0.0)
        xp = np if concrete(rate, scale) else jnp

        def rule(n: int) -> tuple[Vector, Vector]:
            u, w = legendre(n)
            return scale * xp.exp(-rate * u), w

        fill(self, rule, nodes)
        low = scale * xp.exp(-rate)
        span = (1.0, xp.log(xp.maximum(xp.expm1(rate), 1.0)), 1.0, 0.0)
        continue_law(self, low, scale, lambda up, down: 1 / (low + up), span, nodes=nodes)


class MarchenkoPastur(Covariance):
    r"""The eigenvalues of a sample covariance of white data: Σ = variance·XXᵀ/N, X of shape (d, N),
    d/N = ratio.

        ρ(λ) = sqrt((λ₊ - λ)(λ - λ₋))/(2π·ratio·variance·λ),   λ± = variance (1 ± √ratio)²,

    and an atom at 0 of weight 1 - 1/ratio where ratio > 1; at ratio = 1 a hard edge ∝ λ^{-1/2} at
    0. Natural normalisation: Tr Σ/d = variance.

    Parameters
    ----------
    ratio : float
        d/N > 0.
    variance : float
        > 0.
    nodes : int, optional
        K of the losses' quadrature, a Gauss rule of the law itself: exact for its first 2K - 1
        moments. By default 16, 32 or 64; and where these do not see the small eigenvalues, with a
        ratio near 1, 192 of the law's own grid.

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
        xp = np if concrete(ratio) else jnp
        # the nonzero part is the law of XᵀX
        c, top = xp.minimum(ratio, 1 / ratio), xp.maximum(ratio, 1.0)

        def rule(n: int) -> tuple[Vector, Vector]:
            jacobi = xp.eye(n) + c * xp.diag(1.0 * (np.arange(n) > 0))
            jacobi = jacobi + xp.sqrt(c) * (np.eye(n, k=1) + np.eye(n, k=-1))
            values, vectors = xp.linalg.eigh(jacobi)
            return variance * top * xp.maximum(values, 0.0), vectors[0] ** 2

        fill(self, rule, nodes)
        root = xp.sqrt(c)
        unit = variance * top
        low, high = unit * (1 - root) ** 2, unit * (1 + root) ** 2
        # ρ falls as λ^{-1/2} above `low` and as (λ - low)^{1/2} next to it
        density = lambda up, down: (up * down) ** 0.5 / (low + up)
        continue_law(self, low, high, density, partial(soft_ends, low, high - low), nodes=nodes)
        if not concrete(ratio) or ratio > 1:
            share = 1 - 1 / top
            mix(self, [None, self], pair(share, 1 - share))


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
        (p, q) > -1, where ρ ~ (λ - low)^p near `low` and (high - λ)^q near `high`; by default they
        are told from ρ there. The losses' quadrature is then a Gauss-Jacobi rule; without them
        Gauss-Legendre in θ, λ = low + (high - low) sin²(θ/2), which converges geometrically
        wherever p and q are multiples of 1/2: soft edges, hard edges λ^{-1/2}, and finite ends.
    nodes : int, optional
        K of that quadrature; by default 16, 32 or 64.
    tolerance : float
        By how much the integral may differ from 1 before ρ is refused; the weights are then
        normalised exactly.

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
                p, q = exponents
                t, w = roots_jacobi(n, q, p)
                x = (1 + t) / 2
                jacobian = w / 2 ** (p + q + 1) / (x**p * (1 - x) ** q)
            values = low + (high - low) * x
            height = pdf(values)
            return values, (high - low) * jacobian * heights(height, values)

        fill(self, rule, nodes, tolerance)
        powers = exponents or tuple(
            power_at(pdf, end, step) for end, step in ((low, high - low), (high, low - high))
        )
        below, above = ((np if concrete(p) else jnp).maximum(1 / (1 + p), SOFT) for p in powers)
        span = (below, 0.0, above, 0.0)
        continue_law(self, low, high, density_from(pdf, low, high, powers), span, nodes=nodes)


def _fraction(name: str, value: Real) -> Real:
    """A number in [0, 1)."""
    value = real_scalar(name, value, above=-np.inf)
    if concrete(value) and not 0 <= value < 1:
        raise ValueError(f"{name} must be in [0, 1), got {float(value)!r}")
    return value


def _exponents(exponents: tuple[Real, Real]) -> tuple[float, float]:
    pair = real_array("exponents", exponents, "two real numbers greater than -1")
    if pair.shape != (2,) or np.any(pair <= -1):
        raise ValueError(
            f"exponents must be two real numbers greater than -1, got {exponents!r:.100}"
        )
    return float(pair[0]), float(pair[1])
