"""The command that says whether this machine does what rfspec asks of it."""

from __future__ import annotations

import importlib.util
import json as _json
import os
import platform
import re
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import typer

from ..files.io import to_json
from ..numerics import kept, session
from .options import Json, app

PACKAGES = ("rfspec", "jax", "jaxlib", "numpy", "scipy", "equinox")
# of psi_p = 64, psi_n = 8, t = 0.01 at z = -1, from rf.algebraic
KNOWN, TOLERANCE = 0.96521421675433382, 1e-13
GIB = 2**30
LITTLE = GIB // 2  # of free memory
UNWANTED = ("jax_disable_jit", "jax_debug_nans")  # settings of JAX that slow all down or stop it
_SECONDS = 300  # that one process may take to start, compile and store
_ZSTANDARD = b"\x28\xb5\x2f\xfd"  # how what is compressed by another way begins

# compiles one program, and says what JAX's cache did
PROBE = """
import collections, json, jax, jax.numpy as jnp
counted = collections.Counter()
jax.monitoring.register_event_listener(lambda event, **_: counted.update([event]))
jax.config.update("jax_enable_x64", True)
step = lambda i, y: y - jnp.sin(y) * jnp.exp(1j * y)
looped = jax.jit(lambda y: jax.lax.fori_loop(0, 9, step, y))
looped.lower(jax.ShapeDtypeStruct((8,), complex)).compile()
print(json.dumps(counted))
"""


@app.command("doctor")
def doctor_command(json: Json = False) -> None:
    """What this machine has, and what is wrong with it; exit status 1 if anything is."""
    report, wrong = examined()
    lines = [to_json(report | {"wrong": wrong})] if json else described(report, wrong)
    for line in lines:
        typer.echo(line)
    if wrong:
        raise typer.Exit(1)


def examined() -> tuple[dict[str, Any], list[str]]:
    """All that is known, by subject, and a sentence for each thing that is wrong."""
    # first, while the memory of a GPU is free for other processes
    again = second_process()
    report: dict[str, Any] = {
        "versions": {name: version(name) for name in PACKAGES}
        | {"python": platform.python_version(), "platform": platform.platform()},
        "devices": [f"{d.platform}: {d.device_kind}" for d in jax.devices()],
        "settings": {name: getattr(jax.config, name) for name in UNWANTED},
        "precision": _precision(),
        "kernels": _kernels(),
        "second_process": again,
        "memory": _memory(),
        "mappings": {
            "in_use": session.mappings_in_use(),
            "allowed": session.mappings_allowed(),
        },
    }
    return report, [*_wrong(**report)]


def _wrong(
    settings: dict[str, bool],
    precision: dict[str, Any],
    kernels: dict[str, Any],
    second_process: dict[str, Any],
    memory: dict[str, float],
    mappings: dict[str, float],
    **_: Any,
) -> Iterator[str]:
    yield from (f"{name} is on, which slows or stops rfspec" for name, on in settings.items() if on)
    if not precision["error"] < TOLERANCE:
        yield f"a resolvent that is known has a relative error of {precision['error']:.1e}"
    if kernels["trouble"]:
        yield f"compiled kernels are not kept: {kernels['reason']}"
    if kernels["unreadable"]:
        yield f"{kernels['unreadable']} kept kernels could not be read, and have been removed"
    if second_process["trouble"]:
        yield second_process["trouble"]
    if memory["available"] < LITTLE:
        yield f"only {memory['available'] / GIB:.2f} GiB of memory are free"
    if mappings["in_use"] > session.SHARE * mappings["allowed"]:
        yield f"nearly all {mappings['allowed']:.0f} memory mappings are in use"


def _precision() -> dict[str, Any]:
    from ..models.model import RandomFeatureModel
    from ..resolvent.solver import solve

    try:
        found = complex(solve(RandomFeatureModel(64.0, 8.0, 0.01), -1.0).q)
    except RuntimeError as e:
        return {"error": float("inf"), "reason": str(e)}
    return {"error": abs(found - KNOWN) / KNOWN, "reason": ""}


def _memory() -> dict[str, float]:
    import psutil

    from ..empirical.memory import available

    host = psutil.virtual_memory()
    return {
        "available": float(host.available),
        "total": float(host.total),
        "available_on_device": float(available()),
    }


