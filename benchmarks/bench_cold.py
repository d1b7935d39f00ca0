"""First calls: a fresh session and the command `rfspec spectrum`, with nothing compiled beforehand
and with kernels kept, against `import jax` in the same run.

    python benchmarks/bench_cold.py [--runs 3] [--fast]

The session asks for a spectrum, 400 densities, training times, 200 points of a learning curve, a
best time and the derivative of a training time. All take turns, and the fastest of the runs counts.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict

from common import conclusion, parsed

COMMAND = ["-m", "rfspec", "spectrum", "--psi-p", "64", "--psi-n", "8", "--t", "0.01"]
SESSION = """
import json, time
start = time.perf_counter()
steps = {}
def step(name, f):
    begun = time.perf_counter()
    value = jax.block_until_ready(f())
    steps[name] = time.perf_counter() - begun
    return value
import jax
import numpy as np
import rfspec as rf
steps["imports"] = time.perf_counter() - start
from rfspec.numerics import kept, session
compiled = []
jax.monitoring.register_event_duration_secs_listener(
    lambda event, duration_secs, **_: compiled.append(event == session.COMPILED)
)
model = lambda psi_n: rf.RandomFeatureModel(psi_p=64.0, psi_n=psi_n, t=0.01)
sp = step("spectrum", lambda: rf.spectrum(model(8.0)))
step("400 densities", lambda: sp.density(np.geomspace(1e-3, 50.0, 400)))
step("timescales", lambda: rf.timescales(model(8.0)).tau_mem)
step("200 points of a curve", lambda: rf.learning_curve(model(8.0), np.geomspace(1, 1e8, 200)).test)
step("early stopping", lambda: rf.early_stopping(model(8.0)).tau)
step("a derivative", lambda: jax.grad(lambda psi_n: rf.timescales(model(psi_n)).tau_mem)(8.0))
found = kept.events[kept.FOUND]
print(json.dumps({"steps": steps, "programs": sum(compiled), "found": found}))
"""
# of import jax, claimed: a session and a command with kernels kept, and the same cold
CLAIMS = {
    "session": (60.0, 11.0),
    "command": (20.0, 6.0),
}


def run(arguments, folder):
    """Seconds of a process, and what it prints; as if the user had set nothing."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "RFSPEC_"))}
    environment |= {"XDG_CACHE_HOME": folder, "JAX_PLATFORMS": os.environ.get("JAX_PLATFORMS", "")}
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *arguments], check=True, env=environment, capture_output=True, text=True
    )
    return time.perf_counter() - start, done.stdout


def measured(runs):
    """Fastest seconds by name, and what the fastest sessions have printed."""
    fastest, printed = defaultdict(lambda: float("inf")), {}

    def take(name, arguments, folder):
        seconds, text = run(arguments, folder)
        if seconds < fastest[name]:
            fastest[name], printed[name] = seconds, text

    for _ in range(runs):
        for name, arguments in (("session", ["-c", SESSION]), ("command", COMMAND)):
            with tempfile.TemporaryDirectory() as folder:
                take("import jax", ["-c", "import jax"], folder)
                take(f"{name}, cold", arguments, folder)
                for _ in range(2):
                    take(f"{name}, kept", arguments, folder)
    return fastest, {name: json.loads(printed[f"session, {name}"]) for name in ("cold", "kept")}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--runs", type=int, default=3)
    fastest, sessions = measured(parsed(parser, runs=1).runs)
    base, good = fastest["import jax"], True
    print(f"{'import jax':<26}{base:6.2f} s")
    for name, limits in CLAIMS.items():
        for kept, limit in zip(("cold", "kept"), limits, strict=True):
            seconds = fastest[f"{name}, {kept}"]
            good &= seconds < limit * base
            print(
                f"{name + ', ' + kept:<26}{seconds:6.2f} s  "
                f"{seconds / base:5.1f} × import jax (claimed: under {limit:.0f})"
            )
    print(f"\n{'steps of the session':<26}{'cold':>8}{'kept':>8}")
    for name in sessions["cold"]["steps"]:
        print(f"{name:<26}" + "".join(f"{sessions[k]['steps'][name]:8.2f}" for k in sessions))
    for name in ("programs", "found"):
        print(f"{name:<26}" + "".join(f"{sessions[k][name]:8d}" for k in sessions))
    return conclusion(good)


if __name__ == "__main__":
    sys.exit(main())
