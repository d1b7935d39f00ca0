r"""Gaussian averages of an activation by three routes, each with an error estimate.

Closed forms of the kernel Σ h_k² c^k (erf, sin, relu) or of the h_k (polynomials); the Hermite sum
(analytic σ); and conditioned double integrals that are again averages of squares (kinks, or Γ too
large for the sum).
"""

from __future__ import annotations

from functools import partial
from math import factorial, sqrt
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..numerics.one_by_one import one_by_one
from ..numerics.quadrature import ORDER, REACH, gaussian_weight, hermite_projection, panels
from ..numerics.rounding import EPS
from ..numerics.types import Real, Reals, Vector, Whole
from .activations import Activation

# of each h_k, relative to the root of their sum of squares; what is smaller counts as zero
ROUNDING = 4 * EPS
ENDS = np.array([-REACH, REACH])  # of the quadratures in z


class Route(NamedTuple):
    """What a route finds: four constants; the relative error of v² and s², and of mu0 beside the
    root of E[σ²]; the absolute error of Γμ1; and what of the former is no rounding.
    """

    mu0: Real
    mu1: Real
    v2: Real
    s2: Real
    error: Real
    blur: Real
    missing: Real


def _correlation(signal: Real, noise: Real) -> tuple[Real, Real]:
    """c = α²σ_x²/Γ² and 1 - c = β²/Γ²; either may be tiny, so neither is formed from the other."""
    return signal / (signal + noise), noise / (signal + noise)


def log_correlation(c: Reals, rest: Reals) -> Reals:
    """log c; near c = 1 from 1 - c, the logarithm of the rounded c with the rounding put back.

    XLA's log1p is wrong by a hundred units in the last place around -0.4.
    """
    near = rest < 0.5
    small = jnp.where(near, rest, 0.5)
    rounded = 1.0 - small
    one_plus = jnp.log(rounded) + ((1.0 - rounded) - small) / rounded
    return jnp.where(near, one_plus, jnp.log(jnp.where(near, 0.5, c)))


def _x_minus_sin(x: Real) -> Real:
    """x - sin x for x ≥ 0 without cancellation."""
    small = jnp.where(x < 1.0, x, 0.0)
    term, total = small**3 / 6, 0.0 * small
    for k in range(2, 11):
        total = total + term
        term = -term * small**2 / ((2 * k) * (2 * k + 1))
    return jnp.where(x < 1.0, total, x - jnp.sin(x))


def _damped_sinh(x: Real) -> Real:
    """e^{-x} sinh x for x ≥ 0."""
    return -jnp.expm1(-2 * x) / 2


def _damped_sinh_minus_x(x: Real) -> Real:
    """e^{-x} (sinh x - x) for x ≥ 0 without cancellation."""
    small = jnp.where(x < 1.0, x, 0.0)
    term, total = small**3 / 6, 0.0 * small
    for k in range(2, 11):
        total = total + term
        term = term * small**2 / ((2 * k) * (2 * k + 1))
    return jnp.where(x < 1.0, jnp.exp(-small) * total, _damped_sinh(x) - x * jnp.exp(-x))


def _erf(signal: Real, noise: Real) -> Route:
    """Kernel (2/π) arcsin(ac), a = 2Γ²/(1 + 2Γ²):
    with a c = sin φ both constants are ∫(1 - cos φ)dφ.
    """
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


def _sin(signal: Real, noise: Real) -> Route:
    """Kernel e^{-Γ²} sinh(Γ²c), every factor with its share of the exponential."""
    gamma2 = signal + noise
    half, middle = noise / 2, (signal + noise / 2) / 2
    head = 2 * jnp.exp(-2 * middle) * _damped_sinh_minus_x(half)
    s2 = head + 4 * _damped_sinh(half) * _damped_sinh(middle) ** 2
    v2 = jnp.exp(-noise) * _damped_sinh_minus_x(signal)
    # μ1 is of no account once it is beneath rounding
    error = EPS * (16 + 8 * noise + 4 * jnp.minimum(gamma2, 100.0))
    return _closed(0.0 * gamma2, jnp.exp(-gamma2 / 2), v2, s2, error, gamma2)


def _relu(signal: Real, noise: Real) -> Route:
    """Arc-cosine kernel; with c = cos θ both constants are ∫ φ cos φ dφ over φ = arcsin c."""
    gamma2, (c, rest) = signal + noise, _correlation(signal, noise)
    sin_theta = jnp.sqrt(rest * (1 + c))
    phi, theta = jnp.arctan2(c, sin_theta), jnp.arctan2(sin_theta, c)
    v2 = phi * c - 2 * jnp.sin(phi / 2) ** 2
    versed = 2 * jnp.sin(theta / 2) ** 2
    s2 = np.pi / 2 * versed - (theta * versed - _x_minus_sin(theta))
    unit = gamma2 / (2 * np.pi)
    return _closed(jnp.sqrt(unit), 0.5 + 0.0 * gamma2, unit * v2, unit * s2, 32 * EPS, gamma2)


