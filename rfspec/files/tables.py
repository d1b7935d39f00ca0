"""Results as tables: their text, their HTML for notebooks, and their pandas and xarray forms.

A result says what its numbers are (`columns`) and along which dimension they run. Units, layout and
the other forms follow.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import TYPE_CHECKING, Any, ClassVar

import equinox as eqx
import jax
import numpy as np

from ..numerics.checks import concrete
from .io import dataset_of

if TYPE_CHECKING:
    import pandas as pd
    import xarray

TAU, LOSS, EIGENVALUE = "kη/d²", "loss", "eigenvalue of U"
UNITS = {
    **dict.fromkeys(("tau", "fast", "slow", "onset", "window_lower", "window_upper"), TAU),
    **dict.fromkeys(("tau_gen", "tau_mem", "tau_star", "satellite"), TAU),
    **dict.fromkeys(("train", "test", "gap", "test_limit", "train_limit"), LOSS),
    **dict.fromkeys(("tolerance", "untrained", "loss_drop"), LOSS),
    **dict.fromkeys(("lower", "upper", "location", "leading", "deviation", "lambda"), EIGENVALUE),
}
FORMATS = {
    "lower": "16.10g",
    "upper": "16.10g",
    "mass": "12.8f",
    "loss_drop": "12.6f",
    "share": "8.1%",
    "error": "10.1e",
}
PLAIN = "14.6g"
# rows of a long table that are printed at each end, and what stands for those between
SHOWN, GAP = 8, "..."
# entries of an array that are printed in brief, and characters of a line
FEW, WIDE = 8, 100


class Table:
    """A result that prints as a table, and becomes a data frame or a dataset.

    It has `columns`, name by name: arrays of one length along `dimension`, or single numbers where
    `dimension` is empty. The error of the number "x" is called "x_error".
    """

    dimension: ClassVar[str] = ""

    def columns(self) -> Mapping[str, Any]:
        """Name and values of each column."""
        raise NotImplementedError

    def units(self) -> dict[str, str]:
        """Units of the columns that hold numbers."""
        return units_of(self.columns())

    def errors(self) -> Mapping[str, Any]:
        """Absolute errors of single numbers, by their names."""
        columns = self.columns()
        return {name: columns[f"{name}_error"] for name in columns if f"{name}_error" in columns}

    def title(self) -> str:
        """What this is a table of."""
        model = getattr(self, "model", None)
        return type(self).__name__ + ("" if model is None else f" of {model!r}")

    def notes(self) -> list[str]:
        """What has to be said below the table."""
        return []

    def __repr__(self) -> str:
        if not is_one(self):
            return eqx.tree_pformat(self)
        return "\n".join([self.title(), *aligned(shown(self)), *self.notes()])

    def _repr_html_(self) -> str:
        if not is_one(self):
            return f"<pre>{escape(repr(self))}</pre>"
        cells = [_cells(name, column) for name, column in shown(self).items()]
        head, *body = (
            "".join(f"<td>{escape(cell.strip())}</td>" for cell in row)
            for row in zip(*cells, strict=True)
        )
        rows = "".join(f"<tr>{row}</tr>" for row in body)
        table = f"<table><tr>{head.replace('td>', 'th>')}</tr>{rows}</table>"
        notes = "".join(f"<p>{escape(note)}</p>" for note in self.notes())
        return f"<p>{escape(self.title())}</p>{table}{notes}"

    def to_pandas(self) -> pd.DataFrame:
        """The columns as a data frame.

        Returns
        -------
        pandas.DataFrame
            One row for single numbers; `attrs` hold the title and the units.
        """
        import pandas as pd

        columns = {name: np.ravel(column) for name, column in self.columns().items()}
        frame = pd.DataFrame(columns)
        frame.attrs = {"title": self.title(), "units": self.units()}
        return frame

    def to_xarray(self) -> xarray.Dataset:
        """The columns as variables with units.

        Returns
        -------
        xarray.Dataset
            Along `dimension`, or without one for single numbers.
        """
        along = (self.dimension,) if self.dimension else ()
        flat = np.ravel if self.dimension else np.asarray
        columns = {name: flat(column) for name, column in self.columns().items()}
        table = dataset_of({name: (along, c) for name, c in columns.items()}, title=self.title())
        for name, unit in self.units().items():
            table[name].attrs["units"] = unit
        return table


def is_one(result: Any) -> bool:
    """Whether the numbers of a result are known, and those of one model: no batch."""
    model = getattr(result, "model", None)
    return concrete(*jax.tree.leaves(result)) and np.ndim(getattr(model, "psi_p", 0.0)) == 0


def unit_of(name: str) -> str:
    """The unit of a column; an error has that of its number."""
    return UNITS.get(name) or UNITS.get(name.removesuffix("_error").removesuffix("_standard"), "1")


def units_of(columns: Mapping[str, Any]) -> dict[str, str]:
    """The units of those columns that hold numbers."""
    return {name: unit_of(name) for name, c in columns.items() if not _is_text(np.ravel(c))}


def shown(table: Table) -> Mapping[str, Any]:
    """The columns as they are printed: single numbers below each other, long tables shortened."""
    columns = {name: np.ravel(column) for name, column in table.columns().items()}
    if not table.dimension:
        return upright({name: column[0] for name, column in columns.items()}, table.errors())
    if max(column.size for column in columns.values()) <= 2 * SHOWN + 1:
        return columns
    return {name: [*column[:SHOWN], GAP, *column[-SHOWN:]] for name, column in columns.items()}


def upright(numbers: Mapping[str, Any], errors: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Single numbers as a table of their own: name, value, error and unit."""
    hidden = {"error", *(f"{name}_error" for name in numbers)}
    names = [name for name in numbers if name not in hidden]
    return {
        "name": names,
        "value": [numbers[name] for name in names],
        "error": [errors.get(name, np.nan) for name in names],
        "unit": ["" if unit_of(name) == "1" else unit_of(name) for name in names],
    }


