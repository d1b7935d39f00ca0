"""Panels that several figures share. They draw tables and compute nothing.

Exact theory is drawn as lines and what was sampled as markers or grey histograms.
"""

from __future__ import annotations

import itertools
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray
from matplotlib.colors import LogNorm
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter
from tables import PARTS

import rfspec as rf

GREY = "0.78"
MARKERS = ("o", "s", "^", "D", "v", "P")
# without its yellow end, which does not show on white
SEQUENCE = plt.get_cmap("viridis")


def shades(count: int) -> list[Any]:
    """Colours of the members of a family, dark to light."""
    return [SEQUENCE(0.85 * i / max(count - 1, 1)) for i in range(count)]


def parts(ax: Any, spectrum: xarray.Dataset) -> None:
    """One spectrum, each part in its colour, the atom as a dashed line."""
    for name in ("population", "sample", "satellite", "merged"):
        chosen = np.where(spectrum.part == PARTS.index(name), spectrum.mass_per_log, np.nan)
        if np.any(np.isfinite(chosen)):
            color = rf.plotting.COLORS[name]
            ax.plot(spectrum.eigenvalue, chosen, color=color, label=name, zorder=3)
            ax.fill_between(spectrum.eigenvalue, chosen, color=color, alpha=0.15, lw=0, zorder=1)
    if float(spectrum.atom_mass) > 0:
        label = f"atom, mass {float(spectrum.atom_mass):.3g}"
        look = {"color": rf.plotting.COLORS["atom"], "ls": (0, (4, 2)), "lw": 1.2}
        ax.axvline(float(spectrum.atom), label=label, zorder=2, **look)
    on_eigenvalues(ax)


def family(ax: Any, spectra: xarray.Dataset, labels: list[str]) -> None:
    """Spectra of a family, one colour each."""
    along = spectra.eigenvalue.dims[0]
    for i, color in enumerate(shades(spectra.sizes[along])):
        one = spectra.isel({along: i})
        ax.plot(one.eigenvalue, one.mass_per_log, color=color, label=labels[i], zorder=3)
    on_eigenvalues(ax)


def histogram(ax: Any, sampled: xarray.Dataset, label: str, *, fill: bool = True) -> None:
    """Sampled eigenvalues in grey, filled or as an outline."""
    edges = np.append(sampled.lower.values, sampled.upper.values[-1])
    look = {"color": GREY, "fill": True} if fill else {"color": "0.45", "lw": 0.8}
    ax.stairs(sampled.mass_per_log.values, edges, label=label, zorder=0, **look)


def on_eigenvalues(ax: Any) -> None:
    """Axes of a spectrum."""
    ax.set_xscale("log")
    ax.set_ylim(0, None)
    ax.set_xlabel(r"eigenvalue $\lambda$ of $U$")
    ax.set_ylabel(r"$\lambda\,\rho(\lambda)$")


def over_training(ax: Any, unit: str = r"$\tau = k\eta/d^2$") -> None:
    """The axis of training time."""
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(numticks=8))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel(unit)


def points(
    ax: Any, sampled: xarray.Dataset, kind: str, color: Any, marker: str = "o", label: str = ""
) -> None:
    """Sampled losses of one model as open markers with their standard errors."""
    look = {"fmt": marker, "ms": 4, "mfc": "white", "color": color, "lw": 0.9, "zorder": 4}
    error = sampled[f"{kind}_error"].values
    error = np.where(np.isfinite(error), error, 0.0)
    ax.errorbar(sampled.tau, sampled[kind], error, label=label or None, **look)


def heat_map(
    ax: Any, table: xarray.DataArray, label: str, *, log: bool = True, **limits: Any
) -> Any:
    """A quantity over (ψ_n, ψ_p) on logarithmic axes, with its colour bar."""
    values = table.transpose("psi_p", "psi_n")
    norm = LogNorm(**limits) if log else plt.Normalize(**limits)
    mesh = ax.pcolormesh(
        values.psi_n, values.psi_p, values, norm=norm, cmap="cividis", shading="nearest",
        rasterized=True,
    )  # fmt: skip
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel(r"$\psi_n = n/d$")
    ax.set_ylabel(r"$\psi_p = p/d$")
    ax.figure.colorbar(mesh, ax=ax, label=label)
    return mesh


def on_the_map(ax: Any, mesh: Any, sampled: xarray.DataArray) -> None:
    """Sampled values over (ψ_n, ψ_p) as disks in the colours of the map."""
    x, y = np.meshgrid(sampled.psi_n, sampled.psi_p)
    values = sampled.transpose("psi_p", "psi_n")
    ax.scatter(
        x, y, c=values, norm=mesh.norm, cmap=mesh.cmap, s=46, edgecolors="white", linewidths=0.9,
        zorder=4,
    )  # fmt: skip


