# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""DICOM images of a data set converted to PNG or JPEG."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from monai_cxrssl.data.datalists.image_names import image_stem
from monai_cxrssl.data.sources.trees.walk import find_images

__all__ = ["find_films", "raster_size"]


def find_films(folder: Path, place: str, stems: Iterable[str]) -> list[str]:
    """Paths, relative to ``folder``, of images by their names without extension.

    They lie in ``folder/place`` with any image extension, else anywhere below ``folder`` (the first in sorted order).
    For one that is nowhere, the path of its DICOM file in ``place``.
    """
    listed = list(stems)
    names = sorted(os.listdir(folder / place)) if (folder / place).is_dir() else []  # noqa: PTH208 (names are needed)
    there = {stem: f"{place}/{name}" for name in reversed(names) if (stem := image_stem(name)) != name}
    elsewhere = [stem for stem in listed if stem not in there]
    found = find_images(folder, elsewhere, stems=True)[0] if elsewhere else {}
    return [there.get(stem) or found.get(stem) or f"{place}/{stem}.dcm" for stem in listed]


def raster_size(path: Path) -> tuple[int, int] | None:
    """Columns and rows of a PNG, JPEG ... by its header; ``None`` when it cannot be read."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            return image.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
