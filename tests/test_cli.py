"""The command: what it prints, what it writes, how it fails."""

import csv
import errno
import io
import json
import os
import subprocess
import sys
import zipfile

import equinox as eqx
import jax
import numpy as np
import pytest
import typer
import xarray
from typer.testing import CliRunner

import rfspec as rf
from rfspec.cli import app
from rfspec.cli.options import of_model
from rfspec.files.tables import aligned

MODEL = ["--psi-p", "64", "--psi-n", "8", "--t", "0.01"]


def run(*args):
    result = CliRunner().invoke(app, list(args), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize(
    ("options", "model"),
    [
        (["--process", "FlowMatching(0.3)", "--target", "velocity"],
         {"process": rf.FlowMatching(0.3), "target": "velocity"}),
        (["--process", "DDPM(3, [0.1, 0.2, 0.3])", "--noise-draws", "2"],
         {"process": rf.DDPM(3, [0.1, 0.2, 0.3]), "noise_draws": 2}),
        (["--t", "0.1", "--covariance", "PowerLaw(1, cutoff=.1)", "--trace", "2"],
         {"t": 0.1, "covariance": rf.PowerLaw(1, 0.1).normalised(2.0)}),
        (["--t", "0.1",
          "--covariance", "Mixture([Subspace(0.25), Isotropic(-2e-1 + 1)], (0.5, 0.5))"], None),
        (["--t", "0.1", "--covariance", "Mixture([Subspace(0.25), Isotropic(3)], (0.5, 0.5))",
            "--weight-decay", "0.1"],
         {"t": 0.1, "covariance": rf.Mixture([rf.Subspace(0.25), rf.Isotropic(3.0)], [0.5, 0.5]),
             "weight_decay": 0.1}),
        (["--t", "0.1", "--activation", "Polynomial([0, 1, 0, -0.5])", "--variance", "2"],
         {"t": 0.1, "activation": rf.Polynomial([0.0, 1.0, 0.0, -0.5]),
             "covariance": rf.Isotropic(2.0)}),
    ],
)  # fmt: skip
def test_every_model_has_options(options, model):
    """What a command makes of its options is the model that Python makes; sums are no numbers."""

    @of_model
    def command(model: rf.RandomFeatureModel) -> None:
        seen.append(model)

    seen, one = [], typer.Typer()
    one.command()(command)
    args = ["--psi-p", "8", "--psi-n", "4", *options]
    if model is None:
        with pytest.raises(ValueError, match="covariance must be a call of Atoms, "):
            CliRunner().invoke(one, args, catch_exceptions=False)
        return
    assert CliRunner().invoke(one, args, catch_exceptions=False).exit_code == 0
    expected = rf.RandomFeatureModel(8.0, 4.0, **model)
    assert eqx.tree_equal(
        eqx.filter(seen[0], eqx.is_array_like), eqx.filter(expected, eqx.is_array_like), rtol=1e-15
    )
    assert repr(seen[0]) == repr(expected)


def rows_in(path):
    """The table of a .csv file, without its comments."""
    lines = path.read_text().splitlines()
    return list(csv.DictReader(line for line in lines if not line.startswith("#")))


COMMANDS = {  # and the files that each can write
    "spectrum": (".csv", ".json", ".nc", ".png", ".pdf", ".svg"),
    "timescales": (".csv", ".json", ".nc"),
    "curve": (".csv", ".json", ".nc", ".png", ".pdf", ".svg"),
    "early-stopping": (".csv", ".json", ".nc"),
    "over-time": (".csv", ".json", ".nc", ".png", ".pdf", ".svg"),
    "phase-diagram": (".csv", ".json", ".nc", ".png", ".pdf", ".svg"),
    "sample": (".csv", ".json", ".nc"),
    "train": (".csv", ".json", ".nc", ".png", ".pdf", ".svg"),
    "compare": (".csv", ".json", ".nc"),
    "predict": (".csv", ".json", ".nc", ".png", ".pdf", ".svg"),
}


def test_the_version_is_one_line():
    expected = f"rfspec {rf.__version__}, JAX {jax.__version__}, Python "
    assert run("--version").startswith(expected)
    assert run("--version").count("\n") == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_help_says_what_out_accepts(command, monkeypatch, capsys):
    """And nothing else is accepted."""
    monkeypatch.setenv("COLUMNS", "200")
    shown = run(command, "--help")
    *others, last = COMMANDS[command]
    assert f"file to write, {', '.join(others)} or {last} " in shown
    argument = ["x.npy"] if command == "predict" else []
    error, status = failing(monkeypatch, capsys, [command, *argument, "--out", "x.foo"])
    assert status == 2
    assert error == f"error: out must end in one of {', '.join(COMMANDS[command])}, got x.foo\n"


@pytest.mark.parametrize(
    "command", [[], *([name] for name in (*COMMANDS, "demo", "doctor", "explore"))]
)
def test_flags_take_no_value_and_options_have_groups(command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    shown = run(*command, "--help")
    assert "bool" not in shown.lower()
    assert "─ Options ─" not in shown


def test_spectrum_table():
    out = run("spectrum", *MODEL)
    for word in ("population", "sample", "satellite", "atom", "44.6929", "96.3%"):
        assert word in out


def test_spectrum_json():
    report = json.loads(run("spectrum", *MODEL, "--json"))
    sp = rf.spectrum(rf.RandomFeatureModel(64.0, 8.0, 0.01))
    assert [b["lower"] for b in report["bulks"]] == pytest.approx(list(sp.edges[::2]), rel=1e-12)
    assert report["atom"]["mass"] == pytest.approx(55 / 64)
    assert report["separated"] is True


def test_where_nothing_is_learnt_bulks_have_no_share():
    report = json.loads(run("spectrum", *MODEL, "--activation", "Polynomial([0, 0, 1])", "--json"))
    assert [b["share"] for b in report["bulks"]] == [None] * len(report["bulks"])


def test_spectrum_files(tmp_path):
    args = ["--values", "0.5,1.5", "--weights", "0.5,0.5", "--points", "50"]
    for suffix in ("csv", "json", "png", "pdf"):
        run("spectrum", *MODEL, *args, "--out", str(tmp_path / "folder" / f"s.{suffix}"))
    rows = rows_in(tmp_path / "folder" / "s.csv")
    assert len(rows) == 250
    assert float(rows[-1]["cdf"]) == pytest.approx(1.0)
    assert json.loads((tmp_path / "folder" / "s.json").read_text())["bulks"]
    assert (tmp_path / "folder" / "s.png").read_bytes().startswith(b"\x89PNG")
    run("spectrum", *MODEL, "--points", "50", "--out", str(tmp_path / "s.nc"))
    data = rf.io.read(tmp_path / "s.nc").data
    sp = rf.spectrum(rf.RandomFeatureModel(64.0, 8.0, 0.01))
    assert list(data["lower"].values) == list(sp.edges[::2])
    assert np.allclose(data["cdf"], sp.cdf(data["lambda"].values), rtol=1e-12)
    assert float(data.atom_mass) == float(sp.atom.mass)
    assert sorted(p.name for p in (tmp_path / "folder").iterdir()) == [
        "s.csv",
        "s.json",
        "s.pdf",
        "s.png",
    ]


def test_timescales(tmp_path):
    out = run("timescales", *MODEL, "--out", str(tmp_path / "t.csv"))
    assert "tau_mem = 35389.5" in out
    rows = rows_in(tmp_path / "t.csv")
    assert rows[0]["rule"] == "loss"
    assert {r["rule"] for r in rows} == {"loss", "spectrum", "paper"}
    run("timescales", *MODEL, "--out", str(tmp_path / "t.nc"))
    slow = rf.io.read(tmp_path / "t.nc").data.slow
    for row in rows:
        assert np.array_equal(
            slow.sel(rule=row["rule"], part=row["part"]), float(row["slow"]), True
        )
    report = json.loads(run("timescales", *MODEL, "--rule", "paper", "--json"))
    assert report["tau_mem"]["paper"] == pytest.approx(37038.5, rel=1e-5)
    assert report["times"][2]["slow"] is None


def test_data_files(tmp_path):
    X = np.random.default_rng(0).normal(size=(50, 4))
    np.save(tmp_path / "x.npy", X)
    np.savetxt(tmp_path / "x.csv", X, delimiter=",")
    reports = [
        json.loads(run("spectrum", *MODEL, "--data", str(tmp_path / n), "--json"))
        for n in ("x.npy", "x.csv")
    ]
    assert [b["lower"] for b in reports[0]["bulks"]] == pytest.approx(
        [b["lower"] for b in reports[1]["bulks"]]
    )


def test_curve(tmp_path):
    times = ["--tau-min", "1", "--tau-max", "1e5", "--points", "6"]
    for suffix in ("nc", "csv", "json", "png"):
        out = run("curve", *MODEL, *times, "--out", str(tmp_path / f"c.{suffix}"))
    assert len(out.splitlines()) == 8
    model = rf.RandomFeatureModel(64.0, 8.0, 0.01)
    assert all(rf.io.read(tmp_path / f"c.{s}").model == model for s in ("nc", "csv", "json"))
    direct = rf.learning_curve(model, np.geomspace(1, 1e5, 6))
    data = xarray.load_dataset(tmp_path / "c.nc", engine="h5netcdf")
    assert np.allclose(data.test, direct.test, rtol=1e-12)
    assert np.allclose(
        data.drop_satellite + data.drop_sample + data.drop_population, 1 - data.train, atol=1e-10
    )
    rows = rows_in(tmp_path / "c.csv")
    assert [float(r["score_error"]) for r in rows] == list(data.score_error.values)
    report = json.loads(run("curve", *MODEL, *times, "--step", "10", "--json"))
    assert report["tau"][0] == 0.0  # rounded to whole steps


def test_early_stopping(tmp_path):
    out = run("early-stopping", *MODEL, "--wider", "10", "--out", str(tmp_path / "e.csv"))
    assert "tau = 132.80178" in out
    assert "window 10 times wider at psi_n = 53.44" in out
    (row,) = rows_in(tmp_path / "e.csv")
    assert float(row["window_upper"]) == pytest.approx(2906.66, rel=1e-5)
    run("early-stopping", *MODEL, "--out", str(tmp_path / "e.nc"))
    assert float(rf.io.read(tmp_path / "e.nc").data.tau) == float(row["tau"])
    report = json.loads(
        run("early-stopping", "--psi-p", "8", "--psi-n", "300", "--t", "0.01", "--json")
    )
    assert report["window_upper"] == "Infinity"
    assert report["regularised"] is True


def test_phase_diagram(tmp_path, monkeypatch):
    monkeypatch.setattr("rfspec.surveys.phase.CHUNK", 4)  # compiles what tests/test_phase.py does
    grid = ["--t", "0.01", "--psi-p", "8,64", "--psi-n", "1:300:3"]
    out = run("phase-diagram", *grid, "--tau", "1e3,1e5", "--out", str(tmp_path / "p.nc"))
    assert "6 cells: computed" in out
    run("phase-diagram", *grid, "--tau", "1e3,1e5", "--out", str(tmp_path / "p.csv"))
    data = xarray.load_dataset(tmp_path / "p.nc", engine="h5netcdf")
    assert data.region.shape == (2, 3, 2)
    assert np.allclose(data.psi_n, np.geomspace(1, 300, 3))
    cells = rf.io.read(tmp_path / "p.csv").data
    assert len(cells) == 12
    for _, row in cells.iterrows():
        at = {name: row[name] for name in ("psi_p", "psi_n")}
        assert row["region"] == int(data.region.sel(at).sel(tau=row["tau"]))
        assert row["tau_star"] == float(data.tau_star.sel(at))
    for name in ("p.csv", "p.nc"):
        assert rf.io.read(tmp_path / name).model == rf.RandomFeatureModel(8.0, 1.0, 0.01)
    run("phase-diagram", *grid, "--tau", "1e5", "--out", str(tmp_path / "p.png"))
    other = json.loads(run("phase-diagram", *grid, "--variance", "2", "--json"))
    model = rf.RandomFeatureModel(8.0, 1.0, 0.01, covariance=rf.Isotropic(2.0))
    assert other["tau_star"][0][0] == pytest.approx(float(rf.early_stopping(model).tau), rel=1e-9)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["p.csv", "p.nc", "p.png"]
    report = json.loads(run("phase-diagram", *grid, "--json"))
    assert np.allclose(report["tau_star"], data.tau_star, rtol=1e-9)


def test_more_samples_for_a_longer_training_or_a_smaller_gap():
    report = json.loads(
        run("early-stopping", *MODEL, "--for-tau", "10000", "--for-gap", "0.002", "--json")
    )
    model = rf.RandomFeatureModel(64.0, 8.0, 0.01)
    for_tau = rf.early_stopping(model.replace(psi_n=report["required_psi_n_for_tau"]))
    assert float(for_tau.window.upper) == pytest.approx(1e4, rel=1e-6)
    for_gap = rf.early_stopping(model.replace(psi_n=report["required_psi_n_for_gap"]))
    assert float(for_gap.test - for_gap.train) == pytest.approx(0.002, rel=1e-6)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_many_steps_are_announced(optimizer, monkeypatch):
    """Their number, before they are taken; those of an exact method are not taken."""
    monkeypatch.setattr("rfspec.empirical.steps.MANY_STEPS", 100)
    times = ["--tau-min", "1", "--tau-max", "60", "--points", "2", "--learning-rate", "10"]
    args = ["train", *SMALL, *times, "--optimizer"]
    with pytest.warns(rf.empirical.LongRunWarning, match="^216 steps are taken one by one") as seen:
        run(*args, optimizer)
    assert len(seen) == 1
    run(*args, "gd")
    monkeypatch.setattr("rfspec.empirical.steps.MANY_STEPS", 216)
    run(*args, optimizer)


SMALL = ["--psi-p", "8", "--psi-n", "2", "--t", "0.05", "--d", "6"]


def test_sample(tmp_path):
    out = run(
        "sample", *SMALL, "--repeats", "2", "--kind", "gaussian", "--out", str(tmp_path / "s.nc")
    )
    assert "in brackets the theory" in out
    data = xarray.load_dataset(tmp_path / "s.nc", engine="h5netcdf")
    assert data.eigenvalue.shape == (2, 48)
    assert data.attrs["seed"] == 0
    model = rf.RandomFeatureModel(8.0, 2.0, 0.05)
    assert rf.io.read(tmp_path / "s.nc").model == model
    direct = rf.empirical.spectrum(jax.random.key(0), model, 6, repeats=2, kind="gaussian")
    assert np.array_equal(data.eigenvalue, direct.eigenvalues)
    assert [p.name for p in tmp_path.iterdir()] == ["s.nc"]
    report = json.loads(run("sample", *SMALL, "--repeats", "2", "--kind", "gaussian", "--json"))
    assert report["bulks"][-1]["mass"] == pytest.approx(0.125)


def test_train(tmp_path):
    times = ["--tau-min", "1", "--tau-max", "100", "--points", "3"]
    method = ["--optimizer", "momentum", "--learning-rate", "10", "--repeats", "2"]
    for suffix in ("nc", "csv", "json", "png"):
        out = run("train", *SMALL, *times, *method, "--out", str(tmp_path / f"t.{suffix}"))
    assert len(out.splitlines()) == 5
    data = xarray.load_dataset(tmp_path / "t.nc", engine="h5netcdf")
    rows = rows_in(tmp_path / "t.csv")
    assert [float(r["test"]) for r in rows] == list(data.test.values)
    assert np.all(data.test_standard_error > 0)
    assert json.loads((tmp_path / "t.json").read_text())["train"] == list(data.train.values)


def test_compare(tmp_path):
    out = run("compare", *SMALL, "--kind", "gaussian", "--out", str(tmp_path / "c.csv"))
    assert "mass of bulk 3" in out
    rows = {r["name"]: r for r in rows_in(tmp_path / "c.csv")}
    assert float(rows["kolmogorov"]["found"]) < 0.2
    run("compare", *SMALL, "--kind", "gaussian", "--out", str(tmp_path / "c.nc"))
    data = xarray.load_dataset(tmp_path / "c.nc", engine="h5netcdf")
    assert rf.io.read(tmp_path / "c.csv").model == rf.RandomFeatureModel(8.0, 2.0, 0.05)
    assert float(data.found.sel(name="kolmogorov")) == float(rows["kolmogorov"]["found"])


def test_data_are_trained_on(tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(40, 5)) + 3.0)
    data = ["--psi-p", "8", "--psi-n", "2", "--t", "0.05", "--data", str(tmp_path / "x.npy")]
    out = tmp_path / "t.json"
    report = json.loads(run("train", *data, "--points", "3", "--json", "--out", str(out)))
    assert report == rf.io.read(out).data
    assert rf.io.read(out).model.covariance == rf.FromData(np.load(tmp_path / "x.npy"))
    assert report["train"][0] < 1.0
    assert report["score_error"] == [None] * 3


BAD = {
    "no dimension": (["sample", *MODEL], "d must be an integer of at least 1, got None"),
    "small dimension": (
        ["sample", "--psi-p", "8", "--psi-n", "0.01", "--t", "1", "--d", "9"],
        "n = psi_n d rounds to 0",
    ),
    "times": (
        ["train", *SMALL, "--tau-min", "2", "--tau-max", "1"],
        "tau_min and tau_max must be ascending",
    ),
    "optimizer": (["train", *SMALL, "--optimizer", "lion"], "optimizer must be one of"),
    "picture of a comparison": (
        ["compare", *SMALL, "--out", "x.png"],
        "out must end in one of .csv, .json, .nc",
    ),
    "psi": (
        ["spectrum", "--psi-p", "-1", "--psi-n", "8", "--t", "1"],
        "psi_p must be a finite real number",
    ),
    "grid": (
        ["phase-diagram", "--t", "0.1", "--psi-n", "2:1:3"],
        "psi_n must be low:high:points with 0 < low < high",
    ),
    "grid of words": (
        ["phase-diagram", "--t", "0.1", "--psi-n", "a:b"],
        "psi_n must be low:high:points or numbers",
    ),
    "budgets of a picture": (
        ["phase-diagram", "--t", "0.1", "--tau", "1,2", "--out", "x.png"],
        "tau must be one number for a picture",
    ),
    "times of a picture": (
        ["phase-diagram", "--t", "0.1", "--times", "x", "--out", "x.png"],
        "times must be one of tau_star, ",
    ),
    "picture of nothing": (
        ["phase-diagram", "--t", "0.1", "--psi-p=-1,nan", "--psi-n", "1", "--out", "x.png"],
        "diagram must have finite values above 0 of psi_p and psi_n, got none of psi_p",
    ),
    "step": (["curve", *MODEL, "--step", "1e9"], "step must be below"),
    "rule": (["timescales", *MODEL, "--rule", "x"], "rule must be one of"),
    "out": (["spectrum", *MODEL, "--out", "x.foo"], "out must end in one of"),
    "picture of times": (
        ["timescales", *MODEL, "--out", "x.png"],
        "out must end in one of .csv, .json",
    ),
    "values": (["spectrum", *MODEL, "--values", "a", "--weights", "1"], "values must be numbers"),
    "weights": (["spectrum", *MODEL, "--values", "1"], "values and weights go together"),
    "missing data": (["spectrum", *MODEL, "--data", "no.npy"], "data must be an existing file"),
    "points": (["spectrum", *MODEL, "--points", "1"], "points must be at least 2"),
    "wider": (
        ["early-stopping", *MODEL, "--wider", "-3"],
        "wider must be a finite real number greater than 0, got -3",
    ),
    "seed": (
        ["sample", *SMALL, "--seed", "9" * 30],
        "seed must be an integer of 64 bits, got 9999",
    ),
    "scale": (["demo", "--scale", "0"], "scale must be in"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_sentence(name, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    args, message = BAD[name]
    error, status = failing(monkeypatch, capsys, args)
    assert status == 2
    assert error.startswith(f"error: {message}")


HOSTILE = {
    "signs": ["--covariance", "Isotropic(" + "-" * 5000 + "1)"],
    "brackets": ["--covariance", "Mixture" + "([" * 5000],
    "sums": ["--process", "DDPM(" + "+".join("1" * 5000) + ")"],
    "digits": ["--process", f"DDPM({'9' * 5000})"],
    "a long number": ["--process", f"FlowMatching({'9' * 4000})"],
    "code": ["--covariance", "__import__('os').system('true')"],
    "attributes": ["--covariance", "Isotropic.__init__(1)"],
    "a function": ["--covariance", "Isotropic(print)"],
    "unfinished": ["--covariance", "Atoms([1, 2], [0.5,"],
    "two commas": ["--covariance", "Atoms([1,,2], [0.5, 0.5])"],
    "after the end": ["--covariance", "Isotropic(1) Isotropic(1)"],
    "a name twice": ["--covariance", "Isotropic(variance=1, variance=2)"],
    "an unknown name": ["--covariance", "Isotropic(size=1)"],
    "a value after names": ["--covariance", "PowerLaw(exponent=1, 0.1)"],
    "a word": ["--covariance", "Isotropic(one)"],
    "no call": ["--covariance", "Isotropic"],
    "nothing": ["--covariance", ""],
    "lines": ["--covariance", "Isotropic(\n\x1b[31m)"],
    "letters of other alphabets": ["--covariance", "Isotropic(٣)"],
    "many numbers": ["--values", "a" * 5000, "--weights", "1"],
    "a long name": ["--data", "x" * 5000 + ".npy"],
    "a folder": ["--data", "/"],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_options_are_one_sentence(name, capsys, monkeypatch):
    error, status = failing(
        monkeypatch, capsys, ["spectrum", "--psi-p", "4", "--psi-n", "2", *HOSTILE[name]]
    )
    assert status == 2
    assert len(error) < 1100


def failing(monkeypatch, capsys, args):
    """What the command says on stderr, one line of it, and its exit status."""
    from rfspec import cli

    monkeypatch.setattr(sys, "argv", ["rfspec", *args])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert error[:-1].isprintable()
    return error, stopped.value.code


def npy(shape, bytes_of_data=b""):
    """A file of numbers whose header claims this shape."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"descr": "<f8", "fortran_order": False, "shape": shape}
    )
    return file.getvalue() + bytes_of_data


def zipped(name, content):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as members:
        members.writestr(name, content)
    return file.getvalue()


DAMAGED = {
    "nine TiB.npy": npy((10**6, 1_236_951)),
    "overflow.npy": npy((2**62, 2**62)),
    "negative.npy": npy((-1, 4), bytes(64)),
    "short.npy": npy((4, 4), bytes(100)),
    "empty.npy": b"",
    "objects.npy": npy((1, 1), bytes(8)).replace(b"'<f8'", b"'|O' "),
    "brackets.npy": npy((1, 1)).replace(b"(1, 1)", b"((((((("),
    "words.npy": b"no numbers",
    "nine TiB.npz": zipped("x.npy", npy((10**6, 1_236_951))),
    "damaged.npz": zipped("x.npy", npy((40, 40), bytes(12800)))[:-60],
    "empty.npz": b"",
    "text.npz": zipped("x.txt", b"text"),
    "array.npz": npy((2, 2), bytes(32)),
    "empty.csv": b"",
    "zeros.csv": bytes(100),
    "bytes.csv": bytes(range(128, 256)),
    "ragged.csv": b"1,2\n3\n",
    "words.csv": "a,b\nü,c\n".encode(),
    "text.txt": b"1,2",
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_data_file_is_one_sentence(name, capsys, monkeypatch, tmp_path):
    (tmp_path / name).write_bytes(DAMAGED[name])
    error, status = failing(
        monkeypatch, capsys, ["spectrum", *MODEL, "--data", str(tmp_path / name)]
    )
    assert status == 2
    assert "data must be " in error or "X must be " in error


def test_files_that_cannot_be_written(tmp_path, capsys, monkeypatch):
    """A folder or a damaged run is found before any computing, a full disk when it is full."""
    (tmp_path / "folder.nc").mkdir()
    run_file = tmp_path / "d.nc.partial"
    run_file.write_bytes(b"PK\x03\x04 an archive")
    command = ["phase-diagram", "--t", "0.1", "--psi-p", "2", "--psi-n", "2", "--out"]
    with monkeypatch.context() as patch:
        patch.setattr("rfspec.surveys.filling.engine", None)
        for args, message in (
            ([*command, str(tmp_path / "folder.nc")], "out must be a file, got"),
            ([*command, str(run_file / "x.nc")], "out must lie in a folder, got"),
            (
                [*command, str(tmp_path / "d.nc")],
                "checkpoint must be a file of this version of rfspec, got",
            ),
            (["demo", "--out", str(run_file)], "out must be a folder, got"),
        ):
            error, status = failing(patch, capsys, args)
            assert status == 2
            assert error.startswith(f"error: {message}")
        (tmp_path / "t.csv").write_text("old")

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    for name in ("t.csv", "t.json"):
        error, status = failing(
            monkeypatch, capsys, ["timescales", *MODEL, "--out", str(tmp_path / name)]
        )
        assert status == 1
        assert error == f"error: {tmp_path / name} could not be written: No space left on device\n"
    assert (tmp_path / "t.csv").read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["d.nc.partial", "folder.nc", "t.csv"]


def test_more_than_memory_holds_is_one_sentence(capsys, monkeypatch):
    for args in (
        ["curve", *MODEL, "--points", "1000000000000"],
        ["spectrum", *MODEL, "--points", "1" + "0" * 30],
        ["phase-diagram", "--t", "0.1", "--psi-n", "1:2:1000000000000"],
        ["phase-diagram", "--t", "0.1", "--psi-n", "1:2:1000000", "--psi-p", "1:2:1000000"],
    ):
        error, status = failing(monkeypatch, capsys, args)
        assert status == 2
        assert error.startswith("error: memory must hold ")


def test_the_process_itself(tmp_path):
    (tmp_path / "bad.csv").write_text("1,2\nx,3\n")
    command = [
        sys.executable,
        "-m",
        "rfspec",
        "spectrum",
        *MODEL,
        "--data",
        str(tmp_path / "bad.csv"),
    ]
    result = subprocess.run(
        command, capture_output=True, text=True, env={"XDG_CACHE_HOME": str(tmp_path)}, check=False
    )
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert result.stderr.startswith("error: data must be a numeric matrix")


def test_one_case_of_a_small_demo(tmp_path):
    from rfspec.cli import demo

    outcome = demo.run_case(demo.cases(0.15)[0])
    demo.write(outcome, tmp_path)
    assert outcome.landing < 5e-3
    assert {path.name for path in tmp_path.iterdir()} == {
        "isotropic.png",
        "isotropic_density.csv",
        "isotropic_curve.csv",
    }
    assert "population" in demo.table(outcome)


@pytest.mark.slow
def test_a_small_demo(tmp_path):
    from rfspec.cli import demo

    outcomes = demo.run(tmp_path, scale=0.2, progress=False)
    assert [o.case.name for o in outcomes] == ["isotropic", "two_atoms", "digits"]
    for o in outcomes:
        text = demo.table(o)
        assert "tau_mem" in text
        assert "population" in text
        assert o.landing < 5e-3
        for kind in (".png", "_density.csv", "_curve.csv"):
            assert (tmp_path / f"{o.case.name}{kind}").stat().st_size > 1000
    assert len(outcomes[1].spectrum.bulks) == 5
    digits = outcomes[2]
    # eigenvalue quantiles of an independent calculation, theory and measured
    assert np.allclose(
        digits.spectrum.quantile([0.94, 0.96, 0.98]), [0.874, 1.543, 3.776], rtol=2e-3
    )
    assert np.allclose(
        np.quantile(digits.sampled.eigenvalues, [0.94, 0.96, 0.98]), [0.883, 1.537, 3.740], rtol=0.1
    )
    assert demo.summary(digits)["kolmogorov"] < 0.2


def test_tables_are_aligned():
    """Text to the left, numbers to the right under their names, a dash where there is none."""
    table = {"part": ["a long name here", "atom"], "loss_drop": [0.5, np.nan], "error": [1e-9, 2.0]}
    header, first, second = aligned(table)
    assert header.split() == ["part", "loss", "drop", "error"]
    assert first.split() == ["a", "long", "name", "here", "0.500000", "1.0e-09"]
    assert second.split() == ["atom", "-", "2.0e+00"]
    assert len(header) == len(first) == len(second)


def test_only_a_command_of_its_own_forgets_an_unfinished_run(tmp_path):
    """`rfspec spectrum --out s.json` leaves what `rfspec sample --out s.json` had kept."""
    kept = tmp_path / "s.json.partial"
    kept.write_text("an unfinished run")
    run("spectrum", *MODEL, "--out", str(tmp_path / "s.json"))
    assert kept.read_text() == "an unfinished run"
