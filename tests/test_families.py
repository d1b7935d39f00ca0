"""Families in one picture: a colour and a label for each member, one legend, on any axes."""

import jax
import matplotlib.pyplot as plt
import numpy as np
import pytest

import rfspec as rf

MODEL = rf.RandomFeatureModel(8.0, 2.0, 0.05)
PSI_N = (2.0, 4.0, 16.0)
TAU = np.geomspace(1.0, 1e4, 9)
MANY = np.geomspace(2.0, 64.0, 11)


def texts(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def luminance(color):
    return float(np.dot(plt.matplotlib.colors.to_rgb(color), (0.2126, 0.7152, 0.0722)))


def drawn(ax):
    """Lines of spectra and curves, without the atoms' vertical ones."""
    return [line for line in ax.lines if len(line.get_xdata()) > 2]


@pytest.fixture(scope="module")
def spectra():
    return [rf.spectrum(MODEL.replace(psi_n=psi_n)) for psi_n in PSI_N]


@pytest.fixture(scope="module")
def theory():
    return [rf.learning_curve(MODEL.replace(psi_n=psi_n), TAU) for psi_n in PSI_N]


@pytest.fixture(scope="module")
def sampled():
    return [
        rf.empirical.learning_curve(0, MODEL.replace(psi_n=psi_n), TAU, 6, repeats=2)
        for psi_n in PSI_N
    ]


# -----------------------------------------------------------------------------------------------
# spectra


@pytest.mark.parametrize("quantity", ["mass", "density"])
@pytest.mark.parametrize("xscale", ["log", "linear"])
def test_the_area_under_each_member_is_the_mass_of_its_bulks(spectra, quantity, xscale):
    ax = rf.plotting.spectrum(spectra, quantity=quantity, xscale=xscale, yscale="linear")
    assert (ax.get_xscale(), ax.get_yscale()) == (xscale, "linear")
    for line, sp in zip(drawn(ax), spectra, strict=True):
        x, y = line.get_data()
        steps = np.diff(np.log(x) if quantity == "mass" else x)
        # none across the gaps, where a line has a hole
        area = np.nansum(steps * (y[1:] + y[:-1]) / 2)
        assert np.isclose(area, 1.0 - float(sp.atom.mass), rtol=2e-3)


def test_members_are_named_by_what_differs_and_coloured_in_its_order(spectra):
    ax = rf.plotting.spectrum([spectra[1], spectra[2], spectra[0]])
    assert texts(ax) == [r"$\psi_n = 4$", r"$\psi_n = 16$", r"$\psi_n = 2$", "atoms"]
    middle, last, first = (luminance(line.get_color()) for line in drawn(ax))
    assert first < middle < last
    # the legend shows the colours of the lines
    handles = ax.get_legend().legend_handles
    for handle, line in zip(handles, drawn(ax), strict=False):
        assert handle.get_color() == line.get_color()


def test_keys_of_a_dictionary_are_the_labels(spectra):
    ax = rf.plotting.spectrum({"few": spectra[0], 7: MODEL.replace(psi_n=4.0)})
    assert texts(ax) == ["few", "7", "atoms"]
    alone, of_solved = drawn(ax)[1], drawn(rf.plotting.spectrum(spectra))[1]
    assert np.array_equal(alone.get_ydata(), of_solved.get_ydata(), equal_nan=True)


def test_a_list_of_one_has_the_colours_of_parts(spectra):
    colors = [
        [line.get_color() for line in rf.plotting.spectrum(given).lines]
        for given in (spectra[0], spectra[:1], spectra[0].model)
    ]
    assert colors[0] == colors[1] == colors[2]
    assert len(set(colors[0])) == 4


def test_many_members_have_a_colour_bar_or_a_few_labels():
    curves = [made_up(MODEL.replace(psi_n=psi_n)) for psi_n in MANY]
    ax = rf.plotting.learning_curve(curves)
    assert texts(ax) == ["train loss", "test loss"]
    (bar,) = [other for other in ax.figure.axes if other is not ax]
    assert bar.get_ylabel() == r"$\psi_n$"
    assert np.allclose(bar.get_ylim(), (MANY[0], MANY[-1]))
    ax = rf.plotting.learning_curve({f"model {i}": curve for i, curve in enumerate(curves)})
    assert ax.figure.axes == [ax]
    shown = texts(ax)
    assert len(shown) == 10
    assert (shown[0], shown[7]) == ("model 0", "model 10")


def made_up(model=None, step=None):
    return rf.LearningCurve(TAU, 1 / TAU, 1 + 0 * TAU, 0 * TAU, 0 * TAU, model=model, step=step)


def test_a_long_legend_lies_beside_the_axes_and_on_the_page():
    curves = [made_up(MODEL.replace(psi_n=psi_n)) for psi_n in MANY[:8]]
    ax = rf.plotting.learning_curve(curves)
    ax.figure.canvas.draw()
    axes, legend = ax.get_window_extent(), ax.get_legend().get_window_extent()
    assert legend.x0 > axes.x1
    assert legend.x1 <= ax.figure.bbox.x1
    assert legend.y0 >= 0
    assert legend.y1 <= ax.figure.bbox.y1


@pytest.mark.parametrize(
    ("models", "labels"),
    [
        (
            [MODEL, MODEL.replace(t=1e-5)],
            [r"$t = 0.05$", r"$t = 10^{-5}$"],
        ),
        (
            [MODEL, MODEL.replace(psi_p=4.0, psi_n=3.0)],
            [r"$\psi_p = 8$, $\psi_n = 2$", r"$\psi_p = 4$, $\psi_n = 3$"],
        ),
        (
            [MODEL, MODEL.replace(psi_n=2.0 + 1e-9)],
            [r"$\psi_n = 2$", r"$\psi_n = 2.0000000010000001$"],
        ),
        ([MODEL, MODEL.replace(activation="relu")], ["tanh", "relu"]),
        ([MODEL, MODEL.replace(target="data")], ["noise", "data"]),
        ([MODEL, MODEL.replace(noise_draws=2)], [r"$m = \infty$", "$m = 2$"]),
        (
            [MODEL, MODEL.replace(process=rf.FlowMatching(0.3))],
            ["OrnsteinUhlenbeck(t=0.05)", "FlowMatching(s=0.3)"],
        ),
        (
            [MODEL, MODEL.replace(covariance=rf.Isotropic(2.0))],
            [r"$\sigma_x^2 = 1$", r"$\sigma_x^2 = 2$"],
        ),
        (
            [MODEL, MODEL.replace(covariance=rf.Atoms([0.5, 1.5], [0.5, 0.5]))],
            ["Isotropic", "Atoms"],
        ),
        (
            [
                MODEL.replace(covariance=rf.Atoms([1 - x, 1 + x], [0.5, 0.5]))
                for x in (0.1, 0.2, 0.1)
            ],
            ["Atoms 1 (1)", "Atoms 2", "Atoms 1 (2)"],
        ),
        ([MODEL, MODEL], ["theory (1)", "theory (2)"]),
    ],
)
def test_labels_say_in_which_arguments_models_differ(models, labels):
    assert texts(rf.plotting.learning_curve([made_up(m) for m in models]))[:-2] == labels


def test_curves_of_one_model_are_named_by_how_they_were_trained():
    ax = rf.plotting.learning_curve([made_up(MODEL), made_up(MODEL, 0.5), made_up(MODEL, 0.25)])
    steps = [r"$\eta/d^2 = 0.5$", r"$\eta/d^2 = 0.25$"]
    assert texts(ax)[:3] == ["gradient flow", *steps]


def test_a_needle_does_not_flatten_the_others():
    late = [MODEL.replace(psi_p=16.0, psi_n=4.0, t=t) for t in (0.05, 0.1, 1.0)]
    ax = rf.plotting.spectrum(late)
    assert ax.get_yscale() == "log"
    shown = [np.nanmax(line.get_ydata()) for line in drawn(ax)]
    assert max(shown) > 30 * min(shown)
    assert ax.get_ylim()[0] < 0.1 * min(shown)


def test_a_density_that_rises_at_its_edge_does_not_hide_the_rest():
    """At a hard edge it goes like λ^(-1/2)."""
    ax = rf.plotting.spectrum(rf.RandomFeatureModel(2.0, 1.0, 0.01), quantity="density")
    for line in drawn(ax):
        assert np.mean(line.get_ydata() > ax.get_ylim()[0]) > 0.9


def test_a_bulk_without_an_end_is_drawn_to_its_last_thousandth():
    sp = rf.spectrum(MODEL.replace(covariance=rf.PowerLaw(0.5)))
    assert np.isinf(float(sp.edges[-1]))
    *_, line = drawn(rf.plotting.spectrum(sp))
    x, y = line.get_data()
    last = float(sp.bulks[-1].mass)
    assert np.isclose(np.trapezoid(y, np.log(x)), 0.999 * last, rtol=2e-3)


@pytest.mark.parametrize("quantity", ["mass", "density"])
@pytest.mark.parametrize("xscale", ["log", "linear"])
def test_the_histogram_has_mass_one_on_any_axes(spectra, quantity, xscale):
    values = rf.empirical.spectrum(0, MODEL, 8, kind="gaussian")
    ax = rf.plotting.spectrum(spectra[:2], empirical=values, quantity=quantity, xscale=xscale)
    (stairs,) = [patch for patch in ax.patches if hasattr(patch, "get_data")]
    heights, edges, _ = stairs.get_data()
    steps = np.diff(np.log(edges) if quantity == "mass" else edges)
    assert np.isclose(np.sum(heights * steps), 1.0)
    even = np.diff(np.log(edges) if xscale == "log" else edges)
    assert np.allclose(even, even[0])


# -----------------------------------------------------------------------------------------------
# learning curves


def test_curves_of_the_theory_are_lines_in_one_colour_each(theory):
    ax = rf.plotting.learning_curve(theory)
    assert [line.get_linestyle() for line in ax.lines] == ["-", "--"] * 3
    colors = [line.get_color() for line in ax.lines]
    assert colors[::2] == colors[1::2]
    assert luminance(colors[0]) < luminance(colors[2]) < luminance(colors[4])
    assert texts(ax) == [*(rf"$\psi_n = {n:g}$" for n in PSI_N), "train loss", "test loss"]


def test_samples_are_markers_in_the_colours_of_the_theory(theory, sampled):
    named = {"a": sampled[0], "b": theory[0], "c": theory[1], "d": sampled[1]}
    ax = rf.plotting.learning_curve(named)
    of = dict(zip(named, zip(ax.lines[::2], ax.lines[1::2], strict=True), strict=True))
    for label, markers in (("a", ("o", "s")), ("d", ("o", "s")), ("b", ("None",) * 2)):
        assert tuple(line.get_marker() for line in of[label]) == markers
    assert of["a"][0].get_color() == of["b"][0].get_color() != of["c"][0].get_color()
    assert of["d"][1].get_color() == of["c"][1].get_color()


def test_samples_without_a_theory_are_markers(sampled):
    ax = rf.plotting.learning_curve(sampled)
    assert [line.get_marker() for line in ax.lines] == ["o", "s"] * 3
    assert texts(ax)[:3] == ["sampled (1)", "sampled (2)", "sampled (3)"]


@pytest.mark.parametrize("flipped", [False, True])
def test_theory_against_a_sample_keeps_two_colours(theory, sampled, flipped):
    pair = {"theory": theory[0], "sample": sampled[0]}
    ax = rf.plotting.learning_curve(dict(reversed(pair.items())) if flipped else pair)
    looks = [(line.get_linestyle(), line.get_marker()) for line in ax.lines]
    lines, markers = [("-", "None"), ("--", "None")], [("None", "o"), ("None", "s")]
    assert looks == (markers + lines if flipped else lines + markers)
    assert [line.get_color() for line in ax.lines] == ["black", "#CC79A7"] * 2
    assert set(texts(ax)) == {f"{k} loss, {name}" for k in ("train", "test") for name in pair}
    assert texts(rf.plotting.learning_curve(list(pair.values()))) == [
        "train loss, theory", "test loss, theory", "train loss, sampled", "test loss, sampled",
    ]  # fmt: skip


def test_a_model_is_drawn_from_untrained_to_trained():
    models = [MODEL, MODEL.replace(psi_n=4.0)]
    ax = rf.plotting.learning_curve(models, xscale="log", yscale="linear")
    for line, model in zip(ax.lines[::2], models, strict=True):
        tau, train = line.get_data()
        assert np.allclose(np.diff(np.log(tau)), np.log(tau[1] / tau[0]))
        ends = rf.learning_curve(model, [0.0, np.inf]).train
        assert np.allclose(train[[0, -1]], ends, atol=0.05 * float(ends[0] - ends[1]))
        assert np.allclose(train[60], rf.learning_curve(model, tau[60]).train, rtol=1e-9)
    # all models at the same times
    assert np.array_equal(ax.lines[0].get_xdata(), ax.lines[2].get_xdata())


@pytest.mark.parametrize(
    "model",
    [
        MODEL.replace(covariance=rf.PowerLaw(0.5)),
        pytest.param(rf.RandomFeatureModel(2.0, 2.0, 0.05, noise_draws=1), marks=pytest.mark.slow),
        MODEL.replace(weight_decay=0.1),
    ],
)
def test_spectra_without_an_end_have_a_range_of_times(model):
    tau = rf.plotting.learning_curve(model).lines[0].get_xdata()
    assert np.all(np.isfinite(tau))
    assert 1e2 < tau[-1] / tau[0] < 1e12


def test_times_and_stop_join_the_legend_of_a_family(theory):
    stop = rf.early_stopping(MODEL)
    ax = rf.plotting.learning_curve(theory[:2], stop=stop, xscale="linear", yscale="log")
    assert texts(ax)[-2:] == ["stopping window", r"best time $\tau^*$"]
    assert (ax.get_xscale(), ax.get_yscale()) == ("linear", "log")


# -----------------------------------------------------------------------------------------------
# what cannot be drawn


TAKEN = {
    "spectrum": (rf.plotting.spectrum, "sp must be a RandomFeatureModel, a Spectrum, or a list or"),
    "curve": (
        rf.plotting.learning_curve,
        "curves must be a RandomFeatureModel, a LearningCurve, or a list or",
    ),
}


@pytest.mark.usefixtures("given_anything")
@pytest.mark.parametrize("which", TAKEN)
@pytest.mark.parametrize(
    ("given", "got"),
    [
        ([], r"got none: \[\]"),
        ({}, r"got none: \{\}"),
        (None, "got None"),
        ("model", "got 'model'"),
        ([MODEL, 3.0], "got a float among them"),
        ({"a": MODEL, "b": None}, "got a NoneType among them"),
        (jax.vmap(lambda n: rf.RandomFeatureModel(8.0, n, 0.1))(np.ones(4)), "a batch of 4"),
    ],
)
def test_what_is_taken_is_told(which, given, got):
    draw, rule = TAKEN[which]
    with pytest.raises(ValueError, match=rf"{rule} dictionary .*{got}"):
        draw(given)
    assert not plt.get_fignums()


@pytest.mark.usefixtures("given_anything")
@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"xscale": "ln"}, "xscale must be one of log, linear, got 'ln'"),
        ({"yscale": 3}, "yscale must be one of log, linear, got 3"),
    ],
)
def test_unknown_scales_are_told(spectra, theory, options, rule):
    for draw, thing in ((rf.plotting.spectrum, spectra), (rf.plotting.learning_curve, theory)):
        with pytest.raises(ValueError, match=rule):
            draw(thing, **options)
    with pytest.raises(ValueError, match="quantity must be one of mass, density, got 'log'"):
        rf.plotting.spectrum(spectra, quantity="log")
