# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Figure 1 COVID-19 chest X-rays, one table and one folder.

Folder layout (``agchung/Figure1-COVID-chestxray-dataset``)::

    metadata.csv
    images/<patientid>.jpg        (or .png)

Columns used: ``patientid, finding`` (required), ``offset, sex, age, view``. A ``patientid`` names one image, without
its extension: images of one patient differ by a letter at the end (``COVID-00003a``, ``COVID-00003b``). A finding is
``COVID-19``, ``Pneumonia``, ``No finding`` or blank (unknown).

Items: ``patient_id`` (without the letter), ``study_id`` (patient and ``offset``), ``view_position``, ``label`` by the
three classes of the covid-chestxray-dataset, ``sex``, ``age`` (none for "50+"). There is no split: all items are
``training``. The images are part of COVIDx.

Licence: as stated on the repository's page.
Citation: A. Chung, "Figure 1 COVID-19 Chest X-ray Data Initiative", 2020.
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

NAME = "Figure 1 COVID-19"
TABLE = "metadata.csv"
REQUIRED = ("patientid", "finding")
# It has the columns of the Actualmed table but the one that names the images.
TYPICAL = {"patientid", "finding", "temperature", "pO2 saturation", "artifacts/distortion"}
EXTENSIONS = (".jpg", ".jpeg", ".png")


def detect(folder: Path) -> bool:
    """Whether a folder holds the table, told by its columns and the absence of one that names images."""
    path = Path(folder) / TABLE
    return has_columns(path, *TYPICAL) and not has_columns(path, "imagename", "filename", least=1)


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
    table = read_table(path, REQUIRED, ("offset", "sex", "age", "view"), ("patientid",), "patientid")
    films = {film.stem: film.name for film in (folder / "images").glob("*") if film.suffix.lower() in EXTENSIONS}
    table = table.assign(image=[f"images/{films.get(name, f'{name}.jpg')}" for name in table["patientid"]])
    table = keep_existing(path, table, table["image"].tolist(), folder, allow_absent)
    patients = [re.sub(r"(?<=\d)[a-z]$", "", name) for name in table["patientid"]]
    offsets = column(table, "offset")
    tell_unknown_findings(path, table["finding"], strict_labels)
    items = build_items(
        table["image"].tolist(),
        patients,
        NAME,
        study_id=[day and f"{patient}-day{day}" for patient, day in zip(patients, offsets, strict=True)],
        view_position=column(table, "view", lambda view: VIEWS.get(view.upper(), view)),
        label=column(table, "finding", finding_to_label),
        sex=read_sexes(path, column(table, "sex")),
        age=column(table, "age", lambda text: float(text) if text.replace(".", "", 1).isdigit() else None),
    )
    content = {"name": NAME, "classes": list(CLASSES), "task": "multi_class", "training": items}
    return Datalist.from_dict(content, folder, origin=str(path))
