"""How the times to stop at move with the model, to any order.

Each time is a root in v = log c of one of three conditions on (L_train, L_test, dL_test/dv), so
that dv = -(what the model moves of the condition)/(its slope in v). The search is not
differentiated: only the losses are, on the contours and the solutions that it has left behind.
Those move as implicit functions, du = -(∂F/∂u)⁻¹ dF.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from ..numerics.holomorphic import Unknowns, jacobian, residual_at, solve_small
from ..numerics.programs import program
from ..numerics.ruled import ruled
from ..numerics.types import Number, Real, Truths, Vector
from ..resolvent.interface import Equations
from ..resolvent.solver import left_of_origin
from .contour import EARLY, FINEST, flow
from .kernel import Kernel, kernel_of
from .losses import losses, losses_at_end
from .stops import Stops, search_stops


@jax.jit
def _moved(primals: tuple[Any, ...], stop: Stops, tangents: tuple[Any, ...]) -> Stops:
    (eq, _, threshold), (eq_dot, tolerance_dot, threshold_dot) = primals, tangents
    times = jnp.stack([stop.best, stop.lower, stop.upper, stop.onset])
    # where a time is the beginning or the end of training, or that of a grid, it stays
    moves = (times > 0) & (times < jnp.inf) & ~jnp.isnan(stop.slopes)
    used = _finite(eq, moves, times, stop)
    u_dot, by_model, by_time = jax.vmap(partial(_moved_conditions, eq, eq_dot))(*used)
    u_end_dot, (train_limit, test_limit) = _moved_end(eq, eq_dot, stop.u_end)
    test_limit = jnp.where(jnp.isfinite(stop.test_limit), test_limit, 0.0)
    _, untrained = jax.jvp(lambda e: e.untrained, (eq,), (eq_dot,))

    slope = lambda i, a: jnp.where(moves[i], a, 1.0)
    best = -by_model[0, 2] / slope(0, by_time[0, 2])
    at_best = by_model[0, :2] + by_time[0, :2] * best
    ends = jnp.where(stop.best > 0, jnp.stack([train_limit, test_limit]), untrained)
    train, test = jnp.where(moves[0], at_best, ends)
    exceeded = test + tolerance_dot
    lower, upper = ((exceeded - by_model[i, 1]) / slope(i, by_time[i, 1]) for i in (1, 2))
    gap, gap_dot = stop.test_limit - stop.train_limit, test_limit - train_limit
    opened = threshold_dot * jnp.where(moves[3], gap, 0.0) + threshold * gap_dot
    opening = lambda a: a[3, 1] - a[3, 0]
    onset = (opened - opening(by_model)) / slope(3, opening(by_time))
    relative = jnp.stack([best, lower, upper, onset])
    best, lower, upper, onset = jnp.where(moves, jnp.where(moves, times, 0.0) * relative, 0.0)
    return jax.tree.map(jnp.zeros_like, stop)._replace(
        best=best,
        # a window that is narrower than rounding moves with its best time
        lower=jnp.where(stop.lower == stop.best, best, lower),
        upper=jnp.where(stop.upper == stop.best, best, upper),
        onset=onset,
        train=train,
        test=test,
        train_limit=train_limit,
        test_limit=test_limit,
        u=tuple(jnp.where(moves[:, None], a, 0.0) for a in u_dot),
        u_end=u_end_dot,
    )


def _finite(
    eq: Equations, moves: Truths, times: Vector, stop: Stops
) -> tuple[Vector, Vector, Unknowns]:
    # a time that stays is replaced by an early one, so that its numbers are finite where they are
    # multiplied by 0
    frozen = jax.lax.stop_gradient(eq)
    early = EARLY / 10 / frozen.top
    far = jax.vmap(frozen.start)(flow(early, frozen.top, FINEST).nodes)
    u = tuple(jnp.where(moves[:, None], a, b[None]) for a, b in zip(stop.u, far, strict=True))
    around = jax.lax.stop_gradient(jnp.where(moves, stop.around, early))
    return jnp.where(moves, times, early), around, u


def _moved_conditions(
    eq: Equations, eq_dot: Any, c: Real, around: Real, u: Unknowns
) -> tuple[Unknowns, Vector, Vector]:
    # du at the nodes; and d/dmodel and d/d(log c) of both losses and of the slope of L_test, [3]
    path = lambda v: flow(jnp.exp(v), eq.top, FINEST, around=around)
    v, one = jnp.log(c), jnp.ones_like(c)
    nodes = path(v).nodes
    zeta = lambda e, z: z - e.decay - e.origin
    u_dot = jax.vmap(lambda z, *u: _implied(eq, eq_dot, u, lambda e: zeta(e, z)))(nodes, *u)
    kernel, kernel_dot = jax.jvp(lambda e, u: kernel_of(e, path(v), u), (eq, u), (eq_dot, u_dot))

    def conditions(e: Equations, kernel: Kernel, v: Real) -> Vector:
        both, slopes = jax.jvp(lambda v: losses(e, path(v), kernel), (v,), (one,))
        return jnp.stack([*both, slopes[1]])

    of_model = lambda e, kernel: conditions(e, kernel, v)
    _, by_model = jax.jvp(of_model, (eq, kernel), (eq_dot, kernel_dot))
    _, by_time = jax.jvp(partial(conditions, eq, kernel), (v,), (one,))
    return u_dot, by_model, by_time


def _moved_end(eq: Equations, eq_dot: Any, u: Unknowns) -> tuple[Unknowns, Vector]:
    u_dot = _implied(eq, eq_dot, u, lambda e: left_of_origin(e, -e.decay))
    return u_dot, jax.jvp(losses_at_end, (eq, u), (eq_dot, u_dot))[1]


def _implied(
    eq: Equations, eq_dot: Any, u: Unknowns, zeta: Callable[[Equations], Number]
) -> Unknowns:
    _, columns = jacobian(residual_at(eq, zeta(eq)), u)
    _, by_model = jax.jvp(lambda e: e.residual(u, zeta(e)), (eq,), (eq_dot,))
    return tuple(-a for a in solve_small(columns, by_model))


stops = ruled(program(search_stops), _moved)
