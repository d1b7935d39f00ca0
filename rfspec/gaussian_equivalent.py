r"""The six constants of the Gaussian-equivalent features (THEORY.md section 2 of the design notes).

With h_k = E[σ(Γz) He_k(z)]/√k! and c = α²σ_x²/Γ² (1 - c = β²/Γ²) every constant is a sum of positive terms,

    μ0 = h_0,   μ1 = h_1/Γ,   κ² = α²μ1²,   b² = β²μ1²,
    v² = Σ_{k≥2} h_k² c^k,    s² = Σ_{k≥2} h_k² (1 - c^k),

so nothing cancels as t → 0, where the paper's differences of averages lose s² and v². Three routes, each with
an error estimate: closed forms of the kernel Σ h_k² c^k (erf, sin, relu) or of the h_k (polynomials), the Hermite
sum (analytic σ), and conditioned double integrals that are again averages of squares (kinks, or Γ too large for the
sum).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import factorial, sqrt
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ._checks import concrete, real_array
from ._session import enter
from .activations import Activation, Polynomial, as_activation
from .covariance import Covariance, Isotropic
from .model import RandomFeatureModel
from .quadrature import (
    ORDER,
    REACH,
    gaussian_weight,
    hermite_functions,
    hermite_projection,
    panels,
)

if TYPE_CHECKING:
    import xarray

EPS = float(np.finfo(float).eps)
ROUNDING = 4 * EPS  # of each h_k, relative to the root of their sum of squares; what is smaller counts as zero
ENOUGH = 1e-13  # relative error above which the Hermite sum yields to the double integrals


class GaussianEquivalent(eqx.Module):
    r"""Constants of U ≃ GGᵀ/n + b²FFᵀ + s²I, G = κFX + vΩ, F = W/√d, Ω iid N(0, 1).

    Attributes
    ----------
    mu0, mu1 : float
        μ0 = E[σ(Γz)] (subtracted from σ) and μ1 = E[σ'(Γz)], Γ² = α²σ_x² + β².
    kappa2, b2 : float
        κ² = α²μ1² and b² = β²μ1², signal and noise seen linearly.
    v2, s2 : float
        v², the nonlinear part fixed by the data point, and s², the one that the noise redraws.
    error : float
        Estimated relative error of the least accurate of them that is not zero: v² and s² are where σ is linear, κ²
        and b² where σ has no linear part.
    """

    mu0: Any
    mu1: Any
    kappa2: Any
    b2: Any
    v2: Any
    s2: Any
    error: Any


def gaussian_equivalent(model: RandomFeatureModel) -> GaussianEquivalent:
    r"""Constants of the Gaussian equivalent of a model, by quadrature.

    Parameters
    ----------
    model : RandomFeatureModel

    Returns
    -------
    GaussianEquivalent
        ``.mu0 .mu1 .kappa2 .b2 .v2 .s2``, dimensionless, and ``.error``, their relative error: about 1e-14 for
        the named activations.

    Notes
    -----
    Gaussian equivalence: arXiv 2505.17638, section 3 and appendix; the sums over Hermite coefficients are
    equivalent to its averages.

    Examples
    --------
    >>> import rfspec as rf
    >>> ge = rf.gaussian_equivalent(rf.RandomFeatureModel(64.0, 8.0, t=0.01))
    >>> print(f"{ge.mu1:.7f} {ge.s2:.7f}")
    0.6057055 0.0018735
    """
    enter()
    # Σ enters through its trace alone, so that all of them share a compilation
    model = eqx.tree_at(lambda m: m.covariance, model, Isotropic(model.covariance.trace))
    quick = _quick(model)
    if not concrete(quick.error):
        return jax.lax.cond(quick.error < ENOUGH, lambda: quick, lambda: _thorough(model, quick))
    return quick if quick.error < ENOUGH else _thorough(model, quick)


_TABLE = {
    "mu0": ("mean of the activation, E[σ(Γz)]", "1"),
    "mu1": ("linear coefficient, E[σ'(Γz)]", "1/data"),
    "kappa2": ("signal seen linearly, κ² = α²μ1²", "1/data²"),
    "b2": ("noise seen linearly, b² = β²μ1²", "1"),
    "v2": ("nonlinear part fixed by the data point, v²", "1"),
    "s2": ("nonlinear part that the noise redraws, s²", "1"),
    "gamma2": ("variance of a pre-activation, Γ² = α²σ_x² + β²", "data²"),
    "error": ("estimated relative error of the constants", "1"),
}


def constants_table(
    ts: Any,
    activations: Sequence[str | Callable[[Any], Any] | Activation] = ("tanh", "erf", "sin", "relu", "gelu"),
    covariance: Covariance | None = None,
) -> xarray.Dataset:
    r"""Constants of the Gaussian equivalent over the diffusion time, for several activations.

    Parameters
    ----------
    ts : array, shape (T,)
        Diffusion times t > 0 of the Ornstein-Uhlenbeck process.
    activations : sequence
        Names, callables or ``rf.Activation``; no two of one name.
    covariance : Covariance, optional
        Σ, of which only the trace enters; ``Isotropic(1.0)`` by default.

    Returns
    -------
    xarray.Dataset
        ``mu0 mu1 kappa2 b2 v2 s2 gamma2 error`` over the dimensions (activation, t), each with `long_name` and `units`
        (activations are dimensionless, "data" is the unit of x).

    Raises
    ------
    ValueError
        If a time or an activation is refused by ``rf.RandomFeatureModel``, or two activations share a name.

    Examples
    --------
    >>> import rfspec as rf
    >>> table = rf.constants_table([0.01, 0.1], ["tanh", "relu"])
    >>> print(f"{float(table.s2.sel(activation='tanh', t=0.01)):.7f}")
    0.0018735
    """
    import xarray

    times = real_array("ts", ts, "a one-dimensional array of times greater than 0")
    if times.ndim != 1 or not times.size:
        raise ValueError(f"ts must be a one-dimensional array of times greater than 0, got shape {times.shape}")
    sigmas = [as_activation(activation) for activation in activations]
    names = [sigma.name for sigma in sigmas]
    if len(set(names)) < len(names) or not names:
        raise ValueError(f"activations must have different names (rf.Activation(f, name=...) gives one), got {names}")
    white = None if covariance is None else Isotropic(covariance.trace)
    table = np.empty((len(_TABLE), len(names), times.size))
    for i, sigma in enumerate(sigmas):
        for j, t in enumerate(times):
            model = RandomFeatureModel(1.0, 1.0, t, activation=sigma, covariance=white)
            constants = {"gamma2": model.gamma2, **vars(gaussian_equivalent(model))}
            table[:, i, j] = [float(constants[name]) for name in _TABLE]
    return xarray.Dataset(
        {
            name: (("activation", "t"), values, {"long_name": long_name, "units": units})
            for values, (name, (long_name, units)) in zip(table, _TABLE.items(), strict=True)
        },
        coords={
            "activation": ("activation", names, {"long_name": "nonlinearity σ of the features"}),
            "t": ("t", times, {"long_name": "diffusion time", "units": "1"}),
        },
    )


@jax.jit
def _quick(model: RandomFeatureModel) -> GaussianEquivalent:
    """A closed form or the Hermite sum; the error of the latter is 1 where it does not apply."""
    if model.activation.named and model.activation.name in _CLOSED:
        return _assemble(model, *_CLOSED[model.activation.name](model.gamma2, *_correlation(model)))
    if isinstance(model.activation, Polynomial):
        return _assemble(model, *_polynomial(model.activation.coefficients, model.gamma2, *_correlation(model)))
    return _assemble(model, *_hermite_sum(model, *_correlation(model)))


@jax.jit
def _thorough(model: RandomFeatureModel, quick: GaussianEquivalent) -> GaussianEquivalent:
    """The double integrals, where they are better."""
    other = _assemble(model, *_double_integrals(model))
    return jax.tree.map(lambda a, b: jnp.where(quick.error < other.error, a, b), quick, other)


def _assemble(model: RandomFeatureModel, mu0: Any, mu1: Any, v2: Any, s2: Any, error: Any) -> GaussianEquivalent:
    alpha2, beta2 = model.process.alpha**2, model.process.beta2
    # without a derivative the error stays a known number under jax.grad, and decides outside of the trace
    error = jax.lax.stop_gradient(error)
    linear = jnp.abs(mu1) * jnp.sqrt(model.gamma2)
    noise = ROUNDING * jnp.sqrt(linear**2 + v2 + s2)
    mu1 = jnp.where(linear > noise, mu1, 0.0)
    error = jnp.maximum(error, jax.lax.stop_gradient(jnp.where(linear > noise, noise / linear, 0.0)))
    return GaussianEquivalent(mu0, mu1, alpha2 * mu1**2, beta2 * mu1**2, v2, s2, error)


def _correlation(model: RandomFeatureModel) -> tuple[Any, Any]:
    """c = α²σ_x²/Γ² and 1 - c = β²/Γ²; either may be tiny, so neither is formed from the other."""
    beta2, gamma2 = model.process.beta2, model.gamma2
    return model.process.alpha**2 * model.covariance.trace / gamma2, beta2 / gamma2


def _log_correlation(c: Any, rest: Any) -> Any:
    """log c; near c = 1 from 1 - c, the logarithm of the rounded c with the rounding put back.

    XLA's log1p is wrong by a hundred units in the last place around -0.4.
    """
    near = rest < 0.5
    small = jnp.where(near, rest, 0.5)
    rounded = 1.0 - small
    one_plus = jnp.log(rounded) + ((1.0 - rounded) - small) / rounded
    return jnp.where(near, one_plus, jnp.log(jnp.where(near, 0.5, c)))


# ---------------------------------------------------------------------------------------------- closed forms


def _x_minus_sin(x: Any) -> Any:
    """x - sin x for x ≥ 0 without cancellation."""
    small = jnp.where(x < 1.0, x, 0.0)
    term, total = small**3 / 6, 0.0 * small
    for k in range(2, 11):
        total = total + term
        term = -term * small**2 / ((2 * k) * (2 * k + 1))
    return jnp.where(x < 1.0, total, x - jnp.sin(x))


def _sinh_minus_x(x: Any) -> Any:
    """sinh x - x for x ≥ 0 without cancellation."""
    small = jnp.where(x < 1.0, x, 0.0)
    term, total = small**3 / 6, 0.0 * small
    for k in range(2, 11):
        total = total + term
        term = term * small**2 / ((2 * k) * (2 * k + 1))
    return jnp.where(x < 1.0, total, jnp.sinh(x) - x)


def _erf(gamma2: Any, c: Any, rest: Any) -> tuple[Any, ...]:
    """Kernel (2/π) arcsin(ac), a = 2Γ²/(1 + 2Γ²): with a c = sin φ both constants are ∫(1 - cos φ)dφ."""
    a, one_minus_a = 2 * gamma2 / (1 + 2 * gamma2), 1 / (1 + 2 * gamma2)
    cos_top = jnp.sqrt(one_minus_a * (1 + a))
    cos_c = jnp.sqrt((one_minus_a + a * rest) * (1 + a * c))
    step = jnp.arcsin(a * rest * (1 + c) / (cos_c + c * cos_top))  # arcsin a - arcsin ac
    phi = jnp.arctan2(a * c, cos_c)
    half = jnp.sin(step / 2)
    v2 = 2 / np.pi * _x_minus_sin(phi)
    s2 = 2 / np.pi * (2 * _x_minus_sin(step / 2) + 4 * half * jnp.sin(phi / 2 + step / 4) ** 2)
    return 0.0 * gamma2, 2 / jnp.sqrt(np.pi * (1 + 2 * gamma2)), v2, s2, 16 * EPS + 0.0 * gamma2


def _sin(gamma2: Any, c: Any, rest: Any) -> tuple[Any, ...]:
    """Kernel e^{-Γ²} sinh(Γ²c)."""
    step = gamma2 * rest
    half = jnp.sinh(step / 2)
    tail = 2 * _sinh_minus_x(step / 2) + 4 * half * jnp.sinh((gamma2 - step / 2) / 2) ** 2
    damp = jnp.exp(-gamma2)
    error = EPS * (16 + 4 * gamma2)
    return 0.0 * gamma2, jnp.exp(-gamma2 / 2), damp * _sinh_minus_x(gamma2 * c), damp * tail, error


def _relu(gamma2: Any, c: Any, rest: Any) -> tuple[Any, ...]:
    """Arc-cosine kernel; with c = cos θ both constants are ∫ φ cos φ dφ over φ = arcsin c."""
    sin_theta = jnp.sqrt(rest * (1 + c))
    phi, theta = jnp.arctan2(c, sin_theta), jnp.arctan2(sin_theta, c)
    v2 = phi * c - 2 * jnp.sin(phi / 2) ** 2
    versed = 2 * jnp.sin(theta / 2) ** 2
    s2 = np.pi / 2 * versed - (theta * versed - _x_minus_sin(theta))
    unit = gamma2 / (2 * np.pi)
    return jnp.sqrt(unit), 0.5 + 0.0 * gamma2, unit * v2, unit * s2, 32 * EPS + 0.0 * gamma2


_CLOSED = {"erf": _erf, "sin": _sin, "relu": _relu}


def _polynomial(coefficients: Any, gamma2: Any, c: Any, rest: Any) -> tuple[Any, ...]:
    """h_k = Σ_j coefficients[j] Γ^j j!/(2^m m! √k!), j - k = 2m; the error is what rounding leaves of their sums."""
    size = len(coefficients)
    table = np.zeros((size, size))
    for j in range(size):
        for m in range(j // 2 + 1):
            table[j - 2 * m, j] = factorial(j) / (2**m * factorial(m) * sqrt(factorial(j - 2 * m)))
    gamma = jnp.sqrt(gamma2)
    terms = table * (jnp.asarray(coefficients) * jnp.cumprod(jnp.append(1.0, jnp.full(size - 1, gamma))))
    h, rounding = jnp.sum(terms, axis=1), 4 * EPS * jnp.sum(jnp.abs(terms), axis=1)
    power = jnp.arange(size) * _log_correlation(c, rest)
    share = jnp.stack([jnp.exp(power), -jnp.expm1(power)]) * (np.arange(size) > 1)
    sums = share @ h**2
    noise = share @ (2 * jnp.abs(h) * rounding + rounding**2)
    error = jnp.max(jnp.where(sums > 0, noise / jnp.where(sums > 0, sums, 1.0), 0.0))
    return h[0], h[1] / gamma, sums[0], sums[1], error + (8 + 2 * size) * EPS


# ----------------------------------------------------------------------------------------------- Hermite sum

_Z, _PROJECTION = hermite_projection()
_COARSE = 2 * _PROJECTION[: ORDER // 2, ::2]


def _hermite_sum(model: RandomFeatureModel, c: Any, rest: Any) -> tuple[Any, ...]:
    """The sums over h_k as they stand; error from halving the step and from the last quarter of the terms."""
    gamma = jnp.sqrt(model.gamma2)
    y = model.activation(gamma * _Z)
    power = jnp.arange(ORDER) * _log_correlation(c, rest)

    share = jnp.stack([jnp.exp(power), -jnp.expm1(power)]) * (np.arange(ORDER) > 1)  # of v² and of s²
    h = _PROJECTION @ y
    sums = share @ h**2
    halved = share[:, : ORDER // 2] @ (_COARSE @ y[::2]) ** 2
    size = jnp.sum(h**2)
    rounding = ROUNDING * jnp.sqrt(size)
    linear = jnp.all(jnp.abs(h[2:]) <= rounding)
    noise = share @ (2 * rounding * jnp.abs(h) + rounding**2)
    tail = 8 * jnp.sum(h[3 * ORDER // 4 :] ** 2)  # also bounds what a slower, algebraic decay leaves out
    left_out = tail * jnp.stack([jnp.exp(power[-1]), -jnp.expm1(2 * power[-1])])
    sizes = jnp.maximum(sums, 1e-300)
    # geometric convergence: halving the step squares the error
    relative = (noise + left_out) / sizes + (jnp.abs(sums - halved) / sizes) ** 1.5
    sums, error = jnp.where(linear, 0.0, sums), jnp.where(linear, 0.0, jnp.max(relative))
    return h[0], h[1] / gamma, sums[0], sums[1], error + 4 * EPS


# ------------------------------------------------------------------------------- conditioned double integrals


def _double_integrals(model: RandomFeatureModel) -> tuple[Any, ...]:
    r"""v² = E_u[(g - linear part)²] and s² = E_u[E_w(σ - g - c1 w)²] + Var_u[c1], all averages of squares.

    y = ασ_x u, g(y) = E_w[σ(y + βw)], c1(y) = E_w[σ(y + βw) w]. Below c = 1/2 the Hermite sum with 64 terms
    replaces the first, which then cancels. The error compares with panels of other ends.
    """
    both = jax.lax.map(partial(_double_integrals_once, model), jnp.array([1.0, 0.7]))  # one program for both
    fine = tuple(value[0] for value in both)
    sizes = jnp.maximum(jnp.abs(jnp.stack(fine[1:4])), 1e-300)
    differ = jnp.abs(jnp.stack(fine[1:4]) - jnp.stack([value[1] for value in both[1:4]])) / sizes
    # squares of small remainders of values of size fine[4] carry the rounding of those values
    lost = 64 * EPS * (1.0 + fine[4] / jnp.sqrt(sizes)) * jnp.array([0.0, 1.0, 1.0])
    lost = jnp.where(jnp.array([False, True, False]) & (_correlation(model)[1] > 0.5), 64 * EPS, lost)
    return (*fine[:4], jnp.max(differ + lost) + 64 * EPS)


def _double_integrals_once(model: RandomFeatureModel, offset: Any) -> tuple[Any, ...]:
    sigma, process = model.activation, model.process
    gamma, beta = jnp.sqrt(model.gamma2), process.beta
    spread = process.alpha * jnp.sqrt(model.covariance.trace)  # ασ_x
    c, rest = _correlation(model)
    breaks = jnp.asarray(sorted({0.0, *sigma.kinks}))

    x, w = panels(-REACH * gamma, REACH * gamma, breaks, 0.25 * offset * jnp.minimum(1.0, gamma), 12)
    w = w * gaussian_weight(x / gamma) / gamma
    mu0 = jnp.sum(w * sigma(x))
    centred = sigma(x) - mu0
    h = hermite_functions(x / gamma, 64) @ (w * centred)
    mu1 = h[1] / gamma
    size = jnp.sqrt(jnp.sum(w * centred**2))

    reach = 9.0
    inner = jnp.minimum(1.0, 1.0 / beta)

    def conditional(y: Any) -> tuple[Any, Any, Any]:
        w_, weight = panels(-reach, reach, (breaks - y) / beta, 0.5 * offset * inner, 7)
        weight = weight * gaussian_weight(w_)
        value = sigma(y + beta * w_) - mu0
        g, c1 = jnp.sum(weight * value), jnp.sum(weight * value * w_)
        return g, c1, jnp.sum(weight * (value - g - c1 * w_) ** 2)

    y, wy = panels(-reach * spread, reach * spread, breaks, 0.5 * offset * jnp.minimum(beta, spread), 16)
    wy = wy * gaussian_weight(y / spread) / spread
    g, c1, remainder = jax.vmap(conditional)(y)
    slope = jnp.sum(wy * c1)
    s2 = jnp.sum(wy * (remainder + (c1 - slope) ** 2))
    direct = jnp.sum(wy * (g - mu1 * y) ** 2)
    k = jnp.arange(64)
    summed = jnp.sum(jnp.where(k > 1, h**2, 0.0) * jnp.exp(k * _log_correlation(c, rest)))
    v2 = jnp.where(rest > 0.5, summed, direct)
    return mu0, mu1, v2, s2, size
