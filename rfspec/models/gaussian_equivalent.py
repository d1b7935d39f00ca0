r"""The six constants of the Gaussian-equivalent features (THEORY.md section 2 of the design notes).

With h_k = E[σ(Γz) He_k(z)]/√k! and c = α²σ_x²/Γ² (1 - c = β²/Γ²) every constant is a sum of positive terms,

    μ0 = h_0,   μ1 = h_1/Γ,   κ² = α²μ1²,   b² = β²μ1²,
    v² = Σ_{k≥2} h_k² c^k,    s² = Σ_{k≥2} h_k² (1 - c^k),

so nothing cancels as t → 0, where the paper's differences of averages lose s² and v². Three routes, each with
an error estimate: closed forms of the kernel Σ h_k² c^k (erf, sin, relu) or of the h_k (polynomials), the Hermite
sum (analytic σ), and conditioned double integrals that are again averages of squares (kinks, or Γ too large for the
sum). The last are dear, and in a batch each model has them only if it needs them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import factorial, sqrt
from typing import TYPE_CHECKING, Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..numerics.checks import concrete, real_array
from ..numerics.one_by_one import one_by_one
from ..numerics.quadrature import (
    ORDER,
    REACH,
    gaussian_weight,
    hermite_projection,
    panels,
)
from ..numerics.session import enter
from .activations import Activation, Polynomial, as_activation
from .covariance import Covariance, Isotropic
from .model import RandomFeatureModel

if TYPE_CHECKING:
    import xarray

EPS = float(np.finfo(float).eps)
ROUNDING = 4 * EPS  # of each h_k, relative to the root of their sum of squares; what is smaller counts as zero
ENDS = np.array([-REACH, REACH])  # of the quadratures in z
ENOUGH = 1e-13  # relative error beside rounding above which the Hermite sum yields to the double integrals


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
        and b² where σ has no linear part, or none that rounding leaves to be seen. Of μ0, which may cancel, relative
        to the root of E[σ²].
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
    sigma, given = model.activation, _Variances(model.process.alpha**2, model.process.beta2, model.covariance.trace)
    if isinstance(sigma, Polynomial):
        return _of_polynomial(sigma.coefficients, given)
    if _is_closed(sigma):
        return _of_closed_form(sigma.name, given)
    if sigma.kinks:
        return _thorough(sigma, given, None)
    quick, route = _quick(_at_nodes(sigma, given), given)
    return quick if concrete(route.missing) and route.missing < ENOUGH else _thorough(sigma, given, route)


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


class _Route(NamedTuple):
    """What a route finds: four constants; the relative error of v² and s², and of mu0 beside the root of E[σ²]; the
    absolute error of Γμ1; and what of the former is no rounding.
    """

    mu0: Any
    mu1: Any
    v2: Any
    s2: Any
    error: Any
    blur: Any
    missing: Any


def _is_closed(activation: Activation) -> bool:
    """Whether the constants are finite sums or elementary functions: no integral is as good."""
    return isinstance(activation, Polynomial) or (activation.named and activation.name in _CLOSED)


class _Variances(NamedTuple):
    """α², β² and σ_x²: all that the constants know of process and covariance, so that these share compilations."""

    alpha2: Any
    beta2: Any
    data: Any

    @property
    def signal(self) -> Any:
        """α²σ_x²; Γ² is this and the noise β²."""
        return self.alpha2 * self.data


@partial(jax.jit, static_argnames="name")
def _of_closed_form(name: str, given: _Variances) -> GaussianEquivalent:
    return _assemble(given, _CLOSED[name](given.signal, given.beta2))


@jax.jit
def _of_polynomial(coefficients: Any, given: _Variances) -> GaussianEquivalent:
    return _assemble(given, _polynomial(coefficients, given.signal, given.beta2))


@jax.jit
def _at_nodes(sigma: Activation, given: _Variances) -> Any:
    """σ at the nodes of the Hermite sum: all that has to be compiled for another σ, with its derivatives."""
    return sigma(jnp.sqrt(given.signal + given.beta2) * _Z)


@jax.jit
def _quick(values: Any, given: _Variances) -> tuple[GaussianEquivalent, _Route]:
    """The Hermite sum of a σ without kinks, from its values."""
    route = _hermite_sum(values, given.signal, given.beta2)
    return _assemble(given, route), route


@jax.jit
def _thorough(sigma: Activation, given: _Variances, quick: _Route | None) -> GaussianEquivalent:
    """The double integrals, where there is nothing as good."""
    x = jnp.stack([given.signal, given.beta2])
    enough = jnp.array(False) if quick is None else quick.missing < ENOUGH
    route = _Route(*_integrals(x, ~enough, static=sigma))
    if quick is not None:
        better = enough | (quick.error < route.error)
        route = jax.tree.map(lambda a, b: jnp.where(better, a, b), quick, route)
    return _assemble(given, route)


def _assemble(given: _Variances, route: _Route) -> GaussianEquivalent:
    alpha2, beta2, _ = given
    # without a derivative the error stays a known number under jax.grad, and decides outside of the trace
    mu0, mu1, v2, s2, error, blur, _ = (*route[:4], *jax.lax.stop_gradient(route[4:]))
    linear = jax.lax.stop_gradient(jnp.abs(mu1) * jnp.sqrt(given.signal + beta2))
    seen = linear > jnp.maximum(blur, ROUNDING * jnp.sqrt(linear**2 + jax.lax.stop_gradient(v2 + s2)))
    mu1 = jnp.where(seen, mu1, 0.0)
    error = jnp.maximum(error, jnp.where(seen, 2 * blur / linear, 0.0))
    return GaussianEquivalent(mu0, mu1, alpha2 * mu1**2, beta2 * mu1**2, v2, s2, error)


def _correlation(signal: Any, noise: Any) -> tuple[Any, Any]:
    """c = α²σ_x²/Γ² and 1 - c = β²/Γ²; either may be tiny, so neither is formed from the other."""
    return signal / (signal + noise), noise / (signal + noise)


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


def _damped_sinh(x: Any) -> Any:
    """e^{-x} sinh x for x ≥ 0."""
    return -jnp.expm1(-2 * x) / 2


def _damped_sinh_minus_x(x: Any) -> Any:
    """e^{-x} (sinh x - x) for x ≥ 0 without cancellation."""
    small = jnp.where(x < 1.0, x, 0.0)
    term, total = small**3 / 6, 0.0 * small
    for k in range(2, 11):
        total = total + term
        term = term * small**2 / ((2 * k) * (2 * k + 1))
    return jnp.where(x < 1.0, jnp.exp(-small) * total, _damped_sinh(x) - x * jnp.exp(-x))


def _erf(signal: Any, noise: Any) -> _Route:
    """Kernel (2/π) arcsin(ac), a = 2Γ²/(1 + 2Γ²): with a c = sin φ both constants are ∫(1 - cos φ)dφ."""
    gamma2, (c, rest) = signal + noise, _correlation(signal, noise)
    a, one_minus_a = 2 * gamma2 / (1 + 2 * gamma2), 1 / (1 + 2 * gamma2)
    cos_top = jnp.sqrt(one_minus_a * (1 + a))
    cos_c = jnp.sqrt((one_minus_a + a * rest) * (1 + a * c))
    step = jnp.arcsin(a * rest * (1 + c) / (cos_c + c * cos_top))  # arcsin a - arcsin ac
    phi = jnp.arctan2(a * c, cos_c)
    half = jnp.sin(step / 2)
    v2 = 2 / np.pi * _x_minus_sin(phi)
    s2 = 2 / np.pi * (2 * _x_minus_sin(step / 2) + 4 * half * jnp.sin(phi / 2 + step / 4) ** 2)
    mu1 = 2 / jnp.sqrt(np.pi * (1 + 2 * gamma2))
    return _closed(0.0 * gamma2, mu1, v2, s2, 16 * EPS, gamma2)


def _sin(signal: Any, noise: Any) -> _Route:
    """Kernel e^{-Γ²} sinh(Γ²c), every factor with its share of the exponential."""
    gamma2 = signal + noise
    half, middle = noise / 2, (signal + noise / 2) / 2
    head = 2 * jnp.exp(-2 * middle) * _damped_sinh_minus_x(half)
    s2 = head + 4 * _damped_sinh(half) * _damped_sinh(middle) ** 2
    v2 = jnp.exp(-noise) * _damped_sinh_minus_x(signal)
    # μ1 is of no account once it is beneath rounding
    error = EPS * (16 + 8 * noise + 4 * jnp.minimum(gamma2, 100.0))
    return _closed(0.0 * gamma2, jnp.exp(-gamma2 / 2), v2, s2, error, gamma2)


def _relu(signal: Any, noise: Any) -> _Route:
    """Arc-cosine kernel; with c = cos θ both constants are ∫ φ cos φ dφ over φ = arcsin c."""
    gamma2, (c, rest) = signal + noise, _correlation(signal, noise)
    sin_theta = jnp.sqrt(rest * (1 + c))
    phi, theta = jnp.arctan2(c, sin_theta), jnp.arctan2(sin_theta, c)
    v2 = phi * c - 2 * jnp.sin(phi / 2) ** 2
    versed = 2 * jnp.sin(theta / 2) ** 2
    s2 = np.pi / 2 * versed - (theta * versed - _x_minus_sin(theta))
    unit = gamma2 / (2 * np.pi)
    return _closed(jnp.sqrt(unit), 0.5 + 0.0 * gamma2, unit * v2, unit * s2, 32 * EPS, gamma2)


def _closed(mu0: Any, mu1: Any, v2: Any, s2: Any, error: Any, gamma2: Any) -> _Route:
    """All of one relative error."""
    return _Route(mu0, mu1, v2, s2, error + 0.0 * gamma2, error / 2 * mu1 * jnp.sqrt(gamma2), 0.0 * gamma2)


_CLOSED = {"erf": _erf, "sin": _sin, "relu": _relu}


def _polynomial(coefficients: Any, signal: Any, noise: Any) -> _Route:
    """h_k = Σ_j coefficients[j] Γ^j j!/(2^m m! √k!), j - k = 2m; the error is what rounding leaves of their sums."""
    size = len(coefficients)
    table = np.zeros((size, size))
    for j in range(size):
        for m in range(j // 2 + 1):
            table[j - 2 * m, j] = factorial(j) / (2**m * factorial(m) * sqrt(factorial(j - 2 * m)))
    gamma = jnp.sqrt(signal + noise)
    terms = table * (jnp.asarray(coefficients) * jnp.cumprod(jnp.append(1.0, jnp.full(size - 1, gamma))))
    h, rounding = jnp.sum(terms, axis=1), EPS * jnp.abs(terms) @ (4.0 + 2.0 * np.arange(size))
    power = jnp.arange(size) * _log_correlation(*_correlation(signal, noise))
    share = jnp.stack([jnp.exp(power), -jnp.expm1(power)]) * (np.arange(size) > 1)
    sums = share @ h**2
    error = _relative(share @ (2 * jnp.abs(h) * rounding + rounding**2), sums) + (8 + 2 * size) * EPS
    error = jnp.maximum(error, rounding[0] / jnp.sqrt(jnp.sum(h**2)))
    return _Route(h[0], h[1] / gamma, sums[0], sums[1], error, rounding[1], 0.0 * gamma)


def _relative(errors: Any, sizes: Any) -> Any:
    """The largest relative error of what is not zero."""
    return jnp.max(jnp.where(sizes > 0, errors / jnp.where(sizes > 0, sizes, 1.0), 0.0))


# ----------------------------------------------------------------------------------------------- Hermite sum

_Z, _PROJECTION = hermite_projection()


def _hermite_sum(y: Any, signal: Any, noise: Any) -> _Route:
    """The sums over h_k as they stand; error from doubling the step and from the last quarter of the terms."""
    c, rest = _correlation(signal, noise)
    power = jnp.arange(ORDER) * _log_correlation(c, rest)
    share = jnp.stack([jnp.exp(power), -jnp.expm1(power)]) * (np.arange(ORDER) > 1)  # of v² and of s²

    def project(stride: int) -> Any:
        return stride * _PROJECTION[: ORDER // stride, ::stride] @ y[::stride]

    h, twice, four_times = (project(stride) for stride in (1, 2, 4))
    size = jnp.sum(h**2)
    rounding = ROUNDING * jnp.sqrt(size)

    def change(fine: Any, rough: Any) -> Any:
        """In the squares, as far as both go."""
        return jnp.pad(fine[: rough.size] ** 2 - rough**2, (0, ORDER - rough.size))

    # all sums at once, which a batch computes several times as fast
    terms = jnp.stack([h**2, 2 * rounding * jnp.abs(h) + rounding**2, change(h, twice), change(twice, four_times)])
    sums, lost, *changes = (share @ terms.T).T
    sizes = jnp.maximum(sums, 1e-300)
    tail = 8 * jnp.sum(h[3 * ORDER // 4 :] ** 2)  # also bounds what a slower, algebraic decay leaves out
    left_out = tail * jnp.stack([jnp.exp(power[-1]), -jnp.expm1(2 * power[-1])]) / sizes

    def differences(fine: Any, rough: Any, change: Any) -> Any:
        """Of mu0, Γμ1 (relative to the root of E[σ²]), v² and s² between two steps."""
        return jnp.concatenate([jnp.abs(fine[:2] - rough[:2]) / jnp.sqrt(size), jnp.abs(change) / sizes])

    near, far = differences(h, twice, changes[0]), differences(twice, four_times, changes[1])
    # geometric convergence squares the error with every halving of the step
    aliased = jnp.where(near < far**1.5, near**1.5, near)
    linear = jnp.all(jnp.abs(h[2:]) <= rounding)
    sizes = jnp.where(linear, size, sizes)
    beyond = _beyond(jnp.stack([y[0], y[-1]]), rest, sizes, size)
    missing = jnp.where(linear, 0.0, jnp.max(left_out + aliased[2:])) + beyond
    missing = jnp.maximum(missing, jnp.max(aliased[:2]))
    error = missing + jnp.where(linear, 0.0, jnp.max(lost / sizes)) + 4 * EPS
    v2, s2 = jnp.where(linear, 0.0, sums)
    blur = rounding + aliased[1] * jnp.sqrt(size)
    return _Route(h[0], h[1] / jnp.sqrt(signal + noise), v2, s2, *jax.lax.stop_gradient((error, blur, missing)))


# ------------------------------------------------------------------------------- conditioned double integrals


def _double_integrals(sigma: Activation, x: Any) -> Any:
    r"""v² = E_u[(g - linear part)²] and s² = E_u[E_w(σ - g - c1 w)²] + Var_u[c1], all averages of squares.

    y = ασ_x u, g(y) = E_w[σ(y + βw)], c1(y) = E_w[σ(y + βw) w]. Below c = 1/2 the Hermite sum with 64 terms
    replaces the first, which then cancels. The error compares with panels of other ends.
    """
    both = jax.lax.map(partial(_double_integrals_once, sigma, x), jnp.array([1.0, 0.7]))  # one program for both
    (mu0, mu1, v2, s2, size), other = (tuple(value[i] for value in both) for i in (0, 1))
    gamma, (c, rest) = jnp.sqrt(jnp.sum(x)), _correlation(*x)
    sizes = jnp.maximum(jnp.stack([v2, s2]), 1e-300)
    differ = jnp.abs(jnp.stack([v2 - other[2], s2 - other[3]])) / sizes
    # squares of small remainders of values of that size carry the rounding of those values
    lost = 64 * EPS * (1.0 + size / jnp.sqrt(sizes) * jnp.stack([jnp.where(rest > 0.5, c, 1.0), 1.0]))
    error = jnp.max(differ + lost) + jnp.abs(mu0 - other[0]) / size + _beyond(sigma(gamma * ENDS), rest, sizes, size**2)
    blur = gamma * jnp.abs(mu1 - other[1]) + ROUNDING * size
    return jnp.stack([mu0, mu1, v2, s2, *jax.lax.stop_gradient((error, blur, error))])


def _double_integrals_once(sigma: Activation, point: Any, offset: Any) -> tuple[Any, ...]:
    """Nodes stay where they are under differentiation, so that only densities are differentiated, never σ."""
    gamma, spread, beta = jnp.sqrt(jnp.sum(point)), jnp.sqrt(point[0]), jnp.sqrt(point[1])
    width = jax.lax.stop_gradient(beta)
    breaks = jnp.asarray(sorted({0.0, *sigma.kinks}))

    def split(reach: Any, breaks: Any, scale: Any, levels: int) -> tuple[Any, Any]:
        """Panels on [-reach, reach]."""
        reach, scale = jax.lax.stop_gradient((reach, 0.5 * offset * scale))
        ratio = jnp.maximum((reach / scale) ** (1.0 / levels), 1.5)
        return panels(-reach, reach, breaks, scale, levels, ratio, parts=8, shift=1.0 - offset)

    def density(x: Any, deviation: Any) -> Any:
        return gaussian_weight(x / deviation) / deviation

    x, w = split(REACH * gamma, breaks, 0.5 * jnp.minimum(1.0, gamma), 8)
    w, value = w * density(x, gamma), sigma(x)
    mu0, size = jnp.sum(w * value), jnp.sqrt(jnp.sum(w * value**2))
    h = _project(x / gamma, w * (value - mu0), 64)
    mu1 = h[1] / gamma

    def conditional(y: Any) -> tuple[Any, Any, Any]:
        w, weight = split(REACH, (breaks - y) / width, jnp.minimum(1.0, 1.0 / width), 4)
        step, value = width * w, sigma(y + width * w) - mu0
        weight = width * weight * density(step, beta)
        g, c1 = jnp.sum(weight * value), jnp.sum(weight * value * step) / beta
        return g, c1, jnp.sum(weight * (value - g - c1 / beta * step) ** 2)

    y, wy = split(REACH * spread, breaks, jnp.minimum(beta, spread), 8)
    wy = wy * density(y, spread)
    g, c1, remainder = jax.vmap(conditional)(y)
    slope = jnp.sum(wy * c1)
    s2 = jnp.sum(wy * (remainder + (c1 - slope) ** 2))
    direct = jnp.sum(wy * (g - mu1 * y) ** 2)
    (c, rest), k = _correlation(*point), jnp.arange(64)
    summed = jnp.sum(jnp.where(k > 1, h**2, 0.0) * jnp.exp(k * _log_correlation(c, rest)))
    return mu0, mu1, jnp.where(rest > 0.5, summed, direct), s2, size


def _project(z: Any, weighted: Any, order: int) -> Any:
    """Σ weighted He_k(z)/√k! for k < order, by a loop, which compiles in a moment."""

    def term(pair: Any, k: Any) -> tuple[Any, Any]:
        this, following = pair
        after = (z * following - jnp.sqrt(k + 1.0) * this) / jnp.sqrt(k + 2.0)
        return (following, after), jnp.sum(weighted * this)

    return jax.lax.scan(term, (jnp.ones_like(z), z), jnp.arange(order))[1]


def _values(sigma: Activation, x: Any) -> Any:
    return jnp.stack(_double_integrals_once(sigma, x, 1.0)[:4])


_integrals = one_by_one(_double_integrals, _values, len(_Route._fields), "gaussian_equivalent_integrals")


def _beyond(ends: Any, rest: Any, sizes: Any, size: Any) -> Any:
    """Relative error of v² and s² = `sizes`, and of E[σ²] = `size`, from what lies beyond the reach of the quadratures.

    By the values of σ at the `ends`. Of degrees k that matter there, about REACH² at most, s² sees the share 1 - c^k.
    """
    tail = jnp.sum(ends**2) * gaussian_weight(REACH)
    return tail * (1.0 / size + jnp.sum(jnp.stack([1.0, jnp.minimum(1.0, REACH**2 * rest)]) / sizes))
