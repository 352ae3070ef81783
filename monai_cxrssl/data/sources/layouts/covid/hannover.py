# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""COVID-19 image repository of Hannover Medical School: adults over the days of their illness.

Folder layout (``ml-workgroup/covid-19-image-repository``)::

    data.csv
    png/<image_id>.png        (or nii/<image_id>.nii.gz, full size, on request from the makers)

Columns used: ``patient_id, image_id`` (required), ``sex, age, admission_offset, icu_admission_offset,
icu_release_offset, death_offset, projection``. An offset is the days from the image to the event, negative before it.

Items: ``patient_id``, ``study_id`` (patient and day), ``view_position``, ``sex``, ``age`` where published, and
``label``: all images are of patients with COVID-19, class 1 of the covid-chestxray-dataset's three, with which they
mix. ``in_icu`` says whether the patient was in intensive care on the day of the image, where that is known, and
``died`` whether a death is recorded. There is no split: all items are ``training``. Some of the images are part of the
covid-chestxray-dataset, too, under other patient ids: ``audit`` finds equal images.

Licence: CC BY 3.0.
Citation: H. B. Winther, H. Laser et al., "COVID-19 Image Repository", 2020, doi 10.25835/0090041.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from monai_cxrssl.data.datalists.datalist import Datalist
from monai_cxrssl.data.sources.layouts.covid.covid_chestxray import CLASSES
from monai_cxrssl.data.sources.tables.sex_words import read_sexes
from monai_cxrssl.data.sources.tables.table import build_items, column, has_columns, keep_existing, read_table

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CLASSES", "NAME", "detect", "read"]

NAME = "Hannover COVID-19"
TABLE = "data.csv"
PLACES = (("png", ".png"), ("nii", ".nii.gz"), ("nii", ".nii"))
OFFSETS = ("admission_offset", "icu_admission_offset", "icu_release_offset", "death_offset")


def detect(folder: Path) -> bool:
    """Whether a folder holds the table, told by its name and typical columns."""
    return has_columns(Path(folder) / TABLE, "patient_id", "image_id", "admission_offset", "projection")


def read(folder: Path, allow_absent: bool = False) -> Datalist:
    """Read the data set in ``folder``.

    Args:
        folder: holds ``data.csv`` and ``png`` or ``nii``.
        allow_absent: leave absent images out instead of refusing the table.

    Raises:
        DatalistError: a column or an image is missing, or a row is wrong (named by its number).
    """
    folder = Path(folder)
    path = folder / TABLE
    needed = ("patient_id", "image_id")
    table = read_table(path, needed, ("sex", "age", "projection", *OFFSETS), needed, "image_id")
    place, extension = next(((p, e) for p, e in PLACES if any((folder / p).glob(f"*{e}"))), PLACES[0])
    table = table.assign(image=place + "/" + table["image_id"] + extension)
    table = keep_existing(path, table, table["image"].tolist(), folder, allow_absent)
    patients = table["patient_id"].tolist()
    days = column(table, "admission_offset", _number)
    items = build_items(
        table["image"].tolist(),
        patients,
        NAME,
        study_id=[None if d is None else f"{p}-day{0 - d:g}" for p, d in zip(patients, days, strict=True)],
        view_position=column(table, "projection", str.upper),
        label=[CLASSES.index("COVID-19")] * len(table),
        sex=read_sexes(path, column(table, "sex")),
        age=column(table, "age", _number),
        in_icu=_in_icu(table),
        died=[None if d is None else True for d in column(table, "death_offset", _number)],
    )
    content = {"name": NAME, "classes": list(CLASSES), "task": "multi_class", "training": items}
    return Datalist.from_dict(content, folder, origin=str(path))


def _in_icu(table: pd.DataFrame) -> list[Any]:
    """Whether the day of each image, 0, lies between the days of admission to and of release from intensive care."""
    since, until = column(table, "icu_admission_offset", _number), column(table, "icu_release_offset", _number)
    return [None if None in pair else pair[0] <= 0 <= pair[1] for pair in zip(since, until, strict=True)]


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if abs(number) < float("inf") else None
