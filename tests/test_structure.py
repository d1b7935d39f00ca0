"""The listing is the pipeline: a module imports only from rooms above it."""

import ast
from pathlib import Path

import rfspec

PACKAGE = Path(rfspec.__file__).parent
ROOMS = [
    "_checks",
    "_session",
    "activations",
    "continuum",
    "covariance",
    "covariance_laws",
    "processes",
    "targets",
    "quadrature",
    "model",
    "one_by_one",
    "gaussian_equivalent",
    "outlier",
    "holomorphic",
    "columns",
    "equations",
    "noise_draws",
    "theory",
    "solver",
    "edges",
    "support",
    "series",
    "spectrum",
    "laws",
    "merging",
    "filters",
    "contour",
    "two_point",
    "learning_curves",
    "early_stopping",
    "timescales",
    "scaling",
    "diffusion_times",
    "algebraic.numbers",
    "algebraic.elimination",
    "algebraic.triangular",
    "algebraic.twin",
    "algebraic.curves",
    "algebraic.drops",
    "algebraic.__init__",
    "certificate",
    "io",
    "checkpoint",
    "phase_dataset",
    "phase",
    "empirical.memory",
    "empirical.hermite",
    "empirical.features",
    "empirical.spectrum",
    "empirical.operators",
    "empirical.matrix_free",
    "empirical.dynamics",
    "empirical.training",
    "empirical.compare",
    "empirical.__init__",
    "prediction",
    "__init__",
    "plotting.style",
    "plotting.densities",
    "plotting.curves",
    "plotting.phases",
    "plotting.times",
    "plotting.figures",
    "plotting.__init__",
    "demo",
    "cli.expressions",
    "cli.options",
    "cli.theory",
    "cli.sampled",
    "cli.predicted",
    "cli.__init__",
    "__main__",
]


def module_name(path):
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def imported(path):
    """Modules of the package that a file imports, as names of rooms."""
    here = path.relative_to(PACKAGE).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = [*here[: len(here) - node.level + 1], *(node.module.split(".") if node.module else [])]
            for name in [None] if node.module else [a.name for a in node.names]:
                parts = base + ([name] if name else [])
                yield resolve(parts)
            if node.module:
                for alias in node.names:
                    if (PACKAGE.joinpath(*base, alias.name)).with_suffix(".py").exists():
                        yield resolve([*base, alias.name])


def resolve(parts):
    return ".".join([*parts, "__init__"]) if (PACKAGE.joinpath(*parts)).is_dir() else ".".join(parts)


def test_every_module_has_its_place():
    assert sorted(module_name(p) for p in PACKAGE.rglob("*.py")) == sorted(ROOMS)


def test_imports_point_up_the_pipeline():
    for path in PACKAGE.rglob("*.py"):
        here = ROOMS.index(module_name(path))
        for name in imported(path):
            assert name in ROOMS, (path, name)
            assert ROOMS.index(name) < here, f"{module_name(path)} imports {name}, which stands below it"


def test_the_core_does_not_draw():
    for name in ROOMS[: ROOMS.index("__init__")]:
        assert "matplotlib" not in PACKAGE.joinpath(*name.split(".")).with_suffix(".py").read_text()


def test_the_solver_knows_no_equations():
    """A theory is one file: the modules that solve it mention none of its symbols."""
    for name in ("holomorphic", "edges", "contour"):
        source = (PACKAGE / f"{name}.py").read_text()
        assert not any(symbol in source for symbol in ("psi_p", "psi_n", "kappa", "delta"))
