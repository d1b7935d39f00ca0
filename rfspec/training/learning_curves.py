r"""Losses along training, as one object for theory and experiment, and the theory: exact curves without training.

L_train = (1/dn) Σ_ν E_ξ ||β s_A(x_t^ν) + ξ||², L_test the same over fresh x, and the score error
E_score = (1/d) E ||s_A(x_t) - ∇log P_t(x_t)||². For Gaussian data L_test = β²E_score + 1 - β² Tr Σ_t⁻¹/d.

A linear method, after which h(λ) = (1 - r(λ))/λ of a mode is learnt, has with ⟨f⟩_s = Tr FFᵀf(U)/p

    L_train = 1 + b²ψ_p [ ⟨λh²⟩_s - 2⟨h⟩_s ],    L_test = 1 + b²ψ_p [ Tr FFᵀ h(U)Ũh(U)/p - 2⟨h⟩_s ].

With h(U) a sum of resolvents (``rfspec.training.contour``) these are sums of s(z_j) and of two-point functions
K_M(z_j, z_k) of ``rfspec.resolvent.columns``; ⟨λh²⟩_s takes Tr FFᵀ(U - z1)⁻¹U(U - z2)⁻¹/p = s(z1) + z2 K_I(z1, z2).
Beyond arXiv 2505.17638, whose curves are simulations.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..models.gaussian_equivalent import gaussian_equivalent
from ..models.model import RandomFeatureModel
from ..models.targets import combination, score_scale, unexplained
from ..numerics.checks import as_float, concrete, namespace, on_device, on_host, real_scalar, traced_array
from ..numerics.holomorphic import Unknowns, condition, implicit
from ..resolvent.equations import averaged_equations, filled_up
from ..resolvent.solver import EPS, ConvergenceError, left_of_origin, solve_left, solve_off_axis, solve_real_axis
from ..spectra.series import NODES, Series, angles, place, rule
from ..spectra.spectrum import spectrum
from ..spectra.support import Support, open_ends
from .contour import COARSE, FEWER, FINEST, Contour, descent, flow, heavy_ball, nodes_for
from .filters import learned, stable_below

TOLERANCE = 1e-11
AT_ONCE = 8  # training times in one call, so that any number of them is compiled already
PER_PIECE = 4 * NODES  # nodes for the drops on a piece of a bulk
CROWD = 0.02  # spacing of nodes at an edge, in units of the mean one


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
        Estimated absolute error of both losses at each τ, nearly always that of the test loss; that of the score error
        is β² times smaller.
    standard_error : StandardErrors
        Of train, test and score_error where they are means over sampled models; NaN where they are not.
    model : RandomFeatureModel or None
        Of the theory: the model; `learning_rate` and `momentum`, how it was trained.
    train_error : float
        Of the theory: estimated absolute error of the train loss alone, which late in training may be many times
        smaller.
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
    train_error: Any = jnp.nan

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
        return {name: drop for name, (drop, _) in self._of_parts().items()}

    @property
    def drop_errors(self) -> dict[str, Any]:
        """Estimated absolute errors of `drops`: of the integrals over the bulks, and `train_error`."""
        return {name: error + self.train_error for name, (_, error) in self._of_parts().items()}

    def _of_parts(self) -> dict[str, tuple[Any, Any]]:
        """Drop of each part, and the error of its integrals."""
        if self.model is None:
            return {}
        sp = spectrum(self.model)
        method = _method(self.model, sp.equations, self.tau, self.learning_rate, self.momentum)
        nodes = PER_PIECE + method.oscillations(sp.support.lower, sp.support.upper)
        columns = method.drops(_modes(sp.equations, sp.support, sp.series, nodes))
        found: dict[str, tuple[Any, Any]] = {}
        for i, bulk in enumerate(sp.bulks):
            name = bulk.part or f"bulk {i + 1}"
            before = found.get(name, (0.0, 0.0))
            own = sp.series.bulk == i
            sums = (jnp.sum(jnp.where(own, column, 0.0), axis=1) for column in columns)
            here = (jnp.reshape(column, jnp.shape(self.tau)) for column in sums)
            found[name] = tuple(a + b for a, b in zip(before, here, strict=True))
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
        ``.tau .train .test .score_error .gap`` of τ's shape, ``.drops`` by parts of the spectrum, ``.error`` of both
        losses and ``.train_error`` of L_train: the difference between two node counts, rounding, and the errors of the
        constants by their conditions.

    Raises
    ------
    ValueError
        If a time is negative, NaN or missing, or the learning rate is not stable (the message names the limit).
    ConvergenceError
        If edges of the spectrum cannot be told apart in double precision, or a scalar τ has no finite result.

    Notes
    -----
    Beyond arXiv 2505.17638; the two-point functions are equations (5) to (7) of ``rfspec.resolvent.columns``.
    Gradient flow and gradient descent can be mapped and differentiated with JAX (up to three times, in the model and
    τ); momentum takes known numbers only. In a map over models, where nothing can be refused, the error at an unstable
    step is infinite.

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
        tau = namespace(tau, learning_rate).round(tau / learning_rate) * learning_rate
    method = _method(model, eq, tau, learning_rate, mu)
    train, test, errors = map(on_host, method.losses(eq, count))
    errors = namespace(stable, errors).where(stable, errors, np.inf)
    columns = (train, test, errors.max(axis=-1), errors[:, 0])
    train, test, error, train_error = (a.reshape(np.shape(tau)) for a in columns)
    numbers = (tau, train, test, score_error(model, test), error, train_error)
    tau, train, test, score, error, train_error = (on_device(as_float(a)) for a in numbers)
    how = {"model": model, "learning_rate": learning_rate, "momentum": mu, "train_error": train_error}
    curve = LearningCurve(tau, train, test, score, error, **how)
    if np.ndim(tau) == 0 and concrete(error) and not np.isfinite(float(error)):
        raise ConvergenceError(f"the losses at tau = {float(tau):.6g} did not converge: move a parameter a little")
    return curve


def score_error(model: RandomFeatureModel, test: Any) -> Any:
    """E_score of a test loss under Gaussian data: what exceeds the loss of the exact score, over its unit."""
    y = combination(model.target, model.process)
    with np.errstate(divide="ignore", invalid="ignore"):  # without a signal there is no score to be learnt
        return (test - unexplained(y, model.process, *filled_up(model.covariance))) / score_unit(model)


def score_unit(model: RandomFeatureModel) -> Any:
    """The test loss that a score error of 1 stands for: β² for the target "noise"."""
    return score_scale(combination(model.target, model.process), model.process) ** 2


def training_times(tau: Any) -> Any:
    """Training times 0 ≤ τ ≤ ∞ as float64, any shape and order."""
    rule = "tau must be real numbers of at least 0 (inf is allowed)"
    if not concrete(tau):
        return traced_array("tau", tau, "real numbers of at least 0 (inf is allowed)")
    try:
        array = np.asarray(tau)
    except (TypeError, ValueError) as e:
        raise ValueError(f"{rule}, got {tau!r:.100}") from e
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
    """A method with JAX formulas: its contour and the share of a mode x that is learnt, at arguments along τ; where it
    has come to its end the arguments are any.
    """

    contour: Callable[..., Contour]
    learned: Callable[..., Any]
    arguments: tuple[Any, ...]
    ended: Any

    def losses(self, eq: Any, count: int) -> tuple[Any, Any, Any]:
        return _losses_along(eq, self.contour, self.arguments, self.ended, count)

    def drops(self, modes: _Modes) -> tuple[Any, Any]:
        return _drops_along(modes, self.learned, self.arguments, self.ended)

    def oscillations(self, lower: Any, upper: Any) -> int:
        """Nodes for modes that oscillate; under these methods none does."""
        return 0


def _method(model: RandomFeatureModel, eq: Any, tau: Any, rate: Any, mu: float) -> _Method | _HeavyBall:
    unit = 2.0 * model.pace / model.psi_p  # c of τ = 1
    xp = namespace(unit, tau, rate)
    tau = xp.ravel(tau)
    ended = tau == np.inf
    tau = xp.where(ended, 0.0, tau)
    if rate is None:
        return _flowing(eq, unit * tau, ended)
    steps = xp.round(tau / rate)
    if mu:
        return _HeavyBall(unit * rate, xp.where(ended, np.inf, steps), mu)
    return _Method(descent, _steps_learned, (xp.broadcast_to(unit * rate, steps.shape), steps), ended)


def _flowing(eq: Any, c: Any, ended: Any) -> _Method:
    """Gradient flow to the times c."""
    top = on_host(eq.top)
    return _Method(flow, _flow_learned, (c, namespace(top).broadcast_to(top, np.shape(c))), ended)


class _HeavyBall(NamedTuple):
    """Steps with momentum; each k has its own contour, so that k and c are known numbers."""

    c: Any
    k: Any
    mu: float

    def losses(self, eq: Any, count: int) -> tuple[Any, Any, Any]:
        rows = []
        for k in np.asarray(self.k):
            known = np.isfinite(k) and checked(partial(heavy_ball, float(self.c), int(k), self.mu), count)
            rows.append(losses_and_error(eq, *known) if known else limit(eq))
        train, test, errors = (jnp.stack(column) for column in zip(*rows, strict=True))
        return train, test, errors

    def drops(self, modes: _Modes) -> tuple[Any, Any]:
        x, k = np.asarray(self.c * modes.values), np.where(np.isfinite(self.k), self.k, 1e300)
        found = [_drop(modes, learned(x, float(steps), "momentum", self.mu)) for steps in k]
        drops, errors = (jnp.stack(column) for column in zip(*found, strict=True))
        return drops, errors

    def oscillations(self, lower: Any, upper: Any) -> int:
        """Nodes that resolve r_k², a power of two.

        r_k is a polynomial of degree k in λ, bounded up to the limit of stability, and so of degree k in the angle ψ of
        λ = λ_max (1 - cos ψ)/2. The angle θ of a bulk [a, b] has |dψ/dθ| ≤ √log(b/a). What oscillates falls off as
        μ^{k/2}; beyond some k it is rounding.
        """
        k = np.asarray(self.k)
        visible = float(np.max(k, where=k < 2 * np.log(EPS) / np.log(self.mu), initial=0.0))
        a, b = np.asarray(lower), np.asarray(upper)
        wide = np.log(b / np.where(a > 0, a, b))
        needed = 4 * visible * np.sqrt(max(1.0, float(np.max(wide, initial=0.0, where=b > 0))))
        return 1 << int(np.ceil(np.log2(max(1.0, needed))))


def _flow_learned(x: Any, c: Any, top: Any) -> Any:
    return -jnp.expm1(-c * x)


def _steps_learned(x: Any, c: Any, k: Any) -> Any:
    x = c * x
    log = k * jnp.log1p(-jnp.minimum(x, 2.0 - x))  # of |1 - x|^k
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


def pairs_of(eq: Any, u: Unknowns) -> Pairs:
    """One- and two-point functions from the solutions at the nodes of a contour."""
    points = jax.vmap(lambda *u: eq.at(u))(*u)
    j, k = np.triu_indices(u[0].shape[-1])
    sources = (eq.population, (1.0, 0.0, 0.0))
    pair = jax.vmap(jax.vmap(lambda a, b: eq.explained_twice(a, b, sources)), in_axes=(None, 0))
    one = jax.tree.map(lambda a: a[j], points)
    two = jax.tree.map(lambda a: jnp.stack([a[k], a[k].conj()]), points)
    return Pairs(*jax.vmap(eq.explained)(points), *pair(one, two))


def losses(eq: Any, path: Contour, pairs: Pairs) -> tuple[Any, Any, Any]:
    """L_train and L_test of the filter that a contour stands for; roots of the sums of squares of their terms."""
    z, w = path.nodes - eq.decay, path.weights
    j, k = np.triu_indices(z.shape[-1])
    twice = np.where(j == k, 2.0, 4.0)  # the complex conjugate of each pair, and the pair in the other order
    ww = twice * w[j] * jnp.stack([w[k], w[k].conj()])
    sample, population = (4.0 * jnp.sum(w * f).real for f in (pairs.sample, pairs.population))
    known = ww * (pairs.sample[j] + jnp.stack([z[k], z[k].conj()]) * pairs.known)
    fresh = ww * pairs.fresh
    size = jnp.stack([jnp.sqrt(jnp.sum(terms.real**2 + terms.imag**2)) for terms in (known, fresh)])
    return eq.untrained + (jnp.sum(known).real - sample), eq.untrained + (jnp.sum(fresh).real - population), size


@jax.jit
def losses_and_error(eq: Any, fine: Contour, other: Contour, coarse: Contour) -> tuple[Any, Any, Any]:
    """Losses by the first contour; their errors from the second, from rounding, and from the errors of the constants.

    The first two have equally many nodes. The third tells the conditions |∂L/∂p · p| of the numbers p in the
    equations, and what other nodes of a continuous law would change.
    """
    along = jax.vmap(partial(solve_off_axis, eq))
    u = along(jnp.concatenate([fine.nodes, other.nodes, coarse.nodes]) - eq.decay)
    *both, few = zip(*(jnp.split(v, np.cumsum([fine.nodes.size, other.nodes.size])) for v in u), strict=True)
    two = jax.tree.map(lambda a, b: jnp.stack([a, b]), (fine, both[0]), (other, both[1]))
    train, test, size = jax.vmap(lambda path, u: losses(eq, path, pairs_of(eq, u)))(*two)

    still, coarse, few = jax.lax.stop_gradient((eq, coarse, few))
    near = lambda e: jax.vmap(lambda z, *u: implicit(e, u, z - e.decay - e.origin, 1))(coarse.nodes, *few)
    roughly = lambda e, u: jnp.stack(losses(e, coarse, pairs_of(e, u))[:2])
    moved = condition(still, lambda e: roughly(e, near(e)))
    differ = jnp.stack([jnp.abs(a[1] - a[0]) for a in (train, test)])
    if still.others is not None:
        law = _with_others(still)
        again = jax.vmap(partial(solve_off_axis, law))(coarse.nodes - law.decay)
        differ = differ + jnp.abs(roughly(law, again) - roughly(still, few))
    return train[0], test[0], _errors(still, differ, size[0], moved)


def _with_others(eq: Any) -> Any:
    """The equations where a continuous law has its other nodes."""
    return eqx.tree_at(lambda e: (e.values, e.weights), eq, eq.others)


def _errors(eq: Any, differ: Any, size: Any, moved: Any) -> Any:
    """Of both losses: what two rules differ by, rounding of the untrained loss and of the terms, and the conditions."""
    rounding = 4 * EPS * (jnp.abs(eq.untrained) + size)
    error = jax.lax.stop_gradient(differ + rounding + (4 * EPS + eq.accuracy) * moved)
    return jnp.where(jnp.isfinite(error), error, jnp.inf)


@jax.jit
def limit(eq: Any) -> tuple[Any, Any, Any]:
    """L_train and L_test at the end of training, h(U) = U⁻¹, or (U + γ')⁻¹ with weight decay; and their errors."""
    zero = Contour(jnp.zeros(1, complex), jnp.full(1, 0.5 + 0j))
    at_end = lambda e, u: losses(e, zero, pairs_of(e, tuple(v[None] + 0j for v in u)))
    both = lambda e, u: jnp.stack(at_end(e, u)[:2])
    u = solve_left(eq, -eq.decay)
    train, test, size = at_end(eq, u)
    still, u = jax.lax.stop_gradient((eq, u))
    near = lambda e: implicit(e, u, left_of_origin(e, -e.decay), 1)
    moved = condition(still, lambda e: both(e, near(e)))
    differ = jnp.zeros(2)
    if still.others is not None:
        law = _with_others(still)
        differ = jnp.abs(both(law, solve_left(law, -law.decay)) - both(still, u))
    errors = _errors(still, differ, size, moved)
    diverges = errors[1] > jnp.abs(jax.lax.stop_gradient(test))  # at p = mn, where U has a hard edge at 0
    return train, jnp.where(diverges, jnp.inf, test), errors.at[1].set(jnp.where(diverges, jnp.inf, errors[1]))


def flow_losses(eq: Any, c: Any, count: int = FINEST) -> tuple[Any, Any, Any]:
    """L_train, L_test and their error under gradient flow to one c = 2β²τ/ψ_p < ∞."""
    train, test, errors = losses_and_error(eq, *checked(partial(flow, c, eq.top), count))
    return train, test, jnp.max(errors)


def flow_errors(eq: Any, c: Any) -> Any:
    """Errors of the losses at several c, by programs that every learning curve has compiled."""
    xp = namespace(c)
    return _flowing(eq, xp.where(c == np.inf, 0.0, c), c == np.inf).losses(eq, FINEST)[2].max(axis=-1)


def checked(contour: Callable[[int], Contour], count: int) -> tuple[Contour, Contour, Contour]:
    """A contour with the two that its error takes; the second padded to the size of the first."""
    fine, other, coarse = (contour(n) for n in (count, count - FEWER, COARSE))
    missing = fine.nodes.size - other.nodes.size
    other = Contour(jnp.pad(other.nodes, (0, missing), mode="edge"), jnp.pad(other.weights, (0, missing)))
    return fine, other, coarse


def _losses_along(
    eq: Any, contour: Callable[..., Contour], arguments: Any, ended: Any, count: int
) -> tuple[Any, Any, Any]:
    """Losses and errors at each τ."""
    size, known = arguments[0].shape[0], concrete(eq, arguments)
    width = AT_ONCE if known else 1
    parts = tuple(namespace(a).pad(a, (0, -size % width), mode="edge").reshape(-1, width) for a in arguments)
    if known:
        each = (tuple(a[i] for a in parts) for i in range(parts[0].shape[0]))
        found = zip(*(_losses_of_batch(eq, contour, part, count) for part in each), strict=True)
        rows = tuple(namespace(column).stack([on_host(a) for a in column]) for column in found)
    else:
        rows = _losses_of_batches(eq, contour, parts, count)
    train, test, errors = (a.reshape(-1, *a.shape[2:])[:size] for a in rows)
    if concrete(ended) and not np.any(ended):
        return train, test, errors
    last, columns = map(on_host, limit(eq)), ((train, ended), (test, ended), (errors, ended[:, None]))
    return tuple(namespace(end, a, b).where(end, a, b) for a, (b, end) in zip(last, columns, strict=True))


@partial(jax.jit, static_argnames=("contour", "count"))
def _losses_of_batches(eq: Any, contour: Callable[..., Contour], parts: Any, count: int) -> tuple[Any, Any, Any]:
    return jax.lax.map(jax.checkpoint(lambda part: _losses_of_batch(eq, contour, part, count)), parts)


@partial(jax.jit, static_argnames=("contour", "count"))
def _losses_of_batch(eq: Any, contour: Callable[..., Contour], arguments: Any, count: int) -> tuple[Any, Any, Any]:
    return jax.vmap(lambda *a: losses_and_error(eq, *checked(partial(contour, *a), count)))(*arguments)


class _Modes(NamedTuple):
    """Eigenvalues of U plus weight decay [piece, node], the density of what they explain, the nodes' weights, and the
    share that U has in them; NaN where there is no piece of a bulk.
    """

    values: Any
    density: Any
    weights: Any
    own: Any


def _drop(modes: _Modes, share: Any) -> tuple[Any, Any]:
    """∫ dν(λ) (2h - λh²) over each piece, h = share/(λ + γ'); its error from the last terms of the series."""
    terms = modes.density * share * (2.0 - modes.own * share)
    last = jax.scipy.fft.dct(jax.lax.stop_gradient(terms), axis=-1)[:, -(terms.shape[-1] // 8) :] / terms.shape[-1]
    span, size = jnp.sum(modes.weights, axis=-1), jnp.sum(modes.weights * jnp.abs(terms), axis=-1)
    error = span * jnp.max(jnp.abs(last), axis=-1) + 4 * EPS * size
    return jnp.sum(modes.weights * terms, axis=-1), jax.lax.stop_gradient(error)


@partial(jax.jit, static_argnames="learned")
def _drops_along(modes: _Modes, learned: Callable[..., Any], arguments: Any, ended: Any) -> tuple[Any, Any]:
    share = lambda end, *a: jnp.where(end, 1.0, learned(modes.values, *a))
    return jax.lax.map(lambda a: _drop(modes, share(*a)), (ended, *arguments), batch_size=AT_ONCE)


@partial(jax.jit, static_argnames="nodes")
def _modes(eq: Any, support: Support, series: Series, nodes: int) -> _Modes:
    """The nodes crowd towards the edges, where many steps, of the stable size or little below, leave boundary layers.

    On a whole bulk, with θ = φ - (1 - CROWD) sin(2φ)/2 at midpoints φ_j, the rule stays that of a smooth periodic
    function.
    """
    phi, (part, by_fejer) = angles(nodes), rule(nodes, False)
    crowded = phi - (1.0 - CROWD) * np.sin(2 * phi) / 2, (1.0 - (1.0 - CROWD) * np.cos(2 * phi)) / nodes
    whole, span = series.whole[:, None], series.span[:, None]
    theta = jnp.where(whole, crowded[0], np.pi * series.begin[:, None] + span * part)
    weights = span * jnp.where(whole, crowded[1], by_fejer)
    zeta, slope, left, right = jax.vmap(place)(*series.edges(support), theta)
    zeta = jnp.where(series.exists[:, None], zeta, eq.bound * (1.0 + theta))
    floor = jax.lax.stop_gradient(0.02 * jnp.minimum(left, right))
    u = jax.vmap(jax.vmap(partial(solve_real_axis, eq)))(zeta, floor)
    density = jax.vmap(jax.vmap(lambda *u: eq.explained(eq.at(u))[0].imag))(*u) * slope / np.pi
    value = eq.origin + zeta
    keep = lambda a: jnp.where(series.exists[:, None], a, jnp.nan)
    return _Modes(keep(value + eq.decay), keep(density / (value + eq.decay)), weights, keep(value / (value + eq.decay)))
