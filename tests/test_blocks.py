"""Models of finite d: products of eigenvalues, blocks, their equations against matrices, losses."""

import json
from itertools import combinations_with_replacement

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from typer.testing import CliRunner

import rfspec as rf
from rfspec.cli.application import app
from rfspec.models.degrees import degrees
from rfspec.resolvent.equations import averaged_equations
from rfspec.resolvent.products import Grid, of_one, symmetric_powers

LAM = np.array([2.5, 1.0, 0.4, 0.1])
SIGMA = rf.Atoms(LAM, np.full(4, 0.25))
MODEL = rf.RandomFeatureModel(16.0, 8.0, 0.05, activation="relu", covariance=SIGMA, d=40)
TAU = np.array([0.0, 1.0, 1e2, 1e4, 1e6, np.inf])


def equations_of(model):
    return averaged_equations(model, rf.gaussian_equivalent(model))


def test_degree_one_is_the_limit():
    one, limit = (rf.learning_curve(MODEL.replace(**k), TAU) for k in ({"degree": 1}, {"d": None}))
    np.testing.assert_array_equal(one.train, limit.train)
    np.testing.assert_array_equal(one.test, limit.test)


@pytest.mark.parametrize(
    "activation", ["tanh", "relu", "gelu", rf.Polynomial([0.0, 1.0, 0.3, 0.2])]
)
def test_degrees_are_parts_of_the_constants(activation):
    """h_k² by an independent rule, and what is left of v² and s² where all degrees are kept."""
    model = MODEL.replace(activation=activation, degree=4)
    gamma = np.sqrt(float(model.gamma2))
    z, w = np.polynomial.hermite_e.hermegauss(60)
    h = lambda k: np.polynomial.hermite_e.hermeval(z, np.eye(6)[k])
    for one in degrees(model):
        if activation == "relu":  # (-1)^{k/2+1} (k - 3)!!/√(2πk!) Γ for even k, 0 for odd ones
            expected = {2: 1 / np.sqrt(4 * np.pi), 3: 0.0, 4: 1 / np.sqrt(48 * np.pi)}[one.order]
            expected *= gamma
        else:
            y = np.asarray(model.activation(gamma * z))
            expected = w @ (y * h(one.order)) / np.sqrt(2 * np.pi)
            expected /= np.sqrt([1, 1, 2, 6, 24][one.order])
        assert float(one.whole) == pytest.approx(expected**2, rel=1e-6, abs=1e-15)
    if isinstance(activation, rf.Polynomial):
        ge = equations_of(model).ge
        assert (float(ge.v2), float(ge.s2)) == (0.0, 0.0)


@pytest.mark.parametrize("order", [2, 3, 4])
def test_products_of_few_eigenvalues_are_exact(order):
    """Counts and sums over all multi-indices of 12 directions, three to an eigenvalue."""
    alpha2, beta2 = 0.9, 0.1
    power = symmetric_powers(
        of_one(LAM, np.full(4, 0.25), 12.0, alpha2, beta2), order, Grid(40, 12)
    )
    power, trace = power[order - 1], LAM.mean()
    each = np.repeat(LAM, 3)
    products = [np.array(m) for m in combinations_with_replacement(each, order)]
    value = np.array([np.prod(m) for m in products]) / trace**order
    noisy = np.array([np.prod(alpha2 * m + beta2) for m in products])
    noisy /= (alpha2 * trace + beta2) ** order
    assert float(jnp.sum(power.count)) == pytest.approx(len(products), rel=1e-13)
    for f in (lambda v, a: v, lambda v, a: a, lambda v, a: v**2, lambda v, a: v / (1 + 3 * v)):
        got = float(jnp.sum(power.count * f(power.value, power.noisy)))
        assert got == pytest.approx(np.sum(f(value, noisy)), rel=1e-6)
    mixed = lambda v, a: v / (1.0 + 2.0 * a + v)
    got = float(jnp.sum(power.count * mixed(power.value, power.noisy)))
    assert got == pytest.approx(np.sum(mixed(value, noisy)), rel=1e-3)


def test_blocks_keep_their_traces():
    """Tr Ũ/p is that of the limit, and so is what does not depend on the noise."""
    for activation in ("tanh", "relu"):
        model = MODEL.replace(activation=activation, covariance=rf.Atoms(LAM, np.full(4, 0.25)))
        eq, limit = equations_of(model), equations_of(model.limit)
        assert float(eq.mean) == pytest.approx(float(limit.mean), rel=1e-13)
        of_data = lambda e: e.ge.kappa2 * np.sum(e.weights * e.values) + e.ge.v2
        blocks = float(jnp.sum(eq.blocks.weights * eq.blocks.data))
        assert float(of_data(eq)) + blocks == pytest.approx(float(of_data(limit)), rel=1e-13)


