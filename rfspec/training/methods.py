"""A training method is its contour, and the share of a mode that it has learnt."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from ..models.model import RandomFeatureModel
from ..numerics.checks import concrete, namespace, on_host
from ..numerics.rounding import EPS
from ..numerics.types import Matrix, Real, Reals, Truths, Vector
from ..resolvent.interface import Equations
from .contour import EARLY, SPREAD, Contour, descent, flow, heavy_ball
from .drops import Modes, drop_of, drops_along
from .filters import learned
from .losses import LOSSES, until_ended
from .rows import Measure, Rows, measured_along, with_checks

# times of a row, at most
TIMES = 16


class Method(NamedTuple):
    """A method with JAX formulas, contour(*row, count) and learned(x, *arguments) of modes x.

    The arguments are vectors along τ. Where training has `ended` they do not matter.
    """

    contour: Callable[..., Contour]
    rows: Rows
    learned: Callable[..., Any]
    arguments: tuple[Vector, Vector]
    ended: Truths

    def losses(self, eq: Equations, count: int) -> tuple[Vector, Vector, Matrix]:
        return self.measured(LOSSES, eq, count)

    def measured(self, measure: Measure, eq: Any, count: int) -> tuple[Any, ...]:
        return measured_along(measure, eq, self.contour, self.rows, self.ended, count)

    def drops(self, modes: Modes) -> tuple[Matrix, Matrix]:
        return drops_along(modes, self.learned, self.arguments, self.ended)

    def oscillations(self, lower: Vector, upper: Vector) -> int:
        # no mode oscillates under these methods
        return 0


def method_of(
    model: RandomFeatureModel, eq: Equations, tau: Reals, step: Real | None, mu: float
) -> Method | HeavyBall:
    # c of τ = 1
    unit = 1.0 / model.time_unit
    xp = namespace(unit, tau, step)
    tau = xp.ravel(tau)
    ended = tau == np.inf
    tau = xp.where(ended, 0.0, tau)
    if step is None:
        return _gradient_flow(eq, unit * tau, ended)
    steps = xp.round(tau / step)
    if mu:
        return HeavyBall(unit * step, xp.where(ended, np.inf, steps), mu)
    arguments = xp.broadcast_to(unit * step, steps.shape), steps
    return Method(descent, _alone(*arguments), _learned_by_descent, arguments, ended)


def _alone(*arguments: Vector) -> Rows:
    return Rows(tuple(a[:, None] for a in arguments), np.arange(arguments[0].size))


def _gradient_flow(eq: Equations, c: Vector, ended: Truths) -> Method:
    top = on_host(eq.top)
    tops = namespace(top).broadcast_to(top, np.shape(c))
    shown = until_ended(eq, c)
    rows = _shared(shown, top) if concrete(shown, top) else _alone(shown, tops, shown)
    return Method(_flow_around, rows, _learned_by_flow, (c, tops), ended)


def _flow_around(c: Real, top: Real, around: Real, count: int) -> Contour:
    return flow(c, top, count, around=around)


def _shared(c: Vector, top: Real) -> Rows:
    # all early times share a circle; of the others those within a factor of SPREAD of the latest
    # share its contour
    order = np.argsort(-c)
    latest_first, rows, begin = c[order], [], 0
    while begin < c.size:
        latest = latest_first[begin]
        earliest = 0.0 if latest * top < EARLY else max(latest / SPREAD, EARLY / top)
        within = int(np.searchsorted(-latest_first, -earliest, side="right"))
        rows.append(np.arange(begin, min(within, begin + TIMES)))
        begin = rows[-1][-1] + 1
    of_rows = np.stack([np.pad(row, (0, TIMES - row.size), mode="edge") for row in rows])
    around = np.broadcast_to(latest_first[of_rows[:, :1]], of_rows.shape)
    place = np.empty(c.size, int)
    place[order] = np.concatenate([TIMES * i + np.arange(row.size) for i, row in enumerate(rows)])
    return Rows((latest_first[of_rows], np.full(of_rows.shape, top), around), place)


class HeavyBall(NamedTuple):
    """Steps with momentum μ; each k has its own contour, so that k and c are known numbers."""

    c: Real
    k: Vector
    mu: float

    def losses(self, eq: Equations, count: int) -> tuple[Reals, Reals, Reals]:
        return self.measured(LOSSES, eq, count)

    def measured(self, measure: Measure, eq: Any, count: int) -> tuple[Any, ...]:
        path = lambda k: partial(heavy_ball, float(self.c), int(k), self.mu)
        each = [
            measure.at_one_time(eq, with_checks(path(k), count))
            if np.isfinite(k)
            else measure.at_end(eq)
            for k in np.asarray(self.k)
        ]
        return tuple(jnp.stack(column) for column in zip(*each, strict=True))

    def drops(self, modes: Modes) -> tuple[Any, Any]:
        x = np.nan_to_num(np.asarray(self.c * modes.values))
        steps = np.where(np.isfinite(self.k), self.k, 1e300)
        rows = [drop_of(modes, learned(x, float(k), "momentum", self.mu)) for k in steps]
        drops, errors = (jnp.stack(column) for column in zip(*rows, strict=True))
        return drops, errors

    def oscillations(self, lower: Vector, upper: Vector) -> int:
        """Nodes that resolve r_k² on every bulk, a power of two.

        r_k is a polynomial of degree k in λ that is bounded up to the limit of stability. So it has
        degree k in the angle ψ of λ = λ_max (1 - cos ψ)/2. The angle θ of a bulk [a, b] has
        |dψ/dθ| ≤ √log(b/a). What oscillates falls off as μ^{k/2}; beyond some k it is rounding.
        """
        k = np.asarray(self.k)
        visible = float(np.max(k, where=k < 2 * np.log(EPS) / np.log(self.mu), initial=0.0))
        a, b = np.asarray(lower), np.asarray(upper)
        wide = np.log(b / np.where(a > 0, a, b))
        needed = 4 * visible * np.sqrt(max(1.0, float(np.max(wide, initial=0.0, where=b > 0))))
        return 1 << int(np.ceil(np.log2(max(1.0, needed))))


def _learned_by_flow(x: Matrix, c: Real, top: Real) -> Matrix:
    return -jnp.expm1(-c * x)


def _learned_by_descent(x: Matrix, c: Real, k: Real) -> Matrix:
    x = c * x
    # of |1 - x|^k
    log = k * jnp.log1p(-jnp.minimum(x, 2.0 - x))
    return jnp.where((x > 1) & (k % 2 == 1), 1.0 + jnp.exp(log), -jnp.expm1(log))
