"""Covariances: closed moments, sampled matrices,
and the spectra of continuous laws against their own integrals.
"""

from itertools import product
from math import comb

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from mpmath import mp
from scipy import integrate

import rfspec as rf
from rfspec.resolvent.equations import equations
from rfspec.resolvent.solver import unknowns_at
from rfspec.resolvent.two_point import SOURCES

LAWS = {
    "power law": lambda K: rf.PowerLaw(1.0, 0.05, nodes=K),
    "summable power law": lambda K: rf.PowerLaw(0.5, nodes=K),
    "exponential": lambda K: rf.Exponential(3.0, nodes=K),
    "soft edges": lambda K: rf.MarchenkoPastur(0.5, nodes=K),
    "hard edge": lambda K: rf.MarchenkoPastur(1.0, nodes=K),
    "atom and soft edges": lambda K: rf.MarchenkoPastur(2.0, 0.5, nodes=K),
    "semicircle": lambda K: rf.Density(
        lambda x: 2 / np.pi * np.sqrt((x - 1) * (3 - x)), 1.0, 3.0, nodes=K
    ),
    "arcsine": lambda K: rf.Density(
        lambda x: 1 / (np.pi * np.sqrt(x * (2 - x))), 0.0, 2.0, nodes=K
    ),
    "uniform": lambda K: rf.Density(lambda x: 0.5 + 0 * x, 1.0, 3.0, nodes=K),
}


def average(law, f):
    return float((law.weights * f(np.asarray(law.values))).sum())


@pytest.mark.parametrize("ratio", [0.3, 1.0, 2.5])
def test_moments_of_marchenko_pastur_are_exact(ratio):
    """Narayana's numbers, up to the 2K - 1 that a Gauss rule gets right."""
    law = rf.MarchenkoPastur(ratio, 2.0, nodes=8)
    for k in range(1, 16):
        exact = 2.0**k * sum(ratio**r / (r + 1) * comb(k, r) * comb(k - 1, r) for r in range(k))
        assert average(law, lambda x, k=k: x**k) == pytest.approx(exact, rel=1e-13)
    assert average(law, lambda x: 1.0 * (x == 0)) == pytest.approx(
        max(0.0, 1 - 1 / ratio), abs=1e-15
    )


@pytest.mark.parametrize("ratio", [0.5, 1.0, 2.5])
def test_marchenko_pastur_is_the_law_of_sample_covariances(ratio):
    d = 400
    X = np.random.default_rng(1).standard_normal((d, round(d / ratio)))
    found = np.linalg.eigvalsh(X @ X.T / X.shape[1])
    for x in (0.1, 1.0, 5.0):  # fluctuations of linear statistics are of order 1/d
        sampled = np.mean(found / (found + x))
        assert average(rf.MarchenkoPastur(ratio), lambda v, x=x: v / (v + x)) == pytest.approx(
            sampled, abs=3 / d
        )


@pytest.mark.parametrize(("a", "cutoff"), [(0.5, 0.01), (1.0, 1e-3), (1.5, 0.1), (2.0, 0.01)])
def test_moments_of_the_power_law(a, cutoff):
    law = rf.PowerLaw(a, cutoff, scale=0.5)
    for k in (1, 2, 3):
        power = 1 - a * k
        integral = -np.log(cutoff) if power == 0 else (1 - cutoff**power) / power
        assert average(law, lambda x, k=k: x**k) == pytest.approx(
            0.5**k * integral / (1 - cutoff), rel=1e-12
        )


@pytest.mark.parametrize("a", [0.02, 0.2, 0.5, 0.8, 0.95, 0.99])
def test_power_law_without_a_cutoff(a):
    law = rf.PowerLaw(a)
    assert float(law.trace) == pytest.approx(1 / (1 - a), rel=1e-12)
    for x in (0.1, 1.0, 10.0):
        exact, _ = integrate.quad(
            lambda u, x=x: 1 / (1 + x * u**a), 0, 1, epsabs=1e-13, epsrel=1e-13
        )
        assert average(law, lambda v, x=x: v / (v + x)) == pytest.approx(
            exact, rel=max(1e-9, float(law.error))
        )


def test_the_finite_list_tends_to_the_power_law():
    limit, x = rf.PowerLaw(0.7), 2.0
    f = lambda v: v / (v + x)
    gaps = [average(rf.PowerLaw.of_dimension(0.7, d).normalised(), f) for d in (100, 1000, 10000)]
    gaps = np.abs(np.array(gaps) - average(limit.normalised(), f))
    # the trace of what is missing at the top goes as d^(a-1)
    assert np.all(gaps[1:] < gaps[:-1] / 1.5)
    assert rf.PowerLaw.of_dimension(0.7, 100).atomic


