# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Images beside masks, matched by name: the commonest form of a segmentation data set.

Folder layout, any of::

    images/1.png            masks/1.png, masks/1_mask.png          (also img, CXR_png ...; mask, lung masks, labels ...)
    images/train/1.png      masks/train/1.png
    COVID/images/1.png      COVID/masks/1.png                      a class, split or patient above
    images/1.png            masks/lung/1.gif, masks/heart/1.gif    a folder per organ
    images/1.png            masks/left/1.png, masks/right/1.png
    1.png                   1_mask.png                             side by side

A folder is recognised by itself when at least half of the files that are called masks have an image of their name, and
those tried hold two grey values.

Items: those of the plain folder (:mod:`monai_cxrssl.data.sources.layouts.plain.folder`, also for who the patient is), with
``lung_mask`` (a path, or ``[left, right]``) or ``lesion_mask``, as the names of mask folders and files tell (``lung``;
``infection``, ``lesion`` ...); where they tell neither, the option ``mask`` decides. Images without a mask are kept.
They, masks without an image, masks of one lung of two and masks of other organs are counted in the log. There are no
labels, unless ``class_folders`` takes them from folders, and no split without that: all items are ``training``.
Licence and citation are those of the data.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Sequence
from pathlib import Path

from monai_cxrssl.data.datalists.datalist import Datalist
from monai_cxrssl.data.sources.layouts.plain import folder as plain_folder
from monai_cxrssl.data.sources.layouts.plain.class_folders import class_folders_of, with_labels_of
from monai_cxrssl.data.sources.trees.class_names import find_classes
from monai_cxrssl.data.sources.trees.mask_files import MaskFiles, find_masks, two_valued
from monai_cxrssl.errors import ConfigurationError, DatalistError

__all__ = ["MASKS", "detect", "read"]

logger = logging.getLogger(__name__)

MASKS = ("lung_mask", "lesion_mask")


def detect(folder: Path, without: Collection[str] = ()) -> bool:
    """Whether masks, known by name and two grey values, have images of their names."""
    folder = Path(folder)
    masks = find_masks(folder, without)
    return 0 < len(masks.masks) <= 2 * masks.matched and two_valued(folder, masks.masks)


def read(
    folder: Path,
    mask: str = "lung_mask",
    class_folders: bool = False,
    without: Collection[str] = (),
    modalities: Collection[str] = plain_folder.KEPT_MODALITIES,
    patient_ids: str = "pseudonym",
    salt_file: str | os.PathLike | None = None,
    patient_from: str | Sequence[str] | None = None,
    patient_pattern: str | None = None,
) -> Datalist:
    """Read the images and masks in ``folder``.

    Args:
        folder: the top of the tree.
        mask: what masks are whose names do not tell it, ``"lung_mask"`` or ``"lesion_mask"``.
        class_folders: take labels and split from folders, as :mod:`monai_cxrssl.data.sources.layouts.plain.class_folders`.
        without: files and folders, relative to ``folder``, that are passed over.
        modalities, patient_ids, salt_file, patient_from, patient_pattern: see
            :func:`monai_cxrssl.data.sources.layouts.plain.folder.read`.

    Raises:
        DatalistError: no mask has an image.
        ConfigurationError: another kind of mask.
    """
    if mask not in MASKS:
        raise ConfigurationError(f"mask is {mask!r}; expected one of {', '.join(MASKS)}.")
    folder = Path(folder)
    found = find_masks(folder, without)
    if not found.matched:
        raise DatalistError(
            f"{folder} holds {len(found.masks)} masks, none of which has an image of its name; expected such as "
            "images/1.png beside masks/1.png or 1.png beside 1_mask.png."
        )
    left_out = {*without, *found.masks, *found.outputs}
    tree = class_folders_of(folder, without=left_out) if class_folders else find_classes(found.images)
    if tree is not None and not class_folders:
        told = f"{', '.join(tree.counts)} look like classes; no labels are taken from them"
        logger.warning("%s: the folders %s; give --option class_folders=true for labels", folder, told)
    datalist = plain_folder.read(
        folder,
        modalities=modalities,
        patient_ids=patient_ids,
        salt_file=salt_file,
        patient_from=patient_from,
        patient_pattern=patient_pattern,
        without=left_out,
        not_patients=tree.names if tree else (),
    )
    fields = {"lung": "lung_mask", "lesion": "lesion_mask", "": mask}
    joined = dict.fromkeys(MASKS, 0)
    for item in datalist.splits["training"]:
        for kind, field in fields.items():
            paths = found.kinds.get(kind, {}).get(item["image"])
            if paths is not None and field not in item:
                item[field] = paths
                joined[field] += 1
    _tell(folder, found, joined, sum(not item.keys() & set(MASKS) for item in datalist.splits["training"]))
    return with_labels_of(datalist, tree) if tree and class_folders else datalist


def _tell(folder: Path, found: MaskFiles, joined: dict[str, int], bare: int) -> None:
    told = {f"joined as {field}": count for field, count in joined.items()}
    told |= {
        "images without a mask": bare,
        "masks without an image": len(found.lonely),
        "masks of one lung without the other": len(found.one_sided),
        "masks of other organs": len(found.kinds.get("other", {})),
        "files that an inference wrote": len(found.outputs),
    }
    counts = ", ".join(f"{count} {what}" for what, count in told.items() if count)
    logger.warning("%s: images beside masks (layout image_mask_folders): %s", folder, counts)
