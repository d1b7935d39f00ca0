r"""The weight decay of the smallest exact test loss, at a given training time or at the best one.

Weight decay γ adds γ' = γ/ω² to every eigenvalue that training sees. The test loss and its slope in
log γ' are evaluated on a grid from far below the slowest mode to far above the fastest, and the
deepest minimum between two of its points is refined. Beyond arXiv 2505.17638; arXiv 2609.26392 has
the best decay at the end of training for Σ = I.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..files.tables import LOSS, Table
from ..models.gaussian_equivalent import gaussian_equivalent
from ..models.model import RandomFeatureModel
from ..models.targets import combination
from ..numerics.checks import concrete
from ..numerics.programs import program
from ..numerics.types import Given, Real, Vector
from ..resolvent.equations import averaged_equations
from ..resolvent.interface import Equations
from ..resolvent.solver import ConvergenceError, solve_inside, solve_left
from .arguments import training_times
from .contour import FINEST, flow
from .exact_score import score_error
from .kernel import kernel_of
from .losses import at_times, flow_losses, limit, losses_at_end, until_ended
from .moving_stops import stops

# decays from the slowest mode over FAR to the fastest one times FAR
FAR, GRID = 1e3, 48
# steps of the refinement, and how many times its result can be differentiated
STEPS, ORDERS = 24, 2
# where the slowest mode is 0: the smallest decay in units of the fastest
LEAST = 1e-12
# half the distance of two slopes that tell the curvature
NEAR = 1e-3
# of the stops, which do not matter here
TOLERANCE, THRESHOLD = 0.01, 0.1
# when the loss is asked for: at the end of training, at a given time, at the best one
END, GIVEN, BEST = "end", "given", "best"


class BestDecay(Table, eqx.Module):
    """The best weight decay of a model.

    Attributes
    ----------
    weight_decay : float
        γ* ≥ 0, in the units of ``RandomFeatureModel.weight_decay``; 0 where decay only harms, ∞
        where training does.
    tau : float
        The training time: the given one, or the best one under that decay.
    test, train, score_error : float
        Losses there.
    without : float
        Test loss at the same time, or at the best one, without weight decay.
    error : float
        Estimated absolute error of the losses.
    weight_decay_error : float
        Estimated relative error of γ*.
    model : RandomFeatureModel
        The model with this weight decay; without any where γ* is ∞.
    """

    weight_decay: Real
    tau: Real
    test: Real
    train: Real
    score_error: Real
    without: Real
    error: Real
    weight_decay_error: Real
    model: RandomFeatureModel

    def columns(self) -> dict[str, Any]:
        """The decay, the time and the losses, with errors, by name: numbers."""
        names = ("weight_decay", "weight_decay_error", "tau", "train", "test", "score_error")
        return {name: getattr(self, name) for name in (*names, "without", "error")}

    def units(self) -> dict[str, str]:
        """Units by name; the error of the decay is relative."""
        return super().units() | {"without": LOSS, "error": LOSS}


class Losses(NamedTuple):
    """Test loss, train loss, the time c and an error, under a weight decay."""

    test: Real
    train: Real
    c: Real
    error: Real


class Found(NamedTuple):
    """The best losses, γ' and its relative error, and the test loss without decay."""

    best: Losses
    decay: Real
    decay_error: Real
    without: Real


