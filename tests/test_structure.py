"""The folders are the chapters of one argument: each imports only from those before it,
and no module from itself.
"""

import ast
import inspect
from graphlib import TopologicalSorter
from pathlib import Path

import rfspec

PACKAGE = Path(rfspec.__file__).parent
CHAPTERS = [
    "numerics",
    "files",
    "models",
    "resolvent",
    "spectra",
    "training",
    "algebraic",
    "certificates",
    "empirical",
    "surveys",
    "io",
    "rfspec",  # rfspec/__init__.py
    "plotting",
    "explorer",
    "cli",
    "__main__",
]
MODULES = {path.relative_to(PACKAGE).with_suffix("").parts: path for path in PACKAGE.rglob("*.py")}


def chapter(module):
    return "rfspec" if module == ("__init__",) else module[0]


def imported(module):
    """Modules of the package that a module imports."""
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        base = module[: len(module) - node.level] + tuple(
            node.module.split(".") if node.module else ()
        )
        inside = {(*base, alias.name) for alias in node.names} & set(MODULES)
        yield from inside or [base if base in MODULES else (*base, "__init__")]


def test_every_module_lies_in_a_chapter():
    assert {chapter(module) for module in MODULES} == set(CHAPTERS)


def test_chapters_import_only_from_those_before_them():
    for module in MODULES:
        for other in imported(module):
            assert CHAPTERS.index(chapter(other)) <= CHAPTERS.index(chapter(module)), (
                module,
                other,
            )


def test_no_module_imports_itself_through_others():
    TopologicalSorter({module: set(imported(module)) for module in MODULES}).prepare()


def test_the_ground_truth_shares_no_code_with_what_it_judges():
    """But the names of what numbers are."""
    for module in MODULES:
        if chapter(module) == "algebraic":
            others = set(imported(module)) - {("numerics", "types")}
            assert {chapter(other) for other in others} <= {"models", "algebraic"}, module


def test_the_core_does_not_draw():
    for module, path in MODULES.items():
        if CHAPTERS.index(chapter(module)) < CHAPTERS.index("rfspec"):
            assert "matplotlib" not in path.read_text(), module


def test_no_chapter_is_named_as_something_public():
    """Else the name would be the chapter's or the function's, whichever was imported last."""
    chapters = {name for name in CHAPTERS if (PACKAGE / name).is_dir()}
    # which are public as they are
    assert chapters & set(rfspec.__all__) == {
        "algebraic",
        "empirical",
        "io",
        "plotting",
    }


def test_what_solves_knows_no_equations():
    """A theory is one file: the modules that solve it mention none of its symbols."""
    for name in ("numerics/holomorphic", "spectra/search", "spectra/edges", "training/contour"):
        source = (PACKAGE / f"{name}.py").read_text()
        assert not any(symbol in source for symbol in ("psi_p", "psi_n", "kappa", "delta"))


def test_what_is_public_is_documented():
    for name in rfspec.__all__:
        thing = getattr(rfspec, name)
        assert inspect.getdoc(thing), name
        if inspect.isclass(thing):
            for member, value in vars(thing).items():
                if not member.startswith("_") and (
                    inspect.isfunction(value) or isinstance(value, property)
                ):
                    assert inspect.getdoc(value), f"{name}.{member}"
