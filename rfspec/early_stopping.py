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
from .contour import COARSE, FEWER, FINEST, flow
from .equations import equations
from .gaussian_equivalent import gaussian_equivalent
from .holomorphic import implicit, newton_step
from .learning_curves import losses, losses_and_error, pairs_at, pairs_of, score_error
from .model import RandomFeatureModel
from .solver import ConvergenceError, solve_off_axis

GRID = 72  # training times looked at first,
FIRST, LAST = 1e-3, 40.0  # from cλ = FIRST for the largest λ to cλ = LAST for the smallest
SCAN = 24  # contour nodes while searching
GUARDED = 8  # Newton steps inside a bracket
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
    best = _best(eq, tolerance)
    unit = model.psi_p / (2.0 * model.process.beta2)  # τ of c = 1
    stop = EarlyStopping(
        best.c * unit,
        best.test,
        best.train,
        score_error(model, best.test),
        Window(best.lower * unit, best.upper * unit),
        tolerance,
        best.test_limit,
        best.train_limit,
        best.error,
        best.c_error,
    )
    if concrete(best.error) and np.ndim(best.error) == 0 and not np.isfinite(float(best.error)):
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
    c, error = _onset(equations(model, gaussian_equivalent(model)), threshold)
    return c * model.psi_p / (2.0 * model.process.beta2), error


def share(name: str, value: Any) -> Any:
    """A number between 0 and 1."""
    value = real_scalar(name, value, above=0.0)
    if concrete(value) and not value < 1:
        raise ValueError(f"{name} must be between 0 and 1, got {float(value)!r}")
    return value


# ------------------------------------------------------------------------------------------------- the grid


class Scan(NamedTuple):
    """Losses and their slopes in log c on a grid of log c, and at c = ∞, to about ten digits."""

    at: Any
    train: Any
    test: Any
    train_slope: Any
    test_slope: Any
    train_limit: Any
    test_limit: Any


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
    end = limit(eq)
    return Scan(at, train, test, train_slope, test_slope, *end)


def limit(eq: Any) -> tuple[Any, Any]:
    """L_train and L_test at the end of training."""
    end = flow(jnp.inf, 2)
    return losses(eq, end, pairs_at(eq, end.nodes))[:2]


# ------------------------------------------------------------------------------------------------ the roots

Readout = Callable[[Any, Any], Any]  # of L_train and L_test


def crossing(eq: Any, seen: Scan, place: Any, readout: Readout, level: Any) -> tuple[Any, Any]:
    """log c in the interval [place, place + 1] of the grid at which a readout of the losses is `level`; its slope.

    Differentiable in the equations and the level.
    """
    return _root(eq, seen, place, lambda f: lambda v: readout(*f(v)) - level)


def minimum(eq: Any, seen: Scan, place: Any) -> tuple[Any, Any]:
    """log c of a minimum of L_test in an interval of the grid, and the second derivative there."""
    return _root(eq, seen, place, lambda f: jax.grad(lambda v: f(v)[1]))


def _root(eq: Any, seen: Scan, place: Any, condition: Callable[[Any], Any]) -> tuple[Any, Any]:
    """A root of a condition made of the losses as functions of log c; its slope there."""
    low, high = seen.at[place], seen.at[place + 1]
    still = jax.lax.stop_gradient(eq)
    frozen = condition(_local(still, high, SCAN))
    frozen_still = lambda v: jax.lax.stop_gradient(jnp.stack(jax.jvp(frozen, (v,), (jnp.ones_like(v),))))
    rising = frozen_still(high)[0] > 0

    def step(_: Any, carry: Any) -> Any:
        low, high, v = carry
        value, slope = frozen_still(v)
        right = (value > 0) == rising
        low, high = jnp.where(right, low, v), jnp.where(right, v, high)
        next_v = v - value / slope
        return low, high, jnp.where((next_v > low) & (next_v < high), next_v, (low + high) / 2)

    *_, v = jax.lax.fori_loop(0, GUARDED, step, (low, high, (low + high) / 2))
    start = jax.lax.stop_gradient(v)
    f = condition(_local(eq, start, FINEST))
    v = start
    for _ in range(2):
        value, slope = jax.jvp(f, (v,), (jnp.ones_like(v),))
        move = -value / slope
        v = v + jnp.clip(move, low - high, high - low)  # flat to rounding: stay in the neighbourhood
    return v, jax.lax.stop_gradient(slope)


