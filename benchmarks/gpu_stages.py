"""The stages of bench_gpu.py, each in a process of its own.

A stage is a function of a `Stage`: it measures growing sizes, notes every result as soon as it is
there, and stops before the next one would take more than the time that is left.
"""

import time

import equal_accuracy
import jax
import jax.numpy as jnp
import numpy as np
import rates
from common import machine, replaced, to_text
from energy import Meter

import rfspec as rf
from rfspec.empirical import features
from rfspec.empirical.draws import Sampling

PSI_P, PSI_N, T = 64.0, 8.0, 0.01
BYTES_A_POINT = 1000  # of solve, at most
MOST_BY_HOST = 2**22  # points of solve whose results go to the host
GOAL_POINTS, GOAL_CELLS = 1e9, 1e6  # a second; in a minute


class Stage:
    """Where a stage stands: its time, its device, and what it has found."""

    def __init__(self, seconds, out, fast):
        self.end, self.out, self.fast = time.monotonic() + seconds, out, fast
        self.cpu = jax.devices()[0].platform == "cpu"
        self.meter = Meter(jax.devices()[0].platform)
        self.found = {"rows": []}
        memory = (jax.devices()[0].memory_stats() or {}).get("bytes_limit")
        self.memory = memory or 4 * 2**30

    @property
    def left(self):
        return self.end - time.monotonic()

    def note(self, **row):
        """A row of results, written at once."""
        print("   ", ", ".join(f"{k} {_brief(v)}" for k, v in row.items()), flush=True)
        self.found["rows"].append(row)
        replaced(self.out, to_text(self.found))

    def say(self, **numbers):
        self.found.update(numbers)
        replaced(self.out, to_text(self.found))

    def timed(self, f, least=0.5):
        """First call, shortest of several, and joules of one where the device tells them."""
        start = time.perf_counter()
        jax.block_until_ready(f())
        first = time.perf_counter() - start
        seconds, calls = [], 0
        long = max(least, 2.0 if self.meter.tells else 0.0)
        with self.meter as meter:
            while not calls or (sum(seconds) < min(long, self.left / 2) and calls < 1000):
                start = time.perf_counter()
                jax.block_until_ready(f())
                seconds.append(time.perf_counter() - start)
                calls += 1
        joules = meter.joules and meter.joules / calls
        return {"first_s": first, "seconds": min(seconds), "joules": joules}

    def growing(self, sizes, measure, growth=1.0):
        """Notes measure(size) of one size after the other, while there is time and memory.

        `growth`: the power of the size that the time goes with at most. The next size is taken to
        compile as long as the last, and to be computed four times.
        """
        for size, following in zip(sizes, [*sizes[1:], None], strict=True):
            try:
                row = measure(size)
            except (ValueError, jax.errors.JaxRuntimeError, MemoryError) as e:
                self.say(stopped=f"size {size}: {type(e).__name__}: {e!s:.200}")
                return
            self.note(size=size, **row)
            compiling = max(0.0, row.get("first_s", 0.0) - row["seconds"])
            ahead = following and compiling + 4 * row["seconds"] * (following / size) ** growth
            if ahead and ahead > self.left:
                self.say(stopped=f"size {following} would take {ahead:.0f} s, and {self.left:.0f} "
                         "are left")  # fmt: skip
                return


def _brief(value):
    return f"{value:.4g}" if isinstance(value, float) else value


def model(psi_p=PSI_P, psi_n=PSI_N):
    return rf.RandomFeatureModel(psi_p, psi_n, T)


def rates_of(stage):
    found = rates.measured(stage.fast)
    stage.say(machine=machine(), energy_told=stage.meter.tells, **found._asdict())
    print(rates.in_words(found))


def solve(stage):
    """Points a second against the size of a batch, on the device and as a user calls it."""
    most = 2 ** (15 if stage.fast else 18) if stage.cpu else stage.memory / BYTES_A_POINT
    sizes = [2**k for k in range(10, 29, 2) if 2**k <= most]
    places = lambda size: np.geomspace(1e-3, 60.0, size) + 0j

    @jax.jit
    def on_device(z):
        found = rf.solve(model(), z)
        return found.q, found.delta, found.error, found.status

    def measure(size):
        z = jax.device_put(places(size))
        found = stage.timed(lambda: on_device(z))
        wrong = int(np.count_nonzero(np.asarray(on_device(z)[3])))
        rate, z = size / found["seconds"], places(size)
        by_solve = None
        if size <= MOST_BY_HOST:
            asked = stage.timed(lambda: rf.solve(model(), z).q, 0.2)["seconds"]
            by_solve = size / asked
        return {**found, "points_per_s": rate, "by_solve_per_s": by_solve, "flagged": wrong}

    stage.growing(sizes, measure)
    stage.say(goal_points_per_s=GOAL_POINTS)


def spectra(stage):
    """Edges, masses and loss drops of many models at once."""

    @jax.jit
    @jax.vmap
    def many(psi_n):
        found = rf.spectrum(model(psi_n=psi_n))
        return found.edges, jnp.stack([b.mass for b in found.bulks])

    def measure(count):
        psi_n = jnp.geomspace(1.5, 100.0, count)
        found = stage.timed(lambda: many(psi_n))
        return {**found, "ms_each": 1e3 * found["seconds"] / count}

    cpu = (4, 16) if stage.fast else (4, 16, 64, 256)
    stage.growing(cpu if stage.cpu else (16, 64, 256, 1024, 4096, 16384), measure)


