"""Sweeps: every cell is what the single functions say; axes, outputs, flags, bad input."""

import os

import numpy as np
import pytest
from problems import draw_wide

import rfspec as rf
from rfspec.surveys import outputs, programs, recipes
from rfspec.training.exact_score import score_error

ALL = [*outputs.GROUPS, "error", "region"]
TAU = [3.0, 1e3, np.inf]
GRID = {
    "t": [0.01, 0.3],
    "psi_p": np.geomspace(1.0, 1e3, 7),
    "psi_n": [*np.geomspace(0.5, 500.0, 5), np.nan],
}


def of_single_functions(model, tau):
    """Outputs of a model by name, without those that one of the functions refuses."""
    found = {}
    try:
        sp = rf.spectrum(model)
        by_edges = rf.timescales(sp, "spectrum")
        found |= {
            "edges": sp.edges,
            "mass": [b.mass for b in sp.bulks],
            "loss_drop": [b.loss_drop for b in sp.bulks],
            "bulks": sp.count,
            "atom": sp.atom.location,
            "atom_mass": sp.atom.mass,
            "part_lower": sp.parts.lower,
            "part_upper": sp.parts.upper,
            "part_mass": sp.parts.mass,
            "separated": sp.separated,
            "tau_gen spectrum": by_edges.tau_gen,
            "tau_mem spectrum": by_edges.tau_mem,
            "tau_satellite": by_edges.satellite,
        }
    except rf.ConvergenceError:
        pass
    by_paper = rf.timescales(model, "paper")
    found |= {"tau_gen paper": by_paper.tau_gen, "tau_mem paper": by_paper.tau_mem}
    try:
        stop = rf.early_stopping(model)
    except rf.ConvergenceError:
        return found
    curve, ge = rf.learning_curve(model, tau), rf.gaussian_equivalent(model)
    found |= {name: getattr(curve, name) for name in ("train", "test", "gap", "score_error")}
    found |= {name: getattr(ge, name) for name in ("mu0", "mu1", "kappa2", "b2", "v2", "s2")}
    return found | {
        "tau_gen loss": stop.tau,
        "tau_mem loss": stop.onset,
        "tau_star": stop.tau,
        "train_star": stop.train,
        "test_star": stop.test,
        "score_error_star": stop.score_error,
        "window_lower": stop.window.lower,
        "window_upper": stop.window.upper,
        "train_limit": stop.train_limit,
        "test_limit": stop.test_limit,
    }


def assert_cell(cell, model, tau=TAU, rtol=1e-8):
    """A cell agrees with the single functions, to its own errors where these are larger."""
    single = of_single_functions(model, tau)
    if int(cell.status) not in (0, 3):
        assert "edges" not in single
    loss, size = float(cell.error), float(cell.test_star)
    claimed = {f"{n}": float(cell[f"{n}_error"]) for n in ("tau_star", "window_lower")}
    claimed |= {"window_upper": float(cell.window_upper_error)}
    claimed |= {"tau_gen loss": claimed["tau_star"], "tau_mem loss": float(cell.tau_mem_error)}
    for name, expected in single.items():
        if name.split()[0] not in cell:
            continue
        variable, *rule = name.split()
        found = np.ravel(cell[variable].sel(rule=rule[0]) if rule else cell[variable])
        expected = np.ravel(np.asarray(expected, float))
        padded = np.full(found.size, np.nan)
        padded[: expected.size] = expected
        own = 10 * claimed.get(name, 0.0) + rtol
        absolute = 10 * loss * (variable in ("train", "test", "gap", "train_star", "test_star"))
        if variable == "loss_drop":
            absolute = 10 * np.nan_to_num(cell.loss_drop_error.values) + 1e-12 * size
        if variable.startswith("score_error"):  # which is affine in the loss
            of_0, of_1 = score_error(model, np.array([0.0, 1.0]))
            absolute = 10 * loss * abs(float(of_1 - of_0)) + 1e-12 * max(abs(of_0), abs(of_1))
        same = (found == padded) | (np.isnan(found) & np.isnan(padded))
        with np.errstate(invalid="ignore"):
            near = np.abs(found - padded) <= absolute + own * np.abs(padded)
        assert np.all(same | near), (model, name, found, padded)


@pytest.fixture(scope="module")
def found():
    return rf.sweep(GRID, [n for n in ALL if n != "drops"], tau=TAU)


def test_a_cell_is_what_the_single_functions_say(found):
    rng = np.random.default_rng(0)
    for _ in range(4):
        i, j, k = rng.integers([2, 7, 5])
        cell = found.isel(t=i, psi_p=j, psi_n=k)
        assert_cell(cell, rf.RandomFeatureModel(*map(float, (cell.psi_p, cell.psi_n, cell.t))))


def test_a_sweep_says_what_it_holds(found):
    assert found.tau_mem.dims == ("t", "psi_p", "psi_n", "rule")
    assert found.test.dims == ("t", "psi_p", "psi_n", "tau")
    assert np.array_equal(found.psi_n, GRID["psi_n"], equal_nan=True)
    assert np.all(found.status.isel(psi_n=-1) == 1)
    assert np.all(np.isnan(found.tau_star.isel(psi_n=-1)))
    assert np.all(found.status.isel(psi_n=slice(5)) == 0)
    for name, values in found.data_vars.items():
        assert {"units", "long_name"} <= set(values.attrs), name
        assert name in rf.sweep.__doc__, name
    assert len(found.status.attrs["flag_values"]) == len(outputs.CELL_STATUS)


