r"""The fixed point at given z on the physical branch, with an error and a status for each point.

Every solution is followed from the left of the spectrum, where the physical branch is known, so
that no root has to be chosen at the end. Derivatives are those of the implicit function.
"""

from __future__ import annotations

from dataclasses import fields
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..files.tables import Table
from ..models.gaussian_equivalent import gaussian_equivalent
from ..models.model import RandomFeatureModel
from ..numerics.checks import concrete, refuse_mask, traced_array
from ..numerics.continuation import on_the_left
from ..numerics.holomorphic import (
    Unknowns,
    implicit,
    jacobian,
    newton_step,
    sensitivity,
    solve_small,
    square,
)
from ..numerics.programs import program
from ..numerics.rounding import EPS
from ..numerics.session import at_points
from ..numerics.types import Given, Number, Numbers, Real, Truth, Whole
from .branch import all_positive, is_the_solution, reach, reach_inside
from .equations import equations
from .interface import Equations

REAL = 1e-10  # relative imaginary part that rounding may leave of a real number
# points at once on a CPU and on an accelerator, and points that one of them leads to; powers of two
CHUNK, MANY, EACH = 256, 2**20, 8
# Newton steps from a solution nearby, and the largest change, relative, that one more makes
NEAR_STEPS, CLOSE = 3, 1e-9
# distance from the origin that counts as 0, in units of the spectrum's bound; its square and its
# inverse square are still representable
NOTHING = 1e-60

STATUS = {
    0: "converged on the physical branch",
    1: "z is not finite: give a finite complex number",
    2: "z is the place of the atom, where q is infinite: move z off the atom",
    3: "did not converge: move z away from an edge of the spectrum or from extreme parameters",
    4: "converged on an unphysical branch (Im q or Im δ negative): give Im z a little more",
    5: "fewer than six digits are left: z is too close to an edge or the atom for double precision",
}


class ConvergenceError(RuntimeError):
    """Numbers that only the computation could show to be unattainable; says what to try."""


