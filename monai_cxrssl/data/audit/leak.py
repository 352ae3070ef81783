# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Refuse to measure a model on patients that it was trained on.

Training leaves a list of its patients beside the weights, ``model.patients.json`` beside ``model.pt``: salted hashes
instead of ids, so that weights can be handed on without a list of ids. It is no anonymisation: whoever knows an id and
has the file can ask whether it is in there, and ids of few digits can all be tried. Who is the same patient is for
:mod:`monai_cxrssl.data.audit.audit` to say.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import secrets
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from monai_cxrssl.data.audit.audit import Finding, patient_of
from monai_cxrssl.data.audit.data_sets import shared_origin
from monai_cxrssl.data.datalists.datalist import Datalist
from monai_cxrssl.data.datalists.persons import united_patients
from monai_cxrssl.errors import ConfigurationError, DatalistError
from monai_cxrssl.files import write_json

__all__ = [
    "patient_keys",
    "refuse_leak",
    "refuse_seen_data_sets",
    "refuse_shared_patients",
    "training_patients_path",
    "write_training_patients",
]

logger = logging.getLogger(__name__)

FORMAT = 1
# 64 bits: among a million patients, two share a key with a chance of one in 30 million.
KEY_DIGITS = 16
# Images named in a message.
SHOWN = 3


def patient_keys(items: Sequence[Mapping[str, Any]], salt: str, name: str = "dataset") -> list[str]:
    """Hash the patient of each item: the first 64 bits of SHA-256 of salt, source and patient id, in hexadecimal.

    Keys of different salts (any texts) cannot be compared; ``name`` is the source of items that name none.
    """
    keys: dict[tuple[str, str], str] = {}
    return [keys.get(patient) or keys.setdefault(patient, _key(salt, patient)) for patient in _patients(items, name)]


def training_patients_path(weights: str | os.PathLike) -> Path:
    """The file of the patients that weights were trained on: ``model.patients.json`` for ``model.pt``."""
    return Path(weights).with_suffix(".patients.json")


def write_training_patients(
    items: Sequence[Mapping[str, Any]],
    weights: str | os.PathLike,
    name: str = "dataset",
    pretrained: str | os.PathLike | Sequence[str | os.PathLike] | None = None,
) -> Path:
    """Write the keys of the patients of a training, in one step, and no id.

    Args:
        items: the datalist items trained on.
        weights: file of the weights, beside which the list is written (:func:`training_patients_path`).
        name: see :func:`patient_keys`.
        pretrained: file of the weights that training started from, or several (a teacher's too), whose patients are
            taken over; one that has no list, such as ImageNet's, has none.

    Returns:
        The file: ``{"format", "salt", "count", "patients": sorted keys}``, and under ``"further"`` the ``salt`` and
        ``patients`` of lists with other salts, whose keys cannot be compared with these.

    Raises:
        ConfigurationError: the list of ``pretrained`` is damaged.
    """
    files = [pretrained] if isinstance(pretrained, str | os.PathLike) else list(pretrained or ())
    groups: dict[str, set[str]] = {}
    for file in files:
        for salt, keys in (_read(training_patients_path(file)) or {}).items():
            groups.setdefault(salt, set()).update(keys)
    first = next(iter(groups), None) or secrets.token_hex(16)
    groups.setdefault(first, set()).update(patient_keys(items, first, name))
    own = sorted(groups.pop(first))
    content: dict[str, Any] = {"format": FORMAT, "salt": first, "count": len(own), "patients": own}
    if groups:
        content["further"] = [{"salt": salt, "patients": sorted(keys)} for salt, keys in groups.items()]
    path = training_patients_path(weights)
    write_json(content, path, indent=None)
    return path


def refuse_leak(
    items: Sequence[Mapping[str, Any]],
    weights: str | os.PathLike,
    allow_leak: bool = False,
    what: str = "evaluation",
    name: str = "dataset",
) -> list[Finding]:
    """Raise when a model is to be measured on patients that it was trained on.

    Args:
        items: what it is to be measured on (``what`` and ``name``: of the task and of the data set, for the message and
            for :func:`patient_keys`).
        weights: file of the weights; their list of patients lies beside them. Without one nothing is known of them,
            which the log says.
        allow_leak: warn instead, and return one finding per shared patient, with the paths of its images.

    Raises:
        DatalistError: patients are shared.
        ConfigurationError: the list is damaged.
    """
    path = training_patients_path(weights)
    read = _read(path)
    if read is None:
        logger.warning("%s: no such file, so nothing is known of the patients that %s was trained on", path, weights)
        return []
    images: dict[tuple[str, str], list[str]] = {}
    for item, patient in zip(items, _patients(items, name), strict=True):
        images.setdefault(patient, []).append(item["image"])
    known = {patient for patient in images if any(_key(salt, patient) in keys for salt, keys in read.items())}
    leaking = {patient: paths for patient, paths in images.items() if patient in known}
    count = sum(map(len, read.values()))
    told = f"{len(leaking)} of the {len(images)} patients of this {what} were trained on ({path} lists {count})"
    remedy = "Choose other splits or another data set"
    return _decide(leaking, told, remedy, allow_leak, f"trained on, and in this {what}")


