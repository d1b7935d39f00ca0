"""Values that are equal, and hash alike, where all their numbers and names are equal."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

import equinox as eqx
import jax
import numpy as np

from .checks import concrete


class Frozen(eqx.Module):
    """A frozen pytree that can be a key of a dictionary and a member of a set.

    While JAX traces it, it has no hash, and equality is an array.
    """

    def __eq__(self, other: object) -> Any:
        if type(other) is not type(self):
            return False
        if not concrete(*jax.tree.leaves((self, other))):
            return eqx.tree_equal(self, other)
        return _contents(self) == _contents(other)

    def __hash__(self) -> int:
        if not concrete(*jax.tree.leaves(self)):
            raise TypeError(f"a {type(self).__name__} that JAX traces has no hash")
        return hash(_contents(self))


def _contents(thing: Any) -> Any:
    if is_dataclass(thing):
        parts = tuple(_contents(getattr(thing, field.name)) for field in fields(thing))
        return type(thing), parts
    if isinstance(thing, tuple):
        return tuple(_contents(item) for item in thing)
    if isinstance(thing, int | float | np.generic | np.ndarray | jax.Array):
        numbers = np.asarray(thing)
        return numbers.shape, tuple(numbers.ravel().tolist())
    return thing
