"""The grids on which ``rfspec.models.continuum`` integrates: of a law, of atoms, of a mixture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import numpy as np

from ..numerics.checks import as_float, namespace
from ..numerics.types import Real, Vector
from .continuum import Continuum


class Interval(NamedTuple):
    """The grid of a law of mass one on one interval [A, B], and its relative error."""

    # λ_k, w_k and the weights of ∫ (M - S) f(λ) dλ, shape (K,)
    values: Vector
    weights: Vector
    below: Vector
    # A, B, y_0 and h
    lower: Real
    upper: Real
    start: Real
    step: Real
    error: Real


def interval(
    lower: Real,
    upper: Real,
    density: Callable[..., Any],
    span: tuple[Real, Real, Real, Real],
    nodes: int,
) -> Interval:
    """A grid on [A, B] for the law whose density, up to a factor, is density(λ - A, B - λ).

    With span = (S_A, L_A, S_B, L_B) the grid covers y from -S_A π²/h - L_A to S_B π²/h + L_B. The
    mass outside has to be as small as the error e^{-π²/h} of the cardinal series. The widths
    outside have to be about as small as well, because edges of the spectrum come close to a soft
    end.
    """
    from scipy.special import sici

    xp = namespace(lower, upper, *span)
    below, length, above, more = span
    tails, L = np.pi**2 * (below + above), length + more
    h = (L + xp.sqrt(L**2 + 4 * tails * nodes)) / (2 * nodes)
    y = -below * np.pi**2 / h - length + h * (np.arange(nodes) + 0.5)
    up, down = 1 / (1 + xp.exp(-y)), 1 / (1 + xp.exp(y))
    width = upper - lower
    slope = width * up * down
    height = density(width * up, width * down)
    xp = namespace(height, h, slope)
    weights = h * height * slope
    weights = weights / weights.sum()
    k = np.arange(nodes)
    mass = (0.5 + sici(np.pi * (k[:, None] - k))[0] / np.pi) @ weights
    values = xp.where(y < 0, lower + width * up, upper - width * down)
    # what the grid does not resolve shows at its highest frequencies
    waves = xp.abs(xp.fft.rfft(weights))[-4:].max()
    narrow = xp.minimum(*(xp.where(s > 0, xp.minimum(s, 1.0), 1.0) for s in (below, above)))
    error = xp.maximum(4 * waves, 4 * xp.exp(-narrow * np.pi**2 / h))
    return Interval(values, weights, h * slope * (mass - up), lower, upper, y[0], h, error)


def of_interval(grid: Interval, trace: Real, *, lowered: Real = 0.0) -> Continuum:
    row = lambda a: namespace(a).reshape(a, (1,))
    return Continuum(
        grid.values,
        grid.weights,
        grid.below,
        row(grid.lower),
        row(grid.upper),
        row(grid.start),
        row(grid.step),
        np.ones(1),
        row(grid.upper),
        np.ones(1),
        trace,
        grid.error,
        as_float(lowered),
    )


def of_atoms(values: Vector, weights: Vector, nodes: int) -> Continuum:
    # atoms of mass one in rows of so many nodes, padded with weights 0
    xp = namespace(values, weights)
    size = values.shape[0]
    rows = -(-size // nodes)
    missing = rows * nodes - size
    zeros = np.zeros(rows * nodes)
    return Continuum(
        xp.pad(values, (0, missing), mode="edge"),
        xp.pad(weights, (0, missing)),
        zeros,
        np.zeros(rows),
        np.zeros(rows),
        np.zeros(rows),
        np.ones(rows),
        np.zeros(rows),
        values,
        weights,
        (values * weights).sum(),
        np.float64(0.0),
    )


def mixed(parts: Sequence[Continuum], shares: Vector) -> Continuum:
    """The law Σ_i shares_i ρ_i."""
    weighed = lambda c: (c.weights, c.below, c.mass, c.shares, c.trace)
    weighted = [
        eqx.tree_at(weighed, p, tuple(s * a for a in weighed(p)))
        for p, s in zip(parts, shares, strict=True)
    ]

    def joined(name: str) -> Vector:
        columns = [getattr(p, name) for p in weighted]
        return namespace(columns).concatenate(columns)

    names = (
        "values",
        "weights",
        "below",
        "lower",
        "upper",
        "start",
        "step",
        "mass",
        "tops",
        "shares",
    )
    errors = [p.error for p in parts]
    return Continuum(
        **{name: joined(name) for name in names},
        trace=sum(p.trace for p in weighted),
        error=namespace(errors).stack(errors).max(),
        lowered=sum(share * p.lowered for p, share in zip(parts, shares, strict=True)),
    )
