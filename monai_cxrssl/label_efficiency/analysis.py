# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Label efficiency with intervals over test patients and draws."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from monai_cxrssl.data.audit.audit import patient_of
from monai_cxrssl.data.datalists.predictions import Predictions
from monai_cxrssl.errors import DatalistError
from monai_cxrssl.label_efficiency.clustered_cell import ClusteredCell, clustered_figure
from monai_cxrssl.metrics.cohort import Cohort, macro_mean
from monai_cxrssl.metrics.patient_bootstrap import DEFAULT_PLAN, ResamplingPlan, Statistic
from monai_cxrssl.metrics.ranking import clustered_auc

__all__ = ["label_efficiency"]

#: Initialisation, label fraction, number of the draw.
CellName = tuple[str, float, int]


def label_efficiency(
    predictions: Mapping[CellName, Predictions],
    inits: Sequence[str],
    fractions: Sequence[float],
    draws: int,
    metric: str = "macro_auc",
    plan: ResamplingPlan = DEFAULT_PLAN,
) -> dict[str, Any]:
    """Compare initialisations at each fraction of the labels.

    A figure is the mean over draws. The interval of an AUC is that of
    :func:`~monai_cxrssl.label_efficiency.clustered_cell.clustered_figure`. For other metrics each resample draws test
    patients and draws anew, both with replacement, the same for every cell. Differences are paired; draws that are
    missing from one of two initialisations do not count in theirs.

    Args:
        predictions: of the test images, of each cell that has them.
        inits: names; the others are compared with the first.
        metric: ``"macro_auc"``, or the name of a measure, such as ``"dice"``, whose mean over images is taken.

    Returns:
        Plain JSON values (``None`` where there is no figure, with its ``reason``): ``metric``, ``confidence``,
        ``resamples``, ``test`` (counts), ``figures`` and ``differences`` (a row per initialisation and fraction:
        ``value``, ``ci_low``, ``ci_high``, ``interval_over``, ``by_draw``, ``draws``, ``per_class``), ``notes``; and
        ``refused``: the reason for each cell whose predictions could not be used.
    """
    grid = _Grid(predictions, metric, plan)
    report: dict[str, Any] = {
        "metric": metric, "confidence": plan.confidence, "resamples": plan.resamples, "test": grid.counts,
        "figures": [], "differences": [],
    }  # fmt: skip
    for init in inits:
        for fraction in fractions:
            own = grid.cells(init, fraction, draws)
            report["figures"].append({"init": init, "fraction": fraction, **grid.figure(own)})
            if init == inits[0]:
                continue
            first = grid.cells(inits[0], fraction, draws)
            paired = {draw: own[draw] - first[draw] for draw in own if draw in first}
            row = {"init": init, "against": inits[0], "fraction": fraction}
            report["differences"].append({**row, **grid.figure(paired)})
    report["notes"] = _notes(metric, draws, fractions, plan, len(report["differences"]), grid.counts["patients"])
    report["refused"] = grid.refused
    return report


