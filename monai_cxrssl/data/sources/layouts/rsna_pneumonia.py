# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""RSNA Pneumonia Detection Challenge: 26,684 labelled frontal images of ChestX-ray14, opacities boxed.

Folder layout (stage 2 of the Kaggle competition ``rsna-pneumonia-detection-challenge``)::

    stage_2_train_labels.csv
    stage_2_detailed_class_info.csv
    stage_2_train_images/<patientId>.dcm     (or PNG, JPEG ...; then anywhere below)
    stage_2_test_images/<patientId>.dcm      (labels not public: left out)

``stage_2_train_labels.csv`` has the columns ``patientId, x, y, width, height, Target``: one row per box, or one with an
empty box and Target 0. ``stage_2_detailed_class_info.csv`` has ``patientId, class``, also once per box.

Classes (multi-class): :data:`CLASSES`, where ``Normal`` is called ``No Finding`` as in
:mod:`monai_cxrssl.data.datalists.vocabulary`. ``No Lung Opacity / Not Normal`` is any other abnormality. For pneumonia
against the rest, ``Lung Opacity`` is the positive class.

Items: ``patient_id`` (patientId, which names one image: the challenge hides who of its images belong to one person, so
a split by it cannot be known to be patient-disjoint, nor disjoint from ChestX-ray14), ``label``, ``boxes``
(``[x1, y1, x2, y2]`` in pixels of the DICOM file as stored, 1024 x 1024, or of the PNG or JPEG made of it; ``[]``
without opacity), and from the DICOM header, where there is one, ``view_position``, ``sex``, ``age``. There is no public
split: all items are ``training``.

Licence: the competition's rules (non-commercial research and education); images of ChestX-ray14 (NIH Clinical Center).
Citation: G. Shih, C. C. Wu et al., "Augmenting the National Institutes of Health Chest Radiograph Dataset with Expert
Annotations of Possible Pneumonia", Radiology: Artificial Intelligence 2019, doi 10.1148/ryai.2019180041.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monai_cxrssl.data.datalists.datalist import Datalist
from monai_cxrssl.data.datalists.image_names import DICOM_EXTENSIONS, file_extension
from monai_cxrssl.data.datalists.rows import refuse_rows
from monai_cxrssl.data.datalists.vocabulary import canonical_pathology
from monai_cxrssl.data.sources.tables.dicom_headers import read_headers
from monai_cxrssl.data.sources.tables.label_columns import class_numbers, report_labels
from monai_cxrssl.data.sources.tables.label_words import truth_value
from monai_cxrssl.data.sources.tables.table import build_items, check_unique, has_columns, keep_existing, read_table
from monai_cxrssl.data.sources.trees.converted_films import find_films, raster_size
from monai_cxrssl.files import ask_all

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CLASSES", "NAME", "detect", "read"]

logger = logging.getLogger(__name__)

NAME = "RSNA Pneumonia"
KINDS = ("Normal", "Lung Opacity", "No Lung Opacity / Not Normal")
CLASSES = tuple(canonical_pathology(kind) or kind for kind in KINDS)
LABELS = "stage_2_train_labels.csv"
DETAILS = "stage_2_detailed_class_info.csv"
FILMS = "stage_2_train_images"
SIDES = ["x", "y", "width", "height"]
# Rows and columns of every image.
SIDE = 1024


def detect(folder: Path) -> bool:
    """Whether a folder holds the table of boxes, told by its name and a column."""
    return has_columns(Path(folder) / LABELS, "patientId")


