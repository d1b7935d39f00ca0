"""How a result leaves a command: as lines or JSON on the terminal, and as the file of `--out`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import typer

from ..files.checkpoint import forget
from ..files.io import (
    check_target,
    dataset_of,
    to_json,
    write_csv,
    write_dataset,
    write_figure,
    write_json,
)

if TYPE_CHECKING:
    import xarray

    from ..training.early_stopping import EarlyStopping

TABLES, PICTURES = (".csv", ".json"), (".png", ".pdf", ".svg")


def check_out(out: Path | None, known: tuple[str, ...]) -> None:
    """Refuse a file that the command does not or could not write."""
    if out is None:
        return
    if out.suffix not in known:
        raise ValueError(f"out must end in one of {', '.join(known)}, got {out}")
    check_target("out", out)


def partial_of(out: Path | None) -> Path | None:
    """Where an unfinished run keeps its state, beside its result."""
    return None if out is None else out.with_name(out.name + ".partial")


def deliver(
    report: Mapping[str, Any],
    lines: Iterable[str],
    out: Path | None,
    json: bool,
    *,
    partial: Path | None = None,
    columns: Callable[[], Mapping[str, Any]] = dict,
    dataset: Callable[[], xarray.Dataset] | None = None,
    picture: Callable[[Any], Any] | None = None,
) -> None:
    """Write the file that was asked for, forget the unfinished run in `partial`, and print.

    `report` is for machines and `lines` for readers; `columns` make a .csv file, `dataset` a .nc
    file, and `picture(rfspec.plotting)` returns the axis of a figure.
    """
    if out is not None:
        if out.suffix == ".json":
            write_json(out, report)
        elif out.suffix == ".csv":
            write_csv(out, columns())
        elif out.suffix == ".nc" and dataset is not None:
            write_dataset(out, dataset())
        elif picture is not None:
            import matplotlib as mpl

            mpl.use("Agg")
            from .. import plotting

            write_figure(out, picture(plotting).figure)
        forget(partial)
    for line in [to_json(report)] if json else lines:
        typer.echo(line)


def along(
    dimension: str, columns: Mapping[str, Any], **attributes: Any
) -> Callable[[], xarray.Dataset]:
    """Columns along one dimension, as a dataset once it is asked for."""
    return lambda: dataset_of(
        {name: ((dimension,), c) for name, c in columns.items()}, **attributes
    )


def columns_along(dimension: str, dataset: xarray.Dataset) -> dict[str, Any]:
    """What a dataset holds along one dimension; of variables over a second one, each separately."""
    columns = {dimension: dataset[dimension].values}
    for name, variable in dataset.data_vars.items():
        if variable.dims == (dimension,):
            columns[str(name)] = variable.values
        elif dimension in variable.dims:
            (other,) = set(variable.dims) - {dimension}
            for at in dataset[other].values:
                columns[f"{name}_{at}"] = variable.sel({other: at}).values
    return columns


def lines_of_stop(stop: EarlyStopping) -> list[str]:
    """The best training time and what is known of it."""
    off = float(stop.tau * stop.tau_error) if np.isfinite(float(stop.tau)) else 0.0
    lower, upper = float(stop.window.lower), float(stop.window.upper)
    within = f"test loss within {float(stop.tolerance):g} of its minimum"
    advice = f"; {stop.advice}" if stop.advice else ""
    return [
        f"best training time   tau = {float(stop.tau):.8g} ± {off:.1e} (k eta/d^2)",
        f"losses there         test {float(stop.test):.8f}, train {float(stop.train):.8f}",
        f"score error there    {float(stop.score_error):.8g}",
        f"safe window          [{lower:.6g}, {upper:.6g}], {within}",
        f"test loss at the end {float(stop.test_limit):.8f}{advice}",
    ]


def rows_of(columns: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """The same table, row by row."""
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
