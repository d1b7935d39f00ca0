"""A certificate: what `rf.spectrum` returned beside the same numbers from the ground truth, and the true errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import mpmath as mp
import numpy as np

from .algebraic import drops, numbers, twin
from .algebraic import elimination as exact
from .model import RandomFeatureModel
from .solver import solve
from .spectrum import Spectrum, spectrum

EPS = float(np.finfo(float).eps)
INSIDE = (0.05, 0.5, 0.95)  # places in each bulk, as shares of its width, at which densities are compared


class Row(NamedTuple):
    """One number: what was returned, what is true, and the true and the claimed error.

    Errors are relative, to the larger of the two numbers; of an edge, to its distance from s². Those of masses are
    absolute, since exact values may be 0.
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
    """True errors of a spectrum beside the claimed ones.

    Attributes
    ----------
    rows : tuple of Row
        Constants, edges, masses, train-loss drops, densities.
    complete : bool
        Whether the number of bulks is right.
    digits : int
        Decimal digits of the truth.
    """

    model: RandomFeatureModel
    rows: tuple[Row, ...]
    complete: bool
    digits: int

    @property
    def honest(self) -> bool:
        """Whether every bulk was found and every claimed error covers the true one."""
        return self.complete and all(row.honest for row in self.rows)

    @property
    def worst(self) -> Row:
        """The row whose true error is largest beside the claimed one."""
        return max(self.rows, key=lambda r: r.error / r.claimed_error if r.claimed_error else float(r.error > 0))

    def __str__(self) -> str:
        lines = [f"{self.model!r}, checked to {self.digits} digits"]
        lines.append(f"{'':<22}{'value':>24}{'true error':>12}{'claimed':>10}")
        lines += [
            f"{r.name:<22}{r.value:24.16e}{r.error:12.1e}{r.claimed_error:10.1e}{'' if r.honest else '  TOO SMALL'}"
            for r in self.rows
        ]
        lines.append("every bulk was found" if self.complete else "THE NUMBER OF BULKS IS WRONG")
        return "\n".join(lines)


def certify(
    model: RandomFeatureModel | Spectrum, digits: int = 40, *, activation: Callable[[Any], Any] | None = None
) -> Certificate:
    r"""Recompute a spectrum in multi-precision arithmetic and return the true errors beside the claimed ones.

    Constants by averages in mpmath; edges as roots of the exact discriminant; masses as the exact sums of ranks
    and weights that the signs of q and δ at those edges give; train-loss drops by integrals between these edges, and
    densities at three places of each bulk, from the twin solver. None of it shares code with the JAX core.

    Parameters
    ----------
    model : RandomFeatureModel or Spectrum
        Σ must have at most ``rf.algebraic.MAX_ATOMS`` distinct eigenvalues.
    digits : int
        Decimal digits of the recomputation, 20 to 500.
    activation : callable, optional
        σ for mpmath numbers, needed where it is a function of the user's.

    Returns
    -------
    Certificate
        ``.rows .honest .complete .worst``; printing it gives a table.

    Raises
    ------
    ValueError
        If digits is out of range, Σ has too many eigenvalues, or σ is not known to mpmath.
    ConvergenceError
        If ``rf.spectrum`` itself reports a failure.

    Examples
    --------
    >>> import rfspec as rf
    >>> rf.certify(rf.RandomFeatureModel(64.0, 8.0, t=0.01)).honest
    True
    """
    if numbers.check_digits(digits) < 20:
        raise ValueError(f"digits must be at least 20 to check doubles, got {digits}")
    of = model.model if isinstance(model, Spectrum) else model
    truth = exact.model_numbers(of, digits + numbers.GUARD, activation)
    sp = model if isinstance(model, Spectrum) else spectrum(model)
    folds = exact.folds(truth, digits)
    complete = 2 * len(sp.bulks) == len(folds)
    with mp.workdps(digits + numbers.GUARD):
        rows = [*_constants(sp, truth), *_atom(sp, truth)]
        if complete:
            rows += [*_edges(sp, folds), *_masses(sp, truth, folds), *_drops(sp, truth, folds, digits)]
            rows += _densities(sp, truth, digits)
    return Certificate(sp.model, tuple(rows), complete, digits)


def _row(name: str, value: Any, truth: Any, claimed: Any, *, absolute: bool = False) -> Row:
    value = float(value)
    error = abs(mp.mpf(value) - truth)
    if not absolute and error:
        error = error / max(abs(truth), abs(mp.mpf(value)))
    return Row(name, value, truth, float(error), float(claimed))


def _constants(sp: Spectrum, truth: Any) -> Iterator[Row]:
    ge = sp.equations.ge
    for name in ("kappa2", "b2", "v2", "s2"):
        yield _row(name, getattr(ge, name), getattr(truth, name), ge.error)


def _atom(sp: Spectrum, truth: Any) -> Iterator[Row]:
    yield _row("mass of the atom", sp.atom.mass, exact.atom_mass(truth), 4 * EPS, absolute=True)


def _edges(sp: Spectrum, folds: list[exact.Fold]) -> Iterator[Row]:
    ends = np.stack([np.asarray(sp.support.lower), np.asarray(sp.support.upper)], 1).ravel()
    for i, (fold, zeta, error) in enumerate(zip(folds, ends, sp.edge_error, strict=False)):
        yield _row(f"edge {i + 1} - s²", zeta, fold.zeta, error)


def _masses(sp: Spectrum, truth: Any, folds: list[exact.Fold]) -> Iterator[Row]:
    start = [exact.mass_left_of(truth, f) for f in folds[::2]]
    stop = [exact.mass_left_of(truth, f) for f in folds[1::2]]
    for i, (bulk, a, b) in enumerate(zip(sp.bulks, start, stop, strict=True)):
        yield _row(f"mass of bulk {i + 1}", bulk.mass, b - a, 8 * EPS, absolute=True)


def _drops(sp: Spectrum, truth: Any, folds: list[exact.Fold], digits: int) -> Iterator[Row]:
    found = drops.between(
        sp.model, truth, [(a.zeta, b.zeta) for a, b in zip(folds[::2], folds[1::2], strict=True)], digits
    )
    for i, (bulk, drop) in enumerate(zip(sp.bulks, found, strict=True)):
        size = max(abs(drop), abs(bulk.loss_drop))
        yield _row(f"drop of bulk {i + 1}", bulk.loss_drop, drop, bulk.loss_drop_error / size if size else 0.0)


def _densities(sp: Spectrum, truth: Any, digits: int) -> Iterator[Row]:
    eq = twin.from_numbers(truth)
    location = float(sp.atom.location)
    for i, (low, high) in enumerate(zip(sp.support.lower, sp.support.upper, strict=True)):
        if not np.isfinite(low):
            continue
        for share in INSIDE:
            x = location + float(low) + share * float(high - low)
            point = twin.solve_equations(eq, mp.mpf(x), digits)
            here = solve(sp.model, np.array([x]))  # an array, since next to the atom few digits are left
            q = complex(here.q[0])
            claimed = float(here.error[0]) * abs(q) / q.imag if q.imag and here.status[0] != 2 else np.inf
            yield _row(f"density in bulk {i + 1}", sp.density(x), mp.im(point.q) / mp.pi, claimed)
