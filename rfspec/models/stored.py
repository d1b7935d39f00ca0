"""Models as text that is read back to the last bit, for the files of results.

Numbers are kept as the bytes of their doubles. Only classes of this chapter are made from a text,
and nothing in it is ever evaluated.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import fields
from typing import Any

import equinox as eqx
import numpy as np

from . import covariance, covariance_laws, from_data, mixtures, processes, schedules
from .activations import Activation, Polynomial, as_activation
from .continuum import Continuum
from .model import USUAL_DEGREE, RandomFeatureModel

CLASSES: dict[str, type] = {
    name: thing
    for module in (covariance, covariance_laws, from_data, mixtures, processes, schedules)
    for name, thing in vars(module).items()
    if isinstance(thing, type) and issubclass(thing, covariance.Covariance | processes.Process)
} | {c.__name__: c for c in (Continuum, RandomFeatureModel)}
# fields of models that files of earlier versions lack
SINCE = {"d": None, "degree": USUAL_DEGREE}
DOUBLES = "float64"
# the name of the text in files
MODEL = "rfspec_model"


def to_text(model: RandomFeatureModel) -> str:
    """The model as one line of JSON."""
    return json.dumps(_plain(model), separators=(",", ":"))


def stored(model: RandomFeatureModel) -> dict[str, str]:
    """The text under its name in files; nothing where a class of the user's own has none."""
    try:
        return {MODEL: to_text(model)}
    except (TypeError, ValueError):
        return {}


def from_text(text: str) -> RandomFeatureModel:
    """The model that `to_text` wrote.

    Raises
    ------
    ValueError
        If the text is no model, or the activation is a function of the user's own.
    """
    rule = "the model of a file must be one that rfspec has written"
    try:
        model = _made(json.loads(text))
    except (LookupError, TypeError, AttributeError, json.JSONDecodeError, binascii.Error) as e:
        raise ValueError(f"{rule}, got {text!r:.100}") from e
    if not isinstance(model, RandomFeatureModel):
        raise ValueError(f"{rule}, got {text!r:.100}")
    return model


def _plain(thing: Any) -> Any:
    name = type(thing).__name__
    if isinstance(thing, Polynomial):
        return {"polynomial": _plain(thing.coefficients)}
    if isinstance(thing, Activation):
        return {"activation" if thing.named else "callable": thing.name}
    if isinstance(thing, eqx.Module) and CLASSES.get(name) is type(thing):
        return {
            "class": name,
            "fields": {f.name: _plain(getattr(thing, f.name)) for f in fields(thing)},
        }
    if isinstance(thing, tuple):
        return [_plain(item) for item in thing]
    if thing is None or isinstance(thing, str | int):
        return thing
    numbers = np.asarray(thing, float)
    return {"shape": numbers.shape, DOUBLES: base64.b64encode(numbers.tobytes()).decode()}


def _made(plain: Any) -> Any:
    if isinstance(plain, list):
        return tuple(_made(item) for item in plain)
    if not isinstance(plain, dict):
        return plain
    if DOUBLES in plain:
        numbers = np.frombuffer(base64.b64decode(plain[DOUBLES]))
        return numbers.reshape(plain["shape"])[()] if plain["shape"] else numbers[0]
    if "polynomial" in plain:
        return Polynomial(_made(plain["polynomial"]))
    if "activation" in plain:
        return as_activation(plain["activation"])
    if "callable" in plain:
        raise ValueError(
            "the model of a file must have an activation that rfspec knows, got the function "
            f"{plain['callable']!r}, which only its author can give"
        )
    made: Any = object.__new__(CLASSES[plain["class"]])
    names = {f.name for f in fields(made)}
    values = {k: v for k, v in SINCE.items() if k in names} | plain["fields"]
    if names != set(values):
        raise KeyError(plain["class"])
    for name, value in values.items():
        object.__setattr__(made, name, _made(value))
    return made
