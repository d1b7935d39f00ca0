r"""Exact feature matrices at finite d, with the noise ξ integrated out by its Hermite expansion.

For given W and X, with ||w_i||² = dω_i², R_ij = w_i·w_j/(dω_iω_j), y_iν = αw_i·x^ν/√d and
c_k(y; ω) = E_w[σ(y + βωw) He_k(w)]/√k!,

    U   = Σ_k R^{∘k} ∘ (C_k C_kᵀ/n),   (C_k)_iν = c_k(y_iν; ω_i),   diagonal E_w[σ²] exactly;
    V_i = mean_ν c_1(y_iν; ω_i) w_i/(ω_i√d).

No noise is ever drawn. The test matrices Ũ, Ṽ average x as well: for Gaussian data by the same expansion of the
pre-activations α w·x/√d + β w·ξ/√d, for a given data set over its held-out rows.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .._checks import real_array
from ..activations import Activation
from ..gaussian_equivalent import gaussian_equivalent
from ..model import RandomFeatureModel
from ..quadrature import gaussian_weight, hermite_functions, panels, trapezoid

LAYERS = 10  # Hermite layers k < LAYERS; what they leave out is bounded in `error`
KINDS = ("features", "gaussian")


class FeatureMatrices(eqx.Module):
    r"""Correlation matrices of one draw of features and data.

    Attributes
    ----------
    U, U_test : array, shape (p, p)
        E[φφᵀ] over noise and the n training samples, and over noise and fresh samples.
    V, V_test : array, shape (p, d)
        E[φξᵀ] likewise.
    error : float
        Bound of what the Hermite expansion leaves out of U, relative to its trace norm per feature.
    n : int
        Training samples.
    gaussian_data : bool
        Whether the fresh samples are Gaussian, so that the test loss gives the score error.
    """

    model: RandomFeatureModel
    U: Any
    V: Any
    U_test: Any
    V_test: Any
    error: Any
    n: int = eqx.field(static=True)
    gaussian_data: bool = eqx.field(static=True)

    @property
    def p(self) -> int:
        """Features."""
        return int(self.U.shape[0])

    @property
    def d(self) -> int:
        """Dimension of the data."""
        return int(self.V.shape[1])


def sample(
    key: Any, model: RandomFeatureModel, d: int | None = None, *, kind: str = "features", data: Any = None
) -> FeatureMatrices:
    r"""Draw the exact correlation matrices of a model at dimension d.

    Parameters
    ----------
    key : JAX random key
    model : RandomFeatureModel
    d : int
        Dimension; n = ψ_n d and p = ψ_p d are rounded. With `data` it is the number of columns.
    kind : {"features", "gaussian"}
        "features": σ(Wx_t/√d) with the noise integrated out, as in the module's docstring.
        "gaussian": the Gaussian equivalent U = GGᵀ/n + b²FFᵀ + s²I, V = bF.
    data : array, shape (samples, d), optional
        Rows to train on instead of Gaussian data: n random rows train, the others test. Its covariance should
        be that of the model, and its mean zero.

    Returns
    -------
    FeatureMatrices
        ``.U .V .U_test .V_test`` and ``.error``.

    Raises
    ------
    ValueError
        If d is no positive integer, n or p rounds to 0, `kind` is unknown, or the data have too few rows.

    Notes
    -----
    Beyond arXiv 2505.17638, which averages over draws of the noise.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    if data is not None:
        data = real_array("data", data, "a finite real matrix of shape (samples, d)")
        if data.ndim != 2:
            raise ValueError(f"data must be a matrix of shape (samples, d), got shape {data.shape}")
        if d not in (None, data.shape[1]):
            raise ValueError(f"d must be the number of columns of data, {data.shape[1]}, got {d}")
        d = data.shape[1]
    d, n, p = sizes(model, d)
    if data is not None and data.shape[0] <= n:
        raise ValueError(
            f"data must have more than n = psi_n d = {n} rows, so that some are held out, got {data.shape[0]}"
        )
    w_key, x_key, o_key = jax.random.split(key, 3)
    W = jax.random.normal(w_key, (p, d), float)
    spread = jnp.sqrt(eigenvalues_of(model, d))
    if kind == "gaussian":
        if data is not None:
            raise ValueError('data goes with kind="features": the Gaussian equivalent draws its own')
        X = spread[:, None] * jax.random.normal(x_key, (d, n), float)
        Omega = jax.random.normal(o_key, (p, n), float)
        U, V, U_test, V_test = _gaussian(model, W, X, Omega, spread)
        return FeatureMatrices(model, U, V, U_test, V_test, 0.0, n, True)
    mu0 = gaussian_equivalent(model).mu0
    if data is None:
        X = spread[:, None] * jax.random.normal(x_key, (d, n), float)
        U, V, error = _trained(model, W, X, mu0)
        U_test, V_test = _population(model, W, spread, mu0)
        return FeatureMatrices(model, U, V, U_test, V_test, error, n, True)
    order = np.asarray(jax.random.permutation(x_key, data.shape[0]))
    U, V, error = _trained(model, W, jnp.asarray(data[order[:n]].T), mu0)
    U_test, V_test, _ = _trained(model, W, jnp.asarray(data[order[n:]].T), mu0)
    return FeatureMatrices(model, U, V, U_test, V_test, error, n, False)


