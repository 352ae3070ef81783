# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Shenzhen: 662 frontal images of the Third People's Hospital of Shenzhen, half of them with tuberculosis.

Folder layout (``ChinaSet_AllFiles``; the folder above it is recognised too)::

    CXR_png/CHNCXR_0001_0.png             326 normal (_0), 336 with tuberculosis (_1)
    ClinicalReadings/CHNCXR_0001_0.txt    "male 45yrs", then the findings
    mask/CHNCXR_0001_0_mask.png           lung masks of 566 images, published later on their own (optional)

The masks may lie in ``mask``, ``masks`` or ``mask/mask``, in the data set's folder.

Classes (multi-class): 0 ``No Finding``, 1 ``Tuberculosis``, from the last digit of the file's name.

Items: ``patient_id`` (the name without the label: one image per patient), ``label``, ``lung_mask``, ``sex`` and ``age``
in years. There is no split: all items are ``training``.

Licence: free to use with the citations below; made by the US National Library of Medicine and the Third People's
Hospital of Shenzhen.
Citation: S. Jaeger, S. Candemir, S. Antani, Y. X. Wang, P. X. Lu, G. Thoma, "Two public chest X-ray datasets for
computer-aided screening of pulmonary diseases", Quant Imaging Med Surg 2014; masks: S. Stirenko et al., "Chest X-Ray
Analysis of Tuberculosis by Deep Learning with Segmentation and Augmentation", ELNANO 2018, arXiv 1803.01199.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from monai_cxrssl.data.datalists.datalist import Datalist
from monai_cxrssl.data.sources.trees.tuberculosis import CLASSES, MASKS, find_top, read_top

__all__ = ["CLASSES", "NAME", "detect", "parse_reading", "read"]

NAME = "Shenzhen"
ARCHIVE = "ChinaSet_AllFiles"
PREFIX = "CHNCXR"


def detect(folder: Path) -> bool:
    """Whether a folder holds ``CXR_png`` with images named ``CHNCXR_...``."""
    return find_top(folder, ARCHIVE, PREFIX) is not None


def read(folder: Path, strict_labels: bool = False) -> Datalist:
    """Read the data set in ``folder``.

    Args:
        folder: holds ``CXR_png``, or the folder of the archive with it.
        strict_labels: refuse labels that nobody foresaw, which are otherwise unknown and named in one warning.

    Raises:
        DatalistError: there is no image, or one has a name without a number.
    """
    return read_top(folder, ARCHIVE, PREFIX, NAME, _mask, parse_reading, strict_labels)


def parse_reading(text: str) -> dict[str, Any]:
    """Sex and age of a clinical reading, as far as its first line tells them; blanks and commas may lack or abound.

    Example:
        >>> parse_reading("female 23yrs\\nnormal"), parse_reading("Male , 6 months"), parse_reading("normal")
        ({'sex': 'F', 'age': 23.0}, {'sex': 'M', 'age': 0.5}, {})
    """
    line = (text.strip().splitlines() or [""])[0]
    sex = re.search(r"(fe)?male", line, re.IGNORECASE)
    age = re.search(r"(\d+)\s*-?\s*(y|m|d)", line, re.IGNORECASE)
    known: dict[str, Any] = {}
    if sex:
        known["sex"] = "F" if sex[1] else "M"
    if age:
        known["age"] = int(age[1]) / {"y": 1, "m": 12, "d": 365.25}[age[2].lower()]
    return known


def _mask(top: Path, stem: str) -> str | None:
    places = [f"{place}/{stem}_mask.png" for place in MASKS]
    return next((place for place in places if (top / place).is_file()), None)
