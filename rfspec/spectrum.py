r"""The spectrum of U: bulks and atom with exact masses, density, distribution, quantiles, moments, samples.

Edges and masses come from ``rfspec.edges``. Density and distribution function are computed at the points asked
for, to nearly full precision wherever they are; quantiles and samples invert a cosine series of each bulk,
ζ = ζ_a (ζ_b/ζ_a)^{(1 - cos θ)/2}, in which soft and hard edges alike leave ρ dζ/dθ smooth.
"""

from __future__ import annotations

import operator
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ._checks import concrete, real_array
from .edges import contents, find_edges
from .equations import RandomFeatureEquations, equations
from .gaussian_equivalent import gaussian_equivalent
from .holomorphic import implicit, vertical
from .model import RandomFeatureModel
from .solver import ConvergenceError, Solution, _solve, complex_array, solve_real_axis

PARTS = ("population", "sample", "satellite")
SAME = 1e-11  # masses are known better than this
NODES = 64  # of a bulk's cosine series; a bulk about to split needs more
SERIES_GOAL = 1e-10
HINTS = 8


class Bulk(NamedTuple):
    """An interval of the support.

    `lower`, `upper`: its edges. `mass`: its share of the eigenvalues. `loss_drop`: by how much training its
    modes lowers the train loss, which starts at 1. `part`: population, sample, satellite, or several joined by
    "+" where they have merged (None inside a JAX transformation).
    """

    lower: Any
    upper: Any
    mass: Any
    loss_drop: Any
    part: str | None


class Atom(NamedTuple):
    """A multiple eigenvalue: its place and its share of the eigenvalues (0 where there is none)."""

    location: Any
    mass: Any


class PartEdges(NamedTuple):
    """Edges of the three parts, arrays over (population, sample, satellite); NaN where a part has merged."""

    lower: Any
    upper: Any
    mass: Any


class Support(NamedTuple):
    """Bulks in ascending order, in ζ, padded with NaN: edges, exact masses, train-loss drops; how many."""

    lower: Any
    upper: Any
    mass: Any
    drop: Any
    count: Any


