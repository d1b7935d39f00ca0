r"""The constants μ0, μ1, v², s² of an activation by three routes, each with an error estimate.

Erf, sin and relu have closed forms of the kernel Σ h_k² c^k, and polynomials have finite h_k. For
other analytic σ the Hermite sum serves. For σ with kinks, or Γ too large for the sum, double
integrals do, which are written as averages of squares so that nothing cancels.
"""

from __future__ import annotations

from functools import partial
from math import factorial, sqrt
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..numerics.one_by_one import one_by_one
from ..numerics.quadrature import ORDER, REACH, gaussian_weight, hermite_projection, panels
from ..numerics.rounding import EPS
from ..numerics.types import Matrix, Real, Reals, Vector, Whole
from .activations import Activation

# rounding of each h_k relative to the root of Σ h_k²; an h_k below it counts as zero
ROUNDING = 4 * EPS
# the ends of the quadratures in z
ENDS = np.array([-REACH, REACH])


class Route(NamedTuple):
    """The constants by one route, and their errors."""

    mu0: Real
    mu1: Real
    v2: Real
    s2: Real
    # relative error of v² and s², and error of μ0 relative to the root of E[σ²]
    error: Real
    # absolute error of Γμ1
    blur: Real
    # the part of `error` that is no rounding
    missing: Real


def _correlation(signal: Real, noise: Real) -> tuple[Real, Real]:
    # c = α²σ_x²/Γ² and 1 - c = β²/Γ²; either may be tiny, so neither is formed from the other
    return signal / (signal + noise), noise / (signal + noise)


def log_correlation(c: Reals, one_minus_c: Reals) -> Reals:
    """log c to full relative accuracy, from c and 1 - c."""
    # near c = 1 it is the logarithm of the rounded c, with the rounding put back; XLA's log1p is
    # wrong by a hundred units in the last place around -0.4
    near = one_minus_c < 0.5
    small = jnp.where(near, one_minus_c, 0.5)
    rounded = 1.0 - small
    one_plus = jnp.log(rounded) + ((1.0 - rounded) - small) / rounded
    return jnp.where(near, one_plus, jnp.log(jnp.where(near, 0.5, c)))


def _series_from_cubic(x: Real, *, alternating: bool) -> Real:
    # x³/3! ± x⁵/5! + ... for 0 ≤ x < 1
    term, total = x**3 / 6, 0.0 * x
    for k in range(2, 11):
        total = total + term
        term = (-term if alternating else term) * x**2 / ((2 * k) * (2 * k + 1))
    return total


def _x_minus_sin(x: Real) -> Real:
    # for x ≥ 0, without cancellation
    small = _series_from_cubic(jnp.where(x < 1.0, x, 0.0), alternating=True)
    return jnp.where(x < 1.0, small, x - jnp.sin(x))


def _damped_sinh(x: Real) -> Real:
    # e^{-x} sinh x for x ≥ 0
    return -jnp.expm1(-2 * x) / 2


def _damped_sinh_minus_x(x: Real) -> Real:
    # e^{-x} (sinh x - x) for x ≥ 0, without cancellation
    small = jnp.where(x < 1.0, x, 0.0)
    damped = jnp.exp(-small) * _series_from_cubic(small, alternating=False)
    return jnp.where(x < 1.0, damped, _damped_sinh(x) - x * jnp.exp(-x))


def _erf(signal: Real, noise: Real) -> Route:
    # kernel (2/π) arcsin(ac) with a = 2Γ²/(1 + 2Γ²); with ac = sin φ both v² and s² are integrals
    # ∫ (1 - cos φ) dφ
    gamma2, (c, one_minus_c) = signal + noise, _correlation(signal, noise)
    a, one_minus_a = 2 * gamma2 / (1 + 2 * gamma2), 1 / (1 + 2 * gamma2)
    cos_top = jnp.sqrt(one_minus_a * (1 + a))
    cos_c = jnp.sqrt((one_minus_a + a * one_minus_c) * (1 + a * c))
    # arcsin a - arcsin ac
    step = jnp.arcsin(a * one_minus_c * (1 + c) / (cos_c + c * cos_top))
    phi = jnp.arctan2(a * c, cos_c)
    half = jnp.sin(step / 2)
    v2 = 2 / np.pi * _x_minus_sin(phi)
    s2 = 2 / np.pi * (2 * _x_minus_sin(step / 2) + 4 * half * jnp.sin(phi / 2 + step / 4) ** 2)
    mu1 = 2 / jnp.sqrt(np.pi * (1 + 2 * gamma2))
    return _closed(0.0 * gamma2, mu1, v2, s2, 16 * EPS, gamma2)


