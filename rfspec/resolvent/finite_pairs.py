r"""Two resolvents at finite d, with a source between them.

The equations (31) hold for unknowns that are upper triangular 2×2 matrices, with z1 and z2 on the
diagonal and -M for a source M beside it. What is off the diagonal then solves a linear system, in
which a product ab becomes a(z1)db + da b(z2).
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from ..numerics.holomorphic import eliminated, of_real
from ..numerics.types import Matrix, Number, Numbers, Real, Vector
from .features import Features

# classes of rows and of samples
ROWS = SAMPLES = 2
UNKNOWNS = ROWS + SAMPLES + 2


class FinitePoint(NamedTuple):
    """A solution at one z: q_j, D_c, D' and o, with q_m, T_m and 1/(1 + ψ_pT_mq_m)."""

    q: Numbers
    D: Numbers
    of_noise: Number
    coupling: Number
    q_m: Numbers
    T: Numbers
    g: Numbers


class Regression(NamedTuple):
    """The target c_xx + c_ξξ: c_ξ, (c_xα/β)λ_a, ψ_p times what V_aV_a counts, κ_a.

    `variances`: c_ξ², c_ξ(c_xα/β)σ_x² and c_x²σ_x², of which x and ξ have their parts.
    """

    noise: Real
    slopes: Vector
    scale: Vector
    kappa: Vector
    variances: tuple[Real, Real, Real]

    def along(self, D: Numbers, of_noise: Number, o: Number) -> Numbers:
        """V_a of (32), for D_a."""
        by_noise = self.noise * (1.0 - self.kappa * D * o) * of_noise
        return by_noise + self.slopes * (1.0 - of_noise * o) * D

    def within(self, D: Number, of_noise: Number, o: Number) -> Number:
        """What the columns of a sample tell of its own target, for the mean of D over x."""
        by_noise, both, by_data = self.variances
        return by_noise * (1.0 - of_noise) + 2.0 * both * D * o * of_noise + by_data * (1.0 - D)


class FiniteSource(NamedTuple):
    """A source, by what it is in the tails of each class of rows, and in T_m."""

    of_tails: Vector
    of_functions: Vector


class Moved(NamedTuple):
    """The parts off the diagonal: Tr FFᵀ[M]/p, and Tr Vᵀ[M]V/d."""

    of_features: Number
    of_target: Number


