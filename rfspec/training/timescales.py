r"""Training times of the parts of the spectrum, and the clock that turns them into steps.

Under gradient flow a mode of eigenvalue λ relaxes on τ_λ = ψ_p/(ω²λ) (4). A part that spans [λ_min,
λ_max] is learnt between its fast end ψ_p/(ω²λ_max) and its slow end ψ_p/(ω²λ_min); τ_gen and τ_mem
are the slow ends of the population and sample parts. For the noise ω² = β², the paper's Δ; it
prints "τ⁻¹ = ψ_p/(Δλ)", where the inverse is missing.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import numpy as np

from ..files.tables import TAU, Table, in_brief
from ..models.gaussian_equivalent import gaussian_equivalent
from ..models.model import RandomFeatureModel
from ..numerics.checks import concrete, namespace, on_host, real_array, real_scalar
from ..numerics.types import Given, Real, Reals, Truth, Vector
from ..spectra.finite_d import SpectrumAtFiniteD
from ..spectra.leading_order import leading_order
from ..spectra.of_models import AnySpectrum, spectrum
from ..spectra.support import blank
from .early_stopping import THRESHOLD, EarlyStopping, early_stopping, onset_of

# the recommended one first
RULES = ("loss", "spectrum", "paper")


class PartTimes(NamedTuple):
    """One training time for each part, in units of τ = kη/d².

    Attributes
    ----------
    population, sample, satellite : float
        NaN where a part does not exist or has merged.
    """

    population: Real
    sample: Real
    satellite: Real

    def __repr__(self) -> str:
        return in_brief(self)


class Timescales(Table, eqx.Module):
    r"""Training times of a model by one rule, in units of τ = kη/d².

    Attributes
    ----------
    rule : {"loss", "spectrum", "paper"}
        Where the times are read off.
    tau_gen, tau_mem, satellite : float
        Slow ends ψ_p/(ω²λ_min) of the population, sample and satellite parts; by the rule "loss"
        the minimum of the test loss, and the onset of the generalisation gap.
    fast, slow : PartTimes
        Both ends, by part; NaN where the rule knows none.
    separated : bool
        Whether every two parts have a gap between them; where not, `reason` says which have merged.
        By the rule "loss" whether the best time comes before the onset.
    error : float
        Estimated relative error of the times, as numbers of the rule.
    model : RandomFeatureModel
        The model that was asked about.
    spectrum : Spectrum, SpectrumAtFiniteD or None
        By the rule "spectrum": where the times are from.
    """

    dimension = "part"

    rule: str = eqx.field(static=True)
    fast: PartTimes
    slow: PartTimes
    separated: Truth
    error: Real
    model: RandomFeatureModel
    spectrum: AnySpectrum | None

    def columns(self) -> dict[str, list[Any]]:
        """Rule, part, and both ends of its times τ = kη/d²: lists of one length."""
        parts = PartTimes._fields
        return {
            "rule": [self.rule] * len(parts),
            "part": list(parts),
            "fast": list(self.fast),
            "slow": list(self.slow),
        }

    def title(self) -> str:
        """The rule and the model."""
        return f'Training times by the rule "{self.rule}" of {self.model!r}, in units of {TAU}'

    def notes(self) -> list[str]:
        """τ_gen and τ_mem, their order, and why others are missing."""
        gen, mem = float(self.tau_gen), float(self.tau_mem)
        notes = [
            f"tau_gen = {gen:.6g}, tau_mem = {mem:.6g}, relative error {float(self.error):.1e}",
            "tau_mem < tau_gen: the sample begins to be learnt before the population is"
            if mem < gen
            else "",
            self.reason,
        ]
        return [note for note in notes if note]

    @property
    def tau_gen(self) -> Real:
        """Time by which the population is learnt."""
        return self.slow.population

    @property
    def tau_mem(self) -> Real:
        """Time by which the sample is learnt by heart."""
        return self.slow.sample

    @property
    def satellite(self) -> Real:
        """Time of the satellite, which carries most of the train loss at small t."""
        return self.slow.satellite

    @property
    def reason(self) -> str:
        """Why a time is NaN; empty where none is."""
        if self.rule == "paper" and self.model.covariance.has_classes:
            return "Theorem 3.2 is for data of one covariance"
        if self.spectrum is None:
            return {
                "paper": "Theorem 3.2 has no satellite part",
                "loss": "the losses have a best time and an onset of the gap, none of a satellite",
            }[self.rule]
        absent = [
            f"there is no {name} part"
            for name, mass in zip(
                PartTimes._fields, np.asarray(self.spectrum.parts.mass), strict=True
            )
            if mass <= 0
        ]
        return "; ".join(filter(None, [self.spectrum.reason, *absent]))


def timescales(
    model: RandomFeatureModel | AnySpectrum | EarlyStopping,
    rule: str = "loss",
    *,
    threshold: Given = THRESHOLD,
) -> Timescales:
    r"""Training times τ_gen and τ_mem of a model.

    .. math::

        τ_λ = \frac{ψ_p}{ω^2 λ}

    at the ends of each part of the spectrum, with ω² = β² for the noise and 1 for other targets;
    weight decay γ adds γ/ω² to λ.

    Parameters
    ----------
    model : RandomFeatureModel, Spectrum, SpectrumAtFiniteD or EarlyStopping
        What has been computed already is not computed again; the threshold of an EarlyStopping is
        its own.
    rule : {"loss", "spectrum", "paper"}
        "loss", recommended: read off the exact learning curves, τ_gen = argmin L_test, and τ_mem
        the first time at which the generalisation gap L_test - L_train is the share `threshold` of
        its limit τ → ∞. "spectrum": the slow ends of the parts, from exact edges, satellite apart.
        At finite d parts are counted from the top, with quantiles as ends where they have no gap
        between them. "paper": edges by Theorem 3.2, to leading order in 1/ψ, of the limit d → ∞.
    threshold : float
        Of the rule "loss", between 0 and 1.

    Returns
    -------
    Timescales
        ``.tau_gen .tau_mem .satellite .fast .slow .separated .reason .error``, times in units of τ
        = kη/d². A time whose edge does not exist because two parts have merged is NaN; at finite d
        it is that of a quantile.

    Raises
    ------
    ValueError
        For an unknown rule, or a threshold that is not between 0 and 1.
    ConvergenceError
        By the rule "spectrum" if edges cannot be told apart in double precision; by "loss" if the
        losses of a single model are not finite, or its gap has no limit above 0.

    Notes
    -----
    arXiv 2505.17638, section 3; equations (4), (10) and (28) of docs/theory.md. The satellite, the
    exact ends and the rule "loss" are beyond the paper.

    Examples
    --------
    >>> import rfspec as rf
    >>> ts = rf.timescales(rf.RandomFeatureModel(psi_p=64.0, psi_n=8.0, t=0.01), rule="spectrum")
    >>> print(f"{ts.tau_gen:.1f} {ts.tau_mem:.0f}")
    328.6 35389
    """
    if rule not in RULES:
        known = ", ".join(f'"{r}"' for r in RULES)
        raise ValueError(f"rule must be one of {known}, got {rule!r}")
    done, model = (
        (model, model.model) if isinstance(model, AnySpectrum | EarlyStopping) else (None, model)
    )
    if rule == "paper":
        return _by_leading_order(model)
    if rule == "spectrum":
        return _by_edges(done if isinstance(done, AnySpectrum) else spectrum(model))
    if isinstance(done, EarlyStopping):
        return _by_losses(done)
    return _by_losses(early_stopping(model, threshold=threshold))


def _relaxation(model: RandomFeatureModel, value: Reals) -> Reals:
    return 2.0 * model.time_unit / (value + model.weight_decay / model.pace)  # (4)


def _by_leading_order(model: RandomFeatureModel) -> Timescales:
    law = leading_order(model)
    (population_low, population_high), (sample_low, sample_high) = law.population, law.sample
    nan = np.nan * np.ones(np.shape(model.time_unit))
    relaxed = partial(_relaxation, model)
    return Timescales(
        rule="paper",
        fast=PartTimes(relaxed(population_high), relaxed(sample_high), nan),
        slow=PartTimes(relaxed(population_low), relaxed(sample_low), nan),
        separated=population_low > sample_high,
        error=namespace(law).max(gaussian_equivalent(model).error),
        model=model,
        spectrum=None,
    )


def _by_edges(sp: AnySpectrum) -> Timescales:
    some_edge = _some_edge(sp)

    def relaxed(edges: Vector) -> PartTimes:
        # NaN, as are its derivatives, where there is no edge
        xp = namespace(edges, some_edge)
        missing = xp.isnan(edges)
        times = _relaxation(sp.model, xp.where(missing, some_edge, edges))
        return PartTimes(*blank(times, missing))

    return Timescales(
        rule="spectrum",
        fast=relaxed(on_host(sp.parts.upper)),
        slow=relaxed(on_host(sp.parts.lower)),
        separated=sp.separated,
        error=on_host(sp.equations.ge.error) + _error_of_ends(sp),
        model=sp.model,
        spectrum=sp,
    )


def _some_edge(sp: AnySpectrum) -> Real:
    if isinstance(sp, SpectrumAtFiniteD):
        return on_host(sp.support.lower)
    return on_host(sp.atom.location) + on_host(sp.support.upper)[0]


def _error_of_ends(sp: AnySpectrum) -> Real:
    if isinstance(sp, SpectrumAtFiniteD):
        return sp.part_error
    return namespace(sp.edge_errors).nanmax(on_host(sp.edge_errors))


def _by_losses(stop: EarlyStopping) -> Timescales:
    onset, error = onset_of(stop)
    nan = np.nan * np.ones(np.shape(onset))
    return Timescales(
        rule="loss",
        fast=PartTimes(nan, nan, nan),
        slow=PartTimes(stop.tau, onset, nan),
        separated=stop.tau < onset,
        error=namespace(stop.tau_error, error).maximum(stop.tau_error, error),
        model=stop.model,
        spectrum=None,
    )


def clock(
    model: RandomFeatureModel,
    d: int,
    *,
    steps: Given = None,
    tau: Given = None,
    learning_rate: Given,
    convention: str = "theory",
) -> Reals:
    r"""Convert between training steps k of gradient descent and training time τ.

    .. math::

        τ = kη/d^2

    for steps of size η on A. The published training script absorbs 1/√p into A; its step η' gives
    τ = kη'ψ_p/d.

    Parameters
    ----------
    model : RandomFeatureModel
        Only its ψ_p is used, and by the convention "script" alone.
    d : int
        Dimension of the data, d > 0.
    steps, tau : array
        Give one; the other comes back, as a float array of its shape. Both are ≥ 0.
    learning_rate : float
        η > 0, or η' with ``convention="script"``.
    convention : {"theory", "script"}
        Whose step the learning rate is.

    Returns
    -------
    array
        τ of `steps`, or k of `tau`, exact and not rounded to whole steps.

    Raises
    ------
    ValueError
        If not exactly one of steps and tau is given, one is negative, d or the learning rate is
        not positive, or the convention is unknown.

    Notes
    -----
    "theory" is the clock of arXiv 2505.17638, section 3; "script" that of the training script
    published with it, whose figures count kη' ("Clocks" in docs/theory.md).

    Examples
    --------
    >>> import rfspec as rf
    >>> model = rf.RandomFeatureModel(psi_p=64.0, psi_n=8.0, t=0.01)
    >>> float(rf.clock(model, 100, steps=1000, learning_rate=100.0))
    10.0
    """
    d = real_scalar("d", d, above=0.0)
    eta = real_scalar("learning_rate", learning_rate, above=0.0)
    rates = {"theory": lambda: eta / d**2, "script": lambda: eta * model.psi_p / d}
    if convention not in rates:
        raise ValueError(f'convention must be "theory" or "script", got {convention!r}')
    if (steps is None) == (tau is None):
        raise ValueError(f"give exactly one of steps and tau, got steps={steps!r} and tau={tau!r}")
    name, value = ("steps", steps) if tau is None else ("tau", tau)
    if concrete(value):
        value = real_array(name, value, "finite real numbers")
        if value.size and value.min() < 0:
            raise ValueError(f"{name} must be at least 0, got {value.min()}")
    rate = rates[convention]()
    return value * rate if tau is None else value / rate
