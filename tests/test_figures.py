"""Figures say what they are, are drawn from kept numbers, and those are the library's."""

import importlib
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas
import pytest

import rfspec as rf

FOLDER = Path(__file__).parents[1] / "paper_figures"
SCRIPTS = sorted(
    (*FOLDER.glob("memorize_*.py"), *FOLDER.glob("malign_*.py"), *FOLDER.glob("beyond_*.py"))
)
LOSSES, SPECTRUM = "memorize_fig05ab_losses", "memorize_fig04_spectrum"
OPTIMIZERS = "memorize_fig15_optimizers"
SCRIPT = '''"""A title.

More.
"""

import numpy as np

DIFFERS = "nothing"
A, B = 1.0, (1, "x")
FAST = {"A": 2.0}


def helper(x):
    return x + A


def compute():
    return {"": helper(1.0)}


def draw(tables):
    return tables
'''


@pytest.fixture(scope="module")
def figures():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)
        modules = (importlib.import_module(name) for name in ("recipe", "make"))
        yield SimpleNamespace(**dict(zip(("recipe", "make"), modules, strict=True)))


def kept(figures, name):
    return figures.recipe.kept(figures.recipe.load(FOLDER / f"{name}.py"))


def test_every_script_is_a_recipe(figures):
    assert figures.recipe.recipes() == SCRIPTS
    for script in SCRIPTS:
        recipe = figures.recipe.load(script)
        assert recipe.title.endswith("."), script
        assert script.read_text().startswith(f'"""{recipe.title}\n'), script
        assert len(recipe.differs) > 20, script
        fast = figures.recipe.load(script, fast=True)
        assert fast.parameters.keys() == recipe.parameters.keys(), script
        assert fast.parameters != recipe.parameters, script


def test_all_figures_are_kept_as_they_are_with_their_pictures(figures):
    for script in SCRIPTS:
        assert figures.recipe.kept(figures.recipe.load(script)), f"{script.name} has to be run"
        picture = plt.imread(FOLDER / "pictures" / f"{script.stem}.png")
        assert min(picture.shape[:2]) > 200, script
        assert np.std(picture) > 0.05, script
    assert figures.make.forgotten() == []


def test_the_table_of_figures_is_as_made(figures):
    assert (FOLDER / "README.md").read_text(encoding="utf-8") == figures.make.readme()


def test_what_a_fingerprint_sees(figures, tmp_path):
    def fingerprint(*changes, fast=False):
        text = SCRIPT
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "a_figure.py"
        path.write_text(text, encoding="utf-8")
        return figures.recipe.load(path, fast).fingerprint

    first = fingerprint()
    layout = [("A title.", "Another."), ("x + A", "(x  +  A)  # why"), ("\n\n\ndef", "\n\ndef")]
    drawing = [("    return tables\n", "    return 2 * tables\n"), ("nothing", "something")]
    assert {fingerprint(change) for change in layout + drawing} == {first}
    computing = [("x + A", "x - A"), ("helper(1.0)", "helper(2.0)"), ("A, B = 1.0", "A, B = 1.5")]
    others = [fingerprint(change) for change in computing] + [fingerprint(fast=True)]
    assert len({first, *others}) == 1 + len(others)


def test_a_figure_is_redrawn_without_computing(figures, monkeypatch, tmp_path):
    load, recipe = figures.recipe.load, figures.recipe
    monkeypatch.setattr(recipe, "load", lambda *given: load(*given)._replace(compute=None))
    monkeypatch.setattr(recipe, "OUT", tmp_path)
    monkeypatch.setattr(recipe, "PICTURES", tmp_path / "small")
    (tmp_path / "small").mkdir()
    picture = recipe.make(FOLDER / f"{OPTIMIZERS}.py")
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.with_suffix(".pdf").read_bytes().startswith(b"%PDF")
    assert (tmp_path / "small" / picture.name).exists()
    for name, table in kept(figures, OPTIMIZERS).items():
        written = pandas.read_csv(tmp_path / f"{OPTIMIZERS}.{name}.csv", comment="#")
        np.testing.assert_array_equal(written["gap"], np.ravel(table.gap))


def test_kept_losses_are_the_library_s(figures):
    shown = kept(figures, LOSSES)["exact"].sel(psi_n=8.0).isel(tau=[20, 60, 100])
    curve = rf.learning_curve(rf.RandomFeatureModel(64.0, 8.0, 0.1), shown.tau.values)
    for kind in ("train", "test", "score_error"):
        np.testing.assert_allclose(shown[kind], getattr(curve, kind), rtol=1e-8)


def test_a_kept_density_is_the_library_s(figures):
    shown = kept(figures, SPECTRUM)["identity"].sel(psi_n=8.0)
    model = rf.RandomFeatureModel(64.0, 8.0, 0.01)
    points = [20, 100, 300, 400, 500]
    x = shown.eigenvalue.values[points]
    density = shown.mass_per_log.values[points] / x
    # on the real axis, which the solver reaches from above
    np.testing.assert_allclose(density, rf.solve(model, x).q.imag / np.pi, rtol=1e-8)
    atom = rf.gaussian_equivalent(model).s2
    assert float(shown.atom) == pytest.approx(float(atom), rel=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_every_figure_is_drawn_in_its_quick_version(figures, script, monkeypatch, tmp_path):
    monkeypatch.setattr(figures.recipe, "OUT", tmp_path)
    picture = figures.recipe.make(script, fast=True)
    assert np.std(plt.imread(picture)) > 0.05
    assert list(picture.parent.glob("*.csv"))
