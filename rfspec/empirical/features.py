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
from itertools import pairwise
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .._checks import real_array, real_scalar
from ..activations import Activation
from ..gaussian_equivalent import GaussianEquivalent, gaussian_equivalent
from ..model import RandomFeatureModel
from ..processes import Process
from ..quadrature import gaussian_weight, hermite_functions, panels, trapezoid
from .memory import require

KINDS = ("features", "gaussian")
ROWS = ("gaussian", "spherical")
TOLERANCE = 1e-10  # of what the Hermite expansion may leave out of U, relative to its diagonal
GROUPS = ((0, 6), (6, 12), (12, 24), (24, 64))  # layers that are computed together
STEPS = (0.5, 0.25, 0.125, 0.0625)  # of the trapezoid rule in the noise
BLOCK = 512  # rows of U assembled together
EPS = float(np.finfo(float).eps)


class FeatureMatrices(eqx.Module):
    r"""Correlation matrices of one draw of features and data.

    Attributes
    ----------
    U, U_test : array, shape (p, p)
        E[φφᵀ] over noise and the n training samples, and over noise and fresh samples.
    V, V_test : array, shape (p, d)
        E[φξᵀ] likewise.
    error : float
        Bound of what the Hermite expansion leaves out of U and Ũ: Frobenius norm over √p, relative to the mean of
        the diagonal. The layers are as many as it takes to bring it under the tolerance, 64 at most.
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
    key: Any,
    model: RandomFeatureModel,
    d: int | None = None,
    *,
    kind: str = "features",
    data: Any = None,
    held_out: Any = None,
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
        "features": σ(Wx_t/√d) with the noise integrated out, as in the module's docstring.
        "gaussian": the Gaussian equivalent U = GGᵀ/n + b²FFᵀ + s²I, V = bF.
    data : array, shape (samples, d), optional
        Rows to train on instead of Gaussian data: n random rows train, the others test. Its covariance should
        be that of the model, and its mean zero.
    held_out : array, shape (samples, d), optional
        Rows to test on, with `data`, of which n random rows then train and the others go unused.
    rows : {"gaussian", "spherical"}
        Rows of W with iid entries N(0, 1), or uniform on the sphere of radius √d, which has the same limit and
        no spread of the features' variances.
    tolerance : float
        Bound of what the Hermite expansion may leave out; see ``FeatureMatrices.error``.

    Returns
    -------
    FeatureMatrices
        ``.U .V .U_test .V_test`` and ``.error``.

    Raises
    ------
    ValueError
        If d is no positive integer, n or p rounds to 0, `kind` or `rows` is unknown, the data are not finite, do not
        vary or have too few rows, or the matrices do not fit into memory.

    Notes
    -----
    Beyond arXiv 2505.17638, which averages over draws of the noise.
    """
    draw = drawn(key, model, d, kind=kind, data=data, held_out=held_out, rows=rows, matrices=2)
    return matrices_of(model, draw, kind, tolerance)


def matrices_of(model: RandomFeatureModel, draw: Any, kind: str, tolerance: float = TOLERANCE) -> FeatureMatrices:
    """The matrices of what was drawn."""
    model.check_plain("the sampled V", "target", "weight_decay")
    tolerance = float(real_scalar("tolerance", tolerance, above=0.0))
    gaussian_data = draw.fresh is None
    if kind == "gaussian":
        U, V, U_test, V_test = _gaussian(gaussian_equivalent(model), draw.W, draw.X, draw.Omega, draw.spread)
        return FeatureMatrices(model, U, V, U_test, V_test, 0.0, draw.n, gaussian_data)
    mu0 = gaussian_equivalent(model).mu0
    U, V, error = _trained(model, draw.W, draw.X, mu0, tolerance)
    if gaussian_data:
        U_test, V_test, error_test = _population(model, draw.W, draw.spread, mu0, tolerance)
    else:
        U_test, V_test, error_test = _trained(model, draw.W, draw.fresh, mu0, tolerance)
    return FeatureMatrices(model, U, V, U_test, V_test, max(error, error_test), draw.n, gaussian_data)


