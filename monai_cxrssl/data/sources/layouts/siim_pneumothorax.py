# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""SIIM-ACR Pneumothorax: 12,047 frontal images of ChestX-ray14 with pneumothoraces outlined.

Folder layout (the Kaggle competition ``siim-acr-pneumothorax-segmentation``)::

    train-rle.csv                                          (stage 2: stage_2_train.csv)
    dicom-images-train/<study>/<series>/<ImageId>.dcm
    dicom-images-test/<study>/<series>/<ImageId>.dcm       (labels not public: left out)

The table has the columns ``ImageId, EncodedPixels``, one row per outlined region; ``-1`` means no pneumothorax.

Classes (multi-label): ``Pneumothorax`` alone, for an image without one may show anything else.

Items: ``label``, and from the DICOM header ``patient_id`` (the image's name where there is none), ``view_position``,
``sex``, ``age``. Who of the images belong to one person is not known, so a split cannot be known to be
patient-disjoint, nor disjoint from ChestX-ray14. With ``masks_dir``, images with a pneumothorax have a ``lesion_mask``.
There is no public split: all items are ``training``.

Licence: the competition's rules (non-commercial); images of ChestX-ray14 (NIH Clinical Center).
Citation: A. Zawacki, C. Wu, G. Shih et al., "SIIM-ACR Pneumothorax Segmentation", Kaggle 2019.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

from monai_cxrssl.data.datalists.datalist import Datalist
from monai_cxrssl.data.datalists.masks import merge_masks, rle_decode
from monai_cxrssl.data.sources.tables.dicom_headers import read_headers
from monai_cxrssl.data.sources.tables.mask_files import read_runs, write_masks
from monai_cxrssl.data.sources.tables.table import build_items, has_columns, keep_existing, read_table

__all__ = ["CLASSES", "NAME", "detect", "read"]

NAME = "SIIM-ACR Pneumothorax"
CLASSES = ("Pneumothorax",)
TABLES = ("stage_2_train.csv", "train-rle.csv")
COLUMNS = ("ImageId", "EncodedPixels")
#: Rows and columns of every image.
SHAPE = (1024, 1024)


def detect(folder: Path) -> bool:
    """Whether a folder holds the table of run lengths, told by its name and columns."""
    return any(has_columns(Path(folder) / name, *COLUMNS) for name in TABLES)


def read(
    folder: Path,
    masks_dir: str | os.PathLike | None = None,
    headers: bool = True,
    allow_absent: bool = False,
    strict_labels: bool = False,
) -> Datalist:
    """Read the data set in ``folder``.

    Args:
        folder: holds a table of run lengths and a folder of DICOM files at any depth below.
        masks_dir: a folder to draw the masks into; without it, items have none.
        headers: read the DICOM headers.
        allow_absent: leave absent images out instead of refusing the table.
        strict_labels: refuse labels that nobody foresaw, which are otherwise unknown and named in one warning.

    Raises:
        DatalistError: a column or an image is missing, or a run length is wrong.
    """
    folder = Path(folder)
    path = next(folder / name for name in TABLES if (folder / name).is_file())
    table = read_table(path, COLUMNS, filled=("ImageId",))
    first = table[~table["ImageId"].duplicated()]
    files = {film.stem: film.relative_to(folder).as_posix() for film in folder.rglob("*.dcm")}
    first = first.assign(image=[files.get(name, "") for name in first["ImageId"]])
    first = keep_existing(path, first, first["image"].tolist(), folder, allow_absent)
    names, images = first["ImageId"].tolist(), first["image"].tolist()
    outlined = read_runs(path, table, "ImageId", strict_labels)
    masks = {}
    if masks_dir is not None:
        draw = {name: partial(_draw, texts) for name in names if (texts := outlined[name])}
        masks = write_masks(masks_dir, folder, draw)
    known: list[dict[str, Any]] = read_headers(folder, images, NAME) if headers else [{} for _ in images]
    items = build_items(
        images,
        [header.pop("patient_id", name) for header, name in zip(known, names, strict=True)],
        NAME,
        label=[[None if (texts := outlined[name]) is None else float(bool(texts))] for name in names],
        lesion_mask=[masks.get(name) for name in names],
    )
    items = [item | header for item, header in zip(items, known, strict=True)]
    content = {"name": NAME, "classes": list(CLASSES), "task": "multi_label", "training": items}
    return Datalist.from_dict(content, folder, origin=str(path))


def _draw(runs: list[str]) -> Any:
    return merge_masks(*(rle_decode(run, SHAPE, "siim") for run in runs))
