# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Selection of chest X-rays among what lies beside them."""

from __future__ import annotations

import logging
import os
import statistics
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from tqdm import tqdm

from monai_cxrssl.cores import usable_cores
from monai_cxrssl.data.datalists.datalist import SPLITS, Datalist
from monai_cxrssl.data.datalists.image_names import DICOM_EXTENSIONS, file_extension
from monai_cxrssl.data.datalists.left_out import LeftOut, map_examples, merge_records, sentence
from monai_cxrssl.data.sources.chest_film.candidate import Candidate, look_at_file
from monai_cxrssl.data.sources.chest_film.exposures import split_raw
from monai_cxrssl.data.sources.chest_film.header import KEPT_MODALITIES, header_of, why_no_film
from monai_cxrssl.data.sources.chest_film.names import (
    folder_kind,
    mask_word,
    packed_kind,
    says_thumbnail,
    surely_thumbnail,
)
from monai_cxrssl.data.sources.chest_film.pixels import is_mask
from monai_cxrssl.errors import DatalistError
from monai_cxrssl.files import ask_all, ordered_map

__all__ = ["only_films", "say_left_out", "select_films"]

logger = logging.getLogger(__name__)

#: Of a group of suspicious files this many are decoded; where all or none are masks, they speak for the group.
_SAMPLE = 16
#: Longest side and share of the median side up to which a picture is a thumbnail without a name that says so.
_TINY = ((128, 1 / 2), (320, 1 / 4))
#: A listed file is looked at when it has less than this share of the median size of its extension.
_SMALL = 1 / 8


def select_films(
    candidates: Sequence[Candidate],
    left_out: LeftOut,
    header_reader: Callable[[str], dict[str, Any]] | None = None,
    modalities: Collection[str] = KEPT_MODALITIES,
) -> list[Candidate]:
    """Return those of the files found below a folder that are chest X-rays, and count the others.

    Costs one header per DICOM file, of many at once. Pixels are read of few files alone: colour objects; files that
    are called masks or are so small for their pixels that they may be, of each group of them 16 where these agree; and
    raw images whose study tells no pair.

    Args:
        candidates: sorted by path.
        left_out: counts.
        header_reader: by default :func:`~monai_cxrssl.data.sources.chest_film.header.read_film_header`; several
            threads call it.
        modalities: in capitals; ``""`` for a missing one.
    """
    films = _without_objects(candidates, left_out, header_reader, modalities)
    films = _without_masks(_without_raw(films, left_out), left_out)
    return _without_thumbnails(films, left_out)


def only_films(datalist: Datalist, left_out: LeftOut | None = None, headers: bool = True) -> Datalist:
    """Leave what is no chest X-ray out of what a layout listed, and count it in ``extra["left_out"]``.

    Costs the size of each file, and with ``headers`` one header per DICOM file. The first bytes are read of the files
    whose path says mask or thumbnail or that are far smaller than the others, pixels as by :func:`select_films`.

    Args:
        datalist: of a layout; entries of ``extra`` that it counted itself are added up.
        left_out: counts, perhaps what the layout left out itself.
        headers: read DICOM headers; False for public data sets, whose makers chose the images.

    Raises:
        DatalistError: nothing is left.
    """
    left_out = LeftOut() if left_out is None else left_out
    listed = [(split, item) for split in SPLITS for item in datalist.splits[split]]
    candidates = _listed(datalist, [item["image"] for _, item in listed], left_out, headers)
    films = _without_objects([c for c in candidates if c is not None], left_out, None, KEPT_MODALITIES)
    films = _without_masks(_without_raw(films, left_out), left_out)
    films = _without_thumbnails(films, left_out, named_only=True)
    kept = {id(film) for film in films}
    splits: dict[str, list[dict[str, Any]]] = {split: [] for split in SPLITS}
    for (split, item), candidate in zip(listed, candidates, strict=True):
        if candidate is not None and id(candidate) in kept:
            splits[split].append(item)
    records = merge_records([datalist.extra, left_out.records()])
    if not kept:
        raise DatalistError(f"{datalist.name} lists no chest X-ray. {sentence(records)}.")
    _say(datalist.name, records, left_out.worth_saying or bool(records.get("left_out")))
    return replace(datalist, splits=splits, extra={**datalist.extra, **_relative_to(datalist.root, records)})


def say_left_out(folder: Path, left_out: LeftOut) -> dict[str, Any]:
    """Say in one warning what a folder's layout left out, and return the records with paths relative to it."""
    records = left_out.records()
    _say(str(folder), records, left_out.worth_saying)
    return _relative_to(folder.absolute(), records)


def _say(where: str, records: dict[str, Any], aloud: bool) -> None:
    if words := sentence(records):
        logger.log(logging.WARNING if aloud else logging.INFO, "%s: %s", where, words)


def _relative_to(root: Path | None, records: dict[str, Any]) -> dict[str, Any]:
    """The records with their examples as items have their paths: relative to the root."""
    top = "" if root is None else str(root)

    def relative(path: str) -> str:
        return Path(os.path.relpath(os.path.join(top, path), top)).as_posix()  # noqa: PTH118 (absolute ones stay)

    return map_examples(records, relative) if top else records


