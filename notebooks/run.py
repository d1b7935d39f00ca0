"""Execute every notebook from top to bottom, keep the outputs in results/notebooks/,
fail when a cell fails, or draws and shows no picture.
"""

import re
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

HERE = Path(__file__).parent
OUT = HERE.parent / "results" / "notebooks"
LIMIT_S = 600
# a call, outside comments
DRAWS = re.compile(r"^[^#\n]*\b(?:rf\.plotting|plt)\.[\w.]+\(", re.MULTILINE)


def execute(notebook: nbformat.NotebookNode) -> None:
    """Run all cells where the notebooks are; a CellExecutionError says which one failed."""
    resources = {"metadata": {"path": HERE}}
    NotebookClient(notebook, timeout=LIMIT_S, kernel_name="python3", resources=resources).execute()


def images(cell: nbformat.NotebookNode) -> int:
    """Pictures among the outputs of a cell."""
    shown = [output.get("data", {}) for output in cell.get("outputs", [])]
    return sum(any(kind.startswith("image/") for kind in data) for data in shown)


def without_picture(notebook: nbformat.NotebookNode) -> list[int]:
    """Which cells, counted from 0, call rf.plotting or plt and show no picture."""
    return [
        i
        for i, cell in enumerate(notebook.cells)
        if cell.cell_type == "code" and DRAWS.search(cell.source) and not images(cell)
    ]


def main() -> int:
    OUT.mkdir(parents=True, exist_ok=True)
    for path in sorted(HERE.glob("*.ipynb")):
        start = time.perf_counter()
        notebook = nbformat.read(path, as_version=4)
        try:
            execute(notebook)
        except CellExecutionError as e:
            print(f"{path.name} failed:\n{e}", file=sys.stderr)
            return 1
        nbformat.write(notebook, OUT / path.name)
        if blank := without_picture(notebook):
            print(f"{path.name} failed: no picture from the cells {blank}", file=sys.stderr)
            return 1
        print(f"{path.name}: {time.perf_counter() - start:.0f} s, written to {OUT / path.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
