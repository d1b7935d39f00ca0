"""What the benchmarks share: options, timing, the verdict, the machine, and results in files."""

import contextlib
import json
import math
import os
import platform
import signal
import subprocess
import time
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

HERE = Path(__file__).parent
RESULTS = HERE / "results"
HOLD, BROKEN = "claims hold", "A CLAIM DOES NOT HOLD"


def parsed(parser, arguments=None, **fast):
    """Options of a script. `--fast` takes these values for those not given, and says so."""
    parser.add_argument("--fast", action="store_true", help="less work: " + words(fast))
    usual = {name: parser.get_default(name) for name in fast}
    if parser.parse_known_args(arguments)[0].fast:
        parser.set_defaults(**fast)
        print(f"fast: {words(fast)} in place of {words(usual)}", flush=True)
    return parser.parse_args(arguments)


def words(options):
    """Names and values in a line."""
    return ", ".join(f"{name} {value}" for name, value in options.items())


def conclusion(good):
    """The exit status of a script, after a line that says it."""
    print(HOLD if good else BROKEN, flush=True)
    return 0 if good else 1


def best(f, repeats=5, seconds=0.0):
    """Shortest of so many runs or of those of so many seconds, after one that compiles."""
    import jax

    jax.block_until_ready(f())
    times = []
    while len(times) < repeats or sum(times) < seconds:
        start = time.perf_counter()
        jax.block_until_ready(f())
        times.append(time.perf_counter() - start)
    return min(times)


def kill(process):
    """End a process that was started in a session of its own, with all that it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def machine():
    """Device, versions and commit, for a file of results."""
    import jax

    device = jax.devices()[0]
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count())
    memory = (device.memory_stats() or {}).get("bytes_limit")
    return {
        "device": processor() if device.platform == "cpu" else device.device_kind,
        "platform": device.platform,
        "devices": len(jax.devices()),
        "device_memory_GiB": memory and round(memory / 2**30, 1),
        "cores": len(cores),
        "python": platform.python_version(),
        **{name: _version(name) for name in ("jax", "jaxlib", "numpy", "scipy", "rfspec")},
        "commit": commit(),
        "date": datetime.now(UTC).date().isoformat(),
    }


def processor():
    """Name of the CPU, as far as the system tells it."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text().splitlines() if told.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _version(name):
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def commit():
    """The revision of the tree, "+" where files differ from it; None outside of a repository."""
    git = ["git", "-C", str(HERE.parent)]
    try:
        head = subprocess.run(
            [*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True
        )
        if head.returncode:
            return None
        changed = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True)
    except FileNotFoundError:
        return None
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "")


def keep(name, content):
    """Write a result as JSON or CSV text under results/, beside it and then in its place."""
    return replaced(RESULTS / name, content if isinstance(content, str) else to_text(content))


def to_text(content):
    """JSON, in which what is not finite is null."""
    return json.dumps(_finite(content), indent=1) + "\n"


def _finite(value):
    if isinstance(value, dict):
        return {key: _finite(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def replaced(path, text):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{os.getpid()}.part")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)
    return path
