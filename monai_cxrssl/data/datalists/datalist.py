# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Datalist of images, patients and labels in MONAI's Decathlon form.

A datalist file is one JSON object: ``{"name", "classes", "task", "training": [...], "validation": [...], "test":
[...]}``. Each item is ``{"image", "patient_id", "study_id"?, "view_position"?, "lung_mask"?, "label"?, "sex"?, "age"?,
"source"?, ...}``; paths are relative to the data set's folder; a label of ``null`` or NaN is unknown and never counted.
"""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from monai_cxrssl.data.datalists.datalist_schema import (
    SPLITS,
    TASKS,
    count_known,
    is_known,
    is_path_field,
    is_unknown,
    validate_datalist,
)
from monai_cxrssl.data.datalists.left_out import map_examples
from monai_cxrssl.errors import DatalistError
from monai_cxrssl.files import atomic_write

__all__ = ["SPLITS", "TASKS", "Datalist", "is_known", "is_unknown", "load_datalist", "save_datalist"]
__all__ += ["validate_datalist", "write_datalist"]

logger = logging.getLogger(__name__)

_OWN_KEYS = ("name", "classes", "task", *SPLITS)
# Made once: json.dumps with options makes an encoder per call, and an item is a call.
_ENCODER = json.JSONEncoder(allow_nan=False)


@dataclass(frozen=True)
class Datalist:
    """The images of a data set in their splits; made by a layout or :func:`load_datalist`, changed by nobody.

    Args:
        name: what the data set is called in logs and as ``source``.
        classes: class names in label order; empty when nothing is labelled.
        task: ``"multi_class"`` (a label is one class number) or ``"multi_label"`` (one value per class).
        splits: items of ``"training"``, ``"validation"`` and ``"test"``; missing splits are empty.
        root: the folder that relative paths start from; ``None`` when all paths are absolute.
        extra: further entries of the file beside these, such as the ``"manifest"`` of a split; kept as they are.
    """

    name: str = "dataset"
    classes: Sequence[str] = ()
    task: str = "multi_class"
    splits: Mapping[str, Sequence[dict[str, Any]]] = field(default_factory=dict)
    root: Path | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", tuple(self.classes))
        object.__setattr__(self, "splits", {split: tuple(self.splits.get(split, ())) for split in SPLITS})
        object.__setattr__(self, "root", None if self.root is None else Path(self.root).absolute())

    @classmethod
    def from_dict(cls, content: Any, root: str | os.PathLike | None = None, origin: str = "the datalist") -> Datalist:
        """Take over the parsed content of a datalist file, whose paths are relative to ``root``.

        Raises:
            DatalistError: see :func:`validate_datalist`; it names ``origin``, the file or folder.
        """
        validate_datalist(content, origin, root)
        task = content.get("task") or "multi_class"
        splits = {s: [_normalised(item, task) for item in content.get(s) or ()] for s in SPLITS}
        extra = {key: value for key, value in content.items() if key not in _OWN_KEYS}
        name, base = str(content.get("name") or "dataset"), None if root is None else Path(root)
        return cls(name, content.get("classes") or (), task, splits, base, extra)

    def items(self, split: str = "training") -> list[dict[str, Any]]:
        """Copies of the items of one split, their paths made absolute with :attr:`root`."""
        if split not in SPLITS:
            raise DatalistError(f"A datalist has no split {split!r}; its splits are {', '.join(SPLITS)}.")
        return [self._resolved(item) for item in self.splits[split]]

    def all_items(self) -> list[dict[str, Any]]:
        """Copies of the items of all splits, in the order training, validation, test."""
        return [item for split in SPLITS for item in self.items(split)]

    @property
    def patients(self) -> list[str]:
        """The patient ids over all splits, in order of first appearance."""
        return list(self._images_per_patient())

    @property
    def multi_image_bags(self) -> int:
        """How many patients have two images or more."""
        return sum(count > 1 for count in self._images_per_patient().values())

    @property
    def has_labels(self) -> bool:
        """Whether any item has a known label."""
        return any(is_known(item.get("label")) for split in SPLITS for item in self.splits[split])

    def with_labels(self, labels: Iterable[Any], classes: Sequence[str], task: str) -> Datalist:
        """The same items with other labels, one for each over the splits in their order, ``None`` where unknown."""
        remaining, splits = iter(labels), {}
        for split in SPLITS:
            bare = [{key: value for key, value in item.items() if key != "label"} for item in self.splits[split]]
            pairs = zip(bare, remaining, strict=False)
            splits[split] = [item if label is None else item | {"label": label} for item, label in pairs]
        return replace(self, classes=classes, task=task, splits=splits)

    def summary(self) -> dict[str, Any]:
        """Counts for logs and ``metrics.json``.

        ``{"name", "images", "patients", "multi_image_bags", "patients_known_by": {evidence: images}, "left_out": {kind:
        files that were found and are no chest X-rays}, "masks": {field: items that have it}, "splits": {split:
        {"images", "patients", "classes": {class: count}, "unknown": items without any known label}}}``; empty splits
        are left out. Evidence is ``patient_from`` of the items, ``"data set"`` where they have none.
        """
        splits = {}
        for split in SPLITS:
            items = self.splits[split]
            if not items:
                continue
            labels = [item.get("label") for item in items]
            classes = dict(zip(self.classes, count_known(labels, len(self.classes))[0], strict=True))
            unknown = sum(not is_known(label) for label in labels)
            patients = len({item["patient_id"] for item in items})
            splits[split] = {"images": len(items), "patients": patients, "classes": classes, "unknown": unknown}
        fields = (key for items in self.splits.values() for item in items for key in item)
        masks = Counter(field for field in fields if field.endswith("_mask"))
        return {
            "name": self.name,
            "images": sum(part["images"] for part in splits.values()),
            "patients": len(self.patients),
            "multi_image_bags": self.multi_image_bags,
            "left_out": {kind: record["count"] for kind, record in (self.extra.get("left_out") or {}).items()},
            "masks": dict(masks),
            "patients_known_by": dict(
                Counter(item.get("patient_from", "data set") for split in SPLITS for item in self.splits[split])
            ),
            "splits": splits,
        }

    def to_dict(self, dataset_dir: str | os.PathLike | None = None) -> dict[str, Any]:
        """The content of a datalist file, strict JSON (NaN becomes null).

        Paths are written relative to ``dataset_dir`` (absolute where outside it); ``None`` writes them as they are held
        here.
        """
        content: dict[str, Any] = {"name": self.name, "classes": list(self.classes), "task": self.task}
        base = "" if dataset_dir is None else os.path.abspath(Path(dataset_dir).expanduser())  # noqa: PTH100
        root = "" if self.root is None else str(self.root)
        for split in SPLITS:
            if dataset_dir is None:
                items = [dict(item) for item in self.splits[split]]
            else:
                # One pass, not items() and then another: this is most of the time of writing 400,000 items.
                items = [
                    _map_paths(item, lambda path: _relative(os.path.join(root, path), base))  # noqa: PTH118
                    for item in self.splits[split]
                ]
            content[split] = [_without_nan(item) for item in items]
        extra = {key: _without_nan(value) for key, value in self.extra.items()}
        if dataset_dir is not None:
            extra = map_examples(extra, lambda path: _relative(os.path.join(root, path), base))  # noqa: PTH118
        return {**extra, **content}

    def _resolved(self, item: dict[str, Any]) -> dict[str, Any]:
        if self.root is None:
            return dict(item)
        return _map_paths(item, lambda path: os.path.join(str(self.root), path))  # noqa: PTH118 (keeps "..")

    def _images_per_patient(self) -> Counter[str]:
        return Counter(item["patient_id"] for split in SPLITS for item in self.splits[split])


def load_datalist(
    path: str | os.PathLike, dataset_dir: str | os.PathLike | None = None, check_files: bool = True
) -> Datalist:
    """Read and check a datalist file.

    Args:
        path: the JSON file.
        dataset_dir: folder that its paths are relative to; by default the folder of the file.
        check_files: look whether any of its images exists, which finds a wrong ``dataset_dir`` early; False for work
            that reads no image.

    Raises:
        DatalistError: the file cannot be read, is no datalist, or names no image that exists.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        raise DatalistError(f"Datalist {path} is a folder; expected a JSON file. Give folders as dataset_dir.")
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise DatalistError(f"Datalist {path} does not exist; give the path of a datalist JSON file.") from None
    except OSError as error:
        raise DatalistError(f"Datalist {path} cannot be opened ({error.strerror or error}).") from None
    except UnicodeDecodeError:
        raise DatalistError(f"Datalist {path} is not a text file in UTF-8; expected a JSON file.") from None
    except json.JSONDecodeError as error:
        raise DatalistError(
            f"Datalist {path} is not valid JSON: {error.msg} in line {error.lineno}, column {error.colno}."
        ) from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, lists within lists without end
        raise DatalistError(f"Datalist {path} cannot be read as JSON: {str(error).split(';')[0]}.") from None
    root = path.absolute().parent if dataset_dir is None else Path(dataset_dir).expanduser()
    if not root.is_dir():
        raise DatalistError(f"The folder {root}, which the paths of datalist {path} start from, does not exist.")
    datalist = Datalist.from_dict(content, root, origin=str(path))
    images = [os.path.join(root, item["image"]) for split in SPLITS for item in datalist.splits[split]]  # noqa: PTH118
    if check_files and not any(os.path.lexists(image) for image in images):
        raise DatalistError(
            f"None of the {len(images)} images of datalist {path} exists under {root} (the first is looked for at "
            f"{images[0]}); give the folder that its paths start from as dataset_dir."
        )
    shared = _patients_in_several_splits(datalist)
    if shared:
        told = f"{len(shared)} patients have images in more than one split (such as {shared[0]})"
        logger.warning("datalist %s: %s; figures on them are too good", path, told)
    return datalist


