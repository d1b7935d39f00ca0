r"""A batch of expensive numbers is walked through member by member.

Under `jax.vmap` a `lax.cond` computes both branches for every member and the arrays within stand in
memory for all of them at once. A function wrapped here meets the members of a batch one after the
other, whatever transformation made the batch, so that each takes the branch it needs and memory is
that of one. All derivatives are taken forward, inside.
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
    """g(x, needed, static) = f(static, x) where needed and 0 elsewhere, for vectors x and f,
    f of that size.

    The first entries of f are those of smooth(static, x), which are differentiated; the others are
    constants.

    A custom derivative would be lost within loops that are differentiated in reverse mode twice
    (JAX forgets it there); that of a primitive is not.
    """
    primitive = Primitive(name)

    def derivatives(x: Reals, *, static: Any, order: int) -> Reals:
        """Shape (size of f, entries of x, entries of x, ...)."""
        if not order:
            return f(static, x)
        derivative: Callable[..., Any] = partial(smooth, static)
        for _ in range(order):
            derivative = jax.jacfwd(derivative)
        some = derivative(x)
        return jnp.pad(some, [(0, size - some.shape[0])] + [(0, 0)] * order)

    def tensor(x: Reals, needed: Truths, *, static: Any, order: int) -> Reals:
        """The derivatives of that order for every member of a batch."""
        one = partial(derivatives, static=static, order=order)
        zero = jnp.zeros((size, *order * x.shape[-1:]))
        member = lambda a: jax.lax.cond(a[1], one, lambda _: zero, a[0])
        if not needed.ndim:
            return member((x, needed))
        each = lambda x, needed: jax.lax.map(member, (x.reshape(-1, x.shape[-1]), needed.ravel()))
        none = lambda x, needed: jnp.zeros((needed.size, *zero.shape))
        return jax.lax.cond(jnp.any(needed), each, none, x, needed).reshape(
            *needed.shape, *zero.shape
        )

    def bind(x: Reals, needed: Truths, *, static: Any, order: int = 0) -> Reals:
        return primitive.bind(x, needed, static=static, order=order)

    def abstract(x: ShapedArray, needed: ShapedArray, *, static: Any, order: int) -> ShapedArray:
        return ShapedArray((*needed.shape, size, *order * x.shape[-1:]), x.dtype)

    def rule(
        primals: tuple[Reals, Truths], tangents: Any, *, static: Any, order: int
    ) -> tuple[Reals, Reals]:
        (x, needed), dx = primals, ad.instantiate_zeros(tangents[0])
        slope = bind(x, needed, static=static, order=order + 1)
        dx = dx.reshape(*needed.shape, *(1,) * (1 + order), x.shape[-1])
        return bind(x, needed, static=static, order=order), jnp.sum(slope * dx, axis=-1)

    def batch(
        values: tuple[Reals, Truths], axes: tuple[Whole, Whole], **how: Any
    ) -> tuple[Reals, Whole]:
        count = next(v.shape[a] for v, a in zip(values, axes, strict=True) if a is not None)
        front = (
            jnp.broadcast_to(v, (count, *v.shape)) if a is None else jnp.moveaxis(v, a, 0)
            for v, a in zip(values, axes, strict=True)
        )
        return bind(*front, **how), 0

    primitive.def_impl(partial(jax.jit, static_argnames=("static", "order"))(tensor))
    primitive.def_abstract_eval(abstract)
    mlir.register_lowering(primitive, mlir.lower_fun(tensor, multiple_results=False))
    ad.primitive_jvps[primitive] = rule
    batching.primitive_batchers[primitive] = batch
    return bind
