r"""When to stop: the minimum of the test loss, the window around it, and the onset of the generalisation gap.

In u = log τ the losses are analytic for |Im u| < π/2, so that a grid with steps of half a unit sees every minimum and
every crossing. It is walked by continuation: the nodes of a contour for 2β²τ/ψ_p = c lie on rays z ∝ 1/c, along which
three Newton steps follow the solution from one training time to the next. Inside the bracket found the two-point
functions are computed once; the minimum or crossing is then a root in the weights of the contour alone. A last pair of
Newton steps makes it an implicit function of the model, so that it can be differentiated twice.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ._checks import concrete, real_scalar
from .contour import FINEST, flow
from .equations import equations
from .gaussian_equivalent import gaussian_equivalent
from .holomorphic import newton_step
from .learning_curves import flow_losses, losses, pairs_at, pairs_of, score_error
from .model import RandomFeatureModel
from .solver import ConvergenceError, solve_off_axis

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
    eq = equations(model, gaussian_equivalent(model))
    found, errors = _stops(eq, tolerance, 0.5)
    unit = model.psi_p / (2.0 * model.process.beta2)  # τ of c = 1
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
        jnp.where(found.best < jnp.inf, errors[0] / jnp.abs(found.bend), 0.0),
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
    """
    threshold = share("threshold", threshold)
    found, errors = _stops(equations(model, gaussian_equivalent(model)), 0.01, threshold)
    return found.onset * model.psi_p / (2.0 * model.process.beta2), errors[1] / jnp.abs(found.opening)


def share(name: str, value: Any) -> Any:
    """A number between 0 and 1."""
    value = real_scalar(name, value, above=0.0)
    if concrete(value) and not value < 1:
        raise ValueError(f"{name} must be between 0 and 1, got {float(value)!r}")
    return value


# ------------------------------------------------------------------------------------------------- the grid


class Scan(NamedTuple):
    """Losses and their slopes in log c on a grid of log c, to about ten digits."""

    at: Any
    train: Any
    test: Any
    train_slope: Any
    test_slope: Any


def scan(eq: Any) -> Scan:
    """Walk the whole training, from where nothing is learnt to where nothing is left to learn; not differentiated."""
    eq = jax.lax.stop_gradient(eq)
    lowest = jnp.maximum(eq.origin, SMALLEST * eq.bound)
    at = jnp.linspace(jnp.log(FIRST / (eq.origin + eq.bound)), jnp.log(LAST / lowest), GRID)
    nodes = jax.vmap(lambda v: flow(jnp.exp(v), SCAN).nodes)(at)

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

    (train, test), (train_slope, test_slope) = jax.vmap(one)(at, *path)
    return Scan(at, train, test, train_slope, test_slope)


def limit(eq: Any) -> tuple[Any, Any]:
    """L_train and L_test at the end of training."""
    end = flow(jnp.inf, 2)
    return losses(eq, end, pairs_at(eq, end.nodes))[:2]


# ------------------------------------------------------------------------------------------------ the roots


def _root(eq: Any, seen: Scan, place: Any, condition: Callable[[Any], Any]) -> tuple[Any, Any, Any]:
    """A root in the interval [place, place + 1] of a condition made of the losses as functions of log c.

    Returns log c, differentiable in the equations and the condition; the slope of the condition; and the losses there.
    """
    low, high = seen.at[place], seen.at[place + 1]
    frozen = condition(_local(jax.lax.stop_gradient(eq), high, SCAN))
    known = lambda v: jax.lax.stop_gradient(jnp.stack(jax.jvp(frozen, (v,), (jnp.ones_like(v),))))
    rising = known(high)[0] > 0

    def step(_: Any, carry: Any) -> Any:
        low, high, v = carry
        value, slope = known(v)
        right = (value > 0) == rising
        low, high = jnp.where(right, low, v), jnp.where(right, v, high)
        newton = v - value / slope
        return low, high, jnp.where((newton > low) & (newton < high), newton, (low + high) / 2)

    *_, start = jax.lax.fori_loop(0, GUARDED, step, (low, high, (low + high) / 2))
    start = jax.lax.stop_gradient(start)
    losses_at = _local(eq, start, FINEST)
    v, slope = start, jnp.ones_like(start)
    for _ in range(2):
        value, slope = jax.jvp(condition(losses_at), (v,), (jnp.ones_like(v),))
        v = v + jnp.clip(-value / slope, low - high, high - low)  # flat to rounding: stay in the neighbourhood
    return v, jax.lax.stop_gradient(slope), losses_at(v)


