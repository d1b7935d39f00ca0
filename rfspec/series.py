r"""A cosine series of each bulk, for quantiles, moments and samples.

With ζ = ζ_a (ζ_b/ζ_a)^{(1 - cos θ)/2} on a bulk [ζ_a, ζ_b], soft and hard edges alike leave ρ dζ/dθ smooth and even in
θ, so that its cosine coefficients fall off geometrically, unless the bulk is about to split.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .holomorphic import Unknowns, condition, implicit, newton_step
from .solver import EPS, solve_real_axis
from .support import Support, depth

COARSE = 16  # nodes that tell a condition
NEWTON = 10
HOLE = 1e-9  # weight of a node, relative to others on both sides, that is none


class Series(NamedTuple):
    """Per bulk: cosine coefficients of ρ dζ/dθ, and what they miss of the mass with their last terms."""

    cosines: Any
    error: Any


def place(lower: Any, upper: Any, theta: Any) -> tuple[Any, Any, Any, Any]:
    """ζ(θ), dζ/dθ and the distances to both edges, free of cancellation; linear from a hard edge at 0."""
    hard = lower == 0
    log_ratio = jnp.log(upper / jnp.where(hard, upper, lower))
    down, up = jnp.sin(theta / 2) ** 2, jnp.cos(theta / 2) ** 2
    zeta = jnp.where(hard, upper * down, lower * jnp.exp(log_ratio * down))
    slope = jnp.where(hard, upper, zeta * log_ratio) * jnp.sin(theta) / 2
    left = jnp.where(hard, zeta, lower * jnp.expm1(log_ratio * down))
    right = jnp.where(hard, upper * up, -upper * jnp.expm1(-log_ratio * up))
    return zeta, slope, left, right


def nodes_of(lower: Any, upper: Any, nodes: int) -> tuple[Any, Any, Any]:
    """ζ, dζ/dθ and continuation floors at the midpoints θ_j = (j + ½)π/nodes of a bulk."""
    zeta, slope, left, right = place(lower, upper, (jnp.arange(nodes) + 0.5) * jnp.pi / nodes)
    return zeta, slope, jax.lax.stop_gradient(0.02 * jnp.minimum(left, right))


class Resolved(NamedTuple):
    """One bulk on its nodes: coefficients a_k of ρ dζ/dθ = a_0/2 + Σ a_k cos kθ; the loss drop with its error.

    `hole`: whether there are nodes without density, which lie in a gap that the search has missed. `u`: solutions at
    the nodes; `sound`: whether all of them are the physical ones.
    """

    cosines: Any
    drop: Any
    drop_error: Any
    hole: Any
    u: Unknowns
    sound: Any


def followed(eq: Any, zeta: Any, near: Unknowns) -> tuple[Unknowns, Any]:
    """Solutions at the nodes ζ from those at fewer nodes of the same bulk, and whether all of them are physical.

    They are where Newton's method has settled with all imaginary parts positive: inside of a bulk only one solution is.
    """
    here, there = ((jnp.arange(size) + 0.5) / size for size in (zeta.size, near[0].size))
    between = lambda v: jnp.interp(here, there, v.real) + 1j * jnp.interp(here, there, v.imag)

    def settle(z: Any, *u: Any) -> tuple[Unknowns, Any]:
        step = lambda v: newton_step(lambda *w: eq.residual(w, z + 0j), v)
        before = jax.lax.fori_loop(0, NEWTON - 1, lambda _, v: step(v), u)
        after = step(before)
        last = jnp.max(jnp.stack([jnp.abs(a - b) / a.imag for a, b in zip(after, before, strict=True)]))
        return after, (last < 1e-6) & jnp.all(jnp.stack([v.imag > 0 for v in after]))

    u, settled = jax.vmap(settle)(zeta, *map(between, near))
    return u, jnp.all(settled)


def resolve(
    eq: Any, lower: Any, upper: Any, edge_error: Any, mass: Any, near: Unknowns | None = None, *, nodes: int
) -> Resolved:
    r"""Density and loss drop of a bulk [ζ_a, ζ_b], whose edges have relative errors and whose mass is known.

    The drop ∫ dν(λ) (λ + 2γ')/(λ + γ')² under weight decay γ', with ν the measure of what U's modes explain, is a sum
    of positive terms. Its error is what the same nodes miss of the mass; the next coefficients of its own series, at
    the rate at which they have fallen; the errors of the edges; and its condition, taken between fixed edges, where
    the integrand vanishes.
    """
    zeta, slope, floor = nodes_of(lower, upper, nodes)
    u, sound = (jax.vmap(partial(solve_real_axis, eq))(zeta, floor), True) if near is None else followed(eq, zeta, near)
    weight = u[0].imag / jnp.pi * slope
    around = jnp.minimum(jax.lax.cummax(weight), jax.lax.cummax(weight, reverse=True))
    hole = jnp.any((weight < HOLE * around) & (around > 0))

    def density(e: Any, u: Any, zeta: Any) -> Any:
        value = e.origin + zeta
        return e.explained(e.at(u))[0].imag / jnp.pi * (value + 2.0 * e.decay) / (value + e.decay) ** 2

    terms = jax.vmap(lambda *a: density(eq, a[1:], a[0]))(zeta, *u) * slope
    cosines, drop = jax.scipy.fft.dct(weight) / nodes, jnp.pi * jnp.mean(terms)

    still, u, zeta, slope, terms, weight = jax.lax.stop_gradient((eq, u, zeta, slope, terms, weight))
    step = nodes // COARSE
    few = lambda a: a[step // 2 :: step][:COARSE]

    def sum_of_few(e: Any) -> Any:
        each = lambda z, *u: density(e, implicit(e, u, z + 0j), z)
        return jnp.pi * jnp.mean(jax.vmap(each)(few(zeta), *map(few, u)) * few(slope))

    moved = condition(still, sum_of_few)
    last = _last(jax.scipy.fft.dct(terms) / nodes)
    size = jnp.pi * jnp.mean(jnp.abs(terms))
    next_ones = 10.0 * last * jnp.minimum(1.0, last / size)
    missed = jnp.abs(jnp.pi * jnp.mean(weight) / mass - 1.0)
    ends = jnp.sum(edge_error * jnp.stack([lower, upper])) / (upper - lower)
    error = jnp.where(size > 0, (missed + ends) * size + next_ones, 0.0) + (4 * EPS + still.accuracy) * moved
    return Resolved(cosines, drop, jax.lax.stop_gradient(error), hole, u, sound)


def _last(cosines: Any) -> Any:
    """Size of the last eighth of the terms of a series."""
    return 2 * jnp.max(jnp.abs(cosines[..., -(cosines.shape[-1] // 8) :]), axis=-1)


def missing_of(cosines: Any, mass: Any) -> Any:
    """Error of the coefficients of one bulk: mass that they miss, and the size of the last eighth of them."""
    return _last(cosines) + jnp.abs(jnp.pi / 2 * cosines[..., 0] - mass)


@jax.jit
def series_of(support: Support, cosines: Any) -> Series:
    """The coefficients with their error."""
    mass = jnp.nan_to_num(support.mass)
    return Series(cosines, jax.lax.stop_gradient(jnp.where(mass > 0, missing_of(cosines, mass), 0.0)))


@jax.jit
def weights_of(support: Support, series: Series) -> tuple[Any, Any]:
    """Masses at the nodes of each bulk, and the nodes; NaN where there is no bulk."""
    nodes = series.cosines.shape[1]
    zeta = jax.vmap(lambda a, b: nodes_of(a, b, nodes)[0])(support.lower, support.upper)
    weight = jax.scipy.fft.idct(series.cosines * nodes, axis=1) * jnp.pi / nodes
    return jnp.where(jnp.isnan(zeta), jnp.nan, weight), zeta


@jax.jit
def moment_of(support: Support, atom: Any, series: Series, k: Any) -> Any:
    """∫ λ^k dν over the bulks and the atom."""
    weight, zeta = weights_of(support, series)
    inside = jnp.nansum(weight * (atom.location + zeta) ** k)
    return inside + jnp.where(atom.mass > 0, atom.mass * atom.location**k, 0.0)


def cells_of(series: Series) -> tuple[Any, Any]:
    """Distribution of each bulk and its slope on an even grid of θ, eight times finer than the nodes."""
    cosines, nodes = series.cosines, series.cosines.shape[1]
    fine = 8 * nodes
    sines = cosines / jnp.maximum(jnp.arange(nodes), 1)  # ∫_0^θ = a_0 θ/2 + Σ a_k sin(kθ)/k
    waves = jnp.fft.fft(jnp.stack([cosines.at[:, 0].multiply(0.5), sines.at[:, 0].set(0.0)]), 2 * fine)
    slope, wave = waves[0, :, : fine + 1].real, -waves[1, :, : fine + 1].imag
    return cosines[:, :1] / 2 * jnp.pi * jnp.linspace(0.0, 1.0, fine + 1) + wave, slope


@partial(jax.jit, static_argnames="polish")
def quantile_at(eq: Any, support: Support, series: Series, u: Any, *, polish: bool) -> Any:
    """Inverse of the distribution; `polish` adds two Newton steps with the exact distribution and density."""
    below, slope = cells_of(series)
    cells = below.shape[1] - 1
    mass = jnp.nan_to_num(support.mass)
    start = eq.atom_mass + jnp.cumsum(mass) - mass
    scale = (mass / below[:, -1])[:, None]
    exists = (mass > 0)[:, None]
    table = jnp.where(exists, start[:, None] + scale * below, 2.0).ravel()  # ascending over all bulks
    slopes = (jnp.pi / cells * scale * slope).ravel()

    def one(u: Any) -> Any:
        at = jnp.searchsorted(table, u, side="right") - 1
        i = jnp.clip(at // (cells + 1), 0, jnp.maximum(support.count - 1, 0))
        j = jnp.clip(at - i * (cells + 1), 0, cells - 1)
        at = i * (cells + 1) + j

        def bisect(_: Any, ends: Any) -> Any:
            low, high = ends
            x = (low + high) / 2
            hermite = (  # cubic through both ends of the cell
                table[at] * (1 + 2 * x) * (1 - x) ** 2
                + table[at + 1] * x**2 * (3 - 2 * x)
                + slopes[at] * x * (1 - x) ** 2
                - slopes[at + 1] * x**2 * (1 - x)
            )
            return jnp.where(hermite < u, x, low), jnp.where(hermite < u, high, x)

        low, high = jax.lax.fori_loop(0, 45, bisect, (0.0, 1.0))
        zeta = place(support.lower[i], support.upper[i], (j + (low + high) / 2) * jnp.pi / cells)[0]
        if polish:
            zeta = jax.lax.fori_loop(0, 2, lambda _, z: towards(eq, support, z, u), zeta)
        edge = jnp.where(u >= 1.0, support.upper[i], jnp.where(u <= start[i], support.lower[i], zeta))
        return jnp.where((u <= eq.atom_mass) & (eq.atom_mass > 0), 0.0, edge)

    return eq.origin + jax.vmap(one)(u)


def towards(eq: Any, support: Support, zeta: Any, u: Any) -> Any:
    """One Newton step towards the quantile, not taken where it would leave the neighbourhood."""
    inside, distance = depth(support, zeta)
    solution = solve_real_axis(eq, zeta, 0.02 * distance)
    step = (1.0 - eq.tail(solution, zeta) - u) / (solution[0].imag / jnp.pi)
    return jnp.where(inside & (jnp.abs(step) < 0.1 * distance), zeta - step, zeta)
