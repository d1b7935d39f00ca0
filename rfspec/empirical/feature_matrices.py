"""The correlation matrices of one draw of features and data."""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import numpy as np

from ..files.tables import Table
from ..models.model import RandomFeatureModel
from ..numerics.types import Matrix, Real, Reals, Vector


class ClassMatrices(NamedTuple):
    """The same of each class, over its own training samples and its own fresh data.

    Attributes
    ----------
    U, V, untrained : arrays, shapes (classes, p, p), (classes, p, d) and (classes,)
        NaN for a class without training samples.
    U_test, V_test, untrained_test : arrays of these shapes
    """

    U: Reals
    V: Reals
    untrained: Vector
    U_test: Reals
    V_test: Reals
    untrained_test: Vector


class ClassForms(NamedTuple):
    """Forms in h of the losses of each class, over its training samples and its fresh data.

    Attributes
    ----------
    train, test : pairs of arrays, shapes (classes, p) and (classes, p, p)
        m and S, with the U_c and V_c of the class in place of Ũ and Ṽ.
    """

    train: tuple[Matrix, Reals]
    test: tuple[Matrix, Reals]


class FeatureMatrices(Table, eqx.Module):
    r"""Correlation matrices (2) of one draw of features and data.

    Attributes
    ----------
    model : RandomFeatureModel
        What was drawn from.
    U, U_test : array, shape (p, p)
        E[φφᵀ] over noise and the n training samples, and over noise and fresh samples. Where the
        model has finite draws of the noise, U averages over those.
    V, V_test : array, shape (p, d)
        -E[φyᵀ] likewise, y the model's target; E[φξᵀ] for the target "noise", y = -ξ.
    error : float
        Bound of what the Hermite expansion leaves out of U and Ũ: Frobenius norm over √p, relative
        to the mean of the diagonal. The layers are as many as it takes to bring it under the
        tolerance, 64 at most.
    n : int
        Training samples.
    gaussian_data : bool
        Whether the fresh samples are Gaussian, so that the test loss gives the score error.
    untrained, untrained_test : float
        E|y|²/d, the losses of A = 0: 1 for the noise.
    classes : ClassMatrices or None
        What these are averages of, where the data have classes.
    """

    model: RandomFeatureModel
    U: Matrix
    V: Matrix
    U_test: Matrix
    V_test: Matrix
    error: Real
    n: int = eqx.field(static=True)
    gaussian_data: bool = eqx.field(static=True)
    untrained: Real = 1.0
    untrained_test: Real = 1.0
    classes: ClassMatrices | None = None

    def columns(self) -> dict[str, Any]:
        """Sizes and the error, by name."""
        return {"d": self.d, "n": self.n, "p": self.p, "error": self.error}

    def notes(self) -> list[str]:
        """What the matrices lack."""
        return [f"relative error of U {float(self.error):.1e}"]

    @property
    def p(self) -> int:
        """Features."""
        return int(self.U.shape[0])

    @property
    def d(self) -> int:
        """Dimension of the data."""
        return int(self.V.shape[1])

    @property
    def null(self) -> int:
        """Eigenvalues of U that are 0 because there are fewer columns than features."""
        draws = self.model.noise_draws
        return 0 if np.isinf(draws) else max(0, self.p - int(draws) * self.n)

    @property
    def decay(self) -> Real:
        """What weight decay adds to U in training: γ/ω²."""
        return self.model.weight_decay / self.model.pace
