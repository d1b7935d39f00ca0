"""A cold `rfspec spectrum` process, with nothing compiled beforehand,
against `python -c "import jax"`.

python benchmarks/bench_cold.py [--runs 5]
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time

ARGUMENTS = ["-m", "rfspec", "spectrum", "--psi-p", "64", "--psi-n", "8", "--t", "0.01"]


def seconds(arguments, cache):
    environment = {**os.environ, "XDG_CACHE_HOME": cache}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, *arguments], check=True, env=environment, stdout=subprocess.DEVNULL
    )
    return time.perf_counter() - start


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    imports, cold, warm = [], [], []
    for _ in range(runs):  # in turn, so that a drifting machine is fair to all
        with tempfile.TemporaryDirectory() as cache:
            imports.append(seconds(["-c", "import jax"], cache))
            cold.append(seconds(ARGUMENTS, cache))
            warm.append(seconds(ARGUMENTS, cache))
    jax, first, again = (statistics.median(t) for t in (imports, cold, warm))
    limit = 3 * jax + 3
    print(f"import jax                    {jax:6.2f} s (median of {runs})")
    print(
        f"rfspec spectrum, cold         {first:6.2f} s  (claimed: under 3 × import jax + 3 s = "
        f"{limit:.2f} s)"
    )
    print(f"the same with kernels kept    {again:6.2f} s")
    print("claims hold" if first < limit else "A CLAIM DOES NOT HOLD")
    return 0 if first < limit else 1


if __name__ == "__main__":
    sys.exit(main())
