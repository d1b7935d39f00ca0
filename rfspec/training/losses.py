"""Train and test loss of a filter, with errors.

With h(U) a sum of resolvents (18), the losses (17) are double sums of (15) and (16) over the nodes
of a contour.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..numerics.checks import concrete, namespace, on_host
from ..numerics.holomorphic import Unknowns, condition, implicit
from ..numerics.rounding import EPS
from ..numerics.types import Matrix, Numbers, Real, Reals, Truths, Vector
from ..resolvent.columns import IDENTITY
from ..resolvent.interface import AT_LEAST_HALVED, Equations
from ..resolvent.solver import left_of_origin, solve_left, solve_off_axis, towards
from .contour import COARSE, FEWER, FINEST, Contour, flow

# training times in one call: one compiled size serves any number of them
AT_ONCE = 8


class Pairs(NamedTuple):
    """All that the losses need at the nodes of a contour, with G_j = (U - z_j)⁻¹.

    `sample`, `population`: Tr VᵀG_jV/d and Tr ṼᵀG_jV/d, [node]. `through_population`,
    `through_identity`: Tr VᵀG_jMG_kV/d for M = Ũ and M = I and j ≤ k, at (z_j, z_k) and (z_j, z̄_k),
    [2, pair].
    """

    sample: Numbers
    population: Numbers
    through_population: Numbers
    through_identity: Numbers


def pairs_of(eq: Equations, u: Unknowns) -> Pairs:
    points = jax.vmap(lambda *u: eq.point(u))(*u)
    j, k = np.triu_indices(u[0].shape[-1])
    sources = eq.population, IDENTITY
    pair = jax.vmap(jax.vmap(lambda a, b: eq.target_two_point(a, b, sources)), in_axes=(None, 0))
    one = jax.tree.map(lambda a: a[j], points)
    two = jax.tree.map(lambda a: jnp.stack([a[k], a[k].conj()]), points)
    return Pairs(*jax.vmap(eq.explained)(points), *pair(one, two))


def losses(eq: Equations, path: Contour, pairs: Pairs) -> tuple[Real, Real, Vector]:
    """L_train, L_test, and for each the root of the sum of squares of its terms."""
    z, w = path.nodes - eq.decay, path.weights
    j, k = np.triu_indices(z.shape[-1])
    # the complex conjugate of each pair, and the pair in the other order
    twice = np.where(j == k, 2.0, 4.0)
    ww = (twice * w[j])[None] * jnp.stack([w[k], w[k].conj()])
    sample, population = (4.0 * jnp.sum(w * f).real for f in (pairs.sample, pairs.population))
    # G_j U G_k = G_j + z_k G_j G_k
    through_sample = ww * (
        pairs.sample[j][None] + jnp.stack([z[k], z[k].conj()]) * pairs.through_identity
    )
    through_population = ww * pairs.through_population
    both = through_sample, through_population
    size = jnp.stack([jnp.sqrt(jnp.sum(terms.real**2 + terms.imag**2)) for terms in both])
    train = jnp.sum(through_sample).real - sample  # (17)
    test = jnp.sum(through_population).real - population  # (17)
    return eq.untrained + train, eq.untrained + test, size


@jax.jit
def losses_and_error(
    eq: Equations, fine: Contour, other: Contour, coarse: Contour
) -> tuple[Real, Real, Vector]:
    """Losses by the contour `fine`, and their errors.

    An error is the difference to the contour `other`, which has as many nodes, plus rounding, plus
    the errors of the constants. `coarse` tells the conditions |∂L/∂p · p| of the numbers p in the
    equations.
    """
    nodes = jnp.concatenate([fine.nodes, other.nodes, coarse.nodes]) - eq.decay
    u = jax.vmap(partial(solve_off_axis, eq))(nodes)
    ends = np.cumsum([fine.nodes.size, other.nodes.size])
    u_fine, u_other, u_coarse = zip(*(jnp.split(v, ends) for v in u), strict=True)
    two = jax.tree.map(lambda a, b: jnp.stack([a, b]), (fine, u_fine), (other, u_other))
    train, test, size = jax.vmap(lambda path, u: losses(eq, path, pairs_of(eq, u)))(*two)

    frozen, first = jax.lax.stop_gradient((eq, jnp.stack([train[0], test[0]])))
    conditions = _conditions(frozen, *jax.lax.stop_gradient((coarse, u_coarse)))
    differences = jnp.stack([jnp.abs(a[1] - a[0]) for a in (train, test)])
    law = frozen.on_other_nodes
    if law is not None:
        moved = _followed(law, *jax.lax.stop_gradient((fine, u_fine)))
        differences = differences + AT_LEAST_HALVED * jnp.abs(moved - first)
    return train[0], test[0], _errors(frozen, differences, size[0], conditions)


def _conditions(eq: Equations, path: Contour, u: Unknowns) -> Vector:
    # of both losses, from the solutions u on the contour
    near = lambda e: jax.vmap(lambda z, *u: implicit(e, u, z - e.decay - e.origin, 1))(
        path.nodes, *u
    )
    return condition(eq, lambda e: jnp.stack(losses(e, path, pairs_of(e, near(e)))[:2]))


def _followed(law: Equations, path: Contour, u: Unknowns) -> Vector:
    # both losses on other nodes of a law of Σ, whose solutions are close to u
    close = jax.vmap(lambda z, *u: towards(law, u, z - law.decay))(path.nodes, *u)
    return jnp.stack(losses(law, path, pairs_of(law, close))[:2])


def _errors(eq: Equations, differences: Vector, size: Vector, conditions: Vector) -> Vector:
    rounding = 4 * EPS * (jnp.abs(eq.untrained) + size)
    of_constants = (4 * EPS + eq.accuracy) * conditions
    error = jax.lax.stop_gradient(differences + rounding + of_constants)
    return jnp.where(jnp.isfinite(error), error, jnp.inf)


@jax.jit
def limit(eq: Equations) -> tuple[Real, Real, Vector]:
    """L_train and L_test at the end of training, h(U) = (U + γ')⁻¹, and their errors."""
    zero = Contour(jnp.zeros(1, complex), jnp.full(1, 0.5 + 0j))
    at_end = lambda e, u: losses(e, zero, pairs_of(e, tuple(v[None] + 0j for v in u)))
    both = lambda e, u: jnp.stack(at_end(e, u)[:2])
    u = solve_left(eq, -eq.decay)
    train, test, size = at_end(eq, u)
    frozen, u = jax.lax.stop_gradient((eq, u))
    near = lambda e: implicit(e, u, left_of_origin(e, -e.decay), 1)
    conditions = condition(frozen, lambda e: both(e, near(e)))
    differences = jnp.zeros(2)
    law = frozen.on_other_nodes
    if law is not None:
        moved = both(law, solve_left(law, -law.decay))
        differences = AT_LEAST_HALVED * jnp.abs(moved - both(frozen, u))
    errors = _errors(frozen, differences, size, conditions)
    # at p = mn, where U has a hard edge at 0
    diverges = errors[1] > jnp.abs(jax.lax.stop_gradient(test))
    return (
        train,
        jnp.where(diverges, jnp.inf, test),
        errors.at[1].set(jnp.where(diverges, jnp.inf, errors[1])),
    )


def flow_losses(eq: Equations, c: Real, count: int = FINEST) -> tuple[Real, Real, Real]:
    """L_train, L_test and the larger of their errors under gradient flow to one
    c = 2ω²τ/ψ_p < ∞.
    """
    train, test, errors = losses_and_error(eq, *with_checks(partial(flow, c, eq.top), count))
    return train, test, jnp.max(errors)


def with_checks(contour: Callable[[int], Contour], count: int) -> tuple[Contour, Contour, Contour]:
    """The contours `fine`, `other` and `coarse` of `losses_and_error`."""
    fine, other, coarse = (contour(n) for n in (count, count - FEWER, COARSE))
    missing = fine.nodes.size - other.nodes.size
    other = Contour(
        jnp.pad(other.nodes, (0, missing), mode="edge"), jnp.pad(other.weights, (0, missing))
    )
    return fine, other, coarse


def losses_along(
    eq: Equations,
    contour: Callable[..., Contour],
    arguments: tuple[Vector, Vector],
    ended: Truths,
    count: int,
) -> tuple[Vector, Vector, Matrix]:
    """L_train, L_test and both errors at each τ, of contour(*arguments); at the end of training
    where `ended`.
    """
    size, of_known = arguments[0].shape[0], concrete(eq, arguments)
    width = AT_ONCE if of_known else 1
    parts = tuple(
        namespace(a).pad(a, (0, -size % width), mode="edge").reshape(-1, width) for a in arguments
    )
    if of_known:
        each = (tuple(a[i] for a in parts) for i in range(parts[0].shape[0]))
        columns = zip(*(_losses_of_batch(eq, contour, part, count) for part in each), strict=True)
        rows = tuple(namespace(column).stack([on_host(a) for a in column]) for column in columns)
    else:
        rows = _losses_of_batches(eq, contour, parts, count)
    train, test, errors = (a.reshape(-1, *a.shape[2:])[:size] for a in rows)
    if concrete(ended) and not np.any(ended):
        return train, test, errors
    last = map(on_host, limit(eq))
    along = ((train, ended), (test, ended), (errors, ended[:, None]))
    return tuple(
        namespace(end, a, b).where(end, a, b) for a, (b, end) in zip(last, along, strict=True)
    )


@partial(jax.jit, static_argnames=("contour", "count"))
def _losses_of_batches(
    eq: Equations, contour: Callable[..., Contour], parts: tuple[Matrix, Matrix], count: int
) -> tuple[Matrix, Matrix, Reals]:
    return jax.lax.map(
        jax.checkpoint(lambda part: _losses_of_batch(eq, contour, part, count)), parts
    )


@partial(jax.jit, static_argnames=("contour", "count"))
def _losses_of_batch(
    eq: Equations, contour: Callable[..., Contour], arguments: tuple[Vector, Vector], count: int
) -> tuple[Vector, Vector, Matrix]:
    return jax.vmap(lambda *a: losses_and_error(eq, *with_checks(partial(contour, *a), count)))(
        *arguments
    )
