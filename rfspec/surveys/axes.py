"""Axes of a survey: the values of an argument of the model, or of what makes one."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..models.activations import as_activation
from ..models.covariance import Covariance
from ..models.processes import Process
from ..models.targets import TARGETS
from ..numerics.checks import refuse_mask

# arguments of a model that are numbers, with their meaning
NUMBERS = {
    "psi_p": "features per dimension p/d",
    "psi_n": "samples per dimension n/d",
    "t": "diffusion time",
    "noise_draws": "draws of the noise for each data point",
    "weight_decay": "weight decay",
    "d": "dimension of the data",
    "degree": "highest Hermite degree that is followed",
}
WHOLE = ("d", "degree")
# arguments that a function of further axes may make
MADE: dict[str, type] = {"process": Process, "covariance": Covariance}
THINGS = {
    "process": "forward process",
    "covariance": "data covariance",
    "activation": "nonlinearity of the features",
    "target": "what is learnt",
}


class Axis(NamedTuple):
    """Values along a dimension: numbers, or things with labels."""

    values: np.ndarray | list[Any]
    labels: list[str] | None
    meaning: str

    @property
    def coordinate(self) -> tuple[Any, dict[str, Any]]:
        """Its values in a dataset, and their attributes."""
        if self.labels is None:
            return self.values, {"units": "1", "long_name": self.meaning}
        return np.array(self.labels, dtype=object), {"long_name": self.meaning}


def taken(name: str, value: Any, *, own: bool) -> Axis | Any:
    """An axis, or one value, of an argument of the model, or (`own`) of what makes one."""
    if not own:
        return _things(name, value) if name in THINGS else _numbers(name, value)
    if isinstance(value, str) or np.ndim(value) == 0:
        return value
    values = np.asarray(value)
    if values.ndim != 1 or not values.size:
        raise ValueError(
            f"{name} must be one value or a list that is not empty, got {value!r:.100}"
        )
    if values.dtype.kind in "fiu":
        refuse_mask(name, value)
        return Axis(values, None, name)
    return Axis(list(value), [str(v) for v in value], name)


def _numbers(name: str, value: Any) -> Axis | float:
    numbers = list_of_numbers(name, value)
    if name in WHOLE:
        if np.any(numbers % 1):
            raise ValueError(f"{name} must be whole numbers, got {value!r:.100}")
        numbers = numbers.astype(int)
    return numbers[0].item() if np.ndim(value) == 0 else Axis(numbers, None, NUMBERS[name])


def _things(name: str, value: Any) -> Axis | Any:
    labels = None
    if isinstance(value, Mapping):
        labels, value = [str(label) for label in value], list(value.values())
    elif isinstance(value, str) or not isinstance(value, Sequence | np.ndarray):
        return _thing(name, value)
    values = [_thing(name, v) for v in value]
    if not values:
        raise ValueError(f"{name} must not be empty, got {value!r}")
    return Axis(values, labels or [_label(v) for v in values], THINGS[name])


def _thing(name: str, value: Any) -> Any:
    if name == "activation":
        return as_activation(value)
    if name == "target" and value not in TARGETS:
        raise ValueError(f"target must be one of {', '.join(TARGETS)}, got {value!r}")
    if name in MADE:
        check_kind(name, value)
    return value


def check_kind(name: str, value: Any) -> None:
    """Raise a ValueError where a process or a covariance is none."""
    if not isinstance(value, MADE[name]):
        raise KindError(
            f"{name} must be a {MADE[name].__name__}, a list of them, or a function that makes one "
            f"of further axes, got {value!r:.100}"
        )


class KindError(ValueError):
    """What should be a process or a covariance is none."""


def _label(value: Any) -> str:
    return value if isinstance(value, str) else getattr(value, "name", None) or repr(value)


def parameters_of(name: str, maker: Callable[..., Any], given: Mapping[str, Any]) -> list[str]:
    """The arguments of a function that makes a process or a covariance, of those given."""
    known = inspect.signature(maker).parameters.values()
    missing = [p.name for p in known if p.default is p.empty and p.name not in given]
    if missing:
        raise ValueError(
            f"{name} is made of {', '.join(p.name for p in known)}, which must be given beside it, "
            f"got no {', '.join(missing)}"
        )
    own = [p.name for p in known if p.name in given]
    clash = sorted(set(own) & ({*NUMBERS, *THINGS} - {"t"}))
    if clash:
        raise ValueError(
            f"what makes {name} must not be named as an argument of the model, got "
            f"{', '.join(clash)}"
        )
    return own


def list_of_numbers(name: str, values: Any) -> np.ndarray:
    """A list of numbers, of which some may be those of no model."""
    rule = f"{name} must be a list of numbers"
    refuse_mask(name, values)
    try:
        array = np.asarray(values)
    except (TypeError, ValueError) as e:
        raise ValueError(f"{rule}, got {values!r:.100}") from e
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{rule}, got {values!r:.100}")
    if np.ndim(array) == 0:
        array = array[None]
    if array.ndim != 1 or not array.size:
        raise ValueError(f"{rule} that is not empty, got an array of shape {array.shape}")
    return array.astype(float)
