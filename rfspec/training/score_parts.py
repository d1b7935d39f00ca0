r"""The error of the learnt score by its origins: bias, features, data, noise.

The mean of s_A over W, data and noise is linear and diagonal in the eigenbasis of Σ; along λ the
predictor of the target has learnt m(λ) of x_t, and E[y|x_t] is b(λ)x_t. With A = α²λ + β²

    m = (b²ψ_p/β) 2 Re Σ_j w_j q_jP_j/(1 + ψ_pT_jq_j),    bias² = ∫ dρ_Σ A (m - b)²             (37)

and the variance is the mean square less ∫ dρ_Σ A m². What two trainings share that have only W in
common is the variance from features: of (12) and (16) it has no φ. With the samples in common as
well there are the φ of what the data fix of each column. Beyond arXiv 2505.17638; arXiv 2609.26392
has bias and variance at the end of training for Σ = I.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..files.tables import Table
from ..models.model import RandomFeatureModel
from ..numerics.holomorphic import Unknowns
from ..numerics.programs import program
from ..numerics.rounding import EPS
from ..numerics.types import Matrix, Number, Real, Reals, Vector
from ..resolvent.column_equations import ColumnEquations
from ..resolvent.solver import solve_inside, solve_left, towards
from .contour import Contour
from .kernel import form_of, quadratic
from .losses import solutions
from .rows import Checked, Measure

# a part of the error beyond this, in units of what is to be learnt, is infinite
INFINITE = 0.1 / EPS


class ScoreParts(Table, eqx.Module):
    r"""E_score = bias² + variance, and where the variance comes from, arrays of τ's shape.

    .. math:: \text{bias}^2 = \int dρ_Σ A (m - b)^2, \quad A = α^2 λ + β^2

    with m(λ) the mean slope that is learnt and b(λ) that of the exact score, in units of E_score.
    Equation (37) of docs/theory.md, beyond arXiv 2505.17638.

    Attributes
    ----------
    tau : float
        Training time.
    bias2 : float
        (1/d) E||∇log P_t - ⟨s_A⟩||², ⟨·⟩ the mean over W, data and noise.
    of_features : float
        Variance over W of the mean over data and noise.
    of_data : float
        Given W, variance over the samples of the mean over the noise.
    of_noise : float
        Given W and the samples, variance over the m draws of the noise; 0 for m = ∞.
    error : float
        Estimated absolute error of each: what a contour with fewer nodes differs by, and
        rounding; conditions of the constants are not in it.
    """

    dimension = "tau"

    tau: Reals
    bias2: Reals
    of_features: Reals
    of_data: Reals
    of_noise: Reals
    error: Reals

    @property
    def variance(self) -> Reals:
        """Of features, data and noise together."""
        return self.of_features + self.of_data + self.of_noise

    def columns(self) -> dict[str, Any]:
        """All fields and the variance, by name."""
        names = ("tau", "bias2", "variance", "of_features", "of_data", "of_noise", "error")
        return {name: np.asarray(getattr(self, name)) for name in names}


class Learnable(NamedTuple):
    """Equations, with α² and β²."""

    eq: ColumnEquations
    alpha2: Real
    beta2: Real

    @classmethod
    def of(cls, model: RandomFeatureModel, eq: ColumnEquations) -> Learnable:
        return cls(eq, model.process.alpha**2, model.process.beta2)

    @property
    def weights(self) -> Vector:
        """dρ_Σ A/β², for slopes times β."""
        A = self.alpha2 * self.eq.values + self.beta2
        return self.eq.weights * A / self.beta2

    @property
    def best(self) -> Vector:
        """βb(λ)."""
        A = self.alpha2 * self.eq.values + self.beta2
        slope = 0.0 if self.eq.slope is None else self.eq.slope
        return self.beta2 * (self.eq.target.noise + slope * self.eq.values) / A


def _parts_along(problem: Learnable, paths: Checked) -> tuple[Matrix, Vector]:
    # bias² and the variances, [time, 4], and their error
    eq, (fine, other, _) = problem.eq, paths
    law = eq.on_other_nodes
    u, u_other, _ = solutions(eq, paths, solve_inside)
    parts, sizes = _parts_on(problem, fine, u)
    judge = jax.lax.stop_gradient(problem)
    if isinstance(law, ColumnEquations):
        judge = judge._replace(eq=jax.lax.stop_gradient(law))
        near = lambda z, *u: towards(judge.eq, u, z - judge.eq.decay)
        u_other = jax.vmap(near)(other.nodes, *u_other)
    judged, _ = _parts_on(judge, other, jax.lax.stop_gradient(u_other))
    difference = jnp.max(jnp.abs(judged - parts), axis=1)
    error = jax.lax.stop_gradient(difference + (8 * EPS + eq.accuracy) * sizes)
    return parts, jnp.where(jnp.isfinite(error), error, jnp.inf)


def _parts_on(problem: Learnable, path: Contour, u: Unknowns) -> tuple[Matrix, Vector]:
    eq, nodes = problem.eq, path.nodes
    points = jax.vmap(lambda *u: eq.point(u))(*u)
    learnt = jax.vmap(eq.learnt)(points)
    mean = 2.0 * (path.weights @ learnt).real
    forms = (form_of(lambda a, b, i=i: _shared(eq, a, b)[i], points, nodes.size) for i in range(3))
    squares = [jax.vmap(partial(quadratic, form))(path.weights) for form in forms]
    return _parts_of(problem, mean, jnp.stack(squares, axis=1))


def _shared(eq: ColumnEquations, one: Any, two: Any) -> list[Number]:
    # of two trainings with the same W, the same samples, too, and the same noise, too
    return [*eq.common(one, two), *eq.target_two_point(one, two, (eq.population,))]


def _parts_of(problem: Learnable, mean: Matrix, squares: Matrix) -> tuple[Matrix, Vector]:
    # from βm, [time, λ], and what two trainings share, [time, 3]
    weights = problem.weights
    bias = (mean - problem.best[None]) ** 2 @ weights
    first = mean**2 @ weights
    shared = jnp.concatenate([first[:, None], squares], axis=1)
    sizes = jnp.max(jnp.abs(shared), axis=1)
    return jnp.concatenate([bias[:, None], jnp.diff(shared, axis=1)], axis=1), sizes


@program
def _parts_at_end(problem: Learnable) -> tuple[Vector, Real]:
    eq = problem.eq
    u = solve_left(eq, -eq.decay)
    point = eq.point(tuple(v + 0j for v in u))
    squares = jnp.stack(_shared(eq, point, point)).real
    parts, sizes = _parts_of(problem, eq.learnt(point).real[None], squares[None])
    # where p = mn they are infinite to rounding, or no number
    infinite = ~(jnp.abs(parts[0]) <= INFINITE * eq.untrained)
    error = jnp.where(jnp.any(infinite), jnp.inf, (8 * EPS + eq.accuracy) * sizes[0])
    return jnp.where(infinite, jnp.inf, parts[0]), jax.lax.stop_gradient(error)


# (equations, contours with their checks), and (equations), to bias² and variances, and their error
SCORE_PARTS = Measure(_parts_along, _parts_at_end)
