"""The search for when to stop: where the test loss turns, passes a level or departs from the train
loss.

Each of these times is bracketed by a grid (``rfspec.training.scan``) and refined to a root inside
its bracket (``rfspec.training.roots``). The best time is the best of τ = 0, τ = ∞ and the deepest
minima between, each of them refined before they are compared. Nothing here is differentiated
(``rfspec.training.moving_stops`` does that).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..numerics.continuation import on_the_left
from ..numerics.holomorphic import Unknowns
from ..numerics.types import Real, Reals, Truths, Vector, Whole, Wholes
from ..resolvent.interface import Equations
from ..resolvent.solver import left_of_origin
from .contour import FINEST, flow
from .losses import error_at_start, errors_of, limit_from
from .roots import Root, root
from .rows import with_checks
from .scan import GRID, Scan, lowest_between, scan, time_at, variable_at

# minima that are refined, at most
TURNS = 3
# relative depth of a minimum below which it is rounding
FLAT = 1e-13
# where an eigenvalue exceeds the fastest mode by this factor, the grid begins too late to resolve
# what it learns
TOO_FAST = 10.0


class Sought(NamedTuple):
    """A time at which weights·(L_train, L_test, dL_test/dv) passes a level, upwards if `rising`.

    `turn`: a minimum of L_test. `place`: which of the minima, or of the times of `Asked`.
    """

    weights: Any
    rising: Any
    turn: Any
    place: Any


class Asked(NamedTuple):
    """Which times are sought beside the best one: the ends of its window, the onset of the gap."""

    lower: Any = True
    upper: Any = True
    onset: Any = True


ALL = Asked()
LOWER, UPPER = 0, 1
# first the deepest minima, which tell the levels of the others
SOUGHT = Sought(
    weights=np.array(
        [[0.0, 0.0, 1.0]] * TURNS + [[0.0, 1.0, 0.0], [0.0, 1.0, 0.0], [-1.0, 1.0, 0.0]]
    ),
    rising=np.array([True] * TURNS + [False, True, True]),
    turn=np.array([True] * TURNS + [False] * 3),
    place=np.array([*range(TURNS), 0, 1, 2]),
)


class Candidate(NamedTuple):
    """A time c at which L_test may be smallest, with both losses there, [2].

    `slope`, `residual`: d²L_test/d(log c)² and |dL_test/d(log c)|. `error`: of the losses, the
    larger of both. `around`, `u`: see ``Root``.
    """

    c: Real
    losses: Vector
    slope: Real
    residual: Real
    error: Real
    around: Real
    u: Unknowns


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


class Levels(NamedTuple):
    """By how much L_test may exceed its minimum, and the gap that counts as open."""

    tolerance: Real
    opened: Real


def search_stops(eq: Equations, tolerance: Real, threshold: Real, asked: Asked = ALL) -> Stops:
    """The best time, its window and the onset of the gap; NaN for what is not asked."""
    scanned = scan(eq)
    u_end = on_the_left(eq, left_of_origin(eq, -eq.decay))
    train_limit, test_limit, limit_errors = limit_from(eq, u_end)
    limit_error = jnp.max(limit_errors)
    opened = threshold * (test_limit - train_limit)
    start = _at_an_end(eq, 0.0, eq.untrained, eq.untrained, jnp.max(error_at_start(eq)))
    end = _at_an_end(eq, jnp.inf, train_limit, test_limit, limit_error)
    best, rival, found = _sought(eq, scanned, _better(start, end), Levels(tolerance, opened), asked)
    lower, upper, onset = (_entry(found, TURNS + i) for i in range(3))
    lower, upper = _or_else(lower, start), _or_else(upper, end)
    four = jax.tree.map(lambda *a: jnp.stack(a), best, lower, upper, onset)
    known = lambda wanted, c: jnp.where(wanted, c, jnp.nan)
    return Stops(
        best.c,
        # the best time is in its window, though the tolerance may be less than rounding
        known(asked.lower, jnp.minimum(lower.c, best.c)),
        known(asked.upper, jnp.maximum(upper.c, best.c)),
        jnp.where(onset.c < jnp.inf, onset.c, jnp.nan),
        slopes=four.slope,
        residuals=four.residual,
        train=best.losses[0],
        test=best.losses[1],
        train_limit=train_limit,
        test_limit=test_limit,
        limit_error=limit_error,
        rival=rival.c,
        rival_test=rival.losses[1],
        scan_times=time_at(scanned.grid, scanned.log_start),
        scan_test=scanned.test,
        errors=four.error,
        around=four.around,
        u=four.u,
        u_end=u_end,
    )


def _at_an_end(eq: Equations, c: Real, train: Real, test: Real, error: Real) -> Candidate:
    # the beginning or the end of training, to which no contour belongs
    u = tuple(jnp.zeros(FINEST, complex) for _ in eq.start(1j))
    return Candidate(c + 0.0 * train, jnp.stack([train, test]), jnp.inf, 0.0, error, 0.0, u)


def _sought(
    eq: Equations,
    scanned: Scan,
    ends: tuple[Candidate, Candidate],
    given: Levels,
    asked: Asked,
) -> tuple[Candidate, Candidate, Candidate]:
    # the best two of the ends of training and the deepest minima; and all that was sought, of which
    # what does not exist or is not asked is at c = ∞
    depths, minima = jax.lax.top_k(-lowest_between(scanned), TURNS)
    nothing = jax.tree.map(lambda a: jnp.full_like(a, jnp.inf), ends[0])._replace(u=ends[0].u)

    # one after another, so that what does not exist costs nothing
    def seek(
        two: tuple[Candidate, Candidate], sought: Sought
    ) -> tuple[tuple[Candidate, Candidate], Candidate]:
        best, i = two[0], sought.place
        exceeded = best.losses[1] + given.tolerance
        level = jnp.where(sought.turn, 0.0, jnp.stack([exceeded, exceeded, given.opened])[i])
        around, exists = _around(scanned, best.c, exceeded, given.opened)
        interval = jnp.where(sought.turn, minima[i], around[i])
        wanted = jnp.where(sought.turn, depths[i] > -jnp.inf, (exists & jnp.array(tuple(asked)))[i])
        found = jax.lax.cond(
            wanted,
            lambda: _found(eq, scanned, jnp.maximum(interval, 0), best.c, sought, level),
            lambda: nothing,
        )
        real = sought.turn & ~jnp.isnan(found.slope)
        turn = jax.tree.map(lambda a, b: jnp.where(real, a, b), found, nothing)
        return _best_two(*two, turn), found

    two, found = jax.lax.scan(seek, ends, SOUGHT)
    return *two, found


def _found(
    eq: Equations, scanned: Scan, interval: Whole, best: Real, sought: Sought, level: Real
) -> Candidate:
    # what is sought in an interval of the grid
    ends = scanned.grid[interval], scanned.grid[interval + 1]
    bracket = _bracket(scanned, ends, best, sought)
    found = root(eq, scanned.log_start, ends, bracket, sought.weights, level, sought.rising)
    # a time before such a grid is not known: the safe side is taken, with NaN for its error
    unknown = (interval == 0) & (eq.top > TOO_FAST * eq.fastest_mode)
    ends_a_window = ~sought.turn & (sought.place == UPPER)
    v = jnp.where(unknown, jnp.where(ends_a_window, *ends), found.v)
    c = time_at(v, scanned.log_start)
    # before c0 dv = d log c · c/c0
    early = c / jnp.exp(scanned.log_start)
    slope = found.slope * jnp.where(v > scanned.log_start, 1.0, early)
    slope, residual = (jnp.where(unknown, jnp.nan, a) for a in (slope, found.residual))
    error = _error_at(eq, c, found)
    return Candidate(c, found.losses, slope, residual, error, found.around, found.u.fine)


def _error_at(eq: Equations, c: Real, found: Root) -> Real:
    # the larger error of both losses
    path = lambda n: flow(c, eq.top, n, around=found.around).at_one_time
    _, other, coarse = with_checks(path, FINEST)
    checks = (other, found.u.other), (coarse, found.u.coarse)
    return jnp.max(errors_of(eq, *checks, found.losses[None]))


def _bracket(
    scanned: Scan, ends: tuple[Real, Real], best: Real, sought: Sought
) -> tuple[Real, Real]:
    # a window may be narrower than the grid: the minimum lies between its ends
    low, high = ends
    minimum = jnp.clip(variable_at(best, scanned.log_start), low, high)
    of_window = lambda place: ~sought.turn & (sought.place == place)
    return jnp.where(of_window(UPPER), minimum, low), jnp.where(of_window(LOWER), minimum, high)


def _around(scanned: Scan, best: Real, exceeded: Real, opened: Real) -> tuple[Wholes, Truths]:
    # the intervals next to the best time within which L_test comes down to the level and rises
    # above it again, and that in which the gap opens; and whether there are such
    index = jnp.arange(GRID)
    above = scanned.test > exceeded
    bottom = jnp.sum(best > time_at(scanned.grid, scanned.log_start)) - 1
    before = jnp.max(jnp.where(above & (index <= bottom), index, -1))
    after = jnp.min(jnp.where(above & (index > bottom), index, scanned.last + 1)) - 1
    onset = jnp.argmax(scanned.test - scanned.train >= opened) - 1
    opens = (opened > 0) & (opened < jnp.inf) & (onset >= 0)
    return jnp.stack([before, after, onset]), jnp.stack([before >= 0, after < scanned.last, opens])


def _entry(candidates: Candidate, i: int) -> Candidate:
    return jax.tree.map(lambda a: a[i], candidates)


def _or_else(found: Candidate, end: Candidate) -> Candidate:
    return jax.tree.map(lambda a, b: jnp.where(found.c < jnp.inf, a, b), found, end)


def _better(one: Candidate, other: Candidate) -> tuple[Candidate, Candidate]:
    # the smaller test loss first, the other one only where it is smaller by more than rounding
    a, b = one.losses[1], other.losses[1]
    wins = ~(b >= a - FLAT * jnp.abs(a))
    choose = lambda x, y: jnp.where(wins, y, x)
    return jax.tree.map(choose, one, other), jax.tree.map(choose, other, one)


def _best_two(best: Candidate, rival: Candidate, new: Candidate) -> tuple[Candidate, Candidate]:
    best, loser = _better(best, new)
    return best, _better(rival, loser)[0]
