"""What samples of several sizes say about d → ∞, by fits in powers of 1/d.

The exponents are those of ``rfspec.empirical.comparison``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, overload

import equinox as eqx
import numpy as np

from ..files.tables import in_brief
from ..numerics.checks import integer
from ..numerics.types import Given, Reals, Vector
from ..spectra.spectrum import Spectrum
from ..training.learning_curves import LearningCurve
from .deviations import (
    MEASURES,
    ROUNDING,
    deviations_of,
    dimension_of_theory,
    exponents_of,
    is_smeared,
    refuse_other_spectra,
    same_tau,
    theory_at,
)
from .spectra import EmpiricalSpectrum


class Extrapolation(NamedTuple):
    """The fit value(d) = limit + slope·d^-exponent to one quantity; arrays of the quantity's shape.

    Attributes
    ----------
    limit, limit_error
        Value at d → ∞. The error adds in squares the fit's standard error and the step that the
        limit takes when the smallest size is left out, which shows what the next order in 1/d does.
        It is NaN for two sizes, and infinite next to an atom that is smeared over the lowest edge
        at all of them.
    slope, exponent
        Of the fit.
    spread
        Standard deviation of a single matrix, or of a mean curve where means were given, times
        d^exponent; NaN where nothing tells it.
    theory
        Value that the limit should have.
    deviation
        The z-score (limit - theory)/limit_error, a number of standard errors.
    """

    limit: Reals
    limit_error: Reals
    slope: Reals
    exponent: Reals
    spread: Reals
    theory: Reals
    deviation: Reals

    def __repr__(self) -> str:
        return in_brief(self)

    def at(self, d: float) -> Reals:
        """The fit's value at a dimension d."""
        return self.limit + self.slope * float(d) ** -np.asarray(self.exponent)

    def size(self, d: float, repeats: int = 1) -> Reals:
        """Root mean square difference from the theory that a mean over so many matrices of
        dimension d should have, in the unit of the quantity.
        """
        noise = np.nan_to_num(self.spread) * float(d) ** -np.asarray(self.exponent)
        return np.sqrt((self.at(d) - self.theory) ** 2 + noise**2 / repeats)


class SpectrumExtrapolation(NamedTuple):
    """Spectra of several sizes carried to d → ∞.

    Attributes
    ----------
    edges : Extrapolation, of shape [2B]
        In the unit of λ.
    masses : Extrapolation, of shape [B]
    moments : Extrapolation, of shape [2]
        Of orders 1 and 2.
    kolmogorov, wasserstein, atom_spread : Extrapolation, of shape []
        Distances as in ``Comparison``, whose limit should be 0.
    d : tuple of int
        The sizes.
    """

    edges: Extrapolation
    masses: Extrapolation
    moments: Extrapolation
    kolmogorov: Extrapolation
    wasserstein: Extrapolation
    atom_spread: Extrapolation
    d: tuple[int, ...]


class CurveExtrapolation(NamedTuple):
    """Learning curves of several sizes carried to d → ∞.

    Attributes
    ----------
    train, test : Extrapolation, of τ's shape
    tau : array
        Training times τ.
    d : tuple of int
        The sizes.
    of_remainder : bool
        Whether the fits are to what is left of the losses when the theory at each size is taken
        off: so if the theory's model has a dimension. Their limit should then be 0.
    """

    train: Extrapolation
    test: Extrapolation
    tau: Vector
    d: tuple[int, ...]
    of_remainder: bool = False


@overload
def extrapolate(
    theory: Spectrum, empiricals: Sequence[EmpiricalSpectrum]
) -> SpectrumExtrapolation: ...


@overload
def extrapolate(
    theory: LearningCurve, empiricals: Mapping[int, LearningCurve | Sequence[LearningCurve]]
) -> CurveExtrapolation: ...


