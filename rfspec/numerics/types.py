"""Annotations that say what a number is, for the reader and for the tests, which check every call.

A function takes NumPy's numbers and JAX's arrays alike, plain, mapped or traced. No static checker
can follow that, so to a static checker these names are `Any`. At run time they are jaxtyping's
types and refuse less than double precision. Shapes are those of one model; `jax.vmap` over models
puts its axis in front.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    Real: TypeAlias = Any  # one real number
    Vector: TypeAlias = Any  # reals in one dimension
    Matrix: TypeAlias = Any  # reals in two dimensions
    Reals: TypeAlias = Any  # reals of any shape, a single one included
    Number: TypeAlias = Any  # one number, real or complex
    Numbers: TypeAlias = Any  # numbers of any shape
    Whole: TypeAlias = Any  # one integer
    Wholes: TypeAlias = Any  # integers of any shape
    Truth: TypeAlias = Any  # true or false
    Truths: TypeAlias = Any  # truths of any shape
    Key: TypeAlias = Any  # JAX's random key
    Given: TypeAlias = Any  # whatever a user passes; a ValueError says what is wrong with it
else:
    import jax
    import jaxtyping as jt
    import numpy as np

    Array = jax.Array | np.ndarray
    whole, truth = int | np.integer, bool | np.bool_
    real = whole | float  # np.float64 is a float
    number = real | complex

    def reals(shape: str) -> object:
        return jt.Float64[Array, shape] | jt.Integer[Array, shape]

    def numbers(shape: str) -> object:
        return jt.Complex128[Array, shape] | reals(shape)

    Real, Reals = reals("") | real, reals("...") | real
    Vector, Matrix = reals("_"), reals("_ _")
    Number, Numbers = numbers("") | number, numbers("...") | number
    Whole, Wholes = jt.Integer[Array, ""] | whole, jt.Integer[Array, "..."] | whole
    Truth, Truths = jt.Bool[Array, ""] | truth, jt.Bool[Array, "..."] | truth
    Key = jt.Key[jax.Array, "..."]
    Given = object
