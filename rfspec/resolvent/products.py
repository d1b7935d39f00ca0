r"""Products of k eigenvalues of Σ, as a measure of few nodes.

The multi-indices of degree k are the k-th symmetric power S_k of the d directions. With P_j the
directions, each with the j-th power of what belongs to it, and * the product of measures,

    S_k = (1/k) Σ_j P_j * S_{k-j},                                                            (29)

where no term is negative. After each product neighbours are put together: what belongs to
a cell becomes two nodes, with the same moments 1, λ, λ², λ³, and all else is fitted linearly in λ.
So nodes do not move with the process, and cells share what lies between them, so that nothing jumps
where an eigenvalue moves.
"""

from __future__ import annotations

from functools import partial
from itertools import product
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ..numerics.types import Matrix, Reals, Vector, Wholes

# the cells reach down to products e^{-DEEP} times as large as the largest; smaller ones share one
DEEP = 18.0
# they grow with the depth in the logarithm beyond this
LINEAR = 6.0
# eigenvalues are told apart down to e^{-DEEPEST} of the largest
DEEPEST = 14.0
# within a cell nodes closer than this, relative to their mean, are one
SAME = 1e-5
# where products are within e^{-SOFT} of the largest, the largest factor hardly matters
SOFT = 0.1


class Grid(NamedTuple):
    """How many cells there are in the logarithm of the product, and in that of its largest factor.

    A depends on the factors, too.
    """

    products: int
    factors: int


class Products(NamedTuple):
    """Numbers of multi-indices, with what belongs to their products, [node].

    `log`, `largest`: logarithms of λ and of the largest factor. `value`: λ. `whole`, `data`,
    `noise`: the products of A', of A'ρ, and those with one factor A'(1 - ρ) in place of an A'ρ,
    [tilt, node]. `row`, `column`: sums over the directions.
    """

    count: Vector
    log: Vector
    largest: Vector
    value: Vector
    whole: Matrix
    data: Matrix
    noise: Matrix
    row: Vector
    column: Vector


def symmetric_powers(first: Products, highest: int, grid: Grid) -> list[Products]:
    """S_1 to S_highest (29), two nodes to a cell from S_2 on."""
    if first.count.size > 2 * grid.products * grid.factors:
        first = compressed(first, 1, grid)
    powers = [first]
    for k in range(2, highest + 1):
        terms = [_power(first, k)]
        terms += [_product(_power(first, j), powers[k - j - 1]) for j in range(1, k)]
        joined = Products(*(jnp.concatenate(a, axis=-1) for a in zip(*terms, strict=True)))
        joined = joined._replace(count=joined.count / k)
        alike = first.count.size == 1
        powers.append(_as_one(joined) if alike else compressed(joined, k, grid))
    return powers


def _power(a: Products, j: int) -> Products:
    return Products(
        a.count,
        j * a.log,
        a.largest,
        a.value**j,
        a.whole**j,
        a.data**j,
        j * a.data ** (j - 1) * a.noise,
        j * a.row,
        j * a.column,
    )


def _product(a: Products, b: Products) -> Products:
    flat = lambda x: x.reshape(*x.shape[:-2], -1)
    pairs = lambda x, y: flat(x[..., :, None] * y[..., None, :])
    sums = lambda x, y: flat(x[..., :, None] + y[..., None, :])
    return Products(
        pairs(a.count, b.count),
        sums(a.log, b.log),
        flat(jnp.maximum(a.largest[:, None], b.largest[None])),
        pairs(a.value, b.value),
        pairs(a.whole, b.whole),
        pairs(a.data, b.data),
        pairs(a.data, b.noise) + pairs(a.noise, b.data),
        sums(a.row, b.row),
        sums(a.column, b.column),
    )


def _as_one(a: Products) -> Products:
    # products that are all alike
    one = Products(*(x[..., :1] for x in a))
    return one._replace(count=jnp.sum(a.count, keepdims=True))


def compressed(a: Products, k: int, grid: Grid) -> Products:
    """Two nodes for each cell."""
    shares, cells = _cells(a, k, grid)
    a = Products(*(jnp.concatenate([x] * len(shares), axis=-1) for x in a))
    a = a._replace(count=a.count * jnp.concatenate(shares))
    cell = jnp.concatenate(cells)
    count = _totals(a.count, cell, grid)
    like = lambda y, x: y if x.ndim == 1 else y[None]
    some = jnp.where(count > 0, count, 1.0)
    mean = lambda x: _totals(like(a.count, x) * x, cell, grid) / like(some, x)
    value = mean(a.value)
    off = a.value - value[cell]
    variance = mean(off**2)
    one = variance <= (SAME * value) ** 2
    variance = jnp.where(one, 1.0, variance)
    skew = jnp.where(one, 0.0, mean(off**3) / variance**1.5) / 2.0
    reach = jnp.sqrt(1.0 + skew**2)
    ends = [jnp.where(one, 0.0, jnp.sqrt(variance) * (skew + s * reach)) for s in (1.0, -1.0)]
    shares = [count * (1.0 - s * skew / reach) / 2.0 for s in (1.0, -1.0)]

    # all else is fitted linearly in λ
    def fitted(x: Reals) -> Reals:
        slope = jnp.where(like(one, x), 0.0, mean(like(off, x) * x) / like(variance, x))
        return jnp.concatenate([mean(x) + slope * like(end, x) for end in ends], axis=-1)

    log, largest = (jnp.concatenate([mean(x)] * 2) for x in (a.log, a.largest))
    rest = (fitted(x) for x in (a.value, a.whole, a.data, a.noise, a.row, a.column))
    return Products(jnp.concatenate(shares), log, largest, *rest)


def _totals(x: Reals, cell: Wholes, grid: Grid) -> Reals:
    # sums over the nodes of each cell, along the last axis
    size = grid.products * grid.factors
    total = partial(jax.ops.segment_sum, segment_ids=cell, num_segments=size)
    return total(x) if x.ndim == 1 else jax.vmap(total)(x)


def _cells(a: Products, k: int, grid: Grid) -> tuple[list[Vector], list[Wholes]]:
    # a node belongs to the four cells around it, so that nothing jumps where an eigenvalue moves
    depth = jnp.max(a.log) - a.log
    span = jnp.minimum(jnp.max(depth), DEEP)
    of_all = jnp.where(span > 0, span, 1.0)
    rows = _neighbours(jnp.log1p(depth / LINEAR) / jnp.log1p(of_all / LINEAR), grid.products)
    # the largest factor has at most the k-th part of the depth
    columns = _neighbours(k * (jnp.max(a.largest) - a.largest) / (depth + SOFT), grid.factors)
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
