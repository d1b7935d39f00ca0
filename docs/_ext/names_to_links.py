"""Names of the package lead to where they are described, in code type and as types."""

import re

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.nodes import make_refnode

NAME = re.compile(r"(?:rf|rfspec)((?:\.\w+)+)(?:\(.*)?", re.DOTALL)
MODULES = ("rfspec", "rfspec.empirical", "rfspec.algebraic", "rfspec.io")


class TypesToClasses(SphinxPostTransform):
    """Of the words that stand as the type of an argument, classes are links and others words."""

    default_priority = 5  # before Sphinx looks for what each word might mean

    def run(self, **_):
        objects = self.env.domains["py"].objects
        for word in list(self.document.findall(addnodes.pending_xref)):
            if word.get("reftype") != "class":
                continue
            name = word["reftarget"]
            known = [f"{m}.{name}" for m in MODULES if f"{m}.{name}" in objects]
            if known and name[0].isupper():
                word["reftarget"] = known[0]
            else:
                word.replace_self(word.children)


class NamesToLinks(SphinxPostTransform):
    default_priority = 700
    formats = ("html",)

    def run(self, **_):
        for words in list(self.document.findall(nodes.literal)):
            if match := NAME.fullmatch(words.astext()):
                self.link(words, f"rfspec{match.group(1)}")
        for field in self.document.findall(nodes.field):
            for words in list(field.findall(nodes.emphasis)):
                for module in MODULES if words.astext()[:1].isupper() else ():
                    self.link(words, f"{module}.{words.astext()}")

    def link(self, words, name):
        entry = self.env.domains["py"].objects.get(name)
        if entry and words.parent and not isinstance(words.parent, nodes.reference):
            here, there = self.env.docname, entry.docname
            inside = words.deepcopy()
            words.replace_self(make_refnode(self.app.builder, here, there, entry.node_id, inside))


def setup(app):
    app.add_post_transform(TypesToClasses)
    app.add_post_transform(NamesToLinks)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
