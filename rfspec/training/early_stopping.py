r"""When to stop: the best training time, the window around it, and the onset of the gap.

The times are roots that ``rfspec.training.stops`` finds; how they move with the model is in
``rfspec.training.moving_stops``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..files.tables import LOSS, Table, in_brief
from ..models.gaussian_equivalent import gaussian_equivalent
from ..models.model import RandomFeatureModel
from ..numerics.checks import concrete, fraction, on_host, real_scalar
from ..numerics.types import Given, Real, Truth
from ..resolvent.equations import averaged_equations
from ..resolvent.solver import ConvergenceError
from .exact_score import score_error
from .moving_stops import stops
from .stop_errors import time_errors

# the generalisation gap counts as open at this share of its limit
THRESHOLD = 0.1


class Window(NamedTuple):
    """Training times between which L_test exceeds its minimum by the tolerance at most.

    Attributes
    ----------
    lower, upper : float
        Ends, in units of τ = kη/d²; 0 and ∞ where L_test never exceeds it.
    """

    lower: Real
    upper: Real

    def __repr__(self) -> str:
        return in_brief(self)


class Rival(NamedTuple):
    """The second best of all candidates, which are minima of L_test, τ = 0 and τ = ∞.

    Attributes
    ----------
    tau : float
        Its training time.
    test : float
        Its test loss.
    """

    tau: Real
    test: Real

    def __repr__(self) -> str:
        return in_brief(self)


class EarlyStopping(Table, eqx.Module):
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
        How much the window allows, in units of the loss.
    untrained : float
        Loss at τ = 0, train and test.
    test_limit, train_limit : float
        Losses at τ = ∞.
    error, limit_error : float
        Estimated absolute error of the losses at τ*, and of those at τ = ∞.
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
        Share of its limit at which the gap counts as open.
    model : RandomFeatureModel
        The model that was asked about.
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
    limit_error: Real
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
            "window_lower_error": self.window_error.lower,
            "window_upper": self.window.upper,
            "window_upper_error": self.window_error.upper,
            "onset": self.onset,
            "onset_error": self.onset_error,
            "tolerance": self.tolerance,
            "train": self.train,
            "test": self.test,
            "score_error": self.score_error,
            "train_limit": self.train_limit,
            "test_limit": self.test_limit,
            "error": self.error,
            "limit_error": self.limit_error,
        }

    def units(self) -> dict[str, str]:
        """Units by name; the errors of times are relative."""
        known = super().units()
        relative = {name: "1" for name in known if name.endswith("_error")}
        return known | relative | {"error": LOSS, "limit_error": LOSS}

    def errors(self) -> dict[str, Any]:
        """Absolute errors of times and losses, by name."""
        numbers = self.columns()
        times = ("tau", "window_lower", "window_upper", "onset")
        # the error of what is exactly 0 or ∞ is 0
        settled = lambda time: not 0 < time < np.inf
        of_times = {
            name: 0.0 if settled(numbers[name]) else numbers[name] * numbers[f"{name}_error"]
            for name in times
        }
        at_best = dict.fromkeys(("train", "test"), self.error)
        return of_times | at_best | dict.fromkeys(("test_limit", "train_limit"), self.limit_error)

    def notes(self) -> list[str]:
        """What to do, and where the sample begins to be learnt before the best time."""
        return [note for note in (self.advice, self.early_onset) if note]

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
        """Whether the window has no end: the architecture regularises, and training may go on for
        ever.
        """
        return (self.window.upper == jnp.inf) & ~self.nothing_to_learn

    @property
    def advice(self) -> str:
        """What is particular about the best time of a single model, in words; empty where nothing
        is.
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
    def early_onset(self) -> str:
        """That the sample begins to be learnt before the best time, in words; empty where not."""
        if not float(self.onset) < float(self.tau):
            return ""
        return (
            "the sample begins to be learnt before the best time: at tau = "
            f"{float(self.onset):.6g} the gap of the losses is {float(self.threshold):.0%} of its "
            f"limit {float(self.test_limit - self.train_limit):.3g}"
        )

    @property
    def ambiguous(self) -> Truth:
        """Whether `rival` is as good as τ* within the errors of the losses."""
        return self.rival.test - self.test <= 2 * self.error


