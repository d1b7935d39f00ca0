"""Spectra at finite d: against matrices, mass and mean, atoms, counted parts, errors, times."""

import json

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest
from typer.testing import CliRunner

import rfspec as rf
from rfspec.cli.application import app
from rfspec.spectra.finite_d import SpectrumAtFiniteD
from rfspec.spectra.smoothed import AT_ONCE

# of one degree with one node, so that all quick tests share one compilation
MODEL = rf.RandomFeatureModel(6.0, 3.0, 0.1, d=20, degree=3)
POLYNOMIAL = MODEL.replace(psi_p=15.0, psi_n=10.0, activation=rf.Polynomial([0.0, 1.0, 0.3]))


@pytest.fixture(scope="module")
def sp():
    return rf.spectrum(MODEL)


@pytest.fixture(scope="module")
def values():
    """Of sampled matrices, ascending, [draw, p]."""
    return sampled(MODEL, MODEL.d, repeats=8)


def sampled(model, d, repeats):
    found = rf.empirical.spectrum(jax.random.key(d), model.limit, d, repeats=repeats)
    return np.asarray(found.eigenvalues)


def solved(x):
    # in as many points as the spectrum takes, which are compiled
    return np.asarray(rf.solve(MODEL, np.resize(x, AT_ONCE)).q)[: np.size(x)]


def kolmogorov(sp, values):
    cdf = np.asarray(sp.cdf(values))
    steps = np.arange(values.size + 1) / values.size
    return max(np.abs(steps[1:] - cdf).max(), np.abs(steps[:-1] - cdf).max())


def test_distribution_of_sampled_matrices(sp, values):
    """All draws together, to what d = 20 leaves."""
    assert kolmogorov(sp, np.sort(values.ravel())) < 0.05
    u = (np.arange(values.shape[1]) + 0.5) / values.shape[1]
    off = np.log(np.asarray(sp.quantile(u)) / np.exp(np.log(values).mean(axis=0)))
    assert np.mean(np.abs(off)) < 0.06


def test_mass_and_mean(sp):
    check_mass_and_mean(sp)


def check_mass_and_mean(sp):
    origin, mass = float(sp.atom.location), float(sp.atom.mass)
    zeta = np.geomspace(1e-5, 1e4, 3000) * float(sp.mean)
    density = np.asarray(sp.density(origin + zeta))
    assert np.trapezoid(density * zeta, np.log(zeta)) == pytest.approx(1.0 - mass, abs=1e-6)
    assert float(sp.error) < 1e-5
    # the smoothing moves the mean by a relative h² or so
    mean = np.trapezoid(density * (origin + zeta) * zeta, np.log(zeta)) + mass * origin
    assert mean == pytest.approx(float(sp.mean), rel=2e-3)


def test_moments(sp, values):
    """With a standard error; 1/λ too. The mean has the largest eigenvalue, of the constants."""
    for k in (-2, -1, 0, 1):
        of_draws = np.mean(values**k, axis=1)
        error = np.std(of_draws, ddof=1) / np.sqrt(len(values))
        assert abs(np.mean(of_draws) / float(sp.moment(k)) - 1) < 4 * error + 0.06


def test_density_is_that_of_the_equations_inside(sp):
    """Away from edges smoothing changes next to nothing."""
    x = np.asarray(sp.quantile([0.1, 0.7]))
    exact = solved(x).imag / np.pi
    np.testing.assert_allclose(sp.density(x), exact, rtol=0.02)


def test_quantiles_invert_the_distribution(sp):
    u = np.array([[0.01, 0.2], [0.5, 0.99]])
    np.testing.assert_allclose(sp.cdf(sp.quantile(u)), u, atol=1e-9)
    assert float(sp.quantile(1.0)) == float(sp.support.upper)
    assert float(sp.quantile(0.0)) == float(sp.support.lower if sp.atom.mass == 0 else sp.atom[0])
    draws = np.asarray(sp.sample(0, (4000,)))
    assert draws.mean() == pytest.approx(float(sp.mean), abs=5 * draws.std() / np.sqrt(4000))
    assert float(sp.cdf(0.99 * float(sp.equations.origin))) == 0.0
    assert float(sp.cdf(1e6)) == pytest.approx(1.0, abs=1e-12)


