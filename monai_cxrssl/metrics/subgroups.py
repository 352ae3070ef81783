# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Metrics by view, sex, age band and source."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from monai_cxrssl.errors import DatalistError
from monai_cxrssl.metrics.patient_bootstrap import Interval
from monai_cxrssl.metrics.ranking import ranking_figures

__all__ = ["Subgroup", "age_band", "subgroup_figures"]

_YEARS = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}


@dataclass(frozen=True)
class Subgroup:
    """One subgroup and its figures.

    Attributes:
        name: of the group, or ``"unknown"``.
        films: how many.
        patients: how many.
        small: whether it has fewer patients than asked for; its figures are there, and should be read with care.
        figures: ``macro_auc`` and ``auc_<class>``; NaN with a reason where they cannot be assessed.
    """

    name: str
    films: int
    patients: int
    small: bool
    figures: dict[str, Interval]


def subgroup_figures(
    score: Any,
    label: Any,
    patient: Any,
    group: Any,
    class_names: Sequence[str] | None = None,
    min_patients: int = 30,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    strata: Any = None,
) -> list[Subgroup]:
    """Return macro AUC and AUC per class in each subgroup, with intervals over the patients of the group.

    Macro figures of two groups are over different classes where one lacks a class; compare class by class then.

    Args:
        score: ``(N, C)``.
        label: ``(N,)`` class numbers with -1 for unknown, or ``(N, C)`` of 0, 1 and NaN for unknown.
        patient: ``(N,)``, one id per film.
        group: ``(N,)``, the group of each film; ``None``, NaN and empty text stand for ``"unknown"``. A patient may
            have films in several groups.
        class_names: C names; numbers when not given.
        min_patients: groups of fewer are marked as small.
        resamples: see :class:`~monai_cxrssl.metrics.PatientBootstrap`.
        confidence: see :class:`~monai_cxrssl.metrics.PatientBootstrap`.
        seed: see :class:`~monai_cxrssl.metrics.PatientBootstrap`.
        strata: see :class:`~monai_cxrssl.metrics.PatientBootstrap`.

    Returns:
        The groups by name, ``"unknown"`` last.

    Raises:
        DatalistError: shapes that do not fit, or labels of another kind.
    """
    scores, labels, ids = np.asarray(score), np.asarray(label), np.asarray(patient)
    names = np.array([_group_name(value) for value in group], dtype=object)
    if not len(names) == len(scores) == len(labels) == len(ids):
        raise DatalistError(
            f"There are {len(names)} groups, {len(scores)} scores, {len(labels)} labels and {len(ids)} patient ids; "
            "expected one of each per film."
        )
    subgroups = []
    for name in sorted(set(names), key=lambda each: (each == "unknown", each)):
        here = np.flatnonzero(names == name)
        own = None if strata is None else np.asarray(strata)[here]
        figures = ranking_figures(scores[here], labels[here], ids[here], class_names, resamples, confidence, seed, own)
        areas = {key: interval for key, interval in figures.items() if key == "macro_auc" or key.startswith("auc_")}
        patients = len(np.unique(ids[here]))
        subgroups.append(Subgroup(name, len(here), patients, patients < min_patients, areas))
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
