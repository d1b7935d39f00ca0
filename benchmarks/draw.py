"""Draw the kept results into README.md, between its markers, and as pictures beside it.

    python benchmarks/draw.py

results/scaling.csv becomes pictures/scaling.png, results/floor.json a table, and every
results/gpu-*.json a column of a table and a colour of pictures/gpu.png.
"""

import csv
import json
import sys
from itertools import groupby

import matplotlib as mpl

mpl.use("agg")
import matplotlib.pyplot as plt
import numpy as np
from bench_scaling import fitted
from common import HERE, RESULTS, replaced

import rfspec as rf

README, PICTURES = HERE / "README.md", HERE / "pictures"
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
MARKERS = "osD^v"
LINES = {"density": "-", "edge": "--", "loss": "-."}


def filled(text, name, content):
    """The text with what stands between the markers of a name replaced."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    if text.count(begin) != 1 or text.count(end) != 1:
        raise ValueError(f"README.md must hold the markers {begin} and {end} once each")
    before, rest = text.split(begin)
    return before + begin + "\n" + content.strip() + "\n" + end + rest.split(end)[1]


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def number(value, unit=""):
    """Three digits, powers of ten from 10⁴ and below 10⁻³."""
    if value is None or not np.isfinite(value):
        return ""
    if value == 0 or 1e-3 <= abs(value) < 1e4:
        return f"{float(f'{value:.3g}'):g}{unit}"
    mantissa, power = f"{value:.1e}".split("e")
    raised = str(int(power)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{float(mantissa):g}·10{raised}{unit}"


def of_device(found):
    """Name of a device with its cores."""
    name = found.get("device", "unknown")
    return f"{found['cores']} cores of {name}" if found.get("platform") == "cpu" else name


# --------------------------------------------------------------------------------------------------
# scaling


def scaling():
    """Log-log plots of cost in work, and a table of exponents."""
    rows = list(csv.DictReader((RESULTS / "scaling.csv").read_text().splitlines()))
    series = [(key, list(group)) for key, group in groupby(rows, lambda r: (r["work"], r["of"]))]
    with rf.plotting.style():
        figure, axes = plt.subplots(2, 4, figsize=(11, 5), layout="constrained")
        for ax, (key, points) in zip(axes.flat, series, strict=False):
            one_growth(ax, key, points)
        for ax in axes.flat[len(series) :]:
            ax.set_axis_off()
        figure.supylabel("seconds")
        figure.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside lower center", ncol=2)
        PICTURES.mkdir(exist_ok=True)
        figure.savefig(PICTURES / "scaling.png", dpi=110)
        plt.close(figure)
    cells = [
        (
            of,
            work,
            f"{points[0]['size']} to {points[-1]['size']}",
            f"{float(points[0]['exponent']):.2f}",
        )
        for (work, of), points in series
    ]
    return (
        table(("what", "grows with", "from, to", "exponent"), cells)
        + "\n\n![Cost as work grows, measured and fitted](pictures/scaling.png)"
    )


def one_growth(ax, key, points):
    x = np.array([float(p["size"]) for p in points])
    y, power = np.array([float(p["seconds"]) for p in points]), float(points[0]["exponent"])
    ax.loglog(x, y, "o", color=COLORS[0], label="measured")
    own = fitted(x)
    # the line of least squares goes through the means of the logarithms
    middle, height = (np.exp(np.mean(np.log(a[own]))) for a in (x, y))
    ends = x[own][[0, -1]]
    label = "least squares, over the sizes that it is fitted to"
    ax.loglog(ends, height * (ends / middle) ** power, color="0.3", label=label)
    ax.set_title(f"{key[1]}: exponent {power:.2f}", fontsize="medium")
    ax.set_xlabel(key[0])
    ax.xaxis.set_minor_formatter(mpl.ticker.NullFormatter())
    ax.yaxis.set_minor_formatter(mpl.ticker.NullFormatter())


# --------------------------------------------------------------------------------------------------
# the floor


def floor():
    """Operations by hand and in programs, and how far each step is from the machine."""
    found = json.loads((RESULTS / "floor.json").read_text())
    rates = found["rates"]
    counts = [
        (
            f"{row['name']}, {row['eigenvalues']} eigenvalue{'s' * (row['eigenvalues'] > 1)}",
            *(
                number(row[key])
                for key in ("by_hand", "traced", "compiled", "least_bytes", "bytes")
            ),
        )
        for row in found["counts"]
    ]
    head = (
        "a point",
        "operations by hand",
        "traced",
        "XLA's count",
        "bytes by hand",
        "XLA's count",
    )
    names = {"solve": "solve, a point", "cell": "phase diagram, a cell"}
    wholes = [
        (
            names.get(row["name"], row["name"]),
            number(row["seconds"], " s"),
            number(row["operations"]),
            number(row["times_the_machine"]),
        )
        for row in found["wholes"]
    ]
    says = (
        f"{of_device(found)}, commit {found['commit']}: a matrix product "
        f"{number(rates['matrix'] / 1e9)} Gflop/s; in loops over arrays "
        f"{number(rates['products'] / 1e9)} Gflop/s of fused products and sums, "
        f"{number(rates['quotients'])} divisions, {number(rates['complex_quotients'])} complex "
        f"reciprocals, {number(rates['elementary'])} exponentials a second; memory "
        f"{number(rates['memory'] / 1e9)} GB/s."
    )
    head_of_wholes = ("whole", "time", "operations", "times the machine's time for them")
    return "\n\n".join([says, table(head, counts), table(head_of_wholes, wholes)])


# --------------------------------------------------------------------------------------------------
# GPU


def rows_of(found, stage):
    return found["stages"].get(stage, {}).get("rows", [])


def at_most(found, stage, key, worst=min):
    values = [row[key] for row in rows_of(found, stage) if row.get(key) is not None]
    return worst(values) if values else None


def largest(found, stage):
    """Seconds at the largest size of a stage."""
    row = (rows_of(found, stage) or [None])[-1]
    return "" if row is None else f"{number(row['seconds'], ' s')} at p = {row['size']:,}"


def equal(found, name, target):
    for row in rows_of(found, "equal accuracy"):
        if row["number"] == name and row["target"] == target:
            return f"{number(row['theory_s'], ' s')}; {number(row['sampling_s'], ' s')}"
    return ""


def gpu():
    """A table with a column for each device, and a picture."""
    files = sorted(RESULTS.glob("gpu-*.json"))
    if not files:
        return "No results of a device are kept."
    all_found = [json.loads(path.read_text()) for path in files]
    lines = {
        "solve, points a second, on the device": lambda f: number(
            at_most(f, "solve", "points_per_s", max)
        ),
        "the same by `rf.solve`, arrays of NumPy": lambda f: number(
            at_most(f, "solve", "by_solve_per_s", max)
        ),
        "spectrum in a batch, each": lambda f: number(at_most(f, "spectra", "ms_each"), " ms"),
        "losses at 200 times in a batch, each": lambda f: number(
            at_most(f, "curves", "ms_each"), " ms"
        ),
        "cell of a phase diagram": lambda f: number(at_most(f, "phase diagram", "ms_each"), " ms"),
        "10⁶ cells": lambda f: number(
            f["stages"].get("phase diagram", {}).get("seconds_for_1e6_cells"), " s"
        ),
        "exact U": lambda f: largest(f, "exact U"),
        "all eigenvalues": lambda f: largest(f, "eigenvalues"),
        "spectrum without a matrix": lambda f: largest(f, "matrix-free"),
        "a density to 10⁻³: theory; sampling": lambda f: equal(f, "density", 1e-3),
        "an edge to 10⁻³: theory; sampling": lambda f: equal(f, "edge", 1e-3),
        "a loss to 10⁻³: theory; sampling": lambda f: equal(f, "loss", 1e-3),
        "JAX; commit": lambda f: f"{f.get('jax')}; {f.get('commit')}",
        "the whole": lambda f: number(f["seconds"], " s"),
    }
    body = [(name, *map(of, all_found)) for name, of in lines.items()]
    picture(all_found)
    return (
        table(("", *map(of_device, all_found)), body)
        + "\n\n![Throughput against the size of a batch, cost of matrices, and cost of an "
        "accuracy by theory and by sampling](pictures/gpu.png)"
    )


def picture(all_found):
    """Solve, batches, matrices, and equal accuracy on the last device."""
    with rf.plotting.style():
        figure, axes = plt.subplots(2, 2, figsize=(10, 7.5), layout="constrained")
        for found, color in zip(all_found, COLORS, strict=False):
            of_batches(axes[0, 0], axes[0, 1], found, color)
            of_matrices(axes[1, 0], found, color)
        of_accuracy(axes[1, 1], all_found[-1])
        axes[0, 0].set(xlabel="points", ylabel="points per second", title="solve")
        axes[0, 1].set(xlabel="models", ylabel="models per second", title="many models")
        axes[1, 0].set(xlabel="p", ylabel="seconds", title="matrices")
        for ax in axes.flat:
            ax.legend(fontsize="small")
        PICTURES.mkdir(exist_ok=True)
        figure.savefig(PICTURES / "gpu.png", dpi=110)
        plt.close(figure)


def lines_of(ax, found, stages, y, color):
    for (stage, label), marker in zip(stages.items(), MARKERS, strict=False):
        rows = rows_of(found, stage)
        if rows:
            x = [row["size"] for row in rows]
            style = {"marker": marker, "color": color, "fillstyle": "none"}
            ax.loglog(x, [y(row) for row in rows], label=f"{label}{_short(found)}", **style)


def _short(found):
    return ", " + ("CPU" if found.get("platform") == "cpu" else found.get("device", "")[-12:])


def of_batches(left, right, found, color):
    rate = lambda row: row["size"] / row["seconds"]
    lines_of(left, found, {"solve": "on the device"}, rate, color)
    rows = [row for row in rows_of(found, "solve") if row.get("by_solve_per_s")]
    x, y = ([row[key] for row in rows] for key in ("size", "by_solve_per_s"))
    left.loglog(x, y, "v:", color=color, fillstyle="none", label=f"rf.solve{_short(found)}")
    left.set_ylim(bottom=1e4)
    many = {"spectra": "spectra", "curves": "curves", "phase diagram": "cells"}
    lines_of(right, found, many, rate, color)


def of_matrices(ax, found, color):
    what = {"exact U": "exact U", "eigenvalues": "eigenvalues", "matrix-free": "without a matrix"}
    lines_of(ax, found, what, lambda row: row["seconds"], color)


def of_accuracy(ax, found):
    """Sampling with markers, filled where d was measured; the theory as lines."""
    rows = rows_of(found, "equal accuracy")
    for name, color, marker in zip(("density", "edge", "loss"), COLORS, MARKERS, strict=False):
        own = [row for row in rows if row["number"] == name]
        if not own:
            continue
        x, y = ([row[key] for row in own] for key in ("target", "sampling_s"))
        ax.loglog(x, y, ":", marker=marker, color=color, fillstyle="none", label=f"{name}, sampled")
        known = [(a, b) for a, b, row in zip(x, y, own, strict=True) if row["measured_d"]]
        if known:
            ax.loglog(*zip(*known, strict=True), marker, color=color)
        ax.axhline(own[0]["theory_s"], color=color, ls=LINES[name], label=f"{name}, theory")
    for seconds, name in ((86400.0, "a day"), (3.156e7, "a year")):
        ax.axhline(seconds, color="0.8", zorder=0)
        ax.annotate(name, (1.0, seconds), xycoords=("axes fraction", "data"), ha="right",
                    va="bottom", color="0.5", fontsize="small")  # fmt: skip
    ax.set(xlabel="relative error", ylabel="seconds", title="equal accuracy" + _short(found))


def main() -> int:
    text = README.read_text(encoding="utf-8")
    parts = {"scaling": ("scaling.csv", scaling), "floor": ("floor.json", floor)}
    for name, (file, content) in parts.items():
        if (RESULTS / file).exists():
            text = filled(text, name, content())
    replaced(README, filled(text, "gpu", gpu()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