def save_datalist(datalist: Datalist, path: str | os.PathLike, dataset_dir: str | os.PathLike | None = None) -> Path:
    """Write a datalist file in one step (a reader finds the old file or the whole new one), and return its path.

    Written paths are relative to ``dataset_dir``, by default the file's own folder, where :func:`load_datalist` looks
    by default; paths outside it are absolute. A missing folder is made.
    """
    path = Path(path).expanduser().absolute()
    return write_datalist(datalist.to_dict(path.parent if dataset_dir is None else dataset_dir), path)


def write_datalist(content: Mapping[str, Any], path: str | os.PathLike) -> Path:
    """Write what :meth:`Datalist.to_dict` gave as :func:`save_datalist` does, one item per line for short diffs.

    Raises:
        DatalistError: it holds an infinite number.
    """
    path = Path(path).expanduser().absolute()
    try:
        with atomic_write(path, sync=True) as partial:
            with open(partial, "w", encoding="utf-8") as stream:
                stream.writelines(_lines(content))
            if path.exists():  # whom its owner lets read it does not change
                partial.chmod(path.stat().st_mode & 0o777)
    except UnicodeError:
        raise
    except ValueError:
        raise DatalistError(
            f"Datalist {path} cannot be written: it holds an infinite number, which JSON does not know; correct "
            "the item, or use null for what is unknown."
        ) from None
    return path


