"""Sampled spectra carry honest errors, land on the theory as d → ∞,
and deviate by what finite d explains.
"""

from functools import cache

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest

import rfspec as rf
from rfspec.empirical import deviations
from rfspec.empirical.extrapolation import Extrapolation, extrapolate, power_law
from rfspec.empirical.sampled_spectra import of_matrices
from rfspec.empirical.spectra import EmpiricalSpectrum
from rfspec.training.learning_curves import LearningCurve, StandardErrors

pytestmark = pytest.mark.filterwarnings("ignore::rfspec.FewDimensionsWarning")

SEEDS = [1, 2, 3]
SIZES = (16, 24, 32, 48)
MODEL = rf.RandomFeatureModel(psi_p=8.0, psi_n=2.0, t=0.05)
OTHER = rf.RandomFeatureModel(psi_p=8.0, psi_n=2.0, t=0.1)
TINY = rf.RandomFeatureModel(psi_p=4.0, psi_n=1.5, t=0.1)


def matrices(rng, d, model):
    """U, Ũ and V of the Gaussian equivalent for Σ = I, in NumPy."""
    ge = rf.gaussian_equivalent(model)
    kappa2, b2, v2, s2 = (float(c) for c in (ge.kappa2, ge.b2, ge.v2, ge.s2))
    p, n = round(float(model.psi_p) * d), round(float(model.psi_n) * d)
    F = rng.normal(size=(p, d)) / np.sqrt(d)
    G = np.sqrt(kappa2) * F @ rng.normal(size=(d, n)) + np.sqrt(v2) * rng.normal(size=(p, n))
    outer = F @ F.T
    return (
        G @ G.T / n + b2 * outer + s2 * np.eye(p),
        (kappa2 + b2) * outer + (v2 + s2) * np.eye(p),
        np.sqrt(b2) * F,
    )


def gaussian(seed, d, repeats=1, model=MODEL):
    """Spectra of the Gaussian equivalent, by code of their own."""
    rng = np.random.default_rng(seed)
    rows = [np.linalg.eigvalsh(matrices(rng, d, model)[0]) for _ in range(repeats)]
    return EmpiricalSpectrum(model, np.stack(rows), d, "gaussian")


def flow(rng, d, model, tau):
    """Learning curve of one draw under gradient flow, from its eigenvectors."""
    U, U_test, V = matrices(rng, d, model)
    values, Q = np.linalg.eigh(U)
    a, M = Q.T @ V, Q.T @ U_test @ Q
    h = (
        -np.expm1(-2 * float(model.process.beta2) / float(model.psi_p) * values * tau[:, None])
        / values
    )
    power = np.sum(a**2, axis=1)
    train = 1 + (values * h**2 - 2 * h) @ power / d
    test = 1 + (np.einsum("ti,ij,tj->t", h, M * (a @ a.T), h) - 2 * h @ power) / d
    return LearningCurve(tau, train, test, np.full(tau.size, np.nan), np.zeros(tau.size))


@cache
def law():
    return rf.spectrum(MODEL)


@pytest.fixture(scope="module")
def theory():
    return law()


@pytest.fixture(scope="module")
def sizes():
    """Samples of several sizes, for each seed."""
    return {seed: [gaussian(1000 * seed + d, d, 6) for d in SIZES] for seed in SEEDS}


def made_up(repeats, seed=0, p=64):
    """A spectrum of independent log-normal numbers in place of eigenvalues."""
    values = np.random.default_rng(seed).lognormal(size=(repeats, p))
    return EmpiricalSpectrum(MODEL, np.sort(values, axis=1), 8)


# --------------------------------------------------------------------------------------------------
# nouns


@pytest.mark.parametrize("seed", SEEDS)
def test_nouns_agree_with_the_theory(sizes, theory, seed):
    sampled = sizes[seed][-1]
    d = sampled.d
    assert [b.part for b in sampled.bulks] == [b.part for b in theory.bulks]
    # soft edges stay inside by 1.8 to 3 units of the Tracy-Widom scale, here at most 5 % each of
    # the bulk's own edge
    assert np.all(
        np.abs(sampled.edges / theory.edges - 1)
        < 5 * sampled.edge_error / theory.edges + 3 * d ** (-2 / 3)
    )
    for found, bulk in zip(sampled.bulks, theory.bulks, strict=True):
        assert (found.lower, found.upper) == tuple(
            sampled.edges.reshape(-1, 2)[sampled.bulks.index(found)]
        )
        assert abs(found.mass - bulk.mass) <= 5 * found.mass_error + 1e-12
    atom = sampled.atom
    assert atom.location == pytest.approx(float(theory.atom.location), rel=1e-10)
    assert atom.mass == pytest.approx(float(theory.atom.mass), abs=1e-12)
    assert atom.spread < 1e-12
    for k in (1, 2):
        mean, error = sampled.moment(k)
        # t-distributed with five degrees of freedom, and a bias of 1/d
        assert abs(float(mean - theory.moment(k))) < 6 * float(error) + float(theory.moment(k)) / d


