r"""The equations at finite d, where rows and samples are not equally long, and noise tells of data.

A sample contributes to U the column of its mean feature and d columns with one factor of the noise.
The unknowns are q_j = Tr(U - z)⁻¹/p in class j of rows, δ_c of the means in class c of samples, δ'
of the noise columns, and o, which couples a sample's noise columns to its mean. With
D' = 1/(1+δ'), D_c = 1/(1 + δ_c - dκ̄o²D'), q_m = Σ_j π_jW_jmq_j and D_m = Σ_c w_cP_cmD_c

    T_m = data_mD_m + noise_mD' + rest_m - 2 signal_a oD'D_m (degree 1 only)
    1/q_j = s_j² - z + v_j² Σ_c w_cP_cD_c + n_j²D' + (1/d) Σ_m W_jmT_m/(1 + ψ_pT_mq_m)
    δ_c  = (ψ_p/ψ_n) [ P_c Σ_j π_jv_j²q_j + (1/d) Σ_m P_cm data_m y_m ]                         (31)
    δ'   = (ψ_p/ψ_nd) [ Σ_j π_jn_j²q_j + (1/d) Σ_m noise_m y_m ],   y_m = q_m/(1 + ψ_pT_mq_m)
    o    = (ψ_p/ψ_nd) [ Σ_j π_jo_j²q_j + (1/dκ̄) Σ_m coupled_m y_m ]

with v_j², n_j², s_j² the tails of ``rfspec.resolvent.features`` and κ̄ the mean of α²λ/β². For
d → ∞ all classes are alike, D' = 1 and o = 0, and (6) and (7) are left. What features have of the
target c_xx + c_ξξ is

    V_a = c_ξ(1 - κ_aD_ao)D' + (c_xα/β)λ_a(1 - oD')D_a                                         (32)

in degree 1. Two-point functions are the derivative of all this in a source, for unknowns that are
upper triangular 2×2 matrices. Beyond arXiv 2505.17638.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from ..models.targets import Combination
from ..numerics.holomorphic import Unknowns, of_real, reciprocal
from ..numerics.types import Number, Real
from .columns import Source
from .features import Features, Readout
from .finite_pairs import ROWS, SAMPLES, FinitePoint, FiniteSource, Moved, Pair, Regression
from .interface import Equations
from .limit_only import LimitOnly

# on a contour; they err by 4e-7, and the twelve that judge them by 3e-5
MOST_NODES = 16


class FiniteEquations(LimitOnly):
    """The equations in u = (q_1, q_2, δ_1, δ_2, δ', o); see ``Equations``.

    Attributes
    ----------
    features : Features
        The coefficients of (31).
    finer : FiniteEquations, optional
        The same with more nodes, whose change tells the error.
    readout : Readout, optional
        Many classes of rows, which spectra show and losses do not.
    d : float
        The dimension.
    """

    features: Features
    finer: FiniteEquations | None
    readout: Readout | None
    d: Real
    target: Combination
    slope: Real | None

    # The fixed point.

    def residual(self, u: Unknowns, zeta: Number) -> Unknowns:
        rows, others = self._right_sides(u, zeta)
        return *(f - 1.0 for f in rows), *(f - v for f, v in zip(others, u[ROWS:], strict=True))

    def quotients(self, u: Unknowns, zeta: Number) -> Unknowns:
        rows, others = self._right_sides(u, zeta)
        return *(1.0 / f for f in rows), *(f / v for f, v in zip(others, u[ROWS:], strict=True))

    def _right_sides(self, u: Unknowns, zeta: Number) -> tuple[Unknowns, Unknowns]:
        # of (31): those of 1/q_j times q_j, and the others
        point, f = self.point(u), self.features
        of_tails = (
            f.tails_on_rows @ jnp.append(point.D, point.of_noise) + f.fixed - self.origin - zeta
        )
        rows = point.q * (of_tails + of_real(f.on_rows, point.T * point.g))
        others = f.tails_on_others @ point.q + of_real(f.on_others, point.q_m * point.g)
        *samples, noise, coupling = self.psi_p / self.psi_n * others
        return tuple(rows), (*samples, noise / self.d, coupling / self.d)

    def start(self, zeta: Number) -> Unknowns:
        return *([-1.0 / zeta] * ROWS), *([0.0 * zeta] * (SAMPLES + 2))

    # Traces.

    def point(self, u: Unknowns) -> FinitePoint:
        f, q, o = self.features, jnp.stack(u[:ROWS]), u[-1]
        noise = reciprocal(1.0 + u[-2])
        coherent = self.d * f.kappa * o**2 * noise
        D, q_m = reciprocal(1.0 + jnp.stack(u[ROWS:-2]) - coherent), of_real(f.by_q.T, q)
        T = of_real(f.slopes.T, jnp.concatenate([D, 2.0 * o * noise * D, noise[None]])) + f.rest
        return FinitePoint(q, D, noise, o, q_m, T, reciprocal(1.0 + self.psi_p * T * q_m))

    def trace(self, u: Unknowns, zeta: Number) -> Number:
        if self.readout is None:
            return jnp.sum(self.features.rows * jnp.stack(u[:ROWS]))
        # two classes tell what rows of any length see, and many how their eigenvalues lie
        point, many = self.point(u), self.readout
        of_tails = many.tails_on_rows @ jnp.append(point.D, point.of_noise) + many.fixed
        on_rows = of_tails + of_real(many.on_rows, point.T * point.g) - self.origin - zeta
        return jnp.sum(many.shares * reciprocal(on_rows))

    def delta(self, u: Unknowns) -> Number:
        return u[ROWS]

    def transforms(self, u: Unknowns) -> tuple[Number, Number]:
        point = self.point(u)
        y = self.weights * (point.q_m * point.g)[: self.weights.size]
        return jnp.sum(self.values * y), jnp.sum(y)

    # Two-point functions.

    def two_point(
        self, one: FinitePoint, two: FinitePoint, sources: Sequence[Source]
    ) -> tuple[Number, Number, Number]:
        return tuple(self._moved(one, two, source).of_features for source in sources)

    def target_two_point(
        self, one: FinitePoint, two: FinitePoint, sources: Sequence[Source | FiniteSource]
    ) -> list[Number]:
        return [self._moved(one, two, source).of_target for source in sources]

    def _moved(self, one: FinitePoint, two: FinitePoint, source: Source | FiniteSource) -> Moved:
        pair = Pair(self.features, self._target, self.psi_p, self.psi_n, self.d, one, two)
        return pair.moved(source if isinstance(source, FiniteSource) else self._linear(source))

    def _linear(self, source: Source) -> FiniteSource:
        # ιI + F(Σ_k a_kΣᵏ)Fᵀ
        f, powers = self.features, source.features.items()
        linear = sum((a * self.values**k for k, a in powers), jnp.zeros_like(self.values))
        on_all = jnp.pad(linear, (0, f.weights.size - linear.size))
        return FiniteSource(jnp.full_like(f.tails, source.identity), on_all)

    @property
    def population(self) -> FiniteSource:
        return FiniteSource(self.features.tails, self.features.whole)

    # What training needs.

    @property
    def _target(self) -> Regression:
        slope = 0.0 if self.slope is None else self.slope
        signal = 0.0 if self.target.signal is None else self.target.signal
        noise, linear = self.target.noise, self.features.linear
        trace = jnp.sum(self.weights * self.values)
        return Regression(
            noise,
            slope * self.values,
            self.psi_p * self.weights * linear.explained,
            linear.kappa,
            (noise**2, noise * slope * trace, signal**2 * trace),
        )

    def explained(self, point: FinitePoint) -> tuple[Number, Number]:
        target, f = self._target, self.features
        at = point.of_noise, point.coupling
        V = target.along(point.D @ f.samples, *at)
        yV = target.scale * (point.q_m * point.g)[: V.size] * V
        within = target.within(jnp.sum(f.of_signal * point.D), *at)
        return within + jnp.sum(yV * V), jnp.sum(yV * (target.noise + target.slopes))

    @property
    def untrained(self) -> Real:
        return self._target.variances[0] + self._target.variances[2]

    # Scales.

    @property
    def origin(self) -> Real:
        lowest = jnp.min(self.features.fixed)
        return lowest if self.readout is None else jnp.minimum(lowest, jnp.min(self.readout.fixed))

    @property
    def mean(self) -> Real:
        f, many = self.features, self.readout
        of_functions = jnp.sum(f.weights * f.whole)
        if many is None:
            return jnp.sum(f.rows * f.tails) + of_functions
        of_tails = jnp.sum(many.tails_on_rows, axis=1) + many.fixed
        return jnp.sum(many.shares * of_tails) + of_functions

    @property
    def atom_mass(self) -> Real:
        # as many columns as there are functions and, for tails, columns of samples
        f = self.features
        of_tails = jnp.where(jnp.any(f.tails > 0), self.psi_n * (1.0 + self.d), 0.0)
        return jnp.maximum(0.0, 1.0 - (jnp.sum(f.weights) + of_tails) / self.psi_p)

    @property
    def slowest_mode(self) -> Real:
        # the tails that the data do not fix
        f = self.features
        return jnp.sum(f.rows * (f.fixed + f.tails_on_rows[:, -1]))

    @property
    def upper_bound(self) -> Real:
        # the norm of each product that makes up U
        f, ratio = self.features, self.psi_p / self.psi_n
        longest = jnp.max(f.by_q / f.rows[:, None], axis=0)
        widest = lambda a: jnp.max(jnp.max(a, axis=0) * longest)
        features = (jnp.sqrt(jnp.sum(f.weights)) + jnp.sqrt(self.psi_p)) ** 2
        signal = widest(f.slopes[:SAMPLES] * SAMPLES) * features + jnp.max(f.tails)
        noise = widest(f.slopes[-1:]) * features + jnp.max(f.tails)
        return (
            signal * (1.0 + jnp.sqrt(ratio)) ** 2
            + noise * (1.0 + jnp.sqrt(ratio / self.d)) ** 2
            + widest(f.rest[None]) * features
            + jnp.max(f.fixed)
        )

    @property
    def fastest_mode(self) -> Real:
        return self.origin + self.upper_bound + self.decay

    @property
    def top(self) -> Real:
        return self.fastest_mode

    def relative_imaginary(self, u: Unknowns) -> Real:
        point, weights = self.point(u), self.features.weights
        e = 1.0 + self.psi_p * point.T * point.q_m
        largest = jnp.max(jnp.where(weights > 0, jnp.abs(e.imag) / jnp.abs(e), 0.0))
        return jnp.maximum(largest, jnp.max(jnp.stack([v.imag / jnp.abs(v) for v in u])))

    @staticmethod
    def numbers(eq: Any) -> tuple[Any, ...]:
        return ()

    @property
    def most_nodes(self) -> int:
        return MOST_NODES

    @property
    def accuracy(self) -> Real:
        return self.ge.error

    @property
    def on_other_nodes(self) -> Equations | None:
        return self.finer
