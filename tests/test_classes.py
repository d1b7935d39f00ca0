"""Data of several classes: against the equations of each class for itself in plain NumPy, against
sampled matrices, and in the limits in which classes are none.
"""

from math import gamma

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rfspec as rf
from rfspec.empirical.sampled_curves import averaged
from rfspec.models.heavy_tails import scale_rule
from rfspec.resolvent.equations import averaged_equations
from rfspec.training.exact_score import score_error
from rfspec.training.learning_curves import LearningCurve
from rfspec.training.losses import limit

SHARES, VALUES = np.array([0.7, 0.3]), np.array([[0.5, 0.5], [3.0, 1.0]])
DATA = rf.Classes(SHARES, VALUES)
RIDGE = 1e-3


def model_of(data=DATA, **kwargs):
    given = {"psi_p": 6.0, "psi_n": 3.0, "t": 0.1, **kwargs}
    return rf.RandomFeatureModel(**given, covariance=data)


class Plain:
    """The fixed point by damped iteration with one δ for each class, and the losses of each class
    at the end of training with a ridge, from one φ for each class: nothing is reduced.
    """

    def __init__(self, model):
        data, process = model.covariance, model.process
        ge = [
            rf.gaussian_equivalent(model.replace(covariance=rf.Isotropic(trace)))
            for trace in data.traces
        ]
        column = lambda name: np.array([float(getattr(g, name)) for g in ge])
        self.kappa2, self.v2, self.s2 = column("kappa2"), column("v2"), column("s2")
        self.b = float(process.beta) * column("mu1")
        self.psi_p, self.psi_n = float(model.psi_p), float(model.psi_n)
        self.shares, self.values = np.asarray(data.shares), np.asarray(data.scales @ data.values)
        self.weights = np.asarray(data.weights)
        self.b2, self.s2_mean = self.shares @ self.b**2, self.shares @ self.s2
        signal, noise = (1.0, 0.0) if model.target == "data" else (0.0, -1.0)
        self.noise, self.y = noise, signal**2 * self.values @ self.weights
        slope = signal * float(process.alpha) / float(process.beta)
        self.cross = slope * self.b[:, None] * self.values

    def solve(self, z):
        q, delta = -1.0 / z + 0j, np.zeros(len(self.shares), complex)
        for _ in range(3000):
            D = 1.0 / (1.0 + delta)
            T = self.b2 + (self.shares * self.kappa2 * D) @ self.values
            e = 1.0 + self.psi_p * T * q
            columns = self.v2 * q + self.kappa2 * (self.values @ (self.weights * q / e))
            of_nodes = self.weights @ (T / e)
            new = 1.0 / (self.s2_mean - z + (self.shares * self.v2) @ D + of_nodes)
            q, delta = (q + new) / 2, (delta + self.psi_p / self.psi_n * columns) / 2
        return q, delta, D, T, e

    def limit(self):
        """Train and test loss of each class, [class, 2]."""
        q, _, D, T, e = self.solve(-RIDGE)
        g, ratio = self.weights / e**2, self.psi_p / self.psi_n
        P = self.noise * (self.shares @ self.b) + (self.shares * D) @ self.cross
        along = lambda a: self.psi_p * q * (a @ (self.weights * P / e))
        size, w, values = self.psi_p * q**2, ratio * self.shares * D**2, self.values
        count = len(self.shares)

        def through(iota, a):
            # x and φ_c of (12) and (13)
            matrix = np.zeros((count + 1, count + 1), complex)
            right = np.zeros(count + 1, complex)
            matrix[0, 0] = size * np.sum(T**2 * g) - 1.0
            matrix[0, 1:] = -(q**2) * (self.v2 + self.kappa2 * (values @ g))
            right[0] = q**2 * (iota + np.sum(a * g))
            for i in range(count):
                coupled = self.kappa2[i] * self.kappa2 * ((values * values[i]) @ g)
                matrix[1 + i, 1:] = (np.arange(count) == i) - w[i] * size * coupled
                matrix[1 + i, 0] = w[i] * (self.v2[i] + self.kappa2[i] * np.sum(values[i] * g))
                right[1 + i] = w[i] * size * self.kappa2[i] * np.sum(a * values[i] * g)
            x, *phi = np.linalg.solve(matrix, right)
            dressed = a + (np.array(phi) * self.kappa2) @ values
            square = self.psi_p * np.sum((size * dressed - x) * P**2 * g)
            return square + np.sum(phi * (self.y - 2.0 * along(self.cross)))

        found = []
        for c in range(count):
            X, y, rest = along(self.cross[c]), self.y[c], 1.0 - D[c]
            fixed, untrained = along(self.noise * self.b[c] + 0 * T), y + self.noise**2
            own = self.b[c] ** 2 + D[c] ** 2 * self.kappa2[c] * values[c]
            square = through(self.s2[c] + D[c] ** 2 * self.v2[c], own)
            square += 2.0 * D[c] * rest * X + rest**2 * y
            train = untrained - 2.0 * (fixed + D[c] * X + rest * y) + square
            fresh = through(self.v2[c] + self.s2[c], self.b[c] ** 2 + self.kappa2[c] * values[c])
            found.append([train.real, (untrained - 2.0 * (fixed + X) + fresh).real])
        return np.array(found)