def best_weight_decay(model: RandomFeatureModel, tau: Given | None = np.inf) -> BestDecay:
    r"""The weight decay γ* of the smallest exact test loss.

    .. math:: γ^* = \operatorname{argmin}_{γ ≥ 0} L_{test}(τ; γ)

    under gradient flow; with ``tau=None`` of min over τ of L_test, jointly with the best time.

    Parameters
    ----------
    model : RandomFeatureModel
        Its own weight decay does not matter.
    tau : float, optional
        Training time 0 < τ ≤ ∞; None: the best one for each weight decay.

    Returns
    -------
    BestDecay
        ``.weight_decay .tau .test .train .score_error .without .error .weight_decay_error .model``

    Raises
    ------
    ValueError
        If the time is not a single positive number.
    ConvergenceError
        If the losses of a single model are not finite.

    Notes
    -----
    Beyond arXiv 2505.17638. γ* is an implicit function of the model: `jax.grad` is exact, twice,
    and `jax.vmap` over models works.

    Examples
    --------
    >>> import rfspec as rf
    >>> model = rf.RandomFeatureModel(psi_p=64.0, psi_n=8.0, t=0.01)
    >>> best = rf.best_weight_decay(model)
    >>> print(f"{best.weight_decay:.5f} {best.test:.5f} {best.without:.5f}")
    0.12035 0.98170 25.52589
    """
    model.check_finite_width("the best weight decay")
    time, (at, c) = model.time_unit, _asked(model, tau)
    eq = averaged_equations(model.replace(weight_decay=0.0), gaussian_equivalent(model))
    found = _search(eq, c, at)
    decay = found.decay * combination(model.target, model.process).pace
    best = BestDecay(
        decay,
        found.best.c * time,
        found.best.test,
        found.best.train,
        score_error(model, found.best.test),
        found.without,
        found.best.error,
        found.decay_error,
        model.replace(weight_decay=jnp.where(jnp.isfinite(decay), decay, 0.0)),
    )
    if concrete(best.test) and np.ndim(best.test) == 0 and not np.isfinite(float(best.test)):
        raise ConvergenceError(f"the losses of {model} did not converge: move a parameter a little")
    return best


def _asked(model: RandomFeatureModel, tau: Given | None) -> tuple[str, Real]:
    # when, and the time in units of c
    if tau is None:
        return BEST, np.inf
    time = training_times(tau)
    if np.ndim(time) or (concrete(time) and not time > 0):
        raise ValueError(f"tau must be a single positive number (inf is allowed), got {tau!r:.100}")
    return END if concrete(time) and np.isinf(time) else GIVEN, time / model.time_unit


def under(eq: Equations, decay: Real) -> Equations:
    """The same equations with another weight decay."""
    decay = jnp.asarray(decay, float)
    finer = getattr(eq, "finer", None)
    if finer is not None:
        eq = eqx.tree_at(lambda e: e.finer, eq, under(finer, decay))
    return eqx.tree_at(lambda e: e.decay, eq, decay)


def _losses_under(eq: Equations, decay: Real, c: Real, at: str) -> Losses:
    eq = under(eq, decay)
    if at == BEST:
        found = stops(eq, TOLERANCE, THRESHOLD)
        return Losses(found.test, found.train, found.best, found.errors[0])
    train, test, errors = limit(eq)
    if at == END:
        return Losses(test, train, c, jnp.max(errors))
    before = flow_losses(eq, jnp.where(c < jnp.inf, c, 0.0))
    train, test, error = (
        jnp.where(c < jnp.inf, a, b)
        for a, b in zip(before, (train, test, jnp.max(errors)), strict=True)
    )
    return Losses(test, train, c, error)


def _test_loss(eq: Equations, c: Real, at: str) -> Real:
    # alone, at the end of training or at c
    at_end = losses_at_end(eq, solve_left(eq, -eq.decay))[1]
    if at == END:
        return at_end
    path = flow(until_ended(eq, jnp.where(c < jnp.inf, c, 0.0)), eq.top, FINEST).at_one_time
    u = jax.vmap(partial(solve_inside, eq))(path.nodes - eq.decay - eq.origin)
    before = at_times(eq, path, kernel_of(eq, path, u))[0, 1]
    return jnp.where(c < jnp.inf, before, at_end)


def _loss(eq: Equations, x: Real, c: Real, at: str) -> Real:
    # under the weight decay eˣ
    eq = under(eq, jnp.exp(x))
    return stops(eq, TOLERANCE, THRESHOLD).test if at == BEST else _test_loss(eq, c, at)


def _slope(f: Callable[[Real], Real], x: Real) -> Real:
    # forwards, which compiles faster than backwards
    return jax.jvp(f, (x,), (jnp.ones_like(x),))[1]