def _sin(signal: Real, noise: Real) -> Route:
    # kernel e^{-Γ²} sinh(Γ²c); every factor takes its part of the exponential, so none overflows
    gamma2 = signal + noise
    half, middle = noise / 2, (signal + noise / 2) / 2
    head = 2 * jnp.exp(-2 * middle) * _damped_sinh_minus_x(half)
    s2 = head + 4 * _damped_sinh(half) * _damped_sinh(middle) ** 2
    v2 = jnp.exp(-noise) * _damped_sinh_minus_x(signal)
    # for Γ² > 100 μ1 is beneath rounding
    error = EPS * (16 + 8 * noise + 4 * jnp.minimum(gamma2, 100.0))
    return _closed(0.0 * gamma2, jnp.exp(-gamma2 / 2), v2, s2, error, gamma2)


def _relu(signal: Real, noise: Real) -> Route:
    # arc-cosine kernel; with c = cos θ both v² and s² are integrals ∫ φ cos φ dφ, φ = arcsin c
    gamma2, (c, one_minus_c) = signal + noise, _correlation(signal, noise)
    sin_theta = jnp.sqrt(one_minus_c * (1 + c))
    phi, theta = jnp.arctan2(c, sin_theta), jnp.arctan2(sin_theta, c)
    v2 = phi * c - 2 * jnp.sin(phi / 2) ** 2
    versed = 2 * jnp.sin(theta / 2) ** 2
    s2 = np.pi / 2 * versed - (theta * versed - _x_minus_sin(theta))
    unit = gamma2 / (2 * np.pi)
    return _closed(jnp.sqrt(unit), 0.5 + 0.0 * gamma2, unit * v2, unit * s2, 32 * EPS, gamma2)


def _closed(mu0: Real, mu1: Real, v2: Real, s2: Real, error: Real, gamma2: Real) -> Route:
    # all constants have the same relative error
    return Route(
        mu0, mu1, v2, s2, error + 0.0 * gamma2, error / 2 * mu1 * jnp.sqrt(gamma2), 0.0 * gamma2
    )


CLOSED = {"erf": _erf, "sin": _sin, "relu": _relu}


