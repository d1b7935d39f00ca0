"""The density of the eigenvalues, theory as a line and samples as a histogram behind it."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.lines import Line2D

from ..empirical.spectra import EmpiricalSpectrum
from ..models.model import RandomFeatureModel
from ..numerics.types import Given
from ..spectra.finite_d import BELOW, SpectrumAtFiniteD
from ..spectra.of_models import AnySpectrum
from ..spectra.of_models import spectrum as theory_of
from ..spectra.spectrum import Bulk, Spectrum
from .families import colors_of, entry, family_of, name_members
from .style import COLORS, SCALES, axis_or_new, check_choice, color_of, style

TAKEN = (
    "a RandomFeatureModel, a Spectrum, or a list or dictionary (label: member) of these, not empty "
    "(what is sampled goes to empirical=)"
)
# labels of the vertical axis
QUANTITIES = {
    "mass": r"$\lambda\,\rho(\lambda)$  (mass per unit of $\ln\lambda$)",
    "density": r"$\rho(\lambda)$  (mass per unit of $\lambda$)",
}
DASHES = (0, (4, 2))
# λ and the quantity on each bulk
Lines = list[tuple[np.ndarray, np.ndarray]]


def spectrum(
    sp: Given,
    ax: Any = None,
    *,
    empirical: EmpiricalSpectrum | None = None,
    bins: int = 120,
    points: int = 300,
    quantity: str = "mass",
    xscale: str = "log",
    yscale: str | None = None,
) -> Any:
    """Draw a spectrum, or a family, by default on a logarithmic axis of λ as mass per unit of ln λ.

    Equal areas are then equal mass. Each part of a single spectrum has its colour, and the atom is
    a vertical line with its mass. In a family each member has one colour, in the order of the
    number in which the models differ, else as given. More than eight members of a list have a
    colour bar where one number tells them apart, else every so many have their label.

    Parameters
    ----------
    sp : RandomFeatureModel, Spectrum, SpectrumAtFiniteD, or a list or dictionary of these
        Drawn as lines; a model stands for its exact spectrum. Labels are the keys of a dictionary;
        those of a list say in which arguments the models differ, "ψ_n = 4". A bulk without an end
        is drawn to where a thousandth of its mass is left. At finite d each counted part is drawn.
    ax : matplotlib axis, optional
        Where to draw; by default in a new figure.
    empirical : EmpiricalSpectrum, optional
        Drawn as a histogram; of two matrices or more with its 95 % band for matrices of that size.
        Sampled with ``kind="gaussian"`` it lies on the line at small d already. Finite features
        (``kind="features"``) smear the atom by a relative √(ψ_p/d).
    bins, points : int
        Bins of the histogram, even on the axis of λ; points of the line on each bulk.
    quantity : {"mass", "density"}
        λρ(λ), mass per unit of ln λ, or ρ(λ), mass per unit of λ.
    xscale, yscale : {"log", "linear"}
        Of λ, and of the quantity: by default "linear" for the mass, and "log" for the density or
        where one member of a family is ten times as high as the middle one.

    Returns
    -------
    The axis.

    Raises
    ------
    ValueError
        If `sp` is empty or holds something else, or a quantity or scale is unknown.
    ConvergenceError
        If the spectrum of a model could not be found.

    Examples
    --------
    >>> import rfspec as rf
    >>> model = rf.RandomFeatureModel(psi_p=8.0, psi_n=2.0, t=0.05)
    >>> ax = rf.plotting.spectrum({"few samples": model, "many": model.replace(psi_n=4.0)})
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['few samples', 'many', 'atoms']
    """
    check_choice("quantity", quantity, tuple(QUANTITIES))
    check_choice("xscale", xscale, SCALES)
    if yscale is not None:
        check_choice("yscale", yscale, SCALES)
    family = family_of("sp", sp, (RandomFeatureModel, Spectrum, SpectrumAtFiniteD), TAKEN)
    spectra = [theory_of(s) if isinstance(s, RandomFeatureModel) else s for s in family.members]
    with style():
        ax = axis_or_new(ax)
        lines = [[_line(s, bulk, points, quantity) for bulk in bulks_of(s)] for s in spectra]
        colors = colors_of(len(spectra), family.values)
        if family.single:
            _parts(ax, spectra[0], lines[0])
        else:
            _members(ax, colors, lines)
        if empirical is not None:
            _histogram(ax, empirical, bins, quantity, xscale)
        if family.single:
            _atom(ax, spectra[0])
            # a histogram is heaviest at the atom, below all bulks
            ax.legend(loc="best" if empirical is None else "upper right")
        else:
            handles = [entry(*member) for member in zip(family.labels, colors, strict=True)]
            atoms = _atoms(ax, colors, spectra)
            name_members(ax, family, handles, [*ax.get_legend_handles_labels()[0], *atoms])
        ax.set_xscale(xscale)
        _set_heights(ax, lines, yscale, quantity)
        ax.set_xlabel(r"eigenvalue $\lambda$ of $U$")
        ax.set_ylabel(QUANTITIES[quantity])
    return ax


def _set_heights(ax: Any, lines: list[Lines], yscale: str | None, quantity: str) -> None:
    # next to its edges a density may be as large as it likes
    members = [max(np.max(y[3:-3]) for _, y in bulks) for bulks in lines]
    lowest, top = min(np.median(y) for bulks in lines for _, y in bulks), max(members)
    # beside one needle all others would lie on the axis
    needle = top > 10 * np.median(members)
    if yscale is None:
        yscale = "log" if quantity == "density" or needle else "linear"
    ax.set_yscale(yscale)
    ax.set_ylim((0.0, 1.25 * top) if yscale == "linear" else (lowest / 30, 3 * top))


def color_of_bulk(bulk: Bulk) -> str:
    return color_of("atom" if bulk.part == BELOW else bulk.part)


def bulks_of(sp: AnySpectrum) -> tuple[Bulk, ...]:
    # counted parts stand for bulks
    if isinstance(sp, SpectrumAtFiniteD):
        return tuple(Bulk(a, b, m, np.nan, part, np.nan) for part, a, b, m in sp.intervals)
    return sp.bulks


def _line(sp: AnySpectrum, bulk: Bulk, points: int, quantity: str) -> tuple[np.ndarray, np.ndarray]:
    x = on_bulk(sp, bulk, points)
    density = np.asarray(sp.density(x))
    return x, x * density if quantity == "mass" else density


def _parts(ax: Any, sp: AnySpectrum, lines: Lines) -> None:
    labelled = set()
    for bulk, (x, y) in zip(bulks_of(sp), lines, strict=True):
        label = None if bulk.part in labelled else (bulk.part or "").replace("+", " + ")
        labelled.add(bulk.part)
        color = color_of_bulk(bulk)
        ax.plot(x, y, color=color, label=label, zorder=3)
        ax.fill_between(x, y, color=color, alpha=0.15, lw=0, zorder=1)


def _members(ax: Any, colors: list[Any], lines: list[Lines]) -> None:
    for color, bulks in zip(colors, lines, strict=True):
        # one line each, with a hole in every gap
        x, y = (np.concatenate([[*bulk[i], np.nan] for bulk in bulks]) for i in (0, 1))
        ax.plot(x, y, color=color, zorder=3)


def _atoms(ax: Any, colors: list[Any], spectra: list[AnySpectrum]) -> list[Line2D]:
    # those of several members at one place are drawn once
    at: dict[float, list[int]] = {}
    for i, sp in enumerate(spectra):
        if float(sp.atom.mass) > 0:
            at.setdefault(float(sp.atom.location), []).append(i)
    for location, of in at.items():
        color = colors[of[0]] if len(of) == 1 else COLORS["atom"]
        ax.axvline(location, color=color, ls=DASHES, lw=1.2, zorder=2)
    return [entry("atoms", COLORS["atom"], DASHES, lw=1.2)] if at else []


def _atom(ax: Any, sp: AnySpectrum) -> None:
    location, mass = float(sp.atom.location), float(sp.atom.mass)
    if mass > 0:
        label = f"atom, mass {mass:.3g}"
        ax.axvline(location, color=COLORS["atom"], ls=DASHES, lw=1.2, label=label, zorder=2)


def on_bulk(sp: AnySpectrum, bulk: Bulk, points: int) -> np.ndarray:
    """Points on a bulk; one without an end is left where a thousandth of its mass is."""
    upper = float(bulk.upper)
    if not np.isfinite(upper):
        upper = float(sp.quantile(1.0 - 1e-3 * float(bulk.mass)))
    return inside(float(bulk.lower), upper, points)


def inside(lower: float, upper: float, points: int) -> np.ndarray:
    """Points on a bulk, even on a logarithmic scale but for its ends, where they are dense.

    λ = a (b/a)^{sin²(θ/2)} at `points` even θ from 0 to π; for a = 0, λ = b sin²(θ/2) without
    the first of them.

    Parameters
    ----------
    lower, upper : float
        Ends a < b of the bulk; an a of 0 or less stands for 0.
    points : int
        How many, at least 2.

    Returns
    -------
    array, shape (points,)
        Ascending from a to b; shape (points - 1,), and above 0, for a = 0.

    Examples
    --------
    >>> import rfspec as rf
    >>> rf.plotting.inside(1.0, 100.0, 3).round(6).tolist()
    [1.0, 10.0, 100.0]
    """
    theta = np.linspace(0.0, np.pi, points)
    if lower <= 0:
        return upper * np.sin(theta / 2)[1:] ** 2
    return lower * (upper / lower) ** (np.sin(theta / 2) ** 2)


def _histogram(
    ax: Any, empirical: EmpiricalSpectrum, bins: int, quantity: str, xscale: str
) -> None:
    values = np.ravel(empirical.eigenvalues)
    values = values[values > 0]
    even = np.geomspace if xscale == "log" else np.linspace
    edges = even(values.min() * 0.999, values.max() * 1.001, bins + 1)
    unit = np.diff(edges) / np.diff(np.log(edges)) if quantity == "mass" else 1.0
    label = f"sampled, d = {empirical.d}, p = {empirical.p}"
    ax.stairs(
        empirical.histogram(edges) * unit, edges, fill=True, color="0.78", label=label, zorder=0
    )
    if empirical.repeats > 1:
        lower, upper = (bound * unit for bound in empirical.histogram_band(edges))
        label = f"95 % band, {empirical.repeats} matrices"
        ax.stairs(
            upper,
            edges,
            baseline=lower,
            fill=True,
            color="0.45",
            alpha=0.35,
            lw=0,
            label=label,
            zorder=0.5,
        )
