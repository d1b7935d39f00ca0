"""Constants of the Gaussian equivalent (5) over the diffusion time, for several activations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..models.activations import Activation, as_activation
from ..models.covariance import Covariance, Isotropic
from ..models.gaussian_equivalent import gaussian_equivalent
from ..models.model import RandomFeatureModel
from ..numerics.checks import real_array

if TYPE_CHECKING:
    import xarray

# long name and unit of each constant
CONSTANTS = {
    "mu0": ("mean of the activation, E[σ(Γz)]", "1"),
    "mu1": ("linear coefficient, E[σ'(Γz)]", "1/data"),
    "kappa2": ("signal seen linearly, κ² = α²μ1²", "1/data²"),
    "b2": ("noise seen linearly, b² = β²μ1²", "1"),
    "v2": ("nonlinear part fixed by the data point, v²", "1"),
    "s2": ("nonlinear part that the noise redraws, s²", "1"),
    "gamma2": ("variance of a pre-activation, Γ² = α²σ_x² + β²", "data²"),
    "error": ("estimated relative error of the constants", "1"),
}


def constants_table(
    ts: Any,
    activations: Sequence[str | Callable[[Any], Any] | Activation] = (
        "tanh",
        "erf",
        "sin",
        "relu",
        "gelu",
    ),
    covariance: Covariance | None = None,
) -> xarray.Dataset:
    r"""Constants of the Gaussian equivalent over the diffusion time, for several activations.

    Parameters
    ----------
    ts : array, shape (T,)
        Diffusion times t > 0 of the Ornstein-Uhlenbeck process.
    activations : sequence
        Names, callables or ``rf.Activation``; no two of one name.
    covariance : Covariance, optional
        Σ, of which only the trace enters; ``Isotropic(1.0)`` by default.

    Returns
    -------
    xarray.Dataset
        ``mu0 mu1 kappa2 b2 v2 s2 gamma2 error`` over the dimensions (activation, t), the error
        relative, each with `long_name` and `units` (activations are dimensionless, "data" is the
        unit of x).

    Raises
    ------
    ValueError
        If a time or an activation is refused by ``rf.RandomFeatureModel``, or two activations share
        a name.

    Notes
    -----
    Equation (5) of docs/theory.md; arXiv 2505.17638 has the same constants as differences of
    averages.

    Examples
    --------
    >>> import rfspec as rf
    >>> table = rf.constants_table([0.01, 0.1], ["tanh", "relu"])
    >>> print(f"{float(table.s2.sel(activation='tanh', t=0.01)):.7f}")
    0.0018735
    """
    import xarray

    times = real_array("ts", ts, "a one-dimensional array of times greater than 0")
    if times.ndim != 1 or not times.size:
        raise ValueError(
            f"ts must be a one-dimensional array of times greater than 0, got shape {times.shape}"
        )
    sigmas = [as_activation(activation) for activation in activations]
    names = [sigma.name for sigma in sigmas]
    if len(set(names)) < len(names) or not names:
        raise ValueError(
            "activations must have different names (rf.Activation(f, name=...) gives one), got "
            f"{names}"
        )
    white = None if covariance is None else Isotropic(covariance.trace)
    table = np.empty((len(CONSTANTS), len(names), times.size))
    for i, sigma in enumerate(sigmas):
        for j, t in enumerate(times):
            model = RandomFeatureModel(1.0, 1.0, t, activation=sigma, covariance=white)
            constants = {"gamma2": model.gamma2, **vars(gaussian_equivalent(model))}
            table[:, i, j] = [float(constants[name]) for name in CONSTANTS]
    return xarray.Dataset(
        {
            name: (("activation", "t"), values, {"long_name": long_name, "units": units})
            for values, (name, (long_name, units)) in zip(table, CONSTANTS.items(), strict=True)
        },
        coords={
            "activation": ("activation", names, {"long_name": "nonlinearity σ of the features"}),
            "t": ("t", times, {"long_name": "diffusion time", "units": "1"}),
        },
    )
