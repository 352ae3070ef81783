# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Tree of the two tuberculosis sets of the National Library of Medicine.

Kaggle has both in one folder (``Lung Segmentation/CXR_png``, ``masks``); each layout reads those of its own prefix.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from monai_cxrssl.data.datalists.datalist import Datalist
from monai_cxrssl.data.sources.tables.label_words import UnknownLabels
from monai_cxrssl.errors import DatalistError
from monai_cxrssl.files import ordered_map

__all__ = ["CLASSES", "MASKS", "find_top", "read_top"]

logger = logging.getLogger(__name__)

CLASSES = ("No Finding", "Tuberculosis")
FILMS = "CXR_png"
READINGS = "ClinicalReadings"
# Where masks of both data sets lie in copies of them.
MASKS = ("mask", "masks", "mask/mask")


def find_top(folder: Path, archive: str, prefix: str) -> Path | None:
    """The folder that holds ``CXR_png`` with images of a prefix: ``folder`` or the one its archive unpacks to."""
    for top in (Path(folder), Path(folder) / archive):
        if next((top / FILMS).glob(f"{prefix}_*.png"), None) is not None:
            return top
    return None


def read_top(
    folder: Path,
    archive: str,
    prefix: str,
    name: str,
    find_mask: Callable[[Path, str], str | list[str] | None],
    parse_reading: Callable[[str], dict[str, Any]],
    strict_labels: bool = False,
) -> Datalist:
    """Read one of the two data sets.

    Args:
        folder: what the user points at.
        archive: the folder that the archive unpacks to.
        prefix: of the images' names.
        name: of the data set.
        find_mask: gives the mask of an image's stem, relative to the folder of ``CXR_png``.
        parse_reading: gives ``sex`` and ``age`` of a clinical reading's text, as far as it tells them.
        strict_labels: refuse labels that nobody foresaw, which are otherwise unknown and named in one warning.

    Raises:
        DatalistError: there is no image, or one has a name without a number, or one lung mask of two.
    """
    top = find_top(folder, archive, prefix)
    if top is None:
        raise DatalistError(f"{Path(folder) / FILMS} holds no image named {prefix}_<number>_<label>.png.")
    items: list[dict[str, Any]] = []
    unknown = UnknownLabels(top / FILMS, ("0", "1"), strict_labels, "label of a file name", "labels of file names")
    films = sorted((top / FILMS).glob(f"{prefix}_*.png"))

    def files_beside(film: Path) -> tuple[Any, str | None]:
        reading = top / READINGS / f"{film.stem}.txt"
        text = reading.read_text(encoding="utf-8-sig", errors="replace") if reading.is_file() else None
        return find_mask(top, film.stem), text

    for film, (mask, text) in zip(films, ordered_map(files_beside, films, name="readings"), strict=True):
        parts = re.fullmatch(rf"({prefix}_\d+)(?:_(.*))?", film.stem)
        if parts is None:
            raise DatalistError(
                f"{film} has a name without a number; expected {prefix}_<number>_0.png (normal) or "
                f"{prefix}_<number>_1.png (tuberculosis), so correct the name or remove the file."
            )
        item = {"image": f"{FILMS}/{film.name}", "patient_id": parts[1], "source": name}
        if parts[2] in ("0", "1"):
            item["label"] = int(parts[2])
        else:
            unknown.add(parts[2] or "", item["image"])
        if mask is not None:
            item["lung_mask"] = mask
        if text is not None:
            item |= parse_reading(text)
        items.append(item)
    unknown.tell()
    bare = sum("lung_mask" not in item for item in items)
    if bare:
        logger.info("%s: %d of %d images have no lung mask", name, bare, len(items))
    content = {"name": name, "classes": list(CLASSES), "task": "multi_class", "training": items}
    return Datalist.from_dict(content, top, origin=str(top))
