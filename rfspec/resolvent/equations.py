"""The equations of a model, with all draws of the noise or with finitely many."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..models.covariance import Covariance
from ..models.degrees import degrees, without_degrees
from ..models.gaussian_equivalent import GaussianEquivalent
from ..models.model import RandomFeatureModel
from ..models.targets import combination
from ..numerics.checks import concrete, namespace
from ..numerics.session import enter
from ..numerics.types import Vector
from .all_draws import RandomFeatureEquations
from .blocks import CELLS, FINER, BlockEquations, Data, blocks_of
from .classes import class_equations
from .finite_draws import NoiseDrawsEquations
from .interface import Equations


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
    if covariance.fewer is None or covariance.more is None:
        return _equations(model, ge, *nodes)
    if coarse:
        return _equations(model, ge, *_padded(*covariance.fewer), others=nodes)
    return _equations(model, ge, *nodes, others=_padded(*covariance.more))


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
    if model.d is not None:
        return _with_blocks(model, fields)
    if np.isinf(model.noise_draws):
        return RandomFeatureEquations(**fields)
    return NoiseDrawsEquations(**fields, draws=np.float64(model.noise_draws))


def _with_blocks(model: RandomFeatureModel, fields: dict[str, Any]) -> Equations:
    kept = degrees(model)
    if not kept:
        return RandomFeatureEquations(**fields)
    covariance, process = model.covariance, model.process
    sigma = covariance.values, covariance.weights
    data = Data(*sigma, np.float64(model.d), process.alpha**2, process.beta2)
    fields["ge"] = without_degrees(fields["ge"], kept)
    some, more = (blocks_of(kept, data, grid) for grid in (CELLS, FINER))
    return BlockEquations(**fields, blocks=some, finer=more)
