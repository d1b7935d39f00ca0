r"""Integrals over a continuous law with a pole anywhere: what the spectrum of U needs of Σ,
and losses do not.

Σ enters the equations as ∫ dρ_Σ(λ) N(λ)/e(λ), N a polynomial and e linear in λ. The zero λ* of e
lies off the support of ρ_Σ on the physical branch, but inside a bulk of U as close to it as 1/ψ_p
and 1/ψ_n are small, on either side; nodes that know nothing of it would stand for eigenvalues of Σ,
each with a bulk of its own. On one interval [A, B], with

    y = log[(λ - A)/(B - λ)],   λ* ↦ y* = log[-e(A)/e(B)],

ρ dλ/dy is analytic for |Im y| < π whatever powers ρ has at the ends, and falls off exponentially.
Its values g_k on a grid y_k = y_0 + kh determine it (its cardinal series errs by e^{-π²/h}), and
the integral of the series is in closed form, ∫ sinc((y - y_k)/h)/(y - y*) dy = h (1 - E
(-1)^k)/(y_k - y*) with E = exp[±iπ(y* - y_0)/h], the sign that of Im y*: the pole changes the
weights of the trapezoid rule, w_k = h g_k, to

    w_k [1 - (-1)^k E]                                        for one pole,                     (21)
    w_k [1 - (-1)^k (E_1 + (y_k - y_1)(E_1 - E_2)/(y_1 - y_2))]   for two,                      (22)

uniformly in its place. E is a holomorphic function of the unknowns and vanishes off the support,
where e(A) and e(B) have one sign. The logarithm of e has the same integral for the uniform law, in
closed form, and the rest by parts: with the mass M(λ) up to λ and S = (λ - A)/(B - A),

    ∫ dρ log e = log e(B) + e(A)/[e(B) - e(A)] log[e(B)/e(A)] - 1 - ∫ (M - S) e'/e dλ.          (23)

Beyond arXiv 2505.17638.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero
from scipy.special import sici

from ..numerics.checks import concrete
from ..numerics.types import Matrix, Number, Numbers, Real, Truth, Vector, Whole

FINE, COARSE = 192, 64  # nodes of an interval, for a spectrum and for the times of many
FAR = 3.0  # |Im y*| from which E is as small as what the cardinal series leaves out


class Interval(NamedTuple):
    """One interval's grid of a law of mass one: λ_k, w_k, weights of ∫ (M - S) dλ; A, B, y_0, h."""

    values: Vector
    weights: Vector
    below: Vector
    lower: Real
    upper: Real
    start: Real
    step: Real


