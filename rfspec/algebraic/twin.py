r"""The fixed point and the two-point functions in multi-precision arithmetic, from the equations as printed.

q(z) and δ(z) solve 1/q = s² - z + v²/(1+δ) + ∫ T/(1+ψ_pTq) and δ = (ψ_p/ψ_n)[v²q + κ² ∫ λq/(1+ψ_pTq)],
T = b² + κ²λ/(1+δ) (arXiv 2505.17638, Theorem 3.1), continued from Im z = ∞ by Newton's method.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import mpmath as mp

from ..model import RandomFeatureModel
from .numbers import GUARD, Constants, atoms, check_digits, constants, ratios


class Point(NamedTuple):
    """The resolvent q, the second unknown δ and the traces r and s at one z."""

    q: Any
    delta: Any
    r: Any
    s: Any


class _Equations(NamedTuple):
    psi_p: Any
    psi_n: Any
    c: Constants
    values: list[Any]
    weights: list[Any]

    def residual(self, q: Any, delta: Any, z: Any) -> tuple[Any, Any, tuple[Any, Any, Any, Any]]:
        """Both equations, and their derivatives (by q, δ; by q, δ)."""
        c, p, ratio = self.c, self.psi_p, self.psi_p / self.psi_n
        D = 1 / (1 + delta)
        i0 = i1 = qq = qd = dq = dd = mp.mpf(0)
        for x, w in zip(self.values, self.weights, strict=True):
            T = c.b2 + c.kappa2 * x * D
            e = 1 / (1 + p * T * q)
            slope = -c.kappa2 * x * D**2  # dT/dδ
            i0, i1 = i0 + w * T * e, i1 + w * x * e
            qq, qd = qq - w * p * (T * e) ** 2, qd + w * slope * e**2
            dq, dd = dq + w * x * e**2, dd - w * x * p * slope * q * e**2
        one = 1 / q - (c.s2 - z + c.v2 * D + i0)
        two = delta - ratio * q * (c.v2 + c.kappa2 * i1)
        jacobian = (
            -1 / q**2 - qq,
            c.v2 * D**2 - qd,
            -ratio * (c.v2 + c.kappa2 * dq),
            1 - ratio * q * c.kappa2 * dd,
        )
        return one, two, jacobian

    def newton(self, q: Any, delta: Any, z: Any) -> tuple[Any, Any, Any]:
        """One step, and its relative size."""
        one, two, (a, b, c, d) = self.residual(q, delta, z)
        scale = 1 / (a * d - b * c)
        dq, dd = (one * d - two * b) * scale, (two * a - one * c) * scale
        return q - dq, delta - dd, max(abs(dq / q), abs(dd) / (abs(delta) + mp.mpf(10) ** -30))


def equations(model: RandomFeatureModel, digits: int, activation: Any = None) -> _Equations:
    """The equations of a model with constants to `digits`."""
    model.check_plain("the multi-precision twin", "noise_draws")
    return _Equations(*ratios(model), constants(model, digits, activation), *atoms(model.covariance))


def from_numbers(c: Any) -> _Equations:
    """The equations of numbers that are known already."""
    return _Equations(c.psi_p, c.psi_n, Constants(None, None, c.kappa2, c.b2, c.v2, c.s2), c.values, c.weights)


def solve(model: RandomFeatureModel, z: Any, digits: int = 40, *, activation: Any = None) -> Point:
    r"""The fixed point at one z.

    Parameters
    ----------
    model : RandomFeatureModel
    z : complex number
        Im z ≥ 0; a real z means the limit from above.
    digits : int
        Decimal digits asked for, 1 to 500.
    activation : callable, optional
        As in ``constants``.

    Returns
    -------
    Point
        ``.q .delta .r .s`` as mpmath numbers.

    Raises
    ------
    ValueError
        If Im z < 0 or digits is out of range.
    ArithmeticError
        If the iteration does not settle on the physical branch: z is on the atom or at an edge.

    Examples
    --------
    >>> import mpmath, rfspec as rf
    >>> mpmath.nstr(rf.algebraic.solve(rf.RandomFeatureModel(64.0, 8.0, t=0.01), 2 + 1j).q, 12)
    '(-0.395829479... + 0.20124797...j)'
    """
    digits = check_digits(digits)
    with mp.workdps(digits + GUARD):
        return solve_equations(equations(model, digits + GUARD, activation), mp.mpmathify(z), digits)


def solve_equations(eq: _Equations, z: Any, digits: int) -> Point:
    """The same for given equations, at the working precision of the caller plus what is near an edge."""
    z = mp.mpc(z)
    if not mp.isfinite(z) or z.imag < 0:
        raise ValueError(f"z must be finite with Im z ≥ 0, got {mp.nstr(z, 12)}")
    q, delta = _continued(eq, z)
    goal = mp.mpf(10) ** (-digits - 5)
    for _ in range(60):
        q, delta, step = eq.newton(q, delta, z)
        if step < goal:
            break
    else:
        raise ArithmeticError(f"the fixed point did not settle at z = {mp.nstr(z, 12)}: it is the atom or an edge")
    small = -(mp.mpf(10) ** (-digits // 2))
    if mp.im(q) < small * abs(q) or mp.im(delta) < small * abs(delta):
        raise ArithmeticError(f"the fixed point at z = {mp.nstr(z, 12)} left the physical branch")
    D = 1 / (1 + delta)
    g = [q / (1 + eq.psi_p * (eq.c.b2 + eq.c.kappa2 * x * D) * q) for x in eq.values]
    r = mp.fsum(w * x * e for x, w, e in zip(eq.values, eq.weights, g, strict=True))
    return Point(q, delta, r, mp.fsum(w * e for w, e in zip(eq.weights, g, strict=True)))


def _continued(eq: _Equations, z: Any) -> tuple[Any, Any]:
    """From far above, the height over the real axis divided by 2 at each level, to well below the distance to s²."""
    size = (
        abs(z)
        + eq.c.s2
        + (eq.c.kappa2 * max(eq.values) + eq.c.b2 + eq.c.v2)
        * (1 + mp.sqrt(eq.psi_p) + mp.sqrt(eq.psi_p / eq.psi_n)) ** 4
    )
    floor = max(z.imag, abs(z.real - eq.c.s2) * mp.mpf(10) ** (-min(mp.mp.dps, 30)))
    with mp.workdps(30):
        height = 10 * size
        q, delta = -1 / (z.real + 1j * height), mp.mpc(0)
        while height > floor:
            height = max(height / 2, floor)
            point = z.real + 1j * height
            for _ in range(8):
                q, delta, step = eq.newton(q, delta, point)
                if step < 1e-4:
                    break
    return q, delta


def two_point(
    model: RandomFeatureModel, z1: Any, z2: Any, digits: int = 40, *, activation: Any = None
) -> dict[str, Any]:
    r"""The two-point functions K_M(z1, z2) = (1/p) Tr FFᵀ (U - z1)⁻¹ M (U - z2)⁻¹.

    Parameters
    ----------
    model : RandomFeatureModel
    z1, z2 : complex number
        Im z ≥ 0.
    digits : int
        Decimal digits asked for, 1 to 500.
    activation : callable, optional
        As in ``constants``.

    Returns
    -------
    dict
        K_M as mpmath numbers under "I", "FFT" and "FSFT" for M = I, FFᵀ and FΣFᵀ.

    Notes
    -----
    The linear response of the 2×2-matrix-valued fixed point to a source M; beyond arXiv 2505.17638.

    Examples
    --------
    >>> import mpmath, rfspec as rf
    >>> K = rf.algebraic.two_point(rf.RandomFeatureModel(8.0, 2.0, t=0.05), -1.0, -1.0)
    >>> mpmath.nstr(mpmath.re(K["I"]), 8)
    '0.13457169'
    """
    digits = check_digits(digits)
    with mp.workdps(digits + GUARD):
        eq = equations(model, digits + GUARD, activation)
        u1, u2 = (solve_equations(eq, mp.mpmathify(z), digits) for z in (z1, z2))
        q1, q2, D1, D2 = u1.q, u2.q, 1 / (1 + u1.delta), 1 / (1 + u2.delta)
        p, n, (_, _, k, b, v, _) = eq.psi_p, eq.psi_n, eq.c
        terms = []
        for x, w in zip(eq.values, eq.weights, strict=True):
            T1, T2 = b + k * x * D1, b + k * x * D2
            terms.append((x, w / ((1 + p * T1 * q1) * (1 + p * T2 * q2)), T1 * T2))
        moment = [mp.fsum(w * x**j for x, w, _ in terms) for j in range(3)]
        J = mp.fsum(w * T for _, w, T in terms)
        matrix = mp.matrix(
            [
                [p * J - 1 / (q1 * q2), D1 * D2 * (v + k * moment[1])],
                [k * moment[1] + v, k**2 * p * q1 * q2 * D1 * D2 * moment[2] - n / p],
            ]
        )
        found = {}
        for name, (iota, beta, gamma) in {"I": (1, 0, 0), "FFT": (0, 1, 0), "FSFT": (0, 0, 1)}.items():
            right = mp.matrix(
                [
                    iota + gamma * moment[1] + beta * moment[0],
                    k * p * q1 * q2 * (gamma * moment[2] + beta * moment[1]),
                ]
            )
            x, y = mp.lu_solve(matrix, right)
            found[name] = p * q1 * q2 * ((gamma - k * D1 * D2 * y) * moment[1] + beta * moment[0]) - x * moment[0]
        return found
