"""The physical branch: a solution is reached from the left of the spectrum, and recognised.

Above the axis exactly one root has all Im u > 0. So a root that was found in any way is certified
by its signs, and none is chosen.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ..numerics.continuation import WAYS, along_the_arc, on_the_left
from ..numerics.holomorphic import Unknowns, jacobian, solve_small, square
from ..numerics.types import Number, Truth, Whole
from .interface import Equations

# largest Newton step in a logarithm that leaves a solution good enough to start at
AT_FIRST = 0.3
# largest relative Newton step of a certified solution
CONVERGED = 1e-12
# smallest relative imaginary part of a certified solution in the support, and one that may be
# rounding
CLEARLY, FAINTLY = 1e-9, 1e-11


class Reached(NamedTuple):
    """A root u, whether it is that of the physical branch for certain, and whether it is a root."""

    u: Unknowns
    certain: Truth
    found: Truth


# traced once for all programs that need it
@jax.jit
def reach(eq: Equations, zeta: Number, *, wanted: Truth = True) -> Reached:
    """The solution at ζ, Im ζ ≥ 0; not differentiated."""
    return _reach(eq, zeta, lambda u, _: is_the_solution(eq, u, zeta), wanted)


@jax.jit
def reach_inside(eq: Equations, zeta: Number, *, wanted: Truth = True) -> Unknowns:
    """The solution at ζ off the axis or in the support, Im ζ ≥ 0; not differentiated."""
    return _reach(eq, zeta, lambda u, found: found & all_positive(u, zeta), wanted).u


def all_positive(u: Unknowns, zeta: Number) -> Truth:
    """Whether all Im u > 0 by more than rounding."""
    least = jnp.where(zeta.imag > 0, FAINTLY, CLEARLY)
    return jnp.all(jnp.stack([(v.imag > 0) & (v.imag**2 > least**2 * square(v)) for v in u]))


def _reach(
    eq: Equations, zeta: Number, recognised: Callable[[Unknowns, Truth], Truth], wanted: Truth
) -> Reached:
    # a quick way along an arc leads to nearly all solutions, and a careful one to the others
    left = on_the_left(eq, -jnp.abs(zeta), close=AT_FIRST, wanted=wanted)

    def attempt(carry: tuple[Whole, Reached]) -> tuple[Whole, Reached]:
        way, before = carry
        u, found = along_the_arc(eq, left, zeta, way, wanted=~before.certain)
        return way + 1, Reached(u, recognised(u, found), found)

    nothing = jnp.logical_not(wanted) | jnp.isnan(zeta)
    start = 0, Reached(tuple(v + 0j for v in left), nothing, nothing)
    goes_on = lambda carry: (carry[0] < WAYS) & ~carry[1].certain
    return jax.lax.while_loop(goes_on, attempt, start)[1]


def is_the_solution(eq: Equations, u: Unknowns, zeta: Number) -> Truth:
    """Whether a root u, however it was found, is the solution at ζ, or the limit at a real ζ.

    It is, if all Im u > 0, or if u is real to rounding and every unknown rises with ζ. Just above ζ
    it is then a root with all Im u > 0, of which there is only one.
    """
    value, columns = jacobian(lambda *w: eq.residual(w, zeta), u)
    _, by_z = jax.jvp(lambda z: eq.residual(u, z), (zeta,), (jnp.ones_like(zeta),))
    # in a loop, since XLA may otherwise repeat the determinants for every number made from them;
    # fall = -du/dζ
    both = jax.lax.map(
        partial(solve_small, columns), tuple(map(jnp.stack, zip(value, by_z, strict=True)))
    )
    step, fall = zip(*both, strict=True)
    converged = jnp.all(
        jnp.stack([square(a) <= CONVERGED**2 * square(v) for a, v in zip(step, u, strict=True)])
    )
    rising = jnp.stack([a.real + jnp.abs(a.imag) < 0 for a in fall])
    flat = (eq.relative_imaginary(u) < CONVERGED) & jnp.all(rising)
    # far from all edges Im u may be less than rounding, but not its derivative
    faint = jnp.stack([v.imag**2 < FAINTLY**2 * square(v) for v in u])
    positive = jnp.stack([v.imag > 0 for v in u])
    above = jnp.all(jnp.where(faint, rising, positive))
    return converged & jnp.where(zeta.imag > 0, above, all_positive(u, zeta) | flat)