def test_errors_are_standard_errors_over_matrices(sizes):
    sampled = sizes[1][0]
    each = [
        eqx.tree_at(lambda s: s.eigenvalues, sampled, sampled.eigenvalues[i : i + 1])
        for i in range(6)
    ]
    edges = np.stack([one.edges for one in each])
    assert np.allclose(sampled.edges, edges.mean(axis=0), rtol=1e-14)
    assert np.allclose(sampled.edge_error, edges.std(axis=0, ddof=1) / np.sqrt(6), rtol=1e-12)
    masses = np.array([[b.mass for b in one.bulks] for one in each])
    assert np.allclose(
        [b.mass_error for b in sampled.bulks], masses.std(axis=0, ddof=1) / np.sqrt(6), atol=1e-16
    )
    single = each[0]
    assert np.all(np.isnan(single.edge_error))
    assert all(np.isnan(b.mass_error) for b in single.bulks)
    assert np.isnan(single.atom.mass_error)
    assert np.isnan(single.atom.location_error)


def test_no_atom():
    model = rf.RandomFeatureModel(1.5, 3.0, 0.05)
    sampled = gaussian(1, 8, 2, model)
    assert sampled.atom.mass == 0
    assert np.isnan(sampled.atom.location)
    comparison = rf.compare(rf.spectrum(model), sampled)
    assert np.isnan(comparison.atom_spread)
    assert np.all(np.isfinite(comparison.edges))
    assert sum(b.mass for b in sampled.bulks) == pytest.approx(1.0, rel=1e-14)


def test_density_estimates_the_continuous_part(sizes, theory):
    sampled = sizes[1][-1]
    x = np.geomspace(1e-4, 100, 4000)
    assert np.trapezoid(sampled.density(x), x) == pytest.approx(0.375, rel=1e-3)
    # 288 eigenvalues on three units of ln λ: some 34 in a kernel of width 0.1, and eigenvalues
    # scatter less than independent numbers
    inside = np.array([1.0, 1.5, 2.0, 4.0])
    assert np.allclose(sampled.density(inside), theory.density(inside), rtol=34**-0.5)
    assert np.allclose(sampled.density(inside, width=0.1), theory.density(inside), rtol=34**-0.5)
    assert np.all(sampled.density(np.array([-1.0, 0.0])) == 0)
    assert sampled.density(inside.reshape(2, 2)).shape == (2, 2)


def test_histogram_is_numpys(sizes):
    sampled, edges = sizes[1][0], np.geomspace(1e-3, 20, 30)
    each = (
        np.histogram(np.ravel(sampled.eigenvalues), edges)[0]
        / sampled.eigenvalues.size
        / np.diff(edges)
    )
    assert np.allclose(sampled.histogram(edges), each, rtol=1e-12)


# --------------------------------------------------------------------------------------------------
# bands


@pytest.fixture(scope="module")
def many():
    return gaussian(0, 12, 300, TINY)


@pytest.mark.parametrize("repeats", [2, 5])
def test_bands_cover_at_their_level(many, repeats):
    """As many samples of 2 or 5 matrices as the level says have the mean of 300 inside of their
    band.
    """
    x, edges, level = np.array([0.5, 1.0, 2.0]), np.array([0.3, 0.6, 1.2, 2.4]), 0.9
    density, histogram = many.density(x, width=0.2), many.histogram(edges)
    smooth, bars = [], []
    for start in range(0, 300, repeats):
        few = EmpiricalSpectrum(TINY, many.eigenvalues[start : start + repeats], 12)
        lower, upper = few.density_band(x, level=level, width=0.2)
        smooth.append((lower <= density) & (density <= upper))
        lower, upper = few.histogram_band(edges, level=level)
        bars.append((lower <= histogram) & (histogram <= upper))
    # a binomial error of four standard deviations, and 0.02 for what two matrices cannot tell
    tolerance = 4 * np.sqrt(level * (1 - level) / len(smooth)) + 0.02
    assert np.all(np.abs(np.mean(smooth, axis=0) - level) < tolerance)
    if repeats == 5:  # whole counts of two matrices are often equal
        assert np.all(np.abs(np.mean(bars, axis=0) - level) < tolerance)


