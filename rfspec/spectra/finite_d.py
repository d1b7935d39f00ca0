r"""The spectrum of U at finite d: density, distribution, quantiles, support and parts.

Features are made of so many functions, and of rows of so many lengths, that the equations hold them
at nodes (``rfspec.resolvent.features``). Edges between nodes are none of U. The
density is therefore smoothed in ln(λ - origin), and parts are counted from the top: as many
eigenvalues as there are linear functions, d, then up to as many as there are samples, n, then d
again. Beyond arXiv 2505.17638.
"""

from __future__ import annotations

import operator
from typing import Any, NamedTuple, NoReturn

import equinox as eqx
import jax
import numpy as np

from ..files.tables import Table, in_brief
from ..models.model import RandomFeatureModel
from ..numerics.checks import (
    concrete,
    namespace,
    on_host,
    random_key,
    real_array,
    traced_array,
)
from ..numerics.session import enter
from ..numerics.types import Given, Number, Real, Reals, Truth, Truths, Vector
from ..resolvent.interface import Equations
from ..resolvent.solver import ConvergenceError, complex_array, solve_at
from .smoothed import (
    HALF_WIDTH,
    Distribution,
    cdf_in,
    held,
    mass_per_log,
    moment_on,
    quantile_in,
)
from .support import PARTS, Atom

# what lies below the parts
BELOW = "below"


class Interval(NamedTuple):
    """The lowest and the highest point of a spectrum.

    Attributes
    ----------
    lower, upper : float
        In the unit of the eigenvalues of U.
    """

    lower: Real
    upper: Real

    def __repr__(self) -> str:
        return in_brief(self)


class CountedParts(NamedTuple):
    """Ends and masses of the three parts, arrays over (population, sample, satellite).

    Attributes
    ----------
    lower, upper : arrays, shape (3,)
        Ends, in the unit of the eigenvalues of U; quantiles where the parts have no gap between
        them. NaN where a part does not exist.
    mass : array, shape (3,)
        Counted masses; 0 where a part does not exist.
    gap : bool array, shape (3,)
        Whether there is a gap below each part.
    """

    lower: Reals
    upper: Reals
    mass: Reals
    gap: Truths


