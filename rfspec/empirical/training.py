r"""Training step by step, for what is not linear: Adam,
and steps with fresh noise and mini-batches.

L_train(A) = L(0) + (ω² Tr AUAᵀ/p + 2ω Tr AV/√p)/d has the gradient (2/d)(ω²AU/p + ωVᵀ/√p),
estimated with m fresh draws ξ of the noise on each of B samples by (2ω/(dBm√p)) Σ (ωs_A(x_t) -
y)φ(x_t)ᵀ; weight decay adds 2γA/(dp) to either. The losses that are logged are exact. In the paper
y = -ξ, ω = β and γ = 0.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from tqdm import tqdm

from ..files.checkpoint import Checkpoint, fingerprint, forget, resumed, signature
from ..models.gaussian_equivalent import gaussian_equivalent
from ..models.model import RandomFeatureModel
from ..numerics.checks import integer, real_scalar
from ..numerics.session import enter
from ..numerics.types import Given, Key, Whole
from ..training.filters import LINEAR
from ..training.learning_curves import LearningCurve, StandardErrors
from .draws import drawn, sizes
from .dynamics import check_stable, gradient_flow, method, times, trajectory
from .features import FeatureMatrices, matrices_of
from .steps import Run, ascending, largest_eigenvalue, rule_of, walk

STEPWISE = ("adam", "sgd")
OPTIMIZERS = ("gradient_flow", *LINEAR, *STEPWISE)
COLUMNS = ("tau", "train", "test", "score_error", "error")  # of a learning curve


def gradient_descent(
    matrices: FeatureMatrices, steps: Given, learning_rate: float, *, progress: bool = False
) -> LearningCurve:
    r"""Losses after given numbers of plain full-batch gradient steps on A, from A = 0,
    each of them taken.

    A ← A - η∇_A L_train, with the exact gradient over data and noise. ``trajectory`` gives the same
    numbers without taking the steps.

    Parameters
    ----------
    matrices : FeatureMatrices
    steps : array of int
        Step counts k ≥ 0 at which the losses are wanted, ascending.
    learning_rate : float
        η; the iteration is stable for 2ω²ηλ_max(U + γ/ω²)/(ψ_p d²) < 2.
    progress : bool
        Show a progress bar.

    Returns
    -------
    LearningCurve
        With τ = kη/d².

    Raises
    ------
    ValueError
        If the steps are not ascending integers ≥ 0, or η is unstable (the message names the limit).
    """
    enter()
    steps, eta, _ = method(ascending(steps), learning_rate, "gd", 0.0)
    check_stable(matrices, float(largest_eigenvalue(matrices.U)), eta, "gd", 0.0)
    run = Run(matrices, None, rule_of("sgd", eta), None, None)
    return walk(run, jax.random.key(0), steps, eta, Checkpoint(None, ""), progress)


def train(
    key: Key,
    model: RandomFeatureModel,
    steps: Given,
    d: int | None = None,
    *,
    learning_rate: float,
    optimizer: str | optax.GradientTransformation = "adam",
    noise_draws: int | None = None,
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
    noise_draws : int, optional
        Fresh draws m of the noise on each sample at each step; without it the gradient is exact,
        all noise integrated out ("sgd" then takes one).
    batch_size : int, optional
        Samples drawn without replacement at each step; all n by default. Needs `noise_draws`.
    checkpoint : path, optional
        File that the state is written to every ten seconds and at each of `steps`. A run with the
        same arguments continues from it, and ends with the same bits as one that was never
        interrupted.
    progress : bool
        Show a progress bar.

    Returns
    -------
    LearningCurve
        With τ = kη/d², also for Adam.

    Raises
    ------
    ValueError
        If an argument is out of range, the optimizer is unknown, or the checkpoint belongs to
        another run.
    """
    enter()
    steps, eta = ascending(steps), float(real_scalar("learning_rate", learning_rate, above=0.0))
    if isinstance(optimizer, str) and optimizer not in STEPWISE:
        raise ValueError(
            f"optimizer must be one of {', '.join(STEPWISE)} or an optax transformation, got "
            f"{optimizer!r}"
        )
    if optimizer == "sgd" and noise_draws is None:
        noise_draws = 1
    noise_draws, batch_size = (
        positive("noise_draws", noise_draws),
        positive("batch_size", batch_size),
    )
    if noise_draws is None and batch_size is not None:
        raise ValueError("batch_size needs noise_draws: the exact gradient takes all samples")
    if noise_draws is not None and kind == "gaussian":
        raise ValueError(
            'noise_draws goes with kind="features": the Gaussian equivalent has no noise to draw'
        )
    if noise_draws is not None and not np.isinf(model.noise_draws):
        raise ValueError(
            "noise_draws, fresh at each step, goes with a model of noise_draws=inf; this one has "
            "its "
            f"{model.noise_draws:g} drawn once for all"
        )
    if checkpoint is not None and not isinstance(optimizer, str):
        raise ValueError(
            "checkpoint goes with a named optimizer: an optax transformation cannot be told from "
            "another"
        )
    walk_key = jax.random.split(key, 4)[3]  # the first three are those of the draw
    draw = drawn(key, model, d, kind=kind, data=data, rows=rows, matrices=2)
    if batch_size is not None and batch_size > draw.n:
        raise ValueError(f"batch_size must be at most n = {draw.n}, got {batch_size}")
    identity = fingerprint(
        key,
        signature(model),
        steps,
        draw.d,
        eta,
        str(optimizer),
        noise_draws,
        batch_size,
        kind,
        rows,
        data,
    )
    saved = Checkpoint(checkpoint, identity)
    saved.load()  # a foreign file is refused before the work begins
    rule = optimizer if not isinstance(optimizer, str) else rule_of(optimizer, eta)
    features = None if noise_draws is None else (draw.W, draw.X, gaussian_equivalent(model).mu0)
    run = Run(matrices_of(model, draw, kind), features, rule, noise_draws, batch_size)
    return walk(run, walk_key, steps, eta, saved, progress)


