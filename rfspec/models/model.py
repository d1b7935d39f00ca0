r"""The random-feature score model, from which everything else is computed.

The score s_A(x) = A σ(Wx/√d)/√p has frozen W (p×d, iid N(0, 1)) and trained A. It learns the noise
that the process x_t = αx + βξ adds to n samples of a law with covariance Σ (arXiv 2505.17638,
section 3).
"""

from __future__ import annotations

from dataclasses import fields

import equinox as eqx
import numpy as np

from ..numerics.checks import concrete, integer, not_negative, real_scalar
from ..numerics.frozen import Frozen
from ..numerics.types import Given, Real, Reals, Vector
from .activations import Activation, as_activation
from .covariance import Covariance, Isotropic
from .processes import OrnsteinUhlenbeck, Process
from .schedules import DDPM
from .targets import TARGETS, combination
from .validity import (
    check_second_moment,
    check_together,
    warn_of_few_dimensions,
    warn_of_saturation,
)

USUAL_VALUES = {"target": "noise", "noise_draws": np.inf, "weight_decay": 0.0, "d": None}
HIGHEST_DEGREE, USUAL_DEGREE = 6, 4


def time_unit(psi_p: Reals, pace: Reals) -> Reals:
    # the τ at which c = 2ω²τ/ψ_p of (3) is 1; for ψ_p = ∞ U is taken in units of ψ_p
    if concrete(psi_p) and np.isscalar(psi_p) and np.isinf(psi_p):
        return 1.0 / (2.0 * pace)
    return psi_p / (2.0 * pace)


def _width(psi_p: Given) -> Real:
    if isinstance(psi_p, float | np.floating) and psi_p == np.inf:
        return np.float64(psi_p)
    return real_scalar("psi_p", psi_p, above=0.0)


def _draws(value: float) -> float:
    a_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not (a_number and value >= 1 and (value == np.inf or value == int(value))):
        raise ValueError(f"noise_draws must be a whole number of at least 1, or inf, got {value!r}")
    return float(value)


