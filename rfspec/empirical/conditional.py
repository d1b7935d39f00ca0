r"""Learning curves for given feature weights, averaged over the data without drawing any.

Condition on W. Of the features φ the average over the noise, g = E_ξ[φ], depends on the sample, and
U is close to H + DC with C = E_x[ggᵀ], H = E[φφᵀ] - C and one number D (``column_weight``). Nothing
is approximated on the side of the features, so that all degrees of σ are there that finite d, n and
p resolve, where ``rf.learning_curve`` keeps the first and takes the others for noise (5).
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from ..models.model import RandomFeatureModel
from ..models.targets import combination
from ..numerics.checks import integer, random_key
from ..numerics.session import enter
from ..numerics.types import Given, Key, Reals
from ..training.arguments import training_times
from ..training.learning_curves import LearningCurve, StandardErrors
from .conditional_losses import TOLERANCE, Moments, losses_of
from .conditional_moments import merged, moments_of, of_rows
from .conditional_of_moments import as_curve, checked_tolerance
from .draws import Draw, Sampling, drawn
from .sampled_curves import averaged

# groups of rows, of which each is left out once
GROUPS = 4


def conditional_curve(
    key: Given,
    model: RandomFeatureModel,
    tau: Given,
    d: int | None = None,
    *,
    kind: str = "features",
    data: Given = None,
    rows: str = "gaussian",
    repeats: int = 1,
    groups: int = GROUPS,
    tolerance: float = TOLERANCE,
) -> LearningCurve:
    r"""Losses along gradient flow for drawn weights W, expected over the draws of the data.

    .. math::

        (U - z)^{-1} ≃ (H + D C - z)^{-1}, \quad D = \frac{1}{1 + δ}, \quad
        δ = \frac1n \operatorname{Tr} C (H + D C - z)^{-1}

    with :math:`C = E_x[g g^⊤]`, :math:`g = E_ξ[φ]` and :math:`H = E[φ φ^⊤] - C` exact for this W.

    Parameters
    ----------
    key : JAX random key, or int as a seed
        W is that of ``rf.empirical.sample`` with this key.
    model : RandomFeatureModel
        With all draws of the noise.
    tau : array, any shape and order
        Training times τ = kη/d², 0 ≤ τ ≤ ∞.
    d : int
        Dimension, by default the model's; n = ψ_n d and p = ψ_p d are rounded. With `data` it is
        the number of columns.
    kind : {"features", "gaussian"}
        The features themselves, or their Gaussian equivalent (5) with this W.
    data : array, shape (samples, d), optional
        Rows that stand for the law of the data instead of Gaussian ones, at least n of them, with
        mean zero. All are used, none is held out: the test loss is that on fresh rows of their law.
        The target is then the noise or the score.
    rows : {"gaussian", "spherical"}
        Rows of W, as for ``rf.empirical.sample``.
    repeats : int
        Independent draws of W, at least 1; two or more give standard errors.
    groups : int
        With `data`: groups of rows, at least 2, each of which is left out once for the standard
        error; 0 for none. Each costs as much as the curve itself.
    tolerance : float
        Relative error of the contour integrals asked for, from 1e-11 to 0.01; it sets the number of
        nodes.

    Returns
    -------
    LearningCurve
        ``.tau .train .test .score_error .gap`` of τ's shape; ``.error`` of both losses and
        ``.train_error`` are numerical: what the filters on the contour are off by, what was left
        open of D, rounding, and the Hermite expansion. ``.standard_error`` is that over draws of W,
        over rows of `data`, or both together.

    Raises
    ------
    ValueError
        If an argument is out of range, as ``rf.empirical.sample`` says, the model has finite draws
        of the noise or data of classes, or the target depends on x where there are `data`.
    ConvergenceError
        If D cannot be followed along the contour.

    Notes
    -----
    What is left out falls off with n and d: H, V and |x|² are taken at their means, though Cov(φ|x)
    and E[φξᵀ|x] differ from sample to sample. It shows late in training where n is a few hundred (2
    % of the test loss for relu at d = 24, n = 240, t = 0.01).

    The rows of `data` are S columns too, and the weight D of n fresh columns is reached from their
    mean C_S by one more number, x = 1/(1 + (1 - n/S)δ) in H + x C_S; at n = S the train loss is
    exactly that of these rows. So a finite S leaves no bias of order n/S for rows that are alike,
    only one of order 1/S, and noise, which the standard error shows. Where rows differ in how much
    they weigh (images do), one D for all of them gives a late test loss that is too low, by 2 to
    6 % for the packaged digits, and the standard error does not show it.

    Equations (15) to (17) with C and H in place of functions of F; the contour is one for all
    times, around [λ_min(H), λ_max]. A cost of two inverses of a complex p×p matrix for each of some
    40 nodes does not depend on the number of times.

    Examples
    --------
    >>> import rfspec as rf
    >>> model = rf.RandomFeatureModel(psi_p=4.0, psi_n=8.0, t=0.1)
    >>> curve = rf.empirical.conditional_curve(0, model, [0.0, 10.0, float("inf")], d=10)
    >>> bool(curve.train[2] < curve.train[1] < curve.train[0]), bool(curve.error.max() < 1e-4)
    (True, True)
    """
    enter()
    tau, tolerance = training_times(tau), checked_tolerance(tolerance)
    repeats = integer("repeats", repeats)
    if groups:
        integer("groups", groups, 2)
    _check_model(model, data)
    key = random_key("key", key)
    keys = [key] if repeats == 1 else list(jax.random.split(key, repeats))
    # with rows to test on as well, all rows may train
    sampling = Sampling(d, kind, data, rows, data)
    curves = [_curve(k, model, tau, sampling, groups, tolerance) for k in keys]
    if repeats == 1:
        return curves[0]
    curve = averaged(curves)
    if data is None:
        return curve
    of_rows = [
        jnp.mean(jnp.stack(column), axis=0)
        for column in zip(*(c.standard_error[:3] for c in curves), strict=True)
    ]
    of_draws = curve.standard_error[:3]
    both = [jnp.hypot(a, jnp.nan_to_num(b)) for a, b in zip(of_draws, of_rows, strict=True)]
    return _with_errors(curve, StandardErrors(*both))


# --------------------------------------------------------------------------------------------------
# from a model


def _curve(
    key: Key,
    model: RandomFeatureModel,
    tau: Reals,
    sampling: Sampling,
    groups: int,
    tolerance: float,
) -> LearningCurve:
    draw = drawn(key, model, sampling)
    if draw.fresh is not None and groups > draw.fresh.shape[1]:
        raise ValueError(f"groups must be at most {draw.fresh.shape[1]}, the rows, got {groups}")
    solve = partial(losses_of, c=tau.ravel() / float(model.time_unit), tolerance=tolerance)
    if draw.fresh is None:
        moments, error = moments_of(model, draw)
        return as_curve(solve(moments, draw.n), tau, error * moments.untrained, model)
    parts, error = _parts(jax.random.fold_in(key, 5), model, draw, max(groups, 1))
    moments = merged(parts)
    share = draw.n / moments.rows
    curve = as_curve(solve(moments, draw.n), tau, error * moments.untrained, None)
    if not groups:
        return curve
    without = [merged(parts[:i] + parts[i + 1 :]) for i in range(groups)]
    # as large a share of the rows that are left
    losses = [solve(m, share * m.rows) for m in without]
    of_train, of_test = (
        jnp.asarray(np.std(column, axis=0) * np.sqrt(groups - 1)).reshape(tau.shape)
        for column in zip(*(loss[:2] for loss in losses), strict=True)
    )
    return _with_errors(curve, StandardErrors(of_train, of_test, jnp.full(tau.shape, jnp.nan)))


def _parts(
    key: Key, model: RandomFeatureModel, draw: Draw, groups: int
) -> tuple[list[Moments], float]:
    # moments of random groups of rows
    assert draw.fresh is not None
    order = np.asarray(jax.random.permutation(key, draw.fresh.shape[1]))
    parts = [of_rows(model, draw.W, draw.fresh[:, i]) for i in np.array_split(order, groups)]
    return [moments for moments, _ in parts], max(error for _, error in parts)


def _with_errors(curve: LearningCurve, errors: StandardErrors) -> LearningCurve:
    numbers = (curve.tau, curve.train, curve.test, curve.score_error, curve.error)
    return LearningCurve(*numbers, errors, train_error=curve.train_error)


# --------------------------------------------------------------------------------------------------
# checks


def _check_model(model: RandomFeatureModel, data: Given) -> None:
    if model.covariance.has_classes:
        raise ValueError(
            "covariance must be that of data of one class for a conditional curve, which has one "
            f"weight D for all samples, got {model.covariance!r}"
        )
    if not np.isinf(model.noise_draws):
        raise ValueError(
            "noise_draws must be inf for a conditional curve, which averages over the noise, got "
            f"{model.noise_draws:g}"
        )
    if data is not None and combination(model.target, model.process).signal is not None:
        raise ValueError(
            'target must be "noise" or "score" where data are given, since what rows explain of x '
            f"is not known, got {model.target!r}"
        )
