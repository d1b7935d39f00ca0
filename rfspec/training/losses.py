"""Train and test loss of a filter, with errors.

With h(U) a sum of resolvents (18), the losses (17) are double sums of (15) and (16) over the nodes
of a contour. The train loss needs no two-point function, since G_jG_k = (G_j - G_k)/(z_j - z_k).
Where the nodes serve r² too, it is a single sum. With the weight decay γ' in λ' = λ + γ'

    2h - λh² = (1 - r²)/λ' + γ'h².
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..numerics.checks import fixed, namespace
from ..numerics.holomorphic import Unknowns, condition, implicit, square
from ..numerics.programs import program
from ..numerics.rounding import EPS
from ..numerics.types import Matrix, Real, Reals, Vector
from ..resolvent.columns import IDENTITY
from ..resolvent.interface import AT_LEAST_HALVED, Equations
from ..resolvent.solver import left_of_origin, solve_inside, solve_left, towards
from .contour import FINEST, Contour, flow
from .kernel import Kernel, bilinear, kernel_of, quadratic
from .rows import Checked, Measure, with_checks

# cγ' at which e^{-cγ'} is less than rounding
ENDED = 40.0


def losses(eq: Equations, path: Contour, kernel: Kernel) -> Vector:
    """L_train and L_test, [2]."""
    w, f, g = path.weights, kernel.sample, kernel.population
    if kernel.own is not None:
        train = 4.0 * jnp.sum(w * f).real - quadratic(kernel.own, w)
    elif path.squared is None:
        # G_j U G_k = G_j + z_k G_j G_k
        single = 4.0 * jnp.sum(w * f).real * (1.0 - jnp.sum(w).real)
        train = single - bilinear(kernel.twice, w, (path.nodes - eq.decay) * w)
    else:
        train = 2.0 * jnp.sum(path.squared * f).real + eq.decay * quadratic(kernel.twice, w)
    test = 4.0 * jnp.sum(w * g).real - quadratic(kernel.through, w)
    return eq.untrained - jnp.stack([train, test])  # (17)


def _sizes(eq: Equations, path: Contour, kernel: Kernel) -> Vector:
    # for each loss what its terms may leave of rounding, in units of it, [2]
    w, of_sample = square(path.weights), square(kernel.sample)
    double = lambda form, w, v: w @ (form.A**2 + form.B**2 + 2.0 * form.C**2) @ v
    if kernel.own is not None:
        train = double(kernel.own, w, w)
    elif path.squared is None:
        train = 8.0 * jnp.sum(w * of_sample) * (1.0 + jnp.sum(w))
        train = train + double(kernel.twice, w, square(path.nodes - eq.decay) * w)
    else:
        train = 4.0 * jnp.sum(square(path.squared) * of_sample)
        train = train + eq.decay**2 * double(kernel.twice, w, w)
    test = double(kernel.through, w, w)
    return jnp.abs(eq.untrained) + jnp.sqrt(jnp.stack([train, test]))


@jax.jit
def losses_and_errors(eq: Equations, paths: Checked) -> tuple[Vector, Vector, Matrix]:
    """L_train, L_test and their errors at several times, [time], [time] and [time, 2].

    The times share the nodes of their contours, whose weights are [time, node].
    """
    fine, other, coarse = paths
    u_fine, u_other, u_coarse = solutions(eq, paths, solve_inside)
    values = at_times(eq, fine, kernel_of(eq, fine, u_fine))
    errors = errors_of(eq, (other, u_other), (coarse, u_coarse), values)
    return values[:, 0], values[:, 1], errors


def solutions(eq: Equations, paths: Checked, solve: Callable[..., Unknowns]) -> Checked:
    """solve(eq, ζ) on the nodes of all contours at once."""
    nodes = [path.nodes for path in paths]
    zeta = jnp.concatenate(nodes) - eq.decay - eq.origin
    u = jax.vmap(partial(solve, eq))(zeta)
    ends = np.cumsum([z.size for z in nodes])[:-1]
    return Checked(*zip(*(jnp.split(v, ends) for v in u), strict=True))


def flow_losses(eq: Equations, c: Real, count: int = FINEST) -> tuple[Real, Real, Real]:
    """L_train, L_test and the larger of their errors under gradient flow to one
    c = 2ω²τ/ψ_p < ∞.
    """
    contour = partial(flow, until_ended(eq, c), eq.top)
    train, test, errors = LOSSES.at_one_time(eq, with_checks(contour, count))
    return train, test, jnp.max(errors)


def until_ended(eq: Equations, c: Reals) -> Reals:
    """A time of gradient flow, or the earlier one at which weight decay leaves nothing to learn.

    The weights of the train loss grow with c times the decay.
    """
    xp = namespace(c, eq.decay)
    decay = fixed(eq.decay) if xp is np else jax.lax.stop_gradient(eq.decay)
    with np.errstate(divide="ignore"):
        return xp.minimum(c, xp.where(decay > 0, ENDED / decay, np.inf))


def at_times(eq: Equations, path: Contour, kernel: Kernel) -> Matrix:
    return _along_times(partial(losses, eq), path, kernel)


def _along_times(f: Callable[..., Any], path: Contour, kernel: Kernel) -> Any:
    own = lambda weights, squared: Contour(path.nodes, path.apart, weights, squared)
    return jax.vmap(lambda *w: f(own(*w), kernel))(path.weights, path.squared)


def errors_of(
    eq: Equations,
    other: tuple[Contour, Unknowns],
    coarse: tuple[Contour, Unknowns],
    values: Matrix,
) -> Matrix:
    """Errors of both losses, [time, 2], from contours and the solutions there; not differentiated.

    An error is the difference to another contour, plus rounding, plus the errors of the constants,
    plus those of the nodes of a law of Σ.
    """
    eq, (path, u), (few, at_few), values = jax.lax.stop_gradient((eq, other, coarse, values))
    on = lambda e, path, u: at_times(e, path, kernel_of(e, path, u, still=True))
    law, known = eq.on_other_nodes, 1.0
    if law is not None:
        # at least twice as many nodes tell their error and that of the contour at once
        u = jax.vmap(lambda z, *u: towards(law, u, z - law.decay))(path.nodes, *u)
        known = AT_LEAST_HALVED
    judge = eq if law is None else law
    kernel = kernel_of(judge, path, u, still=True)
    differences = known * jnp.abs(at_times(judge, path, kernel) - values)
    implied = lambda e: jax.vmap(lambda z, *u: implicit(e, u, z - e.decay - e.origin, 1))(
        few.nodes, *at_few
    )
    conditions = condition(eq, lambda e: on(e, few, implied(e)), values)
    return known_to(eq, differences, _along_times(partial(_sizes, eq), path, kernel), conditions)


def known_to(eq: Equations, differences: Reals, size: Reals, conditions: Reals) -> Reals:
    """Errors of losses from all that makes them; ∞ where they are not finite."""
    of_constants = (4 * EPS + eq.accuracy) * conditions
    error = jax.lax.stop_gradient(differences + 4 * EPS * size + of_constants)
    return jnp.where(jnp.isfinite(error), error, jnp.inf)


def error_at_start(eq: Equations) -> Vector:
    """Errors of both losses before training, [2]; not differentiated."""
    eq = jax.lax.stop_gradient(eq)
    both = lambda e: jnp.stack([e.untrained] * 2)
    return known_to(eq, jnp.zeros(2), jnp.abs(both(eq)), condition(eq, both))


@program
def limit(eq: Equations) -> tuple[Real, Real, Vector]:
    """L_train and L_test at the end of training, h(U) = (U + γ')⁻¹, and their errors."""
    return limit_from(eq, solve_left(eq, -eq.decay))


def limit_from(eq: Equations, u: Unknowns) -> tuple[Real, Real, Vector]:
    """The same from the solution at the end of training, ζ = ``left_of_origin(eq, -eq.decay)``."""
    train, test = at_end = losses_at_end(eq, u)
    frozen, u, at_end = jax.lax.stop_gradient((eq, u, at_end))
    near = lambda e: implicit(e, u, left_of_origin(e, -e.decay), 1)
    conditions = condition(frozen, lambda e: losses_at_end(e, near(e)), at_end)
    differences = jnp.zeros(2)
    law = frozen.on_other_nodes
    if law is not None:
        moved = losses_at_end(law, solve_left(law, -law.decay))
        differences = AT_LEAST_HALVED * jnp.abs(moved - at_end)
    size = 2.0 * jnp.abs(frozen.untrained) + jnp.abs(at_end)
    errors = known_to(frozen, differences, size, conditions)
    # at p = mn, where U has a hard edge at 0; rounding leaves of an infinite loss about 1/EPS
    diverges = (errors[1] > jnp.abs(at_end[1])) | (
        jnp.abs(at_end[1]) > 0.1 / EPS * frozen.untrained
    )
    # the train loss never does, unless it is that of other columns than were learnt
    diverging = jnp.stack([diverges & eq.judged_apart, diverges])
    train, test = jnp.where(diverging, jnp.inf, jnp.stack([train, test]))
    return train, test, jnp.where(diverging, jnp.inf, errors)


def losses_at_end(eq: Equations, u: Unknowns) -> Vector:
    """Both losses, where 2h - λh² = 1/x + γ'/x²."""
    point = eq.point(tuple(v + 0j for v in u))
    sample, population = eq.explained(point)
    through, twice = eq.target_two_point(point, point, (eq.population, IDENTITY))
    of_train = sample + eq.decay * twice
    if eq.judged_apart:
        of_train = 2.0 * sample - eq.sample_two_point(point, point)
    learnt = jnp.stack([of_train, 2.0 * population - through])
    return eq.untrained - learnt.real


# (eq, contours with their checks), and (eq), to L_train, L_test and both errors
LOSSES = Measure(losses_and_errors, limit)
