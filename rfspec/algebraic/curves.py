r"""What features explain of the target, and losses along training, in multi-precision arithmetic.

A column φ_j of U comes with the target y_j, d numbers of variance v_i whose covariance with φ_j,
given F, is bF(a_i0 + a_i1Σ); V = Σ φ_jy_jᵀ. Append the target to the columns, (φ_j, εy_j), with an
argument -1 for the new rows. Then log det(U - z) has the derivative Tr (Y - Vᵀ(U - z)⁻¹V) in ε²,
where Y = Σ y_jy_jᵀ. Its limit is stationary in the unknowns of ``rfspec.algebraic.twin``. The limit
depends on ε² through the Schur complement Σ n_iD_iv_i - V̄ᵀ(U - z)⁻¹V̄ alone, where V̄ = bFP(Σ) and
P = P_0 + Σ n_iD_ia_i. P_0 is the part that does not fluctuate. So

    Tr Vᵀ(U - z)⁻¹V/d = Σ n_i(1 - D_i)v_i + b²ψ_p ∫ P qE P,   Tr Ṽᵀ(U - z)⁻¹V/d = b²ψ_p ∫ P̃ qE P

with factors in this order. For triangular matrices -Tr Vᵀ(U - z1)⁻¹M(U - z2)⁻¹V/d stands above the
diagonal. With h(λ) = (1 - e^{-c(λ+γ)})/(λ+γ), c = 2ω²τ/ψ_p, and y_0 the loss untrained, the losses

    L_train = y_0 - Tr Vᵀ(2h - Uh²)V/d,      L_test = y_0 - 2 Tr ṼᵀhV/d + Tr Vᵀh Ũ hV/d

are integrals around the spectrum. Here they are taken on the cotangent contour of Talbot and
Weideman, where N nodes err by 3.89^{-N} (Trefethen, Weideman, Schmelzer, BIT 46, 653, 2006). Beyond
arXiv 2505.17638.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import mpmath as mp
import numpy as np

from ..models.model import RandomFeatureModel
from ..numerics.types import Given, Whole
from .numbers import GUARD, check_digits
from .regression import RATE, Nodes, Regression, contour, regression
from .twin import Solver, spectral_argument

FEWER = 6  # by how many nodes two integrals differ whose difference estimates the error
EARLIEST = 1e-2  # cλ of the fastest mode at which a scan of the training begins
LATEST = 40.0  # cλ of the slowest mode at which it ends
SMALLEST = 1e-16  # modes slower than this fraction of the fastest are not waited for
# decimal digits, beyond those asked for, to which z = 0 is approached at the end of training
END = 40


class Explained(NamedTuple):
    """What the features explain of the target at one z.

    Attributes
    ----------
    sample, population : mpmath.mpc
        Tr Vᵀ(U - z)⁻¹V/d, and Tr Ṽᵀ(U - z)⁻¹V/d with the population's Ṽ.
    """

    sample: mp.mpc
    population: mp.mpc


class Losses(NamedTuple):
    """Losses at one training time τ.

    Attributes
    ----------
    train, test : mpmath.mpf
        L_train and L_test. With as many features as columns, p = nm, L_test = ∞ at τ = ∞.
    slope, bend : mpmath.mpf
        First and second derivative of L_test in log τ.
    error : mpmath.mpf
        Absolute error of the losses: the difference between two numbers of nodes, and at τ = ∞
        between two distances from z = 0.
    """

    train: mp.mpf
    test: mp.mpf
    slope: mp.mpf
    bend: mp.mpf
    error: mp.mpf


def explained(
    model: RandomFeatureModel,
    z: Given,
    digits: int = 40,
    *,
    activation: Callable[[Any], Any] | None = None,
) -> Explained:
    r"""What the features explain of the target, Tr Vᵀ(U - z)⁻¹V/d, at one z.

    V = Σ_ν E_ξ[φyᵀ]/n with the target y of the model: -ξ, -ξ/β, x or α̇x + β̇ξ.

    Parameters
    ----------
    model : RandomFeatureModel
        Any target, number of draws and eigenvalues; weight decay, which adds to U, is not in it.
    z : complex number
        Im z ≥ 0; a real z means the limit from above.
    digits : int
        Decimal digits asked for, 1 to 500.
    activation : callable, optional
        As in ``constants``.

    Returns
    -------
    Explained
        ``.sample`` and, with the average Ṽ over fresh samples on the left, ``.population``, as
        mpmath numbers.

    Raises
    ------
    ValueError
        If Im z < 0 or digits is out of range.
    ArithmeticError
        If z is on the atom or at an edge.

    Notes
    -----
    Equation (15) of docs/theory.md; beyond arXiv 2505.17638. For the target "noise" with all draws
    both are b²ψ_p s(z).

    Examples
    --------
    >>> import mpmath, rfspec as rf
    >>> model = rf.RandomFeatureModel(8.0, 2.0, t=0.1, target="data", noise_draws=3)
    >>> S = rf.algebraic.explained(model, -0.1)
    >>> mpmath.nstr(S.sample.real, 15), mpmath.nstr(S.population.real, 15)
    ('0.862128847949826', '0.664461241356668')
    """
    digits = check_digits(digits)
    with mp.workdps(digits + GUARD):
        problem = regression(model, digits + GUARD, activation)
        nodes = Nodes(
            problem, Solver(problem.equations, digits), [spectral_argument(z)], twice=False
        )
        return Explained(nodes.sample[0], nodes.population[0])


def explained_twice(
    model: RandomFeatureModel,
    z1: Given,
    z2: Given,
    source: tuple[Whole, Whole, Whole] | None = None,
    digits: int = 40,
    *,
    activation: Callable[[Any], Any] | None = None,
) -> mp.mpc:
    r"""The two-point function Tr Vᵀ(U - z1)⁻¹M(U - z2)⁻¹V/d, with M = Ũ or ιI + βFFᵀ + γFΣFᵀ.

    Parameters
    ----------
    model : RandomFeatureModel
    z1, z2 : complex number
        Im z ≥ 0.
    source : (ι, β, γ), optional
        M; by default Ũ, the feature correlation over fresh samples.
    digits : int
        Decimal digits asked for, 1 to 500.
    activation : callable, optional
        As in ``constants``.

    Returns
    -------
    mpmath.mpc

    Raises
    ------
    ValueError
        If an imaginary part is negative or digits is out of range.
    ArithmeticError
        If z1 or z2 is on the atom or at an edge.

    Notes
    -----
    Equation (16) of docs/theory.md; beyond arXiv 2505.17638. For M = I it is the divided difference
    of ``explained``.

    Examples
    --------
    >>> import mpmath, rfspec as rf
    >>> model = rf.RandomFeatureModel(8.0, 2.0, t=0.1, target="data", noise_draws=3)
    >>> mpmath.nstr(rf.algebraic.explained_twice(model, -0.1, -0.2).real, 15)
    '0.605544682194876'
    """
    digits = check_digits(digits)
    with mp.workdps(digits + GUARD):
        problem = regression(model, digits + GUARD, activation)
        solver = Solver(problem.equations, digits)
        z1, z2 = spectral_argument(z1), spectral_argument(z2)
        one, two = solver.at(z1), solver.at(z2)
        M = problem.population if source is None else tuple(mp.mpf(x) for x in source)
        response, direction = solver.exact.response_to(M, one, two, z1, z2)
        many = [kind.many for kind in solver.exact.columns]
        return -problem.explained(many, response.D, response.traces)[0].along(direction)


def losses(
    model: RandomFeatureModel,
    tau: Given,
    digits: int = 30,
    *,
    activation: Callable[[Any], Any] | None = None,
) -> Any:
    r"""Losses (17) of the infinite model under gradient flow, to any precision.

    Parameters
    ----------
    model : RandomFeatureModel
        Any target, number of draws, weight decay and eigenvalues.
    tau : real number or sequence of them
        Training times 0 ≤ τ ≤ ∞.
    digits : int
        Decimal digits asked for, 1 to 500.
    activation : callable, optional
        As in ``constants``.

    Returns
    -------
    Losses or list of Losses
        ``.train .test .slope .bend .error`` as mpmath numbers.

    Raises
    ------
    ValueError
        If a time is negative or not a number, or digits is out of range.
    ArithmeticError
        If a solution does not settle.

    Notes
    -----
    Equations (17) and (18) of docs/theory.md; beyond arXiv 2505.17638.

    Examples
    --------
    >>> import mpmath, rfspec as rf
    >>> at = rf.algebraic.losses(rf.RandomFeatureModel(8.0, 2.0, t=0.05), 100.0, 20)
    >>> mpmath.nstr(at.train, 20), mpmath.nstr(at.test, 20)
    ('0.82869175168641489612', '1.0125998545117427391')
    """
    digits = check_digits(digits)
    scalar = np.ndim(tau) == 0
    times = [_time(x) for x in ([tau] if scalar else np.asarray(tau, object).ravel())]
    with mp.workdps(digits + GUARD):
        problem = regression(model, digits + GUARD, activation)
        values = [losses_of(problem, x, digits) for x in times]
    return values[0] if scalar else values


def _time(x: Any) -> mp.mpf:
    try:
        value = mp.mpf(x if isinstance(x, str | int | mp.mpf) else float(x))
    except (TypeError, ValueError) as e:
        raise ValueError(f"tau must be real numbers of at least 0, got {x!r:.60}") from e
    if not value >= 0:
        raise ValueError(f"tau must be real numbers of at least 0, got {x!r:.60}")
    return value


def losses_of(problem: Regression, tau: mp.mpf, digits: int) -> Losses:
    """Losses at one time from the numbers of a model, at the caller's working precision."""
    zero = mp.mpf(0)
    if tau == 0:
        return Losses(problem.untrained, problem.untrained, zero, zero, zero)
    if tau == mp.inf:
        near, end = (_fully_trained(problem, digits + more) for more in (END - 8, END))
        if end[1] > 10 * abs(near[1]):
            return Losses(end[0], mp.inf, zero, zero, abs(end[0] - near[0]))
        return Losses(*end, zero, zero, max(abs(a - b) for a, b in zip(near, end, strict=True)))
    c = 2 * problem.pace * tau / problem.equations.psi_p
    # next to a hard edge at 0 digits are lost
    with mp.workdps(mp.mp.dps + int(max(0, mp.log10(c * problem.size)))):
        fine, coarse = (_trained(problem, c, digits, nodes_for(digits) - k) for k in (0, FEWER))
        return Losses(*fine, max(abs(a - b) for a, b in zip(fine[:2], coarse, strict=False)))


