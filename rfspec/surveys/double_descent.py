"""Losses, bias and variance as features are added: the peak, the rise, and what cures them.

At the end of training the test loss peaks where there are as many features as columns, p = nm, and
with few draws of the noise it rises from p ~ n on, where the samples begin to be memorised. With
the best weight decay, or the best stopping time, at each p there is no peak.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from ..models.model import RandomFeatureModel
from ..models.stored import stored
from ..numerics.types import Given
from ..training.arguments import training_times
from ..training.best_decay import best_weight_decay
from ..training.early_stopping import early_stopping
from ..training.learning_curves import learning_curve
from .axes import list_of_numbers

if TYPE_CHECKING:
    import xarray

TITLE = "Double descent of a random-feature score model"
LOSS = {"units": "1", "note": "in units of the target; for the noise 1 at tau = 0"}
SCORE = {"units": "1", "note": "parts of E_score = bias2 + variance"}
RATIO = {"units": "1", "note": "p/d"}
TIME = {"units": "1", "note": "training time tau = k eta / d^2"}
DECAY = {"units": "1", "note": "weight decay on A"}
# along (noise_draws, weight_decay, psi_p), and along (noise_draws, psi_p)
MEANINGS: dict[str, tuple[dict[str, Any], str]] = {
    "train": (LOSS, "train loss"),
    "test": (LOSS, "test loss"),
    "empirical": (LOSS, "loss on the training samples over all their noise"),
    "bias2": (SCORE, "bias of the score, squared"),
    "of_features": (SCORE, "variance of the score from features"),
    "of_data": (SCORE, "variance of the score from data"),
    "of_noise": (SCORE, "variance of the score from the draws of the noise"),
    "error": (LOSS, "estimated absolute error of train and test"),
    "empirical_error": (LOSS, "estimated absolute error of empirical"),
    "parts_error": (SCORE, "estimated absolute error of bias2 and each variance"),
    "peak": (RATIO, "ratio at which the test loss has its highest peak; NaN where it has none"),
    "rise": (RATIO, "ratio of the smallest test loss before the peak; NaN where it has none"),
    "best_weight_decay": (DECAY, "weight decay of the smallest test loss"),
    "test_best_weight_decay": (LOSS, "test loss under the best weight decay"),
    "tau_star": (TIME, "best stopping time without weight decay"),
    "test_star": (LOSS, "test loss at the best stopping time without weight decay"),
}
CURES = ("best_weight_decay", "test_best_weight_decay", "tau_star", "test_star")
# of the logarithm of a ratio
CLOSE = 1e-8


def double_descent(
    model: RandomFeatureModel,
    psi_p: Given,
    *,
    noise_draws: Given = None,
    weight_decay: Given = None,
    tau: Given = np.inf,
    progress: bool = False,
) -> xarray.Dataset:
    r"""Losses, bias and variance along ψ_p, the peak at p = nm, and the best decay and time.

    Parameters
    ----------
    model : RandomFeatureModel
        All but ψ_p, and what is given here.
    psi_p : array, shape (P,)
        Ratios p/d > 0, ascending.
    noise_draws : array, shape (M,), optional
        Draws m of the noise for each sample, ∞ allowed; the model's if not given.
    weight_decay : array, shape (G,), optional
        Weight decays γ ≥ 0; the model's if not given.
    tau : float
        Training time, 0 < τ ≤ ∞.
    progress : bool
        Show a progress bar.

    Returns
    -------
    xarray.Dataset
        Over noise_draws, weight_decay, psi_p: train, test, empirical (the loss on the samples over
        all noise), bias2, of_features, of_data, of_noise, and error, empirical_error, parts_error.
        Over noise_draws, weight_decay: peak, the ψ_p of the highest interior peak of the test loss,
        and rise, that of the smallest test loss before it; both to 1e-6, and NaN where there is
        none. Over noise_draws, psi_p:
        best_weight_decay and test_best_weight_decay (at τ), tau_star and test_star (without decay).
        Coordinate columns: mψ_n, where the theory has the peak without decay.

    Raises
    ------
    ValueError
        If a grid is empty, not numeric or out of range, or ψ_p does not ascend.
    NotImplementedError
        If the data have classes, or the model has a finite d.

    Notes
    -----
    Beyond arXiv 2505.17638; arXiv 2609.26392 has the end of training for Σ = I.

    Examples
    --------
    >>> import numpy as np, rfspec as rf
    >>> model = rf.RandomFeatureModel(psi_p=1.0, psi_n=2.0, t=0.1)
    >>> found = rf.double_descent(model, np.geomspace(0.5, 50, 9), noise_draws=[2, 4])
    >>> print(found.peak.values.round(6).ravel(), found["columns"].values)
    [4. 8.] [4. 8.]
    """
    ratios = _ascending(list_of_numbers("psi_p", psi_p))
    of_model = lambda name, given: list_of_numbers(
        name, getattr(model, name) if given is None else given
    )
    draws = of_model("noise_draws", noise_draws)
    decays = of_model("weight_decay", weight_decay)
    time = training_times(tau)
    if np.ndim(time) or not time > 0:
        raise ValueError(f"tau must be a single positive number (inf is allowed), got {tau!r:.100}")
    model.check_plain("the double descent", "d")
    given = [
        [model.replace(noise_draws=float(m), weight_decay=float(g)) for g in decays] for m in draws
    ]
    columns: dict[str, list[Any]] = {name: [] for name in MEANINGS}
    with tqdm(total=len(draws) * (len(decays) + 1), disable=not progress) as bar:
        for row in given:
            rows: dict[str, list[Any]] = {}
            for one in row:
                _append(rows, _along(one, ratios, time))
                bar.update()
            _append(columns, {name: np.stack(values) for name, values in rows.items()})
            _append(columns, _cured(row[0], ratios, time))
            bar.update()
    return _dataset(model, columns, {"noise_draws": draws, "weight_decay": decays, "psi_p": ratios})


def _dataset(
    model: RandomFeatureModel, columns: dict[str, list[Any]], axes: dict[str, np.ndarray]
) -> xarray.Dataset:
    import xarray

    dimensions = {
        **dict.fromkeys(MEANINGS, tuple(axes)),
        **dict.fromkeys(("peak", "rise"), ("noise_draws", "weight_decay")),
        **dict.fromkeys(CURES, ("noise_draws", "psi_p")),
    }
    variables = {
        name: (dimensions[name], np.stack(columns[name]), {**attributes, "long_name": meaning})
        for name, (attributes, meaning) in MEANINGS.items()
    }
    units = {"psi_p": RATIO, "noise_draws": {"units": "1"}, "weight_decay": DECAY}
    coordinates = {
        **{name: (name, values, units[name]) for name, values in axes.items()},
        "columns": ("noise_draws", axes["noise_draws"] * float(model.psi_n), RATIO),
    }
    attributes = {"title": TITLE, "source": f"rfspec {version('rfspec')}", **stored(model)}
    return xarray.Dataset(variables, coordinates, attributes)


def _append(columns: dict[str, list[Any]], found: dict[str, Any]) -> None:
    for name, value in found.items():
        columns.setdefault(name, []).append(np.asarray(value))


def _ascending(ratios: np.ndarray) -> np.ndarray:
    if not (np.all(ratios > 0) and np.all(np.isfinite(ratios)) and np.all(np.diff(ratios) > 0)):
        raise ValueError(f"psi_p must be finite numbers above 0 that ascend, got {ratios}")
    return ratios


def _along(model: RandomFeatureModel, ratios: np.ndarray, tau: Any) -> dict[str, Any]:
    # losses and parts at each ratio, the peak and the rise
    curves = [learning_curve(model.replace(psi_p=float(p)), tau[None]) for p in ratios]
    parts = [curve.score_parts for curve in curves]
    of = lambda results, name: np.array([float(getattr(one, name)[0]) for one in results])
    loss = lambda x: float(learning_curve(model.replace(psi_p=float(np.exp(x))), tau[None]).test[0])
    peak, rise = _turns(loss, np.log(ratios), of(curves, "test"))
    of_curves = ("train", "test", "empirical", "error", "empirical_error")
    of_parts = ("bias2", "of_features", "of_data", "of_noise")
    return {
        **{name: of(curves, name) for name in of_curves},
        **{name: of(parts, name) for name in of_parts},
        "parts_error": of(parts, "error"),
        "peak": peak,
        "rise": rise,
    }


def _cured(model: RandomFeatureModel, ratios: np.ndarray, tau: Any) -> dict[str, Any]:
    best = [best_weight_decay(model.replace(psi_p=float(p)), tau) for p in ratios]
    stop = [early_stopping(model.replace(psi_p=float(p), weight_decay=0.0)) for p in ratios]
    return {
        "best_weight_decay": np.array([float(b.weight_decay) for b in best]),
        "test_best_weight_decay": np.array([float(b.test) for b in best]),
        "tau_star": np.array([float(s.tau) for s in stop]),
        "test_star": np.array([float(s.test) for s in stop]),
    }


def _turns(loss: Callable[[float], float], x: np.ndarray, tests: np.ndarray) -> tuple[float, float]:
    # where the loss is largest between the ends of x, and smallest before that
    inner = np.arange(1, x.size - 1)
    peaks = inner[(tests[1:-1] >= tests[:-2]) & (tests[1:-1] >= tests[2:])]
    if not peaks.size:
        return np.nan, np.nan
    i = peaks[np.argmax(tests[peaks])]
    log = lambda a: -np.log(min(loss(a), 1e300))
    peak = _lowest(log, x[i - 1], x[i + 1])
    j = int(np.argmin(tests[: i + 1]))
    rise = _lowest(loss, x[j - 1], min(x[j + 1], peak)) if j > 0 else np.nan
    return float(np.exp(peak)), float(np.exp(rise))


def _lowest(f: Callable[[float], float], low: float, high: float) -> float:
    from scipy.optimize import minimize_scalar

    return float(
        minimize_scalar(f, bounds=(low, high), method="bounded", options={"xatol": CLOSE}).x
    )
