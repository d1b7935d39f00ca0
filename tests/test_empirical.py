"""Exact finite-size matrices, their training, and their distance to the theory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import ZOO
from scipy import stats

import rfspec as rf
from rfspec.empirical.draws import eigenvalues_of
from rfspec.empirical.dynamics import eigenbasis
from rfspec.empirical.features import features_of_gaussian_data, features_of_samples
from rfspec.numerics.quadrature import trapezoid

SEEDS = [1, 2, 3]
CURVE = rf.RandomFeatureModel(8.0, 2.0, 0.05)


def small(model, d, seed):
    """W, X, and U, V by the Hermite expansion, for one small draw."""
    rng = np.random.default_rng(seed)
    p, n = round(float(model.psi_p) * d), round(float(model.psi_n) * d)
    W, X = jnp.asarray(rng.normal(size=(p, d))), jnp.asarray(rng.normal(size=(d, n)))
    mu0 = rf.gaussian_equivalent(model).mu0
    return W, X, mu0, features_of_samples(model, W, X, mu0)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_hermite_expansion_against_draws_of_the_noise(activation, seed):
    model = rf.RandomFeatureModel(3.0, 1.5, 0.3, activation=activation)
    d = 8
    W, X, mu0, (U, V, error) = small(model, d, seed)
    assert error < (1e-10 if activation == "tanh" else 1e-5)
    alpha, beta = float(model.process.alpha), float(model.process.beta)
    rng, batches = np.random.default_rng(100 + seed), []
    for _ in range(40):
        xi = rng.normal(size=(2000, d, X.shape[1]))
        noisy = np.einsum(
            "pd,bdn->bpn", np.asarray(W), alpha * np.asarray(X) + beta * xi
        ) / np.sqrt(d)
        phi = np.asarray(model.activation(noisy)) - float(mu0)
        batches.append((
            np.einsum("bpn,bqn->pq", phi, phi) / (2000 * X.shape[1]),
            np.einsum("bpn,bdn->pd", phi, xi) / (2000 * X.shape[1]),
        ))  # fmt: skip
    for exact, drawn in (
        (U, np.array([b[0] for b in batches])),
        (V, np.array([b[1] for b in batches])),
    ):
        z = (drawn.mean(0) - np.asarray(exact)) / (drawn.std(0, ddof=1) / np.sqrt(40))
        assert np.abs(z).max() < 6.0  # t-distributed with 39 degrees of freedom, up to 576 entries
        assert np.sqrt(np.mean(z**2)) < 1.3


def relu_kernel(y, width, R, mu0):
    """E[(relu(a) - μ0)(relu(b) - μ0)] for means y, widths and correlation R: one average closed,
    one by panels.
    """
    nodes, weights = np.polynomial.legendre.leggauss(200)
    kink = np.clip(-y[0] / width[0], -9.0, 9.0)
    total = 0.0
    for low, high in ((-9.0, kink), (kink, 9.0)):
        z = low + (high - low) * (nodes + 1) / 2
        w = weights * (high - low) / 2 * stats.norm.pdf(z)
        mean, spread = y[1] + width[1] * R * z, width[1] * np.sqrt(1 - R**2)
        inner = mean * stats.norm.cdf(mean / spread) + spread * stats.norm.pdf(mean / spread)
        total += np.sum(w * (np.maximum(y[0] + width[0] * z, 0) - mu0) * (inner - mu0))
    return total


@pytest.mark.slow
def test_relu_layers_left_out_are_within_the_bound():
    """relu's kernel at all pairs of eight features."""
    model = rf.RandomFeatureModel(1.0, 1.5, 0.3, activation="relu")
    W, X, mu0, (U, _, error) = small(model, 8, 1)
    alpha, beta = float(model.process.alpha), float(model.process.beta)
    omega = np.linalg.norm(W, axis=1) / np.sqrt(8)
    y = alpha * np.asarray(W @ X) / np.sqrt(8)
    exact = np.array(U)
    for i in range(8):
        for j in set(range(8)) - {i}:
            R = float(W[i] @ W[j]) / (8 * omega[i] * omega[j])
            pairs = ((y[i, v], y[j, v]) for v in range(y.shape[1]))
            exact[i, j] = np.mean(
                [relu_kernel(pair, beta * omega[[i, j]], R, float(mu0)) for pair in pairs]
            )
    assert np.allclose(U, exact, rtol=0, atol=1e-12 + error)
    loose, _, bound = features_of_samples(model, W, X, mu0, 1e-3)
    off = np.linalg.norm(np.asarray(loose) - exact) / np.sqrt(8) / np.mean(np.diag(exact))
    assert 1e-12 < off <= bound <= 1e-3


