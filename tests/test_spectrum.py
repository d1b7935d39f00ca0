"""Edges, bulks, atom, density and distribution against reference values and identities."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
from problems import REFERENCE, ZOO, closed_moments, draw, model_of, sparing
from scipy import integrate

import rfspec as rf
from rfspec.algebraic import branch_points, elimination


class Spectra(dict):
    """Spectra of the zoo by name, each computed when it is first asked for."""

    def __missing__(self, name):
        (model,) = (p.model for p in ZOO if p.name == name)
        self[name] = rf.spectrum(model)
        return self[name]


@pytest.fixture(scope="module")
def spectra():
    return Spectra()


@pytest.mark.parametrize("reference", REFERENCE, ids=lambda r: r["name"])
def test_reference(reference):
    model = model_of(reference)
    sp = rf.spectrum(model)
    edges = np.array([float(e) for e in reference["edges"]])
    masses = np.array([float(m) for m in reference["masses"]])
    if reference["name"] == "critical-hard-edge":  # exact there: see tests/reference/README.md
        edges[0], masses[0] = float(sp.atom.location), 0.5
    assert np.allclose(sp.edges, edges, rtol=1e-12, atol=0)
    assert np.allclose([b.mass for b in sp.bulks], masses, rtol=1e-10, atol=0)
    assert float(sp.atom.mass) == pytest.approx(reference["atom_mass"], abs=1e-15)
    x, density = np.array(reference["density"], dtype=float).T
    assert np.allclose(sp.density(x), density, rtol=1e-10, atol=0)


def test_fig4_parts_and_loss_drops(spectra):
    """Numbers of an independent calculation: satellite 0.641, sample 0.0029, population 0.0220;
    sum 0.66582.
    """
    bulks = spectra["paper"].bulks
    assert [b.part for b in bulks] == ["satellite", "sample", "population"]
    assert np.allclose([b.loss_drop for b in bulks], [0.641, 0.0029, 0.0220], atol=6e-4)
    assert sum(float(b.loss_drop) for b in bulks) == pytest.approx(0.66582, abs=6e-6)
    assert spectra["paper"].separated


@pytest.mark.parametrize("problem", sparing(ZOO))
def test_moments(problem, spectra):
    sp = spectra[problem.name]
    first, second = closed_moments(problem.model)
    assert float(sp.moment(0)) == pytest.approx(1.0, abs=1e-8)
    assert float(sp.moment(1)) == pytest.approx(first, rel=1e-8)
    assert float(sp.moment(2)) == pytest.approx(second, rel=1e-8)
    assert float(sp.error) < 1e-8


@pytest.mark.parametrize("problem", sparing(ZOO))
def test_masses(problem, spectra):
    """The exact sums of ranks and weights and the integrated density agree, bulk by bulk,
    and add up.
    """
    sp, model = spectra[problem.name], problem.model
    assert sum(float(b.mass) for b in sp.bulks) + float(sp.atom.mass) == pytest.approx(
        1.0, abs=1e-14
    )
    for bulk in sp.bulks:
        low, width = float(bulk.lower), float(bulk.upper - bulk.lower)
        substituted = lambda a, low=low, width=width: (
            float(sp.density(low + width * np.sin(a / 2) ** 2)) * width * np.sin(a) / 2
        )
        if width / low > 0.1 and not problem.tags & {"found by search", "ill-conditioned"}:
            mass, _ = integrate.quad(substituted, 0, np.pi, epsrel=1e-7, limit=200)
            assert float(bulk.mass) == pytest.approx(mass, rel=1e-6)
    psi_p, psi_n = float(model.psi_p), float(model.psi_n)
    assert float(sp.atom.mass) == pytest.approx(max(0.0, 1 - (1 + psi_n) / psi_p), abs=1e-14)
    total = sum(float(b.loss_drop) for b in sp.bulks)
    expected = float(sp.equations.drop_scale * rf.solve(model, 0.0).s.real)
    assert total == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("problem", sparing(ZOO))
def test_parts_follow_the_tags(problem, spectra):
    sp = spectra[problem.name]
    if "separated" in problem.tags:
        assert sp.separated
        assert sp.reason == ""
    if "merged" in problem.tags:
        assert not sp.separated
        assert "have merged in" in sp.reason
        assert any("+" in b.part for b in sp.bulks)
    if "hard edge" in problem.tags:
        assert float(sp.edges[0]) == float(sp.atom.location)


@pytest.mark.parametrize(
    "name", ["paper", "fewer data and features than dimensions", "hard edge", "near the hard edge"]
)
def test_distribution_beside_an_edge_is_the_mass_up_to_it(name, spectra):
    """It grows as the 3/2 power of the distance, by nothing over a few doubles;
    the equations are singular there.
    """
    sp = spectra[name]
    ulps = np.arange(-40, 41) * np.finfo(float).eps
    edges = np.asarray(sp.edges)
    soft = edges[edges > float(sp.atom.location)]
    beside = np.asarray(sp.cdf(soft[:, None] * (1 + ulps)))
    assert np.ptp(beside, axis=1).max() < 1e-14


@pytest.mark.parametrize("problem", sparing(ZOO))
def test_distribution_and_quantile_are_inverse(problem, spectra):
    sp = spectra[problem.name]
    u = float(sp.atom.mass) + (1 - float(sp.atom.mass)) * np.linspace(0.003, 0.997, 23)
    first, *x, last = np.asarray(sp.quantile(np.concatenate([[0.0], u, [1.0]])))
    x, enough = np.array(x), max(1e-12, 10 * float(sp.error))
    # next to the atom neighbouring doubles x may be far apart in the distribution
    below, above = (
        np.asarray(sp.cdf(x * (1 + 2 * sign * np.finfo(float).eps))) for sign in (-1, 1)
    )
    assert np.all((below - enough <= u) & (u <= above + enough))
    assert "narrow" in problem.tags or np.allclose(sp.cdf(x), u, atol=enough)
    edges = np.asarray(sp.edges)
    assert last == edges[-1]
    assert first == (float(sp.atom.location) if sp.atom.mass > 0 else edges[0])
    along = np.asarray(
        sp.cdf(np.concatenate([[-1.0], np.linspace(edges[0], edges[-1], 21), [10 * edges[-1]]]))
    )
    assert (along[0], along[-1]) == (0.0, 1.0)
    assert np.all(np.diff(along) >= -1e-12)


def drops_of_all(model):
    """What the train loss falls by, E(-γ) + γE'(-γ) of E(z) = Tr Vᵀ(U - z)⁻¹V/d,
    by the twin in 60 digits.
    """
    process, sigma = model.process, model.covariance
    beta = float(process.beta)
    signal, noise = {"noise": (0, 1), "score": (0, 1 / beta), "data": (1, 0)}.get(
        model.target
    ) or process.velocity
    slope = float(signal) * float(process.alpha) / beta
    gamma = float(model.weight_decay) / (beta**2 if model.target == "noise" else 1.0)
    c = rf.algebraic.constants(model, 60)

    def explained(z):
        point = rf.algebraic.solve(model, z, 60)
        D, total = 1 / (1 + point.delta), 0
        for x, w in zip(map(float, sigma.values), map(float, sigma.weights), strict=True):
            g = w * point.q / (1 + float(model.psi_p) * (c.b2 + c.kappa2 * x * D) * point.q)
            total += c.b2 * float(model.psi_p) * g * (float(noise) + slope * x * D) ** 2
            total += float(signal) ** 2 * w * x * (1 - D)
        return total.real

    with mp.workdps(60):
        h = mp.mpf(10) ** -20
        slope_at = (
            (explained(-gamma * (1 + h)) - explained(-gamma * (1 - h))) / (-2 * gamma * h)
            if gamma
            else 0
        )
        return float(explained(-gamma) + gamma * slope_at)


@pytest.mark.parametrize("models", [2, pytest.param(12, marks=pytest.mark.slow)])
def test_no_mass_is_too_small_to_be_counted(models):
    """Up to ψ_p = 10⁹ and with weights down to 10⁻¹², every bulk has its mass relative to itself,
    and a part.
    """
    rng = np.random.default_rng(3)
    log = lambda low, high: float(10 ** rng.uniform(low, high))
    for _ in range(models):
        light = log(-12, -3)
        sigma = rf.Atoms([log(-1, 1), log(0, 2)], [1 - light, light])
        model = rf.RandomFeatureModel(log(3, 9), log(-1, 3), log(-3, -0.5), covariance=sigma)
        sp = rf.spectrum(model)
        numbers = elimination.model_numbers(model, 60)
        folds = branch_points.folds(numbers, 50)
        assert len(folds) == 2 * len(sp.bulks), model
        with mp.workdps(60):
            left = [branch_points.mass_left_of(numbers, fold) for fold in folds]
            exact = np.array([float(b - a) for a, b in zip(left[::2], left[1::2], strict=True)])
        assert np.allclose([float(b.mass) for b in sp.bulks], exact, rtol=1e-12, atol=0), model
        assert np.all(sp.edge_error < 1e-6), model
        assert all(b.part for b in sp.bulks)
        assert float(np.nanmax(sp.parts.upper)) == sp.edges[-1]
        part_of = lambda name, sp=sp: sum(float(b.mass) for b in sp.bulks if name in b.part)
        if sp.separated:
            counted = [part_of(name) for name in ("population", "sample", "satellite")]
            assert np.allclose(counted, sp.parts.mass, rtol=1e-12, atol=0)


@pytest.mark.filterwarnings("ignore::rfspec.SaturationWarning")
@pytest.mark.parametrize("models", [12, pytest.param(150, marks=pytest.mark.slow)])
def test_drops_add_up_to_what_all_modes_explain(models):
    """Of all targets, with and without weight decay, by the twin left of the spectrum;
    and none is negative.
    """
    rng = np.random.default_rng(8)
    for _ in range(models):
        plain = draw(rng, atoms=2)
        model = rf.RandomFeatureModel(
            plain.psi_p, plain.psi_n, plain.t, activation=plain.activation,
            covariance=plain.covariance,
            target=str(rng.choice(["noise", "score", "data", "velocity"])),
            weight_decay=float(rng.choice([0.0, 10 ** rng.uniform(-6, 1)])),
        )  # fmt: skip
        sp = rf.spectrum(model)
        drops, errors = np.array([[b.loss_drop, b.loss_drop_error] for b in sp.bulks], float).T
        assert np.all(drops >= 0), model
        assert np.all(errors <= 1e-9 * drops + 1e-12 * drops.sum()), model
        exact = drops_of_all(model)
        assert abs(drops.sum() - exact) <= errors.sum() + 1e-15 * exact, model


def test_distribution_is_the_integral_of_the_density(spectra):
    sp = spectra["two atoms"]
    x = np.linspace(7.0, 16.0, 5)
    for a, b in pairwise(x):
        mass, _ = integrate.quad(lambda y: float(sp.density(y)), a, b, epsrel=1e-10)
        assert float(sp.cdf(b) - sp.cdf(a)) == pytest.approx(mass, rel=1e-9)


def test_density_vanishes_off_the_support(spectra):
    sp = spectra["paper"]
    assert np.all(sp.density(np.array([-1.0, 0.0, 0.002, 0.05, 2.0, 50.0])) == 0)


def test_stieltjes_is_the_transform_of_the_density(spectra):
    sp = spectra["more data than features"]
    z = -0.3 + 0.2j
    for part in ("real", "imag"):
        total = sum(
            integrate.quad(
                lambda x: float(sp.density(x)) * getattr(1 / (x - z), part), b.lower, b.upper
            )[0]
            for b in sp.bulks
        )
        assert getattr(complex(sp.stieltjes(z)), part) == pytest.approx(total, rel=1e-6)


def test_scaling_the_activation_scales_the_spectrum():
    one = rf.spectrum(rf.RandomFeatureModel(16.0, 4.0, 0.05))
    three = rf.spectrum(
        rf.RandomFeatureModel(16.0, 4.0, 0.05, activation=lambda x: 3.0 * jnp.tanh(x))
    )
    assert np.allclose(three.edges, 9.0 * np.asarray(one.edges), rtol=1e-11)
    x = np.array([0.3, 2.0, 8.0])
    assert np.allclose(9.0 * three.density(9.0 * x), one.density(x), rtol=1e-10)


def test_splitting_an_atom_of_sigma_changes_nothing():
    one = rf.spectrum(rf.RandomFeatureModel(16.0, 4.0, 0.05))
    split = rf.spectrum(
        rf.RandomFeatureModel(16.0, 4.0, 0.05, covariance=rf.Atoms([1.0, 1.0], [0.3, 0.7]))
    )
    assert np.allclose(split.edges, one.edges, rtol=1e-12)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_samples_follow_the_distribution(seed, spectra):
    sp = spectra["two atoms"]
    draws = np.sort(np.asarray(sp.sample(jax.random.key(seed), (4000,))))
    continuous = draws[draws > float(sp.atom.location)]
    share = continuous.size / draws.size
    assert share == pytest.approx(
        1 - float(sp.atom.mass), abs=5 * np.sqrt(share * (1 - share) / 4000)
    )
    rank = (np.arange(continuous.size) + 0.5) / continuous.size
    u = (np.asarray(sp.cdf(continuous)) - float(sp.atom.mass)) / (1 - float(sp.atom.mass))
    assert np.abs(u - rank).max() < 1.95 / np.sqrt(continuous.size)  # Kolmogorov-Smirnov at 1e-3


def test_vmap_is_the_loop():
    f = lambda n: rf.spectrum(rf.RandomFeatureModel(64.0, n, 0.01))
    batch = jax.vmap(f)(jnp.array([4.0, 8.0]))
    for i, n in enumerate((4.0, 8.0)):
        one = f(n)
        assert np.allclose(
            batch.support.lower[i] + batch.atom.location[i], one.edges[::2], rtol=1e-12
        )
        assert np.allclose(batch.support.drop[i], [b.loss_drop for b in one.bulks], rtol=1e-9)
        assert np.allclose(batch.parts.lower[i], one.parts.lower, rtol=1e-12)


SLOPES = {
    "edge in psi_p": (lambda p: rf.spectrum(rf.RandomFeatureModel(p, 8.0, 0.01)).edges[2], 64.0,
        1e-3),
    "edge in t": (lambda t: rf.spectrum(rf.RandomFeatureModel(64.0, 8.0, t)).edges[2], 0.01, 1e-6),
    "edge in a variance": (
        lambda a: rf.spectrum(
            rf.RandomFeatureModel(64.0, 8.0, 0.01, covariance=rf.Atoms(jnp.array([a, 1.5]),
                [0.5, 0.5]))
        ).edges[4],
        0.5,
        1e-5,
    ),
    "tau_mem in psi_n": (
        lambda n: rf.timescales(rf.RandomFeatureModel(64.0, n, 0.01), "spectrum").tau_mem, 8.0,
        1e-4,
    ),
    "paper's tau_gen in t": (
        lambda t: rf.timescales(rf.RandomFeatureModel(64.0, 8.0, t), "paper").tau_gen, 0.01, 1e-6,
    ),
    "loss drop in psi_p": (
        lambda p: rf.spectrum(rf.RandomFeatureModel(p, 8.0, 0.01)).bulks[0].loss_drop, 64.0, 1e-3,
    ),
    "density in psi_p": (lambda p: rf.spectrum(rf.RandomFeatureModel(p, 8.0, 0.01)).density(20.0),
        64.0, 1e-3),
    "distribution in psi_p": (lambda p: rf.spectrum(rf.RandomFeatureModel(p, 8.0, 0.01)).cdf(20.0),
        64.0, 1e-3),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOPES)
def test_gradient(name):
    f, x, h = SLOPES[name]
    assert float(jax.grad(f)(x)) == pytest.approx(float(f(x + h) - f(x - h)) / (2 * h), rel=2e-6)


def test_slope_of_the_distribution_is_the_density(spectra):
    sp = spectra["paper"]
    assert float(jax.grad(sp.cdf)(20.0)) == pytest.approx(float(sp.density(20.0)), rel=1e-8)
