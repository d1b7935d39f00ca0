r"""Moments of features with given weights, exactly: over the noise, and over noise and data.

Of Gaussian data with γ_i the width of row i, s_k(γ) = c_k(0; γ) of ``rfspec.empirical.hermite`` and
ρ_ij = w_i(α²Σ + β²)w_j/(dγ_iγ_j),

    Ũ_ij = Σ_k s_k(γ_i) s_k(γ_j) ρ_ij^k,   C_ij = Σ_k s_k(γ_i) s_k(γ_j) [α²w_iΣw_j/(dγ_iγ_j)]^k,

where C_ii is E_x[c_0(αw_i·x/√d; βω_i)²] by a quadrature in x, because its powers need not fall off.
Of given rows x^ν both are means over rows of averages over the noise, C_ij = mean_ν g_iν g_jν with
g_iν = c_0(y_iν; βω_i).
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from ..models.gaussian_equivalent import GaussianEquivalent, gaussian_equivalent
from ..models.model import RandomFeatureModel
from ..models.targets import Combination, combination
from ..numerics.quadrature import gaussian_weight
from ..numerics.types import Matrix, Real, Vector
from .conditional_losses import Moments
from .draws import Draw
from .features import TOLERANCE
from .hermite import coefficients, expansion, norms, of_gaussian_data, of_samples, quadrature_step

# of the quadrature in x: its end, and log of what it errs by
FARTHEST, DIGITS = 9.0, 32.5


def moments_of(model: RandomFeatureModel, draw: Draw) -> tuple[Moments, float]:
    """The moments for the weights of a draw, and a bound of their error, relative to E[σ²]."""
    ge = gaussian_equivalent(model)
    if draw.is_gaussian_equivalent:
        return _of_gaussian_equivalent(model, ge, draw), 0.0
    if draw.fresh is None:
        return _of_gaussian_data(model, ge.mu0, draw.W, draw.spread)
    return of_rows(model, draw.W, draw.fresh)


def of_rows(model: RandomFeatureModel, W: Matrix, X: Matrix) -> tuple[Moments, float]:
    """The same as means over the columns of X, for targets that are no functions of x."""
    mu0 = gaussian_equivalent(model).mu0
    layers = expansion(model.activation, of_samples(model.process, W, X), mu0, TOLERANCE)
    rows = X.shape[1]
    C = layers.mean @ layers.mean.T / rows
    y = combination(model.target, model.process)
    with_noise = model.process.beta / np.sqrt(W.shape[1]) * layers.slope[:, None] * W
    nothing = jnp.zeros_like(with_noise)
    moments = _with_target(model, y, C, layers.U, with_noise, nothing, 0.0)
    return moments._replace(rows=float(rows)), layers.error


def merged(parts: list[Moments]) -> Moments:
    """The moments of all rows, from those of groups of them."""
    rows = sum(part.rows for part in parts)
    mean = lambda name: sum(part.rows / rows * getattr(part, name) for part in parts)
    means = {name: mean(name) for name in ("C", "U", "fixed")}
    return parts[0]._replace(rows=rows, **means)


def _of_gaussian_equivalent(
    model: RandomFeatureModel, ge: GaussianEquivalent, draw: Draw
) -> Moments:
    F, spread = draw.W / np.sqrt(draw.W.shape[1]), draw.spread[None, :]
    noise, signal = (a * ge.mu1 * F for a in (model.process.beta, model.process.alpha))
    identity = jnp.eye(F.shape[0])
    C = (signal * spread) @ (signal * spread).T + ge.v2 * identity
    U = C + noise @ noise.T + ge.s2 * identity
    y = combination(model.target, model.process)
    return _with_target(model, y, C, U, noise, signal * spread**2, jnp.mean(spread**2))


def _of_gaussian_data(
    model: RandomFeatureModel, mu0: Real, W: Matrix, spread: Vector
) -> tuple[Moments, float]:
    sigma, alpha, beta = model.activation, model.process.alpha, model.process.beta
    both = of_gaussian_data(model.process, W, spread)
    scaled = alpha * W * spread[None, :] / np.sqrt(W.shape[1])
    data_alone = both._replace(unit=scaled / both.width[:, None])
    full, part = (expansion(sigma, rows, mu0, TOLERANCE) for rows in (both, data_alone))
    diagonal, error = _squares_over_data(model, mu0, norms(W), jnp.sqrt(jnp.sum(scaled**2, axis=1)))
    C = part.U.at[jnp.diag_indices(W.shape[0])].set(diagonal)
    noise, signal = (a / np.sqrt(W.shape[1]) * full.slope[:, None] * W for a in (beta, alpha))
    y = combination(model.target, model.process)
    signal = signal * spread[None, :] ** 2
    moments = _with_target(model, y, C, full.U, noise, signal, jnp.mean(spread**2))
    return moments, max(full.error, part.error, error)


def _squares_over_data(
    model: RandomFeatureModel, mu0: Real, omega: Vector, width: Vector
) -> tuple[Vector, float]:
    # E[c_0(width·u; βω)²] over normal u, for each row; c_0 is as smooth as the noise makes it
    noise = model.process.beta * omega
    smooth = float(jnp.min(noise / width))
    step = np.pi * np.sqrt(2.0 / DIGITS / (1.0 + 2.0 / smooth**2))
    u = step * np.arange(-np.ceil(FARTHEST / step), np.ceil(FARTHEST / step) + 1)
    Y = width[:, None] * u[None, :]
    of_noise, error = quadrature_step(model.activation, Y, noise, mu0)
    mean = coefficients(model.activation, Y, noise, mu0, of_noise, 1)[0][0]
    return mean**2 @ (step * gaussian_weight(u)), error


def _with_target(
    model: RandomFeatureModel,
    y: Combination,
    C: Matrix,
    U: Matrix,
    with_noise: Matrix,
    with_signal: Matrix,
    size: Real,
) -> Moments:
    # for y = c_x x + c_ξ ξ, from E[φξᵀ], E[gxᵀ] and E|x|²/d
    of_signal = 0.0 if y.signal is None else y.signal
    power = of_signal**2 * size
    return Moments(
        C,
        U,
        -y.noise * with_noise,
        -of_signal * with_signal,
        float(power),
        float(y.noise**2 + power),
        decay=float(model.weight_decay / model.pace),
    )
