"""How stopping scales: what widens the window, and how the best score error falls with n."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..models.gaussian_equivalent import gaussian_equivalent
from ..models.model import RandomFeatureModel
from ..models.processes import OrnsteinUhlenbeck
from ..numerics.checks import real_array, real_scalar
from ..numerics.types import Given, Real, Vector
from ..resolvent.equations import averaged_equations
from ..resolvent.interface import Equations
from ..resolvent.solver import ConvergenceError
from .early_stopping import EarlyStopping, Window, early_stopping
from .learning_curves import score_error, score_unit
from .losses import flow_losses
from .stops import stops

PARAMETERS = {"n": "psi_n", "p": "psi_p", "t": "t", "psi_n": "psi_n", "psi_p": "psi_p"}
# a parameter is varied up and down by 2^DOUBLINGS at most
DOUBLINGS = 20
# step in the logarithm of the parameter that tells the slope of the width
NEAR = 1e-5
# largest difference to the width asked for, in its logarithm
MET = 1e-3
# this ψ_n/ψ_p stands for ψ_n = ∞: what is left of finite n is of the order of its inverse
INFINITE = 1e12


class Required(NamedTuple):
    """Answer of ``required``.

    Attributes
    ----------
    parameter : {"psi_n", "psi_p", "t"}
        What was varied.
    value : float
        Its value at which the window is as wide as wanted.
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


def required(
    model: RandomFeatureModel, parameter: str, *, for_window: Given, tolerance: Given = 0.01
) -> Required:
    r"""The ψ_n, ψ_p or t at which the window of safe stopping times is as wide as wanted.

    Solves upper/lower = for_window for the ends of ``early_stopping(model, tolerance).window``.

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
    tolerance : float
        ε of the window.

    Returns
    -------
    Required
        ``.parameter .value .model .stop .error``, the error relative.

    Raises
    ------
    ValueError
        If an argument is out of range, or no value within a factor of 2²⁰ has such a window (or
        within what factor the losses converge and the window has a beginning; the message names the
        range).
    ConvergenceError
        If the losses of the model itself do not converge.

    Notes
    -----
    Beyond arXiv 2505.17638. The search is by Brent's method on known numbers, so that the result
    can be neither mapped nor differentiated.

    Examples
    --------
    >>> import rfspec as rf
    >>> model = rf.RandomFeatureModel(psi_p=64.0, psi_n=8.0, t=0.01)
    >>> more = rf.required(model, "n", for_window=10 * rf.early_stopping(model).width)
    >>> print(f"psi_n = {more.value:.4f}")
    psi_n = 53.4415
    """
    if parameter not in PARAMETERS:
        raise ValueError(f'parameter must be one of "n", "p", "t", got {parameter!r}')
    name, target = PARAMETERS[parameter], float(real_scalar("for_window", for_window, above=1.0))
    if name == "t" and not isinstance(model.process, OrnsteinUhlenbeck):
        raise ValueError(
            'parameter "t" goes with an Ornstein-Uhlenbeck process, got '
            f"{type(model.process).__name__}"
        )

    own = early_stopping(model, tolerance).window
    stop_at = partial(_stop_at, model, name, tolerance)
    log_x = _solved(stop_at, float(np.log(np.float64(getattr(model, name)))), name, target, own)
    stop = stop_at(log_x)
    below, above = stop_at(log_x - NEAR), stop_at(log_x + NEAR)
    slope = float(jnp.log(above.width / below.width)) / (2 * NEAR)
    missed = abs(float(jnp.log(stop.width)) - np.log(target))
    if not (np.isfinite(slope) and slope != 0 and missed < MET):
        raise ValueError(
            f"for_window must be a width that some {name} in double precision has, got "
            f"{target:.6g}: the window loses its end at {name} = {np.exp(log_x):.12g}, and passes "
            "this width too close to that"
        )
    error = (missed + float(stop.window_error.lower + stop.window_error.upper)) / abs(slope)
    return Required(name, float(getattr(stop.model, name)), stop.model, stop, error)


def _stop_at(model: RandomFeatureModel, name: str, tolerance: Given, log_x: float) -> EarlyStopping:
    x = jnp.exp(np.float64(log_x))
    owner = (lambda m: m.process.t) if name == "t" else (lambda m: getattr(m, name))
    return early_stopping(eqx.tree_at(owner, model, x), tolerance)


def _solved(
    stop_at: Callable[[float], EarlyStopping], start: float, name: str, target: float, own: Window
) -> float:
    # the logarithm of the parameter, next to `start`, at which upper/lower = target; `own` is the
    # window at the start
    # SciPy's optimizers take as long to import as everything else
    from scipy.optimize import brentq

    def excess(log_x: float) -> float:
        # 1/width - 1/target has no pole where the window loses its end; NaN where it has lost its
        # beginning
        window = stop_at(log_x).window
        return float(window.lower / window.upper) - 1.0 / target if window.lower > 0 else np.nan

    def excess_or_nan(log_x: float) -> float:
        # the losses do not converge where nothing is left to learn, or nothing can be told
        try:
            return excess(log_x)
        except ConvergenceError:
            return np.nan

    low, high, changes_sign = _bracket(excess_or_nan, start)
    if not changes_sign:
        raise ValueError(
            f"for_window must be a width that some {name} from {np.exp(low):.6g} to "
            f"{np.exp(high):.6g} has, got {target:.6g}; the window at {np.exp(start):.6g} is "
            f"[{float(own.lower):.6g}, {float(own.upper):.6g}]"
        )
    return brentq(excess, low, high, xtol=1e-13, rtol=1e-13)


