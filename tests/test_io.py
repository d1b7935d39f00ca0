"""A result file is whole or absent; a run on disk goes on where it was killed."""

import csv
import errno
import json
import os

import numpy as np
import pytest

from rfspec.files.checkpoint import Checkpoint, fingerprint, resumed
from rfspec.files.io import check_target, to_json, write_atomically, write_csv

RUN = fingerprint("a run")


def full_disk(monkeypatch):
    """From now on what is written never arrives."""

    def fails(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fails)


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "result.txt"
    path.write_text("old")
    full_disk(monkeypatch)
    with pytest.raises(
        OSError, match=r"^.*result\.txt could not be written: No space left on device$"
    ):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["result.txt"]


def test_permissions_and_links_stay(tmp_path):
    (tmp_path / "there").mkdir()
    path, link, new = tmp_path / "there" / "result.txt", tmp_path / "link.txt", tmp_path / "new.txt"
    path.write_text("old")
    path.chmod(0o640)
    link.symlink_to(path)
    write_atomically(link, "new")
    assert link.is_symlink()
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o640
    before = os.umask(0o027)
    write_atomically(new, b"x")
    os.umask(before)
    assert new.stat().st_mode & 0o777 == 0o640
    link.unlink()
    link.symlink_to(tmp_path / "not there yet" / "x.txt")
    write_atomically(link, "new")
    assert (tmp_path / "not there yet" / "x.txt").read_text() == "new"


def test_what_could_not_be_written_is_refused_before_computing(tmp_path, monkeypatch):
    (tmp_path / "folder.nc").mkdir()
    (tmp_path / "file").write_text("")
    for path, message in (
        (tmp_path / "folder.nc", "out must be a file, got .*, which is a folder"),
        (tmp_path / "file" / "x.nc", "out must lie in a folder, got .*file is a file"),
        (
            tmp_path / ("x" * 300),
            "out must be a file that may be written, got .*: File name too long",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            check_target("out", path)
    with pytest.raises(ValueError, match=r"out must be a folder, got .*, which is none"):
        check_target("out", tmp_path / "file", folder=True)
    check_target("out", tmp_path / "new" / "x.nc")
    monkeypatch.setattr(os, "access", lambda *_: False)  # of a read-only disk, also for its owner
    with pytest.raises(
        ValueError, match=r"out must be a file that may be written, got .*file', which is read-only"
    ):
        check_target("out", tmp_path / "file")
    with pytest.raises(ValueError, match="out must lie in a folder that may be written, got"):
        check_target("out", tmp_path / "new" / "x.nc")


def squares(saved, calls, count=5):
    def once(i):
        calls.append(i)
        return {"square": np.full(3, i**2), "name": f"number {i}"}

    return resumed(count, once, saved)


def test_a_run_killed_at_any_byte_goes_on(tmp_path):
    """Cut off anywhere, the file holds the records that were whole."""
    path, calls = tmp_path / "run", []
    whole, sizes = squares(Checkpoint(path, RUN), calls), []
    content = path.read_bytes()
    for count in range(6):
        (tmp_path / "part").unlink(missing_ok=True)
        squares(Checkpoint(tmp_path / "part", RUN), [], count)
        sizes.append((tmp_path / "part").stat().st_size if count else 0)
    assert sizes[-1] == len(content)
    for cut in [*range(0, len(content), 97), *(size + off for size in sizes for off in (-1, 0, 1))]:
        path.write_bytes(content[: max(cut, 0)])
        calls = []
        again = squares(Checkpoint(path, RUN), calls)
        assert calls == list(range(sum(size <= cut for size in sizes[1:]), 5))
        assert all(
            np.array_equal(a[name], b[name])
            for a, b in zip(whole, again, strict=True)
            for name in a
        )
        assert path.read_bytes() == content


def test_a_damaged_run_is_refused(tmp_path):
    """A bit anywhere: one sentence, and the file stays as it is."""
    path = tmp_path / "100% run"
    squares(Checkpoint(path, RUN), [], 3)
    content = path.read_bytes()
    for at in range(0, len(content), 83):
        damaged = bytearray(content)
        damaged[at] ^= 4
        path.write_bytes(damaged)
        with pytest.raises(
            ValueError,
            match=r"checkpoint must be .*, got .*100% run.*: remove it or give another path",
        ):
            Checkpoint(path, RUN).load()
        assert path.read_bytes() == damaged


def test_runs_of_others_and_of_older_versions_are_refused(tmp_path):
    path = tmp_path / "run"
    squares(Checkpoint(path, fingerprint("another run")), [], 1)
    with pytest.raises(
        ValueError,
        match=r"checkpoint must be of a run with the same arguments, got .*, of another one",
    ):
        Checkpoint(path, RUN).load()
    np.savez(tmp_path / "old.npz", identity=RUN)
    with pytest.raises(
        ValueError,
        match=r"checkpoint must be a file of this version of rfspec, got .* of an older one",
    ):
        Checkpoint(tmp_path / "old.npz", RUN).load()
    with pytest.raises(ValueError, match=r"checkpoint must be a file, got .*, which is a folder"):
        Checkpoint(tmp_path, RUN).load()


def test_a_record_that_does_not_fit_on_the_disk_is_taken_back(tmp_path, monkeypatch):
    path, saved = tmp_path / "run", Checkpoint(tmp_path / "run", RUN)
    squares(saved, [], 2)
    content = path.read_bytes()
    with monkeypatch.context() as patch:
        full_disk(patch)
        with pytest.raises(OSError, match="run could not be written: No space left on device"):
            squares(saved, [], 3)
    assert path.read_bytes() == content
    squares(saved, calls := [], 3)
    assert calls == [2]


def test_a_long_run_writes_each_record_once(tmp_path, monkeypatch):
    """The file grows by what is new; nothing that was there is written again."""
    written, path = [], tmp_path / "run"
    monkeypatch.setattr(os, "fsync", lambda _: written.append(path.stat().st_size))
    squares(Checkpoint(path, RUN), [], 50)
    assert len(written) == 50
    assert np.ptp(np.diff(written)) < 16


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
