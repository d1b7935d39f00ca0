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
    **dict.fromkeys(("tau", "tau_gen", "tau_mem", "fast", "slow", "onset", "time"), TAU),
    **dict.fromkeys(("window_lower", "window_upper"), TAU),
    **dict.fromkeys(("train", "test", "gap", "test_limit", "train_limit", "tolerance"), LOSS),
    **dict.fromkeys(("loss_drop", "untrained"), LOSS),
    **dict.fromkeys(("lower", "upper", "location", "leading", "deviation"), EIGENVALUE),
    **dict.fromkeys(("mass", "share"), "share"),
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
# rows of a long table that are printed at each end
SHOWN = 8
# stands for the rows between
GAP = "..."


class Table:
    """A result that is a table: of one row, or of rows along `dimension`.

    Mix it into a result that has `columns`.
    """

    dimension: ClassVar[str] = ""

    def columns(self) -> Mapping[str, Any]:
        """Name and values of each column."""
        raise NotImplementedError

    def title(self) -> str:
        """What this is a table of."""
        model = getattr(self, "model", None)
        return type(self).__name__ + ("" if model is None else f" of {model!r}")

    def notes(self) -> Iterator[str]:
        """What has to be said below the table."""
        yield from ()

    def __repr__(self) -> str:
        if not is_one(self):
            return eqx.tree_pformat(self)
        return "\n".join([self.title(), *aligned(shortened(self._shown())), *self.notes()])

    def _repr_html_(self) -> str:
        if not is_one(self):
            return f"<pre>{escape(repr(self))}</pre>"
        rows = list(zip(*(_cells(*item) for item in self._shown().items()), strict=True))
        head, *body = ["".join(f"<td>{escape(cell.strip())}</td>" for cell in row) for row in rows]
        lines = "".join(f"<tr>{row}</tr>" for row in body)
        notes = "".join(f"<p>{escape(note)}</p>" for note in self.notes())
        head = head.replace("td>", "th>")
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"
        return f"<p>{escape(self.title())}</p>{table}{notes}"

    def to_pandas(self) -> pd.DataFrame:
        """The columns as a data frame, one row a value; `attrs` hold title and units."""
        import pandas as pd

        columns = {name: np.atleast_1d(c) for name, c in self.columns().items()}
        frame = pd.DataFrame(columns)
        frame.attrs = {"title": self.title(), "units": units_of(columns)}
        return frame

    def to_xarray(self) -> xarray.Dataset:
        """The columns as variables with units, along `dimension` if there is one."""
        along = (self.dimension,) if self.dimension else ()
        columns = self.columns()
        table = dataset_of({name: (along, c) for name, c in columns.items()}, title=self.title())
        for name, unit in units_of(columns).items():
            table[name].attrs["units"] = unit
        return table

    def _shown(self) -> Mapping[str, Any]:
        # single numbers stand below each other, each with its error
        return self.columns() if self.dimension else upright(self.columns())


def is_one(result: Any) -> bool:
    """Whether a result is of one model whose numbers are known: neither traced nor a batch."""
    model = getattr(result, "model", None)
    return concrete(*jax.tree.leaves(result)) and np.ndim(getattr(model, "psi_p", 0.0)) == 0


def unit_of(name: str) -> str:
    """Unit of a column; an error has that of its number."""
    return UNITS.get(name) or UNITS.get(name.removesuffix("_error"), "1")


def units_of(columns: Mapping[str, Any]) -> dict[str, str]:
    """Units of the columns that hold numbers."""
    return {name: unit_of(name) for name, c in columns.items() if not _is_text(np.atleast_1d(c))}


def upright(columns: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Single numbers as a table of their own: name, value, error and unit, a row each."""
    names = [name for name in columns if not name.endswith("_error")]
    return {
        "name": names,
        "value": [columns[name] for name in names],
        "error": [columns.get(f"{name}_error", np.nan) for name in names],
        "unit": [unit_of(name) for name in names],
    }


def shortened(columns: Mapping[str, Any]) -> Mapping[str, Any]:
    """Both ends of a long table."""
    rows = max((len(c) for c in columns.values()), default=0)
    if rows <= 2 * SHOWN + 1:
        return columns
    both = lambda c: [*list(c)[:SHOWN], GAP, *list(c)[-SHOWN:]]
    return {name: both(c) for name, c in columns.items()}


def aligned(
    columns: Mapping[str, Any], formats: Mapping[str, str] = FORMATS, plain: str = PLAIN
) -> Iterator[str]:
    """A header and the rows of a table: text to the left, numbers to the right."""
    shown = []
    for name, column in columns.items():
        title, *cells = _cells(name, column, formats, plain)
        side = "<" if _is_text(column) else ">"
        width = max(len(title) + 2, *map(len, cells))
        shown.append([f"{cell:{side}{width}}" for cell in (title, *cells)])
    for row in zip(*shown, strict=True):
        yield "".join(row).rstrip()


def _cells(
    name: str, column: Any, formats: Mapping[str, str] = FORMATS, plain: str = PLAIN
) -> list[str]:
    # a header, and the values as text
    spec = formats.get("error" if name.endswith("_error") else name, plain)
    if _is_text(column):
        spec = f"<{max(12, *(len(str(v)) for v in column)) + 2}"
    return [name.replace("_", " "), *(_cell(value, spec) for value in column)]


def _is_text(column: Any) -> bool:
    return any(isinstance(value, str) and value != GAP for value in column)


def _cell(value: Any, spec: str) -> str:
    if isinstance(value, str):
        return f"{value:>{len(f'{0.0:{spec}}')}}" if value == GAP else f"{value:{spec}}"
    number = float(value)
    text = f"{number:{spec}}"
    # a dash where there is no number
    return f"{'-':>{len(text)}}" if np.isnan(number) else text
