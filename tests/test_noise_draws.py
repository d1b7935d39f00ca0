"""Finite draws of the noise: the spectrum against multi-precision numbers, exact moments,
samples and its limit.
"""

import mpmath as mp
import numpy as np
import pytest
from problems import draw, verdict

import rfspec as rf

SIGMA = rf.Atoms([0.5, 1.5], [0.5, 0.5])
MODELS = {
    "two atoms": ((6.0, 3.0, 0.1), {"covariance": SIGMA}),
    "many draws": ((64.0, 8.0, 0.01), {"noise_draws": 40}),
    "more columns than features": (
        (2.0, 5.0, 0.3), {"noise_draws": 3, "activation": "relu", "covariance": SIGMA},
    ),
    "three scales": (
        (30.0, 4.0, 0.02), {"noise_draws": 2, "covariance": rf.Atoms([0.02, 0.3, 4.0],
            [0.5, 0.3, 0.2])},
    ),
}  # fmt: skip


def model_of(name="two atoms", **kwargs):
    ratios, known = MODELS[name]
    return rf.RandomFeatureModel(*ratios, **{"noise_draws": 1, **known, **kwargs})


class Twin:
    """(q, δ1, δ2) in 30 digits: Newton's method with numerical derivatives on the equations as they
    come out of the rotation, from far above the axis down to z.
    """

    def __init__(self, model):
        self.m, self.p, self.n = (
            mp.mpf(float(x)) for x in (model.noise_draws, model.psi_p, model.psi_n)
        )
        plain = rf.RandomFeatureModel(
            model.psi_p,
            model.psi_n,
            model.t,
            activation=model.activation,
            covariance=model.covariance,
        )
        self.c = rf.algebraic.constants(plain, digits=30)
        pairs = zip(model.covariance.values, model.covariance.weights, strict=True)
        self.atoms = [(mp.mpf(float(x)), mp.mpf(float(w))) for x, w in pairs]

    def off(self, z, q, first, second):
        c, m = self.c, self.m
        whole, rest = 1 / (1 + first), 1 / (1 + second)
        both = whole / m + (1 - 1 / m) * rest
        T = [c.kappa2 * x * whole + c.b2 * both for x, _ in self.atoms]
        solved = [q / (1 + self.p * t * q) for t in T]
        s = sum(w * e for (_, w), e in zip(self.atoms, solved, strict=True))
        r = sum(w * x * e for (x, w), e in zip(self.atoms, solved, strict=True))
        mean = sum(w * t * e for (_, w), t, e in zip(self.atoms, T, solved, strict=True))
        noise = (c.s2 * q + c.b2 * s) / m
        return [
            q * (c.s2 * both + c.v2 * whole - z) + mean - 1,
            self.p / self.n * (c.v2 * q + c.kappa2 * r + noise) - first,
            self.p / self.n * noise - second,
        ]

    def explained(self, z, target):
        """Tr Vᵀ(U - z)⁻¹V/d at z < 0, for (c_x, c_ξ, α/β)."""
        signal, noise, share = target
        q, first, second = self.solve(z, -z / 100)
        c, m, p = self.c, self.m, self.p
        whole, rest = 1 / (1 + first), 1 / (1 + second)
        both = whole / m + (1 - 1 / m) * rest
        total = (1 - whole) / m * noise**2 + (1 - 1 / m) * (1 - rest) * noise**2
        for x, w in self.atoms:
            g = w * q / (1 + p * (c.kappa2 * x * whole + c.b2 * both) * q)
            total += c.b2 * p * g * (
                noise * both + signal * share * x * whole
            ) ** 2 + signal**2 * w * x * (1 - whole)
        return total.real

    def solve(self, z, floor):
        with mp.workdps(30):
            z, height = mp.mpc(z), 300.0
            u = [-1 / (z + 1j * height), mp.mpc(0), mp.mpc(0)]
            while height > floor:
                height /= 3
                u = self.newton(mp.mpc(z.real, max(z.imag, height)), u, 1e-4)
            return self.newton(z, u, 1e-25)

    def newton(self, z, u, goal):
        """Until a step is relatively smaller than the goal; derivatives by differences."""
        for _ in range(60):
            here, h = mp.matrix(self.off(z, *u)), mp.mpf(10) ** -14
            columns = []
            for i in range(3):
                moved = [v + h * (i == j) for j, v in enumerate(u)]
                columns.append((mp.matrix(self.off(z, *moved)) - here) / h)
            step = mp.lu_solve(mp.matrix([[c[k] for c in columns] for k in range(3)]), here)
            u = [v - s for v, s in zip(u, step, strict=True)]
            if max(abs(s) for s in step) < goal * abs(u[0]):
                return u
        raise ArithmeticError(f"Newton's method did not settle at {z}")


