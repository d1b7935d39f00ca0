"""Peak memory of batches in every parameter, each in a process of its own,
and their time beside a loop over models.

python benchmarks/bench_batches.py [--models 10000] [--batches 0,1,2] [--fast]
"""

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from common import conclusion, parsed

import rfspec as rf

MOST_GIB, MOST_OF_A_LOOP, LOOPED = 3.0, 0.2, 50


def model(psi_p=64.0, psi_n=8.0, t=0.01, variance=1.0, s=None):
    process = rf.OrnsteinUhlenbeck(t) if s is None else rf.FlowMatching(s)
    return rf.RandomFeatureModel(psi_p, psi_n, process=process, covariance=rf.Isotropic(variance))


def slowest(model):
    """τ_mem by the paper's rule."""
    return rf.timescales(model, "paper").tau_mem


def losses(model):
    """The sum of the test losses at twenty times."""
    return jnp.sum(rf.learning_curve(model, np.geomspace(1.0, 1e6, 20)).test)


def best(model):
    """The best time to stop."""
    return rf.early_stopping(model).tau


class Batch(NamedTuple):
    name: str
    parameter: str
    low: float
    high: float
    of: Callable[[rf.RandomFeatureModel], jax.Array] = slowest
    gradient: bool = False
    dear: bool = False
    share: float = 1.0  # of the models


BATCHES = [
    Batch("psi_n", "psi_n", 1.0, 100.0),
    Batch("psi_p", "psi_p", 1.0, 100.0),
    Batch("t", "t", 1e-3, 3.0),
    Batch("s of flow matching", "s", 0.1, 0.9),
    Batch("variance", "variance", 0.1, 1.2),
    Batch("gradient in t", "t", 1e-3, 3.0, gradient=True),
    # here Γ² is too large for the Hermite sum of tanh, and its double integrals are dear, in a
    # batch as in a loop
    Batch("variance, integrals", "variance", 2.0, 15.0, dear=True),
    # what a model costs here is work, not the call, so that a batch is no faster than a loop; of a
    # tenth of the models
    Batch("losses at 20 times", "psi_n", 1.0, 100.0, of=losses, dear=True, share=0.1),
    Batch("their gradients", "psi_n", 1.0, 100.0, of=losses, gradient=True, dear=True, share=0.1),
    Batch("best times", "psi_n", 1.0, 100.0, of=best, dear=True, share=0.1),
]


def measure(batch, models):
    """Seconds a model in a batch and in a loop, compiled,
    and the peak memory of this process in GiB.
    """
    f = lambda x: batch.of(model(**{batch.parameter: x}))
    f = jax.grad(f) if batch.gradient else f

    def seconds(run, values):
        run(values[:2])
        start = time.perf_counter()
        jax.block_until_ready(run(values))
        return (time.perf_counter() - start) / len(values)

    models = int(batch.share * models)
    values = jnp.geomspace(batch.low, batch.high, models)
    looped = seconds(
        lambda values: [f(x) for x in values],
        [float(x) for x in values[:: max(1, models // LOOPED)]],
    )
    mapped = jax.vmap(f)
    if not batch.dear:
        jax.block_until_ready(mapped(values))
    return (
        seconds(mapped, values),
        looped,
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=int, default=10_000)
    parser.add_argument("--only", type=int, help="measure this batch alone, in this process")
    everything = ",".join(map(str, range(len(BATCHES))))
    parser.add_argument("--batches", default=everything, help="which of them, from 0")
    options = parsed(parser, models=500, batches="0,2")
    models, only = options.models, options.only
    if only is not None:
        print(*measure(BATCHES[only], models))
        return 0
    print(f"{models} models on {jax.devices()[0].device_kind}")
    good = True
    for i in map(int, options.batches.split(",")):
        batch = BATCHES[i]
        command = [sys.executable, __file__, "--models", str(models), "--only", str(i)]
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        mapped, looped, peak = map(float, out.split())
        good &= peak <= MOST_GIB and (batch.dear or mapped <= MOST_OF_A_LOOP * looped)
        print(
            f"{batch.name:22}{1e6 * mapped:9.1f} µs a model, {mapped / looped:6.3f} of a loop's; "
            f"peak {peak:.2f} GiB",
            flush=True,
        )
    print(
        f"claimed: at most {MOST_GIB:g} GiB; by the paper's rule at most {MOST_OF_A_LOOP:g} of a "
        "loop's time"
    )
    return conclusion(good)


if __name__ == "__main__":
    sys.exit(main())
