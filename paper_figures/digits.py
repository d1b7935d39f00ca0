"""Predictions on images made anew, with the figures and the tables of docs/real_data.md.

    python paper_figures/digits.py      in a minute or two, most of it compilation

What is measured is taken from data/ as it is: `python paper_figures/beyond_real_digits.py --again`
and `beyond_image_patches.py --again` measure.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import xarray
from measured import digits_of, patches_of
from predictions import both
from recipe import HERE, about, keep, kept, load, make

PAGE = HERE.parent / "docs" / "real_data.md"
# the figures, and the training parts that their parameters stand for
FIGURES: dict[str, tuple[str, Callable[[dict[str, Any]], Any]]] = {
    "digits": ("beyond_real_digits", lambda parameters: digits_of),
    "patches": ("beyond_image_patches", lambda parameters: patches_of(parameters["SAMPLES"])),
}
# of the training times in the page's tables: how they are written there
POWERS = {1: "10", 3: "10³", 6: "10⁶"}


def main() -> None:
    """Predict, keep, draw and write the tables of both."""
    tables = {}
    for name, (figure, parts) in FIGURES.items():
        script = HERE / f"{figure}.py"
        tables[name] = again(script, parts)
        print(f"written to {make(script)}", flush=True)
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), tables), encoding="utf-8")
    print(f"written to {PAGE}")


def again(script: Path, parts: Callable[[dict[str, Any]], Any]) -> xarray.Dataset:
    """The means of a figure, with predictions made anew beside what was measured."""
    recipe = load(script)
    measured = kept(recipe).get("measured")
    if measured is None:
        raise SystemExit(f"nothing is measured for this figure: run {script.name} first")
    seconds = float(about(recipe)["cpu_seconds"])
    psi_p, norms = recipe.parameters["PSI_P"], recipe.parameters.get("NORMS", 0)
    keep(recipe, both(parts(recipe.parameters), psi_p, measured, norms), seconds)
    return kept(recipe)["means"]


def filled(page: str, tables: dict[str, xarray.Dataset]) -> str:
    """The page with the tables of these means."""
    for name, means in tables.items():
        for kind, table in (("losses", losses), ("best times", best_times)):
            start, end = f"<!-- {name}: {kind} -->\n", f"<!-- end of {name}: {kind} -->"
            before, after = page.split(start)[0], page.split(end)[1]
            page = before + start + "\n" + table(means, name) + "\n" + end + after
    return page


def losses(means: xarray.Dataset, name: str) -> str:
    """Both losses at three times: in the limit, at finite d, on the images, on Gaussian data."""
    words = {"norms": "norms", "data": name, "gaussian": "Gaussian"}
    whose = {"limit": "limit", "finite": f"d = {means.attrs['d']}", **words}
    whose = {who: word for who, word in whose.items() if f"{who}_test" in means}
    head = [f"{kind}: {word}" if not i else word for kind in ("train", "test")
            for i, word in enumerate(whose.values())]  # fmt: skip
    rows = []
    for (activation, t), (power, time) in itertools.product(_cases(means), POWERS.items()):
        row = means.sel(activation=activation, t=t).sel(tau=10.0**power, method="nearest")
        numbers = [_with_error(row, f"{who}_{kind}") for kind in ("train", "test") for who in whose]
        rows.append([activation, f"{t:g}", time, *numbers])
    return _table(["σ", "t", "τ", *head], rows)


def best_times(means: xarray.Dataset, name: str) -> str:
    """When to stop, predicted and measured, and what it costs to go by the prediction."""
    d = f"d = {means.attrs['d']}"
    norms, gaussian = (f"{who}_best_tau" in means for who in ("norms", "gaussian"))
    head = ["σ", "t", "best τ: limit", d, f"window, {d}", *["norms"] * norms, f"{name} (range)"]
    head += ["Gaussian"] * gaussian
    head += [f"test loss there: {d}", "measured there", "measured at the limit's", "smallest"]
    rows = []
    for activation, t in _cases(means):
        row = means.sel(activation=activation, t=t)
        window = f"{_time(row.finite_window_lower)} to {_time(row.finite_window_upper)}"
        spread = f"{_time(row.data_best_tau_least)} to {_time(row.data_best_tau_most)}"
        times = [_time(row.limit_best_tau), _time(row.finite_best_tau), window]
        times += [_time(row.norms_best_tau)] if norms else []
        times += [f"{_time(row.data_best_tau)} ({spread})"]
        times += [_time(row.gaussian_best_tau)] if gaussian else []
        names = "finite_best_test", "data_at_finite_best", "data_at_limit_best", "data_best_test"
        rows.append([activation, f"{t:g}", *times, *(_with_error(row, n) for n in names)])
    return _table(head, rows)


def _cases(means: xarray.Dataset) -> list[tuple[Any, Any]]:
    return list(itertools.product(means.activation.values, means.t.values))


def _table(head: list[str], rows: list[list[str]]) -> str:
    line: Callable[[list[str]], str] = lambda cells: f"| {' | '.join(cells)} |"
    return "\n".join(map(line, [head, ["---"] * len(head), *rows])) + "\n"


def _time(tau: Any) -> str:
    # four digits, without powers of ten
    return "∞" if np.isinf(float(tau)) else f"{float(f'{float(tau):.4g}'):,.10g}"


def _with_error(row: Any, name: str) -> str:
    # 0.9947(3): the standard error in the last digit shown
    return f"{float(row[name]):.4f}({round(1e4 * float(row[f'{name}_error']))})"


if __name__ == "__main__":
    main()
