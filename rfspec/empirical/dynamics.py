r"""Exact trajectories of linear training methods of a sampled model, from one eigendecomposition.

From A = 0 every linear first-order method keeps A_k/√p = -(1/ω)Vᵀh_k(U + γ/ω²), equation (3) with
the V of a sample, which is that of -y. Here h_k(λ) = (1 - r_k(λ))/λ with r_k the residual
polynomial of the method (``rfspec.training.filters``) at c = 2ω²η/(ψ_p d²).
"""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..models.classes import Classes
from ..numerics.checks import real_array, real_scalar
from ..numerics.rounding import EPS
from ..numerics.session import enter
from ..numerics.types import Given, Matrix, Real, Reals, Vector
from ..training.exact_score import score_error
from ..training.filters import LINEAR, learned, stable_below
from ..training.learning_curves import LearningCurve
from .feature_matrices import ClassForms, FeatureMatrices
from .memory import require


class Eigenbasis(eqx.Module):
    """U = QΛQᵀ with all that the losses need of it.

    With a = QᵀV the train loss along h(Λ) is L(0) + (Σ λh²|a|² - 2Σ h|a|²)/d, and the test loss
    L(0) + (hᵀSh - 2Σ h m)/d, where S = (QᵀŨQ)∘(aaᵀ) and m_i = a_i·(QᵀṼ)_i. Where finite draws of
    the noise make fewer columns than features, some eigenvalues and their a are exactly 0.

    Attributes
    ----------
    matrices : FeatureMatrices
        What was diagonalised.
    eigenvalues : array, shape (p,)
        Λ, ascending.
    power, cross : array, shape (p,)
        |a|² and m, mode by mode.
    quadratic : array, shape (p, p)
        S.
    classes : ClassForms or None
        What the losses of each class need.
    """

    matrices: FeatureMatrices
    eigenvalues: Vector
    power: Vector
    cross: Vector
    quadratic: Matrix
    classes: ClassForms | None = None

    @property
    def rates(self) -> Vector:
        """Eigenvalues of U + γ/ω², on which the modes relax. The largest stands in place of a 0,
        where nothing is learnt.
        """
        rates = jnp.maximum(self.eigenvalues, 0.0) + self.matrices.decay
        return jnp.where(rates > 0, rates, rates[-1])


def eigenbasis(matrices: FeatureMatrices) -> Eigenbasis:
    """Diagonalise U once, for any number of trajectories.

    Parameters
    ----------
    matrices : FeatureMatrices
        As drawn by ``rf.empirical.sample``.

    Returns
    -------
    Eigenbasis
        For ``rf.empirical.gradient_flow`` and ``rf.empirical.trajectory``; its ``.eigenvalues``,
        shape (p,), are those of U to rounding.

    Raises
    ------
    ValueError
        If the eigenvectors and what is made of them do not fit into memory.

    Notes
    -----
    It holds what the losses (17) need, mode by mode.

    Examples
    --------
    >>> import jax, rfspec as rf
    >>> model = rf.RandomFeatureModel(psi_p=8.0, psi_n=2.0, t=0.05)
    >>> matrices = rf.empirical.sample(jax.random.key(0), model, d=8)
    >>> basis = rf.empirical.eigenbasis(matrices)
    >>> basis.eigenvalues.shape, basis.quadratic.shape
    ((64,), (64, 64))
    """
    enter()
    require(
        4 * matrices.p**2,
        f"the eigenbasis of U at p = {matrices.p}",
        "take a smaller d, or train step by step",
    )
    return _eigenbasis(matrices)


@jax.jit
def _eigenbasis(matrices: FeatureMatrices) -> Eigenbasis:
    values, Q = jnp.linalg.eigh(matrices.U)
    nonzero = jnp.arange(matrices.p) >= matrices.null
    values = jnp.where(nonzero, values, 0.0)
    a, a_test = jnp.where(nonzero[:, None], Q.T @ matrices.V, 0.0), Q.T @ matrices.V_test
    quadratic = (Q.T @ matrices.U_test @ Q) * (a @ a.T)
    parts = matrices.classes
    forms = lambda U, V: (
        jnp.sum(a[None] * (Q.T @ V), axis=2),
        (Q.T @ U @ Q) * (a @ a.T)[None],
    )
    of_classes = (
        None
        if parts is None
        else ClassForms(forms(parts.U, parts.V), forms(parts.U_test, parts.V_test))
    )
    return Eigenbasis(
        matrices,
        values,
        jnp.sum(a**2, axis=1),
        jnp.sum(a * a_test, axis=1),
        quadratic,
        of_classes,
    )


