"""A long run on disk: a file that knows which run it belongs to, and records of arrays,
each appended or all replaced.

    MAGIC, fingerprint of the run (64 characters); for each record its length, its CRC-32 and that
    of these two, and its arrays as an .npz file.

A run that was killed while it appended leaves the beginning of a record, which is cut off.
Everything else that is not as it was written is damage, and refused.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import struct
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np

from .io import check_target, write_atomically, writing

MAGIC = b"rfspec run 1\n"
LENGTH, CHECK = struct.Struct("<QI"), struct.Struct("<I")  # before each record
BEFORE = LENGTH.size + CHECK.size
INDEX = "index"  # of what was computed once


def fingerprint(*parts: Any) -> str:
    """A digest of anything made of arrays, numbers, texts, random keys and pytrees of them,
    to the last bit.

    It tells versions of the package apart too, whose numbers may differ.
    """
    digest = hashlib.sha256(version("rfspec").encode())
    for part in parts:
        leaves, structure = jax.tree.flatten(part)
        # functions by name, not by address
        digest.update(re.sub(r" at 0x[0-9a-f]+", "", str(structure)).encode())
        for leaf in leaves:
            if isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(
                leaf.dtype, jax.dtypes.prng_key
            ):
                leaf = jax.random.key_data(leaf)
            if isinstance(leaf, str) or callable(leaf):
                digest.update(getattr(leaf, "__qualname__", str(leaf)).encode())
            else:
                array = np.asarray(leaf)
                digest.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
    return digest.hexdigest()


def signature(model: Any) -> tuple[Any, np.ndarray]:
    """A model for a fingerprint: two functions of one name are told apart by their values."""
    return model, np.asarray(model.activation(jax.numpy.linspace(-8.0, 8.0, 129)))


class Checkpoint:
    """The records of a run at `path`, or nowhere if that is None.

    Parameters
    ----------
    path : path or None
    identity : str
        Fingerprint of everything that the run's numbers depend on.
    """

    def __init__(self, path: str | Path | None, identity: str):
        self.path = None if path is None else Path(path)
        self.identity = identity

    def load(self) -> list[dict[str, np.ndarray]]:
        """What was saved, record by record; nothing if there is no file.
        A file of another run is a ValueError.

        The rest of a record that was never finished is cut off.
        """
        if self.path is None:
            return []
        check_target("checkpoint", self.path)
        if not self.path.exists():
            return []
        with writing(self.path), self.path.open("r+b") as file:
            content = file.read()
            records, end = self._read(content)
            if end < len(content):
                file.truncate(end)
        return records

    def _read(self, content: bytes) -> tuple[list[dict[str, np.ndarray]], int]:
        """All whole records, and where the last one ends."""
        header = self._header()
        if header.startswith(content):
            return [], 0  # killed while it wrote the first bytes
        if content.startswith(b"PK"):
            raise self._refusal("a file of this version of rfspec", "of an older one")
        if not content.startswith(MAGIC):
            raise self._refusal("a file written by an earlier run", "which is none")
        if not content.startswith(header):
            raise self._refusal("of a run with the same arguments", "of another one")
        records: list[dict[str, np.ndarray]] = []
        end = len(header)
        while end + BEFORE <= len(content):
            lengths, start = content[end : end + LENGTH.size], end + BEFORE
            (length, check), (whole,) = (
                LENGTH.unpack(lengths),
                CHECK.unpack_from(content, end + LENGTH.size),
            )
            record = content[start : start + length]
            if zlib.crc32(lengths) != whole or (
                len(record) == length and zlib.crc32(record) != check
            ):
                raise self._refusal(
                    "as an earlier run left it", f"damaged in record {len(records) + 1}"
                )
            if len(record) < length:
                break
            with np.load(io.BytesIO(record), allow_pickle=False) as arrays:
                records.append(dict(arrays))
            end = start + length
        return records, end

    def _refusal(self, rule: str, found: str) -> ValueError:
        return ValueError(
            f"checkpoint must be {rule}, got {self.path}, {found}: remove it or give another path"
        )

    def append(self, record: Mapping[str, Any]) -> None:
        """Add a record."""
        if self.path is None:
            return
        with writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab", buffering=0) as file:
                end = file.tell()
                rest = memoryview((b"" if end else self._header()) + _packed(record))
                try:
                    while rest:
                        rest = rest[file.write(rest) :]
                    os.fsync(file.fileno())
                except OSError:
                    with suppress(OSError):
                        file.truncate(end)
                    raise

    def replace(self, record: Mapping[str, Any]) -> None:
        """Put one record in place of all."""
        if self.path is not None:
            write_atomically(self.path, self._header() + _packed(record))

    def _header(self) -> bytes:
        return MAGIC + self.identity.encode()


def _packed(record: Mapping[str, Any]) -> bytes:
    """A record with what goes before it."""
    file = io.BytesIO()
    np.savez(file, **record)
    content = file.getvalue()
    lengths = LENGTH.pack(len(content), zlib.crc32(content))
    return lengths + CHECK.pack(zlib.crc32(lengths)) + content


def forget(path: str | Path | None) -> None:
    """Remove the state of a run whose result is safe."""
    if path is not None:
        Path(path).unlink(missing_ok=True)


def resumed(
    count: int,
    once: Callable[[int], Mapping[str, Any]],
    saved: Checkpoint,
    progress: Callable[[Any], Any] = iter,
) -> list[dict[str, np.ndarray]]:
    """What once(i) returns for each i < count;
    what an interrupted run has left on disk is not computed again.
    """
    found = {int(record.pop(INDEX)): record for record in saved.load()}
    for i in progress([i for i in range(count) if i not in found]):
        found[i] = {name: np.asarray(value) for name, value in once(i).items()}
        saved.append({INDEX: i, **found[i]})
    return [found[i] for i in range(count)]
