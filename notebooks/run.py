"""Execute every notebook from top to bottom, keep the outputs in results/notebooks/,
fail when a cell fails.
"""

import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

HERE = Path(__file__).parent
OUT = HERE.parent / "results" / "notebooks"
LIMIT_S = 600


def main() -> int:
    OUT.mkdir(parents=True, exist_ok=True)
    for path in sorted(HERE.glob("*.ipynb")):
        start = time.perf_counter()
        notebook = nbformat.read(path, as_version=4)
        client = NotebookClient(
            notebook, timeout=LIMIT_S, kernel_name="python3", resources={"metadata": {"path": HERE}}
        )
        try:
            client.execute()
        except CellExecutionError as e:
            print(f"{path.name} failed:\n{e}", file=sys.stderr)
            return 1
        nbformat.write(notebook, OUT / path.name)
        print(f"{path.name}: {time.perf_counter() - start:.0f} s, written to {OUT / path.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
