r"""Losses along training, as one object for theory and experiment, and the theory: exact curves without training.

L_train = (1/dn) Σ_ν E_ξ ||β s_A(x_t^ν) + ξ||², L_test the same over fresh x, and the score error
E_score = (1/d) E ||s_A(x_t) - ∇log P_t(x_t)||². For Gaussian data L_test = β²E_score + 1 - β² Tr Σ_t⁻¹/d.

A linear method, after which h(λ) = (1 - r(λ))/λ of a mode is learnt, has with ⟨f⟩_s = Tr FFᵀf(U)/p

    L_train = 1 + b²ψ_p [ ⟨λh²⟩_s - 2⟨h⟩_s ],    L_test = 1 + b²ψ_p [ Tr FFᵀ h(U)Ũh(U)/p - 2⟨h⟩_s ].

With h(U) a sum of resolvents (``rfspec.contour``) these are sums of s(z_j) and of two-point functions K_M(z_j, z_k) of
``rfspec.equations``; ⟨λh²⟩_s takes Tr FFᵀ(U - z1)⁻¹U(U - z2)⁻¹/p = s(z1) + z2 K_I(z1, z2). Beyond arXiv 2505.17638,
whose curves are simulations.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ._checks import concrete, real_scalar
from .contour import COARSE, FEWER, FINEST, Contour, descent, flow, heavy_ball, nodes_for
from .filters import learned, stable_below
from .gaussian_equivalent import gaussian_equivalent
from .holomorphic import Unknowns, condition
from .model import RandomFeatureModel
from .series import nodes_of
from .solver import EPS, ConvergenceError, solve_off_axis, solve_real_axis
from .spectrum import spectrum
from .support import open_ends
from .targets import combination, score_scale, unexplained
from .theory import averaged_equations

TOLERANCE = 1e-11
FEW, BATCH = 8, 40  # training times at once


class StandardErrors(NamedTuple):
    """Standard errors of means over independent draws, arrays of τ's shape."""

    train: Any
    test: Any
    score_error: Any


class LearningCurve(eqx.Module):
    """Losses at training times τ, arrays of τ's shape.

    Attributes
    ----------
    tau : float
        Training time τ = kη/d².
    train, test, score_error : float
        L_train, L_test and E_score; the score error is NaN where the law of the data is not Gaussian.
    error : float
        Estimated absolute error of the losses at each τ; that of the score error is β² times smaller.
    standard_error : StandardErrors
        Of train, test and score_error where they are means over sampled models; NaN where they are not.
    model : RandomFeatureModel or None
        Of the theory: the model; `learning_rate` and `momentum`, how it was trained.
    """

    tau: Any
    train: Any
    test: Any
    score_error: Any
    error: Any
    standard_error: StandardErrors = StandardErrors(jnp.nan, jnp.nan, jnp.nan)
    model: RandomFeatureModel | None = None
    learning_rate: Any = None
    momentum: float = eqx.field(static=True, default=0.0)

    @property
    def gap(self) -> Any:
        """Generalisation gap L_gen = L_test - L_train."""
        return self.test - self.train

    @property
    def drops(self) -> dict[str, Any]:
        """Train-loss drop of each part (or merged parts, joined by "+"), arrays of τ's shape; they add up to what the
        train loss has lost. From the spectrum, which is computed here.

        Parts in ascending order of their eigenvalues; empty where the curve is not of the theory.
        """
        if self.model is None:
            return {}
        sp = spectrum(self.model)
        method = _method(self.model, self.tau, self.learning_rate, self.momentum)
        support, nodes = sp.support, sp.series.cosines.shape[1]
        drops = method.drops(_modes(sp.equations, support.lower[: sp.count], support.upper[: sp.count], nodes))
        found: dict[str, Any] = {}
        for i, bulk in enumerate(sp.bulks):
            name = bulk.part or f"bulk {i + 1}"
            found[name] = found.get(name, 0.0) + jnp.reshape(drops[:, i], jnp.shape(self.tau))
        return found


