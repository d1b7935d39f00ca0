"""Draw all figures, and the table of them in README.md: `python paper_figures/make.py --help`."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from recipe import DATA, HERE, PICTURES, about, load, make, recipes

START, END = "<!-- figures -->\n", "<!-- end of figures -->\n"
README = HERE / "README.md"
THUMBNAIL = 260  # pixels


def row(script: Path) -> str:
    """A figure's row: what it is, command, minutes, what differs, thumbnail."""
    recipe = load(script)
    seconds = about(recipe).get("cpu_seconds")
    minutes = "" if seconds is None else f"{float(seconds) / 60:.1f}"
    command = f"`python paper_figures/{script.name}`"
    picture = f'<img src="pictures/{recipe.name}.png" width="{THUMBNAIL}" alt="{recipe.name}">'
    return f"| {recipe.title} | {command} | {minutes} | {recipe.differs} | {picture} |"


def index() -> str:
    """The table of figures."""
    head = "| figure | command | CPU minutes | what differs from the paper, and why | |"
    rows = [head, "| --- | --- | --- | --- | --- |", *map(row, recipes())]
    return "\n".join(rows) + "\n"


def readme() -> str:
    """README.md with its table as it should be."""
    text = README.read_text(encoding="utf-8")
    before, after = text.split(START)[0], text.split(END)[1]
    return before + START + "\n" + index() + "\n" + END + after


def forgotten() -> list[Path]:
    """Data and pictures that no script makes any more."""
    names = {script.stem for script in recipes()}
    made = [*DATA.glob("*.nc"), *PICTURES.glob("*.png")]
    return [path for path in made if path.name.split(".")[0] not in names]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split(":")[0])
    parser.add_argument("names", nargs="*", help="figures by their scripts' names; all by default")
    parser.add_argument("--fast", action="store_true", help="quick versions, kept nowhere")
    parser.add_argument("--again", action="store_true", help="compute even what is kept")
    wanted = parser.parse_args()
    unknown = set(wanted.names) - {script.stem for script in recipes()}
    if unknown:
        parser.error(f"no figure is called {', '.join(sorted(unknown))}")
    for script in recipes():
        if wanted.names and script.stem not in wanted.names:
            continue
        start = time.perf_counter()
        path = make(script, fast=wanted.fast, again=wanted.again)
        print(f"{script.stem}: {time.perf_counter() - start:.1f} s, {path}", flush=True)
    if not wanted.fast:
        README.write_text(readme(), encoding="utf-8")


if __name__ == "__main__":
    main()
