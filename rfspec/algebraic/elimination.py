r"""The algebraic curve P(q, z) = 0 of the resolvent, its atom and its density.

It exists for a Σ with finitely many eigenvalues. With Q = ψ_p q, ζ = z - s², A = 1 + b²Q and
y = κ²Q/((1+δ)A), equations (6) and (7) of docs/theory.md become

    v²b²Q + ψ_n/Q + v² + ψ_n b² = κ²ψ_n/y - κ² ∫ dρ_Σ λ/(1 + λy)                                (25)
    ζ = (y/κ²)(v²b² - ψ_n/Q²) + (ψ_n - ψ_p)/Q + (1 - ψ_n) b²/A                                  (26)

Equation (26) is linear in y, which can be eliminated. With G = v²b²Q² - ψ_n and
N = (ζQ - 1 + ψ_p)A + 1 - ψ_n that leaves

    (1 - ψ_n)v²Q + (ζQ - 1 + ψ_p)(v²Q + ψ_n) = G² ∫ dρ_Σ 1/(AG + λκ²QN)                         (27)

which for k nonzero eigenvalues is a polynomial of degree 3k + 2 in q and k + 1 in z. For Im z > 0
exactly one of its roots has Im q > 0 and Im δ > 0. ``rfspec.algebraic.branch_points`` finds the
edges. None of this is in arXiv 2505.17638.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import mpmath as mp
import numpy as np
import sympy as sp

from ..models.model import RandomFeatureModel
from ..numerics.types import Given
from .averages import Constants, constants
from .numbers import GUARD, atoms, check_digits, ratios

MAX_ATOMS = 8

_Q, _Z = sp.symbols("q z")
_NAMES = ("psi_p", "psi_n", "kappa2", "b2", "v2", "s2")


class Numbers(NamedTuple):
    """The numbers in (25) and (26): symbols, exact rationals or multi-precision numbers."""

    psi_p: Any
    psi_n: Any
    kappa2: Any
    b2: Any
    v2: Any
    s2: Any
    values: list[Any]
    weights: list[Any]


# -------------------------------------------------------------------------------------------------
# the curve


def curve(model: RandomFeatureModel, digits: int = 40) -> sp.Poly:
    r"""The polynomial P(q, z) with P(q(z), z) = 0 for the resolvent q(z) of a model.

    It is equation (27), multiplied by its denominators, with exact rational coefficients. Its
    degree is 3k + 2 in q and k + 1 in z for k nonzero eigenvalues of Σ.

    Parameters
    ----------
    model : RandomFeatureModel
        Its Σ must have at most ``MAX_ATOMS`` distinct eigenvalues, and its noise all draws. The
        doubles of ψ_p, ψ_n and Σ are taken for exact numbers.
    digits : int
        Decimal digits, 1 to 500, of the Gaussian-equivalent constants, which are rounded to
        rationals.

    Returns
    -------
    sympy.Poly
        In (q, z) over the rationals. ``symbolic_curve`` has the constants as symbols.

    Raises
    ------
    ValueError
        If Σ has too many eigenvalues or is no list of eigenvalues, σ has no linear part or is not
        known to mpmath, or digits is out of range.
    NotImplementedError
        If the model has finitely many noise draws.

    Notes
    -----
    Equation (27) of docs/theory.md. Beyond arXiv 2505.17638; equivalent to its Theorem 3.1.

    Examples
    --------
    >>> import rfspec as rf
    >>> rf.algebraic.curve(rf.RandomFeatureModel(64.0, 8.0, t=0.01)).degree_list()
    (5, 2)
    """
    return _assemble(rational(model_numbers(model, check_digits(digits))))


def symbolic_curve(atoms: int = 1) -> sp.Poly:
    r"""The polynomial P(q, z) of (27) with symbols in its coefficients.

    Parameters
    ----------
    atoms : int
        Number k of eigenvalues of Σ, at least 1 and at most ``MAX_ATOMS``.

    Returns
    -------
    sympy.Poly
        In (q, z), of degree 3k + 2 and k + 1. The symbols are psi_p, psi_n, kappa2, b2, v2, s2,
        lambda_1 to lambda_k and, for k > 1, w_1 to w_k. The weights have to sum to 1.

    Raises
    ------
    ValueError
        If atoms is no integer from 1 to ``MAX_ATOMS``.

    Notes
    -----
    Equation (27) of docs/theory.md; beyond arXiv 2505.17638.

    Examples
    --------
    >>> import rfspec as rf
    >>> P = rf.algebraic.symbolic_curve()
    >>> P.degree_list(), len(P.terms())
    ((5, 2), 14)
    """
    if (
        isinstance(atoms, bool)
        or not isinstance(atoms, int | np.integer)
        or not 1 <= atoms <= MAX_ATOMS
    ):
        raise ValueError(f"atoms must be an integer from 1 to {MAX_ATOMS}, got {atoms!r}")
    values = list(sp.symbols(f"lambda_1:{atoms + 1}"))
    weights = list(sp.symbols(f"w_1:{atoms + 1}")) if atoms > 1 else [sp.Integer(1)]
    names = dict(zip(_NAMES, sp.symbols(" ".join(_NAMES)), strict=True))
    return _assemble(Numbers(values=values, weights=weights, **names))


def _assemble(c: Numbers) -> sp.Poly:
    poly = lambda e: sp.Poly(sp.expand(e), _Q, _Z)
    Q, zeta = c.psi_p * _Q, _Z - c.s2
    A, G = 1 + c.b2 * Q, c.v2 * c.b2 * Q**2 - c.psi_n
    E = zeta * Q - 1 + c.psi_p
    N = E * A + 1 - c.psi_n
    left = poly((1 - c.psi_n) * c.v2 * Q + E * (c.v2 * Q + c.psi_n))  # (27)
    # a zero eigenvalue's G²/(AG) is G/A
    below = [poly(A) if x == 0 else poly(A * G + x * c.kappa2 * Q * N) for x in c.values]
    above = [poly(G if x == 0 else G**2) * w for x, w in zip(c.values, c.weights, strict=True)]
    for b in below:
        left = left * b
    for i, term in enumerate(above):
        for j, b in enumerate(below):
            if i != j:
                term = term * b
        left = left - term
    return (
        left.exquo(sp.Poly(c.psi_p, _Q, _Z)).primitive()[1]
        if c.psi_p.is_Symbol
        else left.primitive()[1]
    )


def model_numbers(
    model: RandomFeatureModel, digits: int, activation: Callable[..., Any] | None = None
) -> Numbers:
    """The model's numbers, with constants to `digits`."""
    model.check_plain("the algebraic curve", "noise_draws")
    covariance = model.covariance
    if not covariance.atomic:
        raise ValueError(
            "covariance must be a list of eigenvalues, such as rf.Atoms, for the algebraic "
            "curve, got "
            f"{type(covariance).__name__}, a continuous law; rf.spectrum takes it"
        )
    with mp.workdps(digits + GUARD):
        values, weights = atoms(covariance)
        if len(values) > MAX_ATOMS:
            raise ValueError(
                f"covariance must have at most {MAX_ATOMS} distinct eigenvalues for the algebraic "
                "curve, got "
                f"{len(values)}; rf.spectrum takes any number"
            )
        c: Constants = constants(model, digits, activation)
        if c.kappa2 == 0:
            raise ValueError(
                f"activation must have a linear part for the algebraic curve, got E[σ'] = 0 from "
                f"{model.activation.name!r}; rf.spectrum takes it"
            )
        return Numbers(*ratios(model), c.kappa2, c.b2, c.v2, c.s2, values, weights)


