"""Results as files that say what they are: units, versions, and the model to the last bit."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..files.io import dataset_of, origin, to_json, write_csv, write_dataset, write_json
from ..files.tables import Table, is_one, units_of
from ..models.model import RandomFeatureModel
from ..models.stored import MODEL, stored
from ..numerics.types import Given
from .long_form import LongForm, long_form

if TYPE_CHECKING:
    import xarray

SUFFIXES = (".csv", ".json", ".nc")


def write(
    path: Given,
    result: Given,
    *,
    model: RandomFeatureModel | None = None,
    about: Mapping[str, Any] | None = None,
    units: Mapping[str, str] | None = None,
) -> Path:
    """Write a result with its units, the versions of what made it, and its model.

    Parameters
    ----------
    path : path
        Its suffix is the form: .csv, .json or .nc. The file is whole or not there at all.
    result : anything with ``columns()``, xarray.Dataset or mapping
        A result of the library, such as a Spectrum or a LearningCurve; a dataset of
        ``rf.phase_diagram`` or ``rf.over_time``; or columns of your own by name, which run along
        the first.
    model : RandomFeatureModel, optional
        What the result is of; that of the result by default, where it has one.
    about : mapping, optional
        Texts and numbers that are kept beside the result, by name.
    units : mapping, optional
        Units of columns by name, where the library does not know them; others are ignored.

    Returns
    -------
    pathlib.Path
        The path.

    Raises
    ------
    ValueError
        If the suffix is another one, or the result has no columns, is a batch, or is traced.
    OSError
        If the file cannot be written. An old file is then as it was.

    Notes
    -----
    In a .csv file the first line holds the names of the columns, and lines that begin with "# "
    follow; ``pandas.read_csv(path, comment="#")``, ``numpy.loadtxt(path, delimiter=",",
    skiprows=1)`` and ``numpy.genfromtxt(path, delimiter=",", names=True)`` read it. A dataset has
    one row for each cell of its grid. In a .json file NaN is null and infinity "Infinity".

    Examples
    --------
    >>> import tempfile, rfspec as rf
    >>> model = rf.RandomFeatureModel(psi_p=8.0, psi_n=2.0, t=0.05)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = rf.io.write(f"{folder}/curve.csv", rf.learning_curve(model, [1.0, 10.0]))
    ...     stored = rf.io.read(path)
    >>> stored.model == model, stored.data.shape
    (True, (2, 6))
    """
    path = _checked_path(path)
    _check(result)
    about = described(result, model, about or {})
    if path.suffix == ".json":
        return write_json(path, for_json(result, about))
    if path.suffix == ".nc":
        data = as_dataset(result, units or {})
        return write_dataset(path, data.assign_attrs(_attributes(about)))
    table = _table(result, units or {})
    return write_csv(path, table.columns, comments(table, about))


def described(
    result: Any, model: RandomFeatureModel | None, about: Mapping[str, Any]
) -> dict[str, Any]:
    """What is kept beside a result: what it is, its origin, its model in words and as text."""
    if model is None and isinstance(getattr(result, "model", None), RandomFeatureModel):
        model = result.model
    own = getattr(result, "attrs", {})
    title = type(result).__name__ if callable(getattr(result, "columns", None)) else None
    known = {"title": title, "source": origin(), **own, **about}
    if model is not None:
        known |= {"model": repr(model), **stored(model)}
    return {name: value for name, value in known.items() if value is not None}


def for_json(result: Any, about: Mapping[str, Any]) -> dict[str, Any]:
    """A result and what is kept beside it, the text of the model last."""
    if _is_dataset(result):
        body = {str(name): result[name].values for name in result.variables}
        body["dimensions"] = {str(name): result[name].dims for name in result.variables}
    elif isinstance(result, Mapping):
        body = dict(result)
    else:
        body = dict(result.columns())
        body["units"] = _units(result, body)
    last = {MODEL: about[MODEL]} if MODEL in about else {}
    return {name: value for name, value in about.items() if name != MODEL} | body | last


def comments(table: LongForm, about: Mapping[str, Any]) -> Iterator[str]:
    """The lines of a .csv file that are not its table, the text of the model last."""
    kept = {name: value for name, value in about.items() if name != MODEL}
    for name, value in {**kept, **table.shared}.items():
        yield f"{name}: {value if isinstance(value, str) else to_json(value, indent=None)}"
    yield f"units: {json.dumps(table.units, ensure_ascii=False)}"
    if MODEL in about:
        yield f"{MODEL}: {about[MODEL]}"


def _checked_path(path: Given) -> Path:
    rule = f"path must end in one of {', '.join(SUFFIXES)}"
    try:
        found = Path(path)
    except TypeError as e:
        raise ValueError(f"{rule}, got {path!r:.100}") from e
    if found.suffix not in SUFFIXES:
        raise ValueError(f"{rule}, got {str(path)!r:.300}")
    return found


def _check(result: Any) -> None:
    known = isinstance(result, Mapping) or callable(getattr(result, "columns", None))
    if not known:
        raise ValueError(
            "result must have columns(), be an xarray.Dataset or columns by name, got "
            f"{type(result).__name__}"
        )
    if isinstance(result, Table) and not is_one(result):
        raise ValueError(
            "result must be of one model whose numbers are known, got a batch or a traced "
            f"{type(result).__name__}"
        )


def _is_dataset(result: Any) -> bool:
    return hasattr(result, "data_vars")


def _table(result: Any, units: Mapping[str, str]) -> LongForm:
    if _is_dataset(result):
        table = long_form(result)
    else:
        columns = result if isinstance(result, Mapping) else result.columns()
        flat = {name: np.ravel(column) for name, column in columns.items()}
        table = LongForm(flat, _units(result, flat), {})
    given = {name: unit for name, unit in units.items() if name in table.columns}
    return table._replace(units=table.units | given)


def _units(result: Any, columns: Mapping[str, Any]) -> dict[str, str]:
    return result.units() if isinstance(result, Table) else units_of(columns)


def as_dataset(result: Any, units: Mapping[str, str]) -> xarray.Dataset:
    """A result as a dataset; columns by name run along the first."""
    if _is_dataset(result):
        dataset = result.copy()
    elif isinstance(result, Table):
        dataset = result.to_xarray()
    else:
        columns = result if isinstance(result, Mapping) else result.columns()
        first = next(iter(columns), "")
        along = (first,) if np.ndim(columns.get(first, 0.0)) else ()
        dataset = dataset_of({name: (along, column) for name, column in columns.items()})
        units = units_of(columns) | dict(units)
    for name, unit in units.items():
        if name in dataset.variables:
            dataset[name].attrs["units"] = unit
    return dataset


def _attributes(about: Mapping[str, Any]) -> dict[str, Any]:
    # netCDF knows texts and numbers
    def plain(value: Any) -> Any:
        array = np.asarray(value)
        if array.dtype.kind == "b":
            return array.astype(np.int8)[()]
        return array[()] if array.dtype.kind in "iuf" else to_json(value, indent=None)

    return {
        name: value if isinstance(value, str) else plain(value) for name, value in about.items()
    }
