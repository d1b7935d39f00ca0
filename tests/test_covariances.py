"""Covariances: closed moments, sampled matrices, and spectra that do not see the nodes of a continuous law."""

from math import comb

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate

import rfspec as rf

LAWS = {
    "power law": lambda K: rf.PowerLaw(1.0, 0.05, nodes=K),
    "summable power law": lambda K: rf.PowerLaw(0.5, nodes=K),
    "exponential": lambda K: rf.Exponential(3.0, nodes=K),
    "soft edges": lambda K: rf.MarchenkoPastur(0.5, nodes=K),
    "hard edge": lambda K: rf.MarchenkoPastur(1.0, nodes=K),
    "atom and soft edges": lambda K: rf.MarchenkoPastur(2.0, 0.5, nodes=K),
    "semicircle": lambda K: rf.Density(lambda x: 2 / np.pi * np.sqrt((x - 1) * (3 - x)), 1.0, 3.0, nodes=K),
    "arcsine": lambda K: rf.Density(lambda x: 1 / (np.pi * np.sqrt(x * (2 - x))), 0.0, 2.0, nodes=K),
    "uniform": lambda K: rf.Density(lambda x: 0.5 + 0 * x, 1.0, 3.0, nodes=K),
}
EDGES = ("power law", "exponential", "soft edges", "hard edge")  # with a bounded support


def average(law, f):
    return float((law.weights * f(np.asarray(law.values))).sum())


@pytest.mark.parametrize("ratio", [0.3, 1.0, 2.5])
def test_moments_of_marchenko_pastur_are_exact(ratio):
    """Narayana's numbers, up to the 2K - 1 that a Gauss rule gets right."""
    law = rf.MarchenkoPastur(ratio, 2.0, nodes=8)
    for k in range(1, 16):
        exact = 2.0**k * sum(ratio**r / (r + 1) * comb(k, r) * comb(k - 1, r) for r in range(k))
        assert average(law, lambda x, k=k: x**k) == pytest.approx(exact, rel=1e-13)
    assert average(law, lambda x: 1.0 * (x == 0)) == pytest.approx(max(0.0, 1 - 1 / ratio), abs=1e-15)


@pytest.mark.parametrize("ratio", [0.5, 1.0, 2.5])
def test_marchenko_pastur_is_the_law_of_sample_covariances(ratio):
    d = 400
    X = np.random.default_rng(1).standard_normal((d, round(d / ratio)))
    found = np.linalg.eigvalsh(X @ X.T / X.shape[1])
    for x in (0.1, 1.0, 5.0):  # fluctuations of linear statistics are of order 1/d
        sampled = np.mean(found / (found + x))
        assert average(rf.MarchenkoPastur(ratio), lambda v, x=x: v / (v + x)) == pytest.approx(sampled, abs=3 / d)


@pytest.mark.parametrize(("a", "cutoff"), [(0.5, 0.01), (1.0, 1e-3), (1.5, 0.1), (2.0, 0.01)])
def test_moments_of_the_power_law(a, cutoff):
    law = rf.PowerLaw(a, cutoff, scale=0.5)
    for k in (1, 2, 3):
        power = 1 - a * k
        integral = -np.log(cutoff) if power == 0 else (1 - cutoff**power) / power
        assert average(law, lambda x, k=k: x**k) == pytest.approx(0.5**k * integral / (1 - cutoff), rel=1e-12)


@pytest.mark.parametrize("a", [0.2, 0.5, 0.8])
def test_power_law_without_a_cutoff(a):
    law = rf.PowerLaw(a)
    assert float(law.trace) == pytest.approx(1 / (1 - a), rel=max(1e-12, float(law.error)))
    for x in (0.1, 1.0, 10.0):
        exact, _ = integrate.quad(lambda u, x=x: 1 / (1 + x * u**a), 0, 1, epsabs=1e-13, epsrel=1e-13)
        assert average(law, lambda v, x=x: v / (v + x)) == pytest.approx(exact, rel=max(1e-9, float(law.error)))


