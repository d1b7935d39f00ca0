"""Trajectories: exact ones against explicit steps, stepwise ones against each other,
and runs that are killed.
"""

import os
import signal
import subprocess
import sys
import time
from functools import cache

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import optax
import pytest
import xarray

import rfspec as rf
from rfspec.empirical.dynamics import rate
from rfspec.files.io import dataset_of, write_dataset
from rfspec.training.filters import learned

MODEL = rf.RandomFeatureModel(8.0, 2.0, 0.05)


@cache
def drawn():
    return rf.empirical.sample(jax.random.key(0), MODEL, 12)


@cache
def basis():
    return rf.empirical.eigenbasis(drawn())


def explicit(matrices, eta, method, mu, steps):
    """Train losses of the recurrences as they are written, one step after the other."""
    U, V = np.asarray(matrices.U), np.asarray(matrices.V)
    beta, c = float(matrices.model.process.beta), rate(matrices, eta)
    loss = lambda M: 1 + (beta**2 * np.sum((M @ U) * M) + 2 * beta * np.sum(M * V.T)) / matrices.d
    gradient = lambda M: c * (M @ U + V.T / beta)
    M = last = np.zeros((matrices.d, matrices.p))
    losses = []
    for k in range(max(steps) + 1):
        if k in steps:
            losses.append(loss(M))
        ahead = M + mu * (M - last)
        M, last = (ahead - gradient(M if method == "momentum" else ahead)), M
    return np.array(losses)


@pytest.mark.parametrize("method", ["gd", "momentum", "nesterov"])
@pytest.mark.parametrize("share", [0.03, 0.7, 0.999])
def test_exact_trajectories_against_explicit_steps(method, share):
    mu = 0.0 if method == "gd" else 0.85
    most = {"gd": 2.0, "momentum": 2 * (1 + mu), "nesterov": 2 * (1 + mu) / (1 + 2 * mu)}[method]
    eta = share * most / (rate(drawn(), 1.0) * float(basis().eigenvalues[-1]))
    steps = [0, 1, 2, 3, 10, 57, 400]
    exact = rf.empirical.trajectory(basis(), steps, eta, optimizer=method, momentum=mu)
    assert np.allclose(exact.train, explicit(drawn(), eta, method, mu, steps), rtol=0, atol=1e-10)
    assert np.allclose(exact.tau, np.array(steps) * eta / 144)


def test_residual_polynomials_at_double_roots_and_both_ends_of_stability():
    """Against the recurrences in 60 digits;
    an error of one rounding of x moves r_k by |r_k'| of it.
    """
    rng = np.random.default_rng(0)
    for method, mu in [("gd", 0.0)] + [
        (m, mu) for m in ("momentum", "nesterov") for mu in (0.0, 1e-3, 0.5, 0.9)
    ]:
        most = {"gd": 2.0, "momentum": 2 * (1 + mu), "nesterov": 2 * (1 + mu) / (1 + 2 * mu)}[
            method
        ]
        at = [
            (1 - np.sqrt(mu)) ** 2,
            (1 + np.sqrt(mu)) ** 2,
            ((1 - mu) / (1 + mu)) ** 2,
            1.0,
            1 + mu,
        ]
        x = np.array(
            [s * (1 + e) for s in at for e in (0.0, 1e-15, -1e-13, 1e-9, -1e-6, 1e-4, -1e-2)]
        )
        x = np.concatenate([x, most * np.exp(rng.uniform(-25, 0, 20))])
        x = x[(x > 0) & (x < most)]
        for k in (0, 1, 2, 3, 50):
            shares = learned(x, k, method, mu)
            with mp.workdps(60):
                for at, value in zip(x, shares, strict=True):
                    exact = 1 - residual(at, k, method, mu)
                    error = abs(float(exact - mp.mpf(float(value))))
                    assert error < 1e-12
                    if at < 0.01 * (1 - mu) ** 2:  # a slow mode: relative accuracy
                        assert error <= 1e-13 * float(exact)


