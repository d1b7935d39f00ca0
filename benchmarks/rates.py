"""What the machine can do in double precision, measured: products, quotients, memory.

Loops over whole arrays are what XLA makes of the solver, so their rate is the one to compare with.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from common import best

CHAIN = 64  # operations on each number between reading and writing it
COPIES = 8  # times that a long array is read and written


class Rates(NamedTuple):
    """Operations a second, and bytes a second.

    `matrix`: of a matrix product. `products`: multiplications and additions in loops over arrays,
    two for each fused one. `quotients`, `elementary`: divisions and exponentials of real numbers
    there. `complex_quotients`: reciprocals of complex ones. `memory`: read and written.
    """

    matrix: float
    products: float
    quotients: float
    elementary: float
    complex_quotients: float
    memory: float

    def seconds(self, operations):
        """The least time that these operations take."""
        return (
            operations.products / self.products
            + operations.quotients / self.quotients
            + operations.elementary / self.elementary
            + operations.complex_quotients / self.complex_quotients
            + operations.complex_elementary * 2 / self.elementary
        )


def in_loop(f, x, length):
    """Seconds of so many times f on an array, each on the result of the last."""

    @jax.jit
    def chain(x):
        for _ in range(length):
            x = f(x)
        return x

    return best(lambda: chain(x), 5, 0.2)


def product_rate(size):
    """Of fused multiplications and additions, from chains of two lengths."""
    x, slow = jnp.linspace(0.1, 0.9, size), 0.999
    f = lambda x: x * slow + 1e-3
    return max(2 * size * n / in_loop(f, x, n) for n in (CHAIN, 4 * CHAIN))


def measured(fast=False):
    """The rates of the default device."""
    cpu = jax.devices()[0].platform == "cpu"
    side, size = (1024 if fast else 2048, 2**18) if cpu else (8192, 2**26)
    long = 2**24 if cpu else 2**29
    A = jnp.ones((side, side))
    product = jax.jit(lambda A: A @ A)
    x, z = jnp.linspace(0.5, 2.0, size), jnp.linspace(0.5, 2.0, size) + 0.5j
    wide = jnp.ones(long)
    copied = jax.jit(lambda x: jax.lax.fori_loop(0, COPIES, lambda _, x: x + 1.0, x))
    return Rates(
        matrix=2 * side**3 / best(lambda: product(A), 5, 0.3),
        products=product_rate(size),
        quotients=8 * size / in_loop(lambda x: 1.0 / (x + 0.3), x, 8),
        elementary=8 * size / in_loop(lambda x: jnp.exp(-x), x, 8),
        complex_quotients=8 * size / in_loop(lambda z: 1.0 / (z + 0.3), z, 8),
        memory=16 * COPIES * long / best(lambda: copied(wide), 5, 0.3),
    )


def in_words(rates):
    """Lines of a table."""
    return (
        f"matrix product {rates.matrix / 1e9:.4g} Gflop/s; in loops over arrays "
        f"{rates.products / 1e9:.4g} Gflop/s fused, {rates.quotients / 1e9:.3g}·10⁹ divisions, "
        f"{rates.elementary / 1e9:.3g}·10⁹ exponentials,\n{rates.complex_quotients / 1e9:.3g}·10⁹ "
        f"complex reciprocals a second; memory {rates.memory / 1e9:.3g} GB/s"
    )
