"""What each piece of the spectrum contributes to the train loss along training, with its error.

L_train = y_0 - ∫ dν(λ) (2h - λh²), with dν the imaginary part of (15) over π; a drop is this
integral over one piece of a bulk.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..numerics.programs import program
from ..numerics.rounding import EPS
from ..numerics.types import Matrix, Truths, Vector
from ..resolvent.interface import Equations
from ..resolvent.solver import solve_inside
from ..spectra.series import NODES, Series, angles, rule, zeta_at
from ..spectra.support import Support
from .rows import AT_ONCE

# nodes for the drops on a piece of a bulk
PER_PIECE = 8 * NODES
# spacing of nodes at an edge, in units of the mean one
CROWD = 0.02


class Modes(NamedTuple):
    """The nodes of every piece of a bulk, [piece, node]; NaN where there is no piece.

    `values`: λ + γ', eigenvalues of U plus weight decay. `density`: of what they explain, over
    λ + γ'. `weights`: of the nodes. `u_share`: λ/(λ + γ'), the share of U in `values`.
    """

    values: Matrix
    density: Matrix
    weights: Matrix
    u_share: Matrix


def drop_of(modes: Modes, learned: Matrix) -> tuple[Vector, Vector]:
    """∫ dν(λ) (2h - λh²) over each piece, h = learned/(λ + γ'), and its error."""
    terms = modes.density * learned * (2.0 - modes.u_share * learned)
    # the last terms of the series tell the error
    last = (
        jax.scipy.fft.dct(jax.lax.stop_gradient(terms), axis=-1)[:, -(terms.shape[-1] // 8) :]
        / terms.shape[-1]
    )
    span, size = jnp.sum(modes.weights, axis=-1), jnp.sum(modes.weights * jnp.abs(terms), axis=-1)
    error = span * jnp.max(jnp.abs(last), axis=-1) + 4 * EPS * size
    return jnp.sum(modes.weights * terms, axis=-1), jax.lax.stop_gradient(error)


@partial(program, static_argnames="learned")
def drops_along(
    modes: Modes, learned: Callable[..., Any], arguments: tuple[Vector, Vector], ended: Truths
) -> tuple[Matrix, Matrix]:
    """Drops and their errors at each τ, [τ, piece], of learned(λ + γ', *arguments)."""
    in_all = lambda end, *a: jnp.where(end, 1.0, learned(modes.values, *a))
    drops = lambda a: drop_of(modes, in_all(*a))
    return jax.lax.map(drops, (ended, *arguments), batch_size=AT_ONCE)


@partial(program, static_argnames="nodes")
def modes_of(eq: Equations, support: Support, series: Series, nodes: int) -> Modes:
    # Many steps of nearly the largest stable size leave boundary layers at the edges, so that the
    # nodes crowd there. On a whole bulk, with θ = φ - (1 - CROWD) sin(2φ)/2 at midpoints φ_j, the
    # rule stays that of a smooth periodic function.
    phi, (part, by_fejer) = angles(nodes), rule(nodes, False)
    crowded = phi - (1.0 - CROWD) * np.sin(2 * phi) / 2
    by_crowded = (1.0 - (1.0 - CROWD) * np.cos(2 * phi)) / nodes
    whole, span = series.whole[:, None], series.theta_span[:, None]
    theta = np.pi * series.begin[:, None] + span * part[None, :]
    theta = jnp.where(whole, crowded[None, :], theta)
    weights = span * jnp.where(whole, by_crowded[None, :], by_fejer[None, :])
    zeta, slope, *_ = jax.vmap(zeta_at)(*series.edges(support), theta)
    zeta = jnp.where(series.exists[:, None], zeta, eq.upper_bound * (1.0 + theta))
    u = jax.vmap(jax.vmap(partial(solve_inside, eq)))(zeta + 0j)
    density = jax.vmap(jax.vmap(lambda *u: eq.explained(eq.point(u))[0].imag))(*u) * slope / np.pi
    value = eq.origin + zeta
    keep = lambda a: jnp.where(series.exists[:, None], a, jnp.nan)
    return Modes(
        values=keep(value + eq.decay),
        density=keep(density / (value + eq.decay)),
        weights=weights,
        u_share=keep(value / (value + eq.decay)),
    )
