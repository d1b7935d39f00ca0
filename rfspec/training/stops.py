"""When to stop: where the test loss turns, passes a level or departs from the train loss.

Each of these times is bracketed by a grid (``rfspec.training.scan``) and refined to a root inside
its bracket (``rfspec.training.roots``). The best time is the best of τ = 0, τ = ∞ and the deepest
minima between, each of them refined before they are compared.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..numerics.types import Real, Reals, Truth, Vector, Whole, Wholes
from ..resolvent.interface import Equations
from .losses import limit
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
    """A time is sought at which weights·(L_train, L_test, dL_test/dv) passes a level, upwards if
    `rising`.
    """

    weights: tuple[float, float, float]
    rising: bool


# in this order, since the level of the window is known with the best time
SOUGHT = {
    **{f"minimum {i}": Sought((0.0, 0.0, 1.0), True) for i in range(TURNS)},
    "lower end": Sought((0.0, 1.0, 0.0), False),
    "upper end": Sought((0.0, 1.0, 0.0), True),
    "onset": Sought((-1.0, 1.0, 0.0), True),
}
LOWER, UPPER, ONSET = map(list(SOUGHT).index, ("lower end", "upper end", "onset"))


class Candidate(NamedTuple):
    """A time c at which L_test may be smallest, with both losses there, [2].

    `slope`, `residual`: d²L_test/d(log c)² and |dL_test/d(log c)|.
    """

    c: Real
    losses: Vector
    slope: Real
    residual: Real


class Stops(NamedTuple):
    """Times to stop at, in units of c = 2ω²τ/ψ_p.

    `best`, `lower`, `upper`, `onset`: the best one, the ends of the window, the onset of the gap.
    What vanishes at these four is dL_test/d(log c), L_test less its level (twice), and the gap less
    its level; `slopes` are its derivatives in log c, `residuals` what is left of it, [4]. `train`,
    `test`: losses at the best time. `train_limit`, `test_limit`, `limit_error`: at the end of
    training. `rival`, `rival_test`: the second best of all candidates and its loss. `scan_times`,
    `scan_test`: times c and test losses of the scan, [GRID].
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