def _bracket(excess: Callable[[float], float], start: float) -> tuple[float, float, bool]:
    """Neighbours on a grid of factors of two between which the sign changes, nearest to the start.

    Where it nowhere does, the ends of what was searched: a direction ends where `excess` is NaN.
    """
    ends = {0: excess(start)}
    if ends[0] == 0:
        return start, start + 1e-12, True
    for k in range(1, DOUBLINGS + 1):
        for sign in (1, -1):
            inner, outer = sign * (k - 1), sign * k
            ends[outer] = (
                excess(start + outer * np.log(2.0))
                if np.isfinite(ends[inner]) or k == 1
                else np.nan
            )
            if ends[inner] * ends[outer] < 0:
                return *sorted(start + i * np.log(2.0) for i in (inner, outer)), True
    searched = [
        start + k * np.log(2.0) for k, value in ends.items() if k == 0 or np.isfinite(value)
    ]
    return min(searched), max(searched), False


class ScoreExponent(NamedTuple):
    """The smallest score error over training, and how it scales; arrays of ψ_n's shape.

    Attributes
    ----------
    psi_n : float
        Ratios n/d.
    score_error : float
        min_τ E_score.
    exponent : float
        d log min_τ E_score / d log ψ_n, its local slope.
    tau : float
        Where it is taken, in units of τ = kη/d².
    floor : float
        Its limit ψ_n → ∞, one number, which the features set.
    error, floor_error : float
        Estimated relative errors of the score errors and of the floor.
    """

    psi_n: Vector
    score_error: Vector
    exponent: Vector
    tau: Vector
    floor: Real
    error: Vector
    floor_error: Real


def score_exponent(model: RandomFeatureModel, psi_n: Given) -> ScoreExponent:
    r"""The running exponent of min_τ E_score in ψ_n.

    d log min_τ E_score / d log ψ_n, exact at every ψ_n. The paper reports the power law ψ_n^{-0.59}
    of simulations (its Fig. 13); the exact exponent runs, because for n → ∞ the error ends at a
    floor that p sets.

    Parameters
    ----------
    model : RandomFeatureModel
        Its ψ_n is not used.
    psi_n : array, any shape
        ψ_n > 0.

    Returns
    -------
    ScoreExponent
        ``.psi_n .score_error .exponent .tau .floor .error .floor_error``.

    Raises
    ------
    ValueError
        If a ψ_n is not a positive finite number.

    Notes
    -----
    arXiv 2505.17638, Fig. 13; the exact curves are beyond it.

    Examples
    --------
    >>> import rfspec as rf
    >>> model = rf.RandomFeatureModel(psi_p=32.0, psi_n=1.0, t=0.01)
    >>> found = rf.score_exponent(model, [4.0, 256.0])
    >>> print([f"{e:.5f}" for e in found.score_error], f"{found.floor:.4f}")
    ['0.08292', '0.00590'] 0.0024
    """
    rule = "positive finite numbers"
    n = real_array("psi_n", psi_n, rule)
    if not n.size or n.min() <= 0:
        raise ValueError(f"psi_n must be {rule}, got {psi_n!r:.100}")
    eq = averaged_equations(model, gaussian_equivalent(model))
    last = INFINITE * max(1.0, float(model.psi_p))
    test, slope, c, error = _slopes(eq, jnp.append(n.ravel(), last))
    score = score_error(model, test)
    unit = score_unit(model)
    shaped = lambda a: jnp.reshape(a[:-1], n.shape)
    tau = c * model.time_unit
    relative = error / unit / score
    exponent = slope / unit / score
    return ScoreExponent(
        n,
        shaped(score),
        shaped(exponent),
        shaped(tau),
        score[-1],
        shaped(relative),
        relative[-1] + 1.0 / INFINITE,
    )


@jax.jit
def _slopes(eq: Equations, psi_n: Vector) -> tuple[Vector, Vector, Vector, Vector]:
    """Smallest test loss, its slope in log ψ_n, its time c and its error at each ψ_n."""

    def smallest(log_n: Real) -> tuple[Real, tuple[Real, Real]]:
        of_n = eqx.tree_at(lambda e: e.psi_n, eq, jnp.exp(log_n))
        # the window and the onset of the gap are not used
        stop = stops(of_n, 1.0, 0.5)
        ended = stop.best == jnp.inf
        along = flow_losses(of_n, jnp.where(ended, 0.0, stop.best))[2]
        return stop.test, (stop.best, jnp.where(ended, stop.limit_error, along))

    def one(n: Real) -> tuple[Real, Real, Real, Real]:
        log_n = jnp.log(n)
        test, slope, (c, error) = jax.jvp(smallest, (log_n,), (jnp.ones_like(log_n),), has_aux=True)
        return test, slope, c, error

    return jax.lax.map(one, psi_n)
