# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The documentation builds without a warning, its links lead somewhere, its words are spelt right, and what it repeats
from elsewhere is what stands there. Nothing here needs the network.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

REPO = Path(__file__).parents[2]
PAGES = sorted(
    [
        *REPO.glob("*.md"),
        *(path for path in (REPO / "docs").rglob("*.md") if "_build" not in path.parts),
        *(REPO / "bundles").glob("*/docs/*.md"),
    ]
)
METHODS = sorted(set((REPO / "docs" / "methods").glob("*.md")) - {REPO / "docs" / "methods" / "index.md"})
#: Words that codespell takes for others: names, and British words.
SPELT_RIGHT = "theirs,ot"


def without_code(text: str) -> str:
    """Return a page without blocks and spans of code, in which nothing is a link."""
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^(```+|~~~+).*?^\1`*\s*$", "", text, flags=re.DOTALL | re.MULTILINE))


def slug(heading: str) -> str:
    """Return the anchor that GitHub, and MyST here, make of a heading."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").strip().lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


def anchors(path: Path) -> set[str]:
    """Return the anchors of a page."""
    text = re.sub(r"^(```+).*?^\1`*\s*$", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return {slug(found) for found in re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)}


def links(path: Path) -> list[str]:
    """Return the targets of a page's links and pictures, in place or by name at the page's end."""
    text = without_code(path.read_text(encoding="utf-8"))
    return re.findall(r"\]\(([^()\s]+)\)", text) + [target for _, target in named(text)]


def named(text: str) -> list[tuple[str, str]]:
    """Return names and targets of the links that a page defines by name."""
    return re.findall(r"^\[([^\]]+)\]: (\S+)$", text, flags=re.MULTILINE)


@pytest.mark.parametrize(
    ("heading", "expected"),
    [("What it writes", "what-it-writes"), ("`csv_table`", "csv_table"), ('"… GPUs", 2 of them: x-y', "-gpus-2-of-them-x-y")],
)  # fmt: skip
def test_slugs(heading, expected):
    assert slug(heading) == expected


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(REPO).as_posix())
def test_links_of_page(page):
    broken = []
    for link in links(page):
        parts = urlsplit(link)
        if parts.scheme:
            continue
        target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
        if not target.exists() or (parts.fragment and parts.fragment not in anchors(target)):
            broken.append(link)
    assert not broken


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(REPO).as_posix())
def test_links_to_elsewhere(page):
    """Well formed, without asking the network; what is defined by name is used, and the other way round."""
    wrong = []
    for link in links(page):
        parts = urlsplit(link)
        host = (parts.hostname or "").split(".")
        if parts.scheme and (parts.scheme != "https" or len(host) < 2 or not all(host) or link[-1] in ".,;:"):
            wrong.append(link)
    assert not wrong
    text = without_code(page.read_text(encoding="utf-8"))
    defined = [name for name, _ in named(text)]
    assert len(defined) == len(set(defined))
    assert set(re.findall(r"\]\[([^\]]+)\]", text)) == set(defined)


def test_links_are_found():
    """The check is not blind: README has links to pages and pictures."""
    assert {"docs/multi_gpu.md", "docs/images/flow.png"} <= set(links(REPO / "README.md"))
    assert any("github.com/lightly-ai" in link for link in links(REPO / "docs" / "comparison.md"))
    assert len(PAGES) > 40


@pytest.mark.skipif(importlib.util.find_spec("codespell_lib") is None, reason="needs the extra docs")
def test_spelling():
    words = [
        path for path in (REPO / "docs").rglob("*") if path.suffix in (".md", ".py") and "_build" not in path.parts
    ]
    result = subprocess.run(
        [sys.executable, "-m", "codespell_lib", "--ignore-words-list", SPELT_RIGHT, *map(str, {*PAGES, *words})],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("page", METHODS, ids=lambda path: path.stem)
def test_method_page_repeats_what_stands_elsewhere(page):
    """Options are those of the bundle's page, figures those of the measured page, word for word."""
    text = page.read_text(encoding="utf-8")
    bundle = re.search(r"bundles/(\w+)/docs/README\.md", text)
    assert bundle is not None
    options = re.findall(r"^\| `--.*$", text, flags=re.MULTILINE)
    assert options
    of_bundle = (REPO / "bundles" / bundle[1] / "docs" / "README.md").read_text(encoding="utf-8").splitlines()
    assert [row for row in options if row not in of_bundle] == []
    rows = re.findall(r"^\| (?:linear probe|fine-tuned) .*$", text, flags=re.MULTILINE)
    figures = [row.split("|", 2)[2] for row in rows]
    assert len(figures) == (0 if page.stem in ("byol", "dino", "distillation", "mae") else 2)
    measured = (REPO / "docs" / "pretext_methods.md").read_text(encoding="utf-8")
    assert [row for row in figures if row not in measured] == []
    assert (REPO / "docs" / "images" / "methods" / f"{page.stem}.png").is_file()


def test_layouts_page_names_each():
    from monai_cxrssl.data.sources.registry import LAYOUTS

    text = (REPO / "docs" / "layouts.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^## (\w+)$", text, flags=re.MULTILINE)) == sorted(LAYOUTS)
    documented = re.findall(
        r"autofunction:: monai_cxrssl\.data\.sources\.layouts\.(?:\w+\.)*?(\w+)\.read$", text, re.MULTILINE
    )
    assert set(documented) == LAYOUTS.keys()
    assert set(re.findall(r"^\| \[`(\w+)`\]\(#\1\)", text, flags=re.MULTILINE)) == LAYOUTS.keys()


