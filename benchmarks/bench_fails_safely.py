"""How often a spectrum is right, says that it failed, or is silently wrong, over random models.

Every model is judged by exact mass and its first two moments against the claimed error, and every hundredth by its
certificate: edges, masses and densities recomputed in multi-precision arithmetic. Goal: none silently wrong, fewer than
one in 10,000 flagged. Models with finite draws of the noise (--draws) have no certificate.

    python benchmarks/bench_fails_safely.py [--models 20000] [--seed 1] [--certify 100] [--draws 1,2,5,30]
"""

import argparse
import sys
from collections import Counter
from pathlib import Path

import numpy as np
from tqdm import tqdm

import rfspec as rf

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from problems import draw, verdict

MOST_FLAGGED = 1e-4
SORTS = {"right": "right", "flagged": "flagged", "wrong": "silently wrong"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--certify", type=int, default=100, help="every how many models the certificate is drawn up")
    parser.add_argument("--draws", default="inf", help="draws of the noise, one of these numbers for each model")
    options = parser.parse_args()
    draws = [float(m) for m in options.draws.split(",")]
    rng = np.random.default_rng(options.seed)
    counts, certified = Counter(), Counter()
    for i in tqdm(range(options.models), unit="model", disable=None, mininterval=2):
        model = draw(rng, draws)
        sort, reason = verdict(model)
        counts[sort] += 1
        if sort == "right" and i % options.certify == 0 and np.isinf(model.noise_draws):
            certificate = rf.certify(model)
            certified["honest" if certificate.honest else "not"] += 1
            if not certificate.honest:
                sort, reason = "wrong", f"certificate, worst {certificate.worst}, complete {certificate.complete}"
                counts["right"] -= 1
                counts["wrong"] += 1
        if sort != "right":
            atoms = f"{model.covariance.values.tolist()}, {model.covariance.weights.tolist()}"
            numbers = f"{float(model.psi_p)!r}, {float(model.psi_n)!r}, {float(model.t)!r}"
            named = f"{numbers}, {model.activation.name}, Atoms({atoms}), {model.noise_draws:g} draws"
            tqdm.write(f"{sort}: model {i} ({named}): {reason}")
            sys.stdout.flush()
    flagged = counts["flagged"] / options.models
    sorts = ", ".join(f"{counts[sort]} {name}" for sort, name in SORTS.items())
    print(f"{options.models} models, seed {options.seed}: {sorts}")
    print(f"{certified['honest']} of {certified.total()} certificates honest")
    good = counts["wrong"] == 0 and flagged <= MOST_FLAGGED
    print("claims hold" if good else "A CLAIM DOES NOT HOLD")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
