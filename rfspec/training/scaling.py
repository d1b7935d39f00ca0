r"""How stopping scales: the model whose window is as wide as wanted,
and the exponent of the best score error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

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
from .early_stopping import EarlyStopping, early_stopping
from .learning_curves import score_error, score_unit
from .losses import flow_losses
from .stops import stops

PARAMETERS = {"n": "psi_n", "p": "psi_p", "t": "t", "psi_n": "psi_n", "psi_p": "psi_p"}
DOUBLINGS = 20  # how far from the model's own value is looked, up and down
NEAR = 1e-5  # step in log of the parameter that tells the slope of the width
INFINITE = 1e12  # ψ_n/ψ_p that stands for ψ_n = ∞: what is left of finite n is of this order


class Required(NamedTuple):
    """Answer of ``required``: a parameter and its value, the model with it, when to stop it,
    the relative error.
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
    Beyond arXiv 2505.17638.

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

    def changed(log_x: Real) -> RandomFeatureModel:
        x = jnp.exp(log_x)
        if name == "t":
            return eqx.tree_at(lambda m: m.process.t, model, x)
        return eqx.tree_at(lambda m: getattr(m, name), model, x)

    def excess(log_x: float) -> float:
        """1/width - 1/target, which has no pole where the window loses its end;
        NaN where it has lost its beginning.
        """
        window = early_stopping(changed(np.float64(log_x)), tolerance).window
        return float(window.lower / window.upper) - 1.0 / target if window.lower > 0 else np.nan

    def known_excess(log_x: float) -> float:
        """NaN too where the losses do not converge, since nothing is left to learn there,
        or nothing can be told.
        """
        try:
            return excess(log_x)
        except ConvergenceError:
            return np.nan

    from scipy.optimize import brentq  # takes as long to import as everything else

    start, here = (
        float(np.log(np.float64(getattr(model, name)))),
        early_stopping(model, tolerance).window,
    )
    low, high, found_sign = _bracket(known_excess, start)
    if not found_sign:
        raise ValueError(
            f"for_window must be a width that some {name} from {np.exp(low):.6g} to "
            f"{np.exp(high):.6g} has, "
            f"got {target:.6g}; the window at {np.exp(start):.6g} is [{float(here.lower):.6g}, "
            f"{float(here.upper):.6g}]"
        )
    log_x = brentq(excess, low, high, xtol=1e-13, rtol=1e-13)
    found = changed(np.float64(log_x))
    stop = early_stopping(found, tolerance)
    near = [early_stopping(changed(np.float64(v)), tolerance) for v in (log_x - NEAR, log_x + NEAR)]
    slope = float(jnp.log(near[1].width / near[0].width)) / (2 * NEAR)
    off = abs(float(jnp.log(stop.width)) - np.log(target))
    if not (np.isfinite(slope) and slope != 0 and off < 1e-3):
        raise ValueError(
            f"for_window must be a width that some {name} in double precision has, got "
            f"{target:.6g}: the window loses "
            f"its end at {name} = {np.exp(log_x):.12g}, and passes this width too close to that"
        )
    miss = off + float(stop.window_error.lower + stop.window_error.upper)
    return Required(name, float(getattr(found, name)), found, stop, miss / abs(slope))


def _bracket(excess: Callable[..., Any], start: float) -> tuple[float, float, bool]:
    """Neighbours on a grid of factors of two, as close to the start as can be,
    between which the sign changes.

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
    """The smallest score error over training, arrays of ψ_n's shape, and how it scales.

    `score_error`: min_τ E_score at `tau`. `exponent`: its local slope d log/d log ψ_n. `floor`: its
    limit ψ_n → ∞, set by the features. `error`, `floor_error`: estimated relative errors of the
    score errors and of the floor.
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
        If a ψ_n is not positive and finite.

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
    """Smallest test loss, its slope in log ψ_n, its place and its error at each ψ_n."""

    def one(n: Real) -> tuple[Real, Real, Real, Real]:
        def smallest(log_n: Real) -> tuple[Real, tuple[Real, Real]]:
            moved = eqx.tree_at(lambda e: e.psi_n, eq, jnp.exp(log_n))
            found = stops(moved, 1.0, 0.5)
            ended = found.best == jnp.inf
            along = flow_losses(moved, jnp.where(ended, 0.0, found.best))[2]
            return found.test, (found.best, jnp.where(ended, found.limit_error, along))

        (test, slope), (c, error) = _value_and_slope(smallest, jnp.log(n))
        return test, slope, c, error

    return jax.lax.map(one, psi_n)


def _value_and_slope(f: Callable[..., Any], x: Real) -> tuple[tuple[Real, Real], tuple[Real, Real]]:
    value, slope, rest = jax.jvp(f, (x,), (jnp.ones_like(x),), has_aux=True)
    return (value, slope), rest
