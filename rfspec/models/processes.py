r"""The forward process at one fixed time: x_t = α x + β ξ with ξ ~ N(0, I).

Everything downstream sees only the pair (α, β), and for the target "velocity" their rates of
change; a new process is a class with these properties.
"""

from __future__ import annotations

import equinox as eqx
import numpy as np

from ..numerics.checks import concrete, integer, namespace, not_negative, real_scalar, real_vector
from ..numerics.types import Given, Real


class Process(eqx.Module):
    """Signal and noise amplitudes at one time; the base class of every process."""

    @property
    def alpha(self) -> Real:
        """Factor α of the signal."""
        raise NotImplementedError

    @property
    def beta2(self) -> Real:
        """Variance β² of the noise (the paper's Δ_t)."""
        raise NotImplementedError

    @property
    def beta(self) -> Real:
        """Amplitude β of the noise."""
        return namespace(self.beta2).sqrt(self.beta2)

    @property
    def velocity(self) -> tuple[Real, Real]:
        """Rates (α̇, β̇) in the process's own time, of the target α̇x + β̇ξ."""
        raise NotImplementedError


def _between(name: str, value: Real, low: float, high: float) -> Real:
    """A real number strictly between two others."""
    value = real_scalar(name, value, above=low)
    if concrete(value) and not value < high:
        raise ValueError(f"{name} must be below {high:g}, got {float(value)!r}")
    return value


class OrnsteinUhlenbeck(Process):
    r"""The paper's process: α = e^{-t}, β² = Δ_t = 1 - e^{-2t}.

    Parameters
    ----------
    t : float
        Diffusion time, t > 0, dimensionless.

    Examples
    --------
    >>> import rfspec as rf
    >>> round(float(rf.OrnsteinUhlenbeck(0.01).beta2), 6)
    0.019801
    """

    t: Real

    def __init__(self, t: Given):
        self.t = real_scalar("t", t, above=0.0)

    @property
    def alpha(self) -> Real:
        """e^{-t}."""
        return namespace(self.t).exp(-self.t)

    @property
    def beta2(self) -> Real:
        """1 - e^{-2t}, without cancellation at small t."""
        return -namespace(self.t).expm1(-2.0 * self.t)

    @property
    def velocity(self) -> tuple[Real, Real]:
        """(-e^{-t}, e^{-2t}/β)."""
        return -self.alpha, self.alpha**2 / self.beta


class FlowMatching(Process):
    r"""The linear interpolant of flow matching: α = 1 - s, β = s.

    Parameters
    ----------
    s : float
        Interpolation time, 0 < s < 1; data at 0, noise at 1.
    """

    s: Real

    def __init__(self, s: Given):
        self.s = _between("s", s, 0.0, 1.0)

    @property
    def alpha(self) -> Real:
        """1 - s."""
        return 1.0 - self.s

    @property
    def beta2(self) -> Real:
        """s²."""
        return self.s**2

    @property
    def velocity(self) -> tuple[Real, Real]:
        """(-1, 1): the velocity is ξ - x."""
        one = namespace(self.s).ones_like(self.s)
        return -one, one


def _check_schedule(name: str, values: np.ndarray) -> None:
    inside = (values > 0) & (values < 1)
    if not np.all(inside):
        raise ValueError(
            f"{name} must lie between 0 and 1, both excluded, got {values[~inside][0]!r}"
        )
    if name == "alpha_bars" and not np.all(np.diff(values) < 0):
        raise ValueError("alpha_bars must fall from step to step, got a schedule that does not")


class DDPM(Process):
    r"""A step of a denoising diffusion model: α = √ᾱ_k, β = √(1 - ᾱ_k),
    the Ornstein-Uhlenbeck time t = -½ log ᾱ_k.

    Parameters
    ----------
    step : int
        k, from 1 to the length of the schedule.
    betas : array, shape (K,), optional
        Variances β_k of the steps, between 0 and 1; ᾱ_k = Π_{j≤k} (1 - β_j).
    alpha_bars : array, shape (K,), optional
        ᾱ_k themselves, between 0 and 1 and falling. By default the betas of Ho, Jain and Abbeel
        (2020), from 1e-4 to 0.02 in 1000 equal steps.

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


class Cosine(Process):
    r"""The cosine schedule as a curve: α = cos(πs/2), β = sin(πs/2).

    Parameters
    ----------
    s : float
        0 < s < 1; data at 0, noise at 1.
    """

    s: Real

    def __init__(self, s: Given):
        self.s = _between("s", s, 0.0, 1.0)

    @property
    def alpha(self) -> Real:
        """cos(πs/2)."""
        return namespace(self.s).cos(0.5 * np.pi * self.s)

    @property
    def beta2(self) -> Real:
        """sin²(πs/2)."""
        return namespace(self.s).sin(0.5 * np.pi * self.s) ** 2

    @property
    def velocity(self) -> tuple[Real, Real]:
        """(-πβ/2, πα/2)."""
        return -0.5 * np.pi * self.beta, 0.5 * np.pi * self.alpha


class VarianceExploding(Process):
    r"""Noise added and nothing else: α = 1, β = sigma; its own time is sigma.

    Parameters
    ----------
    sigma : float
        Standard deviation of the noise, > 0.
    """

    sigma: Real

    def __init__(self, sigma: Given):
        self.sigma = real_scalar("sigma", sigma, above=0.0)

    @property
    def alpha(self) -> Real:
        """1."""
        return namespace(self.sigma).ones_like(self.sigma)

    @property
    def beta2(self) -> Real:
        """sigma²."""
        return self.sigma**2

    @property
    def velocity(self) -> tuple[Real, Real]:
        """(0, 1)."""
        xp = namespace(self.sigma)
        return xp.zeros_like(self.sigma), xp.ones_like(self.sigma)


class Interpolant(Process):
    r"""A stochastic interpolant at one time, by its numbers: any α and β,
    and their rates where a velocity is learnt.

    Parameters
    ----------
    alpha, beta : float
        Amplitudes of signal (≥ 0) and noise (> 0); noise is what the features are trained against.
    alpha_rate, beta_rate : float, optional
        α̇ and β̇, for the target "velocity".

    Raises
    ------
    ValueError
        If β is not positive (α² + β² = 0 in particular), or α is negative.
    """

    signal: Real
    noise: Real
    rates: tuple[Real, Real] | None

    def __init__(
        self, alpha: Given, beta: Given, alpha_rate: Given = None, beta_rate: Given = None
    ):
        if (
            concrete(alpha, beta)
            and np.size(alpha) == np.size(beta) == 1
            and alpha == 0
            and beta == 0
        ):
            raise ValueError("alpha² + beta² must be greater than 0, got alpha = beta = 0")
        self.signal = not_negative("alpha", alpha)
        self.noise = real_scalar("beta", beta, above=0.0)
        if (alpha_rate is None) != (beta_rate is None):
            raise ValueError("give both of alpha_rate and beta_rate, or none")
        rates = {"alpha_rate": alpha_rate, "beta_rate": beta_rate}
        known = alpha_rate is not None
        self.rates = (
            tuple(real_scalar(name, x, above=-np.inf) for name, x in rates.items())
            if known
            else None
        )

    @property
    def alpha(self) -> Real:
        """As given."""
        return self.signal

    @property
    def beta2(self) -> Real:
        """Square of the given β."""
        return self.noise**2

    @property
    def velocity(self) -> tuple[Real, Real]:
        """As given."""
        if self.rates is None:
            raise ValueError(
                'target "velocity" needs alpha_rate and beta_rate of the Interpolant, got none'
            )
        return self.rates