@pytest.mark.parametrize("activation", ["tanh", pytest.param("relu", marks=pytest.mark.slow)])
def test_layers_are_chosen_by_their_bound(activation):
    """A loose expansion differs from a tight one by no more than it says,
    and by more than rounding.
    """
    model = rf.RandomFeatureModel(3.0, 1.5, 0.3, activation=activation)
    key = jax.random.key(0)
    tight = rf.empirical.sample(key, model, 24)
    for tolerance in (1e-2, 1e-4):
        loose = rf.empirical.sample(key, model, 24, tolerance=tolerance)
        off = float(
            jnp.linalg.norm(loose.U - tight.U) / np.sqrt(72) / jnp.mean(jnp.diagonal(tight.U))
        )
        assert loose.error <= tolerance + 1e-12
        assert 0.0 < off <= loose.error + tight.error
    assert tight.error < 1e-10


def test_wide_noise_is_integrated_with_finer_steps():
    """At Γ = 3 tanh's strip is narrow; double quadrature of E[σ²] is the judge."""
    model = rf.RandomFeatureModel(3.0, 1.5, 1.0, covariance=rf.Isotropic(9.0))
    matrices = rf.empirical.sample(jax.random.key(0), model, 12, rows="spherical")
    z, w = trapezoid(0.01)
    gamma = float(jnp.sqrt(model.gamma2))
    assert np.allclose(
        jnp.diagonal(matrices.U_test), w @ np.tanh(gamma * z) ** 2, rtol=1e-10, atol=0
    )


def test_spherical_rows_have_the_norm_of_the_mean():
    matrices = rf.empirical.sample(jax.random.key(0), CURVE, 20, rows="spherical")
    diagonal = np.asarray(jnp.diagonal(matrices.U_test))
    assert np.ptp(diagonal) < 1e-12
    assert (
        np.ptp(np.asarray(jnp.diagonal(rf.empirical.sample(jax.random.key(0), CURVE, 20).U_test)))
        > 0.1
    )


def test_arcsine_kernel_of_erf():
    """Ũ of erf features has a closed form: (2/π) arcsin(2K_ij/√((1 + 2K_ii)(1 + 2K_jj)))."""
    model = rf.RandomFeatureModel(
        3.0, 1.5, 0.2, activation="erf", covariance=rf.Atoms([0.5, 1.5], [0.5, 0.5])
    )
    d = 80
    W = jnp.asarray(np.random.default_rng(0).normal(size=(60, d)))
    spread = jnp.sqrt(eigenvalues_of(model, d))
    U, V, error = features_of_gaussian_data(model, W, spread, 0.0)
    alpha, beta = float(model.process.alpha), float(model.process.beta)
    K = np.asarray(W * ((alpha * spread) ** 2 + beta**2)[None, :] @ W.T) / d
    scale = np.sqrt(1 + 2 * np.diag(K))
    off = np.asarray(U) - 2 / np.pi * np.arcsin(2 * K / scale[:, None] / scale)
    assert np.linalg.norm(off) / np.sqrt(60) <= error * float(jnp.mean(jnp.diagonal(U)))
    assert error < 1e-10
    slope = 2 / np.sqrt(np.pi * (1 + 2 * np.diag(K)))
    assert np.allclose(V, beta * slope[:, None] * np.asarray(W) / np.sqrt(d), rtol=1e-10)


@pytest.mark.parametrize("kind", ["features", "gaussian"])
def test_learning_curve_of_the_design_notes(kind):
    """Theory of an independent calculation at ψ_p = 8, ψ_n = 2, t = 0.05. The Gaussian equivalent
    deviates by O(1/d²), features by O(1/d), which two sizes take out.
    """
    tau = np.array([10.0, 31.6, 100.0, 1000.0, 1e5])
    train = np.array([0.92529, 0.87418, 0.82869, 0.64765, 0.49186])
    test = np.array([0.93125, 0.92315, 1.01260, 1.60831, 3.71482])
    curve, small = (
        rf.empirical.learning_curve(0, CURVE, tau, d, kind=kind, repeats=6) for d in (60, 30)
    )
    share = 2.0 if kind == "features" else 4 / 3
    for name, exact in (("train", train), ("test", test)):
        means = [getattr(c, name) for c in (curve, small)]
        errors = [getattr(c.standard_error, name) for c in (curve, small)]
        limit = share * means[0] - (share - 1) * means[1]
        error = np.hypot(share * errors[0], (share - 1) * errors[1])
        # the printed numbers are rounded to five digits
        assert np.all(np.abs(limit - exact) < 5 * error + 1e-5)
    assert np.allclose(curve.gap, curve.test - curve.train)
    beta2 = float(CURVE.process.beta2)
    assert np.allclose(curve.test, beta2 * curve.score_error + 1 - beta2, atol=1e-12)  # Σ_t = I


