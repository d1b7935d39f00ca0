r"""The spectrum smoothed in ln ζ, with ζ = λ - origin: density, distribution and gaps on a grid.

On the ray arg ζ = θ an eigenvalue at ζ = x adds Im ζ/(x - ζ) to Im ζq(ζ), a function of ln|ζ/x|
with the integral π - θ. Of two rays, ζ_j = ζe^{ijh},

    ζρ(ζ) = [sin 2h Im ζ₁q(ζ₁) - sin h Im ζ₂q(ζ₂)] / [(π - h) sin 2h - (π - 2h) sin h]

is the mass per unit of ln ζ, smoothed in s = ln ζ with the kernel

    ∝ 1/[(cosh s - cos h)(cosh s - cos 2h)].

It is positive, keeps every mass, and falls as s⁻⁴ beyond h and as e^{-2s} beyond 1. An eigenvalue
at ζ = 0 adds nothing. Sums over a grid that is fine against h are integrals to e^{-2πh/step}.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..numerics.checks import concrete, namespace, on_host
from ..numerics.types import Numbers, Real, Reals, Truths, Vector
from ..resolvent.interface import Equations
from ..resolvent.solver import solve_at

# half-width h of the smoothing in ln ζ, and that of the survey that finds where mass is
HALF_WIDTH, SURVEYED = 0.02, 0.1
# points of a grid, and how many are solved for at once, for one compilation
POINTS, AT_ONCE = 2048, 1024
# e-folds of a survey down from twice the bound, and the lowest ζ over the origin: rounding of z
REACH, ROUNDED = 60.0, 1e-12
# share of the mass that a table may leave below its grid
LEFT = 1e-8
# ends that are searched for at once, and how often: to the grid's step over (AT_ONCE/ENDS)²
ENDS, ROUNDS = 8, 2
# points of a circle at twice or half the distance of the spectrum: their error is 2^-ON_CIRCLE
ON_CIRCLE = 64
# share of the mass by which a bulk is seen that is thinner than a step of the grid
SEEN = 1e-5


class Distribution(NamedTuple):
    """The distribution on a grid even in ln ζ."""

    # in ζ, ascending
    grid: Vector
    # smoothed mass per unit of ln ζ
    slope: Vector
    # smoothed mass at or below, with the atom
    below: Vector
    # what the grid's mass and mean differ from what they should be by, relative
    error: Real

    @property
    def step(self) -> Real:
        return namespace(self.grid).log(self.grid[-1] / self.grid[0]) / (self.grid.size - 1)


def held(a: Any) -> Any:
    """An array without its derivative, NumPy's where it is known."""
    return on_host(a if concrete(a) else jax.lax.stop_gradient(a))


def mass_per_log(eq: Equations, zeta: Reals, h: float = HALF_WIDTH) -> Reals:
    """Smoothed mass per unit of ln ζ at ζ > 0 of any shape; NaN where the solver fails."""
    one, two = (_on_ray(eq, zeta, angle) for angle in (h, 2.0 * h))
    return (np.sin(2.0 * h) * one - np.sin(h) * two) / _norm(h)


def _norm(h: float) -> float:
    return (np.pi - h) * np.sin(2.0 * h) - (np.pi - 2.0 * h) * np.sin(h)


def _of_the_mean(h: float) -> float:
    # the mean of e^s over the kernel, by which the mean of ζ grows
    one = (np.pi - h) * np.cos(h) * np.sin(2.0 * h)
    return (one - (np.pi - 2.0 * h) * np.cos(2.0 * h) * np.sin(h)) / _norm(h)


def _on_ray(eq: Equations, zeta: Reals, angle: float) -> Reals:
    z = on_host(eq.origin) + zeta * np.exp(1j * angle)
    q, good = _resolvent(eq, z)
    # with the ζ that the rounding of z leaves, an atom adds nothing
    value = ((z - on_host(eq.origin)) * q).imag
    return namespace(value).where(good, value, np.nan)


def _resolvent(eq: Equations, z: Numbers) -> tuple[Numbers, Truths]:
    shape, xp = np.shape(z), namespace(eq, z)
    if xp is np:
        size = z.size
        rows = np.pad(np.ravel(z), (0, -size % AT_ONCE), mode="edge").reshape(-1, AT_ONCE)
        found = [_solved(eq, row) for row in rows]
        q, good = (np.concatenate(a)[:size].reshape(shape) for a in zip(*found, strict=True))
        return q, good
    return _solved(eq, z)


def _solved(eq: Equations, z: Numbers) -> tuple[Numbers, Truths]:
    solution = solve_at(eq, z)
    q, status = (on_host(a) for a in (solution.q, solution.status))
    # few digits are enough here
    return q, ((status == 0) | (status == 5)) & namespace(q, status).isfinite(q)


