r"""Newton steps, implicit functions and folds of a residual F(u; ζ), holomorphic in u and ζ.

Nothing here knows which equations are solved. The unknowns u are a tuple of scalars, because XLA
then fuses a whole Newton step into one loop. Functions are written for one ζ; `jax.vmap` makes the
batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .types import Matrix, Number, Numbers, Real, Reals, Vector, Whole

Unknowns = tuple[Numbers, ...]
Residual = Callable[..., Unknowns]
# an array of numbers, such as the eigenvalues of Σ, is moved in this many groups for its condition
GROUPS = 4
# of so many unknowns a system is solved by cofactors; of more there are too many of them
FEW = 5
# a condition that is hardly ever exceeded
ASSUMED = 1e3
# by this, relative, the numbers in equations move for a condition
STEP = 1e-7
# how many times an implicit function can be differentiated
ORDERS = 3


@jax.custom_jvp
def reciprocal(z: Numbers) -> Numbers:
    # its derivative reuses the value, since a complex division costs ten products
    return 1.0 / z


@reciprocal.defjvp
def _reciprocal_jvp(primals: tuple[Numbers], tangents: tuple[Numbers]) -> tuple[Numbers, Numbers]:
    y = reciprocal(primals[0])
    return y, -y * y * tangents[0]


def square(a: Numbers) -> Reals:
    # |a|², without the root and the scaling of a modulus
    return a.real**2 + a.imag**2


def of_real(matrix: Matrix, values: Numbers) -> Numbers:
    """A real matrix times numbers, without the zeros of a complex one."""
    if not jnp.iscomplexobj(values):
        return matrix @ values
    return matrix @ values.real + 1j * (matrix @ values.imag)


def determinant(columns: list[Unknowns]) -> Number:
    if len(columns) == 1:
        return columns[0][0]
    total = 0.0
    for i, column in enumerate(columns):
        minor = [c[1:] for j, c in enumerate(columns) if j != i]
        total = total + (-1) ** i * column[0] * determinant(minor)
    return total


def solve_small(columns: list[Unknowns], b: Unknowns) -> Unknowns:
    """The solution of a small linear system, given by columns."""
    return _by_cofactors(columns, b) if len(b) <= FEW else _by_elimination(columns, b)


def _by_cofactors(columns: list[Unknowns], b: Unknowns) -> Unknowns:
    # Cramer's rule for few unknowns; right sides of the same columns share the cofactors
    rows = range(len(b))
    by_column = [[_cofactor(columns, row, i) for row in rows] for i in rows]
    scale = reciprocal(sum(c * f for c, f in zip(columns[0], by_column[0], strict=True)))
    return tuple(sum(x * f for x, f in zip(b, of, strict=True)) * scale for of in by_column)


def _by_elimination(columns: list[Unknowns], b: Unknowns) -> Unknowns:
    matrix = jnp.stack([jnp.stack(column) for column in columns], axis=1)
    return tuple(eliminated(matrix, jnp.stack(b)))


def eliminated(matrix: Numbers, right: Numbers) -> Numbers:
    """A⁻¹b by elimination, with pivots from the diagonal of A, on which each equation has its own
    unknown. Linear in b.
    """
    size = len(right)
    for i in range(size):
        this, scale = np.arange(size) == i, reciprocal(matrix[i, i])
        factors = jnp.where(this, 0.0, matrix[:, i])
        row, end = matrix[i] * scale, right[i] * scale
        matrix = jnp.where(this[:, None], row[None], matrix - jnp.outer(factors, row))
        right = jnp.where(this, end, right - factors * end)
    return right


def _cofactor(columns: list[Unknowns], row: int, column: int) -> Number:
    minor = [c[:row] + c[row + 1 :] for j, c in enumerate(columns) if j != column]
    sign = -1.0 if (row + column) % 2 else 1.0
    return sign * determinant(minor) if minor else jnp.ones_like(columns[0][0])


def null_vectors(columns: list[Unknowns]) -> tuple[Vector, Vector]:
    """Right and left null vectors v, w of an n × n matrix of rank n - 1, whose adjugate is vwᵀ."""
    n = range(len(columns))
    adjugate = jnp.stack(
        [jnp.stack([_cofactor(columns, row, column) for row in n]) for column in n]
    )
    i, j = jnp.unravel_index(jnp.argmax(jnp.abs(adjugate)), adjugate.shape)
    return adjugate[:, j], adjugate[i]


def sensitivity(eq: Any, residual: Callable[[Any], Unknowns], covector: Numbers) -> Real:
    """Σ |c·∂F/∂p · p| over all numbers p in the equations, for F = residual(eq) and a covector c.

    It bounds what relative errors of the p do to c·F. The terms of F are products and sums of the
    p, so it also bounds what rounding does.
    """

    def contracted(e: Any) -> tuple[Real, Real]:
        total = sum(c * f for c, f in zip(covector, residual(e), strict=True))
        return jnp.real(total), jnp.imag(total)

    (value, _), pull = jax.vjp(contracted, eq)
    one, zero = jnp.ones_like(value), jnp.zeros_like(value)
    pulls = [pull((one, zero))[0]] + ([pull((zero, one))[0]] if jnp.iscomplexobj(covector) else [])
    return sum(
        jnp.sum(jnp.abs(g * p))
        for grads in pulls
        for g, p in zip(jax.tree.leaves(grads), jax.tree.leaves(eq), strict=True)
    )


def condition(eq: Any, f: Callable[[Any], Any], values: Numbers | None = None) -> Reals:
    """Σ |∂f/∂p · p| over the numbers p in the equations; shape of f.

    Where equations have no such numbers, since their nodes err by far more, it is a guess from the
    `values` of f.
    """
    if eq.numbers(eq):
        return jnp.sum(jnp.abs(moves(eq, f)), axis=0)
    return ASSUMED * jnp.abs(f(eq) if values is None else values)


def moves(eq: Any, f: Callable[[Any], Any]) -> Numbers:
    """∂f/∂p · p for the numbers p in the equations, of shape (numbers, *shape of f).

    The entries of an array p are taken in GROUPS groups. The derivatives are differences, which a
    condition bears, since XLA takes several times longer to compile exact ones.
    """
    numbers = eq.numbers(eq)
    groups = [np.array_split(np.arange(np.size(p)), min(np.size(p), GROUPS)) for p in numbers]
    count, first, directions = sum(map(len, groups)), 0, []
    for p, parts in zip(numbers, groups, strict=True):
        chosen = np.zeros((count, np.size(p)))
        for k, part in enumerate(parts):
            chosen[first + k, part] = 1.0
        first += len(parts)
        directions.append(jnp.reshape(chosen, (count, *np.shape(p))) * jnp.asarray(p)[None])
    moved = lambda *d: tuple(p + STEP * a for p, a in zip(numbers, d, strict=True))
    there = jax.vmap(lambda *d: f(eqx.tree_at(eq.numbers, eq, moved(*d))))(*directions)
    return (there - f(eq)[None]) / STEP


def jacobian(f: Residual, u: Unknowns) -> tuple[Unknowns, list[Unknowns]]:
    """F(u), and ∂F/∂u by columns."""
    value, push = jax.linearize(f, *u)
    if len(u) > FEW:
        # all columns at once are one program of the same length as one of them
        units = jnp.eye(len(u), dtype=u[0].dtype)
        columns = jax.vmap(lambda *e: push(*e))(*units)
        return value, [tuple(c[i] for c in columns) for i in range(len(u))]
    one, zero = jnp.ones_like(u[0]), jnp.zeros_like(u[0])
    return value, [push(*(one if i == j else zero for j in range(len(u)))) for i in range(len(u))]


def newton_step(f: Residual, u: Unknowns) -> Unknowns:
    """u - (∂F/∂u)⁻¹ F(u)."""
    value, columns = jacobian(f, u)
    return tuple(a - b for a, b in zip(u, solve_small(columns, value), strict=True))


def residual_at(eq: Any, zeta: Number) -> Residual:
    return lambda *u: eq.residual(u, zeta)


def implicit(eq: Any, u: Unknowns, zeta: Number, orders: int = ORDERS) -> Unknowns:
    """The solution u(p, ζ) as a function that can be differentiated `orders` times, in any mode.

    The iterations that found u are not differentiated. A step u - J⁻¹F(u; p, ζ) with a fixed
    J = ∂F/∂u leaves a solution where it is, and makes one more order of its derivatives right.
    """
    # a `jax.custom_jvp` rule would serve all orders, but JAX loses it in reverse mode over reverse
    # mode inside a scan
    fixed_eq, u, fixed_zeta = jax.lax.stop_gradient((eq, u, zeta))
    _, columns = jacobian(residual_at(fixed_eq, fixed_zeta), u)

    def step(u: Unknowns, _: Any) -> tuple[Unknowns, None]:
        change = solve_small(columns, eq.residual(u, zeta))
        return tuple(a - b for a, b in zip(u, change, strict=True)), None

    return step(u, None)[0] if orders == 1 else jax.lax.scan(step, u, length=orders)[0]


# --------------------------------------------------------------------------------------------------
# folds


def fold_step(eq: Any, u: Unknowns, zeta: Real) -> tuple[tuple[Real, ...], Real]:
    """One Newton step towards a branch point, F = 0 and det ∂F/∂u = 0 in the unknowns (u, ζ)."""

    def augmented(*v: Any) -> Unknowns:
        value, columns = jacobian(residual_at(eq, v[-1]), v[:-1])
        return (*value, determinant(columns))  # (10)

    # ∂F/∂u, which would give the first pivots of an elimination, is singular at the fold
    value, columns = jacobian(augmented, (*u, zeta))
    step = _by_cofactors(columns, value)
    *u_next, zeta_next = (a - b for a, b in zip((*u, zeta), step, strict=True))
    return tuple(u_next), zeta_next


def fold(
    eq: Any, u: Unknowns, zeta: Real, iterations: int = 20
) -> tuple[tuple[Real, ...], Real, Real]:
    """Branch point (u, ζ) near the given one, and the last step relative to ζ.

    It is real if u and ζ are, and complex if they are.
    """

    def body(
        _: Whole, carry: tuple[tuple[Real, ...], Real, Real]
    ) -> tuple[tuple[Real, ...], Real, Real]:
        u, z, _ = carry
        u_next, z_next = fold_step(eq, u, z)
        return u_next, z_next, jnp.abs(z_next - z) / jnp.abs(z_next)

    return jax.lax.fori_loop(0, iterations, body, (u, zeta, jnp.abs(zeta)))
