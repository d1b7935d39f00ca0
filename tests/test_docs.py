"""The documentation site holds every public name and every page, and its links lead somewhere."""

import importlib.util
import re
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

import rfspec as rf

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
READ_ELSEWHERE = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *(ROOT / folder / "README.md" for folder in ("benchmarks", "notebooks", "paper_figures")),
]
MODULES = (rf, rf.empirical, rf.plotting, rf.io, rf.algebraic)


def extension(name):
    spec = importlib.util.spec_from_file_location(name, DOCS / "_ext" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_public_name_is_described_once():
    texts = "\n".join(path.read_text() for path in (DOCS / "api").glob("*.rst"))
    described = re.findall(r"^\.\. (?:auto|py:)\w+:: (rfspec[\w.]+)", texts, re.MULTILINE)
    assert sorted(described) == sorted(
        f"{m.__name__}.{name}" for m in MODULES for name in m.__all__
    )


def contents(page):
    """Names in the trees of contents of a page."""
    fenced = r"```\{toctree\}\n(.*?)```"
    directive = r"\.\. toctree::\n(.*?)(?:\n\S|\Z)"
    trees = re.findall(f"(?:{fenced})|(?:{directive})", page.read_text(), re.DOTALL)
    lines = "\n".join(a or b for a, b in trees).split("\n")
    return {line.strip() for line in lines if line.strip() and not line.strip().startswith(":")}


def test_every_page_is_in_a_tree_of_contents():
    assert contents(DOCS / "index.md") == {p.stem for p in PAGES} - {"index"} | {"api/index"}
    api = {path.stem for path in (DOCS / "api").glob("*.rst")}
    assert contents(DOCS / "api" / "index.rst") == api - {"index"}


def anchors(page):
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    kept = (re.sub(r"[^\w\- ]", "", unicodedata.normalize("NFKC", h.lower())) for h in headings)
    return {heading.strip().replace(" ", "-") for heading in kept}


@pytest.mark.parametrize("page", [*PAGES, *READ_ELSEWHERE], ids=lambda path: path.stem)
def test_links_and_pictures_of_a_page_are_there(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target, anchor in re.findall(r"\]\(([^)\s#]*)#?([^)\s]*)\)", text):
        if not re.match(r"\w+:", target):
            path = page.parent / target if target else page
            assert path.exists(), (page.name, target)
            assert not anchor or anchor in anchors(path), (page.name, target, anchor)


def test_the_galleries_are_of_what_lies_in_the_folders(tmp_path, monkeypatch):
    elsewhere = extension("pages_from_elsewhere")
    monkeypatch.setattr(elsewhere, "ROOT", tmp_path)
    monkeypatch.setattr(elsewhere, "COPIES", tmp_path / "copies")
    assert "make figures" in elsewhere.all_figures()
    assert elsewhere.all_notebooks() == "*There is none yet.*"
    (tmp_path / "paper_figures" / "pictures").mkdir(parents=True)
    (tmp_path / "paper_figures" / "one.py").write_text('"""A figure.\n\nMore."""')
    (tmp_path / "paper_figures" / "pictures" / "one_b.png").touch()
    shown = elsewhere.all_figures()
    assert "### A figure\n\nMore." in shown
    assert "[A figure](#figure-one)" in shown
    assert "pictures/one_b.png" in shown
    assert "`python paper_figures/one.py`" in shown


def test_links_to_what_the_site_does_not_show_become_words():
    elsewhere = extension("pages_from_elsewhere")
    text = "[a](theory.md#x) [b](../Makefile) [c](https://x.org) [d](explorer/index.html)"
    assert elsewhere.with_links(text, DOCS, DOCS) == (
        '[a](theory.md#x) b [c](https://x.org) <a href="explorer/index.html">d</a>'
    )


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("1 + ψ_pTq", "1 + ψ<p>Tq"),
        ("f_iD_in_ik", "f<i>D<i>n<ik>"),
        ("h_k²c^k", "h<k>²c<k>"),
        ("min_τ ψ_n^{-0.59}", "min<τ> ψ<n><-0.59>"),
        ("L_train, e^{-λ/ψ_p}", "L<train>, e<-λ/ψp>"),
        ("psi_p, edge_error, MAX_ATOMS, He_k", "psi_p, edge_error, MAX_ATOMS, He_k"),
    ],
)
def test_indices_in_running_text(text, shown):
    parts = extension("indices").pieces(text)
    found = (p.astext() if p.tagname == "#text" else f"<{p.astext()}>" for p in parts)
    assert "".join(found) == shown


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path):
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-E"]
    folders = ["-b", "html", "-d", tmp_path / "state", DOCS, tmp_path / "html"]
    built = subprocess.run([*command, *folders], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    loads = (
        r"""<(?:script|img|iframe|source)[^>]*?\ssrc="([^"]+)"|<link\s[^>]*?href="([^"]+)"[^>]*>"""
    )
    pages = list((tmp_path / "html").rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        for match in re.finditer(loads, page.read_text()):
            address = match.group(1) or match.group(2)
            assert not re.match(r"(?:https?:)?//", address), (page.name, address)
    for sheet in (tmp_path / "html").rglob("*.css"):
        assert not re.search(r"(?:url\(|@import )[\"']?(?:https?:)?//", sheet.read_text()), sheet
