"""Eigenvalues of sampled feature matrices under the nouns of the theory."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from .._checks import concrete, real_array
from ..model import RandomFeatureModel
from .features import FeatureMatrices, sample


class EmpiricalSpectrum(eqx.Module):
    """Eigenvalues of one or more sampled U of a model.

    Attributes
    ----------
    eigenvalues : array, shape (repeats, p)
        Ascending in each row.
    d : int
        Dimension of the data.
    """

    model: RandomFeatureModel
    eigenvalues: Any
    d: int = eqx.field(static=True)

    def cdf(self, x: Any) -> Any:
        """Share of the eigenvalues that are ≤ x, averaged over the repeats."""
        x = real_array("x", x, "finite real numbers") if concrete(x) else x
        everything = jnp.sort(jnp.ravel(self.eigenvalues))
        return jnp.searchsorted(everything, x, side="right") / everything.size

    def moment(self, k: int) -> tuple[Any, Any]:
        """Mean of λ^k and its standard error over the repeats (NaN for a single one)."""
        each = jnp.mean(self.eigenvalues**k, axis=1)
        repeats = each.size
        spread = jnp.std(each, ddof=1) / np.sqrt(repeats) if repeats > 1 else jnp.nan
        return jnp.mean(each), spread


def spectrum(
    key: Any,
    model: RandomFeatureModel,
    d: int | None = None,
    *,
    kind: str = "features",
    data: Any = None,
    repeats: int = 1,
) -> EmpiricalSpectrum:
    """Eigenvalues of sampled feature matrices.

    Parameters
    ----------
    key, model, d, kind, data
        As for ``rf.empirical.sample``; each repeat draws anew.
    repeats : int
        Independent matrices, at least 1.

    Returns
    -------
    EmpiricalSpectrum
        ``.eigenvalues`` of shape (repeats, p), ``.cdf``, ``.moment`` with standard error.
    """
    import jax

    if isinstance(repeats, bool) or not isinstance(repeats, int) or repeats < 1:
        raise ValueError(f"repeats must be an integer of at least 1, got {repeats!r}")
    rows = []
    for one in jax.random.split(key, repeats):
        matrices = sample(one, model, d, kind=kind, data=data)
        rows.append(jnp.linalg.eigvalsh(matrices.U))
        d = matrices.d
    return EmpiricalSpectrum(model, jnp.stack(rows), int(d or 0))


def of_matrices(matrices: FeatureMatrices, eigenvalues: Any = None) -> EmpiricalSpectrum:
    """The spectrum of matrices already drawn; give the eigenvalues where they are known."""
    values = jnp.linalg.eigvalsh(matrices.U) if eigenvalues is None else eigenvalues
    return EmpiricalSpectrum(matrices.model, values[None], matrices.d)
