# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Numbers and cells of the HTML report in words."""

from __future__ import annotations

import math
import re
from numbers import Integral, Real

from monai_cxrssl.report.content import Table
from monai_cxrssl.report.page.printable import printable

__all__ = ["cell_words", "column_classes", "number_words"]

# What Python and pandas print for a number that is none.
_NO_NUMBER = frozenset({"nan", "NaN", "None", "inf", "-inf"})
_INTERVAL = re.compile(r"([-−+]?[\d.,]+) (\([-−+]?[\d.,]+ to [-−+]?[\d.,]+\))")
_NUMERIC = re.compile(r"^[<>≤≥~]?\s?[-−+]?\d[\d.,]*(\s|$|%|\()")


def number_words(value: int | float) -> str:
    """Print a finite number: counts in full with commas, others with three decimals, large ones with fewer.

    Example:
        >>> number_words(25000), number_words(0.91849), number_words(123.456), number_words(-0.00001)
        ('25,000', '0.918', '123.5', 'above −0.001')
    """
    if isinstance(value, Integral):
        words = f"{int(value):,}"
    elif value != 0 and abs(value) < 0.0005:
        # Not as 0.000, which reads as none at all.
        return "below 0.001" if value > 0 else "above −0.001"
    else:
        words = f"{value:,.{3 if abs(value) < 100 else 1 if abs(value) < 1000 else 0}f}"
    return words.replace("-", "−")


def cell_words(value: object, is_name: bool = False) -> tuple[str, str] | None:
    """Return a cell's text and, where it ends with an interval in brackets, that one apart.

    The first cell names its row, and "None" may be a name there. A value that is None, or a number that is none, has no
    text: None.
    """
    if value is None or (isinstance(value, str) and not is_name and value.strip() in _NO_NUMBER):
        return None
    if isinstance(value, bool):
        return "yes" if value else "no", ""
    if isinstance(value, Real):
        number = int(value) if isinstance(value, Integral) else float(value)
        return (number_words(number), "") if math.isfinite(number) else None
    text = printable(value)
    match = None if is_name else _INTERVAL.fullmatch(text)
    return (match[1], match[2]) if match else (text, "")


def column_classes(table: Table) -> list[tuple[str, str]]:
    """Return each column's heading and class: ``"number"`` stands to the right, ``"wide"`` gets room, else empty."""
    classes = ["", *(_column_class([row[number] for row in table.rows]) for number in range(1, len(table.columns)))]
    return list(zip(table.columns, classes, strict=True))


def _column_class(values: list[object]) -> str:
    known = [value for value in values if value is not None and value != ""]
    if known and all(
        (isinstance(value, Real) and not isinstance(value, bool))
        or (isinstance(value, str) and (value.strip() in _NO_NUMBER or (len(value) < 32 and _NUMERIC.match(value))))
        for value in known
    ):
        return "number"
    return "wide" if any(isinstance(value, str) and len(value) > 40 for value in known) else ""
