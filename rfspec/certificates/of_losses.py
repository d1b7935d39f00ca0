"""Rows of a certificate of a learning curve or a best training time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import mpmath as mp
import numpy as np

from ..algebraic import curves, numbers, regression
from ..training.early_stopping import EarlyStopping
from ..training.learning_curves import LearningCurve
from .rows import Row, row

SCAN_TIMES, SCAN_DIGITS = 40, 10  # a scan over the whole training: how many times, and digits


def rows_of_curve(
    curve: LearningCurve, problem: regression.Regression, digits: int
) -> Iterator[Row]:
    columns = (curve.tau, curve.train, curve.test, curve.train_error, curve.error)
    for tau, train, test, train_error, test_error in zip(
        *(np.ravel(np.asarray(a)) for a in columns), strict=True
    ):
        truth = curves.losses_of(problem, mp.mpf(float(tau)), digits)
        for name, value, error in (("train", train, train_error), ("test", test, test_error)):
            yield row(f"{name} at τ = {tau:.6g}", value, getattr(truth, name), error, absolute=True)


def rows_of_stop(
    stop: EarlyStopping, problem: regression.Regression, digits: int
) -> tuple[list[Row], str]:
    """Rows of a best time, and what contradicts it, in words; empty if nothing does."""
    tau, end = mp.mpf(float(stop.tau)), curves.losses_of(problem, mp.inf, digits)
    losses = curves.losses_of(problem, tau, digits)
    rows = [
        row(f"{name} at {where}", value, truth, stop.error, absolute=True)
        for name, where, value, truth in (
            ("train", "the best time", stop.train, losses.train),
            ("test", "the best time", stop.test, losses.test),
            ("train", "the end", stop.train_limit, end.train),
            ("test", "the end", stop.test_limit, end.test),
        )
    ]
    best = losses.test
    if 0 < tau < mp.inf:
        true_tau, best = _root(problem, tau, digits, lambda loss: (loss.slope, loss.bend))
        rows.append(row("the best time", stop.tau, true_tau, stop.tau_error))
    level = best + mp.mpf(float(stop.tolerance))
    for name in ("lower", "upper"):
        end_of_window = mp.mpf(float(getattr(stop.window, name)))
        if 0 < end_of_window < mp.inf:
            truth, _ = _root(
                problem, end_of_window, digits, lambda loss: (loss.test - level, loss.slope)
            )
            error = getattr(stop.window_error, name)
            rows.append(row(f"{name} end of window", end_of_window, truth, error))
    return rows, _contradiction(stop, problem, end, level)


def _root(
    problem: regression.Regression,
    tau: Any,
    digits: int,
    condition: Callable[[Any], tuple[Any, Any]],
) -> Any:
    # where a condition on the losses vanishes near τ, by Newton's method in log τ, and L_test there
    for _ in range(8):
        loss = curves.losses_of(problem, tau, digits)
        value, slope = condition(loss)
        step = value / slope if slope else mp.inf
        if not abs(step) < 1:
            return mp.nan, loss.test
        if abs(step) < mp.mpf(10) ** (-digits / 2 - 2):
            return tau * mp.exp(-step), loss.test
        tau *= mp.exp(-step)
    return mp.nan, loss.test


def _contradiction(
    stop: EarlyStopping, problem: regression.Regression, end: Any, level: Any
) -> str:
    # a time that is better than the best, or one inside the window that is too bad
    times = [(mp.mpf(0), problem.untrained, 0), *_scan_with_minima(problem), (mp.inf, end.test, 0)]
    margin = mp.mpf(float(stop.error)) + mp.mpf(10) ** (
        1 - SCAN_DIGITS
    ) * problem.untrained * mp.mpf("0.001")
    tau, test, _ = min(times, key=lambda x: x[1])
    if test < mp.mpf(float(stop.test)) - margin:
        return f"A BETTER TIME IS {mp.nstr(tau, 6)}, WITH L_test = {mp.nstr(test, 12)}"
    low, high = (
        mp.mpf(float(x)) * (1 + sign * mp.mpf("1e-6"))
        for x, sign in zip(stop.window, (1, -1), strict=True)
    )
    worst = max((x for x in times if low <= x[0] <= high), key=lambda x: x[1], default=None)
    if worst is not None and worst[1] > level + margin:
        return f"INSIDE THE WINDOW, AT {mp.nstr(worst[0], 6)}, L_test IS {mp.nstr(worst[1], 12)}"
    return ""


def _scan_with_minima(problem: regression.Regression) -> list[tuple[Any, Any, Any]]:
    # (τ, L_test, its slope in log τ) over the whole training, and at the minima between these times
    look = lambda tau: (tau, *curves.scanned(problem, tau, SCAN_DIGITS)[1:3])
    with mp.workdps(SCAN_DIGITS + numbers.GUARD):
        times = [look(tau) for tau in curves.times_to_scan(problem, SCAN_TIMES)]
        for a, b in [*pairwise(times)]:
            for _ in range(6 if a[2] < 0 <= b[2] else 0):
                x = min(max(a[2] / (a[2] - b[2]), mp.mpf("0.1")), mp.mpf("0.9"))
                middle = look(a[0] * (b[0] / a[0]) ** x)
                times.append(middle)
                a, b = (middle, b) if middle[2] < 0 else (a, middle)
    return times
