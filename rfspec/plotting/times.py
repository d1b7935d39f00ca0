"""Training times along the diffusion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .style import COLORS, axis_or_new, style

if TYPE_CHECKING:
    import xarray


def over_time(found: xarray.Dataset, ax: Any = None, *, rule: str = "loss") -> Any:
    """Draw the best time, its window, the timescales and the shared stop along the process.

    Parameters
    ----------
    found : xarray.Dataset
        Of ``rf.over_time``.
    ax : matplotlib axis, optional
        Where to draw; by default in a new figure.
    rule : {"loss", "spectrum", "paper"}
        Of τ_gen and τ_mem; by "loss" τ_gen is the best time.

    Returns
    -------
    The axis, logarithmic in training time; a window without an end is drawn to the upper end.

    Raises
    ------
    ValueError
        If the rule is unknown.
    """
    if rule not in found.rule.values:
        raise ValueError(
            f"rule must be one of {', '.join(map(str, found.rule.values))}, got {rule!r}"
        )
    order = np.argsort(found.t.values)
    t, column = found.t.values[order], lambda name: found[name].values[order]
    gen, mem = (found[name].sel(rule=rule).values[order] for name in ("tau_gen", "tau_mem"))
    best, lower, upper = (column(name) for name in ("tau_star", "window_lower", "window_upper"))
    shared = float(found.tau_shared)
    finite = np.concatenate([v[np.isfinite(v) & (v > 0)] for v in (gen, mem, best, lower, upper)])
    bottom, top = finite.min() / 2, finite.max() * 2
    finite_only = lambda v: np.where(np.isfinite(v), v, np.nan)
    with style():
        ax = axis_or_new(ax)
        ends = np.clip(lower, bottom, top), np.clip(upper, bottom, top)
        ax.fill_between(
            t, *ends, color=COLORS["satellite"], alpha=0.2, lw=0, label="stopping window"
        )
        ax.plot(t, finite_only(best), "o-", color=COLORS["satellite"], label=r"best time $\tau^*$")
        if rule != "loss":
            label = r"$\tau_\mathrm{gen}$"
            ax.plot(t, finite_only(gen), "--", color=COLORS["population"], label=label)
        ax.plot(t, finite_only(mem), "--", color=COLORS["sample"], label=r"$\tau_\mathrm{mem}$")
        if np.isfinite(shared):
            ax.axhline(shared, color="black", lw=1.0, ls=":", label="one time for all")
        if t.size > 1 and t[0] > 0 and t[-1] > 10 * t[0]:
            ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_ylim(bottom, top)
        ax.set_xlabel("time of the process")
        ax.set_ylabel(r"training time $\tau = k\eta/d^2$")
        ax.legend(loc="best")
    return ax
