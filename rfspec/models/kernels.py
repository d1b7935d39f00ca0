r"""Kernels in place of features, for models of infinite width.

An inner-product kernel h(x·x'/d) acts on training as features do, through the constants

    μ1² = h_1,    v² = h(c) - h_0 - h_1c,    c = α²σ_x²,

with the Taylor coefficients h_k at 0, since data overlap with one another by O(1/√d), and two noisy
copies of one sample by c. Deep networks with infinitely wide layers have such kernels: with
Γ² = α²σ_x² + β², covariances q_1 = wΓ² + b and c_1(t) = wt + b of the first pre-activations, and
the dual activation D(c; q) = E[σ(u)σ(u')] for Gaussians of variance q and covariance c,

    q_{l+1} = w D(q_l; q_l) + b,    c_{l+1} = w D(c_l; q_l) + b,    h = D(c_L; q_L) (NNGP),
    Θ_1 = c_1,    Θ_{l+1} = c_{l+1} + w Θ_l ∂D/∂c,    h = D(c_L; q_L) + Θ_L ∂D/∂c (NTK).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..numerics.checks import integer, not_negative, real_scalar
from ..numerics.session import enter
from ..numerics.types import Given, Real, Reals
from .activations import Activation, Polynomial, as_activation

# the highest Taylor coefficient at 0 that is looked at
LOOKED_AT = 6
# a coefficient this small, relative to the largest one, is rounding
ROUNDING = 1e-10
# while c is smaller than this share of Γ², v² is an integral, since the difference would cancel
SMALL = 0.1
LEGENDRE = np.polynomial.legendre.leggauss(16)
# trapezoid nodes of a Gaussian average, and their weights
GRID = np.linspace(-9.0, 9.0, 145)
WEIGHTS = np.exp(-(GRID**2) / 2) / np.sum(np.exp(-(GRID**2) / 2))
KINDS = NNGP, NTK = "nngp", "ntk"


class Kernel(Activation):
    r"""An inner-product kernel h(x·x'/d), in the place of an activation where psi_p is infinite.

    Parameters
    ----------
    function : callable
        h(t), t = x·x'/d, written with `jax.numpy`, whose Taylor coefficients at 0 are not negative,
        so that it is positive definite in every dimension, and the linear one positive.
    name : str, optional
        The name in plots and tables; by default the name of the function.

    Raises
    ------
    ValueError
        If h is no callable, or one of its first seven Taylor coefficients is negative, not finite,
        or, the linear one, zero; the message names it.

    Notes
    -----
    arXiv 2608.23938 has such kernels for Σ = I. ``Kernel.nngp`` and ``Kernel.ntk`` are those of
    deep networks.

    Examples
    --------
    >>> import rfspec as rf
    >>> kernel = rf.Kernel(lambda t: t + 0.005 * t**5, name="quintic")
    >>> model = rf.RandomFeatureModel(float("inf"), 8.0, t=0.1, activation=kernel)
    >>> print(f"{rf.learning_curve(model, [10.0]).test[0]:.6f}")
    0.831423
    """

    def __init__(self, function: Given, name: str | None = None):
        enter()
        if not isinstance(function, Network):
            if not callable(function):
                raise ValueError(f"a kernel must be a callable h(t), got {function!r}")
            _check_coefficients(function)
        self.function, self.kinks = function, ()
        self.name = getattr(function, "__name__", "kernel") if name is None else name

    @classmethod
    def nngp(cls, depth: int, activation: Given = "tanh", **variances: float) -> Kernel:
        """The kernel of the last of `depth` hidden layers of an infinitely wide network.

        Parameters
        ----------
        depth : int
            Hidden layers, at least 1; one with the usual variances are the features themselves.
        activation : str or callable
            σ of all layers.
        **variances
            weight_variance > 0 (default 1) and bias_variance ≥ 0 (default 0).
        """
        return cls._deep(NNGP, depth, activation, **variances)

    @classmethod
    def ntk(cls, depth: int, activation: Given = "tanh", **variances: float) -> Kernel:
        """The neural tangent kernel of a network with `depth` hidden layers, as in ``nngp``."""
        return cls._deep(NTK, depth, activation, **variances)

    @classmethod
    def _deep(
        cls,
        kind: str,
        depth: int,
        activation: Given,
        *,
        weight_variance: float = 1.0,
        bias_variance: float = 0.0,
    ) -> Kernel:
        sigma = as_activation(activation)
        if isinstance(sigma, Polynomial | Kernel):
            raise ValueError(f"activation of a network must be a name or a callable, got {sigma!r}")
        depth = integer("depth", depth)
        weight = float(real_scalar("weight_variance", weight_variance, above=0.0))
        bias = float(not_negative("bias_variance", bias_variance))
        network = Network(kind, depth, sigma, weight, bias)
        return cls(network, f"{kind} of {depth} × {sigma.name}")

    def __call__(self, x: Reals) -> Reals:
        raise TypeError(f"{self.name} is a kernel, and has no features")


class Network(NamedTuple):
    """Depth, activation and variances of a network with a kernel h(t, Γ²)."""

    kind: str
    depth: int
    sigma: Activation
    weight: float
    bias: float

    def __call__(self, t: Real, gamma2: Real) -> Real:
        c, q = self.weight * t + self.bias, self.weight * gamma2 + self.bias
        tangent = c
        for layer in range(self.depth):
            # of both, D and its slope
            D, slope = jax.jvp(lambda c, q=q: dual(self.sigma, c, q), (c,), (jnp.ones_like(c),))
            last = layer == self.depth - 1
            w, b = (1.0, 0.0) if last else (self.weight, self.bias)
            c, q = w * D + b, w * _square(self.sigma, q) + b
            tangent = c + w * tangent * slope
        return tangent if self.kind == NTK else c


def dual(sigma: Activation, c: Real, q: Real) -> Real:
    """D(c; q) = E[σ(u)σ(u')] for Gaussians of variance q and covariance c."""
    if sigma.named and sigma.name == "erf":
        return 2.0 / np.pi * jnp.arcsin(2.0 * c / (1.0 + 2.0 * q))
    if sigma.named and sigma.name == "relu":
        rho = c / q
        return q / (2.0 * np.pi) * (jnp.sqrt(1.0 - rho**2) + rho * (np.pi - jnp.arccos(rho)))
    rho = c / q
    one = jnp.sqrt(q) * GRID[:, None]
    other = rho * one + jnp.sqrt(q * (1.0 - rho**2)) * GRID[None]
    return jnp.sum(WEIGHTS * sigma(one[:, 0]) * (sigma(other) @ WEIGHTS))


def _square(sigma: Activation, q: Real) -> Real:
    # D(q; q), where the root in D has no derivative
    if sigma.named and sigma.name == "erf":
        return 2.0 / np.pi * jnp.arcsin(2.0 * q / (1.0 + 2.0 * q))
    if sigma.named and sigma.name == "relu":
        return q / 2.0
    return jnp.sum(WEIGHTS * sigma(jnp.sqrt(q) * GRID) ** 2)


def numbers_of_kernel(function: Any, signal: Real, gamma2: Real) -> tuple[Real, Real, Real]:
    """h_0, h_1, and v² = h(c) - h_0 - h_1c at c = `signal`."""
    h = (lambda t: function(t, gamma2)) if isinstance(function, Network) else function
    slope = lambda t: jax.jvp(h, (t,), (jnp.ones_like(t),))
    curvature = lambda t: jax.jvp(lambda t: slope(t)[1], (t,), (jnp.ones_like(t),))[1]
    zero = jnp.zeros_like(signal)
    at_zero, linear = slope(zero)
    nodes, weights = LEGENDRE
    share = (1.0 + nodes) / 2
    near = jnp.minimum(signal, SMALL * gamma2)
    curvatures = jax.vmap(curvature)(near * share)
    integral = near**2 * jnp.sum(weights / 2 * (1.0 - share) * curvatures)
    difference = h(signal) - at_zero - signal * linear
    return at_zero, linear, jnp.where(signal > SMALL * gamma2, difference, integral)


def _check_coefficients(h: Callable[[Any], Any]) -> None:
    f, found, factorial = h, [], 1.0
    for k in range(LOOKED_AT + 1):
        factorial *= max(k, 1)
        try:
            found.append(float(f(jnp.zeros(()))) / factorial)
        except TypeError as e:
            raise ValueError(f"a kernel must be a function h(t) of one number, got {h!r}") from e
        f = jax.grad(f)
    largest = max(map(abs, found))
    for k, value in enumerate(found):
        if not np.isfinite(value) or value < -ROUNDING * largest:
            raise ValueError(
                f"a kernel must have Taylor coefficients of at least 0, got {value:.6g} of t^{k}"
            )
    if not found[1] > 0:
        raise ValueError(f"a kernel must have a linear part, got {found[1]:.6g} of t^1")
