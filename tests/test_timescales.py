"""Training times by both rules, the paper's closed edges, and the clock."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import ZOO, draw

import rfspec as rf
from rfspec.spectra.leading_order import marchenko_pastur_edges

PAPER = ZOO[0].model


def test_marchenko_pastur_edges_of_the_isotropic_case():
    for psi_p in (0.25, 4.0, 64.0, 1e4):
        low, high = marchenko_pastur_edges(jnp.ones(1), jnp.ones(1), psi_p)
        assert float(low) == pytest.approx((1 - np.sqrt(psi_p)) ** 2, rel=1e-12)
        assert float(high) == pytest.approx((1 + np.sqrt(psi_p)) ** 2, rel=1e-12)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_marchenko_pastur_edges_against_a_sample(seed):
    values, d, psi_p = np.array([0.5, 2.0]), 400, 6.0
    sigma = np.repeat(values, d // 2)
    W = np.random.default_rng(seed).normal(size=(round(psi_p * d), d)) * np.sqrt(sigma)
    sampled = np.linalg.eigvalsh(W.T @ W / d)
    low, high = marchenko_pastur_edges(jnp.asarray(values), jnp.array([0.5, 0.5]), psi_p)
    scale = 4 * d ** (-2 / 3)  # Tracy-Widom scale of the extremes
    assert sampled[0] == pytest.approx(float(low), rel=scale)
    assert sampled[-1] == pytest.approx(float(high), rel=scale)


def test_papers_rule_in_closed_form():
    ge, ts = rf.gaussian_equivalent(PAPER), rf.timescales(PAPER, "paper")
    scale = 64.0 / float(PAPER.process.beta2)
    floor = float(ge.v2 + ge.s2)
    assert float(ts.tau_gen) == pytest.approx(
        scale / (floor + float(ge.mu1) ** 2 * 49.0), rel=1e-12
    )
    low = float(ge.s2 + ge.v2 * (1 - np.sqrt(8.0)) ** 2)
    assert float(ts.tau_mem) == pytest.approx(scale / low, rel=1e-12)
    assert np.isnan(float(ts.satellite))
    assert "no satellite" in ts.reason


def test_exact_rule_is_the_edges():
    sp, ts = rf.spectrum(PAPER), rf.timescales(PAPER, "spectrum")
    edges = np.asarray(sp.edges)
    times = 64.0 / float(PAPER.process.beta2) / edges
    assert [
        float(ts.slow.satellite),
        float(ts.slow.sample),
        float(ts.slow.population),
    ] == pytest.approx(times[::2])
    assert [
        float(ts.fast.satellite),
        float(ts.fast.sample),
        float(ts.fast.population),
    ] == pytest.approx(times[1::2])
    assert ts.separated
    assert ts.reason == ""
    assert float(ts.error) < 1e-12


def test_exact_times_approach_the_papers_for_large_ratios():
    """Theorem 3.2 is of leading order in 1/ψ: both times are off by less than half as much at ψ
    sixteen times as large.
    """
    off = []
    for scale in (1.0, 16.0):
        model = rf.RandomFeatureModel(640.0 * scale, 80.0 * scale, 0.01)
        exact, paper = rf.timescales(model, "spectrum"), rf.timescales(model, "paper")
        ratios = [exact.tau_gen / paper.tau_gen, exact.tau_mem / paper.tau_mem]
        off.append(np.abs(np.array(ratios) - 1))
    assert np.all(off[1] < 0.5 * off[0])


def test_tau_mem_grows_with_n_and_tau_gen_does_not():
    """The exponent of τ_mem in n tends to 1 as p/n grows, that of τ_gen to 0 as n/d does."""

    def exponents(psi_p, psi_n):
        few, many = (
            rf.timescales(rf.RandomFeatureModel(psi_p, n, 0.01), "spectrum")
            for n in (psi_n, 2 * psi_n)
        )
        return np.log2([float(many.tau_mem / few.tau_mem), float(many.tau_gen / few.tau_gen)])

    mem = [1 - exponents(psi_p, 500.0)[0] for psi_p in (1e5, 1e6, 1e7)]
    assert 0 < abs(mem[2]) < 0.5 * abs(mem[1]) < 0.25 * abs(mem[0])
    gen = [exponents(1e5, psi_n)[1] for psi_n in (60.0, 250.0, 1000.0)]
    assert 0 < abs(gen[2]) < 0.6 * abs(gen[1]) < 0.36 * abs(gen[0])


def test_a_merged_part_has_no_time():
    ts = rf.timescales(rf.RandomFeatureModel(1.5, 3.0, 0.01), "spectrum")
    assert not ts.separated
    assert np.isnan(float(ts.tau_gen))
    # the sample's slow end is the lower edge of the merged bulk
    assert np.isfinite(float(ts.tau_mem))
    assert "population and sample have merged" in ts.reason
    none = rf.timescales(rf.RandomFeatureModel(16.0, 0.5, 0.05), "spectrum")
    assert np.isnan(float(none.tau_mem))
    assert "no sample part" in none.reason


@pytest.mark.filterwarnings("ignore::rfspec.SaturationWarning")
def test_a_time_that_is_missing_has_a_reason():
    """Over the box and beyond, with one, few and all draws of the noise."""
    rng = np.random.default_rng(7)
    for _ in range(30):
        plain = draw(rng, (np.inf, 1.0, 3.0), atoms=2)
        psi_p = float(plain.psi_p) * float(rng.choice([1.0, 1e8]))
        ts = rf.timescales(
            rf.RandomFeatureModel(
                psi_p,
                plain.psi_n,
                plain.t,
                covariance=plain.covariance,
                noise_draws=plain.noise_draws,
            ),
            "spectrum",
        )
        assert np.all(np.isfinite(ts.slow)) or ts.reason, ts.spectrum
        assert np.any(np.isnan(ts.slow)) or np.any(np.isnan(ts.fast)) or not ts.reason, ts.spectrum


BOX = np.log([[1e-2, 1e-2, 1e-4, 1e-4], [1e4, 1e5, 5.0, 1.0]])  # ψ_p, ψ_n, t, weight decay


def times_and_drops(x):
    """Both ends of the three parts, and the loss drop of the lowest bulk."""
    sp = rf.spectrum(rf.RandomFeatureModel(x[0], x[1], x[2], weight_decay=x[3]))
    ts = rf.timescales(sp, "spectrum")
    return jnp.stack([*ts.slow, *ts.fast, sp.support.drop[0]])


@pytest.mark.parametrize("models", [6, pytest.param(60, marks=pytest.mark.slow)])
def test_gradients_are_finite_where_times_are(models):
    """And are differences of the times there; NaN where a time is.
    Each is asked for beside the others.
    """
    rng, h, missing = np.random.default_rng(5), 1e-5, 0
    for x in np.exp(rng.uniform(*BOX, (models, 4))):
        values, pull = jax.vjp(times_and_drops, jnp.asarray(x))
        along = rng.normal(size=4)
        ahead, behind = (times_and_drops(jnp.asarray(x * np.exp(s * h * along))) for s in (1, -1))
        slopes = np.array([pull(e)[0] for e in np.eye(values.size)])
        finite = np.isfinite(values)
        missing += np.sum(~finite)
        assert np.all(np.isnan(slopes[~finite])), x
        assert np.all(np.isfinite(slopes[finite])), x
        assert slopes[finite] @ (x * along) == pytest.approx(
            np.asarray(ahead - behind)[finite] / (2 * h),
            rel=1e-5,
            abs=1e-8 * float(np.nanmax(values)),
        )
    assert missing


@pytest.mark.slow
def test_second_derivatives_of_times_both_ways():
    """Forward over reverse, reverse over reverse and forward over forward agree, and are symmetric.

    Reverse over reverse multiplies the infinite cotangents of what is missing by 0: it is asked for
    the others alone.
    """
    where = jax.jit(times_and_drops)
    both = jax.jit(jax.jacfwd(jax.jacrev(times_and_drops)))
    back = jax.jit(
        jax.jacrev(jax.jacrev(lambda x, known: jnp.where(known, times_and_drops(x), 0.0)))
    )
    ahead = jax.jit(jax.jacfwd(jax.jacfwd(times_and_drops)))
    rng = np.random.default_rng(6)
    for x in np.exp(rng.uniform(*BOX, (20, 4))):
        finite = np.isfinite(where(x))
        found = both(x), back(x, finite), ahead(x)
        scaled = [np.asarray(a)[finite] * x * x[:, None] for a in found]
        size = np.abs(scaled[0]).max(axis=(1, 2), keepdims=True)
        for a in (scaled[1], scaled[2], scaled[0].swapaxes(1, 2)):
            assert np.all(np.abs(a - scaled[0]) <= 1e-6 * size), x


def test_clock_goes_both_ways():
    steps = np.array([0.0, 10.0, 1e6])
    for convention in ("theory", "script"):
        tau = rf.clock(PAPER, 100, steps=steps, learning_rate=0.5, convention=convention)
        assert np.allclose(
            rf.clock(PAPER, 100, tau=tau, learning_rate=0.5, convention=convention), steps
        )
    assert (
        float(rf.clock(PAPER, 100, steps=1, learning_rate=0.5, convention="script"))
        == 0.5 * 64 / 100
    )
