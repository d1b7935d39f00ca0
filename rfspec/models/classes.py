r"""Data of several classes: a covariance for each, and what heavy tails are made of.

A sample is of class c with probability π_c, and then Gaussian of mean 0 and covariance Σ_c. The Σ_c
commute and are sums of a few shapes S_k, Σ_c = Σ_k ρ_ck S_k. So elliptical data x = √ρ z, whose
classes are scales of one shape, cost as much as one class however many scales there are.
"""

from __future__ import annotations

import equinox as eqx
import jax
import numpy as np

from ..numerics.checks import concrete, integer, real_array, real_vector, traced_array
from ..numerics.types import Given, Matrix, Real, Vector
from .covariance import Covariance
from .model import RandomFeatureModel

# shapes, each of which is an unknown of the equations
MOST_SHAPES = 4
# a class of this share matters for whether the activation is well used
MAIN = 0.01


class Classes(Covariance):
    r"""Data of C classes: shares π_c and commuting covariances Σ_c, all of mean 0.

    The common eigenvectors are nodes with weights w_k, and Σ_c has the eigenvalue λ_ck there.

    Parameters
    ----------
    shares : array, shape (C,)
        π_c > 0, from 1 to 4 of them; they must sum to 1 within 1e-9 and are then normalised
        exactly. The training samples of class c are n_c = π_c n.
    values : array, shape (C, K)
        λ_ck ≥ 0, variances in the squared unit of the data; no class may have only zeros.
    weights : array, shape (K,), optional
        w_k > 0, fractions of the dimensions, equal by default; they must sum to 1 within 1e-9.

    Attributes
    ----------
    shares : array, shape (C,)
        π_c.
    values : array, shape (K', K)
        Eigenvalues of the shapes, which here are the Σ_c themselves.
    scales : array, shape (C, K')
        ρ_ck of Σ_c = Σ_k ρ_ck S_k.
    counted : array, shape (C,), or None
        With what weights the losses average over the classes; None for their shares.

    Raises
    ------
    ValueError
        If arrays are no finite real numbers, do not fit one another, or are outside their range.

    Notes
    -----
    Each class has its own Gaussian-equivalent constants: ``rf.gaussian_equivalent`` returns arrays
    of shape (C,). The mean of σ over all classes is subtracted from the features. What it differs
    by from class to class is a direction of its own in the features, an eigenvalue of order p that
    carries no mass and none of the losses. Equations (33) to (35) of docs/theory.md, beyond arXiv
    2505.17638.

    Examples
    --------
    >>> import rfspec as rf
    >>> data = rf.Classes([0.7, 0.3], [[0.5, 0.5], [3.0, 1.0]])
    >>> data.traces.tolist(), round(float(data.trace), 12)
    ([0.5, 2.0], 0.95)
    """

    values: Matrix
    shares: Vector  # type: ignore[misc]
    scales: Matrix  # type: ignore[misc]
    counted: Vector | None  # type: ignore[misc]
    # the scales and shares of a finer quadrature, which tells the error of these
    finer: tuple[Matrix, Vector] | None  # type: ignore[misc]

    def __init__(self, shares: Given, values: Given, weights: Given = None):
        self.shares = _fractions("shares", shares)
        rule = "a finite real matrix of shape (classes, nodes)"
        self.values = (real_array if concrete(values) else traced_array)("values", values, rule)
        shape, count = np.shape(self.values), np.size(self.shares)
        if len(shape) != 2 or not shape[1] or shape[0] != count:
            raise ValueError(
                f"values must be {rule} with a row for each of the {count} shares, got shape "
                f"{shape}"
            )
        if count > MOST_SHAPES:
            raise ValueError(
                f"shares must be at most {MOST_SHAPES} (rf.Elliptical takes any number of classes "
                f"of one shape), got {count}"
            )
        if concrete(self.values):
            _check_variances(self.values)
        nodes = shape[1]
        weights = np.full(nodes, 1.0 / nodes) if weights is None else weights
        self.weights = _fractions("weights", weights)
        if np.size(self.weights) != nodes:
            raise ValueError(
                f"weights must have one entry for each of the {nodes} columns of values, got "
                f"{np.size(self.weights)}"
            )
        self.scales, self.counted, self.finer = np.eye(count), None, None

    def __repr__(self) -> str:
        if not concrete(*jax.tree.leaves(self)) or np.ndim(self.values) > 2:
            return eqx.tree_pformat(self)
        shown = ", ".join(f"{share:.4g}" for share in self.shares[:MOST_SHAPES])
        more = ", ..." if self.shares.size > MOST_SHAPES else ""
        return f"{type(self).__name__}({self.summary} of shares {shown}{more})"

    @property
    def summary(self) -> str:
        """How many classes there are, in words."""
        count = self.shares.shape[-1]
        return f"{count} class" if count == 1 else f"{count} classes"

    @property
    def of_classes(self) -> Matrix:
        """λ_ck, the eigenvalues of each class on the common nodes, shape (C, K)."""
        return self.scales @ self.values

    @property
    def traces(self) -> Vector:
        """Tr Σ_c/d of each class, shape (C,)."""
        return self.of_classes @ self.weights

    @property
    def trace(self) -> Real:
        """Σ_c π_c Tr Σ_c/d, the mean variance of the data."""
        return (self.shares * self.traces).sum()

    @property
    def loss_weights(self) -> Vector:
        """With what weights the losses average over the classes, shape (C,)."""
        return self.shares if self.counted is None else self.counted

    @property
    def main_traces(self) -> Vector:
        """The same of the classes that hold at least 1 % of the data."""
        return self.traces[self.shares >= MAIN] if concrete(self.shares) else self.traces

    @property
    def has_classes(self) -> bool:
        """Whether the data have classes."""
        return True


