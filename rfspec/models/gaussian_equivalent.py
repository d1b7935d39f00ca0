r"""The six constants of the Gaussian-equivalent features.

With h_k = E[σ(Γz) He_k(z)]/√k! and c = α²σ_x²/Γ² (1 - c = β²/Γ²) every constant is a sum of
positive terms,

    μ0 = h_0,   μ1 = h_1/Γ,   κ² = α²μ1²,   b² = β²μ1²,
    v² = Σ_{k≥2} h_k² c^k,    s² = Σ_{k≥2} h_k² (1 - c^k),

so nothing cancels as t → 0, where the paper's differences of averages lose s² and v². This file
decides which route of ``rfspec.models.gaussian_averages`` a model takes. The double integrals are
dear, so in a batch only those models have them that need them.
"""

from __future__ import annotations

from dataclasses import fields
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..files.tables import Table
from ..numerics.checks import concrete
from ..numerics.compiling import jit
from ..numerics.frozen import Frozen
from ..numerics.programs import program
from ..numerics.session import enter
from ..numerics.types import Real, Reals, Vector
from .activations import Activation, Polynomial
from .gaussian_averages import (
    CLOSED,
    HERMITE_NODES,
    ROUNDING,
    Route,
    hermite_sum,
    integrals,
    polynomial_sum,
)
from .kernels import Kernel, numbers_of_kernel
from .model import RandomFeatureModel

# if its relative error without rounding is above this, the Hermite sum yields to double integrals
ENOUGH = 1e-13


