"""What has been compiled serves all values: models,
times and points of the same or nearly the same number.
"""

import types
from contextlib import contextmanager

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rfspec as rf
from rfspec.numerics import session
from rfspec.numerics.session import COMPILED


def model(a, **kwargs):
    return rf.RandomFeatureModel(8.0 * a, 2.0 * a, 0.05 * a, **kwargs)


def spectrum(a):
    return rf.spectrum(model(a))


def curve(a, *args, **kwargs):
    return rf.learning_curve(model(a), [10.0, 100.0], *args, **kwargs)


NUMBERS = {
    "solve": lambda a: rf.solve(model(a), 2 + 1j).q.real,
    "two_point": lambda a: rf.two_point(model(a), -1.0, 2 + 1j).I.real,
    "gaussian_equivalent": lambda a: rf.gaussian_equivalent(model(a)).v2,
    "leading_order": lambda a: rf.leading_order(model(a)).sample[0],
    "mean_outlier": lambda a: rf.mean_outlier(model(a, activation="relu"), 100).location,
    "clock": lambda a: rf.clock(model(a), 100, steps=1000, learning_rate=2.0),
    "merging_lines": lambda a: rf.merging_lines(
        model(a), psi_n=[8.0], psi_p=(1.0, 1000.0)
    ).sample_satellite.psi_p.sum(),
    "spectrum": lambda a: spectrum(a).edges[0],
    "spectrum.density": lambda a: spectrum(a).density([1.0, 2.0]).sum(),
    "spectrum.cdf": lambda a: spectrum(a).cdf([1.0, 2.0]).sum(),
    "spectrum.quantile": lambda a: spectrum(a).quantile([0.5, 0.9]).sum(),
    "spectrum.moment": lambda a: spectrum(a).moment(2),
    "spectrum.stieltjes": lambda a: spectrum(a).stieltjes(-1.0).real,
    "spectrum.sample": lambda a: spectrum(a).sample(jax.random.key(0), (3,)).sum(),
    "timescales, paper": lambda a: rf.timescales(model(a)).tau_mem,
    "timescales, spectrum": lambda a: rf.timescales(model(a), "spectrum").tau_mem,
    "timescales, loss": lambda a: rf.timescales(model(a), "loss").tau_mem,
    "learning_curve": lambda a: curve(a).test.sum(),
    "learning_curve, descent": lambda a: curve(a, 0.5).test.sum(),
    "learning_curve, momentum": lambda a: curve(a, 0.5, momentum=0.5).test.sum(),
    "learning_curve, in tau": lambda a: rf.learning_curve(model(1.0), 10.0 * a).test,
    "learning_curve.drops": lambda a: sum(curve(a).drops.values()).sum(),
    "early_stopping": lambda a: rf.early_stopping(model(a)).tau,
    "gap_onset": lambda a: rf.gap_onset(model(a))[0],
}
UNDER = {
    "plain": lambda f: f,
    "jit": jax.jit,
    "grad": lambda f: lambda a: jax.grad(lambda b: f(b))(a),
    "jacfwd": lambda f: lambda a: jax.jacfwd(lambda b: f(b))(a),
    "vmap": lambda f: lambda a: jax.vmap(lambda b: f(b))(np.array([a, 1.02 * a])),
}
KNOWN_NUMBERS_ONLY = {("learning_curve, momentum", t) for t in UNDER if t != "plain"} | {
    ("merging_lines", "jit"),
    ("merging_lines", "vmap"),
}
QUICK = {(name, "plain") for name in ("solve", "learning_curve", "spectrum", "clock")} | {
    ("gaussian_equivalent", "vmap"),
    ("learning_curve", "grad"),
}
BUILT_OF_OTHERS = {  # or of NumPy, or of experiments
    *(
        "best_weight_decay",
        "cache",
        "certify",
        "compare",
        "constants_table",
        "double_descent",
        "held_out",
        "of_class",
        "over_time",
        "phase_diagram",
        "predict",
        "required",
        "sweep",
    ),
    "score_exponent",
}


@contextmanager
def compilations():
    """How many programs are compiled, or taken from a cache on disk: both cost memory."""
    counted = []

    def listen(event, duration_secs, **_):
        if event == COMPILED:
            counted.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield counted
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


def recompiled(f, *arguments):
    """Programs that all calls after the first have compiled."""
    jax.block_until_ready(f(arguments[0]))
    with compilations() as counted:
        for argument in arguments[1:]:
            jax.block_until_ready(f(argument))
    return len(counted)


