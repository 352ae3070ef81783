# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Label tables read and checked by row.

Rows are counted as a spreadsheet shows them: the header is row 1, the first record row 2.
"""

from __future__ import annotations

import csv
import gzip
import logging
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monai_cxrssl.data.datalists.rows import refuse_rows, shown_rows
from monai_cxrssl.errors import DatalistError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["build_items", "check_filled", "check_unique", "column", "keep_existing", "read_header", "read_table"]

logger = logging.getLogger(__name__)

SEPARATORS = (",", ";", "\t")


def read_header(path: Path) -> list[str]:
    """Column names of a csv (or csv.gz) file; empty when there is no such file or it is no text table."""
    try:
        with _open_text(path) as stream:
            return [name.strip() for name in next(csv.reader(stream), [])]
    except (OSError, EOFError, UnicodeDecodeError, csv.Error):
        return []


def read_table(
    path: Path, required: Sequence[str], optional: Sequence[str] = (), filled: Sequence[str] = (), unique: str = ""
) -> pd.DataFrame:
    """Read columns of a csv (or csv.gz) file as text, stripped, empty where blank; columns not named are not kept.

    Args:
        path: the file; UTF-8, with commas, or with the semicolons or tabs that spreadsheets write in some countries.
        required: columns that must be there.
        optional: columns that are read when they are there.
        filled: columns without an empty cell.
        unique: the column that names the image of each row, none twice.

    Returns:
        a table whose index holds the row numbers; lines that are blank throughout are left out.

    Raises:
        DatalistError: the file cannot be read as a table, lacks a column or a cell, repeats an image or lists nothing.
    """
    import pandas as pd

    wanted = {*required, *optional}
    try:
        separator, columns = _header_of(path, required)
        missing = [name for name in required if name not in columns]
        if missing:
            raise DatalistError(
                f"{path} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)} (row 1 holds "
                f"{', '.join(columns) or 'nothing'}); expected the column names of the data set's own file."
            )
        with warnings.catch_warnings():
            # Without this, pandas cuts rows that are longer than the header and goes on.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            form: dict[str, Any] = {"sep": separator, "encoding": "utf-8-sig", "skip_blank_lines": False}
            table = pd.read_csv(path, dtype=str, keep_default_na=False, index_col=False, **form)
    except pd.errors.ParserWarning as error:
        raise DatalistError(f"{path} cannot be read as a table: its rows have more cells than its header.") from error
    except (OSError, EOFError, UnicodeDecodeError, csv.Error, pd.errors.ParserError) as error:
        raise DatalistError(f"{path} cannot be read as a table ({str(error).strip()}).") from error
    # Given to pandas as usecols, the columns would be kept apart, but rows longer than the header pass unseen.
    table.columns = table.columns.str.strip()
    table = table[[name for name in table.columns if name in wanted]]
    table.index = pd.RangeIndex(2, len(table) + 2)
    # Many cells repeat, so the distinct ones are stripped and the rest follow.
    for name in table.columns:
        codes, distinct = pd.factorize(table[name].fillna(""))
        table[name] = pd.Series(distinct, dtype=object).str.strip().to_numpy()[codes]
    table = table[(table != "").any(axis=1)]
    if not len(table):
        raise DatalistError(f"{path} lists nothing below its header; expected one row per image.")
    check_filled(path, table, *filled)
    if unique:
        check_unique(path, table, table[unique])
    return table


def check_filled(path: Path, table: pd.DataFrame, *columns: str) -> None:
    """Refuse rows in which one of the columns is empty."""
    for name in columns:
        refuse_rows(path, table.index[table[name] == ""], f"{name} is empty", "fill it in or remove the row")


def check_unique(path: Path, table: pd.DataFrame, names: Any, what: str = "image") -> None:
    """Refuse rows whose entry of ``names`` (one per row; ``what`` it is, for the message) an earlier row has."""
    import pandas as pd

    values = pd.Series(list(names), index=table.index)
    again = values.index[values.duplicated()]
    if len(again):
        name = values[again[0]]
        first = values.index[values == name][0]
        refuse_rows(path, again, f"the {what} {name} was listed before, in row {first}", "remove the duplicate rows")


def keep_existing(
    path: Path, table: pd.DataFrame, images: Sequence[str], folder: Path, allow_absent: bool
) -> pd.DataFrame:
    """Look for every listed image and return the rows whose image exists.

    Args:
        path: the table's file.
        table: its rows.
        images: one path per row, relative to ``folder``; empty for an image that was looked for and not found.
        folder: the folder that the images lie below.
        allow_absent: leave rows of absent images out, with a line in the log, instead of refusing them.

    Raises:
        DatalistError: an image is absent (or all are, with ``allow_absent``).
    """
    import numpy as np

    top = str(folder)
    # lexists: a broken link or an unreadable file is the reader's to refuse, by name.
    exists = np.fromiter((bool(i) and os.path.lexists(f"{top}{os.sep}{i}") for i in images), bool, len(images))
    if exists.all():
        return table
    absent = np.flatnonzero(~exists)
    example = images[absent[0]]
    where = f" (looked for {folder / example})" if example else ""
    if not allow_absent or not exists.any():
        remedy = "give the folder that holds both the table and its images"
        if exists.any():
            remedy = "put the images there, or leave such rows out with allow_absent=True (index: --allow_absent)"
        files = "the listed file does" if len(absent) == 1 else "the listed files do"
        refuse_rows(path, table.index[absent], f"{files} not exist{where}", remedy)
    rows = shown_rows(table.index[absent])
    logger.warning("%s: %d of %d listed images are absent, %s%s; left out", path, len(absent), len(exists), rows, where)
    return table[exists]


def column(table: pd.DataFrame, name: str, convert: Callable[[str], Any] | None = None) -> list[Any]:
    """A column as a list, each distinct text converted once; ``None`` throughout when the table lacks it."""
    if name not in table.columns:
        return [None] * len(table)
    if convert is None:
        return table[name].tolist()
    values = {text: convert(text) for text in table[name].unique()}
    return [values[text] for text in table[name]]


def build_items(images: Sequence[str], patients: Sequence[str], source: str, **fields: Sequence[Any]) -> list[dict]:
    """Datalist items from columns; a field that is ``None`` or empty text is left out of its item."""
    columns = {"image": images, "patient_id": patients, "source": [source] * len(images), **fields}
    rows = zip(*columns.values(), strict=True)
    return [{k: v for k, v in zip(columns, row, strict=True) if v is not None and v != ""} for row in rows]


def _header_of(path: Path, required: Sequence[str]) -> tuple[str, list[str]]:
    """What separates a table's cells, and its column names: commas, unless another gives the required columns."""
    found = {}
    for mark in SEPARATORS:
        with _open_text(path) as stream:
            found[mark] = [name.strip() for name in next(csv.reader(stream, delimiter=mark), [])]
        if set(required) <= set(found[mark]):
            return mark, found[mark]
    return SEPARATORS[0], found[SEPARATORS[0]]


def _open_text(path: Path) -> Any:
    opener: Any = gzip.open if path.suffix == ".gz" else open
    return opener(path, "rt", newline="", encoding="utf-8-sig")
