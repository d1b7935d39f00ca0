"""The one list of what a survey tells of a cell.

A further output is a line of `OUTPUTS`, and a function of `Cells`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .cells import BUDGETS, DROPS, EDGES, LEADING, LIMITS, ONSET, STOPS, WINDOW, Cells
from .constants_table import CONSTANTS

# the status of a cell that nobody has computed yet
NOT_YET = np.int8(-1)
CELL_STATUS = (
    "computed",
    "outside the theory: psi_p, psi_n and t must be finite and greater than 0, and what else makes "
    "the model in its range",
    "the edges of the spectrum could not all be found: its timescales and parts are not given",
    "the losses are not accurate to 1e-6: move a parameter a little",
    "its computation has failed with an error",
)
OUTSIDE, FAILED = np.int8(1), np.int8(4)
REGIONS = (
    "not yet trained",
    "generalisation by early stopping",
    "memorisation",
    "architectural regularisation",
    "nothing to learn",
)
RULE = (
    "Nothing to learn where no training time has a smaller test loss than none, tau_star = 0. "
    "Elsewhere, with the window [lower, upper] of training times at which L_test exceeds its "
    "minimum by at most the tolerance: not yet trained where tau < lower; generalisation by early "
    "stopping where lower <= tau <= upper < inf; memorisation where tau > upper; architectural "
    "regularisation where tau >= lower and upper = inf, that is L_test(inf) <= min L_test + "
    "tolerance. The line between the second and the third is tau = upper, the line around the "
    "fourth is where upper becomes infinite; interpolation is the line p = n."
)


def _flags(meanings: Sequence[str], first: int = 0) -> dict[str, Any]:
    return {
        "units": "1",
        "flag_values": list(range(first, first + len(meanings))),
        "flag_meanings": "; ".join(meanings),
    }


PURE = {"units": "1"}
TIME = {"units": "1", "note": "training time tau = k eta / d^2"}
LOSS = {"units": "1", "note": "in units of the target; for the noise 1 at tau = 0"}
SCORE = {"units": "1", "note": "E_score = (L_test - loss of the exact score)/unit, Gaussian data"}
VALUE = {"units": "1", "note": "in the unit of the eigenvalues of U"}
STATUS = _flags(CELL_STATUS)
# of a store that is filled bit by bit
STATUS_OF_A_STORE = _flags(("not computed yet", *CELL_STATUS), int(NOT_YET))
MERGED = _flags(("has edges of its own", "merged"))
YES_NO = _flags(("no", "yes"))
REGION = {**_flags(REGIONS), "rule": RULE}
# constants of the Gaussian equivalent
EQUIVALENT = ("mu0", "mu1", "kappa2", "b2", "v2", "s2")
# a cell whose losses have a larger error is flagged
ACCURATE = 1e-6


class Output(NamedTuple):
    """One output of a survey.

    `axis`: the axis that it has beside those of the grid. `attributes`, `meaning`: its unit with
    what else there is to say, and its long name. `of`: how it follows from cells, [cell, ...].
    `outside`: its value in a cell outside the theory, of its type. `needs`: of `cells.NEEDS`.
    """

    axis: str
    attributes: dict[str, Any]
    meaning: str
    of: Callable[[Cells], np.ndarray]
    outside: Any = np.nan
    needs: tuple[str, ...] = ()


def _relaxation(c: Cells, lower_edges: np.ndarray, part: int) -> np.ndarray:
    return 2.0 * c.unit / lower_edges[:, part]  # (4)


def _by_rule(part: int) -> Callable[[Cells], np.ndarray]:
    by_rule = {
        "loss": lambda c: c.unit * (c.stop.best, c.stop.onset)[part],
        "spectrum": lambda c: _relaxation(c, c.lower, part),
        "paper": lambda c: _relaxation(c, c.paper, part),
    }
    return lambda c: np.stack([by_rule[rule](c) for rule in c.asked.rules], axis=1)


def _error(which: int) -> Callable[[Cells], np.ndarray]:
    return lambda c: c.time_error(which)


def _status(c: Cells) -> np.ndarray:
    return np.where(c.worst < ACCURATE, np.where(c.complete, 0, 2), 3)


def _separated(c: Cells) -> np.ndarray:
    return c.complete & ~c.merged.any(axis=1)


def _regions(c: Cells) -> np.ndarray:
    # the place in REGIONS, -1 where the window is not known
    best, lower, upper = (c.unit * time for time in (c.stop.best, c.stop.lower, c.stop.upper))
    best, lower, upper = best[:, None], lower[:, None], upper[:, None]
    region = np.where(c.tau > upper, 2, np.where(np.isinf(upper), 3, 1))
    region = np.where(best == 0, 4, region)
    return np.where(np.isnan(lower), -1, np.where(c.tau < lower, 0, region))


def _of_bulks(read: Callable[[Any], np.ndarray]) -> Callable[[Cells], np.ndarray]:
    # NaN where an edge is missing, and up to the room for bulks
    def values(c: Cells) -> np.ndarray:
        a = np.where(c.found.complete[:, None], read(c.found), np.nan)
        room = c.asked.bulks * (a.shape[1] // c.found.mass.shape[1])
        return np.pad(a, ((0, 0), (0, room - a.shape[1])), constant_values=np.nan)

    return values


def _in_turn(found: Any) -> np.ndarray:
    return np.stack([found.lower, found.upper], axis=2).reshape(found.lower.shape[0], -1)


def _of_parts(read: Callable[[Any], np.ndarray]) -> Callable[[Cells], np.ndarray]:
    return lambda c: np.where(c.found.complete[:, None], read(c.found.parts), np.nan)


def _constant(name: str) -> Callable[[Cells], np.ndarray]:
    # NaN where classes have constants of their own
    def values(c: Cells) -> np.ndarray:
        constant = np.asarray(getattr(c.alike.eq.ge, name))
        return constant if constant.ndim < 2 else np.full(len(constant), np.nan)

    return values


def _time(which: int) -> Callable[[Cells], np.ndarray]:
    return lambda c: c.unit * (c.stop.best, c.stop.lower, c.stop.upper, c.stop.onset)[which]


AT_TAU, OF_STOPS, AT_END = {"needs": (BUDGETS,)}, {"needs": (STOPS,)}, {"needs": (LIMITS,)}
OF_WINDOW, OF_ONSET = {"needs": (STOPS, WINDOW)}, {"needs": (STOPS, ONSET)}
OF_EDGES, OF_DROPS = {"needs": (EDGES,)}, {"needs": (DROPS,)}
NO, NOWHERE = np.int8(0), np.int8(-1)
OUTPUTS: dict[str, Output] = {
    "train": Output("tau", LOSS, "train loss", lambda c: c.train, **AT_TAU),
    "test": Output("tau", LOSS, "test loss", lambda c: c.test, **AT_TAU),
    "train_star": Output("", LOSS, "train loss at tau_star", lambda c: c.stop.train, **OF_STOPS),
    "test_star": Output(
        "", LOSS, "min over tau of the test loss", lambda c: c.stop.test, **OF_STOPS
    ),
    "train_limit": Output("", LOSS, "train loss at tau = inf", lambda c: c.limits[0], **AT_END),
    "test_limit": Output("", LOSS, "test loss at tau = inf", lambda c: c.limits[1], **AT_END),
    "tau_star": Output("", TIME, "best training time", _time(0), **OF_STOPS),
    "window_lower": Output("", TIME, "start of the window", _time(1), **OF_WINDOW),
    "window_upper": Output("", TIME, "end of the window", _time(2), **OF_WINDOW),
    "tau_gen": Output("rule", TIME, "population is learnt", _by_rule(0)),
    "tau_mem": Output("rule", TIME, "sample is learnt", _by_rule(1)),
    "tau_satellite": Output(
        "", TIME, "satellite is learnt", lambda c: _relaxation(c, c.lower, 2), **OF_EDGES
    ),
    "merged": Output(
        "part", MERGED, "whether a part has merged", lambda c: c.merged, NO, **OF_EDGES
    ),
    "error": Output("", LOSS, "estimated absolute error of the losses", lambda c: c.worst),
    "tau_star_error": Output("", PURE, "relative error of tau_star", _error(0), **OF_STOPS),
    "window_lower_error": Output(
        "", PURE, "relative error of window_lower", _error(1), **OF_WINDOW
    ),
    "window_upper_error": Output(
        "", PURE, "relative error of window_upper", _error(2), **OF_WINDOW
    ),
    "tau_mem_error": Output("", PURE, "relative error of tau_mem, loss", _error(3), **OF_ONSET),
    "status": Output("", STATUS, "what a cell lacks", _status, OUTSIDE),
    "gap": Output(
        "tau", LOSS, "generalisation gap L_test - L_train", lambda c: c.test - c.train, **AT_TAU
    ),
    "score_error": Output("tau", SCORE, "E_score", lambda c: c.score(c.test), **AT_TAU),
    "region": Output("tau", REGION, "region of the diagram", _regions, NOWHERE, **OF_WINDOW),
    "score_error_star": Output(
        "", SCORE, "min over tau of E_score", lambda c: c.score(c.stop.test), **OF_STOPS
    ),
    "separated": Output("", YES_NO, "whether no two parts have merged", _separated, NO, **OF_EDGES),
}
# what a diagram does not tell
MORE: dict[str, Output] = {
    "edges": Output(
        "edge", VALUE, "edges of the bulks, ascending", _of_bulks(_in_turn), **OF_EDGES
    ),
    "edge_error": Output(
        "edge",
        PURE,
        "relative error of an edge's distance from the atom",
        _of_bulks(lambda found: found.error),
        **OF_EDGES,
    ),
    "bulks": Output(
        "",
        PURE,
        "how many bulks there are",
        lambda c: np.where(c.found.complete, c.found.count, 0).astype(np.int16),
        np.int16(0),
        **OF_EDGES,
    ),
    "mass": Output(
        "bulk", PURE, "share of the eigenvalues", _of_bulks(lambda found: found.mass), **OF_EDGES
    ),
    "atom": Output("", VALUE, "place of the atom", lambda c: c.found.location, **OF_EDGES),
    "atom_mass": Output("", PURE, "mass of the atom", lambda c: c.found.atom, **OF_EDGES),
    "part_lower": Output(
        "part", VALUE, "lower edge of a part", _of_parts(lambda p: p.lower), **OF_EDGES
    ),
    "part_upper": Output(
        "part", VALUE, "upper edge of a part", _of_parts(lambda p: p.upper), **OF_EDGES
    ),
    "part_mass": Output("part", PURE, "mass of a part", _of_parts(lambda p: p.mass), **OF_EDGES),
    "loss_drop": Output(
        "bulk", LOSS, "train-loss drop", _of_bulks(lambda found: found.support.drop), **OF_DROPS
    ),
    "loss_drop_error": Output(
        "bulk",
        LOSS,
        "estimated absolute error of loss_drop",
        _of_bulks(lambda found: found.support.drop_error),
        **OF_DROPS,
    ),
    **{
        name: Output("", {"units": unit}, meaning, _constant(name))
        for name, (meaning, unit) in CONSTANTS.items()
        if name in EQUIVALENT
    },
}
EVERY = {**OUTPUTS, **MORE}
# names of several outputs at once
GROUPS: dict[str, tuple[str, ...]] = {
    "edges": ("edges", "edge_error", "bulks"),
    "masses": ("mass", "atom", "atom_mass"),
    "parts": ("part_lower", "part_upper", "part_mass", "merged", "separated"),
    "drops": ("loss_drop", "loss_drop_error"),
    "paper": ("tau_gen", "tau_mem"),
    "spectrum": ("tau_gen", "tau_mem", "tau_satellite"),
    "loss": ("tau_gen", "tau_mem", "tau_mem_error"),
    "tau_star": ("tau_star", "tau_star_error", "train_star", "test_star", "score_error_star"),
    "window": ("window_lower", "window_upper", "window_lower_error", "window_upper_error"),
    "losses": ("train", "test", "gap", "score_error"),
    "limits": ("train_limit", "test_limit"),
    "constants": EQUIVALENT,
}
OF_RULE = {"loss": (STOPS, ONSET), "spectrum": (EDGES,), "paper": (LEADING,)}
