"""How far a prediction from data is to be believed: features trained on a part, tested on the rest.

The theory takes data for Gaussian. Where they are not, a held-out part of them tells by how much
the prediction is wrong.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from ..empirical.dynamics import Eigenbasis, eigenbasis, gradient_flow
from ..empirical.features import sample
from ..models.from_data import centring
from ..numerics.checks import real_array
from ..numerics.types import Given, Key, Matrix
from ..training.early_stopping import fraction
from ..training.learning_curves import LearningCurve, learning_curve
from ..training.scan import FIRST, LAST
from .prediction import Prediction, predict

# training times of a grid on which the measured best time is looked for
FINE = 200
# error of the sampled matrices: far below what one draw of them fluctuates by, and for relu much
# quicker than rounding
EXACT = 1e-6
# depth of a measured minimum below which it is rounding
FLAT = 1e-10


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
        Measured best time in units of τ = kη/d², ∞ where the test loss falls to its limit, and the
        test loss there.
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
    r"""The prediction from a part of the data, and features trained on it and tested on the rest.

    The mean, the scale and the covariance are those of the training part, and ψ_n its size over d.
    One draw of p = ψ_p d features is trained by exact gradient flow, with the noise integrated out:
    L_train is (1), L_test the same over the samples held out.

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
    ConvergenceError
        As for ``rf.predict``.

    Notes
    -----
    Sections 1 and 8 of docs/theory.md; docs/real_data.md has what it measures on data sets.

    Examples
    --------
    >>> import jax, numpy as np, rfspec as rf
    >>> X = np.random.default_rng(0).normal(size=(80, 10)) * np.linspace(0.5, 1.5, 10)
    >>> check = rf.held_out(jax.random.key(0), X, psi_p=16.0, t=0.05, nodes=4)
    >>> print(check.n_test, f"{check.tau / check.prediction.stop.tau:.1f}")
    16 1.1
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
        best, lowest, last = _measured_best(basis)
        stop, at_stop = float(prediction.stop.tau), last
        if np.isfinite(stop):
            at_stop = float(gradient_flow(basis, np.array([stop])).test[0])
    return HeldOut(prediction, predicted, measured, best, lowest, at_stop, len(test))


def split(key: Key, X: Matrix, share: float, trace: float | None) -> tuple[np.ndarray, np.ndarray]:
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


def _measured_best(basis: Eigenbasis) -> tuple[float, float, float]:
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