def refuse_seen_data_sets(
    items: Sequence[Mapping[str, Any]],
    trained_on: Sequence[str],
    weights: str | os.PathLike,
    allow_leak: bool = False,
    what: str = "evaluation",
    name: str = "dataset",
) -> list[Finding]:
    """Raise when a model is to be measured on a public data set that its weights, or those before them, were made from.

    Args:
        items: what it is to be measured on; ``what``, ``name`` and ``allow_leak`` as in :func:`refuse_leak`, with one
            finding per data set.
        trained_on: data sets, whose patients nobody listed.
        weights: their file, for the message.

    Raises:
        DatalistError: a source of the items is one of the data sets, or shares images with one.
    """
    sources: dict[str, list[str]] = {}
    for item in items:
        sources.setdefault(str(item.get("source") or name), []).append(item["image"])
    leaking: dict[tuple[str, str], list[str]] = {}
    reasons = []
    for source, paths in sources.items():
        seen = next((each for each in trained_on if shared_origin(source, each)), None)
        if seen is not None:
            origin = shared_origin(source, seen)
            leaking[source, seen] = paths
            shared = "" if origin == seen == source else f" (both hold images of {origin})"
            reasons.append(f"{source} is this {what}'s, and {seen} is what {weights} goes back to{shared}")
    remedy = "Choose another data set or other weights"
    return _decide(leaking, "; ".join(reasons), remedy, allow_leak, f"of a data set trained on, and in this {what}")


def refuse_shared_patients(datalist: Datalist, allow_leak: bool = False) -> list[Finding]:
    """Raise DatalistError when a patient, by id or by a shared study, is in two splits of a datalist.

    ``allow_leak`` as in :func:`refuse_leak`.
    """
    images: dict[tuple[str, str], dict[str, list[str]]] = {}
    # Patients of one study are one person, whatever their ids are.
    person = united_patients(chain(*datalist.splits.values()), datalist.name, alike=False)
    for split, items in datalist.splits.items():
        people = [{**item, "patient_id": person[item["patient_id"]]} for item in items]
        for item, patient in zip(items, _patients(people, datalist.name), strict=True):
            images.setdefault(patient, {}).setdefault(split, []).append(item["image"])
    leaking = {patient: list(chain(*parts.values())) for patient, parts in images.items() if len(parts) > 1}
    told = f"{len(leaking)} of the {len(images)} patients of {datalist.name} are in more than one split"
    return _decide(leaking, told, "Divide it anew with the split command", allow_leak, "in more than one split")


def _decide(
    leaking: Mapping[tuple[str, str], list[str]], told: str, remedy: str, allow_leak: bool, how: str
) -> list[Finding]:
    if not leaking:
        return []
    images = [image for paths in leaking.values() for image in paths]
    shown = ", ".join(images[:SHOWN]) + (" ..." if len(images) > SHOWN else "")
    text = f"{told}, with {len(images)} images ({shown}): figures on them are too good."
    if not allow_leak:
        raise DatalistError(f"{text} {remedy}, or go on all the same with --allow_leak True.")
    logger.warning("%s Going on, since allow_leak is given.", text)
    return [
        Finding("patient", "leak", tuple(paths), f"The patient of {paths[0]} is {how}.") for paths in leaking.values()
    ]


def _patients(items: Sequence[Mapping[str, Any]], name: str) -> list[tuple[str, str]]:
    return [patient_of(name, item) for item in items]


def _key(salt: str, patient: tuple[str, str]) -> str:
    source, patient_id = patient
    # The length keeps "a" + "bc" apart from "ab" + "c".
    text = f"{salt}\n{len(source)}\n{source}\n{patient_id}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:KEY_DIGITS]


def _read(path: Path) -> dict[str, frozenset[str]] | None:
    """The keys of a list by salt, ``None`` where there is no list."""
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:
        content = None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ConfigurationError(
            f"{path} is no list of training patients of format {FORMAT}; train again, or move the file away to go on "
            "without knowing who was trained on."
        )
    further = content.get("further", [])
    lists = [content, *further] if isinstance(further, list) else [{}]
    whole = all(
        isinstance(part, dict) and isinstance(part.get("salt"), str) and isinstance(part.get("patients"), list)
        for part in lists
    )
    if not whole or len(content["patients"]) != content.get("count"):
        raise ConfigurationError(f"{path} is damaged: its salt or its patients are not whole. Train again.")
    return {part["salt"]: frozenset(part["patients"]) for part in lists}
