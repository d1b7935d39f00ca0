r"""All diffusion times at once: when to stop at each,
and what one stopping time for all of them costs.

A denoiser is trained at every time of the process with the same number of steps. With weights w_t
on the test losses

    cost = min_τ Σ_t w_t L_test(t, τ) - Σ_t w_t min_τ L_test(t, τ) ≥ 0.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import numpy as np
from tqdm import tqdm

from ..models.model import RandomFeatureModel
from ..models.processes import DDPM, Interpolant, Process
from ..numerics.checks import real_array
from ..numerics.types import Given, Real, Reals
from ..training.early_stopping import early_stopping
from ..training.learning_curves import learning_curve
from ..training.timescales import RULES, timescales

if TYPE_CHECKING:
    import xarray

GRID = 96  # training times looked at for the shared one
BEYOND = 1e4  # how far it is looked beyond the finite ones where a best time is 0 or ∞
STEP = 0.01  # in its logarithm, for the curvature there


def over_time(
    model: RandomFeatureModel,
    ts: Given,
    weights: Given = None,
    *,
    tolerance: Given = 0.01,
    progress: bool = False,
) -> xarray.Dataset:
    r"""Timescales and best stopping times along the process,
    and the best stopping time that all its times share.

    Parameters
    ----------
    model : RandomFeatureModel
        Its process is taken at other times; the rest is kept.
    ts : array, shape (T,)
        Times of the model's kind of process: t of Ornstein-Uhlenbeck, s of flow matching or the
        cosine curve, sigma.
    weights : array, shape (T,), optional
        Weights w_t ≥ 0 of the losses; normalised to sum to 1. Equal if not given.
    tolerance : float
        ε of the stopping windows.
    progress : bool
        Show a progress bar.

    Returns
    -------
    xarray.Dataset
        Over t: tau_gen and tau_mem by rule ("paper", "spectrum", "loss"), tau_star, window_lower,
        window_upper, test_star, score_error_star, error (of the losses, absolute), tau_star_error,
        window_lower_error, window_upper_error (relative), and at the shared time test_shared,
        score_error_shared. Scalars: tau_shared (∞ where training may go on for ever) and
        tau_shared_error, loss_shared and loss_each (Σ w L_test with the shared and with each time's
        own stop), cost = loss_shared - loss_each, cost_error. Units and what it means are
        attributes.

    Raises
    ------
    ValueError
        If a time or weight is out of range, or the process has no time that could be varied.

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
    models = [eqx.tree_at(lambda m: m.process, model, _process(model.process, t)) for t in times]
    share = _weights(weights, times)
    bar = tqdm(
        models, desc="diffusion times", unit="time", disable=not progress, leave=False, delay=1.0
    )
    stops, rules = [], {"tau_gen": [], "tau_mem": []}  # type: ignore[var-annotated]
    for m in bar:
        stop = early_stopping(m, tolerance)
        stops.append(stop)
        by_rule = [timescales(stop, rule) for rule in RULES]
        for name, rows in rules.items():
            rows.append([float(getattr(found, name)) for found in by_rule])
    best = np.array([float(s.tau) for s in stops])
    tau, at, off = _shared(models, share, best)
    each = np.array([float(s.test) for s in stops])
    return _dataset(model, times, share, stops, rules, (tau, off), at, each)


def _times(ts: list[Real], model: RandomFeatureModel) -> np.ndarray:
    times = real_array("ts", ts, "a one-dimensional array of finite real numbers")
    if times.ndim != 1 or not times.size:
        raise ValueError(
            f"ts must be a one-dimensional array that is not empty, got shape {times.shape}"
        )
    if isinstance(model.process, DDPM | Interpolant):
        raise ValueError(
            "the process must have a time, such as rf.OrnsteinUhlenbeck(t) (t = -½ log ᾱ of a "
            "DDPM step), got "
            f"{type(model.process).__name__}"
        )
    return times


def _process(process: Process, t: float) -> Process:
    return type(process)(t)


def _weights(weights: list[Real] | None, times: np.ndarray) -> np.ndarray:
    share = (
        np.ones(times.size)
        if weights is None
        else real_array("weights", weights, "finite real numbers")
    )
    if share.shape != times.shape:
        raise ValueError(f"weights must have the shape of ts {times.shape}, got {share.shape}")
    if share.min() < 0 or share.sum() == 0:
        raise ValueError(f"weights must be at least 0 and not all 0, got {share}")
    return share / share.sum()


