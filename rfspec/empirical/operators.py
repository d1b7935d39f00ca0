"""Products Uv for matrices U that are never formed, on one device or on many.

Rows of random numbers come in blocks, block b from ``fold_in(key, b)``, spread over a
one-dimensional mesh of devices. The numbers depend neither on how many devices there are nor on
whether the blocks are stored or drawn anew in every product.
"""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from ..models.classes import refuse_classes
from ..models.gaussian_equivalent import GaussianEquivalent, gaussian_equivalent
from ..models.model import RandomFeatureModel
from ..numerics.session import enter
from ..numerics.types import Given, Key, Matrix, Reals, Vector
from .draws import eigenvalues_of, sizes
from .normal_rows import NormalRows, mesh_of_all, portable, stored_if


class Operator(eqx.Module):
    """v → Uv; call it on a vector (p,) or on columns (p, k).

    Attributes
    ----------
    W : NormalRows
        Weights of the features, in blocks of rows; ``.rows`` is p, ``.columns`` is d.
    error : float
        Frobenius norm of what U leaves out, over √p, in the unit of λ. It bounds the Wasserstein-2
        distance by which the spectrum moves. 0 for the Gaussian equivalent.
    """

    W: NormalRows
    error: float

    def on_blocks(self, v: Matrix) -> Matrix:
        """Uv for v as ``W.cut`` makes it, and the result likewise."""
        raise NotImplementedError

    @property
    def floor(self) -> float:
        """A lower bound, of at least 0, of the eigenvalues."""
        raise NotImplementedError

    def __call__(self, v: Reals) -> Reals:
        """Uv, in the shape of v."""
        if np.ndim(v) not in (1, 2) or np.shape(v)[0] != self.W.rows:
            raise ValueError(
                f"v must be of shape (p,) or (p, k) with p = {self.W.rows}, got shape {np.shape(v)}"
            )
        return _product(self, v)


@jax.jit
def _product(operator: Operator, v: Reals) -> Reals:
    one = lambda v: operator.W.join(operator.on_blocks(operator.W.cut(v)))
    return one(v) if v.ndim == 1 else jax.vmap(one, 1, 1)(v)


class SharedParts(NamedTuple):
    """What both operators are made of; `keys` are for X, and for what only one of them has."""

    W: NormalRows
    n: int
    spread: Vector
    constants: GaussianEquivalent
    keys: tuple[Key, Key]


def shared_parts(
    key: Given,
    model: RandomFeatureModel,
    d: int | None,
    block: int,
    store: bool,
    mesh: Mesh | None,
) -> SharedParts:
    d, n, p = operator_sizes(model, d)
    mesh = mesh_of_all() if mesh is None else mesh
    w_key, *keys = jax.random.split(portable(key), 3)
    W = stored_if(store, NormalRows(w_key, None, p, d, block, mesh))
    spread = np.asarray(jnp.sqrt(eigenvalues_of(model, d)))
    constants = jax.tree.map(np.asarray, gaussian_equivalent(model))
    return SharedParts(W, n, spread, constants, tuple(keys))


def operator_sizes(model: RandomFeatureModel, d: int | None) -> tuple[int, int, int]:
    # (d, n, p), if there are operators of the model
    enter()
    refuse_classes(model, "the operator that forms no U")
    model.check_plain("the operator that forms no U", "noise_draws")
    return sizes(model, d)
