"""The ground truth against 25-digit values of others, against itself by independent routes,
and against sympy.
"""

import equinox as eqx
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
    assert all(
        close(a, mp.mpf(b), 20) for a, (_, b) in zip(densities, reference["density"], strict=True)
    )
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


@pytest.mark.parametrize("activation", [None, lambda x: 2 * x + 1], ids=["tanh", "linear"])
def test_at_the_atom_there_is_no_solution(activation):
    """The descent to the real axis has no height to end at there, and said nothing for ever."""
    model = rf.RandomFeatureModel(
        64.0, 8.0, t=0.01, **({"activation": activation} if activation else {})
    )
    place, _ = algebraic.atom(model, 30, activation=activation)
    with pytest.raises(ArithmeticError, match="it is the atom or an edge"):
        algebraic.solve(model, place, 30, activation=activation)


def test_edges_are_roots_of_the_discriminant():
    """sympy's discriminant in q of the isotropic curve has one factor of odd multiplicity,
    of degree 9 in z.
    """
    curve = algebraic.curve(MODEL, 30)
    factors = sp.factor_list(sp.discriminant(curve.as_expr(), curve.gens[0]), curve.gens[1])[1]
    odd = [sp.Poly(f, curve.gens[1]) for f, m in factors if m % 2]
    (discriminant,) = [f for f in odd if f.degree() > 1]
    assert discriminant.degree() == 9
    roots = [mp.mpf(str(r)) for r in discriminant.nroots(n=30, maxsteps=200) if r.is_real]
    for edge in algebraic.edges(MODEL, 30):
        assert min(abs(r / edge - 1) for r in roots) < 1e-24
    # the spurious ones have been told from the edges
    assert len(roots) > len(algebraic.edges(MODEL, 30))


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
    assert all(
        close(a, b, digits) for a, b in zip(algebraic.edges(MODEL, digits), more, strict=True)
    )


