"""How far a sampled spectrum lies from the theory, and how fast that falls with d."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..files.tables import in_brief
from ..numerics.types import Reals
from ..spectra.of_models import AnySpectrum, spectrum
from ..spectra.spectrum import Spectrum
from ..training.learning_curves import LearningCurve, learning_curve
from .ranks import atom_spread, cuts, edges_by_rank, masses_between
from .spectra import EmpiricalSpectrum

MEASURES = ("kolmogorov", "atom_spread", "wasserstein", "edges", "masses")
# an atom reaches over the lowest edge if it spreads over more than this share of the gap above it
SMEARED = 0.25
ROUNDING = 1e-13


class Deviations(NamedTuple):
    """One number for each deviation of ``Comparison``: its value, standard error or expected size.

    Attributes
    ----------
    kolmogorov, atom_spread, wasserstein, edges, masses
        Of the shape and unit that they have in ``Comparison``.
    """

    kolmogorov: Reals
    atom_spread: Reals
    wasserstein: Reals
    edges: Reals
    masses: Reals

    def __repr__(self) -> str:
        return in_brief(self)


def same_tau(tau: np.ndarray, curve: LearningCurve) -> None:
    other = np.ravel(curve.tau)
    if tau.shape != other.shape or not np.allclose(tau, other, rtol=1e-9):
        raise ValueError(
            f"tau must be the same in both curves, got {_brief(tau)} and {_brief(other)}"
        )


def dimension_of_theory(theory: LearningCurve) -> int | None:
    # None in the limit, and where nothing tells the model
    return None if theory.model is None else theory.model.d


def theory_at(theory: LearningCurve, d: int | None) -> LearningCurve:
    # a theory of finite d at the d of a sample
    model = theory.model
    if model is None or model.d is None or d is None or d == model.d:
        return theory
    return learning_curve(model.replace(d=d), theory.tau, theory.step, momentum=theory.momentum)


def check_kind(finite_size: Any, kind: type) -> None:
    if finite_size is not None and not isinstance(finite_size, kind):
        raise ValueError(
            f"finite_size must be a {kind.__name__} or None, got {type(finite_size).__name__}"
        )


def refuse_other_spectra(theory: Any, what: str) -> None:
    # of a finite d a spectrum has a distribution function, and neither edges nor an atom
    if hasattr(theory, "cdf") and not isinstance(theory, Spectrum | EmpiricalSpectrum):
        raise NotImplementedError(
            f"{what} takes spectra of the limit d → ∞, whose edges and atom it measures, got "
            f"{type(theory).__name__}: take rf.spectrum(model.limit)"
        )


def _brief(a: np.ndarray) -> str:
    return np.array2string(a, threshold=4, edgeitems=1, precision=4)


def plain(a: Reals) -> Reals:
    return float(a) if np.ndim(a) == 0 else np.asarray(a)


def spectrum_at(theory: AnySpectrum, d: int) -> AnySpectrum:
    """A theory of finite d at the d of a sample."""
    if isinstance(theory, Spectrum) or theory.model.d == d:
        return theory
    return spectrum(theory.model.replace(d=d))


def deviations_of(theory: AnySpectrum, empirical: EmpiricalSpectrum) -> Deviations:
    # of each matrix: arrays with the repeats first
    values = np.sort(np.asarray(empirical.eigenvalues), axis=1)
    if not isinstance(theory, Spectrum):
        # no atom, no edges and no bulks
        none = np.zeros((len(values), 0))
        return Deviations(
            kolmogorov=_kolmogorov(theory, values, 0.0),
            atom_spread=np.full(len(values), np.nan),
            wasserstein=_wasserstein(theory, values),
            edges=none,
            masses=none,
        )
    ranks, middles = cuts(theory, values.shape[1])
    edges, masses = np.asarray(theory.edges), np.asarray(theory.support.mass)[: len(ranks) - 1]
    return Deviations(
        # from the lowest edge on: the atom lies below
        kolmogorov=_kolmogorov(theory, values, float(edges[0])),
        atom_spread=atom_spread(values, ranks),
        wasserstein=_wasserstein(theory, values),
        edges=edges_by_rank(values, ranks) / edges - 1.0,
        masses=masses_between(values, middles) - masses,
    )


def _kolmogorov(theory: AnySpectrum, values: np.ndarray, lowest: float) -> np.ndarray:
    above = [np.append(row[row >= lowest], lowest) for row in values]
    split = np.cumsum([len(a) for a in above])[:-1]
    exact = np.split(_padded(theory.cdf, np.concatenate(above), lowest), split)
    return np.array(
        [_largest_distance(row, x, cdf) for row, x, cdf in zip(values, above, exact, strict=True)]
    )


def _largest_distance(row: np.ndarray, x: np.ndarray, cdf: np.ndarray) -> float:
    return max(
        np.abs(np.searchsorted(row, x, side=side) / row.size - cdf).max()
        for side in ("left", "right")
    )


def _wasserstein(theory: AnySpectrum, values: np.ndarray) -> np.ndarray:
    p = values.shape[1]
    return np.mean(np.abs(values - _padded(theory.quantile, (np.arange(p) + 0.5) / p, 0.5)), axis=1)


def _padded(f: Callable[[Any], Any], x: np.ndarray, fill: float) -> np.ndarray:
    # in lengths of powers of two samples of all sizes share compilations
    padded = np.full(max(1024, 1 << (len(x) - 1).bit_length()), fill)
    padded[: len(x)] = x
    return np.asarray(f(padded))[: len(x)]


def is_smeared(theory: AnySpectrum, spread: float) -> bool:
    if not isinstance(theory, Spectrum):
        return False
    location = float(theory.atom.location)
    gap = float(np.asarray(theory.edges)[0]) - location
    return float(theory.atom.mass) > 0 and spread > max(SMEARED * gap, ROUNDING * location)


def exponents_of(theory: AnySpectrum, beside_atom: float | None = None) -> dict[str, Any]:
    if not isinstance(theory, Spectrum):
        return dict.fromkeys(MEASURES, 1.0) | {"edges": np.ones(0), "masses": np.ones(0)}
    # powers of 1/d (``rfspec.empirical.comparison``); `beside_atom` is that next to a smeared atom
    edges, origin = np.asarray(theory.edges), float(theory.atom.location)
    a: dict[str, Any] = dict.fromkeys((*MEASURES, "moments"), 1.0)
    a |= {"atom_spread": 0.5, "edges": np.where(edges - origin <= 1e-12 * origin, 2.0, 2.0 / 3.0)}
    a["masses"] = np.ones(edges.size // 2)
    if beside_atom is not None:
        a["kolmogorov"] = a["edges"][0] = a["masses"][0] = beside_atom
    return a
