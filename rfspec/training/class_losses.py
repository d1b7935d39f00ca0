"""Losses of each class of the data: the same training, seen by one class after another."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import numpy as np

from ..numerics.checks import concrete
from ..numerics.types import Matrix
from ..resolvent.classes import ClassEquations
from ..resolvent.interface import Equations


def losses_of_classes(method: Any, eq: Equations, count: int) -> tuple[Matrix, Matrix] | None:
    """L_train and L_test of each class, [class, time]; None where the data have none."""
    if not isinstance(eq, ClassEquations):
        return None

    def of_one(counted: Any) -> tuple[Any, Any]:
        seen = eqx.tree_at(
            lambda e: (e.counted, e.finer), eq, (counted, None), is_leaf=lambda a: a is None
        )
        train, test, _ = method.losses(seen, count)
        return train, test

    each = np.eye(len(eq.shares))
    if not concrete(eq, method):
        return jax.vmap(of_one)(each)
    # one after another with the program of a single class, which is kept
    train, test = zip(*map(of_one, each), strict=True)
    return np.stack(train), np.stack(test)
