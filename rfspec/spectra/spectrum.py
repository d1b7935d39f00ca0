r"""The spectrum of U: bulks and atom with exact masses, density, distribution, quantiles, moments,
samples.

Edges come from ``rfspec.spectra.edges``, their contents and values at points from
``rfspec.spectra.support``, quantiles, moments and samples from the series of
``rfspec.spectra.series``.
"""

from __future__ import annotations

import operator
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..models.gaussian_equivalent import gaussian_equivalent
from ..models.model import RandomFeatureModel
from ..numerics.checks import concrete, namespace, on_host, real_array, traced_array
from ..numerics.session import at_points, enter
from ..numerics.types import Given, Key, Number, Real, Reals, Truth, Vector, Whole
from ..resolvent.equations import equations
from ..resolvent.interface import Equations
from ..resolvent.solver import ConvergenceError, Solution, complex_array, solve_at
from .edges import Search, find_edges, search_support
from .pieces import in_pieces
from .series import WHOLE, Series, drops_of, moment_of, quantile_at, resolve, series_of
from .support import BELOW, PARTS, PartEdges, Support, cdf_at, density_at, masses_and_parts
from .unbounded import open_ends, with_the_last

MOST_BULKS = 17  # that there is room for; where there are more, for twice as many
FEW_BULKS, MANY_EIGENVALUES = 4, 64  # and where room is dear, for fewer at first


class Bulk(NamedTuple):
    """An interval of the support.

    `lower`, `upper`: its edges. `mass`: its share of the eigenvalues, exact to rounding relative to
    itself. `loss_drop`: by how much training its modes for ever, under the model's weight decay,
    lowers the train loss, with the estimated absolute error `loss_drop_error`. `part`: population,
    sample, satellite, draws (below these, with finitely many draws of the noise), or several joined
    by "+" where they have merged; None inside a JAX transformation.
    """

    lower: Real
    upper: Real
    mass: Real
    loss_drop: Real
    part: str | None
    loss_drop_error: Real


class Atom(NamedTuple):
    """A multiple eigenvalue: its place and its share of the eigenvalues (0 where there is none)."""

    location: Reals
    mass: Reals


