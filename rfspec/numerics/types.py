"""Types of numbers: known ones are Python's or NumPy's, traced ones JAX's. The tests check them at run time.

A name in the singular is one number, in the plural an array of any shape, which may have none. Whole numbers are real
ones and real numbers complex ones. `Given` is what a user gave: anything, until a check at the door has looked at it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:  # arithmetic of NumPy and JAX together is beyond static checkers
    Real: TypeAlias = Any
    Reals: TypeAlias = Any
    Number: TypeAlias = Any
    Numbers: TypeAlias = Any
    Whole: TypeAlias = Any
    Wholes: TypeAlias = Any
    Truth: TypeAlias = Any
    Truths: TypeAlias = Any
    Key: TypeAlias = Any
    Given: TypeAlias = Any
else:
    import jax
    import jaxtyping as jt
    import numpy as np

    def _one(dtype: Any, *scalars: type) -> Any:
        return dtype[jax.Array, ""] | dtype[np.ndarray, ""] | scalars[0] | scalars[1]

    def _many(dtype: Any) -> Any:
        return dtype[jax.Array, "..."] | dtype[np.ndarray, "..."]

    Whole = _one(jt.Integer, int, np.integer)
    Truth = _one(jt.Bool, bool, np.bool_)
    Real = _one(jt.Real, float, np.floating) | int | np.integer
    Number = _one(jt.Num, complex, np.complexfloating) | float | int | np.number
    Wholes, Truths, Reals, Numbers = (
        one | _many(dtype) for one, dtype in ((Whole, jt.Integer), (Truth, jt.Bool), (Real, jt.Real), (Number, jt.Num))
    )
    Key = jt.PRNGKeyArray | jt.UInt32[jax.Array, "2"] | jt.UInt32[np.ndarray, "2"]
    Given = object
