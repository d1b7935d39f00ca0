"""A matrix of normal numbers whose rows come in blocks, each drawn from a key of its own.

The numbers therefore do not depend on the devices that the blocks are spread over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from ..numerics.checks import random_key
from ..numerics.types import Given, Key, Matrix, Reals, Truths, Vector, Whole, Wholes

AXIS = "rows"
BLOCK = 256  # rows drawn from one key

SHARDED, REPLICATED = PartitionSpec(AXIS), PartitionSpec()


def mesh_of_all() -> Mesh:
    return Mesh(np.array(jax.devices()), (AXIS,))


class NormalRows(eqx.Module):
    """A matrix with iid N(0, 1) entries.

    Attributes
    ----------
    key : JAX random key
    stored : array of shape (blocks, block, columns), or None
        Sharded over its blocks. With None every block is drawn anew in every product.
    rows, columns, block : int
        Shape, and rows of a block. The last block is padded with rows of zeros, and there are as
        many blocks on every device.
    """

    key: Key
    stored: Any
    rows: int = eqx.field(static=True)
    columns: int = eqx.field(static=True)
    block: int = eqx.field(static=True)
    mesh: Mesh = eqx.field(static=True)

    @property
    def blocks(self) -> int:
        return padded(self.rows, self.block, self.mesh.size) // self.block

    def draw(self, key: Key, index: Whole) -> Matrix:
        A = jax.random.normal(jax.random.fold_in(key, index), (self.block, self.columns), float)
        return jnp.where(self.is_no_padding(index)[:, None], A, 0.0)

    def is_no_padding(self, index: Whole) -> Truths:
        return index * self.block + jnp.arange(self.block) < self.rows

    def own_blocks(self) -> Wholes:
        # indices of the blocks of this device
        count = self.blocks // self.mesh.size
        return jax.lax.axis_index(AXIS) * count + jnp.arange(count)

    def cut(self, v: Vector) -> Matrix:
        # a vector of length `rows` in blocks; `join` undoes it
        return jnp.pad(v, (0, self.blocks * self.block - self.rows)).reshape(
            self.blocks, self.block
        )

    def join(self, v: Matrix) -> Vector:
        return v.reshape(-1)[: self.rows]

    def apply(self, u: Vector) -> Matrix:
        # Au in blocks
        def local(key: Key, stored: Reals | None, u: Vector) -> Matrix:
            if stored is not None:
                return (stored.reshape(-1, self.columns) @ u).reshape(-1, self.block)
            return jax.lax.map(lambda b: self.draw(key, b) @ u, self.own_blocks())

        return self.on_devices(local, (REPLICATED, SHARDED, REPLICATED), SHARDED)(
            self.key, self.stored, u
        )

    def adjoint(self, v: Matrix) -> Vector:
        # Aᵀv for v in blocks
        def local(key: Key, stored: Reals | None, v: Matrix) -> Vector:
            if stored is not None:
                return jax.lax.psum(v.reshape(-1) @ stored.reshape(-1, self.columns), AXIS)
            add = lambda total, bv: (total + bv[1] @ self.draw(key, bv[0]), None)
            return jax.lax.psum(
                jax.lax.scan(add, jnp.zeros(self.columns), (self.own_blocks(), v))[0], AXIS
            )

        return self.on_devices(local, (REPLICATED, SHARDED, SHARDED), REPLICATED)(
            self.key, self.stored, v
        )

    def on_devices(self, local: Callable[..., Any], takes: Any, gives: Any) -> Callable[..., Any]:
        return jax.shard_map(
            local, mesh=self.mesh, in_specs=takes, out_specs=gives, check_vma=False
        )


def padded(rows: int, block: int, devices: int) -> int:
    # to whole blocks, as many on every device
    return -(-rows // (block * devices)) * devices * block


@jax.jit
def _store(A: NormalRows) -> Reals:
    local = lambda key: jax.lax.map(lambda b: A.draw(key, b), A.own_blocks())
    return A.on_devices(local, REPLICATED, SHARDED)(A.key)


def with_blocks(A: NormalRows, stored: Reals | None) -> NormalRows:
    return eqx.tree_at(lambda A: A.stored, A, stored, is_leaf=lambda x: x is None)


def stored_if(store: bool, A: NormalRows) -> NormalRows:
    return with_blocks(A, _store(A)) if store else A


def portable(key: Given) -> Key:
    # bound to no device, so that every process may use it
    key = random_key("key", key)
    data: Any = np.asarray(jax.random.key_data(key))
    return jax.random.wrap_key_data(data, impl=jax.random.key_impl(key))