def small_spectra(axes: Any, spectra: xarray.Dataset, sampled: xarray.Dataset, of: str) -> None:
    """A spectrum over sampled eigenvalues in each panel; the atom's bar may leave the panel."""
    along = spectra.eigenvalue.dims[0]
    for i, ax in enumerate(np.ravel(axes)):
        histogram(ax, sampled.isel({along: i}), of)
        one = spectra.isel({along: i})
        parts(ax, one)
        ax.set_ylim(0, 1.3 * float(one.mass_per_log.max()))
        ax.xaxis.set_major_locator(LogLocator(numticks=6))
        ax.xaxis.set_minor_formatter(NullFormatter())
    for ax in np.ravel(axes[:-1]):
        ax.set_xlabel("")
    for ax in np.ravel(axes[:, 1:]):
        ax.set_ylabel("")


def shared_legend(figure: Any, axes: Any) -> None:
    """One legend below all panels, an entry for each label, atoms without their masses."""
    found: dict[str, Any] = {}
    for ax in np.ravel(axes):
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            found.setdefault(label.split(", mass")[0], handle)
    figure.legend(found.values(), found.keys(), loc="outside lower center", ncol=len(found))


def curves(
    ax: Any, exact: xarray.Dataset, kinds: list[str], color: Any, unit: float, label: str
) -> None:
    """Exact losses of one model over τ/unit, the first kind solid and the second dashed."""
    for kind, ls in zip(kinds, ("-", (0, (4, 2))), strict=False):
        ax.plot(exact.tau / unit, exact[kind], color=color, ls=ls, label=label)
        label = "_"


def measured(
    ax: Any, sampled: xarray.Dataset, x: str, kind: str, color: Any, marker: str = "o"
) -> None:
    """Sampled values along one of their coordinates as open markers with their standard errors."""
    look = {"fmt": marker, "ms": 4.5, "mfc": "white", "color": color, "lw": 0.9, "zorder": 4}
    ax.errorbar(sampled[x], sampled[kind], sampled[f"{kind}_error"], **look)


def keys(shapes: dict[str, str], about: str = "", color: str = "0.25") -> list[Line2D]:
    """What markers stand for, as handles of a legend."""
    look = {"ls": "", "ms": 4.5, "mfc": "white", "color": color}
    return [Line2D([], [], marker=m, label=text + about, **look) for m, text in shapes.items()]


def members(table: xarray.Dataset, *along: str) -> list[tuple[tuple[float, ...], xarray.Dataset]]:
    """The tables of a family with the values that each has along some dimensions."""
    grid = itertools.product(*(table[name].values for name in along))
    return [
        (tuple(map(float, values)), table.sel(dict(zip(along, values, strict=True))))
        for values in grid
    ]


def place(ax: Any, x: float, name: str) -> None:
    """A thin vertical line that has a name."""
    ax.axvline(x, color="0.6", lw=0.8, zorder=0)
    ax.annotate(
        name, (x, 0.99), (3, 0), xycoords=("data", "axes fraction"), textcoords="offset points",
        color="0.35", fontsize=8, va="top",
    )  # fmt: skip


def drops(ax: Any, exact: xarray.Dataset, sampled: xarray.Dataset, x: str) -> None:
    """What each part takes off the train loss, and what is left; samples as open markers."""
    shapes = dict(zip(("population", "sample", "satellite", "merged"), MARKERS, strict=False))
    for part, marker in shapes.items():
        color = rf.plotting.COLORS[part]
        own, found = exact.taken.sel(part=part), sampled.taken.sel(part=part)
        if np.any(np.isfinite(own)):
            ax.plot(exact[x], own, color=color, label=part)
        if part != "merged":
            ax.plot(sampled[x], found, marker, color=color, mfc="white", ms=4.5, zorder=4)
    ax.plot(exact[x], exact.left, color="black", ls=(0, (4, 2)), label="never learnt")
    ax.set_xscale("log")
    ax.set_yscale("log")


def window(ax: Any, stops: xarray.Dataset, x: str) -> None:
    """Best times as a line in the window around them, whose end may be infinite."""
    # beyond any axis
    lower, upper = np.maximum(stops.window_lower, 1e-30), np.minimum(stops.window_upper, 1e30)
    shade = {"color": rf.plotting.COLORS["satellite"], "alpha": 0.25, "lw": 0}
    ax.fill_between(stops[x], lower, upper, label="window", **shade)
    ax.plot(stops[x], stops.tau_star, color="black", label=r"best time $\tau^*$")
    ax.set_xscale("log")
    ax.set_yscale("log")


