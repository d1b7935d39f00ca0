r"""When to stop: the minimum of the test loss, the window around it, and the onset of the generalisation gap.

In u = log τ the losses are analytic for |Im u| < π/2, so that a grid with steps of half a unit sees every minimum and
every crossing. It is walked by continuation: the nodes of a contour for 2β²τ/ψ_p = c lie on rays z ∝ 1/c, along which
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

from ._checks import concrete, real_scalar
from .contour import FINEST, flow
from .gaussian_equivalent import gaussian_equivalent
from .holomorphic import newton_step
from .learning_curves import flow_errors, losses, pairs_at, pairs_of, score_error
from .model import RandomFeatureModel
from .solver import ConvergenceError, solve_off_axis
from .theory import averaged_equations

GRID = 64  # training times looked at first,
FIRST, LAST = 1e-3, 40.0  # from cλ = FIRST for the largest λ to cλ = LAST for the smallest
SCAN = 24  # contour nodes while searching
GUARDED = 8  # Newton steps inside a bracket
FLAT = 1e-13  # relative depth of a minimum below which it is rounding
SMALLEST = 1e-16  # of the bound of the spectrum: nothing below it is learnt


class Window(NamedTuple):
    """Training times between which L_test exceeds its minimum by the tolerance at most; 0 and ∞ where it never does."""

    lower: Any
    upper: Any


class EarlyStopping(eqx.Module):
    """The best training time of a model.

    Attributes
    ----------
    tau : float
        τ* = argmin L_test = argmin E_score; ∞ where the test loss falls to its limit.
    test, train, score_error : float
        Losses at τ*.
    window : Window
        ``.lower .upper``, the times around τ* at which L_test = L_test(τ*) + tolerance.
    tolerance : float
        Of the window, in units of the loss.
    test_limit, train_limit : float
        Losses at τ = ∞.
    error : float
        Estimated absolute error of the losses.
    tau_error : float
        Estimated relative error of τ*: what an error of the loss's slope moves it by.
    window_error : Window
        Estimated relative errors of the ends of the window.
    """

    tau: Any
    test: Any
    train: Any
    score_error: Any
    window: Window
    tolerance: Any
    test_limit: Any
    train_limit: Any
    error: Any
    tau_error: Any
    window_error: Window

    @property
    def width(self) -> Any:
        """Factor between the ends of the window, upper/lower."""
        return self.window.upper / self.window.lower

    @property
    def regularised(self) -> Any:
        """Whether the window has no end: the architecture regularises, and training may go on for ever."""
        return self.window.upper == jnp.inf


def early_stopping(model: RandomFeatureModel, tolerance: Any = 0.01) -> EarlyStopping:
    r"""The training time τ* at which the exact test loss is smallest, and the window in which stopping is safe.

    τ* = argmin L_test(τ) over 0 < τ ≤ ∞ under gradient flow; since L_test = β²E_score + const for Gaussian data it
    minimises the score error too. The window is the interval around τ* on which L_test(τ) ≤ L_test(τ*) + tolerance.

    Parameters
    ----------
    model : RandomFeatureModel
    tolerance : float
        ε > 0, absolute, in units of the loss, which is 1 at τ = 0.

    Returns
    -------
    EarlyStopping
        ``.tau .test .train .score_error .window .width .regularised .test_limit .error .tau_error``.

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
        found.test_limit,
        found.train_limit,
        errors[0],
        jnp.where(found.best < jnp.inf, moved[0], 0.0),
        Window(moved[1], jnp.where(found.upper < jnp.inf, moved[2], 0.0)),
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


class Scan(NamedTuple):
    """Losses and the slope of L_test in log c on a grid of log c, to about ten digits."""

    at: Any
    train: Any
    test: Any
    test_slope: Any


def scan(eq: Any) -> Scan:
    """Walk the whole training, from where nothing is learnt to where nothing is left to learn; not differentiated."""
    eq = jax.lax.stop_gradient(eq)
    lowest, highest = jnp.maximum(eq.slowest, SMALLEST * eq.bound) + eq.decay, eq.origin + eq.bound + eq.decay
    at = jnp.linspace(jnp.log(FIRST / highest), jnp.log(LAST / lowest), GRID)
    nodes = jax.vmap(lambda v: flow(jnp.exp(v), SCAN).nodes)(at) - eq.decay

    def follow(u: Any, z: Any) -> tuple[Any, Any]:
        def towards(z: Any, *u: Any) -> Any:
            for _ in range(3):
                u = newton_step(lambda *w: eq.residual(w, z - eq.origin), u)
            return u

        u = jax.vmap(towards)(z, *u)
        return u, u

    start = jax.vmap(partial(solve_off_axis, eq))(nodes[0])
    _, path = jax.lax.scan(follow, start, nodes)

    def one(v: Any, *u: Any) -> tuple[Any, Any]:
        pairs = pairs_of(eq, u)
        f = lambda w: losses(eq, flow(jnp.exp(w), SCAN, around=jnp.exp(v)), pairs)[:2]
        return jax.jvp(f, (v,), (jnp.ones_like(v),))

    (train, test), (_, test_slope) = jax.vmap(one)(at, *path)
    return Scan(at, train, test, test_slope)


def limit(eq: Any) -> tuple[Any, Any]:
    """L_train and L_test at the end of training."""
    end = flow(jnp.inf, 2)
    return losses(eq, end, pairs_at(eq, end.nodes))[:2]


# ------------------------------------------------------------------------------------------------ the roots