@pytest.mark.slow
def test_random_models_one_by_one():
    """Draws, decay, targets and activations of all kinds; edges that are lost are flagged."""
    models = [draw_wide(np.random.default_rng(seed), atoms=2) for seed in range(24)]
    swept = rf.sweep(models, ALL, tau=TAU)
    assert swept.sizes["model"] == len(models)
    for i, model in enumerate(models):
        assert_cell(swept.isel(model=i), model, rtol=1e-6)


@pytest.mark.slow
def test_a_law_without_a_largest_eigenvalue():
    law = rf.PowerLaw(0.5)
    grid = {"psi_p": [3.0, 300.0], "psi_n": [0.7, 40.0], "t": 0.05, "covariance": law}
    swept = rf.sweep(grid, ["edges", "masses", "parts", "spectrum", "paper"])
    for i, j in np.ndindex(2, 2):
        model = rf.RandomFeatureModel(grid["psi_p"][i], grid["psi_n"][j], 0.05, covariance=law)
        cell, sp = swept.isel(psi_p=i, psi_n=j), rf.spectrum(model)
        assert np.allclose(cell.edges[: 2 * sp.count], sp.edges, rtol=1e-9)
        assert np.allclose(cell.mass[: sp.count], [b.mass for b in sp.bulks], rtol=1e-12)
        for rule in ("spectrum", "paper"):
            times = rf.timescales(sp if rule == "spectrum" else model, rule)
            for name in ("tau_gen", "tau_mem"):
                found = float(cell[name].sel(rule=rule))
                assert found == pytest.approx(float(getattr(times, name)), rel=1e-9, nan_ok=True)


def test_axes_of_every_kind():
    grid = {
        "covariance": lambda high, share: rf.Atoms([1.0, high], [1 - share, share]),
        "high": [2.0, 5.0],
        "share": 0.25,
        "activation": ["tanh", rf.Polynomial([0.0, 1.0, 0.5])],
        "noise_draws": [np.inf, 2],
        "target": ["noise", "data"],
        "weight_decay": [0.0, 1e-2],
        "psi_p": 8.0,
        "psi_n": [2.0, 20.0],
        "process": rf.FlowMatching,
        "s": [0.3],
    }
    swept = rf.sweep(grid, ["paper", "constants"])
    assert tuple(swept.status.dims) == tuple(n for n in grid if n in swept.sizes)
    assert float(swept.share) == 0.25
    for i, decay in enumerate(swept.weight_decay.values):
        cell = swept.isel(weight_decay=i, psi_n=1, s=0, activation=1)
        cell = cell.sel(high=5.0, noise_draws=2, target="data")
        model = rf.RandomFeatureModel(
            8.0,
            20.0,
            process=rf.FlowMatching(0.3),
            activation=rf.Polynomial([0.0, 1.0, 0.5]),
            covariance=rf.Atoms([1.0, 5.0], [0.75, 0.25]),
            target="data",
            noise_draws=2,
            weight_decay=decay,
        )
        times = rf.timescales(model, "paper")
        assert float(cell.tau_mem.squeeze()) == pytest.approx(float(times.tau_mem), rel=1e-12)
        assert float(cell.s2) == pytest.approx(float(rf.gaussian_equivalent(model).s2), rel=1e-12)


def test_labels_of_things(tmp_path):
    laws = {"narrow": rf.Isotropic(0.5), "wide": rf.Isotropic(2.0)}
    grid = {"psi_p": 8.0, "psi_n": 2.0, "t": 0.1, "covariance": laws}
    for out in (None, tmp_path / "s.zarr", tmp_path / "s.nc"):
        swept = rf.sweep(grid, "constants", out=out)
        assert list(swept.covariance.values) == ["narrow", "wide"]
        wide = rf.RandomFeatureModel(8.0, 2.0, 0.1, covariance=laws["wide"])
        assert float(swept.mu1.sel(covariance="wide")) == float(rf.gaussian_equivalent(wide).mu1)
    stored = rf.io.read(tmp_path / "s.nc")
    assert stored.model == wide.replace(covariance=laws["narrow"])
    assert not (tmp_path / "s.nc.partial").exists()


def test_only_what_is_asked_for_is_computed(monkeypatch):
    ran, run = set(), programs._run
    counted = lambda job, *rest: (ran.add(job.program.__name__), run(job, *rest))[1]
    monkeypatch.setattr(programs, "_run", counted)
    grid = {"psi_p": 8.0, "psi_n": [2.0, 4.0], "t": 0.1}
    rf.sweep(grid, "constants")
    assert ran == set()
    rf.sweep(grid, "paper")
    assert ran == {"lower_ends"}
    ran.clear()
    rf.sweep(grid, "losses", tau=10.0)
    assert ran == {"losses_at"}


