"""The loss of the exact score, and the error of a score."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..models.classes import Classes
from ..models.model import RandomFeatureModel
from ..models.targets import combination, score_scale, unexplained
from ..numerics.types import Real, Reals
from ..resolvent.equations import filled_up


def score_error(model: RandomFeatureModel, test: Reals) -> Reals:
    """E_score = (L_test - L_test of the exact score)/unit for Gaussian data; of test's shape."""
    # without a signal there is no score to be learnt
    with np.errstate(divide="ignore", invalid="ignore"):
        return (test - of_exact_score(model, filled_up)) / score_unit(model)


def score_unit(model: RandomFeatureModel) -> Real:
    """The test loss that a score error of 1 stands for: β² for the target "noise"."""
    return score_scale(combination(model.target, model.process), model.process) ** 2


def of_exact_score(model: RandomFeatureModel, law: Any) -> Real:
    """The loss of E[y|x_t]. As d → ∞ it is known from x_t alone of which class x is."""
    y, data = combination(model.target, model.process), model.covariance
    if not isinstance(data, Classes):
        return unexplained(y, model.process, *law(data))
    of_each = [unexplained(y, model.process, v, data.weights) for v in data.of_classes]
    return sum(w * loss for w, loss in zip(data.loss_weights, of_each, strict=True))
