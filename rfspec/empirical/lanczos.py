"""Lanczos' recurrence on an operator, and the quadratures of its spectral measure."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from matfree.decomp import tridiag_sym
from scipy.linalg import eigh_tridiagonal
from tqdm import tqdm

from ..numerics.types import Key, Matrix, Vector, Whole, Wholes
from .operators import Operator, sharding

BREAKDOWN = 1e-13  # of the largest entry of T: an off-diagonal entry below it ends the Krylov space
BELOW = 1e-9  # of the floor: how far below it the node of a bound lies


def lanczos(
    key: Key, operator: Operator, probes: int, order: int, group: int, progress: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Diagonals (probes, order) and off-diagonals (probes, order - 1) of T,
    a group of probes at a time.
    """
    parts = []
    starts = range(0, probes, group)
    for first in tqdm(
        starts, desc="probes", unit="group", disable=not progress, leave=False, delay=1.0
    ):
        indices = jnp.arange(first, min(first + group, probes))
        parts.append([np.asarray(part) for part in _tridiagonal(operator, key, indices, order)])
    return _ended(*(np.concatenate(part) for part in zip(*parts, strict=True)))


@partial(jax.jit, static_argnames="order")
def _tridiagonal(
    operator: Operator, key: Key, indices: Wholes, order: int
) -> tuple[Matrix, Matrix]:
    """Lanczos from the probes of the given indices: diagonal (k, order) and off-diagonal (k,
    order - 1) of T.
    """
    decompose = tridiag_sym(order, materialize=False, custom_vjp=False)
    here = lambda a, shared: jax.lax.with_sharding_constraint(a, sharding(operator, shared))

    def one(index: Whole) -> tuple[Vector, Vector]:
        signs = jax.random.rademacher(jax.random.fold_in(key, index), (operator.W.rows,), float)
        return decompose(
            lambda v: here(operator.on_blocks(v), True), here(operator.W.cut(signs), True)
        ).J_small

    return jax.tree.map(lambda a: here(a, False), jax.vmap(one)(indices))


def _ended(diagonal: np.ndarray, off_diagonal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """T without what follows the end of a Krylov space:
    nodes of weight zero at its last diagonal entry.
    """
    size = np.nanmax(np.abs(diagonal), axis=1, keepdims=True)
    going = np.cumprod(off_diagonal > BREAKDOWN * size, axis=1).astype(bool)
    last = np.take_along_axis(diagonal, np.sum(going, axis=1, keepdims=True), axis=1)
    kept = np.concatenate([np.ones((going.shape[0], 1), bool), going], axis=1)
    return np.where(kept, diagonal, last), np.where(going, off_diagonal, 0.0)


def gauss(diagonal: np.ndarray, off_diagonal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of the Gauss quadrature of each T."""
    pairs = [eigh_tridiagonal(a, b) for a, b in zip(diagonal, off_diagonal, strict=True)]
    return np.stack([values for values, _ in pairs]), np.stack(
        [vectors[0] ** 2 for _, vectors in pairs]
    )


def radau(
    diagonal: np.ndarray, off_diagonal: np.ndarray, floor: float
) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights with one node at a ≤ all eigenvalues, by the last entry of T (Golub,
    SIAM Rev. 15, 318, 1973).

    α_m = a + β²/π, π the last pivot of T_{m-1} - a. The node lies below the floor by enough that
    rounding leaves the pivots positive where an eigenvalue is at the floor.
    """
    a = floor * (1.0 - BELOW)
    # elsewhere the Krylov space has ended, and the quadrature is exact
    going = off_diagonal[:, -1] > 0
    last = diagonal[:, -1].copy()
    for i in np.flatnonzero(going):
        alpha, beta = diagonal[i], off_diagonal[i]
        pivot = alpha[0] - a
        for k in range(1, alpha.size - 1):
            pivot = alpha[k] - a - beta[k - 1] ** 2 / pivot
        last[i] = a + beta[-1] ** 2 / max(pivot, BREAKDOWN * np.abs(alpha).max())
    nodes, weights = gauss(np.concatenate([diagonal[:, :-1], last[:, None]], axis=1), off_diagonal)
    nodes[going, 0] = a
    return nodes, weights


def christoffel(a: np.ndarray, b: np.ndarray, x: np.ndarray) -> np.ndarray:
    """1/Σ_{k<m} p_k(x)² by the recurrence b_k p_{k+1} = (x - a_k)p_k - b_{k-1}p_{k-1},
    kept in scale; p_0 = 1.
    """
    last, now = np.zeros_like(x), np.ones_like(x)
    total, log_scale = np.ones_like(x), np.zeros_like(x)
    for k, beta in enumerate(b):
        if beta == 0.0:  # μ has no further points
            on = np.abs((x - a[k]) * now - (b[k - 1] if k else 0.0) * last) <= BREAKDOWN * np.abs(
                a
            ).max() * np.abs(now)
            return np.where(on, np.exp(-log_scale) / total, 0.0)
        last, now = now, ((x - a[k]) * now - (b[k - 1] if k else 0.0) * last) / beta
        total = total + now**2
        scale = np.maximum(np.abs(now), np.abs(last))
        last, now, total = last / scale, now / scale, total / scale**2
        log_scale = log_scale + 2 * np.log(scale)
    return np.exp(-log_scale) / total


def jackson(count: int) -> np.ndarray:
    """Jackson's damping factors g_k, k < count."""
    k, angle = np.arange(count), np.pi / (count + 1)
    return ((count - k + 1) * np.cos(k * angle) + np.sin(k * angle) / np.tan(angle)) / (count + 1)
