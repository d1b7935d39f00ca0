"""Models and results are values: equal, hashed, copied, pickled, replaced and told in text."""

import copy
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rfspec as rf
from rfspec.models.stored import from_text, to_text

ATOMS = rf.Atoms([0.5, 1.5], [0.5, 0.5])
MODELS = {
    "default": rf.RandomFeatureModel(64.0, 8.0, t=0.01),
    **{
        name: rf.RandomFeatureModel(4.0, 2.0, t=0.1, activation=name)
        for name in ("erf", "sin", "relu", "gelu")
    },
    "everything": rf.RandomFeatureModel(
        4.0, 2.0, process=rf.DDPM(100), activation=rf.Polynomial([0.0, 1.0, 0.0, 0.5]),
        covariance=ATOMS, target="velocity", noise_draws=3, weight_decay=0.01,
    ),
    "interpolant": rf.RandomFeatureModel(4.0, 2.0, process=rf.Interpolant(0.6, 0.8, -1.0, 1.0)),
    "law": rf.RandomFeatureModel(4.0, 2.0, 0.1, covariance=rf.PowerLaw(1.0, 0.01).normalised()),
    "mixture": rf.RandomFeatureModel(
        4.0, 2.0, 0.1,
        covariance=rf.Mixture([rf.Subspace(0.25), rf.Exponential(4.0)], [0.5, 0.5]),
    ),
    "data": rf.RandomFeatureModel(
        4.0, 2.0, 0.1,
        covariance=rf.FromData(np.random.default_rng(0).normal(size=(60, 20)), "ledoit_wolf"),
    ),
}  # fmt: skip


@pytest.fixture(params=MODELS.values(), ids=MODELS.keys())
def model(request):
    return request.param


def test_a_pickled_model_is_the_same_model(model):
    again = pickle.loads(pickle.dumps(model))
    assert again == model
    assert hash(again) == hash(model)


def test_a_model_written_as_text_is_the_same_to_the_last_bit(model):
    again = from_text(to_text(model))
    assert again == model
    assert hash(again) == hash(model)
    assert rf.gaussian_equivalent(again) == rf.gaussian_equivalent(model)


def test_what_is_no_model_is_not_made_one():
    mine = rf.RandomFeatureModel(4.0, 2.0, 0.1, activation=lambda x: jnp.maximum(x, 0.1 * x))
    for text in (
        "{",
        "3",
        '{"class":"os","fields":{}}',
        '{"class":"RandomFeatureModel","fields":{}}',
        '{"activation":"tanh"}',
    ):
        with pytest.raises(ValueError, match="must be one that rfspec has written"):
            from_text(text)
    with pytest.raises(ValueError, match="which only its author can give"):
        from_text(to_text(mine))


def test_results_survive_pickle():
    model = MODELS["default"]
    curve = rf.learning_curve(model, [1.0, 10.0])
    results = [
        rf.spectrum(model),
        curve,
        rf.timescales(model, "paper"),
        rf.gaussian_equivalent(model),
    ]
    for result in results:
        again = pickle.loads(pickle.dumps(result))
        for old, new in zip(jax.tree.leaves(result), jax.tree.leaves(again), strict=True):
            assert np.array_equal(old, new, equal_nan=True)


def test_equal_models_are_one_key():
    one, same = (rf.RandomFeatureModel(64.0, 8.0, t=0.01, covariance=ATOMS) for _ in range(2))
    other = rf.RandomFeatureModel(64.0, 8.0, t=0.02, covariance=ATOMS)
    assert one == same
    assert one != other
    assert len({one, same, other, copy.deepcopy(one)}) == 2
    assert one != rf.RandomFeatureModel(64.0, 8.0, t=0.01)
    assert one != 64.0


def test_a_traced_model_has_no_hash():
    def hashed(psi_p):
        with pytest.raises(TypeError, match="has no hash"):
            hash(MODELS["default"].replace(psi_p=psi_p))
        return psi_p

    jax.jit(hashed)(3.0)


def test_replacing_builds_the_model_anew(model):
    assert model.replace() == model
    wider = model.replace(psi_n=3.0)
    assert float(wider.psi_n) == 3.0
    assert wider.replace(psi_n=model.psi_n) == model
    with pytest.raises(ValueError, match="psi_n must be a finite real number greater than 0"):
        model.replace(psi_n=-1.0)
    with pytest.raises(ValueError, match="takes the arguments of RandomFeatureModel, got psi"):
        model.replace(psi=3.0)


def test_replacing_the_time_keeps_the_kind_of_process():
    flow = rf.RandomFeatureModel(4.0, 2.0, process=rf.FlowMatching(0.3))
    assert flow.replace(t=0.5).process == rf.FlowMatching(0.5)
    assert MODELS["default"].replace(t=0.5).process == rf.OrnsteinUhlenbeck(0.5)
    for name in ("everything", "interpolant"):
        with pytest.raises(ValueError, match="the process must have a time"):
            MODELS[name].replace(t=0.5)
    step = MODELS["everything"].replace(process=rf.DDPM(200))
    assert step.process == rf.DDPM(200)


def test_replacing_inside_a_transformation():
    edge = lambda psi_n: rf.spectrum(MODELS["default"].replace(psi_n=psi_n)).edges[-1]
    direct = lambda psi_n: rf.spectrum(rf.RandomFeatureModel(64.0, psi_n, 0.01)).edges[-1]
    assert float(jax.grad(edge)(8.0)) == float(jax.grad(direct)(8.0))


def test_completion_offers_what_is_public_and_nothing_else():
    names = dir(rf)
    assert {"plotting", "predict", "phase_diagram", "algebraic", "empirical", "compare"} <= set(
        names
    )
    assert set(names) == {*rf.__all__, "__version__"}
    for name in names:
        assert getattr(rf, name) is not None
