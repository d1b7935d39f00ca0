"""Bulks and atom of a sampled spectrum, by the ranks that the theory gives its parts."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ..numerics.types import Real
from ..spectra.spectrum import Spectrum


class Cuts(NamedTuple):
    """How a theory divides the p ascending eigenvalues of one matrix.

    `ranks`: shape [B+1]; bulk i has the eigenvalues ranks[i] to ranks[i+1] - 1, the atom those
    before ranks[0]. `middles`: shape [B+1]; of the gaps below each bulk, and ∞.
    """

    ranks: np.ndarray
    middles: np.ndarray


def cuts(theory: Spectrum, p: int) -> Cuts:
    """The ranks and the places at which a theory divides p eigenvalues.

    The middle of a gap is the geometric mean of its ends, that of the gap between the atom and the
    first bulk the arithmetic one: the two may be as close as a part in a million.
    """
    edges, atom = np.asarray(theory.edges).reshape(-1, 2), theory.atom
    masses = np.asarray(theory.support.mass)[: len(edges)]
    first = (float(atom.location) + edges[0, 0]) / 2 if float(atom.mass) > 0 else -np.inf
    cumulative = float(atom.mass) + np.concatenate([[0.0], np.cumsum(masses)])
    middles = np.concatenate([[first], np.sqrt(edges[:-1, 1] * edges[1:, 0]), [np.inf]])
    return Cuts(np.round(cumulative * p).astype(int), middles)


def edges_by_rank(values: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """Smallest and largest eigenvalue of each bulk of each matrix, shape (repeats, 2B);
    NaN for an empty one.
    """
    none = np.full(len(values), np.nan)
    ends = [(values[:, a], values[:, b - 1]) if b > a else (none, none) for a, b in pairwise(ranks)]
    return np.stack([end for pair in ends for end in pair], axis=1)


def shares_by_place(values: np.ndarray, middles: np.ndarray) -> np.ndarray:
    """Share of the eigenvalues of each matrix between the middles, shape (repeats, B)."""
    below = np.stack([np.searchsorted(row, middles) for row in values])
    return np.diff(below, axis=1) / values.shape[1]


def atom_spread(values: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """Standard deviation of the eigenvalues in the atom of each matrix; NaN without one."""
    return np.std(values[:, : ranks[0]], axis=1) if ranks[0] else np.full(len(values), np.nan)


class EmpiricalBulk(NamedTuple):
    """A bulk of the theory as found in a sample: means over the repeats, and their standard errors.

    `lower`, `upper`: smallest and largest eigenvalue of the bulk by rank, NaN where the bulk has
    less than half an eigenvalue. `mass`: share of the eigenvalues between the middles of the gaps
    around it. `part`: as in the theory. The errors are NaN for a single matrix.
    """

    lower: Real
    upper: Real
    mass: Real
    part: str | None
    lower_error: Real
    upper_error: Real
    mass_error: Real


class EmpiricalAtom(NamedTuple):
    """The atom of the theory as found in a sample: means over the repeats,
    and their standard errors.

    `location`: mean of the eigenvalues whose rank puts them in the atom (NaN where there are none).
    `mass`: share of the eigenvalues below the middle of the first gap; 0 where the theory has no
    atom. `spread`: standard deviation of the eigenvalues in the atom of one matrix, which finite
    features smear by a relative √(ψ_p/d). The errors are NaN for a single matrix.
    """

    location: Real
    mass: Real
    location_error: Real
    mass_error: Real
    spread: Real
