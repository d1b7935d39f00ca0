"""Functions that come with a rule for their derivatives.

``jax.custom_jvp`` says the same, but JAX loses it in reverse mode over reverse mode within a loop.
A primitive of its own is never looked into.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir


def ruled(f: Callable[..., Any], rule: Callable[..., Any]) -> Callable[..., Any]:
    """f(*args) for trees of numbers, whose derivative is rule(args, f(*args), args_dot).

    The rule is linear in args_dot, and may itself be differentiated.
    """
    flat = _Flat(f, rule)

    @functools.wraps(f)
    def call(*args: Any) -> Any:
        leaves, tree = jax.tree.flatten(args)
        # what is known needs no primitive
        if not any(isinstance(a, jax.core.Tracer) for a in leaves):
            return f(*args)
        found = flat.primitive.bind(*map(jnp.asarray, leaves), tree=tree, depth=0)
        return flat.structures[tree].unflatten(found)

    return call


class _Flat:
    # f and its rule as a primitive on the leaves of `tree`, in `depth` batches around one another
    def __init__(self, f: Callable[..., Any], rule: Callable[..., Any]):
        self.f, self.rule = f, rule
        # of the results, by that of the arguments
        self.structures: dict[Any, Any] = {}
        self.primitive = Primitive(getattr(f, "__name__", "ruled"))
        self.primitive.multiple_results = True
        self.primitive.def_impl(self.values)
        self.primitive.def_abstract_eval(self.shapes)
        lowered = mlir.lower_fun(self.values, multiple_results=True)
        mlir.register_lowering(self.primitive, lowered)
        ad.primitive_jvps[self.primitive] = self.jvp
        batching.primitive_batchers[self.primitive] = self.batched

    def values(self, *leaves: Any, tree: Any, depth: int) -> list[Any]:
        def one(*leaves: Any) -> list[Any]:
            found, self.structures[tree] = jax.tree.flatten(self.f(*tree.unflatten(leaves)))
            return found

        return _vmapped(one, depth)(*leaves)

    def shapes(self, *avals: Any, tree: Any, depth: int) -> list[Any]:
        like = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in avals]
        found = jax.eval_shape(functools.partial(self.values, tree=tree, depth=depth), *like)
        return [jax.core.ShapedArray(a.shape, a.dtype) for a in found]

    def jvp(self, primals: Any, tangents: Any, *, tree: Any, depth: int) -> tuple[Any, Any]:
        values = self.primitive.bind(*primals, tree=tree, depth=depth)
        count = len(primals)

        def one(*a: Any) -> list[Any]:
            args, args_dot = tree.unflatten(a[:count]), tree.unflatten(a[-count:])
            found = self.structures[tree].unflatten(a[count:-count])
            return jax.tree.leaves(self.rule(args, found, args_dot))

        args_dot = map(ad.instantiate_zeros, tangents)
        return values, _vmapped(one, depth)(*primals, *values, *args_dot)

    def batched(self, values: Any, axes: Any, *, tree: Any, depth: int) -> tuple[Any, Any]:
        count = next(v.shape[a] for v, a in zip(values, axes, strict=True) if a is not None)
        front = (
            jnp.broadcast_to(v, (count, *jnp.shape(v))) if a is None else jnp.moveaxis(v, a, 0)
            for v, a in zip(values, axes, strict=True)
        )
        found = self.primitive.bind(*front, tree=tree, depth=depth + 1)
        return found, [0] * len(found)


def _vmapped(f: Callable[..., Any], depth: int) -> Callable[..., Any]:
    for _ in range(depth):
        f = jax.vmap(f)
    return f
