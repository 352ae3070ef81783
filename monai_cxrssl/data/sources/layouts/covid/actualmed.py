# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Actualmed COVID-19 chest X-rays, one table and one folder.

Folder layout (``agchung/Actualmed-COVID-chestxray-dataset``)::

    metadata.csv
    images/<imagename>

Columns used: ``patientid, finding, imagename`` (required), ``sex, age, view, notes``. The notes end in ``date taken
(YYYYMMDD): 20200313``, the day of the study. A finding is ``COVID-19`` or ``No finding``; blank means inconclusive.

Items: ``patient_id``, ``study_id`` (patient and day), ``view_position``, ``label`` by the three classes of the
covid-chestxray-dataset, ``sex`` and ``age`` where they stand. There is no split: all items are ``training``. The
images are part of COVIDx.

Licence: as stated on the repository's page.
Citation: A. Chung, "Actualmed COVID-19 Chest X-ray Data Initiative", 2020.
"""

from __future__ import annotations

import re
from pathlib import Path

from monai_cxrssl.data.datalists.datalist import Datalist
from monai_cxrssl.data.sources.layouts.covid.covid_chestxray import (
    CLASSES,
    VIEWS,
    finding_to_label,
    tell_unknown_findings,
)
from monai_cxrssl.data.sources.tables.sex_words import read_sexes
from monai_cxrssl.data.sources.tables.table import build_items, column, has_columns, keep_existing, read_table

__all__ = ["CLASSES", "NAME", "detect", "read"]

NAME = "Actualmed COVID-19"
TABLE = "metadata.csv"
REQUIRED = ("patientid", "finding", "imagename")
DAY = re.compile(r"date taken \(YYYYMMDD\): *(\d{8})")


def detect(folder: Path) -> bool:
    """Whether a folder holds the table, told by its name and the column that names the images."""
    return has_columns(Path(folder) / TABLE, *REQUIRED)


def read(folder: Path, allow_absent: bool = False, strict_labels: bool = False) -> Datalist:
    """Read the data set in ``folder``.

    Args:
        folder: holds ``metadata.csv`` and ``images``.
        allow_absent: leave absent images out instead of refusing the table.
        strict_labels: refuse labels that nobody foresaw, which are otherwise unknown and named in one warning.

    Raises:
        DatalistError: a column or an image is missing, or a row is wrong (named by its number).
    """
    folder = Path(folder)
    path = folder / TABLE
    table = read_table(path, REQUIRED, ("sex", "age", "view", "notes"), ("patientid", "imagename"), "imagename")
    table = table.assign(image="images/" + table["imagename"])
    table = keep_existing(path, table, table["image"].tolist(), folder, allow_absent)
    patients = table["patientid"].tolist()
    days = [DAY.search(note or "") for note in column(table, "notes")]
    tell_unknown_findings(path, table["finding"], strict_labels)
    items = build_items(
        table["image"].tolist(),
        patients,
        NAME,
        study_id=[day and f"{patient}-{day[1]}" for patient, day in zip(patients, days, strict=True)],
        view_position=column(table, "view", lambda view: VIEWS.get(view.upper(), view)),
        label=column(table, "finding", finding_to_label),
        sex=read_sexes(path, column(table, "sex")),
        age=column(table, "age", lambda text: float(text) if text.replace(".", "", 1).isdigit() else None),
    )
    content = {"name": NAME, "classes": list(CLASSES), "task": "multi_class", "training": items}
    return Datalist.from_dict(content, folder, origin=str(path))
