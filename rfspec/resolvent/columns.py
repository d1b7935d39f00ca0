r"""What columns explain of a target: linear regression on correlated columns,
given the solution of their equations.

Features come in columns of a few kinds i, a share f_i of N, which given F have covariance C_i =
ι_iI + β_iFFᵀ + γ_iFΣFᵀ and covariance bFn_i with a target of variance y_i, n_i a polynomial in Σ; U
is the mean of their squares over the kinds, plus what is known without fluctuation, and V their
mean correlation with the target, plus bF·fixed. With D_i = 1/(1+δ_i), δ_i = Tr C_i(U - z)⁻¹/N, and
V̄ = bFP, P = fixed + Σ_i f_iD_in_i, removing one column at a time gives for d → ∞

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


def along(a: Powers, moments: tuple[Number, ...]) -> Number:
    """Σ_k a_km_k."""
    return sum(value * moments[k] for k, value in a.items())


def product(a: Powers, b: Powers) -> Powers:
    found: defaultdict[int, Any] = defaultdict(int)
    for j, left in a.items():
        for k, right in b.items():
            found[j + k] += left * right
    return found


def combination(terms: Sequence[tuple[Any, Powers]]) -> Powers:
    """Σ_i f_ia_i of pairs (f_i, a_i)."""
    found: defaultdict[int, Any] = defaultdict(int)
    for factor, a in terms:
        for k, value in a.items():
            found[k] += factor * value
    return found


class Source(NamedTuple):
    """ιI + F(Σ_k a_kΣᵏ)Fᵀ: ι and a."""

    identity: Real
    features: Powers


IDENTITY = Source(1.0, {})


class Kind(NamedTuple):
    """Columns of one kind: f_i, C_i, n_i and y_i; n_i is None where they know nothing of y."""

    share: Real
    covariance: Source
    cross: Powers | None = None
    variance: Real | None = None


class Response(NamedTuple):
    """Of a source M: Tr[M]/p, Tr FΣᵏFᵀ[M]/p for k = 0, 1, 2, and φ_i."""

    trace: Number
    moments: tuple[Number, Number, Number]
    weights: tuple[Number, ...]


class Point(NamedTuple):
    """A solution with D_i and 1 - D_i, T(λ) and 1/(1 + ψ_pTq) at the eigenvalues or nodes of Σ, and
    Tr FΣᵏFᵀ(U - z)⁻¹/p for k = 0, 1, 2; of a continuous law 1 + ψ_pTq at the ends of its intervals.
    """

    q: Numbers
    D: tuple[Numbers, ...]
    fluctuating: tuple[Numbers, ...]
    T: Numbers
    g: Numbers
    moments: tuple[Numbers, Numbers, Numbers]
    ends: tuple[Numbers, Numbers] | None


class Pair(NamedTuple):
    """Two points (z1, z2): Q = q1q2, D_i(z1)D_i(z2), I_k = ∫dρ_Σ λᵏ/(e1e2), J = ∫dρ_Σ T1T2/(e1e2),
    e = 1 + ψ_pTq.
    """

    psi_p: Real
    columns: Real  # N/d
    Q: Number
    D: tuple[Number, ...]
    I: tuple[Number, Number, Number, Number]  # noqa: E741
    J: Number

    def responses(self, kinds: Sequence[Kind], sources: Sequence[Source]) -> list[Response]:
        r"""Responses to sources, from a linear system in x = -Tr[M]/p and the φ_i.

        M' = M + Σ_jφ_jC_j = ι'I + β'FFᵀ + γ'FΣFᵀ takes the fluctuations of U into account, and
        then, written for polynomials of degree 1,

            x (ψ_pJQ - 1) = Q (ι' + β'I_0 + γ'I_1)                                              (12)
            φ_i = (p/N) f_iD_i [ -ι_ix + β_iK_0 + γ_iK_1 ]                                      (13)
            K_k = Tr FΣᵏFᵀ[M]/p = ψ_pQ (β'I_k + γ'I_{k+1}) - x I_k                              (14)
        """
        I, size = self.I, self.psi_p * self.Q  # noqa: E741
        weights = [
            self.psi_p / self.columns * kind.share * D
            for kind, D in zip(kinds, self.D, strict=True)
        ]
        weighed = list(zip(weights, kinds, strict=True))

        def at_once(source: Source) -> Number:
            """The right side of (12) for M in place of M'."""
            return self.Q * (source.identity + along(source.features, I))

        def caught(kind: Kind, source: Source) -> Number:
            """β_iK_0 + γ_iK_1 of (13) for M in place of M', at x = 0."""
            return size * along(product(kind.covariance.features, source.features), I)

        def lost(kind: Kind) -> Number:
            """What -x is multiplied by in (13), with K_k of (14)."""
            return kind.covariance.identity + along(kind.covariance.features, I)

        one = jnp.ones_like(self.Q)
        system = [(size * self.J - 1.0, *(w * lost(kind) for w, kind in weighed))]
        for j, by in enumerate(kinds):
            rows = [
                float(i == j) * one - w * caught(kind, by.covariance)
                for i, (w, kind) in enumerate(weighed)
            ]
            system.append((-at_once(by.covariance), *rows))
        found = []
        for source in sources:
            right = at_once(source), *(w * caught(kind, source) for w, kind in weighed)
            x, *phi = solve_small(system, right)  # (12), (13)
            all_of_it = [
                (1.0, source),
                *((f, kind.covariance) for f, kind in zip(phi, kinds, strict=True)),
            ]
            a = combination([(f, part.features) for f, part in all_of_it])  # of M'
            m0, m1, m2 = (size * along(a, I[k:]) - x * I[k] for k in range(3))  # (14)
            found.append(Response(-x, (m0, m1, m2), tuple(phi)))
        return found


class Target(NamedTuple):
    """bF·fixed, the part of V that does not fluctuate;
    population covariance bF·fresh of features and target; b²ψ_p.
    """

    fixed: Powers
    fresh: Powers
    scale: Real


def _mean(target: Target, kinds: Sequence[Kind], D: tuple[Number, ...]) -> Powers:
    """P."""
    own = [
        (kind.share * d, kind.cross)
        for kind, d in zip(kinds, D, strict=True)
        if kind.cross is not None
    ]
    return combination([(1.0, target.fixed), *own])


def explained(target: Target, kinds: Sequence[Kind], point: Point) -> tuple[Number, Number]:
    """Tr Vᵀ(U - z)⁻¹V/d of (15), and Tr Ṽᵀ(U - z)⁻¹V/d for the population's Ṽ."""
    mean, pairs = _mean(target, kinds, point.D), zip(kinds, point.fluctuating, strict=True)
    own = sum(kind.share * rest * kind.variance for kind, rest in pairs if kind.cross is not None)
    sample = target.scale * along(product(mean, mean), point.moments) + own  # (15)
    return sample, target.scale * along(product(target.fresh, mean), point.moments)


def explained_twice(
    target: Target,
    kinds: Sequence[Kind],
    D: tuple[tuple[Number, ...], tuple[Number, ...]],
    moments: tuple[tuple[Number, Number, Number], tuple[Number, Number, Number]],
    response: Response,
) -> Number:
    """Tr Vᵀ(U - z1)⁻¹M(U - z2)⁻¹V/d of (16), D and moments at both arguments,
    and the response to M.
    """
    means = [_mean(target, kinds, d) for d in D]
    total = target.scale * along(product(*means), response.moments)
    for kind, phi in zip(kinds, response.weights, strict=True):
        if kind.cross is None:
            continue
        known = sum(
            along(product(kind.cross, mean), m) for mean, m in zip(means, moments, strict=True)
        )
        total += phi * (kind.variance - target.scale * known)  # (16)
    return total
