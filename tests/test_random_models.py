"""Models drawn at random over the whole range of use: whatever is returned adds up."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from problems import closed_moments

import rfspec as rf

pytestmark = [
    pytest.mark.filterwarnings("ignore::rfspec.SaturationWarning"),  # small and large Γ² are meant
    pytest.mark.filterwarnings("ignore:Do not use the .random. module"),  # of the type checker
]


def log_uniform(low, high):
    return st.floats(np.log(low), np.log(high)).map(lambda x: float(np.exp(x)))


@st.composite
def models(draw):
    """ψ in [0.03, 3000], t in [3e-4, 3], one to three atoms over two decades."""
    atoms = draw(st.integers(1, 3))
    values = [draw(log_uniform(0.03, 3.0)) for _ in range(atoms)]
    weights = np.array([draw(st.floats(0.02, 1.0)) for _ in range(atoms)])
    return rf.RandomFeatureModel(
        draw(log_uniform(0.03, 3000.0)),
        draw(log_uniform(0.03, 3000.0)),
        draw(log_uniform(3e-4, 3.0)),
        covariance=rf.Atoms(values, weights / weights.sum()),
    )


def check(model):
    sp = rf.spectrum(model)
    first, second = closed_moments(model)
    assert float(sp.moment(0)) == pytest.approx(1.0, abs=1e-7)
    assert float(sp.moment(1)) == pytest.approx(first, rel=1e-7)
    assert float(sp.moment(2)) == pytest.approx(second, rel=1e-7)
    assert float(sp.error) < 1e-7
    edges = np.asarray(sp.edges)
    assert np.all(np.diff(edges) >= 0)
    # just inside and outside of every bulk, within what the edge's own error allows
    width = (edges[1::2] - edges[::2]) * 1e-3
    assert np.all(np.asarray(sp.density(edges[::2] + width)) > 0)
    assert np.all(np.asarray(sp.density(edges[1::2] - width)) > 0)
    masses = np.array([float(b.mass) for b in sp.bulks])
    assert np.all(masses > 0)
    assert sum(b.part.count("population") for b in sp.bulks) >= 1


@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(models())
def test_mass_and_trace(model):
    check(model)


@pytest.mark.slow
@settings(
    max_examples=400, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
@given(models())
def test_mass_and_trace_of_many(model):
    check(model)
