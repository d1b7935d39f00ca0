r"""Where the test loss turns, passes a level or departs from the train loss: roots along training,
from one scan.

In u = log τ the losses are analytic for |Im u| < π/2, so that a grid with steps of half a unit sees
every minimum and every crossing. Before it lies one interval more, down to τ = 0, on which the
losses are nearly parabolas in τ. The best time is the best of τ = 0, τ = ∞ and the deepest minima
between, each of them refined before they are compared.

The grid is walked by continuation: the nodes of a contour for 2β²τ/ψ_p = c lie on rays z ∝ 1/c,
along which three Newton steps follow the solution from one training time to the next. Inside the
bracket found the two-point functions are computed once; the minimum or crossing is then a root in
the weights of the contour alone. A last pair of Newton steps makes it an implicit function of the
model, so that it can be differentiated twice.

The variable v along training is log c from c0 on, where nothing is learnt yet, and 1 + v - log c0 =
c/c0 before.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..numerics.checks import namespace
from ..numerics.holomorphic import Unknowns
from ..numerics.types import Numbers, Real, Reals, Truth, Vector, Whole
from ..resolvent.interface import Equations
from ..resolvent.solver import solve_off_axis, towards
from .contour import FINEST, flow
from .losses import limit, losses, pairs_of

GRID = 96  # training times looked at first: 0, and
FIRST, LAST = 1e-3, 40.0  # from cλ = FIRST for the largest λ to cλ = LAST for the smallest
TURNS = 3  # minima that are refined, at most
SCAN = 24  # contour nodes while searching,
SEEN = 1e-10  # and what they leave of the untrained loss
AT_ONCE = 8  # of these times
GUARDED = 24  # Newton steps inside a bracket, at most,
CLOSE = 1e-4  # of which the last is this small: two more double its digits twice
NEAR = 1 / 64  # of a bracket: as far as a last Newton step goes, which rounding may send anywhere
BEND = 16  # errors of a loss that its second derivative is known to
FLAT = 1e-13  # relative depth of a minimum below which it is rounding
# times the fastest eigenvalue, from which what the larger ones learn before the grid is not
# resolved
MUCH = 10.0
SMALLEST = 1e-16  # of the largest: no smaller eigenvalue learns


def _time(v: Reals, start: Real) -> Reals:
    """c of v, smooth once across c0 = exp(start); zero at v = start - 1."""
    late = v > start
    return jnp.where(late, jnp.exp(jnp.where(late, v, start)), jnp.exp(start) * (1.0 + v - start))


class Scan(NamedTuple):
    """Losses and the slope of L_test in v on a grid of v, the first of them at c = 0,
    to about ten digits.
    """

    at: Vector
    train: Vector
    test: Vector
    test_slope: Vector

    @property
    def start(self) -> Real:
        """log c0, the second of the grid."""
        return self.at[1]


def scan(eq: Equations) -> Scan:
    """Walk the whole training, from c = 0 to where nothing is left to learn; not differentiated."""
    eq = jax.lax.stop_gradient(eq)
    lowest = jnp.maximum(eq.slowest, SMALLEST * eq.fastest) + eq.decay
    start = jnp.log(FIRST / eq.fastest)
    at = jnp.append(start - 1.0, jnp.linspace(start, jnp.log(LAST / lowest), GRID - 1))
    c = _time(at, start)
    nodes = jax.vmap(lambda c: flow(c, eq.top, SCAN).nodes)(c) - eq.decay

    def follow(u: Unknowns, z: Numbers) -> tuple[Unknowns, Unknowns]:
        u = jax.vmap(lambda z, *u: towards(eq, u, z))(z, *u)
        return u, u

    untrained, first = zip(*jax.vmap(jax.vmap(partial(solve_off_axis, eq)))(nodes[:2]), strict=True)
    _, path = jax.lax.scan(follow, first, nodes[1:])
    path = tuple(jnp.concatenate([a[None], b]) for a, b in zip(untrained, path, strict=True))

    def one(place: tuple[Real, Unknowns]) -> tuple[tuple[Real, Real], tuple[Real, Real]]:
        v, u = place
        pairs, around = pairs_of(eq, u), _time(v, start)
        f = lambda w: losses(eq, flow(_time(w, start), eq.top, SCAN, around=around), pairs)[:2]
        return jax.jvp(f, (v,), (jnp.ones_like(v),))

    (train, test), (_, test_slope) = jax.lax.map(one, (at, path), batch_size=AT_ONCE)
    return Scan(at, train, test, test_slope)


def _variable(c: Real, start: Real) -> Real:
    """v of c."""
    late = c > jnp.exp(start)
    return jnp.where(late, jnp.log(jnp.where(late, c, 1.0)), start - 1.0 + c / jnp.exp(start))


def _root(
    eq: Equations,
    seen: Scan,
    bracket: tuple[Real, Real],
    weights: Vector,
    level: Real,
    rising: Truth,
) -> tuple[Real, Vector, Vector]:
    """Where weights·(L_train, L_test, dL_test/dv) passes the level in a bracket,
    upwards or downwards.

    Returns v, differentiable in the equations and the level; the slope of the condition and what is
    left of it; and the losses there. The contour of the first round serves the whole interval, that
    of the second the root that the first has found.
    """
    low, high = jax.lax.stop_gradient(bracket)

    def nodes(center: Real) -> Numbers:
        return flow(_time(center, seen.start), eq.top, FINEST).nodes

    def once(
        carry: tuple[Real, Real], guarded: Whole
    ) -> tuple[tuple[Real, Real], tuple[Real, Vector, Vector]]:
        center, start = carry
        around = _time(center, seen.start)
        u = jax.vmap(partial(solve_off_axis, eq))(nodes(center) - eq.decay)
        pairs = pairs_of(eq, u)

        def passed(eq: Equations, pairs: Any, level: Real, v: Real) -> tuple[Vector, Vector]:
            """The condition, its slope, and the losses."""
            path = lambda v: flow(_time(v, seen.start), eq.top, FINEST, around=around)
            both = lambda v: jnp.stack(losses(eq, path(v), pairs)[:2])
            one = jnp.ones_like(v)
            slopes = lambda v: jax.jvp(both, (v,), (one,))
            (at, slope), (_, bend) = jax.jvp(slopes, (v,), (one,))
            value = weights[:2] @ at + weights[2] * slope[1] - level
            return jnp.stack([value, weights[:2] @ slope + weights[2] * bend[1]]), at

        still = jax.lax.stop_gradient((eq, pairs, level))

        def step(
            carry: tuple[Whole, Real, Real, Real, Real],
        ) -> tuple[Whole, Real, Real, Real, Real]:
            count, low, high, v, _ = carry
            value, slope = passed(*still, v)[0]
            right = (value > 0) == rising
            low, high = jnp.where(right, low, v), jnp.where(right, v, high)
            newton = v - value / slope
            new = jnp.where((newton > low) & (newton < high), newton, (low + high) / 2)
            return count + 1, low, high, new, jnp.abs(new - v)

        goes_on = lambda carry: (carry[0] < guarded) & (carry[-1] > CLOSE * (high - low))
        *_, v, _ = jax.lax.while_loop(goes_on, step, (0, low, high, start, jnp.inf))

        def refine(v: Real, _: Any) -> tuple[Real, tuple[Real, Vector, Vector]]:
            (value, slope), at = passed(eq, pairs, level, v)
            most = NEAR * (high - low)
            told = jax.lax.stop_gradient(jnp.stack([slope, jnp.abs(value)]))
            return v + jnp.clip(-value / slope, -most, most), (v, told, at)

        found = _last(jax.lax.scan(refine, v, length=3))
        v = jax.lax.stop_gradient(found[0])
        return (v, v), found

    return _last(jax.lax.scan(once, (high, (low + high) / 2), jnp.array([GUARDED, 0])))


def _last(scanned: tuple[Any, Any]) -> tuple[Real, Vector, Vector]:
    return jax.tree.map(lambda a: a[-1], scanned[1])


class Candidate(NamedTuple):
    """A time c at which L_test may be smallest, the losses there,
    d²L_test/d(log c)² and |dL_test/d(log c)|.
    """

    c: Real
    losses: Vector
    slope: Real
    left: Real


class Stops(NamedTuple):
    """Times to stop at, in units of c = 2β²τ/ψ_p: the best one, the ends of the window,
    the onset of the gap.

    `slopes`: derivatives in log c, at each of the four in turn, of what vanishes there (of the
    slope of L_test, of L_test twice, of the gap); `left`: what is left of it; losses at the best
    and at the end of training, with the error there; the second best of all candidates; times c and
    test losses of the scan.
    """

    best: Reals
    lower: Reals
    upper: Reals
    onset: Reals
    slopes: Reals
    left: Reals
    train: Reals
    test: Reals
    train_limit: Reals
    test_limit: Reals
    limit_error: Reals
    rival: Reals
    rival_test: Reals
    seen_at: Reals
    seen_test: Reals


# what is sought in turn: weights of L_train, L_test and dL_test/dv, of which a level is passed
_TURN, _PASSED, _OPENED = [0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 1.0, 0.0]


_LOWER, _UPPER, _ONSET = range(TURNS, TURNS + 3)


_WEIGHTS = np.array([*[_TURN] * TURNS, _PASSED, _PASSED, _OPENED])


def stops(eq: Equations, tolerance: Real, threshold: Real) -> Stops:
    """All of them, differentiable in the equations."""
    seen, still = scan(eq), jax.lax.stop_gradient
    last_train, last_test, last_errors = limit(eq)
    end = jnp.stack([last_train, last_test])
    opened = threshold * (end[1] - end[0])
    skipped = still(eq.top > MUCH * eq.fastest)
    depths, turns = jax.lax.top_k(-_lowest(seen), TURNS)
    index = jnp.arange(GRID)
    untrained = Candidate(0.0 * end[0], jnp.stack([eq.untrained, eq.untrained]), jnp.inf, 0.0)
    ended = Candidate(jnp.inf, end, jnp.inf, 0.0)
    best, rival = _better(untrained, ended)

    def seek(
        carry: tuple[Candidate, Candidate], sought: tuple[Whole, Vector]
    ) -> tuple[tuple[Candidate, Candidate], tuple[Real, Real, Real, Truth, Truth]]:
        best, rival = carry
        which, weights = sought
        level = best.losses[1] + tolerance
        above, bottom = (
            seen.test > still(level),
            jnp.sum(still(best.c) > _time(seen.at, seen.start)) - 1,
        )
        before = jnp.max(jnp.where(above & (index <= bottom), index, -1))
        after = jnp.min(jnp.where(above & (index > bottom), index, GRID))
        onset = jnp.argmax(seen.test - seen.train >= still(opened)) - 1
        place = jnp.clip(jnp.append(turns, jnp.stack([before, after - 1, onset])), 0, GRID - 2)[
            which
        ]
        aim = jnp.where(which == _ONSET, opened, jnp.where(which < TURNS, 0.0, level))
        low, high, bottom_at = (
            seen.at[place],
            seen.at[place + 1],
            _variable(still(best.c), seen.start),
        )
        inside = jnp.clip(bottom_at, low, high)  # a window may be narrower than the grid
        bracket = jnp.where(which == _UPPER, inside, low), jnp.where(which == _LOWER, inside, high)
        v, (slope, left), there = _root(eq, seen, bracket, weights, aim, which != _LOWER)
        before_all = skipped & (place == 0)  # then the safe side, known to nothing
        v = jnp.where(before_all, jnp.where(which == _UPPER, low, high), v)
        slope, left = jnp.where(before_all, jnp.nan, slope), jnp.where(before_all, jnp.nan, left)
        c = _time(v, seen.start)
        # dv = d log c · c/c0
        slope = slope * jnp.where(v > seen.start, 1.0, still(c / jnp.exp(seen.start)))
        exists = (which < TURNS) & (depths[jnp.minimum(which, TURNS - 1)] > -jnp.inf) & ~before_all
        turn = Candidate(
            jnp.where(exists, c, jnp.inf), jnp.where(exists, there, jnp.inf), slope, left
        )
        return _best_two(best, rival, turn), (c, slope, left, before >= 0, after < GRID)

    (best, rival), (c, slope, left, begins, ends) = jax.lax.scan(
        seek, (best, rival), (jnp.arange(TURNS + 3), _WEIGHTS)
    )
    return Stops(
        best.c,
        jnp.minimum(
            jnp.where(begins[_LOWER], c[_LOWER], 0.0), best.c
        ),  # a tolerance may be less than rounding
        jnp.maximum(jnp.where(ends[_UPPER], c[_UPPER], jnp.inf), best.c),
        jnp.where((still(opened) > 0) & (still(opened) < jnp.inf), c[_ONSET], jnp.nan),
        jnp.append(best.slope, slope[TURNS:]),
        jnp.append(best.left, left[TURNS:]),
        best.losses[0],
        best.losses[1],
        last_train,
        last_test,
        jnp.max(last_errors),
        still(rival.c),
        still(rival.losses[1]),
        still(_time(seen.at, seen.start)),
        still(seen.test),
    )


def _better(one: Candidate, other: Candidate) -> tuple[Candidate, Candidate]:
    """The one with the smaller test loss first;
    the other only where it is smaller by more than rounding.
    """
    a, b = jax.lax.stop_gradient((one.losses[1], other.losses[1]))
    wins = ~(b >= a - FLAT * jnp.abs(a))
    return jax.tree.map(lambda x, y: jnp.where(wins, y, x), one, other), jax.tree.map(
        lambda x, y: jnp.where(wins, x, y), one, other
    )


def _best_two(best: Candidate, rival: Candidate, new: Candidate) -> tuple[Candidate, Candidate]:
    best, loser = _better(best, new)
    return best, _better(rival, loser)[0]


def _lowest(seen: Scan) -> Vector:
    """The minimum of L_test on each interval in which it turns,
    of the cubic with values and slopes at the ends.
    """
    h, value, slope = jnp.diff(seen.at)[None], seen.test[None], seen.test_slope[None]
    a, b, c, d = value[:, :-1], value[:, 1:], h * slope[:, :-1], h * slope[:, 1:]
    x = jnp.linspace(0.0, 1.0, 9)[:, None]
    cubic = (
        a * (1 + 2 * x) * (1 - x) ** 2
        + b * x**2 * (3 - 2 * x)
        + c * x * (1 - x) ** 2
        - d * x**2 * (1 - x)
    )
    turns = (seen.test_slope[:-1] < 0) & (seen.test_slope[1:] >= 0)
    return jnp.where(turns, jnp.min(cubic, axis=0), jnp.inf)


def time_errors(errors: Reals, stop: Stops) -> Reals:
    """Relative errors of the four times from the errors of the losses there, [4, ...]:
    error over slope.

    What is left of what should vanish counts as an error. The level of the window is as uncertain
    as the minimum; the slope of L_test is twice as uncertain as L_test, and its bend BEND times:
    where that leaves none, the best time is known to where the loss is told from its minimum. A
    time at 0 or ∞ has no error.
    """
    xp = namespace(errors, stop)
    none = xp.zeros_like(errors[0])
    of_what_vanishes = (
        errors
        + xp.stack([errors[0], errors[0], errors[0], none])
        + xp.moveaxis(xp.asarray(stop.left), -1, 0)
    )
    times = xp.stack([stop.best, stop.lower, stop.upper, stop.onset])
    slopes = xp.abs(xp.moveaxis(xp.asarray(stop.slopes), -1, 0)) - xp.stack(
        [BEND * errors[0], none, none, none]
    )
    # where nothing changes no time can be told
    with np.errstate(divide="ignore", invalid="ignore"):
        most = xp.stack([_plateau(errors[0], stop), none + xp.inf, none + xp.inf, none + xp.inf])
        moved = xp.where(slopes > 0, xp.minimum(of_what_vanishes / slopes, most), most)
        moved = xp.where(xp.isnan(slopes), xp.nan, moved)
    return xp.where((times == 0) | xp.isinf(times), 0.0, moved)


def _plateau(error: Reals, stop: Stops) -> Reals:
    """How far from the best time, relative to it, the scan is no worse by more than errors.

    The last of its times is as good as the end of training: ∞ where that is no worse.
    """
    xp, c = namespace(error, stop), stop.seen_at
    best, allowed = (
        stop.best[..., None],
        2.0 * error[..., None] + SEEN * xp.abs(stop.seen_test[..., :1]),
    )
    worse = stop.seen_test > stop.test[..., None] + allowed
    before = xp.max(xp.where(worse & (c < best), c, 0.0), axis=-1)
    end = xp.where(stop.test_limit > stop.test + 2.0 * error + stop.limit_error, c[..., -1], xp.inf)
    after = xp.minimum(xp.min(xp.where(worse & (c > best), c, xp.inf), axis=-1), end)
    return xp.maximum(after / stop.best - 1.0, 1.0 - before / stop.best)
