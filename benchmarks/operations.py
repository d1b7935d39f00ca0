"""How many operations a JAX function executes: loops and branches are counted as they are run.

`executed(f, *args)` traces f with its operations beside its result, so that one compiled program
counts while it computes. `asked(call)` takes a call as a user makes it: the compiled programs that
it runs are counted so, one after the other. Operations of real numbers are

    products    additions and multiplications; a complex product is 6 of them, a complex sum 2
    quotients   divisions and roots; complex ones have a column of their own, since what a
                compiler makes of them is longer than the 11 operations of their formula
    elementary  exponentials, logarithms, sines, powers

Comparisons, selections, conversions and integers are not counted.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax._src import core  # nothing public sees the programs that a call runs
from jax.extend.core import Literal

SUMS = {"add", "add_any", "sub", "neg", "max", "min", "abs", "reduce_max", "reduce_min", "sign"}
ROOTS = {"sqrt", "rsqrt", "cbrt"}
ELEMENTARY = {
    *("exp", "exp2", "expm1", "log", "log1p", "sin", "cos", "tan", "tanh", "sinh", "cosh", "pow"),
    *("atan2", "asin", "acos", "atan", "erf", "erfc", "erf_inv", "lgamma", "digamma", "logistic"),
}
INSIDE = ("jaxpr", "call_jaxpr", "fun_jaxpr")


class Operations(NamedTuple):
    """Of real numbers, but for complex_quotients and complex_elementary."""

    products: float = 0.0
    quotients: float = 0.0
    elementary: float = 0.0
    complex_quotients: float = 0.0
    complex_elementary: float = 0.0

    @property
    def total(self):
        """Each complex quotient as the 11 operations of its formula, each function as one."""
        real = self.products + self.quotients + self.elementary
        return real + 11 * self.complex_quotients + 2 * self.complex_elementary


def plus(a, b):
    return Operations(*(x + y for x, y in zip(a, b, strict=True)))


def times(a, factor):
    return Operations(*(factor * x for x in a))


def of_equation(eqn):
    """Operations of one primitive on whole arrays."""
    name, out = eqn.primitive.name, eqn.outvars[0].aval
    into = eqn.invars[0].aval if eqn.invars else out
    dtype = into.dtype if hasattr(into, "dtype") else np.dtype(float)
    is_complex = jnp.issubdtype(dtype, jnp.complexfloating)
    if not (is_complex or jnp.issubdtype(dtype, jnp.floating)):
        return Operations()
    size = float(np.prod(out.shape)) if hasattr(out, "shape") else 0.0
    return _of_arithmetic(name, eqn, into, size, is_complex)


def _of_arithmetic(name, eqn, into, size, is_complex):
    if name in SUMS:
        return Operations(products=size * (2 if is_complex else 1))
    if name in ("mul", "square"):
        return Operations(products=size * (6 if is_complex else 1))
    if name == "integer_pow":
        power = abs(eqn.params["y"])
        found = Operations(products=size * (6 if is_complex else 1) * max(0, power - 1))
        return plus(found, _quotients(size, is_complex)) if eqn.params["y"] < 0 else found
    if name == "div" or name in ROOTS:
        return _quotients(size, is_complex)
    if name in ELEMENTARY:
        key = "complex_elementary" if is_complex else "elementary"
        return Operations(**{key: size})
    if name in ("reduce_sum", "cumsum", "reduce_prod"):
        each = {(False, "reduce_prod"): 1, (True, "reduce_prod"): 6}.get((is_complex, name))
        return Operations(products=np.prod(into.shape) * (each or (2 if is_complex else 1)))
    if name == "dot_general":
        (contracted, _), _ = eqn.params["dimension_numbers"]
        inner = np.prod([into.shape[i] for i in contracted])
        return Operations(products=size * inner * (8 if is_complex else 2))
    return Operations()


def _quotients(size, is_complex):
    return Operations(**{"complex_quotients" if is_complex else "quotients": size})


def counted(f):
    """f(*args) and the operations that it executed."""

    def with_operations(*args):
        closed, shape = jax.make_jaxpr(f, return_shape=True)(*args)
        outs, operations = _walk(closed.jaxpr, closed.consts, jax.tree.leaves(args))
        result = jax.tree.unflatten(jax.tree.structure(shape), outs)
        return result, Operations(*map(jnp.asarray, operations))

    return with_operations


def executed(f, *args):
    """The operations of f(*args), as numbers."""
    return Operations(*map(float, jax.jit(counted(f))(*args)[1]))


def asked(call):
    """The operations of call(), which may run many programs and decide between them."""
    trace = _Counting()
    with core.set_current_trace(trace):
        jax.block_until_ready(call())
    return trace.total


class _Counting(core.Trace):
    # numbers stay numbers: what is computed is computed at once, and counted

    def __init__(self):
        super().__init__()
        self.total, self.programs = Operations(), {}

    def process_primitive(self, primitive, args, params, **_):
        with core.set_current_trace(core.eval_trace):
            inner = next((params[key] for key in INSIDE if key in params), None)
            if inner is not None:
                outs, found = self._program(inner)(*args)
                self.total = plus(self.total, map(float, found))
                return outs
            outs = primitive.bind(*args, **params)
            several = outs if primitive.multiple_results else [outs]
            eqn = _Equation(primitive, _abstract(args), _abstract(several), params)
            self.total = plus(self.total, of_equation(eqn))
            return outs

    def _program(self, inner):
        if id(inner) not in self.programs:
            run = lambda *args: _arrays(_walk(*_opened(inner), args))
            # beside the program, whose identity is the key
            self.programs[id(inner)] = jax.jit(run), inner
        return self.programs[id(inner)][0]

    def process_custom_jvp_call(self, primitive, fun, jvp, tracers, **_):
        return fun.call_wrapped(*tracers)

    def process_custom_vjp_call(self, primitive, fun, fwd, bwd, tracers, **_):
        return fun.call_wrapped(*tracers)


class _Equation(NamedTuple):
    primitive: object
    invars: list
    outvars: list
    params: dict


class _Abstract(NamedTuple):
    aval: jax.ShapeDtypeStruct


def _abstract(values):
    return [_Abstract(jax.ShapeDtypeStruct(np.shape(v), jnp.result_type(v))) for v in values]


def _arrays(found):
    outs, operations = found
    return outs, tuple(map(jnp.asarray, operations))


def _walk(jaxpr, consts, args):
    values = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*consts, *args), strict=True))
    read = lambda v: v.val if isinstance(v, Literal) else values[v]
    total = Operations()
    for eqn in jaxpr.eqns:
        outs, found = _evaluated(eqn, [read(v) for v in eqn.invars])
        values.update(zip(eqn.outvars, outs, strict=True))
        total = plus(total, found)
    return [read(v) for v in jaxpr.outvars], total


def _evaluated(eqn, inputs):
    name = eqn.primitive.name
    if name in LOOPS:
        return LOOPS[name](eqn.params, inputs)
    inner = next((eqn.params[key] for key in INSIDE if key in eqn.params), None)
    if inner is not None:
        return _walk(*_opened(inner), inputs)
    outs = eqn.primitive.bind(*inputs, **eqn.params)
    return (outs if eqn.primitive.multiple_results else [outs]), of_equation(eqn)


def _opened(inner):
    return (inner.jaxpr, inner.consts) if hasattr(inner, "consts") else (inner, [])


def _numbers(operations):
    return tuple(jnp.asarray(x, float) for x in operations)


def _while(params, inputs):
    test, body = params["cond_jaxpr"], params["body_jaxpr"]
    a, b = params["cond_nconsts"], params["cond_nconsts"] + params["body_nconsts"]

    tested = lambda values: _walk(*_opened(test), [*inputs[:a], *values])

    def holds(carry):
        return jnp.any(tested(carry[0])[0][0])

    def step(carry):
        values, so_far = carry
        (goes_on,), of_test = tested(values)
        outs, found = _walk(*_opened(body), [*inputs[a:b], *values])
        # a batch goes on until its last member has ended, and those that have keep their values
        kept = [_chosen(goes_on, new, old) for new, old in zip(outs, values, strict=True)]
        return kept, _numbers(plus(plus(so_far, found), of_test))

    outs, found = jax.lax.while_loop(holds, step, (list(inputs[b:]), _numbers(Operations())))
    return outs, Operations(*found)


def _chosen(goes_on, new, old):
    if not jnp.ndim(goes_on):
        return new
    wide = (*jnp.shape(goes_on), *(1,) * (jnp.ndim(new) - jnp.ndim(goes_on)))
    return jnp.where(jnp.reshape(goes_on, wide), new, old)


def _scan(params, inputs):
    a, b = params["num_consts"], params["num_consts"] + params["num_carry"]

    def step(carry, x):
        values, so_far = carry
        outs, found = _walk(*_opened(params["jaxpr"]), [*inputs[:a], *values, *x])
        return (outs[: b - a], _numbers(plus(so_far, found))), outs[b - a :]

    (last, found), each = jax.lax.scan(
        step,
        (list(inputs[a:b]), _numbers(Operations())),
        list(inputs[b:]),
        length=params["length"],
        reverse=params["reverse"],
    )
    return [*last, *each], Operations(*found)


def _cond(params, inputs):
    def branch(inner):
        def run(*args):
            outs, found = _walk(*_opened(inner), args)
            return outs, _numbers(found)

        return run

    outs, found = jax.lax.switch(inputs[0], [branch(b) for b in params["branches"]], *inputs[1:])
    return outs, Operations(*found)


LOOPS = {"while": _while, "scan": _scan, "cond": _cond}
