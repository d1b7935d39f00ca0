"""A training method: its contour, and the share of a mode that it has learnt."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from ..models.model import RandomFeatureModel
from ..numerics.checks import namespace, on_host
from ..numerics.rounding import EPS
from ..numerics.types import Matrix, Real, Reals, Truths, Vector
from ..resolvent.interface import Equations
from .contour import FINEST, Contour, descent, flow, heavy_ball
from .drops import Modes, drop_of, drops_along
from .filters import learned
from .losses import checked, limit, losses_along, losses_and_error


class Method(NamedTuple):
    """A method with JAX formulas: its contour and the share of a mode x that is learnt,
    at arguments along τ; where it has come to its end the arguments are any.
    """

    contour: Callable[..., Contour]
    learned: Callable[..., Any]
    arguments: tuple[Vector, Vector]
    ended: Truths

    def losses(self, eq: Equations, count: int) -> tuple[Vector, Vector, Matrix]:
        return losses_along(eq, self.contour, self.arguments, self.ended, count)

    def drops(self, modes: Modes) -> tuple[Matrix, Matrix]:
        return drops_along(modes, self.learned, self.arguments, self.ended)

    def oscillations(self, lower: Vector, upper: Vector) -> int:
        """Nodes for modes that oscillate; under these methods none does."""
        return 0


def method_of(
    model: RandomFeatureModel, eq: Equations, tau: Reals, rate: Real | None, mu: float
) -> Method | HeavyBall:
    unit = 1.0 / model.time_unit  # c of τ = 1
    xp = namespace(unit, tau, rate)
    tau = xp.ravel(tau)
    ended = tau == np.inf
    tau = xp.where(ended, 0.0, tau)
    if rate is None:
        return flowing(eq, unit * tau, ended)
    steps = xp.round(tau / rate)
    if mu:
        return HeavyBall(unit * rate, xp.where(ended, np.inf, steps), mu)
    return Method(
        descent, _steps_learned, (xp.broadcast_to(unit * rate, steps.shape), steps), ended
    )


def flowing(eq: Equations, c: Vector, ended: Truths) -> Method:
    """Gradient flow to the times c."""
    top = on_host(eq.top)
    return Method(flow, _flow_learned, (c, namespace(top).broadcast_to(top, np.shape(c))), ended)


class HeavyBall(NamedTuple):
    """Steps with momentum; each k has its own contour, so that k and c are known numbers."""

    c: Any
    k: Any
    mu: float

    def losses(self, eq: Equations, count: int) -> tuple[Reals, Reals, Reals]:
        rows = []
        for k in np.asarray(self.k):
            known = np.isfinite(k) and checked(
                partial(heavy_ball, float(self.c), int(k), self.mu), count
            )
            rows.append(losses_and_error(eq, *known) if known else limit(eq))
        train, test, errors = (jnp.stack(column) for column in zip(*rows, strict=True))
        return train, test, errors

    def drops(self, modes: Modes) -> tuple[Any, Any]:
        x, k = (
            np.nan_to_num(np.asarray(self.c * modes.values)),
            np.where(np.isfinite(self.k), self.k, 1e300),
        )
        found = [drop_of(modes, learned(x, float(steps), "momentum", self.mu)) for steps in k]
        drops, errors = (jnp.stack(column) for column in zip(*found, strict=True))
        return drops, errors

    def oscillations(self, lower: Vector, upper: Vector) -> int:
        """Nodes that resolve r_k², a power of two.

        r_k is a polynomial of degree k in λ, bounded up to the limit of stability, and so of degree
        k in the angle ψ of λ = λ_max (1 - cos ψ)/2. The angle θ of a bulk [a, b] has |dψ/dθ| ≤
        √log(b/a). What oscillates falls off as μ^{k/2}; beyond some k it is rounding.
        """
        k = np.asarray(self.k)
        visible = float(np.max(k, where=k < 2 * np.log(EPS) / np.log(self.mu), initial=0.0))
        a, b = np.asarray(lower), np.asarray(upper)
        wide = np.log(b / np.where(a > 0, a, b))
        needed = 4 * visible * np.sqrt(max(1.0, float(np.max(wide, initial=0.0, where=b > 0))))
        return 1 << int(np.ceil(np.log2(max(1.0, needed))))


def _flow_learned(x: Matrix, c: Real, top: Real) -> Matrix:
    return -jnp.expm1(-c * x)


def _steps_learned(x: Matrix, c: Real, k: Real) -> Matrix:
    x = c * x
    log = k * jnp.log1p(-jnp.minimum(x, 2.0 - x))  # of |1 - x|^k
    return jnp.where((x > 1) & (k % 2 == 1), 1.0 + jnp.exp(log), -jnp.expm1(log))


def flow_errors(eq: Equations, c: Vector) -> Vector:
    """Errors of the losses at several c, by programs that every learning curve has compiled."""
    xp = namespace(c)
    return (
        flowing(eq, xp.where(c == np.inf, 0.0, c), c == np.inf).losses(eq, FINEST)[2].max(axis=-1)
    )