def learning_curve(
    model: RandomFeatureModel,
    tau: Any,
    learning_rate: Any = None,
    *,
    momentum: float = 0.0,
    tolerance: float = TOLERANCE,
) -> LearningCurve:
    r"""Exact losses of the infinite model along full-batch training from A = 0, without training.

    Gradient flow, or with a learning rate k = τ/learning_rate steps A ← A - η∇L_train + μ(A - A_before).

    Parameters
    ----------
    model : RandomFeatureModel
    tau : array, any shape and order
        Training times τ = kη/d², 0 ≤ τ ≤ ∞.
    learning_rate : float, optional
        Training time of one step, η/d² > 0 (for steps of size η on A in dimension d). Stable, and accepted, for
        2β²·learning_rate·λ_max(U)/ψ_p < 2(1 + μ). τ is then rounded to whole steps.
    momentum : float
        Heavy-ball momentum μ in [0, 1); needs a learning rate.
    tolerance : float
        Error of the contour integrals asked for, relative to the loss, from 1e-12 to 0.1; it sets the number of nodes.

    Returns
    -------
    LearningCurve
        ``.tau .train .test .score_error .gap`` of τ's shape, ``.drops`` by parts of the spectrum, and ``.error``: the
        difference between two node counts, rounding, and the errors of the constants by their conditions.

    Raises
    ------
    ValueError
        If a time is negative, NaN or missing, or the learning rate is not stable (the message names the limit).
    ConvergenceError
        If edges of the spectrum cannot be told apart in double precision, or a scalar τ has no finite result.

    Notes
    -----
    Beyond arXiv 2505.17638; the two-point functions are equations (5) to (7) of ``rfspec.equations``. Gradient flow and
    gradient descent can be mapped and differentiated with JAX (once or more, in the model and τ); momentum takes known
    numbers only. In a map over models, where nothing can be refused, the error at an unstable step is infinite.

    Examples
    --------
    >>> import rfspec as rf
    >>> curve = rf.learning_curve(rf.RandomFeatureModel(psi_p=8.0, psi_n=2.0, t=0.05), [10.0, 100.0, 1000.0])
    >>> for x, train, test in zip(curve.tau, curve.train, curve.test):
    ...     print(f"{x:6g} {train:.5f} {test:.5f}")
        10 0.92529 0.93125
       100 0.82869 1.01260
      1000 0.64765 1.60831
    """
    tau, stable = training_times(tau), True
    count = nodes_for(_tolerance(tolerance))
    mu = _momentum(momentum, learning_rate)
    eq = averaged_equations(model, gaussian_equivalent(model))
    if learning_rate is not None:
        learning_rate = real_scalar("learning_rate", learning_rate, above=0.0)
        stable = _stable(model, learning_rate, mu)
        tau = jnp.round(tau / learning_rate) * learning_rate
    method = _method(model, tau, learning_rate, mu)
    train, test, error = (jnp.reshape(a, jnp.shape(tau)) for a in method.losses(eq, count))
    error = jnp.where(stable, error, jnp.inf)
    tau = jnp.asarray(tau, float)
    curve = LearningCurve(
        tau, train, test, score_error(model, test), error, model=model, learning_rate=learning_rate, momentum=mu
    )
    if np.ndim(tau) == 0 and concrete(error) and not np.isfinite(float(error)):
        raise ConvergenceError(f"the losses at tau = {float(tau):.6g} did not converge: move a parameter a little")
    return curve


def score_error(model: RandomFeatureModel, test: Any) -> Any:
    """E_score of a test loss under Gaussian data: what exceeds the loss of the exact score, over its unit."""
    y = combination(model.target, model.process)
    floor = unexplained(y, model.process, model.covariance.values, model.covariance.weights)
    return (test - floor) / score_unit(model)


def score_unit(model: RandomFeatureModel) -> Any:
    """The test loss that a score error of 1 stands for: β² for the target "noise"."""
    return score_scale(combination(model.target, model.process), model.process) ** 2


