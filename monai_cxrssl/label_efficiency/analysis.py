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
from monai_cxrssl.label_efficiency.measures import METRICS, is_measured, statistic_of
from monai_cxrssl.metrics.cohort import Cohort, macro_mean
from monai_cxrssl.metrics.patient_bootstrap import DEFAULT_PLAN, ResamplingPlan
from monai_cxrssl.metrics.ranking import clustered_auc

__all__ = ["CellName", "GridValues", "drift_figures", "label_efficiency"]

#: Row, label fraction, number of the draw.
CellName = tuple[str, float, int]


def label_efficiency(
    predictions: Mapping[CellName, Predictions],
    rows: Sequence[str],
    fractions: Sequence[float],
    draws: int,
    metric: str = "macro_auc",
    plan: ResamplingPlan = DEFAULT_PLAN,
    reference: str | None = None,
) -> dict[str, Any]:
    """Compare the rows of a grid at each fraction of the labels.

    A figure is the mean over draws. The interval of an AUC is that of
    :func:`~monai_cxrssl.label_efficiency.clustered_cell.clustered_figure`. For other metrics each resample draws test
    patients and draws anew, both with replacement, the same for every cell. Differences are paired; draws that are
    missing from one of two rows do not count in theirs.

    Args:
        predictions: of the test images, of each cell that has them.
        rows: names.
        metric: one of :data:`~monai_cxrssl.label_efficiency.measures.METRICS`, or the name of another measure, whose
            mean over images is taken.
        reference: name of the row that the others are compared with; by default the first.

    Returns:
        Plain JSON values (``None`` where there is no figure, with its ``reason``): ``metric``, ``reference``,
        ``confidence``, ``resamples``, ``test`` (counts), ``figures`` and ``differences`` (an entry per row and
        fraction: ``value``, ``ci_low``, ``ci_high``, ``interval_over``, ``by_draw``, ``draws``, ``per_class``),
        ``without`` (rows whose predictions lack the metric), ``notes``; and ``refused``: the reason for each cell whose
        predictions could not be used.
    """
    grid = GridValues(predictions, metric, plan)
    base = rows[0] if reference is None else reference
    report: dict[str, Any] = {
        "metric": metric, "reference": base, "confidence": plan.confidence, "resamples": plan.resamples,
        "test": grid.counts, "figures": [], "differences": [],
    }  # fmt: skip
    for row in rows:
        for fraction in fractions:
            own = grid.cells(row, fraction, draws)
            absent = {"reason": grid.absent[row]} if not own and row in grid.absent else {}
            report["figures"].append({"row": row, "fraction": fraction, **grid.figure(own), **absent})
            if row == base:
                continue
            first = grid.cells(base, fraction, draws)
            paired = {draw: own[draw] - first[draw] for draw in own if draw in first}
            entry = {"row": row, "against": base, "fraction": fraction}
            report["differences"].append({**entry, **grid.figure(paired, 1), **absent})
    report["without"] = sorted(grid.absent, key=list(rows).index)
    compared = sum(entry["value"] is not None for entry in report["differences"])
    report["notes"] = _notes(metric, draws, fractions, plan, compared, grid.counts["patients"])
    report["refused"] = grid.refused
    return report


def drift_figures(
    clean: Mapping[CellName, Predictions],
    corrupted: Mapping[str, Mapping[CellName, Predictions]],
    rows: Sequence[str],
    fractions: Sequence[float],
    draws: int,
    metric: str = "macro_auc",
    plan: ResamplingPlan = DEFAULT_PLAN,
    reference: str | None = None,
) -> list[dict[str, Any]]:
    """Compare the rows of a grid under drift, paired: the same images as they are and corrupted, the same draws.

    Args:
        clean: predictions of the images as they are, see :func:`label_efficiency`, which explains the other arguments.
        corrupted: predictions of the same images by the name of what was done to them.

    Returns:
        An entry per drift, row and fraction that has figures: ``under`` (the metric of the corrupted images),
        ``change`` (that, less the metric of the images as they are) and, but for the reference, ``against`` (the
        change, less that of the reference).
    """
    named = {(f"{row}\n", fraction, draw): cell for (row, fraction, draw), cell in clean.items()}
    for drift, cells in corrupted.items():
        named |= {(f"{row}\n{drift}", fraction, draw): cell for (row, fraction, draw), cell in cells.items()}
    grid = GridValues(named, metric, plan)
    base = rows[0] if reference is None else reference
    found: list[dict[str, Any]] = []
    for drift in corrupted:
        for fraction in fractions:
            changes: dict[str, dict[int, np.ndarray]] = {}
            for row in rows:
                before = grid.cells(f"{row}\n", fraction, draws)
                under = grid.cells(f"{row}\n{drift}", fraction, draws)
                changes[row] = {draw: under[draw] - before[draw] for draw in under if draw in before}
                if changes[row]:
                    entry = {"drift": drift, "row": row, "fraction": fraction, "under": grid.figure(under)}
                    found.append({**entry, "change": grid.figure(changes[row], 1)})
            for entry in found:
                if (entry["drift"], entry["fraction"]) == (drift, fraction) and entry["row"] != base:
                    own, other = changes[str(entry["row"])], changes[base]
                    paired = {draw: own[draw] - other[draw] for draw in own if draw in other}
                    entry["against"] = grid.figure(paired, 2)
    return found