def curves(stage):
    """Both losses at 200 training times of many models."""
    tau = np.geomspace(1e-1, 1e7, 200)

    @jax.jit
    @jax.vmap
    def many(psi_n):
        found = rf.learning_curve(model(psi_n=psi_n), tau)
        return found.train, found.test, found.error

    def measure(count):
        psi_n = jnp.geomspace(1.5, 100.0, count)
        found = stage.timed(lambda: many(psi_n))
        return {**found, "ms_each": 1e3 * found["seconds"] / count}

    cpu = (1, 4) if stage.fast else (1, 4, 16)
    stage.growing(cpu if stage.cpu else (1, 8, 64, 512), measure)


def phase(stage):
    """Cells of a phase diagram: edges, training times, best time and its window."""

    def diagram(side):
        grid = np.geomspace(1.0, 1000.0, side)
        start = time.perf_counter()
        found = rf.phase_diagram(grid, grid, T, 1e4, progress=False)
        return found, time.perf_counter() - start

    stage.say(first_s=diagram(2)[1])

    def measure(cells):
        side = round(cells**0.5)
        found, seconds = diagram(side)
        flagged = int(np.count_nonzero(found.status.values))
        each = seconds / side**2
        return {"seconds": seconds, "ms_each": 1e3 * each, "flagged": flagged}

    cpu = (8, 16) if stage.fast else (8, 16, 32)
    sides = cpu if stage.cpu else (16, 32, 64, 128, 256, 512, 1000)
    stage.growing([side**2 for side in sides], measure)
    rows = stage.found["rows"]
    if rows:
        stage.say(seconds_for_1e6_cells=1e6 * min(r["ms_each"] for r in rows) / 1e3)


def exact_u(stage):
    """Features' matrices with the noise integrated out, at the largest p that fits."""
    key = jax.random.key(0)

    def measure(p):
        d = round(p / PSI_P)
        draw = lambda: features.training_correlation(key, model(), Sampling(d))[0]
        found = stage.timed(draw)
        operations = 2.0 * p**2 * (6 * PSI_N * d + d)  # six layers at this model
        return {**found, "Gflops": operations / found["seconds"] / 1e9}

    cpu = (8, 16, 24) if stage.fast else (8, 16, 32, 48)
    ds = cpu if stage.cpu else (64, 128, 256, 384, 512, 640, 768, 896, 1024)
    stage.growing([64 * d for d in ds], measure, growth=3.0)


def eigenvalues(stage):
    """All eigenvalues of such a matrix, and whether the theory's masses are theirs."""
    key, sp = jax.random.key(0), rf.spectrum(model())
    low = float(sp.bulks[-1].lower)
    diagonalise = jax.jit(jnp.linalg.eigvalsh)

    def measure(p):
        d = round(p / PSI_P)
        U = features.training_correlation(key, model(), Sampling(d))[0]
        found = stage.timed(lambda: diagonalise(U), 0.0)
        values = np.asarray(diagonalise(U)) if p <= 4096 else np.array([])
        above = int(np.count_nonzero(values > 0.5 * low))
        told = {"population": above, "by_theory": d} if values.size else {}
        return {**found, **told, "Gflops": 4 / 3 * p**3 / found["seconds"] / 1e9}

    cpu = (8, 16, 24) if stage.fast else (8, 16, 32, 48)
    ds = cpu if stage.cpu else (32, 64, 128, 256, 384, 512, 640, 704, 1024)
    stage.growing([64 * d for d in ds], measure, growth=3.0)


def matrix_free(stage):
    """The spectrum of one sampled U too large to be formed: p = 10⁶ on a GPU."""
    # the blocks of 10⁶ rows take 36 GB
    d, psi_p = ((50, 40.0) if stage.fast else (100, 200.0)) if stage.cpu else (500, 2000.0)
    wide, order = model(psi_p=psi_p), 40 if stage.fast else 80
    bulk = rf.spectrum(wide).bulks[-1]
    middle = float(bulk.lower * bulk.upper) ** 0.5
    theory = rf.spectrum(wide)
    exact = 1.0 - float(theory.cdf(middle))
    for size in (d,) if stage.cpu else (d // 10, d):
        start = time.perf_counter()
        with stage.meter as meter:
            sp = rf.empirical.matrix_free_spectrum(
                jax.random.key(0), wide, size, probes=4, order=order
            )
            share, error = sp.count(middle, 10 * float(bulk.upper))
            density, width = (np.asarray(a).tolist() for a in sp.density(middle)[:2])
        stage.note(
            size=int(psi_p * size),
            seconds=time.perf_counter() - start,
            joules=meter.joules,
            stored=bool(sp.stored),
            share=float(share),
            share_error=float(error),
            share_by_theory=exact,
            density=density,
            density_error=width,
            density_by_theory=float(theory.density(middle)),
        )


STAGES = {
    "rates": rates_of,
    "solve": solve,
    "exact U": exact_u,
    "eigenvalues": eigenvalues,
    "matrix-free": matrix_free,
    "spectra": spectra,
    "curves": curves,
    "phase diagram": phase,
    "equal accuracy": equal_accuracy.stage,
}
