"""The two ways in which a continuous law of Σ is held: a quadrature of few nodes, and grids.

The quadrature serves smooth averages, and has as many nodes as make halving them change nothing.
The grids serve integrals with a pole, and are made from the density.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from ..numerics.checks import concrete, integer, namespace, real_array
from ..numerics.types import Real, Reals, Vector
from .continuum import COARSE, FINE
from .covariance import Measure, error_of_nodes
from .law_grids import interval, of_interval

MOST_NODES = 2048
# up to this many nodes, twice as many are computed too
MANY = 256
# numbers of nodes that are tried where none is asked for
FEW = (16, 32, 64)
# an error that is small enough, and one above which the law's grid is a better quadrature
ENOUGH, ROUGH = 1e-10, 1e-7
# u^{1+a} of the largest eigenvalues of an unbounded power law, which are put below λ(u)
TAIL = 1e-11
# S of a grid next to a soft end; 2/3 would be enough for the mass alone
SOFT = 0.85
# distance from an end, in units of the width, below which a density is continued as a power
NEXT = 1e-8


def quadrature(
    rule: Callable[[int], tuple[Vector, Vector]],
    nodes: int | None,
    tolerance: float | None = None,
) -> Measure:
    """The atoms of a continuous law, from the values and weights rule(n) of n nodes.

    Where the integral is not known to be 1, it may differ from 1 by the tolerance.
    """
    for n in FEW if nodes is None else (integer("nodes", nodes, 4, MOST_NODES),):
        (values, heights), (fewer, coarse) = rule(n), rule(n // 2)
        total = heights.sum()
        weights, half = heights / total, (fewer, coarse / total)
        error = error_of_nodes(Measure(values, weights, half))
        if concrete(error) and error <= ENOUGH:
            break
    # of many nodes, half as many tell the error as well: they overstate it, and cost less
    twice = half
    if n <= MANY:
        more, finest = rule(2 * n)
        twice = more, finest / finest.sum()
    if tolerance is not None and concrete(total) and not abs(total - 1) <= tolerance:
        doubt = abs(float(total - coarse.sum()))
        raise ValueError(
            f"pdf must integrate to 1 within {tolerance:g} on its interval, got {float(total)!r} "
            f"with an error near {doubt:.1g}: normalise it, or give more nodes or its exponents"
        )
    if concrete(values):
        order = np.argsort(values)
        values, weights = values[order], weights[order]
    return Measure(values, weights, half, twice)


def with_grids(
    atoms: Measure,
    low: Real,
    high: Real,
    density: Callable[..., Any],
    span: Any,
    *,
    nodes: int | None,
    lowered: Real = 0.0,
) -> Measure:
    """The atoms of a continuous law and its grids, from `density` and `span` of ``interval``.

    A span may depend on the number of nodes. If no number of nodes was asked for and the few do not
    suffice, the grid is the quadrature as well.
    """
    grid = lambda n: interval(low, high, density, span(n) if callable(span) else span, n)
    trace = (atoms.weights * atoms.values).sum()
    continuum = lambda n: of_interval(grid(n), trace, lowered=lowered)
    continua, error = (continuum(FINE), continuum(COARSE)), error_of_nodes(atoms)
    if nodes is None and concrete(error, lowered) and error > ROUGH and not lowered:
        fewer, own, more = (
            (g.values, g.weights) for g in (grid(n) for n in (FINE // 2, FINE, 2 * FINE))
        )
        return Measure(*own, fewer, more, continua)
    return atoms._replace(continua=continua)


def soft_ends(low: Real, width: Real, nodes: int) -> tuple[Real, Real, Real, Real]:
    """`span` of a density that falls as λ^{-1/2} above `low` and as a root next to both ends."""
    xp = namespace(low, width)
    length = xp.log(width / xp.maximum(low, 1e-100 * width))
    # the grid sees nothing of a soft edge that is so close to 0
    hard = length > 2 * np.pi * np.sqrt(nodes / (2 + SOFT))
    return xp.where(hard, 2.0, SOFT), xp.where(hard, 0.0, length), SOFT, 0.0


def power_at(pdf: Callable[[Any], Any], end: Real, width: Real) -> Real:
    """The exponent of ρ next to an end, from the slope of log ρ, rounded if near a half-integer."""
    xp = namespace(end, width)
    with np.errstate(all="ignore"):
        close, further = (xp.log(pdf(end + x * width)) for x in (NEXT, 100 * NEXT))
        xp = namespace(close, further)
        power = (further - close) / np.log(100.0)
        power = xp.where(
            xp.abs(2 * power - xp.round(2 * power)) < 0.01, xp.round(2 * power) / 2, power
        )
    power = xp.clip(xp.where(xp.isfinite(power), power, 2.0), -0.9, 2.0)
    return power if concrete(power) else jax.lax.stop_gradient(power)


def density_from(
    pdf: Callable[[Any], Any], low: Real, high: Real, powers: tuple[Real, Real]
) -> Callable[[Any, Any], Any]:
    """ρ as a function of λ - low and high - λ, continued as a power next to the ends."""

    def density(up: Vector, down: Vector) -> Vector:
        xp = namespace(up, down, *powers)
        least = NEXT * (high - low)
        inner = xp.where(up < down, low + xp.maximum(up, least), high - xp.maximum(down, least))
        tail = xp.minimum(up / least, 1.0) ** powers[0] * xp.minimum(down / least, 1.0) ** powers[1]
        return checked_density(pdf(inner), inner) * tail

    return density


def legendre(n: int) -> tuple[np.ndarray, np.ndarray]:
    # on (0, 1)
    x, w = np.polynomial.legendre.leggauss(n)
    return (1 + x) / 2, w / 2


def checked_density(height: Reals, values: Vector) -> Vector:
    if np.shape(height) != np.shape(values):
        raise ValueError(
            f"pdf must return an array of its argument's shape {np.shape(values)}, got "
            f"{np.shape(height)}"
        )
    if concrete(height):
        height = real_array("pdf", height, "finite and real on its interval")
        if np.any(height < 0):
            bad = int(np.argmin(height))
            raise ValueError(
                f"pdf must be at least 0, got {float(height[bad])!r} at {float(values[bad])!r}"
            )
    return height
