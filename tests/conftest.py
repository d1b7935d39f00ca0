from pathlib import Path

import jax
import matplotlib as mpl
import pytest

import rfspec as rf

mpl.use("Agg")

# most of the time of the tests is compilation: worker processes share it, and the next run has it already
jax.config.update("jax_compilation_cache_dir", str(Path(__file__).parent.parent / ".pytest_cache" / "xla"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


@pytest.fixture(autouse=True)
def _names(doctest_namespace):
    doctest_namespace["rf"] = rf
