"""The equations of a model, with all draws of the noise or with finitely many."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from ..models.covariance import Covariance
from ..models.degrees import followed_whole, hermite_coefficients, present_degrees
from ..models.gaussian_equivalent import GaussianEquivalent, constants_at
from ..models.model import RandomFeatureModel
from ..models.targets import combination
from ..numerics.checks import concrete, namespace
from ..numerics.session import enter
from ..numerics.types import Vector
from .all_draws import RandomFeatureEquations
from .classes import class_equations
from .features import features_of, readout_of
from .finite_d import FiniteEquations
from .finite_draws import NoiseDrawsEquations
from .functions import Data
from .interface import Equations
from .products import Grid

# cells of a degree, and of one that tells their error
CELLS, FINER = Grid(14, 6), Grid(20, 8)


def equations(
    model: RandomFeatureModel, ge: GaussianEquivalent, *, coarse: bool = False
) -> Equations:
    """The equations of a model, given its Gaussian-equivalent constants.

    `coarse` holds a continuous law on its coarse grid. That is three times faster, and gives edges
    to about 1e-7 and no drops.
    """
    if model.covariance.has_classes:
        return class_equations(model, ge, for_losses=False)
    if model.covariance.continua is None:
        return _equations(model, ge, *filled_up(model.covariance))
    law = model.covariance.continua[coarse]
    whole = concrete(law.lowered) and law.lowered == 0
    averaged = None if coarse or whole else averaged_equations(model, ge)
    return _equations(model, ge, law.values, law.weights, law=law, averaged=averaged)


def averaged_equations(
    model: RandomFeatureModel, ge: GaussianEquivalent, *, coarse: bool = False
) -> Equations:
    """The equations of a model for losses, in which a continuous law needs few nodes.

    Losses see resolvents far from the spectrum only. Twice as many nodes tell the error. `coarse`
    takes half as many.
    """
    covariance = model.covariance
    if covariance.has_classes:
        return class_equations(model, ge, for_losses=True)
    nodes = filled_up(covariance)
    build = partial(_equations, model, ge, for_losses=True)
    if covariance.fewer is None or covariance.more is None:
        return build(*nodes)
    if coarse:
        return build(*_padded(*covariance.fewer), others=nodes)
    return build(*nodes, others=_padded(*covariance.more))


def filled_up(covariance: Covariance) -> tuple[Vector, Vector]:
    """Eigenvalues and weights of Σ, with more of weight 0 up to a power of two.

    Few lengths mean few compilations.
    """
    return _padded(covariance.values, covariance.weights)


def _padded(values: Vector, weights: Vector) -> tuple[Vector, Vector]:
    xp, size = namespace(values, weights), values.shape[-1]
    missing = (1 << (size - 1).bit_length()) - size
    if not missing:
        return values, weights
    return xp.pad(values, (0, missing), mode="edge"), xp.pad(weights, (0, missing))


def _equations(
    model: RandomFeatureModel,
    ge: GaussianEquivalent,
    values: Vector,
    weights: Vector,
    *,
    law: Any = None,
    others: tuple[Vector, Vector] | None = None,
    averaged: Equations | None = None,
    for_losses: bool = False,
) -> Equations:
    enter()
    y, process = combination(model.target, model.process), model.process
    slope = None if y.signal is None else y.signal * process.alpha / process.beta
    fields = {
        "psi_p": model.psi_p,
        "psi_n": model.psi_n,
        "values": values,
        "weights": weights,
        "law": law,
        "others": others,
        "averaged": averaged,
        "ge": ge,
        "target": y,
        "slope": slope,
        "decay": model.weight_decay / y.pace,
    }
    if model.d is not None and model.degree > 1:
        return _at_finite_d(model, fields, for_losses=for_losses)
    if np.isinf(model.noise_draws):
        return RandomFeatureEquations(**fields)
    return NoiseDrawsEquations(**fields, draws=np.float64(model.noise_draws))


def _at_finite_d(
    model: RandomFeatureModel, fields: dict[str, Any], *, for_losses: bool
) -> Equations:
    process, d = model.process, np.float64(model.d)
    data = Data(fields["values"], fields["weights"], d, process.alpha**2, process.beta2)
    orders = present_degrees(model.activation, model.degree)
    coefficients = hermite_coefficients(model.activation, data.squares)
    rows = data.lengths[0].squares
    constants = [constants_at(model, model.covariance.trace, scale=rows[j]) for j in (0, 1)]
    of_rows = tuple(jnp.stack([getattr(c, name) for c in constants]) for name in ("v2", "s2"))
    fields = {**fields, "law": None, "averaged": None, "d": d}
    given = {"data": data, "h": coefficients, "of_rows": of_rows, "orders": orders}
    names = {field.name for field in dataclasses.fields(FiniteEquations)}
    fields = {name: value for name, value in fields.items() if name in names}
    one = FiniteEquations(
        **fields, features=features_of(**given, grid=CELLS), finer=None, readout=None
    )
    if for_losses:
        finer = eqx.tree_at(lambda e: e.features, one, features_of(**given, grid=FINER))
        return dataclasses.replace(one, finer=finer)
    if followed_whole(model.activation, model.degree):
        # no tails, which would make rows of unequal length visible
        return one
    of_many = hermite_coefficients(model.activation, data.many_squares)
    return dataclasses.replace(one, readout=readout_of(**given, h_of_many=of_many, grid=CELLS))
