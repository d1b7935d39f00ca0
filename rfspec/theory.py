"""Which equations a model has: the second file of them differs in nothing that the rest of the package can see."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from .equations import RandomFeatureEquations
from .gaussian_equivalent import GaussianEquivalent
from .model import RandomFeatureModel
from .noise_draws import NoiseDrawsEquations
from .targets import combination

Equations = RandomFeatureEquations | NoiseDrawsEquations


def equations(model: RandomFeatureModel, ge: GaussianEquivalent, *, coarse: bool = False) -> Equations:
    """The equations of a model, given its Gaussian-equivalent constants.

    `coarse`: a continuous law on its coarse grid, three times faster, with edges to about 1e-7.
    """
    if model.covariance.continua is None:
        return _equations(model, ge, *_padded(model.covariance.values, model.covariance.weights), None, None)
    law = model.covariance.continua[coarse]
    return _equations(model, ge, law.values, law.weights, law, None)


def averaged_equations(model: RandomFeatureModel, ge: GaussianEquivalent) -> Equations:
    """The same for losses, which see resolvents far from the spectrum only: a continuous law needs few nodes there."""
    sigma = model.covariance
    fewer = None if sigma.fewer is None else _padded(*sigma.fewer)
    return _equations(model, ge, *_padded(sigma.values, sigma.weights), None, fewer)


def _padded(values: Any, weights: Any) -> tuple[Any, Any]:
    """Eigenvalues of weight 0 fill Σ up to one of a few lengths, so that different covariances share a compilation."""
    size = values.shape[-1]
    missing = (1 << (size - 1).bit_length() if size <= 64 else -(-size // 64) * 64) - size
    if not missing:
        return values, weights
    return jnp.pad(values, (0, missing), mode="edge"), jnp.pad(weights, (0, missing))


def _equations(
    model: RandomFeatureModel, ge: GaussianEquivalent, values: Any, weights: Any, law: Any, fewer: Any
) -> Equations:
    y, process = combination(model.target, model.process), model.process
    slope = None if y.signal is None else y.signal * process.alpha / process.beta
    known = (model.psi_p, model.psi_n, values, weights, law, fewer, ge, y, slope, model.weight_decay / y.weight)
    if np.isinf(model.noise_draws):
        return RandomFeatureEquations(*known)
    return NoiseDrawsEquations(*known, np.float64(model.noise_draws))
