"""Averages over Σ in the equations of columns.

They are sums over the eigenvalues of Σ, or integrals over a continuous law.
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
from .near_ends import Chart, End, chart_near_end, identity_chart, nearest_end

# D_i, and ∫ dρ_Σ N/(1 + ψ_pTq) for N = T, 1 and λ
Averages = tuple[tuple[Any, ...], Any, Any, Any]


def angle(w: Numbers) -> Reals:  # |arg w|
    return jnp.arctan2(jnp.abs(w.imag), w.real)


class AveragedEquations(Equations):
    """Equations in (q, δ_1, ...) that see Σ through T(λ) = T_0 + κ²D_1λ alone.

    They take averages over Σ of N(λ)/(1 + ψ_pTq).

    Attributes
    ----------
    values, weights : arrays
        Σ, in one of three forms: its eigenvalues; the grid of a continuous `law`, whose weights
        depend on where 1 + ψ_pTq vanishes; or nodes for smooth averages over such a law.
    law : optional
        The continuous law; None in the other two forms.
    others : pair of arrays, optional
        Other nodes and weights for smooth averages; the change they make tells the error.
    averaged : Equations, optional
        The equations with nodes for smooth averages.
    target : Combination
        The target y = c_xx + c_ξξ.
    slope : float, optional
        c_xα/β; None where c_x is.
    decay : float
        What weight decay adds to U.
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
        """F(u; ζ), given D_i and ∫ dρ_Σ N/(1 + ψ_pTq) for N = T, 1 and λ.

        It is q times the right side of 1/q = ..., less 1, and the right side of δ_i = ..., less
        δ_i.
        """

    def residual(self, u: Unknowns, zeta: Number) -> Unknowns:
        return self.balance(u, self._averages(u), zeta)

    def quotients(self, u: Unknowns, zeta: Number) -> Unknowns:
        first, *others = self.residual(u, zeta)
        rest = ((f + v) / v for f, v in zip(others, u[1:], strict=True))
        return 1.0 / (1.0 + first), *rest

    def nearest_branch_point(self, u: Unknowns) -> End | None:
        law = self.law
        if law is None:
            return None
        return nearest_end(self._ends(u, self._D(u)), law.lower != law.upper)

    def chart_near(self, end: End | None) -> Chart:
        return identity_chart(self.residual) if end is None else chart_near_end(self, end)

    def _D(self, u: Unknowns) -> tuple[Number, ...]:
        return tuple(reciprocal(1.0 + delta) for delta in u[1:])

    # T(λ) is linear in λ with the slope κ²D_1.
    @abstractmethod
    def _T(self, D: tuple[Number, ...], values: Reals) -> Numbers: ...

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
        # ∫ dρ_Σ λᵏ/(1 + ψ_pTq) for k < count
        assert self.law is not None
        line = 1.0 + self.psi_p * self._T(D, 0.0) * u[0], self.psi_p * self.ge.kappa2 * D[0] * u[0]
        return self.law.averages(self.values, self.weights, line, self._ends(u, D), count)

    def _ends(self, u: Unknowns, D: tuple[Number, ...]) -> tuple[Numbers, Numbers]:
        # 1 + ψ_pTq at both ends of the law's intervals
        assert self.law is not None
        low, high = (
            1.0 + self.psi_p * self._T(D, ends) * u[0] for ends in (self.law.lower, self.law.upper)
        )
        return low, high

    def _mean_argument(self, u: Unknowns) -> Real:
        # ∫ dρ_Σ arg(1 + ψ_pTq)
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
        (beside,) = law.averages(
            self.values, law.below, (low[0] - slope * law.lower[0], slope), self._ends(u, D), 1
        )
        return at_top + (uniform - slope * beside).imag  # (23)

    @property
    def _trace(self) -> Real:
        return self._trace_held if self.law is None else self.law.trace

    # Less than Tr Σ/d where the equations hold the largest eigenvalues lower than they are.
    @property
    def _trace_held(self) -> Real:
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

    # The largest eigenvalue and the mass of each interval and atom of Σ.
    @property
    def _components(self) -> tuple[Vector, Vector]:
        return (self.values, self.weights) if self.law is None else (self.law.tops, self.law.shares)

    @property
    def components(self) -> int:
        return self._components[1].size
