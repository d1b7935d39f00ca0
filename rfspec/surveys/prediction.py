r"""What the theory says of a data set: its covariance, when to stop training on it,
and how far that is to be believed.

The theory knows data by n, d and the eigenvalues of their covariance alone, as if they were
Gaussian. Where they are not, a held-out part of them tells by how much it is off.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from ..empirical.dynamics import Eigenbasis, eigenbasis, gradient_flow
from ..empirical.features import sample
from ..models.covariance import FromData, centring
from ..models.model import RandomFeatureModel
from ..numerics.checks import real_array, real_scalar
from ..numerics.types import Given, Key, Matrix
from ..resolvent.solver import ConvergenceError
from ..training.early_stopping import EarlyStopping, early_stopping
from ..training.learning_curves import LearningCurve, learning_curve
from ..training.scaling import Required, required
from ..training.stops import FIRST, LAST
from ..training.timescales import RULES, Timescales, timescales

NODES = 32  # on the digits the best time of all 62 eigenvalues to 11 digits
AROUND = np.geomspace(1e-2, 1e4, 25)  # training times shown, in units of the best one
FINE = 200
# of the sampled matrices: far below what one draw of them fluctuates by, and quicker with relu
EXACT = 1e-6
FLAT = 1e-10  # depth of a measured minimum below which it is rounding


class Sigma(NamedTuple):
    """Eigenvalues of a covariance in five numbers.

    `trace`: Tr Σ/d. `largest`, `smallest`: of the eigenvalues, the latter of those above 0. `rank`:
    how many those are. `condition`: largest/smallest. `effective_rank`: (Tr Σ)²/Tr Σ², between 1
    and d.
    """

    trace: float
    largest: float
    smallest: float
    rank: int
    condition: float
    effective_rank: float


class Prediction(NamedTuple):
    """Answer of ``predict``.

    Attributes
    ----------
    model : RandomFeatureModel
        With ψ_n = n/d and the covariance of the data, as compressed.
    n, d : int
        Samples and dimensions.
    sigma : Sigma
        All eigenvalues of the covariance, before compression.
    times : dict of Timescales
        By rule; what a rule does not give is missing, and `reasons` says why.
    stop : EarlyStopping
        Best time, losses and window.
    wider : Required or None
        The ψ_n at which the window is `factor` times wider.
    factor : float
    reasons : dict of str
        Why a rule of `times`, or "wider", has no answer.
    """

    model: RandomFeatureModel
    n: int
    d: int
    sigma: Sigma
    times: dict[str, Timescales]
    stop: EarlyStopping
    wider: Required | None
    factor: float
    reasons: dict[str, str]

    @property
    def more(self) -> int | None:
        """Samples that the wider window needs beyond the n there are; below 0 where fewer do."""
        return (
            None if self.wider is None else int(np.ceil(self.wider.value * self.d - 1e-6)) - self.n
        )

    @property
    def tau(self) -> np.ndarray:
        """Training times worth looking at: six decades about the best one,
        or about the paper's τ_gen without one.
        """
        center = float(self.stop.tau)
        return AROUND * (center if 0 < center < np.inf else float(self.times["paper"].tau_gen))


class HeldOut(NamedTuple):
    """Answer of ``held_out``.

    Attributes
    ----------
    prediction : Prediction
        From the training part alone.
    predicted, measured : LearningCurve
        Losses of the theory, and of features trained on one part and tested on the other, at the
        same τ.
    tau, test : float
        Measured best time, ∞ where the test loss falls to its limit, and the test loss there.
    measured_at_stop : float
        Measured test loss at the predicted best time.
    n_test : int
        Samples held out.
    """

    prediction: Prediction
    predicted: LearningCurve
    measured: LearningCurve
    tau: float
    test: float
    measured_at_stop: float
    n_test: int


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
        None keeps all.
    tolerance : float
        ε > 0 of the window, in units of the loss.
    wider : float
        Factor > 1 by which the window should grow.
    progress : bool
        Show a progress bar.
    **model
        `process`, `activation`, `target`, `noise_draws`, `weight_decay` of
        ``rf.RandomFeatureModel``.

    Returns
    -------
    Prediction
        ``.sigma .times .stop .wider .more .reasons .model``.

    Raises
    ------
    ValueError
        If the data are no finite real matrix of two different rows, or an argument is out of range.
    ConvergenceError
        If the losses are not finite.

    Examples
    --------
    >>> import numpy as np, rfspec as rf
    >>> X = np.random.default_rng(0).normal(size=(80, 10)) * np.linspace(0.5, 1.5, 10)
    >>> found = rf.predict(X, psi_p=16.0, t=0.05, nodes=4)
    >>> print(f"stop at {found.stop.tau:.3g}, {found.more} more samples")
    stop at 82, 62 more samples
    """
    covariance = FromData(X, shrinkage, trace=trace)
    n, d = np.shape(X)
    compressed = covariance if nodes is None else covariance.compressed(nodes)
    of_data = RandomFeatureModel(psi_p, n / d, t, covariance=compressed, **model)
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
    return Prediction(of_data, n, d, _sigma(covariance, d), times, stop, more, factor, reasons)


