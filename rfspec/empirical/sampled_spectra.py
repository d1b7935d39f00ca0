"""Eigenvalues of sampled feature matrices: the matrices are drawn here, and diagonalised."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from tqdm import tqdm

from ..files.checkpoint import Checkpoint, fingerprint, resumed, signature
from ..models.model import RandomFeatureModel
from ..numerics.checks import integer, random_key
from ..numerics.types import Given, Whole
from .draws import Sampling
from .feature_matrices import FeatureMatrices
from .features import training_correlation
from .spectra import EmpiricalSpectrum


def spectrum(
    key: Given,
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
    """Eigenvalues of sampled U (2), read as the theory's spectrum is.

    Parameters
    ----------
    key, model, d, kind, data, rows
        As for ``rf.empirical.sample``; each repeat draws anew.
    repeats : int
        Independent matrices, at least 1.
    checkpoint : path, optional
        File that keeps the eigenvalues of each finished matrix, so that an interrupted call with
        the same arguments continues there. It stays when all is done.
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
    sampling = Sampling(d, kind, data, rows)
    key = random_key("key", key)
    keys = jax.random.split(key, repeats)

    def once(i: int) -> dict[str, Any]:
        U, error, dimension = training_correlation(keys[i], model, sampling)
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

    saved = Checkpoint(checkpoint, fingerprint(key, signature(model), sampling, repeats))
    matrices = resumed(repeats, once, saved, bar)
    values = jnp.stack([one["eigenvalues"] for one in matrices])
    error = max(float(one["error"]) for one in matrices)
    return EmpiricalSpectrum(model, values, int(matrices[0]["d"]), kind, rows, data is None, error)


def of_matrices(
    matrices: FeatureMatrices,
    eigenvalues: Given = None,
    *,
    kind: str | None = None,
    rows: str = "gaussian",
) -> EmpiricalSpectrum:
    """The spectrum of matrices that are already drawn.

    Parameters
    ----------
    matrices : FeatureMatrices
        As from ``rf.empirical.sample``.
    eigenvalues : array, shape (p,), optional
        Those of ``matrices.U``, where they are known, such as ``Eigenbasis.eigenvalues``; by
        default they are computed.
    kind, rows : str
        What was drawn, as for ``rf.empirical.sample``. ``rf.compare`` draws references of the same
        kind, and none where the kind is None.

    Returns
    -------
    EmpiricalSpectrum
        Of one repeat, with the `error` of the matrices.

    Notes
    -----
    U is equation (2).

    Examples
    --------
    >>> import jax, rfspec as rf
    >>> model = rf.RandomFeatureModel(psi_p=8.0, psi_n=2.0, t=0.05)
    >>> matrices = rf.empirical.sample(jax.random.key(0), model, d=8)
    >>> rf.empirical.of_matrices(matrices, kind="features").eigenvalues.shape
    (1, 64)
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
