"""What the theory predicts of the same draws, without sampling: in the limit, and at the data's d.

Where norms are wanted too, also in the limit with the norms of the samples as they are.

Means over the draws put it beside what was measured.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import xarray
from measured import KINDS, Parts, model_of, stacked
from scipy.interpolate import CubicSpline

import rfspec as rf
from rfspec.numerics.types import Key, Matrix, Vector

# the theories, and what is known of each besides its losses
THEORIES = ("limit", "finite", "norms")
# times among which the best one of a spline is looked for
FINE = 5000
BEST = ("best_tau", "best_test", "window_lower", "window_upper")


def both(
    parts: Callable[[Key], Parts], psi_p: float, measured: xarray.Dataset, norms: int = 0
) -> dict[str, xarray.Dataset]:
    """What is measured, what is predicted of the same draws, and the means of both.

    With `norms` also by the theory of data whose norms have so many values.
    """
    found = predicted(parts, psi_p, measured, norms)
    means = over_draws(measured, found).assign_attrs(d=found.attrs["d"])
    return {"measured": measured, "predicted": found, "means": means}


def predicted(
    parts: Callable[[Key], Parts], psi_p: float, measured: xarray.Dataset, norms: int
) -> xarray.Dataset:
    """Losses and best times with their windows, from each draw's training part."""
    trained = [parts(jax.random.key(seed))[0] for seed in measured.draw.values]
    tau = measured.tau.values
    axes = measured.activation.values.tolist(), measured.t.values.tolist()
    found = []
    for activation, t, train in itertools.product(*axes, trained):
        limit = model_of(train, activation, t, psi_p)
        models = {"limit": limit, "finite": limit.replace(d=train.shape[1])}
        models |= {"norms": with_norms(limit, train, norms)} if norms else {}
        each = [_of_model(*named, tau) for named in models.items()]
        found.append({name: value for one in each for name, value in one.items()})
    return stacked(found, *axes, len(trained), tau).assign_attrs(d=trained[0].shape[1])


def with_norms(model: rf.RandomFeatureModel, train: Matrix, count: int) -> rf.RandomFeatureModel:
    """The same model for elliptical data, with the samples' squared norms in equal parts."""
    parts = np.array_split(np.sort(np.mean(train**2, axis=1)), count)
    scales = np.array([np.mean(part) for part in parts])
    shares = np.array([len(part) for part in parts]) / len(train)
    with warnings.catch_warnings():
        # samples of small norm, for which tanh is nearly linear
        warnings.simplefilter("ignore", rf.SaturationWarning)
        law = rf.Elliptical(model.covariance, scales / (shares @ scales), shares)
        return model.replace(covariance=law)


def over_draws(measured: xarray.Dataset, predicted: xarray.Dataset) -> xarray.Dataset:
    """Means over the draws and their standard errors; of best times the geometric mean and range.

    The window is that of the means of its ends. Measured test losses at the predicted best times
    are read off cubic splines in ln τ, as are best times of Gaussian data.
    """
    table = measured.merge(predicted)
    for theory in [one for one in THEORIES if f"{one}_test" in table]:
        table[f"data_at_{theory}_best"] = _test_at(table, table[f"{theory}_best_tau"])
    if "gaussian_test" in table:
        table["gaussian_best_tau"] = _best_of(table)
    whose = [who for who in (*THEORIES, "data", "gaussian") if f"{who}_test" in table]
    losses = [f"{who}_{kind}" for who in whose for kind in KINDS]
    at_best = [name for name in table if name.endswith("_best_test") or name.startswith("data_at_")]
    mean = {name: table[name].mean("draw") for name in [*losses, *at_best]}
    roots = np.sqrt(table.sizes["draw"])
    error = {f"{name}_error": table[name].std("draw", ddof=1) / roots for name in mean}
    best = {name: table[name] for name in table if name.endswith("_best_tau")}
    windows = {name: table[name].mean("draw") for name in table if "_window_" in name}
    spread = {"least": table.data_best_tau.min("draw"), "most": table.data_best_tau.max("draw")}
    return xarray.Dataset(
        mean
        | error
        | {name: np.exp(np.log(values).mean("draw")) for name, values in best.items()}
        | windows
        | {f"data_best_tau_{name}": values for name, values in spread.items()}
    )


def _of_model(name: str, model: rf.RandomFeatureModel, tau: Vector) -> dict[str, Any]:
    curve, stop = rf.learning_curve(model, tau), rf.early_stopping(model)
    numbers = map(np.asarray, (stop.tau, stop.test, *stop.window))
    losses = {kind: np.asarray(getattr(curve, kind)) for kind in KINDS}
    found = losses | dict(zip(BEST, numbers, strict=True))
    return {f"{name}_{of}": value for of, value in found.items()}


def _test_at(table: xarray.Dataset, tau: xarray.DataArray) -> xarray.DataArray:
    # beyond the last time the losses have ended
    x = np.log(table.tau.values)
    at = np.clip(np.log(tau), x[0], x[-1])
    return xarray.apply_ufunc(
        lambda y, x1: CubicSpline(x, y)(x1),
        table.data_test,
        at,
        input_core_dims=[["tau"], []],
        vectorize=True,
    )


def _best_of(table: xarray.Dataset) -> xarray.DataArray:
    x = np.log(table.tau.values)
    fine = np.linspace(x[0], x[-1], FINE)
    return xarray.apply_ufunc(
        lambda y: np.exp(fine[np.argmin(CubicSpline(x, y)(fine))]),
        table.gaussian_test,
        input_core_dims=[["tau"]],
        vectorize=True,
    )
