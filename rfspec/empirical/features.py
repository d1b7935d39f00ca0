r"""Exact feature matrices at finite d, with the noise ξ integrated out,
or drawn m times for each sample.

For given W and X, with ||w_i||² = dω_i², R_ij = w_i·w_j/(dω_iω_j), y_iν = αw_i·x^ν/√d and the
Hermite coefficients c_k(y; βω) of σ (``rfspec.empirical.hermite``), the expectation over ξ is

    U = Σ_k R^{∘k} ∘ (C_k C_kᵀ/n),   E[φξᵀ]_i = mean_ν c_1(y_iν) w_i/(ω_i√d),   E[φxᵀ] = C_0Xᵀ/n,

and no noise is ever drawn. With m draws it is the mean over n·m columns φ = σ(W(αx + βξ)/√d). The
test matrices Ũ, Ṽ average noise and x: for Gaussian data by the same expansion of the
pre-activations α w·x/√d + β w·ξ/√d, for a given data set over its held-out rows.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..models.gaussian_equivalent import GaussianEquivalent, gaussian_equivalent
from ..models.model import RandomFeatureModel
from ..models.targets import combination
from ..numerics.checks import real_scalar
from ..numerics.session import enter
from ..numerics.types import Given, Key, Matrix, Real, Vector, Whole
from .draws import Draw, drawn
from .hermite import expansion, fresh, given

TOLERANCE = 1e-10  # of what the Hermite expansion may leave out of U, relative to its diagonal


class FeatureMatrices(eqx.Module):
    r"""Correlation matrices (2) of one draw of features and data.

    Attributes
    ----------
    U, U_test : array, shape (p, p)
        E[φφᵀ] over noise and the n training samples, and over noise and fresh samples; the noise of
        U is that which was drawn where the model has finite draws of it.
    V, V_test : array, shape (p, d)
        -E[φyᵀ] likewise, y the model's target: E[φξᵀ] for the noise, y = -ξ.
    error : float
        Bound of what the Hermite expansion leaves out of U and Ũ: Frobenius norm over √p, relative
        to the mean of the diagonal. The layers are as many as it takes to bring it under the
        tolerance, 64 at most.
    n : int
        Training samples.
    gaussian_data : bool
        Whether the fresh samples are Gaussian, so that the test loss gives the score error.
    untrained, untrained_test : float
        E|y|²/d, the losses of A = 0: 1 for the noise.
    """

    model: RandomFeatureModel
    U: Matrix
    V: Matrix
    U_test: Matrix
    V_test: Matrix
    error: Real
    n: int = eqx.field(static=True)
    gaussian_data: bool = eqx.field(static=True)
    untrained: Real = 1.0
    untrained_test: Real = 1.0

    @property
    def p(self) -> int:
        """Features."""
        return int(self.U.shape[0])

    @property
    def d(self) -> int:
        """Dimension of the data."""
        return int(self.V.shape[1])

    @property
    def null(self) -> int:
        """Eigenvalues of U that are 0 because there are fewer columns than features."""
        draws = self.model.noise_draws
        return 0 if np.isinf(draws) else max(0, self.p - int(draws) * self.n)

    @property
    def decay(self) -> Real:
        """What weight decay adds to U in training: γ/ω²."""
        return self.model.weight_decay / self.model.pace


def sample(
    key: Key,
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
    key : JAX random key
    model : RandomFeatureModel
    d : int
        Dimension; n = ψ_n d and p = ψ_p d are rounded. With `data` it is the number of columns.
    kind : {"features", "gaussian"}
        "features": σ(Wx_t/√d) with the noise integrated out, or drawn, as in the module's
        docstring. "gaussian": the Gaussian equivalent U = GGᵀ/n + b²FFᵀ + s²I, V = bF; with m draws
        the mean over columns G + bFξ + sω.
    data : array, shape (samples, d), optional
        Rows to train on instead of Gaussian data: n random rows train, the others test. Its
        covariance should be that of the model, and its mean zero.
    held_out : array, shape (samples, d), optional
        Rows to test on, with `data`, of which n random rows then train and the others go unused.
    rows : {"gaussian", "spherical"}
        Rows of W with iid entries N(0, 1), or uniform on the sphere of radius √d, which has the
        same limit and no spread of the features' variances.
    tolerance : float
        Bound of what the Hermite expansion may leave out; see ``FeatureMatrices.error``.

    Returns
    -------
    FeatureMatrices
        ``.U .V .U_test .V_test`` and ``.error``.

    Raises
    ------
    ValueError
        If d is no positive integer, n or p rounds to 0, `kind` or `rows` is unknown, the data are
        not finite, do not vary or have too few rows, the model has more than 10,000 draws of the
        noise, or the matrices do not fit into memory.

    Notes
    -----
    Beyond arXiv 2505.17638, which averages over draws of the noise.
    """
    draw = drawn(key, model, d, kind=kind, data=data, held_out=held_out, rows=rows, matrices=2)
    return matrices_of(model, draw, kind, tolerance)


