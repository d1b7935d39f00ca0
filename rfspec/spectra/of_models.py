"""The door to the spectrum of a model, of whichever kind it has."""

from __future__ import annotations

import numpy as np

from ..models.gaussian_equivalent import gaussian_equivalent
from ..models.model import RandomFeatureModel
from ..numerics.checks import concrete, namespace, on_host
from ..numerics.session import enter
from ..numerics.types import Real, Vector
from ..resolvent.equations import equations
from ..resolvent.interface import Equations
from ..resolvent.solver import ConvergenceError
from .finite_d import CountedParts, Interval, SpectrumAtFiniteD
from .smoothed import Distribution, Ends, distribution_of, ends_of
from .spectrum import Spectrum, spectrum_of
from .support import Atom

AnySpectrum = Spectrum | SpectrumAtFiniteD

# the error of the distribution above which there is none
WRONG = 1e-2
# share of a part by which its count may be off a gap that ends it
NEAR_A_GAP = 0.02


def spectrum(model: RandomFeatureModel) -> Spectrum | SpectrumAtFiniteD:
    r"""Exact limiting spectrum of U for a model; at finite d that of features of unequal rows.

    .. math::

        ρ(λ) = \frac1π \operatorname{Im} q(λ + i0)

    with q from equations (6) and (7) of docs/theory.md, (19) and (20) for finitely many draws of
    the noise, or (31) at finite d. The rank that the columns of U do not reach is an atom.

    Parameters
    ----------
    model : RandomFeatureModel

    Returns
    -------
    Spectrum
        ``.edges .edge_error .bulks .atom .parts .separated .density .cdf .quantile .moment
        .stieltjes .sample .error``. Masses are exact, edges have estimated relative errors, loss
        drops absolute ones.
    SpectrumAtFiniteD
        Where the model has a `d`, and a `degree` above 1: ``.support .atom .parts .separated
        .density .cdf .quantile .mean .moment .stieltjes .sample .error``. The density is smoothed
        in ln(λ - origin), masses are counted, and there are no edges.

    Raises
    ------
    ConvergenceError
        If an edge or a bulk could not be found, or at finite d the integrated density is not 1 to
        1 %. Inside a JAX transformation `.failed` is set.

    Notes
    -----
    arXiv 2505.17638, Theorem 3.1. Edges (10), masses (9), satellite, loss drops and finite d go
    beyond the paper.

    Examples
    --------
    >>> import rfspec as rf
    >>> rf.spectrum(rf.RandomFeatureModel(psi_p=64.0, psi_n=8.0, t=0.01)).bulks[2].part
    'population'
    """
    enter()
    if model.d is None or model.degree == 1:
        return spectrum_of(model)
    return _at_finite_d(model, equations(model, gaussian_equivalent(model)))


def _at_finite_d(model: RandomFeatureModel, eq: Equations) -> SpectrumAtFiniteD:
    d = distribution_of(eq)
    atom = Atom(on_host(eq.origin), on_host(eq.atom_mass))
    mass = _counted(model, atom.mass)
    ends, parts = _parts(eq, d, mass)
    support = Interval(atom.location + ends.lower, atom.location + ends.upper)
    unbounded = on_host(eq.unbounded)
    xp = namespace(support, unbounded)
    support = support._replace(upper=xp.where(unbounded, np.inf, support.upper))
    failed = ~(d.error <= WRONG)
    result = SpectrumAtFiniteD(model, eq, atom, parts, support, d, failed)
    if concrete(failed) and bool(failed):
        raise ConvergenceError(
            f"the distribution of {model} has the error {float(d.error):.1e}: the solver failed on "
            "some of its way, or there is mass too close to the atom; move a parameter a little"
        )
    return result


def _counted(model: RandomFeatureModel, atom: Real) -> Vector:
    # d, n and n + d eigenvalues from the top, as in the limit, over p
    ge = gaussian_equivalent(model)
    psi_p, psi_n = on_host(model.psi_p), on_host(model.psi_n)
    linear, other = on_host(ge.b2 > 0), on_host(ge.v2 > 0)
    xp = namespace(psi_p, psi_n, atom, linear, other)
    most = psi_p * (1.0 - atom)
    least = lambda *a: xp.min(xp.stack([xp.asarray(v, float) for v in a]))
    population = xp.where(linear, least(1.0, psi_n, most), 0.0)
    sample = xp.where(other, least(psi_n, most), population)
    satellite = xp.where(linear & other, least(psi_n + 1.0, most), sample)
    return xp.diff(xp.stack([0.0 * most, population, sample, satellite])) / psi_p


def _parts(eq: Equations, d: Distribution, mass: Vector) -> tuple[Ends, CountedParts]:
    xp = namespace(d, mass)
    rest = xp.maximum(1.0 - on_host(eq.atom_mass) - mass.sum(), 0.0)
    below = xp.append(mass[1:], rest)
    within = NEAR_A_GAP * xp.minimum(xp.where(mass > 0, mass, 1.0), below)
    ends = ends_of(eq, d, xp.cumsum(mass), within)
    there = mass > 0
    origin = on_host(eq.origin)
    lower = xp.where(there, origin + ends.above, np.nan)
    upper = xp.concatenate([ends.upper[None], ends.under[:-1]])
    parts = CountedParts(lower, xp.where(there, origin + upper, np.nan), mass, there & ends.gap)
    return ends, parts
