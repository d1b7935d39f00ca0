"""Predictions from data: covariance estimates, files, what a held-out part measures,
how bad input fails.
"""

import csv
import json

import jax
import numpy as np
import pytest
from sklearn import covariance as reference
from typer.testing import CliRunner

import rfspec as rf
from rfspec.cli import app
from rfspec.cli.data_files import read_samples
from rfspec.cli.demo import digits
from rfspec.surveys.held_out_data import split
from rfspec.surveys.prediction import model_of

pytestmark = pytest.mark.filterwarnings("ignore::rfspec.FewDimensionsWarning")

RNG = np.random.default_rng(0)
SPREAD = np.geomspace(0.2, 2.0, 6)
X = RNG.normal(size=(60, 6)) * SPREAD
# in the limit, whose programs compile in less time than those of finite d
SMALL = {"psi_p": 4.0, "t": 0.1, "nodes": 4, "d": None}
ARGS = ["--psi-p", "4", "--t", "0.1", "--nodes", "4", "--degree", "1"]


def run(*args):
    result = CliRunner().invoke(app, ["predict", *map(str, args)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


# -------------------------------------------------------------------------------------------------
# covariance


def moments(covariance, orders):
    values, weights = np.asarray(covariance.values), np.asarray(covariance.weights)
    return np.array([weights @ values**m for m in orders])


@pytest.mark.parametrize("name", ["ledoit_wolf", "oas"])
@pytest.mark.parametrize("shape", [(40, 8), (8, 12)])
def test_shrinkage_is_that_of_scikit_learn(name, shape):
    data = RNG.normal(size=shape) * np.linspace(0.5, 2.0, shape[1]) + 3.0
    estimate = {"ledoit_wolf": reference.LedoitWolf, "oas": reference.OAS}[name]().fit(data)
    found = rf.FromData(data, shrinkage=name)
    counts = np.round(found.weights * shape[1]).astype(int)
    assert np.allclose(
        np.repeat(found.values, counts), np.linalg.eigvalsh(estimate.covariance_), rtol=1e-11
    )
    assert found.shrinkage == pytest.approx(estimate.shrinkage_, rel=1e-12)
    assert found.trace == pytest.approx(data.var(axis=0).mean(), rel=1e-12)
    assert found.n_points == shape[0]


def test_shrinkage_brings_the_eigenvalues_nearer_to_the_truth():
    data = np.random.default_rng(1).normal(size=(60, 40))
    rough, shrunk = (np.asarray(rf.FromData(data, s).values) for s in (None, "ledoit_wolf"))
    assert np.abs(shrunk - 1.0).max() < 0.3 * np.abs(rough - 1.0).max()


def test_nothing_is_rescaled_unless_asked():
    assert rf.FromData(X).trace == pytest.approx(X.var(axis=0).mean(), rel=1e-12)
    assert rf.FromData(X).shrinkage == 0.0
    assert rf.FromData(X, trace=1.0).trace == pytest.approx(1.0, rel=1e-12)
    assert rf.FromData(X, "oas", trace=2.0, nodes=3).trace == pytest.approx(2.0, rel=1e-12)


def test_data_of_any_size():
    """From the smallest to the largest doubles: with a trace all is as at size 1,
    without one what has no squares is refused.
    """
    rng, key = np.random.default_rng(3), jax.random.key(3)
    for exponent in [-990, 990, *rng.integers(-990, 990, 40)]:
        X = rng.normal(size=(30, 5)) * np.exp(rng.normal(size=5)) + rng.normal(size=5)
        scaled = np.ldexp(X, exponent)
        for shrinkage in (None, "oas"):
            expected = rf.FromData(X, shrinkage, trace=2.0).values
            assert np.array_equal(rf.FromData(scaled, shrinkage, trace=2.0).values, expected)
        parts = zip(split(key, X, 0.3, 2.0), split(key, scaled, 0.3, 2.0), strict=True)
        assert all(np.array_equal(a, b) for a, b in parts)
        if abs(exponent) < 220:
            assert np.array_equal(
                rf.FromData(scaled).values, np.ldexp(rf.FromData(X).values, 2 * exponent)
            )
        elif abs(exponent) > 250:
            with pytest.raises(
                ValueError, match=r"X must vary by 1e-70 to 1e.70, .* or come with a trace, got "
            ):
                rf.FromData(scaled)
        if exponent > 250:
            with pytest.raises(ValueError, match=r"data must be at most 1e.70 in size, .* got "):
                rf.empirical.sample(key, rf.RandomFeatureModel(4.0, 2.0, 0.1), data=scaled)


@pytest.mark.parametrize("nodes", [1, 2, 3, 8, 16])
def test_gauss_nodes_keep_2k_moments(nodes):
    data = RNG.normal(size=(200, 40)) * np.geomspace(0.05, 3.0, 40)
    full, few = rf.FromData(data), rf.FromData(data, nodes=nodes)
    assert len(few.values) == nodes
    assert np.allclose(moments(few, range(2 * nodes)), moments(full, range(2 * nodes)), rtol=1e-11)
    angle = lambda c: np.arccos(np.clip(2 * c.values / full.values.max() - 1, -1, 1))
    mean = lambda c, degree: c.weights @ np.cos(degree * angle(c))
    off = [abs(mean(few, degree) - mean(full, degree)) for degree in range(2 * nodes + 1)]
    # Chebyshev polynomials tell what powers of the largest eigenvalue hide
    assert max(off[:-1]) < 1e-13
    assert off[-1] > 10 * max(off[:-1])
    assert few.values.min() >= full.values.min()
    assert few.values.max() <= full.values.max()


def test_directions_without_variance_stay_an_atom():
    data = np.concatenate([RNG.normal(size=(200, 30)), np.full((200, 10), 7.0)], axis=1)
    few, full = rf.FromData(data, nodes=4), rf.FromData(data)
    assert few.values[0] == 0.0
    assert few.weights[0] == pytest.approx(0.25, rel=1e-12)
    assert np.allclose(moments(few, range(6)), moments(full, range(6)), rtol=1e-11)


def test_compression_error_is_the_distance_of_the_distributions():
    full, few = rf.FromData(X), rf.FromData(X, nodes=2)
    x = np.linspace(0.0, 1.1 * full.values.max(), 400001)
    F = [sum(w * (x >= v) for v, w in zip(c.values, c.weights, strict=True)) for c in (full, few)]
    distance = np.mean(np.abs(F[0] - F[1])) * x[-1]
    assert few.compression_error == pytest.approx(distance / full.trace, rel=1e-4)
    assert rf.FromData(X, nodes=6).compression_error == 0.0
    for f in (np.sin, np.sqrt, lambda v: 1 / (0.2 + v)):
        slope = np.abs(np.gradient(f(x[100:]), x[100:])).max()
        off = abs(full.weights @ f(full.values) - few.weights @ f(few.values))
        assert off <= few.compression_error * full.trace * slope


@pytest.mark.slow
def test_losses_of_a_compressed_covariance():
    """A few nodes give the digits of all eigenvalues."""
    data = RNG.normal(size=(100, 16)) * np.geomspace(0.3, 1.5, 16)
    test = [
        float(rf.learning_curve(rf.RandomFeatureModel(4.0, 6.25, 0.1, covariance=c), 30.0).test)
        for c in (rf.FromData(data), rf.FromData(data, nodes=8))
    ]
    assert test[1] == pytest.approx(test[0], rel=1e-8)


# -------------------------------------------------------------------------------------------------
# prediction


def test_prediction_is_that_of_the_model():
    found = rf.predict(X, **SMALL)
    model = rf.RandomFeatureModel(4.0, 10.0, 0.1, covariance=rf.FromData(X, nodes=4))
    assert (found.n, found.d, found.sigma.rank) == (60, 6, 6)
    values = np.linalg.eigvalsh(np.cov(X.T, bias=True))
    assert found.sigma.condition == pytest.approx(values[-1] / values[0], rel=1e-9)
    assert found.sigma.effective_rank == pytest.approx(
        values.sum() ** 2 / (values**2).sum(), rel=1e-9
    )
    stop = rf.early_stopping(model)
    assert float(found.stop.tau) == pytest.approx(float(stop.tau), rel=1e-12)
    for rule in ("paper", "spectrum", "loss"):
        assert float(found.times[rule].tau_mem) == pytest.approx(
            float(rf.timescales(model, rule).tau_mem), nan_ok=True
        )
    assert float(found.wider.stop.width) == pytest.approx(2 * float(stop.width), rel=1e-6)
    assert found.more == int(np.ceil(found.wider.value * 6)) - 60


LAW = rf.FromData(X)


def test_degrees_are_followed_at_the_dimension_of_the_data():
    """Or the prediction is that of the limit: where it is asked for, and where d is refused."""
    of = lambda **how: model_of(LAW, X.shape, 4.0, 0.1, 4, **how)
    limit = rf.RandomFeatureModel(4.0, 10.0, 0.1, covariance=LAW.compressed(4))
    assert of() == of(d=6) == (limit.replace(d=6), "")
    assert of(degree=2) == (limit.replace(d=6, degree=2), "")
    assert of(d=None) == (limit, "")
    assert of(degree=1)[0].d is None
    drawn, reason = of(noise_draws=3)
    assert drawn == limit.replace(noise_draws=3)
    assert "d goes with noise_draws=inf only" in reason
    # 400 features and samples of 84 polynomials of degree 3 in 6 variables
    many, reason = model_of(LAW, (4000, 6), 400.0, 0.1)
    assert many.d is None
    assert "fewer features or samples than the 210 polynomials" in reason


def test_a_prediction_says_its_theory():
    found = rf.predict(X, **SMALL)
    assert found.theory == "the limit d -> inf"
    refused = found._replace(reasons={"d": "it is refused"})
    assert refused.theory == "the limit d -> inf, since it is refused"
    followed = found._replace(model=found.model.replace(d=6))
    assert followed.theory == "d = 6, Hermite degrees 1 to 4"
    for one in (found, refused, followed):
        assert f"theory               {one.theory}" in repr(one).splitlines()


@pytest.mark.slow
def test_the_default_is_that_of_the_data_s_dimension(tmp_path):
    """In Python, of a check and its draws, and by the command."""
    how = {**SMALL, "d": "columns", "activation": "relu"}
    found, limit = rf.predict(X, **how), rf.predict(X, **{**how, "d": None})
    model = rf.RandomFeatureModel(
        4.0, 10.0, 0.1, activation="relu", covariance=rf.FromData(X, nodes=4), d=6
    )
    assert found.model == model
    stop = rf.early_stopping(model)
    assert float(found.stop.tau) == pytest.approx(float(stop.tau), rel=1e-9)
    assert abs(float(found.stop.test_limit) / float(limit.stop.test_limit) - 1.0) > 0.05
    checked = rf.held_out(0, X, repeats=2, **how)
    assert {draw.stop.model.d for draw in checked.draws} == {6}
    assert checked.of_all_rows.model == model
    np.save(tmp_path / "x.npy", X)
    args = [tmp_path / "x.npy", *ARGS[:-2], "--activation", "relu"]
    assert f"theory               {found.theory}" in run(*args)
    report = json.loads(run(*args, "--json"))
    assert report["theory"] == found.theory
    assert report["stop"]["tau"] == pytest.approx(float(found.stop.tau), rel=1e-9)
    refused = run(*args, "--noise-draws", "3")
    assert "theory               the limit d -> inf, since d goes with noise_draws=inf" in refused


@pytest.mark.slow
def test_gaussian_data_of_few_directions_obey_the_default():
    """Late losses of relu, off by a fifth and more in the limit."""
    data = np.random.default_rng(1).normal(size=(900, 32)) / np.sqrt(np.arange(1, 33))
    how = {"activation": "relu", "trace": 1.0, "repeats": 2, "nodes": 8}
    followed = rf.held_out(0, data, 16.0, 0.1, **how).verdict.check
    limit = rf.held_out(0, data, 16.0, 0.1, d=None, **how).verdict.check
    assert abs(followed.late.relative) < 0.05
    assert limit.late.relative > 2 * abs(followed.late.relative)


def test_a_window_without_end_needs_no_more_samples():
    found = rf.predict(np.random.default_rng(0).normal(size=(2400, 6)), **SMALL)
    assert bool(found.stop.regularised)
    assert found.more is None
    assert "training may go on" in found.reasons["wider"]


def test_gaussian_data_obey_the_prediction():
    """At d = 12 losses on held-out rows agree to O(1/d), and the best time to a factor of two."""
    data = np.random.default_rng(2).normal(size=(240, 12))
    found = rf.held_out(jax.random.key(0), data, 4.0, 0.1, share=0.4, nodes=4, d=None)
    assert (found.prediction.n, found.n_test) == (144, 96)
    for kind in ("train", "test"):
        gap = np.abs(np.asarray(getattr(found.predicted, kind) - getattr(found.measured, kind)))
        assert gap[: len(gap) // 2].max() < 0.05
    assert found.test <= found.measured_at_stop < found.test + 0.05


def test_digits_with_a_held_out_split():
    found = rf.held_out(jax.random.key(0), digits()[:400], 1.0, 0.1, nodes=4, d=None)
    assert (found.prediction.n, found.n_test, found.prediction.d) == (320, 80, 64)
    early = np.asarray(found.predicted.tau) < float(found.prediction.stop.tau)
    assert np.abs(np.asarray(found.predicted.train - found.measured.train))[early].max() < 0.06
    assert found.test <= float(np.min(found.measured.test)) + 1e-9


def test_the_held_out_part_is_never_seen():
    """Mean, scale and covariance are those of the training part."""

    train, test = split(jax.random.key(0), X + 5.0, 0.2, 2.0)
    assert (len(train), len(test)) == (48, 12)
    assert np.allclose(train.mean(0), 0.0, atol=1e-12)
    assert np.mean(train**2) == pytest.approx(2.0)
    other = X + 5.0
    order = np.asarray(jax.random.permutation(jax.random.split(jax.random.key(0))[0], 60))
    other[order[:12]] *= 100.0
    assert np.array_equal(split(jax.random.key(0), other, 0.2, 2.0)[0], train)


# --------------------------------------------------------------------------------------------------
# files


def test_every_file_holds_the_same_samples(tmp_path):
    np.save(tmp_path / "x.npy", X)
    np.savez(tmp_path / "one.npz", X)
    np.savez(tmp_path / "two.npz", a=X[:3], b=X)
    np.savetxt(tmp_path / "plain.csv", X, delimiter=",", fmt="%.17g")
    np.savetxt(
        tmp_path / "header.csv", X, delimiter=",", fmt="%.17g", header="a,b,c,d,e,f", comments=""
    )
    (tmp_path / "mark.csv").write_text(
        "\ufeff" + (tmp_path / "plain.csv").read_text(), encoding="utf-8"
    )
    for name, key in (("x.npy", None), ("one.npz", None), ("two.npz", "b"), ("plain.csv", None),
        ("header.csv", None),
                      ("mark.csv", None)):  # fmt: skip
        assert np.array_equal(read_samples(tmp_path / name, key), X)


def test_report_and_files(tmp_path):
    np.save(tmp_path / "x.npy", X)
    out = run(tmp_path / "x.npy", *ARGS, "--out", tmp_path / "p.csv")
    for words in (
        "n = 60, d = 6, psi_n = 10",
        "compressed to 4 eigenvalues",
        "best training time",
        "more samples",
    ):
        assert words in out
    lines = (tmp_path / "p.csv").read_text().splitlines()
    rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    assert len(rows) == 25
    assert float(rows[0]["test"]) > float(rows[8]["test"])
    report = json.loads(run(tmp_path / "x.npy", *ARGS, "--normalise", "--shrinkage", "oas",
        "--json", "--out",
                            tmp_path / "p.json"))  # fmt: skip
    assert report == json.loads((tmp_path / "p.json").read_text())
    assert report["sigma"]["trace"] == pytest.approx(1.0)
    assert report["sigma"]["shrinkage"] > 0
    direct = rf.predict(X, **SMALL, trace=1.0, shrinkage="oas")
    assert report["stop"]["tau"] == pytest.approx(float(direct.stop.tau), rel=1e-12)
    assert report["wider"]["more_samples"] == direct.more
    assert set(report["tau_gen"]) == {"paper", "spectrum", "loss"}


def test_check(tmp_path):
    np.save(tmp_path / "x.npy", X)
    out = run(tmp_path / "x.npy", *ARGS, "--check", "--out", tmp_path / "p.png")
    assert "checked on 12 samples held out, predicted from the other 48" in out
    assert "the prediction above is from all 60" in out
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    found = rf.held_out(0, X, **SMALL)
    assert f"measured {found.tau:.6g}" in out
    assert out.rstrip().endswith(found.verdict.text)
    report = json.loads(run(tmp_path / "x.npy", *ARGS, "--check", "--json"))
    assert (report["n"], report["psi_n"], report["check"]["n_train"]) == (60, 10.0, 48)
    assert report["stop"]["tau"] == pytest.approx(float(rf.predict(X, **SMALL).stop.tau), rel=1e-12)
    assert report["check"]["test_error"] == pytest.approx(found.test_error, rel=1e-9)
    assert np.allclose(report["check"]["curve"]["measured_test"], found.measured.test, rtol=1e-12)
    assert report["verdict"]["sentences"] == list(found.verdict.sentences)


# --------------------------------------------------------------------------------------------------
# bad input

FILES = {
    "text.csv": ("a,b\n1,2\nx,3\n", "could not convert string 'x' to float64 at line 3, column 1"),
    "missing.csv": ("a,b\n1,2\n,3\n", "could not convert string ''"),
    "ragged.csv": ("1,2\n3\n", "columns changed"),
    "nan.csv": ("1,2\nnan,3\n", "X must be a finite real matrix .*, got nan"),
    "one.csv": ("1,2\n", r"at least two rows, got an array of shape \(1, 2\)"),
    "header.csv": ("a,b\n", "X must be .* got an array of shape"),
    "empty.csv": ("", "X must be .* got an array of shape"),
    "equal.csv": ("1,2\n1,2\n", "X must vary, got 2 equal rows"),
    "x.txt": ("1,2\n3,4\n", "data must be a .npy, .npz or .csv file"),
    "broken.npy": ("nothing", "data must be a numeric matrix"),
    "broken.npz": ("nothing", "data must be a numeric matrix"),
}


def fails(*args):
    with pytest.raises(ValueError) as e:  # noqa: PT011  the message is matched by the caller
        CliRunner().invoke(app, ["predict", *map(str, args)], catch_exceptions=False)
    assert "\n" not in str(e.value)
    return str(e.value)


@pytest.mark.parametrize("name", FILES)
def test_bad_files(name, tmp_path):
    import re

    text, message = FILES[name]
    (tmp_path / name).write_text(text)
    assert re.search(message, fails(tmp_path / name, *ARGS))


def test_bad_options(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, a=X, b=X)
    np.save(tmp_path / "x.npy", X)
    assert "key must be one of the arrays in" in fails(path, *ARGS)
    assert "a, b, got 'c'" in fails(path, *ARGS, "--key", "c")
    assert "key goes with a .npz file" in fails(tmp_path / "x.npy", *ARGS, "--key", "a")
    assert "data must be an existing file" in fails(tmp_path / "none.npy", *ARGS)
    assert "out must end in one of" in fails(tmp_path / "x.npy", *ARGS, "--out", "p.txt")
    assert "give one of normalise and trace" in fails(
        tmp_path / "x.npy", *ARGS, "--normalise", "--trace", "2"
    )
    assert "shrinkage must be None or one of" in fails(
        tmp_path / "x.npy", *ARGS, "--shrinkage", "half"
    )
    assert "share must be between 0 and 1" in fails(
        tmp_path / "x.npy", *ARGS, "--check", "--share", "1.5"
    )
    assert "nodes must be an integer of at least 1, got -1" in fails(
        tmp_path / "x.npy", *ARGS[:5], "-1"
    )
    assert "degree must be an integer from 1 to 6, got 7" in fails(
        tmp_path / "x.npy", *ARGS[:-1], "7"
    )


CASES = {
    "shrinkage": (
        lambda: rf.FromData(X, "half"),
        "shrinkage must be None or one of ledoit_wolf, oas, got 'half'",
    ),
    "trace": (lambda: rf.FromData(X, trace=0.0), "trace must be .* greater than 0, got 0.0"),
    "nodes": (lambda: rf.FromData(X, nodes=-1), "nodes must be an integer of at least 1, got -1"),
    "nodes true": (lambda: rf.FromData(X, nodes=True), "nodes must be an integer .*, got True"),
    "nodes real": (lambda: rf.FromData(X).compressed(2.0), "nodes must be an integer .*, got 2.0"),
    "nodes with zeros": (lambda: rf.FromData(X * (SPREAD > 1), nodes=1),
        "at least 2, one for the eigenvalues 0"),
    "rows": (lambda: rf.held_out(jax.random.key(0), X[:3], 4.0, 0.1),
        "X must have at least four rows"),
    "share": (lambda: rf.held_out(jax.random.key(0), X, 4.0, 0.1, share=1.0),
        "share must be between 0 and 1, got 1.0"),
    "d": (lambda: rf.predict(X, 4.0, 0.1, d=7),
        "d must be the 6 columns of the data, or None for the limit, got 7"),
    "d with draws": (lambda: rf.predict(X, 4.0, 0.1, d=6, noise_draws=3),
        "d goes with noise_draws=inf only"),
    "wider": (lambda: rf.predict(X, 4.0, 0.1, wider=1.0),
        "wider must be .* greater than 1, got 1.0"),
    "held_out alone": (
        lambda: rf.empirical.sample(jax.random.key(0), rf.RandomFeatureModel(2.0, 2.0, 0.1), 6,
            held_out=X),
        "held_out goes with data",
    ),
    "held_out columns": (
        lambda: rf.empirical.sample(
            jax.random.key(0), rf.RandomFeatureModel(2.0, 2.0, 0.1), data=X, held_out=X[:, :5]
        ),
        "held_out must have d = 6 columns, got 5",
    ),
    "held_out rows": (
        lambda: rf.empirical.sample(
            jax.random.key(0), rf.RandomFeatureModel(2.0, 11.0, 0.1), data=X, held_out=X
        ),
        "data must have at least n = psi_n d = 66 rows, got 60",
    ),
}  # fmt: skip


@pytest.mark.usefixtures("given_anything")
@pytest.mark.parametrize("case", CASES)
def test_bad_arguments(case):
    call, message = CASES[case]
    with pytest.raises(ValueError, match=message):
        call()


def test_a_constant_column_is_fine(tmp_path):
    constant = X.copy()
    constant[:, 2] = 3.0
    assert rf.FromData(constant).values[0] == 0.0
