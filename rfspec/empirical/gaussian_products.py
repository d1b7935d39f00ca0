r"""Products with the Gaussian equivalent, every one of them factored.

With F = W/√d and X = Σ^{1/2}·normal, never FX,

    U = GGᵀ/n + b²FFᵀ + s²I,   G = κFX + vΩ.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax.sharding import Mesh

from ..models.gaussian_equivalent import GaussianEquivalent
from ..models.model import RandomFeatureModel
from ..numerics.types import Given, Matrix, Vector
from .normal_rows import BLOCK, NormalRows, stored_if
from .operators import Operator, shared_parts


class GaussianOperator(Operator):
    """U = GGᵀ/n + b²FFᵀ + s²I, as ``rf.empirical.gaussian_operator`` makes it.

    Attributes
    ----------
    W, X, Omega : NormalRows
        W (p×d); the samples in rows, before Σ^{1/2} (n×d); Ω (p×n).
    constants : GaussianEquivalent
    spread : array, shape (d,)
        Roots of the eigenvalues of Σ.
    """

    X: NormalRows
    Omega: NormalRows
    constants: GaussianEquivalent
    spread: Vector

    def on_blocks(self, v: Matrix) -> Matrix:
        """Uv for v in blocks; W, X and Ω are each used twice."""
        ge, d, n = self.constants, self.W.columns, self.X.rows
        kappa, nu = jnp.sqrt(ge.kappa2), jnp.sqrt(ge.v2)
        a = self.W.adjoint(v) / jnp.sqrt(d)
        g = kappa * self.X.apply(self.spread * a) + nu * self.X.cut(self.Omega.adjoint(v))
        h = kappa / n * self.spread * self.X.adjoint(g) + ge.b2 * a
        return self.W.apply(h) / jnp.sqrt(d) + nu / n * self.Omega.apply(self.X.join(g)) + ge.s2 * v

    @property
    def floor(self) -> float:
        """The constant s², since the other terms have no negative eigenvalue."""
        return float(self.constants.s2)


def gaussian_operator(
    key: Given,
    model: RandomFeatureModel,
    d: int | None = None,
    *,
    block: int = BLOCK,
    store: bool = True,
    mesh: Mesh | None = None,
) -> GaussianOperator:
    """Products with the Gaussian equivalent U = GGᵀ/n + b²FFᵀ + s²I, G = κFX + vΩ, at dimension d.

    Parameters
    ----------
    key : JAX random key
        Determines W, X and Ω, whatever the devices and the storage.
    model : RandomFeatureModel
        With the noise in expectation (no `noise_draws`).
    d : int
        Dimension of the data, at least 1, by default the model's; n = ψ_n d and p = ψ_p d are
        rounded.
    block : int
        Rows of W, X and Ω drawn from one key, at least 1; a different `block` is a different draw.
    store : bool
        Keep W, X and Ω, p(d + n) + nd numbers, or draw them anew in every product.
    mesh : jax.sharding.Mesh, optional
        One-dimensional, of axis "rows", over which the blocks are spread; all devices of all
        processes by default.

    Returns
    -------
    GaussianOperator
        A function of v, shape (p,) or (p, k), to Uv of the same shape, exact to rounding. `.floor`
        is s², a lower bound of the eigenvalues; `.error` is 0. A product takes 4p(d + n) + 4nd
        operations.

    Raises
    ------
    ValueError
        If d is no positive integer, neither the call nor the model has one, n or p rounds to 0,
        the key is none, or the model has finitely many draws of the noise.

    Notes
    -----
    U is the Gaussian equivalent of (5), and of equation (2) as d → ∞.

    Examples
    --------
    >>> import jax, numpy as np, rfspec as rf
    >>> model = rf.RandomFeatureModel(psi_p=8.0, psi_n=2.0, t=0.05)
    >>> U = rf.empirical.gaussian_operator(jax.random.key(0), model, d=8)
    >>> v = np.ones(64)
    >>> bool(v @ U(v) > U.floor * (v @ v))
    True
    """
    shared = shared_parts(key, model, d, block, store, mesh)
    (x_key, omega_key), W, n = shared.keys, shared.W, shared.n
    X = stored_if(store, NormalRows(x_key, None, n, W.columns, block, W.mesh))
    Omega = stored_if(store, NormalRows(omega_key, None, W.rows, n, block, W.mesh))
    return GaussianOperator(W, 0.0, X, Omega, shared.constants, shared.spread)
