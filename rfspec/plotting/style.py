"""The look that all pictures share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt

# the matplotlib style sheet of the package
STYLE = Path(__file__).parent.parent / "rfspec.mplstyle"

SCALES = ("log", "linear")

# of the parts of a spectrum
COLORS = {
    "population": "#0072B2",
    "sample": "#D55E00",
    "satellite": "#009E73",
    "atom": "#444444",
    "merged": "#CC79A7",
}


@contextmanager
def style() -> Iterator[None]:
    """The look of the package's pictures, for others beside them.

    Returns
    -------
    context manager
        Inside it `STYLE`, the package's matplotlib style sheet, applies. Whether pictures are shown
        as they are made stays as it is at its end.

    Examples
    --------
    >>> import matplotlib.pyplot as plt, rfspec as rf
    >>> with rf.plotting.style():
    ...     figure, ax = plt.subplots()
    """
    interactive = mpl.is_interactive()
    try:
        with plt.style.context(STYLE):
            try:
                yield
            finally:
                # the first figure in a notebook chooses the backend, which turns it on
                interactive = mpl.is_interactive()
    finally:
        mpl.interactive(interactive)


def color_of(part: str | None) -> str:
    # merged parts have a colour of their own
    return COLORS.get(part or "", COLORS["merged"])


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r:.100}")


def axis_or_new(ax: Any) -> Any:
    return plt.subplots()[1] if ax is None else ax
