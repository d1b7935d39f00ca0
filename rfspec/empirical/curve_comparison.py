"""How far a sampled learning curve lies from the theory, at the dimension of the sample."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..files.tables import in_brief
from ..numerics.checks import integer
from ..training.learning_curves import LearningCurve
from .deviations import check_kind, dimension_of_theory, same_tau, theory_at
from .extrapolation import CurveExtrapolation


class CurveDeviations(NamedTuple):
    """Largest deviations of the two losses over τ.

    Attributes
    ----------
    train, test : float
    """

    train: float
    test: float

    def __repr__(self) -> str:
        return in_brief(self)


class CurveComparison(NamedTuple):
    """Largest deviations of a sampled learning curve from another.

    A deviation here is the absolute difference of two losses.

    Attributes
    ----------
    train, test : float
        Between the sample and the theory, taken at the sample's d if it has one.
    tau_train, tau_test : float
        Training times τ at which they are found.
    expected : CurveDeviations
        Largest root mean square over τ by which each loss should deviate at this d, from an
        extrapolation over other sizes; NaN without one.
    """

    train: float
    test: float
    tau_train: float
    tau_test: float
    expected: CurveDeviations

    def __repr__(self) -> str:
        return in_brief(self)


def compare_curves(
    theory: LearningCurve, empirical: LearningCurve, finite_size: Any, d: int | None
) -> CurveComparison:
    tau = np.ravel(theory.tau)
    same_tau(tau, empirical)
    check_kind(finite_size, CurveExtrapolation)
    own = dimension_of_theory(theory)
    d = own if d is None else integer("d", d)
    expected = CurveDeviations(np.nan, np.nan)
    if finite_size is not None:
        _check_fits(finite_size, own, d)
        same_tau(np.ravel(finite_size.tau), empirical)
        expected = CurveDeviations(
            float(np.max(finite_size.train.size(d))), float(np.max(finite_size.test.size(d)))
        )
    exact = theory if own is None else theory_at(theory, d)
    train = np.abs(np.ravel(exact.train - empirical.train))
    test = np.abs(np.ravel(exact.test - empirical.test))
    tau_train, tau_test = float(tau[train.argmax()]), float(tau[test.argmax()])
    return CurveComparison(float(train.max()), float(test.max()), tau_train, tau_test, expected)


def _check_fits(finite_size: CurveExtrapolation, own: int | None, d: int | None) -> None:
    if d is None:
        raise ValueError(
            "d must be given with finite_size, for neither a sampled learning curve nor the model "
            "of this theory knows it, got None"
        )
    if finite_size.of_remainder != (own is not None):
        names = {False: "the limit d → ∞", True: "a model with d"}
        raise ValueError(
            f"finite_size must be made with a theory of {names[own is not None]}, as this one is, "
            f"got one made with a theory of {names[finite_size.of_remainder]}"
        )
