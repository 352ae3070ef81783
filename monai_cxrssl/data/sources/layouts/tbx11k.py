# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""TBX11K: 11,200 chest X-rays, healthy, sick or with tuberculosis, its areas boxed.

Folder layout (``TBX11K``; the folder above it is recognised too)::

    imgs/health/h0001.png               and imgs/sick/s0001.png, imgs/tb/tb0003.png
    imgs/test/...                       (labels not public: left out)
    imgs/extra/...                      (DA, DB, Montgomery and Shenzhen once more: left out)
    lists/TBX11K_train.txt              one path below imgs per line
    lists/TBX11K_val.txt
    annotations/json/TBX11K_train.json  boxes in COCO form; optional, see below
    annotations/json/TBX11K_val.json

Classes (multi-label): :data:`CLASSES`. A healthy image is 1 for ``No Finding`` and 0 for the rest; a sick one (another
disease) is 0 for all; one with tuberculosis is 1 for ``Tuberculosis``, and 1 or 0 for ``Active Tuberculosis`` and
``Latent Tuberculosis`` (``ObsoletePulmonaryTuberculosis``) after its boxes. Where the boxes leave that open (none, or
one that is only called ``PulmonaryTuberculosis``), the two are unknown unless a box names them.

Items: ``patient_id`` (the file's name: who the patients are was not published), ``label``, ``boxes``
(``[x1, y1, x2, y2]`` in pixels of the image, 512 x 512; ``[]`` for healthy and sick images) and the class of each box
in ``box_classes``; an image with tuberculosis and no box has neither, which means unknown. The official split is kept:
``training`` and ``validation``.

Licence: non-commercial research, on the authors' terms.
Citation: Y. Liu, Y.-H. Wu, Y. Ban, H. Wang, M.-M. Cheng, "Rethinking Computer-Aided Tuberculosis Diagnosis", CVPR 2020.
"""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path
from typing import Any

from monai_cxrssl.data.datalists.datalist import Datalist
from monai_cxrssl.data.datalists.vocabulary import canonical_pathology
from monai_cxrssl.data.sources.tables.label_words import UnknownLabels
from monai_cxrssl.data.sources.tables.line_list import check_unique_lines, keep_existing_lines, read_lines
from monai_cxrssl.errors import DatalistError

__all__ = ["CLASSES", "NAME", "detect", "read"]

logger = logging.getLogger(__name__)

NAME = "TBX11K"
CLASSES = ("No Finding", "Active Tuberculosis", "Latent Tuberculosis", "Tuberculosis")
CATEGORIES = ("ActiveTuberculosis", "ObsoletePulmonaryTuberculosis", "PulmonaryTuberculosis")
SPLITS = {"train": "training", "val": "validation"}
FOLDERS = ("health", "sick", "tb")

_Boxes = dict[str, list[tuple[list[float], str]]]


def detect(folder: Path) -> bool:
    """Whether a folder, or ``TBX11K`` in it, holds the lists of the official split."""
    return _top(Path(folder)) is not None


def read(folder: Path, allow_absent: bool = False, strict_labels: bool = False) -> Datalist:
    """Read the data set in ``folder``.

    Args:
        folder: holds ``imgs`` and ``lists``, or ``TBX11K`` with them.
        allow_absent: leave absent images out instead of refusing the list.
        strict_labels: refuse labels that nobody foresaw, which are otherwise unknown and named in one warning.

    Raises:
        DatalistError: an image is missing, a line of a list is wrong (named by its number), or an annotation file is no
            COCO file or has a box that is none (named by its id).
    """
    top = _top(Path(folder))
    if top is None:
        raise DatalistError(f"{folder} holds no lists/TBX11K_train.txt; expected the folder TBX11K as it is published.")
    splits: dict[str, list[dict[str, Any]]] = {}
    for part, split in SPLITS.items():
        path = top / "lists" / f"TBX11K_{part}.txt"
        if not path.is_file():
            continue
        numbers, names = map(list, zip(*read_lines(path), strict=True))
        unknown = UnknownLabels(path, FOLDERS, strict_labels, "image of a kind", "images of kinds")
        for name in names:
            if name.split("/")[0] not in FOLDERS:
                unknown.add(name.split("/")[0] if "/" in name else "", name)
        unknown.tell()
        check_unique_lines(path, numbers, names)
        images = [f"imgs/{name}" for name in names]
        kept = keep_existing_lines(path, numbers, images, top, allow_absent)
        boxes = _read_boxes(top / "annotations" / "json" / f"TBX11K_{part}.json", strict_labels)
        splits[split] = [_item(image, names[n], boxes.get(names[n], [])) for n, image in kept.items()]
    content = {"name": NAME, "classes": list(CLASSES), "task": "multi_label", **splits}
    return Datalist.from_dict(content, top, origin=str(top))


def _top(folder: Path) -> Path | None:
    lists = [f"lists/TBX11K_{part}.txt" for part in SPLITS]
    return next((top for top in (folder, folder / "TBX11K") if any((top / name).is_file() for name in lists)), None)


def _item(image: str, name: str, boxes: list[tuple[list[float], str]]) -> dict[str, Any]:
    kind = name.split("/")[0]
    item: dict[str, Any] = {"image": image, "patient_id": Path(name).stem, "source": NAME}
    if kind in ("health", "sick"):
        return item | {"label": [float(kind == "health"), 0.0, 0.0, 0.0], "boxes": [], "box_classes": []}
    found = {category for _, category in boxes}
    if kind != "tb":
        item["label"] = None
        return item | (
            {"boxes": [box for box, _ in boxes], "box_classes": [category for _, category in boxes]} if boxes else {}
        )
    # Without a box, or with one that tells neither, what no box names is unknown and not absent.
    other = None if not found or not found <= set(CLASSES[1:3]) else 0.0
    item["label"] = [0.0, *(1.0 if category in found else other for category in CLASSES[1:3]), 1.0]
    if boxes:
        item |= {"boxes": [box for box, _ in boxes], "box_classes": [category for _, category in boxes]}
    return item


def _read_boxes(path: Path, strict: bool) -> _Boxes:
    """Corners and class of the boxes of each image of a COCO file; none when there is no such file."""
    if not path.is_file():
        logger.info("%s: there is no %s, so active and latent tuberculosis are unknown", NAME, path)
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        images = {image["id"]: image["file_name"] for image in content["images"]}
        categories = {category["id"]: category["name"] for category in content["categories"]}
        annotations = [(one["id"], one["image_id"], one["category_id"], one["bbox"]) for one in content["annotations"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatalistError(
            f"{path} is no COCO file with images, categories and annotations ({type(error).__name__}: {error}); copy "
            "the data set's own file there again, or remove it to go without boxes."
        ) from error
    boxes: _Boxes = {}
    unknown = UnknownLabels(path, CATEGORIES, strict, "category of an annotation", "categories of annotations")
    for number, image, category, box in annotations:
        name = categories.get(category)
        if name not in CATEGORIES:
            unknown.add(str(name or ""), f"annotation {number}")
        if image not in images or not _is_box(box):
            raise DatalistError(
                f"{path}: annotation {number} has the image {image!r} and the bbox {box!r}; expected an image of the "
                "file and [x, y, width, height] with a width and height above 0."
            )
        x, y, width, height = map(float, box)
        canonical = (
            "Tuberculosis" if name == "PulmonaryTuberculosis" else canonical_pathology(str(name)) or str(name or "")
        )
        boxes.setdefault(images[image], []).append(([x, y, x + width, y + height], canonical))
    unknown.tell()
    return boxes


def _is_box(box: Any) -> bool:
    sides = box if isinstance(box, list) and len(box) == 4 else [None]
    return all(isinstance(side, int | float) and math.isfinite(side) for side in sides) and min(sides[2:]) > 0
