r"""Exact feature matrices at finite d, with the noise ξ integrated out, or drawn m times for each sample.

For given W and X, with ||w_i||² = dω_i², R_ij = w_i·w_j/(dω_iω_j), y_iν = αw_i·x^ν/√d and the Hermite coefficients
c_k(y; βω) of σ (``rfspec.empirical.hermite``), the expectation over ξ is

    U = Σ_k R^{∘k} ∘ (C_k C_kᵀ/n),   E[φξᵀ]_i = mean_ν c_1(y_iν) w_i/(ω_i√d),   E[φxᵀ] = C_0Xᵀ/n,

and no noise is ever drawn. With m draws it is the mean over n·m columns φ = σ(W(αx + βξ)/√d). The test matrices Ũ, Ṽ
average noise and x: for Gaussian data by the same expansion of the pre-activations α w·x/√d + β w·ξ/√d, for a given
data set over its held-out rows.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..models.covariance import LARGEST
from ..models.gaussian_equivalent import GaussianEquivalent, gaussian_equivalent
from ..models.model import RandomFeatureModel
from ..models.targets import combination
from ..numerics.checks import real_array, real_scalar
from ..numerics.session import enter
from .hermite import BLOCK, expansion, fresh, given
from .memory import require

KINDS = ("features", "gaussian")
ROWS = ("gaussian", "spherical")
TOLERANCE = 1e-10  # of what the Hermite expansion may leave out of U, relative to its diagonal
MOST_DRAWS = 10_000  # of the noise for a sample: they are gone through one by one


class FeatureMatrices(eqx.Module):
    r"""Correlation matrices of one draw of features and data.

    Attributes
    ----------
    U, U_test : array, shape (p, p)
        E[φφᵀ] over noise and the n training samples, and over noise and fresh samples; the noise of U is that which
        was drawn where the model has finite draws of it.
    V, V_test : array, shape (p, d)
        -E[φyᵀ] likewise, y the model's target: E[φξᵀ] for the noise, y = -ξ.
    error : float
        Bound of what the Hermite expansion leaves out of U and Ũ: Frobenius norm over √p, relative to the mean of
        the diagonal. The layers are as many as it takes to bring it under the tolerance, 64 at most.
    n : int
        Training samples.
    gaussian_data : bool
        Whether the fresh samples are Gaussian, so that the test loss gives the score error.
    untrained, untrained_test : float
        E|y|²/d, the losses of A = 0: 1 for the noise.
    """

    model: RandomFeatureModel
    U: Any
    V: Any
    U_test: Any
    V_test: Any
    error: Any
    n: int = eqx.field(static=True)
    gaussian_data: bool = eqx.field(static=True)
    untrained: Any = 1.0
    untrained_test: Any = 1.0

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
    def decay(self) -> Any:
        """What weight decay adds to U in training: γ/ω²."""
        return self.model.weight_decay / self.model.pace


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
        "features": σ(Wx_t/√d) with the noise integrated out, or drawn, as in the module's docstring.
        "gaussian": the Gaussian equivalent U = GGᵀ/n + b²FFᵀ + s²I, V = bF; with m draws the mean over columns
        G + bFξ + sω.
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
        vary or have too few rows, the model has more than 10,000 draws of the noise, or the matrices do not fit into
        memory.

    Notes
    -----
    Beyond arXiv 2505.17638, which averages over draws of the noise.
    """
    draw = drawn(key, model, d, kind=kind, data=data, held_out=held_out, rows=rows, matrices=2)
    return matrices_of(model, draw, kind, tolerance)


def matrices_of(model: RandomFeatureModel, draw: Draw, kind: str, tolerance: float = TOLERANCE) -> FeatureMatrices:
    """The matrices of what was drawn."""
    enter()
    tolerance, ge = float(real_scalar("tolerance", tolerance, above=0.0)), gaussian_equivalent(model)
    U, V, untrained, error = _training(model, ge, draw, kind, tolerance)
    U_test, V_test, untrained_test, error_test = _testing(model, ge, draw, kind, tolerance)
    error = max(error, error_test)
    return FeatureMatrices(model, U, V, U_test, V_test, error, draw.n, draw.fresh is None, untrained, untrained_test)