def test_bands_are_deterministic_and_widen_with_the_level():
    sampled, edges, x = made_up(4), np.array([0.2, 1.0, 3.0]), np.array([0.5, 1.0])
    first, second = (
        sampled.histogram_band(edges),
        sampled.histogram_band(edges, key=jax.random.key(0)),
    )
    assert np.array_equal(first, second)
    assert not np.array_equal(first, sampled.histogram_band(edges, key=jax.random.key(1)))
    assert np.array_equal(sampled.density_band(x), sampled.density_band(x))
    wide, narrow = sampled.density_band(x, level=0.99), sampled.density_band(x, level=0.5)
    assert np.all(wide.upper > narrow.upper)
    assert np.all(wide.lower <= narrow.lower)
    assert np.all((narrow.lower < sampled.density(x)) & (sampled.density(x) < narrow.upper))


def test_band_is_drawn_for_two_matrices_or_more(theory, sizes):
    sampled = sizes[1][0]
    labels = []
    for one in (eqx.tree_at(lambda s: s.eigenvalues, sampled, sampled.eigenvalues[:1]), sampled):
        ax = rf.plotting.spectrum(theory, plt.subplots()[1], empirical=one)
        labels.append([text.get_text() for text in ax.get_legend().get_texts()])
    assert "95 % band, 6 matrices" in labels[1]
    assert not any("band" in label for label in labels[0])


# -----------------------------------------------------------------------------------------------
# extrapolation


@pytest.mark.parametrize("seed", SEEDS)
def test_extrapolation_lands_on_the_theory(sizes, theory, seed):
    fits = extrapolate(theory, sizes[seed])
    assert fits.d == SIZES
    for fit in (fits.edges, fits.masses, fits.moments):
        assert np.all(np.isfinite(fit.limit_error))
        assert np.all(np.abs(fit.deviation) < 4)
        assert np.sqrt(np.mean(fit.deviation**2)) < 2
    # and the errors are of use: closer than the largest sample is, or than a tenth
    assert np.all(fits.edges.limit_error / theory.edges < 0.2)
    assert np.all(fits.masses.limit_error < 0.01)
    assert np.all(fits.moments.limit_error / fits.moments.theory < 0.25)


def test_extrapolation_is_exact_on_exact_laws():
    curve = LearningCurve(np.array([1.0, 2.0]), *[np.array([0.5, 0.25])] * 3, np.zeros(2))
    moved = {
        d: LearningCurve(curve.tau, curve.train + 3 / d, curve.test - 2 / d, curve.test, 0.0)
        for d in (10, 20, 40)
    }
    fits = extrapolate(curve, moved)
    assert np.allclose(fits.train.limit, curve.train, rtol=1e-12)
    assert np.allclose(fits.test.slope, -2.0, rtol=1e-10)
    assert np.all(np.abs(fits.train.deviation) < 10)
    assert np.allclose(fits.train.size(100), 0.03, rtol=1e-6)


def test_a_mean_curve_counts_by_its_standard_error():
    tau, rng = np.array([1.0, 2.0, 3.0]), np.random.default_rng(0)
    draws = {d: 0.5 + (1 + rng.normal(size=(2, 3))) / d for d in SIZES}

    def curve(y, error=np.nan):
        return LearningCurve(tau, y, y, y, 0.0, StandardErrors(*[np.broadcast_to(error, 3)] * 3))

    theory = curve(np.full(3, 0.5))
    pairs = extrapolate(theory, {d: [curve(y) for y in ys] for d, ys in draws.items()}).train
    means = {
        d: curve(ys.mean(axis=0), ys.std(axis=0, ddof=1) / np.sqrt(2)) for d, ys in draws.items()
    }
    means = extrapolate(theory, means).train
    assert np.allclose(means.limit, pairs.limit, rtol=1e-12)
    assert np.allclose(means.limit_error, pairs.limit_error, rtol=1e-9)
    assert np.allclose(means.size(20), pairs.size(20, repeats=2), rtol=1e-9)


