# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Data set with three splits and every class in them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from monai_cxrssl.data.datalists.datalist import SPLITS, Datalist
from monai_cxrssl.data.datalists.datalist_schema import count_known
from monai_cxrssl.data.datalists.split import split_datalist
from monai_cxrssl.errors import DatalistError

__all__ = ["classes_to_learn", "divided_source", "require_classes"]

logger = logging.getLogger(__name__)


def divided_source(
    source: Datalist, seed: int = 0, fractions: Sequence[float] = (0.7, 0.1, 0.2), tested: bool = True
) -> Datalist:
    """Give a data set a training, a validation and a test split, and say in the log what was done.

    A data set that has all three, or all but the test split where nothing is ``tested``, is returned as it is.
    Otherwise its training images are divided by patient among
    training and the splits that are missing, with ``fractions`` of the patients for training, validation and test
    (:func:`~monai_cxrssl.data.datalists.split.split_datalist`).

    Raises:
        DatalistError: nothing is in training, a patient is in two splits that are to be kept, or the patients are too
            few.
        ConfigurationError: fractions that are no division of 1.
    """
    missing = [name for name in ("validation", "test") if not source.splits[name] and (tested or name != "test")]
    if not source.splits["training"]:
        raise DatalistError(
            f"{source.name} has no training images, so there is nothing to fine-tune on; put images into training, or "
            "divide it with the split command."
        )
    if not missing:
        return source
    divided = split_datalist(source, fractions, seed)
    empty = [name for name in SPLITS if not divided.splits[name]]
    if empty:
        patients = len({item["patient_id"] for item in source.splits["training"]})
        raise DatalistError(
            f"The {patients} training patients of {source.name} are too few to divide: no image falls to "
            f"{' and '.join(empty)} (seed {seed}, fractions {', '.join(f'{f:g}' for f in fractions)}); use more "
            "patients, larger fractions or another seed, or divide it with the split command."
        )
    kept = [name for name in ("validation", "test") if name not in missing]
    told = f"its training images were divided by patient with seed {seed}"
    told += f", its {kept[0]} split is kept" if kept else ""
    counts = ", ".join(f"{name} has {_counts(divided.splits[name])}" for name in SPLITS)
    logger.info("%s comes without a %s split: %s; %s.", source.name, " and ".join(missing), told, counts)
    return divided


def classes_to_learn(source: Datalist, masks: bool = False) -> tuple[str, ...]:
    """Return the classes of a data set; DatalistError when it has none and the network learns no ``masks`` either."""
    if not source.classes and not masks:
        raise DatalistError(
            f"{source.name} has no classes to learn, and the network has no decoder for masks. Bring a datalist with "
            "'classes' and labels, or a data set whose layout knows them (python -m monai_cxrssl index shows what is "
            "found); for masks alone take the bundle lung_segmentation."
        )
    return tuple(source.classes)


def require_classes(source: Datalist, ignore_absent: bool = False) -> None:
    """Refuse a division in which a class cannot be learned or the best weights cannot be chosen by it.

    In training and validation each class must have a positive image; for multi-label tasks in validation also a
    negative one. A data set without any known label (for segmentation) has nothing to check. With ``ignore_absent`` the
    log warns instead; such a class is then not learned, or not counted in validation.

    Raises:
        DatalistError: naming the splits and the classes.
    """
    if not source.classes or not source.has_labels:
        return
    told = []
    for split in ("training", "validation"):
        positives, negatives = count_known((item.get("label") for item in source.splits[split]), len(source.classes))
        lacking = [("no image", positives)] if source.task == "multi_class" else [("no positive image", positives)]
        if split == "validation" and source.task == "multi_label":
            lacking.append(("no negative image", negatives))
        for what, counts in lacking:
            absent = [name for name, count in zip(source.classes, counts, strict=True) if not count]
            if absent:
                told.append(f"the {split} split has {what} of {', '.join(absent)}")
    if not told:
        return
    text = f"{source.name}: {'; '.join(told)}"
    if not ignore_absent:
        raise DatalistError(
            f"{text}. Divide it anew with the split command (or another seed), leave the class out, or go on all the "
            "same with --ignore_absent."
        )
    logger.warning("%s. Going on, since ignore_absent is given.", text)


def _counts(items: Sequence[dict[str, Any]]) -> str:
    return f"{len(items)} images of {len({item['patient_id'] for item in items})} patients"
