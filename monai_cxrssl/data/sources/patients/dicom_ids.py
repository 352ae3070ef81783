# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""PatientID and StudyInstanceUID that tell a person and a study.

A PatientID stands for nobody when

- it is a word such as ``ANONYMOUS``, ``-`` or ``REMOVED`` (:func:`monai_cxrssl.data.datalists.persons.is_placeholder`);
- it is a weaker word (``0``, ``X``, ``TEST``, ``123456`` ...), is in several studies, and is no number in a row of
  others (``0`` beside ``1``);
- at least half of the images share it, and their birth dates, sexes, names or ages are those of several people, or it
  names a place (``ST MARY HOSPITAL``); a smaller share is enough where hardly two images agree in birth date or name.

An id that most images share without any of these signs is kept, since it may be one person followed over years, and
said. The signs are counted over images, not taken from one: a typing error splits nobody.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from monai_cxrssl.data.datalists.persons import MOST_PATIENTS, comparable_id, is_placeholder
from monai_cxrssl.data.reading.dicom_header import person_digest

__all__ = ["DicomIds", "dicom_ids"]

# fmt: off
_WEAK_WORDS = frozenset({
    "test", "testpatient", "patient", "patienttest", "subject", "person", "case", "id", "name", "phantom", "temp",
    "tmp", "sample", "demo", "example", "x",
})
_PLACES = re.compile(
    r"hospital|h[oô]pital|ospedale|clinic|klinik|krankenhaus|universi|institut|radiolog|medical|cent(?:er|re|rum)|"
    r"zentrum|department|\bdept\b|\bpacs\b|x-?ray|research|study|studie|trial|project|cohort|dataset|archive|export",
    re.IGNORECASE,
)
_NO_BIRTH_DATES = frozenset(map(person_digest, (
    "19000101", "19010101", "18000101", "00010101", "00000000", "19700101", "20000101", "11111111", "99999999",
    "ANONYMIZED", "REMOVED", "UNKNOWN",
)))
_NO_NAMES = frozenset(map(person_digest, (
    "ANONYMOUS", "ANON", "ANONYMIZED", "ANONYMISED", "ANONYMOUS^PATIENT", "PATIENT^ANONYMOUS", "PATIENT", "REMOVED",
    "UNKNOWN", "NONAME", "NO^NAME", "DUMMY", "DEIDENTIFIED", "X", "XX", "XXX", "XXXX", "TEST", "NONE", "NA", "0",
    "UNKNOWN^PATIENT", "ANONYME", "ANONYM", "REDACTED", "NAME", "PATIENT^NAME", "ANONYMIZED^PATIENT", "XXXXX^XXXXX",
)))
# fmt: on
_LEAST_FILMS = 3
_ASKED_FILMS = 5
_MOST = 0.5
# Of images, so that typing errors do not count.
_MINORITY = 0.2
_YEARS = 20
_STUDY_FILMS = 20
_LEAST_STUDY_FILMS = 10
# Of pairs of ids that differ in writing alone, how many may be of two people before none is united for it.
_MOST_CONFLICTS = 0.2


@dataclass
class DicomIds:
    """Patient and study of each image, ``""`` where the header tells none, and what was found on the way.

    ``keys`` are what pseudonyms of patients are made of: the same for all writings of an id. ``nobodys`` are the images
    whose PatientID stands for nobody.
    """

    patients: list[str]
    studies: list[str]
    keys: list[str] = field(default_factory=list)
    nobodys: list[int] = field(default_factory=list)
    sentences: list[str] = field(default_factory=list)


