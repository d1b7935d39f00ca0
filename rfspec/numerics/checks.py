"""What is wrong before any computing: ValueErrors that name argument, rule and value."""

from __future__ import annotations

from types import FrameType
from typing import Any

import jax
import numpy as np

from .types import Numbers, Real, Reals, Vector

OURS = ("rfspec", "equinox", "jaxtyping", "beartype")  # what calls and wraps a constructor


def concrete(*values: Any) -> bool:
    """Whether every value, or entry of a list, is known now; inside `jax.vmap`,
    `grad` or `jit` a rebuild must pass unchecked.
    """
    return not any(isinstance(v, jax.core.Tracer) for v in jax.tree.leaves(values))


def level_of_the_caller(frame: FrameType) -> int:
    """How far above this frame the user's own line is, past what wraps a constructor."""
    level = 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] in OURS:
        frame, level = frame.f_back, level + 1
    return level


def namespace(*values: Any) -> Any:
    """NumPy for known values, which it compiles nothing for and knows inside `jax.jit` too;
    else `jax.numpy`.
    """
    return np if concrete(*values) else jax.numpy


def on_host(a: Any) -> Any:
    """An array whose values are known, as NumPy's: reading results must not compile anything."""
    return np.asarray(a) if concrete(a) else a


def on_device(a: Numbers) -> Numbers:
    """An array as JAX's; `jnp.asarray` would compile a copy."""
    return jax.device_put(a) if concrete(a) else a


def as_float(value: Reals) -> Reals:
    """A number, or an array, of float64."""
    return np.float64(value) if concrete(value) else jax.numpy.asarray(value, float)


def integer(name: str, value: Any, least: int = 1, most: int | None = None) -> int:
    """An integer of at least `least`, and at most `most` if that is given."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < least or (most is not None and value > most):
        rule = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise ValueError(f"{name} must be an integer {rule}, got {value!r:.100}")
    return int(value)


def real_scalar(name: str, value: Any, *, above: float) -> Real:
    """A finite real number greater than `above`, as float64."""
    if not concrete(value):
        # of no weak type, which would compile everything once more
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


def not_negative(name: str, value: Real) -> Real:
    """A finite real number of at least 0, as float64."""
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
    """A non-empty one-dimensional array of finite real numbers, as float64."""
    array = real_array(name, value, rule) if concrete(value) else traced_array(name, value, rule)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name} must be {rule}, got an array of shape {array.shape}")
    return array


def traced_array(name: str, value: Any, rule: str, dtype: Any = float) -> Numbers:
    """An array of which some entries are not known; a list may hold known ones too."""
    try:
        return jax.numpy.asarray(value, dtype)
    except (TypeError, ValueError) as e:
        raise ValueError(f"{name} must be {rule}, got {value!r:.100}") from e


def real_array(name: str, value: Any, rule: str) -> np.ndarray:
    """An array of finite real numbers, as float64."""
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as e:
        raise ValueError(f"{name} must be {rule}, got {value!r:.100}") from e
    if not (np.issubdtype(array.dtype, np.floating) or np.issubdtype(array.dtype, np.integer)):
        raise ValueError(
            f"{name} must be {rule}, got entries of type {array.dtype}: {value!r:.100}"
        )
    if not np.all(np.isfinite(array)):
        raise ValueError(
            f"{name} must be {rule}, got {array[~np.isfinite(array)].ravel()[0]} in it"
        )
    return array.astype(np.float64)
