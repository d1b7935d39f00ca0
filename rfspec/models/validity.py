"""What a model refuses, and what it warns of, once each of its arguments is in its range."""

from __future__ import annotations

import sys
import warnings
from math import comb
from typing import Any

import jax
import numpy as np

from ..numerics.checks import concrete, level_of_the_caller
from ..numerics.quadrature import trapezoid
from .activations import SATURATING, USUAL, Polynomial, SaturationWarning
from .kernels import Kernel
from .lengths import FewDimensionsWarning, effective_rank, warning_of_few_dimensions


def check_together(model: Any) -> None:
    """Raise where arguments do not go together."""
    if model.covariance.has_classes and model.noise_draws != np.inf:
        raise ValueError(
            f"noise_draws must be inf for data with classes, got {model.noise_draws!r}: "
            "finitely many draws are derived for one covariance only"
        )
    if model.infinitely_wide:
        _check_infinite_width(model)
    elif isinstance(model.activation, Kernel) and concrete(model.psi_p):
        raise ValueError(f"a kernel goes with psi_p = inf only, got psi_p={model.psi_p:.6g}")
    if model.d is not None:
        _check_dimension(model, model.d)


def _check_infinite_width(model: Any) -> None:
    usual = {"noise_draws": np.inf, "weight_decay": 0.0, "d": None}
    for name, value in usual.items():
        given = getattr(model, name)
        if concrete(given) and given != value:
            raise ValueError(f"psi_p = inf goes with {name}={value} only, got {given!r}")
    if model.covariance.has_classes:
        raise ValueError("psi_p = inf goes with data of one class only, got classes")


def _check_dimension(model: Any, d: int) -> None:
    if np.isfinite(model.noise_draws):
        raise ValueError(
            f"d goes with noise_draws=inf only, got d={d} and {model.noise_draws:g} draws"
        )
    if model.covariance.has_classes:
        raise ValueError(f"d goes with data of one class only, got d={d} and classes")
    if not concrete(model.psi_p, model.psi_n) or np.ndim(model.psi_p) or np.ndim(model.psi_n):
        return
    degree = model.degree
    followed = comb(d + degree, degree)
    fewer = d * min(float(model.psi_p), float(model.psi_n))
    if degree > 1 and fewer > followed:
        raise ValueError(
            f"d must be so large that there are fewer features or samples than the {followed} "
            f"polynomials of degree {degree} in d variables (or raise degree), got "
            f"d={d} with p={model.psi_p * d:.6g} and n={model.psi_n * d:.6g}"
        )


def check_second_moment(model: Any) -> None:
    """Raise where the second moment of a user's own activation diverges."""
    # E[σ(Γz)²] exists if its integrand has died out where the quadrature ends
    if model.activation.named or isinstance(model.activation, Polynomial | Kernel):
        return
    of_classes = model.gamma2_of(model.covariance.traces)
    if not concrete(of_classes):
        return
    gamma2 = np.max(of_classes)
    z, w = trapezoid()
    with np.errstate(all="ignore"), jax.ensure_compile_time_eval():
        y = np.asarray(model.activation(np.sqrt(float(gamma2)) * z))
        terms = np.abs(y**2 * w)
        died_out = np.all(np.isfinite(y)) and max(terms[0], terms[-1]) < 1e-12 * terms.max()
    if not died_out:
        raise ValueError(
            f"activation must have a finite second moment under N(0, {float(gamma2):.6g}), "
            f"got a diverging E[σ²] from {model.activation.name!r}"
        )


def warn_of_few_dimensions(model: Any) -> None:
    """Warn where the theory of finite d fails."""
    followed = model.d is not None and model.degree > 1 and not model.covariance.has_classes
    if not followed or not concrete(*jax.tree.leaves(model)):
        return
    sigma, process = model.covariance, model.process
    noisy = process.alpha**2 * sigma.values + process.beta2
    ranks = (effective_rank(v, sigma.weights, model.d) for v in (sigma.values, noisy))
    text = warning_of_few_dimensions(np.max(model.psi_p / (model.psi_n * model.d)), min(*ranks))
    if text:
        level = level_of_the_caller(sys._getframe())
        warnings.warn(text, FewDimensionsWarning, stacklevel=level)


def warn_of_saturation(model: Any) -> None:
    """Warn where a bounded activation is nearly linear, or saturated."""
    if not concrete(*jax.tree.leaves(model)):
        return
    of_classes = model.gamma2_of(model.covariance.main_traces)
    # a process of the user's own may compute traced values inside `jax.jit`
    if not concrete(of_classes) or not (
        model.activation.named and model.activation.name in SATURATING
    ):
        return
    unusual = of_classes[~((of_classes >= USUAL[0]) & (of_classes <= USUAL[1]))]
    if unusual.size:
        gamma2 = unusual[np.argmax(np.abs(np.log(unusual)))]
        some = f" of {unusual.size} of {of_classes.size} classes"
        whose = some if model.covariance.has_classes else ""
        effect = (
            "nearly linear: v² and s² almost vanish"
            if gamma2 < 1
            else "saturated: little of it is linear"
        )
        warnings.warn(
            f"the pre-activations{whose} have variance Γ² = α²σ_x² + β² = {gamma2:.4g}, "
            f"outside [1/16, 16], where {model.activation.name} is {effect}; scale the data, "
            "e.g. covariance.normalised(1.0)",
            SaturationWarning,
            stacklevel=level_of_the_caller(sys._getframe()),
        )
