"""Families: several models or results in one picture, named by what differs, coloured in order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.artist import Artist
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, LogNorm, Normalize
from matplotlib.lines import Line2D

from ..models.covariance import Isotropic
from ..models.model import RandomFeatureModel
from ..numerics.checks import concrete
from ..numerics.types import Given, Real

# without its yellow end, which does not show on white
SEQUENCE = ListedColormap(plt.get_cmap("viridis")(np.linspace(0.0, 0.85, 256)))
# members that a legend lists one by one
LISTED = 8
# entries that fit inside the axes
INSIDE = 6
SYMBOLS = {
    "psi_p": r"\psi_p",
    "psi_n": r"\psi_n",
    "noise_draws": "m",
    "weight_decay": r"\gamma",
    "t": "t",
    "s": "s",
    "sigma": r"\sigma",
    "log_alpha_bar": r"\log\bar\alpha",
    "step": r"\eta/d^2",
    "momentum": r"\mu",
}


class Parameter(NamedTuple):
    """An argument in which members differ: numbers with a symbol, or texts."""

    symbol: str
    values: list[Any]


class Family(NamedTuple):
    """What is drawn together, with the label of each member."""

    members: list[Any]
    labels: list[str]
    # the one number that tells them apart
    parameter: Parameter | None
    # by the keys of a dictionary
    named: bool

    @property
    def single(self) -> bool:
        return len(self.members) == 1 and not self.named

    @property
    def values(self) -> list[float] | None:
        return None if self.parameter is None else self.parameter.values


def family_of(name: str, given: Given, kinds: tuple[type, ...], rule: str) -> Family:
    """The members of what a user gave, checked and named."""
    named = isinstance(given, Mapping)
    if isinstance(given, kinds):
        members = [given]
    elif isinstance(given, Mapping | list | tuple):
        members = list(given.values() if isinstance(given, Mapping) else given)
    else:
        raise ValueError(f"{name} must be {rule}, got {given!r:.100}")
    if not members:
        raise ValueError(f"{name} must be {rule}, got none: {given!r}")
    for member in members:
        _check(name, member, kinds, rule)
    # sampled curves do not know their model
    known = [member for member in members if model_of(member) is not None]
    parameters = _differences(known)
    numbers = [parameter for parameter in parameters if parameter.symbol]
    one = len(parameters) == len(numbers) == 1 and len(known) == len(members)
    labels = [str(key) for key in given] if named else _labels(members, parameters)
    return Family(members, labels, numbers[0] if one else None, named)


def _check(name: str, member: Any, kinds: tuple[type, ...], rule: str) -> None:
    if not isinstance(member, kinds):
        raise ValueError(f"{name} must be {rule}, got a {type(member).__name__} among them")
    model = model_of(member)
    if not concrete(member):
        raise ValueError(f"{name} must be {rule}, with numbers that are known, got {member!r:.100}")
    if model is not None and np.ndim(model.psi_p):
        raise ValueError(
            f"{name} must be {rule}, of one model each, got a batch of {np.size(model.psi_p)}"
        )


def model_of(member: Any) -> RandomFeatureModel | None:
    return member if isinstance(member, RandomFeatureModel) else member.model


def _differences(members: Sequence[Any]) -> list[Parameter]:
    models = [model_of(member) for member in members]
    columns = [_column(name, [getattr(model, name) for model in models]) for name in _ARGUMENTS]
    # how curves were trained
    steps: list[Real] = [getattr(member, "step", None) for member in members]
    if all(step is not None for step in steps):
        columns.append(Parameter(SYMBOLS["step"], [float(step) for step in steps]))
    else:
        columns.append(Parameter("", [_training(step) for step in steps]))
    momenta = [float(getattr(member, "momentum", 0.0)) for member in members]
    columns.append(Parameter(SYMBOLS["momentum"], momenta))
    return [column for column in columns if len(set(column.values)) > 1]


_ARGUMENTS = tuple(field.name for field in fields(RandomFeatureModel))


def _training(step: Real | None) -> str:
    return "gradient flow" if step is None else f"${SYMBOLS['step']} = {_number(float(step), 4)}$"


def _column(name: str, values: list[Any]) -> Parameter:
    if name in SYMBOLS:
        return Parameter(SYMBOLS[name], [float(value) for value in values])
    if name == "process":
        return _processes(values)
    if name == "covariance":
        return _covariances(values)
    return Parameter("", [getattr(value, "name", value) for value in values])


def _processes(values: list[Any]) -> Parameter:
    scalars = [
        {k: float(v) for k, v in vars(p).items() if np.ndim(v) == 0 and v is not None}
        for p in values
    ]
    names = {(type(process), *numbers) for process, numbers in zip(values, scalars, strict=True)}
    if len(names) == 1 and len(scalars[0]) == 1:
        (name,) = scalars[0]
        return Parameter(SYMBOLS.get(name, name), [numbers[name] for numbers in scalars])
    texts = [
        f"{type(process).__name__}({', '.join(f'{k}={v:.4g}' for k, v in numbers.items())})"
        for process, numbers in zip(values, scalars, strict=True)
    ]
    return Parameter("", texts)


def _covariances(values: list[Any]) -> Parameter:
    kinds, traces = [type(c).__name__ for c in values], [float(c.trace) for c in values]
    distinct = list(dict.fromkeys(values))
    if all(isinstance(c, Isotropic) for c in values):
        return Parameter(r"\sigma_x^2", traces)
    if len(set(kinds)) == len(distinct):
        return Parameter("", kinds)
    if len(set(kinds)) == 1 and len(set(traces)) == len(distinct):
        return Parameter(r"\mathrm{Tr}\,\Sigma/d", traces)
    return Parameter("", [f"{type(c).__name__} {distinct.index(c) + 1}" for c in values])


def _labels(members: list[Any], parameters: list[Parameter]) -> list[str]:
    if len(members) == 1:
        return [""]
    rows = zip(*map(_written, parameters), strict=True)
    known = iter([", ".join(row) for row in rows] or ["theory"] * len(members))
    labels = ["sampled" if model_of(member) is None else next(known) for member in members]
    again = {label for label in labels if labels.count(label) > 1}
    return [f"{x} ({labels[: i + 1].count(x)})" if x in again else x for i, x in enumerate(labels)]


def _written(parameter: Parameter) -> list[str]:
    symbol, values = parameter
    if not symbol:
        return [str(value) for value in values]
    # as many digits as tell them apart
    different = len(set(values))
    digits = next(
        n for n in (4, 8, 17) if n == 17 or len({f"{v:.{n}g}" for v in values}) == different
    )
    return [f"${symbol} = {_number(value, digits)}$" for value in values]


def _number(value: float, digits: int) -> str:
    if np.isinf(value):
        return r"\infty"
    mantissa, _, power = f"{value:.{digits}g}".partition("e")
    if not power:
        return mantissa
    factor = "" if mantissa == "1" else rf"{mantissa}\times "
    return rf"{factor}10^{{{int(power)}}}"


def colors_of(count: int, values: Sequence[float] | None = None) -> list[Any]:
    """One colour for each member: black for one alone, else in order of the values or as given."""
    if count == 1:
        return ["black"]
    if values is None:
        return [SEQUENCE(place) for place in np.linspace(0.0, 1.0, count)]
    if count > LISTED:
        norm = _norm(values)
        return [SEQUENCE(float(norm(value))) for value in values]
    ranks = np.unique(values, return_inverse=True)[1]
    return [SEQUENCE(float(place)) for place in ranks / ranks.max()]


def _norm(values: Sequence[float]) -> Normalize:
    finite = [value for value in values if np.isfinite(value)]
    lowest, highest = min(finite), max(finite)
    kind = LogNorm if lowest > 0 and highest > 5 * lowest else Normalize
    return kind(lowest, highest, clip=True)


def name_members(
    ax: Any, family: Family, handles: Sequence[Line2D], others: Iterable[Artist] = ()
) -> None:
    """One legend of the members and what else there is; of many members a colour bar, or a few."""
    shown: list[Artist] = list(handles)
    count = len(handles)
    if count > LISTED and family.parameter is not None and not family.named:
        scale = ScalarMappable(_norm(family.parameter.values), SEQUENCE)
        ax.figure.colorbar(scale, ax=ax, label=f"${family.parameter.symbol}$")
        shown = []
    elif count > LISTED:
        shown = [handles[i] for i in np.linspace(0, count - 1, LISTED).round().astype(int)]
    shown += others
    if not shown:
        return
    # beside the axes only where a layout makes room for it
    if len(shown) > INSIDE and ax.figure.get_layout_engine() is not None:
        ax.legend(handles=shown, loc="center left", bbox_to_anchor=(1.02, 0.5))
    else:
        ax.legend(handles=shown, loc="best")


def entry(label: str, color: Any, line: Any = "-", marker: str = "", **looks: Any) -> Line2D:
    # of a legend
    return Line2D([], [], color=color, ls=line, marker=marker, mfc="none", label=label, **looks)
