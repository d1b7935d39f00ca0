r"""Distances between the theory and samples, the size they should have at finite d,
and their limit d → ∞.

A quantity of matrices of dimension d approaches its limit as

    value(d) = limit + slope·d^-a + fluctuations of size spread·d^-a,

with a = 1 for what sums over a bulk (masses, moments, distribution functions, losses), a = 2/3 for
soft edges, where the density vanishes as a root (the scale of Tracy and Widom), a = 2 for a hard
edge, where it diverges (ψ_p = 1 + ψ_n), and a = 1/2 for the atom, which finite features smear by a
relative √(ψ_p/d). While that smear is wider than a quarter of the gap above the atom, what is
measured next to it (the lowest edge, the lowest bulk's mass, the distribution function from the
lowest edge on) is not yet falling: a = 0 predicts it for larger d, and no limit can be told.
"""

from __future__ import annotations

from typing import Any, NamedTuple, overload

import jax
import numpy as np

from ..numerics.checks import integer
from ..numerics.types import Given, Key
from ..spectra.spectrum import Spectrum
from ..training.learning_curves import LearningCurve
from .bands import standard_error
from .deviations import (
    MEASURES,
    Deviations,
    deviations_of,
    exponents_of,
    is_smeared,
    plain,
    same_tau,
)
from .extrapolation import CurveExtrapolation, SpectrumExtrapolation
from .spectra import EmpiricalSpectrum, spectrum

REFERENCES = (2, 4)  # the sample's d over those of the reference samples
REFERENCE_REPEATS = 2
SMALLEST = 4  # d, n and p of a reference sample


class Comparison(NamedTuple):
    """Deviations of a sampled spectrum from the theory, each averaged over the repeats.

    `kolmogorov`: largest distance of the distribution functions at and above the lowest edge; what
    lies below is the atom, which finite features smear by a relative √(ψ_p/d). `atom_spread`:
    standard deviation of the eigenvalues whose rank puts them in the atom (NaN without one).
    `wasserstein`: mean |λ_(i) - Q((i - ½)/p)|, in the unit of λ. `edges`: relative deviation of the
    smallest and largest eigenvalue of each bulk, told by their ranks, shape [2B]. `masses`:
    deviation of the share found between the middles of the gaps, shape [B]. `d`, `repeats`:
    dimension, and matrices averaged over. `error`: standard error of each over the repeats; NaN for
    a single matrix. `expected`: root mean square that each should have at this d and these repeats
    if the theory holds, from samples of other sizes; NaN where there are none. A deviation of the
    expected size is due to d, one several times as large is not.
    """

    kolmogorov: float
    atom_spread: float
    wasserstein: float
    edges: np.ndarray
    masses: np.ndarray
    d: int
    repeats: int
    error: Deviations
    expected: Deviations

    def columns(self) -> dict[str, list[Any]]:
        """Name, deviation found, its standard error, and the size expected, edge by edge and bulk
        by bulk.
        """
        names, found, error, expected = [], [], [], []
        one = {"edges": "edge", "masses": "mass of bulk"}
        for name in Deviations._fields:
            values = np.atleast_1d(getattr(self, name))
            names += [f"{one[name]} {i + 1}" for i in range(values.size)] if name in one else [name]
            found += values.tolist()
            error += np.broadcast_to(getattr(self.error, name), values.shape).tolist()
            expected += np.broadcast_to(getattr(self.expected, name), values.shape).tolist()
        return {"name": names, "found": found, "error": error, "expected": expected}


class CurveDeviations(NamedTuple):
    """Largest deviations of the two losses over τ."""

    train: float
    test: float


class CurveComparison(NamedTuple):
    """Largest absolute deviations of a sampled learning curve from another, and where they are.

    `expected`: largest root mean square over τ that each loss should deviate by at this d, from an
    extrapolation over other sizes; NaN without one.
    """

    train: float
    test: float
    tau_train: float
    tau_test: float
    expected: CurveDeviations


@overload
def compare(
    theory: Spectrum,
    empirical: EmpiricalSpectrum,
    *,
    finite_size: SpectrumExtrapolation | None = None,
    d: int | None = None,
    key: Key | None = None,
) -> Comparison: ...


@overload
def compare(
    theory: LearningCurve,
    empirical: LearningCurve,
    *,
    finite_size: CurveExtrapolation | None = None,
    d: int | None = None,
) -> CurveComparison: ...


def compare(
    theory: Given,
    empirical: Given,
    *,
    finite_size: Given = None,
    d: int | None = None,
    key: Key | None = None,
) -> Any:
    r"""Distances between theory and experiment, and the distances that finite d explains.

    Parameters
    ----------
    theory : Spectrum or LearningCurve
    empirical : EmpiricalSpectrum or LearningCurve
        Of the same kind; curves at the same τ.
    finite_size : SpectrumExtrapolation or CurveExtrapolation, optional
        Where the expected deviations come from: an extrapolation over samples of the same model.
    d : int
        Dimension of a sampled learning curve, needed with its extrapolation; a spectrum knows its
        own.
    key : jax.random key, optional
        Or they come, for a spectrum of Gaussian data, from two samples each at about d/2 and d/4,
        drawn with this key at about a quarter of the cost of the spectrum itself; their deviations
        are scaled as d^-a with the exponents of the module's docstring.

    Returns
    -------
    Comparison or CurveComparison
        ``.expected`` is NaN without `finite_size` and `key`, for spectra of given data or of a kind
        not known, and where d is so small that d/4, n/4 or p/4 is below 4.

    Raises
    ------
    ValueError
        If the two are of different kinds, the curves have different τ, or `finite_size`, `d` or
        `key` does not fit them.

    Examples
    --------
    >>> import jax, rfspec as rf
    >>> model = rf.RandomFeatureModel(psi_p=8.0, psi_n=2.0, t=0.05)
    >>> sampled = rf.empirical.spectrum(jax.random.key(0), model, 8, kind="gaussian")
    >>> rf.compare(rf.spectrum(model), sampled).kolmogorov < 0.05
    True
    """
    if isinstance(theory, Spectrum) and isinstance(empirical, EmpiricalSpectrum):
        if d not in (None, empirical.d):
            raise ValueError(f"d must be that of the spectrum, {empirical.d}, got {d!r}")
        return _spectra(theory, empirical, finite_size, key)
    if isinstance(theory, LearningCurve) and isinstance(empirical, LearningCurve):
        if key is not None:
            raise ValueError("key goes with spectra: no learning curves are drawn for comparison")
        return _curves(theory, empirical, finite_size, d)
    raise ValueError(
        "compare takes a Spectrum and an EmpiricalSpectrum, or two LearningCurves, "
        f"got {type(theory).__name__} and {type(empirical).__name__}"
    )


