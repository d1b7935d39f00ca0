r"""Distances between the theory and samples, the size they should have at finite d, and their limit d → ∞.

A quantity of matrices of dimension d approaches its limit as

    value(d) = limit + slope·d^-a + fluctuations of size spread·d^-a,

with a = 1 for what sums over a bulk (masses, moments, distribution functions, losses), a = 2/3 for soft edges, where
the density vanishes as a root (the scale of Tracy and Widom), a = 2 for a hard edge, where it diverges (ψ_p = 1 + ψ_n),
and a = 1/2 for the atom, which finite features smear by a relative √(ψ_p/d). While that smear is wider than a quarter
of the gap above the atom, what is measured next to it (the lowest edge, the lowest bulk's mass, the distribution
function from the lowest edge on) is not yet falling: a = 0 predicts it for larger d, and no limit can be told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, overload

import equinox as eqx
import jax
import numpy as np

from ..spectra.spectrum import Spectrum
from ..training.learning_curves import LearningCurve
from .spectra import EmpiricalSpectrum, atom_spread, cuts, edges_by_rank, shares_by_place, spectrum, standard_error

REFERENCES = (2, 4)  # the sample's d over those of the reference samples
REFERENCE_REPEATS = 2
SMALLEST = 4  # d, n and p of a reference sample
MEASURES = ("kolmogorov", "atom_spread", "wasserstein", "edges", "masses")
SMEARED = 0.25  # of the gap above it, from which on the atom's spread reaches over the lowest edge
ROUNDING = 1e-13


class Deviations(NamedTuple):
    """One number for each of the deviations in ``Comparison``, of the same shapes."""

    kolmogorov: Any
    atom_spread: Any
    wasserstein: Any
    edges: Any
    masses: Any


class Comparison(NamedTuple):
    """Deviations of a sampled spectrum from the theory, each averaged over the repeats.

    `kolmogorov`: largest distance of the distribution functions at and above the lowest edge; what lies below
    is the atom, which finite features smear by a relative √(ψ_p/d). `atom_spread`: standard deviation of the
    eigenvalues whose rank puts them in the atom (NaN without one). `wasserstein`: mean |λ_(i) - Q((i - ½)/p)|, in
    the unit of λ. `edges`: relative deviation of the smallest and largest eigenvalue of each bulk, told by their
    ranks, shape [2B]. `masses`: deviation of the share found between the middles of the gaps, shape [B].
    `d`, `repeats`: dimension, and matrices averaged over.
    `error`: standard error of each over the repeats; NaN for a single matrix.
    `expected`: root mean square that each should have at this d and these repeats if the theory holds, from samples
    of other sizes; NaN where there are none. A deviation of the expected size is due to d, one several times as large
    is not.
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

    def rows(self) -> list[dict[str, Any]]:
        """A table: name, deviation found, its standard error, and the size expected, edge by edge and bulk by bulk."""
        table, one = [], {"edges": "edge", "masses": "mass of bulk"}
        for name in Deviations._fields:
            found = np.atleast_1d(getattr(self, name))
            columns = (np.broadcast_to(getattr(of, name), found.shape) for of in (self.error, self.expected))
            for i, (value, error, size) in enumerate(zip(found, *columns, strict=True)):
                label = f"{one[name]} {i + 1}" if name in one else name
                numbers = (float(value), float(error), float(size))
                table.append(dict(zip(("name", "found", "error", "expected"), (label, *numbers), strict=True)))
        return table


class CurveDeviations(NamedTuple):
    """Largest deviations of the two losses over τ."""

    train: float
    test: float


class CurveComparison(NamedTuple):
    """Largest absolute deviations of a sampled learning curve from another, and where they are.

    `expected`: largest root mean square over τ that each loss should deviate by at this d, from an extrapolation over
    other sizes; NaN without one.
    """

    train: float
    test: float
    tau_train: float
    tau_test: float
    expected: CurveDeviations