def residual(x, k, method, mu):
    x, mu = mp.mpf(float(x)), mp.mpf(float(mu))
    before, now = mp.mpf(1), 1 - x
    if method == "gd" or k == 0:
        return (1 - x) ** k
    for _ in range(k - 1):
        step = (
            (1 + mu - x) * now - mu * before
            if method == "momentum"
            else (1 - x) * ((1 + mu) * now - mu * before)
        )
        before, now = now, step
    return now


def test_a_billion_steps_are_gradient_flow():
    eta = 1e-6 * 12**2
    descent = rf.empirical.trajectory(basis(), [10**9], eta)
    flow = rf.empirical.gradient_flow(basis(), descent.tau)
    assert float(descent.test[0]) == pytest.approx(float(flow.test[0]), rel=1e-6)
    slow = rf.empirical.trajectory(basis(), [10**9], eta * 0.1, optimizer="momentum", momentum=0.9)
    # μ = 0.9 is ten times as fast
    assert float(slow.test[0]) == pytest.approx(float(flow.test[0]), rel=1e-5)


def test_stepwise_descent_is_the_exact_one():
    eta = 0.5 / rate(drawn(), 1.0) / float(basis().eigenvalues[-1])
    steps = [0, 5, 80]
    exact = rf.empirical.trajectory(basis(), steps, eta)
    assert np.allclose(
        rf.empirical.gradient_descent(drawn(), steps, eta).test, exact.test, rtol=0, atol=1e-10
    )
    key = jax.random.key(3)
    walked = rf.empirical.train(
        key, MODEL, steps, 8, optimizer=optax.sgd(30.0, 0.9), learning_rate=30.0
    )
    matrices = rf.empirical.sample(key, MODEL, 8)
    heavy = rf.empirical.trajectory(matrices, steps, 30.0, optimizer="momentum", momentum=0.9)
    assert np.allclose(walked.train, heavy.train, rtol=0, atol=1e-10)


def test_adam_against_its_own_formula():
    """Kingma and Ba's update with the exact gradient, written out."""
    key, eta = jax.random.key(5), 0.02
    walked = rf.empirical.train(key, MODEL, [0, 1, 25], 6, optimizer="adam", learning_rate=eta)
    m = rf.empirical.sample(key, MODEL, 6)
    U, V, beta = np.asarray(m.U), np.asarray(m.V), float(MODEL.process.beta)
    A, first, second = np.zeros((6, m.p)), 0.0, 0.0
    for k in range(1, 26):
        gradient = 2 / 6 * (beta**2 * A @ U / m.p + beta * V.T / np.sqrt(m.p))
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        A = A - eta * (first / (1 - 0.9**k)) / (np.sqrt(second / (1 - 0.999**k)) + 1e-8)
    loss = 1 + (beta**2 / m.p * np.sum((A @ U) * A) + 2 * beta / np.sqrt(m.p) * np.sum(A * V.T)) / 6
    assert float(walked.train[2]) == pytest.approx(loss, abs=1e-10)
    again = rf.empirical.train(key, MODEL, [0, 1, 25], 6, optimizer="adam", learning_rate=eta)
    assert np.array_equal(walked.test, again.test)


@pytest.mark.parametrize("draws", [{"fresh_draws": 1}, {"fresh_draws": 3, "batch_size": 5}])
def test_drawn_gradients_have_the_exact_mean(draws):
    """One step of SGD moves A by -η times the drawn gradient; its mean over keys is exact."""
    from rfspec.empirical.draws import Sampling, drawn
    from rfspec.empirical.features import matrices_of
    from rfspec.empirical.steps import Run

    draw = drawn(jax.random.key(0), MODEL, Sampling(6))
    matrices = matrices_of(MODEL, draw)
    A = jnp.asarray(np.random.default_rng(0).normal(size=(6, matrices.p)))
    run = Run(
        matrices,
        (draw.W, draw.X, 0.0),
        optax.sgd(1.0),
        draws["fresh_draws"],
        draws.get("batch_size"),
    )
    each = jax.vmap(lambda key: run.gradient(key, A))(jax.random.split(jax.random.key(1), 4000))
    exact = Run(matrices, None, optax.sgd(1.0), None, None).gradient(jax.random.key(0), A)
    z = (each.mean(0) - exact) / (each.std(0) / np.sqrt(4000))
    assert float(jnp.abs(z).max()) < 5.0
    assert float(jnp.sqrt(jnp.mean(z**2))) < 1.2


