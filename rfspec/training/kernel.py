"""All that losses need of the resolvents at the nodes of a contour, and the forms made of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..numerics.holomorphic import Unknowns
from ..numerics.types import Matrix, Number, Numbers, Real, Wholes
from ..resolvent.columns import IDENTITY
from ..resolvent.interface import Equations
from .contour import Contour

# of the points of pairs that are worked on at once: so many stay next to the processor
NUMBERS = 2048


class Form(NamedTuple):
    """A quadratic form in w = a + ib, a·A·a + b·B·b + 2a·C·b with symmetric A and B, each
    [node, node].
    """

    A: Matrix
    B: Matrix
    C: Matrix


class Kernel(NamedTuple):
    """All that the losses need at the nodes of a contour, with G_j = (U - z_j)⁻¹.

    `sample`, `population`: Tr VᵀG_jV/d and Tr ṼᵀG_jV/d, [node]. `through`, `twice`:
    Tr Vᵀh(U)Mh(U)V/d for M = Ũ and M = I as forms in the weights of h. Where the train
    loss is not that of U, the first V in `sample` is what it is taken over, and `own` has M = U_c;
    else it is None.
    """

    sample: Numbers
    population: Numbers
    through: Form
    twice: Form
    own: Form | None = None


def kernel_of(eq: Equations, path: Contour, u: Unknowns, *, still: bool = False) -> Kernel:
    """The kernel from the solutions u at the nodes.

    Where nobody differentiates in the weight decay, `still`, without one `twice` is not computed.
    """
    nodes = path.nodes
    points = jax.vmap(lambda *u: eq.point(u))(*u)
    sample, population = jax.vmap(eq.explained)(points)
    pair = lambda source, a, b: eq.target_two_point(a, b, (source,))[0]
    through = form_of(partial(pair, eq.population), points, nodes.size)
    slopes = jax.vmap(partial(pair, IDENTITY))(points, points)
    square = lambda: _form(*_divided_differences(path.apart, sample, slopes))
    nothing = lambda: Form(*[jnp.zeros((nodes.size, nodes.size))] * 3)
    twice = jax.lax.cond(eq.decay > 0, square, nothing) if still else square()
    own = form_of(eq.sample_two_point, points, nodes.size) if eq.judged_apart else None
    return Kernel(sample, population, through, twice, own)


def form_of(pair: Callable[..., Number], points: Any, size: int) -> Form:
    """The form of pair(one, two), symmetric in two of the points."""
    # at (z_j, z_k) and (z_j, z̄_k); half of the pairs are enough
    both = jax.tree.map(lambda a: jnp.concatenate([a, a.conj()]), points)
    first, second = np.triu_indices(size)
    pairs = np.stack([np.tile(first, 2), np.concatenate([second, size + second])])

    def values(pairs: Wholes) -> Numbers:
        one, two = (jax.tree.map(lambda a, i=i: a[i], both) for i in pairs)
        return jax.vmap(pair)(one, two)

    each = jax.lax.map(values, _parts(pairs, max(a[0].size for a in jax.tree.leaves(points))))
    symmetric, hermitian = each.ravel()[: pairs.shape[1]].reshape(2, -1)
    return _form(*_from_halves(symmetric, hermitian, size))


def _parts(pairs: np.ndarray, numbers: int) -> np.ndarray:
    # equal parts whose points have few numbers, [part, 2, pair]; the last one repeats the first
    count = pairs.shape[1]
    parts = -(-count * numbers // NUMBERS)
    filled = np.resize(pairs.T, (parts, -(-count // parts), 2))
    return filled.transpose(0, 2, 1)


def _from_halves(symmetric: Numbers, hermitian: Numbers, size: int) -> tuple[Numbers, Numbers]:
    # both matrices from their entries with j ≤ k
    place, lower = np.zeros((size, size), int), np.tri(size, k=-1, dtype=bool)
    place[np.triu_indices(size)] = np.arange(symmetric.size)
    place = np.maximum(place, place.T)
    full = hermitian[place]
    return symmetric[place], jnp.where(lower, full.conj(), full)


def _divided_differences(apart: Numbers, f: Numbers, slopes: Numbers) -> tuple[Numbers, Numbers]:
    # of f at (z_j, z_k) and (z_j, z̄_k), with the slope where these are one point
    difference = lambda a, b: a[:, None] - b[None]
    symmetric = difference(f, f) * apart[0] + jnp.diag(slopes)
    return symmetric, difference(f, f.conj()) * apart[1]


def _form(symmetric: Numbers, hermitian: Numbers) -> Form:
    # of 2 Re Σ_jk w_j(S_jkw_k + H_jkw̄_k) with symmetric S and hermitian H
    S, H = 2.0 * symmetric, 2.0 * hermitian
    return Form((H + S).real, (H - S).real, (H - S).imag)


@jax.custom_jvp
def quadratic(form: Form, w: Numbers) -> Real:
    """The form at the weights w, [node]."""
    return bilinear(form, w, w)


def bilinear(form: Form, w: Numbers, v: Numbers) -> Real:
    """The form between two vectors of weights."""
    of_real = form.A @ v.real + form.C @ v.imag
    return w.real @ of_real + w.imag @ (form.B @ v.imag + v.real @ form.C)


@partial(quadratic.defjvp, symbolic_zeros=True)
def _quadratic_jvp(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Real, Real]:
    # with the product that the value has, too
    (form, w), (form_dot, w_dot) = primals, tangents
    still = lambda a: isinstance(a, jax.custom_derivatives.SymbolicZero)
    value = quadratic(form, w)
    moved = jnp.zeros_like(value) if still(w_dot) else 2.0 * bilinear(form, w_dot, w)
    return value, moved if still(form_dot.A) else moved + quadratic(form_dot, w)
