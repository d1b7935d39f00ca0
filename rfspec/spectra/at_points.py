"""Density, distribution and quantiles at points, to nearly full precision wherever they are.

The solution at each point is that of the nodes of its bulk, interpolated, and a few Newton steps.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from ..numerics.holomorphic import Unknowns
from ..numerics.programs import program
from ..numerics.types import Matrix, Real, Truth, Vector, Whole
from ..resolvent.interface import Equations
from ..resolvent.solver import solve_near
from .series import FINE, NODES, TABLES, Series, zeta_at
from .support import ON_EDGE, Support, inside_and_distance


def theta_of(lower: Real, upper: Real, zeta: Real) -> Real:
    # the inverse of zeta_at
    hard = lower == 0
    ratio = jnp.log(zeta / jnp.where(hard, upper, lower)) / jnp.log(
        upper / jnp.where(hard, 1.0, lower)
    )
    down = jnp.where(hard, zeta / upper, ratio)
    return 2.0 * jnp.arcsin(jnp.sqrt(jnp.clip(down, 0.0, 1.0)))


def solve_from_nodes(
    eq: Equations, support: Support, series: Series, zeta: Real, inside: Truth = True
) -> Unknowns:
    """Differentiable limit solution at ζ inside a bulk; any root elsewhere, far from the bulks."""
    frozen, series, point = jax.lax.stop_gradient((support, series, zeta))
    k = jnp.sum(frozen.lower <= point) - 1
    x = theta_of(frozen.lower[k], frozen.upper[k], point) / np.pi
    # pieces are ascending
    before = (series.bulk < k) | ((series.bulk == k) & (series.end < x))
    i = jnp.minimum(jnp.sum(before & series.exists), series.bulk.size - 1)
    x = jnp.clip((x - series.begin[i]) / (series.end[i] - series.begin[i]), 0.0, 1.0)
    angle = jnp.where(series.whole[i], x, jnp.arccos(1.0 - 2.0 * x) / np.pi)
    place = angle * NODES - 0.5
    j = jnp.clip(place.astype(int), 0, NODES - 2)
    near = (v[i, j] + (v[i, j + 1] - v[i, j]) * (place - j) for v in series.u)
    far = jax.lax.stop_gradient(eq).start(point + 0j)
    start = tuple(jnp.where(inside, a, b) for a, b in zip(near, far, strict=True))
    return solve_near(eq, start, zeta + 0j, inside=jnp.asarray(inside))


def _inside(eq: Equations, support: Support, series: Series, zeta: Real) -> tuple[Truth, Unknowns]:
    # whether ζ is inside a bulk, and the solution there
    inside, _ = inside_and_distance(*jax.lax.stop_gradient((support, zeta)))
    safe = jnp.where(inside, zeta, -eq.upper_bound)
    return inside, solve_from_nodes(eq, support, series, safe, inside)


@program
def density_at(eq: Equations, support: Support, series: Series, x: Vector) -> Vector:
    def one(zeta: Real) -> Real:
        inside, u = _inside(eq, support, series, zeta)
        return jnp.where(inside, u[0].imag / jnp.pi, 0.0)

    return jax.vmap(one)(x - eq.origin)


@program
def cdf_at(eq: Equations, support: Support, series: Series, x: Vector) -> Vector:
    # from the solution at ζ inside a bulk, and a sum of masses elsewhere
    def one(zeta: Real) -> Real:
        inside, u = _inside(eq, support, series, zeta)
        upper, point = jax.lax.stop_gradient((support.upper, zeta))
        atom = jnp.where(zeta >= 0, eq.atom_mass, 0.0)
        below = atom + jnp.nansum(jnp.where(point >= upper - ON_EDGE * point, support.mass, 0))
        safe = jnp.where(inside, zeta, -eq.upper_bound)
        return jnp.where(inside, 1.0 - eq.tail(u, safe), jnp.minimum(below, 1.0))

    return jax.vmap(one)(x - eq.origin)


def cells_of(series: Series) -> tuple[Matrix, Matrix]:
    """The distribution on each piece, and its slope, on an even grid of cells."""
    whole, values = series.whole[:, None], series.theta_span[:, None] * series.values
    slope, below = (jnp.where(whole, values @ by[1].T, values @ by[0].T) for by in TABLES)
    return below, slope


@partial(program, static_argnames="polish")
def quantile_at(
    eq: Equations, support: Support, series: Series, u: Vector, *, polish: bool
) -> Vector:
    """The inverse of the distribution.

    `polish` adds two Newton steps with the exact distribution and density.
    """
    below, slope = cells_of(series)
    mass = series.mass
    start = eq.atom_mass + jnp.cumsum(mass) - mass
    scale = (mass / below[:, -1])[:, None]
    table = jnp.where(
        series.exists[:, None], start[:, None] + scale * below, 2.0
    ).ravel()  # ascending over all pieces
    slopes = (scale * slope).ravel() / FINE
    last = jnp.maximum(jnp.sum(series.exists) - 1, 0)
    lower, upper = series.edges(support)

    def one(u: Real) -> Real:
        cell = jnp.searchsorted(table, u, side="right") - 1
        i = jnp.clip(cell // (FINE + 1), 0, last)
        j = jnp.clip(cell - i * (FINE + 1), 0, FINE - 1)
        cell = i * (FINE + 1) + j

        def bisect(_: Whole, ends: tuple[Real, Real]) -> tuple[Real, Real]:
            low, high = ends
            x = (low + high) / 2
            hermite = (  # cubic through both ends of the cell
                table[cell] * (1 + 2 * x) * (1 - x) ** 2
                + table[cell + 1] * x**2 * (3 - 2 * x)
                + slopes[cell] * x * (1 - x) ** 2
                - slopes[cell + 1] * x**2 * (1 - x)
            )
            return jnp.where(hermite < u, x, low), jnp.where(hermite < u, high, x)

        low, high = jax.lax.fori_loop(0, 45, bisect, (0.0, 1.0))
        theta = lambda x: np.pi * series.begin[i] + series.theta_span[i] * x
        in_piece = lambda x: zeta_at(lower[i], upper[i], theta(x))[0]
        zeta = in_piece((j + (low + high) / 2) / FINE)
        if polish:
            zeta = jax.lax.fori_loop(
                0, 2, lambda _, z: towards_quantile(eq, support, series, z, u), zeta
            )
        edge = jnp.where(u >= 1.0, upper[i], jnp.where(u <= start[i], in_piece(0.0), zeta))
        return jnp.where((u <= eq.atom_mass) & (eq.atom_mass > 0), 0.0, edge)

    return eq.origin + jax.vmap(one)(u)


def towards_quantile(eq: Equations, support: Support, series: Series, zeta: Real, u: Real) -> Real:
    # one Newton step, not taken where it would leave the neighbourhood
    inside, distance = inside_and_distance(support, zeta)
    solution = solve_from_nodes(eq, support, series, zeta)
    step = (1.0 - eq.tail(solution, zeta) - u) / (solution[0].imag / jnp.pi)
    return jnp.where(inside & (jnp.abs(step) < 0.1 * distance), zeta - step, zeta)