@pytest.mark.parametrize(
    ("optimizer", "learning_rate", "unit"),
    [("gradient_flow", None, 1.0), ("gd", 30.0, 1.0), ("momentum", 3.0, 0.1), ("adam", 0.02, 1e-6)],
)
def test_memorisation_takes_as_long_as_there_are_samples(optimizer, learning_rate, unit):
    """The paper's Fig. 15, t = 0.01 and ψ_p = 64, in small:
    the gap opens in twice the time at twice n.

    By a tenth of its limit; Adam has another limit than gradient flow, so its gap is taken as it
    is.
    """
    tau, reached = unit * np.geomspace(3e3, 3e5, 25), []
    for psi_n in (4.0, 8.0):
        model = rf.RandomFeatureModel(64.0, psi_n, 0.01)
        settings = {"d": 8, "rows": "spherical"}
        curve = rf.empirical.learning_curve(
            jax.random.key(2),
            model,
            tau,
            optimizer=optimizer,
            learning_rate=learning_rate,
            **settings,
        )
        limit = rf.empirical.learning_curve(jax.random.key(2), model, [1e12], **settings).gap[0]
        share = np.asarray(curve.gap / (3.0 if optimizer == "adam" else limit))
        assert share[0] < 0.1 < share[-1]
        reached.append(np.exp(np.interp(np.log(0.1), np.log(share), np.log(curve.tau))))
    assert 1.6 < reached[1] / reached[0] < 2.5


def test_standard_errors_over_draws():
    tau = np.array([10.0, 1000.0])
    keys = jax.random.split(jax.random.key(0), 3)
    each = [rf.empirical.learning_curve(k, MODEL, tau, 8) for k in keys]
    mean = rf.empirical.learning_curve(jax.random.key(0), MODEL, tau, 8, repeats=3)
    assert np.allclose(mean.test, np.mean([c.test for c in each], axis=0))
    assert np.allclose(
        mean.standard_error.test, np.std([c.test for c in each], axis=0, ddof=1) / np.sqrt(3)
    )
    assert np.all(np.isnan(each[0].standard_error.test))


# --------------------------------------------------------------------------------------------------
# killed runs

TRAIN = [
    "train", "--psi-p", "8", "--psi-n", "2", "--t", "0.05", "--d", "10", "--optimizer", "adam",
    "--learning-rate",
    "0.001", "--fresh-draws", "2", "--batch-size", "7", "--tau-min", "0.01", "--tau-max", "0.3",
    "--points", "12",
    "--seed", "3",
]  # fmt: skip


