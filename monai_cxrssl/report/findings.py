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
from monai_cxrssl.metrics.cohort import Cohort
from monai_cxrssl.metrics.patient_bootstrap import Interval, flat_metrics
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
        cohort: of probabilities, NaN where there is none, stratified by the rarest class of each patient.
        task: ``"multi_class"`` or ``"multi_label"``.
        items: N items.
        measures: ``(N,)`` float64 each.
    """

    cohort: Cohort
    task: str
    items: list[dict[str, Any]]
    measures: dict[str, np.ndarray]

    @property
    def classes(self) -> list[str]:
        """Names of the classes."""
        return self.cohort.classes

    @property
    def patients(self) -> int:
        """How many."""
        return len(np.unique(self.cohort.patients))

    def take(self, rows: Any) -> Films:
        """Return some of the films, with the strata that they have here."""
        numbers = np.arange(len(self.items))[rows]
        measures = {name: values[numbers] for name, values in self.measures.items()}
        return Films(self.cohort.take(numbers), self.task, [self.items[number] for number in numbers], measures)

    def why_no_classes(self) -> str:
        """Say why nothing can be said of any class, as half a sentence; empty where it may be."""
        if not self.classes:
            return "the model gives no classes"
        if not self.items:
            return "there are no films"
        return "" if (~np.isnan(self.cohort.labels)).any() else "no film has a known label"


def films_of(predictions: Predictions) -> Films:
    """Bring predictions into the shapes that the metrics take."""
    numbers: dict[tuple[str, str], int] = {}
    patients = [numbers.setdefault(patient_of("", item), len(numbers)) for item in predictions.items]
    cohort = Cohort.of(predictions.scores, predictions.labels, patients, predictions.classes).stratified()
    return Films(cohort, predictions.task, predictions.items, predictions.measures)


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
