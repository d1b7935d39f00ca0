import jax
import matplotlib as mpl
import pytest

import rfspec as rf

mpl.use("Agg")


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


@pytest.fixture(autouse=True, scope="module")
def _free_compiled():
    """Compiled kernels of a file are of no use to the next one, and fill the memory."""
    yield
    jax.clear_caches()


@pytest.fixture(autouse=True)
def _names(doctest_namespace):
    doctest_namespace["rf"] = rf
