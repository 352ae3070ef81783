# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Tasks of the benchmark of record, divided by patient, and the corpus of pretraining."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from monai_cxrssl.data import Datalist, decoded_side, open_images, split_datalist
from monai_cxrssl.data.datalists.split import label_fraction
from record.apart import seen_patients
from record.sources import alias_pairs, read_sources
from record.worth import reason_against

__all__ = ["LabelTask", "MaskTask", "Tasks", "make_tasks"]

#: Training, validation and test, by patient.
_SHARES = {"kermany": (0.7, 0.1, 0.2), "chestxray14": (0.5, 0.1, 0.4), "covid-chestxray": (0.5, 0.1, 0.4)}
#: Patients of validation that a share of the labels leaves at least.
_LEAST_VALIDATION = 40
_TRIES = 200

Item = dict[str, Any]


@dataclass(frozen=True)
class LabelTask:
    """Images of one source with a class each, in three splits."""

    name: str
    data: Datalist

    def kept(self, fraction: float, draw: int) -> Datalist:
        """Keep the labels of a share of the patients, in validation too; a draw has an image of each class."""
        found = -1
        for number in range(_TRIES):
            part = label_fraction(self.data, fraction, number)
            found += len({item["label"] for item in part.items("training")}) == len(self.data.classes)
            if found == draw:
                break
        else:
            raise ValueError(f"{self.name}: {draw + 1} draws of {100 * fraction:g} % with an image of each class were "
                             f"sought among {_TRIES}, and there are only {found + 1}.")  # fmt: skip
        held = self.data.items("validation")
        share = min(1.0, max(fraction, _LEAST_VALIDATION / len({item["patient_id"] for item in held})))
        fewer = label_fraction(replace(self.data, splits={"training": held}, root=None), share, draw)
        return replace(part, splits={**part.splits, "validation": fewer.splits["training"]})


@dataclass(frozen=True)
class MaskTask:
    """Images of one source with a mask each, in three splits."""

    name: str
    data: Datalist
    mask: str

    def kept(self, count: int, draw: int) -> Datalist:
        """Keep as many masks, and as many in validation, of different patients first; the test images stay."""
        splits = {name: _first_patients(self.data.items(name), count, draw) for name in ("training", "validation")}
        return replace(self.data, splits={**splits, "test": self.data.items("test")}, root=None)


@dataclass(frozen=True)
class Tasks:
    """All tasks, what may be pretrained on, and what was left out and why.

    Attributes:
        labelled: two tasks with classes, by key.
        further: those that are worth a probe.
        masked: tasks with masks, by key.
        corpus: images of pretraining: image, patient and source, nothing else.
        notes: sentences for the page.
    """

    labelled: Mapping[str, LabelTask]
    further: Mapping[str, LabelTask]
    masked: Mapping[str, MaskTask]
    corpus: Sequence[Item]
    notes: Sequence[str]

    def films(self) -> list[Item]:
        """Every image that a task reads, once, with its masks."""
        tasks = (*self.labelled.values(), *self.further.values(), *self.masked.values())
        found: dict[str, Item] = {}
        for item in (item for task in tasks for item in task.data.all_items()):
            found[item["image"]] = {**found.get(item["image"], {}), **item}
        return list(found.values())

    def digest(self) -> str:
        """Hash which image and patient stands where, whatever folder the images are in."""
        lines = [f"corpus {item['patient_id']} {Path(item['image']).name}" for item in self.corpus]
        for key, task in (*self.labelled.items(), *self.further.items(), *self.masked.items()):
            lines += [f"{key} {split} {item['patient_id']} {Path(item['image']).name} {item.get('label')}"
                      for split in task.data.splits for item in task.data.items(split)]  # fmt: skip
        return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()[:16]


def make_tasks(data: Path, corpus: Path, cache: Path, size: int, seed: int) -> Tasks:
    """Read the sources, divide those scored by patient, and keep all that a scored image shows out of training.

    Args:
        data: folder of the first sources.
        corpus: folder of the others.
        cache: of the decoded images.
        size: side of what networks see, in pixels.
        seed: of the division.
    """
    sources = read_sources(data, corpus)
    every = [item for source in sources.values() for item in source.all_items()]
    images = open_images(every, decoded_side(size), cache_dir=cache, progress=False)
    readable = {item["image"] for item in images.items}
    parts = {name: _divided(_among(sources[name], readable), _SHARES[name], seed) for name in _SHARES}
    scored = [item for part in parts.values() for split in ("validation", "test") for item in part.items(split)]
    out = seen_patients(images, scored, alias_pairs(corpus))
    parts = {name: _without(part, out) for name, part in parts.items()}
    training = [item for part in parts.values() for item in part.items("training")]
    others = [item for name, source in sources.items() if name not in parts for item in source.all_items()]
    corpus_films = [
        {name: item[name] for name in ("image", "patient_id", "source")}
        for item in (*training, *others)
        if item["patient_id"] not in out and item["image"] in readable
    ]
    films = sum(item["patient_id"] in out for item in every)
    notes = [
        f"{len(out)} patients with {films} images are neither trained nor pretrained on, since an image of theirs is a "
        "near-duplicate of a validation or test image by `audit`, or a table says that they are a patient who is "
        "scored."
    ]
    candidates = _candidates(parts)
    labelled = {key: candidates.pop(key) for key in ("kermany", "chestxray14")}
    further, more = _worth_while(candidates, labelled)
    masked = {
        "lungs": MaskTask("Kermany, lungs", _masked(parts["kermany"], "lung_mask"), "lung"),
        "lungs-adults": MaskTask("covid-chestxray, lungs", _masked(parts["covid-chestxray"], "lung_mask"), "lung"),
        "infection": MaskTask("covid-chestxray, infection", _masked(parts["covid-chestxray"], "lesion_mask"), "lesion"),
    }
    return Tasks(labelled, further, masked, corpus_films, [*notes, *more])


