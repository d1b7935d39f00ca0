r"""What columns explain of a target, by linear regression on correlated columns.

Features come in columns of a few kinds i, and kind i is a fraction f_i of all N. Given F, a column
has covariance C_i = ι_iI + β_iFFᵀ + γ_iFΣFᵀ, and covariance bFn_i with a target of variance y_i,
where n_i is a polynomial in Σ. U is the mean square of the columns plus a part that does not
fluctuate. V is their mean correlation with the target plus bF·fixed. Let D_i = 1/(1+δ_i),
δ_i = Tr C_i(U - z)⁻¹/N, V̄ = bFP and P = fixed + Σ_i f_iD_in_i. Removing one column at a time gives
for d → ∞

    Vᵀ(U - z)⁻¹V         ≃ Σ_i f_i(1 - D_i) y_i + V̄ᵀ(U - z)⁻¹V̄                                (15)
    Vᵀ(U - z1)⁻¹M(U - z2)⁻¹V ≃ V̄1ᵀ[M]V̄2
                               + Σ_i φ_i { y_i - N_iᵀ(U - z1)⁻¹V̄1 - N_iᵀ(U - z2)⁻¹V̄2 }          (16)

    [M] = (U - z1)⁻¹M(U - z2)⁻¹,    φ_i = f_i D_i(z1) D_i(z2) Tr C_i[M]/N.

(16) is the derivative of (15) in a source M, for 2×2-matrix-valued unknowns. Beyond arXiv
2505.17638.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp

from ..numerics.holomorphic import solve_small
from ..numerics.types import Number, Numbers, Real

# a polynomial Σ_k a_kΣᵏ, {k: a_k}; no entry where there is no term, and nothing to compute
Powers = Mapping[int, Any]


def along(a: Powers, moments: Any) -> Number:  # Σ_k a_km_k
    return sum(value * moments[k] for k, value in a.items())


def product(a: Powers, b: Powers) -> Powers:
    powers: defaultdict[int, Any] = defaultdict(int)
    for j, left in a.items():
        for k, right in b.items():
            powers[j + k] += left * right
    return powers


def combination(terms: Sequence[tuple[Any, Powers]]) -> Powers:
    # Σ_i f_ia_i of pairs (f_i, a_i)
    powers: defaultdict[int, Any] = defaultdict(int)
    for factor, a in terms:
        for k, value in a.items():
            powers[k] += factor * value
    return powers


class Source(NamedTuple):
    """A matrix ιI + F(Σ_k a_kΣᵏ)Fᵀ, as ι and a."""

    identity: Real
    features: Powers


IDENTITY = Source(1.0, {})


class Kind(NamedTuple):
    """Columns of one kind: f_i, C_i, n_i and y_i.

    n_i is None where the columns are independent of the target.
    """

    fraction: Real
    covariance: Source
    cross: Powers | None = None
    variance: Real | None = None


class Response(NamedTuple):
    """The response to a source M: Tr [M]/p, Tr FΣᵏFᵀ[M]/p for k = 0, 1, 2, and φ_i."""

    trace: Number
    moments: tuple[Number, Number, Number]
    weights: tuple[Number, ...]


class Point(NamedTuple):
    """A solution at one z, with what traces of (U - z)⁻¹ are made of."""

    q: Numbers
    D: tuple[Numbers, ...]
    # 1 - D_i
    fluctuating: tuple[Numbers, ...]
    # T(λ) and 1/(1 + ψ_pTq) at the eigenvalues or nodes of Σ
    T: Numbers
    g: Numbers
    # Tr FΣᵏFᵀ(U - z)⁻¹/p for k = 0, 1, 2
    moments: tuple[Numbers, Numbers, Numbers]
    # 1 + ψ_pTq at the ends of the intervals of a continuous law
    ends: tuple[Numbers, Numbers] | None


class Pair(NamedTuple):
    """Products and averages at two points (z1, z2), with e = 1 + ψ_pTq at each."""

    psi_p: Real
    # N/d
    columns: Real
    # q1q2
    Q: Number
    # D_i(z1)D_i(z2)
    D: tuple[Number, ...]
    # ∫ dρ_Σ λᵏ/(e1e2) for k = 0 to 3, by k
    I: Mapping[int, Number]  # noqa: E741
    # ∫ dρ_Σ T1T2/(e1e2)
    J: Number

    def responses(self, kinds: Sequence[Kind], sources: Sequence[Source]) -> list[Response]:
        r"""Responses to sources, from a linear system in x = -Tr [M]/p and the φ_i.

        The fluctuations of U turn M into M' = M + Σ_jφ_jC_j = ι'I + β'FFᵀ + γ'FΣFᵀ. For polynomials
        of degree 1

            x (ψ_pJQ - 1) = Q (ι' + β'I_0 + γ'I_1)                                              (12)
            φ_i = (p/N) f_iD_i [ -ι_ix + β_iK_0 + γ_iK_1 ]                                      (13)
            K_k = Tr FΣᵏFᵀ[M]/p = ψ_pQ (β'I_k + γ'I_{k+1}) - x I_k                              (14)
        """
        I, size = self.I, self.psi_p * self.Q  # noqa: E741
        weights = [
            self.psi_p / self.columns * kind.fraction * D
            for kind, D in zip(kinds, self.D, strict=True)
        ]
        weighed = list(zip(weights, kinds, strict=True))

        # the right side of (12), for M in place of M'
        def right_of_x(source: Source) -> Number:
            return self.Q * (source.identity + along(source.features, I))

        # β_iK_0 + γ_iK_1 of (13), for M in place of M' and at x = 0
        def right_of_phi(kind: Kind, source: Source) -> Number:
            return size * along(product(kind.covariance.features, source.features), I)

        # the factor of -x in (13), with K_k of (14)
        def factor_of_x(kind: Kind) -> Number:
            return kind.covariance.identity + along(kind.covariance.features, I)

        one = jnp.ones_like(self.Q)
        columns = [(size * self.J - 1.0, *(w * factor_of_x(kind) for w, kind in weighed))]
        for j, by in enumerate(kinds):
            rows = [
                float(i == j) * one - w * right_of_phi(kind, by.covariance)
                for i, (w, kind) in enumerate(weighed)
            ]
            columns.append((-right_of_x(by.covariance), *rows))
        responses = []
        for source in sources:
            right = right_of_x(source), *(w * right_of_phi(kind, source) for w, kind in weighed)
            x, *phi = solve_small(columns, right)  # (12), (13)
            dressed = [
                (1.0, source),
                *((f, kind.covariance) for f, kind in zip(phi, kinds, strict=True)),
            ]
            a = combination([(f, part.features) for f, part in dressed])  # of M'
            m0, m1, m2 = (
                size * along(product(a, {k: 1.0}), I) - x * I[k] for k in range(3)
            )  # (14)
            responses.append(Response(-x, (m0, m1, m2), tuple(phi)))
        return responses


class Target(NamedTuple):
    """What the regression has to know of a target."""

    # V contains bF·fixed, which does not fluctuate
    fixed: Powers
    # bF·fresh is the population covariance of features and target
    fresh: Powers
    # b²ψ_p
    scale: Real


def weighed(target: Target, kinds: Sequence[Kind], D: tuple[Number, ...]) -> Powers:
    """P, what is left of V when each column counts with its weight."""
    by_columns = [
        (kind.fraction * d, kind.cross)
        for kind, d in zip(kinds, D, strict=True)
        if kind.cross is not None
    ]
    return combination([(1.0, target.fixed), *by_columns])


def explained(target: Target, kinds: Sequence[Kind], point: Point) -> tuple[Number, Number]:
    """Tr Vᵀ(U - z)⁻¹V/d of (15), and Tr Ṽᵀ(U - z)⁻¹V/d for the population's Ṽ."""
    P, pairs = weighed(target, kinds, point.D), zip(kinds, point.fluctuating, strict=True)
    by_columns = sum(
        kind.fraction * one_minus_D * kind.variance
        for kind, one_minus_D in pairs
        if kind.cross is not None
    )
    sample = target.scale * along(product(P, P), point.moments) + by_columns  # (15)
    return sample, target.scale * along(product(target.fresh, P), point.moments)


def target_two_point(
    scale: Real,
    kinds: Sequence[Kind],
    P: tuple[Powers, Powers],
    moments: tuple[tuple[Number, Number, Number], tuple[Number, Number, Number]],
    response: Response,
) -> Number:
    """Tr Vᵀ(U - z1)⁻¹M(U - z2)⁻¹V/d of (16), from P and moments at z1 and z2."""
    total = scale * along(product(*P), response.moments)
    for kind, phi in zip(kinds, response.weights, strict=True):
        if kind.cross is None:
            continue
        cross = sum(along(product(kind.cross, p), m) for p, m in zip(P, moments, strict=True))
        total += phi * (kind.variance - scale * cross)  # (16)
    return total