class Spectrum(eqx.Module):
    r"""The limiting spectrum of the feature correlation matrix U of a model.

    Made by ``rf.spectrum(model)``. All methods take and return arrays of any one shape. Inside a
    JAX transformation, where the number of bulks cannot be known, `edges` and `bulks` are padded
    with NaN. The arrays behind them always are, so that `jax_debug_nans` has to be off for a
    spectrum: ``with jax.debug_nans(False)``.

    Attributes
    ----------
    atom : Atom
        Place and mass. With all draws of the noise s² and max(0, 1 - (1 + ψ_n)/ψ_p), if σ has a
        linear and another part; with m draws 0 and what the rank of mn columns leaves.
    parts : PartEdges
        Edges of the population, sample and satellite parts, known by their mass from the top.
    """

    model: RandomFeatureModel
    equations: Equations
    support: Support
    atom: Atom
    parts: PartEdges
    edge_errors: Vector
    series: Series
    failed: Truth

    @property
    def count(self) -> int:
        """How many bulks there are; inside a JAX transformation, how many there may be."""
        count = self.support.count
        return int(count) if concrete(count) else self.support.lower.shape[0]

    @property
    def edges(self) -> Vector:
        """Edges of the bulks, ascending, shape [2B]; relative errors are in `edge_error`."""
        support = open_ends(self.equations, self.support)
        lower, upper, location = (
            on_host(a) for a in (support.lower, support.upper, self.atom.location)
        )
        ends = (np if concrete(lower) else jnp).stack([lower, upper], axis=1)
        return location + ends[: self.count].ravel()

    @property
    def edge_error(self) -> Vector:
        """Estimated relative error of each edge's distance from the atom's place, shape [2B]."""
        return on_host(self.edge_errors)[: 2 * self.count]

    @property
    def bulks(self) -> tuple[Bulk, ...]:
        """The bulks in ascending order."""
        edges, labels = self.edges, self._labels()
        mass, drop, error = (
            on_host(a) for a in (self.support.mass, self.support.drop, self.support.drop_error)
        )
        return tuple(
            Bulk(edges[2 * i], edges[2 * i + 1], mass[i], drop[i], labels[i], error[i])
            for i in range(self.count)
        )

    def columns(self) -> dict[str, list[Any]]:
        """Part, edges, mass and loss drop, with its absolute error, of each bulk in ascending
        order, and its share of all drops (NaN where nothing is learnt). Lists of one length.
        """
        bulks = self.bulks
        total = sum(float(b.loss_drop) for b in bulks)
        names = ("part", "lower", "upper", "mass", "loss_drop", "loss_drop_error")
        return {
            **{name: [getattr(b, name) for b in bulks] for name in names},
            "share": [float(b.loss_drop) / total if total else np.nan for b in bulks],
        }

    def _labels(self) -> list[str | None]:
        """The parts that each bulk bears."""
        holds = self.parts.holds
        # under jax.grad the values are known once the derivative is dropped
        if not concrete(holds):
            holds = jax.lax.stop_gradient(holds)
        if not concrete(holds):
            return [None] * self.count
        rows = np.asarray(holds).T[: self.count]
        return [
            "+".join(p for p, held in zip((*PARTS, BELOW), row, strict=True) if held)
            for row in rows
        ]

    @property
    def separated(self) -> Truth:
        """Whether every two parts that exist have a gap between them."""
        lower, upper, mass, _ = (on_host(a) for a in self.parts)
        return ~((mass > 0) & ((lower != lower) | (upper != upper))).any()

    @property
    def reason(self) -> str:
        """Why the parts are not separated; empty where they are."""
        merged = [b for b in self.bulks if b.part and "+" in b.part]
        return "; ".join(
            f"{b.part.replace('+', ' and ')} have merged in [{float(b.lower):.6g}, "
            f"{float(b.upper):.6g}]"
            for b in merged
            if b.part
        )

    @property
    def error(self) -> Real:
        """Estimated error of the distribution behind `quantile`, `moment` and `sample`,
        in total mass.

        The difference between each bulk's integrated density and its mass, an exact sum of ranks
        and weights, which would show a missed edge; and the size of the last terms of the series.
        """
        return on_host(self.series.error).sum()

    def density(self, x: Given) -> Reals:
        """Density of the continuous part at x (the atom apart).

        The relative error inside a bulk is near 1e-13, and grows as s²/(x - s²) next to the atom,
        where a double x does not say how far from it it is; ``rf.solve(model, x).error`` tells,
        times |q|/Im q.
        """
        enter()
        return at_points(partial(density_at, self.equations, self.support), _real("x", x))

    def cdf(self, x: Given) -> Reals:
        """Share of the eigenvalues that are ≤ x, the atom included.

        Error near 1e-14, besides what the rounding of x leaves open next to the atom.
        """
        enter()
        return at_points(partial(cdf_at, self.equations, self.support), _real("x", x))

    def quantile(self, u: Given) -> Reals:
        """Smallest x with cdf(x) ≥ u, for 0 ≤ u ≤ 1."""
        enter()
        u = _real("u", u)
        if concrete(u) and u.size and not (u.min() >= 0 and u.max() <= 1):
            raise ValueError(f"u must lie in [0, 1], got {u.min() if u.min() < 0 else u.max()}")
        x = self._quantiles(u, polish=True)
        return namespace(u, x).where((u == 1) & self.equations.unbounded, np.inf, x)

    def moment(self, k: int) -> Real:
        """The moment ∫ λ^k dν(λ) = lim Tr U^k/p for an integer k."""
        enter()
        try:
            k = operator.index(k)
        except TypeError as e:
            raise ValueError(f"k must be an integer, got {k!r}") from e
        unbounded = self.equations.unbounded
        if k > 1 and concrete(unbounded) and unbounded:
            raise NotImplementedError(
                f"moments of a spectrum without an upper edge are known for k ≤ 1 only, got {k}"
            )
        moment = moment_of(self.support, self.atom, self.series, k)
        if k < 1:
            return moment
        return namespace(unbounded, moment).where(
            unbounded, self.equations.mean if k == 1 else np.nan, moment
        )

    def stieltjes(self, z: Given) -> Number:
        """q(z) = ∫ dν(λ)/(λ - z) for z off the support.

        Raises a ValueError where a real z lies on the support or the atom, a ConvergenceError where
        the solver fails; ``rf.solve`` gives the limit on the support.
        """
        enter()
        z = complex_array(z)
        if concrete(z, self.support.lower):
            self._check_off_support(np.asarray(z))
        solution: Solution = solve_at(self.equations, z)
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
                f"z must lie off the support {_intervals(edges)} and the atom, got "
                f"{x[on].ravel()[0]:.12g} on it; "
                "rf.solve gives the limit from above"
            )

    def sample(self, key: Key, shape: tuple[int, ...] = ()) -> Vector:
        """Independent draws from the spectrum, atom included: numbers of this shape."""
        enter()
        u = jax.random.uniform(key, shape, dtype=float)
        return self._quantiles(u, polish=False)

    def _quantiles(self, u: Reals, *, polish: bool) -> Reals:
        return at_points(
            partial(quantile_at, self.equations, self.support, self.series, polish=polish), u
        )

    def __repr__(self) -> str:
        if not concrete(self.support.count):
            return "Spectrum(traced)"
        bulks = ", ".join(
            f"{b.part} [{float(b.lower):.6g}, {float(b.upper):.6g}]" for b in self.bulks
        )
        mass, place = float(self.atom.mass), float(self.atom.location)
        return f"Spectrum({bulks}; atom of mass {mass:.6g} at {place:.6g})"