def test_error_of_the_limit_covers():
    """Normal numbers of spread 1/d about 1 + 2/d:
    deviations in units of the limit's error are of size 1.
    """
    rng, d = np.random.default_rng(0), np.array([16.0, 24.0, 32.0, 48.0])
    each = [1 + (2 + rng.normal(size=(6, 400))) / size for size in d]
    z = power_law(d, each, 1.0, 1.0).deviation
    # the step from leaving out a size makes it somewhat large
    assert 0.6 < np.std(z) < 1.1
    assert np.mean(np.abs(z) < 2) > 0.93
    assert abs(np.mean(z)) < 4 / np.sqrt(400)


def test_two_sizes_have_no_error(theory, sizes):
    fits = extrapolate(theory, sizes[1][:2])
    assert np.all(np.isfinite(fits.edges.limit))
    assert np.all(np.isnan(fits.edges.limit_error))


def test_learning_curves_land_on_the_numbers_of_the_notes():
    """Theory of an independent calculation at ψ_p = 8, ψ_n = 2, t = 0.05, from curves at d ≤ 48."""
    tau = np.array([10.0, 31.6, 100.0, 1000.0, 1e5])
    train = np.array([0.92529, 0.87418, 0.82869, 0.64765, 0.49186])
    test = np.array([0.93125, 0.92315, 1.01260, 1.60831, 3.71482])
    theory = LearningCurve(tau, train, test, np.full(5, np.nan), np.zeros(5))

    drawn = {
        d: [flow(np.random.default_rng(100 * d + i), d, MODEL, tau) for i in range(8)]
        for d in SIZES
    }
    fits = extrapolate(theory, drawn)
    for fit in (fits.train, fits.test):
        assert np.all(np.abs(fit.deviation) < 4)
    comparison = rf.compare(theory, drawn[32][0], finite_size=fits, d=32)
    assert comparison.train < 4 * comparison.expected.train
    assert comparison.test < 4 * comparison.expected.test
    assert np.isnan(rf.compare(theory, drawn[32][0]).expected.train)
    with pytest.raises(ValueError, match="d must be given with finite_size"):
        rf.compare(theory, drawn[32][0], finite_size=fits)


# ------------------------------------------------------------------------------------------
# a theory of finite d


FINITE = rf.RandomFeatureModel(8.0, 4.0, 0.1, activation="relu", d=40)


def made_up_theory(model, tau, step=None, momentum=0.0):
    """Losses that fall as 1/d², and remember what they are of."""
    losses = (np.exp(-np.asarray(tau)) + a / model.d**2 for a in (1.0, 7.0, np.nan))
    return LearningCurve(tau, *losses, np.zeros(2), model=model, step=step, momentum=momentum)


@pytest.fixture
def sampled_at(monkeypatch):
    """Samples that are off the made-up theory at their own d by 3/d and 2/d."""
    monkeypatch.setattr(deviations, "learning_curve", made_up_theory)
    tau = np.array([1.0, 2.0])

    def sampled(d):
        exact = made_up_theory(FINITE.replace(d=d), tau)
        return LearningCurve(tau, exact.train + 3 / d, exact.test - 2 / d, exact.test, np.zeros(2))

    return sampled


def test_curves_are_compared_with_the_theory_at_the_sample_s_d(sampled_at):
    theory = made_up_theory(FINITE, np.array([1.0, 2.0]), 0.5, 0.1)
    assert rf.compare(theory, sampled_at(40)).train == pytest.approx(3 / 40, rel=1e-12)
    found = rf.compare(theory, sampled_at(20), d=20)
    assert (found.train, found.test) == pytest.approx((3 / 20, 2 / 20), rel=1e-12)
    at_twenty = deviations.theory_at(theory, 20)
    assert (at_twenty.model.d, at_twenty.step, at_twenty.momentum) == (20, 0.5, 0.1)
    # a theory of the limit is the same at every d
    limit = LearningCurve(theory.tau, *[theory.train] * 3, 0.0, model=FINITE.limit)
    assert deviations.theory_at(limit, 20) is limit


