"""How far a prediction from data is to be believed, how long it takes in steps,
and what repeated checks say.
"""

import json

import jax
import numpy as np
import pytest
from sklearn.datasets import load_digits
from typer.testing import CliRunner

import rfspec as rf
from rfspec.cli import app
from rfspec.surveys.data_moments import moments, shares_of
from rfspec.surveys.held_out_data import split
from rfspec.surveys.verdict import verdict_on

pytestmark = pytest.mark.filterwarnings("ignore::rfspec.FewDimensionsWarning")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 6)) * np.geomspace(0.2, 2.0, 6)
SMALL = {"psi_p": 4.0, "t": 0.1, "nodes": 4, "d": None}
SCALES = np.array([0.5, 1.5])  # of |x|² in two classes


def of(data, activation="tanh", psi_p=8.0, t=0.1, d=None, degree=3):
    law = rf.FromData(data, trace=1.0, nodes=8)
    model = rf.RandomFeatureModel(
        psi_p,
        len(data) / data.shape[1],
        t,
        activation=activation,
        covariance=law,
        d=d,
        degree=degree,
    )
    return verdict_on(data, model)


def elliptical(rng, n, d):
    return rng.normal(size=(n, d)) * np.sqrt(rng.choice(SCALES, size=(n, 1)))


# --------------------------------------------------------------------------------------------------
# what the data say


def test_the_kurtosis_is_that_of_random_projections():
    rng = np.random.default_rng(1)
    data = rng.exponential(size=(2000, 5)) * np.linspace(0.5, 1.5, 5)
    data -= data.mean(0)

    def of_some_projections():
        projected = data @ rng.normal(size=(5, 500))
        return np.mean(projected**4) / np.mean(np.mean(projected**2, axis=0) ** 2) - 3.0

    drawn = [of_some_projections() for _ in range(20)]
    error = np.std(drawn, ddof=1) / np.sqrt(len(drawn))
    assert abs(moments(data)[2] - np.mean(drawn)) < 5 * error


@pytest.mark.parametrize("draw", [lambda rng, n, d: rng.normal(size=(n, d)), elliptical])
@pytest.mark.parametrize(("n", "d"), [(60, 6), (80, 200), (400, 30)])
def test_rank_and_kurtosis_are_as_far_from_the_truth_as_they_say(draw, n, d):
    spread = np.geomspace(0.5, 2.0, d)
    rank = np.sum(spread**2) ** 2 / np.sum(spread**4)
    # of x = √a z it is 3 Var a/(E a)²
    excess = 0.0 if draw is not elliptical else 3.0 * np.var(SCALES)
    off = []
    for seed in range(60):
        data = draw(np.random.default_rng(seed), n, d) * spread
        r, r_error, kurtosis, kurtosis_error = moments(data - data.mean(0))
        off.append([(r - rank) / r_error, (kurtosis - excess) / kurtosis_error])
    off = np.array(off)
    # the mean of 60, and what a ratio of averages is off by
    assert np.abs(off.mean(0)).max() < 3 / np.sqrt(60) + 0.3
    assert off.std(0).max() < 1.6
    assert off.std(0).min() > 0.4


def test_few_rows_have_no_standard_error():
    r, r_error, kurtosis, kurtosis_error = moments(np.array([[1.0, 2.0], [-1.0, 0.5], [0.0, -2.5]]))
    assert np.isfinite([r, kurtosis]).all()
    assert np.isnan([r_error, kurtosis_error]).all()
    text = of(RNG.normal(size=(3, 4))).text
    assert "nan" not in text


def test_shares_of_degrees_have_closed_forms():
    process = rf.OrnsteinUhlenbeck(0.1)
    signal = float(process.alpha**2)  # Γ = 1 for Tr Σ/d = 1
    relu = shares_of(rf.RandomFeatureModel(2.0, 2.0, 0.1, activation="relu"))
    variance = 1 / 2 - 1 / (2 * np.pi)
    assert relu == pytest.approx((signal**2 / (4 * np.pi) / variance, 0.0), rel=1e-4, abs=1e-12)
    hermite = rf.Polynomial([0.0, -3.0, 0.0, 1.0])
    cubic = shares_of(rf.RandomFeatureModel(2.0, 2.0, 0.1, activation=hermite))
    assert cubic == pytest.approx((0.0, signal**3), rel=1e-9, abs=1e-12)


def test_data_of_many_directions_are_believed_and_of_few_are_not():
    rng = np.random.default_rng(2)
    wide, narrow = rng.normal(size=(300, 120)), rng.normal(size=(600, 4))
    assert of(wide, psi_p=1.0).late == "right"
    assert of(narrow, "relu", psi_p=100.0).late == "off"
    assert of(narrow, "relu", psi_p=100.0).degrees[0].learnt == pytest.approx(400 / 8, rel=0.1)
    # tanh has no even part
    degree_two = of(narrow, psi_p=100.0).degrees[0]
    assert degree_two.share < 1e-12
    assert of(elliptical(rng, 600, 120), psi_p=1.0).late == "roughly right"


