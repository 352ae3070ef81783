# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""What is doubtful about who the patients of datalists are.

By what the patients are known, where the items tell it (``patient_from``); ids that stand for nobody; one patient of
most images; every image its own patient; studies of several patients; ids that differ in writing alone
(:mod:`monai_cxrssl.data.datalists.persons`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from monai_cxrssl.data.datalists.persons import MOST_PATIENTS, alike_ids, is_placeholder, shared_studies

__all__ = ["doubts_about_patients"]

# Of fewer images, all of one patient or each of another are no surprise.
_LEAST_IMAGES = 10
_MOST = 0.5
_SHOWN = 3

Doubt = tuple[str, str, tuple[str, ...], str]


def doubts_about_patients(name: str, items: Sequence[Mapping[str, Any]]) -> Iterator[Doubt]:
    """Yield kind, severity, ids concerned and sentence of each doubt about the patients of one data set."""
    yield from _known_by(name, items)
    yield from _values(name, items)
    studies = shared_studies(items, name)
    merged = {key[-1]: ids for key, ids in studies.items() if len(ids) <= MOST_PATIENTS}
    if merged:
        shown = _shown(f"{study} of {' and '.join(ids)}" for study, ids in merged.items())
        text = f"{name}: {len(merged)} studies have images of two patients or more, likely one person each ({shown})."
        yield "study_of_two_patients", "warning", tuple(merged), text
    if len(studies) > len(merged):
        many = tuple(key[-1] for key, ids in studies.items() if len(ids) > MOST_PATIENTS)
        text = (
            f"{name}: {len(many)} study ids stand with more than {MOST_PATIENTS} patients each, so they tell no study."
        )
        yield "study_of_many_patients", "warning", many, text
    if alike := alike_ids(items, name):
        shown = _shown(" and ".join(map(repr, ids)) for ids in alike)
        text = (
            f"{name}: {len(alike)} groups of patient ids differ by capitals, blanks or leading zeros alone, likely one "
            f"person each ({shown})."
        )
        yield "alike_patient_ids", "warning", tuple(patient for ids in alike for patient in ids), text


def _known_by(name: str, items: Sequence[Mapping[str, Any]]) -> Iterator[Doubt]:
    kinds = Counter(str(item["patient_from"]) for item in items if item.get("patient_from"))
    own = kinds["file"]
    if kinds:
        shown = ", ".join(f"{kind} {count}" for kind, count in kinds.most_common())
        yield "patients_known_by", "note", tuple(kinds), f"{name}: the patients of the images are known by: {shown}."
    patients = len({item["patient_id"] for item in items})
    if not own and not len(items) == patients >= _LEAST_IMAGES:
        return
    count = "all" if patients == len(items) else f"{own} of"
    text = f"{name}: {count} {len(items)} images are each their own patient; one person may be in several splits."
    yield "own_patients", "warning", (), text


def _values(name: str, items: Sequence[Mapping[str, Any]]) -> Iterator[Doubt]:
    """Ids that stand for nobody, and one that holds most images."""
    images = Counter(str(item["patient_id"]) for item in items)
    sources = {str(item["patient_id"]): str(item.get("source") or name) for item in items}
    for patient, count in images.items():
        what = f"{name}: {count} of {len(items)} images are of the patient {patient!r}"
        if is_placeholder(patient.removeprefix(f"{sources[patient]}:")):
            yield "placeholder_patient", "warning", (patient,), f"{what}, which stands for nobody."
        elif count > _MOST * len(items) and len(items) >= _LEAST_IMAGES:
            yield "placeholder_patient", "warning", (patient,), f"{what}; look whether that is one person."


def _shown(texts: Iterator[str]) -> str:
    listed = list(texts)
    return ", ".join(listed[:_SHOWN]) + (" ..." if len(listed) > _SHOWN else "")
