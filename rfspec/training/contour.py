r"""Functions of U as sums of resolvents, on a contour on which a training method decays.

A method that leaves the share r(λ) of a mode untrained has learnt ωA/√p = Vᵀh(U) with h(λ) = (1 -
r(λ))/λ (3), and

    h(U) = (1/2πi)∮ r(z)/z (U - z)⁻¹ dz ≃ Σ_j [ w_j (U - z_j)⁻¹ + c.c. ],   Im z_j > 0,         (18)

around the spectrum and z = 0. Gradient flow has r = e^{-cz}, c = 2ω²τ/ψ_p, and the parabola of
Weideman and Trefethen (Math. Comp. 76, 1341, 2007), z = -S/c with S(θ) = N(0.1309 - 0.1194θ² +
0.25iθ), on whose N nodes the trapezoid rule errs by about 2.85^{-N}. At the beginning, cλ < 1/4 on
the whole spectrum, h(z) itself is integrated along a circle: its weights are relatively accurate,
and smooth in c down to c = 0.

Steps of gradient descent and heavy ball have the root z_+ of their recurrence in place of
e^{-cz/k}: with z_+ = ±e^{-w} and w = -S/k two parabolas surround the slow modes and those that
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

from ..numerics.types import Numbers, Real

# the error of the parabola falls by this factor a node
RATE = 2.85
# beyond this many nodes rounding, amplified by e^{0.13N}, grows faster than the error falls
FINEST = 32
# the error is the difference to a rule that has this many nodes less
FEWER = 4
# this many nodes tell a condition number
COARSE = 8
# while cλ of the fastest mode is smaller, a circle of RADIUS times the largest eigenvalue is used
EARLY = 0.25
# the error of the circle falls by this factor a node
RADIUS = 4.0
# Re w k/N at the ends of the parabola
SPAN = 1.05
# for so few steps the parabola in w would leave |Im w| < π
FEW_STEPS = 8
# log r on the circle
GROWTH = 4.0
# a circle has this many nodes at most
LARGEST_CIRCLE = 8192
# a SIMD register holds this many numbers
LANES = 4


class Contour(NamedTuple):
    """Nodes z_j, Im z_j > 0, and weights w_j of h(U) ≃ Σ_j [w_j (U - z_j)⁻¹ + c.c.], [..., j]."""

    nodes: Numbers
    weights: Numbers


def nodes_for(tolerance: float) -> int:
    # N - FEWER nodes err by less than the tolerance, relative to the loss
    needed = FEWER + int(np.ceil(np.log(8.0 / tolerance) / np.log(RATE)))
    return min(FINEST, max(8, needed + needed % 2))


def _parabola(count: int) -> tuple[np.ndarray, np.ndarray]:
    # S and S'/(iN) at the nodes with Im S < 0, so that -S lies in the upper half plane. The last
    # node is repeated with weight 0 up to a multiple of LANES: XLA is twice as slow without.
    node = np.arange(-(-count // (2 * LANES)) * LANES)
    theta = -(2 * np.minimum(node, count // 2 - 1) + 1) * np.pi / count
    S = count * (0.1309 - 0.1194 * theta**2 + 0.25j * theta)
    return S, np.where(node < count // 2, 0.25 + 0.2388j * theta, 0.0)


def flow(c: Real, top: Real, count: int, *, around: Real | None = None) -> Contour:
    """Gradient flow, r(λ) = e^{-cλ} with 0 ≤ c < ∞ and λ ≤ top, on `count` nodes.

    The nodes are those of c, or of another c that is given as `around`. Differentiable in c, at
    c = 0 too.
    """
    c, top = jnp.asarray(c, float), jax.lax.stop_gradient(top)
    center = jax.lax.stop_gradient(c if around is None else around)
    early = center * top < EARLY
    circle = _flow_on_circle(jnp.where(early, c, 0.0), top, count)
    parabola = _flow_on_parabola(jnp.where(early, 1.0, c), jnp.where(early, 1.0, center), count)
    return jax.tree.map(lambda a, b: jnp.where(early, a, b), circle, parabola)


def _flow_on_parabola(c: Real, center: Real, count: int) -> Contour:
    # the nodes of `center` serve c from 0.5 to 1.1 times it
    S, slope = _parabola(count)
    return Contour(-S / center, slope / S * jnp.exp(S * (c / center)))


def _flow_on_circle(c: Real, top: Real, count: int) -> Contour:
    # around all eigenvalues h(z) = (1 - e^{-cz})/z itself is integrated, for every small c
    node = np.arange(-(-count // (2 * LANES)) * LANES)
    z = RADIUS * top * np.exp(1j * np.pi * (2 * np.minimum(node, count // 2 - 1) + 1) / count)
    return Contour(z, jnp.where(node < count // 2, jnp.expm1(-c * z) / count, 0.0))


def descent(c: Real, k: Real, count: int) -> Contour:
    """k steps of gradient descent, r(λ) = (1 - cλ)^k, for cλ < 2 on the whole spectrum.

    It has `count` nodes on each of two parabolas or, for few steps, 2·count on a circle.
    Differentiable in c.
    """
    k = jnp.asarray(k, float)
    few = k <= FEW_STEPS
    many = jnp.where(few, FEW_STEPS + 1.0, k)
    parabolas, circle = (
        _two_parabolas(count, many, 0.0),
        _circle(2 * count, jnp.clip(k, 1.0, FEW_STEPS)),
    )
    extra = parabolas.log.size - circle.log.size
    circle = jax.tree.map(lambda a: jnp.pad(a, (0, extra), mode="edge"), circle)
    circle = circle._replace(step=circle.step * (np.arange(parabolas.log.size) < count))
    path = jax.tree.map(lambda a, b: jnp.where(few, b, a), parabolas, circle)
    nodes, weights = _contour_along(path, c, k, 0.0)
    return Contour(nodes, jnp.where(k > 0, weights, 0.0))


def heavy_ball(c: float, k: int, mu: float, count: int) -> Contour:
    """k steps with momentum μ in [0, 1), for cλ < 2(1 + μ) on the whole spectrum.

    The numbers k and μ are known. While μ^{k/2} is not small the modes that oscillate are untrained
    too, and the circle takes 8k nodes.
    """
    if k == 0 or mu == 0:
        return descent(c, k, count)
    if k > FEW_STEPS and SPAN * count / k < -np.log(mu) / 2:
        return Contour(*_contour_along(_two_parabolas(count, float(k), mu), c, k, mu))
    # powers of two: few sizes, few compilations
    nodes = max(2 * FINEST, 1 << (8 * k - 1).bit_length())
    if nodes > LARGEST_CIRCLE:
        raise ValueError(
            f"momentum must be below {np.exp(-2 * SPAN * count / k):.6g} for {k} steps (or take "
            "at most "
            f"{LARGEST_CIRCLE // 8} steps), got {mu!r}"
        )
    return Contour(*_contour_along(_circle(nodes * count // FINEST, float(k)), c, k, mu))


class _Path(NamedTuple):
    # log z_+, 1 - z_+, and the step of log z_+ over 2πi, where Im z_+ < 0
    log: Numbers
    one_minus: Numbers
    step: Numbers


def _two_parabolas(count: int, k: Real, mu: float) -> _Path:
    # z_+ = e^{-w} surrounds the slow modes, z_+ = -e^{-w} those that overshoot
    S, slope = _parabola(count)
    w = -S / k
    step = jnp.concatenate([slope, slope.conj()]) / k
    # the same in the lower half plane
    right = -w.conj()
    return _Path(
        jnp.concatenate([-w, right - 1j * np.pi]),
        jnp.concatenate([-jnp.expm1(-w), 1.0 + jnp.exp(right)]),
        step,
    )


def _circle(count: int, k: Real) -> _Path:
    log = jnp.minimum(0.5, GROWTH / k) - 1j * np.pi * (2 * np.arange(count // 2) + 1) / count
    return _Path(log, -jnp.expm1(log), jnp.full(count // 2, 1.0 / count + 0.0j))


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