def extrapolate(theory: Given, empiricals: Given) -> Any:
    r"""Carry samples of several sizes to d → ∞, and set the limits against the theory.

    The fit is value(d) = limit + slope·d^-a by least squares, with the weights repeats·d^{2a} of a
    spread that falls as d^-a. The exponent a is 1/2 for the atom's spread, 2/3 for edges (2 for a
    hard one), and 1 for all else. The spread is pooled over the sizes from the scatter of the
    repeats, and taken no smaller than the residuals of the fit show it.

    Parameters
    ----------
    theory : Spectrum or LearningCurve
    empiricals : sequence of EmpiricalSpectrum, or mapping of d to one or more LearningCurve
        At two or more sizes of one model and kind; three or more for an error of the limit. Curves
        at the theory's τ, as single draws or one mean with its standard error.

        If the model of a theory's learning curve has a dimension, each sample is compared with the
        theory at its own, ``model.replace(d=...)``, and the fit is to what is left.

    Returns
    -------
    SpectrumExtrapolation or CurveExtrapolation
        Fields of ``Extrapolation``: ``.limit .limit_error .slope .exponent .spread .theory
        .deviation``.

    Raises
    ------
    ValueError
        If there are fewer than two sizes, models or kinds are mixed, or τ differs.
    NotImplementedError
        If the theory is a spectrum at finite d.

    Examples
    --------
    >>> import jax, rfspec as rf
    >>> model = rf.RandomFeatureModel(psi_p=8.0, psi_n=2.0, t=0.05)
    >>> samples = [
    ...     rf.empirical.spectrum(jax.random.key(d), model, d, kind="gaussian", repeats=4)
    ...     for d in (6, 8, 12)
    ... ]
    >>> bool(abs(rf.empirical.extrapolate(rf.spectrum(model), samples).moments.deviation[0]) < 5)
    True
    """
    refuse_other_spectra(theory, "extrapolate")
    if isinstance(theory, Spectrum) and isinstance(empiricals, Sequence):
        return extrapolate_spectra(theory, empiricals)
    if isinstance(theory, LearningCurve) and isinstance(empiricals, Mapping):
        return extrapolate_curves(theory, empiricals)
    raise ValueError(
        "extrapolate takes a Spectrum and a sequence of EmpiricalSpectrum, or a LearningCurve and "
        "a mapping of d to LearningCurve, "
        f"got {type(theory).__name__} and {type(empiricals).__name__}"
    )


