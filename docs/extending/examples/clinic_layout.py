# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""A layout of one's own: images of a clinic, one folder per patient, and a table of what was found.

Folder layout::

    findings.csv                         columns image, person, finding
    films/<person>/<image>                DICOM, PNG ...

Classes (multi-class): 0 ``No Finding`` (finding ``none``), 1 ``Pneumonia``. There is no split.

Licence: of the clinic. Citation: none.
"""

from __future__ import annotations

from pathlib import Path

from monai_cxrssl.data import Datalist
from monai_cxrssl.data.sources.tables import label_columns, table

__all__ = ["CLASSES", "NAME", "detect", "read"]

NAME = "Clinic"
CLASSES = ("No Finding", "Pneumonia")
FINDINGS = ("none", "pneumonia")


def detect(folder: Path) -> bool:
    """Whether ``folder`` holds the table with its own columns; cheap, because every layout is asked."""
    return {"film", "person", "finding"} <= set(table.read_header(Path(folder) / "findings.csv"))


def read(folder: Path, check_files: bool = True, allow_absent: bool = False, strict_labels: bool = False) -> Datalist:
    """Read the images of ``folder``.

    Raises:
        DatalistError: a column, a person or an image is missing, or with ``strict_labels`` a finding is no known
            word.
    """
    folder = Path(folder)
    path = folder / "findings.csv"
    # In other tables "none" means that nothing is known.
    rows = table.read_table(path, ("film", "person", "finding"), filled=("film", "person"), kept=FINDINGS)
    rows["image"] = "films/" + rows["person"] + "/" + rows["film"]
    table.check_unique(path, rows, rows["image"])
    if check_files:
        rows = table.keep_existing(path, rows, rows["image"].tolist(), folder, allow_absent)
    labels, _ = label_columns.class_numbers(path, rows, "finding", FINDINGS, strict_labels)
    items = table.build_items(rows["image"].tolist(), rows["person"].tolist(), NAME, label=labels)
    return Datalist(name=NAME, classes=CLASSES, task="multi_class", splits={"training": items}, root=folder)
