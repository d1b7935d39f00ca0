"""The common form of the notebooks: what each must have, how it is kept small, and their index."""

import base64
import io
import re
from pathlib import Path

import nbformat
from PIL import Image

LIMIT_KB = 250
INSTALL = """\
# In Colab, or wherever rfspec is missing: install it first.
try:
    import rfspec as rf
except ModuleNotFoundError:
    %pip install --quiet rfspec  # from a checkout: %pip install .
    import rfspec as rf"""
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
# a call, outside comments
DRAWS = re.compile(r"^[^#\n]*\b(?:rf\.plotting|plt)\.[\w.]+\(", re.MULTILINE)
ADDRESS = re.compile(r"\b0x[0-9a-f]{6,}")
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)
THUMBNAIL_PX = 320
INDEX = """\
# Notebooks

Each asks one question, answers it with pictures, and ends with exercises. Each runs in about a
minute on two cores, here or in Colab, and is kept with its outputs. `make notebooks` executes all;
`notebooks/run.py --keep` writes the outputs, the thumbnails and this page.

| | notebook | question |
| --- | --- | --- |
"""


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


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


def tidy(notebook: nbformat.NotebookNode) -> None:
    """Drop what changes from run to run, and make the pictures small."""
    notebook.metadata = nbformat.from_dict(METADATA)
    for i, cell in enumerate(notebook.cells):
        cell.id, cell.metadata = f"cell-{i}", nbformat.from_dict({})
        if cell.cell_type == "code":
            cell.outputs = _joined(cell.outputs)
        for output in cell.get("outputs", []):
            if png := output.get("data", {}).get("image/png"):
                output.data["image/png"] = _small(png)


def _joined(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    # what is printed comes in as many pieces as chance has it
    joined: list[nbformat.NotebookNode] = []
    for output in outputs:
        if (
            joined
            and output.output_type == joined[-1].output_type == "stream"
            and (output.name == joined[-1].name)
        ):
            joined[-1].text += output.text
        else:
            joined.append(output)
    return joined


def _small(png: str) -> str:
    # lines and letters lose nothing by a palette, and two thirds of their size
    if not png:
        return png
    picture = Image.open(io.BytesIO(base64.b64decode(png)))
    if picture.mode == "P":
        return png
    buffer = io.BytesIO()
    _on_white(picture).quantize(256).save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def _on_white(picture: Image.Image) -> Image.Image:
    picture = picture.convert("RGBA")
    white = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(white, picture).convert("RGB")


def thumbnail_of(path: Path) -> Path:
    return path.parent / "thumbnails" / f"{path.stem}.png"


def write_thumbnail(path: Path) -> None:
    """The first picture of a notebook, small."""
    pictures = [
        output.data["image/png"]
        for cell in code_cells(nbformat.read(path, as_version=4))
        for output in cell.outputs
        if output.get("data", {}).get("image/png")
    ]
    if pictures:
        picture = _on_white(Image.open(io.BytesIO(base64.b64decode(pictures[0]))))
        height = round(picture.height * THUMBNAIL_PX / picture.width)
        thumbnail_of(path).parent.mkdir(exist_ok=True)
        small = picture.resize((THUMBNAIL_PX, height), Image.Resampling.LANCZOS)
        small.quantize(128).save(thumbnail_of(path), "PNG", optimize=True)


def title_and_question(notebook: nbformat.NotebookNode) -> tuple[str, str]:
    title, question, *_ = [*notebook.cells[0].source.split("\n\n"), "", ""]
    return title.removeprefix("# ").strip(), " ".join(question.split())


def _row(path: Path) -> str:
    title, question = title_and_question(nbformat.read(path, as_version=4))
    picture = thumbnail_of(path).relative_to(path.parent)
    return f"| ![{title}]({picture}) | [{path.stem}]({path.name}): {title} | {question} |\n"


def fill_index(folder: Path) -> None:
    rows = "".join(map(_row, sorted(folder.glob("*.ipynb"))))
    (folder / "README.md").write_text(INDEX + rows, encoding="utf-8")


def _is_in_the_index(path: Path) -> bool:
    index = path.parent / "README.md"
    return index.exists() and _row(path) in index.read_text(encoding="utf-8")


def faults(path: Path) -> list[str]:
    """What a kept notebook lacks of the common form, in words."""
    notebook = nbformat.read(path, as_version=4)
    prose = "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    code = code_cells(notebook)
    found = [
        (not all(title_and_question(notebook)), "no title and question in the first cell"),
        (not code or code[0].source != INSTALL, "the first code cell does not install rfspec"),
        ("\n## Exercises" not in prose, "no section Exercises"),
        ("\n## Next" not in prose, "no section Next"),
        (path.stat().st_size > 1000 * LIMIT_KB, f"larger than {LIMIT_KB} kB"),
        (not thumbnail_of(path).exists(), "no thumbnail"),
        (not _is_in_the_index(path), "no such row in the index, README.md"),
        (bool(without_picture(notebook)), f"no picture from the cells {without_picture(notebook)}"),
    ]
    words = [word for wrong, word in found if wrong]
    words += [f"a broken link, {link}" for link in LINK.findall(prose) if not leads(path, link)]
    for i, cell in enumerate(notebook.cells):
        if cell.cell_type == "code" and cell is not code[0]:
            words += [f"cell {i} {word}" for word in _faults_of_outputs(cell)]
    return words


def _faults_of_outputs(cell: nbformat.NotebookNode) -> list[str]:
    texts = [str(output.get("text", output.get("data", {}).get("text/plain"))) for output in
             cell.outputs]  # fmt: skip
    kinds = {output.output_type for output in cell.outputs}
    found = [
        (not cell.outputs, "has no output"),
        ("error" in kinds, "has failed"),
        (any(output.get("name") == "stderr" for output in cell.outputs), "writes to stderr"),
        (any(ADDRESS.search(text) for text in texts), "shows an address"),
    ]
    return [word for wrong, word in found if wrong]


def leads(path: Path, link: str) -> bool:
    """Whether a link of a notebook leads to a file that is there, and to a heading of it."""
    if link.startswith(("http://", "https://")):
        return True
    name, _, anchor = link.partition("#")
    target = path.parent / name if name else path
    if not target.exists():
        return False
    return not anchor or anchor in map(_slug, HEADING.findall(target.read_text(encoding="utf-8")))


def _slug(heading: str) -> str:
    # as GitHub makes it
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
