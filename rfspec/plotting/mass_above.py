"""How much of a spectrum lies above each eigenvalue: every part a step, every gap a plateau."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..empirical.spectra import EmpiricalSpectrum
from ..models.model import RandomFeatureModel
from ..numerics.types import Given
from ..spectra.of_models import AnySpectrum
from ..spectra.of_models import spectrum as theory_of
from ..spectra.spectrum import Bulk
from .densities import bulks_of, color_of_bulk, on_bulk
from .style import COLORS, axis_or_new, style

# shown below the smallest plateau
ROOM = 20.0


def mass_above(
    sp: Given, ax: Any = None, *, empirical: EmpiricalSpectrum | None = None, points: int = 200
) -> Any:
    """Draw the mass above λ, 1 - F(λ) with F the distribution function, on logarithmic axes.

    Each gap is a plateau, whose height is the rank of all that lies above it; an atom is a vertical
    step. What a histogram of densities cannot show, a heavy atom beside a light part, is read off
    here.

    Parameters
    ----------
    sp : RandomFeatureModel, Spectrum or SpectrumAtFiniteD
        Drawn as a line, each part in its colour; a model stands for its exact spectrum.
    ax : matplotlib axis, optional
        Where to draw; by default in a new figure.
    empirical : EmpiricalSpectrum, optional
        Drawn in grey behind it, as the share of the sampled eigenvalues above λ.
    points : int
        Points of the line on each bulk.

    Returns
    -------
    The axis.

    Raises
    ------
    ValueError
        If `sp` is neither a model nor a spectrum.
    ConvergenceError
        If the spectrum of a model could not be found.

    Notes
    -----
    Masses are those of equation (9) of docs/theory.md, exact at every plateau.

    Examples
    --------
    >>> import rfspec as rf
    >>> ax = rf.plotting.mass_above(rf.RandomFeatureModel(psi_p=8.0, psi_n=2.0, t=0.05))
    >>> ax.get_ylabel()
    'mass above $\\\\lambda$'
    """
    if isinstance(sp, RandomFeatureModel):
        sp = theory_of(sp)
    if not isinstance(sp, AnySpectrum):
        raise ValueError(f"sp must be a RandomFeatureModel or a Spectrum, got {type(sp).__name__}")
    bulks = bulks_of(sp)
    lines = [_of_bulk(sp, bulks, i, points) for i in range(len(bulks))]
    with style():
        ax = axis_or_new(ax)
        if empirical is not None:
            _shares(ax, empirical)
        _plateaus(ax, sp, lines)
        for bulk, (x, y) in zip(bulks, lines, strict=True):
            part = bulk.part or ""
            ax.plot(x, y, color=color_of_bulk(bulk), label=part.replace("+", " + "), zorder=3)
        # the line falls: its lower left corner is free
        handles, labels = ax.get_legend_handles_labels()
        # each part once
        entries = dict(zip(labels, handles, strict=True))
        ax.legend(entries.values(), entries.keys(), loc="lower left")
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_ylim(min(y[0] for _, y in lines) / ROOM, 2.0)
        ax.set_xlabel(r"eigenvalue $\lambda$ of $U$")
        ax.set_ylabel(r"mass above $\lambda$")
    return ax


def _of_bulk(
    sp: AnySpectrum, bulks: tuple[Bulk, ...], i: int, points: int
) -> tuple[np.ndarray, np.ndarray]:
    bulk, above = bulks[i], sum(float(b.mass) for b in bulks[i + 1 :])
    x = on_bulk(sp, bulk, points)
    # exact at the ends, where the distribution function is known to rounding of 1 only
    y = np.clip(1.0 - np.asarray(sp.cdf(x)), above, above + float(bulk.mass))
    return x, y


def _plateaus(ax: Any, sp: AnySpectrum, lines: list[tuple[np.ndarray, np.ndarray]]) -> None:
    x, y = (np.concatenate([line[i] for line in lines]) for i in (0, 1))
    atom = float(sp.atom.location)
    # mass below all bulks is that of the atom
    if 0 < atom < x[0]:
        x, y = np.append([atom / 10, atom, atom], x), np.append([1.0, 1.0, y[0]], y)
    label = f"atom, mass {float(sp.atom.mass):.3g}" if float(sp.atom.mass) > 0 else "gaps"
    ax.plot(x, y, color=COLORS["atom"], lw=0.9, zorder=2, label=label)


def _shares(ax: Any, empirical: EmpiricalSpectrum) -> None:
    values = np.sort(np.ravel(empirical.eigenvalues))
    shares = 1.0 - np.arange(values.size) / values.size
    label = f"sampled, d = {empirical.d}, p = {empirical.p}"
    ax.plot(values, shares, color="0.6", lw=3.0, drawstyle="steps-pre", label=label, zorder=1)
