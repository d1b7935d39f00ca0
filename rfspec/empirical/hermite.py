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

LAYERS = 64  # of the expansion, at most
TOGETHER = 8  # layers of a smooth σ that are added at a time
# a σ with kinks takes these layers first ≤ k < last at a time, since they fall off slowly
KINKED = ((0, 16), (16, LAYERS))
PROBED = 6  # layers by which the step of the quadrature is chosen
STEPS = (0.5, 0.25, 0.125, 0.0625)  # of the trapezoid rule in the noise
BLOCK = 512  # rows of U assembled together


class PreActivations(NamedTuple):
    """The Gaussians y_i + width_i z_i that σ is applied to.

    Attributes
    ----------
    unit : array, shape (p, d)
        Unit vectors with E[zzᵀ] = R = unit unitᵀ.
    y : array, shape (p, n)
    width : array, shape (p,)
    """

    unit: Matrix
    y: Matrix
    width: Vector


@jax.jit
def of_samples(process: Process, W: Matrix, X: Matrix) -> PreActivations:
    # ξ alone is noise
    y = process.alpha * W @ X / jnp.sqrt(W.shape[1])
    return PreActivations(_unit_rows(W), y, process.beta * norms(W))


@jax.jit
def of_gaussian_data(process: Process, W: Matrix, spread: Vector) -> PreActivations:
    # αx + βξ is noise of covariance α²Σ + β²: R_ij = w_i(α²Σ + β²)w_j/(dγ_iγ_j), γ the widths
    scaled = W * jnp.sqrt((process.alpha * spread) ** 2 + process.beta2)[None, :]
    return PreActivations(_unit_rows(scaled), jnp.zeros((W.shape[0], 1)), norms(scaled))


def _unit_rows(W: Matrix) -> Matrix:
    return W / (norms(W)[:, None] * np.sqrt(W.shape[1]))


def norms(W: Matrix) -> Vector:
    # ω_i = |w_i|/√d
    return jnp.sqrt(jnp.sum(W**2, axis=1) / W.shape[1])


class Expansion(NamedTuple):
    """What the layers add up to.

    Attributes
    ----------
    U : array, shape (p, p)
    mean : array, shape (p, n)
        C_0.
    slope : array, shape (p,)
        E[φ_iz_i]/width_i, averaged over ν.
    error : float
        Bound of what is left out: Frobenius norm over √p, relative to the mean of the diagonal.
    """

    U: Matrix
    mean: Matrix
    slope: Vector
    error: float


def expansion(sigma: Activation, rows: PreActivations, mu0: Real, tolerance: float) -> Expansion:
    step, quadrature = quadrature_step(sigma, rows.y, rows.width, mu0)
    p = rows.width.size
    groups = KINKED if sigma.kinks else [(k, k + TOGETHER) for k in range(0, LAYERS, TOGETHER)]
    weighted = None if sigma.kinks else _weighted_hermite(step, LAYERS)
    U, explained, low = jnp.zeros((p, p)), np.zeros(p), None
    for first, last in groups:
        layers = {"span": (first, last)} if weighted is None else {"hermite": weighted[first:last]}
        U, C, square, explained, omitted = _with_layers(
            sigma, rows, mu0, U, explained, np.float64(first), step=step, **layers
        )
        low = C if low is None else low
        error = float(omitted) + quadrature
        if error <= tolerance + quadrature:
            break
    assert low is not None
    U = _with_diagonal(U, square)
    return Expansion(U, low[0], jnp.mean(low[1], axis=1) / rows.width, error)