class _Grid:
    """The figure of every class, of the test images as they are and of every resample, of each cell."""

    def __init__(self, predictions: Mapping[CellName, Predictions], metric: str, plan: ResamplingPlan) -> None:
        self.plan = plan
        self.classes: list[str] = []
        self.refused: dict[CellName, str] = {}
        # (1 + resamples, classes); the first row as the images are
        self.values: dict[CellName, np.ndarray | ClusteredCell] = {}
        self.counts = {"images": 0, "patients": 0}
        self.patients: list[str] = []
        images: list[str] | None = None
        for name, cell in predictions.items():
            listed = [str(item["image"]) for item in cell.items]
            order = sorted(range(len(listed)), key=listed.__getitem__)
            own = [listed[number] for number in order]
            if images is None and own:
                images = own
                self.patients = ["\n".join(patient_of("", cell.items[number])) for number in order]
                self.counts = {"images": len(own), "patients": len(set(self.patients))}
            if not own or own != images:
                self.refused[name] = (
                    f"its {len(own)} test predictions are not of the same images as the {len(images or ())} of the "
                    "first cell; all must have one test split"
                )
                continue
            try:
                self.values[name] = self._values(cell, order, metric)
            except DatalistError as error:
                self.refused[name] = str(error)

    def _values(self, cell: Predictions, order: Sequence[int], metric: str) -> np.ndarray | ClusteredCell:
        if metric == "macro_auc":
            return self._areas(cell, order)
        statistic = self._mean(cell, order, metric)
        if self.counts["patients"] > 1:
            return self.plan.resample(statistic, self.patients)
        return statistic(np.ones((1, len(order))))

    def _mean(self, cell: Predictions, order: Sequence[int], metric: str) -> Statistic:
        if metric not in cell.measures:
            raise DatalistError(f"its predictions have no column {metric}.")
        measure = cell.measures[metric][order]
        known = np.isfinite(measure)

        def mean(weights: np.ndarray) -> np.ndarray:
            with np.errstate(invalid="ignore", divide="ignore"):
                return (weights[:, known] @ measure[known] / weights[:, known].sum(axis=1))[:, None]

        return mean

    def _areas(self, cell: Predictions, order: Sequence[int]) -> ClusteredCell:
        if self.classes and cell.classes != self.classes:
            raise DatalistError(f"its classes are {', '.join(cell.classes)}; those of the first cell are others.")
        self.classes = cell.classes
        cohort = Cohort.of(cell.scores[order], cell.labels[order], self.patients)
        return ClusteredCell(((1.0, clustered_auc(cohort.finite())),))

    def cells(self, init: str, fraction: float, draws: int) -> dict[int, Any]:
        """The values of the draws that there are."""
        names = {draw: (init, fraction, draw) for draw in range(draws)}
        return {draw: self.values[name] for draw, name in names.items() if name in self.values}

    def figure(self, cells: Mapping[int, Any]) -> dict[str, Any]:
        """Mean over draws and classes, and of each class, with intervals."""
        if not cells:
            return {**_nothing("no cell with test predictions"), "by_draw": {}, "draws": 0, "per_class": {}}
        count = len(cells)
        over = "test patients and draws" if count > 1 else "test patients"
        if isinstance(next(iter(cells.values())), ClusteredCell):
            found = clustered_figure(cells, self.classes, self.plan.confidence)
            rows = {name: self._row(row, over) for name, row in found["per_class"].items()}
            return {**self._row(found, over), "by_draw": found["by_draw"], "draws": count, "per_class": rows}
        values = np.stack(list(cells.values()))  # (draws, 1 + resamples, classes)
        share = self.plan.shares(count)[:, : values.shape[1]]  # (draws, 1 + resamples)
        macro = macro_mean(values)
        by_draw = {str(draw): _plain(value) for draw, value in zip(cells, macro[:, 0], strict=True)}
        # A class that a resample lacks it lacks in every draw, for the labels are the same: no NaN is lost by a share
        # of 0, which stays NaN.
        per_class = {
            name: self._interval((share * values[..., number]).sum(axis=0), over)
            for number, name in enumerate(self.classes)
        }
        return {
            **self._interval((share * macro).sum(axis=0), over),
            "by_draw": by_draw,
            "draws": count,
            "per_class": per_class,
        }

    def _interval(self, values: np.ndarray, over: str) -> dict[str, Any]:
        """The first value with the interval of the others; all are shares, and differences of shares."""
        interval = asdict(self.plan.interval(values, patients=self.counts["patients"], limits=(-1.0, 1.0)))
        return self._row({key: None if value != value else value for key, value in interval.items()}, over)

    def _row(self, found: Mapping[str, Any], over: str) -> dict[str, Any]:
        if found["value"] is None:
            kinds = "positive or no negative" if self.classes else "measured"
            return _nothing(f"the test split has no {kinds} image")
        if self.counts["patients"] < 2:
            return {**_nothing("one test patient: no interval over patients"), "value": found["value"]}
        numbers = {key: found[key] for key in ("value", "ci_low", "ci_high", "resamples", "method")}
        return {**numbers, "interval_over": over, "reason": None}


def _nothing(reason: str) -> dict[str, Any]:
    absent = dict.fromkeys(("value", "ci_low", "ci_high"))
    return {**absent, "resamples": 0, "method": None, "interval_over": None, "reason": reason}


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _notes(
    metric: str, draws: int, fractions: Sequence[float], plan: ResamplingPlan, comparisons: int, patients: int
) -> list[str]:
    """What a reader must know of the intervals."""
    percent = f"{100 * plan.confidence:g} %"
    brackets = f"Brackets: {percent} interval over the test patients"
    if metric != "macro_auc":
        brackets += f", of {plan.resamples} resamples"
    if patients < 2:
        notes = [f"There are {patients} test patients; an interval needs two or more."]
    elif draws == 1:
        notes = [
            f"{brackets}. With one draw, nothing is known of how much the chosen patients and the seed matter; give 5 "
            "draws or more."
        ]
    elif metric == "macro_auc":
        notes = [f"{brackets} and over the {draws} draws (Student's t)."]
    else:
        narrower = 1 - math.sqrt((draws - 1) / draws)
        notes = [
            f"{brackets} of both the patients and the {draws} draws. A bootstrap of so few draws shows their spread "
            f"too small, by about {100 * narrower:.0f} %."
        ]
    if draws > 1 and 1 in fractions:
        notes.append(
            "All labels (100 %) are the same in every draw: there the draws differ by the seed of training only."
        )
    if comparisons:
        notes.append("Differences are paired: same test patients, same draws.")
        notes.append("Each file of weights is one pretraining run: how much another run would differ is not in them.")
    if comparisons > 1:
        notes.append(f"{comparisons} differences are shown, their intervals not widened for that many comparisons.")
    return notes