def correlation(
    key: Any,
    model: RandomFeatureModel,
    d: int | None = None,
    *,
    kind: str = "features",
    data: Any = None,
    rows: str = "gaussian",
    tolerance: float = TOLERANCE,
) -> tuple[Any, float, int]:
    """U alone, the same as in ``sample`` for the same arguments, the bound of what it leaves out, and d."""
    draw = drawn(key, model, d, kind=kind, data=data, rows=rows, matrices=1)
    if kind == "gaussian":
        return _gaussian_correlation(gaussian_equivalent(model), draw.W, draw.X, draw.Omega), 0.0, draw.d
    tolerance = float(real_scalar("tolerance", tolerance, above=0.0))
    U, _, error = _trained(model, draw.W, draw.X, gaussian_equivalent(model).mu0, tolerance)
    return U, error, draw.d


class Draw(eqx.Module):
    """Features, training samples in columns, fresh ones where there are data, and the root of Σ's eigenvalues."""

    W: Any
    X: Any
    fresh: Any
    Omega: Any
    spread: Any

    @property
    def d(self) -> int:
        """Dimension of the data."""
        return int(self.W.shape[1])

    @property
    def n(self) -> int:
        """Training samples."""
        return int(self.X.shape[1])


def drawn(
    key: Any,
    model: RandomFeatureModel,
    d: int | None,
    *,
    kind: str,
    data: Any,
    held_out: Any = None,
    rows: str,
    matrices: int,
) -> Draw:
    """Everything random, checked; `matrices` of p×p have to fit into memory."""
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    if rows not in ROWS:
        raise ValueError(f"rows must be one of {', '.join(ROWS)}, got {rows!r}")
    if data is not None:
        if kind == "gaussian":
            raise ValueError('data goes with kind="features": the Gaussian equivalent draws its own')
        data = _checked("data", data, d)
        d = data.shape[1]
    if held_out is not None:
        if data is None:
            raise ValueError("held_out goes with data, the rows to train on")
        held_out = _checked("held_out", held_out, d)
    d, n, p = sizes(model, d)
    if held_out is not None and data.shape[0] < n:
        raise ValueError(f"data must have at least n = psi_n d = {n} rows, got {data.shape[0]}")
    if data is not None and held_out is None and data.shape[0] <= n:
        raise ValueError(
            f"data must have more than n = psi_n d = {n} rows, so that some are held out, got {data.shape[0]}"
        )
    layers = 1 if kind == "gaussian" else 8
    doubles = (matrices + 1) * p * p + p * (d + (layers + 2) * n) + 3 * min(p, BLOCK) * p
    require(doubles, f"U at p = {p}, n = {n}", "take a smaller d, or empirical.matrix_free_spectrum, which forms none")
    spread = jnp.sqrt(eigenvalues_of(model, d))
    columns = None if data is not None else n
    W, X, Omega = _normals(key, spread, p, columns, rows == "spherical", kind == "gaussian")
    if data is None:
        return Draw(W, X, None, Omega, spread)
    order = np.asarray(jax.random.permutation(jax.random.split(key, 3)[1], data.shape[0]))
    fresh = data[order[n:]] if held_out is None else held_out
    return Draw(W, jnp.asarray(data[order[:n]].T), jnp.asarray(fresh.T), None, spread)


@partial(jax.jit, static_argnames=("p", "n", "spherical", "gaussian"))
def _normals(key: Any, spread: Any, p: int, n: int | None, spherical: bool, gaussian: bool) -> tuple[Any, Any, Any]:
    """W; X with Σ's eigenvalues, where its columns are drawn; Ω of the Gaussian equivalent."""
    w_key, x_key, o_key = jax.random.split(key, 3)
    d = spread.size
    W = jax.random.normal(w_key, (p, d), float)
    if spherical:
        W = W * jnp.sqrt(d / jnp.sum(W**2, axis=1, keepdims=True))
    X = None if n is None else spread[:, None] * jax.random.normal(x_key, (d, n), float)
    return W, X, None if n is None or not gaussian else jax.random.normal(o_key, (p, n), float)


