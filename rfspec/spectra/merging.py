r"""Lines in the (ψ_n, ψ_p) plane on which the gap between two parts of the spectrum closes.

A gap is known by the mass above it (``rfspec.spectra.support``). It closes where its two edges meet
in a point at which q has a cube-root branch point: F = 0, det ∂F/∂u = 0, and the derivative of that
determinant along the null vector of ∂F/∂u vanishes. For given ψ_n these are as many equations as
unknowns (u, ζ, ψ_p), solved by Newton's method from brackets in which the gap is seen to open or
close.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..models.gaussian_equivalent import gaussian_equivalent
from ..models.model import RandomFeatureModel
from ..numerics.checks import concrete, integer, namespace, on_host, real_array, traced_array
from ..numerics.holomorphic import Unknowns, descend, determinant
from ..numerics.rounding import EPS
from ..numerics.types import Given, Matrix, Real, Truth, Truths, Vector, Whole, Wholes
from ..resolvent.equations import equations
from ..resolvent.interface import Equations
from .edges import is_inside, on_axis

SAME = 1e-13
PAIRS = ("population_sample", "sample_satellite", "population_satellite")


class MergingLine(NamedTuple):
    """Points at which the gap between two parts closes, arrays [branch, grid] padded with NaN.

    `psi_n`, `psi_p`: the points; one of them is the grid that was asked for. `location`: the
    eigenvalue at which the parts meet. `error`: estimated relative error of the coordinate that was
    solved for.
    """

    psi_n: Matrix
    psi_p: Matrix
    location: Matrix
    error: Matrix


class MergingLines(NamedTuple):
    """Lines at which parts of the spectrum merge, and two that are known in closed form,
    over the same grid.

    `population_sample`, `sample_satellite` (both for ψ_n > 1) and `population_satellite` (for ψ_n <
    1): see MergingLine. `hard_edge`: (ψ_n, ψ_p) on ψ_p = 1 + ψ_n, where the atom disappears and the
    spectrum reaches s². `interpolation`: (ψ_n, ψ_p) on ψ_p = ψ_n, p = n, below which there is no
    satellite. NaN where ψ_n would not be positive.
    """

    population_sample: MergingLine
    sample_satellite: MergingLine
    population_satellite: MergingLine
    hard_edge: Unknowns
    interpolation: Unknowns


def merging_lines(
    model: RandomFeatureModel, *, psi_n: Given = None, psi_p: Given = None, search: int = 64
) -> MergingLines:
    r"""Where two parts of the spectrum merge in the (ψ_n, ψ_p) plane.

    Parameters
    ----------
    model : RandomFeatureModel
        Its process, activation and covariance are used, its ψ_p and ψ_n are not.
    psi_n, psi_p : array and pair
        One is the grid at whose values the lines are asked for, shape (G,), values > 0; the other
        the range (low, high) in which they are looked for.
    search : int
        Points of the range, evenly spaced in its logarithm, at which the gaps are looked at first:
        two crossings between neighbours are overlooked.

    Returns
    -------
    MergingLines
        ``.population_sample .sample_satellite .population_satellite``, each with ``.psi_n .psi_p
        .location .error`` of shape (branches, G), branches ascending; ``.hard_edge
        .interpolation``. The coordinate that was solved for is differentiable, once, in the
        process, the covariance and the grid.

    Raises
    ------
    ValueError
        If grid or range are not positive and finite, the range not ascending, or search < 2.

    Notes
    -----
    Beyond arXiv 2505.17638.

    Examples
    --------
    >>> import rfspec as rf
    >>> model = rf.RandomFeatureModel(1.0, 1.0, t=0.3)
    >>> lines = rf.merging_lines(model, psi_n=[8.0], psi_p=(1.0, 1000.0))
    >>> [round(float(p), 6) for p in lines.sample_satellite.psi_p[:, 0]]
    [91.712535]
    """
    along_n, grid, low, high = _arguments(psi_n, psi_p)
    search = integer("search", search, 2)
    model.check_plain("the search for merging lines", "noise_draws")
    eq = equations(model, gaussian_equivalent(model))
    lines = {
        pair: _line(eq, pair, along_n, grid, np.geomspace(low, high, search)) for pair in PAIRS
    }
    return MergingLines(
        **lines,
        hard_edge=(grid, grid + 1.0)
        if along_n
        else (namespace(grid).where(grid > 1.0, grid - 1.0, np.nan), grid),
        interpolation=(grid, grid),
    )


def _arguments(psi_n: Any, psi_p: Any) -> tuple[Truth, Vector, Real, Real]:
    """Whether ψ_n is the grid, the grid, and the range of the other."""
    checked = {}
    for name, value in {"psi_n": psi_n, "psi_p": psi_p}.items():
        if value is None:
            raise ValueError(
                "give a grid for one of psi_n and psi_p and a range (low, high) for the other, "
                "got None"
            )
        read = real_array if concrete(value) or isinstance(value, tuple) else traced_array
        known = read(name, value, "positive finite numbers")
        if concrete(known) and (known.ndim != 1 or not known.size or not np.all(known > 0)):
            raise ValueError(
                f"{name} must be a one-dimensional list of numbers greater than 0, got "
                f"{value!r:.100}"
            )
        checked[name] = known
    ranges = [
        n
        for n, v in checked.items()
        if isinstance(psi_n if n == "psi_n" else psi_p, tuple) and v.size == 2
    ]
    if len(ranges) != 1:
        raise ValueError(
            "exactly one of psi_n and psi_p must be a range, a tuple (low, high), and the other a "
            "grid, a list or "
            f"array; got psi_n={psi_n!r:.60} and psi_p={psi_p!r:.60}"
        )
    low, high = checked[ranges[0]]
    if not low < high:
        raise ValueError(
            f"{ranges[0]} must be a range (low, high) with low < high, got ({low}, {high})"
        )
    along_n = ranges[0] == "psi_p"
    return along_n, checked["psi_n" if along_n else "psi_p"], float(low), float(high)


# ------------------------------------------------------------------------------------------------
# is there a gap


def _at(eq: Equations, psi_n: Real, psi_p: Real) -> Any:
    """The equations of other ratios."""
    return eqx.tree_at(lambda e: (e.psi_n, e.psi_p), eq, (psi_n, psi_p))


def _level(pair: str, psi_n: Vector, psi_p: Vector) -> tuple[Vector, Truths]:
    """Mass above the gap between two parts, and whether both exist."""
    data = 1.0 if pair == "population_sample" else psi_n
    both = psi_n < 1.0 if pair == "population_satellite" else psi_n > 1.0
    return data / psi_p, both & (psi_p > data)


def _level_point(eq: Equations, level: Real) -> tuple[Truth, Real, Unknowns]:
    """Whether there is a gap below this mass, and the point there (where there is none,
    the quantile).
    """

    def look(x: Real) -> tuple[Real, Truth, Unknowns]:
        u = descend(eq, x + 0j, 1e-16 * x)
        inside = is_inside(eq, u)
        u = on_axis(u, inside)
        return 1.0 - eq.tail(u, x) / level, inside, u

    def halve(_: Whole, ends: tuple[Real, Real]) -> tuple[Real, Real]:
        low, high = ends
        middle = jnp.sqrt(low * high)
        excess, inside, _ = look(middle)
        found = ~inside & (jnp.abs(excess) < SAME)
        return (
            jnp.where(found | (excess < 0), middle, low),
            jnp.where(found | (excess >= 0), middle, high),
        )

    low, high = jax.lax.fori_loop(0, 60, halve, (1e-20 * eq.bound, eq.bound))
    x = jnp.sqrt(low * high)
    excess, inside, u = look(x)
    return ~inside & (jnp.abs(excess) < SAME), x, u


@jax.jit
def _gaps(
    eq: Equations, psi_n: Vector, psi_p: Vector, levels: Vector
) -> tuple[Truths, Vector, Unknowns]:
    return jax.vmap(lambda n, p, level: _level_point(_at(eq, n, p), level))(psi_n, psi_p, levels)


# --------------------------------------------------------------------------------------------------
# the line


def _line(eq: Equations, pair: str, along_n: bool, grid: Vector, scan: np.ndarray) -> MergingLine:
    """The branches of one line over the grid."""
    fixed = np.asarray(jax.lax.stop_gradient(grid))
    row, x, zeta, u = _brackets(jax.lax.stop_gradient(eq), pair, along_n, fixed, scan)
    if not row.size:
        none = np.full((0, fixed.size), np.nan)
        return MergingLine(none, none, none, none)
    padded = np.arange(_padded(row.size)) % row.size  # few sizes, few compilations
    g = grid[row]
    found = _cusps(eq, along_n, g[padded], x[padded], zeta[padded], tuple(v[padded] for v in u))
    solved, zeta, error = (on_host(a)[: row.size] for a in found)
    lost = ~(np.abs(np.log(np.asarray(jax.lax.stop_gradient(solved)) / x)) < 1e-3)
    branch = np.array([np.sum(row[:i] == r) for i, r in enumerate(row)])

    def table(values: Vector) -> Matrix:
        place = np.full((branch.max() + 1, fixed.size), row.size)
        place[branch, row] = np.arange(row.size)
        xp = namespace(values)
        return xp.append(xp.where(lost, np.nan, values), np.nan)[place]

    psi_n, psi_p = (table(g), table(solved)) if along_n else (table(solved), table(g))
    return MergingLine(psi_n, psi_p, table(on_host(eq.origin) + zeta), table(error))


def _brackets(
    eq: Equations, pair: str, along_n: bool, grid: np.ndarray, scan: np.ndarray
) -> tuple[Wholes, Vector, Vector, Unknowns]:
    """Where the gap opens or closes, to six digits: places on the grid, the other coordinate,
    ζ and u there.
    """

    def look(g: np.ndarray, x: np.ndarray) -> tuple[Truths, Truths, Vector, Unknowns]:
        size = np.arange(_padded(g.size)) % g.size
        psi_n, psi_p = (g, x) if along_n else (x, g)
        level, exists = _level(pair, psi_n, psi_p)
        gap, zeta, u = _gaps(eq, psi_n[size], psi_p[size], np.where(exists, level, 0.5)[size])
        return (
            np.asarray(gap)[: g.size],
            exists,
            np.asarray(zeta)[: g.size],
            tuple(np.asarray(v.real) for v in u),
        )

    gap, exists, _, _ = look(np.repeat(grid, scan.size), np.tile(scan, grid.size))
    gap, exists = gap.reshape(-1, scan.size), exists.reshape(-1, scan.size)
    row, column = np.nonzero((gap[:, 1:] != gap[:, :-1]) & exists[:, 1:] & exists[:, :-1])
    if not row.size:
        return row, row, row, ()
    low, high, opened = scan[column], scan[column + 1], gap[row, column]
    for _ in range(24):
        middle = np.sqrt(low * high)
        same = look(grid[row], middle)[0] == opened
        low, high = np.where(same, middle, low), np.where(same, high, middle)
    x = np.sqrt(low * high)
    _, _, zeta, u = look(grid[row], x)
    return row, x, zeta, u


def _padded(size: int) -> int:
    return max(16, 1 << (size - 1).bit_length())


@eqx.filter_jit
def _cusps(
    eq: Equations, along_n: bool, grid: Vector, x: Vector, zeta: Vector, u: Unknowns
) -> tuple[Vector, Vector, Vector]:
    return jax.vmap(lambda g, x, z, *u: _cusp(eq, along_n, g, x, z, u))(grid, x, zeta, *u)


def _cusp(
    eq: Equations, along_n: bool, g: Real, x: Real, zeta: Real, u: Unknowns
) -> tuple[Real, Real, Real]:
    """The coordinate x at which the gap closes, differentiable in eq and g; its ζ;
    its estimated relative error.
    """

    def conditions(eq: Equations, g: Real, v: Vector) -> Vector:
        return _conditions(_at(eq, *((g, v[-1]) if along_n else (v[-1], g))), v)

    def step(eq: Equations, g: Real, v: Vector) -> Vector:
        return v - jnp.linalg.solve(
            jax.jacfwd(lambda w: conditions(eq, g, w))(v), conditions(eq, g, v)
        )

    still, fixed, start = jax.lax.stop_gradient((eq, g, jnp.stack([*u, zeta, x])))
    v = jax.lax.stop_gradient(jax.lax.fori_loop(0, 12, lambda _, v: step(still, fixed, v), start))
    slopes = jax.jacfwd(lambda w: conditions(still, fixed, w))(v)
    # carries the first derivative exactly
    solved = v - jnp.linalg.solve(slopes, conditions(eq, g, v))
    covector = jnp.linalg.solve(slopes.T, jnp.zeros_like(v).at[-1].set(1.0))
    _, pull = jax.vjp(lambda e: covector @ conditions(e, fixed, v), still)
    moved = sum(
        jnp.sum(jnp.abs(a * b))
        for a, b in zip(jax.tree.leaves(pull(1.0)[0]), jax.tree.leaves(still), strict=True)
    )
    last = jnp.abs(jax.lax.stop_gradient(solved[-1]) - v[-1])
    return solved[-1], solved[-2], (last + (4 * EPS + still.accuracy) * moved) / v[-1] + 8 * EPS


def _conditions(eq: Equations, v: Vector) -> Vector:
    """F, det ∂F/∂u, and its derivative along the null vector; v = (u, ζ,
    the coordinate that eq holds).
    """
    u, zeta = v[:-2], v[-2]
    slopes = jax.jacfwd(lambda w: jnp.stack(eq.residual(tuple(w), zeta)))

    def det(w: Vector) -> Real:
        m = slopes(w)
        return determinant([tuple(m[:, j]) for j in range(m.shape[1])])

    # the null vector from the first row; the others follow where the determinant vanishes
    first = slopes(u)[0]
    along = jnp.stack([-first[1], first[0]])
    _, change = jax.jvp(det, (u,), (along,))
    return jnp.concatenate(
        [jnp.stack(eq.residual(tuple(u), zeta)), jnp.stack([det(u), change])]
    )  # (10), (11)
