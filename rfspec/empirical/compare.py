"""Distances between the theory and a sample."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from ..learning_curves import LearningCurve
from ..spectrum import Spectrum
from .spectrum import EmpiricalSpectrum


class Comparison(NamedTuple):
    """Deviations of a sampled spectrum from the theory.

    `kolmogorov`: largest distance of the distribution functions at and above the lowest edge; what lies below
    is the atom, which finite features smear by a relative √(ψ_p/d). `atom_spread`: standard deviation of the
    eigenvalues whose rank puts them in the atom (NaN without one). `wasserstein`: mean |λ_(i) - Q((i - ½)/p)|, in
    the unit of λ. `edges`: relative deviation of the smallest and largest eigenvalue of each bulk, told by their
    ranks, shape [2B]. `masses`: deviation of the share found between the middles of the gaps, shape [B].
    `d`: dimension; spectra deviate by O(1/d), edges by O(d^-2/3).
    """

    kolmogorov: float
    atom_spread: float
    wasserstein: float
    edges: np.ndarray
    masses: np.ndarray
    d: int


class CurveComparison(NamedTuple):
    """Largest absolute deviations of a sampled learning curve from another, and where they are."""

    train: float
    test: float
    tau_train: float
    tau_test: float


def compare(theory: Any, empirical: Any) -> Comparison | CurveComparison:
    """Distances between theory and experiment.

    Parameters
    ----------
    theory : Spectrum or LearningCurve
    empirical : EmpiricalSpectrum or LearningCurve
        Of the same kind; curves at the same τ.

    Returns
    -------
    Comparison or CurveComparison

    Raises
    ------
    ValueError
        If the two are of different kinds, or the curves have different τ.
    """
    if isinstance(theory, Spectrum) and isinstance(empirical, EmpiricalSpectrum):
        return _spectra(theory, empirical)
    if isinstance(theory, LearningCurve) and isinstance(empirical, LearningCurve):
        return _curves(theory, empirical)
    raise ValueError(
        "compare takes a Spectrum and an EmpiricalSpectrum, or two LearningCurves, "
        f"got {type(theory).__name__} and {type(empirical).__name__}"
    )


def _spectra(theory: Spectrum, empirical: EmpiricalSpectrum) -> Comparison:
    values = np.sort(np.ravel(empirical.eigenvalues))
    edges = np.asarray(theory.edges).reshape(-1, 2)
    masses = np.asarray(theory.support.mass)[: len(edges)]
    atom = theory.atom
    first = (float(atom.location) + edges[0, 0]) / 2 if atom.mass > 0 else -np.inf
    cuts = np.concatenate([[first], np.sqrt(edges[:-1, 1] * edges[1:, 0]), [np.inf]])
    shares = np.histogram(values, cuts)[0] / values.size

    ranks = np.round((float(atom.mass) + np.concatenate([[0.0], np.cumsum(masses)])) * values.size).astype(int)
    ends = [(values[a], values[b - 1]) if b > a else (np.nan, np.nan) for a, b in pairwise(ranks)]
    in_atom = values[: ranks[0]]

    middle = (np.arange(values.size) + 0.5) / values.size
    wasserstein = np.mean(np.abs(values - np.asarray(theory.quantile(middle))))
    above = np.append(values[values >= edges[0, 0]], edges[0, 0])
    expected = np.asarray(theory.cdf(above))
    distances = [
        np.abs(np.searchsorted(values, above, side=side) / values.size - expected) for side in ("left", "right")
    ]
    return Comparison(
        kolmogorov=float(np.max(distances)),
        atom_spread=float(np.std(in_atom)) if in_atom.size else np.nan,
        wasserstein=float(wasserstein),
        edges=(np.array(ends) / edges - 1.0).ravel(),
        masses=shares - masses,
        d=empirical.d,
    )


def _curves(theory: LearningCurve, empirical: LearningCurve) -> CurveComparison:
    tau = np.ravel(theory.tau)
    if tau.shape != np.ravel(empirical.tau).shape or not np.allclose(tau, np.ravel(empirical.tau), rtol=1e-9):
        raise ValueError("the two curves must be at the same tau")
    train = np.abs(np.ravel(theory.train - empirical.train))
    test = np.abs(np.ravel(theory.test - empirical.test))
    return CurveComparison(float(train.max()), float(test.max()), float(tau[train.argmax()]), float(tau[test.argmax()]))
