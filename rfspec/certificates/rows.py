"""One number of a certificate beside its truth."""

from __future__ import annotations

from typing import Any, NamedTuple

import mpmath as mp

from ..numerics.types import Real


class Row(NamedTuple):
    """One number: what was returned, what is true, and the true and the claimed error.

    Errors are relative, to the larger of the two numbers; of an edge, to its distance from s².
    Those of masses and losses are absolute, since exact values may be 0.
    """

    name: str
    value: float
    truth: mp.mpf
    error: float
    claimed_error: float

    @property
    def honest(self) -> bool:
        """Whether the claimed error covers the true one."""
        return self.error <= self.claimed_error


def row(
    name: str, value: Real | mp.mpf, truth: mp.mpf, claimed: Any, *, absolute: bool = False
) -> Row:
    value = float(value)
    error = mp.mpf(0) if value == truth else abs(mp.mpf(value) - truth)  # ∞ is ∞
    if not absolute and error:
        error = error / max(abs(truth), abs(mp.mpf(value)))
    return Row(name, value, truth, float(error), float(claimed))