def _slope_under(eq: Equations, x: Real, c: Real, at: str) -> Real:
    # of L_test in log γ; where the time is the best one it need not move
    if at == BEST:
        c = jax.lax.stop_gradient(stops(under(eq, jnp.exp(x)), TOLERANCE, THRESHOLD).best)
    return _slope(lambda x: _test_loss(under(eq, jnp.exp(x)), c, at), x)


@partial(program, static_argnames=("at",))
def _minimum(eq: Equations, c: Real, *, at: str) -> tuple[Real, Real]:
    # log γ of the smallest test loss, and the curvature there
    grid = _grid(eq)
    losses = jax.lax.map(lambda x: _loss(eq, x, c, at), grid)
    i = jnp.clip(jnp.nanargmin(losses), 1, GRID - 2)
    slope = lambda x: _slope_under(eq, x, c, at)
    x = _zero(slope, grid[i - 1], grid[i + 1])
    curvature = (slope(x + NEAR) - slope(x - NEAR)) / (2 * NEAR)
    x = jax.lax.fori_loop(0, ORDERS, lambda _, x: x - slope(x) / curvature, x)
    return x, curvature


def _implicit(eq: Equations, x: Real, c: Real, at: str) -> Real:
    # x as a function of the model, with its derivatives
    slope = lambda x, eq: _slope(lambda x: _loss(eq, x, c, at), x)
    frozen, x = jax.lax.stop_gradient((eq, x))
    curvature = jax.lax.stop_gradient(_slope(lambda x: slope(x, frozen), x))
    for _ in range(ORDERS):
        x = x - slope(x, eq) / curvature
    return x


@partial(program, static_argnames=("at",))
def _with_and_without(eq: Equations, decay: Real, c: Real, *, at: str) -> tuple[Losses, Losses]:
    # one after another with one program
    found = jax.lax.map(
        lambda decay: _losses_under(eq, decay, c, at), jnp.stack([decay, 0.0 * decay])
    )
    return tuple(jax.tree.map(lambda a, i=i: a[i], found) for i in (0, 1))


def _search(eq: Equations, c: Real, at: str) -> Found:
    frozen, time = jax.lax.stop_gradient((eq, c))
    x, curvature = _minimum(frozen, time, at=at)
    if not concrete(eq, c):
        x = _implicit(eq, x, c, at)
    inside, without = _with_and_without(eq, jnp.exp(x), c, at=at)
    nothing = Losses(eq.untrained, eq.untrained, c, 0.0)
    # a minimum, no decay, or so much that nothing is learnt
    tests = jnp.stack([inside.test, without.test, nothing.test])
    i = jnp.argmin(jnp.where(jnp.isnan(tests), jnp.inf, tests))
    choose = lambda *a: jnp.stack([jnp.asarray(v, float) for v in a])[i]
    best = jax.tree.map(choose, inside, without, nothing)
    error = jax.lax.stop_gradient(choose(inside.error / jnp.abs(curvature), 0.0, 0.0))
    return Found(best, choose(jnp.exp(x), 0.0, jnp.inf), error, without.test)


def _grid(eq: Equations) -> Vector:
    slowest = jnp.maximum(eq.slowest_mode, LEAST * eq.fastest_mode)
    return jnp.linspace(jnp.log(slowest / FAR), jnp.log(FAR * eq.fastest_mode), GRID)


def _zero(f: Callable[[Real], Real], low: Real, high: Real) -> Real:
    """Where f, negative at `low` and positive at `high`, is 0: by secants, of which an end that
    stays counts half.
    """

    def step(_: Any, ends: tuple[Real, Real, Real, Real]) -> tuple[Real, Real, Real, Real]:
        low, high, below, above = ends
        flat = below == above
        x = (low * above - high * below) / jnp.where(flat, 1.0, above - below)
        x = jnp.where(flat, low, x)
        y = f(x)
        left = y < 0
        return (
            jnp.where(left, x, low),
            jnp.where(left, high, x),
            jnp.where(left, y, below / 2),
            jnp.where(left, above / 2, y),
        )

    low, high, below, above = jax.lax.fori_loop(0, STEPS, step, (low, high, f(low), f(high)))
    return jnp.where(jnp.abs(below) < jnp.abs(above), low, high)