class Solution(Table, eqx.Module):
    r"""The fixed point at each z; all fields are arrays of z's shape.

    Attributes
    ----------
    q, r, s : complex
        Tr(U - z)⁻¹/p, Tr FΣFᵀ(U - z)⁻¹/p, Tr FFᵀ(U - z)⁻¹/p.
    delta : complex
        The second unknown δ of the equations.
    residual : float
        Largest |F| of the equations, relative to their terms of order one.
    error : float
        Estimated relative error of q: the last Newton correction, and what rounding of z and of the
        equations and the error of the Gaussian-equivalent constants do to it.
    status : int
        0 where converged; else a key of ``rfspec.resolvent.solver.STATUS``.
    """

    dimension = "z"

    q: Number
    delta: Number
    r: Number
    s: Number
    residual: Real
    error: Real
    status: Whole

    def columns(self) -> dict[str, Numbers]:
        """All fields, by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def notes(self) -> list[str]:
        """What the statuses say."""
        return [self.message]

    @property
    def message(self) -> str:
        """What the statuses say, worst last."""
        codes = np.unique(np.asarray(self.status))
        return "; ".join(
            f"{np.sum(np.asarray(self.status) == c)} × {STATUS[int(c)]}" for c in codes
        )


def solve(model: RandomFeatureModel, z: Given) -> Solution:
    r"""Solve the fixed-point equations of a model at z.

    .. math::

        &\frac1q = s^2 - z + v^2 D + \int dρ_Σ(λ) \frac{T}{1 + ψ_p T q}, \quad
        δ = \frac{ψ_p}{ψ_n} (v^2 q + κ^2 r), \\
        &D = \frac{1}{1 + δ}, \quad T = b^2 + κ^2 λ D, \quad
        r = \int dρ_Σ(λ) \frac{λq}{1 + ψ_p T q}

    These are equations (6) to (8) of docs/theory.md; (19) and (20) stand for them where the model
    has finitely many noise draws, (33) and (34) where the data have classes, and (31) at finite d,
    where δ is that of the shorter samples. For Im z > 0 exactly one solution has Im q > 0 and
    Im δ > 0; for (31) this is not proved, and the solution is followed from the left.

    Parameters
    ----------
    model : RandomFeatureModel
    z : complex array, any shape
        Spectral argument, in the unit of the eigenvalues of U. A real z means the limit z + i0
        (inside the support Im q/π is the density); Im z < 0 gives the complex conjugate of z̄'s
        solution.

    Returns
    -------
    Solution
        ``.q .delta .r .s .residual .error .status``, arrays of z's shape; `error` is the estimated
        relative error of q.

    Raises
    ------
    ValueError
        If z is not numeric.
    ConvergenceError
        If z is a scalar and its status is not 0. An array keeps the status of each point.

    Notes
    -----
    arXiv 2505.17638, Theorem 3.1, reduced to two unknowns.

    Examples
    --------
    >>> import rfspec as rf
    >>> model = rf.RandomFeatureModel(psi_p=64.0, psi_n=8.0, t=0.01)
    >>> print(f"{rf.solve(model, 2 + 1j).q:.9f}")
    -0.395829479+0.201247976j
    """
    z = complex_array(z)
    solution = solve_at(equations(model, gaussian_equivalent(model)), z)
    if np.ndim(z) == 0 and concrete(solution.status) and int(solution.status) != 0:
        raise ConvergenceError(f"at z = {complex(z):.12g}: {STATUS[int(solution.status)]}")
    return solution


def complex_array(z: Any, name: str = "z") -> Numbers:
    if not concrete(z):
        return traced_array(name, z, "a complex number or an array of them", complex)
    refuse_mask(name, z)
    try:
        array = np.asarray(z)
    except (TypeError, ValueError) as e:
        raise ValueError(
            f"{name} must be a complex number or an array of them, got {z!r:.100}"
        ) from e
    if not np.issubdtype(array.dtype, np.number):
        raise ValueError(f"{name} must be a complex number or an array of them, got {z!r:.100}")
    return array.astype(complex)


def solve_at(eq: Equations, z: Numbers) -> Solution:
    return at_points(partial(_solve, eq), z)


@program
def _solve(eq: Equations, z: Numbers) -> Solution:
    if z.size < CHUNK:
        return jax.vmap(partial(_solve_one, eq))(z)
    # a hard point holds up its neighbours only; an accelerator wants many at once
    rows = CHUNK if jax.default_backend() == "cpu" else min(MANY, z.size)
    solution = jax.lax.map(partial(_solve_neighbours, eq), z.reshape(-1, rows))
    return jax.tree.map(jnp.ravel, solution)


def _solve_neighbours(eq: Equations, z: Numbers) -> Solution:
    # one in EACH points leads to the others, most of which are near
    frozen, known = jax.lax.stop_gradient((eq, z[EACH // 2 :: EACH]))
    u = jax.vmap(lambda z: reach(frozen, _upper(frozen, z)).u)(known)
    return jax.vmap(partial(_solve_one, eq))(z, tuple(jnp.repeat(v, EACH) for v in u))


def _implicit_at(eq: Equations, zeta: Number) -> Unknowns:
    return implicit(eq, reach(*jax.lax.stop_gradient((eq, zeta))).u, zeta)


def solve_inside(eq: Equations, zeta: Number) -> Unknowns:
    """Differentiable solution at ζ with Im ζ > 0, or the limit at a real ζ in the support."""
    return implicit(eq, reach_inside(*jax.lax.stop_gradient((eq, zeta))), zeta)


def solve_near(
    eq: Equations, start: Unknowns, zeta: Number, *, inside: Truth | None = None
) -> Unknowns:
    """Differentiable solution at ζ, Im ζ ≥ 0, where Newton's method from `start` probably finds it.

    Where it does not, or is not certified, the solution is followed along an arc. `inside` says
    whether ζ is in the support, where this is known; elsewhere any root will do then.
    """
    frozen, start, point = jax.lax.stop_gradient((eq, start, zeta))
    step = lambda _, u: newton_step(lambda *w: frozen.residual(w, point), u)
    u = jax.lax.fori_loop(0, NEAR_STEPS, step, start)
    if inside is not None:
        moved = step(0, u)
        change = [square(a - b) <= CLOSE**2 * square(a) for a, b in zip(moved, u, strict=True)]
        u, good = moved, jnp.all(jnp.stack(change)) & (all_positive(moved, point) | ~inside)
        again = reach_inside(frozen, point, wanted=~good)
    else:
        good = is_the_solution(frozen, u, point)
        again = reach(frozen, point, wanted=~good).u
    return implicit(eq, tuple(jnp.where(good, a, b) for a, b in zip(u, again, strict=True)), zeta)


def towards(eq: Equations, u: Unknowns, z: Number) -> Unknowns:
    """The solution at z with Im z > 0 from a solution u nearby; not differentiated."""
    step = lambda _, u: newton_step(lambda *w: eq.residual(w, z - eq.origin), u)
    return jax.lax.fori_loop(0, NEAR_STEPS, step, u)


def left_of_origin(eq: Equations, z: Real) -> Real:
    """ζ of a real z left of the spectrum; at the origin a negative number that is 0 to rounding.

    At the origin q may diverge as ζ⁻¹ (an atom) or ζ^{-1/2} (a hard edge). Traces that stay finite,
    such as what training explains of a target, are then functions of the scaled unknowns ζq, and
    ζ = -NOTHING·upper_bound gives them to rounding.
    """
    zeta = z - eq.origin
    return jnp.where(zeta < 0, zeta, -NOTHING * jax.lax.stop_gradient(eq.upper_bound))


def solve_left(eq: Equations, z: Real) -> Unknowns:
    """Differentiable real solution at a real z left of the spectrum; its limit at the origin."""
    zeta = left_of_origin(eq, z)
    frozen, point = jax.lax.stop_gradient((eq, zeta))
    return implicit(eq, on_the_left(frozen, point), zeta)


def _solve_one(eq: Equations, z: Number, start: Unknowns | None = None) -> Solution:
    u, residual, error, status = unknowns_at(eq, z, start)
    r, s = eq.transforms(u)
    return Solution(eq.trace(u, z - eq.origin), eq.delta(u), r, s, residual, error, status)


def _upper(eq: Equations, z: Number) -> Number:
    # ζ in the closed upper half plane, finite and not 0
    zeta = jnp.where(jnp.isfinite(z), z - eq.origin, 1.0 + 1.0j)
    zeta = jnp.where(z.imag < 0, zeta.conj(), zeta)
    return jnp.where(zeta == 0, 1e-300, zeta)


def unknowns_at(
    eq: Equations, z: Number, start: Unknowns | None = None
) -> tuple[Unknowns, Real, Real, Whole]:
    """Differentiable unknowns at any z, with residual, estimated error and status.

    They are NaN where z is not finite. `start` is a solution nearby, if one is known.
    """
    finite, below, zeta = jnp.isfinite(z), z.imag < 0, _upper(eq, z)
    u = _implicit_at(eq, zeta) if start is None else solve_near(eq, start, zeta)

    frozen, point = jax.lax.stop_gradient((eq, zeta))
    error, residual, status = _assess(frozen, jax.lax.stop_gradient(u), point)
    status = jnp.where((jax.lax.stop_gradient(z) == eq.origin) & (eq.atom_mass > 0), 2, status)
    status = jnp.where(finite, status, 1)
    # off the support the limit is real; rounding's imaginary part is not passed on
    spurious = (point.imag == 0) & jnp.all(jnp.stack([v.imag / jnp.abs(v) < REAL for v in u]))
    u = tuple(jnp.where(spurious, v.real + 0j, v) for v in u)
    mirrored = tuple(jnp.where(finite, jnp.where(below, v.conj(), v), jnp.nan) for v in u)
    return mirrored, residual, error, status


def _assess(eq: Equations, u: Unknowns, zeta: Number) -> tuple[Real, Real, Whole]:
    value, columns = jacobian(lambda *v: eq.residual(v, zeta), u)
    _, by_z = jax.jvp(lambda w: eq.residual(u, w), (zeta,), (jnp.ones_like(zeta),))
    step, slope = solve_small(columns, value), solve_small(columns, by_z)
    relative = jnp.stack([jnp.abs(a) / jnp.abs(v) for a, v in zip(step, u, strict=True)])
    units = jnp.eye(len(u), dtype=complex)
    covector = jnp.stack([solve_small(columns, tuple(e))[0] for e in units])
    shift = sensitivity(eq, lambda e: e.residual(u, zeta), covector) / jnp.abs(u[0])
    # the effect of rounding of z and of the origin
    moved = jnp.abs((jnp.abs(zeta) + eq.origin) * slope[0] / u[0])
    error = relative[0] + 4 * EPS + (4 * EPS + eq.accuracy) * (shift + moved)
    error = jnp.where(jnp.isnan(error), jnp.inf, error)
    residual = jnp.max(jnp.abs(jnp.stack(value)) / (1.0 + jnp.abs(jnp.stack([1.0 + 0j, *u[1:]]))))
    imag = jnp.stack([v.imag / jnp.abs(v) for v in u])
    good_branch = jnp.all(imag > jnp.where(zeta.imag > 0, 0.0, -1e-8))
    converged = jnp.all(jnp.isfinite(relative)) & (jnp.max(relative) < 1e-6)
    status = jnp.where(error < 1e-6, 0, 5)
    status = jnp.where(good_branch, status, 4)
    return error, residual, jnp.where(converged, status, 3)
