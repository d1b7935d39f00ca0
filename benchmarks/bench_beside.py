"""What a user would otherwise run, beside rfspec: on the same work, in one process, with accuracy.

Densities at 400 places of one model: the published method (six real unknowns, Levenberg-Marquardt),
SciPy's Newton method for one point after another, freealg's algebraic form given the exact
transform (where it is installed), eigenvalues of sampled matrices by NumPy. Losses at 200 times: a
sampled matrix trained exactly, and the closed form at ψ_p = ∞. Accuracy is the median relative
difference from multi-precision arithmetic for densities, and from rfspec's losses, whose claimed
error is below 10⁻⁹, for losses.

    python benchmarks/bench_beside.py [--points 24] [--d 30] [--draws 4] [--fast]
"""

import argparse
import sys
import time
from typing import NamedTuple

import jax
import kernel_limit
import numpy as np
from bench_solver import published
from common import best, conclusion, parsed
from scipy.optimize import root

import rfspec as rf
from rfspec.empirical.draws import Sampling
from rfspec.empirical.features import training_correlation

# claimed: rfspec is at least so many times faster than each, and at least as accurate
LEAST = {
    "published method": 3000.0,
    "SciPy, Newton": 300.0,
    "sampled eigenvalues": 100.0,
    "sampled losses": 30.0,
}
MOST_OFF = {"density": 1e-9, "limit": 1e-5}  # claimed: of rfspec; from the closed form at ψ_p = 10⁶
DENSITIES, TIMES = 400, 200
MODEL = rf.RandomFeatureModel(64.0, 8.0, 0.01)
WIDE = 1e6


class Way(NamedTuple):
    """Seconds of all the work, and the relative error reached."""

    seconds: float
    off: float


def places(sp):
    """400 places inside the bulks, each bulk's between its 2nd and its 98th hundredth."""
    shares = np.array_split(np.arange(DENSITIES), len(sp.bulks))
    inside = [
        np.linspace(float(b.lower), float(b.upper), s.size + 2)[1:-1]
        for b, s in zip(sp.bulks, shares, strict=True)
    ]
    return np.concatenate(inside)


def by_newton(ge, psi_p, psi_n, x):
    """Density at one x: SciPy's hybrid Newton method with the Jacobian, from high above."""
    kappa2, b2, v2, s2 = (float(c) for c in (ge.kappa2, ge.b2, ge.v2, ge.s2))

    def complex_equations(q, delta, z):
        D = 1 / (1 + delta)
        T, dT = b2 + kappa2 * D, -kappa2 * D**2
        g = 1 / (1 + psi_p * T * q)
        f = (
            q * (s2 - z + v2 * D + T * g) - 1,
            psi_p / psi_n * q * (v2 + kappa2 * g) - delta,
        )
        by_q = (
            s2 - z + v2 * D + T * g - q * psi_p * (T * g) ** 2,
            psi_p / psi_n * (v2 + kappa2 * g - kappa2 * q * psi_p * T * g**2),
        )
        by_delta = (
            q * (-v2 * D**2 + dT * g**2),
            -psi_p / psi_n * kappa2 * q**2 * psi_p * dT * g**2 - 1,
        )
        return f, by_q, by_delta

    def equations(u, z):
        f, by_q, by_delta = complex_equations(u[0] + 1j * u[1], u[2] + 1j * u[3], z)
        columns = [by_q, tuple(1j * a for a in by_q), by_delta, tuple(1j * a for a in by_delta)]
        rows = lambda pair: [pair[0].real, pair[0].imag, pair[1].real, pair[1].imag]
        return np.array(rows(f)), np.array([rows(c) for c in columns]).T

    top = 10 * psi_p
    u = np.array([(-1 / (1j * top)).real, (-1 / (1j * top)).imag, 0.0, 0.0])
    for height in np.geomspace(top, 1e-9 * x, 40):
        u = root(equations, u, args=(x + 1j * height,), jac=True, method="hybr", tol=1e-13).x
    return u[1] / np.pi


def by_freealg(sp, x):
    """Seconds and densities of a curve fitted to the exact transform; None where it is missing."""
    try:
        from freealg import AlgebraicForm
    except ImportError:
        return None

    class Exact:
        def stieltjes(self, z):
            return np.asarray(rf.solve(MODEL, z).q)

        def support(self):
            return [(float(b.lower), float(b.upper)) for b in sp.bulks]

    start = time.perf_counter()
    form = AlgebraicForm(Exact())
    form.fit(deg_m=5, deg_z=2)
    found = np.asarray(form.density(x))
    return time.perf_counter() - start, found


