"""What a number costs by the theory and by sampled matrices of the same accuracy.

Three numbers of one model: a density (of a tenth of the population bulk), an edge (the largest
eigenvalue), a loss (of the test set, at one training time). Sampled matrices at dimension d miss
each by a bias that falls as d^-a, and scatter around it; both are measured at several d against the
theory, whose claimed errors are smaller than 10⁻⁹. For a relative error ε the cheapest d is taken,
and as many draws as bring √(bias² + scatter²/draws) down to ε. Beyond the largest d measured the
cost of a draw goes on as d³.
"""

import time
from typing import NamedTuple

import jax
import numpy as np

import rfspec as rf
from rfspec.empirical import features
from rfspec.empirical.draws import Sampling

MODEL = rf.RandomFeatureModel(16.0, 4.0, 0.1)
TAU = 100.0
TARGETS = (1e-2, 1e-3, 1e-4, 1e-6)
POWERS = {"density": 1.0, "edge": 2 / 3, "loss": 1.0}  # a, of bias and of scatter alike
MEMORY_PER_P2 = 3 * 8  # bytes while a matrix is diagonalised


class Sampled(NamedTuple):
    """One draw of each number, and seconds of a draw for the spectrum and for the loss."""

    values: dict
    spectrum_s: float
    loss_s: float


class Law(NamedTuple):
    """Bias and scatter of one draw are these numbers times d^-power, relative to the truth."""

    bias: float
    bias_error: float
    scatter: float
    power: float


def by_theory():
    """The three numbers, their claimed relative errors, and calls that make them anew."""
    middle = rf.spectrum(MODEL).bulks[-1]
    a, b = float(middle.lower), float(middle.upper)
    window = (a + 0.45 * (b - a), a + 0.55 * (b - a))
    ends = np.array(window)

    def density():
        return np.diff(np.asarray(rf.spectrum(MODEL).cdf(ends)))[0] / (window[1] - window[0])

    def edge():
        return rf.spectrum(MODEL).bulks[-1].upper

    def loss():
        return rf.learning_curve(MODEL, TAU).test

    calls = {"density": density, "edge": edge, "loss": loss}
    claimed = {
        "density": float(rf.spectrum(MODEL).error),
        "edge": float(rf.spectrum(MODEL).error),
        "loss": float(rf.learning_curve(MODEL, TAU).error),
    }
    return calls, {name: float(call()) for name, call in calls.items()}, claimed, window


def draw(key, d, window):
    """The three numbers of one sampled matrix."""
    start = time.perf_counter()
    U = features.training_correlation(key, MODEL, Sampling(d))[0]
    values = np.asarray(jax.numpy.linalg.eigvalsh(U))
    middle = time.perf_counter()
    basis = rf.empirical.eigenbasis(rf.empirical.sample(key, MODEL, d))
    loss = float(rf.empirical.gradient_flow(basis, [TAU]).test[0])
    end = time.perf_counter()
    inside = np.count_nonzero((values > window[0]) & (values <= window[1]))
    density = inside / values.size / (window[1] - window[0])
    numbers = {"density": density, "edge": float(values[-1]), "loss": loss}
    return Sampled(numbers, middle - start, end - middle)


def laws(draws, truth):
    """The law of each number, from relative deviations of draws at several d."""
    found = {}
    for name, power in POWERS.items():
        scaled = np.concatenate(
            [
                [(s.values[name] / truth[name] - 1) * d**power for s in several]
                for d, several in draws.items()
            ]
        )
        scatter = float(scaled.std(ddof=1))
        found[name] = Law(float(scaled.mean()), scatter / scaled.size**0.5, scatter, power)
    return found


def cheapest(law, target, seconds):
    """(d, draws, seconds) of least time; seconds(d) is that of one draw."""
    d = np.unique(np.geomspace(8, 1e12, 4000).round())
    bias, scatter = abs(law.bias) * d**-law.power, law.scatter * d**-law.power
    enough = bias < target
    room = np.where(enough, target**2 - bias**2, np.inf)
    # two draws tell their scatter
    draws = np.maximum(2.0, np.ceil(scatter**2 / room))
    total = np.where(enough, draws * seconds(d), np.inf)
    i = int(np.argmin(total))
    return float(d[i]), float(draws[i]), float(total[i])


