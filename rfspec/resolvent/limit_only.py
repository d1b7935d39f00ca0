"""What is known exactly of a spectrum in the limit d → ∞ only."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

from ..numerics.holomorphic import Unknowns
from ..numerics.types import Real
from .interface import Equations


def _in_the_limit(*_: Any) -> NoReturn:
    raise NotImplementedError("masses and edges are exact in the limit d → ∞ only")


class LimitOnly(Equations):
    """Equations whose spectrum has no exact edges, and no gaps that can be counted."""

    def nearest_branch_point(self, u: Unknowns) -> Any:
        return None

    chart_near = tail = ranks_above = excess = mass_of = level_number = _in_the_limit
    levels = total = dividing = parts = components = most_bulks = property(_in_the_limit)
    bulk_guesses = property(_in_the_limit)

    @property
    def lowered(self) -> Real:
        return np.float64(0.0)