class GridValues:
    """The figure of every class, of the test images as they are and of every resample, of each cell.

    For the arguments see :func:`label_efficiency`. ``refused`` and ``absent`` say what cannot be used, and why.
    """

    def __init__(self, predictions: Mapping[CellName, Predictions], metric: str, plan: ResamplingPlan) -> None:
        self.plan = plan
        self.lowest = METRICS[metric].lowest if metric in METRICS else -1.0
        self.classes: list[str] = []
        self.of_class = np.ones(0)  # patients that the figure of each class is of
        self.refused: dict[CellName, str] = {}
        self.absent: dict[str, str] = {}  # rows without the metric
        # (1 + resamples, classes); the first row as the images are
        self.values: dict[CellName, np.ndarray | ClusteredCell] = {}
        self.counts = {"images": 0, "patients": 0}
        self.patients: list[str] = []
        images: list[str] | None = None
        for name, cell in predictions.items():
            if not is_measured(cell, metric):
                self.absent[name[0]] = f"its predictions have no {metric}"
                continue
            listed = [str(item["image"]) for item in cell.items]
            films = sorted(range(len(listed)), key=listed.__getitem__)
            own = [listed[number] for number in films]
            if images is None and own:
                images = own
                self.patients = ["\n".join(patient_of("", cell.items[number])) for number in films]
                self.counts = {"images": len(own), "patients": len(set(self.patients))}
            if not own or own != images:
                self.refused[name] = (
                    f"its {len(own)} test predictions are not of the same images as the {len(images or ())} of the "
                    "first cell; all must have one test split"
                )
                continue
            try:
                self.values[name] = self._values(cell, films, metric)
            except DatalistError as error:
                self.refused[name] = str(error)

    def _values(self, cell: Predictions, films: Sequence[int], metric: str) -> np.ndarray | ClusteredCell:
        if metric in METRICS and METRICS[metric].of_labels:
            if self.classes and cell.classes != self.classes:
                raise DatalistError(f"its classes are {', '.join(cell.classes)}; those of the first cell are others.")
            self.classes = cell.classes
            cohort = Cohort.of(cell.scores[films], cell.labels[films], self.patients).finite()
            if metric == "macro_auc":
                return ClusteredCell(((1.0, clustered_auc(cohort)),))
            if METRICS[metric].by_class:
                self.of_class = np.maximum(cohort.rarer_patients(), 1)
        statistic = statistic_of(cell, films, metric)
        if self.counts["patients"] > 1:
            return self.plan.resample(statistic, self.patients)
        return statistic(np.ones((1, len(films))))

    def cells(self, row: str, fraction: float, draws: int) -> dict[int, Any]:
        """The values of the draws that there are."""
        names = {draw: (row, fraction, draw) for draw in range(draws)}
        return {draw: self.values[name] for draw, name in names.items() if name in self.values}

    def figure(self, cells: Mapping[int, Any], differences: int = 0) -> dict[str, Any]:
        """Mean over draws and classes, and of each class, with intervals.

        It is 1 for a difference of figures, 2 for a difference of differences.
        """
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
        span = (1 - self.lowest) * max(differences, 1)
        limits = (-span, span) if differences else (self.lowest, 1.0)

        def interval(column: np.ndarray, patients: float) -> dict[str, Any]:
            found = asdict(self.plan.interval((share * column).sum(axis=0), patients=patients, limits=limits))
            return self._row({key: None if value != value else value for key, value in found.items()}, over)

        of_class = self.of_class if values.shape[-1] == len(self.of_class) else np.ones(0)
        known = of_class[np.isfinite(values[:, 0]).all(axis=0)] if of_class.size else of_class
        fewest = len(known) / (1 / known).sum() if known.size else self.counts["patients"]
        per_class = {
            name: interval(values[..., number], patients)
            for number, (name, patients) in enumerate(zip(self.classes, of_class.tolist(), strict=False))
        }
        return {**interval(macro, fewest), "by_draw": by_draw, "draws": count, "per_class": per_class}

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
    kind = "Brackets of AUCs" if metric == "macro_auc" else "Brackets, AUCs apart"
    brackets = f"{kind}: {percent} interval over the test patients"
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
        notes.append(
            "A file of weights is one pretraining run: how much another run would differ is in the figures of a row of "
            "several files only."
        )
    if comparisons > 1:
        notes.append(f"{comparisons} differences are shown, their intervals not widened for that many comparisons.")
    return notes
