"""Losses along training."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..models.model import RandomFeatureModel
from ..numerics.types import Given
from ..spectra.spectrum import Spectrum, spectrum
from ..training.early_stopping import EarlyStopping
from ..training.learning_curves import LearningCurve
from ..training.learning_curves import learning_curve as theory_of
from ..training.timescales import Timescales
from .families import Family, colors_of, entry, family_of, name_members
from .style import COLORS, SCALES, axis_or_new, check_choice, style

TAKEN = (
    "a RandomFeatureModel, a LearningCurve, or a list or dictionary (label: member) of these, not "
    "empty"
)
# of the curve of a model
POINTS = 121
# looks of the train and the test loss
KINDS, LINES, MARKERS = ("train", "test"), ("-", "--"), ("o", "s")


def learning_curve(
    curves: Given,
    ax: Any = None,
    *,
    times: Timescales | None = None,
    stop: EarlyStopping | None = None,
    xscale: str = "log",
    yscale: str | None = None,
) -> Any:
    """Draw train and test loss over training time, of one model or of a family.

    Curves of the theory are lines, train solid and test dashed. Sampled curves are markers on top,
    circles for train and squares for test; means over several draws have a band of one standard
    error. One curve alone is drawn as lines, and so is the first of two that are both sampled.

    The members of a family have one colour each, in the order of the number in which their models
    differ, else as given. As many sampled curves as there are of the theory take their colours in
    turn. More than eight members of a list have a colour bar where one number tells them apart,
    else every so many have their label.

    Parameters
    ----------
    curves : RandomFeatureModel, LearningCurve, or a list or dictionary of these
        A model stands for its exact curve under gradient flow, from a tenth of the fastest to ten
        times the slowest of the relaxation times ψ_p/(ω²λ) of all models given. Labels are the keys
        of a dictionary; those of a list say in which arguments the models differ, "ψ_n = 4".
    ax : matplotlib axis, optional
        Where to draw; by default in a new figure.
    times : Timescales, optional
        Shades the span from the fast to the slow end of each part and marks τ_gen and τ_mem.
    stop : EarlyStopping, optional
        Marks the best time and the window around it.
    xscale, yscale : {"log", "linear"}
        Of τ (by default "log") and of the losses (by default "log" where they span a factor of 6).

    Returns
    -------
    The axis.

    Raises
    ------
    ValueError
        If `curves` is empty or holds something else, or a scale is unknown.

    Examples
    --------
    >>> import rfspec as rf
    >>> model = rf.RandomFeatureModel(psi_p=8.0, psi_n=2.0, t=0.05)
    >>> ax = rf.plotting.learning_curve([model, model.replace(psi_n=4.0)])
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['$\\\\psi_n = 2$', '$\\\\psi_n = 4$', 'train loss', 'test loss']
    """
    check_choice("xscale", xscale, SCALES)
    if yscale is not None:
        check_choice("yscale", yscale, SCALES)
    family = family_of("curves", curves, (RandomFeatureModel, LearningCurve), TAKEN)
    drawn = _drawn(family)
    with style():
        ax = axis_or_new(ax)
        for member in drawn:
            for kind in KINDS:
                _loss(ax, member, kind)
        ax.set_xscale(xscale)
        ax.set_yscale(yscale or _usual_scale(drawn))
        if times is not None:
            _spans(ax, times)
        if stop is not None:
            _window(ax, stop)
        ax.set_xlabel(r"training time $\tau = k\eta/d^2$")
        ax.set_ylabel("loss")
        _legend(ax, family, drawn)
    return ax


class Drawn(NamedTuple):
    """A curve and how it is drawn."""

    curve: LearningCurve
    # of the train and of the test loss
    looks: tuple[str, str]
    colors: tuple[Any, Any]
    labels: tuple[str, str] = ("_nolegend_", "_nolegend_")


def _drawn(family: Family) -> list[Drawn]:
    curves = _solved(family.members)
    lines = [_of_theory(curve) for curve in curves]
    if not any(lines) and len(curves) <= 2:
        lines[0] = True
    looks = [LINES if line else MARKERS for line in lines]
    # one curve, and perhaps what was measured on top of it
    if len(lines) <= 2 and sum(lines) == 1:
        names = [f", {label}" if label else "" for label in family.labels]
        return [
            Drawn(
                curve, look, ("black", COLORS["merged"]), (f"train loss{name}", f"test loss{name}")
            )
            for name, curve, look in zip(names, curves, looks, strict=True)
        ]
    colors = _colors(family, lines)
    return [
        Drawn(curve, look, (c, c)) for curve, look, c in zip(curves, looks, colors, strict=True)
    ]


def _colors(family: Family, lines: list[bool]) -> list[Any]:
    if all(lines):
        return colors_of(len(lines), family.values)
    of_lines = colors_of(sum(lines)) if any(lines) else []
    markers = len(lines) - len(of_lines)
    of_markers = of_lines if len(of_lines) == markers else colors_of(markers)
    both = {True: iter(of_lines), False: iter(of_markers)}
    return [next(both[line]) for line in lines]


def _of_theory(curve: LearningCurve) -> bool:
    return curve.model is not None and not np.any(np.isfinite(curve.standard_error.test))


def _solved(members: list[Any]) -> list[LearningCurve]:
    models = [member for member in members if isinstance(member, RandomFeatureModel)]
    if not models:
        return members
    first, last = np.transpose([relaxation_times(spectrum(model)) for model in models])
    tau = np.geomspace(first.min() / 10, last.max() * 10, POINTS)
    return [
        theory_of(member, tau) if isinstance(member, RandomFeatureModel) else member
        for member in members
    ]


def relaxation_times(sp: Spectrum) -> tuple[float, float]:
    """The fastest and the slowest of the modes of a spectrum (4)."""
    lowest, highest = float(sp.edges[0]), float(sp.edges[-1])
    bulks, atom = sp.bulks, float(sp.atom.mass)
    # where the spectrum has no end, that of nearly all of it
    if lowest <= 0:
        lowest = float(sp.quantile(atom + 0.01 * float(bulks[0].mass)))
    if not np.isfinite(highest):
        highest = float(sp.quantile(1.0 - 0.01 * float(bulks[-1].mass)))
    model = sp.model
    decay, unit = float(model.weight_decay / model.pace), 2.0 * float(model.time_unit)
    return unit / (highest + decay), unit / (lowest + decay)


def _usual_scale(drawn: list[Drawn]) -> str:
    shown = np.concatenate([np.ravel(v) for d in drawn for v in (d.curve.train, d.curve.test)])
    return "log" if shown.min() > 0 and shown.max() > 6 * shown.min() else "linear"


def _loss(ax: Any, member: Drawn, kind: str) -> None:
    curve, i = member.curve, KINDS.index(kind)
    color = member.colors[i]
    tau, values = np.ravel(curve.tau), np.ravel(getattr(curve, kind))
    # what is at infinity has no place on the axis
    tau = np.where(np.isfinite(tau), tau, np.nan)
    error = np.broadcast_to(np.ravel(getattr(curve.standard_error, kind)), tau.shape)
    ax.plot(tau, values, member.looks[i], color=color, label=member.labels[i], mfc="none", zorder=3)
    if np.all(np.isfinite(error)):
        ax.fill_between(tau, values - error, values + error, color=color, alpha=0.2, lw=0, zorder=2)


def _legend(ax: Any, family: Family, drawn: list[Drawn]) -> None:
    labelled = ax.get_legend_handles_labels()[0]
    if drawn[0].labels != Drawn._field_defaults["labels"]:
        ax.legend(loc="best")
        return
    handles = [
        entry(label, d.colors[0], *(("-",) if d.looks == LINES else ("none", "o")))
        for label, d in zip(family.labels, drawn, strict=True)
    ]
    lines, markers = (any(d.looks == looks for d in drawn) for looks in (LINES, MARKERS))
    both = [
        entry(f"{KINDS[i]} loss", "0.4", LINES[i] if lines else "none", MARKERS[i] * markers)
        for i in (0, 1)
    ]
    name_members(ax, family, handles, [*both, *labelled])


def _window(ax: Any, stop: EarlyStopping) -> None:
    # the best time is a point on the test loss, the window a bar below the curves
    left, right = ax.get_xlim()
    lower, upper = max(float(stop.window.lower), left), min(float(stop.window.upper), right)
    ax.axvspan(lower, upper, ymax=0.03, color=COLORS["satellite"], lw=0, label="stopping window")
    if np.isfinite(float(stop.tau)):
        ax.plot(
            float(stop.tau),
            float(stop.test),
            "*",
            ms=11,
            color=COLORS["satellite"],
            label=r"best time $\tau^*$",
            zorder=4,
        )


def _spans(ax: Any, times: Timescales) -> None:
    for part in ("population", "sample", "satellite"):
        fast, slow = float(getattr(times.fast, part)), float(getattr(times.slow, part))
        if np.isfinite(fast) and np.isfinite(slow):
            ax.axvspan(fast, slow, color=COLORS[part], alpha=0.13, lw=0, zorder=0)
    for value, part, name in (
        (times.tau_gen, "population", r"$\tau_\mathrm{gen}$"),
        (times.tau_mem, "sample", r"$\tau_\mathrm{mem}$"),
    ):
        if np.isfinite(float(value)):
            ax.axvline(float(value), color=COLORS[part], lw=1.0, zorder=1)
            ax.annotate(
                name, (float(value), 1.0), xycoords=("data", "axes fraction"), ha="center",
                va="bottom",
                color=COLORS[part], annotation_clip=False,
            )  # fmt: skip
