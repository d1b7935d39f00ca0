"""Models of finite d: products of eigenvalues, functions, equations, two resolvents, losses."""

import json
from itertools import combinations_with_replacement
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from typer.testing import CliRunner

import rfspec as rf
from rfspec.cli.application import app
from rfspec.models.degrees import hermite_coefficients, present_degrees
from rfspec.models.lengths import two_lengths
from rfspec.resolvent.columns import IDENTITY
from rfspec.resolvent.equations import averaged_equations
from rfspec.resolvent.functions import Data, Expansion, directions, share
from rfspec.resolvent.products import Grid, symmetric_powers
from rfspec.resolvent.solver import solve_left, unknowns_at

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


@pytest.mark.parametrize("activation", ["tanh", "erf", "relu", "gelu"])
def test_hermite_coefficients(activation):
    """By an independent rule, and the degrees that parity leaves."""
    sigma, gammas = MODEL.replace(activation=activation).activation, np.array([0.4, 1.1, 2.0])
    got = np.asarray(hermite_coefficients(sigma, gammas**2, count=6))
    z = np.linspace(-12.0, 12.0, 400_001)
    w = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi) * (z[1] - z[0])
    for k, norm in enumerate(np.sqrt([1, 1, 2, 6, 24, 120])):
        he = np.polynomial.hermite_e.hermeval(z, np.eye(6)[k]) * w / norm
        expected = [float(np.sum(np.asarray(sigma(g * z)) * he)) for g in gammas]
        np.testing.assert_allclose(got[:, k], expected, rtol=1e-8, atol=1e-10)
    odd = activation in ("tanh", "erf")
    assert present_degrees(sigma, 6) == ((3, 5) if odd else (2, 4, 6))


def test_degrees_of_other_activations():
    assert present_degrees(rf.Polynomial([0.0, 1.0, 0.3, 0.2]), 4) == (2, 3, 4)
    assert present_degrees(rf.Polynomial([0.0, 1.0, 0.0, 0.2]), 4) == (3,)
    assert present_degrees(rf.Activation(lambda x: jnp.tanh(x + 0.3)), 4) == (2, 3, 4)


def test_two_lengths_have_the_moments_of_the_gamma_law():
    for rank in (1.0, 7.0, 300.0):
        squares, shares = two_lengths(rank)
        a, moment = rank / 2, 1.0
        for k in range(4):
            assert float(shares @ squares**k) == pytest.approx(moment, rel=1e-13)
            moment *= (a + k) / a


@pytest.mark.parametrize("rank", [3.0, 8.0, 40.0])
def test_shares_of_powers_in_lower_degrees(rank):
    """Against Gegenbauer polynomials on a sphere of that many dimensions."""
    from scipy.integrate import quad
    from scipy.special import gegenbauer

    nu = rank / 2 - 1
    measure = lambda t: (1 - t * t) ** (nu - 0.5)
    for power in range(1, 7):
        for degree in range(power, 0, -2):
            P = gegenbauer(degree, nu)
            up = quad(lambda t, P=P, k=power: t**k * P(t) * measure(t), -1, 1)[0]
            down = quad(lambda t, P=P: P(t) ** 2 * measure(t), -1, 1)[0]
            assert float(share(power, degree, rank)) == pytest.approx(up / down * P(1), rel=1e-6)


DATA = Data(LAM, np.full(4, 0.25), 12.0, 0.9, 0.1)


def whole_of(orders, activation="gelu"):
    sigma = MODEL.replace(activation=activation).activation
    return Expansion.of(DATA, hermite_coefficients(sigma, DATA.squares), orders)


@pytest.mark.parametrize("order", [2, 3, 4])
def test_products_of_few_eigenvalues_are_exact(order):
    """Counts and sums over all multi-indices of 12 directions, three to an eigenvalue."""
    whole = whole_of((order,))
    power = symmetric_powers(directions(whole), order, Grid(40, 12))[order - 1]
    share = DATA.A / (DATA.d * DATA.gamma2)
    tilted = share / (1.0 + 2.0 * float(whole.tilts[order]) * share)
    rho = DATA.alpha2 * LAM / DATA.A
    each = np.repeat(np.stack([tilted / tilted.mean(), rho, share, LAM / LAM.mean()]), 3, axis=1)
    chosen = [list(m) for m in combinations_with_replacement(range(12), order)]
    A, R, S, V = (np.array([each[k, m] for m in chosen]) for k in range(4))
    u, c, value = A.prod(axis=1), (A * R).prod(axis=1), V.prod(axis=1)
    noise = sum(c / R[:, i] * (1 - R[:, i]) for i in range(order))
    assert float(jnp.sum(power.count)) == pytest.approx(len(chosen), rel=1e-13)
    got = power.whole[-1], power.data[-1], power.noise[-1], power.row, power.value
    rank = 12.0 * np.mean(DATA.A) ** 2 / np.mean(DATA.A**2)
    for a, b in zip(got, (u, c, noise, rank * S.sum(axis=1), value), strict=True):
        assert float(jnp.sum(power.count * a)) == pytest.approx(np.sum(b), rel=1e-12)
        assert float(jnp.sum(power.count * a * power.value)) == pytest.approx(
            np.sum(b * value), rel=1e-12
        )
    mixed = lambda a, b: a / (1.0 + 2.0 * b + a)
    got = float(jnp.sum(power.count * mixed(power.data[-1], power.whole[-1])))
    assert got == pytest.approx(np.sum(mixed(c, u)), rel=1e-3)


