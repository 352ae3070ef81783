# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Datalist of images labelled in MONAI Label, splits kept."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_cxrssl.data.audit.leak import patient_keys, training_patients_path
from monai_cxrssl.data.datalists.datalist import SPLITS
from monai_cxrssl.data.reading.dicom import read_dicom_header
from monai_cxrssl.data.reading.file_kind import file_kind
from monai_cxrssl.errors import ConfigurationError, CXRReadError, DatalistError
from monai_cxrssl.files import write_json

__all__ = ["labelled_datalist"]

logger = logging.getLogger(__name__)

#: Of the patients; training gets the first, and whoever is over.
FRACTIONS = {"training": 0.6, "validation": 0.2, "test": 0.2}
NAME = "monai_label"


def labelled_datalist(
    pairs: Sequence[Mapping[str, str]], path: Path, splits_path: Path, weights: Path | None = None
) -> Path:
    """Write the datalist of a training on labelled images to ``path``, and return it.

    The patient is that of the DICOM header; any other image is taken for its own patient, by its file's name. A patient
    keeps its split from one training to the next, so that the test images stay unseen however many trainings there are;
    whom the weights were trained on before belongs to training for good.

    Args:
        pairs: ``{"image": path, "label": path of the mask}``, as a datastore of MONAI Label lists them.
        splits_path: JSON file ``{patient: split}`` that is read, completed and written.
        weights: that training starts from, with the list of patients beside them where there is one.

    Raises:
        DatalistError: too few patients for three splits.
        ConfigurationError: the file of splits, or the list of patients beside the weights, is damaged.
    """
    items = [
        {"image": str(pair["image"]), "patient_id": _patient(pair["image"]), "lung_mask": str(pair["label"])}
        for pair in pairs
    ]
    patients = sorted({item["patient_id"] for item in items})
    if len(patients) < len(SPLITS):
        raise DatalistError(
            f"{len(items)} images of {len(patients)} patients are labelled; expected at least {len(SPLITS)} patients, "
            "for training, validation and test. Label and submit more."
        )
    splits = {patient: split for patient, split in _read(splits_path).items() if patient in patients}
    for patient in sorted(_trained_on(items, weights)):
        splits.setdefault(patient, "training")
    for patient in patients:
        if patient not in splits:
            # The split that is furthest below its share; of equals the first, which is training.
            counts = {split: list(splits.values()).count(split) for split in SPLITS}
            splits[patient] = min(SPLITS, key=lambda split: counts[split] / FRACTIONS[split])
    empty = [split for split in SPLITS if split not in splits.values()]
    if empty:
        raise DatalistError(
            f"None of the {len(patients)} labelled patients is left for {' and '.join(empty)}: the weights know the "
            "others. Label images of other patients."
        )
    content: dict[str, Any] = {"name": NAME, "classes": [], "task": "multi_class"}
    for split in SPLITS:
        content[split] = [item for item in items if splits[item["patient_id"]] == split]
    for file, value in ((path, content), (splits_path, {**_read(splits_path), **splits})):
        write_json(value, file, indent=None)
    logger.info("%s", ", ".join(f"{len(content[split])} images for {split}" for split in SPLITS))
    return path


def _patient(image: str) -> str:
    name = Path(image).name
    own = name[: -len(".nii.gz")] if name.endswith(".nii.gz") else Path(name).stem
    try:
        header = read_dicom_header(image) if file_kind(image) == "dicom" else {}
    except CXRReadError:
        return own  # training says what is wrong with the file
    return str(header.get("patient_id") or own)


def _trained_on(items: Sequence[Mapping[str, Any]], weights: Path | None) -> set[str]:
    """Patients of the items whom the list beside the weights has."""
    path = None if weights is None else training_patients_path(weights)
    if path is None or not path.is_file():
        return set()
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        groups = [(str(group["salt"]), set(group["patients"])) for group in (content, *content.get("further", ()))]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(f"{path} does not list the patients that the weights were trained on.") from error
    return {
        item["patient_id"]
        for salt, known in groups
        for item, key in zip(items, patient_keys(items, salt, NAME), strict=True)
        if key in known
    }


def _read(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {str(patient): SPLITS[SPLITS.index(split)] for patient, split in content.items()}
    except (ValueError, AttributeError) as error:
        raise ConfigurationError(f"{path} does not tell the splits of patients; delete it to divide anew.") from error
