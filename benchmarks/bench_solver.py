"""A spectrum with 400 densities against the published method, and the throughput of `solve`.

The published method, written anew from its description: for one λ after another, the three complex
equations of Theorem 3.1 as six real unknowns, scipy's `root(method="lm")`, Im z lowered through 113
values. Both are timed in one run on the same model and agree on the density.

    python benchmarks/bench_solver.py [--points 12] [--fast]
"""

import argparse
import sys
import time

import jax
import numpy as np
from common import best, conclusion, parsed
from scipy.optimize import root

import rfspec as rf

DENSITIES, HEIGHTS = 400, np.geomspace(10.0, 1e-7, 113)
LEAST_SPEEDUP, LEAST_RATE = 4500, 1.2e6


def published(ge, psi_p, psi_n, x):
    """Density at one x for Σ = I by Levenberg-Marquardt on (q, r, s), heights from above."""
    kappa2, b2, v2, s2 = (float(c) for c in (ge.kappa2, ge.b2, ge.v2, ge.s2))

    def equations(u, z):
        q, r, s = u[0] + 1j * u[1], u[2] + 1j * u[3], u[4] + 1j * u[5]
        hat = psi_p * kappa2 / (1 + psi_p / psi_n * (v2 * q + kappa2 * r))
        base = psi_p * b2 + 1 / q
        three = (
            s - 1 / (base + hat),
            r - 1 / (base + hat),
            psi_p * (s2 - z) + psi_p * v2 * hat / (psi_p * kappa2) + (1 - psi_p) / q - s / q**2,
        )
        return [part for e in three for part in (e.real, e.imag)]

    u = [0.0, 1 / HEIGHTS[0]] * 3
    for y in HEIGHTS:
        u = root(
            equations, u, args=(x + 1j * y,), method="lm", options={"xtol": 1e-12, "ftol": 1e-12}
        ).x
    return u[1] / np.pi


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--points", type=int, default=12, help="densities timed by the published method"
    )
    points = parsed(parser, points=4).points
    model = rf.RandomFeatureModel(64.0, 8.0, 0.01)
    sp = rf.spectrum(model)
    x = np.concatenate(
        [
            np.linspace(b.lower, b.upper, n + 2)[1:-1]
            for b, n in zip(sp.bulks, (133, 133, 134), strict=True)
        ]
    )

    def ours():
        spectrum = rf.spectrum(model)
        return spectrum.series, spectrum.density(x)

    ours()
    few = x[:: DENSITIES // points][:points]
    start = time.perf_counter()
    theirs = np.array([published(rf.gaussian_equivalent(model), 64.0, 8.0, v) for v in few])
    per_point = (time.perf_counter() - start) / few.size
    seconds = best(ours, 30)
    speedup = per_point * DENSITIES / seconds
    agreement = np.median(np.abs(theirs / np.asarray(sp.density(few)) - 1))
    print(
        f"published method   {1e3 * per_point:9.2f} ms a point, {per_point * DENSITIES:.1f} s for "
        f"{DENSITIES}"
    )
    print(
        f"rfspec             {1e3 * seconds:9.2f} ms for edges, parts, masses, loss drops and "
        f"{DENSITIES} densities"
    )
    print(f"ratio              {speedup:9.0f}  (claimed: at least {LEAST_SPEEDUP})")
    print(f"median relative difference of the densities {agreement:.1e}")

    z = np.geomspace(1e-3, 60.0, 100_000) + 0j
    rf.solve(model, z)
    rate = z.size / best(lambda: rf.solve(model, z).q, 8)
    device = jax.devices()[0].device_kind
    print(
        f"solve              {rate:9.3g} points a second on {device}  (claimed: at least "
        f"{LEAST_RATE:.0e} on two cores)"
    )
    good = speedup >= LEAST_SPEEDUP and rate >= LEAST_RATE and agreement < 1e-3
    return conclusion(good)


if __name__ == "__main__":
    sys.exit(main())
