r"""Losses expected over draws of the data, for given moments of the features.

With (15) and (16) of docs/theory.md for one kind of column, C and H in place of its FFᵀ and FΣFᵀ,
V̄ = V_0 + D N and Q_j = (H + D_jC - z_j)⁻¹,

    (1/d) Tr Vᵀ(U - z)⁻¹V ≃ (1 - D) y + (1/d) Tr V̄ᵀQV̄
    (1/d) Tr Vᵀ(U - z_1)⁻¹Ũ(U - z_2)⁻¹V ≃ (1/d) Tr V̄_1ᵀQ_1ŨQ_2V̄_2 + φ [ (1/d) Tr V̄_1ᵀQ_1CQ_2V̄_2
        + y - (1/d) Tr NᵀQ_1V̄_1 - (1/d) Tr NᵀQ_2V̄_2 ],
    φ = D_1D_2 (1/n) Tr ŨQ_1CQ_2 / (1 - D_1D_2 (1/n) Tr CQ_1CQ_2),

and (17) are sums of these over the nodes of one contour, which serves all times.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..numerics.rounding import EPS
from ..numerics.types import Matrix, Numbers, Real, Reals, Vector, Whole
from .column_weight import AtNode, Pencil, along
from .enclosing import Enclosing, enclosing, learnt, misfit
from .memory import require

# nodes of a contour, at most; the first count that is tried, and what is added to it
MOST, FEWEST, MORE = 160, 8, 4
# of the largest eigenvalue: what counts as 0 of H
ZERO = 1e-13
# bytes are counted in doubles: of a complex number
COMPLEX = 2


class Moments(NamedTuple):
    """What the losses need to know of features with given weights.

    Attributes
    ----------
    C : array, shape (p, p)
        E_x[ggᵀ], g = E_ξ[φ].
    U : array, shape (p, p)
        Ũ = E[φφᵀ].
    fixed : array, shape (p, d)
        V_0, the part -E[φyᵀ] of V that does not fluctuate with the data: that of the noise.
    signal : array, shape (p, d)
        N = -E[g c_x xᵀ], the part that does; 0 for the targets "noise" and "score".
    power : float
        y = E|c_x x|²/d, what the target varies by with the data.
    untrained : float
        E|y|²/d, the loss of A = 0.
    """

    C: Matrix
    U: Matrix
    fixed: Matrix
    signal: Matrix
    power: Real
    untrained: Real


class Losses(NamedTuple):
    """Both losses and their errors at each time."""

    train: Vector
    test: Vector
    train_error: Vector
    test_error: Vector


def losses_of(
    moments: Moments, n: Whole, c: Vector, decay: Real = 0.0, tolerance: Real = 1e-6
) -> Losses:
    """Losses after gradient flow to c = 2ω²τ/ψ_p ∈ [0, ∞], with n samples.

    `decay` is γ/ω². The error is what the filters on the contour are off by, what the steps of
    Newton's method left open, and rounding.
    """
    c = np.asarray(c, float)
    later = c > 0
    untrained = float(moments.untrained)
    losses = Losses(*(np.full(c.shape, v) for v in (untrained, untrained, 0.0, 0.0)))
    if np.any(later):
        at_times = _trained(moments, n, c[later], float(decay), float(tolerance))
        for column, values in zip(losses, at_times, strict=True):
            column[later] = values
    return losses


def _trained(moments: Moments, n: Whole, c: Vector, decay: float, tolerance: float) -> Losses:
    pencil, rotated = _in_eigenbasis_of_columns(moments, n, decay)
    a, b = _interval(pencil)
    path, off = _contour(a, b, c, tolerance)
    p, d = rotated.fixed.shape
    count = path.nodes.size
    require(
        COMPLEX * count * p * (p + 2 * d) + 12 * p * p,
        f"{count} resolvents at p = {p}",
        "take fewer features, or a larger tolerance",
    )
    points = along(pencil, path, 0.1 * tolerance)
    sums = _sums(pencil, rotated, path, points, decay)
    return _losses(rotated, path, points, sums, c, decay, off)


def _in_eigenbasis_of_columns(moments: Moments, n: Whole, decay: float) -> tuple[Pencil, Moments]:
    kappa, E = jnp.linalg.eigh(jnp.asarray(moments.C))
    kappa = jnp.maximum(kappa, 0.0)
    U = E.T @ moments.U @ E
    H = U - jnp.diag(kappa - decay)
    rotated = moments._replace(
        C=jnp.diag(kappa), U=U, fixed=E.T @ moments.fixed, signal=E.T @ moments.signal
    )
    return Pencil((H + H.T) / 2.0, kappa, n), rotated


def _interval(pencil: Pencil) -> tuple[float, float]:
    # the eigenvalues of H + DC are those of H at least, and the largest of C(1 + √(p/n))² more
    values = np.linalg.eigvalsh(np.asarray(pencil.H))
    top = float(jnp.max(pencil.kappa)) * (1.0 + np.sqrt(pencil.kappa.size / pencil.n)) ** 2
    b = float(values[-1]) + top
    return max(float(values[0]), ZERO * b), b


def _contour(a: float, b: float, c: Vector, tolerance: float) -> tuple[Enclosing, Vector]:
    count = FEWEST
    while True:
        path = enclosing(a, b, float(np.max(c)), count)
        off = misfit(path, a, b, c)
        if np.max(off) <= tolerance or count >= MOST:
            return path, off
        count += MORE


class Sums(NamedTuple):
    """All that the losses are sums of: by nodes, or by pairs of nodes.

    Attributes
    ----------
    train, test : array, shape (node,)
        (15), and (1/d) Tr Ṽᵀ(U - z)⁻¹V.
    learnt : array, shape (node, p, d)
        QV̄.
    plain, mixed : array, shape (node, node)
        The term with φ of (16) at (z_j, z_k) and at (z_j, z̄_k).
    """

    train: Numbers
    test: Numbers
    learnt: Numbers
    plain: Numbers
    mixed: Numbers


def _sums(
    pencil: Pencil, moments: Moments, path: Enclosing, points: list[AtNode], decay: float
) -> Sums:
    d = moments.fixed.shape[1]
    D = np.array([complex(p.D + p.step) for p in points])
    delta = 1.0 / D - 1.0
    bar = moments.fixed[None] + D[:, None, None] * moments.signal[None]
    X = jnp.stack([p.Q @ v for p, v in zip(points, bar, strict=True)])
    train = (1.0 - D) * moments.power + np.asarray(jnp.sum(bar * X, axis=(1, 2))) / d
    test = np.asarray(jnp.tensordot(X, moments.fixed + moments.signal, 2)) / d
    along_signal = np.asarray(jnp.tensordot(X, moments.signal, 2)) / d
    inner = [np.asarray(g) / d for g in _weighted_products(X, pencil.kappa)]
    twice, once = _traces(jnp.stack([p.Q for p in points]), pencil)
    pairs = []
    for k, conj in enumerate((lambda v: v, np.conj)):
        z1, D1, e1 = path.nodes[:, None], D[:, None], along_signal[:, None]
        D2, e2, delta2 = (conj(v)[None, :] for v in (D, along_signal, delta))
        through = delta2 + (1.0 - D1) * twice[k] + (z1 - decay) * once[k]
        phi = D1 * D2 * through / (1.0 - D1 * D2 * twice[k])
        pairs.append(phi * (inner[k] + moments.power - e1 - e2))
    return Sums(train, test, X, *pairs)


def _weighted_products(X: Numbers, weights: Vector) -> tuple[Numbers, Numbers]:
    # Σ w_a X_j X_k and Σ w_a X_j X̄_k over the entries
    flat = (X * jnp.sqrt(weights)[None, :, None]).reshape(X.shape[0], -1)
    return flat @ flat.T, flat @ flat.conj().T


@jax.jit
def _traces(Q: Numbers, pencil: Pencil) -> tuple[Numbers, Numbers]:
    # (1/n)Tr CQ_jCQ_k and (1/n)Tr CQ_jQ_k, [2, j, k], the second of each with Q̄_k
    count = Q.shape[0]
    root = jnp.sqrt(pencil.kappa)

    def row(sums: tuple[Numbers, Numbers], a: Whole) -> tuple[tuple[Numbers, Numbers], None]:
        of_row = Q[:, a, :] * root[None, :]
        both = jnp.stack([of_row @ of_row.T, of_row @ of_row.conj().T])
        return (sums[0] + pencil.kappa[a] * both, sums[1] + both), None

    zero = jnp.zeros((2, count, count), complex)
    (twice, once), _ = jax.lax.scan(row, (zero, zero), jnp.arange(pencil.kappa.size))
    return twice / pencil.n, once / pencil.n


def _losses(
    moments: Moments,
    path: Enclosing,
    points: list[AtNode],
    sums: Sums,
    c: Vector,
    decay: float,
    off: Vector,
) -> Losses:
    z, d = path.nodes, moments.fixed.shape[1]
    h = learnt(c, z)
    w = path.weights * h
    of_train = path.weights * (2.0 * h - (z - decay)[None, :] * h**2)
    explained = 2.0 * (of_train @ sums.train).real
    along_target = 2.0 * (w @ sums.test).real
    first = np.array([_first(moments, sums.learnt, jnp.asarray(v)) for v in w]) / d
    second = 2.0 * (
        np.einsum("tj,jk,tk->t", w, sums.plain, w)
        + np.einsum("tj,jk,tk->t", w, sums.mixed, w.conj())
    ).real
    untrained = float(moments.untrained)
    # steps that were left open, relative to D
    left = max(abs(complex(p.step / p.D)) for p in points)
    relative = 2.0 * (off + left) + 64 * EPS * path.nodes.size
    size = 2.0 * np.abs(along_target) + first + np.abs(second)
    return Losses(
        untrained - explained,
        untrained - 2.0 * along_target + first + second,
        relative * (2.0 * np.abs(explained)) + 4 * EPS * untrained,
        relative * size + 4 * EPS * untrained,
    )


@jax.jit
def _first(moments: Moments, learnt: Numbers, w: Numbers) -> Real:
    # Tr of the term without φ: V̄ᵀh Ũ hV̄ with h the sum over nodes
    A = 2.0 * jnp.tensordot(w, learnt, 1).real
    return jnp.sum(A * (moments.U @ A))
