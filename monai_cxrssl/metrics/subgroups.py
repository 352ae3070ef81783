# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""AUC in subgroups by view, sex, age band or source."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from monai_cxrssl.errors import DatalistError
from monai_cxrssl.metrics.cohort import Cohort
from monai_cxrssl.metrics.patient_bootstrap import DEFAULT_PLAN, Interval, ResamplingPlan
from monai_cxrssl.metrics.ranking import ranking_figures

__all__ = ["Subgroup", "age_band", "subgroup_figures"]

_YEARS = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}


@dataclass(frozen=True)
class Subgroup:
    """One subgroup and its figures."""

    name: str  #: of the group, or ``"unknown"``.
    films: int  #: how many.
    patients: int  #: how many.
    small: bool  #: whether it has fewer patients than asked for; its figures are there, and should be read with care.
    figures: dict[str, Interval]  #: ``macro_auc`` and ``auc_<class>``; NaN with a reason where they cannot be assessed.


def subgroup_figures(
    cohort: Cohort, group: Sequence[Any], min_patients: int = 30, plan: ResamplingPlan = DEFAULT_PLAN
) -> list[Subgroup]:
    """Return macro AUC and AUC per class in each subgroup, with intervals over the patients of the group.

    Groups are sorted by name, ``"unknown"`` last. Macro figures of two groups are over different classes where one
    lacks a class; compare class by class then.

    Args:
        group: ``(N,)``, may differ between images of a patient; ``None``, NaN and empty text stand for ``"unknown"``.
        min_patients: groups of fewer are marked as small.

    Raises:
        DatalistError: another number of groups than of images.
    """
    names = np.array([_group_name(value) for value in group], dtype=object)
    if len(names) != len(cohort.scores):
        raise DatalistError(f"There are {len(names)} groups for {len(cohort.scores)} images; expected one per image.")
    subgroups = []
    for name in sorted(set(names), key=lambda each: (each == "unknown", each)):
        part = cohort.take(np.flatnonzero(names == name))
        figures = ranking_figures(part, plan)
        areas = {key: interval for key, interval in figures.items() if key == "macro_auc" or key.startswith("auc_")}
        patients = len(np.unique(part.patients))
        subgroups.append(Subgroup(name, len(part.patients), patients, patients < min_patients, areas))
    return subgroups


def _group_name(value: Any) -> str:
    if value is None or (isinstance(value, float | np.floating) and np.isnan(value)):
        return "unknown"
    return str(value).strip() or "unknown"


def age_band(age: Any) -> str:
    """Return the band of an age: ``"0-17"``, ``"18-39"``, ``"40-59"``, ``"60-79"``, ``"80+"`` or ``"unknown"``.

    An age counts in completed years, so that 17.9 is in ``"0-17"``. Ages below 0 or above 120 years are errors of the
    table, and unknown.

    Args:
        age: years, a number or text; or text in the form of DICOM's Patient's Age, such as ``"063Y"``, ``"018M"``,
            ``"006W"`` or ``"010D"``; ``None``, NaN and other text are unknown.

    Example:
        >>> [age_band(age) for age in (0.5, "063Y", "018M", None)]
        ['0-17', '60-79', '0-17', 'unknown']
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([YMWD]?)\s*", str(age), flags=re.IGNORECASE | re.ASCII)
    if match is None:
        return "unknown"
    years = float(match[1]) * _YEARS[match[2].upper() or "Y"]
    if years > 120:
        return "unknown"
    for limit, band in ((18, "0-17"), (40, "18-39"), (60, "40-59"), (80, "60-79")):
        if years < limit:
            return band
    return "80+"