class SpectrumAtFiniteD(Table, eqx.Module):
    r"""The spectrum of the feature correlation matrix U of a model at finite d.

    Made by ``rf.spectrum(model)`` where the model has a dimension. Members have the names and the
    shapes of ``rf.Spectrum``. There are no bulks, edges and loss drops: those raise a
    NotImplementedError.

    Attributes
    ----------
    atom : Atom
        Location and mass. The mass is what the ranks of the equations leave, 0 where there are
        more functions than there are features. Sampled matrices spread an atom.
    parts : CountedParts
        Ends and masses of the population, sample and satellite parts. From the top they are the
        largest d eigenvalues, the next up to n, and the next d. Their ends are quantiles, and no
        edges, unless there is a gap at that count to 2 % of the smaller part.
    support : Interval
        The lowest and the highest point of the support of the equations, without the atom and
        without smoothing.
    failed : bool
        Whether the distribution is wrong; only inside a JAX transformation, else `spectrum` raises.
    """

    dimension = "part"

    model: RandomFeatureModel
    equations: Equations
    atom: Atom
    parts: CountedParts
    support: Interval
    distribution: Distribution
    failed: Truth

    def columns(self) -> dict[str, list[Any]]:
        """Ends and mass of each part that exists, ascending, as lists of one length.

        What lies below the parts is called "below"; it is of noise in features of high degree.
        """
        rows = self.intervals
        names = ("part", "lower", "upper", "mass")
        return {name: [row[i] for row in rows] for i, name in enumerate(names)}

    @property
    def intervals(self) -> tuple[tuple[str, Real, Real, Real], ...]:
        """Name, ends and mass of all parts that exist, ascending; the first may be "below"."""
        lower, upper, mass, _ = (on_host(a) for a in self.parts)
        named = zip(PARTS, lower, upper, mass, strict=True)
        rows = [row for row in named if not concrete(row[3]) or row[3] > 0]
        rest = 1.0 - on_host(self.atom.mass) - mass.sum()
        if concrete(rest) and rest > self.error + 1e-12:
            end = rows[-1][1] if rows else on_host(self.support.upper)
            rows.append((BELOW, on_host(self.support.lower), end, rest))
        return tuple(rows[::-1])

    def notes(self) -> list[str]:
        """The atom, the errors, and which parts have no gap between them."""
        mass, location = float(self.atom.mass), float(self.atom.location)
        notes = [
            f"atom of mass {mass:.8g} at {location:.10g}" if mass > 0 else "no atom",
            f"smoothed by {HALF_WIDTH:.0%} of the distance from {location:.6g}, error of the "
            f"distribution {float(self.error):.1e}",
            self.reason,
        ]
        return [note for note in notes if note]

    @property
    def separated(self) -> Truth:
        """Whether every two parts that exist have a gap between them."""
        mass, gap = (on_host(a) for a in (self.parts.mass, self.parts.gap))
        return (gap[:-1] | (mass[:-1] <= 0) | (mass[1:] <= 0)).all()

    @property
    def reason(self) -> str:
        """Which parts have no gap between them; empty where all have."""
        mass, gap = np.asarray(self.parts.mass), np.asarray(self.parts.gap)
        return "; ".join(
            f"{one} and {two} have no gap between them: {float(end):.6g} is a quantile"
            for one, two, end, *held, free in zip(
                PARTS, PARTS[1:], np.asarray(self.parts.lower), mass, mass[1:], gap, strict=False
            )
            if min(held) > 0 and not free
        )

    @property
    def mean(self) -> Real:
        """The mean Tr U/p, exact in the equations."""
        return self.equations.mean

    @property
    def error(self) -> Real:
        """Estimated error of the distribution behind `cdf` and `quantile`, as a mass.

        It is how far the integrated density is from 1 less the atom, and its mean from `mean`.
        Neither the smoothing is counted, nor what the equations leave out at that d.
        """
        return on_host(self.distribution.error)

    @property
    def part_error(self) -> Real:
        """Estimated relative error of the ends of parts that `error` leaves open."""
        xp = namespace(self.distribution, self.parts)
        ends = on_host(self.parts.lower)
        zeta = xp.where(xp.isnan(ends), 1.0, ends - on_host(self.equations.origin))
        d = self.distribution
        slope = xp.interp(xp.log(zeta), xp.log(d.grid), d.slope)
        counted = ~(on_host(self.parts.gap) | xp.isnan(ends))
        share = self.error / xp.maximum(slope, 1e-300) * zeta / xp.where(counted, ends, 1.0)
        return xp.max(xp.where(counted, xp.minimum(share, 1.0), 1e-6))

    def density(self, x: Given) -> Reals:
        r"""Smoothed density of the continuous part, without the atom.

        Of mass per unit of ln(x - origin), smoothed by 2 % on that scale, with the kernel
        ∝ 1/[(cosh s - cos h)(cosh s - cos 2h)], h = 0.02. Im q(x + i0)/π of ``rf.solve`` is without
        smoothing, and shows the nodes of the equations.

        `x`, real and finite, of any shape, is in the unit of the eigenvalues of U; the density, of
        the same shape, has the inverse unit, and is 0 up to the origin. Differentiable in x and in
        the model. Raises a ValueError where x is not real and finite.
        """
        enter()
        x = _real("x", x)
        zeta = x - on_host(self.equations.origin)
        bound = on_host(self.equations.upper_bound)
        safe = namespace(zeta, bound).where(zeta > 0, zeta, bound)
        value = mass_per_log(self.equations, safe) / safe
        return namespace(zeta, value).where(zeta > 0, value, 0.0)

    def cdf(self, x: Given) -> Reals:
        """Share of the eigenvalues that are ≤ x, the atom included, to `error`.

        It is the integral of the smoothed density. `x` is real and finite, of any shape, which is
        the result's. Raises a ValueError where x is not real and finite.
        """
        enter()
        return cdf_in(self._table, _real("x", x) - on_host(self.equations.origin))

    def quantile(self, u: Given) -> Reals:
        """Smallest x in the support with cdf(x) ≥ u, for u of any shape in [0, 1].

        Raises a ValueError where u does not lie in [0, 1].
        """
        enter()
        u = _real("u", u)
        if concrete(u) and u.size and not (u.min() >= 0 and u.max() <= 1):
            raise ValueError(f"u must lie in [0, 1], got {u.min() if u.min() < 0 else u.max()}")
        table = self._table
        origin, mass = on_host(self.equations.origin), on_host(self.atom.mass)
        lower, upper = (held(a) for a in self.support)
        xp = namespace(u, table, lower)
        x = xp.clip(origin + quantile_in(table, u), lower, upper)
        x = xp.where(u >= 1, upper, x)
        return xp.where((u <= mass) & (mass > 0), origin, x)

    @property
    def _table(self) -> Distribution:
        return Distribution(*(on_host(a) for a in self.distribution))

    def moment(self, k: int) -> Real:
        """The moment ∫ λ^k dν(λ) = lim Tr U^k/p for an integer k of any sign.

        Without smoothing, from q on a circle around the spectrum, or inside it for k < 0; the
        error is near 1e-12. Infinite for k < 0 where there is an atom at 0. Raises a ValueError
        where k is no integer, and a NotImplementedError for k > 1 where Σ has no largest
        eigenvalue.
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
        if k in (0, 1):
            return self.mean if k else np.float64(1.0)
        location, mass = (on_host(a) for a in self.atom)
        xp = namespace(self.support, location, mass)
        lowest = xp.where(mass > 0, location, held(self.support.lower))
        radius = 2.0 * held(self.support.upper) if k > 0 else 0.5 * lowest
        moment = moment_on(self.equations, xp.where(radius > 0, radius, 1.0), k)
        return xp.where(radius > 0, moment, np.inf)

    def stieltjes(self, z: Given) -> Number:
        """q(z) = ∫ dν(λ)/(λ - z), without smoothing, for z of any shape off the support.

        ``rf.solve`` gives the limit on the support, and the error of q. Raises a ValueError where a
        real z lies on the support of the equations or the atom, and a ConvergenceError where the
        solver fails.
        """
        enter()
        z = complex_array(z)
        known = concrete(z, self.distribution)
        if known and not np.all(np.isfinite(z)):
            raise ValueError(f"z must be finite, got {z[~np.isfinite(z)].ravel()[0]}")
        solution = solve_at(self.equations, z)
        if known:
            self._check_off_support(np.asarray(z), np.asarray(solution.q))
        if concrete(solution.status) and np.any(np.asarray(solution.status) != 0):
            raise ConvergenceError(solution.message)
        return solution.q

    def _check_off_support(self, z: np.ndarray, q: np.ndarray) -> None:
        on = (q.imag > 0) | ((z == float(self.atom.location)) & (float(self.atom.mass) > 0))
        on &= z.imag == 0
        if np.any(on):
            lower, upper = map(float, self.support)
            raise ValueError(
                f"z must lie off the support, between {lower:.6g} and {upper:.6g}, and off the "
                f"atom, got {z.real[on].ravel()[0]:.12g} on it; rf.solve gives the limit from above"
            )

    def sample(self, key: Given, shape: tuple[int, ...] = ()) -> Vector:
        """Independent draws from the spectrum, atom included, as an array of this shape.

        `key` is a JAX key, or an int as a seed.
        """
        enter()
        return self.quantile(jax.random.uniform(random_key("key", key), shape, dtype=float))

    @property
    def edges(self) -> NoReturn:
        """Raises a NotImplementedError: `support` and `parts` have ends."""
        _only_in_the_limit("edges of bulks", "support and parts have ends")

    @property
    def edge_error(self) -> NoReturn:
        """Raises a NotImplementedError: `error` is that of the distribution."""
        _only_in_the_limit("errors of edges", "error is that of the distribution")

    @property
    def bulks(self) -> NoReturn:
        """Raises a NotImplementedError: `intervals` lists the parts."""
        _only_in_the_limit("bulks and their loss drops", "intervals lists the parts")

    @property
    def count(self) -> NoReturn:
        """Raises a NotImplementedError: `intervals` lists the parts."""
        _only_in_the_limit("a number of bulks", "intervals lists the parts")


def _real(name: str, x: Any) -> Reals:
    return (real_array if concrete(x) else traced_array)(name, x, "finite real numbers")


def _only_in_the_limit(what: str, instead: str) -> NoReturn:
    raise NotImplementedError(
        f"{what} exist in the limit d → ∞ only, rf.spectrum(model.limit): at finite d {instead}"
    )
