"""Programs whose trace is kept between sessions, beside the kernels that XLA makes of it.

To trace a program, and to lower the trace, takes longer than to load its kernel. What comes of it
is StableHLO, which ``jax.export`` writes and reads. It depends on the numbers only through their
shapes and kinds, but on all else that Python looks at: the source of the package, versions, JAX's
settings, and everything in the arguments that is no number. All of this names the file. What cannot
be named for certain is traced anew: a function of the user's own, a package whose files have
changed since it was imported, numbers on several devices.

It needs flatbuffers, as ``jax.export`` does; where that is missing all programs are traced anew.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import io
import os
import pickle
import platform
import secrets
from collections.abc import Callable, Iterable
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax

from . import kept
from .compiling import jit

PACKAGE = Path(__file__).parents[1]
VERSIONS = ("jax", "jaxlib", "equinox", "numpy")
# modules whose functions and classes are known by their names, since versions and sources are
KNOWN = ("rfspec", "jax", "jaxlib", "equinox", "numpy", "builtins", "functools", "collections")
# settings of JAX that no program depends on
IRRELEVANT = ("jax_compilation_cache", "jax_persistent_cache", "jax_log", "jax_explain", "jax_dump")
SUFFIX = "-program"
DISABLED, ELSEWHERE = "jax_disable_jit", "jax_default_device"


def program(f: Callable[..., Any], *, static_argnames: str | Iterable[str] = ()) -> Any:
    """``jit(f)`` that reads its trace from disk, where all arguments are known numbers."""
    static = (static_argnames,) if isinstance(static_argnames, str) else tuple(static_argnames)
    signature = inspect.signature(f)
    traced = jit(f, static_argnames=static)

    # mapped functions and others take arguments at their places only
    @functools.wraps(f)
    def by_name(**arguments: Any) -> Any:
        bound = inspect.BoundArguments(signature, arguments)
        return f(*bound.args, **bound.kwargs)

    # what happens here happens once for each kind of arguments
    def read_or_made(*positional: Any, **named: Any) -> Any:
        arguments = signature.bind(*positional, **named).arguments
        fixed = {name: arguments.pop(name) for name in static if name in arguments}
        leaves, tree = jax.tree.flatten(arguments)
        found = _read_or_made(by_name, leaves, tree, fixed)
        if found is None:
            return by_name(**arguments, **fixed)
        exported, results = found
        return jax.tree.unflatten(results, exported.call(*leaves))

    functools.update_wrapper(read_or_made, f)
    kept_program = jit(read_or_made, static_argnames=static)

    @functools.wraps(f)
    def call(*positional: Any, **named: Any) -> Any:
        if kept.own_folder() is not None and _plain(jax.tree.leaves((positional, named))):
            return kept_program(*positional, **named)
        return traced(*positional, **named)

    return call


def _plain(leaves: list[Any]) -> bool:
    # known numbers where programs usually run
    if any(isinstance(a, jax.core.Tracer) for a in leaves) or getattr(jax.config, DISABLED):
        return False
    if _one_device():
        return True
    usual, elsewhere = jax.local_devices()[:1], getattr(jax.config, ELSEWHERE) is not None
    arrays = (a for a in leaves if isinstance(a, jax.Array))
    return not elsewhere and all([*a.devices()] == usual for a in arrays)


@functools.cache
def _one_device() -> bool:
    # nothing can lie elsewhere; where there is a GPU, the CPU is a second device
    return jax.default_backend() == "cpu" and jax.device_count() == 1


def _read_or_made(
    f: Callable[..., Any], leaves: list[Any], tree: Any, fixed: dict[str, Any]
) -> tuple[Any, Any] | None:
    folder = kept.own_folder()
    name = _name(f, leaves, tree, fixed)
    if folder is None or name is None:
        return None
    path = folder / name
    # whatever is wrong with a file or with an export, the program can be traced
    with suppress(Exception):
        found = _read(path)
        jax.monitoring.record_event(kept.READ)
        return found
    with suppress(Exception):
        found = _made(f, leaves, tree, fixed, path)
        jax.monitoring.record_event(kept.TRACED)
        return found
    return None


def _read(path: Path) -> tuple[Any, Any]:
    from jax import export

    content, results = pickle.loads(path.read_bytes())
    return export.deserialize(content), jax.tree.structure(results)


def _made(
    f: Callable[..., Any], leaves: list[Any], tree: Any, fixed: dict[str, Any], path: Path
) -> tuple[Any, Any]:
    from jax import export

    seen: list[Any] = []

    def flat(*leaves: Any) -> list[Any]:
        results, structure = jax.tree.flatten(f(**jax.tree.unflatten(tree, leaves), **fixed))
        seen.append(structure)
        return results

    flat.__name__ = flat.__qualname__ = getattr(f, "__name__", "program")
    shapes = [
        jax.ShapeDtypeStruct(a.shape, a.dtype, weak_type=a.weak_type)
        for a in map(jax.typeof, leaves)
    ]
    content = export.export(jax.jit(flat))(*shapes).serialize()
    (results,) = seen[-1:]
    written = pickle.dumps((bytes(content), results.unflatten(range(results.num_leaves))))
    beside = path.with_name(f".{secrets.token_hex(8)}")
    try:
        beside.write_bytes(written)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    # as it will be read, for not all that is known of its results is written
    return export.deserialize(content), results


# --------------------------------------------------------------------------------------------------
# names


def _name(f: Callable[..., Any], leaves: list[Any], tree: Any, fixed: dict[str, Any]) -> str | None:
    # None where something has no name that would be another one if it were something else
    if not _SOURCES or _sources() != _SOURCES:
        return None
    kinds = [(a.shape, str(a.dtype), a.weak_type) for a in map(jax.typeof, leaves)]
    text = io.BytesIO()
    pickler = _OfKnownThings(text)
    pickler.fast = True  # else equal things would be written differently when they are the same one
    try:
        pickler.dump((f.__module__, f.__qualname__, kinds, fixed))
        pickler.dump(jax.tree.unflatten(tree, range(len(leaves))))
    except (pickle.PicklingError, AttributeError, TypeError, ValueError, RecursionError):
        return None
    digest = hashlib.sha256(text.getvalue())
    digest.update(repr((_SOURCES, _circumstances())).encode())
    return f"{f.__name__}-{digest.hexdigest()}{SUFFIX}"


class _OfKnownThings(pickle.Pickler):
    def reducer_override(self, thing: Any) -> Any:
        if isinstance(thing, type) or callable(thing):
            origin = getattr(thing, "__module__", None) or type(thing).__module__
            if origin.split(".")[0] not in KNOWN:
                raise pickle.PicklingError(f"{thing!r:.100} is not known by its name")
        return NotImplemented


def _circumstances() -> list[Any]:
    settings = jax.config.values
    return [
        _versions(),
        platform.python_version(),
        jax.default_backend(),
        [(n, repr(getattr(jax.config, n, None))) for n in settings if not n.startswith(IRRELEVANT)],
    ]


@functools.cache
def _versions() -> list[str]:
    return [version(name) for name in VERSIONS]


def _sources() -> list[tuple[str, int, int]]:
    found = []
    for folder, _, names in os.walk(PACKAGE):
        for name in names:
            if name.endswith(".py"):
                path = os.path.join(folder, name)
                with suppress(OSError):
                    seen = os.stat(path)
                    found.append((path, seen.st_size, seen.st_mtime_ns))
    return sorted(found)


# as they were when they were imported: what has been edited since is not what is running
_SOURCES = _sources()
