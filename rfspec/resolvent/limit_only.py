"""What is known exactly of a spectrum in the limit d → ∞ only."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

from ..numerics.holomorphic import Unknowns
from ..numerics.types import Real, Vector
from .interface import Equations


def _in_the_limit() -> NoReturn:
    raise NotImplementedError("edges and masses between them are exact in the limit d → ∞ only")


class LimitOnly(Equations):
    """Equations whose spectrum has no exact edges, and no gaps that can be counted."""

    def nearest_branch_point(self, u: Unknowns) -> Any:
        return None

    def chart_near(self, branch_point: Any) -> NoReturn:
        _in_the_limit()

    def tail(self, u: Unknowns, zeta: Real) -> NoReturn:
        _in_the_limit()

    def ranks_above(self, u: Unknowns) -> NoReturn:
        _in_the_limit()

    def excess(self, a: Vector, b: Vector) -> NoReturn:
        _in_the_limit()

    def mass_of(self, ranks: Vector) -> NoReturn:
        _in_the_limit()

    def level_number(self, ranks: Vector) -> NoReturn:
        _in_the_limit()

    @property
    def levels(self) -> NoReturn:
        _in_the_limit()

    @property
    def total(self) -> NoReturn:
        _in_the_limit()

    @property
    def dividing(self) -> NoReturn:
        _in_the_limit()

    @property
    def parts(self) -> NoReturn:
        _in_the_limit()

    @property
    def components(self) -> NoReturn:
        _in_the_limit()

    @property
    def most_bulks(self) -> NoReturn:
        _in_the_limit()

    @property
    def bulk_guesses(self) -> NoReturn:
        _in_the_limit()

    @property
    def lowered(self) -> Real:
        return np.float64(0.0)