def training_times(tau: Any) -> Any:
    """Training times 0 ≤ τ ≤ ∞ as float64, any shape and order."""
    rule = "tau must be real numbers of at least 0 (inf is allowed)"
    if not concrete(tau):
        return tau
    try:
        array = np.asarray(tau)
    except (TypeError, ValueError) as e:
        raise ValueError(f"{rule}, got {tau!r:.100}") from e
    if array.dtype == object and array.size and not concrete(*array.ravel()):
        return jnp.asarray(tau, float)
    if not (np.issubdtype(array.dtype, np.floating) or np.issubdtype(array.dtype, np.integer)):
        raise ValueError(f"{rule}, got {tau!r:.100}")
    if not array.size:
        raise ValueError(f"{rule}, got an empty array")
    if not np.all(array >= 0):
        raise ValueError(f"{rule}, got {array[~(array >= 0)].ravel()[0]}")
    return array.astype(np.float64)


def _tolerance(tolerance: Any) -> float:
    value = float(real_scalar("tolerance", tolerance, above=0.0))
    if not 1e-12 <= value <= 0.1:
        raise ValueError(f"tolerance must be between 1e-12 and 0.1, got {value!r}")
    return value


def _momentum(momentum: Any, learning_rate: Any) -> float:
    if isinstance(momentum, bool) or not isinstance(momentum, int | float | np.number) or not 0 <= momentum < 1:
        raise ValueError(f"momentum must be a number in [0, 1), got {momentum!r}")
    if momentum and learning_rate is None:
        raise ValueError(f"momentum goes with a learning_rate, got momentum={momentum!r} without one")
    return float(momentum)


def _stable(model: RandomFeatureModel, rate: Any, mu: float) -> Any:
    """Refuse a step at which the fastest mode does not shrink; where values are not known, whether it does."""
    sp = jax.lax.stop_gradient(spectrum(model))
    upper = open_ends(sp.equations, sp.support).upper
    top = sp.atom.location + jnp.nanmax(jnp.asarray(upper)) + sp.equations.decay
    limit = jax.lax.stop_gradient(stable_below("momentum", mu) * model.psi_p / (2.0 * model.pace)) / top
    rate = jax.lax.stop_gradient(rate)
    if concrete(limit, rate) and not float(rate) < float(limit):
        raise ValueError(
            f"learning_rate must be below {float(limit):.6g} to be stable for this model, got {float(rate):.6g}"
        )
    return rate < limit


# ----------------------------------------------------------------------------------------------- methods


class _Method(NamedTuple):
    """A method with JAX formulas: its contour and the share of a mode x that is learnt, at arguments along τ."""

    contour: Callable[..., Contour]
    learned: Callable[..., Any]
    arguments: tuple[Any, ...]

    def losses(self, eq: Any, count: int) -> tuple[Any, Any, Any]:
        return _losses_along(eq, self.contour, self.arguments, count)

    def drops(self, modes: _Modes) -> Any:
        return _drops_along(modes, self.learned, self.arguments)


def _method(model: RandomFeatureModel, tau: Any, rate: Any, mu: float) -> _Method | _HeavyBall:
    unit = 2.0 * model.pace / model.psi_p  # c of τ = 1
    if rate is None:
        return _Method(flow, _flow_learned, (unit * jnp.ravel(tau),))
    steps = jnp.round(jnp.ravel(tau) / rate)
    if mu:
        return _HeavyBall(unit * rate, steps, mu)
    return _Method(descent, _steps_learned, (jnp.broadcast_to(unit * rate, steps.shape), steps))


class _HeavyBall(NamedTuple):
    """Steps with momentum; each k has its own contour, so that k and c are known numbers."""

    c: Any
    k: Any
    mu: float

    def losses(self, eq: Any, count: int) -> tuple[Any, Any, Any]:
        rows = []
        for k in np.asarray(self.k):
            known = partial(heavy_ball, float(self.c), int(k), self.mu) if np.isfinite(k) else partial(flow, jnp.inf)
            rows.append(losses_and_error(eq, *checked(known, count)))
        train, test, error = (jnp.stack(column) for column in zip(*rows, strict=True))
        return train, test, error

    def drops(self, modes: _Modes) -> Any:
        x, k = np.asarray(self.c * modes.values), np.where(np.isfinite(self.k), self.k, 1e300)
        shares = (learned(x, float(steps), "momentum", self.mu) for steps in k)
        return jnp.stack([_drop(modes, share) for share in shares])


