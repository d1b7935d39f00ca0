"""Two-point functions: identities, the multi-precision twin, and resolvents of sampled matrices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import ZOO

import rfspec as rf

MODEL = rf.RandomFeatureModel(6.0, 3.0, 0.1, covariance=rf.Atoms([0.5, 1.5], [0.5, 0.5]))
Z1, Z2 = np.array([-1.0, 0.3 + 0.2j, -1e-3, 30 + 1e-3j]), np.array([-2.0, 0.3 - 0.2j, 0.5 + 1j, 2j])


def test_symmetry_and_the_resolvent_identity():
    one, two = rf.two_point(MODEL, Z1, Z2), rf.two_point(MODEL, Z2, Z1)
    for name in ("I", "FFT", "FSFT"):
        assert np.allclose(getattr(one, name), getattr(two, name), rtol=1e-13)
    s1, s2 = rf.solve(MODEL, Z1).s, rf.solve(MODEL, Z2).s
    assert np.allclose(one.I, (s1 - s2) / (Z1 - Z2), rtol=1e-11)


def test_at_equal_arguments_it_is_the_derivative():
    z = jnp.array([-0.7, -1e-3, -30.0, -1e-5])
    slope = jax.grad(lambda x: jnp.sum(rf.solve(MODEL, x).s.real))(z)
    assert np.allclose(rf.two_point(MODEL, z, z).I.real, slope, rtol=1e-12)


@pytest.mark.parametrize(
    "name", ["paper", "hard edge", "less data than dimensions", "zero eigenvalue", "late"]
)
def test_against_the_twin_within_the_claimed_error(name):
    (model,) = [p.model for p in ZOO if p.name == name]
    z1, z2 = (
        np.array([0.3 + 0.2j, -1e-3, 1e-4 + 1e-5j, 2j]),
        np.array([0.7 + 0.1j, -1e-3, -1e-8, 40 + 0.1j]),
    )
    found = rf.two_point(model, z1, z2)
    assert np.all(np.asarray(found.error) < 1e-9)
    for i in range(z1.size):
        exact = rf.algebraic.two_point(model, complex(z1[i]), complex(z2[i]), 25)
        for key in ("I", "FFT", "FSFT"):
            value = complex(getattr(found, key)[i])
            assert abs(value - complex(exact[key])) <= float(found.error[i]) * abs(
                complex(exact[key])
            )


def resolvents(model, d, seed, z1, z2):
    """Tr FFᵀG(z1)MG(z2)/p of one sampled Gaussian equivalent, for M = I, FFᵀ, FΣFᵀ,
    by dense linear algebra.
    """
    ge, rng = rf.gaussian_equivalent(model), np.random.default_rng(seed)
    p, n = round(float(model.psi_p) * d), round(float(model.psi_n) * d)
    sigma = np.repeat(model.covariance.values, d // 2)
    F, X = rng.normal(size=(p, d)) / np.sqrt(d), np.sqrt(sigma)[:, None] * rng.normal(size=(d, n))
    G = np.sqrt(ge.kappa2) * F @ X + np.sqrt(ge.v2) * rng.normal(size=(p, n))
    U = G @ G.T / n + float(ge.b2) * F @ F.T + float(ge.s2) * np.eye(p)
    G1, G2 = (np.linalg.inv(U - z * np.eye(p)) for z in (z1, z2))
    middle = (np.eye(p), F @ F.T, (F * sigma) @ F.T)
    return np.array([np.trace(F.T @ G1 @ M @ G2 @ F) / p for M in middle])


def test_against_sampled_resolvents_of_two_sizes():
    """The mean over draws deviates by O(1/d²) and fluctuates by O(1/d)."""
    z1, z2 = -0.3, 0.4 + 0.5j
    K = rf.two_point(MODEL, np.full(4, z1), z2)
    exact = np.array([K.I, K.FFT, K.FSFT])[:, 0]
    off = []
    for d in (24, 96):
        draws = np.array([resolvents(MODEL, d, seed, z1, z2) / exact for seed in range(4)])
        off.append(np.sqrt(np.mean(np.abs(draws - 1) ** 2)))
        assert np.all(np.abs(draws.mean(0) - 1) < 5 * draws.std(0, ddof=1) / 2 + 2 / d**2)
    assert off[1] < 0.5 * off[0]
    assert off[1] < 0.05


@pytest.mark.slow
def test_maps_and_gradients():
    f = lambda n: rf.two_point(rf.RandomFeatureModel(6.0, n, 0.1), -0.5, -0.5).FFT.real
    h = 1e-4
    assert float(jax.grad(f)(3.0)) == pytest.approx(
        float(f(3.0 + h) - f(3.0 - h)) / (2 * h), rel=1e-7
    )
    assert jax.vmap(f)(jnp.array([2.0, 3.0])).shape == (2,)
