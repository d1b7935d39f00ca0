"""Long sessions: compiled programs are forgotten before memory mappings run out,
and single precision is refused.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_compilations import compilations, model, some_atoms

import rfspec as rf
from rfspec.numerics import session

SMOOTH = [lambda x: jnp.tanh(x) + 0.1 * x, lambda x: jnp.sin(2 * x) * jnp.exp(-(x**2))]
linux = pytest.mark.skipif(
    not session.mappings_in_use(), reason="the system does not count memory mappings"
)


@pytest.fixture
def short_of_mappings(monkeypatch):
    """A process that may take so many mappings more than it has."""

    def allow(more):
        allowed = session.mappings_in_use() + more
        monkeypatch.setattr(session, "mappings_allowed", lambda: float(allowed))
        monkeypatch.setattr(session, "LARGEST", min(session.LARGEST, more // 3))
        monkeypatch.setattr(session, "_room", session._Room())
        session._room.compiled = 1
        return allowed

    return allow


@linux
def test_programs_are_forgotten_and_results_stay(short_of_mappings):
    before = rf.solve(model(1.0), 2 + 1j).q
    allowed = short_of_mappings(100)  # nearly all of them in use, as late in a long session
    with compilations() as counted:
        after = rf.solve(model(1.0), 2 + 1j).q
        again = rf.solve(model(1.0), 2 + 1j).q
    assert counted
    assert before == after == again
    assert session.mappings_in_use() < allowed


@linux
def test_no_room_at_all_is_an_error(monkeypatch):
    monkeypatch.setattr(session, "mappings_allowed", lambda: float(session.mappings_in_use()))
    monkeypatch.setattr(session, "_room", session._Room())
    monkeypatch.setattr(jax, "clear_caches", lambda: None)
    session._room.compiled = 1
    with pytest.raises(RuntimeError, match=r"^this process uses \d+ of the \d+ memory mappings"):
        rf.gaussian_equivalent(model(1.0))


@linux
@pytest.mark.parametrize("under", [lambda f: f, jax.grad], ids=["plain", "grad"])
def test_another_activation_takes_few_mappings(under):
    """Its own values have to be compiled, and nothing that follows from them."""
    models = [
        lambda t, k=k: rf.RandomFeatureModel(8.0, 2.0, t, activation=SMOOTH[k]) for k in (0, 1)
    ]
    constant = [under(lambda t, m=m: rf.gaussian_equivalent(m(t)).v2) for m in models]
    constant[0](0.1)
    models[1](0.1)
    before = session.mappings_in_use()
    constant[1](0.1)
    assert session.mappings_in_use() - before < 60


def test_mappings_are_counted_after_many_programs_only(monkeypatch):
    session.make_room()
    monkeypatch.setattr(session, "make_room", lambda: pytest.fail("nothing has been compiled"))
    session.enter()
    assert session._room.enough >= 1


def test_a_system_without_mappings_is_never_short_of_them(monkeypatch):
    monkeypatch.setattr(session, "_room", session._Room())
    monkeypatch.setattr(session, "mappings_allowed", lambda: float("inf"))
    monkeypatch.setattr(session, "mappings_in_use", lambda: 0)
    session.make_room()
    assert session._room.enough == float("inf")


def a_long_one(rounds):
    """A user's day: derivatives in loops, other activations, covariances and times."""
    for i in range(rounds):
        a = 1.0 + 0.01 * i
        slope = float(1 + i % 5)
        yield jax.grad(lambda n: rf.learning_curve(rf.RandomFeatureModel(8.0, n, 0.05), 10.0).test)(
            2.0 * a
        )
        yield jax.grad(lambda n: rf.spectrum(rf.RandomFeatureModel(8.0, n, 0.05)).edges[0])(2.0 * a)
        yield rf.gaussian_equivalent(
            model(1.0, activation=lambda x, slope=slope: jnp.tanh(slope * x))
        ).v2
        yield rf.learning_curve(model(1.0, covariance=some_atoms(1 + i % 6)), [10.0]).test[0]
        yield rf.learning_curve(model(1.0), np.geomspace(1.0, 100.0, 1 + i % 6)).test[-1]


def most_in_use(work, allowed):
    used = 0
    for value in work:
        assert np.isfinite(value)
        used = max(used, session.mappings_in_use())
        assert used < allowed


@linux
@pytest.mark.slow
def test_a_long_session_stays_within_its_mappings(short_of_mappings):
    most_in_use(a_long_one(30), short_of_mappings(20000))


@linux
def test_a_session_of_small_programs_stays_within_its_mappings(short_of_mappings):
    allowed = short_of_mappings(120)

    def work():
        for i in range(50):
            jax.jit(lambda x, i=i: x + i)(1.0)
            yield rf.gaussian_equivalent(model(1.0 + 0.001 * i)).v2

    with compilations() as counted:
        most_in_use(work(), allowed)
    assert len(counted) > 51  # what gaussian_equivalent takes was compiled again


@pytest.mark.slow
def test_losses_and_times_hold_no_nan():
    """`jax_debug_nans` stops at spectra alone, whose missing bulks are NaN."""
    m = rf.RandomFeatureModel(4.0, 8.0, 0.1)  # no satellite
    with jax.debug_nans(True):
        rf.solve(m, 2 + 1j)
        rf.timescales(m)
        rf.learning_curve(m, [0.0, 10.0, np.inf])
        with jax.debug_nans(False):
            assert len(rf.spectrum(m).edges) == 4


ENTRIES = {
    "solve": lambda m, sp: rf.solve(m, 2 + 1j),
    "two_point": lambda m, sp: rf.two_point(m, -1.0, -2.0),
    "gaussian_equivalent": lambda m, sp: rf.gaussian_equivalent(m),
    "spectrum": lambda m, sp: rf.spectrum(m),
    "density": lambda m, sp: sp.density(1.0),
    "cdf": lambda m, sp: sp.cdf(1.0),
    "quantile": lambda m, sp: sp.quantile(0.5),
    "moment": lambda m, sp: sp.moment(1),
    "stieltjes": lambda m, sp: sp.stieltjes(-1.0),
    "sample": lambda m, sp: sp.sample(jax.random.key(0)),
    "timescales": lambda m, sp: rf.timescales(m),
    "learning_curve": lambda m, sp: rf.learning_curve(m, 1.0),
    "early_stopping": lambda m, sp: rf.early_stopping(m),
    "gap_onset": lambda m, sp: rf.gap_onset(m),
    "leading_order": lambda m, sp: rf.leading_order(m),
    "mean_outlier": lambda m, sp: rf.mean_outlier(m, 100),
    "merging_lines": lambda m, sp: rf.merging_lines(m, psi_n=[8.0], psi_p=(1.0, 100.0)),
    "score_exponent": lambda m, sp: rf.score_exponent(m, [4.0]),
    "phase_diagram": lambda m, sp: rf.phase_diagram([1.0], [1.0], t=0.1),
    "constants_table": lambda m, sp: rf.constants_table([0.1]),
    "model": lambda m, sp: rf.RandomFeatureModel(8.0, 2.0, 0.1),
    "sampled": lambda m, sp: rf.empirical.sample(jax.random.key(0), m, 8),
}


@pytest.mark.parametrize("name", ENTRIES)
def test_single_precision_is_refused(name):
    m = model(1.0)
    sp = rf.spectrum(m)
    with (
        jax.enable_x64(False),
        pytest.raises(RuntimeError, match="double precision, which was switched off"),
    ):
        ENTRIES[name](m, sp)
