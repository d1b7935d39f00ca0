"""Edges of the exact curve: the real branch points on the physical sheet,
and the masses between them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import mpmath as mp
import sympy as sp

from ..models.model import RandomFeatureModel
from ..numerics.types import Given
from .elimination import Numbers, model_numbers, rational
from .numbers import GUARD, check_digits

_Y = sp.Symbol("y")


class Fold(NamedTuple):
    """An edge: ζ, Q and y there, and whether a bulk ends (rather than begins) at it."""

    zeta: mp.mpf
    Q: mp.mpf | None
    y: mp.mpf | None
    upper: bool


def edges(model: RandomFeatureModel, digits: int = 50, *, activation: Given = None) -> list[mp.mpf]:
    r"""Edges of the spectrum to any precision, ascending, as mpmath numbers.

    The real branch points of the curve, isolated by exact root counting in y, of which the edges
    are the ones on the physical sheet. At ψ_p = 1 + ψ_n the lowest is the hard edge s². The atom is
    no edge; see ``atom``.

    Parameters
    ----------
    model : RandomFeatureModel
        Its Σ must have at most ``MAX_ATOMS`` distinct eigenvalues.
    digits : int
        Decimal digits asked for, 1 to 500.
    activation : callable, optional
        As in ``constants``.

    Returns
    -------
    list of mpmath.mpf
        2B numbers for B bulks. Where two bulks touch in a point, exactly, they count as one.

    Raises
    ------
    ValueError
        If Σ has too many eigenvalues or is no list of eigenvalues, or digits is out of range.

    Examples
    --------
    >>> import mpmath, rfspec as rf
    >>> mpmath.nstr(rf.algebraic.edges(rf.RandomFeatureModel(64.0, 8.0, t=0.01), 40)[-1], 30)
    '44.6929715762998866514204155985'
    """
    digits = check_digits(digits)
    numbers = model_numbers(model, digits + GUARD, activation)
    found = folds(numbers, digits)
    with mp.workdps(digits + GUARD):
        return [numbers.s2 + f.zeta for f in found]


def folds(numbers: Numbers, digits: int) -> list[Fold]:
    """Edges in ζ with the solution there; a hard edge at ζ = 0 has no solution."""
    exact = rational(numbers)
    candidates: list[Fold] = []
    with mp.workdps(digits + GUARD):
        if exact.psi_p == (1 + exact.psi_n if exact.v2 else 1):
            candidates.append(Fold(mp.mpf(0), None, None, upper=False))
    R, alpha, beta = branch_polynomial(exact)
    R = R.sqf_part().clear_denoms(convert=True)[1].primitive()[1]
    roots = [_isolated(R, *ends) for ends, _ in R.intervals()]
    working, found = 2 * digits + 40, None
    while True:
        with mp.workdps(working):
            p, slope, a, b = (_coefficients(f) for f in (R, R.diff(_Y), alpha, beta))
            roots = [_refined(p, slope, y) for y in roots]
            folds_ = [_fold(numbers, y, mp.polyval(b, y), mp.polyval(a, y)) for y in roots]
            last, found = found, [f for f in folds_ if f is not None]
        if last is not None and _agree(found, last, digits):
            break
        working = 2 * working
        if working > 100 * (digits + 40):
            raise ArithmeticError(
                "the edges did not settle: two of them agree to more digits than were asked for"
            )
    candidates += sorted(found, key=lambda f: f.zeta)
    uppers = [f.upper for f in candidates]
    if uppers != [bool(i % 2) for i in range(len(uppers))] or len(uppers) % 2 or not uppers:
        raise ArithmeticError(
            "the edges do not alternate: two of them agree to more digits than were asked for"
        )
    return candidates


def branch_polynomial(c: Numbers) -> tuple[sp.Poly, sp.Poly, sp.Poly]:
    r"""R(y), the discriminant without double points, and α, β with Q = -β/α at its roots.

    With h = κ²ψ_n/y - κ²∫λ/(1+λy) - v² - ψ_n b² equation (25) is v²b²Q² - hQ + ψ_n = 0. The Hessian
    of Φ, times Q²A², is a cubic in Q; reduced by (25) it is αQ + β, and R their resultant. Factors
    y and 1 + λy come from denominators.
    """
    poly = lambda e: sp.Poly(e, _Y)
    y, one = poly(_Y), poly(1)
    nonzero = [(x, w) for x, w in zip(c.values, c.weights, strict=True) if x != 0]
    L = one
    for x, _ in nonzero:
        L = L * poly(1 + x * _Y)
    others = lambda i: [poly(1 + x * _Y) for j, (x, _) in enumerate(nonzero) if j != i]
    M1, M2 = poly(0), poly(0)  # ∫λ/(1+λy) and ∫λ²/(1+λy)², over L and L²
    for i, (x, w) in enumerate(nonzero):
        first, second = poly(w * x), poly(w * x**2)
        for o in others(i):
            first, second = first * o, second * o * o
        M1, M2 = M1 + first, M2 + second
    k, b, v, n = c.kappa2, c.b2, c.v2, c.psi_n
    a = v * b
    h, d = L * (k * n) - y * M1 * k - y * L * (v + n * b), y * L  # h over d
    S = L**2 * n - y**2 * M2  # ∂²Φ/∂y², over d²
    last = (h * h - d * d * (4 * a * n)) * (1 / k**2)  # (∂²Φ/∂Q∂y)²Q², over d²
    # [2t(h - aQ)A²/κ² + (ψ_p - ψ_n)A² - (1 - ψ_n)b⁴Q²] S - (h² - 4aψ_n)A²/κ⁴, by powers of Q, over
    # d³
    square = [1, 2 * b, b * b]
    bracket = [poly(0)] * 4
    for i, s in enumerate(square):
        bracket[i] = bracket[i] + y * h * (2 * s / k) + d * ((c.psi_p - n) * s)
        bracket[i + 1] = bracket[i + 1] - y * d * (2 * a * s / k)
    bracket[2] = bracket[2] - d * ((1 - n) * b * b)
    g = [e * S for e in bracket]
    for i, s in enumerate(square):
        g[i] = g[i] - d * last * s
    if a == 0:  # (25) is linear: Q = ψ_n d/h
        R = sum((e * h ** (3 - i) * (d * n) ** i for i, e in enumerate(g)), poly(0))
        alpha, beta = h, d * -n
        while (infinite := R.gcd(h)).degree() > 0:  # Q = ∞
            R = R.quo(infinite)
    else:  # Q² = (hQ - nd)/(ad), twice; over (ad)² more
        ad = d * a
        alpha = g[1] * ad * ad + g[2] * h * ad + g[3] * (h * h - d * ad * n)
        beta = g[0] * ad * ad - g[2] * d * ad * n - g[3] * h * d * n
        R = beta * beta * ad + h * alpha * beta + alpha * alpha * d * n
    for factor in [y, *(poly(1 + x * _Y) for x, _ in nonzero)]:
        R = _without(R, factor)
    return R, alpha, beta


def _without(R: sp.Poly, factor: sp.Poly) -> sp.Poly:
    """R divided by a factor as often as that goes."""
    while True:
        quotient, rest = R.div(factor)
        if not rest.is_zero:
            return R
        R = quotient


def _agree(found: list[Fold], last: list[Fold], digits: int) -> bool:
    goal = mp.mpf(10) ** (-digits - 3)
    return len(found) == len(last) and all(
        abs(f.zeta - g.zeta) <= goal * abs(f.zeta) for f, g in zip(found, last, strict=True)
    )


def _coefficients(p: sp.Poly) -> list[mp.mpf]:
    return [mp.mpf(int(c.p)) / int(c.q) for c in p.all_coeffs()]


def _isolated(R: sp.Poly, low: Any, high: Any) -> mp.mpf:
    """The one root of R in an isolating interval, to about twenty digits:
    bisection and Newton's method.
    """
    bits = max(int(abs(c)).bit_length() for c in R.all_coeffs())
    with mp.workprec(bits + 200):
        p, slope = _coefficients(R), _coefficients(R.diff(_Y))
        a, b = (mp.mpf(int(x.p)) / int(x.q) for x in (low, high))
        at_a, x = mp.polyval(p, a), (a + b) / 2
        for _ in range(300):
            y = mp.polyval(p, x)
            if y == 0 or a == b:
                return x
            a, b = (x, b) if (y > 0) == (at_a > 0) else (a, x)
            new = x - y / mp.polyval(slope, x)
            if abs(new - x) <= abs(x) * mp.mpf(10) ** -20:
                return new
            x = new if a < new < b else (a + b) / 2
        return x


def _refined(p: list[mp.mpf], slope: list[mp.mpf], y: mp.mpf) -> mp.mpf:
    """Newton's method to the working precision."""
    for _ in range(2 + mp.mp.prec.bit_length()):
        step = mp.polyval(p, y) / mp.polyval(slope, y)
        y -= step
        if abs(step) <= abs(y) * mp.ldexp(1, -mp.mp.prec // 2):
            return y - mp.polyval(p, y) / mp.polyval(slope, y)
    return y


def _fold(c: Numbers, y: mp.mpf, beta: mp.mpf, alpha: mp.mpf) -> Fold | None:
    """The edge at a branch point with Q = -β/α,
    or None where it is at infinity or not on the physical sheet.
    """
    if alpha == 0:
        return None
    Q = -beta / alpha
    A = 1 + c.b2 * Q
    if Q == 0 or A == 0 or y == 0:
        return None
    zeta = (
        y / c.kappa2 * (c.v2 * c.b2 - c.psi_n / Q**2)
        + (c.psi_n - c.psi_p) / Q
        + (1 - c.psi_n) * c.b2 / A
    )
    QQ = (
        2 * y * c.psi_n / (c.kappa2 * Q**3)
        + (c.psi_p - c.psi_n) / Q**2
        - (1 - c.psi_n) * c.b2**2 / A**2
    )
    Qy = (c.v2 * c.b2 - c.psi_n / Q**2) / c.kappa2
    slope = -QQ / Qy  # dy/dQ along the null direction of the Hessian
    if not c.kappa2 / (y * A**2) * (1 - Q * A / y * slope) > 0:  # dδ/dQ
        return None
    return Fold(zeta, Q, y, upper=_curvature(c, Q, y, slope) > 0)


def _curvature(c: Numbers, Q: mp.mpf, y: mp.mpf, slope: mp.mpf) -> mp.mpf:
    """d²ζ/dQ² along the curve at a branch point: positive where the real branches lie above it.

    The third derivative of Φ along the null direction (1, dt/dQ).
    """
    A = 1 + c.b2 * Q
    QQQ = (
        -6 * y * c.psi_n / (c.kappa2 * Q**4)
        - 2 * (c.psi_p - c.psi_n) / Q**3
        + 2 * (1 - c.psi_n) * c.b2**3 / A**3
    )
    QQy = 2 * c.psi_n / (c.kappa2 * Q**3)
    yyy = -2 * c.psi_n / y**3 + 2 * mp.fsum(
        w * (x / (1 + x * y)) ** 3 for x, w in zip(c.values, c.weights, strict=True)
    )
    return QQQ + 3 * QQy * slope + yyy * slope**3


def mass_left_of(c: Numbers, edge: Fold) -> mp.mpf:
    r"""The mass in the gap next to an edge, exactly, from the signs of q, 1+δ and 1+ψ_pTq there.

    F = θ(-q) - (ψ_n/ψ_p) θ(-1-δ) - (1/ψ_p) ∫ dρ_Σ θ(-1-ψ_pTq): equation (9) of
    docs/theory.md in a gap. Below a hard edge there is nothing.
    """
    if edge.Q is None:
        return mp.mpf(0)
    A = 1 + c.b2 * edge.Q
    negative = mp.fsum(
        w for x, w in zip(c.values, c.weights, strict=True) if A * (1 + x * edge.y) < 0
    )
    data = c.psi_n if edge.Q / (edge.y * A) < 0 else mp.mpf(0)
    return (edge.Q < 0) - (data + negative) / c.psi_p
