r"""Full-batch training of the sampled model: exactly in the eigenbasis of U, and step by step.

Gradient flow from A = 0 keeps A(τ)/√p = -(1/β)Vᵀh_τ(U) with h_τ(λ) = (1 - e^{-2β²λτ/ψ_p})/λ, so one
eigendecomposition gives the losses at every τ. Gradient descent takes real steps, and lands on it as η → 0.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from .._checks import real_array, real_scalar
from ..learning_curves import LearningCurve, score_error
from ..model import RandomFeatureModel
from .features import FeatureMatrices, sample

OPTIMIZERS = ("gradient_flow", "gd")
EPS = float(np.finfo(float).eps)


class Eigenbasis(eqx.Module):
    """U = QΛQᵀ with everything the losses need, reduced to p numbers and one p×p matrix.

    With a = QᵀV the losses along h(Λ) are 1 + (Σ λh²|a|² - 2Σ h|a|²)/d and 1 + (hᵀSh - 2Σ h m)/d, where
    S = (QᵀŨQ)∘(aaᵀ) and m_i = a_i·(QᵀṼ)_i.
    """

    matrices: FeatureMatrices
    eigenvalues: Any
    power: Any
    cross: Any
    quadratic: Any


@jax.jit
def eigenbasis(matrices: FeatureMatrices) -> Eigenbasis:
    """Diagonalise U once."""
    values, Q = jnp.linalg.eigh(matrices.U)
    a, a_test = Q.T @ matrices.V, Q.T @ matrices.V_test
    quadratic = (Q.T @ matrices.U_test @ Q) * (a @ a.T)
    return Eigenbasis(matrices, values, jnp.sum(a**2, axis=1), jnp.sum(a * a_test, axis=1), quadratic)


def gradient_flow(matrices: FeatureMatrices | Eigenbasis, tau: Any) -> LearningCurve:
    r"""Exact losses of full-batch gradient flow at times τ.

    Parameters
    ----------
    matrices : FeatureMatrices or Eigenbasis
        As drawn by ``rf.empirical.sample``; an `eigenbasis` of them spares the decomposition.
    tau : array
        Times τ = kη/d² ≥ 0, any shape and order.

    Returns
    -------
    LearningCurve
        `error` holds the rounding error of the eigendecomposition.
    """
    tau = _times(tau)
    basis = matrices if isinstance(matrices, Eigenbasis) else eigenbasis(matrices)
    train, test = _flow(basis, tau.ravel())
    return _curve(basis.matrices, tau, train.reshape(tau.shape), test.reshape(tau.shape))


@jax.jit
def _flow(basis: Eigenbasis, tau: Any) -> tuple[Any, Any]:
    model, d = basis.matrices.model, basis.matrices.d
    rate = 2.0 * model.process.beta2 / model.psi_p

    def at(tau: Any) -> tuple[Any, Any]:
        values = basis.eigenvalues
        h = -jnp.expm1(-rate * values * tau) / values
        train = 1.0 + jnp.sum((values * h**2 - 2.0 * h) * basis.power) / d
        test = 1.0 + (h @ basis.quadratic @ h - 2.0 * jnp.sum(h * basis.cross)) / d
        return train, test

    return jax.lax.map(at, tau)


def gradient_descent(
    matrices: FeatureMatrices, steps: Any, learning_rate: float, *, progress: bool = False
) -> LearningCurve:
    r"""Losses after given numbers of plain full-batch gradient steps on A, from A = 0.

    A ← A - η∇_A L_train, with the exact gradient over data and noise.

    Parameters
    ----------
    matrices : FeatureMatrices
    steps : array of int
        Step counts k ≥ 0 at which the losses are wanted, ascending.
    learning_rate : float
        η; the iteration is stable for 2β²ηλ_max(U)/(ψ_p d²) < 2.
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
    eta = float(real_scalar("learning_rate", learning_rate, above=0.0))
    steps = real_array("steps", steps, "ascending integers of at least 0")
    if (
        steps.ndim != 1
        or not steps.size
        or np.any(steps != np.round(steps))
        or steps[0] < 0
        or np.any(np.diff(steps) < 0)
    ):
        raise ValueError(f"steps must be ascending integers of at least 0, got {steps}")
    model, d = matrices.model, matrices.d
    top = float(_largest(matrices.U))
    limit = float(model.psi_p * d**2 / (model.process.beta2 * top))
    if eta >= limit:
        raise ValueError(f"learning_rate must be below {limit:.6g} to be stable for this U, got {eta:.6g}")
    rate = 2.0 * float(model.process.beta2) * eta / (float(model.psi_p) * d**2)
    beta = float(model.process.beta)
    M = jnp.zeros((d, matrices.p))  # A/√p
    losses, done = [], 0
    for k in tqdm(steps.astype(int), desc="gradient descent", disable=not progress, leave=False):
        M = _steps(matrices, M, rate, beta, int(k) - done)
        losses.append(_losses(matrices, M, beta))
        done = int(k)
    train, test = (jnp.stack(column) for column in zip(*losses, strict=True))
    return _curve(matrices, steps * eta / d**2, train, test)


