# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Patients of images in a plain folder, and their evidence.

:data:`EVIDENCE`, in the order in which it is asked:

- ``pattern``: a regular expression of the user's on the path, whose first group is the patient;
- ``dicom``: the header's PatientID, when it tells a person (:mod:`monai_cxrssl.data.sources.patients.dicom_ids`);
- ``name``: the file's name, when it is of a known data set;
- ``folder``: the sub-folder (:mod:`monai_cxrssl.data.sources.patients.folders`);
- ``study``: the header's StudyInstanceUID, so that one person's several studies count as several patients;
- ``file``: nothing; the image is taken for its own patient.

A name of unknown origin such as ``a_1.png`` is never taken for ``<patient>_<number>`` unasked: it may as well be
``<class>_<number>``. Where many names have that form, the log names the option.
"""

from __future__ import annotations

import logging
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any

from monai_cxrssl.data.datalists.image_names import image_stem
from monai_cxrssl.data.datalists.pseudonym import pseudonym, read_salt
from monai_cxrssl.data.sources.patients.dicom_ids import DicomIds, dicom_ids
from monai_cxrssl.data.sources.patients.folders import MOST_FILMS, folder_patients, is_no_patient
from monai_cxrssl.data.sources.trees.walk import common_length
from monai_cxrssl.errors import ConfigurationError

__all__ = ["EVIDENCE", "PATIENT_IDS", "WORDS", "KnownNames", "checked_options", "patient_items"]

logger = logging.getLogger(__name__)

EVIDENCE = ("pattern", "dicom", "name", "folder", "study", "file")
PATIENT_IDS = ("pseudonym", "original")
WORDS = {
    "pattern": "the pattern", "name": "the file name", "folder": "the sub-folder", "study": "the study",
    "file": "nothing, each image is its own patient",
}  # fmt: skip
# Of the names of images that are their own patients, how many must have a form to be worth naming it.
_SUGGESTED_SHARE = 0.5
_LEAST_PATIENTS = 3
# A few images may well be one person's.
_LEAST_FILMS = 5
_NUMBERED = re.compile(r"(.*[^\W_].*?)[-_ ]\(?\d{1,4}\)?")
_SUGGESTION = r"([^/]+?)[-_ ]\(?\d+\)?\.\w+$"

Header = dict[str, Any]
KnownNames = Callable[[Sequence[str]], Sequence[tuple[str, str, str] | None]]
Told = tuple[str, str, str]  # evidence, patient, study


def checked_options(patient_ids: str, patient_from: str | Sequence[str] | None, pattern: str | None) -> tuple[str, ...]:
    """Return the evidence to ask for, in order.

    Raises:
        ConfigurationError: an option that is none, or a pattern without a group.
    """
    if patient_ids not in PATIENT_IDS:
        raise ConfigurationError(f"patient_ids is {patient_ids!r}; expected one of {', '.join(PATIENT_IDS)}.")
    if pattern is not None:
        try:
            groups = re.compile(pattern).groups
        except (re.error, TypeError) as error:
            raise ConfigurationError(f"patient_pattern {pattern!r} is no regular expression ({error}).") from None
        if not groups:
            raise ConfigurationError(
                f"patient_pattern {pattern!r} has no group that names the patient; expected one such as '([^/]+)_\\d+'."
            )
    asked = EVIDENCE[1:-1] if patient_from is None else patient_from
    named = asked.replace(",", " ").split() if isinstance(asked, str) else list(asked)
    if not named or not set(named) <= set(EVIDENCE[1:]):
        raise ConfigurationError(f"patient_from is {patient_from!r}; expected some of {', '.join(EVIDENCE[1:])}.")
    return (*(["pattern"] if pattern is not None else []), *named)


def patient_items(
    found: Sequence[tuple[str, Header]],
    where: str | os.PathLike,
    known_names: KnownNames,
    patient_ids: str = "pseudonym",
    salt_file: str | os.PathLike | None = None,
    patient_from: str | Sequence[str] | None = None,
    patient_pattern: str | None = None,
    not_patients: Collection[str] = (),
) -> list[dict[str, Any]]:
    """Return the items of (path relative to the folder, DICOM header) pairs, and say in the log what is doubtful.

    Args:
        found: the images.
        where: the folder, for the log.
        known_names: gives data set, patient and study of each path whose name is of a known data set.
        patient_ids, salt_file, patient_from, patient_pattern, not_patients: see
            :func:`monai_cxrssl.data.sources.layouts.plain.folder.read`.

    Returns:
        for each image ``image, patient_id, patient_from`` and, where known, ``study_id, view_position, sex, age``.
    """
    order = checked_options(patient_ids, patient_from, patient_pattern)
    paths, headers = [path for path, _ in found], [header for _, header in found]
    ids = _ids(headers, patient_ids, salt_file, trust=order == ("dicom",))
    sentences = list(ids.sentences)
    folders = [path.split("/")[:-1] for path in paths]
    common = common_length(folders)
    parents = [names[common:] for names in folders]
    told: dict[str, Sequence[tuple[str, str] | None]] = {
        "pattern": [_match(patient_pattern, path) for path in paths],
        "dicom": list(zip(ids.patients, ids.studies, strict=True)),
        "study": [(study, study) for study in ids.studies],
        "file": [("/".join([*names, _stem(path)]), "") for names, path in zip(parents, paths, strict=True)],
    }
    names = list(known_names(paths))
    told["name"] = [name and name[1:] for name in names]
    if "folder" in order:
        # Images whose patient is known otherwise tell nothing on what the folders of the others are.
        before = order[: order.index("folder")]
        rest = [row for row in range(len(found)) if not any(_patient(told[kind][row]) for kind in before)]
        by_folder, said = folder_patients(
            [parents[row] for row in rest], [ids.studies[row] for row in rest], not_patients
        )
        of_row = dict(zip(rest, by_folder, strict=True))
        told["folder"] = [of_row.get(row) for row in range(len(found))]
        sentences += said
    chosen = [_choose(told, row, order) for row in range(len(found))]
    if ids.nobodys:
        instead = Counter(WORDS[chosen[row][0]] for row in ids.nobodys)
        shown = ", ".join(f"{what} {count}" for what, count in instead.most_common())
        sentences.append(f"in place of these PatientIDs stand: {shown}")
    chosen = _apart(chosen, names)
    items = [
        _item(path, kind, patient, ids.studies[row] or study, header)
        for row, ((path, header), (kind, patient, study)) in enumerate(zip(found, chosen, strict=True))
    ]
    for sentence in [*sentences, *_doubts(items)]:
        logger.warning("%s: %s", where, sentence)
    return items


def _ids(headers: Sequence[Header], patient_ids: str, salt_file: str | os.PathLike | None, trust: bool) -> DicomIds:
    """Patient and study of each header as they go into the datalist; without any id, no salt is needed."""
    ids = dicom_ids(headers, show_ids=patient_ids == "original", trust=trust)
    if patient_ids == "original" or not any([*ids.patients, *ids.studies]):
        return ids
    salt = read_salt(salt_file)
    hidden: dict[tuple[str, str], str] = {}

    def hide(text: str, kind: str) -> str:
        return text and (hidden.get((text, kind)) or hidden.setdefault((text, kind), pseudonym(text, salt, kind)))

    patients, studies = [hide(key, "patient") for key in ids.keys], [hide(study, "study") for study in ids.studies]
    return replace(ids, patients=patients, studies=studies)


def _match(pattern: str | None, path: str) -> tuple[str, str] | None:
    match = re.search(pattern, path) if pattern is not None else None
    return (match[1].strip(), "") if match and match[1] else None


def _stem(path: str) -> str:
    return image_stem(path.rpartition("/")[2])


def _patient(told: tuple[str, str] | None) -> str:
    return told[0] if told else ""


def _choose(told: dict[str, Sequence[tuple[str, str] | None]], row: int, order: Sequence[str]) -> Told:
    for kind in (*order, "file"):
        if patient := _patient(told[kind][row]):
            study = told[kind][row]
            return kind, patient, study[1] if study else ""
    raise AssertionError("a file has a name")


def _apart(chosen: list[Told], names: Sequence[tuple[str, str, str] | None]) -> list[Told]:
    """Put the data set before a patient of a file name that other evidence, or another data set, uses as well."""
    users: dict[str, set[str]] = defaultdict(set)
    for (kind, patient, _), name in zip(chosen, names, strict=True):
        users[patient].add(name[0] if kind == "name" and name else "")
    return [
        (kind, f"{name[0]}/{patient}", f"{name[0]}/{study}" if study else "")
        if kind == "name" and name and len(users[patient]) > 1
        else (kind, patient, study)
        for (kind, patient, study), name in zip(chosen, names, strict=True)
    ]


def _item(path: str, kind: str, patient: str, study: str, header: Header) -> dict[str, Any]:
    known = {"study_id": study} | {key: header.get(key) for key in ("view_position", "sex", "age")}
    item: dict[str, Any] = {"image": path, "patient_id": patient, "patient_from": kind}
    return item | {key: value for key, value in known.items() if value not in (None, "")}


def _doubts(items: Sequence[dict[str, Any]]) -> list[str]:
    """What may be wrong with the patients: images of one person that count as several, images of many as one."""
    kinds = Counter(item["patient_from"] for item in items)
    sentences = []
    if kinds["study"]:
        sentences.append(
            f"the patient of {kinds['study']} of {len(items)} images is known by the study alone; a person's several "
            "studies count as several patients"
        )
    if kinds["file"] and len(items) > 1:
        names = [item["patient_id"] for item in items if item["patient_from"] == "file"]
        sentences.append(
            f"{len(names)} of {len(items)} images are each taken for their own patient, since no header, file name or "
            f"sub-folder tells one; images of one person may then fall into training and test. {_remedy(names)}"
        )
    for patient, count in Counter(item["patient_id"] for item in items).most_common(3):
        if count > MOST_FILMS or count == len(items) >= _LEAST_FILMS:
            what = f"all {count} images" if count == len(items) else f"{count} images"
            sentences.append(
                f"{what} are taken for one patient, {patient!r}; if they are of several, name what tells them apart by "
                "--option patient_from=study (or folder, name), or in a table"
            )
    return sentences


def _remedy(names: Sequence[str]) -> str:
    """What to do for images without a patient: with a pattern, where their names are numbered within few words."""
    groups = Counter(
        match[1]
        for name in names
        if (match := _NUMBERED.fullmatch(name)) and not is_no_patient(match[1].split("/")[-1])
    )
    several = sum(count for count in groups.values() if count > 1)
    patients = [group for group, count in groups.items() if 1 < count <= MOST_FILMS]
    if len(patients) >= _LEAST_PATIENTS and several >= _SUGGESTED_SHARE * len(names):
        example = next(name for name in names if name.startswith(patients[0]))
        return (
            f"{several} names such as {example!r} may be <patient>_<number>: if they are, index with --option "
            f"'patient_pattern={_SUGGESTION}'"
        )
    return "Name the patients in a table (--layout csv_table), or by --option patient_pattern=REGEX"
