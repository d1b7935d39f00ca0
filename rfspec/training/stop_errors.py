"""How well the times to stop at are known, given the errors of the losses there."""

from __future__ import annotations

import numpy as np

from ..numerics.checks import namespace
from ..numerics.types import Reals
from .scan import ACCURACY
from .stops import Stops

# the second derivative of a loss is known to so many errors of the loss
BEND = 16


def time_errors(errors: Reals, stop: Stops) -> Reals:
    """Relative errors of the four times, [4, ...], from the errors of the losses there, [4, ...].

    A time is known to (error of what vanishes there)/(its slope in log τ), where what is left of it
    counts as an error. The level of the window is as uncertain as the minimum. The slope of L_test
    is twice as uncertain as L_test, and its bend BEND times; where that leaves none, the best time
    is known to where the loss is told from its minimum. A time at 0 or ∞ has no error.
    """
    xp = namespace(errors, stop)
    last_first = lambda a: xp.moveaxis(xp.asarray(a), -1, 0)
    none = xp.zeros_like(errors[0])
    of_what_vanishes = (
        errors + xp.stack([errors[0], errors[0], errors[0], none]) + last_first(stop.residuals)
    )
    times = xp.stack([stop.best, stop.lower, stop.upper, stop.onset])
    # where nothing changes no time can be told
    with np.errstate(divide="ignore", invalid="ignore"):
        slopes = xp.abs(last_first(stop.slopes)) - xp.stack([BEND * errors[0], none, none, none])
        most = xp.stack([_plateau(errors[0], stop), none + xp.inf, none + xp.inf, none + xp.inf])
        moved = xp.where(slopes > 0, xp.minimum(of_what_vanishes / slopes, most), most)
        moved = xp.where(xp.isnan(slopes), xp.nan, moved)
    return xp.where((times == 0) | xp.isinf(times), 0.0, moved)


def _plateau(error: Reals, stop: Stops) -> Reals:
    # how far from the best time, relative to it, the scan is no worse by more than errors
    xp, c = namespace(error, stop), stop.scan_times
    best = stop.best[..., None]
    allowed = 2.0 * error[..., None] + ACCURACY * xp.abs(stop.scan_test[..., :1])
    worse = stop.scan_test > stop.test[..., None] + allowed
    before = xp.max(xp.where(worse & (c < best), c, 0.0), axis=-1)
    # the last time of the scan is as good as the end of training: ∞ where that is no worse
    end_is_worse = stop.test_limit > stop.test + 2.0 * error + stop.limit_error
    end = xp.where(end_is_worse, c[..., -1], xp.inf)
    after = xp.minimum(xp.min(xp.where(worse & (c > best), c, xp.inf), axis=-1), end)
    return xp.maximum(after / stop.best - 1.0, 1.0 - before / stop.best)
