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

    def leaves_of(*leaves: Any, tree: Any, depth: int) -> list[Any]:
        one = lambda *a: jax.tree.leaves(f(*jax.tree.unflatten(tree, a)))
        return _vmapped(one, depth)(*leaves)

    @functools.lru_cache
    def shapes(avals: tuple[Any, ...], tree: Any) -> tuple[list[Any], Any]:
        like = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in avals]
        return jax.tree.flatten(jax.eval_shape(f, *jax.tree.unflatten(tree, like)))

    def shapes_of(*avals: Any, tree: Any, depth: int) -> list[Any]:
        inner = tuple(jax.core.ShapedArray(a.shape[depth:], a.dtype) for a in avals)
        before = avals[0].shape[:depth]
        return [jax.core.ShapedArray((*before, *s.shape), s.dtype) for s in shapes(inner, tree)[0]]

    def jvp(primals: Any, tangents: Any, *, tree: Any, depth: int) -> tuple[list[Any], list[Any]]:
        values = primitive.bind(*primals, tree=tree, depth=depth)
        inner = tuple(jax.core.ShapedArray(jnp.shape(a)[depth:], a.dtype) for a in primals)
        structure, count = shapes(inner, tree)[1], len(primals)

        def one(*a: Any) -> list[Any]:
            args, found, moved = a[:count], a[count:-count], a[-count:]
            of = functools.partial(jax.tree.unflatten, tree)
            return jax.tree.leaves(rule(of(args), structure.unflatten(found), of(moved)))

        moved = [ad.instantiate_zeros(t) for t in tangents]
        return values, _vmapped(one, depth)(*primals, *values, *moved)

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
        avals = tuple(jax.core.ShapedArray(a.shape, a.dtype) for a in leaves)
        found = primitive.bind(*leaves, tree=tree, depth=0)
        return shapes(avals, tree)[1].unflatten(found)

    return call


def _vmapped(f: Callable[..., Any], depth: int) -> Callable[..., Any]:
    for _ in range(depth):
        f = jax.vmap(f)
    return f