def rational(c: Numbers) -> Numbers:
    """The same numbers as exact rationals."""

    def exact(x: mp.mpf) -> sp.Rational:
        # mp.mpf(x) would round to the precision of the moment
        sign, mantissa, exponent, _ = x._mpf_
        return sp.Integer((-1) ** sign * int(mantissa)) * sp.Rational(2) ** exponent

    plain = {name: exact(getattr(c, name)) for name in _NAMES}
    return Numbers(
        values=list(map(exact, c.values)), weights=_normalised(list(map(exact, c.weights))), **plain
    )


def _normalised(weights: list[Any]) -> list[Any]:
    return [*weights[:-1], 1 - sum(weights[:-1])]


def atom(
    model: RandomFeatureModel, digits: int = 50, *, activation: Given = None
) -> tuple[mp.mpf, mp.mpf]:
    r"""Location s² and mass of the atom, as mpmath numbers; the mass is 0 where there is no atom.

    The mass is max(0, 1 - r/ψ_p), where r d is the number of columns of U: r = 1 + ψ_n, or 1 if σ
    is exactly linear.

    Parameters
    ----------
    model : RandomFeatureModel
    digits : int
        Decimal digits asked for, 1 to 500.
    activation : callable, optional
        As in ``constants``.

    Returns
    -------
    (mpmath.mpf, mpmath.mpf)

    Raises
    ------
    ValueError
        If Σ has too many eigenvalues or is no list of eigenvalues, or digits is out of range.

    Examples
    --------
    >>> import rfspec as rf
    >>> float(rf.algebraic.atom(rf.RandomFeatureModel(64.0, 8.0, t=0.01))[1])
    0.859375
    """
    digits = check_digits(digits)
    numbers = model_numbers(model, digits + GUARD, activation)
    with mp.workdps(digits + GUARD):
        return numbers.s2, atom_mass(numbers)


