# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Places of known data sets: in, below and above a folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from monai_cxrssl.data.sources.trees.walk import sub_folders

__all__ = ["GENERIC", "MOST_SUB_FOLDERS", "SELECTING", "Place", "places_above", "places_at", "places_below"]

# Layouts of no data set in particular, asked when no other knows a folder.
GENERIC = ("csv_table", "class_folders", "image_mask_folders", "folder")
# Those that take chest X-rays alone before they tell the patients from the folders.
SELECTING = ("class_folders", "image_mask_folders", "folder")
LEVELS_BELOW, LEVELS_ABOVE = 2, 3
# A folder of more is one of patients, and each layout looks into each.
MOST_SUB_FOLDERS = 60


class Place(NamedTuple):
    """A folder and the layout that knows it."""

    layout: str
    folder: Path


def places_at(folder: Path, layouts: Mapping[str, ModuleType]) -> list[Place]:
    """The layouts, but for :data:`GENERIC` ones, that know a folder itself."""
    return [Place(name, folder) for name, layout in layouts.items() if name not in GENERIC and _knows(layout, folder)]


def places_below(folder: Path, layouts: Mapping[str, ModuleType], levels: int = LEVELS_BELOW) -> list[Place]:
    """The data sets in the sub-folders of a folder; below one that is known nothing more is looked for."""
    folders = sub_folders(folder) if levels else []
    if len(folders) > (MOST_SUB_FOLDERS if levels == LEVELS_BELOW else MOST_SUB_FOLDERS // LEVELS_BELOW):
        return []
    found = [places_at(sub_folder, layouts) or places_below(sub_folder, layouts, levels - 1) for sub_folder in folders]
    return [place for places in found for place in places]


def places_above(folder: Path, layouts: Mapping[str, ModuleType]) -> list[Place]:
    """The data sets that a folder may be a part of, the nearest first."""
    above = Path(os.path.abspath(folder)).parents[:LEVELS_ABOVE]  # noqa: PTH100 (resolve() would follow links)
    return [place for parent in above for place in places_at(parent, layouts)]


def _knows(layout: ModuleType, folder: Path) -> bool:
    try:
        return bool(layout.detect(folder))
    except OSError:  # of a folder below or above that this user may not read
        return False
