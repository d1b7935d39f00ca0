r"""Upper triangular 2×2 matrices as numbers: a function at two points, with a source between them.

The inverse of [[U - z1, M], [0, U - z2]] has the blocks G1, G2 and -G1MG2, G_i = (U - z_i)⁻¹. What
holds for the resolvent of U, and is derived without exchanging factors, therefore holds with 2×2
matrices in place of numbers. These are triangular and do not commute. The element above the
diagonal is linear in the source, and here stands for several directions at once.
"""

from __future__ import annotations

from typing import Any

import mpmath as mp


class Triangular:
    """[[first, above], [0, second]], `above` a tuple of elements, one for each direction."""

    __slots__ = ("above", "first", "second")

    def __init__(self, first: Any, above: tuple[Any, ...], second: Any):
        self.first, self.above, self.second = first, above, second

    def __add__(self, other: Any) -> Triangular:
        if not isinstance(other, Triangular):
            return Triangular(self.first + other, self.above, self.second + other)
        above = tuple(a + b for a, b in zip(self.above, other.above, strict=True))
        return Triangular(self.first + other.first, above, self.second + other.second)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Triangular:
        return self + other * -1

    def __mul__(self, other: Any) -> Triangular:
        if not isinstance(other, Triangular):
            return Triangular(
                self.first * other, tuple(a * other for a in self.above), self.second * other
            )
        above = tuple(
            self.first * b + a * other.second for a, b in zip(self.above, other.above, strict=True)
        )
        return Triangular(self.first * other.first, above, self.second * other.second)

    def __rmul__(self, number: Any) -> Triangular:
        return self * number  # a number times the unit matrix commutes

    def inverse(self) -> Triangular:
        first, second = 1 / self.first, 1 / self.second
        both = -first * second
        return Triangular(first, tuple(a * both for a in self.above), second)

    def along(self, direction: list[Any]) -> mp.mpc:
        """The element above the diagonal for a combination of the directions."""
        return sum(a * b for a, b in zip(self.above, direction, strict=True))


def solved(rows: list[list[Any]], right: list[Any]) -> list[Any]:
    """The solution of a few linear equations by elimination, for numbers of any type."""
    rows = [[*row, value] for row, value in zip(rows, right, strict=True)]
    for i in range(len(rows)):
        pivot = max(
            range(i, len(rows)), key=lambda k: abs(rows[k][i]) / max(map(abs, rows[k][:-1]))
        )
        rows[i], rows[pivot] = rows[pivot], rows[i]
        for k in range(len(rows)):
            if k != i:
                factor = rows[k][i] / rows[i][i]
                rows[k] = [a - factor * b for a, b in zip(rows[k], rows[i], strict=True)]
    return [row[-1] / row[i] for i, row in enumerate(rows)]
