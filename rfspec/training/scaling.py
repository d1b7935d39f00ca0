"""What widens the window of safe stopping, and what closes the gap of the losses."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from ..files.tables import in_brief
from ..models.model import RandomFeatureModel
from ..models.processes import OrnsteinUhlenbeck
from ..numerics.checks import real_scalar
from ..numerics.types import Given, Real
from ..resolvent.solver import ConvergenceError
from .arguments import training_times
from .early_stopping import EarlyStopping, early_stopping
from .learning_curves import learning_curve

PARAMETERS = {"n": "psi_n", "p": "psi_p", "t": "t", "psi_n": "psi_n", "psi_p": "psi_p"}
# a parameter is varied up and down by 2^DOUBLINGS at most
DOUBLINGS = 20
# step in the logarithm of the parameter that tells the slope of what is wanted
NEAR = 1e-5
# largest difference to what is asked for, in its logarithm
MET = 1e-3
# accuracy of the search in the logarithm of the parameter
CLOSE = 1e-13


class Required(NamedTuple):
    """Answer of ``required``.

    Attributes
    ----------
    parameter : {"psi_n", "psi_p", "t"}
        What was varied.
    value : float
        Its value at which the model is as wanted.
    model : RandomFeatureModel
        The model with that value.
    stop : EarlyStopping
        When to stop it.
    error : float
        Estimated relative error of the value.
    """

    parameter: str
    value: float
    model: RandomFeatureModel
    stop: EarlyStopping
    error: float

    def __repr__(self) -> str:
        return in_brief(self)


class Wish(NamedTuple):
    """What is wanted of a model, in terms of when to stop it.

    Attributes
    ----------
    argument, target, kind : str, float, str
        The argument that asks for it, the number given, and what kind of number that is.
    value : function of an EarlyStopping
        The number that is to meet the target.
    error : function of an EarlyStopping
        Its estimated relative error.
    excess : function of an EarlyStopping
        At most 0 where the wish is fulfilled, without a pole; NaN where nothing can be told.
    jumps : bool
        Whether a value beyond the target will do where none meets it.
    """

    argument: str
    target: float
    kind: str
    value: Callable[[EarlyStopping], float]
    error: Callable[[EarlyStopping], float]
    excess: Callable[[EarlyStopping], float]
    jumps: bool


def required(
    model: RandomFeatureModel,
    parameter: str,
    *,
    for_window: Given = None,
    for_tau: Given = None,
    for_gap: Given = None,
    tau: Given = None,
    tolerance: Given = 0.01,
) -> Required:
    r"""The ψ_n, ψ_p or t at which the window is as wide, or training as long and safe, as wanted.

    `for_window` solves upper/lower = for_window for the ends of ``early_stopping(model,
    tolerance).window``. `for_tau` solves upper = for_tau: a budget of training that may be used up.
    `for_gap` solves L_test - L_train = for_gap at the best time, or at `tau`.

    Parameters
    ----------
    model : RandomFeatureModel
        Its other parameters are kept; the solution next to its own value of the parameter is taken.
    parameter : {"n", "p", "t"}
        What may change: ψ_n (also "psi_n"), ψ_p ("psi_p"), or the time of an Ornstein-Uhlenbeck
        process.
    for_window : float
        Wanted factor between the ends of the window, > 1; a window ten times wider is
        ``10 * rf.early_stopping(model).width``.
    for_tau : float
        Training time τ > 0 up to which L_test is to stay within the tolerance of its minimum, once
        it is there. Of ψ_n the smallest value from which on this holds, as far as is searched
        without a break.
    for_gap : float
        Largest generalisation gap L_test - L_train > 0. Of ψ_n again the smallest value.
    tau : float, optional
        With `for_gap`: the training time 0 < τ ≤ ∞ at which the gap is taken; by default the best
        one of each model.
    tolerance : float
        ε of the window.

    Returns
    -------
    Required
        ``.parameter .value .model .stop .error``, the error relative.

    Raises
    ------
    ValueError
        If an argument is out of range, not exactly one wish is given, or no value within a factor
        of 2²⁰ fulfils it (or within what factor the losses converge, the window has a beginning or
        there is something to learn; the message names the range).
    ConvergenceError
        If the losses of the model itself do not converge.

    Notes
    -----
    Beyond arXiv 2505.17638. The search is by Brent's method on known numbers, so that the result
    can be neither mapped nor differentiated. Where the end of the window jumps over `for_tau`, or
    the gap over `for_gap`, the value is the one just beyond the jump at which the wish is
    fulfilled; a width that is jumped over is refused.

    Examples
    --------
    >>> import rfspec as rf
    >>> model = rf.RandomFeatureModel(psi_p=64.0, psi_n=8.0, t=0.01)
    >>> more = rf.required(model, "n", for_window=10 * rf.early_stopping(model).width)
    >>> print(f"psi_n = {more.value:.4f}")
    psi_n = 53.4415
    >>> safe = rf.required(model, "n", for_tau=10_000.0)
    >>> print(f"psi_n = {safe.value:.4f}, window up to {safe.stop.window.upper:.1f}")
    psi_n = 18.3449, window up to 10000.0
    """
    if parameter not in PARAMETERS:
        raise ValueError(f'parameter must be one of "n", "p", "t", got {parameter!r}')
    name = PARAMETERS[parameter]
    if name == "t" and not isinstance(model.process, OrnsteinUhlenbeck):
        raise ValueError(
            'parameter "t" goes with an Ornstein-Uhlenbeck process, got '
            f"{type(model.process).__name__}"
        )
    wish = _wish(for_window, for_tau, for_gap, tau)
    own = early_stopping(model, tolerance)
    stop_at = partial(_stop_at, model, name, tolerance)
    log_x, off = _solved(stop_at, name, wish, own)
    stop = stop_at(log_x)
    below, above = (wish.value(stop_at(log_x + side * NEAR)) for side in (-1, 1))
    missed = _logarithm(wish.value(stop)) - np.log(wish.target)
    slope = (_logarithm(above) - _logarithm(below)) / (2 * NEAR)
    if np.isfinite(slope) and slope != 0 and abs(missed) < MET:
        error = (abs(missed) + wish.error(stop)) / abs(slope)
    elif wish.jumps:
        # the loss where the jump is differs from its level by about ε for a change by e
        error = off + float(stop.error / stop.tolerance)
    else:
        raise ValueError(
            f"{wish.argument} must be {wish.kind} that some {name} in double precision has, got "
            f"{wish.target:.6g}: the window loses its end at {name} = {np.exp(log_x):.12g}, and "
            "passes this width too close to that"
        )
    return Required(name, float(getattr(stop.model, name)), stop.model, stop, error)


def _wish(for_window: Given, for_tau: Given, for_gap: Given, tau: Given) -> Wish:
    wishes = {"for_window": for_window, "for_tau": for_tau, "for_gap": for_gap}
    given = [name for name, value in wishes.items() if value is not None]
    if len(given) != 1:
        raise ValueError(
            f"give exactly one of {', '.join(wishes)}, got {' and '.join(given) or 'none'}"
        )
    if tau is not None and for_gap is None:
        raise ValueError(f"tau goes with for_gap, got {given[0]}")
    if for_window is not None:
        return _wider_window(float(real_scalar("for_window", for_window, above=1.0)))
    if for_tau is not None:
        return _longer_training(float(real_scalar("for_tau", for_tau, above=0.0)))
    target = float(real_scalar("for_gap", for_gap, above=0.0))
    if tau is None:
        return _smaller_gap(target, None)
    at = training_times(tau)
    if at.ndim or not at > 0:
        raise ValueError(f"tau must be one number greater than 0, got {tau!r:.100}")
    return _smaller_gap(target, float(at))


def _wider_window(target: float) -> Wish:
    def excess(stop: EarlyStopping) -> float:
        # 1/width - 1/target has no pole where the window loses its end
        lower, upper = map(float, stop.window)
        return lower / upper - 1.0 / target if lower > 0 else np.nan

    errors = lambda stop: float(stop.window_error.lower + stop.window_error.upper)
    width = lambda stop: float(stop.width)
    return Wish("for_window", target, "a width", width, errors, excess, jumps=False)


def _longer_training(target: float) -> Wish:
    def excess(stop: EarlyStopping) -> float:
        learns = not bool(stop.nothing_to_learn)
        return 1.0 / float(stop.window.upper) - 1.0 / target if learns else np.nan

    upper = lambda stop: float(stop.window.upper)
    error = lambda stop: float(stop.window_error.upper)
    return Wish("for_tau", target, "an end of the window", upper, error, excess, jumps=True)


def _smaller_gap(target: float, tau: float | None) -> Wish:
    def gap_and_error(stop: EarlyStopping) -> tuple[float, float]:
        if tau is None:
            learns = not bool(stop.nothing_to_learn)
            return (float(stop.test - stop.train) if learns else np.nan), 2.0 * float(stop.error)
        curve = learning_curve(stop.model, tau)
        return float(curve.gap), float(curve.error + curve.train_error)

    gap = lambda stop: gap_and_error(stop)[0]
    error = lambda stop: gap_and_error(stop)[1] / target
    kind = f"a gap {'at the best time' if tau is None else f'at tau = {tau:g}'}"
    return Wish("for_gap", target, kind, gap, error, lambda stop: gap(stop) - target, jumps=True)


def _stop_at(model: RandomFeatureModel, name: str, tolerance: Given, log_x: float) -> EarlyStopping:
    x = jnp.exp(np.float64(log_x))
    owner = (lambda m: m.process.t) if name == "t" else (lambda m: getattr(m, name))
    return early_stopping(eqx.tree_at(owner, model, x), tolerance)


def _solved(
    stop_at: Callable[[float], EarlyStopping], name: str, wish: Wish, own: EarlyStopping
) -> tuple[float, float]:
    # the logarithm of the parameter, next to that of `own`, from which on the wish is fulfilled,
    # and by how much it may be off
    # SciPy's optimizers take as long to import as everything else
    from scipy.optimize import brentq

    excess = lambda log_x: wish.excess(stop_at(log_x))

    def excess_or_nan(log_x: float) -> float:
        # the losses do not converge where nothing is left to learn, or nothing can be told
        try:
            return excess(log_x)
        except ConvergenceError:
            return np.nan

    start = float(np.log(np.float64(getattr(own.model, name))))
    only_upwards = name == "psi_n" and wish.jumps
    low, high, changes_sign = _bracket(excess_or_nan, start, only_upwards)
    if not changes_sign:
        lower, upper = map(float, own.window)
        already = " already" if wish.jumps and wish.excess(own) <= 0 else ""
        there = f"that at {np.exp(start):.6g} is {wish.value(own):.6g}{already}"
        raise ValueError(
            f"{wish.argument} must be {wish.kind} that some {name} from {np.exp(low):.6g} to "
            f"{np.exp(high):.6g} has, got {wish.target:.6g}; {there}, its window "
            f"[{lower:.6g}, {upper:.6g}]"
        )
    log_x = brentq(excess, low, high, xtol=CLOSE, rtol=CLOSE)
    return _fulfilled(excess, log_x) if wish.jumps else (log_x, CLOSE)


def _fulfilled(excess: Callable[[float], float], log_x: float) -> tuple[float, float]:
    # the nearest place at which the excess is at most 0, and how far the other side may be
    for step in (0.0, *(sign * CLOSE * 2.0**k for k in range(12) for sign in (1, -1))):
        if excess(log_x + step) <= 0:
            return log_x + step, 2 * max(abs(step), CLOSE)
    return log_x, CLOSE


def _bracket(
    excess: Callable[[float], float], start: float, only_upwards: bool
) -> tuple[float, float, bool]:
    """Neighbours on a grid of factors of two between which the sign changes, nearest to the start.

    `only_upwards` passes over those above which the excess is positive. Where the sign nowhere
    changes, the ends of what was searched: a direction ends where `excess` is NaN.
    """
    ends = {0: excess(start)}
    for k in range(1, DOUBLINGS + 1):
        for sign in (1, -1):
            inner, outer = sign * (k - 1), sign * k
            there = np.isfinite(ends[inner])
            ends[outer] = excess(start + outer * np.log(2.0)) if there or k == 1 else np.nan
            lower, upper = ends[min(inner, outer)], ends[max(inner, outer)]
            changes = np.isfinite(lower + upper) and (lower > 0) != (upper > 0)
            if changes and (lower > 0 or not only_upwards):
                return *sorted(start + i * np.log(2.0) for i in (inner, outer)), True
    searched = [
        start + k * np.log(2.0) for k, value in ends.items() if k == 0 or np.isfinite(value)
    ]
    return min(searched), max(searched), False


def _logarithm(value: Real) -> float:
    return float(np.log(value)) if value > 0 else np.nan
