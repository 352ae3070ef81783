# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Patient ids of nobody, and several ids of one person.

Two ids are of one person when a study has images of both: a StudyInstanceUID is unique, so records were merged, or two
systems write one id in two ways. Ids that differ by capitals, blanks or leading zeros alone (``0012`` and ``12``,
``ABC1`` and ``abc1``) are taken for one person, too.

Which study ids are unique: UIDs and their pseudonyms everywhere; other texts of six characters and more with a digit
within their data set, when they are no dates. A study with images of more than :data:`MOST_PATIENTS` patients is a
value that an anonymiser wrote into all of them, and joins nobody.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["MOST_PATIENTS", "alike_ids", "comparable_id", "is_placeholder", "shared_studies", "study_key"]
__all__ += ["united_patients"]

MOST_PATIENTS = 3
# fmt: off
_NOBODY = frozenset({
    "anon", "anonym", "anonymous", "anonymized", "anonymised", "anonymize", "anonymise", "anonymizedpatient",
    "anonymisedpatient", "anonymouspatient", "patientanonymous", "anonpatient", "anonymisiert", "anonyme",
    "anonymiseur", "anonimo", "anonima", "anonimizado", "anonimizzato", "geanonimiseerd", "anonymizowany",
    "deid", "deident", "deidentified", "deidentify", "deidentifiedpatient", "deidentifie", "pseudonymized",
    "pseudonymised", "removed", "idremoved", "patientidremoved", "redacted", "deleted", "erased", "cleared", "masked",
    "hidden", "suppressed", "withheld", "confidential", "private", "blank", "empty", "none", "null", "nil", "nan", "na",
    "void", "missing", "notavailable", "notapplicable", "notassigned", "notgiven", "notspecified", "unavailable",
    "unknown", "unknownpatient", "patientunknown", "unkn", "unk", "unnamed", "unbekannt", "inconnu", "desconocido",
    "sconosciuto", "desconhecido", "onbekend", "okand", "undefined", "unspecified", "unassigned", "unidentified",
    "noid", "nopatientid", "nopatient", "noname", "noinfo", "dummy", "dummypatient", "default", "patientid",
    "patientname", "patientsid", "yourid", "tbd", "todo", "аноним", "匿名", "不明", "未知", "无",
})
# fmt: on
_UID = re.compile(r"\d+(?:\.\d+){3,}")
_PSEUDONYM = re.compile(r"(?:patient|study)-[0-9a-f]{16}")
_DATE = re.compile(r"(?:19|20)\d\d[-/._ ]?\d\d[-/._ ]?\d\d.*|\d\d?[-/._]\d\d?[-/._](?:19|20)?\d\d.*")
# The patient was told by no id: such names differ as names of files do.
_NO_ID = ("study", "file")


def is_placeholder(text: Any) -> bool:
    """Whether an id, such as ``"ANONYMOUS"``, ``"-"``, ``"n/a"``, ``"xxxx"`` or a blank one, stands for nobody.

    ``"0"`` and ``"X"`` may be numbers of a person in a row of others, so they are not told by the word alone.
    """
    letters = _letters(text)
    return not letters or letters in _NOBODY or (len(letters) > 1 and set(letters) == {"x"})


def comparable_id(text: Any) -> str:
    """Return an id without what two systems write differently: capitals, blanks and leading zeros of its numbers.

    Example:
        >>> comparable_id(" ABC 0012"), comparable_id("abc 12"), comparable_id("000")
        ('abc 12', 'abc 12', '0')
    """
    plain = " ".join(unicodedata.normalize("NFKC", str(text)).casefold().split())
    return re.sub(r"(?<![\d.])0+(?=\d)", "", plain)


def study_key(item: Mapping[str, Any], name: str = "") -> tuple[str, ...] | None:
    """Return what tells the study of an item from all others, ``None`` where its id is not known to be unique.

    ``name`` of the datalist stands in where the item names no ``source``.
    """
    source = str(item.get("source") or name)
    study = str(item.get("study_id") or "").strip().removeprefix(f"{source}:")
    if _UID.fullmatch(study) or _PSEUDONYM.fullmatch(study):
        return (study,)
    if len(study) < 6 or not any(map(str.isdigit, study)) or _DATE.fullmatch(study):
        return None
    return source, study


def shared_studies(items: Iterable[Mapping[str, Any]], name: str = "") -> dict[tuple[str, ...], list[str]]:
    """Return the studies that have images of two or more patients, and the sorted ids of these."""
    patients: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for item in items:
        if key := study_key(item, name):
            patients[key].add(str(item["patient_id"]))
    return {study: sorted(ids) for study, ids in patients.items() if len(ids) > 1}


def alike_ids(items: Iterable[Mapping[str, Any]], name: str = "") -> list[list[str]]:
    """Return the ids that differ by capitals, blanks or leading zeros alone, sorted, each group once."""
    groups: dict[tuple[str, str], set[str]] = defaultdict(set)
    seen: set[tuple[str, str]] = set()
    for item in items:
        source, patient = str(item.get("source") or name), str(item["patient_id"])
        if item.get("patient_from") in _NO_ID or (source, patient) in seen:
            continue
        seen.add((source, patient))
        own = patient.removeprefix(f"{source}:")
        if not _PSEUDONYM.fullmatch(own):
            groups[source, comparable_id(own)].add(patient)
    return sorted(sorted(ids) for ids in groups.values() if len(ids) > 1)


def united_patients(items: Iterable[Mapping[str, Any]], name: str = "", alike: bool = True) -> dict[str, str]:
    """Return for each patient id the first, in sorted order, of the ids that are of the same person: mostly itself.

    ``alike`` False unites by studies alone.
    """
    listed = list(items)
    first = {str(item["patient_id"]): str(item["patient_id"]) for item in listed}

    def root(patient: str) -> str:
        while first[patient] != patient:
            first[patient] = patient = first[first[patient]]
        return patient

    groups = [ids for ids in shared_studies(listed, name).values() if len(ids) <= MOST_PATIENTS]
    for ids in groups + (alike_ids(listed, name) if alike else []):
        start, *others = sorted(map(root, ids))
        first.update(dict.fromkeys(others, start))
    return {patient: root(patient) for patient in first}


def _letters(text: Any) -> str:
    plain = unicodedata.normalize("NFKD", str(text if text is not None else "")).casefold()
    return "".join(character for character in plain if character.isalnum())
