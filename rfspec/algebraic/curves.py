r"""What the features explain of the target, and the losses along training,
in multi-precision arithmetic.

Columns φ_j of U come with the target's y_j, d numbers of variance v_i and, given F, covariance
bF(a_i0 + a_i1Σ) with φ_j; V = Σ φ_jy_jᵀ. With the target as more rows of the columns, (φ_j, εy_j),
and an argument -1 for the new rows, the logarithm of the determinant of U - z has Tr (Y - Vᵀ(U -
z)⁻¹V) as its derivative in ε², Y = Σ y_jy_jᵀ. The limit of that logarithm is stationary in the
unknowns of ``rfspec.algebraic.twin``, and depends on ε² through the Schur complement Σ n_iD_iv_i -
V̄ᵀ(U - z)⁻¹V̄ alone, V̄ = bFP(Σ), P = P_0 + Σ n_iD_ia_i, P_0 what does not fluctuate; so that

    Tr Vᵀ(U - z)⁻¹V/d = Σ n_i(1 - D_i)v_i + b²ψ_p ∫ P qE P,   Tr Ṽᵀ(U - z)⁻¹V/d = b²ψ_p ∫ P̃ qE P

with factors in this order, and for triangular matrices -Tr Vᵀ(U - z1)⁻¹M(U - z2)⁻¹V/d stands above
the diagonal. With h(λ) = (1 - e^{-c(λ+γ)})/(λ+γ), c = 2ω²τ/ψ_p, and y_0 the loss untrained,

    L_train = y_0 - Tr Vᵀ(2h - Uh²)V/d,      L_test = y_0 - 2 Tr ṼᵀhV/d + Tr Vᵀh Ũ hV/d

are integrals around the spectrum, here on the cotangent contour of Talbot and Weideman, where N
nodes err by 3.89^{-N} (Trefethen, Weideman, Schmelzer, BIT 46, 653, 2006). Beyond arXiv 2505.17638.
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

FEWER = 6  # nodes less, of the integral that the error is estimated by
EARLIEST = 1e-2  # cλ of the fastest mode where a scan of the training begins,
LATEST = 40.0  # and of the slowest where it ends
SMALLEST = 1e-16  # of the fastest mode: slower ones are not waited for
# decimal digits, beyond those asked for, by which z = 0 is approached at the end of training
END = 40


class Explained(NamedTuple):
    """Tr Vᵀ(U - z)⁻¹V/d, and the same with the population's Ṽᵀ on the left, at one z."""

    sample: mp.mpc
    population: mp.mpc


class Losses(NamedTuple):
    """Losses at one training time τ.

    Attributes
    ----------
    train, test : mpmath.mpf
        L_train and L_test; L_test = ∞ at τ = ∞ where there are as many features as columns (p =
        nm).
    slope, bend : mpmath.mpf
        First and second derivative of L_test in log τ.
    error : mpmath.mpf
        Of the losses, absolute: the difference between two numbers of nodes; at τ = ∞ between two
        distances from z = 0.
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
        ``.sample``, and ``.population`` with Ṽᵀ, the average over fresh samples, on the left;
            mpmath numbers.

    Raises
    ------
    ValueError
        If Im z < 0 or digits is out of range.
    ArithmeticError
        If z is on the atom or at an edge.

    Notes
    -----
    Beyond arXiv 2505.17638. For the target "noise" with all of the noise both are b²ψ_p s(z).

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
        of = regression(model, digits + GUARD, activation)
        nodes = Nodes(of, Solver(of.equations, digits), [spectral_argument(z)], twice=False)
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
    r"""Tr Vᵀ(U - z1)⁻¹M(U - z2)⁻¹V/d, with M = Ũ or ιI + βFFᵀ + γFΣFᵀ.

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
    Beyond arXiv 2505.17638. For M = I it is the divided difference of ``explained``.

    Examples
    --------
    >>> import mpmath, rfspec as rf
    >>> model = rf.RandomFeatureModel(8.0, 2.0, t=0.1, target="data", noise_draws=3)
    >>> mpmath.nstr(rf.algebraic.explained_twice(model, -0.1, -0.2).real, 15)
    '0.605544682194876'
    """
    digits = check_digits(digits)
    with mp.workdps(digits + GUARD):
        of = regression(model, digits + GUARD, activation)
        solver = Solver(of.equations, digits)
        z1, z2 = spectral_argument(z1), spectral_argument(z2)
        one, two = solver.at(z1), solver.at(z2)
        chosen = of.population if source is None else tuple(mp.mpf(x) for x in source)
        response, shares = solver.exact.moved(one, two, z1, z2, chosen)
        many = [kind.many for kind in solver.exact.columns]
        return -of.explained(many, response.D, response.traces)[0].along(shares)


def losses(
    model: RandomFeatureModel,
    tau: Given,
    digits: int = 30,
    *,
    activation: Callable[[Any], Any] | None = None,
) -> Any:
    r"""Losses of the infinite model under gradient flow, to any precision.

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
    Beyond arXiv 2505.17638.

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
        of = regression(model, digits + GUARD, activation)
        found = [losses_of(of, x, digits) for x in times]
    return found[0] if scalar else found


def _time(x: Any) -> mp.mpf:
    try:
        value = mp.mpf(x if isinstance(x, str | int | mp.mpf) else float(x))
    except (TypeError, ValueError) as e:
        raise ValueError(f"tau must be real numbers of at least 0, got {x!r:.60}") from e
    if not value >= 0:
        raise ValueError(f"tau must be real numbers of at least 0, got {x!r:.60}")
    return value