Side = tuple[Any, Any, Any, float]  # U, V, the loss of A = 0, and the bound of what the expansion leaves out


def _training(model: RandomFeatureModel, ge: GaussianEquivalent, draw: Draw, kind: str, tolerance: float) -> Side:
    if not np.isinf(model.noise_draws):
        return *_of_draws(model, ge, draw, kind == "gaussian"), 0.0
    untrained = _untrained(model, jnp.mean(draw.X**2))
    if kind == "gaussian":
        return *_gaussian(model, ge, draw), untrained, 0.0
    U, V, error = _trained(model, draw.W, draw.X, ge.mu0, tolerance)
    return U, V, untrained, error


def _testing(model: RandomFeatureModel, ge: GaussianEquivalent, draw: Draw, kind: str, tolerance: float) -> Side:
    untrained = _untrained(model, jnp.mean((draw.spread if draw.fresh is None else draw.fresh) ** 2))
    if kind == "gaussian":
        return *_gaussian_population(model, ge, draw.W, draw.spread), untrained, 0.0
    if draw.fresh is None:
        U, V, error = _population(model, draw.W, draw.spread, ge.mu0, tolerance)
    else:
        U, V, error = _trained(model, draw.W, draw.fresh, ge.mu0, tolerance)
    return U, V, untrained, error


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
    tolerance = float(real_scalar("tolerance", tolerance, above=0.0))
    U, _, _, error = _training(model, gaussian_equivalent(model), draw, kind, tolerance)
    return U, error, draw.d


class Draw(eqx.Module):
    """Features, training samples in columns, fresh ones where there are data, Ω of the Gaussian equivalent, the root of
    Σ's eigenvalues, and the key of the noise that is drawn.
    """

    W: Any
    X: Any
    fresh: Any
    Omega: Any
    spread: Any
    noise: Any

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
    if not np.isinf(model.noise_draws) and model.noise_draws > MOST_DRAWS:
        raise ValueError(
            f"noise_draws must be at most {MOST_DRAWS} to be sampled, or inf, from which more differ by less than "
            f"1/{MOST_DRAWS}, got {model.noise_draws:g}"
        )
    layers = 8 if kind == "features" and np.isinf(model.noise_draws) else 2
    doubles = (matrices + 1) * p * p + p * (d + (layers + 2) * n) + 3 * min(p, BLOCK) * p
    require(doubles, f"U at p = {p}, n = {n}", "take a smaller d, or empirical.matrix_free_spectrum, which forms none")
    spread = jnp.sqrt(eigenvalues_of(model, d))
    columns = None if data is not None else n
    W, X, Omega = _normals(key, spread, p, columns, rows == "spherical", kind == "gaussian")
    noise = jax.random.split(key, 5)[4]  # the first three are those above, the fourth that of training
    if data is None:
        return Draw(W, X, None, Omega, spread, noise)
    order = np.asarray(jax.random.permutation(jax.random.split(key, 3)[1], data.shape[0]))
    rest = data[order[n:]] if held_out is None else held_out
    return Draw(W, jnp.asarray(data[order[:n]].T), jnp.asarray(rest.T), None, spread, noise)


def _normals(key: Any, spread: Any, p: int, n: int | None, spherical: bool, gaussian: bool) -> tuple[Any, Any, Any]:
    """W; X with Σ's eigenvalues, where its columns are drawn; Ω of the Gaussian equivalent."""
    d = spread.size
    shapes = (p, d), None if n is None else (d, n), None if n is None or not gaussian else (p, n)
    flat = [
        None if shape is None else _numbers(k, shape[0] * shape[1])
        for k, shape in zip(jax.random.split(key, 3), shapes, strict=True)
    ]
    return _shaped(flat, spread, shapes, spherical)