def merging(ax: Any, lines: xarray.Dataset) -> None:
    """Lines on which parts of the spectrum merge, in colours of their own."""
    looks = {
        "population_sample": ("#0072B2", "population and sample merge"),
        "sample_satellite": ("#7A0177", "sample and satellite merge"),
        "population_satellite": ("#8C6D31", "population and satellite merge"),
    }
    for pair, (color, label) in looks.items():
        for line in lines.psi_p.sel(pair=pair).values:
            if np.any(np.isfinite(line)):
                ax.plot(lines.psi_n, line, color=color, ls=(0, (1, 1)), lw=2.0, label=label)
                label = "_"


def one_legend(figure: Any, axes: Any, columns: int = 4) -> None:
    """The legends of phase diagrams, and what was drawn over them, as one below all panels."""
    found: dict[str, Any] = {}
    for ax in np.ravel(axes):
        legend = ax.get_legend()
        old = [] if legend is None else zip(legend.legend_handles, legend.texts, strict=True)
        for handle, text in old:
            found.setdefault(text.get_text(), handle)
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
        if legend is not None:
            legend.remove()
    figure.legend(found.values(), found.keys(), loc="outside lower center", ncol=columns)


def levels(ax: Any, table: xarray.DataArray, at: list[float], color: str = "white") -> None:
    """Labelled lines on a map over (ψ_n, ψ_p)."""
    values = table.transpose("psi_p", "psi_n")
    drawn = ax.contour(
        values.psi_n, values.psi_p, values, levels=at, colors=color, linewidths=0.8, zorder=3
    )
    ax.clabel(drawn, fmt="%g", fontsize=7)


def predictions(means: xarray.Dataset, name: str) -> Any:
    """One panel for each activation and time: `name` is what the data are called."""
    shape = means.sizes["activation"], means.sizes["t"]
    figure, axes = plt.subplots(*shape, figsize=(11.0, 2.7 * shape[0] + 0.7), squeeze=False)
    for row, activation in zip(axes, means.activation.values, strict=True):
        for ax, t in zip(row, means.t.values, strict=True):
            _prediction(ax, means.sel(activation=activation, t=t), name)
            ax.set_title(f"{activation}, $t = {t:g}$")
    for ax in axes[:, 0]:
        ax.set_ylabel("loss")
    for ax in axes[-1]:
        over_training(ax)
    one_legend(figure, axes[0, 0])
    return figure


def _prediction(ax: Any, means: xarray.Dataset, name: str) -> None:
    # losses in the limit and at finite d as lines, measured ones as markers; when to stop
    colors = {"train": rf.plotting.COLORS["population"], "test": rf.plotting.COLORS["sample"]}
    grey = {"color": "0.6", "ls": (0, (4, 2)), "lw": 1.2}
    for kind, label in (("train", "both losses, limit d → ∞"), ("test", None)):
        ax.plot(means.tau, means[f"limit_{kind}"], label=label, **grey)
    for kind, color in colors.items():
        label = f"{kind} loss, d = {means.attrs['d']}"
        ax.plot(means.tau, means[f"finite_{kind}"], color=color, label=label)
        if f"norms_{kind}" in means:
            dots = {"color": color, "ls": (0, (1, 1.5))}
            ax.plot(means.tau, means[f"norms_{kind}"], label=f"{kind} loss, with norms", **dots)
    markers = [("data", name, "os"), ("gaussian", "Gaussian data", "x+")]
    for who, word, shapes in markers[: 1 + ("gaussian_test" in means)]:
        for kind, marker in zip(colors, shapes, strict=True):
            error = means[f"{who}_{kind}_error"]
            look = {"fmt": marker, "ms": 4, "mfc": "white", "lw": 0.8, "color": colors[kind]}
            own = means[f"{who}_{kind}"]
            ax.errorbar(means.tau, own, error, label=f"{kind} loss, {word}", zorder=4, **look)
    last = float(means.tau[-1])
    ends = float(means.finite_window_lower), min(float(means.finite_window_upper), last)
    green, low = rf.plotting.COLORS["satellite"], 0.02
    across = ax.get_xaxis_transform()
    ax.plot(ends, (low, low), color=green, lw=5, transform=across, label="window to stop in",
            solid_capstyle="butt")  # fmt: skip
    best = {"marker": "*", "ms": 11, "ls": "", "color": green, "zorder": 5}
    ax.plot(means.finite_best_tau, means.finite_best_test, label="best time", **best)
    ax.set_xscale("log")
