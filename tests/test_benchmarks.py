"""Benchmarks count, fit and report right; what they measure is not asked here."""

import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(autouse=True)
def beside(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)


def test_operations_are_counted_as_loops_run():
    """Where a batch goes on until its last member has ended, all members pay for all of it."""
    from operations import executed

    def halved(x):
        return jax.lax.while_loop(lambda x: x > 1.0, lambda x: 0.5 * x, x)

    assert executed(halved, 8.0).products == 3
    assert executed(jax.vmap(halved), jnp.array([8.0, 2.0])).products == 2 * 3
    scanned = lambda x: jax.lax.scan(lambda c, _: (c * c + 1.0, c), x, length=5)[0]
    assert executed(scanned, 2.0).products == 5 * 2
    chosen = lambda x: jax.lax.cond(x > 0, lambda x: x * x, jnp.exp, x)
    assert executed(chosen, 1.0)[:3] == (1, 0, 0)
    assert executed(chosen, -1.0)[:3] == (0, 0, 1)
    found = executed(lambda z: z * z + 1.0 / z, jnp.ones(3) + 1j)
    assert (found.products, found.complex_quotients) == (3 * (6 + 2), 3)
    assert found.total == 3 * (8 + 11)
    assert executed(lambda A: A @ A, jnp.ones((4, 4))).products == 2 * 4**3


def test_a_call_that_runs_programs_is_counted_as_a_user_makes_it():
    """What it decides on the way depends on numbers, which stay numbers."""
    from operations import asked

    squared, rooted = jax.jit(lambda x: x * x), jax.jit(jnp.sqrt)
    call = lambda x: rooted(squared(x)) if float(squared(x)) > 1.0 else squared(x) + 1.0
    assert asked(lambda: call(jnp.ones(3)[0] * 2.0))[:2] == (1 + 2, 1)
    assert asked(lambda: call(0.5))[:2] == (3, 0)


def test_exponents_are_those_of_the_upper_decades():
    from bench_scaling import exponent

    sizes = np.array([1, 10, 100, 1000, 10000])
    assert exponent(sizes, 1e-9 * sizes**2.0) == pytest.approx(2.0)
    assert exponent(sizes, 1.0 + 1e-4 * sizes**3.0) == pytest.approx(3.0, abs=1e-3)


def test_the_cheapest_way_to_an_accuracy_reaches_it():
    """With a bias of 1/d and a scatter of 2/d, and the least of all others that do."""
    from equal_accuracy import Law, cheapest, cost

    seconds = cost(np.array([8.0, 16.0]), np.array([1.0, 8.0]))
    assert seconds(32.0) == pytest.approx(64.0)
    d, draws, total = cheapest(Law(1.0, 0.0, 2.0, 1.0), 1e-3, seconds)
    assert np.hypot(1 / d, 2 / d / draws**0.5) <= 1e-3
    assert total == pytest.approx(draws * seconds(d))
    for other in np.linspace(1001, 4000, 30):
        enough = np.ceil((2 / other) ** 2 / (1e-6 - other**-2))
        assert max(2.0, enough) * seconds(other) >= 0.98 * total


def test_the_closed_form_at_infinite_width_is_printed_for_one_model():
    import kernel_limit

    import rfspec as rf

    model = rf.RandomFeatureModel(1e6, 8.0, 0.1)
    printed = [[0.957620, 0.823311, 0.785031, 0.633250], [0.957652, 0.832353, 0.841565, 0.911808]]
    assert np.allclose(kernel_limit.losses(model, [1.0, 10.0, 100.0, 1e3]), printed, atol=2e-6)


def test_only_what_stands_between_markers_is_replaced():
    from draw import filled, number

    text = "before\n<!-- a -->\nold\n<!-- end of a -->\nafter\n"
    assert filled(text, "a", "new\n") == text.replace("old", "new")
    with pytest.raises(ValueError, match="markers"):
        filled(text, "b", "")
    assert [number(x) for x in (1234.0, 3.1e7, 2e-5, None)] == ["1230", "3.1·10⁷", "2·10⁻⁵", ""]


def test_results_are_whole_or_not_there(tmp_path):
    from common import replaced, to_text

    path = replaced(tmp_path / "new" / "a.json", to_text({"x": [float("nan"), 1.0]}))
    assert json.loads(path.read_text()) == {"x": [None, 1.0]}
    assert [p.name for p in path.parent.iterdir()] == ["a.json"]


def test_the_runner_goes_on_after_a_failed_claim(tmp_path):
    """And ends with the status of the worst."""
    (tmp_path / "common.py").write_text((FOLDER / "common.py").read_text())
    (tmp_path / "run.py").write_text((FOLDER / "run.py").read_text())
    for name, status in (("a", 1), ("b", 0), ("gpu", 3)):
        line = "A CLAIM DOES NOT HOLD" if status == 1 else ""
        script = f"import sys\nprint('{line}', *sys.argv[1:])\nsys.exit({status})\n"
        (tmp_path / f"bench_{name}.py").write_text(script)
    run = lambda *names: subprocess.run(
        [sys.executable, tmp_path / "run.py", "--fast", *names], capture_output=True, text=True
    )
    both = run()
    assert both.returncode == 1
    assert "A CLAIM FAILS" in both.stdout
    assert "bench_b.py" in both.stdout.split("== all")[1]
    assert "gpu" not in both.stdout
    assert run("b").returncode == 0
    assert "failed, status 3" in run("gpu").stdout
