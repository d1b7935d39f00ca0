r"""Lines in the (ψ_n, ψ_p) plane on which the gap between two parts of the spectrum closes.

A gap is known by the mass above it. It closes where its two edges meet, in a cube-root branch point
of q: F = 0, det ∂F/∂u = 0, and the derivative of that determinant along the null vector of ∂F/∂u
vanishes, equations (10) and (11) of docs/theory.md. For given ψ_n these are as many equations as
unknowns (u, ζ, ψ_p). Newton's method solves them from brackets in which the gap opens or closes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..files.tables import in_brief
from ..models.classes import refuse_classes
from ..models.gaussian_equivalent import gaussian_equivalent
from ..models.model import RandomFeatureModel
from ..numerics.checks import concrete, integer, namespace, on_host, real_array, traced_array
from ..numerics.holomorphic import Unknowns, determinant
from ..numerics.programs import program
from ..numerics.rounding import EPS
from ..numerics.types import Given, Matrix, Real, Truth, Truths, Vector, Whole, Wholes
from ..resolvent.branch import reach
from ..resolvent.column_equations import SAME
from ..resolvent.equations import equations
from ..resolvent.interface import Equations
from .search import is_inside, on_axis

PAIRS = ("population_sample", "sample_satellite", "population_satellite")


class MergingLine(NamedTuple):
    """Points at which the gap between two parts closes, arrays [branch, grid] padded with NaN.

    Attributes
    ----------
    psi_n, psi_p : arrays
        The points. One coordinate is the grid that was asked for.
    location : array
        The eigenvalue of U at which the parts meet.
    error : array
        Estimated relative error of the coordinate that was solved for.
    """

    psi_n: Matrix
    psi_p: Matrix
    location: Matrix
    error: Matrix

    def __repr__(self) -> str:
        return in_brief(self)


class MergingLines(NamedTuple):
    """Lines at which parts of the spectrum merge, and two lines in closed form, over one grid.

    Attributes
    ----------
    population_sample, sample_satellite : MergingLine
        For ψ_n > 1.
    population_satellite : MergingLine
        For ψ_n < 1.
    hard_edge : (array, array)
        (ψ_n, ψ_p) on ψ_p = 1 + ψ_n, where the atom disappears and the spectrum reaches s²; NaN
        where ψ_n would not be positive.
    interpolation : (array, array)
        (ψ_n, ψ_p) on ψ_p = ψ_n, p = n, below which there is no satellite.
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

    .. math::

        F(u; ζ) = 0, \quad \det \frac{∂F}{∂u} = 0, \quad (v · ∂_u) \det \frac{∂F}{∂u} = 0

    F are the equations of the fixed point, u its unknowns, and v the null vector of ∂F/∂u.

    Parameters
    ----------
    model : RandomFeatureModel
        Its process, activation and covariance are used, its ψ_p and ψ_n are not.
    psi_n, psi_p : array and tuple
        One is the grid at which the lines are wanted, shape (G,), values > 0. The other is the
        range, a tuple (low, high) with 0 < low < high, in which they are searched.
    search : int
        Number of points of the range, evenly spaced in its logarithm, at which the search looks for
        gaps first; at least 2. Two crossings between neighbours are overlooked.

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
        If grid or range are not positive and finite, the range does not ascend, or search < 2.
    NotImplementedError
        If the model has finitely many noise draws.

    Notes
    -----
    Equations (10) and (11) of docs/theory.md; beyond arXiv 2505.17638.

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
    refuse_classes(model, "the search for merging lines")
    model.check_plain("the search for merging lines", "noise_draws", "d")
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
    # whether the lines go along the ψ_n of a grid, the grid, and the range of the other
    arrays = {}
    for name, value in {"psi_n": psi_n, "psi_p": psi_p}.items():
        if value is None:
            raise ValueError(
                "give a grid for one of psi_n and psi_p and a range (low, high) for the other, "
                "got None"
            )
        read = real_array if concrete(value) or isinstance(value, tuple) else traced_array
        array = read(name, value, "positive finite numbers")
        if concrete(array) and (array.ndim != 1 or not array.size or not np.all(array > 0)):
            raise ValueError(
                f"{name} must be a one-dimensional list of numbers greater than 0, got "
                f"{value!r:.100}"
            )
        arrays[name] = array
    ranges = [
        n
        for n, v in arrays.items()
        if isinstance(psi_n if n == "psi_n" else psi_p, tuple) and v.size == 2
    ]
    if len(ranges) != 1:
        raise ValueError(
            "exactly one of psi_n and psi_p must be a range, a tuple (low, high), and the other a "
            "grid, a list or "
            f"array; got psi_n={psi_n!r:.60} and psi_p={psi_p!r:.60}"
        )
    low, high = arrays[ranges[0]]
    if not low < high:
        raise ValueError(
            f"{ranges[0]} must be a range (low, high) with low < high, got ({low}, {high})"
        )
    along_n = ranges[0] == "psi_p"
    return along_n, arrays["psi_n" if along_n else "psi_p"], float(low), float(high)


# ------------------------------------------------------------------------------------------------
# is there a gap


def _with_ratios(eq: Equations, psi_n: Real, psi_p: Real) -> Any:
    return eqx.tree_at(lambda e: (e.psi_n, e.psi_p), eq, (psi_n, psi_p))


def _mass_above_gap(pair: str, psi_n: Vector, psi_p: Vector) -> tuple[Vector, Truths]:
    # and whether both parts exist
    data = 1.0 if pair == "population_sample" else psi_n
    both = psi_n < 1.0 if pair == "population_satellite" else psi_n > 1.0
    return data / psi_p, both & (psi_p > data)


