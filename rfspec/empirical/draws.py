"""What is drawn for a sample: rows of W, data, and finitely many draws of the noise."""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..models.classes import Classes
from ..models.from_data import LARGEST
from ..models.model import RandomFeatureModel
from ..numerics.checks import integer, real_array
from ..numerics.session import enter
from ..numerics.types import Given, Key, Matrix, Reals, Vector, Whole
from .hermite import BLOCK
from .memory import require

KINDS = ("features", "gaussian")
ROWS = ("gaussian", "spherical")

MOST_DRAWS = 10_000  # of the noise, which are taken one by one


class Sampling(NamedTuple):
    """What a sample is drawn from: arguments of ``rf.empirical.sample``, by the same names."""

    d: int | None
    kind: str = "features"
    data: Given = None
    rows: str = "gaussian"
    held_out: Given = None


class Draw(eqx.Module):
    """Everything random of one sample.

    Attributes
    ----------
    W : array, shape (p, d)
    X : array, shape (d, n)
        Training samples, in columns.
    fresh : array, shape (d, samples), or None
        Samples to test on; None where the data are Gaussian.
    Omega : array, shape (p, n), or None
        Ω of the Gaussian equivalent; None for features.
    spread : array, shape (d,), or (classes, d)
        Roots of the eigenvalues of Σ, or of each Σ_c.
    noise : JAX random key
        Of the draws of the noise.
    sizes : tuple of int, or None
        Training samples of each class, which follow one another; None where there are no classes.
    """

    W: Matrix
    X: Matrix
    fresh: Matrix | None
    Omega: Matrix | None
    spread: Reals
    noise: Key
    sizes: tuple[int, ...] | None = eqx.field(static=True, default=None)

    @property
    def d(self) -> int:
        return int(self.W.shape[1])

    @property
    def n(self) -> int:
        return int(self.X.shape[1])

    @property
    def is_gaussian_equivalent(self) -> bool:
        return self.Omega is not None


def drawn(key: Key, model: RandomFeatureModel, sampling: Sampling, matrices: int = 2) -> Draw:
    """One sample, once it is known that it and so many p×p `matrices` fit into memory."""
    sampling = _checked(sampling)
    size = sizes(model, sampling.d)
    _check_rows(sampling, size[1])
    if not np.isinf(model.noise_draws) and model.noise_draws > MOST_DRAWS:
        raise ValueError(
            f"noise_draws must be at most {MOST_DRAWS} to be sampled, or inf, from which more "
            f"differ by less than 1/{MOST_DRAWS}, got {model.noise_draws:g}"
        )
    if model.covariance.has_classes and sampling.data is None:
        matrices += 4 * model.covariance.traces.size
    in_expectation = sampling.kind == "features" and bool(np.isinf(model.noise_draws))
    _require_memory(size, matrices, layers=8 if in_expectation else 2)
    enter()
    return _draw(key, model, sampling, size)


def _checked(sampling: Sampling) -> Sampling:
    d, kind, data, rows, held_out = sampling
    for name, value, allowed in (("kind", kind, KINDS), ("rows", rows, ROWS)):
        if value not in allowed:
            raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")
    if data is not None:
        if kind == "gaussian":
            raise ValueError(
                'data goes with kind="features": the Gaussian equivalent draws its own'
            )
        data = _checked_samples("data", data, d)
        d = data.shape[1]
    if held_out is not None:
        if data is None:
            raise ValueError("held_out goes with data, the rows to train on")
        held_out = _checked_samples("held_out", held_out, d)
    return Sampling(d, kind, data, rows, held_out)


def _check_rows(sampling: Sampling, n: int) -> None:
    if sampling.data is None:
        return
    rows = sampling.data.shape[0]
    if sampling.held_out is None and rows <= n:
        raise ValueError(
            f"data must have more than n = psi_n d = {n} rows, so that some are held out, got "
            f"{rows}"
        )
    if rows < n:
        raise ValueError(f"data must have at least n = psi_n d = {n} rows, got {rows}")


def _require_memory(size: tuple[int, int, int], matrices: int, layers: int) -> None:
    d, n, p = size
    doubles = (matrices + 1) * p * p + p * (d + (layers + 2) * n) + 3 * min(p, BLOCK) * p
    require(
        doubles,
        f"U at p = {p}, n = {n}",
        "take a smaller d, or empirical.matrix_free_spectrum, which forms none",
    )


def _draw(
    key: Key, model: RandomFeatureModel, sampling: Sampling, size: tuple[int, int, int]
) -> Draw:
    d, n, p = size
    _, kind, data, rows, held_out = sampling
    spread = jnp.sqrt(eigenvalues_of(model, d))
    own = jnp.ones(d) if model.covariance.has_classes else spread
    columns = None if data is not None else n
    W, X, Omega = _normals(key, own, p, columns, rows == "spherical", kind == "gaussian")
    # `_normals` takes the first three of these keys, `train` the fourth
    noise = jax.random.split(key, 5)[4]
    if data is None and model.covariance.has_classes:
        counts = _multiplicities(np.asarray(cast(Classes, model.covariance).shares), n)
        X = jnp.asarray(X) * jnp.repeat(spread, counts, axis=0, total_repeat_length=n).T
        return Draw(W, X, None, Omega, spread, noise, tuple(map(int, counts)))
    if data is None:
        return Draw(W, X, None, Omega, spread, noise)
    order = np.asarray(jax.random.permutation(jax.random.split(key, 3)[1], data.shape[0]))
    fresh = data[order[n:]] if held_out is None else held_out
    return Draw(W, jnp.asarray(data[order[:n]].T), jnp.asarray(fresh.T), None, spread, noise)


