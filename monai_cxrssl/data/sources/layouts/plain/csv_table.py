# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Any table with one row per image; the names of its columns are options.

Folder layout::

    <anything>.csv      an image path, a patient id, and whatever else the options name
    ...                 the images, at those paths relative to the folder of the csv (or to image_dir)

Labels are given in one of two ways: ``label_column`` holds one class name per image (multi-class), or ``label_columns``
names one column per class holding 1, 0, -1 (uncertain) or blank (multi-label, with the policies of
:mod:`monai_cxrssl.data.datalists.label_policy`). Classes keep the names they have in the file; for
spellings of one class, missing values and unknown labels see :mod:`monai_cxrssl.data.sources.tables.label_words`. A
workbook (``.xlsx``) is read like a csv (:mod:`monai_cxrssl.data.sources.tables.table_file`). Values of
``split_column`` are ``training``, ``validation`` or ``test``, or one of their common short names
(:data:`~monai_cxrssl.data.sources.trees.class_names.SPLIT_NAMES`);
without one all items are ``training``.

No folder is recognised as this layout by itself: a patient column must be named by somebody who knows it. Licence and
citation are those of the data.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monai_cxrssl.data.datalists.datalist import Datalist
from monai_cxrssl.data.datalists.rows import refuse_rows
from monai_cxrssl.data.sources.layouts.plain.file_names import known_patients
from monai_cxrssl.data.sources.patients.nobodys import replace_nobodys
from monai_cxrssl.data.sources.tables.label_columns import class_numbers, policy_labels
from monai_cxrssl.data.sources.tables.sex_words import read_sexes
from monai_cxrssl.data.sources.tables.table import build_items, check_unique, column, keep_existing, read_table
from monai_cxrssl.data.sources.tables.table_file import SUFFIXES
from monai_cxrssl.data.sources.trees.class_names import SPLIT_NAMES, split_of_word
from monai_cxrssl.errors import ConfigurationError, DatalistError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["detect", "read"]


def detect(folder: Path) -> bool:
    """Always ``False``: column names cannot be guessed safely."""
    return False


def read(
    folder: Path,
    image_column: str = "image",
    patient_column: str = "patient_id",
    study_column: str | None = None,
    view_column: str | None = None,
    sex_column: str | None = None,
    age_column: str | None = None,
    mask_column: str | None = None,
    split_column: str | None = None,
    label_column: str | None = None,
    label_columns: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    image_dir: str | os.PathLike | None = None,
    name: str | None = None,
    policy: str | float | list | Mapping[str, Any] = "ignore",
    blanks: str = "null",
    seed: int = 0,
    check_files: bool = True,
    allow_absent: bool = False,
    strict_labels: bool = False,
) -> Datalist:
    """Read a table.

    Args:
        folder: the table, or a folder that holds exactly one.
        image_column: paths relative to ``image_dir``, or absolute; of a path that does not exist the only file below
            ``image_dir`` that it may name, by :mod:`monai_cxrssl.data.sources.tables.file_names`.
        patient_column: what tells one patient from all others. In place of values that stand for nobody (``ANONYMOUS``,
            a ``0`` for all) the next best evidence is taken (:mod:`monai_cxrssl.data.sources.patients.nobodys`).
        study_column: what tells one study from all others.
        view_column: PA, AP, LL ..., taken over in capitals.
        sex_column: M, F or O, or a word for it in a common language; others are left out.
        age_column: years.
        mask_column: lung mask paths, relative like images; blank where there is none.
        split_column: see above.
        label_column: one class name per image; blank is unknown. Not together with ``label_columns``.
        label_columns: one column per class.
        classes: the classes of ``label_column`` in label order; by default its values, sorted.
        image_dir: by default the folder of the csv.
        name: of the data set, by default the file's name.
        policy, blanks, seed: see :func:`monai_cxrssl.data.datalists.label_policy.apply_label_policy`; for
            ``label_columns``.
        check_files: look for every image.
        allow_absent: leave absent images out instead of refusing the table.
        strict_labels: refuse labels that nobody foresaw, which are otherwise unknown and named in one warning.

    Raises:
        DatalistError: a column or an image is missing, or a row is wrong (named by its number).
        ConfigurationError: both kinds of label are given.
    """
    if label_column and label_columns:
        raise ConfigurationError("label_column and label_columns are both given; give the one that the csv has.")
    path = _csv_file(Path(folder))
    root = path.parent if image_dir is None else Path(image_dir).expanduser()
    optional = (study_column, view_column, sex_column, age_column, mask_column, split_column, label_column)
    ids = (image_column, patient_column)
    table = read_table(path, (*ids, *filter(None, optional), *(label_columns or ())), filled=ids, kept=classes or ())
    check_unique(path, table, table[image_column].map(os.path.normpath))
    table["image"] = table[image_column]
    if check_files:
        # os.path.join would give an absolute path back as it is; keep_existing puts the folder before every path.
        listed = [os.path.relpath(image, root) if Path(image).is_absolute() else image for image in table[image_column]]
        given = dict(zip(listed, table["image"], strict=True))
        table = keep_existing(path, table, listed, root, allow_absent, anywhere=True)
        table["image"] = [given.get(image, image) for image in table["image"]]
    images, name = table["image"].tolist(), name or path.name.split(".")[0]
    label: Sequence[Any] = [None] * len(table)
    class_names = tuple(label_columns or ())
    if class_names:
        label = policy_labels(path, table, class_names, policy, blanks, images, seed, strict_labels)
    elif label_column:
        label, class_names = class_numbers(path, table, label_column, classes, strict_labels)
    items = build_items(
        images,
        table[patient_column].tolist(),
        name,
        study_id=column(table, study_column or ""),
        view_position=column(table, view_column or "", str.upper),
        lung_mask=column(table, mask_column or ""),
        label=label,
        sex=read_sexes(path, column(table, sex_column or "")),
        age=_ages(path, table, age_column),
    )
    splits: dict[str, list[dict[str, Any]]] = {}
    for split, item in zip(_splits(path, table, split_column), items, strict=True):
        splits.setdefault(split, []).append(item)
    task = "multi_label" if label_columns else "multi_class"
    datalist = Datalist(name=name, classes=class_names, task=task, splits=splits, root=root)
    return replace_nobodys(datalist, known_patients)


def _csv_file(path: Path) -> Path:
    if path.is_file():
        return path
    found = sorted(p for p in path.glob("*") if p.name.lower().endswith(SUFFIXES)) if path.is_dir() else []
    found = [p for p in found if not p.name.startswith((".", "~$"))]
    if len(found) != 1:
        told = ", ".join(p.name for p in found[:5]) or "none"
        raise DatalistError(f"{path} is no table and no folder with exactly one (found: {told}); give the file.")
    return found[0]


def _ages(path: Path, table: pd.DataFrame, age_column: str | None) -> list[Any]:
    if not age_column:
        return [None] * len(table)
    wrong = ~table[age_column].str.fullmatch(r"(\d+([.,]\d*)?)?").astype(bool)
    refuse_rows(path, table.index[wrong], f"{age_column} is no number", "expected years, or blank")
    return column(table, age_column, lambda text: float(text.replace(",", ".")) if text else None)


def _splits(path: Path, table: pd.DataFrame, split_column: str | None) -> list[str]:
    if not split_column:
        return ["training"] * len(table)
    splits = column(table, split_column, split_of_word)
    wrong = table.index[[split is None for split in splits]]
    refuse_rows(path, wrong, f"{split_column} is no split", f"expected one of {', '.join(SPLIT_NAMES)}")
    return splits
