"""Two questions about every entry of the zoo: did it converge, and is it honest about its error?"""

import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
from problems import ZOO, sparing

import rfspec as rf

FACTOR = 1.0  # claimed error over true error has to be at least this


class Spectra(dict):
    """Spectra of the zoo by name, each computed when it is first asked for."""

    def __missing__(self, name):
        (model,) = (p.model for p in ZOO if p.name == name)
        self[name] = rf.spectrum(model)
        return self[name]


@pytest.fixture(scope="module")
def spectra():
    return Spectra()


@pytest.mark.parametrize("problem", sparing(ZOO, 3, 1, ["nearly split"]))
def test_converged(problem, spectra):
    """Claimed errors are small: what the conditioning of the problem leaves of sixteen digits."""
    sp = spectra[problem.name]
    assert float(sp.error) < 1e-9
    assert float(sp.equations.ge.error) < 1e-12
    limit = 1e-3 if "ill-conditioned" in problem.tags else 1e-11
    assert np.all(sp.edge_error < limit)


@pytest.mark.parametrize("problem", sparing(ZOO, 3, 1))
def test_honest(problem, spectra):
    """Every bulk was found and no claimed error is smaller than the true one, by the multi-precision twin."""
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
    import equinox as eqx

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