def matrices_of(
    model: RandomFeatureModel, draw: Draw, kind: str, tolerance: float = TOLERANCE
) -> FeatureMatrices:
    """The matrices of what was drawn."""
    enter()
    tolerance, ge = (
        float(real_scalar("tolerance", tolerance, above=0.0)),
        gaussian_equivalent(model),
    )
    U, V, untrained, error = _training(model, ge, draw, kind, tolerance)
    U_test, V_test, untrained_test, error_test = _testing(model, ge, draw, kind, tolerance)
    error = max(error, error_test)
    return FeatureMatrices(
        model, U, V, U_test, V_test, error, draw.n, draw.fresh is None, untrained, untrained_test
    )


# U, V, the loss of A = 0, and the bound of what the expansion leaves out
Side = tuple[Any, Any, Any, float]


def _training(
    model: RandomFeatureModel, ge: GaussianEquivalent, draw: Draw, kind: str, tolerance: float
) -> Side:
    if not np.isinf(model.noise_draws):
        return *_of_draws(model, ge, draw, kind == "gaussian"), 0.0
    untrained = _untrained(model, jnp.mean(draw.X**2))
    if kind == "gaussian":
        return *_gaussian(model, ge, draw), untrained, 0.0
    U, V, error = _trained(model, draw.W, draw.X, ge.mu0, tolerance)
    return U, V, untrained, error


def _testing(
    model: RandomFeatureModel, ge: GaussianEquivalent, draw: Draw, kind: str, tolerance: float
) -> Side:
    untrained = _untrained(
        model, jnp.mean((draw.spread if draw.fresh is None else draw.fresh) ** 2)
    )
    if kind == "gaussian":
        return *_gaussian_population(model, ge, draw.W, draw.spread), untrained, 0.0
    if draw.fresh is None:
        U, V, error = _population(model, draw.W, draw.spread, ge.mu0, tolerance)
    else:
        U, V, error = _trained(model, draw.W, draw.fresh, ge.mu0, tolerance)
    return U, V, untrained, error


def correlation(
    key: Key,
    model: RandomFeatureModel,
    d: int | None = None,
    *,
    kind: str = "features",
    data: Matrix | None = None,
    rows: str = "gaussian",
    tolerance: float = TOLERANCE,
) -> tuple[Matrix, Real, Whole]:
    """U alone, the same as in ``sample`` for the same arguments, the bound of what it leaves out,
    and d.
    """
    draw = drawn(key, model, d, kind=kind, data=data, rows=rows, matrices=1)
    tolerance = float(real_scalar("tolerance", tolerance, above=0.0))
    U, _, _, error = _training(model, gaussian_equivalent(model), draw, kind, tolerance)
    return U, error, draw.d


# -------------------------------------------------------------------------------------------
# features, in expectation


def _trained(
    model: RandomFeatureModel, W: Matrix, X: Matrix, mu0: Real, tolerance: float = TOLERANCE
) -> tuple[Matrix, Matrix, Real]:
    """U and V for the columns of X, noise integrated out,
    and the bound of what the layers leave out.
    """
    found = expansion(model.activation, given(model.process, W, X), mu0, tolerance)
    with_noise = model.process.beta / np.sqrt(W.shape[1]) * found.slope[:, None] * W
    return found.U, _against(model, with_noise, lambda: found.mean @ X.T / X.shape[1]), found.error