def gradient_flow(matrices: FeatureMatrices | Eigenbasis, tau: Given) -> LearningCurve:
    r"""Exact losses of full-batch gradient flow at times τ, dA/dτ = -d²∇_A L_train from A = 0.

    Parameters
    ----------
    matrices : FeatureMatrices or Eigenbasis
        As drawn by ``rf.empirical.sample``; an `eigenbasis` of them spares the decomposition.
    tau : array
        Times τ = kη/d² ≥ 0, any shape and order.

    Returns
    -------
    LearningCurve
        ``.train .test .score_error`` of τ's shape. `.error` holds the rounding error of the
        eigendecomposition, and what the Hermite expansion leaves out.

    Raises
    ------
    ValueError
        If a time is negative or not finite, or the eigenbasis does not fit into memory.

    Notes
    -----
    The losses are (17) with h(λ) = (1 - e^{-cλ})/λ, c = 2ω²τ/ψ_p, as in (3). The times τ are those
    of arXiv 2505.17638.

    Examples
    --------
    >>> import jax, rfspec as rf
    >>> model = rf.RandomFeatureModel(psi_p=8.0, psi_n=2.0, t=0.05)
    >>> matrices = rf.empirical.sample(jax.random.key(0), model, d=8)
    >>> curve = rf.empirical.gradient_flow(matrices, [0.0, 10.0, 1e9])
    >>> float(curve.train[0]), bool(curve.train[2] < curve.train[1] < 1.0)
    (1.0, True)
    """
    tau = checked_times(tau)
    basis = matrices if isinstance(matrices, Eigenbasis) else eigenbasis(matrices)
    losses = _flow(basis, tau.ravel())
    return curve(basis.matrices, tau, *_shaped(losses, tau.shape))


def trajectory(
    matrices: FeatureMatrices | Eigenbasis,
    steps: Given,
    learning_rate: float,
    *,
    optimizer: str = "gd",
    momentum: float = 0.9,
) -> LearningCurve:
    r"""Exact losses after k full-batch steps of a linear method, at any k and any stable step size.

    Parameters
    ----------
    matrices : FeatureMatrices or Eigenbasis
        As for ``rf.empirical.gradient_flow``.
    steps : array of int
        Step counts k ≥ 0, any shape and order, up to 10⁹ and beyond.
    learning_rate : float
        Step size η on A; stable for cλ_max < 2 ("gd"), 2(1 + μ) ("momentum"), 2(1 + μ)/(1 + 2μ)
        ("nesterov"), with c = 2ω²η/(ψ_p d²) and λ_max of U + γ/ω².
    optimizer : {"gd", "momentum", "nesterov"}
        Gradient descent; heavy ball A_{k+1} = A_k - η∇L(A_k) + μ(A_k - A_{k-1}); Nesterov's method
        A_{k+1} = B_k - η∇L(B_k), B_k = A_k + μ(A_k - A_{k-1}).
    momentum : float
        μ in [0, 1), of the last two.

    Returns
    -------
    LearningCurve
        ``.train .test .score_error`` of the steps' shape, with τ = kη/d² and their `.error`.

    Raises
    ------
    ValueError
        If a step is no integer of at least 0, the optimizer is unknown, μ is outside [0, 1), or η
        is not stable (the message names the limit).

    Notes
    -----
    The losses are (17) with h = (1 - r_k)/λ, where r_k is the residual polynomial of the method.

    Examples
    --------
    >>> import jax, rfspec as rf
    >>> model = rf.RandomFeatureModel(8.0, 2.0, 0.05)
    >>> matrices = rf.empirical.sample(jax.random.key(0), model, d=10)
    >>> curve = rf.empirical.trajectory(matrices, [10, 10**9], 100.0, optimizer="momentum")
    >>> bool(curve.train[1] < curve.train[0] < 1.0)
    True
    """
    enter()
    steps, eta, mu = checked_method(steps, learning_rate, optimizer, momentum)
    basis = matrices if isinstance(matrices, Eigenbasis) else eigenbasis(matrices)
    matrices = basis.matrices
    check_stable(matrices, float(basis.eigenvalues[-1]), eta, optimizer, mu)
    values = np.asarray(basis.rates)
    c = rate(matrices, eta)
    h = np.stack([learned(c * values, k, optimizer, mu) for k in steps.ravel()]) / values
    losses = _losses(basis, jnp.asarray(h))
    return curve(matrices, steps * eta / matrices.d**2, *_shaped(losses, steps.shape))


