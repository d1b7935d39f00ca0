"""Which of the roots on the real axis is the solution can be told from the root alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from continued import continued_from_above
from problems import draw

import rfspec as rf
from rfspec.numerics.holomorphic import newton_step
from rfspec.resolvent.branch import is_the_solution
from rfspec.resolvent.equations import equations
from rfspec.spectra.search import is_inside

POINTS, STARTS = 24, 8


def close(u, other, relative):
    return jnp.all(
        jnp.stack([jnp.abs(a - b) < relative * jnp.abs(b) for a, b in zip(u, other, strict=True)]),
        axis=0,
    )


@jax.jit
def roots(eq, key):
    """At points along the axis the solution continued from above, and roots from starts that it is
    multiplied into: whether each has settled, is certified, and is the solution.
    """

    def settled(x, *u):
        step = lambda v: newton_step(lambda *w: eq.residual(w, x + 0j), v)
        before = jax.lax.fori_loop(0, 40, lambda _, v: step(v), u)
        return before, close(step(before), before, 1e-9)

    def at(x, key):
        truth = continued_from_above(eq, x + 0j)
        re, im = jax.random.normal(key, (2, STARTS, len(truth)))
        started = tuple(
            v * (re[:, i] + 1j * im[:, i] * (jnp.arange(STARTS) % 2)) for i, v in enumerate(truth)
        )
        u, found = jax.vmap(lambda *u: settled(x, *u))(*started)
        certified = jax.vmap(lambda *u: is_the_solution(eq, u, x))(*u)
        same = close(u, truth, 1e-6) & (
            jax.vmap(lambda *u: is_inside(eq, u))(*u) == is_inside(eq, truth)
        )
        return found, certified, same, is_the_solution(eq, truth, x)

    x = eq.upper_bound * jnp.geomspace(1e-8, 1.0, POINTS)
    return jax.vmap(at)(x, jax.random.split(key, POINTS))


@pytest.mark.filterwarnings("ignore::rfspec.SaturationWarning")
@pytest.mark.parametrize(
    ("draws", "models"),
    [((np.inf,), 60), pytest.param((1, 2, 5), 200, marks=pytest.mark.slow)],
    ids=["all", "few"],
)
def test_a_certificate_tells_the_solution_from_other_roots(draws, models):
    rng = np.random.default_rng(4)
    others = told = 0
    for i in range(models):
        model = draw(rng, draws, atoms=4)
        eq = equations(model, rf.gaussian_equivalent(model))
        found, certified, same, truth = map(np.asarray, roots(eq, jax.random.key(i)))
        assert np.all(same[certified]), model
        others += np.sum(found & ~same)
        told += np.sum(truth)
    assert others > POINTS * models / 4  # there are roots to be told from
    assert told > 0.9 * POINTS * models  # and few solutions for which the long way is needed
