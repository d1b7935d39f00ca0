"""The demonstration: three models, each as exact theory, as sampled features,
and as real training steps.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from ..empirical.comparison import Comparison, compare
from ..empirical.dynamics import eigenbasis, gradient_flow
from ..empirical.features import sample
from ..empirical.sampled_spectra import of_matrices
from ..empirical.spectra import EmpiricalSpectrum
from ..empirical.training import gradient_descent
from ..files.io import write_figure
from ..files.tables import aligned
from ..io import write as write_results
from ..models.covariance import Atoms
from ..models.from_data import FromData
from ..models.model import RandomFeatureModel
from ..numerics.types import Real
from ..spectra.spectrum import Spectrum, spectrum
from ..training.learning_curves import LearningCurve
from ..training.timescales import Timescales, timescales

TAU = np.geomspace(0.3, 3e6, 57)
MOST_STEPS = 4000  # of gradient descent


class Case(NamedTuple):
    """A model with the size of its sample, and data where it has any."""

    name: str
    title: str
    model: RandomFeatureModel
    d: int
    steps: int = MOST_STEPS
    data: np.ndarray | None = None


class Outcome(NamedTuple):
    """All that one case yields."""

    case: Case
    spectrum: Spectrum
    times: Timescales
    paper: Timescales
    sampled: EmpiricalSpectrum
    comparison: Comparison
    flow: LearningCurve
    descent: LearningCurve
    landing: float
    seconds: dict[str, float]


def digits() -> np.ndarray:
    """The 1,797 packaged 8×8 digit images as rows, centred, with Tr Σ/d = 1."""
    from sklearn.datasets import load_digits

    images = load_digits().data
    images = images - images.mean(0)
    return images / np.sqrt(np.mean(images**2))


def cases(scale: float = 1.0) -> list[Case]:
    """The paper's Fig. 4 model, the same with two data variances, and the digits;
    `scale` shrinks the samples.
    """
    images = digits()
    two = Atoms([0.5, 1.5], [0.5, 0.5])
    d, steps = max(4, round(40 * scale)), max(100, round(MOST_STEPS * scale**3))
    return [
        Case("isotropic", "Fig. 4 model, Σ = I", RandomFeatureModel(64.0, 8.0, t=0.01), d, steps),
        Case(
            "two_atoms",
            "Σ = ½δ(0.5) + ½δ(1.5)",
            RandomFeatureModel(64.0, 8.0, t=0.01, covariance=two),
            d,
            steps,
        ),
        Case(
            "digits",
            "8×8 digit images",
            RandomFeatureModel(16.0, 8.0, t=0.1, covariance=FromData(images)),
            images.shape[1],
            steps,
            images,
        ),
    ]


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - start


def run_case(case: Case, seed: int = 0, tick: Callable[[str], Any] = lambda _: None) -> Outcome:
    """Theory, sample and training of one case; `tick` is told what comes next."""
    seconds: dict[str, float] = {}
    tick(f"{case.title}: exact spectrum")
    with _timed(seconds, "compile and solve"):
        sp = jax.block_until_ready(spectrum(case.model))
    with _timed(seconds, "solve"):
        sp = jax.block_until_ready(spectrum(case.model))
    times, paper = timescales(sp, "spectrum"), timescales(sp, "paper")
    tick(f"{case.title}: sampled features")
    with _timed(seconds, "sample"):
        matrices = jax.block_until_ready(
            sample(jax.random.key(seed), case.model, case.d, data=case.data)
        )
    tick(f"{case.title}: diagonalise")
    with _timed(seconds, "diagonalise"):
        basis = jax.block_until_ready(eigenbasis(matrices))
    sampled = of_matrices(matrices, basis.eigenvalues)
    comparison = compare(sp, sampled)
    tick(f"{case.title}: gradient descent")
    with _timed(seconds, "gradient flow"):
        flow = jax.block_until_ready(gradient_flow(basis, TAU))
    # a step in which the fastest mode relaxes by a third
    fastest = float(case.model.time_unit / basis.eigenvalues[-1])
    with _timed(seconds, "gradient descent"):
        steps = np.unique(np.geomspace(1, case.steps, 20).astype(int))
        descent = jax.block_until_ready(
            gradient_descent(matrices, steps, fastest / 3 * matrices.d**2)
        )
    landing = compare(gradient_flow(basis, descent.tau), descent)
    worst = max(landing.train, landing.test)
    return Outcome(case, sp, times, paper, sampled, comparison, flow, descent, worst, seconds)


def run(
    out: str | Path = "results/demo", *, scale: float = 1.0, progress: bool = True
) -> list[Outcome]:
    """Run all cases, write a PNG and CSVs for each into `out`, and return what they yield."""
    out, outcomes = Path(out), []
    with tqdm(
        total=12, disable=not progress, bar_format="{n_fmt}/{total_fmt} {bar:24} {desc}"
    ) as bar:

        def tick(text: str) -> None:
            bar.set_description_str(text)
            bar.update(1)

        for case in cases(scale):
            outcome = run_case(case, tick=tick)
            write(outcome, out)
            outcomes.append(outcome)
    return outcomes


def write(outcome: Outcome, out: Path) -> None:
    """The picture and the tables of one case."""
    import matplotlib.pyplot as plt

    from ..plotting.figures import spectrum_and_training

    name = outcome.case.name
    curves = {"gradient flow": outcome.flow, "gradient descent": outcome.descent}
    figure = spectrum_and_training(
        outcome.spectrum, outcome.sampled, curves, outcome.times, outcome.case.title
    )
    write_figure(out / f"{name}.png", figure)
    plt.close(figure)
    edges = np.asarray(outcome.spectrum.edges).reshape(-1, 2)
    x = np.concatenate([a * (b / max(a, 1e-300)) ** np.linspace(0, 1, 202)[1:-1] for a, b in edges])
    density = {"lambda": x, "density": outcome.spectrum.density(x)}
    write_results(out / f"{name}_density.csv", density, model=outcome.case.model)
    write_results(out / f"{name}_curve.csv", outcome.flow, model=outcome.case.model)


def summary(outcome: Outcome) -> dict[str, Any]:
    """What one case yields, for machines."""
    c = outcome.comparison
    return {
        "case": outcome.case.name,
        "model": repr(outcome.case.model),
        "bulks": [b._asdict() for b in outcome.spectrum.bulks],
        "atom": outcome.spectrum.atom._asdict(),
        "tau_gen": outcome.times.tau_gen,
        "tau_mem": outcome.times.tau_mem,
        "kolmogorov": c.kolmogorov,
        "wasserstein": c.wasserstein,
        "landing": outcome.landing,
        "seconds": outcome.seconds,
    }


def table(outcome: Outcome) -> str:
    """What one case yields, in lines for a terminal."""
    sp, case, c = outcome.spectrum, outcome.case, outcome.comparison
    p = round(float(case.model.psi_p) * case.d)
    bulks, scale = sp.columns(), 2.0 * float(case.model.time_unit)
    bulks["fastest_tau"] = [scale / float(edge) for edge in bulks["upper"]]
    bulks["slowest_tau"] = [scale / float(edge) for edge in bulks["lower"]]
    atom = {"part": "atom", "lower": sp.atom.location, "mass": sp.atom.mass}
    rows = {name: [*values[::-1], atom.get(name, np.nan)] for name, values in bulks.items()}
    lines = [
        f"{case.title}: {case.model!r}",
        *(f"  {line}" for line in aligned(rows)),
        f"  tau_gen {_number(outcome.times.tau_gen)}, tau_mem {_number(outcome.times.tau_mem)}"
        f" (paper's rule {_number(outcome.paper.tau_gen)}, {_number(outcome.paper.tau_mem)})"
        + (f"; {sp.reason}" if sp.reason else ""),
        f"  sampled features d = {case.d}, p = {p}: Kolmogorov {c.kolmogorov:.4f}, Wasserstein "
        f"{c.wasserstein:.4g},"
        f" largest |mass deviation| {np.abs(c.masses).max():.4f}",
        f"  gradient descent lands on gradient flow within {outcome.landing:.1e}"
        f" up to tau = {float(outcome.descent.tau[-1]):.3g}",
        "  seconds: " + ", ".join(f"{k} {v:.3g}" for k, v in outcome.seconds.items()),
    ]
    return "\n".join(lines)


def _number(x: Real) -> str:
    return f"{float(x):.5g}" if np.isfinite(float(x)) else "undefined"
