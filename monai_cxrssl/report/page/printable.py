# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Printable names without control characters."""

from __future__ import annotations

__all__ = ["printable"]


def printable(text: object, limit: int | None = None) -> str:
    """Return text on one line, with a replacement character for what cannot be shown.

    Control characters, half surrogates (of file names that are no UTF-8) and marks that turn the direction of what
    follows are replaced: a class name shall not be able to rearrange the words around it. What is longer than the limit
    ends with an ellipsis.

    Example:
        >>> printable("two\\nlines"), printable("Pleural effusion, left", 12)
        ('two lines', 'Pleural eff…')
    """
    words = " ".join(str(text).split())
    shown = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in words)
    if limit is not None and len(shown) > limit:
        shown = shown[: limit - 1].rstrip() + "…"
    return shown
