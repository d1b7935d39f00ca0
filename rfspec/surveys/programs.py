"""The compiled programs of a survey, and how batches of cells reach all devices.

Each program asks one question of one model. It is mapped over batches of a fixed size, which go to
all devices, or to threads where the only device is a CPU. One size for each program keeps compiling
short.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import zip_longest
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from ..numerics.compiling import jit
from ..numerics.session import cores
from ..numerics.types import Real, Reals, Truth, Truths, Vector, Wholes
from ..resolvent.interface import Equations
from ..spectra.contents import MOST_BULKS, contents
from ..spectra.edges import find_edges
from ..spectra.leading_order import leading_order_of
from ..spectra.search import search_support
from ..spectra.support import PartEdges, masses_and_parts
from ..spectra.unbounded import open_ends
from ..training.losses import flow_losses, limit
from ..training.stops import Asked, Stops, search_stops

# cells at once on a device that is no CPU
MOST_AT_ONCE = 256


class Found(NamedTuple):
    """The spectrum of a cell.

    `lower`, `upper`: edges of the bulks in the unit of U, padded with NaN. `error`: their relative
    errors, lower and upper in turn. `mass`: of the bulks. `location`, `atom`: place and mass of the
    atom. `parts`: edges and masses of the three parts. `complete`: whether all edges were found.
    `support`, `series`: with loss drops, where these were asked for.
    """

    lower: Reals
    upper: Reals
    error: Reals
    mass: Reals
    count: Wholes
    location: Reals
    atom: Reals
    parts: PartEdges
    complete: Truths
    support: Any = None
    series: Any = None


def room(eq: Equations) -> int:
    """The number of bulks for which a cell has room."""
    return min(eq.most_bulks, MOST_BULKS)


def stops_of(eq: Equations, tolerance: Real, threshold: Real, window: Truth, onset: Truth) -> Stops:
    """The best time, with its window and the onset of the gap where these are asked."""
    return search_stops(eq, tolerance, threshold, Asked(window, window, onset))


def losses_at(eq: Equations, c: Real) -> tuple[Real, Real, Real]:
    return flow_losses(eq, c)


def limits_of(eq: Equations) -> tuple[Real, Real, Real]:
    """L_train, L_test and the larger of their errors at the end of training."""
    train, test, errors = limit(eq)
    return train, test, jnp.max(errors)


def lower_ends(eq: Equations) -> Vector:
    """Lower edges of the population and the sample to leading order."""
    law = leading_order_of(eq)
    return jnp.stack([law.population[0], law.sample[0]])


def edges_of(eq: Equations) -> Found:
    """Edges, masses and parts."""
    edges = find_edges(eq, search_support(eq), bulks=room(eq))
    mass, parts = masses_and_parts(eq, edges)
    failed = edges.failed | jnp.any(mass <= 0)
    return _found(eq, edges, edges.error, mass, parts, failed)


def drops_of(eq: Equations) -> Found:
    """The same, with nodes on the bulks and loss drops."""
    support, _, parts, error, series, failed = contents(eq, search_support(eq), bulks=room(eq))
    found = _found(eq, support, error, support.mass, parts, failed)
    return found._replace(support=support, series=series)


def _found(
    eq: Equations, bulks: Any, error: Vector, mass: Vector, parts: PartEdges, failed: Truth
) -> Found:
    ends = open_ends(eq, bulks)
    lower, upper = (eq.origin + end for end in (ends.lower, ends.upper))
    return Found(lower, upper, error, mass, bulks.count, eq.origin, eq.atom_mass, parts, ~failed)


# cells of a batch on a CPU
BATCH: dict[Callable[..., Any], int] = {
    stops_of: 8,
    losses_at: 32,
    limits_of: 256,
    lower_ends: 256,
    edges_of: 16,
    drops_of: 8,
}
# a CPU takes the cells of a batch one after another where one of them may take many times as long
# as others, which in step would wait for it, or ask for less
IN_TURN = (edges_of, drops_of, stops_of)


class Job(NamedTuple):
    """A program for the cells whose rows of `eqs` and `arrays`, [cell, ...], are to be taken."""

    program: Callable[..., Any]
    eqs: Any
    arrays: tuple[np.ndarray, ...]
    rows: np.ndarray


class Engine:
    """Runs jobs, batch by batch, on all devices or in as many threads as there are cores."""

    def __init__(self, pool: ThreadPoolExecutor, devices: tuple[Any, ...]):
        self.pool, self.devices = pool, devices

    def start(self, *jobs: Job) -> list[Callable[[], Any]]:
        """Start jobs, and return functions that wait for their results, trees of [cell, ...]."""
        parts = [list(self._batches(job)) for job in jobs]
        futures: list[list[Future[Any]]] = [[] for _ in jobs]
        # batches of different programs take turns, so that threads compile them side by side
        for turn in zip_longest(*parts):
            for batch, own in zip(turn, futures, strict=True):
                if batch is not None:
                    own.append(self.pool.submit(batch))
        return [
            partial(_joined, own, job.rows.size) for own, job in zip(futures, jobs, strict=True)
        ]

    def each(self, f: Callable[[Any], Any], items: Any) -> list[Any]:
        """[f(item)] for things that are no batches."""
        return list(self.pool.map(f, items))

    def _batches(self, job: Job) -> Iterator[Callable[[], Any]]:
        each = BATCH[job.program] if _on_cpu(self.devices) else MOST_AT_ONCE
        size = each * len(self.devices)
        # the last batch is filled up
        places = np.minimum(np.arange(-(-job.rows.size // size) * size), job.rows.size - 1)
        for batch in places.reshape(-1, size):
            yield partial(_run, job, batch, self.devices)


@contextmanager
def engine() -> Iterator[Engine]:
    """An engine for all local devices."""
    devices = tuple(jax.local_devices())
    alone = len(devices) == 1 and _on_cpu(devices)
    pool = ThreadPoolExecutor(cores() if alone else 1)
    try:
        yield Engine(pool, devices)
    finally:
        pool.shutdown(cancel_futures=True)


def _on_cpu(devices: tuple[Any, ...]) -> bool:
    return devices[0].platform == "cpu"


def _in_turn(program: Callable[..., Any], devices: tuple[Any, ...]) -> bool:
    return program in IN_TURN and _on_cpu(devices)


def _run(job: Job, batch: np.ndarray, devices: tuple[Any, ...]) -> Any:
    rows = job.rows[batch]
    eqs = jax.tree.map(lambda a: a[rows], job.eqs)
    arrays = tuple(a[batch] for a in job.arrays)
    return jax.tree.map(np.asarray, _on_devices(job.program, eqs, arrays, devices=devices))


@partial(jit, static_argnames=("program", "devices"))
def _on_devices(
    program: Callable[..., Any],
    eqs: Any,
    arrays: tuple[Reals | Truths, ...],
    devices: tuple[Any, ...],
) -> Any:
    cells = PartitionSpec("cells")
    one = lambda both: program(both[0], *both[1])
    mapped = partial(jax.lax.map, one) if _in_turn(program, devices) else jax.vmap(one)
    local = lambda eqs, arrays: mapped((eqs, arrays))
    mesh = Mesh(np.array(devices), ("cells",))
    return jax.shard_map(
        local, mesh=mesh, in_specs=(cells, cells), out_specs=cells, check_vma=False
    )(eqs, arrays)


def _joined(futures: list[Future[Any]], size: int) -> Any:
    results = [future.result() for future in futures]
    return jax.tree.map(lambda *parts: np.concatenate(parts)[:size], *results)
