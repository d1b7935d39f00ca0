r"""Unknowns in which a fold next to an end of a continuous law is regular.

Where a bulk ends with an interval [A, B] of ρ_Σ, the zero λ* of e = 1 + ψ_pTq, the pole of all
averages over Σ, stops short of that end by very little: with ε of the order of 1/ψ_p and 1/ψ_n, by
ε² where ρ_Σ ends like a square root, by ε where it jumps. Rounding leaves nothing of so small an
e(A) in (q, δ), and Newton's method finds the fold from its close neighbourhood alone. With T = T_0
+ D_1T_1(λ), E the near end and F the far one,

    v² = e(E)/e(F),   ψ_pqD_1 = -(1 + ψ_pqT_0)(1 - v²)/N,
    e(F) = (1 + ψ_pqT_0)[T_1(E) - T_1(F)]/N,                                                    (24)
    N = T_1(E) - v²T_1(F),

v is an unknown in place of δ_1 in which nothing cancels. det ∂F/∂u is linear in v at a square root,
and v goes to 0 where the edge is that of the end itself. Where ρ_Σ falls faster, the determinant
vanishes at v = 0 whether an edge is there or not, and the solution just off the end tells. Beyond
arXiv 2505.17638.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ..models.continuum import pole_sums
from ..numerics.holomorphic import Unknowns
from ..numerics.types import Numbers, Real, Truths, Wholes

NEAR = 0.1  # v² below which an end is near
AT_THE_END = 1e-8  # v below which an edge is that of the end


class Chart(NamedTuple):
    """Real unknowns w in place of u: F(w; ζ), w(u), u(w), whether w is at the end of the law,
    and w just off it.
    """

    residual: Callable[[Unknowns, Any], Unknowns]
    of: Callable[[Unknowns], Unknowns]
    back: Callable[[Unknowns], Unknowns]
    at_the_end: Callable[[Unknowns], Any]
    off_the_end: Callable[[Unknowns], Unknowns]


class End(NamedTuple):
    """An end of a law: its row, whether it is the upper one, and whether it is near."""

    row: Wholes
    upper: Truths
    near: Truths


def nearest(ends: tuple[Numbers, Numbers], exists: Truths) -> End:
    """The end with the smallest e, relative to that at the other end of the same interval."""
    low, high = (jnp.abs(e) for e in ends)
    ratios = jnp.where(exists, jnp.minimum(low, high) / jnp.maximum(low, high), jnp.inf)
    row = jnp.argmin(ratios)
    return End(row, high[row] < low[row], ratios[row] < NEAR)


def plain(residual: Callable[[Unknowns, Any], Unknowns]) -> Chart:
    """The unknowns themselves."""
    return Chart(
        residual, lambda u: tuple(v.real for v in u), lambda w: w, lambda _: False, lambda w: w
    )


def around(eq: Any, end: End) -> Chart:
    """v for δ_1 where the end is near."""
    low, high = (jnp.asarray(a)[end.row] for a in (eq.law.lower, eq.law.upper))
    near, far = jnp.where(end.upper, high, low), jnp.where(end.upper, low, high)
    at = lambda here, otherwise: jnp.where(end.near, here, otherwise)
    nodes = at(eq.law.distances(eq.values, end.row, end.upper), eq.values)

    def line(w: Unknowns) -> tuple[Real, Real, Real]:
        """e at both ends and ψ_pqD_1, by (24)."""
        square = at(w[1], 0.5) ** 2
        without = lambda first, value: eq._T((first, *eq._D(w)[1:]), value)
        T1 = lambda value: jax.jvp(lambda first: without(first, value), (0.0,), (1.0,))[1]
        beyond, T1_near, T1_far = 1.0 + eq.psi_p * w[0] * without(0.0, 0.0), T1(near), T1(far)
        scale = beyond / (T1_near - square * T1_far)
        at_far = scale * (T1_near - T1_far)
        return square * at_far, at_far, -scale * (1.0 - square)

    def of(u: Unknowns) -> Unknowns:
        at_near, at_far = (
            jnp.abs(1.0 + eq.psi_p * u[0] * eq._T(eq._D(u), value)) for value in (near, far)
        )
        return tuple(v.real for v in (u[0], at(jnp.sqrt(at_near / at_far), u[1]), *u[2:]))

    def back(w: Unknowns) -> Unknowns:
        *_, coupled = line(w)
        return w[0], at(eq.psi_p * w[0] / coupled - 1.0, w[1]), *w[2:]

    def residual(w: Unknowns, zeta: Real) -> Unknowns:
        u = back(w)
        D, (at_near, *_) = eq._D(u), line(w)
        ends = eq._ends(u, D)
        same_sides = (ends[0] * ends[1] > 0) | (end.near & (jnp.arange(ends[0].size) == end.row))
        e0 = at(at_near, 1.0 + eq.psi_p * eq._T(D, 0.0) * u[0])
        e0 = jnp.where(jnp.all(same_sides | (eq.law.mass == 0)), e0, jnp.nan)
        I0, more = pole_sums(2, nodes, eq.weights, e0, eq.psi_p * eq.ge.kappa2 * D[0] * u[0])
        I1 = at(near * I0, 0.0) + more
        return eq.balance(u, (D, eq._T(D, 0.0) * I0 + eq.ge.kappa2 * D[0] * I1, I0, I1), zeta)

    at_the_end = lambda w: end.near & (jnp.abs(w[1]) < AT_THE_END)
    return Chart(residual, of, back, at_the_end, lambda w: (w[0], at(AT_THE_END, w[1]), *w[2:]))
