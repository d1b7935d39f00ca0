r"""Unknowns in which a fold next to an end of a continuous law is regular.

All averages over Σ have a pole at the zero λ* of e = 1 + ψ_pTq. Where a bulk ends with an interval
[A, B] of ρ_Σ, λ* stops short of that end by very little. With ε of the order of 1/ψ_p and 1/ψ_n it
stops by ε² where ρ_Σ ends like a square root, and by ε where it jumps. So small an e(A) is lost to
rounding in (q, δ), and Newton's method finds the fold from its close neighbourhood alone. With
T = T_0 + D_1T_1(λ), E the near end and F the far one,

    v² = e(E)/e(F),   ψ_pqD_1 = -(1 + ψ_pqT_0)(1 - v²)/N,
    e(F) = (1 + ψ_pqT_0)[T_1(E) - T_1(F)]/N,                                                    (24)
    N = T_1(E) - v²T_1(F),

In v, which replaces δ_1 as an unknown, nothing cancels. det ∂F/∂u is linear in v at a square root,
and v goes to 0 where the edge is that of the end itself. Where ρ_Σ falls faster, the determinant
vanishes at v = 0 whether an edge is there or not; the solution just off the end decides. Beyond
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

NEAR = 0.1  # largest v² at which an end counts as near
AT_THE_END = 1e-8  # largest v at which an edge is that of the end


class Chart(NamedTuple):
    """Real unknowns w in place of u."""

    # F(w; ζ)
    residual: Callable[[Unknowns, Any], Unknowns]
    # w(u) and u(w)
    from_u: Callable[[Unknowns], Unknowns]
    to_u: Callable[[Unknowns], Unknowns]
    # whether w is at the end of the law, and w just off it
    at_the_end: Callable[[Unknowns], Any]
    off_the_end: Callable[[Unknowns], Unknowns]


class End(NamedTuple):
    """An end of an interval of a law: the interval, whether it is the upper end, and near."""

    row: Wholes
    upper: Truths
    near: Truths


def nearest_end(ends: tuple[Numbers, Numbers], exists: Truths) -> End:
    # the end with the smallest e, relative to e at the other end of the same interval
    low, high = (jnp.abs(e) for e in ends)
    ratios = jnp.where(exists, jnp.minimum(low, high) / jnp.maximum(low, high), jnp.inf)
    row = jnp.argmin(ratios)
    return End(row, high[row] < low[row], ratios[row] < NEAR)


def identity_chart(residual: Callable[[Unknowns, Any], Unknowns]) -> Chart:
    return Chart(
        residual, lambda u: tuple(v.real for v in u), lambda w: w, lambda _: False, lambda w: w
    )


def chart_near_end(eq: Any, end: End) -> Chart:
    """The chart with v in place of δ_1 where the end is near, and of u itself elsewhere."""
    low, high = (jnp.asarray(a)[end.row] for a in (eq.law.lower, eq.law.upper))
    near, far = jnp.where(end.upper, high, low), jnp.where(end.upper, low, high)
    if_near = lambda a, otherwise: jnp.where(end.near, a, otherwise)
    nodes = if_near(eq.law.distances(eq.values, end.row, end.upper), eq.values)

    def line(w: Unknowns) -> tuple[Real, Real, Real]:
        # e at both ends and ψ_pqD_1, by (24)
        square = if_near(w[1], 0.5) ** 2
        without = lambda first, value: eq._T((first, *eq._D(w)[1:]), value)
        T1 = lambda value: jax.jvp(lambda first: without(first, value), (0.0,), (1.0,))[1]
        beyond, T1_near, T1_far = 1.0 + eq.psi_p * w[0] * without(0.0, 0.0), T1(near), T1(far)
        scale = beyond / (T1_near - square * T1_far)
        at_far = scale * (T1_near - T1_far)
        return square * at_far, at_far, -scale * (1.0 - square)

    def from_u(u: Unknowns) -> Unknowns:
        at_near, at_far = (
            jnp.abs(1.0 + eq.psi_p * u[0] * eq._T(eq._D(u), value)) for value in (near, far)
        )
        return tuple(v.real for v in (u[0], if_near(jnp.sqrt(at_near / at_far), u[1]), *u[2:]))

    def to_u(w: Unknowns) -> Unknowns:
        *_, coupled = line(w)
        return w[0], if_near(eq.psi_p * w[0] / coupled - 1.0, w[1]), *w[2:]

    def residual(w: Unknowns, zeta: Real) -> Unknowns:
        u = to_u(w)
        D, (at_near, *_) = eq._D(u), line(w)
        ends = eq._ends(u, D)
        same_sides = (ends[0] * ends[1] > 0) | (end.near & (jnp.arange(ends[0].size) == end.row))
        e0 = if_near(at_near, 1.0 + eq.psi_p * eq._T(D, 0.0) * u[0])
        e0 = jnp.where(jnp.all(same_sides | (eq.law.mass == 0)), e0, jnp.nan)
        I0, beside = pole_sums(2, nodes, eq.weights, e0, eq.psi_p * eq.ge.kappa2 * D[0] * u[0])
        I1 = if_near(near * I0, 0.0) + beside
        return eq.balance(u, (D, eq._T(D, 0.0) * I0 + eq.ge.kappa2 * D[0] * I1, I0, I1), zeta)

    at_the_end = lambda w: end.near & (jnp.abs(w[1]) < AT_THE_END)
    off_the_end = lambda w: (w[0], if_near(AT_THE_END, w[1]), *w[2:])
    return Chart(residual, from_u, to_u, at_the_end, off_the_end)
