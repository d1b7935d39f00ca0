r"""What features of given widths have of each Hermite degree.

A pre-activation of variance γ² gives the feature h_k(γ) = E[σ(γz) He_k(z)]/√k! of degree k. Where x
is averaged to the correlation c, h_k²c^k of its variance is left.
"""

from __future__ import annotations

from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np

from ..numerics.checks import concrete
from ..numerics.compiling import jit
from ..numerics.quadrature import REACH, gaussian_weight, panels
from ..numerics.types import Matrix, Real, Vector
from .activations import Activation, Polynomial
from .gaussian_averages import ROUNDING, hermite_projections

# panels of the quadrature shrink so often towards a kink of σ
LEVELS = 8
# what lies in higher degrees is not told apart
HIGHEST = 62
# points that tell the parity of σ, and what is rounding there
PROBES, SAME = np.linspace(0.1, 3.1, 16), 1e-12


@partial(jit, static_argnames=("count",))
def hermite_coefficients(sigma: Activation, squares: Vector, *, count: int = HIGHEST) -> Matrix:
    """h_k at the variances γ² = `squares`, [variance, k < count]; 0 where it is rounding."""
    return jax.vmap(partial(_coefficients, sigma, count))(squares)


def _coefficients(sigma: Activation, count: int, square: Real) -> Vector:
    # the nodes do not move with γ, so that σ is never differentiated
    gamma = jnp.sqrt(square)
    width = jax.lax.stop_gradient(gamma)
    reach, scale = REACH * width, 0.25 * jnp.minimum(1.0, width)
    breaks = jnp.asarray(sorted({0.0, *sigma.kinks}))
    x, w = panels(-reach, reach, breaks, scale, LEVELS, _ratio(reach / scale), parts=8)
    density = gaussian_weight(x / gamma) / gamma
    y = sigma(x)
    h = hermite_projections(x / gamma, w * density * y, count)
    smallest = ROUNDING * jnp.sqrt(jnp.sum(w * density * y**2))
    return jnp.where(jnp.abs(h) > jax.lax.stop_gradient(smallest), h, 0.0)


def _ratio(span: Real) -> Real:
    return jnp.maximum(span ** (1.0 / LEVELS), 1.5)


def present_degrees(sigma: Activation, highest: int) -> tuple[int, ...]:
    """The degrees from 2 to the highest that the parity of σ does not forbid."""
    if isinstance(sigma, Polynomial):
        if not concrete(sigma.coefficients):
            return tuple(range(2, highest + 1))
        power = np.asarray(sigma.coefficients)
        odd, even = bool(np.any(power[3::2])), bool(np.any(power[2::2]))
    else:
        odd, even = _parity(sigma)
    return tuple(k for k in range(2, highest + 1) if (odd if k % 2 else even))


def followed_whole(sigma: Activation, highest: int) -> bool:
    """Whether σ has no degree above the highest."""
    return isinstance(sigma, Polynomial) and np.size(sigma.coefficients) <= highest + 1


@lru_cache(maxsize=64)
def _parity(sigma: Activation) -> tuple[bool, bool]:
    # whether σ has an odd part beyond a linear one, and an even part beyond a constant
    with jax.ensure_compile_time_eval():
        right, left = np.asarray(sigma(PROBES)), np.asarray(sigma(-PROBES))
    size = SAME * np.max(np.abs([right, left]))
    odd, even = (right - left) / PROBES, right + left
    return bool(np.ptp(odd) > 2 * size / PROBES[0]), bool(np.ptp(even) > size)
