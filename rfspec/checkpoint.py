"""A long run on disk: arrays under one name, replaced as a whole, that know which run they belong to."""

from __future__ import annotations

import hashlib
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from .io import write_atomically

IDENTITY = "identity"


def fingerprint(*parts: Any) -> str:
    """A digest of anything made of arrays, numbers, texts, random keys and pytrees of them, to the last bit."""
    digest = hashlib.sha256()
    for part in parts:
        leaves, structure = jax.tree.flatten(part)
        digest.update(re.sub(r" at 0x[0-9a-f]+", "", str(structure)).encode())  # functions by name, not by address
        for leaf in leaves:
            if isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
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
    """The state of a run at `path`, or nowhere if that is None.

    Parameters
    ----------
    path : path or None
    identity : str
        Fingerprint of everything that the run's numbers depend on.
    """

    def __init__(self, path: str | Path | None, identity: str):
        self.path = None if path is None else Path(path)
        self.identity = identity

    def load(self) -> dict[str, np.ndarray] | None:
        """What was saved last; None if nothing was. A file of another run is a ValueError."""
        if self.path is None or not self.path.exists():
            return None
        try:
            with self.path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                state = dict(file)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as e:
            raise ValueError(f"checkpoint must be a file written by an earlier run, got {self.path} with {e}") from e
        if str(state.pop(IDENTITY, "")) != self.identity:
            raise ValueError(
                f"checkpoint must belong to a run with the same arguments, got {self.path} of another one: remove it "
                "or give another path"
            )
        return state

    def save(self, state: Mapping[str, Any]) -> None:
        """Replace what is there."""
        if self.path is None:
            return

        arrays: dict[str, Any] = {IDENTITY: self.identity, **state}

        def write(temporary: Path) -> None:
            with temporary.open("wb") as file:
                np.savez(file, **arrays)

        write_atomically(self.path, write)


def forget(path: str | Path | None) -> None:
    """Remove the state of a run whose result is safe."""
    if path is not None:
        Path(path).unlink(missing_ok=True)


def resumed(
    count: int, once: Callable[[int], Mapping[str, Any]], saved: Checkpoint, progress: Callable[[Any], Any] = iter
) -> list[dict[str, np.ndarray]]:
    """What once(i) returns for each i < count; what an interrupted run has left on disk is not computed again."""
    state = saved.load() or {}
    done = 1 + max((int(name.split("/")[0]) for name in state), default=-1)
    for i in progress(range(done, count)):
        state |= {f"{i}/{name}": np.asarray(value) for name, value in once(i).items()}
        saved.save(state)
    names = [name.split("/", 1)[1] for name in state if name.startswith("0/")]
    return [{name: state[f"{i}/{name}"] for name in names} for i in range(count)]
