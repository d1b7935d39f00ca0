"""docs/theory.md is what the code cites: its equations are numbered once,
its symbols and tests exist.
"""

import ast
import importlib
import io
import re
import tokenize
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "theory.md").read_text()
CODE = {path: path.read_text() for path in (ROOT / "rfspec").rglob("*.py")}
# formulas stand in blocks of LaTeX, with a number at the end
FORMULAS = re.findall(r"^\$\$\n(.*?)\n\$\$$", PAGE, re.MULTILINE | re.DOTALL)
NUMBERED = re.compile(r" \\tag\{(\d+)\}$")


def equations():
    return [int(n) for formula in FORMULAS for n in NUMBERED.findall(formula)]


def test_every_formula_is_a_block_of_its_own_with_all_that_it_opens_closed():
    assert PAGE.count("$$") == 2 * len(FORMULAS)
    assert PAGE.count("\\tag{") == len(equations())
    assert not re.search(r"^ {4}", PAGE, re.MULTILINE)
    for formula in FORMULAS:
        assert formula.count("{") == formula.count("}"), formula
        assert re.findall(r"\\begin\{(\w+)\}", formula) == re.findall(r"\\end\{(\w+)\}", formula)
        assert formula.count("\\Bigl") == formula.count("\\Bigr"), formula
        # a code-hosting site takes these backslashes for its own; Sphinx splits at the last
        assert not re.search(r"\\[,;:!{}\\]", formula), formula


def test_equations_are_numbered_once_and_in_order():
    assert equations() == list(range(1, len(equations()) + 1))


def prose(source):
    """Comments and docstrings of a module."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = [token.string for token in tokens if token.type == tokenize.COMMENT]
    nodes = (ast.Module, ast.ClassDef, ast.FunctionDef)
    docs = [
        ast.get_docstring(node) or ""
        for node in ast.walk(ast.parse(source))
        if isinstance(node, nodes)
    ]
    return "\n".join(comments + docs)


def test_the_code_cites_every_equation_and_no_other():
    cited = {
        int(n)
        for source in CODE.values()
        for n in re.findall(r"(?<![\w\])])\((\d{1,2})\)", prose(source))
    }
    assert cited == set(equations())


def test_references_to_modules_lead_somewhere():
    """``rfspec.a.b`` in prose is a module, or what one holds."""
    pages = {path: path.read_text() for path in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"))}
    texts = pages | {path: prose(source) for path, source in CODE.items()}
    for path, text in texts.items():
        for name in re.findall(r"``(rfspec(?:\.\w+)+)``", text):
            module, _, member = name.rpartition(".")
            try:
                importlib.import_module(name)
            except ModuleNotFoundError:
                assert hasattr(importlib.import_module(module), member), (path, name)


def test_every_test_that_the_page_names_exists():
    tests = {
        path.relative_to(ROOT).as_posix(): path.read_text()
        for path in (ROOT / "tests").glob("test_*.py")
    }
    named = re.findall(r"`((?:tests/)?test_[\w/.:]*)`", PAGE)
    assert len(named) > 40
    for name in named:
        file, _, function = name.rpartition("::") if "::" in name else ("", "", name)
        if name.endswith(".py"):
            assert name in tests, name
        elif file:
            assert f"def {function}(" in tests[file], name
        else:
            assert any(f"def {function}(" in source for source in tests.values()), name


def test_nothing_points_to_a_page_that_is_not_here():
    for path, source in CODE.items():
        assert "THEORY" not in source, path
        for page in re.findall(r"docs/\w+\.md", source):
            assert (ROOT / page).exists(), (path, page)
