"""What every public function that computes needs first: double precision, room to compile, and a
folder for what is compiled.

XLA maps a compiled program into memory piece by piece, and crashes past the 65,530 mappings that
Linux allows a process. Before they run out all programs are forgotten; those that are needed again
are compiled again.
"""

from __future__ import annotations

import gc
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from . import kept
from .checks import concrete, namespace, on_device, on_host

# JAX's event of a compilation, also recorded for a program that comes from the cache on disk
COMPILED = "/jax/core/compile/backend_compile_duration"
# programs are forgotten once they take this share of the mappings that are left to them
SHARE = 0.7
# points that a core of a CPU takes at once
PART = 2**13
# the most mappings that one program takes
LARGEST = 1000

_IN_USE, _ALLOWED = Path("/proc/self/maps"), Path("/proc/sys/vm/max_map_count")


def enter() -> None:
    """Refuse single precision, and forget compiled programs before their mappings run out.

    The first call also has compiled kernels kept between sessions.

    Raises
    ------
    RuntimeError
        If double precision is switched off, or mappings run out though programs are forgotten.
    """
    if jax.dtypes.canonicalize_dtype(np.float64) != np.float64:
        raise RuntimeError(
            "rfspec computes in double precision, which was switched off after its import: "
            'jax.config.update("jax_enable_x64", True) switches it on again'
        )
    kept.keep()
    if _room.compiled >= _room.enough:
        make_room()


class _Room:
    # programs compiled since the mappings were last counted
    compiled: int = 0
    # so many programs may be compiled before they are counted again
    enough: float = 1
    # mappings that stayed when the programs were last forgotten
    others: int = 0


_room = _Room()


def make_room() -> None:
    """Count the mappings of this process, and forget all compiled programs if there are too many.

    Raises
    ------
    RuntimeError
        If what is no program has taken nearly all mappings.
    """
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
                "allows it, hardly one of them for a compiled program: start another process, or "
                "raise vm.max_map_count"
            )
        full = used + SHARE * (allowed - used)
    _room.compiled, _room.enough = 0, 1.0 + (full - used) / LARGEST


def at_points(f: partial[Any], *points: Any) -> Any:
    """f, which takes flat arrays, at points of any shape; what f returns has their shape.

    Every new size is a compilation, so the points are padded to a power of two. A CPU takes many of
    them in parts of PART, one in each core.
    """
    shape, xp = np.shape(points[0]), namespace(*points)
    size = int(np.prod(shape))
    flat = [xp.ravel(a) for a in points]
    pad = lambda to: [xp.pad(a, (0, to - size), mode="edge") for a in flat]
    if size > PART and concrete(points, f.args) and _alone_on_cpu():
        count = -(-size // PART)
        with ThreadPoolExecutor(cores()) as pool:
            parts = list(pool.map(f, *(np.split(a, count) for a in pad(count * PART))))
        found = jax.tree.map(lambda *a: np.concatenate([on_host(b) for b in a]), *parts)
    else:
        found = f(*pad(1 << (size - 1).bit_length() if size else 0))
    cut = lambda a: on_host(a)[:size].reshape(shape)
    return jax.tree.map(lambda a: on_device(cut(a)), found)


def _alone_on_cpu() -> bool:
    return jax.default_backend() == "cpu" and jax.device_count() == 1


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def mappings_in_use() -> int:
    # 0 where the system does not count them
    return _IN_USE.read_bytes().count(b"\n") if _IN_USE.exists() else 0


def mappings_allowed() -> float:
    return float(_ALLOWED.read_text()) if _ALLOWED.exists() else float("inf")


def _count_compilation(event: str, duration_secs: float, **_: Any) -> None:
    if event == COMPILED:
        _room.compiled += 1


jax.monitoring.register_event_duration_secs_listener(_count_compilation)
