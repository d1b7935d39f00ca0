"""All that losses need of the resolvents at the nodes of a contour, and the forms made of it."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..numerics.holomorphic import Unknowns
from ..numerics.types import Numbers, Real
from ..resolvent.columns import IDENTITY
from ..resolvent.interface import Equations
from .contour import Contour


class Kernel(NamedTuple):
    """All that the losses need at the nodes of a contour, with G_j = (U - z_j)⁻¹.

    `sample`, `population`, `slopes`: Tr VᵀG_jV/d, Tr ṼᵀG_jV/d and Tr VᵀG_j²V/d, [node].
    `through`, `twice`: Tr VᵀG_jMG_kV/d for M = Ũ and M = I, at (z_j, z_k) and (z_j, z̄_k),
    [2, node, node]; the latter where the contour has no weights of h².
    """

    sample: Numbers
    population: Numbers
    slopes: Numbers
    through: Numbers
    twice: Numbers | None


def kernel_of(eq: Equations, path: Contour, u: Unknowns) -> Kernel:
    nodes = path.nodes
    points = jax.vmap(lambda *u: eq.point(u))(*u)
    sample, population = jax.vmap(eq.explained)(points)
    pair = lambda source, a, b: eq.target_two_point(a, b, (source,))[0]
    # symmetric in both points, so that half of the pairs are enough
    first, second = np.triu_indices(nodes.size)
    one, two = (jax.tree.map(lambda a, of=of: a[of], points) for of in (first, second))
    of_population = jax.vmap(partial(pair, eq.population))
    both = jax.tree.map(lambda a: jnp.stack([a, a.conj()]), two)
    # in a loop, since XLA would otherwise fuse them with their copies, and compute each twice
    halves = jax.lax.map(partial(of_population, one), both)
    through = _form(halves[0], halves[1], nodes.size)
    slopes = jax.vmap(partial(pair, IDENTITY))(points, points)
    if path.squared is not None:
        return Kernel(sample, population, slopes, through, None)
    twice = _divided_differences(nodes, sample, slopes)
    return Kernel(sample, population, slopes, through, _form(*twice, nodes.size))


def _form(symmetric: Numbers, hermitian: Numbers, size: int) -> Numbers:
    # both matrices from their entries with j ≤ k
    place, lower = np.zeros((size, size), int), np.tri(size, k=-1, dtype=bool)
    place[np.triu_indices(size)] = np.arange(symmetric.size)
    place = np.maximum(place, place.T)
    full = hermitian[place]
    return jnp.stack([symmetric[place], jnp.where(lower, full.conj(), full)])


def _divided_differences(z: Numbers, f: Numbers, slopes: Numbers) -> tuple[Numbers, Numbers]:
    # of f at (z_j, z_k) and (z_j, z̄_k) for j ≤ k, with the slope where these are one point
    first, second = np.triu_indices(z.size)
    difference = lambda a: jnp.stack([a[first] - a[second], a[first] - a[second].conj()])
    one_point = np.stack([first == second, np.zeros(first.size, bool)])
    apart = jnp.where(one_point, 1.0, difference(z))
    # a division of complex numbers takes several times longer
    inverse = apart.conj() / (apart.real**2 + apart.imag**2)
    symmetric, hermitian = jnp.where(one_point, slopes[first][None], difference(f) * inverse)
    return symmetric, hermitian


@jax.custom_jvp
def quadratic(form: Numbers, w: Numbers) -> Real:
    """2 Re Σ_jk w_j(S_jkw_k + H_jkw̄_k) of symmetric S and hermitian H, [2, node, node]."""
    return bilinear(form, w, w)


def bilinear(form: Numbers, w: Numbers, v: Numbers) -> Real:
    return 2.0 * jnp.sum(w * (form[0] @ v + form[1] @ v.conj())).real


@partial(quadratic.defjvp, symbolic_zeros=True)
def _quadratic_jvp(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Real, Real]:
    # with the product that the value has, too
    (form, w), (form_dot, w_dot) = primals, tangents
    still = lambda a: isinstance(a, jax.custom_derivatives.SymbolicZero)
    value = quadratic(form, w)
    moved = jnp.zeros_like(value) if still(w_dot) else 2.0 * bilinear(form, w_dot, w)
    return value, moved if still(form_dot) else moved + quadratic(form_dot, w)
