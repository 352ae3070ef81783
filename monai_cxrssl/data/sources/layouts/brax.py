# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""BRAX: 40,967 chest X-rays of 24,959 studies of a hospital in São Paulo, labelled from reports.

Folder layout (PhysioNet ``brax/1.1.0``)::

    master_spreadsheet_update.csv       (or master_spreadsheet.csv)
    Anonymized_DICOMs/id_<patient>/Study_<UID>/Series_<UID>/image-<UID>.dcm
    images/id_<patient>/Study_<UID>/Series_<UID>/image-<UID>.png

Columns used: ``DicomPath, PngPath, PatientID, AccessionNumber``, the 14 classes of CheXpert (1, 0, -1 for uncertain,
blank for not mentioned), and where there ``PatientSex, PatientAge, ViewPosition``.

Items: ``patient_id``, ``study_id`` (the accession number), ``view_position`` (L is LL), ``sex``, ``age`` in years
("85 or more" is 85), ``label`` with 14 values after the policy of :mod:`monai_cxrssl.data.datalists.label_policy`.
There is no official split: all items are ``training``.

Licence: PhysioNet Credentialed Health Data License 1.5.0.
Citation: E. P. Reis, J. P. Q. de Paiva et al., "BRAX, Brazilian labeled chest x-ray dataset", Scientific Data 2022, doi
10.1038/s41597-022-01608-8.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai_cxrssl.data.datalists.datalist import Datalist
from monai_cxrssl.data.sources.layouts.chexpert import CLASSES
from monai_cxrssl.data.sources.tables.label_columns import policy_labels
from monai_cxrssl.data.sources.tables.sex_words import read_sexes
from monai_cxrssl.data.sources.tables.table import build_items, column, has_columns, keep_existing, read_table
from monai_cxrssl.errors import ConfigurationError

__all__ = ["CLASSES", "NAME", "detect", "read"]

NAME = "BRAX"
TABLES = ("master_spreadsheet_update.csv", "master_spreadsheet.csv")
PATHS = {"png": "PngPath", "dicom": "DicomPath"}
KNOWN = ("PatientSex", "PatientAge", "ViewPosition")
VIEWS = {"L": "LL"}


def detect(folder: Path) -> bool:
    """Whether a folder holds the table with both columns of paths."""
    return any(has_columns(Path(folder) / name, *PATHS.values()) for name in TABLES)


def read(
    folder: Path,
    images: str | None = None,
    policy: str | float | list | Mapping[str, Any] = "ignore",
    blanks: str = "null",
    seed: int = 0,
    check_files: bool = True,
    allow_absent: bool = False,
    strict_labels: bool = False,
) -> Datalist:
    """Read the data set in ``folder``.

    Args:
        folder: holds the table and one or both folders of images.
        images: ``"dicom"`` or ``"png"``; by default DICOM where its folder is there.
        policy: what an uncertain label becomes, see
            :func:`monai_cxrssl.data.datalists.label_policy.apply_label_policy`.
        blanks: ``"null"`` or ``"zero"``: what a class that the report does not mention becomes.
        seed: of policies that draw.
        check_files: look for every image.
        allow_absent: leave absent images out instead of refusing the table.
        strict_labels: refuse labels that nobody foresaw, which are otherwise unknown and named in one warning.

    Raises:
        DatalistError: a column or an image is missing, or a row is wrong (named by its number).
        ConfigurationError: an unknown kind of images.
    """
    folder = Path(folder)
    kind = images or ("dicom" if (folder / "Anonymized_DICOMs").is_dir() else "png")
    if kind not in PATHS:
        raise ConfigurationError(f"images is {images!r}; expected dicom or png.")
    path = next((folder / name for name in TABLES if (folder / name).is_file()), folder / TABLES[0])
    paths = PATHS[kind]
    table = read_table(path, (paths, "PatientID", *CLASSES), ("AccessionNumber", *KNOWN), (paths, "PatientID"), paths)
    if check_files:
        table = keep_existing(path, table, table[paths].tolist(), folder, allow_absent)
    films = table[paths].tolist()
    items = build_items(
        films,
        table["PatientID"].tolist(),
        NAME,
        study_id=column(table, "AccessionNumber"),
        view_position=column(table, "ViewPosition", lambda view: VIEWS.get(view, view)),
        label=policy_labels(path, table, CLASSES, policy, blanks, films, seed, strict_labels),
        sex=read_sexes(path, column(table, "PatientSex")),
        age=column(table, "PatientAge", _years),
    )
    return Datalist(name=NAME, classes=CLASSES, task="multi_label", splits={"training": items}, root=folder)


def _years(text: str) -> float | None:
    """The number that an age begins with ("85 or more", "062Y")."""
    number = re.match(r"\d+(\.\d+)?", text)
    return float(number[0]) if number else None
