"""Rows of normal numbers, drawn block by block from keys of their own on whatever devices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from ..numerics.types import Key, Matrix, Reals, Truths, Vector, Whole, Wholes

AXIS = "rows"
BLOCK = 256  # rows of W and Ω drawn from one key


SHARDED, REPLICATED = PartitionSpec(AXIS), PartitionSpec()


def mesh_of_all() -> Mesh:
    """All devices of all processes in a row."""
    return Mesh(np.array(jax.devices()), (AXIS,))


class NormalRows(eqx.Module):
    """A matrix with iid N(0, 1) entries whose rows come in blocks, each from its own key.

    Attributes
    ----------
    key : JAX random key
    stored : array of shape (blocks, block, columns), or None
        Sharded over its blocks; None draws every block anew in every product.
    rows, columns, block : int
        Blocks are padded with rows of zeros, and their number to a multiple of the number of
        devices.
    """

    key: Key
    stored: Any
    rows: int = eqx.field(static=True)
    columns: int = eqx.field(static=True)
    block: int = eqx.field(static=True)
    mesh: Mesh = eqx.field(static=True)

    @property
    def blocks(self) -> int:
        """Blocks, with those that are padding."""
        return padded(self.rows, self.block, self.mesh.size) // self.block

    def draw(self, key: Key, index: Whole) -> Matrix:
        """One block, shape (block, columns)."""
        A = jax.random.normal(jax.random.fold_in(key, index), (self.block, self.columns), float)
        return jnp.where(self.inside(index)[:, None], A, 0.0)

    def inside(self, index: Whole) -> Truths:
        """Which rows of a block are no padding."""
        return index * self.block + jnp.arange(self.block) < self.rows

    def here(self) -> Wholes:
        """Indices of the blocks of this device."""
        count = self.blocks // self.mesh.size
        return jax.lax.axis_index(AXIS) * count + jnp.arange(count)

    def cut(self, v: Vector) -> Matrix:
        """A vector of length `rows` in blocks."""
        return jnp.pad(v, (0, self.blocks * self.block - self.rows)).reshape(
            self.blocks, self.block
        )

    def join(self, v: Matrix) -> Vector:
        """Blocks to a vector of length `rows`."""
        return v.reshape(-1)[: self.rows]

    def apply(self, u: Vector) -> Matrix:
        """Au in blocks, for u of length `columns`."""

        def local(key: Key, stored: Reals | None, u: Vector) -> Matrix:
            if stored is not None:
                return (stored.reshape(-1, self.columns) @ u).reshape(-1, self.block)
            return jax.lax.map(lambda b: self.draw(key, b) @ u, self.here())

        return self.spread(local, (REPLICATED, SHARDED, REPLICATED), SHARDED)(
            self.key, self.stored, u
        )

    def adjoint(self, v: Matrix) -> Vector:
        """Aᵀv for v in blocks."""

        def local(key: Key, stored: Reals | None, v: Matrix) -> Vector:
            if stored is not None:
                return jax.lax.psum(v.reshape(-1) @ stored.reshape(-1, self.columns), AXIS)
            add = lambda total, bv: (total + bv[1] @ self.draw(key, bv[0]), None)
            return jax.lax.psum(
                jax.lax.scan(add, jnp.zeros(self.columns), (self.here(), v))[0], AXIS
            )

        return self.spread(local, (REPLICATED, SHARDED, SHARDED), REPLICATED)(
            self.key, self.stored, v
        )

    def spread(self, local: Callable[..., Any], takes: Any, gives: Any) -> Callable[..., Any]:
        """A function of what one device holds, run on all of them."""
        return jax.shard_map(
            local, mesh=self.mesh, in_specs=takes, out_specs=gives, check_vma=False
        )


def padded(rows: int, block: int, devices: int) -> int:
    """Rows with the padding that makes whole blocks, equally many on each device."""
    return -(-rows // (block * devices)) * devices * block


@jax.jit
def _store(A: NormalRows) -> Reals:
    local = lambda key: jax.lax.map(lambda b: A.draw(key, b), A.here())
    return A.spread(local, REPLICATED, SHARDED)(A.key)


def kept(A: NormalRows, store: bool) -> NormalRows:
    return (
        eqx.tree_at(lambda A: A.stored, A, _store(A), is_leaf=lambda x: x is None) if store else A
    )


def portable(key: Any) -> Key:
    """A key bound to no device, so that every process may use it."""
    try:
        data: Any = np.asarray(jax.random.key_data(key))
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(key))
    except (TypeError, AttributeError, ValueError) as e:
        raise ValueError(
            f"key must be a JAX random key such as jax.random.key(0), got {key!r:.100}"
        ) from e
