import gc
import os
import tempfile
from pathlib import Path

# worker processes, and the commands that tests start, share what one of them has compiled
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    KERNELS = tempfile.TemporaryDirectory(prefix="rfspec-tests-", ignore_cleanup_errors=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = KERNELS.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
# nothing that a test starts keeps anything in the user's own folder
os.environ["RFSPEC_CACHE"] = "off"

import jax
import jaxtyping
import matplotlib as mpl
import pytest

# of the ground truth's inner loops, checks would take several times as long as they do
CHAPTERS = (Path(__file__).parents[1] / "rfspec").glob("*/__init__.py")
CHECKED = [f"rfspec.{path.parent.name}" for path in CHAPTERS if path.parent.name != "algebraic"]

with jaxtyping.install_import_hook(CHECKED, "type_checker.check"):
    import rfspec as rf
    import rfspec.algebraic
    import rfspec.certificates.certificate
    import rfspec.cli
    import rfspec.empirical
    import rfspec.plotting
    import rfspec.surveys.diffusion_times
    import rfspec.surveys.held_out_data
    import rfspec.surveys.phase
    import rfspec.surveys.prediction
    from rfspec.numerics.session import enter

# most of the suite's time is tracing and compiling; `make test-all` sets XLA_FLAGS and compiles as
# users do
if "XLA_FLAGS" not in os.environ:
    os.environ["XLA_FLAGS"] = "--xla_backend_optimization_level=0"
    if jax.__version__.startswith("0.10."):  # the older way to emit kernels, which 0.11 lost
        os.environ["XLA_FLAGS"] += " --xla_cpu_use_fusion_emitters=false"
# a trace makes many objects that stay
gc.set_threshold(200_000, 20, 100)
mpl.use("Agg")
jax.config.update("jax_numpy_rank_promotion", "raise")  # every broadcast is spelt out
SLOW_PAGES = ("accuracy.md", "real_data.md", "score_exponent.md")


@pytest.hookimpl(tryfirst=True)  # before -m looks at marks
def pytest_collection_modifyitems(items):
    """Pages of docs/ whose examples take more than ten seconds run with the slow tests."""
    for item in items:
        if item.path.name in SLOW_PAGES:
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def given_anything():
    """What a user gets wrong is for the package to say, not for its annotations."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(autouse=True)
def _room_to_compile():
    yield
    enter()


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


@pytest.fixture(autouse=True)
def _names(doctest_namespace):
    doctest_namespace["rf"] = rf
