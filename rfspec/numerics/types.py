"""What the numbers of a function are: for its reader, and for the tests, which check every call.

One function takes NumPy's known numbers and JAX's arrays alike, mapped, traced or plain, which no
static checker can follow; to one, these names are `Any`. At run time they are types of jaxtyping.
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
else:
    import jax
    import jaxtyping as jt
    import numpy as np

    Array = jax.Array | np.ndarray
    real, number, whole, truth = (
        float | int | np.floating | np.integer,
        complex | float | int | np.number,
        int | np.integer,
        bool | np.bool_,
    )
    Real, Reals = jt.Real[Array, ""] | real, jt.Real[Array, "..."] | real
    Vector, Matrix = jt.Real[Array, "_"], jt.Real[Array, "_ _"]
    Number, Numbers = jt.Num[Array, ""] | number, jt.Num[Array, "..."] | number
    Whole, Wholes = jt.Integer[Array, ""] | whole, jt.Integer[Array, "..."] | whole
    Truth, Truths = jt.Bool[Array, ""] | truth, jt.Bool[Array, "..."] | truth
    Key = jt.Key[jax.Array, "..."]

Given: TypeAlias = object  # whatever a user may pass; what is wrong with it is said in a ValueError
