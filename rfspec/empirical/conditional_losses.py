r"""Losses expected over draws of the data, for given moments of the features.

With (15) and (16) of docs/theory.md for one kind of column, C and H in place of its FFᵀ and FΣFᵀ,
V̄ = V_0 + D N, Q_j = (H + D_jC - z_j)⁻¹, X_jk = (1/n) Tr CQ_jCQ_k and [M] = Q_1MQ_2,

    (1/d) Tr Vᵀ(U - z)⁻¹V ≃ (1 - D) y + (1/d) Tr V̄ᵀQV̄
    (1/d) Tr Vᵀ(U - z_1)⁻¹Ũ(U - z_2)⁻¹V ≃ (1/d) Tr V̄_1ᵀ[Ũ]V̄_2 + φ [ (1/d) Tr V̄_1ᵀ[C]V̄_2
        + y - (1/d) Tr NᵀQ_1V̄_1 - (1/d) Tr NᵀQ_2V̄_2 ],
    φ = D_1D_2 (1/n) Tr C[Ũ] / (1 - D_1D_2X_12),

and (17) are sums of these over the nodes of one contour, which serves all times. H in [Ũ] needs no
matrices of its own: H Q = 1 - D C Q + z Q.

Where C is a mean C_S over S rows and Q = (H + xC_S - z)⁻¹ (``column_weight``), each of two factors
C_S leaves its row out of Q_1 and Q_2. With r = D_1D_2/(x_1x_2), m = n/S and A = 1/(1 - mD_1D_2X_12)

    Tr B Q_1C_SQ_2 ≃ r A Tr B[C],   (1/n) Tr C_SQ_1C_SQ_2 ≃ r m δ_1δ_2 + r²A X_12,
    Q_1HQ_2 ≃ [H] + m D_1D_2 A (1/n)Tr C[H] · [C].
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from ..numerics.rounding import EPS
from ..numerics.types import Matrix, Numbers, Real, Vector
from .column_weight import AtNode, Pencil, along
from .enclosing import Enclosing, enclosing, learnt, misfit
from .memory import require

TOLERANCE = 1e-6
# nodes of a contour, at most; the first count that is tried, and what is added to it
MOST, FEWEST, MORE = 160, 8, 4
# of the largest eigenvalue: what counts as 0 of H
ZERO = 1e-13
# rows of the resolvents that are multiplied together
ROWS = 64
# a complex number takes as much memory as so many doubles
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
        V_0, the part -E[φyᵀ] of V that comes from the noise, not the data.
    signal : array, shape (p, d)
        N = -E[g c_x xᵀ], the part that does; 0 for the targets "noise" and "score".
    power : float
        y = E|c_x x|²/d, what the target varies by with the data.
    untrained : float
        E|y|²/d, the loss of A = 0.
    rows : float
        S, the rows that C and Ũ are means over; inf for expectations.
    decay : float
        γ/ω², what weight decay adds to U in training.
    """

    C: Matrix
    U: Matrix
    fixed: Matrix
    signal: Matrix
    power: Real
    untrained: Real
    rows: Real = np.inf
    decay: Real = 0.0


class Losses(NamedTuple):
    """Both losses and their errors at each time."""

    train: Vector
    test: Vector
    train_error: Vector
    test_error: Vector


def losses_of(moments: Moments, n: Real, c: Vector, tolerance: Real = TOLERANCE) -> Losses:
    """Losses after gradient flow to c = 2ω²τ/ψ_p ∈ [0, ∞], with n samples.

    The error is what the filters on the contour are off by, what the steps of
    Newton's method left open, and rounding.
    """
    c = np.asarray(c, float)
    later = c > 0
    untrained = float(moments.untrained)
    losses = Losses(*(np.full(c.shape, v) for v in (untrained, untrained, 0.0, 0.0)))
    if np.any(later):
        at_times = _trained(moments, n, c[later], float(tolerance))
        for column, values in zip(losses, at_times, strict=True):
            column[later] = values
    return losses


