r"""The six constants of the Gaussian-equivalent features.

With h_k = E[σ(Γz) He_k(z)]/√k! and c = α²σ_x²/Γ² (1 - c = β²/Γ²) every constant is a sum of
positive terms,

    μ0 = h_0,   μ1 = h_1/Γ,   κ² = α²μ1²,   b² = β²μ1²,
    v² = Σ_{k≥2} h_k² c^k,    s² = Σ_{k≥2} h_k² (1 - c^k),

so nothing cancels as t → 0, where the paper's differences of averages lose s² and v². Which of the
routes of ``rfspec.models.gaussian_averages`` a model takes is decided here: the double integrals
are dear, and in a batch each model has them only if it needs them.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from ..numerics.checks import concrete
from ..numerics.session import enter
from ..numerics.types import Real, Vector
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
from .model import RandomFeatureModel

# relative error beside rounding above which the Hermite sum yields to the double integrals
ENOUGH = 1e-13


class GaussianEquivalent(eqx.Module):
    r"""Constants of U ≃ GGᵀ/n + b²FFᵀ + s²I, G = κFX + vΩ, F = W/√d, Ω iid N(0, 1).

    Attributes
    ----------
    mu0, mu1 : float
        μ0 = E[σ(Γz)] (subtracted from σ) and μ1 = E[σ'(Γz)], Γ² = α²σ_x² + β².
    kappa2, b2 : float
        κ² = α²μ1² and b² = β²μ1², signal and noise seen linearly.
    v2, s2 : float
        v², the nonlinear part fixed by the data point, and s², the one that the noise redraws.
    error : float
        Estimated relative error of the least accurate of them that is not zero: v² and s² are where
        σ is linear, κ² and b² where σ has no linear part, or none that rounding leaves to be seen.
        Of μ0, which may cancel, relative to the root of E[σ²].
    """

    mu0: Real
    mu1: Real
    kappa2: Real
    b2: Real
    v2: Real
    s2: Real
    error: Real


def gaussian_equivalent(model: RandomFeatureModel) -> GaussianEquivalent:
    r"""Constants of the Gaussian equivalent of a model, by quadrature.

    Parameters
    ----------
    model : RandomFeatureModel

    Returns
    -------
    GaussianEquivalent
        ``.mu0 .mu1 .kappa2 .b2 .v2 .s2``, dimensionless, and ``.error``, their relative error:
        about 1e-14 for the named activations.

    Notes
    -----
    Gaussian equivalence: arXiv 2505.17638, section 3 and appendix; the sums over Hermite
    coefficients are equivalent to its averages.

    Examples
    --------
    >>> import rfspec as rf
    >>> ge = rf.gaussian_equivalent(rf.RandomFeatureModel(64.0, 8.0, t=0.01))
    >>> print(f"{ge.mu1:.7f} {ge.s2:.7f}")
    0.6057055 0.0018735
    """
    enter()
    sigma, given = (
        model.activation,
        _Variances(model.process.alpha**2, model.process.beta2, model.covariance.trace),
    )
    if isinstance(sigma, Polynomial):
        return _of_polynomial(sigma.coefficients, given)
    if _is_closed(sigma):
        return _of_closed_form(sigma.name, given)
    if sigma.kinks:
        return _thorough(sigma, given, None)
    quick, route = _quick(_at_nodes(sigma, given), given)
    return (
        quick
        if concrete(route.missing) and float(route.missing) < ENOUGH
        else _thorough(sigma, given, route)
    )


def _is_closed(activation: Activation) -> bool:
    """Whether the constants are finite sums or elementary functions: no integral is as good."""
    return isinstance(activation, Polynomial) or (activation.named and activation.name in CLOSED)


class _Variances(NamedTuple):
    """α², β² and σ_x²: all that the constants know of process and covariance,
    so that these share compilations.
    """

    alpha2: Real
    beta2: Real
    data: Real

    @property
    def signal(self) -> Real:
        """α²σ_x²; Γ² is this and the noise β²."""
        return self.alpha2 * self.data


@partial(jax.jit, static_argnames="name")
def _of_closed_form(name: str, given: _Variances) -> GaussianEquivalent:
    return _assemble(given, CLOSED[name](given.signal, given.beta2))


@jax.jit
def _of_polynomial(coefficients: Vector, given: _Variances) -> GaussianEquivalent:
    return _assemble(given, polynomial_sum(coefficients, given.signal, given.beta2))


@jax.jit
def _at_nodes(sigma: Activation, given: _Variances) -> Vector:
    """σ at the nodes of the Hermite sum: all that has to be compiled for another σ,
    with its derivatives.
    """
    return sigma(jnp.sqrt(given.signal + given.beta2) * HERMITE_NODES)


@jax.jit
def _quick(values: Vector, given: _Variances) -> tuple[GaussianEquivalent, Route]:
    """The Hermite sum of a σ without kinks, from its values."""
    route = hermite_sum(values, given.signal, given.beta2)
    return _assemble(given, route), route


@jax.jit
def _thorough(sigma: Activation, given: _Variances, quick: Route | None) -> GaussianEquivalent:
    """The double integrals, where there is nothing as good."""
    x = jnp.stack([given.signal, given.beta2])
    enough = jnp.array(False) if quick is None else quick.missing < ENOUGH
    route = Route(*integrals(x, ~enough, static=sigma))
    if quick is not None:
        better = enough | (quick.error < route.error)
        route = jax.tree.map(lambda a, b: jnp.where(better, a, b), quick, route)
    return _assemble(given, route)


def _assemble(given: _Variances, route: Route) -> GaussianEquivalent:
    alpha2, beta2, _ = given
    # without a derivative the error stays a known number under jax.grad, and decides outside of the
    # trace
    mu0, mu1, v2, s2, error, blur, _ = (*route[:4], *jax.lax.stop_gradient(route[4:]))
    linear = jax.lax.stop_gradient(jnp.abs(mu1) * jnp.sqrt(given.signal + beta2))
    seen = linear > jnp.maximum(
        blur, ROUNDING * jnp.sqrt(linear**2 + jax.lax.stop_gradient(v2 + s2))
    )
    mu1 = jnp.where(seen, mu1, 0.0)
    error = jnp.maximum(error, jnp.where(seen, 2 * blur / linear, 0.0))
    return GaussianEquivalent(mu0, mu1, alpha2 * mu1**2, beta2 * mu1**2, v2, s2, error)  # (5)
