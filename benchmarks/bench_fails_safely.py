"""How often an answer is right, says that it failed, or is silently wrong, over random models.

Boxes: "usual" (ψ in [1e-2, 10⁷], t in [1e-6, 10], named activations, one to eight eigenvalues over
three decades), "small" (ψ_p to 10⁴, ψ_n to 10⁵, t in [1e-4, 5]), "wide" (that of the usual box with
one to sixty eigenvalues, zeros and a condition of up to 10⁸ among them, polynomials, all targets,
draws of the noise, weight decay), and "laws" (the wide box with a continuous law for the
eigenvalues). Judges, each of every so-manyth model:

  spectrum     exact mass, first two moments, drops against the exact train loss at the end
  certificate  edges, masses, drops and densities recomputed in multi-precision arithmetic
  losses       at τ = 0, between and ∞, against the multi-precision twin; of laws against those
               of 192 eigenvalues
  stopping     the best time and its window against a dense curve
  derivatives  first and second of the test loss, reverse against forward mode

Goal: none silently wrong; fewer than one in 10,000 flagged in the usual box, one in 1,000 in the
others, one in 50 of the laws without an end, whose tails double precision cannot follow at ψ > 10⁵.

    python benchmarks/bench_fails_safely.py [--models 20000] [--box usual|small|wide|laws] [--fast]
                                [--seed 1] [--draws 1,2,5,30] [--shards 2 --shard 0]
"""

import argparse
import sys
import warnings
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
from common import conclusion, parsed
from tqdm import tqdm

import rfspec as rf

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from problems import (
    SMALL,
    USUAL,
    draw,
    draw_law,
    draw_wide,
    verdict,
    verdict_derivatives,
    verdict_losses,
    verdict_scan,
    written,
)

MOST_FLAGGED = {"usual": 1e-4, "small": 1e-4, "wide": 1e-3, "laws": 1e-3}
MOST_FLAGGED_WITHOUT_AN_END = 2e-2
SORTS = {"right": "right", "flagged": "flagged", "wrong": "silently wrong"}
EVERY = {"spectrum": 1, "certificate": 100, "losses": 50, "stopping": 10, "derivatives": 200}


def certified(model):
    """The verdict of a certificate, where there can be one."""
    too_many = len(model.covariance.values) > rf.algebraic.MAX_ATOMS and np.isinf(model.noise_draws)
    if too_many or not model.covariance.atomic:
        return None
    try:
        certificate = rf.certify(model)
    except (ValueError, rf.ConvergenceError):  # no linear part, or flagged already
        return None
    return (
        ("right", "")
        if certificate.honest
        else ("wrong", f"certificate, worst {certificate.worst}")
    )


JUDGES = {
    "spectrum": verdict,
    "certificate": certified,
    "losses": verdict_losses,
    "stopping": verdict_scan,
    "derivatives": verdict_derivatives,
}


def judged(judge, model):
    """A verdict; what raises anything but a ConvergenceError is wrong."""
    try:
        return JUDGES[judge](model)
    except Exception as e:
        return "wrong", f"{type(e).__name__}: {e!s:.200}"


def kind(model):
    """Models of one kind share their compiled programs;
    a process has room for those of some kinds only.
    """
    size = 1 << (model.covariance.values.size - 1).bit_length()
    return size, bool(np.isfinite(model.noise_draws)), model.target in ("noise", "score")


def endless(model):
    """Whether the law of the data is one of eigenvalues without an end."""
    continua = model.covariance.continua
    return continua is not None and float(continua[0].lowered) > 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--box", choices=MOST_FLAGGED, default="usual")
    parser.add_argument(
        "--draws",
        default="inf",
        help="of the usual box: one of these numbers of draws for each model",
    )
    parser.add_argument("--atoms", type=int, help="so many eigenvalues for every model")
    parser.add_argument("--shards", type=int, default=1, help="of how many processes this is one")
    parser.add_argument("--shard", type=int, default=0, help="and which, from 0")
    for judge, every in EVERY.items():
        parser.add_argument(
            f"--{judge}",
            type=int,
            default=every,
            help=f"every how many models, 0 for none ({every})",
        )
    options = parsed(parser, models=100, certificate=50, derivatives=0)
    draws = [float(m) for m in options.draws.split(",")]
    make = {
        "usual": partial(draw, draws=draws, box=USUAL),
        "small": partial(draw, draws=draws, box=SMALL),
        "wide": draw_wide,
        "laws": draw_law,
    }[options.box]
    rng = np.random.default_rng(options.seed)
    counts = {(judge, endless): Counter() for judge in JUDGES for endless in (False, True)}
    warnings.simplefilter("ignore", rf.SaturationWarning)  # small and large Γ² are meant
    models = [make(rng, atoms=options.atoms) for _ in range(options.models)]
    order = sorted(range(options.models), key=lambda i: kind(models[i]))
    for i in tqdm(
        order[options.shard :: options.shards], unit="model", disable=None, mininterval=2
    ):
        model = models[i]
        for judge in JUDGES:
            every = getattr(options, judge)
            found = judged(judge, model) if every and i % every == 0 else None
            if found is None:
                continue
            sort, reason = found
            counts[judge, endless(model)][sort] += 1
            if sort != "right":
                tqdm.write(f"{judge}, {sort}: model {i}, {written(model)}: {reason}")
                sys.stdout.flush()
    good = True
    for (judge, without_end), found in counts.items():
        if without_end and not found:
            continue
        name = f"{judge}, no end" if without_end else judge
        sorts = ", ".join(f"{found[sort]} {name}" for sort, name in SORTS.items())
        print(f"{name:<20} {found.total():6} models: {sorts}")
        most = MOST_FLAGGED_WITHOUT_AN_END if without_end else MOST_FLAGGED[options.box]
        good &= found["wrong"] == 0 and found["flagged"] <= most * found.total()
    print(f"box {options.box}, seed {options.seed}: ", end="")
    return conclusion(good)


if __name__ == "__main__":
    sys.exit(main())
