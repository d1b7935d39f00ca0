"""All diffusion times at once: when to stop at each, and what one stop for all of them costs.

A denoiser is trained at every time of the process with the same number of steps. With weights w_t
on the test losses

    cost = min_τ Σ_t w_t L_test(t, τ) - Σ_t w_t min_τ L_test(t, τ) ≥ 0.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
from tqdm import tqdm

from ..models.model import RandomFeatureModel
from ..models.stored import stored
from ..numerics.checks import real_array
from ..numerics.types import Given, Real
from ..training.early_stopping import EarlyStopping, early_stopping
from ..training.learning_curves import LearningCurve, learning_curve
from ..training.timescales import RULES, Timescales, timescales

if TYPE_CHECKING:
    import xarray

# training times among which the shared one is looked for
GRID = 96
# factor by which they reach beyond the finite best times where a best time is 0 or ∞
BEYOND = 1e4
# step in log τ that tells the curvature at the shared time
STEP = 0.01
# of log τ at the shared time
TOLERANCE = 1e-7


def over_time(
    model: RandomFeatureModel,
    ts: Given,
    weights: Given = None,
    *,
    tolerance: Given = 0.01,
    progress: bool = False,
) -> xarray.Dataset:
    r"""Timescales and best stopping times along the process, and the best one for all its times.

    The shared time is

    .. math::

        \operatorname{argmin}_{0 ≤ τ ≤ ∞} \sum_t w_t L_{test}(t, τ).

    Parameters
    ----------
    model : RandomFeatureModel
        Its process is taken at other times; the rest is kept.
    ts : array, shape (T,)
        Times of the model's kind of process: t of Ornstein-Uhlenbeck, s of flow matching or the
        cosine curve, sigma of a variance-exploding process.
    weights : array, shape (T,), optional
        Weights w_t ≥ 0 of the losses; normalised to sum to 1. Equal if not given.
    tolerance : float
        ε > 0 of the stopping windows, absolute, in units of the loss.
    progress : bool
        Show a progress bar.

    Returns
    -------
    xarray.Dataset
        Over t: tau_gen and tau_mem by rule ("loss", "spectrum", "paper"), tau_star, window_lower,
        window_upper, test_star, score_error_star, error (of the losses, absolute), tau_star_error,
        window_lower_error, window_upper_error (relative), and at the shared time test_shared,
        score_error_shared. Scalars: tau_shared (∞ where training may go on for ever) and
        tau_shared_error, loss_shared and loss_each (Σ w L_test with the shared and with each time's
        own stop), cost = loss_shared - loss_each, cost_error. Units, and what the cost means in a
        sentence, are attributes.

    Raises
    ------
    ValueError
        If a time or weight is out of range, or the process has no time that could be varied.
    ConvergenceError
        If the losses at a time are not finite.

    Notes
    -----
    Beyond arXiv 2505.17638, which studies one time.

    Examples
    --------
    >>> import rfspec as rf
    >>> found = rf.over_time(rf.RandomFeatureModel(psi_p=8.0, psi_n=2.0, t=0.1), [0.05, 0.2])
    >>> print(found.tau_star.values.round(2))
    [21.33  7.62]
    >>> print(f"{float(found.tau_shared):.2f} {float(found.cost):.5f}")
    9.58 0.00924
    """
    times = _times(ts, model)
    weights = _normalised(weights, times)
    models = [eqx.tree_at(lambda m: m.process, model, model.process.at(t)) for t in times]
    bar = tqdm(
        models, desc="diffusion times", unit="time", disable=not progress, leave=False, delay=1.0
    )
    stops, by_rule = [], []
    for m in bar:
        stops.append(early_stopping(m, tolerance))
        by_rule.append([timescales(stops[-1], rule) for rule in RULES])
    tau, curves, tau_error = _shared_stop(models, weights, np.array([float(s.tau) for s in stops]))
    return _dataset(model, _Along(times, weights, stops, by_rule, curves, tau, tau_error))


class _Along(NamedTuple):
    # one entry for each time of the process, but for the time `tau` that all share; `curves`: the
    # losses there
    times: np.ndarray
    weights: np.ndarray
    stops: list[EarlyStopping]
    by_rule: list[list[Timescales]]
    curves: list[LearningCurve]
    tau: float
    tau_error: float


def _times(ts: list[Real], model: RandomFeatureModel) -> np.ndarray:
    times = real_array("ts", ts, "a one-dimensional array of finite real numbers")
    if times.ndim != 1 or not times.size:
        raise ValueError(
            f"ts must be a one-dimensional array that is not empty, got shape {times.shape}"
        )
    return times


def _normalised(weights: list[Real] | None, times: np.ndarray) -> np.ndarray:
    if weights is None:
        return np.ones(times.size) / times.size
    w = real_array("weights", weights, "finite real numbers")
    if w.shape != times.shape:
        raise ValueError(f"weights must have the shape of ts {times.shape}, got {w.shape}")
    if w.min() < 0 or w.sum() == 0:
        raise ValueError(f"weights must be at least 0 and not all 0, got {w}")
    return w / w.sum()


def _shared_stop(
    models: list[RandomFeatureModel], weights: np.ndarray, best: np.ndarray
) -> tuple[float, list[LearningCurve], float]:
    """The τ at which Σ_t w_t L_test is smallest, the losses there, and the relative error of τ."""
    from scipy.optimize import minimize_scalar

    curves = lambda tau: [learning_curve(m, tau) for m in models]
    mean = lambda curves: weights @ np.array([np.asarray(c.test) for c in curves])
    mean_at = lambda tau: float(mean(curves(tau)))
    grid = _candidates(best)
    i = int(np.argmin(mean(curves(grid))))
    if not 0 < grid[i] < np.inf:
        return float(grid[i]), curves(grid[i]), 0.0
    log_tau = minimize_scalar(
        lambda v: mean_at(np.exp(v)),
        bounds=(np.log(grid[max(i - 1, 1)]), np.log(grid[min(i + 1, GRID)])),
        method="bounded",
        options={"xatol": TOLERANCE},
    ).x
    tau = min((float(np.exp(log_tau)), float(grid[i])), key=mean_at)
    lowest = curves(tau)
    before, after = (mean_at(tau * np.exp(h)) for h in (-STEP, STEP))
    bend = float(before - 2 * mean(lowest) + after) / STEP**2
    error = float(weights @ np.array([float(c.error) for c in lowest]))
    # an error of the loss allows so much around a parabola
    return tau, lowest, float(np.sqrt(2 * error / abs(bend))) + TOLERANCE


def _candidates(best: np.ndarray) -> np.ndarray:
    # from the smallest to the largest best time, and beyond where one is 0 or ∞
    inner = best[(best > 0) & np.isfinite(best)]
    first, last = (inner.min(), inner.max()) if inner.size else (1.0, 1.0)
    first = first * (BEYOND**-1 if np.any(best == 0) else 1.0)
    last = last * (BEYOND if np.any(np.isinf(best)) else 1.0)
    return np.concatenate([[0.0], np.geomspace(first, last * (1 + 1e-9), GRID), [np.inf]])


def _dataset(model: RandomFeatureModel, along: _Along) -> xarray.Dataset:
    import xarray

    variables = _variables(along)
    cost, loss_each = (variables[name][1] for name in ("cost", "loss_each"))
    coordinates = {
        "t": ("t", along.times, {"units": "1", "long_name": "time of the process"}),
        "rule": list(RULES),
    }
    attributes = {
        "title": "Stopping along the diffusion",
        "source": f"rfspec {version('rfspec')}, jax {jax.__version__}, "
        f"{jax.devices()[0].device_kind}",
        "model": repr(model),
        **stored(model),
        "rfspec_model_is": "that of one time; others have their t",
        "statement": f"one stopping time for all, tau = {along.tau:.6g}, costs {cost:.3g} more of "
        f"the weighted test loss than the {loss_each:.6g} that a stopping time for each would "
        "reach",
    }
    return xarray.Dataset(variables, coordinates, attributes)


def _variables(along: _Along) -> dict[str, tuple[Any, ...]]:
    # of each output the dimensions, the values, and its unit and meaning
    of_stops = lambda read: np.array([float(read(stop)) for stop in along.stops])
    of_curves = lambda read: np.array([float(read(curve)) for curve in along.curves])
    by_rule = lambda read: np.array([[float(read(x)) for x in row] for row in along.by_rule])
    mean = lambda values: float(along.weights @ values)
    each, shared = of_stops(lambda s: s.test), of_curves(lambda c: c.test)
    error = of_stops(lambda s: s.error) + of_curves(lambda c: c.error)

    time = lambda meaning: {
        "units": "1",
        "note": "training time tau = k eta / d^2",
        "long_name": meaning,
    }
    pure = lambda meaning: {"units": "1", "long_name": meaning}
    on_t = {
        "tau_star": (of_stops(lambda s: s.tau), time("best training time")),
        "window_lower": (of_stops(lambda s: s.window.lower), time("start of the window")),
        "window_upper": (of_stops(lambda s: s.window.upper), time("end of the window")),
        "test_star": (each, pure("test loss at tau_star")),
        "score_error_star": (of_stops(lambda s: s.score_error), pure("E_score at tau_star")),
        "test_shared": (shared, pure("test loss at the shared stopping time")),
        "score_error_shared": (
            of_curves(lambda c: c.score_error),
            pure("E_score at the shared stopping time"),
        ),
        "weight": (along.weights, pure("weight of the loss")),
        "error": (error, pure("estimated absolute error of the losses")),
        "tau_star_error": (
            of_stops(lambda s: s.tau_error),
            pure("relative error of tau_star"),
        ),
        "window_lower_error": (
            of_stops(lambda s: s.window_error.lower),
            pure("relative error of window_lower"),
        ),
        "window_upper_error": (
            of_stops(lambda s: s.window_error.upper),
            pure("relative error of window_upper"),
        ),
    }
    numbers = {
        "tau_shared": (along.tau, time("best stopping time of all")),
        "tau_shared_error": (along.tau_error, pure("relative error of tau_shared")),
        "loss_shared": (mean(shared), pure("weighted test loss at tau_shared")),
        "loss_each": (mean(each), pure("weighted test loss at each tau_star")),
        "cost": (mean(shared - each), pure("loss_shared - loss_each")),
        "cost_error": (mean(error), pure("estimated absolute error of cost")),
    }
    return {
        "tau_gen": (("t", "rule"), by_rule(lambda x: x.tau_gen), time("population is learnt")),
        "tau_mem": (("t", "rule"), by_rule(lambda x: x.tau_mem), time("sample is learnt")),
        **{name: ("t", *entry) for name, entry in on_t.items()},
        **{name: ((), *entry) for name, entry in numbers.items()},
    }
