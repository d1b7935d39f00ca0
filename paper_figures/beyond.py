"""What the figures beyond the papers show, as tables: parts of the loss, best times, slopes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import xarray
from tables import PARTS, Along, Models

import rfspec as rf


def drops(models: Models, along: Along) -> xarray.Dataset:
    """What each part takes off the train loss by the end of training, NaN where there is none."""
    kinds = PARTS[1:]
    taken, left = np.zeros((len(models), len(kinds))), np.empty(len(models))
    for i, model in enumerate(models):
        for bulk in rf.spectrum(model).bulks:
            kind = bulk.part if bulk.part in kinds else "merged"
            taken[i, kinds.index(kind)] += float(bulk.loss_drop)
        left[i] = float(rf.learning_curve(model, np.inf).train)
    name, values = along
    return xarray.Dataset(
        {
            "taken": ((name, "part"), np.where(taken > 0, taken, np.nan)),
            "left": ((name,), left, {"long_name": "L_train at τ = ∞"}),
        },
        {name: list(values), "part": list(kinds)},
    )


def sampled_drops(seed: int, models: Models, along: Along, d: int) -> xarray.Dataset:
    """The same of one sample of the Gaussian equivalent each, whose parts are told by rank."""
    taken = np.zeros((len(models), len(PARTS[1:])))
    for i, model in enumerate(models):
        key = jax.random.fold_in(jax.random.key(seed), i)
        matrices = rf.empirical.sample(key, model, d, kind="gaussian")
        basis = rf.empirical.eigenbasis(matrices)
        # of a mode that is fully learnt, from the top
        modes = np.asarray(basis.power / basis.eigenvalues)[::-1] / d
        first = min(d, matrices.n, matrices.p)
        second = max(first, min(matrices.n, matrices.p))
        for part, own in (
            ("population", modes[:first]),
            ("sample", modes[first:second]),
            ("satellite", modes[second:]),
        ):
            taken[i, PARTS.index(part) - 1] = own.sum()
    name, values = along
    found = xarray.Dataset(
        {"taken": ((name, "part"), taken)}, {name: list(values), "part": list(PARTS[1:])}
    )
    # ranks tell parts of a sample even where they have merged
    return found.where(np.isfinite(drops(models, along).taken))


def stops(models: Models, along: Along) -> xarray.Dataset:
    """The best time τ*, its window, and the onset of the generalisation gap."""
    found = [rf.early_stopping(model) for model in models]
    name, values = along
    columns = {
        "tau_star": [s.tau for s in found],
        "window_lower": [s.window.lower for s in found],
        "window_upper": [s.window.upper for s in found],
        "onset": [s.onset for s in found],
        "test_star": [s.test for s in found],
        "test_limit": [s.test_limit for s in found],
    }
    return xarray.Dataset(
        {key: ((name,), list(map(float, numbers))) for key, numbers in columns.items()},
        {name: list(values)},
    )


def sampled_stops(
    seed: int, models: Models, along: Along, d: int, repeats: int, **how: Any
) -> xarray.Dataset:
    """Best times of samples on a grid that follows the exact one: geometric mean and its error."""
    best = np.empty((len(models), repeats))
    for i, model in enumerate(models):
        tau = float(rf.early_stopping(model).tau) * np.geomspace(0.2, 5.0, 201)
        for j, key in enumerate(jax.random.split(jax.random.key(seed), repeats)):
            curve = rf.empirical.learning_curve(key, model, tau, d, **how)
            best[i, j] = np.log(tau[int(np.argmin(curve.test))])
    name, values = along
    mean, error = best.mean(axis=1), best.std(axis=1, ddof=1) / np.sqrt(repeats)
    return xarray.Dataset(
        {"tau_star": ((name,), np.exp(mean)), "tau_star_error": ((name,), np.exp(mean) * error)},
        {name: list(values)},
    )


def merging(model: Any, psi_n: Any, psi_p: tuple[float, float], search: int) -> xarray.Dataset:
    """Lines of the (ψ_n, ψ_p) plane on which two parts of the spectrum merge."""
    found = rf.merging_lines(model, psi_n=psi_n, psi_p=psi_p, search=search)
    pairs = ("population_sample", "sample_satellite", "population_satellite")
    lines = [np.asarray(getattr(found, pair).psi_p) for pair in pairs]
    branches = max(len(line) for line in lines)
    padded = [
        np.pad(line, ((0, branches - len(line)), (0, 0)), constant_values=np.nan) for line in lines
    ]
    return xarray.Dataset(
        {"psi_p": (("pair", "branch", "psi_n"), padded)},
        {"pair": list(pairs), "branch": range(branches), "psi_n": np.asarray(psi_n)},
    )


def sensitivities(
    model_at: Any, times: Sequence[str], along: Along, differences: Sequence[float], step: float
) -> dict[str, xarray.Dataset]:
    """τ_gen, τ_mem of the rule "spectrum" or τ_star along a parameter, with d ln τ/d parameter.

    `exact` has derivatives by JAX, `differences` those of two models a step to each side.
    """

    def log_times(x: Any) -> Any:
        model, found = model_at(x), {}
        if "tau_star" in times:
            found["tau_star"] = rf.early_stopping(model).tau
        of_parts = rf.timescales(model, rule="spectrum")
        found |= {"tau_gen": of_parts.tau_gen, "tau_mem": of_parts.tau_mem}
        return jax.numpy.log(jax.numpy.stack([found[time] for time in times]))

    slope = jax.jit(jax.jacfwd(log_times))
    name, values = along
    at = lambda x: np.asarray(log_times(float(x)))
    kinds = {"time": list(times)}
    exact = {
        "tau": ((name, "time"), np.exp([at(x) for x in values])),
        "slope": ((name, "time"), [np.asarray(slope(float(x))) for x in values]),
    }
    found = [(at(x + step) - at(x - step)) / (2 * step) for x in differences]
    return {
        "exact": xarray.Dataset(exact, {name: list(values)} | kinds),
        "differences": xarray.Dataset(
            {"slope": ((name, "time"), found)}, {name: list(differences)} | kinds
        ),
    }


def plain_cells(cells: xarray.Dataset) -> xarray.Dataset:
    """Of a phase diagram what its picture shows, which is a tenth of it."""
    shown = ["region", "tau_star", "tau_mem", "test", "test_star", "test_limit"]
    return cells.sel(rule=["spectrum"])[shown]
