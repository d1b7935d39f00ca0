r"""Eigenvalues of sampled feature matrices under the nouns of the theory,
with standard errors over the repeats.

The theory's masses are exact sums of ranks and weights, so the bulks of a sample are told by rank:
with masses m_a of the atom and m_1, m_2, ... of the bulks, bulk i holds the eigenvalues of ranks
round(p(m_a + m_1 + ... + m_{i-1})) to round(p(m_a + ... + m_i)). Eigenvalues of one matrix repel
each other and are not independent; matrices are. Every standard error is therefore s/√repeats with
s the standard deviation over whole matrices, and every band resamples whole matrices.
"""

from __future__ import annotations

import functools
from itertools import pairwise
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from ..files.checkpoint import Checkpoint, fingerprint, resumed, signature
from ..models.model import RandomFeatureModel
from ..numerics.checks import concrete, integer, real_array, real_scalar
from ..numerics.types import Given, Key, Matrix, Real, Reals, Whole
from ..spectra.spectrum import Spectrum
from ..spectra.spectrum import spectrum as theory_of
from .bands import Band, bootstrap, kernels, silverman, standard_error
from .features import FeatureMatrices, correlation
from .ranks import (
    Cuts,
    EmpiricalAtom,
    EmpiricalBulk,
    atom_spread,
    cuts,
    edges_by_rank,
    shares_by_place,
)