@partial(jax.jit, static_argnames=("shapes", "spherical"))
def _shaped(flat: list[Any], spread: Any, shapes: tuple[Any, ...], spherical: bool) -> tuple[Any, Any, Any]:
    def cut(a: Any, shape: Any) -> Any:
        return None if a is None else a[: shape[0] * shape[1]].reshape(shape)

    W, X, Omega = map(cut, flat, shapes)
    if spherical:
        W = W * jnp.sqrt(W.shape[1] / jnp.sum(W**2, axis=1, keepdims=True))
    return W, None if X is None else spread[:, None] * X, Omega


def _numbers(key: Any, count: int) -> Any:
    """At least so many normal numbers; few of them in lengths of powers of two, which share compilations."""
    return _standard_normal(key, max(4096, 1 << (count - 1).bit_length()) if count <= 2**20 else count)


@partial(jax.jit, static_argnames="size")
def _standard_normal(key: Any, size: int) -> Any:
    return jax.random.normal(key, (size,), float)


def _checked(name: str, data: Any, d: int | None) -> np.ndarray:
    """A matrix of samples that are finite and not all the same."""
    data = real_array(name, data, "a finite real matrix of shape (samples, d)")
    if data.ndim != 2:
        raise ValueError(f"{name} must be a matrix of shape (samples, d), got shape {data.shape}")
    if d not in (None, data.shape[1]):
        if name == "data":
            raise ValueError(f"d must be the number of columns of data, {data.shape[1]}, got {d}")
        raise ValueError(f"{name} must have d = {d} columns, got {data.shape[1]}")
    if data.size and np.abs(data).max() > LARGEST:
        raise ValueError(
            f"{name} must be at most {LARGEST:g} in size, where double precision holds fourth powers, got "
            f"{np.abs(data).max():g}"
        )
    if data.size and not np.any(np.ptp(data, axis=0) > 0):
        raise ValueError(f"{name} must vary from row to row, got {data.shape[0]} rows that are all the same")
    return data


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
    """d eigenvalues with the covariance's weights, by largest remainders; of a continuous law its quantiles."""
    if model.covariance.continua is None:
        values = np.asarray(model.covariance.values)
        return jnp.asarray(np.repeat(values, _counts(np.asarray(model.covariance.weights), d)))
    law = model.covariance.continua[0]
    intervals = np.flatnonzero(law.mass)
    alone = (np.repeat(law.mass, law.values.size // law.mass.size) == 0) & (law.weights > 0)
    atoms = law.values[alone]
    counts = _counts(np.concatenate([law.mass[intervals], law.weights[alone]]), d)
    found = [law.quantiles(i, (np.arange(n) + 0.5) / n) for i, n in zip(intervals, counts, strict=False)]
    return jnp.asarray(np.concatenate([*found, np.repeat(atoms, counts[intervals.size :])]))


def _counts(weights: np.ndarray, d: int) -> np.ndarray:
    """Multiplicities that add up to d."""
    counts = np.floor(weights * d + 1e-9).astype(int)
    rest = np.argsort(counts - weights * d, kind="stable")[: d - counts.sum()]
    counts[rest] += 1
    return counts


# ------------------------------------------------------------------------------------------- features, in expectation


def _trained(
    model: RandomFeatureModel, W: Any, X: Any, mu0: Any, tolerance: float = TOLERANCE
) -> tuple[Any, Any, float]:
    """U and V for the columns of X, noise integrated out, and the bound of what the layers leave out."""
    found = expansion(model.activation, given(model.process, W, X), mu0, tolerance)
    with_noise = model.process.beta / np.sqrt(W.shape[1]) * found.slope[:, None] * W
    return found.U, _against(model, with_noise, lambda: found.mean @ X.T / X.shape[1]), found.error


def _population(
    model: RandomFeatureModel, W: Any, spread: Any, mu0: Any, tolerance: float = TOLERANCE
) -> tuple[Any, Any, float]:
    """Ũ and Ṽ for Gaussian data with covariance diag(spread²): one layer of noise, x and ξ together."""
    found = expansion(model.activation, fresh(model.process, W, spread), mu0, tolerance)
    alpha, beta = (a / np.sqrt(W.shape[1]) * found.slope[:, None] for a in (model.process.alpha, model.process.beta))
    return found.U, _against(model, beta * W, lambda: alpha * W * spread**2), found.error


def _against(model: RandomFeatureModel, with_noise: Any, with_signal: Callable[[], Any]) -> Any:
    """-E[φyᵀ] for the target y = c_x x + c_ξ ξ, from E[φξᵀ] and E[φxᵀ]."""
    y = combination(model.target, model.process)
    V = -y.noise * with_noise
    return V if y.signal is None else V - y.signal * with_signal()


def _untrained(model: RandomFeatureModel, size: Any) -> Any:
    """E|y|²/d for E|x|²/d = size and the noise in expectation."""
    y = combination(model.target, model.process)
    return y.noise**2 + (0.0 if y.signal is None else y.signal**2 * size)


# -------------------------------------------------------------------------------------------------- noise that is drawn


@partial(jax.jit, static_argnames="gaussian")
def _of_draws(model: RandomFeatureModel, ge: GaussianEquivalent, draw: Draw, gaussian: bool) -> tuple[Any, Any, Any]:
    """U, V and E|y|²/d as means over n·m columns, one draw of the noise for all samples at a time."""
    y, (p, d), n, m = combination(model.target, model.process), draw.W.shape, draw.X.shape[1], int(model.noise_draws)
    F, process = draw.W / np.sqrt(d), model.process
    signal = process.alpha * F @ draw.X
    if gaussian:
        signal = ge.mu1 * signal + jnp.sqrt(ge.v2) * draw.Omega

    def one(sums: Any, index: Any) -> tuple[Any, None]:
        noise_key, rest_key = jax.random.split(jax.random.fold_in(draw.noise, index))
        xi = jax.random.normal(noise_key, (d, n), float)
        seen = process.beta * F @ xi
        if gaussian:
            phi = signal + ge.mu1 * seen + jnp.sqrt(ge.s2) * jax.random.normal(rest_key, (p, n), float)
        else:
            phi = model.activation(signal + seen) - ge.mu0
        target = y.noise * xi if y.signal is None else y.noise * xi + y.signal * draw.X
        add = phi @ phi.T, phi @ target.T, jnp.sum(target**2)
        return tuple(a + b for a, b in zip(sums, add, strict=True)), None

    (U, V, square), _ = jax.lax.scan(one, (jnp.zeros((p, p)), jnp.zeros((p, d)), jnp.zeros(())), jnp.arange(m))
    return U / (n * m), -V / (n * m), square / (n * m * d)


# ------------------------------------------------------------------------------ the Gaussian equivalent, in expectation


@jax.jit
def _gaussian(model: RandomFeatureModel, ge: GaussianEquivalent, draw: Draw) -> tuple[Any, Any]:
    """U and V for the samples drawn."""
    F, n = draw.W / np.sqrt(draw.W.shape[1]), draw.X.shape[1]
    G = model.process.alpha * ge.mu1 * F @ draw.X + jnp.sqrt(ge.v2) * draw.Omega
    noise = model.process.beta * ge.mu1 * F
    U = G @ G.T / n + noise @ noise.T + ge.s2 * jnp.eye(F.shape[0])
    return U, _against(model, noise, lambda: G @ draw.X.T / n)


@jax.jit
def _gaussian_population(model: RandomFeatureModel, ge: GaussianEquivalent, W: Any, spread: Any) -> tuple[Any, Any]:
    """Ũ and Ṽ, fresh samples of covariance diag(spread²)."""
    F = W / np.sqrt(W.shape[1])
    signal, noise = model.process.alpha * ge.mu1 * F * spread, model.process.beta * ge.mu1 * F
    U = signal @ signal.T + noise @ noise.T + (ge.v2 + ge.s2) * jnp.eye(F.shape[0])
    return U, _against(model, noise, lambda: signal * spread)
