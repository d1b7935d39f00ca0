"""How far a prediction from data is to be believed: features trained on a part, tested on the rest.

The theory takes data for Gaussian. Where they are not, a held-out part of them tells by how much
the prediction is wrong.
"""

from __future__ import annotations

from html import escape
from typing import Any, NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from ..empirical.dynamics import Eigenbasis, eigenbasis, gradient_flow
from ..empirical.features import sample
from ..empirical.sampled_curves import averaged
from ..models.from_data import FromData, centring
from ..numerics.checks import fraction, integer, random_key, real_array, real_scalar
from ..numerics.types import Given, Key, Matrix
from ..training.early_stopping import EarlyStopping, early_stopping
from ..training.learning_curves import LearningCurve, learning_curve
from ..training.scan import FIRST, LAST
from .predicted import Prediction
from .prediction import model_of, predict
from .verdict import Check, Verdict, difference, mean_and_error

# training times of a grid on which the measured best time is looked for
FINE = 200
# error of the sampled matrices: far below what one draw of them fluctuates by, and for relu much
# quicker than rounding
EXACT = 1e-6
# depth of a measured minimum below which it is rounding
FLAT = 1e-10
# what makes the keys of all draws but the first
OTHERS = 7


class Draw(NamedTuple):
    """One split of the data, and one draw of the features.

    Attributes
    ----------
    stop : EarlyStopping
        Predicted from the training part alone.
    predicted, measured : LearningCurve
        Losses of the theory, and of features trained on one part and tested on the other.
    tau, test : float
        Measured best time, ∞ where the test loss falls to its limit, and the test loss there.
    measured_at_stop : float
        Measured test loss at the predicted best time.
    """

    stop: EarlyStopping
    predicted: LearningCurve
    measured: LearningCurve
    tau: float
    test: float
    measured_at_stop: float


class HeldOut(NamedTuple):
    """Answer of ``held_out``; an error is NaN for a single draw.

    Attributes
    ----------
    prediction : Prediction
        From the training part of the first split, for comparison with what is measured.
    predicted, measured : LearningCurve
        Losses of the theory, and of features trained on one part and tested on the other, at the
        same τ: means over the draws, with their `standard_error`.
    tau, test : float
        Measured best time in units of τ = kη/d², its geometric mean over the draws, ∞ where the
        test loss of one falls to its limit, and the mean of the test losses there.
    measured_at_stop : float
        Mean of the measured test losses at the predicted best times.
    n_test : int
        Samples held out.
    of_all_rows : Prediction
        From all rows: the one to use.
    tau_error, test_error, measured_at_stop_error : float
        Standard errors: of the logarithm of τ, that is a relative one, and of the losses.
    predicted_tau, predicted_tau_error, predicted_test, predicted_test_error : float
        The same of the predictions from the training parts.
    draws : tuple of Draw
        Each of the draws.
    """

    prediction: Prediction
    predicted: LearningCurve
    measured: LearningCurve
    tau: float
    test: float
    measured_at_stop: float
    n_test: int
    of_all_rows: Prediction
    tau_error: float
    test_error: float
    measured_at_stop_error: float
    predicted_tau: float
    predicted_tau_error: float
    predicted_test: float
    predicted_test_error: float
    draws: tuple[Draw, ...]

    def __repr__(self) -> str:
        return "\n".join([*self.of_all_rows.lines(), *self.lines(), self.verdict.text])

    def _repr_html_(self) -> str:
        return f"<pre>{escape(repr(self))}</pre>"

    @property
    def verdict(self) -> Verdict:
        """How far the prediction from all rows is to be believed, by the check too."""
        return self.of_all_rows.verdict

    def lines(self) -> list[str]:
        """What was measured, line by line, beside what was predicted from the training parts."""
        known = lambda value, error: f"{value:.6g}" + ("" if np.isnan(error) else f" ± {error:.1g}")
        predicted_tau = known(self.predicted_tau, self.predicted_tau * self.predicted_tau_error)
        tau = known(self.tau, self.tau * self.tau_error)
        predicted_test = known(self.predicted_test, self.predicted_test_error)
        test = known(self.test, self.test_error)
        at_stop = known(self.measured_at_stop, self.measured_at_stop_error)
        return [
            f"checked on {self.n_test} samples held out, predicted from the other "
            f"{self.prediction.n}; the prediction above is from all {self.of_all_rows.n}",
            f"best training time   predicted {predicted_tau}, measured {tau}",
            f"test loss there      predicted {predicted_test}, measured {test}",
            f"measured test loss at the predicted best time {at_stop}",
        ]


