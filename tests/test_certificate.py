"""Two questions about every entry of the zoo: did it converge, and is it honest about its error?"""

import equinox as eqx
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
from problems import ZOO, sparing

import rfspec as rf

FACTOR = 1.0  # claimed error over true error has to be at least this
# many nodes
DEAR = [
    "near the hard edge",
    "nearly split",
    "nearly split beside another",
    "few features",
]


class Spectra(dict):
    """Spectra of the zoo by name, each computed when it is first asked for."""

    def __missing__(self, name):
        (model,) = (p.model for p in ZOO if p.name == name)
        self[name] = rf.spectrum(model)
        return self[name]


@pytest.fixture(scope="module")
def spectra():
    return Spectra()


@pytest.mark.parametrize("problem", sparing(ZOO, 1, DEAR))
def test_converged(problem, spectra):
    """Claimed errors are small: what the conditioning of the problem leaves of sixteen digits."""
    sp = spectra[problem.name]
    assert float(sp.error) < 1e-9
    assert float(sp.equations.ge.error) < 1e-12
    limit = 1e-3 if "ill-conditioned" in problem.tags else 1e-11
    assert np.all(sp.edge_error < limit)


@pytest.mark.parametrize("problem", sparing(ZOO, 1, DEAR))
def test_honest(problem, spectra):
    """Every bulk was found and no claimed error is smaller than the true one,
    by the multi-precision twin.
    """
    certificate = rf.certify(spectra[problem.name])
    assert certificate.complete
    for row in certificate.rows:
        assert FACTOR * row.error <= row.claimed_error, row


def test_the_certificate_is_a_table():
    certificate = rf.certify(rf.RandomFeatureModel(64.0, 8.0, t=0.01))
    text = str(certificate)
    assert "every bulk was found" in text
    assert "TOO SMALL" not in text
    names = [row.name for row in certificate.rows]
    assert names[:4] == ["kappa2", "b2", "v2", "s2"]
    assert sum(name.startswith("edge") for name in names) == 6
    assert sum(name.startswith("mass of bulk") for name in names) == 3
    assert sum(name.startswith("density") for name in names) == 9


def test_a_wrong_number_does_not_pass():
    """An edge moved by 1e-9 and a bulk left out are both seen."""
    sp = rf.spectrum(rf.RandomFeatureModel(64.0, 8.0, t=0.01))
    moved = eqx.tree_at(lambda s: s.support.upper, sp, sp.support.upper * (1 + 1e-9))
    assert not rf.certify(moved).honest
    assert "TOO SMALL" in str(rf.certify(moved))
    fewer = eqx.tree_at(lambda s: s.support.count, sp, jnp.asarray(2))
    certificate = rf.certify(fewer)
    assert not certificate.complete
    assert not certificate.honest


def test_a_users_activation_is_certified_with_its_multi_precision_form():
    model = rf.RandomFeatureModel(16.0, 4.0, t=0.05, activation=lambda x: x / jnp.sqrt(1 + x**2))
    assert rf.certify(model, activation=lambda x: x / mp.sqrt(1 + x**2)).honest


DRAWN = rf.RandomFeatureModel(
    7.0, 3.0, t=0.1, covariance=rf.Atoms([0.5, 1.5], [0.5, 0.5]), noise_draws=2
)
ONE_DRAW = rf.RandomFeatureModel(64.0, 8.0, t=0.01, noise_draws=1)


@pytest.mark.slow
@pytest.mark.parametrize("model", [DRAWN, ONE_DRAW], ids=["two", "one"])
def test_spectra_of_finite_draws(model):
    """Edges sought beside those found, and masses counted on both sides of every gap;
    a bulk left out is missed.
    """
    sp = rf.spectrum(model)
    certificate = rf.certify(sp, 20)
    assert certificate.honest, certificate
    assert sum(row.name.startswith("edge") for row in certificate.rows) == 4
    fewer = eqx.tree_at(lambda s: s.support.count, sp, jnp.asarray(1))
    assert not rf.certify(fewer, 20).complete


def test_hard_edge_of_as_many_draws_as_features():
    assert rf.certify(rf.RandomFeatureModel(6.0, 3.0, t=0.01, noise_draws=2), 20).honest


CURVES = {
    "plain": rf.RandomFeatureModel(64.0, 8.0, t=0.01),
    "velocity": rf.RandomFeatureModel(4.0, 2.0, t=0.1, target="velocity", weight_decay=0.1),
    "draws": rf.RandomFeatureModel(4.0, 2.0, t=0.1, target="data", noise_draws=3),
}


@pytest.mark.parametrize(
    "name", [n if n == "plain" else pytest.param(n, marks=pytest.mark.slow) for n in CURVES]
)
def test_learning_curves(name):
    """Losses at finite τ within their claimed errors; a loss moved by 1e-9 is seen."""
    curve = rf.learning_curve(
        CURVES[name], [0.0, 30.0] if name == "plain" else [0.0, 1.0, 30.0, 1e4]
    )
    certificate = rf.certify(curve)
    assert certificate.honest, certificate
    assert [row.name for row in certificate.rows[:2]] == ["train at τ = 0", "test at τ = 0"]
    moved = eqx.tree_at(lambda c: c.test, curve, curve.test + 1e-9)
    assert not rf.certify(moved).honest


def test_what_is_no_curve_of_gradient_flow():
    model = CURVES["plain"]
    with pytest.raises(
        ValueError, match="must be the theory's, under gradient flow, to be certified"
    ):
        rf.certify(rf.learning_curve(model, [10.0], 1.0))
    with pytest.raises(ValueError, match="must be the theory's"):
        rf.certify(eqx.tree_at(lambda c: c.model, rf.learning_curve(model, [10.0]), None))


@pytest.mark.slow
def test_best_times():
    """A minimum and its window; one that is moved, one that is none,
    and a window too wide are seen.
    """
    stop = rf.early_stopping(CURVES["plain"])
    certificate = rf.certify(stop)
    assert certificate.honest, certificate
    assert [row.name for row in certificate.rows[-3:]] == [
        "the best time",
        "lower end of window",
        "upper end of window",
    ]
    moved = eqx.tree_at(lambda s: s.tau, stop, stop.tau * (1 + 1e-8))
    assert "the best time" in {row.name for row in rf.certify(moved).rows if not row.honest}
    end = eqx.tree_at(lambda s: (s.tau, s.test), stop, (np.inf, stop.test_limit))
    assert "A BETTER TIME IS 132.8" in rf.certify(end).remark
    wide = eqx.tree_at(lambda s: s.window.upper, stop, np.inf)
    assert "INSIDE THE WINDOW" in rf.certify(wide).remark


ORACLE_ONCE_WRONG = {
    "two rules for the drop of a bulk about to split agreed by chance": rf.RandomFeatureModel(
        0.32045,
        16.656,
        0.018138,
        covariance=rf.Atoms([0.85699, 7.3999, 0.032188], [0.6144, 0.06625, 0.31935]),
    ),
    "a gap seven thousand times wider than the place of its edge": rf.RandomFeatureModel(
        122349.87,
        0.06549,
        3.14e-5,
        activation="erf",
        covariance=rf.Isotropic(0.60484),
        target="score",
        noise_draws=2,
    ),
}


@pytest.mark.parametrize("name", ORACLE_ONCE_WRONG)
def test_the_truth_is_true(name):
    certificate = rf.certify(ORACLE_ONCE_WRONG[name])
    assert certificate.honest, certificate
