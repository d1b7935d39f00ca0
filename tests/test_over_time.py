"""All diffusion times at once."""

import csv
import json

import numpy as np
import pytest
import xarray
from typer.testing import CliRunner

import rfspec as rf
from rfspec.cli import app

MODEL = rf.RandomFeatureModel(8.0, 2.0, 0.1)
TS = [0.03, 0.1, 0.4]


@pytest.fixture(scope="module")
def along():
    return rf.over_time(MODEL, TS, [1.0, 2.0, 1.0])


def test_every_time_is_its_own_model(along):
    for i, t in enumerate(TS):
        model = rf.RandomFeatureModel(8.0, 2.0, t)
        stop, row = rf.early_stopping(model), along.isel(t=i)
        assert float(row.tau_star) == pytest.approx(float(stop.tau), rel=1e-10)
        assert float(row.test_star) == pytest.approx(float(stop.test), abs=1e-12)
        for rule in ("paper", "spectrum", "loss"):
            times = rf.timescales(model, rule)
            assert float(row.tau_mem.sel(rule=rule)) == pytest.approx(
                float(times.tau_mem), rel=1e-10, nan_ok=True
            )
    assert along.weight.values.tolist() == [0.25, 0.5, 0.25]


def test_the_shared_stopping_time_is_the_best_one(along):
    tau, share = float(along.tau_shared), along.weight.values
    grid = np.append(
        np.geomspace(tau / 100, tau * 100, 400), [tau * (1 + x) for x in (-1e-3, 1e-3)]
    )
    curves = [rf.learning_curve(rf.RandomFeatureModel(8.0, 2.0, t), grid) for t in TS]
    mean = share @ np.array([c.test for c in curves])
    assert np.all(mean >= float(along.loss_shared) - 1e-12)
    assert float(along.tau_star.min()) <= tau <= float(along.tau_star.max())


def test_what_sharing_costs(along):
    cost = float(along.loss_shared - along.loss_each)
    assert float(along.cost) == pytest.approx(cost, abs=1e-14)
    assert cost > 100 * float(along.cost_error)
    assert f"costs {cost:.3g}" in along.attrs["statement"]
    alone = rf.over_time(MODEL, [0.1])
    assert abs(float(alone.cost)) <= 1e-12 + float(alone.cost_error)
    off = abs(float(alone.tau_shared / alone.tau_star[0]) - 1)
    assert off <= float(alone.tau_shared_error + alone.tau_star_error[0]) < 1e-4


def test_other_processes_have_times_too():
    found = rf.over_time(rf.RandomFeatureModel(8.0, 2.0, process=rf.FlowMatching(0.5)), [0.2, 0.6])
    assert np.all(np.isfinite(found.test_star))


def test_the_command_and_the_picture(along, tmp_path):
    args = [
        "over-time",
        "--psi-p",
        "8",
        "--psi-n",
        "2",
        "--ts",
        "0.03,0.1,0.4",
        "--loss-weights",
        "1,2,1",
    ]

    def run(*more):
        result = CliRunner().invoke(app, [*args, *more], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    report = json.loads(run("--json", "--out", str(tmp_path / "t.nc")))
    assert report["tau_star"] == pytest.approx(list(along.tau_star.values), rel=1e-12)
    assert report["cost"] == pytest.approx(float(along.cost), abs=1e-12)
    assert report["tau_mem_spectrum"][2] is None
    assert xarray.load_dataset(tmp_path / "t.nc", engine="h5netcdf").tau_shared == float(
        along.tau_shared
    )
    assert "costs 0.00" in run("--out", str(tmp_path / "t.csv"))
    for name in ("t.nc", "t.csv"):
        assert rf.io.read(tmp_path / name).model == MODEL.replace(t=0.03)
    lines = (tmp_path / "t.csv").read_text().splitlines()
    rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    assert [float(row["tau_star"]) for row in rows] == pytest.approx(
        list(along.tau_star.values), rel=1e-12
    )
    run("--out", str(tmp_path / "t.png"))
    ax = rf.plotting.over_time(along)
    assert [line.get_label() for line in ax.lines][-1] == "one time for all"
    with pytest.raises(ValueError, match="rule must be one of loss, spectrum, paper"):
        rf.plotting.over_time(along, rule="best")
