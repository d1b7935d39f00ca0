"""Docstrings of the package as pages: their formulas, and what they cite."""

import re

CODE = re.compile(r"(``.*?``)")
PAGE = re.compile(r"docs/(\w+)\.md")
EQUATION = re.compile(r"(?<![\w\])])\((\d{1,2})\)")


def as_text(line):
    """A bar is that of an absolute value, not of a substitution; numbers are of equations."""
    line = PAGE.sub(r":doc:`/\1`", line.replace("|", r"\|"))
    return EQUATION.sub(r":ref:`(\1) <equation-\1>`", line)


def docstring(app, what, name, thing, options, lines):
    formula = None
    for i, line in enumerate(lines):
        depth = len(line) - len(line.lstrip())
        if formula is not None and line.strip() and depth <= formula:
            formula = None
        if line.lstrip().startswith(".. math::"):
            formula = depth
        if formula is None and not line.lstrip().startswith((">>>", "...")):
            parts = CODE.split(line)
            lines[i] = "".join(p if p.startswith("``") else as_text(p) for p in parts)


def is_a_field(app, what, name, thing, skip, options):
    """Fields of a tuple stand among the attributes already."""
    return True if (getattr(thing, "__doc__", "") or "").startswith("Alias for field") else None


def setup(app):
    app.connect("autodoc-process-docstring", docstring)
    app.connect("autodoc-skip-member", is_a_field)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
