# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Label efficiency with intervals over test patients and draws."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from monai_cxrssl.data.audit.audit import patient_of
from monai_cxrssl.data.datalists.predictions import Predictions
from monai_cxrssl.errors import ConfigurationError, DatalistError

# The ranking of metrics.roc_auc, which takes one set of weights; a bootstrap sorts once and weighs a thousand times.
from monai_cxrssl.metrics.assessable import macro_mean
from monai_cxrssl.metrics.class_ranker import class_ranker
from monai_cxrssl.metrics.one_versus_rest import one_versus_rest
from monai_cxrssl.metrics.patient_bootstrap import PatientBootstrap

__all__ = ["label_efficiency"]

#: Initialisation, label fraction, number of the draw.
CellName = tuple[str, float, int]


def label_efficiency(
    predictions: Mapping[CellName, Predictions],
    inits: Sequence[str],
    fractions: Sequence[float],
    draws: int,
    metric: str = "macro_auc",
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Any]:
    """Compare initialisations at each fraction of the labels.

    A figure is the mean over draws. Each resample of its percentile interval draws test patients and draws anew, both
    with replacement, the same for every cell, so that differences are paired. Draws that are missing from one of two
    initialisations do not count in their difference.

    Args:
        predictions: of the test images, of each cell that has them.
        inits: names; the others are compared with the first.
        fractions: of the training patients.
        draws: how many were asked for.
        metric: ``"macro_auc"``, or the name of a measure, such as ``"dice"``, whose mean over images is taken.
        resamples: of the bootstrap.
        confidence: share of the resampled figures within an interval.
        seed: of the bootstrap.

    Returns:
        Plain JSON values (``None`` where there is no figure, with its ``reason``): ``metric``, ``confidence``,
        ``resamples``, ``test`` (counts), ``figures`` and ``differences`` (a row per initialisation and fraction:
        ``value``, ``ci_low``, ``ci_high``, ``interval_over``, ``by_draw``, ``draws``, ``per_class``), ``notes``; and
        ``refused``: the reason for each cell whose predictions could not be used.

    Raises:
        ConfigurationError: a bootstrap that cannot be drawn.
    """
    if resamples < 1 or not 0 < confidence < 1:
        raise ConfigurationError(
            f"A bootstrap of {resamples} resamples at a confidence of {confidence} cannot be drawn; expected 1 or "
            "more, and a share between 0 and 1."
        )
    grid = _Grid(predictions, metric, resamples, confidence, seed)
    report: dict[str, Any] = {
        "metric": metric, "confidence": confidence, "resamples": resamples, "test": grid.counts,
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
    report["notes"] = _notes(draws, fractions, confidence, resamples, len(report["differences"]), grid)
    report["refused"] = grid.refused
    return report


class _Grid:
    """The figure of every class, of the test images as they are and of every resample, of each cell."""

    def __init__(
        self, predictions: Mapping[CellName, Predictions], metric: str, resamples: int, confidence: float, seed: int
    ) -> None:
        self.resamples, self.seed = resamples, seed
        self.tail = (1 - confidence) / 2
        self.classes: list[str] = []
        self.refused: dict[CellName, str] = {}
        self.values: dict[CellName, np.ndarray] = {}  # (1 + resamples, classes); the first row as the images are
        self.counts = {"images": 0, "patients": 0}
        self.bootstrap: PatientBootstrap | None = None
        images: list[str] | None = None
        for name, cell in predictions.items():
            listed = [str(item["image"]) for item in cell.items]
            order = sorted(range(len(listed)), key=listed.__getitem__)
            own = [listed[number] for number in order]
            if images is None and own:
                images = own
                self._open([cell.items[number] for number in order])
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

    def _open(self, items: Sequence[Mapping[str, Any]]) -> None:
        patients = ["\n".join(patient_of("", item)) for item in items]
        self.counts = {"images": len(items), "patients": len(set(patients))}
        if self.counts["patients"] > 1:
            self.bootstrap = PatientBootstrap(patients, self.resamples, seed=self.seed)

    def _values(self, cell: Predictions, order: Sequence[int], metric: str) -> np.ndarray:
        weights = [np.ones((1, len(order)))]
        if self.bootstrap is not None:
            weights += self.bootstrap.weights()
        if metric != "macro_auc":
            if metric not in cell.measures:
                raise DatalistError(f"its predictions have no column {metric}.")
            measure = cell.measures[metric][order]
            known = np.isfinite(measure)
            with np.errstate(invalid="ignore", divide="ignore"):
                parts = [part[:, known] @ measure[known] / part[:, known].sum(axis=1) for part in weights]
            return np.concatenate(parts)[:, None]
        if self.classes and cell.classes != self.classes:
            raise DatalistError(f"its classes are {', '.join(cell.classes)}; those of the first cell are others.")
        self.classes = cell.classes
        scores, labels = one_versus_rest(cell.scores[order], cell.labels[order])
        areas = [class_ranker(scores[:, number], labels[:, number]) for number in range(len(cell.classes))]
        return np.concatenate([np.stack([area(part.T)[0] for area in areas], axis=1) for part in weights])

    def cells(self, init: str, fraction: float, draws: int) -> dict[int, np.ndarray]:
        """The values of the draws that there are."""
        names = {draw: (init, fraction, draw) for draw in range(draws)}
        return {draw: self.values[name] for draw, name in names.items() if name in self.values}

    def figure(self, cells: Mapping[int, np.ndarray]) -> dict[str, Any]:
        """Mean over draws and classes, and of each class, with intervals."""
        if not cells:
            return {**_nothing("no cell with test predictions"), "by_draw": {}, "draws": 0, "per_class": {}}
        values = np.stack(list(cells.values()))  # (draws, 1 + resamples, classes)
        count = len(values)
        # Another stream than that of the patients; the same for all figures of as many draws.
        generator = np.random.default_rng([self.seed, 1])
        share = generator.multinomial(count, np.full(count, 1 / count), size=values.shape[1] - 1).T / count
        share = np.concatenate([np.full((count, 1), 1 / count), share], axis=1)  # (draws, 1 + resamples)
        macro = macro_mean(values)
        over = "test patients and draws" if count > 1 else "test patients"
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
        """The first value with the percentile interval of the others."""
        if not np.isfinite(values[0]):
            kinds = "positive or no negative" if self.classes else "measured"
            return _nothing(f"the test split has no {kinds} image")
        finite = values[1:][np.isfinite(values[1:])]
        if not finite.size:
            told = _nothing("one test patient: no interval over patients")
            return {**told, "value": float(values[0])}
        low, high = np.quantile(finite, [self.tail, 1 - self.tail])
        return {
            "value": float(values[0]), "ci_low": float(low), "ci_high": float(high), "resamples": int(finite.size),
            "interval_over": over, "reason": None,
        }  # fmt: skip


def _nothing(reason: str) -> dict[str, Any]:
    absent = dict.fromkeys(("value", "ci_low", "ci_high"))
    return {**absent, "resamples": 0, "interval_over": None, "reason": reason}


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _notes(
    draws: int, fractions: Sequence[float], confidence: float, resamples: int, comparisons: int, grid: _Grid
) -> list[str]:
    """What a reader must know of the intervals."""
    percent = f"{100 * confidence:g} %"
    if grid.bootstrap is None:
        notes = [f"There are {grid.counts['patients']} test patients; an interval needs two or more."]
    elif draws == 1:
        notes = [
            f"Brackets: {percent} percentile interval of {resamples} resamples of the test patients. With one draw, "
            "nothing is known of how much the chosen patients and the seed matter; give 5 draws or more."
        ]
    else:
        narrower = 1 - math.sqrt((draws - 1) / draws)
        notes = [
            f"Brackets: {percent} percentile interval of {resamples} resamples of the test patients and of the {draws} "
            f"draws. A bootstrap of so few draws shows their spread too small, by about {100 * narrower:.0f} %."
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