def learning_curve(
    key: Key,
    model: RandomFeatureModel,
    tau: Given,
    d: int | None = None,
    *,
    optimizer: str = "gradient_flow",
    learning_rate: float | None = None,
    momentum: float = 0.9,
    noise_draws: int | None = None,
    batch_size: int | None = None,
    kind: str = "features",
    data: Given = None,
    rows: str = "gaussian",
    repeats: int = 1,
    checkpoint: str | Path | None = None,
    progress: bool = False,
) -> LearningCurve:
    r"""Train sampled models and return their losses at times τ = kη/d², averaged over the draws.

    Parameters
    ----------
    key, model, d, kind, data, rows
        As for ``rf.empirical.sample``.
    tau : array
        Training times τ ≥ 0, rounded to whole steps unless the optimizer is gradient flow;
        ascending for "adam" and "sgd".
    optimizer : {"gradient_flow", "gd", "momentum", "nesterov", "adam", "sgd"}
        The first four exactly from one eigendecomposition, the last two step by step.
    learning_rate : float
        Step size η; of all but gradient flow.
    momentum : float
        μ of "momentum" and "nesterov".
    noise_draws, batch_size : int, optional
        Of "adam" and "sgd"; see ``rf.empirical.train``.
    repeats : int
        Independent draws of features and data; two or more give standard errors.
    checkpoint : path, optional
        File that each finished draw is kept in (and, beside it, the state of one that is trained
        step by step), so that an interrupted call with the same arguments continues there and gives
        the same bits. It stays when all is done.
    progress : bool
        Show a progress bar.

    Returns
    -------
    LearningCurve
        Means over the draws, with `standard_error` (NaN for a single draw).

    Raises
    ------
    ValueError
        If an argument is out of range or does not go with the optimizer, or η is not stable.
    """
    if optimizer not in OPTIMIZERS:
        raise ValueError(f"optimizer must be one of {', '.join(OPTIMIZERS)}, got {optimizer!r}")
    tau = times(tau)
    if (optimizer == "gradient_flow") == (learning_rate is not None):
        raise ValueError(
            f'learning_rate goes with every optimizer but "gradient_flow", got {learning_rate!r}'
        )
    if optimizer not in STEPWISE and (noise_draws is not None or batch_size is not None):
        raise ValueError(
            f"noise_draws and batch_size go with {', '.join(STEPWISE)}, got optimizer={optimizer!r}"
        )
    repeats = positive("repeats", repeats) or 1

    keys = [key] if repeats == 1 else list(jax.random.split(key, repeats))
    files = [None if checkpoint is None else Path(f"{checkpoint}.{i}") for i in range(repeats)]

    def once(i: int) -> dict[str, Any]:
        if learning_rate is not None and optimizer in STEPWISE:
            dimension = sizes(model, d if data is None else np.shape(data)[-1])[0]
            result = train(
                keys[i],
                model,
                np.round(tau * dimension**2 / learning_rate),
                d,
                optimizer=optimizer,
                learning_rate=learning_rate,
                noise_draws=noise_draws,
                batch_size=batch_size,
                kind=kind,
                data=data,
                rows=rows,
                checkpoint=files[i],
                progress=progress,
            )
            return _columns(result)
        matrices = matrices_of(
            model, drawn(keys[i], model, d, kind=kind, data=data, rows=rows, matrices=2), kind
        )
        if learning_rate is None:
            return _columns(gradient_flow(matrices, tau))
        steps = np.round(tau * matrices.d**2 / learning_rate)
        return _columns(
            trajectory(matrices, steps, learning_rate, optimizer=optimizer, momentum=momentum)
        )

    identity = fingerprint(
        key,
        signature(model),
        tau,
        d,
        optimizer,
        learning_rate,
        momentum,
        noise_draws,
        batch_size,
        kind,
        data,
        rows,
        repeats,
    )

    def bar(draws: list[Whole]) -> Any:
        return tqdm(
            draws,
            desc=optimizer,
            unit="draw",
            disable=not progress or repeats == 1,
            leave=False,
            delay=1.0,
        )

    draws = resumed(repeats, once, Checkpoint(checkpoint, identity), bar)
    for file in files:
        forget(file)
    curves = [_curve_of(draw) for draw in draws]
    return curves[0] if repeats == 1 else averaged(curves)


def _curve_of(columns: dict[str, Any]) -> LearningCurve:
    tau, train, test, score, error = (jnp.asarray(columns[name]) for name in COLUMNS)
    return LearningCurve(tau, train, test, score, error)


def _columns(curve: LearningCurve) -> dict[str, Any]:
    return {name: getattr(curve, name) for name in COLUMNS}


def averaged(curves: list[LearningCurve]) -> LearningCurve:
    """The mean of independent curves at the same τ, with its standard error."""
    columns = [
        jnp.stack(column)
        for column in zip(*((c.train, c.test, c.score_error) for c in curves), strict=True)
    ]
    train, test, score = (jnp.mean(c, axis=0) for c in columns)
    error = StandardErrors(*(jnp.std(c, axis=0, ddof=1) / np.sqrt(len(curves)) for c in columns))
    worst = jnp.max(jnp.stack([c.error for c in curves]), axis=0)
    return LearningCurve(curves[0].tau, train, test, score, worst, error)


def positive(name: str, value: Whole | None) -> int | None:
    return None if value is None else integer(name, value)