def test_moments_of_the_exponential_law():
    law = rf.Exponential(3.0, 2.0)
    for k in (1, 2, 5):
        assert average(law, lambda x, k=k: x**k) == pytest.approx(
            2.0**k * -np.expm1(-3.0 * k) / (3.0 * k), rel=1e-13
        )


@pytest.mark.parametrize(
    ("name", "mean", "square"),
    [("semicircle", 2, 4.25), ("arcsine", 1, 1.5), ("uniform", 2, 13 / 3)],
)
def test_densities_with_soft_hard_and_finite_ends(name, mean, square):
    law = LAWS[name](32)
    assert float(law.trace) == pytest.approx(mean, rel=1e-12)
    assert average(law, lambda x: x**2) == pytest.approx(square, rel=1e-12)


def test_a_density_with_algebraic_ends_converges_with_its_exponents():
    pdf = lambda x: 0.7 * x**-0.3
    exact = 0.7 * integrate.quad(lambda x: 1 / (x + 0.5), 0, 1, weight="alg", wvar=(0.7, 0))[0]
    law = rf.Density(pdf, 0.0, 1.0, exponents=(-0.3, 0.0), nodes=32)
    assert average(law, lambda x: x / (x + 0.5)) == pytest.approx(exact, rel=1e-12)
    plain = rf.Density(pdf, 0.0, 1.0, nodes=32, tolerance=1e-3)
    assert average(plain, lambda x: x / (x + 0.5)) == pytest.approx(exact, rel=2e-3)


@pytest.mark.parametrize("name", LAWS)
def test_the_error_covers_the_error(name):
    law, fine = LAWS[name](16), LAWS[name](512)
    for x in (0.02, 0.3, 3.0):
        f = lambda v, x=x: v / (v + x * float(fine.trace))
        assert average(law, f) == pytest.approx(average(fine, f), rel=float(law.error) + 1e-12)
    assert float(LAWS[name](64).error) < 5e-4
    assert not law.atomic


def test_a_subspace_and_a_mixture():
    part = rf.Subspace(0.25, 2.0)
    assert part.values.tolist() == [0.0, 2.0]
    assert part.atomic
    assert part.error == 0.0
    assert rf.Subspace(1.0, 2.0).values.tolist() == [2.0]
    inner = rf.Subspace(0.5, covariance=rf.MarchenkoPastur(2.0, nodes=8))
    assert inner.values.size == 9  # one eigenvalue 0, not two
    assert inner.weights[0] == pytest.approx(0.75, abs=1e-15)
    assert not inner.atomic
    mixed = rf.Mixture(
        [rf.Isotropic(1.0), rf.Atoms([1.0, 3.0], [0.5, 0.5]), rf.Exponential(1.0)],
        [0.25, 0.25, 0.5],
    )
    assert mixed.weights[mixed.values == 1.0].sum() == pytest.approx(0.375, abs=1e-15)
    assert float(mixed.trace) == pytest.approx(0.25 + 0.5 - 0.5 * np.expm1(-1.0), rel=1e-13)
    assert mixed.values.size == 2 + rf.Exponential(1.0).values.size
    assert float(mixed.error) < 1e-12


@pytest.mark.parametrize(
    "law", [rf.Atoms([0.0, 2.0], [0.5, 0.5]), rf.PowerLaw(1.0, 0.05), rf.Subspace(0.1)]
)
def test_normalising_scales_and_nothing_else(law):
    scaled = law.normalised(3.0)
    assert type(scaled) is type(law)
    assert float(scaled.trace) == pytest.approx(3.0, rel=1e-14)
    assert np.allclose(scaled.values * float(law.trace), 3.0 * law.values, rtol=1e-14)
    assert float(scaled.error) == pytest.approx(float(law.error), abs=1e-14)


GRADS = {
    "exponent": (lambda a: rf.PowerLaw(a).trace, 0.4, 1 / 0.36),
    "exponent with a cutoff": (lambda a: rf.PowerLaw(a, 0.1).trace, 1.0, np.log(0.1) ** 2 / 1.8),
    "scale": (lambda s: rf.PowerLaw(0.5, scale=s).trace, 1.0, 2.0),
    "rate": (lambda r: rf.Exponential(r).trace, 1.0, 2 * np.exp(-1.0) - 1),
    "variance": (lambda v: rf.MarchenkoPastur(0.5, v).trace, 1.0, 1.0),
    "ratio": (lambda c: (m := rf.MarchenkoPastur(c)).weights @ m.values**2, 0.5, 1.0),
    "ratio with an atom": (lambda c: (m := rf.MarchenkoPastur(c)).weights @ m.values**2, 2.0, 1.0),
    "fraction": (lambda f: rf.Subspace(f, 2.0).trace, 0.5, 2.0),
    "share": (
        lambda w: rf.Mixture([rf.Isotropic(1.0), rf.Isotropic(3.0)], jnp.stack([1 - w, w])).trace,
        0.5,
        2.0,
    ),
    "density": (lambda b: rf.Density(lambda x: 1 / b + 0 * x, 0.0, b).trace, 2.0, 0.5),
    "normalised": (lambda s: rf.Atoms([1.0, 3.0], [0.5, 0.5]).normalised(s).values[1], 1.0, 1.5),
}