class Extrapolation(NamedTuple):
    """The fit value(d) = limit + slope·d^-exponent to one quantity; arrays of the quantity's shape.

    `limit`, `limit_error`: at d → ∞. The error adds in squares the fit's standard error and the step that the limit
    takes when the smallest size is left out, which shows what the next order in 1/d does; NaN for two sizes, infinite
    next to an atom that is smeared over the lowest edge at all of them.
    `spread`: standard deviation of a single matrix, or of a mean curve where such were given, times d^exponent; NaN
    where nothing tells. `theory`: the value it
    should have. `deviation`: (limit - theory)/limit_error.
    """

    limit: Any
    limit_error: Any
    slope: Any
    exponent: Any
    spread: Any
    theory: Any
    deviation: Any

    def at(self, d: float) -> Any:
        """The fit at a dimension d."""
        return self.limit + self.slope * float(d) ** -np.asarray(self.exponent)

    def size(self, d: float, repeats: int = 1) -> Any:
        """Root mean square deviation from the theory expected of a mean over matrices of dimension d."""
        noise = np.nan_to_num(self.spread) * float(d) ** -np.asarray(self.exponent)
        return np.sqrt((self.at(d) - self.theory) ** 2 + noise**2 / repeats)


class SpectrumExtrapolation(NamedTuple):
    """Spectra of several sizes carried to d → ∞.

    `edges`, shape [2B], in the unit of λ; `masses`, shape [B]; `moments`: of orders 1 and 2, shape [2]; and the
    distances `kolmogorov`, `wasserstein`, `atom_spread`, whose limit should be 0. `d`: the sizes.
    """

    edges: Extrapolation
    masses: Extrapolation
    moments: Extrapolation
    kolmogorov: Extrapolation
    wasserstein: Extrapolation
    atom_spread: Extrapolation
    d: tuple[int, ...]


class CurveExtrapolation(NamedTuple):
    """Learning curves of several sizes carried to d → ∞: `train` and `test`, of τ's shape, at times `tau`."""

    train: Extrapolation
    test: Extrapolation
    tau: Any
    d: tuple[int, ...]


# ------------------------------------------------------------------------------------------------- comparison


@overload
def compare(
    theory: Spectrum,
    empirical: EmpiricalSpectrum,
    *,
    finite_size: SpectrumExtrapolation | Literal[False] | None = None,
    d: int | None = None,
) -> Comparison: ...


@overload
def compare(
    theory: LearningCurve,
    empirical: LearningCurve,
    *,
    finite_size: CurveExtrapolation | Literal[False] | None = None,
    d: int | None = None,
) -> CurveComparison: ...


def compare(theory: Any, empirical: Any, *, finite_size: Any = None, d: int | None = None) -> Any:
    r"""Distances between theory and experiment, and the distances that finite d explains.

    Parameters
    ----------
    theory : Spectrum or LearningCurve
    empirical : EmpiricalSpectrum or LearningCurve
        Of the same kind; curves at the same τ.
    finite_size : SpectrumExtrapolation, CurveExtrapolation, False or None
        Where the expected deviations come from: an extrapolation over samples of the same model, or, for None and a
        spectrum of Gaussian data, two samples each at about d/2 and d/4, drawn here with ``jax.random.key(0)`` at
        about a quarter of the cost of the spectrum itself; their deviations are scaled as d^-a with the exponents of
        the module's docstring. False draws none.
    d : int
        Dimension of a sampled learning curve, needed with its extrapolation; a spectrum knows its own.

    Returns
    -------
    Comparison or CurveComparison
        ``.expected`` is NaN without `finite_size`, for spectra of given data or of a kind not known, and where d is
        so small that d/4, n/4 or p/4 is below 4.

    Raises
    ------
    ValueError
        If the two are of different kinds, the curves have different τ, or `finite_size` or `d` does not fit them.

    Examples
    --------
    >>> import jax, rfspec as rf
    >>> model = rf.RandomFeatureModel(psi_p=8.0, psi_n=2.0, t=0.05)
    >>> sampled = rf.empirical.spectrum(jax.random.key(0), model, 8, kind="gaussian")
    >>> rf.compare(rf.spectrum(model), sampled, finite_size=False).kolmogorov < 0.05
    True
    """
    if isinstance(theory, Spectrum) and isinstance(empirical, EmpiricalSpectrum):
        if d not in (None, empirical.d):
            raise ValueError(f"d must be that of the spectrum, {empirical.d}, got {d!r}")
        return _spectra(theory, empirical, finite_size)
    if isinstance(theory, LearningCurve) and isinstance(empirical, LearningCurve):
        return _curves(theory, empirical, finite_size, d)
    raise ValueError(
        "compare takes a Spectrum and an EmpiricalSpectrum, or two LearningCurves, "
        f"got {type(theory).__name__} and {type(empirical).__name__}"
    )


