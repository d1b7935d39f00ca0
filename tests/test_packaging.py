"""What is published: a wheel and a source archive that hold all, install, and run."""

import email
import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

import rfspec as rf

ROOT = Path(__file__).parents[1]


def run(*command, **known):
    return subprocess.run(command, check=True, capture_output=True, text=True, **known).stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "hatchling", "build", "-d", str(out), cwd=ROOT)
    return out


def test_the_wheel_holds_every_file_of_the_package(built):
    (wheel,) = built.glob("*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    package = (path for path in (ROOT / "rfspec").rglob("*") if path.suffix != ".pyc")
    files = {path.relative_to(ROOT).as_posix() for path in package if path.is_file()}
    assert len(files) > 100
    assert files <= inside
    assert all(name.startswith(("rfspec/", f"rfspec-{rf.__version__}.")) for name in inside)


def test_the_wheel_says_what_it_is(built):
    (wheel,) = built.glob("*.whl")
    text = zipfile.ZipFile(wheel).read(f"rfspec-{rf.__version__}.dist-info/METADATA").decode()
    known = email.message_from_string(text)
    assert known["Name"] == "rfspec"
    assert known["Version"] == rf.__version__
    assert known["Requires-Python"] == ">=3.11"
    assert known["License-Expression"] == "MIT"
    assert known["Description-Content-Type"] == "text/markdown"
    assert known["Author"]
    assert known["Project-URL"]
    assert "explore" in known.get_all("Provides-Extra")
    assert "# rfspec" in known.get_payload()


def test_the_source_archive_builds_the_same_wheel(built, tmp_path):
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path, filter="data")
    (tree,) = tmp_path.iterdir()
    # with its tests, and what they read
    for name in (
        "tests/conftest.py",
        "docs/theory.md",
        "notebooks/run.py",
        "paper_figures/make.py",
    ):
        assert (tree / name).exists()
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path), cwd=tree)
    (wheel,), (again,) = built.glob("*.whl"), tmp_path.glob("*.whl")
    files = [{i.filename: i.CRC for i in zipfile.ZipFile(w).infolist()} for w in (wheel, again)]
    assert files[0] == files[1]


def test_one_version_everywhere():
    """pyproject.toml reads it from the package."""
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    cited = re.search(r"^version: (\S+)", (ROOT / "CITATION.cff").read_text("utf-8"), re.MULTILINE)
    assert newest[1] == cited[1] == rf.__version__


@pytest.mark.slow
def test_the_wheel_runs_in_a_clean_environment(built, tmp_path):
    (wheel,) = built.glob("*.whl")
    venv.create(tmp_path / "clean", with_pip=True)
    python = tmp_path / "clean" / "bin" / "python"
    run(str(python), "-m", "pip", "install", "--quiet", str(wheel), cwd=tmp_path)
    command = str(python.with_name("rfspec"))
    assert rf.__version__ in run(command, "--version", cwd=tmp_path)
    model = ["--psi-p", "8", "--psi-n", "2", "--t", "0.05"]
    picture = tmp_path / "figure.png"
    assert "population" in run(command, "spectrum", *model, "--out", str(picture), cwd=tmp_path)
    assert picture.stat().st_size > 10_000
