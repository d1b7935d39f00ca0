r"""Averages over Gaussian noise, exactly: the Hermite expansion of the features' products.

A feature σ(y_i + width_i z_i) - μ0 with z_i a standard normal, E[z_iz_j] = R_ij, has the coefficients
c_k(y; width) = E_z[(σ(y + width z) - μ0) He_k(z)]/√k!, and averaged over z and over the columns ν of y

    U = Σ_k R^{∘k} ∘ (C_k C_kᵀ/n),   (C_k)_iν = c_k(y_iν; width_i),   diagonal E_z[(σ - μ0)²] exactly.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..activations import Activation
from ..processes import Process
from ..quadrature import gaussian_weight, hermite_functions, panels, trapezoid

GROUPS = ((0, 6), (6, 12), (12, 24), (24, 64))  # layers that are computed together
STEPS = (0.5, 0.25, 0.125, 0.0625)  # of the trapezoid rule in the noise
BLOCK = 512  # rows of U assembled together
EPS = float(np.finfo(float).eps)


class Rows(NamedTuple):
    """What the expansion needs of the features: unit rows, R = unit unitᵀ; means y; widths of the noise."""

    unit: Any
    y: Any
    width: Any


@jax.jit
def given(process: Process, W: Any, X: Any) -> Rows:
    """For given samples: y = αw·x/√d, and ξ alone is noise, of width βω."""
    return Rows(_unit(W), process.alpha * W @ X / jnp.sqrt(W.shape[1]), process.beta * norms(W))


@jax.jit
def fresh(process: Process, W: Any, spread: Any) -> Rows:
    """Where x is part of the noise, of covariance α²Σ + β²: R_ij = w_i(α²Σ + β²)w_j/(dγ_iγ_j), γ the widths."""
    scaled = W * jnp.sqrt((process.alpha * spread) ** 2 + process.beta2)
    return Rows(_unit(scaled), jnp.zeros((W.shape[0], 1)), norms(scaled))


def _unit(W: Any) -> Any:
    """Rows over their norms."""
    return W / (norms(W)[:, None] * np.sqrt(W.shape[1]))


def norms(W: Any) -> Any:
    """ω_i."""
    return jnp.sqrt(jnp.sum(W**2, axis=1) / W.shape[1])


class Expansion(NamedTuple):
    """U; C_0, shape (p, n); the slope E[φ_iz_i]/width_i averaged over ν, shape (p,); the bound of what is left out."""

    U: Any
    mean: Any
    slope: Any
    error: float


def expansion(sigma: Activation, rows: Rows, mu0: Any, tolerance: float) -> Expansion:
    """As many layers as it takes to leave out no more than the tolerance, relative to the mean diagonal; 64 at most."""
    step, quadrature = quadrature_step(sigma, rows.y, rows.width, mu0)
    layers: list[Any] = []
    found = np.zeros(rows.width.size)
    for first, last in GROUPS:
        C, square, found, rest = _group(sigma, rows, mu0, found, step, first, last)
        layers.append(C)
        error = float(rest) + quadrature
        if error <= tolerance + quadrature:
            break
    low = layers[0]
    return Expansion(_assemble(rows, tuple(layers), square), low[0], jnp.mean(low[1], axis=1) / rows.width, error)


@partial(jax.jit, static_argnames=("step", "first", "last"))
def _group(
    sigma: Activation, rows: Rows, mu0: Any, found: Any, step: float, first: int, last: int
) -> tuple[Any, Any, Any, Any]:
    """Some layers, E_w[σ²], what all layers so far make of it, and the bound of the rest."""
    C, square = coefficients(sigma, rows.y, rows.width, mu0, step, first, last)
    found = found + jnp.sum(jnp.mean(C**2, axis=2), axis=0)
    rest = _left_out(rows.unit, jnp.maximum(square - found, 0.0), last) / jnp.mean(square)
    return C, square, found, rest


def quadrature_step(sigma: Activation, Y: Any, width: Any, mu0: Any) -> tuple[float, float]:
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
def coefficients(
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
def _assemble(rows: Rows, layers: tuple[Any, ...], square: Any) -> Any:
    """The matrix block of rows by block of rows, so that no second matrix of its size is needed."""
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
    return U.at[jnp.diag_indices(p)].set(square)