class GaussianEquivalent(Table, Frozen):
    r"""Constants of the features that are Gaussian, given W, and have the same spectrum and losses.

    Numbers, or arrays of shape (classes,) where the data have classes.

    .. math::

        U \simeq \frac1n GG^⊤ + b^2 FF^⊤ + s^2 I, \qquad G = κFX + vΩ

    F is W/√d, X holds the data in columns, and Ω (p×n) has iid N(0, 1) entries.

    Attributes
    ----------
    mu0, mu1 : float
        μ0 = E[σ(Γz)] (subtracted from σ) and μ1 = E[σ'(Γz)], Γ² = α²σ_x² + β².
    kappa2, b2 : float
        κ² = α²μ1² and b² = β²μ1², signal and noise seen linearly.
    v2, s2 : float
        v², the nonlinear part fixed by the data point, and s², the one that the noise redraws.
    error : float
        Estimated relative error of the least accurate constant that is not zero. v² and s² are zero
        where σ is linear; κ² and b² are zero where σ has no linear part above rounding. The error
        of μ0, which may cancel, is relative to the root of E[σ²].
    """

    mu0: Reals
    mu1: Reals
    kappa2: Reals
    b2: Reals
    v2: Reals
    s2: Reals
    error: Reals

    @property
    def dimension(self) -> str:  # type: ignore[override]
        """Along classes, where the data have them; else these are single numbers."""
        return "class" if np.ndim(self.v2) else ""

    def columns(self) -> dict[str, Reals]:
        """The constants, and their relative error, by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def errors(self) -> dict[str, Reals]:
        """Absolute errors of the constants, by name; that of μ0 is not known."""
        known = {name: abs(value) * self.error for name, value in self.columns().items()}
        return known | {"mu0": np.nan}


def gaussian_equivalent(model: RandomFeatureModel) -> GaussianEquivalent:
    r"""Constants (5) of the Gaussian equivalent of a model, by closed forms or quadrature.

    .. math::

        &μ_0 = h_0, \quad μ_1 = h_1/Γ, \quad κ^2 = α^2 μ_1^2, \quad b^2 = β^2 μ_1^2, \\
        &v^2 = \sum_{k≥2} h_k^2 c^k, \quad s^2 = \sum_{k≥2} h_k^2 (1 - c^k)

    with the Hermite coefficients h_k = E[σ(Γz) He_k(z)]/√k!, Γ² = α²σ_x² + β² and c = α²σ_x²/Γ².

    Parameters
    ----------
    model : RandomFeatureModel

    Returns
    -------
    GaussianEquivalent
        ``.mu0 .mu1 .kappa2 .b2 .v2 .s2``, dimensionless, and ``.error``, their relative error:
        about 1e-14 for the named activations. For data with classes arrays of shape (classes,).

    Raises
    ------
    RuntimeError
        If double precision has been switched off.

    Notes
    -----
    Gaussian equivalence: arXiv 2505.17638, section 3 and appendix. The sums (5) over Hermite
    coefficients are equivalent to its averages.

    Examples
    --------
    >>> import rfspec as rf
    >>> ge = rf.gaussian_equivalent(rf.RandomFeatureModel(64.0, 8.0, t=0.01))
    >>> print(f"{ge.mu1:.7f} {ge.s2:.7f}")
    0.6057055 0.0018735
    """
    traces = model.covariance.traces if model.covariance.has_classes else model.covariance.trace
    return constants_at(model, traces)


def constants_at(
    model: RandomFeatureModel, traces: Reals, *, scale: Real = 1.0
) -> GaussianEquivalent:
    """The constants of a model for one σ_x², or for those of several classes, of their shape.

    They are those of rows whose squared length is `scale` times the mean.
    """
    enter()
    sigma, process = model.activation, model.process
    variances = _Variances(scale * process.alpha**2, scale * process.beta2, traces)
    if np.ndim(traces):
        each = jax.vmap(partial(_constants_of, sigma), in_axes=(_Variances(None, None, 0),))
        return each(variances)
    return _constants_of(sigma, variances)


def _constants_of(sigma: Activation, variances: _Variances) -> GaussianEquivalent:
    if isinstance(sigma, Kernel):
        return _of_kernel(variances, function=sigma.function)
    if isinstance(sigma, Polynomial):
        return _of_polynomial(sigma.coefficients, variances)
    if sigma.named and sigma.name in CLOSED:
        return _of_closed_form(sigma.name, variances)
    if sigma.kinks:
        return _by_double_integrals(sigma, variances, None)
    constants, route = _by_hermite_sum(_values_at_nodes(sigma, variances), variances)
    if concrete(route.missing) and float(route.missing) < ENOUGH:
        return constants
    return _by_double_integrals(sigma, variances, route)


class _Variances(NamedTuple):
    # α², β² and σ_x² are all that the constants depend on; other processes and covariances need no
    # new compilation
    alpha2: Real
    beta2: Real
    data: Reals

    @property
    def signal(self) -> Reals:
        # α²σ_x² = Γ² - β²
        return self.alpha2 * self.data


@partial(jit, static_argnames="name")
def _of_closed_form(name: str, variances: _Variances) -> GaussianEquivalent:
    return _constants(variances, CLOSED[name](variances.signal, variances.beta2))


@partial(jit, static_argnames="function")
def _of_kernel(variances: _Variances, *, function: Any) -> GaussianEquivalent:
    gamma2 = variances.signal + variances.beta2
    h = numbers_of_kernel(function, variances.signal, gamma2)
    kappa2, b2 = variances.alpha2 * h.linear, variances.beta2 * h.linear
    some = h.constant > 0
    mu0 = jnp.where(some, jnp.sqrt(jnp.where(some, h.constant, 1.0)), 0.0)
    # s² is that of features
    s2 = jnp.full_like(h.v2, jnp.nan)
    return GaussianEquivalent(mu0, jnp.sqrt(h.linear), kappa2, b2, h.v2, s2, h.error)


@jit
def _of_polynomial(coefficients: Vector, variances: _Variances) -> GaussianEquivalent:
    return _constants(variances, polynomial_sum(coefficients, variances.signal, variances.beta2))


@jax.jit
def _values_at_nodes(sigma: Activation, variances: _Variances) -> Vector:
    # for another σ only this is compiled again
    return sigma(jnp.sqrt(variances.signal + variances.beta2) * HERMITE_NODES)


@program
def _by_hermite_sum(values: Vector, variances: _Variances) -> tuple[GaussianEquivalent, Route]:
    route = hermite_sum(values, variances.signal, variances.beta2)
    return _constants(variances, route), route


@jit
def _by_double_integrals(
    sigma: Activation, variances: _Variances, hermite: Route | None
) -> GaussianEquivalent:
    # where the Hermite sum is as good, it stays
    x = jnp.stack([variances.signal, variances.beta2])
    enough = jnp.array(False) if hermite is None else hermite.missing < ENOUGH
    route = Route(*integrals(x, ~enough, static=sigma))
    if hermite is not None:
        better = enough | (hermite.error < route.error)
        route = jax.tree.map(lambda a, b: jnp.where(better, a, b), hermite, route)
    return _constants(variances, route)


def _constants(variances: _Variances, route: Route) -> GaussianEquivalent:
    alpha2, beta2, _ = variances
    # without a derivative the error is a known number under `jax.grad`, so a route can be chosen
    mu0, mu1, v2, s2, error, blur, _ = (*route[:4], *jax.lax.stop_gradient(route[4:]))
    linear = jax.lax.stop_gradient(jnp.abs(mu1) * jnp.sqrt(variances.signal + beta2))
    above_rounding = linear > jnp.maximum(
        blur, ROUNDING * jnp.sqrt(linear**2 + jax.lax.stop_gradient(v2 + s2))
    )
    mu1 = jnp.where(above_rounding, mu1, 0.0)
    error = jnp.maximum(error, jnp.where(above_rounding, 2 * blur / linear, 0.0))
    return GaussianEquivalent(mu0, mu1, alpha2 * mu1**2, beta2 * mu1**2, v2, s2, error)  # (5)