def _local(eq: Any, center: Any, count: int) -> Callable[[Any], tuple[Any, Any]]:
    """L_train and L_test as functions of log c, to rounding for c from 0.7 to 1 times e^center and less well beyond."""
    around = jax.lax.stop_gradient(jnp.exp(center))
    pairs = pairs_at(eq, flow(around, count).nodes)
    return lambda v: losses(eq, flow(jnp.exp(v), count, around=around), pairs)[:2]


class Best(NamedTuple):
    """Early stopping in units of c = 2β²τ/ψ_p."""

    c: Any
    c_error: Any
    lower: Any
    upper: Any
    train: Any
    test: Any
    train_limit: Any
    test_limit: Any
    error: Any


@jax.jit
def _best(eq: Any, tolerance: Any) -> Best:
    return best(eq, tolerance, scan(eq))


def best(eq: Any, tolerance: Any, seen: Scan) -> Best:
    """Minimum of L_test and the window around it, from a grid already walked."""
    train_limit, test_limit = limit(eq)
    end = jax.lax.stop_gradient(test_limit)
    turns = (seen.test_slope[:-1] < 0) & (seen.test_slope[1:] >= 0)
    place = jnp.argmin(jnp.where(turns, _lowest(seen), jnp.inf))
    log_c, bend = minimum(eq, seen, place)
    path = [flow(jnp.exp(log_c), n) for n in (FINEST, FINEST - FEWER, COARSE)]
    train, test, error = losses_and_error(eq, *path)
    finite = jnp.any(turns) & (jax.lax.stop_gradient(test) < end - error)
    c = jnp.where(finite, jnp.exp(log_c), jnp.inf)
    train, test = jnp.where(finite, train, train_limit), jnp.where(finite, test, test_limit)
    level = test + tolerance

    def edge(place: Any) -> Any:
        return jnp.exp(crossing(eq, seen, place, lambda _, test: test, level)[0])

    above = seen.test > jax.lax.stop_gradient(level)
    index, bottom = jnp.arange(GRID), jnp.where(finite, place, GRID - 1)
    before = jnp.max(jnp.where(above & (index <= bottom), index, -1))
    after = jnp.min(jnp.where(above & (index > bottom), index, GRID))
    lower = edge(jnp.clip(before, 0, GRID - 2))
    upper = edge(jnp.clip(after - 1, 0, GRID - 2))
    early = jnp.exp(seen.at[0]) * (1.0 - level) / (1.0 - seen.test[0])  # linear before the grid begins
    lower = jnp.where(before >= 0, lower, jnp.maximum(early, 0.0))
    upper = jnp.where((after < GRID), upper, jnp.inf)
    c_error = jnp.where(finite, error / jnp.abs(bend), 0.0)
    return Best(c, c_error, lower, upper, train, test, train_limit, test_limit, error)


def _lowest(seen: Scan) -> Any:
    """The minimum on each interval of the cubic with the values and slopes at its ends."""
    h = seen.at[1] - seen.at[0]
    (a, b), (c, d) = (seen.test[:-1], seen.test[1:]), (h * seen.test_slope[:-1], h * seen.test_slope[1:])
    x = jnp.linspace(0.0, 1.0, 9)[:, None]
    cubic = a * (1 + 2 * x) * (1 - x) ** 2 + b * x**2 * (3 - 2 * x) + c * x * (1 - x) ** 2 - d * x**2 * (1 - x)
    return jnp.min(cubic, axis=0)


@jax.jit
def _onset(eq: Any, threshold: Any) -> tuple[Any, Any]:
    return onset(eq, threshold, scan(eq))


def onset(eq: Any, threshold: Any, seen: Scan) -> tuple[Any, Any]:
    """c at which L_test - L_train first reaches a share of its limit, and its relative error; NaN where it is 0."""
    train_limit, test_limit = limit(eq)
    gap = lambda train, test: test - train
    level = threshold * gap(train_limit, test_limit)
    reached = gap(seen.train, seen.test) >= jax.lax.stop_gradient(level)
    place = jnp.clip(jnp.argmax(reached) - 1, 0, GRID - 2)
    log_c, slope = crossing(eq, seen, place, gap, level)
    path = [flow(jnp.exp(log_c), n) for n in (FINEST, FINEST - FEWER, COARSE)]
    error = losses_and_error(jax.lax.stop_gradient(eq), *jax.lax.stop_gradient(path))[2]
    exists = jax.lax.stop_gradient(level) > 0
    return jnp.where(exists, jnp.exp(log_c), jnp.nan), jnp.where(exists, error / jnp.abs(slope), jnp.inf)