def stops(eq: Equations, tolerance: Real, threshold: Real) -> Stops:
    """The best time, its window and the onset of the gap, differentiable in the equations."""
    scanned, frozen = scan(eq), jax.lax.stop_gradient
    train_limit, test_limit, limit_errors = limit(eq)
    opened = threshold * (test_limit - train_limit)
    depths, minima = jax.lax.top_k(-lowest_between(scanned), TURNS)
    unresolved = frozen(eq.top > TOO_FAST * eq.fastest_mode)
    at_start, at_end = jnp.stack([eq.untrained] * 2), jnp.stack([train_limit, test_limit])
    untrained = Candidate(0.0 * train_limit, at_start, jnp.inf, 0.0)
    ended = Candidate(jnp.inf, at_end, jnp.inf, 0.0)

    # one loop body for all that is sought, since the time to compile grows with the code
    def seek(
        candidates: tuple[Candidate, Candidate], sought: tuple[Whole, Vector, Truth]
    ) -> tuple[tuple[Candidate, Candidate], tuple[Real, Real, Real]]:
        best, rival = candidates
        which, weights, rising = sought
        exceeded = best.losses[1] + tolerance
        level = jnp.where(which == ONSET, opened, jnp.where(which < TURNS, 0.0, exceeded))
        interval, bracket = _bracket(scanned, which, minima, *frozen((best.c, exceeded, opened)))
        v, (slope, residual), loss = root(eq, scanned.log_start, bracket, weights, level, rising)
        # a time before such a grid is not known: the safe side is taken, with NaN for its error
        unknown = unresolved & (interval == 0)
        safe = scanned.grid[jnp.where(which == UPPER, interval, interval + 1)]
        v = jnp.where(unknown, safe, v)
        slope, residual = (jnp.where(unknown, jnp.nan, a) for a in (slope, residual))
        c = time_at(v, scanned.log_start)
        # before c0 dv = d log c · c/c0
        early = frozen(c / jnp.exp(scanned.log_start))
        slope = slope * jnp.where(v > scanned.log_start, 1.0, early)
        turns = (which < TURNS) & (depths[jnp.minimum(which, TURNS - 1)] > -jnp.inf) & ~unknown
        turn = Candidate(
            jnp.where(turns, c, jnp.inf), jnp.where(turns, loss, jnp.inf), slope, residual
        )
        return _best_two(best, rival, turn), (c, slope, residual)

    weights, rising = (np.array(column) for column in zip(*SOUGHT.values(), strict=True))
    (best, rival), (c, slopes, residuals) = jax.lax.scan(
        seek, _better(untrained, ended), (np.arange(len(SOUGHT)), weights, rising)
    )
    before, after = _ends_of_window(scanned, *frozen((best.c, best.losses[1] + tolerance)))
    lower = jnp.where(before >= 0, c[LOWER], 0.0)
    upper = jnp.where(after < GRID - 1, c[UPPER], jnp.inf)
    opens = (frozen(opened) > 0) & (frozen(opened) < jnp.inf)
    return Stops(
        best=best.c,
        # the best time is in its window, though the tolerance may be less than rounding
        lower=jnp.minimum(lower, best.c),
        upper=jnp.maximum(upper, best.c),
        onset=jnp.where(opens, c[ONSET], jnp.nan),
        slopes=jnp.append(best.slope, slopes[TURNS:]),
        residuals=jnp.append(best.residual, residuals[TURNS:]),
        train=best.losses[0],
        test=best.losses[1],
        train_limit=train_limit,
        test_limit=test_limit,
        limit_error=jnp.max(limit_errors),
        rival=frozen(rival.c),
        rival_test=frozen(rival.losses[1]),
        scan_times=frozen(time_at(scanned.grid, scanned.log_start)),
        scan_test=frozen(scanned.test),
    )


def _bracket(
    scanned: Scan, which: Whole, minima: Wholes, best: Real, exceeded: Real, opened: Real
) -> tuple[Whole, tuple[Real, Real]]:
    # the interval of the grid in which a time is sought, and the bracket within it
    before, after = _ends_of_window(scanned, best, exceeded)
    onset = jnp.argmax(scanned.test - scanned.train >= opened) - 1
    intervals = jnp.append(minima, jnp.stack([before, after, onset]))
    i = jnp.clip(intervals, 0, GRID - 2)[which]
    low, high = scanned.grid[i], scanned.grid[i + 1]
    # a window may be narrower than the grid: the minimum lies between its ends
    minimum = jnp.clip(variable_at(best, scanned.log_start), low, high)
    return i, (jnp.where(which == UPPER, minimum, low), jnp.where(which == LOWER, minimum, high))


def _ends_of_window(scanned: Scan, best: Real, exceeded: Real) -> tuple[Whole, Whole]:
    # the intervals next to the best time within which L_test comes down to the level and rises
    # above it again; -1 and GRID - 1 where it does not
    index = jnp.arange(GRID)
    above = scanned.test > exceeded
    bottom = jnp.sum(best > time_at(scanned.grid, scanned.log_start)) - 1
    before = jnp.max(jnp.where(above & (index <= bottom), index, -1))
    after = jnp.min(jnp.where(above & (index > bottom), index, GRID))
    return before, after - 1


def _better(one: Candidate, other: Candidate) -> tuple[Candidate, Candidate]:
    # the smaller test loss first, the other one only where it is smaller by more than rounding
    a, b = jax.lax.stop_gradient((one.losses[1], other.losses[1]))
    wins = ~(b >= a - FLAT * jnp.abs(a))
    choose = lambda x, y: jnp.where(wins, y, x)
    return jax.tree.map(choose, one, other), jax.tree.map(choose, other, one)


def _best_two(best: Candidate, rival: Candidate, new: Candidate) -> tuple[Candidate, Candidate]:
    best, loser = _better(best, new)
    return best, _better(rival, loser)[0]