def held_out(
    key: Given,
    X: Given = None,
    psi_p: Given = None,
    t: float | None = None,
    tau: Given = None,
    *,
    share: float = 0.2,
    repeats: int = 4,
    trace: float | None = None,
    tolerance: Given = 0.01,
    progress: bool = False,
    **options: Any,
) -> HeldOut:
    r"""The prediction from a part of the data, and features trained on it and tested on the rest.

    The mean, the scale and the covariance are those of the training part, and ψ_n its size over d.
    In each draw p = ψ_p d features are trained by exact gradient flow, with the noise integrated
    out: L_train is (1), L_test the same over the samples held out. The prediction to use is that
    from all rows.

    Parameters
    ----------
    key : JAX random key or int
        Of the splits and of the features; it comes first.
    X, psi_p, t, trace, tolerance, progress, **options
        As for ``rf.predict``; with `trace` the data are rescaled too.
    tau : array, optional
        Training times τ ≥ 0; by default 25 over six decades about the predicted best one.
    share : float
        Of the samples held out, between 0 and 1; at least two are held out, and two train.
    repeats : int
        Splits of the data, each with its own draw of the features, at least 1; two or more give
        standard errors. All splits are of the same rows, so that the errors are not those of
        another data set.

    Returns
    -------
    HeldOut
        ``.of_all_rows .verdict`` to use, ``.prediction .predicted .measured .tau .test
        .measured_at_stop .n_test`` and errors to compare, ``.draws`` one by one.

    Raises
    ------
    ValueError
        As for ``rf.predict``, and if the parts are too small or the p×p matrices do not fit into
        memory.
    ConvergenceError
        As for ``rf.predict``.

    Notes
    -----
    Sections 1 and 8 of docs/theory.md; docs/real_data.md has what it measures on data sets.

    Examples
    --------
    >>> import jax, numpy as np, rfspec as rf
    >>> X = np.random.default_rng(0).normal(size=(80, 10)) * np.linspace(0.5, 1.5, 10)
    >>> check = rf.held_out(jax.random.key(0), X, psi_p=16.0, t=0.05, nodes=4, d=None)
    >>> print(check.n_test, f"{check.tau / check.predicted_tau:.1f}")
    16 0.9
    """
    key, repeats = random_key("key", key), integer("repeats", repeats)
    psi_p = real_scalar("psi_p", psi_p, above=0.0)
    # the first draw is that of a single one
    keys = [key, *jax.random.split(jax.random.fold_in(key, OTHERS), repeats)][:repeats]
    parts = [split(k, X, share, trace) for k in keys]
    given, steps = {"tolerance": tolerance, **options}, 2 + repeats
    with tqdm(total=steps, desc="predict", disable=not progress, leave=False, delay=2.0) as bar:
        prediction = predict(parts[0][0], psi_p, t, **given)
        bar.update(1)
        of_all_rows = predict(X, psi_p, t, trace=trace, **given)
        tau = prediction.tau if tau is None else tau
        draws: list[Draw] = []
        for k, part in zip(keys, parts, strict=True):
            bar.update(1)
            bar.set_description("random features")
            first = None if draws else prediction.stop
            stop = first or _stop_of(part[0], psi_p, t, tolerance, **options)
            draws.append(_drawn(k, part, stop, tau))
    check = _compared(draws)
    of_all_rows = of_all_rows._replace(verdict=of_all_rows.verdict._replace(check=check))
    return _summed_up(prediction, of_all_rows, tuple(draws), len(parts[0][1]))


def split(key: Key, X: Given, share: float, trace: float | None) -> tuple[Matrix, Matrix]:
    """Rows to train on and rows to test on, in random order, centred and rescaled by the former."""
    X = real_array("X", X, "a finite real matrix of shape (samples, dimensions)")
    share = float(fraction("share", share))
    if X.ndim != 2 or len(X) < 4:
        raise ValueError(
            f"X must have at least four rows, two to train on and two to test, got shape {X.shape}"
        )
    n_test = min(max(2, round(share * len(X))), len(X) - 2)
    X = X[np.asarray(jax.random.permutation(jax.random.split(key)[0], len(X)))]
    train, test = X[n_test:], X[:n_test]
    centred = centring(train, trace)
    return centred(train), centred(test)


def _stop_of(
    train: Matrix,
    psi_p: Given,
    t: Given,
    tolerance: Given,
    *,
    shrinkage: str | None = None,
    wider: Given = None,
    **model: Any,
) -> EarlyStopping:
    law = FromData(train, shrinkage)
    return early_stopping(model_of(law, train.shape, psi_p, t, **model)[0], tolerance)