def cost(sizes, seconds):
    """Seconds of a draw at any d: as measured, and beyond as d³."""
    x, y = np.log(sizes), np.log(seconds)
    return lambda d: np.exp(np.interp(np.log(d), x, y) + 3 * np.maximum(0.0, np.log(d) - x[-1]))


def collected(sizes, window, left, repeats=24, fewest=4):
    """Draws at each d so far, size after size while there is time; the first of one compiles."""
    draws, key = {}, jax.random.key(7)
    for i, d in enumerate(sizes):
        start = time.monotonic()
        draw(jax.random.fold_in(key, d), d, window)
        first, share = time.monotonic() - start, left() / 3
        several, start = [], time.monotonic()
        while len(several) < fewest or (
            len(several) < repeats and time.monotonic() - start < share and left() > 0
        ):
            several.append(draw(jax.random.fold_in(key, 1000 * d + len(several)), d, window))
        draws[d] = several
        yield draws
        each = (time.monotonic() - start) / len(several)
        following = sizes[i + 1] / d if i + 1 < len(sizes) else 1.0
        if left() < max(0.0, first - each) + (fewest + 1) * each * following**3:
            break


def stage(stage):
    """Rows of a number and a target, with seconds of both ways; written anew after each size."""
    calls, truth, claimed, window = by_theory()
    theory = {name: stage.timed(call) for name, call in calls.items()}
    stage.say(truth=truth, claimed=claimed, theory=theory)
    cpu = (8, 16, 32) if stage.fast else (8, 16, 32, 64)
    sizes = cpu if stage.cpu else (16, 32, 64, 128, 256)
    for draws in collected(sizes, window, lambda: stage.left - 5.0):
        found, seconds = laws(draws, truth), costs(draws)
        rows = list(prices(stage, found, seconds, max(draws)))
        for row in rows:
            row |= {
                "theory_s": theory[row["number"]]["seconds"],
                "theory_J": theory[row["number"]]["joules"],
                "theory_error": claimed[row["number"]],
            }
        stage.say(
            sizes=list(draws), laws={name: law._asdict() for name, law in found.items()}, rows=rows
        )
    watts = _watts(stage, max(draws), window)
    stage.say(
        watts=watts, rows=[{**r, "sampling_J": watts and watts * r["sampling_s"]} for r in rows]
    )
    for row in rows:
        print(
            f"    {row['number']:<8} to {row['target']:.0e}: theory {row['theory_s']:.3g} s, "
            f"sampling {row['sampling_s']:.3g} s, {row['draws']:.0f} draws at d = {row['d']:.0f}"
        )


def costs(draws):
    """Seconds of a draw at any d, for the spectrum and for the loss."""
    fastest = lambda pick: [min(map(pick, several)) for several in draws.values()]
    spectrum = cost(list(draws), fastest(lambda s: s.spectrum_s))
    return {
        "density": spectrum,
        "edge": spectrum,
        "loss": cost(list(draws), fastest(lambda s: s.loss_s)),
    }


def prices(stage, found, seconds, largest):
    """What sampling takes for each number and target."""
    for name, law in found.items():
        for target in TARGETS:
            d, count, total = cheapest(law, target, seconds[name])
            yield {
                "number": name,
                "target": target,
                "d": d,
                "draws": count,
                "sampling_s": total,
                "measured_d": bool(d <= largest),
                "fits": bool(MEMORY_PER_P2 * (16 * d) ** 2 < stage.memory),
            }


def _watts(stage, d, window):
    # of sampling at the largest d measured
    if not stage.meter.tells or stage.left < 5.0:
        return None
    start = time.perf_counter()
    with stage.meter as meter:
        while time.perf_counter() - start < 2.0:
            draw(jax.random.key(0), d, window)
        taken = time.perf_counter() - start
    return meter.joules and meter.joules / taken
