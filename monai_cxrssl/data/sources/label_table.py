# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Labels from a table, joined with the images of a datalist.

A hospital's csv file names images by an accession number, a patient number or a file; ``match`` is the column and what
it holds:

====================  ================================================================================================
``"file"``            name of the image file, with or without its extension; no two images may share it
``"path"``            path of the image, relative to the datalist's folder or absolute
an entry of items     what the datalist has under this name, such as ``study_id``
a DICOM keyword       what the images' headers have, such as ``AccessionNumber`` or ``PatientID``
====================  ================================================================================================

A name that no image has as it stands is taken in another spelling, where that is one image's alone: paths and files by
:mod:`monai_cxrssl.data.sources.tables.file_names`, numbers without leading zeros and ``.0``; the log counts these.
No number from a header is kept or shown, so that a datalist of pseudonyms stays one. A row labels every image that it
names; images of no row stay unlabelled, and rows of no image are counted.
"""

from __future__ import annotations

import logging
import os
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monai_cxrssl.data.datalists.datalist import SPLITS, Datalist, is_known
from monai_cxrssl.data.datalists.image_names import image_stem
from monai_cxrssl.data.datalists.rows import refuse_rows, shown_rows
from monai_cxrssl.data.sources.tables.file_names import FileNames, same_id
from monai_cxrssl.data.sources.tables.label_columns import class_numbers, policy_labels
from monai_cxrssl.data.sources.tables.table import read_table
from monai_cxrssl.errors import ConfigurationError, CXRReadError, DatalistError
from monai_cxrssl.files import ordered_map

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LabelJoin", "label_datalist"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelJoin:
    """What a join of images and rows came to.

    Args:
        rows: of the table; ``rows_without_film`` are numbered as a spreadsheet shows them (the header is row 1).
        films: of the datalist, of which ``labelled`` ones have a known label afterwards.
        films_without_name: images that lack what they are matched by, such as an accession number.
        films_without_row: images that have it and that no row names.
    """

    rows: int
    rows_without_film: tuple[int, ...]
    films: int
    films_without_name: int
    films_without_row: int
    labelled: int


def label_datalist(
    datalist: Datalist,
    table: str | os.PathLike,
    match: tuple[str, str],
    label_column: str | None = None,
    label_columns: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    policy: str | float | list | Mapping[str, Any] = "ignore",
    blanks: str = "null",
    seed: int = 0,
    replace_labels: bool = False,
    strict_labels: bool = False,
    progress: bool = True,
) -> tuple[Datalist, LabelJoin]:
    """Give the images of a datalist the labels of a table.

    Args:
        datalist: the images, in any splits.
        table: a table that :mod:`monai_cxrssl.data.sources.tables.table_file` reads.
        match: the column that names images, and what it holds (see above).
        label_column: one class name per row, blank where unknown: the task becomes ``"multi_class"``.
        label_columns: one column per class of 1, 0, -1 (uncertain) or blank: the task becomes ``"multi_label"``.
        classes: the classes of ``label_column`` in label order; by default its values for images, sorted.
        policy, blanks, seed: for ``label_columns``, see
            :func:`monai_cxrssl.data.datalists.label_policy.apply_label_policy`.
        replace_labels: drop the labels that the datalist has; otherwise such a datalist is refused.
        strict_labels: refuse labels that nobody foresaw, which are otherwise unknown and named in one warning.
        progress: show a bar while headers are read.

    Returns:
        The datalist with labels, without its manifest, and what the join came to.

    Raises:
        DatalistError: the table is wrong (rows named by number), two rows give one image different labels, a file name
            is shared by images, no row names an image, all labels are blank, or there are labels already.
        ConfigurationError: not exactly one kind of label column; ``match`` is nothing that images have.
    """
    if bool(label_column) == bool(label_columns):
        raise ConfigurationError(
            "Give either label_column (one class name per row) or label_columns (one column per class)."
        )
    if datalist.has_labels and not replace_labels:
        raise DatalistError(
            f"The datalist {datalist.name} has labels already; to give them up for those of {table}, say so with "
            "replace_labels (label: --replace)."
        )
    path, (name, what) = Path(table).expanduser(), match
    columns = [label_column] if label_column else list(label_columns or ())
    rows = read_table(path, (name, *columns), kept=classes or ())
    count_of_rows = len(rows)
    items = datalist.all_items()
    films = _film_names(items, datalist, what, progress)
    texts = rows[name]
    own = [item["image"] for split in SPLITS for item in datalist.splits[split]]
    respelt = _respelt(rows[name], films, own, what)
    if what == "path":
        root = "" if datalist.root is None else str(datalist.root)
        texts = texts.map(lambda text: os.path.normpath(os.path.join(root, text)))  # noqa: PTH118 (root may be empty)
    row_of, unmatched = _join(path, texts, films, what, respelt)
    if len(unmatched) == len(rows):
        raise DatalistError(
            f"No row of {path} names an image of {datalist.name} ({name} matched by {what})"
            f"{_hint(rows[name], films, own, what)}; "
            "look whether both hold the same kind of name, or match by another."
        )
    if unmatched:
        where = f"{path}, {shown_rows(unmatched)}"
        logger.warning("%s: %s names no image%s", where, name, _hint(rows[name].loc[unmatched], films, own, what))
    chosen = _one_row_each(path, rows, columns, row_of)
    # A row per image. Rows of no image give no class: one without an image could not be learnt.
    rows = rows.loc[list(chosen.values())]
    if label_column:
        numbers, class_names = class_numbers(path, rows, label_column, classes, strict_labels)
        if not class_names:
            raise DatalistError(
                f"{path}: {label_column} is blank in every row that names an image; look for the column."
            )
        labels: dict[int, Any] = dict(zip(chosen, numbers, strict=True))
    else:
        class_names = tuple(columns)
        # Where the policy draws, it does so by the image and not by the row, and wherever the images lie.
        keys = [own[film] for film in chosen]
        values = policy_labels(path, rows, class_names, policy, blanks, keys, seed, strict_labels)
        labels = dict(zip(chosen, values, strict=True))
    task = "multi_class" if label_column else "multi_label"
    labelled = datalist.with_labels(map(labels.get, range(len(items))), class_names, task)
    extra = {key: value for key, value in datalist.extra.items() if key != "manifest"}
    named = sum(bool(film) for film in films)
    count = sum(is_known(item.get("label")) for split in SPLITS for item in labelled.splits[split])
    if not count:
        raise DatalistError(
            f"{path} gives no image that it names a known label: {', '.join(columns)} hold blanks and unknown words "
            "only; look for the column, or for the names of the classes."
        )
    join = LabelJoin(count_of_rows, tuple(unmatched), len(films), len(films) - named, named - len(chosen), count)
    return replace(labelled, extra=extra), join


def _film_names(items: Sequence[dict[str, Any]], datalist: Datalist, what: str, progress: bool) -> list[str]:
    """What each image is matched by; empty where it has none."""
    if what == "file":
        names = [Path(item["image"]).name for item in items]
    elif what == "path":
        names = [os.path.normpath(item["image"]) for item in items]
    elif any(what in item for item in items):
        names = ["" if item.get(what) is None else str(item[what]).strip() for item in items]
    else:
        names = _header_names(items, what, progress)
    if not any(names):
        raise DatalistError(
            f"No image of {datalist.name} has {what} in its header; match by the name of the file, or by another."
        )
    return names


def _header_names(items: Sequence[dict[str, Any]], keyword: str, progress: bool) -> list[str]:
    from pydicom.datadict import tag_for_keyword
    from tqdm import tqdm

    from monai_cxrssl.data.reading.dicom import read_dicom_element

    if tag_for_keyword(keyword) is None:
        raise ConfigurationError(
            f"Images cannot be matched by {keyword!r}: it is neither file nor path, no entry of the datalist's items, "
            "and no DICOM keyword (such as AccessionNumber)."
        )

    def read(item: Mapping[str, Any]) -> str | CXRReadError:
        try:
            return read_dicom_element(item["image"], keyword)
        except CXRReadError as error:
            return error

    elements = ordered_map(read, items, name="headers")
    shown = None if progress else True
    read_all = list(tqdm(elements, total=len(items), desc=f"reading {keyword}", unit="image", disable=shown))
    failures = [element for element in read_all if isinstance(element, CXRReadError)]
    names = ["" if isinstance(element, CXRReadError) else element for element in read_all]
    if failures:
        logger.warning("%d of %d headers cannot be read; first: %s", len(failures), len(items), failures[0])
    return names


def _respelt(texts: pd.Series, films: Sequence[str], own: Sequence[str], what: str) -> dict[int, list[int]]:
    """The images that rows name in another spelling: their places in the list, where these are of one name."""
    if what in ("file", "path"):
        names = FileNames(own)
        return {row: [place] for row, text in texts.items() if (place := names.find(text)) is not None}
    of_id: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for place, film in enumerate(films):
        if film:
            of_id[same_id(film)][film].append(place)
    spelt: dict[str, set[str]] = defaultdict(set)
    for text in texts:
        # A number and the same with .0 are one; with other zeros they may be two of a hospital's numbers.
        spelt[same_id(text)].add(text.removesuffix(".0"))
    unique = {key: places for key, places in of_id.items() if len(places) == 1 and len(spelt[key]) == 1}
    found = {row: unique[same_id(text)] for row, text in texts.items() if text and same_id(text) in unique}
    return {row: next(iter(places.values())) for row, places in found.items()}


def _join(
    path: Path, texts: pd.Series, films: Sequence[str], what: str, respelt: Mapping[int, list[int]]
) -> tuple[dict[int, list[int]], list[int]]:
    """Return the rows that name each image (by its place in the list), and the rows that name none."""
    places: dict[str, list[int]] = defaultdict(list)
    for place, film in enumerate(films):
        if film:
            places[film].append(place)
    stems: dict[str, list[int]] = defaultdict(list)
    if what == "file":
        for film, same in places.items():
            stems[image_stem(film)].extend(same)
    named: dict[int, list[int]] = defaultdict(list)
    unmatched, shared, other = [], [], []
    for row, text in texts.items():
        found: Sequence[int] = places.get(text) or stems.get(text) or ()
        if not found and row in respelt:
            found = respelt[row]
            other.append(row)
        if not found:
            unmatched.append(row)
        elif what == "file" and len(found) > 1:
            shared.append(row)
        for place in found:
            named[place].append(row)
    remedy = "match by path, or by a number of the header"
    if other:
        logger.warning("%s, %s: %s names its image in another spelling", path, shown_rows(other), texts.name)
    refuse_rows(path, shared, f"{texts.name} is a file name that several images have", remedy)
    return named, unmatched


def _one_row_each(
    path: Path, rows: pd.DataFrame, columns: Sequence[str], named: Mapping[int, list[int]]
) -> dict[int, int]:
    """The row of each image; rows that repeat a label do no harm, rows that contradict each other are refused."""
    cells = dict(zip(rows.index, rows[list(columns)].itertuples(index=False, name=None), strict=True))
    for found in named.values():
        if len({cells[row] for row in found}) > 1:
            refuse_rows(path, found, "they name the same image with different labels", "keep the right one")
    return {place: found[0] for place, found in named.items()}


def _hint(texts: pd.Series, films: Sequence[str], own: Sequence[str], what: str) -> str:
    """A hint, when a spelling that several have, or a spreadsheet's rounding, is all that keeps names apart."""
    if what in ("file", "path"):
        names = {Path(image.replace("\\", "/")).stem.casefold() for image in own}
        count = sum(Path(text.replace("\\", "/")).stem.casefold() in names for text in texts if text)
        return f"; {count} would but for the folders before the name, or several images have it" if count else ""
    rounded = sum(bool(re.fullmatch(r"\d[.,]\d+E\+\d+", text)) for text in texts)
    if rounded:
        return f"; {rounded} are numbers that a spreadsheet rounded (such as 1.23E+11): format the column as text"
    same = {same_id(film) for film in films if film}
    count = sum(same_id(text) in same for text in texts if text)
    told = f"; {count} would but for leading zeros, which spreadsheets drop from numbers, or capitals"
    return told if count else ""
