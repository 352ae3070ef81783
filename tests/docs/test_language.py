# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""One word per thing in what people read."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]
PAGES = sorted(
    path.relative_to(REPO).as_posix()
    for pattern in ("README.md", "CONTRIBUTING.md", "docs/**/*.md", "bundles/*/docs/*.md", "bundles/*/weights/*.md")
    for path in REPO.glob(pattern)
)
#: Names: of files, folders, options, variables; and what light or a laser makes dark.
_NAME = r"`[^`\n]*`|\]\([^)]*\)|@?[\w~.-]*[/_.]\w[\w/.-]*|[\w.-]+/|--\w+|\bfilm=\S+|films,old"
_FILM = r"(?<![-@\w])[Ff]ilms?\b"


def prose(page: str) -> str:
    """A page without its programs and names; comments of its shell commands stay."""
    page = re.sub(r"^```(?:python|json|html)\n.*?^```", "", page, flags=re.DOTALL | re.MULTILINE)
    return re.sub(_NAME, "", page)


def strings(path: Path) -> Iterator[tuple[int, str]]:
    """Docstrings and comments of a module, with the line that each begins in."""
    text = path.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (said := ast.get_docstring(node)):
            yield getattr(node, "lineno", 1), re.sub(r"^\s+films?:", "", said, flags=re.MULTILINE)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


@pytest.mark.parametrize("page", PAGES)
def test_pages_call_an_image_an_image(page):
    found = [line for line in prose((REPO / page).read_text(encoding="utf-8")).splitlines() if re.search(_FILM, line)]
    assert found == []


def test_docstrings_and_comments_call_an_image_an_image():
    found = []
    for path in sorted((REPO / "monai_cxrssl").rglob("*.py")):
        for line, said in strings(path):
            # The class Film keeps its name.
            words = re.sub(r"``[^`]*``|`[^`]*`|[\"']film[\"']|^\s*>>>.*$|\bFilms?\b", "", said, flags=re.MULTILINE)
            if re.search(_FILM, re.sub(_NAME, "", words)) and "optical density of the film" not in said:
                found.append(f"{path.relative_to(REPO)}:{line}: {re.search(f'.{{0,30}}{_FILM}.{{0,30}}', words)}")
    assert found == []
