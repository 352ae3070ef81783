# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Test data of another source on the classes of a model."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from monai_cxrssl.data.datalists.datalist import SPLITS, Datalist, is_known, is_unknown
from monai_cxrssl.data.datalists.label_mapping import LabelMapping
from monai_cxrssl.data.sources.registry import index_folder
from monai_cxrssl.errors import DatalistError

__all__ = ["on_classes_of", "open_test_source"]

logger = logging.getLogger(__name__)


def open_test_source(
    source: Datalist,
    dataset_dir: str | os.PathLike | Sequence[str | os.PathLike] | None = None,
    datalist: str | os.PathLike | None = None,
    class_map: Mapping[str, str | None] | None = None,
) -> Datalist:
    """Open the data that a model is tested on, all its images in the split ``test``, whatever splits it comes in.

    Labels are rewritten onto the classes and the task of ``source``, the data set trained on (:func:`on_classes_of`).
    Each item gets its ``source``, and its patient and study ids get that as prefix, so that patient 5 of this data set
    is not patient 5 of the one trained on; a data set of the same name is taken for the same one, whose patients are
    the same.

    Args:
        source: returned as it is where neither of the next two is given.
        dataset_dir, datalist: see :func:`monai_cxrssl.data.sources.registry.index_folder`.
        class_map: class of the other data set to class of ``source``, see
            :class:`~monai_cxrssl.data.datalists.label_mapping.LabelMapping`.

    Raises:
        DatalistError: the data cannot be used or has no image, no class is shared, or ``class_map`` is wrong.
    """
    if dataset_dir is None and datalist is None:
        if class_map:
            raise DatalistError(
                "class_map is given without another data set to test on; point at one, or leave it out."
            )
        return source
    opened = index_folder(dataset_dir, datalist)
    items = [_named(item, opened.name) for item in opened.all_items()]
    if not items:
        raise DatalistError(f"The test data set {opened.name} has no image; point at one that has.")
    extra = {key: value for key, value in opened.extra.items() if key != "manifest"}
    whole = replace(opened, splits={"test": items}, root=None, extra=extra)
    return on_classes_of(whole, source.classes, source.task, class_map)


def on_classes_of(
    target: Datalist, classes: Sequence[str], task: str, class_map: Mapping[str, str | None] | None = None
) -> Datalist:
    """Rewrite the labels of a data set onto the classes and the task of a model, and log what the two share.

    The rules, and ``class_map``, are those of :mod:`monai_cxrssl.data.datalists.label_mapping`. Same classes in the
    same order and the same task: labels stay. Without classes (a model that only segments) all labels are taken away.

    Returns:
        The same images in the same splits; those of which nothing is known have no ``label``.

    Raises:
        DatalistError: no class is shared, no image has a label of a shared class, or ``class_map`` is wrong.
    """
    classes = list(classes)
    mapping = LabelMapping(target.classes, target.task, classes, task, class_map)
    same = not class_map and list(target.classes) == classes and target.task == task
    shared = classes if same else mapping.shared
    lists = f"{target.name} has {', '.join(target.classes) or 'no classes'}; the model has {', '.join(classes)}"
    if classes and not shared:
        raise DatalistError(
            f"The data set and the model share no class: {lists}. Choose another data set, or say with class_map which "
            "class is which."
        )
    splits: dict[str, list[dict[str, Any]]] = {split: [] for split in SPLITS}
    for split in SPLITS:
        for item in target.splits[split]:
            label = item.get("label") if same else mapping(item.get("label")) if classes else None
            kept = {key: value for key, value in item.items() if key != "label"}
            splits[split].append(kept if label is None else {**kept, "label": label})
    rewritten = replace(target, classes=classes, task=task, splits=splits)
    if classes:
        _tell(rewritten, shared, mapping, lists)
    return rewritten


def _named(item: dict[str, Any], name: str) -> dict[str, Any]:
    """The item with its source, which also begins its patient and study ids, as in a mixture of data sets."""
    source = str(item.get("source") or name)
    item["source"] = source
    for key in ("patient_id", "study_id"):
        if item.get(key) is not None:
            item[key] = f"{source}:{str(item[key]).removeprefix(f'{source}:')}"
    return item


def _tell(rewritten: Datalist, shared: Sequence[str], mapping: LabelMapping, lists: str) -> None:
    labels = [item.get("label") for split in SPLITS for item in rewritten.splits[split]]
    known = [label for label in labels if is_known(label)]
    if not known:
        raise DatalistError(
            f"None of the {len(labels)} images of {rewritten.name} has a known label of a class that the model has: "
            f"{lists}. Choose another data set, or say with class_map which class is which."
        )
    lacking = [name for name in rewritten.classes if name not in shared]
    logger.info(
        "%s: %d of the model's %d classes are shared (%s)%s; %d of its %d images have a known label.",
        rewritten.name,
        len(shared),
        len(rewritten.classes),
        ", ".join(shared),
        f", unknown are {', '.join(lacking)}" if lacking else "",
        len(known),
        len(labels),
    )
    if mapping.idle:
        logger.warning(
            "%s: films of %s have no class of the model for certain and count as unknown; class_map can say which.",
            rewritten.name,
            ", ".join(mapping.idle),
        )
    absent = [f"{kinds} of {', '.join(names)}" for kinds, names in _absent(known, rewritten, shared) if names]
    if absent:
        logger.warning(
            "%s has %s, so how well these are told apart cannot be measured.", rewritten.name, " and ".join(absent)
        )


def _absent(known: Sequence[Any], rewritten: Datalist, shared: Sequence[str]) -> list[tuple[str, list[str]]]:
    """The shared classes without a positive film, and those without a negative one."""
    positives: set[str] = set()
    negatives: set[str] = set()
    for label in known:
        if rewritten.task == "multi_class":
            positives.add(rewritten.classes[label])
            continue
        for name, value in zip(rewritten.classes, label, strict=True):
            if not is_unknown(value):
                (positives if value >= 0.5 else negatives).add(name)
    if rewritten.task == "multi_class":  # a film of one class is a negative of all others
        negatives = {name for name in shared if positives - {name}}
    return [
        ("no positives", [name for name in shared if name not in positives]),
        ("no negatives", [name for name in shared if name not in negatives]),
    ]
