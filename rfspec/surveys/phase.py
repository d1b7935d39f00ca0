"""Phase diagrams over (t, ψ_p, ψ_n): losses, timescales, stopping and regions of every model.

A diagram is a sweep (``rfspec.surveys.sweep``) over three axes with the outputs that
``rfspec.surveys.outputs`` lists for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..models.covariance import Covariance
from ..models.model import USUAL_DEGREE, RandomFeatureModel
from ..models.processes import Process
from ..numerics.checks import fraction, real_scalar
from ..numerics.types import Given, Real
from ..training.early_stopping import THRESHOLD
from ..training.timescales import RULES
from .axes import list_of_numbers
from .filling import fill, progress_bar
from .grid import Grid
from .outputs import OUTPUTS
from .plan import Options, Plan
from .stores import InMemory
from .sweep import budgets

if TYPE_CHECKING:
    import xarray

TITLE = "Phase diagram of random-feature score models of diffusion"
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
    d: int | None = None,
    degree: int = USUAL_DEGREE,
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
    process, activation, covariance, target, noise_draws, weight_decay, d, degree
        As for ``rf.RandomFeatureModel``. Edges, and times by edges, are those of d → ∞.
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
        "d": d,
        "degree": degree,
    }
    times, model = _times_and_model(t, process, options)
    asked = Options(
        tau=budgets(tau),
        one_tau=False,
        tolerance=real_scalar("tolerance", tolerance, above=0.0),
        threshold=fraction("threshold", threshold),
        chunk=CHUNK,
        coarse=True,
    )
    axes = {"psi_p": list_of_numbers("psi_p", psi_p), "psi_n": list_of_numbers("psi_n", psi_n)}
    where = {"process": process} if process is not None else {"t": times}
    plan = Plan(Grid({**where, **axes, **options}), OUTPUTS, RULES, asked)
    store = InMemory(plan, checkpoint, title=TITLE)
    missing = store.missing()
    with progress_bar(plan, missing, "phase diagram", progress) as bar:
        fill(plan, store, missing, bar)
    diagram = store.dataset().drop_vars(["weight_decay", "noise_draws", "degree"])
    diagram.attrs["model"] = repr(model)
    if process is None and np.ndim(t) == 0:
        diagram = diagram.isel(t=0)
    return diagram.isel(tau=0) if np.ndim(tau) == 0 else diagram


def _times_and_model(
    t: Given, process: Process | None, options: Mapping[str, Any]
) -> tuple[np.ndarray | None, RandomFeatureModel | None]:
    # with a model of any ψ_p and ψ_n, None where no time has one; other arguments are checked here
    if process is not None:
        return None, RandomFeatureModel(1.0, 1.0, t, process=process, **options)
    times = list_of_numbers("t", t if t is None or np.ndim(t) else [t])
    models = [RandomFeatureModel(1.0, 1.0, t, **options) for t in times if _inside(t)]
    return times, models[0] if models else None


def _inside(x: Real) -> bool:
    return bool(np.isfinite(x) and x > 0)
