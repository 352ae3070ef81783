# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Walk over a folder tree by names alone, each real folder once."""

from __future__ import annotations

import itertools
import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from monai_cxrssl.data.datalists.image_names import IMAGE_EXTENSIONS, file_extension, image_stem
from monai_cxrssl.data.sources.chest_film.folder_walk import FolderWalk
from monai_cxrssl.data.sources.chest_film.names import folder_kind

__all__ = ["common_length", "find_images", "image_files", "is_within", "sub_folders", "walk"]


def walk(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield (path relative to ``folder``, ``""`` for itself; names of its files) in sorted order.

    Links are followed; hidden entries and what systems and network drives put beside data are passed over.
    """
    folders = FolderWalk(str(folder), _is_of_the_data)
    for here, (_, names, error) in folders:
        if error is not None:
            continue
        inner = (name for name, is_folder in names.items() if is_folder and _is_of_the_data(name))
        folders.enter(f"{here}{os.sep}{name}" for name in inner)
        relative = os.path.relpath(here, folder)
        place = "" if relative == "." else relative.replace(os.sep, "/")
        yield place, [name for name, is_folder in names.items() if not is_folder and not name.startswith(".")]


def image_files(folder: Path) -> list[str]:
    """Paths, relative to ``folder``, of the files that have an image's extension or none, as many DICOM files have."""
    kinds = IMAGE_EXTENSIONS | {""}
    return [
        f"{place}/{name}" if place else name
        for place, names in walk(folder)
        for name in names
        if file_extension(name) in kinds
    ]


def find_images(folder: Path, names: Collection[str], stems: bool = False) -> tuple[dict[str, str], int]:
    """Look below ``folder`` for images by file name, or with ``stems`` by the name without an image's extension.

    Returns the path of each one found, relative to the folder, the first in sorted order of equal names; and how many
    others have a name that was found before.
    """
    wanted = set(names)
    found: dict[str, str] = {}
    again = 0
    for place, files in walk(folder):
        for file in files:
            name = image_stem(file) if stems else file
            if name in wanted and (not stems or file_extension(file) in IMAGE_EXTENSIONS):
                again += name in found
                found.setdefault(name, f"{place}/{file}" if place else file)
    return found, again


def common_length(parents: Collection[Sequence[str]]) -> int:
    """How many names all of the sequences begin with."""
    levels = zip(*parents, strict=False)
    return sum(1 for _ in itertools.takewhile(lambda names: len(set(names)) == 1, levels))


def is_within(path: str, places: Collection[str]) -> bool:
    """Whether a relative path is one of ``places`` (a set, or few) or lies below one."""
    names = path.split("/") if places else []
    return any("/".join(names[:count]) in places for count in range(len(names), 0, -1))


def sub_folders(folder: Path) -> list[Path]:
    """The folders in a folder, sorted, without hidden ones and those of the system; none where it is not listed."""
    try:
        with os.scandir(folder) as entries:
            return sorted(Path(e.path) for e in entries if _is_of_the_data(e.name) and e.is_dir())
    except OSError:
        return []


def _is_of_the_data(name: str) -> bool:
    return not name.startswith(".") and not folder_kind(name)
