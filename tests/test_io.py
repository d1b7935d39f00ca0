"""A result file is whole or absent."""

import csv
import json

import numpy as np
import pytest

from rfspec.io import to_json, write_atomically, write_csv


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "result.txt"
    path.write_text("old")

    def fail(temporary):
        temporary.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, fail)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["result.txt"]


def test_csv_keeps_every_digit(tmp_path):
    x = np.array([1 / 3, np.pi * 1e-300, 1e22])
    write_csv(tmp_path / "x.csv", {"x": x, "short": [1.0], "name": ["a", "b", "c"]})
    rows = list(csv.DictReader((tmp_path / "x.csv").read_text().splitlines()))
    assert [float(r["x"]) for r in rows] == list(x)
    assert [r["short"] for r in rows] == ["1.0", "", ""]
    assert [r["name"] for r in rows] == ["a", "b", "c"]


def test_json_has_no_nan():
    assert json.loads(to_json({"a": np.float64("nan"), "b": [np.arange(2), True, None, "x"]})) == {
        "a": None,
        "b": [[0, 1], True, None, "x"],
    }
