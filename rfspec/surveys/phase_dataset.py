"""Phase diagrams as datasets: the one list of what a diagram tells of a cell.

A further output is a line of `OUTPUTS`, and a function of `Cells`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from ..spectra.support import PARTS
from ..training.timescales import RULES
from .cells import Cells

if TYPE_CHECKING:
    import xarray

CELL_STATUS = (
    "computed",
    "outside the theory: psi_p, psi_n and t must be finite and greater than 0",
    "the edges of the spectrum could not all be found: its timescales and parts are not given",
    "the losses are not accurate to 1e-6: move a parameter a little",
)
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


def _flags(meanings: tuple[str, ...]) -> dict[str, Any]:
    return {
        "units": "1",
        "flag_values": list(range(len(meanings))),
        "flag_meanings": "; ".join(meanings),
    }


TIME = {"units": "1", "note": "training time tau = k eta / d^2"}
LOSS = {"units": "1", "note": "in units of the target; for the noise 1 at tau = 0"}
SCORE = {"units": "1", "note": "E_score = (L_test - loss of the exact score)/unit, Gaussian data"}
RELATIVE = {"units": "1"}
STATUS = _flags(CELL_STATUS)
MERGED = _flags(("has edges of its own", "merged"))
YES_NO = _flags(("no", "yes"))
REGION = {**_flags(REGIONS), "rule": RULE}
# a cell whose losses have a larger error is flagged
ACCURATE = 1e-6


class Output(NamedTuple):
    """One output of a diagram.

    `axis`: the axis that it has beside those of the grid. `attributes`, `meaning`: its unit with
    what else there is to say, and its long name. `of`: how it follows from cells, [cell, ...].
    `outside`: its value in a cell outside the theory, of its type.
    """

    axis: str
    attributes: dict[str, Any]
    meaning: str
    of: Callable[[Cells], np.ndarray]
    outside: Any = np.nan


def _relaxation(c: Cells, lower_edges: np.ndarray, part: int) -> np.ndarray:
    return 2.0 * c.unit / lower_edges[:, part]  # (4)


def _by_rule(part: int, by_loss: Callable[[Cells], np.ndarray]) -> Callable[[Cells], np.ndarray]:
    def times(c: Cells) -> np.ndarray:
        by_rule = {
            "loss": c.unit * by_loss(c),
            "spectrum": _relaxation(c, c.lower, part),
            "paper": _relaxation(c, c.paper, part),
        }
        return np.stack([by_rule[rule] for rule in RULES], axis=1)

    return times


def _time_error(which: int) -> Callable[[Cells], np.ndarray]:
    return lambda c: c.time_errors[:, which]


def _status(c: Cells) -> np.ndarray:
    return np.where(c.worst < ACCURATE, np.where(c.complete, 0, 2), 3)


def _separated(c: Cells) -> np.ndarray:
    return (_status(c) == 0) & ~c.merged.any(axis=1)


def _regions(c: Cells) -> np.ndarray:
    # the place in REGIONS, -1 where the window is not known
    best, lower, upper = (c.unit * time for time in (c.stop.best, c.stop.lower, c.stop.upper))
    best, lower, upper = best[:, None], lower[:, None], upper[:, None]
    region = np.where(c.tau > upper, 2, np.where(np.isinf(upper), 3, 1))
    region = np.where(best == 0, 4, region)
    return np.where(np.isnan(lower), -1, np.where(c.tau < lower, 0, region))


OUTPUTS: dict[str, Output] = {
    "train": Output("tau", LOSS, "train loss", lambda c: c.train),
    "test": Output("tau", LOSS, "test loss", lambda c: c.test),
    "train_star": Output("", LOSS, "train loss at tau_star", lambda c: c.stop.train),
    "test_star": Output("", LOSS, "min over tau of the test loss", lambda c: c.stop.test),
    "train_limit": Output("", LOSS, "train loss at tau = inf", lambda c: c.stop.train_limit),
    "test_limit": Output("", LOSS, "test loss at tau = inf", lambda c: c.stop.test_limit),
    "tau_star": Output("", TIME, "best training time", lambda c: c.unit * c.stop.best),
    "window_lower": Output("", TIME, "start of the window", lambda c: c.unit * c.stop.lower),
    "window_upper": Output("", TIME, "end of the window", lambda c: c.unit * c.stop.upper),
    "tau_gen": Output("rule", TIME, "population is learnt", _by_rule(0, lambda c: c.stop.best)),
    "tau_mem": Output("rule", TIME, "sample is learnt", _by_rule(1, lambda c: c.stop.onset)),
    "tau_satellite": Output("", TIME, "satellite is learnt", lambda c: _relaxation(c, c.lower, 2)),
    "merged": Output("part", MERGED, "whether a part has merged", lambda c: c.merged, np.int8(0)),
    "error": Output("", LOSS, "estimated absolute error of the losses", lambda c: c.worst),
    "tau_star_error": Output("", RELATIVE, "relative error of tau_star", _time_error(0)),
    "window_lower_error": Output("", RELATIVE, "relative error of window_lower", _time_error(1)),
    "window_upper_error": Output("", RELATIVE, "relative error of window_upper", _time_error(2)),
    "tau_mem_error": Output("", RELATIVE, "relative error of tau_mem, loss", _time_error(3)),
    "status": Output("", STATUS, "what a cell lacks", _status, np.int8(1)),
    "gap": Output("tau", LOSS, "generalisation gap L_test - L_train", lambda c: c.test - c.train),
    "score_error": Output("tau", SCORE, "E_score", lambda c: c.score_error),
    "region": Output("tau", REGION, "region of the diagram", _regions, np.int8(-1)),
    "score_error_star": Output("", SCORE, "min over tau of E_score", lambda c: c.best_score_error),
    "separated": Output("", YES_NO, "whether no two parts have merged", _separated, np.int8(0)),
}
GRID = ("t", "psi_p", "psi_n")


class Axes(NamedTuple):
    """Coordinates of a diagram: diffusion times, ψ_p, ψ_n, training budgets."""

    t: np.ndarray
    psi_p: np.ndarray
    psi_n: np.ndarray
    tau: np.ndarray


def outputs_of(cells: Cells) -> dict[str, np.ndarray]:
    """All outputs of cells, arrays [cell, ...]."""
    return {name: output.of(cells) for name, output in OUTPUTS.items()}


def table_of(axes: Axes, chunks: Iterable[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Outputs of chunks of cells on the grid, arrays [t, psi_p, psi_n, ...].

    A chunk has its outputs, and as `cell` the indices of its cells in the grid, [cell, 3].
    """
    shape = (axes.t.size, axes.psi_p.size, axes.psi_n.size)
    more = {"": (), "tau": (axes.tau.size,), "rule": (len(RULES),), "part": (len(PARTS),)}
    table: dict[str, np.ndarray] = {
        name: np.full((*shape, *more[output.axis]), output.outside)
        for name, output in OUTPUTS.items()
    }
    for chunk in chunks:
        cells = tuple(chunk["cell"].T)
        for name, values in table.items():
            values[cells] = chunk[name]
    return table


