"""Random models of the whole box: every number right within its claimed error,
or an error that says so.
"""

import numpy as np
import pytest
from problems import WRONG_ONCE, draw, draw_law, draw_wide, sparing, verdict, verdict_losses

import rfspec as rf

# small and large Γ² are meant
pytestmark = pytest.mark.filterwarnings("ignore::rfspec.SaturationWarning")


@pytest.mark.parametrize(
    ("seed", "models"), [(11, 80), pytest.param(12, 300, marks=pytest.mark.slow)]
)
def test_nothing_is_silently_wrong(seed, models):
    rng = np.random.default_rng(seed)
    found = [(model, *verdict(model)) for model in (draw(rng) for _ in range(models))]
    assert [(m, reason) for m, sort, reason in found if sort != "right"] == []


@pytest.mark.parametrize(
    ("seed", "models"), [(13, 6), pytest.param(14, 400, marks=pytest.mark.slow)]
)
def test_nothing_is_silently_wrong_in_the_wide_box(seed, models):
    """All targets, draws of the noise, weight decay, eigenvalues of condition 10⁸ and zeros,
    ψ up to 10⁷.
    """
    rng = np.random.default_rng(seed)
    found = [(model, *verdict(model)) for model in (draw_wide(rng, atoms=2) for _ in range(models))]
    assert [(m, reason) for m, sort, reason in found if sort != "right"] == []


@pytest.mark.slow
def test_nothing_is_silently_wrong_with_continuous_laws():
    rng = np.random.default_rng(15)
    found = [(model, *verdict(model)) for model in (draw_law(rng) for _ in range(100))]
    assert [(m, reason) for m, sort, reason in found if sort != "right"] == []


RARELY = (  # programs of their own to be compiled
    "drops of twelve eigenvalues",
    "a root of the other sheet",
    "losses of nearly square white data",
)


@pytest.mark.parametrize("problem", sparing(WRONG_ONCE, rarely=RARELY))
def test_what_was_wrong_once(problem):
    assert verdict(problem.model) == ("right", "")


@pytest.mark.parametrize("models", [3, pytest.param(12, marks=pytest.mark.slow)])
def test_certificates_of_random_models(models):
    rng = np.random.default_rng(12)
    for _ in range(models):
        certificate = rf.certify(draw(rng))
        assert certificate.honest, certificate


def test_the_verdict_sees_a_lost_bulk(monkeypatch):
    """The judge is not asleep: a spectrum without its smallest bulk is called wrong."""
    import equinox as eqx
    import jax.numpy as jnp

    model = rf.RandomFeatureModel(64.0, 8.0, t=0.01)
    sp = rf.spectrum(model)
    without_first = lambda a: jnp.concatenate([a[1:], jnp.full((1, *a.shape[1:]), jnp.nan)])
    support = type(sp.support)(*map(without_first, sp.support[:-1]), sp.support.count - 1)
    lost = eqx.tree_at(lambda s: s.support, sp, support)
    monkeypatch.setattr(rf, "spectrum", lambda _: lost)
    assert verdict(model)[0] == "wrong"


def test_the_judge_of_losses_sees_a_wrong_digit(monkeypatch):
    """A test loss moved by a tenth of a billionth is wrong, and one that says so is flagged."""
    import equinox as eqx

    model = rf.RandomFeatureModel(4.0, 2.0, t=0.1, weight_decay=0.1)
    assert verdict_losses(model, 0) == ("right", "")
    honest = rf.learning_curve

    def moved(model, tau):
        return eqx.tree_at(
            lambda c: c.test, honest(model, tau), replace_fn=lambda test: test + 1e-10
        )

    monkeypatch.setattr(rf, "learning_curve", moved)
    assert verdict_losses(model, 0)[0] == "wrong"
    unsure = lambda *a: eqx.tree_at(
        lambda c: c.error, moved(*a), replace_fn=lambda error: error + 1e-3
    )
    monkeypatch.setattr(rf, "learning_curve", unsure)
    assert verdict_losses(model, 0)[0] == "flagged"
