# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Texts, numbers and tables of the page of a report as markup."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Sequence
from numbers import Integral, Real

from monai_cxrssl.report.content import Table
from monai_cxrssl.report.page.printable import printable

__all__ = ["cell_markup", "number_words", "table_markup", "text_markup"]

_NONE = '<abbr class="none" title="not assessable" aria-label="not assessable">–</abbr>'
# What Python and pandas print for a number that is none.
_NO_NUMBER = frozenset({"nan", "NaN", "None", "inf", "-inf"})
_INTERVAL = re.compile(r"^([-−+]?[\d.,]+) (\([-−+]?[\d.,]+ to [-−+]?[\d.,]+\))$")
# Rows beyond which a table scrolls up and down, and columns beyond which it is printed small.
_LONG, _MANY = 25, 7
_NUMERIC = re.compile(r"^[<>≤≥~]?\s?[-−+]?\d[\d.,]*(\s|$|%|\()")


def text_markup(text: object) -> str:
    """Text as markup, with nothing in it that could act as markup."""
    return html.escape(printable(text), quote=True)


def number_words(value: int | float) -> str:
    """A finite number as printed: counts in full with commas, others with three decimals, large ones with fewer.

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


def cell_markup(value: object, is_name: bool = False) -> str:
    """A cell as markup; a dash, with its meaning as title, for None and for numbers that are none.

    Args:
        value: of the cell.
        is_name: whether it names its row, where "None" may be a name.
    """
    if value is None or (isinstance(value, str) and not is_name and value.strip() in _NO_NUMBER):
        return _NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Real):
        number = int(value) if isinstance(value, Integral) else float(value)
        return number_words(number) if math.isfinite(number) else _NONE
    markup = text_markup(value)
    # A line may break before an interval, and not within, so that wide tables fit more screens.
    return markup if is_name else _INTERVAL.sub(r'\1 <span class="interval">\2</span>', markup)


def table_markup(table: Table, stack: bool = False) -> str:
    """A table as markup, in a box of its own in which it scrolls where the screen is too narrow.

    Args:
        table: a long one scrolls up and down too, so that what follows it is found.
        stack: whether the cells of a row stand under each other on a narrow screen, each with its heading; for few
            columns of words.
    """
    name = text_markup(table.caption)
    note = f'<p class="note">{text_markup(table.note)}</p>' if table.note else ""
    if not table.rows:
        empty = '<p class="missing">No rows: nothing to list.</p>'
        return f'<div class="tabled"><p class="name">{name}</p>{empty}{note}</div>'
    classes = [_column_class([row[number] for row in table.rows]) for number in range(len(table.columns))]
    classes[:1] = [""]  # the names of the rows
    heads = "".join(
        f'<th scope="col"{css}>{text_markup(column)}</th>' for column, css in zip(table.columns, classes, strict=True)
    )
    rows = []
    labels = [f' data-label="{text_markup(column)}"' if stack else "" for column in table.columns]
    for row in table.rows:
        cells = [f'<th scope="row">{cell_markup(value, is_name=True)}</th>' for value in row[:1]]
        cells += [
            f"<td{css}{label}>{cell_markup(value)}</td>"
            for value, css, label in zip(row[1:], classes[1:], labels[1:], strict=True)
        ]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    body = "\n".join(rows)
    box = "scroll" + (" stack" if stack else "") + (" long" if len(rows) > _LONG else "")
    box += " many" if len(classes) > _MANY else ""
    return (
        f'<div class="tabled"><p class="name" aria-hidden="true">{name}</p>'
        f'<div class="{box}" role="region" tabindex="0" aria-label="{name}"><table aria-label="{name}">\n'
        f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>{note}</div>"
    )


def _column_class(values: Sequence[object]) -> str:
    """The class attribute of a column: numbers stand to the right, long texts get room."""
    known = [value for value in values if value is not None and value != ""]
    if known and all(
        (isinstance(value, Real) and not isinstance(value, bool))
        or (isinstance(value, str) and (value.strip() in _NO_NUMBER or (len(value) < 32 and _NUMERIC.match(value))))
        for value in known
    ):
        return ' class="number"'
    return ' class="wide"' if any(isinstance(value, str) and len(value) > 40 for value in known) else ""