def dicom_ids(headers: Sequence[Mapping[str, Any]], show_ids: bool = False, trust: bool = False) -> DicomIds:
    """Judge the ids of headers as of :func:`monai_cxrssl.data.reading.dicom.read_dicom_header`.

    Ids of one person that are written in several ways become one text. ``show_ids`` names ids in the sentences; else
    only words that stand for nobody are named. ``trust`` takes every PatientID as it is.
    """
    written = [str(header.get("patient_id") or "").strip() for header in headers]
    studies = [str(header.get("study_id") or "").strip() for header in headers]
    result = DicomIds(list(written), ["" if is_placeholder(study) else study for study in studies])
    if trust:
        result.keys = [comparable_id(patient) for patient in written]
        return result
    films = _films_of(written)
    known = {patient: rows for patient, rows in films.items() if not is_placeholder(patient)}
    words = Counter({patient: len(rows) for patient, rows in films.items() if patient not in known})
    total = sum(bool(text) for text in written)
    for patient, rows in known.items():
        reason, word = _stands_for_nobody(patient, rows, headers, result.studies, total, known)
        if word:
            words[patient] += len(rows)
        what = f"one PatientID{f' ({patient!r})' if show_ids else ''}"
        where = f"{len(rows)} of {len(headers)} images{_in_studies(rows, result.studies)}"
        if reason == "kept":
            result.sentences.append(
                f"{where} have {what}, and nothing tells whether that is one person. If it stands for nobody, give "
                "--option patient_from=study (or folder)"
            )
        elif reason and not word:
            result.sentences.append(f"{where} have {what}, but {reason}: it is taken for nobody's")
        if reason and reason != "kept":
            for row in rows:
                result.patients[row] = ""
    for patient in films.keys() - known.keys():
        for row in films[patient]:
            result.patients[row] = ""
    if words:
        shown = ", ".join(f"{patient!r} {count}" for patient, count in words.most_common(3))
        result.sentences.insert(0, f"{words.total()} images have a PatientID that stands for nobody ({shown})")
    result.nobodys = [row for row, text in enumerate(written) if text and not result.patients[row]]
    _drop_shared_studies(result)
    _unite_writings(result, headers)
    _say_merged(result)
    return result


def _films_of(values: Iterable[str]) -> dict[str, list[int]]:
    films: dict[str, list[int]] = defaultdict(list)
    for row, value in enumerate(values):
        if value:
            films[value].append(row)
    return dict(films)


def _stands_for_nobody(
    patient: str,
    rows: list[int],
    headers: Sequence[Mapping[str, Any]],
    studies: Sequence[str],
    total: int,
    others: Mapping[str, Any],
) -> tuple[str, bool]:
    """Why an id stands for nobody (``"kept"`` for one that may), empty for a person's; and whether by its word."""
    count = len({studies[row] for row in rows if studies[row]}) or len(rows)
    if len(rows) < 2 or count < 2:
        return "", False
    mine = [headers[row] for row in rows]
    one_person = _agree(mine, "birth_date_digest", _NO_BIRTH_DATES) or _agree(
        mine, "name_digest", _NO_NAMES | {person_digest(patient)}
    )
    if not one_person and _is_weak_word(patient, len(rows) / total, others):
        return "it is a word", True
    if len(rows) < _LEAST_FILMS:
        return "", False
    share = len(rows) / total
    differing, hardly_two_agree = _differences(mine)
    if differing and (share >= _MOST or hardly_two_agree):
        return f"{differing} those of several people", False
    if one_person or share < _MOST or count < _LEAST_FILMS:
        return "", False
    if _PLACES.search(patient) and not any(map(str.isdigit, patient)):
        return "it names a place", False
    return ("kept" if len(rows) >= _ASKED_FILMS else ""), False


def _is_weak_word(patient: str, share: float, others: Mapping[str, Any]) -> bool:
    plain = comparable_id(patient)
    letters = "".join(filter(str.isalnum, plain))
    beside = [comparable_id(other) for other in others if other != patient]
    if letters == "0":
        return "1" not in beside
    if letters == "x":
        return not any(len(other) == 1 and other.isalpha() for other in beside)
    # 99999 and 123456 are numbers like others where most images have another one of as many digits.
    counted = len(letters) > 2 and letters.isdigit() and (set(letters) == {"9"} or "1234567890".startswith(letters))
    if counted:
        return share >= _MOST or not any(other.isdigit() and len(other) == len(letters) for other in beside)
    return letters in _WEAK_WORDS


def _agree(headers: Sequence[Mapping[str, Any]], key: str, nobody: frozenset[str]) -> bool:
    """Whether nearly all headers have one and the same value, and it is a person's."""
    values = Counter(str(header.get(key) or "") for header in headers)
    value, count = values.most_common(1)[0]
    return bool(value) and value not in nobody and count >= (1 - _MINORITY) * len(headers)