def extrapolate_spectra(
    theory: Spectrum, samples: Sequence[EmpiricalSpectrum]
) -> SpectrumExtrapolation:
    for sample in samples:
        if not isinstance(sample, EmpiricalSpectrum):
            raise ValueError(f"empiricals must be EmpiricalSpectrum, got {type(sample).__name__}")
    sizes = _checked_sizes([s.d for s in samples])
    _check_one_kind(samples)
    edges, each = np.asarray(theory.edges), [deviations_of(theory, s)._asdict() for s in samples]
    masses = np.asarray(theory.support.mass)[: edges.size // 2]
    smeared = is_smeared(theory, float(each[int(np.argmax(sizes))]["atom_spread"].mean()))
    exponents = exponents_of(theory, 0.5 if smeared else None)
    target: dict[str, Any] = dict.fromkeys(MEASURES, 0.0)
    target |= {
        "edges": edges,
        "masses": masses,
        "moments": np.array([float(theory.moment(k)) for k in (1, 2)]),
    }
    for measured, sample in zip(each, samples, strict=True):
        values = np.asarray(sample.eigenvalues)
        measured["edges"] = (1.0 + measured["edges"]) * edges
        measured["masses"] = measured["masses"] + masses
        measured["moments"] = np.stack([np.mean(values**k, axis=1) for k in (1, 2)], axis=1)
    top = max(float(np.max(s.eigenvalues)) for s in samples)
    floor = {"atom_spread": top, "wasserstein": top}
    fits = {
        name: power_law(
            sizes,
            [m[name] for m in each],
            exponents[name],
            target[name],
            ROUNDING * floor.get(name, 0.0),
        )
        for name in target
    }
    if smeared:
        fits |= {"kolmogorov": _with_infinite_error(fits["kolmogorov"], ())}
        fits |= {name: _with_infinite_error(fits[name], 0) for name in ("edges", "masses")}
    return SpectrumExtrapolation(**fits, d=tuple(int(d) for d in sizes))


def extrapolate_curves(theory: LearningCurve, curves: Mapping[Any, Any]) -> CurveExtrapolation:
    sizes = _checked_sizes([integer("d", d) for d in curves])
    groups = [[c] if isinstance(c, LearningCurve) else list(c) for c in curves.values()]
    tau = np.asarray(theory.tau)
    for group in groups:
        if not group or not all(isinstance(c, LearningCurve) for c in group):
            raise ValueError(
                f"empiricals must hold one or more LearningCurve for each d, got {group!r:.100}"
            )
        for curve in group:
            same_tau(np.ravel(tau), curve)

    of_remainder = dimension_of_theory(theory) is not None
    at_sizes = [theory_at(theory, int(d)) for d in sizes] if of_remainder else []

    def fit(name: str) -> Extrapolation:
        each, target = [_in_rows(group, name, tau.shape) for group in groups], getattr(theory, name)
        if of_remainder:
            exact = [np.asarray(getattr(t, name)) for t in at_sizes]
            each = [rows - one[None] for rows, one in zip(each, exact, strict=True)]
            target = np.zeros(tau.shape)
        fitted = power_law(sizes, each, 1.0, np.asarray(target))
        if all(map(_is_mean_with_error, groups)):
            return fitted._replace(spread=fitted.spread / np.sqrt(2))
        return fitted

    found = fit("train"), fit("test")
    return CurveExtrapolation(*found, tau, tuple(int(d) for d in sizes), of_remainder)


def _is_mean_with_error(group: list[LearningCurve]) -> bool:
    return len(group) == 1 and bool(np.all(np.isfinite(np.asarray(group[0].standard_error.train))))


def _in_rows(group: list[LearningCurve], name: str, shape: tuple[int, ...]) -> np.ndarray:
    rows = [np.reshape(getattr(c, name), shape) for c in group]
    if _is_mean_with_error(group):
        # two draws mean ± e have a mean with the standard error e
        error = np.reshape(getattr(group[0].standard_error, name), shape)
        rows = [rows[0] - error, rows[0] + error]
    return np.stack(rows)


def _with_infinite_error(fit: Extrapolation, index: Any) -> Extrapolation:
    error, deviation = np.array(fit.limit_error), np.array(fit.deviation)
    error[index], deviation[index] = np.inf, 0.0
    return fit._replace(limit_error=error[()], deviation=deviation[()])


def _checked_sizes(d: list[int]) -> np.ndarray:
    if len(set(d)) < 2:
        raise ValueError(f"empiricals must have at least two values of d, got {sorted(set(d))}")
    return np.array(d, float)


def _check_one_kind(samples: Sequence[EmpiricalSpectrum]) -> None:
    first = samples[0]
    for one in samples[1:]:
        if (
            one.kind != first.kind
            or one.rows != first.rows
            or one.gaussian_data != first.gaussian_data
        ):
            raise ValueError(f"empiricals must be of one kind, got {_kind(first)} and {_kind(one)}")
        if not eqx.tree_equal(one.model.limit, first.model.limit):
            raise ValueError(f"empiricals must be of one model, got {first.model} and {one.model}")


def _kind(s: EmpiricalSpectrum) -> str:
    return f"{s.kind} ({s.rows} rows, {'Gaussian' if s.gaussian_data else 'given'} data)"


def power_law(
    d: np.ndarray, each: list[np.ndarray], exponent: Reals, theory: Reals, floor: float = 0.0
) -> Extrapolation:
    # `each` holds values of shape (repeats, ...) for each size, `floor` their rounding error
    a = np.broadcast_to(np.asarray(exponent, float), each[0].shape[1:])
    limit, slope, variance, spread = _least_squares(d, each, a)
    error = np.full(a.shape, np.nan)
    larger = d > d.min()
    if len(set(d[larger])) > 1:
        values = [e for e, is_larger in zip(each, larger, strict=True) if is_larger]
        without_smallest = _least_squares(d[larger], values, a)[0]
        rounding = np.maximum(
            floor, ROUNDING * np.max([np.abs(e).max(axis=0) for e in each], axis=0)
        )
        error = np.sqrt(variance + (limit - without_smallest) ** 2 + rounding**2)
    difference = limit - theory
    undefined = np.where(difference == 0, 0.0, np.nan)
    deviation = np.divide(difference, error, out=undefined, where=error > 0)
    return Extrapolation(limit, error, slope, a[()], spread, theory, deviation[()])


def _least_squares(
    d: np.ndarray, each: list[np.ndarray], a: np.ndarray
) -> tuple[Reals, Reals, Reals, Reals]:
    # limit, slope, variance of the limit and spread, with x = d^-a and weights repeats·d^{2a}
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
    # degrees of freedom of the repeats around their means, and of the means around the fit
    of_scatter, of_fit = counts.sum() - len(d), len(d) - 2
    unknown = np.full(a.shape, np.nan)
    square = np.fmax(
        scatter / of_scatter if of_scatter else unknown, residual / of_fit if of_fit else unknown
    )
    return limit, slope, square * XX / D, np.sqrt(square)
