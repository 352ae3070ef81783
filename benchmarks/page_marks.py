# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Putting measured tables into a page, between two marks, so that no figure is typed by hand."""

from __future__ import annotations

from pathlib import Path

__all__ = ["into_page"]


def into_page(page: Path, text: str, mark: str = "measured") -> None:
    """Replace what stands between ``<!-- mark -->`` and ``<!-- end of mark -->``.

    Raises:
        ValueError: the page lacks one of the marks.
    """
    first, last = f"<!-- {mark} -->", f"<!-- end of {mark} -->"
    content = page.read_text(encoding="utf-8")
    start, end = content.find(first), content.find(last)
    if start < 0 or end < start:
        raise ValueError(f"{page} has no {first} followed by {last}; put the two marks where the table belongs.")
    content = f"{content[: start + len(first)]}\n{text.strip()}\n\n{content[end:]}"
    partial = page.with_name(f".{page.name}.partial")
    partial.write_text(content, encoding="utf-8")
    partial.replace(page)
