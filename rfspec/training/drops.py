"""What each piece of the spectrum contributes to the train loss along training, with its error."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..numerics.rounding import EPS
from ..numerics.types import Matrix, Truths, Vector
from ..resolvent.interface import Equations
from ..resolvent.solver import solve_real_axis
from ..spectra.series import NODES, Series, angles, place, rule
from ..spectra.support import Support
from .losses import AT_ONCE

PER_PIECE = 8 * NODES  # nodes for the drops on a piece of a bulk


CROWD = 0.02  # spacing of nodes at an edge, in units of the mean one


class Modes(NamedTuple):
    """Eigenvalues of U plus weight decay [piece, node], the density of what they explain,
    the nodes' weights, and the share that U has in them; NaN where there is no piece of a bulk.
    """

    values: Matrix
    density: Matrix
    weights: Matrix
    own: Matrix


def drop_of(modes: Modes, share: Matrix) -> tuple[Vector, Vector]:
    """∫ dν(λ) (2h - λh²) over each piece, h = share/(λ + γ');
    its error from the last terms of the series.
    """
    terms = modes.density * share * (2.0 - modes.own * share)
    last = (
        jax.scipy.fft.dct(jax.lax.stop_gradient(terms), axis=-1)[:, -(terms.shape[-1] // 8) :]
        / terms.shape[-1]
    )
    span, size = jnp.sum(modes.weights, axis=-1), jnp.sum(modes.weights * jnp.abs(terms), axis=-1)
    error = span * jnp.max(jnp.abs(last), axis=-1) + 4 * EPS * size
    return jnp.sum(modes.weights * terms, axis=-1), jax.lax.stop_gradient(error)


@partial(jax.jit, static_argnames="learned")
def drops_along(
    modes: Modes, learned: Callable[..., Any], arguments: tuple[Vector, Vector], ended: Truths
) -> tuple[Matrix, Matrix]:
    share = lambda end, *a: jnp.where(end, 1.0, learned(modes.values, *a))
    return jax.lax.map(lambda a: drop_of(modes, share(*a)), (ended, *arguments), batch_size=AT_ONCE)


@partial(jax.jit, static_argnames="nodes")
def modes_of(eq: Equations, support: Support, series: Series, nodes: int) -> Modes:
    """The nodes crowd towards the edges, where many steps, of the stable size or little below,
    leave boundary layers.

    On a whole bulk, with θ = φ - (1 - CROWD) sin(2φ)/2 at midpoints φ_j, the rule stays that of a
    smooth periodic function.
    """
    phi, (part, by_fejer) = angles(nodes), rule(nodes, False)
    crowded = (
        phi - (1.0 - CROWD) * np.sin(2 * phi) / 2,
        (1.0 - (1.0 - CROWD) * np.cos(2 * phi)) / nodes,
    )
    whole, span = series.whole[:, None], series.span[:, None]
    theta = np.pi * series.begin[:, None] + span * part[None, :]
    theta = jnp.where(whole, crowded[0][None, :], theta)
    weights = span * jnp.where(whole, crowded[1][None, :], by_fejer[None, :])
    zeta, slope, left, right = jax.vmap(place)(*series.edges(support), theta)
    zeta = jnp.where(series.exists[:, None], zeta, eq.bound * (1.0 + theta))
    floor = jax.lax.stop_gradient(0.02 * jnp.minimum(left, right))
    u = jax.vmap(jax.vmap(partial(solve_real_axis, eq)))(zeta, floor)
    density = jax.vmap(jax.vmap(lambda *u: eq.explained(eq.at(u))[0].imag))(*u) * slope / np.pi
    value = eq.origin + zeta
    keep = lambda a: jnp.where(series.exists[:, None], a, jnp.nan)
    return Modes(
        keep(value + eq.decay),
        keep(density / (value + eq.decay)),
        weights,
        keep(value / (value + eq.decay)),
    )
