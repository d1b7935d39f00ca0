"""Losses at the end of training, with m draws of the noise and a ridge, as tables.

arXiv 2609.26392 adds the penalty λΔ_t‖A‖²/(dp) to the train loss, the package γ‖A‖²/(dp), which
adds γ/ω² to U, with ω² = β² = Δ_t for the target "noise". So γ = ω²λ, and λ is what is added to U.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
import xarray

import rfspec as rf

LOSSES = ("train", "test")
AXES = ("t", "m", "ridge", "psi_n", "psi_p")
# exponent of the slowest mode at the time that stands for the end of a sample's training
LATE = 60.0


def model_of(t: float, m: float, ridge: float, psi_n: float, psi_p: float) -> Any:
    """The model with m draws of the noise, and λ added to U."""
    plain = rf.RandomFeatureModel(psi_p, psi_n, t, noise_draws=m)
    return plain.replace(weight_decay=ridge * plain.pace)


def late_losses(**axes: Any) -> xarray.Dataset:
    """Exact losses at τ = ∞ over all values of t, m, ridge, psi_n and psi_p."""

    def once(model: Any, i: int) -> list[float]:
        curve = rf.learning_curve(model, np.inf)
        return [float(getattr(curve, kind)) for kind in LOSSES]

    return _over(axes, LOSSES, once)


def sampled_late_losses(
    seed: int, features: int, dimensions: tuple[int, int], repeats: int, kind: str, **axes: Any
) -> xarray.Dataset:
    """The same of samples with standard errors, at the d between two limits with p near `features`.

    The ridge has to be above 0: it bounds the time at which all modes are trained.
    """

    def once(model: Any, i: int) -> list[float]:
        d = int(np.clip(round(features / float(model.psi_p)), *dimensions))
        late = LATE * float(model.time_unit * model.pace / model.weight_decay)
        key = jax.random.fold_in(jax.random.key(seed), i)
        curve = rf.empirical.learning_curve(key, model, [late], d, kind=kind, repeats=repeats)
        means = [float(getattr(curve, loss)[0]) for loss in LOSSES]
        errors = [float(getattr(curve.standard_error, loss)[0]) for loss in LOSSES]
        return [*means, *errors, d]

    return _over(axes, (*LOSSES, *(f"{kind}_error" for kind in LOSSES), "d"), once)


def envelope(losses: xarray.Dataset) -> xarray.Dataset:
    """The smallest test loss of all ridges of a table, and the ridge that has it."""
    return xarray.Dataset(
        {"test": losses.test.min("ridge"), "best_ridge": losses.test.idxmin("ridge")}
    )


def _over(
    axes: dict[str, Any], names: Sequence[str], once: Callable[[Any, int], list[float]]
) -> xarray.Dataset:
    values = [np.atleast_1d(np.asarray(axes[name], dtype=float)) for name in AXES]
    found = [
        once(model_of(*map(float, case)), i) for i, case in enumerate(itertools.product(*values))
    ]
    columns = np.reshape(found, (*map(len, values), len(names)))
    dataset = xarray.Dataset(
        {name: (AXES, columns[..., k]) for k, name in enumerate(names)},
        dict(zip(AXES, values, strict=True)),
    )
    # what was one number is none of the dimensions
    return dataset.squeeze([name for name in AXES if np.ndim(axes[name]) == 0])
