import matplotlib as mpl
import pytest

import rfspec as rf

mpl.use("Agg")


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


@pytest.fixture(autouse=True)
def _names(doctest_namespace):
    doctest_namespace["rf"] = rf