def _checked(name: str, data: Any, d: int | None) -> np.ndarray:
    """A matrix of samples that are finite and not all the same."""
    data = real_array(name, data, "a finite real matrix of shape (samples, d)")
    if data.ndim != 2:
        raise ValueError(f"{name} must be a matrix of shape (samples, d), got shape {data.shape}")
    if d not in (None, data.shape[1]):
        if name == "data":
            raise ValueError(f"d must be the number of columns of data, {data.shape[1]}, got {d}")
        raise ValueError(f"{name} must have d = {d} columns, got {data.shape[1]}")
    if data.size and not np.any(np.ptp(data, axis=0) > 0):
        raise ValueError(f"{name} must vary from row to row, got {data.shape[0]} rows that are all the same")
    return data


def sizes(model: RandomFeatureModel, d: int | None) -> tuple[int, int, int]:
    """(d, n, p) of a model at dimension d, checked."""
    model.check_plain("the sampled U", "noise_draws")
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


# ------------------------------------------------------------------------------------- the Gaussian equivalent


@jax.jit
def _gaussian_correlation(ge: GaussianEquivalent, W: Any, X: Any, Omega: Any) -> Any:
    p, d = W.shape
    F = W / jnp.sqrt(d)
    G = jnp.sqrt(ge.kappa2) * F @ X + jnp.sqrt(ge.v2) * Omega
    return G @ G.T / X.shape[1] + ge.b2 * F @ F.T + ge.s2 * jnp.eye(p)


@jax.jit
def _gaussian(ge: GaussianEquivalent, W: Any, X: Any, Omega: Any, spread: Any) -> tuple[Any, Any, Any, Any]:
    p, d = W.shape
    F = W / jnp.sqrt(d)
    signal = F * spread
    U_test = ge.kappa2 * signal @ signal.T + ge.b2 * F @ F.T + (ge.v2 + ge.s2) * jnp.eye(p)
    V = jnp.sqrt(ge.b2) * F
    return _gaussian_correlation(ge, W, X, Omega), V, U_test, V


# -------------------------------------------------------------------------------------- the Hermite expansion


def _trained(
    model: RandomFeatureModel, W: Any, X: Any, mu0: Any, tolerance: float = TOLERANCE
) -> tuple[Any, Any, float]:
    """U and V for the columns of X, and the bound of what the layers leave out."""
    return _expansion(model.activation, _given(model.process, W, X), mu0, W, tolerance)


def _population(
    model: RandomFeatureModel, W: Any, spread: Any, mu0: Any, tolerance: float = TOLERANCE
) -> tuple[Any, Any, float]:
    """Ũ and Ṽ for Gaussian data with covariance diag(spread²): one layer of noise, x and ξ together."""
    return _expansion(model.activation, _fresh(model.process, W, spread), mu0, W, tolerance)


class _Rows(NamedTuple):
    """What the expansion needs of the features: unit rows for R, pre-activations y, widths βω, V's factors."""

    unit: Any
    y: Any
    width: Any
    factor: Any


@jax.jit
def _given(process: Process, W: Any, X: Any) -> _Rows:
    """For given samples; V_i = mean_ν c_1 w_i/(ω_i√d)."""
    omega, d = _norms(W), W.shape[1]
    return _Rows(_unit(W), process.alpha * W @ X / jnp.sqrt(d), process.beta * omega, 1.0 / (omega * jnp.sqrt(d)))


@jax.jit
def _fresh(process: Process, W: Any, spread: Any) -> _Rows:
    """Where x is part of the noise, of covariance α²Σ + β²: R_ij = w_i(α²Σ + β²)w_j/(dγ_iγ_j)."""
    scaled = W * jnp.sqrt((process.alpha * spread) ** 2 + process.beta2)
    gamma, d = _norms(scaled), W.shape[1]
    return _Rows(_unit(scaled), jnp.zeros((W.shape[0], 1)), gamma, process.beta / (gamma * jnp.sqrt(d)))


