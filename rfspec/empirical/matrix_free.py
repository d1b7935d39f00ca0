r"""The spectrum of U at any p by stochastic Lanczos quadrature: products Uv are all it takes.

For a random start v with independent signs, E[vᵀf(U)v]/p = Tr f(U)/p. Lanczos with m products from v gives m nodes
θ_j and weights w_j with Σ_j w_j f(θ_j) = vᵀf(U)v/p exactly for polynomials f of degree below 2m: the Gauss quadrature
of the measure μ_v of v. Every estimate is the mean over several v; its error adds the standard error of that mean
to an estimate, or a bound, of what the quadrature leaves open about each μ_v.
"""

from __future__ import annotations

import operator as _operator
import socket
import zlib
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from matfree.decomp import tridiag_sym
from scipy.linalg import eigh_tridiagonal
from tqdm import tqdm

from ..models.model import RandomFeatureModel
from ..numerics.checks import real_array, real_scalar
from .features import KINDS
from .memory import DOUBLE, SHARE, available
from .operators import (
    BLOCK,
    PANEL,
    Operator,
    feature_operator,
    gaussian_operator,
    mesh_of_all,
    operator_sizes,
    padded,
    portable,
    sharding,
)

BREAKDOWN = 1e-13  # of the largest entry of T: an off-diagonal entry below it ends the Krylov space
BELOW = 1e-9  # of the floor: how far below it the node of a bound lies
POINTS = 1024  # values of x worked on together


class Estimate(NamedTuple):
    """A value and its error: one standard error over the probes plus what the quadrature leaves open."""

    value: Any
    error: Any


