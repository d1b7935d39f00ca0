"""The look that all pictures share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

STYLE = Path(__file__).parent.parent / "rfspec.mplstyle"

COLORS = {
    "population": "#0072B2",
    "sample": "#D55E00",
    "satellite": "#009E73",
    "atom": "#444444",
    "merged": "#CC79A7",
}


def style() -> Any:
    """Context manager that applies the package's matplotlib style."""
    return plt.style.context(STYLE)


def color_of(part: str | None) -> str:
    """Colour of a part; merged parts have one of their own."""
    return COLORS.get(part or "", COLORS["merged"])


def axis(ax: Any) -> Any:
    """The axis given, or that of a new figure."""
    return plt.subplots()[1] if ax is None else ax
