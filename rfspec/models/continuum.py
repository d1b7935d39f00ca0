r"""Integrals over a continuous law of Σ with a pole anywhere, which the spectrum of U needs.

Σ enters the equations as ∫ dρ_Σ(λ) N(λ)/e(λ), with N a polynomial and e linear in λ. On the
physical branch the zero λ* of e lies off the support of ρ_Σ. Inside a bulk of U it comes as close
to the support as 1/ψ_p and 1/ψ_n are small, on either side. Nodes that do not know of the pole
would act as eigenvalues of Σ, each with a bulk of its own. On one interval [A, B] let

    y = log[(λ - A)/(B - λ)],   λ* ↦ y* = log[-e(A)/e(B)].

Then ρ dλ/dy is analytic for |Im y| < π whatever powers ρ has at the ends, and it falls off
exponentially. Its values g_k on a grid y_k = y_0 + kh determine it, because its cardinal series
errs by e^{-π²/h}. The integral of this series over the pole has a closed form,

    ∫ sinc((y - y_k)/h)/(y - y*) dy = h [1 - (-1)^k E]/(y_k - y*),   E = exp[±iπ(y* - y_0)/h],

where the sign is that of Im y*. The pole thus changes the weights w_k = h g_k of the trapezoid rule
to

    w_k [1 - (-1)^k E]                                        for one pole,                     (21)
    w_k [1 - (-1)^k (E_1 + (y_k - y_1)(E_1 - E_2)/(y_1 - y_2))]   for two,                      (22)

uniformly in the place of the pole. E is a holomorphic function of the unknowns. It vanishes for a
real pole off [A, B], where e(A) and e(B) have one sign. The integral of log e has a closed form for
the uniform law, and the difference follows by parts from the mass M(λ) up to λ and
S = (λ - A)/(B - A):

    ∫ dρ log e = log e(B) + e(A)/[e(B) - e(A)] log[e(B)/e(A)] - 1 - ∫ (M - S) e'/e dλ.          (23)

Beyond arXiv 2505.17638.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero

from ..numerics.types import Matrix, Number, Numbers, Real, Truth, Vector, Whole

# nodes of an interval: FINE for one spectrum, COARSE for the times of many models
FINE, COARSE = 192, 64
# from this |Im y*| on, E is as small as what the cardinal series leaves out
FAR = 3.0


class Continuum(eqx.Module):
    """The grids of a law's intervals, in R rows of K nodes; its atoms fill rows of their own.

    Attributes
    ----------
    values, weights : array, shape (R K,)
        λ_k and w_k.
    below : array, shape (R K,)
        Weights of ∫ (M - S) f(λ) dλ, 0 for atoms.
    lower, upper, start, step : array, shape (R,)
        A, B, y_0 and h.
    mass : array, shape (R,)
        Mass of the interval; 0 for atoms.
    tops, shares : array, shape (components,)
        Largest eigenvalue and mass of each interval and atom.
    trace : float
        ∫ λ dρ.
    error : float
        Relative error of the integrals.
    lowered : float
        For a law without a largest eigenvalue, the share of its eigenvalues that are put lower;
        0 for others.
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
        lengths = lambda c: (c.values, c.below, c.lower, c.upper, c.tops, c.trace)
        return eqx.tree_at(lengths, self, tuple(factor * a for a in lengths(self)))

    def quantiles(self, row: int, shares: np.ndarray) -> np.ndarray:
        """Eigenvalues below which these shares of a row's mass lie; only of known numbers."""
        from scipy.special import sici

        start, h, low, high = (
            float(a[row]) for a in (self.start, self.step, self.lower, self.upper)
        )
        weights = np.asarray(self.weights).reshape(self.step.size, -1)[row] / float(self.mass[row])
        k = np.linspace(0.0, weights.size - 1.0, 16 * weights.size)
        mass = (0.5 + sici(np.pi * (k[:, None] - np.arange(weights.size)))[0] / np.pi) @ weights
        values = low + (high - low) / (1 + np.exp(-(start + h * k)))
        return np.interp(shares, np.maximum.accumulate(mass), values)

    def distances(self, values: Vector, row: Whole, upper: Truth) -> Vector:
        """λ - E for the upper or lower end E of a row; on that row to full relative accuracy."""
        rows, k = self.step.size, np.arange(values.size // self.step.size)
        y = self.start[:, None] + self.step[:, None] * k[None, :]
        width, in_widths = (
            (self.upper - self.lower)[:, None],
            jnp.where(upper, -jax.nn.sigmoid(-y), jax.nn.sigmoid(y)),
        )
        difference = values - jnp.where(upper, self.upper, self.lower)[row]
        own = (jnp.arange(rows) == row)[:, None] & (width > 0)
        exact = jnp.where(own, width * in_widths, difference.reshape(rows, -1)).ravel()
        # the derivative is that of the difference
        return difference + jax.lax.stop_gradient(exact - difference)

    def averages(
        self,
        values: Vector,
        weights: Vector,
        e: tuple[Number, Number],
        ends: tuple[Numbers, Numbers],
        count: int,
    ) -> list[Number]:
        """∫ λ^k/e(λ) dρ for k < count, with e = e_0 + e_1λ and its values at the ends of the rows.

        The equations hold the nodes and weights as their own numbers. With `below` in place of the
        weights the integral is ∫ (M - S) λ^k/e(λ) dλ.
        """
        rows = self.step.size
        values, weights = values.reshape(rows, -1, 2), weights.reshape(rows, -1, 2)
        _, E, _ = self._pole(ends)
        # (21); even and odd nodes have opposite signs
        total = sum(
            (1.0 - E[r]) * pole_sums(count, values[r, :, 0], weights[r, :, 0], *e)
            + (1.0 + E[r]) * pole_sums(count, values[r, :, 1], weights[r, :, 1], *e)
            for r in range(rows)
        )
        return [total[k] for k in range(count)]

    def correction_of_two(
        self, e1: tuple[Numbers, Numbers], e2: tuple[Numbers, Numbers]
    ) -> Numbers:
        """What multiplies the weights of ∫ N/(e_1e_2), from e_1 and e_2 at the ends of the rows."""
        (y1, E1, s1), (y2, E2, s2) = self._pole(e1), self._pole(e2)
        d, same = y1 - y2, s1 == s2
        small = same & (jnp.abs(d) < 1e-8)
        safe = jnp.where(small | (d == 0), 1.0, d)
        rate = 1j * jnp.pi * s2 / self.step
        E_change = jnp.where(same, E2 * jnp.expm1(jnp.where(same, rate * safe, 0.0)), E1 - E2)
        slope = jnp.where(small, rate * E2, E_change / safe)
        slope = jnp.where((E1 == 0) | (E2 == 0), (E1 - E2) / safe, slope)
        k = np.arange(self.values.size // self.start.size)[None, :]
        y = self.start[:, None] + self.step[:, None] * k
        signs = (-1.0) ** k
        line = E1[:, None] + (y - y1[:, None]) * slope[:, None]
        # (22), divided by w_k
        return 1.0 - (signs * line).ravel()

    def _pole(self, e: tuple[Numbers, Numbers]) -> tuple[Numbers, Numbers, Vector]:
        # y*, E and the sign of Im y* for each row. E is 0 for a real pole off the support; one on
        # the support belongs to no solution, and NaN says so
        if not jnp.iscomplexobj(e[0]):
            return e[0], jnp.where(e[0] * e[1] > 0, 0.0, jnp.nan), jnp.ones_like(e[0])
        y = jnp.log(-e[0] / e[1])
        sign = jnp.where(y.imag < 0, -1.0, 1.0)
        near = jnp.abs(y.imag) < FAR
        E = jnp.exp(1j * jnp.pi * sign * (jnp.where(near, y, 0.0) - self.start) / self.step)
        return y, jnp.where(near, E, 0.0), sign


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def pole_sums(count: int, values: Vector, weights: Vector, e0: Number, e1: Number) -> Numbers:
    """Σ_k w_kλ_k^j/(e_0 + e_1λ_k) for j < count.

    The solver spends its time here. One real matrix product gives the sums, and a second one their
    derivatives in e_0 and in e_1.
    """
    return _as_complex(_inverse(values, e0, e1) @ _powers(values, weights, count))


@partial(pole_sums.defjvp, symbolic_zeros=True)
def _pole_sums_jvp(
    count: int, primals: tuple[Vector, Vector, Number, Number], tangents: tuple[Any, ...]
) -> tuple[Numbers, Numbers]:
    values, weights, e0, e1 = primals
    varies = [not isinstance(t, SymbolicZero) for t in tangents]
    g, table = _inverse(values, e0, e1), _powers(values, weights, count + 1)
    value = _as_complex(g @ table[:, :count])
    change = jnp.zeros_like(value)
    if varies[2] or varies[3]:
        square = g**2 if g.shape[0] == 1 else jnp.stack([g[0] ** 2 - g[1] ** 2, 2 * g[0] * g[1]])
        moments = _as_complex(square @ table)
        change = change - (tangents[2] * moments[:-1] if varies[2] else 0.0)
        change = change - (tangents[3] * moments[1:] if varies[3] else 0.0)
    if varies[0] or varies[1]:
        directions = tuple(
            t if moves else jnp.zeros_like(v)
            for t, moves, v in zip(tangents, varies, primals, strict=True)
        )[:2]
        _, by_numbers = jax.jvp(
            lambda v, w: _as_complex(_inverse(v, e0, e1) @ _powers(v, w, count)),
            primals[:2],
            directions,
        )
        change = change + by_numbers
    return value, change


def _inverse(values: Vector, e0: Number, e1: Number) -> Matrix:
    # real and imaginary parts of 1/(e_0 + e_1λ_k), shape (2, K); (1, K) if they are real
    if not jnp.iscomplexobj(e0):
        return (1.0 / (e0 + e1 * values))[None]
    real, imag = e0.real + e1.real * values, e0.imag + e1.imag * values
    scale = 1.0 / (real**2 + imag**2)
    return jnp.stack([real * scale, -imag * scale])


def _as_complex(parts: Matrix) -> Numbers:
    return parts[0] if parts.shape[0] == 1 else parts[0] + 1j * parts[1]


def _powers(values: Vector, weights: Vector, count: int) -> Matrix:
    # w_kλ_k^j, shape (K, count)
    return jnp.stack([weights * values**j for j in range(count)], axis=1)