def _spectra(theory: Spectrum, empirical: EmpiricalSpectrum, finite_size: Any) -> Comparison:
    each = _deviations(theory, empirical)
    mean = Deviations(*(_plain(a.mean(axis=0)) for a in each))
    error = Deviations(*(_plain(standard_error(a)) for a in each))
    expected = _expected(theory, empirical, finite_size)
    if expected is None:
        expected = Deviations(*(_plain(np.full(np.shape(a), np.nan)) for a in mean))
    return Comparison(*mean, empirical.d, empirical.repeats, error, expected)


def _expected(theory: Spectrum, empirical: EmpiricalSpectrum, finite_size: Any) -> Deviations | None:
    if isinstance(finite_size, SpectrumExtrapolation):
        return _expected_of_fit(theory, empirical, finite_size)
    _only_none_or_false(finite_size, SpectrumExtrapolation)
    if finite_size is False:
        return None
    references = _references(empirical)
    return _expected_of_references(theory, empirical, references) if references else None


def _expected_of_fit(theory: Spectrum, empirical: EmpiricalSpectrum, fits: SpectrumExtrapolation) -> Deviations:
    edges = np.asarray(theory.edges)
    if np.shape(fits.edges.limit) != edges.shape:
        raise ValueError(
            f"finite_size must be of a model with {edges.size // 2} bulks, got {np.size(fits.edges.limit) // 2}"
        )
    sizes = {name: getattr(fits, name).size(empirical.d, empirical.repeats) for name in MEASURES}
    sizes["edges"] = sizes["edges"] / edges
    return Deviations(**{name: _plain(size) for name, size in sizes.items()})


def _expected_of_references(
    theory: Spectrum, empirical: EmpiricalSpectrum, references: list[EmpiricalSpectrum]
) -> Deviations:
    """Deviations of the references scaled to d: their mean is systematic, their spread falls with the repeats."""
    each = [_deviations(theory, r) for r in references]
    spread = float(each[0].atom_spread.mean()) * (references[0].d / empirical.d) ** 0.5
    exponents, sizes = _exponents(theory, 0.0 if _smeared(theory, spread) else None), []
    for name in MEASURES:
        pairs = zip(each, references, strict=True)
        scaled = np.concatenate([getattr(e, name) * float(r.d) ** exponents[name] for e, r in pairs])
        size = np.sqrt(scaled.mean(axis=0) ** 2 + scaled.var(axis=0, ddof=1) / empirical.repeats)
        sizes.append(_plain(size * float(empirical.d) ** -np.asarray(exponents[name])))
    return Deviations(*sizes)


