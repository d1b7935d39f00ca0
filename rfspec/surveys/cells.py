r"""What is known of cells: each answer is computed when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

import jax
import numpy as np

from ..models.model import time_unit
from ..numerics.types import Matrix, Real, Reals, Truths, Vector
from ..spectra.pieces import in_pieces
from ..training.stop_errors import time_errors
from ..training.stops import Stops
from .programs import (
    Engine,
    Found,
    Job,
    drops_of,
    edges_of,
    limits_of,
    losses_at,
    lower_ends,
    stops_of,
)
from .recipes import Alike

# what an output may need beside the numbers of a model
EDGES, DROPS, LEADING, BUDGETS, STOPS, WINDOW, ONSET, LIMITS = NEEDS = (
    "edges",
    "drops",
    "leading order",
    "budgets",
    "stops",
    "window",
    "onset",
    "limits",
)


class Asked(NamedTuple):
    """What is asked of all cells.

    `tau`: training budgets. `tolerance`, `threshold`: of stopping. `rules`: by which times are
    told. `needs`: what the outputs need. `bulks`: room for bulks.
    """

    tau: np.ndarray
    tolerance: Real
    threshold: Real
    rules: tuple[str, ...]
    needs: frozenset[str]
    bulks: int


class Cells:
    """What is known of cells, arrays [cell, ...]; times in units of c, but for `tau`."""

    def __init__(self, asked: Asked, alike: Alike, engine: Engine):
        self.asked, self.alike, self.engine = asked, alike, engine
        self._rows = np.arange(alike.psi_p.size)
        self._waits = self._start()

    def _start(self) -> dict[str, Callable[[], Any]]:
        # what needs no other answer
        needs, full = self.asked.needs, lambda x: np.full(self._rows.size, x, float)
        jobs = {}
        if STOPS in needs:
            numbers = full(self.asked.tolerance), full(self.asked.threshold)
            sought = (np.full(self._rows.size, need in needs) for need in (WINDOW, ONSET))
            jobs["stop"] = self._job(stops_of, self.alike.eq, *numbers, *sought)
        elif LIMITS in needs:
            jobs["limits"] = self._job(limits_of, self.alike.eq)
        if needs & {EDGES, DROPS}:
            program = drops_of if DROPS in needs else edges_of
            jobs["found"] = self._job(program, self.alike.spectral)
        if LEADING in needs:
            jobs["paper"] = self._job(lower_ends, self.alike.spectral)
        budgets = self.tau / self.unit[:, None]
        self._inner = np.nonzero(np.isfinite(budgets))
        if BUDGETS in needs and self._inner[0].size:
            jobs["budgets"] = Job(losses_at, self.alike.eq, (budgets[self._inner],), self._inner[0])
        return dict(zip(jobs, self.engine.start(*jobs.values()), strict=True))

    def _job(self, program: Callable[..., Any], eqs: Any, *arrays: np.ndarray) -> Job:
        return Job(program, eqs, arrays, self._rows)

    @cached_property
    def unit(self) -> Vector:
        """τ of c = 1, ψ_p/(2ω²)."""
        return time_unit(self.alike.psi_p, self.alike.pace)

    @cached_property
    def tau(self) -> Matrix:
        """The budgets, [cell, budget]."""
        return np.broadcast_to(self.asked.tau, (self._rows.size, self.asked.tau.size))

    @cached_property
    def stop(self) -> Stops:
        """Times to stop at."""
        return Stops(*self._waits["stop"]())

    @cached_property
    def found(self) -> Found:
        """The spectrum."""
        found = self._waits["found"]()
        return found if found.series is None else self._with_rough_bulks_resolved(found)

    @cached_property
    def paper(self) -> Matrix:
        """Lower edges of population and sample by Theorem 3.2, weight decay included."""
        return self._waits["paper"]() + self.decay[:, None]

    @property
    def decay(self) -> Vector:
        """What weight decay adds to U."""
        return self.alike.eq.decay

    @cached_property
    def lower(self) -> Matrix:
        """Lower edges of the parts, weight decay included, [cell, part]; NaN where not known."""
        edges = np.where(self.found.complete[:, None], self.found.parts.lower, np.nan)
        return edges + self.decay[:, None]

    @cached_property
    def merged(self) -> Truths:
        """Parts that have no edge of their own, [cell, part]."""
        parts = self.found.parts
        without = np.isnan(parts.lower) | np.isnan(parts.upper)
        return (parts.mass > 0) & without & self.found.complete[:, None]

    @cached_property
    def limits(self) -> tuple[Vector, Vector, Vector]:
        """L_train, L_test and their error at the end of training."""
        if "limits" in self._waits:
            return self._waits["limits"]()
        return self.stop.train_limit, self.stop.test_limit, self.stop.limit_error

    @cached_property
    def losses(self) -> tuple[Matrix, Matrix, Matrix]:
        """L_train, L_test and their error at the budgets, [cell, budget]."""
        losses = np.empty((3, *self.tau.shape))
        if LIMITS in self.asked.needs:
            losses[:] = np.stack(self.limits)[:, :, None]
        if "budgets" in self._waits:
            for values, inner in zip(losses, self._waits["budgets"](), strict=True):
                values[self._inner] = inner
        train, test, error = losses
        return train, test, error

    @property
    def train(self) -> Matrix:
        return self.losses[0]

    @property
    def test(self) -> Matrix:
        return self.losses[1]

    def score(self, test: Reals) -> Reals:
        """E_score, which is affine in the test loss, [cell, ...]."""
        of_0, of_1 = (a.reshape(-1, *(1,) * (test.ndim - 1)) for a in self.alike.scores.T)
        return of_0 + test * (of_1 - of_0)

    def time_error(self, which: int) -> Vector:
        """Relative error of one of the four times to stop at."""
        return self._time_errors[which]

    @cached_property
    def _time_errors(self) -> Matrix:
        return time_errors(self.stop.errors.T, self.stop)

    @cached_property
    def worst(self) -> Vector:
        """The largest error of the losses at what was asked for."""
        needs = self.asked.needs
        errors = [np.zeros(self._rows.size)]
        if BUDGETS in needs:
            errors.append(self.losses[2].max(axis=1))
        if STOPS in needs:
            # at the best time and at the onset of the gap; one that does not exist has no error
            of_onset = np.where(np.isnan(self.stop.onset), 0.0, self.stop.errors[:, 3])
            errors += [self.stop.errors[:, 0], of_onset]
        elif LIMITS in needs and BUDGETS not in needs:
            # a test loss that diverges is known to do so
            errors.append(np.where(np.isinf(self.limits[1]), 0.0, self.limits[2]))
        return np.max(errors, axis=0)

    @cached_property
    def complete(self) -> Truths:
        """Whether all edges that were asked for were found."""
        if self.asked.needs & {EDGES, DROPS}:
            return self.found.complete
        return np.ones(self._rows.size, bool)

    def _with_rough_bulks_resolved(self, found: Found) -> Found:
        # bulks in pieces where needed, as those of a single spectrum
        sound = np.flatnonzero(found.complete)

        def resolved(i: int) -> tuple[Vector, Vector, bool]:
            eq, support, series = jax.tree.map(
                lambda a: a[i], (self.alike.spectral, found.support, found.series)
            )
            support, _, hole = in_pieces(eq, support, series)
            return np.asarray(support.drop), np.asarray(support.drop_error), hole

        rows = self.engine.each(resolved, sound.tolist())
        if not rows:
            return found
        drop, drop_error, hole = map(np.stack, zip(*rows, strict=True))
        complete = found.complete.copy()
        complete[sound[hole]] = False
        before = found.support
        support = before._replace(
            drop=_replaced(before.drop, sound, drop),
            drop_error=_replaced(before.drop_error, sound, drop_error),
        )
        return found._replace(support=support, complete=complete)


def _replaced(a: np.ndarray, places: np.ndarray, rows: np.ndarray) -> np.ndarray:
    a = a.copy()
    a[places] = rows
    return a
