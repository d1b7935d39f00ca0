"""The documentation site, which `make docs` builds strictly and without a network."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

project = "rfspec"
author = "The rfspec authors"
copyright = author
extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "myst_nb",
    "sphinx-mathjax-offline",
    "pages_from_elsewhere",
    "docstrings",
    "names_to_links",
    "indices",
]
exclude_patterns = ["_ext", "explorer/**"]
default_role = "code"
smartquotes = False  # a prime is a prime
nitpicky = True

autodoc_typehints = "none"
autodoc_member_order = "bysource"
autodoc_default_options = {
    "members": True,
    # how results become tables
    "exclude-members": "columns, units, errors, notes, title, check_plain, at",
}
napoleon_google_docstring = False
napoleon_custom_sections = [("Attributes", "params_style")]  # several names may share a line
napoleon_use_rtype = False
add_module_names = False
python_maximum_signature_line_length = 88
toc_object_entries_show_parents = "hide"

myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 4
nb_execution_mode = "off"
mathjax3_config = {
    "chtml": {
        "displayAlign": "left",
        "displayIndent": "1.5em",
        "matchFontHeight": False,
        "scale": 1.1,
    }
}

html_theme = "sphinx_book_theme"
html_title = "rfspec"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_favicon = "_static/mark.svg"
html_context = {"default_mode": "light"}
html_theme_options = {"show_toc_level": 2, "show_navbar_depth": 1, "navbar_persistent": []}
