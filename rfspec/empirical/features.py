r"""Exact feature matrices at finite d, with the noise ξ integrated out or drawn m times.

For given W and X, with ||w_i||² = dω_i², R_ij = w_i·w_j/(dω_iω_j), y_iν = αw_i·x^ν/√d and the
Hermite coefficients c_k(y; βω) of σ (``rfspec.empirical.hermite``), the expectation over ξ is

    U = Σ_k R^{∘k} ∘ (C_k C_kᵀ/n),   E[φξᵀ]_i = mean_ν c_1(y_iν) w_i/(ω_i√d),   E[φxᵀ] = C_0Xᵀ/n,

and no noise is ever drawn. With m draws U is the mean over n·m columns φ = σ(W(αx + βξ)/√d). The
test matrices Ũ, Ṽ average over noise and x. For Gaussian data the same expansion does so, of the
pre-activations α w·x/√d + β w·ξ/√d; a given data set is averaged over its held-out rows.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..models.classes import Classes
from ..models.gaussian_equivalent import GaussianEquivalent, gaussian_equivalent
from ..models.model import RandomFeatureModel
from ..models.targets import combination
from ..numerics.checks import random_key, real_scalar
from ..numerics.session import enter
from ..numerics.types import Given, Key, Matrix, Real, Vector, Whole
from .draws import Draw, Sampling, drawn
from .feature_matrices import ClassMatrices, FeatureMatrices
from .hermite import expansion, of_gaussian_data, of_samples

TOLERANCE = 1e-10  # of what the Hermite expansion may leave out of U, relative to its diagonal


def sample(
    key: Given,
    model: RandomFeatureModel,
    d: int | None = None,
    *,
    kind: str = "features",
    data: Given = None,
    held_out: Given = None,
    rows: str = "gaussian",
    tolerance: float = TOLERANCE,
) -> FeatureMatrices:
    r"""Draw the exact correlation matrices of a model at dimension d.

    Parameters
    ----------
    key : JAX random key, or int as a seed
    model : RandomFeatureModel
    d : int
        Dimension, by default the model's; n = ψ_n d and p = ψ_p d are rounded. Where it differs
        from the model's, it is the size that is drawn. With `data` it is the number of columns.
    kind : {"features", "gaussian"}
        "features": σ(Wx_t/√d), with the noise integrated out, or drawn where the model has finite
        draws of it. "gaussian": the Gaussian equivalent U = GGᵀ/n + b²FFᵀ + s²I, V = bF; with m
        draws the mean over columns G + bFξ + sω.
    data : array, shape (samples, d), optional
        Rows to train on instead of Gaussian data: n random rows train, the others test. They should
        have the covariance of the model, and mean zero.
    held_out : array, shape (samples, d), optional
        Rows to test on, with `data`, of which n random rows then train and the others go unused.
    rows : {"gaussian", "spherical"}
        Rows of W with iid entries N(0, 1), or uniform on the sphere of radius √d. The latter have
        the same limit, and all features the same variance.
    tolerance : float
        Bound, greater than 0, of what the Hermite expansion may leave out; see
        ``FeatureMatrices.error``.

    Returns
    -------
    FeatureMatrices
        ``.U .U_test`` (p, p) and ``.V .V_test`` (p, d), exact to ``.error`` and rounding.

    Raises
    ------
    ValueError
        If d is no positive integer, neither the call nor the model has one, n or p rounds to 0,
        `kind` or `rows` is unknown, the data are not finite, do not vary or have too few rows, the
        model has more than 10,000 draws of the noise, or the matrices do not fit into memory.

    Notes
    -----
    U and V are equation (2); arXiv 2505.17638 averages them over draws of the noise instead. The
    Gaussian equivalent is that of (5).

    Examples
    --------
    >>> import jax, rfspec as rf
    >>> model = rf.RandomFeatureModel(psi_p=8.0, psi_n=2.0, t=0.05)
    >>> matrices = rf.empirical.sample(jax.random.key(0), model, d=8)
    >>> matrices.U.shape, matrices.V.shape, bool(matrices.error < 1e-10)
    ((64, 64), (64, 8), True)
    """
    draw = drawn(random_key("key", key), model, Sampling(d, kind, data, rows, held_out))
    return matrices_of(model, draw, tolerance)


def matrices_of(
    model: RandomFeatureModel, draw: Draw, tolerance: float = TOLERANCE
) -> FeatureMatrices:
    enter()
    tolerance = float(real_scalar("tolerance", tolerance, above=0.0))
    ge = gaussian_equivalent(model)
    train, of_train = _over_classes(_on_training_samples, model, ge, draw, tolerance)
    test, of_test = _over_classes(_on_fresh_samples, model, ge, draw, tolerance)
    error = max(train.error, test.error)
    parts = None if of_train is None or of_test is None else ClassMatrices(*of_train, *of_test)
    return FeatureMatrices(
        model,
        train.U,
        train.V,
        test.U,
        test.V,
        error,
        draw.n,
        draw.fresh is None,
        train.untrained,
        test.untrained,
        parts,
    )


def training_correlation(
    key: Key, model: RandomFeatureModel, sampling: Sampling
) -> tuple[Matrix, Real, Whole]:
    # U as in `sample` but without Ũ, its error, and d
    draw = drawn(key, model, sampling, matrices=1)
    ge = gaussian_equivalent(model)
    train, _ = _over_classes(_on_training_samples, model, ge, draw, TOLERANCE)
    return train.U, train.error, draw.d


class Correlations(NamedTuple):
    """U, V, the loss E|y|²/d of A = 0, and the error, of the training or of the fresh samples."""

    U: Any
    V: Any
    untrained: Any
    error: float


def _over_classes(
    average: Callable[..., Correlations],
    model: RandomFeatureModel,
    ge: GaussianEquivalent,
    draw: Draw,
    tolerance: float,
) -> tuple[Correlations, tuple[Any, Any, Any] | None]:
    # correlations of all samples, and U, V and E|y|²/d of each class where the samples have classes
    mu0 = mean_feature(model, ge)
    if draw.sizes is None:
        return average(model, eqx.tree_at(lambda g: g.mu0, ge, mu0), draw, tolerance), None
    ends = np.cumsum([0, *draw.sizes])
    fractions = np.asarray(cast(Classes, model.covariance).shares)
    if average is _on_training_samples:
        fractions = np.array(draw.sizes) / draw.n
    parts = []
    for c, (first, last) in enumerate(pairwise(ends)):
        constants = eqx.tree_at(lambda g: g.mu0, jax.tree.map(lambda a, c=c: a[c], ge), mu0)
        own = eqx.tree_at(
            lambda w: (w.X, w.Omega, w.spread),
            draw,
            (draw.X[:, first:last], _columns(draw.Omega, first, last), draw.spread[c]),
            is_leaf=lambda a: a is None,
        )
        empty = first == last and average is _on_training_samples
        parts.append(_nothing(draw) if empty else average(model, constants, own, tolerance))
    stacked = lambda column: jnp.stack([jnp.asarray(a) for a in column])
    U, V, untrained = map(stacked, list(zip(*parts, strict=True))[:3])
    # a class without samples counts for nothing, and has no losses
    held = (fractions > 0)[:, None, None]
    U_of_all, V_of_all = (jnp.tensordot(fractions, jnp.where(held, a, 0.0), 1) for a in (U, V))
    size = jnp.sum(fractions * jnp.where(held[:, 0, 0], untrained, 0.0))
    error = max(part.error for part, f in zip(parts, fractions, strict=True) if f > 0)
    return Correlations(U_of_all, V_of_all, size, error), (U, V, untrained)


def _nothing(draw: Draw) -> Correlations:
    p, d = draw.W.shape
    return Correlations(jnp.full((p, p), jnp.nan), jnp.full((p, d), jnp.nan), jnp.nan, 0.0)


def _columns(Omega: Matrix | None, first: Whole, last: Whole) -> Matrix | None:
    return None if Omega is None else Omega[:, first:last]


def mean_feature(model: RandomFeatureModel, ge: GaussianEquivalent) -> Real:
    """μ0, which is subtracted from σ: over all classes where the data have classes."""
    data = model.covariance
    return jnp.sum(data.shares * ge.mu0) if isinstance(data, Classes) else ge.mu0


# Which function averages what:
#
#                                     given samples            Gaussian data of covariance Σ
#     features, noise in expectation  features_of_samples      features_of_gaussian_data
#     Gaussian equivalent, likewise   _equivalent_of_samples   _equivalent_of_gaussian_data
#     either, m draws of the noise    with_drawn_noise


def _on_training_samples(
    model: RandomFeatureModel, ge: GaussianEquivalent, draw: Draw, tolerance: float
) -> Correlations:
    if not np.isinf(model.noise_draws):
        U, V, untrained = with_drawn_noise(model, ge, draw)
        return Correlations(U, V, untrained, 0.0)
    untrained = _untrained(model, jnp.mean(draw.X**2))
    if draw.is_gaussian_equivalent:
        U, V = _equivalent_of_samples(model, ge, draw)
        return Correlations(U, V, untrained, 0.0)
    U, V, error = features_of_samples(model, draw.W, draw.X, ge.mu0, tolerance)
    return Correlations(U, V, untrained, error)


def _on_fresh_samples(
    model: RandomFeatureModel, ge: GaussianEquivalent, draw: Draw, tolerance: float
) -> Correlations:
    untrained = _untrained(
        model, jnp.mean((draw.spread if draw.fresh is None else draw.fresh) ** 2)
    )
    if draw.is_gaussian_equivalent:
        U, V = _equivalent_of_gaussian_data(model, ge, draw.W, draw.spread)
        return Correlations(U, V, untrained, 0.0)
    if draw.fresh is None:
        U, V, error = features_of_gaussian_data(model, draw.W, draw.spread, ge.mu0, tolerance)
    else:
        U, V, error = features_of_samples(model, draw.W, draw.fresh, ge.mu0, tolerance)
    return Correlations(U, V, untrained, error)


# --------------------------------------------------------------------------------------------------
# features, in expectation


def features_of_samples(
    model: RandomFeatureModel, W: Matrix, X: Matrix, mu0: Real, tolerance: float = TOLERANCE
) -> tuple[Matrix, Matrix, Real]:
    layers = expansion(model.activation, of_samples(model.process, W, X), mu0, tolerance)
    with_noise = model.process.beta / np.sqrt(W.shape[1]) * layers.slope[:, None] * W
    V = _with_target(model, with_noise, lambda: layers.mean @ X.T / X.shape[1])
    return layers.U, V, layers.error


def features_of_gaussian_data(
    model: RandomFeatureModel, W: Matrix, spread: Vector, mu0: Real, tolerance: float = TOLERANCE
) -> tuple[Matrix, Matrix, Real]:
    rows = of_gaussian_data(model.process, W, spread)
    layers = expansion(model.activation, rows, mu0, tolerance)
    alpha, beta = (
        a / np.sqrt(W.shape[1]) * layers.slope[:, None]
        for a in (model.process.alpha, model.process.beta)
    )
    V = _with_target(model, beta * W, lambda: alpha * W * spread[None, :] ** 2)
    return layers.U, V, layers.error


def _with_target(
    model: RandomFeatureModel, with_noise: Matrix, with_signal: Callable[[], Any]
) -> Matrix:
    # -E[φyᵀ] for y = c_x x + c_ξ ξ, from E[φξᵀ] and E[φxᵀ]
    y = combination(model.target, model.process)
    V = -y.noise * with_noise
    return V if y.signal is None else V - y.signal * with_signal()


def _untrained(model: RandomFeatureModel, size: Real) -> Real:
    # E|y|²/d for E|x|²/d = size
    y = combination(model.target, model.process)
    return y.noise**2 + (0.0 if y.signal is None else y.signal**2 * size)


# --------------------------------------------------------------------------------------------------
# noise that is drawn


@jax.jit
def with_drawn_noise(
    model: RandomFeatureModel, ge: GaussianEquivalent, draw: Draw
) -> tuple[Matrix, Matrix, Real]:
    # U, V and E|y|²/d as means over n·m columns
    y, (p, d), n, m = (
        combination(model.target, model.process),
        draw.W.shape,
        draw.X.shape[1],
        int(model.noise_draws),
    )
    F, process = draw.W / np.sqrt(d), model.process
    signal = process.alpha * F @ draw.X
    if draw.Omega is not None:
        signal = ge.mu1 * signal + jnp.sqrt(ge.v2) * draw.Omega

    def one(
        sums: tuple[Matrix, Matrix, Real], index: Whole
    ) -> tuple[tuple[Matrix, Matrix, Real], None]:
        xi_key, omega_key = jax.random.split(jax.random.fold_in(draw.noise, index))
        xi = jax.random.normal(xi_key, (d, n), float)
        noise = process.beta * F @ xi
        if draw.is_gaussian_equivalent:
            phi = (
                signal
                + ge.mu1 * noise
                + jnp.sqrt(ge.s2) * jax.random.normal(omega_key, (p, n), float)
            )
        else:
            phi = model.activation(signal + noise) - ge.mu0
        target = y.noise * xi if y.signal is None else y.noise * xi + y.signal * draw.X
        add = phi @ phi.T, phi @ target.T, jnp.sum(target**2)
        return tuple(a + b for a, b in zip(sums, add, strict=True)), None

    # one draw at a time, which takes the memory of one
    (U, V, square), _ = jax.lax.scan(
        one, (jnp.zeros((p, p)), jnp.zeros((p, d)), jnp.zeros(())), jnp.arange(m)
    )
    return U / (n * m), -V / (n * m), square / (n * m * d)


# --------------------------------------------------------------------------------------------------
# the Gaussian equivalent, in expectation


@jax.jit
def _equivalent_of_samples(
    model: RandomFeatureModel, ge: GaussianEquivalent, draw: Draw
) -> tuple[Matrix, Matrix]:
    assert draw.Omega is not None
    F, n = draw.W / np.sqrt(draw.W.shape[1]), draw.X.shape[1]
    G = model.process.alpha * ge.mu1 * F @ draw.X + jnp.sqrt(ge.v2) * draw.Omega
    noise = model.process.beta * ge.mu1 * F
    U = G @ G.T / n + noise @ noise.T + ge.s2 * jnp.eye(F.shape[0])
    return U, _with_target(model, noise, lambda: G @ draw.X.T / n)


@jax.jit
def _equivalent_of_gaussian_data(
    model: RandomFeatureModel, ge: GaussianEquivalent, W: Matrix, spread: Vector
) -> tuple[Matrix, Matrix]:
    F = W / np.sqrt(W.shape[1])
    spread = spread[None, :]
    signal, noise = model.process.alpha * ge.mu1 * F * spread, model.process.beta * ge.mu1 * F
    U = signal @ signal.T + noise @ noise.T + (ge.v2 + ge.s2) * jnp.eye(F.shape[0])
    return U, _with_target(model, noise, lambda: signal * spread)
