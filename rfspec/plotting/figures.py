"""Whole figures, made of several panels."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt

from ..empirical.spectra import EmpiricalSpectrum
from ..spectra.spectrum import Spectrum
from ..training.learning_curves import LearningCurve
from ..training.timescales import Timescales
from .curves import learning_curve
from .densities import spectrum
from .mass_above import mass_above
from .style import style


def spectrum_and_training(
    sp: Spectrum,
    empirical: EmpiricalSpectrum,
    curves: dict[str, LearningCurve],
    times: Timescales,
    title: str,
) -> Any:
    """A spectrum over its sample, the masses of its parts, and the losses of that sample with the
    times of the parts.
    """
    with style():
        figure, (left, middle, right) = plt.subplots(1, 3, figsize=(13.5, 4.4))
        spectrum(sp, left, empirical=empirical)
        left.set_title(title, loc="left")
        mass_above(sp, middle, empirical=empirical)
        middle.set_title("the same, mass above each eigenvalue", loc="left")
        learning_curve(curves, right, times=times)
        # below the panels, which are full
        left.get_legend().remove()
        below: list[tuple[Any, Any, int]] = [
            (middle, "outside lower left", 3),
            (right, "outside lower right", 2),
        ]
        for ax, place, columns in below:
            legend_below(figure, ax, place, columns)
    return figure


def legend_below(figure: Any, ax: Any, place: Any, columns: int) -> None:
    """Move the legend of an axis out of its way, to the lower edge of the figure."""
    legend = ax.get_legend()
    handles, labels = legend.legend_handles, [text.get_text() for text in legend.get_texts()]
    legend.remove()
    figure.legend(handles, labels, loc=place, ncols=columns)