def test_constants_in_batches_are_those_of_single_models(monkeypatch):
    monkeypatch.setattr(recipes, "MANY", 300)
    ts = np.geomspace(1e-3, 1.0, 300)
    swept = rf.sweep({"t": ts, "psi_p": 8.0, "psi_n": 2.0}, "constants")
    for i in range(0, 300, 43):
        ge = rf.gaussian_equivalent(rf.RandomFeatureModel(8.0, 2.0, ts[i]))
        for name in ("mu1", "kappa2", "v2", "s2"):
            assert float(swept[name][i]) == pytest.approx(float(getattr(ge, name)), rel=1e-13)


def test_a_cell_that_fails_stops_no_other(monkeypatch):
    def fails(c):
        if np.any(c.alike.psi_p == 3.0):
            raise FloatingPointError("three")
        return np.outer(c.alike.psi_p, [1.0, 2.0, 3.0])

    monkeypatch.setitem(outputs.EVERY, "odd", outputs.Output("part", {"units": "1"}, "odd", fails))
    grid = {"psi_p": [1.0, 2.0, 3.0, -4.0, 5.0], "psi_n": 2.0, "t": 0.1}
    with pytest.warns(UserWarning, match="computation of a cell has failed: three"):
        swept = rf.sweep(grid, "odd")
    assert swept.status.values.tolist() == [0, 0, 4, 1, 0]
    assert np.array_equal(swept.odd[:, 0], [1.0, 2.0, np.nan, np.nan, 5.0], equal_nan=True)


def test_what_no_model_has_is_flagged_where_it_is():
    grid = {
        "process": rf.FlowMatching,
        "s": [0.3, 1.5],
        "weight_decay": [0.0, -1.0],
        "noise_draws": [1, 1.5],
        "psi_p": 8.0,
        "psi_n": 2.0,
    }
    status = rf.sweep(grid, "mu1").status
    assert status.values.ravel().tolist() == [0, 1, 1, 1, 1, 1, 1, 1]


MODEL = {"psi_p": 8.0, "psi_n": [2.0], "t": 0.1}
BAD = [
    ({"models": 3}, "models must be a mapping of arguments or a list of rf.RandomFeatureModel"),
    ({"models": []}, "models must be a mapping .* that is not empty"),
    ({"models": [rf.RandomFeatureModel(8.0, 2.0, 0.1), 2]}, "got 2 at 1"),
    ({"models": {"psi_p": 1.0, "t": 0.1}}, "must have psi_p and psi_n, got no psi_n"),
    ({"models": MODEL | {"psi": 1.0}}, "models must have arguments of .*, got psi"),
    (
        {"models": MODEL | {"process": rf.FlowMatching(0.3)}},
        "exactly one of t and process, got both",
    ),
    ({"models": MODEL | {"activation": "tahn"}}, "tahn"),
    ({"models": MODEL | {"target": ["noise", "nose"]}}, "target must be one of .*, got 'nose'"),
    ({"models": MODEL | {"covariance": 2.0}}, "covariance must be a Covariance, a list of them"),
    ({"models": MODEL | {"covariance": lambda a: a, "a": [1.0]}}, "covariance must be a Cov"),
    ({"models": MODEL | {"covariance": rf.PowerLaw}}, "covariance is made of exponent"),
    ({"models": MODEL | {"psi_p": [[1.0]]}}, "psi_p must be a list of numbers"),
    ({"models": MODEL | {"psi_p": "x"}}, "psi_p must be a list of numbers, got 'x'"),
    ({"models": MODEL | {"t": -1.0}}, "t must be a finite real number greater than 0, got -1.0"),
    ({"outputs": "edge"}, "outputs must be of edges, .*, got 'edge'"),
    ({"outputs": []}, "outputs must be of"),
    ({"out": "s.csv"}, "out must end in .zarr or .nc, got 's.csv'"),
    ({"part": (0, 2)}, "part needs out to be a .zarr store, got None"),
    ({"out": "s.zarr", "part": (2, 2)}, "i of part must be an integer from 0 to 1, got 2"),
    ({"out": "s.zarr", "part": 3}, r"part must be a pair \(i, n\)"),
    ({"out": "s.zarr", "client": 3}, "client must be a dask.distributed.Client"),
    ({"chunk": 0}, "chunk must be an integer of at least 1, got 0"),
    ({"tau": -1.0}, "tau must be real numbers of at least 0"),
    ({"tolerance": 0.0}, "tolerance must be a finite real number greater than 0"),
]


@pytest.mark.parametrize(("changed", "message"), BAD)
def test_bad_input(changed, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = {"models": MODEL, "outputs": "mu1"} | changed
    with pytest.raises(ValueError, match=message):
        rf.sweep(arguments.pop("models"), arguments.pop("outputs"), **arguments)
    assert not os.listdir(tmp_path)


def test_an_axis_must_not_be_named_as_a_result():
    grid = {"covariance": lambda tau: rf.Isotropic(tau), "tau": [1.0, 2.0]}
    with pytest.raises(ValueError, match="must not be named as an output or its axis, got tau"):
        rf.sweep({**MODEL, **grid}, "losses")
