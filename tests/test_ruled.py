"""Functions with a rule for their derivatives, on a root that a loop finds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rfspec as rf
from rfspec.numerics.ruled import ruled


def _root(numbers, shift):
    # x² = a + shift, by Newton's method in a loop that has no derivative
    a = numbers["a"] + shift
    step = lambda carry: (carry[0] + 1, (carry[1] + a / carry[1]) / 2)
    return {"x": jax.lax.while_loop(lambda carry: carry[0] < 60, step, (0, 1.0 + 0.0 * a))[1]}


def _moved(args, found, moved):
    return {"x": (moved[0]["a"] + moved[1]) / (2.0 * found["x"])}


root = ruled(_root, _moved)
square_root = lambda a: root({"a": a}, 1.0)["x"]
A = np.array([0.5, 2.0, 7.0])
SECOND = {
    "forward over forward": lambda f: jax.jacfwd(jax.jacfwd(f)),
    "forward over reverse": lambda f: jax.jacfwd(jax.jacrev(f)),
    "reverse over forward": lambda f: jax.jacrev(jax.jacfwd(f)),
    "reverse over reverse": lambda f: jax.jacrev(jax.jacrev(f)),
}
MANY = {
    "vmap": lambda a: jax.vmap(square_root)(a),
    "map": lambda a: jax.lax.map(square_root, a),
    "vmap in map": lambda a: jax.lax.map(jax.vmap(square_root), a[:, None])[:, 0],
    "vmap of vmap": lambda a: jax.vmap(jax.vmap(square_root))(a[:, None])[:, 0],
}


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "jit"])
@pytest.mark.parametrize("many", MANY)
@pytest.mark.parametrize("mode", SECOND)
def test_second_derivatives_in_every_mode(mode, many, compiled):
    found = SECOND[mode](lambda a: jnp.sum(MANY[many](a)))
    found = (jax.jit(found) if compiled else found)(A)
    np.testing.assert_allclose(found, np.diag(-0.25 * (A + 1.0) ** -1.5), rtol=1e-13)


def test_values_and_third_derivatives():
    np.testing.assert_allclose(square_root(3.0), 2.0, rtol=1e-15)
    np.testing.assert_allclose(jax.vmap(square_root)(A), np.sqrt(A + 1.0), rtol=1e-15)
    third = jax.grad(jax.grad(jax.grad(square_root)))(3.0)
    np.testing.assert_allclose(third, 3.0 / 8.0 * 4.0**-2.5, rtol=1e-13)


def test_a_number_that_is_not_traced_moves_nothing():
    of_shift = jax.grad(lambda shift: root({"a": 3.0}, shift)["x"])
    np.testing.assert_allclose(of_shift(1.0), 0.25, rtol=1e-15)


def test_the_best_time_in_a_loop_has_second_derivatives():
    tau = lambda n: rf.early_stopping(rf.RandomFeatureModel(64.0, n, 0.01)).tau
    total = lambda n: jnp.sum(jax.lax.map(tau, n))
    found = jax.jit(jax.jacrev(jax.jacrev(total)))(np.array([8.0]))
    forward = jax.jacfwd(jax.jacfwd(tau))(8.0)
    np.testing.assert_allclose(found, [[forward]], rtol=1e-10)
