"""An edge as a fold of the equations, F = 0 and det ∂F/∂u = 0 at a real ζ.

It comes with its derivatives and its error.
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

# last relative Newton step of a fold that was found, and of one that is settled
FOUND, SETTLED = 1e-6, 1e-10


class Fold(NamedTuple):
    """A fold: ζ, the unknowns w of the chart there, and how far it can be trusted."""

    # the branch point that the chart belongs to; None if w = u
    branch_point: Any
    w: Unknowns
    zeta: Reals
    # whether it is an edge, and whether Newton's method has settled on it
    is_edge: Truths
    settled: Truths


def fold_from(eq: Equations, u: Unknowns, x: Real) -> Fold:
    """The fold to which Newton's method leads from u at ζ = x.

    Off the support every unknown rises with ζ on the physical sheet, and on no other. At an edge
    du/dζ diverges along the null vector of ∂F/∂u, whose entries therefore have one sign. At an end
    of the law the unknowns have to rise just off it.
    """
    branch_point = eq.nearest_branch_point(u)
    chart = eq.chart_near(branch_point)
    w, z, step = fold(chart, chart.from_u(u), x)
    along, _ = null_vectors(jacobian(lambda *w: chart.residual(w, z), w)[1])
    change = jnp.sign(jnp.stack(jax.jvp(chart.to_u, (w,), (tuple(along),))[1]))
    physical = jnp.where(
        chart.at_the_end(w),
        _all_unknowns_rise(chart, chart.off_the_end(w), z),
        jnp.abs(change.sum()) == change.size,
    )
    is_edge = (step < FOUND) & physical
    return Fold(branch_point, w, z, is_edge, is_edge & (step < SETTLED))


def _all_unknowns_rise(chart: Chart, w: Unknowns, zeta: Real) -> Truth:
    _, columns = jacobian(lambda *w: chart.residual(w, zeta), w)
    _, by_zeta = jax.jvp(lambda z: chart.residual(w, z), (zeta,), (jnp.ones_like(zeta),))
    _, fall = jax.jvp(chart.to_u, (w,), (solve_small(columns, by_zeta),))
    return jnp.max(jnp.stack(fall)) < 0


def implicit_fold(
    eq: Equations, branch_point: Any, w: Unknowns, zeta: Real
) -> tuple[Real, Real, Real]:
    """A differentiable edge, its estimated relative error, and what of that is rounding.

    To first order an edge moves by c·dF/c·∂F/∂ζ, with c the left null vector of ∂F/∂u. dF is what
    rounding and the errors of the numbers in the equations do to F.
    """
    w, zeta = jax.lax.stop_gradient((w, zeta))
    step = lambda _, v: fold_step(eq.chart_near(branch_point), *v)
    v, polished = jax.lax.fori_loop(0, 2, step, (w, zeta))
    frozen, v, z = jax.lax.stop_gradient((eq, v, polished))
    chart = frozen.chart_near(branch_point)
    _, covector = null_vectors(jacobian(lambda *w: chart.residual(w, z), v)[1])
    _, by_z = jax.jvp(lambda z: chart.residual(v, z), (z,), (jnp.ones_like(z),))
    moved = sensitivity(frozen, lambda e: e.chart_near(branch_point).residual(v, z), covector)
    shift = moved / jnp.abs(jnp.sum(covector * jnp.stack(by_z)) * z)
    rounding = jnp.abs(z / zeta - 1.0) + 8 * EPS + 4 * EPS * shift
    return polished, rounding + frozen.accuracy * shift, rounding