def dataset(
    table: Mapping[str, np.ndarray], axes: Axes, attributes: Mapping[str, Any]
) -> xarray.Dataset:
    """A table with its coordinates, units, meanings and origin."""
    import xarray

    variables: dict[str, Any] = {
        name: (
            (*GRID, output.axis) if output.axis else GRID,
            table[name],
            {**output.attributes, "long_name": output.meaning},
        )
        for name, output in OUTPUTS.items()
    }
    coordinates = {
        "t": ("t", axes.t, {"units": "1", "long_name": "diffusion time"}),
        "psi_p": ("psi_p", axes.psi_p, {"units": "1", "long_name": "features per dimension p/d"}),
        "psi_n": ("psi_n", axes.psi_n, {"units": "1", "long_name": "samples per dimension n/d"}),
        "tau": ("tau", axes.tau, {"units": "1", "long_name": "training time tau = k eta / d^2"}),
        "rule": ("rule", list(RULES)),
        "part": ("part", list(PARTS)),
    }
    origin = {
        "title": "Phase diagram of random-feature score models of diffusion",
        "source": f"rfspec {version('rfspec')}, jax {jax.__version__}, "
        f"{jax.devices()[0].device_kind}",
        "reference": "arXiv 2505.17638; exact losses from two-point functions are beyond it",
    }
    return xarray.Dataset(variables, coordinates, {**origin, **attributes})
