"""Files: a result is written beside its place and then renamed, so that none is ever half-written."""

from __future__ import annotations

import csv
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np


def write_atomically(path: str | Path, write: Callable[[Path], Any]) -> Path:
    """Call `write(temporary path)` in the folder of `path`, then move the result into place."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def write_csv(path: str | Path, columns: Mapping[str, Any]) -> Path:
    """Columns of one length, or shorter ones padded with empty cells, under a header of their names."""
    arrays = {name: np.atleast_1d(np.asarray(c)) for name, c in columns.items()}
    rows = max((a.size for a in arrays.values()), default=0)

    def write(temporary: Path) -> None:
        with temporary.open("w", newline="", encoding="utf-8") as f:
            table = csv.writer(f)
            table.writerow(arrays)
            for i in range(rows):
                table.writerow([_cell(a[i]) if i < a.size else "" for a in arrays.values()])

    return write_atomically(path, write)


def _cell(value: Any) -> str:
    """Every digit of a number; text as it is."""
    return value.item() if isinstance(value, np.str_) else repr(value.item())


def write_netcdf(
    path: str | Path, variables: Mapping[str, tuple[tuple[str, ...], Any, str]], attributes: Mapping[str, Any]
) -> Path:
    """A netCDF file of named variables (dimensions, values, unit); one that bears the name of a dimension is its axis.

    Attributes are texts and numbers that say what was computed.
    """
    import xarray

    columns = {
        name: (dimensions, np.asarray(values), {"units": unit})
        for name, (dimensions, values, unit) in variables.items()
    }
    dataset = xarray.Dataset(columns, attrs=dict(attributes)).set_coords([n for n, c in columns.items() if n in c[0]])
    return write_dataset(path, dataset)


def write_dataset(path: str | Path, dataset: Any) -> Path:
    """An xarray dataset as a netCDF file."""
    return write_atomically(path, lambda temporary: dataset.to_netcdf(temporary, engine="h5netcdf"))


def write_figure(path: str | Path, figure: Any) -> Path:
    """A figure, in the format that the suffix names."""
    return write_atomically(path, lambda temporary: figure.savefig(temporary))


def to_json(value: Any) -> str:
    """JSON with NaN as null and infinity as the text "Infinity", which both Python and JavaScript read as a number."""

    def plain(v: Any) -> Any:
        if isinstance(v, Mapping):
            return {k: plain(w) for k, w in v.items()}
        if isinstance(v, list | tuple):
            return [plain(w) for w in v]
        if v is None or isinstance(v, str | bool | int):
            return v
        array = np.asarray(v)
        if array.ndim:
            return [plain(w) for w in array]
        number = array.item()
        if isinstance(number, float) and np.isinf(number):
            return "Infinity" if number > 0 else "-Infinity"
        return None if isinstance(number, float) and np.isnan(number) else number

    return json.dumps(plain(value), indent=2)
