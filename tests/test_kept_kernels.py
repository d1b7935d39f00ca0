"""Compiled kernels are kept between sessions, in a folder of the user's own or not at all."""

import json
import os
import stat
import subprocess
import sys
import time
from importlib.metadata import version

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache
from typer.testing import CliRunner

import rfspec as rf
from rfspec.cli import app, doctor
from rfspec.numerics import kept

SESSION = """
import json
import rfspec as rf
from rfspec.numerics import kept
value = rf.gaussian_equivalent(rf.RandomFeatureModel(8.0, 2.0, 0.1, activation="erf")).v2
print(json.dumps({"value": float(value), "folder": str(rf.cache()), **kept.events}))
"""
SETTINGS = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
posix = pytest.mark.skipif(os.name != "posix", reason="others may not write there")


def environment(folder):
    """That of a user who has set nothing, and whose cache folder it is."""
    ours = ("JAX_COMPILATION", "JAX_PERSISTENT", "RFSPEC_")
    known = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
    return known | {"XDG_CACHE_HOME": str(folder)}


def start(folder, **known):
    # all that is compiled here is small, and kept all the same
    quick = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    command = [sys.executable, "-W", "error", "-c", SESSION]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=environment(folder) | quick | known, **pipes)


def finished(process):
    out, err = process.communicate()
    assert process.returncode == 0, err
    return json.loads(out)


@pytest.fixture
def undecided(monkeypatch, tmp_path):
    """A session that has not computed yet, of a user who has set nothing."""
    before = {name: getattr(jax.config, name) for name in SETTINGS}
    for name in os.environ:
        if name.startswith(("JAX_PERSISTENT", "RFSPEC_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    monkeypatch.setattr(kept, "_kept", kept._Kept())
    compilation_cache.reset_cache()
    jax.config.update(SETTINGS[0], None)
    jax.config.update(SETTINGS[1], 1.0)
    yield tmp_path / "user" / "rfspec"
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


def test_a_second_process_finds_what_a_first_has_kept(tmp_path):
    first, second = (finished(start(tmp_path)) for _ in range(2))
    assert first["value"] == second["value"]
    assert first[kept.ASKED] == second[kept.ASKED] == second[kept.FOUND] == first[kept.WRITTEN] > 0
    assert kept.FOUND not in first
    assert kept.WRITTEN not in second
    assert first["folder"].startswith(str(tmp_path / "rfspec" / f"jaxlib-{version('jaxlib')}-"))


@pytest.mark.slow
def test_processes_that_start_at_once_share_a_folder(tmp_path):
    processes = [start(tmp_path) for _ in range(6)]
    assert len({finished(process)["value"] for process in processes}) == 1
    assert kept.WRITTEN not in finished(start(tmp_path))


def test_a_session_without_a_folder_computes_all_the_same(undecided):
    undecided.parent.mkdir()
    undecided.write_text("this is no folder")
    assert rf.gaussian_equivalent(rf.RandomFeatureModel(8.0, 2.0, 0.1)).v2 > 0
    assert rf.cache() is None
    assert kept.reason()[1]


def test_the_first_call_decides_where(undecided):
    assert not undecided.exists()
    rf.clock(rf.RandomFeatureModel(8.0, 2.0, 0.1), 10, steps=1, learning_rate=1.0)
    rf.gaussian_equivalent(rf.RandomFeatureModel(8.0, 2.0, 0.1))
    (folder,) = undecided.iterdir()
    assert rf.cache() == folder
    assert jax.config.jax_compilation_cache_dir == str(folder)
    assert jax.config.jax_persistent_cache_min_compile_time_secs == kept.QUICK
    if os.name == "posix":
        assert {stat.S_IMODE(path.stat().st_mode) for path in (undecided, folder)} == {0o700}


@pytest.mark.parametrize("value", ["off", "Off ", "0"])
def test_a_variable_switches_it_off(undecided, monkeypatch, value):
    monkeypatch.setenv("RFSPEC_CACHE", value)
    assert rf.cache() is None
    assert not undecided.exists()
    assert kept.reason() == (f"RFSPEC_CACHE={value.strip()} has switched it off", False)


def test_a_variable_names_a_folder(undecided, monkeypatch, tmp_path):
    monkeypatch.setenv("RFSPEC_CACHE", str(tmp_path / "mine"))
    assert rf.cache().parent == tmp_path / "mine"
    assert not undecided.exists()


@pytest.mark.parametrize("setting", ["jax_compilation_cache_dir", "jax_compilation_cache_max_size"])
def test_a_cache_that_the_user_has_set_up_stays(undecided, tmp_path, setting):
    value = {"jax_compilation_cache_dir": str(tmp_path), "jax_compilation_cache_max_size": 0}[
        setting
    ]
    before = getattr(jax.config, setting)
    jax.config.update(setting, value)
    try:
        assert rf.cache() == rf.cache(None) == (tmp_path if isinstance(value, str) else None)
        assert getattr(jax.config, setting) == value
        assert jax.config.jax_persistent_cache_min_compile_time_secs == 1.0
        assert not undecided.exists()
    finally:
        jax.config.update(setting, before)


def test_a_cache_that_the_user_sets_up_later_is_given_way(undecided, tmp_path):
    rf.cache()
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "mine"))
    rf.gaussian_equivalent(rf.RandomFeatureModel(8.0, 2.0, 0.1))
    assert jax.config.jax_persistent_cache_min_compile_time_secs == 1.0
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.jit(lambda x: x + 0.5)(1.0)
    assert list((tmp_path / "mine").glob("jit*-cache"))
    assert rf.cache() == tmp_path / "mine"


