"""Phase diagrams as datasets: what was found in every cell, under names, with units,
flags and their meanings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
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
    "minimum by at most the "
    "tolerance: not yet trained where tau < lower; generalisation by early stopping where lower "
    "<= tau <= upper < inf; "
    "memorisation where tau > upper; architectural regularisation where tau >= lower and upper = "
    "inf, that is "
    "L_test(inf) <= min L_test + tolerance. The line between the second and the third is tau = "
    "upper, the line around "
    "the fourth is where upper becomes infinite; interpolation is the line p = n."
)
TIME = {"units": "1", "note": "training time tau = k eta / d^2"}
LOSS = {"units": "1", "note": "in units of the target; for the noise 1 at tau = 0"}
SCORE = {"units": "1", "note": "E_score = (L_test - loss of the exact score)/unit, Gaussian data"}
RELATIVE = {"units": "1"}
ACCURATE = 1e-6  # error of the losses above which a cell is flagged


class Output(NamedTuple):
    """One output of a diagram: how it follows from cells,
    the axis that it has beside those of the grid, attributes.
    """

    of: Callable[[Cells], np.ndarray]
    axis: str
    attributes: dict[str, Any]


def _flags(meanings: tuple[str, ...]) -> dict[str, Any]:
    return {
        "units": "1",
        "flag_values": list(range(len(meanings))),
        "flag_meanings": "; ".join(meanings),
    }


def _by_rule(exact: int, by_loss: Callable[[Cells], np.ndarray]) -> Callable[[Cells], np.ndarray]:
    """A time by every rule: relaxation at the edges of a part, of Theorem 3.2 and exact,
    and what losses say.
    """
    relaxed = lambda c, edge: 2.0 * c.unit / edge[:, exact]
    return lambda c: np.stack(
        [relaxed(c, c.paper), relaxed(c, c.lower), c.unit * by_loss(c)], axis=1
    )


def _time_error(which: int, c: Cells) -> np.ndarray:
    return c.time_errors[:, which]


OUTPUTS: dict[str, Output] = {
    "train": Output(lambda c: c.train, "tau", LOSS),
    "test": Output(lambda c: c.test, "tau", LOSS),
    "train_star": Output(lambda c: c.stop.train, "", LOSS),
    "test_star": Output(lambda c: c.stop.test, "", LOSS),
    "train_limit": Output(lambda c: c.stop.train_limit, "", LOSS),
    "test_limit": Output(lambda c: c.stop.test_limit, "", LOSS),
    "tau_star": Output(lambda c: c.unit * c.stop.best, "", TIME),
    "window_lower": Output(lambda c: c.unit * c.stop.lower, "", TIME),
    "window_upper": Output(lambda c: c.unit * c.stop.upper, "", TIME),
    "tau_gen": Output(_by_rule(0, lambda c: c.stop.best), "rule", TIME),
    "tau_mem": Output(_by_rule(1, lambda c: c.stop.onset), "rule", TIME),
    "tau_satellite": Output(lambda c: 2.0 * c.unit / c.lower[:, 2], "", TIME),
    "merged": Output(lambda c: c.merged, "part", _flags(("has edges of its own", "merged"))),
    "error": Output(
        lambda c: c.worst, "", {**LOSS, "long_name": "estimated absolute error of the losses"}
    ),
    **{
        f"{name}_error": Output(
            partial(_time_error, i), "", {**RELATIVE, "long_name": f"relative error of {meaning}"}
        )
        for i, name, meaning in (
            (0, "tau_star", "tau_star"),
            (1, "window_lower", "window_lower"),
            (2, "window_upper", "window_upper"),
            (3, "tau_mem", "tau_mem, loss"),
        )
    },
    "status": Output(
        lambda c: np.where(c.worst < ACCURATE, np.where(c.found, 0, 2), 3), "", _flags(CELL_STATUS)
    ),
}
EMPTY = {"merged": np.int8(0), "status": np.int8(1)}  # of a cell outside the theory; else NaN
GRID = ("t", "psi_p", "psi_n")


class Axes(NamedTuple):
    """Coordinates: diffusion times, ψ_p, ψ_n, training budgets."""

    t: np.ndarray
    psi_p: np.ndarray
    psi_n: np.ndarray
    tau: np.ndarray


def outputs_of(cells: Cells) -> dict[str, np.ndarray]:
    """All outputs of cells, arrays [cell, ...]."""
    return {name: output.of(cells) for name, output in OUTPUTS.items()}


def table_of(axes: Axes, found: Iterable[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Outputs in their places, arrays [t, psi_p, psi_n, ...]; cells outside of the theory are NaN,
    with status 1.
    """
    shape = (axes.t.size, axes.psi_p.size, axes.psi_n.size)
    more = {"": (), "tau": (axes.tau.size,), "rule": (len(RULES),), "part": (len(PARTS),)}
    table: dict[str, np.ndarray] = {
        name: np.full((*shape, *more[output.axis]), EMPTY.get(name, np.nan))
        for name, output in OUTPUTS.items()
    }
    for chunk in found:
        at = tuple(chunk["place"].T)
        for name, values in table.items():
            values[at] = chunk[name]
    return table


def dataset(
    table: Mapping[str, np.ndarray], axes: Axes, score_of: np.ndarray, attributes: Mapping[str, Any]
) -> xarray.Dataset:
    """All of it with names, units and meanings; `score_of`:
    E_score of the test losses 0 and 1 at each t.
    """
    import xarray

    here, codes = (*GRID, "tau"), table["status"]
    found: dict[str, Any] = {
        name: ((*GRID, output.axis) if output.axis else GRID, table[name], output.attributes)
        for name, output in OUTPUTS.items()
    }
    gap, score = table["test"] - table["train"], partial(_score, score_of=score_of)
    derived: dict[str, Any] = {
        "gap": (here, gap, {**LOSS, "long_name": "generalisation gap L_test - L_train"}),
        "score_error": (here, score(table["test"]), {**SCORE, "long_name": "E_score"}),
        "region": (here, _regions(table, axes.tau), {**_flags(REGIONS), "rule": RULE}),
        "score_error_star": (
            GRID,
            score(table["test_star"]),
            {**SCORE, "long_name": "min over tau of E_score"},
        ),
        "separated": (
            GRID,
            ((codes == 0) & ~table["merged"].any(-1)).astype(np.int8),
            _flags(("no", "yes")),
        ),
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
    return xarray.Dataset(found | derived, coordinates, {**origin, **attributes})


def _score(test: np.ndarray, score_of: np.ndarray) -> np.ndarray:
    """E_score, which is affine in the test loss."""
    at = lambda column: column.reshape(-1, *[1] * (test.ndim - 1))
    return at(score_of[:, 0]) + test * at(score_of[:, 1] - score_of[:, 0])


def _regions(table: Mapping[str, np.ndarray], tau: np.ndarray) -> np.ndarray:
    lower, upper = table["window_lower"][..., None], table["window_upper"][..., None]
    region = np.where(tau > upper, 2, np.where(np.isinf(upper), 3, 1))
    region = np.where(table["tau_star"][..., None] == 0, 4, region)
    return np.where(np.isnan(lower), -1, np.where(tau < lower, 0, region)).astype(np.int8)
