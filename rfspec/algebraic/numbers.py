"""What a model is made of, as multi-precision numbers,
and the Gaussian-equivalent constants from them.

Every double a user gave is taken for exactly what it is. For σ and c = α²σ_x²/Γ² the kernel K(c) =
E[σ(Γz_1)σ(Γz_2)], z_1 and z_2 standard normal with correlation c, is E_u[g(u)²]; v² and s² are the
paper's differences K(c) - μ0² - κ²σ_x² and K(1) - μ0² - κ²σ_x² - v² - b², with as many digits more
as they cancel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import mpmath as mp
import numpy as np

from ..models.activations import Polynomial
from ..models.covariance import Covariance
from ..models.model import RandomFeatureModel
from ..models.processes import FlowMatching, OrnsteinUhlenbeck, Process

GUARD = 15  # digits beyond those asked for
MAX_DIGITS = 500


class Constants(NamedTuple):
    """The Gaussian-equivalent constants, as mpmath numbers."""

    mu0: mp.mpf | None
    mu1: mp.mpf | None
    kappa2: mp.mpf
    b2: mp.mpf
    v2: mp.mpf
    s2: mp.mpf


def check_digits(digits: Any) -> int:
    """A number of decimal digits that can be asked for."""
    if (
        isinstance(digits, bool)
        or not isinstance(digits, int | np.integer)
        or not 1 <= digits <= MAX_DIGITS
    ):
        raise ValueError(f"digits must be an integer from 1 to {MAX_DIGITS}, got {digits!r}")
    return int(digits)


def ratios(model: RandomFeatureModel) -> tuple[mp.mpf, mp.mpf]:
    """(ψ_p, ψ_n)."""
    return mp.mpf(float(model.psi_p)), mp.mpf(float(model.psi_n))


def atoms(covariance: Covariance) -> tuple[list[mp.mpf], list[mp.mpf]]:
    """Distinct eigenvalues of Σ, ascending, and their weights, which sum to 1."""
    found: dict[float, Any] = {}
    for value, weight in zip(
        np.asarray(covariance.values), np.asarray(covariance.weights), strict=True
    ):
        found[float(value)] = found.get(float(value), mp.mpf(0)) + mp.mpf(float(weight))
    total = mp.fsum(found.values())
    return [mp.mpf(v) for v in sorted(found)], [found[v] / total for v in sorted(found)]


def amplitudes(process: Process) -> tuple[mp.mpf, mp.mpf]:
    """(α², β²) of x_t = αx + βξ."""
    if isinstance(process, OrnsteinUhlenbeck):
        t = mp.mpf(float(process.t))
        return mp.exp(-2 * t), -mp.expm1(-2 * t)
    if isinstance(process, FlowMatching):
        s = mp.mpf(float(process.s))
        return (1 - s) ** 2, s**2
    return mp.mpf(float(process.alpha)) ** 2, mp.mpf(float(process.beta2))


class TargetNumbers(NamedTuple):
    """y = signal·x + noise·ξ, α/β, and ω², which multiplies U in the loss."""

    signal: mp.mpf
    noise: mp.mpf
    slope: mp.mpf
    pace: mp.mpf


def target_numbers(model: RandomFeatureModel) -> TargetNumbers:
    """What a model learns: -ξ, weighted by β², or -ξ/β, x, α̇x + β̇ξ."""
    alpha2, beta2 = amplitudes(model.process)
    alpha, beta, one = mp.sqrt(alpha2), mp.sqrt(beta2), mp.mpf(1)
    if model.target == "noise":
        return TargetNumbers(0 * one, -one, alpha / beta, beta2)
    if model.target == "score":
        return TargetNumbers(0 * one, -1 / beta, alpha / beta, one)
    if model.target == "data":
        return TargetNumbers(one, 0 * one, alpha / beta, one)
    if isinstance(model.process, OrnsteinUhlenbeck):
        return TargetNumbers(-alpha, alpha2 / beta, alpha / beta, one)
    signal, noise = (mp.mpf(float(rate)) for rate in model.process.velocity)
    return TargetNumbers(signal, noise, alpha / beta, one)


def constants(
    model: RandomFeatureModel, digits: int = 40, activation: Callable[[Any], Any] | None = None
) -> Constants:
    r"""Gaussian-equivalent constants of a model to any precision.

    Parameters
    ----------
    model : RandomFeatureModel
    digits : int
        Correct decimal digits asked for, 1 to 500.
    activation : callable, optional
        The model's σ for mpmath numbers, analytic on the real line; needed where σ is not one of
        the package's own, which are known here.

    Returns
    -------
    Constants
        ``.mu0 .mu1 .kappa2 .b2 .v2 .s2`` as mpmath numbers.

    Raises
    ------
    ValueError
        If σ is a function of the user's and `activation` is not given, or digits is out of range.

    Notes
    -----
    arXiv 2505.17638, section 3, as printed there: differences of averages, with working precision
    raised until the digits asked for are left.

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
                # what stays below rounding however precise the average: σ is linear
                return result._replace(
                    v2=v2 if abs(v2) >= floor else mp.mpf(0),
                    s2=s2 if abs(s2) >= floor else mp.mpf(0),
                )
            lost += digits + 30


