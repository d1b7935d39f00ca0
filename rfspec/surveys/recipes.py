"""From recipes to equations of many cells at once."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..models.activations import Activation, SaturationWarning
from ..models.covariance import Isotropic
from ..models.gaussian_equivalent import GaussianEquivalent, gaussian_equivalent
from ..models.model import RandomFeatureModel
from ..models.schedules import Interpolant
from ..numerics.checks import level_of_the_caller
from ..numerics.types import Real
from ..resolvent.equations import averaged_equations, equations
from ..resolvent.interface import Equations
from ..training.exact_score import score_error
from .grid import Models, Numbers

# numbers in the recipes that are kept, of which each counts as so many more
KEPT, EACH = 1 << 24, 1000
# from so many recipes on constants are computed in batches
MANY, TOGETHER = 4096, 256


class Recipe(NamedTuple):
    """What the cells of a recipe share.

    `eq`, `spectral`: equations for losses and for spectra, of any ψ_p, ψ_n and γ. `pace`: ω².
    `scores`: E_score of the test losses 0 and 1. `kind`: the same where programs are the same.
    """

    eq: Equations
    spectral: Equations
    pace: Real
    scores: np.ndarray
    kind: Any


class Alike(NamedTuple):
    """Cells of one kind of equations, which share programs; all arrays are [cell, ...].

    `places`: where they are among the cells that were asked for.
    """

    places: np.ndarray
    eq: Equations
    spectral: Equations
    pace: np.ndarray
    scores: np.ndarray
    psi_p: np.ndarray


class Recipes:
    """Equations of the recipes of a survey, made when they are needed.

    `coarse` holds continuous laws on coarse grids.
    """

    def __init__(self, models: Models, *, coarse: bool):
        self.models, self.coarse = models, coarse
        self._known: dict[int, Recipe | None] = {}
        self._held = 0
        self._constants: dict[Any, GaussianEquivalent] = {}
        self._warned = False

    def alike(self, numbers: Numbers) -> Iterator[Alike]:
        """The cells that have a model, by their kind of equations."""
        places = np.flatnonzero(numbers.inside)
        wanted, which = np.unique(numbers.recipe[places], return_inverse=True)
        recipes = self.of(wanted.tolist())
        kinds: dict[Any, list[int]] = {}
        for i, recipe in enumerate(recipes):
            if recipe is not None:
                kinds.setdefault(recipe.kind, []).append(i)
        for members in kinds.values():
            own = np.isin(which, members)
            which_member = np.searchsorted(members, which[own])
            yield _together([recipes[i] for i in members], which_member, places[own], numbers)

    def of(self, wanted: Sequence[int]) -> list[Recipe | None]:
        if self._held > KEPT:
            self._known.clear()
            self._constants.clear()
            self._held = 0
        new = [i for i in wanted if i not in self._known]
        models = dict(zip(new, self._models(new), strict=True))
        for i, constants in self._constants_of({i: m for i, m in models.items() if m}).items():
            self._known[i] = recipe = self._recipe(models[i], constants)
            self._held += EACH + sum(np.size(leaf) for leaf in jax.tree.leaves(recipe))
        return [self._known.setdefault(i, None) for i in wanted]

    def _models(self, recipes: Sequence[int]) -> list[RandomFeatureModel | None]:
        # of many warnings the first is passed on
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", SaturationWarning)
            models = [self.models.model(i) for i in recipes]
        for warning in caught:
            saturated = issubclass(warning.category, SaturationWarning)
            if not (saturated and self._warned):
                self._warned |= saturated
                level = level_of_the_caller(sys._getframe())
                warnings.warn(warning.message, stacklevel=level)
        return models

    def _constants_of(self, models: dict[int, Any]) -> dict[int, GaussianEquivalent]:
        keys = {i: _variances(m) for i, m in models.items()}
        new = {keys[i]: m for i, m in models.items() if keys[i] not in self._constants}
        if self.models.recipes < MANY or any(m.covariance.has_classes for m in new.values()):
            self._constants |= {key: gaussian_equivalent(m) for key, m in new.items()}
        else:
            self._constants |= _in_batches(list(new))
        return {i: jax.tree.map(np.asarray, self._constants[key]) for i, key in keys.items()}

    def _recipe(self, model: Any, ge: GaussianEquivalent) -> Recipe:
        eq = averaged_equations(model, ge, coarse=self.coarse)
        # a spectrum is that of all classes, and of d → ∞
        same = model.covariance.atomic and not model.covariance.has_classes and model.d is None
        spectral = eq if same else equations(model.limit, ge, coarse=self.coarse)
        scores = np.asarray(score_error(model, np.array([0.0, 1.0])))
        return Recipe(eq, spectral, np.float64(model.pace), scores, _kind(eq, spectral))


def _variances(model: RandomFeatureModel) -> tuple[Activation, float, float, Any]:
    # all that the constants depend on
    process = model.process
    data = model.covariance
    trace = tuple(map(float, data.traces)) if data.has_classes else float(data.trace)
    return model.activation, float(process.alpha), float(process.beta), trace


def _in_batches(keys: list[Any]) -> dict[Any, GaussianEquivalent]:
    found = {}
    for sigma in {key[0] for key in keys}:
        own = [key for key in keys if key[0] == sigma]

        def constants(alpha: Real, beta: Real, trace: Real, sigma: Any = sigma) -> Any:
            white, process = Isotropic(trace), Interpolant(alpha, beta)
            return gaussian_equivalent(
                RandomFeatureModel(1.0, 1.0, process=process, activation=sigma, covariance=white)
            )

        for start in range(0, len(own), TOGETHER):
            part = own[start : start + TOGETHER]
            full = part + part[-1:] * (TOGETHER - len(part))
            columns = (jnp.array(column) for column in zip(*(key[1:] for key in full), strict=True))
            many = jax.tree.map(np.asarray, jax.vmap(constants)(*columns))
            for i, key in enumerate(part):
                found[key] = jax.tree.map(lambda a, i=i: a[i], many)
    return found


def _kind(eq: Equations, spectral: Equations) -> Any:
    leaves, structure = jax.tree.flatten((eq, spectral))
    return structure, tuple(np.shape(leaf) for leaf in leaves), eq is spectral


def _together(recipes: list[Any], which: np.ndarray, places: np.ndarray, numbers: Numbers) -> Alike:
    stacked = lambda trees: jax.tree.map(lambda *a: np.stack(a)[which], *trees)
    psi_p, psi_n, decay, _ = (column[places] for column in numbers)
    pace = stacked([r.pace for r in recipes])

    def of_cells(eq: Any) -> Any:
        numbers = lambda e: (e.psi_p, e.psi_n, e.decay)
        values = psi_p, psi_n, decay / pace
        eq = eqx.tree_at(numbers, eq, values)
        if eq.averaged is None:
            return eq
        return eqx.tree_at(lambda e: numbers(e.averaged), eq, values)

    eq = of_cells(stacked([r.eq for r in recipes]))
    same = recipes[0].eq is recipes[0].spectral
    spectral = eq if same else of_cells(stacked([r.spectral for r in recipes]))
    scores = stacked([r.scores for r in recipes])
    return Alike(places, eq, spectral, pace, scores, psi_p)
