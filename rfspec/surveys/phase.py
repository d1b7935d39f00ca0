r"""Phase diagrams over (t, ψ_p, ψ_n): losses at given training times, timescales by every rule,
stopping, regions.

Cells are independent. They are computed in small batches (``cells``), so that one hard cell does
not hold up the others; what is done is kept on disk, chunk by chunk of batches. ``phase_dataset``
says what the outputs are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
from ..numerics.checks import real_scalar
from ..numerics.types import Given, Real
from ..resolvent.equations import averaged_equations, equations
from ..training.early_stopping import THRESHOLD, share
from ..training.learning_curves import score_error, training_times
from .cells import Shared, computed
from .phase_dataset import Axes, dataset, outputs_of, table_of

if TYPE_CHECKING:
    import xarray

CHUNK = 256  # cells between looks at the disk


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
        Dimensions t (of an array), psi_p, psi_n, and tau (of an array), rule ("paper", "spectrum",
        "loss"), part. At each τ: train, test, gap (L_gen), score_error, region. Per model:
        tau_star, train_star, test_star, score_error_star, window_lower, window_upper, train_limit,
        test_limit; tau_gen and tau_mem by rule, tau_satellite; merged by part, separated; error (of
        the losses, absolute), tau_star_error, tau_mem_error (of the rule "loss"),
        window_lower_error, window_upper_error (all four relative), status. Units, flags with their
        meanings, the rules of the regions and the origin of the numbers are attributes.

    Raises
    ------
    ValueError
        If a grid is empty or not numeric, a τ is negative or NaN, or another argument is out of
        range.

    Notes
    -----
    arXiv 2505.17638, Fig. 1, has such a diagram by simulation; the exact one is beyond it.

    Examples
    --------
    >>> import rfspec as rf
    >>> found = rf.phase_diagram(psi_p=[8.0, 64.0], psi_n=[2.0, 256.0, -1.0], t=0.01, tau=1e4)
    >>> found.region.values.tolist()
    [[2, 3, -1], [2, 1, -1]]
    """
    known: dict[str, Any] = {"activation": activation, "covariance": covariance, "target": target}
    known |= {"noise_draws": noise_draws, "weight_decay": weight_decay}
    rows, columns = _grid("psi_p", psi_p), _grid("psi_n", psi_n)
    if process is None:
        times = _grid("t", t if t is None or np.ndim(t) else [t])
        templates = [
            RandomFeatureModel(1.0, 1.0, x, **known) if _inside(x) else None for x in times
        ]
    else:
        templates, times = (
            [RandomFeatureModel(1.0, 1.0, t, process=process, **known)],
            np.array([np.nan]),
        )
    budgets = training_times(np.inf if tau is None else tau)
    if np.ndim(budgets) > 1:
        raise ValueError(
            f"tau must be a number or a list of them, got an array of shape {np.shape(budgets)}"
        )
    settings = (real_scalar("tolerance", tolerance, above=0.0), share("threshold", threshold))

    axes = Axes(times, rows, columns, np.ravel(budgets))
    cells = [
        (i, j, k)
        for i, j, k in np.ndindex(times.size, rows.size, columns.size)
        if templates[i] and _inside(rows[j]) and _inside(columns[k])
    ]
    of_one_t = [[cell for cell in cells if cell[0] == i] for i in range(times.size)]
    chunks = [same[k : k + CHUNK] for same in of_one_t for k in range(0, len(same), CHUNK)]
    bases = [m and _bases(m) for m in templates]

    def once(i: int) -> Mapping[str, Any]:
        place: np.ndarray = np.array(chunks[i])
        eq, spectral, pace = bases[place[0, 0]]
        found = computed(
            Shared(eq, spectral, pace, *settings), axes.tau, rows[place[:, 1]], columns[place[:, 2]]
        )
        return {"place": place, **outputs_of(found)}

    def bar(order: Iterable[int]) -> Any:
        shown = tqdm(
            order,
            desc="phase diagram",
            unit=f"×{CHUNK} cells",
            disable=not progress,
            leave=False,
            delay=1.0,
        )
        return shown

    identity = fingerprint(
        [m and signature(m) for m in templates], rows, columns, budgets, *settings
    )
    found = resumed(len(chunks), once, Checkpoint(checkpoint, identity), bar)
    table = table_of(axes, found)
    scores = np.array(
        [
            [np.nan, np.nan] if m is None else score_error(m, jnp.array([0.0, 1.0]))
            for m in templates
        ]
    )
    model = next((m for m in templates if m is not None), None)
    attributes = {
        "model": repr(model),
        "tolerance": float(settings[0]),
        "threshold": float(settings[1]),
    }
    diagram = dataset(table, axes, scores, attributes)
    if process is not None:
        diagram = diagram.isel(t=0, drop=True)
    elif np.ndim(t) == 0:
        diagram = diagram.isel(t=0)
    return diagram if np.ndim(budgets) else diagram.isel(tau=0)


def _bases(model: RandomFeatureModel) -> tuple[Any, Any, Any]:
    """What the cells of one t share: equations for losses, equations for spectra, and ω²."""
    ge = gaussian_equivalent(model)
    return averaged_equations(model, ge, coarse=True), equations(model, ge, coarse=True), model.pace


def _inside(x: Real) -> bool:
    return bool(np.isfinite(x) and x > 0)


def _grid(name: str, values: Any) -> np.ndarray:
    """A grid; values that no model has are flagged later, cell by cell."""
    rule = f"{name} must be a list of numbers"
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
