"""The numbers of a model, in multi-precision arithmetic.

Every double that a user gave is taken for exactly what it is.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import mpmath as mp
import numpy as np

from ..models.covariance import Covariance
from ..models.model import RandomFeatureModel
from ..models.processes import FlowMatching, OrnsteinUhlenbeck, Process

GUARD = 15  # digits beyond those asked for
MAX_DIGITS = 500


def check_digits(digits: Any) -> int:
    if (
        isinstance(digits, bool)
        or not isinstance(digits, int | np.integer)
        or not 1 <= digits <= MAX_DIGITS
    ):
        raise ValueError(f"digits must be an integer from 1 to {MAX_DIGITS}, got {digits!r}")
    return int(digits)


def ratios(model: RandomFeatureModel) -> tuple[mp.mpf, mp.mpf]:
    model.check_finite_width("the algebraic twin")
    return mp.mpf(float(model.psi_p)), mp.mpf(float(model.psi_n))


def atoms(covariance: Covariance) -> tuple[list[mp.mpf], list[mp.mpf]]:
    """The distinct eigenvalues of Σ, ascending, and their weights, which sum to 1."""
    if covariance.has_classes:
        raise NotImplementedError(
            f"multi-precision numbers exist for data of one covariance only, got {covariance!r}"
        )
    weight_of: dict[float, Any] = {}
    for value, weight in zip(
        np.asarray(covariance.values), np.asarray(covariance.weights), strict=True
    ):
        before = weight_of.get(float(value), mp.mpf(0))
        weight_of[float(value)] = before + mp.mpf(float(weight))
    total, values = mp.fsum(weight_of.values()), sorted(weight_of)
    return [mp.mpf(v) for v in values], [weight_of[v] / total for v in values]


def amplitudes(process: Process) -> tuple[mp.mpf, mp.mpf]:
    # (α², β²) of x_t = αx + βξ
    if isinstance(process, OrnsteinUhlenbeck):
        t = mp.mpf(float(process.t))
        return mp.exp(-2 * t), -mp.expm1(-2 * t)
    if isinstance(process, FlowMatching):
        s = mp.mpf(float(process.s))
        return (1 - s) ** 2, s**2
    return mp.mpf(float(process.alpha)) ** 2, mp.mpf(float(process.beta2))


class TargetNumbers(NamedTuple):
    """y = signal·x + noise·ξ, α/β, and ω², which multiplies U in the loss."""

    signal: mp.mpf
    noise: mp.mpf
    slope: mp.mpf
    pace: mp.mpf


def target_numbers(model: RandomFeatureModel) -> TargetNumbers:
    # the targets -ξ, with the pace β², or -ξ/β, x, α̇x + β̇ξ
    alpha2, beta2 = amplitudes(model.process)
    alpha, beta, one = mp.sqrt(alpha2), mp.sqrt(beta2), mp.mpf(1)
    if model.target == "noise":
        return TargetNumbers(0 * one, -one, alpha / beta, beta2)
    if model.target == "score":
        return TargetNumbers(0 * one, -1 / beta, alpha / beta, one)
    if model.target == "data":
        return TargetNumbers(one, 0 * one, alpha / beta, one)
    if isinstance(model.process, OrnsteinUhlenbeck):
        return TargetNumbers(-alpha, alpha2 / beta, alpha / beta, one)
    signal, noise = (mp.mpf(float(rate)) for rate in model.process.velocity)
    return TargetNumbers(signal, noise, alpha / beta, one)
