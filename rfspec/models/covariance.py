r"""The data covariance Σ, which the theory knows through its spectral measure ρ_Σ alone.

Every covariance is a list of atoms, ρ_Σ = Σ_k w_k δ(λ - λ_k): values λ_k ≥ 0 (variances, in the
squared unit of the data) and weights w_k > 0 that sum to one. Nothing is rescaled silently;
``normalised`` returns a rescaled covariance.
"""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
import jax
import numpy as np

from ..numerics.checks import concrete, namespace, real_scalar, real_vector
from ..numerics.frozen import Frozen
from ..numerics.types import Given, Real, Vector
from .continuum import Continuum

Nodes = tuple[Vector, Vector]


class Measure(NamedTuple):
    """The fields of a covariance, from which its constructor takes them."""

    values: Vector
    weights: Vector
    fewer: Nodes | None = None
    more: Nodes | None = None
    continua: tuple[Continuum, Continuum] | None = None


class Covariance(Frozen):
    """The spectral measure of Σ; the base class of every covariance.

    Attributes
    ----------
    values, weights : array, shape (K,)
        λ_k and w_k: the eigenvalues of Σ or, of a continuous law, a quadrature for smooth averages
        over Σ, such as losses.
    fewer, more : tuple of values and weights, or None
        That quadrature with half and with twice as many nodes, which tell its error. None where the
        atoms are Σ.
    continua : tuple of Continuum, or None
        The continuous law itself, on a fine and on a coarse grid. None where the atoms are Σ.
    """

    values: Vector
    weights: Vector
    fewer: Nodes | None = None
    more: Nodes | None = None
    continua: tuple[Continuum, Continuum] | None = None

    def __repr__(self) -> str:
        if not concrete(*jax.tree.leaves(self)) or np.ndim(self.values) > 1:
            return eqx.tree_pformat(self)
        values, name = np.asarray(self.values), type(self).__name__
        if values.size == 1:
            return f"{name}({values[0]:.10g})"
        kind = "eigenvalues" if self.atomic else "nodes"
        span = f"{values.min():.6g} to {values.max():.6g}"
        return f"{name}({values.size} {kind} from {span}, trace {float(self.trace):.6g})"

    @property
    def atomic(self) -> bool:
        """Whether the atoms are Σ itself, rather than a quadrature of a continuous law."""
        return self.continua is None

    @property
    def error(self) -> Real:
        """Relative error of smooth averages over Σ by its nodes; 0 for atoms.

        It is the largest relative difference between all nodes and half as many in ∫ρ, ∫λρ and
        ∫λρ/(λ+x), x = 0.01, 0.1, 1 and 10 times the mean. In practice this is an upper bound; where
        convergence is geometric, the true error is about its square. Losses have their own error
        estimate, from these nodes and twice as many.
        """
        return error_of_nodes(self)

    @property
    def trace(self) -> Real:
        """Tr Σ/d = σ_x² = Σ_k w_k λ_k, the mean variance."""
        return (self.weights * self.values).sum()

    @property
    def traces(self) -> Vector:
        """Tr Σ_c/d of each class of the data; of data without classes σ_x² alone, shape (1,)."""
        return namespace(self.trace).reshape(self.trace, (1,))

    @property
    def main_traces(self) -> Vector:
        """The same of the classes that hold at least 1 % of the data."""
        return self.traces

    @property
    def has_classes(self) -> bool:
        """Whether the data have classes, each with a covariance of its own."""
        return False

    @property
    def summary(self) -> str:
        """The eigenvalue, or how many there are."""
        count = len(self.values)
        return f"{self.values[0]:.10g}" if count == 1 else f"{count} eigenvalues"

    def normalised(self, trace: Given = 1.0) -> Covariance:
        """The covariance scaled to Tr Σ/d = trace.

        Parameters
        ----------
        trace : float
            σ_x² > 0.

        Raises
        ------
        ValueError
            If the trace is no positive number.

        Examples
        --------
        >>> import rfspec as rf
        >>> rf.Atoms([1.0, 3.0], [0.5, 0.5]).normalised().values.tolist()
        [0.5, 1.5]
        """
        factor = real_scalar("trace", trace, above=0.0) / self.trace
        scaled = eqx.tree_at(lambda c: c.values, self, self.values * factor)
        if self.fewer is None or self.more is None or self.continua is None:
            return scaled
        rules = ((values * factor, weights) for values, weights in (self.fewer, self.more))
        return eqx.tree_at(
            lambda c: (c.fewer, c.more, c.continua),
            scaled,
            (*rules, tuple(law.scaled(factor) for law in self.continua)),
        )


def error_of_nodes(atoms: Covariance | Measure) -> Real:
    if atoms.fewer is None:
        return 0.0
    both = (atoms.values, atoms.weights), atoms.fewer
    xp = namespace(both)
    both = both if xp is np else jax.lax.stop_gradient(both)
    x = (both[0][0] * both[0][1]).sum() * np.array([0.01, 0.1, 1.0, 10.0])[:, None]

    def integrals(v: Vector, w: Vector) -> list[Real]:
        return [w.sum(), (w * v).sum(), *((w * v)[None, :] / (v[None, :] + x)).sum(1)]

    pairs = zip(integrals(*both[0]), integrals(*both[1]), strict=True)
    return xp.max(xp.stack([xp.abs(fine / coarse - 1) for fine, coarse in pairs]))


class Isotropic(Covariance):
    """Σ = variance · I.

    Parameters
    ----------
    variance : float
        σ_x² > 0.

    Raises
    ------
    ValueError
        If the variance is no positive number.

    Examples
    --------
    >>> import rfspec as rf
    >>> rf.Isotropic(2.0).values.tolist()
    [2.0]
    """

    def __init__(self, variance: Given = 1.0):
        value = real_scalar("variance", variance, above=0.0)
        self.values = namespace(value).reshape(value, (1,))
        self.weights = np.ones(1)


class Atoms(Covariance):
    """A covariance with finitely many distinct eigenvalues.

    Parameters
    ----------
    values : array, shape (K,)
        Eigenvalues λ_k ≥ 0, not all zero.
    weights : array, shape (K,)
        Fractions w_k > 0 of the dimensions; they must sum to 1 within 1e-9 and are then normalised
        exactly.

    Raises
    ------
    ValueError
        If the arrays are no finite real numbers, differ in length, or are outside their range.

    Examples
    --------
    >>> import rfspec as rf
    >>> float(rf.Atoms([0.5, 1.5], [0.5, 0.5]).trace)
    1.0
    """

    def __init__(self, values: Given, weights: Given):
        rule = "a one-dimensional array of finite real numbers"
        self.values = real_vector("values", values, rule)
        self.weights = real_vector("weights", weights, rule)
        if np.shape(self.values) != np.shape(self.weights):
            raise ValueError(
                f"weights must have the shape of values {np.shape(self.values)}, got "
                f"{np.shape(self.weights)}"
            )
        if concrete(self.values):
            if np.any(self.values < 0):
                raise ValueError(f"values must be variances, none below 0, got {self.values.min()}")
            if not np.any(self.values > 0):
                raise ValueError(f"values must not all be zero, got {self.values}")
        if concrete(self.weights):
            if np.any(self.weights <= 0):
                raise ValueError(f"weights must be greater than 0, got {self.weights.min()}")
            if abs(self.weights.sum() - 1.0) > 1e-9:
                raise ValueError(f"weights must sum to 1, got a sum of {self.weights.sum()!r}")
            self.weights = self.weights / self.weights.sum()
