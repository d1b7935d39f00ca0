r"""What columns explain of a target: linear regression on correlated columns, given the solution of their equations.

Features come in columns of a few kinds i, a share f_i of N, which given F have covariance C_i = ι_iI + β_iFFᵀ + γ_iFΣFᵀ
and covariance b F(n_i0 + n_i1Σ) with a target of variance y_i; U is the mean of their squares over the kinds, plus
what is known without fluctuation, and V their mean correlation with the target, plus bF·(fixed_0 + fixed_1Σ). With
D_i = 1/(1+δ_i), δ_i = Tr C_i(U - z)⁻¹/N, and V̄ = bF(P_0 + P_1Σ), P_k = fixed_k + Σ_i f_iD_in_ik, removing one column
at a time gives for d → ∞

    Vᵀ(U - z)⁻¹V         ≃ Σ_i f_i(1 - D_i) y_i + V̄ᵀ(U - z)⁻¹V̄                                          (15)
    Vᵀ(U - z1)⁻¹M(U - z2)⁻¹V ≃ V̄1ᵀ[M]V̄2 + Σ_i φ_i { y_i - N_iᵀ(U - z1)⁻¹V̄1 - N_iᵀ(U - z2)⁻¹V̄2 }          (16)

    [M] = (U - z1)⁻¹M(U - z2)⁻¹,    φ_i = f_i D_i(z1) D_i(z2) Tr C_i[M]/N.

(16) is the derivative of (15) in a source M, for 2×2-matrix-valued unknowns. Beyond arXiv 2505.17638.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp

from ..numerics.holomorphic import solve_small

Source = tuple[Any, Any, Any]  # (ι, β, γ) of ιI + βFFᵀ + γFΣFᵀ


class Kind(NamedTuple):
    """Columns of one kind: f_i, C_i, (n_i0, n_i1) and y_i; the last two None where they know nothing of y."""

    share: Any
    covariance: Source
    cross: tuple[Any, Any] | None = None
    variance: Any = None


class Response(NamedTuple):
    """Of a source M: Tr[M]/p, Tr FΣᵏFᵀ[M]/p for k = 0, 1, 2, and φ_i."""

    trace: Any
    moments: tuple[Any, Any, Any]
    weights: tuple[Any, ...]


def _times(a: Any, b: Any) -> Any:
    """a·b; nothing is computed where a factor is the literal 0."""
    return 0.0 if any(isinstance(x, float) and x == 0.0 for x in (a, b)) else a * b


def _plus(*terms: Any) -> Any:
    total: Any = 0.0
    for term in terms:
        if not (isinstance(term, float) and term == 0.0):
            total = term if isinstance(total, float) and total == 0.0 else total + term
    return total


def or_zero(a: Any) -> Any:
    """The literal 0 for None: what is known before compiling not to be there."""
    return 0.0 if a is None else a


class Point(NamedTuple):
    """A solution with D_i and 1 - D_i, T(λ) and 1/(1 + ψ_pTq) at the eigenvalues or nodes of Σ, and Tr FΣᵏFᵀ(U - z)⁻¹/p
    for k = 0, 1, 2; of a continuous law 1 + ψ_pTq at the ends of its intervals.
    """

    q: Any
    D: tuple[Any, ...]
    fluctuating: tuple[Any, ...]
    T: Any
    g: Any
    moments: tuple[Any, Any, Any]
    ends: Any


class Pair(NamedTuple):
    """Two points (z1, z2): Q = q1q2, D_i(z1)D_i(z2), I_k = ∫dρ_Σ λᵏ/(e1e2), J = ∫dρ_Σ T1T2/(e1e2), e = 1 + ψ_pTq."""

    psi_p: Any
    columns: Any  # N/d
    Q: Any
    D: tuple[Any, ...]
    I: tuple[Any, Any, Any, Any]  # noqa: E741
    J: Any

    def responses(self, kinds: Sequence[Kind], sources: Sequence[Source]) -> list[Response]:
        r"""Responses to sources, from a linear system in x = -Tr[M]/p and the φ_i.

        M' = M + Σ_jφ_jC_j = ι'I + β'FFᵀ + γ'FΣFᵀ takes the fluctuations of U into account, and then

            x (ψ_pJQ - 1) = Q (ι' + β'I_0 + γ'I_1)                                                     (12)
            φ_i = (p/N) f_iD_i [ -ι_ix + β_iK_0 + γ_iK_1 ]                                             (13)
            K_k = Tr FΣᵏFᵀ[M]/p = ψ_pQ (β'I_k + γ'I_{k+1}) - x I_k                                      (14)
        """
        I, size = self.I, self.psi_p * self.Q  # noqa: E741
        weight = [self.psi_p / self.columns * kind.share * D for kind, D in zip(kinds, self.D, strict=True)]

        def first(source: Source) -> Any:
            iota, beta, gamma = source
            return _times(self.Q, _plus(iota, _times(beta, I[0]), _times(gamma, I[1])))

        def direct(kind: Kind, source: Source) -> Any:
            """β_iK_0 + γ_iK_1 at x = 0."""
            (_, b, g), (_, beta, gamma) = kind.covariance, source
            low = _times(b, _plus(_times(beta, I[0]), _times(gamma, I[1])))
            return _times(size, _plus(low, _times(g, _plus(_times(beta, I[1]), _times(gamma, I[2])))))

        one = jnp.ones_like(self.Q)
        columns: list[Any] = [
            [
                self.psi_p * self.J * self.Q - 1.0,
                *(
                    w * _plus(k.covariance[0], _times(k.covariance[1], I[0]), _times(k.covariance[2], I[1]))
                    for w, k in zip(weight, kinds, strict=True)
                ),
            ]
        ]
        for j, by in enumerate(kinds):
            rows = [
                _plus(one if i == j else 0.0, _times(-w, direct(k, by.covariance)))
                for i, (w, k) in enumerate(zip(weight, kinds, strict=True))
            ]
            columns.append([_times(-1.0, first(by.covariance)), *rows])
        found = []
        for source in sources:
            right = (first(source), *(_times(w, direct(k, source)) for w, k in zip(weight, kinds, strict=True)))
            x, *phi = solve_small([tuple(c) for c in columns], right)  # (12), (13)
            beta, gamma = (
                _plus(source[s], *(_times(f, k.covariance[s]) for f, k in zip(phi, kinds, strict=True))) for s in (1, 2)
            )
            moments = tuple(
                _plus(_times(size, _plus(_times(beta, I[k]), _times(gamma, I[k + 1]))), _times(-x, I[k]))
                for k in range(3)
            )
            found.append(Response(-x, moments, tuple(phi)))  # moments: (14)
        return found


class Target(NamedTuple):
    """bF(fixed_0 + fixed_1Σ), the part of V that does not fluctuate; population covariance bF(fresh_0 + fresh_1Σ) of
    features and target; b²ψ_p."""

    fixed: tuple[Any, Any]
    fresh: tuple[Any, Any]
    scale: Any


def _quadratic(a: tuple[Any, Any], b: tuple[Any, Any], moments: Sequence[Any]) -> Any:
    """Σ_jk a_jb_k m_{j+k}."""
    middle = _plus(_times(a[0], b[1]), _times(a[1], b[0]))
    return _plus(
        _times(_times(a[0], b[0]), moments[0]), _times(middle, moments[1]), _times(_times(a[1], b[1]), moments[2])
    )


def _mean(target: Target, kinds: Sequence[Kind], D: Sequence[Any]) -> tuple[Any, Any]:
    """(P_0, P_1)."""
    known = [(_times(k.share, d), k.cross) for k, d in zip(kinds, D, strict=True) if k.cross is not None]
    return tuple(_plus(target.fixed[i], *(_times(f, n[i]) for f, n in known)) for i in (0, 1))


def explained(target: Target, kinds: Sequence[Kind], point: Point) -> tuple[Any, Any]:
    """Tr Vᵀ(U - z)⁻¹V/d of (15), and Tr Ṽᵀ(U - z)⁻¹V/d for the population's Ṽ."""
    mean, pairs = _mean(target, kinds, point.D), zip(kinds, point.fluctuating, strict=True)
    own = [_times(_times(k.share, rest), k.variance) for k, rest in pairs if k.cross is not None]
    sample = _plus(_times(target.scale, _quadratic(mean, mean, point.moments)), *own)  # (15)
    return sample, _times(target.scale, _quadratic(target.fresh, mean, point.moments))


def explained_twice(
    target: Target,
    kinds: Sequence[Kind],
    D: tuple[Sequence[Any], Sequence[Any]],
    moments: tuple[Sequence[Any], Sequence[Any]],
    response: Response,
) -> Any:
    """Tr Vᵀ(U - z1)⁻¹M(U - z2)⁻¹V/d of (16), D and moments at both arguments, and the response to M."""
    means = [_mean(target, kinds, d) for d in D]
    terms = [_times(target.scale, _quadratic(means[0], means[1], response.moments))]
    for kind, phi in zip(kinds, response.weights, strict=True):
        if kind.cross is None:
            continue
        known = _plus(*(_quadratic(kind.cross, mean, m) for mean, m in zip(means, moments, strict=True)))
        terms.append(_times(phi, _plus(kind.variance, _times(-target.scale, known))))  # (16)
    return _plus(*terms)
