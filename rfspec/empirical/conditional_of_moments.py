"""Learning curves of any features from their moments, averaged over draws of the data."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from ..models.model import RandomFeatureModel
from ..numerics.checks import not_negative, real_array, real_scalar
from ..numerics.session import enter
from ..numerics.types import Given, Matrix, Real, Reals
from ..training.arguments import training_times
from ..training.exact_score import score_error
from ..training.learning_curves import LearningCurve
from .conditional_losses import TOLERANCE, Losses, Moments, losses_of

# what rounding may leave of an eigenvalue that is 0, or of a symmetry, relative to the largest
ROUNDED = 1e-8


def conditional_curve_of(
    C: Given,
    U: Given,
    V: Given,
    n: Given,
    tau: Given,
    *,
    signal: Given = None,
    power: float = 0.0,
    untrained: float = 1.0,
    time_unit: float = 1.0,
    decay: float = 0.0,
    samples: float = np.inf,
    tolerance: float = TOLERANCE,
) -> LearningCurve:
    r"""Losses along gradient flow on any features, expected over n samples, from their moments.

    Training minimises E|y - Bφ|²/d over the n samples, B = Vᵀh(U), from B = 0; of a sample the
    features φ have the mean g over their noise.

    Parameters
    ----------
    C : array, shape (p, p)
        E[ggᵀ] over samples.
    U : array, shape (p, p)
        E[φφᵀ] over samples and noise; U - C has no negative eigenvalue.
    V : array, shape (p, d)
        The part of E[φyᵀ] that does not fluctuate with the samples; all of it where y is noise.
    n : float
        Samples to train on, n > 0.
    tau : array, any shape and order
        Times 0 ≤ τ ≤ ∞. A mode λ of U is learnt as 1 - e^{-λτ/time_unit}.
    signal : array, shape (p, d), optional
        N = E[g sᵀ] for the part s of y that is a function of the sample; 0 by default.
    power : float
        E|s|²/d ≥ 0.
    untrained : float
        E|y|²/d > 0, the loss before training.
    time_unit : float
        Unit of τ, > 0; ``model.time_unit`` of a model.
    decay : float
        What weight decay adds to U, ≥ 0.
    samples : float
        Samples S ≥ n that C and U are means over; inf (default) for expectations. With a finite
        number there is no `signal`.
    tolerance : float
        As for ``rf.empirical.conditional_curve``.

    Returns
    -------
    LearningCurve
        ``.tau .train .test .gap`` of τ's shape; ``.error`` of both losses and ``.train_error``. The
        score error is NaN.

    Raises
    ------
    ValueError
        If an argument is out of range, shapes do not fit, C or U is not symmetric, or U - C has a
        negative eigenvalue.
    ConvergenceError
        If D cannot be followed along the contour.

    Notes
    -----
    As for ``rf.empirical.conditional_curve``.

    Examples
    --------
    >>> import numpy as np, rfspec as rf
    >>> C, V = np.diag([2.0, 1.0, 0.5]), np.array([[0.5], [0.2], [0.1]])
    >>> U = C + 0.1 * np.eye(3)
    >>> curve = rf.empirical.conditional_curve_of(C, U, V, 100, [0.0, 1.0, 10.0])
    >>> print(np.round(curve.test, 4))
    [1.     0.8393 0.8326]
    """
    enter()
    tau, tolerance = training_times(tau), checked_tolerance(tolerance)
    C, U, V = (_checked_matrix(name, a) for name, a in (("C", C), ("U", U), ("V", V)))
    signal = jnp.zeros_like(V) if signal is None else _checked_matrix("signal", signal)
    n = float(real_scalar("n", n, above=0.0))
    _check_shapes(C, U, V, signal)
    _check_samples(samples, n, signal)
    moments = Moments(
        C,
        U,
        V,
        signal,
        float(not_negative("power", power)),
        float(real_scalar("untrained", untrained, above=0.0)),
        float(samples),
        float(not_negative("decay", decay)),
    )
    unit = float(real_scalar("time_unit", time_unit, above=0.0))
    losses = losses_of(moments, n, tau.ravel() / unit, tolerance)
    return as_curve(losses, tau, 0.0, None)


def as_curve(
    losses: Losses, tau: Reals, left_out: Real, model: RandomFeatureModel | None
) -> LearningCurve:
    train, test, *errors = (jnp.asarray(a).reshape(tau.shape) for a in losses)
    of_train, of_test = (error + left_out for error in errors)
    score = jnp.full(tau.shape, jnp.nan) if model is None else score_error(model, test)
    both = jnp.maximum(of_train, of_test)
    return LearningCurve(jnp.asarray(tau), train, test, score, both, train_error=of_train)


# --------------------------------------------------------------------------------------------------
# checks


def checked_tolerance(tolerance: Given) -> float:
    value = float(real_scalar("tolerance", tolerance, above=0.0))
    if not 1e-11 <= value <= 0.01:
        raise ValueError(f"tolerance must be between 1e-11 and 0.01, got {value!r}")
    return value


def _checked_matrix(name: str, value: Given) -> Matrix:
    matrix = real_array(name, value, "a finite real matrix")
    if matrix.ndim != 2 or not matrix.size:
        raise ValueError(f"{name} must be a matrix, got shape {matrix.shape}")
    return jnp.asarray(matrix)


def _check_shapes(C: Matrix, U: Matrix, V: Matrix, signal: Matrix) -> None:
    p = V.shape[0]
    for name, matrix in (("C", C), ("U", U)):
        if matrix.shape != (p, p):
            raise ValueError(f"{name} must have shape {(p, p)}, V's rows, got {matrix.shape}")
        if float(jnp.max(jnp.abs(matrix - matrix.T))) > ROUNDED * float(jnp.max(jnp.abs(matrix))):
            raise ValueError(f"{name} must be symmetric, got entries that differ across its middle")
    if signal.shape != V.shape:
        raise ValueError(f"signal must have V's shape {V.shape}, got {signal.shape}")
    for name, matrix in (("C", C), ("U - C", U - C)):
        values = jnp.linalg.eigvalsh(matrix)
        if float(values[0]) < -ROUNDED * float(jnp.max(jnp.abs(U))):
            raise ValueError(
                f"{name} must have no negative eigenvalue, got one of {float(values[0]):.6g}"
            )


def _check_samples(samples: Given, n: float, signal: Matrix) -> None:
    known = isinstance(samples, int | float | np.number) and not isinstance(samples, bool)
    if not known or not samples >= n:
        raise ValueError(f"samples must be a number of at least n = {n:g}, or inf, got {samples!r}")
    if np.isfinite(samples) and bool(jnp.any(signal != 0)):
        raise ValueError(f"samples must be inf where there is a signal, got {samples!r}")
