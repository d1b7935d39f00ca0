"""The equations of a model, with all draws of the noise or with finitely many."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

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
from .features import features_of
from .finite_d import FiniteEquations
from .finite_draws import NoiseDrawsEquations
from .functions import Data
from .infinite_width import InfinitelyWide
from .interface import Equations
from .products import Grid

# cells of a degree, and of one that tells their error
CELLS, FINER = Grid(12, 4), Grid(17, 6)


def equations(
    model: RandomFeatureModel, ge: GaussianEquivalent, *, coarse: bool = False
) -> Equations:
    """The equations of a model, given its Gaussian-equivalent constants.

    `coarse` holds a continuous law on its coarse grid. That is three times faster, and gives edges
    to about 1e-7 and no drops.
    """
    model.check_finite_width("the spectrum of U")
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
    if model.infinitely_wide:
        return InfinitelyWide(**{**fields, "psi_p": np.float64(1.0)})
    if np.isinf(model.noise_draws):
        return RandomFeatureEquations(**fields)
    return NoiseDrawsEquations(**fields, draws=np.float64(model.noise_draws))


def _at_finite_d(
    model: RandomFeatureModel, fields: dict[str, Any], *, for_losses: bool
) -> Equations:
    nodes, others = (fields["values"], fields["weights"]), fields["others"]
    build = partial(_of_functions, model, fields)
    # without tails rows of unequal length are not visible
    smeared = not (for_losses or followed_whole(model.activation, model.degree))
    eq = build(*nodes, grid=CELLS, smeared=smeared)
    if not for_losses:
        return eq
    return dataclasses.replace(eq, finer=build(*(others or nodes), grid=FINER))


def _of_functions(
    model: RandomFeatureModel,
    fields: dict[str, Any],
    values: Vector,
    weights: Vector,
    *,
    grid: Grid,
    smeared: bool = False,
) -> FiniteEquations:
    sigma, process, d = model.activation, model.process, np.float64(model.d)
    data = Data(values, weights, d, process.alpha**2, process.beta2)
    lengths = data.lengths[0].squares
    each = [constants_at(model, model.covariance.trace, scale=lengths[j]) for j in (0, 1)]
    features, readout = features_of(
        data,
        hermite_coefficients(sigma, data.squares),
        tuple(jnp.stack([getattr(c, name) for c in each]) for name in ("v2", "s2")),
        hermite_coefficients(sigma, data.many_squares) if smeared else None,
        orders=present_degrees(sigma, model.degree),
        grid=grid,
    )
    shared = {name: fields[name] for name in ("psi_p", "psi_n", "ge", "target", "slope", "decay")}
    return FiniteEquations(
        **shared,
        values=values,
        weights=weights,
        averaged=None,
        features=features,
        finer=None,
        readout=readout,
        d=d,
    )