def _is_affine(sigma: Callable[[Any], Any], digits: int) -> bool:
    """Whether second differences of σ vanish, to twice the digits asked for."""
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
    """A function of Γ² and 1 - c that returns E[σ], E[σ'], E[σ²] and K(c)."""
    sigma = model.activation
    if isinstance(sigma, Polynomial):
        coefficients = [mp.mpf(float(a)) for a in np.asarray(sigma.coefficients)]
        return lambda gamma2, rest: _polynomial(coefficients, gamma2, rest)
    if activation is not None:
        return lambda gamma2, rest: _by_sums(activation, gamma2, rest)
    if not sigma.named:
        raise ValueError(
            f"activation {sigma.name!r} is known in double precision only: give activation=, the "
            "same function "
            "for mpmath numbers"
        )
    return _KNOWN[sigma.name]


def _erf(gamma2: mp.mpf, rest: mp.mpf) -> tuple[mp.mpf, mp.mpf, mp.mpf, mp.mpf]:
    kernel = lambda c: 2 / mp.pi * mp.asin(2 * gamma2 * c / (1 + 2 * gamma2))
    return mp.mpf(0), 2 / mp.sqrt(mp.pi * (1 + 2 * gamma2)), kernel(mp.mpf(1)), kernel(1 - rest)


def _sin(gamma2: mp.mpf, rest: mp.mpf) -> tuple[mp.mpf, mp.mpf, mp.mpf, mp.mpf]:
    kernel = lambda c: mp.exp(-gamma2) * mp.sinh(gamma2 * c)
    return mp.mpf(0), mp.exp(-gamma2 / 2), kernel(mp.mpf(1)), kernel(1 - rest)


def _relu(gamma2: mp.mpf, rest: mp.mpf) -> tuple[mp.mpf, mp.mpf, mp.mpf, mp.mpf]:
    c = 1 - rest
    kernel = gamma2 / (2 * mp.pi) * (mp.sqrt(rest * (1 + c)) + c * (mp.pi - mp.acos(c)))
    return mp.sqrt(gamma2 / (2 * mp.pi)), mp.mpf(1) / 2, gamma2 / 2, kernel


def _polynomial(
    coefficients: list[mp.mpf], gamma2: mp.mpf, rest: mp.mpf
) -> tuple[mp.mpf, mp.mpf, mp.mpf, mp.mpf]:
    """By moments: E[x^i y^j] = Σ_k (i over k)(j over k) k! cᵏ (i-k-1)!! (j-k-1)!! of a pair with
    correlation c.
    """
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
    return mean, slope, kernel(mp.mpf(1)), kernel(1 - rest)


def _tanh(gamma2: mp.mpf, rest: mp.mpf) -> tuple[mp.mpf, mp.mpf, mp.mpf, mp.mpf]:
    return _sums(mp.tanh, gamma2, rest, lambda spread: _step(mp.pi / 2 / spread))


def _gelu(gamma2: mp.mpf, rest: mp.mpf) -> tuple[mp.mpf, mp.mpf, mp.mpf, mp.mpf]:
    """Off the real axis each of two σ(sz) grows like exp(s²y²/2), the Gaussian like exp(y²/2)."""
    sigma = lambda x: x * mp.ncdf(x)
    return _sums(
        sigma, gamma2, rest, lambda spread: mp.pi * mp.sqrt(2 / (_nats() * (1 + 2 * spread**2)))
    )


_KNOWN = {"erf": _erf, "sin": _sin, "relu": _relu, "tanh": _tanh, "gelu": _gelu}


def _by_sums(
    sigma: Callable[[Any], Any], gamma2: mp.mpf, rest: mp.mpf
) -> tuple[mp.mpf, mp.mpf, mp.mpf, mp.mpf]:
    """Narrower strips until two agree."""
    width, last = mp.mpf(1.5), None
    goal = mp.mpf(10) ** (-mp.mp.dps + GUARD // 2)
    while width > 0.02:
        found = _sums(sigma, gamma2, rest, _step_of(width))
        if (
            last is not None
            and max(abs(a - b) for a, b in zip(found, last, strict=True)) < goal * found[2]
        ):
            return found
        last, width = found, width * 3 / 5
    raise ValueError(
        "activation must be analytic on the real line: its averages do not settle as the step "
        "shrinks"
    )


def _nats() -> mp.mpf:
    return (mp.mp.dps + 3) * mp.log(10)


def _step_of(width: mp.mpf) -> Callable[[Any], Any]:
    """The step that a Gaussian average of σ(sz), σ analytic within `width` of the real line,
    needs at each s.
    """
    return lambda spread: _step(width / spread)


def _step(width: mp.mpf) -> mp.mpf:
    """Step of the trapezoid rule for a Gaussian average analytic in |Im z| < width:
    exp(-2πd/h + d²/2) is its error.
    """
    d = min(width, mp.sqrt(2 * _nats()))
    return 2 * mp.pi * d / (_nats() + d**2 / 2)


def _sums(
    sigma: Callable[[Any], Any], gamma2: mp.mpf, rest: mp.mpf, step: Callable[[Any], Any]
) -> tuple[mp.mpf, mp.mpf, mp.mpf, mp.mpf]:
    r"""The averages by trapezoid sums, in integers of fixed point.

    With z_1,2 = a ± e, a and e independent of variance (1 ± c)/2, K(c) is a sum over a product
    lattice whose points all lie on one line of arguments, where σ is tabulated. `step(s)` is the
    step that the average of σ(sz)² needs.
    """
    c = 1 - rest
    gamma = mp.sqrt(gamma2)
    wide, thin = gamma * mp.sqrt((1 + c) / 2), gamma * mp.sqrt(rest / 2)
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
    place = size + stride_a * np.arange(-many_a, many_a + 1)
    total = 0
    for k, w in zip(range(-many_e, many_e + 1), weight_e, strict=True):
        total += w * (
            np.dot(weight_a, table[place + k * stride_e] * table[place - k * stride_e]) >> bits
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