def atom_mass(c: Numbers) -> mp.mpf:
    # by counting ranks
    return max(mp.mpf(0), 1 - ((1 if c.b2 else 0) + (c.psi_n if c.v2 else 0)) / c.psi_p)


# -------------------------------------------------------------------------------------------------
# density


def density(
    model: RandomFeatureModel, x: Given, digits: int = 40, *, activation: Given = None
) -> Any:
    r"""Density of the continuous spectrum at one x or a list of them, from the roots of the curve.

    ρ(x) = Im q/π for the root of P(·, x) with Im q > 0 and Im δ > 0, and 0 where there is none.

    Parameters
    ----------
    model : RandomFeatureModel
        Its Σ must have at most ``MAX_ATOMS`` distinct eigenvalues.
    x : real number or sequence of them
        In the unit of the eigenvalues of U, as doubles, mpmath numbers or decimal strings.
    digits : int
        Decimal digits asked for, 1 to 500.
    activation : callable, optional
        As in ``constants``.

    Returns
    -------
    mpmath.mpf or list of mpmath.mpf
        One number for each x, in the inverse unit.

    Raises
    ------
    ValueError
        If x is not real and finite, Σ has too many eigenvalues or is no list of eigenvalues, or
        digits is out of range.

    Notes
    -----
    Equation (27) of docs/theory.md; beyond arXiv 2505.17638.

    Examples
    --------
    >>> import mpmath, rfspec as rf
    >>> mpmath.nstr(rf.algebraic.density(rf.RandomFeatureModel(64.0, 8.0, t=0.01), 20.0, 40), 20)
    '0.00063582593240370605098'
    """
    digits = check_digits(digits)
    scalar = np.ndim(x) == 0
    with mp.workdps(digits + GUARD):
        points = [_real_number(p) for p in ([x] if scalar else np.asarray(x, object).ravel())]
    numbers = model_numbers(model, digits + GUARD, activation)
    polynomial = _assemble(rational(numbers))
    with mp.workdps(digits + GUARD):
        values = [_density_at(numbers, polynomial, p) for p in points]
    return values[0] if scalar else values


def _real_number(x: Any) -> mp.mpf:
    try:
        value = mp.mpf(x if isinstance(x, str | int | mp.mpf) else float(x))
    except (TypeError, ValueError) as e:
        raise ValueError(f"x must be a finite real number, got {x!r:.60}") from e
    if not mp.isfinite(value):
        raise ValueError(f"x must be a finite real number, got {x!r:.60}")
    return value


def _density_at(c: Numbers, polynomial: sp.Poly, x: mp.mpf) -> mp.mpf:
    # Im q/π of the root with positive imaginary parts of both unknowns
    coefficients = [mp.mpf(0)] * (polynomial.degree(_Q) + 1)
    for (i, j), a in polynomial.terms():
        coefficients[-1 - i] += mp.mpf(int(a.p)) / int(a.q) * x**j
    while coefficients and coefficients[0] == 0:
        coefficients = coefficients[1:]
    roots = mp.polyroots(coefficients, maxsteps=400, extraprec=2 * mp.mp.prec + 100)
    zeta = x - c.s2
    noise = mp.mpf(10) ** (-mp.mp.dps // 2)
    for q in roots:
        Q = c.psi_p * q
        N = (zeta * Q - 1 + c.psi_p) * (1 + c.b2 * Q) + 1 - c.psi_n
        delta = (c.v2 * c.b2 * Q**2 - c.psi_n) / N - 1
        if mp.im(q) > noise * abs(q) and mp.im(delta) > noise * abs(delta):
            return mp.im(q) / mp.pi
    return mp.mpf(0)
