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

SCANNED, SCAN = 10, 40  # digits of a scan of the training, and its number of times


def of_curve(curve: LearningCurve, of: regression.Regression, digits: int) -> Iterator[Row]:
    columns = (curve.tau, curve.train, curve.test, curve.train_error, curve.error)
    for tau, train, test, train_error, test_error in zip(
        *(np.ravel(np.asarray(a)) for a in columns), strict=True
    ):
        truth = curves.losses_of(of, mp.mpf(float(tau)), digits)
        for name, value, error in (("train", train, train_error), ("test", test, test_error)):
            yield row(f"{name} at τ = {tau:.6g}", value, getattr(truth, name), error, absolute=True)


def of_stop(stop: EarlyStopping, of: regression.Regression, digits: int) -> tuple[list[Row], str]:
    """Rows of a best time, and what is better than it, if anything is."""
    tau, end = mp.mpf(float(stop.tau)), curves.losses_of(of, mp.inf, digits)
    here = curves.losses_of(of, tau, digits)
    rows = [
        row(f"{name} at {where}", value, truth, stop.error, absolute=True)
        for name, where, value, truth in (
            ("train", "the best time", stop.train, here.train),
            ("test", "the best time", stop.test, here.test),
            ("train", "the end", stop.train_limit, end.train),
            ("test", "the end", stop.test_limit, end.test),
        )
    ]
    best = here.test
    if 0 < tau < mp.inf:
        place, best = _root(of, tau, digits, lambda at: (at.slope, at.bend))
        rows.append(row("the best time", stop.tau, place, stop.tau_error))
    level = best + mp.mpf(float(stop.tolerance))
    for name in ("lower", "upper"):
        edge = mp.mpf(float(getattr(stop.window, name)))
        if 0 < edge < mp.inf:
            place, _ = _root(of, edge, digits, lambda at: (at.test - level, at.slope))
            rows.append(row(f"{name} end of window", edge, place, getattr(stop.window_error, name)))
    return rows, _better(stop, of, end, level)


def _root(
    of: regression.Regression, tau: Any, digits: int, condition: Callable[[Any], tuple[Any, Any]]
) -> Any:
    """Where a condition on the losses vanishes near τ, by Newton's method in log τ,
    and L_test there.
    """
    for _ in range(8):
        at = curves.losses_of(of, tau, digits)
        value, slope = condition(at)
        step = value / slope if slope else mp.inf
        if not abs(step) < 1:
            return mp.nan, at.test
        if abs(step) < mp.mpf(10) ** (-digits / 2 - 2):
            return tau * mp.exp(-step), at.test
        tau *= mp.exp(-step)
    return mp.nan, at.test


def _better(stop: EarlyStopping, of: regression.Regression, end: Any, level: Any) -> str:
    """A time better than the best, or one inside the window that is too bad, in words;
    else nothing.
    """
    seen = [(mp.mpf(0), of.untrained, 0), *_minima(of), (mp.inf, end.test, 0)]
    margin = mp.mpf(float(stop.error)) + mp.mpf(10) ** (1 - SCANNED) * of.untrained * mp.mpf(
        "0.001"
    )
    tau, test, _ = min(seen, key=lambda x: x[1])
    if test < mp.mpf(float(stop.test)) - margin:
        return f"A BETTER TIME IS {mp.nstr(tau, 6)}, WITH L_test = {mp.nstr(test, 12)}"
    low, high = (
        mp.mpf(float(x)) * (1 + sign * mp.mpf("1e-6"))
        for x, sign in zip(stop.window, (1, -1), strict=True)
    )
    worst = max((x for x in seen if low <= x[0] <= high), key=lambda x: x[1], default=None)
    if worst is not None and worst[1] > level + margin:
        return f"INSIDE THE WINDOW, AT {mp.nstr(worst[0], 6)}, L_test IS {mp.nstr(worst[1], 12)}"
    return ""


def _minima(of: regression.Regression) -> list[tuple[Any, Any, Any]]:
    """(τ, L_test, its slope in log τ) over the whole training,
    and at the minima between two of these times.
    """
    look = lambda tau: (tau, *curves.scanned(of, tau, SCANNED)[1:3])
    with mp.workdps(SCANNED + numbers.GUARD):
        seen = [look(tau) for tau in curves.times_to_scan(of, SCAN)]
        for a, b in [*pairwise(seen)]:
            for _ in range(6 if a[2] < 0 <= b[2] else 0):
                share = min(max(a[2] / (a[2] - b[2]), mp.mpf("0.1")), mp.mpf("0.9"))
                middle = look(a[0] * (b[0] / a[0]) ** share)
                seen.append(middle)
                a, b = (middle, b) if middle[2] < 0 else (a, middle)
    return seen
