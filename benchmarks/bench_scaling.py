"""How cost grows with the work: points, models, eigenvalues of Σ, training times, sizes d and p.

Each is timed at sizes over at least one and a half decades; the exponent is fitted to the upper
ones on logarithmic axes. Nothing may grow faster than its work in points, models, eigenvalues and
training times. Matrices grow as they do: U as d³, eigenvalues as p³, products without a matrix as
d².

    python benchmarks/bench_scaling.py [--only points,models] [--fast]

The results are kept in results/scaling.csv, which draw.py draws.
"""

import argparse
import sys
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from common import best, conclusion, keep, parsed

import rfspec as rf
from rfspec.empirical import features
from rfspec.empirical.draws import Sampling

MOST = 1.1  # claimed: no larger exponent in points, models, eigenvalues and training times
NOISE = 0.05  # of an exponent, as other work on the machine makes it
DECADES = 1.5  # that are fitted, from the largest size down
LAW = np.random.default_rng(0)


class Growth(NamedTuple):
    """What is timed: f(size) makes the call. `expected` is the exponent of what is not claimed."""

    name: str
    of: str
    sizes: tuple[int, ...]
    fast: tuple[int, ...]
    f: Callable[[int], Callable[[], object]]
    expected: float | None = None


def model(psi_p=64.0, psi_n=8.0, **kwargs):
    return rf.RandomFeatureModel(psi_p, psi_n, 0.01, **kwargs)


def with_atoms(count):
    return model(covariance=rf.Atoms(np.geomspace(0.2, 5.0, count), np.full(count, 1 / count)))


def points(count):
    z = np.geomspace(1e-3, 60.0, count) + 0j
    return lambda: rf.solve(model(), z).q


def models(count):
    psi_n = jnp.geomspace(1.0, 100.0, count)

    def edges(psi_n):
        found = rf.spectrum(model(psi_n=psi_n))
        return found.edges

    many = jax.jit(jax.vmap(edges))
    return lambda: many(psi_n)


def atoms_of_solve(count):
    z, sigma = np.geomspace(1e-2, 60.0, 256) + 0j, with_atoms(count)
    return lambda: rf.solve(sigma, z).q


def atoms_of_spectrum(count):
    sigma = with_atoms(count)
    return lambda: rf.spectrum(sigma).edges


def times_of_a_curve(count):
    tau = np.geomspace(1e-1, 1e7, count)
    return lambda: rf.learning_curve(model(), tau).test


def exact_matrix(d):
    return lambda: features.training_correlation(jax.random.key(0), model(16.0, 4.0), Sampling(d))[
        0
    ]


def eigenvalues(p):
    U = LAW.normal(size=(p, p))
    U = U @ U.T
    return lambda: np.linalg.eigvalsh(U)


def products(d):
    operator = rf.empirical.gaussian_operator(jax.random.key(0), model(16.0, 4.0), d)
    v = jnp.ones((16 * d, 4))
    return lambda: operator(v)


GROWTHS = [
    Growth(
        "points", "solve", (2**9, 2**11, 2**13, 2**15, 2**17), (2**9, 2**11, 2**13, 2**15), points
    ),
    Growth("models", "spectrum, vmapped", (8, 32, 128, 512), (4, 16, 128), models),
    Growth("eigenvalues", "solve", (8, 32, 128, 512), (8, 32, 256), atoms_of_solve),
    Growth("eigenvalues ", "spectrum", (8, 32, 128, 512), (4, 16, 128), atoms_of_spectrum),
    Growth(
        "training times", "learning_curve", (16, 64, 256, 1024), (16, 64, 512), times_of_a_curve
    ),
    Growth("d", "exact U", (10, 30, 100, 200), (10, 30, 60), exact_matrix, 3.0),
    Growth("p", "eigvalsh", (200, 600, 2000, 4000), (100, 300, 1000), eigenvalues, 3.0),
    Growth("d ", "product with U", (30, 100, 300, 800), (30, 100, 300), products, 2.0),
]


def fitted(sizes):
    """Which sizes the exponent is fitted to: those of the upper decades, at least two."""
    x = np.log(sizes)
    upper = x >= x[-1] - DECADES * np.log(10) - 1e-9
    upper[-2:] = True
    return upper


def exponent(sizes, seconds):
    """Of cost in size, fitted to the upper decades."""
    upper = fitted(sizes)
    return float(np.polyfit(np.log(sizes)[upper], np.log(seconds)[upper], 1)[0])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = ",".join(dict.fromkeys(g.name.strip() for g in GROWTHS))
    parser.add_argument("--only", default=names, help="what grows")
    options = parsed(parser, only="points,models,eigenvalues,training times,p")
    chosen, good = options.only.split(","), True
    lines = ["work,of,size,seconds,exponent"]
    print(f"on {jax.devices()[0].device_kind}: seconds at each size, exponent of the upper ones")
    for growth in GROWTHS:
        if growth.name.strip() not in chosen:
            continue
        sizes = growth.fast if options.fast else growth.sizes
        seconds = [best(growth.f(size), 3, 0.3) for size in sizes]
        found = exponent(sizes, seconds)
        held = growth.expected is not None or found <= MOST + NOISE
        good &= held
        print(
            f"{growth.name.strip():<15}{growth.of:<18}"
            + "  ".join(f"{n}: {s:.3g}" for n, s in zip(sizes, seconds, strict=True))
            + f"   exponent {found:.2f}{'' if held else f', claimed at most {MOST:g}'}",
            flush=True,
        )
        lines += [
            f"{growth.name.strip()},{growth.of.replace(',', '')},{n},{s:.6g},{found:.3f}"
            for n, s in zip(sizes, seconds, strict=True)
        ]
    if not options.fast:
        keep("scaling.csv", "\n".join(lines) + "\n")
    return conclusion(good)


if __name__ == "__main__":
    sys.exit(main())