@pytest.mark.parametrize(
    "name", [n if n == "two atoms" else pytest.param(n, marks=pytest.mark.slow) for n in MODELS]
)
def test_against_multi_precision(name):
    """Resolvents and densities within their claimed errors;
    beside every edge a density on one side only.
    """
    model = model_of(name)
    twin, sp = Twin(model), rf.spectrum(model)
    for z in (1 + 0.5j, 0.1 + 0.01j):
        exact, found = twin.solve(z, 1e-3)[0], rf.solve(model, z)
        assert (
            abs(complex(found.q) - complex(exact))
            <= float(found.error) * abs(complex(exact))
            < 1e-12
        )
    edges = np.asarray(sp.edges)
    for low, high in edges.reshape(-1, 2):
        for share in (0.1, 0.6):
            x = low + share * (high - low)
            exact, found = twin.solve(x, 1e-3 * (high - low))[0], rf.solve(model, np.array([x]))
            claimed = float(found.error[0]) * abs(complex(exact)) / np.pi
            assert (
                abs(float(sp.density(x)) - float(mp.im(exact) / mp.pi))
                <= claimed
                < 1e-10 * float(sp.density(x)) + 1e-12
            )
        for edge, inward in ((low, 1e-5), (high, -1e-5)):
            inside, outside = (
                twin.solve(edge * (1 + h), 1e-7 * edge)[0] for h in (inward, -inward)
            )
            assert mp.im(inside) > 1e-4 * abs(mp.re(inside))
            assert abs(mp.im(outside)) < 1e-20 * abs(mp.re(outside))


@pytest.mark.filterwarnings("ignore::rfspec.SaturationWarning")
@pytest.mark.parametrize(
    ("models", "atoms"), [(20, 2), pytest.param(200, None, marks=pytest.mark.slow)]
)
def test_nothing_is_silently_wrong(models, atoms):
    """Mass and the first two moments, which are known exactly, of models from the whole box."""
    rng = np.random.default_rng(1)
    found = [
        (model, *verdict(model))
        for model in (draw(rng, (1.0, 2.0, 5.0, 30.0), atoms) for _ in range(models))
    ]
    assert [(m, reason) for m, sort, reason in found if sort != "right"] == []


@pytest.mark.parametrize("target", ["noise", pytest.param("data", marks=pytest.mark.slow)])
@pytest.mark.parametrize("draws", [1, 3])
def test_drops_add_up_to_what_all_modes_explain(target, draws):
    """Under weight decay, E(-γ) + γE'(-γ) of E(z) = Tr Vᵀ(U - z)⁻¹V/d, in multi-precision."""
    decay = 0.01
    model = model_of(noise_draws=draws, target=target, weight_decay=decay)
    ratio = float(model.process.alpha / model.process.beta)
    twin, y = Twin(model), {"noise": (0, -1, ratio), "data": (1, 0, ratio)}[target]
    bulks = rf.spectrum(model).bulks
    with mp.workdps(30):
        z, h = -mp.mpf(decay / float(model.pace)), mp.mpf(10) ** -10
        slope = (twin.explained(z * (1 + h), y) - twin.explained(z * (1 - h), y)) / (2 * z * h)
        exact = twin.explained(z, y) - z * slope
    assert all(b.loss_drop > 0 for b in bulks)
    assert (
        abs(sum(b.loss_drop for b in bulks) - float(exact))
        <= sum(b.loss_drop_error for b in bulks)
        < 1e-11
    )


def test_against_features():
    """q of tanh features at d = 200, from an independent calculation; and of this package's theory,
    to five digits.
    """
    q = rf.solve(model_of(noise_draws=2), 1 + 0.5j).q
    assert abs(complex(q) - (-0.65368 + 0.47605j)) < 1e-5
    assert abs(complex(q) - (-0.65362 + 0.47570j)) < 1e-3


@pytest.mark.parametrize("draws", [1, 2])
def test_against_sampled_spectra(draws):
    """Masses of bulks and atom, exactly, and moments, on sampled Gaussian equivalents."""
    model = rf.RandomFeatureModel(
        6.0, 3.0, process=rf.FlowMatching(0.3), covariance=SIGMA, noise_draws=draws
    )
    sp = rf.spectrum(model)
    assert float(sp.atom.mass) == max(0.0, 1 - 3 * draws / 6)
    assert float(sp.atom.location) == 0.0
    assert sp.error < 1e-9
    rng, d = np.random.default_rng(0), 100
    drawn = [sampled_eigenvalues(rng, rf.gaussian_equivalent(model), draws, d) for _ in range(5)]
    for values in drawn:
        for bulk in sp.bulks:
            inside = (values > 0.95 * float(bulk.lower)) & (values < 1.05 * float(bulk.upper))
            assert inside.sum() == pytest.approx(float(bulk.mass) * 6 * d, abs=1.5)
    for k in (1, 2):
        moments = [np.mean(values**k) for values in drawn]
        error = np.std(moments, ddof=1) / np.sqrt(5)
        assert abs(float(sp.moment(k)) - np.mean(moments)) < 5 * error
    assert float(sp.moment(0)) == pytest.approx(1.0, abs=1e-12)


def sampled_eigenvalues(rng, ge, draws, d):
    F, X = rng.normal(size=(6 * d, d)) / np.sqrt(d), rng.normal(size=(d, 3 * d))
    X *= np.sqrt(np.repeat([0.5, 1.5], d // 2))[:, None]
    G = np.sqrt(ge.kappa2) * F @ X + np.sqrt(ge.v2) * rng.normal(size=(6 * d, 3 * d))
    phi = np.repeat(G, draws, axis=1) + np.sqrt(ge.b2) * F @ rng.normal(size=(d, 3 * d * draws))
    phi += np.sqrt(ge.s2) * rng.normal(size=phi.shape)
    return np.linalg.eigvalsh(phi @ phi.T / phi.shape[1])