def _trained(moments: Moments, n: Real, c: Vector, tolerance: float) -> Losses:
    pencil, rotated = _in_eigenbasis_of_columns(moments, n)
    pencil, a, b = _on_interval(pencil)
    path, off = _contour(a, b, c, moments.decay, tolerance)
    p, d = rotated.fixed.shape
    count = path.nodes.size
    require(
        COMPLEX * count * p * (p + 3 * d) + 12 * p * p,
        f"{count} resolvents at p = {p}",
        "take fewer features, or a larger tolerance",
    )
    points = along(pencil, path, 0.1 * tolerance)
    return _losses(pencil, rotated, path, _sums(pencil, rotated, path, points), c, off)


def _in_eigenbasis_of_columns(moments: Moments, n: Real) -> tuple[Pencil, Moments]:
    kappa, E = (np.asarray(a) for a in jnp.linalg.eigh(jnp.asarray(moments.C)))
    kappa = np.maximum(kappa, 0.0)
    H = E.T @ np.asarray(moments.U) @ E - np.diag(kappa - moments.decay)
    pencil = Pencil((H + H.T) / 2.0, kappa, float(n), float(n / moments.rows))
    fixed, signal = (E.T @ np.asarray(a) for a in (moments.fixed, moments.signal))
    return pencil, moments._replace(fixed=fixed, signal=signal)


def _on_interval(pencil: Pencil) -> tuple[Pencil, float, float]:
    # the eigenvalues of U are those of H at least, and the largest of C(1 + √(p/n))² more; H is
    # lifted where it is singular
    p = pencil.kappa.size
    values = np.linalg.eigvalsh(pencil.H)
    top = float(pencil.kappa[-1]) * (1.0 + np.sqrt(p / pencil.n)) ** 2
    b = float(values[-1]) + top
    lifted = max(0.0, ZERO * b - float(values[0]))
    return pencil._replace(H=pencil.H + lifted * np.eye(p)), float(values[0]) + lifted, b + lifted


def _filters(c: Vector, decay: Real, z: Numbers) -> Numbers:
    # h of each time, and then 2h - λh² for eigenvalues λ = z - decay of U
    h = learnt(c, z)
    return np.concatenate([h, 2.0 * h - (z - decay)[None, :] * h**2])


def _contour(
    a: float, b: float, c: Vector, decay: Real, tolerance: float
) -> tuple[Enclosing, Vector]:
    filters = partial(_filters, c, decay)
    count = FEWEST
    while True:
        path = enclosing(a, b, float(np.max(c)), count)
        off = misfit(path, a, b, filters)
        if np.max(off) <= tolerance or count >= MOST:
            return path, off
        count += MORE


# --------------------------------------------------------------------------------------------------
# sums over nodes


class Sums(NamedTuple):
    """All that the losses are sums of: by nodes, or by pairs of nodes.

    Attributes
    ----------
    train, test : array, shape (node,)
        (15), and (1/d) Tr Ṽᵀ(U - z)⁻¹V.
    learnt : array, shape (node, p, d)
        QV̄.
    pairs : array, shape (2, node, node)
        (16) but (1/d) Tr V̄_1ᵀQ_1HQ_2V̄_2, at (z_j, z_k) and at (z_j, z̄_k).
    left : float
        The largest step of Newton's method that was left open, relative to x.
    """

    train: Numbers
    test: Numbers
    learnt: Numbers
    pairs: Numbers
    left: float


def _sums(pencil: Pencil, moments: Moments, path: Enclosing, points: list[AtNode]) -> Sums:
    d, x = moments.fixed.shape[1], np.array([p.solved for p in points])
    seen_twice, seen_once = _traces(points, pencil)
    # t after the step
    t = np.array([complex(p.t) for p in points])
    t = t - np.diagonal(seen_twice[0]) * np.array([complex(p.step) for p in points])
    delta = t * x / (1.0 - t * x)
    D = 1.0 / (1.0 + delta)
    bar = moments.fixed + D[:, None, None] * moments.signal
    X = np.stack([np.asarray(p.Q) @ v for p, v in zip(points, bar, strict=True)])
    train = (1.0 - D) * moments.power + np.sum(bar * X, axis=(1, 2)) / d
    test = np.tensordot(X, moments.fixed + moments.signal, 2) / d
    of_signal = np.tensordot(X, moments.signal, 2) / d
    inner = _products(X * np.sqrt(pencil.kappa)[:, None]) / d
    seen = np.stack([seen_twice, seen_once, inner])
    pairs = [
        _pair(pencil.share, moments.power, path.nodes[:, None] - moments.decay, *nodes, seen[:, i])
        for i, nodes in enumerate(_both((D, x, delta, of_signal)))
    ]
    left = max(abs(complex(p.step)) / abs(complex(p.x)) for p in points)
    return Sums(train, test, X, np.stack(pairs), left)


