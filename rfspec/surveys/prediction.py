"""What the theory says of a data set: its covariance, and when to stop training on it.

The theory knows data by n, d and the eigenvalues of their covariance alone, as if they were
Gaussian. It follows Hermite degrees at the data's own d where it can, and else is that of the limit
d → ∞. ``rfspec.surveys.verdict`` tells how far that is to be believed, and
``rfspec.surveys.held_out_data`` measures it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from tqdm import tqdm

from ..models.from_data import FromData
from ..models.model import RandomFeatureModel
from ..numerics.checks import integer, real_array, real_scalar
from ..numerics.types import Given
from ..resolvent.solver import ConvergenceError
from ..training.early_stopping import EarlyStopping, early_stopping
from ..training.scaling import Required, required
from ..training.timescales import RULES, Timescales, timescales
from .predicted import Prediction, Sigma
from .verdict import verdict_on

# 32 nodes reproduce the best time of all 62 eigenvalues of the digits to 11 digits
NODES = 32
# the default d: as many as the data have columns
COLUMNS = "columns"


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
    d: Given = COLUMNS,
    **model: Any,
) -> Prediction:
    r"""Training times, best stopping time and window of random features trained on given data.

    They are those of ``rf.RandomFeatureModel`` at ψ_n = n/d with the covariance Σ = XᵀX/n of the
    centred data. Hermite degrees above 1 are followed at the data's own d.

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
    d : "columns", int or None
        "columns" (default): losses and best time follow Hermite degrees 1 to `degree` at the data's
        d (docs/finite_d.md), or are those of the limit d → ∞ where a model with d is refused, as
        for finite `noise_draws`; ``.theory`` says which. None: the limit. The data's d as a number:
        as "columns", but refused is an error.
    **model
        `process`, `activation`, `target`, `noise_draws`, `weight_decay`, `degree` of
        ``rf.RandomFeatureModel``; degree 1 is the limit too.

    Returns
    -------
    Prediction
        ``.sigma .times .stop .wider .more .reasons .model .theory .verdict``, and
        ``.steps(learning_rate)`` in steps and epochs; times in units of τ = kη/d², each result with
        its own errors.

    Raises
    ------
    ValueError
        If the data are no finite real matrix of two different rows, or an argument is out of range.
    ConvergenceError
        If the losses are not finite.

    Notes
    -----
    Sections 8, 12 and 14 of docs/theory.md; times by the rule "paper" are those of the limit;
    docs/real_data.md measures what it costs that data are not
    Gaussian. Beyond arXiv 2505.17638.

    Examples
    --------
    >>> import numpy as np, rfspec as rf
    >>> X = np.random.default_rng(0).normal(size=(400, 10)) * np.linspace(0.5, 1.5, 10)
    >>> found = rf.predict(X, psi_p=16.0, t=0.05, nodes=4, d=None)
    >>> print(f"stop at about {round(float(found.stop.tau), -1):g}, by {found.theory}")
    stop at about 120, by the limit d -> inf
    """
    covariance = FromData(X, shrinkage, trace=trace)
    data = real_array("X", X, "a finite real matrix")
    of_data, refused = model_of(covariance, data.shape, psi_p, t, nodes, d=d, **model)
    factor = float(real_scalar("wider", wider, above=1.0))
    times: dict[str, Timescales] = {}
    reasons = {"d": refused} if refused else {}
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
    n, columns = data.shape
    sigma, verdict = _sigma(covariance, columns), verdict_on(data, of_data)
    return Prediction(of_data, n, columns, sigma, times, stop, more, factor, reasons, verdict)


def model_of(
    covariance: FromData,
    shape: tuple[int, ...],
    psi_p: Given,
    t: Given,
    nodes: int | None = NODES,
    *,
    d: Given = COLUMNS,
    **model: Any,
) -> tuple[RandomFeatureModel, str]:
    """The model of data, whose covariance is compressed unless all nodes are to be kept.

    With why it is that of the limit, where it was asked for at the data's d and is refused.
    """
    n, columns = shape
    compressed = covariance.compressed(nodes) if nodes else covariance
    of = lambda d: RandomFeatureModel(psi_p, n / columns, t, covariance=compressed, d=d, **model)
    if d is None or model.get("degree") == 1:
        return of(None), ""
    if d != COLUMNS:
        if integer("d", d) != columns:
            raise ValueError(
                f"d must be the {columns} columns of the data, or None for the limit, got {d!r}"
            )
        return of(columns), ""
    try:
        return of(columns), ""
    except ValueError as e:
        # what is wrong with more than d raises here
        return of(None), str(e)


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