def by_eigenvalues(sp, d, draws):
    """Seconds of sampled matrices, and densities of cells of each bulk from their eigenvalues."""
    cells = [np.linspace(float(b.lower), float(b.upper), 11)[2:9] for b in sp.bulks]
    matrix = lambda key: np.asarray(training_correlation(key, MODEL, Sampling(d))[0])
    keys = jax.random.split(jax.random.key(0), draws)
    matrix(keys[0])  # compiles
    start, counts = time.perf_counter(), 0.0
    for key in keys:
        values = np.linalg.eigvalsh(matrix(key))
        counts = counts + np.concatenate([np.histogram(values, c)[0] for c in cells]) / values.size
    seconds = time.perf_counter() - start
    exact = np.concatenate([np.diff(np.asarray(sp.cdf(c))) for c in cells])
    return Way(seconds, float(np.median(np.abs(counts / draws / exact - 1))))


def densities(options):
    """Ways to 400 densities."""
    ge = rf.gaussian_equivalent(MODEL)
    sp = rf.spectrum(MODEL)
    x = places(sp)
    few = x[:: DENSITIES // options.points][: options.points]
    truth = np.array([float(v) for v in rf.algebraic.density(MODEL, few, 30)])
    off = lambda found: float(np.median(np.abs(np.asarray(found) / truth - 1)))
    ours = best(lambda: (lambda s: (s.edges, s.density(x)))(rf.spectrum(MODEL)), 5, 1.0)
    yield "rfspec", Way(ours, off(sp.density(few)))
    for name, one in (("published method", published), ("SciPy, Newton", by_newton)):
        start = time.perf_counter()
        found = [one(ge, 64.0, 8.0, v) for v in few]
        yield name, Way((time.perf_counter() - start) * DENSITIES / few.size, off(found))
    fitted = by_freealg(sp, x)
    if fitted is None:
        print("freealg             is not installed, and was left out")
    else:
        index = np.arange(0, DENSITIES, DENSITIES // options.points)[: options.points]
        yield "freealg, fitted", Way(fitted[0], off(fitted[1][index]))
    yield "sampled eigenvalues", by_eigenvalues(sp, options.d, options.draws)


def losses(options):
    """Ways to both losses at 200 times."""
    tau = np.geomspace(1e-1, 1e7, TIMES)
    curve = lambda model: (lambda c: (c.train, c.test))(rf.learning_curve(model, tau))
    ours = best(lambda: curve(MODEL), 5, 1.0)
    truth = np.stack(curve(MODEL))
    off = lambda found: float(np.median(np.abs(np.stack(found) / truth - 1)))
    claimed = float(np.max(np.asarray(rf.learning_curve(MODEL, tau).error)))
    yield "rfspec", Way(ours, claimed)
    train = lambda seed: rf.empirical.learning_curve(jax.random.key(seed), MODEL, tau, options.d)
    jax.block_until_ready(train(0).test)  # compiles
    start = time.perf_counter()
    sampled = train(1)
    found = (np.asarray(sampled.train), np.asarray(sampled.test))
    yield "sampled losses", Way(time.perf_counter() - start, off(found))
    limit = kernel_limit.losses(MODEL, tau)
    yield (
        "closed form, ψ_p = ∞",
        Way(best(lambda: kernel_limit.losses(MODEL, tau), 5, 0.2), off(limit)),
    )


def from_the_limit():
    """How far rfspec at ψ_p = 10⁶ is from the closed form at ∞, at times of order ψ_p or less."""
    tau = np.geomspace(1e-1, 1e3, 50)
    wide = rf.RandomFeatureModel(WIDE, 8.0, 0.1)
    curve = rf.learning_curve(wide, tau)
    return float(
        np.max(np.abs(np.stack([curve.train, curve.test]) - kernel_limit.losses(wide, tau)))
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=24, help="of SciPy, scaled to all 400")
    parser.add_argument("--d", type=int, default=30, help="dimension of sampled matrices")
    parser.add_argument("--draws", type=int, default=4, help="of them")
    options = parsed(parser, points=6, d=12, draws=2)
    good = True
    for title, ways in (("400 densities", densities), ("losses at 200 times", losses)):
        print(f"\n{title:<22}    seconds   times rfspec   relative error")
        ours = None
        for name, way in ways(options):
            ours = ours or way
            ratio = way.seconds / ours.seconds
            fails = ratio < LEAST.get(name, 0.0) or (name in LEAST and way.off < ours.off)
            claim = f"   claimed: at least {LEAST[name]:g} times" if name in LEAST else ""
            if name != "sampled losses" or not options.fast:
                good &= not fails
            print(f"{name:<22}{way.seconds:11.4g}{ratio:15.4g}{way.off:17.1e}{claim}", flush=True)
            if name == "rfspec" and ways is densities:
                good &= way.off <= MOST_OFF["density"]
    off = from_the_limit()
    print(f"\nlosses at ψ_p = 10⁶ are {off:.1e} from the closed form at ∞ "
          f"(claimed: at most {MOST_OFF['limit']:g})")  # fmt: skip
    return conclusion(good and off <= MOST_OFF["limit"])


if __name__ == "__main__":
    sys.exit(main())