def test_every_bundle_has_its_page():
    wanted = {path.parent.name for path in (REPO / "bundles").glob("*/train.json")}
    index = (REPO / "docs" / "bundles" / "index.md").read_text(encoding="utf-8").splitlines()
    assert {path.stem for path in (REPO / "docs" / "bundles").glob("*.md")} - {"index"} == wanted == wanted & set(index)


class Html(HTMLParser):
    """Ids and links of a built page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.targets: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name == "id":
                self.ids.add(value)
            elif name in ("href", "src") and value:
                self.targets.append(value)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("sphinx") is None, reason="needs the extra docs")
def test_site(tmp_path):
    """As `sphinx-build -W --keep-going -b html docs docs/_build`, somewhere else; then every link of the HTML."""
    source = tmp_path / "repo" / "docs"
    shutil.copytree(REPO / "docs", source, ignore=shutil.ignore_patterns("_build", "__pycache__"))
    # What the pages include from outside docs/.
    for name in ("bundles", "monai_cxrssl", "benchmarks", "tests"):
        (tmp_path / "repo" / name).symlink_to(REPO / name)
    site = tmp_path / "site"
    result = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", str(source), str(site)],
        env={**os.environ, "MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert result.returncode == 0, result.stderr[-4000:]
    pages = {path: Html(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}
    assert len(pages) > 50
    broken = []
    for path, page in pages.items():
        for link in page.targets:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            known = pages[target].ids if target in pages else None
            # "#" alone is the top of a page.
            if not target.exists() or (parts.fragment and known is not None and unquote(parts.fragment) not in known):
                broken.append(f"{path.relative_to(site)}: {link}")
    assert not broken, broken[:20]
    for notebook in (REPO / "docs" / "tutorials").glob("*.ipynb"):
        shown = [link for link in pages[site / "tutorials" / f"{notebook.stem}.html"].targets if link.endswith(".png")]
        assert len(shown) == notebook.read_text(encoding="utf-8").count('"image/png"')
    for page in (REPO / "docs" / "api").glob("[!ie]*.md"):
        exported = importlib.import_module(f"monai_cxrssl.{page.stem}").__all__
        described = pages[site / "api" / f"{page.stem}.html"].ids
        assert [name for name in exported if f"monai_cxrssl.{page.stem}.{name}" not in described] == []
