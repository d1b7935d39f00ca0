"""What the theory says of a data set: its covariance, and when to stop training on it.

The theory knows data by n, d and the eigenvalues of their covariance alone, as if they were
Gaussian. ``rfspec.surveys.verdict`` tells how far that is to be believed, and
``rfspec.surveys.held_out_data`` measures it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from tqdm import tqdm

from ..models.from_data import FromData
from ..models.model import RandomFeatureModel
from ..numerics.checks import real_array, real_scalar
from ..numerics.types import Given
from ..resolvent.solver import ConvergenceError
from ..training.early_stopping import EarlyStopping, early_stopping
from ..training.scaling import Required, required
from ..training.timescales import RULES, Timescales, timescales
from .predicted import Prediction, Sigma
from .verdict import verdict_on

# 32 nodes reproduce the best time of all 62 eigenvalues of the digits to 11 digits
NODES = 32


def predict(
    X: Given,
    psi_p: float,
    t: float | None = None,
    *,
    shrinkage: str | None = None,
    trace: float | None = None,
    nodes: int | None = NODES,
    tolerance: float = 0.01,
    wider: float = 2.0,
    progress: bool = False,
    **model: Any,
) -> Prediction:
    r"""Training times, best stopping time and window of random features trained on given data.

    They are those of ``rf.RandomFeatureModel`` at ψ_n = n/d with the covariance Σ = XᵀX/n of the
    centred data.

    Parameters
    ----------
    X : array, shape (n, d)
        Samples in rows, n ≥ 2; their mean is subtracted.
    psi_p : float
        ψ_p = p/d > 0, features per dimension.
    t : float
        Diffusion time t > 0; or give `process`.
    shrinkage, trace, nodes
        As for ``rf.FromData``; by default the eigenvalues are as they are, and compressed to 32.
        None or 0 keep all.
    tolerance : float
        ε > 0 of the window, in units of the loss.
    wider : float
        Factor > 1 by which the window should grow.
    progress : bool
        Show a progress bar.
    **model
        `process`, `activation`, `target`, `noise_draws`, `weight_decay`, `d`, `degree` of
        ``rf.RandomFeatureModel``; with the data's own `d` losses and best time follow Hermite
        degrees above 1, while the verdict still speaks of the limit.

    Returns
    -------
    Prediction
        ``.sigma .times .stop .wider .more .reasons .model .verdict``, and ``.steps(learning_rate)``
        in steps and epochs; times in units of τ = kη/d², each result with its own errors.

    Raises
    ------
    ValueError
        If the data are no finite real matrix of two different rows, or an argument is out of range.
    ConvergenceError
        If the losses are not finite.

    Notes
    -----
    Sections 8 and 12 of docs/theory.md; docs/real_data.md measures what it costs that data are not
    Gaussian. Beyond arXiv 2505.17638.

    Examples
    --------
    >>> import numpy as np, rfspec as rf
    >>> X = np.random.default_rng(0).normal(size=(80, 10)) * np.linspace(0.5, 1.5, 10)
    >>> found = rf.predict(X, psi_p=16.0, t=0.05, nodes=4)
    >>> print(f"stop at {found.stop.tau:.3g}, {found.more} more samples")
    stop at 82, 62 more samples
    """
    covariance = FromData(X, shrinkage, trace=trace)
    data = real_array("X", X, "a finite real matrix")
    n, d = data.shape
    of_data = model_of(covariance, psi_p, n / d, t, nodes, **model)
    factor = float(real_scalar("wider", wider, above=1.0))
    times: dict[str, Timescales] = {}
    reasons: dict[str, str] = {}
    with tqdm(total=5, desc="best time", disable=not progress, leave=False, delay=2.0) as bar:

        def tick(text: str) -> None:
            bar.update(1)
            bar.set_description(text)

        stop = early_stopping(of_data, tolerance)
        for rule in RULES:
            tick(f"times by {rule}")
            try:
                times[rule] = timescales(stop, rule)
            except ConvergenceError as e:
                reasons[rule] = str(e)
            else:
                reasons |= (
                    {rule: times[rule].reason} if rule == "spectrum" and times[rule].reason else {}
                )
        tick("wider window")
        more, reason = _wider(of_data, stop, factor)
        reasons |= {"wider": reason} if reason else {}
    sigma, verdict = _sigma(covariance, d), verdict_on(data, of_data)
    return Prediction(of_data, n, d, sigma, times, stop, more, factor, reasons, verdict)


def model_of(
    covariance: FromData,
    psi_p: Given,
    psi_n: float,
    t: Given,
    nodes: int | None = NODES,
    **model: Any,
) -> RandomFeatureModel:
    """The model of data, whose covariance is compressed unless all nodes are to be kept."""
    compressed = covariance.compressed(nodes) if nodes else covariance
    return RandomFeatureModel(psi_p, psi_n, t, covariance=compressed, **model)


def _wider(
    model: RandomFeatureModel, stop: EarlyStopping, factor: float
) -> tuple[Required | None, str]:
    # ψ_n of the wider window, or why there is none
    if bool(stop.nothing_to_learn):
        return None, stop.advice
    if bool(stop.regularised):
        return None, "the window has no end: training may go on for ever"
    if not float(stop.window.lower) > 0:
        return (
            None,
            "the window has no beginning: the test loss never exceeds its minimum by the "
            "tolerance before it",
        )
    try:
        return required(
            model, "n", for_window=factor * float(stop.width), tolerance=float(stop.tolerance)
        ), ""
    except ValueError as e:
        return None, str(e)


def _sigma(covariance: FromData, d: int) -> Sigma:
    values, weights = np.asarray(covariance.values), np.asarray(covariance.weights)
    positive = values > 0
    trace = float(covariance.trace)
    largest, smallest = float(values.max()), float(values[positive].min())
    return Sigma(
        trace=trace,
        largest=largest,
        smallest=smallest,
        rank=round(float(weights[positive].sum()) * d),
        condition=largest / smallest,
        effective_rank=d * trace**2 / float(weights @ values**2),
    )
