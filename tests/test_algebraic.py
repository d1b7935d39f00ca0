"""The ground truth against 25-digit values of others, against itself by independent routes, and against sympy."""

import mpmath as mp
import numpy as np
import pytest
import sympy as sp
from problems import REFERENCE, TWO, model_of

import rfspec as rf
from rfspec import algebraic

MODEL = rf.RandomFeatureModel(64.0, 8.0, t=0.01)


@pytest.fixture(autouse=True)
def _precision():
    with mp.workdps(60):
        yield


def close(a, b, digits):
    return abs(a - b) <= mp.mpf(10) ** -digits * abs(b)


@pytest.mark.parametrize("reference", REFERENCE, ids=lambda r: r["name"])
def test_reference(reference):
    """Constants, edges, densities and resolvents of an independent code, to the digits it gives."""
    model = model_of(reference)
    constants = algebraic.constants(model, 30)
    for name, text in reference["constants"].items():
        assert close(getattr(constants, name), mp.mpf(text), 23) or abs(mp.mpf(text)) < 1e-40
    edges = algebraic.edges(model, 30)
    expected = [mp.mpf(e) for e in reference["edges"]]
    if reference["name"] == "critical-hard-edge":  # exact there: see tests/reference/README.md
        expected[0] = algebraic.constants(model, 45).s2
    assert len(edges) == len(expected)
    assert all(close(a, b, 23) for a, b in zip(edges, expected, strict=True))
    densities = algebraic.density(model, [x for x, _ in reference["density"]], 30)
    assert all(close(a, mp.mpf(b), 20) for a, (_, b) in zip(densities, reference["density"], strict=True))
    for z, q, delta in reference["resolvent"]:
        point = algebraic.solve(model, mp.mpc(*map(mp.mpf, z)), 30)
        assert close(point.q, mp.mpc(*map(mp.mpf, q)), 23)
        assert close(point.delta, mp.mpc(*map(mp.mpf, delta)), 23)


def test_the_isotropic_curve_has_degree_five_and_two():
    assert algebraic.curve(MODEL).degree_list() == (5, 2)
    symbolic = algebraic.symbolic_curve()
    assert symbolic.degree_list() == (5, 2)
    assert {str(s) for s in symbolic.free_symbols_in_domain} == {
        "psi_p", "psi_n", "kappa2", "b2", "v2", "s2", "lambda_1",
    }  # fmt: skip
    factors = sp.factor_list(symbolic.as_expr())[1]
    assert [sp.Poly(f, *symbolic.gens).degree_list() for f, _ in factors] == [(5, 2)]


def test_the_curve_divides_the_resultant_of_the_printed_equations():
    """sympy's own elimination of δ from equations (1) and (2), at small exact numbers."""
    p, n, k, b, v, s = map(sp.Rational, ("3", "2", "1/3", "1/5", "1/7", "1/11"))
    q, z, y = sp.symbols("q z y")  # y = 1 + δ
    T = b + k / y
    one = sp.numer(sp.together(s - z + v / y + T / (1 + p * T * q) - 1 / q))
    two = sp.numer(sp.together(p / n * (v * q + k * q / (1 + p * T * q)) - (y - 1)))
    resultant = sp.Poly(sp.resultant(one, two, y), q, z)
    names = sp.symbols("psi_p psi_n kappa2 b2 v2 s2 lambda_1")
    symbolic = algebraic.symbolic_curve().as_expr()
    curve = sp.Poly(symbolic.subs(dict(zip(names, (p, n, k, b, v, s, 1), strict=True))), q, z)
    assert curve.degree_list() == (5, 2)
    assert resultant.rem(curve).is_zero


@pytest.mark.parametrize("atoms", [1, 2, 3])
def test_the_resolvent_lies_on_the_curve(atoms):
    covariance = rf.Atoms(np.array([0.25, 1.0, 3.0])[:atoms], np.full(atoms, 1 / atoms))
    model = rf.RandomFeatureModel(6.0, 2.5, t=0.1, covariance=covariance)
    curve = algebraic.curve(model, 45)
    assert curve.degree_list() == (3 * atoms + 2, atoms + 1)
    z = mp.mpc("0.3", "0.2")
    q = algebraic.solve(model, z, 40).q
    terms = [mp.mpf(int(c.p)) / int(c.q) * q**i * z**j for (i, j), c in curve.terms()]
    assert abs(mp.fsum(terms)) < mp.mpf(10) ** -35 * max(map(abs, terms))


