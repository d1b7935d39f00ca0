r"""Functions that walk through a batch of expensive numbers member by member.

Under `jax.vmap` a `lax.cond` computes both branches for every member, and holds the arrays of all
members in memory at once. A function wrapped here meets the members of a batch one after the other,
whatever transformation made the batch. Each member then takes only the branch it needs, and memory
is that of one member. Derivatives are taken forward, inside.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from .types import Reals, Truths, Whole


def one_by_one(
    f: Callable[..., Any], smooth: Callable[..., Any], size: int, name: str
) -> Callable[..., Any]:
    """g(x, needed, static=s) = f(s, x) for vectors x where `needed` is true, and 0 elsewhere.

    f returns `size` numbers. The first of them are those of smooth(s, x), which are
    differentiated; the others are constants.
    """
    # g is a primitive, since JAX loses a custom derivative in reverse mode over reverse mode
    # within a loop
    primitive = Primitive(name)

    def bind(x: Reals, needed: Truths, *, static: Any, order: int = 0) -> Reals:
        return primitive.bind(x, needed, static=static, order=order)

    def tensor(x: Reals, needed: Truths, *, static: Any, order: int) -> Reals:
        one = lambda member: (
            _derivatives(smooth, size, member, static, order) if order else f(static, member)
        )
        return _where_needed(one, x, needed, (size, *order * x.shape[-1:]))

    def shape(x: ShapedArray, needed: ShapedArray, *, static: Any, order: int) -> ShapedArray:
        return ShapedArray((*needed.shape, size, *order * x.shape[-1:]), x.dtype)

    primitive.def_impl(partial(jax.jit, static_argnames=("static", "order"))(tensor))
    primitive.def_abstract_eval(shape)
    mlir.register_lowering(primitive, mlir.lower_fun(tensor, multiple_results=False))
    ad.primitive_jvps[primitive] = partial(_jvp, bind)
    batching.primitive_batchers[primitive] = partial(_batch, bind)
    return bind


def _derivatives(smooth: Callable[..., Any], size: int, x: Reals, static: Any, order: int) -> Reals:
    derivative: Callable[..., Any] = partial(smooth, static)
    for _ in range(order):
        derivative = jax.jacfwd(derivative)
    some = derivative(x)
    # shape (size, entries of x, entries of x, ...)
    return jnp.pad(some, [(0, size - some.shape[0])] + [(0, 0)] * order)


def _where_needed(
    one: Callable[[Reals], Reals], x: Reals, needed: Truths, shape: tuple[int, ...]
) -> Reals:
    zero = jnp.zeros(shape)
    member = lambda a: jax.lax.cond(a[1], one, lambda _: zero, a[0])
    if not needed.ndim:
        return member((x, needed))
    each = lambda x, needed: jax.lax.map(member, (x.reshape(-1, x.shape[-1]), needed.ravel()))
    none = lambda x, needed: jnp.zeros((needed.size, *shape))
    return jax.lax.cond(jnp.any(needed), each, none, x, needed).reshape(*needed.shape, *shape)


def _jvp(
    bind: Callable[..., Reals],
    primals: tuple[Reals, Truths],
    tangents: Any,
    *,
    static: Any,
    order: int,
) -> tuple[Reals, Reals]:
    (x, needed), dx = primals, ad.instantiate_zeros(tangents[0])
    slope = bind(x, needed, static=static, order=order + 1)
    dx = dx.reshape(*needed.shape, *(1,) * (1 + order), x.shape[-1])
    return bind(x, needed, static=static, order=order), jnp.sum(slope * dx, axis=-1)


def _batch(
    bind: Callable[..., Reals],
    values: tuple[Reals, Truths],
    axes: tuple[Whole | None, Whole | None],
    **how: Any,
) -> tuple[Reals, Whole]:
    count = next(v.shape[a] for v, a in zip(values, axes, strict=True) if a is not None)
    front = (
        jnp.broadcast_to(v, (count, *v.shape)) if a is None else jnp.moveaxis(v, a, 0)
        for v, a in zip(values, axes, strict=True)
    )
    return bind(*front, **how), 0