class EmpiricalSpectrum(eqx.Module):
    """Eigenvalues of one or more sampled U of a model, read as the theory's spectrum is.

    Attributes
    ----------
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
        """The model's exact spectrum, which says what the bulks are;
        computed when it is first needed.
        """
        return theory_of(self.model)

    @functools.cached_property
    def _values(self) -> np.ndarray:
        return np.sort(np.asarray(self.eigenvalues), axis=1)

    @functools.cached_property
    def _cuts(self) -> Cuts:
        return cuts(self.theory, self.p)

    @property
    def edges(self) -> np.ndarray:
        """Smallest and largest eigenvalue of each bulk by rank, averaged over the repeats,
        shape [2B].
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
        shares = shares_by_place(self._values, self._cuts.middles)
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

    def cdf(self, x: Given) -> Any:
        """Share of the eigenvalues that are ≤ x, averaged over the repeats."""
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
        r"""Smooth estimate of the density of the continuous part at x (the atom apart),
        averaged over the repeats.

        A log-normal kernel, (1/p) Σ_i exp(-ln²(x/λ_i)/2h²)/(√(2π) h x) over the eigenvalues whose
        rank puts them in a bulk: the spectrum spans decades, and each bulk has its own scale.

        Parameters
        ----------
        x : array
            Finite real numbers; the density is 0 where x ≤ 0.
        width : float, optional
            h > 0, the kernel's relative width. By default each bulk's own, after Silverman: 0.9
            min(s, IQR/1.34) N^(-1/5) for its N logarithms of eigenvalues over all repeats, of
            standard deviation s and interquartile range IQR.

        Returns
        -------
        array of x's shape
            Smoothed over h: bulks leak by that much over their edges.
        """
        return self._densities(_points(x), _width(width)).mean(axis=0)

    def density_band(
        self,
        x: Given,
        level: float = 0.95,
        key: Any = None,
        resamples: int = 200,
        width: float | None = None,
    ) -> Band:
        """Bootstrap band of `density` at each x,
        for the mean of that estimate over all matrices of this size.

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
        checked = self._bandable(level, resamples)
        return bootstrap(self._densities(_points(x), _width(width)), checked, key, resamples)

    def histogram(self, edges: Given) -> np.ndarray:
        """Share of all eigenvalues, the atom's included, in each bin over the width of the bin,
        shape [bins].

        Parameters
        ----------
        edges : array, shape [bins+1]
            Ascending ends of the bins; each holds its lower end, the last one both.
        """
        return self._histograms(_bins(edges)).mean(axis=0)

    def histogram_band(
        self, edges: Given, level: float = 0.95, key: Key | None = None, resamples: int = 200
    ) -> Band:
        """Bootstrap band of `histogram` in each bin, for its mean over all matrices of this size.

        Whole matrices are resampled, since the eigenvalues of one are not independent, and the
        quantiles' distances from the mean are stretched by √(R/(R-1)) t/z for R matrices, t and z
        the quantiles of Student's law with R - 1 degrees of freedom and of the normal law: without
        it a band of few matrices is too narrow.

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
            ``.lower .upper`` of shape [bins]. It shows what other matrices of this size would give;
            the deviation of this size from the limit is not in it. Counts are whole numbers: where
            all matrices have the same in a narrow bin, the band has no width there.

        Raises
        ------
        ValueError
            If there is only one matrix, the level is not between 0 and 1, or the edges are not
            ascending.

        Notes
        -----
        T. Hesterberg, What Teachers Should Know About the Bootstrap, Am. Stat. 69 (2015) 371.
        """
        checked = self._bandable(level, resamples)
        return bootstrap(self._histograms(_bins(edges)), checked, key, resamples)

    def _bandable(self, level: Real, resamples: Whole) -> float:
        """The level, checked, of a band that this sample allows."""
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
        """The estimate of each matrix at x, shape (repeats, *x.shape)."""
        at = np.log(np.where(x > 0, x, 1.0)).ravel()
        total = np.zeros((self.repeats, at.size))
        for (a, b), bulk in zip(pairwise(self._cuts.ranks), self.theory.bulks, strict=True):
            logs = np.log(np.maximum(self._values[:, a:b], np.finfo(float).tiny))
            h = width or silverman(logs, float(bulk.lower), float(bulk.upper))
            total += np.stack([kernels(at, row, h) for row in logs])
        density = np.where(x.ravel() > 0, total / (self.p * np.exp(at)), 0.0)
        return density.reshape(self.repeats, *x.shape)


def _points(x: Reals) -> np.ndarray:
    return real_array("x", x, "finite real numbers")


def _width(width: Real | None) -> float | None:
    return None if width is None else float(real_scalar("width", width, above=0.0))


def _bins(edges: Any) -> np.ndarray:
    rule = "at least two ascending finite real numbers"
    edges = real_array("edges", edges, rule)
    if edges.ndim != 1 or edges.size < 2 or np.any(np.diff(edges) <= 0):
        raise ValueError(f"edges must be {rule}, got {np.array2string(edges, threshold=6)}")
    return edges


def spectrum(
    key: Key,
    model: RandomFeatureModel,
    d: int | None = None,
    *,
    kind: str = "features",
    data: Given = None,
    rows: str = "gaussian",
    repeats: int = 1,
    checkpoint: str | Path | None = None,
    progress: bool = False,
) -> EmpiricalSpectrum:
    """Eigenvalues of sampled feature matrices, under the theory's nouns.

    Parameters
    ----------
    key, model, d, kind, data, rows
        As for ``rf.empirical.sample``; each repeat draws anew.
    repeats : int
        Independent matrices, at least 1.
    checkpoint : path, optional
        File that the eigenvalues of each finished matrix are kept in, so that an interrupted call
        with the same arguments continues there. It stays when all is done.
    progress : bool
        Show a progress bar.

    Returns
    -------
    EmpiricalSpectrum
        ``.eigenvalues`` of shape (repeats, p), ``.edges``, ``.bulks``, ``.atom``, ``.cdf``,
        ``.moment``, ``.density`` and ``.histogram``, with standard errors and bands over the
        repeats.

    Raises
    ------
    ValueError
        If `repeats` is no positive integer, or as for ``rf.empirical.sample``.

    Examples
    --------
    >>> import jax, rfspec as rf
    >>> model = rf.RandomFeatureModel(psi_p=8.0, psi_n=2.0, t=0.05)
    >>> sampled = rf.empirical.spectrum(jax.random.key(0), model, 8, kind="gaussian", repeats=3)
    >>> top = sampled.bulks[-1]
    >>> top.part, float(top.mass), float(top.mass_error)
    ('population', 0.125, 0.0)
    """
    integer("repeats", repeats)
    keys = jax.random.split(key, repeats)

    def once(i: int) -> dict[str, Any]:
        U, error, dimension = correlation(keys[i], model, d, kind=kind, data=data, rows=rows)
        return {"eigenvalues": jnp.linalg.eigvalsh(U), "error": error, "d": dimension}

    def bar(matrices: list[Whole]) -> Any:
        return tqdm(
            matrices,
            desc="sampled spectra",
            unit="matrix",
            disable=not progress,
            leave=False,
            delay=1.0,
        )

    saved = Checkpoint(checkpoint, fingerprint(key, signature(model), d, kind, data, rows, repeats))
    drawn = resumed(repeats, once, saved, bar)
    values = jnp.stack([one["eigenvalues"] for one in drawn])
    error = max(float(one["error"]) for one in drawn)
    return EmpiricalSpectrum(model, values, int(drawn[0]["d"]), kind, rows, data is None, error)


def of_matrices(
    matrices: FeatureMatrices,
    eigenvalues: Given = None,
    *,
    kind: str | None = None,
    rows: str = "gaussian",
) -> EmpiricalSpectrum:
    """The spectrum of matrices already drawn; give the eigenvalues, and what was drawn,
    where they are known.
    """
    values = jnp.linalg.eigvalsh(matrices.U) if eigenvalues is None else eigenvalues
    return EmpiricalSpectrum(
        matrices.model,
        values[None],
        matrices.d,
        kind,
        rows,
        matrices.gaussian_data,
        float(matrices.error),
    )
