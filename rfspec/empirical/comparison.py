r"""Distances between the theory and samples, and the size that they should have at finite d.

A quantity of matrices of dimension d approaches its limit as

    value(d) = limit + slope·d^-a + fluctuations of size spread·d^-a.

The exponent is a = 1 for sums over a bulk (masses, moments, distribution functions, losses), a =
2/3 for soft edges, where the density vanishes as a root (the scale of Tracy and Widom), a = 2 for a
hard edge, where it diverges (ψ_p = 1 + ψ_n), and a = 1/2 for the atom, which finite features smear
by a relative √(ψ_p/d). Three measures lie next to the atom: the lowest edge, the lowest bulk's
mass, and the distribution function from the lowest edge on. While the smear is wider than a quarter
of the gap above the atom, they do not fall yet. They are then expected to be as large at a larger d
as at a smaller one, a = 0, and their limit cannot be told.
"""

from __future__ import annotations

from typing import Any, overload

import equinox as eqx
import jax
import numpy as np

from ..files.tables import Table
from ..numerics.checks import random_key
from ..numerics.types import Given
from ..spectra.of_models import AnySpectrum
from ..spectra.spectrum import Spectrum
from ..training.learning_curves import LearningCurve
from .bands import standard_error
from .curve_comparison import CurveComparison, compare_curves
from .deviations import (
    MEASURES,
    Deviations,
    check_kind,
    deviations_of,
    exponents_of,
    is_smeared,
    plain,
    refuse_other_spectra,
    spectrum_at,
)
from .extrapolation import CurveExtrapolation, SpectrumExtrapolation
from .sampled_spectra import spectrum
from .spectra import EmpiricalSpectrum

REFERENCES = (2, 4)  # the sample's d over the d of each reference
REFERENCE_REPEATS = 2
SMALLEST = 4  # d, n and p of a reference


class Comparison(Table, eqx.Module):
    """Deviations of a sampled spectrum from the theory, each averaged over the repeats.

    A deviation here is a raw difference, sample minus theory, or a distance; it is not divided by
    its error. One of the expected size is due to finite d, one several times as large is not.

    Attributes
    ----------
    kolmogorov : float
        Largest distance of the distribution functions at and above the lowest edge. Below it lies
        the atom, which finite features smear by a relative √(ψ_p/d). With a theory at finite d,
        which has no edges, masses and atom, the largest anywhere.
    atom_spread : float
        Standard deviation of the eigenvalues whose rank puts them in the atom, in the unit of λ;
        NaN without one.
    wasserstein : float
        Mean |λ_(i) - Q((i - ½)/p)|, in the unit of λ.
    edges : array, shape [2B]
        Relative difference of the smallest and largest eigenvalue of each bulk by rank.
    masses : array, shape [B]
        Difference of the share between the middles of the gaps.
    d, repeats : int
        Dimension, and matrices averaged over.
    error : Deviations
        Standard error of each over the repeats; NaN for a single matrix.
    expected : Deviations
        Root mean square that each should have at this d and these repeats if the theory holds, from
        samples of other sizes; NaN where there are none.
    """

    dimension = "name"

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
        """A table of the deviations, edge by edge and bulk by bulk.

        Returns
        -------
        dict
            Lists "name", "found" (the deviation), "error" (its standard error) and "expected".
        """
        names, values, errors, sizes = [], [], [], []
        singular = {"edges": "edge", "masses": "mass of bulk"}
        for name in Deviations._fields:
            value = np.atleast_1d(getattr(self, name))
            if name in singular:
                names += [f"{singular[name]} {i + 1}" for i in range(value.size)]
            else:
                names.append(name)
            values += value.tolist()
            errors += np.broadcast_to(getattr(self.error, name), value.shape).tolist()
            sizes += np.broadcast_to(getattr(self.expected, name), value.shape).tolist()
        return {"name": names, "found": values, "error": errors, "expected": sizes}

    def title(self) -> str:
        """Dimension, and how many matrices."""
        return f"Comparison of the theory with {self.repeats} matrices, d = {self.d}"


