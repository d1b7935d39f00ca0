"""Infinitely wide models (ψ_p → ∞, Σ = I) have spectra and losses in closed form, published since:
each eigenvalue x of the sample covariance carries a 2×2 block of its own.

Sources: arXiv 2609.35377, Theorem 2.1 (the parts of the kernel's spectrum); arXiv 2608.23938,
equations (28) and (29) (losses along gradient flow).
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rfspec as rf

PSI_N = 8.0
ENDS = (1 - PSI_N**-0.5) ** 2, (1 + PSI_N**-0.5) ** 2  # of the law of Marchenko and Pastur
NODES = 400


def model(psi_p, **kwargs):
    return rf.RandomFeatureModel(psi_p, PSI_N, 0.1, **kwargs)


def blocks(ge, process, x):
    """Q(x), whose eigenvalues times μ1² are those of U/ψ_p."""
    alpha, beta, excess = float(process.alpha), float(process.beta), float(ge.v2 / ge.mu1**2)
    cross = alpha * beta * np.sqrt(x)
    first = np.stack([alpha**2 * x + excess / PSI_N, cross], -1)
    return np.stack([first, np.stack([cross, np.full_like(x, beta**2)], -1)], -2)


def closed_losses(ge, process, tau):
    """Both losses, from the law of Marchenko and Pastur on Chebyshev nodes."""
    alpha, beta = float(process.alpha), float(process.beta)
    angle = (np.arange(NODES) + 0.5) * np.pi / NODES
    middle, half = sum(ENDS) / 2, (ENDS[1] - ENDS[0]) / 2
    x = middle + half * np.cos(angle)
    weights = PSI_N / (2 * NODES * x) * (half * np.sin(angle)) ** 2
    rates, vectors = np.linalg.eigh(blocks(ge, process, x))
    left = np.exp(-2 * beta**2 * float(ge.mu1) ** 2 * tau * rates)
    e2 = np.einsum("xij,xj,xj->xi", vectors, left, vectors[:, 1])
    f = -(1 - e2[:, 1]) / beta
    train = weights @ np.sum(e2**2, -1)
    return train, 1 + 2 * beta * (weights @ f) + (alpha**2 + beta**2) * (weights @ f**2)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_losses_are_those_of_the_kernel(activation):
    """At ψ_p = 10⁵ and 10⁶ they are off by c/ψ_p, and extrapolated by nothing."""
    tau = np.array([1.0, 10.0, 100.0, 1000.0])
    near, nearer = (
        rf.learning_curve(model(psi_p, activation=activation), tau) for psi_p in (1e5, 1e6)
    )
    ge, process = rf.gaussian_equivalent(model(1.0, activation=activation)), model(1.0).process
    closed = np.transpose([closed_losses(ge, process, at) for at in tau])
    for name, limit in zip(("train", "test"), closed, strict=True):
        first, second = getattr(near, name) - limit, getattr(nearer, name) - limit
        assert np.all(np.abs(second) < 1e-5)
        # what is left is of second order in 1/ψ_p
        assert np.all(np.abs((10 * second - first) / 9) <= 1e-4 * np.abs(first) + 1e-12)


@pytest.mark.parametrize(
    "activation", ["tanh", *(pytest.param(a, marks=pytest.mark.slow) for a in ("erf", "relu"))]
)
def test_an_infinite_width_has_the_closed_form(activation):
    """Both losses to 10⁻¹², at every time, and the end of training, (α²/β²)σ_x²."""
    tau = np.array([0.0, 0.1, 1.0, 10.0, 100.0, 1e3, 1e5])
    wide = model(np.inf, activation=activation)
    ge, process = rf.gaussian_equivalent(wide), wide.process
    closed = np.transpose([closed_losses(ge, process, at) for at in tau])
    curve = rf.learning_curve(wide, [*tau, np.inf])
    np.testing.assert_allclose(curve.train[:-1], closed[0], rtol=0, atol=1e-12)
    np.testing.assert_allclose(curve.test[:-1], closed[1], rtol=1e-12)
    assert float(curve.test[-1]) == pytest.approx(
        float(process.alpha**2 / process.beta2), rel=1e-12
    )
    assert np.all(np.asarray(curve.error) < 1e-11)


LAWS = {
    "atoms": rf.Atoms([0.3, 2.0], [0.5, 0.5]),
    "law": rf.PowerLaw(0.5),
    "one": rf.Isotropic(1.0),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "law"),
    [(target, law) for target in ("noise", "data", "velocity") for law in LAWS],
)
def test_it_is_the_limit_of_wide_models(target, law):
    """Losses, bias and variance, and best times of ψ_p = 10⁶ and 10⁷ differ from it as 1/ψ_p."""
    wide = model(np.inf, target=target, covariance=LAWS[law])
    tau = [0.1, 10.0, 1e3, 1e5]
    at = lambda psi_p: numbers_of(wide.replace(psi_p=psi_p), tau)
    limit, near, nearer = at(np.inf), at(1e6), at(1e7)
    np.testing.assert_allclose(nearer, limit, rtol=1e-3, atol=1e-4)
    first, second = np.abs(near - limit), np.abs(nearer - limit)
    assert np.all(second <= 0.2 * first + 1e-9 * (1 + np.abs(limit)))


def numbers_of(wide, tau):
    curve, stop = rf.learning_curve(wide, tau), rf.early_stopping(wide)
    parts = curve.score_parts
    arrays = (curve.train, curve.test, parts.bias2, parts.of_features, parts.of_data)
    return np.concatenate([*map(np.asarray, arrays), [stop.tau, stop.test, stop.onset]])


def test_it_has_derivatives_and_maps():
    """That of the best time is that of a wide model; a batch is a loop."""
    best = lambda psi_n, psi_p: rf.early_stopping(rf.RandomFeatureModel(psi_p, psi_n, 0.1)).tau
    limit, near = (jax.grad(best)(8.0, psi_p) for psi_p in (np.inf, 1e7))
    assert limit == pytest.approx(float(near), rel=1e-5)
    both = jax.vmap(lambda n: best(n, np.inf))(jnp.array([2.0, 8.0]))
    np.testing.assert_allclose(both, [best(2.0, np.inf), best(8.0, np.inf)], rtol=1e-10)


@pytest.mark.parametrize(
    "what",
    [
        rf.spectrum,
        lambda m: rf.solve(m, 1 + 1j),
        lambda m: rf.learning_curve(m, [1.0], step=0.1),
        lambda m: rf.timescales(m, rule="paper"),
        lambda m: rf.empirical.sample(0, m, 20),
        lambda m: rf.algebraic.density(m, [1.0]),
        rf.best_weight_decay,
    ],
)
def test_what_it_does_not_have(what):
    """The message says what, and that it is for a finite ψ_p."""
    with pytest.raises(NotImplementedError, match=r"exists for finite psi_p only, got psi_p=inf"):
        what(model(np.inf))


@pytest.mark.parametrize("known", [{"noise_draws": 2}, {"weight_decay": 0.1}, {"d": 20}])
def test_what_does_not_go_with_it(known):
    """Finite draws, decay and dimensions are derived for a finite ψ_p."""
    with pytest.raises(ValueError, match=r"psi_p = inf goes with"):
        model(np.inf, **known)
    with pytest.raises(ValueError, match="psi_p must be a finite real number"):
        model(-np.inf)


def test_a_survey_flags_it():
    """A cell with ψ_p = ∞ stops no other."""
    grid = {"psi_p": [np.inf, 8.0], "psi_n": 2.0, "t": 0.1}
    found = rf.sweep(grid, ["limits"])
    assert found.status.values.tolist() == [1, 0]


def test_losses_printed_for_one_model():
    printed = {
        1.0: (0.957620, 0.957652),
        10.0: (0.823311, 0.832353),
        100.0: (0.785031, 0.841565),
        1000.0: (0.633250, 0.911808),
    }
    curve = rf.learning_curve(model(1e6), list(printed))
    assert np.allclose([curve.train, curve.test], np.transpose([*printed.values()]), atol=2e-6)


@pytest.mark.parametrize("t", [0.01, 0.1, 1.0])
def test_population_and_satellite_are_the_two_eigenvalues_of_a_block(t):
    """And the sample part is the narrow rest at v²/ψ_n, which no score sees."""
    psi_p, wide = 1e8, rf.RandomFeatureModel(1e8, PSI_N, t)
    ge, spectrum = rf.gaussian_equivalent(wide), rf.spectrum(wide)
    pairs = float(ge.mu1) ** 2 * np.linalg.eigvalsh(blocks(ge, wide.process, np.array(ENDS)))
    satellite, sample, population = spectrum.bulks
    parts = [(satellite, pairs[:, 0]), (population, pairs[:, 1])]
    for part, ends in parts:
        edges = np.array([part.lower, part.upper]) / psi_p
        assert np.allclose(edges, np.sort(ends), rtol=1e-5)
        assert part.mass * psi_p == pytest.approx(1.0, rel=1e-12)
    assert [satellite.part, sample.part, population.part] == ["satellite", "sample", "population"]
    assert sample.mass * psi_p == pytest.approx(PSI_N - 1, rel=1e-12)
    # n columns in p dimensions have a relative half-width of 2√(ψ_n/ψ_p)
    spread = 3 * np.sqrt(PSI_N / psi_p)
    for edge in (sample.lower, sample.upper):
        assert float(edge) / psi_p == pytest.approx(float(ge.v2) / PSI_N, rel=spread)
    assert abs(float(sample.loss_drop)) < 100 / psi_p
