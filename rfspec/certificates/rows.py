"""One number of a certificate beside its truth."""

from __future__ import annotations

from typing import Any, NamedTuple

import mpmath as mp

from ..numerics.types import Real


class Row(NamedTuple):
    """One number of a certificate.

    Errors are relative to the larger of value and truth, and those of an edge are relative to its
    distance from s². Errors of masses and losses are absolute, since exact values may be 0.

    Attributes
    ----------
    name : str
        Which number it is.
    value : float
        What was returned; for an edge its distance from s².
    truth : mpmath.mpf
        The number from the ground truth.
    error, claimed_error : float
        The true and the claimed error.
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
    # the first case is needed for ∞
    error = mp.mpf(0) if value == truth else abs(mp.mpf(value) - truth)
    if not absolute and error:
        error = error / max(abs(truth), abs(mp.mpf(value)))
    return Row(name, value, truth, float(error), float(claimed))