def sizes(model: RandomFeatureModel, d: int | None) -> tuple[int, int, int]:
    """(d, n, p) of a model at dimension d, checked."""
    if isinstance(d, bool) or not isinstance(d, int | np.integer) or d < 1:
        raise ValueError(f"d must be an integer of at least 1, got {d!r}")
    n, p = round(float(model.psi_n) * d), round(float(model.psi_p) * d)
    if n < 1 or p < 1:
        name, psi = ("n", model.psi_n) if n < 1 else ("p", model.psi_p)
        need = int(np.ceil(0.5 / float(psi))) + 1
        raise ValueError(f"{name} = psi_{name} d rounds to 0 at d = {d}: take d of at least {need}")
    return int(d), n, p


def eigenvalues_of(model: RandomFeatureModel, d: int) -> Any:
    """d eigenvalues with the covariance's weights, by largest remainders."""
    values, weights = np.asarray(model.covariance.values), np.asarray(model.covariance.weights)
    counts = np.floor(weights * d + 1e-9).astype(int)
    rest = np.argsort(counts - weights * d, kind="stable")[: d - counts.sum()]
    counts[rest] += 1
    return jnp.asarray(np.repeat(values, counts))


@jax.jit
def _gaussian(model: RandomFeatureModel, W: Any, X: Any, Omega: Any, spread: Any) -> tuple[Any, Any, Any, Any]:
    ge = gaussian_equivalent(model)
    p, d = W.shape
    F = W / jnp.sqrt(d)
    G = jnp.sqrt(ge.kappa2) * F @ X + jnp.sqrt(ge.v2) * Omega
    noise, one = ge.b2 * F @ F.T, jnp.eye(p)
    U = G @ G.T / X.shape[1] + noise + ge.s2 * one
    signal = F * spread
    U_test = ge.kappa2 * signal @ signal.T + noise + (ge.v2 + ge.s2) * one
    V = jnp.sqrt(ge.b2) * F
    return U, V, U_test, V


@partial(jax.jit, static_argnames="layers")
def _coefficients(sigma: Activation, y: Any, width: Any, mu0: Any, layers: int = LAYERS) -> tuple[Any, Any]:
    """c_k(y; ω) for k < layers, shape (layers, *y.shape), and E_w[σ²]; `width` = βω of the row."""
    if sigma.kinks:
        kinks = jnp.asarray(sigma.kinks)

        def rule(y: Any) -> tuple[Any, Any]:
            return panels(-9.0, 9.0, (kinks - y) / width, 1.0, 1)

    else:
        z, weights = trapezoid(0.25)

        def rule(y: Any) -> tuple[Any, Any]:
            return jnp.asarray(z), jnp.asarray(weights) / gaussian_weight(z)

    def one(y: Any) -> tuple[Any, Any]:
        w, weight = rule(y)
        weight = weight * gaussian_weight(w)
        value = sigma(y + width * w) - mu0
        return hermite_functions(w, layers) @ (weight * value), jnp.sum(weight * value**2)

    c, square = jax.vmap(one)(y)
    return c.T, square


