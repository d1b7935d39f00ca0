r"""What a feature has of each Hermite degree.

With h_k = E[σ(Γz) He_k(z)]/√k! and c = α²σ_x²/Γ² a feature has the variance h_k² of degree k, of
which h_k²c^k is left when the noise is averaged over.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ..numerics.compiling import jit
from ..numerics.quadrature import REACH, gaussian_weight, panels
from ..numerics.rounding import EPS
from ..numerics.types import Real
from .activations import Activation
from .gaussian_averages import ROUNDING, hermite_projections, log_correlation
from .gaussian_equivalent import GaussianEquivalent
from .model import RandomFeatureModel

# panels of the quadrature shrink so often towards a kink of σ
LEVELS = 8


class Degree(NamedTuple):
    """The variance of a feature in one Hermite degree, `whole`; and of its mean over the noise."""

    order: int
    whole: Real
    signal: Real


def degrees(model: RandomFeatureModel) -> tuple[Degree, ...]:
    """The degrees from 2 to that of the model."""
    process = model.process
    signal, noise = process.alpha**2 * model.covariance.trace, process.beta2
    squares = _squares(model.activation, signal, noise, count=model.degree + 1)
    return tuple(Degree(k, *squares[k]) for k in range(2, model.degree + 1))


@partial(jit, static_argnames=("count",))
def _squares(
    sigma: Activation, signal: Real, noise: Real, *, count: int
) -> tuple[tuple[Real, Real], ...]:
    # the nodes do not move with Γ, so that σ is never differentiated
    gamma = jnp.sqrt(signal + noise)
    width = jax.lax.stop_gradient(gamma)
    reach, scale = REACH * width, 0.25 * jnp.minimum(1.0, width)
    breaks = jnp.asarray(sorted({0.0, *sigma.kinks}))
    x, w = panels(-reach, reach, breaks, scale, LEVELS, _ratio(reach / scale), parts=8)
    density = gaussian_weight(x / gamma) / gamma
    y = sigma(x)
    h = hermite_projections(x / gamma, w * density * y, count)
    smallest = ROUNDING * jnp.sqrt(jnp.sum(w * density * y**2))
    square = jnp.where(jnp.abs(h) > jax.lax.stop_gradient(smallest), h**2, 0.0)
    log_c = log_correlation(signal / (signal + noise), noise / (signal + noise))
    return tuple((square[k], square[k] * jnp.exp(k * log_c)) for k in range(count))


def _ratio(span: Real) -> Real:
    return jnp.maximum(span ** (1.0 / LEVELS), 1.5)


def without_degrees(ge: GaussianEquivalent, kept: tuple[Degree, ...]) -> GaussianEquivalent:
    """The constants with these degrees taken out of v² and s²."""
    signal = sum(one.signal for one in kept)
    noise = sum(one.whole - one.signal for one in kept)
    left, lost = zip(_less(ge.v2, signal, ge.error), _less(ge.s2, noise, ge.error), strict=True)
    error = jnp.maximum(ge.error, jnp.maximum(*lost))
    return replace(ge, v2=left[0], s2=left[1], error=error)


def _less(whole: Real, part: Real, error: Real) -> tuple[Real, Real]:
    # what is left of a constant, and its relative error; nothing if it is rounding
    left = whole - part
    rounding = jax.lax.stop_gradient((error + 4.0 * EPS) * whole)
    some = left > 64.0 * rounding
    return jnp.where(some, left, 0.0), jnp.where(some, rounding / jnp.where(some, left, 1.0), 0.0)
