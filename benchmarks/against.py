"""First and warm calls of this tree against those of another revision, on the same work.

python benchmarks/against.py REVISION [--rounds 3]

Claims: no warm call takes more than 1.1 times as long as there, and all first calls together not
more. Processes of both take turns, each compiles anew, and the fastest of the rounds counts.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
SLOWER, SECONDS = 1.1, 0.5  # claimed; time spent on warm calls of one kind


def calls():
    """What a session asks for, by names that do not change."""
    import jax
    import numpy as np

    import rfspec as rf

    paper = rf.RandomFeatureModel(psi_p=64.0, psi_n=8.0, t=0.01)
    relu = rf.RandomFeatureModel(
        16.0, 4.0, 0.1, activation="relu", covariance=rf.Atoms([0.5, 1.5], [0.5, 0.5])
    )
    tau, z = np.geomspace(1, 1e8, 200), np.geomspace(1e-3, 1e2, 10_000) + 1e-6j
    slow = lambda psi_n: rf.timescales(rf.RandomFeatureModel(64.0, psi_n, 0.01), "spectrum").tau_mem
    grid = np.geomspace(2, 200, 8)
    return {
        "spectrum": lambda: rf.spectrum(paper).edges,
        "spectrum, relu, two atoms": lambda: rf.spectrum(relu).edges,
        "density at 400 points": lambda: rf.spectrum(paper).density(np.geomspace(1e-3, 50, 400)),
        "10,000 resolvents": lambda: rf.solve(paper, z).q,
        "learning curve, 200 times": lambda: rf.learning_curve(paper, tau).test,
        "early stopping": lambda: rf.early_stopping(paper).tau,
        "times, rule paper": lambda: rf.timescales(paper, "paper").tau_mem,
        "times, rule loss": lambda: rf.timescales(paper, "loss").tau_mem,
        "gradient of a time": lambda: jax.grad(slow)(8.0),
        "phase diagram, 8 × 8": lambda: (
            rf.phase_diagram(grid, grid, t=0.1, progress=False).region.values
        ),
    }


def measure():
    """Seconds of the first and of a warm call, by name, as JSON."""
    import jax

    import rfspec as rf

    times = {}
    for name, call in calls().items():
        start = time.perf_counter()
        jax.block_until_ready(call())
        first, warm, begun = time.perf_counter() - start, [], time.perf_counter()
        while len(warm) < 3 or time.perf_counter() - begun < SECONDS:
            start = time.perf_counter()
            jax.block_until_ready(call())
            warm.append(time.perf_counter() - start)
        times[name] = first, min(warm)
    print(json.dumps({"tree": str(Path(rf.__file__).parents[1]), "times": times}))


def measured(tree):
    """What `measure` says of a tree in a process of its own."""
    environment = os.environ | {"PYTHONPATH": str(tree), "JAX_ENABLE_COMPILATION_CACHE": "0"}
    command = [sys.executable, __file__, "--measure"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["tree"] == str(tree), answer["tree"]
    return answer["times"]


def compared(before, rounds):
    """Fastest first and warm call of each kind, here and there."""
    runs = [(measured(before), measured(ROOT)) for _ in range(rounds)]
    for name in runs[0][0]:
        yield name, [[min(run[side][name][i] for run in runs) for side in (0, 1)] for i in (0, 1)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("revision", nargs="?")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        measure()
        return
    if given.revision is None:
        parser.error("which revision?")
    slower, firsts = [], [0.0, 0.0]
    with tempfile.TemporaryDirectory() as folder:
        before = Path(folder).resolve() / "before"
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "--detach", "-q", before, given.revision], check=True)
        try:
            print(f"{'':<28}{'first, s':>18}{'warm, ms':>22}   warm, ratio")
            for name, (first, warm) in compared(before, given.rounds):
                firsts = [total + one for total, one in zip(firsts, first, strict=True)]
                ratio = warm[1] / warm[0]
                slower += [name] if ratio > SLOWER else []
                print(
                    f"{name:<28}{first[0]:9.2f}{first[1]:9.2f}"
                    f"{1e3 * warm[0]:11.2f}{1e3 * warm[1]:11.2f}{ratio:9.2f}"
                )
        finally:
            subprocess.run([*git, "remove", "--force", before], check=True)
    print(f"{'all':<28}{firsts[0]:9.2f}{firsts[1]:9.2f}")
    if slower or firsts[1] > firsts[0] * 1.02:
        sys.exit(f"slower than at {given.revision}: {', '.join(slower) or 'first calls'}")


if __name__ == "__main__":
    main()