class MatrixFreeSpectrum(eqx.Module):
    r"""Gauss quadratures of the spectral measures of random vectors; their mean is the spectrum of U.

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
        Frobenius norm of what U itself leaves out, over √p, in the unit of λ: the Hermite layers k ≥ 2 off the
        diagonal, measured on random pairs of rows. It bounds the Wasserstein-2 distance by which all eigenvalues
        together move, and is in no other error bar here. 0 for the Gaussian equivalent.
    stored : bool
        Whether the random blocks were kept in memory.
    floor : float
        A number ≥ 0 that no eigenvalue is below: s², or of features the least entry of what the layers k ≥ 2 add to the
        diagonal.

    Notes
    -----
    Every method returns an `Estimate`, (value, error), of the shape of its argument.
    """

    nodes: Any
    weights: Any
    diagonal: Any
    off_diagonal: Any
    model: RandomFeatureModel
    d: int = eqx.field(static=True)
    p: int = eqx.field(static=True)
    kind: str = eqx.field(static=True)
    error: float = eqx.field(static=True)
    stored: bool = eqx.field(static=True)
    floor: float = eqx.field(static=True)

    @property
    def probes(self) -> int:
        """Random vectors."""
        return int(self.nodes.shape[0])

    @property
    def order(self) -> int:
        """Products with U for each of them."""
        return int(self.nodes.shape[1])

    def cdf(self, x: Any) -> Estimate:
        r"""Share of the eigenvalues that are ≤ x.

        S(x) = Σ_{θ_j ≤ x} w_j, averaged over the probes. What is left open is bounded by Chebyshev, Markov and
        Stieltjes: |F_v(x) - S(x)| ≤ 1/Σ_{k<m} p_k(x)², p_k the orthonormal polynomials of μ_v. This is the weight
        of the node where x is one, at most that of the two neighbours together in between, and exponentially small
        in a gap.
        """
        x = _numbers(x)
        below = lambda at: np.sum(np.where(self.nodes[:, None] <= at[:, None], self.weights[:, None], 0.0), axis=-1)
        return _in_parts(x, lambda at: _estimate(below(at), np.mean(self._open(at), axis=0)))

    def count(self, a: float, b: float) -> Estimate:
        """Share of the eigenvalues in the interval (a, b], with the bounds of `cdf` at both ends."""
        a, b = float(real_scalar("a", a, above=-np.inf)), float(real_scalar("b", b, above=-np.inf))
        if not a < b:
            raise ValueError(f"b must be greater than a = {a:g}, got {b:g}")
        inside = np.sum(np.where((self.nodes > a) & (self.nodes <= b), self.weights, 0.0), axis=1)
        return _estimate(inside, np.mean(np.sum(self._open(np.array([a, b])), axis=1)))

    def density(self, x: Any, width: float = 0.1) -> Estimate:
        r"""Density of the eigenvalues, smoothed by a log-normal kernel of relative width w.

        ρ_w(x) = (1/p) Σ_i exp(-log²(x/λ_i)/(2w²))/(√(2π) w x), a density in x of integral 1 in which every
        eigenvalue has the same relative width; an atom becomes a peak of its mass. What the quadrature leaves open
        is the smaller of two: the bound of `cdf` carried over, ∫ |∂ρ_w/∂λ| /Σ_{k<m} p_k(λ)² dλ; and the largest
        difference from three quarters of the order between the neighbouring nodes and two widths beyond. Where it
        rules, take more order or more width.

        Parameters
        ----------
        x : array
            Positive.
        width : float
            w > 0.
        """
        x, width = _numbers(x), float(real_scalar("width", width, above=0.0))
        if np.any(x <= 0):
            raise ValueError(f"x must be greater than 0, got {x.min()}")

        def at(x: np.ndarray) -> Estimate:
            each = _log_normal(self.nodes, self.weights, x, width)
            return _estimate(each, np.minimum(self._density_bound(x, width), self._density_spread(x, width)))

        return _in_parts(x, at)

    def kernel_polynomial(self, x: Any) -> Estimate:
        r"""Density by the kernel polynomial method: Chebyshev moments damped by the Jackson kernel.

        With λ = c + hy, [c - h, c + h] the range of the nodes widened by a hundredth on each side, N = 2·order and
        M_k = E[T_k(y)], k < N, which the quadrature gives exactly for each probe,

            ρ(x) = (M_0 + 2Σ_{k=1}^{N-1} g_k M_k T_k(y))/(πh√(1 - y²)),
            g_k = [(N - k + 1) cos(πk/(N + 1)) + sin(πk/(N + 1)) cot(π/(N + 1))]/(N + 1).

        The resolution is πh/N all over: `density` resolves what lies decades below the top, this does not. Beside
        the standard error the error holds the difference from three quarters of the moments.
        """
        x = _numbers(x)
        low, high = float(np.min(self.nodes)), float(np.max(self.nodes))
        h = 0.51 * (high - low) + 1e-12 * abs(high)
        c = (low + high) / 2

        def each(moments: np.ndarray, y: np.ndarray) -> np.ndarray:
            k = np.arange(moments.shape[1])
            terms = np.where(k == 0, 1.0, 2.0) * _jackson(k.size) * moments
            inside = np.abs(y) < 1
            y = np.where(inside, y, 0.0)
            return inside * (terms @ np.cos(k[:, None] * np.arccos(y))) / (np.pi * h * np.sqrt(1 - y**2))

        angles = np.arccos((self.nodes - c) / h)
        moments = np.stack([np.sum(self.weights * np.cos(k * angles), axis=1) for k in range(2 * self.order)], axis=1)
        fewer = moments[:, : 3 * self.order // 2]

        def at(x: np.ndarray) -> Estimate:
            y = (x - c) / h
            return _estimate(each(moments, y), np.abs(np.mean(each(moments, y) - each(fewer, y), axis=0)))

        return _in_parts(x, at)

    def moment(self, k: int) -> Estimate:
        r"""Mean of λ^k, exact for each probe while 0 ≤ k < 2·order; negative k too.

        A negative power has even derivatives above 0 and odd ones below, so that the value is a lower bound for each
        probe, and the quadrature of Gauss and Radau with a node at `floor` an upper one; what is left open is their
        distance, ∞ if the floor is 0. For k ≥ 2·order it is the difference from three quarters of the order.
        """
        try:
            k = _operator.index(k)
        except TypeError as e:
            raise ValueError(f"k must be an integer, got {k!r}") from e
        nodes, weights = self._fewer() if k >= 0 else _radau(self.diagonal, self.off_diagonal, self.floor)
        with np.errstate(divide="ignore"):
            full = np.sum(self.weights * self.nodes ** float(k), axis=1)
            other = np.sum(np.where(weights > 0, weights * nodes ** float(k), 0.0), axis=1)
        return _estimate(full, np.abs(np.mean(full - other)))

    def _fewer(self) -> tuple[np.ndarray, np.ndarray]:
        """Nodes and weights of three quarters of the order."""
        less = 3 * self.order // 4
        return _gauss(self.diagonal[:, :less], self.off_diagonal[:, : less - 1])

    def _density_bound(self, x: np.ndarray, width: float) -> np.ndarray:
        """∫ |∂ρ_w(x)/∂λ| /Σ p_k(λ)² dλ in the variable u = log(x/λ)/w, averaged over the probes."""
        u = np.linspace(-6.0, 6.0, 49)
        open_ = np.mean(self._open((x[:, None] * np.exp(-width * u)).ravel()), axis=0).reshape(x.size, u.size)
        slope = np.abs(u) * np.exp(-(u**2) / 2) * (u[1] - u[0])
        return open_ @ slope / (np.sqrt(2 * np.pi) * width * x)

    def _density_spread(self, x: np.ndarray, width: float) -> np.ndarray:
        """Largest difference from fewer nodes around x, averaged over the probes."""
        nodes, weights = self._fewer()
        log_nodes = [np.log(row[row > 0]) for row in nodes]
        ends = [np.searchsorted(row, np.log(x)) for row in log_nodes]
        low = [row[np.maximum(i - 1, 0)] for row, i in zip(log_nodes, ends, strict=True)]
        high = [row[np.minimum(i, row.size - 1)] for row, i in zip(log_nodes, ends, strict=True)]
        low = np.minimum(np.min(low, axis=0), np.log(x)) - 2 * width
        high = np.maximum(np.max(high, axis=0), np.log(x)) + 2 * width
        largest = np.zeros(x.size)
        for share in np.linspace(0.0, 1.0, 17):
            near = np.exp(low + share * (high - low))
            differ = _log_normal(self.nodes, self.weights, near, width) - _log_normal(nodes, weights, near, width)
            # compared in x ρ_w, which an eigenvalue makes equally high everywhere
            largest = np.maximum(largest, np.mean(np.abs(differ), axis=0) * near)
        return largest / x

    def _open(self, x: np.ndarray) -> np.ndarray:
        """1/Σ_{k<m} p_k(x)² for each probe, shape (probes, *x.shape)."""
        return np.stack([_christoffel(a, b, x) for a, b in zip(self.diagonal, self.off_diagonal, strict=True)])


def matrix_free_spectrum(
    key: Any,
    model: RandomFeatureModel,
    d: int,
    *,
    kind: str = "gaussian",
    probes: int = 8,
    order: int = 100,
    block: int = BLOCK,
    store: bool | None = None,
    progress: bool = False,
) -> MatrixFreeSpectrum:
    r"""Spectrum of one sampled U of a model without forming it, on all devices of all processes.

    U = GGᵀ/n + b²FFᵀ + s²I, or σ(Wx_t/√d) with the noise integrated out (``rfspec.empirical.operators``), enters
    through `order` products with each of `probes` random vectors: stochastic Lanczos quadrature with full
    reorthogonalisation.

    Parameters
    ----------
    key : JAX random key
        Determines everything, whatever the devices and the storage; not the same draw as ``rf.empirical.sample``.
    model : RandomFeatureModel
    d : int
        Dimension of the data; n = ψ_n d and p = ψ_p d are rounded.
    kind : {"gaussian", "features"}
        A product takes 4p(d + n) + 4nd operations in the Gaussian equivalent, 4pnd with features.
    probes : int
        Random vectors, at least 2; the statistical error falls as 1/√(probes·p).
    order : int
        Products for each of them, m, from 4 to p.
    block : int
        Rows of W and Ω drawn from one key; a different `block` is a different draw.
    store : bool, optional
        Keep the random blocks in memory (p(d + n) + nd numbers; p(d + 2n) with features) or draw them anew in every
        product. By default they are kept where they fit.
    progress : bool
        Show a progress bar over groups of probes.

    Returns
    -------
    MatrixFreeSpectrum
        ``.cdf .count .density .kernel_polynomial .moment``, each with its error, ``.nodes .weights .error``.

    Raises
    ------
    ValueError
        If an argument is outside its range, or the memory predicted is more than there is.

    Notes
    -----
    Resolution: m nodes share themselves out over the bulks as charges on conductors would, and lie about
    π(b - a)/(2 m_B) apart in the middle of a bulk [a, b] that got m_B of them, closer at its ends. At ψ_p=64, ψ_n=8,
    t=0.01, whose support goes from the atom at 0.0019 to 45, for p → ∞:

        m     nodes in atom, satellite, sample, population     `cdf` open between atom and satellite, other parts
        100   1, 2, 13, 84                                     9e-3, 4e-7
        200   1, 6, 26, 167                                    4e-5, 2e-12
        300   1, 9, 40, 250                                    2e-7, 1e-18

    Small p does better, since Lanczos finds single eigenvalues. Features smear the atom by a relative √(ψ_p/d), and
    what has no gap to its neighbour takes more order. Where m does not suffice the errors say so.

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
    probes, block = _at_least("probes", probes, 2), _at_least("block", block, 1)
    order = _at_least("order", order, 4)
    if order > p:
        raise ValueError(f"order must be at most p = {p}, got {order}")
    if store not in (None, True, False):
        raise ValueError(f"store must be True, False or None, got {store!r}")
    key, mesh, block = portable(key), mesh_of_all(), min(block, p)
    need = predict(kind, d, n, p, order, block, mesh)
    store, group = need.plan(probes, store, _budget())
    make = gaussian_operator if kind == "gaussian" else feature_operator
    operator = make(jax.random.fold_in(key, 0), model, d, block=block, store=store, mesh=mesh)

    T = lanczos(jax.random.fold_in(key, 1), operator, probes, order, group, progress)
    error, floor = operator.error, operator.floor
    return MatrixFreeSpectrum(*_gauss(*T), *T, model, d=d, p=p, kind=kind, error=error, stored=store, floor=floor)


def lanczos(
    key: Any, operator: Operator, probes: int, order: int, group: int, progress: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Diagonals (probes, order) and off-diagonals (probes, order - 1) of T, a group of probes at a time."""
    parts = []
    starts = range(0, probes, group)
    for first in tqdm(starts, desc="probes", unit="group", disable=not progress, leave=False, delay=1.0):
        indices = jnp.arange(first, min(first + group, probes))
        parts.append([np.asarray(part) for part in _tridiagonal(operator, key, indices, order)])
    return _ended(*(np.concatenate(part) for part in zip(*parts, strict=True)))


@partial(jax.jit, static_argnames="order")
def _tridiagonal(operator: Operator, key: Any, indices: Any, order: int) -> tuple[Any, Any]:
    """Lanczos from the probes of the given indices: diagonal (k, order) and off-diagonal (k, order - 1) of T."""
    decompose = tridiag_sym(order, materialize=False, custom_vjp=False)
    here = lambda a, shared: jax.lax.with_sharding_constraint(a, sharding(operator, shared))

    def one(index: Any) -> tuple[Any, Any]:
        signs = jax.random.rademacher(jax.random.fold_in(key, index), (operator.W.rows,), float)
        return decompose(lambda v: here(operator.on_blocks(v), True), here(operator.W.cut(signs), True)).J_small

    return jax.tree.map(lambda a: here(a, False), jax.vmap(one)(indices))


def _ended(diagonal: np.ndarray, off_diagonal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """T without what follows the end of a Krylov space: nodes of weight zero at its last diagonal entry."""
    size = np.nanmax(np.abs(diagonal), axis=1, keepdims=True)
    going = np.cumprod(off_diagonal > BREAKDOWN * size, axis=1).astype(bool)
    last = np.take_along_axis(diagonal, np.sum(going, axis=1, keepdims=True), axis=1)
    kept = np.concatenate([np.ones((going.shape[0], 1), bool), going], axis=1)
    return np.where(kept, diagonal, last), np.where(going, off_diagonal, 0.0)


def _gauss(diagonal: np.ndarray, off_diagonal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of the Gauss quadrature of each T."""
    pairs = [eigh_tridiagonal(a, b) for a, b in zip(diagonal, off_diagonal, strict=True)]
    return np.stack([values for values, _ in pairs]), np.stack([vectors[0] ** 2 for _, vectors in pairs])


def _radau(diagonal: np.ndarray, off_diagonal: np.ndarray, floor: float) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights with one node at a ≤ all eigenvalues, by the last entry of T (Golub, SIAM Rev. 15, 318, 1973).

    α_m = a + β²/π, π the last pivot of T_{m-1} - a. The node lies below the floor by enough that rounding leaves the
    pivots positive where an eigenvalue is at the floor.
    """
    a = floor * (1.0 - BELOW)
    going = off_diagonal[:, -1] > 0  # elsewhere the Krylov space has ended, and the quadrature is exact
    last = diagonal[:, -1].copy()
    for i in np.flatnonzero(going):
        alpha, beta = diagonal[i], off_diagonal[i]
        pivot = alpha[0] - a
        for k in range(1, alpha.size - 1):
            pivot = alpha[k] - a - beta[k - 1] ** 2 / pivot
        last[i] = a + beta[-1] ** 2 / max(pivot, BREAKDOWN * np.abs(alpha).max())
    nodes, weights = _gauss(np.concatenate([diagonal[:, :-1], last[:, None]], axis=1), off_diagonal)
    nodes[going, 0] = a
    return nodes, weights


def _log_normal(nodes: np.ndarray, weights: np.ndarray, x: np.ndarray, width: float) -> np.ndarray:
    """ρ_w(x) of each quadrature, shape (probes, x.size)."""
    log_nodes = np.log(np.maximum(nodes, np.finfo(float).tiny))
    away = (np.log(x)[:, None] - log_nodes[:, None]) / width
    return np.einsum("kxj,kj->kx", np.exp(-(away**2) / 2), weights) / (np.sqrt(2 * np.pi) * width * x)


def _christoffel(a: np.ndarray, b: np.ndarray, x: np.ndarray) -> np.ndarray:
    """1/Σ_{k<m} p_k(x)² by the recurrence b_k p_{k+1} = (x - a_k)p_k - b_{k-1}p_{k-1}, kept in scale; p_0 = 1."""
    last, now = np.zeros_like(x), np.ones_like(x)
    total, log_scale = np.ones_like(x), np.zeros_like(x)
    for k, beta in enumerate(b):
        if beta == 0.0:  # μ has no further points
            on = np.abs((x - a[k]) * now - (b[k - 1] if k else 0.0) * last) <= BREAKDOWN * np.abs(a).max() * np.abs(now)
            return np.where(on, np.exp(-log_scale) / total, 0.0)
        last, now = now, ((x - a[k]) * now - (b[k - 1] if k else 0.0) * last) / beta
        total = total + now**2
        scale = np.maximum(np.abs(now), np.abs(last))
        last, now, total = last / scale, now / scale, total / scale**2
        log_scale = log_scale + 2 * np.log(scale)
    return np.exp(-log_scale) / total


def _jackson(count: int) -> np.ndarray:
    """Jackson's damping factors g_k, k < count."""
    k, angle = np.arange(count), np.pi / (count + 1)
    return ((count - k + 1) * np.cos(k * angle) + np.sin(k * angle) / np.tan(angle)) / (count + 1)


def _estimate(each: np.ndarray, left_open: Any) -> Estimate:
    """Mean over the probes; standard error plus what is open."""
    return Estimate(np.mean(each, axis=0), np.std(each, axis=0, ddof=1) / np.sqrt(each.shape[0]) + left_open)


def _in_parts(x: np.ndarray, f: Any) -> Estimate:
    """A function of many x, a limited number at a time, in the shape of x."""
    flat = x.ravel()
    parts = [f(flat[i : i + POINTS]) for i in range(0, max(1, flat.size), POINTS)]
    return Estimate(*(np.concatenate(column).reshape(x.shape) for column in zip(*parts, strict=True)))


def _numbers(x: Any) -> np.ndarray:
    return real_array("x", x, "finite real numbers")


def _at_least(name: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")
    return int(value)


# --------------------------------------------------------------------------------------------------- memory


class Need(NamedTuple):
    """Bytes in one process: of the stored blocks, of working without or with them, and of one probe."""

    blocks: float
    redrawing: float
    storing: float
    probe: float

    def plan(self, probes: int, store: bool | None, budget: float) -> tuple[bool, int]:
        """Whether to store, and how many probes to run together."""
        fixed = {True: self.blocks + self.storing, False: self.redrawing}
        choices = (True, False) if store is None else (store,)
        for choice in choices:
            group = int((SHARE * budget - fixed[choice]) // self.probe)
            if group >= 1:
                return choice, min(group, probes)
        need = fixed[choices[-1]] + self.probe
        advice = "take store=False, a smaller d or more devices" if store else "take a smaller d, order or block"
        raise ValueError(
            f"memory must hold {need / 2**30:.2f} GiB in each process for one probe, "
            f"got {budget / 2**30:.2f} GiB free: {advice}{'' if store else ', or more devices'}"
        )


def predict(kind: str, d: int, n: int, p: int, order: int, block: int, mesh: Mesh) -> Need:
    """Memory in one process, before anything is allocated."""
    local = len(mesh.local_devices)
    share = local / mesh.size
    rows = padded(p, block, mesh.size) * share
    lanczos = rows * (1.25 * order + 8)
    if kind == "gaussian":
        samples = padded(n, block, mesh.size) * share
        blocks = rows * (d + n) + samples * d
        drawing = 4 * local * block * max(d, n)
        return Need(*(DOUBLE * x for x in (blocks, drawing, drawing, lanczos + local * (4 * d + 4 * n) + 2 * samples)))
    panel = min(PANEL, n)
    nodes = 4 * 512 * 4096  # quadrature of a few rows at a time
    working = local * (nodes + 4 * panel * d + 8 * block * (panel + d)) + 2 * rows
    blocks = rows * (d + 2 * (n + panel))
    one = lanczos + local * panel * (d + 4 * block)
    return Need(*(DOUBLE * x for x in (blocks, working + 2 * rows * panel, working, one)))


def _budget() -> float:
    """Bytes free for each process, the least over all; processes of one machine share its memory."""
    devices = jax.local_devices()
    free = float(available())
    if devices[0].memory_stats():
        free *= len(devices)
    if jax.process_count() == 1:
        return free
    from jax.experimental.multihost_utils import process_allgather

    shared = 0 if devices[0].memory_stats() else zlib.crc32(socket.gethostname().encode()) + 1
    each = np.asarray(process_allgather(np.array([free, shared, jax.process_index()])))
    alike = [1 if host == 0 else np.sum(each[:, 1] == host) for host in each[:, 1]]
    return float(np.min(each[:, 0] / np.array(alike)))
