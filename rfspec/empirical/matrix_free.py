r"""The spectrum of U at any p by stochastic Lanczos quadrature: products Uv are all it takes.

For a random start v with independent signs, E[vᵀf(U)v]/p = Tr f(U)/p. Lanczos with m products from
v gives m nodes θ_j and weights w_j with Σ_j w_j f(θ_j) = vᵀf(U)v/p exactly for polynomials f of
degree below 2m: the Gauss quadrature of the measure μ_v of v. Every estimate is the mean over
several v. Its error is the standard error of that mean plus an estimate, or a bound, of what the
quadrature leaves open about each μ_v.
"""

from __future__ import annotations

import operator as _operator
from typing import Any

import equinox as eqx
import jax
import numpy as np

from ..files.tables import Table
from ..models.model import RandomFeatureModel
from ..numerics.checks import integer, real_array, real_scalar
from ..numerics.types import Given, Matrix
from .draws import KINDS
from .estimates import Estimate, chebyshev, estimate, in_parts, log_normal
from .feature_products import feature_operator
from .gaussian_products import gaussian_operator
from .lanczos import christoffel, gauss, lanczos, radau
from .memory_plan import budget, predict
from .normal_rows import BLOCK, mesh_of_all, portable
from .operators import operator_sizes


class MatrixFreeSpectrum(Table, eqx.Module):
    r"""Gauss quadratures of the spectral measures of random vectors, whose mean is the spectrum.

    Attributes
    ----------
    nodes, weights : array, shape (probes, order)
        θ_j ascending and w_j ≥ 0, Σ_j w_j = 1, for each probe.
    diagonal, off_diagonal : array, shape (probes, order) and (probes, order - 1)
        The tridiagonal matrices T of Lanczos from which they come.
    model : RandomFeatureModel
    d, p : int
        Dimension of the data, and of U.
    kind : {"features", "gaussian"}
    error : float
        Frobenius norm of what U itself leaves out, over √p, in the unit of λ: the Hermite layers k
        ≥ 2 off the diagonal, measured on random pairs of rows; 0 for the Gaussian equivalent. It
        bounds the Wasserstein-2 distance by which all eigenvalues together move. No other error
        here contains it.
    stored : bool
        Whether the random blocks were kept in memory.
    floor : float
        A lower bound, of at least 0, of the eigenvalues: s², or of features the least entry of what
        the layers k ≥ 2 add to the diagonal.

    Notes
    -----
    Every method returns an `Estimate`, (value, error), of the shape of its argument.
    """

    nodes: Matrix
    weights: Matrix
    diagonal: Matrix
    off_diagonal: Matrix
    model: RandomFeatureModel
    d: int = eqx.field(static=True)
    p: int = eqx.field(static=True)
    kind: str = eqx.field(static=True)
    error: float = eqx.field(static=True)
    stored: bool = eqx.field(static=True)
    floor: float = eqx.field(static=True)

    def columns(self) -> dict[str, Any]:
        """Sizes, and what U leaves out, by name."""
        names = ("d", "p", "probes", "order", "floor", "error")
        return {name: getattr(self, name) for name in names}

    def notes(self) -> list[str]:
        """What U itself leaves out."""
        return [f"U leaves out {self.error:.1e}, in the unit of the eigenvalues"]

    @property
    def probes(self) -> int:
        """Random vectors."""
        return int(self.nodes.shape[0])

    @property
    def order(self) -> int:
        """Products with U for each of them."""
        return int(self.nodes.shape[1])

    def cdf(self, x: Given) -> Estimate:
        r"""Share of the eigenvalues that are ≤ x.

        S(x) = Σ_{θ_j ≤ x} w_j, averaged over the probes. What is left open is bounded by Chebyshev,
        Markov and Stieltjes: |F_v(x) - S(x)| ≤ 1/Σ_{k<m} p_k(x)², p_k the orthonormal polynomials
        of μ_v. The bound is the weight of a node where x is one, at most the weight of both
        neighbours between nodes, and exponentially small in a gap.
        """
        below = lambda x: np.sum(
            np.where(self.nodes[:, None] <= x[:, None], self.weights[:, None], 0.0), axis=-1
        )
        return in_parts(_numbers(x), lambda x: estimate(below(x), np.mean(self._open(x), axis=0)))

    def count(self, a: float, b: float) -> Estimate:
        """Share of the eigenvalues in (a, b], with the bounds of `cdf` at both ends."""
        a, b = float(real_scalar("a", a, above=-np.inf)), float(real_scalar("b", b, above=-np.inf))
        if not a < b:
            raise ValueError(f"b must be greater than a = {a:g}, got {b:g}")
        inside = np.sum(np.where((self.nodes > a) & (self.nodes <= b), self.weights, 0.0), axis=1)
        return estimate(inside, np.mean(np.sum(self._open(np.array([a, b])), axis=1)))

    def density(self, x: Given, width: float = 0.1) -> Estimate:
        r"""Density of the eigenvalues, smoothed by a log-normal kernel of relative width w.

        ρ_w(x) = (1/p) Σ_i exp(-log²(x/λ_i)/(2w²))/(√(2π) w x), a density in x of integral 1 in
        which every eigenvalue has the same relative width; an atom becomes a peak of its mass. What
        the quadrature leaves open is the smaller of two numbers. One is the bound of `cdf` carried
        over, ∫ |∂ρ_w/∂λ| /Σ_{k<m} p_k(λ)² dλ. The other is the largest difference from three
        quarters of the order between the neighbouring nodes and two widths beyond. Where it
        outweighs the standard error, take more order or more width.

        Parameters
        ----------
        x : array
            Positive, in the unit of λ.
        width : float
            w > 0.

        Raises
        ------
        ValueError
            If an x or the width is not positive.
        """
        x, width = _numbers(x), float(real_scalar("width", width, above=0.0))
        if np.any(x <= 0):
            raise ValueError(f"x must be greater than 0, got {x.min()}")

        def smoothed(x: np.ndarray) -> Estimate:
            each = log_normal(self.nodes, self.weights, x, width)
            return estimate(
                each, np.minimum(self._density_bound(x, width), self._density_change(x, width))
            )

        return in_parts(x, smoothed)

    def kernel_polynomial(self, x: Given) -> Estimate:
        r"""Density by the kernel polynomial method: Chebyshev moments damped by the Jackson kernel.

        With λ = c + hy, [c - h, c + h] the range of the nodes widened by a hundredth on each side,
        N = 2·order and M_k = E[T_k(y)], k < N, which the quadrature gives exactly for each probe,

            ρ(x) = (M_0 + 2Σ_{k=1}^{N-1} g_k M_k T_k(y))/(πh√(1 - y²)),
            g_k = [(N - k + 1) cos(πk/(N + 1)) + sin(πk/(N + 1)) cot(π/(N + 1))]/(N + 1).

        The resolution is πh/N everywhere, so that this does not resolve what lies decades below the
        top, as `density` does. Beside the standard error the error holds the difference from three
        quarters of the moments.
        """
        full = chebyshev(self.nodes, self.weights)
        fewer = full._replace(moments=full.moments[:, : 3 * self.order // 2])

        def series(x: np.ndarray) -> Estimate:
            each = full.density(x)
            return estimate(each, np.abs(np.mean(each - fewer.density(x), axis=0)))

        return in_parts(_numbers(x), series)

    def moment(self, k: int) -> Estimate:
        r"""Mean of λ^k, exact for each probe while 0 ≤ k < 2·order; negative k too.

        Of a negative power the even derivatives are positive and the odd ones negative. The value
        is therefore a lower bound for each probe, and the quadrature of Gauss and Radau with a node
        at `floor` is an upper one. What is left open is their distance, ∞ if the floor is 0. For k
        ≥ 2·order it is the difference from three quarters of the order.

        Raises
        ------
        ValueError
            If k is no integer.
        """
        try:
            k = _operator.index(k)
        except TypeError as e:
            raise ValueError(f"k must be an integer, got {k!r}") from e
        nodes, weights = (
            self._fewer() if k >= 0 else radau(self.diagonal, self.off_diagonal, self.floor)
        )
        with np.errstate(divide="ignore"):
            full = np.sum(self.weights * self.nodes ** float(k), axis=1)
            other = np.sum(np.where(weights > 0, weights * nodes ** float(k), 0.0), axis=1)
        return estimate(full, np.abs(np.mean(full - other)))

    def _fewer(self) -> tuple[np.ndarray, np.ndarray]:
        # nodes and weights of three quarters of the order
        less = 3 * self.order // 4
        return gauss(self.diagonal[:, :less], self.off_diagonal[:, : less - 1])

    def _density_bound(self, x: np.ndarray, width: float) -> np.ndarray:
        # ∫ |∂ρ_w(x)/∂λ| /Σ p_k(λ)² dλ over u = log(x/λ)/w, averaged over the probes
        u = np.linspace(-6.0, 6.0, 49)
        points = (x[:, None] * np.exp(-width * u)).ravel()
        left_open = np.mean(self._open(points), axis=0).reshape(x.size, u.size)
        slope = np.abs(u) * np.exp(-(u**2) / 2) * (u[1] - u[0])
        return left_open @ slope / (np.sqrt(2 * np.pi) * width * x)

    def _density_change(self, x: np.ndarray, width: float) -> np.ndarray:
        # largest difference from fewer nodes around x, averaged over the probes
        nodes, weights = self._fewer()
        log_nodes = [np.log(row[row > 0]) for row in nodes]
        ends = [np.searchsorted(row, np.log(x)) for row in log_nodes]
        low = [row[np.maximum(i - 1, 0)] for row, i in zip(log_nodes, ends, strict=True)]
        high = [row[np.minimum(i, row.size - 1)] for row, i in zip(log_nodes, ends, strict=True)]
        low = np.minimum(np.min(low, axis=0), np.log(x)) - 2 * width
        high = np.maximum(np.max(high, axis=0), np.log(x)) + 2 * width
        largest = np.zeros(x.size)
        for u in np.linspace(0.0, 1.0, 17):
            near = np.exp(low + u * (high - low))
            full = log_normal(self.nodes, self.weights, near, width)
            change = np.abs(full - log_normal(nodes, weights, near, width))
            # compared in x ρ_w, which an eigenvalue makes equally high everywhere
            largest = np.maximum(largest, np.mean(change, axis=0) * near)
        return largest / x

    def _open(self, x: np.ndarray) -> np.ndarray:
        # 1/Σ_{k<m} p_k(x)², the bound of `cdf`, shape (probes, *x.shape)
        return np.stack(
            [christoffel(a, b, x) for a, b in zip(self.diagonal, self.off_diagonal, strict=True)]
        )


def matrix_free_spectrum(
    key: Given,
    model: RandomFeatureModel,
    d: int | None = None,
    *,
    kind: str = "gaussian",
    probes: int = 8,
    order: int = 100,
    block: int = BLOCK,
    store: bool | None = None,
    progress: bool = False,
) -> MatrixFreeSpectrum:
    r"""Spectrum of one sampled U of a model without forming it, on all devices of all processes.

    Stochastic Lanczos quadrature with full reorthogonalisation takes `order` products of U with
    each of `probes` random vectors. U = GGᵀ/n + b²FFᵀ + s²I, or sampled features with the noise
    integrated out (``rf.empirical.gaussian_operator``, ``rf.empirical.feature_operator``).

    Parameters
    ----------
    key : JAX random key, or int as a seed
        Determines everything, whatever the devices and the storage; not the same draw as
        ``rf.empirical.sample``.
    model : RandomFeatureModel
    d : int
        Dimension of the data, by default the model's; n = ψ_n d and p = ψ_p d are rounded.
    kind : {"gaussian", "features"}
        A product takes 4p(d + n) + 4nd operations in the Gaussian equivalent, 4pnd with features.
    probes : int
        Random vectors, at least 2; the statistical error falls as 1/√(probes·p).
    order : int
        Products for each of them, m, from 4 to p.
    block : int
        Rows of W and Ω drawn from one key; a different `block` is a different draw.
    store : bool, optional
        Keep the random blocks in memory (p(d + n) + nd numbers; p(d + 2n) with features) or draw
        them anew in every product. By default they are kept where they fit.
    progress : bool
        Show a progress bar over groups of probes.

    Returns
    -------
    MatrixFreeSpectrum
        ``.cdf .count .density .kernel_polynomial .moment``, each with its error, and ``.nodes
        .weights .error``.

    Raises
    ------
    ValueError
        If an argument is outside its range, or the memory predicted is more than there is.

    Notes
    -----
    U is equation (2), or its equivalent of (5). For the quadrature see S. Ubaru, J. Chen and
    Y. Saad, SIAM J. Matrix Anal. Appl. 38 (2017) 1075.

    Resolution: the m nodes distribute themselves over the bulks as charges over conductors. They
    lie about π(b - a)/(2 m_B) apart in the middle of a bulk [a, b] that got m_B of them, and closer
    at its ends. At ψ_p=64, ψ_n=8, t=0.01, p → ∞ the support goes from the atom at 0.0019 to 45;
    the last column is what `cdf` leaves open between atom and satellite, and in the other gaps:

        m     nodes in atom, satellite, sample, population     left open
        100   1, 2, 13, 84                                     9e-3, 4e-7
        200   1, 6, 26, 167                                    4e-5, 2e-12
        300   1, 9, 40, 250                                    2e-7, 1e-18

    Small p does better, since Lanczos finds single eigenvalues. Features smear the atom by a
    relative √(ψ_p/d), and parts without a gap between them take more order. Where m does not
    suffice the errors say so.

    Examples
    --------
    >>> import jax, rfspec as rf
    >>> model = rf.RandomFeatureModel(8.0, 2.0, t=0.05)
    >>> sp = rf.empirical.matrix_free_spectrum(jax.random.key(0), model, 40, order=40)
    >>> share, error = sp.count(0.3, 20.0)  # the population bulk, of mass 1/ψ_p
    >>> bool(abs(share - 1 / 8) < 4 * error < 0.04)
    True
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    d, n, p = operator_sizes(model, d)
    probes, block = integer("probes", probes, 2), integer("block", block, 1)
    order = integer("order", order, 4)
    if order > p:
        raise ValueError(f"order must be at most p = {p}, got {order}")
    if store not in (None, True, False):
        raise ValueError(f"store must be True, False or None, got {store!r}")
    key, mesh, block = portable(key), mesh_of_all(), min(block, p)
    need = predict(kind, d, n, p, order, block, mesh)
    store, group = need.plan(probes, store, budget())
    make = gaussian_operator if kind == "gaussian" else feature_operator
    operator = make(jax.random.fold_in(key, 0), model, d, block=block, store=store, mesh=mesh)

    T = lanczos(jax.random.fold_in(key, 1), operator, probes, order, group, progress)
    error, floor = operator.error, operator.floor
    return MatrixFreeSpectrum(
        *gauss(*T), *T, model, d=d, p=p, kind=kind, error=error, stored=store, floor=floor
    )


def _numbers(x: Any) -> np.ndarray:
    return real_array("x", x, "finite real numbers")
