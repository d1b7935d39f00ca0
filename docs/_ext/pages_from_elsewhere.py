"""What the site shows of files outside docs/: notebooks, pictures, and pages named in links.

Notebooks are copied beside the pages. A comment on a page gives way to what it names when the site
is built: ``<!-- all figures -->``, ``<!-- all notebooks -->``, ``<!-- text of CHANGELOG.md -->``
(without the title), or
``<!-- text of README.md from "one line" to "another" -->``.
"""

import ast
import json
import os
import re
import shutil
from pathlib import Path

DOCS = Path(__file__).parents[1]
ROOT = DOCS.parent
COPIES = DOCS / "notebooks"
STATIC_EXPLORER = DOCS / "explorer"
# files outside docs/ that have a page here
PAGES = {
    ROOT / "README.md": "index.md",
    ROOT / "CHANGELOG.md": "changelog.md",
    ROOT / "CONTRIBUTING.md": "contributing.md",
    ROOT / "benchmarks" / "README.md": "measurements.md",
    ROOT / "notebooks" / "README.md": "notebooks.md",
    ROOT / "paper_figures" / "README.md": "figures.md",
}
# what the names of figure scripts begin with
SERIES = {
    "memorize": "Figures of arXiv 2505.17638",
    "malign": "Figures of arXiv 2609.26392",
    "beyond": "Figures that no paper has",
    "": "More figures",
}
LINK = re.compile(r"(?<!!)\[([^\[\]]+)\]\(([^)\s#]+)(#[^)\s]*)?\)")
IMAGE = re.compile(r"!\[([^\[\]]*)\]\((?!\w+:)([^)\s#]+)\)")
FENCED = re.compile(r"^(```.*?^```)", re.MULTILINE | re.DOTALL)


def notebooks():
    return sorted((ROOT / "notebooks").glob("*.ipynb"))


def title_and_question(notebook):
    """The heading of a notebook, and the paragraph below it."""
    texts = ("".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "markdown")
    heading = re.compile(r"^# (.+)\n*((?:.+\n?)*)", re.MULTILINE)
    found = next(match for text in texts if (match := heading.search(text)))
    return found.group(1), " ".join(found.group(2).split())


def write_if_changed(path, content):
    if not path.exists() or path.read_bytes() != content:
        path.write_bytes(content)


def copy_notebooks(app):
    if not notebooks():
        return
    COPIES.mkdir(exist_ok=True)
    for path in COPIES.glob("*.ipynb"):
        if not (ROOT / "notebooks" / path.name).exists():
            path.unlink()
    for path in notebooks():
        notebook = json.loads(path.read_text())
        for cell in notebook["cells"]:
            if cell["cell_type"] == "markdown":
                text = "".join(cell["source"])
                cell["source"] = with_links(text, path.parent, COPIES)
        write_if_changed(COPIES / path.name, json.dumps(notebook, ensure_ascii=False).encode())


def on_the_site(target):
    """The page of the site that shows a file, if there is one."""
    if target in PAGES:
        return DOCS / PAGES[target]
    if target.suffix == ".ipynb" and target.parent == ROOT / "notebooks":
        return COPIES / target.name
    if target.is_relative_to(DOCS) and target.suffix in (".md", ".rst", ".png"):
        return target
    return None


def with_links(text, origin, folder):
    """Relative links of a text written in `origin`, for a page in `folder`; a file that the site
    does not show keeps its name only.
    """

    def link(match):
        words, target, anchor = match.group(1), match.group(2), match.group(3) or ""
        if re.match(r"\w+:", target):
            return match.group(0)
        path = Path(os.path.normpath(origin / target))
        if path.is_relative_to(STATIC_EXPLORER):
            address = os.path.relpath(path, folder)
            return f'<a href="{address}">{words}</a>'
        page = on_the_site(path)
        return f"[{words}]({os.path.relpath(page, folder)}{anchor})" if page else words

    def image(match):
        words, target = match.groups()
        return f"![{words}]({os.path.relpath(os.path.normpath(origin / target), folder)})"

    replaced = lambda part: IMAGE.sub(image, LINK.sub(link, part))
    parts = FENCED.split(text)
    return "".join(part if part.startswith("```") else replaced(part) for part in parts)


def said_in(script):
    """Title and explanation of a script's docstring, and in what its figure differs."""
    tree = ast.parse(script.read_text())
    title, _, more = (ast.get_docstring(tree) or script.stem).partition("\n")
    told = (n.value for n in tree.body if isinstance(n, ast.Assign) and is_called(n, "DIFFERS"))
    return title.rstrip("."), more.strip(), ast.literal_eval(next(told, ast.Constant("")))


def is_called(assignment, name):
    return getattr(assignment.targets[0], "id", None) == name


