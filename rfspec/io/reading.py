"""Files of results, read back with the model that they are of."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..models.model import RandomFeatureModel
from ..models.stored import MODEL, from_text
from ..numerics.types import Given
from .writing import SUFFIXES

if TYPE_CHECKING:
    import pandas as pd
    import xarray


@dataclass(frozen=True, eq=False)
class Stored:
    """A file of results.

    Attributes
    ----------
    path : pathlib.Path
        The file.
    data : xarray.Dataset, pandas.DataFrame or dict
        What a .nc, a .csv or a .json file holds. What is kept beside it is in ``.attrs`` of the
        first two.
    """

    path: Path
    data: Any
    text: str | None = field(repr=False)

    @property
    def model(self) -> RandomFeatureModel:
        """The model that the results are of, equal to the one that was computed.

        Of a phase diagram that of the first cell, which ``.replace(psi_p=..., psi_n=...)`` turns
        into any other.

        Raises
        ------
        ValueError
            If the file holds none, or its activation is a function of the user's own.
        """
        if self.text is None:
            raise ValueError(
                f"the file must hold the model of its results, got {self.path} without one"
            )
        return from_text(self.text)


def read(path: Given) -> Stored:
    """Read a file that ``rf.io.write`` or a command has written.

    Parameters
    ----------
    path : path
        A .csv, .json or .nc file. Others of these forms are read too, but have no model.

    Returns
    -------
    Stored
        ``.data``, an xarray.Dataset (.nc), a pandas.DataFrame (.csv) or a dict (.json), and
        ``.model``.

    Raises
    ------
    ValueError
        If there is no such file, or it is not of the form that its suffix names.

    Examples
    --------
    >>> import tempfile, rfspec as rf
    >>> model = rf.RandomFeatureModel(psi_p=8.0, psi_n=2.0, t=0.05)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = rf.io.write(f"{folder}/t.json", rf.timescales(model, "paper"))
    ...     stored = rf.io.read(path)
    >>> stored.model == model, stored.data["part"]
    (True, ['population', 'sample', 'satellite'])
    """
    path = _checked_path(path)
    with _reading(path):
        data, kept = READERS[path.suffix](path)
    text = kept.get(MODEL)
    return Stored(path, data, text if isinstance(text, str) else None)


def _checked_path(path: Given) -> Path:
    try:
        found = Path(path)
        there = found.is_file()
    except (TypeError, ValueError, OSError) as e:
        raise ValueError(f"path must be an existing file, got {path!r:.300}") from e
    if not there:
        raise ValueError(f"path must be an existing file, got {str(path)!r:.300}")
    if found.suffix not in SUFFIXES:
        raise ValueError(f"path must end in one of {', '.join(SUFFIXES)}, got {str(path)!r:.300}")
    return found


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    # parsers of a damaged file raise whatever they like
    try:
        yield
    except Exception as e:
        raise ValueError(
            f"path must be a whole {path.suffix} file, got {path} with {e or type(e).__name__}"
        ) from e


def _read_nc(path: Path) -> tuple[xarray.Dataset, dict[str, Any]]:
    import xarray

    data = xarray.load_dataset(path, engine="h5netcdf")
    return data, data.attrs


def _read_json(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    data = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(data, dict):
        raise ValueError("no names in it")
    return data, data


def _read_csv(path: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    import pandas as pd

    lines = path.read_text(encoding="utf-8-sig").splitlines()
    table = "\n".join(line for line in lines if not line.startswith("#"))
    kept = dict(_entry(line) for line in lines if line.startswith("# ") and ": " in line)
    # other engines of pandas may lose the last digit of a number
    data = pd.read_csv(io.StringIO(table), engine="python")
    data.attrs = kept
    return data, kept


def _entry(line: str) -> tuple[str, Any]:
    name, text = line[2:].split(": ", 1)
    if name == MODEL:
        return name, text
    try:
        return name, json.loads(text)
    except json.JSONDecodeError:
        return name, text


READERS: dict[str, Callable[[Path], tuple[Any, dict[str, Any]]]] = {
    ".csv": _read_csv,
    ".json": _read_json,
    ".nc": _read_nc,
}
