# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The tasks of ``real_cxr.py``: three labelled within their source, lungs to segment, and the corpus of pretraining.

Each source is divided by patient, 60 to 40, before anything is trained. All that the pretraining sees are films of the
60 %, without labels and without masks; all that anything is scored on are films of the 40 %.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from monai_cxrssl.data import Datalist, index_folder
from monai_cxrssl.data.datalists.split import label_fraction, split_datalist

__all__ = ["SOURCES", "TRIED", "LabelTask", "MaskTask", "Tasks", "make_tasks"]

SOURCES = ("kermany-pediatric", "nih-chestxray14-subset", "covid-chestxray-dataset")
FRONTAL = ("PA", "AP")
#: Draws that are tried for one in which each class has a film.
TRIED = 200

Item = dict[str, Any]


@dataclass(frozen=True)
class LabelTask:
    """Films of one source with a class each, in ``training`` and ``test``.

    Attributes:
        name: as tables show it.
        data: the divided films; each item has a class number.
    """

    name: str
    data: Datalist

    def labels(self, split: str) -> np.ndarray:
        """Class numbers ``(N,)`` of a split."""
        return np.array([item["label"] for item in self.data.items(split)])

    def patients(self) -> np.ndarray:
        """Patients ``(N,)`` of the test films."""
        return np.array([item["patient_id"] for item in self.data.items("test")])

    def kept(self, fraction: float, draw: int) -> list[Item]:
        """The training films whose labels are known when only this share of the patients has one."""
        return [dict(item) for item in label_fraction(self.data, fraction, draw).items("training")]

    def draws(self, fraction: float, count: int) -> list[int]:
        """The first draws in which each class has a film; fewer than ``count`` where 200 tries give no more."""
        classes = len(self.data.classes)
        found: list[int] = []
        for draw in range(TRIED):
            if len(found) < count and len({item["label"] for item in self.kept(fraction, draw)}) == classes:
                found.append(draw)
        return found


@dataclass(frozen=True)
class MaskTask:
    """Films with lung masks, in ``training`` and ``test``."""

    name: str
    training: Sequence[Item]
    test: Sequence[Item]

    def patients(self) -> np.ndarray:
        """Patients ``(N,)`` of the test films."""
        return np.array([item["patient_id"] for item in self.test])

    def kept(self, count: int, draw: int) -> list[Item]:
        """As many training films, of as many patients as there are: a second one of a patient comes after all first."""
        generator = np.random.default_rng([7, draw])
        films = [self.training[index] for index in generator.permutation(len(self.training))]
        seen: Counter[str] = Counter()
        turn = []
        for film in films:
            turn.append(seen[film["patient_id"]])
            seen[film["patient_id"]] += 1
        return [films[index] for index in np.argsort(turn, kind="stable")[:count]]


@dataclass(frozen=True)
class Tasks:
    """All tasks, and what may be pretrained on.

    Attributes:
        labelled: tasks with classes, by key.
        lungs: the task with masks.
        corpus: films of pretraining: image, patient and source, nothing else.
    """

    labelled: Mapping[str, LabelTask]
    lungs: MaskTask
    corpus: Sequence[Item]

    def films(self) -> list[Item]:
        """Every film that any task or the pretraining reads, once, with its mask where it has one."""
        every = [item for task in self.labelled.values() for item in task.data.all_items()]
        every += [*self.lungs.training, *self.lungs.test, *self.corpus]
        found: dict[str, Item] = {}
        for item in every:
            found[item["image"]] = {**item, **found.get(item["image"], {})}
        return list(found.values())


def make_tasks(data: Path, seed: int) -> Tasks:
    """Read the three sources, divide each by patient, and take the tasks and the corpus out of the parts.

    Args:
        data: holds the folders :data:`SOURCES`.
        seed: of the division.
    """
    children, nih, covid = (index_folder(data / name) for name in SOURCES)
    finding = list(nih.classes).index("Pneumonia")
    adults = _relabelled(nih, ("No Finding", "Pneumonia"), lambda item: int(item["label"][finding]))
    classes = list(covid.classes)
    covid_19, other = classes.index("COVID-19"), classes.index("Other Pneumonia")
    parts = [split_datalist(children, (0.6, 0.0, 0.4), seed=seed), split_datalist(adults, (0.6, 0.0, 0.4), seed=seed)]
    parts.append(_divide_with_masks(covid, seed))
    corpus = [
        {"image": item["image"], "patient_id": item["patient_id"], "source": item["source"]}
        for part in parts
        for item in part.items("training")
    ]
    known = _relabelled(
        parts[2],
        ("Other Pneumonia", "COVID-19"),
        lambda item: {other: 0, covid_19: 1}.get(item.get("label")) if item.get("view_position") in FRONTAL else None,
    )
    labelled = {
        "kermany": LabelTask("Kermany, 3 classes", parts[0]),
        "chestxray14": LabelTask("ChestX-ray14, pneumonia", parts[1]),
        "covid": LabelTask("covid-chestxray, COVID-19 or other", known),
    }
    masked = {
        split: [dict(item) for item in parts[2].items(split) if item.get("lung_mask") is not None]
        for split in ("training", "test")
    }
    return Tasks(labelled, MaskTask("covid-chestxray, lungs", masked["training"], masked["test"]), corpus)


def _relabelled(data: Datalist, classes: Sequence[str], label_of: Any) -> Datalist:
    """The films that get a class number, in their splits."""
    splits = {
        split: [{**item, "label": label_of(item)} for item in items if label_of(item) is not None]
        for split, items in data.splits.items()
    }
    return replace(data, classes=tuple(classes), task="multi_class", splits=splits)


def _divide_with_masks(data: Datalist, seed: int) -> Datalist:
    """Divide by patient so that both parts have their share of each class, and of each class's films with a mask."""
    names = [f"{name}, {masked}" for name in (*data.classes, "unknown") for masked in ("no mask", "mask")]

    def stratum(item: Mapping[str, Any]) -> int:
        label = item.get("label")
        number = len(data.classes) if label is None or label < 0 else int(label)
        return 2 * number + (item.get("lung_mask") is not None)

    divided = split_datalist(_relabelled(data, names, stratum), (0.6, 0.0, 0.4), seed=seed)
    side = {item["patient_id"]: split for split, items in divided.splits.items() for item in items}
    splits: dict[str, list[Item]] = {split: [] for split in divided.splits}
    for item in data.all_items():
        splits[side[item["patient_id"]]].append(dict(item))
    return replace(data, splits=splits)
