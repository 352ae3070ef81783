# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Sphinx configuration: ``sphinx-build -W --keep-going -b html docs docs/_build``."""

from __future__ import annotations

import os
import re
import sys
import warnings
from pathlib import Path
from typing import Any

from sphinx.util.inspect import signature as inspect_signature
from sphinx.util.inspect import stringify_signature

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ.setdefault("MPLBACKEND", "Agg")
# What other packages say when they are imported is no fault of the pages.
warnings.filterwarnings("ignore")

import monai_cxrssl  # noqa: E402

project = "monai-cxrssl"
author = "monai_cxrssl contributors"
project_copyright = f"2026, {author}"
version = release = monai_cxrssl.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "sphinx_copybutton"]
exclude_patterns = ["_build", "README.md"]
source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb", ".rst": "restructuredtext"}
root_doc = "index"
language = "en"

# Notebooks are shown as committed; docs/run_notebooks.py runs them.
nb_execution_mode = "off"

# Anchors as GitHub makes them, so that one link serves the repository and the site.
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence", "deflist"]

# Types stand in the signature; links into other projects would need the network to be resolved.
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_mock_imports: list[str] = []
napoleon_numpy_docstring = False
napoleon_use_rtype = False
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = "monai-cxrssl"
html_copy_source = False
copybutton_exclude = ".linenos, .gp, .go"

BUNDLE_PAGE = re.compile(r"\]\((?:\.\./)+bundles/(\w+)/docs/README\.md(#[\w-]+)?\)")


def to_site(app: Any, docname: str, source: list[str]) -> None:
    """Lead links to a bundle's own page, which hold in the repository, to that page of the site."""
    up = "../" * docname.count("/")
    source[0] = BUNDLE_PAGE.sub(lambda found: f"]({up}bundles/{found[1]}.md{found[2] or ''})", source[0])


def true_signature(
    app: Any, what: str, name: str, entry: Any, options: Any, signature: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """Show the arguments of a dictionary transform, which MONAI hides behind a ``__new__`` of any arguments."""
    if what == "class" and signature == "(*args, **kwargs)" and "__init__" in vars(entry):
        signature = stringify_signature(inspect_signature(entry.__init__, bound_method=True))
    return signature, returns


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("source-read", to_site)
    app.connect("autodoc-process-signature", true_signature)
