r"""How much of U a feature operator leaves out: the Hermite layers k ≥ 2 off the diagonal.

They are measured on the pairs of a few rows of W, E = Σ_{k≥2} R^{∘k}∘(C_kC_kᵀ/n) for the layers
below 24. Those beyond are bounded after Cauchy and Schwarz.
"""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..models.model import RandomFeatureModel
from ..numerics.types import Key, Matrix, Real, Reals, Vector, Whole, Wholes
from .hermite import coefficients, norms, quadrature_step
from .normal_rows import NormalRows, with_blocks

MEASURED = 24  # layers below this one are measured, those from it on are bounded
PAIRED = 64  # rows of W among whose pairs the layers are measured


def omitted_size(
    key: Key, model: RandomFeatureModel, W: NormalRows, X: NormalRows, mu0: Real, spread: Vector
) -> tuple[float, float]:
    """√((p - 1)·mean_{i≠j} E_ij²), the Frobenius norm over √p, and the step of the quadrature.

    Two standard errors of the mean are added to it.
    """
    # every process computes this by itself, from the same numbers
    draws = np.random.default_rng(np.asarray(jax.random.key_data(key)).tolist())
    chosen = np.sort(draws.choice(W.rows, min(PAIRED, W.rows), replace=False))
    rows, width, Y = _first_panel(model, with_blocks(W, None), X, spread, chosen)
    step, quadrature = quadrature_step(model.activation, Y, width, mu0)
    if chosen.size < 2:
        return quadrature, step
    squares = np.asarray(_squared_entries(model, rows, X, mu0, spread, step))
    each = np.sum(squares, axis=1) / (chosen.size - 1)
    # a mean over pairs of rows has twice the standard error of one over rows
    doubt = 2 * np.std(each, ddof=1) / np.sqrt(chosen.size) if chosen.size < W.rows else 0.0
    return float(np.sqrt((W.rows - 1) * (np.mean(each) + 2 * doubt))) + quadrature, step


@jax.jit
def _first_panel(
    model: RandomFeatureModel, W: NormalRows, X: NormalRows, spread: Vector, chosen: Wholes
) -> tuple[Matrix, Vector, Matrix]:
    # the chosen rows of W, their βω, and their pre-activations
    rows = jax.lax.map(lambda i: W.draw(W.key, i // W.block)[i % W.block], chosen)
    samples = spread[None, :] * X.draw(X.key, 0)[: X.rows]
    Y = model.process.alpha * rows @ samples.T / np.sqrt(W.columns)
    return rows, model.process.beta * norms(rows), Y


@eqx.filter_jit
def _squared_entries(
    model: RandomFeatureModel, W: Matrix, X: NormalRows, mu0: Real, spread: Vector, step: float
) -> Matrix:
    # E_ij² for all pairs of the rows W
    sigma, process = model.activation, model.process
    omega, last = norms(W), MEASURED
    unit = W / (omega[:, None] * np.sqrt(W.shape[1]))
    R = unit @ unit.T
    middle = coefficients(sigma, jnp.zeros((W.shape[0], 1)), process.beta * omega, mu0, step, 2)[1]

    def panel(sums: tuple[Reals, Vector], index: Whole) -> tuple[tuple[Reals, Vector], None]:
        samples = spread[None, :] * X.draw(X.key, index)
        Y = process.alpha * W @ samples.T / np.sqrt(W.shape[1])
        C, square = coefficients(sigma, Y, process.beta * omega, mu0, step, last)
        C = C * X.is_no_padding(index)[None, None, :]
        padding = X.block - jnp.sum(X.is_no_padding(index))
        return (
            sums[0] + C @ jnp.moveaxis(C, 1, 2),
            sums[1] + X.block * square - padding * middle,
        ), None

    start = jnp.zeros((last, *R.shape)), jnp.zeros(W.shape[0])
    (gram, square), _ = jax.lax.scan(panel, start, jnp.arange(-(-X.rows // X.block)))
    gram, square = gram / X.rows, square / X.rows
    powers = R[None] ** np.arange(2, last)[:, None, None]
    beyond = jnp.sqrt(
        jnp.maximum(square - jnp.sum(jnp.diagonal(gram, axis1=1, axis2=2), axis=0), 0.0)
    )
    entry = jnp.abs(jnp.sum(powers * gram[2:], axis=0))
    entry = entry + beyond[:, None] * jnp.abs(R) ** last * beyond[None, :]
    return jnp.where(jnp.eye(W.shape[0], dtype=bool), 0.0, entry**2)