def test_none_puts_back_what_was_set_before(undecided, tmp_path):
    before = [getattr(jax.config, name) for name in SETTINGS]
    assert rf.cache(tmp_path / "one").parent == tmp_path / "one"
    assert rf.cache(str(tmp_path / "two")).parent == rf.cache().parent == tmp_path / "two"
    assert rf.cache(None) is rf.cache() is None
    assert [getattr(jax.config, name) for name in SETTINGS] == before
    assert not undecided.exists()


def refused(path, match):
    before = rf.cache()
    with pytest.raises(
        ValueError, match=rf"^path must be a folder of your own that can be written, got .*{match}"
    ):
        rf.cache(path)
    assert rf.cache() == before


def test_what_is_no_folder_is_refused(undecided, tmp_path):
    (tmp_path / "file").touch()
    refused(tmp_path / "file", "exists")
    refused(3, "3: ")
    refused("a\0b", "null")


@posix
def test_a_folder_that_others_may_write_is_refused(undecided, tmp_path):
    """For what is kept there is run."""
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    refused(tmp_path / "open", "others may write to .*open")
    rf.cache(None)
    undecided.chmod(0o770)
    kept._kept.decided = False
    assert rf.cache() is None
    assert kept.reason() == (f"others may write to {undecided} (chmod go-w would mend it)", True)


@posix
def test_a_folder_of_another_user_is_refused(undecided, tmp_path, monkeypatch):
    (tmp_path / "theirs").mkdir()
    me = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    refused(tmp_path / "theirs", "belongs to another user")
    assert rf.cache() is None
    assert kept.reason()[1]


def test_what_was_used_least_goes_first(undecided, monkeypatch):
    folder = rf.cache()
    old = time.time() - 2 * kept.LEFT_ALONE
    for i, size in enumerate([0, 50, 50, 50]):
        path = folder / f"jit_f{i}-cache"
        path.write_bytes(b"x" * size)
        os.utime(path, (old + i, old + i))
    for name, used in (("jaxlib-0.1-x", old), ("jaxlib-0.2-x", time.time())):
        (undecided / name).mkdir()
        (undecided / name / ".used").touch()
        os.utime(undecided / name / ".used", (used, used))
    os.utime(folder / ".used", (old, old))
    monkeypatch.setattr(kept, "MOST", 140)
    rf.cache(None)
    kept._kept.decided = False
    assert rf.cache() == folder
    assert {path.name for path, _ in kept.files_in(folder)} == {"jit_f2-cache", "jit_f3-cache"}
    assert {path.name for path in undecided.iterdir()} == {"jaxlib-0.2-x", folder.name}