def script_of(picture):
    """The script that draws a picture: the one of its name, or of the longest beginning of it."""
    scripts = [s for s in (ROOT / "paper_figures").glob("*.py") if picture.stem.startswith(s.stem)]
    return max(scripts, key=lambda script: len(script.stem), default=None)


def figure(script, pictures):
    title, more, differs = said_in(script)
    shown = [f"![{p.stem}]({os.path.relpath(p, DOCS)})" for p in pictures]
    told = f"*What differs from the paper:* {differs}." if differs else ""
    command = f"`python {script.relative_to(ROOT).as_posix()}`"
    parts = [f"(figure-{script.stem})=\n### {title}", more, *shown, told, command]
    return "\n\n".join(part for part in parts if part)


def all_figures():
    pictures = sorted((ROOT / "paper_figures").glob("pictures/*.png"))
    scripts = {}
    for picture in pictures:
        if script := script_of(picture):
            scripts.setdefault(script, []).append(picture)
    if not scripts:
        return "*No picture has been drawn yet: `make figures` draws them.*"
    cards, sections = [], []
    for prefix, heading in SERIES.items():
        mine = {s: of_it for s, of_it in scripts.items() if s.stem.startswith(prefix)}
        scripts = {s: of_it for s, of_it in scripts.items() if s not in mine}
        cards += [in_brief(*item) for item in mine.items()]
        sections += [f"## {heading}"] * bool(mine) + [figure(*item) for item in mine.items()]
    return "\n\n".join([grid(cards), *sections])


def in_brief(script, pictures):
    first = os.path.relpath(pictures[0], DOCS)
    return card(said_in(script)[0], first, f"#figure-{script.stem}")


def card(title, picture, target, more=""):
    shown = f"[![{title}]({picture})]({target})\n\n" if picture else ""
    return f":::{{container}} card\n{shown}[{title}]({target})\n\n{more}\n:::\n"


def grid(cards):
    return "\n".join(["::::{container} cards", *cards, "::::"])


def all_notebooks():
    cards = []
    for path in notebooks():
        notebook = json.loads(path.read_text())
        thumbnail = os.path.relpath(path.parent / "thumbnails" / f"{path.stem}.png", DOCS)
        title, question = title_and_question(notebook)
        cards.append(card(title, thumbnail, f"notebooks/{path.name}", question))
    contents = [f"notebooks/{path.stem}" for path in notebooks()]
    tree = "\n".join(["```{toctree}", ":hidden:", "", *contents, "```"])
    return "\n\n".join([grid(cards), tree]) if cards else "*There is none yet.*"


GALLERIES = {"<!-- all figures -->": all_figures, "<!-- all notebooks -->": all_notebooks}
# doctests end with an empty line
DOCTEST = re.compile(r"^(```python\n(?:(?!```).)*?)\n\n```$", re.MULTILINE | re.DOTALL)
# a numbered formula, which docstrings cite
EQUATION = re.compile(r"^(\$\$\n[^$]*\\tag\{(\d+)\}\n\$\$)$", re.MULTILINE)
TEXT_OF = re.compile(r'<!-- text of (\S+)(?: from "(.+)" to "(.+)")? -->')


def text_of(match):
    """What stands below the title of a file, or between two lines that begin as said."""
    path, first, last = ROOT / match.group(1), match.group(2) or "# ", match.group(3)
    lines = path.read_text().splitlines()
    begin = next(i for i, line in enumerate(lines) if line.startswith(first)) + 1
    end = next(i for i, line in enumerate(lines) if line.startswith(last)) if last else None
    return with_links("\n".join(lines[begin:end]), path.parent, DOCS)


def read_page(app, name, source):
    path = Path(app.env.doc2path(name))
    if path.suffix == ".md":
        text = with_links(source[0], path.parent, path.parent)
        for comment, gallery in GALLERIES.items():
            if comment in text:
                text = text.replace(comment, gallery())
        text = TEXT_OF.sub(text_of, text)
        text = DOCTEST.sub(r"\1\n```", text)
        source[0] = EQUATION.sub(r"(equation-\2)=\n\1", text)


def outdated(app, env, added, changed, removed):
    """Pages that show files of which Sphinx does not know."""
    pages = {name: Path(env.doc2path(name)) for name in env.found_docs}
    return [
        name for name, page in pages.items() if page.suffix == ".md" and "<!-- " in page.read_text()
    ]


def copy_explorer(app, failed):
    if failed is None and STATIC_EXPLORER.is_dir():
        shutil.copytree(STATIC_EXPLORER, Path(app.outdir) / "explorer", dirs_exist_ok=True)


def setup(app):
    app.connect("builder-inited", copy_notebooks)
    app.connect("source-read", read_page)
    app.connect("env-get-outdated", outdated)
    app.connect("build-finished", copy_explorer)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
