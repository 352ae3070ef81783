# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Test data of another source on the classes of a model."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from monai_cxrssl.data.datalists.datalist import SPLITS, Datalist, is_known
from monai_cxrssl.data.datalists.datalist_schema import count_known
from monai_cxrssl.data.datalists.findings import mask_findings, parse_findings
from monai_cxrssl.data.datalists.label_mapping import LabelMapping
from monai_cxrssl.data.datalists.label_maps import load_label_map
from monai_cxrssl.data.sources.registry import index_folder
from monai_cxrssl.errors import DatalistError

__all__ = ["on_classes_of", "open_test_source"]

logger = logging.getLogger(__name__)


def open_test_source(
    source: Datalist,
    dataset_dir: str | os.PathLike | Sequence[str | os.PathLike] | None = None,
    datalist: str | os.PathLike | None = None,
    class_map: Mapping[str, str | None] | None = None,
    collapse: Any = None,
    findings: str | Sequence[str] | None = None,
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
            :class:`~monai_cxrssl.data.datalists.label_mapping.LabelMapping`; with ``collapse`` further entries of it.
        collapse: what brought the labels of ``source`` onto its classes and is to bring those of the other data set
            there, see :func:`~monai_cxrssl.data.datalists.label_maps.load_label_map`.
        findings: see :func:`on_classes_of`.

    Raises:
        DatalistError: the data cannot be used or has no image, no class is shared, or ``class_map`` is wrong.
    """
    if dataset_dir is None and datalist is None:
        if class_map:
            raise DatalistError(
                "class_map is given without another data set to test on; point at one, or leave it out."
            )
        return source
    label_map = load_label_map(collapse)
    if label_map is not None:
        label_map, class_map = label_map.with_classes(class_map), None
    opened = index_folder(dataset_dir, datalist, label_map)
    items = [_named(item, opened.name) for item in opened.all_items()]
    if not items:
        raise DatalistError(f"The test data set {opened.name} has no image; point at one that has.")
    extra = {key: value for key, value in opened.extra.items() if key != "manifest"}
    whole = replace(opened, splits={"test": items}, root=None, extra=extra)
    return on_classes_of(whole, source.classes, source.task, class_map, findings)


def on_classes_of(
    target: Datalist,
    classes: Sequence[str],
    task: str,
    class_map: Mapping[str, str | None] | None = None,
    findings: str | Sequence[str] | None = None,
) -> Datalist:
    """Rewrite the labels of a data set onto the classes and the task of a model, and log what the two share.

    The rules, and ``class_map``, are those of :mod:`monai_cxrssl.data.datalists.label_mapping`. Same classes in the
    same order and the same task: labels stay. Without classes (a model that only segments) all labels are taken away.

    ``findings``, as :func:`~monai_cxrssl.data.datalists.findings.parse_findings` takes them, are the classes that
    count; labels of the others become unknown.

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
    labels = [item.get("label") for split in SPLITS for item in target.splits[split]]
    if not same:
        labels = [mapping(label) if classes else None for label in labels]
    rewritten = target.with_labels(labels, classes, task)
    if classes:
        _tell(rewritten, labels, shared, mapping, lists)
    return mask_findings(rewritten, parse_findings(findings)) if findings else rewritten


def _named(item: dict[str, Any], name: str) -> dict[str, Any]:
    """The item with its source, which also begins its patient and study ids, as in a mixture of data sets."""
    source = str(item.get("source") or name)
    item["source"] = source
    for key in ("patient_id", "study_id"):
        if item.get(key) is not None:
            item[key] = f"{source}:{str(item[key]).removeprefix(f'{source}:')}"
    return item


def _tell(rewritten: Datalist, labels: Sequence[Any], shared: Sequence[str], mapping: LabelMapping, lists: str) -> None:
    known = [label for label in labels if is_known(label)]
    if not known:
        raise DatalistError(
            f"None of the {len(labels)} images of {rewritten.name} has a known label of a class that the model has: "
            f"{lists}. Choose another data set, or say with class_map which class is which."
        )
    name, classes = rewritten.name, rewritten.classes
    lacking = [other for other in classes if other not in shared]
    told = f"{len(shared)} of the model's {len(classes)} classes are shared ({', '.join(shared)})"
    told += f", unknown are {', '.join(lacking)}" if lacking else ""
    logger.info("%s: %s; %d of its %d images have a known label.", name, told, len(known), len(labels))
    if mapping.idle:
        told = f"images of {', '.join(mapping.idle)} have no class of the model for certain and count as unknown"
        logger.warning("%s: %s; class_map can say which.", name, told)
    absent = []
    for kinds, counts in zip(("no positives", "no negatives"), count_known(known, len(classes)), strict=True):
        without = [other for other, count in zip(classes, counts, strict=True) if other in shared and not count]
        absent += [f"{kinds} of {', '.join(without)}"] if without else []
    if absent:
        told = "so how well these are told apart cannot be measured"
        logger.warning("%s has %s, %s.", name, " and ".join(absent), told)