class Spectrum(eqx.Module):
    r"""The limiting spectrum of the feature correlation matrix U of a model.

    Made by ``rf.spectrum(model)``. All methods take and return arrays of any one shape. Inside a JAX
    transformation, where the number of bulks cannot be known, `edges` and `bulks` are padded with NaN.

    Attributes
    ----------
    atom : Atom
        Location s² and mass max(0, 1 - (1 + ψ_n)/ψ_p).
    parts : PartEdges
        Edges of the population, sample and satellite parts, known by their mass from the top.
    """

    model: RandomFeatureModel
    equations: RandomFeatureEquations
    support: Support
    atom: Atom
    parts: PartEdges
    edge_errors: Any
    series: _Series
    failed: Any

    @property
    def _count(self) -> int:
        count = self.support.count
        return int(count) if concrete(count) else self.support.lower.shape[0]

    @property
    def edges(self) -> Any:
        """Edges of the bulks, ascending, shape [2B]; relative errors are in `edge_error`."""
        lower, upper, location = (_host(a) for a in (self.support.lower, self.support.upper, self.atom.location))
        ends = (np if concrete(lower) else jnp).stack([lower, upper], axis=1)
        return location + ends[: self._count].ravel()

    @property
    def edge_error(self) -> Any:
        """Estimated relative error of each edge's distance from the atom's place, shape [2B]."""
        return _host(self.edge_errors)[: 2 * self._count]

    @property
    def bulks(self) -> tuple[Bulk, ...]:
        """The bulks in ascending order."""
        edges, labels = self.edges, self._labels()
        mass, drop = _host(self.support.mass), _host(self.support.drop)
        return tuple(Bulk(edges[2 * i], edges[2 * i + 1], mass[i], drop[i], labels[i]) for i in range(self._count))

    def _labels(self) -> list[str | None]:
        """The parts that each bulk bears, from masses counted from the top."""
        mass, parts = self.support.mass, self.parts.mass
        if not concrete(mass, parts):  # under jax.grad the values are known once the derivative is dropped
            mass, parts = jax.lax.stop_gradient((mass, parts))
        if not concrete(mass, parts):
            return [None] * self._count
        mass, parts = np.asarray(mass)[: self._count], np.asarray(parts)
        stop, upto = np.cumsum(parts), np.cumsum(mass[::-1])[::-1]
        overlap = np.minimum(upto[:, None], stop) - np.maximum((upto - mass)[:, None], stop - parts)
        return ["+".join(p for p, o in zip(PARTS, row, strict=True) if o > SAME) for row in overlap]

    @property
    def separated(self) -> Any:
        """Whether every two parts that exist have a gap between them."""
        lower, upper, mass = (_host(a) for a in self.parts)
        return ~((mass > SAME) & ((lower != lower) | (upper != upper))).any()

    @property
    def reason(self) -> str:
        """Why the parts are not separated; empty where they are."""
        merged = [b for b in self.bulks if b.part and "+" in b.part]
        return "; ".join(
            f"{b.part.replace('+', ' and ')} have merged in [{float(b.lower):.6g}, {float(b.upper):.6g}]"
            for b in merged
            if b.part
        )

    @property
    def error(self) -> Any:
        """Estimated error of the distribution behind `quantile`, `moment` and `sample`, in total mass.

        The difference between the masses integrated over the found bulks and those of the vertical integrals,
        which would show a missed edge, and the size of the last terms of the series.
        """
        return _host(self.series.error).sum()

    def density(self, x: Any) -> Any:
        """Density of the continuous part at x (the atom apart); relative error near 1e-12 inside a bulk."""
        return _density(self.equations, self.support, _real("x", x))

    def cdf(self, x: Any) -> Any:
        """Share of the eigenvalues that are ≤ x, the atom included; error near 1e-12."""
        return _cdf(self.equations, self.support, _real("x", x))

    def quantile(self, u: Any) -> Any:
        """Smallest x with cdf(x) ≥ u, for 0 ≤ u ≤ 1."""
        u = _real("u", u)
        if concrete(u) and u.size and not (u.min() >= 0 and u.max() <= 1):
            raise ValueError(f"u must lie in [0, 1], got {u.min() if u.min() < 0 else u.max()}")
        return _quantile(self.equations, self.support, self.series, u, polish=True)

    def moment(self, k: int) -> Any:
        """The moment ∫ λ^k dν(λ) = lim Tr U^k/p for an integer k."""
        try:
            k = operator.index(k)
        except TypeError as e:
            raise ValueError(f"k must be an integer, got {k!r}") from e
        return _moment(self.support, self.atom, self.series, k)

    def stieltjes(self, z: Any) -> Any:
        """q(z) = ∫ dν(λ)/(λ - z) for z off the support.

        Raises a ValueError where a real z lies on the support or the atom, a ConvergenceError where the
        solver fails; ``rf.solve`` gives the limit on the support.
        """
        z = complex_array(z)
        if concrete(z, self.support.lower):
            self._check_off_support(np.asarray(z))
        solution: Solution = _solve(self.model, self.equations.ge, z)
        if concrete(solution.status) and np.any(np.asarray(solution.status) != 0):
            raise ConvergenceError(solution.message)
        return solution.q

    def _check_off_support(self, z: np.ndarray) -> None:
        if not np.all(np.isfinite(z)):
            raise ValueError(f"z must be finite, got {z[~np.isfinite(z)].ravel()[0]}")
        x = z.real[z.imag == 0]
        edges = np.asarray(self.edges).reshape(-1, 2)
        on = np.any((x[..., None] >= edges[:, 0]) & (x[..., None] <= edges[:, 1]), axis=-1)
        on |= (x == float(self.atom.location)) & (float(self.atom.mass) > 0)
        if np.any(on):
            raise ValueError(
                f"z must lie off the support {_intervals(edges)} and the atom, got {x[on].ravel()[0]:.12g} on it; "
                "rf.solve gives the limit from above"
            )

    def sample(self, key: Any, shape: tuple[int, ...] = ()) -> Any:
        """Independent draws from the spectrum, atom included: numbers of this shape."""
        u = jax.random.uniform(key, shape, dtype=float)
        return _quantile(self.equations, self.support, self.series, u, polish=False)

    def __repr__(self) -> str:
        if not concrete(self.support.count):
            return "Spectrum(traced)"
        bulks = ", ".join(f"{b.part} [{float(b.lower):.6g}, {float(b.upper):.6g}]" for b in self.bulks)
        return f"Spectrum({bulks}; atom of mass {float(self.atom.mass):.6g} at {float(self.atom.location):.6g})"


