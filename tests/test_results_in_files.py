"""Results in files: units, versions, and the model to the last bit, whoever reads them."""

import errno
import json
import os

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import xarray

import rfspec as rf
from rfspec.cli.data_files import read_samples
from rfspec.io.long_form import long_form

MODEL = rf.RandomFeatureModel(8.0, 2.0, 0.05)
SUFFIXES = ("csv", "json", "nc")
TAU = [1.0, 1 / 3e-3, float("inf")]


@pytest.fixture(scope="module")
def results():
    return {
        "curve": rf.learning_curve(MODEL, TAU),
        "spectrum": rf.spectrum(MODEL),
        "timescales": rf.timescales(MODEL, "paper"),
        "stop": rf.early_stopping(MODEL),
    }


def values_of(data, name):
    """A column of what was read, whatever the form."""
    column = data[name]
    column = column.values if isinstance(data, xarray.Dataset) else column
    wanted = [np.nan if x is None else x for x in np.ravel(np.asarray(column, object))]
    return (
        wanted
        if isinstance(wanted[0], str) and wanted[0] != "Infinity"
        else np.array(wanted, float)
    )


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", ["curve", "spectrum", "timescales", "stop"])
def test_a_result_is_read_back_to_the_last_bit_with_its_model(results, name, suffix, tmp_path):
    path = rf.io.write(tmp_path / f"x.{suffix}", results[name])
    stored = rf.io.read(str(path))
    assert stored.model == MODEL
    kinds = {"csv": pd.DataFrame, "json": dict, "nc": xarray.Dataset}
    assert isinstance(stored.data, kinds[suffix])
    for column, values in results[name].columns().items():
        found = values_of(stored.data, column)
        if isinstance(found, list):
            assert found == list(values)
        else:
            assert np.array_equal(found, np.ravel(values), equal_nan=True), column


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_says_what_its_numbers_are(results, suffix, tmp_path):
    text_of = {
        "csv": lambda path: path.read_text(),
        "json": lambda path: json.dumps(json.loads(path.read_text()), ensure_ascii=False),
        "nc": lambda path: str(xarray.load_dataset(path, engine="h5netcdf").attrs),
    }
    path = rf.io.write(tmp_path / f"x.{suffix}", results["stop"], about={"author": "me"})
    text = text_of[suffix](path)
    for word in (repr(MODEL), f"rfspec {rf.__version__}, JAX {jax.__version__}", "me"):
        assert word in text
    units = {
        "csv": lambda data: data.attrs["units"],
        "json": lambda data: data["units"],
        "nc": lambda data: {str(name): data[name].attrs["units"] for name in data},
    }[suffix](rf.io.read(path).data)
    assert units["tau"] == "kη/d²"
    assert units["tau_error"] == "1"  # it is relative
    assert units["test"] == "loss"


def test_pandas_and_numpy_read_the_tables(results, tmp_path):
    """Each in its own words; a matrix of numbers is also one of samples."""
    curve = results["curve"]
    path = rf.io.write(tmp_path / "x.csv", curve)
    columns = curve.columns()
    matrix = np.stack(list(columns.values()), axis=1)
    comments = [line for line in path.read_text().splitlines() if line.startswith("#")]
    assert all(line.startswith("# ") for line in comments)
    frame = pd.read_csv(path, comment="#")
    assert list(frame.columns) == list(columns)
    assert np.allclose(frame.to_numpy(), matrix, rtol=1e-15)
    named = np.genfromtxt(path, delimiter=",", names=True)
    assert named.dtype.names == tuple(columns)
    assert np.array_equal(named["test"], columns["test"])
    assert np.array_equal(np.loadtxt(path, delimiter=",", skiprows=1), matrix)
    assert np.array_equal(read_samples(path), matrix)


def test_samples_may_lie_between_comments(tmp_path):
    path = tmp_path / "x.csv"
    numbers = "1,2\n\n# between\n3,4 # after\n"
    for text in (
        numbers,
        f"# first\n{numbers}",
        f"# first\na,b\n# then\n{numbers}",
        f"#a,b\n{numbers}",
    ):
        path.write_text(text)
        assert np.array_equal(read_samples(path), [[1.0, 2.0], [3.0, 4.0]])
        path.write_text(f"{text}5,x\n")
        with pytest.raises(ValueError, match=f"at line {text.count(chr(10)) + 1}, column 2"):
            read_samples(path)


def grid():
    axes = {"psi_p": [2.0, 8.0], "psi_n": [1.0, 3.0, 9.0]}
    shape = (2, 3)
    cells = np.arange(6.0).reshape(shape)
    return xarray.Dataset(
        {
            "test": (("psi_p", "psi_n", "tau"), np.stack([cells, 10.0 * cells], axis=-1)),
            "tau_star": (("psi_p", "psi_n"), cells**2, {"units": "1"}),
            "tau_mem": (("psi_p", "psi_n", "rule"), np.stack([cells, -cells], axis=-1)),
            "region": (
                ("psi_n", "psi_p"), np.int8(cells.T),
                {"flag_values": [0, 1], "flag_meanings": "no; yes"},
            ),
            "cost": ((), 0.5),
        },
        {**axes, "tau": [5.0, np.inf], "rule": ["loss", "paper"], "t": 0.1},
    )  # fmt: skip