def test_the_finite_list_tends_to_the_power_law():
    limit, x = rf.PowerLaw(0.7), 2.0
    f = lambda v: v / (v + x)
    gaps = [average(rf.PowerLaw.of_dimension(0.7, d).normalised(), f) for d in (100, 1000, 10000)]
    gaps = np.abs(np.array(gaps) - average(limit.normalised(), f))
    assert np.all(gaps[1:] < gaps[:-1] / 1.5)  # the trace of what is missing at the top goes as d^(a-1)
    assert rf.PowerLaw.of_dimension(0.7, 100).atomic


def test_moments_of_the_exponential_law():
    law = rf.Exponential(3.0, 2.0)
    for k in (1, 2, 5):
        assert average(law, lambda x, k=k: x**k) == pytest.approx(2.0**k * -np.expm1(-3.0 * k) / (3.0 * k), rel=1e-13)


@pytest.mark.parametrize(
    ("name", "mean", "square"), [("semicircle", 2, 4.25), ("arcsine", 1, 1.5), ("uniform", 2, 13 / 3)]
)
def test_densities_with_soft_hard_and_finite_ends(name, mean, square):
    law = LAWS[name](32)
    assert float(law.trace) == pytest.approx(mean, rel=1e-12)
    assert average(law, lambda x: x**2) == pytest.approx(square, rel=1e-12)


def test_a_density_with_algebraic_ends_converges_with_its_exponents():
    pdf = lambda x: 0.7 * x**-0.3
    exact = 0.7 * integrate.quad(lambda x: 1 / (x + 0.5), 0, 1, weight="alg", wvar=(0.7, 0))[0]
    law = rf.Density(pdf, 0.0, 1.0, exponents=(-0.3, 0.0), nodes=32)
    assert average(law, lambda x: x / (x + 0.5)) == pytest.approx(exact, rel=1e-12)
    plain = rf.Density(pdf, 0.0, 1.0, nodes=32, tolerance=1e-3)
    assert average(plain, lambda x: x / (x + 0.5)) == pytest.approx(exact, rel=2e-3)


@pytest.mark.parametrize("name", LAWS)
def test_the_error_covers_the_error(name):
    law, fine = LAWS[name](16), LAWS[name](512)
    for x in (0.02, 0.3, 3.0):
        f = lambda v, x=x: v / (v + x * float(fine.trace))
        assert average(law, f) == pytest.approx(average(fine, f), rel=float(law.error) + 1e-12)
    assert float(LAWS[name](64).error) < 5e-4
    assert not law.atomic


def test_a_subspace_and_a_mixture():
    part = rf.Subspace(0.25, 2.0)
    assert part.values.tolist() == [0.0, 2.0]
    assert part.atomic
    assert part.error == 0.0
    assert rf.Subspace(1.0, 2.0).values.tolist() == [2.0]
    inner = rf.Subspace(0.5, covariance=rf.MarchenkoPastur(2.0, nodes=8))
    assert inner.values.size == 9  # one eigenvalue 0, not two
    assert inner.weights[0] == pytest.approx(0.75, abs=1e-15)
    assert not inner.atomic
    mixed = rf.Mixture([rf.Isotropic(1.0), rf.Atoms([1.0, 3.0], [0.5, 0.5]), rf.Exponential(1.0)], [0.25, 0.25, 0.5])
    assert mixed.weights[mixed.values == 1.0].sum() == pytest.approx(0.375, abs=1e-15)
    assert float(mixed.trace) == pytest.approx(0.25 + 0.5 - 0.5 * np.expm1(-1.0), rel=1e-13)
    assert np.count_nonzero(mixed.spacing) == 64
    assert float(mixed.error) == float(rf.Exponential(1.0).error)


@pytest.mark.parametrize("law", [rf.Atoms([0.0, 2.0], [0.5, 0.5]), rf.PowerLaw(1.0, 0.05), rf.Subspace(0.1)])
def test_normalising_scales_and_nothing_else(law):
    scaled = law.normalised(3.0)
    assert type(scaled) is type(law)
    assert float(scaled.trace) == pytest.approx(3.0, rel=1e-14)
    assert np.allclose(scaled.values * float(law.trace), 3.0 * law.values, rtol=1e-14)
    assert scaled.error == law.error
    assert float(scaled.unresolved(64.0, 8.0)) == pytest.approx(float(law.unresolved(64.0, 8.0)), abs=1e-14)