def early_stopping(
    model: RandomFeatureModel, tolerance: Given = 0.01, threshold: Given = THRESHOLD
) -> EarlyStopping:
    r"""The training time τ* of the smallest exact test loss, and the window of safe stopping.

    .. math:: τ^* = \operatorname{argmin}_{0 ≤ τ ≤ ∞} L_{test}(τ)

    under gradient flow. For Gaussian data L_test = β²E_score + const, so that it minimises the
    score error too. The window is the interval around τ* on which L_test(τ) ≤ L_test(τ*) +
    tolerance. The onset is the first time at which L_gen = L_test - L_train is threshold·L_gen(∞).

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
        .test_limit .error .tau_error .rival .ambiguous .advice .onset .onset_error``: times in
        units of τ = kη/d² with relative errors, losses with an absolute one.

    Raises
    ------
    ValueError
        If the tolerance is not positive, or the threshold not between 0 and 1.
    ConvergenceError
        If the losses of a single model are not finite.

    Notes
    -----
    Section 8 of docs/theory.md, beyond arXiv 2505.17638. All times and losses are implicit
    functions of the model: `jax.grad` of τ* in ψ_n is exact, and `jax.vmap` over models works. A
    time at 0 or ∞ has derivative 0.

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
    tolerance = real_scalar("tolerance", tolerance, above=0.0)
    threshold = fraction("threshold", threshold)
    eq = averaged_equations(model, gaussian_equivalent(model))
    times = stops(eq, tolerance, threshold)
    known = jax.tree.map(on_host, jax.lax.stop_gradient(times))
    errors = known.errors
    best_error, lower_error, upper_error, onset_error = time_errors(errors, known)
    unit = model.time_unit
    stop = EarlyStopping(
        tau=times.best * unit,
        test=times.test,
        train=times.train,
        score_error=score_error(model, on_host(times.test)),
        window=Window(times.lower * unit, times.upper * unit),
        tolerance=tolerance,
        untrained=eq.untrained,
        test_limit=times.test_limit,
        train_limit=times.train_limit,
        error=errors[0],
        limit_error=known.limit_error,
        tau_error=best_error,
        window_error=Window(lower_error, upper_error),
        rival=Rival(times.rival * unit, times.rival_test),
        onset=times.onset * unit,
        onset_error=onset_error,
        threshold=threshold,
        model=model,
    )
    if concrete(errors) and np.ndim(errors) == 1 and not np.isfinite(float(errors[0])):
        raise ConvergenceError(f"the losses of {model} did not converge: move a parameter a little")
    return stop


def gap_onset(model: RandomFeatureModel, threshold: Given = THRESHOLD) -> tuple[Real, Real]:
    r"""The training time at which the generalisation gap first reaches a share of its limit.

    L_gen(τ) = threshold · L_gen(∞) with L_gen = L_test - L_train, under gradient flow.

    Parameters
    ----------
    model : RandomFeatureModel
    threshold : float
        Share of the limit, 0 < threshold < 1.

    Returns
    -------
    tuple
        (τ, estimated relative error of τ), in units of τ = kη/d². Differentiable in the model.

    Raises
    ------
    ValueError
        If the threshold is not between 0 and 1.
    ConvergenceError
        If the gap of a single model has no limit above 0, or the losses are not finite.

    Notes
    -----
    Section 12 of docs/theory.md, beyond arXiv 2505.17638, which reads τ_mem off simulated gaps.

    Examples
    --------
    >>> import rfspec as rf
    >>> tau, error = rf.gap_onset(rf.RandomFeatureModel(psi_p=64.0, psi_n=8.0, t=0.01))
    >>> print(f"{tau:.3f}", bool(error < 1e-9))
    89824.156 True
    """
    return onset_of(early_stopping(model, threshold=threshold))


def onset_of(stop: EarlyStopping) -> tuple[Real, Real]:
    """The onset of the gap and its error; a single model has to have one."""
    if concrete(stop.onset) and np.ndim(stop.onset) == 0 and not np.isfinite(float(stop.onset)):
        raise ConvergenceError(
            f"the gap of {stop.model} does not open to double precision: move a parameter a little"
        )
    return stop.onset, stop.onset_error
