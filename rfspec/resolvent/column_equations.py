"""What the equations of all column models share.

These are the counting of ranks, the distribution function, and one- and two-point functions.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import jax.numpy as jnp
import numpy as np

from ..numerics.holomorphic import Unknowns, reciprocal
from ..numerics.types import Number, Numbers, Real, Truths, Vector, Whole, Wholes
from .averages import AveragedEquations, angle
from .columns import (
    Kind,
    Pair,
    Point,
    Powers,
    Response,
    Source,
    Target,
    explained,
    target_two_point,
    weighed,
)
from .interface import Equations

LIGHT = 1e-10  # weight in Σ of eigenvalues that no stopping time depends on
SAME = 1e-13  # difference of two sums of ranks, relative to its terms, that is rounding


class ColumnEquations(AveragedEquations):
    """Equations of features that come in columns; q is the first of their unknowns.

    A theory adds its balance and start, what is known of it exactly, and `_T`, `_kinds`,
    `_columns`, `_fixed` and `_rank`.
    """

    def _signal(self, trace: Real) -> Real:  # c_x² Tr Σ/d
        return 0.0 if self.target.signal is None else self.target.signal**2 * trace

    @property
    def mean(self) -> Real:
        return self.ge.kappa2 * self._trace + self.ge.b2 + self.ge.v2 + self.ge.s2

    # The kinds of columns that U is made of.
    @property
    @abstractmethod
    def _kinds(self) -> tuple[Kind, ...]: ...

    # N/d, with N the number of all columns.
    @property
    @abstractmethod
    def _columns(self) -> Real: ...

    # The part of V that does not fluctuate, divided by bF.
    @property
    @abstractmethod
    def _fixed(self) -> Powers: ...

    # The rank of U - origin over d, where p is large.
    @property
    @abstractmethod
    def _rank(self) -> Real: ...

    # Counting. In a gap all unknowns are real, and the number of eigenvalues above it is a sum of
    # numbers of columns and of weights of Σ.

    # Numbers of columns over d, one for each δ.
    @property
    @abstractmethod
    def _column_ranks(self) -> tuple[Real, ...]: ...

    @property
    def ranks(self) -> Vector:
        """The numbers, over d, of which the count of eigenvalues in any part is a sum.

        They are the weights of the intervals and eigenvalues of Σ, the numbers of columns, and ψ_p.
        """
        return jnp.concatenate([self._components[1], jnp.stack([*self._column_ranks, self.psi_p])])

    def ranks_above(self, u: Unknowns) -> Vector:
        """Which ranks, 1 or 0, lie above a gap.

        To the right of the atom they are the weights k with 1 + ψ_pT_kq < 0 and the columns with
        1 + δ < 0. To the left of the whole spectrum, where q > 0, it is ψ_p alone.
        """
        T = self._T(self._D(u), self._components[0])
        negative = [
            (1.0 + self.psi_p * T * u[0]).real < 0,
            jnp.stack([v.real < -1.0 for v in u[1:]]),
        ]
        everything = u[0].real > 0
        signs = jnp.append(jnp.concatenate(negative) & ~everything, everything)
        return signs.astype(float)

    def excess(self, a: Vector, b: Vector) -> Real:
        """How much more the ranks a add up to than the ranks b; 0 where they differ by rounding.

        What both contain is never added, so no weight is too small to count.
        """
        terms = self.ranks * (a - b)
        total = jnp.sum(terms)
        return jnp.where(jnp.abs(total) <= SAME * jnp.sum(jnp.abs(terms)), 0.0, total)

    def mass_of(self, ranks: Vector) -> Real:
        return jnp.sum(self.ranks * ranks) / self.psi_p

    def _lighter(self, *sets: Any) -> Vector:
        return jnp.stack(sets)[jnp.argmin(jnp.stack([jnp.sum(self.ranks * s) for s in sets]))]

    def _set(self, *, weights: Any = 0.0, columns: Any = 0.0, everything: Real = 0.0) -> Vector:
        # 1 or 0 for the weights, the columns of each kind, and ψ_p
        parts = (
            (weights, self._components[1].size),
            (columns, len(self._column_ranks)),
            (everything, 1),
        )
        return jnp.concatenate(
            [jnp.broadcast_to(jnp.asarray(a, float), (size,)) for a, size in parts]
        )

    @property
    def parts(self) -> Vector:
        ends = self.dividing
        return jnp.stack([self.excess(b, a) for a, b in pairwise(ends)]) / self.psi_p

    @property
    def levels(self) -> tuple[Vector, Wholes, Truths]:
        """Masses from the top at which there may be a gap, their numbers, and which can occur.

        The numbers are those of ``level_number``. To the right of the atom q < 0 in a gap. T is
        linear in λ. While D_1 > 0 it rises, so the negative 1 + ψ_pTq are those of the largest λ's.
        Where 1 + δ_1 < 0 they are those of the smallest λ's, and ψ_n is added. A gap never comes
        between equal λ's.
        """
        values, weights = self._components
        order = jnp.argsort(-values)
        values, weights = values[order], weights[order]
        apart = jnp.concatenate([jnp.ones(1, bool), values[1:] != values[:-1], jnp.ones(1, bool)])
        total = lambda w: jnp.concatenate([jnp.zeros(1), jnp.cumsum(w)])
        sums, possible = (total(weights), total(weights[::-1])), (apart, apart[::-1])
        first, *others = self._column_ranks
        above: Any = [0.0]
        for rank in others:
            above = [*above, *(a + rank for a in above)]
        mass = jnp.concatenate(
            [s + f + a for a in above for s, f in zip(sums, (0.0, first), strict=True)]
        )
        return (
            mass / self.psi_p,
            jnp.arange(mass.size),
            jnp.tile(jnp.concatenate(possible), len(above)),
        )

    def level_number(self, ranks: Vector) -> Whole:
        """The number of a set of ranks in a gap: the count of its weights, and which columns."""
        size = self._components[1].size
        block = 2.0 ** np.arange(len(self._column_ranks))
        everything = jnp.where(ranks[-1] > 0, -1.0, 0.0)
        count = jnp.sum(ranks[:size]) + (size + 1) * jnp.sum(block * ranks[size:-1]) + everything
        return count.astype(int)

    def tail(self, u: Unknowns, zeta: Real) -> Real:
        r"""Share of the eigenvalues right of a real ζ, from the limit solution u there.

        The equations are the stationarity of Φ in the unknowns, with dΦ/dζ = -q. So with N_i
        columns of kind i

            1 - F(ζ) = (1/π) [ arg(-q̄) + (1/ψ_p) ∫ dρ_Σ arg(1+ψ_pTq)
                               + Σ_i (N_i/p) arg(1+δ_i) + Im Φ' ]                               (9)

        where every argument is 0 at ζ → ∞ and Φ' are the terms of Φ that are not logarithms. In a
        gap q and δ are real, the arguments are 0 or π, and 1 - F is a sum of ranks and of weights.

        The result has full relative accuracy: q and 1+δ have their arguments in [0, π] and
        T + 1/(ψ_pq) has its argument in [-π, 0], so that arg(1+ψ_pTq) is taken as their sum where
        it could be -π or π. No term exceeds 1 by much, and far up, where all are small, none is a
        difference.
        """
        q, *deltas = u
        columns = sum(
            rank * angle(1.0 + d) for rank, d in zip(self._column_ranks, deltas, strict=True)
        )
        counted = (self._mean_argument(u) + columns) / self.psi_p
        return (angle(-q) + counted + self._nonlogarithmic(u, zeta).imag) / jnp.pi  # (9)

    # The terms of Φ that are not logarithms.
    @abstractmethod
    def _nonlogarithmic(self, u: Unknowns, zeta: Real) -> Number: ...

    def relative_imaginary(self, u: Unknowns) -> Real:
        # 1 + ψ_pTq shows the lightest eigenvalues, at the upper ends of the intervals of a law
        tops, masses = self._components
        e_at_tops = 1.0 + self.psi_p * self._T(self._D(u), tops) * u[0]
        largest = self._largest_imaginary(e_at_tops, masses)
        if self.law is not None:  # and at their lower ends
            lower_ends = self._ends(u, self._D(u))[0]
            largest = jnp.maximum(largest, self._largest_imaginary(lower_ends, self.law.mass))
        return jnp.maximum(largest, jnp.max(jnp.stack([v.imag / jnp.abs(v) for v in u])))

    @staticmethod
    def _largest_imaginary(e: Numbers, weights: Vector) -> Real:
        return jnp.max(jnp.where(weights > 0, jnp.abs(e.imag) / jnp.abs(e), 0.0))

    def transforms(self, u: Unknowns) -> tuple[Number, Number]:
        s, r, _ = self.point(u).moments  # (8)
        return r, s

    def point(self, u: Unknowns) -> Point:
        D = self._D(u)
        T = self._T(D, self.values)
        g = reciprocal(1.0 + self.psi_p * T * u[0])
        if self.law is None:
            averages, ends = [jnp.sum(self.weights * self.values**k * g) for k in range(3)], None
        else:
            averages, ends = self._law_averages(u, D, 3), self._ends(u, D)
        m0, m1, m2 = (u[0] * average for average in averages)
        # 1 - D_i, which may be tiny
        fluctuating = tuple(delta * d for delta, d in zip(u[1:], D, strict=True))
        return Point(u[0], D, fluctuating, T, g, (m0, m1, m2), ends)

    def two_point(
        self, one: Point, two: Point, sources: Sequence[Source]
    ) -> tuple[Number, Number, Number]:
        return tuple(r.moments[0] for r in self._responses(one, two, sources))

    def explained(self, point: Point) -> tuple[Number, Number]:
        return explained(self._regression_target, self._kinds, point)

    def target_two_point(self, one: Point, two: Point, sources: Sequence[Source]) -> list[Number]:
        return self._target_two_point(one, two, sources, self._kinds)

    def _target_two_point(
        self, one: Point, two: Point, sources: Sequence[Source], kinds: Sequence[Kind]
    ) -> list[Number]:
        # where these columns, the first of all kinds, are common to both trainings
        P, moments = (self._P(one), self._P(two)), (one.moments, two.moments)
        return [
            target_two_point(self.drop_scale, kinds, P, moments, response)
            for response in self._responses(one, two, sources, kinds)
        ]

    def _P(self, point: Point) -> Powers:
        return weighed(self._regression_target, self._kinds, point.D)

    def _responses(
        self,
        one: Point,
        two: Point,
        sources: Sequence[Source],
        kinds: Sequence[Kind] | None = None,
    ) -> list[Response]:
        kinds = self._kinds if kinds is None else kinds
        D = tuple(a * b for a, b in zip(one.D, two.D, strict=True))[: len(kinds)]
        pair = Pair(self.psi_p, self._columns, one.q * two.q, D, *self._sums(one, two))
        return pair.responses(kinds, sources)

    # Independent trainings.

    # What columns of two trainings have in common that share x, but not the noise.
    @property
    def _common_kinds(self) -> tuple[Kind, ...]:
        return self._kinds

    def learnt(self, point: Point) -> Numbers:
        """b²ψ_p q P/(1 + ψ_pTq), β times what the mean over all trainings has learnt along Σ."""
        P = sum(a * self.values**k for k, a in self._P(point).items())
        return self.drop_scale * point.q * point.g * P

    def common(self, one: Point, two: Point) -> list[Number]:
        """Tr V₁ᵀ(U₁ - z1)⁻¹Ũ(U₂ - z2)⁻¹V₂/d of two trainings with the same W, [2].

        They have nothing else in common; and the same samples, but not the same noise.
        """
        through = lambda kinds: self._target_two_point(one, two, (self.population,), kinds)[0]
        return [through(()), through(self._common_kinds)]

    def _sums(self, one: Point, two: Point) -> tuple[dict[Any, Number], Number]:
        # I and J of a ``Pair``
        g = self.weights * one.g * two.g
        if self.law is not None:
            g = g * self.law.correction_of_two(one.ends, two.ends)
        powers = {k: jnp.sum(self.values**k * g) for k in range(4)}
        return powers, jnp.sum(one.T * two.T * g)

    @property
    def _regression_target(self) -> Target:
        fresh: Powers = (
            {0: self.target.noise} if self.slope is None else {0: self.target.noise, 1: self.slope}
        )
        return Target(self._fixed, fresh, self.drop_scale)

    @property
    def population(self) -> Source:
        # Ũ = (v² + s²)I + b²FFᵀ + κ²FΣFᵀ
        return Source(self.ge.v2 + self.ge.s2, {0: self.ge.b2, 1: self.ge.kappa2})

    @staticmethod
    def numbers(eq: Equations) -> tuple[Any, ...]:
        ge = eq.ge
        return eq.psi_p, eq.psi_n, eq.values, eq.weights, ge.kappa2, ge.b2, ge.v2, ge.s2

    @property
    def accuracy(self) -> Real:
        return self.ge.error if self.law is None else jnp.maximum(self.ge.error, self.law.error)

    # An upper bound of the spectrum in ζ, if `value` were the largest eigenvalue of Σ.
    @abstractmethod
    def _bound_for(self, value: Real) -> Real: ...

    @property
    def upper_bound(self) -> Real:
        return self._bound_for(jnp.max(self._components[0]))

    @property
    def fastest_mode(self) -> Real:
        values, weights = self._components
        return (
            self.origin
            + self._bound_for(jnp.max(jnp.where(weights > LIGHT, values, 0.0)))
            + self.decay
        )

    @property
    def top(self) -> Real:
        return self.origin + self.upper_bound + self.decay

    @property
    def atom_mass(self) -> Real:
        return jnp.maximum(0.0, 1.0 - self._rank / self.psi_p)

    @property
    def untrained(self) -> Real:
        return self._signal(self._trace) + self.target.noise**2

    @property
    def drop_scale(self) -> Real:
        """b²ψ_p, the scale of what is learnt.

        With all draws the noise is explained by b²ψ_p s(z), so its drops sum to b²ψ_p ∫ dν_s(λ)/λ.
        """
        return self.ge.b2 * self.psi_p