# --------------------------------------------------------------------------------------------------
# rfspec doctor


def examined(monkeypatch, second_process=None):
    found = second_process or {"stored": 1, "found": 1, "trouble": ""}
    monkeypatch.setattr(doctor, "second_process", lambda: found)
    result = CliRunner().invoke(app, ["doctor", "--json"], catch_exceptions=False)
    report = json.loads(result.output)
    assert result.exit_code == bool(report["wrong"])
    return report


def test_the_doctor_finds_nothing_wrong(undecided, monkeypatch):
    report = examined(monkeypatch)
    assert report["wrong"] == []
    assert report["versions"]["rfspec"] == rf.__version__
    assert report["precision"]["error"] < 1e-15
    assert report["kernels"]["folder"] == str(rf.cache())
    again = examined(monkeypatch)
    assert again["kernels"]["files"] >= report["kernels"]["files"]
    result = CliRunner().invoke(app, ["doctor"], catch_exceptions=False)
    assert result.output.endswith("nothing is wrong\n")


def test_a_second_process_is_asked_in_earnest():
    assert doctor.second_process() == {"stored": 1, "found": 1, "trouble": ""}


def counted(found, messages=""):
    runs = [({kept.ASKED: 1, kept.WRITTEN: 1}, ""), ({kept.ASKED: 1, **found}, messages)]
    return lambda folder: runs.pop(0)


OF_ANOTHER_CPU = "E Target machine feature +avx512xx is not  supported on the host machine."


@pytest.mark.parametrize(
    ("run", "trouble"),
    [
        (counted({}), "kept kernels are rejected"),
        (counted({kept.FOUND: 1}, OF_ANOTHER_CPU), "of another CPU"),
        (lambda folder: ({kept.ASKED: 1}, ""), "could not be stored"),
    ],
)
def test_the_doctor_tells_of_kernels_that_are_rejected(monkeypatch, run, trouble):
    monkeypatch.setattr(doctor, "_one_process", run)
    report = examined(monkeypatch, doctor.second_process())
    (sentence,) = report["wrong"]
    assert trouble in sentence


def test_the_doctor_tells_of_a_process_that_fails(monkeypatch):
    monkeypatch.setattr(doctor, "PROBE", "raise SystemExit('no such thing')")
    assert doctor.second_process()["trouble"] == "no other process computes: no such thing"


def test_the_doctor_removes_half_a_kernel(undecided, monkeypatch):
    folder = rf.cache()
    for name in ("jit_a-cache", "jit_b-cache"):
        (folder / name).write_bytes(b"half a kernel")
    (folder / "jit_zstandard-cache").write_bytes(b"\x28\xb5\x2f\xfd...")
    (sentence,) = examined(monkeypatch)["wrong"]
    assert sentence == "2 kept kernels could not be read, and have been removed"
    assert (folder / "jit_zstandard-cache").exists()
    assert examined(monkeypatch)["wrong"] == []


def test_the_doctor_tells_of_a_folder_that_cannot_be_used(undecided, monkeypatch):
    undecided.parent.mkdir()
    undecided.write_text("a file")
    (sentence,) = examined(monkeypatch)["wrong"]
    assert sentence.startswith(f"compiled kernels are not kept: {undecided}: ")


def test_the_doctor_tells_of_single_precision_and_slow_settings(monkeypatch):
    with jax.enable_x64(False):
        (sentence,) = examined(monkeypatch)["wrong"]
    assert sentence == "a resolvent that is known has a relative error of inf"
    with jax.debug_nans(True):
        (sentence,) = examined(monkeypatch)["wrong"]
    assert sentence == "jax_debug_nans is on, which slows or stops rfspec"