@partial(jax.jit, static_argnames=("step", "span"))
def _with_layers(
    sigma: Activation,
    rows: PreActivations,
    mu0: Real,
    U: Matrix,
    explained: Vector,
    first: Real,
    *,
    step: float,
    span: tuple[int, int] | None = None,
    hermite: Matrix | None = None,
) -> tuple[Matrix, Reals, Vector, Vector, Real]:
    """U with the layers from `first` on added off the diagonal.

    Returns U; C_0 and C_1, if `first` is 0; E[σ²]; the part of it that all layers so far explain;
    and the bound of what is still left out. By Cauchy and Schwarz Σ_{k≥last} √(m_ki m_kj) |R_ij|^k
    ≤ √(m_i m_j) |R_ij|^last, with m_i what the diagonal misses.
    """
    C, square = _coefficients(sigma, rows.y, rows.width, mu0, step, span, hermite)
    explained = explained + jnp.sum(jnp.mean(C**2, axis=2), axis=0)
    missing = jnp.maximum(square - explained, 0.0)
    p, n = rows.unit.shape[0], C.shape[2]
    size = min(p, BLOCK)
    # block of rows by block of rows, so that two matrices of U's size are enough; the last two
    # blocks may overlap
    starts = jnp.minimum(jnp.arange(-(-p // size)) * size, p - size)

    def block(i: Whole, carry: tuple[Matrix, Real]) -> tuple[Matrix, Real]:
        of = lambda a: jax.lax.dynamic_slice_in_dim(a, starts[i], size)
        R = of(rows.unit) @ rows.unit.T

        def layer(carry: tuple[Matrix, Matrix], C: Matrix) -> tuple[tuple[Matrix, Matrix], None]:
            total, power = carry
            return (total + power * (of(C) @ C.T) / n, power * R), None

        (total, power), _ = jax.lax.scan(layer, (of(U), (R**2) ** (first / 2)), C)
        diagonal = (starts[i] + jnp.arange(size))[:, None] == jnp.arange(p)[None, :]
        squares = jnp.where(diagonal, 0.0, power**2)
        out, bound = carry
        out = jax.lax.dynamic_update_slice_in_dim(out, total, starts[i], 0)
        return out, bound + of(missing) @ squares @ missing

    U, bound = jax.lax.fori_loop(0, starts.size, block, (jnp.zeros((p, p)), jnp.zeros(())))
    return U, C[:2], square, explained, jnp.sqrt(bound / p) / jnp.mean(square)


@jax.jit
def _with_diagonal(U: Matrix, diagonal: Vector) -> Matrix:
    return U.at[jnp.diag_indices(U.shape[0])].set(diagonal)


def quadrature_step(sigma: Activation, Y: Matrix, width: Vector, mu0: Real) -> tuple[float, float]:
    """The widest trapezoid step that is exact to rounding at the widest noise, and its error.

    The step is 0 for a σ with kinks, which is integrated panel by panel between them.
    """
    if sigma.kinks:
        return 0.0, 64 * EPS
    w, weight = _trapezoid_rule(STEPS[-1])
    y = np.quantile(np.asarray(Y), np.linspace(0.0, 1.0, 33))
    value = np.asarray(_values(sigma, y[:, None] + float(jnp.max(width)) * w)) - float(mu0)
    hermite = hermite_functions(w, PROBED, np) * weight
    # a step's nodes are every other node of the next one's, counted from the middle
    middle = w.size // 2
    strides = [round(step / STEPS[-1]) for step in STEPS]
    nodes = [np.arange(middle % stride, w.size, stride) for stride in strides]
    each = [
        stride * value[:, i] @ hermite[:, i].T for stride, i in zip(strides, nodes, strict=True)
    ]
    size = np.sqrt(np.mean(value**2 @ weight))
    errors = [float(np.abs(fine - coarse).max() / size) for coarse, fine in pairwise(each)]
    widest = next((i for i, error in enumerate(errors) if error < 1e-13), len(errors))
    return STEPS[widest], errors[min(widest, len(errors) - 1)] + 64 * EPS


def _weighted_hermite(step: float, layers: int) -> np.ndarray:
    w, weight = _trapezoid_rule(step)
    return hermite_functions(w, layers, np) * weight


def _trapezoid_rule(step: float) -> tuple[np.ndarray, np.ndarray]:
    w, weight = trapezoid(step)
    # the other nodes carry less than rounding
    near = np.abs(w) < 9.0
    return w[near], weight[near]


@jax.jit
def _values(sigma: Activation, x: Matrix) -> Matrix:
    return sigma(x)


@partial(jax.jit, static_argnames=("step", "layers"))
def coefficients(
    sigma: Activation, Y: Matrix, width: Vector, mu0: Real, step: float, layers: int
) -> tuple[Reals, Vector]:
    # c_k(y; width), shape (layers, *Y.shape), and E_w[σ²] averaged over each row
    if step:
        return _coefficients(sigma, Y, width, mu0, step, None, _weighted_hermite(step, layers))
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
    # `hermite` holds the layers of a smooth σ, `span` = (first, last) names those of one with kinks
    if hermite is not None:
        w, weight = _trapezoid_rule(step)

        def one(y: Vector, width: Real) -> tuple[Matrix, Vector]:
            value = sigma(y[:, None] + width * w[None, :]) - mu0
            return jnp.moveaxis(value @ hermite.T, -1, 0), value**2 @ weight

    else:
        assert span is not None
        kinks, (first, last) = jnp.asarray(sigma.kinks), span

        def between_kinks(y: Real, width: Real) -> tuple[Vector, Real]:
            w, weight = panels(-9.0, 9.0, (kinks - y) / width, 1.0, 1)
            weight = weight * gaussian_weight(w)
            value = sigma(y + width * w) - mu0
            return hermite_functions(w, last)[first:] @ (weight * value), weight @ value**2

        def one(y: Vector, width: Real) -> tuple[Matrix, Vector]:
            c, square = jax.vmap(between_kinks, (0, None))(y, width)
            return c.T, square

    def row(a: tuple[Vector, Real]) -> tuple[Matrix, Real]:
        c, square = one(*a)
        return c, jnp.mean(square)

    # some rows at a time: the quadrature nodes of all entries would fill the memory
    p, n = Y.shape
    batches = -(-p // max(1, min(p, 4096 // n)))
    size = -(-p // batches)
    cut = lambda a: jnp.pad(
        a, [(0, batches * size - p)] + [(0, 0)] * (a.ndim - 1), mode="edge"
    ).reshape(batches, size, *a.shape[1:])
    C, square = jax.lax.map(jax.vmap(row), (cut(Y), cut(width)))
    return jnp.moveaxis(C.reshape(-1, *C.shape[2:])[:p], 1, 0), square.ravel()[:p]