def cases():
    for name in NUMBERS:
        for under in UNDER:
            if (name, under) not in KNOWN_NUMBERS_ONLY:
                marks = [] if (name, under) in QUICK else [pytest.mark.slow]
                yield pytest.param(name, under, marks=marks, id=f"{name}-{under}")


@pytest.fixture(autouse=True)
def _nothing_is_forgotten(monkeypatch):
    """Else programs may be compiled again because room for others ran out."""
    monkeypatch.setattr(session._room, "enough", np.inf)


@pytest.mark.parametrize(("name", "under"), [*cases()])
def test_other_values_compile_nothing(name, under):
    assert recompiled(UNDER[under](NUMBERS[name]), 1.0, 1.05, 1.1) == 0


def test_every_function_is_asked():
    functions = {name for name in rf.__all__ if isinstance(getattr(rf, name), types.FunctionType)}
    assert functions == {name.split(",")[0].split(".")[0] for name in NUMBERS} | BUILT_OF_OTHERS


def some_atoms(K):
    rng = np.random.default_rng(K)
    return rf.Atoms(rng.uniform(0.5, 2.0, K), np.full(K, 1.0 / K)).normalised()


def losses_at(n):
    found = rf.learning_curve(model(1.0), np.geomspace(1.0, 100.0, n))
    return found.train, found.test, found.score_error, found.error


ALIKE = {
    "eigenvalues": (lambda K: rf.solve(model(1.0, covariance=some_atoms(K)), 2 + 1j), 5, 6, 7, 8),
    "training times": (losses_at, 2, 3, 7, 8),
    "many training times": (losses_at, 41, 55, 80),
    "steps": (
        lambda n: rf.learning_curve(model(1.0), np.geomspace(1.0, 100.0, n), 0.5).test,
        2,
        3,
        8,
    ),
    "arguments": (lambda n: rf.solve(model(1.0), np.linspace(1.0, 2.0, n)).q, 3, 4),
    "processes": (
        lambda p: rf.gaussian_equivalent(rf.RandomFeatureModel(8.0, 2.0, process=p)).v2,
        *(
            rf.FlowMatching(0.2),
            rf.OrnsteinUhlenbeck(0.3),
            rf.DDPM(100),
            rf.Cosine(0.3),
            rf.VarianceExploding(0.3),
        ),
    ),
}
ALIKE_SLOW = {
    "steps with momentum": (
        lambda k: rf.learning_curve(model(1.0), [k / 2], 0.5, momentum=0.5).test,
        33,
        41,
        64,
    ),
    "eigenvalues of a spectrum": (
        lambda K: rf.spectrum(model(1.0, covariance=some_atoms(K))).edges,
        5,
        6,
        7,
    ),
    "eigenvalues of a curve": (
        lambda K: rf.learning_curve(model(1.0, covariance=some_atoms(K)), [10.0]),
        5,
        6,
        7,
        8,
    ),
    "many eigenvalues": (
        lambda K: rf.learning_curve(model(1.0, covariance=some_atoms(K)), [10.0]),
        513,
        777,
        1000,
    ),
    "densities": (lambda n: spectrum(1.0).density(np.linspace(1.0, 2.0, n)), 3, 4),
    "distribution": (lambda n: spectrum(1.0).cdf(np.linspace(1.0, 2.0, n)), 3, 4),
    "quantiles": (lambda n: spectrum(1.0).quantile(np.linspace(0.5, 1.0, n)), 3, 4),
    "two points": (lambda n: rf.two_point(model(1.0), np.linspace(-2.0, -1.0, n), -1.0).I, 3, 4),
}


@pytest.mark.parametrize(
    "what", [*ALIKE, *(pytest.param(name, marks=pytest.mark.slow) for name in ALIKE_SLOW)]
)
def test_what_is_alike_compiles_nothing(what):
    f, *sizes = (ALIKE | ALIKE_SLOW)[what]
    assert recompiled(f, *sizes) == 0


def test_filling_up_changes_nothing():
    z, x = np.array([[1.0, 2.0 + 1j, 3.0]]), [0.3, 1.2, 2.0]
    found = rf.solve(model(1.0), z)
    assert found.q.shape == z.shape
    # the last bits depend on how many points fill the lanes of a vector unit
    alone = jnp.stack([rf.solve(model(1.0), point).q for point in z[0]])
    assert np.allclose(found.q[0], alone, rtol=1e-14, atol=0)
    one_by_one = jnp.stack([spectrum(1.0).density(a) for a in x])
    assert np.allclose(spectrum(1.0).density(x), one_by_one, rtol=1e-12)
    assert spectrum(1.0).density(np.zeros((0, 2))).shape == (0, 2)
