r"""The fixed-point equations of U with the noise averaged over all its draws.

With q(z) = Tr(U - z)⁻¹/p, r = Tr FΣFᵀ(U - z)⁻¹/p and s = Tr FFᵀ(U - z)⁻¹/p, the three equations of
arXiv 2505.17638 (Theorem 3.1) reduce to two unknowns (q, δ). With D = 1/(1+δ) and T(λ) = b² + κ²λD,

    1/q = s² - z + v²D + ∫ dρ_Σ(λ) T/(1 + ψ_p T q)                     (6)
    δ   = (ψ_p/ψ_n) [ v² q + κ² ∫ dρ_Σ(λ) λ q/(1 + ψ_p T q) ]          (7)
    r   = ∫ dρ_Σ(λ) λ q/(1 + ψ_p T q),   s = ∫ dρ_Σ(λ) q/(1 + ψ_p T q)   (8)

The columns of U are those of the data, g = κFx + vω. Given F, their covariance is v²I + κ²FΣFᵀ.
Equations (12) to (16) of docs/theory.md give what they explain of the target, and two resolvents
with a matrix between them.

s² only shifts the spectrum. Everything downstream therefore works with ζ = z - s², which keeps its
relative accuracy next to the atom. The file also holds what is known exactly of the solution: the
bound of the spectrum, the ranks behind its masses and its parts.
"""

from __future__ import annotations

import jax.numpy as jnp

from ..numerics.holomorphic import reciprocal
from ..numerics.types import Matrix, Number, Numbers, Real, Reals, Vector
from .averages import Averages
from .column_equations import ColumnEquations
from .columns import Kind, Powers, Source


class RandomFeatureEquations(ColumnEquations):
    """The equations in u = (q, δ) with all draws of the noise; see ``Equations``."""

    def balance(
        self, u: tuple[Number, Number], averages: Averages, zeta: Number
    ) -> tuple[Number, Number]:
        q, delta = u
        v2, kappa2 = self.ge.v2, self.ge.kappa2
        (D,), by_T, _, by_value = averages
        one = q * (v2 * D - zeta + by_T) - 1.0  # (6) times q
        two = self.psi_p / self.psi_n * q * (v2 + kappa2 * by_value) - delta  # (7)
        return one, two

    def start(self, zeta: Number) -> tuple[Number, Number]:
        return -1.0 / zeta, 0.0 * zeta

    # The columns of the data fluctuate with x, so they tell more of it than F does.
    @property
    def _kinds(self) -> tuple[Kind]:
        covariance = Source(self.ge.v2, {1: self.ge.kappa2})
        if self.slope is None:
            return (Kind(1.0, covariance),)
        return (Kind(1.0, covariance, {1: self.slope}, self._signal(self._trace_held)),)

    @property
    def _columns(self) -> Real:
        return self.psi_n

    @property
    def _fixed(self) -> Powers:
        return {0: self.target.noise}

    def _nonlogarithmic(self, u: tuple[Number, Number], zeta: Real) -> Number:
        q, delta = u
        return (self.psi_n / self.psi_p + self.ge.v2 * q) * reciprocal(
            1.0 + delta
        ) - zeta * q  # of (9)

    def _T(self, D: tuple[Number], values: Reals) -> Numbers:
        return self.ge.b2 + self.ge.kappa2 * values * D[0]

    @property
    def origin(self) -> Real:
        return self.ge.s2

    @property
    def slowest_mode(self) -> Real:
        return self.ge.s2

    def _bound_for(self, value: Real) -> Real:
        # the norms of the two products that make up U
        features = (1.0 + jnp.sqrt(self.psi_p)) ** 2
        column = self.ge.kappa2 * value * features + self.ge.v2
        return column * (1.0 + jnp.sqrt(self.psi_p / self.psi_n)) ** 2 + self.ge.b2 * features

    @property
    def _rank(self) -> Real:
        # d columns where σ has a linear part, n where it has another
        return jnp.where(self.ge.b2 > 0, 1.0, 0.0) + jnp.where(self.ge.v2 > 0, self.psi_n, 0.0)

    @property
    def _column_ranks(self) -> tuple[Real]:
        return (self.psi_n,)

    @property
    def total(self) -> Vector:
        # d for the linear part of σ, n for the others, and at most p
        columns = self._set(weights=self.ge.b2 > 0, columns=self.ge.v2 > 0)
        return self._lighter(columns, self._set(everything=1.0))

    @property
    def dividing(self) -> Matrix:
        linear, nonlinear, total = self.ge.b2 > 0, self.ge.v2 > 0, self.total
        data, none = self._set(columns=1.0), jnp.zeros_like(total)
        population = jnp.where(linear, self._lighter(self._set(weights=1.0), data, total), none)
        sample = jnp.where(nonlinear, self._lighter(data, total), population)
        return jnp.stack([none, population, sample, total])

    @property
    def most_bulks(self) -> int:
        return 2 * self._components[0].shape[-1] + 1

    @property
    def bulk_guesses(self) -> Vector:
        signal = (
            self.values
            if self.values.size <= 8
            else jnp.stack([self.values.min(), self.values.max()])
        )
        ratio = self.psi_p / self.psi_n
        sample = self.ge.v2 * jnp.stack([(1.0 - jnp.sqrt(ratio)) ** 2, 1.0 + ratio])
        satellite = self.psi_p * self.ge.b2
        return jnp.concatenate(
            [self.psi_p * self.ge.kappa2 * signal + satellite, sample, satellite[None]]
        )
