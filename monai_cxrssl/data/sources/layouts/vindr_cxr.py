# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""VinDr-CXR: 18,000 PA images of two hospitals in Hanoi, each read and boxed by radiologists.

Folder layout (PhysioNet ``vindr-cxr/1.0.0``)::

    train/<image_id>.dicom                  15,000 images, each read by 3 of 17 radiologists
    test/<image_id>.dicom                   3,000 images, the consensus of 5 radiologists
    annotations/image_labels_train.csv      image_id, rad_id, and one column per class, 0 or 1
    annotations/image_labels_test.csv       the same without rad_id
    annotations/annotations_train.csv       image_id, rad_id, class_name, x_min, y_min, x_max, y_max
    annotations/annotations_test.csv        the same without rad_id

or of the VinBigData competition on Kaggle, and its copies as PNG (``train`` alone has labels)::

    train/<image_id>.dicom                  or PNG, JPEG
    train.csv                               image_id, class_name, rad_id, x_min, y_min, x_max, y_max, and in copies
                                            width, height of the DICOM file

Images may also be named ``.dcm``, or be PNG, JPEG ..., then anywhere below. The tables do not tell the size of the
DICOM files, so boxes are taken for a PNG or JPEG only where it has more than 1,024 rows and columns and holds them all:
smaller ones were reduced. With ``width`` and ``height`` boxes are scaled to the image instead. Images that lose their
boxes are counted. Rows of ``annotations_*.csv`` without coordinates (``No finding``) are no boxes.

Classes (multi-label): the 28 of :data:`CLASSES`, 22 local findings and 6 global ones, under their names in
:mod:`monai_cxrssl.data.datalists.vocabulary` (``Enlarged PA`` is ``Enlarged Pulmonary Artery``, ``ILD`` is
``Interstitial Lung Disease``, ``Pulmonary fibrosis`` is ``Fibrosis``, ``No finding`` is ``No Finding`` ...). Where the
readers of an image disagree, ``votes`` decides: ``majority`` (at least half of them), ``any`` (one is enough) or
``fraction`` (their share, 0 to 1). The competition's table tells 14 findings and ``No Finding``, of the others nothing.

Items: ``patient_id`` (the image_id: the images were made anonymous, so who is the same person is not known), ``label``,
``boxes`` (``[x1, y1, x2, y2]`` in pixels of the DICOM file as stored, whose size the tables do not tell; all readers'
boxes, not merged; ``[]`` without any) and for each box its class in ``box_classes`` and its reader in ``box_readers``
(left out for the test images). The official split is kept: ``training`` and ``test``.

Licence: PhysioNet Credentialed Health Data License 1.5.0.
Citation: H. Q. Nguyen, K. Lam, L. T. Le et al., "VinDr-CXR: An open dataset of chest X-rays with radiologist's
annotations", Scientific Data 2022, doi 10.1038/s41597-022-01498-w.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monai_cxrssl.data.datalists.datalist import Datalist
from monai_cxrssl.data.datalists.image_names import DICOM_EXTENSIONS, file_extension
from monai_cxrssl.data.datalists.label_policy import labels_to_lists
from monai_cxrssl.data.datalists.rows import refuse_rows
from monai_cxrssl.data.datalists.vocabulary import canonical_pathology
from monai_cxrssl.data.sources.tables.label_columns import report_labels
from monai_cxrssl.data.sources.tables.label_words import UnknownLabels
from monai_cxrssl.data.sources.tables.table import (
    build_items,
    check_unique,
    has_columns,
    keep_existing,
    read_header,
    read_table,
)
from monai_cxrssl.data.sources.trees.converted_films import find_films, raster_size
from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.files import ordered_map

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CLASSES", "NAME", "VOTES", "detect", "read"]

logger = logging.getLogger(__name__)

NAME = "VinDr-CXR"
# fmt: off
COLUMNS = (
    "Aortic enlargement", "Atelectasis", "Calcification", "Cardiomegaly", "Clavicle fracture", "Consolidation", "Edema",
    "Emphysema", "Enlarged PA", "ILD", "Infiltration", "Lung Opacity", "Lung cavity", "Lung cyst", "Mediastinal shift",
    "Nodule/Mass", "Pleural effusion", "Pleural thickening", "Pneumothorax", "Pulmonary fibrosis", "Rib fracture",
    "Other lesion", "COPD", "Lung tumor", "Pneumonia", "Tuberculosis", "Other diseases", "No finding",
)
# fmt: on
CLASSES = tuple(canonical_pathology(name) or name for name in COLUMNS)
# fmt: off
COMPETITION = (
    "Aortic enlargement", "Atelectasis", "Calcification", "Cardiomegaly", "Consolidation", "ILD", "Infiltration",
    "Lung Opacity", "Nodule/Mass", "Other lesion", "Pleural effusion", "Pleural thickening", "Pneumothorax",
    "Pulmonary fibrosis", "No finding",
)
# fmt: on
COMPETITION_TABLE = "train.csv"
VOTES = ("majority", "any", "fraction")
SPLITS = {"train": "training", "test": "test"}
# Images are larger; copies for training have at most this many rows or columns.
REDUCED_SIDE = 1024
CORNERS = ["x_min", "y_min", "x_max", "y_max"]


