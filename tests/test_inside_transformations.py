"""Models of known numbers are built inside `jax.jit` as outside,
and lists may mix known and traced numbers.
"""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rfspec as rf

DATA = np.random.default_rng(1).normal(size=(30, 6))
ARGUMENTS = {
    "OrnsteinUhlenbeck": {"process": lambda: rf.OrnsteinUhlenbeck(0.3)},
    "FlowMatching": {"process": lambda: rf.FlowMatching(0.3)},
    "DDPM": {"process": lambda: rf.DDPM(300)},
    "Cosine": {"process": lambda: rf.Cosine(0.3)},
    "VarianceExploding": {"process": lambda: rf.VarianceExploding(0.5)},
    "Interpolant": {"process": lambda: rf.Interpolant(0.6, 0.8, -1.0, 1.0)},
    "Isotropic": {"covariance": lambda: rf.Isotropic(2.0)},
    "normalised": {"covariance": lambda: rf.Isotropic(2.0).normalised(1.0)},
    "Atoms": {"covariance": lambda: rf.Atoms([0.5, 1.5], [0.5, 0.5])},
    "FromData": {"covariance": lambda: rf.FromData(DATA, "ledoit_wolf", nodes=3)},
    "PowerLaw": {"covariance": lambda: rf.PowerLaw(0.5)},
    "Exponential": {"covariance": lambda: rf.Exponential(2.0)},
    "MarchenkoPastur": {"covariance": lambda: rf.MarchenkoPastur(0.5)},
    "Density": {"covariance": lambda: rf.Density(lambda x: 0.5 + 0.0 * x, 1.0, 3.0)},
    "Subspace": {"covariance": lambda: rf.Subspace(0.3, 2.0)},
    "Mixture": {
        "covariance": lambda: rf.Mixture([rf.Isotropic(1.0), rf.Exponential(1.0)], [0.5, 0.5])
    },
    **{name: {"activation": name} for name in ("tanh", "erf", "sin", "relu", "gelu")},
    "callable": {
        "activation": lambda: rf.Activation(lambda x: jnp.maximum(x, 0.1 * x) + jnp.tanh(x))
    },
    "polynomial": {"activation": lambda: rf.Polynomial([0.0, 1.0, 0.3])},
    **{target: {"target": target} for target in ("noise", "score", "data", "velocity")},
    "noise_draws": {"noise_draws": 3},
    "weight_decay": {"weight_decay": 0.1},
}


def built(name):
    given = {k: v() if callable(v) else v for k, v in ARGUMENTS[name].items()}
    given.setdefault("process", rf.OrnsteinUhlenbeck(0.3))
    return rf.RandomFeatureModel(8.0, 2.0, **given)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_known_model_is_known_inside_jit(name):
    seen = []

    def inside(x):
        seen.append(built(name))
        return x * seen[0].gamma2

    assert jax.jit(inside)(2.0) == pytest.approx(2.0 * float(built(name).gamma2), rel=1e-15)
    assert jax.tree.structure(seen[0]) == jax.tree.structure(built(name)) or "callable" in name
    for a, b in zip(jax.tree.leaves(seen[0]), jax.tree.leaves(built(name)), strict=True):
        assert np.array_equal(a, b)


@pytest.mark.slow
def test_a_known_model_is_computed_inside_jit():
    curve = jax.jit(lambda tau: rf.learning_curve(rf.RandomFeatureModel(64.0, 8.0, 0.01), tau).test)
    known = rf.learning_curve(rf.RandomFeatureModel(64.0, 8.0, 0.01), 10.0).test
    assert curve(10.0) == pytest.approx(float(known), rel=1e-12)


def test_warnings_are_the_same_inside_jit():
    with pytest.warns(rf.SaturationWarning):
        jax.jit(
            lambda x: x * rf.RandomFeatureModel(8.0, 2.0, 0.1, covariance=rf.Isotropic(1e4)).gamma2
        )(1.0)


def test_a_process_of_ones_own_may_trace_known_numbers():
    class Own(rf.Process):
        @property
        def alpha(self):
            return jnp.cos(0.3)

        @property
        def beta2(self):
            return jnp.sin(0.3) ** 2

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = jax.jit(lambda x: x * rf.RandomFeatureModel(8.0, 2.0, process=Own()).gamma2)(2.0)
    assert found == pytest.approx(2.0)


# what is computed at lists [a, 2a, 3.0] of a number, and at the array of them
LISTS = {
    "tau": lambda x: rf.learning_curve(rf.RandomFeatureModel(8.0, 2.0, 0.05), x).test,
    "z": lambda x: rf.solve(rf.RandomFeatureModel(8.0, 2.0, 0.05), x).q.imag,
    "coefficients": lambda x: (
        rf.gaussian_equivalent(
            rf.RandomFeatureModel(8.0, 2.0, 0.05, activation=rf.Polynomial(x))
        ).v2
    ),
    "values": lambda x: (
        rf.RandomFeatureModel(8.0, 2.0, 0.05, covariance=rf.Atoms(x, [0.3, 0.3, 0.4])).gamma2
    ),
    "betas": lambda x: rf.DDPM(2, [x[i] / 10 for i in range(3)]).alpha,
}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n == "tau" else n for n in LISTS]
)
def test_lists_mix_known_and_traced_numbers(name):
    f = LISTS[name]
    known = f([2.0, 4.0, 3.0])
    for transformed in (
        jax.jit,
        lambda g: lambda a: jax.vmap(g)(jnp.stack([a, a]))[0],
        lambda g: lambda a: jax.jvp(g, (a,), (1.0,))[0],
    ):
        assert np.allclose(transformed(lambda a: f([a, 2 * a, 3.0]))(2.0), known, rtol=1e-12)
    slope = jax.jacfwd(lambda a: f([a, 2 * a, 3.0]))(2.0)
    h = 1e-5
    difference = (f([2.0 + h, 4.0 + 2 * h, 3.0]) - f([2.0 - h, 4.0 - 2 * h, 3.0])) / (2 * h)
    assert np.allclose(slope, difference, rtol=1e-5, atol=1e-9)


def test_a_list_of_unequal_rows_is_refused():
    with pytest.raises(ValueError, match="tau must be real numbers of at least 0"):
        jax.jit(
            lambda a: rf.learning_curve(rf.RandomFeatureModel(8.0, 2.0, 0.05), [a, [1.0]]).test
        )(1.0)