@jax.jit
def _steps(matrices: FeatureMatrices, M: Any, rate: Any, beta: Any, count: Any) -> Any:
    push = rate / beta * matrices.V.T
    return jax.lax.fori_loop(0, count, lambda _, M: M - rate * (M @ matrices.U) - push, M)


@jax.jit
def _losses(matrices: FeatureMatrices, M: Any, beta: Any) -> tuple[Any, Any]:
    d = matrices.d

    def loss(U: Any, V: Any) -> Any:
        return 1.0 + (beta**2 * jnp.sum((M @ U) * M) + 2 * beta * jnp.sum(M * V.T)) / d

    return loss(matrices.U, matrices.V), loss(matrices.U_test, matrices.V_test)


@partial(jax.jit, static_argnames="iterations")
def _largest(U: Any, iterations: int = 100) -> Any:
    """Largest eigenvalue by power iteration, rounded up by a percent."""
    v = jnp.ones(U.shape[0]) / jnp.sqrt(U.shape[0]) + jnp.cos(jnp.arange(U.shape[0]))
    v = jax.lax.fori_loop(0, iterations, lambda _, v: U @ (v / jnp.linalg.norm(v)), v)
    return 1.01 * jnp.linalg.norm(v)


def learning_curve(
    key: Any,
    model: RandomFeatureModel,
    tau: Any,
    d: int | None = None,
    *,
    optimizer: str = "gradient_flow",
    learning_rate: float | None = None,
    kind: str = "features",
    data: Any = None,
) -> LearningCurve:
    r"""Train one sampled model and return its losses at times τ.

    Parameters
    ----------
    key, model, d, kind, data
        As for ``rf.empirical.sample``.
    tau : array
        Training times τ = kη/d² ≥ 0; for "gd" rounded to whole steps, ascending.
    optimizer : {"gradient_flow", "gd"}
    learning_rate : float
        Step size η of "gd".

    Returns
    -------
    LearningCurve
    """
    if optimizer not in OPTIMIZERS:
        raise ValueError(f"optimizer must be one of {', '.join(OPTIMIZERS)}, got {optimizer!r}")
    tau = _times(tau)
    if (optimizer == "gd") != (learning_rate is not None):
        raise ValueError(f'learning_rate goes with optimizer="gd" and only with it, got {learning_rate!r}')
    matrices = sample(key, model, d, kind=kind, data=data)
    if learning_rate is None:
        return gradient_flow(matrices, tau)
    return gradient_descent(matrices, np.round(tau * matrices.d**2 / learning_rate), learning_rate)


def _times(tau: Any) -> np.ndarray:
    tau = real_array("tau", tau, "finite real numbers of at least 0")
    if tau.size and tau.min() < 0:
        raise ValueError(f"tau must be at least 0, got {tau.min()}")
    return tau


def _curve(matrices: FeatureMatrices, tau: Any, train: Any, test: Any) -> LearningCurve:
    model = matrices.model
    score = score_error(model, test) if matrices.gaussian_data else jnp.full(np.shape(test), jnp.nan)
    # the losses sum p terms of the size of the loss and of λ_max h² ≤ λ_max (cτ)²
    error = 64 * EPS * matrices.p * (1.0 + jnp.abs(test)) + matrices.error
    return LearningCurve(jnp.asarray(tau), train, test, score, error)
