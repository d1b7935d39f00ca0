"""The prediction on the packaged 8×8 digits, draw by draw, and the tables of docs/real_data.md.

Four fifths of the images train, one fifth tests. The theory knows only the covariance of the
training images. Gaussian data of that covariance, in the same numbers, tell what the finite d = 64
does to it. Repeated over draws of the split and of the features.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray

import rfspec as rf
from rfspec.cli.demo import digits
from rfspec.files.checkpoint import Checkpoint, fingerprint, forget, resumed
from rfspec.surveys.held_out_data import EXACT, split

WHO = ("predicted", "digits", "gaussian")
KINDS = ("train", "test")
CURVES = tuple(f"{who}_{kind}" for kind in KINDS for who in WHO)
# test losses at the predicted best time, and the smallest one
AT_BEST = ("predicted_best_test", "digits_at_predicted_best", "digits_best_test")
TIMES = ("predicted_best_tau", "window_lower", "window_upper", "digits_best_tau")
# of the training times in the page's table: how they are written there
POWERS = {1: "10", 3: "10³", 6: "10⁶"}


def draw_by_draw(
    activations: Sequence[str],
    times: Sequence[float],
    psi_p: float,
    tau: Any,
    draws: int,
    state: Path,
) -> xarray.Dataset:
    """Losses and best times of all draws. What is done is kept in files that begin with `state`."""
    cases = list(itertools.product(activations, times, range(draws)))
    identity = fingerprint("digits", *map(str, (activations, times, psi_p, draws)), tau)
    file = state.with_name(f"{state.name}.{identity[:8]}")

    def once(i: int) -> dict[str, Any]:
        activation, t, seed = cases[i]
        return _measured(jax.random.key(seed), activation, t, psi_p, tau)

    found = resumed(len(cases), once, Checkpoint(file, identity))
    forget(file)
    dims = ("activation", "t", "draw")
    grid = len(activations), len(times), draws
    stacked = {name: np.stack([case[name] for case in found]) for name in found[0]}
    return xarray.Dataset(
        {
            name: ((*dims, "tau")[: 3 + values.ndim - 1], values.reshape(*grid, *values.shape[1:]))
            for name, values in stacked.items()
        },
        {"activation": list(activations), "t": list(times), "draw": range(draws), "tau": tau},
    )


def over_draws(table: xarray.Dataset) -> xarray.Dataset:
    """Means over the draws and their standard errors; of best times the geometric mean and range.

    The window is that of the means of its ends.
    """
    names = [*CURVES, *AT_BEST]
    mean = {name: table[name].mean("draw") for name in names}
    roots = np.sqrt(table.sizes["draw"])
    error = {f"{name}_error": table[name].std("draw", ddof=1) / roots for name in names}
    best = {
        name: np.exp(np.log(table[name]).mean("draw"))
        for name in ("predicted_best_tau", "digits_best_tau")
    }
    window = {name: table[name].mean("draw") for name in ("window_lower", "window_upper")}
    spread = {
        "digits_best_tau_least": table.digits_best_tau.min("draw"),
        "digits_best_tau_most": table.digits_best_tau.max("draw"),
    }
    return xarray.Dataset(mean | error | best | window | spread)


def page(means: xarray.Dataset) -> str:
    """The two tables of docs/real_data.md: losses at three times, and when to stop."""
    cases = list(itertools.product(means.activation.values, means.t.values))
    lines = [
        "| σ | t | τ | train, predicted | digits | Gaussian | test, predicted | digits | Gaussian "
        "|",
        "| --- " * 9 + "|",
    ]
    for (activation, t), (power, name) in itertools.product(cases, POWERS.items()):
        row = means.sel(activation=activation, t=t).sel(tau=10.0**power, method="nearest")
        losses = " | ".join(_with_error(row, curve) for curve in CURVES)
        lines.append(f"| {activation} | {t:g} | {name} | {losses} |")
    lines += [
        "",
        "| σ | t | best τ, predicted | window | measured | test loss, predicted | measured there "
        "| smallest |",
        "| --- " * 8 + "|",
    ]
    for activation, t in cases:
        row = means.sel(activation=activation, t=t)
        window = f"{_time(row.window_lower)} to {_time(row.window_upper)}"
        spread = f"{_time(row.digits_best_tau_least)} to {_time(row.digits_best_tau_most)}"
        predicted, measured = _time(row.predicted_best_tau), _time(row.digits_best_tau)
        losses = " | ".join(_with_error(row, name) for name in AT_BEST)
        found = f"{predicted} | {window} | {measured} ({spread}) | {losses}"
        lines.append(f"| {activation} | {t:g} | {found} |")
    return "\n".join(lines) + "\n"


def _measured(key: Any, activation: str, t: float, psi_p: float, tau: Any) -> dict[str, Any]:
    # the key splits and draws
    found = rf.held_out(key, digits(), psi_p, t, tau, activation=activation, repeats=1)
    stop = found.prediction.stop
    model = rf.RandomFeatureModel(
        psi_p,
        found.prediction.model.psi_n,
        t,
        activation=activation,
        covariance=rf.FromData(split(key, digits(), 0.2, None)[0]),
    )
    matrices = rf.empirical.sample(key, model, found.prediction.d, tolerance=EXACT)
    curves = found.predicted, found.measured, rf.empirical.gradient_flow(matrices, tau)
    losses = {
        f"{who}_{kind}": getattr(curve, kind)
        for who, curve in zip(WHO, curves, strict=True)
        for kind in KINDS
    }
    at_best = (stop.test, found.measured_at_stop, found.test)
    times = (stop.tau, *stop.window, found.tau)
    return (
        losses
        | dict(zip(AT_BEST, map(float, at_best), strict=True))
        | dict(zip(TIMES, map(float, times), strict=True))
    )


def _time(tau: Any) -> str:
    # four digits, without powers of ten
    return "∞" if np.isinf(float(tau)) else f"{float(f'{float(tau):.4g}'):,.10g}"


def _with_error(row: Any, name: str) -> str:
    # 0.9947(3): the standard error in the last digit shown
    return f"{float(row[name]):.4f}({round(1e4 * float(row[f'{name}_error']))})"


if __name__ == "__main__":
    from recipe import HERE, kept, load

    print(page(kept(load(HERE / "beyond_real_digits.py"))["means"]))
