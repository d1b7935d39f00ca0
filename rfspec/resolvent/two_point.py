r"""Two resolvents of U with a matrix between them.

Quadratic functions of the trained weights are made of K_M(z1, z2) = Tr FFᵀ(U - z1)⁻¹M(U - z2)⁻¹/p,
M = I, FFᵀ or FΣFᵀ. For the noise the test loss is a double contour integral of K_Ũ
(``rfspec.training.losses``). Equations (12) to (14) of docs/theory.md; beyond arXiv 2505.17638.
"""

from __future__ import annotations

from dataclasses import fields
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..files.tables import Table
from ..models.gaussian_equivalent import gaussian_equivalent
from ..models.model import RandomFeatureModel
from ..numerics.checks import concrete, namespace
from ..numerics.holomorphic import condition, implicit
from ..numerics.programs import program
from ..numerics.rounding import EPS
from ..numerics.session import at_points
from ..numerics.types import Given, Number, Numbers, Real, Whole
from .columns import IDENTITY, Source
from .equations import equations
from .interface import Equations
from .solver import STATUS, ConvergenceError, complex_array, unknowns_at

SOURCES = IDENTITY, Source(0.0, {0: 1.0}), Source(0.0, {1: 1.0})  # I, FFᵀ, FΣFᵀ


class TwoPoint(Table, eqx.Module):
    """Two-point functions at pairs (z1, z2); all fields are arrays of their broadcast shape.

    Attributes
    ----------
    I, FFT, FSFT : complex
        K_M for M = I, FFᵀ and FΣFᵀ.
    error : float
        Estimated relative error, the largest of the three: rounding and the errors of the
        constants, times their conditions.
    status : int
        0 where both arguments converged; else a key of ``rfspec.resolvent.solver.STATUS``.
    """

    dimension = "pair"

    I: Number  # noqa: E741
    FFT: Number
    FSFT: Number
    error: Real
    status: Whole

    def columns(self) -> dict[str, Numbers]:
        """All fields, by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def two_point(model: RandomFeatureModel, z1: Given, z2: Given) -> TwoPoint:
    r"""The two-point functions K_M(z1, z2) = lim Tr FFᵀ(U - z1)⁻¹M(U - z2)⁻¹/p, d → ∞.

    Parameters
    ----------
    model : RandomFeatureModel
    z1, z2 : complex arrays that broadcast
        Spectral arguments, in the unit of the eigenvalues of U. A real z means the limit z + i0; z1
        and z2 may lie on different sides of the real axis.

    Returns
    -------
    TwoPoint
        ``.I .FFT .FSFT .error .status``, arrays of the broadcast shape; `error` is the estimated
        relative error. K_M(z1, z2) = K_M(z2, z1), and K_I(z1, z2) = (s(z1) - s(z2))/(z1 - z2).

    Raises
    ------
    ValueError
        If z1 or z2 are not numeric or do not broadcast.
    ConvergenceError
        If both are scalars and the status is not 0.

    Notes
    -----
    Equations (12) to (14) of docs/theory.md: the fixed point for 2×2-matrix-valued unknowns with an
    upper-triangular source, linearised. Beyond arXiv 2505.17638.

    Examples
    --------
    >>> import rfspec as rf
    >>> K = rf.two_point(rf.RandomFeatureModel(8.0, 2.0, t=0.05), -1.0, -1.0)
    >>> print(f"{K.I.real:.8f}")
    0.13457169
    """
    z1, z2 = complex_array(z1, "z1"), complex_array(z2, "z2")
    try:
        z1, z2 = namespace(z1, z2).broadcast_arrays(z1, z2)
    except ValueError as e:
        raise ValueError(
            f"z1 and z2 must broadcast, got shapes {np.shape(z1)} and {np.shape(z2)}"
        ) from e
    K = at_points(partial(_two_point, equations(model, gaussian_equivalent(model))), z1, z2)
    if np.ndim(z1) == 0 and concrete(K.status) and int(K.status) != 0:
        raise ConvergenceError(
            f"at z1 = {complex(z1):.12g}, z2 = {complex(z2):.12g}: {STATUS[int(K.status)]}"
        )
    return K


@program
def _two_point(eq: Equations, z1: Numbers, z2: Numbers) -> TwoPoint:
    return jax.vmap(partial(_one, eq))(z1, z2)


def _one(eq: Equations, z1: Number, z2: Number) -> TwoPoint:
    z = jnp.stack([z1, z2])
    u, _, _, status = jax.vmap(partial(unknowns_at, eq))(z)
    image = lambda eq, u: jnp.stack(
        eq.two_point(*(eq.point(tuple(v[i] for v in u)) for i in (0, 1)), SOURCES)
    )
    K = image(eq, u)

    frozen, u, z = jax.lax.stop_gradient((eq, u, z))
    near = lambda e, z: image(e, jax.vmap(lambda z, *u: implicit(e, u, z - e.origin, 1))(z, *u))
    moved = (4 * EPS + frozen.accuracy) * condition(frozen, lambda e: near(e, z))
    for direction in (z * np.array([1.0, 0.0]), z * np.array([0.0, 1.0])):
        moved = moved + 4 * EPS * jnp.abs(jax.jvp(partial(near, frozen), (z,), (direction,))[1])
    error = jax.lax.stop_gradient(jnp.max(moved / jnp.abs(K))) + 8 * EPS
    return TwoPoint(K[0], K[1], K[2], jnp.where(jnp.isnan(error), jnp.inf, error), jnp.max(status))