def nodes_for(digits: int) -> int:
    """Nodes N, an even number, for which N - FEWER of them err by less than 10^{-digits-2}."""
    needed = int(mp.ceil((digits + 2) * mp.log(10) / mp.log(RATE))) + FEWER
    return needed + needed % 2


def scanned(problem: Regression, tau: Any, digits: int) -> tuple[Any, Any, Any, Any]:
    """``.train .test .slope .bend`` of ``Losses`` at 0 < τ < ∞, without an error."""
    c = 2 * problem.pace * tau / problem.equations.psi_p
    return _trained(problem, c, digits, nodes_for(digits))


def times_to_scan(problem: Regression, count: int) -> list[Any]:
    """Training times, evenly in log τ, from where nothing is learnt to where everything is."""
    eq, c = problem.equations, problem.equations.c
    features, columns = (1 + mp.sqrt(eq.psi_p)) ** 2, 1 + mp.sqrt(eq.psi_p / eq.psi_n)
    fastest = (
        (c.kappa2 * max(eq.values) + c.b2) * features + c.v2 + c.s2
    ) * columns**2 + problem.decay
    # mψ_n columns at least s² wide, or with all of the noise s² itself
    narrow = 1 if eq.draws == mp.inf else (1 - mp.sqrt(eq.psi_p / (eq.draws * eq.psi_n))) ** 2
    slowest = max(c.s2 * narrow + problem.decay, mp.mpf(SMALLEST) * fastest)
    unit = eq.psi_p / (2 * problem.pace)
    first, last = mp.log(unit * EARLIEST / fastest), mp.log(unit * LATEST / slowest)
    return [mp.exp(first + (last - first) * k / (count - 1)) for k in range(count)]