def _wider(
    model: RandomFeatureModel, stop: EarlyStopping, factor: float
) -> tuple[Required | None, str]:
    """ψ_n of the wider window, or why there is none."""
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
    some = values > 0
    largest, smallest, trace = (
        float(values.max()),
        float(values[some].min()),
        float(covariance.trace),
    )
    rank = round(float(weights[some].sum()) * d)
    return Sigma(
        trace,
        largest,
        smallest,
        rank,
        largest / smallest,
        d * trace**2 / float(weights @ values**2),
    )


# -------------------------------------------------------------------------------------------------
# held-out data


def held_out(
    key: Key,
    X: Given,
    psi_p: float,
    t: float | None = None,
    tau: Given = None,
    *,
    share: float = 0.2,
    trace: float | None = None,
    progress: bool = False,
    **options: Any,
) -> HeldOut:
    r"""The prediction from one part of the data beside random features trained on it and tested on
    the rest.

    The mean, the scale and the covariance are those of the training part, and ψ_n its size over d.
    One draw of p = ψ_p d features is trained by exact gradient flow, with the noise integrated out.

    Parameters
    ----------
    key : JAX random key
        Of the split and of the features.
    X, psi_p, t, trace, progress, **options
        As for ``rf.predict``; with `trace` the data are rescaled too.
    tau : array, optional
        Training times τ ≥ 0; by default 25 over six decades about the predicted best one.
    share : float
        Of the samples held out, between 0 and 1; at least two are held out, and two train.

    Returns
    -------
    HeldOut
        ``.prediction .predicted .measured .tau .test .measured_at_stop .n_test``.

    Raises
    ------
    ValueError
        As for ``rf.predict``, and if the parts are too small or the p×p matrices do not fit into
        memory.
    """
    train, test = split(key, X, share, trace)
    with tqdm(total=3, desc="predict", disable=not progress, leave=False, delay=2.0) as bar:
        prediction = predict(train, psi_p, t, **options)
        bar.update(1)
        bar.set_description("predicted losses")
        tau = prediction.tau if tau is None else tau
        predicted = learning_curve(prediction.model, tau)
        bar.update(1)
        bar.set_description("random features")
        matrices = sample(
            jax.random.split(key)[1], prediction.model, data=train, held_out=test, tolerance=EXACT
        )
        basis = eigenbasis(matrices)
        measured = gradient_flow(basis, predicted.tau)
        best, lowest, end = _best(basis)
        at = float(prediction.stop.tau)
        there = float(gradient_flow(basis, np.array([at])).test[0]) if np.isfinite(at) else end
    return HeldOut(prediction, predicted, measured, best, lowest, there, len(test))


def split(key: Key, X: Matrix, share: float, trace: float | None) -> tuple[np.ndarray, np.ndarray]:
    """Two parts of the rows in random order, centred and rescaled by the first."""
    X = real_array("X", X, "a finite real matrix of shape (samples, dimensions)")
    share = float(real_scalar("share", share, above=0.0))
    if not share < 1:
        raise ValueError(f"share must be between 0 and 1, got {share}")
    if X.ndim != 2 or len(X) < 4:
        raise ValueError(
            f"X must have at least four rows, two to train on and two to test, got shape {X.shape}"
        )
    n_test = min(max(2, round(share * len(X))), len(X) - 2)
    X = X[np.asarray(jax.random.permutation(jax.random.split(key)[0], len(X)))]
    train, test = X[n_test:], X[:n_test]
    moved = centring(train, trace)
    return moved(train), moved(test)


def _best(basis: Eigenbasis) -> tuple[float, float, float]:
    """Place and value of the smallest test loss, on a grid over all times and finer ones inside it;
    its last value.
    """
    unit = float(basis.matrices.model.time_unit)
    values = np.asarray(basis.rates)
    smallest = max(float(values.min()), 1e-14 * float(values.max()))
    tau = np.geomspace(FIRST * unit / float(values.max()), LAST * unit / smallest, FINE)
    test = np.asarray(gradient_flow(basis, tau).test)
    end = float(test[-1])
    if test.min() > end - FLAT:
        return np.inf, end, end
    for _ in range(2):
        i = int(test.argmin())
        tau = np.geomspace(tau[max(i - 1, 0)], tau[min(i + 1, FINE - 1)], FINE)
        test = np.asarray(gradient_flow(basis, tau).test)
    i = int(test.argmin())
    return float(tau[i]), float(test[i]), end
