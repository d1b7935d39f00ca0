"""Functions that come with a rule for their derivatives.

``jax.custom_jvp`` says the same, but JAX loses it in reverse mode over reverse mode within a loop.
A primitive of its own is never looked into.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir


def ruled(f: Callable[..., Any], rule: Callable[..., Any]) -> Callable[..., Any]:
    """f(*args) for trees of numbers, whose derivative is rule(args, f(*args), args_dot).

    The rule is linear in args_dot, and may itself be differentiated.
    """
    primitive = Primitive(getattr(f, "__name__", "ruled"))
    primitive.multiple_results = True

    # of the results, by that of the arguments
    structures: dict[Any, Any] = {}

    def one(*leaves: Any, tree: Any) -> list[Any]:
        found, structures[tree] = jax.tree.flatten(f(*tree.unflatten(leaves)))
        return found

    def leaves_of(*leaves: Any, tree: Any, depth: int) -> list[Any]:
        return _vmapped(functools.partial(one, tree=tree), depth)(*leaves)

    def shapes_of(*avals: Any, tree: Any, depth: int) -> list[Any]:
        like = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in avals]
        found = jax.eval_shape(functools.partial(leaves_of, tree=tree, depth=depth), *like)
        return [jax.core.ShapedArray(a.shape, a.dtype) for a in found]

    def jvp(primals: Any, tangents: Any, *, tree: Any, depth: int) -> tuple[list[Any], list[Any]]:
        values = primitive.bind(*primals, tree=tree, depth=depth)
        count = len(primals)

        def moved(*a: Any) -> list[Any]:
            args, args_dot = tree.unflatten(a[:count]), tree.unflatten(a[-count:])
            return jax.tree.leaves(
                rule(args, structures[tree].unflatten(a[count:-count]), args_dot)
            )

        args_dot = [ad.instantiate_zeros(t) for t in tangents]
        return values, _vmapped(moved, depth)(*primals, *values, *args_dot)

    def batch(values: Any, axes: Any, *, tree: Any, depth: int) -> tuple[list[Any], Sequence[int]]:
        count = next(v.shape[a] for v, a in zip(values, axes, strict=True) if a is not None)
        front = (
            jnp.broadcast_to(v, (count, *jnp.shape(v))) if a is None else jnp.moveaxis(v, a, 0)
            for v, a in zip(values, axes, strict=True)
        )
        found = primitive.bind(*front, tree=tree, depth=depth + 1)
        return found, [0] * len(found)

    primitive.def_impl(leaves_of)
    primitive.def_abstract_eval(shapes_of)
    mlir.register_lowering(primitive, mlir.lower_fun(leaves_of, multiple_results=True))
    ad.primitive_jvps[primitive] = jvp
    batching.primitive_batchers[primitive] = batch

    @functools.wraps(f)
    def call(*args: Any) -> Any:
        leaves, tree = jax.tree.flatten(args)
        # what is known needs no primitive
        if not any(isinstance(a, jax.core.Tracer) for a in leaves):
            return f(*args)
        leaves = [jnp.asarray(a) for a in leaves]
        found = primitive.bind(*leaves, tree=tree, depth=0)
        return structures[tree].unflatten(found)

    return call


def _vmapped(f: Callable[..., Any], depth: int) -> Callable[..., Any]:
    for _ in range(depth):
        f = jax.vmap(f)
    return f
