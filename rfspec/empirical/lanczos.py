"""Lanczos' recurrence on an operator, and the quadratures of its spectral measure."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from matfree.decomp import tridiag_sym
from scipy.linalg import eigh_tridiagonal
from tqdm import tqdm

from ..numerics.types import Key, Matrix, Vector, Whole, Wholes
from .normal_rows import REPLICATED, SHARDED
from .operators import Operator

# an off-diagonal entry below so much of the largest entry of T ends the Krylov space
BREAKDOWN = 1e-13
BELOW = 1e-9  # relative distance below the floor at which the node of a bound lies


def lanczos(
    key: Key, operator: Operator, probes: int, order: int, group: int, progress: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    # diagonals (probes, order) and off-diagonals (probes, order - 1) of T, a group at a time
    parts = []
    starts = range(0, probes, group)
    for first in tqdm(
        starts, desc="probes", unit="group", disable=not progress, leave=False, delay=1.0
    ):
        indices = jnp.arange(first, min(first + group, probes))
        parts.append([np.asarray(part) for part in _tridiagonal(operator, key, indices, order)])
    return _cut_where_it_ended(*(np.concatenate(part) for part in zip(*parts, strict=True)))


@partial(jax.jit, static_argnames="order")
def _tridiagonal(
    operator: Operator, key: Key, indices: Wholes, order: int
) -> tuple[Matrix, Matrix]:
    decompose = tridiag_sym(order, materialize=False, custom_vjp=False)
    mesh = operator.W.mesh
    on = lambda a, layout: jax.lax.with_sharding_constraint(a, NamedSharding(mesh, layout))

    def one(index: Whole) -> tuple[Vector, Vector]:
        signs = jax.random.rademacher(jax.random.fold_in(key, index), (operator.W.rows,), float)
        return decompose(
            lambda v: on(operator.on_blocks(v), SHARDED), on(operator.W.cut(signs), SHARDED)
        ).J_small

    return jax.tree.map(lambda a: on(a, REPLICATED), jax.vmap(one)(indices))


def _cut_where_it_ended(
    diagonal: np.ndarray, off_diagonal: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    # what follows the end of a Krylov space becomes nodes of weight 0 at its last diagonal entry
    size = np.nanmax(np.abs(diagonal), axis=1, keepdims=True)
    going = np.cumprod(off_diagonal > BREAKDOWN * size, axis=1).astype(bool)
    last = np.take_along_axis(diagonal, np.sum(going, axis=1, keepdims=True), axis=1)
    kept = np.concatenate([np.ones((going.shape[0], 1), bool), going], axis=1)
    return np.where(kept, diagonal, last), np.where(going, off_diagonal, 0.0)


def gauss(diagonal: np.ndarray, off_diagonal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    # nodes and weights for each T, shape (probes, order)
    pairs = [eigh_tridiagonal(a, b) for a, b in zip(diagonal, off_diagonal, strict=True)]
    return np.stack([values for values, _ in pairs]), np.stack(
        [vectors[0] ** 2 for _, vectors in pairs]
    )


def radau(
    diagonal: np.ndarray, off_diagonal: np.ndarray, floor: float
) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights with one node at a ≤ all eigenvalues (Golub, SIAM Rev. 15, 318, 1973).

    The last entry of T becomes α_m = a + β²/π, with π the last pivot of T_{m-1} - a.
    """
    # below the floor, so that rounding leaves the pivots positive where an eigenvalue is at it
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
    # 1/Σ_{k<m} p_k(x)² by b_k p_{k+1} = (x - a_k)p_k - b_{k-1}p_{k-1}, p_0 = 1, kept in scale
    last, now = np.zeros_like(x), np.ones_like(x)
    total, log_scale = np.ones_like(x), np.zeros_like(x)
    for k, beta in enumerate(b):
        if beta == 0.0:  # μ has no further points
            next_one = (x - a[k]) * now - (b[k - 1] if k else 0.0) * last
            is_root = np.abs(next_one) <= BREAKDOWN * np.abs(a).max() * np.abs(now)
            return np.where(is_root, np.exp(-log_scale) / total, 0.0)
        last, now = now, ((x - a[k]) * now - (b[k - 1] if k else 0.0) * last) / beta
        total = total + now**2
        scale = np.maximum(np.abs(now), np.abs(last))
        last, now, total = last / scale, now / scale, total / scale**2
        log_scale = log_scale + 2 * np.log(scale)
    return np.exp(-log_scale) / total


def jackson(count: int) -> np.ndarray:
    # damping factors g_k, k < count
    k, angle = np.arange(count), np.pi / (count + 1)
    return ((count - k + 1) * np.cos(k * angle) + np.sin(k * angle) / np.tan(angle)) / (count + 1)
