"""Phase diagrams over (t, ψ_p, ψ_n): losses, timescales, stopping and regions of every model.

Cells are independent. They are computed in small batches (``rfspec.surveys.cells``), so that one
hard cell does not hold up the others, and kept on disk in chunks of batches.
``rfspec.surveys.phase_dataset`` lists the outputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from ..files.checkpoint import Checkpoint, fingerprint, resumed, signature
from ..models.covariance import Covariance
from ..models.gaussian_equivalent import gaussian_equivalent
from ..models.model import RandomFeatureModel
from ..models.processes import Process
from ..models.stored import stored
from ..numerics.checks import real_scalar, refuse_mask
from ..numerics.types import Given, Real
from ..resolvent.equations import averaged_equations, equations
from ..training.early_stopping import THRESHOLD, fraction
from ..training.learning_curves import score_error, training_times
from .cells import Shared, computed
from .phase_dataset import OUTPUTS, Axes, dataset, outputs_of, table_of

if TYPE_CHECKING:
    import xarray

# cells that are computed between looks at the disk
CHUNK = 256


def phase_diagram(
    psi_p: Given,
    psi_n: Given,
    t: Given = None,
    tau: Given = None,
    *,
    process: Process | None = None,
    activation: Given = "tanh",
    covariance: Covariance | None = None,
    target: str = "noise",
    noise_draws: float = np.inf,
    weight_decay: float = 0.0,
    tolerance: float = 0.01,
    threshold: float = THRESHOLD,
    checkpoint: str | Path | None = None,
    progress: bool = False,
) -> xarray.Dataset:
    r"""Losses, timescales, early stopping and regions of every model of a grid, exactly.

    With a stopping window from τ_1 to τ_2, a cell at budget τ is

    .. math::

        &\text{not yet trained: } τ < τ_1, \quad \text{early stopping: } τ_1 ≤ τ ≤ τ_2 < ∞, \\
        &\text{memorisation: } τ > τ_2, \quad \text{architectural: } τ_1 ≤ τ, τ_2 = ∞.

    Parameters
    ----------
    psi_p, psi_n : array, shapes (P,), (N,)
        Ratios p/d and n/d, any order; a cell at which one is not a finite number above 0 is flagged
        and stays NaN.
    t : float or array, shape (T,)
        Diffusion times of the Ornstein-Uhlenbeck process; or give `process`.
    tau : float or array, shape (K,), optional
        Training budgets τ = kη/d², 0 ≤ τ ≤ ∞, any order; ∞ if not given.
    process, activation, covariance, target, noise_draws, weight_decay
        As for ``rf.RandomFeatureModel``.
    tolerance : float
        ε of the stopping window, absolute, in units of the loss.
    threshold : float
        Share of its limit at which the generalisation gap counts as open (rule "loss").
    checkpoint : path, optional
        State of a run; one that was killed continues there. Remove it when the result is safe.
    progress : bool
        Show a progress bar.

    Returns
    -------
    xarray.Dataset
        Dimensions t (of an array), psi_p, psi_n, and tau (of an array), rule ("loss", "spectrum",
        "paper"), part. At each τ: train, test, gap (L_gen), score_error, region. Per model:
        tau_star, train_star, test_star, score_error_star, window_lower, window_upper, train_limit,
        test_limit; tau_gen and tau_mem by rule, tau_satellite; merged by part, separated; error (of
        the losses, absolute), tau_star_error, tau_mem_error (of the rule "loss"),
        window_lower_error, window_upper_error (all four relative), status. Each has its unit and
        its meaning as attributes (`units`, `long_name`), and flags theirs; the rules of the regions
        and the origin of the numbers are there too.

    Raises
    ------
    ValueError
        If a grid is empty or not numeric, a τ is negative or NaN, another argument is out of range,
        or the checkpoint is of another run.

    Notes
    -----
    arXiv 2505.17638, Fig. 1, has such a diagram by simulation; the exact one is beyond it. Losses
    are (17) of docs/theory.md, timescales section 12.

    Examples
    --------
    >>> import rfspec as rf
    >>> found = rf.phase_diagram(psi_p=[8.0, 64.0], psi_n=[2.0, 256.0, -1.0], t=0.01, tau=1e4)
    >>> found.region.values.tolist()
    [[2, 3, -1], [2, 1, -1]]
    """
    options = {
        "activation": activation,
        "covariance": covariance,
        "target": target,
        "noise_draws": noise_draws,
        "weight_decay": weight_decay,
    }
    times, models = _models(t, process, options)
    tolerance = real_scalar("tolerance", tolerance, above=0.0)
    threshold = fraction("threshold", threshold)
    axes = Axes(times, _grid("psi_p", psi_p), _grid("psi_n", psi_n), _budgets(tau))
    chunks = _chunks(axes, models)
    shared = [m and _shared(m, tolerance, threshold) for m in models]

    def outputs_of_chunk(i: int) -> Mapping[str, Any]:
        cell = np.array(chunks[i])
        t, j, k = cell.T
        of_chunk = computed(shared[t[0]], axes.tau, axes.psi_p[j], axes.psi_n[k])
        return {"cell": cell, **outputs_of(of_chunk)}

    identity = fingerprint(
        [m and signature(m) for m in models],
        (axes.psi_p, axes.psi_n, axes.tau, tolerance, threshold),
        tuple(OUTPUTS),
    )
    bar = partial(
        tqdm,
        desc="phase diagram",
        unit=f"×{CHUNK} cells",
        disable=not progress,
        leave=False,
        delay=1.0,
    )
    done = resumed(len(chunks), outputs_of_chunk, Checkpoint(checkpoint, identity), bar)
    attributes = {
        "model": repr(next((m for m in models if m is not None), None)),
        **_model_of(models, chunks, axes),
        "tolerance": float(tolerance),
        "threshold": float(threshold),
    }
    diagram = dataset(table_of(axes, done), axes, attributes)
    if process is not None:
        diagram = diagram.isel(t=0, drop=True)
    elif np.ndim(t) == 0:
        diagram = diagram.isel(t=0)
    return diagram.isel(tau=0) if np.ndim(tau) == 0 else diagram


def _models(
    t: Given, process: Process | None, options: Mapping[str, Any]
) -> tuple[np.ndarray, list[RandomFeatureModel | None]]:
    # a model of any ψ_p and ψ_n for each diffusion time, None where the time has none
    if process is not None:
        return np.array([np.nan]), [RandomFeatureModel(1.0, 1.0, t, process=process, **options)]
    times = _grid("t", t if t is None or np.ndim(t) else [t])
    model = lambda t: RandomFeatureModel(1.0, 1.0, t, **options)
    return times, [model(t) if _inside(t) else None for t in times]


def _chunks(
    axes: Axes, models: list[RandomFeatureModel | None]
) -> list[list[tuple[int, int, int]]]:
    # indices (t, psi_p, psi_n) of the cells that the theory covers; those of a chunk share t
    rows, columns = (
        [i for i, x in enumerate(grid) if _inside(x)] for grid in (axes.psi_p, axes.psi_n)
    )
    of_one_t = [
        [(i, j, k) for j in rows for k in columns] for i, m in enumerate(models) if m is not None
    ]
    return [cells[k : k + CHUNK] for cells in of_one_t for k in range(0, len(cells), CHUNK)]


def _model_of(
    models: list[RandomFeatureModel | None], chunks: list[list[tuple[int, int, int]]], axes: Axes
) -> dict[str, str]:
    # that of the first cell, for files; the others replace its ψ_p, ψ_n and t
    if not chunks:
        return {}
    i, j, k = chunks[0][0]
    model = models[i]
    assert model is not None
    of_cell = model.replace(psi_p=axes.psi_p[j], psi_n=axes.psi_n[k])
    return {
        **stored(of_cell),
        "rfspec_model_is": "that of the first cell; others have their psi_p, psi_n and t",
    }


def _shared(model: RandomFeatureModel, tolerance: Real, threshold: Real) -> Shared:
    ge = gaussian_equivalent(model)
    of_0, of_1 = np.asarray(score_error(model, jnp.array([0.0, 1.0])))
    return Shared(
        eq=averaged_equations(model, ge, coarse=True),
        spectral=equations(model, ge, coarse=True),
        pace=model.pace,
        tolerance=tolerance,
        threshold=threshold,
        scores=(of_0, of_1),
    )


def _budgets(tau: Given) -> np.ndarray:
    budgets = training_times(np.inf if tau is None else tau)
    if np.ndim(budgets) > 1:
        raise ValueError(
            f"tau must be a number or a list of them, got an array of shape {np.shape(budgets)}"
        )
    return np.ravel(budgets)


def _inside(x: Real) -> bool:
    return bool(np.isfinite(x) and x > 0)


def _grid(name: str, values: Any) -> np.ndarray:
    # values that no model has are flagged later, cell by cell
    rule = f"{name} must be a list of numbers"
    refuse_mask(name, values)
    try:
        array = np.asarray(values)
    except (TypeError, ValueError) as e:
        raise ValueError(f"{rule}, got {values!r:.100}") from e
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{rule}, got {values!r:.100}")
    if np.ndim(array) == 0:
        array = array[None]
    if array.ndim != 1 or not array.size:
        raise ValueError(f"{rule} that is not empty, got an array of shape {array.shape}")
    return array.astype(float)
