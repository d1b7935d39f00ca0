from pathlib import Path

import jax
import matplotlib as mpl
import pytest

import rfspec as rf

mpl.use("Agg")

MAPPINGS = 30_000  # Linux gives a process 65,530, a compiled program takes up to a thousand; XLA crashes past the last


@pytest.fixture(autouse=True, scope="module")
def _forget_compiled_programs():
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_text().count("\n") > MAPPINGS:
        jax.clear_caches()


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


@pytest.fixture(autouse=True)
def _names(doctest_namespace):
    doctest_namespace["rf"] = rf
