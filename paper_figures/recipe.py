"""A figure as a recipe: parameters, what is computed from them, how that is drawn.

A script of this folder has, from top to bottom: a docstring, whose first sentence is the title;
DIFFERS, what differs from the published figure and why; parameters in capitals; FAST, the
parameters of a quick version; `compute()`, which returns tables (xarray datasets by name); and
`draw(tables)`, which returns a figure and computes nothing. Tables are kept in data/ with what they
were made of, and made anew only when the parameters or the code down to `compute` have changed.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import jax
import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import xarray

import rfspec as rf
from rfspec.files.io import write_figure

HERE = Path(__file__).parent
DATA, PICTURES = HERE / "data", HERE / "pictures"
OUT = HERE.parent / "results" / "figures"
# of the committed pictures
DPI = 110
Tables = dict[str, xarray.Dataset]


class Recipe(NamedTuple):
    """One figure."""

    name: str
    title: str
    differs: str
    parameters: dict[str, Any]
    # of the parameters and of the code that computes
    fingerprint: str
    fast: bool
    compute: Callable[[], Tables]
    draw: Callable[[Tables], Any]


def recipes() -> list[Path]:
    """The scripts of this folder that are recipes, in order."""
    return sorted(path for path in HERE.glob("*_*.py") if path.name != Path(__file__).name)


def load(script: Path, fast: bool = False) -> Recipe:
    """The recipe of a script, in its quick version if asked for."""
    module = _imported(script)
    if fast:
        vars(module).update(module.FAST)
    body = _down_to_compute(script.read_text(encoding="utf-8"))
    found = _parameters(module, body)
    code = _code_that_computes(body)
    fingerprint = hashlib.sha256((code + json.dumps(found)).encode()).hexdigest()[:16]
    title = " ".join((module.__doc__ or "").split("\n\n")[0].split())
    return Recipe(
        script.stem, title, module.DIFFERS, found, fingerprint, fast, module.compute, module.draw
    )


def make(script: Path, *, fast: bool = False, again: bool = False) -> Path:
    """Compute what is not kept, draw, and write picture and tables; returns the picture's path.

    The quick version is always computed, and kept nowhere.
    """
    recipe = load(script, fast)
    tables = {} if fast or again else kept(recipe)
    if not tables:
        # of all cores: it does not depend on what else they do
        start = time.process_time()
        tables = recipe.compute()
        if not fast:
            keep(recipe, tables, time.process_time() - start)
            tables = kept(recipe)
    with rf.plotting.style():
        figure = recipe.draw(tables)
    out = OUT / "fast" if fast else OUT
    for suffix in ("png", "pdf"):
        write_figure(out / f"{recipe.name}.{suffix}", figure)
    if not fast:
        figure.savefig(PICTURES / f"{recipe.name}.png", dpi=DPI)
    plt.close(figure)
    for path, table in _paths(recipe.name, tables, out, "csv").items():
        rf.io.write(path, table)
    return out / f"{recipe.name}.png"


def kept(recipe: Recipe) -> Tables:
    """The tables in data/, or none where they are not of this recipe as it is."""
    tables: Tables = {}
    for path in sorted(DATA.glob(f"{recipe.name}.*nc")):
        with xarray.open_dataset(path, engine="h5netcdf") as stored:
            table = stored.load()
        if table.attrs.get("fingerprint") != recipe.fingerprint:
            return {}
        tables[path.name.removeprefix(recipe.name).removesuffix("nc").strip(".")] = table
    return tables


def about(recipe: Recipe) -> dict[str, Any]:
    """What the tables in data/ were made of."""
    for path in sorted(DATA.glob(f"{recipe.name}.*nc")):
        with xarray.open_dataset(path, engine="h5netcdf") as stored:
            return dict(stored.attrs)
    return {}


def keep(recipe: Recipe, tables: Tables, seconds: float) -> None:
    """Write the tables to data/ with what they were made of."""
    for path in DATA.glob(f"{recipe.name}.*nc"):
        path.unlink()
    made_of = {
        "figure": recipe.title,
        "fingerprint": recipe.fingerprint,
        "parameters": json.dumps(recipe.parameters, ensure_ascii=False),
        "computed": datetime.now(UTC).date().isoformat(),
        "cpu_seconds": round(seconds, 1),
        "device": f"{jax.device_count()} {jax.devices()[0].device_kind}",
    }
    for path, table in _paths(recipe.name, tables, DATA, "nc").items():
        small = table.copy()
        for variable in small.variables.values():
            variable.encoding = {"zlib": True} if variable.ndim else {}
        rf.io.write(path, small, about=made_of)


def state_of(name: str) -> Path:
    """Where a long computation keeps what is done until it is all done."""
    OUT.mkdir(parents=True, exist_ok=True)
    return OUT / f"{name}.partial"


def run(file: str) -> None:
    """What a script does when it is run by itself."""
    parser = argparse.ArgumentParser(description=load(Path(file)).title)
    parser.add_argument("--fast", action="store_true", help="a quick version, kept nowhere")
    parser.add_argument("--again", action="store_true", help="compute even what is kept")
    wanted = parser.parse_args()
    print(f"written to {make(Path(file), fast=wanted.fast, again=wanted.again)}")


def _imported(script: Path) -> ModuleType:
    # recipes import their neighbours by name
    if str(HERE) not in sys.path:
        sys.path.insert(0, str(HERE))
    module = ModuleType(f"recipe_{script.stem}")
    vars(module)["__file__"] = str(script)
    # not from a cache of bytecode, which takes a change within a second for none
    exec(compile(script.read_text(encoding="utf-8"), str(script), "exec"), vars(module))
    return module


def _down_to_compute(source: str) -> list[ast.stmt]:
    body = ast.parse(source).body
    end = next(i for i, node in enumerate(body) if getattr(node, "name", "") == "compute")
    return body[: end + 1]


def _parameters(module: ModuleType, body: list[ast.stmt]) -> dict[str, Any]:
    # capitals below compute() are of the layout
    assigned = (node for node in body if isinstance(node, ast.Assign))
    names = [name.id for node in assigned for name in ast.walk(node) if isinstance(name, ast.Name)]
    return {
        name: vars(module)[name]
        for name in names
        if name.isupper() and name not in ("FAST", "DIFFERS") and _is_plain(vars(module)[name])
    }


def _is_plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(map(_is_plain, (*value.keys(), *value.values())))
    if isinstance(value, tuple | list):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, str | int | float)


def _code_that_computes(body: list[ast.stmt]) -> str:
    # layout, comments and docstrings do not count
    code = [
        node
        for node in body
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Import | ast.ImportFrom)
    ]
    for node in code:
        if isinstance(node, ast.FunctionDef) and ast.get_docstring(node):
            node.body = node.body[1:] or [ast.Pass()]
    return repr([_shape(node) for node in code])


def _shape(node: Any) -> Any:
    # of code, the same in every version of Python: what is empty differs between them
    if isinstance(node, ast.AST):
        fields = [(name, _shape(value)) for name, value in ast.iter_fields(node)]
        return type(node).__name__, [pair for pair in fields if pair[1] not in (None, [])]
    return [_shape(value) for value in node] if isinstance(node, list) else node


def _paths(name: str, tables: Tables, folder: Path, suffix: str) -> dict[Path, xarray.Dataset]:
    # a figure's only table may have no name
    return {
        folder / (f"{name}.{table}.{suffix}" if table else f"{name}.{suffix}"): dataset
        for table, dataset in tables.items()
    }