def test_the_support_is_that_of_the_equations(sp):
    ends = np.array([sp.support.lower, sp.support.upper])
    assert not np.any(solved(ends * np.array([0.999, 1.001])).imag > 0)
    # at its lower end the classes of rows are apart
    assert float(solved(ends[1:] * 0.999).imag[0]) > 0


@pytest.mark.slow
def test_an_atom_is_what_ranks_leave():
    """A polynomial of degree 2 in 20 variables without a constant: 20 + 210 functions."""
    sp = rf.spectrum(POLYNOMIAL)
    check_mass_and_mean(sp)
    assert float(sp.atom.location) == 0.0
    assert float(sp.atom.mass) == pytest.approx(1 - 230 / 300, rel=1e-12)
    # and the constant, which is not the same for all rows
    assert np.sum(sampled(POLYNOMIAL, 20, repeats=1) > 1e-9) == 231
    np.testing.assert_array_equal(sp.quantile([0.0, 0.1, 0.23]), 0.0)
    assert float(sp.cdf(0.0)) == pytest.approx(1 - 230 / 300)
    assert np.isinf(float(sp.moment(-1)))


def test_parts_are_counted_from_the_top(sp, values):
    """Population d of p, sample up to n, satellite d more; ends as in a large matrix."""
    np.testing.assert_allclose(sp.parts.mass, np.array([1, 2, 1]) / 6.0, rtol=1e-12)
    names = [row[0] for row in sp.intervals]
    assert names == ["below", "satellite", "sample", "population"]
    assert sum(row[3] for row in sp.intervals) + float(sp.atom.mass) == pytest.approx(1.0)
    lower, upper = np.asarray(sp.parts.lower), np.asarray(sp.parts.upper)
    values = values.mean(axis=0)[::-1]
    for i, rank in enumerate((20, 3 * 20, 4 * 20)):
        # the gap, where there is one, lies between two eigenvalues
        assert 0.92 * values[rank] < lower[i] < 1.08 * values[rank - 1]
        assert i == 2 or 0.92 * values[rank] < upper[i + 1] <= lower[i]
    assert upper[0] == float(sp.support.upper)
    assert bool(sp.separated) == (sp.reason == "")


def test_times_are_those_of_the_ends_of_parts(sp):
    times = rf.timescales(sp, "spectrum")
    beta2 = float(MODEL.process.beta2)
    slow = float(MODEL.psi_p) / (beta2 * np.asarray(sp.parts.lower))
    np.testing.assert_allclose([times.tau_gen, times.tau_mem, times.satellite], slow, rtol=1e-12)
    assert times.spectrum is sp
    assert times.reason == sp.reason
    assert 0 < float(times.error) < 1e-3


def test_what_exists_in_the_limit_only(sp):
    for name in ("edges", "edge_error", "bulks", "count"):
        with pytest.raises(NotImplementedError, match="exist in the limit d → ∞ only"):
            getattr(sp, name)
    with pytest.raises(NotImplementedError, match="exists for d=None only"):
        rf.certify(MODEL)


def test_errors_name_the_argument(sp):
    for f, words in (
        (lambda: sp.quantile(1.5), r"u must lie in \[0, 1\], got 1.5"),
        (lambda: sp.density(np.nan), "x must be finite real numbers"),
        (lambda: sp.cdf("1"), "x must be finite real numbers"),
        (lambda: sp.stieltjes(np.full(AT_ONCE, sp.quantile(0.9))), "z must lie off the support"),
    ):
        with pytest.raises(ValueError, match=words):
            f()


def test_tables_pictures_and_the_command(sp, tmp_path):
    assert list(sp.to_pandas().columns) == ["part", "lower", "upper", "mass"]
    assert "smoothed by 2%" in repr(sp)
    for draw in (rf.plotting.spectrum, rf.plotting.mass_above):
        labels = [text.get_text() for text in draw(sp).get_legend().get_texts()]
        assert "population" in labels
    plt.close("all")
    words = "spectrum --psi-p 6 --psi-n 3 --t 0.1 --d 20 --degree 3 --json"
    out = tmp_path / "density.csv"
    found = CliRunner().invoke(app, [*words.split(), "--out", str(out), "--points", "20"])
    assert found.exit_code == 0, found.output
    report = json.loads(found.stdout)
    assert report["support"]["upper"] == pytest.approx(float(sp.support.upper))
    assert [part["part"] for part in report["parts"]][-1] == "population"
    assert out.exists()


