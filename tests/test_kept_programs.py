"""A program of known numbers is traced once for all sessions, or anew where that is not certain."""

import functools
import importlib.util
import inspect
import pickle
import sys
import types

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rfspec as rf
from rfspec.models import gaussian_equivalent
from rfspec.numerics import kept, programs
from rfspec.numerics.programs import program

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("flatbuffers") is None, reason="jax.export writes with flatbuffers"
)
traced = []


class Pair(eqx.Module):
    a: jax.Array
    label: str = eqx.field(static=True)


Pair.__module__ = "rfspec.pair"  # as if it belonged to the package


def scaled(pair, x, power=2):
    traced.append(power)
    return {"sum": pair.a + x**power, "pair": Pair(pair.a * x, pair.label)}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A session that keeps its programs here; every `program` in it is new, as in another one."""
    monkeypatch.setattr(kept, "own_folder", lambda: tmp_path)
    monkeypatch.setitem(sys.modules, "rfspec.pair", sys.modules[__name__])
    traced.clear()
    return tmp_path


def anew(f):
    """The same function, of which JAX does not know that it has traced it."""
    copy = types.FunctionType(f.__code__, f.__globals__, f.__name__, f.__defaults__)
    return functools.update_wrapper(copy, f)


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def ask(label="one", x=3.0, **static):
    known = program(anew(scaled), static_argnames="power")
    return known(Pair(np.array([1.0, 2.0]), label), x, **static)


def test_what_one_session_has_traced_the_next_one_reads(folder):
    before = dict(kept.events)
    first, second = ask(), ask()
    assert traced == [2]
    assert kept.events[kept.TRACED] == before.get(kept.TRACED, 0) + 1
    assert kept.events[kept.READ] == before.get(kept.READ, 0) + 1
    assert jax.tree.structure(first) == jax.tree.structure(second)
    assert eqx.tree_equal(first, second, jax.jit(scaled)(Pair(np.array([1.0, 2.0]), "one"), 3.0))
    assert len(files(folder)) == 1


def test_other_numbers_are_no_other_program(folder):
    ask(x=3.0)
    assert np.array_equal(ask(x=4.0)["sum"], [17.0, 18.0])
    assert traced == [2]


def test_what_is_no_number_is_another_program(folder):
    ask()
    assert ask("two")["pair"].label == "two"
    assert np.array_equal(ask(power=3)["sum"], [28.0, 29.0])
    ask(x=np.array([1.0, 2.0]))
    with jax.default_matmul_precision("float32"):
        ask()
    assert traced == [2, 2, 3, 2, 2]
    assert len(files(folder)) == 5


def test_static_arguments_may_stand_at_their_place(folder):
    known = program(scaled, static_argnames="power")
    pair = Pair(np.array([1.0, 2.0]), "one")
    assert np.all(known(pair, 3.0, 3)["sum"] == known(x=3.0, power=3, pair=pair)["sum"])
    assert len(files(folder)) == 1


def test_functions_that_take_no_names_are_kept(folder):
    for _ in range(2):
        mapped = program(jax.vmap(anew(scaled), in_axes=(None, 0)))
        found = mapped(Pair(jnp.asarray(2.0), "one"), np.array([1.0, 3.0]))
        np.testing.assert_allclose(found["sum"], [3.0, 11.0])
    assert len(files(folder)) == 1
    assert traced == [2]


def test_derivatives_and_maps_are_traced(folder):
    total = lambda x: jnp.sum(ask(x=x)["sum"])
    assert jax.grad(total)(3.0) == 12.0
    assert np.array_equal(jax.vmap(total)(np.array([1.0, 2.0])), [5.0, 11.0])
    assert jax.jit(total)(3.0) == 21.0
    assert not files(folder)


def test_without_compilation_nothing_is_kept(folder):
    with jax.disable_jit():
        ask()
    assert traced == [2]
    assert not files(folder)


def test_known_numbers_inside_of_transformations_are_known(folder):
    times = lambda x: x * ask()["sum"][0]
    assert times(1.0) == jax.jit(times)(1.0) == jax.grad(times)(1.0) == 10.0
    assert jax.grad(jax.jit(times))(1.0) == 10.0
    assert np.all(jax.vmap(times)(np.ones(2)) == 10.0)
    assert np.all(jax.vmap(jax.jit(times))(np.ones(2)) == 10.0)
    assert traced == [2]


def of_a_function(f, x):
    traced.append(f)
    return f(x)


@pytest.mark.parametrize(
    "f", [lambda x: 2 * x, functools.partial(lambda x: 2 * x), of_a_function], ids=range(3)
)
def test_functions_of_the_users_own_are_traced(folder, f):
    """Another function may have the same name tomorrow."""
    if f is of_a_function:
        f = functools.partial(of_a_function, jnp.sin)
    for _ in range(2):
        program(anew(of_a_function), static_argnames="f")(f, 1.0)
    assert len(traced) >= 2
    assert not files(folder)


def test_functions_of_jax_are_known_by_their_names(folder):
    for f in (jax.lax.sin, jax.lax.cos, jax.lax.sin):
        assert program(anew(of_a_function), static_argnames="f")(f, 1.0) == f(1.0)
    assert traced == [jax.lax.sin, jax.lax.cos]


def test_a_package_that_has_been_edited_meanwhile_is_traced(folder, monkeypatch):
    ask()
    monkeypatch.setattr(programs, "_sources", lambda: [("one.py", 1, 1)])
    ask()
    assert traced == [2, 2]
    # a session that has begun afterwards
    monkeypatch.setattr(programs, "_SOURCES", [("one.py", 1, 1)])
    ask()
    ask()
    assert traced == [2, 2, 2]
    assert len(files(folder)) == 2


@pytest.mark.parametrize("content", [b"", b"no pickle", pickle.dumps((b"no program", [0]))])
def test_a_broken_file_is_replaced(folder, content):
    first = ask()
    (path,) = folder.iterdir()
    path.write_bytes(content)
    assert eqx.tree_equal(first, ask(), ask())
    assert traced == [2, 2]


def test_a_program_that_cannot_be_kept_is_traced(folder, monkeypatch):
    def fails(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(programs, "_made", fails)
    assert np.all(ask()["sum"] == ask()["sum"])
    assert not files(folder)


def test_nothing_is_kept_where_rfspec_has_no_folder(folder, monkeypatch):
    monkeypatch.setattr(kept, "own_folder", lambda: None)
    ask()
    ask()
    assert traced == [2, 2]
    assert not files(folder)


def test_constants_are_the_same_from_a_kept_program(folder, monkeypatch):
    model, found = rf.RandomFeatureModel(8.0, 2.0, 0.3), []
    of_files = inspect.unwrap(gaussian_equivalent._by_hermite_sum)
    for _ in range(2):
        monkeypatch.setattr(gaussian_equivalent, "_by_hermite_sum", program(anew(of_files)))
        found.append(rf.gaussian_equivalent(model))
    monkeypatch.setattr(kept, "own_folder", lambda: None)
    assert eqx.tree_equal(*found, rf.gaussian_equivalent(model))
    assert [name.split("-")[0] for name in files(folder)] == ["_by_hermite_sum"]