class _Series(NamedTuple):
    """Per bulk: cosine coefficients of ρ dζ/dθ, and what they miss of the mass with their last terms."""

    cosines: Any
    error: Any


def spectrum(model: RandomFeatureModel) -> Spectrum:
    r"""Exact limiting spectrum of U for a model.

    ρ(λ) = Im q(λ + i0)/π with q from equations (1) and (2) of ``rfspec.equations``; an atom at s² of mass
    max(0, 1 - (1 + ψ_n)/ψ_p).

    Parameters
    ----------
    model : RandomFeatureModel

    Returns
    -------
    Spectrum
        ``.edges .bulks .atom .parts .separated .density .cdf .quantile .moment .stieltjes .sample .error``.

    Raises
    ------
    ConvergenceError
        If an edge or a bulk could not be found (outside of JAX transformations; inside, `.failed` is set).

    Notes
    -----
    arXiv 2505.17638, Theorem 3.1; edges, masses, satellite and loss drops go beyond the paper.

    Examples
    --------
    >>> import rfspec as rf
    >>> rf.spectrum(rf.RandomFeatureModel(psi_p=64.0, psi_n=8.0, t=0.01)).bulks[2].part
    'population'
    """
    ge = gaussian_equivalent(model)
    atoms = int(np.shape(model.covariance.values)[-1])
    bulks = 2 * atoms + 1 if atoms <= 3 else 8
    result = _spectrum(model, ge, 3, np.zeros(HINTS), bulks=bulks)
    if not concrete(result.failed):
        return result
    while int(result.support.count) > bulks and bulks < 2 * atoms + 1:
        bulks = min(2 * bulks, 2 * atoms + 1)
        result = _spectrum(model, ge, 3, np.zeros(HINTS), bulks=bulks)
    if bool(result.failed):
        raise ConvergenceError(
            f"the edges of the spectrum of {model} could not all be found; two of them may be closer than "
            "double precision resolves: move a parameter a little"
        )
    return _improved(result)


def _improved(result: Spectrum) -> Spectrum:
    """More nodes for the bulks whose series has not converged; a finer search first where they do not help.

    Sixteen times the nodes gain a factor above 100 unless an edge inside a bulk, or a bulk, was missed; nodes
    without density then tell where.
    """
    if float(result.error) <= SERIES_GOAL:
        return result
    better = _refined(result, 16 * NODES)
    if float(better.error) > max(SERIES_GOAL, 0.01 * float(result.error)):
        model, ge, bulks = result.model, result.equations.ge, result.support.mass.size
        again = _spectrum(model, ge, 9, _nodes_in_gaps(better), bulks=bulks)
        better = better if bool(again.failed) else _refined(again, 16 * NODES)
    for nodes in (256 * NODES, 1024 * NODES):
        if float(better.error) > SERIES_GOAL:
            better = _refined(better, nodes)
    return better


