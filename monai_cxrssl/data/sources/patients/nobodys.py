# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Patient ids of tables that stand for nobody, replaced."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import replace
from typing import Any

from monai_cxrssl.data.datalists.datalist import SPLITS, Datalist
from monai_cxrssl.data.sources.patients.dicom_ids import dicom_ids
from monai_cxrssl.data.sources.patients.evidence import EVIDENCE, WORDS, KnownNames, patient_items

__all__ = ["replace_nobodys"]

logger = logging.getLogger(__name__)


def replace_nobodys(datalist: Datalist, known_names: KnownNames) -> Datalist:
    """Put the next best evidence in place of ids such as ``ANONYMOUS`` or a ``0`` that images of many share.

    What stands for nobody: :mod:`monai_cxrssl.data.sources.patients.dicom_ids`; what comes next, file name, sub-folder
    and study: :mod:`monai_cxrssl.data.sources.patients.evidence`. Said in warnings; ``patient_from`` of such items
    tells what was taken.
    """
    items = [item for split in SPLITS for item in datalist.splits[split]]
    rows = dicom_ids(items, show_ids=True).nobodys
    if not rows:
        return datalist
    words = Counter(str(items[row]["patient_id"]) for row in rows)
    shown = ", ".join(f"{word!r} {count}" for word, count in words.most_common(3))
    found = [(items[row]["image"], {**items[row], "patient_id": ""}) for row in rows]
    instead = patient_items(found, datalist.name, known_names, "original", patient_from=EVIDENCE[2:-1])
    new = {id(items[row]): item for row, item in zip(rows, instead, strict=True)}
    taken = {str(item["patient_id"]) for item in items if id(item) not in new}
    kinds = Counter(item["patient_from"] for item in instead)

    def named(item: dict[str, Any]) -> dict[str, Any]:
        if (known := new.get(id(item))) is None:
            return item
        patient = known["patient_id"]
        # A folder may be called as a patient of the table.
        patient = f"unnamed/{patient}" if patient in taken else patient
        return {**item, "patient_id": patient, "patient_from": known["patient_from"]}

    splits = {split: list(map(named, datalist.splits[split])) for split in SPLITS}
    told = ", ".join(f"{WORDS[kind]} {count}" for kind, count in kinds.most_common())
    logger.warning(
        "%s: %d of %d images have a patient id that stands for nobody (%s); in its place stands: %s",
        datalist.name, len(rows), len(items), shown, told,
    )  # fmt: skip
    return replace(datalist, splits=splits)