def moment_on(eq: Equations, radius: Real, k: int) -> Real:
    """The k-th moment from a circle |z| = radius around the spectrum, or for k < 0 inside it.

    There q is -Σ m_j/z^{j+1}, or Σ m_{-j-1} z^j.
    """
    z = radius * np.exp(2j * np.pi * (np.arange(ON_CIRCLE) + 0.5) / ON_CIRCLE)
    q, _ = _resolvent(eq, z)
    terms = z ** (k + 1) * q
    return (-1.0 if k > 0 else 1.0) * namespace(terms).mean(terms).real


def distribution_of(eq: Equations) -> Distribution:
    """The distribution of equations, on a grid that holds all mass but LEFT."""
    grid = _grid(jax.lax.stop_gradient(eq) if not concrete(eq) else eq)
    slope = mass_per_log(eq, grid)
    xp = namespace(slope)
    slope = xp.where(xp.isnan(slope), 0.0, slope)
    atom, origin, mean = (on_host(a) for a in (eq.atom_mass, eq.origin, eq.mean))
    step = namespace(grid).log(grid[-1] / grid[0]) / (POINTS - 1)
    inner = _cells(slope, step).cumsum()
    below = xp.concatenate([xp.zeros(1), inner])
    total = below[-1]
    of_zeta = step * xp.sum(grid * slope) / _of_the_mean(HALF_WIDTH)
    off = xp.abs(of_zeta / (mean - origin) - 1.0)
    # a law without a largest eigenvalue is held lower, its mean is not
    off = xp.where(on_host(eq.unbounded), 0.0, off)
    scale = (1.0 - atom) / total
    error = xp.abs(total - (1.0 - atom)) + off * (1.0 - atom)
    return Distribution(grid, scale * slope, atom + scale * below, error)


def _cells(f: Vector, step: Real) -> Vector:
    # integrals over the cells of an even grid, of cubics through four points
    xp = namespace(f)
    before, after = (xp.concatenate(a) for a in ((f[:1], f[:-2]), (f[2:], f[-1:])))
    return step / 24.0 * (13.0 * (f[:-1] + f[1:]) - before - after)


def _grid(eq: Equations) -> Vector:
    # not differentiated
    bound, origin = held(eq.upper_bound), held(eq.origin)
    xp = namespace(bound, origin)
    top = xp.log(2.0 * bound)
    lowest = top - REACH
    floor = xp.log(xp.maximum(ROUNDED * origin, 1e-300))
    lowest = xp.maximum(lowest, xp.minimum(floor, top - 1.0))
    even = np.linspace(0.0, 1.0, POINTS)
    zeta = xp.exp(lowest + (top - lowest) * even)
    f = held(mass_per_log(eq, zeta, SURVEYED))
    xp = namespace(f, zeta)
    mass = xp.cumsum(xp.where(xp.isnan(f), 0.0, f))
    first, last = (xp.searchsorted(mass, share * mass[-1]) for share in (LEFT, 1.0 - LEFT))
    start = xp.log(zeta[first]) - 2.0 * SURVEYED
    end = xp.minimum(xp.log(zeta[last]) + 1.0, top)
    return xp.exp(start + (end - start) * even)


def cdf_in(table: Distribution, zeta: Reals) -> Reals:
    """Mass at or below ζ: a cubic through both ends of a cell, with the density there."""
    xp = namespace(table, zeta)
    grid, size = table.grid, table.grid.size
    safe = xp.clip(zeta, grid[0], grid[-1])
    place = xp.log(safe / grid[0]) / table.step
    cell = xp.clip(place.astype(int), 0, size - 2)
    inside = _cubic(table, cell, xp.clip(place - cell, 0.0, 1.0))
    return xp.where(zeta < 0, 0.0, inside)


def _cubic(table: Distribution, cell: Any, x: Reals) -> Reals:
    below, slope = table.below, table.step * table.slope
    return (
        below[cell] * (1 + 2 * x) * (1 - x) ** 2
        + below[cell + 1] * x**2 * (3 - 2 * x)
        + slope[cell] * x * (1 - x) ** 2
        - slope[cell + 1] * x**2 * (1 - x)
    )


def quantile_in(table: Distribution, u: Reals) -> Reals:
    """The ζ at which the distribution is u."""
    xp = namespace(table, u)
    cell = xp.clip(xp.searchsorted(table.below, u, side="left") - 1, 0, table.grid.size - 2)
    low, high = xp.zeros(xp.shape(u)), xp.ones(xp.shape(u))
    for _ in range(40):
        x = 0.5 * (low + high)
        less = _cubic(table, cell, x) < u
        low, high = xp.where(less, x, low), xp.where(less, high, x)
    x = 0.5 * (low + high)
    if not concrete(table, u):
        # of the implicit function
        x, known = jax.lax.stop_gradient((x, jax.tree.map(jax.lax.stop_gradient, table)))
        rise = _slope_of_cubic(known, cell, x)
        x = x - (_cubic(table, cell, x) - u) / xp.where(rise > 0, rise, np.inf)
    return table.grid[cell] * xp.exp(table.step * x)