def polynomial_sum(coefficients: Vector, signal: Real, noise: Real) -> Route:
    """v² and s² from h_k = Σ_j coefficients[j] Γ^j j!/(2^m m! √k!), j - k = 2m.

    The only error is rounding.
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
    k_log_c = jnp.arange(size) * log_correlation(*_correlation(signal, noise))
    weights = _weights_of_squares(k_log_c)
    sums = weights @ h**2
    lost = weights @ (2 * jnp.abs(h) * rounding + rounding**2)
    error = _largest_relative(lost, sums) + (8 + 2 * size) * EPS
    error = jnp.maximum(error, rounding[0] / jnp.sqrt(jnp.sum(h**2)))
    return Route(h[0], h[1] / gamma, sums[0], sums[1], error, rounding[1], 0.0 * gamma)


def _weights_of_squares(k_log_c: Vector) -> Matrix:
    # (5): the weights of h_k² in v² and in s² are c^k and 1 - c^k for k ≥ 2
    nonlinear = np.arange(k_log_c.size) > 1
    return jnp.stack([jnp.exp(k_log_c), -jnp.expm1(k_log_c)]) * nonlinear[None, :]


def _largest_relative(errors: Vector, sizes: Vector) -> Real:
    return jnp.max(jnp.where(sizes > 0, errors / jnp.where(sizes > 0, sizes, 1.0), 0.0))


HERMITE_NODES, _PROJECTION = hermite_projection()


def hermite_sum(y: Vector, signal: Real, noise: Real) -> Route:
    """v² and s² as sums over the h_k, from the values y of σ at Γ·HERMITE_NODES.

    Their errors come from doubling the step, and from the last quarter of the terms.
    """
    c, one_minus_c = _correlation(signal, noise)
    k_log_c = jnp.arange(ORDER) * log_correlation(c, one_minus_c)
    weights = _weights_of_squares(k_log_c)

    def project(stride: int) -> Vector:
        return stride * _PROJECTION[: ORDER // stride, ::stride] @ y[::stride]

    h, twice, four_times = (project(stride) for stride in (1, 2, 4))
    size = jnp.sum(h**2)
    rounding = ROUNDING * jnp.sqrt(size)

    def change_of_squares(fine: Vector, rough: Vector) -> Vector:
        return jnp.pad(fine[: rough.size] ** 2 - rough**2, (0, ORDER - rough.size))

    # a batch computes all sums at once several times faster
    terms = jnp.stack(
        [
            h**2,
            2 * rounding * jnp.abs(h) + rounding**2,
            change_of_squares(h, twice),
            change_of_squares(twice, four_times),
        ]
    )
    sums, lost, *changes = (weights @ terms.T).T
    sizes = jnp.maximum(sums, 1e-300)
    # this bounds what an algebraic decay leaves out, too
    tail = 8 * jnp.sum(h[3 * ORDER // 4 :] ** 2)
    left_out = tail * jnp.stack([jnp.exp(k_log_c[-1]), -jnp.expm1(2 * k_log_c[-1])]) / sizes

    def relative_differences(fine: Vector, rough: Vector, change: Vector) -> Vector:
        # of μ0 and Γμ1 relative to the root of E[σ²], of v² and s² relative to themselves
        return jnp.concatenate(
            [jnp.abs(fine[:2] - rough[:2]) / jnp.sqrt(size), jnp.abs(change) / sizes]
        )

    near = relative_differences(h, twice, changes[0])
    far = relative_differences(twice, four_times, changes[1])
    # geometric convergence squares the error with every halving of the step
    aliased = jnp.where(near < far**1.5, near**1.5, near)
    linear = jnp.all(jnp.abs(h[2:]) <= rounding)
    sizes = jnp.where(linear, size, sizes)
    beyond_reach = _error_beyond_reach(jnp.stack([y[0], y[-1]]), one_minus_c, sizes, size)
    missing = jnp.where(linear, 0.0, jnp.max(left_out + aliased[2:])) + beyond_reach
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
    r"""v² = E_u[(g - μ1y)²] and s² = E_u[E_w(σ - g - c1w)²] + Var_u[c1], all averages of squares.

    Here y = ασ_x u, g(y) = E_w[σ(y + βw)] and c1(y) = E_w[σ(y + βw) w], with σ less its mean and u
    and w independent N(0, 1). x = (α²σ_x², β²), and what returns are the fields of a `Route`. Below
    c = 1/2 the first average cancels, and the Hermite sum with 64 terms replaces it. The error
    comes from panels with other ends.
    """
    # one program for both sets of panels
    both = jax.lax.map(partial(_double_integrals_once, sigma, x), jnp.array([1.0, 0.7]))
    (mu0, mu1, v2, s2, size), other = (tuple(value[i] for value in both) for i in (0, 1))
    gamma, (c, one_minus_c) = jnp.sqrt(jnp.sum(x)), _correlation(*x)
    sizes = jnp.maximum(jnp.stack([v2, s2]), 1e-300)
    differ = jnp.abs(jnp.stack([v2 - other[2], s2 - other[3]])) / sizes
    # the remainders that are squared carry the rounding of the larger values that they come from
    from_values = jnp.stack([jnp.where(one_minus_c > 0.5, c, 1.0), 1.0])
    lost = 64 * EPS * (1.0 + size / jnp.sqrt(sizes) * from_values)
    error = (
        jnp.max(differ + lost)
        + jnp.abs(mu0 - other[0]) / size
        + _error_beyond_reach(sigma(gamma * ENDS), one_minus_c, sizes, size**2)
    )
    blur = gamma * jnp.abs(mu1 - other[1]) + ROUNDING * size
    return jnp.stack([mu0, mu1, v2, s2, *jax.lax.stop_gradient((error, blur, error))])


def _double_integrals_once(
    sigma: Activation, point: Vector, offset: Real
) -> tuple[Real, Real, Real, Real, Real]:
    # the nodes are constants under differentiation, so that only densities are differentiated,
    # never σ
    gamma, spread, beta = jnp.sqrt(jnp.sum(point)), jnp.sqrt(point[0]), jnp.sqrt(point[1])
    width = jax.lax.stop_gradient(beta)
    breaks = jnp.asarray(sorted({0.0, *sigma.kinks}))

    def panels_on(reach: Real, breaks: Vector, scale: Real, levels: int) -> tuple[Vector, Vector]:
        reach, scale = jax.lax.stop_gradient((reach, 0.5 * offset * scale))
        ratio = jnp.maximum((reach / scale) ** (1.0 / levels), 1.5)
        return panels(-reach, reach, breaks, scale, levels, ratio, parts=8, shift=1.0 - offset)

    def density(x: Vector, deviation: Real) -> Vector:
        return gaussian_weight(x / deviation) / deviation

    x, w = panels_on(REACH * gamma, breaks, 0.5 * jnp.minimum(1.0, gamma), 8)
    w, value = w * density(x, gamma), sigma(x)
    mu0, size = jnp.sum(w * value), jnp.sqrt(jnp.sum(w * value**2))
    h = hermite_projections(x / gamma, w * (value - mu0), 64)
    mu1 = h[1] / gamma

    def conditional(y: Real) -> tuple[Real, Real, Real]:
        w, weight = panels_on(REACH, (breaks - y) / width, jnp.minimum(1.0, 1.0 / width), 4)
        step, value = width * w, sigma(y + width * w) - mu0
        weight = width * weight * density(step, beta)
        g, c1 = jnp.sum(weight * value), jnp.sum(weight * value * step) / beta
        return g, c1, jnp.sum(weight * (value - g - c1 / beta * step) ** 2)

    y, wy = panels_on(REACH * spread, breaks, jnp.minimum(beta, spread), 8)
    wy = wy * density(y, spread)
    g, c1, remainder = jax.vmap(conditional)(y)
    slope = jnp.sum(wy * c1)
    s2 = jnp.sum(wy * (remainder + (c1 - slope) ** 2))
    direct = jnp.sum(wy * (g - mu1 * y) ** 2)
    (c, one_minus_c), k = _correlation(*point), jnp.arange(64)
    summed = jnp.sum(jnp.where(k > 1, h**2, 0.0) * jnp.exp(k * log_correlation(c, one_minus_c)))
    return mu0, mu1, jnp.where(one_minus_c > 0.5, summed, direct), s2, size


def hermite_projections(z: Vector, weighted: Vector, order: int) -> Vector:
    """Σ weighted He_k(z)/√k! for k < order."""

    # a loop compiles faster than the written-out sum
    def term(pair: tuple[Vector, Vector], k: Whole) -> tuple[tuple[Vector, Vector], Real]:
        this, following = pair
        after = (z * following - jnp.sqrt(k + 1.0) * this) / jnp.sqrt(k + 2.0)
        return (following, after), jnp.sum(weighted * this)

    return jax.lax.scan(term, (jnp.ones_like(z), z), jnp.arange(order))[1]


def _differentiated(sigma: Activation, x: Vector) -> Vector:
    return jnp.stack(_double_integrals_once(sigma, x, 1.0)[:4])


integrals = one_by_one(
    double_integrals, _differentiated, len(Route._fields), "gaussian_equivalent_integrals"
)


def _error_beyond_reach(
    values_at_ends: Vector, one_minus_c: Real, sizes: Vector, size: Real
) -> Real:
    # relative error of (v², s²) = `sizes` and of E[σ²] = `size` from |z| > REACH; degrees k up to
    # REACH² matter there, of which s² sees the part 1 - c^k
    tail = jnp.sum(values_at_ends**2) * gaussian_weight(REACH)
    seen_by_s2 = jnp.minimum(1.0, REACH**2 * one_minus_c)
    return tail * (1.0 / size + jnp.sum(jnp.stack([1.0, seen_by_s2]) / sizes))
