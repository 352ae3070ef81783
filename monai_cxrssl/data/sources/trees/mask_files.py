# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Mask files of a tree, matched with their images by name and place."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from monai_cxrssl.data.datalists.image_names import image_stem
from monai_cxrssl.data.reading.lung_mask import mask_values
from monai_cxrssl.data.sources.trees.class_names import CONTAINERS
from monai_cxrssl.data.sources.trees.walk import common_length, image_files, is_within
from monai_cxrssl.errors import CXRReadError

__all__ = ["MaskFiles", "find_masks", "two_valued"]

_MASK_FOLDER = re.compile(r"mask|segmentation|(?<![a-z])(?:segs?|gt|ground[ _-]?truths?|labels?|annotations?)(?![a-z])")
_IMAGE_FOLDER = re.compile(r"images?(?![a-z])|(?<![a-z])imgs?(?![a-z])|cxr|film|x-?ray|radiograph")
_BOTH = re.compile(r"(?<![a-z])(?:and|with)(?![a-z])|[&+]")
_PREFIX = re.compile(r"^(?:masks?|seg|label|gt)[ _.-]+", re.IGNORECASE)
_PART = r"(?:lungs?|left|right|lesions?|infections?|heart|clavicles?)"
_SUFFIX = re.compile(
    rf"(?:[ _.-]+{_PART})*(?:[ _.-]+(?:masks?|seg|segmentation|label|gt)|(?<=\w)masks?)(?:[ _.-]*{_PART})*$",
    re.IGNORECASE,
)
_PART_SUFFIX = re.compile(rf"(?:[ _.-]+{_PART})+$", re.IGNORECASE)
_KINDS = {
    "lung": re.compile(r"lung"),
    "lesion": re.compile(r"lesion|infect|opacit|nodul|pneumo|consolidat|effusion|tumou?r|finding|abnormal"),
    "other": re.compile(
        r"heart|cardiac|clavicle|(?<![a-z])ribs?(?![a-z])|bone|spine|trachea|tube|catheter|device|body"
    ),
}
_SIDE = re.compile(r"(?<![a-z])(left|right)")
# What JPEG makes of two grey values: some more beside them, few between.
_BLUR, _MOST_BETWEEN = 16, 0.02
_SAMPLES_OF_A_FOLDER, _MOST_SAMPLES = 3, 40
# A folder with this file is an inference of ours: a network's masks are no truth.
_OWN_OUTPUT = "inference_files.jsonl"


class _Mask(NamedTuple):
    path: str
    image: str
    kind: str
    side: str


@dataclass
class MaskFiles:
    """Masks of a tree; all paths are relative to it.

    Args:
        kinds: per kind (``"lung"``, ``"lesion"``, ``"other"``, or ``""`` where no name tells), the mask of each image,
            or its ``[left, right]``.
        lonely: masks without an image of their name.
        outputs: what an inference of this package wrote: neither images nor masks.
        one_sided: masks of the left or the right lung without that of the other.
        images: all images that are no masks.
        masks: all masks.
    """

    kinds: dict[str, dict[str, str | list[str]]] = field(default_factory=dict)
    lonely: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    one_sided: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    masks: list[str] = field(default_factory=list)

    @property
    def matched(self) -> int:
        """How many masks have an image."""
        return len(self.masks) - len(self.lonely)


def find_masks(folder: Path, without: Collection[str] = ()) -> MaskFiles:
    """Tell masks from images by the names of folders (``masks/``, ``lung masks/``) and files (``<stem>_mask.png``).

    A mask belongs to the image with its name, ``mask`` and the like taken off, that lies nearest, and in no folder of
    another class, split or patient.

    Args:
        folder: the top of the tree.
        without: files and folders, relative to it, that are passed over.
    """
    paths = [path for path in image_files(folder) if not is_within(path, without)]
    top = common_length([path.split("/")[:-1] for path in paths])
    stems: dict[str, set[str]] = defaultdict(set)
    for path in paths:
        parent, _, name = path.rpartition("/")
        stems[parent].add(image_stem(name).casefold())
    own = {parent for parent in stems if (folder / Path(parent).parent / _OWN_OUTPUT).is_file()}
    found = MaskFiles()
    images: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        parent, _, name = path.rpartition("/")
        stem = image_stem(name)
        bare = _bare(stem)
        place = _mask_folder(parent.split("/"), top)
        if parent in own:
            found.outputs.append(path)
        elif place is not None or (bare != stem and bare.casefold() in stems[parent]):
            found.masks.append(path)
        else:
            found.images.append(path)
            images[stem.casefold()].append(path)
    matched: list[_Mask] = []
    for path in found.masks:
        parents, stem = path.split("/")[:-1], image_stem(path.rpartition("/")[2])
        place = _mask_folder(parents, top)
        names = (stem, _bare(stem), _PART_SUFFIX.sub("", stem))
        candidates = next((images[key] for name in names if (key := name.casefold()) in images), [])
        image = _nearest(parents, place, candidates)
        if image is None:
            found.lonely.append(path)
        else:
            inner = [] if place is None else [parents[place], *_without_names_of(image, parents[place + 1 :])]
            matched.append(_Mask(path, image, *_kind_and_side(" / ".join([*inner, stem[len(image_stem(image)) :]]))))
    _gather(found, matched)
    return found