def _flow_learned(x: Any, c: Any) -> Any:
    return -jnp.expm1(-c * x)


def _steps_learned(x: Any, c: Any, k: Any) -> Any:
    x, forever = c * x, k == jnp.inf
    log = jnp.where(forever, -jnp.inf, k * jnp.log1p(-jnp.minimum(x, 2.0 - x)))  # of |1 - x|^k
    return jnp.where((x > 1) & (k % 2 == 1), 1.0 + jnp.exp(log), -jnp.expm1(log))


# ------------------------------------------------------------------------------------------------ losses


class Pairs(NamedTuple):
    """With G_j = (U - z_j)⁻¹ all that the losses need: Tr VᵀG_jV/d and Tr ṼᵀG_jV/d, and for j ≤ k Tr VᵀG_jMG_kV/d with
    M = Ũ and M = I, at (z_j, z_k) and (z_j, z̄_k), [2, pairs].
    """

    sample: Any
    population: Any
    fresh: Any
    known: Any


def pairs_at(eq: Any, z: Any) -> Pairs:
    """One- and two-point functions at the nodes z of a contour."""
    u = jax.vmap(partial(solve_off_axis, eq))(z - eq.decay)
    return pairs_of(eq, u)


def pairs_of(eq: Any, u: Unknowns) -> Pairs:
    """The same from the solutions at the nodes."""
    j, k = np.triu_indices(u[0].shape[-1])
    sources = (eq.population, (1.0, 0.0, 0.0))
    pair = jax.vmap(jax.vmap(lambda a, b: eq.explained_twice(a, b, sources)), in_axes=(None, 0))
    return Pairs(
        *jax.vmap(lambda *u: eq.explained(u))(*u),
        *pair(tuple(v[j] for v in u), tuple(jnp.stack([v[k], v[k].conj()]) for v in u)),
    )


def losses(eq: Any, path: Contour, pairs: Pairs) -> tuple[Any, Any, Any]:
    """L_train and L_test of the filter that a contour stands for; root of the sum of squares of L_test's terms."""
    z, w = path.nodes - eq.decay, path.weights
    j, k = np.triu_indices(z.shape[-1])
    twice = np.where(j == k, 2.0, 4.0)  # the complex conjugate of each pair, and the pair in the other order
    ww = twice * w[j] * jnp.stack([w[k], w[k].conj()])
    sample, population = (4.0 * jnp.sum(w * f).real for f in (pairs.sample, pairs.population))
    known = jnp.sum(ww * (pairs.sample[j] + jnp.stack([z[k], z[k].conj()]) * pairs.known)).real
    terms = ww * pairs.fresh
    size = jnp.sqrt(jnp.sum(terms.real**2 + terms.imag**2))
    return eq.untrained + (known - sample), eq.untrained + (jnp.sum(terms).real - population), size


@jax.jit
def losses_and_error(eq: Any, fine: Contour, other: Contour, coarse: Contour) -> tuple[Any, Any, Any]:
    """Losses by the first contour; their error from the second, from rounding, and from the errors of the constants.

    The first two have equally many nodes. The third tells the conditions |∂L_test/∂p · p| of the numbers p in the
    equations, and what half as many nodes of a continuous law would change.
    """
    paths = jax.tree.map(lambda a, b: jnp.stack([a, b]), fine, other)
    (train, checked), (test, recomputed), size = jax.vmap(lambda path: losses(eq, path, pairs_at(eq, path.nodes)))(
        paths
    )
    still, coarse = jax.lax.stop_gradient((eq, coarse))
    roughly = lambda e: losses(e, coarse, pairs_at(e, coarse.nodes))
    moved = condition(still, lambda e: roughly(e)[1])
    differ = jnp.maximum(jnp.abs(checked - train), jnp.abs(recomputed - test))
    if eq.fewer is not None:  # a continuous law by half as many nodes
        halved = eqx.tree_at(lambda e: (e.values, e.weights), still, still.fewer)
        differ = differ + jnp.max(jnp.abs(jnp.stack(roughly(halved)[:2]) - jnp.stack(roughly(still)[:2])))
    error = jax.lax.stop_gradient(differ + 4 * EPS * (1.0 + size[0]) + (4 * EPS + still.accuracy) * moved)
    return train, test, jnp.where(jnp.isfinite(error), error, jnp.inf)