def detect(folder: Path) -> bool:
    """Whether a folder holds a table of image labels, or the competition's, with some of the typical columns."""
    wanted = ("image_id", "Aortic enlargement", "ILD")
    if any(has_columns(_labels_path(Path(folder), part), *wanted) for part in SPLITS):
        return True
    return has_columns(Path(folder) / COMPETITION_TABLE, "image_id", "class_name", "rad_id", "x_min")


def read(folder: Path, votes: str = "majority", allow_absent: bool = False, strict_labels: bool = False) -> Datalist:
    """Read the data set in ``folder``.

    Args:
        folder: holds ``annotations`` and ``train``, ``test`` or both; or ``train.csv`` and ``train``.
        votes: ``"majority"``, ``"any"`` or ``"fraction"``, see above.
        allow_absent: leave absent images out instead of refusing the table.
        strict_labels: refuse labels that nobody foresaw, which are otherwise unknown and named in one warning.

    Raises:
        DatalistError: a column or an image is missing, or a row is wrong (named by its number).
        ConfigurationError: an unknown way to count votes.
    """
    if votes not in VOTES:
        raise ConfigurationError(f"votes is {votes!r}; expected one of {', '.join(VOTES)}.")
    folder = Path(folder)
    if not any(_labels_path(folder, part).is_file() for part in SPLITS):
        return _read_competition(folder, votes, allow_absent, strict_labels)
    splits: dict[str, list[dict[str, Any]]] = {}
    for part, split in SPLITS.items():
        path = _labels_path(folder, part)
        if not path.is_file():
            continue
        table, classes = _read_votes(path, part == "train", strict_labels)
        first = table[~table["image_id"].duplicated()]
        first = first.assign(image=find_films(folder, part, first["image_id"]))
        first = keep_existing(path, first, first["image"].tolist(), folder, allow_absent)
        share = table[classes].groupby(table["image_id"], sort=False).mean().loc[first["image_id"]]
        values = _decided(share, votes)
        names = first["image_id"].tolist()
        boxes_path = folder / "annotations" / f"annotations_{part}.csv"
        boxes = _read_boxes(boxes_path, names, part == "train", strict_labels)
        items = build_items(first["image"].tolist(), names, NAME, label=labels_to_lists(values.to_numpy()))
        _fit_boxes(folder, dict(zip(names, first["image"], strict=True)), boxes, {})
        splits[split] = [item | boxes.get(name, {}) for item, name in zip(items, names, strict=True)]
    content = {"name": NAME, "classes": list(CLASSES), "task": "multi_label", **splits}
    return Datalist.from_dict(content, folder, origin=str(folder / "annotations"))


def _read_competition(folder: Path, votes: str, allow_absent: bool, strict: bool) -> Datalist:
    path = folder / COMPETITION_TABLE
    ids = ("image_id", "class_name", "rad_id")
    table = read_table(path, (*ids, *CORNERS), ("width", "height"), filled=ids)
    first = table[~table["image_id"].duplicated()]
    first = first.assign(image=find_films(folder, "train", first["image_id"]))
    first = keep_existing(path, first, first["image"].tolist(), folder, allow_absent)
    names = first["image_id"].tolist()
    boxes = _read_boxes(path, names, True, strict)
    readings = table[["image_id", "rad_id"]].assign(finding=table["class_name"].map(canonical_pathology))
    counts = readings.drop_duplicates().groupby("image_id")["finding"].value_counts().unstack(fill_value=0)
    share = counts.div(readings.groupby("image_id")["rad_id"].nunique(), axis=0).loc[names]
    told = share.reindex(columns=[canonical_pathology(name) for name in COMPETITION], fill_value=0.0)
    values = _decided(told, votes).reindex(columns=list(CLASSES))
    sizes = {}
    if {"width", "height"} <= set(first.columns):
        sizes = {n: (float(w), float(h)) for n, w, h in zip(names, first["width"], first["height"], strict=True)}
    _fit_boxes(folder, dict(zip(names, first["image"], strict=True)), boxes, sizes)
    items = build_items(first["image"].tolist(), names, NAME, label=labels_to_lists(values.to_numpy()))
    items = [item | boxes.get(name, {}) for item, name in zip(items, names, strict=True)]
    content = {"name": NAME, "classes": list(CLASSES), "task": "multi_label", "training": items}
    return Datalist.from_dict(content, folder, origin=str(path))


