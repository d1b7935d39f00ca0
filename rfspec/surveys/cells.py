r"""Cells of a phase diagram: losses, stopping times and parts of many models.

Cells go through three compiled programs (stops, losses, parts) in small batches, to all devices, or
to threads where the only device is a CPU. Few sizes and few programs keep compiling short.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from ..models.model import time_unit
from ..numerics.types import Matrix, Real, Reals, Truth, Truths, Vector
from ..resolvent.interface import Equations
from ..spectra.contents import MOST_BULKS
from ..spectra.edges import find_edges
from ..spectra.leading_order import leading_order_of
from ..spectra.search import search_support
from ..spectra.support import masses_and_parts
from ..training.losses import flow_losses
from ..training.stop_errors import time_errors
from ..training.stops import Stops, stops

# training times of a call
TIMES = 2
# cells at once on a device of a kind, and on any other
BATCH = {"cpu": 8}
MOST_AT_ONCE = 256


class Shared(NamedTuple):
    """What the cells of one diffusion time share.

    `eq`, `spectral`: equations for losses and for spectra, of any ψ_p and ψ_n. `pace`: ω².
    `tolerance`, `threshold`: of stopping. `scores`: E_score of the test losses 0 and 1.
    """

    eq: Equations
    spectral: Equations
    pace: Real
    tolerance: Real
    threshold: Real
    scores: tuple[Real, Real]


class Cells(NamedTuple):
    """What is computed of cells, arrays [cell, ...]; times in units of c, but for `tau`.

    `unit`: τ of c = 1, ψ_p/(2ω²). `tau`: the budgets, [cell, budget]. `train`, `test`,
    `score_error`, `error`: losses at the budgets, [cell, budget], and their error. `stop`: stopping
    times. `best_score_error`: at the best of them. `stop_errors`: of the losses at the four of
    them, [cell, 4]. `time_errors`: relative, of the four, [cell, 4]. `lower`, `paper`: lower edges
    of the parts, weight decay included, exact and by Theorem 3.2, [cell, part]. `merged`: parts
    that have no edge of their own, [cell, part]. `complete`: whether all edges were found.
    """

    unit: Vector
    tau: Matrix
    train: Matrix
    test: Matrix
    score_error: Matrix
    error: Matrix
    stop: Stops
    best_score_error: Vector
    stop_errors: Matrix
    time_errors: Matrix
    lower: Matrix
    paper: Matrix
    merged: Truths
    complete: Truths

    @property
    def worst(self) -> Vector:
        # of the losses at the budgets, at the best time and at the onset of the gap
        return np.maximum(self.stop_errors[:, [0, 3]].max(axis=1), self.error.max(axis=1))


def computed(shared: Shared, tau: np.ndarray, psi_p: np.ndarray, psi_n: np.ndarray) -> Cells:
    """Results of cells of given ψ_p and ψ_n, [cell], at the budgets tau."""
    devices = tuple(jax.local_devices())
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    )
    threads = cores if len(devices) == 1 and devices[0].platform == "cpu" else 1
    # cells of a batch, the last one filled up
    each = BATCH.get(devices[0].platform, MOST_AT_ONCE) * len(devices)
    batches = np.minimum(np.arange(-(-psi_p.size // each) * each), psi_p.size - 1).reshape(-1, each)
    with ThreadPoolExecutor(threads) as pool:
        work = lambda turn: _batch(
            devices, shared, tau, turn, psi_p[batches[turn]], psi_n[batches[turn]]
        )
        done = list(pool.map(work, range(len(batches))))
    return jax.tree.map(lambda *parts: np.concatenate(parts)[: psi_p.size], *done)


def _batch(
    devices: tuple[Any, ...],
    shared: Shared,
    tau: np.ndarray,
    turn: int,
    psi_p: np.ndarray,
    psi_n: np.ndarray,
) -> Cells:
    sweep = lambda cell, *more: _sweep(cell, shared, psi_p, psi_n, *more, devices=devices)
    find_stops = lambda: Stops(*sweep(_cell_stops))
    find_parts = lambda: sweep(_cell_parts)
    # threads take turns in which program comes first, so that both compile at once
    if turn % 2:
        parts, stop = find_parts(), find_stops()
    else:
        stop, parts = find_stops(), find_parts()
    lower, merged, complete, paper = parts
    unit = time_unit(psi_p, float(shared.pace))
    train, test, error = _losses_at(partial(sweep, _cell_losses), tau / unit[:, None], stop)
    times = np.stack([stop.best, stop.lower, stop.upper, stop.onset], axis=1)
    # a time that does not exist has no error
    times = np.where(np.isnan(times), 0.0, times)
    stop_errors = _losses_at(partial(sweep, _cell_losses), times, stop)[2]
    # E_score is affine in the test loss
    of_0, of_1 = map(float, shared.scores)
    score = lambda test: of_0 + test * (of_1 - of_0)
    decay = float(shared.eq.decay)
    return Cells(
        unit=unit,
        tau=np.broadcast_to(tau, test.shape),
        train=train,
        test=test,
        score_error=score(test),
        error=error,
        stop=stop,
        best_score_error=score(stop.test),
        stop_errors=stop_errors,
        time_errors=time_errors(stop_errors.T, stop).T,
        lower=lower + decay,
        paper=paper + decay,
        merged=merged,
        complete=complete,
    )


def _losses_at(
    losses_of_cells: Callable[[np.ndarray], tuple[np.ndarray, ...]], c: np.ndarray, stop: Stops
) -> list[np.ndarray]:
    # both losses and their error, [cell, time]; one program takes TIMES of the times at once
    padded = np.pad(
        np.where(np.isfinite(c), c, 0.0), ((0, 0), (0, -c.shape[1] % TIMES)), mode="edge"
    )
    columns = [losses_of_cells(part) for part in np.hsplit(padded, padded.shape[1] // TIMES)]
    along = [np.concatenate(rows, axis=1)[:, : c.shape[1]] for rows in zip(*columns, strict=True)]
    ends = (stop.train_limit, stop.test_limit, stop.limit_error)
    return [np.where(np.isinf(c), end[:, None], a) for end, a in zip(ends, along, strict=True)]


def _sweep(
    cell: Callable[..., Any], shared: Shared, *arrays: np.ndarray, devices: tuple[Any, ...]
) -> tuple[np.ndarray, ...]:
    return tuple(np.asarray(a) for a in _swept(cell, shared, arrays, devices=devices))


@partial(jax.jit, static_argnames=("cell", "devices"))
def _swept(
    cell: Callable[..., Any], shared: Shared, arrays: tuple[Reals, ...], devices: tuple[Any, ...]
) -> tuple[Any, ...]:
    cells = PartitionSpec("cells")

    def one(psi_p: Real, psi_n: Real, *more: Any) -> tuple[Any, ...]:
        of_cell = lambda eq: eqx.tree_at(lambda e: (e.psi_p, e.psi_n), eq, (psi_p, psi_n))
        own = shared._replace(eq=of_cell(shared.eq), spectral=of_cell(shared.spectral))
        return tuple(cell(own, *more))

    local = lambda arrays: jax.vmap(one)(*arrays)
    mesh = Mesh(np.array(devices), ("cells",))
    return jax.shard_map(local, mesh=mesh, in_specs=(cells,), out_specs=cells, check_vma=False)(
        arrays
    )


def _cell_stops(shared: Shared) -> Stops:
    return stops(shared.eq, shared.tolerance, shared.threshold)


def _cell_losses(shared: Shared, c: Vector) -> tuple[Vector, Vector, Vector]:
    return jax.vmap(partial(flow_losses, shared.eq))(c)


def _cell_parts(shared: Shared) -> tuple[Vector, Truths, Truth, Vector]:
    lower, upper, exists, complete = _edges_of_parts(shared.spectral)
    paper = leading_order_of(shared.spectral)
    merged = exists & (jnp.isnan(lower) | jnp.isnan(upper)) & complete
    return lower, merged, complete, jnp.stack([paper.population[0], paper.sample[0]])


def _edges_of_parts(eq: Equations) -> tuple[Vector, Vector, Truths, Truth]:
    # lower and upper edges, whether a part exists, and whether all edges were found
    edges = find_edges(eq, search_support(eq), bulks=min(eq.most_bulks, MOST_BULKS))
    mass, parts = masses_and_parts(eq, edges)
    complete = ~(edges.failed | jnp.any(mass <= 0))
    lower, upper = (jnp.where(complete, a, jnp.nan) for a in (parts.lower, parts.upper))
    return lower, upper, parts.mass > 0, complete
