"""Everything that is fast on a GPU, in one command of under eight minutes; it also runs on a CPU.

Stages: the machine's rates; `solve` against the size of a batch; exact U and all its eigenvalues at
the largest p that fits; a spectrum at p = 10⁶ without a matrix; spectra, learning curves and a
phase diagram of many models; the solver against sampled matrices at equal accuracy. Each runs in a
process of its own, with a share of the time: one that fails or hangs loses nothing of the others.
Results are written after each stage, and drawn by draw.py.

    python benchmarks/bench_gpu.py [--fast] [--seconds 460] [--only solve,spectra] [--out FILE]

Sizes are those that the device has room and time for. `--fast` takes small ones and two minutes.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import HERE, RESULTS, conclusion, kill, replaced, to_text

ROOT = HERE.parent
# seconds of each stage at most, as shares of the whole; what one leaves goes to the others
SHARES = {
    "rates": 0.06,
    "solve": 0.11,
    "exact U": 0.08,
    "eigenvalues": 0.12,
    "matrix-free": 0.10,
    "spectra": 0.14,
    "curves": 0.11,
    "phase diagram": 0.14,
    "equal accuracy": 0.14,
}
WHOLE_S, FAST_S = 460.0, 120.0
MOST_S = 480.0  # claimed: the whole takes no longer
INSTALL = "https://docs.jax.dev/en/latest/installation.html"
ENDING_S = 4.0  # after its time a stage may take so long to end by itself


def in_a_process(name, seconds, fast):
    """What a stage found, and what ended it."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "found.json"
        command = [sys.executable, "-u", __file__, "--stage", name, "--out", str(out)]
        command += ["--seconds", str(seconds), *(["--fast"] if fast else [])]
        kernels = {
            "JAX_COMPILATION_CACHE_DIR": str(ROOT / "results" / "kernels"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2",
        }
        environment = {**kernels, **os.environ, "XLA_PYTHON_CLIENT_MEM_FRACTION": "0.92"}
        start, ended = time.monotonic(), None
        process = subprocess.Popen(command, env=environment, start_new_session=True)
        try:
            status = process.wait(timeout=seconds + ENDING_S)
            ended = f"failed with status {status}" if status else None
        except subprocess.TimeoutExpired:
            ended = f"ended after {seconds:.0f} s"
        finally:
            kill(process)
            process.wait()
        found = json.loads(out.read_text()) if out.exists() else {}
    return {**found, "took_s": time.monotonic() - start, "ended": found.get("error") or ended}


def run_stage(name, seconds, out, fast):
    """In its own process: measure, and note an error beside what was found before it."""
    import gpu_stages

    stage = gpu_stages.Stage(seconds, out, fast)
    try:
        gpu_stages.STAGES[name](stage)
    except Exception as e:
        stage.say(error=f"{type(e).__name__}: {e!s:.300}")
        raise


def slug(machine):
    """A file name for a device."""
    return re.sub(r"[^a-z0-9]+", "-", str(machine.get("device", "unknown")).lower()).strip("-")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, help=f"for all ({WHOLE_S:g}, fast {FAST_S:g})")
    parser.add_argument("--only", default=",".join(SHARES), help="stages, with commas")
    parser.add_argument("--out", type=Path, help="file of results, by default named by the device")
    parser.add_argument("--fast", action="store_true", help="small sizes, two minutes")
    parser.add_argument("--stage", choices=SHARES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        run_stage(options.stage, options.seconds, options.out, options.fast)
        return 0
    whole = options.seconds or (FAST_S if options.fast else WHOLE_S)
    chosen = [name for name in SHARES if name in {"rates", *options.only.split(",")}]
    start, stages, out = time.monotonic(), {}, options.out
    for i, name in enumerate(chosen):
        left = whole - (time.monotonic() - start) - ENDING_S
        seconds = left * SHARES[name] / sum(SHARES[other] for other in chosen[i:])
        if left < ENDING_S:
            stages[name] = {"ended": "no time was left"}
            continue
        print(f"{name}, at most {seconds:.0f} s", flush=True)
        stages[name] = in_a_process(name, seconds, options.fast)
        if stages[name]["ended"]:
            print(f"    {stages[name]['ended']}", flush=True)
        machine = stages.get("rates", {}).get("machine", {})
        folder = ROOT / "results" if options.fast else RESULTS
        out = options.out or folder / f"gpu-{slug(machine)}.json"
        taken = time.monotonic() - start
        content = {**machine, "fast": options.fast, "seconds": taken, "stages": stages}
        replaced(out, to_text(content))
    if stages.get("rates", {}).get("machine", {}).get("platform") == "cpu" and shutil.which(
        "nvidia-smi"
    ):
        print("there is nvidia-smi, but JAX found no GPU: see " + INSTALL)
    taken = time.monotonic() - start
    print(f"{taken:.0f} s (claimed: at most {MOST_S:g}); written to {out}")
    return conclusion(taken <= MOST_S and not any(s.get("ended") for s in stages.values()))


if __name__ == "__main__":
    sys.exit(main())
