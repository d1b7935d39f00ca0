"""The page that needs no server: its JavaScript against the package."""

import json
from pathlib import Path

import numpy as np
import pytest
from py_mini_racer import MiniRacer

import rfspec as rf

FOLDER = Path(__file__).parents[1] / "docs" / "explorer"
TWO = {"values": [0.5, 1.5], "weights": [0.5, 0.5]}
MODELS = [
    {"psiP": 64.0, "psiN": 8.0, "t": 0.01},
    {"psiP": 64.0, "psiN": 8.0, "t": 0.01, **TWO},
    {"psiP": 2.0, "psiN": 4.0, "t": 0.3, "activation": "erf"},  # everything has merged
    {"psiP": 512.0, "psiN": 0.5, "t": 0.001, "activation": "relu"},
    {"psiP": 0.5, "psiN": 64.0, "t": 1.0, "activation": "sin"},
    {"psiP": 30.0, "psiN": 300.0, "t": 0.1, "activation": "erf",
     "values": [0.1, 4.0], "weights": [0.8, 0.2]},
]  # fmt: skip


@pytest.fixture(scope="module")
def javascript():
    context = MiniRacer()
    context.eval((FOLDER / "fixed_point.js").read_text(encoding="utf-8"))
    return lambda call: json.loads(context.eval(f"JSON.stringify({call})"))


def of_python(known):
    law = rf.Atoms(known["values"], known["weights"]) if "values" in known else rf.Isotropic(1.0)
    activation = known.get("activation", "tanh")
    return rf.RandomFeatureModel(
        known["psiP"], known["psiN"], known["t"], activation=activation, covariance=law
    )


@pytest.mark.parametrize("known", MODELS)
def test_spectra_are_those_of_the_package(javascript, known):
    """Edges, masses and parts, and the density at many points inside every bulk."""
    sp = rf.spectrum(of_python(known))
    model = f"fixedPoint.model({json.dumps(known)})"
    found = javascript(f"fixedPoint.bulks({model})")
    assert [bulk["part"] for bulk in found] == [bulk.part for bulk in sp.bulks]
    edges = [end for bulk in found for end in (bulk["lower"], bulk["upper"])]
    assert np.allclose(edges, sp.edges, rtol=1e-8, atol=0)
    assert np.allclose([bulk["mass"] for bulk in found], [b.mass for b in sp.bulks], rtol=1e-8)
    x = np.concatenate([rf.plotting.inside(b.lower, b.upper, 33)[1:-1] for b in sp.bulks])
    density = javascript(f"{x.tolist()}.map((x) => fixedPoint.density({model}, x))")
    assert np.allclose(density, sp.density(x), rtol=1e-8, atol=0)
    atom = javascript(f"fixedPoint.atom({model})")
    assert np.allclose([atom["location"], atom["mass"]], list(sp.atom), rtol=1e-8, atol=1e-15)


@pytest.mark.parametrize("activation", ["tanh", "erf", "sin", "relu"])
def test_constants_keep_their_accuracy_at_all_times(javascript, activation):
    for t in (1e-6, 1e-3, 0.1, 3.0):
        model = rf.RandomFeatureModel(1.0, 1.0, t, activation=activation)
        ge = rf.gaussian_equivalent(model)
        known = json.dumps({"psiP": 1, "psiN": 1, "t": t, "activation": activation})
        found = javascript(f"fixedPoint.model({known})")
        for name in ("mu1", "kappa2", "b2", "v2", "s2"):
            assert np.isclose(found[name], getattr(ge, name), rtol=1e-10, atol=0), (t, name)


def test_densities_of_random_models_are_as_good_as_their_eigenvalues(javascript):
    """Next to an edge the rounding of λ itself moves a density by ε λ/(2 |λ - edge|)."""
    rng, eps = np.random.default_rng(0), np.finfo(float).eps
    for _ in range(20):
        psi_p, psi_n = 2 ** rng.uniform(-1, 10, 2)
        known = {"psiP": psi_p, "psiN": psi_n, "t": 10 ** rng.uniform(-3, 0.5)}
        known["activation"] = str(rng.choice(["tanh", "erf", "sin", "relu"]))
        sp = rf.spectrum(of_python(known))
        x = np.concatenate([rf.plotting.inside(b.lower, b.upper, 17)[1:-1] for b in sp.bulks])
        model = f"fixedPoint.model({json.dumps(known)})"
        density = javascript(f"{x.tolist()}.map((x) => fixedPoint.density({model}, x))")
        nearest = np.abs(x[:, None] - np.asarray(sp.edges)[None, :]).min(axis=1)
        relative = np.abs(density / np.asarray(sp.density(x)) - 1.0)
        assert np.all(relative < 1e-9 + eps * x / nearest), known
