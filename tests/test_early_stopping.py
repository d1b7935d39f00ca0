"""When to stop: against dense curves, limits, derivatives, what a window requires,
and the running exponent.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import WRONG_ONCE, ZOO, draw, draw_wide, sparing, verdict_scan
from scipy.optimize import brentq

import rfspec as rf
from rfspec.resolvent.equations import averaged_equations
from rfspec.training import early_stopping

PAPER = ZOO[0].model
SOME = (
    "paper",
    "two atoms",
    "more data than features",
    "hard edge",
    "p = n",
    "late",
    "relu",
    "three scales",
    "early",
)


@pytest.mark.parametrize("problem", sparing([p for p in ZOO if p.name in SOME]))
def test_against_a_dense_curve(problem):
    """No time of a dense grid is better; the window's ends lie between neighbours that are in and
    out of it.
    """
    stop = rf.early_stopping(problem.model)
    tau = np.geomspace(1e-3, 1e10, 400)
    curve = rf.learning_curve(problem.model, tau)
    test = np.asarray(curve.test)
    assert np.all(test >= float(stop.test) - 1e-10)
    assert test.min() - float(stop.test) < 1e-3
    i = int(np.argmin(test))
    inside = test <= float(stop.test) + 0.01
    ratio = tau[1] / tau[0]
    lower, upper = float(stop.window.lower), float(stop.window.upper)
    if lower > 0:
        first = tau[i - np.argmin(inside[i::-1])]  # the last before the window
        assert first <= lower <= first * ratio * (1 + 1e-9)
    else:
        assert float(stop.test) + 0.01 >= 1.0
    if np.isfinite(upper):
        last = tau[i + np.argmin(inside[i:])]
        assert last / ratio * (1 - 1e-9) <= upper <= last
    else:
        assert np.all(inside[i:])
        assert stop.regularised
    ends = [x for x in (lower, upper) if 0 < x < np.inf]
    if ends:
        assert np.allclose(
            rf.learning_curve(problem.model, ends).test, float(stop.test) + 0.01, rtol=0, atol=1e-11
        )
    at = rf.learning_curve(problem.model, stop.tau)
    assert float(at.test) == pytest.approx(float(stop.test), abs=1e-11)
    assert float(at.train) == pytest.approx(float(stop.train), abs=1e-11)


def judged(model):
    """The best of a dense curve, 0 and ∞ included, beside what is claimed;
    ends of the window by what lies around.
    """
    stop = rf.early_stopping(model)
    tau = np.concatenate([[0.0], np.geomspace(1e-7, 1e14, 319), [np.inf]])
    curve = rf.learning_curve(model, tau)
    test, allowed = np.asarray(curve.test), np.asarray(curve.error) + float(stop.error)
    allowed = allowed + 1e-13 * np.abs(test)
    assert np.all(test >= float(stop.test) - allowed), (model, stop.tau, tau[np.argmin(test)])
    near = tau[np.argmin(test)] / 1.2, tau[np.argmin(test)] * 1.2
    shallow = test.min() - float(stop.test) <= 1e-3 * abs(float(stop.test)) + allowed.min()
    assert near[0] <= float(stop.tau) <= near[1] or shallow, (model, stop.tau, tau[np.argmin(test)])
    inside = (tau >= float(stop.window.lower)) & (tau <= float(stop.window.upper))
    assert np.all(test[inside] <= float(stop.test) + 0.01 + allowed[inside])
    assert bool(stop.nothing_to_learn) == (float(stop.tau) == 0)
    assert float(curve.test[0]) == pytest.approx(float(stop.untrained), rel=1e-15)
    assert not np.isnan(float(stop.tau_error))
    return stop


@pytest.mark.filterwarnings("ignore::rfspec.SaturationWarning")
def test_no_time_is_better_for_random_models():
    """Over the box, ends of training included:
    a time at which training only harms was called the best.
    """
    rng = np.random.default_rng(5)
    for _ in range(20):
        judged(draw(rng, atoms=2))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::rfspec.SaturationWarning")
@pytest.mark.parametrize("draws", [np.inf, 1, 4])
@pytest.mark.parametrize("target", ["noise", "score", "data", "velocity"])
def test_no_time_is_better_for_many_random_models(target, draws):
    rng = np.random.default_rng(6)
    for _ in range(60):
        judged(draw(rng, (draws,), target=target))


def test_where_training_only_harms():
    """The loss rises from the start: τ* = 0, not ∞.
    With Σ = I the velocity is not correlated with x_t at all.
    """
    rising = rf.early_stopping(
        rf.RandomFeatureModel(8.0, 4.0, process=rf.DDPM(300), target="velocity")
    )
    assert (float(rising.tau), float(rising.tau_error)) == (0.0, 0.0)
    assert float(rising.test) == float(rising.untrained) == pytest.approx(1.0, abs=1e-15)
    assert float(rising.test_limit) == pytest.approx(1.109, abs=1e-3)
    assert bool(rising.nothing_to_learn)
    assert not bool(rising.regularised)
    assert "nothing to learn" in rising.advice
    assert rising.window.lower == 0
    at = rf.learning_curve(rising.model, rising.window.upper).test
    assert float(at) == pytest.approx(float(rising.test) + 0.01, abs=1e-12)


@pytest.mark.slow
def test_where_nothing_can_be_learnt_no_time_is_best():
    """With Σ = I the velocity of an Ornstein-Uhlenbeck process is not correlated with x_t."""
    times = jax.vmap(
        lambda p, n: rf.early_stopping(rf.RandomFeatureModel(p, n, 0.3, target="velocity")).tau
    )(*10.0 ** np.random.default_rng(1).uniform(-1, 3, (2, 6)))  # fmt: skip
    assert np.all(np.asarray(times) == 0)


def test_a_shallow_minimum_at_the_very_beginning():
    """One draw, few features: the loss falls by 3e-10 before it rises to 10¹⁵."""
    stop = rf.early_stopping(rf.RandomFeatureModel(0.1, 0.1, 1e-4, noise_draws=1))
    assert 0.005 < float(stop.tau) < 0.02
    assert 1e-10 < 1 - float(stop.test) < 1e-9
    assert float(stop.test_limit) == np.inf  # p = mn


@pytest.mark.filterwarnings("ignore::rfspec.SaturationWarning")
@pytest.mark.parametrize("problem", sparing([p for p in WRONG_ONCE if "plateau" in p.tags]))
def test_a_minimum_flatter_than_rounding(problem):
    """The curvature there is noise, by which Newton's method left the bracket;
    the time is claimed to be unknown.
    """
    rng = np.random.default_rng(2)
    stop = judged(problem.model)
    assert 1 < float(stop.tau_error) < np.inf
    near = [
        float(rf.algebraic.losses(problem.model, float(stop.tau) * x, 20).test)
        for x in (0.9, 1.0, 1.1, 1.3)
    ]
    assert near[1] - min(near) <= float(stop.error)
    for _ in range(4):
        judged(
            eqx.tree_at(
                lambda m: (m.psi_p, m.psi_n),
                problem.model,
                tuple(10.0 ** rng.uniform([1, 4], [7, 7])),
            )
        )


def test_training_is_scanned_from_where_many_eigenvalues_learn():
    """Not from the largest node of a law without an end, but from that of any other covariance."""
    for law, few in (
        (rf.PowerLaw(0.9), True),
        (rf.PowerLaw(1.0, 0.01), False),
        (rf.Atoms([1.0, 50.0], [0.99, 0.01]), False),
    ):
        model = rf.RandomFeatureModel(64.0, 8.0, 0.1, covariance=law)
        eq = averaged_equations(model, rf.gaussian_equivalent(model))
        assert (float(eq.fastest_mode) < 1e-8 * float(eq.top)) == few
        assert (float(eq.fastest_mode) == float(eq.top)) != few


@pytest.mark.filterwarnings("ignore::rfspec.SaturationWarning")
@pytest.mark.slow
def test_best_times_of_laws_without_an_end():
    """The largest nodes of such a law are up to 10²⁰ times the others, and nobody stops by them."""
    rng = np.random.default_rng(5)
    for _ in range(12):
        law = rf.PowerLaw(rng.uniform(0.6, 0.9))
        model = eqx.tree_at(lambda m: m.covariance, draw_wide(rng, atoms=1), law)
        assert verdict_scan(model) == ("right", ""), model


@pytest.mark.filterwarnings("ignore::rfspec.SaturationWarning")
def test_a_window_narrower_than_the_grid():
    """Both ends may lie in the interval of the best time:
    of a large loss the tolerance is a small share.
    """
    rng, narrow = np.random.default_rng(7), 0
    for _ in range(12):
        model = draw(rng, atoms=2)
        stop = rf.early_stopping(model, tolerance=1e-6)
        ends = np.array([float(x) for x in stop.window])
        narrow += ends[1] < 1.3 * ends[0]
        finite = ends[(ends > 0) & (ends < np.inf)]
        if finite.size:
            curve = rf.learning_curve(model, finite)
            off = np.abs(np.asarray(curve.test) - float(stop.test) - 1e-6)
            assert np.all(off <= 2 * (np.asarray(curve.error) + float(stop.error))), model
    assert narrow >= 3


# ψ_p, ψ_n, t, eigenvalues, weight of the first; the better minimum is the early one in the first
# two
TWO_MINIMA = [
    (
        317.9002281333981,
        0.2741151258835154,
        2.172494942728045,
        [0.08727093859002812, 0.9305864360568289],
        0.0868761,
    ),
    (
        386.52046346512674,
        0.09999125265577434,
        1.6560438136715394,
        [0.0713370366345442, 2.0008253479106504],
        0.9161807,
    ),
    (
        2771.615294942942,
        0.09890253735242983,
        0.6505518955937696,
        [0.012842847659306971, 0.5878902504228372],
        0.831968,
    ),
    (
        5463.771732123736,
        0.3137079963466685,
        0.5938119345257347,
        [0.10269456747653048, 1.1648537619348414],
        0.86968247,
    ),
]


def with_two_minima(psi_p, psi_n, t, values, weight):
    covariance = rf.Atoms(values, [weight, 1 - weight])
    return rf.early_stopping(
        rf.RandomFeatureModel(psi_p, psi_n, t, activation="erf", covariance=covariance)
    )


@pytest.mark.filterwarnings("ignore::rfspec.SaturationWarning")
def test_the_deeper_of_two_minima():
    """They were ranked on the grid, before they were refined; now each of them is,
    and the second best is told.
    """
    for numbers in TWO_MINIMA:
        stop = judged(with_two_minima(*numbers).model)
        assert 0 < float(stop.rival.tau) < np.inf
        there = rf.learning_curve(stop.model, stop.rival.tau).test
        assert float(there) == pytest.approx(float(stop.rival.test), abs=1e-13)
        assert float(stop.test) < float(stop.rival.test) < 1.01 * float(stop.test)
        assert not bool(stop.ambiguous)


@pytest.mark.filterwarnings("ignore::rfspec.SaturationWarning")
def test_two_minima_within_their_errors_are_told():
    """At the ψ_n where the early minimum becomes the deeper one both have the same loss."""
    psi_p, psi_n, t, values, weight = TWO_MINIMA[2]

    def advantage(psi_n):
        stop = with_two_minima(psi_p, psi_n, t, values, weight)
        return float(stop.rival.test - stop.test) * (1 if stop.tau < stop.rival.tau else -1)

    tie = brentq(advantage, psi_n, 1.4 * psi_n, xtol=1e-15, rtol=1e-14)
    stop = with_two_minima(psi_p, tie, t, values, weight)
    assert bool(stop.ambiguous)
    assert f"tau = {float(stop.rival.tau):.6g} is as good within the errors" in stop.advice


def test_the_score_error_has_the_same_minimum():
    stop = rf.early_stopping(PAPER)
    curve = rf.learning_curve(PAPER, float(stop.tau) * np.array([0.999, 1.0, 1.001]))
    assert int(np.argmin(curve.score_error)) == 1
    assert float(curve.score_error[1]) == pytest.approx(float(stop.score_error), rel=1e-10)


def test_where_nothing_is_gained_by_stopping():
    """n → ∞: the sample is the population,
    and the test loss falls to its limit or is flat to rounding.
    """
    stop = rf.early_stopping(rf.RandomFeatureModel(0.5, 1e14, 0.1))
    assert float(stop.test) == pytest.approx(float(stop.test_limit), abs=1e-12)
    assert stop.regularised


def model_at(psi_n):
    return rf.RandomFeatureModel(64.0, psi_n, 0.01)


def read(psi_n):
    """Best time, both ends of the window, and the smallest score error."""
    stop = rf.early_stopping(model_at(psi_n))
    return jnp.stack([stop.tau, stop.window.lower, stop.window.upper, stop.score_error])


def test_derivatives():
    h = 1e-3
    difference = (read(8.0 + h) - read(8.0 - h)) / (2 * h)
    slopes = jax.grad(lambda n: jnp.sum(read(n) / difference))(8.0)
    assert float(slopes) == pytest.approx(4.0, rel=1e-5)


@pytest.mark.slow
def test_derivatives_one_by_one_and_over_several_models():
    h = 1e-3
    many = jax.vmap(read)(jnp.array([8.0 + h, 8.0, 8.0 - h]))
    assert np.allclose(many[1], read(8.0), rtol=1e-10)
    assert np.allclose(jax.jacfwd(read)(8.0), (many[0] - many[2]) / (2 * h), rtol=1e-5)
    onset = lambda n: rf.gap_onset(model_at(n), 0.1)[0]
    assert float(jax.grad(onset)(8.0)) == pytest.approx(
        float(onset(8.0 + h) - onset(8.0 - h)) / (2 * h), rel=1e-5
    )


def test_claimed_errors_cover_a_change_of_rounding():
    """Isotropic data, once as they are and once as two equal eigenvalues:
    the same numbers by other roundings.
    """
    one = rf.early_stopping(PAPER)
    two = rf.early_stopping(
        rf.RandomFeatureModel(64.0, 8.0, 0.01, covariance=rf.Atoms([1.0, 1.0], [0.3, 0.7]))
    )
    pairs = [(one.tau, two.tau, one.tau_error)] + [
        (getattr(one.window, e), getattr(two.window, e), getattr(one.window_error, e))
        for e in ("lower", "upper")
    ]
    for a, b, error in pairs:
        assert abs(float(a / b) - 1) <= 2 * float(error)
        assert float(error) < 1e-8


def test_onset_of_the_gap():
    for threshold in (0.01, 0.1, 0.5):
        times = rf.timescales(PAPER, "loss", threshold=threshold)
        curve = rf.learning_curve(PAPER, [float(times.tau_mem), np.inf])
        assert float(curve.gap[0] / curve.gap[1]) == pytest.approx(threshold, rel=1e-10)
    assert float(times.tau_gen) == pytest.approx(float(rf.early_stopping(PAPER).tau))
    assert bool(times.separated)
    assert "satellite" in times.reason


def test_one_search_finds_all_times(monkeypatch):
    """The rule "loss" searches once, and not at all where stopping times are known;
    nor does it along the diffusion.
    """
    stops, calls = early_stopping.stops, []
    monkeypatch.setattr(early_stopping, "stops", lambda *a: (calls.append(a), stops(*a))[1])
    times = rf.timescales(PAPER, "loss")
    assert len(calls) == 1
    stop = rf.early_stopping(PAPER)
    again = rf.timescales(stop, "loss")
    assert len(calls) == 2
    assert (float(again.tau_gen), float(again.tau_mem)) == (
        float(times.tau_gen),
        float(times.tau_mem),
    )
    assert float(stop.onset) == float(rf.gap_onset(PAPER)[0]) == float(again.tau_mem)
    rf.over_time(PAPER, [0.01, 0.02])
    assert len(calls) == 5


def test_a_gap_that_never_opens_has_no_onset():
    """Nothing is learnt without a linear part: no time is wrong for it, in a diagram neither."""
    square = rf.Polynomial([0.0, 0.0, 1.0])
    assert np.isnan(
        rf.early_stopping(rf.RandomFeatureModel(4.0, 2.0, 0.1, activation=square)).onset
    )
    cell = rf.phase_diagram([4.0], [2.0], 0.1, activation=square).squeeze()
    assert int(cell.status) == 0
    assert float(cell.error) < 1e-13
    assert np.isnan(cell.tau_mem.sel(rule="loss"))


def test_what_a_wider_window_requires():
    width = float(rf.early_stopping(PAPER).width)
    for name, bigger in (("n", 10.0), ("t", 0.5)):
        answer = rf.required(PAPER, name, for_window=bigger * width)
        assert float(rf.early_stopping(answer.model).width) == pytest.approx(
            bigger * width, rel=1e-9
        )
        assert answer.error < 1e-8
        assert float(getattr(answer.model, answer.parameter)) == answer.value
    with pytest.raises(
        ValueError, match=r"for_window must be a width that some psi_p .* has, got 1e"
    ):
        rf.required(PAPER, "p", for_window=1e30)


@pytest.mark.parametrize("count", [1, pytest.param(40, marks=pytest.mark.slow)])
def test_no_such_window_is_no_failure_to_converge(count):
    """The search goes on to times at which nothing is left of the data,
    and to ratios at which nothing can be told.
    """
    rng = np.random.default_rng(4)
    for _ in range(count):
        psi_p, psi_n, t, wide = np.exp(
            rng.uniform(np.log([0.1, 0.1, 1e-3, 1.01]), np.log([1e3, 1e3, 1.0, 9.0]))
        )
        model = rf.RandomFeatureModel(psi_p, psi_n, t)
        for name in ("t", "n", "p"):
            try:
                answer = rf.required(model, name, for_window=wide)
            except ValueError as e:
                assert str(e).startswith("for_window must be a width that some ")  # noqa: PT017
            else:
                assert float(answer.stop.width) == pytest.approx(wide, rel=1e-9)


def test_the_floor_is_the_end_of_training_on_all_data():
    """With n = ∞ the best time is ∞, whose error is that of the limit."""
    found = rf.score_exponent(rf.RandomFeatureModel(8.0, 1.0, 0.1), [4.0])
    end = rf.learning_curve(rf.RandomFeatureModel(8.0, 1e14, 0.1), np.inf)
    assert float(found.floor_error) < 1e-8
    assert float(found.floor) == pytest.approx(float(end.score_error), rel=1e-10)


@pytest.mark.slow
def test_the_running_exponent():
    """Seven score errors to three digits and their slopes, from an independent calculation;
    the slope at ψ_p = 1000.
    """
    psi_n = 4.0 * 2.0 ** np.arange(7)
    found = rf.score_exponent(rf.RandomFeatureModel(32.0, 1.0, 0.01), psi_n)
    table = [0.0829, 0.0577, 0.0378, 0.0237, 0.01453, 0.00902, 0.00590]
    assert np.allclose(found.score_error, table, rtol=2e-3)
    slopes = np.diff(np.log(found.score_error)) / np.log(2)
    assert np.allclose(slopes, [-0.52, -0.61, -0.68, -0.71, -0.69, -0.61], atol=0.006)
    between = (found.exponent[1:] + found.exponent[:-1]) / 2
    assert np.allclose(between, slopes, atol=0.01)
    assert float(found.floor) == pytest.approx(0.0024, abs=5e-5)
    assert np.all(np.asarray(found.error) < 1e-10)
    near, *_, far = rf.score_exponent(
        rf.RandomFeatureModel(32.0, 1.0, 0.01), np.geomspace(1e8, 1e9, 7)
    ).score_error
    assert float(found.floor_error) < 1e-8
    assert float((near - found.floor) / (far - found.floor)) == pytest.approx(10.0, rel=0.1)
    wide = rf.score_exponent(rf.RandomFeatureModel(1000.0, 1.0, 0.01), psi_n)
    slopes = np.diff(np.log(wide.score_error)) / np.log(2)
    assert np.allclose(slopes, [-0.54, -0.64, -0.73, -0.80, -0.85, -0.89], atol=0.006)