def _nodes_in_gaps(sp: Spectrum) -> np.ndarray:
    """Up to HINTS nodes, in ζ, inside the found bulks at which there is no density; padded with zeros."""
    weight, zeta = (np.asarray(a) for a in _weights(sp.support, sp.series))
    empty = [z[w < 1e-11 * w.max()] for z, w in zip(zeta, weight, strict=True) if np.all(np.isfinite(w))]
    where = np.concatenate([*empty, np.zeros(0)])
    chosen = where[np.linspace(0, where.size - 1, min(HINTS, where.size)).astype(int)]
    return np.pad(chosen, (0, HINTS - chosen.size))


def _refined(sp: Spectrum, nodes: int) -> Spectrum:
    """The spectrum with `nodes` nodes on the bulks that need them; the others' series are only padded."""
    which = np.flatnonzero(np.asarray(sp.series.error) > SERIES_GOAL / (4 * sp._count))
    if not which.size:
        return sp
    rows = list(jnp.pad(sp.series.cosines, ((0, 0), (0, nodes - sp.series.cosines.shape[1]))))
    for i in which:
        rows[i] = _cosines(sp.equations, sp.support.lower[i], sp.support.upper[i], nodes=nodes)
    return eqx.tree_at(lambda r: r.series, sp, _series(sp.support, jnp.stack(rows)))


@partial(jax.jit, static_argnames="bulks")
def _spectrum(model: RandomFeatureModel, ge: Any, tries: Any, hints: Any, *, bulks: int) -> Spectrum:
    eq = equations(model, ge)
    edges = find_edges(eq, tries, hints, bulks=bulks)
    exists = ~jnp.isnan(edges.lower)
    lower, upper = jnp.where(exists, edges.lower, eq.bound), jnp.where(exists, edges.upper, 2 * eq.bound)
    zeta, slope, floor = jax.vmap(lambda a, b: _nodes(a, b, NODES))(lower, upper)
    # one batch for the nodes of all bulks and for z = 0, whose distance to the support is at least s²
    at = jnp.append(zeta.ravel(), -eq.origin)
    u = jax.vmap(partial(solve_real_axis, eq))(at, jnp.append(floor.ravel(), 0.02 * eq.origin))
    total = eq.transforms(tuple(v[-1] for v in u))[1].real
    g = u[0][:-1].imag.reshape(zeta.shape) / jnp.pi * slope
    mass, drop = contents(eq, edges, total)
    support = Support(edges.lower, edges.upper, mass, drop, edges.count)
    series = _series(support, jax.scipy.fft.dct(g, axis=1) / NODES)
    failed = edges.failed | jnp.any(mass <= 0)
    atom = Atom(eq.origin, eq.atom_mass)
    return Spectrum(model, eq, support, atom, part_edges(eq, support), edges.error, series, failed)


def _host(a: Any) -> Any:
    """An array whose values are known, as NumPy's: reading results must not compile anything."""
    return np.asarray(a) if concrete(a) else a


def _real(name: str, x: Any) -> Any:
    return real_array(name, x, "finite real numbers") if concrete(x) else x


def _intervals(edges: np.ndarray) -> str:
    return " ∪ ".join(f"[{a:.6g}, {b:.6g}]" for a, b in edges)


# ---------------------------------------------------------------------------------------------------- parts


def part_edges(eq: Any, support: Support) -> PartEdges:
    """Edges of the parts: those of the bulks that begin and end at the dividing masses."""
    mass = jnp.nan_to_num(jax.lax.stop_gradient(support.mass))
    parts = jax.lax.stop_gradient(eq.parts)
    stop = jnp.cumsum(parts)[:, None]
    upto = jnp.cumsum(mass[::-1])[::-1]  # mass from the top down to and including each bulk
    exists = (mass > 0) & (parts[:, None] > SAME)
    ends_here = exists & (jnp.abs(upto - stop) < SAME)
    begins_here = exists & (jnp.abs(upto - mass - stop + parts[:, None]) < SAME)

    def pick(hit: Any, edges: Any) -> Any:
        place = jnp.argmax(hit, axis=1)
        return jnp.where(jnp.any(hit, axis=1), eq.origin + edges[place], jnp.nan)

    return PartEdges(pick(ends_here, support.lower), pick(begins_here, support.upper), parts)