@pytest.mark.parametrize("name", GRADS)
def test_parameters_are_differentiable(name):
    f, at, exact = GRADS[name]
    assert float(jax.jit(jax.grad(f))(at)) == pytest.approx(exact, rel=1e-10)
    assert float(jax.jit(jax.vmap(f))(jnp.array([at, 1.01 * at]))[0]) == pytest.approx(
        float(f(at)), rel=1e-12
    )


# -------------------------------------------------------------------------------- the spectrum of U


PSI = 1.5, 0.75
SAMPLED = {  # the eigenvalues of a Σ of finite d
    "power law": lambda d, rng: 1 / (0.05 + 0.95 * middles(d)),
    "exponential": lambda d, rng: np.exp(-3.0 * middles(d)),
    "soft edges": lambda d, rng: white(d, 2 * d, rng),
    "hard edge": lambda d, rng: white(d, d, rng),
    "semicircle": lambda d, rng: 2 + np.linalg.eigvalsh(wigner(d, rng)),
    "subspace": lambda d, rng: np.repeat([0.0, 1.0], [d - d // 4, d // 4]),
    "mixture": lambda d, rng: np.concatenate([np.ones(d // 2), np.exp(-3.0 * middles(d // 2))]),
}
OTHERS = {
    "subspace": rf.Subspace(0.25),
    "mixture": rf.Mixture([rf.Isotropic(1.0), rf.Exponential(3.0)], [0.5, 0.5]),
}


def middles(d):
    return (np.arange(d) + 0.5) / d


def white(d, samples, rng):
    X = rng.standard_normal((d, samples))
    return np.linalg.eigvalsh(X @ X.T / samples)


def wigner(d, rng):
    W = rng.standard_normal((d, d))
    return (W + W.T) / np.sqrt(8 * d)


class Rule:
    """ρ_Σ on panels that shrink geometrically towards the ends and towards one place:
    no code of the package.
    """

    def __init__(self, pdf, low, high, atoms=()):
        self.pdf, self.low, self.high, self.atoms = pdf, low, high, atoms

    def at(self, place):
        low, high, width = self.low, self.high, self.high - self.low
        steps = width * 0.5 ** np.arange(1, 60)
        ends = np.concatenate(
            [[low, high], low + steps, high - steps, place + steps, place - steps, [place]]
        )
        ends = np.unique(np.clip(ends, low, high))
        x, w = np.polynomial.legendre.leggauss(20)
        half = np.diff(ends)[:, None] / 2
        values = (ends[:-1, None] + half * (1 + x)).ravel()
        weights = (half * w).ravel() * self.pdf(
            np.clip(values - low, 1e-300, None), np.clip(high - values, 1e-300, None)
        )
        for value, weight in self.atoms:
            values, weights = np.append(values, value), np.append(weights, weight)
        return values, weights


def power_rule(a, cutoff):
    return Rule(lambda up, _: (1 + up) ** (-1 / a - 1) / a / (1 - cutoff), 1.0, cutoff**-a)


def sample_rule(c, mass=1.0, atoms=()):
    low, high = (1 - c**0.5) ** 2, (1 + c**0.5) ** 2
    return Rule(
        lambda up, down: mass * np.sqrt(up * down) / (2 * np.pi * c * (low + up)), low, high, atoms
    )


TRUE = {
    "power law": (rf.PowerLaw(1.0, 0.05), power_rule(1.0, 0.05)),
    "steep power law": (rf.PowerLaw(1.5, 0.05), power_rule(1.5, 0.05)),
    "exponential": (
        rf.Exponential(3.0),
        Rule(lambda up, _: 1 / (3 * (np.exp(-3.0) + up)), np.exp(-3.0), 1.0),
    ),
    "soft edges": (rf.MarchenkoPastur(0.5), sample_rule(0.5)),
    "hard edge": (rf.MarchenkoPastur(1.0), sample_rule(1.0)),
    "semicircle": (
        LAWS["semicircle"](None),
        Rule(lambda up, down: 2 / np.pi * np.sqrt(up * down), 1.0, 3.0),
    ),
    "uniform": (LAWS["uniform"](None), Rule(lambda up, _: 0.5 + 0 * up, 1.0, 3.0)),
    "with an atom": (
        rf.Mixture([rf.Isotropic(4.0), rf.MarchenkoPastur(0.3)], [0.25, 0.75]),
        sample_rule(0.3, 0.75, [(4.0, 0.25)]),
    ),
}


def printed(model, q, delta, z, values, weights):
    """Equations (1) and (2) of the module, or (10) and (11), as they are printed,
    and their derivatives in q and δ.
    """
    ge, psi_p, psi_n, m = (
        rf.gaussian_equivalent(model),
        float(model.psi_p),
        float(model.psi_n),
        model.noise_draws,
    )
    kappa2, b2, v2, s2 = (float(x) for x in (ge.kappa2, ge.b2, ge.v2, ge.s2))
    if np.isinf(m):
        (d,) = delta
        D, f, drawn = 1 / (1 + d), 1.0, 0.0
    else:
        d, more = delta
        D, f = 1 / (1 + d), 1 / (m * (1 + d)) + (1 - 1 / m) / (1 + more)
    T = b2 * f + kappa2 * values * D
    e = 1 + psi_p * T * q
    s, r = q * np.sum(weights / e), q * np.sum(weights * values / e)
    one = q * (s2 * f - z + v2 * D + np.sum(weights * T / e)) - 1
    if np.isinf(m):
        return one, psi_p / psi_n * (v2 * q + kappa2 * r) / d - 1
    drawn = psi_p / psi_n * (s2 * q + b2 * s) / m
    return one, (psi_p / psi_n * (v2 * q + kappa2 * r) + drawn) / d - 1, drawn / more - 1


def pole(model, q, delta):
    """λ at which 1 + ψ_pTq vanishes."""
    ge = rf.gaussian_equivalent(model)
    D = 1 / (1 + delta)
    return float((-(1 / (float(model.psi_p) * q) + float(ge.b2)) / (float(ge.kappa2) * D)).real)


@pytest.mark.parametrize("name", TRUE)
def test_solutions_inside_the_bulks_are_those_of_the_law(name):
    """The printed equations hold with integrals over the law itself,
    where its nodes would be seen one by one.
    """
    law, rule = TRUE[name]
    rng = np.random.default_rng(sum(map(ord, name)))
    for psi_p, psi_n in np.exp(rng.uniform(np.log(2.0), np.log(1e4), (4, 2))):
        model = rf.RandomFeatureModel(psi_p, psi_n, 0.1, covariance=law)
        ge = rf.gaussian_equivalent(model)
        x = float(ge.s2 + ge.v2 + psi_p * (ge.b2 + ge.kappa2 * float(law.trace))) * np.array(
            [0.7, 1.0, 1.2]
        )
        found = rf.solve(model, x)
        assert np.all(found.status == 0)
        for i in range(x.size):
            q, delta = complex(found.q[i]), complex(found.delta[i])
            off = printed(model, q, (delta,), x[i], *rule.at(pole(model, q, delta)))
            assert max(map(abs, off)) < 1e-9
            assert float(found.error[i]) > 1e-14


def test_solutions_with_finite_draws_are_those_of_the_law():
    law, rule = TRUE["power law"]
    model = rf.RandomFeatureModel(500.0, 60.0, 0.1, covariance=law, noise_draws=2)
    x = np.array([100.0, 200.0, 400.0])
    solved = jax.jit(
        jax.vmap(lambda z: unknowns_at(equations(model, rf.gaussian_equivalent(model)), z)[0])
    )(x + 0j)
    for i in range(x.size):
        q, *delta = (complex(u[i]) for u in solved)
        assert q.imag > 1e-8
        ge = rf.gaussian_equivalent(model)
        f = 1 / (2 * (1 + delta[0])) + 0.5 / (1 + delta[1])
        place = float(
            (-(1 / (500.0 * q) + float(ge.b2) * f) * (1 + delta[0]) / float(ge.kappa2)).real
        )
        assert max(map(abs, printed(model, q, delta, x[i], *rule.at(place)))) < 1e-9


SOME = ("power law",)
SLOWLY = [name if name in SOME else pytest.param(name, marks=pytest.mark.slow) for name in TRUE]


@pytest.mark.parametrize("name", SLOWLY)
def test_edges_are_those_of_the_law(name):
    """An edge is a maximum or minimum of z over real q: by Newton's method from the edge found,
    to all digits.
    """
    law, rule = TRUE[name]
    model = rf.RandomFeatureModel(60.0, 7.0, 0.1, covariance=law)
    sp = rf.spectrum(model)
    known = 1.0 / float(model.psi_p)
    shares = (0.25, 1.0) if name == "with an atom" else (1.0,)
    levels = known * np.concatenate([shares, [7.0, 7.0 + shares[0], 7.0 + 1 - shares[0], 8.0]])
    upto = np.cumsum([b.mass for b in sp.bulks[::-1]])
    assert np.all(np.abs(upto[:, None] - levels).min(1) < 1e-12)  # no bulk but the law's
    for edge, claimed in zip(sp.edges, sp.edge_error, strict=True):
        truth = fold(model, rule, float(edge))
        off = float(sp.atom.location)
        assert abs(edge - truth) < 1e-9 * (truth - off) + 1e-15
        assert abs(edge - truth) <= claimed * (truth - off) + 1e-15
    assert float(sp.error) < 1e-9


def fold(model, rule, z):
    """The fold of the two printed equations nearest to z, by Newton's method in (q, δ,
    z) with exact derivatives.
    """
    beside = rf.solve(model, np.array([z * (1 - 1e-7), z * (1 + 1e-7)]))
    i = int(np.argmin(np.abs(np.asarray(beside.q).imag)))
    ge, psi_p, psi_n = rf.gaussian_equivalent(model), float(model.psi_p), float(model.psi_n)
    kappa2, b2, v2, s2 = (float(x) for x in (ge.kappa2, ge.b2, ge.v2, ge.s2))
    q, delta = (float(np.asarray(a)[i].real) for a in (beside.q, beside.delta))
    values, weights = rule.at(pole(model, q, delta))

    def system(v):
        q, d, z = v
        D = 1 / (1 + d)
        T = b2 + kappa2 * values * D
        e = 1 + psi_p * T * q
        slope = -kappa2 * values * D**2  # ∂T/∂δ
        F = 1 / q - s2 + z - v2 * D - np.sum(weights * T / e)
        G = d - psi_p / psi_n * (v2 * q + kappa2 * np.sum(weights * values * q / e))
        Fq = -1 / q**2 + psi_p * np.sum(weights * T**2 / e**2)
        Fd = v2 * D**2 - np.sum(weights * slope / e**2)
        Gq = -psi_p / psi_n * (v2 + kappa2 * np.sum(weights * values / e**2))
        Gd = 1 + psi_p / psi_n * kappa2 * psi_p * q**2 * np.sum(weights * values * slope / e**2)
        return np.array([F, G, Fq * Gd - Fd * Gq]), np.array([[Fq, Fd, 1.0], [Gq, Gd, 0.0]])

    v = np.array([q, delta, z])
    for _ in range(60):
        f, rows = system(v)
        last = [
            (system(v + h)[0][2] - system(v - h)[0][2]) / (2 * h.sum())
            for h in np.diag(1e-6 * np.abs(v))
        ]
        v = v - np.linalg.solve(np.vstack([rows, last]), f)
    return v[2]


def root_law(ratio, variance=1.0):
    """The ends of Marchenko-Pastur's law and ∫ρ/(λ - x) outside of them, in closed form."""
    low, high = ((1 + sign * mp.sqrt(mp.mpf(ratio))) ** 2 * variance for sign in (-1, 1))

    def transform(x):
        root = mp.sqrt(abs((x - low) * (x - high))) * (1 if x > high else -1)
        return (variance * (1 - ratio) - x + root) / (2 * ratio * variance * x)

    return low, high, transform


def log_law(rate, scale=1.0):
    """The same of the exponential law, ρ ∝ 1/λ."""
    low, high = scale * mp.exp(-mp.mpf(rate)), mp.mpf(scale)
    return low, high, lambda x: (mp.log((high - x) / (low - x)) - rate) / (rate * x)


def linear_law(scale):
    """The same of ρ ∝ (λ - 1) √(3 - λ) on [1, 3], scaled."""

    def transform(x):
        w = (x / scale - 1) / 2
        root = mp.sqrt(abs(1 - w))
        angle = mp.acoth(root) if w < 1 else mp.acot(root)
        return mp.mpf(15) / (8 * scale) * (mp.mpf(2) / 3 + 2 * w * (root * angle - 1))

    return mp.mpf(scale), 3 * mp.mpf(scale), transform


def extremes(model, ends, digits=50):
    """Every value at which z(x) is extreme, x the real zero of 1 + ψ_pTq off the law's interval.

    (7) at given x is quadratic in q, and (6) then gives z: nothing is close to anything else,
    however close x is to the end of the law.
    """
    with mp.workdps(digits):
        low, high, transform = ends()
    ge = rf.gaussian_equivalent(model)
    kappa2, b2, v2, s2 = (mp.mpf(float(a)) for a in (ge.kappa2, ge.b2, ge.v2, ge.s2))
    psi_p, psi_n = mp.mpf(float(model.psi_p)), mp.mpf(float(model.psi_n))

    def z(x, which):
        g = 1 + x * transform(x)
        ratio = psi_p / psi_n
        a, b = (
            ratio * v2 * psi_p * b2,
            psi_p * b2 + x * psi_p * kappa2 + ratio * (v2 - kappa2 * x * g),
        )
        q = (-b + which * mp.sqrt(b * b - 4 * a)) / (2 * a)
        D = -(1 + psi_p * b2 * q) / (x * psi_p * kappa2 * q)
        return s2 + v2 * D - 1 / q + (1 + x * transform(x) / (1 + psi_p * b2 * q)) / (psi_p * q)

    found = []
    with mp.workdps(digits):
        for (start, sign), which in product(((low, -1), (0, -1), (0, 1), (high, 1)), (-1, 1)):
            # or complex
            at = lambda y, start=start, sign=sign, which=which: z(start + sign * mp.exp(y), which)
            ys = [mp.mpf(3 * k + 1) / 48 for k in range(-16 * 75, 16 * 25)]
            values = [at(y) for y in ys]
            for k in range(1, len(ys) - 1):
                near = values[k - 1 : k + 2]
                if (
                    all(mp.im(v) == 0 for v in near)
                    and (near[1] - near[0]) * (near[2] - near[1]) < 0
                ):
                    found.append(float(mp.re(at(turn(at, ys[k - 1], ys[k + 1])))))
            slopes = [
                abs((values[k + 1] - values[k]) / (mp.exp(ys[k + 1]) - mp.exp(ys[k])))
                for k in (0, 16)
            ]
            # they go on to fall: closer than all of these
            if start and mp.im(values[0]) == 0 and slopes[0] < slopes[1]:
                found.append(float(mp.re(values[0])))
    return np.array(found)


def turn(f, left, right):
    """Where a function that turns once between two places does."""
    rises = lambda y: mp.re(mp.diff(f, y)) > 0
    first = rises(left)
    for _ in range(70):
        middle = (left + right) / 2
        left, right = (middle, right) if rises(middle) == first else (left, middle)
    return left


LINEAR = rf.Density(
    lambda x: (x - 1) * (3 - x) ** 0.5 * 15 / 2**4.5, 1.0, 3.0, exponents=(1.0, 0.5)
)
ENDS = {
    "a soft lower end": (
        44939.7,
        321122.0,
        5.42e-5,
        "relu",
        rf.MarchenkoPastur(0.52),
        lambda: root_law(0.52),
    ),
    "both ends of the sample": (
        2.297e6,
        10065.0,
        1.16e-3,
        "tanh",
        rf.MarchenkoPastur(0.3),
        lambda: root_law(0.3),
    ),
    "hard ends": (5.9188e6, 4239.9, 0.0717, "gelu", rf.Exponential(7.557), lambda: log_law(7.557)),
    # det ∂F/∂u vanishes at such an end wherever the edge is
    "a linear lower end": (366.11, 360.96, 4.5e-5, "tanh", LINEAR, lambda: linear_law(1)),
    "an edge at a linear end": (3661.1, 360.96, 4.5e-4, "tanh", LINEAR, lambda: linear_law(1)),
}
QUICK_ENDS = ("a linear lower end",)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n in QUICK_ENDS else pytest.mark.slow) for n in ENDS]
)
def test_edges_next_to_the_ends_of_a_law(name):
    """At large ψ_p and ψ_n the zero of 1 + ψ_pTq comes as close to the ends of the law as 10⁻¹⁴ of
    them.
    """
    psi_p, psi_n, t, activation, law, ends = ENDS[name]
    model = rf.RandomFeatureModel(psi_p, psi_n, t, activation=activation, covariance=law)
    sp = rf.spectrum(model)
    truth = extremes(model, ends)
    off = np.asarray(sp.edges)[:, None] - truth
    claimed = sp.edge_error * (np.asarray(sp.edges) - float(sp.atom.location)) + 1e-15 * np.asarray(
        sp.edges
    )
    assert np.all(np.abs(off).min(1) <= claimed)
    assert np.all(sp.edge_error < 1e-7)


@pytest.mark.slow
def test_derivatives_of_edges_next_to_the_ends_of_a_law():
    psi_p, psi_n, t, activation, law, ends = ENDS["a soft lower end"]
    make = lambda psi_p: rf.RandomFeatureModel(
        psi_p, psi_n, t, activation=activation, covariance=law
    )
    slopes = jax.jacfwd(lambda psi_p: rf.spectrum(make(psi_p)).edges)(psi_p)[:4]
    step = 1e-4 * psi_p
    up, down = (extremes(make(psi_p + h), ends) for h in (step, -step))
    edges = np.asarray(rf.spectrum(make(psi_p)).edges)
    match = lambda found: found[np.abs(edges[:, None] - found).argmin(1)]
    assert np.asarray(slopes) == pytest.approx((match(up) - match(down)) / (2 * step), rel=1e-6)


def test_two_resolvents_near_the_axis_see_the_law():
    """K_I(z1, z2) = (s(z1) - s(z2))/(z1 - z2), on both sides of the axis."""
    model = rf.RandomFeatureModel(3000.0, 2000.0, 0.1, covariance=rf.PowerLaw(1.0, 0.05))
    z = np.array([1500 + 1e-3j, 1500 - 1e-3j, 1501 + 1e-3j, -3.0, 900 + 0j])
    found = rf.solve(model, z)
    u = found.q, found.delta
    eq = equations(model, rf.gaussian_equivalent(model))
    first = eq.point(tuple(a[0] for a in u))
    K = jax.jit(jax.vmap(lambda q, d: eq.two_point(first, eq.point((q, d)), SOURCES)[0]))(*u)
    assert np.allclose(K[1:], (found.s[0] - found.s[1:]) / (z[0] - z[1:]), rtol=1e-8, atol=0)
    h = 1e-2
    s = rf.solve(model, np.array([z[0] - h, z[0] + h])).s
    assert complex(K[0]) == pytest.approx(complex(s[1] - s[0]) / (2 * h), rel=1e-5)


@pytest.mark.slow
def test_two_point_functions_of_a_law_and_their_errors():
    model = rf.RandomFeatureModel(3000.0, 2000.0, 0.1, covariance=rf.PowerLaw(1.0, 0.05))
    z1, z2 = 1500 + 1e-3j, np.array([1500 - 1e-3j, 1501 + 1e-3j, -3.0])
    K, (a, b) = rf.two_point(model, z1, z2), (rf.solve(model, np.atleast_1d(z)) for z in (z1, z2))
    assert np.all(K.status == 0)
    assert np.all(np.abs(K.I * (z1 - z2) / (a.s - b.s) - 1) < K.error)


def test_an_unbounded_law_has_a_spectrum_without_an_end():
    """PowerLaw(0.5): no nodes among the bulks, no upper edge,
    none between the first bulk and the atom.
    """
    model = rf.RandomFeatureModel(64.0, 8.0, 0.1, covariance=rf.PowerLaw(0.5))
    sp = rf.spectrum(model)
    assert [b.part for b in sp.bulks] == ["satellite", "sample", "population"]
    assert sp.edges[-1] == np.inf
    assert sp.edges[0] == sp.atom.location
    assert float(rf.timescales(sp, "spectrum").fast.population) == 0.0
    assert float(sp.quantile(1.0)) == np.inf
    ge = sp.equations.ge
    assert float(sp.moment(1)) == pytest.approx(
        float(2 * ge.kappa2 + ge.b2 + ge.v2 + ge.s2), rel=1e-12
    )
    with pytest.raises(NotImplementedError, match="k ≤ 1"):
        sp.moment(2)
    far = Rule(lambda up, _: 2 * (1 + up) ** -3.0, 1.0, 1e9)
    x = np.array([0.05, 0.3, 20.0, 100.0])
    found = rf.solve(model, x)
    for i in range(x.size):
        q, delta = complex(found.q[i]), complex(found.delta[i])
        assert (
            max(map(abs, printed(model, q, (delta,), x[i], *far.at(pole(model, q, delta))))) < 1e-9
        )


@pytest.mark.slow
def test_an_unbounded_law_has_no_edges_in_its_tail():
    """Those between the first bulk and an atom, and of the last,
    lie anywhere in the tail that is put lower.
    """
    law = rf.PowerLaw(0.15500342570545336).normalised(7.339531965746658)
    model = rf.RandomFeatureModel(
        1528154.86, 441004.925, 9.420956084e-5, activation="erf", covariance=law
    )
    sp = rf.spectrum(model)
    assert [b.part for b in sp.bulks] == ["satellite", "sample", "population"]
    assert sp.edges[0] == sp.atom.location
    assert sp.edges[-1] == np.inf
    assert sum(float(b.mass) for b in sp.bulks) + float(sp.atom.mass) == pytest.approx(
        1.0, rel=1e-13
    )


@pytest.mark.slow
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_drops_of_an_unbounded_law_are_those_of_many_eigenvalues(decay):
    """Beyond the tail that the spectrum puts lower, with 7·10⁻⁷ of the variance;
    at the end and on the way.
    """
    tau = np.array([0.1, 100.0, 1e4])
    law = rf.PowerLaw(0.3).normalised()
    parts = []
    for covariance in (law, rf.Atoms(law.values, law.weights)):
        model = rf.RandomFeatureModel(
            300.0, 40.0, 0.01, target="data", covariance=covariance, weight_decay=decay
        )
        curve, ends = rf.learning_curve(model, tau), {}
        for bulk in rf.spectrum(model).bulks:
            drop, error = ends.get(bulk.part, (0.0, 0.0))
            ends[bulk.part] = drop + float(bulk.loss_drop), error + float(bulk.loss_drop_error)
        parts.append((curve.drops, curve.drop_errors, ends))
    (along, error, ends), (truth, unsure, last) = parts
    assert ends.keys() == last.keys() == along.keys() == truth.keys()
    for part in ends:
        assert abs(ends[part][0] - last[part][0]) <= ends[part][1] + last[part][1] <= 1e-8
        assert np.all(np.abs(along[part] - truth[part]) <= error[part] + unsure[part])
        assert np.all(error[part] + unsure[part] < 1e-7)


SLOW_LOSSES = [
    pytest.param(name, marks=pytest.mark.slow)
    for name in ("summable power law", "hard edge", "soft edges")
]


@pytest.mark.parametrize("name", ["power law", *SLOW_LOSSES, "semicircle"])
def test_losses_take_few_nodes_and_know_their_error(name):
    taus = np.array([1.0, 100.0, 1e4, np.inf])
    at = lambda K: rf.learning_curve(
        rf.RandomFeatureModel(64.0, 8.0, 0.1, covariance=LAWS[name](K)), taus
    )
    few, rough, fine = at(None), at(8), at(64)
    most = 192 if name == "hard edge" else 64  # its own grid, where 64 do not serve
    assert len(few.model.covariance.values) <= most
    for curve in (few, rough):
        for loss in ("train", "test"):
            off = np.abs(np.asarray(getattr(curve, loss) - getattr(fine, loss)))
            assert np.all(off <= curve.error + fine.error)
    assert float(few.error.max()) < 1e-8
    assert float(rough.error.max()) > float(few.error.max())


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n == "mixture")) for n in SAMPLED]
)
def test_sampled_matrices_tend_to_the_spectrum(name):
    """U = GGᵀ/n + b²FFᵀ + s²I with Σ of a finite d: the distance of distributions falls as 1/d."""
    law = OTHERS[name] if name in OTHERS else LAWS[name](None)
    sp = rf.spectrum(rf.RandomFeatureModel(*PSI, 0.1, covariance=law.normalised()))
    ge = sp.equations.ge
    atom = float(sp.atom.mass)

    def distance(d, seed):
        rng = np.random.default_rng(seed)
        p, n = round(PSI[0] * d), round(PSI[1] * d)
        values = SAMPLED[name](d, rng)
        root = np.sqrt(np.maximum(values, 0.0) / np.mean(values))
        F = rng.standard_normal((p, d)) / np.sqrt(d)
        G = np.sqrt(ge.kappa2) * (F * root) @ rng.standard_normal((d, n)) + np.sqrt(
            ge.v2
        ) * rng.standard_normal((p, n))
        found = (np.linalg.eigvalsh(G @ G.T / n + ge.b2 * F @ F.T) + float(ge.s2))[
            round(atom * p) :
        ]
        ranks = (round(atom * p) + np.arange(found.size) + 0.5) / p
        return np.abs(np.asarray(sp.cdf(np.resize(found, 400))) - np.resize(ranks, 400)).max()

    small, large = (np.mean([distance(d, seed) for seed in (1, 2, 3)]) for d in (40, 160))
    assert large < small / 2
    assert large < 3 / (PSI[0] * 160)


