"""The pictures of the explorer, drawn without a window and without pyplot."""

from __future__ import annotations

import io
import threading
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from ..plotting.curves import learning_curve
from ..plotting.densities import spectrum
from ..plotting.figures import legend_below
from ..plotting.phases import phase_diagram
from ..plotting.style import style
from .state import ENDS, POINTS, Losses, Settings, Spectral

if TYPE_CHECKING:
    import xarray

SIZE, TALLER = (6.4, 4.2), (6.4, 5.2)
# left, bottom, width and height
AXES = (0.125, 0.13, 0.86, 0.795)
# dots per inch on the page, and in a file
SCREEN, FILE = 110, 220
# the mark in the phase diagram
PLACE = "place"
# matplotlib's style is that of the whole process
_one_at_a_time = threading.RLock()


def spectrum_picture(spectral: Spectral, yscale: str = "linear") -> Figure:
    """The density of the bulks, and the atom."""
    with _one_at_a_time, style():
        figure, ax = _empty()
        spectrum(spectral.spectrum, ax, points=POINTS, yscale=yscale)
    return figure


def losses_picture(losses: Losses) -> Figure:
    """Train and test loss, the best time with its window, and the times of the parts."""
    with _one_at_a_time, style():
        figure, ax = _empty()
        learning_curve(losses.curve, ax, times=losses.times, stop=losses.stop)
    return figure


def place_picture(settings: Settings, diagram: xarray.Dataset | None, budget: float) -> Figure:
    """The place of a model in the phase diagram at one budget; the place alone without one."""
    with _one_at_a_time, style():
        figure = Figure(figsize=TALLER, layout="constrained")
        ax = figure.subplots()
        if diagram is None:
            _no_regions(ax)
        else:
            phase_diagram(diagram.sel(tau=budget), ax)
            # beside the axes it would take half of the picture
            legend_below(figure, ax, "outside lower center", 2)
        ax.plot([], [], "*", ms=15, color="black", mec="white", zorder=5, clip_on=False, gid=PLACE)
    return moved(figure, settings)


def moved(figure: Figure, settings: Settings) -> Figure:
    """The same picture of the phase diagram with the place of another model."""
    (place,) = (line for line in figure.axes[0].lines if line.get_gid() == PLACE)
    place.set_data([settings.psi_n], [settings.psi_p])
    return figure


def as_bytes(figure: Figure, form: str, dpi: int = SCREEN) -> bytes:
    """A picture as the content of a file, "png" or "pdf"."""
    content = io.BytesIO()
    with _one_at_a_time, style():
        figure.savefig(content, format=form, dpi=dpi)
    return content.getvalue()


def _empty() -> tuple[Figure, Any]:
    # a layout that is computed would take a third of the time of a picture
    figure = Figure(figsize=SIZE)
    figure.set_layout_engine("none")
    return figure, figure.add_axes(AXES)


def _no_regions(ax: Any) -> None:
    ax.set(xscale="log", yscale="log", xlim=ENDS, ylim=ENDS)
    ax.set_xlabel(r"$\psi_n = n/d$")
    ax.set_ylabel(r"$\psi_p = p/d$")
    ax.set_title("the regions are being computed", loc="left", color="0.4")
