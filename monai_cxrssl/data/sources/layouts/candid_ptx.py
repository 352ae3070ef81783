# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""CANDID-PTX: 19,237 chest X-rays of a hospital in Dunedin, with pneumothoraces, rib fractures and chest tubes.

Folder layout (University of Otago, figshare)::

    Pneumothorax_reports.csv        SOPInstanceUID, EncodedPixels, Report
    chest_tube.csv                  anon_SOPUID, annotation_ref, mask_rle
    acute_rib_fracture.csv          the same columns      (or Rib_fracture_mask_rle.csv)
    dataset/<SOPInstanceUID>        DICOM, with or without the extension .dcm; or PNG or JPEG copies in any folder

A row is one outlined region; ``-1`` in ``EncodedPixels`` means no pneumothorax. An image that a table of the other two
does not name has no such finding. Free-text reports are not read.

Classes (multi-label): ``Pneumothorax``, ``Rib Fracture`` (acute), ``Chest Tube``; the latter two are unknown where
their table is missing.

Items: ``label``, and from the DICOM header ``patient_id``, ``view_position``, ``sex``, ``age``; where the header
names no patient, the table's ``PatientID``, else its ``StudyInstanceUID``, else the image stands for its own. With
``masks_dir``, images with a pneumothorax have a ``lesion_mask``. There is no official split: all items are
``training``.

Licence: on request, after training in research ethics (non-commercial).
Citation: S. Feng, D. Azzollini et al., "Curation of the CANDID-PTX Dataset with Free-Text Reports", Radiology:
Artificial Intelligence 2021, doi 10.1148/ryai.2021210136.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

from monai_cxrssl.data.datalists.datalist import Datalist
from monai_cxrssl.data.datalists.image_names import DICOM_EXTENSIONS, IMAGE_EXTENSIONS, file_extension, image_stem
from monai_cxrssl.data.datalists.masks import merge_masks, rle_decode
from monai_cxrssl.data.sources.tables.dicom_headers import read_headers
from monai_cxrssl.data.sources.tables.mask_files import read_runs, write_masks
from monai_cxrssl.data.sources.tables.table import build_items, column, has_columns, keep_existing, read_table

__all__ = ["CLASSES", "NAME", "detect", "read"]

NAME = "CANDID-PTX"
CLASSES = ("Pneumothorax", "Rib Fracture", "Chest Tube")
TABLE = "Pneumothorax_reports.csv"
COLUMNS = ("SOPInstanceUID", "EncodedPixels")
OTHERS = {
    "Rib Fracture": ("acute_rib_fracture.csv", "Rib_fracture_mask_rle.csv"),
    "Chest Tube": ("chest_tube.csv", "Chest_tube_mask_rle.csv"),
}
SHAPE = (1024, 1024)


def detect(folder: Path) -> bool:
    """Whether a folder holds the table of pneumothoraces, told by its name and columns."""
    return has_columns(Path(folder) / TABLE, *COLUMNS)


def read(
    folder: Path,
    masks_dir: str | os.PathLike | None = None,
    convention: str = "siim",
    headers: bool = True,
    allow_absent: bool = False,
    strict_labels: bool = False,
) -> Datalist:
    """Read the data set in ``folder``.

    Args:
        folder: holds the tables, and the images at any depth below.
        masks_dir: a folder to draw the masks of pneumothoraces into; without it, items have none.
        convention: of the run lengths, see :mod:`monai_cxrssl.data.datalists.masks`; the makers' tables are taken to
            follow SIIM-ACR's, which was not tried on the data: look at some masks.
        headers: read the DICOM headers.
        allow_absent: leave absent images out instead of refusing the table.
        strict_labels: refuse labels that nobody foresaw, which are otherwise unknown and named in one warning.

    Raises:
        DatalistError: a column or an image is missing, or a run length is wrong.
    """
    folder = Path(folder)
    path = folder / TABLE
    table = read_table(path, COLUMNS, ("StudyInstanceUID", "PatientID"), ("SOPInstanceUID",))
    first = table[~table["SOPInstanceUID"].duplicated()]
    files = _files(folder, set(first["SOPInstanceUID"]))
    first = first.assign(image=[files.get(name, "") for name in first["SOPInstanceUID"]])
    first = keep_existing(path, first, first["image"].tolist(), folder, allow_absent)
    names, images = first["SOPInstanceUID"].tolist(), first["image"].tolist()
    outlined = read_runs(path, table, "SOPInstanceUID", strict_labels)
    masks = {}
    if masks_dir is not None:
        draw = {name: partial(_draw, texts, convention) for name in names if (texts := outlined[name])}
        masks = write_masks(masks_dir, folder, draw)
    named = [_named(folder, OTHERS[name]) for name in CLASSES[1:]]
    label = [
        [None if (found := outlined[name]) is None else float(bool(found)), *(_among(name, each) for each in named)]
        for name in names
    ]
    dicom = headers and file_extension(images[0]) not in IMAGE_EXTENSIONS - DICOM_EXTENSIONS
    known: list[dict[str, Any]] = read_headers(folder, images, NAME) if dicom else [{} for _ in images]
    patients, studies = column(first, "PatientID"), column(first, "StudyInstanceUID")
    items = build_items(
        images,
        [
            header.pop("patient_id", None) or patient or study or name
            for header, patient, study, name in zip(known, patients, studies, names, strict=True)
        ],
        NAME,
        study_id=studies,
        label=label,
        lesion_mask=[masks.get(name) for name in names],
    )
    items = [item | header for item, header in zip(items, known, strict=True)]
    content = {"name": NAME, "classes": list(CLASSES), "task": "multi_label", "training": items}
    return Datalist.from_dict(content, folder, origin=str(path))


def _files(folder: Path, names: set[str]) -> dict[str, str]:
    """Paths of the named images."""
    files: dict[str, str] = {}
    for file in sorted(folder.rglob("*")):
        if image_stem(file.name) in names and file.is_file():
            files.setdefault(image_stem(file.name), file.relative_to(folder).as_posix())
    return files


def _named(folder: Path, tables: tuple[str, ...]) -> set[str] | None:
    """The images that a table names; ``None`` where there is no such table."""
    path = next((folder / name for name in tables if (folder / name).is_file()), None)
    if path is None:
        return None
    return set(read_table(path, ("anon_SOPUID",), filled=("anon_SOPUID",))["anon_SOPUID"])


def _among(name: str, named: set[str] | None) -> float | None:
    return None if named is None else float(name in named)


def _draw(runs: list[str], convention: str) -> Any:
    return merge_masks(*(rle_decode(run, SHAPE, convention) for run in runs))
