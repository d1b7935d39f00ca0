"""Every result tells its numbers: in text, in notebooks, as a data frame and as a dataset."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rfspec as rf

MODEL = rf.RandomFeatureModel(8.0, 2.0, t=0.05)
SAMPLED = rf.empirical.spectrum(0, MODEL, 12, repeats=2)
TABLES = {
    "spectrum": rf.spectrum(MODEL),
    "timescales": rf.timescales(MODEL, "spectrum"),
    "timescales, paper": rf.timescales(MODEL, "paper"),
    "timescales, loss": rf.timescales(MODEL),
    "early stopping": rf.early_stopping(MODEL),
    "curve": rf.learning_curve(MODEL, np.geomspace(1, 1e6, 40)),
    "one point of a curve": rf.learning_curve(MODEL, 10.0),
    "constants": rf.gaussian_equivalent(MODEL),
    "solution": rf.solve(MODEL, [1j, 2.0]),
    "two points": rf.two_point(MODEL, 1j, 2j),
    "sampled spectrum": SAMPLED,
    "sampled curve": rf.empirical.learning_curve(0, MODEL, [1.0, 10.0], 12, repeats=2),
    "exponent": rf.score_exponent(MODEL, [2.0, 4.0]),
    "matrices": rf.empirical.sample(0, MODEL, 12),
    "comparison": rf.compare(rf.spectrum(MODEL), SAMPLED),
    "matrix-free spectrum": rf.empirical.matrix_free_spectrum(0, MODEL, 12, order=8, probes=2),
}
RECORDS = {
    "bulk": TABLES["spectrum"].bulks[0],
    "atom": TABLES["spectrum"].atom,
    "window": TABLES["early stopping"].window,
    "rival": TABLES["early stopping"].rival,
    "times": TABLES["timescales"].slow,
    "sampled bulk": SAMPLED.bulks[0],
    "sampled atom": SAMPLED.atom,
    "outlier": rf.mean_outlier(rf.RandomFeatureModel(8.0, 2.0, 0.05, activation="relu"), 50),
    "limits": rf.leading_order(MODEL),
    "errors": TABLES["comparison"].error,
    "estimate": TABLES["matrix-free spectrum"].cdf(1.0),
    "required": rf.required(MODEL, "n", for_window=50.0),
    "model": MODEL,
    "covariance": rf.PowerLaw(1.0, 0.01),
    "data": rf.FromData(np.random.default_rng(0).normal(size=(30, 5))),
    "process": rf.DDPM(100),
    "activation": MODEL.activation,
}
PLACEHOLDER = re.compile(r"[fci]\d+\[|Array\(|np\.float|<function|Traced|object at")


@pytest.mark.parametrize("result", [*TABLES.values(), *RECORDS.values()], ids=[*TABLES, *RECORDS])
def test_printed_results_hold_numbers(result):
    text = repr(result)
    assert not PLACEHOLDER.search(text), text
    assert re.search(r"\d|'tanh'", text)
    assert len(text.splitlines()) < 30
    assert max(map(len, text.splitlines())) < 160


@pytest.mark.parametrize("result", TABLES.values(), ids=TABLES.keys())
def test_forms_of_a_table_agree(result):
    columns, frame, dataset = result.columns(), result.to_pandas(), result.to_xarray()
    assert list(frame.columns) == list(columns) == list(dataset.variables)
    for name, column in columns.items():
        values = np.ravel(column)
        assert np.array_equal(values, frame[name].to_numpy(), equal_nan=values.dtype.kind == "f")
        assert dataset[name].size == values.size
        if values.dtype.kind == "f":
            assert dataset[name].attrs["units"] == frame.attrs["units"][name]
    html = result._repr_html_()
    assert html.count("<tr>") == html.count("</tr>") > 1
    assert not PLACEHOLDER.search(html)


def test_numbers_are_printed_with_their_errors():
    stop = TABLES["early stopping"]
    line = next(line for line in repr(stop).splitlines() if line.startswith("tau "))
    value, error, unit = line.split()[1:]
    assert float(value) == pytest.approx(float(stop.tau), rel=1e-5)
    # the error is told absolutely
    assert float(error) == pytest.approx(float(stop.tau * stop.tau_error), rel=0.05)
    assert unit == "kη/d²"
    assert "± " in repr(SAMPLED.atom)


def test_the_ends_of_a_long_table_are_printed():
    lines = repr(TABLES["curve"]).splitlines()
    first, last = (f"{x:.6g}" for x in TABLES["curve"].tau[np.array([0, -1])])
    assert lines[2].split()[0] == first
    assert lines[-1].split()[0] == last
    assert any(set(line.split()) == {"..."} for line in lines)


def test_results_of_many_models_print_what_they_are():
    many = jax.vmap(lambda p: rf.timescales(MODEL.replace(psi_p=p), "paper"))(jnp.array([8.0, 9.0]))
    assert "f64[2]" in repr(many)
    assert "f64[2]" in many._repr_html_()


def test_results_print_inside_a_transformation():
    seen = []

    def edge(psi_p):
        sp = rf.spectrum(MODEL.replace(psi_p=psi_p))
        seen.extend([repr(sp), repr(sp.atom), repr(rf.timescales(sp, "spectrum"))])
        return sp.edges[-1]

    jax.jit(edge)(8.0)
    assert len(seen) == 3
    assert all(seen)


def test_what_memorises_before_it_generalises_says_so():
    """The gap opens before the test loss is smallest; and where it does not, nothing is said."""
    model = rf.RandomFeatureModel(8.0, 32.0, t=0.05)
    stop = rf.early_stopping(model, threshold=0.1)
    assert float(stop.onset) < float(stop.tau)
    assert "begins to be learnt before the best time" in repr(stop)
    assert "tau_mem < tau_gen" in repr(rf.timescales(stop, "loss"))
    calm = rf.early_stopping(rf.RandomFeatureModel(64.0, 8.0, t=0.01))
    assert not calm.early_onset
    assert "tau_mem < tau_gen" not in repr(rf.timescales(calm, "loss"))


def test_units_are_those_of_the_numbers():
    units = TABLES["early stopping"].to_pandas().attrs["units"]
    assert units["tau"] == "kη/d²"
    # the errors of times are relative
    assert units["tau_error"] == "1"
    assert units["test"] == units["error"] == "loss"
    units = TABLES["sampled curve"].to_pandas().attrs["units"]
    assert units["test_standard_error"] == units["error"] == "loss"
    assert units["score_error"] == "1"
    assert TABLES["spectrum"].to_xarray().lower.units == "eigenvalue of U"
