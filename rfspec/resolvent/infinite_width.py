r"""The equations for ψ_p → ∞ at fixed training time, where features are those of a kernel.

In units of ψ_p the d + n eigenvalues of U that learn stay finite, and all others are at 0. With
z = ψ_pẑ and q = q̂/ψ_p

    q̂ = -1/ẑ,    δ = (1/ψ_n) [ v²q̂ + κ² ∫ dρ_Σ(λ) λq̂/(1 + Tq̂) ],    T = b² + κ²λD              (38)

and of (12) to (14), with ψ_p = 1 and J = 0, what is of leading order in 1/ψ_p: x = -Q̂ι, where ι
is that of the source alone. In Ũ it is not of leading order. s² does not matter: what features have
of single draws of the noise averages out. arXiv 2608.23938 has the losses for Σ = I in closed form.
Beyond arXiv 2505.17638.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from ..numerics.holomorphic import solve_small
from ..numerics.types import Number, Real
from .all_draws import RandomFeatureEquations
from .averages import Averages
from .columns import Kind, Point, Powers, Response, Source, along, combination, product
from .interface import Equations


class InfinitelyWide(RandomFeatureEquations):
    """The equations in u = (q̂, δ), with ψ_p = 1; see ``Equations``."""

    def balance(
        self, u: tuple[Number, Number], averages: Averages, zeta: Number
    ) -> tuple[Number, Number]:
        q, delta = u
        by_value = averages[3]
        of_columns = q / self.psi_n * (self.ge.v2 + self.ge.kappa2 * by_value)
        return -zeta * q - 1.0, of_columns - delta  # (38)

    def _responses(
        self,
        one: Point,
        two: Point,
        sources: Sequence[Source],
        kinds: Sequence[Kind] | None = None,
    ) -> list[Response]:
        Q, (I, _) = one.q * two.q, self._sums(one, two)  # noqa: E741
        kinds = self._kinds if kinds is None else kinds
        weights = [
            kind.fraction * a * b / self._columns
            for kind, a, b in zip(kinds, one.D, two.D, strict=False)
        ]
        return [_response(Q, I, list(zip(weights, kinds, strict=True)), s) for s in sources]

    @property
    def population(self) -> Source:
        return Source(0.0, {0: self.ge.b2, 1: self.ge.kappa2})

    @property
    def origin(self) -> Real:
        return 0.0 * self.psi_n

    @property
    def slowest_mode(self) -> Real:
        # a 2×2 block of each eigenvalue of the sample covariance has the determinant b²v²/ψ_n
        of_sample = self.ge.v2 / self.psi_n
        both = of_sample * self.ge.b2 / self.upper_bound
        return jnp.where(both > 0, both, jnp.maximum(of_sample, self.ge.b2))

    def _bound_for(self, value: Real) -> Real:
        ge = self.ge
        of_data = ge.kappa2 * value * (1.0 + 1.0 / jnp.sqrt(self.psi_n)) ** 2
        return of_data + ge.v2 / self.psi_n + ge.b2

    @staticmethod
    def numbers(eq: Equations) -> tuple[Any, ...]:
        ge = eq.ge
        return eq.psi_n, eq.values, eq.weights, ge.kappa2, ge.b2, ge.v2


def _response(
    Q: Number,
    I: Any,  # noqa: E741
    weighed: list[tuple[Number, Kind]],
    source: Source,
) -> Response:
    # (13) and (14) without what is of higher order in 1/ψ_p
    x = -Q * source.identity
    pairs = lambda a, b: Q * along(product(a, b), I)

    def right(kind: Kind) -> Number:
        own = kind.covariance.identity + along(kind.covariance.features, I)
        return pairs(kind.covariance.features, source.features) - x * own

    one = jnp.ones_like(Q)
    columns = [
        tuple(
            float(i == j) * one - w * pairs(kind.covariance.features, by.covariance.features)
            for i, (w, kind) in enumerate(weighed)
        )
        for j, (_, by) in enumerate(weighed)
    ]
    phi = solve_small(columns, tuple(w * right(kind) for w, kind in weighed)) if weighed else ()
    dressed: list[tuple[Any, Powers]] = [(1.0, source.features)]
    dressed += [(f, kind.covariance.features) for f, (_, kind) in zip(phi, weighed, strict=True)]
    a = combination(dressed)
    m0, m1, m2 = (pairs(a, {k: 1.0}) - x * I[k] for k in range(3))
    return Response(-x, (m0, m1, m2), tuple(phi))