GRADS = {
    "exponent": (lambda a: rf.PowerLaw(a).trace, 0.4, 1 / 0.36),
    "exponent with a cutoff": (lambda a: rf.PowerLaw(a, 0.1).trace, 1.0, np.log(0.1) ** 2 / 1.8),
    "scale": (lambda s: rf.PowerLaw(0.5, scale=s).trace, 1.0, 2.0),
    "rate": (lambda r: rf.Exponential(r).trace, 1.0, 2 * np.exp(-1.0) - 1),
    "variance": (lambda v: rf.MarchenkoPastur(0.5, v).trace, 1.0, 1.0),
    "ratio": (lambda c: (m := rf.MarchenkoPastur(c)).weights @ m.values**2, 0.5, 1.0),
    "ratio with an atom": (lambda c: (m := rf.MarchenkoPastur(c)).weights @ m.values**2, 2.0, 1.0),
    "fraction": (lambda f: rf.Subspace(f, 2.0).trace, 0.5, 2.0),
    "share": (lambda w: rf.Mixture([rf.Isotropic(1.0), rf.Isotropic(3.0)], jnp.stack([1 - w, w])).trace, 0.5, 2.0),
    "density": (lambda b: rf.Density(lambda x: 1 / b + 0 * x, 0.0, b).trace, 2.0, 0.5),
    "normalised": (lambda s: rf.Atoms([1.0, 3.0], [0.5, 0.5]).normalised(s).values[1], 1.0, 1.5),
}


@pytest.mark.parametrize("name", GRADS)
def test_parameters_are_differentiable(name):
    f, at, exact = GRADS[name]
    assert float(jax.grad(f)(at)) == pytest.approx(exact, rel=1e-10)
    assert float(jax.vmap(f)(jnp.array([at, 1.01 * at]))[0]) == pytest.approx(float(f(at)), rel=1e-12)


# ------------------------------------------------------------------------------------ the spectrum of U