def test_a_grid_as_a_table_has_a_row_for_each_cell(tmp_path):
    """Rules lie side by side; what has fewer dimensions is repeated."""
    data = grid()
    frame = rf.io.read(rf.io.write(tmp_path / "x.csv", data)).data
    assert len(frame) == 12
    for _, row in frame.iterrows():
        at = {name: row[name] for name in ("psi_p", "psi_n")}
        cell = data.sel(at)
        assert row["test"] == cell.test.sel(tau=row["tau"])
        assert row["tau_star"] == cell.tau_star
        assert row["tau_mem_paper"] == cell.tau_mem.sel(rule="paper")
        assert row["region"] == cell.region
        assert row["t"] == 0.1
    assert frame.attrs["cost"] == 0.5
    assert frame.attrs["region_flags"] == "0 no; 1 yes"
    assert frame.attrs["units"]["tau_star"] == "kη/d²"


def test_a_table_of_labels_alone_has_them_in_rows():
    data = xarray.Dataset({"found": ("name", [1.0, 2.0])}, {"name": ["a", "b"]})
    columns, units, shared = long_form(data)
    assert list(columns["name"]) == ["a", "b"]
    assert list(columns["found"]) == [1.0, 2.0]
    assert (units, shared) == ({"found": "1"}, {})


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_model_of_a_dataset_survives_another_form(suffix, tmp_path):
    first = rf.io.write(tmp_path / "x.nc", grid(), model=MODEL)
    again = rf.io.write(tmp_path / f"y.{suffix}", rf.io.read(first).data)
    assert rf.io.read(again).model == MODEL


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_function_of_the_users_own_is_not_read_back_but_the_data_are(suffix, tmp_path):
    mine = rf.RandomFeatureModel(8.0, 2.0, 0.05, activation=lambda x: jnp.maximum(x, 0.1 * x))
    stored = rf.io.read(rf.io.write(tmp_path / f"x.{suffix}", {"a": [1.0, 2.0]}, model=mine))
    assert list(stored.data["a"]) == [1.0, 2.0]
    with pytest.raises(ValueError, match="which only its author can give"):
        _ = stored.model


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_without_a_model_has_data(suffix, tmp_path):
    stored = rf.io.read(rf.io.write(tmp_path / f"x.{suffix}", {"a": [1.0, 2.0]}))
    assert list(stored.data["a"]) == [1.0, 2.0]
    with pytest.raises(ValueError, match=r"must hold the model of its results, got .*x\."):
        _ = stored.model


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_model_of_thousands_of_eigenvalues_fits_into_a_file(suffix, tmp_path):
    """More than the 64 KiB that HDF5 keeps in an attribute."""
    law = rf.Atoms(np.random.default_rng(0).uniform(1.0, 2.0, 9000), np.full(9000, 1 / 9000))
    model = rf.RandomFeatureModel(8.0, 2.0, 0.05, covariance=law)
    assert (
        rf.io.read(rf.io.write(tmp_path / f"x.{suffix}", {"a": [1.0]}, model=model)).model == model
    )


def curve_at(psi_n):
    return rf.learning_curve(MODEL.replace(psi_n=psi_n), 1.0)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_result_that_does_not_fit_on_the_disk_leaves_the_old_file(suffix, tmp_path, monkeypatch):
    path = rf.io.write(tmp_path / f"x.{suffix}", {"a": [1.0]})

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="could not be written: No"):
        rf.io.write(path, {"a": [2.0]})
    assert list(rf.io.read(path).data["a"]) == [1.0]
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_whatever_is_said_of_a_result_is_kept(suffix, tmp_path):
    about = {"seed": 3, "kind": "features", "on": True, "step": 0.1, "sizes": {"d": 4}, "no": None}
    found = rf.io.read(rf.io.write(tmp_path / f"x.{suffix}", {"a": [1.0]}, about=about)).data
    kept = found if suffix == "json" else found.attrs
    sizes = json.loads(kept["sizes"]) if suffix == "nc" else kept["sizes"]
    assert sizes == about["sizes"]
    assert all(kept[name] == about[name] for name in ("seed", "kind", "on", "step"))
    assert "no" not in kept


REFUSED = {
    "another form": (
        lambda curve: rf.io.write("x.txt", curve),
        "path must end in one of .csv, .json, .nc, got 'x.txt'",
    ),
    "no path": (lambda curve: rf.io.write(3, curve), "path must end in one of .* got 3"),
    "no result": (lambda _: rf.io.write("x.csv", 3.0), "result must have columns.* got float"),
    "a batch": (
        lambda _: rf.io.write("x.csv", jax.vmap(curve_at)(jnp.array([1.0, 2.0]))),
        "result must be of one model whose numbers are known, got a batch",
    ),
    "no file": (
        lambda _: rf.io.read("nowhere.csv"),
        "path must be an existing file, got 'nowhere.csv'",
    ),
    "a zero": (lambda _: rf.io.read("a\0b.csv"), "path must be an existing file"),
    "a number": (lambda _: rf.io.read(3.5), "path must be an existing file, got 3.5"),
    "a folder": (lambda _: rf.io.read("/"), "path must be an existing file, got '/'"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.usefixtures("given_anything")
def test_what_is_no_result_is_refused_in_a_sentence(name, results):
    call, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        call(results["curve"])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_damaged_file_is_refused_in_a_sentence(suffix, tmp_path):
    path = tmp_path / f"x.{suffix}"
    for content in (b"", bytes(range(128, 256))):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"path must be a whole .{suffix} file, got "):
            rf.io.read(path)
    other = tmp_path / "x.txt"
    other.write_text("1")
    with pytest.raises(ValueError, match=r"path must end in one of .csv, .json, .nc, got"):
        rf.io.read(other)
