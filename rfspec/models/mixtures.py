"""Covariances made of others: a law on a share of the directions, and mixtures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from ..numerics.checks import concrete, real_scalar
from ..numerics.types import Given, Real, Vector
from .continuum import COARSE, FINE, mixed, of_atoms
from .covariance import Atoms, Covariance, Isotropic


class Subspace(Covariance):
    r"""Data in a random subspace: a covariance on D = fraction·d dimensions, nothing on the others.

    Natural normalisation: Tr Σ/d = fraction times that of the part.

    Parameters
    ----------
    fraction : float
        D/d, 0 < fraction ≤ 1.
    variance : float, optional
        The eigenvalue in the subspace, > 0; 1 by default.
    covariance : Covariance, optional
        Instead of `variance`, the covariance in the subspace.

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
        mix(self, [None, _a_covariance("covariance", part)], pair(1 - fraction, fraction))


class Mixture(Covariance):
    r"""A mixture of covariances: ρ_Σ = Σ_i w_i ρ_i, each on its own share w_i of the dimensions.

    Natural normalisation: Tr Σ/d = Σ_i w_i Tr Σ_i/d.

    Parameters
    ----------
    covariances : list of Covariance
    weights : array, one a covariance
        Shares > 0; they must sum to 1 within 1e-9 and are then normalised exactly.

    Raises
    ------
    ValueError
        If there is no covariance, one is none, or the weights do not fit.

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
        parts = [_a_covariance("covariances", part) for part in covariances]
        shares = Atoms(np.ones(len(parts)), weights).weights
        mix(self, parts, shares)


def mix(law: Covariance, parts: Sequence[Covariance | None], shares: Vector) -> None:
    """Atoms of all parts (None: an eigenvalue 0), weighted; equal eigenvalues of Σ become one."""
    zero = (np.zeros(1), np.ones(1))
    known = [part for part in parts if part is not None]
    own = [zero if part is None else (part.values, part.weights) for part in parts]
    other = lambda name: [
        getattr(part, name, None) or o for part, o in zip(parts, own, strict=True)
    ]
    values, weights = _merged(own, shares)
    if any(not part.atomic for part in known):
        law.fewer, law.more = _merged(other("fewer"), shares), _merged(other("more"), shares)
        law.continua = tuple(
            mixed(
                [
                    of_atoms(o[0], o[1], n) if p is None or p.atomic else p.continua[i]
                    for p, o in zip(parts, own, strict=True)
                ],
                shares,
            )
            for i, n in enumerate((FINE, COARSE))
        )
    law.values, law.weights = values, weights


def _merged(rows: list[tuple[Vector, Vector]], shares: Vector) -> tuple[Vector, Vector]:
    """Values and weights of a mixture."""
    values, weights = _joined([(v, s * w) for (v, w), s in zip(rows, shares, strict=True)])
    if concrete(values, weights):
        values, which = np.unique(values, return_inverse=True)
        weights = np.bincount(which, weights)
        values, weights = values[weights > 0], weights[weights > 0]
    return values, weights


def _joined(rows: list[tuple[Vector, Vector]]) -> tuple[Vector, Vector]:
    """Columns of the rows, joined."""
    columns = [list(column) for column in zip(*rows, strict=True)]
    return tuple((np if concrete(*c) else jnp).concatenate(c) for c in columns)


def pair(a: Real, b: Real) -> Vector:
    return (np if concrete(a, b) else jnp).stack([a, b])


def _a_covariance(name: str, value: Any) -> Covariance:
    if not isinstance(value, Covariance):
        raise ValueError(
            f"{name} must be a Covariance such as rf.Isotropic(1.0), got {value!r:.100}"
        )
    return value
