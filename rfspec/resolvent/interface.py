r"""What a theory of the spectrum of U has to provide: one class, in one file.

The unknowns u are a tuple of complex scalars, of which q = Tr(U - z)⁻¹/p is the first. The spectral
argument is ζ = z - `origin`, the distance from the atom. Every member is written for one model and
one ζ, with JAX, and differentiable in the numbers that the equations hold. Solver, edge search,
spectrum, contours, losses and stopping times know a theory through this class alone. They do not
check again what it calls exact.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import equinox as eqx

from ..models.gaussian_equivalent import GaussianEquivalent
from ..numerics.holomorphic import Unknowns
from ..numerics.types import Matrix, Number, Real, Truth, Truths, Vector, Whole, Wholes
from .columns import Source
from .near_ends import Chart

# twice as many nodes of a law at least halve the error, so it is at most twice the change they make
AT_LEAST_HALVED = 2.0


class Equations(eqx.Module):
    """The fixed-point equations of one model, and what is known exactly of their solution.

    Attributes
    ----------
    psi_p, psi_n : float
        p/d and n/d.
    values, weights : arrays
        Σ, as eigenvalues or as nodes of a law.
    ge : GaussianEquivalent
        The six constants.
    decay : float
        What weight decay adds to U in the dynamics.
    averaged : Equations, optional
        Equations that hold all of Σ, for smooth averages over it. They are needed where these hold
        its largest eigenvalues lower than they are.
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
        """F(u; ζ), holomorphic in u and ζ, one number for each unknown; 0 at the solution.

        For Im ζ > 0 exactly one root has a positive imaginary part in every unknown. It is the
        solution.
        """

    @abstractmethod
    def quotients(self, u: Unknowns, zeta: Real) -> Unknowns:
        """f_i(u)/u_i of the equations in the form u = f(u), at ζ < 0 and positive unknowns.

        There f_i is positive and rises with every unknown, and a·f_i(u) > f_i(au) for all a > 1.
        """

    @abstractmethod
    def nearest_branch_point(self, u: Unknowns) -> Any:
        """The branch point of F that is nearest to a solution; None where F has none."""

    @abstractmethod
    def chart_near(self, branch_point: Any) -> Chart:
        """Unknowns in which a fold near this branch point is regular; u itself if it is None."""

    @abstractmethod
    def start(self, zeta: Number) -> Unknowns:
        """The solution to leading order at large ζ."""

    @property
    @abstractmethod
    def origin(self) -> Real:
        """The z at which ζ = 0: the location of the atom, and a lower bound of the spectrum."""

    @property
    @abstractmethod
    def upper_bound(self) -> Real:
        """An upper bound of the spectrum, in ζ."""

    @staticmethod
    @abstractmethod
    def numbers(eq: Equations) -> tuple[Any, ...]:
        """The numbers in the equations, which are known only to rounding or to `accuracy`.

        Conditions are derivatives in these. There are none where they matter less than nodes do.
        """

    @property
    @abstractmethod
    def accuracy(self) -> Real:
        """Relative error of these numbers."""

    # The distribution, and counting. Numbers of eigenvalues are sums of ranks, which the theory
    # lists; a set of ranks is an array of 1 and 0 over that list.

    @abstractmethod
    def tail(self, u: Unknowns, zeta: Real) -> Real:
        """1 - F(ζ), the mass right of a real ζ, from the limit solution there.

        It has full relative accuracy.
        """

    @abstractmethod
    def relative_imaginary(self, u: Unknowns) -> Real:
        """The largest relative imaginary part of the numbers that are real in a gap.

        It is 0 there, and positive in the support.
        """

    @abstractmethod
    def ranks_above(self, u: Unknowns) -> Vector:
        """The set of ranks above a gap, from the solution in it."""

    @abstractmethod
    def excess(self, a: Vector, b: Vector) -> Real:
        """By how much the ranks a exceed the ranks b, over d; 0 where they differ by rounding."""

    @abstractmethod
    def mass_of(self, ranks: Vector) -> Real:
        """Mass of a set of ranks."""

    @abstractmethod
    def level_number(self, ranks: Vector) -> Whole:
        """The number of a set of ranks among the `levels`."""

    @property
    @abstractmethod
    def levels(self) -> tuple[Vector, Wholes, Truths]:
        """Masses from the top at which there may be a gap, their numbers, and which can occur."""

    @property
    @abstractmethod
    def total(self) -> Vector:
        """The set of all ranks but the atom's."""

    @property
    @abstractmethod
    def dividing(self) -> Matrix:
        """Ranks above the population, the sample, the satellite and what lies below, [4, rank]."""

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
        """An upper bound of the number of bulks."""

    @property
    @abstractmethod
    def bulk_guesses(self) -> Vector:
        """Guesses of ζ near which bulks lie; they only save the search a few steps."""

    @property
    @abstractmethod
    def lowered(self) -> Real:
        """The fraction of Σ's eigenvalues that the equations hold lower than they are.

        It is 0 where Σ has a largest eigenvalue.
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
        """The equations with other nodes for a continuous law; None where Σ is known exactly.

        The difference tells the error of the nodes.
        """

    # Traces at one point and at two.

    def trace(self, u: Unknowns, zeta: Number) -> Number:
        """q = Tr(U - z)⁻¹/p, from the solution u at ζ."""
        return u[0]

    def delta(self, u: Unknowns) -> Number:
        """δ of the columns of the data, of their first class where there are several."""
        return u[1]

    @abstractmethod
    def point(self, u: Unknowns) -> Any:
        """A solution, with what traces of (U - z)⁻¹ are made of."""

    @abstractmethod
    def transforms(self, u: Unknowns) -> tuple[Number, Number]:
        """r = Tr FΣFᵀ(U - z)⁻¹/p and s = Tr FFᵀ(U - z)⁻¹/p."""

    @abstractmethod
    def two_point(
        self, one: Any, two: Any, sources: Sequence[Source]
    ) -> tuple[Number, Number, Number]:
        """Tr FFᵀ(U - z1)⁻¹M(U - z2)⁻¹/p for sources M."""

    # What training needs.

    @property
    def most_nodes(self) -> int | None:
        """So many nodes of a contour are as accurate as the equations; None where more are not."""
        return None

    @abstractmethod
    def explained(self, point: Any) -> tuple[Number, Number]:
        """Tr Vᵀ(U - z)⁻¹V/d, and Tr Ṽᵀ(U - z)⁻¹V/d with the population's Ṽ."""

    @abstractmethod
    def target_two_point(self, one: Any, two: Any, sources: Sequence[Any]) -> list[Any]:
        """Tr Vᵀ(U - z1)⁻¹M(U - z2)⁻¹V/d for sources M."""

    @property
    def judged_apart(self) -> bool:
        """Whether the train loss is not that of the columns in U, and `sample_two_point` exists.

        It is that of a part of the samples, or of all their noise.
        """
        return False

    def sample_two_point(self, one: Any, two: Any) -> Number:
        """Tr Vᵀ(U - z1)⁻¹U_c(U - z2)⁻¹V/d, where U_c is what the train loss is taken over."""
        raise NotImplementedError

    @property
    @abstractmethod
    def population(self) -> Any:
        """Ũ, the feature correlation over fresh data, as a source."""

    @property
    @abstractmethod
    def untrained(self) -> Real:
        """The loss of A = 0, Tr E[yyᵀ]/d."""

    @property
    @abstractmethod
    def slowest_mode(self) -> Real:
        """About the smallest eigenvalue that learns; scans of training times end at its time."""

    @property
    @abstractmethod
    def fastest_mode(self) -> Real:
        """About the largest eigenvalue that learns; scans of training times begin at its time.

        Hardly any eigenvalues are larger.
        """

    @property
    @abstractmethod
    def top(self) -> Real:
        """An upper bound of the eigenvalues that training sees, weight decay included."""