def _closed(mu0: Real, mu1: Real, v2: Real, s2: Real, error: Real, gamma2: Real) -> Route:
    """All of one relative error."""
    return Route(
        mu0, mu1, v2, s2, error + 0.0 * gamma2, error / 2 * mu1 * jnp.sqrt(gamma2), 0.0 * gamma2
    )


CLOSED = {"erf": _erf, "sin": _sin, "relu": _relu}


def polynomial_sum(coefficients: Vector, signal: Real, noise: Real) -> Route:
    """h_k = Σ_j coefficients[j] Γ^j j!/(2^m m! √k!), j - k = 2m;
    the error is what rounding leaves of their sums.
    """
    size = len(coefficients)
    table = np.zeros((size, size))
    for j in range(size):
        for m in range(j // 2 + 1):
            table[j - 2 * m, j] = factorial(j) / (2**m * factorial(m) * sqrt(factorial(j - 2 * m)))
    gamma = jnp.sqrt(signal + noise)
    powers = jnp.cumprod(jnp.append(1.0, jnp.full(size - 1, gamma)))
    terms = table * (jnp.asarray(coefficients) * powers)[None, :]
    h, rounding = jnp.sum(terms, axis=1), EPS * jnp.abs(terms) @ (4.0 + 2.0 * np.arange(size))
    power = jnp.arange(size) * log_correlation(*_correlation(signal, noise))
    share = _shares(power)
    sums = share @ h**2
    error = (
        _relative(share @ (2 * jnp.abs(h) * rounding + rounding**2), sums) + (8 + 2 * size) * EPS
    )
    error = jnp.maximum(error, rounding[0] / jnp.sqrt(jnp.sum(h**2)))
    return Route(h[0], h[1] / gamma, sums[0], sums[1], error, rounding[1], 0.0 * gamma)


def _shares(power: Any) -> Any:
    """Of h_k² in v² and in s², from k log c: c^k and 1 - c^k, 0 for k = 0 and 1."""
    beyond = np.arange(power.size) > 1
    return jnp.stack([jnp.exp(power), -jnp.expm1(power)]) * beyond[None, :]


def _relative(errors: Vector, sizes: Vector) -> Real:
    """The largest relative error of what is not zero."""
    return jnp.max(jnp.where(sizes > 0, errors / jnp.where(sizes > 0, sizes, 1.0), 0.0))


HERMITE_NODES, _PROJECTION = hermite_projection()


def hermite_sum(y: Vector, signal: Real, noise: Real) -> Route:
    """The sums over h_k as they stand; error from doubling the step and from the last quarter of
    the terms.
    """
    c, rest = _correlation(signal, noise)
    power = jnp.arange(ORDER) * log_correlation(c, rest)
    share = _shares(power)

    def project(stride: int) -> Vector:
        return stride * _PROJECTION[: ORDER // stride, ::stride] @ y[::stride]

    h, twice, four_times = (project(stride) for stride in (1, 2, 4))
    size = jnp.sum(h**2)
    rounding = ROUNDING * jnp.sqrt(size)

    def change(fine: Vector, rough: Vector) -> Vector:
        """In the squares, as far as both go."""
        return jnp.pad(fine[: rough.size] ** 2 - rough**2, (0, ORDER - rough.size))

    # all sums at once, which a batch computes several times as fast
    terms = jnp.stack(
        [h**2, 2 * rounding * jnp.abs(h) + rounding**2, change(h, twice), change(twice, four_times)]
    )
    sums, lost, *changes = (share @ terms.T).T
    sizes = jnp.maximum(sums, 1e-300)
    # also bounds what a slower, algebraic decay leaves out
    tail = 8 * jnp.sum(h[3 * ORDER // 4 :] ** 2)
    left_out = tail * jnp.stack([jnp.exp(power[-1]), -jnp.expm1(2 * power[-1])]) / sizes

    def differences(fine: Vector, rough: Vector, change: Vector) -> Vector:
        """Of mu0, Γμ1 (relative to the root of E[σ²]), v² and s² between two steps."""
        return jnp.concatenate(
            [jnp.abs(fine[:2] - rough[:2]) / jnp.sqrt(size), jnp.abs(change) / sizes]
        )

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
    return Route(
        h[0],
        h[1] / jnp.sqrt(signal + noise),
        v2,
        s2,
        *jax.lax.stop_gradient((error, blur, missing)),
    )


def double_integrals(sigma: Activation, x: Vector) -> Vector:
    r"""v² = E_u[(g - linear part)²] and s² = E_u[E_w(σ - g - c1 w)²] + Var_u[c1],
    all averages of squares.

    y = ασ_x u, g(y) = E_w[σ(y + βw)], c1(y) = E_w[σ(y + βw) w]. Below c = 1/2 the Hermite sum with
    64 terms replaces the first, which then cancels. The error compares with panels of other ends.
    """
    # one program for both
    both = jax.lax.map(partial(_double_integrals_once, sigma, x), jnp.array([1.0, 0.7]))
    (mu0, mu1, v2, s2, size), other = (tuple(value[i] for value in both) for i in (0, 1))
    gamma, (c, rest) = jnp.sqrt(jnp.sum(x)), _correlation(*x)
    sizes = jnp.maximum(jnp.stack([v2, s2]), 1e-300)
    differ = jnp.abs(jnp.stack([v2 - other[2], s2 - other[3]])) / sizes
    # squares of small remainders of values of that size carry the rounding of those values
    lost = (
        64 * EPS * (1.0 + size / jnp.sqrt(sizes) * jnp.stack([jnp.where(rest > 0.5, c, 1.0), 1.0]))
    )
    error = (
        jnp.max(differ + lost)
        + jnp.abs(mu0 - other[0]) / size
        + _beyond(sigma(gamma * ENDS), rest, sizes, size**2)
    )
    blur = gamma * jnp.abs(mu1 - other[1]) + ROUNDING * size
    return jnp.stack([mu0, mu1, v2, s2, *jax.lax.stop_gradient((error, blur, error))])


def _double_integrals_once(
    sigma: Activation, point: Vector, offset: Real
) -> tuple[Real, Real, Real, Real, Real]:
    """Nodes stay where they are under differentiation, so that only densities are differentiated,
    never σ.
    """
    gamma, spread, beta = jnp.sqrt(jnp.sum(point)), jnp.sqrt(point[0]), jnp.sqrt(point[1])
    width = jax.lax.stop_gradient(beta)
    breaks = jnp.asarray(sorted({0.0, *sigma.kinks}))

    def split(reach: Real, breaks: Vector, scale: Real, levels: int) -> tuple[Vector, Vector]:
        """Panels on [-reach, reach]."""
        reach, scale = jax.lax.stop_gradient((reach, 0.5 * offset * scale))
        ratio = jnp.maximum((reach / scale) ** (1.0 / levels), 1.5)
        return panels(-reach, reach, breaks, scale, levels, ratio, parts=8, shift=1.0 - offset)

    def density(x: Vector, deviation: Real) -> Vector:
        return gaussian_weight(x / deviation) / deviation

    x, w = split(REACH * gamma, breaks, 0.5 * jnp.minimum(1.0, gamma), 8)
    w, value = w * density(x, gamma), sigma(x)
    mu0, size = jnp.sum(w * value), jnp.sqrt(jnp.sum(w * value**2))
    h = _project(x / gamma, w * (value - mu0), 64)
    mu1 = h[1] / gamma

    def conditional(y: Real) -> tuple[Real, Real, Real]:
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
    summed = jnp.sum(jnp.where(k > 1, h**2, 0.0) * jnp.exp(k * log_correlation(c, rest)))
    return mu0, mu1, jnp.where(rest > 0.5, summed, direct), s2, size


def _project(z: Vector, weighted: Vector, order: int) -> Vector:
    """Σ weighted He_k(z)/√k! for k < order, by a loop, which compiles in a moment."""

    def term(pair: tuple[Vector, Vector], k: Whole) -> tuple[tuple[Vector, Vector], Real]:
        this, following = pair
        after = (z * following - jnp.sqrt(k + 1.0) * this) / jnp.sqrt(k + 2.0)
        return (following, after), jnp.sum(weighted * this)

    return jax.lax.scan(term, (jnp.ones_like(z), z), jnp.arange(order))[1]


def _values(sigma: Activation, x: Vector) -> Vector:
    return jnp.stack(_double_integrals_once(sigma, x, 1.0)[:4])


integrals = one_by_one(
    double_integrals, _values, len(Route._fields), "gaussian_equivalent_integrals"
)


def _beyond(ends: Vector, rest: Real, sizes: Vector, size: Real) -> Real:
    """Relative error of v² and s² = `sizes`, and of E[σ²] = `size`,
    from what lies beyond the reach of the quadratures.

    By the values of σ at the `ends`. Of degrees k that matter there, about REACH² at most, s² sees
    the share 1 - c^k.
    """
    tail = jnp.sum(ends**2) * gaussian_weight(REACH)
    return tail * (
        1.0 / size + jnp.sum(jnp.stack([1.0, jnp.minimum(1.0, REACH**2 * rest)]) / sizes)
    )