def read(folder: Path, headers: bool = True, allow_absent: bool = False, strict_labels: bool = False) -> Datalist:
    """Read the data set in ``folder``.

    Args:
        folder: holds the table of boxes, that of classes (without it only images with boxes have a label), the images.
        headers: read view, sex and age from the DICOM headers (about a millisecond per image).
        allow_absent: leave absent images out instead of refusing the table.
        strict_labels: refuse labels that nobody foresaw, which are otherwise unknown and named in one warning.

    Raises:
        DatalistError: a table, a column or an image is missing, or a row is wrong (named by its number).
    """
    folder = Path(folder)
    path, details = folder / LABELS, folder / DETAILS
    table = read_table(path, ("patientId", *SIDES, "Target"), filled=("patientId",))
    boxes = _boxes(path, table, strict_labels)
    if details.is_file():
        kinds = _kinds(details, strict_labels)
        _check_agreement(path, table, kinds)
    else:
        kinds = {patient: KINDS.index("Lung Opacity") if found else None for patient, found in boxes.items()}
        told = f"{sum(kind is None for kind in kinds.values())} images without an opacity have no label"
        logger.warning("%s: there is no %s, which tells normal from other images; %s", folder, DETAILS, told)
    films = table[~table["patientId"].duplicated()].copy()
    films["image"] = find_films(folder, FILMS, films["patientId"])
    films = keep_existing(path, films, films["image"].tolist(), folder, allow_absent)
    images, patients = films["image"].tolist(), films["patientId"].tolist()
    label = [kinds[patient] for patient in patients]
    places = [(folder / image, boxes[patient]) for image, patient in zip(images, patients, strict=True)]
    shown = ask_all(lambda place: _on_grid_of(*place), places)
    items = build_items(images, patients, NAME, label=label, boxes=shown)
    dicom = [number for number, image in enumerate(images) if file_extension(image) in DICOM_EXTENSIONS]
    if headers:
        known: list[dict[str, Any]] = read_headers(folder, [images[number] for number in dicom], NAME)
        for number, header in zip(dicom, known, strict=True):
            items[number] = header | items[number]
    content = {"name": NAME, "classes": list(CLASSES), "task": "multi_class", "training": items}
    return Datalist.from_dict(content, folder, origin=str(path))


def _kinds(path: Path, strict: bool) -> dict[str, int | None]:
    """Class number of each image, ``None`` where unknown."""
    table = read_table(path, ("patientId", "class"), filled=("patientId",))
    numbers, _ = class_numbers(path, table, "class", KINDS, strict)
    known = table.assign(number=numbers).dropna()
    distinct = known.drop_duplicates(["patientId", "number"])
    again = distinct.index[distinct["patientId"].duplicated()]
    refuse_rows(path, again, "the image has another class in an earlier row", "leave one class for each image")
    kinds: dict[str, int | None] = dict.fromkeys(table["patientId"])
    return kinds | {patient: int(n) for patient, n in zip(distinct["patientId"], distinct["number"], strict=True)}


def _boxes(path: Path, table: pd.DataFrame, strict: bool) -> dict[str, list[list[float]] | None]:
    """Boxes of each image as corners, ``None`` where its Target is unknown."""
    import numpy as np
    import pandas as pd

    targets = report_labels(path, table, ("Target",), strict)[:, 0]
    positive, negative = (pd.Series(targets == value, index=table.index) for value in (1, 0))
    blank = (table[SIDES] == "").all(axis=1)
    numbers = table[SIDES].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=float)
    usable = np.isfinite(numbers).all(axis=1) & (numbers[:, 2:] > 0).all(axis=1)
    refuse_rows(path, table.index[positive & ~usable], "Target is 1 without a box", "expected x, y, width, height > 0")
    refuse_rows(path, table.index[negative & ~blank], "Target is 0 with a box", "expected empty x, y, width, height")
    check_unique(path, table, table[["patientId", *SIDES]].agg(" ".join, axis=1).str.strip(), "image or box")
    boxes: dict[str, list[list[float]] | None] = {patient: [] for patient in table["patientId"]}
    boxes |= dict.fromkeys(table["patientId"][~positive & ~negative])
    corners = np.concatenate((numbers[:, :2], numbers[:, :2] + numbers[:, 2:]), axis=1)
    for patient, box in zip(table["patientId"][positive], corners[positive.to_numpy()].tolist(), strict=True):
        known = boxes[patient]
        if known is not None:
            known.append(box)
    return boxes


def _on_grid_of(path: Path, boxes: list[list[float]] | None) -> list[list[float]] | None:
    """Boxes in the pixels of an image that was made of the DICOM file, perhaps smaller."""
    if not boxes or file_extension(path.name) in DICOM_EXTENSIONS or (size := raster_size(path)) is None:
        return boxes
    return [[value * side / SIDE for value, side in zip(box, 2 * size, strict=True)] for box in boxes]


def _check_agreement(path: Path, table: pd.DataFrame, kinds: dict[str, int | None]) -> None:
    """Both tables speak of the same images and call the same ones opaque."""
    unlisted = table.index[~table["patientId"].isin(list(kinds))]
    refuse_rows(path, unlisted, f"the image is not in {DETAILS}", "add it there or remove the row")
    numbers = table["patientId"].map(kinds)
    known = numbers.notna() & table["Target"].map(truth_value).isin([0, 1])
    disagree = table.index[
        known & ((numbers == KINDS.index("Lung Opacity")) != (table["Target"].map(truth_value) == 1))
    ]
    problem = f"Target and the class in {DETAILS} disagree"
    refuse_rows(path, disagree, problem, "expected Target 1 for Lung Opacity only")
