"""Formulas in running text: ψ_p and e^{-cλ} are shown with their indices below and above the line.

The sources, docstrings above all, stay readable in a terminal.
"""

import re

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms.post_transforms import SphinxPostTransform

WORDS = "train|test|score|sample|before|gen|mem|min|max"
INDEX = re.compile(
    # one letter, and not the end of a name such as psi_p
    r"(?P<letter>(?:min|max)(?=_[α-ω])|[A-Za-zα-ωΑ-Ω]̄?)_"
    rf"(?:(?<=ψ_)(?P<ratio>[pn])|(?P<word>{WORDS})(?![A-Za-z0-9_])|(?P<row>i[01k]?)(?!_)"
    r"|(?P<one>[\dA-Za-zα-ωΑ-Ω+*])(?![a-z0-9_]))"
    r"|(?P<base>[\w)\]²]?)\^(?:\{(?P<group>[^{}]+)\}|(?P<power>-?(?:\d+|[A-Za-zα-ω*])))"
)
BELOW = ("ratio", "word", "row", "one")
AS_THEY_ARE = (
    nodes.literal,
    nodes.literal_block,
    nodes.math,
    nodes.math_block,
    nodes.raw,
    nodes.title,
    addnodes.desc_signature,
)


def ends_a_name(match):
    """Whether the letter is the last of several, as that of psi_p is."""
    letter, before = match.group("letter"), match.string[match.start() - 1 : match.start()]
    in_a_word = before.isascii() and (before.isalpha() or before == "_")
    return letter.isascii() and in_a_word and not (letter.isupper() and before.islower())


def pieces(text):
    end = 0
    for match in INDEX.finditer(text):
        letter, base = match.group("letter"), match.group("base")
        right_behind = match.start() == end
        if not right_behind and (ends_a_name(match) if letter else not base):
            continue
        below = [match.group(name) for name in BELOW if match.group(name)]
        above = match.group("group") or match.group("power")
        yield nodes.Text(text[end : match.start()] + (letter or base))
        yield nodes.subscript("", below[0]) if below else nodes.superscript("", "", *pieces(above))
        end = match.end()
    yield nodes.Text(text[end:])


class Indices(SphinxPostTransform):
    default_priority = 720
    formats = ("html",)

    def run(self, **_):
        for text in list(self.document.findall(nodes.Text)):
            parent, formula = text.parent, False
            while parent is not None and not formula:
                parent, formula = parent.parent, isinstance(parent, AS_THEY_ARE)
            if not formula and INDEX.search(text):
                text.parent.replace(text, list(pieces(text.astext())))


def setup(app):
    app.add_post_transform(Indices)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
