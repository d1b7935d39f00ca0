"""Memory of the device that arrays go to: predicted before anything is allocated."""

from __future__ import annotations

import jax
import psutil

DOUBLE = 8  # bytes of a float64
SHARE = 0.9  # of what is free that a computation may take


def available() -> int:
    """Bytes free for arrays on the default device."""
    stats = jax.local_devices()[0].memory_stats() or {}
    if "bytes_limit" in stats:
        return int(stats["bytes_limit"]) - int(stats.get("bytes_in_use", 0))
    return int(psutil.virtual_memory().available)


def require(doubles: float, what: str, instead: str) -> None:
    """Refuse, with a sentence, what will not fit into memory.

    Parameters
    ----------
    doubles : float
        Numbers of eight bytes that will be held at the same time.
    what, instead : str
        What needs them, and what to do instead.
    """
    need, free = DOUBLE * doubles, available()
    if need > SHARE * free:
        raise ValueError(
            f"memory must hold {need / 2**30:.1f} GiB for {what}, got {free / 2**30:.1f} GiB "
            f"free: {instead}"
        )
