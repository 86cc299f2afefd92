"""The site: Sphinx renders the same Markdown that is read in the repository."""

import sys
from importlib.metadata import metadata

from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer

import flask_build_admin  # noqa: F401 (find_comments() reads what this imports)

_package = metadata("Flask-Build-Admin")
_urls = dict(one.split(", ") for one in _package.get_all("Project-URL") or ())

project = _package["Name"]
author = _package["Author"]
version = release = _package["Version"]

extensions = ["myst_parser", "sphinx.ext.autodoc"]
html_theme = "furo"
html_title = f"{project} {version}"

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3  # those that GitHub has, too

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"


def link_to_repository(app: Sphinx, page: str, source: list[str]) -> None:
    """Have the links that leave this folder lead to the repository: the site has no such files."""
    source[0] = source[0].replace("](../", f"]({_urls['Source']}/blob/main/")


def find_comments() -> None:
    """Have autodoc find the comments on attributes of classes that another module exports."""
    for exporting in ("flask_build_admin", "flask_build_admin.store"):
        analyzer = ModuleAnalyzer.for_module(exporting)
        analyzer.analyze()
        for name in [one for one in sys.modules if one.startswith("flask_build_admin.")]:
            defining = ModuleAnalyzer.for_module(name)
            defining.analyze()
            analyzer.attr_docs.update(defining.attr_docs)
            analyzer.tagorder.update(defining.tagorder)


def setup(app: Sphinx) -> None:
    """Connect what is above."""
    find_comments()
    app.connect("source-read", link_to_repository)