def _both(columns: tuple[Numbers, ...]) -> list[tuple[Numbers, Numbers]]:
    # at z_j and z_k, and at z_j and z̄_k
    first = np.stack(columns)
    return [(first[:, :, None], second[:, None, :]) for second in (first, first.conj())]


def _pair(
    share: Real, power: Real, z: Numbers, first: Numbers, second: Numbers, seen: Numbers
) -> Numbers:
    # (16) but the term with H, from Tr CQ_jCQ_k/n, Tr Q_jCQ_k/n and Tr VᵀQ_jCQ_kV/d as they are
    # seen with x and C_S
    (D1, x1, delta1, signal1), (D2, x2, delta2, signal2) = first, second
    D, r = D1 * D2, D1 * D2 / (x1 * x2)
    spread = (seen[0] - share * delta1 * delta2 * r) / r**2
    A = 1.0 + share * D * spread
    twice, once, inner = spread / A, seen[1] / (r * A), seen[2] / (r * A)
    through_H = delta2 - D1 * twice + z * once
    phi = D * (through_H + twice) / (1.0 - D * twice)
    return (1.0 + phi - share * D * A * through_H) * inner + phi * (power - signal1 - signal2)


def _traces(points: list[AtNode], pencil: Pencil) -> tuple[np.ndarray, np.ndarray]:
    # (1/n)Tr CQ_jCQ_k and (1/n)Tr Q_jCQ_k, [2, j, k], the second of each with Q̄_k
    Q = [np.asarray(p.Q) for p in points]
    root, shape = np.sqrt(pencil.kappa), (2, len(Q), len(Q))
    twice, once = np.zeros(shape, complex), np.zeros(shape, complex)
    for begin in range(0, root.size, ROWS):
        own = slice(begin, begin + ROWS)
        rows = np.stack([q[own] for q in Q]) * root
        once += _products(rows)
        twice += _products(rows * root[own, None])
    return twice / pencil.n, once / pencil.n


def _products(a: np.ndarray) -> np.ndarray:
    # Σ a_ja_k and Σ a_jā_k over the entries
    flat = a.reshape(a.shape[0], -1)
    return np.stack([flat @ flat.T, flat @ flat.conj().T])


# --------------------------------------------------------------------------------------------------
# losses


def _losses(
    pencil: Pencil, moments: Moments, path: Enclosing, sums: Sums, c: Vector, off: Vector
) -> Losses:
    w, of_train = np.split(path.weights * _filters(c, moments.decay, path.nodes), 2)
    off_test, off_train = np.split(off, 2)
    explained = 2.0 * (of_train @ sums.train).real
    along_target = 2.0 * (w @ sums.test).real
    first = np.array([_through_H(pencil, sums.learnt, v, moments.decay) for v in w])
    first = first / moments.fixed.shape[1]
    form = lambda pairs, v: np.einsum("tj,jk,tk->t", w, pairs, v).real
    second = 2.0 * (form(sums.pairs[0], w) + form(sums.pairs[1], w.conj()))
    untrained = float(moments.untrained)
    # twice, since a loss may add what it loses on different modes
    relative = lambda off: 2.0 * (off + sums.left) + 64 * EPS * path.nodes.size
    size = 2.0 * np.abs(along_target) + first + np.abs(second)
    return Losses(
        untrained - explained,
        untrained - 2.0 * along_target + first + second,
        relative(off_train) * np.abs(explained) + 4 * EPS * untrained,
        relative(off_test) * size + 4 * EPS * untrained,
    )


def _through_H(pencil: Pencil, learnt: np.ndarray, w: Numbers, decay: Real) -> Real:
    # Tr V̄ᵀh H hV̄ with h the sum over nodes; H without the decay
    A = 2.0 * np.tensordot(w, learnt, 1).real
    return np.sum(A * (pencil.H @ A - decay * A))
