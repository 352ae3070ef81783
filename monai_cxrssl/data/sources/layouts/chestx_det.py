# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""ChestX-Det: 3,578 images of ChestX-ray14 with 13 findings boxed and outlined by three radiologists.

Folder layout (Deepwise)::

    ChestX_Det_train.json, ChestX_Det_test.json     a list of {file_name, syms, boxes, polygons}
    train_data/<file_name>, test_data/<file_name>   (or train/, test/; also one level below)

Entry ``n`` of ``boxes`` (``[x1, y1, x2, y2]``) and ``polygons`` (``[[x, y], ...]``) is of the finding ``syms[n]``. Its
forerunner ChestX-Det10 has the same form without polygons, in ``train.json`` and ``test.json``.

Classes (multi-label): the 13 of :data:`CLASSES`; a finding that is not named is negative.

Items: ``patient_id`` (the file's name, which is the makers' own: who the patients of ChestX-ray14 are is not told, so a
split cannot be known to be patient-disjoint, nor disjoint from ChestX-ray14), ``label``, ``boxes`` and for each its
class in ``box_classes``. With ``masks_dir``, images with a polygon have a ``lesion_mask`` of all findings. The official
split is kept.

Licence: as stated on the repository's page; images of ChestX-ray14 (NIH Clinical Center).
Citation: J. Lian, J. Liu et al., "A Structure-Aware Relation Network for Thoracic Diseases Detection and Segmentation",
IEEE Transactions on Medical Imaging 2021, arXiv 2104.10326.
"""

from __future__ import annotations

import json
import logging
import os
from functools import partial
from pathlib import Path
from typing import Any

from monai_cxrssl.data.datalists.datalist import Datalist
from monai_cxrssl.data.datalists.masks import polygons_to_mask
from monai_cxrssl.data.datalists.vocabulary import canonical_pathology
from monai_cxrssl.data.sources.tables.label_columns import known_class
from monai_cxrssl.data.sources.tables.label_words import UnknownLabels
from monai_cxrssl.data.sources.tables.mask_files import write_masks
from monai_cxrssl.errors import DatalistError

__all__ = ["CLASSES", "NAME", "detect", "read"]

logger = logging.getLogger(__name__)

NAME = "ChestX-Det"
# fmt: off
SYMS = (
    "Atelectasis", "Calcification", "Cardiomegaly", "Consolidation", "Diffuse Nodule", "Effusion", "Emphysema",
    "Fibrosis", "Fracture", "Mass", "Nodule", "Pleural Thickening", "Pneumothorax",
)
# fmt: on
CLASSES = tuple(canonical_pathology(name) or name for name in SYMS)
SPLITS = {"train": "training", "test": "test"}
TABLE, FORERUNNER = "ChestX_Det_{}.json", "{}.json"


def detect(folder: Path) -> bool:
    """Whether a folder holds a list of annotated images, told by its beginning."""
    return any(_table(Path(folder), part) is not None for part in SPLITS)


def read(
    folder: Path,
    masks_dir: str | os.PathLike | None = None,
    allow_absent: bool = False,
    strict_labels: bool = False,
) -> Datalist:
    """Read the data set in ``folder``.

    Args:
        folder: holds the lists and the folders of images.
        masks_dir: a folder to draw the masks into; without it, items have none.
        allow_absent: leave absent images out instead of refusing the list.
        strict_labels: refuse labels that nobody foresaw, which are otherwise unknown and named in one warning.

    Raises:
        DatalistError: a list cannot be read, an entry is not of this form, or an image is missing.
    """
    folder = Path(folder)
    splits: dict[str, list[dict[str, Any]]] = {}
    for part, split in SPLITS.items():
        path = _table(folder, part)
        if path is None:
            continue
        films: dict[str, Path] = {}
        for place in (folder / f"{part}_data", folder / f"{part}_data" / part, folder / part):
            films |= {film.name: film for film in place.glob("*.png")}
        entries = _entries(path)
        absent = [entry["file_name"] for entry in entries if entry["file_name"] not in films]
        if absent and (not allow_absent or len(absent) == len(entries)):
            raise DatalistError(
                f"{path} lists {len(absent)} images that are not in {part}_data or {part} beside it (such as "
                f"{absent[0]}); put the images there, or leave such entries out with allow_absent=True (index: "
                "--allow_absent)."
            )
        if absent:
            logger.warning("%s: %d listed images are absent, such as %s; left out", path, len(absent), absent[0])
        kept = [entry for entry in entries if entry["file_name"] in films]
        masks = {}
        if masks_dir is not None:
            draw = {
                f"{part}_{Path(e['file_name']).stem}": partial(_draw, films[e["file_name"]], e["polygons"])
                for e in kept if e.get("polygons")
            }  # fmt: skip
            masks = write_masks(masks_dir, folder, draw)
        _tell_unknown(path, kept, strict_labels)
        splits[split] = [_item(entry, films[entry["file_name"]], folder, part, masks) for entry in kept]
    content = {"name": NAME, "classes": list(CLASSES), "task": "multi_label", **splits}
    return Datalist.from_dict(content, folder, origin=str(folder))


def _table(folder: Path, part: str) -> Path | None:
    """The list of a part. Other data sets have a train.json, too, so that one is told by its first keys."""
    path, older = folder / TABLE.format(part), folder / FORERUNNER.format(part)
    if path.is_file():
        return path
    if older.is_file():
        with older.open("rb") as stream:
            return older if b'"syms"' in stream.read(4096) else None
    return None


def _entries(path: Path) -> list[dict[str, Any]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatalistError(f"{path} cannot be read as JSON ({error}); download it again.") from error
    for number, entry in enumerate(content if isinstance(content, list) else [None]):
        name, syms, boxes = map(entry.get, ("file_name", "syms", "boxes")) if isinstance(entry, dict) else (None,) * 3
        if not (
            isinstance(name, str) and isinstance(syms, list) and isinstance(boxes, list) and len(syms) == len(boxes)
        ):
            raise DatalistError(
                f"{path}, entry {number} (counted from 0) has no file_name, syms and as many boxes; expected the data "
                "set's own list."
            )
    return content


def _tell_unknown(path: Path, entries: list[dict[str, Any]], strict: bool) -> None:
    unknown = UnknownLabels(path, SYMS, strict, "finding", "findings")
    for entry in entries:
        for name in entry["syms"]:
            if known_class(SYMS, str(name)) is None:
                unknown.add(str(name), entry["file_name"])
    unknown.tell()


def _item(entry: dict[str, Any], film: Path, folder: Path, part: str, masks: dict[str, str]) -> dict[str, Any]:
    numbers = {str(name): known_class(SYMS, str(name)) for name in entry["syms"]}
    # A word that nobody foresaw may stand for any class that is not named.
    other = None if None in numbers.values() else 0.0
    label = [1.0 if number in numbers.values() else other for number in range(len(SYMS))]
    item = {
        "image": film.relative_to(folder).as_posix(),
        "patient_id": f"{part}/{film.stem}",
        "source": NAME,
        "label": label,
        "boxes": entry["boxes"],
        "box_classes": [_class_of(str(name), numbers) for name in entry["syms"]],
    }
    mask = masks.get(f"{part}_{film.stem}")
    return item if mask is None else item | {"lesion_mask": mask}


def _class_of(name: str, numbers: dict[str, int | None]) -> str:
    number = numbers[name]
    return name if number is None else CLASSES[number]


def _draw(film: Path, polygons: list[list[list[float]]]) -> Any:
    from PIL import Image

    with Image.open(film) as image:
        columns, rows = image.size
    return polygons_to_mask(polygons, (rows, columns))
