r"""The spectrum of U: bulks, atom, density, distribution, quantiles, moments and samples.

Its arrays come from ``rfspec.spectra.contents``, values at points from
``rfspec.spectra.at_points``, and moments from the nodes of ``rfspec.spectra.series``.
"""

from __future__ import annotations

import operator
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..files.tables import Table
from ..models.gaussian_equivalent import gaussian_equivalent
from ..models.model import RandomFeatureModel
from ..numerics.checks import concrete, namespace, on_host, random_key, real_array, traced_array
from ..numerics.session import at_points, enter
from ..numerics.types import Given, Number, Real, Reals, Truth, Vector
from ..resolvent.equations import equations
from ..resolvent.interface import Equations
from ..resolvent.solver import ConvergenceError, Solution, complex_array, solve_at
from .at_points import cdf_at, density_at, quantile_at
from .contents import contents, room_for, searched
from .pieces import in_pieces
from .series import Series, moment_of
from .support import BELOW, PARTS, Atom, Bulk, PartEdges, Support
from .unbounded import open_ends


class Spectrum(Table, eqx.Module):
    r"""The limiting spectrum of the feature correlation matrix U of a model.

    Made by ``rf.spectrum(model)``. All methods take and return arrays of any one shape. Inside a
    JAX transformation the number of bulks cannot be known, and `edges` and `bulks` are padded with
    NaN. The arrays behind them always are, so `jax_debug_nans` has to be off for a spectrum:
    ``with jax.debug_nans(False)``.

    Attributes
    ----------
    atom : Atom
        Location and mass. With all draws of the noise, and a σ with a linear and another part, they
        are s² and max(0, 1 - (1 + ψ_n)/ψ_p). With m draws the location is 0, and the mass is what
        the rank of mn columns leaves.
    parts : PartEdges
        Edges and masses of the population, sample and satellite parts.
    failed : bool
        Whether an edge is missing; only inside a JAX transformation, else `spectrum` raises.
    """

    dimension = "bulk"

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
        """Edges of the bulks, ascending, shape (2B,); their errors are in `edge_error`."""
        support = open_ends(self.equations, self.support)
        lower, upper, location = (
            on_host(a) for a in (support.lower, support.upper, self.atom.location)
        )
        ends = (np if concrete(lower) else jnp).stack([lower, upper], axis=1)
        return location + ends[: self.count].ravel()

    @property
    def edge_error(self) -> Vector:
        """Estimated relative error of each edge's distance from the atom, shape (2B,)."""
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
        """What is known of each bulk, ascending, as lists of one length.

        The names are those of ``Bulk``, and `share` is a bulk's share of the sum of all drops, NaN
        where nothing is learnt.
        """
        bulks = self.bulks
        total = sum(float(b.loss_drop) for b in bulks)
        names = ("part", "lower", "upper", "mass", "loss_drop", "loss_drop_error")
        return {
            **{name: [getattr(b, name) for b in bulks] for name in names},
            "share": [float(b.loss_drop) / total if total else np.nan for b in bulks],
        }

    def notes(self) -> list[str]:
        """The atom, the errors, and what has merged."""
        mass, location = float(self.atom.mass), float(self.atom.location)
        worst = np.max(self.edge_error, initial=0.0)
        notes = [
            f"atom of mass {mass:.8g} at {location:.10g}" if mass > 0 else "no atom",
            f"relative error of the edges {worst:.1e}, error of the distribution "
            f"{float(self.error):.1e}",
            self.reason,
        ]
        return [note for note in notes if note]

    def _labels(self) -> list[str | None]:
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
        """Estimated error of the distribution behind `quantile`, `moment` and `sample`, as a mass.

        It is the sum over bulks of the size of the last terms of the series, and of the difference
        between the integrated density and the mass. The mass is an exact sum of ranks and weights,
        so that a missed edge would show.
        """
        return on_host(self.series.error).sum()

    def density(self, x: Given) -> Reals:
        """Density Im q(x + i0)/π of the continuous part, without the atom.

        `x`, real and finite, of any shape, is in the unit of the eigenvalues of U; the density, of
        the same shape, has the inverse unit. Inside a bulk its relative error is near 1e-13. Next
        to the atom it grows as s²/(x - s²), because a double x no longer says how far it is from
        the atom. ``rf.solve(model, x).error`` times |q|/Im q estimates it. Raises a ValueError
        where x is not real and finite.
        """
        enter()
        return at_points(
            partial(density_at, self.equations, self.support, self.series), _real("x", x)
        )

    def cdf(self, x: Given) -> Reals:
        """Share of the eigenvalues that are ≤ x, the atom included; equation (9) of docs/theory.md.

        `x` is real and finite, of any shape, which is the result's. The absolute error is near
        1e-14, apart from what the rounding of x leaves open next to the atom. Raises a ValueError
        where x is not real and finite.
        """
        enter()
        return at_points(partial(cdf_at, self.equations, self.support, self.series), _real("x", x))

    def quantile(self, u: Given) -> Reals:
        """Smallest x with cdf(x) ≥ u, for u of any shape in [0, 1].

        Two Newton steps with the exact distribution follow the interpolated one, so that inside a
        bulk cdf(x) differs from u by rounding. Raises a ValueError where u does not lie in
        [0, 1].
        """
        enter()
        u = _real("u", u)
        if concrete(u) and u.size and not (u.min() >= 0 and u.max() <= 1):
            raise ValueError(f"u must lie in [0, 1], got {u.min() if u.min() < 0 else u.max()}")
        x = self._quantiles(u, polish=True)
        return namespace(u, x).where((u == 1) & self.equations.unbounded, np.inf, x)

    def moment(self, k: int) -> Real:
        """The moment ∫ λ^k dν(λ) = lim Tr U^k/p for an integer k of any sign.

        Its error is about `error` times the largest λ^k of the spectrum. Raises a ValueError where
        k is no integer, and a NotImplementedError for k > 1 where the spectrum has no upper edge.
        """
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
        """q(z) = ∫ dν(λ)/(λ - z) for z of any shape off the support.

        ``rf.solve`` gives the limit on the support, and the error of q. Raises a ValueError where a
        real z lies on the support or the atom, and a ConvergenceError where the solver fails.
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

    def sample(self, key: Given, shape: tuple[int, ...] = ()) -> Vector:
        """Independent draws from the spectrum, atom included, as an array of this shape.

        `key` is a JAX key, or an int as a seed. The draws are quantiles of uniform numbers without
        the Newton steps, and follow the distribution to `error`.
        """
        enter()
        u = jax.random.uniform(random_key("key", key), shape, dtype=float)
        return self._quantiles(u, polish=False)

    def _quantiles(self, u: Reals, *, polish: bool) -> Reals:
        return at_points(
            partial(quantile_at, self.equations, self.support, self.series, polish=polish), u
        )


def spectrum(model: RandomFeatureModel) -> Spectrum:
    """The spectrum with its edges, which models in the limit d → ∞ have; else an error."""
    if model.degree > 1:
        model.check_plain("the spectrum with its edges", "d")
    return spectrum_of(model)


def spectrum_of(model: RandomFeatureModel) -> Spectrum:
    """The same of a model that is known to be in the limit."""
    eq = equations(model, gaussian_equivalent(model))
    search = searched(eq)
    result = Spectrum(model, eq, *contents(eq, search, bulks=room_for(eq, search.count)))
    if not concrete(result.failed):
        return result
    hole = False
    if not bool(result.failed):
        support, series, hole = in_pieces(eq, result.support, result.series)
        if series is not result.series:
            result = eqx.tree_at(lambda r: (r.support, r.series), result, (support, series))
    if bool(result.failed) or hole:
        raise ConvergenceError(
            f"the edges of the spectrum of {model} could not all be found; two of them may be "
            "closer than "
            "double precision resolves: move a parameter a little"
        )
    return result


def _real(name: str, x: Any) -> Reals:
    return (real_array if concrete(x) else traced_array)(name, x, "finite real numbers")


def _intervals(edges: np.ndarray) -> str:
    return " ∪ ".join(f"[{a:.6g}, {b:.6g}]" for a, b in edges)