def test_mass_by_multi_precision_quadrature():
    """The density of the curve, integrated over the sample bulk, is its exact mass."""
    model = rf.RandomFeatureModel(16.0, 4.0, t=0.02)
    edges = algebraic.edges(model, 25)
    with mp.workdps(25):
        a, b = edges[2:4]
        f = lambda theta: (
            algebraic.density(model, a + (b - a) * mp.sin(theta / 2) ** 2, 20)
            * (b - a)
            * mp.sin(theta)
            / 2
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
    eq = algebraic.system.equations(model, 50)
    step = mp.mpf(10) ** -12

    def s(shift):
        moved = eq._replace(c=eq.c._replace(b2=eq.c.b2 + shift))
        return algebraic.twin.solve_equations(moved, z, 45).s

    slope = (s(step) - s(-step)) / (2 * step)
    assert close(-algebraic.two_point(model, z, z, 40)["FFT"], slope, 20)


def test_finite_draws_of_the_noise():
    """q of another author's calculation; the limit of many draws;
    and one draw in Newton's method from elsewhere.
    """
    kwargs = {"t": 0.1, "covariance": TWO}
    two = algebraic.solve(rf.RandomFeatureModel(6.0, 3.0, noise_draws=2, **kwargs), mp.mpc(1, 0.5))
    assert abs(complex(two.q) - (-0.65368 + 0.47605j)) < 1e-5
    z = mp.mpc("0.3", "0.2")
    all_of_it = algebraic.solve(rf.RandomFeatureModel(6.0, 3.0, **kwargs), z)
    off = [
        algebraic.solve(rf.RandomFeatureModel(6.0, 3.0, noise_draws=m, **kwargs), z).q - all_of_it.q
        for m in (10**6, 2 * 10**6)
    ]
    assert abs(off[0]) < 1e-5
    assert abs(off[0] / off[1] - 2) < 1e-5


MANY = {
    "data": {"target": "data"},
    "velocity, three draws": {"target": "velocity", "noise_draws": 3},
    "score, one draw, weight decay": {"target": "score", "noise_draws": 1, "weight_decay": 0.2},
    "noise, two draws": {"noise_draws": 2},
}

SPARED = [
    name if name.startswith("velocity") else pytest.param(name, marks=pytest.mark.slow)
    for name in MANY
]


def many_of(name):
    return rf.RandomFeatureModel(4.0, 1.5, t=0.2, activation="relu", covariance=TWO, **MANY[name])


@pytest.mark.parametrize("name", MANY)
def test_explained_twice_obeys_the_resolvent_identity(name):
    model = many_of(name)
    z1, z2 = mp.mpc("-1", "0.5"), mp.mpc("0.4", "0.3")
    S1, S2 = (algebraic.explained(model, z).sample for z in (z1, z2))
    assert close(algebraic.explained_twice(model, z1, z2, (1, 0, 0)), (S1 - S2) / (z1 - z2), 35)
    assert close(
        algebraic.explained_twice(model, z1, z2), algebraic.explained_twice(model, z2, z1), 35
    )


def test_what_is_explained_of_the_noise_is_a_trace():
    """For the target "noise" with all of the noise V = bF: S = b²ψ_p s,
    and two-point functions with it.
    """
    c, z = algebraic.constants(MODEL, 40), mp.mpc("0.1", "0.2")
    S, K = algebraic.explained(MODEL, z), algebraic.two_point(MODEL, z, -1)
    expected = 64 * c.b2 * algebraic.solve(MODEL, z).s
    assert close(S.sample, expected, 35)
    assert close(S.population, expected, 35)
    fresh = 64 * c.b2 * ((c.v2 + c.s2) * K["I"] + c.b2 * K["FFT"] + c.kappa2 * K["FSFT"])
    assert close(algebraic.explained_twice(MODEL, z, -1), fresh, 35)


def sampled(rng, model, d, tau, z):
    """Losses and Tr Vᵀ(U - z)⁻¹V/d of one Gaussian-equivalent matrix with its draws, by numpy."""
    c = algebraic.constants(model, 20)
    kappa, b, v, s = (float(mp.sqrt(x)) for x in (c.kappa2, c.b2, c.v2, c.s2))
    alpha, beta = np.exp(-0.2), np.sqrt(-np.expm1(-0.4))
    signal, noise = {
        "data": (1.0, 0.0), "velocity": (-alpha, alpha**2 / beta), "score": (0.0, -1 / beta),
        "noise": (0.0, -1.0),
    }[model.target]  # fmt: skip
    pace = beta**2 if model.target == "noise" else 1.0
    p, n, m = 4 * d, 3 * d // 2, model.noise_draws
    spectrum = np.repeat([0.5, 1.5], d // 2)
    F, X = (
        rng.normal(size=(p, d)) / np.sqrt(d),
        np.sqrt(spectrum)[:, None] * rng.normal(size=(d, n)),
    )
    X *= np.sqrt(d * n) / np.linalg.norm(X)  # the loss untrained is its expectation
    G = kappa * F @ X + v * rng.normal(size=(p, n))
    U, V = np.zeros((p, p)), np.zeros((p, d))
    if np.isinf(m):
        U = G @ G.T / n + b**2 * F @ F.T + s**2 * np.eye(p)
        V = signal * G @ X.T / n + noise * b * F
    else:
        for _ in range(int(m)):
            xi = rng.normal(size=(d, n))
            phi = G + b * F @ xi + s * rng.normal(size=(p, n))
            U, V = U + phi @ phi.T / (n * m), V + phi @ (signal * X + noise * xi).T / (n * m)
    U_test = (v**2 + s**2) * np.eye(p) + b**2 * F @ F.T + kappa**2 * F * spectrum @ F.T
    V_test = F * (signal * kappa * spectrum + noise * b)
    values, basis = np.linalg.eigh(U)
    rates = np.maximum(values, 0) + model.weight_decay / pace
    A = basis @ (
        (-np.expm1(-2 * pace * tau / 4.0 * rates) / np.maximum(rates, 1e-12))[:, None]
        * (basis.T @ V)
    )
    start = signal**2 + noise**2
    losses = [
        start + (np.sum(A * (M @ A)) - 2 * np.sum(A * N)) / d for M, N in ((U, V), (U_test, V_test))
    ]
    return [*losses, np.sum(V * np.linalg.solve(U - z * np.eye(p), V)) / d]


@pytest.mark.parametrize("name", SPARED)
def test_losses_against_sampled_matrices(name):
    """L_train, L_test and S(-0.3) of six matrices at d = 60, and what is left at finite d."""
    model, tau = many_of(name), 20.0
    rng = np.random.default_rng(1)
    draws = np.array([sampled(rng, model, 60, tau, -0.3) for _ in range(6)])
    at = algebraic.losses(model, tau, 10)
    truth = np.array(
        [float(at.train), float(at.test), float(algebraic.explained(model, -0.3, 10).sample.real)]
    )
    error = draws.std(0, ddof=1) / np.sqrt(6)
    assert np.all(np.abs(draws.mean(0) - truth) < 4 * error + 0.006 * truth)


@pytest.mark.parametrize("name", SPARED)
def test_losses_between_their_ends(name):
    """Nothing is learnt at τ = 0, and the end is reached."""
    start, early, end, late = algebraic.losses(many_of(name), [0, 1e-9, np.inf, "1e30"], 10)
    assert start.train == start.test
    assert abs(early.train - start.train) < 1e-7
    assert abs(late.train - end.train) < 1e-9
    assert close(late.test, end.test, 9)
    assert max(x.error for x in (early, end, late)) < 1e-10 * late.test


@pytest.mark.slow
@pytest.mark.parametrize("name", MANY)
def test_derivatives_of_the_test_loss(name):
    """In log τ, against differences."""
    step = mp.mpf(10) ** -5
    times = [3 * mp.exp(k * step) for k in (-1, 0, 1)]
    below, at, above = algebraic.losses(many_of(name), times, 22)
    assert close((above.test - below.test) / (2 * step), at.slope, 8)
    assert close((above.test - 2 * at.test + below.test) / step**2, at.bend, 8)


def test_train_loss_by_the_spectral_integral():
    """y_0 - ∫ dν (2h - λh²) over the one bulk, dν = Im S/π, by the midpoint rule in θ."""
    model = rf.RandomFeatureModel(0.5, 2.0, t=0.3, covariance=rf.Isotropic(1.0), target="velocity")
    low, high = algebraic.edges(model, 20)
    with mp.workdps(25):
        of, unit = algebraic.regression.regression(model, 30), 2 * mp.mpf(7) / mp.mpf("0.5")
        solver, total, count = algebraic.twin.Solver(of.equations, 18), mp.mpf(0), 40
        for k in range(count):
            theta = (2 * k + 1) * mp.pi / (2 * count)
            x = low + (high - low) * mp.sin(theta / 2) ** 2
            S = algebraic.regression.Nodes(of, solver, [mp.mpc(x)], twice=False).sample[0]
            learnt = 1 - mp.exp(-unit * x)
            total += mp.im(S) / count * (high - low) * mp.sin(theta) / 2 * learnt * (2 - learnt) / x
        assert close(of.untrained - total, algebraic.losses(model, 7, 20).train, 12)


def test_as_many_features_as_columns_learn_the_noise_without_end():
    model = rf.RandomFeatureModel(6.0, 3.0, t=0.1, noise_draws=2)
    end = algebraic.losses(model, np.inf, 15)
    assert end.train < 1e-20
    assert end.test == mp.inf


def test_polynomials_have_exact_constants():
    """By moments, and by the quadrature of the same function; of a linear σ nothing is left."""
    model = rf.RandomFeatureModel(8.0, 4.0, t=0.05, activation=rf.Polynomial([0.5, 1.0, 0.25, 0.5]))
    exact, ge = algebraic.constants(model, 30), rf.gaussian_equivalent(model)
    other = rf.RandomFeatureModel(8.0, 4.0, t=0.05)  # the same process and covariance
    summed = algebraic.constants(
        eqx.tree_at(lambda m: m.activation, other, rf.Activation(lambda x: x + x**2)),
        30,
        activation=lambda x: 0.5 + x + x**2 / 4 + x**3 / 2,
    )
    for name in ("mu0", "mu1", "kappa2", "b2", "v2", "s2"):
        assert close(getattr(summed, name), getattr(exact, name), 28)
        assert float(getattr(ge, name)) == pytest.approx(float(getattr(exact, name)), rel=1e-13)
    linear = algebraic.constants(
        rf.RandomFeatureModel(8.0, 4.0, t=0.05, activation=rf.Polynomial([0.1, 2.0])), 30
    )
    assert (linear.v2, linear.s2) == (0, 0)


def test_user_activation_needs_its_multi_precision_form():
    import jax.numpy as jnp

    model = rf.RandomFeatureModel(64.0, 8.0, t=0.01, activation=lambda x: jnp.tanh(x))
    with pytest.raises(ValueError, match="known in double precision only: give activation="):
        algebraic.edges(model)
    known = algebraic.edges(MODEL, 20)
    assert all(
        close(a, b, 20)
        for a, b in zip(algebraic.edges(model, 20, activation=mp.tanh), known, strict=True)
    )


def test_gelu_by_quadrature_against_its_hermite_sum():
    model = rf.RandomFeatureModel(8.0, 4.0, t=0.2, activation="gelu")
    ge, exact = rf.gaussian_equivalent(model), algebraic.constants(model, 30)
    for name in ("mu0", "mu1", "kappa2", "b2", "v2", "s2"):
        assert float(getattr(ge, name)) == pytest.approx(
            float(getattr(exact, name)), rel=float(ge.error)
        )


def test_what_the_losses_refuse():
    for tau in (-1.0, float("nan"), "soon", 1j):
        with pytest.raises(ValueError, match="tau must be real numbers of at least 0"):
            algebraic.losses(MODEL, tau)
    for call in (algebraic.explained, lambda m, z: algebraic.explained_twice(m, 1, z)):
        with pytest.raises(ValueError, match="z must be finite with Im z ≥ 0"):
            call(MODEL, 1 - 1j)
