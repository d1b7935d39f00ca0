"""Exact feature matrices against plain matrix products,
and an exact loss curve against the steps it replaces.

The size is that of the published training script: d = 100, ψ_p = 64, ψ_n = 8, t = 0.01, 5·10⁶ steps
of full-batch gradient descent. A step is timed on the same matrices in the same run, and the curve
is checked against real steps.

    python benchmarks/bench_empirical.py [--d 100] [--fast]
"""

import argparse
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
from common import conclusion, parsed

import rfspec as rf
from rfspec.empirical import features, hermite
from rfspec.empirical.draws import Sampling

STEPS = 5_000_000
MOST_PRODUCTS, LEAST_SPEEDUP = 3.0, 1000.0


def seconds(f, repeats=1):
    """Shortest of several runs after one that compiles."""
    jax.block_until_ready(f())
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(f())
        times.append(time.perf_counter() - start)
    return min(times)


def layers_of(draw):
    """Hermite layers that one draw of U adds up."""
    added, with_layers = [], hermite._with_layers

    def counted(*args, **kwargs):
        added.append(len(kwargs["hermite"]))
        return with_layers(*args, **kwargs)

    hermite._with_layers = counted
    draw()
    hermite._with_layers = with_layers
    return sum(added)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--d", type=int, default=100)
    d = parsed(parser, d=24).d
    model, key = rf.RandomFeatureModel(64.0, 8.0, 0.01), jax.random.key(0)
    p, n = 64 * d, 8 * d
    print(f"{jax.devices()[0].device_kind}, d = {d}, p = {p}, n = {n}")

    layers = layers_of(lambda: features.training_correlation(key, model, Sampling(d)))
    exact = seconds(lambda: features.training_correlation(key, model, Sampling(d))[0], repeats=2)
    C, W = jax.random.normal(key, (p, n)), jax.random.normal(key, (p, d))
    product = jax.jit(lambda A: A @ A.T)
    products = layers * seconds(lambda: product(C), repeats=2) + seconds(
        lambda: product(W), repeats=2
    )
    ratio = exact / products
    print(f"exact U, {layers} layers   {exact:8.2f} s")
    print(
        f"as many plain products  {products:8.2f} s, ratio {ratio:.2f}; claim: at most "
        f"{MOST_PRODUCTS:g}"
    )

    start = time.perf_counter()
    matrices = jax.block_until_ready(rf.empirical.sample(key, model, d))
    drawn = time.perf_counter()
    basis = jax.block_until_ready(rf.empirical.eigenbasis(matrices))
    diagonalised = time.perf_counter()
    eta = 0.5 / (rf.empirical.dynamics.rate(matrices, 1.0) * float(basis.eigenvalues[-1]))
    wanted = np.unique(np.geomspace(1, STEPS, 60).astype(int))
    curve = jax.block_until_ready(rf.empirical.trajectory(basis, wanted, eta))
    end = time.perf_counter()
    total = end - start

    first = wanted[wanted <= 12]
    descend = lambda: rf.empirical.gradient_descent(matrices, first, eta)
    walked = descend()
    off = float(jnp.max(jnp.abs(walked.train - curve.train[: first.size])))
    step = (
        seconds(descend) - seconds(lambda: rf.empirical.gradient_descent(matrices, [0], eta))
    ) / first[-1]
    speedup = STEPS * step / total
    print(
        f"exact curve             {total:8.1f} s: draw {drawn - start:.1f}, diagonalise "
        f"{diagonalised - drawn:.1f}, ",
        end="",
    )
    print(f"{wanted.size} points up to k = {STEPS:.0e} {end - diagonalised:.2f}")
    print(
        f"one step                {step:8.4f} s, {STEPS:.0e} of them {STEPS * step / 86400:.1f} "
        "days"
    )
    print(f"speed-up                {speedup:8.0f}; claim: at least {LEAST_SPEEDUP:g}")
    print(f"largest difference over the first {first[-1]} steps {off:.1e}")
    good = ratio <= MOST_PRODUCTS and speedup >= LEAST_SPEEDUP and off < 1e-10
    return conclusion(good)


if __name__ == "__main__":
    sys.exit(main())