PSI = 1.5, 0.75
SAMPLED = {  # the eigenvalues of a Σ of finite d
    "power law": lambda d, rng: 1 / (0.05 + 0.95 * middles(d)),
    "exponential": lambda d, rng: np.exp(-3.0 * middles(d)),
    "soft edges": lambda d, rng: white(d, 2 * d, rng),
    "hard edge": lambda d, rng: white(d, d, rng),
    "semicircle": lambda d, rng: 2 + np.linalg.eigvalsh(wigner(d, rng)),
    "subspace": lambda d, rng: np.repeat([0.0, 1.0], [d - d // 4, d // 4]),
    "mixture": lambda d, rng: np.concatenate([np.ones(d // 2), np.exp(-3.0 * middles(d // 2))]),
}
OTHERS = {
    "subspace": lambda K: rf.Subspace(0.25),
    "mixture": lambda K: rf.Mixture([rf.Isotropic(1.0), rf.Exponential(3.0, nodes=K // 2)], [0.5, 0.5]),
}


def middles(d):
    return (np.arange(d) + 0.5) / d


def white(d, samples, rng):
    X = rng.standard_normal((d, samples))
    return np.linalg.eigvalsh(X @ X.T / samples)


def wigner(d, rng):
    W = rng.standard_normal((d, d))
    return (W + W.T) / np.sqrt(8 * d)


@pytest.fixture(scope="module")
def spectra():
    laws = {**{name: LAWS[name] for name in SAMPLED if name in LAWS}, **OTHERS}
    model = lambda law, K: rf.RandomFeatureModel(*PSI, 0.1, covariance=law(K).normalised())
    many = {(name, 16): rf.spectrum(model(LAWS[name], 16)) for name in EDGES}
    return many | {(name, 8): rf.spectrum(model(law, 8)) for name, law in laws.items()}


@pytest.mark.parametrize("name", EDGES)
def test_the_spectrum_is_that_of_the_continuous_law(name, spectra):
    """Where every node is resolved, twice as many move the edges by less than 1e-3 and the distribution less."""
    few, many = spectra[name, 8], spectra[name, 16]
    assert float(few.model.covariance.unresolved(*PSI, np.expm1(0.2))) == 0.0
    assert few.count == many.count
    assert np.allclose(few.edges, many.edges, rtol=1e-3, atol=0)
    x = many.quantile(np.linspace(0.3, 0.95, 24))
    assert np.allclose(few.cdf(x), many.cdf(x), rtol=0, atol=1e-4)
    assert np.allclose(few.density(x), many.density(x), rtol=1e-3, atol=0)


def test_too_few_nodes_are_seen_and_said():
    with pytest.warns(rf.ResolutionWarning, match=r"psi_p=8, psi_n=4 .* nodes of PowerLaw .* about \d+ nodes"):
        model = rf.RandomFeatureModel(8.0, 4.0, 0.1, covariance=LAWS["power law"](8).normalised())
    assert rf.spectrum(model).count > 3
    needed = model.covariance.nodes_needed(8.0, 4.0, np.expm1(0.2))
    rf.RandomFeatureModel(8.0, 4.0, 0.1, covariance=LAWS["power law"](needed + 1).normalised())


def test_lists_of_eigenvalues_never_warn():
    law = rf.Atoms(np.arange(1.0, 9.0), np.full(8, 1 / 8)).normalised()
    assert law.unresolved(1e4, 1e4) == 0.0
    assert law.nodes_needed(1e4, 1e4) == 8
    rf.RandomFeatureModel(1e4, 1e4, 0.1, covariance=law)
    jax.vmap(lambda a: rf.RandomFeatureModel(1e4, 1e4, 0.1, covariance=rf.PowerLaw(a)).gamma2)(jnp.array([0.4, 0.5]))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "K"), [("power law", 32), ("hard edge", 32), ("soft edges", 32)])
def test_just_enough_nodes(name, K):
    """T is between 2 and 3.5 here: edges of the population to 1e-3."""
    model = lambda K: rf.RandomFeatureModel(16.0, 8.0, 0.1, covariance=LAWS[name](K).normalised())
    few, many = rf.spectrum(model(K)), rf.spectrum(model(2 * K))
    assert float(few.model.covariance.unresolved(16.0, 8.0, np.expm1(0.2))) == 0.0
    assert few.edges[-1] == pytest.approx(many.edges[-1], rel=1e-3)
    x = many.quantile(np.linspace(0.7, 0.99, 24))
    assert np.allclose(few.cdf(x), many.cdf(x), rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", SAMPLED)
def test_sampled_matrices_tend_to_the_spectrum(name, spectra):
    """U = GGᵀ/n + b²FFᵀ + s²I with Σ of a finite d: the distance in the distribution falls as 1/d."""
    sp = spectra[name, 8]
    ge = sp.equations.ge
    atom = float(sp.atom.mass)

    def distance(d, seed):
        rng = np.random.default_rng(seed)
        p, n = round(PSI[0] * d), round(PSI[1] * d)
        values = SAMPLED[name](d, rng)
        root = np.sqrt(np.maximum(values, 0.0) / np.mean(values))
        F = rng.standard_normal((p, d)) / np.sqrt(d)
        G = np.sqrt(ge.kappa2) * (F * root) @ rng.standard_normal((d, n)) + np.sqrt(ge.v2) * rng.standard_normal((p, n))
        found = (np.linalg.eigvalsh(G @ G.T / n + ge.b2 * F @ F.T) + float(ge.s2))[round(atom * p) :]
        ranks = (round(atom * p) + np.arange(found.size) + 0.5) / p
        return np.abs(np.asarray(sp.cdf(np.resize(found, 400))) - np.resize(ranks, 400)).max()

    small, large = (np.mean([distance(d, seed) for seed in (1, 2, 3)]) for d in (40, 160))
    assert large < small / 2
    assert large < 3 / (PSI[0] * 160)


@pytest.mark.slow
def test_an_edge_is_differentiable_in_the_exponent():
    law = lambda a: rf.PowerLaw(a, 0.05, nodes=4).normalised()
    top = lambda a: rf.spectrum(rf.RandomFeatureModel(2.0, 1.5, 0.1, covariance=law(a))).parts.upper[0]
    h = 1e-4
    assert float(jax.grad(top)(1.0)) == pytest.approx(float(top(1.0 + h) - top(1.0 - h)) / (2 * h), rel=1e-6)
