r"""The density on few nodes of each bulk, for loss drops, quantiles, moments and samples.

With ζ = ζ_a (ζ_b/ζ_a)^{(1 - cos θ)/2} on a bulk [ζ_a, ζ_b], soft and hard edges alike leave ρ dζ/dθ
smooth and even in θ, so its cosine coefficients fall off geometrically. A bulk that is about to
split, or that has a narrow peak, is cut in halves of its range of θ until the Chebyshev
coefficients of every piece fall off.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..numerics.holomorphic import Unknowns, implicit, moves
from ..numerics.rounding import EPS
from ..numerics.types import Matrix, Real, Reals, Truths, Vector, Whole, Wholes
from ..resolvent.interface import Equations
from ..resolvent.solver import solve_inside
from .support import Atom, Support

NODES = 48  # nodes of a piece
COARSE = 16  # of these nodes, the number on which conditions are computed
FINE = 8 * NODES  # cells of the table of the distribution


class Rule(NamedTuple):
    """Nodes on [0, 1] and weights that add up to 1."""

    nodes: np.ndarray
    weights: np.ndarray

    @property
    def few(self) -> Rule:
        """The rule of COARSE nodes, which are among these."""
        return rule(COARSE, self is WHOLE)


def angles(nodes: int) -> np.ndarray:
    """φ_j = (j + ½)π/nodes."""
    return (np.arange(nodes) + 0.5) * np.pi / nodes


def rule(nodes: int, whole: bool) -> Rule:
    """Midpoints in θ for a whole bulk; Chebyshev nodes with Fejér's weights for a piece."""
    phi, k = angles(nodes), np.arange(nodes)
    if whole:
        return Rule(phi / np.pi, np.full(nodes, 1.0 / nodes))
    integrals = np.where(k % 2 == 0, 1.0 / (1.0 - np.where(k % 2 == 0, k, 0) ** 2.0), 0.0)
    # a cosine transform by hand, for SciPy takes long to import; in more digits, for it cancels
    pi = np.arccos(np.longdouble(-1.0))
    waves = 2 * np.cos(np.outer(2 * k + 1, k) % (4 * nodes) * (pi / (2 * nodes)))
    waves[:, 0] = 1
    return Rule((1.0 - np.cos(phi)) / 2, np.asarray(waves @ integrals / nodes, float))


def _table(whole: bool) -> tuple[np.ndarray, np.ndarray]:
    # matrices that map values at the nodes to values on an even grid, and to integrals up to there
    k, grid = np.arange(NODES), np.linspace(0.0, 1.0, FINE + 1)[:, None]
    coefficients = np.cos(np.outer(k, angles(NODES))) * (2.0 / NODES)
    coefficients[0] /= 2
    if whole:
        waves, integrals = (
            np.cos(k * np.pi * grid),
            np.sin(k * np.pi * grid) / (np.pi * np.maximum(k, 1)),
        )
        integrals[:, :1] = grid
        return waves @ coefficients, integrals @ coefficients
    phi = np.arccos(1.0 - 2.0 * grid)
    up, down = ((1.0 - np.cos(j * phi)) / np.where(j == 0, 1, j) for j in (k + 1, k - 1))
    integrals = (up - np.where(k == 1, 0.0, down)) / 4  # of cos kφ sin φ/2
    return np.cos(k * phi) @ coefficients, integrals @ coefficients


WHOLE, PART = rule(NODES, True), rule(NODES, False)
TABLES = tuple(np.stack(both) for both in zip(_table(False), _table(True), strict=True))


