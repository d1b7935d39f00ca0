"""Programs compile with XLA's settings of their own, unless something else decides."""

import gc

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rfspec as rf
from rfspec.numerics import compiling, session
from rfspec.resolvent import solver

EMITTERS, LEVEL = "xla_cpu_use_fusion_emitters", "xla_backend_optimization_level"
WIDTH = "xla_cpu_prefer_vector_width"


@pytest.fixture
def of_old_jax(monkeypatch):
    monkeypatch.setattr(compiling, "version", lambda _: "0.10.2")
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    monkeypatch.delenv("XLA_FLAGS", raising=False)


@pytest.mark.parametrize(
    ("flags", "left"),
    [
        ("", {EMITTERS, LEVEL, WIDTH}),
        (f"--{EMITTERS}=true", {LEVEL, WIDTH}),
        (f"--{LEVEL}=3 --{EMITTERS}=true --{WIDTH}=256", set()),
    ],
)
def test_what_the_user_has_chosen_stays(monkeypatch, of_old_jax, flags, left):
    monkeypatch.setenv("XLA_FLAGS", flags)
    assert set(compiling.quick_options()) == left


def test_other_versions_and_devices_are_left_alone(monkeypatch, of_old_jax):
    monkeypatch.setattr(compiling, "version", lambda _: "0.11.2")
    assert set(compiling.quick_options()) == {WIDTH}
    monkeypatch.setattr(compiling, "version", lambda _: "1.0.0")
    assert compiling.quick_options() == {}
    monkeypatch.setattr(compiling, "version", lambda _: "0.10.2")
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert compiling.quick_options() == {}


def test_a_program_works_alone_and_inside_others(monkeypatch):
    # an option that every version knows
    options = {LEVEL: 1}
    monkeypatch.setattr(compiling, "quick_options", lambda: options)
    collects = []

    @compiling.jit
    def f(x):
        collects.append(gc.isenabled())
        return jnp.sin(x)

    x = np.array([0.1, 0.2])
    np.testing.assert_allclose(f(x), np.sin(x), rtol=1e-15)
    one = lambda x: f(x) + f(np.array(0.3))
    expected = np.sin(x) + np.sin(0.3)
    for g in (jax.jit(one), jax.vmap(one), lambda x: jax.lax.map(one, x), jax.checkpoint(one)):
        np.testing.assert_allclose(g(x), expected, rtol=1e-15)
    slopes = jax.jit(jax.vmap(jax.grad(one)))(x)
    np.testing.assert_allclose(slopes, np.cos(x), rtol=1e-15)
    assert collects
    assert not any(collects)
    assert gc.isenabled()
    with pytest.raises(ValueError, match="of its own"):
        compiling.jit(_fails)(1.0)


def _fails(_):
    raise ValueError("of its own")


def test_many_points_are_solved_in_parts(monkeypatch):
    model = rf.RandomFeatureModel(64.0, 8.0, 0.01)
    z = np.geomspace(1e-3, 1e2, 700).reshape(7, 100) + 1e-3j
    whole = rf.solve(model, z)
    monkeypatch.setattr(session, "PART", 256)
    solve, sizes = solver._solve, []
    monkeypatch.setattr(solver, "_solve", lambda eq, z: (sizes.append(z.size), solve(eq, z))[1])
    parts = rf.solve(model, z)
    assert sizes == [256, 256, 256]
    for one, other in zip(jax.tree.leaves(whole), jax.tree.leaves(parts), strict=True):
        assert one.shape == (7, 100)
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-14)
    slope = jax.grad(lambda p: jnp.sum(rf.solve(rf.RandomFeatureModel(p, 8.0, 0.01), z).q.real))
    assert np.isfinite(slope(64.0))
