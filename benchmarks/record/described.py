# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""What figures need to know of the tasks, as JSON without any path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from record.fine_tuning import ATTENTION_FILMS
from record.probes import has_pneumonia
from record.tasks import Tasks

__all__ = ["described"]


def described(tasks: Tasks) -> dict[str, Any]:
    """Return names, classes and counts of all tasks, labels and numbered patients of their test images."""
    found: dict[str, Any] = {"digest": tasks.digest(), "notes": list(tasks.notes), "corpus": _counts(tasks.corpus)}
    sources = dict.fromkeys(item["source"] for item in tasks.corpus)
    found["corpus"]["sources"] = {
        name: _counts([item for item in tasks.corpus if item["source"] == name]) for name in sources
    }
    found["labelled"] = {}
    for key, task in {**tasks.labelled, **tasks.further}.items():
        test = task.data.items("test")
        labels = np.array([item["label"] for item in test])
        found["labelled"][key] = {
            **_of(task.name, task.data), "classes": list(task.data.classes),
            "by_class": np.bincount(labels, minlength=len(task.data.classes)).tolist(),
            "labels": labels.tolist(), "pneumonia": has_pneumonia(labels).tolist(),
        }  # fmt: skip
    found["masked"] = {key: _of(task.name, task.data) for key, task in tasks.masked.items()}
    found["attention"] = {"patient_numbers": found["masked"]["lungs"]["patient_numbers"][:ATTENTION_FILMS]}
    return found


def _of(name: str, data: Any) -> dict[str, Any]:
    patients = [item["patient_id"] for item in data.items("test")]
    numbers: dict[str, int] = {}
    return {
        "name": name, **{split: _counts(data.items(split)) for split in data.splits},
        "patient_numbers": [numbers.setdefault(patient, len(numbers)) for patient in patients],
    }  # fmt: skip


def _counts(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {"films": len(items), "patients": len({item["patient_id"] for item in items})}
