# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""VinDr-PCXR: 9,125 chest X-rays of children of a hospital in Hanoi, findings boxed, diseases named.

Folder layout (PhysioNet ``vindr-pcxr/1.0.0``)::

    train/<image_id>.dicom, test/<image_id>.dicom
    image_labels_train.csv, image_labels_test.csv      image_id, rad_ID, and one column per disease, 0 or 1
    annotations_train.csv, annotations_test.csv        image_id, rad_ID, class_name, x_min, y_min, x_max, y_max

Each image was read by one radiologist. Images may also be named ``.dcm`` or be PNG or JPEG copies.

Classes (multi-label): the 15 of :data:`CLASSES`, under their names in
:mod:`monai_cxrssl.data.datalists.vocabulary` where it has them.

Items: ``patient_id`` (the image_id: the images were made anonymous, so who is the same child is not known), ``label``,
``boxes`` (``[x1, y1, x2, y2]`` in pixels of the DICOM file as stored; ``[]`` without any), for each box its finding in
``box_classes``, and from the DICOM header ``view_position``, ``sex``, ``age``. The official split is kept.

Licence: PhysioNet Restricted Health Data License 1.5.0.
Citation: H. H. Pham, N. H. Nguyen, T. T. Tran et al., "PediCXR: An open, large-scale chest radiograph dataset for
interpretation of common thoracic diseases in children", Scientific Data 2023, doi 10.1038/s41597-023-02102-5.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from monai_cxrssl.data.datalists.datalist import Datalist
from monai_cxrssl.data.datalists.image_names import DICOM_EXTENSIONS, IMAGE_EXTENSIONS, file_extension, image_stem
from monai_cxrssl.data.datalists.rows import refuse_rows
from monai_cxrssl.data.datalists.vocabulary import canonical_pathology
from monai_cxrssl.data.sources.tables.dicom_headers import read_headers
from monai_cxrssl.data.sources.tables.label_columns import policy_labels
from monai_cxrssl.data.sources.tables.table import build_items, has_columns, keep_existing, read_table

__all__ = ["CLASSES", "NAME", "detect", "read"]

logger = logging.getLogger(__name__)

NAME = "VinDr-PCXR"
# fmt: off
# As the tables spell them.
COLUMNS = (
    "No finding", "Bronchitis", "Brocho-pneumonia", "Other disease", "Bronchiolitis", "Situs inversus", "Pneumonia",
    "Pleuro-pneumonia", "Diagphramatic hernia", "Tuberculosis", "Congenital emphysema", "CPAM",
    "Hyaline membrane disease", "Mediastinal tumor", "Lung tumor",
)
SPELLED = {
    "Brocho-pneumonia": "Bronchopneumonia", "Pleuro-pneumonia": "Pleuropneumonia",
    "Diagphramatic hernia": "Diaphragmatic Hernia",
}
# fmt: on
CLASSES = tuple(canonical_pathology(name) or SPELLED.get(name, name) for name in COLUMNS)
SPLITS = {"train": "training", "test": "test"}
CORNERS = ["x_min", "y_min", "x_max", "y_max"]


def detect(folder: Path) -> bool:
    """Whether a folder holds a table of image labels with some of the typical columns."""
    wanted = {"image_id", "Brocho-pneumonia", "Bronchiolitis"}
    return any(has_columns(Path(folder) / f"image_labels_{part}.csv", *wanted) for part in SPLITS)


def read(folder: Path, headers: bool = True, allow_absent: bool = False, strict_labels: bool = False) -> Datalist:
    """Read the data set in ``folder``.

    Args:
        folder: holds the tables and ``train``, ``test`` or both.
        headers: read view, sex and age from the DICOM headers.
        allow_absent: leave absent images out instead of refusing the table.
        strict_labels: refuse labels that nobody foresaw, which are otherwise unknown and named in one warning.

    Raises:
        DatalistError: a column or an image is missing, or a row is wrong (named by its number).
    """
    folder = Path(folder)
    splits: dict[str, list[dict[str, Any]]] = {}
    for part, split in SPLITS.items():
        path = folder / f"image_labels_{part}.csv"
        if not path.is_file():
            continue
        table = read_table(path, ("image_id", *COLUMNS), filled=("image_id",), unique="image_id")
        files = (folder / part).glob("*")
        films = {image_stem(f.name): f.name for f in files if file_extension(f.name) in IMAGE_EXTENSIONS}
        images = [f"{part}/{films[name]}" if name in films else "" for name in table["image_id"]]
        table = keep_existing(path, table.assign(image=images), images, folder, allow_absent)
        names, images = table["image_id"].tolist(), table["image"].tolist()
        boxes = _read_boxes(folder / f"annotations_{part}.csv", names)
        dicom = headers and file_extension(images[0]) not in IMAGE_EXTENSIONS - DICOM_EXTENSIONS
        known: list[dict[str, Any]] = read_headers(folder, images, NAME) if dicom else [{} for _ in images]
        labels = policy_labels(path, table, COLUMNS, "ignore", "null", images, 0, strict_labels)
        items = build_items(images, names, NAME, label=labels)
        splits[split] = [
            header | item | boxes.get(name, {}) for header, item, name in zip(known, items, names, strict=True)
        ]
    content = {"name": NAME, "classes": list(CLASSES), "task": "multi_label", **splits}
    return Datalist.from_dict(content, folder, origin=str(folder))


def _read_boxes(path: Path, images: list[str]) -> dict[str, dict[str, list]]:
    """Fields ``boxes, box_classes`` of each image; none when there is no such table."""
    import numpy as np
    import pandas as pd

    if not path.is_file():
        logger.info("%s: there is no %s, so items have no boxes", NAME, path)
        return {}
    needed = ("image_id", "class_name")
    table = read_table(path, (*needed, *CORNERS), filled=needed)
    blank = (table[CORNERS] == "").all(axis=1)
    numbers = table[CORNERS].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=float)
    usable = np.isfinite(numbers).all(axis=1) & (numbers[:, 2:] > numbers[:, :2]).all(axis=1)
    wrong = table.index[~blank & ~usable]
    refuse_rows(path, wrong, "the box is no box", "expected x_min < x_max and y_min < y_max, or four empty cells")
    fields: dict[str, dict[str, list]] = {image: {"boxes": [], "box_classes": []} for image in images}
    for name, finding, box in zip(table["image_id"][~blank], table["class_name"][~blank],
                                  numbers[~blank.to_numpy()].tolist(), strict=True):  # fmt: skip
        if name in fields:
            fields[name]["boxes"].append(box)
            fields[name]["box_classes"].append(canonical_pathology(finding) or finding)
    return fields
