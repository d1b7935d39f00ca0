"""What a long session needs at the door of every function that computes: double precision,
and room to compile.

XLA maps a compiled program into memory piece by piece. Linux allows a process 65,530 mappings, and
XLA crashes past the last; so the programs are forgotten, to be compiled again when they are needed,
before that many are in use.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from .checks import namespace, on_device, on_host

# recorded for programs out of a cache on disk, too
COMPILED = "/jax/core/compile/backend_compile_duration"
SHARE = 0.7  # of the room for mappings, at which programs are forgotten
LARGEST = 1000  # mappings that a program takes, at most

_IN_USE, _ALLOWED = Path("/proc/self/maps"), Path("/proc/sys/vm/max_map_count")


def enter() -> None:
    """Refuse single precision, and forget compiled programs where room for others runs out.

    Raises
    ------
    RuntimeError
        If double precision is switched off, or something else than programs has taken the room.
    """
    if jax.dtypes.canonicalize_dtype(np.float64) != np.float64:
        raise RuntimeError(
            "rfspec computes in double precision, which was switched off after its import: "
            'jax.config.update("jax_enable_x64", True) switches it on again'
        )
    if _room.compiled >= _room.enough:
        make_room()


class _Room:
    """Programs compiled since the mappings were counted, how many may be before they are counted
    again, and mappings that stayed when programs were last forgotten.
    """

    compiled: int = 0
    enough: float = 1
    others: int = 0


_room = _Room()


def make_room() -> None:
    """Count the mappings of this process, and forget compiled programs if they are too many."""
    allowed = mappings_allowed()
    full = _room.others + SHARE * (allowed - _room.others)
    used = mappings_in_use()
    if used > full:
        jax.clear_caches()
        gc.collect()
        used = _room.others = mappings_in_use()
        if used + LARGEST > allowed:
            raise RuntimeError(
                f"this process uses {used} of the {allowed:.0f} memory mappings that the system "
                "allows it, hardly one "
                "of them for a compiled program: start another process, or raise vm.max_map_count"
            )
        full = used + SHARE * (allowed - used)
    _room.compiled, _room.enough = 0, 1.0 + (full - used) / LARGEST


def at_points(f: Callable[..., Any], *points: Any) -> Any:
    """What f has at flat arrays, at points of any shape: filled up to a power of two,
    since each size is compiled.
    """
    shape, xp = np.shape(points[0]), namespace(*points)
    size = int(np.prod(shape))
    missing = (1 << (size - 1).bit_length()) - size if size else 0
    found = f(*(xp.pad(xp.ravel(a), (0, missing), mode="edge") for a in points))
    cut = lambda a: on_host(a)[:size].reshape(shape)
    return jax.tree.map(lambda a: on_device(cut(a)), found)


def mappings_in_use() -> int:
    """Memory mappings of this process; 0 where the system does not count them."""
    return _IN_USE.read_bytes().count(b"\n") if _IN_USE.exists() else 0


def mappings_allowed() -> float:
    """How many it may have."""
    return float(_ALLOWED.read_text()) if _ALLOWED.exists() else float("inf")


def _count(event: str, duration_secs: float, **_: Any) -> None:
    if event == COMPILED:
        _room.compiled += 1


jax.monitoring.register_event_duration_secs_listener(_count)