def _trained(
    problem: Regression, c: mp.mpf, digits: int, count: int
) -> tuple[mp.mpf, mp.mpf, mp.mpf, mp.mpf]:
    # L_train, L_test and its first two derivatives in log c, c = 2ω²τ/ψ_p, by `count` nodes.
    # h(U) = (1/2πi)∮ e^{-cy}/y (U + γ - y)⁻¹ dy, y = -s/c, around y = 0 too. With L = λ + γ
    # 2h - λh² = (1 + γ/L - 2e^{-cL}γ/L - e^{-2cL}λ/L)/L, where the terms without an exponential are
    # the residues at 0.
    s, w = contour(count)
    solver = Solver(problem.equations, digits)
    y = [-x / c for x in s]
    nodes = Nodes(problem, solver, [x - problem.decay for x in y])
    first = [a * x for a, x in zip(w, s, strict=True)]  # of e^{-cy} at fixed y
    second = [a * (1 + x) for a, x in zip(first, s, strict=True)]
    linear = [nodes.once(v, nodes.population) for v in (w, first, second)]
    test = problem.untrained - 2 * linear[0] + nodes.twice(w, w)
    slope = 2 * (nodes.twice(first, w) - linear[1])
    bend = 2 * (nodes.twice(second, w) + nodes.twice(first, first) - linear[2])

    doubled = Nodes(problem, solver, [x / 2 - problem.decay for x in y], twice=False)
    train = problem.untrained - doubled.once(
        [a * (1 - 2 * problem.decay / x) for a, x in zip(w, y, strict=True)], doubled.sample
    )
    if problem.decay:
        train -= nodes.once(
            [a * 2 * problem.decay / x for a, x in zip(w, y, strict=True)], nodes.sample
        )
    return train, test, slope, bend


def _fully_trained(problem: Regression, digits: int) -> tuple[mp.mpf, mp.mpf]:
    # L_train and L_test of h(λ) = 1/(λ+γ) at z = -γ, approached from below as far as digits go
    with mp.workdps(2 * digits + GUARD):  # at a hard edge at 0 half of the digits are lost
        z = mp.mpc(-problem.decay - problem.size * mp.mpf(10) ** -digits)
        solver = Solver(problem.equations, digits)
        system, state = solver.exact, solver.at(z)
        many = [kind.many for kind in system.columns]

        def twice(source: tuple[Any, Any, Any]) -> tuple[mp.mpf, tuple[mp.mpf, mp.mpf]]:
            # Tr Vᵀ[M]V/d, and the two numbers of `Explained`
            response, direction = system.response_to(source, state, state, z, z)
            sample, population = problem.explained(many, response.D, response.traces)
            return -mp.re(sample.along(direction)), (mp.re(sample.first), mp.re(population.first))

        fresh, (sample, population) = twice(problem.population)
        by_decay = problem.decay * twice((1, 0, 0))[0] if problem.decay else 0
        return problem.untrained - sample - by_decay, problem.untrained - 2 * population + fresh
