r"""The fixed-point equations of the spectrum of U, as printed, and nothing else.

With q(z) = Tr(U - z)⁻¹/p, r = Tr FΣFᵀ(U - z)⁻¹/p and s = Tr FFᵀ(U - z)⁻¹/p, the three equations of
arXiv 2505.17638 (Theorem 3.1) reduce to two unknowns (q, δ); D = 1/(1+δ) and T(λ) = b² + κ²λD:

    1/q = s² - z + v²D + ∫ dρ_Σ(λ) T/(1 + ψ_p T q)                     (1)
    δ   = (ψ_p/ψ_n) [ v² q + κ² ∫ dρ_Σ(λ) λ q/(1 + ψ_p T q) ]          (2)
    r   = ∫ dρ_Σ(λ) λ q/(1 + ψ_p T q),   s = ∫ dρ_Σ(λ) q/(1 + ψ_p T q)   (3)

The columns behind it are those of the data, g = κFx + vω with covariance v²I + κ²FΣFᵀ given F; what they explain of
the target, and two resolvents with a matrix between them, are equations (5) to (9) of ``rfspec.columns``.

s² only shifts the spectrum, so everything downstream works with ζ = z - s², and keeps its relative accuracy
next to the atom. A theory is a class with the members below; the solver, the edge search and the spectrum know
it through them alone.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from .columns import ColumnEquations, Kind, angle


class RandomFeatureEquations(ColumnEquations):
    """A holomorphic residual F(u; ζ) in the unknowns u = (q, δ), with its start at large ζ.

    For Im ζ > 0 exactly one root has a positive imaginary part in every unknown.
    """

    def residual(self, u: tuple[Any, Any], zeta: Any) -> tuple[Any, Any]:
        """Equations (1), multiplied by q, and (2); both vanish on a solution."""
        q, delta = u
        v2, kappa2 = self.ge.v2, self.ge.kappa2
        (D,), by_T, _, by_value = self._averages(u)
        one = q * (v2 * D - zeta + by_T) - 1.0
        two = self.psi_p / self.psi_n * q * (v2 + kappa2 * by_value) - delta
        return one, two

    def start(self, zeta: Any) -> tuple[Any, Any]:
        """The solution to leading order at large ζ."""
        return -1.0 / zeta, 0.0 * zeta

    @property
    def _kinds(self) -> tuple[Kind]:
        """The columns of the data; they fluctuate with x, so that they know of it beyond what F tells."""
        covariance = (self.ge.v2, 0.0, self.ge.kappa2)
        if self.slope is None:
            return (Kind(1.0, covariance),)
        signal = self.target.signal**2 * self._trace
        return (Kind(1.0, covariance, (0.0, self.slope), signal),)

    @property
    def _columns(self) -> Any:
        return self.psi_n

    @property
    def _fixed(self) -> tuple[Any, Any]:
        return self.target.noise, 0.0

    def distribution(self, u: tuple[Any, Any], zeta: Any) -> Any:
        r"""Share of the eigenvalues left of a real ζ, from the limit solution u there.

        Equations (1) and (2) are the stationarity of Φ in q and δ, with dΦ/dζ = -ψ_p q; so

            F(ζ) = (1/π) Im [ log q - (ψ_n/ψ_p) log(1+δ) - (1/ψ_p) ∫ dρ_Σ log(1+ψ_pTq)
                              - (ψ_n + ψ_p v² q)/(ψ_p(1+δ)) + ζq ]          (4)

        with every logarithm real at ζ → -∞. In a gap q and δ are real, the arguments are 0 or π, and F is a
        sum of ranks and of Σ's weights. Im log(1+ψ_pTq) is split as arg q + arg(T + 1/ψ_p q), q and 1+δ having
        their arguments in [0, π] and the last in [-π, 0], so that rounding cannot choose a wrong branch; no term
        of the sum then exceeds 1 by much.
        """
        q, delta = u
        (D,) = self._D(u)
        ratio = self.psi_n / self.psi_p
        below = self._angle(u) / self.psi_p
        linear = (ratio + self.ge.v2 * q) * D - zeta * q
        return (angle(q) + below - ratio * angle(1.0 + delta) - linear.imag) / jnp.pi

    def _T(self, D: tuple[Any, ...], values: Any) -> Any:
        return self.ge.b2 + self.ge.kappa2 * values * D[0]

    @property
    def origin(self) -> Any:
        """Where ζ = 0 lies: s², the place of the atom and a lower bound of the spectrum."""
        return self.ge.s2

    @property
    def slowest(self) -> Any:
        """A lower bound of the eigenvalues that learn."""
        return self.ge.s2

    @property
    def bound(self) -> Any:
        """An upper bound of the spectrum in ζ, from the norms of the two products that make up U."""
        features = (1.0 + jnp.sqrt(self.psi_p)) ** 2
        column = self.ge.kappa2 * jnp.max(self._components[0]) * features + self.ge.v2
        return column * (1.0 + jnp.sqrt(self.psi_p / self.psi_n)) ** 2 + self.ge.b2 * features

    @property
    def _rank(self) -> Any:
        """Columns of U over d: d where σ has a linear part, n where it has another."""
        return jnp.where(self.ge.b2 > 0, 1.0, 0.0) + jnp.where(self.ge.v2 > 0, self.psi_n, 0.0)

    @property
    def parts(self) -> Any:
        """Masses of the population, sample and satellite parts, from the top of the spectrum; exact."""
        both = jnp.minimum(self.psi_n, self.psi_p)
        population = jnp.where(self.ge.b2 > 0, jnp.minimum(1.0, both), 0.0)
        sample = jnp.where(self.ge.v2 > 0, both - population, 0.0)
        rest = jnp.minimum(self.psi_p, self._rank) - population - sample
        return jnp.stack([population, sample, jnp.maximum(0.0, rest)]) / self.psi_p

    @property
    def most_bulks(self) -> int:
        """How many bulks there may be."""
        return 2 * self._components[0].shape[-1] + 1

    @property
    def levels(self) -> Any:
        """Masses, counted from the top, at which the spectrum may have a gap, from the signs in equation (4).

        To the right of the atom q < 0 in a gap. T is linear in λ and rises with it while 1+δ > 0, so the
        negative 1+ψ_pTq are those of the largest λ's; where 1+δ < 0 they are those of the smallest, with ψ_n on top.
        """
        values, weights = self._components
        order = jnp.argsort(-values)
        largest = jnp.cumsum(weights[order])
        smallest = jnp.cumsum(weights[order[::-1]])
        return jnp.concatenate([largest, self.psi_n + smallest, self.psi_n[None]]) / self.psi_p

    @property
    def landmarks(self) -> Any:
        """Where bulks lie to leading order in 1/ψ; they only save the search a few steps."""
        signal = self.values if self.values.size <= 8 else jnp.stack([self.values.min(), self.values.max()])
        ratio = self.psi_p / self.psi_n
        sample = self.ge.v2 * jnp.stack([(1.0 - jnp.sqrt(ratio)) ** 2, 1.0 + ratio])
        satellite = self.psi_p * self.ge.b2
        return jnp.concatenate([self.psi_p * self.ge.kappa2 * signal + satellite, sample, satellite[None]])
