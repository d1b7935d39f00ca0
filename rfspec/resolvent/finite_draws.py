r"""The fixed-point equations of U where each data point is seen with m draws of the noise.

U_m = (1/nm) Σ_ν Σ_j φ(x_t^νj)φ(x_t^νj)ᵀ. A rotation of the draws of one data point leaves,
given F, one column of covariance mC_g + C_h and m - 1 columns of covariance C_h, where
C_g = κ²FΣFᵀ + v²I and C_h = b²FFᵀ + s²I. Two kinds of columns have two δ's. With D_i = 1/(1+δ_i),
f = D_1/m + (1 - 1/m)D_2 and T(λ) = b²f + κ²λD_1,

    1/q = s²f - z + v²D_1 + ∫ dρ_Σ(λ) T/(1 + ψ_p T q)                                          (19)
    δ_1 = (ψ_p/ψ_n) [ v²q + κ²r + (s²q + b²s)/m ],    δ_2 = (ψ_p/mψ_n) (s²q + b²s)              (20)

with r and s of equation (8). The limit m → ∞ is ``rfspec.resolvent.all_draws``. With finite m, s²
no longer shifts the spectrum, and the atom lies at 0. Beyond arXiv 2505.17638.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from ..numerics.types import Matrix, Number, Numbers, Real, Reals, Vector
from .averages import Averages
from .column_equations import ColumnEquations
from .columns import Kind, Powers, Source

Unknowns = tuple[Any, Any, Any]


class NoiseDrawsEquations(ColumnEquations):
    """The equations in u = (q, δ_1, δ_2) with m draws of the noise; see ``Equations``."""

    draws: Real

    def balance(self, u: Unknowns, averages: Averages, zeta: Number) -> Unknowns:
        q, first, second = u
        ge, ratio = self.ge, self.psi_p / self.psi_n
        D, by_T, by_one, by_value = averages
        f = self._mean_D(D)
        s, r = q * by_one, q * by_value
        one = q * (ge.s2 * f + ge.v2 * D[0] - zeta + by_T) - 1.0  # (19) times q
        drawn = (ge.s2 * q + ge.b2 * s) / self.draws
        return (
            one,
            ratio * (ge.v2 * q + ge.kappa2 * r + drawn) - first,
            ratio * drawn - second,
        )  # (20)

    def start(self, zeta: Number) -> Unknowns:
        return -1.0 / zeta, 0.0 * zeta, 0.0 * zeta

    def _nonlogarithmic(self, u: Unknowns, zeta: Real) -> Number:
        D = self._D(u)
        factor = self.ge.s2 * self._mean_D(D) + self.ge.v2 * D[0] - zeta
        return factor * u[0] + self.psi_n / self.psi_p * (
            D[0] + (self.draws - 1.0) * D[1]
        )  # of (9)

    def _T(self, D: tuple[Number, Number], values: Reals) -> Numbers:
        return self.ge.b2 * self._mean_D(D) + self.ge.kappa2 * values * D[0]

    def _mean_D(self, D: tuple[Number, Number]) -> Number:
        m = self.draws
        return 1.0 / m * D[0] + (1.0 - 1.0 / m) * D[1]

    # The first column holds the data point, the others hold differences of draws alone.
    @property
    def _kinds(self) -> tuple[Kind, Kind]:
        ge, m, noise = self.ge, self.draws, self.target.noise
        whole = Source(m * ge.v2 + ge.s2, {0: ge.b2, 1: m * ge.kappa2})
        cross: Powers = {0: noise} if self.slope is None else {0: noise, 1: m * self.slope}
        drawn = Source(ge.s2, {0: ge.b2})
        return (
            Kind(1.0 / m, whole, cross, m * self._signal(self._trace_held) + noise**2),
            Kind(1.0 - 1.0 / m, drawn, {0: noise}, noise**2),
        )

    @property
    def _common_kinds(self) -> tuple[Kind]:
        ge, m = self.ge, self.draws
        covariance = Source(m * ge.v2, {1: m * ge.kappa2})
        if self.slope is None:
            return (Kind(1.0 / m, covariance),)
        signal = m * self._signal(self._trace_held)
        return (Kind(1.0 / m, covariance, {1: m * self.slope}, signal),)

    @property
    def _columns(self) -> Real:
        return self.draws * self.psi_n

    @property
    def _fixed(self) -> Powers:
        return {}

    @property
    def origin(self) -> Real:
        return 0.0 * self.ge.s2

    @property
    def slowest_mode(self) -> Real:
        columns = self.draws * self.psi_n
        narrow = jnp.minimum(self.psi_p, columns) / jnp.maximum(self.psi_p, columns)
        return 0.1 * self.ge.s2 * self.psi_p / columns * (1.0 - jnp.sqrt(narrow)) ** 2

    def _bound_for(self, value: Real) -> Real:
        # the norms of the two kinds of columns
        features = (1.0 + jnp.sqrt(self.psi_p)) ** 2
        drawn = self.ge.b2 * features + self.ge.s2
        point = self.ge.kappa2 * value * features + self.ge.v2 + drawn / self.draws
        # (m - 1)(1 + √(ψ_p/(m-1)ψ_n))²/m, without dividing by m - 1
        more = (jnp.sqrt(self.draws - 1.0) + jnp.sqrt(self.psi_p / self.psi_n)) ** 2 / self.draws
        return point * (1.0 + jnp.sqrt(self.psi_p / self.psi_n)) ** 2 + drawn * more

    @property
    def _rank(self) -> Real:
        # of a linear σ no more than d columns differ
        columns = self.draws * self.psi_n
        return jnp.where(self.ge.s2 > 0, columns, jnp.minimum(1.0, columns))

    @property
    def _column_ranks(self) -> tuple[Real, Real]:
        return self.psi_n, (self.draws - 1.0) * self.psi_n

    @property
    def total(self) -> Vector:
        # all columns; of a linear σ no more than d
        features, columns = self._set(weights=1.0), self._set(columns=1.0)
        columns = jnp.where(self.ge.s2 > 0, columns, self._lighter(features, columns))
        return self._lighter(columns, self._set(everything=1.0))

    @property
    def dividing(self) -> Matrix:
        linear, nonlinear = self.ge.b2 > 0, self.ge.v2 > 0
        features, data, total = (
            self._set(weights=1.0),
            self._set(columns=np.array([1.0, 0.0])),
            self.total,
        )
        none = jnp.zeros_like(total)
        population = jnp.where(linear, self._lighter(features, data, total), none)
        sample = jnp.where(nonlinear, self._lighter(data, total), population)
        satellite = jnp.where(linear, self._lighter(jnp.maximum(sample, features), total), sample)
        return jnp.stack([none, population, sample, satellite])

    @property
    def most_bulks(self) -> int:
        return 4 * self._components[0].shape[-1] + 2

    @property
    def bulk_guesses(self) -> Vector:
        signal = (
            self.values
            if self.values.size <= 8
            else jnp.stack([self.values.min(), self.values.max()])
        )
        ratio, satellite = self.psi_p / self.psi_n, self.psi_p * self.ge.b2
        sample = self.ge.v2 * jnp.stack([(1.0 - jnp.sqrt(ratio)) ** 2, 1.0 + ratio])
        noise = self.ge.s2 * jnp.stack(
            [(1.0 - jnp.sqrt(ratio / self.draws)) ** 2, 1.0 + ratio / self.draws]
        )
        return jnp.concatenate(
            [self.psi_p * self.ge.kappa2 * signal + satellite, sample, noise, satellite[None]]
        )
