# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Schema of a datalist file, checked field by field."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from monai_cxrssl.errors import DatalistError

__all__ = ["SPLITS", "TASKS", "count_known", "is_known", "is_path_field", "is_unknown", "positive_classes"]
__all__ += ["validate_datalist"]

SPLITS = ("training", "validation", "test")
TASKS = ("multi_class", "multi_label")
SHOWN_PROBLEMS = 3


def is_unknown(value: Any) -> bool:
    """Whether a label, or one entry of a multi-label label, is unknown (``None`` or NaN)."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def is_known(label: Any) -> bool:
    """Whether a label tells something: a class, or for a multi-label one at least one entry."""
    if isinstance(label, list | tuple):
        return any(not is_unknown(value) for value in label)
    return not is_unknown(label)


def positive_classes(label: Any) -> list[int]:
    """The numbers of the classes that a label is known to be positive for: 0.5 or more."""
    if isinstance(label, list | tuple):
        return [index for index, value in enumerate(label) if not is_unknown(value) and value >= 0.5]
    return [] if is_unknown(label) else [int(label)]


def count_known(labels: Iterable[Any], classes: int) -> tuple[list[int], list[int]]:
    """For each class the number of labels that are known to be positive, and of those known to be negative."""
    positives, negatives = [0] * classes, [0] * classes
    for label in labels:
        if is_unknown(label):
            continue
        values = label if isinstance(label, list | tuple) else [float(number == label) for number in range(classes)]
        for number, value in enumerate(values):
            if not is_unknown(value):
                (positives if value >= 0.5 else negatives)[number] += 1
    return positives, negatives


def is_path_field(key: str) -> bool:
    """Whether a field of an item holds a path (or several): the image and every kind of mask."""
    return key == "image" or key.endswith("_mask")


def validate_datalist(content: Any, origin: str = "the datalist", root: str | os.PathLike | None = None) -> None:
    """Check the parsed content of a datalist file.

    Args:
        content: the parsed JSON.
        origin: the file or folder that the message names.
        root: folder of relative paths, so that two spellings of one path are found to be the same image.

    Raises:
        DatalistError: naming the file, the split, the item number (counted from 0) and the field of the first few
            problems, and how many there are.
    """
    problems = list(_problems(content, "" if root is None else os.fspath(root)))
    if not problems:
        return
    if len(problems) == 1:
        raise DatalistError(f"Datalist {origin}: {problems[0]}.")
    listed = "; ".join(f"({n}) {text}" for n, text in enumerate(problems[:SHOWN_PROBLEMS], 1))
    first = f", the first {SHOWN_PROBLEMS}" if len(problems) > SHOWN_PROBLEMS else ""
    raise DatalistError(f"Datalist {origin} has {len(problems)} problems{first}: {listed}.")


def _problems(content: Any, root: str) -> Iterator[str]:
    if not isinstance(content, dict):
        yield f"its content is {_kind(content)}; expected an object with the lists {', '.join(SPLITS)}"
        return
    classes = content.get("classes") or []
    if not (isinstance(classes, list | tuple) and all(isinstance(name, str) and name for name in classes)):
        yield '"classes" must be a list of names'
        classes = []
    elif len(set(classes)) != len(classes):
        yield '"classes" names a class twice'
    task = content.get("task")
    if task is not None and task not in TASKS:
        yield f'"task" is {task!r}; expected one of {", ".join(TASKS)}'
    seen: dict[str, str] = {}
    count = labels = 0
    for split in SPLITS:
        items = content.get(split)
        if items is None:
            continue
        if not isinstance(items, list | tuple):
            yield f'the split "{split}" is {_kind(items)}; expected a list of items'
            continue
        count += len(items)
        for number, item in enumerate(items):
            place = f'item {number} (counted from 0) of "{split}"'
            if not isinstance(item, dict):
                yield f"{place} is {_kind(item)}; expected an object with image and patient_id"
                continue
            labels += is_known(item.get("label"))
            for problem in _item_problems(item, classes, task):
                yield f"{place} {problem}"
            image = item.get("image")
            if isinstance(image, str) and image.strip():
                key = os.path.normpath(os.path.join(root, image))  # noqa: PTH118 (no file access)
                if key in seen:
                    yield f"{place} names the same image as {seen[key]}: {image}"
                seen.setdefault(key, place)
    if labels and not classes:
        yield f'{labels} items have a label, but "classes" is missing or empty'
    if labels and task is None:
        yield f'{labels} items have a label, but "task" is missing; expected one of {", ".join(TASKS)}'
    if not count:
        keys = ", ".join(map(str, content)) or "none"
        yield f"it holds no items in {', '.join(SPLITS)} (its keys: {keys})"


def _item_problems(item: dict[str, Any], classes: Sequence[str], task: str | None) -> Iterator[str]:
    if "image" not in item:
        yield 'has no "image"; expected the path of a file'
    elif not (isinstance(item["image"], str) and item["image"].strip()):
        yield f'has an "image" that is {_kind(item["image"])}; expected the path of a file'
    patient = item.get("patient_id")
    if "patient_id" not in item:
        yield 'has no "patient_id"; expected the text that tells its patient from all others'
    elif isinstance(patient, bool) or not isinstance(patient, str | int) or not str(patient).strip():
        yield f'has a "patient_id" that is {_kind(patient)}; expected a text that is not empty'
    mask = item.get("lung_mask")
    if mask is not None and not (isinstance(mask, str) and mask) and not _is_pair_of_paths(mask):
        yield '"lung_mask" must be a path or the two paths [left, right]'
    yield from _label_problems(item.get("label"), classes, task)


_NUMBERS = frozenset((int, float, type(None)))
_PLAIN_LABELS = frozenset((None, 0.0, 1.0))


def _label_problems(label: Any, classes: Sequence[str], task: str | None) -> Iterator[str]:
    if is_unknown(label) or not classes or task not in TASKS:
        return
    if task == "multi_class":
        # A whole number may have more digits than a float can hold.
        whole = isinstance(label, int) or (isinstance(label, float) and label.is_integer())
        whole = whole and not isinstance(label, bool)
        if not whole:
            yield f'has the "label" {label!r}; expected a class number or null'
        elif not 0 <= label < len(classes):
            yield f'has the "label" {label!r}; expected 0 to {len(classes) - 1} ({len(classes)} classes) or null'
        return
    if not isinstance(label, list | tuple):
        yield f'has a "label" that is {_kind(label)}; expected a list of {len(classes)} values'
    elif len(label) != len(classes):
        yield f'has a "label" of {len(label)} values; expected {len(classes)}, one per class'
    elif _NUMBERS.issuperset(map(type, label)) and _PLAIN_LABELS.issuperset(label):
        return  # nearly all of them, and fourteen values one by one are slow
    else:
        for value, name in zip(label, classes, strict=True):
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not is_unknown(value) and not (number and 0 <= value <= 1):
                yield f'has the value {value!r} for {name!r} in its "label"; expected 0 to 1, or null'


def _is_pair_of_paths(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(isinstance(p, str) and p for p in value)


def _kind(value: Any) -> str:
    """What a JSON value is, in a person's words."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return "a text" if value.strip() else "an empty text"
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, list | tuple):
        return "a list"
    return "an object" if isinstance(value, dict) else f"a {type(value).__name__}"
