r"""The forward process at one fixed time, x_t = αx + βξ with ξ ~ N(0, I).

Other chapters see only α and β and, for the target "velocity", their rates of change. A new process
is a class with these properties.
"""

from __future__ import annotations

import equinox as eqx
import jax
import numpy as np

from ..numerics.checks import concrete, namespace, real_scalar
from ..numerics.frozen import Frozen
from ..numerics.types import Given, Real

# e^{-2t} is 2e-16 at this time
LATEST = 18.0


class Process(Frozen):
    """Amplitudes of signal and noise at one time; the base class of every process."""

    def at(self, t: Given) -> Process:
        """The same kind of process at another of its times.

        Raises
        ------
        ValueError
            If the time is out of range, or the process has none.
        """
        return type(self)(t)

    def __repr__(self) -> str:
        if not concrete(*jax.tree.leaves(self)):
            return eqx.tree_pformat(self)
        numbers = {name: v for name, v in vars(self).items() if v is not None and np.ndim(v) == 0}
        shown = ", ".join(f"{name}={np.asarray(v):.10g}" for name, v in numbers.items())
        return f"{type(self).__name__}({shown})"

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
        """Rates (α̇, β̇) in the process's own time; the target "velocity" is α̇x + β̇ξ."""
        raise NotImplementedError


def _between(name: str, value: Real, low: float, high: float) -> Real:
    value = real_scalar(name, value, above=low)
    if concrete(value) and not value < high:
        raise ValueError(f"{name} must be below {high:g}, got {float(value)!r}")
    return value


class OrnsteinUhlenbeck(Process):
    r"""The paper's process: α = e^{-t}, β² = Δ_t = 1 - e^{-2t}.

    Parameters
    ----------
    t : float
        Diffusion time, 0 < t ≤ 18, dimensionless. Beyond, α² is less than a rounding of 1.

    Raises
    ------
    ValueError
        If t is no number in this range.

    Examples
    --------
    >>> import rfspec as rf
    >>> round(float(rf.OrnsteinUhlenbeck(0.01).beta2), 6)
    0.019801
    """

    t: Real

    def __init__(self, t: Given):
        self.t = real_scalar("t", t, above=0.0)
        if concrete(self.t) and self.t > LATEST:
            raise ValueError(
                f"t must be at most {LATEST:g}, since the data are gone later, got {self.t:g}; for "
                "steps use rf.DDPM(step)"
            )

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

    Raises
    ------
    ValueError
        If s is no number between 0 and 1.

    Examples
    --------
    >>> import rfspec as rf
    >>> print(f"{rf.FlowMatching(0.25).alpha:.2f} {rf.FlowMatching(0.25).beta:.2f}")
    0.75 0.25
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


class Cosine(Process):
    r"""The cosine schedule as a curve: α = cos(πs/2), β = sin(πs/2).

    Parameters
    ----------
    s : float
        Time on the schedule, 0 < s < 1; data at 0, noise at 1.

    Raises
    ------
    ValueError
        If s is no number between 0 and 1.

    Examples
    --------
    >>> import rfspec as rf
    >>> print(f"{rf.Cosine(0.5).alpha:.6f} {rf.Cosine(0.5).beta2:.6f}")
    0.707107 0.500000
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
    r"""Noise is added and the signal stays: α = 1, β = sigma, which is the process's own time.

    Parameters
    ----------
    sigma : float
        Standard deviation of the noise, > 0.

    Raises
    ------
    ValueError
        If sigma is no positive number.

    Examples
    --------
    >>> import rfspec as rf
    >>> print(f"{rf.VarianceExploding(2.0).beta2:.1f}")
    4.0
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