def _local(eq: Any, center: Any, count: int) -> Callable[[Any], tuple[Any, Any]]:
    """L_train and L_test as functions of log c, to rounding for c from 0.7 to 1 times e^center and less well beyond."""
    around = jax.lax.stop_gradient(jnp.exp(center))
    pairs = pairs_at(eq, flow(around, count).nodes)
    return lambda v: losses(eq, flow(jnp.exp(v), count, around=around), pairs)[:2]


class Stops(NamedTuple):
    """Times to stop at, in units of c = 2β²τ/ψ_p: the best one, the ends of the window, the onset of the gap.

    `bend`: second derivative of L_test in log c at the best; `opening`: slope of the gap at the onset; losses at the
    best and at the end of training.
    """

    best: Any
    lower: Any
    upper: Any
    onset: Any
    bend: Any
    opening: Any
    train: Any
    test: Any
    train_limit: Any
    test_limit: Any


def stops(eq: Any, tolerance: Any, threshold: Any) -> Stops:
    """All of them, differentiable in the equations."""
    seen, still = scan(eq), jax.lax.stop_gradient
    train_limit, test_limit = limit(eq)
    turns = (seen.test_slope[:-1] < 0) & (seen.test_slope[1:] >= 0)
    place = jnp.argmin(jnp.where(turns, _lowest(seen), jnp.inf))
    log_c, bend, (train, test) = _root(eq, seen, place, lambda f: jax.grad(lambda v: f(v)[1]))
    finite = jnp.any(turns) & (still(test) < still(test_limit) - FLAT * jnp.abs(still(test_limit)))
    train, test = jnp.where(finite, train, train_limit), jnp.where(finite, test, test_limit)

    # readouts a·L_train + b·L_test that cross their levels: L_test on both sides of the best time, and the gap
    level = test + tolerance
    opened = threshold * (test_limit - train_limit)
    index, bottom = jnp.arange(GRID), jnp.where(finite, place, GRID - 1)
    above, open_ = seen.test > still(level), seen.test - seen.train >= still(opened)
    before = jnp.max(jnp.where(above & (index <= bottom), index, -1))
    after = jnp.min(jnp.where(above & (index > bottom), index, GRID))
    places = jnp.clip(jnp.stack([before, after - 1, jnp.argmax(open_) - 1]), 0, GRID - 2)
    weights, levels = jnp.array([[0.0, 1.0], [0.0, 1.0], [-1.0, 1.0]]), jnp.stack([level, level, opened])
    crossing = lambda place, w, level: _root(
        eq, seen, place, lambda f: lambda v: (lambda train, test: w[0] * train + w[1] * test - level)(*f(v))
    )
    at, slopes, _ = jax.vmap(crossing)(places, weights, levels)
    lower, upper, onset = jnp.exp(at)
    early = jnp.exp(seen.at[0]) * (1.0 - level) / (1.0 - seen.test[0])  # linear before the grid begins
    return Stops(
        jnp.where(finite, jnp.exp(log_c), jnp.inf),
        jnp.where(before >= 0, lower, jnp.maximum(early, 0.0)),
        jnp.where(after < GRID, upper, jnp.inf),
        jnp.where(still(opened) > 0, onset, jnp.nan),
        bend,
        slopes[2],
        train,
        test,
        train_limit,
        test_limit,
    )


def _lowest(seen: Scan) -> Any:
    """The minimum on each interval of the cubic with the values and slopes at its ends."""
    h = seen.at[1] - seen.at[0]
    (a, b), (c, d) = (seen.test[:-1], seen.test[1:]), (h * seen.test_slope[:-1], h * seen.test_slope[1:])
    x = jnp.linspace(0.0, 1.0, 9)[:, None]
    cubic = a * (1 + 2 * x) * (1 - x) ** 2 + b * x**2 * (3 - 2 * x) + c * x * (1 - x) ** 2 - d * x**2 * (1 - x)
    return jnp.min(cubic, axis=0)


@jax.jit
def _stops(eq: Any, tolerance: Any, threshold: Any) -> tuple[Stops, Any]:
    """The times, and the errors of the losses at the best and at the onset."""
    found = stops(eq, tolerance, threshold)
    at = jax.lax.stop_gradient(jnp.stack([found.best, found.onset]))
    return found, jax.vmap(partial(flow_losses, jax.lax.stop_gradient(eq)))(at)[2]
