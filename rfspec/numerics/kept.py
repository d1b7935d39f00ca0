"""Compiled kernels are kept on disk between sessions, in a folder of the user's own.

JAX has one cache for a whole process. It is set when rfspec computes for the first time, and only
where nobody has set it before, so that a program which names a cache of its own has that one. From
then on the user's own JAX programs are kept there, too.

A kernel is machine code, and whoever can write to the folder can have it run. So the folder belongs
to the user and nobody else may write to it, and it is named by what its kernels depend on: the
version of jaxlib and the CPU, for a home directory may be shared by machines that differ.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import stat
import threading
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax

from .types import Given

SWITCH = "RFSPEC_CACHE"
OFF = ("off", "0", "no", "false", "none")
# what a folder may hold in bytes, and for how many seconds one of another version is left alone
MOST, LEFT_ALONE = 512 * 2**20, 30 * 86400
# seconds between two looks at how full the folder is
DAY = 86400
# programs that took longer to compile are kept: nearly all, since each small one adds its share
QUICK = 0.01

_DIRECTORY, _THRESHOLD = "jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs"
_SWITCH_OF_JAX, _LIMIT = "jax_enable_compilation_cache", "jax_compilation_cache_max_size"
_USED = ".used"
# JAX's events of its cache: a program that may be kept, one that was, and one that was compiled
# and written
ASKED, FOUND, WRITTEN = (
    f"/jax/compilation_cache/{name}"
    for name in ("compile_requests_use_cache", "cache_hits", "cache_misses")
)
# a program whose trace was read, and one that was traced and written
READ, TRACED = "/rfspec/programs/read", "/rfspec/programs/traced"
events: Counter[str] = Counter()


class _Kept:
    # whether it has been decided where kernels are kept
    decided: bool = False
    # the folder that rfspec has named to JAX
    folder: Path | None = None
    # why there is none
    reason: str = ""
    # what is wrong, if it is not as the user wants it
    trouble: bool = False
    # JAX's settings before
    before: dict[str, Any]


_kept = _Kept()
_deciding = threading.RLock()


def cache(path: Given = ...) -> Path | None:
    """Where compiled kernels are kept between sessions, or a choice of where.

    By default they are kept in the user's cache folder, ``$XDG_CACHE_HOME/rfspec`` or
    ``~/.cache/rfspec``, in a folder of mode 700 that is named by the version of jaxlib and the CPU.
    JAX has one cache for the process, so that from the first computation of rfspec on the user's
    own JAX programs are kept there, too. A cache that is named by ``JAX_COMPILATION_CACHE_DIR`` or
    ``jax.config`` is left as it is, and serves rfspec as well.

    Parameters
    ----------
    path : path-like or None, optional
        A folder in which to keep them from now on, which is made if it is missing; or None to keep
        none. Without it nothing is changed.

    Returns
    -------
    Path or None
        The folder that JAX keeps kernels in; None where it keeps none.

    Raises
    ------
    ValueError
        If `path` is no folder, belongs to another user, or may be written by others or not at all.

    Notes
    -----
    The environment variable ``RFSPEC_CACHE`` holds ``off`` or a folder, for all sessions. Kernels
    take at most half a gigabyte; those used least recently go first, and what a version of jaxlib
    has left behind goes after 30 days without use. The folder may be deleted at any time.

    Examples
    --------
    >>> import rfspec as rf
    >>> before = rf.cache()
    >>> rf.cache("/proc/none")
    Traceback (most recent call last):
    ...
    ValueError: path must be a folder of your own that can be written, got '/proc/none': ...
    >>> rf.cache() == before
    True
    """
    with _deciding:
        if path is None:
            _let_go(f"rf.cache(None) has switched it off, {SWITCH}={OFF[0]} does for all sessions")
        elif path is not ...:
            _keep_in(_chosen("path", path))
        keep()
    return in_use()


def keep() -> None:
    """Have JAX keep kernels, unless it does or shall not; once in a process, at the first call."""
    if _kept.decided:
        if _kept.folder is not None and getattr(jax.config, _DIRECTORY) != str(_kept.folder):
            _give_way()
        return
    with _deciding:
        if not _kept.decided:
            _decide()


def in_use() -> Path | None:
    # the folder of JAX's cache, whoever has named it
    named = getattr(jax.config, _DIRECTORY)
    return Path(named) if named and getattr(jax.config, _SWITCH_OF_JAX) else None


def own_folder() -> Path | None:
    # where rfspec may keep what is not JAX's; None where it has named no folder
    return _kept.folder


def reason() -> tuple[str, bool]:
    """Why kernels are kept elsewhere or not at all, and whether this is a trouble."""
    return _kept.reason, _kept.trouble


def _decide() -> None:
    wanted = os.environ.get(SWITCH, "").strip()
    if not getattr(jax.config, _SWITCH_OF_JAX):
        return _keep_none(f"{_SWITCH_OF_JAX} is off")
    if getattr(jax.config, _DIRECTORY):
        return _keep_none(f"JAX has a cache of its own: {_DIRECTORY} is set")
    if getattr(jax.config, _LIMIT) != -1:
        return _keep_none(f"{_LIMIT} is set, which is meant for a cache of your own")
    if wanted.lower() in OFF:
        return _keep_none(f"{SWITCH}={wanted} has switched it off")
    try:
        _keep_in(_chosen(SWITCH, wanted) if wanted else _made(_usual()))
    except (OSError, RuntimeError, ValueError) as e:
        told = f"{e.filename}: {e.strerror}" if isinstance(e, OSError) and e.strerror else str(e)
        _keep_none(told, trouble=True)


def _keep_none(reason: str, *, trouble: bool = False) -> None:
    _kept.decided, _kept.folder, _kept.reason, _kept.trouble = True, None, reason, trouble


def _usual() -> Path:
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # the standard has a relative path ignored
    return (named if named.is_absolute() else Path.home() / ".cache") / "rfspec"


def _chosen(name: str, path: Given) -> Path:
    try:
        return _made(Path(os.path.abspath(Path(path).expanduser())))
    except (OSError, RuntimeError, TypeError, ValueError) as e:
        shown = f"{str(path)!r:.300}" if isinstance(path, os.PathLike) else f"{path!r:.300}"
        raise ValueError(
            f"{name} must be a folder of your own that can be written, got {shown}: "
            f"{getattr(e, 'strerror', None) or e}"
        ) from e


def _made(base: Path) -> Path:
    folder = base / _name()
    for made in (base, folder):
        made.mkdir(mode=0o700, parents=True, exist_ok=True)
        _refuse_what_others_write(made)
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise PermissionError(f"{folder} cannot be written")
    with suppress(OSError):
        _tidy(base, folder)
    return folder


def _refuse_what_others_write(folder: Path) -> None:
    if os.name != "posix":
        return
    # a link is looked at as well as what it leads to
    link, found = folder.lstat(), folder.stat()
    if {link.st_uid, found.st_uid} != {os.geteuid()}:
        raise PermissionError(f"{folder} belongs to another user")
    if stat.S_IMODE(found.st_mode) & 0o022:
        raise PermissionError(f"others may write to {folder} (chmod go-w would mend it)")


def _name() -> str:
    # all that kernels depend on, beside what JAX puts into the name of each
    return f"jaxlib-{version('jaxlib')}-{platform.machine()}-{_cpu()}"


def _cpu() -> str:
    # a file of hundreds of kilobytes where there are many cores, and its beginning says all
    about = [platform.processor()]
    with suppress(OSError), Path("/proc/cpuinfo").open(errors="replace") as file:
        wanted = ("model name", "flags", "Features", "CPU implementer", "CPU part")
        about += [line for line in file.read(16384).split("\n\n")[0].split("\n")
                  if line.startswith(wanted)]  # fmt: skip
    return hashlib.sha256("\n".join(about).encode()).hexdigest()[:8]


def _keep_in(folder: Path) -> None:
    if _kept.folder != folder:
        _restore()
        names = (_DIRECTORY, _THRESHOLD)
        _kept.before = {name: getattr(jax.config, name) for name in names}
        _forget_the_folder_before()
        jax.config.update(_DIRECTORY, str(folder))
        if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
            jax.config.update(_THRESHOLD, min(QUICK, _kept.before[_THRESHOLD]))
        # a kernel that another process is writing or has removed is compiled again
        warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache")
    _kept.decided, _kept.folder, _kept.reason, _kept.trouble = True, folder, "", False


def _let_go(reason: str) -> None:
    _restore()
    _keep_none(reason)


def _restore() -> None:
    if _kept.folder is not None and getattr(jax.config, _DIRECTORY) == str(_kept.folder):
        for name, value in _kept.before.items():
            jax.config.update(name, value)
        _forget_the_folder_before()
        _kept.folder = None


def _give_way() -> None:
    # the user has named another folder meanwhile, of which JAX takes no notice by itself
    with _deciding:
        if _kept.folder is not None:
            if getattr(jax.config, _THRESHOLD) == QUICK:
                jax.config.update(_THRESHOLD, _kept.before[_THRESHOLD])
            _forget_the_folder_before()
            _keep_none(f"JAX has a cache of its own: {_DIRECTORY} is set")


def _forget_the_folder_before() -> None:
    # JAX looks at its setting once; it has a public way to have it look again
    from jax.experimental.compilation_cache import compilation_cache

    compilation_cache.reset_cache()


# --------------------------------------------------------------------------------------------------
# how much is kept


def files_in(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    # other processes may add to them or remove them at the same time
    for path in folder.rglob("*"):
        with suppress(OSError):
            found = path.lstat()
            if stat.S_ISREG(found.st_mode) and path.name != _USED:
                yield path, found


def _tidy(base: Path, folder: Path) -> None:
    used, now = folder / _USED, time.time()
    if used.exists() and used.stat().st_mtime > now - DAY:
        return
    used.touch()
    for other in base.glob("jaxlib-*"):
        stamp = other / _USED
        last = (stamp if stamp.exists() else other).stat().st_mtime
        if other != folder and last < now - LEFT_ALONE:
            shutil.rmtree(other, ignore_errors=True)
    _remove_least_used(folder, now)


def _remove_least_used(folder: Path, now: float) -> None:
    found = sorted(files_in(folder), key=lambda f: max(f[1].st_atime, f[1].st_mtime))
    # what a process that was killed has left
    empty = [path for path, s in found if not s.st_size and s.st_mtime < now - 60]
    surplus = sum(s.st_size for _, s in found) - MOST
    if surplus > 0:
        surplus += MOST // 5
    for path, s in found:
        if surplus <= 0:
            break
        surplus -= s.st_size
        empty.append(path)
    for path in empty:
        with suppress(OSError):
            path.unlink()


def _count(event: str, **_: Any) -> None:
    if event in (ASKED, FOUND, WRITTEN, READ, TRACED):
        events[event] += 1


jax.monitoring.register_event_listener(_count)
