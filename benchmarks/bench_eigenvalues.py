"""Time of a spectrum as the number of eigenvalues of Σ grows, compiled: near linear.

python benchmarks/bench_eigenvalues.py [--fewest 125] [--fast]
"""

import argparse
import sys
import time

import jax
import numpy as np
from common import conclusion, parsed

import rfspec as rf

TIMES, MOST = 4, 6.0  # so many times the eigenvalues take at most so many times as long


def seconds(eigenvalues, models=2):
    """Of one spectrum, the fastest of several models; another compiles."""
    rng = np.random.default_rng(eigenvalues)
    weights = np.full(eigenvalues, 1.0 / eigenvalues)
    took = []
    for psi_p in 64.0 + np.arange(models + 1):
        sigma = rf.Atoms(np.exp(rng.uniform(-2.0, 2.0, eigenvalues)), weights)
        start = time.perf_counter()
        rf.spectrum(rf.RandomFeatureModel(psi_p, 8.0, 0.01, covariance=sigma))
        took.append(time.perf_counter() - start)
    return min(took[1:])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fewest", type=int, default=125)
    few = parsed(parser, fewest=16).fewest
    print(f"rf.spectrum at psi_p = 64, psi_n = 8, t = 0.01 on {jax.devices()[0].device_kind}")
    short, long = seconds(few), seconds(TIMES * few)
    print(
        f"{few:6} eigenvalues {short:6.2f} s\n{TIMES * few:6} eigenvalues {long:6.2f} s, "
        f"{long / short:.1f} times"
    )
    good = long <= MOST * short
    print(f"claimed: at most {MOST:g} times")
    return conclusion(good)


if __name__ == "__main__":
    sys.exit(main())
