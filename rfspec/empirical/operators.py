r"""Products Uv for matrices U that are never formed, on one device or on many.

Gaussian equivalent, with every product factored (F = W/√d, X = Σ^{1/2}·normal, never FX):

    U = GGᵀ/n + b²FFᵀ + s²I,   G = κFX + vΩ.

Sampled features, with the noise integrated out (see ``rfspec.empirical.features``), Ŵ the rows
w_i/|w_i|:

    U ≈ C_0C_0ᵀ/n + (ŴŴᵀ)∘(C_1C_1ᵀ/n) + D,   ((ŴŴᵀ)∘(C_1C_1ᵀ))v = rowsum(C_1 ∘ Ŵ(Ŵᵀ diag(v) C_1)),

D diagonal such that diag U is exactly E_w[σ²]; the layers k ≥ 2 off the diagonal are left out, and
`error` says how much that is. One product takes 4pdn operations.

Rows come in blocks, block b from ``fold_in(key, b)``, spread over a one-dimensional mesh of
devices: the numbers depend neither on how many devices there are nor on whether blocks are stored
or drawn anew in every product.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ..models.gaussian_equivalent import GaussianEquivalent, gaussian_equivalent
from ..models.model import RandomFeatureModel
from ..numerics.session import enter
from ..numerics.types import Key, Matrix, Real, Reals, Vector, Whole, Wholes
from .draws import eigenvalues_of, sizes
from .hermite import coefficients, norms, quadrature_step
from .normal_rows import (
    AXIS,
    BLOCK,
    REPLICATED,
    SHARDED,
    NormalRows,
    kept,
    mesh_of_all,
    padded,
    portable,
)

PANEL = 256  # samples that the features see at a time
# layers, up to this one, are measured where they are left out; beyond they are bounded
OMITTED = 24
PAIRS = 64  # rows among whose pairs the omitted layers are measured


class Operator(eqx.Module):
    """v → Uv; call it on a vector (p,) or on columns (p, k).

    Attributes
    ----------
    error : float
        Frobenius norm of what U leaves out, over √p, in the unit of λ: a bound of the Wasserstein-2
        distance by which the spectrum moves. 0 for the Gaussian equivalent.
    """

    W: NormalRows
    error: float

    def on_blocks(self, v: Matrix) -> Matrix:
        """Uv for v as ``W.cut`` makes it, and the result likewise."""
        raise NotImplementedError

    @property
    def floor(self) -> float:
        """A number ≥ 0 that no eigenvalue is below."""
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


class GaussianOperator(Operator):
    """U = GGᵀ/n + b²FFᵀ + s²I from W (p×d), Xᵀ before Σ^{1/2} (n×d) and Ω (p×n);
    `spread` is the root of Σ.
    """

    X: NormalRows
    Omega: NormalRows
    constants: GaussianEquivalent
    spread: Vector

    def on_blocks(self, v: Matrix) -> Matrix:
        """Uv, W, Xᵀ and Ω each used twice."""
        ge, d, n = self.constants, self.W.columns, self.X.rows
        kappa, nu = jnp.sqrt(ge.kappa2), jnp.sqrt(ge.v2)
        a = self.W.adjoint(v) / jnp.sqrt(d)
        g = kappa * self.X.apply(self.spread * a) + nu * self.X.cut(self.Omega.adjoint(v))
        h = kappa / n * self.spread * self.X.adjoint(g) + ge.b2 * a
        return self.W.apply(h) / jnp.sqrt(d) + nu / n * self.Omega.apply(self.X.join(g)) + ge.s2 * v

    @property
    def floor(self) -> float:
        """s²: the other terms have no negative eigenvalue."""
        return float(self.constants.s2)


class FeatureOperator(Operator):
    """U ≈ C_0C_0ᵀ/n + (ŴŴᵀ)∘(C_1C_1ᵀ/n) + D, summed over panels of samples.

    `X` is always drawn anew, panel by panel, by every device; `layers` holds C_0 and C_1, shape
    (panels, blocks, 2, block, panel), or None, which computes them anew; `diagonal` is D in blocks.
    """

    X: NormalRows
    layers: Any
    diagonal: Any
    model: RandomFeatureModel
    mu0: Real
    spread: Vector
    step: float = eqx.field(static=True)

    def samples(self, key: Key, panel: Whole) -> Matrix:
        """Training samples in rows, those of one panel."""
        return self.spread[None, :] * self.X.draw(key, panel)

    def expand(self, W: Matrix, index: Whole, X: Matrix, panel: Whole) -> tuple[Reals, Vector]:
        """C_0 and C_1 of a block and a panel, zero in the padding, and the panel's part of nD."""
        process, sigma = self.model.process, self.model.activation
        inside = self.W.inside(index)
        width = process.beta * jnp.where(inside, norms(W), 1.0)
        Y = process.alpha * W @ X.T / np.sqrt(self.W.columns)
        C, square = coefficients(sigma, Y, width, self.mu0, self.step, 2)
        C = C * (inside[:, None] & self.X.inside(panel)[None, :])[None]
        # samples of the padding are at y = 0
        padding = self.X.block - jnp.sum(self.X.inside(panel))
        _, middle = coefficients(sigma, jnp.zeros((self.W.block, 1)), width, self.mu0, self.step, 2)
        part = self.X.block * square - padding * middle - jnp.sum(C**2, axis=(0, 2))
        return C, jnp.where(inside, part, 0.0)

    def unit(self, W: Matrix, index: Whole) -> Matrix:
        """Ŵ of a block."""
        return W / (
            jnp.where(self.W.inside(index), norms(W), 1.0)[:, None] * np.sqrt(self.W.columns)
        )

    def features(
        self, key: Key, stored: Reals | None
    ) -> tuple[Any, Callable[[Any], tuple[Any, Any]]]:
        """What to loop over for the blocks of this device,
        and how to make a block and its index of it.
        """
        here = self.W.here()
        if stored is not None:
            return (stored, here), lambda item: item
        return here, lambda index: (self.W.draw(key, index), index)

    def on_blocks(self, v: Matrix) -> Matrix:
        """Uv: for each panel Ŵᵀ diag(v) C_1 and C_0ᵀv are gathered over the rows,
        then spread over them.
        """
        n = self.X.rows
        panels = jnp.arange(padded(n, self.X.block, 1) // self.X.block)

        def local(
            w_key: Key, x_key: Key, stored: Reals | None, layers: Reals | None, v: Matrix
        ) -> Matrix:
            rows, block = self.features(w_key, stored)

            def panel(total: Matrix, at: tuple[Whole, Reals | None]) -> tuple[Matrix, None]:
                index, C = at
                X = None if C is not None else self.samples(x_key, index)

                def gather(
                    sums: tuple[Matrix, Vector], at: Any
                ) -> tuple[tuple[Matrix, Vector], Reals | None]:
                    row, v, C = at
                    W, b = block(row)
                    C = self.expand(W, b, X, index)[0] if C is None else C
                    M = sums[0] + self.unit(W, b).T @ (v[:, None] * C[1])
                    return (M, sums[1] + v @ C[0]), None if layers is not None else C

                def scatter(_: Any, at: Any) -> tuple[None, Vector]:
                    row, C = at
                    return None, C[0] @ g + jnp.sum(C[1] * (self.unit(*block(row)) @ M), axis=1)

                start = jnp.zeros((self.W.columns, self.X.block)), jnp.zeros(self.X.block)
                sums, made = jax.lax.scan(gather, start, (rows, v, C))
                M, g = jax.lax.psum(sums, AXIS)
                _, out = jax.lax.scan(scatter, None, (rows, made if C is None else C))
                return total + out, None

            return jax.lax.scan(panel, jnp.zeros_like(v), (panels, layers))[0] / n

        takes = (REPLICATED, REPLICATED, SHARDED, PartitionSpec(None, AXIS), SHARDED)
        out = self.W.spread(local, takes, SHARDED)(
            self.W.key, self.X.key, self.W.stored, self.layers, v
        )
        return out + self.diagonal * v

    @property
    def floor(self) -> float:
        """The least entry of D: the other terms have no negative eigenvalue,
        (ŴŴᵀ)∘(C_1C_1ᵀ) by Schur's theorem.
        """
        return float(_least(self))


@jax.jit
def _least(operator: FeatureOperator) -> Real:
    return jnp.maximum(jnp.min(operator.W.join(operator.diagonal)), 0.0)


@eqx.filter_jit
def _prepare(operator: FeatureOperator, keep: bool) -> tuple[Matrix, Reals | None]:
    """D, and the layers where they are to be kept."""
    n = operator.X.rows
    panels = jnp.arange(padded(n, operator.X.block, 1) // operator.X.block)

    def local(w_key: Key, x_key: Key, stored: Reals | None) -> tuple[Matrix, Reals | None]:
        rows, block = operator.features(w_key, stored)

        def panel(total: Matrix, index: Whole) -> tuple[Matrix, Reals | None]:
            X = operator.samples(x_key, index)

            def one(_: Any, row: Any) -> tuple[None, tuple[Reals | None, Vector]]:
                C, part = operator.expand(*block(row), X, index)
                return None, (C if keep else None, part)

            _, (C, part) = jax.lax.scan(one, None, rows)
            return total + part, C

        start = jnp.zeros((operator.W.here().size, operator.W.block))
        total, C = jax.lax.scan(panel, start, panels)
        return total / n, C

    takes, gives = (REPLICATED, REPLICATED, SHARDED), (SHARDED, PartitionSpec(None, AXIS))
    return operator.W.spread(local, takes, gives)(operator.W.key, operator.X.key, operator.W.stored)


def gaussian_operator(
    key: Key,
    model: RandomFeatureModel,
    d: int,
    *,
    block: int = BLOCK,
    store: bool = True,
    mesh: Mesh | None = None,
) -> GaussianOperator:
    """The operator of the Gaussian equivalent at dimension d, all blocks stored or none."""
    d, n, p = operator_sizes(model, d)
    mesh = mesh_of_all() if mesh is None else mesh
    w_key, x_key, o_key = jax.random.split(portable(key), 3)
    W = NormalRows(w_key, None, p, d, block, mesh)
    X = NormalRows(x_key, None, n, d, block, mesh)
    Omega = NormalRows(o_key, None, p, n, block, mesh)
    W, X, Omega = (kept(A, store) for A in (W, X, Omega))
    constants = jax.tree.map(np.asarray, gaussian_equivalent(model))
    return GaussianOperator(
        W, 0.0, X, Omega, constants, np.asarray(jnp.sqrt(eigenvalues_of(model, d)))
    )


def feature_operator(
    key: Key,
    model: RandomFeatureModel,
    d: int,
    *,
    block: int = BLOCK,
    store: bool = True,
    mesh: Mesh | None = None,
) -> FeatureOperator:
    """The operator of sampled features at dimension d, W, C_0 and C_1 stored or none of them."""
    d, n, p = operator_sizes(model, d)
    mesh = mesh_of_all() if mesh is None else mesh
    w_key, x_key, e_key = jax.random.split(portable(key), 3)
    W = kept(NormalRows(w_key, None, p, d, block, mesh), store)
    X = NormalRows(x_key, None, n, d, min(PANEL, n), mesh)
    mu0 = np.asarray(gaussian_equivalent(model).mu0)
    spread = np.asarray(jnp.sqrt(eigenvalues_of(model, d)))
    error, step = left_out(e_key, model, W, X, mu0, spread)
    operator = FeatureOperator(W, error, X, None, None, model, mu0, spread, step)
    diagonal, layers = _prepare(operator, store)
    return eqx.tree_at(
        lambda o: (o.layers, o.diagonal), operator, (layers, diagonal), is_leaf=lambda x: x is None
    )


def operator_sizes(model: RandomFeatureModel, d: int) -> tuple[int, int, int]:
    """(d, n, p) of a model of which operators exist."""
    enter()
    model.check_plain("the operator that forms no U", "noise_draws")
    return sizes(model, d)


def left_out(
    key: Key, model: RandomFeatureModel, W: NormalRows, X: NormalRows, mu0: Real, spread: Vector
) -> tuple[float, float]:
    """Frobenius norm per √p of the layers k ≥ 2 off the diagonal, from the pairs of a few rows;
    quadrature step.

    √((p - 1)·mean_{i≠j} E_ij²) with E = Σ_{k≥2} R^{∘k}∘(C_kC_kᵀ/n) for k below 24, and for those
    beyond the bound of Cauchy and Schwarz; two standard errors of the mean are added. Every process
    computes the same by itself.
    """
    draws = np.random.default_rng(np.asarray(jax.random.key_data(key)).tolist())
    chosen = np.sort(draws.choice(W.rows, min(PAIRS, W.rows), replace=False))
    W = eqx.tree_at(lambda W: W.stored, W, None, is_leaf=lambda x: x is None)
    rows, width, Y = _sampled(model, W, X, spread, chosen)
    step, quadrature = quadrature_step(model.activation, Y, width, mu0)
    if chosen.size < 2:
        return quadrature, step
    each = np.sum(np.asarray(_omitted(model, rows, X, mu0, spread, step)), axis=1) / (
        chosen.size - 1
    )
    # a mean over pairs of rows has twice the standard error of one over rows
    doubt = 2 * np.std(each, ddof=1) / np.sqrt(chosen.size) if chosen.size < W.rows else 0.0
    return float(np.sqrt((W.rows - 1) * (np.mean(each) + 2 * doubt))) + quadrature, step


@jax.jit
def _sampled(
    model: RandomFeatureModel, W: NormalRows, X: NormalRows, spread: Vector, chosen: Wholes
) -> tuple[Matrix, Vector, Matrix]:
    """The chosen rows of W, their βω, and their pre-activations in the first panel."""
    rows = jax.lax.map(lambda i: W.draw(W.key, i // W.block)[i % W.block], chosen)
    samples = spread[None, :] * X.draw(X.key, 0)[: X.rows]
    Y = model.process.alpha * rows @ samples.T / np.sqrt(W.columns)
    return rows, model.process.beta * norms(rows), Y


@eqx.filter_jit
def _omitted(
    model: RandomFeatureModel, W: Matrix, X: NormalRows, mu0: Real, spread: Vector, step: float
) -> Matrix:
    """Squares of the omitted entries for all pairs of the rows W."""
    sigma, process = model.activation, model.process
    omega, last = norms(W), OMITTED
    unit = W / (omega[:, None] * np.sqrt(W.shape[1]))
    R = unit @ unit.T
    middle = coefficients(sigma, jnp.zeros((W.shape[0], 1)), process.beta * omega, mu0, step, 2)[1]

    def panel(sums: tuple[Reals, Vector], index: Whole) -> tuple[tuple[Reals, Vector], None]:
        samples = spread[None, :] * X.draw(X.key, index)
        Y = process.alpha * W @ samples.T / np.sqrt(W.shape[1])
        C, square = coefficients(sigma, Y, process.beta * omega, mu0, step, last)
        C = C * X.inside(index)[None, None, :]
        padding = X.block - jnp.sum(X.inside(index))
        return (
            sums[0] + C @ jnp.moveaxis(C, 1, 2),
            sums[1] + X.block * square - padding * middle,
        ), None

    start = jnp.zeros((last, *R.shape)), jnp.zeros(W.shape[0])
    (gram, square), _ = jax.lax.scan(panel, start, jnp.arange(-(-X.rows // X.block)))
    gram, square = gram / X.rows, square / X.rows
    powers = R[None] ** np.arange(2, last)[:, None, None]
    beyond = jnp.sqrt(
        jnp.maximum(square - jnp.sum(jnp.diagonal(gram, axis1=1, axis2=2), axis=0), 0.0)
    )
    entry = jnp.abs(jnp.sum(powers * gram[2:], axis=0))
    entry = entry + beyond[:, None] * jnp.abs(R) ** last * beyond[None, :]
    return jnp.where(jnp.eye(W.shape[0], dtype=bool), 0.0, entry**2)


def sharding(operator: Operator, shared: bool) -> NamedSharding:
    """Where vectors in blocks go, or what every device holds."""
    return NamedSharding(operator.W.mesh, SHARDED if shared else REPLICATED)