def test_what_is_left_of_a_finite_d_is_fitted(sampled_at):
    theory = made_up_theory(FINITE, np.array([1.0, 2.0]))
    fits = extrapolate(theory, {d: sampled_at(d) for d in (10, 20, 40)})
    assert fits.of_remainder
    assert np.allclose(fits.train.limit, 0.0, atol=1e-12)
    assert np.allclose(fits.test.slope, -2.0, rtol=1e-9)
    # at the theory's d where none is given
    assert rf.compare(theory, sampled_at(40), finite_size=fits).expected == pytest.approx(
        (3 / 40, 2 / 40), rel=1e-6
    )
    expected = rf.compare(theory, sampled_at(10), finite_size=fits, d=10).expected
    assert expected == pytest.approx((0.3, 0.2), rel=1e-6)
    no_model = LearningCurve(theory.tau, theory.train, theory.test, theory.test, 0.0)
    of_limit = extrapolate(no_model, {d: sampled_at(d) for d in (10, 20)})
    with pytest.raises(ValueError, match=r"made with a theory of a model with d, .* the limit"):
        rf.compare(theory, sampled_at(40), finite_size=of_limit)


@pytest.mark.slow
def test_finite_d_explains_what_the_limit_leaves():
    tau, sizes = np.array([1e2, 1e3, 1e5]), (20, 40)
    curves = {d: rf.empirical.learning_curve(d, FINITE, tau, d, repeats=3) for d in sizes}
    of_d, of_limit = (rf.learning_curve(model, tau) for model in (FINITE, FINITE.limit))
    found = []
    for theory in (of_d, of_limit):
        fits = extrapolate(theory, curves)
        found.append(rf.compare(theory, curves[40], finite_size=fits, d=40))
        expected = found[-1].expected
        assert within(found[-1].test, expected.test, 2)
    assert found[0].test < found[1].test / 2
    assert found[0].expected.test < found[1].expected.test / 2
    assert rf.compare(of_d, curves[20], d=20).test < rf.compare(of_limit, curves[20]).test


def test_sampled_functions_take_the_d_of_the_model():
    model = rf.RandomFeatureModel(2.0, 1.0, 0.1, d=8, degree=2)
    limit = model.limit
    draw = lambda model, *d: rf.empirical.sample(0, model, *d, kind="gaussian").U
    assert np.array_equal(draw(model), draw(limit, 8))
    # the argument is the size that is drawn
    assert np.array_equal(draw(model, 6), draw(limit, 6))
    for call in (
        lambda: draw(limit),
        lambda: rf.empirical.spectrum(0, limit),
        lambda: rf.empirical.learning_curve(0, limit, [1.0]),
        lambda: rf.empirical.conditional_curve(0, limit, [1.0]),
        lambda: rf.empirical.gaussian_operator(0, limit),
        lambda: rf.empirical.feature_operator(0, limit),
        lambda: rf.empirical.matrix_free_spectrum(0, limit),
    ):
        with pytest.raises(ValueError, match="d must be an integer of at least 1, got None, and a"):
            call()


def test_a_sample_of_a_model_with_d_is_read_as_the_limit():
    sampled = gaussian(1, 8)
    of_d = eqx.tree_at(lambda s: s.model, sampled, MODEL.replace(d=8))
    assert np.array_equal(of_d.edges, sampled.edges)
    fits = extrapolate(law(), [of_d, gaussian(2, 12)])
    assert fits.d == (8, 12)


class OfFiniteD:
    """A spectrum that has a distribution function, and no edges."""

    def cdf(self, x):
        return np.zeros(np.shape(x))


@pytest.mark.slow
def test_spectra_at_finite_d():
    """The distance is that at the own d of the sample, and as large as expected."""
    model = rf.RandomFeatureModel(8.0, 4.0, 0.1)
    sampled = rf.empirical.spectrum(jax.random.key(1), model, 40, repeats=2)
    other = rf.empirical.spectrum(jax.random.key(2), model, 20)
    theory = rf.spectrum(model.replace(d=20))
    at_d, limit = (rf.compare(sp, sampled, key=3) for sp in (theory, rf.spectrum(model)))
    # the limit's is that above its atom only
    assert at_d.kolmogorov < 0.05
    assert at_d.wasserstein < limit.wasserstein
    same = rf.compare(rf.spectrum(model.replace(d=40)), sampled)
    assert float(same.kolmogorov) == pytest.approx(float(at_d.kolmogorov), rel=1e-12)
    for name in ("kolmogorov", "wasserstein"):
        assert 0 < getattr(at_d, name) < 3 * getattr(at_d.expected, name)
    assert np.isnan(at_d.atom_spread)
    assert at_d.edges.size == at_d.masses.size == 0
    assert at_d.columns()["name"] == ["kolmogorov", "atom_spread", "wasserstein"]
    with pytest.raises(NotImplementedError, match="finite_size takes spectra of the limit"):
        rf.compare(theory, sampled, finite_size=extrapolate(rf.spectrum(model), [sampled, other]))