def _references(empirical: EmpiricalSpectrum) -> list[EmpiricalSpectrum]:
    """Smaller samples of the same model and kind; none where they cannot be drawn."""
    model, sizes = empirical.model, [empirical.d // r for r in REFERENCES]
    least = min(sizes) * min(1.0, float(model.psi_n), float(model.psi_p))
    if empirical.kind is None or not empirical.gaussian_data or least < SMALLEST:
        return []
    keys = jax.random.split(jax.random.key(0), len(sizes))
    options: dict[str, Any] = {"kind": empirical.kind, "rows": empirical.rows, "repeats": REFERENCE_REPEATS}
    return [spectrum(key, model, d, **options) for key, d in zip(keys, sizes, strict=True)]


def _curves(theory: LearningCurve, empirical: LearningCurve, finite_size: Any, d: int | None) -> CurveComparison:
    tau = np.ravel(theory.tau)
    _same_tau(tau, empirical)
    expected = CurveDeviations(np.nan, np.nan)
    if isinstance(finite_size, CurveExtrapolation):
        if d is None:
            raise ValueError("d must be given with finite_size, for a learning curve does not know it, got None")
        _same_tau(np.ravel(finite_size.tau), empirical)
        d = _dimension(d)
        expected = CurveDeviations(float(np.max(finite_size.train.size(d))), float(np.max(finite_size.test.size(d))))
    else:
        _only_none_or_false(finite_size, CurveExtrapolation)
    train = np.abs(np.ravel(theory.train - empirical.train))
    test = np.abs(np.ravel(theory.test - empirical.test))
    places = float(tau[train.argmax()]), float(tau[test.argmax()])
    return CurveComparison(float(train.max()), float(test.max()), *places, expected)


def _same_tau(tau: np.ndarray, curve: LearningCurve) -> None:
    other = np.ravel(curve.tau)
    if tau.shape != other.shape or not np.allclose(tau, other, rtol=1e-9):
        raise ValueError(f"tau must be the same in both curves, got {_brief(tau)} and {_brief(other)}")


def _brief(a: np.ndarray) -> str:
    return np.array2string(a, threshold=4, edgeitems=1, precision=4)


def _only_none_or_false(finite_size: Any, kind: type) -> None:
    if finite_size is not None and finite_size is not False:
        raise ValueError(f"finite_size must be a {kind.__name__}, None or False, got {type(finite_size).__name__}")


def _plain(a: Any) -> Any:
    return float(a) if np.ndim(a) == 0 else np.asarray(a)


# ------------------------------------------------------------------------------------------------ measurement


def _deviations(theory: Spectrum, empirical: EmpiricalSpectrum) -> Deviations:
    """The measures of each matrix: arrays with the repeats first."""
    values = np.sort(np.asarray(empirical.eigenvalues), axis=1)
    ranks, middles = cuts(theory, values.shape[1])
    edges, masses = np.asarray(theory.edges), np.asarray(theory.support.mass)[: len(ranks) - 1]
    return Deviations(
        kolmogorov=_kolmogorov(theory, values),
        atom_spread=atom_spread(values, ranks),
        wasserstein=_wasserstein(theory, values),
        edges=edges_by_rank(values, ranks) / edges - 1.0,
        masses=shares_by_place(values, middles) - masses,
    )


def _kolmogorov(theory: Spectrum, values: np.ndarray) -> np.ndarray:
    """Largest distance of the distribution functions of each matrix, from the lowest edge on."""
    lowest = float(np.asarray(theory.edges)[0])
    above = [np.append(row[row >= lowest], lowest) for row in values]
    split = np.cumsum([len(a) for a in above])[:-1]
    exact = np.split(_padded(theory.cdf, np.concatenate(above), lowest), split)
    return np.array([_distance(row, at, cdf) for row, at, cdf in zip(values, above, exact, strict=True)])


def _distance(row: np.ndarray, at: np.ndarray, cdf: np.ndarray) -> float:
    return max(np.abs(np.searchsorted(row, at, side=side) / row.size - cdf).max() for side in ("left", "right"))


def _wasserstein(theory: Spectrum, values: np.ndarray) -> np.ndarray:
    p = values.shape[1]
    return np.mean(np.abs(values - _padded(theory.quantile, (np.arange(p) + 0.5) / p, 0.5)), axis=1)


def _padded(f: Callable[[Any], Any], x: np.ndarray, fill: float) -> np.ndarray:
    """f(x) by way of arrays whose length is a power of two, so that samples of all sizes share compilations."""
    padded = np.full(max(1024, 1 << (len(x) - 1).bit_length()), fill)
    padded[: len(x)] = x
    return np.asarray(f(padded))[: len(x)]


def _smeared(theory: Spectrum, spread: float) -> bool:
    """Whether an atom of this spread reaches over the lowest edge."""
    location = float(theory.atom.location)
    gap = float(np.asarray(theory.edges)[0]) - location
    return float(theory.atom.mass) > 0 and spread > max(SMEARED * gap, ROUNDING * location)


def _exponents(theory: Spectrum, beside_atom: float | None = None) -> dict[str, Any]:
    """The power of 1/d with which each measure falls; next to a smeared atom as given."""
    edges, origin = np.asarray(theory.edges), float(theory.atom.location)
    a: dict[str, Any] = dict.fromkeys((*MEASURES, "moments"), 1.0)
    a |= {"atom_spread": 0.5, "edges": np.where(edges - origin <= 1e-12 * origin, 2.0, 2.0 / 3.0)}
    a["masses"] = np.ones(edges.size // 2)
    if beside_atom is not None:
        a["kolmogorov"] = a["edges"][0] = a["masses"][0] = beside_atom
    return a


# ---------------------------------------------------------------------------------------------- extrapolation


@overload
def extrapolate(theory: Spectrum, empiricals: Sequence[EmpiricalSpectrum]) -> SpectrumExtrapolation: ...


@overload
def extrapolate(
    theory: LearningCurve, empiricals: Mapping[int, LearningCurve | Sequence[LearningCurve]]
) -> CurveExtrapolation: ...


def extrapolate(theory: Any, empiricals: Any) -> Any:
    r"""Carry samples of several sizes to d → ∞, and set the limits against the theory.

    value(d) = limit + slope·d^-a by weighted least squares, with the exponents a of the module's docstring and the
    weights repeats·d^{2a} of a spread that falls as d^-a. The spread is pooled over the sizes from the scatter of the
    repeats, and is not taken smaller than the residuals of the fit show it.

    Parameters
    ----------
    theory : Spectrum or LearningCurve
    empiricals : sequence of EmpiricalSpectrum, or mapping of d to one or more LearningCurve
        At two or more sizes of one model and kind; three or more for an error of the limit. Curves at the theory's τ,
        as single draws or one mean with its standard error.

    Returns
    -------
    SpectrumExtrapolation or CurveExtrapolation
        Fields of ``Extrapolation``: ``.limit .limit_error .slope .exponent .spread .theory .deviation``.

    Raises
    ------
    ValueError
        If there are fewer than two sizes, models or kinds are mixed, or τ differs.

    Examples
    --------
    >>> import jax, rfspec as rf
    >>> model = rf.RandomFeatureModel(psi_p=8.0, psi_n=2.0, t=0.05)
    >>> samples = [rf.empirical.spectrum(jax.random.key(d), model, d, kind="gaussian", repeats=4) for d in (6, 8, 12)]
    >>> bool(abs(rf.empirical.extrapolate(rf.spectrum(model), samples).moments.deviation[0]) < 5)
    True
    """
    if isinstance(theory, Spectrum) and isinstance(empiricals, Sequence):
        return _extrapolate_spectra(theory, empiricals)
    if isinstance(theory, LearningCurve) and isinstance(empiricals, Mapping):
        return _extrapolate_curves(theory, empiricals)
    raise ValueError(
        "extrapolate takes a Spectrum and a sequence of EmpiricalSpectrum, or a LearningCurve and a mapping of d to "
        f"LearningCurve, got {type(theory).__name__} and {type(empiricals).__name__}"
    )


def _extrapolate_spectra(theory: Spectrum, samples: Sequence[EmpiricalSpectrum]) -> SpectrumExtrapolation:
    for one in samples:
        if not isinstance(one, EmpiricalSpectrum):
            raise ValueError(f"empiricals must be EmpiricalSpectrum, got {type(one).__name__}")
    sizes = _sizes([s.d for s in samples])
    _one_kind(samples)
    edges, each = np.asarray(theory.edges), [_deviations(theory, s)._asdict() for s in samples]
    masses = np.asarray(theory.support.mass)[: edges.size // 2]
    smeared = _smeared(theory, float(each[int(np.argmax(sizes))]["atom_spread"].mean()))
    exponents = _exponents(theory, 0.5 if smeared else None)
    target: dict[str, Any] = dict.fromkeys(MEASURES, 0.0)
    target |= {"edges": edges, "masses": masses, "moments": np.array([float(theory.moment(k)) for k in (1, 2)])}
    for measured, one in zip(each, samples, strict=True):
        values = np.asarray(one.eigenvalues)
        measured["edges"] = (1.0 + measured["edges"]) * edges
        measured["masses"] = measured["masses"] + masses
        measured["moments"] = np.stack([np.mean(values**k, axis=1) for k in (1, 2)], axis=1)
    top = max(float(np.max(s.eigenvalues)) for s in samples)
    floor = {"atom_spread": top, "wasserstein": top}
    fits = {
        name: _fit(sizes, [m[name] for m in each], exponents[name], target[name], ROUNDING * floor.get(name, 0.0))
        for name in target
    }
    if smeared:
        fits |= {"kolmogorov": _unbounded(fits["kolmogorov"], ())}
        fits |= {name: _unbounded(fits[name], 0) for name in ("edges", "masses")}
    return SpectrumExtrapolation(**fits, d=tuple(int(d) for d in sizes))


def _extrapolate_curves(theory: LearningCurve, curves: Mapping[Any, Any]) -> CurveExtrapolation:
    sizes = _sizes([_dimension(d) for d in curves])
    groups = [[c] if isinstance(c, LearningCurve) else list(c) for c in curves.values()]
    tau = np.asarray(theory.tau)
    for group in groups:
        if not group or not all(isinstance(c, LearningCurve) for c in group):
            raise ValueError(f"empiricals must hold one or more LearningCurve for each d, got {group!r:.100}")
        for curve in group:
            _same_tau(np.ravel(tau), curve)

    def fit(name: str) -> Extrapolation:
        found = _fit(
            sizes, [_draws(group, name, tau.shape) for group in groups], 1.0, np.asarray(getattr(theory, name))
        )
        return found._replace(spread=found.spread / np.sqrt(2)) if all(map(_is_mean, groups)) else found

    return CurveExtrapolation(fit("train"), fit("test"), tau, tuple(int(d) for d in sizes))


def _is_mean(group: list[LearningCurve]) -> bool:
    """Whether this is one curve that knows its standard error."""
    return len(group) == 1 and bool(np.all(np.isfinite(np.asarray(group[0].standard_error.train))))


def _draws(group: list[LearningCurve], name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The curves in rows; a mean with its standard error e as the two draws mean ± e, whose mean has that error."""
    rows = [np.reshape(getattr(c, name), shape) for c in group]
    if _is_mean(group):
        error = np.reshape(getattr(group[0].standard_error, name), shape)
        rows = [rows[0] - error, rows[0] + error]
    return np.stack(rows)


def _unbounded(fit: Extrapolation, which: Any) -> Extrapolation:
    """The fit with an infinite error in one place."""
    error, deviation = np.array(fit.limit_error), np.array(fit.deviation)
    error[which], deviation[which] = np.inf, 0.0
    return fit._replace(limit_error=error[()], deviation=deviation[()])


def _dimension(d: Any) -> int:
    if isinstance(d, bool) or not isinstance(d, int | np.integer) or d < 1:
        raise ValueError(f"d must be an integer of at least 1, got {d!r}")
    return int(d)


def _sizes(d: list[int]) -> np.ndarray:
    if len(set(d)) < 2:
        raise ValueError(f"empiricals must have at least two values of d, got {sorted(set(d))}")
    return np.array(d, float)


def _one_kind(samples: Sequence[EmpiricalSpectrum]) -> None:
    first = samples[0]
    for one in samples[1:]:
        if one.kind != first.kind or one.rows != first.rows or one.gaussian_data != first.gaussian_data:
            raise ValueError(f"empiricals must be of one kind, got {_what(first)} and {_what(one)}")
        if not eqx.tree_equal(one.model, first.model):
            raise ValueError(f"empiricals must be of one model, got {first.model} and {one.model}")


def _what(s: EmpiricalSpectrum) -> str:
    return f"{s.kind} ({s.rows} rows, {'Gaussian' if s.gaussian_data else 'given'} data)"


def _fit(d: np.ndarray, each: list[np.ndarray], exponent: Any, theory: Any, floor: float = 0.0) -> Extrapolation:
    """The fit to values of shape (repeats, ...) at each size; `floor` is their rounding error where it is known."""
    a = np.broadcast_to(np.asarray(exponent, float), each[0].shape[1:])
    limit, slope, variance, spread = _least_squares(d, each, a)
    error = np.full(a.shape, np.nan)
    larger = d > d.min()
    if len(set(d[larger])) > 1:
        without = _least_squares(d[larger], [e for e, keep in zip(each, larger, strict=True) if keep], a)[0]
        rounding = np.maximum(floor, ROUNDING * np.max([np.abs(e).max(axis=0) for e in each], axis=0))
        error = np.sqrt(variance + (limit - without) ** 2 + rounding**2)
    off = limit - theory
    deviation = np.divide(off, error, out=np.where(off == 0, 0.0, np.nan), where=error > 0)
    return Extrapolation(limit, error, slope, a[()], spread, theory, deviation[()])


def _least_squares(d: np.ndarray, each: list[np.ndarray], a: np.ndarray) -> tuple[Any, Any, Any, Any]:
    """Limit, slope, variance of the limit and spread, with x = d^-a and weights repeats·d^{2a}."""
    counts = np.array([len(e) for e in each], float)
    y = np.stack([e.mean(axis=0) for e in each])
    x = d.reshape(-1, *[1] * a.ndim) ** -a
    w = counts.reshape(-1, *[1] * a.ndim) / x**2
    W, X, Y = w.sum(axis=0), (w * x).sum(axis=0), (w * y).sum(axis=0)
    XX, XY = (w * x**2).sum(axis=0), (w * x * y).sum(axis=0)
    D = W * XX - X**2
    limit, slope = (XX * Y - X * XY) / D, (W * XY - X * Y) / D
    scatter = sum(((e - m) ** 2).sum(axis=0) / v**2 for e, m, v in zip(each, y, x, strict=True))
    residual = (w * (y - limit - slope * x) ** 2).sum(axis=0)
    freedom, rest = counts.sum() - len(d), len(d) - 2
    unknown = np.full(a.shape, np.nan)
    square = np.fmax(scatter / freedom if freedom else unknown, residual / rest if rest else unknown)
    return limit, slope, square * XX / D, np.sqrt(square)