def _slope_of_cubic(table: Distribution, cell: Any, x: Reals) -> Reals:
    below, slope = table.below, table.step * table.slope
    rise = 6.0 * x * (1 - x) * (below[cell + 1] - below[cell])
    ends = slope[cell] * (1 - x) * (1 - 3 * x) - slope[cell + 1] * x * (2 - 3 * x)
    return rise + ends


@jax.custom_jvp
def _not_derived(value: Reals, of: Real, where: Truths) -> Reals:
    # ends that were searched for: their derivative is NaN, and not 0
    return value


@_not_derived.defjvp
def _nan(primals: Any, tangents: Any) -> Any:
    value, _, where = primals
    return value, jnp.where(where, jnp.nan, 0.0) * tangents[1]


# --------------------------------------------------------------------------------------------------
# gaps


def in_support(eq: Equations, zeta: Reals) -> Truths:
    """Whether a real ζ > 0 is in the support of the equations, without smoothing."""
    q, good = _resolvent(eq, on_host(eq.origin) + zeta + 0j)
    return good & (q.imag > 0)


class Ends(NamedTuple):
    """Ends of the support, and of the gaps next to given masses."""

    lower: Real
    upper: Real
    # of the part above the mass and of the part below it, in ζ
    above: Vector
    under: Vector
    # whether there is a gap
    gap: Truths


def ends_of(eq: Equations, table: Distribution, masses: Vector, within: Vector) -> Ends:
    """Ends at these masses from the top: of a gap at no other mass than `within`, or quantiles."""
    grid, below = held(table.grid), held(table.below)
    inside = held(in_support(eq, grid))
    xp = namespace(grid, below, inside, masses)
    u = 1.0 - masses
    last, following = _runs(inside)
    distance = xp.abs(below[None] - u[:, None])
    free = ~inside & (last >= 0) & (following < grid.size)
    nearest = xp.argmin(xp.where(free, distance, np.inf), axis=1)
    gap = free[nearest] & (distance[xp.arange(u.size), nearest] <= within)
    brackets = _brackets(inside, last[nearest], following[nearest])
    found = _bisected(eq, grid, *brackets)
    lower, upper = _seen(table, found[0], found[1])
    # within the ends
    quantile = quantile_in(table, u)
    low, high = quantile < lower, quantile > upper
    quantile = xp.where(low, lower, xp.where(high, upper, quantile))
    above = xp.where(gap, found[2::2], quantile)
    under = xp.where(gap, found[3::2], quantile)
    if not concrete(table):
        moving, searched = table.below.sum(), gap | low | high
        above, under = (_not_derived(a, moving, searched) for a in (above, under))
        lower, upper = (_not_derived(a, moving, np.True_) for a in (lower, upper))
    return Ends(lower, upper, above, under, gap)


def _runs(inside: Truths) -> tuple[Any, Any]:
    # for each point the last point inside that is not above it, and the first that is not below it
    xp, size = namespace(inside), inside.size
    i = np.arange(size)
    last = xp.maximum.accumulate(xp.where(inside, i, -1))
    following = xp.minimum.accumulate(xp.where(inside, i, size)[::-1])[::-1]
    return last, following


def _brackets(inside: Truths, last: Any, following: Any) -> tuple[Any, Any]:
    # places on the grid outside and inside of each end; the support's first, then two for each gap
    xp, size = namespace(inside), inside.size
    first, final = xp.argmax(inside), size - 1 - xp.argmax(inside[::-1])
    of_support = xp.stack([first, final])
    of_gaps = xp.stack([following, last], axis=1).ravel()
    within = xp.clip(xp.concatenate([of_support, of_gaps]), 0, size - 1)
    outwards = np.resize([-1, 1], within.size)
    # the support's ends are open below and above, as are those of gaps
    return xp.clip(within + outwards, 0, size - 1), within


def _bisected(eq: Equations, grid: Vector, outside: Any, within: Any) -> Vector:
    far, near = grid[outside], grid[within]
    x = np.linspace(0.0, 1.0, AT_ONCE // ENDS)
    for _ in range(ROUNDS):
        points = far[:, None] + (near - far)[:, None] * x[None]
        inside = held(in_support(eq, points))
        xp = namespace(inside, points)
        k = xp.maximum(xp.argmax(inside, axis=1), 1)
        rows = xp.arange(k.size)
        far, near = points[rows, k - 1], points[rows, k]
    return near


def _seen(table: Distribution, lower: Real, upper: Real) -> tuple[Real, Real]:
    # a bulk thinner than a step of the grid shows in its mass only
    xp = namespace(table, lower)
    first, final = held(table.below)[0], 1.0
    share = SEEN * (final - first)
    low, high = held(quantile_in(table, xp.stack([first + share, final - share])))
    return xp.where(lower > np.e * low, low, lower), xp.where(np.e * upper < high, high, upper)
