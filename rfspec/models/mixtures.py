"""Covariances made of others: a law on a part of the directions, and mixtures of laws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..numerics.checks import concrete, namespace, real_scalar
from ..numerics.types import Given, Vector
from .continuum import COARSE, FINE, Continuum
from .covariance import Atoms, Covariance, Isotropic, Measure, Nodes
from .law_grids import mixed, of_atoms

# Σ = 0
ZERO = Measure(np.zeros(1), np.ones(1))


class Subspace(Covariance):
    r"""Data in a random subspace: a covariance on D = fraction·d dimensions, 0 on the others.

    Natural normalisation: Tr Σ/d is `fraction` times the one in the subspace.

    Parameters
    ----------
    fraction : float
        D/d, 0 < fraction ≤ 1.
    variance : float, optional
        The eigenvalue in the subspace, > 0; 1 by default.
    covariance : Covariance, optional
        The covariance in the subspace, instead of `variance`.

    Raises
    ------
    ValueError
        If an argument is outside its range, or both `variance` and `covariance` are given.

    Examples
    --------
    >>> import rfspec as rf
    >>> rf.Subspace(0.25, 2.0).weights.tolist()
    [0.75, 0.25]
    """

    def __init__(
        self, fraction: Given, variance: Given = None, *, covariance: Covariance | None = None
    ):
        if variance is not None and covariance is not None:
            raise ValueError(
                f"give at most one of variance and covariance, got {variance!r} and "
                f"{covariance!r:.100}"
            )
        fraction = real_scalar("fraction", fraction, above=0.0)
        if concrete(fraction) and fraction > 1:
            raise ValueError(f"fraction must be at most 1, got {float(fraction)!r}")
        part = (
            Isotropic(1.0 if variance is None else variance) if covariance is None else covariance
        )
        shares = namespace(fraction).stack([1 - fraction, fraction])
        parts = (ZERO, _checked("covariance", part))
        self.values, self.weights, self.fewer, self.more, self.continua = mixture(parts, shares)


class Mixture(Covariance):
    r"""A mixture of covariances: ρ_Σ = Σ_i w_i ρ_i, each on its own share w_i of the dimensions.

    Natural normalisation: Tr Σ/d = Σ_i w_i Tr Σ_i/d.

    Parameters
    ----------
    covariances : list of Covariance
        ρ_i, at least one.
    weights : array, shape (number of covariances,)
        w_i > 0; they must sum to 1 within 1e-9 and are then normalised exactly.

    Raises
    ------
    ValueError
        If the list is empty, holds anything else, or the weights do not fit.

    Examples
    --------
    >>> import rfspec as rf
    >>> float(rf.Mixture([rf.Isotropic(1.0), rf.Exponential(1.0)], [0.5, 0.5]).values.max())
    1.0
    """

    def __init__(self, covariances: Sequence[Covariance], weights: Given):
        if not isinstance(covariances, list | tuple) or not covariances:
            raise ValueError(
                f"covariances must be a list of at least one Covariance, got {covariances!r:.100}"
            )
        parts = [_checked("covariances", part) for part in covariances]
        shares = Atoms(np.ones(len(parts)), weights).weights
        self.values, self.weights, self.fewer, self.more, self.continua = mixture(parts, shares)


def mixture(parts: Sequence[Covariance | Measure], shares: Vector) -> Measure:
    """The measure Σ_i shares_i ρ_i."""
    own = [(part.values, part.weights) for part in parts]
    values, weights = _merged(own, shares)
    if all(part.continua is None for part in parts):
        return Measure(values, weights)
    fewer = [part.fewer or (part.values, part.weights) for part in parts]
    more = [part.more or (part.values, part.weights) for part in parts]

    def on_grid(i: int, nodes: int) -> Continuum:
        laws = [
            of_atoms(part.values, part.weights, nodes)
            if part.continua is None
            else part.continua[i]
            for part in parts
        ]
        return mixed(laws, shares)

    continua = on_grid(0, FINE), on_grid(1, COARSE)
    return Measure(values, weights, _merged(fewer, shares), _merged(more, shares), continua)


def _merged(parts: list[Nodes], shares: Vector) -> Nodes:
    values = namespace([v for v, _ in parts]).concatenate([v for v, _ in parts])
    weighted = [share * w for (_, w), share in zip(parts, shares, strict=True)]
    weights = namespace(weighted).concatenate(weighted)
    # equal eigenvalues become one
    if concrete(values, weights):
        values, which = np.unique(values, return_inverse=True)
        weights = np.bincount(which, weights)
        values, weights = values[weights > 0], weights[weights > 0]
    return values, weights


def _checked(name: str, value: Any) -> Covariance:
    if not isinstance(value, Covariance):
        raise ValueError(
            f"{name} must be a Covariance such as rf.Isotropic(1.0), got {value!r:.100}"
        )
    return value
