"""The density of the eigenvalues, theory as a line and samples as a histogram behind it."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..empirical.spectra import EmpiricalSpectrum
from ..spectra.spectrum import Spectrum
from .style import COLORS, axis_or_new, color_of, style


def spectrum(
    sp: Spectrum,
    ax: Any = None,
    *,
    empirical: EmpiricalSpectrum | None = None,
    bins: int = 120,
    points: int = 300,
) -> Any:
    """Draw a spectrum on a logarithmic axis of λ, as mass λρ(λ) per unit of ln λ.

    Equal areas are equal mass. Each part has its colour; the atom is a vertical line with its mass.

    Parameters
    ----------
    sp : Spectrum
        Drawn as a line.
    ax : matplotlib axis, optional
        Where to draw; by default in a new figure.
    empirical : EmpiricalSpectrum, optional
        Drawn as a histogram; of two matrices or more with its 95 % band for matrices of that size.
    bins, points : int
        Bins of the histogram; points of the line on each bulk.

    Returns
    -------
    The axis.
    """
    with style():
        ax = axis_or_new(ax)
        top, labelled = 0.0, set()
        for bulk in sp.bulks:
            x = inside(float(bulk.lower), float(bulk.upper), points)
            y = x * np.asarray(sp.density(x))
            label = None if bulk.part in labelled else (bulk.part or "").replace("+", " + ")
            labelled.add(bulk.part)
            color = color_of(bulk.part)
            ax.plot(x, y, color=color, label=label, zorder=3)
            ax.fill_between(x, y, color=color, alpha=0.15, lw=0, zorder=1)
            top = max(top, np.max(y[3:-3]))
        if empirical is not None:
            _histogram(ax, empirical, bins)
        location, mass = float(sp.atom.location), float(sp.atom.mass)
        if mass > 0:
            ax.axvline(
                location,
                color=COLORS["atom"],
                ls=(0, (4, 2)),
                lw=1.2,
                label=f"atom, mass {mass:.3g}",
                zorder=2,
            )
        ax.set_xscale("log")
        ax.set_ylim(0, 1.25 * top)
        ax.set_xlabel(r"eigenvalue $\lambda$ of $U$")
        ax.set_ylabel(r"$\lambda\,\rho(\lambda)$  (mass per unit of $\ln\lambda$)")
        ax.legend()
    return ax


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


def _histogram(ax: Any, empirical: EmpiricalSpectrum, bins: int) -> None:
    values = np.ravel(empirical.eigenvalues)
    values = values[values > 0]
    edges = np.geomspace(values.min() * 0.999, values.max() * 1.001, bins + 1)
    per_log = np.diff(edges) / np.diff(np.log(edges))
    label = f"sampled, d = {empirical.d}, p = {empirical.p}"
    ax.stairs(
        empirical.histogram(edges) * per_log, edges, fill=True, color="0.78", label=label, zorder=0
    )
    if empirical.repeats > 1:
        lower, upper = (bound * per_log for bound in empirical.histogram_band(edges))
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
