# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Table files opened: encoding, separator, workbook, compression.

What a file holds decides, not its name: text in UTF-8, or in UTF-16 or UTF-32 with a byte order mark; separated by
commas, semicolons, tabs or bars, or as a first line ``sep=;`` says; packed by gzip; or a workbook (``.xlsx``, ``.xls``,
``.ods``).
"""

from __future__ import annotations

import csv
import gzip
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from monai_cxrssl.errors import DatalistError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SUFFIXES", "open_text", "read_cells", "read_columns"]

SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".xlsx", ".xls", ".ods")
SEPARATORS = (",", ";", "\t", "|")
MARKS = {b"\xff\xfe\0\0": "utf-32", b"\0\0\xfe\xff": "utf-32", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
REMEDY = "save it as 'CSV UTF-8' there"


@dataclass(frozen=True)
class _Form:
    encoding: str
    packed: bool
    separator: str = ","
    first: int = 0
    columns: tuple[str, ...] = ()


def open_text(path: Path) -> IO[str]:
    """Open a text file in the encoding that its mark tells, UTF-8 without one; bytes that are none become U+FFFD.

    Raises:
        OSError: the file cannot be read.
        UnicodeDecodeError: it holds zero bytes and no mark, so that it is no text.
    """
    head, packed = _head(path)
    opener: Any = gzip.open if packed else open
    return opener(path, "rt", newline="", encoding=_encoding(head), errors="replace")


def read_columns(path: Path) -> list[str]:
    """Read the column names of a table; empty when there is no such file or it is none."""
    try:
        if _is_workbook(path):
            return next(([name.strip() for name in sheet.iloc[0]] for sheet in _sheets(path).values()), [])
        return [name.strip() for name in _form(path, ()).columns]
    except (OSError, EOFError, UnicodeDecodeError, csv.Error, DatalistError):
        return []


def read_cells(path: Path, required: Sequence[str]) -> tuple[list[str], pd.DataFrame]:
    """Read the column names of a table as they stand, and its cells as text, one numbered column each.

    ``required`` are columns by which the separator, or the sheet of a workbook, is told.

    Raises:
        DatalistError: the file cannot be read as a table, or several sheets of a workbook have the columns.
    """
    import pandas as pd

    try:
        if _is_workbook(path):
            return _sheet_of(path, required)
        form = _form(path, required)
        if not form.columns:
            return [], pd.DataFrame()
        with warnings.catch_warnings():
            # Without this, pandas cuts rows that are longer than the header and goes on.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            table = pd.read_csv(
                path, sep=form.separator, encoding=form.encoding, encoding_errors="replace", header=0,
                compression="gzip" if form.packed else None, names=list(range(len(form.columns))), skiprows=form.first,
                dtype=str, keep_default_na=False, index_col=False, skip_blank_lines=False,
            )  # fmt: skip
    except pd.errors.ParserWarning as error:
        raise DatalistError(f"{path} cannot be read as a table: its rows have more cells than its header.") from error
    except UnicodeDecodeError as error:
        raise DatalistError(
            f"{path} cannot be read as a table: it holds zero bytes, so it is no text, or UTF-16 without its mark. "
            f"If a spreadsheet reads it, {REMEDY}."
        ) from error
    except DatalistError:
        raise
    except (OSError, EOFError, csv.Error, ValueError) as error:
        raise DatalistError(f"{path} cannot be read as a table ({str(error).strip()}).") from error
    return list(form.columns), table


def _head(path: Path) -> tuple[bytes, bool]:
    """The first bytes of the content, and whether it is packed."""
    with path.open("rb") as stream:
        head = stream.read(512)
    if head[:2] != b"\x1f\x8b":
        return head, False
    with gzip.open(path) as unpacked:
        return unpacked.read(512), True


def _encoding(head: bytes) -> str:
    for mark, name in MARKS.items():
        if head.startswith(mark):
            return name
    if b"\0" in head:
        raise UnicodeDecodeError("utf-8", head, head.index(b"\0"), head.index(b"\0") + 1, "zero byte")
    return "utf-8-sig"


def _form(path: Path, required: Sequence[str]) -> _Form:
    """How a text table is written: the separator that gives the required columns, else the most."""
    head, packed = _head(path)
    encoding = _encoding(head)
    with open_text(path) as stream:
        told = re.fullmatch(r'"?sep=(.)"?', stream.readline().strip("\r\n"), re.IGNORECASE)
    forms = []
    for mark in (told[1],) if told else SEPARATORS:
        with open_text(path) as stream:
            if told:
                stream.readline()
            columns = tuple(next(csv.reader(stream, delimiter=mark), []))
        forms.append(_Form(encoding, packed, mark, int(bool(told)), columns))
        if required and set(required) <= {name.strip() for name in columns}:
            return forms[-1]
    return max(forms, key=lambda form: len(form.columns))


def _is_workbook(path: Path) -> bool:
    return _head(path)[0].startswith(WORKBOOKS)


def _sheets(path: Path) -> dict[str, pd.DataFrame]:
    """The sheets of a workbook that hold something, as text."""
    import pandas as pd

    try:
        with path.open("rb") as stream:
            sheets = pd.read_excel(
                stream,
                sheet_name=None,
                header=None,
                dtype=str,
                keep_default_na=False,
                na_filter=False,
                engine="calamine",
            )
    except Exception as error:  # calamine raises kinds of its own
        raise DatalistError(
            f"{path} is a workbook or an archive, and cannot be read as a table ({str(error).strip()}). If a "
            f"spreadsheet opens it, {REMEDY}; if it is an archive, unpack it."
        ) from error
    return {name: sheet.fillna("") for name, sheet in sheets.items() if sheet.size}


def _sheet_of(path: Path, required: Sequence[str]) -> tuple[list[str], pd.DataFrame]:
    import pandas as pd

    sheets = _sheets(path)
    fitting = [name for name, sheet in sheets.items() if set(required) <= {cell.strip() for cell in sheet.iloc[0]}]
    if len(fitting) > 1:
        raise DatalistError(
            f"{path} has {len(fitting)} sheets with these columns ({', '.join(fitting)}); leave one, or save it as "
            "a file of its own."
        )
    if not sheets:
        return [], pd.DataFrame()
    sheet = sheets[fitting[0] if fitting else next(iter(sheets))]
    return list(sheet.iloc[0]), sheet.iloc[1:].reset_index(drop=True)