def test_at_the_data_s_dimension_only_what_is_not_gaussian_is_unforeseen():
    rng, spread = np.random.default_rng(3), 1 / np.arange(1, 13)
    gaussian = rng.normal(size=(4000, 12)) * spread
    limit, followed = of(gaussian), of(gaussian, d=12)
    assert followed.nearly_gaussian
    assert (limit.late, limit.followed) == ("off", 1)
    assert (followed.late, followed.followed) == ("right", 3)
    assert "unforeseen by the theory" in limit.text
    assert "as the theory follows for Gaussian data" in followed.text
    # of tanh the third degree counts
    assert of(gaussian, d=12, psi_p=5.0, degree=2).late == "off"
    assert of(elliptical(rng, 4000, 12) * spread, d=12).late == "off"
    few = of(gaussian[:60], d=12)
    assert (few.narrow, few.late) == (True, "off")
    assert few.text.count("not to be relied on") == 2
    # in the limit, and where degree 3 is too small to matter
    assert not of(gaussian[:60]).narrow
    assert not of(gaussian[:60], d=12, t=1.0).narrow


@pytest.mark.parametrize("d", [None, 12])
def test_heavy_tails_change_even_early_losses(d):
    rng = np.random.default_rng(4)
    data = rng.normal(size=(2000, 12)) * np.exp(0.6 * rng.normal(size=(2000, 1)))
    verdict = of(data, d=d, psi_p=1.0)
    assert verdict.kurtosis > 5.0
    assert (verdict.heavy, verdict.late) == (True, "off")
    assert "early losses, while train and test loss agree: off where" in verdict.text


def test_constant_columns_are_counted():
    verdict = of(load_digits().data)
    assert verdict.constant_columns == int(np.sum(load_digits().data.std(0) == 0))
    assert f"{verdict.constant_columns} of 64 columns are constant" in verdict.text
    assert "no column is constant" in of(X).text


def test_the_verdict_knows_nothing_of_units():
    text = of(X).text
    for size in (1e-6, 1e6):
        assert of(size * X + 3.0 * size).text == text


def test_what_is_printed_ends_with_the_verdict():
    found = rf.predict(X, **SMALL)
    assert repr(found).endswith(found.verdict.text)
    assert found.verdict.text.splitlines()[-1].startswith("- not checked")
    assert "best training time" in repr(found)
    assert "f64[" not in repr(found)
    assert found._repr_html_().startswith("<pre>")


# --------------------------------------------------------------------------------------------------
# steps


def test_steps_reach_the_window_that_was_predicted():
    """The exact losses after that many steps are the least one plus the tolerance."""
    found = rf.predict(X, **SMALL)
    for optimizer, momentum in (("gd", 0.0), ("momentum", 0.9)):
        steps = found.steps(0.02, optimizer, momentum=0.9)
        step = 0.02 / found.d**2
        for count in (steps.lower, steps.upper):
            after = rf.learning_curve(found.model, count * step, step, momentum=momentum)
            assert float(after.test) == pytest.approx(float(found.stop.test) + 0.01, abs=2e-4)


def test_epochs_see_each_sample_once():
    found = rf.predict(X, **SMALL)
    full, batches = found.steps(0.02), found.steps(0.02, "sgd", batch_size=12)
    assert full.per_epoch == 1.0
    assert batches.per_epoch == 5.0
    assert batches.best == full.best
    assert batches.epochs[0] == pytest.approx(batches.best * 12 / 60)
    script = found.steps(0.02 / (6**2 * 4.0 / 6), convention="script")
    assert script.best == pytest.approx(full.best)
    assert full.text.startswith("stop after ")
    assert "epochs (between" in full.text


def test_without_an_end_there_is_a_least_number_of_steps():
    data = np.random.default_rng(0).normal(size=(2400, 6))
    assert "without end" in rf.predict(data, **SMALL).steps(0.1).text


NO_STEPS = {
    "adam": ({"optimizer": "adam"}, r'has no clock.*rf\.empirical\.learning_curve\(.*"adam"'),
    "unknown": ({"optimizer": "lbfgs"}, "optimizer must be one of gd, .*, got 'lbfgs'"),
    "rate": ({"learning_rate": 0.0}, "learning_rate must be .* greater than 0, got 0.0"),
    "unstable": ({"learning_rate": 1e6}, "learning_rate must be below .* to be stable for gd"),
    "momentum": ({"momentum": 1.0}, r"momentum must be a number in \[0, 1\), got 1.0"),
    "batch": ({"batch_size": 61}, "batch_size must be an integer from 1 to 60, got 61"),
    "clock": ({"convention": "paper"}, 'convention must be "theory" or "script"'),
}


@pytest.fixture(scope="module")
def small():
    return rf.predict(X, **SMALL)


