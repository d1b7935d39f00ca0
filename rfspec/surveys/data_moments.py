"""Numbers of data and of activations that tell how far a prediction is to be believed."""

from __future__ import annotations

import numpy as np

from ..models.model import RandomFeatureModel
from ..numerics.quadrature import hermite_projection, trapezoid
from ..numerics.types import Matrix, Reals

# degrees whose functions are counted
ORDERS = (2, 3)
# step in z of the Hermite coefficients, enough at a kink for the few digits that words need
STEP = 0.005


def moments(centred: Matrix) -> tuple[float, float, float, float]:
    """Effective rank and mean excess kurtosis of random projections, each with its standard error.

    Tr Σ² is estimated from products of different rows, which leaves out the sampling noise; the
    errors are those of the jackknife. NaN for fewer than four rows.
    """
    n, d = centred.shape
    square = np.sum(centred**2, axis=1)
    # Σ_j (x_i·x_j)² for each i
    products = centred @ centred.T if n < d else centred @ (centred.T @ centred)
    overlap = np.sum(products**2 if n < d else products * centred, axis=1)

    def both(left: int, trace: Reals, fourth: Reals, pairs: Reals) -> tuple[Reals, Reals]:
        second = pairs / (left * (left - 1))
        trace, fourth = trace / left, fourth / left
        return trace**2 / second, 3.0 * fourth / (trace**2 + 2.0 * second) - 3.0

    sums = square.sum(), (square**2).sum(), (overlap - square**2).sum()
    rank, kurtosis = both(n, *sums)
    if n < 4:
        return float(rank), np.nan, float(kurtosis), np.nan
    without = square, square**2, 2.0 * (overlap - square**2)
    spread = lambda a: float(np.sqrt((n - 1) * np.var(a)))
    ranks, kurtoses = both(n - 1, *(a - b for a, b in zip(sums, without, strict=True)))
    return float(rank), spread(ranks), float(kurtosis), spread(kurtoses)


def shares_of(model: RandomFeatureModel) -> tuple[float, ...]:
    """What of the features' variance are functions of the data of each of the degrees, h_k²c^k."""
    signal = float(model.process.alpha**2 * model.covariance.trace)
    width = signal + float(model.process.beta2)
    z, projection = hermite_projection(STEP)
    values = np.asarray(model.activation(np.sqrt(width) * z), float)
    h = projection @ values
    variance = trapezoid(STEP)[1] @ values**2 - h[0] ** 2
    return tuple(float(h[k] ** 2 * (signal / width) ** k / variance) for k in ORDERS)