# --------------------------------------------------------------------------------------------------
# sampled features, and transformations


@pytest.mark.slow
def test_degree_one_is_the_limit():
    one, limit = rf.spectrum(MODEL.replace(degree=1)), rf.spectrum(MODEL.limit)
    assert isinstance(one, rf.Spectrum)
    np.testing.assert_array_equal(one.edges, limit.edges)
    np.testing.assert_array_equal(one.quantile([0.3, 0.9]), limit.quantile([0.3, 0.9]))
    assert isinstance(rf.spectrum(MODEL), SpectrumAtFiniteD)


@pytest.mark.slow
@pytest.mark.parametrize(("activation", "decay"), [("relu", 0.0), ("tanh", 1.0)])
def test_distribution_of_sampled_features(activation, decay):
    """Closer than the limit, and close, to the order 1/r of what the equations leave out."""
    d = 20
    values = np.arange(1, d + 1) ** -decay
    sigma = rf.Atoms(values / values.mean(), np.full(d, 1 / d)) if decay else rf.Isotropic(1.0)
    model = rf.RandomFeatureModel(10.0, 6.0, 0.05, activation=activation, covariance=sigma)
    draws = sampled(model, d, repeats=2)
    at_d, limit = rf.spectrum(model.replace(d=d)), rf.spectrum(model)
    distances = [np.mean([kolmogorov(sp, row) for row in draws]) for sp in (at_d, limit)]
    # an effective rank of 8 is not large
    assert distances[0] < (0.12 if decay else 0.06)
    assert distances[0] < 0.5 * distances[1]
    # the largest eigenvalues are those of degree 1, with a standard error over the draws
    u = 1.0 - (np.arange(d) + 0.5) / draws.shape[1]
    top = np.log(np.sort(draws, axis=1)[:, ::-1][:, :d])
    off = top.mean(axis=0) - np.log(np.asarray(at_d.quantile(u)))
    error = top.std(axis=0, ddof=1) / np.sqrt(len(draws))
    assert np.mean(np.abs(off)) < 3 * np.mean(error) + 2.0 / d


@pytest.mark.slow
def test_what_the_page_says():
    """docs/finite_d.md."""
    values = 1 / np.arange(1, 65)
    sigma = rf.Atoms(values / values.mean(), np.full(64, 1 / 64))
    sp = rf.spectrum(
        rf.RandomFeatureModel(16.0, 1438 / 64, 0.01, activation="relu", covariance=sigma, d=64)
    )
    assert sp.columns()["part"] == ["sample", "population"]
    numbers = [sp.support.lower, sp.support.upper, sp.quantile(0.5)]
    np.testing.assert_allclose(numbers, [0.0029, 60.2, 0.031], rtol=0.02)
    assert sp.reason == "population and sample have no gap between them: 0.924616 is a quantile"


@pytest.mark.slow
def test_inside_transformations():
    """Values are the same; derivatives of smoothed numbers are exact, of searched ends NaN."""
    what = lambda psi_n: (
        lambda sp: jnp.stack([sp.cdf(0.2), sp.quantile(0.9), sp.density(0.2), sp.parts.lower[0]])
    )(rf.spectrum(MODEL.replace(psi_n=psi_n)))
    plain = np.asarray(what(3.0))
    np.testing.assert_allclose(jax.jit(what)(3.0), plain, rtol=1e-8)
    slopes = np.asarray(jax.jacfwd(what)(3.0))
    differences = np.asarray(what(3.01) - what(2.99)) / 0.02
    np.testing.assert_allclose(slopes[:3], differences[:3], rtol=1e-3)
    gap = bool(rf.spectrum(MODEL).parts.gap[0])
    assert np.isnan(slopes[3]) == gap
    sp = rf.spectrum(MODEL)
    low, high = np.asarray(sp.density(np.array([0.1999, 0.2001])))
    assert float(jax.grad(sp.density)(0.2)) == pytest.approx((high - low) / 2e-4, rel=1e-4)
