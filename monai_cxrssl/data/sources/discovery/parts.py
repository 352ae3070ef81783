# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Parts of a folder read by their layouts, without copies."""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from monai_cxrssl.data.datalists.datalist import Datalist
from monai_cxrssl.data.datalists.left_out import LeftOut, merge_records
from monai_cxrssl.data.sources.chest_film.select import only_films
from monai_cxrssl.data.sources.discovery.places import GENERIC, SELECTING, Place
from monai_cxrssl.data.sources.discovery.unlisted import told_files
from monai_cxrssl.errors import ConfigurationError, DatalistError
from monai_cxrssl.files import ask_all

__all__ = ["IDS", "Part", "PartReader", "distinct_parts", "shown_counts", "shown_parts"]

logger = logging.getLogger(__name__)

IDS = ("patient_ids", "salt_file")


class Part(NamedTuple):
    """What was read of a place."""

    place: Place
    datalist: Datalist


@dataclass(frozen=True)
class PartReader:
    """Reader of places with the options of one command; each option goes to the layouts that have it."""

    layouts: Mapping[str, ModuleType]
    options: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, bool] = field(default_factory=dict)
    keep: Collection[str] = ()
    #: Paths of what layouts of known data sets told of.
    told: set[str] = field(default_factory=set)

    def read(self, place: Place, **more: Any) -> Datalist:
        """Read a place by its layout, with the options that it knows; chest X-rays alone."""
        read, known = self.layouts[place.layout].read, self._options_of(place.layout)
        left_out = LeftOut(self.keep)
        given = {"keep": self.keep, "left_out": left_out, **self.files, **self.options, **more}
        datalist: Datalist = read(place.folder, **{name: value for name, value in given.items() if name in known})
        if place.layout not in SELECTING:
            self.told.update(told_files(datalist), left_out.paths)
            # The makers of a public data set chose its images, so that no header is asked.
            datalist = only_films(datalist, left_out, headers=place.layout in GENERIC)
        logger.info("%s: layout %s, %s", place.folder, place.layout, shown_counts(datalist))
        return datalist

    def read_all(self, places: Iterable[Place]) -> tuple[list[Part], list[tuple[Place, DatalistError]]]:
        """Read several places; returns what was read, and the others with their errors."""
        parts, failures = [], []
        for place in places:
            try:
                parts.append(Part(place, self.read(place)))
            except DatalistError as error:
                failures.append((place, error))
        return parts, failures

    def check(self, names: Iterable[str]) -> None:
        """Refuse an option that none of the layouts has."""
        names = list(names)
        known = {name: self._options_of(name) for name in names}
        strange = [option for option in self.options if not any(option in listed for listed in known.values())]
        if not strange:
            return
        told = " and ".join(names)
        if strange[0] in IDS:
            raise ConfigurationError(
                f"--{strange[0]}: layout {told} takes its patients from its own tables or names, not from DICOM "
                "headers; leave the option out."
            )
        listed = ", ".join(dict.fromkeys(option for options in known.values() for option in options)) or "none"
        raise ConfigurationError(f"--option {strange[0]}: layout {told} has no such option; it has {listed}.")

    def _options_of(self, name: str) -> list[str]:
        """Names of what a layout's ``read`` takes beside the folder; ``**`` stands for those of the plain folder."""
        parameters = list(inspect.signature(self.layouts[name].read).parameters.values())[1:]
        own = [parameter.name for parameter in parameters if parameter.kind is not parameter.VAR_KEYWORD]
        return list(dict.fromkeys([*own, *self._options_of("folder")])) if len(own) < len(parameters) else own

    def read_generic(self, path: Path, without: Iterable[str] = ()) -> Datalist:
        """Read images beside masks, or plain images; refuse a folder without any."""
        left_out = {"without": set(without)} if without else {}
        masks = "mask" not in self.keep and self.layouts["image_mask_folders"].detect(path, **left_out)
        name = "image_mask_folders" if masks else "folder"
        if not self.layouts[name].detect(path):
            raise DatalistError(
                f"dataset_dir {path} holds no image; expected PNG, JPEG, TIFF, NIfTI or DICOM files in it or below it, "
                f"or one of the known layouts ({', '.join(self.layouts)})."
            )
        return self.read(Place(name, path), **left_out)


def distinct_parts(parts: list[Part], keep: Collection[str] = ()) -> list[Part]:
    """The parts that are neither read before by another layout nor copies of one read by the same, which the first part
    counts."""
    left_out = LeftOut(keep)
    kept: list[Part] = []
    read: set[str] = set()
    copies: dict[str, set[tuple[str, int]]] = {}
    for place, datalist in parts:
        root = str(datalist.root or "")
        images = [os.path.join(root, item["image"]) for items in datalist.splits.values() for item in items]  # noqa: PTH118
        keys = set(zip(map(os.path.basename, images), ask_all(_size, images), strict=True))
        if not read.isdisjoint(images):
            logger.warning("%s: layout %s names images that were read before; left out", place.folder, place.layout)
        elif "copy" not in left_out.keep and keys <= copies.get(place.layout, set()):
            told = f"{len(images)} images of the same names and sizes as those read before"
            logger.warning("%s: a copy (%s); left out", place.folder, told)
            for image in images:
                left_out.add("copy", image)
        else:
            read.update(images)
            copies.setdefault(place.layout, set()).update(keys)
            kept.append(Part(place, datalist))
    if records := left_out.records():
        place, datalist = kept[0]
        kept[0] = Part(place, replace(datalist, extra={**datalist.extra, **merge_records([datalist.extra, records])}))
    return kept


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)  # noqa: PTH202
    except OSError:
        return -1


def shown_parts(path: Path, parts: Iterable[Part]) -> str:
    """The parts of a folder with layout and counts, for a message."""
    return ", ".join(
        f"{os.path.relpath(place.folder, path)} (layout {place.layout}, {shown_counts(datalist)})"
        for place, datalist in parts
    )


def shown_counts(datalist: Datalist) -> str:
    """Images and patients, for a message."""
    images = sum(map(len, datalist.splits.values()))
    return f"{images} images, {len(datalist.patients)} patients"
