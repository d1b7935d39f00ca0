r"""The functions of x that features at finite d are made of, and what of them is noise and data.

In the eigenbasis of Σ, with A_a = α²λ_a + β² and ρ_a = α²λ_a/A_a, the product m of k directions is
a function of degree k. Of its variance R_m = Π ρ_a is fixed by x, and S_m has one factor of the
noise, ρ_a → 1 - ρ_a. Features have of it

    u_m = û_m Σ_l h̄_l² F_lk,   û_m = Π A'_a / H_k(A'),   A'_a = Ā_a/(1 + 2t_kĀ_a),
    data_m = û_m Σ_l h̄_l² F_lk R_mζⁱ,
    noise_m = û_m Σ_l h̄_l² F_lk (S_mζⁱ + iζ^{i-1}ζ'R_m)                                        (30)

with l = k, k + 2, ... and i = (l - k)/2: a power l of the overlap of two rows has a share F_lk in
the function of degree k. Rows are not equally long, which tilts Ā = A/Tr A by
t_k = -√((k+1)(k+2)) h_{k+2}/h_k, and ζ is the part of |w|² that data fix. Long rows have more of a
function that follows their length, and long samples, too: W_jm and P_cm are what class j of rows
and class c of samples have of m, relative to the mean. Beyond arXiv 2505.17638.
"""

from __future__ import annotations

from math import factorial, prod
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from ..models.lengths import Lengths, effective_rank, many_lengths, two_lengths
from ..numerics.types import Matrix, Real, Vector, Wholes
from .products import Grid, Products, symmetric_powers


class Functions(NamedTuple):
    """Functions by nodes, degree 1 first, [m]; all but weights times d.

    `weights`: numbers of functions, over d. `data`, `noise`, `rest`: variance that x fixes, that
    has one factor of the noise, and the rest. `coupled`: k - xt_k times `data`, what couples the
    noise columns of a sample to that of its mean. `row`, `column`: how W and P follow the length,
    T_m - k and Y_m - k. `order`: k.
    """

    weights: Vector
    data: Vector
    noise: Vector
    rest: Vector
    coupled: Vector
    row: Vector
    column: Vector
    order: Wholes


class Data(NamedTuple):
    """Σ by eigenvalues and weights, d, α² and β²."""

    values: Vector
    weights: Vector
    d: Real
    alpha2: Real
    beta2: Real

    @property
    def A(self) -> Vector:
        return self.alpha2 * self.values + self.beta2

    @property
    def trace(self) -> Real:
        return jnp.sum(self.weights * self.values)

    @property
    def gamma2(self) -> Real:
        return self.alpha2 * self.trace + self.beta2

    @property
    def lengths(self) -> tuple[Lengths, Lengths]:
        """Of rows, and of samples."""
        of = lambda v: two_lengths(effective_rank(v, self.weights, self.d))
        return of(self.A), of(self.values)

    @property
    def squares(self) -> Vector:
        """γ² of the mean, of two classes of rows and of two classes of samples, [5]."""
        rows, samples = self.lengths
        of_samples = self.alpha2 * self.trace * samples.squares + self.beta2
        return jnp.concatenate([self.gamma2[None], self.gamma2 * rows.squares, of_samples])

    @property
    def many_squares(self) -> Vector:
        """γ² of many classes of rows."""
        rank = effective_rank(self.A, self.weights, self.d)
        return self.gamma2 * many_lengths(rank).squares


class Expansion(NamedTuple):
    """The Hermite expansion of features of some data."""

    data: Data
    # h_k at Γ, and h_k² of classes of rows and of samples, [order] and [class, order]
    mean: Vector
    of_rows: Matrix
    of_samples: Matrix
    rows: Lengths
    samples: Lengths
    # t_k and x
    tilts: Vector
    x: Real
    orders: tuple[int, ...]

    @classmethod
    def of(cls, data: Data, h: Matrix, orders: tuple[int, ...]) -> Expansion:
        rows, samples = data.lengths
        x = data.alpha2 * data.trace / data.gamma2
        mean = h[0]
        k = np.arange(mean.size - 2)
        present = mean[:-2] != 0
        ratio = mean[2:] / jnp.where(present, mean[:-2], 1.0)
        tilts = jnp.where(present, -np.sqrt((k + 1.0) * (k + 2.0)) * ratio, 0.0)
        tilts = jnp.clip(tilts, 0.0, k)
        return cls(data, mean, h[1:3] ** 2, h[3:] ** 2, rows, samples, tilts, x, (1, *orders))

    @property
    def rank(self) -> Real:
        return effective_rank(self.data.A, self.data.weights, self.data.d)