def test_gradient_flow_solves_its_differential_equation():
    matrices = rf.empirical.sample(jax.random.key(0), CURVE, 10)
    M, h, beta = jnp.zeros((10, 80)), 0.01, float(CURVE.process.beta)
    rate = 2 * float(CURVE.process.beta2) / 8.0
    slope = lambda M: -rate * (M @ matrices.U + matrices.V.T / beta)
    for _ in range(500):  # Runge-Kutta on d(A/√p)/dτ
        a = slope(M)
        b = slope(M + h / 2 * a)
        c = slope(M + h / 2 * b)
        M = M + h / 6 * (a + 2 * b + 2 * c + slope(M + h * c))
    train = (
        1 + (beta**2 * jnp.sum((M @ matrices.U) * M) + 2 * beta * jnp.sum(M * matrices.V.T)) / 10
    )
    assert float(rf.empirical.gradient_flow(matrices, 5.0).train) == pytest.approx(
        float(train), abs=1e-10
    )


def test_gradient_descent_lands_on_gradient_flow():
    """Deviation proportional to the step size, at the same τ."""
    matrices = rf.empirical.sample(jax.random.key(0), CURVE, 20)
    basis, off = eigenbasis(matrices), []
    for eta in (400.0, 100.0, 25.0):
        steps = np.array([4, 40, 400]) * round(400 / eta)
        descent = rf.empirical.gradient_descent(matrices, steps, eta)
        flow = rf.empirical.gradient_flow(basis, descent.tau)
        off.append(rf.compare(flow, descent).train)
    assert off[0] < 0.02
    assert off[1] == pytest.approx(off[0] / 4, rel=0.3)
    assert off[2] == pytest.approx(off[1] / 4, rel=0.3)


def test_gradient_descent_exactly_in_the_eigenbasis():
    """k steps multiply each mode by (1 - cλ)^k, whatever the step size."""
    matrices = rf.empirical.sample(jax.random.key(1), CURVE, 15)
    eta, k = 900.0, 57
    values, Q = np.linalg.eigh(np.asarray(matrices.U))
    c = 2 * float(CURVE.process.beta2) * eta / (8.0 * 15**2)
    h = (1 - (1 - c * values) ** k) / values
    a = Q.T @ np.asarray(matrices.V)
    train = 1 + np.sum((values * h**2 - 2 * h)[:, None] * a**2) / 15
    descent = rf.empirical.gradient_descent(matrices, np.array([k]), eta)
    assert float(descent.train[0]) == pytest.approx(train, abs=1e-10)


@pytest.mark.parametrize("kind", [pytest.param("features", marks=pytest.mark.slow), "gaussian"])
def test_distance_to_the_theory_falls_with_d(kind):
    """As 1/d; finite tanh features also smear the atom over the lowest edge, as d^-½,
    which Kolmogorov sees.
    """
    model = rf.RandomFeatureModel(8.0, 2.0, 0.05)
    sp = rf.spectrum(model)
    off = []
    for d in (16, 64):
        each = [
            rf.compare(sp, rf.empirical.spectrum(jax.random.key(s), model, d, kind=kind))
            for s in SEEDS
        ]
        off.append((np.mean([c.kolmogorov for c in each]), np.mean([c.wasserstein for c in each])))
        assert each[0].d == d
        assert each[0].edges.shape == (2 * len(sp.bulks),)
    if kind == "gaussian":
        assert off[1][0] < 0.4 * off[0][0]
    assert off[1][1] < 0.45 * off[0][1]


def test_gaussian_equivalent_counts_are_exact():
    """Every bulk holds exactly its mass times p, the atom the rest: the satellite is real."""
    model = ZOO[0].model
    sp = rf.spectrum(model)
    sampled = rf.empirical.spectrum(jax.random.key(3), model, 16, kind="gaussian")
    comparison = rf.compare(sp, sampled)
    assert np.abs(comparison.masses).max() < 1e-12
    assert comparison.atom_spread < 1e-10
    mean, error = rf.empirical.spectrum(
        jax.random.key(3), model, 8, kind="gaussian", repeats=6
    ).moment(1)
    assert abs(float(mean - sp.moment(1))) < 6 * float(error)


def test_held_out_data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 12))
    model = rf.RandomFeatureModel(4.0, 2.0, 0.1)
    matrices = rf.empirical.sample(jax.random.key(0), model, data=X)
    assert (matrices.d, matrices.n, matrices.p) == (12, 24, 48)
    curve = rf.empirical.gradient_flow(matrices, np.array([0.0, 10.0, 1e4]))
    assert float(curve.train[0]) == float(curve.test[0]) == 1.0
    assert float(curve.gap[-1]) > 0.1
    assert np.all(np.isnan(np.asarray(curve.score_error)))


def test_sigma_is_shared_out_by_its_weights():
    model = rf.RandomFeatureModel(
        4.0, 2.0, 0.1, covariance=rf.Atoms([1.0, 2.0, 3.0], [0.5, 0.3, 0.2])
    )
    counts = np.unique(np.asarray(eigenvalues_of(model, 11)), return_counts=True)[1]
    assert counts.sum() == 11
    assert list(counts) in ([6, 3, 2], [5, 4, 2], [6, 4, 1], [5, 3, 3])
    assert list(np.unique(np.asarray(eigenvalues_of(model, 10)), return_counts=True)[1]) == [
        5,
        3,
        2,
    ]
