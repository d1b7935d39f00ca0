"""Quadratures of a continuous law: nodes until halving them changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..numerics.checks import concrete, integer, real_array
from ..numerics.types import Real, Reals, Vector
from .continuum import COARSE, FINE, interval, of_interval
from .covariance import Covariance

MOST_NODES = 2048
MANY = 256  # nodes
FEW = (16, 32, 64)  # nodes tried where none are asked for
ENOUGH, ROUGH = 1e-10, 1e-7  # error that does, and one for which there is a better rule
# u^{1+a} of the largest eigenvalues of an unbounded power law, which are put below λ(u)
TAIL = 1e-11
SOFT = 0.85  # S of a grid next to a soft end, where 2/3 would do for the mass alone
# distance from an end, in units of the width, below which a density is continued as a power
NEXT = 1e-8


def fill(
    law: Covariance,
    rule: Callable[[int], tuple[Any, Any]],
    nodes: int | None,
    tolerance: float | None = None,
) -> None:
    """Values and weights of a continuous law from rule(n), those of n nodes;
    and of half and of twice as many.

    A `tolerance` is that of the integral, where it is not known to be 1.
    """
    for n in FEW if nodes is None else (integer("nodes", nodes, 4, MOST_NODES),):
        (values, weights), (fewer, coarse) = rule(n), rule(n // 2)
        total = weights.sum()
        law.values, law.weights, law.fewer = values, weights / total, (fewer, coarse / total)
        if not concrete(law.error):
            continue
        if law.error <= ENOUGH:
            break
    # of many nodes half as many tell the error as well: more than it is, and sooner
    law.more = law.fewer
    if n <= MANY:
        more, finest = rule(2 * n)
        law.more = more, finest / finest.sum()
    if tolerance is not None and concrete(total) and not abs(total - 1) <= tolerance:
        off = abs(float(total - coarse.sum()))
        raise ValueError(
            f"pdf must integrate to 1 within {tolerance:g} on its interval, got {float(total)!r} "
            "with an error near "
            f"{off:.1g}: normalise it, or give more nodes or its exponents"
        )
    if concrete(values):
        order = np.argsort(values)
        law.values, law.weights = law.values[order], law.weights[order]


def continue_law(
    law: Covariance,
    low: Real,
    high: Real,
    density: Callable[..., Any],
    span: Any,
    *,
    nodes: int | None,
    lowered: Real = 0.0,
) -> None:
    """The law itself, from its density by the distances from both ends.

    Where no few nodes serve, and none were asked for, its grid is the quadrature as well.
    """
    grid = lambda n: interval(low, high, density, span(n) if callable(span) else span, n)
    law.continua = tuple(of_interval(*grid(n), law.trace, lowered=lowered) for n in (FINE, COARSE))
    if nodes is None and concrete(law.error, lowered) and law.error > ROUGH and not lowered:
        rules = ((a.values, a.weights) for a, _ in (grid(n) for n in (FINE // 2, FINE, 2 * FINE)))
        law.fewer, (law.values, law.weights), law.more = rules


def soft_ends(low: Real, width: Real, nodes: int) -> tuple[Real, Real, Real, Real]:
    """`span` of a density that falls as λ^{-1/2} above `low` and as a root next to both ends."""
    xp = np if concrete(low, width) else jnp
    length = xp.log(width / xp.maximum(low, 1e-100 * width))
    hard = length > 2 * np.pi * np.sqrt(nodes / (2 + SOFT))  # nothing of the soft edge is seen
    return xp.where(hard, 2.0, SOFT), xp.where(hard, 0.0, length), SOFT, 0.0


def power_at(pdf: Callable[[Any], Any], end: Real, width: Real) -> Real:
    """The exponent of ρ next to an end, from the slope of log ρ there;
    a multiple of 1/2 where it is near one.
    """
    xp = np if concrete(end, width) else jnp
    with np.errstate(all="ignore"):
        close, further = (xp.log(pdf(end + x * width)) for x in (NEXT, 100 * NEXT))
        xp = np if concrete(close, further) else jnp
        power = (further - close) / np.log(100.0)
        power = xp.where(
            xp.abs(2 * power - xp.round(2 * power)) < 0.01, xp.round(2 * power) / 2, power
        )
    power = xp.clip(xp.where(xp.isfinite(power), power, 2.0), -0.9, 2.0)
    return power if concrete(power) else jax.lax.stop_gradient(power)


def density_from(
    pdf: Callable[[Any], Any], low: Real, high: Real, powers: tuple[Real, Real]
) -> Callable[[Any, Any], Any]:
    """ρ by the distances from both ends; a power where these are too small for λ to tell them."""

    def density(up: Vector, down: Vector) -> Vector:
        xp = np if concrete(up, down, *powers) else jnp
        least = NEXT * (high - low)
        inner = xp.where(up < down, low + xp.maximum(up, least), high - xp.maximum(down, least))
        tail = xp.minimum(up / least, 1.0) ** powers[0] * xp.minimum(down / least, 1.0) ** powers[1]
        return heights(pdf(inner), inner) * tail

    return density


def legendre(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre on (0, 1)."""
    x, w = np.polynomial.legendre.leggauss(n)
    return (1 + x) / 2, w / 2


def heights(height: Reals, values: Vector) -> Vector:
    """Values of a density, checked."""
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
