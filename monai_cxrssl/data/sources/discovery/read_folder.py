# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Known data sets found in, below or above a folder, and read.

A folder is looked through in this order; the first that gives images ends the search:

1. **the folder itself**: every layout that knows it reads it. Two data sets in one folder are both read and mixed, also
   when the second lies in a sub-folder of its own;
2. **one and two levels below**: every data set found there is read by its own layout; the other images of the folder
   are read as a plain folder, and all are mixed. A copy of a data set that was read before is left out;
3. **up to three levels above**: the images of the folder are read by the tables or tree of the data set they belong to;
4. images beside masks, then the plain folder.

A layout that knows a folder and cannot read it gives way to the next that knows it, images beside masks included where
no table lies; a warning tells why. The plain folder never follows: it would lose the patients, labels and split that
the table or the names tell. Then reading ends in the first layout's error, which names ``--layout`` as well. All but
one data set in the folder itself and the plain folder is said at WARNING.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from monai_cxrssl.data.datalists.datalist import Datalist
from monai_cxrssl.data.datalists.left_out import LeftOut, merge_records
from monai_cxrssl.data.datalists.mixing import mix_datalists
from monai_cxrssl.data.sources.chest_film.select import say_left_out
from monai_cxrssl.data.sources.discovery.parts import Part, PartReader, distinct_parts, shown_counts, shown_parts
from monai_cxrssl.data.sources.discovery.places import (
    GENERIC,
    MOST_SUB_FOLDERS,
    Place,
    places_above,
    places_at,
    places_below,
)
from monai_cxrssl.data.sources.discovery.unlisted import count_unlisted
from monai_cxrssl.data.sources.trees.walk import image_files, sub_folders, walk
from monai_cxrssl.errors import DatalistError

__all__ = ["read_folder"]

logger = logging.getLogger(__name__)

TABLES = (".csv", ".csv.gz", ".tsv", ".txt", ".xlsx", ".xls")
AS_IT_IS = "--layout folder reads the folder as plain images"


def read_folder(
    path: Path,
    layouts: Mapping[str, ModuleType],
    layout: str | None = None,
    options: Mapping[str, Any] | None = None,
    files: Mapping[str, bool] | None = None,
    keep: Collection[str] = (),
) -> Datalist:
    """Read what a folder holds, see this module's docstring.

    Args:
        path: the folder; for a layout that takes one, a file.
        layouts: those to choose from.
        layout: the one to read by; then data sets of that layout alone are looked for.
        options: arguments of the layouts' ``read``; each goes to those that have it.
        files: ``check_files`` and ``allow_absent``, for layouts that have them.
        keep: kinds of :data:`monai_cxrssl.data.datalists.left_out.KINDS` that are images here.

    Raises:
        DatalistError: there is no image, or a table or tree is wrong.
        ConfigurationError: no layout in question has an option.
    """
    reader = PartReader(layouts, options or {}, files or {}, keep)
    if layout in GENERIC or not path.is_dir():
        reader.check([str(layout)])
        return reader.read(Place(str(layout), path))
    asked = layouts if layout is None else {layout: layouts[layout]}
    if options:
        reader.check(_names(path, asked, layout))
    for read in (_read_here, _read_below, _read_above):
        if parts := read(path, reader, asked):
            return _joined(_with_unlisted(path, parts, reader))
    if layout is not None:
        return reader.read(Place(layout, path))
    return reader.read_generic(path)


def _names(path: Path, asked: Mapping[str, ModuleType], layout: str | None) -> list[str]:
    """The layouts that options may be meant for."""
    if layout is not None:
        return [layout]
    if here := places_at(path, asked):
        return [place.layout for place in here]
    places = [*places_below(path, asked), *places_above(path, asked)]
    return list(dict.fromkeys([*(place.layout for place in places), "image_mask_folders", "folder"]))


def _read_here(path: Path, reader: PartReader, asked: Mapping[str, ModuleType]) -> list[Part]:
    here = places_at(path, asked)
    if not here:
        return []
    parts, failures = reader.read_all(here)
    if not parts:
        masks = Place("image_mask_folders", path)
        if len(asked) == 1 or _holds_table(path) or not reader.layouts[masks.layout].detect(path):
            raise _refused(*failures[0], named=len(asked) == 1) from failures[0][1]
        parts = [Part(masks, reader.read(masks))]
    _warn_of(failures, f"read by layout {parts[0].place.layout} instead")
    others = {name: layout for name, layout in asked.items() if name not in {place.layout for place in here}}
    aside = [folder for folder in sub_folders(path) if folder.name not in _first_folders(path, parts)]
    if len(aside) <= MOST_SUB_FOLDERS:
        for folder in aside:
            below, failures = reader.read_all(places_at(folder, others) or places_below(folder, others, 1))
            _warn_of(failures, "left out")
            parts += below
    if len(parts) > 1:
        parts = distinct_parts(parts, reader.keep)
    if len(parts) > 1:
        logger.warning(
            "%s: holds %d data sets, each read by its own layout: %s", path, len(parts), shown_parts(path, parts)
        )
    return parts