@pytest.mark.usefixtures("given_anything")
@pytest.mark.parametrize("case", NO_STEPS)
def test_steps_that_make_no_sense(case, small):
    given, message = NO_STEPS[case]
    with pytest.raises(ValueError, match=message):
        small.steps(**{"learning_rate": 0.02, **given})


# --------------------------------------------------------------------------------------------------
# the check


@pytest.fixture(scope="module")
def checked():
    return rf.held_out(0, X, repeats=3, **SMALL)


def test_means_and_errors_are_those_of_the_draws(checked):
    assert len(checked.draws) == 3
    tests = [draw.test for draw in checked.draws]
    assert checked.test == pytest.approx(np.mean(tests))
    assert checked.test_error == pytest.approx(np.std(tests, ddof=1) / np.sqrt(3))
    logs = np.log([draw.tau for draw in checked.draws])
    assert checked.tau == pytest.approx(np.exp(logs.mean()))
    assert checked.tau_error == pytest.approx(logs.std(ddof=1) / np.sqrt(3))
    each = np.array([draw.measured.train for draw in checked.draws])
    assert np.allclose(checked.measured.train, each.mean(0), rtol=1e-12)
    errors = each.std(0, ddof=1) / np.sqrt(3)
    assert np.allclose(checked.measured.standard_error.train, errors, rtol=1e-9)
    assert len({float(draw.stop.tau) for draw in checked.draws}) == 3  # of other rows each


def test_the_first_draw_is_that_of_a_single_one(checked):
    single = rf.held_out(jax.random.key(0), X, repeats=1, **SMALL)
    assert single.tau == pytest.approx(checked.draws[0].tau, rel=1e-12)
    assert single.predicted_tau == pytest.approx(float(checked.draws[0].stop.tau), rel=1e-12)
    assert np.isnan([single.tau_error, single.test_error]).all()
    assert "nan" not in repr(single)


def test_the_prediction_to_use_counts_all_rows(checked):
    assert (checked.of_all_rows.n, float(checked.of_all_rows.model.psi_n)) == (60, 10.0)
    assert (checked.prediction.n, checked.n_test) == (48, 12)
    alone = rf.predict(X, **SMALL)
    assert float(checked.of_all_rows.stop.tau) == float(alone.stop.tau)
    assert checked.verdict._replace(check=None) == alone.verdict


def test_the_verdict_compares_with_what_was_measured(checked):
    check = checked.verdict.check
    late = [float(d.predicted.test[-1] - d.measured.test[-1]) for d in checked.draws]
    assert check.late.value == pytest.approx(np.mean(late))
    assert check.late.standard_errors == pytest.approx(
        np.mean(late) / (np.std(late, ddof=1) / np.sqrt(3))
    )
    ratios = [d.tau / float(d.stop.tau) for d in checked.draws]
    assert check.later == pytest.approx(np.exp(np.mean(np.log(ratios))))
    assert check.price >= 0
    early = abs(check.early.relative)
    assert early < 0.05 < abs(check.late.relative)
    assert repr(checked).endswith(checked.verdict.text)
    assert "not checked" not in checked.verdict.text


def test_a_data_frame_is_a_matrix():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=list("abcdef"))
    parts = [split(jax.random.key(1), given, 0.2, None) for given in (frame, X)]
    assert all(np.array_equal(a, b) for a, b in zip(*parts, strict=True))
    assert rf.predict(frame, **SMALL).verdict.text == rf.predict(X, **SMALL).verdict.text


@pytest.mark.usefixtures("given_anything")
@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: rf.held_out(X), r"key must be a jax\.random\.key"),
        (lambda: rf.held_out(0, X, t=0.1), "psi_p must be a finite real number .*, got None"),
        (lambda: rf.held_out(0, X, 4.0, 0.1, repeats=0), "repeats must be an integer of at least"),
    ],
)
def test_what_is_missing_is_named(ask, message):
    with pytest.raises(ValueError, match=message):
        ask()


# --------------------------------------------------------------------------------------------------
# the command


def test_the_command_says_when_to_stop_and_how_far_to_believe_it(tmp_path, small):
    np.save(tmp_path / "x.npy", X)
    args = ["predict", str(tmp_path / "x.npy"), "--psi-p", "4", "--t", "0.1", "--nodes", "4"]
    args += ["--degree", "1"]
    method = ["--learning-rate", "0.02", "--optimizer", "momentum", "--momentum", "0.8"]
    result = CliRunner().invoke(app, [*args, *method, "--batch-size", "20"], catch_exceptions=False)
    steps = small.steps(0.02, "momentum", momentum=0.8, batch_size=20)
    assert steps.text in result.output.splitlines()
    assert result.output.endswith(small.verdict.text + "\n")
    report = json.loads(
        CliRunner().invoke(app, [*args, *method, "--json"], catch_exceptions=False).output
    )
    assert report["steps"]["best"] == pytest.approx(steps.best, rel=1e-12)
    assert report["verdict"]["effective_rank"] == pytest.approx(small.verdict.effective_rank)
    assert report["verdict"]["check"] is None
