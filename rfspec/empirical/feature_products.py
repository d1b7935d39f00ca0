r"""Products with the U of sampled features, the noise integrated out.

With Ŵ the rows w_i/|w_i| and C_k the Hermite coefficients of ``rfspec.empirical.features``,

    U ≈ C_0C_0ᵀ/n + (ŴŴᵀ)∘(C_1C_1ᵀ/n) + D,   ((ŴŴᵀ)∘(C_1C_1ᵀ))v = rowsum(C_1 ∘ Ŵ(Ŵᵀ diag(v) C_1)),

with D diagonal such that diag U is exactly E_w[σ²]. The layers k ≥ 2 off the diagonal are left
out; `error` says how much that is (``rfspec.empirical.omitted_layers``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from ..models.model import RandomFeatureModel
from ..numerics.types import Given, Key, Matrix, Real, Reals, Vector, Whole
from .hermite import coefficients, norms
from .normal_rows import AXIS, BLOCK, REPLICATED, SHARDED, NormalRows, padded
from .omitted_layers import omitted_size
from .operators import Operator, shared_parts

PANEL = 256  # samples that the features see at a time


class FeatureOperator(Operator):
    """U ≈ C_0C_0ᵀ/n + (ŴŴᵀ)∘(C_1C_1ᵀ/n) + D, as ``rf.empirical.feature_operator`` makes it.

    Attributes
    ----------
    W, X : NormalRows
        W (p×d); the samples in rows, before Σ^{1/2} (n×d), which every device draws anew, panel by
        panel, in every product.
    layers : array, shape (panels, blocks, 2, block, panel), or None
        C_0 and C_1; with None they are computed anew in every product.
    diagonal : array
        D, in blocks.
    model : RandomFeatureModel
    mu0 : float
        Mean of σ, which is subtracted.
    spread : array, shape (d,)
        Roots of the eigenvalues of Σ.
    step : float
        Of the quadrature over the noise.
    """

    X: NormalRows
    layers: Any
    diagonal: Any
    model: RandomFeatureModel
    mu0: Real
    spread: Vector
    step: float = eqx.field(static=True)

    def samples(self, key: Key, panel: Whole) -> Matrix:
        return self.spread[None, :] * self.X.draw(key, panel)

    def expand(self, W: Matrix, index: Whole, X: Matrix, panel: Whole) -> tuple[Reals, Vector]:
        # C_0 and C_1 of a block and a panel, 0 in the padding, and the panel's part of nD
        process, sigma = self.model.process, self.model.activation
        row, sample = self.W.is_no_padding(index), self.X.is_no_padding(panel)
        width = process.beta * jnp.where(row, norms(W), 1.0)
        Y = process.alpha * W @ X.T / np.sqrt(self.W.columns)
        C, square = coefficients(sigma, Y, width, self.mu0, self.step, 2)
        C = C * (row[:, None] & sample[None, :])[None]
        # samples of the padding are at y = 0
        padding = self.X.block - jnp.sum(sample)
        _, middle = coefficients(sigma, jnp.zeros((self.W.block, 1)), width, self.mu0, self.step, 2)
        part = self.X.block * square - padding * middle - jnp.sum(C**2, axis=(0, 2))
        return C, jnp.where(row, part, 0.0)

    def unit(self, W: Matrix, index: Whole) -> Matrix:
        # Ŵ of a block
        omega = jnp.where(self.W.is_no_padding(index), norms(W), 1.0)
        return W / (omega[:, None] * np.sqrt(self.W.columns))

    def own_blocks(
        self, key: Key, stored: Reals | None
    ) -> tuple[Any, Callable[[Any], tuple[Any, Any]]]:
        # what to loop over, and how an item of it becomes a block of W and its index
        indices = self.W.own_blocks()
        if stored is not None:
            return (stored, indices), lambda item: item
        return indices, lambda index: (self.W.draw(key, index), index)

    def on_blocks(self, v: Matrix) -> Matrix:
        """Uv for v in blocks: panel by panel Ŵᵀ diag(v) C_1 and C_0ᵀv are summed over the rows,
        and then multiplied by them.
        """
        n = self.X.rows
        panels = jnp.arange(padded(n, self.X.block, 1) // self.X.block)

        def local(
            w_key: Key, x_key: Key, stored: Reals | None, layers: Reals | None, v: Matrix
        ) -> Matrix:
            items, block = self.own_blocks(w_key, stored)

            def panel(total: Matrix, one: tuple[Whole, Reals | None]) -> tuple[Matrix, None]:
                index, C = one
                X = None if C is not None else self.samples(x_key, index)

                def gather(
                    sums: tuple[Matrix, Vector], part: Any
                ) -> tuple[tuple[Matrix, Vector], Reals | None]:
                    item, v, C = part
                    W, b = block(item)
                    C = self.expand(W, b, X, index)[0] if C is None else C
                    M = sums[0] + self.unit(W, b).T @ (v[:, None] * C[1])
                    return (M, sums[1] + v @ C[0]), None if layers is not None else C

                def scatter(_: Any, part: Any) -> tuple[None, Vector]:
                    item, C = part
                    return None, C[0] @ g + jnp.sum(C[1] * (self.unit(*block(item)) @ M), axis=1)

                start = jnp.zeros((self.W.columns, self.X.block)), jnp.zeros(self.X.block)
                sums, made = jax.lax.scan(gather, start, (items, v, C))
                M, g = jax.lax.psum(sums, AXIS)
                _, out = jax.lax.scan(scatter, None, (items, made if C is None else C))
                return total + out, None

            return jax.lax.scan(panel, jnp.zeros_like(v), (panels, layers))[0] / n

        takes = (REPLICATED, REPLICATED, SHARDED, PartitionSpec(None, AXIS), SHARDED)
        out = self.W.on_devices(local, takes, SHARDED)(
            self.W.key, self.X.key, self.W.stored, self.layers, v
        )
        return out + self.diagonal * v

    @property
    def floor(self) -> float:
        """The least entry of D, since the other terms have no negative eigenvalue:
        (ŴŴᵀ)∘(C_1C_1ᵀ) by Schur's theorem.
        """
        return float(_least_diagonal(self))


@jax.jit
def _least_diagonal(operator: FeatureOperator) -> Real:
    return jnp.maximum(jnp.min(operator.W.join(operator.diagonal)), 0.0)


@eqx.filter_jit
def _diagonal_and_layers(operator: FeatureOperator, keep: bool) -> tuple[Matrix, Reals | None]:
    n = operator.X.rows
    panels = jnp.arange(padded(n, operator.X.block, 1) // operator.X.block)

    def local(w_key: Key, x_key: Key, stored: Reals | None) -> tuple[Matrix, Reals | None]:
        items, block = operator.own_blocks(w_key, stored)

        def panel(total: Matrix, index: Whole) -> tuple[Matrix, Reals | None]:
            X = operator.samples(x_key, index)

            def one(_: Any, item: Any) -> tuple[None, tuple[Reals | None, Vector]]:
                C, part = operator.expand(*block(item), X, index)
                return None, (C if keep else None, part)

            _, (C, part) = jax.lax.scan(one, None, items)
            return total + part, C

        start = jnp.zeros((operator.W.own_blocks().size, operator.W.block))
        total, C = jax.lax.scan(panel, start, panels)
        return total / n, C

    takes, gives = (REPLICATED, REPLICATED, SHARDED), (SHARDED, PartitionSpec(None, AXIS))
    run = operator.W.on_devices(local, takes, gives)
    return run(operator.W.key, operator.X.key, operator.W.stored)


def feature_operator(
    key: Given,
    model: RandomFeatureModel,
    d: int | None = None,
    *,
    block: int = BLOCK,
    store: bool = True,
    mesh: Mesh | None = None,
) -> FeatureOperator:
    """Products with sampled features' U ≈ C_0C_0ᵀ/n + (ŴŴᵀ)∘(C_1C_1ᵀ/n) + D, at dimension d.

    C_0 and C_1 are the first two layers of the Hermite expansion in the noise, D makes the diagonal
    exact, and the layers k ≥ 2 off the diagonal are left out.

    Parameters
    ----------
    key, model, d, mesh
        As for ``rf.empirical.gaussian_operator``.
    block : int
        Rows of W drawn from one key, at least 1; a different `block` is a different draw.
    store : bool
        Keep W, C_0 and C_1, p(d + 2n) numbers, or make them anew in every product.

    Returns
    -------
    FeatureOperator
        A function of v, shape (p,) or (p, k), to Uv of the same shape. `.error` estimates from
        random pairs of rows what U leaves out, as Frobenius norm over √p in the unit of λ; `.floor`
        is a lower bound of the eigenvalues. A product takes 4pdn operations.

    Raises
    ------
    ValueError
        As for ``rf.empirical.gaussian_operator``.

    Notes
    -----
    U is equation (2) with the noise integrated out.

    Examples
    --------
    >>> import jax, numpy as np, rfspec as rf
    >>> model = rf.RandomFeatureModel(psi_p=8.0, psi_n=2.0, t=0.05)
    >>> U = rf.empirical.feature_operator(jax.random.key(0), model, d=8)
    >>> U(np.ones((64, 3))).shape, 0.0 < U.error < 0.1
    ((64, 3), True)
    """
    shared = shared_parts(key, model, d, block, store, mesh)
    (x_key, pairs_key), W, n, mu0 = shared.keys, shared.W, shared.n, shared.constants.mu0
    X = NormalRows(x_key, None, n, W.columns, min(PANEL, n), W.mesh)
    error, step = omitted_size(pairs_key, model, W, X, mu0, shared.spread)
    operator = FeatureOperator(W, error, X, None, None, model, mu0, shared.spread, step)
    diagonal, layers = _diagonal_and_layers(operator, store)
    return eqx.tree_at(
        lambda o: (o.layers, o.diagonal), operator, (layers, diagonal), is_leaf=lambda x: x is None
    )
