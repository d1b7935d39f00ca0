"""Sampled matrices of every model: targets, noise that is drawn, weight decay. By averages,
limits and other routes.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import rfspec as rf
from rfspec.empirical.draws import Sampling, drawn
from rfspec.empirical.features import matrices_of, with_drawn_noise
from rfspec.empirical.steps import Run

KEY = jax.random.key(0)
SIGMA = rf.Atoms([0.5, 1.5], [0.5, 0.5])


def model_of(**kwargs):
    return rf.RandomFeatureModel(4.0, 2.0, process=rf.FlowMatching(0.3), covariance=SIGMA, **kwargs)


@pytest.mark.parametrize("kind", ["features", "gaussian"])
@pytest.mark.parametrize("target", ["noise", "velocity"])
def test_drawn_noise_has_the_expectation_as_its_mean(kind, target):
    """U, V and the loss of A = 0 of 40 times 50 draws, the same W and X, around the integrals."""
    exact = rf.empirical.sample(KEY, model_of(target=target), 6, kind=kind)
    model = model_of(target=target, noise_draws=50)
    draw = drawn(KEY, model, Sampling(6, kind))
    once = lambda key: with_drawn_noise(
        model, rf.gaussian_equivalent(model), eqx.tree_at(lambda d: d.noise, draw, key)
    )
    each = jax.vmap(once)(jax.random.split(jax.random.key(1), 40))
    for several, integral in zip(each, (exact.U, exact.V, exact.untrained), strict=True):
        z = (several.mean(0) - integral) / (several.std(0, ddof=1) / np.sqrt(40))
        # Student's law, 39 degrees of freedom, up to 576 entries
        assert float(jnp.abs(z).max()) < 6.0
        assert z.ndim == 0 or float(jnp.sqrt(jnp.mean(z**2))) < 1.6  # entries go together
    one = rf.empirical.sample(KEY, model, 6, kind=kind)
    assert np.array_equal(one.U, once(draw.noise)[0])
    for name in ("U_test", "V_test", "untrained_test"):
        assert np.array_equal(getattr(one, name), getattr(exact, name))


def test_correlations_of_features_with_the_data():
    """V and Ṽ of the target x against averages over noise and over fresh samples."""
    exact = rf.empirical.sample(KEY, model_of(target="data"), 6)
    draw = drawn(KEY, model_of(), Sampling(6))
    rng, alpha, beta = np.random.default_rng(0), 0.7, 0.3
    W, X = np.asarray(draw.W), np.asarray(draw.X)
    for V, samples in (
        (exact.V, lambda: X),
        (exact.V_test, lambda: np.asarray(draw.spread)[:, None] * rng.normal(size=(6, 12))),
    ):
        batches = []
        for _ in range(40):
            total = 0.0
            for _ in range(100):
                x = samples()
                phi = np.tanh(W @ (alpha * x + beta * rng.normal(size=x.shape)) / np.sqrt(6))
                total = total - phi @ x.T / (100 * x.shape[1])
            batches.append(total)
        z = (np.mean(batches, 0) - np.asarray(V)) / (np.std(batches, 0, ddof=1) / np.sqrt(40))
        assert np.abs(z).max() < 6.0
        assert np.sqrt(np.mean(z**2)) < 1.3


def test_fewer_columns_than_features_interpolate():
    """One draw, p > n: the train loss falls to 0, U has p - n zeros,
    and nothing is learnt along them.
    """
    model = model_of(noise_draws=1)
    matrices = rf.empirical.sample(KEY, model, 10)
    basis = rf.empirical.eigenbasis(matrices)
    assert matrices.null == 20
    assert np.all(basis.eigenvalues[:20] == 0.0)
    assert float(basis.eigenvalues[20]) > 1e-8
    curve = rf.empirical.gradient_flow(basis, [0.0, 1e15])
    assert float(curve.train[0]) == pytest.approx(float(matrices.untrained), rel=1e-12)
    assert abs(float(curve.train[1])) < 1e-12
    assert 1.0 < float(curve.test[1]) < 1e3


@pytest.mark.parametrize(
    "kwargs",
    [
        {"target": "data", "weight_decay": 0.3},
        {"target": "velocity", "noise_draws": 2},
        {"target": "score", "noise_draws": 1, "weight_decay": 0.1},
    ],
)
def test_every_way_of_training_goes_the_same_way(kwargs):
    """Steps with the gradient, the spectral formula, and a line of numpy on the same matrices."""
    model = model_of(**kwargs)
    m, steps, eta = rf.empirical.sample(KEY, model, 6), np.array([0, 1, 20, 400]), 2.0
    walked, jumped = (
        f(m, steps, eta) for f in (rf.empirical.gradient_descent, rf.empirical.trajectory)
    )
    assert np.allclose(walked.train, jumped.train, rtol=0, atol=1e-11)
    assert np.allclose(walked.test, jumped.test, rtol=0, atol=1e-11)
    omega2 = 0.09 if model.target == "noise" else 1.0
    A, U, V = np.zeros((6, m.p)), np.asarray(m.U), np.asarray(m.V)
    for _ in range(20):
        gradient = (
            2
            / 6
            * (
                A @ (omega2 * U + model.weight_decay * np.eye(m.p)) / m.p
                + np.sqrt(omega2 / m.p) * V.T
            )
        )
        A = A - eta * gradient
    loss = (
        m.untrained
        + (omega2 / m.p * np.sum((A @ U) * A) + 2 * np.sqrt(omega2 / m.p) * np.sum(A * V.T)) / 6
    )
    assert float(walked.train[2]) == pytest.approx(float(loss), abs=1e-11)
    flow = rf.empirical.gradient_flow(m, walked.tau)
    fine = rf.empirical.trajectory(m, steps * 10**5, eta / 10**5)
    assert np.allclose(flow.test, fine.test, rtol=0, atol=1e-4 * float(m.untrained))


def test_weight_decay_is_a_shift_of_the_matrix():
    """Ridge: the end of training solves (U + γ/ω²) a = V."""
    model = model_of(target="velocity", weight_decay=0.2)
    m = rf.empirical.sample(KEY, model, 6)
    A = np.linalg.solve(np.asarray(m.U) + 0.2 * np.eye(m.p), np.asarray(m.V))
    end = rf.empirical.gradient_flow(m, 1e9)
    for loss, start, U, V in (
        (end.train, m.untrained, m.U, m.V),
        (end.test, m.untrained_test, m.U_test, m.V_test),
    ):
        assert float(loss) == pytest.approx(
            float(start + (np.sum(A * (U @ A)) - 2 * np.sum(A * V)) / 6), rel=1e-12
        )


def test_drawn_gradients_have_the_exact_mean():
    model = model_of(target="velocity", weight_decay=0.5)
    draw = drawn(KEY, model, Sampling(6))
    matrices = matrices_of(model, draw)
    A = jnp.asarray(np.random.default_rng(0).normal(size=(6, matrices.p)))
    run = Run(matrices, (draw.W, draw.X, 0.0), optax.sgd(1.0), 2, None)
    each = jax.vmap(lambda key: run.gradient(key, A))(jax.random.split(jax.random.key(1), 4000))
    exact = Run(matrices, None, optax.sgd(1.0), None, None).gradient(KEY, A)
    z = (each.mean(0) - exact) / (each.std(0) / np.sqrt(4000))
    assert float(jnp.abs(z).max()) < 5.0
    assert float(jnp.sqrt(jnp.mean(z**2))) < 1.2


def test_spectra_of_features_with_drawn_noise():
    """σ itself, not its Gaussian equivalent: the atom of p - nm zeros,
    and the bulks' masses and edges.
    """
    model = model_of(noise_draws=1)
    sampled = rf.empirical.spectrum(KEY, model, 60, repeats=2)
    theory = rf.spectrum(model)
    assert float(sampled.atom.mass) == 0.5 == pytest.approx(float(theory.atom.mass), abs=1e-12)
    assert float(sampled.atom.spread) < 1e-15
    found = rf.compare(theory, sampled, key=jax.random.key(0))
    assert np.all(np.abs(found.masses) < 0.01)
    assert found.kolmogorov < 2 * found.expected.kolmogorov < 0.06
    assert np.all(np.abs(found.edges) < 3 * found.expected.edges)


def test_what_cannot_be_sampled():
    with pytest.raises(ValueError, match="noise_draws must be at most 10000 to be sampled"):
        rf.empirical.sample(KEY, model_of(noise_draws=20000), 6)
    with pytest.raises(
        ValueError, match="goes with a model of noise_draws=inf; this one has its 2 drawn"
    ):
        rf.empirical.train(KEY, model_of(noise_draws=2), [1], 6, optimizer="sgd", learning_rate=1.0)
    with pytest.raises(NotImplementedError, match="exists for noise_draws=inf only"):
        rf.empirical.matrix_free_spectrum(KEY, model_of(noise_draws=2), 6)
