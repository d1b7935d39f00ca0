"""How much memory a matrix-free spectrum needs, predicted before anything is allocated."""

from __future__ import annotations

import socket
import zlib
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from .feature_products import PANEL
from .memory import DOUBLE, SHARE, available
from .normal_rows import padded


class Need(NamedTuple):
    """Bytes in one process.

    Attributes
    ----------
    blocks : float
        Of the stored blocks.
    redrawing, storing : float
        Of what a product works with, without stored blocks and with them.
    probe : float
        Of one probe.
    """

    blocks: float
    redrawing: float
    storing: float
    probe: float

    def plan(self, probes: int, store: bool | None, budget: float) -> tuple[bool, int]:
        # whether to store, and how many probes to run together
        fixed = {True: self.blocks + self.storing, False: self.redrawing}
        choices = (True, False) if store is None else (store,)
        for choice in choices:
            group = int((SHARE * budget - fixed[choice]) // self.probe)
            if group >= 1:
                return choice, min(group, probes)
        need = fixed[choices[-1]] + self.probe
        advice = (
            "take store=False, a smaller d or more devices"
            if store
            else "take a smaller d, order or block"
        )
        raise ValueError(
            f"memory must hold {need / 2**30:.2f} GiB in each process for one probe, "
            f"got {budget / 2**30:.2f} GiB free: {advice}{'' if store else ', or more devices'}"
        )


def predict(kind: str, d: int, n: int, p: int, order: int, block: int, mesh: Mesh) -> Need:
    local = len(mesh.local_devices)
    local_part = local / mesh.size
    rows = padded(p, block, mesh.size) * local_part
    lanczos = rows * (1.25 * order + 8)
    if kind == "gaussian":
        samples = padded(n, block, mesh.size) * local_part
        blocks = rows * (d + n) + samples * d
        drawing = 4 * local * block * max(d, n)
        return Need(
            *(
                DOUBLE * x
                for x in (blocks, drawing, drawing, lanczos + local * (4 * d + 4 * n) + 2 * samples)
            )
        )
    panel = min(PANEL, n)
    nodes = 4 * 512 * 4096  # quadrature of a few rows at a time
    working = local * (nodes + 4 * panel * d + 8 * block * (panel + d)) + 2 * rows
    blocks = rows * (d + 2 * (n + panel))
    one = lanczos + local * panel * (d + 4 * block)
    return Need(*(DOUBLE * x for x in (blocks, working + 2 * rows * panel, working, one)))


def budget() -> float:
    # bytes free for each process, the least over all; processes of one machine share its memory
    devices = jax.local_devices()
    free = float(available())
    if devices[0].memory_stats():
        free *= len(devices)
    if jax.process_count() == 1:
        return free
    from jax.experimental.multihost_utils import process_allgather

    host = 0 if devices[0].memory_stats() else zlib.crc32(socket.gethostname().encode()) + 1
    each = np.asarray(process_allgather(np.array([free, host, jax.process_index()])))
    sharing = [1 if host == 0 else np.sum(each[:, 1] == host) for host in each[:, 1]]
    return float(np.min(each[:, 0] / np.array(sharing)))
