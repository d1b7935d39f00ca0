"""Whether arrays fit into the memory of their device, asked before anything is allocated."""

from __future__ import annotations

import jax
import psutil

DOUBLE = 8  # bytes of a float64
SHARE = 0.9  # of the free memory, which a computation may take


def available() -> int:
    # bytes on the default device
    stats = jax.local_devices()[0].memory_stats() or {}
    if "bytes_limit" in stats:
        return int(stats["bytes_limit"]) - int(stats.get("bytes_in_use", 0))
    return int(psutil.virtual_memory().available)


def require(doubles: float, what: str, instead: str) -> None:
    # so many numbers are held at the same time
    need, free = DOUBLE * doubles, available()
    if need > SHARE * free:
        raise ValueError(
            f"memory must hold {need / 2**30:.1f} GiB for {what}, got {free / 2**30:.1f} GiB "
            f"free: {instead}"
        )
