# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Montgomery County: 138 frontal images of a tuberculosis control programme, both lungs outlined by hand.

Folder layout (``MontgomerySet``; the folder above it is recognised too)::

    CXR_png/MCUCXR_0001_0.png                  80 normal (_0), 58 with tuberculosis (_1)
    ManualMask/leftMask/MCUCXR_0001_0.png
    ManualMask/rightMask/MCUCXR_0001_0.png
    ClinicalReadings/MCUCXR_0001_0.txt         "Patient's Sex: F", "Patient's Age: 045Y", then the findings
    masks/MCUCXR_0001_0.png                    both lungs in one, in Kaggle's copy, which holds Shenzhen as well

Classes (multi-class): 0 ``No Finding``, 1 ``Tuberculosis``, from the last digit of the file's name.

Items: ``patient_id`` (the name without the label: one image per patient), ``label``, ``lung_mask`` (``[left, right]``,
which the readers of this package merge, or the one of both), ``sex`` and ``age`` in years. There is no split: all items
are ``training``.

Licence: free to use with the citation below; made by the US National Library of Medicine and the Department of Health
and Human Services of Montgomery County, Maryland.
Citation: S. Jaeger, S. Candemir, S. Antani, Y. X. Wang, P. X. Lu, G. Thoma, "Two public chest X-ray datasets for
computer-aided screening of pulmonary diseases", Quant Imaging Med Surg 2014.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from monai_cxrssl.data.datalists.datalist import Datalist
from monai_cxrssl.data.sources.trees.tuberculosis import CLASSES, MASKS, find_top, read_top
from monai_cxrssl.errors import DatalistError

__all__ = ["CLASSES", "NAME", "detect", "parse_reading", "read"]

NAME = "Montgomery"
ARCHIVE = "MontgomerySet"
PREFIX = "MCUCXR"


def detect(folder: Path) -> bool:
    """Whether a folder holds ``CXR_png`` with images named ``MCUCXR_...``."""
    return find_top(folder, ARCHIVE, PREFIX) is not None


def read(folder: Path, strict_labels: bool = False) -> Datalist:
    """Read the data set in ``folder``.

    Args:
        folder: holds ``CXR_png``, or the folder of the archive with it.
        strict_labels: refuse labels that nobody foresaw, which are otherwise unknown and named in one warning.

    Raises:
        DatalistError: there is no image, or one has a name without a number, or a mask of one lung only.
    """
    return read_top(folder, ARCHIVE, PREFIX, NAME, _masks, parse_reading, strict_labels)


def parse_reading(text: str) -> dict[str, Any]:
    """Sex and age of a clinical reading, as far as its first two lines tell them.

    Example:
        >>> parse_reading("Patient's Sex: F\\nPatient's Age: 045Y\\nnormal")
        {'sex': 'F', 'age': 45.0}
    """
    sex = re.search(r"Sex\s*:\s*([MFO])\b", text, re.IGNORECASE)
    age = re.search(r"Age\s*:\s*(\d+)\s*([YMWD])", text, re.IGNORECASE)
    known: dict[str, Any] = {}
    if sex:
        known["sex"] = sex[1].upper()
    if age:
        known["age"] = int(age[1]) / {"Y": 1, "M": 12, "W": 52.18, "D": 365.25}[age[2].upper()]
    return known


def _masks(top: Path, stem: str) -> list[str] | str | None:
    sides = [f"ManualMask/{side}/{stem}.png" for side in ("leftMask", "rightMask")]
    there = [(top / side).is_file() for side in sides]
    if any(there) and not all(there):
        absent = sides[there.index(False)]
        raise DatalistError(
            f"{top / absent} does not exist, but the mask of the other lung does; put the file there or remove both, "
            "because one lung is no lung mask."
        )
    merged = (f"{place}/{stem}{mark}.png" for place in MASKS for mark in ("", "_mask"))
    return sides if all(there) else next((mask for mask in merged if (top / mask).is_file()), None)
