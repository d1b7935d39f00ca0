r"""What a theory of the spectrum of U has to provide.
A theory is one file with one class that does.

The unknowns u are a tuple of complex scalars, q = Tr(U - z)⁻¹/p first; ζ = z - `origin` is the
spectral argument from the place of the atom on. Everything is written for one model and one ζ, with
JAX, differentiable in the numbers that the equations hold. Solver, edge search, spectrum, contours,
losses and stopping times know a theory through this class alone, and take its word for it: what is
called exact is not checked again.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import equinox as eqx

from ..models.gaussian_equivalent import GaussianEquivalent
from ..numerics.holomorphic import Unknowns
from ..numerics.types import Matrix, Number, Real, Truth, Truths, Vector, Whole, Wholes
from .columns import Point, Source
from .near_ends import Chart

AT_LEAST_HALVED = 2.0  # errors by the change that twice as many nodes of a law make


class Equations(eqx.Module):
    """The fixed-point equations of one model, and what is known of their solution exactly.

    `psi_p`, `psi_n`: p/d and n/d. `values`, `weights`: Σ, as eigenvalues or as nodes of a law.
    `ge`: the six constants. `decay`: what weight decay adds to U in the dynamics. `averaged`: the
    equations of all of Σ, for smooth averages over it, where these hold its largest eigenvalues
    lower; or None.
    """

    psi_p: Real
    psi_n: Real
    values: Vector
    weights: Vector
    ge: eqx.AbstractVar[GaussianEquivalent]
    decay: Real
    averaged: eqx.AbstractVar[Equations | None]

    # The fixed point.

    @abstractmethod
    def residual(self, u: Unknowns, zeta: Number) -> Unknowns:
        """F(u; ζ), holomorphic in u and ζ, as many as there are unknowns; 0 at the solution.

        For Im ζ > 0 exactly one root has a positive imaginary part in every unknown, and it is the
        solution.
        """

    @abstractmethod
    def place(self, u: Unknowns) -> Any:
        """Near which branch point of F a solution lies, arrays; None where F has none."""

    @abstractmethod
    def around(self, place: Any) -> Chart:
        """Unknowns in which a fold near such a branch point is regular;
        u itself where there is none.
        """

    @abstractmethod
    def start(self, zeta: Number) -> Unknowns:
        """The solution to leading order at large ζ."""

    @property
    @abstractmethod
    def origin(self) -> Real:
        """Where ζ = 0 lies: the place of the atom and a lower bound of the spectrum."""

    @property
    @abstractmethod
    def bound(self) -> Real:
        """An upper bound of the spectrum, in ζ."""

    @staticmethod
    @abstractmethod
    def numbers(eq: Equations) -> tuple[Any, ...]:
        """What of the equations is known to rounding, or to `accuracy`, only:
        conditions are derivatives in these.
        """

    @property
    @abstractmethod
    def accuracy(self) -> Real:
        """Relative error of these numbers."""

    # The distribution, and counting: a set of ranks is an array over the `ranks` that eigenvalues
    # are made of.

    @abstractmethod
    def tail(self, u: Unknowns, zeta: Real) -> Real:
        """1 - F(ζ), the mass right of a real ζ, from the limit solution there,
        to full relative accuracy.
        """

    @abstractmethod
    def depth(self, u: Unknowns) -> Real:
        """Largest relative imaginary part of what is real in a gap: 0 there,
        positive in the support.
        """

    @abstractmethod
    def above(self, u: Unknowns) -> Vector:
        """The set of ranks above a gap, from the solution in it."""

    @abstractmethod
    def excess(self, a: Vector, b: Vector) -> Real:
        """How much more one set of ranks adds up to than another, over d;
        exactly 0 where they differ by rounding.
        """

    @abstractmethod
    def share(self, ranks: Vector) -> Real:
        """Mass of a set of ranks."""

    @abstractmethod
    def level(self, ranks: Vector) -> Whole:
        """The number of a set of ranks among the `levels`."""

    @property
    @abstractmethod
    def levels(self) -> tuple[Vector, Wholes, Truths]:
        """Masses from the top at which there may be a gap, their numbers,
        and which of them can be told apart.
        """

    @property
    @abstractmethod
    def total(self) -> Vector:
        """The set of all ranks but the atom's."""

    @property
    @abstractmethod
    def dividing(self) -> Matrix:
        """Sets of ranks above the population, the sample, the satellite and what lies below them,
        [4, rank].
        """

    @property
    @abstractmethod
    def parts(self) -> Vector:
        """Masses of the population, sample and satellite parts, [3], exact."""

    @property
    @abstractmethod
    def atom_mass(self) -> Real:
        """Mass at ζ = 0, exact."""

    @property
    @abstractmethod
    def components(self) -> int:
        """How many intervals and eigenvalues Σ has, those of weight 0 included."""

    @property
    @abstractmethod
    def most_bulks(self) -> int:
        """How many bulks there may be."""

    @property
    @abstractmethod
    def landmarks(self) -> Vector:
        """Places in ζ near which bulks may lie; they only save the search a few steps."""

    @property
    @abstractmethod
    def lowered(self) -> Real:
        """The share of Σ's eigenvalues that the equations hold lower than they are;
        0 where Σ has a largest one.
        """

    @property
    def unbounded(self) -> Truth:
        """Whether Σ has no largest eigenvalue."""
        return self.lowered > 0

    @property
    @abstractmethod
    def mean(self) -> Real:
        """Mean of the spectrum, Tr Ũ/p."""

    @property
    @abstractmethod
    def on_other_nodes(self) -> Equations | None:
        """The same with other nodes for a continuous law, which tell the error of these;
        None where Σ is known.
        """

    # Traces at one point and at two.

    @abstractmethod
    def at(self, u: Unknowns) -> Point:
        """A solution with what traces at it are made of."""

    @abstractmethod
    def transforms(self, u: Unknowns) -> tuple[Number, Number]:
        """r = Tr FΣFᵀ(U - z)⁻¹/p and s = Tr FFᵀ(U - z)⁻¹/p."""

    @abstractmethod
    def two_point(
        self, one: Point, two: Point, sources: Sequence[Source]
    ) -> tuple[Number, Number, Number]:
        """Tr FFᵀ(U - z1)⁻¹M(U - z2)⁻¹/p for sources M."""

    # What training needs.

    @abstractmethod
    def explained(self, point: Point) -> tuple[Number, Number]:
        """Tr Vᵀ(U - z)⁻¹V/d, and the same with the population's Ṽᵀ on the left."""

    @abstractmethod
    def explained_twice(self, one: Point, two: Point, sources: Sequence[Source]) -> list[Any]:
        """Tr Vᵀ(U - z1)⁻¹M(U - z2)⁻¹V/d for sources M."""

    @property
    @abstractmethod
    def population(self) -> Source:
        """Ũ, the feature correlation over fresh data, as a source."""

    @property
    @abstractmethod
    def untrained(self) -> Real:
        """The loss of A = 0, Tr E[yyᵀ]/d."""

    @property
    @abstractmethod
    def slowest(self) -> Real:
        """About the smallest eigenvalue that learns: training times are scanned down to it."""

    @property
    @abstractmethod
    def fastest(self) -> Real:
        """About the largest eigenvalue that learns: training times are scanned from it on.
        Next to none are larger.
        """

    @property
    @abstractmethod
    def top(self) -> Real:
        """An upper bound of the eigenvalues that training sees, weight decay included."""
