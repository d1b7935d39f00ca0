"""Samples from files: .npy, .npz and .csv, with one sentence for whatever is wrong with them."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np


def read_samples(path: Path, key: str | None = None) -> np.ndarray:
    """A matrix of samples from a .npy, .npz or .csv file;
    `key` names one of several arrays of a .npz file.
    """
    try:
        there = path.is_file()
    except OSError:  # a name that is too long
        there = False
    if not there:
        raise ValueError(f"data must be an existing file, got {path}")
    if key is not None and path.suffix != ".npz":
        raise ValueError(f"key goes with a .npz file, got {path}")
    if path.suffix == ".npz":
        return _read_npz(path, key)
    with _reading(path):
        if path.suffix == ".csv":
            return _read_csv(path)
        if path.suffix == ".npy":
            with path.open("rb") as file:
                return _read_npy(file, path.stat().st_size)
    raise ValueError(f"data must be a .npy, .npz or .csv file, got {path}")


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Whatever the parsers of a file raise, which follows no rule where it is damaged,
    as a ValueError.
    """
    try:
        yield
    except Exception as e:
        raise ValueError(
            f"data must be a numeric matrix, got {path} with {e or type(e).__name__}"
        ) from e


def _read_npz(path: Path, key: str | None) -> np.ndarray:
    with _reading(path), ZipFile(path) as members:
        files = {member.filename.removesuffix(".npy"): member for member in members.infolist()}
    if key is None and len(files) == 1:
        (key,) = files
    if key is None or key not in files:
        names = ", ".join(files) or "of which there are none"
        raise ValueError(f"key must be one of the arrays in {path}, {names}, got {key!r}")
    with _reading(path), ZipFile(path) as members, members.open(files[key]) as file:
        return _read_npy(file, files[key].file_size)


def _read_npy(file: Any, size: int) -> np.ndarray:
    """An array, refused before it is allocated if it claims to be larger than its file,
    or is than memory.
    """
    read = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}
    major, _ = np.lib.format.read_magic(file)
    if major not in read:
        raise ValueError(f"an array of format {major}")
    shape, _, dtype = read[major](file)
    numbers = math.prod(shape)
    if min(shape, default=0) < 0 or numbers * dtype.itemsize > size:
        raise ValueError(f"a header of shape {shape} for {size} bytes")
    require_memory(numbers, "the data", "take fewer samples")
    file.seek(0)
    return np.lib.format.read_array(file, allow_pickle=False)


def _read_csv(path: Path) -> np.ndarray:
    """Numbers separated by commas, under a header or not, between comments that begin with "#";
    a header is a first line without a number.
    """
    with path.open(encoding="utf-8-sig") as file:
        at, first = next(_table_lines(file), (0, ""))
    header = all(cell.strip() and not _is_number(cell) for cell in first.split(","))
    skipped = at + 1 if header else 0
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "loadtxt: input contained no data")
            return np.loadtxt(path, delimiter=",", ndmin=2, skiprows=skipped, encoding="utf-8-sig")
    except ValueError as e:  # numpy counts rows of numbers, from 0
        with path.open(encoding="utf-8-sig") as file:
            rows = [i for i, _ in _table_lines(file) if i >= skipped]
        line = lambda found: f"at line {rows[int(found[1])] + 1}"
        raise ValueError(re.sub(r"at row (\d+)(?=, column)", line, str(e))) from e


def _table_lines(file: Iterable[str]) -> Iterator[tuple[int, str]]:
    # those that numpy reads, each with its place in the file
    for i, line in enumerate(file):
        text = line.partition("#")[0].strip()
        if text:
            yield i, text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def require_memory(doubles: float, what: str, instead: str) -> None:
    """Refuse what will not fit into memory."""
    from ..empirical.memory import require  # takes as long to import as everything else

    require(doubles, what, instead)
