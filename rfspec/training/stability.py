"""The longest step under which training is stable."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ..models.model import RandomFeatureModel
from ..numerics.checks import concrete
from ..numerics.types import Real, Truth
from ..spectra.finite_d import SpectrumAtFiniteD
from ..spectra.of_models import AnySpectrum, spectrum
from ..spectra.unbounded import open_ends
from .filters import stable_below


def checked_stability(model: RandomFeatureModel, step: Real, mu: float) -> Truth:
    """Whether the fastest mode shrinks; where that is known it has to."""
    sp = jax.lax.stop_gradient(spectrum(model))
    limit = jax.lax.stop_gradient(stable_step(sp, "momentum", mu))
    step = jax.lax.stop_gradient(step)
    if concrete(limit, step) and not float(step) < float(limit):
        raise ValueError(
            f"step must be below {float(limit):.6g} to be stable for this model, got "
            f"{float(step):.6g}"
        )
    return step < limit


def stable_step(sp: AnySpectrum, optimizer: str, mu: float) -> Real:
    """The training time of one step from which on the fastest mode does not shrink."""
    top = _largest(sp) + sp.equations.decay
    return stable_below(optimizer, mu) * sp.model.time_unit / top


def _largest(sp: AnySpectrum) -> Real:
    if isinstance(sp, SpectrumAtFiniteD):
        return jnp.asarray(sp.support.upper)
    upper = open_ends(sp.equations, sp.support).upper
    return sp.atom.location + jnp.nanmax(jnp.asarray(upper))
