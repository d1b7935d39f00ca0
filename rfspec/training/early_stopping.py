r"""When to stop: the minimum of the test loss, the window around it, and the onset of the generalisation gap.

In u = log τ the losses are analytic for |Im u| < π/2, so that a grid with steps of half a unit sees every minimum and
every crossing. Before it lies one interval more, down to τ = 0, on which the losses are nearly parabolas in τ. The best
time is the best of τ = 0, τ = ∞ and the deepest minima between, each of them refined before they are compared.

The grid is walked by continuation: the nodes of a contour for 2β²τ/ψ_p = c lie on rays z ∝ 1/c, along which
three Newton steps follow the solution from one training time to the next. Inside the bracket found the two-point
functions are computed once; the minimum or crossing is then a root in the weights of the contour alone. A last pair of
Newton steps makes it an implicit function of the model, so that it can be differentiated twice.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..models.gaussian_equivalent import gaussian_equivalent
from ..models.model import RandomFeatureModel
from ..numerics.checks import concrete, namespace, real_scalar
from ..resolvent.equations import averaged_equations
from ..resolvent.solver import ConvergenceError, solve_near, solve_off_axis, towards
from .contour import FINEST, flow
from .learning_curves import flow_errors, limit, losses, pairs_of, score_error

GRID = 96  # training times looked at first: 0, and
FIRST, LAST = 1e-3, 40.0  # from cλ = FIRST for the largest λ to cλ = LAST for the smallest
TURNS = 3  # minima that are refined, at most
SCAN = 24  # contour nodes while searching
AT_ONCE = 8  # of these times
GUARDED = 8  # Newton steps inside a bracket
FLAT = 1e-13  # relative depth of a minimum below which it is rounding
SMALLEST = 1e-16  # of the bound of the spectrum: nothing below it is learnt


class Window(NamedTuple):
    """Training times between which L_test exceeds its minimum by the tolerance at most; 0 and ∞ where it never does."""

    lower: Any
    upper: Any


class Rival(NamedTuple):
    """The second best of all candidates (minima of L_test, τ = 0 and τ = ∞): its training time and test loss."""

    tau: Any
    test: Any


class EarlyStopping(eqx.Module):
    """The best training time of a model.

    Attributes
    ----------
    tau : float
        τ* = argmin L_test = argmin E_score; ∞ where the test loss falls to its limit, 0 where training only harms.
    test, train, score_error : float
        Losses at τ*.
    window : Window
        ``.lower .upper``, the times around τ* at which L_test = L_test(τ*) + tolerance.
    tolerance : float
        Of the window, in units of the loss.
    untrained : float
        Loss at τ = 0, train and test.
    test_limit, train_limit : float
        Losses at τ = ∞.
    error : float
        Estimated absolute error of the losses.
    tau_error : float
        Estimated relative error of τ*: what an error of the loss's slope moves it by; 0 where τ* is 0 or ∞.
    window_error : Window
        Estimated relative errors of the ends of the window.
    rival : Rival
        ``.tau .test`` of the second best of all minima, τ = 0 and τ = ∞.
    model : RandomFeatureModel
    """

    tau: Any
    test: Any
    train: Any
    score_error: Any
    window: Window
    tolerance: Any
    untrained: Any
    test_limit: Any
    train_limit: Any
    error: Any
    tau_error: Any
    window_error: Window
    rival: Rival
    model: RandomFeatureModel

    @property
    def width(self) -> Any:
        """Factor between the ends of the window, upper/lower."""
        return self.window.upper / self.window.lower

    @property
    def nothing_to_learn(self) -> Any:
        """Whether no training time has a smaller test loss than none: τ* = 0."""
        return self.tau == 0

    @property
    def regularised(self) -> Any:
        """Whether the window has no end, so that training may go on for ever: the architecture regularises."""
        return (self.window.upper == jnp.inf) & ~self.nothing_to_learn

    @property
    def advice(self) -> str:
        """What is particular about the best time, in words; empty where there is nothing. Of a single model."""
        if bool(self.nothing_to_learn):
            return "nothing to learn: training only raises the test loss"
        words = ["no need to stop"] if bool(self.regularised) else []
        if bool(self.ambiguous) and not (bool(self.regularised) and float(self.rival.tau) == np.inf):
            words.append(f"tau = {float(self.rival.tau):.6g} is as good within the errors")
        return "; ".join(words)

    @property
    def ambiguous(self) -> Any:
        """Whether `rival` is as good as τ* within the errors of the losses."""
        return self.rival.test - self.test <= 2 * self.error


def early_stopping(model: RandomFeatureModel, tolerance: Any = 0.01) -> EarlyStopping:
    r"""The training time τ* at which the exact test loss is smallest, and the window in which stopping is safe.

    τ* = argmin L_test(τ) over 0 ≤ τ ≤ ∞ under gradient flow; since L_test = β²E_score + const for Gaussian data it
    minimises the score error too. The window is the interval around τ* on which L_test(τ) ≤ L_test(τ*) + tolerance.

    Parameters
    ----------
    model : RandomFeatureModel
    tolerance : float
        ε > 0, absolute, in units of the loss, which is 1 at τ = 0 for the target "noise".

    Returns
    -------
    EarlyStopping
        ``.tau .test .train .score_error .window .width .regularised .nothing_to_learn .untrained .test_limit .error
        .tau_error .rival .ambiguous .advice``.

    Raises
    ------
    ValueError
        If the tolerance is not positive.
    ConvergenceError
        If the losses of a single model are not finite.

    Notes
    -----
    Beyond arXiv 2505.17638. All times and losses are implicit functions of the model: `jax.grad` of τ* in ψ_n is exact,
    and `jax.vmap` over models works. A time at 0 or ∞ has derivative 0.

    Examples
    --------
    >>> import jax, rfspec as rf
    >>> stop = rf.early_stopping(rf.RandomFeatureModel(psi_p=64.0, psi_n=8.0, t=0.01))
    >>> print(f"{stop.tau:.3f} {stop.score_error:.5f} [{stop.window.lower:.2f}, {stop.window.upper:.1f}]")
    132.802 0.05430 [20.06, 2906.7]
    >>> later = jax.grad(lambda n: rf.early_stopping(rf.RandomFeatureModel(64.0, n, 0.01)).tau)(8.0)
    """
    tolerance = real_scalar("tolerance", tolerance, above=0.0)
    eq = averaged_equations(model, gaussian_equivalent(model))
    found, errors, moved = _stops(eq, tolerance, np.float64(0.5))
    unit = model.psi_p / (2.0 * model.pace)  # τ of c = 1
    stop = EarlyStopping(
        found.best * unit,
        found.test,
        found.train,
        score_error(model, found.test),
        Window(found.lower * unit, found.upper * unit),
        tolerance,
        eq.untrained,
        found.test_limit,
        found.train_limit,
        errors[0],
        moved[0],
        Window(jnp.where(found.lower > 0, moved[1], 0.0), jnp.where(found.upper < jnp.inf, moved[2], 0.0)),
        Rival(found.rival * unit, found.rival_test),
        model,
    )
    if concrete(errors) and np.ndim(errors) == 1 and not np.isfinite(float(errors[0])):
        raise ConvergenceError(f"the losses of {model} did not converge: move a parameter a little")
    return stop


def gap_onset(model: RandomFeatureModel, threshold: Any = 0.1) -> tuple[Any, Any]:
    r"""The training time at which the generalisation gap first reaches a share of its limit, and its relative error.

    L_gen(τ) = threshold · L_gen(∞), under gradient flow.

    Parameters
    ----------
    model : RandomFeatureModel
    threshold : float
        Share of the limit, 0 < threshold < 1.

    Returns
    -------
    tuple
        (τ, estimated relative error of τ). Differentiable in the model.

    Raises
    ------
    ValueError
        If the threshold is not between 0 and 1.
    ConvergenceError
        If the gap of a single model has no limit above 0, or the losses are not finite.

    Notes
    -----
    Beyond arXiv 2505.17638, which reads τ_mem off simulated gaps.
    """
    threshold = share("threshold", threshold)
    found, _, moved = _stops(averaged_equations(model, gaussian_equivalent(model)), np.float64(0.01), threshold)
    if concrete(found.onset) and np.ndim(found.onset) == 0 and not np.isfinite(float(found.onset)):
        raise ConvergenceError(f"the gap of {model} does not open to double precision: move a parameter a little")
    return found.onset * model.psi_p / (2.0 * model.pace), moved[3]


def share(name: str, value: Any) -> Any:
    """A number between 0 and 1."""
    value = real_scalar(name, value, above=0.0)
    if concrete(value) and not value < 1:
        raise ValueError(f"{name} must be between 0 and 1, got {float(value)!r}")
    return value


# ------------------------------------------------------------------------------------------------- the grid
# The variable v along training is log c from c0 on, where nothing is learnt yet, and 1 + v - log c0 = c/c0 before.


def _time(v: Any, start: Any) -> Any:
    """c of v, smooth once across c0 = exp(start); zero at v = start - 1."""
    late = v > start
    return jnp.where(late, jnp.exp(jnp.where(late, v, start)), jnp.exp(start) * (1.0 + v - start))


class Scan(NamedTuple):
    """Losses and the slope of L_test in v on a grid of v, the first of them at c = 0, to about ten digits."""

    at: Any
    train: Any
    test: Any
    test_slope: Any

    @property
    def start(self) -> Any:
        """log c0, the second of the grid."""
        return self.at[1]


def scan(eq: Any) -> Scan:
    """Walk the whole training, from c = 0 to where nothing is left to learn; not differentiated."""
    eq = jax.lax.stop_gradient(eq)
    lowest = jnp.maximum(eq.slowest, SMALLEST * eq.bound) + eq.decay
    start = jnp.log(FIRST / eq.top)
    at = jnp.append(start - 1.0, jnp.linspace(start, jnp.log(LAST / lowest), GRID - 1))
    c = _time(at, start)
    nodes = jax.vmap(lambda c: flow(c, eq.top, SCAN).nodes)(c) - eq.decay

    def follow(u: Any, z: Any) -> tuple[Any, Any]:
        u = jax.vmap(lambda z, *u: towards(eq, u, z))(z, *u)
        return u, u

    first = jax.vmap(partial(solve_off_axis, eq))(nodes[0])
    _, path = jax.lax.scan(follow, first, nodes)

    def one(place: Any) -> tuple[Any, Any]:
        v, u = place
        pairs, around = pairs_of(eq, u), _time(v, start)
        f = lambda w: losses(eq, flow(_time(w, start), eq.top, SCAN, around=around), pairs)[:2]
        return jax.jvp(f, (v,), (jnp.ones_like(v),))

    (train, test), (_, test_slope) = jax.lax.map(one, (at, path), batch_size=AT_ONCE)
    return Scan(at, train, test, test_slope)


# ------------------------------------------------------------------------------------------------ the roots


def _root(eq: Any, seen: Scan, place: Any, weights: Any, level: Any) -> tuple[Any, Any, Any]:
    """Where weights·(L_train, L_test, dL_test/dv) passes the level between two places of the grid.

    Returns v, differentiable in the equations and the level; the slope of the condition; and the losses there. The
    contour of the first round serves the whole interval, that of the second the root that the first has found.
    """
    low, high = seen.at[place], seen.at[place + 1]
    at_high = jnp.stack([a[place + 1] for a in (seen.train, seen.test, seen.test_slope)])
    rising = weights @ at_high > jax.lax.stop_gradient(level)

    def nodes(center: Any) -> Any:
        return flow(_time(center, seen.start), eq.top, FINEST).nodes

    def once(carry: Any, guarded: Any) -> tuple[Any, Any]:
        center, start, u = carry
        around = _time(center, seen.start)
        u = jax.vmap(lambda z, *u: solve_near(eq, u, z))(nodes(center) - eq.decay, *u)
        pairs = pairs_of(eq, u)

        def passed(eq: Any, pairs: Any, level: Any, v: Any) -> tuple[Any, Any]:
            """The condition, its slope, and the losses."""
            path = lambda v: flow(_time(v, seen.start), eq.top, FINEST, around=around)
            both = lambda v: jnp.stack(losses(eq, path(v), pairs)[:2])
            one = jnp.ones_like(v)
            slopes = lambda v: jax.jvp(both, (v,), (one,))
            (at, slope), (_, bend) = jax.jvp(slopes, (v,), (one,))
            value = weights[:2] @ at + weights[2] * slope[1] - level
            return jnp.stack([value, weights[:2] @ slope + weights[2] * bend[1]]), at

        still = jax.lax.stop_gradient((eq, pairs, level))

        def step(_: Any, carry: Any) -> Any:
            low, high, v = carry
            value, slope = passed(*still, v)[0]
            right = (value > 0) == rising
            low, high = jnp.where(right, low, v), jnp.where(right, v, high)
            newton = v - value / slope
            return low, high, jnp.where((newton > low) & (newton < high), newton, (low + high) / 2)

        *_, v = jax.lax.fori_loop(0, guarded, step, (low, high, start))

        def refine(v: Any, _: Any) -> tuple[Any, Any]:
            (value, slope), at = passed(eq, pairs, level, v)
            # where all is flat to rounding: stay in the neighbourhood
            return v + jnp.clip(-value / slope, low - high, high - low), (v, jax.lax.stop_gradient(slope), at)

        found = _last(jax.lax.scan(refine, v, length=3))
        v, u = jax.lax.stop_gradient((found[0], u))
        return (v, v, u), found

    still = jax.lax.stop_gradient(eq)
    u = jax.vmap(partial(solve_off_axis, still))(nodes(high) - still.decay)
    return _last(jax.lax.scan(once, (high, (low + high) / 2, u), jnp.array([GUARDED, 0])))


def _last(scanned: tuple[Any, Any]) -> Any:
    return jax.tree.map(lambda a: a[-1], scanned[1])


class Candidate(NamedTuple):
    """A time c at which L_test may be smallest, the losses there, and d²L_test/d(log c)²."""

    c: Any
    losses: Any
    slope: Any


class Stops(NamedTuple):
    """Times to stop at, in units of c = 2β²τ/ψ_p: the best one, the ends of the window, the onset of the gap.

    `slopes`: derivatives in log c, at each of the four in turn, of what vanishes there (of the slope of L_test, of
    L_test twice, of the gap); losses at the best and at the end of training, with the error there; the second best of
    all candidates.
    """

    best: Any
    lower: Any
    upper: Any
    onset: Any
    slopes: Any
    train: Any
    test: Any
    train_limit: Any
    test_limit: Any
    limit_error: Any
    rival: Any
    rival_test: Any


# what is sought in turn: weights of L_train, L_test and dL_test/dv, of which a level is passed
_TURN, _PASSED, _OPENED = [0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 1.0, 0.0]
_LOWER, _UPPER, _ONSET = range(TURNS, TURNS + 3)
_WEIGHTS = np.array([*[_TURN] * TURNS, _PASSED, _PASSED, _OPENED])


def stops(eq: Any, tolerance: Any, threshold: Any) -> Stops:
    """All of them, differentiable in the equations."""
    seen, still = scan(eq), jax.lax.stop_gradient
    last_train, last_test, last_errors = limit(eq)
    end = jnp.stack([last_train, last_test])
    opened = threshold * (end[1] - end[0])
    depths, turns = jax.lax.top_k(-_lowest(seen), TURNS)
    index = jnp.arange(GRID)
    untrained = Candidate(0.0 * end[0], jnp.stack([eq.untrained, eq.untrained]), jnp.inf)
    ended = Candidate(jnp.inf, end, jnp.inf)
    best, rival = _better(untrained, ended)

    def seek(carry: Any, sought: Any) -> tuple[Any, Any]:
        best, rival = carry
        which, weights = sought
        level = best.losses[1] + tolerance
        above, bottom = seen.test > still(level), jnp.sum(still(best.c) > _time(seen.at, seen.start)) - 1
        before = jnp.max(jnp.where(above & (index <= bottom), index, -1))
        after = jnp.min(jnp.where(above & (index > bottom), index, GRID))
        onset = jnp.argmax(seen.test - seen.train >= still(opened)) - 1
        place = jnp.clip(jnp.append(turns, jnp.stack([before, after - 1, onset])), 0, GRID - 2)[which]
        aim = jnp.where(which == _ONSET, opened, jnp.where(which < TURNS, 0.0, level))
        v, slope, there = _root(eq, seen, place, weights, aim)
        c = _time(v, seen.start)
        slope = slope * jnp.where(v > seen.start, 1.0, still(c / jnp.exp(seen.start)))  # dv = d log c · c/c0
        exists = (which < TURNS) & (depths[jnp.minimum(which, TURNS - 1)] > -jnp.inf)
        turn = Candidate(jnp.where(exists, c, jnp.inf), jnp.where(exists, there, jnp.inf), slope)
        return _best_two(best, rival, turn), (c, slope, before >= 0, after < GRID)

    (best, rival), (c, slope, begins, ends) = jax.lax.scan(seek, (best, rival), (jnp.arange(TURNS + 3), _WEIGHTS))
    return Stops(
        best.c,
        jnp.minimum(jnp.where(begins[_LOWER], c[_LOWER], 0.0), best.c),  # a tolerance may be less than rounding
        jnp.maximum(jnp.where(ends[_UPPER], c[_UPPER], jnp.inf), best.c),
        jnp.where((still(opened) > 0) & (still(opened) < jnp.inf), c[_ONSET], jnp.nan),
        jnp.append(best.slope, slope[TURNS:]),
        best.losses[0],
        best.losses[1],
        last_train,
        last_test,
        jnp.max(last_errors),
        still(rival.c),
        still(rival.losses[1]),
    )


def _better(one: Candidate, other: Candidate) -> tuple[Candidate, Candidate]:
    """The one with the smaller test loss first; the other only where it is smaller by more than rounding."""
    a, b = jax.lax.stop_gradient((one.losses[1], other.losses[1]))
    wins = ~(b >= a - FLAT * jnp.abs(a))
    return jax.tree.map(lambda x, y: jnp.where(wins, y, x), one, other), jax.tree.map(
        lambda x, y: jnp.where(wins, x, y), one, other
    )


def _best_two(best: Candidate, rival: Candidate, new: Candidate) -> tuple[Candidate, Candidate]:
    best, loser = _better(best, new)
    return best, _better(rival, loser)[0]


def _lowest(seen: Scan) -> Any:
    """The minimum of L_test on each interval in which it turns, of the cubic with values and slopes at the ends."""
    h = jnp.diff(seen.at)
    (a, b), (c, d) = (seen.test[:-1], seen.test[1:]), (h * seen.test_slope[:-1], h * seen.test_slope[1:])
    x = jnp.linspace(0.0, 1.0, 9)[:, None]
    cubic = a * (1 + 2 * x) * (1 - x) ** 2 + b * x**2 * (3 - 2 * x) + c * x * (1 - x) ** 2 - d * x**2 * (1 - x)
    turns = (seen.test_slope[:-1] < 0) & (seen.test_slope[1:] >= 0)
    return jnp.where(turns, jnp.min(cubic, axis=0), jnp.inf)


def _stops(eq: Any, tolerance: Any, threshold: Any) -> tuple[Stops, Any, Any]:
    """The four times; the errors of the losses there; and the relative errors of the times that follow from them."""
    found = _compiled(eq, tolerance, threshold)
    still, seen = jax.lax.stop_gradient((eq, found))
    at = jnp.stack([seen.best, seen.lower, seen.upper, seen.onset])
    errors = flow_errors(still, jnp.where(jnp.isnan(at), jnp.inf, at))
    ends = np.array([False, True, True, False])  # the level of the window is as uncertain as the minimum
    missed = namespace(errors).where(ends, errors + errors[0], errors)
    return found, errors, missed / jnp.abs(seen.slopes)


_compiled = jax.jit(stops)