def command(out, folder):
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder)}
    return subprocess.Popen(
        [sys.executable, "-m", "rfspec", *TRAIN, "--out", str(out)],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


@pytest.mark.slow
def test_a_killed_run_resumes_and_gives_the_same_bits(tmp_path):
    whole, broken = tmp_path / "whole.nc", tmp_path / "broken.nc"
    assert command(whole, tmp_path).wait(timeout=300) == 0
    kills, state = 0, tmp_path / "broken.nc.partial.0"
    process = command(broken, tmp_path)
    while process.poll() is None and kills < 1:
        before = state.stat().st_mtime_ns if state.exists() else 0
        while process.poll() is None and not (state.exists() and state.stat().st_mtime_ns > before):
            time.sleep(0.01)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
            assert not broken.exists()
            process = command(broken, tmp_path)
    assert process.wait(timeout=300) == 0
    assert kills > 0
    one, other = (xarray.load_dataset(path, engine="h5netcdf") for path in (whole, broken))
    assert one.identical(other)
    assert sorted(p.name for p in tmp_path.iterdir() if p.suffix != "") == ["broken.nc", "whole.nc"]


def test_an_interrupted_library_call_resumes(tmp_path, monkeypatch):
    from rfspec.empirical import steps

    path, key = tmp_path / "run", jax.random.key(0)
    arguments = {"optimizer": "sgd", "learning_rate": 20.0, "fresh_draws": 2}
    whole = rf.empirical.train(key, MODEL, [1, 10, 40], 6, **arguments)
    real, calls = steps._losses, []

    def failing(*args):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(steps, "_losses", failing)
    monkeypatch.setattr(steps, "SAVE_EVERY", -1.0)
    with pytest.raises(KeyboardInterrupt):
        rf.empirical.train(key, MODEL, [1, 10, 40], 6, checkpoint=path, **arguments)
    assert path.exists()
    resumed = rf.empirical.train(key, MODEL, [1, 10, 40], 6, checkpoint=path, **arguments)
    assert np.array_equal(whole.test, resumed.test)
    with pytest.raises(ValueError, match="checkpoint must be of a run with the same arguments"):
        rf.empirical.train(jax.random.key(1), MODEL, [1, 10, 40], 6, checkpoint=path, **arguments)
    path.write_bytes(b"nonsense")
    with pytest.raises(ValueError, match="checkpoint must be a file written by an earlier run"):
        rf.empirical.train(key, MODEL, [1, 10, 40], 6, checkpoint=path, **arguments)


def test_functions_of_one_name_are_different_runs(tmp_path):
    first, second = (
        rf.RandomFeatureModel(4.0, 2.0, 0.1, activation=lambda x, a=a: jnp.tanh(a * x))
        for a in (1.0, 2.0)
    )
    rf.empirical.spectrum(jax.random.key(0), first, 5, checkpoint=tmp_path / "run")
    with pytest.raises(ValueError, match="checkpoint must be of a run with the same arguments"):
        rf.empirical.spectrum(jax.random.key(0), second, 5, checkpoint=tmp_path / "run")


def test_sampled_spectra_resume(tmp_path):
    path, key = tmp_path / "run", jax.random.key(0)
    first = rf.empirical.spectrum(key, MODEL, 6, repeats=2, checkpoint=path)
    stamp = path.stat().st_mtime_ns
    again = rf.empirical.spectrum(key, MODEL, 6, repeats=2, checkpoint=path)
    assert path.stat().st_mtime_ns == stamp
    assert np.array_equal(first.eigenvalues, again.eigenvalues)


def test_netcdf_has_axes_and_units(tmp_path):
    dataset = dataset_of({"tau": (("tau",), [1.0, 2.0]), "loss": (("tau",), [3.0, 4.0])}, none=None)
    path = write_dataset(tmp_path / "x.nc", dataset)
    loaded = xarray.load_dataset(path, engine="h5netcdf")
    assert float(loaded.loss.sel(tau=2.0)) == 4.0
    assert loaded.loss.units == "1"


def test_memory_of_the_eigenbasis_is_predicted(monkeypatch):
    from rfspec.empirical import memory

    matrices = drawn()
    monkeypatch.setattr(memory, "available", lambda: 2**16)
    with pytest.raises(
        ValueError, match=r"memory must hold [\d.]+ GiB for the eigenbasis of U at p = 96, got"
    ):
        rf.empirical.eigenbasis(matrices)


def train(**kwargs):
    return rf.empirical.train(
        jax.random.key(0), MODEL, kwargs.pop("steps", [1]), 6, **{"learning_rate": 1.0, **kwargs}
    )


STEPWISE = {
    "train": lambda: train(steps=[1, 60], learning_rate=0.1),
    "curve": lambda: curve(optimizer="sgd", learning_rate=0.6),
    "descent": lambda: rf.empirical.gradient_descent(drawn(), [60], 1.0),
}


@pytest.mark.parametrize("name", STEPWISE)
def test_many_steps_are_announced_at_the_line_that_asks_for_them(name, monkeypatch):
    monkeypatch.setattr("rfspec.empirical.steps.MANY_STEPS", 59)
    with pytest.warns(rf.empirical.LongRunWarning, match="^60 steps are taken one by one") as seen:
        STEPWISE[name]()
    assert [warning.filename for warning in seen] == [__file__]


def test_a_run_that_goes_on_announces_the_steps_that_are_left(monkeypatch, tmp_path):
    monkeypatch.setattr("rfspec.empirical.steps.MANY_STEPS", 59)
    args = {"steps": [1, 60], "learning_rate": 0.1, "checkpoint": tmp_path / "run"}
    with pytest.warns(rf.empirical.LongRunWarning):
        whole = train(**args)
    assert np.array_equal(train(**args).train, whole.train)


def curve(**kwargs):
    return rf.empirical.learning_curve(jax.random.key(0), MODEL, [1.0], 6, **kwargs)


BAD = {
    "optimizer of train": (
        lambda: train(optimizer="lion"),
        r"optimizer must be one of adam, sgd or an optax",
    ),
    "optimizer of trajectory": (
        lambda: rf.empirical.trajectory(basis(), [1], 1.0, optimizer="adam"),
        "optimizer must be one of gd, momentum, nesterov, got 'adam'",
    ),
    "optimizer of curve": (
        lambda: curve(optimizer="lion"),
        "optimizer must be one of gradient_flow, gd, momentum",
    ),
    "unstable": (
        lambda: rf.empirical.trajectory(basis(), [1], 1e9),
        r"learning_rate must be below [\d.]+ to be stable",
    ),
    "unstable momentum": (
        lambda: rf.empirical.trajectory(basis(), [1], 1e9, optimizer="momentum"),
        r"learning_rate must be below [\d.]+ to be stable",
    ),
    "momentum": (
        lambda: rf.empirical.trajectory(basis(), [1], 1.0, optimizer="momentum", momentum=1.0),
        r"momentum must be a number in \[0, 1\), got 1.0",
    ),
    "half a step": (
        lambda: rf.empirical.trajectory(basis(), [0.5], 1.0),
        "steps must be integers of at least 0",
    ),
    "descending": (lambda: train(steps=[2, 1]), "steps must be ascending integers"),
    "steps without end": (
        lambda: train(steps=[1, 1e300]),
        r"steps must be at most 9.00\d+e.15 .*, got 1e.300",
    ),
    "draws": (lambda: train(fresh_draws=0), "fresh_draws must be an integer of at least 1, got 0"),
    "batch": (lambda: train(batch_size=2), "batch_size needs fresh_draws"),
    "transformation": (
        lambda: train(optimizer=optax.sgd(1.0), checkpoint="x"),
        "checkpoint goes with a named optimizer",
    ),
    "large batch": (
        lambda: train(fresh_draws=1, batch_size=13),
        "batch_size must be at most n = 12, got 13",
    ),
    "gaussian noise": (
        lambda: train(fresh_draws=1, kind="gaussian"),
        'fresh_draws goes with kind="features"',
    ),
    "rate without method": (
        lambda: curve(learning_rate=1.0),
        "learning_rate goes with every optimizer but",
    ),
    "method without rate": (
        lambda: curve(optimizer="gd"),
        "learning_rate goes with every optimizer but",
    ),
    "draws of gd": (
        lambda: curve(optimizer="gd", learning_rate=1.0, fresh_draws=1),
        "fresh_draws and batch_size go",
    ),
    "repeats": (lambda: curve(repeats=0), "repeats must be an integer of at least 1, got 0"),
    "d": (
        lambda: curve(optimizer="adam", learning_rate=1.0, data=np.ones((30, 6))),
        "data must vary from row to row",
    ),
    "rows": (
        lambda: curve(rows="orthogonal"),
        "rows must be one of gaussian, spherical, got 'orthogonal'",
    ),
    "memory": (
        lambda: rf.empirical.sample(jax.random.key(0), MODEL, 100_000),
        r"memory must hold [\d.]+ GiB for U at p = 800000, n = 200000, got [\d.]+ GiB free: take "
        r"a smaller d",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    call, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        call()
