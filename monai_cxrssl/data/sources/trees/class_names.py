# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Folders named after classes, told from folders of patients.

A level of the tree holds classes when its folders are few and (1) a third of them or more bear a class's name
(``NORMAL``, ``COVID19``, ``Lung_Opacity``), or (2) the same ones repeat below ``train`` and ``test``, or (3) each holds
many images and no folder: one patient has no 50 images, and no 20 below a name without digits. Folders that differ by a
number alone (``p1``, ``p2``; ``COVID_001``, ``COVID_002``) are people.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from monai_cxrssl.data.datalists.vocabulary import canonical_pathology
from monai_cxrssl.data.sources.trees.walk import common_length

__all__ = ["CONTAINERS", "SPLIT_NAMES", "ClassFolders", "class_key", "find_classes", "named_level"]
__all__ += ["split_of_word"]

SPLIT_NAMES = {
    **dict.fromkeys(("training", "train", "trn"), "training"),
    **dict.fromkeys(("validation", "valid", "validate", "val", "vld", "dev", "development"), "validation"),
    **dict.fromkeys(("test", "testing", "tst"), "test"),
}
# Folders that stand for neither a class nor a patient.
CONTAINERS = frozenset({
    "data", "dataset", "image", "images", "img", "imgs", "dicom", "dicoms", "dcm", "png", "jpg", "jpeg", "mask",
    "masks",
})  # fmt: skip
_CLASS_WORD = re.compile(
    r"normal|health|pneumo|covid|corona|sars|tur?bercul|bacteri|viral|virus|positive|negative|opacit|nodul|effusion|cancer"
    r"|tumou?r|disease|infect|sick|finding|(?<![a-z])tb(?![a-z])"
)
_MOST_CLASSES = 20
_FEW_FOLDERS = 12
_MANY_IMAGES, _MANY_OF_A_WORD = 50, 20
_DEEPEST = 3


@dataclass(frozen=True)
class ClassFolders:
    """The class folders of a tree.

    Args:
        top: how many folders all images lie below.
        level: how deep the classes lie below these, splits and :data:`CONTAINERS` not counted; 0 is the first.
        counts: images of each class, under the name that comes first in sorted order of its spellings.
        names: class of each folder name.
    """

    top: int
    level: int
    counts: dict[str, int]
    names: dict[str, str]

    def name(self, image: str) -> str | None:
        """Class of an image by its path, ``None`` outside of all classes."""
        return self._name(image.split("/")[self.top : -1])

    def split(self, image: str) -> str | None:
        """Split that the outermost folder named after one tells, such as ``train``; ``None`` without one."""
        return _split_of(image.split("/")[self.top : -1])

    def _name(self, parents: Sequence[str]) -> str | None:
        levels = _levels(parents)
        return self.names.get(levels[self.level]) if len(levels) > self.level else None


def class_key(name: str) -> str:
    """What spellings of one class have in common (``COVID-19``, ``Covid19``)."""
    return re.sub(r"[\W_]+", "", name).casefold() or name


def find_classes(images: Iterable[str]) -> ClassFolders | None:
    """Find the level whose folders look like classes, from the paths of all images."""
    top, folders = _folders(images)
    levels = [found for level in range(_DEEPEST) if (found := _level(top, folders, level))]
    for found in levels:
        if _bear_class_names(found) or _repeat_in_splits(folders, found):
            return found
    return levels[0] if levels and _hold_many(folders, levels[0]) else None


def named_level(images: Iterable[str], level: int) -> ClassFolders | None:
    """The folders of a level as classes, whatever their names; ``None`` when there are less than two."""
    return _level(*_folders(images), level)


def _folders(images: Iterable[str]) -> tuple[int, Counter[tuple[str, ...]]]:
    """How many folders all images lie below, and the images in each folder (its names below these)."""
    counts = Counter(image.rpartition("/")[0] for image in images)
    parents = {folder: folder.split("/") if folder else [] for folder in counts}
    top = common_length(parents.values())
    return top, Counter({tuple(names[top:]): counts[folder] for folder, names in parents.items()})


def _level(top: int, folders: Counter[tuple[str, ...]], level: int) -> ClassFolders | None:
    written: Counter[str] = Counter()
    for parents, images in folders.items():
        if len(levels := _levels(parents)) > level:
            written[levels[level]] += images
    first: dict[str, str] = {}
    names = {name: first.setdefault(class_key(name), name) for name in sorted(written)}
    counts = dict.fromkeys(first.values(), 0)
    for name, images in written.items():
        counts[names[name]] += images
    return ClassFolders(top, level, counts, names) if len(counts) > 1 else None


def split_of_word(word: str) -> str | None:
    """Return the split that a word of a table or folder names, ``None`` for other words.

    Example:
        >>> split_of_word("Train"), split_of_word("VALID "), split_of_word("test_set"), split_of_word("trainee")
        ('training', 'validation', 'test', None)
    """
    plain = word.strip().casefold()
    return SPLIT_NAMES.get(plain) or SPLIT_NAMES.get(re.sub(r"[-_ ]?(?:set|split|data)$", "", plain))


def _split_of(parents: Sequence[str]) -> str | None:
    return next((split for name in parents if (split := split_of_word(name))), None)


def _levels(parents: Sequence[str]) -> list[str]:
    return [name for name in parents if name.lower() not in CONTAINERS and not split_of_word(name)]


def _could_be_classes(names: Collection[str]) -> bool:
    if len(names) > _MOST_CLASSES:
        return False
    stripped = {re.sub(r"\d+", "", class_key(name)) for name in names}
    return len(stripped) == len(names) and "" not in stripped


def _bear_class_names(found: ClassFolders) -> bool:
    if not _could_be_classes(found.counts):
        return False
    words = sum(bool(_CLASS_WORD.search(name.lower()) or canonical_pathology(name)) for name in found.counts)
    return 3 * words >= len(found.counts)


def _repeat_in_splits(folders: Counter[tuple[str, ...]], found: ClassFolders) -> bool:
    if not _could_be_classes(found.counts) or not _is_flat(folders, found):
        return False
    of_split: dict[str, set[str]] = defaultdict(set)
    for parents in folders:
        split, name = _split_of(parents), found._name(parents)
        if split and name:
            of_split[split].add(name)
    pairs = itertools.combinations(of_split.values(), 2)
    repeated = any(len(a & b) > 1 and len(a & b) >= 0.8 * len(a | b) for a, b in pairs)
    return repeated and sum(found.counts.values()) >= 2 * sum(map(len, of_split.values()))


def _hold_many(folders: Counter[tuple[str, ...]], found: ClassFolders) -> bool:
    words = not any(re.search(r"\d", name) for name in found.counts)
    many = _MANY_OF_A_WORD if words else _MANY_IMAGES
    return len(found.counts) <= _FEW_FOLDERS and min(found.counts.values()) >= many and _is_flat(folders, found)


def _is_flat(folders: Counter[tuple[str, ...]], found: ClassFolders) -> bool:
    deeper = sum(images for parents, images in folders.items() if len(_levels(parents)) > found.level + 1)
    return deeper <= folders.total() // 10
