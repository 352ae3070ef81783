# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Rows of a table named in a refusal."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from monai_cxrssl.errors import DatalistError

__all__ = ["refuse_rows", "shown_rows"]

SHOWN_ROWS = 5


def refuse_rows(path: Path, rows: Iterable[int], problem: str, remedy: str) -> None:
    """Raise a :class:`DatalistError` that names the first of some row numbers, when there are any.

    ``problem`` (what these rows have: "no patient id") and ``remedy`` (what to do) are half sentences.
    """
    listed = list(dict.fromkeys(int(row) for row in rows))
    if not listed:
        return
    raise DatalistError(f"{path}, {shown_rows(listed)} (the header is row 1): {problem}; {remedy}.")


def shown_rows(rows: Iterable[int]) -> str:
    """The first of some row numbers as text: ``"row 2"``, ``"rows 2, 3, 4, 5, 6 and 9 more"``."""
    listed = [int(row) for row in rows]
    shown = ", ".join(map(str, listed[:SHOWN_ROWS]))
    more = f" and {len(listed) - SHOWN_ROWS} more" if len(listed) > SHOWN_ROWS else ""
    return f"row{'s' * (len(listed) != 1)} {shown}{more}"
