# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""A folder per class, perhaps below a folder per split; the commonest form of chest X-rays on Kaggle.

Folder layout::

    train/NORMAL/<anything>.png         train, val and test (or training, valid, testing ...), or no such level
    train/PNEUMONIA/<anything>.png      or NORMAL/train/..., or NORMAL/images/...
    test/NORMAL/<patient>/<image>.dcm    folders below the classes are patients

Classes (multi-class): the names of the folders as they stand, sorted, or ``classes``; names that differ in capitals,
blanks, hyphens and underscores alone are one class. Images that lie in no class are kept without a label and counted.
Masks (:mod:`monai_cxrssl.data.sources.trees.mask_files`) are left out and counted: the layout ``image_mask_folders``
joins them, and takes these labels too.

Items: those of the plain folder (also for who the patient is), with
``label``. Images below a folder named after a split are in it, all others in ``training``.

No folder is recognised as this layout by itself, since folders may as well be departments or patients; the plain
folder names those that look like classes. Licence and citation are those of the data.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from monai_cxrssl.data.datalists.datalist import Datalist
from monai_cxrssl.data.sources.layouts.plain import folder as plain_folder
from monai_cxrssl.data.sources.trees.class_names import (
    ClassFolders,
    class_key,
    find_classes,
    named_level,
)
from monai_cxrssl.data.sources.trees.mask_files import find_masks, two_valued
from monai_cxrssl.data.sources.trees.walk import image_files, is_within
from monai_cxrssl.errors import ConfigurationError, DatalistError

__all__ = ["class_folders_of", "detect", "read", "with_labels_of"]

logger = logging.getLogger(__name__)


def detect(folder: Path) -> bool:
    """Always ``False``: what folders stand for must be said by somebody who knows it."""
    return False


def read(
    folder: Path,
    level: int | None = None,
    classes: Sequence[str] | None = None,
    without: Collection[str] = (),
    **plain: Any,
) -> Datalist:
    """Read the folders in ``folder``.

    Args:
        folder: the top of the tree.
        level: which level of folders the classes are, counted from 1 without splits and folders such as ``images``;
            by default the one whose names look like classes, else the first.
        classes: the folders that are classes, in label order; by default all of that level, sorted.
        without: files and folders, relative to ``folder``, that are passed over.
        plain: further options of :func:`monai_cxrssl.data.sources.layouts.plain.folder.read`.

    Raises:
        DatalistError: there are no two folders of images side by side, or no image.
        ConfigurationError: a class has no folder, or a level is below 1.
    """
    folder = Path(folder)
    masks = find_masks(folder, without)
    left_out = {*masks.outputs, *(masks.masks if two_valued(folder, masks.masks) else ())}
    if left_out:
        remedy = "--layout image_mask_folders --option class_folders=true joins masks with their images"
        logger.warning("%s: %d masks are no images and left out; %s", folder, len(left_out), remedy)
    left_out |= set(without)
    tree = class_folders_of(folder, level, classes, left_out)
    datalist = plain_folder.read(folder, **{"not_patients": tree.names, **plain, "without": without})
    return with_labels_of(datalist, tree)


def class_folders_of(
    folder: Path, level: int | None = None, classes: Sequence[str] | None = None, without: Collection[str] = ()
) -> ClassFolders:
    """The class folders below ``folder``; arguments and errors of :func:`read`."""
    if level is not None and (isinstance(level, bool) or not isinstance(level, int) or level < 1):
        raise ConfigurationError(f"level is {level!r}; expected 1 for the first level of folders, 2 for the second ...")
    images = [path for path in image_files(folder) if not is_within(path, set(without))]
    found = (find_classes(images) if level is None else None) or named_level(images, (level or 1) - 1)
    if found is None:
        raise DatalistError(
            f"{folder} holds no two folders of images side by side{'' if level is None else f' at level {level}'}; "
            "expected a folder per class, such as train/NORMAL and train/PNEUMONIA."
        )
    if classes is None:
        return found
    of_key = {class_key(name): name for name in found.counts}
    unknown = [name for name in classes if class_key(name) not in of_key]
    if unknown or isinstance(classes, str):
        raise ConfigurationError(
            f"classes is {classes!r}; expected names of the folders of {folder}, which are {', '.join(found.counts)}."
        )
    names = {spelling: of for spelling, of in found.names.items() if class_key(of) in map(class_key, classes)}
    new = {of_key[class_key(name)]: name for name in classes}
    counts = {name: found.counts[old] for old, name in new.items()}
    return ClassFolders(found.top, found.level, counts, {spelling: new[of] for spelling, of in names.items()})


def with_labels_of(datalist: Datalist, tree: ClassFolders) -> Datalist:
    """The images of a plain folder with labels and splits of its class folders."""
    numbers = {name: number for number, name in enumerate(tree.counts)}
    splits: dict[str, list[dict[str, Any]]] = {}
    items = [item for split in datalist.splits.values() for item in split]
    bare = 0
    for item in items:
        name = tree.name(item["image"])
        bare += name is None
        label = {} if name is None else {"label": numbers[name]}
        splits.setdefault(tree.split(item["image"]) or "training", []).append(item | label)
    if bare:
        logger.warning("%s: %d of %d images lie in no class and get no label", datalist.root, bare, len(items))
    return replace(datalist, classes=tuple(numbers), task="multi_class", splits=splits)
