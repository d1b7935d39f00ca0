"""What the numbers of a function are: for its reader, and for the tests, which check every call.

One function takes NumPy's known numbers and JAX's arrays alike, mapped, traced or plain, which no
static checker can follow; to one, these names are `Any`. At run time they are types of jaxtyping,
which let no number of less than double precision pass. Shapes are those of one model: results of
`jax.vmap` over models have its axis in front.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    Real: TypeAlias = Any  # one real number
    Vector: TypeAlias = Any  # reals in one dimension
    Matrix: TypeAlias = Any  # reals in two
    Reals: TypeAlias = Any  # reals of any shape, one alone included
    Number: TypeAlias = Any  # one number, real or complex
    Numbers: TypeAlias = Any  # numbers of any shape
    Whole: TypeAlias = Any  # one integer
    Wholes: TypeAlias = Any  # integers of any shape
    Truth: TypeAlias = Any  # true or false
    Truths: TypeAlias = Any  # the same, of any shape
    Key: TypeAlias = Any  # of random numbers
    Given: TypeAlias = Any  # whatever a user may pass; what is wrong with it a ValueError says
else:
    import jax
    import jaxtyping as jt
    import numpy as np

    Array = jax.Array | np.ndarray
    whole, truth = int | np.integer, bool | np.bool_
    real = whole | float  # np.float64 is one
    number = real | complex

    def reals(shape: str) -> object:
        """Of double precision, or integers."""
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