@pytest.mark.slow
@pytest.mark.parametrize("law", [lambda a: rf.PowerLaw(a, 0.05), rf.Exponential])
def test_a_solution_is_differentiable_in_the_parameter_of_a_law(law):
    """Inside a bulk, where its poles are near the nodes; and in a map."""
    q = jax.jit(
        lambda a: rf.solve(
            rf.RandomFeatureModel(300.0, 200.0, 0.1, covariance=law(a)), np.array([150.0])
        ).q[0]
    )
    h = 1e-4
    slope = jax.jit(lambda a: jax.jvp(q, (a,), (1.0,))[1])(0.6)
    assert complex(slope) == pytest.approx(complex(q(0.6 + h) - q(0.6 - h)) / (2 * h), rel=1e-5)
    assert np.allclose(
        jax.vmap(q)(jnp.array([0.6, 0.7])), [complex(q(0.6)), complex(q(0.7))], rtol=1e-11
    )


@pytest.mark.slow
def test_an_edge_and_a_loss_are_differentiable_in_the_exponent():
    model = lambda a: rf.RandomFeatureModel(
        2.0, 1.5, 0.1, covariance=rf.PowerLaw(a, 0.05).normalised()
    )
    top = jax.jit(lambda a: rf.spectrum(model(a)).parts.upper[0])
    loss = jax.jit(lambda a: rf.learning_curve(model(a), np.array([30.0])).test[0])
    h = 1e-4
    for f in (top, loss):
        assert float(jax.grad(f)(1.0)) == pytest.approx(
            float(f(1.0 + h) - f(1.0 - h)) / (2 * h), rel=1e-6
        )
        assert np.allclose(
            jax.vmap(f)(jnp.array([1.0, 1.2])), [float(f(1.0)), float(f(1.2))], rtol=1e-12
        )