def losses_of(of: Regression, tau: mp.mpf, digits: int) -> Losses:
    """The same at one time from the numbers of a model, at the caller's working precision."""
    zero = mp.mpf(0)
    if tau == 0:
        return Losses(of.untrained, of.untrained, zero, zero, zero)
    if tau == mp.inf:
        near, end = (_ended(of, digits + more) for more in (END - 8, END))
        if end[1] > 10 * abs(near[1]):
            return Losses(end[0], mp.inf, zero, zero, abs(end[0] - near[0]))
        return Losses(*end, zero, zero, max(abs(a - b) for a, b in zip(near, end, strict=True)))
    c = 2 * of.pace * tau / of.equations.psi_p
    # next to a hard edge at 0 digits are lost
    with mp.workdps(mp.mp.dps + int(max(0, mp.log10(c * of.size)))):
        return _checked(of, c, digits)


def nodes_for(digits: int) -> int:
    """Nodes N, an even number, for which N - FEWER of them err by less than 10^{-digits-2}."""
    needed = int(mp.ceil((digits + 2) * mp.log(10) / mp.log(RATE))) + FEWER
    return needed + needed % 2


def scanned(of: Regression, tau: Any, digits: int) -> tuple[Any, Any, Any, Any]:
    """``.train .test .slope .bend`` at 0 < τ < ∞ by one number of nodes."""
    c = 2 * of.pace * tau / of.equations.psi_p
    return _flowed(of, c, digits, nodes_for(digits))


def times_to_scan(of: Regression, count: int) -> list[Any]:
    """Training times from where nothing is learnt yet to where nothing is left to learn,
    evenly in log τ.
    """
    eq, c = of.equations, of.equations.c
    features, columns = (1 + mp.sqrt(eq.psi_p)) ** 2, 1 + mp.sqrt(eq.psi_p / eq.psi_n)
    fastest = ((c.kappa2 * max(eq.values) + c.b2) * features + c.v2 + c.s2) * columns**2 + of.decay
    # mψ_n columns at least s² wide, or with all of the noise s² itself
    narrow = 1 if eq.draws == mp.inf else (1 - mp.sqrt(eq.psi_p / (eq.draws * eq.psi_n))) ** 2
    slowest = max(c.s2 * narrow + of.decay, mp.mpf(SMALLEST) * fastest)
    unit = eq.psi_p / (2 * of.pace)
    first, last = mp.log(unit * EARLIEST / fastest), mp.log(unit * LATEST / slowest)
    return [mp.exp(first + (last - first) * k / (count - 1)) for k in range(count)]


def _checked(of: Regression, c: mp.mpf, digits: int) -> Losses:
    """At c = 2ω²τ/ψ_p, by two numbers of nodes."""
    fine, coarse = (_flowed(of, c, digits, nodes_for(digits) - fewer) for fewer in (0, FEWER))
    return Losses(*fine, max(abs(a - b) for a, b in zip(fine[:2], coarse, strict=False)))


def _flowed(
    of: Regression, c: mp.mpf, digits: int, count: int
) -> tuple[mp.mpf, mp.mpf, mp.mpf, mp.mpf]:
    r"""L_train, L_test and its first two derivatives in log c, by `count` nodes.

    h(U) = (1/2πi)∮ e^{-cy}/y (U + γ - y)⁻¹ dy, y = -s/c, around y = 0 too, and with L = λ + γ 2h -
    λh² = (1 + γ/L - 2e^{-cL}γ/L - e^{-2cL}λ/L)/L, of which the terms without exponential are the
    residues at 0.
    """
    s, w = contour(count)
    solver = Solver(of.equations, digits)
    y = [-x / c for x in s]
    nodes = Nodes(of, solver, [x - of.decay for x in y])
    first = [a * x for a, x in zip(w, s, strict=True)]  # of e^{-cy} at fixed y
    second = [a * (1 + x) for a, x in zip(first, s, strict=True)]
    linear = [nodes.once(v, nodes.population) for v in (w, first, second)]
    test = of.untrained - 2 * linear[0] + nodes.twice(w, w)
    slope = 2 * (nodes.twice(first, w) - linear[1])
    bend = 2 * (nodes.twice(second, w) + nodes.twice(first, first) - linear[2])

    doubled = Nodes(of, solver, [x / 2 - of.decay for x in y], twice=False)
    train = of.untrained - doubled.once(
        [a * (1 - 2 * of.decay / x) for a, x in zip(w, y, strict=True)], doubled.sample
    )
    if of.decay:
        train -= nodes.once([a * 2 * of.decay / x for a, x in zip(w, y, strict=True)], nodes.sample)
    return train, test, slope, bend


def _ended(of: Regression, digits: int) -> tuple[mp.mpf, mp.mpf]:
    """L_train and L_test of h(λ) = 1/(λ+γ) at z = -γ, approached from below as far as digits go."""
    with mp.workdps(2 * digits + GUARD):  # at a hard edge at 0 half of the digits are lost
        z = mp.mpc(-of.decay - of.size * mp.mpf(10) ** -digits)
        solver = Solver(of.equations, digits)
        system, state = solver.exact, solver.at(z)
        many = [kind.many for kind in system.columns]

        def twice(source: tuple[Any, Any, Any]) -> tuple[mp.mpf, tuple[mp.mpf, mp.mpf]]:
            """Tr Vᵀ[M]V/d, and the parts of ``Explained``."""
            response, shares = system.moved(state, state, z, z, source)
            sample, population = of.explained(many, response.D, response.traces)
            return -mp.re(sample.along(shares)), (mp.re(sample.first), mp.re(population.first))

        fresh, (sample, population) = twice(of.population)
        known = of.decay * twice((1, 0, 0))[0] if of.decay else 0
        return of.untrained - sample - known, of.untrained - 2 * population + fresh
