"""Products with a U that is never formed against a plain matrix product with as many operations,
and a whole run.

The plain product multiplies a dense matrix from the right and from the left with as many vectors as
there are probes, half of the operations each, as Uv does with its factors; its time is scaled to
the operations of Uv: 4p(d + n) + 4nd for each probe in the Gaussian equivalent, 4pnd with features.
Where the blocks are drawn anew in every product, the time of drawing them twice is added to it.

    python benchmarks/bench_matrix_free.py [--p 8000] [--probes 4] [--order 80] [--kind gaussian]
    [--store yes|no] [--fast]
"""

import argparse
import resource
import sys
import time

import jax
import jax.numpy as jnp
from common import conclusion, parsed

import rfspec as rf
from rfspec.empirical import feature_operator, gaussian_operator, matrix_free
from rfspec.empirical.draws import sizes
from rfspec.empirical.feature_products import PANEL

PSI_P, PSI_N = 64.0, 8.0
SHARES = (  # of the Gaussian equivalent at this model; features smear the atom
    (0.0, 0.0026, 55 / 64, "atom"),
    (0.0026, 0.03, 1 / 64, "satellite"),
    (0.03, 1.8, 7 / 64, "sample"),
    (1.8, 100.0, 1 / 64, "population"),
)
MOST = 3.0  # times the plain product


def best(f, repeats):
    """Shortest of several runs after one that compiles, in seconds."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        jax.block_until_ready(f())
        times.append(time.perf_counter() - start)
    return min(times[1:])


def plain_rate(n, columns):
    """Operations a second of a dense product whose matrix does not fit into a cache."""
    rows = max(1, min(8192, 2**27 // n))
    A, B, C = jnp.ones((rows, n)), jnp.ones((n, columns)), jnp.ones((columns, rows))
    product = jax.jit(lambda A, B, C: (A @ B, C @ A))
    return 4 * rows * n * columns / best(lambda: product(A, B, C), 12 if rows * n < 1e8 else 3)


def drawing_rate(columns):
    """Normal numbers a second."""
    draw = jax.jit(lambda key: jnp.sum(jax.random.normal(key, (256, columns), float)))
    return 256 * columns / best(lambda: draw(jax.random.key(0)), 5)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--p", type=int, default=8000)
    parser.add_argument("--probes", type=int, default=4)
    parser.add_argument("--order", type=int, default=80)
    parser.add_argument("--kind", choices=["gaussian", "features"], default="gaussian")
    parser.add_argument("--store", choices=["yes", "no"], help="by default as memory permits")
    options = parsed(parser, p=4000, order=40)
    model, k = rf.RandomFeatureModel(PSI_P, PSI_N, 0.01), options.probes
    d, n, p = sizes(model, round(options.p / PSI_P))
    gaussian = options.kind == "gaussian"

    need = matrix_free.predict(options.kind, d, n, p, options.order, 256, matrix_free.mesh_of_all())
    store, group = need.plan(k, options.store and options.store == "yes", matrix_free.budget())
    print(
        f"{options.kind}, p = {p}, n = {n}, d = {d}, on {len(jax.devices())} x "
        f"{jax.devices()[0].device_kind}"
    )
    print(
        f"blocks {need.blocks / 2**30:.2f} GiB {'stored' if store else 'drawn anew'}, {group} "
        "probes together"
    )

    rate = plain_rate(n, group)
    operations = 4 * p * (d + n) + 4 * n * d if gaussian else 4 * p * n * d
    plain = group * operations / rate
    if not store:
        drawn = p * (d + n) + n * d if gaussian else p * d * -(-n // PANEL) + n * d
        plain += 2 * drawn / drawing_rate(n)
    make = gaussian_operator if gaussian else feature_operator
    start = time.perf_counter()
    operator = jax.block_until_ready(make(jax.random.key(0), model, d, store=store))
    print(f"setting up         {time.perf_counter() - start:9.2f} s")
    v = jnp.ones((p, group))
    seconds = best(lambda: operator(v), 1 if operations * group > 1e10 else 12)
    print(f"plain matmul       {plain:9.3f} s for as many operations, {rate / 1e9:.1f} Gflop/s")
    print(
        f"one product        {seconds:9.3f} s for {group} probes, "
        f"{group * operations / seconds / 1e9:.1f} Gflop/s"
    )
    print(
        f"ratio              {seconds / plain:9.2f}  (claimed: at most "
        f"{MOST:g}{'' if gaussian else ', stored'})"
    )

    start = time.perf_counter()
    T = matrix_free.lanczos(jax.random.key(1), operator, k, options.order, group)
    sp = matrix_free.MatrixFreeSpectrum(
        *matrix_free.gauss(*T),
        *T,
        model,
        d=d,
        p=p,
        kind=options.kind,
        error=operator.error,
        stored=store,
        floor=operator.floor,
    )
    print(
        f"{options.order} products, {k} probes {time.perf_counter() - start:9.1f} s with "
        "compilation"
    )
    for low, high, mass, name in SHARES:
        share, error = sp.count(low, high)
        print(f"share of the {name:12} {share:9.6f} ± {error:.6f}, theory {mass:.6f}")
    print(
        f"memory, at most    {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:9.2f} "
        "GiB of the host"
    )
    good = seconds <= MOST * plain or not (gaussian or store)
    return conclusion(good)


if __name__ == "__main__":
    sys.exit(main())
