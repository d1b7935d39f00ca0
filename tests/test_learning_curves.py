"""Exact learning curves: reference, limits, identities, sampled trajectories, contours,
derivatives.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import REFERENCE, ZOO, model_of, sparing

import rfspec as rf
from rfspec.training import contour
from rfspec.training.filters import learned
from rfspec.training.kernel import _divided_differences, _form, quadratic

MODEL = rf.RandomFeatureModel(8.0, 2.0, 0.05)
TAU = np.concatenate([[0.0], np.geomspace(1e-3, 1e9, 25), [np.inf]])


@pytest.mark.parametrize("reference", REFERENCE, ids=lambda r: r["name"])
def test_reference_curves(reference):
    given = reference["learning_curve"]
    curve = rf.learning_curve(model_of(reference), given["tau"])
    for name in ("train", "test"):
        off = np.abs(getattr(curve, name) - np.array(given[name]))
        assert np.all(off < 1e-11 * (1 + np.array(given["test"])))
        # the file's own rounding
        assert np.all(off <= np.asarray(curve.error) + 1e-14 * np.array(given["test"]))
    assert np.allclose(curve.score_error, given["score_error"], rtol=1e-9, atol=0)


@pytest.mark.parametrize("problem", sparing(ZOO, 3, rarely=["noise share of 0.41"]))
def test_identities_over_the_zoo(problem):
    """The gap is not negative, the drops of the bulks, integrated on the real axis,
    add up to what the contour says, the train loss falls, and L_test = β² E_score + const.
    """
    model, curve = problem.model, rf.learning_curve(problem.model, TAU)
    error = np.asarray(curve.error)
    assert np.all(error < 1e-10 * (1 + np.asarray(curve.test)))
    assert np.all(np.asarray(curve.gap) >= -2 * error)
    assert np.all(np.diff(curve.train) <= 2 * error[1:])
    assert np.allclose(sum(curve.drops.values()), 1 - curve.train, rtol=0, atol=1e-11)
    total = sum(float(b.loss_drop) for b in rf.spectrum(model).bulks)
    assert 1 - float(curve.train[-1]) == pytest.approx(total, abs=1e-11)
    beta2 = float(model.process.beta2)
    noisy = float(model.process.alpha) ** 2 * np.asarray(model.covariance.values) + beta2
    floor = 1 - beta2 * np.sum(np.asarray(model.covariance.weights) / noisy)
    assert np.allclose(curve.test, beta2 * curve.score_error + floor, rtol=1e-12, atol=1e-14)
    assert np.all(np.asarray(curve.score_error) > 0)


def test_table_of_one_curve():
    """Five digits from an independent calculation."""
    curve = rf.learning_curve(MODEL, [10.0, 10**1.5, 100.0, 1000.0, 1e5])
    assert np.allclose(
        curve.train, [0.92529, 0.87418, 0.82869, 0.64765, 0.49186], rtol=0, atol=6e-6
    )
    assert np.allclose(curve.test, [0.93125, 0.92315, 1.01260, 1.60831, 3.71482], rtol=0, atol=6e-6)


def test_drops_of_the_parts():
    drops = rf.learning_curve(ZOO[0].model, np.inf).drops
    assert [round(float(drops[p]), 4) for p in ("satellite", "sample", "population")] == [
        0.6410,
        0.0029,
        0.0220,
    ]


def test_ends_of_time():
    curve = rf.learning_curve(MODEL, [0.0, 1e-200, 1e100, np.inf])
    assert np.array_equal(curve.train[:2], [1.0, 1.0])
    assert np.allclose(curve.test[2], curve.test[3], rtol=1e-11)
    eq, z = rf.spectrum(MODEL).equations, -0.0
    limit = 1 - float(eq.drop_scale * rf.solve(MODEL, z).s.real)
    assert float(curve.train[3]) == pytest.approx(limit, abs=1e-13)


def test_early_on_the_losses_fall_linearly():
    """-dL/dc = 2b²ψ_p⟨1⟩_s, ⟨1⟩_s = Tr FFᵀ/p = 1, c = 2β²τ/ψ_p; the tolerance is c λ."""
    tau = 1e-7
    c = 2 * float(MODEL.process.beta2) * tau / 8.0
    fall = 2 * float(rf.gaussian_equivalent(MODEL).b2) * 8.0 * c
    curve = rf.learning_curve(MODEL, tau)
    assert 1 - float(curve.test) == pytest.approx(fall, rel=1e-6)


def test_order_and_shape_are_kept():
    tau = np.array([[100.0, 1.0], [np.inf, 10.0]])
    curve = rf.learning_curve(MODEL, tau)
    assert np.array_equal(curve.tau, tau)
    assert all(drop.shape == (2, 2) for drop in curve.drops.values())
    single = rf.learning_curve(MODEL, 10.0)
    assert single.test.shape == ()
    assert float(single.test) == pytest.approx(float(curve.test[1, 1]), abs=1e-13)


def test_the_error_says_what_a_coarser_contour_costs():
    exact = rf.learning_curve(ZOO[0].model, TAU)
    for tolerance in (1e-3, 1e-7):
        curve = rf.learning_curve(ZOO[0].model, TAU, tolerance=tolerance)
        off = np.abs(np.asarray(curve.test - exact.test))
        assert np.all(off <= np.asarray(curve.error + exact.error))
        assert np.all(off < tolerance * (1 + np.asarray(exact.test)))


# ------------------------------------------------------------------------------------------------
# contours


def value(path, x):
    """h(x) as the contour has it."""
    z, w = np.asarray(path.nodes), np.asarray(path.weights)
    return 2 * np.sum((w / (x[:, None] - z)).real, axis=1)


@pytest.mark.parametrize("count", [12, 20, 32])
def test_the_parabola(count):
    x = np.geomspace(1e-6, 1.0, 200)
    for c in (1e-3, 1.0, 1e3, 1e9):
        path = contour.flow(c, max(1.0, 1.0 / c), count)  # with so large a bound there is no circle
        assert np.allclose(
            value(path, x) * x, -np.expm1(-c * x), rtol=0, atol=8 * 2.85**-count + 1e-13
        )


@pytest.mark.parametrize("count", [12, 20, 32])
def test_the_circle_is_relatively_accurate_and_smooth_at_the_beginning(count):
    """h(x) = (1 - e^{-cx})/x with dh/dc = e^{-cx}, down to c = 0 (of a parabola: neither)."""
    x = np.geomspace(1e-6, 1.0, 200)
    for c in (0.0, 1e-30, 1e-9, 0.2):
        h = -np.expm1(-c * x) / x
        assert np.allclose(
            value(contour.flow(c, 1.0, count), x), h, rtol=8 * 4.0**-count + 1e-14, atol=0
        )
        moved = jax.jvp(lambda c: contour.flow(c, 1.0, count), (c,), (1.0,))[1]
        slope = value(contour.flow(c, 1.0, count)._replace(weights=moved.weights), x)
        assert np.allclose(slope, np.exp(-c * x), rtol=8 * 4.0**-count + 1e-14, atol=0)


@pytest.mark.parametrize("share", [1.0, 0.5, 0.25])
@pytest.mark.parametrize("c", [1e-9, 0.2, 1.0, 1e3, 1e9])
def test_squares_on_the_nodes_of_flow(c, share):
    """(1 - r²)/x and h² from the nodes that serve times from c/4 to c, to 1e-12 of c and of c²,
    the largest values of h and h² at the contour's own time.
    """
    x = np.geomspace(1e-6, 1.0, 200)
    path = contour.flow(share * c, 1.0, 32, around=c)
    r = np.exp(-share * c * x)
    h = -np.expm1(-share * c * x) / x
    squared = value(path._replace(weights=path.squared), x)
    np.testing.assert_allclose(squared, h * (1 + r), rtol=0, atol=1e-12 * c)
    z, w = np.asarray(path.nodes), np.asarray(path.weights)
    resolvent = 1 / (x[:, None] - z)
    form = _form_of_one_eigenvalue(path, resolvent)
    twice = [quadratic(jax.tree.map(lambda a, i=i: a[i], form), w) for i in range(x.size)]
    np.testing.assert_allclose(twice, h**2, rtol=0, atol=1e-12 * c**2)


def _form_of_one_eigenvalue(path, resolvent):
    """The form of h² of each eigenvalue, of its resolvents as `kernel_of` makes it of traces."""
    return jax.vmap(lambda f: _form(*_divided_differences(path.apart, f, f**2)))(resolvent)


@pytest.mark.parametrize("most", [0.3, 1.0, 1.99])
def test_steps_up_to_the_limit_of_stability(most):
    x = most * np.geomspace(1e-6, 1.0, 200)
    for k in (0, 1, 2, 8, 9, 12, 50, 1000, 10**7):
        assert np.allclose(
            value(contour.descent(1.0, k, 32), x) * x, learned(x, k, "gd", 0.0), rtol=0, atol=1e-11
        )


@pytest.mark.parametrize("mu", [0.5, 0.9, 0.99])
def test_momentum_up_to_the_limit_of_stability(mu):
    x = 1.99 * (1 + mu) * np.geomspace(1e-6, 1.0, 200)
    for k in (1, 3, 10, 100, 640):
        path = contour.heavy_ball(1.0, k, mu, 32)
        assert np.allclose(value(path, x) * x, learned(x, k, "momentum", mu), rtol=0, atol=1e-11)


def test_too_much_momentum_for_so_many_steps():
    with pytest.raises(
        ValueError, match=r"momentum must be below 0.98.* for 5000 steps .*, got 0.99"
    ):
        contour.heavy_ball(1.0, 5000, 0.99, 32)


# --------------------------------------------------------------------------------- sampled matrices

DATA = {
    "isotropic": rf.Isotropic(1.0),
    "two eigenvalues": rf.Atoms([0.5, 1.5], [0.5, 0.5]),
    "subspace": rf.Atoms([0.0, 2.0], [0.5, 0.5]),
}


@pytest.mark.parametrize("name", DATA)
def test_against_exact_trajectories_of_sampled_matrices(name):
    """The Gaussian equivalent at two sizes; its mean deviates by less than its scatter,
    which falls like 1/d.
    """
    model = rf.RandomFeatureModel(6.0, 3.0, 0.1, covariance=DATA[name])
    tau = np.array([3.0, 30.0, 300.0, 1e12])
    exact = rf.learning_curve(model, tau)
    off = []
    for d in (16, 64):
        drawn = rf.empirical.learning_curve(
            jax.random.key(0), model, tau, d, kind="gaussian", repeats=4
        )
        for kind in ("train", "test"):
            deviation = getattr(drawn, kind) - getattr(exact, kind)
            scatter = getattr(drawn.standard_error, kind)
            assert np.all(np.abs(deviation) < 5 * scatter + 4 * np.asarray(exact.test) / d**2)
        off.append(np.max(np.asarray(drawn.standard_error.test)))
    assert off[1] < 0.6 * off[0]


@pytest.mark.slow
def test_features_agree_in_the_limit_of_large_d():
    """Finite tanh features deviate by O(1/d):
    extrapolated from two sizes the deviation is within its error.
    """
    tau = np.array([10.0, 100.0])
    exact = rf.learning_curve(MODEL, tau)
    small, large = (
        rf.empirical.learning_curve(jax.random.key(1), MODEL, tau, d, repeats=8) for d in (20, 60)
    )
    for kind in ("train", "test"):
        at = [getattr(c, kind) - getattr(exact, kind) for c in (small, large)]
        spread = [getattr(c.standard_error, kind) for c in (small, large)]
        limit, error = (3 * at[1] - at[0]) / 2, np.hypot(1.5 * spread[1], 0.5 * spread[0])
        assert np.all(np.abs(limit) < 4 * error)


@pytest.mark.parametrize(
    ("optimizer", "momentum"), [("gd", 0.0), pytest.param("momentum", 0.5, marks=pytest.mark.slow)]
)
def test_steps_against_steps_of_a_sampled_matrix(optimizer, momentum):
    """A step size near the limit of stability, where steps and flow differ visibly."""
    model, d = rf.RandomFeatureModel(3.0, 2.0, 0.2), 80
    top = float(rf.spectrum(model).edges[-1])
    rate = 0.85 * 2 * (1 + momentum) * 3.0 / (2 * float(model.process.beta2) * top)
    tau = rate * np.array([1, 3, 8, 10, 300])
    exact = rf.learning_curve(model, tau, rate, momentum=momentum)
    drawn = rf.empirical.learning_curve(
        jax.random.key(2), model, tau, d, kind="gaussian", optimizer=optimizer, momentum=momentum,
        learning_rate=rate * d**2, repeats=4,
    )  # fmt: skip
    for kind in ("train", "test"):
        off = np.abs(getattr(drawn, kind) - getattr(exact, kind))
        assert np.all(off < 5 * getattr(drawn.standard_error, kind) + 4 / d**2)
    assert np.allclose(sum(exact.drops.values()), 1 - exact.train, rtol=0, atol=1e-10)
    flow = rf.learning_curve(model, tau)
    assert np.max(np.abs(flow.test - exact.test)) > 0.01


def test_the_end_of_training_against_minimum_norm_regression():
    """A of least norm, from the pseudo-inverse of a sampled Gaussian equivalent;
    and 1 - b²ψ_p s(0).
    """
    model, d = rf.RandomFeatureModel(6.0, 3.0, 0.1), 60
    curve, found = rf.learning_curve(model, np.inf), []
    for key in jax.random.split(jax.random.key(5), 4):
        m = rf.empirical.sample(key, model, d, kind="gaussian")
        A = -np.asarray(m.V).T @ np.linalg.pinv(m.U) / float(model.process.beta)  # over √p
        beta = float(model.process.beta)
        found.append(
            [
                1 + beta**2 * np.trace(A @ U @ A.T) / d + 2 * beta * np.trace(A @ V) / d
                for U, V in ((m.U, m.V), (m.U_test, m.V_test))
            ]
        )
    found = np.array(found)
    exact = np.array([float(curve.train), float(curve.test)])
    assert np.all(np.abs(found.mean(0) - exact) < 5 * found.std(0, ddof=1) / 2 + 4 * exact / d**2)


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 30])
def test_drops_of_steps_at_the_limit_of_stability(count):
    """On the real axis what the contour says,
    of many oscillations on a bulk and of modes that barely shrink.
    """
    rng = np.random.default_rng(count)
    for _ in range(count):
        psi_p, psi_n, t = np.exp(rng.uniform(np.log([0.1, 0.1, 1e-3]), np.log([300.0, 300.0, 2.0])))
        model = rf.RandomFeatureModel(psi_p, psi_n, t, covariance=rf.Atoms([0.3, 1.5], [0.4, 0.6]))
        top = np.max(rf.spectrum(model).edges)
        for mu in (0.0, 0.9):
            rate = (1 - 1e-7) * (1 + mu) * psi_p / float(model.pace) / top
            curve = rf.learning_curve(model, rate * np.array([8, 60, 1e6]), rate, momentum=mu)
            off = np.abs(1 - curve.train - sum(curve.drops.values()))
            assert np.all(off < 1e-12 + np.asarray(curve.error))
            assert np.all(sum(curve.drop_errors.values()) < 1e-10 + 9 * np.asarray(curve.error))


# ----------------------------------------------------------------------------------------------
# derivatives


@pytest.mark.parametrize("rate", [None, pytest.param(2.0, marks=pytest.mark.slow)])
def test_gradients(rate):
    """In both ratios, the diffusion time, an eigenvalue of Σ and the training time."""

    def test_loss(psi_p, psi_n, t, value, tau):
        model = rf.RandomFeatureModel(
            psi_p, psi_n, t, covariance=rf.Atoms([value, 1.5], [0.5, 0.5])
        )
        return rf.learning_curve(model, tau, rate).test

    at, h = (8.0, 2.0, 0.05, 0.5, 20.0), 1e-5
    grads = jax.grad(test_loss, argnums=range(4) if rate else range(5))(*at)
    for i, g in enumerate(grads):
        up, down = (
            test_loss(*(x * (1 + s * h) if i == j else x for j, x in enumerate(at)))
            for s in (1, -1)
        )
        assert float(g) == pytest.approx(float(up - down) / (2 * h * at[i]), rel=1e-6)


@pytest.mark.slow
def test_maps_over_models():
    many = jax.vmap(
        lambda n: (
            rf.learning_curve(rf.RandomFeatureModel(8.0, n, 0.05), jnp.array([10.0, 100.0])).test
        )
    )
    assert np.allclose(
        many(jnp.array([2.0, 4.0]))[0], rf.learning_curve(MODEL, [10.0, 100.0]).test, rtol=1e-13
    )


def test_a_linear_activation_learns_to_the_end():
    model = rf.RandomFeatureModel(4.0, 2.0, 0.1, activation=lambda x: 2 * x)
    curve = rf.learning_curve(model, [1e8, np.inf])
    assert np.allclose(curve.test[0], curve.test[1], rtol=1e-10)
    assert np.all(np.isfinite(curve.error))


def test_without_a_linear_part_nothing_is_learnt():
    curve = rf.learning_curve(
        rf.RandomFeatureModel(4.0, 2.0, 0.1, activation=jnp.cos), [1.0, np.inf]
    )
    assert np.array_equal(curve.train, [1.0, 1.0])
