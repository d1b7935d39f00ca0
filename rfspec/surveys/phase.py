r"""Phase diagrams over (t, ψ_p, ψ_n): losses at given training times, timescales by every rule, stopping, regions.

Cells are independent. They are computed in small batches, so that one hard cell does not hold up the others, on all
devices (on threads where the only device is a CPU); what is done is kept on disk, chunk by chunk of batches.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from tqdm import tqdm

from ..files.checkpoint import Checkpoint, fingerprint, resumed, signature
from ..models.covariance import Covariance
from ..models.gaussian_equivalent import gaussian_equivalent
from ..models.model import RandomFeatureModel, time_unit
from ..models.processes import Process
from ..numerics.checks import real_scalar
from ..resolvent.equations import averaged_equations, equations
from ..resolvent.interface import Equations
from ..spectra.edges import find_edges, search_support
from ..spectra.leading_order import leading_order_of
from ..spectra.spectrum import MOST_BULKS
from ..spectra.support import masses_and_parts
from ..training.early_stopping import THRESHOLD, share
from ..training.learning_curves import score_error, training_times
from ..training.losses import flow_losses
from ..training.stops import Stops, stops
from .phase_dataset import Axes, dataset, table_of

if TYPE_CHECKING:
    import xarray

CHUNK = 256  # cells between looks at the disk
TIMES = 2  # training times a call
BATCH = {"cpu": 8}  # cells at once on a device,
MOST_AT_ONCE = 256  # where it is no CPU
ACCURATE = 1e-6  # error of the losses above which a cell is flagged


def phase_diagram(
    psi_p: Any,
    psi_n: Any,
    t: Any = None,
    tau: Any = None,
    *,
    process: Process | None = None,
    activation: Any = "tanh",
    covariance: Covariance | None = None,
    target: str = "noise",
    noise_draws: float = np.inf,
    weight_decay: float = 0.0,
    tolerance: float = 0.01,
    threshold: float = THRESHOLD,
    checkpoint: str | Path | None = None,
    progress: bool = False,
) -> xarray.Dataset:
    r"""Losses, timescales, early stopping and regions of every model of a grid, exactly.

    Parameters
    ----------
    psi_p, psi_n : array, shapes (P,), (N,)
        Ratios p/d and n/d, any order; a cell at which one is not a finite number above 0 is flagged and stays NaN.
    t : float or array, shape (T,)
        Diffusion times of the Ornstein-Uhlenbeck process; or give `process`.
    tau : float or array, shape (K,), optional
        Training budgets τ = kη/d², 0 ≤ τ ≤ ∞, any order; ∞ if not given.
    process, activation, covariance, target, noise_draws, weight_decay
        As for ``rf.RandomFeatureModel``.
    tolerance : float
        ε of the stopping window, absolute, in units of the loss.
    threshold : float
        Share of its limit at which the generalisation gap counts as open (rule "loss").
    checkpoint : path, optional
        State of a run; one that was killed continues there. Remove it when the result is safe.
    progress : bool
        Show a progress bar.

    Returns
    -------
    xarray.Dataset
        Dimensions t (of an array), psi_p, psi_n, and tau (of an array), rule ("paper", "spectrum", "loss"), part. At
        each τ: train, test, gap (L_gen), score_error, region. Per model: tau_star, train_star, test_star,
        score_error_star, window_lower, window_upper, train_limit, test_limit; tau_gen and tau_mem by rule,
        tau_satellite; merged by part, separated; error (of the losses, absolute), tau_star_error, tau_mem_error (of
        the rule "loss"), window_lower_error, window_upper_error (all four relative), status.
        Units, flags with their meanings, the rules of the regions and the origin of the numbers are attributes.

    Raises
    ------
    ValueError
        If a grid is empty or not numeric, a τ is negative or NaN, or another argument is out of range.

    Notes
    -----
    arXiv 2505.17638, Fig. 1, has such a diagram by simulation; the exact one is beyond it.

    Examples
    --------
    >>> import rfspec as rf
    >>> found = rf.phase_diagram(psi_p=[8.0, 64.0], psi_n=[2.0, 256.0, -1.0], t=0.01, tau=1e4)
    >>> found.region.values.tolist()
    [[2, 3, -1], [2, 1, -1]]
    """
    known: dict[str, Any] = {"activation": activation, "covariance": covariance, "target": target}
    known |= {"noise_draws": noise_draws, "weight_decay": weight_decay}
    rows, columns = _grid("psi_p", psi_p), _grid("psi_n", psi_n)
    if process is None:
        times = _grid("t", t if t is None or np.ndim(t) else [t])
        templates = [RandomFeatureModel(1.0, 1.0, x, **known) if _inside(x) else None for x in times]
    else:
        templates, times = [RandomFeatureModel(1.0, 1.0, t, process=process, **known)], np.array([np.nan])
    budgets = training_times(np.inf if tau is None else tau)
    if np.ndim(budgets) > 1:
        raise ValueError(f"tau must be a number or a list of them, got an array of shape {np.shape(budgets)}")
    settings = (real_scalar("tolerance", tolerance, above=0.0), share("threshold", threshold))

    axes = Axes(times, rows, columns, np.ravel(budgets))
    cells = [
        (i, j, k)
        for i, j, k in np.ndindex(times.size, rows.size, columns.size)
        if templates[i] and _inside(rows[j]) and _inside(columns[k])
    ]
    of_one_t = [[cell for cell in cells if cell[0] == i] for i in range(times.size)]
    chunks = [same[k : k + CHUNK] for same in of_one_t for k in range(0, len(same), CHUNK)]
    bases = [m and _bases(m) for m in templates]

    def once(i: int) -> Mapping[str, Any]:
        place: np.ndarray = np.array(chunks[i])
        eq, spectral, pace = bases[place[0, 0]]
        shared = _Shared(eq, spectral, pace, *settings)
        found = _spread(shared, axes.tau, rows[place[:, 1]], columns[place[:, 2]])
        return {"place": place, **found}

    def bar(order: Iterable[int]) -> Any:
        shown = tqdm(order, desc="phase diagram", unit=f"×{CHUNK} cells", disable=not progress, leave=False, delay=1.0)
        return shown

    identity = fingerprint([m and signature(m) for m in templates], rows, columns, budgets, *settings)
    found = resumed(len(chunks), once, Checkpoint(checkpoint, identity), bar)
    table = table_of(axes, found)
    scores = np.array([[np.nan, np.nan] if m is None else score_error(m, jnp.array([0.0, 1.0])) for m in templates])
    model = next((m for m in templates if m is not None), None)
    attributes = {"model": repr(model), "tolerance": float(settings[0]), "threshold": float(settings[1])}
    diagram = dataset(table, axes, scores, attributes)
    if process is not None:
        diagram = diagram.isel(t=0, drop=True)
    elif np.ndim(t) == 0:
        diagram = diagram.isel(t=0)
    return diagram if np.ndim(budgets) else diagram.isel(tau=0)


def _bases(model: RandomFeatureModel) -> tuple[Any, Any, Any]:
    """What the cells of one t share: equations for losses, equations for spectra, and ω²."""
    ge = gaussian_equivalent(model)
    return averaged_equations(model, ge, coarse=True), equations(model, ge, coarse=True), model.pace


def _inside(x: Any) -> bool:
    return bool(np.isfinite(x) and x > 0)


def _grid(name: str, values: Any) -> np.ndarray:
    """A grid; values that no model has are flagged later, cell by cell."""
    rule = f"{name} must be a list of numbers"
    try:
        array = np.asarray(values)
    except (TypeError, ValueError) as e:
        raise ValueError(f"{rule}, got {values!r:.100}") from e
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{rule}, got {values!r:.100}")
    if np.ndim(array) == 0:
        array = array[None]
    if array.ndim != 1 or not array.size:
        raise ValueError(f"{rule} that is not empty, got an array of shape {array.shape}")
    return array.astype(float)


# ------------------------------------------------------------------------------------------------- cells


class _Shared(NamedTuple):
    """What the cells of a chunk share: equations for losses, and for spectra."""

    eq: Equations
    spectral: Any
    pace: Any
    tolerance: Any
    threshold: Any


def _spread(shared: _Shared, tau: np.ndarray, psi_p: np.ndarray, psi_n: np.ndarray) -> dict[str, np.ndarray]:
    """Results of cells, batch by batch on all devices, or on all cores where the only device is a CPU."""
    devices = tuple(jax.local_devices())
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    threads = cores if len(devices) == 1 and devices[0].platform == "cpu" else 1
    each = BATCH.get(devices[0].platform, MOST_AT_ONCE) * len(devices)  # cells of a batch, the last one filled up
    batches = np.minimum(np.arange(-(-psi_p.size // each) * each), psi_p.size - 1).reshape(-1, each)
    with ThreadPoolExecutor(threads) as pool:
        work = lambda turn: _batch(devices, shared, tau, turn, psi_p[batches[turn]], psi_n[batches[turn]])
        done = list(pool.map(work, range(len(batches))))
    return {name: np.concatenate([d[name] for d in done])[: psi_p.size] for name in done[0]}


def _batch(
    devices: tuple[Any, ...], shared: _Shared, tau: np.ndarray, turn: int, psi_p: np.ndarray, psi_n: np.ndarray
) -> dict[str, np.ndarray]:
    """Results of cells by three compiled programs; threads take turns in which comes first, so as to compile both."""
    sweep = partial(_sweep, devices=devices)
    unit = time_unit(psi_p, float(shared.pace))

    def losses_at(c: np.ndarray) -> list[np.ndarray]:
        """Train and test loss and their error at c < ∞, [cell, time]; so many times that one program serves all."""
        padded = np.pad(np.where(np.isinf(c), 0.0, c), ((0, 0), (0, -c.shape[1] % TIMES)), mode="edge")
        columns = [
            sweep(_cell_losses, shared, psi_p, psi_n, part) for part in np.hsplit(padded, padded.shape[1] // TIMES)
        ]
        return [np.concatenate(rows, axis=1)[:, : c.shape[1]] for rows in zip(*columns, strict=True)]

    if turn % 2:
        parts = sweep(_cell_parts, shared, psi_p, psi_n)
        train, test, error = losses_at(tau / unit[:, None])
        stop = Stops(*sweep(_cell_stops, shared, psi_p, psi_n))
    else:
        stop = Stops(*sweep(_cell_stops, shared, psi_p, psi_n))
        parts = sweep(_cell_parts, shared, psi_p, psi_n)
        train, test, error = losses_at(tau / unit[:, None])
    lower, merged, found, paper = parts
    lower, paper = lower + float(shared.eq.decay), paper + float(shared.eq.decay)
    end = (stop.train_limit, stop.test_limit, stop.limit_error)
    ended = lambda c, found: [np.where(np.isinf(c), e[:, None], a) for e, a in zip(end, found, strict=True)]
    train, test, error = ended(tau / unit[:, None], (train, test, error))
    stopped = np.stack([stop.best, np.nan_to_num(stop.onset)], axis=1)
    at_stops = ended(stopped, losses_at(stopped))[2]
    worst = np.maximum(at_stops.max(axis=1, where=~np.isnan(at_stops), initial=0.0), error.max(axis=1))
    slopes = np.abs(stop.slopes.T)
    slow = 2.0 * unit[:, None, None] / np.stack([paper, lower[:, :2]], axis=1)
    slow = np.concatenate([slow, unit[:, None, None] * np.stack([stop.best, stop.onset], axis=1)[:, None]], axis=1)
    return {
        "train": train,
        "test": test,
        "tau_star": unit * stop.best,
        "train_star": stop.train,
        "test_star": stop.test,
        "window_lower": unit * stop.lower,
        "window_upper": unit * stop.upper,
        "train_limit": stop.train_limit,
        "test_limit": stop.test_limit,
        "tau_gen": slow[..., 0],
        "tau_mem": slow[..., 1],
        "tau_satellite": 2.0 * unit / lower[:, 2],
        "merged": merged,
        "error": worst,
        "tau_star_error": at_stops[:, 0] / slopes[0],
        "window_lower_error": np.where(stop.lower > 0, 2.0 * worst / slopes[1], 0.0),
        "window_upper_error": np.where(np.isinf(stop.upper), 0.0, 2.0 * worst / slopes[2]),
        "tau_mem_error": at_stops[:, 1] / slopes[3],
        "status": np.where(worst < ACCURATE, np.where(found, 0, 2), 3),
    }


def _sweep(cell: Any, shared: _Shared, *arrays: np.ndarray, devices: tuple[Any, ...]) -> tuple[np.ndarray, ...]:
    return tuple(np.asarray(a) for a in _swept(cell, shared, arrays, devices=devices))


@partial(jax.jit, static_argnames=("cell", "devices"))
def _swept(cell: Any, shared: _Shared, arrays: tuple[Any, ...], devices: tuple[Any, ...]) -> tuple[Any, ...]:
    cells = PartitionSpec("cells")

    def one(psi_p: Any, psi_n: Any, *more: Any) -> tuple[Any, ...]:
        at = lambda eq: eqx.tree_at(lambda e: (e.psi_p, e.psi_n), eq, (psi_p, psi_n))
        return tuple(cell(shared._replace(eq=at(shared.eq), spectral=at(shared.spectral)), *more))

    local = lambda arrays: jax.vmap(one)(*arrays)
    mesh = Mesh(np.array(devices), ("cells",))
    return jax.shard_map(local, mesh=mesh, in_specs=(cells,), out_specs=cells, check_vma=False)(arrays)


def _cell_stops(shared: _Shared) -> Stops:
    return stops(shared.eq, shared.tolerance, shared.threshold)


def _cell_losses(shared: _Shared, c: Any) -> tuple[Any, Any, Any]:
    return jax.vmap(partial(flow_losses, shared.eq))(c)


def _cell_parts(shared: _Shared) -> tuple[Any, Any, Any, Any]:
    """Lower edges of the parts, whether each has merged, whether the search found all; lower edges of Theorem 3.2."""
    lower, upper, exists, found = _parts(shared.spectral)
    paper = leading_order_of(shared.spectral)
    merged = exists & (jnp.isnan(lower) | jnp.isnan(upper)) & found
    return lower, merged, found, jnp.stack([paper.population[0], paper.sample[0]])


def _parts(eq: Equations) -> tuple[Any, Any, Any, Any]:
    """Edges of the parts, which parts there are, and whether the search found all."""
    edges = find_edges(eq, search_support(eq), bulks=min(eq.most_bulks, MOST_BULKS))
    mass, parts = masses_and_parts(eq, edges)
    found = ~(edges.failed | jnp.any(mass <= 0))
    known = lambda a: jnp.where(found, a, jnp.nan)
    return known(parts.lower), known(parts.upper), parts.mass > 0, found