def directions_and_functions(expansion: Expansion, grid: Grid) -> tuple[Products, Functions]:
    """The d directions, and the functions of all degrees."""
    first = directions(expansion)
    powers = symmetric_powers(first, max(expansion.orders), grid)
    each = [
        functions_of_degree(expansion, k, first if k == 1 else powers[k - 1])
        for k in expansion.orders
    ]
    columns: list[Any] = list(zip(*each, strict=True))
    joined = [*map(jnp.concatenate, columns[:-1]), np.concatenate(columns[-1])]
    return first, Functions._make(joined)


def directions(expansion: Expansion) -> Products:
    """The d directions, in units of the mean of λ and of each A'."""
    data = expansion.data
    log = jnp.log(jnp.maximum(data.values / jnp.max(data.values), 1e-6))
    part = data.A / (data.d * data.gamma2)
    tilts = jnp.stack([expansion.tilts[k] for k in expansion.orders])
    tilted = part[None] / (1.0 + 2.0 * tilts[:, None] * part[None])
    tilted = tilted / (tilted @ data.weights)[:, None]
    rho = data.alpha2 * data.values / data.A
    value = data.values / data.trace
    of_samples = effective_rank(data.values, data.weights, data.d) * value / data.d
    return Products(
        data.d * data.weights,
        log,
        log,
        value,
        tilted,
        tilted * rho[None],
        tilted * (1.0 - rho)[None],
        expansion.rank * part,
        of_samples,
    )


def functions_of_degree(expansion: Expansion, k: int, power: Products) -> Functions:
    """The functions of one degree (30)."""
    d, place = expansion.data.d, expansion.orders.index(k)
    total = jnp.sum(power.count * power.whole[place])
    u, c, s = (a[place] * (d / total) for a in (power.whole, power.data, power.noise))
    u, c, s = (jnp.maximum(a, 0.0) for a in (u, c, s))
    mean = expansion.rows.shares @ expansion.of_rows
    zeta, slope = _fixed(expansion)
    shares = [
        (i, mean[k + 2 * i] * share(k + 2 * i, k, expansion.rank)) for i in _above(expansion, k)
    ]
    of_all = sum(f for _, f in shares)
    of_data = sum(f * zeta**i for i, f in shares)
    again = sum(f * i * zeta ** (i - 1) for i, f in shares if i)
    by_data, by_noise = of_data * c, of_data * s + again * slope * c
    present = jnp.where(of_all > 0, power.count / d, 0.0)
    return Functions(
        present,
        by_data,
        by_noise,
        jnp.maximum(of_all * u - by_data - by_noise, 0.0),
        (k - expansion.x * expansion.tilts[k]) * by_data,
        power.row - k,
        power.column - k,
        np.full(u.size, k),
    )


def _above(expansion: Expansion, k: int) -> list[int]:
    return [(l - k) // 2 for l in expansion.orders if l >= k and (l - k) % 2 == 0]  # noqa: E741


def _fixed(expansion: Expansion) -> tuple[Real, Real]:
    # ζ and ζ', the parts of |w|² that are fixed by x, and that have one factor of the noise
    data = expansion.data
    rho, square = data.alpha2 * data.values / data.A, data.weights * data.A**2
    square = square / jnp.sum(square)
    return jnp.sum(square * rho**2), jnp.sum(square * 2.0 * rho * (1.0 - rho))


def share(power: int, degree: int, rank: Real) -> Real:
    """F_lk of tˡ in the Gegenbauer polynomial of degree k, on a sphere of `rank` dimensions."""
    j, nu = (power - degree) // 2, rank / 2.0 - 1.0
    above = prod([2.0 * nu + i for i in range(1, degree)])
    below = prod([nu + i for i in range(1, power - j + 1)])
    of_numbers = factorial(power) / (2.0 ** (power - 1) * factorial(j) * factorial(degree))
    return of_numbers * (nu + degree) * above / below


def by_samples(expansion: Expansion) -> Matrix:
    """h_k²x^k of each class of samples."""
    data, squares = expansion.data, expansion.samples.squares
    signal = data.alpha2 * data.trace * squares
    x = signal / (signal + data.beta2)
    return expansion.of_samples * x[:, None] ** np.arange(expansion.mean.size)[None]


def relative(lengths: Lengths, squares: Matrix, power: Vector) -> Matrix:
    """What classes have of functions that follow a power of the length, relative to the mean."""
    some = lengths.shares @ squares > 0
    squares = jnp.where(some[None], squares, 1.0)
    each = squares * lengths.squares[:, None] ** power[None]
    return each / (lengths.shares @ each)[None]
