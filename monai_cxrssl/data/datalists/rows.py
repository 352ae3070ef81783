# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Rows of a table named in a refusal."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monai_cxrssl.errors import DatalistError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["refuse_cells", "refuse_rows", "shown_rows"]

SHOWN_ROWS = 5


def refuse_rows(path: Path, rows: Iterable[int], problem: str, remedy: str) -> None:
    """Raise a :class:`DatalistError` that names the first of some row numbers, when there are any.

    ``problem`` (what these rows have: "no patient id") and ``remedy`` (what to do) are half sentences.
    """
    listed = list(dict.fromkeys(int(row) for row in rows))
    if not listed:
        return
    raise DatalistError(f"{path}, {shown_rows(listed)} (the header is row 1): {problem}; {remedy}.")


def refuse_cells(path: Path, cells: pd.Series, wrong: Any, remedy: str, what: str = "", rest: str = "") -> None:
    """Refuse the rows where a mask is set: "<what, else the column> is <its first wrong cell><rest>"."""
    rows = cells.index[wrong]
    if len(rows):
        refuse_rows(path, rows, f"{what or cells.name} is {cells[rows[0]]!r}{rest}", remedy)


def shown_rows(rows: Iterable[int], noun: str = "row") -> str:
    """The first of some row numbers as text: ``"row 2"``, ``"rows 2, 3, 4, 5, 6 and 9 more"``."""
    listed = [int(row) for row in rows]
    shown = ", ".join(map(str, listed[:SHOWN_ROWS]))
    more = f" and {len(listed) - SHOWN_ROWS} more" if len(listed) > SHOWN_ROWS else ""
    return f"{noun}{'s' * (len(listed) != 1)} {shown}{more}"
