"""Training of one sample step by step, for what is not linear: Adam, fresh noise, mini-batches.

The losses that are logged are exact for the A reached.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax

from ..files.checkpoint import Checkpoint, fingerprint, signature
from ..models.classes import refuse_one_class
from ..models.gaussian_equivalent import gaussian_equivalent
from ..models.model import RandomFeatureModel
from ..numerics.checks import integer, random_key, real_scalar
from ..numerics.session import enter
from ..numerics.types import Given
from ..training.learning_curves import LearningCurve
from .draws import Sampling, drawn
from .dynamics import check_stable, checked_method
from .feature_matrices import FeatureMatrices
from .features import matrices_of, mean_feature
from .steps import Run, checked_ascending, largest_eigenvalue, rule_of, walk

STEPWISE = ("adam", "sgd")


def gradient_descent(
    matrices: FeatureMatrices, steps: Given, learning_rate: float, *, progress: bool = False
) -> LearningCurve:
    r"""Losses after k plain full-batch gradient steps A ← A - η∇_A L_train from A = 0, each taken.

    The gradient is exact over data and noise. ``rf.empirical.trajectory`` gives the same numbers
    without taking the steps.

    Parameters
    ----------
    matrices : FeatureMatrices
        As drawn by ``rf.empirical.sample``.
    steps : array of int
        Step counts k ≥ 0 at which the losses are wanted, ascending.
    learning_rate : float
        η; the iteration is stable for 2ω²ηλ_max(U + γ/ω²)/(ψ_p d²) < 2.
    progress : bool
        Show a progress bar.

    Returns
    -------
    LearningCurve
        ``.train .test .score_error`` of the steps' shape, with τ = kη/d² and their `.error`.

    Raises
    ------
    ValueError
        If the steps are not ascending integers ≥ 0, or η is unstable (the message names the limit).

    Warns
    -----
    LongRunWarning
        Before the first of more than 100,000 steps.

    Notes
    -----
    L_train is (1). Its gradient over all data and noise is (2/d)(ω²AU/p + ωVᵀ/√p) + 2γA/(dp).

    Examples
    --------
    >>> import jax, rfspec as rf
    >>> model = rf.RandomFeatureModel(psi_p=8.0, psi_n=2.0, t=0.05)
    >>> matrices = rf.empirical.sample(jax.random.key(0), model, d=8)
    >>> curve = rf.empirical.gradient_descent(matrices, [0, 10], learning_rate=10.0)
    >>> float(curve.train[0]), bool(curve.train[1] < 1.0)
    (1.0, True)
    """
    enter()
    steps, eta, _ = checked_method(checked_ascending(steps), learning_rate, "gd", 0.0)
    check_stable(matrices, float(largest_eigenvalue(matrices.U)), eta, "gd", 0.0)
    run = Run(matrices, None, rule_of("sgd", eta), None, None)
    return walk(run, jax.random.key(0), steps, eta, Checkpoint(None, ""), progress)


def train(
    key: Given,
    model: RandomFeatureModel,
    steps: Given,
    d: int | None = None,
    *,
    learning_rate: float,
    optimizer: str | optax.GradientTransformation = "adam",
    fresh_draws: int | None = None,
    batch_size: int | None = None,
    kind: str = "features",
    data: Given = None,
    rows: str = "gaussian",
    checkpoint: str | Path | None = None,
    progress: bool = False,
) -> LearningCurve:
    r"""Train one sampled model step by step from A = 0 and return its exact losses after k steps.

    Parameters
    ----------
    key, model, d, kind, data, rows
        As for ``rf.empirical.sample``, and the same draw for the same key.
    steps : array of int
        Step counts k ≥ 0 at which the losses are wanted, ascending.
    learning_rate : float
        Step size η on A; of an optax transformation it only sets the clock.
    optimizer : {"adam", "sgd"} or optax.GradientTransformation
        Adam with optax's other defaults; plain steps. A transformation is used as it is.
    fresh_draws : int, optional
        Draws m ≥ 1 of the noise on each sample, fresh at each step (``RandomFeatureModel`` has
        those that are drawn once). By default "sgd" takes one, and every other gradient is exact,
        the noise integrated out.
    batch_size : int, optional
        Samples, from 1 to n, drawn without replacement at each step; all n by default. Needs
        `fresh_draws`.
    checkpoint : path, optional
        File that the state is written to every ten seconds and at each of `steps`. A run with the
        same arguments continues from it, and ends with the same bits as one that was never
        interrupted.
    progress : bool
        Show a progress bar.

    Returns
    -------
    LearningCurve
        ``.train .test .score_error`` of the steps' shape, exact for the A reached, with τ = kη/d²,
        also for Adam. `.error` is their rounding error.

    Raises
    ------
    ValueError
        If an argument is out of range, the optimizer is unknown, or the checkpoint belongs to
        another run.

    Warns
    -----
    LongRunWarning
        Before the first of more than 100,000 steps.

    Notes
    -----
    L_train is (1). With m draws on each of B samples its gradient is estimated by
    (2ω/(dBm√p)) Σ (ωAφ(x_t)/√p - y)φ(x_t)ᵀ; weight decay adds 2γA/(dp).

    Examples
    --------
    >>> import jax, rfspec as rf
    >>> model = rf.RandomFeatureModel(psi_p=8.0, psi_n=2.0, t=0.05)
    >>> curve = rf.empirical.train(jax.random.key(0), model, [0, 20], 8, learning_rate=0.1)
    >>> float(curve.train[0]), bool(curve.train[1] < 1.0)
    (1.0, True)
    """
    enter()
    steps = checked_ascending(steps)
    eta = float(real_scalar("learning_rate", learning_rate, above=0.0))
    _check_optimizer(optimizer, checkpoint)
    draws, batch = _checked_draws(optimizer, fresh_draws, batch_size)
    if draws is not None:
        _check_noise_is_fresh(model, kind)
    sampling = Sampling(d, kind, data, rows)
    key = random_key("key", key)
    refuse_one_class(model, "training step by step")
    draw = drawn(key, model, sampling)
    if batch is not None and batch > draw.n:
        raise ValueError(f"batch_size must be at most n = {draw.n}, got {batch}")
    sampling, method = sampling._replace(d=draw.d), (str(optimizer), eta, draws, batch)
    saved = Checkpoint(checkpoint, fingerprint(key, signature(model), steps, sampling, method))
    saved.load()  # a foreign file is refused before the work begins
    rule = optimizer if not isinstance(optimizer, str) else rule_of(optimizer, eta)
    mu0 = mean_feature(model, gaussian_equivalent(model))
    features = None if draws is None else (draw.W, draw.X, mu0)
    run = Run(matrices_of(model, draw), features, rule, draws, batch)
    # the draw has used the first three keys
    walk_key = jax.random.split(key, 4)[3]
    return walk(run, walk_key, steps, eta, saved, progress)


def _check_optimizer(optimizer: Any, checkpoint: str | Path | None) -> None:
    if isinstance(optimizer, str):
        if optimizer not in STEPWISE:
            raise ValueError(
                f"optimizer must be one of {', '.join(STEPWISE)} or an optax transformation, got "
                f"{optimizer!r}"
            )
    elif checkpoint is not None:
        raise ValueError(
            "checkpoint goes with a named optimizer: an optax transformation cannot be told from "
            "another"
        )


def _checked_draws(
    optimizer: Any, fresh_draws: int | None, batch_size: int | None
) -> tuple[int | None, int | None]:
    if isinstance(optimizer, str) and optimizer == "sgd" and fresh_draws is None:
        fresh_draws = 1
    draws = None if fresh_draws is None else integer("fresh_draws", fresh_draws)
    batch = None if batch_size is None else integer("batch_size", batch_size)
    if draws is None and batch is not None:
        raise ValueError("batch_size needs fresh_draws: the exact gradient takes all samples")
    return draws, batch


def _check_noise_is_fresh(model: RandomFeatureModel, kind: str) -> None:
    if kind == "gaussian":
        raise ValueError(
            'fresh_draws goes with kind="features": the Gaussian equivalent has no noise to draw'
        )
    if not np.isinf(model.noise_draws):
        raise ValueError(
            "fresh_draws goes with a model of noise_draws=inf; this one has "
            f"its {model.noise_draws:g} drawn once for all"
        )