def _read_below(path: Path, reader: PartReader, asked: Mapping[str, ModuleType]) -> list[Part]:
    places = places_below(path, asked)
    if not places:
        return []
    parts, failures = reader.read_all(places)
    for place, failure in failures:
        if not parts or reader.layouts["folder"].detect(place.folder):
            raise _refused(place, failure, named=len(asked) == 1) from failure
    _warn_of(failures, "it holds no image, and is left out")
    parts = distinct_parts(parts, reader.keep)
    told = f"read as the data set below it: {shown_parts(path, parts)}"
    if len(parts) > 1:
        told = f"read as the {len(parts)} data sets below it: {shown_parts(path, parts)}"
    if len(asked) > 1:
        without = {place.folder.relative_to(path).as_posix() for place in places}
        try:
            rest = reader.read_generic(path, without)
        except DatalistError as error:  # no image beside the data sets
            logger.debug("%s: no other images (%s)", path, error)
        else:
            parts.append(Part(Place("folder", path), rest))
            told += f"; and as plain images without labels: {shown_counts(rest)} beside"
    logger.warning("%s: %s; %s", path, told, AS_IT_IS)
    return parts


def _read_above(path: Path, reader: PartReader, asked: Mapping[str, ModuleType]) -> list[Part]:
    inside = os.path.join(os.path.abspath(path), "")  # noqa: PTH100, PTH118 (resolve() would follow links)
    for place in places_above(path, asked):
        try:
            whole = reader.read(place, allow_absent=True)
        except DatalistError as error:
            _warn_of([(place, error)], "not used for the images below it")
            continue
        root = str(whole.root or "")
        splits = {
            split: [item for item in items if os.path.join(root, item["image"]).startswith(inside)]  # noqa: PTH118
            for split, items in whole.splits.items()
        }
        count = sum(map(len, splits.values()))
        if count:
            told = f"a part of {place.folder} (layout {place.layout}), which tells {count} of its"
            logger.warning("%s: %s %d images; %s", path, told, len(image_files(path)), AS_IT_IS)
            return [Part(place, replace(whole, splits=splits))]
    return []


def _warn_of(failures: Iterable[tuple[Place, DatalistError]], consequence: str) -> None:
    for place, failure in failures:
        told = f"looks like layout {place.layout}, which cannot read it ({str(failure).rstrip('.')})"
        logger.warning("%s: %s; %s; --layout NAME chooses one", place.folder, told, consequence)


def _refused(place: Place, failure: DatalistError, named: bool) -> DatalistError:
    remedy = (
        f" Or read {place.folder} another way: its table by --layout csv_table, its images alone by --layout folder."
    )
    return DatalistError(f"{failure}{'' if named else remedy}")


def _holds_table(path: Path) -> bool:
    for place, names in walk(path):
        if place.count("/"):
            return False
        if any(name.lower().endswith(TABLES) for name in names):
            return True
    return False


def _first_folders(path: Path, parts: Iterable[Part]) -> set[str]:
    """The sub-folders of a folder that images of data sets lie below."""
    first: set[str] = set()
    for part in parts:
        below = Path(os.path.relpath(part.datalist.root or path, path)).parts
        items = (item for items in part.datalist.splits.values() for item in items)
        first |= {below[0]} if below else {item["image"].split("/")[0] for item in items}
    return first


def _with_unlisted(path: Path, parts: list[Part], reader: PartReader) -> list[Part]:
    """The parts, the first with the count of the pictures in their folders that none tells of."""
    folders = {part.place.folder for part in parts if part.place.layout not in GENERIC}
    folders = {path if path.is_relative_to(folder) else folder for folder in folders}
    left_out = LeftOut(reader.keep)
    if reader.files.get("check_files", True):
        count_unlisted(folders, reader.told, left_out)
    if not left_out.paths:
        return parts
    (place, datalist), *others = parts
    records = merge_records([datalist.extra, say_left_out(path, left_out)])
    return [Part(place, replace(datalist, extra={**datalist.extra, **records})), *others]


def _joined(parts: list[Part]) -> Datalist:
    return parts[0].datalist if len(parts) == 1 else mix_datalists([part.datalist for part in parts])
