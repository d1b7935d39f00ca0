"""How a result leaves a command: as lines or JSON on the terminal, and as the file of `--out`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from ..files.checkpoint import forget
from ..files.io import check_target, to_json, write_figure
from ..io.writing import described, for_json, write
from ..models.model import RandomFeatureModel

TABLES, PICTURES = (".csv", ".json", ".nc"), (".png", ".pdf", ".svg")
# the group of options in --help
OUTPUT = "Output"


def file_in(*suffixes: str) -> Any:
    """The option --out of a command that writes these files.

    It refuses, before anything is computed, a file that the command does not or could not write.
    """

    def checked(out: Path | None) -> Path | None:
        if out is None:
            return None
        if out.suffix not in suffixes:
            raise ValueError(f"out must end in one of {', '.join(suffixes)}, got {out}")
        check_target("out", out)
        return out

    *others, last = suffixes
    known = f"{', '.join(others)} or {last}"
    return typer.Option(help=f"file to write, {known}", rich_help_panel=OUTPUT, callback=checked)


def partial_of(out: Path | None) -> Path | None:
    """Where an unfinished run keeps its state, beside its result."""
    return None if out is None else out.with_name(out.name + ".partial")


def deliver(
    report: Mapping[str, Any],
    lines: Iterable[str],
    out: Path | None,
    json: bool,
    *,
    model: RandomFeatureModel | None = None,
    about: Mapping[str, Any] | None = None,
    units: Mapping[str, str] | None = None,
    partial: Path | None = None,
    table: Callable[[], Any] = dict,
    dataset: Callable[[], Any] | None = None,
    picture: Callable[[Any], Any] | None = None,
) -> None:
    """Write the file that was asked for, forget the unfinished run in `partial`, and print.

    `report` is for machines and `lines` for readers. What `table` and `dataset` return is written
    to a .csv and a .nc file by ``rf.io.write``, with `model`, `about` and `units`; they are the
    same if one is given. ``picture(rfspec.plotting)`` returns the axis of a figure.
    """
    about = about or {}
    if out is not None:
        if out.suffix in PICTURES and picture is not None:
            import matplotlib as mpl

            mpl.use("Agg")
            from .. import plotting

            write_figure(out, picture(plotting).figure)
        elif out.suffix == ".json":
            write(out, report, model=model, about=about)
        else:
            made = table if out.suffix == ".csv" or dataset is None else dataset
            write(out, made(), model=model, about=about, units=units)
        forget(partial)
    whole = lambda: to_json(for_json(report, described(report, model, about)))
    for line in [whole()] if json else lines:
        typer.echo(line)


def rows_of(columns: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """The same table, row by row."""
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
