"""Training times in steps and epochs of a named optimizer."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..files.tables import in_brief
from ..numerics.checks import integer, real_array, real_scalar
from ..numerics.types import Given, Real
from ..spectra.of_models import AnySpectrum
from ..training.early_stopping import EarlyStopping
from ..training.filters import LINEAR
from ..training.stability import stable_step
from ..training.timescales import clock

OPTIMIZERS = (*LINEAR, "sgd")


class Steps(NamedTuple):
    """When to stop, in steps of a training method.

    Attributes
    ----------
    best, lower, upper : float
        Steps until the best time, and until the ends of its window; not rounded, ∞ where training
        may go on for ever. Their relative errors are the `tau_error` and `window_error` of the
        EarlyStopping that they come from.
    per_epoch : float
        Steps in which each sample is seen once.
    """

    best: float
    lower: float
    upper: float
    per_epoch: float

    def __repr__(self) -> str:
        return in_brief(self)

    @property
    def epochs(self) -> tuple[float, float, float]:
        """Best, lower and upper in epochs."""
        return tuple(k / self.per_epoch for k in (self.best, self.lower, self.upper))  # type: ignore[return-value]

    @property
    def text(self) -> str:
        """What to do, in one sentence."""
        if self.best == 0:
            return "do not train: training only raises the test loss"
        if np.isinf(self.best):
            least = f"{_count(self.lower)} steps = {_count(self.lower / self.per_epoch)} epochs"
            return f"train for at least {least}, and as long as you like"
        until = "without end" if np.isinf(self.upper) else _count(self.upper)
        text = (
            f"stop after {_count(self.best)} steps = {_count(self.best / self.per_epoch)} epochs "
            f"(between {_count(self.lower)} and {until})"
        )
        return text if self.best >= 1 else text + ": take a smaller learning rate"


def steps_of(
    stop: EarlyStopping,
    d: int,
    n: int,
    sp: AnySpectrum | None,
    learning_rate: Given,
    optimizer: str,
    momentum: Given,
    batch_size: int | None,
    convention: str,
) -> Steps:
    """The best time and its window in steps; without a spectrum their stability is not checked."""
    if optimizer == "adam":
        raise ValueError(
            'optimizer "adam" has no clock, for its steps do not add up to a training time; train '
            'with rf.empirical.learning_curve(key, model, tau, optimizer="adam", ...)'
        )
    if optimizer not in OPTIMIZERS:
        raise ValueError(f"optimizer must be one of {', '.join(OPTIMIZERS)}, got {optimizer!r}")
    eta = real_scalar("learning_rate", learning_rate, above=0.0)
    given = real_array("momentum", momentum, "a number in [0, 1)")
    if given.ndim or not 0 <= given < 1:
        raise ValueError(f"momentum must be a number in [0, 1), got {momentum!r}")
    mu = float(given) if optimizer in ("momentum", "nesterov") else 0.0
    batch = n if batch_size is None else integer("batch_size", batch_size, most=n)
    tau = float(clock(stop.model, d, steps=1.0, learning_rate=eta, convention=convention))
    if sp is not None:
        _check_stable(sp, eta, tau, "gd" if optimizer == "sgd" else optimizer, mu)
    # momentum lengthens each step by 1/(1 - μ)
    per_step = tau / (1.0 - mu)
    best, lower, upper = (float(time) / per_step for time in (stop.tau, *stop.window))
    return Steps(best, lower, upper, n / batch)


def _check_stable(sp: AnySpectrum, eta: Real, tau: float, method: str, mu: float) -> None:
    largest = float(stable_step(sp, method, mu)) / tau * float(eta)
    if not eta < largest:
        raise ValueError(
            f"learning_rate must be below {largest:.6g} to be stable for {method} on these data, "
            f"got {float(eta):.6g}"
        )


def _count(k: float) -> str:
    return f"{k:,.0f}" if k >= 100 else f"{k:.3g}"
