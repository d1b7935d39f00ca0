r"""Functions of U as sums of resolvents, on a contour on which a training method decays.

A method that leaves the share r(λ) of a mode untrained has learnt ωA/√p = Vᵀh(U) with h(λ) = (1 -
r(λ))/λ (3), and

    h(U) = (1/2πi)∮ r(z)/z (U - z)⁻¹ dz ≃ Σ_j [ w_j (U - z_j)⁻¹ + c.c. ],   Im z_j > 0,         (18)

around the spectrum and z = 0. Gradient flow has r = e^{-cz}, c = 2ω²τ/ψ_p. Its contour is the
hyperbola of Weideman and Trefethen (Math. Comp. 76, 1341, 2007), z = -S/c with S(θ) = μ(1 + sin(iθ
- α)), whose parameters are those that serve all times of an interval [c/Λ, c] equally well; the
trapezoid rule on N nodes errs by e^{-BN}. So times within a factor of SPREAD share their nodes, and
so does r² = e^{-2cz}, of which the train loss is made. At the beginning, cλ < 1/4 on the whole
spectrum, h(z) itself is integrated along a circle: its weights are relatively accurate, and smooth
in c down to c = 0.

Steps of gradient descent and heavy ball have the root z_+ of their recurrence in place of
e^{-cz/k}: with z_+ = ±e^{-w} and w = -S/k two hyperbolas surround the slow modes and those that
overshoot, and meet where nothing is left of r; while few steps leave something everywhere, a circle
|z_+| = const surrounds all of them.

The end of training, c = ∞ or k = ∞, is no contour but the point z = 0, h(U) = U⁻¹
(``rfspec.training.losses.limit``).

Nodes are not differentiated: an integral does not depend on its contour.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..numerics.checks import namespace
from ..numerics.types import Numbers, Real

# times from 1/SPREAD of a contour's own to its own are served with equal accuracy
SPREAD = 4.0
# the error falls by this factor a node
RATE = 2.85
# beyond this many nodes rounding grows faster than the error falls
FINEST = 32
# the error is the difference to a rule that has this many nodes less
FEWER = 4
# this many nodes tell a condition number to a few per cent
COARSE = 4
# while cλ of the fastest mode is smaller, a circle of RADIUS times the largest eigenvalue is used
EARLY = 0.25
# the error of the circle falls by this factor a node
RADIUS = 4.0
# Re w k/N at the ends of the hyperbola
SPAN = 1.05
# for so few steps the hyperbola in w would leave |Im w| < π
FEW_STEPS = 8
# log r on the circle
GROWTH = 4.0
# a circle has this many nodes at most
LARGEST_CIRCLE = 8192
# nodes come in multiples of what a SIMD register holds: XLA is twice as slow without
LANES = 4


class Contour(NamedTuple):
    """Nodes z_j, Im z_j > 0, and weights w_j of h(U) ≃ Σ_j [w_j (U - z_j)⁻¹ + c.c.], [..., j].

    `apart`: 1/(z_j - z_k), 0 for j = k, and 1/(z_j - z̄_k), [2, j, k]. `squared`: weights of
    (1 - r²)/λ on the same nodes; None where these do not serve r².
    """

    nodes: Numbers
    apart: Numbers
    weights: Numbers
    squared: Numbers | None = None

    @property
    def at_one_time(self) -> Contour:
        """The same with weights [time, node], from weights [node]."""
        return Contour(*self[:2], *(w[None] for w in self[2:] if w is not None))


def nodes_for(tolerance: float) -> int:
    # N - FEWER nodes err by less than the tolerance, relative to the loss
    needed = FEWER + int(np.ceil(np.log(8.0 / tolerance) / np.log(RATE)))
    return min(FINEST, max(2 * LANES, -(-needed // LANES) * LANES))


def _hyperbola(count: int, spread: float) -> tuple[np.ndarray, np.ndarray]:
    # S for the time 1 and S'dθ/2πi at nodes with Im S < 0, so that -S lies in the upper half plane,
    # with the best α, dθ and μ for times from 1/spread to 1
    width = lambda a: np.arccosh(
        ((np.pi - 2 * a) * spread + 4 * a - np.pi) / ((4 * a - np.pi) * np.sin(a))
    )
    angles = np.linspace(np.pi / 4, np.pi / 2, 4001)[1:-1]
    alpha = angles[np.argmax((np.pi - 2 * angles) / width(angles))]
    step, size = width(alpha) / count, count * (4 * np.pi * alpha - np.pi**2) / width(alpha)
    along = -1j * (np.arange(count) + 0.5) * step - alpha
    return size * (1.0 + np.sin(along)), size * step / (2 * np.pi) * np.cos(along)


def flow(
    c: Real, top: Real, count: int, *, around: Real | None = None, spread: float = SPREAD
) -> Contour:
    """Gradient flow, r(λ) = e^{-cλ} with 0 ≤ c < ∞ and λ ≤ top, on `count` nodes.

    The nodes are those of c, or of a later time that is given as `around`, at most `spread` times
    as late. Differentiable in c, at c = 0 too.
    """
    c, top = jnp.asarray(c, float), jax.lax.stop_gradient(top)
    center = jax.lax.stop_gradient(c if around is None else around)
    early = center * top < EARLY
    scale = 1.0 / (2.0 * jnp.where(early, 1.0, center))
    # on a circle around all eigenvalues h(z) = (1 - r)/z itself is integrated, for every small c;
    # on a hyperbola r is, and r² is r at twice the time
    circle = RADIUS * np.exp(1j * np.pi * (np.arange(count) + 0.5) / count)
    S, slope = _hyperbola(count, 2.0 * spread)
    z = top * circle
    learnt = -jnp.expm1(jnp.where(early, -c * z, S * (c * scale)))  # 1 - r
    on_circle, on_hyperbola = -1.0 / (2 * count), slope / S
    weights = lambda learnt: jnp.where(early, on_circle * learnt, on_hyperbola * (1.0 - learnt))
    nodes = jnp.where(early, z, -S * scale)
    apart = jnp.where(early, _inverse_distances(circle) / top, _inverse_distances(-S) / scale)
    return Contour(nodes, apart, weights(learnt), weights(learnt * (2.0 - learnt)))


def _inverse_distances(z: Numbers) -> Numbers:
    # `apart` of a contour
    xp = namespace(z)
    same = np.eye(z.size)
    to_others = (1.0 - same) / (z[:, None] - z[None] + same)
    return xp.stack([to_others, 1.0 / (z[:, None] - z.conj()[None])])


def descent(c: Real, k: Real, count: int) -> Contour:
    """k steps of gradient descent, r(λ) = (1 - cλ)^k, for cλ < 2 on the whole spectrum.

    Two hyperbolas share the nodes or, for few steps, a circle has them. Differentiable in c.
    """
    k = jnp.asarray(k, float)
    few = k <= FEW_STEPS
    many = jnp.where(few, FEW_STEPS + 1.0, k)
    hyperbolas = _two_hyperbolas(count, many, 0.0)
    paths = hyperbolas, _circle(hyperbolas.log.size, jnp.clip(k, 1.0, FEW_STEPS))
    path = jax.tree.map(lambda a, b: jnp.where(few, b, a), *paths)
    nodes, weights = _contour_along(path, c, k, 0.0)
    return Contour(nodes, _inverse_distances(nodes), jnp.where(k > 0, weights, 0.0))


def heavy_ball(c: float, k: int, mu: float, count: int) -> Contour:
    """k steps with momentum μ in [0, 1), for cλ < 2(1 + μ) on the whole spectrum.

    The numbers k and μ are known. While μ^{k/2} is not small the modes that oscillate are untrained
    too, and the circle takes 8k nodes.
    """
    if k == 0 or mu == 0:
        return descent(c, k, count)
    if k > FEW_STEPS and SPAN * count / k < -np.log(mu) / 2:
        return _contour(_two_hyperbolas(count, float(k), mu), c, k, mu)
    # powers of two: few sizes, few compilations
    nodes = max(2 * FINEST, 1 << (8 * k - 1).bit_length())
    if nodes > LARGEST_CIRCLE:
        raise ValueError(
            f"momentum must be below {np.exp(-2 * SPAN * count / k):.6g} for {k} steps (or take "
            "at most "
            f"{LARGEST_CIRCLE // 8} steps), got {mu!r}"
        )
    return _contour(_circle(nodes * count // FINEST // 2, float(k)), c, k, mu)


def _contour(path: _Path, c: float, k: int, mu: float) -> Contour:
    nodes, weights = _contour_along(path, c, k, mu)
    return Contour(nodes, _inverse_distances(nodes), weights)


class _Path(NamedTuple):
    # log z_+, 1 - z_+, and the step of log z_+ over 2πi, where Im z_+ < 0
    log: Numbers
    one_minus: Numbers
    step: Numbers


def _two_hyperbolas(count: int, k: Real, mu: float) -> _Path:
    # z_+ = e^{-w} surrounds the slow modes, z_+ = -e^{-w} those that overshoot
    # rounding grows less at half the longest time of a hyperbola than at its end
    S, slope = _hyperbola(2 * -(-5 * count // 16), 2.0)
    w = -S / (2.0 * k)
    step = jnp.concatenate([slope, slope.conj()]) / (2.0 * k)
    # the same in the lower half plane
    right = -w.conj()
    return _Path(
        jnp.concatenate([-w, right - 1j * np.pi]),
        jnp.concatenate([-jnp.expm1(-w), 1.0 + jnp.exp(right)]),
        step,
    )


def _circle(count: int, k: Real) -> _Path:
    # `count` nodes on its half
    log = jnp.minimum(0.5, GROWTH / k) - 1j * np.pi * (np.arange(count) + 0.5) / count
    return _Path(log, -jnp.expm1(log), jnp.full(count, 0.5 / count + 0.0j))


def _contour_along(path: _Path, c: Real, k: Real, mu: float) -> tuple[Numbers, Numbers]:
    # nodes z = (1 - z_+)(1 - z_-)/c with z_- = μ/z_+, and weights r_k dz/(2πiz)
    fixed = jax.lax.stop_gradient(c)
    slow = jnp.exp(path.log)
    fast = mu / slow
    nodes = path.one_minus * (1.0 - fast) / fixed
    measure = -path.step * (slow - fast) / (path.one_minus * (1.0 - fast))
    # the nodes stay, so that c moves z_+ by this factor; for μ = 0 that is exactly linear
    moved = 1.0 - (c - fixed) * nodes / (slow - fast)
    left = jnp.exp(k * (path.log + jnp.log(moved)))
    if mu:
        a, b = slow * moved, fast / moved
        left = (
            (1.0 - b) * a * left
            - (1.0 - a) * b * jnp.exp(k * (np.log(mu) - path.log - jnp.log(moved)))
        ) / (a - b)
    return nodes, left * measure
