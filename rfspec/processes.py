r"""The forward process at one fixed time: x_t = α x + β ξ with ξ ~ N(0, I).

Everything downstream sees only the pair (α, β); a new process is a class with these two properties.
"""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax.numpy as jnp

from ._checks import concrete, real_scalar


class Process(eqx.Module):
    """Signal and noise amplitudes at one time; the base class of every process."""

    @property
    def alpha(self) -> Any:
        """Factor α of the signal."""
        raise NotImplementedError

    @property
    def beta2(self) -> Any:
        """Variance β² of the noise (the paper's Δ_t)."""
        raise NotImplementedError

    @property
    def beta(self) -> Any:
        """Amplitude β of the noise."""
        return jnp.sqrt(self.beta2)


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

    t: Any

    def __init__(self, t: Any):
        self.t = real_scalar("t", t, above=0.0)

    @property
    def alpha(self) -> Any:
        """e^{-t}."""
        return jnp.exp(-self.t)

    @property
    def beta2(self) -> Any:
        """1 - e^{-2t}, without cancellation at small t."""
        return -jnp.expm1(-2.0 * self.t)


class FlowMatching(Process):
    r"""The linear interpolant: α = 1 - s, β = s.

    Parameters
    ----------
    s : float
        Interpolation time, 0 < s < 1; data at 0, noise at 1.
    """

    s: Any

    def __init__(self, s: Any):
        self.s = real_scalar("s", s, above=0.0)
        if concrete(self.s) and not self.s < 1.0:
            raise ValueError(f"s must be below 1, got {float(self.s)!r}")

    @property
    def alpha(self) -> Any:
        """1 - s."""
        return 1.0 - self.s

    @property
    def beta2(self) -> Any:
        """s²."""
        return self.s**2