def test_an_odd_activation_keeps_its_variance():
    """Tr Ũ/p: all shares of odd degrees lie in degrees that are followed."""
    model = MODEL.replace(activation="tanh")
    eq = equations_of(model)
    lengths = np.asarray(two_lengths(rank_of(LAM * model.process.alpha**2 + model.process.beta2)))
    expected = 0.0
    for square, part in lengths.T:
        z = np.linspace(-12.0, 12.0, 4001)
        density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi) * (z[1] - z[0])
        gamma = np.sqrt(float(model.gamma2) * square)
        expected += part * (density @ np.tanh(gamma * z) ** 2)
    assert float(eq.mean) == pytest.approx(expected, rel=1e-9)


def rank_of(values, d=40):
    return d * np.mean(values) ** 2 / np.mean(values**2)


def test_equations_tend_to_the_limit():
    """What is left of the difference falls like 1/d."""
    limit = MODEL.replace(activation="tanh", d=None)
    at = lambda d: rf.solve(limit.replace(d=d), np.array([-1e-3, -1.0])).q.real
    end = rf.solve(limit, np.array([-1e-3, -1.0])).q.real
    off = [np.asarray(at(d) / end - 1) for d in (4_000, 40_000)]
    assert np.all(np.abs(off[1]) < 2e-3)
    np.testing.assert_allclose(off[0] / off[1], 10.0, rtol=0.1)


TARGETS = {
    "noise": MODEL,
    "data": MODEL.replace(target="data"),
    "velocity": rf.RandomFeatureModel(
        16.0,
        8.0,
        process=rf.FlowMatching(0.3),
        target="velocity",
        activation="gelu",
        covariance=SIGMA,
        d=40,
    ),
}


@pytest.mark.parametrize(
    "name", ["velocity", *(pytest.param(t, marks=pytest.mark.slow) for t in ("noise", "data"))]
)
def test_two_resolvents_are_differences_of_one(name):
    """(U - z1)⁻¹(U - z2)⁻¹ = [(U - z1)⁻¹ - (U - z2)⁻¹]/(z1 - z2), and with Ũ a derivative."""
    eq = equations_of(TARGETS[name])
    z = np.array([-0.3 + 0.2j, -0.05 + 0.4j])
    points = [eq.point(unknowns_at(eq, jnp.asarray(a))[0]) for a in z]
    f = [eq.explained(point)[0] for point in points]
    both = eq.target_two_point(*points, (IDENTITY,))[0]
    assert complex(both) == pytest.approx(complex((f[0] - f[1]) / (z[0] - z[1])), rel=1e-9)
    turned = eq.target_two_point(*points[::-1], (IDENTITY, eq.population))
    assert complex(turned[0]) == pytest.approx(complex(both), rel=1e-12)
    through = eq.target_two_point(*points, (eq.population,))[0]
    assert complex(turned[1]) == pytest.approx(complex(through), rel=1e-12)
    s = [eq.transforms(unknowns_at(eq, jnp.asarray(a))[0])[1] for a in z]
    got = eq.two_point(*points, (IDENTITY,) * 3)[0]
    assert complex(got) == pytest.approx(complex((s[0] - s[1]) / (z[0] - z[1])), rel=1e-9)

    def explained(step):
        # of U + step·Ũ
        more = lambda f: f._replace(fixed=f.fixed + step * f.tails, rest=f.rest + step * f.whole)
        moved = eqx.tree_at(lambda e: e.features, eq, more(eq.features))
        point = moved.point(tuple(v + 0j for v in solve_left(moved, -0.2)))
        return moved.explained(point)[0].real

    point = eq.point(tuple(v + 0j for v in solve_left(eq, -0.2)))
    through = eq.target_two_point(point, point, (eq.population,))[0].real
    slope = (explained(1e-5) - explained(-1e-5)) / 2e-5
    assert float(through) == pytest.approx(-float(slope), rel=1e-6)


