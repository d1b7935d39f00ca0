"""Phase diagrams: every cell is what the single functions say; regions, flags, resuming, files,
devices, picture.
"""

import os
import re
import subprocess
import sys
from itertools import product

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray

import rfspec as rf
from rfspec.files.io import write_dataset
from rfspec.surveys import outputs, phase, stores

PSI_P, PSI_N, TAU = (
    np.array([64.0, 2.0, 8.0]),
    np.array([0.5, 300.0, -1.0, 8.0, np.nan]),
    np.array([1e3, 1.0, np.inf]),
)


@pytest.fixture(scope="module", autouse=True)
def _small_chunks():
    """Four cells a chunk, so that a killed run compiles nothing of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(phase, "CHUNK", 4)
        yield


@pytest.fixture(scope="module")
def diagram():
    return rf.phase_diagram(PSI_P, PSI_N, 0.01, TAU)


def test_grids_keep_their_order(diagram):
    for name, values in (("psi_p", PSI_P), ("psi_n", PSI_N), ("tau", TAU)):
        assert np.array_equal(diagram[name], values, equal_nan=True)
    assert diagram.test.dims == ("psi_p", "psi_n", "tau")
    assert diagram.tau_gen.dims == ("psi_p", "psi_n", "rule")


@pytest.mark.parametrize("psi_p", [64.0, 2.0])
@pytest.mark.parametrize("psi_n", [0.5, 8.0, 300.0])
def test_a_cell_is_what_the_single_functions_say(diagram, psi_p, psi_n):
    cell, model = diagram.sel(psi_p=psi_p, psi_n=psi_n), rf.RandomFeatureModel(psi_p, psi_n, 0.01)
    curve, stop = rf.learning_curve(model, TAU), rf.early_stopping(model)
    for name in ("train", "test", "gap"):
        assert np.allclose(cell[name], getattr(curve, name), rtol=0, atol=1e-10)
    assert np.allclose(cell.score_error, curve.score_error, rtol=1e-9)
    single = (stop.tau, stop.test, stop.window.lower, stop.window.upper, stop.score_error)
    names = ("tau_star", "test_star", "window_lower", "window_upper", "score_error_star")
    assert np.allclose([float(cell[n]) for n in names], [float(x) for x in single], rtol=1e-9)
    for rule in ("paper", "spectrum", "loss"):
        times = rf.timescales(model, rule)
        for name in ("tau_gen", "tau_mem"):
            assert np.allclose(
                cell[name].sel(rule=rule), getattr(times, name), rtol=1e-9, equal_nan=True
            )
    spectrum = rf.timescales(model, "spectrum")
    assert np.allclose(cell.tau_satellite, spectrum.satellite, rtol=1e-9, equal_nan=True)
    assert bool(cell.separated) == bool(spectrum.separated)
    assert int(cell.status) == 0
    assert float(cell.error) < 1e-9
    claims = {"tau_star": stop.tau_error, "tau_mem": stop.onset_error}
    claims |= {f"window_{end}": getattr(stop.window_error, end) for end in ("lower", "upper")}
    for name, claim in claims.items():  # rounding is not the same twice, its size is
        assert (
            0.1 * float(claim) <= float(cell[f"{name}_error"]) <= 10 * float(claim) + 1e-15 < 1e-6
        )


LAWS = rf.PowerLaw(1.0, 0.05), rf.PowerLaw(0.5), rf.Exponential(3.0), rf.MarchenkoPastur(0.5)


@pytest.mark.slow
@pytest.mark.parametrize("law", LAWS, ids=lambda law: type(law).__name__)
def test_times_of_continuous_laws_are_those_of_their_spectra(law):
    """The diagram takes a grid of 64 nodes, a spectrum one of 192."""
    found = rf.phase_diagram([3.0, 100.0, 3000.0], [0.7, 40.0, 2000.0], 0.05, covariance=law)
    assert np.all(found.status == 0)
    for psi_p, psi_n in product(found.psi_p.values, found.psi_n.values):
        times = rf.timescales(rf.RandomFeatureModel(psi_p, psi_n, 0.05, covariance=law), "spectrum")
        cell = found.sel(psi_p=psi_p, psi_n=psi_n)
        for name in ("tau_gen", "tau_mem"):
            exact = float(getattr(times, name))
            assert float(cell[name].sel(rule="spectrum")) == pytest.approx(
                exact, rel=1e-6, nan_ok=True
            )


def test_cells_outside_the_theory_are_flagged(diagram):
    outside = diagram.isel(psi_n=[2, 4])
    assert np.all(outside.status == 1)
    assert np.all(outside.region == -1)
    assert np.all(np.isnan(outside.test))
    assert "outside the theory" in diagram.status.attrs["flag_meanings"]
    empty = rf.phase_diagram([-1.0], [2.0], [0.1, 0.0])
    assert np.all(empty.status == 1)


def test_regions_follow_their_rule(diagram):
    lower, upper = diagram.window_lower, diagram.window_upper
    assert "tau > upper" in diagram.region.attrs["rule"]
    known = diagram.status == 0
    assert bool((((diagram.region == 0) == (diagram.tau < lower)) | ~known).all())
    assert bool((((diagram.region == 2) == (diagram.tau > upper)) | ~known).all())
    assert bool(
        (((diagram.region == 3) == ((diagram.tau >= lower) & np.isinf(upper))) | ~known).all()
    )
    assert set(np.unique(diagram.region)) == {-1, 0, 1, 2, 3}
    end = np.isinf(upper) == (diagram.test_limit <= diagram.test_star + 0.01)
    assert bool((end | ~known).all())


def test_merged_parts(diagram):
    model = rf.RandomFeatureModel(1.5, 3.0, 0.01)
    cell = rf.phase_diagram([1.5], [3.0], 0.01).squeeze()
    assert cell.merged.values.tolist() == [1, 1, 0]
    assert not bool(cell.separated)
    assert np.isnan(cell.tau_gen.sel(rule="spectrum"))
    assert not rf.spectrum(model).separated


def test_several_times_and_other_models():
    found = rf.phase_diagram(
        [8.0], [2.0], [0.05, 0.2], [10.0], activation="relu", covariance=rf.Isotropic(2.0)
    )
    assert found.test.dims == ("t", "psi_p", "psi_n", "tau")
    model = rf.RandomFeatureModel(8.0, 2.0, 0.2, activation="relu", covariance=rf.Isotropic(2.0))
    assert float(found.test[1, 0, 0, 0]) == pytest.approx(
        float(rf.learning_curve(model, 10.0).test), abs=1e-12
    )
    flow = rf.phase_diagram([8.0], [2.0], tau=10.0, process=rf.FlowMatching(0.3))
    model = rf.RandomFeatureModel(8.0, 2.0, process=rf.FlowMatching(0.3))
    assert float(flow.test.squeeze()) == pytest.approx(
        float(rf.learning_curve(model, 10.0).test), abs=1e-12
    )
    assert "t" not in flow.coords


def test_a_killed_run_continues(tmp_path, monkeypatch, diagram):
    put, calls = stores.InMemory.put, []

    def dies(*a):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(a)
        return put(*a)

    monkeypatch.setattr(stores.InMemory, "put", dies)
    path = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        rf.phase_diagram(PSI_P, PSI_N, 0.01, TAU, checkpoint=path)
    monkeypatch.setattr(stores.InMemory, "put", lambda *a: (calls.append(a), put(*a))[1])
    again = rf.phase_diagram(PSI_P, PSI_N, 0.01, TAU, checkpoint=path)
    assert len(calls) == 6
    for name in diagram.data_vars:
        assert np.array_equal(again[name], diagram[name], equal_nan=True)
    with pytest.raises(ValueError, match=r"checkpoint must be of a run with the same arguments"):
        rf.phase_diagram(PSI_P, PSI_N, 0.02, TAU, checkpoint=path)


def test_outputs_are_documented(diagram):
    for name, values in diagram.data_vars.items():
        assert re.search(rf"\b{name}\b", rf.phase_diagram.__doc__), name
        assert {"units", "long_name"} <= set(values.attrs), name


def test_an_output_is_one_line(monkeypatch):
    mean = outputs.Output("tau", {"units": "1"}, "mean", lambda c: (c.train + c.test) / 2)
    monkeypatch.setitem(outputs.OUTPUTS, "mean", mean)
    found = rf.phase_diagram([8.0, -1.0], [2.0], 0.01, TAU)
    assert np.array_equal(found["mean"], (found.train + found.test) / 2, equal_nan=True)
    assert found["mean"].attrs == {"units": "1", "long_name": "mean"}


def test_netcdf(tmp_path, diagram):
    write_dataset(tmp_path / "d.nc", diagram)
    back = xarray.load_dataset(tmp_path / "d.nc", engine="h5netcdf")
    xarray.testing.assert_allclose(back, diagram)
    assert all("units" in v.attrs for v in back.data_vars.values())
    assert back.attrs["source"].startswith("rfspec ")


def in_four_devices(script):
    flags = {
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4"
    }
    command = [sys.executable, "-c", f"import jax, rfspec as rf\n{script}"]
    run = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | flags, check=True
    )
    return [float(x) for x in run.stdout.split()]


def test_cells_spread_over_devices():
    """Losses of eight cells on four devices are those of single models."""
    psi_n, tau = [0.5, 1.0, 2.0, 5.0, 20.0, 100.0, 300.0, 1e3], 1e3
    found = in_four_devices(
        "assert len(jax.devices()) == 4\n"
        f"grid = dict(psi_p=8.0, psi_n={psi_n}, t=0.01)\n"
        f"print(*rf.sweep(grid, 'test', tau={tau}).test.values)"
    )
    models = [rf.RandomFeatureModel(8.0, n, 0.01) for n in psi_n]
    single = [float(rf.learning_curve(model, tau).test) for model in models]
    assert np.allclose(found, single, rtol=0, atol=1e-12)


@pytest.mark.slow
def test_a_diagram_on_four_devices():
    script = (
        "d = rf.phase_diagram([8.0], [2.0, 5.0, 300.0], 0.01, 1e3)\n"
        "print(*d.tau_star.values.ravel())"
    )
    one = rf.phase_diagram([8.0], [2.0, 5.0, 300.0], 0.01, 1e3)
    assert np.allclose(in_four_devices(script), one.tau_star.values.ravel(), rtol=1e-10)


def test_picture(diagram):
    measured = {"psi_n": [2.0, 8.0], "psi_p": [4.0, 8.0], "flag": ["interpolated", "censored"]}
    ax = rf.plotting.phase_diagram(diagram.sel(tau=1e3), measured=measured)
    labels = [t.get_text() for t in ax.get_legend().get_texts()]
    assert {
        "memorisation",
        "architectural regularisation",
        "measured, interpolated",
        "measured, censored",
    } <= set(labels)
    assert ax.get_xscale() == ax.get_yscale() == "log"
    for times in ("window_upper", "tau_mem", None):
        rf.plotting.phase_diagram(diagram.sel(tau=np.inf), times=times, rule="loss")
    bad = {**measured, "flag": ["guessed", "censored"]}
    with pytest.raises(
        ValueError,
        match=r"flag must be one of interpolated, on grid, censored, out of range, got .guessed.",
    ):
        rf.plotting.phase_diagram(diagram.sel(tau=1e3), measured=bad)
    with pytest.raises(ValueError, match=r"several of tau: take one by .sel"):
        rf.plotting.phase_diagram(diagram)
    with pytest.raises(ValueError, match=r"times must be one of .*, got 'x'"):
        rf.plotting.phase_diagram(diagram.sel(tau=1e3), times="x")


def test_cells_of_a_coarse_picture_are_symmetric_about_their_models(diagram):
    """Half way on a linear axis is below 0, which a logarithmic axis does not show."""
    axes, xs = plt.subplots()[1], np.array([1.0, 100.0])
    coarse = diagram.sel(tau=1e3).isel(psi_p=[0], psi_n=[0, 1]).assign_coords(psi_n=xs)
    rf.plotting.phase_diagram(coarse, axes)
    assert np.allclose(axes.get_xlim(), (0.1, 1000.0))
