r"""Products of k eigenvalues of Σ, as a measure of few nodes.

The multi-indices of degree k are the k-th symmetric power S_k of the d directions. With P_j the
directions, each with the j-th power of what belongs to it, and * the product of measures,

    S_k = (1/k) Σ_j P_j * S_{k-j},                                                            (29)

where no term is negative. After each product neighbours are put together: what belongs to
a cell becomes two nodes, with the same moments 1, λ, λ², λ³, and A = α²λ + β² is fitted linearly in
λ. So nodes do not move with the process, and cells share what lies between them, so that nothing
jumps where an eigenvalue moves.
"""

from __future__ import annotations

from functools import partial
from itertools import product
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..numerics.types import Real, Vector, Wholes

# the cells reach down to products e^{-DEEP} times as large as the largest; smaller ones share one
DEEP = 18.0
# eigenvalues are told apart down to e^{-DEEPEST} of the largest
DEEPEST = 14.0
# within a cell nodes closer than this, relative to their mean, are one
SAME = 1e-5
# the cells tell largest factors apart down to e^{-WIDE} of the largest
WIDE = 6.0


class Grid(NamedTuple):
    """How many cells there are in the logarithm of the product, and in that of its largest factor.

    A depends on the factors, too.
    """

    products: int
    factors: int


class Products(NamedTuple):
    """Numbers of multi-indices, with log λ, λ and A of their products, [node].

    `largest`: the logarithm of the largest factor.
    """

    count: Vector
    log: Vector
    largest: Vector
    value: Vector
    noisy: Vector


def of_one(values: Vector, weights: Vector, d: Real, alpha2: Real, beta2: Real) -> Products:
    """The d directions, in units of the mean of λ and of A."""
    trace = jnp.sum(weights * values)
    log = jnp.log(jnp.maximum(values / jnp.max(values), np.exp(-DEEPEST)))
    noisy = (alpha2 * values + beta2) / (alpha2 * trace + beta2)
    return Products(d * weights, log, log, values / trace, noisy)


def symmetric_powers(first: Products, highest: int, grid: Grid) -> list[Products]:
    """S_1 to S_highest (29), two nodes to a cell from S_2 on."""
    if first.count.size > 2 * grid.products * grid.factors:
        first = compressed(first, grid)
    powers = [first]
    for k in range(2, highest + 1):
        terms = [_power(first, k)]
        terms += [_product(_power(first, j), powers[k - j - 1]) for j in range(1, k)]
        joined = Products(*(jnp.concatenate(a) for a in zip(*terms, strict=True)))
        joined = joined._replace(count=joined.count / k)
        alike = first.count.size == 1
        powers.append(_as_one(joined) if alike else compressed(joined, grid))
    return powers


def _power(a: Products, j: int) -> Products:
    return Products(a.count, j * a.log, a.largest, a.value**j, a.noisy**j)


def _product(a: Products, b: Products) -> Products:
    pairs = lambda x, y: jnp.ravel(x[:, None] * y[None])
    return Products(
        pairs(a.count, b.count),
        jnp.ravel(a.log[:, None] + b.log[None]),
        jnp.ravel(jnp.maximum(a.largest[:, None], b.largest[None])),
        pairs(a.value, b.value),
        pairs(a.noisy, b.noisy),
    )


def _as_one(a: Products) -> Products:
    # products that are all alike
    return Products(
        jnp.sum(a.count, keepdims=True), a.log[:1], a.largest[:1], a.value[:1], a.noisy[:1]
    )


def compressed(a: Products, grid: Grid) -> Products:
    """Two nodes for each cell."""
    shares, cells = _cells(a, grid)
    a = Products(*(jnp.tile(x, len(shares)) for x in a))
    a = a._replace(count=a.count * jnp.concatenate(shares))
    cell = jnp.concatenate(cells)
    total = partial(
        jax.ops.segment_sum, segment_ids=cell, num_segments=grid.products * grid.factors
    )
    count = total(a.count)
    mean = lambda x: total(a.count * x) / jnp.where(count > 0, count, 1.0)
    value, noisy = mean(a.value), mean(a.noisy)
    off = a.value - value[cell]
    variance = mean(off**2)
    one = variance <= (SAME * value) ** 2
    variance = jnp.where(one, 1.0, variance)
    skew = jnp.where(one, 0.0, mean(off**3) / variance**1.5) / 2.0
    slope = jnp.where(one, 0.0, mean(off * a.noisy) / variance)
    reach = jnp.sqrt(1.0 + skew**2)
    ends = [jnp.where(one, 0.0, jnp.sqrt(variance) * (skew + s * reach)) for s in (1.0, -1.0)]
    both = jnp.concatenate
    return Products(
        both([count * (1.0 - s * skew / reach) / 2.0 for s in (1.0, -1.0)]),
        both([mean(a.log)] * 2),
        both([mean(a.largest)] * 2),
        both([value + end for end in ends]),
        both([noisy + slope * end for end in ends]),
    )


def _cells(a: Products, grid: Grid) -> tuple[list[Vector], list[Wholes]]:
    # a node belongs to the four cells around it, so that nothing jumps where an eigenvalue moves
    depth = jnp.max(a.log) - a.log
    span = jnp.minimum(jnp.max(depth), DEEP)
    rows = _neighbours(depth / jnp.where(span > 0, span, 1.0), grid.products)
    columns = _neighbours((jnp.max(a.largest) - a.largest) / WIDE, grid.factors)
    pairs = list(product(rows, columns))
    shares = [one * other for (one, _), (other, _) in pairs]
    return shares, [row * grid.factors + column for (_, row), (_, column) in pairs]


def _neighbours(x: Vector, count: int) -> list[tuple[Vector, Wholes]]:
    # of a position from 0 to 1 among so many cells
    place = (count - 1) * jnp.clip(x, 0.0, 1.0)
    below = jnp.minimum(jnp.floor(place), count - 2)
    above = place - jax.lax.stop_gradient(below)
    first = below.astype(int)
    return [(1.0 - above, first), (above, first + 1)]