def _shared(
    models: list[RandomFeatureModel], share: np.ndarray, best: np.ndarray
) -> tuple[float, list[Any], float]:
    """The training time at which the weighted test loss is smallest, between the best ones of
    single times; the losses there; and its relative error, by what an error of the loss allows
    around a parabola.
    """
    from scipy.optimize import minimize_scalar

    def curves(tau: Reals) -> list[Any]:
        return [learning_curve(m, tau) for m in models]

    mean = lambda found: share @ np.array([np.asarray(c.test) for c in found])
    grid = _candidates(best)
    values = mean(curves(grid))
    place = int(np.argmin(values))
    if not 0 < grid[place] < np.inf:
        return float(grid[place]), curves(grid[place]), 0.0
    ends = np.log(grid[max(place - 1, 1)]), np.log(grid[min(place + 1, GRID)])
    log_tau = minimize_scalar(
        lambda v: float(mean(curves(np.exp(v)))),
        bounds=ends,
        method="bounded",
        options={"xatol": 1e-7},
    ).x
    tau = min((float(np.exp(log_tau)), float(grid[place])), key=lambda v: float(mean(curves(v))))
    found, (before, after) = curves(tau), (mean(curves(tau * np.exp(h))) for h in (-STEP, STEP))
    bend = float(before - 2 * mean(found) + after) / STEP**2
    error = float(share @ np.array([float(c.error) for c in found]))
    return tau, found, float(np.sqrt(2 * error / abs(bend))) + 1e-7


def _candidates(best: np.ndarray) -> np.ndarray:
    """0, ∞, and a grid that reaches from the smallest to the largest best time,
    and beyond where one is at an end.
    """
    inner = best[(best > 0) & np.isfinite(best)]
    first, last = (inner.min(), inner.max()) if inner.size else (1.0, 1.0)
    first = first * (BEYOND**-1 if np.any(best == 0) else 1.0)
    last = last * (BEYOND if np.any(np.isinf(best)) else 1.0)
    return np.concatenate([[0.0], np.geomspace(first, last * (1 + 1e-9), GRID), [np.inf]])


def _dataset(
    model: RandomFeatureModel,
    times: np.ndarray,
    share: np.ndarray,
    stops: list[Any],
    rules: dict[str, list[Any]],
    common: tuple[float, float],
    at: list[Any],
    each: np.ndarray,
) -> xarray.Dataset:
    import xarray

    time, loss = {"units": "1", "note": "training time tau = k eta / d^2"}, {"units": "1"}
    column = lambda read, of: np.array([float(read(x)) for x in of])
    (tau, off), shared = common, column(lambda c: c.test, at)
    error = column(lambda s: s.error, stops) + column(lambda c: c.error, at)
    cost = float(share @ (shared - each))
    statement = (
        f"one stopping time for all, tau = {tau:.6g}, costs {cost:.3g} more of the weighted test "
        "loss than the "
        f"{float(share @ each):.6g} that a stopping time for each would reach"
    )
    variables = {
        **{name: (("t", "rule"), np.array(rows), time) for name, rows in rules.items()},
        "tau_star": ("t", column(lambda s: s.tau, stops), time),
        "window_lower": ("t", column(lambda s: s.window.lower, stops), time),
        "window_upper": ("t", column(lambda s: s.window.upper, stops), time),
        "test_star": ("t", each, loss),
        "score_error_star": ("t", column(lambda s: s.score_error, stops), loss),
        "test_shared": (
            "t",
            shared,
            {**loss, "long_name": "test loss at the shared stopping time"},
        ),
        "score_error_shared": ("t", column(lambda c: c.score_error, at), loss),
        "weight": ("t", share, {**loss, "long_name": "weight of the loss"}),
        "error": ("t", error, {**loss, "long_name": "estimated absolute error of the losses"}),
        **{
            f"{name}_error": (
                "t",
                column(read, stops),
                {"units": "1", "long_name": f"relative error of {name}"},
            )
            for name, read in (
                ("tau_star", lambda s: s.tau_error),
                ("window_lower", lambda s: s.window_error.lower),
                ("window_upper", lambda s: s.window_error.upper),
            )
        },
        "tau_shared": ((), tau, time),
        "tau_shared_error": ((), off, {"units": "1", "long_name": "relative error of tau_shared"}),
        "loss_shared": ((), float(share @ shared), loss),
        "loss_each": ((), float(share @ each), loss),
        "cost": ((), cost, {**loss, "long_name": "loss_shared - loss_each"}),
        "cost_error": (
            (),
            float(share @ error),
            {**loss, "long_name": "estimated absolute error of cost"},
        ),
    }
    coordinates = {
        "t": ("t", times, {"units": "1", "long_name": "time of the process"}),
        "rule": list(RULES),
    }
    attributes = {
        "title": "Stopping along the diffusion",
        "source": f"rfspec {version('rfspec')}, jax {jax.__version__}, "
        f"{jax.devices()[0].device_kind}",
        "model": repr(model),
        "statement": statement,
    }
    return xarray.Dataset(variables, coordinates, attributes)
