"""The state of a long run on disk: a file of records, which knows the run that it belongs to.

    MAGIC, fingerprint of the run (64 characters), records
    a record: its length L, its CRC-32, the CRC-32 of these two; an .npz file of L bytes

A run that is killed while it appends leaves the beginning of a record, which is cut off. Any other
difference from what was written is damage, and is refused.
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
# length and CRC-32 of a record, and the CRC-32 of these two
LENGTH, CHECK = struct.Struct("<QI"), struct.Struct("<I")
HEAD = LENGTH.size + CHECK.size
# the key in a record of `resumed` that holds its i
INDEX = "index"


def fingerprint(*parts: Any) -> str:
    """A digest of arrays, numbers, texts, random keys and pytrees of them, to the last bit.

    Versions of the package differ in it too, since their numbers may differ.
    """
    digest = hashlib.sha256(version("rfspec").encode())
    for part in parts:
        leaves, structure = jax.tree.flatten(part)
        # a function is known by its name; its address differs from run to run
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
    """A model for `fingerprint`, with values of σ that tell two functions of one name apart."""
    return model, np.asarray(model.activation(jax.numpy.linspace(-8.0, 8.0, 129)))


class Checkpoint:
    """The records of a run.

    Parameters
    ----------
    path : path or None
        The file. With None nothing is kept.
    identity : str
        Fingerprint of everything that the run's numbers depend on.
    """

    def __init__(self, path: str | Path | None, identity: str):
        self.path = None if path is None else Path(path)
        self.identity = identity

    def load(self) -> list[dict[str, np.ndarray]]:
        """The saved records; none if there is no file. An unfinished record is cut off.

        Raises
        ------
        ValueError
            If the file belongs to another run, or is damaged.
        OSError
            If the file cannot be read and written.
        """
        if self.path is None:
            return []
        check_target("checkpoint", self.path)
        if not self.path.exists():
            return []
        with writing(self.path), self.path.open("r+b") as file:
            content = file.read()
            records, end = self._whole_records(content)
            if end < len(content):
                file.truncate(end)
        return records

    def _whole_records(self, content: bytes) -> tuple[list[dict[str, np.ndarray]], int]:
        # returns the end of the last whole record, too
        header = self._header()
        # a run that was killed while it wrote the header
        if header.startswith(content):
            return [], 0
        if content.startswith(b"PK"):
            raise self._refusal("a file of this version of rfspec", "of an older one")
        if not content.startswith(MAGIC):
            raise self._refusal("a file written by an earlier run", "which is none")
        if not content.startswith(header):
            raise self._refusal("of a run with the same arguments", "of another one")
        records: list[dict[str, np.ndarray]] = []
        end = len(header)
        while end + HEAD <= len(content):
            lengths, start = content[end : end + LENGTH.size], end + HEAD
            length, check = LENGTH.unpack(lengths)
            (check_of_lengths,) = CHECK.unpack_from(content, end + LENGTH.size)
            record = content[start : start + length]
            if zlib.crc32(lengths) != check_of_lengths or (
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

    def _refusal(self, rule: str, fault: str) -> ValueError:
        return ValueError(
            f"checkpoint must be {rule}, got {self.path}, {fault}: remove it or give another path"
        )

    def append(self, record: Mapping[str, Any]) -> None:
        """Add a record; a failure leaves the file as it was, an OSError."""
        if self.path is None:
            return
        with writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab", buffering=0) as file:
                end = file.tell()
                unwritten = memoryview((b"" if end else self._header()) + _packed(record))
                try:
                    while unwritten:
                        unwritten = unwritten[file.write(unwritten) :]
                    os.fsync(file.fileno())
                except OSError:
                    with suppress(OSError):
                        file.truncate(end)
                    raise

    def replace(self, record: Mapping[str, Any]) -> None:
        """Put one record in place of all; a failure leaves the file as it was, an OSError."""
        if self.path is not None:
            write_atomically(self.path, self._header() + _packed(record))

    def _header(self) -> bytes:
        return MAGIC + self.identity.encode()


def _packed(record: Mapping[str, Any]) -> bytes:
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
    """[once(i) for i < count]; what an interrupted run left on disk is not computed again."""
    records = {int(record.pop(INDEX)): record for record in saved.load()}
    for i in progress([i for i in range(count) if i not in records]):
        records[i] = {name: np.asarray(value) for name, value in once(i).items()}
        saved.append({INDEX: i, **records[i]})
    return [records[i] for i in range(count)]
