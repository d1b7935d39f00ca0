"""Gaussian averages of σ, and the constants from them, in multi-precision arithmetic.

Let K(c) = E[σ(Γz_1)σ(Γz_2)] be the kernel of σ, with z_1 and z_2 standard normal of correlation
c = α²σ_x²/Γ². Then v² and s² are the paper's differences K(c) - μ0² - κ²σ_x² and
K(1) - μ0² - κ²σ_x² - v² - b². They are computed with as many digits more as they cancel.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import mpmath as mp
import numpy as np

from ..models.activations import Polynomial
from ..models.model import RandomFeatureModel
from .numbers import GUARD, amplitudes, atoms, check_digits


class Constants(NamedTuple):
    """The Gaussian-equivalent constants (5), as mpmath numbers.

    Attributes
    ----------
    mu0, mu1 : mpmath.mpf or None
        E[σ(Γz)] and E[σ'(Γz)], z standard normal.
    kappa2, b2 : mpmath.mpf
        κ² = α²μ1² and b² = β²μ1².
    v2, s2 : mpmath.mpf
        v² and s², the variances of the part of σ beyond its linear one that survives the average
        over the noise, and of the part that does not.
    """

    mu0: mp.mpf | None
    mu1: mp.mpf | None
    kappa2: mp.mpf
    b2: mp.mpf
    v2: mp.mpf
    s2: mp.mpf


def constants(
    model: RandomFeatureModel, digits: int = 40, activation: Callable[[Any], Any] | None = None
) -> Constants:
    r"""The Gaussian-equivalent constants (5) of a model to any precision.

    Parameters
    ----------
    model : RandomFeatureModel
    digits : int
        Correct decimal digits asked for, 1 to 500.
    activation : callable, optional
        The model's σ for mpmath numbers, analytic on the real line. It is needed where σ is a
        function of the user's.

    Returns
    -------
    Constants
        ``.mu0 .mu1 .kappa2 .b2 .v2 .s2`` as mpmath numbers, correct to `digits`.

    Raises
    ------
    ValueError
        If σ is a function of the user's and `activation` is not given or not analytic, or digits is
        out of range.

    Notes
    -----
    arXiv 2505.17638, section 3, as printed there. The constants are differences of averages. The
    working precision is raised until the digits asked for are left.

    Examples
    --------
    >>> import rfspec as rf
    >>> import mpmath
    >>> c = rf.algebraic.constants(rf.RandomFeatureModel(64.0, 8.0, t=0.01), digits=30)
    >>> mpmath.nstr(c.s2, 20)
    '0.0018735495910653734896'
    """
    digits = check_digits(digits)
    averages = _averages(model, activation)
    if activation is not None and _is_affine(activation, digits):
        with mp.workdps(digits + GUARD):
            alpha2, beta2 = amplitudes(model.process)
            slope, zero = activation(mp.mpf(1)) - activation(mp.mpf(0)), mp.mpf(0)
            return Constants(
                activation(zero), slope, alpha2 * slope**2, beta2 * slope**2, zero, zero
            )
    lost = 0
    while True:
        with mp.workdps(digits + GUARD + lost):
            values, weights = atoms(model.covariance)
            alpha2, beta2 = amplitudes(model.process)
            signal = alpha2 * mp.fdot(weights, values)
            gamma2 = signal + beta2
            mean, slope, second, kernel = averages(gamma2, beta2 / gamma2)
            linear = slope**2
            v2 = kernel - mean**2 - linear * signal
            s2 = second - kernel - linear * beta2
            result = Constants(mean, slope, alpha2 * linear, beta2 * linear, v2, s2)
            floor = second * mp.mpf(10) ** (-digits - lost)
            small = min(abs(v2), abs(s2))
            if small >= floor or lost > 2 * digits + 60:
                # where v² or s² stays below rounding at any precision, σ is linear
                return result._replace(
                    v2=v2 if abs(v2) >= floor else mp.mpf(0),
                    s2=s2 if abs(s2) >= floor else mp.mpf(0),
                )
            lost += digits + 30


def _is_affine(sigma: Callable[[Any], Any], digits: int) -> bool:
    # whether second differences of σ vanish, to twice the digits asked for
    with mp.workdps(2 * digits + 60):
        small = mp.mpf(10) ** (-2 * digits - 50)
        for x, h in ((-1.25, 0.75), (0.375, 0.5), (1.625, 2.25)):
            left, middle, right = (mp.mpf(sigma(mp.mpf(x + k * h))) for k in (-1, 0, 1))
            if abs(left - 2 * middle + right) > small * max(abs(left), abs(middle), abs(right)):
                return False
    return True


def _averages(
    model: RandomFeatureModel, activation: Callable[[Any], Any] | None
) -> Callable[[Any, Any], Any]:
    # as a function of Γ² and 1 - c, the averages E[σ], E[σ'], E[σ²] and K(c)
    sigma = model.activation
    if isinstance(sigma, Polynomial):
        coefficients = [mp.mpf(float(a)) for a in np.asarray(sigma.coefficients)]
        return lambda gamma2, decorrelation: _of_polynomial(coefficients, gamma2, decorrelation)
    if activation is not None:
        return lambda gamma2, decorrelation: _of_unknown_strip(activation, gamma2, decorrelation)
    if not sigma.named:
        raise ValueError(
            f"activation {sigma.name!r} is known in double precision only: give activation=, the "
            "same function "
            "for mpmath numbers"
        )
    return _KNOWN[sigma.name]


def _erf(gamma2: mp.mpf, decorrelation: mp.mpf) -> tuple[mp.mpf, mp.mpf, mp.mpf, mp.mpf]:
    kernel = lambda c: 2 / mp.pi * mp.asin(2 * gamma2 * c / (1 + 2 * gamma2))
    return (
        mp.mpf(0),
        2 / mp.sqrt(mp.pi * (1 + 2 * gamma2)),
        kernel(mp.mpf(1)),
        kernel(1 - decorrelation),
    )


def _sin(gamma2: mp.mpf, decorrelation: mp.mpf) -> tuple[mp.mpf, mp.mpf, mp.mpf, mp.mpf]:
    kernel = lambda c: mp.exp(-gamma2) * mp.sinh(gamma2 * c)
    return mp.mpf(0), mp.exp(-gamma2 / 2), kernel(mp.mpf(1)), kernel(1 - decorrelation)


def _relu(gamma2: mp.mpf, decorrelation: mp.mpf) -> tuple[mp.mpf, mp.mpf, mp.mpf, mp.mpf]:
    c = 1 - decorrelation
    kernel = gamma2 / (2 * mp.pi) * (mp.sqrt(decorrelation * (1 + c)) + c * (mp.pi - mp.acos(c)))
    return mp.sqrt(gamma2 / (2 * mp.pi)), mp.mpf(1) / 2, gamma2 / 2, kernel


def _of_polynomial(
    coefficients: list[mp.mpf], gamma2: mp.mpf, decorrelation: mp.mpf
) -> tuple[mp.mpf, mp.mpf, mp.mpf, mp.mpf]:
    # E[x^i y^j] = Σ_k (i over k)(j over k) k! cᵏ (i-k-1)!! (j-k-1)!! of a pair with correlation c
    pairings = lambda n: 0 if n % 2 else mp.fac2(n - 1) if n else 1
    scaled = [a * mp.sqrt(gamma2) ** j for j, a in enumerate(coefficients)]

    def kernel(c: mp.mpf) -> mp.mpf:
        return mp.fsum(
            a
            * b
            * mp.binomial(i, k)
            * mp.binomial(j, k)
            * mp.factorial(k)
            * c**k
            * pairings(i - k)
            * pairings(j - k)
            for i, a in enumerate(scaled)
            for j, b in enumerate(scaled)
            for k in range(min(i, j) + 1)
        )

    mean = mp.fsum(a * pairings(j) for j, a in enumerate(scaled))
    slope = mp.fsum(j * a * pairings(j - 1) for j, a in enumerate(scaled) if j) / mp.sqrt(gamma2)
    return mean, slope, kernel(mp.mpf(1)), kernel(1 - decorrelation)


def _tanh(gamma2: mp.mpf, decorrelation: mp.mpf) -> tuple[mp.mpf, mp.mpf, mp.mpf, mp.mpf]:
    return _by_trapezoid_sums(
        mp.tanh, gamma2, decorrelation, lambda spread: _step(mp.pi / 2 / spread)
    )


def _gelu(gamma2: mp.mpf, decorrelation: mp.mpf) -> tuple[mp.mpf, mp.mpf, mp.mpf, mp.mpf]:
    # off the real axis each of two σ(sz) grows like exp(s²y²/2), the Gaussian like exp(y²/2)
    sigma = lambda x: x * mp.ncdf(x)
    return _by_trapezoid_sums(
        sigma,
        gamma2,
        decorrelation,
        lambda spread: mp.pi * mp.sqrt(2 / (_nats() * (1 + 2 * spread**2))),
    )


_KNOWN = {"erf": _erf, "sin": _sin, "relu": _relu, "tanh": _tanh, "gelu": _gelu}


def _of_unknown_strip(
    sigma: Callable[[Any], Any], gamma2: mp.mpf, decorrelation: mp.mpf
) -> tuple[mp.mpf, mp.mpf, mp.mpf, mp.mpf]:
    # narrower and narrower strips of analyticity are tried until two agree
    width, last = mp.mpf(1.5), None
    goal = mp.mpf(10) ** (-mp.mp.dps + GUARD // 2)
    while width > 0.02:
        now = _by_trapezoid_sums(sigma, gamma2, decorrelation, partial(_step_within, width))
        if (
            last is not None
            and max(abs(a - b) for a, b in zip(now, last, strict=True)) < goal * now[2]
        ):
            return now
        last, width = now, width * 3 / 5
    raise ValueError(
        "activation must be analytic on the real line: its averages do not settle as the step "
        "shrinks"
    )


def _nats() -> mp.mpf:
    return (mp.mp.dps + 3) * mp.log(10)


def _step_within(width: mp.mpf, spread: mp.mpf) -> mp.mpf:
    return _step(width / spread)


def _step(width: mp.mpf) -> mp.mpf:
    # The trapezoid rule with step h for a Gaussian average that is analytic in |Im z| < d errs by
    # exp(-2πd/h + d²/2). Of σ(sz), with σ analytic within `width`, d is width/s.
    d = min(width, mp.sqrt(2 * _nats()))
    return 2 * mp.pi * d / (_nats() + d**2 / 2)


def _by_trapezoid_sums(
    sigma: Callable[[Any], Any], gamma2: mp.mpf, decorrelation: mp.mpf, step: Callable[[Any], Any]
) -> tuple[mp.mpf, mp.mpf, mp.mpf, mp.mpf]:
    # The sums are of integers, in fixed point. With z_1,2 = a ± e, where a and e are independent of
    # variance (1 ± c)/2, K(c) is a sum over a product lattice. The arguments of σ at its points all
    # lie on one line, on which σ is tabulated. `step(s)` is what the average of σ(sz)² needs.
    c = 1 - decorrelation
    gamma = mp.sqrt(gamma2)
    wide, thin = gamma * mp.sqrt((1 + c) / 2), gamma * mp.sqrt(decorrelation / 2)
    unit = min(step(wide) * wide, step(thin) * thin)
    a = unit * int(step(wide) * wide / unit)
    e = unit * int(step(thin) * thin / unit)
    reach = mp.sqrt(2 * _nats()) + 1
    many_a, many_e = int(reach * wide / a) + 1, int(reach * thin / e) + 1
    stride_a, stride_e = int(mp.nint(a / unit)), int(mp.nint(e / unit))
    size = many_a * stride_a + many_e * stride_e
    bits = mp.mp.prec + 20
    fixed = lambda x: int(mp.nint(mp.ldexp(x, bits)))
    table = np.array([fixed(sigma(unit * k)) for k in range(-size, size + 1)], object)
    bell = lambda many, h, s: np.array(
        [
            fixed(mp.exp(-((h * k / s) ** 2) / 2) * h / (s * mp.sqrt(2 * mp.pi)))
            for k in range(-many, many + 1)
        ],
        object,
    )
    weight_a, weight_e = bell(many_a, a, wide), bell(many_e, e, thin)
    index = size + stride_a * np.arange(-many_a, many_a + 1)
    total = 0
    for k, w in zip(range(-many_e, many_e + 1), weight_e, strict=True):
        total += w * (
            np.dot(weight_a, table[index + k * stride_e] * table[index - k * stride_e]) >> bits
        )
    kernel = mp.ldexp(mp.mpf(int(total)), -3 * bits)

    h = (
        unit * int(step(gamma) * gamma / unit)
        if step(gamma) * gamma > unit
        else step(gamma) * gamma
    )
    many = int(reach * gamma / h) + 1
    z = [h * k / gamma for k in range(-many, many + 1)]
    w = [mp.exp(-(x**2) / 2) * h / (gamma * mp.sqrt(2 * mp.pi)) for x in z]
    y = [sigma(gamma * x) for x in z]
    mean = mp.fdot(w, y)
    slope = mp.fsum(a * b * c for a, b, c in zip(w, y, z, strict=True)) / gamma
    second = mp.fsum(a * b**2 for a, b in zip(w, y, strict=True))
    return mean, slope, second, kernel
