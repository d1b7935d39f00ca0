"""Losses along training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..training.early_stopping import EarlyStopping
from ..training.learning_curves import LearningCurve
from ..training.timescales import Timescales
from .style import COLORS, axis_or_new, style


def learning_curve(
    curves: LearningCurve | Mapping[str, LearningCurve],
    ax: Any = None,
    *,
    times: Timescales | None = None,
    stop: EarlyStopping | None = None,
) -> Any:
    """Draw train and test loss over training time.

    Parameters
    ----------
    curves : LearningCurve, or a mapping from labels to them
        The first is drawn as lines (train solid, test dashed), the others as markers on top; means
        over several draws with a band of one standard error.
    ax : matplotlib axis, optional
        Where to draw; by default in a new figure.
    times : Timescales, optional
        Shades the span from the fast to the slow end of each part and marks τ_gen and τ_mem.
    stop : EarlyStopping, optional
        Marks the best time and the window around it.

    Returns
    -------
    The axis, logarithmic in τ.
    """
    named = {"": curves} if isinstance(curves, LearningCurve) else dict(curves)
    with style():
        ax = axis_or_new(ax)
        for i, (name, curve) in enumerate(named.items()):
            train_look, test_look = ("-", "--") if i == 0 else ("o", "s")
            _loss(ax, curve, "train", name, train_look, "black")
            _loss(ax, curve, "test", name, test_look, COLORS["merged"])
        ax.set_xscale("log")
        shown = np.concatenate([np.ravel(v) for c in named.values() for v in (c.train, c.test)])
        if shown.min() > 0 and shown.max() > 6 * shown.min():
            ax.set_yscale("log")
        if times is not None:
            _spans(ax, times)
        if stop is not None:
            _window(ax, stop)
        ax.set_xlabel(r"training time $\tau = k\eta/d^2$")
        ax.set_ylabel("loss")
        ax.legend(loc="best")
    return ax


def _loss(ax: Any, curve: LearningCurve, kind: str, name: str, look: str, color: str) -> None:
    tau, values = np.ravel(curve.tau), np.ravel(getattr(curve, kind))
    # what is at infinity has no place on the axis
    tau = np.where(np.isfinite(tau), tau, np.nan)
    error = np.broadcast_to(np.ravel(getattr(curve.standard_error, kind)), tau.shape)
    label = f"{kind} loss, {name}" if name else f"{kind} loss"
    ax.plot(tau, values, look, color=color, label=label, mfc="none", zorder=3)
    if np.all(np.isfinite(error)):
        ax.fill_between(tau, values - error, values + error, color=color, alpha=0.2, lw=0, zorder=2)


def _window(ax: Any, stop: EarlyStopping) -> None:
    # the best time is a point on the test loss, the window a bar below the curves
    left, right = ax.get_xlim()
    lower, upper = max(float(stop.window.lower), left), min(float(stop.window.upper), right)
    ax.axvspan(lower, upper, ymax=0.03, color=COLORS["satellite"], lw=0, label="stopping window")
    if np.isfinite(float(stop.tau)):
        ax.plot(
            float(stop.tau),
            float(stop.test),
            "*",
            ms=11,
            color=COLORS["satellite"],
            label=r"best time $\tau^*$",
            zorder=4,
        )


def _spans(ax: Any, times: Timescales) -> None:
    for part in ("population", "sample", "satellite"):
        fast, slow = float(getattr(times.fast, part)), float(getattr(times.slow, part))
        if np.isfinite(fast) and np.isfinite(slow):
            ax.axvspan(fast, slow, color=COLORS[part], alpha=0.13, lw=0, zorder=0)
    for value, part, name in (
        (times.tau_gen, "population", r"$\tau_\mathrm{gen}$"),
        (times.tau_mem, "sample", r"$\tau_\mathrm{mem}$"),
    ):
        if np.isfinite(float(value)):
            ax.axvline(float(value), color=COLORS[part], lw=1.0, zorder=1)
            ax.annotate(
                name, (float(value), 1.0), xycoords=("data", "axes fraction"), ha="center",
                va="bottom",
                color=COLORS[part], annotation_clip=False,
            )  # fmt: skip