def _differences(headers: Sequence[Mapping[str, Any]]) -> tuple[str, bool]:
    """What says that the images are of several people, and whether hardly two images agree in it."""
    for key, what in (("birth_date_digest", "their birth dates are"), ("name_digest", "their names are")):
        values = Counter(value for header in headers if (value := header.get(key)))
        if not values:
            continue
        most = values.most_common(1)[0][1]
        hardly = len(values) >= _LEAST_FILMS and most < _MOST * values.total()
        # A name is written in several ways; a birth date is not.
        if hardly or (key == "birth_date_digest" and most <= (1 - _MINORITY) * values.total()):
            return what, hardly
    sexes = Counter(sex for header in headers if (sex := str(header.get("sex") or "")) in ("M", "F"))
    if len(sexes) == 2 and min(sexes.values()) >= _MINORITY * sexes.total():
        return "their sexes are", False
    ages = sorted(float(age) for header in headers if (age := header.get("age")) is not None)
    if len(ages) >= _LEAST_FILMS and ages[-1 - len(ages) // 10] - ages[len(ages) // 10] > _YEARS:
        return "their ages are", False
    return "", False


def _in_studies(rows: Sequence[int], studies: Sequence[str]) -> str:
    count = len({studies[row] for row in rows if studies[row]})
    return f", in {count} studies," if count > 1 else ""


def _drop_shared_studies(result: DicomIds) -> None:
    """Forget study ids that an anonymiser wrote into images of many."""
    unknown = sum(not patient for patient in result.patients)
    dropped = 0
    for rows in _films_of(result.studies).values():
        patients = {comparable_id(result.patients[row]) for row in rows if result.patients[row]}
        nobodys = sum(not result.patients[row] for row in rows)
        most = nobodys > max(_LEAST_STUDY_FILMS, _MOST * unknown)
        if len(patients) > MOST_PATIENTS or nobodys > _STUDY_FILMS or most:
            dropped += len(rows)
            for row in rows:
                result.studies[row] = ""
    if dropped:
        result.sentences.append(f"{dropped} images have a StudyInstanceUID that images of many share; it is left out")


def _unite_writings(result: DicomIds, headers: Sequence[Mapping[str, Any]]) -> None:
    """Give ids that differ in writing alone one text and one key, but those of two people."""
    films = _films_of(result.patients)
    writings: dict[str, list[str]] = defaultdict(list)
    for patient in films:
        writings[comparable_id(patient)].append(patient)
    several = {plain: ids for plain, ids in writings.items() if len(ids) > 1}
    conflicts = {plain for plain, ids in several.items() if _conflict([[headers[r] for r in films[i]] for i in ids])}
    doubtful = len(conflicts) > _MOST_CONFLICTS * len(several)
    apart: set[str] = set()
    shared = 0
    for plain, ids in several.items():
        studies = [{result.studies[row] for row in films[patient]} - {""} for patient in ids]
        together = sum(map(len, studies)) - len(set.union(*studies))
        if not together and (plain in conflicts or doubtful):
            apart.update(ids)
            continue
        shared += together
        # The longest has what the others lack, and how many images have it does not matter.
        chosen = max(ids, key=lambda text: (len(text), text))
        for row in (row for patient in ids for row in films[patient]):
            result.patients[row] = chosen
    result.keys = [patient if patient in apart else comparable_id(patient) for patient in result.patients]
    groups = len({comparable_id(patient) for patient in apart})
    how = "ids that differ by capitals, blanks or leading zeros alone"
    if united := len(several) - groups:
        both = f" ({shared} studies have images of both)" if shared else ""
        result.sentences.append(f"{united} patients have {how}{both}; each is taken for one person")
    if groups:
        result.sentences.append(
            f"{groups} groups of {how} have the sexes or birth dates of several people, or stand beside such groups; "
            "they are kept apart"
        )


def _conflict(people: Sequence[Sequence[Mapping[str, Any]]]) -> bool:
    for key, nobody in (("birth_date_digest", _NO_BIRTH_DATES), ("sex", frozenset({"O"}))):
        common = [Counter(v for h in films if (v := str(h.get(key) or "")) and v not in nobody) for films in people]
        if len({values.most_common(1)[0][0] for values in common if values}) > 1:
            return True
    return False


def _say_merged(result: DicomIds) -> None:
    patients: dict[str, set[str]] = defaultdict(set)
    for study, patient in zip(result.studies, result.patients, strict=True):
        if study and patient:
            patients[study].add(patient)
    several = sum(len(ids) > 1 for ids in patients.values())
    if several:
        result.sentences.append(
            f"{several} studies have images of two PatientIDs or more, which are likely one person's; split keeps them "
            "together"
        )
