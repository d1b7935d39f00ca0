"""Distances between the theory and a sample."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..learning_curves import LearningCurve
from ..spectrum import Spectrum
from .spectrum import EmpiricalSpectrum


class Comparison(NamedTuple):
    """Deviations of a sampled spectrum from the theory.

    `kolmogorov`: largest distance of the distribution functions; eigenvalues nearer to the atom than to the
    lowest edge count as the atom. `wasserstein`: mean |λ_(i) - Q((i - ½)/p)|, in the unit of λ. `edges`: relative
    deviation of the outermost eigenvalue at each edge (NaN where a bulk holds none), shape [2B]. `masses`:
    deviation of each bulk's share, shape [B]. `counts`: eigenvalues found in each bulk. `d`: dimension; spectra of
    tanh features deviate by O(1/d), edges by O(d^-2/3).
    """

    kolmogorov: float
    wasserstein: float
    edges: np.ndarray
    masses: np.ndarray
    counts: np.ndarray
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
    counts = np.histogram(values, cuts)[0]

    deviations = np.full(edges.shape, np.nan)
    for i, (low, high) in enumerate(zip(cuts[:-1], cuts[1:], strict=True)):
        inside = values[(values >= low) & (values < high)]
        if inside.size:
            deviations[i] = np.array([inside[0], inside[-1]]) / edges[i] - 1.0

    rank = (np.arange(values.size) + 0.5) / values.size
    wasserstein = np.mean(np.abs(values - np.asarray(theory.quantile(rank))))
    collected = np.where(values < first, float(atom.location), values)
    expected = np.asarray(theory.cdf(collected))
    seen = np.searchsorted(collected, collected, side="right") / values.size
    before = np.searchsorted(collected, collected, side="left") / values.size
    at_atom = collected < first
    distance = np.maximum(np.abs(seen - expected), np.where(at_atom, 0.0, np.abs(before - expected)))
    return Comparison(
        float(distance.max()), float(wasserstein), deviations.ravel(), counts / values.size - masses, counts, empirical.d
    )


def _curves(theory: LearningCurve, empirical: LearningCurve) -> CurveComparison:
    tau = np.ravel(theory.tau)
    if tau.shape != np.ravel(empirical.tau).shape or not np.allclose(tau, np.ravel(empirical.tau), rtol=1e-9):
        raise ValueError("the two curves must be at the same tau")
    train = np.abs(np.ravel(theory.train - empirical.train))
    test = np.abs(np.ravel(theory.test - empirical.test))
    return CurveComparison(
        float(train.max()), float(test.max()), float(tau[train.argmax()]), float(tau[test.argmax()])
    )
