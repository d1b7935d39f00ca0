"""Train and test loss of a filter: double sums of two-point functions over the nodes of a contour,
with errors.
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

AT_ONCE = 8  # training times in one call, so that any number of them is compiled already


class Pairs(NamedTuple):
    """With G_j = (U - z_j)⁻¹ all that the losses need: Tr VᵀG_jV/d and Tr ṼᵀG_jV/d,
    and for j ≤ k Tr VᵀG_jMG_kV/d with M = Ũ and M = I, at (z_j, z_k) and (z_j, z̄_k), [2, pairs].
    """

    sample: Numbers
    population: Numbers
    fresh: Numbers
    known: Numbers


def pairs_of(eq: Equations, u: Unknowns) -> Pairs:
    """One- and two-point functions from the solutions at the nodes of a contour."""
    points = jax.vmap(lambda *u: eq.at(u))(*u)
    j, k = np.triu_indices(u[0].shape[-1])
    sources = eq.population, IDENTITY
    pair = jax.vmap(jax.vmap(lambda a, b: eq.explained_twice(a, b, sources)), in_axes=(None, 0))
    one = jax.tree.map(lambda a: a[j], points)
    two = jax.tree.map(lambda a: jnp.stack([a[k], a[k].conj()]), points)
    return Pairs(*jax.vmap(eq.explained)(points), *pair(one, two))


def losses(eq: Equations, path: Contour, pairs: Pairs) -> tuple[Real, Real, Vector]:
    """L_train and L_test of the filter that a contour stands for;
    roots of the sums of squares of their terms.
    """
    z, w = path.nodes - eq.decay, path.weights
    j, k = np.triu_indices(z.shape[-1])
    # the complex conjugate of each pair, and the pair in the other order
    twice = np.where(j == k, 2.0, 4.0)
    ww = (twice * w[j])[None] * jnp.stack([w[k], w[k].conj()])
    sample, population = (4.0 * jnp.sum(w * f).real for f in (pairs.sample, pairs.population))
    known = ww * (pairs.sample[j][None] + jnp.stack([z[k], z[k].conj()]) * pairs.known)
    fresh = ww * pairs.fresh
    size = jnp.stack([jnp.sqrt(jnp.sum(terms.real**2 + terms.imag**2)) for terms in (known, fresh)])
    train, test = jnp.sum(known).real - sample, jnp.sum(fresh).real - population  # (17)
    return eq.untrained + train, eq.untrained + test, size


@jax.jit
def losses_and_error(
    eq: Equations, fine: Contour, other: Contour, coarse: Contour
) -> tuple[Real, Real, Vector]:
    """Losses by the first contour; their errors from the second, from rounding,
    and from the errors of the constants.

    The first two have equally many nodes. The third tells the conditions |∂L/∂p · p| of the numbers
    p in the equations.
    """
    along = jax.vmap(partial(solve_off_axis, eq))
    u = along(jnp.concatenate([fine.nodes, other.nodes, coarse.nodes]) - eq.decay)
    *both, few = zip(
        *(jnp.split(v, np.cumsum([fine.nodes.size, other.nodes.size])) for v in u), strict=True
    )
    two = jax.tree.map(lambda a, b: jnp.stack([a, b]), (fine, both[0]), (other, both[1]))
    train, test, size = jax.vmap(lambda path, u: losses(eq, path, pairs_of(eq, u)))(*two)

    still, coarse, few = jax.lax.stop_gradient((eq, coarse, few))
    near = lambda e: jax.vmap(lambda z, *u: implicit(e, u, z - e.decay - e.origin, 1))(
        coarse.nodes, *few
    )
    roughly = lambda e, u: jnp.stack(losses(e, coarse, pairs_of(e, u))[:2])
    moved = condition(still, lambda e: roughly(e, near(e)))
    differ = jnp.stack([jnp.abs(a[1] - a[0]) for a in (train, test)])
    law, path = still.on_other_nodes, jax.lax.stop_gradient(fine)
    if law is not None:
        close = tuple(map(jax.lax.stop_gradient, both[0]))
        again = jax.vmap(lambda z, *u: towards(law, u, z - law.decay))(path.nodes, *close)
        moved_to = jnp.stack(losses(law, path, pairs_of(law, again))[:2])
        differ = differ + AT_LEAST_HALVED * jnp.abs(
            moved_to - jax.lax.stop_gradient(jnp.stack([train[0], test[0]]))
        )
    return train[0], test[0], _errors(still, differ, size[0], moved)


def _errors(eq: Equations, differ: Vector, size: Vector, moved: Vector) -> Vector:
    """Of both losses: what two rules differ by, rounding of the untrained loss and of the terms,
    and the conditions.
    """
    rounding = 4 * EPS * (jnp.abs(eq.untrained) + size)
    error = jax.lax.stop_gradient(differ + rounding + (4 * EPS + eq.accuracy) * moved)
    return jnp.where(jnp.isfinite(error), error, jnp.inf)


@jax.jit
def limit(eq: Equations) -> tuple[Real, Real, Vector]:
    """L_train and L_test at the end of training, h(U) = U⁻¹, or (U + γ')⁻¹ with weight decay;
    and their errors.
    """
    zero = Contour(jnp.zeros(1, complex), jnp.full(1, 0.5 + 0j))
    at_end = lambda e, u: losses(e, zero, pairs_of(e, tuple(v[None] + 0j for v in u)))
    both = lambda e, u: jnp.stack(at_end(e, u)[:2])
    u = solve_left(eq, -eq.decay)
    train, test, size = at_end(eq, u)
    still, u = jax.lax.stop_gradient((eq, u))
    near = lambda e: implicit(e, u, left_of_origin(e, -e.decay), 1)
    moved = condition(still, lambda e: both(e, near(e)))
    differ = jnp.zeros(2)
    law = still.on_other_nodes
    if law is not None:
        differ = AT_LEAST_HALVED * jnp.abs(both(law, solve_left(law, -law.decay)) - both(still, u))
    errors = _errors(still, differ, size, moved)
    # at p = mn, where U has a hard edge at 0
    diverges = errors[1] > jnp.abs(jax.lax.stop_gradient(test))
    return (
        train,
        jnp.where(diverges, jnp.inf, test),
        errors.at[1].set(jnp.where(diverges, jnp.inf, errors[1])),
    )


def flow_losses(eq: Equations, c: Real, count: int = FINEST) -> tuple[Real, Real, Real]:
    """L_train, L_test and their error under gradient flow to one c = 2β²τ/ψ_p < ∞."""
    train, test, errors = losses_and_error(eq, *checked(partial(flow, c, eq.top), count))
    return train, test, jnp.max(errors)


def checked(contour: Callable[[int], Contour], count: int) -> tuple[Contour, Contour, Contour]:
    """A contour with the two that its error takes; the second padded to the size of the first."""
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
    """Losses and errors at each τ."""
    size, known = arguments[0].shape[0], concrete(eq, arguments)
    width = AT_ONCE if known else 1
    parts = tuple(
        namespace(a).pad(a, (0, -size % width), mode="edge").reshape(-1, width) for a in arguments
    )
    if known:
        each = (tuple(a[i] for a in parts) for i in range(parts[0].shape[0]))
        found = zip(*(_losses_of_batch(eq, contour, part, count) for part in each), strict=True)
        rows = tuple(namespace(column).stack([on_host(a) for a in column]) for column in found)
    else:
        rows = _losses_of_batches(eq, contour, parts, count)
    train, test, errors = (a.reshape(-1, *a.shape[2:])[:size] for a in rows)
    if concrete(ended) and not np.any(ended):
        return train, test, errors
    last, columns = (
        map(on_host, limit(eq)),
        ((train, ended), (test, ended), (errors, ended[:, None])),
    )
    return tuple(
        namespace(end, a, b).where(end, a, b) for a, (b, end) in zip(last, columns, strict=True)
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
    return jax.vmap(lambda *a: losses_and_error(eq, *checked(partial(contour, *a), count)))(
        *arguments
    )