def _normals(
    key: Key, spread: Vector, p: int, n: int | None, spherical: bool, gaussian: bool
) -> tuple[Matrix, Matrix | None, Matrix | None]:
    # W; X if n is given; Ω for the Gaussian equivalent
    d = spread.size
    shapes = (p, d), None if n is None else (d, n), None if n is None or not gaussian else (p, n)
    flat = [
        None if shape is None else _at_least(k, shape[0] * shape[1])
        for k, shape in zip(jax.random.split(key, 3), shapes, strict=True)
    ]
    return _shaped(flat, spread, shapes, spherical)


@partial(jax.jit, static_argnames=("shapes", "spherical"))
def _shaped(
    flat: list[Vector | None],
    spread: Vector,
    shapes: tuple[tuple[Whole, Whole], tuple[Whole, Whole] | None, tuple[Whole, Whole] | None],
    spherical: bool,
) -> tuple[Matrix, Matrix | None, Matrix | None]:
    def cut(a: Vector | None, shape: tuple[Whole, Whole] | None) -> Matrix | None:
        return None if a is None or shape is None else a[: math.prod(shape)].reshape(shape)

    W, X, Omega = map(cut, flat, shapes)
    assert W is not None
    if spherical:
        W = W * jnp.sqrt(W.shape[1] / jnp.sum(W**2, axis=1, keepdims=True))
    return W, None if X is None else spread[:, None] * X, Omega


def _at_least(key: Key, count: int) -> Vector:
    # lengths that are powers of two share compilations; of many numbers they would waste memory
    return _standard_normal(
        key, max(4096, 1 << (count - 1).bit_length()) if count <= 2**20 else count
    )


@partial(jax.jit, static_argnames="size")
def _standard_normal(key: Key, size: int) -> Vector:
    return jax.random.normal(key, (size,), float)


def _checked_samples(name: str, data: Given, d: int | None) -> np.ndarray:
    data = real_array(name, data, "a finite real matrix of shape (samples, d)")
    if data.ndim != 2:
        raise ValueError(f"{name} must be a matrix of shape (samples, d), got shape {data.shape}")
    if d not in (None, data.shape[1]):
        if name == "data":
            raise ValueError(f"d must be the number of columns of data, {data.shape[1]}, got {d}")
        raise ValueError(f"{name} must have d = {d} columns, got {data.shape[1]}")
    if data.size and np.abs(data).max() > LARGEST:
        raise ValueError(
            f"{name} must be at most {LARGEST:g} in size, where double precision holds fourth "
            f"powers, got {np.abs(data).max():g}"
        )
    if data.size and not np.any(np.ptp(data, axis=0) > 0):
        raise ValueError(
            f"{name} must vary from row to row, got {data.shape[0]} rows that are all the same"
        )
    return data


def sizes(model: RandomFeatureModel, d: int | None) -> tuple[int, int, int]:
    # (d, n, p)
    d = dimension_of(model, d)
    model.check_finite_width("a sample")
    n, p = round(float(model.psi_n) * d), round(float(model.psi_p) * d)
    if n < 1 or p < 1:
        name, psi = ("n", model.psi_n) if n < 1 else ("p", model.psi_p)
        need = int(np.ceil(0.5 / float(psi))) + 1
        raise ValueError(f"{name} = psi_{name} d rounds to 0 at d = {d}: take d of at least {need}")
    return int(d), n, p


def dimension_of(model: RandomFeatureModel, d: int | None) -> int:
    # of a sample: the argument, and only where there is none the model's
    if d is None and model.d is None:
        raise ValueError(
            "d must be an integer of at least 1, got None, and a model that has no d: give d here, "
            "or to the model"
        )
    return integer("d", model.d if d is None else d)


def eigenvalues_of(model: RandomFeatureModel, d: int) -> Reals:
    if model.covariance.has_classes:
        counts = _multiplicities(np.asarray(model.covariance.weights), d)
        return jnp.asarray(
            np.repeat(np.asarray(cast(Classes, model.covariance).of_classes), counts, axis=1)
        )
    if model.covariance.continua is None:
        values = np.asarray(model.covariance.values)
        return jnp.asarray(
            np.repeat(values, _multiplicities(np.asarray(model.covariance.weights), d))
        )
    # a continuous law is represented by its quantiles
    law = model.covariance.continua[0]
    intervals = np.flatnonzero(law.mass)
    alone = (np.repeat(law.mass, law.values.size // law.mass.size) == 0) & (law.weights > 0)
    atoms = law.values[alone]
    counts = _multiplicities(np.concatenate([law.mass[intervals], law.weights[alone]]), d)
    quantiles = [
        law.quantiles(int(i), (np.arange(n) + 0.5) / n)
        for i, n in zip(intervals, counts, strict=False)
    ]
    return jnp.asarray(np.concatenate([*quantiles, np.repeat(atoms, counts[intervals.size :])]))


def _multiplicities(weights: np.ndarray, d: int) -> np.ndarray:
    # by largest remainders, so that they add up to d
    counts = np.floor(weights * d + 1e-9).astype(int)
    rounded_up = np.argsort(counts - weights * d, kind="stable")[: d - counts.sum()]
    counts[rounded_up] += 1
    return counts
