"""The look that all pictures share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

# the matplotlib style sheet of the package
STYLE = Path(__file__).parent.parent / "rfspec.mplstyle"

# of the parts of a spectrum
COLORS = {
    "population": "#0072B2",
    "sample": "#D55E00",
    "satellite": "#009E73",
    "atom": "#444444",
    "merged": "#CC79A7",
}


def style() -> Any:
    """The look of the package's pictures, for others beside them.

    Returns
    -------
    context manager
        Inside it `STYLE`, the package's matplotlib style sheet, applies.

    Examples
    --------
    >>> import matplotlib.pyplot as plt, rfspec as rf
    >>> with rf.plotting.style():
    ...     figure, ax = plt.subplots()
    """
    return plt.style.context(STYLE)


def color_of(part: str | None) -> str:
    # merged parts have a colour of their own
    return COLORS.get(part or "", COLORS["merged"])


def axis_or_new(ax: Any) -> Any:
    return plt.subplots()[1] if ax is None else ax
