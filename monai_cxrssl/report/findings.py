# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""What each section of a report is made from, and what it gives: films with their scores, and findings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from monai_cxrssl.data.audit.audit import patient_of
from monai_cxrssl.data.datalists.predictions import Predictions
from monai_cxrssl.metrics.assessable import class_columns
from monai_cxrssl.metrics.patient_bootstrap import Interval, flat_metrics, patient_strata
from monai_cxrssl.report.content import Section

__all__ = ["Films", "Findings", "films_of", "interval_text", "missing_figures", "number_or_none", "reasons_note"]


@dataclass(frozen=True)
class Findings:
    """One section and the figures behind it.

    Attributes:
        section: for the page.
        figures: flat, for ``metrics.json`` and the criteria; NaN where there is none.
        missing: why a figure is missing, half a sentence by its name.
    """

    section: Section
    figures: dict[str, Any] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Films:
    """Predictions in the shapes that the metrics take.

    Attributes:
        classes: C names.
        task: ``"multi_class"`` or ``"multi_label"``.
        items: N items.
        scores: ``(N, C)`` float64 probabilities, NaN where there is none.
        label: as in :class:`~monai_cxrssl.data.datalists.predictions.Predictions`.
        columns: ``(N, C)`` float64 labels of 0, 1 and NaN for unknown.
        patient: ``(N,)`` int64 patient numbers.
        strata: ``(N,)`` int64, see :func:`~monai_cxrssl.metrics.patient_strata`.
        measures: ``(N,)`` float64 each.
    """

    classes: list[str]
    task: str
    items: list[dict[str, Any]]
    scores: np.ndarray
    label: np.ndarray
    columns: np.ndarray
    patient: np.ndarray
    strata: np.ndarray
    measures: dict[str, np.ndarray]

    @property
    def patients(self) -> int:
        """How many."""
        return len(np.unique(self.patient))

    def take(self, rows: Any) -> Films:
        """Return some of the films, with the strata that they have here."""
        rows = np.asarray(rows)
        numbers = np.flatnonzero(rows) if rows.dtype == bool else rows.astype(np.int64)
        return Films(
            self.classes,
            self.task,
            [self.items[number] for number in numbers],
            self.scores[numbers],
            self.label[numbers],
            self.columns[numbers],
            self.patient[numbers],
            self.strata[numbers],
            {name: values[numbers] for name, values in self.measures.items()},
        )

    def why_no_classes(self) -> str:
        """Say why nothing can be said of any class, as half a sentence; empty where it may be."""
        if not self.classes:
            return "the model gives no classes"
        if not self.items:
            return "there are no films"
        return "" if (~np.isnan(self.columns)).any() else "no film has a known label"


def films_of(predictions: Predictions) -> Films:
    """Bring predictions into the shapes that the metrics take."""
    numbers: dict[tuple[str, str], int] = {}
    patient = np.array(
        [numbers.setdefault(patient_of("", item), len(numbers)) for item in predictions.items], dtype=np.int64
    )
    scores, label = np.asarray(predictions.scores, dtype=np.float64), np.asarray(predictions.labels)
    if len(patient) and predictions.classes:
        columns = class_columns(scores, label, patient)[1]
        strata = patient_strata(label, patient)
    else:
        columns, strata = np.full(scores.shape, np.nan), np.full(len(patient), -1)
    return Films(
        predictions.classes,
        predictions.task,
        predictions.items,
        scores,
        label,
        columns,
        patient,
        strata,
        predictions.measures,
    )


def number_or_none(value: Any) -> float | None:
    """Return a finite number, or None."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def interval_text(interval: Interval | None, signed: bool = False) -> str | None:
    """Return a cell such as ``"0.812 (0.751 to 0.866)"``; None where there is no figure.

    Example:
        >>> interval_text(Interval(0.8123, 0.7512, 0.866, 1000))
        '0.812 (0.751 to 0.866)'
    """
    if interval is None or not math.isfinite(interval.value):
        return None
    form = "{:+.3f}" if signed else "{:.3f}"
    value, low, high = (form.format(number) for number in (interval.value, interval.ci_low, interval.ci_high))
    return f"{value} ({low} to {high})" if math.isfinite(interval.ci_low) else f"{value} (no interval)"


def reasons_note(intervals: Mapping[str, Interval], names: Mapping[str, str] | None = None) -> str:
    """Return a note that names each figure that is missing with its reason; empty where none is.

    Args:
        intervals: by name.
        names: how to call them on the page.
    """
    told: dict[str, list[str]] = {}
    for key, interval in intervals.items():
        if not math.isfinite(interval.value):
            told.setdefault(interval.reason or "it is not defined on these films", []).append(
                (names or {}).get(key, key)
            )
    return " ".join(f"Not assessable: {_listed(keys)}, since {reason}." for reason, keys in told.items())


def missing_figures(intervals: Mapping[str, Interval]) -> dict[str, str]:
    """Return why figures and their intervals are missing, by the keys of ``metrics.json``."""
    missing = {}
    for key, interval in intervals.items():
        flat = flat_metrics({key: interval})
        for name, value in flat.items():
            if not math.isfinite(value):
                missing[name] = interval.reason or "no resample gave a figure"
    return missing


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
