r"""Exact trajectories of linear training methods of the sampled model, from one eigendecomposition of U.

From A = 0 every linear first-order method keeps A_k/√p = -(1/β)Vᵀh_k(U) with h_k(λ) = (1 - r_k(λ))/λ, r_k the residual
polynomial of the method at c = 2β²η/(ψ_p d²):

    gradient flow      r = exp(-2β²λτ/ψ_p)
    gradient descent   r_k = (1 - cλ)^k
    heavy ball         r_{k+1} = (1 + μ - cλ) r_k - μ r_{k-1}
    Nesterov           r_{k+1} = (1 - cλ)[(1 + μ) r_k - μ r_{k-1}],     r_0 = 1, r_1 = 1 - cλ.

With the roots z_± = 1 - ε_± of the last two recurrences, ε_+ε_- = cλ, both have the solution
1 - r_k = (ε_-(1 - z_+^{k+1}) - ε_+(1 - z_-^{k+1}))/(ε_- - ε_+), which costs the same at k = 10⁹ as at k = 10.
"""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .._checks import real_array, real_scalar
from ..learning_curves import LearningCurve, score_error
from .features import FeatureMatrices
from .memory import require

LINEAR = ("gd", "momentum", "nesterov")
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


def eigenbasis(matrices: FeatureMatrices) -> Eigenbasis:
    """Diagonalise U once.

    Parameters
    ----------
    matrices : FeatureMatrices

    Raises
    ------
    ValueError
        If the eigenvectors and what is made of them do not fit into memory.
    """
    require(4 * matrices.p**2, f"the eigenbasis of U at p = {matrices.p}", "take a smaller d, or train step by step")
    return _eigenbasis(matrices)


