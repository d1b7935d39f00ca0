"""The explorer without a browser: what it computes, the scripts that it offers, its server."""

import asyncio
import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
from tornado.httpclient import AsyncHTTPClient

import rfspec as rf
import rfspec.explorer
from rfspec.cli import main
from rfspec.explorer import page, pictures, scripts, server, state, widgets
from rfspec.explorer.state import Settings

START = Settings()
LAWS = {
    "isotropic": (Settings(trace=2.0), rf.Isotropic(2.0)),
    "two atoms": (
        Settings(covariance="two atoms", ratio=3.0, share=0.25, trace=1.5, activation="relu"),
        rf.Atoms([1.0, 3.0], [0.75, 0.25]).normalised(1.5),
    ),
    "power law": (
        Settings(covariance="power law", exponent=1.5, cutoff=0.1, weight_decay=0.01),
        rf.PowerLaw(1.5, 0.1).normalised(1.0),
    ),
}


@pytest.fixture(scope="module")
def shown():
    spectral = state.spectral_of(START)
    return spectral, state.losses_of(START, spectral.spectrum)


@pytest.mark.parametrize("law", LAWS)
def test_sliders_are_arguments_of_the_model(law):
    """And the lines that the page offers make the same model."""
    settings, covariance = LAWS[law]
    model = rf.RandomFeatureModel(
        64.0, 8.0, 0.01, activation=settings.activation, covariance=covariance,
        weight_decay=settings.weight_decay,
    )  # fmt: skip
    assert state.model_of(settings) == model
    lines = scripts.spectrum_script(settings).split("\nsp = ")[0]
    made = {}
    exec(lines, made)
    assert made["model"] == model


def test_what_is_shown_is_what_the_library_returns(shown):
    spectral, losses = shown
    model = rf.RandomFeatureModel(64.0, 8.0, 0.01)
    sp = rf.spectrum(model)
    assert np.array_equal(spectral.columns["density"], sp.density(spectral.columns["lambda"]))
    curve = rf.learning_curve(model, losses.curve.tau)
    assert np.array_equal(losses.curve.test, curve.test)
    assert losses.times.tau_mem == rf.timescales(model, "spectrum").tau_mem
    parts = [row[0] for row in state.bulk_rows(sp)]
    assert parts == ["population", "sample", "satellite", "atom"]
    assert dict(state.time_rows(losses))["best time τ*"] == "132.8"
    table = widgets.table_of(("<part>",), state.bulk_rows(sp))
    assert "&lt;part&gt;" in table
    assert "<td>44.69</td>" in table


def written(script, monkeypatch, folder):
    monkeypatch.chdir(folder)
    with rf.plotting.style():
        exec(script, {})
    plt.close("all")


def test_the_scripts_on_offer_write_the_same_numbers(shown, monkeypatch, tmp_path):
    spectral, losses = shown
    written(scripts.spectrum_script(START, "log"), monkeypatch, tmp_path)
    written(scripts.losses_script(START, losses), monkeypatch, tmp_path)
    for name, result in (("spectrum", spectral), ("losses", losses)):
        assert (tmp_path / f"{name}.csv").read_bytes().decode() == scripts.csv_of(result, START)
        assert (tmp_path / f"{name}.pdf").stat().st_size > 5000


@pytest.mark.slow
def test_the_script_of_the_phase_diagram_writes_the_same_numbers(monkeypatch, tmp_path):
    written(scripts.diagram_script(START, 1e4), monkeypatch, tmp_path)
    found = rf.io.read(tmp_path / "phase_diagram.csv").data
    diagram = state.diagram_of(START.law)
    text = scripts.csv_of(diagram.sel(tau=1e4), START)
    (tmp_path / "shown.csv").write_text(text, newline="")
    expected = rf.io.read(tmp_path / "shown.csv").data
    assert list(found) == list(expected)
    assert np.allclose(found, expected, rtol=1e-9, equal_nan=True)
    figure = pictures.place_picture(START, diagram, 1e4)
    assert pictures.as_bytes(figure, "png").startswith(b"\x89PNG")


