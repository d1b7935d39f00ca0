"""Notebooks show every picture that they draw, and `make notebooks` fails when they do not."""

import importlib.util
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

SCRIPT = Path(__file__).parents[1] / "notebooks" / "run.py"
PATHS = sorted(SCRIPT.parent.glob("*.ipynb"))
SETUP = """import matplotlib.pyplot as plt
import numpy as np
import rfspec as rf
tau = np.geomspace(1.0, 10.0, 5)
curve = rf.LearningCurve(tau, 1 / tau, 1 / tau, 1 / tau, 0 * tau)"""
DRAWING = ["rf.plotting.learning_curve(curve);"] * 2 + ["plt.plot([1, 2]);"]


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("run_notebooks", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(SCRIPT.parent)
        spec.loader.exec_module(module)
    return module


def notebook_of(*sources):
    return new_notebook(cells=[new_code_cell(source) for source in sources])


def png_outputs(cell):
    return sum("image/png" in output.get("data", {}) for output in cell.outputs)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_every_cell_that_draws_shows_its_picture_even_after_the_first(script):
    """The style of the first picture once switched the pictures of all later cells off."""
    notebook = notebook_of(SETUP, *DRAWING)
    script.execute(notebook)
    assert [png_outputs(cell) for cell in notebook.cells] == [0, 1, 1, 1]
    assert script.without_picture(notebook) == []


def test_a_cell_that_draws_and_shows_nothing_is_named(script):
    picture = new_output("display_data", {"image/png": "", "text/plain": "<Figure>"})
    notebook = notebook_of(SETUP, *DRAWING, "print(1)", "# plt.plot([1, 2])", "fig = plt.figure()")
    notebook.cells.append(new_markdown_cell("`rf.plotting.spectrum(sp)` draws"))
    notebook.cells[1].outputs = [picture]
    notebook.cells[2].outputs = [new_output("execute_result", {"text/plain": "<Axes>"})]
    assert script.without_picture(notebook) == [2, 3, 6]


@pytest.mark.parametrize(("pictures", "status"), [(1, 0), (0, 1)])
def test_make_notebooks_fails_when_a_picture_is_missing(
    script, monkeypatch, tmp_path, capsys, pictures, status
):
    def execute(notebook):
        notebook.cells[0].outputs = [new_output("display_data", {"image/png": ""})] * pictures

    monkeypatch.setattr(script, "HERE", tmp_path)
    monkeypatch.setattr(script, "OUT", tmp_path / "out")
    monkeypatch.setattr(script, "execute", execute)
    nbformat.write(notebook_of(*DRAWING[-1:]), tmp_path / "one.ipynb")
    assert script.main() == status
    assert ("no picture from the cells [0]" in capsys.readouterr().err) == bool(status)


def test_the_notebooks_of_the_project_draw(script):
    """Else a rule that finds no cell would pass."""
    for path in PATHS:
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            cell.pop("outputs", None)
        assert len(script.without_picture(notebook)) >= 2


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_kept_notebooks_have_the_common_form(script, path):
    assert script.faults(path) == []


def test_what_a_notebook_lacks_of_the_common_form_is_said(script, tmp_path):
    path, cell = tmp_path / "a.ipynb", new_code_cell("f(1)")
    cell.outputs = [new_output("stream", name="stderr", text="<f at 0x7f0000000000>")]
    prose = new_markdown_cell("# A\n\nWhy? [here](b.md), [there](a.md#1-x-y-)\n\n## Next")
    (tmp_path / "a.md").write_text("## 1. X (y) ◆\n")
    nbformat.write(new_notebook(cells=[prose, new_code_cell("f(0)"), new_code_cell(), cell]), path)
    assert script.faults(path) == [
        "the first code cell does not install rfspec",
        "no section Exercises",
        "no thumbnail",
        "no such row in the index, README.md",
        "a broken link, b.md",
        "cell 2 has no output",
        "cell 3 writes to stderr",
        "cell 3 shows an address",
    ]
