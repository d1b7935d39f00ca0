"""The cells of a survey: every combination of values along axes, or models one by one.

A cell has ψ_p, ψ_n and γ, which are numbers, and a recipe, which is all else of its model. Recipes
are numbered, and made when they are asked for. A value that no model has is left to its cells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import numpy as np

from ..files.checkpoint import fingerprint, signature
from ..models.activations import Activation
from ..models.model import RandomFeatureModel
from ..numerics.types import Given
from .axes import MADE, NUMBERS, THINGS, Axis, KindError, check_kind, parameters_of, taken

# what a model has where nothing else is said
USUAL = {"weight_decay": 0.0, "noise_draws": np.inf}
# numbers that a cell has beside its recipe
OF_CELLS = ("psi_p", "psi_n", "weight_decay")
# at most so many recipes are made to see how many bulks there may be
FEW = 256

Coordinates = dict[str, tuple[tuple[str, ...], Any, dict[str, Any]]]


class Numbers(NamedTuple):
    """ψ_p, ψ_n, γ and the number of the recipe, [cell]."""

    psi_p: np.ndarray
    psi_n: np.ndarray
    decay: np.ndarray
    recipe: np.ndarray

    @property
    def inside(self) -> np.ndarray:
        """Whether a model may have these numbers."""
        psi = np.stack([self.psi_p, self.psi_n])
        with np.errstate(invalid="ignore"):
            return np.all(np.isfinite(psi) & (psi > 0), axis=0) & (
                np.isfinite(self.decay) & (self.decay >= 0)
            )


class Grid:
    """Every combination of the values of some axes.

    `sizes`: how many values each has. `recipes`: how many recipes there are.
    """

    def __init__(self, arguments: Mapping[str, Any]):
        self.makers = {
            name: arguments[name]
            for name, kind in MADE.items()
            if callable(arguments.get(name)) and not isinstance(arguments[name], kind)
        }
        rest = {name: v for name, v in arguments.items() if name not in self.makers}
        self.own = {name: parameters_of(name, f, rest) for name, f in self.makers.items()}
        self.of_makers = {p for names in self.own.values() for p in names}
        _check_names(arguments, self.of_makers)
        values = {
            name: taken(name, value, own=name in self.of_makers)
            for name, value in rest.items()
            if value is not None
        }
        self.axes: dict[str, Axis] = {k: v for k, v in values.items() if isinstance(v, Axis)}
        self.fixed = {k: v for k, v in (USUAL | values).items() if k not in self.axes}
        self.sizes = {name: len(axis.values) for name, axis in self.axes.items()}
        self.of_recipes = {k: size for k, size in self.sizes.items() if k not in OF_CELLS}
        self.recipes = int(np.prod(list(self.of_recipes.values()), dtype=int))
        if not self.of_recipes:
            # what is wrong with the only recipe is wrong with all cells
            self._made(0)

    @property
    def coordinates(self) -> Coordinates:
        """Those of a dataset, by name; a number that is fixed is a scalar."""
        along: Coordinates = {n: ((n,), *axis.coordinate) for n, axis in self.axes.items()}
        fixed: Coordinates = {
            name: ((), value, {"units": "1", "long_name": NUMBERS.get(name, name)})
            for name, value in self.fixed.items()
            if isinstance(value, int | float | np.number)
        }
        return along | fixed

    def numbers(self, cells: np.ndarray) -> Numbers:
        """Of cells by their flat indices."""
        sizes = tuple(self.sizes.values())
        places = np.unravel_index(cells, sizes) if sizes else ()
        place = dict(zip(self.sizes, places, strict=True))
        along = lambda name: (
            np.asarray(self.axes[name].values)[place[name]]
            if name in place
            else np.full(cells.shape, self.fixed[name])
        )
        recipe = np.zeros(cells.shape, int)
        for name, size in self.of_recipes.items():
            recipe = recipe * size + place[name]
        psi_p, psi_n, decay = map(along, OF_CELLS)
        return Numbers(psi_p, psi_n, decay, recipe)

    def model(self, recipe: int) -> RandomFeatureModel | None:
        """The recipe as a model of ψ_p = ψ_n = 1 and γ = 0; None where there is none."""
        try:
            return self._made(recipe)
        except KindError:
            raise
        except (ValueError, ArithmeticError):
            return None

    def _made(self, recipe: int) -> RandomFeatureModel:
        sizes = tuple(self.of_recipes.values())
        places = np.unravel_index(recipe, sizes) if sizes else ()
        chosen = {
            name: self.axes[name].values[int(i)]
            for name, i in zip(self.of_recipes, places, strict=True)
        }
        known = self.fixed | chosen
        made = {name: f(**{p: known[p] for p in self.own[name]}) for name, f in self.makers.items()}
        for name, thing in made.items():
            check_kind(name, thing)
        rest = {name: v for name, v in known.items() if name not in self.of_makers}
        return RandomFeatureModel(
            **{**rest, **made, "psi_p": 1.0, "psi_n": 1.0, "weight_decay": 0.0}
        )

    def for_room(self) -> list[int]:
        """Recipes among which is one of the most bulks; empty where it would take many to know."""
        matters = {"covariance", "noise_draws", *self.own.get("covariance", ())}
        counts = [size if name in matters else 1 for name, size in self.of_recipes.items()]
        count = int(np.prod(counts, dtype=int))
        if count > FEW:
            return []
        if not counts:
            return [0]
        places = np.unravel_index(np.arange(count), tuple(counts))
        return np.ravel_multi_index(places, tuple(self.of_recipes.values())).tolist()

    def identity(self) -> str:
        """A digest of all that the numbers of the cells depend on."""
        ends = [self.model(i) for i in sorted({0, self.recipes - 1})]
        things = {**{k: a.values for k, a in self.axes.items()}, **self.fixed}
        shapes = [_values_of(thing) for thing in things.values()]
        return fingerprint(
            list(things), shapes, list(self.makers), [m and signature(m) for m in ends]
        )


class Listed:
    """Models one by one."""

    def __init__(self, models: Sequence[Any]):
        self.sizes = {"model": len(models)}
        for i, model in enumerate(models):
            if not isinstance(model, RandomFeatureModel) or np.ndim(model.psi_p):
                raise ValueError(f"{RULE}, got {model!r:.100} at {i}")
        if not len(models):
            raise ValueError(f"{RULE} that is not empty, got {models!r}")
        known: dict[Any, int] = {}
        self._recipes: list[RandomFeatureModel] = []
        recipe = np.array([self._recipe(model, known) for model in models])
        column = lambda name: np.array([float(getattr(m, name)) for m in models])
        psi_p, psi_n, decay = map(column, OF_CELLS)
        self._numbers = Numbers(psi_p, psi_n, decay, recipe)
        self.recipes = len(self._recipes)
        self.coordinates: Coordinates = {
            name: (("model",), column(name), {"units": "1", "long_name": NUMBERS[name]})
            for name in ("psi_p", "psi_n", "noise_draws", "weight_decay")
        }

    def _recipe(self, model: RandomFeatureModel, known: dict[Any, int]) -> int:
        of_data = model.process, model.activation, model.covariance, model.target
        key = *of_data, model.noise_draws, model.d, model.degree
        if key not in known:
            known[key] = len(known)
            numbers = lambda m: (m.psi_p, m.psi_n, m.weight_decay)
            one = np.float64(1.0)
            self._recipes.append(eqx.tree_at(numbers, model, (one, one, np.float64(0.0))))
        return known[key]

    def numbers(self, cells: np.ndarray) -> Numbers:
        """Of cells by their flat indices."""
        return Numbers(*(column[cells] for column in self._numbers))

    def model(self, recipe: int) -> RandomFeatureModel:
        """The recipe as a model of ψ_p = ψ_n = 1 and γ = 0."""
        return self._recipes[recipe]

    def for_room(self) -> list[int]:
        """All recipes."""
        return list(range(self.recipes))

    def identity(self) -> str:
        """A digest of all that the numbers of the cells depend on."""
        return fingerprint(tuple(self._numbers), *(signature(m) for m in self._recipes))


Models = Grid | Listed
RULE = "models must be a mapping of arguments or a list of rf.RandomFeatureModel"


def models_of(given: Given) -> Models:
    """The models of what a user gives: a mapping of arguments, or a list of models."""
    if isinstance(given, Mapping):
        return Grid(given)
    if isinstance(given, Sequence | np.ndarray) and not isinstance(given, str | bytes):
        return Listed(list(given))
    raise ValueError(f"{RULE}, got {given!r:.100}")


def _check_names(arguments: Mapping[str, Any], of_makers: set[str]) -> None:
    unknown = sorted(map(str, set(arguments) - {*NUMBERS, *THINGS} - of_makers))
    if unknown:
        raise ValueError(
            f"models must have arguments of rf.RandomFeatureModel and of what makes its process "
            f"or covariance, got {', '.join(unknown)}"
        )
    missing = [name for name in ("psi_p", "psi_n") if arguments.get(name) is None]
    if missing:
        raise ValueError(f"models must have psi_p and psi_n, got no {' and no '.join(missing)}")
    has_t = arguments.get("t") is not None and "t" not in of_makers
    if has_t == (arguments.get("process") is not None):
        raise ValueError(
            f"models must have exactly one of t and process, got {'both' if has_t else 'none'}"
        )


def _values_of(thing: Any) -> Any:
    # functions are told apart by their values
    if isinstance(thing, list):
        return [_values_of(item) for item in thing]
    return (thing, thing(np.linspace(-8.0, 8.0, 129))) if isinstance(thing, Activation) else thing
