"""Rows of a certificate of a spectrum."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import mpmath as mp
import numpy as np

from ..algebraic import branch_points, drops, numbers, system, twin
from ..algebraic import elimination as exact
from ..numerics.rounding import EPS
from ..resolvent.solver import solve
from ..spectra.spectrum import Spectrum
from .rows import Row, row

# where in a bulk densities are compared, in units of its width
INSIDE = (0.05, 0.5, 0.95)


def rows_with_all_draws(sp: Spectrum, digits: int, activation: Any) -> tuple[list[Row], bool]:
    """Rows of a spectrum with all draws of the noise, and whether every bulk was found."""
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


def _constants(sp: Spectrum, truth: Any) -> Iterator[Row]:
    ge = sp.equations.ge
    for name in ("kappa2", "b2", "v2", "s2"):
        yield row(name, getattr(ge, name), getattr(truth, name), ge.error)


def _atom(sp: Spectrum, mass: mp.mpf) -> Iterator[Row]:
    yield row("mass of the atom", sp.atom.mass, mass, 4 * EPS, absolute=True)


def _edges(sp: Spectrum, truth: list[mp.mpf]) -> Iterator[Row]:
    for i, (exact_zeta, zeta, error) in enumerate(
        zip(truth, _edges_in_zeta(sp), sp.edge_error, strict=True)
    ):
        yield row(f"edge {i + 1} - s²", zeta, exact_zeta, error)


def _edges_in_zeta(sp: Spectrum) -> np.ndarray:
    return np.stack([np.asarray(sp.support.lower), np.asarray(sp.support.upper)], 1)[
        : sp.count
    ].ravel()


def _masses(sp: Spectrum, truth: Any, folds: list[branch_points.Fold]) -> Iterator[Row]:
    start = [branch_points.mass_left_of(truth, f) for f in folds[::2]]
    stop = [branch_points.mass_left_of(truth, f) for f in folds[1::2]]
    for i, (bulk, a, b) in enumerate(zip(sp.bulks, start, stop, strict=True)):
        yield row(f"mass of bulk {i + 1}", bulk.mass, b - a, 8 * EPS, absolute=True)


def _drops(
    sp: Spectrum, folds: list[branch_points.Fold], digits: int, activation: Any
) -> Iterator[Row]:
    ends = [(a.zeta, b.zeta) for a, b in zip(folds[::2], folds[1::2], strict=True)]
    truth = drops.between(sp.model, ends, digits, activation)
    for i, (bulk, drop) in enumerate(zip(sp.bulks, truth, strict=True)):
        size = max(abs(drop), abs(bulk.loss_drop))
        yield row(
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
        for fraction in INSIDE:
            x = location + float(low) + fraction * float(high - low)
            point = twin.solve_equations(eq, mp.mpf(x), digits)
            # an array keeps its status where a number would raise, next to the atom
            solution = solve(sp.model, np.array([x]))
            q, failed = complex(solution.q[0]), solution.status[0] == 2
            claimed = (
                float(solution.error[0]) * abs(q) / q.imag if q.imag and not failed else np.inf
            )
            yield row(f"density in bulk {i + 1}", sp.density(x), mp.im(point.q) / mp.pi, claimed)


# ------------------------------------------------------------------------ finite draws of the noise


def rows_with_finite_draws(sp: Spectrum, digits: int, activation: Any) -> tuple[list[Row], bool]:
    """Rows of a spectrum with finitely many draws, and whether masses agree across every gap."""
    with mp.workdps(digits + numbers.GUARD):
        eq = system.equations(sp.model, digits + numbers.GUARD, activation)
        solver, ends = twin.Solver(eq, digits), [mp.mpf(float(x)) for x in _edges_in_zeta(sp)]
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
            rows.append(row(f"mass of bulk {i + 1}", bulk.mass, b - a, 8 * EPS, absolute=True))
        rows += _densities(sp, eq, digits)
        complete = all(
            abs(a - b) < mp.mpf(10) ** -digits
            for a, b in zip([empty, *right], [*left, 1], strict=True)
        )
    return rows, complete
