r"""What the model learns to predict from x_t = αx + βξ:
a combination y = c_x x + c_ξ ξ of signal and noise.

Training minimises (1/dn) Σ_ν E_ξ ||ω s_A(x_t^ν) - y^ν||² (1), with ω = β for the noise, so that s_A
is the score, and ω = 1 else. All of them are the same regression; A = 0 starts at the loss Tr
E[yyᵀ]/d.
"""

from __future__ import annotations

from typing import NamedTuple

from ..numerics.checks import as_float
from ..numerics.types import Real, Reals, Vector
from .processes import Process

TARGETS = ("noise", "score", "data", "velocity")


class Combination(NamedTuple):
    """y = signal·x + noise·ξ (None: no x in it), and ω², which sets the pace of training."""

    signal: Real | None
    noise: Reals
    weight: Reals


def combination(target: str, process: Process) -> Combination:
    """The combination of a named target: -ξ, -ξ/β (the score of x_t given x), x, and α̇x + β̇ξ."""
    one = as_float(1.0)  # one type for all, so that targets share compilations
    if target == "noise":
        return Combination(None, -one, process.beta2)
    if target == "score":
        return Combination(None, -one / process.beta, one)
    if target == "data":
        return Combination(one, as_float(0.0), one)
    signal, noise = (as_float(rate) for rate in process.velocity)
    return Combination(signal, noise, one)


def score_scale(y: Combination, process: Process) -> Real:
    """ρ in E[y|x_t] = c_x x_t/α + ρ ∇log P_t(x_t), ρ = c_x β²/α - c_ξβ;
    an error of y is ρ times one of the score.
    """
    if y.signal is None:
        return -y.noise * process.beta
    return y.signal * process.beta2 / process.alpha - y.noise * process.beta


def unexplained(y: Combination, process: Process, values: Vector, weights: Vector) -> Real:
    """The loss of E[y|x_t] for Gaussian data, ∫ dρ_Σ λ (c_xβ - c_ξα)²/(α²λ + β²)."""
    alpha, beta = process.alpha, process.beta
    share = weights * values / (alpha**2 * values + process.beta2)
    return ((0.0 if y.signal is None else y.signal * beta) - y.noise * alpha) ** 2 * share.sum()