class Continuum(eqx.Module):
    """The grids of a law's intervals, in rows of equal length; its atoms fill rows of their own.

    `values`, `weights` [row·node]; `below`: weights of ∫ (M - S) dλ; `lower`, `upper`, `start`,
    `step`, `mass` [row], the mass of atoms not counted. `tops`, `shares` [component]: largest
    eigenvalue and mass of each interval and atom. `trace`: ∫ λ dρ. `error`: relative, of the
    integrals. `lowered`: the share of the largest eigenvalues that are put lower, of a law without
    an end; 0 of others.
    """

    values: Vector
    weights: Vector
    below: Vector
    lower: Vector
    upper: Vector
    start: Vector
    step: Vector
    mass: Vector
    tops: Vector
    shares: Vector
    trace: Real
    error: Real
    lowered: Real = np.float64(0.0)

    def scaled(self, factor: Real) -> Continuum:
        """The law of factor·λ."""
        scales = lambda c: (c.values, c.below, c.lower, c.upper, c.tops, c.trace)
        return eqx.tree_at(scales, self, tuple(factor * a for a in scales(self)))

    def quantiles(self, row: int, shares: np.ndarray) -> np.ndarray:
        """Eigenvalues below which these shares of an interval's mass lie; known numbers only."""
        start, h, low, high = (
            float(a[row]) for a in (self.start, self.step, self.lower, self.upper)
        )
        weights = np.asarray(self.weights).reshape(self.step.size, -1)[row] / float(self.mass[row])
        k = np.linspace(0.0, weights.size - 1.0, 16 * weights.size)
        mass = (0.5 + sici(np.pi * (k[:, None] - np.arange(weights.size)))[0] / np.pi) @ weights
        values = low + (high - low) / (1 + np.exp(-(start + h * k)))
        return np.interp(shares, np.maximum.accumulate(mass), values)

    def distances(self, values: Vector, row: Whole, upper: Truth) -> Vector:
        """λ - E for the upper or the lower end E of a row,
        to full relative accuracy on that row itself.
        """
        rows, k = self.step.size, np.arange(values.size // self.step.size)
        y = self.start[:, None] + self.step[:, None] * k[None, :]
        width, share = (
            (self.upper - self.lower)[:, None],
            jnp.where(upper, -jax.nn.sigmoid(-y), jax.nn.sigmoid(y)),
        )
        plain = values - jnp.where(upper, self.upper, self.lower)[row]
        own = (jnp.arange(rows) == row)[:, None] & (width > 0)
        exact = jnp.where(own, width * share, plain.reshape(rows, -1)).ravel()
        return plain + jax.lax.stop_gradient(exact - plain)

    def averages(
        self,
        values: Vector,
        weights: Vector,
        e: tuple[Number, Number],
        ends: tuple[Numbers, Numbers],
        count: int,
    ) -> list[Number]:
        """∫ λ^k/e for k < count and e = e_0 + e_1λ, from e at the lower and the upper ends of the
        rows, by equation (21); the nodes and weights are the law's own, or those of equations that
        hold them.
        """
        rows = self.step.size
        values, weights = values.reshape(rows, -1, 2), weights.reshape(rows, -1, 2)
        _, E, _ = self._pole(ends)
        total = sum(  # (21)
            (1.0 - E[r]) * pole_sums(count, values[r, :, 0], weights[r, :, 0], *e)
            + (1.0 + E[r]) * pole_sums(count, values[r, :, 1], weights[r, :, 1], *e)
            for r in range(rows)
        )
        return [total[k] for k in range(count)]

    def correction_of_two(
        self, e1: tuple[Numbers, Numbers], e2: tuple[Numbers, Numbers]
    ) -> Numbers:
        (y1, E1, s1), (y2, E2, s2) = self._pole(e1), self._pole(e2)
        d, same = y1 - y2, s1 == s2
        small = same & (jnp.abs(d) < 1e-8)
        safe = jnp.where(small | (d == 0), 1.0, d)
        rate = 1j * jnp.pi * s2 / self.step
        E2_far = jnp.where(same, E2 * jnp.expm1(jnp.where(same, rate * safe, 0.0)), E1 - E2)
        slope = jnp.where(small, rate * E2, E2_far / safe)
        slope = jnp.where((E1 == 0) | (E2 == 0), (E1 - E2) / safe, slope)
        k = np.arange(self.values.size // self.start.size)[None, :]
        y = self.start[:, None] + self.step[:, None] * k
        signs = (-1.0) ** k
        line = E1[:, None] + (y - y1[:, None]) * slope[:, None]
        return 1.0 - (signs * line).ravel()  # (22) over w_k

    def _pole(self, e: tuple[Numbers, Numbers]) -> tuple[Numbers, Numbers, Vector]:
        """y*, E and the sign of Im y* of each row. Real unknowns have a pole off the support,
        or none at all.
        """
        if not jnp.iscomplexobj(e[0]):
            return e[0], jnp.where(e[0] * e[1] > 0, 0.0, jnp.nan), 1.0
        y = jnp.log(-e[0] / e[1])
        sign = jnp.where(y.imag < 0, -1.0, 1.0)
        near = jnp.abs(y.imag) < FAR
        E = jnp.exp(1j * jnp.pi * sign * (jnp.where(near, y, 0.0) - self.start) / self.step)
        return y, jnp.where(near, E, 0.0), sign


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def pole_sums(count: int, values: Vector, weights: Vector, e0: Number, e1: Number) -> Numbers:
    """Σ_k w_kλ_k^j/(e_0 + e_1λ_k) for j < count.

    The solver spends its time here: real arithmetic, one product of matrices, and another one for
    both derivatives.
    """
    return _joined(_inverse(values, e0, e1) @ _powers(values, weights, count))


@partial(pole_sums.defjvp, symbolic_zeros=True)
def _pole_sums_jvp(
    count: int, primals: tuple[Vector, Vector, Number, Number], tangents: tuple[Any, ...]
) -> tuple[Numbers, Numbers]:
    values, weights, e0, e1 = primals
    known = [not isinstance(t, SymbolicZero) for t in tangents]
    g, table = _inverse(values, e0, e1), _powers(values, weights, count + 1)
    value = _joined(g @ table[:, :count])
    change = jnp.zeros_like(value)
    if known[2] or known[3]:
        square = g**2 if g.shape[0] == 1 else jnp.stack([g[0] ** 2 - g[1] ** 2, 2 * g[0] * g[1]])
        moments = _joined(square @ table)
        change = change - (tangents[2] * moments[:-1] if known[2] else 0.0)
        change = change - (tangents[3] * moments[1:] if known[3] else 0.0)
    if known[0] or known[1]:
        moved = tuple(
            t if k else jnp.zeros_like(v) for t, k, v in zip(tangents, known, primals, strict=True)
        )[:2]
        _, by_numbers = jax.jvp(
            lambda v, w: _joined(_inverse(v, e0, e1) @ _powers(v, w, count)), primals[:2], moved
        )
        change = change + by_numbers
    return value, change


def _inverse(values: Vector, e0: Number, e1: Number) -> Matrix:
    """Real and imaginary parts of 1/(e_0 + e_1λ_k), [2, k], or of real numbers [1, k]."""
    if not jnp.iscomplexobj(e0):
        return (1.0 / (e0 + e1 * values))[None]
    real, imag = e0.real + e1.real * values, e0.imag + e1.imag * values
    scale = 1.0 / (real**2 + imag**2)
    return jnp.stack([real * scale, -imag * scale])


def _joined(parts: Matrix) -> Numbers:
    return parts[0] if parts.shape[0] == 1 else parts[0] + 1j * parts[1]


def _powers(values: Vector, weights: Vector, count: int) -> Matrix:
    """w_kλ_k^j, [k, j]."""
    return jnp.stack([weights * values**j for j in range(count)], axis=1)


# -------------------------------------------------------------------------------------------------
# made


def interval(
    lower: Real,
    upper: Real,
    density: Callable[..., Any],
    span: tuple[Real, Real, Real, Real],
    nodes: int,
) -> tuple[Interval, Real]:
    """A grid on [A, B], and an estimate of its relative error.

    `density(δ_A, δ_B)` is ρ at A + δ_A = B - δ_B, any factor. The grid reaches down to `span` =
    (S_A, L, S_B, R_B): y from -S_A π²/h - L to S_B π²/h + R_B, so that the mass outside is as small
    as what the series leaves out; and its width about as small, for edges of the spectrum come
    closer to a soft end than that.
    """
    xp = np if concrete(lower, upper, *span) else jnp
    below, length, above, more = span
    tails, L = np.pi**2 * (below + above), length + more
    h = (L + xp.sqrt(L**2 + 4 * tails * nodes)) / (2 * nodes)
    y = -below * np.pi**2 / h - length + h * (np.arange(nodes) + 0.5)
    up, down = 1 / (1 + xp.exp(-y)), 1 / (1 + xp.exp(y))
    width = upper - lower
    slope = width * up * down
    height = density(width * up, width * down)
    xp = np if concrete(height, h, slope) else jnp
    weights = h * height * slope
    weights = weights / weights.sum()
    k = np.arange(nodes)
    mass = (0.5 + sici(np.pi * (k[:, None] - k))[0] / np.pi) @ weights
    values = xp.where(y < 0, lower + width * up, upper - width * down)
    # what the grid does not resolve shows at its highest frequencies
    waves = xp.abs(xp.fft.rfft(weights))[-4:].max()
    narrow = xp.minimum(*(xp.where(s > 0, xp.minimum(s, 1.0), 1.0) for s in (below, above)))
    error = xp.maximum(4 * waves, 4 * xp.exp(-narrow * np.pi**2 / h))
    return Interval(values, weights, h * slope * (mass - up), lower, upper, y[0], h), error


def of_interval(grid: Interval, error: Real, trace: Real, *, lowered: Real = 0.0) -> Continuum:
    """The law on one interval."""
    row = lambda a: (np if concrete(a) else jnp).reshape(a, (1,))
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
        error,
        np.float64(lowered) if concrete(lowered) else lowered,
    )


def of_atoms(values: Vector, weights: Vector, nodes: int) -> Continuum:
    """Atoms of mass one as rows of a continuum."""
    xp = np if concrete(values, weights) else jnp
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
    """Σ_i share_i ρ_i."""
    weighed = lambda c: (c.weights, c.below, c.mass, c.shares, c.trace)
    weighted = [
        eqx.tree_at(weighed, p, tuple(s * a for a in weighed(p)))
        for p, s in zip(parts, shares, strict=True)
    ]

    def joined(name: str) -> Vector:
        columns = [getattr(p, name) for p in weighted]
        return (np if concrete(*columns) else jnp).concatenate(columns)

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
    over_parts = lambda numbers: (np if concrete(*numbers) else jnp).stack(numbers)
    return Continuum(
        **{name: joined(name) for name in names},
        trace=sum(p.trace for p in weighted),
        error=over_parts([p.error for p in parts]).max(),
        lowered=sum(share * p.lowered for p, share in zip(parts, shares, strict=True)),
    )
