"""Checks of arguments before anything is computed, and which array library a value needs.

A check returns its value in double precision, or raises a ValueError that names the argument, the
rule and the value. Values that JAX is tracing are not known yet and pass unchecked.
"""

from __future__ import annotations

from types import FrameType
from typing import Any

import jax
import numpy as np

from .types import Key, Numbers, Real, Reals, Vector

# packages whose frames lie between a constructor and the user's line that calls it
OURS = ("rfspec", "equinox", "jaxtyping", "beartype")


def concrete(*values: Any) -> bool:
    """Whether JAX traces none of these values, nor any entry of a list or tree among them."""
    return not any(isinstance(v, jax.core.Tracer) for v in jax.tree.leaves(values))


def level_of_the_caller(frame: FrameType) -> int:
    """The `stacklevel` at which a warning from this frame points to the user's own line."""
    level = 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] in OURS:
        frame, level = frame.f_back, level + 1
    return level


def namespace(*values: Any) -> Any:
    """NumPy if all values are known, else `jax.numpy`.

    NumPy compiles nothing, and its results stay known inside `jax.jit`.
    """
    return np if concrete(*values) else jax.numpy


def on_host(a: Any) -> Any:
    # reading a result must not compile anything
    return np.asarray(a) if concrete(a) else a


def fixed(a: Any) -> Any:
    # an array without its derivative, NumPy's where it is known: every eager operation of JAX takes
    # as long as thousands of numbers
    return np.asarray(a if concrete(a) else jax.lax.stop_gradient(a))


def on_device(a: Numbers) -> Numbers:
    # `jnp.asarray` would compile a copy
    return jax.device_put(a) if concrete(a) else a


def as_float(value: Reals) -> Reals:
    return np.float64(value) if concrete(value) else jax.numpy.asarray(value, float)


def integer(name: str, value: Any, least: int = 1, most: int | None = None) -> int:
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < least or (most is not None and value > most):
        rule = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise ValueError(f"{name} must be an integer {rule}, got {value!r:.100}")
    return int(value)


def random_key(name: str, value: Any) -> Key:
    # a key of JAX, its bare data, or a seed
    if not concrete(value):
        return value
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        if not -(2**63) <= value < 2**63:
            raise ValueError(f"{name} must be an integer of 64 bits, got {value!s:.40}")
        return jax.random.key(value)
    dtype, shape = getattr(value, "dtype", None), np.shape(value)
    if dtype is not None and jax.dtypes.issubdtype(dtype, jax.dtypes.prng_key) and shape == ():
        return value
    if dtype == np.uint32 and shape == (2,):
        return jax.random.wrap_key_data(value)
    shown = f"an array of shape {shape}" if shape else f"{value!r:.60}"
    raise ValueError(f"{name} must be a jax.random.key(seed) or an integer seed, got {shown}")


def real_scalar(name: str, value: Any, *, above: float) -> Real:
    if not concrete(value):
        # a weakly typed number would compile everything once more
        return jax.numpy.asarray(value, float)
    rule = f"{name} must be a finite real number greater than {above:g}"
    if isinstance(value, str | bytes | bool | None):
        raise ValueError(f"{rule}, got {value!r}")
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as e:
        raise ValueError(f"{rule}, got {value!r}") from e
    if array.ndim != 0 or not (
        np.issubdtype(array.dtype, np.floating) or np.issubdtype(array.dtype, np.integer)
    ):
        raise ValueError(
            f"{rule} (for many values map over models with jax.vmap), got {value!r:.100}"
        )
    if not (np.isfinite(array) and array > above):
        raise ValueError(f"{rule}, got {array.item()!r}")
    return np.float64(array)


def fraction(name: str, value: Any) -> Real:
    value = real_scalar(name, value, above=0.0)
    if concrete(value) and not value < 1:
        raise ValueError(f"{name} must be between 0 and 1, got {float(value)!r}")
    return value


def not_negative(name: str, value: Real) -> Real:
    if not concrete(value):
        return jax.numpy.asarray(value, float)
    rule = f"{name} must be a finite real number of at least 0"
    if isinstance(value, str | bytes | bool | None):
        raise ValueError(f"{rule}, got {value!r}")
    array = real_array(name, value, "a finite real number of at least 0")
    if array.ndim or array < 0:
        raise ValueError(f"{rule}, got {value!r:.100}")
    return np.float64(array)


def real_vector(name: str, value: Any, rule: str) -> Vector:
    array = real_array(name, value, rule) if concrete(value) else traced_array(name, value, rule)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name} must be {rule}, got an array of shape {array.shape}")
    return array


def traced_array(name: str, value: Any, rule: str, dtype: Any = float) -> Numbers:
    # a list may mix known and traced entries
    try:
        return jax.numpy.asarray(value, dtype)
    except (TypeError, ValueError) as e:
        raise ValueError(f"{name} must be {rule}, got {value!r:.100}") from e


def refuse_mask(name: str, value: Any) -> None:
    # `np.asarray` would take what a mask hides for numbers
    if np.ma.is_masked(value):
        raise ValueError(
            f"{name} must have no masked entries, got {np.ma.count_masked(value)} of them: select "
            "the others, or fill these"
        )


def real_array(name: str, value: Any, rule: str) -> np.ndarray:
    refuse_mask(name, value)
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as e:
        raise ValueError(f"{name} must be {rule}, got {value!r:.100}") from e
    if not (np.issubdtype(array.dtype, np.floating) or np.issubdtype(array.dtype, np.integer)):
        raise ValueError(f"{name} must be {rule}, got {_not_numbers(value, array)}")
    if not np.all(np.isfinite(array)):
        raise ValueError(
            f"{name} must be {rule}, got {array[~np.isfinite(array)].ravel()[0]} in it"
        )
    return array.astype(np.float64)


def _not_numbers(value: Any, array: np.ndarray) -> str:
    # of a data frame, its columns of labels
    if hasattr(value, "dtypes") and hasattr(value, "columns"):
        kinds = zip(value.columns, value.dtypes, strict=True)
        labels = [str(column) for column, kind in kinds if getattr(kind, "kind", "O") not in "fiu"]
        return f"no numbers in the column {', '.join(labels)}: drop what is no data"
    return f"entries of type {array.dtype}: {value!r:.100}"
