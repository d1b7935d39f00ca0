"""Writes result files that are never half-written.

The content is made in memory, written to a temporary file in the same folder, and renamed.
"""

from __future__ import annotations

import csv
import io
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a failure inside into an OSError that says which file could not be written, and why."""
    try:
        yield
    except OSError as e:
        raise OSError(f"{path} could not be written: {e.strerror or e}") from e


def write_atomically(path: str | Path, content: bytes | str) -> Path:
    """Write the content to `path`, whole or not at all.

    A symbolic link stays, and its target is replaced. The new file keeps the permissions and the
    owner of the old one.

    Raises
    ------
    OSError
        If the file cannot be written. The old file is then as it was.
    """
    path = Path(path)
    with writing(path):
        target = Path(os.path.realpath(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".rfspec-{secrets.token_hex(8)}")
        try:
            with temporary.open("xb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
            with suppress(FileNotFoundError):
                before = target.stat()
                with suppress(PermissionError):
                    os.chown(temporary, before.st_uid, before.st_gid)
                temporary.chmod(before.st_mode & 0o7777)
            temporary.replace(target)
        finally:
            with suppress(OSError):
                temporary.unlink()
    return path


def check_target(name: str, path: Path, *, folder: bool = False) -> None:
    """Raise a ValueError, before anything is computed, if `path` could not be written."""
    kind, shown = "folder" if folder else "file", f"{str(path)!r:.300}"
    try:
        target = Path(os.path.realpath(path))
        if target.exists() and not (target.is_dir() if folder else target.is_file()):
            raise ValueError(
                f"{name} must be a {kind}, got {shown}, which is "
                f"{'a folder' if target.is_dir() else 'none'}"
            )
        if target.is_file() and not os.access(target, os.W_OK):
            raise ValueError(
                f"{name} must be a file that may be written, got {shown}, which is read-only"
            )
        parent = (
            target
            if target.is_dir()
            else next(parent for parent in target.parents if parent.exists())
        )
        if not parent.is_dir():
            raise ValueError(f"{name} must lie in a folder, got {shown}, and {parent} is a file")
        if not os.access(parent, os.W_OK | os.X_OK):
            raise ValueError(f"{name} must lie in a folder that may be written, got {shown}")
    except OSError as e:
        raise ValueError(
            f"{name} must be a {kind} that may be written, got {shown}: {e.strerror or e}"
        ) from e


def origin() -> str:
    """What has made a file."""
    return f"rfspec {version('rfspec')}, JAX {version('jax')}"


def write_csv(path: str | Path, columns: Mapping[str, Any], comments: Iterable[str] = ()) -> Path:
    """A line of names, the comments, and the columns; shorter columns end in empty cells.

    The names come first because NumPy takes them from the first line.
    """
    arrays = {name: np.atleast_1d(np.asarray(c)) for name, c in columns.items()}
    rows = max((a.size for a in arrays.values()), default=0)
    text = io.StringIO(newline="")
    table = csv.writer(text)
    table.writerow(arrays)
    text.writelines(
        f"# {' '.join(comment.split())}{table.dialect.lineterminator}" for comment in comments
    )
    for i in range(rows):
        table.writerow([_every_digit(a[i]) if i < a.size else "" for a in arrays.values()])
    return write_atomically(path, text.getvalue())


def _every_digit(value: Any) -> str:
    plain = value.item() if isinstance(value, np.generic) else value
    return plain if isinstance(plain, str) else repr(plain)


def dataset_of(
    variables: Mapping[str, tuple[tuple[str, ...], Any]], **attributes: Any
) -> xarray.Dataset:
    """An xarray dataset of dimensionless variables, each given as (dimensions, values).

    A variable with the name of a dimension is its axis. The attributes are texts and numbers that
    say what was computed; those that are None are left out.
    """
    import xarray

    return xarray.Dataset(
        {
            name: (dimensions, np.asarray(values), {"units": "1"})
            for name, (dimensions, values) in variables.items()
        },
        attrs={name: value for name, value in attributes.items() if value is not None},
    )


def write_dataset(path: str | Path, dataset: Any) -> Path:
    """Write an xarray dataset as a netCDF file."""
    return write_atomically(path, bytes(dataset.to_netcdf(engine="h5netcdf")))


def write_figure(path: str | Path, figure: Any) -> Path:
    """Write a figure in the format that the suffix names."""
    picture = io.BytesIO()
    figure.savefig(picture, format=Path(path).suffix[1:] or None)
    return write_atomically(path, picture.getvalue())


def write_json(path: str | Path, value: Any) -> Path:
    return write_atomically(path, to_json(value) + "\n")


def to_json(value: Any, indent: int | None = 2) -> str:
    """JSON with NaN as null and infinity as "Infinity", which float() and Number() both read."""

    def plain(v: Any) -> Any:
        if isinstance(v, Mapping):
            return {k: plain(w) for k, w in v.items()}
        if isinstance(v, list | tuple):
            return [plain(w) for w in v]
        if v is None or isinstance(v, str | bool | int):
            return v
        array = np.asarray(v)
        if array.ndim:
            return [plain(w) for w in array]
        number = array.item()
        if isinstance(number, float) and np.isinf(number):
            return "Infinity" if number > 0 else "-Infinity"
        return None if isinstance(number, float) and np.isnan(number) else number

    return json.dumps(plain(value), indent=indent)