def test_edges_are_roots_of_the_discriminant():
    """sympy's discriminant in q of the isotropic curve has one factor of odd multiplicity, of degree 9 in z."""
    curve = algebraic.curve(MODEL, 30)
    factors = sp.factor_list(sp.discriminant(curve.as_expr(), curve.gens[0]), curve.gens[1])[1]
    odd = [sp.Poly(f, curve.gens[1]) for f, m in factors if m % 2]
    (discriminant,) = [f for f in odd if f.degree() > 1]
    assert discriminant.degree() == 9
    roots = [mp.mpf(str(r)) for r in discriminant.nroots(n=30, maxsteps=200) if r.is_real]
    for edge in algebraic.edges(MODEL, 30):
        assert min(abs(r / edge - 1) for r in roots) < 1e-24
    assert len(roots) > len(algebraic.edges(MODEL, 30))  # the spurious ones have been told from the edges


@pytest.mark.parametrize("reference", REFERENCE, ids=lambda r: r["name"])
def test_atom(reference):
    """Its place is s² and its mass what counting ranks leaves."""
    place, mass = algebraic.atom(model_of(reference), 30)
    assert close(place, mp.mpf(reference["constants"]["s2"]), 23)
    assert float(mass) == pytest.approx(reference["atom_mass"], abs=1e-16)


@pytest.mark.parametrize("digits", [1, 15, 100])
def test_digits_are_those_asked_for(digits):
    """Fewer digits are a rounding of more."""
    more = algebraic.edges(MODEL, digits + 20)
    assert all(close(a, b, digits) for a, b in zip(algebraic.edges(MODEL, digits), more, strict=True))


def test_mass_by_multi_precision_quadrature():
    """The density of the curve, integrated over the sample bulk, is its exact mass."""
    model = rf.RandomFeatureModel(16.0, 4.0, t=0.02)
    edges = algebraic.edges(model, 25)
    with mp.workdps(25):
        a, b = edges[2:4]
        f = lambda theta: (
            algebraic.density(model, a + (b - a) * mp.sin(theta / 2) ** 2, 20) * (b - a) * mp.sin(theta) / 2
        )
        nodes = 24  # midpoint rule: geometric convergence for a smooth periodic integrand
        mass = mp.fsum(f((k + mp.mpf(1) / 2) * mp.pi / nodes) for k in range(nodes)) * mp.pi / nodes
    assert len(edges) == 6
    assert float(mass) == pytest.approx(3.0 / 16.0, rel=1e-9)


@pytest.mark.parametrize("covariance", [rf.Isotropic(1.0), TWO])
def test_two_point_functions_obey_the_resolvent_identity(covariance):
    """K_I(z, z) = ds/dz, and for z1 ≠ z2 K_I = (s1 - s2)/(z1 - z2)."""
    model = rf.RandomFeatureModel(8.0, 2.0, t=0.05, covariance=covariance)
    z1, z2 = mp.mpc("-1", "0.5"), mp.mpc("0.4", "0.3")
    s1, s2 = (algebraic.solve(model, z).s for z in (z1, z2))
    assert close(algebraic.two_point(model, z1, z2)["I"], (s1 - s2) / (z1 - z2), 35)


@pytest.mark.parametrize("covariance", [rf.Isotropic(1.0), TWO])
def test_two_point_functions_are_derivatives_in_the_noise(covariance):
    """A source ε b²FFᵀ in U moves s by -ε b² K_FFᵀ(z, z): differences of the twin with b² moved."""
    model = rf.RandomFeatureModel(8.0, 2.0, t=0.05, covariance=covariance)
    z = mp.mpc("-1", "0.5")
    eq = algebraic.twin.equations(model, 50)
    step = mp.mpf(10) ** -12

    def s(shift):
        moved = eq._replace(c=eq.c._replace(b2=eq.c.b2 + shift))
        return algebraic.twin.solve_equations(moved, z, 45).s

    slope = (s(step) - s(-step)) / (2 * step)
    assert close(-algebraic.two_point(model, z, z, 40)["FFT"], slope, 20)


def test_user_activation_needs_its_multi_precision_form():
    import jax.numpy as jnp

    model = rf.RandomFeatureModel(64.0, 8.0, t=0.01, activation=lambda x: jnp.tanh(x))
    with pytest.raises(ValueError, match="known in double precision only: give activation="):
        algebraic.edges(model)
    known = algebraic.edges(MODEL, 20)
    assert all(close(a, b, 20) for a, b in zip(algebraic.edges(model, 20, activation=mp.tanh), known, strict=True))


def test_gelu_by_quadrature_against_its_hermite_sum():
    model = rf.RandomFeatureModel(8.0, 4.0, t=0.2, activation="gelu")
    ge, exact = rf.gaussian_equivalent(model), algebraic.constants(model, 30)
    for name in ("mu0", "mu1", "kappa2", "b2", "v2", "s2"):
        assert float(getattr(ge, name)) == pytest.approx(float(getattr(exact, name)), rel=float(ge.error))
