r"""Cells of a phase diagram: losses, stopping times and parts of many models,
in small batches of three programs.

Batches go to all devices, or to threads where the only device is a CPU.
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
from ..spectra.edges import find_edges, search_support
from ..spectra.leading_order import leading_order_of
from ..spectra.spectrum import MOST_BULKS
from ..spectra.support import masses_and_parts
from ..training.losses import flow_losses
from ..training.stops import Stops, stops, time_errors

TIMES = 2  # training times a call
BATCH = {"cpu": 8}  # cells at once on a device,
MOST_AT_ONCE = 256  # where it is no CPU


class Shared(NamedTuple):
    """What the cells of a chunk share: equations for losses and for spectra, ω²; tolerance,
    threshold of stopping.
    """

    eq: Equations
    spectral: Equations
    pace: Real
    tolerance: Real
    threshold: Real


class Cells(NamedTuple):
    """What is computed of cells, arrays [cell, ...]: times in units of c but for `unit`, ψ_p/(2ω²).

    `train`, `test`, `error`: losses at the budgets, [cell, budget]. `stop`: stopping times;
    `stop_errors`: of the losses at the four of them; `time_errors`: relative, of the times.
    `lower`, `paper`: lower edges of the parts, weight decay included, exact and by Theorem 3.2.
    `merged`: parts that have no edge of their own; `found`: whether all edges were.
    """

    unit: Vector
    train: Matrix
    test: Matrix
    error: Matrix
    stop: Stops
    stop_errors: Matrix
    time_errors: Matrix
    lower: Matrix
    paper: Matrix
    merged: Truths
    found: Truths

    @property
    def worst(self) -> Vector:
        """Largest error of a cell's losses, at the budgets and at the best time and the onset of
        the gap.
        """
        return np.maximum(self.stop_errors[:, [0, 3]].max(axis=1), self.error.max(axis=1))


def computed(shared: Shared, tau: np.ndarray, psi_p: np.ndarray, psi_n: np.ndarray) -> Cells:
    """Results of cells, batch by batch on all devices,
    or on all cores where the only device is a CPU.
    """
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
    """Results of cells by three compiled programs; threads take turns in which comes first,
    so as to compile both.
    """
    sweep = partial(_sweep, devices=devices)
    unit = time_unit(psi_p, float(shared.pace))
    budgets = tau / unit[:, None]

    def losses_at(c: np.ndarray, stop: Stops) -> list[np.ndarray]:
        """Train and test loss and their error, [cell, time];
        so many times that one program serves all.
        """
        padded = np.pad(
            np.where(np.isfinite(c), c, 0.0), ((0, 0), (0, -c.shape[1] % TIMES)), mode="edge"
        )
        columns = [
            sweep(_cell_losses, shared, psi_p, psi_n, part)
            for part in np.hsplit(padded, padded.shape[1] // TIMES)
        ]
        found = [
            np.concatenate(rows, axis=1)[:, : c.shape[1]] for rows in zip(*columns, strict=True)
        ]
        ends = (stop.train_limit, stop.test_limit, stop.limit_error)
        return [np.where(np.isinf(c), end[:, None], a) for end, a in zip(ends, found, strict=True)]

    if turn % 2:
        parts = sweep(_cell_parts, shared, psi_p, psi_n)
        stop = Stops(*sweep(_cell_stops, shared, psi_p, psi_n))
    else:
        stop = Stops(*sweep(_cell_stops, shared, psi_p, psi_n))
        parts = sweep(_cell_parts, shared, psi_p, psi_n)
    lower, merged, found, paper = parts
    train, test, error = losses_at(budgets, stop)
    times = np.stack([stop.best, stop.lower, stop.upper, stop.onset], axis=1)
    # a time that is none has no error
    stop_errors = losses_at(np.where(np.isnan(times), 0.0, times), stop)[2]
    errors = time_errors(stop_errors.T, stop).T
    decay = float(shared.eq.decay)
    return Cells(
        unit,
        train,
        test,
        error,
        stop,
        stop_errors,
        errors,
        lower + decay,
        paper + decay,
        merged,
        found,
    )


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
        at = lambda eq: eqx.tree_at(lambda e: (e.psi_p, e.psi_n), eq, (psi_p, psi_n))
        return tuple(cell(shared._replace(eq=at(shared.eq), spectral=at(shared.spectral)), *more))

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
    """Lower edges of the parts, whether each has merged, whether the search found all;
    lower edges of Theorem 3.2.
    """
    lower, upper, exists, found = _parts(shared.spectral)
    paper = leading_order_of(shared.spectral)
    merged = exists & (jnp.isnan(lower) | jnp.isnan(upper)) & found
    return lower, merged, found, jnp.stack([paper.population[0], paper.sample[0]])


def _parts(eq: Equations) -> tuple[Vector, Vector, Truths, Truth]:
    """Edges of the parts, which parts there are, and whether the search found all."""
    edges = find_edges(eq, search_support(eq), bulks=min(eq.most_bulks, MOST_BULKS))
    mass, parts = masses_and_parts(eq, edges)
    found = ~(edges.failed | jnp.any(mass <= 0))
    known = lambda a: jnp.where(found, a, jnp.nan)
    return known(parts.lower), known(parts.upper), parts.mass > 0, found