def matrices_of(eq, size, seed):
    """U, V and the population's Ũ of Gaussian features with the blocks of the equations."""
    rng = np.random.default_rng(seed)
    p, n = round(float(eq.psi_p) * size), round(float(eq.psi_n) * size)
    ge, b = eq.ge, eq.blocks
    counts = np.concatenate([np.asarray(eq.weights), np.asarray(b.weights)]) * size
    counts = np.round(counts).astype(int)
    repeat = lambda first, rest: np.repeat(np.concatenate([first, np.asarray(rest)]), counts)
    noise = repeat(np.full(eq.values.size, float(ge.b2)), b.noise)
    data = repeat(float(ge.kappa2) * np.asarray(eq.values), b.data)
    F = rng.normal(size=(p, noise.size)) / np.sqrt(size)
    G = F * np.sqrt(data) @ rng.normal(size=(noise.size, n))
    G += np.sqrt(float(ge.v2)) * rng.normal(size=(p, n))
    first = np.arange(noise.size) < counts[: eq.values.size].sum()
    U = G @ G.T / n + F * noise @ F.T + float(ge.s2) * np.eye(p)
    population = F * (noise + data) @ F.T + float(ge.v2 + ge.s2) * np.eye(p)
    return U, np.sqrt(float(ge.b2)) * F[:, first], population


def losses_of(matrices, size, c):
    """Train and test loss of gradient flow to c."""
    (values, Q), V, population = matrices
    h, a = -np.expm1(-c * values) / values, Q.T @ V
    A, square = Q @ (h[:, None] * a), np.sum(a**2, axis=1)
    train = np.sum((2 * h - h**2 * values) * square)
    return 1 - train / size, 1 - (2 * np.sum(A * V) - np.sum(A * (population @ A))) / size


def test_equations_and_losses_against_gaussian_matrices():
    """q(z), and losses of the whole of training, to 1/size and standard errors."""
    model = rf.RandomFeatureModel(6.0, 3.0, 0.1, activation="relu", covariance=SIGMA, d=8)
    eq, off = equations_of(model), []
    tau, z = np.array([1.0, 30.0, 1e3, 1e5]), -0.05
    curve = rf.learning_curve(model, tau)
    losses = np.stack([curve.train, curve.test], axis=1).ravel()
    expected = np.array([float(rf.solve(model, z).q.real), *losses])
    # both sizes have whole numbers of each multi-index
    for size, draws in ((32, 12), (96, 4)):
        found = []
        for seed in range(draws):
            U, V, population = matrices_of(eq, size, seed)
            basis = np.linalg.eigh(U)
            both = [losses_of((basis, V, population), size, c) for c in tau / model.time_unit]
            found.append([np.mean(1 / (basis[0] - z)), *np.ravel(both)])
        mean, error = np.mean(found, axis=0), np.std(found, axis=0, ddof=1) / np.sqrt(draws)
        assert np.all(np.abs(mean - expected) < 4 * error + 2.0 / size * expected)
        off.append(np.abs(mean / expected - 1).max())
    assert off[1] < max(off[0], 0.01)


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_losses_of_sampled_features(activation):
    """Blocks leave at most half of what the limit is off by, and little."""
    values = 1.0 / np.arange(1, 17)
    sigma = rf.Atoms(values / values.mean(), np.full(16, 1 / 16))
    model = rf.RandomFeatureModel(20.0, 30.0, 0.02, activation=activation, covariance=sigma)
    tau = [1e2, 1e4, 1e6]
    draws = [
        rf.empirical.gradient_flow(rf.empirical.sample(i, model, 16, tolerance=1e-4), tau).test
        for i in range(3)
    ]
    measured, error = np.mean(draws, axis=0), np.std(draws, axis=0, ddof=1) / np.sqrt(3)
    error = error / measured
    blocks, limit = (rf.learning_curve(m, tau).test for m in (model.replace(d=16), model))
    off, off_in_limit = (np.abs(np.asarray(a) / measured - 1) for a in (blocks, limit))
    assert np.all(off < 0.03 + 3 * error)
    assert off.max() < max(off_in_limit.max() / 2, 0.01 + 3 * error.max())


AT = (16.0, 8.0, 0.05, LAM)


def loss(*x):
    return rf.learning_curve(at(*x), np.array([1e3, np.inf])).test.sum()


def best(*x):
    return jnp.log(rf.early_stopping(at(*x)).tau)


def at(p, n, t, lam):
    return MODEL.replace(psi_p=p, psi_n=n, t=t, covariance=rf.Atoms(lam, SIGMA.weights))


def resolvent(*x):
    return jnp.log(rf.solve(at(*x), -0.05).q.real)


SLOW = [pytest.param(f, marks=pytest.mark.slow) for f in (loss, best)]


@pytest.mark.parametrize("f", [resolvent, *SLOW])
def test_derivatives(f):
    """In ψ_p, ψ_n, t and an eigenvalue of Σ, against differences."""
    slopes = jax.jit(jax.grad(f, argnums=(0, 1, 2, 3)))(*AT)
    for i in range(3):
        step = 1e-4 * AT[i]
        there = lambda s: float(f(*AT[:i], AT[i] + s * step, *AT[i + 1 :]))
        assert float(slopes[i]) == pytest.approx((there(1) - there(-1)) / (2 * step), rel=1e-5)
    e = np.array([0.0, 1e-4, 0.0, 0.0])
    change = (f(*AT[:3], LAM + e) - f(*AT[:3], LAM - e)) / 2e-4
    assert float(slopes[3][1]) == pytest.approx(float(change), rel=1e-4)


