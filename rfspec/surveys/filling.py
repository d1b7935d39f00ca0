"""Filling a store with blocks: here, a part of them here, or all on a cluster."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tqdm import tqdm

from .plan import Plan
from .programs import engine
from .stores import Store

# tasks that a cluster gets, at most, of this many blocks each or more
TASKS = 256


def fill(plan: Plan, store: Store, blocks: Iterable[int], bar: tqdm | None = None) -> None:
    """Compute blocks and put them, in this order; the next begins before one ends."""
    with engine() as running:
        begun: list[tuple[int, Callable[[], Any]]] = []
        for block in blocks:
            begun.append((block, plan.begin(block, running)))
            if len(begun) > 1:
                _end(store, *begun.pop(0), bar)
        for block, finish in begun:
            _end(store, block, finish, bar)


def _end(store: Store, block: int, finish: Callable[[], Any], bar: tqdm | None) -> None:
    outputs = finish()
    store.put(block, outputs)
    if bar is not None:
        bar.update(outputs["status"].size)


def progress_bar(plan: Plan, missing: Sequence[int], what: str, shown: bool) -> tqdm:
    """A bar that counts cells."""
    sizes = (plan.cells_in(block) for block in missing)
    return tqdm(
        total=plan.size,
        initial=plan.size - sum(sizes),
        desc=what,
        unit="cell",
        disable=not shown,
        leave=False,
        delay=1.0,
    )


def fill_on(
    client: Any, task: Callable[..., int], arguments: Any, blocks: Sequence[int], bar: tqdm
) -> None:
    """Have `task(arguments, blocks, token)` done by the workers of a client, in several tasks."""
    each = -(-len(blocks) // TASKS)
    # a scheduler that knows the result of a task does not do it again: the token tells two apart
    token = secrets.token_hex(8)
    futures = [
        client.submit(task, arguments, blocks[i : i + each], token)
        for i in range(0, len(blocks), each or 1)
    ]
    try:
        for future in futures:
            bar.update(future.result())
    finally:
        for future in futures:
            future.cancel()
