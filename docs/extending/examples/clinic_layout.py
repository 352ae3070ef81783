# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""A layout of one's own: films of a clinic, one folder per patient, and a table of what was found.

Folder layout::

    findings.csv                         columns film, person, finding
    films/<person>/<film>                DICOM, PNG ...

Classes (multi-class): 0 ``No Finding`` (finding ``none``), 1 ``Pneumonia``. There is no split.

Licence: of the clinic. Citation: none.
"""

from __future__ import annotations

from pathlib import Path

from monai_cxrssl.data import Datalist
from monai_cxrssl.data.sources.tables import table

__all__ = ["CLASSES", "NAME", "detect", "read"]

NAME = "Clinic"
CLASSES = ("No Finding", "Pneumonia")
FINDINGS = {"none": 0, "pneumonia": 1, "": None}


def detect(folder: Path) -> bool:
    """Whether ``folder`` holds the table with its own columns; cheap, because every layout is asked."""
    return {"film", "person", "finding"} <= set(table.read_header(Path(folder) / "findings.csv"))


def read(folder: Path, check_files: bool = True, allow_absent: bool = False) -> Datalist:
    """Read the films of ``folder``.

    Raises:
        DatalistError: a column, a person or a film is missing, or a finding is none of the known words.
    """
    folder = Path(folder)
    path = folder / "findings.csv"
    rows = table.read_table(path, required=("film", "person", "finding"))
    table.check_filled(path, rows, "film", "person")
    unknown = rows.index[~rows["finding"].isin(FINDINGS)]
    table.refuse_rows(path, unknown, "the finding is not known", f"expected one of {', '.join(filter(None, FINDINGS))}")
    rows["image"] = "films/" + rows["person"] + "/" + rows["film"]
    table.check_unique(path, rows, rows["image"])
    if check_files:
        rows = table.keep_existing(path, rows, rows["image"].tolist(), folder, allow_absent)
    labels = table.column(rows, "finding", FINDINGS.__getitem__)
    items = table.build_items(rows["image"].tolist(), rows["person"].tolist(), NAME, label=labels)
    return Datalist(name=NAME, classes=CLASSES, task="multi_class", splits={"training": items}, root=folder)