# ------------------------------------------------------------------------------------------------ evaluation


def _outside_gaps(support: Support, zeta: Any) -> tuple[Any, Any]:
    """Whether ζ is inside a bulk, and its distance to the ends of that bulk."""
    left, right = zeta - support.lower, support.upper - zeta
    inside = (left > 0) & (right > 0)
    distance = jnp.where(inside, jnp.minimum(left, right), jnp.inf)
    return jnp.any(inside), jnp.min(distance)


@jax.jit
def _density(eq: Any, support: Support, x: Any) -> Any:
    def one(zeta: Any) -> Any:
        inside, distance = _outside_gaps(jax.lax.stop_gradient(support), jax.lax.stop_gradient(zeta))
        safe = jnp.where(inside, zeta, -eq.bound)
        u = solve_real_axis(eq, safe, 0.02 * jnp.where(inside, distance, eq.bound))
        return jnp.where(inside, u[0].imag / jnp.pi, 0.0)

    x = jnp.asarray(x, float)
    return jax.vmap(one)(x.ravel() - eq.origin).reshape(x.shape)


def _left_of(eq: Any, zeta: Any) -> Any:
    """Mass left of ζ > 0."""
    return 0.5 - vertical(eq, zeta, lambda u, z: (implicit(eq, u, z)[0],), levels=200, steps=3)[1][0]


@jax.jit
def _cdf(eq: Any, support: Support, x: Any) -> Any:
    top, bottom = jnp.nanmax(support.upper), support.lower[0]

    def one(zeta: Any) -> Any:
        middle = _left_of(eq, jnp.clip(zeta, jnp.maximum(bottom, 1e-20 * top), top))
        ends = jnp.where(zeta >= top, 1.0, jnp.where(zeta >= 0, eq.atom_mass, 0.0))
        return jnp.where((zeta > bottom) & (zeta < top), middle, ends)

    x = jnp.asarray(x, float)
    return jax.vmap(one)(x.ravel() - eq.origin).reshape(x.shape)


# ----------------------------------------------------------------------------------------------- the series


def _place(lower: Any, upper: Any, theta: Any) -> tuple[Any, Any, Any, Any]:
    """ζ(θ), dζ/dθ and the distances to both edges, free of cancellation; linear from a hard edge at 0."""
    hard = lower == 0
    log_ratio = jnp.log(upper / jnp.where(hard, upper, lower))
    down, up = jnp.sin(theta / 2) ** 2, jnp.cos(theta / 2) ** 2
    zeta = jnp.where(hard, upper * down, lower * jnp.exp(log_ratio * down))
    slope = jnp.where(hard, upper, zeta * log_ratio) * jnp.sin(theta) / 2
    left = jnp.where(hard, zeta, lower * jnp.expm1(log_ratio * down))
    right = jnp.where(hard, upper * up, -upper * jnp.expm1(-log_ratio * up))
    return zeta, slope, left, right


def _nodes(lower: Any, upper: Any, nodes: int) -> tuple[Any, Any, Any]:
    """ζ, dζ/dθ and continuation floors at the midpoints θ_j = (j + ½)π/nodes of a bulk."""
    zeta, slope, left, right = _place(lower, upper, (jnp.arange(nodes) + 0.5) * jnp.pi / nodes)
    return zeta, slope, jax.lax.stop_gradient(0.02 * jnp.minimum(left, right))