def _normalised(item: dict[str, Any], task: str) -> dict[str, Any]:
    item = {**item, "patient_id": str(item["patient_id"]).strip()}
    label: Any = item.get("label")
    if is_unknown(label):
        item.pop("label", None)
    elif task == "multi_class":
        item["label"] = int(label)
    else:
        item["label"] = [None if is_unknown(value) else float(value) for value in label]
    return item


def _map_paths(item: dict[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    item = dict(item)
    for key, value in item.items():
        if not is_path_field(key):
            continue
        if isinstance(value, str):
            item[key] = change(value)
        elif isinstance(value, list | tuple) and all(isinstance(path, str) for path in value):
            item[key] = [change(path) for path in value]
    return item


def _lines(content: Mapping[str, Any]) -> Iterator[str]:
    for number, (key, value) in enumerate(content.items()):
        yield ("{\n " if not number else ",\n ") + _ENCODER.encode(key) + ": "
        if key in SPLITS and value:
            yield "[\n  " + _ENCODER.encode(value[0])
            for item in value[1:]:
                yield ",\n  " + _ENCODER.encode(item)
            yield "\n ]"
        else:
            yield _ENCODER.encode(value)
    yield "\n}\n"


def _relative(path: str, base: str) -> str:
    # Texts instead of Path objects: a tenth of the time, and there are 400,000 of them.
    full = os.path.abspath(path)  # noqa: PTH100 (resolve() would follow links)
    if full == base:
        return "."
    inside = base if base.endswith(os.sep) else base + os.sep
    return full[len(inside) :].replace(os.sep, "/") if full.startswith(inside) else full


#: Of JSON's values those that hold no others.
_PLAIN = frozenset((str, int, float, bool, type(None)))


def _without_nan(value: Any) -> Any:
    # There are 400,000 items of twenty values: a call for each of them would take most of the time of saving.
    if isinstance(value, dict):
        return {
            key: entry if type(entry) is str or entry is None else _without_nan(entry) for key, entry in value.items()
        }
    if isinstance(value, list | tuple):
        if _PLAIN.issuperset(map(type, value)):
            return [None if entry != entry else entry for entry in value]
        return [_without_nan(entry) for entry in value]
    return None if isinstance(value, float) and value != value else value


def _patients_in_several_splits(datalist: Datalist) -> list[str]:
    splits_of: dict[str, set[str]] = {}
    for split in SPLITS:
        for item in datalist.splits[split]:
            splits_of.setdefault(item["patient_id"], set()).add(split)
    return [patient for patient, splits in splits_of.items() if len(splits) > 1]
