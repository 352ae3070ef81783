# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""ChestX-ray14: 112,120 frontal chest X-rays of 30,805 patients of the NIH Clinical Center, labelled from reports.

Folder layout::

    Data_Entry_2017_v2020.csv, or the earlier Data_Entry_2017.csv, or sample_labels.csv of Kaggle's random sample
    train_val_list.txt, test_list.txt      official split, one image name per line (86,524 and 25,596; optional)
    BBox_List_2017.csv                     984 boxes of 8 findings (optional)
    images/00000001_000.png, or images_001/images/00000001_000.png ..., or anywhere else below

Columns: ``Image Index, Finding Labels, Patient ID`` (required), ``Follow-up #, Patient Age, Patient Gender, View
Position`` (optional). ``Finding Labels`` holds names joined by ``|``, or ``No Finding``.

Classes: the 14 findings (:data:`CLASSES`, named as in :mod:`monai_cxrssl.data.datalists.vocabulary`: ``Effusion`` is
``Pleural Effusion``), 1 where named and 0 where not; "No Finding" is 0 throughout. Beside a name that is none of them,
what is not named is unknown.

Items: ``patient_id``, ``study_id`` (patient and follow-up number), ``view_position`` (PA, AP), ``sex``, ``age`` in
years (``058Y``, ``013M`` and ``005D`` of the earlier file are converted; over 120 is taken for unknown), ``boxes``
(``[[x1, y1, x2, y2], ...]`` in pixels of the original 1024 x 1024 image) and ``box_classes``, their findings. Images of
``train_val_list.txt`` are ``training``, of ``test_list.txt`` ``test``; with one of the lists alone, all others belong
to the other split; without lists all are ``training``.

Licence: free use with a link to the NIH download site, the citation and an acknowledgement of the NIH Clinical Center.
Citation: X. Wang, Y. Peng, L. Lu, Z. Lu, M. Bagheri, R. M. Summers, "ChestX-ray8: Hospital-scale Chest X-ray Database
and Benchmarks on Weakly-Supervised Classification and Localization of Common Thorax Diseases", CVPR 2017,
arXiv 1705.02315.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monai_cxrssl.data.datalists.datalist import Datalist
from monai_cxrssl.data.datalists.rows import refuse_rows
from monai_cxrssl.data.datalists.vocabulary import canonical_pathology
from monai_cxrssl.data.sources.tables.label_words import UnknownLabels
from monai_cxrssl.data.sources.tables.line_list import read_lines
from monai_cxrssl.data.sources.tables.sex_words import read_sexes
from monai_cxrssl.data.sources.tables.table import build_items, column, has_columns, keep_existing, read_table
from monai_cxrssl.data.sources.trees.walk import find_images
from monai_cxrssl.errors import DatalistError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CLASSES", "NAME", "detect", "read"]

logger = logging.getLogger(__name__)

NAME = "ChestX-ray14"
# fmt: off
CLASSES = (
    "Atelectasis", "Cardiomegaly", "Pleural Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax",
    "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural Thickening", "Hernia",
)
# fmt: on
TABLES = ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv", "sample_labels.csv")
REQUIRED = ("Image Index", "Finding Labels", "Patient ID")
OPTIONAL = ("Follow-up #", "Patient Age", "Patient Gender", "View Position")
BOXES = "BBox_List_2017.csv"
# The header writes "Bbox [x,y,w,h]" without quotes, so it falls into four columns.
BOX_COLUMNS = ("Image Index", "Finding Label", "Bbox [x", "y", "w", "h]")
LISTS = {"train_val_list.txt": "training", "test_list.txt": "test"}
YEARS = {"Y": 1.0, "": 1.0, "M": 1 / 12, "D": 1 / 365.25}
OLDEST = 120


def detect(folder: Path) -> bool:
    """Whether a folder holds one of :data:`TABLES` with at least two of its required columns."""
    return any(has_columns(Path(folder) / name, *REQUIRED, least=2) for name in TABLES)


