"""docs/theory.md is what the code cites: its equations are numbered once, its symbols and tests exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "theory.md").read_text()
CODE = {path: path.read_text() for path in (ROOT / "rfspec").rglob("*.py")}
NUMBERED = re.compile(r"^ {4}.*\((\d+)\)[,.:]?$", re.MULTILINE)  # formulas stand in blocks, with a number at the end


def equations():
    return [int(n) for n in NUMBERED.findall(PAGE)]


def test_equations_are_numbered_once_and_in_order():
    assert equations() == list(range(1, len(equations()) + 1))


def test_the_code_cites_every_equation_and_no_other():
    cited = {int(n) for source in CODE.values() for n in re.findall(r"\s\((\d{1,2})\)", source)}
    assert cited >= set(equations()), set(equations()) - cited
    for path, source in CODE.items():
        for numbers in re.findall(r"equations? \((\d+)\)(?: (?:and|to) \((\d+)\))?", source):
            assert {int(n) for n in numbers if n} <= set(equations()), path


def test_every_test_that_the_page_names_exists():
    tests = {path.relative_to(ROOT).as_posix(): path.read_text() for path in (ROOT / "tests").glob("test_*.py")}
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