def _kernels() -> dict[str, Any]:
    from ..numerics.kept import cache

    folder = cache()
    reason, trouble = kept.reason()
    files = [] if folder is None else [*kept.files_in(folder)]
    return {
        "folder": None if folder is None else str(folder),
        "reason": reason,
        "trouble": trouble,
        "files": len(files),
        "bytes": sum(found.st_size for _, found in files),
        # of the programs of this process
        "asked": kept.events[kept.ASKED],
        "found": kept.events[kept.FOUND],
        "traces_read": kept.events[kept.READ],
        "traces_made": kept.events[kept.TRACED],
        "flatbuffers": importlib.util.find_spec("flatbuffers") is not None,
        "unreadable": 0 if folder is None or reason else _remove_unreadable(files),
    }


def _remove_unreadable(files: list[tuple[Path, os.stat_result]]) -> int:
    # a process that was killed, or a full disk, leaves half a kernel, which JAX never replaces
    removed = 0
    for path, _ in files:
        with suppress(OSError):
            content = path.read_bytes() if path.name.endswith("-cache") else _ZSTANDARD
            try:
                if not content.startswith(_ZSTANDARD):
                    zlib.decompress(content)
            except zlib.error:
                path.unlink()
                removed += 1
    return removed


def second_process() -> dict[str, Any]:
    """Whether a second process finds the kernel that a first one has compiled and stored.

    XLA refuses a kernel of another CPU, or takes it with a message, and on some CPUs it has refused
    those of its own; JAX then compiles again and says nothing.
    """
    with tempfile.TemporaryDirectory(prefix="rfspec-doctor-", ignore_cleanup_errors=True) as folder:
        try:
            first, second = _one_process(folder), _one_process(folder)
        except (OSError, subprocess.SubprocessError, ValueError, IndexError) as e:
            return {"stored": 0, "found": 0, "trouble": f"no other process computes: {e}"}
    (counted, _), (again, messages) = first, second
    stored, found = counted.get(kept.WRITTEN, 0), again.get(kept.FOUND, 0)
    trouble = ""
    if not stored:
        trouble = "a compiled kernel could not be stored"
    elif found < stored:
        trouble = "kept kernels are rejected: a second process has compiled again what a first kept"
    elif re.search(r"is not\s+supported on the host machine", messages):
        trouble = "XLA says of kept kernels that they are of another CPU"
    return {"stored": stored, "found": found, "trouble": trouble}


def _one_process(folder: str) -> tuple[dict[str, int], str]:
    environment = os.environ | {
        "JAX_COMPILATION_CACHE_DIR": folder,
        "JAX_ENABLE_COMPILATION_CACHE": "1",
        "JAX_COMPILATION_CACHE_MAX_SIZE": "-1",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    }
    command = [sys.executable, "-W", "ignore", "-c", PROBE]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    if done.returncode:
        raise ValueError((done.stderr.strip().splitlines() or ["it ended"])[-1])
    return _json.loads(done.stdout.splitlines()[-1]), done.stderr


def described(report: dict[str, Any], wrong: list[str]) -> Iterator[str]:
    """The report for a reader."""
    versions, kernels, again = (report[name] for name in ("versions", "kernels", "second_process"))
    memory, mappings = report["memory"], report["mappings"]
    yield "versions   " + ", ".join(f"{name} {v}" for name, v in versions.items())
    yield "devices    " + "; ".join(report["devices"])
    yield f"precision  double, a known resolvent to {report['precision']['error']:.1e}"
    where = kernels["folder"] or "nowhere"
    yield f"kernels    kept in {where}" + (f" ({kernels['reason']})" if kernels["reason"] else "")
    if kernels["folder"]:
        yield (
            f"           {kernels['files']} files, {kernels['bytes'] / 2**20:.1f} MiB; "
            f"this process has found {kernels['found']} of {kernels['asked']} there"
        )
        if not kernels["flatbuffers"]:
            yield "           what is traced is not kept: python -m pip install flatbuffers"
    yield f"           a second process finds {again['found']} of {again['stored']} kept by a first"
    yield (
        f"memory     {memory['available'] / GIB:.1f} of {memory['total'] / GIB:.1f} GiB free, "
        f"{memory['available_on_device'] / GIB:.1f} GiB on the device"
    )
    yield f"mappings   {mappings['in_use']} of {mappings['allowed']:.0f} in use"
    yield from (f"wrong      {sentence}" for sentence in wrong)
    if not wrong:
        yield "nothing is wrong"