def read(folder: Path, check_files: bool = True, allow_absent: bool = False, strict_labels: bool = False) -> Datalist:
    """Read the data set in ``folder``.

    Args:
        folder: holds one of :data:`TABLES`; of several the first is taken.
        check_files: look for every image; without it they are taken to lie in ``images/``.
        allow_absent: leave absent images out instead of refusing the table.
        strict_labels: refuse labels that nobody foresaw, which are otherwise unknown and named in one warning.

    Raises:
        DatalistError: a column, an image or an official list's row is missing, or a row is wrong (named by its
            number).
    """
    folder = Path(folder)
    path = next((folder / name for name in TABLES if (folder / name).is_file()), folder / TABLES[0])
    table = read_table(path, REQUIRED, OPTIONAL, filled=(REQUIRED[0], REQUIRED[2]), unique="Image Index")
    _check_findings(path, table, strict_labels)
    names = table["Image Index"]
    if check_files:
        found, again = find_images(folder, names)
        if again:
            told = f"{again} images lie in several folders; the first folder in sorted order is taken"
            logger.warning("%s: %s", folder, told)
        images = [found.get(name, name) for name in names]
        table = keep_existing(path, table, images, folder, allow_absent, anywhere=True)
    else:
        table = table.assign(image="images/" + names)
    patients, followups = table["Patient ID"].tolist(), column(table, "Follow-up #")
    boxes, box_classes = _boxes(folder, strict_labels)
    items = build_items(
        table["image"].tolist(),
        patients,
        NAME,
        study_id=[number and f"{patient}-{number}" for patient, number in zip(patients, followups, strict=True)],
        view_position=column(table, "View Position", str.upper),
        # A list of its own for each image: items are handed out to be changed.
        label=[label and list(label) for label in column(table, "Finding Labels", _label)],
        sex=read_sexes(path, column(table, "Patient Gender", str)),
        age=column(table, "Patient Age", _age),
        boxes=[boxes.get(name) for name in table["Image Index"]],
        box_classes=[box_classes.get(name) for name in table["Image Index"]],
    )
    splits: dict[str, list[dict[str, Any]]] = {"training": [], "test": []}
    for split, item in zip(_splits(folder, path, table), items, strict=True):
        splits[split].append(item)
    return Datalist(name=NAME, classes=CLASSES, task="multi_label", splits=splits, root=folder)


def _check_findings(path: Path, table: pd.DataFrame, strict: bool) -> None:
    unknown = UnknownLabels(path, (*CLASSES, "No Finding"), strict)
    for text in table["Finding Labels"].unique():
        parts = [part.strip() for part in text.split("|")]
        rows = table.index[table["Finding Labels"] == text]
        for part in _unknown_parts(text):
            unknown.add(part, *rows)
        if len(parts) > 1 and "No Finding" in map(canonical_pathology, parts):
            refuse_rows(path, rows, f"Finding Labels is {text!r}, a finding and none", "correct it")
    unknown.tell()


def _unknown_parts(text: str) -> list[str]:
    return [part.strip() for part in text.split("|") if canonical_pathology(part) not in (*CLASSES, "No Finding")]


def _label(text: str) -> list[float | None] | None:
    named = {canonical_pathology(part) for part in text.split("|")}
    # What an unknown word means may be any of the classes that are not named.
    rest = None if _unknown_parts(text) else 0.0
    label = [1.0 if name in named else rest for name in CLASSES]
    return None if all(value is None for value in label) else label


def _age(text: str) -> float | None:
    match = re.fullmatch(r"(\d+)([YMD]?)", text.upper())
    if match is None:
        return None
    years = int(match[1]) * YEARS[match[2]]
    return round(years, 2) if years <= OLDEST else None


def _splits(folder: Path, path: Path, table: pd.DataFrame) -> list[str]:
    listed: dict[str, str] = {}
    present = [name for name in LISTS if (folder / name).is_file()]
    for name in present:
        for number, image in read_lines(folder / name):
            if listed.setdefault(image, LISTS[name]) != LISTS[name]:
                raise DatalistError(
                    f"{folder / name}, line {number}: {image} is in {present[0]}, too; remove it from one of the lists."
                )
    if not present:
        return ["training"] * len(table)
    rest = {"training": "test", "test": "training"}[LISTS[present[0]]] if len(present) == 1 else None
    splits = [listed.get(name, rest) for name in table["Image Index"]]
    lacking = table.index[[split is None for split in splits]]
    problem = f"the image is in neither {' nor '.join(LISTS)}"
    refuse_rows(path, lacking, problem, "add it to one of them, or remove both lists")
    return [str(split) for split in splits]


def _boxes(folder: Path, strict: bool) -> tuple[dict[str, list[list[float]]], dict[str, list[str]]]:
    """Boxes (x1, y1, x2, y2) and their findings, per image name."""
    path = folder / BOXES
    if not path.is_file():
        return {}, {}
    boxes = read_table(path, BOX_COLUMNS)
    names = [name if (name := canonical_pathology(text)) in CLASSES else text for text in boxes["Finding Label"]]
    unknown = UnknownLabels(path, CLASSES, strict, "class of a box", "classes of boxes")
    for row, name in zip(boxes.index, names, strict=True):
        if name not in CLASSES:
            unknown.add(name, row)
    unknown.tell()
    import pandas as pd

    corners = boxes[list(BOX_COLUMNS[2:])].apply(pd.to_numeric, errors="coerce")
    bad = ~((corners.iloc[:, :2] >= 0).all(axis=1) & (corners.iloc[:, 2:] > 0).all(axis=1))
    refuse_rows(path, boxes.index[bad], "the box is no x, y, width, height in pixels", "correct the four numbers")
    corners.iloc[:, 2:] += corners.iloc[:, :2].to_numpy()
    boxes = boxes.assign(box=corners.to_numpy().tolist(), name=names)
    of_image = boxes.groupby("Image Index")
    return of_image["box"].agg(list).to_dict(), of_image["name"].agg(list).to_dict()
