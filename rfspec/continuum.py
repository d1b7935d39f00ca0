r"""Integrals over a continuous law with a pole anywhere: what the spectrum of U needs of Σ, and losses do not.

Σ enters the equations as ∫ dρ_Σ(λ) N(λ)/e(λ), N a polynomial and e linear in λ. The zero λ* of e lies off the support
of ρ_Σ on the physical branch, but inside a bulk of U as close to it as 1/ψ_p and 1/ψ_n are small, on either side; nodes
that know nothing of it would stand for eigenvalues of Σ, each with a bulk of its own. On one interval [A, B], with

    y = log[(λ - A)/(B - λ)],   λ* ↦ y* = log[-e(A)/e(B)],

ρ dλ/dy is analytic for |Im y| < π whatever powers ρ has at the ends, and falls off exponentially. Its values g_k on a
grid y_k = y_0 + kh determine it (its cardinal series errs by e^{-π²/h}), and the integral of the series is in closed
form, ∫ sinc((y - y_k)/h)/(y - y*) dy = h (1 - E (-1)^k)/(y_k - y*) with E = exp[±iπ(y* - y_0)/h], the sign that of
Im y*: the pole changes the weights of the trapezoid rule, w_k = h g_k, to

    w_k [1 - (-1)^k E]                                        for one pole,                              (13)
    w_k [1 - (-1)^k (E_1 + (y_k - y_1)(E_1 - E_2)/(y_1 - y_2))]   for two,                               (14)

uniformly in its place. E is a holomorphic function of the unknowns and vanishes off the support, where e(A) and e(B)
have one sign. The logarithm of e has the same integral for the uniform law, in closed form, and the rest by parts: with
the mass M(λ) up to λ and S = (λ - A)/(B - A),

    ∫ dρ log e = log e(B) + e(A)/[e(B) - e(A)] log[e(B)/e(A)] - 1 - ∫ (M - S) e'/e dλ.                  (15)

Beyond arXiv 2505.17638.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero
from scipy.special import sici

from ._checks import concrete
from .holomorphic import reciprocal

NODES = 192
FAR = 3.0  # |Im y*| from which E is as small as what the cardinal series leaves out


class Interval(NamedTuple):
    """A grid on one interval of a law of mass one: λ_k, w_k, weights of ∫ (M - S) dλ; A, B, y_0, h."""

    values: Any
    weights: Any
    below: Any
    lower: Any
    upper: Any
    start: Any
    step: Any


class Continuum(eqx.Module):
    """The grids of a law's intervals, in rows of equal length; its atoms fill rows of their own.

    `values`, `weights` [row·node]; `below`: weights of ∫ (M - S) dλ; `signs`: (-1)^k, 0 for atoms. `lower`, `upper`,
    `start`, `step`, `mass` [row]; the mass of atoms is not counted here. `tops`, `shares` [component]: largest eigenvalue and mass of each interval and atom. `trace`: ∫ λ dρ.
    `error`: relative, of the integrals. `bounded`: whether the law itself ends at the largest of `tops`.
    """

    values: Any
    weights: Any
    below: Any
    signs: Any
    lower: Any
    upper: Any
    start: Any
    step: Any
    mass: Any
    tops: Any
    shares: Any
    trace: Any
    error: Any
    bounded: bool = eqx.field(static=True, default=True)

    def scaled(self, factor: Any) -> Continuum:
        """The law of factor·λ."""
        scales = lambda c: (c.values, c.below, c.lower, c.upper, c.tops, c.trace)
        return eqx.tree_at(scales, self, tuple(factor * a for a in scales(self)))

    def averages(self, values: Any, weights: Any, e: tuple[Any, Any], ends: tuple[Any, Any], count: int) -> list[Any]:
        """∫ λ^k/e for k < count and e = e_0 + e_1λ, from e at the lower and the upper ends of the rows, by equation
        (13); the nodes and weights are the law's own, or those of equations that hold them.
        """
        rows, size = self.step.size, self.values.size // self.step.size
        powers = [weights * values**k for k in range(count)]
        alternating = [jnp.where(np.arange(rows * size) // size == r, self.signs, 0.0) * p for r in range(rows) for p in powers]
        sums = pole_sums(values, jnp.stack([*powers, *alternating], axis=1), *e)
        _, E, _ = self._pole(ends)
        return [sums[k] - sum(E[r] * sums[(r + 1) * count + k] for r in range(rows)) for k in range(count)]

    def correction_of_two(self, e1: tuple[Any, Any], e2: tuple[Any, Any]) -> Any:
        """The same of equation (14)."""
        (y1, E1, s1), (y2, E2, s2) = self._pole(e1), self._pole(e2)
        d, same = y1 - y2, s1 == s2
        small = same & (jnp.abs(d) < 1e-8)
        safe = jnp.where(small | (d == 0), 1.0, d)
        rate = 1j * jnp.pi * s2 / self.step
        E2_far = jnp.where(same, E2 * jnp.expm1(jnp.where(same, rate * safe, 0.0)), E1 - E2)
        slope = jnp.where(small, rate * E2, E2_far / safe)
        slope = jnp.where((E1 == 0) | (E2 == 0), (E1 - E2) / safe, slope)
        y = self.start[:, None] + self.step[:, None] * np.arange(self.values.size // self.start.size)
        return 1.0 - self.signs * (E1[:, None] + (y - y1[:, None]) * slope[:, None]).ravel()

    def _pole(self, e: tuple[Any, Any]) -> tuple[Any, Any, Any]:
        """y*, E and the sign of Im y* of each row. Real unknowns have a pole off the support, or none at all."""
        if not jnp.iscomplexobj(e[0]):
            return e[0], jnp.where(e[0] * e[1] > 0, 0.0, jnp.nan), 1.0
        y = jnp.log(-e[0] / e[1])
        sign = jnp.where(y.imag < 0, -1.0, 1.0)
        near = jnp.abs(y.imag) < FAR
        E = jnp.exp(1j * jnp.pi * sign * (jnp.where(near, y, 0.0) - self.start) / self.step)
        return y, jnp.where(near, E, 0.0), sign


@jax.custom_jvp
def pole_sums(values: Any, table: Any, e0: Any, e1: Any) -> Any:
    """Σ_k table_kj/(e_0 + e_1λ_k). One product of matrices, and another for both derivatives in e_0 and e_1: the
    solver spends its time here.
    """
    return _product(reciprocal(e0 + e1 * values), table)


@partial(pole_sums.defjvp, symbolic_zeros=True)
def _pole_sums_jvp(primals: Any, tangents: Any) -> tuple[Any, Any]:
    values, table, e0, e1 = primals
    known = lambda t: not isinstance(t, SymbolicZero)
    g = reciprocal(e0 + e1 * values)
    change = jnp.zeros_like(g[0])
    if known(tangents[2]) or known(tangents[3]):
        both = _product(g * g, jnp.concatenate([table, values[:, None] * table], axis=1))
        low, high = both[: table.shape[1]], both[table.shape[1] :]
        change = change - (tangents[2] * low if known(tangents[2]) else 0.0)
        change = change - (tangents[3] * high if known(tangents[3]) else 0.0)
    if known(tangents[0]):
        change = change - e1 * _product(g * g, tangents[0][:, None] * table)
    if known(tangents[1]):
        change = change + _product(g, tangents[1])
    return _product(g, table), change + jnp.zeros(table.shape[1])


def _product(g: Any, table: Any) -> Any:
    """g @ table, table real."""
    if not jnp.iscomplexobj(g):
        return g @ table
    real, imag = jnp.stack([g.real, g.imag]) @ table
    return real + 1j * imag


# ------------------------------------------------------------------------------------------------- made


def interval(lower: Any, upper: Any, density: Any, span: Any) -> tuple[Interval, Any]:
    """A grid on [A, B], and an estimate of its relative error.

    `density(δ_A, δ_B)` is ρ at A + δ_A = B - δ_B, any factor. The grid reaches down to `span` = (S_A, L, S_B, R_B):
    y from -S_A π²/h - L to S_B π²/h + R_B, so that what lies outside is as small as what the series leaves out.
    """
    xp = np if concrete(lower, upper, *span) else jnp
    below, length, above, more = span
    tails, L = np.pi**2 * (below + above), length + more
    h = (L + xp.sqrt(L**2 + 4 * tails * NODES)) / (2 * NODES)
    y = -below * np.pi**2 / h - length + h * (np.arange(NODES) + 0.5)
    up, down = 1 / (1 + xp.exp(-y)), 1 / (1 + xp.exp(y))
    width = upper - lower
    slope = width * up * down
    height = density(width * up, width * down)
    xp = np if concrete(height, h, slope) else jnp
    weights = h * height * slope
    weights = weights / weights.sum()
    k = np.arange(NODES)
    mass = (0.5 + sici(np.pi * (k[:, None] - k))[0] / np.pi) @ weights
    values = xp.where(y < 0, lower + width * up, upper - width * down)
    # what the grid does not resolve shows at its highest frequencies
    waves = xp.abs(xp.fft.rfft(weights))[-4:].max()
    error = xp.maximum(4 * waves, 4 * xp.exp(-(np.pi**2) / h))
    return Interval(values, weights, h * slope * (mass - up), lower, upper, y[0], h), error


def of_interval(grid: Interval, trace: Any, error: Any, *, bounded: bool = True) -> Continuum:
    """The law on one interval."""
    row = lambda a: (np if concrete(a) else jnp).reshape(a, (1,))
    return Continuum(
        grid.values,
        grid.weights,
        grid.below,
        (-1.0) ** np.arange(NODES),
        *(row(a) for a in (grid.lower, grid.upper, grid.start, grid.step)),
        np.ones(1),
        row(grid.upper),
        np.ones(1),
        trace,
        error,
        bounded,
    )


def of_atoms(values: Any, weights: Any) -> Continuum:
    """Atoms of mass one as rows of a continuum."""
    xp = np if concrete(values, weights) else jnp
    size = values.shape[0]
    rows = -(-size // NODES)
    missing = rows * NODES - size
    zeros = np.zeros(rows * NODES)
    return Continuum(
        xp.pad(values, (0, missing), mode="edge"),
        xp.pad(weights, (0, missing)),
        zeros,
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


def mixed(parts: Sequence[Continuum], shares: Any) -> Continuum:
    """Σ_i share_i ρ_i."""
    weighed = lambda c: (c.weights, c.below, c.mass, c.shares, c.trace)
    weighted = [eqx.tree_at(weighed, p, tuple(s * a for a in weighed(p))) for p, s in zip(parts, shares, strict=True)]

    def joined(name: str) -> Any:
        columns = [getattr(p, name) for p in weighted]
        return (np if concrete(*columns) else jnp).concatenate(columns)

    names = ("values", "weights", "below", "signs", "lower", "upper", "start", "step", "mass", "tops", "shares")
    errors = [p.error for p in parts]
    xp = np if concrete(*errors) else jnp
    trace = sum(p.trace for p in weighted)
    return Continuum(*map(joined, names), trace, xp.stack(errors).max(), all(p.bounded for p in parts))
