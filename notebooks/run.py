"""Execute notebooks from top to bottom; their outputs go to results/notebooks/.

    python notebooks/run.py            all of them; the tree stays as it is
    python notebooks/run.py 05 06      those whose names begin so
    python notebooks/run.py --keep     writes back outputs, thumbnails and the index, README.md
    python notebooks/run.py --check    executes nothing, and checks the form of what is kept

It fails when a cell fails, or draws and shows no picture; kept notebooks must have the common form.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import nbformat
from common_form import faults, fill_index, tidy, without_picture, write_thumbnail
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

HERE = Path(__file__).parent
OUT = HERE.parent / "results" / "notebooks"
LIMIT_S = 600


def execute(notebook: nbformat.NotebookNode) -> None:
    """Run all cells where the notebooks are; a CellExecutionError says which one failed."""
    resources = {"metadata": {"path": HERE}}
    client = NotebookClient(
        notebook, timeout=LIMIT_S, kernel_name="python3", resources=resources, record_timing=False
    )
    client.execute()


def run(path: Path, keep: bool) -> str | None:
    """Execute one notebook and write it; what is wrong, or None."""
    start = time.perf_counter()
    notebook = nbformat.read(path, as_version=4)
    try:
        execute(notebook)
    except CellExecutionError as e:
        return str(e)
    taken = time.perf_counter() - start
    tidy(notebook)
    nbformat.write(notebook, OUT / path.name)
    if blank := without_picture(notebook):
        return f"no picture from the cells {blank}"
    written = OUT / path.name
    if keep:
        written = path
        nbformat.write(notebook, path)
        write_thumbnail(path)
        fill_index(HERE)
    print(f"{path.name}: {taken:.0f} s, written to {written}", flush=True)
    return "; ".join(faults(path)) or None if keep else None


def main(arguments: Sequence[str] = ()) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="beginnings of names; without them all notebooks")
    parser.add_argument("--keep", action="store_true", help="write outputs back into the tree")
    parser.add_argument("--check", action="store_true", help="check the form, execute nothing")
    chosen = parser.parse_args(arguments)
    OUT.mkdir(parents=True, exist_ok=True)
    begins = tuple(chosen.names) or ""
    paths = sorted(path for path in HERE.glob("*.ipynb") if path.name.startswith(begins))
    failed = 0
    for path in paths:
        wrong = "; ".join(faults(path)) if chosen.check else run(path, chosen.keep)
        if wrong:
            failed += 1
            print(f"{path.name} failed: {wrong}", file=sys.stderr)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