def test_spectra_without_edges_are_refused_by_name():
    with pytest.raises(NotImplementedError, match=r"OfFiniteD: take rf.spectrum\(model.limit\)"):
        extrapolate(OfFiniteD(), [made_up(1)])


# ------------------------------------------------------------------------------------------
# expected deviations


def within(seen, expected, factor):
    """Whether a mean of deviations over seeds is of the expected size."""
    return np.all(np.abs(seen) < factor * np.abs(expected)) and np.all(
        np.abs(expected) < factor * np.abs(seen)
    )


@pytest.mark.parametrize("kind", ["gaussian", "features"])
def test_deviations_are_of_the_expected_size(theory, sizes, kind):
    d = 48
    sampled = (
        sizes[1][-1]
        if kind == "gaussian"
        else rf.empirical.spectrum(jax.random.key(1), MODEL, d, repeats=3)
    )
    comparison = rf.compare(theory, sampled, key=jax.random.key(0))
    expected = comparison.expected
    assert (comparison.d, comparison.repeats) == (d, sampled.repeats)
    assert within(comparison.kolmogorov, expected.kolmogorov, 2)
    assert within(comparison.wasserstein, expected.wasserstein, 2.5)
    assert np.all(np.abs(comparison.edges) < 3 * expected.edges)
    assert within(np.linalg.norm(comparison.edges), np.linalg.norm(expected.edges), 2.5)
    if kind == "features":
        assert within(comparison.atom_spread, expected.atom_spread, 2)
        assert within(np.linalg.norm(comparison.masses), np.linalg.norm(expected.masses), 2.5)


def test_expected_deviations_from_an_extrapolation(theory, sizes):
    fits = extrapolate(theory, sizes[1][:3])
    comparison = rf.compare(theory, sizes[2][-1], finite_size=fits)
    expected = comparison.expected
    assert within(comparison.kolmogorov, expected.kolmogorov, 2)
    assert within(comparison.wasserstein, expected.wasserstein, 2.5)
    assert np.all(np.abs(comparison.edges) < 3 * expected.edges)
    assert expected.edges.shape == comparison.edges.shape
    assert np.all(np.abs(comparison.masses) <= 4 * expected.masses + 1e-12)


def test_a_wrong_theory_exceeds_the_expected_deviation(sizes):
    wrong = rf.spectrum(OTHER)
    fits = extrapolate(wrong, sizes[1])
    assert np.max(np.abs(fits.moments.deviation)) > 1
    sampled = sizes[1][-1]
    right = rf.compare(rf.spectrum(MODEL), sampled)
    assert rf.compare(wrong, sampled).kolmogorov > 3 * right.kolmogorov


def test_nothing_is_expected_where_nothing_can_be_drawn(theory):
    U, U_test, V = matrices(np.random.default_rng(0), 16, MODEL)
    drawn = rf.empirical.FeatureMatrices(MODEL, jnp.asarray(U), V, U_test, V, 0.0, 32, True)
    for sampled in (gaussian(1, 8), of_matrices(drawn)):
        expected = rf.compare(theory, sampled, key=jax.random.key(0)).expected
        assert np.isnan(expected.kolmogorov)
        assert np.all(np.isnan(expected.edges))
    X = np.random.default_rng(0).normal(size=(60, 16))
    from_data = rf.empirical.spectrum(
        jax.random.key(0), rf.RandomFeatureModel(2.0, 1.0, 0.1), data=X
    )
    assert not from_data.gaussian_data
    assert np.isnan(
        rf.compare(from_data.theory, from_data, key=jax.random.key(0)).expected.wasserstein
    )


def test_comparison_has_standard_errors(theory, sizes):
    comparison = rf.compare(theory, sizes[1][0])
    assert 0 < comparison.error.kolmogorov < comparison.kolmogorov
    assert comparison.error.edges.shape == comparison.edges.shape
    assert np.isnan(rf.compare(theory, made_up(1)).error.kolmogorov)