def _without_objects(
    candidates: Sequence[Candidate],
    left_out: LeftOut,
    header_reader: Callable[[str], dict[str, Any]] | None,
    modalities: Collection[str],
) -> list[Candidate]:
    """Leave out what a DICOM header tells."""

    def with_header(candidate: Candidate) -> Candidate:
        if candidate.kind == "dicom":
            candidate.header = header_of(candidate.path, header_reader)
        return candidate

    def judged(candidate: Candidate) -> tuple[Candidate, str, str]:
        return candidate, *why_no_film(candidate.path, candidate.header, modalities)

    known = ordered_map(with_header, candidates, name="headers")
    # Colour is told by pixels: as many images are decoded at once as there are cores.
    looked_at = ordered_map(judged, known, usable_cores(), name="colour")
    films = []
    bar = tqdm(looked_at, total=len(candidates), desc="indexing", unit="file", leave=False, disable=None)
    for candidate, kind, detail in bar:
        if kind and left_out.add(kind, candidate.path, detail):
            continue
        if candidate.kind == "dicom" and candidate.side and candidate.size:
            candidate.light = candidate.size < 0.05 * candidate.header["rows"] * candidate.header["columns"]
        films.append(candidate)
    return films


def _without_raw(films: list[Candidate], left_out: LeftOut) -> list[Candidate]:
    paired, alone = split_raw(films)
    for image in alone:
        left_out.doubt("for_processing", image.path)
    raw = {id(image) for image in paired if left_out.add("for_processing", image.path)}
    return [film for film in films if id(film) not in raw]


def _without_masks(films: list[Candidate], left_out: LeftOut) -> list[Candidate]:
    if "mask" in left_out.keep:
        return films
    words = {id(film): mask_word(film.relative) for film in films}
    groups: dict[tuple[str, bool, bool], list[Candidate]] = defaultdict(list)
    for film in films:
        word = words[id(film)]
        if film.kind and (word or film.light):
            groups[word or os.path.dirname(film.path), bool(word), film.light].append(film)  # noqa: PTH120
    masks: set[int] = set()
    for (_, named, _), group in groups.items():
        sample = group[:: max(1, len(group) // _SAMPLE)][:_SAMPLE]
        found = _masks_of(sample, named)
        if len(found) == len(sample):
            found = {id(film) for film in group}
        elif found:
            looked_at = {id(film) for film in sample}
            found |= _masks_of([film for film in group if id(film) not in looked_at], named)
        masks |= found
    for film in films:
        if id(film) in masks:
            left_out.add("mask", film.path)
        elif words[id(film)]:
            left_out.doubt("mask", film.path)
    return [film for film in films if id(film) not in masks]


def _masks_of(films: Sequence[Candidate], named: bool) -> set[int]:
    """The ids of those that are masks by their pixels."""
    told = ordered_map(lambda film: is_mask(film.path, film.kind, named), films, usable_cores(), name="masks")
    return {id(film) for film, mask in zip(films, told, strict=True) if mask}


def _without_thumbnails(films: list[Candidate], left_out: LeftOut, named_only: bool = False) -> list[Candidate]:
    """Leave out small pictures beside large ones: those that are called so, and unless ``named_only`` tiny ones."""
    named = {id(film) for film in films if film.kind and says_thumbnail(film.relative)}
    sides = [film.side for film in films if film.side and id(film) not in named]
    if not sides:
        return films
    median = statistics.median(sides)

    def is_thumbnail(film: Candidate) -> bool:
        if surely_thumbnail(film.relative):
            return True
        side = film.side
        if side is None:
            return False
        if id(film) in named:
            return side < 0.75 * median
        return not named_only and any(side <= most and side <= share * median for most, share in _TINY)

    return [film for film in films if not (is_thumbnail(film) and left_out.add("thumbnail", film.path))]


def _listed(datalist: Datalist, images: Sequence[str], left_out: LeftOut, headers: bool) -> list[Candidate | None]:
    """A candidate for each listed image, None for one that its path leaves out; most are not opened."""
    top = str(datalist.root or "")
    paths = [os.path.join(top, image) for image in images]  # noqa: PTH118
    sizes = ask_all(_size, paths)
    extensions = [file_extension(path) for path in paths]
    by_extension: dict[str, list[int]] = defaultdict(list)
    for extension, size in zip(extensions, sizes, strict=True):
        by_extension[extension].append(size)
    small = {extension: _SMALL * statistics.median(known) for extension, known in by_extension.items()}
    candidates: list[Candidate | None] = []
    opened: dict[int, Candidate] = {}
    for image, path, size, extension in zip(images, paths, sizes, extensions, strict=True):
        relative = image if not os.path.isabs(image) else os.path.basename(image)  # noqa: PTH117, PTH119
        kind, detail = _place_kind(relative)
        if kind and left_out.add(kind, path, detail):
            candidates.append(None)
            continue
        suspicious = size < small[extension] or bool(mask_word(relative)) or says_thumbnail(relative)
        dicom = headers and (extension in DICOM_EXTENSIONS or extension not in _RASTER)
        candidate = Candidate(path, relative)
        if size and (suspicious or dicom):
            opened[len(candidates)] = candidate
        candidates.append(candidate)
    looks = ordered_map(lambda unread: look_at_file(unread.path, unread.relative), opened.values(), name="look")
    for number, look in zip(opened, looks, strict=True):
        candidates[number] = look
    return candidates


_RASTER = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"})


def _place_kind(relative: str) -> tuple[str, str]:
    """Kind that the path alone tells, and its detail."""
    folder, _, name = relative.rpartition("/")
    if packed := packed_kind(name):
        return "packed", packed
    if name.upper().split(".")[0] == "DICOMDIR":
        return "dicomdir", ""
    return _folder_kind(folder), ""


@lru_cache(maxsize=1024)
def _folder_kind(folder: str) -> str:
    return next((kind for name in folder.split("/") if (kind := folder_kind(name))), "")


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116
    except OSError:  # absent, or the reader's to refuse
        return 0
