r"""Counting of eigenvalues where the data have classes: ranks, levels and parts.

In a gap all unknowns are real, and the number of eigenvalues above it is a sum of weights of nodes,
those with 1 + ψ_pTq < 0, and of numbers of columns π_cn, those of the classes with 1 + δ_c < 0.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import jax.numpy as jnp
import numpy as np

from ..numerics.holomorphic import Unknowns, reciprocal
from ..numerics.types import Matrix, Number, Numbers, Real, Reals, Truths, Vector, Whole, Wholes
from .column_equations import LIGHT, ColumnEquations
from .columns import Kind, Powers, Source

# so many nodes or classes have all their sets listed; of more those that begin an order are
FEW = 4
# a set is known by the sum of the fractional parts of i·GOLDEN of its members, in units of 1/CODES
GOLDEN, CODES = 0.6180339887498949, 2.0**44


class CountedByClass(ColumnEquations):
    """What is known exactly of the solution where U has columns of several classes.

    Attributes
    ----------
    shares, scales : array, shapes (classes,) and (classes, shapes)
        π_c and ρ_ck.
    """

    values: Matrix
    shares: Vector
    scales: Matrix

    def _deltas(self, u: Unknowns) -> Numbers:
        by_shapes = sum(self.scales[:, k] * r for k, r in enumerate(u[1:]))
        return self.psi_p / self.psi_n * (self.ge.v2 * u[0] + self.ge.kappa2 * by_shapes)  # (34)

    def _D(self, u: Unknowns) -> tuple[Numbers]:
        return (reciprocal(1.0 + self._deltas(u)),)

    def _T(self, D: tuple[Numbers, ...], values: Reals) -> Numbers:
        slopes = (self.shares * self.ge.kappa2 * D[0]) @ self.scales
        return jnp.sum(self.shares * self.ge.b2) + slopes @ values

    @property
    def _components(self) -> tuple[Matrix, Vector]:
        return self.values, self.weights

    # One kind for each class, as arrays over the classes.
    @property
    def _kinds(self) -> tuple[Kind, ...]:
        return (Kind(self.shares, Source(self.ge.v2, {1: self.ge.kappa2})),)

    @property
    def _columns(self) -> Real:
        return self.psi_n

    @property
    def _fixed(self) -> Powers:
        return {0: self.target.noise}

    def _nonlogarithmic(self, u: Unknowns, zeta: Real) -> Number:
        of_columns = (self.psi_n / self.psi_p + self.ge.v2 * u[0]) * self._D(u)[0]
        return jnp.sum(self.shares * of_columns) - zeta * u[0]  # of (9)

    def tail(self, u: Unknowns, zeta: Real) -> Real:
        of_columns = jnp.sum(self._column_ranks * jnp.abs(jnp.angle(1.0 + self._deltas(u))))
        counted = (self._mean_argument(u) + of_columns) / self.psi_p
        of_q = jnp.arctan2(jnp.abs(u[0].imag), -u[0].real)
        return (of_q + counted + self._nonlogarithmic(u, zeta).imag) / jnp.pi  # (9)

    def ranks_above(self, u: Unknowns) -> Vector:
        T = self._T(self._D(u), self.values)
        everything = u[0].real > 0
        negative = [(1.0 + self.psi_p * T * u[0]).real < 0, self._deltas(u).real < -1.0]
        return jnp.append(jnp.concatenate(negative) & ~everything, everything).astype(float)

    @property
    def ranks(self) -> Vector:
        return jnp.concatenate([self.weights, self._column_ranks, jnp.stack([self.psi_p])])

    @property
    def _column_ranks(self) -> Vector:
        return self.shares * self.psi_n

    @property
    def _rank(self) -> Real:
        of_columns = jnp.sum(jnp.where(self.ge.v2 > 0, self._column_ranks, 0.0))
        return jnp.where(self._linear, 1.0, 0.0) + of_columns

    @property
    def _linear(self) -> Any:
        return jnp.any(self.ge.b2 > 0)

    @property
    def total(self) -> Vector:
        columns = self._set(weights=self._linear, columns=self.ge.v2 > 0)
        return self._lighter(columns, self._set(everything=1.0))

    @property
    def dividing(self) -> Matrix:
        nonlinear, total = jnp.any(self.ge.v2 > 0), self.total
        data, none = self._set(columns=1.0), jnp.zeros_like(total)
        smallest = self._lighter(self._set(weights=1.0), data, total)
        population = jnp.where(self._linear, smallest, none)
        sample = jnp.where(nonlinear, self._lighter(data, total), population)
        return jnp.stack([none, population, sample, total])

    # Levels.

    def level_number(self, ranks: Vector) -> Whole:
        """A number for each set of ranks in a gap, beyond those of the `levels`.

        What the search knows of a level by its number it knows by its mass here.
        """
        members = ranks[:-1]
        places = np.arange(1, members.size + 1) * GOLDEN
        code = jnp.sum(members * np.floor((places - np.floor(places)) * CODES)).astype(int)
        beyond = self.levels[0].size + (self.components + 1) * (1 + code)
        return jnp.where(ranks[-1] > 0, -1, beyond)

    @property
    def levels(self) -> tuple[Vector, Wholes, Truths]:
        """Masses from the top at which there may be a gap, their numbers, and which can occur.

        The nodes in a set are those on one side of a plane in the space of (λ_1, ...), and so are
        the classes in that of (v_c², κ_c²ρ_ck). All sets are listed where there are at most FEW of
        them; else those on one side of planes across an axis, upwards and downwards.
        """
        of_nodes = _sets([*self.values, self._mean_of_shapes], self.components)
        by_shapes = self.ge.kappa2[:, None] * self.scales
        of_classes = _sets([self.ge.v2, *by_shapes.T], len(self.shares))
        mass = (
            (of_nodes @ self.weights)[:, None] + (of_classes @ self._column_ranks)[None]
        ).ravel()
        # as many as make whole blocks
        more = -mass.size % (self.components + 1)
        return (
            jnp.pad(mass, (0, more)) / self.psi_p,
            jnp.arange(mass.size + more),
            jnp.arange(mass.size + more) < mass.size,
        )

    @property
    def _mean_of_shapes(self) -> Vector:
        return (self.shares @ self.scales) @ self.values

    @property
    def components(self) -> int:
        return self.weights.shape[-1]

    @property
    def most_bulks(self) -> int:
        return (self.components + 1) * (len(self.shares) + 1)

    # Scales.

    @property
    def mean(self) -> Real:
        ge, traces = self.ge, self._traces
        return jnp.sum(self.shares * (ge.kappa2 * traces + ge.b2 + ge.v2 + ge.s2))

    @property
    def _traces(self) -> Vector:
        return self.scales @ (self.values @ self.weights)

    @property
    def _trace(self) -> Real:
        return jnp.sum(self.shares * self._traces)

    @staticmethod
    def numbers(eq: Any) -> tuple[Any, ...]:
        ge = eq.ge
        constants = ge.kappa2, ge.b2, ge.v2, ge.s2, eq.linear
        return eq.psi_p, eq.psi_n, eq.values, eq.weights, eq.shares, eq.scales, *constants

    @property
    def accuracy(self) -> Real:
        return jnp.max(self.ge.error)

    @property
    def origin(self) -> Real:
        return jnp.sum(self.shares * self.ge.s2)

    @property
    def slowest_mode(self) -> Real:
        return self.origin

    def _bound_for(self, value: Vector) -> Real:
        # of all columns as wide as the widest, or of each class for itself
        features = (1.0 + jnp.sqrt(self.psi_p)) ** 2
        column = self.ge.kappa2 * value * features + self.ge.v2
        ratio = jnp.sqrt(self.psi_p / self.psi_n)
        alike = jnp.max(column) * (1.0 + ratio) ** 2
        apart = jnp.sum(column * (jnp.sqrt(self.shares) + ratio) ** 2)
        return jnp.minimum(alike, apart) + jnp.sum(self.shares * self.ge.b2) * features

    @property
    def upper_bound(self) -> Real:
        return self._bound_for(jnp.max(self.scales @ self.values, axis=1))

    @property
    def fastest_mode(self) -> Real:
        heavy = jnp.where(self.weights > LIGHT, self.scales @ self.values, 0.0)
        return self.origin + self._bound_for(jnp.max(heavy, axis=1)) + self.decay

    @property
    def bulk_guesses(self) -> Vector:
        ge = self.ge
        signal = (self.shares * ge.kappa2) @ self.scales @ self.values
        signal = signal if signal.size <= 8 else jnp.stack([signal.min(), signal.max()])
        widths = ge.v2 if ge.v2.size <= FEW else jnp.stack([ge.v2.min(), ge.v2.max()])
        ratio, satellite = self.psi_p / self.psi_n, self.psi_p * jnp.sum(self.shares * ge.b2)
        sample = jnp.outer(jnp.stack([(1.0 - jnp.sqrt(ratio)) ** 2, 1.0 + ratio]), widths).ravel()
        return jnp.concatenate([self.psi_p * signal + satellite, sample, satellite[None]])


def _sets(axes: list[Vector], size: int) -> Matrix:
    # sets of `size` members as rows of 1 and 0
    if size <= FEW:
        return jnp.array(list(product([0.0, 1.0], repeat=size)))
    first = np.tri(size + 1, size, k=-1)
    # the rank of each member in each order
    ranks = [jnp.argsort(jnp.argsort(sign * axis)) for axis in axes for sign in (1.0, -1.0)]
    return jnp.concatenate([jnp.asarray(first)[:, rank] for rank in ranks])