def flow_losses(eq: Any, c: Any, count: int = FINEST) -> tuple[Any, Any, Any]:
    """L_train, L_test and their error under gradient flow to one c = 2β²τ/ψ_p."""
    return losses_and_error(eq, *checked(partial(flow, c), count))


def flow_errors(eq: Any, c: Any) -> Any:
    """Errors of the losses at several c, by a program that every learning curve has compiled."""
    return _losses_along(eq, flow, (c,), FINEST)[2]


def checked(contour: Callable[[int], Contour], count: int) -> tuple[Contour, Contour, Contour]:
    """A contour with the two that its error takes; the second padded to the size of the first."""
    fine, other, coarse = (contour(n) for n in (count, count - FEWER, COARSE))
    missing = fine.nodes.size - other.nodes.size
    other = Contour(jnp.pad(other.nodes, (0, missing), mode="edge"), jnp.pad(other.weights, (0, missing)))
    return fine, other, coarse


def _losses_along(eq: Any, contour: Callable[..., Contour], arguments: Any, count: int) -> tuple[Any, Any, Any]:
    """Losses and errors at each τ, by calls of one of two sizes, so that any number of times is compiled already."""
    size = arguments[0].shape[0]
    width = FEW if size <= FEW else BATCH
    parts = jax.tree.map(lambda a: jnp.pad(a, (0, -size % width), mode="edge").reshape(-1, width), arguments)
    if concrete(*jax.tree.leaves((eq, arguments))):
        each = (jax.tree.map(lambda a, i=i: a[i], parts) for i in range(parts[0].shape[0]))
        found = [_losses_of_batch(eq, contour, part, count) for part in each]
        rows = tuple(jnp.concatenate(column) for column in zip(*found, strict=True))
    else:
        rows = jax.lax.map(lambda part: _losses_of_batch(eq, contour, part, count), parts)
    train, test, error = (a.ravel()[:size] for a in rows)
    return train, test, error


@partial(jax.jit, static_argnames=("contour", "count"))
def _losses_of_batch(eq: Any, contour: Callable[..., Contour], arguments: Any, count: int) -> tuple[Any, Any, Any]:
    return jax.vmap(lambda *a: losses_and_error(eq, *checked(partial(contour, *a), count)))(*arguments)


class _Modes(NamedTuple):
    """Eigenvalues of U plus weight decay [bulk, node], the measure of what they explain over these, and the share that
    U has in them; NaN where there is no bulk.
    """

    values: Any
    weights: Any
    own: Any


def _drop(modes: _Modes, share: Any) -> Any:
    """∫ dν(λ) (2h - λh²) over each bulk, h = share/(λ + γ')."""
    return jnp.sum(modes.weights * share * (2.0 - modes.own * share), axis=-1)


@partial(jax.jit, static_argnames="learned")
def _drops_along(modes: _Modes, learned: Callable[..., Any], arguments: Any) -> Any:
    return jax.lax.map(lambda a: _drop(modes, learned(modes.values, *a)), arguments, batch_size=FEW)


@partial(jax.jit, static_argnames="nodes")
def _modes(eq: Any, lower: Any, upper: Any, nodes: int) -> _Modes:
    exists = ~jnp.isnan(lower)
    zeta, slope, floor = jax.vmap(lambda a, b: nodes_of(a, b, nodes))(
        jnp.where(exists, lower, eq.bound), jnp.where(exists, upper, 2 * eq.bound)
    )
    u = jax.vmap(jax.vmap(partial(solve_real_axis, eq)))(zeta, floor)
    density = jax.vmap(jax.vmap(lambda *u: eq.explained(u)[0].imag))(*u) * slope / nodes
    value = eq.origin + zeta
    keep = lambda a: jnp.where(exists[:, None], a, jnp.nan)
    return _Modes(keep(value + eq.decay), keep(density / (value + eq.decay)), keep(value / (value + eq.decay)))