def _population(
    model: RandomFeatureModel, W: Matrix, spread: Vector, mu0: Real, tolerance: float = TOLERANCE
) -> tuple[Matrix, Matrix, Real]:
    """Ũ and Ṽ for Gaussian data with covariance diag(spread²): one layer of noise,
    x and ξ together.
    """
    found = expansion(model.activation, fresh(model.process, W, spread), mu0, tolerance)
    alpha, beta = (
        a / np.sqrt(W.shape[1]) * found.slope[:, None]
        for a in (model.process.alpha, model.process.beta)
    )
    return found.U, _against(model, beta * W, lambda: alpha * W * spread[None, :] ** 2), found.error


def _against(
    model: RandomFeatureModel, with_noise: Matrix, with_signal: Callable[[], Any]
) -> Matrix:
    """-E[φyᵀ] for the target y = c_x x + c_ξ ξ, from E[φξᵀ] and E[φxᵀ]."""
    y = combination(model.target, model.process)
    V = -y.noise * with_noise
    return V if y.signal is None else V - y.signal * with_signal()


def _untrained(model: RandomFeatureModel, size: Real) -> Real:
    """E|y|²/d for E|x|²/d = size and the noise in expectation."""
    y = combination(model.target, model.process)
    return y.noise**2 + (0.0 if y.signal is None else y.signal**2 * size)


# --------------------------------------------------------------------------------------------------
# noise that is drawn


@partial(jax.jit, static_argnames="gaussian")
def _of_draws(
    model: RandomFeatureModel, ge: GaussianEquivalent, draw: Draw, gaussian: bool
) -> tuple[Matrix, Matrix, Real]:
    """U, V and E|y|²/d as means over n·m columns, one draw of the noise at a time."""
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
        noise_key, rest_key = jax.random.split(jax.random.fold_in(draw.noise, index))
        xi = jax.random.normal(noise_key, (d, n), float)
        seen = process.beta * F @ xi
        if gaussian:
            phi = (
                signal
                + ge.mu1 * seen
                + jnp.sqrt(ge.s2) * jax.random.normal(rest_key, (p, n), float)
            )
        else:
            phi = model.activation(signal + seen) - ge.mu0
        target = y.noise * xi if y.signal is None else y.noise * xi + y.signal * draw.X
        add = phi @ phi.T, phi @ target.T, jnp.sum(target**2)
        return tuple(a + b for a, b in zip(sums, add, strict=True)), None

    (U, V, square), _ = jax.lax.scan(
        one, (jnp.zeros((p, p)), jnp.zeros((p, d)), jnp.zeros(())), jnp.arange(m)
    )
    return U / (n * m), -V / (n * m), square / (n * m * d)


# ---------------------------------------------------------- the Gaussian equivalent, in expectation


@jax.jit
def _gaussian(
    model: RandomFeatureModel, ge: GaussianEquivalent, draw: Draw
) -> tuple[Matrix, Matrix]:
    """U and V for the samples drawn."""
    assert draw.Omega is not None
    F, n = draw.W / np.sqrt(draw.W.shape[1]), draw.X.shape[1]
    G = model.process.alpha * ge.mu1 * F @ draw.X + jnp.sqrt(ge.v2) * draw.Omega
    noise = model.process.beta * ge.mu1 * F
    U = G @ G.T / n + noise @ noise.T + ge.s2 * jnp.eye(F.shape[0])
    return U, _against(model, noise, lambda: G @ draw.X.T / n)


@jax.jit
def _gaussian_population(
    model: RandomFeatureModel, ge: GaussianEquivalent, W: Matrix, spread: Vector
) -> tuple[Matrix, Matrix]:
    """Ũ and Ṽ, fresh samples of covariance diag(spread²)."""
    F = W / np.sqrt(W.shape[1])
    spread = spread[None, :]
    signal, noise = model.process.alpha * ge.mu1 * F * spread, model.process.beta * ge.mu1 * F
    U = signal @ signal.T + noise @ noise.T + (ge.v2 + ge.s2) * jnp.eye(F.shape[0])
    return U, _against(model, noise, lambda: signal * spread)