def _spectra(
    theory: Spectrum, empirical: EmpiricalSpectrum, finite_size: Any, key: Key | None
) -> Comparison:
    each = deviations_of(theory, empirical)
    mean = Deviations(*(plain(a.mean(axis=0)) for a in each))
    error = Deviations(*(plain(standard_error(a)) for a in each))
    expected = _expected(theory, empirical, finite_size, key)
    if expected is None:
        expected = Deviations(*(plain(np.full(np.shape(a), np.nan)) for a in mean))
    return Comparison(*mean, empirical.d, empirical.repeats, error, expected)


def _expected(
    theory: Spectrum, empirical: EmpiricalSpectrum, finite_size: Any, key: Key | None
) -> Deviations | None:
    if finite_size is not None and key is not None:
        raise ValueError("give at most one of finite_size and key")
    _check_kind(finite_size, SpectrumExtrapolation)
    if finite_size is not None:
        return _expected_of_fit(theory, empirical, finite_size)
    references = [] if key is None else _references(key, empirical)
    return _expected_of_references(theory, empirical, references) if references else None


def _expected_of_fit(
    theory: Spectrum, empirical: EmpiricalSpectrum, fits: SpectrumExtrapolation
) -> Deviations:
    edges = np.asarray(theory.edges)
    if np.shape(fits.edges.limit) != edges.shape:
        raise ValueError(
            f"finite_size must be of a model with {edges.size // 2} bulks, got "
            f"{np.size(fits.edges.limit) // 2}"
        )
    sizes = {name: getattr(fits, name).size(empirical.d, empirical.repeats) for name in MEASURES}
    sizes["edges"] = sizes["edges"] / edges
    return Deviations(**{name: plain(size) for name, size in sizes.items()})


def _expected_of_references(
    theory: Spectrum, empirical: EmpiricalSpectrum, references: list[EmpiricalSpectrum]
) -> Deviations:
    """Deviations of the references scaled to d: their mean is systematic,
    their spread falls with the repeats.
    """
    each = [deviations_of(theory, r) for r in references]
    spread = float(each[0].atom_spread.mean()) * (references[0].d / empirical.d) ** 0.5
    exponents, sizes = exponents_of(theory, 0.0 if is_smeared(theory, spread) else None), []
    for name in MEASURES:
        pairs = zip(each, references, strict=True)
        scaled = np.concatenate(
            [getattr(e, name) * float(r.d) ** exponents[name] for e, r in pairs]
        )
        size = np.sqrt(scaled.mean(axis=0) ** 2 + scaled.var(axis=0, ddof=1) / empirical.repeats)
        sizes.append(plain(size * float(empirical.d) ** -np.asarray(exponents[name])))
    return Deviations(*sizes)


def _references(key: Key, empirical: EmpiricalSpectrum) -> list[EmpiricalSpectrum]:
    """Smaller samples of the same model and kind; none where they cannot be drawn."""
    model, sizes = empirical.model, [empirical.d // r for r in REFERENCES]
    least = min(sizes) * min(1.0, float(model.psi_n), float(model.psi_p))
    if empirical.kind is None or not empirical.gaussian_data or least < SMALLEST:
        return []
    keys = jax.random.split(key, len(sizes))
    options: dict[str, Any] = {
        "kind": empirical.kind,
        "rows": empirical.rows,
        "repeats": REFERENCE_REPEATS,
    }
    return [spectrum(key, model, d, **options) for key, d in zip(keys, sizes, strict=True)]


def _curves(
    theory: LearningCurve, empirical: LearningCurve, finite_size: Any, d: int | None
) -> CurveComparison:
    tau = np.ravel(theory.tau)
    same_tau(tau, empirical)
    expected = CurveDeviations(np.nan, np.nan)
    _check_kind(finite_size, CurveExtrapolation)
    if finite_size is not None:
        if d is None:
            raise ValueError(
                "d must be given with finite_size, for a learning curve does not know it, got None"
            )
        same_tau(np.ravel(finite_size.tau), empirical)
        d = integer("d", d)
        expected = CurveDeviations(
            float(np.max(finite_size.train.size(d))), float(np.max(finite_size.test.size(d)))
        )
    train = np.abs(np.ravel(theory.train - empirical.train))
    test = np.abs(np.ravel(theory.test - empirical.test))
    places = float(tau[train.argmax()]), float(tau[test.argmax()])
    return CurveComparison(float(train.max()), float(test.max()), *places, expected)


def _check_kind(finite_size: Any, kind: type) -> None:
    if finite_size is not None and not isinstance(finite_size, kind):
        raise ValueError(
            f"finite_size must be a {kind.__name__} or None, got {type(finite_size).__name__}"
        )