def limit_of(model):
    return limit(averaged_equations(model, rf.gaussian_equivalent(model)))


def limits(model):
    """Train and test loss of each class at the end of training, and of all, with a ridge."""
    model = model.replace(weight_decay=RIDGE * float(model.pace))
    seen = [model, *(rf.of_class(model, c) for c in range(len(model.covariance.shares)))]
    both = [limit_of(m)[:2] for m in seen]
    return np.array(both[0]), np.array(both[1:])


def test_known_numbers():
    """Of an independent check against features at d = 60 and 120."""
    assert limits(model_of())[1][:, 1] == pytest.approx([0.9383, 1.8307], abs=5e-5)


@pytest.mark.parametrize("target", ["noise", "data"])
def test_losses_of_each_class_against_one_unknown_for_each(target):
    model = model_of(target=target)
    total, each = limits(model)
    assert each == pytest.approx(Plain(model).limit(), rel=1e-10)
    assert SHARES @ each == pytest.approx(total, rel=1e-12)


def test_many_scales_against_one_unknown_for_each():
    scales = np.array([0.1, 0.4, 0.9, 1.3, 2.0, 5.0])
    data = rf.Elliptical(rf.Atoms([0.5, 1.5], [0.3, 0.7]), scales, np.full(6, 1 / 6))
    model = model_of(data)
    assert limits(model)[1] == pytest.approx(Plain(model).limit(), rel=1e-10)
    for z in (2.0 + 0.5j, -0.3 + 0.01j):
        solution = rf.solve(model, z)
        assert solution.q == pytest.approx(Plain(model).solve(z)[0], rel=1e-10)


@pytest.mark.slow
def test_curves_end_where_they_should_and_add_up():
    curve = rf.learning_curve(model_of(), [0.0, 3.0, 1e9, np.inf])
    assert curve.class_train.shape == curve.class_test.shape == (2, 4)
    for each, total in ((curve.class_train, curve.train), (curve.class_test, curve.test)):
        assert np.asarray(each)[:, 0] == pytest.approx([1.0, 1.0], abs=1e-14)
        assert np.asarray(each)[:, 2] == pytest.approx(np.asarray(each)[:, 3], rel=1e-9)
        assert SHARES @ np.asarray(each) == pytest.approx(np.asarray(total), rel=1e-11)


def test_classes_that_are_none():
    sigma = rf.Atoms([3.0, 1.0], [0.5, 0.5])
    alike = [
        rf.Classes([0.6, 0.4], [[3.0, 1.0], [3.0, 1.0]]),
        rf.Elliptical(sigma, [1.0, 1.0], [0.2, 0.8]),
        rf.Elliptical(sigma, [1.0], [1.0]),
    ]
    z = 0.3 + 0.2j
    plain = model_of(sigma, weight_decay=0.01)
    q = rf.solve(plain, z).q
    want = limit_of(plain)[:2]
    for data in alike:
        model = model_of(data, weight_decay=0.01)
        assert complex(rf.solve(model, z).q) == pytest.approx(complex(q), rel=1e-13)
        found = limit_of(model)[:2]
        assert np.array(found) == pytest.approx(np.array(want), rel=1e-12)
        scores = (score_error(m, np.array([1.0])) for m in (model, plain))
        assert next(scores) == pytest.approx(next(scores), rel=1e-13)


