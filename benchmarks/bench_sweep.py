"""Sweeps: cells a second by outputs, what a million would take, and which program takes the time,
beside a loop over single models.

    python benchmarks/bench_sweep.py [--cells 10000] [--looped 20] [--fast]

Models lie on a grid of psi_p and psi_n from 1 to 1000 at ten diffusion times. Every sweep goes into
a zarr store, as a million cells would, after one that compiles.
"""

import argparse
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
from common import conclusion, parsed

import rfspec as rf
from rfspec.surveys import programs

# minutes for a million cells of the last outputs, claimed; microseconds of a cell that the engine
# takes by itself, claimed
MINUTES, OVERHEAD = 10.0, 40.0
# cells of which the engine's own time is told
ENGINE = 100_000
OUTPUTS = {
    "nothing but the engine": ["constants"],
    "edges": ["edges"],
    "edges, all times": ["edges", "paper", "spectrum", "loss"],
    "edges, all times, tau*": ["edges", "paper", "spectrum", "loss", "tau_star"],
}


def grid(cells):
    """About so many models."""
    side = max(2, round((cells / 10) ** 0.5))
    psi = np.geomspace(1.0, 1e3, side)
    return {"t": np.geomspace(0.01, 1.0, 10), "psi_p": psi, "psi_n": psi}


def swept(models, outputs):
    """A sweep into a store of its own, and its seconds."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        found = rf.sweep(models, outputs, out=Path(folder) / "s.zarr")
        seconds = time.perf_counter() - start
        return found.load(), seconds


def by_program(models, outputs):
    """A sweep, its seconds, and seconds of its threads by program."""
    spent, run = defaultdict(float), programs._run

    def timed(job, *rest):
        start = time.perf_counter()
        try:
            return run(job, *rest)
        finally:
            spent[job.program.__name__] += time.perf_counter() - start

    programs._run = timed
    try:
        return *swept(models, outputs), spent
    finally:
        programs._run = run


def looped(models, count):
    """Seconds a model of the single functions, compiled."""
    rng = np.random.default_rng(0)
    draws = [{name: float(rng.choice(axis)) for name, axis in models.items()} for _ in range(count)]

    def one(model):
        sp = rf.spectrum(model)
        stop = rf.early_stopping(model)
        times = [
            rf.timescales(x, r) for x, r in ((sp, "spectrum"), (stop, "loss"), (model, "paper"))
        ]
        return float(sp.edges[-1]), float(stop.tau), [float(x.tau_mem) for x in times]

    for model in (cells := [rf.RandomFeatureModel(**draw) for draw in draws])[:3]:
        one(model)
    start = time.perf_counter()
    for model in cells:
        one(model)
    return (time.perf_counter() - start) / count


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=10_000)
    parser.add_argument("--looped", type=int, default=20)
    options = parsed(parser, cells=1000, looped=5)
    models = grid(options.cells)
    print(f"{np.prod([axis.size for axis in models.values()])} models")
    took = {}
    for name, outputs in OUTPUTS.items():
        swept(grid(160), outputs)
        many = grid(ENGINE) if outputs == ["constants"] else models
        found, seconds, spent = by_program(many, outputs)
        size = found.status.size
        took[name] = seconds / size
        flagged = int((found.status != 0).sum())
        shares = ", ".join(
            f"{program} {1e6 * s / size:.0f}" for program, s in sorted(spent.items())
        )
        print(
            f"{name:24}{size / seconds:10.0f} cells/s, a million in {1e6 / 60 * took[name]:6.1f} "
            f"min; {flagged} flagged; µs of threads a cell: {shares or 'none'}",
            flush=True,
        )
    single = looped(models, options.looped)
    last = took[list(OUTPUTS)[-1]]
    print(f"single functions one after another: {1e3 * single:.1f} ms, {single / last:.1f} times")
    engine = 1e6 * took["nothing but the engine"]
    print(
        f"claimed: a million cells of the last in {MINUTES:g} minutes; the engine {OVERHEAD:g} µs "
        "a cell at most"
    )
    return conclusion(1e6 / 60 * last < MINUTES and engine < OVERHEAD)


if __name__ == "__main__":
    sys.exit(main())
