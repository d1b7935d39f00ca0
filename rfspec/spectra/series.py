r"""The density on few nodes of each bulk or of pieces of it, for loss drops, quantiles,
moments and samples.

With ζ = ζ_a (ζ_b/ζ_a)^{(1 - cos θ)/2} on a bulk [ζ_a, ζ_b], soft and hard edges alike leave ρ dζ/dθ
smooth and even in θ, so that its cosine coefficients fall off geometrically. A bulk that is about
to split, or has a narrow peak, is cut in halves of its range of θ until the Chebyshev coefficients
of every piece do.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.fft

from ..numerics.holomorphic import Unknowns, implicit, moves
from ..numerics.rounding import EPS
from ..numerics.types import Matrix, Real, Reals, Truths, Vector, Whole, Wholes
from ..resolvent.interface import Equations
from ..resolvent.solver import solve_real_axis
from .support import Support, depth

NODES = 48  # of a piece
COARSE = 16  # of them that tell a condition
FINE = 8 * NODES  # cells of the table of the distribution


class Rule(NamedTuple):
    """Nodes on [0, 1] and weights that add up to 1."""

    nodes: np.ndarray
    weights: np.ndarray

    @property
    def few(self) -> Rule:
        """The same rule of COARSE nodes, which are among these."""
        return rule(COARSE, self is WHOLE)


def angles(nodes: int) -> np.ndarray:
    """φ_j = (j + ½)π/nodes."""
    return (np.arange(nodes) + 0.5) * np.pi / nodes


def rule(nodes: int, whole: bool) -> Rule:
    """Midpoints in θ for a whole bulk; nodes of Chebyshev with the weights of Fejér for a piece."""
    phi, k = angles(nodes), np.arange(nodes)
    if whole:
        return Rule(phi / np.pi, np.full(nodes, 1.0 / nodes))
    integrals = np.where(k % 2 == 0, 1.0 / (1.0 - np.where(k % 2 == 0, k, 0) ** 2.0), 0.0)
    return Rule((1.0 - np.cos(phi)) / 2, scipy.fft.dct(integrals, 3) / nodes)


def _table(whole: bool) -> tuple[np.ndarray, np.ndarray]:
    """Matrices that make of values at the nodes those on an even grid of cells,
    and integrals from 0 up to there.
    """
    k, at = np.arange(NODES), np.linspace(0.0, 1.0, FINE + 1)[:, None]
    coefficients = np.cos(np.outer(k, angles(NODES))) * (2.0 / NODES)
    coefficients[0] /= 2
    if whole:
        waves, integrals = (
            np.cos(k * np.pi * at),
            np.sin(k * np.pi * at) / (np.pi * np.maximum(k, 1)),
        )
        integrals[:, :1] = at
        return waves @ coefficients, integrals @ coefficients
    phi = np.arccos(1.0 - 2.0 * at)
    up, down = ((1.0 - np.cos(j * phi)) / np.where(j == 0, 1, j) for j in (k + 1, k - 1))
    integrals = (up - np.where(k == 1, 0.0, down)) / 4  # of cos kφ sin φ/2
    return np.cos(k * phi) @ coefficients, integrals @ coefficients


WHOLE, PART = rule(NODES, True), rule(NODES, False)
TABLES = tuple(np.stack(both) for both in zip(_table(False), _table(True), strict=True))


class Series(NamedTuple):
    """Pieces of the bulks, ascending: which bulk each is of (one too many where there is none),
    where on its θ/π it begins and ends, its mass, ρ dζ/dθ at its nodes; and of each bulk what the
    nodes miss of its mass and loss drop.
    """

    bulk: Wholes
    begin: Reals
    end: Reals
    mass: Reals
    values: Reals
    error: Reals
    drop_error: Reals

    @property
    def exists(self) -> Truths:
        """Whether there is a piece."""
        return self.bulk < self.error.size

    @property
    def span(self) -> Vector:
        """Range of θ."""
        return np.pi * (self.end - self.begin)

    @property
    def whole(self) -> Truths:
        """Whether the piece is a whole bulk."""
        return self.end - self.begin == 1.0

    def edges(self, support: Support) -> tuple[Vector, Vector]:
        """Edges of the bulk that each piece is of; any two where there is none."""
        own = jnp.minimum(self.bulk, self.error.size - 1)
        known = lambda a, other: jnp.where(self.exists, a[own], other)
        return known(support.lower, 1.0), known(support.upper, 2.0)


def place(lower: Real, upper: Real, theta: Reals) -> tuple[Reals, Reals, Reals, Reals]:
    """ζ(θ), dζ/dθ and the distances to both edges, free of cancellation;
    linear from a hard edge at 0.
    """
    hard = lower == 0
    log_ratio = jnp.log(upper / jnp.where(hard, upper, lower))
    down, up = jnp.sin(theta / 2) ** 2, jnp.cos(theta / 2) ** 2
    zeta = jnp.where(hard, upper * down, lower * jnp.exp(log_ratio * down))
    slope = jnp.where(hard, upper, zeta * log_ratio) * jnp.sin(theta) / 2
    left = jnp.where(hard, zeta, lower * jnp.expm1(log_ratio * down))
    right = jnp.where(hard, upper * up, -upper * jnp.expm1(-log_ratio * up))
    return zeta, slope, left, right


class Piece(NamedTuple):
    """One piece on its nodes: ρ dζ/dθ and ρζ; its mass, its loss drop and the sum of its terms'
    sizes; the largest drop by mass; what the nodes miss of mass and drop; how the drop moves with
    each number in the equations.
    """

    values: Reals
    density: Reals
    mass: Reals
    drop: Reals
    size: Reals
    steepest: Reals
    error: Reals
    drop_error: Reals
    moves: Reals


def resolve(eq: Equations, lower: Real, upper: Real, begin: Real, end: Real, by: Rule) -> Piece:
    r"""Density and loss drop of the piece θ/π in [begin, end] of a bulk [ζ_a, ζ_b].

    The drop ∫ dν(λ) (λ + 2γ')/(λ + γ')² under weight decay γ', with ν the measure of what U's modes
    explain, is a sum of positive terms. Its moves are taken at fixed nodes: at the edges the
    integrand vanishes.
    """
    span = np.pi * (end - begin)
    zeta, slope, left, right = place(lower, upper, np.pi * begin + span * by.nodes)
    u = jax.vmap(partial(solve_real_axis, eq))(
        zeta, jax.lax.stop_gradient(0.02 * jnp.minimum(left, right))
    )
    density = u[0].imag / jnp.pi

    def term(e: Equations, u: Unknowns, zeta: Real) -> Real:
        value = e.origin + zeta
        return (
            e.explained(e.at(u))[0].imag / jnp.pi * (value + 2.0 * e.decay) / (value + e.decay) ** 2
        )

    values, terms = density * slope, jax.vmap(lambda *a: term(eq, a[1:], a[0]))(zeta, *u) * slope
    integral = lambda f: span * jnp.sum(by.weights * f)
    mass, drop = integral(values), integral(terms)

    still, u, zeta, slope, terms, density = jax.lax.stop_gradient(
        (eq, u, zeta, slope, terms, density)
    )
    few = lambda a: a[NODES // COARSE // 2 :: NODES // COARSE]

    def sum_of_few(e: Equations) -> Real:
        each = lambda z, *u: term(e, implicit(e, u, z + 0j, 1), z)
        return span * jnp.sum(by.few.weights * jax.vmap(each)(few(zeta), *map(few, u)) * few(slope))

    error = span * _last(jax.scipy.fft.dct(density * slope) / NODES)
    drop_error = span * _missed(jax.scipy.fft.dct(terms) / NODES, by)
    size, moved = integral(jnp.abs(terms)), moves(still, sum_of_few)
    steepest = jnp.max(jnp.abs(terms) / jnp.where(density > 0, density * slope, jnp.inf))
    return Piece(values, density * zeta, mass, drop, size, steepest, error, drop_error, moved)


def _last(coefficients: Vector) -> Real:
    """Size of the last eighth of a series."""
    return jnp.max(jnp.abs(coefficients[-(NODES // 8) :]))


def _missed(coefficients: Vector, by: Rule) -> Real:
    """Error of a rule: by the coefficients of twice its order if they go on to fall off as slowly
    as they do anywhere from its first sixth on; with the weights of Fejér also by some share of the
    next ones.
    """
    blocks = [
        jnp.max(jnp.abs(coefficients[k : k + NODES // 8]))
        for k in (NODES // 6, NODES // 2, 7 * NODES // 8)
    ]
    slowest = lambda a, b: jnp.minimum(1.0, jnp.where(a > 0, b / a, 1.0))
    ratio = jnp.maximum(slowest(*blocks[:2]), slowest(*blocks[1:]))
    last = jnp.maximum(blocks[2], blocks[1] * ratio)  # not less where their sign changes
    return 10.0 * last * ratio**2 + (0.0 if by is WHOLE else last / NODES)


def series_of(support: Support, bulk: Wholes, begin: Vector, end: Vector, found: Piece) -> Series:
    """Pieces with the exact masses of the bulks shared out among them."""
    by_bulk = partial(jax.ops.segment_sum, segment_ids=bulk, num_segments=support.lower.size)
    mass, whole = jnp.nan_to_num(support.mass), by_bulk(found.mass)
    share = found.mass * (mass / jnp.where(whole > 0, whole, 1.0))[jnp.minimum(bulk, mass.size - 1)]
    share = jnp.where(bulk < mass.size, share, 0.0)
    off = jnp.where(mass > 0, jnp.abs(whole - mass), 0.0)
    drop_error = by_bulk(found.drop_error) + off / jnp.where(mass > 0, mass, 1.0) * by_bulk(
        found.size
    )
    errors = jax.lax.stop_gradient((by_bulk(found.error) + jnp.abs(whole - mass), drop_error))
    return Series(bulk, begin, end, share, found.values, *errors)


def drops_of(eq: Equations, support: Support, bulk: Wholes, found: Piece) -> tuple[Vector, Vector]:
    """Loss drop of each bulk and its error: what the nodes miss of it and of the mass,
    rounding of the edges, and its condition.
    """
    of = (found.mass, found.drop, found.size, found.drop_error, found.moves)
    mass, drop, size, error, moved = (jax.ops.segment_sum(a, bulk, support.lower.size) for a in of)
    still, mass, lower, upper, exact = jax.lax.stop_gradient(
        (eq, mass, support.lower, support.upper, support.mass)
    )
    ends = jnp.sum(support.rounding * jnp.stack([lower, upper], axis=1), axis=1) / (upper - lower)
    error = jnp.where(size > 0, (jnp.abs(mass / exact - 1.0) + ends) * size + error, 0.0)
    return drop, jax.lax.stop_gradient(
        error + (4 * EPS + still.accuracy) * jnp.sum(jnp.abs(moved), axis=1)
    )


@jax.jit
def weights_of(support: Support, series: Series) -> tuple[Matrix, Matrix]:
    """Masses at the nodes of each piece, and the nodes; NaN where there is no piece."""
    rules = (np.stack(both) for both in zip(PART, WHOLE, strict=True))
    nodes, weights = (rule[series.whole.astype(int)] for rule in map(jnp.asarray, rules))
    theta = np.pi * series.begin[:, None] + series.span[:, None] * nodes
    zeta = jax.vmap(lambda a, b, t: place(a, b, t)[0])(*series.edges(support), theta)
    keep = lambda a: jnp.where(series.exists[:, None], a, jnp.nan)
    return keep(series.span[:, None] * weights * series.values), keep(zeta)


@jax.jit
def moment_of(support: Support, atom: Any, series: Series, k: Whole) -> Real:
    """∫ λ^k dν over the bulks and the atom."""
    weight, zeta = weights_of(support, series)
    inside = jnp.nansum(weight * (atom.location + zeta) ** k)
    return inside + jnp.where(atom.mass > 0, atom.mass * atom.location**k, 0.0)


def cells_of(series: Series) -> tuple[Matrix, Matrix]:
    """Distribution of each piece, and its slope, on an even grid of cells."""
    whole, values = series.whole[:, None], series.span[:, None] * series.values
    slope, below = (jnp.where(whole, values @ by[1].T, values @ by[0].T) for by in TABLES)
    return below, slope


@partial(jax.jit, static_argnames="polish")
def quantile_at(
    eq: Equations, support: Support, series: Series, u: Vector, *, polish: bool
) -> Vector:
    """Inverse of the distribution; `polish` adds two Newton steps with the exact distribution and
    density.
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
        at = jnp.searchsorted(table, u, side="right") - 1
        i = jnp.clip(at // (FINE + 1), 0, last)
        j = jnp.clip(at - i * (FINE + 1), 0, FINE - 1)
        at = i * (FINE + 1) + j

        def bisect(_: Whole, ends: tuple[Real, Real]) -> tuple[Real, Real]:
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
        place_at = lambda t: place(
            lower[i], upper[i], np.pi * series.begin[i] + series.span[i] * t
        )[0]
        zeta = place_at((j + (low + high) / 2) / FINE)
        if polish:
            zeta = jax.lax.fori_loop(0, 2, lambda _, z: towards(eq, support, z, u), zeta)
        edge = jnp.where(u >= 1.0, upper[i], jnp.where(u <= start[i], place_at(0.0), zeta))
        return jnp.where((u <= eq.atom_mass) & (eq.atom_mass > 0), 0.0, edge)

    return eq.origin + jax.vmap(one)(u)


def towards(eq: Equations, support: Support, zeta: Real, u: Real) -> Real:
    """One Newton step towards the quantile, not taken where it would leave the neighbourhood."""
    inside, distance = depth(support, zeta)
    solution = solve_real_axis(eq, zeta, 0.02 * distance)
    step = (1.0 - eq.tail(solution, zeta) - u) / (solution[0].imag / jnp.pi)
    return jnp.where(inside & (jnp.abs(step) < 0.1 * distance), zeta - step, zeta)