@pytest.mark.slow
def test_sampled_classes_have_these_losses():
    """The Gaussian equivalent at d = 40: to a few standard errors and 1/d."""
    model = model_of(weight_decay=RIDGE * float(model_of().pace))
    exact = limits(model_of())[1]
    tau = np.array([1e9])
    curves = [
        rf.empirical.learning_curve(key, model, tau, 40, kind="gaussian")
        for key in jax.random.split(jax.random.key(0), 6)
    ]
    mean = rf.empirical.learning_curve(0, model, tau, 40, kind="gaussian", repeats=6)
    for which, name in enumerate(("train", "test")):
        found = np.stack([np.asarray(getattr(curve, f"class_{name}"))[:, 0] for curve in curves])
        total = [float(getattr(curve, name)[0]) for curve in curves]
        assert found @ SHARES == pytest.approx(np.array(total), rel=1e-12)
        error = found.std(axis=0, ddof=1) / np.sqrt(len(curves))
        claimed = getattr(mean.standard_error, f"class_{name}")
        np.testing.assert_allclose(claimed[:, 0], error, rtol=1e-9)
        assert np.all(np.abs(found.mean(axis=0) - exact[:, which]) < 4 * error + 0.5 / 40)


def test_means_over_draws_have_standard_errors_of_each_class():
    tau, rng = np.array([1.0, 2.0, 3.0]), np.random.default_rng(0)
    each = rng.normal(size=(5, 2, 3))
    curves = [
        LearningCurve(tau, *[a[0]] * 3, np.zeros(3), class_train=a, class_test=2 * a) for a in each
    ]
    mean = averaged(curves)
    error = each.std(axis=0, ddof=1) / np.sqrt(5)
    np.testing.assert_allclose(mean.class_test, 2 * each.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(mean.standard_error.class_train, error, rtol=1e-12)
    np.testing.assert_allclose(mean.standard_error.class_test, 2 * error, rtol=1e-12)
    np.testing.assert_allclose(mean.standard_error.train, error[0], rtol=1e-12)
    # those over τ alone are columns of a table
    assert [name for name in mean.columns() if "standard" in name] == [
        f"{name}_standard_error" for name in ("train", "test", "score_error")
    ]
    plain = averaged([LearningCurve(tau, *[a[0]] * 3, np.zeros(3)) for a in each])
    assert plain.standard_error.class_train is None


@pytest.mark.slow
def test_a_mean_that_differs_from_class_to_class_has_no_part_in_the_losses():
    """With features of relu, to O(1/d)."""
    model = model_of(activation="relu")
    exact = limits(model)[1][:, 1]
    model = model.replace(weight_decay=RIDGE * float(model.pace))
    found = rf.empirical.learning_curve(jax.random.key(0), model, [1e9], 40).class_test[:, 0]
    assert np.asarray(found) == pytest.approx(exact, rel=0.05)


@pytest.mark.slow
def test_parts_of_the_spectrum_are_those_of_the_classes():
    sp = rf.spectrum(model_of())
    # 0.7 n and 0.3 n, and d
    assert [6 * float(b.mass) for b in sp.bulks] == pytest.approx([2.1, 0.9, 1.0], abs=1e-13)
    assert float(sp.atom.mass) == pytest.approx(1 - 4 / 6, abs=1e-14)
    assert float(sp.error) < 1e-10
    assert float(sp.moment(1)) == pytest.approx(float(sp.equations.mean), rel=1e-11)
    values = np.linalg.eigvalsh(
        rf.empirical.sample(jax.random.key(1), model_of(), 60, kind="gaussian").U
    )
    edges = np.asarray(sp.edges)
    assert np.sum(values > np.sqrt(edges[3] * edges[4])) == 60
    # the atom lies at s̄²
    assert np.sum(values > (edges[0] + float(sp.atom.location)) / 2) in (239, 240)


@pytest.mark.slow
def test_stopping_times_of_a_class_are_those_of_its_curves():
    model = model_of()
    for which in (0, 1):
        stop = rf.early_stopping(rf.of_class(model, which))
        near = np.array([0.98, 1.0, 1.02]) * float(stop.tau)
        curve = rf.learning_curve(model, [*near, float(stop.onset), np.inf])
        test, train = (np.asarray(a)[which] for a in (curve.class_test, curve.class_train))
        assert test[1] < min(test[0], test[2])
        gap = test - train
        assert gap[3] == pytest.approx(0.1 * gap[4], rel=1e-9)
        assert float(stop.test) == pytest.approx(test[1], rel=1e-12)
    with pytest.raises(NotImplementedError, match="all classes together"):
        _ = rf.learning_curve(rf.of_class(model, 0), 1.0).drops


def at_minus_one(psi_p, psi_n, t, share, values):
    data = rf.Classes(jnp.stack([share, 1.0 - share]), values)
    model = rf.RandomFeatureModel(psi_p, psi_n, t, covariance=data, weight_decay=0.1)
    seen = rf.of_class(model, 1)
    train, test, _ = limit_of(seen)
    return train + 2.0 * test


@pytest.mark.slow
def test_derivatives_and_maps():
    given = (6.0, 3.0, 0.1, 0.7, jnp.asarray(VALUES))
    slopes = jax.grad(at_minus_one, argnums=(0, 1, 2, 3, 4))(*given)
    step, value = 1e-5, jax.jit(at_minus_one)
    for i, slope in enumerate(slopes[:4]):
        up, down = (value(*given[:i], given[i] + s, *given[i + 1 :]) for s in (step, -step))
        assert float(slope) == pytest.approx(float((up - down) / (2 * step)), rel=1e-6), i
    for place in np.ndindex(2, 2):
        up, down = (value(*given[:4], given[4].at[place].add(s)) for s in (step, -step))
        assert float(slopes[4][place]) == pytest.approx(float((up - down) / (2 * step)), rel=1e-6)
    mapped = jax.vmap(lambda n: at_minus_one(6.0, n, 0.1, 0.7, given[4]))(jnp.array([2.0, 3.0]))
    assert float(mapped[1]) == pytest.approx(float(value(*given)), rel=1e-12)


@pytest.mark.slow
def test_student_law_by_quadrature():
    for nu in (2.1, 3.0, 5.0, 40.0):
        rho, weights = scale_rule(nu, 16)
        assert weights.sum() == pytest.approx(1.0, abs=1e-14)
        assert weights @ rho == pytest.approx(1.0, rel=1e-10)
        # E[√ρ] = √((ν-2)/2) Γ((ν-1)/2)/Γ(ν/2)
        root = np.sqrt((nu - 2) / 2) * gamma((nu - 1) / 2) / gamma(nu / 2)
        assert weights @ np.sqrt(rho) == pytest.approx(root, rel=1e-10)
    (few, error), (many, _) = (
        [np.array(a) for a in (found[:2], found[2])]
        for found in map(
            limit_of, (model_of(rf.StudentT(4.0, rf.Isotropic(1.0), n)) for n in (6, 24))
        )
    )
    assert np.all(np.abs(few - many) <= error)
    assert np.all(np.abs(few - many) > 1e-9)


def test_what_a_user_gets_wrong(given_anything):
    wrong = {
        "shares must sum to 1": lambda: rf.Classes([0.7, 0.2], VALUES),
        "shares must be greater than 0": lambda: rf.Classes([1.0, 0.0], VALUES),
        "row for each of the 2 shares": lambda: rf.Classes([0.5, 0.5], [[1.0], [1.0], [1.0]]),
        "values must be variances": lambda: rf.Classes([0.5, 0.5], [[1.0], [-1.0]]),
        "not all be zero in any class": lambda: rf.Classes([0.5, 0.5], [[1.0], [0.0]]),
        "one entry for each of the 2 columns": lambda: rf.Classes([0.7, 0.3], VALUES, [1.0]),
        "at most 4": lambda: rf.Classes(np.full(5, 0.2), np.ones((5, 1))),
        "scales must have the shape": lambda: rf.Elliptical(rf.Isotropic(1.0), [1.0], [0.5, 0.5]),
        "scales must be greater": lambda: rf.Elliptical(rf.Isotropic(1.0), [0.0], [1.0]),
        "by its eigenvalues": lambda: rf.Elliptical(rf.Exponential(1.0), [1.0], [1.0]),
        "nu must be": lambda: rf.StudentT(2.0, rf.Isotropic(1.0)),
        "noise_draws must be inf": lambda: model_of(noise_draws=2),
        "which must be": lambda: rf.of_class(model_of(), 2),
        "must have data of classes": lambda: rf.of_class(model_of(rf.Isotropic(1.0)), 0),
    }
    for message, call in wrong.items():
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.warns(rf.SaturationWarning, match="1 of 2 classes"):
        model_of(rf.Classes([0.5, 0.5], [[1.0], [100.0]]))
    with pytest.raises(NotImplementedError, match="one covariance only"):
        rf.merging_lines(model_of(), psi_n=[8.0], psi_p=(1.0, 10.0))
