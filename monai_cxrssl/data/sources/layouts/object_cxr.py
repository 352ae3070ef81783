# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Object-CXR: 10,000 frontal images of 300 township hospitals in China, foreign objects outlined.

Folder layout::

    train.csv, dev.csv              image_name (or image_path), annotation
    train/<image_name>              8,000 images
    dev/<image_name>                1,000 images
    test.csv, test/                 1,000 images, as a later release has them

An ``annotation`` is empty, or shapes separated by semicolons: ``0 x1 y1 x2 y2`` is a rectangle, ``1 x1 y1 x2 y2`` an
ellipse by its box, ``2 x1 y1 x2 y2 x3 y3 ...`` a polygon; pixels, from the upper left corner.

Classes (multi-label): ``Foreign Object`` (buttons, jewellery and the like within the lungs; no support devices).

Items: ``patient_id`` (the image's name: who the patients are was not published), ``label``, ``boxes`` (of each shape,
``[x1, y1, x2, y2]``). With ``masks_dir``, images with an object have a ``lesion_mask`` of the shapes themselves. The
official split is kept: train is ``training``, dev ``validation``, test ``test``.

Licence: as stated on the challenge's page.
Citation: JF Healthcare, "Object-CXR: Automatic detection of foreign objects on chest X-rays", MIDL 2020 challenge.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from monai_cxrssl.data.datalists.datalist import Datalist
from monai_cxrssl.data.datalists.masks import polygons_to_mask
from monai_cxrssl.data.sources.tables.label_words import UnknownLabels, is_missing
from monai_cxrssl.data.sources.tables.mask_files import write_masks
from monai_cxrssl.data.sources.tables.table import build_items, has_columns, keep_existing, read_table

__all__ = ["CLASSES", "NAME", "detect", "parse_shapes", "read"]

NAME = "Object-CXR"
CLASSES = ("Foreign Object",)
SPLITS = {"train": "training", "dev": "validation", "test": "test"}
NAMES = ("image_name", "image_path")
RECTANGLE, ELLIPSE, POLYGON = "0", "1", "2"
#: Corners of the polygon that an ellipse is drawn as.
CORNERS = 64


def detect(folder: Path) -> bool:
    """Whether a folder holds a table of shapes beside the folder of its images."""
    folder = Path(folder)
    return any(has_columns(folder / f"{p}.csv", "annotation") and (folder / p).is_dir() for p in SPLITS)


def read(
    folder: Path,
    masks_dir: str | os.PathLike | None = None,
    allow_absent: bool = False,
    strict_labels: bool = False,
) -> Datalist:
    """Read the data set in ``folder``.

    Args:
        folder: holds tables, and beside each the folder of its images.
        masks_dir: a folder to draw the masks into; without it, items have none.
        allow_absent: leave absent images out instead of refusing the table.
        strict_labels: refuse labels that nobody foresaw, which are otherwise unknown and named in one warning.

    Raises:
        DatalistError: a column or an image is missing, or a row is wrong (named by its number).
    """
    folder = Path(folder)
    splits: dict[str, list[dict[str, Any]]] = {}
    for part, split in SPLITS.items():
        path = folder / f"{part}.csv"
        if not path.is_file():
            continue
        key = next((name for name in NAMES if has_columns(path, name)), NAMES[0])
        table = read_table(path, (key, "annotation"), filled=(key,), unique=key)
        shapes = [parse_shapes(text) for text in table["annotation"]]
        expected = "shapes such as '0 x1 y1 x2 y2;2 x1 y1 x2 y2 x3 y3'"
        unknown = UnknownLabels(path, (), strict_labels, "annotation", "annotations", expected)
        for row, text, found in zip(table.index, table["annotation"], shapes, strict=True):
            if found is None:
                unknown.add(text, int(row))
        unknown.tell()
        # The paths of image_path are those of the makers' own disk.
        images = [f"{part}/{text.replace(chr(92), '/').rsplit('/', 1)[-1]}" for text in table[key]]
        table = table.assign(image=images, shapes=shapes)
        table = keep_existing(path, table, images, folder, allow_absent)
        images, found = table["image"].tolist(), table["shapes"].tolist()
        stems = [Path(image).stem for image in images]
        masks = {}
        if masks_dir is not None:
            films = zip(stems, images, found, strict=True)
            draw = {f"{part}_{stem}": partial(_draw, folder / image, each) for stem, image, each in films if each}
            masks = write_masks(masks_dir, folder, draw)
        splits[split] = build_items(
            images,
            [f"{part}/{stem}" for stem in stems],
            NAME,
            label=[[None if each is None else float(bool(each))] for each in found],
            boxes=[None if each is None else [_box(corners) for corners in each] for each in found],
            lesion_mask=[masks.get(f"{part}_{stem}") for stem in stems],
        )
    content = {"name": NAME, "classes": list(CLASSES), "task": "multi_label", **splits}
    return Datalist.from_dict(content, folder, origin=str(folder))


def parse_shapes(text: str) -> list[np.ndarray] | None:
    """Corners ``(N, 2)`` of each shape of an annotation, ``None`` where it is none.

    Example:
        >>> [corners.tolist() for corners in parse_shapes("0 1 2 3 4")], parse_shapes("0 1 2"), parse_shapes("")
        ([[[1.0, 2.0], [3.0, 2.0], [3.0, 4.0], [1.0, 4.0]]], None, [])
    """
    shapes = []
    for part in "" if is_missing(text) else text.split(";"):
        kind, *rest = part.split() or [""]
        if not kind and not rest:
            continue
        try:
            points = np.array([float(number) for number in rest]).reshape(-1, 2)
        except ValueError:
            return None
        if not np.isfinite(points).all() or kind not in (RECTANGLE, ELLIPSE, POLYGON):
            return None
        if kind != POLYGON:
            if len(points) != 2 or not (points[1] > points[0]).all():
                return None
            points = _closed(kind, *points)
        if len(points) < 3:
            return None
        shapes.append(points)
    return shapes


def _box(corners: np.ndarray) -> list[float]:
    return [*corners.min(0).tolist(), *corners.max(0).tolist()]


def _closed(kind: str, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    if kind == RECTANGLE:
        return np.array([first, [last[0], first[1]], last, [first[0], last[1]]])
    angles = np.arange(CORNERS) * (2 * np.pi / CORNERS)
    return (first + last) / 2 + (last - first) / 2 * np.stack((np.cos(angles), np.sin(angles)), axis=1)


def _draw(film: Path, shapes: list[np.ndarray]) -> np.ndarray:
    from PIL import Image

    with Image.open(film) as image:
        columns, rows = image.size
    return polygons_to_mask([corners.tolist() for corners in shapes], (rows, columns))