@partial(jax.jit, static_argnames="nodes")
def _cosines(eq: Any, lower: Any, upper: Any, *, nodes: int) -> Any:
    """Coefficients a_k of ρ dζ/dθ = a_0/2 + Σ a_k cos kθ on one bulk."""
    zeta, slope, floor = _nodes(lower, upper, nodes)
    u = jax.vmap(partial(solve_real_axis, eq))(zeta, floor)
    return jax.scipy.fft.dct(u[0].imag / jnp.pi * slope) / nodes


@jax.jit
def _series(support: Support, cosines: Any) -> _Series:
    """The coefficients with their error: mass that they miss, and the size of the last eighth of them."""
    mass = jnp.nan_to_num(support.mass)
    tail = 2 * jnp.max(jnp.abs(cosines[:, -(cosines.shape[1] // 8) :]), axis=1)
    missing = jnp.abs(jnp.pi / 2 * cosines[:, 0] - mass)
    return _Series(cosines, jax.lax.stop_gradient(jnp.where(mass > 0, tail + missing, 0.0)))


@jax.jit
def _weights(support: Support, series: _Series) -> tuple[Any, Any]:
    """Masses at the nodes of each bulk, and the nodes; NaN where there is no bulk."""
    nodes = series.cosines.shape[1]
    zeta = jax.vmap(lambda a, b: _nodes(a, b, nodes)[0])(support.lower, support.upper)
    weight = jax.scipy.fft.idct(series.cosines * nodes, axis=1) * jnp.pi / nodes
    return jnp.where(jnp.isnan(zeta), jnp.nan, weight), zeta


@jax.jit
def _moment(support: Support, atom: Atom, series: _Series, k: Any) -> Any:
    weight, zeta = _weights(support, series)
    inside = jnp.nansum(weight * (atom.location + zeta) ** k)
    return inside + jnp.where(atom.mass > 0, atom.mass * atom.location**k, 0.0)


def _cells(series: _Series) -> tuple[Any, Any]:
    """Distribution of each bulk and its slope on an even grid of θ, eight times finer than the nodes."""
    cosines, nodes = series.cosines, series.cosines.shape[1]
    fine = 8 * nodes
    sines = cosines / jnp.maximum(jnp.arange(nodes), 1)  # ∫_0^θ = a_0 θ/2 + Σ a_k sin(kθ)/k
    waves = jnp.fft.fft(jnp.stack([cosines.at[:, 0].multiply(0.5), sines.at[:, 0].set(0.0)]), 2 * fine)
    slope, wave = waves[0, :, : fine + 1].real, -waves[1, :, : fine + 1].imag
    return cosines[:, :1] / 2 * jnp.pi * jnp.linspace(0.0, 1.0, fine + 1) + wave, slope


@partial(jax.jit, static_argnames="polish")
def _quantile(eq: Any, support: Support, series: _Series, u: Any, *, polish: bool) -> Any:
    below, slope = _cells(series)
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
        zeta = _place(support.lower[i], support.upper[i], (j + (low + high) / 2) * jnp.pi / cells)[0]
        if polish:
            zeta = jax.lax.fori_loop(0, 2, lambda _, z: _towards(eq, support, z, u), zeta)
        edge = jnp.where(u >= 1.0, support.upper[i], jnp.where(u <= start[i], support.lower[i], zeta))
        return jnp.where((u <= eq.atom_mass) & (eq.atom_mass > 0), 0.0, edge)

    u = jnp.asarray(u, float)
    return eq.origin + jax.vmap(one)(u.ravel()).reshape(u.shape)


def _towards(eq: Any, support: Support, zeta: Any, u: Any) -> Any:
    """One Newton step towards the quantile, not taken where it would leave the neighbourhood."""
    inside, distance = _outside_gaps(support, zeta)
    density = solve_real_axis(eq, zeta, 0.02 * distance)[0].imag / jnp.pi
    step = (_left_of(eq, zeta) - u) / density
    return jnp.where(inside & (jnp.abs(step) < 0.1 * distance), zeta - step, zeta)
