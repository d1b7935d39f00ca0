"""What the figure of classes shows, as tables: losses and memorisation times of each class."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import xarray
from tables import Along, Models

import rfspec as rf

KINDS = ("train", "test")
# of the gap that a class has in the end, as in the onset of ``rf.early_stopping``
SHARE = 0.1
LATE = 1e12  # in place of τ → ∞, which samples do not take


def losses(model: rf.RandomFeatureModel, tau: Any) -> xarray.Dataset:
    """Exact losses of each class, with its best time and the onset of its gap."""
    curve = rf.learning_curve(model, tau)
    found = times([model], ("model", [0])).isel(model=0, drop=True)
    own = {kind: (("class", "tau"), np.asarray(getattr(curve, f"class_{kind}"))) for kind in KINDS}
    return xarray.Dataset(own, {"tau": np.asarray(tau)}).merge(found)


def sampled_losses(
    seed: int, model: rf.RandomFeatureModel, tau: Any, d: int, **how: Any
) -> xarray.Dataset:
    """The same of samples: means over draws, with standard errors."""
    curve = rf.empirical.learning_curve(jax.random.key(seed), model, tau, d, **how)
    columns = {}
    for kind in KINDS:
        name = f"class_{kind}"
        columns[kind] = getattr(curve, name)
        columns[f"{kind}_error"] = getattr(curve.standard_error, name)
    return xarray.Dataset(
        {name: (("class", "tau"), np.asarray(column)) for name, column in columns.items()},
        {"tau": np.asarray(tau)},
    )


def times(models: Models, along: Along) -> xarray.Dataset:
    """Best time and onset of the gap of each class, and its test loss at the best time."""
    classes = range(len(models[0].covariance.shares))
    stops = [[rf.early_stopping(rf.of_class(model, c)) for c in classes] for model in models]
    name, values = along
    columns = {"best": "tau", "best_test": "test", "onset": "onset"}
    return xarray.Dataset(
        {
            column: ((name, "class"), [[float(getattr(s, field)) for s in row] for row in stops])
            for column, field in columns.items()
        },
        {name: list(values)},
    )


def sampled_onsets(
    seed: int, models: Models, along: Along, tau: Any, d: int, repeats: int, **how: Any
) -> xarray.Dataset:
    """Times at which the gap of a class first has its share: geometric means and their errors."""
    tau = np.asarray(tau)
    onset = np.empty((len(models), repeats, len(models[0].covariance.shares)))
    for i, model in enumerate(models):
        for j, key in enumerate(jax.random.split(jax.random.key(seed), repeats)):
            curve = rf.empirical.learning_curve(key, model, [*tau, LATE], d, **how)
            gap = np.asarray(curve.class_test - curve.class_train)
            for c, own in enumerate(gap / gap[:, -1:]):
                after = int(np.argmax(own >= SHARE))
                onset[i, j, c] = np.interp(
                    SHARE, own[after - 1 : after + 1], np.log(tau[after - 1 : after + 1])
                )
    mean, error = onset.mean(axis=1), onset.std(axis=1, ddof=1) / np.sqrt(repeats)
    name, values = along
    return xarray.Dataset(
        {
            "onset": ((name, "class"), np.exp(mean)),
            "onset_error": ((name, "class"), np.exp(mean) * error),
        },
        {name: list(values)},
    )
