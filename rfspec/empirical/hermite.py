r"""Averages over Gaussian noise, exactly: the Hermite expansion of the features' products.

A feature σ(y_i + width_i z_i) - μ0 with z_i a standard normal, E[z_iz_j] = R_ij, has the
coefficients c_k(y; width) = E_z[(σ(y + width z) - μ0) He_k(z)]/√k!, and averaged over z and over
the columns ν of y

    U = Σ_k R^{∘k} ∘ (C_k C_kᵀ/n),  (C_k)_iν = c_k(y_iν; width_i),  diagonal E_z[(σ - μ0)²] exactly.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..models.activations import Activation
from ..models.processes import Process
from ..numerics.quadrature import gaussian_weight, hermite_functions, panels, trapezoid
from ..numerics.rounding import EPS
from ..numerics.types import Matrix, Real, Reals, Vector, Whole

LAYERS = 64  # at most
TOGETHER = 8  # of a smooth σ are computed at a time,
KINKED = ((0, 16), (16, LAYERS))  # of one with kinks, whose layers fall off slowly
PROBED = 6  # tell the step of the quadrature
STEPS = (0.5, 0.25, 0.125, 0.0625)  # of the trapezoid rule in the noise
BLOCK = 512  # rows of U assembled together


class Rows(NamedTuple):
    """What the expansion needs of the features: unit rows, R = unit unitᵀ; means y;
    widths of the noise.
    """

    unit: Matrix
    y: Matrix
    width: Vector


@jax.jit
def given(process: Process, W: Matrix, X: Matrix) -> Rows:
    """For given samples: y = αw·x/√d, and ξ alone is noise, of width βω."""
    return Rows(_unit(W), process.alpha * W @ X / jnp.sqrt(W.shape[1]), process.beta * norms(W))


@jax.jit
def fresh(process: Process, W: Matrix, spread: Vector) -> Rows:
    """Where x is part of the noise, of covariance α²Σ + β²: R_ij = w_i(α²Σ + β²)w_j/(dγ_iγ_j),
    γ the widths.
    """
    scaled = W * jnp.sqrt((process.alpha * spread) ** 2 + process.beta2)[None, :]
    return Rows(_unit(scaled), jnp.zeros((W.shape[0], 1)), norms(scaled))


def _unit(W: Matrix) -> Matrix:
    """Rows over their norms."""
    return W / (norms(W)[:, None] * np.sqrt(W.shape[1]))


def norms(W: Matrix) -> Vector:
    """ω_i."""
    return jnp.sqrt(jnp.sum(W**2, axis=1) / W.shape[1])


class Expansion(NamedTuple):
    """U; C_0, shape (p, n); the slope E[φ_iz_i]/width_i averaged over ν, shape (p,);
    the bound of what is left out.
    """

    U: Matrix
    mean: Matrix
    slope: Vector
    error: float


def expansion(sigma: Activation, rows: Rows, mu0: Real, tolerance: float) -> Expansion:
    """As many layers as it takes to leave out no more than the tolerance,
    relative to the mean diagonal; 64 at most.
    """
    step, quadrature = quadrature_step(sigma, rows.y, rows.width, mu0)
    p = rows.width.size
    groups = KINKED if sigma.kinks else [(k, k + TOGETHER) for k in range(0, LAYERS, TOGETHER)]
    weighted = None if sigma.kinks else _weighted(step, LAYERS)
    U, found, low = jnp.zeros((p, p)), np.zeros(p), None
    for first, last in groups:
        known = {"span": (first, last)} if weighted is None else {"hermite": weighted[first:last]}
        U, C, square, found, rest = _add(
            sigma, rows, mu0, U, found, np.float64(first), step=step, **known
        )
        low = C if low is None else low
        error = float(rest) + quadrature
        if error <= tolerance + quadrature:
            break
    assert low is not None
    U = _with_diagonal(U, square)
    return Expansion(U, low[0], jnp.mean(low[1], axis=1) / rows.width, error)


@partial(jax.jit, static_argnames=("step", "span"))
def _add(
    sigma: Activation,
    rows: Rows,
    mu0: Real,
    U: Matrix,
    found: Vector,
    first: Real,
    *,
    step: float,
    span: tuple[int, int] | None = None,
    hermite: Matrix | None = None,
) -> tuple[Matrix, Reals, Vector, Vector, Real]:
    """U with some more layers off the diagonal, C_0 and C_1 if they are the first, E[σ²], what all
    layers so far make of it, and the bound of the rest: its Frobenius norm per √p off the diagonal,
    over the mean diagonal.

    By Cauchy and Schwarz Σ_{k≥last} √(m_ki m_kj) |R_ij|^k ≤ √(m_i m_j) |R_ij|^last, with m_i what
    the diagonal misses. Block of rows by block of rows, so that no more than two matrices of U's
    size are needed.
    """
    C, square = _coefficients(sigma, rows.y, rows.width, mu0, step, span, hermite)
    found = found + jnp.sum(jnp.mean(C**2, axis=2), axis=0)
    missing = jnp.maximum(square - found, 0.0)
    p, n = rows.unit.shape[0], C.shape[2]
    size = min(p, BLOCK)
    # the last two blocks may overlap
    starts = jnp.minimum(jnp.arange(-(-p // size)) * size, p - size)

    def block(i: Whole, carry: tuple[Matrix, Real]) -> tuple[Matrix, Real]:
        of = lambda a: jax.lax.dynamic_slice_in_dim(a, starts[i], size)
        R = of(rows.unit) @ rows.unit.T

        def layer(carry: tuple[Matrix, Matrix], C: Matrix) -> tuple[tuple[Matrix, Matrix], None]:
            total, power = carry
            return (total + power * (of(C) @ C.T) / n, power * R), None

        (some, power), _ = jax.lax.scan(layer, (of(U), (R**2) ** (first / 2)), C)
        diagonal = (starts[i] + jnp.arange(size))[:, None] == jnp.arange(p)[None, :]
        off = jnp.where(diagonal, 0.0, power**2)
        out, rest = carry
        return jax.lax.dynamic_update_slice_in_dim(out, some, starts[i], 0), rest + of(
            missing
        ) @ off @ missing

    U, rest = jax.lax.fori_loop(0, starts.size, block, (jnp.zeros((p, p)), jnp.zeros(())))
    return U, C[:2], square, found, jnp.sqrt(rest / p) / jnp.mean(square)


@jax.jit
def _with_diagonal(U: Matrix, diagonal: Vector) -> Matrix:
    return U.at[jnp.diag_indices(U.shape[0])].set(diagonal)


def quadrature_step(sigma: Activation, Y: Matrix, width: Vector, mu0: Real) -> tuple[float, float]:
    """The widest trapezoid step that is exact to rounding at the widest noise, and its error;
    0 for a σ with kinks.
    """
    if sigma.kinks:
        return 0.0, 64 * EPS
    w, weight = _rule(STEPS[-1])
    y = np.quantile(np.asarray(Y), np.linspace(0.0, 1.0, 33))
    value = np.asarray(_plain(sigma, y[:, None] + float(jnp.max(width)) * w)) - float(mu0)
    hermite = hermite_functions(w, PROBED, np) * weight
    # a step's nodes are every other node of the next one's, counted from the middle
    middle = w.size // 2
    strides = [round(step / STEPS[-1]) for step in STEPS]
    nodes = [np.arange(middle % stride, w.size, stride) for stride in strides]
    each = [
        stride * value[:, at] @ hermite[:, at].T for stride, at in zip(strides, nodes, strict=True)
    ]
    size = np.sqrt(np.mean(value**2 @ weight))
    errors = [float(np.abs(fine - coarse).max() / size) for coarse, fine in pairwise(each)]
    place = next((i for i, error in enumerate(errors) if error < 1e-13), len(errors))
    return STEPS[place], errors[min(place, len(errors) - 1)] + 64 * EPS


def _weighted(step: float, layers: int) -> np.ndarray:
    """Hermite functions times the weights of the trapezoid rule, shape (layers, nodes)."""
    w, weight = _rule(step)
    return hermite_functions(w, layers, np) * weight


def _rule(step: float) -> tuple[np.ndarray, np.ndarray]:
    """The trapezoid rule without the nodes that carry less than rounding."""
    w, weight = trapezoid(step)
    near = np.abs(w) < 9.0
    return w[near], weight[near]


@jax.jit
def _plain(sigma: Activation, x: Matrix) -> Matrix:
    return sigma(x)


@partial(jax.jit, static_argnames=("step", "layers"))
def coefficients(
    sigma: Activation, Y: Matrix, width: Vector, mu0: Real, step: float, layers: int
) -> tuple[Reals, Vector]:
    """c_k(y; width) of the first layers, shape (layers, *Y.shape),
    and E_w[σ²] averaged over each row.
    """
    if step:
        return _coefficients(sigma, Y, width, mu0, step, None, _weighted(step, layers))
    return _coefficients(sigma, Y, width, mu0, step, (0, layers), None)


def _coefficients(
    sigma: Activation,
    Y: Matrix,
    width: Vector,
    mu0: Real,
    step: float,
    span: tuple[int, int] | None,
    hermite: Matrix | None,
) -> tuple[Reals, Vector]:
    """The same for layers first ≤ k < last of a σ with kinks,
    or those of the weighted Hermite functions given.
    """
    if hermite is not None:
        w, weight = _rule(step)

        def one(y: Vector, width: Real) -> tuple[Matrix, Vector]:
            value = sigma(y[:, None] + width * w[None, :]) - mu0
            return jnp.moveaxis(value @ hermite.T, -1, 0), value**2 @ weight

    else:
        assert span is not None
        kinks, (first, last) = jnp.asarray(sigma.kinks), span

        def at(y: Real, width: Real) -> tuple[Vector, Real]:
            w, weight = panels(-9.0, 9.0, (kinks - y) / width, 1.0, 1)
            weight = weight * gaussian_weight(w)
            value = sigma(y + width * w) - mu0
            return hermite_functions(w, last)[first:] @ (weight * value), weight @ value**2

        def one(y: Vector, width: Real) -> tuple[Matrix, Vector]:
            c, square = jax.vmap(at, (0, None))(y, width)
            return c.T, square

    def row(a: tuple[Vector, Real]) -> tuple[Matrix, Real]:
        c, square = one(*a)
        return c, jnp.mean(square)

    # some rows at a time, so that the quadrature nodes of all entries never stand in memory at once
    p, n = Y.shape
    batches = -(-p // max(1, min(p, 4096 // n)))
    size = -(-p // batches)
    cut = lambda a: jnp.pad(
        a, [(0, batches * size - p)] + [(0, 0)] * (a.ndim - 1), mode="edge"
    ).reshape(batches, size, *a.shape[1:])
    C, square = jax.lax.map(jax.vmap(row), (cut(Y), cut(width)))
    return jnp.moveaxis(C.reshape(-1, *C.shape[2:])[:p], 1, 0), square.ravel()[:p]
