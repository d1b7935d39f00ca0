r"""How long rows of W and samples are at finite d.

The squared length |Σ^{1/2}w|² of a Gaussian vector, relative to its mean, has nearly the gamma law
of mean 1 and shape r/2, with r = (Tr Σ)²/Tr Σ² the effective rank. Two points stand for it, with
the same moments up to the third.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from ..numerics.types import Real, Vector

# points of the fine rule, and how many standard deviations of ln G they reach
MANY, WIDEST = 96, 4.0


# where p/(nd) is larger and the effective rank smaller, equations at finite d fail late in training
MANY_FEATURES, FEW_DIMENSIONS = 0.1, 15.0


class FewDimensionsWarning(UserWarning):
    """The data have so few dimensions, for so many features, that late losses are off."""


def warning_of_few_dimensions(ratio: Real, rank: Real) -> str | None:
    """What to say where p/(nd) is this `ratio`, if anything."""
    if ratio <= MANY_FEATURES or rank >= FEW_DIMENSIONS:
        return None
    return (
        f"the data have an effective rank of {rank:.3g} and p/(nd) is {ratio:.3g}: with a rank "
        f"below {FEW_DIMENSIONS:g} and p/(nd) above {MANY_FEATURES:g} late losses are off by more "
        "than a few per cent; take more samples or fewer features"
    )


class Lengths(NamedTuple):
    """Squared lengths relative to their mean, and their shares, [2]."""

    squares: Vector
    shares: Vector


def two_lengths(rank: Real) -> Lengths:
    """The Gauss rule of two nodes for the gamma law of mean 1 and shape rank/2."""
    shape = rank / 2.0
    reach = jnp.sqrt(shape + 1.0)
    ends = jnp.stack([shape + 1.0 - reach, shape + 1.0 + reach]) / shape
    return Lengths(ends, jnp.stack([1.0 + 1.0 / reach, 1.0 - 1.0 / reach]) / 2.0)


def many_lengths(rank: Real) -> Lengths:
    """A fine rule for the same law, equidistant in the logarithm of the length."""
    shape = rank / 2.0
    width = 1.0 / jnp.sqrt(shape)
    low, high = -WIDEST * width - WIDEST / shape, WIDEST * width
    log = low + (high - low) * np.linspace(0.0, 1.0, MANY)
    weights = jnp.exp(shape * (log - jnp.exp(log) + 1.0))
    shares = weights / jnp.sum(weights)
    squares = jnp.exp(log)
    return Lengths(squares / jnp.sum(shares * squares), shares)


def effective_rank(values: Vector, weights: Vector, d: Real) -> Real:
    """(Tr Σ)²/Tr Σ² of d eigenvalues."""
    return d * jnp.sum(weights * values) ** 2 / jnp.sum(weights * values**2)