def _drawn(key: Key, part: tuple[Matrix, Matrix], stop: EarlyStopping, tau: Given) -> Draw:
    train, test = part
    predicted = learning_curve(stop.model, tau)
    matrices = sample(
        jax.random.split(key)[1], stop.model, data=train, held_out=test, tolerance=EXACT
    )
    basis = eigenbasis(matrices)
    measured = gradient_flow(basis, predicted.tau)
    best, lowest, at_stop = measured_best(basis)
    if np.isfinite(float(stop.tau)):
        at_stop = float(gradient_flow(basis, np.array([float(stop.tau)])).test[0])
    return Draw(stop, predicted, measured, best, lowest, at_stop)


def measured_best(basis: Eigenbasis) -> tuple[float, float, float]:
    # the time and the value of the smallest test loss, and the last test loss; a grid over all
    # times is followed by two finer ones around its minimum
    unit = float(basis.matrices.model.time_unit)
    values = np.asarray(basis.rates)
    smallest = max(float(values.min()), 1e-14 * float(values.max()))
    tau = np.geomspace(FIRST * unit / float(values.max()), LAST * unit / smallest, FINE)
    test = np.asarray(gradient_flow(basis, tau).test)
    last = float(test[-1])
    if test.min() > last - FLAT:
        return np.inf, last, last
    for _ in range(2):
        i = int(test.argmin())
        tau = np.geomspace(tau[max(i - 1, 0)], tau[min(i + 1, FINE - 1)], FINE)
        test = np.asarray(gradient_flow(basis, tau).test)
    i = int(test.argmin())
    return float(tau[i]), float(test[i]), last


def _summed_up(
    prediction: Prediction, of_all_rows: Prediction, draws: tuple[Draw, ...], n_test: int
) -> HeldOut:
    tau, tau_error = _geometric_mean([draw.tau for draw in draws])
    predicted_tau, predicted_tau_error = _geometric_mean([float(draw.stop.tau) for draw in draws])
    test, test_error = mean_and_error([draw.test for draw in draws])
    at_stop, at_stop_error = mean_and_error([draw.measured_at_stop for draw in draws])
    predicted_test, predicted_test_error = mean_and_error([float(d.stop.test) for d in draws])
    mean = lambda curves: averaged(curves) if len(curves) > 1 else curves[0]
    return HeldOut(
        prediction=prediction,
        predicted=mean([draw.predicted for draw in draws]),
        measured=mean([draw.measured for draw in draws]),
        tau=tau,
        test=test,
        measured_at_stop=at_stop,
        n_test=n_test,
        of_all_rows=of_all_rows,
        tau_error=tau_error,
        test_error=test_error,
        measured_at_stop_error=at_stop_error,
        predicted_tau=predicted_tau,
        predicted_tau_error=predicted_tau_error,
        predicted_test=predicted_test,
        predicted_test_error=predicted_test_error,
        draws=draws,
    )


def _geometric_mean(times: list[float]) -> tuple[float, float]:
    with np.errstate(divide="ignore", invalid="ignore"):
        mean, error = mean_and_error(np.log(times))
    return float(np.exp(mean)), error


def _compared(draws: list[Draw]) -> Check:
    ratios = [draw.tau / float(draw.stop.tau) for draw in draws if float(draw.stop.tau) > 0]
    finite = len(ratios) == len(draws) and all(0 < ratio < np.inf for ratio in ratios)
    later, later_error = _geometric_mean(ratios) if finite else (np.nan, np.nan)
    windows = [tuple(map(float, draw.stop.window)) for draw in draws]
    inside = [low <= d.tau <= high for (low, high), d in zip(windows, draws, strict=True)]
    price, price_error = mean_and_error([draw.measured_at_stop - draw.test for draw in draws])
    at = lambda kind, which: difference(
        *(
            [float(getattr(getattr(draw, curve), kind)[which(draw)]) for draw in draws]
            for curve in ("predicted", "measured")
        )
    )
    last = lambda draw: int(np.argmax(draw.predicted.tau))
    return Check(
        repeats=len(draws),
        later=later,
        later_error=later_error,
        inside=float(np.mean(inside)),
        price=price,
        price_error=price_error,
        early=at("test", _halfway),
        best=difference([float(d.stop.test) for d in draws], [d.measured_at_stop for d in draws]),
        late=at("test", last),
        train=at("train", last),
    )


def _halfway(draw: Draw) -> int:
    # the last of the times at which the predicted test loss has not yet fallen by half of its way
    stop, curve = draw.stop, draw.predicted
    early = np.asarray(curve.test) >= (stop.untrained + stop.test) / 2
    return int(np.argmax(np.where(early & (curve.tau <= stop.tau), curve.tau, -1.0)))