@jax.jit
def _eigenbasis(matrices: FeatureMatrices) -> Eigenbasis:
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

    Raises
    ------
    ValueError
        If a time is negative or not finite.
    """
    tau = times(tau)
    basis = matrices if isinstance(matrices, Eigenbasis) else eigenbasis(matrices)
    train, test = _flow(basis, tau.ravel())
    return curve(basis.matrices, tau, train.reshape(tau.shape), test.reshape(tau.shape))


def trajectory(
    matrices: FeatureMatrices | Eigenbasis,
    steps: Any,
    learning_rate: float,
    *,
    optimizer: str = "gd",
    momentum: float = 0.9,
) -> LearningCurve:
    r"""Exact losses after k full-batch steps of a linear method, at any k and any stable step size.

    Parameters
    ----------
    matrices : FeatureMatrices or Eigenbasis
    steps : array of int
        Step counts k ≥ 0, any shape and order, up to 10⁹ and beyond.
    learning_rate : float
        Step size η on A; stable for cλ_max < 2 ("gd"), 2(1 + μ) ("momentum"), 2(1 + μ)/(1 + 2μ) ("nesterov"), with
        c = 2β²η/(ψ_p d²).
    optimizer : {"gd", "momentum", "nesterov"}
        Gradient descent; heavy ball A_{k+1} = A_k - η∇L(A_k) + μ(A_k - A_{k-1}); Nesterov's method
        A_{k+1} = B_k - η∇L(B_k), B_k = A_k + μ(A_k - A_{k-1}).
    momentum : float
        μ in [0, 1), of the last two.

    Returns
    -------
    LearningCurve
        With τ = kη/d².

    Raises
    ------
    ValueError
        If a step is no integer of at least 0, the optimizer is unknown, μ is outside [0, 1), or η is not stable (the
        message names the limit).

    Examples
    --------
    >>> import jax, rfspec as rf
    >>> matrices = rf.empirical.sample(jax.random.key(0), rf.RandomFeatureModel(8.0, 2.0, 0.05), d=10)
    >>> curve = rf.empirical.trajectory(matrices, [10, 10**9], 100.0, optimizer="momentum")
    >>> bool(curve.train[1] < curve.train[0] < 1.0)
    True
    """
    steps, eta, mu = method(steps, learning_rate, optimizer, momentum)
    basis = matrices if isinstance(matrices, Eigenbasis) else eigenbasis(matrices)
    matrices = basis.matrices
    check_stable(matrices, float(basis.eigenvalues[-1]), eta, optimizer, mu)
    values = np.asarray(basis.eigenvalues)
    c = rate(matrices, eta)
    h = np.stack([_learned(c * values, k, optimizer, mu) for k in steps.ravel()]) / values
    train, test = _losses(basis, jnp.asarray(h))
    return curve(matrices, steps * eta / matrices.d**2, train.reshape(steps.shape), test.reshape(steps.shape))


# ---------------------------------------------------------------------------------------------------- checks


def method(steps: Any, learning_rate: Any, optimizer: str, momentum: Any) -> tuple[np.ndarray, float, float]:
    """Steps, η and μ, checked."""
    if optimizer not in LINEAR:
        raise ValueError(f"optimizer must be one of {', '.join(LINEAR)}, got {optimizer!r}")
    steps = counts(steps)
    mu = real_array("momentum", momentum, "a number in [0, 1)")
    if mu.ndim or not 0 <= mu < 1:
        raise ValueError(f"momentum must be a number in [0, 1), got {momentum!r}")
    return steps, float(real_scalar("learning_rate", learning_rate, above=0.0)), float(mu)


def counts(steps: Any) -> np.ndarray:
    """Step counts."""
    steps = real_array("steps", steps, "integers of at least 0")
    if not steps.size or np.any(steps != np.round(steps)) or np.any(steps < 0):
        raise ValueError(f"steps must be integers of at least 0, got {steps}")
    return steps


def times(tau: Any) -> np.ndarray:
    """Training times."""
    tau = real_array("tau", tau, "finite real numbers of at least 0")
    if tau.size and tau.min() < 0:
        raise ValueError(f"tau must be at least 0, got {tau.min()}")
    return tau


def rate(matrices: FeatureMatrices, eta: float) -> float:
    """c = 2β²η/(ψ_p d²): a step multiplies the mode λ by 1 - cλ."""
    model = matrices.model
    return 2.0 * float(model.process.beta2) * eta / (float(model.psi_p) * matrices.d**2)


def check_stable(matrices: FeatureMatrices, largest: float, eta: float, optimizer: str, mu: float) -> None:
    """Refuse a step size at which the mode of the largest eigenvalue does not shrink."""
    most = {"gd": 2.0, "momentum": 2 * (1 + mu), "nesterov": 2 * (1 + mu) / (1 + 2 * mu)}[optimizer]
    limit = most / (rate(matrices, 1.0) * largest)
    if eta >= limit:
        raise ValueError(f"learning_rate must be below {limit:.6g} to be stable for this U, got {eta:.6g}")


# ------------------------------------------------------------------------------------------ residual polynomials


def _learned(x: np.ndarray, k: float, optimizer: str, mu: float) -> np.ndarray:
    """1 - r_k at cλ = x, without cancellation where little has been learned."""
    if k == 0:
        return np.zeros_like(x)
    if optimizer == "gd":
        with np.errstate(divide="ignore"):
            power = k * np.log1p(-np.minimum(x, 2.0 - x))  # log|1 - x|
        odd = (x > 1) & (k % 2 == 1)
        return np.where(odd, 1.0 + np.exp(power), -np.expm1(power))
    if optimizer == "momentum":  # mean of ε_+ and ε_-, and the square of half their difference by its zeros
        half = (1 - mu + x) / 2
        squared = (x - (1 - np.sqrt(mu)) ** 2) * (x - (1 + np.sqrt(mu)) ** 2) / 4
    else:
        half = (1 - mu + x * (1 + mu)) / 2
        squared = (1 + mu) ** 2 * (x - 1) * (x - ((1 - mu) / (1 + mu)) ** 2) / 4
    delta = np.sqrt(squared.astype(complex))
    large = half + delta
    small = x / np.where(large == 0, 1.0, large)
    middle = 1.0 - half
    none = middle == 0  # both roots are zero where δ is
    ratio = delta / np.where(none, 1.0, middle)
    near = (np.abs(ratio) < min(0.1, 1.0 / (k + 1))) & (np.abs(delta) < 0.1 * half) & ~none
    close = _close(half, np.where(none, 1.0, middle), np.where(near, ratio, 0.0), k + 1)
    (slow, slow_lost), (fast, fast_lost) = _power(small, middle + delta, k + 1), _power(large, middle - delta, k + 1)
    between = np.where(delta == 0, 1.0, 2 * delta)
    left, learned = (large * slow - small * fast) / between, (large * slow_lost - small * fast_lost) / between
    left = np.where(near, close, left)
    return np.where(near | (np.abs(left) < 0.5), 1.0 - left, learned).real


def _power(epsilon: np.ndarray, z: np.ndarray, power: float) -> tuple[np.ndarray, np.ndarray]:
    """z^K and 1 - z^K for z = 1 - ε, of which the smaller is known better."""
    squared = np.abs(epsilon) ** 2 - 2 * epsilon.real  # |z|² - 1
    size = np.abs(z)
    with np.errstate(divide="ignore"):
        log = np.where(size < 0.5, np.log(size), np.log1p(np.maximum(squared, -0.75)) / 2)
    log, angle = power * log, power * np.angle(z)
    lost = 2 * np.exp(log) * np.sin(angle / 2) ** 2 - np.expm1(log) - 1j * np.exp(log) * np.sin(angle)
    return np.exp(log) * np.exp(1j * angle), lost


def _close(half: np.ndarray, middle: np.ndarray, ratio: np.ndarray, power: float) -> np.ndarray:
    """r_k for nearly equal roots: h (z_+^K - z_-^K)/2δ + (z_+^K + z_-^K)/2, z_± = m ± δ = √(z_+z_-) e^{±θ}."""
    with np.errstate(divide="ignore"):
        size = np.sign(middle) ** power * np.exp(power / 2 * np.log(middle**2 * (1 - (ratio**2).real)))
    tiny = np.abs(ratio) < 1e-100
    safe = np.where(tiny, 0.5 / power, ratio)
    theta = np.arctanh(safe)
    slope = np.where(tiny, power, np.sinh(power * theta) / safe) / middle  # sinh(Kθ)/δ
    return size * (half * slope + np.where(tiny, 1.0, np.cosh(power * theta)))


# ---------------------------------------------------------------------------------------------------- losses


@jax.jit
def _flow(basis: Eigenbasis, tau: Any) -> tuple[Any, Any]:
    model = basis.matrices.model
    c = 2.0 * model.process.beta2 / model.psi_p
    return _losses(basis, -jnp.expm1(-c * tau[:, None] * basis.eigenvalues) / basis.eigenvalues)


@jax.jit
def _losses(basis: Eigenbasis, h: Any) -> tuple[Any, Any]:
    """Train and test loss for each row h(Λ)."""
    d = basis.matrices.d

    def at(h: Any) -> tuple[Any, Any]:
        train = 1.0 + jnp.sum((basis.eigenvalues * h**2 - 2.0 * h) * basis.power) / d
        test = 1.0 + (h @ basis.quadratic @ h - 2.0 * jnp.sum(h * basis.cross)) / d
        return train, test

    return jax.lax.map(at, h)


def curve(matrices: FeatureMatrices, tau: Any, train: Any, test: Any) -> LearningCurve:
    """A learning curve with its rounding error: the losses sum p terms of their own size."""
    score = score_error(matrices.model, test) if matrices.gaussian_data else jnp.full(np.shape(test), jnp.nan)
    error = 64 * EPS * matrices.p * (1.0 + jnp.abs(test)) + matrices.error
    return LearningCurve(jnp.asarray(tau), train, test, score, error)
