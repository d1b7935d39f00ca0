r"""Two fixed quadrature rules for Gaussian averages E[f(Γz)], z ~ N(0, 1).

For analytic f the trapezoid rule with step 1/8 converges geometrically, and gives the Hermite
coefficients h_k = E[f(Γz) He_k(z)]/√k!. Where f has kinks, or Γ is so large that f looks kinked,
Gauss-Legendre panels shrink towards the kinks.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from .types import Matrix, Real, Reals, Vector

# in z: the trapezoid rule's step, and the half-width of its range
STEP, REACH = 0.125, 13.0
# number of Hermite coefficients
ORDER = 256
PANEL_NODES = 20


def hermite_functions(z: Vector, order: int, xp: Any = jnp) -> Matrix:
    """He_k(z)/√k! for k < order by the stable three-term recurrence; shape (order, *z.shape)."""
    rows = [xp.ones_like(z), z]
    for k in range(1, order - 1):
        rows.append((z * rows[k] - np.sqrt(k) * rows[k - 1]) / np.sqrt(k + 1.0))
    return xp.stack(rows[:order])


def trapezoid(step: float = STEP) -> tuple[np.ndarray, np.ndarray]:
    """Nodes z and weights of the trapezoid rule for E[f(z)]."""
    z = np.arange(-round(REACH / step), round(REACH / step) + 1) * step
    return z, step * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)


def hermite_projection(step: float = STEP) -> tuple[np.ndarray, np.ndarray]:
    """Nodes z and the matrix M with h = M f(Γz): h_k = E[f(Γz) He_k(z)]/√k!, k < ORDER."""
    z, w = trapezoid(step)
    return z, hermite_functions(z, ORDER, np) * w


_GAUSS = np.polynomial.legendre.leggauss(PANEL_NODES)


def panels(
    low: Real,
    high: Real,
    breaks: Vector,
    scale: Real,
    levels: int,
    ratio: Real = 2.0,
    parts: int = 6,
    shift: Real = 0.0,
) -> tuple[Vector, Vector]:
    """Gauss-Legendre nodes and weights on panels of [low, high] that shrink towards the `breaks`.

    The panels end at b and b ± scale·ratio^j for every break b and every j < levels, clipped to the
    interval. They also end where `parts` equal parts do, the inner ends moved by `shift` of a part.
    """
    steps = scale * ratio ** np.arange(levels)
    ends = breaks[:, None] + jnp.concatenate([-steps, jnp.zeros(1), steps])[None, :]
    moved = shift * np.r_[0.0, np.ones(parts - 1), 0.0]
    equal = low + (high - low) * ((np.arange(parts + 1) + moved) / parts)
    ends = jnp.sort(jnp.clip(jnp.concatenate([equal, jnp.ravel(ends)]), low, high))
    half, middle = jnp.diff(ends) / 2, (ends[1:] + ends[:-1]) / 2
    x = middle[:, None] + half[:, None] * _GAUSS[0][None, :]
    return jnp.ravel(x), jnp.ravel(half[:, None] * _GAUSS[1][None, :])


def gaussian_weight(z: Reals) -> Reals:
    return jnp.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
