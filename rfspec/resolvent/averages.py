"""Averages over Σ that equations of columns take: sums over its eigenvalues,
or integrals over a continuous law.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from ..models.gaussian_equivalent import GaussianEquivalent
from ..models.targets import Combination
from ..numerics.holomorphic import Unknowns, reciprocal
from ..numerics.types import Number, Numbers, Real, Reals, Vector
from .interface import Equations
from .near_ends import Chart, End, around, nearest, plain

Averages = tuple[tuple[Any, ...], Any, Any, Any]


def angle(w: Numbers) -> Reals:
    """|arg w|."""
    return jnp.arctan2(jnp.abs(w.imag), w.real)


class AveragedEquations(Equations):
    """Equations in (q, δ_1, ...) that see Σ through T(λ) = T_0 + κ²D_1λ and averages of N(λ)/(1 +
    ψ_pTq).

    `target` is the combination y = c_xx + c_ξξ that is learnt, `slope` c_xα/β (None where c_x is),
    and `decay` what weight decay adds to U. Σ is `values` and `weights`: its atoms, or the grid of
    a continuous `law`, whose weights depend on where 1 + ψ_pTq vanishes; or nodes for smooth
    averages over it, with `others` to tell their error; `averaged` are the equations with such
    nodes.
    """

    psi_p: Real
    psi_n: Real
    values: Vector
    weights: Vector
    law: Any
    others: tuple[Vector, Vector] | None
    averaged: Equations | None
    ge: GaussianEquivalent
    target: Combination
    slope: Real | None
    decay: Real

    @abstractmethod
    def balance(self, u: Unknowns, averages: Averages, zeta: Number) -> Unknowns:
        """F(u; ζ), given D_i and ∫ dρ_Σ N/(1 + ψ_pTq) for N = T, 1 and λ."""

    def residual(self, u: Unknowns, zeta: Number) -> Unknowns:
        return self.balance(u, self._averages(u), zeta)

    def place(self, u: Unknowns) -> End | None:
        law = self.law
        return None if law is None else nearest(self._ends(u, self._D(u)), law.lower != law.upper)

    def around(self, place: End | None) -> Chart:
        return plain(self.residual) if place is None else around(self, place)

    def _D(self, u: Unknowns) -> tuple[Number, ...]:
        """D_i = 1/(1+δ_i)."""
        return tuple(reciprocal(1.0 + delta) for delta in u[1:])

    @abstractmethod
    def _T(self, D: tuple[Number, ...], values: Reals) -> Numbers:
        """T(λ), linear in λ with the slope κ²D_1."""

    def _averages(self, u: Unknowns) -> Averages:
        D = self._D(u)
        if self.law is None:
            T = self._T(D, self.values)
            g = reciprocal(1.0 + self.psi_p * T * u[0])
            by_T, by_one, by_value = (jnp.sum(self.weights * f * g) for f in (T, 1.0, self.values))
            return D, by_T, by_one, by_value
        I0, I1 = self._law_averages(u, D, 2)
        return D, self._T(D, 0.0) * I0 + self.ge.kappa2 * D[0] * I1, I0, I1

    def _law_averages(self, u: Unknowns, D: tuple[Number, ...], count: int) -> list[Number]:
        """∫ dρ_Σ λᵏ/(1 + ψ_pTq) of a continuous law, k < count."""
        assert self.law is not None
        line = 1.0 + self.psi_p * self._T(D, 0.0) * u[0], self.psi_p * self.ge.kappa2 * D[0] * u[0]
        return self.law.averages(self.values, self.weights, line, self._ends(u, D), count)

    def _ends(self, u: Unknowns, D: tuple[Number, ...]) -> tuple[Numbers, Numbers]:
        """1 + ψ_pTq at both ends of the law's intervals."""
        assert self.law is not None
        low, high = (
            1.0 + self.psi_p * self._T(D, ends) * u[0] for ends in (self.law.lower, self.law.upper)
        )
        return low, high

    def _turned(self, u: Unknowns) -> Real:
        """∫ dρ_Σ arg(1 + ψ_pTq)."""
        D, (tops, shares) = self._D(u), self._components
        T = self._T(D, tops)
        e, h = 1.0 + self.psi_p * T * u[0], T + reciprocal(self.psi_p * u[0])
        at_top = jnp.sum(
            shares * jnp.where(e.real > 0, jnp.arctan2(e.imag, e.real), angle(u[0]) - angle(h))
        )
        if self.law is None:
            return at_top
        law, (low, _) = self.law, self._ends(u, D)
        slope = self.psi_p * self.ge.kappa2 * D[0] * u[0]
        x = slope * (law.upper - law.lower) / low  # e(B)/e(A) - 1
        x = jnp.where(x == 0, 1e-100, x)
        uniform = jnp.sum(law.mass * jnp.log1p(x) * reciprocal(x))
        (rest,) = law.averages(
            self.values, law.below, (low[0] - slope * law.lower[0], slope), self._ends(u, D), 1
        )
        return at_top + (uniform - slope * rest).imag  # (23)

    @property
    def _trace(self) -> Real:
        """Tr Σ/d."""
        return self._held if self.law is None else self.law.trace

    @property
    def _held(self) -> Real:
        """Tr Σ/d of the values that the equations hold:
        less than all of it where the largest are put lower.
        """
        return jnp.sum(self.weights * self.values)

    @property
    def lowered(self) -> Real:
        return np.float64(0.0) if self.law is None else self.law.lowered

    @property
    def on_other_nodes(self) -> Equations | None:
        return (
            None
            if self.others is None
            else eqx.tree_at(lambda e: (e.values, e.weights), self, self.others)
        )

    @property
    def _components(self) -> tuple[Vector, Vector]:
        """Largest eigenvalue and mass of each interval and atom of Σ."""
        return (self.values, self.weights) if self.law is None else (self.law.tops, self.law.shares)

    @property
    def components(self) -> int:
        return self._components[1].size
