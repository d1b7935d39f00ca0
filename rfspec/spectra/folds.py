"""A fold of the equations, F = 0 and det ∂F/∂u = 0 at a real ζ: an edge,
with its derivatives and its error.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ..numerics.holomorphic import (
    Unknowns,
    fold,
    fold_step,
    jacobian,
    null_vectors,
    sensitivity,
    solve_small,
)
from ..numerics.rounding import EPS
from ..numerics.types import Real, Reals, Truth, Truths
from ..resolvent.interface import Equations
from ..resolvent.near_ends import Chart

FOUND, SETTLED = 1e-6, 1e-10  # last relative step of a fold


class Fold(NamedTuple):
    """Near which branch point it lies, its unknowns there, ζ; whether it was found,
    and whether it is settled.
    """

    near: Any
    w: Unknowns
    zeta: Reals
    found: Truths
    settled: Truths


def fold_from(eq: Equations, u: Unknowns, x: Real) -> Fold:
    """A fold by Newton's method, found if it is an edge.

    Off the support every unknown rises with ζ on the physical sheet and on no other, so that at an
    edge, where du/dζ diverges along the null vector of ∂F/∂u, its entries have one sign. At an end
    of the law they rise just off it.
    """
    near = eq.place(u)
    chart = eq.around(near)
    w, z, step = fold(chart, chart.of(u), x)
    along, _ = null_vectors(jacobian(lambda *w: chart.residual(w, z), w)[1])
    change = jnp.sign(jnp.stack(jax.jvp(chart.back, (w,), (tuple(along),))[1]))
    physical = jnp.where(
        chart.at_the_end(w),
        _rises(chart, chart.off_the_end(w), z),
        jnp.abs(change.sum()) == change.size,
    )
    found = (step < FOUND) & physical
    return Fold(near, w, z, found, found & (step < SETTLED))


def _rises(chart: Chart, w: Unknowns, zeta: Real) -> Truth:
    """Whether every unknown of a real solution rises with ζ."""
    _, columns = jacobian(lambda *w: chart.residual(w, zeta), w)
    _, by_zeta = jax.jvp(lambda z: chart.residual(w, z), (zeta,), (jnp.ones_like(zeta),))
    _, fall = jax.jvp(chart.back, (w,), (solve_small(columns, by_zeta),))
    return jnp.max(jnp.stack(fall)) < 0


def implicit_fold(eq: Equations, near: Any, w: Unknowns, zeta: Real) -> tuple[Real, Real, Real]:
    """An edge as a differentiable function of the parameters, its estimated relative error,
    and what of it is rounding.

    To first order an edge moves by covector·dF/covector·∂F/∂ζ, with the left null vector of ∂F/∂u;
    dF is what rounding and the errors of the numbers in the equations do to F.
    """
    w, zeta = jax.lax.stop_gradient((w, zeta))
    v, polished = jax.lax.fori_loop(0, 2, lambda _, v: fold_step(eq.around(near), *v), (w, zeta))
    still, v, z = jax.lax.stop_gradient((eq, v, polished))
    chart = still.around(near)
    _, covector = null_vectors(jacobian(lambda *w: chart.residual(w, z), v)[1])
    _, by_z = jax.jvp(lambda z: chart.residual(v, z), (z,), (jnp.ones_like(z),))
    moved = sensitivity(still, lambda e: e.around(near).residual(v, z), covector)
    shift = moved / jnp.abs(jnp.sum(covector * jnp.stack(by_z)) * z)
    rounding = jnp.abs(z / zeta - 1.0) + 8 * EPS + 4 * EPS * shift
    return polished, rounding + still.accuracy * shift, rounding
