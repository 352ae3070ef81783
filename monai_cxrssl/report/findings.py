# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Evidence and findings of the report's sections."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from monai_cxrssl.data.audit.audit import patient_numbers
from monai_cxrssl.data.datalists.predictions import Predictions
from monai_cxrssl.metrics.cohort import Cohort
from monai_cxrssl.metrics.patient_bootstrap import Interval, ResamplingPlan, flat_metrics
from monai_cxrssl.report.content import Flag, FlagLevel, Picture, Section, Table
from monai_cxrssl.report.evaluation_files import EvaluationFiles

__all__ = ["Evidence", "Films", "Findings", "films_of", "interval_text", "number_or_none"]


@dataclass
class Findings:
    """One section and the figures behind it, put together bit by bit."""

    section: Section  #: for the page.
    figures: dict[str, Any] = field(default_factory=dict)  #: flat, for ``metrics.json``; NaN: there is none.
    missing: dict[str, str] = field(default_factory=dict)  #: why a figure is missing, half a sentence by its name.

    def text(self, *paragraphs: str) -> None:
        """Add paragraphs."""
        self.section.text.extend(paragraphs)

    def flag(self, level: FlagLevel, text: str) -> None:
        """Add a finding in words."""
        self.section.flags.append(Flag(level, text))

    def table(
        self,
        caption: str,
        columns: Sequence[str],
        rows: Iterable[Sequence[Any]],
        note: str | Mapping[str, Interval] = "",
    ) -> None:
        """Add a table; the note may be of intervals, whose reasons it then tells as far as they are missing."""
        note = note if isinstance(note, str) else _reasons(note)
        self.section.tables.append(Table(caption, list(columns), [list(map(_cell, row)) for row in rows], note))

    def picture(self, name: str, alt: str, caption: str) -> None:
        """Add a picture that was drawn at :meth:`Evidence.picture_path`."""
        self.section.pictures.append(Picture(f"figures/{name}", alt, caption))

    def intervals(self, intervals: Mapping[str, Interval]) -> None:
        """Add figures with their intervals, and why those that are missing are."""
        for key, interval in intervals.items():
            flat = flat_metrics({key: interval})
            self.figures.update(flat)
            reason = interval.reason or "no resample gave a figure"
            numbers = {name: value for name, value in flat.items() if not name.endswith("_ci_method")}
            self.missing.update({name: reason for name, value in numbers.items() if not math.isfinite(value)})

    def not_assessable(self, why: str, keys: Iterable[str], what: str = "Not assessable") -> Findings:
        """Say that the figures of these keys are missing, and return the findings."""
        self.flag("unknown", f"{what}: {why}.")
        self.missing.update(dict.fromkeys(keys, why))
        return self


@dataclass(frozen=True)
class Films:
    """Predictions in the shapes that the metrics take."""

    cohort: Cohort  #: of probabilities, NaN where there is none, stratified by the rarest class of each patient.
    task: str  #: ``"multi_class"`` or ``"multi_label"``.
    items: list[dict[str, Any]]  #: N items.
    measures: dict[str, np.ndarray]  #: ``(N,)`` float64 each.

    @property
    def classes(self) -> list[str]:
        """Names of the classes."""
        return self.cohort.classes

    @property
    def patients(self) -> int:
        """How many."""
        return len(np.unique(self.cohort.patients))

    def take(self, rows: Any) -> Films:
        """Return some of the images, with the strata that they have here."""
        numbers = np.arange(len(self.items))[rows]
        measures = {name: values[numbers] for name, values in self.measures.items()}
        return Films(self.cohort.take(numbers), self.task, [self.items[number] for number in numbers], measures)

    def why_no_classes(self) -> str:
        """Say why nothing can be said of any class, as half a sentence; empty where it may be."""
        if not self.classes:
            return "the model gives no classes"
        if not self.items:
            return "there are no images"
        return "" if (~np.isnan(self.cohort.labels)).any() else "no image has a known label"


def films_of(predictions: Predictions) -> Films:
    """Bring predictions into the shapes that the metrics take."""
    patients = patient_numbers(predictions.items)
    cohort = Cohort.of(predictions.scores, predictions.labels, patients, predictions.classes).stratified()
    return Films(cohort, predictions.task, predictions.items, predictions.measures)


@dataclass(frozen=True)
class Evidence:
    """What the sections of a report are made from."""

    model: EvaluationFiles  #: files of the evaluation.
    test: Films  #: its test images.
    validation: (
        Films | None
    )  #: its validation images, by which thresholds and temperature are chosen; None without any.
    compared: dict[str, Films]  #: test images of every model of the report, by name.
    pictures: dict[str, Picture]  #: of the evaluation, by kind, as far as there are any.
    provenance: dict[str, Any]  #: of :func:`~monai_cxrssl.report.collect_provenance`.
    folder: Path  #: of the report.
    plan: ResamplingPlan  #: of the bootstrap.

    def picture_path(self, name: str) -> Path:
        """Return where a picture of the report goes."""
        return self.folder / "figures" / name


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


def _cell(value: Any) -> Any:
    if isinstance(value, Interval):
        return interval_text(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _reasons(intervals: Mapping[str, Interval]) -> str:
    """A note that names each figure that is missing with its reason; empty where none is."""
    names: dict[str, list[str]] = {}
    for name, interval in intervals.items():
        if not math.isfinite(interval.value):
            names.setdefault(interval.reason or "it is not defined on these images", []).append(name)
    return " ".join(f"Not assessable: {_listed(each)}, since {reason}." for reason, each in names.items())


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
