"""Arguments of daily use: masks, seeds, data frames, late times; each told in one sentence."""

import jax
import numpy as np
import pytest

import rfspec as rf

MODEL = rf.RandomFeatureModel(8.0, 2.0, t=0.05)
NO_KEYS = [True, 2**80, "seed", 1.5, None, np.zeros(3), jax.random.split(jax.random.key(0))]
MASKED = np.ma.array([1.0, 2.0], mask=[False, True])


@pytest.mark.usefixtures("given_anything")
@pytest.mark.parametrize(
    "ask",
    [
        lambda: rf.learning_curve(MODEL, MASKED),
        lambda: rf.spectrum(MODEL).density(MASKED),
        lambda: rf.solve(MODEL, MASKED),
        lambda: rf.Atoms(MASKED, [0.5, 0.5]),
        lambda: rf.FromData(np.ma.array(np.eye(3), mask=np.eye(3) > 0)),
        lambda: rf.phase_diagram(MASKED, [1.0, 2.0], t=0.1),
        lambda: rf.empirical.learning_curve(0, MODEL, MASKED, 10),
    ],
)
def test_masked_entries_are_not_taken_for_numbers(ask):
    with pytest.raises(ValueError, match="masked"):
        ask()


def test_a_mask_that_hides_nothing_is_no_mask():
    tau = np.ma.array([1.0, 2.0], mask=False)
    assert np.array_equal(
        rf.learning_curve(MODEL, tau).test, rf.learning_curve(MODEL, tau.data).test
    )


@pytest.mark.parametrize("key", [3, np.int64(3), jax.random.PRNGKey(3)])
def test_a_seed_is_a_key(key):
    of = lambda key: rf.empirical.sample(key, MODEL, 10).U
    assert np.array_equal(of(key), of(jax.random.key(3)))
    sp, v = rf.spectrum(MODEL), np.ones(80)
    for operator in (rf.empirical.gaussian_operator, rf.empirical.feature_operator):
        assert np.array_equal(
            operator(key, MODEL, 10)(v), operator(jax.random.key(3), MODEL, 10)(v)
        )
    assert np.array_equal(sp.sample(key, (4,)), sp.sample(jax.random.key(3), (4,)))


@pytest.mark.usefixtures("given_anything")
@pytest.mark.parametrize(
    "key", [True, 2**80, "seed", 1.5, None, np.zeros(3), jax.random.split(jax.random.key(0))]
)
def test_what_is_no_key_is_told(key):
    with pytest.raises(ValueError, match=r"key must be (a|an integer of 64 bits)"):
        rf.empirical.sample(key, MODEL, 10)


@pytest.mark.usefixtures("given_anything")
def test_held_out_says_that_the_key_comes_first():
    X = np.random.default_rng(0).normal(size=(100, 4))
    with pytest.raises(ValueError, match=r"key must be a jax\.random\.key"):
        rf.held_out(X, 4.0, t=0.1)


def test_a_time_at_which_the_data_are_gone():
    with pytest.raises(ValueError, match=r"the data are gone .*, got 100; for steps use rf.DDPM"):
        rf.RandomFeatureModel(64.0, 8.0, t=100.0)
    assert float(rf.OrnsteinUhlenbeck(18.0).alpha) > 0


def test_no_nodes_keep_all_eigenvalues():
    X = np.random.default_rng(0).normal(size=(100, 4))
    assert rf.FromData(X, nodes=0) == rf.FromData(X)
    of = lambda nodes: rf.predict(X, 4.0, t=0.1, nodes=nodes, d=None).model
    assert of(0) == of(None)


def test_a_column_of_labels_is_named():
    pd = pytest.importorskip("pandas")
    X = np.random.default_rng(0).normal(size=(100, 3))
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    assert np.allclose(rf.FromData(frame).values, rf.FromData(X).values, rtol=1e-13)
    frame["label"] = "cat"
    for ask in (lambda: rf.FromData(frame), lambda: rf.predict(frame, 4.0, t=0.1)):
        with pytest.raises(
            ValueError, match="no numbers in the column label: drop what is no data"
        ):
            ask()