def test_losses_from_the_start_to_the_end():
    curve = rf.learning_curve(MODEL, TAU)
    assert float(curve.train[0]) == pytest.approx(1.0, abs=1e-6)
    assert float(curve.test[0]) == pytest.approx(1.0, abs=1e-6)
    assert np.all(np.diff(curve.train) < 0)
    # what τ = 10⁹ gives by a contour, τ = ∞ gives by one point
    late = rf.learning_curve(MODEL, np.array([1e9, np.inf]))
    assert float(late.test[0]) == pytest.approx(float(late.test[1]), rel=1e-4)
    assert float(late.train[0]) == pytest.approx(float(late.train[1]), rel=1e-4)
    assert np.all(np.asarray(curve.error) < 5e-3)


def sampled_curve(model, tau, draws, **options):
    losses = []
    for key in range(draws):
        sampled = rf.empirical.sample(key, model, model.d, **options)
        flow = rf.empirical.gradient_flow(sampled, tau)
        losses.append([flow.train, flow.test])
    losses = np.array(losses)
    return losses.mean(axis=0), losses.std(axis=0, ddof=1) / np.sqrt(draws)


REFERENCE = json.loads((Path(__file__).parent / "reference" / "finite_d.json").read_text())
PAGE = Path(__file__).parents[1] / "docs" / "finite_d.md"
# as the page calls them
NAMES = {
    "digits": "digits",
    "1k": "λ_k ~ 1/k",
    "1k15": "λ_k ~ 1/k^1.5",
    "exp": "λ_k ~ e^{-k/6}",
    "I": "Σ = I",
}


def off_in_per_cent(name, activation, t, **changes):
    """The largest difference of train and test loss to sampled features, τ from 1 to 10⁶."""
    case, sampled = REFERENCE["cases"][name], REFERENCE["losses"][f"{name} {activation} {t:g}"]
    d, tau = case["d"], np.array(REFERENCE["tau"])
    sigma = rf.Atoms(np.array(case["values"]), np.full(d, 1 / d))
    model = rf.RandomFeatureModel(
        case["p"] / d, case["n"] / d, t, activation=activation, covariance=sigma, d=d
    )
    curve = rf.learning_curve(model.replace(**changes), tau)
    pairs = zip((curve.train, curve.test), (sampled["train"], sampled["test"]), strict=True)
    return 100 * max(np.abs(np.asarray(a) / b - 1).max() for a, b in pairs)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_table_of_the_page(name):
    """All numbers of docs/finite_d.md, against features sampled once and for all."""
    rows = [line.strip("| ").split(" | ") for line in PAGE.read_text().splitlines()]
    rows = [row for row in rows if row[0] == NAMES[name] and len(row) == 8]
    assert len(rows) == 3
    for _, t, *numbers in rows:
        for i, activation in enumerate(("tanh", "erf", "relu")):
            for text, changes in zip(numbers[2 * i : 2 * i + 2], ({"d": None}, {}), strict=True):
                found = off_in_per_cent(name, activation, float(t), **changes)
                assert found == pytest.approx(float(text.strip(" %")), abs=0.1), (activation, t)


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["tanh", "erf"])
def test_degree_five_follows_what_degree_four_leaves(activation):
    assert off_in_per_cent("exp", activation, 0.01) > 2.0
    assert off_in_per_cent("exp", activation, 0.01, degree=5) < 1.5


@pytest.mark.slow
@pytest.mark.parametrize("target", ["noise", "data"])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_losses_of_sampled_features(activation, target):
    """Within 4 % at d = 40 and Σ = I, where the limit is off by more for most."""
    model = rf.RandomFeatureModel(16.0, 8.0, 0.03, activation=activation, target=target, d=40)
    tau = np.array([1e1, 1e3, 1e5])
    measured, error = sampled_curve(model, tau, 4, tolerance=1e-4)
    off = {}
    for name, m in (("finite", model), ("limit", model.limit)):
        curve = rf.learning_curve(m, tau)
        off[name] = np.abs(np.stack([curve.train, curve.test]) / measured - 1)
    assert np.all(off["finite"] < 0.04 + 3 * error / measured)
    # of the data with tanh the limit is as good
    if (activation, target) != ("tanh", "data"):
        assert off["finite"].max() < off["limit"].max() / 2


