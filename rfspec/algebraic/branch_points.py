r"""The edges of the exact curve, which are real branch points, and the masses between them.

Equations (25) and (26) say that a function Φ(Q, y) is stationary. At a branch point the determinant
of its Hessian vanishes. Q is quadratic in (25); its elimination leaves one polynomial of degree
7k + 2 in y, the discriminant of P without its double points. Its real roots are isolated exactly.
Of the real branch points the edges are those at which dδ/dq > 0 along the curve. Beyond arXiv
2505.17638.
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
    """An edge: ζ, Q and y there, and whether a bulk ends at it; else one begins."""

    zeta: mp.mpf
    Q: mp.mpf | None
    y: mp.mpf | None
    upper: bool


def edges(model: RandomFeatureModel, digits: int = 50, *, activation: Given = None) -> list[mp.mpf]:
    r"""Edges of the spectrum to any precision, ascending, as mpmath numbers.

    They are the real branch points of the curve that lie on the physical sheet, isolated by exact
    root counting. At ψ_p = 1 + ψ_n the lowest is the hard edge s². The atom is no edge; see
    ``atom``.

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
        2B numbers for B bulks, correct to `digits`. Two bulks that touch exactly count as one.

    Raises
    ------
    ValueError
        If Σ has too many eigenvalues or is no list of eigenvalues, or digits is out of range.
    ArithmeticError
        If two edges agree to more digits than were asked for.

    Notes
    -----
    Equations (25) to (27) of docs/theory.md; beyond arXiv 2505.17638.

    Examples
    --------
    >>> import mpmath, rfspec as rf
    >>> mpmath.nstr(rf.algebraic.edges(rf.RandomFeatureModel(64.0, 8.0, t=0.01), 40)[-1], 30)
    '44.6929715762998866514204155985'
    """
    digits = check_digits(digits)
    numbers = model_numbers(model, digits + GUARD, activation)
    edges_in_zeta = folds(numbers, digits)
    with mp.workdps(digits + GUARD):
        return [numbers.s2 + fold.zeta for fold in edges_in_zeta]


def folds(numbers: Numbers, digits: int) -> list[Fold]:
    """Edges in ζ, ascending, with the solution there; a hard edge at ζ = 0 has no solution."""
    exact = rational(numbers)
    edges_found: list[Fold] = []
    with mp.workdps(digits + GUARD):
        if exact.psi_p == (1 + exact.psi_n if exact.v2 else 1):
            edges_found.append(Fold(mp.mpf(0), None, None, upper=False))
    R, alpha, beta = branch_polynomial(exact)
    R = R.sqf_part().clear_denoms(convert=True)[1].primitive()[1]
    roots = [_isolated(R, *ends) for ends, _ in R.intervals()]
    working, soft = 2 * digits + 40, None
    while True:
        with mp.workdps(working):
            p, slope, a, b = (_coefficients(f) for f in (R, R.diff(_Y), alpha, beta))
            roots = [_refined(p, slope, y) for y in roots]
            points = [_fold(numbers, y, mp.polyval(b, y), mp.polyval(a, y)) for y in roots]
            last, soft = soft, [f for f in points if f is not None]
        if last is not None and _agree(soft, last, digits):
            break
        working = 2 * working
        if working > 100 * (digits + 40):
            raise ArithmeticError(
                "the edges did not settle: two of them agree to more digits than were asked for"
            )
    edges_found += sorted(soft, key=lambda f: f.zeta)
    uppers = [f.upper for f in edges_found]
    if uppers != [bool(i % 2) for i in range(len(uppers))] or len(uppers) % 2 or not uppers:
        raise ArithmeticError(
            "the edges do not alternate: two of them agree to more digits than were asked for"
        )
    return edges_found


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
    # [2y(h - aQ)A²/κ² + (ψ_p - ψ_n)A² - (1 - ψ_n)b⁴Q²] S - (h² - 4aψ_n)A²/κ⁴, by powers of Q, over
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
        R = _without_factor(R, factor)
    return R, alpha, beta


def _without_factor(R: sp.Poly, factor: sp.Poly) -> sp.Poly:
    while True:
        quotient, remainder = R.div(factor)
        if not remainder.is_zero:
            return R
        R = quotient


def _agree(now: list[Fold], last: list[Fold], digits: int) -> bool:
    goal = mp.mpf(10) ** (-digits - 3)
    return len(now) == len(last) and all(
        abs(f.zeta - g.zeta) <= goal * abs(f.zeta) for f, g in zip(now, last, strict=True)
    )


def _coefficients(p: sp.Poly) -> list[mp.mpf]:
    return [mp.mpf(int(c.p)) / int(c.q) for c in p.all_coeffs()]


def _isolated(R: sp.Poly, low: Any, high: Any) -> mp.mpf:
    # the one root of R in the interval, to about twenty digits, by bisection and Newton's method
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
    # Newton's method to the working precision
    for _ in range(2 + mp.mp.prec.bit_length()):
        step = mp.polyval(p, y) / mp.polyval(slope, y)
        y -= step
        if abs(step) <= abs(y) * mp.ldexp(1, -mp.mp.prec // 2):
            return y - mp.polyval(p, y) / mp.polyval(slope, y)
    return y


def _fold(c: Numbers, y: mp.mpf, beta: mp.mpf, alpha: mp.mpf) -> Fold | None:
    # the edge at the branch point y, or None where that is at infinity or on another sheet
    if alpha == 0:
        return None
    Q = -beta / alpha
    A = 1 + c.b2 * Q
    if Q == 0 or A == 0 or y == 0:
        return None
    # (26)
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
    # d²ζ/dQ² along the curve at a branch point, positive where the real branches lie above it: the
    # third derivative of Φ along the null direction (1, dy/dQ)
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
    r"""The exact mass left of an edge, from the signs of q, 1+δ and 1+ψ_pTq in the gap next to it.

    F = θ(-q) - (ψ_n/ψ_p) θ(-1-δ) - (1/ψ_p) ∫ dρ_Σ θ(-1-ψ_pTq) is equation (9) of docs/theory.md in
    a gap. Below a hard edge there is nothing.
    """
    if edge.Q is None:
        return mp.mpf(0)
    A = 1 + c.b2 * edge.Q
    negative = mp.fsum(
        w for x, w in zip(c.values, c.weights, strict=True) if A * (1 + x * edge.y) < 0
    )
    data = c.psi_n if edge.Q / (edge.y * A) < 0 else mp.mpf(0)
    return (edge.Q < 0) - (data + negative) / c.psi_p
