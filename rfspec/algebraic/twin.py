r"""The fixed point and the two-point functions in multi-precision arithmetic.

Given F, the matrix U is a fixed part and a sum of independent columns over d, of a few kinds: N_i =
n_id of them with covariance C_i = ι_iI + β_iFFᵀ + γ_iFΣFᵀ. With all of the noise there are ψ_nd
columns κFx + vω, divided by √ψ_n, and b²FFᵀ + s²I is fixed; with m draws of it, rotated, ψ_nd
columns √m(κFx + vω) + bFξ + sω' and (m - 1)ψ_nd of bFξ + sω', divided by √(mψ_n). With D_i =
1/(1+δ_i), T = β_0 + Σ n_iD_i(β_i + γ_iλ) and E = 1/(1 + ψ_pTq)

    1/q = ι_0 - z + Σ n_iD_iι_i + ∫ E T,    δ_i = ψ_p (ι_iq + β_i ∫ qE + γ_i ∫ λqE),

which for m = ∞ is 1/q = s² - z + v²/(1+δ) + ∫ T/(1+ψ_pTq), δ = (ψ_p/ψ_n)[v²q + κ² ∫ λq/(1+ψ_pTq)]
(arXiv 2505.17638, Theorem 3.1). They are written down once, with factors in the order of their
derivation: for triangular matrices (``rfspec.algebraic.triangular``) the same lines give
derivatives, for Newton's method, and two-point functions.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import mpmath as mp

from ..models.model import RandomFeatureModel
from ..numerics.types import Given, Number
from .numbers import GUARD, check_digits
from .system import Equations, State, System, equations
from .triangular import solved

LOST = 10  # digits of an imaginary part that rounding may have taken


class Point(NamedTuple):
    """The resolvent q, the second unknown δ and the traces r and s at one z;
    of finite draws of the noise δ is δ_1.
    """

    q: mp.mpc
    delta: mp.mpc
    r: mp.mpc
    s: mp.mpc


def spectral_argument(z: Any) -> mp.mpc:
    """A finite z with Im z ≥ 0."""
    z = mp.mpc(z)
    if not mp.isfinite(z) or z.imag < 0:
        raise ValueError(f"z must be finite with Im z ≥ 0, got {mp.nstr(z, 12)}")
    return z


def solve(
    model: RandomFeatureModel, z: Given, digits: int = 40, *, activation: Given = None
) -> Point:
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
        return solve_equations(
            equations(model, digits + GUARD, activation), mp.mpmathify(z), digits
        )


def solve_equations(eq: Equations, z: mp.mpc | mp.mpf, digits: int) -> Point:
    """The same for given equations, at the working precision of the caller plus what is near an
    edge.
    """
    state = Solver(eq, digits).at(spectral_argument(z))
    s, r = (state.u[0] * mean for mean in state.means[:2])
    return Point(state.u[0], state.u[1], r, s)


class Solver:
    """Solutions at one z after another: in double precision to start with,
    and from the last one where that serves.
    """

    def __init__(self, eq: Equations, digits: int):
        self.eq, self.digits = eq, digits
        self.exact, self.rough = eq.system(), eq.system(float)
        self.last: list[Any] | None = None

    def at(self, z: mp.mpc) -> State:
        """The state at Im z ≥ 0. Exactly one root has Im u > 0 in all unknowns,
        and at z < 0 exactly one u > 0.
        """
        for start in (self._near, self._quick):
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
        """By signs beyond rounding; in a gap of the real axis, where u is real,
        Im u > 0 above it if du/dz > 0.
        """
        # its δ_i is 0
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

    def _near(self, z: mp.mpc) -> list[mp.mpc] | None:
        """From the last solution, if Newton's method takes to it at once."""
        if self.last is None:
            return None
        u = [complex(v) for v in self.last]
        return self._settled(u, complex(z))

    def _quick(self, z: mp.mpc) -> list[mp.mpc] | None:
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
        """From far above, the height over the real axis divided by 2 at each level,
        to well below the distance to s².

        Left of the spectrum a height of the size of z will do; at s² itself no height does.
        """
        c, native = self.eq.c, isinstance(z, complex)
        ratio = mp.sqrt(self.eq.psi_p) + mp.sqrt(self.eq.psi_p / self.eq.psi_n)
        size = abs(z) + (c.s2 + c.kappa2 * max(self.eq.values) + c.b2 + c.v2) * (1 + ratio) ** 4
        place = abs(z.real - self.exact.fixed[0])
        tiny = mp.mpf(10) ** (-(12 if native else min(mp.mp.dps, 30)))
        floor = max(z.imag, place * (tiny if z.real > 0 else mp.mpf("0.05")))
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
    r"""Share of the eigenvalues left of a gap, exactly, from the signs of q, 1+δ_i and E there.

    θ(-q) - (1/ψ_p) [ Σ n_i θ(-1-δ_i) + ∫ dρ_Σ θ(-E) ]: the imaginary part over π of the logarithm
    of det(U - z).
    """
    q, *deltas = (mp.re(v) for v in state.u)
    columns = mp.fsum(
        kind.many for kind, delta in zip(system.columns, deltas, strict=True) if 1 + delta < 0
    )
    below = mp.fsum(w for w, e in zip(system.powers[0], state.E, strict=True) if mp.re(e) < 0)
    return (q < 0) - (columns + below) / system.psi_p


def edge_near(solver: Solver, edge: Any, gap: Any) -> Any:
    """The edge that an approximation to it means, sought from the side of the gap;
    NaN where none is there.
    """
    # a gap may be thousands of times wider than its edge's place
    away = max(-abs(edge), min(abs(edge), gap - edge))
    for decades in range(2, 16, 2):
        outside = edge + away * mp.mpf(10) ** -decades
        found = _fold(solver, outside, edge)
        if found is not None and abs(found - edge) < abs(outside - edge):
            return found
    return mp.nan


def _fold(solver: Solver, outside: mp.mpf, edge: mp.mpf) -> mp.mpf | None:
    """Where dz/dq = 0 along the real branch that starts at z = outside, by the secant method."""
    system = solver.exact
    q, *deltas = (mp.re(v) for v in solver.at(mp.mpc(outside)).u)
    goal = mp.mpf(10) ** (-solver.digits - 5)

    def along(q: mp.mpf) -> tuple[mp.mpf, mp.mpf]:
        """z and dz/dq, the δ_i by Newton's method; z is in the first equation alone, as -qz."""
        nonlocal deltas
        for _ in range(20):
            state = system.state([q, *deltas])
            first, *rest = system.response(state, state, 0, 0).off
            inner = [list(row.above[1:-1]) for row in rest]
            step = solved(inner, [row.first for row in rest])
            deltas = [a - b for a, b in zip(deltas, step, strict=True)]
            if all(abs(b) <= goal * abs(a) for a, b in zip(deltas, step, strict=True)):
                break
        follow = solved(inner, [-row.above[0] for row in rest])
        moved = first.above[0] + sum(a * b for a, b in zip(first.above[1:-1], follow, strict=True))
        return first.first / q, (moved - first.first / q) / q

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
        solver = Solver(equations(model, digits + GUARD, activation), digits)
        z1, z2 = spectral_argument(z1), spectral_argument(z2)
        one, two = solver.at(z1), solver.at(z2)
        found = {}
        for name, source in {"I": (1, 0, 0), "FFT": (0, 1, 0), "FSFT": (0, 0, 1)}.items():
            response, shares = solver.exact.moved(one, two, z1, z2, source)
            found[name] = -response.traces[0].along(shares)
        return found