def _expand(sigma: Activation, Y: Any, width: Any, mu0: Any) -> tuple[Any, Any]:
    """Row by row, so that the quadrature nodes of all entries never stand in memory at once."""

    def row(a: Any) -> tuple[Any, Any]:
        return _coefficients(sigma, a[0], a[1], mu0)

    return jax.lax.map(row, (Y, width), batch_size=8)


def _norms(W: Any) -> tuple[Any, Any]:
    """ω_i and R_ij."""
    d = W.shape[1]
    omega = jnp.sqrt(jnp.sum(W**2, axis=1) / d)
    return omega, W @ W.T / (d * omega[:, None] * omega)


@jax.jit
def _trained(model: RandomFeatureModel, W: Any, X: Any, mu0: Any) -> tuple[Any, Any, Any]:
    """U and V for the columns of X, and the size of what the layers leave out."""
    alpha, beta = model.process.alpha, model.process.beta
    d, n = X.shape
    omega, R = _norms(W)
    c, square = _expand(model.activation, alpha * W @ X / jnp.sqrt(d), beta * omega, mu0)
    c = jnp.moveaxis(c, 1, 0)  # (layers, p, n)

    def layer(carry: Any, C: Any) -> tuple[Any, None]:
        total, power = carry
        return (total + power * (C @ C.T / n), power * R), None

    (U, power), _ = jax.lax.scan(layer, (jnp.zeros_like(R), jnp.ones_like(R)), c)
    exact = jnp.mean(square, axis=1)
    missing = jnp.maximum(exact - jnp.diagonal(U), 0.0)  # layers beyond, on the diagonal
    error = _left_out(missing, power) / jnp.mean(exact)
    U = U.at[jnp.diag_indices(W.shape[0])].set(exact)
    V = jnp.mean(c[1], axis=1)[:, None] * W / (omega[:, None] * jnp.sqrt(d))
    return U, V, error


def _left_out(missing: Any, power: Any) -> Any:
    """Frobenius norm per √p of the omitted layers off the diagonal, each at most √(m_i m_j) |R_ij|^LAYERS."""
    size = jnp.sqrt(missing)
    off = jnp.abs(power) * (1.0 - jnp.eye(power.shape[0]))
    return jnp.sqrt(jnp.sum((size[:, None] * off * size) ** 2) / power.shape[0])


@jax.jit
def _population(model: RandomFeatureModel, W: Any, spread: Any, mu0: Any) -> tuple[Any, Any]:
    """Ũ and Ṽ for Gaussian data with covariance diag(spread²)."""
    alpha, beta = model.process.alpha, model.process.beta
    d = W.shape[1]
    scaled = W * jnp.sqrt((alpha * spread) ** 2 + beta**2)
    gamma, R = _norms(scaled)
    c, square = _expand(model.activation, jnp.zeros((W.shape[0], 1)), gamma, mu0)
    c = c[:, :, 0]  # (p, layers)

    def layer(carry: Any, h: Any) -> tuple[Any, None]:
        total, power = carry
        return (total + power * (h[:, None] * h), power * R), None

    (U, _), _ = jax.lax.scan(layer, (jnp.zeros_like(R), jnp.ones_like(R)), c.T)
    U = U.at[jnp.diag_indices(W.shape[0])].set(square[:, 0])
    return U, beta * (c[:, 1] / gamma)[:, None] * W / jnp.sqrt(d)
