r"""Processes given at one time by their numbers: a step of a schedule, or α and β themselves."""

from __future__ import annotations

import numpy as np

from ..numerics.checks import concrete, integer, namespace, not_negative, real_scalar, real_vector
from ..numerics.types import Given, Real
from .processes import Process


def _no_time(process: Process) -> ValueError:
    return ValueError(
        "the process must have a time, such as rf.OrnsteinUhlenbeck(t) (t = -½ log ᾱ of a DDPM "
        f"step), got {type(process).__name__}"
    )


def _check_schedule(name: str, values: np.ndarray) -> None:
    inside = (values > 0) & (values < 1)
    if not np.all(inside):
        raise ValueError(
            f"{name} must lie between 0 and 1, both excluded, got {values[~inside][0]!r}"
        )
    if name == "alpha_bars" and not np.all(np.diff(values) < 0):
        raise ValueError("alpha_bars must fall from step to step, got a schedule that does not")


class DDPM(Process):
    r"""A step of a denoising diffusion model: α = √ᾱ_k, β = √(1 - ᾱ_k).

    It is the Ornstein-Uhlenbeck process at t = -½ log ᾱ_k.

    Parameters
    ----------
    step : int
        k, from 1 to the length of the schedule.
    betas : array, shape (K,), optional
        Variances β_k of the steps, between 0 and 1; ᾱ_k = Π_{j≤k} (1 - β_j).
    alpha_bars : array, shape (K,), optional
        ᾱ_k, between 0 and 1 and falling. Without either schedule the betas are those of Ho, Jain
        and Abbeel (2020), from 1e-4 to 0.02 in 1000 equal steps.

    Raises
    ------
    ValueError
        If both schedules are given, a number lies outside its range, or there is no such step.

    Examples
    --------
    >>> import rfspec as rf
    >>> step = rf.DDPM(500)
    >>> print(f"{step.alpha:.6f} {step.t:.6f}")
    0.280334 1.271773
    """

    log_alpha_bar: Real

    def __init__(self, step: int, betas: Given = None, alpha_bars: Given = None):
        if betas is not None and alpha_bars is not None:
            raise ValueError("give betas or alpha_bars, not both")
        name, values = ("betas", betas) if alpha_bars is None else ("alpha_bars", alpha_bars)
        values = np.linspace(1e-4, 0.02, 1000) if values is None else values
        values = real_vector(name, values, "a one-dimensional array of numbers between 0 and 1")
        if concrete(values):
            _check_schedule(name, values)
        step = integer("step", step, 1, values.size)
        xp = namespace(values)
        logs = xp.cumsum(xp.log1p(-values)) if name == "betas" else xp.log(values)
        self.log_alpha_bar = logs[step - 1]

    def at(self, t: Given) -> Process:
        """Raises a ValueError: a schedule has steps, and no time between them."""
        raise _no_time(self)

    @property
    def alpha(self) -> Real:
        """√ᾱ."""
        return namespace(self.log_alpha_bar).exp(0.5 * self.log_alpha_bar)

    @property
    def beta2(self) -> Real:
        """1 - ᾱ, without cancellation in the first steps."""
        return -namespace(self.log_alpha_bar).expm1(self.log_alpha_bar)

    @property
    def t(self) -> Real:
        """The time -½ log ᾱ of the Ornstein-Uhlenbeck process with the same α and β."""
        return -0.5 * self.log_alpha_bar

    @property
    def velocity(self) -> tuple[Real, Real]:
        """(-β, α): the v-prediction αξ - βx of Salimans and Ho (2022)."""
        return -self.beta, self.alpha


class Interpolant(Process):
    r"""A stochastic interpolant at one time, given by its numbers α and β.

    Parameters
    ----------
    alpha, beta : float
        Amplitudes of signal, α ≥ 0, and noise, β > 0.
    alpha_rate, beta_rate : float, optional
        α̇ and β̇, for the target "velocity".

    Raises
    ------
    ValueError
        If α is negative, β is not positive, or one rate is given without the other.

    Examples
    --------
    >>> import rfspec as rf
    >>> process = rf.Interpolant(0.6, 0.8, alpha_rate=-1.0, beta_rate=1.0)
    >>> print(f"{process.beta2:.2f}")
    0.64
    """

    signal: Real
    noise: Real
    rates: tuple[Real, Real] | None

    def __init__(
        self, alpha: Given, beta: Given, alpha_rate: Given = None, beta_rate: Given = None
    ):
        if concrete(alpha, beta) and np.size(alpha) == np.size(beta) == 1 and alpha == beta == 0:
            raise ValueError("alpha² + beta² must be greater than 0, got alpha = beta = 0")
        self.signal = not_negative("alpha", alpha)
        self.noise = real_scalar("beta", beta, above=0.0)
        if (alpha_rate is None) != (beta_rate is None):
            raise ValueError("give both of alpha_rate and beta_rate, or none")
        rates = {"alpha_rate": alpha_rate, "beta_rate": beta_rate}
        self.rates = (
            None
            if alpha_rate is None
            else tuple(real_scalar(name, x, above=-np.inf) for name, x in rates.items())
        )

    def at(self, t: Given) -> Process:
        """Raises a ValueError: these numbers belong to one time."""
        raise _no_time(self)

    @property
    def alpha(self) -> Real:
        """The given α."""
        return self.signal

    @property
    def beta2(self) -> Real:
        """Square of the given β."""
        return self.noise**2

    @property
    def velocity(self) -> tuple[Real, Real]:
        """The given (α̇, β̇)."""
        if self.rates is None:
            raise ValueError(
                'target "velocity" needs alpha_rate and beta_rate of the Interpolant, got none'
            )
        return self.rates
