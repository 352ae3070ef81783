# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Label tables read and checked by row.

Rows are counted as a spreadsheet shows them: the header is row 1, the first record row 2.
"""

from __future__ import annotations

import difflib
import logging
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monai_cxrssl.data.datalists.rows import refuse_rows, shown_rows
from monai_cxrssl.data.sources.tables.file_names import FileNames, FolderNames, files_below
from monai_cxrssl.data.sources.tables.label_words import is_missing
from monai_cxrssl.data.sources.tables.table_file import REMEDY, read_cells, read_columns
from monai_cxrssl.errors import DatalistError
from monai_cxrssl.files import ask_all

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["build_items", "check_filled", "check_unique", "column", "has_columns", "keep_existing", "read_header"]
__all__ += ["read_table"]

logger = logging.getLogger(__name__)

BLANKS = " \t\r\n\f\v\u00a0\u200b\ufeff"


def read_header(path: Path) -> list[str]:
    """Column names of a table; empty when there is no such file or it is no table."""
    return read_columns(path)


def has_columns(path: Path, *names: str, least: int | None = None) -> bool:
    """Whether there is a table with these columns, or ``least`` of them; capitals and blanks around do not count."""
    known = set(map(_column_key, read_header(path)))
    return sum(_column_key(name) in known for name in names) >= (len(names) if least is None else least)


def read_table(
    path: Path,
    required: Sequence[str],
    optional: Sequence[str] = (),
    filled: Sequence[str] = (),
    unique: str = "",
    kept: Collection[str] = (),
) -> pd.DataFrame:
    """Read columns of a table as text, stripped, empty where blank or missing; columns not named are not kept.

    Numbers of a column that writes all of them as ``1.0`` or ``1`` become ``1``. Words for no value (``nan, NA`` ...:
    :mod:`monai_cxrssl.data.sources.tables.label_words`) become empty, counted in a warning.

    Args:
        path: the file; see :mod:`monai_cxrssl.data.sources.tables.table_file` for what is read.
        required: columns that must be there; capitals and blanks around a name do not count.
        optional: columns that are read when they are there.
        filled: columns without an empty cell.
        unique: the column that names the image of each row, none twice.
        kept: words that are values although they are in the list of those for no value.

    Returns:
        a table whose index holds the row numbers; lines that are blank throughout are left out.

    Raises:
        DatalistError: the file cannot be read as a table, has a column twice or bytes of another encoding in one, lacks
            a column or a cell, repeats an image or lists nothing.
    """
    import pandas as pd

    names, cells = read_cells(path, required)
    place = _places(path, names, required, optional)
    table = pd.DataFrame({name: cells[cells.columns[number]] for name, number in place.items()})
    table.index = pd.RangeIndex(2, len(table) + 2)
    missing: dict[str, Counter[str]] = {}
    values = {word.casefold() for word in kept}
    for name in table.columns:
        # Many cells repeat, so the distinct ones are read and the rest follow.
        codes, distinct = pd.factorize(table[name].fillna(""))
        texts = [str(text).strip(BLANKS) for text in distinct]
        _refuse_bytes(path, table.index, codes, name, texts)
        signed = "+" in texts
        words = {
            text
            for text in texts
            if text and is_missing(text) and text.casefold() not in values and not (signed and text == "-")
        }
        if words:
            counts = pd.Series(codes).value_counts()
            missing[name] = Counter()
            for code, text in enumerate(texts):
                if text in words:
                    missing[name][text] += int(counts.get(code, 0))
        texts = _whole_numbers(["" if text in words else text for text in texts])
        table[name] = pd.Series(texts, dtype=object).to_numpy()[codes]
    table = table[(table != "").any(axis=1)]
    if not len(table):
        raise DatalistError(f"{path} lists nothing below its header; expected one row per image.")
    if missing:
        total: Counter[str] = sum(missing.values(), Counter())
        words_told = ", ".join(f"{word!r} {count}" for word, count in total.most_common(8))
        logger.warning(
            "%s: %d cells of %s hold a word for no value and are taken for blank (%s)",
            path, total.total(), ", ".join(missing), words_told,
        )  # fmt: skip
    table.attrs["missing"] = {name: list(words) for name, words in missing.items()}
    check_filled(path, table, *filled)
    if unique:
        check_unique(path, table, table[unique])
    return table


def check_filled(path: Path, table: pd.DataFrame, *columns: str) -> None:
    """Refuse rows in which one of the columns is empty."""
    for name in columns:
        words = table.attrs.get("missing", {}).get(name)
        what = f"is empty or says {' or '.join(words)}" if words else "is empty"
        refuse_rows(path, table.index[table[name] == ""], f"{name} {what}", "fill it in or remove the row")


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
    path: Path, table: pd.DataFrame, images: Sequence[str], folder: Path, allow_absent: bool, anywhere: bool = False
) -> pd.DataFrame:
    """Look for every listed image and return the rows whose image exists, its path in the column ``image``.

    A name that differs from the only file like it in ``\\`` for ``/``, capitals, composed accents or the extension is
    that file's, with a line in the log.

    Args:
        path: the table's file.
        table: its rows.
        images: one path per row, relative to ``folder``; empty for an image that was looked for and not found.
        folder: the folder that the images lie below.
        allow_absent: leave rows of absent images out, with a line in the log, instead of refusing them.
        anywhere: look for absent images below the whole folder, by a path that lacks folders before it or has more.

    Raises:
        DatalistError: an image is absent (or all are, with ``allow_absent``).
    """
    import numpy as np

    top, images = str(folder), list(images)
    # lexists: a broken link or an unreadable file is the reader's to refuse, by name.
    exists = np.array(ask_all(lambda i: bool(i) and os.path.lexists(f"{top}{os.sep}{i}"), images), bool)
    if not exists.all():
        respelt = _respelt(images, exists.tolist(), folder, anywhere)
        if respelt:
            first = next(iter(respelt))
            told = f"{len(respelt)} names differ from their files', such as {images[first]} from {respelt[first]}"
            if unicodedata.normalize("NFC", images[first]) == unicodedata.normalize("NFC", respelt[first]):
                told += " (accents as letters of their own or not, which looks the same)"
            logger.warning("%s: %s; matched where only one file is like it", path, told)
        for number, image in respelt.items():
            images[number], exists[number] = image, True
    table = table.assign(image=images)
    if exists.all():
        return table
    absent = np.flatnonzero(~exists)
    example = images[absent[0]]
    place = f"{example} below {folder}" if anywhere else folder / example
    where = f" (looked for {place})" if example else ""
    if not allow_absent or not exists.any():
        remedy = "give the folder that holds both the table and its images"
        if exists.any():
            remedy = "put the images there, or leave such rows out with allow_absent=True (index: --allow_absent)"
        files = "the listed file does" if len(absent) == 1 else "the listed files do"
        refuse_rows(path, table.index[absent], f"{files} not exist{where}", remedy)
    rows = shown_rows(table.index[absent])
    logger.warning("%s: %d of %d listed images are absent, %s%s; left out", path, len(absent), len(exists), rows, where)
    return table[exists]


def _respelt(images: Sequence[str], exists: Sequence[bool], folder: Path, anywhere: bool) -> dict[int, str]:
    """Files that only absent rows name, in another spelling, each by one row."""
    names = FolderNames(folder)
    claimed = Counter(image for image, there in zip(images, exists, strict=True) if there)
    found = {n: names.find(image) for n, image in enumerate(images) if image and not exists[n]}
    if anywhere and not all(found.values()):
        files = files_below(folder)
        below = FileNames(files)
        for n in (n for n, image in found.items() if image is None):
            place = below.find(images[n])
            found[n] = None if place is None else files[place]
    claimed.update(image for image in found.values() if image)
    return {number: image for number, image in found.items() if image and claimed[image] == 1}


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


def _column_key(name: str) -> str:
    return unicodedata.normalize("NFC", name.strip(BLANKS)).casefold()


def _places(path: Path, names: Sequence[str], required: Sequence[str], optional: Sequence[str]) -> dict[str, int]:
    """Where each wanted column stands; a second one of its name is refused, since nobody knows which is right."""
    keys = [_column_key(name) for name in names]
    wanted = list(dict.fromkeys((*required, *optional)))
    place: dict[str, int] = {}
    for name in wanted:
        key = _column_key(name)
        # pandas writes a second column of one name with .1 behind it.
        copy = re.compile(re.escape(key) + r"\.\d+")
        same = [n for n, other in enumerate(keys) if other == key or (copy.fullmatch(other) and names[n] not in wanted)]
        if key in keys and len(same) > 1:
            listed = " and ".join(f"column {n + 1} ({names[n]!r})" for n in same)
            raise DatalistError(
                f"{path} has the column {name} {len(same)} times: {listed}; leave the one that is right, or rename the "
                "other."
            )
        if key in keys:
            place[name] = keys.index(key)
    missing = [name for name in required if name not in place]
    if missing:
        near = difflib.get_close_matches(_column_key(missing[0]), keys, 1, 0.7)
        hint = f", nearest: {names[keys.index(near[0])].strip()}" if near else ""
        raise DatalistError(
            f"{path} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)} (row 1 holds "
            f"{', '.join(name.strip() for name in names) or 'nothing'}{hint}); expected the column names of the data "
            "set's own file."
        )
    return place


def _refuse_bytes(path: Path, index: pd.Index, codes: Any, name: str, texts: Sequence[str]) -> None:
    """Refuse cells whose bytes are no UTF-8: as which letter they were meant is not certain."""
    bad = {code for code, text in enumerate(texts) if "\ufffd" in text}
    if bad:
        rows = [int(row) for row, code in zip(index, codes, strict=True) if int(code) in bad]
        problem = (
            f"{name} holds letters that are not in UTF-8 ({texts[min(bad)]!r}), as spreadsheets write Windows-1252"
        )
        refuse_rows(path, rows, problem, f"open the table in the spreadsheet and {REMEDY}")


def _whole_numbers(texts: list[str]) -> list[str]:
    """Texts of a column, ``1.0`` as ``1`` where all are whole numbers (pandas writes these so beside a blank)."""
    if any(text.endswith(".0") for text in texts) and all(re.fullmatch(r"(-?\d+(\.0+)?)?", text) for text in texts):
        return [text.partition(".")[0] for text in texts]
    return texts
