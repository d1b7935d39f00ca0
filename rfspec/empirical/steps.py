"""Steps of training, compiled in chunks, and resumed from a checkpoint to the same bits."""

from __future__ import annotations

import sys
import time
import warnings
from functools import lru_cache, partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from tqdm import tqdm

from ..files.checkpoint import Checkpoint
from ..models.targets import combination
from ..numerics.checks import level_of_the_caller
from ..numerics.types import Key, Matrix, Real, Whole
from ..training.learning_curves import LearningCurve
from .dynamics import checked_counts, curve
from .feature_matrices import FeatureMatrices

SAVE_EVERY = 10.0  # seconds between checkpoints
MOST_STEPS = 2.0**53  # doubles miss whole numbers above it
CHUNK = 1.0  # seconds of steps between looks at the clock
MANY_STEPS = 10**5  # more of them are announced


class LongRunWarning(UserWarning):
    """Training takes so many steps one by one that it may last for hours."""


class Run(eqx.Module):
    """What a step needs: exact matrices for the losses, and (W, X, μ0) where the noise is drawn."""

    matrices: FeatureMatrices
    features: tuple[Matrix, Matrix, Real] | None
    rule: optax.GradientTransformation = eqx.field(static=True)
    fresh_draws: int | None = eqx.field(static=True)
    batch_size: int | None = eqx.field(static=True)

    def gradient(self, key: Key, A: Matrix) -> Matrix:
        # of the train loss (1), exact or estimated
        m = self.matrices
        model, scale = m.model, jnp.sqrt(m.p)
        omega, y = jnp.sqrt(model.pace), combination(model.target, model.process)
        shrink = 2.0 * model.weight_decay / (m.d * m.p) * A
        if self.features is None:
            return 2.0 / m.d * (omega**2 * A @ m.U / m.p + omega * m.V.T / scale) + shrink
        W, X, mu0 = self.features
        batch_key, noise_key = jax.random.split(key)
        if self.batch_size is not None:
            X = X[:, jax.random.choice(batch_key, m.n, (self.batch_size,), replace=False)]
        X = jnp.tile(X, (1, self.fresh_draws or 1))
        xi = jax.random.normal(noise_key, X.shape)
        noisy = model.process.alpha * X + model.process.beta * xi
        phi = model.activation(W @ noisy / jnp.sqrt(m.d)) - mu0
        residual = omega * A @ phi / scale - y.noise * xi
        if y.signal is not None:
            residual = residual - y.signal * X
        return 2.0 * omega / (m.d * X.shape[1] * scale) * residual @ phi.T + shrink


@lru_cache(maxsize=64)
def rule_of(name: str, eta: float) -> optax.GradientTransformation:
    # one object for each rule and rate, so that runs of the same share a compilation
    return getattr(optax, name)(eta)


@partial(jax.jit, donate_argnums=(2,))
def _steps(run: Run, key: Key, state: Any, first: Whole, last: Whole) -> Any:
    # first ≤ k < last; a step's key is its number's, so that any cut of a run gives the same bits
    def step(k: Whole, state: Any) -> Any:
        A, memory = state
        update, memory = run.rule.update(run.gradient(jax.random.fold_in(key, k), A), memory, A)
        return optax.apply_updates(A, update), memory

    return jax.lax.fori_loop(first, last, step, state)


@jax.jit
def _losses(matrices: FeatureMatrices, A: Matrix) -> tuple[Real, Real]:
    # L(0) + (ω² Tr AUAᵀ/p + 2ω Tr AV/√p)/d, V being that of -y
    omega, scale, m = jnp.sqrt(matrices.model.pace), jnp.sqrt(matrices.p), matrices

    def loss(start: Real, U: Matrix, V: Matrix) -> Real:
        return (
            start
            + (omega**2 / m.p * jnp.sum((A @ U) * A) + 2 * omega / scale * jnp.sum(A * V.T)) / m.d
        )

    return loss(m.untrained, m.U, m.V), loss(m.untrained_test, m.U_test, m.V_test)


def walk(
    run: Run, key: Key, steps: np.ndarray, eta: float, checkpoint: Checkpoint, progress: bool
) -> LearningCurve:
    matrices, steps = run.matrices, steps.astype(int)
    A = jnp.zeros((matrices.d, matrices.p))
    state = (A, run.rule.init(A))
    state, losses, done = _resumed(state, checkpoint)
    _announce(int(steps[-1]) - done)

    def save() -> None:
        leaves = {f"leaf{i}": leaf for i, leaf in enumerate(jax.tree.leaves(state))}
        checkpoint.replace({"losses": losses, "done": done, **leaves})

    chunk, last_save = 1, time.monotonic()
    with tqdm(
        total=int(steps[-1]),
        initial=done,
        desc="steps",
        disable=not progress,
        leave=False,
        delay=1.0,
    ) as bar:
        for k in steps[len(losses) :]:
            while done < k:
                start, count = time.monotonic(), min(chunk, k - done)
                state = jax.block_until_ready(_steps(run, key, state, done, done + count))
                done += count
                bar.update(count)
                now = time.monotonic()
                if now - start < CHUNK / 2 and count == chunk:
                    chunk *= 2
                if now - last_save > SAVE_EVERY:
                    save()
                    last_save = now
            losses = np.concatenate([losses, [[float(v) for v in _losses(matrices, state[0])]]])
            if checkpoint.path is not None and time.monotonic() - last_save > CHUNK:
                save()
                last_save = time.monotonic()
    save()
    return curve(
        matrices, steps * eta / matrices.d**2, jnp.asarray(losses[:, 0]), jnp.asarray(losses[:, 1])
    )


def _announce(steps: int) -> None:
    if steps > MANY_STEPS:
        warnings.warn(
            f"{steps:,} steps are taken one by one: a larger learning_rate or a smaller last time "
            "needs fewer, and a checkpoint (--out of the command) keeps what is done",
            LongRunWarning,
            stacklevel=level_of_the_caller(sys._getframe()),
        )


def _resumed(state: Any, checkpoint: Checkpoint) -> tuple[Any, np.ndarray, int]:
    records = checkpoint.load()
    if not records:
        return state, np.zeros((0, 2)), 0
    saved = records[-1]
    leaves = [jnp.asarray(saved[f"leaf{i}"]) for i in range(len(jax.tree.leaves(state)))]
    state = jax.tree.unflatten(jax.tree.structure(state), leaves)
    return state, saved["losses"], int(saved["done"])


@partial(jax.jit, static_argnames="iterations")
def largest_eigenvalue(U: Matrix, iterations: int = 100) -> Real:
    # by power iteration, rounded up by a percent
    v = jnp.ones(U.shape[0]) / jnp.sqrt(U.shape[0]) + jnp.cos(jnp.arange(U.shape[0]))
    v = jax.lax.fori_loop(0, iterations, lambda _, v: U @ (v / jnp.linalg.norm(v)), v)
    return 1.01 * jnp.linalg.norm(v)


def checked_ascending(steps: Any) -> np.ndarray:
    steps = checked_counts(steps)
    if steps.ndim != 1 or np.any(np.diff(steps) < 0):
        raise ValueError(f"steps must be ascending integers of at least 0, got {steps}")
    if steps[-1] > MOST_STEPS:
        raise ValueError(
            f"steps must be at most {MOST_STEPS:g} where each is taken, got {steps[-1]:g}"
        )
    return steps
