"""Arguments of training: what they may be, and what is said of others."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..numerics.checks import concrete, real_scalar, refuse_mask, traced_array
from ..numerics.types import Real, Reals


def training_times(tau: Any) -> Reals:
    """Training times 0 ≤ τ ≤ ∞ as float64, any shape and order."""
    rule = "tau must be real numbers of at least 0 (inf is allowed)"
    if not concrete(tau):
        return traced_array("tau", tau, "real numbers of at least 0 (inf is allowed)")
    refuse_mask("tau", tau)
    try:
        array = np.asarray(tau)
    except (TypeError, ValueError) as e:
        raise ValueError(f"{rule}, got {tau!r:.100}") from e
    if not (np.issubdtype(array.dtype, np.floating) or np.issubdtype(array.dtype, np.integer)):
        raise ValueError(f"{rule}, got {tau!r:.100}")
    if not array.size:
        raise ValueError(f"{rule}, got an empty array")
    if not np.all(array >= 0):
        raise ValueError(f"{rule}, got {array[~(array >= 0)].ravel()[0]}")
    return array.astype(np.float64)


def checked_tolerance(tolerance: Real) -> float:
    value = float(real_scalar("tolerance", tolerance, above=0.0))
    if not 1e-12 <= value <= 0.1:
        raise ValueError(f"tolerance must be between 1e-12 and 0.1, got {value!r}")
    return value


def checked_momentum(momentum: Real, step: Real | None) -> float:
    if (
        isinstance(momentum, bool)
        or not isinstance(momentum, int | float | np.number)
        or not 0 <= momentum < 1
    ):
        raise ValueError(f"momentum must be a number in [0, 1), got {momentum!r}")
    if momentum and step is None:
        raise ValueError(f"momentum goes with a step, got momentum={momentum!r} without one")
    return float(momentum)