# --------------------------------------------------------------------------------------------------
# bad input

CURVE = LearningCurve(np.array([1.0]), np.ones(1), np.ones(1), np.ones(1), np.zeros(1))
LATE = LearningCurve(np.array([2.0]), np.ones(1), np.ones(1), np.ones(1), np.zeros(1))


def like(d, **changes):
    one = made_up(2)
    fields = {
        "model": one.model,
        "eigenvalues": one.eigenvalues,
        "d": d,
        "kind": "gaussian",
    } | changes
    return EmpiricalSpectrum(**fields)


BAD = {
    "one size": (
        lambda: extrapolate(law(), [like(8), like(8)]),
        r"empiricals must have at least two values of d, got \[8\]",
    ),
    "two models": (
        lambda: extrapolate(law(), [like(8), like(9, model=OTHER)]),
        "empiricals must be of one model, got .*0.1",
    ),
    "two kinds": (
        lambda: extrapolate(law(), [like(8), like(9, kind="features")]),
        "empiricals must be of one kind, got",
    ),
    "two rows": (
        lambda: extrapolate(law(), [like(8), like(9, rows="spherical")]),
        "of one kind, got .*spherical",
    ),
    "no spectra": (
        lambda: extrapolate(law(), [1, 2]),
        "empiricals must be EmpiricalSpectrum, got int",
    ),
    "neither": (
        lambda: extrapolate(law(), {8: CURVE}),
        "extrapolate takes a Spectrum .*, got Spectrum and dict",
    ),
    "curve tau": (
        lambda: extrapolate(CURVE, {8: CURVE, 9: LATE}),
        "tau must be the same in both curves, got",
    ),
    "curve d": (
        lambda: extrapolate(CURVE, {8: CURVE, "9": CURVE}),
        "d must be an integer of at least 1, got '9'",
    ),
    "curve empty": (
        lambda: extrapolate(CURVE, {8: CURVE, 9: []}),
        "one or more LearningCurve for each d, got",
    ),
    "unsorted": (
        lambda: made_up(2).histogram([1.0, 0.5, 2.0]),
        "edges must be at least two ascending .*, got",
    ),
    "one edge": (lambda: made_up(2).histogram_band([1.0]), "edges must be at least two ascending"),
    "level 0": (
        lambda: made_up(2).density_band(1.0, level=0.0),
        "level must be .* greater than 0, got 0.0",
    ),
    "level 1": (
        lambda: made_up(2).histogram_band([1.0, 2.0], level=1.0),
        "level must be less than 1, got 1.0",
    ),
    "resamples": (
        lambda: made_up(2).density_band(1.0, resamples=0),
        "resamples must be an integer of at least 1, got 0",
    ),
    "one matrix": (
        lambda: made_up(1).density_band(1.0),
        "repeats must be at least 2 for a band, got 1",
    ),
    "width": (
        lambda: made_up(2).density(1.0, width=0.0),
        "width must be .* greater than 0, got 0.0",
    ),
    "repeats": (
        lambda: rf.empirical.spectrum(jax.random.key(0), MODEL, 4, repeats=True),
        "repeats must be .*, got True",
    ),
    "finite size": (
        lambda: rf.compare(law(), made_up(1), finite_size=True),
        "finite_size must be a Spectrum.*, got bool",
    ),
    "two sources": (
        lambda: rf.compare(law(), made_up(1), finite_size=1, key=jax.random.key(0)),
        "give at most one of finite_size and key",
    ),
    "key of curves": (
        lambda: rf.compare(CURVE, CURVE, key=jax.random.key(0)),
        "key goes with spectra",
    ),
    "curve finite size": (
        lambda: rf.compare(CURVE, CURVE, finite_size=1),
        "finite_size must be a Curve.*, got int",
    ),
    "d": (lambda: rf.compare(law(), made_up(1), d=9), "d must be that of the spectrum, 8, got 9"),
}


@pytest.mark.usefixtures("given_anything")
@pytest.mark.parametrize("name", BAD)
def test_bad_input_says_what_it_must_be(name):
    call, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        call()


def test_extrapolation_at_a_size():
    fit = Extrapolation(1.0, 0.1, 2.0, 1.0, 3.0, 1.0, 0.0)
    assert fit.at(4) == 1.5
    assert fit.size(4, repeats=9) == pytest.approx(np.hypot(0.5, 0.25))