def test_decades_of_training_hold_all_modes(shown):
    sp, losses = shown[0].spectrum, shown[1]
    unit = 2.0 * float(sp.model.time_unit)
    assert losses.curve.tau[0] < 0.1 * unit / sp.edges[-1]
    assert losses.curve.tau[-1] > 10 * unit / sp.edges[0]


def test_warnings_are_told():
    with pytest.warns(rf.SaturationWarning):
        far = Settings(trace=1000.0)
    (words,) = state.warnings_of(far)
    assert "tanh is saturated" in words
    assert state.warnings_of(START) == []


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"covariance": "round"}, "covariance must be one of isotropic, two atoms, power law"),
        ({"ratio": 1.0}, "ratio must be a finite real number greater than 1"),
        ({"share": 1.0}, "share must be between 0 and 1"),
        ({"cutoff": 0.0}, "cutoff must be a finite real number greater than 0"),
        ({"psi_p": -1.0}, "psi_p must be a finite real number greater than 0"),
        ({"activation": "step"}, "activation must be one of"),
        ({"weight_decay": -1.0}, "weight_decay must be a finite real number of at least 0"),
    ],
)
@pytest.mark.usefixtures("given_anything")
def test_bad_settings(bad, message):
    with pytest.raises(ValueError, match=message):
        Settings(**bad)


def told_by_the_command(monkeypatch, capsys, *args):
    monkeypatch.setattr(sys, "argv", ["rfspec", "explore", *args])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    return capsys.readouterr().err


def test_bad_options(monkeypatch, capsys):
    error = told_by_the_command(monkeypatch, capsys, "--no-browser", "--port", "70000")
    assert error == "error: port must be an integer from 0 to 65535, got 70000\n"
    error = told_by_the_command(monkeypatch, capsys, "--no-browser", "--t", "-1")
    assert error.startswith("error: t must be a finite real number greater than 0")


def test_without_panel_a_sentence_says_what_to_install(monkeypatch, capsys):
    for name in ("page", "server", "widgets"):
        monkeypatch.delitem(sys.modules, f"rfspec.explorer.{name}", raising=False)
        monkeypatch.delattr(rfspec.explorer, name, raising=False)
    monkeypatch.setitem(sys.modules, "panel", None)
    error = told_by_the_command(monkeypatch, capsys)
    assert error == 'error: the explorer needs panel: python -m pip install "rfspec[explore]"\n'


def test_a_failure_is_a_sentence_and_the_last_picture_is_greyed(monkeypatch):
    def failing(settings):
        raise rf.ConvergenceError("two edges are too close <here>")

    monkeypatch.setattr(state, "spectral_of", failing)
    one = page.Page(START)
    one.sliders["psi_n"].value = 16.0
    asyncio.run(one._follow())
    assert "Two edges are too close &lt;here&gt;." in one.message.object
    assert one.spectrum.pane.styles == one.losses.pane.styles == page.GREYED


def test_the_server_answers():
    serving = server.server_of(START, port=0)
    address = f"http://127.0.0.1:{serving.port}/"
    answer = serving.io_loop.run_sync(lambda: AsyncHTTPClient().fetch(address))
    assert answer.code == 200
    assert b"<title>rfspec explorer</title>" in answer.body
    with pytest.raises(ValueError, match=f"port must be free, got {serving.port}"):
        server.server_of(START, port=serving.port)
    serving.stop()
    page._following.submit(int).result()  # the first picture, which is drawn ahead


def test_regions_that_another_page_has_computed_meanwhile_are_drawn(monkeypatch):
    """A page whose place was drawn just before stayed without them."""
    drawn = []

    async def draw(one):
        drawn.append(one)

    monkeypatch.setattr(page, "REST", 0.0)
    monkeypatch.setattr(page, "_known_diagrams", {START.law: "regions"})
    monkeypatch.setattr(page.Page, "_draw_place", draw)
    one = page.Page(START)
    for without, count in ((True, 1), (False, 1)):
        one._background = (START.law, 1e4, without)
        asyncio.run(one._survey())
        assert len(drawn) == count