@pytest.mark.slow
def test_second_derivatives():
    twice = jax.hessian(lambda n: best(16.0, n, 0.05, LAM))(8.0)
    slope = jax.grad(lambda n: best(16.0, n, 0.05, LAM))
    assert float(twice) == pytest.approx(float(slope(8.001) - slope(7.999)) / 2e-3, rel=1e-4)


def curve_of(model):
    return rf.learning_curve(model, TAU).test


def resolvent_of(model):
    return rf.solve(model, np.array([-0.05, -2.0])).q.real


@pytest.mark.parametrize("f", [resolvent_of, pytest.param(curve_of, marks=pytest.mark.slow)])
def test_batches_and_compiled_calls(f):
    psi_n = np.array([4.0, 8.0])
    of = lambda n: f(MODEL.replace(psi_n=n))
    each = np.stack([of(n) for n in psi_n])
    np.testing.assert_allclose(jax.vmap(of)(psi_n), each, rtol=1e-12)
    np.testing.assert_allclose(jax.jit(of)(8.0), each[1], rtol=1e-12)
    assert np.all(np.isfinite(each))


def test_a_sweep_takes_a_dimension():
    axes = {"psi_p": 16.0, "psi_n": [4.0, 8.0], "t": 0.05, "d": [20, 40]}
    swept = rf.sweep({**axes, "activation": "relu", "covariance": SIGMA}, ["limits"])
    assert swept.test_limit.sizes == {"psi_n": 2, "d": 2}
    end = rf.learning_curve(MODEL, [np.inf]).test[0]
    assert float(swept.test_limit.sel(psi_n=8.0, d=40)) == pytest.approx(float(end), rel=1e-10)


@pytest.mark.slow
def test_diagrams_take_a_dimension():
    found = rf.phase_diagram([8.0, 16.0], [4.0], 0.05, activation="relu", covariance=SIGMA, d=40)
    stop = rf.early_stopping(MODEL.replace(psi_n=4.0))
    assert float(found.tau_star[1, 0]) == pytest.approx(float(stop.tau), rel=1e-10)
    paper = rf.timescales(MODEL.replace(psi_n=4.0, d=None), "paper")
    assert float(found.tau_gen.sel(rule="paper")[1, 0]) == pytest.approx(float(paper.tau_gen))


@pytest.mark.slow
def test_sweeps_over_the_dimension():
    axes = {"psi_p": 8.0, "psi_n": 4.0, "t": 0.05, "d": [20, 40], "degree": 2}
    swept = rf.sweep(axes, ["tau_star"])
    assert swept.tau_star.dims == ("d",)
    one = rf.RandomFeatureModel(8.0, 4.0, 0.05, d=20, degree=2)
    assert float(swept.tau_star[0]) == pytest.approx(float(rf.early_stopping(one).tau), rel=1e-10)


def test_what_has_no_blocks():
    for f in (rf.certify, lambda m: rf.merging_lines(m, psi_n=[8.0], psi_p=(1, 9))):
        with pytest.raises(NotImplementedError, match="exists for d=None only, got 40"):
            f(MODEL)
    paper = rf.timescales(MODEL, "paper"), rf.timescales(MODEL.limit, "paper")
    assert float(paper[0].tau_gen) == float(paper[1].tau_gen)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"d": 0}, "d must be an integer of at least 1, got 0"),
        ({"d": 2.5}, "d must be an integer of at least 1, got 2.5"),
        ({"degree": 0}, "degree must be an integer from 1 to 6, got 0"),
        ({"degree": 7}, "degree must be an integer from 1 to 6, got 7"),
        ({"noise_draws": 2}, "noise_draws=inf only, got d=40 and 2 draws"),
        ({"d": 8, "psi_p": 1e3, "psi_n": 1e2, "degree": 2}, "45 polynomials of degree 2 in d vari"),
    ],
)
def test_bad_input(changes, words):
    with pytest.raises(ValueError, match=words):
        MODEL.replace(**changes)


def test_the_command_takes_a_dimension():
    given = ["curve", "--psi-p", "16", "--psi-n", "8", "--t", "0.05", "--points", "3", "--json"]
    run = CliRunner().invoke(app, [*given, "--d", "40", "--activation", "relu"])
    assert run.exit_code == 0, run.output
    found = json.loads(run.output)
    model = MODEL.replace(covariance=rf.Isotropic(1.0))
    curve = rf.learning_curve(model, np.array(found["tau"]))
    for name in ("train", "test"):
        np.testing.assert_allclose(found[name], getattr(curve, name), rtol=1e-12)
    limit = rf.learning_curve(model.limit, curve.tau)
    assert np.max(np.abs(curve.test - limit.test)) > 0.01