# --------------------------------------------------------------------------------------------------
# checks


def checked_method(
    steps: Any, learning_rate: Real, optimizer: str, momentum: Real
) -> tuple[np.ndarray, float, float]:
    if optimizer not in LINEAR:
        raise ValueError(f"optimizer must be one of {', '.join(LINEAR)}, got {optimizer!r}")
    steps = checked_counts(steps)
    mu = real_array("momentum", momentum, "a number in [0, 1)")
    if mu.ndim or not 0 <= mu < 1:
        raise ValueError(f"momentum must be a number in [0, 1), got {momentum!r}")
    return steps, float(real_scalar("learning_rate", learning_rate, above=0.0)), float(mu)


def checked_counts(steps: Any) -> np.ndarray:
    steps = real_array("steps", steps, "integers of at least 0")
    if not steps.size or np.any(steps != np.round(steps)) or np.any(steps < 0):
        raise ValueError(f"steps must be integers of at least 0, got {steps}")
    return steps


def checked_times(tau: Any) -> np.ndarray:
    tau = real_array("tau", tau, "finite real numbers of at least 0")
    if tau.size and tau.min() < 0:
        raise ValueError(f"tau must be at least 0, got {tau.min()}")
    return tau


def rate(matrices: FeatureMatrices, eta: float) -> float:
    # c = 2ω²η/(ψ_p d²): a step multiplies the mode λ of U + γ/ω² by 1 - cλ
    model = matrices.model
    return eta / (float(model.time_unit) * matrices.d**2)


def check_stable(
    matrices: FeatureMatrices, largest: float, eta: float, optimizer: str, mu: float
) -> None:
    limit = stable_below(optimizer, mu) / (rate(matrices, 1.0) * (largest + float(matrices.decay)))
    if eta >= limit:
        raise ValueError(
            f"learning_rate must be below {limit:.6g} to be stable for this U, got {eta:.6g}"
        )


# --------------------------------------------------------------------------------------------------
# losses


@jax.jit
def _flow(basis: Eigenbasis, tau: Vector) -> tuple[Any, ...]:
    model = basis.matrices.model
    c = 1.0 / model.time_unit
    rates = basis.rates[None, :]
    return _losses(basis, -jnp.expm1(-c * tau[:, None] * rates) / rates)


@jax.jit
def _losses(basis: Eigenbasis, h: Matrix) -> tuple[Any, ...]:
    # (17) for each row h(Λ), train and test, [row], and those of each class, [row, class]
    m, parts = basis.matrices, basis.classes

    def of_classes(h: Vector, forms: tuple[Matrix, Reals], untrained: Vector) -> Vector:
        cross, quadratic = forms
        return untrained + (quadratic @ h @ h - 2.0 * cross @ h) / m.d

    def of_row(h: Vector) -> tuple[Any, ...]:
        train = m.untrained + jnp.sum((basis.eigenvalues * h**2 - 2.0 * h) * basis.power) / m.d
        test = m.untrained_test + (h @ basis.quadratic @ h - 2.0 * jnp.sum(h * basis.cross)) / m.d
        if parts is None or m.classes is None:
            return train, test
        own = of_classes(h, parts.train, m.classes.untrained)
        return train, test, own, of_classes(h, parts.test, m.classes.untrained_test)

    return jax.lax.map(of_row, h)


def _shaped(losses: tuple[Any, ...], shape: tuple[int, ...]) -> tuple[Any, ...]:
    # of τ's shape, and of classes first
    train, test, *of_classes = losses
    return train.reshape(shape), test.reshape(shape), *(a.T.reshape(-1, *shape) for a in of_classes)


def curve(
    matrices: FeatureMatrices,
    tau: Reals,
    train: Reals,
    test: Reals,
    class_train: Reals | None = None,
    class_test: Reals | None = None,
) -> LearningCurve:
    data = matrices.model.covariance
    if isinstance(data, Classes) and data.counted is not None:
        train, test = (
            jnp.tensordot(data.counted, jnp.asarray(a), 1) for a in (class_train, class_test)
        )
    if matrices.gaussian_data:
        score = score_error(matrices.model, test)
    else:
        score = jnp.full(np.shape(test), jnp.nan)
    # the losses sum p terms of their own size
    rounding = 64 * EPS * matrices.p * (matrices.untrained_test + jnp.abs(test))
    error = rounding + matrices.untrained_test * matrices.error
    return LearningCurve(
        jnp.asarray(tau),
        train,
        test,
        score,
        error,
        class_train=class_train,
        class_test=class_test,
    )