def two_valued(folder: Path, masks: Sequence[str]) -> bool:
    """Whether some masks of each folder hold two grey values (or nearly: what JPEG makes of two)."""
    of_folder: dict[str, list[str]] = defaultdict(list)
    for path in masks:
        of_folder[path.rpartition("/")[0]].append(path)
    samples = [
        paths[len(paths) * n // _SAMPLES_OF_A_FOLDER]
        for paths in of_folder.values()
        for n in range(min(len(paths), _SAMPLES_OF_A_FOLDER))
    ]
    return bool(samples) and all(_is_two_valued(folder / path) for path in samples[:_MOST_SAMPLES])


def _mask_folder(parents: Sequence[str], top: int) -> int | None:
    """Index of the parent that is a folder of masks; the innermost one that is called after masks or images decides."""
    for index in range(len(parents) - 1, top - 1, -1):
        name = parents[index].lower()
        if _MASK_FOLDER.search(name):
            if not (_IMAGE_FOLDER.search(name) and _BOTH.search(name)):
                return index
        elif _IMAGE_FOLDER.search(name):
            return None
    return None


def _bare(stem: str) -> str:
    """A mask's name without what says that it is one."""
    return _PREFIX.sub("", _SUFFIX.sub("", stem)) or stem


def _nearest(parents: Sequence[str], place: int | None, images: Sequence[str]) -> str | None:
    """The one image whose folders agree with those of a mask."""
    inner = [] if place is None else [n for n in parents[place + 1 :] if _kind_and_side(n)[0] not in ("lung", "other")]
    own = _places([*parents[:place], *(name for name in inner if not _SIDE.search(name.lower()))])
    fitting = [i for i in images if (places := _places(i.split("/")[:-1])) <= own or own <= places]
    if len(fitting) > 1:
        common = [common_length([parents, image.split("/")[:-1]]) for image in fitting]
        fitting = [image for image, length in zip(fitting, common, strict=True) if length == max(common)]
    if len(fitting) > 1:
        fitting = [image for image in fitting if _places(image.split("/")[:-1]) == own]
    return fitting[0] if len(fitting) == 1 else None


def _places(parents: Sequence[str]) -> frozenset[str]:
    """The folders that are not called after masks or images: classes, splits, patients."""
    names = (name.lower() for name in parents)
    return frozenset(
        n for n in names if n not in CONTAINERS and not _MASK_FOLDER.search(n) and not _IMAGE_FOLDER.search(n)
    )


def _without_names_of(image: str, names: Sequence[str]) -> list[str]:
    # A class below the masks may be called after a lesion; where the image lies in it, too, it tells no kind of mask.
    return [name for name in names if name not in image.split("/")]


def _kind_and_side(told: str) -> tuple[str, str]:
    lower = told.lower()
    kind = next((kind for kind, words in reversed(_KINDS.items()) if words.search(lower)), "")
    side = _SIDE.search(lower)
    return kind, side[1] if side else ""


def _gather(found: MaskFiles, matched: Sequence[_Mask]) -> None:
    sides: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for mask in matched:
        sides[mask.kind, mask.image].setdefault(mask.side, mask.path)
    for (kind, image), paths in sides.items():
        of_kind = found.kinds.setdefault(kind, {})
        if "" in paths:
            of_kind[image] = paths[""]
        elif len(paths) == 2:
            of_kind[image] = [paths["left"], paths["right"]]
        else:
            found.one_sided += paths.values()


def _is_two_valued(path: Path) -> bool:
    try:
        values = mask_values(path)
    except CXRReadError:
        return False
    distinct = np.unique(values)
    if len(distinct) <= 2:
        return True
    low, high = int(distinct[0]) + _BLUR, int(distinct[-1]) - _BLUR
    return values.dtype == np.uint8 and low < high and bool(((values > low) & (values < high)).mean() < _MOST_BETWEEN)
