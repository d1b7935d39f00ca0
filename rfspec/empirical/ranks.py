"""Bulks and atom of a sampled spectrum, by the ranks that the theory gives its parts."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ..files.tables import in_brief
from ..numerics.types import Real
from ..spectra.spectrum import Spectrum


class Cuts(NamedTuple):
    """How a theory divides the p ascending eigenvalues of one matrix.

    Attributes
    ----------
    ranks : array, shape (B+1,)
        Bulk i has the eigenvalues ranks[i] to ranks[i+1] - 1, the atom those before ranks[0].
    middles : array, shape (B+1,)
        Of the gap below each bulk, and ∞.
    """

    ranks: np.ndarray
    middles: np.ndarray


def cuts(theory: Spectrum, p: int) -> Cuts:
    edges, atom = np.asarray(theory.edges).reshape(-1, 2), theory.atom
    masses = np.asarray(theory.support.mass)[: len(edges)]
    # gaps are halved geometrically, but the first, whose ends may agree to a part in a million
    first = (float(atom.location) + edges[0, 0]) / 2 if float(atom.mass) > 0 else -np.inf
    cumulative = float(atom.mass) + np.concatenate([[0.0], np.cumsum(masses)])
    middles = np.concatenate([[first], np.sqrt(edges[:-1, 1] * edges[1:, 0]), [np.inf]])
    return Cuts(np.round(cumulative * p).astype(int), middles)


def edges_by_rank(values: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    # smallest and largest eigenvalue of each bulk of each matrix, shape (repeats, 2B)
    none = np.full(len(values), np.nan)
    ends = [(values[:, a], values[:, b - 1]) if b > a else (none, none) for a, b in pairwise(ranks)]
    return np.stack([end for pair in ends for end in pair], axis=1)


def masses_between(values: np.ndarray, middles: np.ndarray) -> np.ndarray:
    # share of the eigenvalues of each matrix, shape (repeats, B)
    below = np.stack([np.searchsorted(row, middles) for row in values])
    return np.diff(below, axis=1) / values.shape[1]


def atom_spread(values: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    # standard deviation of the eigenvalues in the atom of each matrix
    return np.std(values[:, : ranks[0]], axis=1) if ranks[0] else np.full(len(values), np.nan)


class EmpiricalBulk(NamedTuple):
    """A bulk of the theory as found in a sample: means over the repeats, and their standard errors.

    Attributes
    ----------
    lower, upper : float
        Smallest and largest eigenvalue of the bulk by rank, in the unit of λ; NaN where the bulk
        has less than half an eigenvalue.
    mass : float
        Share of the eigenvalues between the middles of the gaps around the bulk.
    part : str or None
        As in the theory.
    lower_error, upper_error, mass_error : float
        Standard errors over the repeats; NaN for a single matrix.
    """

    lower: Real
    upper: Real
    mass: Real
    part: str | None
    lower_error: Real
    upper_error: Real
    mass_error: Real

    def __repr__(self) -> str:
        return in_brief(self)


class EmpiricalAtom(NamedTuple):
    """The atom of the theory as found in a sample: means over the repeats, with standard errors.

    Attributes
    ----------
    location : float
        Mean of the eigenvalues whose rank puts them in the atom; NaN where there are none.
    mass : float
        Share of the eigenvalues below the middle of the first gap; 0 where the theory has no atom.
    location_error, mass_error : float
        Standard errors over the repeats; NaN for a single matrix.
    spread : float
        Standard deviation of the eigenvalues in the atom of one matrix, in the unit of λ. Finite
        features smear the atom by a relative √(ψ_p/d).
    """

    location: Real
    mass: Real
    location_error: Real
    mass_error: Real
    spread: Real

    def __repr__(self) -> str:
        return in_brief(self)