@overload
def compare(
    theory: AnySpectrum,
    empirical: EmpiricalSpectrum,
    *,
    finite_size: SpectrumExtrapolation | None = None,
    d: int | None = None,
    key: Given = None,
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
    key: Given = None,
) -> Any:
    r"""Distances between theory and sample, and the distances that finite d explains.

    Distribution functions are compared by sup|F_sample - F| and ∫|Q_sample - Q|, edges and masses
    bulk by bulk, learning curves by the largest |L_sample - L|.

    Parameters
    ----------
    theory : Spectrum, SpectrumAtFiniteD or LearningCurve
    empirical : EmpiricalSpectrum or LearningCurve
        Of the same kind; curves at the same τ.
    finite_size : SpectrumExtrapolation or CurveExtrapolation, optional
        An extrapolation over samples of the same model, which tells the expected deviations.
    d : int
        Dimension of a sampled learning curve, which does not know it; by default the theory's. It
        is needed with an extrapolation, and where the sample has another d than the theory, which
        is then taken at this one, ``model.replace(d=d)``. A spectrum knows its own.
    key : JAX random key, or int as a seed, optional
        For spectra of Gaussian data, in place of `finite_size`: two samples each at about d/2 and
        d/4 are drawn with this key, at about a quarter of the cost of the spectrum itself, and
        their deviations scaled as d^-a. The exponent a is 1/2 for the atom's spread, 2/3 for edges
        (2 for a hard one), and 1 for all else.

    Returns
    -------
    Comparison or CurveComparison
        Their ``.expected`` is NaN without `finite_size` and `key`, for spectra of given data or of
        an unknown kind, and where d is so small that d/4, n/4 or p/4 is below 4.

    Raises
    ------
    ValueError
        If the two are of different kinds, the curves have different τ, or `finite_size`, `d` or
        `key` does not fit them.
    NotImplementedError
        If `finite_size` goes with a spectrum at finite d, which has neither edges nor an atom; give
        `key`.

    Notes
    -----
    The learning curve and the spectrum of a model with d have what finite d does to features, (31)
    of docs/theory.md, and what is left falls as 1/d. Deviations from them are those from the theory
    at the sample's d, and only what is left is expected. Such a spectrum has no edges, no masses
    between them and no atom, so that the distances of the distribution functions are compared, on
    the whole line. Samples of kind "gaussian" have no such features: their theory is that of
    ``model.limit``.

    Examples
    --------
    >>> import jax, rfspec as rf
    >>> model = rf.RandomFeatureModel(psi_p=8.0, psi_n=2.0, t=0.05)
    >>> sampled = rf.empirical.spectrum(jax.random.key(0), model, 8, kind="gaussian")
    >>> rf.compare(rf.spectrum(model), sampled).kolmogorov < 0.05
    True
    """
    if isinstance(theory, AnySpectrum) and isinstance(empirical, EmpiricalSpectrum):
        if d not in (None, empirical.d):
            raise ValueError(f"d must be that of the spectrum, {empirical.d}, got {d!r}")
        at_d = spectrum_at(theory, empirical.d)
        return _compare_spectra(at_d, empirical, finite_size, key)
    if isinstance(theory, LearningCurve) and isinstance(empirical, LearningCurve):
        if key is not None:
            raise ValueError("key goes with spectra: no learning curves are drawn for comparison")
        return compare_curves(theory, empirical, finite_size, d)
    raise ValueError(
        "compare takes a Spectrum and an EmpiricalSpectrum, or two LearningCurves, "
        f"got {type(theory).__name__} and {type(empirical).__name__}"
    )


def _compare_spectra(
    theory: AnySpectrum, empirical: EmpiricalSpectrum, finite_size: Any, key: Given
) -> Comparison:
    each = deviations_of(theory, empirical)
    mean = Deviations(*(plain(a.mean(axis=0)) for a in each))
    error = Deviations(*(plain(standard_error(a)) for a in each))
    expected = _expected(theory, empirical, finite_size, key)
    if expected is None:
        expected = Deviations(*(plain(np.full(np.shape(a), np.nan)) for a in mean))
    return Comparison(*mean, empirical.d, empirical.repeats, error, expected)


def _expected(
    theory: AnySpectrum, empirical: EmpiricalSpectrum, finite_size: Any, key: Given
) -> Deviations | None:
    if finite_size is not None and key is not None:
        raise ValueError("give at most one of finite_size and key")
    check_kind(finite_size, SpectrumExtrapolation)
    if finite_size is not None:
        refuse_other_spectra(theory, "finite_size")
        assert isinstance(theory, Spectrum)
        return _expected_of_fit(theory, empirical, finite_size)
    references = [] if key is None else _smaller_samples(key, empirical)
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
    theory: AnySpectrum, empirical: EmpiricalSpectrum, references: list[EmpiricalSpectrum]
) -> Deviations:
    each = [deviations_of(spectrum_at(theory, r.d), r) for r in references]
    spread = float(each[0].atom_spread.mean()) * (references[0].d / empirical.d) ** 0.5
    exponents, sizes = exponents_of(theory, 0.0 if is_smeared(theory, spread) else None), []
    for name in MEASURES:
        pairs = zip(each, references, strict=True)
        scaled = np.concatenate(
            [getattr(e, name) * float(r.d) ** exponents[name] for e, r in pairs]
        )
        # the mean is systematic, and the scatter around it falls with the repeats
        size = np.sqrt(scaled.mean(axis=0) ** 2 + scaled.var(axis=0, ddof=1) / empirical.repeats)
        sizes.append(plain(size * float(empirical.d) ** -np.asarray(exponents[name])))
    return Deviations(*sizes)


def _smaller_samples(key: Given, empirical: EmpiricalSpectrum) -> list[EmpiricalSpectrum]:
    model, sizes = empirical.model, [empirical.d // r for r in REFERENCES]
    least = min(sizes) * min(1.0, float(model.psi_n), float(model.psi_p))
    if empirical.kind is None or not empirical.gaussian_data or least < SMALLEST:
        return []
    keys = jax.random.split(random_key("key", key), len(sizes))
    options: dict[str, Any] = {
        "kind": empirical.kind,
        "rows": empirical.rows,
        "repeats": REFERENCE_REPEATS,
    }
    return [spectrum(key, model, d, **options) for key, d in zip(keys, sizes, strict=True)]
