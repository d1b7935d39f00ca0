"""Run benchmarks one after another, go on where a claim fails, and print a table at the end.

    python benchmarks/run.py            all of them
    python benchmarks/run.py --fast     all with less work, under five minutes together
    python benchmarks/run.py solver     those whose names begin so

The exit status is 1 if a claim does not hold, or a script has failed. `bench_gpu.py` has a command
of its own, and runs here only when it is named.
"""

import argparse
import subprocess
import sys
import threading
import time

from common import BROKEN, HERE, kill

APART = {"gpu"}
LIMIT_S = {True: 240, False: 20_000}  # of one script at most, by --fast


def scripts(names):
    """Names of the benchmarks, without bench_ and .py; all of them if none is asked for."""
    there = sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))
    if not names:
        return [name for name in there if name not in APART]
    wanted = [name.removeprefix("bench_").removesuffix(".py") for name in names]
    for name in wanted:
        if not any(one.startswith(name) for one in there):
            raise SystemExit(f"no benchmark begins with {name}: there are {', '.join(there)}")
    return [one for one in there if one.startswith(tuple(wanted))]


def run(name, fast):
    """Print what a script prints; its verdict, and seconds."""
    command = [sys.executable, "-u", str(HERE / f"bench_{name}.py"), *(["--fast"] if fast else [])]
    print(f"\n== bench_{name}.py{' --fast' if fast else ''}", flush=True)
    start, broken = time.perf_counter(), []
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, errors="replace", start_new_session=True
    )
    watch = threading.Timer(LIMIT_S[fast], kill, [process])
    watch.start()
    try:
        for line in process.stdout:
            print(line, end="", flush=True)
            if BROKEN in line:
                broken.append(line)
        status, taken = process.wait(), time.perf_counter() - start
    finally:
        watch.cancel()
        kill(process)
    if taken > LIMIT_S[fast]:
        return f"ended after {taken:.0f} s", taken
    if status == 0:
        return "holds", taken
    return ("A CLAIM FAILS" if broken else f"failed, status {status}"), taken


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="beginnings of names; without them all")
    parser.add_argument("--fast", action="store_true", help="less work in each")
    options = parser.parse_args()
    found = {name: run(name, options.fast) for name in scripts(options.names)}
    print("\n== all")
    for name, (verdict, seconds) in found.items():
        print(f"bench_{name + '.py':<24}{seconds:8.1f} s   {verdict}")
    print(f"{'together':<30}{sum(seconds for _, seconds in found.values()):8.1f} s")
    return int(any(verdict != "holds" for verdict, _ in found.values()))


if __name__ == "__main__":
    sys.exit(main())
