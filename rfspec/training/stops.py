"""The search for when to stop: where the test loss turns, passes a level or departs from the train
loss.

Each of these times is bracketed by a grid (``rfspec.training.scan``) and refined to a root inside
its bracket (``rfspec.training.roots``). The best time is the best of τ = 0, τ = ∞ and the deepest
minima between, each of them refined before they are compared. Nothing here is differentiated
(``rfspec.training.moving_stops`` does that).
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..numerics.continuation import on_the_left
from ..numerics.holomorphic import Unknowns
from ..numerics.types import Real, Reals, Truth, Vector, Wholes
from ..resolvent.interface import Equations
from ..resolvent.solver import left_of_origin
from .contour import COARSE, FEWER, FINEST, flow
from .losses import Checked, at_one_time, error_at_start, errors_of, limit_from, with_checks
from .roots import root
from .scan import GRID, Scan, lowest_between, scan, time_at, variable_at

# minima that are refined, at most
TURNS = 3
# relative depth of a minimum below which it is rounding
FLAT = 1e-13
# where an eigenvalue exceeds the fastest mode by this factor, the grid begins too late to resolve
# what it learns
TOO_FAST = 10.0


class Sought(NamedTuple):
    """Times are sought at which weights·(L_train, L_test, dL_test/dv) passes a level, upwards if
    `rising`; arrays along them.
    """

    weights: Any
    rising: Any


# first the deepest minima, then the ends of the window and the onset, whose levels are known then
SOUGHT = (
    Sought(np.tile([0.0, 0.0, 1.0], (TURNS, 1)), np.full(TURNS, True)),
    Sought(
        np.array([[0.0, 1.0, 0.0], [0.0, 1.0, 0.0], [-1.0, 1.0, 0.0]]),
        np.array([False, True, True]),
    ),
)


class Candidate(NamedTuple):
    """A time c at which L_test may be smallest, with both losses there, [2].

    `slope`, `residual`: d²L_test/d(log c)² and |dL_test/d(log c)|. `around`, `u`: see ``Root``.
    """

    c: Real
    losses: Vector
    slope: Real
    residual: Real
    around: Real
    u: Checked


class Stops(NamedTuple):
    """Times to stop at, in units of c = 2ω²τ/ψ_p.

    `best`, `lower`, `upper`, `onset`: the best one, the ends of the window, the onset of the gap.
    What vanishes at these four is dL_test/d(log c), L_test less its level (twice), and the gap less
    its level; `slopes` are its derivatives in log c, `residuals` what is left of it, [4]. `train`,
    `test`: losses at the best time. `train_limit`, `test_limit`, `limit_error`: at the end of
    training. `rival`, `rival_test`: the second best of all candidates and its loss. `scan_times`,
    `scan_test`: times c and test losses of the scan, [GRID]. `errors`: of the losses at the four
    times, the larger of both, [4]. `around`, `u`: see ``Root``, [4] and [4, node].
    `u_end`: the solution at the end of training.
    """

    best: Reals
    lower: Reals
    upper: Reals
    onset: Reals
    slopes: Reals
    residuals: Reals
    train: Reals
    test: Reals
    train_limit: Reals
    test_limit: Reals
    limit_error: Reals
    rival: Reals
    rival_test: Reals
    scan_times: Reals
    scan_test: Reals
    errors: Reals
    around: Reals
    u: Unknowns
    u_end: Unknowns


def search_stops(eq: Equations, tolerance: Real, threshold: Real) -> Stops:
    """The best time, its window and the onset of the gap."""
    scanned = scan(eq)
    u_end = on_the_left(eq, left_of_origin(eq, -eq.decay))
    train_limit, test_limit, limit_errors = limit_from(eq, u_end)
    opened = threshold * (test_limit - train_limit)
    ends = (
        _at_an_end(eq, 0.0, eq.untrained, eq.untrained),
        _at_an_end(eq, jnp.inf, train_limit, test_limit),
    )
    best, rival, last = _sought(eq, scanned, _better(*ends), tolerance, opened)
    times = _times(scanned, best, last.c, best.losses[1] + tolerance, opened)
    four = jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), best, last)
    return Stops(
        *times,
        slopes=four.slope,
        residuals=four.residual,
        train=best.losses[0],
        test=best.losses[1],
        train_limit=train_limit,
        test_limit=test_limit,
        limit_error=jnp.max(limit_errors),
        rival=rival.c,
        rival_test=rival.losses[1],
        scan_times=time_at(scanned.grid, scanned.log_start),
        scan_test=scanned.test,
        errors=_errors_at(eq, jnp.stack(times), four, jnp.max(limit_errors)),
        around=four.around,
        u=four.u.fine,
        u_end=u_end,
    )


def _at_an_end(eq: Equations, c: Real, train: Real, test: Real) -> Candidate:
    # the beginning or the end of training, to which no contour belongs
    none = lambda size: tuple(jnp.zeros(size, complex) for _ in eq.start(1j))
    losses = jnp.stack([train, test])
    u = Checked(none(FINEST), none(FINEST - FEWER), none(COARSE))
    return Candidate(c + 0.0 * train, losses, jnp.inf, 0.0, 0.0, u)


def _sought(
    eq: Equations,
    scanned: Scan,
    ends: tuple[Candidate, Candidate],
    tolerance: Real,
    opened: Real,
) -> tuple[Candidate, Candidate, Candidate]:
    # the best two of the ends of training and the deepest minima; then the ends of the window of
    # the best and the onset, [3]
    depths, minima = jax.lax.top_k(-lowest_between(scanned), TURNS)

    # one loop body for both stages, since the time to compile grows with the code
    def seek(
        two: tuple[Candidate, Candidate], stage: tuple[Truth, Sought]
    ) -> tuple[tuple[Candidate, Candidate], Candidate]:
        first, sought = stage
        best = two[0]
        exceeded = best.losses[1] + tolerance
        levels = jnp.where(first, 0.0, jnp.stack([exceeded, exceeded, opened]))
        intervals = jnp.where(first, minima, _around(scanned, best.c, exceeded, opened))
        intervals = jnp.clip(intervals, 0, scanned.last - 1)
        brackets = _brackets(scanned, intervals, best.c, first)
        found = _found(eq, scanned, intervals, brackets, sought, levels)
        real = first & (depths > -jnp.inf) & ~jnp.isnan(found.slope)
        turns = found._replace(
            c=jnp.where(real, found.c, jnp.inf),
            losses=jnp.where(real[:, None], found.losses, jnp.inf),
        )
        for i in range(TURNS):
            two = _best_two(*two, _entry(turns, i))
        return two, found

    stages = jax.tree.map(lambda *a: np.stack(a), *SOUGHT)
    two, found = jax.lax.scan(seek, ends, (np.array([True, False]), stages))
    return *two, _entry(found, 1)


def _times(
    scanned: Scan, best: Candidate, found: Vector, exceeded: Real, opened: Real
) -> tuple[Real, Real, Real, Real]:
    # the best time, the ends of its window and the onset, where these exist
    before, after, _ = _around(scanned, best.c, exceeded, opened)
    opens = (opened > 0) & (opened < jnp.inf)
    lower, upper, onset = found
    lower = jnp.where(before >= 0, lower, 0.0)
    upper = jnp.where(after < scanned.last, upper, jnp.inf)
    # the best time is in its window, though the tolerance may be less than rounding
    window = jnp.minimum(lower, best.c), jnp.maximum(upper, best.c)
    return best.c, *window, jnp.where(opens, onset, jnp.nan)


def _errors_at(eq: Equations, times: Vector, found: Candidate, limit_error: Real) -> Vector:
    # the larger error of both losses at each time, as it was found
    def within(c: Real, one: Candidate) -> Real:
        _, other, coarse = with_checks(
            lambda n: at_one_time(flow(c, eq.top, n, around=one.around)), FINEST
        )
        checks = (other, one.u.other), (coarse, one.u.coarse)
        return jnp.max(errors_of(eq, *checks, one.losses[None]))

    at_start = jnp.max(error_at_start(eq))
    errors = jax.vmap(within)(times, found)
    errors = jnp.where(times > 0, errors, at_start)
    return jnp.where(times < jnp.inf, errors, limit_error)


def _found(
    eq: Equations,
    scanned: Scan,
    intervals: Wholes,
    brackets: tuple[Vector, Vector],
    sought: Sought,
    levels: Vector,
) -> Candidate:
    # what is sought in each interval of the grid, as Candidates
    ends = scanned.grid[intervals], scanned.grid[intervals + 1]
    found = jax.vmap(partial(root, eq, scanned.log_start))(
        ends, brackets, sought.weights, levels, sought.rising
    )
    # a time before such a grid is not known: the safe side is taken, with NaN for its error
    unknown = (intervals == 0) & (eq.top > TOO_FAST * eq.fastest_mode)
    ends_a_window = sought.rising & (sought.weights[:, 1] > 0) & (sought.weights[:, 0] == 0)
    safe = scanned.grid[jnp.where(ends_a_window, intervals, intervals + 1)]
    v = jnp.where(unknown, safe, found.v)
    c = time_at(v, scanned.log_start)
    # before c0 dv = d log c · c/c0
    early = c / jnp.exp(scanned.log_start)
    slope = found.slope * jnp.where(v > scanned.log_start, 1.0, early)
    slope, residual = (jnp.where(unknown, jnp.nan, a) for a in (slope, found.residual))
    return Candidate(c, found.losses, slope, residual, found.around, found.u)


def _brackets(scanned: Scan, intervals: Wholes, best: Real, first: Truth) -> tuple[Vector, Vector]:
    # a window may be narrower than the grid: the minimum lies between its ends
    low, high = scanned.grid[intervals], scanned.grid[intervals + 1]
    minimum = jnp.clip(variable_at(best, scanned.log_start), low, high)
    is_lower, is_upper = ~first & (np.arange(TURNS) == 0), ~first & (np.arange(TURNS) == 1)
    return jnp.where(is_upper, minimum, low), jnp.where(is_lower, minimum, high)


def _around(scanned: Scan, best: Real, exceeded: Real, opened: Real) -> Wholes:
    # the intervals next to the best time within which L_test comes down to the level and rises
    # above it again, -1 and `last` where it does not; and that in which the gap opens
    index = jnp.arange(GRID)
    above = scanned.test > exceeded
    bottom = jnp.sum(best > time_at(scanned.grid, scanned.log_start)) - 1
    before = jnp.max(jnp.where(above & (index <= bottom), index, -1))
    after = jnp.min(jnp.where(above & (index > bottom), index, scanned.last + 1))
    onset = jnp.argmax(scanned.test - scanned.train >= opened)
    return jnp.stack([before, after - 1, onset - 1])


def _entry(candidates: Candidate, i: int) -> Candidate:
    return jax.tree.map(lambda a: a[i], candidates)


def _better(one: Candidate, other: Candidate) -> tuple[Candidate, Candidate]:
    # the smaller test loss first, the other one only where it is smaller by more than rounding
    a, b = one.losses[1], other.losses[1]
    wins = ~(b >= a - FLAT * jnp.abs(a))
    choose = lambda x, y: jnp.where(wins, y, x)
    return jax.tree.map(choose, one, other), jax.tree.map(choose, other, one)


def _best_two(best: Candidate, rival: Candidate, new: Candidate) -> tuple[Candidate, Candidate]:
    best, loser = _better(best, new)
    return best, _better(rival, loser)[0]
