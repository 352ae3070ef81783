# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Pictures in known data sets that no layout tells of, counted."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path

from monai_cxrssl.data.datalists.datalist import Datalist
from monai_cxrssl.data.datalists.datalist_schema import is_path_field
from monai_cxrssl.data.datalists.image_names import IMAGE_EXTENSIONS, file_extension
from monai_cxrssl.data.datalists.left_out import LeftOut
from monai_cxrssl.data.sources.chest_film.folder_walk import FolderWalk
from monai_cxrssl.data.sources.chest_film.names import folder_kind

__all__ = ["count_unlisted", "told_files"]


def told_files(datalist: Datalist) -> Iterator[str]:
    """Yield the paths of images, masks and other files that items name."""
    root = str(datalist.root or "")
    for items in datalist.splits.values():
        for item in items:
            for key, value in item.items():
                if value and is_path_field(key):
                    for path in [value] if isinstance(value, str) else value:
                        yield os.path.normpath(f"{root}{os.sep}{path}" if not os.path.isabs(path) else path)  # noqa: PTH117


def count_unlisted(folders: Collection[Path], told: Collection[str], left_out: LeftOut) -> None:
    """Count the pictures below folders whose path is not ``told``, by the folder that they lie in.

    What network drives and recycle bins hold counts as that. Names alone are read, each real folder once.
    """
    visited: set[tuple[int, int]] = set()
    for top in sorted(folders):
        walk = FolderWalk(str(top), _is_counted, visited)
        for here, (_, names, _) in walk:
            walk.enter(f"{here}{os.sep}{name}" for name, is_folder in names.items() if is_folder and _is_counted(name))
            place = Path(os.path.relpath(here, top)).parts
            kind = next((kind for name in place if (kind := folder_kind(name))), "unlisted")
            for name in (name for name, is_folder in names.items() if not is_folder):
                path = f"{here}{os.sep}{name}"
                if file_extension(name) in IMAGE_EXTENSIONS and not name.startswith(".") and path not in told:
                    left_out.add(kind, path, place[0] if place else "")


def _is_counted(name: str) -> bool:
    return not name.startswith(".") or bool(folder_kind(name))
