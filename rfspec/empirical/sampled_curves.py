"""Learning curves averaged over samples, each drawn and trained exactly or step by step."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from ..files.checkpoint import Checkpoint, fingerprint, forget, resumed, signature
from ..models.model import RandomFeatureModel
from ..numerics.checks import integer, random_key
from ..numerics.types import Given, Key, Vector, Whole
from ..training.filters import LINEAR
from ..training.learning_curves import LearningCurve, StandardErrors
from .draws import Sampling, drawn, sizes
from .dynamics import checked_times, gradient_flow, trajectory
from .features import matrices_of
from .training import STEPWISE, train

OPTIMIZERS = ("gradient_flow", *LINEAR, *STEPWISE)
COLUMNS = ("tau", "train", "test", "score_error", "error")  # of a learning curve
OF_CLASSES = ("class_train", "class_test")


class Method(NamedTuple):
    """How a sample is trained: arguments of ``rf.empirical.learning_curve``, by the same names."""

    optimizer: str
    learning_rate: Given
    momentum: Given
    fresh_draws: int | None
    batch_size: int | None


def learning_curve(
    key: Given,
    model: RandomFeatureModel,
    tau: Given,
    d: int | None = None,
    *,
    optimizer: str = "gradient_flow",
    learning_rate: float | None = None,
    momentum: float = 0.9,
    fresh_draws: int | None = None,
    batch_size: int | None = None,
    kind: str = "features",
    data: Given = None,
    rows: str = "gaussian",
    repeats: int = 1,
    checkpoint: str | Path | None = None,
    progress: bool = False,
) -> LearningCurve:
    r"""Train sampled models and return their losses at times τ = kη/d², averaged over the draws.

    The sampled counterpart of ``rf.learning_curve``.

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
        Step size η > 0 on A; of all but gradient flow. (``rf.learning_curve`` takes η/d².)
    momentum : float
        μ in [0, 1), of "momentum" and "nesterov".
    fresh_draws, batch_size : int, optional
        Of "adam" and "sgd"; see ``rf.empirical.train``.
    repeats : int
        Independent draws of features and data, at least 1; two or more give standard errors.
    checkpoint : path, optional
        File that keeps each finished draw, so that an interrupted call with the same arguments
        continues there and gives the same bits. It stays when all is done. Beside it lies, until
        then, the state of a draw that is trained step by step.
    progress : bool
        Show a progress bar.

    Returns
    -------
    LearningCurve
        ``.train .test .score_error`` of τ's shape, means over the draws; `.standard_error` over the
        draws (NaN for a single one), and the rounding `.error`. Of data with classes also
        ``.class_train .class_test`` and their standard errors; "adam" and "sgd" give none.

    Raises
    ------
    ValueError
        If an argument is out of range or does not go with the optimizer, or η is not stable.

    Warns
    -----
    LongRunWarning
        Before the first of more than 100,000 steps of "adam" or "sgd".

    Notes
    -----
    The losses are (17) of each sample, at the times of arXiv 2505.17638.

    Examples
    --------
    >>> import jax, rfspec as rf
    >>> model = rf.RandomFeatureModel(psi_p=8.0, psi_n=2.0, t=0.05)
    >>> curve = rf.empirical.learning_curve(jax.random.key(0), model, [1.0, 10.0], 8, repeats=2)
    >>> bool(curve.train[1] < curve.train[0] < 1.0), curve.standard_error.test.shape
    (True, (2,))
    """
    method = Method(optimizer, learning_rate, momentum, fresh_draws, batch_size)
    _check_method(method)
    tau, repeats = checked_times(tau), integer("repeats", repeats)
    sampling = Sampling(d, kind, data, rows)
    key = random_key("key", key)
    keys = [key] if repeats == 1 else list(jax.random.split(key, repeats))
    files = [None if checkpoint is None else Path(f"{checkpoint}.{i}") for i in range(repeats)]

    def once(i: int) -> dict[str, Any]:
        if optimizer in STEPWISE:
            return _columns(_stepwise(keys[i], model, tau, sampling, method, files[i], progress))
        return _columns(_exact(keys[i], model, tau, sampling, method))

    def bar(draws: list[Whole]) -> Any:
        return tqdm(
            draws,
            desc=optimizer,
            unit="draw",
            disable=not progress or repeats == 1,
            leave=False,
            delay=1.0,
        )

    identity = fingerprint(key, signature(model), tau, sampling, method, repeats)
    draws = resumed(repeats, once, Checkpoint(checkpoint, identity), bar)
    for file in files:
        forget(file)
    curves = [_curve_of(draw) for draw in draws]
    return curves[0] if repeats == 1 else averaged(curves)


def _check_method(method: Method) -> None:
    optimizer, eta, _, fresh_draws, batch_size = method
    if optimizer not in OPTIMIZERS:
        raise ValueError(f"optimizer must be one of {', '.join(OPTIMIZERS)}, got {optimizer!r}")
    if (optimizer == "gradient_flow") == (eta is not None):
        raise ValueError(
            f'learning_rate goes with every optimizer but "gradient_flow", got {eta!r}'
        )
    if optimizer not in STEPWISE and (fresh_draws is not None or batch_size is not None):
        raise ValueError(
            f"fresh_draws and batch_size go with {', '.join(STEPWISE)}, got optimizer={optimizer!r}"
        )


def _exact(
    key: Key, model: RandomFeatureModel, tau: Vector, sampling: Sampling, method: Method
) -> LearningCurve:
    matrices = matrices_of(model, drawn(key, model, sampling))
    optimizer, eta, momentum = method[:3]
    if eta is None:
        return gradient_flow(matrices, tau)
    steps = np.round(tau * matrices.d**2 / eta)
    return trajectory(matrices, steps, eta, optimizer=optimizer, momentum=momentum)


def _stepwise(
    key: Key,
    model: RandomFeatureModel,
    tau: Vector,
    sampling: Sampling,
    method: Method,
    file: Path | None,
    progress: bool,
) -> LearningCurve:
    d, kind, data, rows, _ = sampling
    dimension = sizes(model, d if data is None else np.shape(data)[-1])[0]
    return train(
        key,
        model,
        np.round(tau * dimension**2 / method.learning_rate),
        d,
        optimizer=method.optimizer,
        learning_rate=method.learning_rate,
        fresh_draws=method.fresh_draws,
        batch_size=method.batch_size,
        kind=kind,
        data=data,
        rows=rows,
        checkpoint=file,
        progress=progress,
    )


def _curve_of(columns: dict[str, Any]) -> LearningCurve:
    tau, train, test, score, error = (jnp.asarray(columns[name]) for name in COLUMNS)
    of_classes: dict[str, Any] = {
        name: jnp.asarray(columns[name]) for name in OF_CLASSES if name in columns
    }
    return LearningCurve(tau, train, test, score, error, **of_classes)


def _columns(curve: LearningCurve) -> dict[str, Any]:
    known = {name: getattr(curve, name) for name in (*COLUMNS, *OF_CLASSES)}
    return {name: column for name, column in known.items() if column is not None}


def averaged(curves: list[LearningCurve]) -> LearningCurve:
    names = [name for name in StandardErrors._fields if getattr(curves[0], name) is not None]
    columns = {name: jnp.stack([getattr(c, name) for c in curves]) for name in names}
    mean: dict[str, Any] = {name: jnp.mean(c, axis=0) for name, c in columns.items()}
    error: dict[str, Any] = {
        name: jnp.std(c, axis=0, ddof=1) / np.sqrt(len(curves)) for name, c in columns.items()
    }
    worst = jnp.max(jnp.stack([c.error for c in curves]), axis=0)
    return LearningCurve(curves[0].tau, error=worst, standard_error=StandardErrors(**error), **mean)