class Series(NamedTuple):
    """Pieces of the bulks, ascending; and of each bulk the errors that they leave."""

    # the bulk of each piece; the number of all bulks where a row is not used
    bulk: Wholes
    # where on the bulk's θ/π the piece begins and ends
    begin: Reals
    end: Reals
    mass: Reals
    # ρ dζ/dθ at its nodes, and the solution there
    values: Reals
    u: Unknowns
    # of each bulk, what the nodes miss of its mass and of its loss drop
    error: Reals
    drop_error: Reals

    @property
    def exists(self) -> Truths:
        return self.bulk < self.error.size

    @property
    def theta_span(self) -> Vector:
        return np.pi * (self.end - self.begin)

    @property
    def whole(self) -> Truths:
        return self.end - self.begin == 1.0

    def edges(self, support: Support) -> tuple[Vector, Vector]:
        """The edges of each piece's bulk; any two where a row is not used."""
        row = jnp.minimum(self.bulk, self.error.size - 1)
        or_any = lambda a, other: jnp.where(self.exists, a[row], other)
        return or_any(support.lower, 1.0), or_any(support.upper, 2.0)


def zeta_at(lower: Real, upper: Real, theta: Reals) -> tuple[Reals, Reals, Reals, Reals]:
    """ζ(θ), dζ/dθ and the distances to both edges, free of cancellation.

    From a hard edge at 0 on, ζ is linear in (1 - cos θ)/2.
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
    """One piece of a bulk on its nodes, with what it contributes to mass and loss drop."""

    # ρ dζ/dθ and ρζ at the nodes, and the solution there, not differentiated
    values: Reals
    density: Reals
    u: Unknowns
    mass: Reals
    drop: Reals
    # the sum of the sizes of the drop's terms
    size: Reals
    # the largest loss drop per mass
    steepest: Reals
    # what the nodes miss of the mass and of the drop
    error: Reals
    drop_error: Reals
    # how the drop moves with each number in the equations
    moves: Reals


def resolve(eq: Equations, lower: Real, upper: Real, begin: Real, end: Real, by: Rule) -> Piece:
    r"""Density and loss drop of the piece θ/π in [begin, end] of a bulk [ζ_a, ζ_b].

    With ν the measure of what the modes of U explain, the drop under weight decay γ' is
    ∫ dν(λ) (λ + 2γ')/(λ + γ')², a sum of positive terms. Its moves are taken at fixed nodes, since
    the integrand vanishes at the edges.
    """
    span = np.pi * (end - begin)
    zeta, slope, *_ = zeta_at(lower, upper, np.pi * begin + span * by.nodes)
    u = jax.vmap(partial(solve_inside, eq))(zeta + 0j)
    density = u[0].imag / jnp.pi

    def term(e: Equations, u: Unknowns, zeta: Real) -> Real:
        value = e.origin + zeta
        return (
            e.explained(e.point(u))[0].imag
            / jnp.pi
            * (value + 2.0 * e.decay)
            / (value + e.decay) ** 2
        )

    values, terms = density * slope, jax.vmap(lambda *a: term(eq, a[1:], a[0]))(zeta, *u) * slope
    integral = lambda f: span * jnp.sum(by.weights * f)
    mass, drop = integral(values), integral(terms)

    frozen, u, zeta, slope, terms, density = jax.lax.stop_gradient(
        (eq, u, zeta, slope, terms, density)
    )
    few = lambda a: a[NODES // COARSE // 2 :: NODES // COARSE]

    def sum_of_few(e: Equations) -> Real:
        each = lambda z, *u: term(e, implicit(e, u, z + 0j, 1), z)
        return span * jnp.sum(by.few.weights * jax.vmap(each)(few(zeta), *map(few, u)) * few(slope))

    error = span * _size_of_last_terms(jax.scipy.fft.dct(density * slope) / NODES)
    drop_error = span * _quadrature_error(jax.scipy.fft.dct(terms) / NODES, by)
    size, moved = integral(jnp.abs(terms)), moves(frozen, sum_of_few)
    steepest = jnp.max(jnp.abs(terms) / jnp.where(density > 0, density * slope, jnp.inf))
    return Piece(values, density * zeta, u, mass, drop, size, steepest, error, drop_error, moved)


def _size_of_last_terms(coefficients: Vector) -> Real:
    return jnp.max(jnp.abs(coefficients[-(NODES // 8) :]))


def _quadrature_error(coefficients: Vector, by: Rule) -> Real:
    # A rule errs by the coefficients of twice its order. They are taken to fall off as slowly as
    # the known ones do anywhere beyond the first sixth. With Fejér's weights a fraction of the next
    # coefficients is added.
    blocks = [
        jnp.max(jnp.abs(coefficients[k : k + NODES // 8]))
        for k in (NODES // 6, NODES // 2, 7 * NODES // 8)
    ]
    slowest = lambda a, b: jnp.minimum(1.0, jnp.where(a > 0, b / a, 1.0))
    ratio = jnp.maximum(slowest(*blocks[:2]), slowest(*blocks[1:]))
    last = jnp.maximum(blocks[2], blocks[1] * ratio)  # not less where their sign changes
    return 10.0 * last * ratio**2 + (0.0 if by is WHOLE else last / NODES)


def series_of(support: Support, bulk: Wholes, begin: Vector, end: Vector, pieces: Piece) -> Series:
    """The series of these pieces, with the exact masses of the bulks divided among them."""
    by_bulk = partial(jax.ops.segment_sum, segment_ids=bulk, num_segments=support.lower.size)
    mass, summed = jnp.nan_to_num(support.mass), by_bulk(pieces.mass)
    row = jnp.minimum(bulk, mass.size - 1)
    divided = pieces.mass * (mass / jnp.where(summed > 0, summed, 1.0))[row]
    divided = jnp.where(bulk < mass.size, divided, 0.0)
    missed = jnp.where(mass > 0, jnp.abs(summed - mass), 0.0)
    drop_error = by_bulk(pieces.drop_error) + missed / jnp.where(mass > 0, mass, 1.0) * by_bulk(
        pieces.size
    )
    errors = jax.lax.stop_gradient((by_bulk(pieces.error) + jnp.abs(summed - mass), drop_error))
    return Series(bulk, begin, end, divided, pieces.values, pieces.u, *errors)


def drops_of(eq: Equations, support: Support, bulk: Wholes, pieces: Piece) -> tuple[Vector, Vector]:
    """Loss drop of each bulk and its error.

    The error consists of what the nodes miss of the drop and of the mass, of the rounding of the
    edges, and of the condition.
    """
    columns = (pieces.mass, pieces.drop, pieces.size, pieces.drop_error, pieces.moves)
    by_bulk = (jax.ops.segment_sum(a, bulk, support.lower.size) for a in columns)
    mass, drop, size, error, moved = by_bulk
    frozen, mass, lower, upper, exact = jax.lax.stop_gradient(
        (eq, mass, support.lower, support.upper, support.mass)
    )
    ends = jnp.sum(support.rounding * jnp.stack([lower, upper], axis=1), axis=1) / (upper - lower)
    error = jnp.where(size > 0, (jnp.abs(mass / exact - 1.0) + ends) * size + error, 0.0)
    return drop, jax.lax.stop_gradient(
        error + (4 * EPS + frozen.accuracy) * jnp.sum(jnp.abs(moved), axis=1)
    )


@jax.jit
def weights_of(support: Support, series: Series) -> tuple[Matrix, Matrix]:
    """Masses at the nodes of each piece, and the nodes in ζ; NaN where a row is not used."""
    rules = (np.stack(both) for both in zip(PART, WHOLE, strict=True))
    nodes, weights = (rule[series.whole.astype(int)] for rule in map(jnp.asarray, rules))
    theta = np.pi * series.begin[:, None] + series.theta_span[:, None] * nodes
    zeta = jax.vmap(lambda a, b, theta: zeta_at(a, b, theta)[0])(*series.edges(support), theta)
    keep = lambda a: jnp.where(series.exists[:, None], a, jnp.nan)
    return keep(series.theta_span[:, None] * weights * series.values), keep(zeta)


@jax.jit
def moment_of(support: Support, atom: Atom, series: Series, k: Whole) -> Real:
    """∫ λ^k dν over the bulks and the atom."""
    weight, zeta = weights_of(support, series)
    inside = jnp.nansum(weight * (atom.location + zeta) ** k)
    return inside + jnp.where(atom.mass > 0, atom.mass * atom.location**k, 0.0)
