"""Peak memory and time per model of batches in every parameter, each in a process of its own, beside one in psi_n.

python benchmarks/bench_batches.py [--models 10000]
"""

import argparse
import resource
import subprocess
import sys
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp

import rfspec as rf

MOST_GIB, MOST_TIMES = 3.0, 20.0


def model(psi_p=64.0, psi_n=8.0, t=0.01, variance=1.0, alpha=None):
    process = rf.OrnsteinUhlenbeck(t) if alpha is None else rf.FlowMatching(alpha)
    return rf.RandomFeatureModel(psi_p, psi_n, process=process, covariance=rf.Isotropic(variance))


class Batch(NamedTuple):
    name: str
    parameter: str
    low: float
    high: float
    gradient: bool = False
    dear: bool = False


BATCHES = [
    Batch("psi_n", "psi_n", 1.0, 100.0),
    Batch("psi_p", "psi_p", 1.0, 100.0),
    Batch("t", "t", 1e-3, 3.0),
    Batch("alpha of flow matching", "alpha", 0.1, 0.9),
    Batch("variance", "variance", 0.1, 1.2),
    Batch("gradient in t", "t", 1e-3, 3.0, gradient=True),
    # here Γ² is too large for the Hermite sum of tanh, and double integrals take their time, one model after the other
    Batch("variance, saturated", "variance", 2.0, 16.0, dear=True),
]


def measure(batch, models):
    """Seconds of the first call and of the fastest of three more, and the peak memory of this process in GiB."""
    f = lambda x: rf.timescales(model(**{batch.parameter: x}), "paper").tau_mem
    mapped = jax.vmap(jax.grad(f) if batch.gradient else f)
    values, seconds = jnp.geomspace(batch.low, batch.high, models), []
    for _ in range(2 if batch.dear else 4):
        start = time.perf_counter()
        jax.block_until_ready(mapped(values))
        seconds.append(time.perf_counter() - start)
    return seconds[0], min(seconds[1:]), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=int, default=10_000)
    parser.add_argument("--only", type=int, help="measure this batch alone, in this process")
    models, only = (v := parser.parse_args()).models, v.only
    if only is not None:
        print(*measure(BATCHES[only], models))
        return 0
    print(f"rf.timescales(model, 'paper') of {models} models on {jax.devices()[0].device_kind}")
    good, usual = True, None
    for i, batch in enumerate(BATCHES):
        command = [sys.executable, __file__, "--models", str(models), "--only", str(i)]
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        first, again, peak = map(float, out.split())
        usual = again if usual is None else usual
        good &= peak <= MOST_GIB and (batch.gradient or batch.dear or again <= MOST_TIMES * usual)
        print(
            f"{batch.name:24} {1e6 * again / models:8.1f} µs a model, {again / usual:5.1f} times psi_n's; "
            f"first call {first:5.1f} s; peak {peak:.2f} GiB"
        )
    print(
        f"claimed: at most {MOST_GIB:g} GiB, and {MOST_TIMES:g} times the time of psi_n without gradient or saturation"
    )
    print("claims hold" if good else "A CLAIM DOES NOT HOLD")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
