"""Phase diagrams as datasets: what was found in every cell, under names, with units, flags and their meanings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from ..spectra.support import PARTS
from ..training.timescales import RULES

if TYPE_CHECKING:
    import xarray

NUMBERS = (
    *("train", "test", "tau_star", "train_star", "test_star", "window_lower", "window_upper", "train_limit"),
    *("test_limit", "tau_gen", "tau_mem", "tau_satellite", "error", "tau_star_error", "tau_mem_error"),
    *("window_lower_error", "window_upper_error"),
)

STATUS = (
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
    "Elsewhere, with the window [lower, upper] of training times at which L_test exceeds its minimum by at most the "
    "tolerance: not yet trained where tau < lower; generalisation by early stopping where lower <= tau <= upper < inf; "
    "memorisation where tau > upper; architectural regularisation where tau >= lower and upper = inf, that is "
    "L_test(inf) <= min L_test + tolerance. The line between the second and the third is tau = upper, the line around "
    "the fourth is where upper becomes infinite; interpolation is the line p = n."
)
TIME = {"units": "1", "note": "training time tau = k eta / d^2"}
LOSS = {"units": "1", "note": "in units of the target; for the noise 1 at tau = 0"}
SCORE = {"units": "1", "note": "E_score = (L_test - loss of the exact score)/unit, Gaussian data"}
PER_MODEL = {  # name: kind, and what it is, where its name does not say so
    **dict.fromkeys(("train_star", "test_star", "train_limit", "test_limit"), (LOSS, "")),
    **dict.fromkeys(("tau_star", "window_lower", "window_upper", "tau_satellite"), (TIME, "")),
    "error": (LOSS, "estimated absolute error of the losses"),
    "tau_star_error": ({"units": "1"}, "relative error of tau_star"),
    "tau_mem_error": ({"units": "1"}, "relative error of tau_mem, loss"),
    "window_lower_error": ({"units": "1"}, "relative error of window_lower"),
    "window_upper_error": ({"units": "1"}, "relative error of window_upper"),
}
GRID = ("t", "psi_p", "psi_n")


class Axes(NamedTuple):
    """Coordinates: diffusion times, ψ_p, ψ_n, training budgets."""

    t: np.ndarray
    psi_p: np.ndarray
    psi_n: np.ndarray
    tau: np.ndarray


def table_of(axes: Axes, found: Iterable[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Results in their places, arrays [t, psi_p, psi_n, ...]; cells outside of the theory are NaN, with status 1."""
    shape = (axes.t.size, axes.psi_p.size, axes.psi_n.size)
    rest = {"train": (axes.tau.size,), "test": (axes.tau.size,), "tau_gen": (len(RULES),), "tau_mem": (len(RULES),)}
    table: dict[str, np.ndarray] = {name: np.full((*shape, *rest.get(name, ())), np.nan) for name in NUMBERS}
    table["merged"] = np.zeros((*shape, len(PARTS)), bool)
    table["status"] = np.ones(shape, int)
    for chunk in found:
        at = tuple(chunk["place"].T)
        for name, values in table.items():
            values[at] = chunk[name]
    return table


def dataset(
    table: Mapping[str, np.ndarray], axes: Axes, score_of: np.ndarray, attributes: Mapping[str, Any]
) -> xarray.Dataset:
    """All of it with names, units and meanings; `score_of`: E_score of the test losses 0 and 1 at each t."""
    import xarray

    here, codes = (*GRID, "tau"), table["status"].astype(np.int8)
    gap = table["test"] - table["train"]
    variables: dict[str, Any] = {
        **{name: (here, table[name], LOSS) for name in ("train", "test")},
        "gap": (here, gap, {**LOSS, "long_name": "generalisation gap L_test - L_train"}),
        "score_error": (here, _score(table["test"], score_of), {**SCORE, "long_name": "E_score"}),
        "region": (here, _regions(table, axes.tau), {**_flags(REGIONS), "rule": RULE}),
        "score_error_star": (
            GRID, _score(table["test_star"], score_of), {**SCORE, "long_name": "min over tau of E_score"},
        ),
        **{name: ((*GRID, "rule"), table[name], TIME) for name in ("tau_gen", "tau_mem")},
        "merged": ((*GRID, "part"), table["merged"].astype(np.int8), _flags(("has edges of its own", "merged"))),
        "separated": (GRID, ((codes == 0) & ~table["merged"].any(-1)).astype(np.int8), _flags(("no", "yes"))),
        "status": (GRID, codes, _flags(STATUS)),
    }  # fmt: skip
    for name, (kind, meaning) in PER_MODEL.items():
        variables[name] = (GRID, table[name], {**kind, **({"long_name": meaning} if meaning else {})})
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
        "source": f"rfspec {version('rfspec')}, jax {jax.__version__}, {jax.devices()[0].device_kind}",
        "reference": "arXiv 2505.17638; exact losses from two-point functions are beyond it",
    }
    return xarray.Dataset(variables, coordinates, {**origin, **attributes})


def _score(test: np.ndarray, score_of: np.ndarray) -> np.ndarray:
    """E_score, which is affine in the test loss."""
    at = lambda column: column.reshape(-1, *[1] * (test.ndim - 1))
    return at(score_of[:, 0]) + test * at(score_of[:, 1] - score_of[:, 0])


def _regions(table: Mapping[str, np.ndarray], tau: np.ndarray) -> np.ndarray:
    lower, upper = table["window_lower"][..., None], table["window_upper"][..., None]
    region = np.where(tau > upper, 2, np.where(np.isinf(upper), 3, 1))
    region = np.where(table["tau_star"][..., None] == 0, 4, region)
    return np.where(np.isnan(lower), -1, np.where(tau < lower, 0, region)).astype(np.int8)


def _flags(meanings: tuple[str, ...]) -> dict[str, Any]:
    return {"units": "1", "flag_values": list(range(len(meanings))), "flag_meanings": "; ".join(meanings)}