def _unit(W: Any) -> Any:
    """Rows over their norms."""
    return W / (_norms(W)[:, None] * np.sqrt(W.shape[1]))


def _norms(W: Any) -> Any:
    """ω_i."""
    return jnp.sqrt(jnp.sum(W**2, axis=1) / W.shape[1])


def _expansion(sigma: Activation, rows: _Rows, mu0: Any, W: Any, tolerance: float) -> tuple[Any, Any, float]:
    """Σ_k R^{∘k} ∘ (C_k C_kᵀ/n) with R of unit rows, V from the mean of c_1 in each row, and the bound."""
    step, quadrature = _step(sigma, rows.y, rows.width, mu0)
    layers: list[Any] = []
    found = np.zeros(W.shape[0])
    for first, last in GROUPS:
        C, square, found, rest = _group(sigma, rows, mu0, found, step, first, last)
        layers.append(C)
        error = float(rest) + quadrature
        if error <= tolerance + quadrature:
            break
    U, V = _assemble(rows, tuple(layers), square, W)
    return U, V, error


@partial(jax.jit, static_argnames=("step", "first", "last"))
def _group(
    sigma: Activation, rows: _Rows, mu0: Any, found: Any, step: float, first: int, last: int
) -> tuple[Any, Any, Any, Any]:
    """Some layers, E_w[σ²], what all layers so far make of it, and the bound of the rest."""
    C, square = _coefficients(sigma, rows.y, rows.width, mu0, step, first, last)
    found = found + jnp.sum(jnp.mean(C**2, axis=2), axis=0)
    rest = _left_out(rows.unit, jnp.maximum(square - found, 0.0), last) / jnp.mean(square)
    return C, square, found, rest


def _step(sigma: Activation, Y: Any, width: Any, mu0: Any) -> tuple[float, float]:
    """The widest trapezoid step that is exact to rounding at the widest noise, and its error; 0 for a σ with kinks."""
    if sigma.kinks:
        return 0.0, 64 * EPS
    w, weight = _rule(STEPS[-1])
    y = np.quantile(np.asarray(Y), np.linspace(0.0, 1.0, 33))
    value = np.asarray(_plain(sigma, y[:, None] + float(jnp.max(width)) * w)) - float(mu0)
    hermite = hermite_functions(w, GROUPS[0][1], np) * weight
    # a step's nodes are every other node of the next one's, counted from the middle
    middle = w.size // 2
    strides = [round(step / STEPS[-1]) for step in STEPS]
    nodes = [np.arange(middle % stride, w.size, stride) for stride in strides]
    each = [stride * value[:, at] @ hermite[:, at].T for stride, at in zip(strides, nodes, strict=True)]
    size = np.sqrt(np.mean(value**2 @ weight))
    errors = [float(np.abs(fine - coarse).max() / size) for coarse, fine in pairwise(each)]
    place = next((i for i, error in enumerate(errors) if error < 1e-13), len(errors))
    return STEPS[place], errors[min(place, len(errors) - 1)] + 64 * EPS


def _rule(step: float) -> tuple[np.ndarray, np.ndarray]:
    """The trapezoid rule without the nodes that carry less than rounding."""
    w, weight = trapezoid(step)
    near = np.abs(w) < 9.0
    return w[near], weight[near]


@jax.jit
def _plain(sigma: Activation, x: Any) -> Any:
    return sigma(x)


