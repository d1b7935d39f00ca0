r"""The equations at finite d: features in blocks of Hermite degree.

Degree k ≥ 2 of the features lies on the products of k directions of Σ. On the multi-index m,
|m| = k, the noise and the data give it

    u_m = h_k² Π_a A_a^{m_a} / H_k(A),          A = α²Σ + β²,
    c_m = h_k² c^k Π_a λ_a^{m_a} / H_k(Σ),      noise_m = u_m - c_m,                           (30)

with H_k the complete homogeneous symmetric polynomial of the d eigenvalues, so that a block keeps
its trace. With T_m = d(noise_m + c_mD), and v² and s² what is left of the other degrees,

    1/q = s² - z + v²D + ∫ dρ_Σ T/(1 + ψ_pTq) + (1/d) Σ_m T_m/(1 + ψ_pT_mq)
    δ   = (ψ_p/ψ_n) [ v²q + κ²∫ dρ_Σ λq/(1 + ψ_pTq) + Σ_m c_mq/(1 + ψ_pT_mq) ]                 (31)

Degree 1 is ``rfspec.resolvent.all_draws``, the limit d → ∞, in which blocks fall into v² and s².
What a target is correlated with lies in degree 1. Beyond arXiv 2505.17638.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp

from ..models.degrees import Degree
from ..numerics.compiling import jit
from ..numerics.holomorphic import Unknowns, reciprocal
from ..numerics.types import Number, Numbers, Real, Vector
from .all_draws import RandomFeatureEquations
from .averages import Averages, angle
from .columns import Kind, Point, Source
from .interface import Equations
from .products import Grid, Products, of_one, symmetric_powers

# cells of a block, and of one that tells their error
CELLS, FINER = Grid(10, 5), Grid(14, 6)


class Blocks(NamedTuple):
    """Nodes of all blocks: T = noise + data·D with a number of multi-indices, over d."""

    weights: Vector
    noise: Vector
    data: Vector


class Data(NamedTuple):
    """What the products of a block are made of: Σ by eigenvalues and weights, d, α² and β²."""

    values: Vector
    weights: Vector
    d: Real
    alpha2: Real
    beta2: Real


def blocks_of(degrees: tuple[Degree, ...], data: Data, grid: Grid) -> Blocks:
    """The blocks of these degrees."""
    variances = [(one.whole, one.signal) for one in degrees]
    return _blocks(variances, data, grid=grid)


@partial(jit, static_argnames=("grid",))
def _blocks(variances: list[tuple[Real, Real]], data: Data, *, grid: Grid) -> Blocks:
    powers = symmetric_powers(of_one(*data), 1 + len(variances), grid)[1:]
    parts = [_block(a, *v, data.d) for a, v in zip(powers, variances, strict=True)]
    return Blocks(*(jnp.concatenate(a) for a in zip(*parts, strict=True)))


def _block(power: Products, whole: Real, signal: Real, d: Real) -> Blocks:
    share = lambda a: a / jnp.sum(power.count * a)
    of_all, of_data = whole * share(power.noisy), signal * share(power.value)  # (30)
    # a block without variance has no rank
    present = jnp.where(whole > 0, power.count / d, 0.0)
    return Blocks(present, d * jnp.maximum(of_all - of_data, 0.0), d * of_data)


class BlockEquations(RandomFeatureEquations):
    """The equations in u = (q, δ) with blocks of Hermite degree; see ``Equations``.

    Attributes
    ----------
    blocks, finer : Blocks
        Nodes of the blocks; more of them, whose change tells the error.
    """

    blocks: Blocks
    finer: Blocks | None

    def balance(
        self, u: tuple[Number, Number], averages: Averages, zeta: Number
    ) -> tuple[Number, Number]:
        one, two = super().balance(u, averages, zeta)
        (D,), q = averages[0], u[0]
        T, g = self._at_blocks(q, D)
        w = self.blocks.weights
        by_data = jnp.sum(w * self.blocks.data * g)
        return one + q * jnp.sum(w * T * g), two + self.psi_p / self.psi_n * q * by_data  # (31)

    def _at_blocks(self, q: Number, D: Number) -> tuple[Numbers, Numbers]:
        T = self.blocks.noise + self.blocks.data * D
        return T, reciprocal(1.0 + self.psi_p * T * q)

    def _mean_argument(self, u: Unknowns) -> Real:
        q = u[0]
        T, _ = self._at_blocks(q, *self._D(u))
        e, h = 1.0 + self.psi_p * T * q, T + reciprocal(self.psi_p * q)
        inner = jnp.where(e.real > 0, jnp.arctan2(e.imag, e.real), angle(q) - angle(h))
        return super()._mean_argument(u) + jnp.sum(self.blocks.weights * inner)

    def point(self, u: Unknowns) -> Point:
        point = super().point(u)
        return point._replace(blocks=self._at_blocks(u[0], *point.D))

    def _sums(self, one: Point, two: Point) -> tuple[dict[Any, Number], Number]:
        sums, J = super()._sums(one, two)
        b = self.blocks
        assert one.blocks is not None
        assert two.blocks is not None
        g = b.weights * one.blocks[1] * two.blocks[1]
        # keys of the noise and of the data, and of products of two
        parts = {"n": b.noise, "d": b.data}
        pairs = {x + y: parts[x] * parts[y] for x, y in ("dd", "dn", "nn")}
        of_blocks = {key: jnp.sum(a * g) for key, a in (parts | pairs).items()}
        return sums | of_blocks, J + jnp.sum(g * one.blocks[0] * two.blocks[0])

    @property
    def _kinds(self) -> tuple[Kind]:
        (kind,) = super()._kinds
        covariance = Source(kind.covariance.identity, {**kind.covariance.features, "d": 1.0})
        return (kind._replace(covariance=covariance),)

    @property
    def population(self) -> Source:
        without = super().population
        return Source(without.identity, {**without.features, "n": 1.0, "d": 1.0})

    @property
    def mean(self) -> Real:
        b = self.blocks
        return super().mean + jnp.sum(b.weights * (b.noise + b.data))

    @staticmethod
    def numbers(eq: Any) -> tuple[Any, ...]:
        return *RandomFeatureEquations.numbers(eq), eq.blocks.noise, eq.blocks.data

    @property
    def on_other_nodes(self) -> Equations | None:
        if self.finer is None:
            return super().on_other_nodes
        others = super().on_other_nodes or self
        return eqx.tree_at(lambda e: e.blocks, others, self.finer)

    def _bound_for(self, value: Real) -> Real:
        # the norm of each product that makes up U
        b, psi_p = self.blocks, self.psi_p
        features = (jnp.sqrt(jnp.sum(b.weights)) + jnp.sqrt(psi_p)) ** 2
        data = jnp.max(b.data) * (1.0 + jnp.sqrt(psi_p / self.psi_n)) ** 2
        return super()._bound_for(value) + (jnp.max(b.noise) + data) * features

    @property
    def _rank(self) -> Real:
        return super()._rank + jnp.sum(self.blocks.weights)