class Elliptical(Classes):  # type: ignore[misc]
    r"""Elliptical data x = √ρ z, z ~ N(0, Σ): classes Σ_c = ρ_cΣ of shares π_c.

    Parameters
    ----------
    covariance : Covariance
        Σ, by its eigenvalues: ``Isotropic``, ``Atoms`` or ``FromData``.
    scales : array, shape (C,)
        ρ_c > 0; the covariance of the data is Σ_c π_cρ_c Σ.
    shares : array, shape (C,)
        π_c > 0; they must sum to 1 within 1e-9 and are then normalised exactly.

    Raises
    ------
    ValueError
        If an argument is outside its range, or the covariance is a continuous law.

    Notes
    -----
    All scales share two unknowns, so that 32 of them cost little more than one.

    Examples
    --------
    >>> import rfspec as rf
    >>> rf.Elliptical(rf.Isotropic(1.0), [0.5, 2.0], [0.5, 0.5]).traces.tolist()
    [0.5, 2.0]
    """

    def __init__(self, covariance: Covariance, scales: Given, shares: Given):
        self.values, self.weights = _atoms_of(covariance)
        scales = real_vector("scales", scales, "a one-dimensional array of finite real numbers")
        self.shares = _fractions("shares", shares)
        if np.shape(scales) != np.shape(self.shares):
            raise ValueError(
                f"scales must have the shape of shares {np.shape(self.shares)}, got "
                f"{np.shape(scales)}"
            )
        if concrete(scales) and np.any(scales <= 0):
            raise ValueError(f"scales must be greater than 0, got {scales.min()}")
        self.scales, self.counted, self.finer = scales[:, None], None, None


def of_class(model: RandomFeatureModel, which: int) -> RandomFeatureModel:
    """The same training, seen by one class: losses over its own samples and its own fresh data.

    Spectrum and training are those of the model. Train and test loss, best stopping time, onset of
    the gap and timescales by the rule "loss" are those of the class.

    Parameters
    ----------
    model : RandomFeatureModel
        Of ``rf.Classes`` or another covariance with classes.
    which : int
        The number of the class, counted from 0.

    Returns
    -------
    RandomFeatureModel
        For ``rf.learning_curve``, ``rf.early_stopping``, ``rf.timescales``, ``rf.phase_diagram``
        and their sampled counterparts.

    Raises
    ------
    ValueError
        If the model has no classes, or none of this number.

    Notes
    -----
    Equation (35) of docs/theory.md; the shares' average of the losses of all classes is the loss of
    the model.

    Examples
    --------
    >>> import rfspec as rf
    >>> data = rf.Classes([0.9, 0.1], [[1.0], [2.0]])
    >>> model = rf.RandomFeatureModel(8.0, 4.0, t=0.1, covariance=data)
    >>> rf.of_class(model, 1).covariance.loss_weights.tolist()
    [0.0, 1.0]
    """
    data = model.covariance
    if not isinstance(data, Classes):
        raise ValueError(f"model must have data of classes such as rf.Classes, got {model!r}")
    which = integer("which", which, least=0, most=data.shares.shape[-1] - 1)
    counted = np.zeros(data.shares.shape[-1])
    counted[which] = 1.0
    return eqx.tree_at(lambda m: m.covariance, model, counting(data, counted))


def counting(data: Classes, counted: Vector | None) -> Classes:
    """The same data with other weights of the classes in the losses."""
    return eqx.tree_at(lambda c: c.counted, data, counted, is_leaf=lambda a: a is None)


def refuse_classes(model: RandomFeatureModel, what: str) -> None:
    """Raise NotImplementedError where the data have classes."""
    if isinstance(model.covariance, Classes):
        raise NotImplementedError(
            f"{what} exists for data of one covariance only, got {model.covariance!r}"
        )


def refuse_one_class(model: RandomFeatureModel, what: str) -> None:
    """Raise NotImplementedError for a model seen by one class."""
    if isinstance(model.covariance, Classes) and model.covariance.counted is not None:
        raise NotImplementedError(f"{what} exists for the losses of all classes together only")


def _fractions(name: str, value: Given) -> Vector:
    value = real_vector(name, value, "a one-dimensional array of finite real numbers")
    if concrete(value):
        if np.any(value <= 0):
            raise ValueError(f"{name} must be greater than 0, got {value.min()}")
        if abs(value.sum() - 1.0) > 1e-9:
            raise ValueError(f"{name} must sum to 1, got a sum of {value.sum()!r}")
        value = value / value.sum()
    return value


def _check_variances(values: Matrix) -> None:
    if np.any(values < 0):
        raise ValueError(f"values must be variances, none below 0, got {values.min()}")
    if not np.all(np.any(values > 0, axis=1)):
        raise ValueError(f"values must not all be zero in any class, got {values.tolist()!s:.100}")


def _atoms_of(covariance: Covariance) -> tuple[Matrix, Vector]:
    if not isinstance(covariance, Covariance) or isinstance(covariance, Classes):
        raise ValueError(
            f"covariance must be a Covariance such as rf.Isotropic(1.0), got {covariance!r:.100}"
        )
    if not covariance.atomic:
        raise ValueError(
            "covariance must be given by its eigenvalues, such as rf.Atoms(values, weights), got "
            f"the continuous law {covariance!r:.100}"
        )
    return covariance.values[None, :], covariance.weights
