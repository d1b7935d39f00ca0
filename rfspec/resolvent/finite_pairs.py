r"""Two resolvents at finite d, with a source between them.

The equations (31) hold for unknowns that are upper triangular 2×2 matrices, with z1 and z2 on the
diagonal and -M for a source M beside it. What is off the diagonal then solves a linear system, in
which a product ab becomes a(z1)db + da b(z2).
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp

from ..numerics.holomorphic import solve_small
from ..numerics.types import Matrix, Number, Numbers, Real, Vector
from .functions import Features

# classes of rows and of samples
ROWS = SAMPLES = 2


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

    def along(self, features: Features, point: FinitePoint) -> Numbers:
        """V_a of (35)."""
        D = _of_degree_one(features, point.D)
        noise, o = point.of_noise, point.coupling
        by_noise = self.noise * (1.0 - self.kappa * D * o) * noise
        return by_noise + self.slopes * (1.0 - noise * o) * D

    def within(self, features: Features, point: FinitePoint) -> Number:
        """What the columns of a sample tell of its own target."""
        of_noise, both, of_data = self.variances
        weights = features.samples.shares * features.samples.squares
        D = jnp.sum(weights * point.D)
        coupled = 2.0 * D * point.coupling * point.of_noise
        of_samples = jnp.sum(weights * (1.0 - point.D))
        return of_noise * (1.0 - point.of_noise) + both * coupled + of_data * of_samples


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

    def moved(self, of_tails: Vector, of_functions: Vector) -> Moved:
        """For a source with these parts in the tails and in T_m."""
        bases = jnp.stack([*self._bases, of_functions])
        sums = self._sums(bases)
        x = self._solution(of_tails, sums)
        factors = jnp.append(self._factors @ x[ROWS:], -1.0)
        return self._results(x, factors @ bases)

    # dT_m is a combination of these with the `factors` times (dD_1, dD_2, dD', do).
    @property
    def _bases(self) -> Matrix:
        f = self.features.functions
        by_class = self.features.samples.shares[:, None] * f.columns
        signal = jnp.pad(self.features.linear.signal, (0, f.weights.size - self._size))
        return jnp.concatenate([f.data * by_class, -signal * by_class, f.noise[None]])

    @property
    def _factors(self) -> Matrix:
        one, two, zero = self.one, self.two, jnp.zeros(SAMPLES)
        by_D = one.of_noise * one.coupling + two.coupling * two.of_noise
        by_noise = two.coupling * two.D + one.D * one.coupling
        by_coupling = one.of_noise * two.D + one.D * two.of_noise
        own = jnp.stack([*jnp.eye(SAMPLES), zero, zero], axis=1)
        linear = jnp.concatenate([by_D * jnp.eye(SAMPLES), by_noise[:, None], by_coupling[:, None]], 1)
        last = jnp.concatenate([zero, jnp.array([1.0, 0.0])])
        return jnp.concatenate([own, linear, last[None]])

    @property
    def _size(self) -> int:
        return self.features.linear.signal.size

    @property
    def _mean_kappa(self) -> Real:
        f = self.features.functions
        return jnp.sum(f.weights[: self._size] * self.features.linear.kappa)

    def _sums(self, bases: Matrix) -> tuple[Matrix, Matrix]:
        # sums over the functions: what 1/q_j, and δ_c, δ' and o, have of each dq_j and of each
        # basis of dT
        f, one, two = self.features.functions, self.one, self.two
        on_rows = f.weights * f.rows
        on_others = f.weights * jnp.stack(
            [*(f.columns * f.data), f.noise, f.coupled / self._mean_kappa]
        )
        by_q = self.features.rows[:, None] * f.rows
        g, y, theta = one.g * two.g, one.q_m * two.q_m, one.T * two.T
        rows = [-self.psi_p * _products(g * theta, on_rows, by_q), _products(g, on_rows, bases)]
        others = [_products(g, on_others, by_q), -self.psi_p * _products(g * y, on_others, bases)]
        return jnp.concatenate(rows, axis=1), jnp.concatenate(others, axis=1)

    def _solution(self, of_tails: Vector, sums: tuple[Matrix, Matrix]) -> Numbers:
        # (dq_1, dq_2, dD_1, dD_2, dD', do)
        one, two, tails = self.one, self.two, self.features.tails
        by_tails = jnp.stack([*(tails.columns[:, None] * tails.data), tails.noise, tails.coupled])
        ratio = self.psi_p / self.psi_n / jnp.array([*[1.0] * SAMPLES, self.d, self.d])
        rows, others = (self._of_unknowns(a) for a in sums)
        of_samples = self.features.samples.shares * tails.columns
        rows = rows.at[:, ROWS:-2].add(tails.data[:, None] * of_samples)
        rows = rows.at[:, -2].add(tails.noise)
        others = others.at[:, :ROWS].add(by_tails * self.features.rows) * ratio[:, None]
        o1, o2, kappa = one.coupling, two.coupling, self.d * self._mean_kappa
        others = others.at[:SAMPLES, -2].add(-kappa * o1 * o2)
        others = others.at[:SAMPLES, -1].add(
            -kappa * (two.of_noise * o2 + o1 * one.of_noise)
        )
        diagonal = jnp.concatenate([one.q * two.q, one.D * two.D, (one.of_noise * two.of_noise)[None], -jnp.ones(1)])
        matrix = jnp.concatenate([rows, others]) + jnp.diag(1.0 / diagonal)
        right = jnp.concatenate([of_tails + sums[0][:, -1], ratio * sums[1][:, -1]])
        return jnp.stack(solve_small([tuple(c) for c in matrix.T], tuple(right)))

    def _of_unknowns(self, sums: Matrix) -> Matrix:
        return jnp.concatenate([sums[:, :ROWS], sums[:, ROWS:-1] @ self._factors], axis=1)

    def _results(self, x: Numbers, dT: Numbers) -> Moved:
        one, two, size, target = self.one, self.two, self._size, self.target
        f = self.features.functions
        g, y1, y2 = (a[:size] for a in (one.g * two.g, one.q_m * one.g, two.q_m * two.g))
        dq = (self.features.rows * x[:ROWS]) @ f.rows[:, :size]
        dy = g * dq - self.psi_p * y1 * y2 * dT[:size]
        V1, V2 = (target.along(self.features, point) for point in (one, two))
        left, right = self._moved_target(x)
        total = jnp.sum(target.scale * (V1 * dy * V2 + left * y2 * V2 + V1 * y1 * right))
        return Moved(jnp.sum(f.weights[:size] * dy), total + self._moved_within(x))

    def _moved_target(self, x: Numbers) -> tuple[Numbers, Numbers]:
        # (35), where D' stands left of o and D in the left factor, and right of them in the right
        one, two, target = self.one, self.two, self.target
        D1, D2, dD = (_of_degree_one(self.features, D) for D in (one.D, two.D, x[ROWS:-2]))
        (N1, o1), (N2, o2), (dN, do) = (one.of_noise, one.coupling), (two.of_noise, two.coupling), x[-2:]
        c, slope, kappa = target.noise, target.slopes, target.kappa
        left = c * (dN * (1.0 - kappa * o2 * D2) - kappa * N1 * (do * D2 + o1 * dD))
        left += slope * (dD * (1.0 - o2 * N2) - D1 * (do * N2 + o1 * dN))
        right = c * ((1.0 - kappa * D1 * o1) * dN - kappa * (dD * o2 + D1 * do) * N2)
        right += slope * ((1.0 - N1 * o1) * dD - (dN * o2 + N1 * do) * D2)
        return left, right

    def _moved_within(self, x: Numbers) -> Number:
        one, two = self.one, self.two
        of_noise, both, of_data = self.target.variances
        weights = self.features.samples.shares * self.features.samples.squares
        D1, D2, dD = (jnp.sum(weights * D) for D in (one.D, two.D, x[ROWS:-2]))
        (N1, o1), (N2, o2), (dN, do) = (one.of_noise, one.coupling), (two.of_noise, two.coupling), x[-2:]
        coupled = dD * o2 * N2 + D1 * do * N2 + D1 * o1 * dN
        coupled += dN * o2 * D2 + N1 * do * D2 + N1 * o1 * dD
        return both * coupled - of_noise * dN - of_data * dD


def _of_degree_one(features: Features, D: Numbers) -> Numbers:
    return (features.samples.shares * D) @ features.functions.columns[:, : features.linear.signal.size]


def _products(values: Numbers, left: Matrix, right: Matrix) -> Matrix:
    # Σ_m values·left·right for all pairs of rows; real factors halve the work
    pairs = (left[:, None] * right[None]).reshape(-1, values.size)
    sums = pairs @ values.real + 1j * (pairs @ values.imag)
    return sums.reshape(left.shape[0], right.shape[0])