def _gap_below(eq: Equations, mass: Real) -> tuple[Truth, Real, Unknowns]:
    # whether there is a gap below this mass, and the point there; else the quantile
    def look(x: Real) -> tuple[Real, Truth, Unknowns]:
        u = reach(eq, x + 0j).u
        inside = is_inside(eq, u)
        u = on_axis(u, inside)
        return 1.0 - eq.tail(u, x) / mass, inside, u

    def halve(_: Whole, ends: tuple[Real, Real]) -> tuple[Real, Real]:
        low, high = ends
        middle = jnp.sqrt(low * high)
        excess, inside, _ = look(middle)
        in_gap = ~inside & (jnp.abs(excess) < SAME)
        return (
            jnp.where(in_gap | (excess < 0), middle, low),
            jnp.where(in_gap | (excess >= 0), middle, high),
        )

    low, high = jax.lax.fori_loop(0, 60, halve, (1e-20 * eq.upper_bound, eq.upper_bound))
    x = jnp.sqrt(low * high)
    excess, inside, u = look(x)
    return ~inside & (jnp.abs(excess) < SAME), x, u


@program
def _gaps(
    eq: Equations, psi_n: Vector, psi_p: Vector, masses: Vector
) -> tuple[Truths, Vector, Unknowns]:
    one = lambda n, p, mass: _gap_below(_with_ratios(eq, n, p), mass)
    return jax.vmap(one)(psi_n, psi_p, masses)


# --------------------------------------------------------------------------------------------------
# the line


def _line(eq: Equations, pair: str, along_n: bool, grid: Vector, scan: np.ndarray) -> MergingLine:
    fixed = np.asarray(jax.lax.stop_gradient(grid))
    row, x, zeta, u = _brackets(jax.lax.stop_gradient(eq), pair, along_n, fixed, scan)
    if not row.size:
        none = np.full((0, fixed.size), np.nan)
        return MergingLine(none, none, none, none)
    padded = np.arange(_padded(row.size)) % row.size  # few sizes, few compilations
    g = grid[row]
    cusps = _cusps(eq, along_n, g[padded], x[padded], zeta[padded], tuple(v[padded] for v in u))
    solved, zeta, error = (on_host(a)[: row.size] for a in cusps)
    lost = ~(np.abs(np.log(np.asarray(jax.lax.stop_gradient(solved)) / x)) < 1e-3)
    branch = np.array([np.sum(row[:i] == r) for i, r in enumerate(row)])

    def table(values: Vector) -> Matrix:
        index = np.full((branch.max() + 1, fixed.size), row.size)
        index[branch, row] = np.arange(row.size)
        xp = namespace(values)
        return xp.append(xp.where(lost, np.nan, values), np.nan)[index]

    psi_n, psi_p = (table(g), table(solved)) if along_n else (table(solved), table(g))
    return MergingLine(psi_n, psi_p, table(on_host(eq.origin) + zeta), table(error))


def _brackets(
    eq: Equations, pair: str, along_n: bool, grid: np.ndarray, scan: np.ndarray
) -> tuple[Wholes, Vector, Vector, Unknowns]:
    # where the gap opens or closes, to six digits: row of the grid, other coordinate, ζ and u
    def look(g: np.ndarray, x: np.ndarray) -> tuple[Truths, Truths, Vector, Unknowns]:
        size = np.arange(_padded(g.size)) % g.size
        psi_n, psi_p = (g, x) if along_n else (x, g)
        mass, exists = _mass_above_gap(pair, psi_n, psi_p)
        gap, zeta, u = _gaps(eq, psi_n[size], psi_p[size], np.where(exists, mass, 0.5)[size])
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
    # the coordinate at which the gap closes, differentiable in eq and g; ζ there; relative error
    def conditions(eq: Equations, g: Real, v: Vector) -> Vector:
        return _cusp_conditions(_with_ratios(eq, *((g, v[-1]) if along_n else (v[-1], g))), v)

    def step(eq: Equations, g: Real, v: Vector) -> Vector:
        return v - jnp.linalg.solve(
            jax.jacfwd(lambda w: conditions(eq, g, w))(v), conditions(eq, g, v)
        )

    frozen, fixed, start = jax.lax.stop_gradient((eq, g, jnp.stack([*u, zeta, x])))
    v = jax.lax.stop_gradient(jax.lax.fori_loop(0, 12, lambda _, v: step(frozen, fixed, v), start))
    slopes = jax.jacfwd(lambda w: conditions(frozen, fixed, w))(v)
    # carries the first derivative exactly
    solved = v - jnp.linalg.solve(slopes, conditions(eq, g, v))
    covector = jnp.linalg.solve(slopes.T, jnp.zeros_like(v).at[-1].set(1.0))
    _, pull = jax.vjp(lambda e: covector @ conditions(e, fixed, v), frozen)
    moved = sum(
        jnp.sum(jnp.abs(a * b))
        for a, b in zip(jax.tree.leaves(pull(1.0)[0]), jax.tree.leaves(frozen), strict=True)
    )
    last = jnp.abs(jax.lax.stop_gradient(solved[-1]) - v[-1])
    return solved[-1], solved[-2], (last + (4 * EPS + frozen.accuracy) * moved) / v[-1] + 8 * EPS


def _cusp_conditions(eq: Equations, v: Vector) -> Vector:
    # F, det ∂F/∂u and its derivative along the null vector, at v = (u, ζ, coordinate that eq holds)
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
