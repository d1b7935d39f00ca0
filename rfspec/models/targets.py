r"""The target y = c_x x + c_ξ ξ, which the model learns to predict from x_t = αx + βξ.

Training minimises (1), (1/dn) Σ_ν E_ξ ||ω s_A(x_t^ν) - y^ν||². For the noise ω = β, so that s_A is
the score; else ω = 1. All targets are the same regression, whose loss starts at Tr E[yyᵀ]/d.
"""

from __future__ import annotations

from typing import NamedTuple

from ..numerics.checks import as_float
from ..numerics.types import Real, Reals, Vector
from .processes import Process

TARGETS = ("noise", "score", "data", "velocity")


class Combination(NamedTuple):
    """The coefficients of y = c_x x + c_ξ ξ, and ω²."""

    # c_x; None where x is no part of y
    signal: Real | None
    # c_ξ
    noise: Reals
    # ω²
    pace: Reals


def combination(target: str, process: Process) -> Combination:
    """The named target: -ξ, -ξ/β (the score of x_t given x), x, or α̇x + β̇ξ."""
    # numbers of one type, so that targets share compilations
    one = as_float(1.0)
    if target == "noise":
        return Combination(None, -one, process.beta2)
    if target == "score":
        return Combination(None, -one / process.beta, one)
    if target == "data":
        return Combination(one, as_float(0.0), one)
    signal, noise = (as_float(rate) for rate in process.velocity)
    return Combination(signal, noise, one)


def score_scale(y: Combination, process: Process) -> Real:
    """ρ = c_x β²/α - c_ξβ, by which an error of the score becomes one of y.

    It is the factor in E[y|x_t] = c_x x_t/α + ρ ∇log P_t(x_t).
    """
    if y.signal is None:
        return -y.noise * process.beta
    return y.signal * process.beta2 / process.alpha - y.noise * process.beta


def unexplained(y: Combination, process: Process, values: Vector, weights: Vector) -> Real:
    """The loss of E[y|x_t] for Gaussian data, ∫ dρ_Σ λ (c_xβ - c_ξα)²/(α²λ + β²)."""
    alpha, beta = process.alpha, process.beta
    of_modes = weights * values / (alpha**2 * values + process.beta2)
    return ((0.0 if y.signal is None else y.signal * beta) - y.noise * alpha) ** 2 * of_modes.sum()