def spectrum(model: RandomFeatureModel) -> Spectrum:
    r"""Exact limiting spectrum of U for a model.

    ρ(λ) = Im q(λ + i0)/π with q from equations (6) and (7) of docs/theory.md. What rank the columns
    of U do not reach is an atom.

    Parameters
    ----------
    model : RandomFeatureModel

    Returns
    -------
    Spectrum
        ``.edges .bulks .atom .parts .separated .density .cdf .quantile .moment .stieltjes .sample
            .error``.

    Raises
    ------
    ConvergenceError
        If an edge or a bulk could not be found (inside of JAX transformations `.failed` is set
        instead).

    Notes
    -----
    arXiv 2505.17638, Theorem 3.1; edges, masses, satellite and loss drops go beyond the paper.

    Examples
    --------
    >>> import rfspec as rf
    >>> rf.spectrum(rf.RandomFeatureModel(psi_p=64.0, psi_n=8.0, t=0.01)).bulks[2].part
    'population'
    """
    eq = equations(model, gaussian_equivalent(model))
    search = _search(eq)
    result = Spectrum(model, eq, *_spectrum(eq, search, bulks=_room(eq, search.count)))
    if not concrete(result.failed):
        return result
    hole = False
    if not bool(result.failed):
        support, series, hole = in_pieces(eq, result.support, result.series)
        result = eqx.tree_at(lambda r: (r.support, r.series), result, (support, series))
    if bool(result.failed) or hole:
        raise ConvergenceError(
            f"the edges of the spectrum of {model} could not all be found; two of them may be "
            "closer than "
            "double precision resolves: move a parameter a little"
        )
    return result


def _room(eq: Equations, count: Whole) -> int:
    """For how many bulks there is room in arrays, one of few numbers,
    so that models share compilations.
    """
    room = FEW_BULKS if concrete(count) and eq.values.size > MANY_EIGENVALUES else MOST_BULKS
    while concrete(count) and room < int(count):
        room *= 2
    return min(room, eq.most_bulks)


_search = jax.jit(search_support)


@partial(jax.jit, static_argnames="bulks")
def _spectrum(
    eq: Equations, search: Search, *, bulks: int
) -> tuple[Support, Atom, PartEdges, Vector, Series, Truth]:
    """All fields of a Spectrum but model and equations, so that models share one compilation."""
    edges = find_edges(eq, search, bulks=bulks)
    exists = ~jnp.isnan(edges.lower)
    known = lambda a, other: jnp.where(exists, a, other)
    mass, parts = masses_and_parts(eq, edges)
    found = jax.vmap(lambda a, b: resolve(eq, a, b, 0.0, 1.0, WHOLE))(
        known(edges.lower, eq.bound), known(edges.upper, 2 * eq.bound)
    )
    unknown = jnp.full(bulks, jnp.nan)
    rounding = jnp.nan_to_num(edges.rounding).reshape(-1, 2)
    support = Support(edges.lower, edges.upper, rounding, mass, unknown, unknown, edges.count)
    bulk, zero = jnp.where(exists, jnp.arange(bulks), bulks), jnp.zeros(bulks)
    drops = with_the_last(eq, *drops_of(eq, support, bulk, found), edges.count)
    drop, drop_error = (known(a, jnp.nan) for a in drops)
    support = support._replace(drop=drop, drop_error=drop_error)
    series = series_of(support, bulk, zero, zero + 1.0, found)
    failed = edges.failed | jnp.any(mass <= 0)
    return support, Atom(eq.origin, eq.atom_mass), parts, edges.error, series, failed


def _real(name: str, x: Any) -> Reals:
    return (real_array if concrete(x) else traced_array)(name, x, "finite real numbers")


def _intervals(edges: np.ndarray) -> str:
    return " ∪ ".join(f"[{a:.6g}, {b:.6g}]" for a, b in edges)
