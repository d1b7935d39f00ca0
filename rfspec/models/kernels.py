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
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..numerics.checks import integer, not_negative, real_scalar
from ..numerics.rounding import EPS
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
# trapezoid nodes of a Gaussian average; every second one tells their error
GRID = np.linspace(-9.0, 9.0, 289)
ALL, SECOND = 1, 2
NNGP, NTK = "nngp", "ntk"


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
    def nngp(
        cls,
        depth: int,
        activation: Given = "tanh",
        *,
        weight_variance: float = 1.0,
        bias_variance: float = 0.0,
    ) -> Kernel:
        r"""The kernel of the last of `depth` hidden layers of an infinitely wide network.

        .. math::

            h(t) = D(c_L; q_L), \quad c_1 = wt + b, \quad c_{l+1} = w D(c_l; q_l) + b, \quad
            q_1 = wΓ^2 + b, \quad q_{l+1} = w D(q_l; q_l) + b

        with D(c; q) = E[σ(u)σ(u')] for Gaussians of variance q and covariance c.

        Parameters
        ----------
        depth : int
            Hidden layers L ≥ 1; one with the usual variances is the features themselves.
        activation : str or callable
            σ of all layers: "relu", or one without kinks.
        weight_variance, bias_variance : float
            w > 0 and b ≥ 0 of all layers but the output.

        Raises
        ------
        ValueError
            If an argument is out of its range.
        """
        return cls._deep(NNGP, depth, activation, weight_variance, bias_variance)

    @classmethod
    def ntk(
        cls,
        depth: int,
        activation: Given = "tanh",
        *,
        weight_variance: float = 1.0,
        bias_variance: float = 0.0,
    ) -> Kernel:
        r"""The neural tangent kernel of a network with `depth` hidden layers.

        .. math::

            h(t) = D(c_L; q_L) + Θ_L ∂_c D(c_L; q_L), \quad Θ_1 = c_1, \quad
            Θ_{l+1} = c_{l+1} + w Θ_l ∂_c D(c_l; q_l)

        with arguments, D, c_l, q_l and errors as in ``nngp``. All layers are trained, each in the
        parametrisation in which its weights have variance 1 and are scaled by √w over the root of
        its width.
        """
        return cls._deep(NTK, depth, activation, weight_variance, bias_variance)

    @classmethod
    def _deep(cls, kind: str, depth: int, activation: Given, weight: float, bias: float) -> Kernel:
        sigma = as_activation(activation)
        if isinstance(sigma, Polynomial | Kernel):
            raise ValueError(f"activation of a network must be a name or a callable, got {sigma!r}")
        if sigma.kinks and not sigma.named:
            raise ValueError(
                f'activation of a network must be "relu" or without kinks, got {sigma!r}'
            )
        depth = integer("depth", depth)
        weight = float(real_scalar("weight_variance", weight, above=0.0))
        bias = float(not_negative("bias_variance", bias))
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

    def __call__(self, t: Real, gamma2: Real, every: int = ALL) -> Real:
        c, q = self.weight * t + self.bias, self.weight * gamma2 + self.bias
        tangent = c
        for layer in range(self.depth):
            # of both, D and its slope
            of_c = partial(dual, self.sigma, q=q, every=every)
            D, slope = jax.jvp(of_c, (c,), (jnp.ones_like(c),))
            last = layer == self.depth - 1
            w, b = (1.0, 0.0) if last else (self.weight, self.bias)
            c, q = w * D + b, w * _square(self.sigma, q, every) + b
            tangent = c + w * tangent * slope
        return tangent if self.kind == NTK else c


def dual(sigma: Activation, c: Real, q: Real, every: int) -> Real:
    """D(c; q) = E[σ(u)σ(u')] for Gaussians of variance q and covariance c."""
    if sigma.named and sigma.name == "erf":
        return 2.0 / np.pi * jnp.arcsin(2.0 * c / (1.0 + 2.0 * q))
    if sigma.named and sigma.name == "relu":
        rho = c / q
        return q / (2.0 * np.pi) * (jnp.sqrt(1.0 - rho**2) + rho * (np.pi - jnp.arccos(rho)))
    rho = c / q
    z, weights = _gaussian(every)
    one = jnp.sqrt(q) * z[:, None]
    other = rho * one + jnp.sqrt(q * (1.0 - rho**2)) * z[None]
    return jnp.sum(weights * sigma(one[:, 0]) * (sigma(other) @ weights))


def _gaussian(every: int) -> tuple[np.ndarray, np.ndarray]:
    z = GRID[::every]
    weights = np.exp(-(z**2) / 2)
    return z, weights / np.sum(weights)


def _square(sigma: Activation, q: Real, every: int) -> Real:
    # D(q; q), where the root in D has no derivative
    if sigma.named and sigma.name == "erf":
        return 2.0 / np.pi * jnp.arcsin(2.0 * q / (1.0 + 2.0 * q))
    if sigma.named and sigma.name == "relu":
        return q / 2.0
    z, weights = _gaussian(every)
    return jnp.sum(weights * sigma(jnp.sqrt(q) * z) ** 2)


class Numbers(NamedTuple):
    """h_0, h_1, v² = h(c) - h_0 - h_1c, and the largest relative error of the last two."""

    constant: Real
    linear: Real
    v2: Real
    error: Real


def numbers_of_kernel(function: Any, signal: Real, gamma2: Real) -> Numbers:
    """The numbers at c = `signal`; their error is that of every second node, and rounding."""
    if not isinstance(function, Network):
        return _numbers(function, signal, gamma2)
    fine, coarse = (
        _numbers(partial(Network.__call__, function, gamma2=gamma2, every=every), signal, gamma2)
        for every in (ALL, SECOND)
    )
    off = [jnp.abs(b - a) / jnp.abs(a) for a, b in zip(fine[1:3], coarse[1:3], strict=True)]
    error = jax.lax.stop_gradient(fine.error + jnp.nan_to_num(jnp.maximum(*off)))
    return fine._replace(error=error)


def _numbers(h: Callable[[Real], Real], signal: Real, gamma2: Real) -> Numbers:
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
    far = signal > SMALL * gamma2
    v2 = jnp.where(far, difference, integral)
    # of what is subtracted in the one, of some hundred products in the other
    terms = jnp.where(far, jnp.abs(h(signal)) / jnp.where(v2 > 0, v2, 1.0), 1.0)
    return Numbers(at_zero, linear, v2, jax.lax.stop_gradient(100 * EPS * terms))


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
