"""Datasets as tables of columns, one row a cell of their grid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..files.tables import UNITS

if TYPE_CHECKING:
    import xarray


class LongForm(NamedTuple):
    """A dataset as columns of one length, each with its unit, and the numbers that all rows share.

    Columns of a variable along labels carry the label in their names, as in tau_mem_spectrum.
    """

    columns: dict[str, np.ndarray]
    units: dict[str, str]
    shared: dict[str, Any]


def long_form(data: xarray.Dataset) -> LongForm:
    """One row for each cell; labels, such as rules and parts, lie side by side."""
    along = _rows(data)
    shape = tuple(data.sizes[name] for name in along)
    columns: dict[str, np.ndarray] = {}
    units: dict[str, str] = {}
    shared: dict[str, Any] = {}

    def enter(name: str, values: xarray.DataArray, everywhere: bool = False) -> None:
        if not (everywhere or set(values.dims) & set(along)):
            shared[name] = values.item()
            return
        columns[name] = np.ravel(_spread(values, along, shape))
        if values.dtype.kind in "biufc":
            units[name] = _unit(values)

    for name in along:
        # counted where it has no coordinate
        enter(name, data[name])
    for scalar, axis in data.coords.items():
        if not axis.dims:
            enter(str(scalar), axis, everywhere=True)
    for key, variable in data.data_vars.items():
        for of_label, values in _side_by_side(str(key), variable, along):
            enter(of_label, values)
        if "flag_meanings" in variable.attrs:
            shared[f"{key}_flags"] = _flags(variable)
    return LongForm(columns, units, shared)


def _rows(data: xarray.Dataset) -> tuple[str, ...]:
    # dimensions along which rows run: all but those of labels, or all where there are no others
    labels = {
        str(name)
        for name in data.dims
        if name in data.coords and data[name].dtype.kind not in "iuf"
    }
    return tuple(str(name) for name in data.dims if name not in labels) or tuple(
        map(str, data.dims)
    )


def _side_by_side(
    name: str, variable: xarray.DataArray, along: tuple[str, ...]
) -> list[tuple[str, xarray.DataArray]]:
    labelled = [dimension for dimension in variable.dims if dimension not in along]
    if not labelled:
        return [(name, variable)]
    first = labelled[0]
    return [
        found
        for label in variable[first].values
        for found in _side_by_side(f"{name}_{label}", variable.sel({first: label}), along)
    ]


def _spread(values: xarray.DataArray, along: tuple[str, ...], shape: tuple[int, ...]) -> np.ndarray:
    # over the dimensions that the values do not have
    own = [name for name in along if name in values.dims]
    axes = tuple(slice(None) if name in own else None for name in along)
    return np.broadcast_to(values.transpose(*own).values[axes], shape)


def _unit(values: xarray.DataArray) -> str:
    unit = str(values.attrs.get("units", "1"))
    return UNITS.get(str(values.name), "1") if unit == "1" else unit


def _flags(variable: xarray.DataArray) -> str:
    known = variable.attrs
    meanings = zip(np.ravel(known["flag_values"]), known["flag_meanings"].split("; "), strict=False)
    return "; ".join(f"{value} {meaning}" for value, meaning in meanings)