def _candidates(parts: Mapping[str, Datalist]) -> dict[str, LabelTask]:
    nih, covid = parts["chestxray14"], parts["covid-chestxray"]
    numbers = {"COVID-19": 1, "Other Pneumonia": 0}
    names = list(covid.classes)

    def frontal(item: Item) -> int | None:
        known = str(item.get("view_position", "")).upper()[:2] in ("PA", "AP") and item.get("label") is not None
        return numbers.get(names[int(item["label"])]) if known and item["label"] >= 0 else None

    def pneumonia(item: Item) -> int | None:
        there = "Pneumonia" in item["findings"]
        return int(there) if there or item["findings"] == ("No Finding",) else None

    return {
        "kermany": LabelTask("Kermany, 3 classes", parts["kermany"]),
        "chestxray14": LabelTask(
            "ChestX-ray14, pneumonia", _relabelled(nih, ("No Finding", "Pneumonia"), pneumonia)
        ),
        "any-finding": LabelTask(
            "ChestX-ray14, any finding",
            _relabelled(nih, ("No Finding", "Finding"), lambda item: int(item["findings"] != ("No Finding",))),
        ),
        "covid": LabelTask(
            "covid-chestxray, COVID-19 or other", _relabelled(covid, ("Other Pneumonia", "COVID-19"), frontal)
        ),
    }  # fmt: skip


def _worth_while(
    candidates: Mapping[str, LabelTask], others: Mapping[str, LabelTask]
) -> tuple[dict[str, LabelTask], list[str]]:
    """Leave out tasks that repeat another, or whose intervals would be wide, and say why."""
    kept: dict[str, LabelTask] = {}
    notes = []
    for key, task in candidates.items():
        same = [other.name for other in (*others.values(), *kept.values()) if _labels(other) == _labels(task)]
        reason = f"its images have the same labels as {same[0]}" if same else reason_against(task.data)
        if reason:
            notes.append(f"{task.name} is no task of its own: {reason}.")
        else:
            kept[key] = task
    return kept, notes


def _labels(task: LabelTask) -> dict[str, Any]:
    return {item["image"]: item["label"] for item in task.data.all_items()}


def _relabelled(data: Datalist, classes: Sequence[str], label_of: Callable[[Item], int | None]) -> Datalist:
    """Return the images that get a class number, in their splits."""
    splits = {
        split: [{**item, "label": label_of(item)} for item in data.items(split) if label_of(item) is not None]
        for split in data.splits
    }
    return replace(data, classes=tuple(classes), task="multi_class", splits=splits, root=None)


def _divided(data: Datalist, shares: Sequence[float], seed: int) -> Datalist:
    """Divide by patient so that each part has its share of the classes, and of the images with each kind of mask."""
    names = sorted({_stratum(item) for item in data.all_items()})
    numbered = _relabelled(data, names, lambda item: names.index(_stratum(item)))
    divided = split_datalist(numbered, shares, seed=seed)
    side = {item["patient_id"]: split for split in divided.splits for item in divided.items(split)}
    splits: dict[str, list[Item]] = {split: [] for split in divided.splits}
    for item in data.all_items():
        splits[side[item["patient_id"]]].append(item)
    return replace(data, splits=splits, root=None)


def _stratum(item: Mapping[str, Any]) -> str:
    label = item.get("label")
    known = item["findings"][0] == "No Finding" if "findings" in item else None if isinstance(label, list) else label
    return f"{known} {'lung_mask' in item} {'lesion_mask' in item}"


def _among(data: Datalist, images: set[str]) -> Datalist:
    return replace(data, splits={"training": [i for i in data.all_items() if i["image"] in images]}, root=None)


def _without(data: Datalist, patients: set[str]) -> Datalist:
    splits = {name: [i for i in data.items(name) if i["patient_id"] not in patients] for name in data.splits}
    return replace(data, splits=splits, root=None)


def _masked(data: Datalist, field: str) -> Datalist:
    """Return images with a mask, without labels; of each test patient one."""
    splits = {name: [i for i in data.items(name) if field in i] for name in data.splits}
    splits["test"] = _first_patients(splits["test"], len({item["patient_id"] for item in splits["test"]}), 0)
    bare = {name: [{k: v for k, v in i.items() if k != "label"} for i in items] for name, items in splits.items()}
    return replace(data, classes=(), task="multi_class", splits=bare, root=None)


def _first_patients(items: Sequence[Item], count: int, draw: int) -> list[Item]:
    """Draw images; a second one of a patient comes after all first ones."""
    films = [items[index] for index in np.random.default_rng([7, draw]).permutation(len(items))]
    seen: Counter[str] = Counter()
    turn = []
    for film in films:
        turn.append(seen[film["patient_id"]])
        seen[film["patient_id"]] += 1
    return [films[index] for index in np.argsort(turn, kind="stable")[:count]]