@partial(jax.jit, static_argnames=("step", "first", "last"))
def _coefficients(
    sigma: Activation, Y: Any, width: Any, mu0: Any, step: float, first: int, last: int
) -> tuple[Any, Any]:
    """c_k(y; ω) for first ≤ k < last, shape (layers, *Y.shape), and E_w[σ²] averaged over each row."""
    if step:
        w, weight = _rule(step)
        hermite = hermite_functions(w, last, np)[first:] * weight

        def one(y: Any, width: Any) -> tuple[Any, Any]:
            value = sigma(y[..., None] + width * w) - mu0
            return jnp.moveaxis(value @ hermite.T, -1, 0), value**2 @ weight

    else:
        kinks = jnp.asarray(sigma.kinks)

        def at(y: Any, width: Any) -> tuple[Any, Any]:
            w, weight = panels(-9.0, 9.0, (kinks - y) / width, 1.0, 1)
            weight = weight * gaussian_weight(w)
            value = sigma(y + width * w) - mu0
            return hermite_functions(w, last)[first:] @ (weight * value), weight @ value**2

        def one(y: Any, width: Any) -> tuple[Any, Any]:
            c, square = jax.vmap(at, (0, None))(y, width)
            return c.T, square

    def row(a: Any) -> tuple[Any, Any]:
        c, square = one(*a)
        return c, jnp.mean(square)

    # some rows at a time, so that the quadrature nodes of all entries never stand in memory at once
    p, n = Y.shape
    batches = -(-p // max(1, min(p, 4096 // n)))
    size = -(-p // batches)
    cut = lambda a: jnp.pad(a, [(0, batches * size - p)] + [(0, 0)] * (a.ndim - 1), mode="edge").reshape(
        batches, size, *a.shape[1:]
    )
    C, square = jax.lax.map(jax.vmap(row), (cut(Y), cut(width)))
    return jnp.moveaxis(C.reshape(-1, *C.shape[2:])[:p], 1, 0), square.ravel()[:p]


def _blocks(p: int) -> tuple[int, Any]:
    """Rows in a block, and where each begins; the last two may overlap."""
    size = min(p, BLOCK)
    return size, jnp.minimum(jnp.arange(-(-p // size)) * size, p - size)


def _left_out(unit: Any, missing: Any, layer: int) -> Any:
    """Frobenius norm per √p of all layers from this one on, off the diagonal.

    By Cauchy and Schwarz Σ_k √(m_ki m_kj) |R_ij|^k ≤ √(m_i m_j) |R_ij|^layer, with m_i what the diagonal misses.
    """
    p = unit.shape[0]
    size, starts = _blocks(p)

    def block(start: Any) -> Any:
        R = jax.lax.dynamic_slice_in_dim(unit, start, size) @ unit.T
        rows = start + jnp.arange(size)
        off = jnp.where(rows[:, None] == jnp.arange(p), 0.0, (R**2) ** layer)
        return jax.lax.dynamic_slice_in_dim(missing, start, size) @ off @ missing

    return jnp.sqrt(jnp.sum(jax.lax.map(block, starts)) / p)


@jax.jit
def _assemble(rows: _Rows, layers: tuple[Any, ...], square: Any, W: Any) -> tuple[Any, Any]:
    """The matrix block of rows by block of rows, so that no second matrix of its size is needed; and V."""
    C, unit = jnp.concatenate(layers), rows.unit
    p, n = unit.shape[0], C.shape[2]
    size, starts = _blocks(p)

    def block(i: Any, U: Any) -> Any:
        R = jax.lax.dynamic_slice_in_dim(unit, starts[i], size) @ unit.T

        def layer(carry: Any, C: Any) -> tuple[Any, None]:
            total, power = carry
            here = jax.lax.dynamic_slice_in_dim(C, starts[i], size)
            return (total + power * (here @ C.T), power * R), None

        (some, _), _ = jax.lax.scan(layer, (jnp.zeros_like(R), jnp.full_like(R, 1.0 / n)), C)
        return jax.lax.dynamic_update_slice_in_dim(U, some, starts[i], 0)

    U = jax.lax.fori_loop(0, starts.size, block, jnp.zeros((p, p)))
    return U.at[jnp.diag_indices(p)].set(square), (jnp.mean(C[1], axis=1) * rows.factor)[:, None] * W
