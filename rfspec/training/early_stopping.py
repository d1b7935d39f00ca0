r"""When to stop: the minimum of the test loss, the window around it,
and the onset of the generalisation gap.

The times are roots that ``rfspec.training.stops`` finds.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..models.gaussian_equivalent import gaussian_equivalent
from ..models.model import RandomFeatureModel
from ..numerics.checks import concrete, real_scalar
from ..numerics.types import Given, Real, Truth, Vector
from ..resolvent.equations import averaged_equations
from ..resolvent.interface import Equations
from ..resolvent.solver import ConvergenceError
from .learning_curves import score_error
from .methods import flow_errors
from .stops import Stops, stops, time_errors

THRESHOLD = 0.1  # share of its limit at which the generalisation gap counts as open


class Window(NamedTuple):
    """Training times between which L_test exceeds its minimum by the tolerance at most;
    0 and ∞ where it never does.
    """

    lower: Real
    upper: Real


class Rival(NamedTuple):
    """The second best of all candidates (minima of L_test, τ = 0 and τ = ∞):
    its training time and test loss.
    """

    tau: Real
    test: Real


class EarlyStopping(eqx.Module):
    """The best training time of a model.

    Attributes
    ----------
    tau : float
        τ* = argmin L_test = argmin E_score; ∞ where the test loss falls to its limit, 0 where
        training only harms.
    test, train, score_error : float
        Losses at τ*.
    window : Window
        ``.lower .upper``, the times around τ* at which L_test = L_test(τ*) + tolerance.
    tolerance : float
        Of the window, in units of the loss.
    untrained : float
        Loss at τ = 0, train and test.
    test_limit, train_limit : float
        Losses at τ = ∞.
    error : float
        Estimated absolute error of the losses.
    tau_error : float
        Estimated relative error of τ*: what an error of the loss's slope moves it by. Where the
        loss is flatter than its own error, the width of that plateau, ∞ where no later time is
        worse. 0 where τ* is 0 or ∞.
    window_error : Window
        Estimated relative errors of the ends of the window.
    rival : Rival
        ``.tau .test`` of the second best of all minima, τ = 0 and τ = ∞.
    onset, onset_error : float
        The first time at which the generalisation gap is `threshold` of its limit, NaN where it has
        none above 0; its estimated relative error.
    threshold : float
    model : RandomFeatureModel
    """

    tau: Real
    test: Real
    train: Real
    score_error: Real
    window: Window
    tolerance: Real
    untrained: Real
    test_limit: Real
    train_limit: Real
    error: Real
    tau_error: Real
    window_error: Window
    rival: Rival
    onset: Real
    onset_error: Real
    threshold: Real
    model: RandomFeatureModel

    def columns(self) -> dict[str, Any]:
        """The best time, its window and the losses there, with errors, by name: numbers."""
        return {
            "tau": self.tau,
            "tau_error": self.tau_error,
            "window_lower": self.window.lower,
            "window_upper": self.window.upper,
            "tolerance": self.tolerance,
            "train": self.train,
            "test": self.test,
            "score_error": self.score_error,
            "test_limit": self.test_limit,
            "error": self.error,
        }

    @property
    def width(self) -> Real:
        """Factor between the ends of the window, upper/lower."""
        return self.window.upper / self.window.lower

    @property
    def nothing_to_learn(self) -> Truth:
        """Whether no training time has a smaller test loss than none: τ* = 0."""
        return self.tau == 0

    @property
    def regularised(self) -> Truth:
        """Whether the window has no end, so that training may go on for ever:
        the architecture regularises.
        """
        return (self.window.upper == jnp.inf) & ~self.nothing_to_learn

    @property
    def advice(self) -> str:
        """What is particular about the best time, in words; empty where there is nothing.
        Of a single model.
        """
        if bool(self.nothing_to_learn):
            return "nothing to learn: training only raises the test loss"
        words = ["no need to stop"] if bool(self.regularised) else []
        if bool(self.ambiguous) and not (
            bool(self.regularised) and float(self.rival.tau) == np.inf
        ):
            words.append(f"tau = {float(self.rival.tau):.6g} is as good within the errors")
        return "; ".join(words)

    @property
    def ambiguous(self) -> Truth:
        """Whether `rival` is as good as τ* within the errors of the losses."""
        return self.rival.test - self.test <= 2 * self.error


def early_stopping(
    model: RandomFeatureModel, tolerance: Given = 0.01, threshold: Given = THRESHOLD
) -> EarlyStopping:
    r"""The training time τ* at which the exact test loss is smallest,
    and the window in which stopping is safe.

    τ* = argmin L_test(τ) over 0 ≤ τ ≤ ∞ under gradient flow; since L_test = β²E_score + const for
    Gaussian data it minimises the score error too. The window is the interval around τ* on which
    L_test(τ) ≤ L_test(τ*) + tolerance. The onset is the first time at which the gap L_gen = L_test
    - L_train is threshold·L_gen(∞).

    Parameters
    ----------
    model : RandomFeatureModel
    tolerance : float
        ε > 0, absolute, in units of the loss, which is 1 at τ = 0 for the target "noise".
    threshold : float
        Share of its limit at which the gap L_test - L_train counts as open, 0 < threshold < 1.

    Returns
    -------
    EarlyStopping
        ``.tau .test .train .score_error .window .width .regularised .nothing_to_learn .untrained
        .test_limit .error .tau_error .rival .ambiguous .advice .onset .onset_error``.

    Raises
    ------
    ValueError
        If the tolerance is not positive, or the threshold not between 0 and 1.
    ConvergenceError
        If the losses of a single model are not finite.

    Notes
    -----
    Beyond arXiv 2505.17638. All times and losses are implicit functions of the model: `jax.grad` of
    τ* in ψ_n is exact, and `jax.vmap` over models works. A time at 0 or ∞ has derivative 0.

    Examples
    --------
    >>> import jax, rfspec as rf
    >>> stop = rf.early_stopping(rf.RandomFeatureModel(psi_p=64.0, psi_n=8.0, t=0.01))
    >>> print(f"{stop.tau:.3f} {stop.score_error:.5f}")
    132.802 0.05430
    >>> print(f"[{stop.window.lower:.2f}, {stop.window.upper:.1f}]")
    [20.06, 2906.7]
    >>> later = jax.grad(lambda n: rf.early_stopping(rf.RandomFeatureModel(64.0, n, 0.01)).tau)(8.0)
    """
    tolerance, threshold = (
        real_scalar("tolerance", tolerance, above=0.0),
        share("threshold", threshold),
    )
    eq = averaged_equations(model, gaussian_equivalent(model))
    found, errors, moved = _stops(eq, tolerance, threshold)
    unit = model.time_unit
    stop = EarlyStopping(
        found.best * unit,
        found.test,
        found.train,
        score_error(model, found.test),
        Window(found.lower * unit, found.upper * unit),
        tolerance,
        eq.untrained,
        found.test_limit,
        found.train_limit,
        errors[0],
        moved[0],
        Window(moved[1], moved[2]),
        Rival(found.rival * unit, found.rival_test),
        found.onset * unit,
        moved[3],
        threshold,
        model,
    )
    if concrete(errors) and np.ndim(errors) == 1 and not np.isfinite(float(errors[0])):
        raise ConvergenceError(f"the losses of {model} did not converge: move a parameter a little")
    return stop


def gap_onset(model: RandomFeatureModel, threshold: Given = THRESHOLD) -> tuple[Real, Real]:
    r"""The training time at which the generalisation gap first reaches a share of its limit,
    and its relative error.

    L_gen(τ) = threshold · L_gen(∞), under gradient flow.

    Parameters
    ----------
    model : RandomFeatureModel
    threshold : float
        Share of the limit, 0 < threshold < 1.

    Returns
    -------
    tuple
        (τ, estimated relative error of τ). Differentiable in the model.

    Raises
    ------
    ValueError
        If the threshold is not between 0 and 1.
    ConvergenceError
        If the gap of a single model has no limit above 0, or the losses are not finite.

    Notes
    -----
    Beyond arXiv 2505.17638, which reads τ_mem off simulated gaps.
    """
    return onset_of(early_stopping(model, threshold=threshold))


def onset_of(stop: EarlyStopping) -> tuple[Real, Real]:
    """The onset of the gap and its error, which has to exist for a single model."""
    if concrete(stop.onset) and np.ndim(stop.onset) == 0 and not np.isfinite(float(stop.onset)):
        raise ConvergenceError(
            f"the gap of {stop.model} does not open to double precision: move a parameter a little"
        )
    return stop.onset, stop.onset_error


def share(name: str, value: Real) -> Real:
    """A number between 0 and 1."""
    value = real_scalar(name, value, above=0.0)
    if concrete(value) and not value < 1:
        raise ValueError(f"{name} must be between 0 and 1, got {float(value)!r}")
    return value


def _stops(eq: Equations, tolerance: Real, threshold: Real) -> tuple[Stops, Vector, Vector]:
    """The four times; the errors of the losses there;
    and the relative errors of the times that follow from them.
    """
    found = _compiled(eq, tolerance, threshold)
    still, seen = jax.lax.stop_gradient((eq, found))
    at = jnp.stack([seen.best, seen.lower, seen.upper, seen.onset])
    errors = flow_errors(still, jnp.where(jnp.isnan(at), jnp.inf, at))
    return found, errors, time_errors(errors, seen)


_compiled = jax.jit(stops)