def _root(eq: Any, seen: Scan, place: Any, weights: Any, level: Any) -> tuple[Any, Any, Any]:
    """Where weights·(L_train, L_test, dL_test/dlog c) passes the level between two places of the grid.

    Returns log c, differentiable in the equations and the level; the slope of the condition; and the losses there. The
    contour of the first round serves the whole interval, that of the second the root that the first has found.
    """
    low, high = seen.at[place], seen.at[place + 1]
    at_high = jnp.stack([a[place + 1] for a in (seen.train, seen.test, seen.test_slope)])
    rising = weights @ at_high > jax.lax.stop_gradient(level)

    def once(carry: Any, guarded: Any) -> tuple[Any, Any]:
        center, start = carry
        around = jnp.exp(center)
        pairs = pairs_at(eq, flow(around, FINEST).nodes)

        def passed(eq: Any, pairs: Any, level: Any, v: Any) -> tuple[Any, Any]:
            """The condition, its slope, and the losses."""
            both = lambda v: jnp.stack(losses(eq, flow(jnp.exp(v), FINEST, around=around), pairs)[:2])
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
        v = jax.lax.stop_gradient(found[0])
        return (v, v), found

    return _last(jax.lax.scan(once, (high, (low + high) / 2), jnp.array([GUARDED, 0])))


def _last(scanned: tuple[Any, Any]) -> Any:
    return jax.tree.map(lambda a: a[-1], scanned[1])


class Stops(NamedTuple):
    """Times to stop at, in units of c = 2β²τ/ψ_p: the best one, the ends of the window, the onset of the gap.

    `slopes`: derivatives in log c, at each of the four in turn, of what vanishes there (of the slope of L_test, of
    L_test twice, of the gap); losses at the best and at the end of training.
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


def stops(eq: Any, tolerance: Any, threshold: Any) -> Stops:
    """All of them, differentiable in the equations."""
    seen, still = scan(eq), jax.lax.stop_gradient
    end = jnp.stack(limit(eq))
    opened = threshold * (end[1] - end[0])
    turns = (seen.test_slope[:-1] < 0) & (seen.test_slope[1:] >= 0)
    place = jnp.argmin(jnp.where(turns, _lowest(seen), jnp.inf))
    index, open_ = jnp.arange(GRID), seen.test - seen.train >= still(opened)

    # in turn: the best time, where L_test passes the level of the window before and after it, the onset of the gap
    weights = jnp.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.0, 1.0, 0.0], [-1.0, 1.0, 0.0]])

    def seek(carry: Any, sought: Any) -> tuple[Any, Any]:
        best, finite = carry
        which, weight = sought
        level = best[1] + tolerance
        above, bottom = seen.test > still(level), jnp.where(finite, place, GRID - 1)
        before = jnp.max(jnp.where(above & (index <= bottom), index, -1))
        after = jnp.min(jnp.where(above & (index > bottom), index, GRID))
        at = jnp.clip(jnp.stack([place, before, after - 1, jnp.argmax(open_) - 1])[which], 0, GRID - 2)
        aim = jnp.stack([0.0 * level, level, level, opened])[which]
        log_c, slope, losses_there = _root(eq, seen, at, weight, aim)
        deeper = jnp.any(turns) & (still(losses_there[1]) < still(end[1]) - FLAT * jnp.abs(still(end[1])))
        finite = jnp.where(which == 0, deeper, finite)
        best = jnp.where(which == 0, jnp.where(deeper, losses_there, end), best)
        return (best, finite), (jnp.exp(log_c), slope, before >= 0, after < GRID)

    start = (end, jnp.any(turns))
    (best, finite), (c, slope, begins, ends) = jax.lax.scan(seek, start, (jnp.arange(4), weights))
    # before the grid begins the loss falls linearly
    early = jnp.exp(seen.at[0]) * (eq.untrained - best[1] - tolerance) / (eq.untrained - seen.test[0])
    return Stops(
        jnp.where(finite, c[0], jnp.inf),
        jnp.where(begins[1], c[1], jnp.maximum(early, 0.0)),
        jnp.where(ends[2], c[2], jnp.inf),
        jnp.where(still(opened) > 0, c[3], jnp.nan),
        slope,
        *best,
        *end,
    )


def _lowest(seen: Scan) -> Any:
    """The minimum on each interval of the cubic with the values and slopes at its ends."""
    h = seen.at[1] - seen.at[0]
    (a, b), (c, d) = (seen.test[:-1], seen.test[1:]), (h * seen.test_slope[:-1], h * seen.test_slope[1:])
    x = jnp.linspace(0.0, 1.0, 9)[:, None]
    cubic = a * (1 + 2 * x) * (1 - x) ** 2 + b * x**2 * (3 - 2 * x) + c * x * (1 - x) ** 2 - d * x**2 * (1 - x)
    return jnp.min(cubic, axis=0)


def _stops(eq: Any, tolerance: Any, threshold: Any) -> tuple[Stops, Any, Any]:
    """The four times; the errors of the losses there; and the relative errors of the times that follow from them."""
    found = _compiled(eq, tolerance, threshold)
    still, seen = jax.lax.stop_gradient((eq, found))
    at = jnp.stack([seen.best, seen.lower, seen.upper, seen.onset])
    errors = flow_errors(still, jnp.where(jnp.isnan(at), jnp.inf, at))
    missed = errors.at[1:3].add(errors[0])  # the level of the window is as uncertain as the minimum
    return found, errors, missed / jnp.abs(seen.slopes)


_compiled = jax.jit(stops)
