"""Pictures take results and return the axis they drew on."""

import jax
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from problems import ZOO

import rfspec as rf

MODEL = rf.RandomFeatureModel(8.0, 2.0, 0.05)


def test_spectrum_on_a_given_axis():
    sp = rf.spectrum(ZOO[0].model)
    _, ax = plt.subplots()
    assert rf.plotting.spectrum(sp, ax) is ax
    labels = [t.get_text() for t in ax.get_legend().get_texts()]
    assert labels == ["satellite", "sample", "population", "atom, mass 0.859"]
    assert ax.get_xscale() == "log"
    # the area under each line, in ln λ, is the mass of its part
    for line, bulk in zip(ax.lines, sp.bulks, strict=False):
        x, y = line.get_data()
        assert np.isclose(np.trapezoid(y, np.log(x)), float(bulk.mass), rtol=1e-3)


def test_histogram_has_the_mass_of_the_sample():
    sampled = rf.empirical.spectrum(jax.random.key(0), MODEL, 12)
    ax = rf.plotting.spectrum(rf.spectrum(MODEL), empirical=sampled)
    (stairs,) = [p for p in ax.patches if hasattr(p, "get_data")]
    values, edges, _ = stairs.get_data()
    assert np.isclose(np.sum(values * np.diff(np.log(edges))), 1.0)


def test_hard_edge_and_merged_parts():
    for name in ("hard edge", "one bulk"):
        (problem,) = [p for p in ZOO if p.name == name]
        ax = rf.plotting.spectrum(rf.spectrum(problem.model))
        assert np.all(np.isfinite(ax.lines[0].get_ydata()[1:-1]))


def test_learning_curve():
    tau = np.geomspace(1, 1e5, 12)
    curve = rf.empirical.learning_curve(jax.random.key(0), MODEL, tau, 12)
    times = rf.timescales(rf.RandomFeatureModel(64.0, 8.0, 0.01), "spectrum")
    ax = rf.plotting.learning_curve({"one": curve, "two": curve}, times=times)
    assert len(ax.lines) == 6  # train and test of each, tau_gen and tau_mem
    assert {t.get_text() for t in ax.texts} == {r"$\tau_\mathrm{gen}$", r"$\tau_\mathrm{mem}$"}
    assert rf.plotting.learning_curve(curve).get_xscale() == "log"


@pytest.mark.parametrize("chosen", [True, False])
@pytest.mark.parametrize("fails", [True, False])
def test_the_style_leaves_it_to_the_backend_whether_pictures_are_shown(chosen, fails):
    """Inside it Jupyter's backend is chosen, which turns the showing on."""
    before, size = mpl.is_interactive(), mpl.rcParams["font.size"]
    try:
        mpl.interactive(not chosen)
        try:
            with rf.plotting.style():
                assert mpl.rcParams["font.size"] != size
                mpl.interactive(chosen)
                if fails:
                    raise KeyError
        except KeyError:
            assert fails
        assert mpl.is_interactive() is chosen
        assert mpl.rcParams["font.size"] == size
    finally:
        mpl.interactive(before)


def test_the_plateaus_of_the_mass_above_are_ranks():
    """p features of which d and n columns: 1/8, then 2/8, then 3/8, then all."""
    sampled = rf.empirical.spectrum(jax.random.key(0), MODEL, 12, kind="gaussian")
    ax = rf.plotting.mass_above(MODEL, empirical=sampled)
    heights = {line.get_label(): line.get_ydata() for line in ax.lines}
    ends = {part: heights[part][[0, -1]] for part in ("satellite", "sample", "population")}
    assert np.allclose(ends["satellite"], [3 / 8, 2 / 8], rtol=1e-12)
    assert np.allclose(ends["sample"], [2 / 8, 1 / 8], rtol=1e-12)
    assert np.allclose(ends["population"], [1 / 8, 0], rtol=1e-12)
    gaps = next(line for line in ax.lines if line.get_label().startswith("atom"))
    x, y = gaps.get_data()
    step = x == float(rf.spectrum(MODEL).atom.location)
    assert y[step].tolist() == [1.0, 3 / 8]
    # of the sample, the share of eigenvalues above each
    x, y = next(line for line in ax.lines if line.get_label().startswith("sampled")).get_data()
    assert y[0] == 1.0
    above = np.mean(np.ravel(sampled.eigenvalues) > 0.3)
    assert abs(np.interp(0.3, x, y) - above) <= 1 / y.size


def test_the_mass_above_takes_models_and_spectra_only():
    with pytest.raises(ValueError, match="sp must be a RandomFeatureModel or a Spectrum, got list"):
        rf.plotting.mass_above([MODEL])