@pytest.mark.slow
def test_gradient_descent_with_small_steps_is_the_flow():
    tau = np.array([1.0, 100.0])
    flow = rf.learning_curve(MODEL, tau)
    for step, bound in ((0.1, 2e-2), (0.01, 2e-3)):
        steps = rf.learning_curve(MODEL, tau, step)
        np.testing.assert_allclose(steps.test, flow.test, rtol=bound)
        np.testing.assert_allclose(steps.train, flow.train, rtol=bound)
    with pytest.raises(ValueError, match=r"step must be below .* to be stable"):
        rf.learning_curve(MODEL, tau, 1e3)


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["tanh", "gelu"])
def test_losses_for_given_weights(activation):
    """The mean over drawn W of losses that are exact in W and x, and have no noise of samples."""
    values = 1.0 / np.arange(1, 31)
    sigma = rf.Atoms(values / values.mean(), np.full(30, 1 / 30))
    model = rf.RandomFeatureModel(10.0, 12.0, 0.05, activation=activation, covariance=sigma, d=30)
    tau = np.array([1e1, 1e3, 1e5])
    curves = [rf.empirical.conditional_curve(key, model, tau) for key in range(6)]
    of_draws = np.array([[c.train, c.test] for c in curves])
    mean, error = of_draws.mean(axis=0), of_draws.std(axis=0, ddof=1) / np.sqrt(6)
    curve = rf.learning_curve(model, tau)
    off = np.abs(np.stack([curve.train, curve.test]) / mean - 1)
    assert np.all(off < 0.02 + 3 * error / mean)


@pytest.mark.slow
def test_best_times_of_sampled_features():
    """Within a factor 1.3, where that of the limit is three times too early."""
    values = np.exp(-np.arange(36) / 6.0)
    sigma = rf.Atoms(values / values.mean(), np.full(36, 1 / 36))
    model = rf.RandomFeatureModel(16.0, 22.5, 0.01, activation="relu", covariance=sigma, d=36)
    tau = np.geomspace(3e2, 1e5, 40)
    (_, test), _ = sampled_curve(model, tau, 3, tolerance=1e-4)
    found = tau[np.argmin(test)]
    best, limit = (float(rf.early_stopping(m).tau) for m in (model, model.limit))
    assert 1 / 1.3 < best / found < 1.3
    assert limit / found < 1 / 1.5


AT = (16.0, 8.0, 0.05, np.array([2.5, 1.1, 0.4, 0.1]))


def loss(*x):
    return rf.learning_curve(at(*x), np.array([1e3, np.inf])).test.sum()


def best(*x):
    return jnp.log(rf.early_stopping(at(*x)).tau)


def at(p, n, t, lam):
    return MODEL.replace(psi_p=p, psi_n=n, t=t, covariance=rf.Atoms(lam, SIGMA.weights))


def resolvent(*x):
    return jnp.log(rf.solve(at(*x), -0.05).q.real)


@pytest.mark.slow
@pytest.mark.parametrize("f", [resolvent, loss, best])
def test_derivatives(f):
    """In ψ_p, ψ_n, t and an eigenvalue of Σ, against differences."""
    slopes = jax.jit(jax.grad(f, argnums=(0, 1, 2, 3)))(*AT)
    for i in range(3):
        step = 1e-4 * AT[i]
        there = lambda s: float(f(*AT[:i], AT[i] + s * step, *AT[i + 1 :]))
        assert float(slopes[i]) == pytest.approx((there(1) - there(-1)) / (2 * step), rel=1e-5)
    e = np.array([0.0, 1e-4, 0.0, 0.0])
    change = (f(*AT[:3], AT[3] + e) - f(*AT[:3], AT[3] - e)) / 2e-4
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


@pytest.mark.slow
@pytest.mark.parametrize("f", [resolvent_of, curve_of])
def test_batches_and_compiled_calls(f):
    psi_n = np.array([4.0, 8.0])
    of = lambda n: f(MODEL.replace(psi_n=n))
    each = np.stack([of(n) for n in psi_n])
    np.testing.assert_allclose(jax.vmap(of)(psi_n), each, rtol=1e-12)
    np.testing.assert_allclose(jax.jit(of)(8.0), each[1], rtol=1e-12)
    assert np.all(np.isfinite(each))


@pytest.mark.slow
def test_a_sweep_takes_a_dimension():
    axes = {"psi_p": 16.0, "psi_n": [6.0, 8.0], "t": 0.05, "d": [30, 40]}
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


def test_what_exists_in_the_limit_only():
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


@pytest.mark.slow
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


def test_too_few_dimensions_are_warned_of():
    few = {"psi_p": 64.0, "psi_n": 4.0, "t": 0.1}
    with pytest.warns(rf.FewDimensionsWarning, match=r"rank of 12 and p/\(nd\) is 1.33"):
        rf.RandomFeatureModel(**few, d=12)
