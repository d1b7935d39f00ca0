r"""Losses along training, as one object for theory and experiment.

L_train = (1/dn) Σ_ν E_ξ ||β s_A(x_t^ν) + ξ||², L_test the same over fresh x, and the score error
E_score = (1/d) E ||s_A(x_t) - ∇log P_t(x_t)||². For Gaussian data L_test = β²E_score + 1 - β² Tr Σ_t⁻¹/d.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp

from .model import RandomFeatureModel


class StandardErrors(NamedTuple):
    """Standard errors of means over independent draws, arrays of τ's shape."""

    train: Any
    test: Any
    score_error: Any


class LearningCurve(eqx.Module):
    """Losses at training times τ, arrays of τ's shape.

    Attributes
    ----------
    tau : float
        Training time τ = kη/d².
    train, test, score_error : float
        L_train, L_test and E_score; the score error is NaN where the law of the data is not Gaussian.
    error : float
        Estimated absolute error of the losses at each τ.
    standard_error : StandardErrors
        Of train, test and score_error where they are means over sampled models; NaN where they are not.
    """

    tau: Any
    train: Any
    test: Any
    score_error: Any
    error: Any
    standard_error: StandardErrors = StandardErrors(jnp.nan, jnp.nan, jnp.nan)

    @property
    def gap(self) -> Any:
        """Generalisation gap L_test - L_train."""
        return self.test - self.train


def score_error(model: RandomFeatureModel, test: Any) -> Any:
    """E_score of a test loss under Gaussian data."""
    beta2 = model.process.beta2
    noisy = model.process.alpha**2 * jnp.asarray(model.covariance.values) + beta2
    floor = 1.0 - beta2 * jnp.sum(jnp.asarray(model.covariance.weights) / noisy)
    return (test - floor) / beta2
