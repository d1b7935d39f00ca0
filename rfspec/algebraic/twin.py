r"""The fixed point and the two-point functions in multi-precision arithmetic.

Given F, the matrix U is a fixed part plus a sum over independent columns, over d. They are of a few
kinds, N_i = n_id of them with covariance C_i = ι_iI + β_iFFᵀ + γ_iFΣFᵀ. With all draws of the noise
b²FFᵀ + s²I is fixed, and there are ψ_nd columns κFx + vω, divided by √ψ_n. With m draws, after a
rotation, there are ψ_nd columns √m(κFx + vω) + bFξ + sω' and (m - 1)ψ_nd columns bFξ + sω', divided
by √(mψ_n). With D_i = 1/(1+δ_i), T = β_0 + Σ n_iD_i(β_i + γ_iλ) and E = 1/(1 + ψ_pTq)

    1/q = ι_0 - z + Σ n_iD_iι_i + ∫ E T,    δ_i = ψ_p (ι_iq + β_i ∫ qE + γ_i ∫ λqE),

which for m = ∞ are (6) and (7) of docs/theory.md (arXiv 2505.17638, Theorem 3.1), and else (19) and
(20). They are written down once, with factors in the order of their derivation. For triangular
matrices (``rfspec.algebraic.triangular``) the same lines give two-point functions, and derivatives
for Newton's method.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import mpmath as mp

from ..models.model import RandomFeatureModel
from ..numerics.types import Given, Number
from .numbers import GUARD, check_digits
from .system import Equations, State, System, equations
from .triangular import solved

LOST = 10  # digits of an imaginary part that may be lost to rounding


class Point(NamedTuple):
    """The solution at one z.

    Attributes
    ----------
    q, r, s : mpmath.mpc
        Tr (U - z)⁻¹/p, Tr FΣFᵀ(U - z)⁻¹/p and Tr FFᵀ(U - z)⁻¹/p.
    delta : mpmath.mpc
        The second unknown δ; with finitely many draws of the noise δ_1.
    """

    q: mp.mpc
    delta: mp.mpc
    r: mp.mpc
    s: mp.mpc


def spectral_argument(z: Any) -> mp.mpc:
    z = mp.mpc(z)
    if not mp.isfinite(z) or z.imag < 0:
        raise ValueError(f"z must be finite with Im z ≥ 0, got {mp.nstr(z, 12)}")
    return z


def solve(
    model: RandomFeatureModel, z: Given, digits: int = 40, *, activation: Given = None
) -> Point:
    r"""The fixed point at one z: equations (6) and (7) of docs/theory.md, or (19) and (20).

    Parameters
    ----------
    model : RandomFeatureModel
    z : complex number
        Im z ≥ 0, in the unit of the eigenvalues of U; a real z means the limit from above.
    digits : int
        Decimal digits asked for, 1 to 500.
    activation : callable, optional
        As in ``constants``.

    Returns
    -------
    Point
        ``.q .delta .r .s`` as mpmath numbers, correct to `digits`.

    Raises
    ------
    ValueError
        If z is not finite, Im z < 0 or digits is out of range.
    ArithmeticError
        If the iteration does not settle on the physical branch: z is on the atom or at an edge.

    Notes
    -----
    arXiv 2505.17638, Theorem 3.1, for all draws of the noise; beyond it for finitely many.

    Examples
    --------
    >>> import mpmath, rfspec as rf
    >>> mpmath.nstr(rf.algebraic.solve(rf.RandomFeatureModel(64.0, 8.0, t=0.01), 2 + 1j).q, 12)
    '(-0.395829479... + 0.20124797...j)'
    """
    digits = check_digits(digits)
    with mp.workdps(digits + GUARD):
        return solve_equations(
            equations(model, digits + GUARD, activation), mp.mpmathify(z), digits
        )


def solve_equations(eq: Equations, z: mp.mpc | mp.mpf, digits: int) -> Point:
    """The fixed point of given equations, at the working precision of the caller."""
    state = Solver(eq, digits).at(spectral_argument(z))
    s, r = (state.u[0] * mean for mean in state.means[:2])
    return Point(state.u[0], state.u[1], r, s)


class Solver:
    """Solutions at one z after another.

    Newton's method starts from the last solution or, where that does not serve, from one that is
    continued from large z. Both starts are in double precision.
    """

    def __init__(self, eq: Equations, digits: int):
        self.eq, self.digits = eq, digits
        self.exact, self.rough = eq.system(), eq.system(float)
        self.last: list[Any] | None = None

    def at(self, z: mp.mpc) -> State:
        """The state at Im z ≥ 0.

        Exactly one root has Im u > 0 in all unknowns, and at z < 0 exactly one has u > 0.
        """
        for start in (self._from_the_last, self._continued_in_doubles):
            u = self._polished(start(z), z)
            if u is not None and self._certain(u, z):
                break
        else:
            u = self._polished(self._continued(self.exact, z), z)
            if u is None:
                raise ArithmeticError(
                    f"the fixed point did not settle at z = {mp.nstr(z, 12)}: it is the atom or "
                    "an edge"
                )
            small = -(mp.mpf(10) ** (-self.digits // 2))
            if any(mp.im(v) < small * abs(v) for v in u):
                raise ArithmeticError(
                    f"the fixed point at z = {mp.nstr(z, 12)} left the physical branch"
                )
        self.last = u
        return self.exact.state(u)

    def _certain(self, u: list[mp.mpc], z: mp.mpc) -> bool:
        # By signs beyond rounding. In a gap of the real axis u is real, and just above it Im u > 0
        # if du/dz > 0. Columns of covariance 0 have δ_i = 0, of no sign.
        zero = [kind.iota == kind.beta == kind.gamma == 0 for kind in self.exact.columns]
        keep = lambda values: [
            v for v, empty in zip(values, [False, *zero], strict=True) if not empty
        ]
        small = mp.mpf(10) ** (LOST - mp.mp.dps)
        if z.real < 0:
            return all(mp.re(v) > 0 and mp.im(v) > -small * abs(v) for v in keep(u))
        if all(mp.im(v) > small * abs(v) for v in keep(u)):
            return True
        real = z.imag == 0 and all(abs(mp.im(v)) <= small * abs(v) for v in u)
        return real and all(mp.re(v) > 0 for v in keep(self.exact.slopes(u, z)))

    def _from_the_last(self, z: mp.mpc) -> list[mp.mpc] | None:
        if self.last is None:
            return None
        u = [complex(v) for v in self.last]
        return self._settled(u, complex(z))

    def _continued_in_doubles(self, z: mp.mpc) -> list[mp.mpc] | None:
        try:
            u = self._continued(self.rough, complex(z))
            return None if u is None else self._settled(u, complex(z))
        except (ZeroDivisionError, OverflowError):
            return None

    def _settled(self, u: list[Number], z: complex) -> list[mp.mpc] | None:
        try:
            for _ in range(12):
                u, step = self.rough.newton(u, z)
                if step < 1e-9:
                    return [mp.mpmathify(v) for v in u]
        except (ZeroDivisionError, OverflowError):
            pass
        return None

    def _polished(self, u: list[mp.mpc] | None, z: mp.mpc) -> list[mp.mpc] | None:
        if u is None:
            return None
        goal = mp.mpf(10) ** (-self.digits - 5)
        for _ in range(60):
            try:
                u, step = self.exact.newton(u, z)
            except ZeroDivisionError:
                return None
            if step < goal:
                return self.exact.newton(u, z)[0]
        return None

    def _continued(self, system: System, z: Any) -> list[Any] | None:
        # From far above, the height over the real axis is halved at each level, to well below the
        # distance to s². Left of the spectrum a height of the size of z will do; at s² none does.
        c, native = self.eq.c, isinstance(z, complex)
        ratio = mp.sqrt(self.eq.psi_p) + mp.sqrt(self.eq.psi_p / self.eq.psi_n)
        size = abs(z) + (c.s2 + c.kappa2 * max(self.eq.values) + c.b2 + c.v2) * (1 + ratio) ** 4
        distance = abs(z.real - self.exact.fixed[0])
        tiny = mp.mpf(10) ** (-(12 if native else min(mp.mp.dps, 30)))
        floor = max(z.imag, distance * (tiny if z.real > 0 else mp.mpf("0.05")))
        if not floor:
            return None
        with mp.workdps(30):
            height = 10 * size
            number, imaginary = (complex, 1j) if native else (mp.mpc, mp.mpc(0, 1))
            z = number(z)
            u = [-1 / (z.real + imaginary * number(height)), *(number(0) for _ in system.columns)]
            while height > floor:
                height = max(height / 2, floor)
                point = z.real + imaginary * number(height)
                for _ in range(8):
                    u, step = system.newton(u, point)
                    if step < 1e-4:
                        break
        return u


def gap_share(system: System, state: State) -> Any:
    r"""The exact share of the eigenvalues left of a gap, from the signs of q, 1+δ_i and E in it.

    It is θ(-q) - (1/ψ_p) [ Σ n_i θ(-1-δ_i) + ∫ dρ_Σ θ(-E) ], equation (9) of docs/theory.md in a
    gap.
    """
    q, *deltas = (mp.re(v) for v in state.u)
    columns = mp.fsum(
        kind.many for kind, delta in zip(system.columns, deltas, strict=True) if 1 + delta < 0
    )
    below = mp.fsum(w for w, e in zip(system.powers[0], state.E, strict=True) if mp.re(e) < 0)
    return (q < 0) - (columns + below) / system.psi_p


def edge_near(solver: Solver, edge: Any, gap: Any) -> Any:
    """The edge next to an approximation of it, sought from inside the gap; NaN if there is none."""
    # a gap may be thousands of times wider than its edge is far from 0
    away = max(-abs(edge), min(abs(edge), gap - edge))
    for decades in range(2, 16, 2):
        outside = edge + away * mp.mpf(10) ** -decades
        fold = _fold(solver, outside, edge)
        if fold is not None and abs(fold - edge) < abs(outside - edge):
            return fold
    return mp.nan


def _fold(solver: Solver, outside: mp.mpf, edge: mp.mpf) -> mp.mpf | None:
    # dz/dq = 0 along the real branch that starts at z = outside, by the secant method
    system = solver.exact
    q, *deltas = (mp.re(v) for v in solver.at(mp.mpc(outside)).u)
    goal = mp.mpf(10) ** (-solver.digits - 5)

    def along(q: mp.mpf) -> tuple[mp.mpf, mp.mpf]:
        # z and dz/dq, with the δ_i by Newton's method; z is in the first equation alone, as -qz
        nonlocal deltas
        for _ in range(20):
            state = system.state([q, *deltas])
            first, *others = system.response(state, state, 0, 0).residuals
            inner = [list(row.above[1:-1]) for row in others]
            step = solved(inner, [row.first for row in others])
            deltas = [a - b for a, b in zip(deltas, step, strict=True)]
            if all(abs(b) <= goal * abs(a) for a, b in zip(deltas, step, strict=True)):
                break
        follow = solved(inner, [-row.above[0] for row in others])
        total = first.above[0] + sum(a * b for a, b in zip(first.above[1:-1], follow, strict=True))
        return first.first / q, (total - first.first / q) / q

    z, slope = along(q)
    last, q = q, q - 2 * (z - edge) / slope  # z - z_edge is quadratic in q
    for _ in range(30):
        before, (z, slope) = slope, along(q)
        if slope == before or abs(q - last) <= mp.sqrt(goal) * abs(q):
            return z
        last, q = q, q - slope * (q - last) / (slope - before)
    return None


def two_point(
    model: RandomFeatureModel, z1: Given, z2: Given, digits: int = 40, *, activation: Given = None
) -> dict[str, Any]:
    r"""The two-point functions K_M(z1, z2) = lim Tr FFᵀ(U - z1)⁻¹M(U - z2)⁻¹/p, d → ∞.

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
        K_M as mpmath numbers, correct to `digits`, under "I", "FFT" and "FSFT" for M = I, FFᵀ and
        FΣFᵀ.

    Raises
    ------
    ValueError
        If z1 or z2 is not finite or has a negative imaginary part, or digits is out of range.
    ArithmeticError
        If z1 or z2 is on the atom or at an edge.

    Notes
    -----
    Equations (12) to (14) of docs/theory.md: the linear response of the 2×2-matrix-valued fixed
    point to a source M. Beyond arXiv 2505.17638.

    Examples
    --------
    >>> import mpmath, rfspec as rf
    >>> K = rf.algebraic.two_point(rf.RandomFeatureModel(8.0, 2.0, t=0.05), -1.0, -1.0)
    >>> mpmath.nstr(mpmath.re(K["I"]), 8)
    '0.13457169'
    """
    digits = check_digits(digits)
    with mp.workdps(digits + GUARD):
        solver = Solver(equations(model, digits + GUARD, activation), digits)
        z1, z2 = spectral_argument(z1), spectral_argument(z2)
        one, two = solver.at(z1), solver.at(z2)
        K = {}
        for name, source in {"I": (1, 0, 0), "FFT": (0, 1, 0), "FSFT": (0, 0, 1)}.items():
            response, direction = solver.exact.response_to(source, one, two, z1, z2)
            K[name] = -response.traces[0].along(direction)
        return K
