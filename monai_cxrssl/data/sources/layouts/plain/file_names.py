# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Patients in the file names of known data sets, wherever the files lie.

The first column is the data set, the second a name or path, the third its patient::

    ChestX-ray14   00000013_005.png (numbers to 30805)                13
    CheXpert       patient00001/study1/view1_frontal.jpg, or by _     patient00001
    MIMIC-CXR      p10000032/s50414267/..., or joined by _            p10000032
    Kermany        person23_bacteria_78, NORMAL2-IM-0323-0001 ...     person23-bacteria
                   IM-0115-0001, beside names such as these           IM-0115
    Montgomery     MCUCXR_0001_0                                      MCUCXR_0001
    Shenzhen       CHNCXR_0001_0                                      CHNCXR_0001
    JSRT           JPCLN001, JPCNN001                                 JPCLN001
    Open-I         CXR1_1_IM-0001-3001, 1_IM-0001-4001.dcm            1
    BRAX           id_<UUID>/Study_.../...                            id_<UUID>
    BIMCV, BIDS    sub-S03044_ses-E06218_..., or folders so named     sub-S03044
    MIDRC-RICORD   MIDRC-RICORD-1C-419639-000025-...                  MIDRC-RICORD-1C-419639-000025

The names of PadChest, VinDr-CXR, VinDr-PCXR, RSNA Pneumonia, TBX11K, SIIM-ACR, COVID-QU-Ex and the COVID-19 Radiography
Database tell no patient: PadChest's table does, of the others it was not published.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from monai_cxrssl.data.datalists.image_names import image_stem
from monai_cxrssl.data.sources.layouts.jsrt import NAMES as JSRT_NAMES
from monai_cxrssl.data.sources.layouts.kermany import patient_and_class

__all__ = ["known_patients"]

CHESTXRAY14_PATIENTS = 30805
_CHESTXRAY14 = re.compile(r"(\d{8})_(\d{3})")
_OPEN_I = re.compile(r"(?:CXR)?(\d{1,4})(?:_\d)?_IM-\d{4}(?:-\d{4})*(?:\.dcm)?")
_SERIES = re.compile(r"IM-\d+(?:-\d+)+")
# Data set, pattern of the stem or, where it has a slash, of the path; its groups are patient and study.
_PATTERNS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (name, re.compile(pattern))
    for name, pattern in (
        ("CheXpert", r"(?:.*/)?(patient\d{5,6})/(study\d+)/view\d+_(?:frontal|lateral)[^/]*"),
        ("CheXpert", r"(?:.*_)?(patient\d{5,6})_(study\d+)_view\d+_(?:frontal|lateral)"),
        ("MIMIC-CXR", r"(?:.*/)?(p1\d{7})/(s5\d{7})/[^/]+"),
        ("MIMIC-CXR", r"(p1\d{7})_(s5\d{7})_.+"),
        ("Montgomery", r"(MCUCXR_\d{4})_[01]"),
        ("Shenzhen", r"(CHNCXR_\d{4})_[01]"),
        ("BRAX", r"(?:.*/)?(id_[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/(Study_[^/]+)/.*"),
        ("BIDS", r"(sub-[A-Za-z0-9]+)_(?:(ses-[A-Za-z0-9]+)_)?.+"),
        ("BIDS", r"(?:.*/)?(sub-[A-Za-z0-9]+)/(?:(ses-[A-Za-z0-9]+)/)?.+"),
        ("MIDRC-RICORD", r"(MIDRC-RICORD-1[A-C]-\d{6}-\d{6})(?:-.+)?"),
    )
)


def known_patients(paths: Sequence[str]) -> list[tuple[str, str, str] | None]:
    """Return (data set, patient, study or ``""``) of each path, ``None`` where its name is of no known data set.

    ``paths`` have slashes. Names that other programs write as well count beside a telling one alone.

    Example:
        >>> known_patients(["x/00000013_005.png", "a/person1_virus_6.jpeg", "20230115_001.png"])
        [('ChestX-ray14', '13', '13-5'), ('Kermany', 'person1-virus', ''), None]
    """
    stems = [image_stem(path.rpartition("/")[2]) for path in paths]
    # Viewers of DICOM files write IM-0001-0001.jpg for any patient.
    kermany = any(patient_and_class(stem) and not _SERIES.fullmatch(stem) for stem in stems)
    return [_patient(path, stem, kermany) for path, stem in zip(paths, stems, strict=True)]


def _patient(path: str, stem: str, kermany: bool) -> tuple[str, str, str] | None:
    if (match := _CHESTXRAY14.fullmatch(stem)) and 1 <= int(match[1]) <= CHESTXRAY14_PATIENTS:
        return "ChestX-ray14", str(int(match[1])), f"{int(match[1])}-{int(match[2])}"
    if match := _OPEN_I.fullmatch(stem):
        return "Open-I", match[1], match[1]
    if JSRT_NAMES.fullmatch(f"{(jsrt := re.sub('.IMG$', '', stem, flags=re.IGNORECASE))}.IMG"):
        return "JSRT", jsrt, ""
    if (told := patient_and_class(stem)) and (kermany or not _SERIES.fullmatch(stem)):
        return "Kermany", told[0], ""
    for name, pattern in _PATTERNS:
        if match := pattern.fullmatch(path if "/" in pattern.pattern else stem):
            patient, study = (*match.groups(default=""), "")[:2]
            return name, patient, f"{patient}/{study}" if study else ""
    return None
