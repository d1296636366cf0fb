"""Sphinx configuration."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "pytest-bottle"
author = "The pytest-bottle developers"
copyright = author  # noqa: A001 - Sphinx's name for it
release = version = installed_version("pytest-bottle")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "generated_tables",
]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

# Docstrings have options and literals in them.
smartquotes = False

html_theme = "furo"
html_title = f"pytest-bottle {version}"

autodoc_member_order = "bysource"
autodoc_class_signature = "separated"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True

# Links into other projects' documentation need the network, which a build must not.
if os.environ.get("READTHEDOCS"):
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "pytest": ("https://docs.pytest.org/en/stable", None),
    }

# Names of other projects, and lists of exceptions as Google style writes them.
nitpick_ignore_regex = [
    ("py:exc", r".*"),
    ("py:.*", r"(pytest|collections|pathlib|re|socket|types)\..*"),
    ("py:class", r"(Any|Callable|Iterable|Iterator|Mapping|Path|Self|Sequence|datetime)\b.*"),
    # Private to the modules that return them.
    ("py:class", r"pytest_bottle\.changes\.FileState"),
    ("py:class", r"pytest_bottle\.gateway\.turns\.(Delay|Failure|Turn)"),
    ("py:class", r"pytest_bottle\.matchers\.(Contains|Matches)"),
    ("py:class", r"(pytest_bottle\.gateway\.supervise\.proposal\.)?(Answer|Proposal)"),
    ("py:class", r"pytest_bottle\.backends\.base\.EgressDenial|DoorPlan|EgressDenial|os\.PathLike"),
    # A type variable, aliases, and what autodoc makes of inherited fields.
    ("py:class", r"Found_co|Api|Mode|tuple\[.*"),
]


def _keep_colons(_app: Sphinx, what: str, *rest: object) -> None:
    """Keep napoleon from taking what stands before an attribute's first colon for its type."""
    lines = rest[-1]
    if what in {"attribute", "data", "property"} and isinstance(lines, list):
        lines[:0] = ["..", ""]  # An empty comment.


def setup(app: Sphinx) -> None:
    """Register what is above."""
    app.connect("autodoc-process-docstring", _keep_colons, priority=100)
