"""Which equations a model has: the second file of them differs in nothing that the rest of the package can see."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from .equations import RandomFeatureEquations
from .gaussian_equivalent import GaussianEquivalent
from .model import RandomFeatureModel
from .noise_draws import NoiseDrawsEquations
from .targets import combination

Equations = RandomFeatureEquations | NoiseDrawsEquations


def equations(model: RandomFeatureModel, ge: GaussianEquivalent) -> Equations:
    """The equations of a model, given its Gaussian-equivalent constants.

    Eigenvalues of weight 0 fill Σ up to one of a few lengths, so that different covariances share a compilation.
    """
    values, weights = model.covariance.values, model.covariance.weights
    size = values.shape[-1]
    missing = (1 << (size - 1).bit_length() if size <= 64 else -(-size // 64) * 64) - size
    if missing:
        values, weights = jnp.pad(values, (0, missing), mode="edge"), jnp.pad(weights, (0, missing))
    y, process = combination(model.target, model.process), model.process
    slope = None if y.signal is None else y.signal * process.alpha / process.beta
    known = (model.psi_p, model.psi_n, values, weights, ge, y, slope, model.weight_decay / y.weight)
    if np.isinf(model.noise_draws):
        return RandomFeatureEquations(*known)
    return NoiseDrawsEquations(*known, np.float64(model.noise_draws))
