# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""JSRT: 247 digitised PA images of the Japanese Society of Radiological Technology, 154 with one lung nodule.

Folder layout::

    All247images/JPCLN001.IMG       154 images with a nodule
    All247images/JPCNN001.IMG       93 without
    fold1/masks/left lung/JPCLN001.gif, .../right lung/JPCLN001.gif     (optional: SCR, in fold1 and fold2)

The images may also lie in the folder itself, or apart in ``Nodule154images`` and ``NonNodule93images``. They are raw
(:mod:`monai_cxrssl.data.reading.jsrt_img`). The folds of the SCR lung outlines may also lie in ``scratch``, ``scr`` or
``scr/scratch``; where a mask is there both as the GIF that is published and as a PNG made of it, the PNG is taken.

Classes (multi-label, one class): ``Nodule``, from the file's name. Items: ``patient_id`` (the file's name: one image
per patient), ``view_position`` PA, ``label``, ``lung_mask`` (``[left, right]``, which the readers of this package
merge). There is no split: all items are ``training``.

Licence: free for research after registration; SCR likewise.
Citation: J. Shiraishi, S. Katsuragawa et al., "Development of a Digital Image Database for Chest Radiographs With and
Without a Lung Nodule", AJR 2000; SCR: B. van Ginneken, M. B. Stegmann, M. Loog, "Segmentation of anatomical structures
in chest radiographs using supervised methods", Medical Image Analysis 2006.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from monai_cxrssl.data.datalists.datalist import Datalist
from monai_cxrssl.data.reading.jsrt_img import JSRT_BYTES
from monai_cxrssl.data.sources.tables.label_words import UnknownLabels
from monai_cxrssl.errors import DatalistError

__all__ = ["CLASSES", "NAME", "detect", "read"]

NAME = "JSRT"
CLASSES = ("Nodule",)
NAMES = re.compile(r"JPC([A-Z]*)N\d{3}\.IMG", re.IGNORECASE)
KINDS = {"L": 1.0, "N": 0.0}
ARCHIVES = ("All247images", "Nodule154images", "NonNodule93images")
SIDES = ("left lung", "right lung")
MASK_PLACES = (".", "scratch", "scr", "scr/scratch")
# The later one is taken.
MASK_EXTENSIONS = (".gif", ".png")


def detect(folder: Path) -> bool:
    """Whether a folder, or what an archive unpacks to in it, holds images such as ``JPCLN001.IMG``."""
    return any(_kind(film) in KINDS for film in _films(Path(folder)))


def read(folder: Path, strict_labels: bool = False) -> Datalist:
    """Read the data set in ``folder``.

    Args:
        folder: holds the images, or the folders of the archives.
        strict_labels: refuse labels that nobody foresaw, which are otherwise unknown and named in one warning.

    Raises:
        DatalistError: there is no image, one is there twice or has another size than JSRT's (counted, the first named),
            or has a mask of one lung only.
    """
    folder = Path(folder)
    films = _films(folder)
    if not films:
        raise DatalistError(f"{folder} holds no image such as JPCLN001.IMG or JPCNN001.IMG.")
    wrong = [film for film in films if film.stat().st_size != JSRT_BYTES]
    if wrong:
        raise DatalistError(
            f"{len(wrong)} of {len(films)} images do not have the {JSRT_BYTES:,} bytes of JSRT's raw format, such as "
            f"{wrong[0]} with {wrong[0].stat().st_size:,}; unpack them again."
        )
    masks = _masks(folder)
    items: dict[str, dict[str, Any]] = {}
    unknown = UnknownLabels(folder, KINDS, strict_labels, "label of a file name", "labels of file names")
    for film in films:
        stem = film.stem.upper()
        if stem in items:
            first = folder / items[stem]["image"]
            raise DatalistError(f"{film} is there a second time, as {first}; leave one of them.")
        items[stem] = {"image": film.relative_to(folder).as_posix(), "patient_id": stem, "source": NAME}
        items[stem]["view_position"] = "PA"
        if _kind(film) in KINDS:
            items[stem]["label"] = [KINDS[_kind(film)]]
        else:
            unknown.add(_kind(film), items[stem]["image"])
        sides = masks.get(stem, {})
        if len(sides) == 1:
            raise DatalistError(f"{film} has a mask of the {next(iter(sides))} only; add the other or remove it.")
        if sides:
            items[stem]["lung_mask"] = [sides[side].relative_to(folder).as_posix() for side in SIDES]
    unknown.tell()
    content = {"name": NAME, "classes": list(CLASSES), "task": "multi_label", "training": list(items.values())}
    return Datalist.from_dict(content, folder, origin=str(folder))


def _films(folder: Path) -> list[Path]:
    """The images in a folder and in those that its archives unpack to, by name."""
    found = []
    for place in (folder, *(folder / name for name in ARCHIVES)):
        if place.is_dir():
            with os.scandir(place) as entries:
                found += [Path(entry.path) for entry in entries if NAMES.fullmatch(entry.name)]
    return sorted(found, key=lambda path: (path.name.upper(), str(path)))


def _kind(film: Path) -> str:
    match = NAMES.fullmatch(film.name)
    return match[1].upper() if match else ""


def _masks(folder: Path) -> dict[str, dict[str, Path]]:
    """The masks of each image by side."""
    found: dict[str, dict[str, Path]] = {}
    for top in MASK_PLACES:
        for side in SIDES:
            for place in sorted((folder / top).glob(f"fold[12]/masks/{side}")):
                files = sorted(place.iterdir())
                for extension in MASK_EXTENSIONS:
                    for path in files:
                        if path.suffix.lower() == extension:
                            found.setdefault(path.stem.upper(), {})[side] = path
    return found