class RandomFeatureModel(Frozen):
    r"""A random-feature score model in the limit d, n, p → ∞, or at finite d.

    .. math::

        s_A(x) = \frac{1}{\sqrt p} A σ(Wx/\sqrt d), \qquad x_t = αx + βξ

    W (p×d) has iid N(0, 1) entries and stays as it is; A (d×p) is trained on n samples x.

    Parameters
    ----------
    psi_p : float
        ψ_p = p/d > 0, features per dimension; ``float("inf")``: the limit of a kernel, which has
        losses, stopping times and timescales by the loss, but no spectrum.
    psi_n : float
        ψ_n = n/d > 0, samples per dimension.
    t : float, optional
        Diffusion time t > 0 of the Ornstein-Uhlenbeck process. Give `t` or `process`, not both.
    process : Process, optional
        Any forward process at one time, e.g. ``rf.FlowMatching(0.3)``.
    activation : str, callable or Activation
        σ: "tanh" (default), "erf", "sin", "relu", "gelu", ``Polynomial(coefficients)``, or an
        elementwise function written with jax.numpy.
    covariance : Covariance
        Σ: ``Isotropic(variance)`` (default, variance 1), ``Atoms(values, weights)``,
        ``FromData(X)``, or a law: ``PowerLaw``, ``Exponential``, ``MarchenkoPastur``, ``Density``,
        ``Subspace``, ``Mixture``.
    target : {"noise", "score", "data", "velocity"}
        What is learnt: the noise (default, the paper's loss, which weights the score by β²), the
        score itself, x, or α̇x + β̇ξ of the process.
    noise_draws : int or inf
        Draws m ≥ 1 of the noise for each data point; inf (default): their expectation.
    weight_decay : float
        γ ≥ 0: training minimises L_train + γ‖A‖²/(dp), which adds γ/ω² to U, with ω² = β² for the
        target "noise" and 1 else. (An optimizer that shrinks A by 1 - ηw a step has γ = w dp/2.)
    d : int, optional
        The dimension of the data. Then features of Hermite degree 2 to `degree` are learnt too, and
        rows of W and samples have unequal lengths. None (default): d → ∞, where all this vanishes.
    degree : int
        The highest degree that is followed, 1 to 6 (default 4). What is left of σ is taken as noise
        in the features. Degree 1 is the limit d → ∞. Claimed errors are those of solving the
        equations with these degrees, not of what they leave out (docs/finite_d.md measures it).

    Raises
    ------
    ValueError
        If an argument is outside its range; it names argument, rule and value. Inside a JAX
        transformation values are not known and pass unchecked.

    Warns
    -----
    SaturationWarning
        If σ is tanh, erf or sin and Γ² = α²σ_x² + β² is outside [1/16, 16].
    FewDimensionsWarning
        If `d` is given, p > nd/10, and Σ or α²Σ + β² has an effective rank below 15: late losses
        are then off by more than a few per cent.

    Notes
    -----
    A model is a frozen pytree, so `jax.vmap` over models works, and `jax.grad` in ψ_p, ψ_n, t and
    the covariance.

    Examples
    --------
    >>> import rfspec as rf
    >>> rf.RandomFeatureModel(psi_p=64.0, psi_n=8.0, t=0.01)
    RandomFeatureModel(psi_p=64, psi_n=8, OrnsteinUhlenbeck(t=0.01), tanh, Isotropic(1))
    """

    psi_p: Real
    psi_n: Real
    process: Process
    activation: Activation
    covariance: Covariance
    target: str = eqx.field(static=True)
    noise_draws: float = eqx.field(static=True)
    weight_decay: Real
    d: int | None = eqx.field(static=True)
    degree: int = eqx.field(static=True)

    def __init__(
        self,
        psi_p: Given,
        psi_n: Given,
        t: Given = None,
        *,
        process: Process | None = None,
        activation: Given = "tanh",
        covariance: Covariance | None = None,
        target: str = "noise",
        noise_draws: float = np.inf,
        weight_decay: Given = 0.0,
        d: Given = None,
        degree: Given = USUAL_DEGREE,
    ):
        self.psi_p = _width(psi_p)
        self.psi_n = real_scalar("psi_n", psi_n, above=0.0)
        if (t is None) == (process is None):
            raise ValueError(
                f"give exactly one of t and process, got t={t!r} and process={process!r}"
            )
        if process is not None and not isinstance(process, Process):
            raise ValueError(
                f"process must be a Process such as rf.OrnsteinUhlenbeck(0.01), got {process!r}"
            )
        if covariance is not None and not isinstance(covariance, Covariance):
            raise ValueError(
                f"covariance must be a Covariance such as rf.Isotropic(1.0), got {covariance!r}"
            )
        self.process = OrnsteinUhlenbeck(t) if process is None else process
        self.activation = as_activation(activation)
        self.covariance = Isotropic(1.0) if covariance is None else covariance
        if target not in TARGETS:
            raise ValueError(f"target must be one of {', '.join(TARGETS)}, got {target!r}")
        self.target, self.noise_draws = target, _draws(noise_draws)
        self.weight_decay = not_negative("weight_decay", weight_decay)
        self.d = None if d is None else integer("d", d)
        self.degree = integer("degree", degree, 1, HIGHEST_DEGREE)
        check_together(self)
        check_second_moment(self)
        # raises for a process without a velocity
        if target == "velocity":
            _ = self.process.velocity
        warn_of_saturation(self)
        warn_of_few_dimensions(self)

    def check_finite_width(self, what: str) -> None:
        """Raise NotImplementedError where ψ_p = ∞; `what` exists for others only."""
        if self.infinitely_wide:
            raise NotImplementedError(f"{what} exists for finite psi_p only, got psi_p=inf")

    def check_plain(self, what: str, *names: str) -> None:
        """Raise NotImplementedError unless these arguments have their default values.

        Parameters
        ----------
        what : str
            The result that exists for the defaults only.
        *names : str
            Of "target", "noise_draws" and "weight_decay".
        """
        for name in names:
            value, usual = getattr(self, name), USUAL_VALUES[name]
            if concrete(value) and value != usual:
                raise NotImplementedError(f"{what} exists for {name}={usual} only, got {value!r}")

    def replace(self, **changes: Given) -> RandomFeatureModel:
        """The same model with other values of some arguments.

        Parameters
        ----------
        **changes
            Arguments of the constructor. A new `t` is the time of the same kind of process.

        Raises
        ------
        ValueError
            As the constructor does, and if the process has no time for a new `t`.

        Examples
        --------
        >>> import rfspec as rf
        >>> rf.RandomFeatureModel(64.0, 8.0, process=rf.FlowMatching(0.3)).replace(psi_n=2.0, t=0.1)
        RandomFeatureModel(psi_p=64, psi_n=2, FlowMatching(s=0.1), tanh, Isotropic(1))
        """
        if changes.get("t") is not None and changes.get("process") is None:
            changes = {"process": self.process.at(changes["t"])} | changes
            del changes["t"]
        unknown = sorted(set(changes) - {f.name for f in fields(self)} - {"t"})
        if unknown:
            raise ValueError(
                f"replace takes the arguments of RandomFeatureModel, got {', '.join(unknown)}"
            )
        return RandomFeatureModel(**{f.name: getattr(self, f.name) for f in fields(self)} | changes)

    @property
    def limit(self) -> RandomFeatureModel:
        """The same model for d → ∞."""
        return self if self.d is None else self.replace(d=None)

    @property
    def infinitely_wide(self) -> bool:
        """Whether ψ_p = ∞."""
        return concrete(self.psi_p) and np.ndim(self.psi_p) == 0 and bool(np.isinf(self.psi_p))

    @property
    def pace(self) -> Real:
        """ω², which multiplies U in the loss: β² for the target "noise", else 1.

        A mode λ relaxes on τ = ψ_p/(ω²λ), equation (4).
        """
        return combination(self.target, self.process).pace

    @property
    def time_unit(self) -> Real:
        """ψ_p/(2ω²), the τ at which c = 2ω²τ/ψ_p is 1; a mode λ relaxes on 2/λ of these units."""
        return time_unit(self.psi_p, self.pace)

    @property
    def gamma2(self) -> Real:
        """Γ² = α²σ_x² + β², the variance of a pre-activation."""
        return self.process.alpha**2 * self.covariance.trace + self.process.beta2

    def gamma2_of(self, traces: Vector) -> Vector:
        """The same for other traces of Σ/d."""
        return self.process.alpha**2 * traces + self.process.beta2

    @property
    def t(self) -> Real:
        """Diffusion time t of an Ornstein-Uhlenbeck process or of a DDPM step."""
        if not isinstance(self.process, OrnsteinUhlenbeck | DDPM):
            raise AttributeError(f"{type(self.process).__name__} has no diffusion time t")
        return self.process.t

    def __repr__(self) -> str:
        if not concrete(self.psi_p, self.psi_n) or np.ndim(self.psi_p):
            return f"RandomFeatureModel(psi_p={self.psi_p}, psi_n={self.psi_n}, ...)"
        options = {k: getattr(self, k) for k in USUAL_VALUES if concrete(getattr(self, k))}
        unusual = "".join(
            f", {k}={v}" if isinstance(v, str) else f", {k}={v:.10g}"
            for k, v in options.items()
            if v != USUAL_VALUES[k]
        )
        return (
            f"RandomFeatureModel(psi_p={self.psi_p:.10g}, psi_n={self.psi_n:.10g}, "
            f"{self.process!r}, {self.activation.name}, "
            f"{type(self.covariance).__name__}({self.covariance.summary}){unusual})"
        )
