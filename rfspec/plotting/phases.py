"""Phase diagrams: regions over ψ_n and ψ_p at one budget, with training times as contours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke

from ..numerics.checks import real_array
from .style import COLORS, axis_or_new, style

if TYPE_CHECKING:
    import xarray

# label and colour of each code
REGIONS = {
    -1: ("outside the theory", "#ffffff"),
    0: ("not yet trained", "#e4e4e4"),
    1: ("generalisation by early stopping", "#b9d9ee"),
    2: ("memorisation", "#f6c9ae"),
    3: ("architectural regularisation", "#b5dfcf"),
    4: ("nothing to learn", "#d9cfe3"),
}
# marker and filling of a measured point by how it was found
FLAGS = {
    "interpolated": ("o", "full"),
    "on grid": ("s", "full"),
    "censored": ("^", "none"),
    "out of range": ("x", "full"),
}
# training times that contours may show
TIMES = ("tau_star", "window_lower", "window_upper", "tau_gen", "tau_mem")


def phase_diagram(
    diagram: xarray.Dataset,
    ax: Any = None,
    *,
    times: str | None = "tau_star",
    rule: str = "spectrum",
    measured: Mapping[str, Any] | None = None,
) -> Any:
    """Draw the regions of a phase diagram at one t and one τ, on logarithmic axes ψ_n and ψ_p.

    The region of each cell is shaded. Lines show where τ is the end of the stopping window
    (memorisation begins), where the window loses its end (the architecture regularises), and p = n.
    Thin labelled contours show a training time.

    Parameters
    ----------
    diagram : xarray.Dataset
        Of ``rf.phase_diagram``; take one of several t or τ with ``.sel``.
    ax : matplotlib axis, optional
        Where to draw; by default in a new figure.
    times : {"tau_star", "window_lower", "window_upper", "tau_gen", "tau_mem"}, optional
        Which training time the contours show; None for no contours.
    rule : {"paper", "spectrum", "loss"}
        Of tau_gen and tau_mem.
    measured : mapping of arrays "psi_n", "psi_p", "flag", optional
        Measured points of a line, each flagged "interpolated" (between two measured models), "on
        grid" (at one), "censored" (the line lies beyond the last model measured) or "out of range"
        (not of this picture).

    Returns
    -------
    The axis.

    Raises
    ------
    ValueError
        If the diagram has several t or τ, or none of its ψ is a finite number above 0, or a name or
        flag is unknown.
    """
    _check(diagram, times)
    cells = diagram.sel(rule=rule).sortby("psi_p").sortby("psi_n")
    cells = cells.isel({name: _inside(cells[name]) for name in ("psi_p", "psi_n")})
    x, y = cells.psi_n.values, cells.psi_p.values
    with style():
        ax = axis_or_new(ax)
        handles = _regions(ax, cells, x, y)
        ax.set_xscale("log")
        ax.set_yscale("log")
        xlim, ylim = ax.get_xlim(), ax.get_ylim()
        handles += _lines(ax, cells, x, y)
        if times is not None:
            handles += _contours(ax, x, y, cells[times].values, times, rule)
        if measured is not None:
            handles += _measured(ax, measured)
        ax.set_xlim(xlim)
        ax.set_ylim(ylim)
        ax.set_xlabel(r"$\psi_n = n/d$")
        ax.set_ylabel(r"$\psi_p = p/d$")
        ax.set_title(_title(cells), loc="left")
        ax.legend(handles=handles, loc="center left", bbox_to_anchor=(1.02, 0.5))
    return ax


def _check(diagram: Any, times: str | None) -> None:
    several = [name for name in ("t", "tau") if name in diagram.dims]
    if several:
        raise ValueError(
            f"diagram must be of one t and one tau, got several of {' and '.join(several)}: take "
            "one by .sel"
        )
    outside = [name for name in ("psi_p", "psi_n") if not np.any(_inside(diagram[name]))]
    if outside:
        raise ValueError(
            f"diagram must have finite values above 0 of psi_p and psi_n, got none of {outside[0]}"
        )
    check_times(times)


def _inside(x: Any) -> np.ndarray:
    values = np.asarray(x)
    return np.isfinite(values) & (values > 0)


def check_times(times: str | None) -> None:
    if times is not None and times not in TIMES:
        raise ValueError(f"times must be one of {', '.join(TIMES)} or None, got {times!r}")


def _title(cells: Any) -> str:
    tau = float(cells.tau)
    if np.isinf(tau):
        budget = r"\infty"
    else:
        mantissa, power = f"{tau:.3e}".split("e")
        factor = "" if float(mantissa) == 1 else rf"{float(mantissa):g}\times "
        budget = rf"{factor}10^{{{int(power)}}}"
    time = f", $t = {float(cells.t):g}$" if "t" in cells.coords else ""
    return rf"$\tau = {budget}${time}, tolerance {cells.attrs['tolerance']:g}"


def _regions(ax: Any, cells: Any, x: np.ndarray, y: np.ndarray) -> list[Any]:
    codes = cells.region.values
    colors = ListedColormap([color for _, color in REGIONS.values()])
    norm = BoundaryNorm(np.arange(-1.5, 5.0), len(REGIONS))
    ax.pcolormesh(
        _borders(x), _borders(y), codes, cmap=colors, norm=norm, zorder=0, rasterized=True
    )
    return [
        Patch(color=color, label=label)
        for code, (label, color) in REGIONS.items()
        if np.any(codes == code)
    ]


def _borders(x: np.ndarray) -> np.ndarray:
    # half way between neighbours on a logarithmic axis
    logs = np.log(x)
    steps = np.diff(logs) if x.size > 1 else np.array([0.2])
    ends = logs[0] - steps[0] / 2, logs[-1] + steps[-1] / 2
    return np.exp(np.r_[ends[0], (logs[1:] + logs[:-1]) / 2, ends[1]])


def _lines(ax: Any, cells: Any, x: np.ndarray, y: np.ndarray) -> list[Any]:
    handles = []
    tau, tolerance = float(cells.tau), cells.attrs["tolerance"]
    # smooth across lines
    excess = lambda test: np.arcsinh((test - cells.test_star).values / tolerance) - np.arcsinh(1.0)
    lines = [
        (
            excess(cells.test_limit),
            COLORS["satellite"],
            r"$L_\mathrm{test}(\infty)$ within the tolerance",
        )
    ]
    if np.isfinite(tau):
        late = np.where(tau > cells.tau_star.values, excess(cells.test), excess(cells.test_star))
        lines.append((late, COLORS["sample"], r"$\tau$ is the end of the window"))
    if x.size > 1 and y.size > 1:
        for values, color, label in lines:
            # no lines where nothing can be learnt
            values = np.where(cells.tau_star.values == 0, np.nan, values)
            if np.any(values < 0) and np.any(values > 0):
                ax.contour(
                    x,
                    y,
                    np.ma.masked_invalid(values),
                    levels=[0.0],
                    colors=[color],
                    linewidths=1.8,
                    zorder=3,
                )
                handles.append(Line2D([], [], color=color, lw=1.8, label=label))
    ends = np.array([max(x[0], y[0]), min(x[-1], y[-1])])
    if ends[0] < ends[1]:
        ax.plot(ends, ends, color="black", ls=(0, (4, 3)), lw=1.0, zorder=3)
        handles.append(Line2D([], [], color="black", ls=(0, (4, 3)), lw=1.0, label=r"$p = n$"))
    return handles


def _contours(
    ax: Any, x: np.ndarray, y: np.ndarray, values: np.ndarray, times: str, rule: str
) -> list[Any]:
    names = {
        "tau_star": r"$\tau^*$",
        "window_lower": "beginning of the window",
        "window_upper": "end of the window",
        "tau_gen": rf"$\tau_\mathrm{{gen}}$, rule {rule}",
        "tau_mem": rf"$\tau_\mathrm{{mem}}$, rule {rule}",
    }
    with np.errstate(divide="ignore"):
        log = np.where(
            np.isfinite(values) & (values > 0), np.log10(np.where(values > 0, values, 1.0)), np.nan
        )
    if x.size < 2 or y.size < 2 or np.all(np.isnan(log)) or not np.nanmax(log) > np.nanmin(log):
        return []
    span = np.nanmax(log) - np.nanmin(log)
    step = next(s for s in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 1e9) if span / s <= 9)
    levels = np.arange(np.ceil(np.nanmin(log) / step), np.floor(np.nanmax(log) / step) + 1) * step
    if levels.size:
        drawn = ax.contour(
            x, y, np.ma.masked_invalid(log), levels=levels, colors="0.35", linewidths=0.7, zorder=2
        )
        for text in ax.clabel(drawn, fmt=lambda v: rf"$10^{{{v:g}}}$", fontsize=7, zorder=4):
            text.set_path_effects([withStroke(linewidth=2.0, foreground="white", alpha=0.8)])
    return [Line2D([], [], color="0.35", lw=0.7, label=names[times])]


def _measured(ax: Any, measured: Mapping[str, Any]) -> list[Any]:
    x, y = (
        real_array(name, measured[name], "finite numbers above 0") for name in ("psi_n", "psi_p")
    )
    flags = np.asarray(measured["flag"])
    unknown = sorted(set(flags.tolist()) - set(FLAGS))
    if unknown:
        raise ValueError(f"flag must be one of {', '.join(FLAGS)}, got {unknown[0]!r}")
    handles = []
    for flag, (marker, filling) in FLAGS.items():
        chosen = flags == flag
        if np.any(chosen):
            (line,) = ax.plot(
                x[chosen],
                y[chosen],
                marker,
                fillstyle=filling,
                color="black",
                ms=5,
                label=f"measured, {flag}",
                zorder=4,
            )
            handles.append(line)
    return handles