def _decided(share: pd.DataFrame, votes: str) -> pd.DataFrame:
    """Labels of the share of readers, NaN where none of them says anything."""
    voted = (share >= 0.5 if votes == "majority" else share > 0).astype(float)
    return share if votes == "fraction" else voted.where(share.notna())


def _fit_boxes(
    folder: Path, images: dict[str, str], boxes: dict[str, dict[str, list]], sizes: dict[str, tuple[float, float]]
) -> None:
    """Scale boxes to converted images where the DICOM file's columns and rows are known, else take those of reduced
    ones away; in place."""
    reduced = 0
    converted = {
        name: folder / image
        for name, image in images.items()
        if boxes.get(name, {}).get("boxes") and file_extension(image) not in DICOM_EXTENSIONS
    }
    for name, size in zip(converted, ordered_map(raster_size, converted.values(), name="sizes"), strict=True):
        if size is None:
            continue
        corners = boxes[name]["boxes"]
        if name in sizes:
            scale = 2 * (size[0] / sizes[name][0], size[1] / sizes[name][1])
            boxes[name]["boxes"] = [[side * by for side, by in zip(box, scale, strict=True)] for box in corners]
        elif min(size) <= REDUCED_SIDE or any(box[2] > size[0] or box[3] > size[1] for box in corners):
            del boxes[name]
            reduced += 1
    if reduced:
        told = f"{reduced} images are PNG or JPEG whose size differs from the DICOM file's; they get no boxes"
        logger.warning("%s: %s", folder, told)


def _labels_path(folder: Path, part: str) -> Path:
    return folder / "annotations" / f"image_labels_{part}.csv"


def _read_votes(path: Path, readers: bool, strict: bool) -> tuple[pd.DataFrame, list[str]]:
    """The table with votes of 1, 0 and NaN, and its columns of classes in the order of :data:`CLASSES`."""
    # The train and the test table differ in "Other disease" and "Other diseases".
    spelled = {canonical_pathology(name): name for name in read_header(path)}
    classes = [spelled.get(name, column) for name, column in zip(CLASSES, COLUMNS, strict=True)]
    who = ["image_id", "rad_id"] if readers else ["image_id"]
    table = read_table(path, (*who, *classes), filled=who)
    check_unique(path, table, table[who].agg(" of ".join, axis=1), "image" if not readers else "reading")
    values = report_labels(path, table, tuple(classes), strict)
    # An uncertain vote is none.
    values[values == -1] = float("nan")
    return table.assign(**dict(zip(classes, values.T, strict=True))), classes


def _read_boxes(path: Path, images: list[str], readers: bool, strict: bool) -> dict[str, dict[str, list]]:
    """Fields ``boxes, box_classes, box_readers`` of each image; none when there is no such table."""
    import numpy as np
    import pandas as pd

    if not path.is_file():
        logger.info("%s: there is no %s, so items have no boxes", NAME, path)
        return {}
    ids = ("image_id", "class_name")
    table = read_table(path, (*ids, *(("rad_id",) if readers else ()), *CORNERS), filled=ids[:1])
    # A box of a class that nobody foresaw keeps the word.
    names = {name: canonical_pathology(name) or name for name in table["class_name"].unique()}
    unknown = UnknownLabels(path, CLASSES, strict, "class of a box", "classes of boxes")
    for name in (name for name, entry in names.items() if entry not in CLASSES):
        unknown.add(name, *table.index[table["class_name"] == name])
    unknown.tell()
    blank = (table[CORNERS] == "").all(axis=1)
    numbers = table[CORNERS].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=float)
    usable = np.isfinite(numbers).all(axis=1) & (numbers[:, 2:] > numbers[:, :2]).all(axis=1)
    wrong = table.index[~blank & ~usable]
    refuse_rows(path, wrong, "the box is no box", "expected x_min < x_max and y_min < y_max, or four empty cells")
    # The same reader sometimes drew the same box twice.
    kept = (~blank & ~table.duplicated() & table["image_id"].isin(images)).to_numpy()
    keys = ("boxes", "box_classes", "box_readers") if readers else ("boxes", "box_classes")
    fields: dict[str, dict[str, list]] = {image: {key: [] for key in keys} for image in images}
    for (_, row), box in zip(table[kept].iterrows(), numbers[kept].tolist(), strict=True):
        entry = fields[row["image_id"]]
        entry["boxes"].append(box)
        entry["box_classes"].append(names[row["class_name"]])
        if readers:
            entry["box_readers"].append(row["rad_id"])
    return fields