def aligned(
    columns: Mapping[str, Any], formats: Mapping[str, str] = FORMATS, plain: str = PLAIN
) -> Iterator[str]:
    """A header and the rows of a table: text to the left, numbers to the right."""
    laid_out: list[list[str]] = []
    for name, column in columns.items():
        title, *cells = _cells(name, column, formats, plain)
        side = "<" if _is_text(column) else ">"
        width = max(len(title) + 2, *map(len, cells)) if cells else len(title) + 2
        margin = "  " if laid_out and side == "<" else ""
        laid_out.append([f"{margin}{cell:{side}{width}}" for cell in (title, *cells)])
    for row in zip(*laid_out, strict=True):
        yield "".join(row).rstrip()


def in_brief(result: Any) -> str:
    """A record of few numbers, each with its error, on one line if it is short; a NamedTuple."""
    fields = result._asdict()
    parts = []
    for name, value in fields.items():
        if name.endswith("_error") and name.removesuffix("_error") in fields:
            continue
        error = fields.get(f"{name}_error")
        known = "" if error is None else f" ± {_brief(error, 2)}"
        parts.append(f"{name}={_brief(value)}{known}")
    line = f"{type(result).__name__}({', '.join(parts)})"
    if len(line) <= WIDE:
        return line
    return "\n".join([f"{type(result).__name__}(", *(f"    {part}," for part in parts), ")"])


def _brief(value: Any, digits: int = 6) -> str:
    if isinstance(value, str | bool | int | None) or hasattr(value, "_fields"):
        return repr(value)
    if isinstance(value, Table):
        return f"<{type(value).__name__}>"
    if isinstance(value, tuple):
        return f"({', '.join(_brief(item, digits) for item in value)})"
    if not concrete(value):
        return str(value)
    if not isinstance(value, float | np.ndarray | np.generic | jax.Array):
        return repr(value)
    array = np.asarray(value)
    if array.size > FEW:
        return f"array of shape {array.shape}"
    texts = [f"{entry:.{digits}g}" for entry in array.ravel().tolist()]
    return f"[{', '.join(texts)}]" if array.ndim else texts[0]


def _cells(
    name: str, column: Any, formats: Mapping[str, str] = FORMATS, plain: str = PLAIN
) -> list[str]:
    # a header, and the values as text
    spec = formats.get("error" if name.endswith("_error") else name, plain)
    if name == "score_error":
        spec = plain
    if _is_text(column):
        spec = f"<{max(10, *(len(str(value)) for value in column)) + 2}"
    return [name.replace("_", " "), *(_cell(value, spec) for value in column)]


def _is_text(column: Any) -> bool:
    return any(isinstance(value, str) and value != GAP for value in column)


def _cell(value: Any, spec: str) -> str:
    if isinstance(value, str):
        return f"{value:>{len(f'{0.0:{spec}}')}}" if value == GAP else f"{value:{spec}}"
    if np.iscomplexobj(value):
        return f"{complex(value):>26.8g}"
    number = float(value)
    text = f"{number:{spec}}"
    # a dash where there is no number
    return f"{'-':>{len(text)}}" if np.isnan(number) else text
