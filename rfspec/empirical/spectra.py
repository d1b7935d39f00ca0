r"""What is read off the eigenvalues of sampled matrices, under the nouns of the theory.

The theory's masses are exact sums of ranks and weights, so that ranks tell the bulks of a sample.
With masses m_a of the atom and m_1, m_2, ... of the bulks, bulk i holds the eigenvalues of ranks
round(p(m_a + m_1 + ... + m_{i-1})) to round(p(m_a + ... + m_i)). Eigenvalues of one matrix repel
each other and are not independent, but matrices are. Every standard error is therefore s/√repeats
with s the standard deviation over whole matrices, and every band resamples whole matrices.
"""

from __future__ import annotations

import functools
from itertools import pairwise
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from ..files.tables import Table
from ..models.model import RandomFeatureModel
from ..numerics.checks import concrete, integer, real_array, real_scalar
from ..numerics.types import Given, Matrix, Real, Whole
from ..spectra.spectrum import Spectrum
from ..spectra.spectrum import spectrum as theory_of
from .bands import Band, bootstrap, kernels, silverman, standard_error
from .ranks import (
    Cuts,
    EmpiricalAtom,
    EmpiricalBulk,
    atom_spread,
    cuts,
    edges_by_rank,
    masses_between,
)


class EmpiricalSpectrum(Table, eqx.Module):
    """Eigenvalues of one or more sampled U of a model, read as the theory's spectrum is.

    Attributes
    ----------
    model : RandomFeatureModel
    eigenvalues : array, shape (repeats, p)
        Ascending in each row.
    d : int
        Dimension of the data.
    kind, rows : str
        What was drawn, as for ``rf.empirical.sample``; the kind is None where it is not known.
    gaussian_data : bool
        Whether the data were drawn from the model's Gaussian law.
    error : float
        Bound of what the Hermite expansion leaves out of U, as in ``FeatureMatrices.error``; times
        Tr U/p it bounds the root mean square shift of the eigenvalues.
    """

    dimension = "bulk"

    model: RandomFeatureModel
    eigenvalues: Matrix
    d: int = eqx.field(static=True)
    kind: str | None = eqx.field(static=True, default=None)
    rows: str = eqx.field(static=True, default="gaussian")
    gaussian_data: bool = eqx.field(static=True, default=True)
    error: float = eqx.field(static=True, default=0.0)

    @property
    def repeats(self) -> int:
        """Matrices drawn."""
        return int(self.eigenvalues.shape[0])

    @property
    def p(self) -> int:
        """Features."""
        return int(self.eigenvalues.shape[1])

    @functools.cached_property
    def theory(self) -> Spectrum:
        """The model's exact spectrum for d → ∞, which says what the bulks are. It is computed when
        it is first needed.
        """
        return theory_of(self.model.limit)

    @functools.cached_property
    def _values(self) -> np.ndarray:
        return np.sort(np.asarray(self.eigenvalues), axis=1)

    @functools.cached_property
    def _cuts(self) -> Cuts:
        return cuts(self.theory, self.p)

    @property
    def edges(self) -> np.ndarray:
        """Smallest and largest eigenvalue of each bulk by rank, averaged over the repeats, in the
        unit of λ; shape [2B].
        """
        return edges_by_rank(self._values, self._cuts.ranks).mean(axis=0)

    @property
    def edge_error(self) -> np.ndarray:
        """Standard error of `edges` over the repeats, shape [2B]; NaN for a single matrix."""
        return standard_error(edges_by_rank(self._values, self._cuts.ranks))

    @property
    def bulks(self) -> tuple[EmpiricalBulk, ...]:
        """The bulks of the theory in ascending order, as found in the sample."""
        ends, errors = self.edges.reshape(-1, 2), self.edge_error.reshape(-1, 2)
        shares = masses_between(self._values, self._cuts.middles)
        parts = [bulk.part for bulk in self.theory.bulks]
        columns = zip(
            *ends.T, shares.mean(axis=0), parts, *errors.T, standard_error(shares), strict=True
        )
        return tuple(EmpiricalBulk(*column) for column in columns)

    @property
    def atom(self) -> EmpiricalAtom:
        """The atom of the theory, as found in the sample."""
        ranks, middles = self._cuts
        inside = self._values[:, : ranks[0]]
        location = inside.mean(axis=1) if ranks[0] else np.full(self.repeats, np.nan)
        mass = np.mean(self._values < middles[0], axis=1)
        spread = atom_spread(self._values, ranks).mean()
        return EmpiricalAtom(
            location.mean(), mass.mean(), standard_error(location), standard_error(mass), spread
        )

    def columns(self) -> dict[str, list[Any]]:
        """What was found of each bulk, ascending, with standard errors: lists of one length."""
        names = ("part", "lower", "lower_error", "upper", "upper_error", "mass", "mass_error")
        return {name: [getattr(bulk, name) for bulk in self.bulks] for name in names}

    def title(self) -> str:
        """What was drawn."""
        kind = "matrices" if self.kind is None else f"matrices of kind {self.kind!r}"
        return f"{self.repeats} {kind}, d = {self.d}, p = {self.p}, of {self.model!r}"

    def notes(self) -> list[str]:
        """The atom, and how finite features smear it."""
        return [repr(self.atom)]

    def cdf(self, x: Given) -> Any:
        """Share of the eigenvalues that are ≤ x, averaged over the repeats; of x's shape."""
        x = real_array("x", x, "finite real numbers") if concrete(x) else x
        everything = jnp.sort(jnp.ravel(self.eigenvalues))
        return jnp.searchsorted(everything, x, side="right") / everything.size

    def moment(self, k: int) -> tuple[Real, Real]:
        """Mean of λ^k and its standard error over the repeats (NaN for a single one)."""
        each = jnp.mean(self.eigenvalues**k, axis=1)
        repeats = each.size
        spread = jnp.std(each, ddof=1) / np.sqrt(repeats) if repeats > 1 else jnp.nan
        return jnp.mean(each), spread

    def density(self, x: Given, width: float | None = None) -> np.ndarray:
        r"""Smooth estimate of the density of the continuous part, averaged over the repeats.

        The log-normal kernel (1/p) Σ_i exp(-ln²(x/λ_i)/2h²)/(√(2π) h x) is summed over the
        eigenvalues whose rank puts them in a bulk, so that the atom is left out. It is log-normal
        because the spectrum spans decades.

        Parameters
        ----------
        x : array
            Finite real numbers; the density is 0 where x ≤ 0.
        width : float, optional
            h > 0, the kernel's relative width. By default each bulk has its own, after Silverman:
            0.9 min(s, IQR/1.34) N^(-1/5) for its N logarithms of eigenvalues over all repeats, of
            standard deviation s and interquartile range IQR.

        Returns
        -------
        array of x's shape
            Smoothed over h, by which bulks leak over their edges; in the unit of 1/λ.
        """
        return self._densities(_points(x), _width(width)).mean(axis=0)

    def density_band(
        self,
        x: Given,
        level: float = 0.95,
        key: Given = None,
        resamples: int = 200,
        width: float | None = None,
    ) -> Band:
        """Bootstrap band at each x for the mean of `density` over all matrices of this size.

        Parameters
        ----------
        x, width
            As for `density`.
        level, key, resamples
            As for `histogram_band`.

        Returns
        -------
        Band
            ``.lower .upper`` of x's shape.

        Raises
        ------
        ValueError
            As for `histogram_band`.
        """
        checked = self._checked_level(level, resamples)
        return bootstrap(self._densities(_points(x), _width(width)), checked, key, resamples)

    def histogram(self, edges: Given) -> np.ndarray:
        """Share of all eigenvalues in each bin, over the width of the bin.

        Parameters
        ----------
        edges : array, shape [bins+1]
            Ascending ends of the bins; each holds its lower end, the last one both.

        Returns
        -------
        array, shape [bins]
            The atom is included, averaged over the repeats, in the unit of 1/λ.

        Raises
        ------
        ValueError
            If the edges are not ascending.
        """
        return self._histograms(_bins(edges)).mean(axis=0)

    def histogram_band(
        self, edges: Given, level: float = 0.95, key: Given = None, resamples: int = 200
    ) -> Band:
        """Bootstrap band in each bin for the mean of `histogram` over all matrices of this size.

        Whole matrices are resampled, since the eigenvalues of one are not independent. A band of
        few matrices would be too narrow, and so the quantiles' distances from the mean are
        stretched by √(R/(R-1)) t/z for R matrices, with t and z the quantiles of Student's law with
        R - 1 degrees of freedom and of the normal law.

        Parameters
        ----------
        edges
            As for `histogram`.
        level : float
            Coverage, between 0 and 1.
        key : JAX random key, optional
            Of the resampling; by default ``jax.random.key(0)``.
        resamples : int
            At least 1.

        Returns
        -------
        Band
            ``.lower .upper`` of shape [bins]. It shows what other matrices of this size would give,
            and does not contain the deviation of this size from the limit. Counts are whole
            numbers: where all matrices have the same count in a narrow bin, the band has no width.

        Raises
        ------
        ValueError
            If there is only one matrix, the level is not between 0 and 1, or the edges are not
            ascending.

        Notes
        -----
        T. Hesterberg, What Teachers Should Know About the Bootstrap, Am. Stat. 69 (2015) 371.
        """
        checked = self._checked_level(level, resamples)
        return bootstrap(self._histograms(_bins(edges)), checked, key, resamples)

    def _checked_level(self, level: Real, resamples: Whole) -> float:
        if self.repeats < 2:
            raise ValueError(f"repeats must be at least 2 for a band, got {self.repeats}")
        level = float(real_scalar("level", level, above=0.0))
        if level >= 1:
            raise ValueError(f"level must be less than 1, got {level}")
        integer("resamples", resamples)
        return level

    def _histograms(self, edges: np.ndarray) -> np.ndarray:
        counts = np.stack([np.histogram(row, edges)[0] for row in self._values])
        return counts / (self.p * np.diff(edges))

    def _densities(self, x: np.ndarray, width: float | None) -> np.ndarray:
        # of each matrix, shape (repeats, *x.shape)
        log_x = np.log(np.where(x > 0, x, 1.0)).ravel()
        total = np.zeros((self.repeats, log_x.size))
        for (a, b), bulk in zip(pairwise(self._cuts.ranks), self.theory.bulks, strict=True):
            logs = np.log(np.maximum(self._values[:, a:b], np.finfo(float).tiny))
            h = width or silverman(logs, float(bulk.lower), float(bulk.upper))
            total += np.stack([kernels(log_x, row, h) for row in logs])
        density = np.where(x.ravel() > 0, total / (self.p * np.exp(log_x)), 0.0)
        return density.reshape(self.repeats, *x.shape)


def _points(x: Given) -> np.ndarray:
    return real_array("x", x, "finite real numbers")


def _width(width: Real | None) -> float | None:
    return None if width is None else float(real_scalar("width", width, above=0.0))


def _bins(edges: Any) -> np.ndarray:
    rule = "at least two ascending finite real numbers"
    edges = real_array("edges", edges, rule)
    if edges.ndim != 1 or edges.size < 2 or np.any(np.diff(edges) <= 0):
        raise ValueError(f"edges must be {rule}, got {np.array2string(edges, threshold=6)}")
    return edges