class Pair(NamedTuple):
    """The equations at two points."""

    features: Features
    target: Regression
    psi_p: Real
    psi_n: Real
    d: Real
    one: FinitePoint
    two: FinitePoint

    def moved(self, source: FiniteSource) -> Moved:
        """The response to a source."""
        bases = jnp.concatenate([self.features.slopes, source.of_functions[None]])
        sums = self._sums(bases)
        x = self._solution(source.of_tails, sums)
        return self._results(x, jnp.append(self._factors @ x[ROWS:], -1.0) @ bases)

    def _sums(self, bases: Matrix) -> tuple[Numbers, Numbers]:
        # what 1/q_j, and δ_c, δ' and o, have of each dq_j and of each basis of dT
        f, one, two = self.features, self.one, self.two
        g, y, theta = one.g * two.g, one.q_m * two.q_m, one.T * two.T
        rows = [
            -self.psi_p * _products(g * theta, f.on_rows, f.by_q),
            _products(g, f.on_rows, bases),
        ]
        others = [
            _products(g, f.on_others, f.by_q),
            -self.psi_p * _products(g * y, f.on_others, bases),
        ]
        return jnp.concatenate(rows, axis=1), jnp.concatenate(others, axis=1)

    # dT_m is a combination of the bases with these times (dD_1, dD_2, dD', do).
    @property
    def _factors(self) -> Numbers:
        one, two = self.one, self.two
        by_D = one.of_noise * one.coupling + two.coupling * two.of_noise
        by_noise = two.coupling * two.D + one.D * one.coupling
        by_coupling = one.of_noise * two.D + one.D * two.of_noise
        eye, zero = np.eye(SAMPLES), np.zeros((SAMPLES, 2))
        linear = [by_D * eye, by_noise[:, None], by_coupling[:, None]]
        last = np.array([[0.0] * SAMPLES + [1.0, 0.0]])
        return jnp.concatenate(
            [np.concatenate([eye, zero], axis=1), jnp.concatenate(linear, axis=1), last]
        )

    def _solution(self, of_tails: Vector, sums: tuple[Numbers, Numbers]) -> Numbers:
        # (dq_1, dq_2, dD_1, dD_2, dD', do)
        one, two, f = self.one, self.two, self.features
        ratio = self.psi_p / self.psi_n / jnp.stack([1.0] * SAMPLES + [self.d] * 2)
        rows, others = (
            jnp.concatenate([a[:, :ROWS], a[:, ROWS:-1] @ self._factors], axis=1) for a in sums
        )
        rows = rows + _placed(f.tails_on_rows, ROWS)
        others = (others + _placed(f.tails_on_others, 0)) * ratio[:, None]
        o1, o2 = one.coupling, two.coupling
        coherent = jnp.stack([o1 * o2, two.of_noise * o2 + o1 * one.of_noise])
        coherent = self.d * f.kappa * coherent[None] * np.array([[1.0], [1.0], [0.0], [0.0]])
        noise = (one.of_noise * two.of_noise)[None]
        diagonal = jnp.concatenate([one.q * two.q, one.D * two.D, noise, -np.ones(1)])
        matrix = jnp.concatenate([rows, others - _placed(coherent, UNKNOWNS - 2)])
        matrix = matrix + jnp.diag(1.0 / diagonal)
        right = jnp.concatenate([of_tails + sums[0][:, -1], ratio * sums[1][:, -1]])
        return eliminated(matrix, right)

    def _results(self, x: Numbers, dT: Numbers) -> Moved:
        one, two, target, f = self.one, self.two, self.target, self.features
        size = target.kappa.size
        g, y1, y2 = (a[:size] for a in (one.g * two.g, one.q_m * one.g, two.q_m * two.g))
        dy = g * (x[:ROWS] @ f.by_q[:, :size]) - self.psi_p * y1 * y2 * dT[:size]
        D1, D2, dD = (D @ f.samples for D in (one.D, two.D, x[ROWS:-2]))
        V1 = target.along(D1, one.of_noise, one.coupling)
        V2 = target.along(D2, two.of_noise, two.coupling)
        left, right = self._moved_target(D1, D2, dD, *x[-2:])
        total = jnp.sum(target.scale * (V1 * dy * V2 + left * y2 * V2 + V1 * y1 * right))
        return Moved(jnp.sum(f.weights[:size] * dy), total + self._moved_within(x))

    def _moved_target(
        self, D1: Numbers, D2: Numbers, dD: Numbers, dN: Number, do: Number
    ) -> tuple[Numbers, Numbers]:
        # (32), where D' stands left of o and D in the left factor, and right of them in the right
        (o1, N1), (o2, N2) = ((p.coupling, p.of_noise) for p in (self.one, self.two))
        c, slope, kappa = self.target.noise, self.target.slopes, self.target.kappa
        left = c * (dN * (1.0 - kappa * o2 * D2) - kappa * N1 * (do * D2 + o1 * dD))
        left += slope * (dD * (1.0 - o2 * N2) - D1 * (do * N2 + o1 * dN))
        right = c * ((1.0 - kappa * D1 * o1) * dN - kappa * (dD * o2 + D1 * do) * N2)
        right += slope * ((1.0 - N1 * o1) * dD - (dN * o2 + N1 * do) * D2)
        return left, right

    def _moved_within(self, x: Numbers) -> Number:
        (o1, N1), (o2, N2) = ((p.coupling, p.of_noise) for p in (self.one, self.two))
        by_noise, both, by_data = self.target.variances
        of_signal = self.features.of_signal
        D1, D2, dD = (jnp.sum(of_signal * D) for D in (self.one.D, self.two.D, x[ROWS:-2]))
        dN, do = x[-2:]
        coupled = dD * o2 * N2 + D1 * (do * N2 + o1 * dN)
        coupled += dN * o2 * D2 + N1 * (do * D2 + o1 * dD)
        return both * coupled - by_noise * dN - by_data * dD


def _placed(columns: Numbers, first: int) -> Numbers:
    # among the columns of all unknowns
    return jnp.pad(columns, ((0, 0), (first, UNKNOWNS - first - columns.shape[1])))


def _products(values: Numbers, left: Matrix, right: Matrix) -> Numbers:
    # Σ_m values·left·right for all pairs of rows
    pairs = (left[:, None] * right[None]).reshape(-1, values.size)
    return of_real(pairs, values).reshape(left.shape[0], right.shape[0])
