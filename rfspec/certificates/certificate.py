"""A certificate: what was returned beside the same numbers from the ground truth,
and the true errors.

Of a spectrum, of a learning curve, of a best training time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import mpmath as mp
import numpy as np

from ..algebraic import branch_points, curves, drops, numbers, regression, system, twin
from ..algebraic import elimination as exact
from ..models.model import RandomFeatureModel
from ..numerics.rounding import EPS
from ..resolvent.solver import solve
from ..spectra.spectrum import Spectrum, spectrum
from ..training.early_stopping import EarlyStopping
from ..training.learning_curves import LearningCurve

DIGITS, DIGITS_OF_LOSSES = 40, 20
SCANNED, SCAN = 10, 40  # digits of a scan of the training, and its number of times
INSIDE = (
    0.05,
    0.5,
    0.95,
)  # places in each bulk, as shares of its width, at which densities are compared


class Row(NamedTuple):
    """One number: what was returned, what is true, and the true and the claimed error.

    Errors are relative, to the larger of the two numbers; of an edge, to its distance from s².
    Those of masses and losses are absolute, since exact values may be 0.
    """

    name: str
    value: float
    truth: Any
    error: float
    claimed_error: float

    @property
    def honest(self) -> bool:
        """Whether the claimed error covers the true one."""
        return self.error <= self.claimed_error


class Certificate(NamedTuple):
    """True errors beside the claimed ones.

    Attributes
    ----------
    rows : tuple of Row
        Of a spectrum constants, edges, masses, train-loss drops, densities; of a curve both losses
        at each τ; of a best time the losses there and at the ends, the time itself and the ends of
        its window.
    complete : bool
        Whether nothing is missing: every bulk of a spectrum; no time better than the best, nor one
        in its window that is worse than the window allows, among 40 times from 0 to ∞ and the
        minima between them.
    digits : int
        Decimal digits of the truth.
    remark : str
        The same in words.
    """

    model: RandomFeatureModel
    rows: tuple[Row, ...]
    complete: bool
    digits: int
    remark: str

    @property
    def honest(self) -> bool:
        """Whether nothing is missing and every claimed error covers the true one."""
        return self.complete and all(row.honest for row in self.rows)

    @property
    def worst(self) -> Row:
        """The row whose true error is largest beside the claimed one."""
        return max(
            self.rows,
            key=lambda r: r.error / r.claimed_error if r.claimed_error else float(r.error > 0),
        )

    def __str__(self) -> str:
        lines = [f"{self.model!r}, checked to {self.digits} digits"]
        lines.append(f"{'':<22}{'value':>24}{'true error':>12}{'claimed':>10}")
        lines += [
            f"{r.name:<22}{r.value:24.16e}{r.error:12.1e}{r.claimed_error:10.1e}"
            f"{'' if r.honest else '  TOO SMALL'}"
            for r in self.rows
        ]
        lines.append(self.remark)
        return "\n".join(lines)


def certify(
    result: RandomFeatureModel | Spectrum | LearningCurve | EarlyStopping,
    digits: int | None = None,
    *,
    activation: Callable[[Any], Any] | None = None,
) -> Certificate:
    r"""Recompute a result in multi-precision arithmetic and return the true errors beside the
    claimed ones.

    Of a spectrum: constants by averages in mpmath; edges as roots of the exact discriminant; masses
    as the exact sums of ranks and weights that the signs of q and δ at those edges give; train-loss
    drops by integrals between these edges, and densities at three places of each bulk, from the
    twin solver. With finite draws of the noise edges are sought next to those found, and masses are
    counted on both sides of every gap. Of curves and best times: losses by the twin's contour
    integrals, and where they are stationary. None of it shares code with the JAX core.

    Parameters
    ----------
    result : RandomFeatureModel, Spectrum, LearningCurve or EarlyStopping
        Of a model, its spectrum is certified. With all of the noise the Σ of a spectrum must have
        at most ``rf.algebraic.MAX_ATOMS`` distinct eigenvalues. A curve must be the theory's, under
        gradient flow.
    digits : int, optional
        Decimal digits of the recomputation, 20 to 500: 40 for spectra and 20 for losses, a few
        seconds for each τ and half a minute for a best time.
    activation : callable, optional
        σ for mpmath numbers, needed where it is a function of the user's.

    Returns
    -------
    Certificate
        ``.rows .honest .complete .worst .remark``; printing it gives a table.

    Raises
    ------
    ValueError
        If digits is out of range, Σ has too many eigenvalues, σ is not known to mpmath, or a curve
        was not computed from a model or was trained in steps.
    ConvergenceError
        If ``rf.spectrum`` itself reports a failure.

    Examples
    --------
    >>> import rfspec as rf
    >>> model = rf.RandomFeatureModel(64.0, 8.0, t=0.01)
    >>> rf.certify(model).honest
    True
    >>> rf.certify(rf.learning_curve(model, [10.0])).honest
    True
    """
    losses = isinstance(result, LearningCurve | EarlyStopping)
    digits = (
        (DIGITS_OF_LOSSES if losses else DIGITS) if digits is None else numbers.check_digits(digits)
    )
    if digits < 20:
        raise ValueError(f"digits must be at least 20 to check doubles, got {digits}")
    if isinstance(result, LearningCurve | EarlyStopping):
        model = result.model
        if model is None or (isinstance(result, LearningCurve) and result.step is not None):
            raise ValueError("a curve must be the theory's, under gradient flow, to be certified")
        with mp.workdps(digits + numbers.GUARD):
            of = regression.regression(model, digits + numbers.GUARD, activation)
            if isinstance(result, LearningCurve):
                return Certificate(
                    model,
                    tuple(_losses(result, of, digits)),
                    True,
                    digits,
                    "both losses at every time",
                )
            rows, missing = _stopping(result, of, digits)
        return Certificate(
            model, tuple(rows), not missing, digits, missing or "no time is better than the best"
        )
    model = result.model if isinstance(result, Spectrum) else result
    sp = result if isinstance(result, Spectrum) else spectrum(result)
    certify_rows = _of_draws if np.isfinite(model.noise_draws) else _of_all
    rows, complete = certify_rows(sp, digits, activation)
    remark = "every bulk was found" if complete else "THE NUMBER OF BULKS IS WRONG"
    return Certificate(sp.model, tuple(rows), complete, digits, remark)


def _of_all(sp: Spectrum, digits: int, activation: Any) -> tuple[list[Row], bool]:
    """Rows of a spectrum with all of the noise, and whether every bulk was found."""
    truth = exact.model_numbers(sp.model, digits + numbers.GUARD, activation)
    folds = branch_points.folds(truth, digits)
    complete = 2 * len(sp.bulks) == len(folds)
    with mp.workdps(digits + numbers.GUARD):
        rows = [*_constants(sp, truth), *_atom(sp, exact.atom_mass(truth))]
        if complete:
            rows += [
                *_edges(sp, [fold.zeta for fold in folds]),
                *_masses(sp, truth, folds),
                *_drops(sp, folds, digits, activation),
                *_densities(sp, system.from_numbers(truth), digits),
            ]
    return rows, complete


def _row(name: str, value: Any, truth: Any, claimed: Any, *, absolute: bool = False) -> Row:
    value = float(value)
    error = mp.mpf(0) if value == truth else abs(mp.mpf(value) - truth)  # ∞ is ∞
    if not absolute and error:
        error = error / max(abs(truth), abs(mp.mpf(value)))
    return Row(name, value, truth, float(error), float(claimed))


def _constants(sp: Spectrum, truth: Any) -> Iterator[Row]:
    ge = sp.equations.ge
    for name in ("kappa2", "b2", "v2", "s2"):
        yield _row(name, getattr(ge, name), getattr(truth, name), ge.error)


def _atom(sp: Spectrum, mass: Any) -> Iterator[Row]:
    yield _row("mass of the atom", sp.atom.mass, mass, 4 * EPS, absolute=True)


def _edges(sp: Spectrum, truth: list[Any]) -> Iterator[Row]:
    for i, (exact_zeta, zeta, error) in enumerate(
        zip(truth, _ends(sp), sp.edge_error, strict=True)
    ):
        yield _row(f"edge {i + 1} - s²", zeta, exact_zeta, error)


def _ends(sp: Spectrum) -> np.ndarray:
    """Edges in ζ, shape [2B]."""
    return np.stack([np.asarray(sp.support.lower), np.asarray(sp.support.upper)], 1)[
        : sp.count
    ].ravel()


def _masses(sp: Spectrum, truth: Any, folds: list[branch_points.Fold]) -> Iterator[Row]:
    start = [branch_points.mass_left_of(truth, f) for f in folds[::2]]
    stop = [branch_points.mass_left_of(truth, f) for f in folds[1::2]]
    for i, (bulk, a, b) in enumerate(zip(sp.bulks, start, stop, strict=True)):
        yield _row(f"mass of bulk {i + 1}", bulk.mass, b - a, 8 * EPS, absolute=True)


def _drops(
    sp: Spectrum, folds: list[branch_points.Fold], digits: int, activation: Any
) -> Iterator[Row]:
    ends = [(a.zeta, b.zeta) for a, b in zip(folds[::2], folds[1::2], strict=True)]
    found = drops.between(sp.model, ends, digits, activation)
    for i, (bulk, drop) in enumerate(zip(sp.bulks, found, strict=True)):
        size = max(abs(drop), abs(bulk.loss_drop))
        yield _row(
            f"drop of bulk {i + 1}",
            bulk.loss_drop,
            drop,
            bulk.loss_drop_error / size if size else 0.0,
        )


def _densities(sp: Spectrum, eq: Any, digits: int) -> Iterator[Row]:
    location = float(sp.atom.location)
    for i, (low, high) in enumerate(zip(sp.support.lower, sp.support.upper, strict=True)):
        if not np.isfinite(low):
            continue
        for share in INSIDE:
            x = location + float(low) + share * float(high - low)
            point = twin.solve_equations(eq, mp.mpf(x), digits)
            here = solve(
                sp.model, np.array([x])
            )  # an array, since next to the atom few digits are left
            q = complex(here.q[0])
            claimed = (
                float(here.error[0]) * abs(q) / q.imag if q.imag and here.status[0] != 2 else np.inf
            )
            yield _row(f"density in bulk {i + 1}", sp.density(x), mp.im(point.q) / mp.pi, claimed)


# ------------------------------------------------------------------------------------- finite draws
# of the noise


def _of_draws(sp: Spectrum, digits: int, activation: Any) -> tuple[list[Row], bool]:
    """Rows of a spectrum with finite draws,
    and whether the masses on both sides of every gap agree.
    """
    with mp.workdps(digits + numbers.GUARD):
        eq = system.equations(sp.model, digits + numbers.GUARD, activation)
        solver, ends = twin.Solver(eq, digits), [mp.mpf(float(x)) for x in _ends(sp)]
        columns = eq.draws * eq.psi_n
        rank = columns if eq.c.s2 else min(mp.mpf(1), columns)
        empty = max(mp.mpf(0), 1 - rank / eq.psi_p)
        truth: list[Any] = []
        left: list[Any] = []
        right: list[Any] = []
        for i, edge in enumerate(ends):
            upper = i % 2 == 1
            beyond = (
                ends[i + 1]
                if upper and i + 1 < len(ends)
                else 2 * edge
                if upper
                else ends[i - 1]
                if i
                else 0 * edge
            )
            if edge == 0:
                truth.append(edge if rank == eq.psi_p else mp.nan)
                left.append(mp.mpf(0))
                continue
            truth.append(twin.edge_near(solver, edge, beyond))
            inside_the_gap = solver.at(mp.mpc(edge + (beyond - edge) / 100))
            (right if upper else left).append(twin.gap_share(solver.exact, inside_the_gap))
        rows = [*_constants(sp, eq.c), *_atom(sp, empty), *_edges(sp, truth)]
        for i, (bulk, a, b) in enumerate(zip(sp.bulks, left, right, strict=True)):
            rows.append(_row(f"mass of bulk {i + 1}", bulk.mass, b - a, 8 * EPS, absolute=True))
        rows += _densities(sp, eq, digits)
        complete = all(
            abs(a - b) < mp.mpf(10) ** -digits
            for a, b in zip([empty, *right], [*left, 1], strict=True)
        )
    return rows, complete


# --------------------------------------------------------------------------------------------------
# losses


def _losses(curve: LearningCurve, of: regression.Regression, digits: int) -> Iterator[Row]:
    columns = (curve.tau, curve.train, curve.test, curve.train_error, curve.error)
    for tau, train, test, train_error, test_error in zip(
        *(np.ravel(np.asarray(a)) for a in columns), strict=True
    ):
        truth = curves.losses_of(of, mp.mpf(float(tau)), digits)
        for name, value, error in (("train", train, train_error), ("test", test, test_error)):
            yield _row(
                f"{name} at τ = {tau:.6g}", value, getattr(truth, name), error, absolute=True
            )


def _stopping(stop: EarlyStopping, of: regression.Regression, digits: int) -> tuple[list[Row], str]:
    """Rows of a best time, and what is better than it, if anything is."""
    tau, end = mp.mpf(float(stop.tau)), curves.losses_of(of, mp.inf, digits)
    here = curves.losses_of(of, tau, digits)
    rows = [
        _row(f"{name} at {where}", value, truth, stop.error, absolute=True)
        for name, where, value, truth in (
            ("train", "the best time", stop.train, here.train),
            ("test", "the best time", stop.test, here.test),
            ("train", "the end", stop.train_limit, end.train),
            ("test", "the end", stop.test_limit, end.test),
        )
    ]
    best = here.test
    if 0 < tau < mp.inf:
        place, best = _root(of, tau, digits, lambda at: (at.slope, at.bend))
        rows.append(_row("the best time", stop.tau, place, stop.tau_error))
    level = best + mp.mpf(float(stop.tolerance))
    for name in ("lower", "upper"):
        edge = mp.mpf(float(getattr(stop.window, name)))
        if 0 < edge < mp.inf:
            place, _ = _root(of, edge, digits, lambda at: (at.test - level, at.slope))
            rows.append(
                _row(f"{name} end of window", edge, place, getattr(stop.window_error, name))
            )
    return rows, _better(stop, of, end, level)


def _root(
    of: regression.Regression, tau: Any, digits: int, condition: Callable[[Any], tuple[Any, Any]]
) -> Any:
    """Where a condition on the losses vanishes near τ, by Newton's method in log τ,
    and L_test there.
    """
    for _ in range(8):
        at = curves.losses_of(of, tau, digits)
        value, slope = condition(at)
        step = value / slope if slope else mp.inf
        if not abs(step) < 1:
            return mp.nan, at.test
        if abs(step) < mp.mpf(10) ** (-digits / 2 - 2):
            return tau * mp.exp(-step), at.test
        tau *= mp.exp(-step)
    return mp.nan, at.test


def _better(stop: EarlyStopping, of: regression.Regression, end: Any, level: Any) -> str:
    """A time better than the best, or one inside the window that is too bad, in words;
    else nothing.
    """
    seen = [(mp.mpf(0), of.untrained, 0), *_minima(of), (mp.inf, end.test, 0)]
    margin = mp.mpf(float(stop.error)) + mp.mpf(10) ** (1 - SCANNED) * of.untrained * mp.mpf(
        "0.001"
    )
    tau, test, _ = min(seen, key=lambda x: x[1])
    if test < mp.mpf(float(stop.test)) - margin:
        return f"A BETTER TIME IS {mp.nstr(tau, 6)}, WITH L_test = {mp.nstr(test, 12)}"
    low, high = (
        mp.mpf(float(x)) * (1 + sign * mp.mpf("1e-6"))
        for x, sign in zip(stop.window, (1, -1), strict=True)
    )
    worst = max((x for x in seen if low <= x[0] <= high), key=lambda x: x[1], default=None)
    if worst is not None and worst[1] > level + margin:
        return f"INSIDE THE WINDOW, AT {mp.nstr(worst[0], 6)}, L_test IS {mp.nstr(worst[1], 12)}"
    return ""


def _minima(of: regression.Regression) -> list[tuple[Any, Any, Any]]:
    """(τ, L_test, its slope in log τ) over the whole training,
    and at the minima between two of these times.
    """
    look = lambda tau: (tau, *curves.scanned(of, tau, SCANNED)[1:3])
    with mp.workdps(SCANNED + numbers.GUARD):
        seen = [look(tau) for tau in curves.times_to_scan(of, SCAN)]
        for a, b in [*pairwise(seen)]:
            for _ in range(6 if a[2] < 0 <= b[2] else 0):
                share = min(max(a[2] / (a[2] - b[2]), mp.mpf("0.1")), mp.mpf("0.9"))
                middle = look(a[0] * (b[0] / a[0]) ** share)
                seen.append(middle)
                a, b = (middle, b) if middle[2] < 0 else (a, middle)
    return seen
