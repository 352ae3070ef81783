# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Figures of rows and their differences, with intervals over test patients and over pretrainings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from monai_cxrssl.label_efficiency.clustered_cell import ClusteredCell, clustered_figure
from monai_cxrssl.metrics import Cohort, bootstrap_mean
from monai_cxrssl.metrics.clustered_auc import ClusteredAUC
from record.cells import Cell
from record.rows import ROWS, Row
from record.stored import read_cell

__all__ = ["Figure", "Results", "What"]


class What(NamedTuple):
    """What a figure is of: a cell, and ``auc``, ``f1``, ``dice``, ``attention`` or ``shift``."""

    cell: Cell
    kind: str = "auc"


class Figure(NamedTuple):
    """A figure with its 95 % interval, and the pretrainings that it is of."""

    value: float
    low: float
    high: float
    seeds: int


class Results:
    """Cells of a work folder.

    Args:
        work: the folder.
        tasks: as :func:`record.described.described` gives them.
    """

    def __init__(self, work: Path, tasks: Mapping[str, Any]) -> None:
        self.work, self.tasks = work, tasks
        self._known: dict[tuple[str, int, Cell], dict[str, Any] | None] = {}

    def cell(self, row: Row, seed: int, cell: Cell) -> dict[str, Any] | None:
        """Return a cell, ``None`` where it is not there."""
        key = (row.name, seed, cell)
        if key not in self._known:
            self._known[key] = read_cell(self.work / "cells" / row.folder / str(seed) / cell.file)
        return self._known[key]

    def pretraining(self, row: Row, seed: int) -> dict[str, Any] | None:
        """Return what a pretraining left: steps, losses and cost."""
        return read_cell(self.work / "cells" / row.folder / str(seed) / "pretraining.json")

    def figure(self, row: Row, what: What) -> Figure | None:
        """Return the mean over seeds, ``None`` where nothing was run."""
        return self._figure(self._of_seeds(row, what), what)

    def difference(self, row: Row, what: What, other: Row, instead: What | None = None) -> Figure | None:
        """Return the difference from another row, or another cell, paired by test image and by seed.

        Where a row has one result whatever the seed (pixels), it is compared with each.
        """
        one, two = self._of_seeds(row, what), self._of_seeds(other, instead or what)
        if other.seeds == 1 and not other.bundle and two:
            two = dict.fromkeys(one, two[0])
        return self._figure({seed: one[seed] - two[seed] for seed in one if seed in two}, what)

    def above_chance(self, row: Row, cell: Cell) -> Figure | None:
        """Return the share of the saliency on the lungs less the share of the image that is lung."""
        found = {seed: got["on_lungs"] - got["chance"] for seed in range(row.seeds)
                 if (got := self.cell(row, seed, cell)) and "on_lungs" in got}  # fmt: skip
        return self._figure(found, What(cell, "attention"))

    def _of_seeds(self, row: Row, what: What) -> dict[int, Any]:
        """Return what can be averaged and subtracted, by seed: areas of classes, or figures per image."""
        found = {}
        for seed in range(row.seeds):
            content = self.cell(row, seed, what.cell)
            name = {"auc": "scores", "f1": "scores", "attention": "on_lungs"}.get(what.kind, what.kind)
            if content is not None and name in content:
                found[seed] = self._prepared(content[name], what)
        return found

    def _prepared(self, values: np.ndarray, what: What) -> Any:
        if what.kind in ("dice", "attention"):
            return values
        task = self.tasks["labelled"][what.cell.task]
        crossed = what.cell.protocol == "shift"
        if what.kind == "shift":
            task, crossed = next(t for key, t in self.tasks["labelled"].items() if key != what.cell.task), True
        labels = task["pneumonia"] if crossed else task["labels"]
        if what.kind == "f1":
            return _F1(tuple(draw.argmax(axis=1) for draw in values), np.array(labels))
        parts = []
        for scores in values:
            cohort = Cohort.of(scores, np.array(labels), np.array(task["patient_numbers"]))
            parts.append((1 / len(values), ClusteredAUC.of(cohort.scores, cohort.labels, cohort.patients)))
        return ClusteredCell(tuple(parts))

    def _figure(self, found: Mapping[int, Any], what: What) -> Figure | None:
        if not found:
            return None
        first = next(iter(found.values()))
        if isinstance(first, ClusteredCell):
            of_classes = clustered_figure(found, [str(c) for c in range(len(first.values))], 0.95)
            return Figure(of_classes["value"], of_classes["ci_low"], of_classes["ci_high"], len(found))
        if isinstance(first, _F1):
            return self._f1(list(found.values()), what)
        patients = self.tasks["attention"] if what.kind == "attention" else self.tasks["masked"][what.cell.task]
        per_film = np.array(list(found.values()))
        known = np.isfinite(per_film).all(axis=0)
        numbers = np.array(patients["patient_numbers"])[known]
        return _spread(per_film[:, known].mean(axis=1), bootstrap_mean(per_film[:, known].mean(axis=0), numbers))

    def _f1(self, parts: Sequence[_F1], what: What) -> Figure:
        patients = np.array(self.tasks["labelled"][what.cell.task]["patient_numbers"])
        values = np.array([part(np.ones((1, len(patients))))[0] for part in parts])
        return _spread(values, _resampled(parts, patients))

    @cached_property
    def rows(self) -> list[Row]:
        """The rows of which something was run."""
        return [row for row in ROWS if any((self.work / "cells" / row.folder).glob("*/*.json"))]


class _F1:
    """Macro F1 of the most probable class under weights of the images, the mean over draws; or a difference of two."""

    def __init__(self, called: Sequence[np.ndarray], labels: np.ndarray, less: _F1 | None = None) -> None:
        self.called, self.labels, self.less = called, labels, less

    def __sub__(self, other: _F1) -> _F1:
        return _F1(self.called, self.labels, other)

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        truth = np.eye(self.labels.max() + 1)[self.labels]
        values = np.zeros(len(weights))
        for called in self.called:
            said = np.eye(truth.shape[1])[called]
            values += np.mean(2 * (weights @ (truth * said)) / (weights @ truth + weights @ said), axis=1)
        values /= len(self.called)
        return values if self.less is None else values - self.less(weights)


def _resampled(parts: Sequence[_F1], patients: np.ndarray) -> Any:
    from monai_cxrssl.metrics.patient_bootstrap import DEFAULT_PLAN

    values = DEFAULT_PLAN.resample(lambda weights: np.mean([part(weights) for part in parts], axis=0), patients)
    return DEFAULT_PLAN.interval(values, "", len(np.unique(patients)), (-1.0, 1.0))


def _spread(by_seed: np.ndarray, interval: Any) -> Figure:
    """Square and add the reach over seeds, by Student's t, to that over patients."""
    from scipy.stats import t

    reach, count = 0.0, len(by_seed)
    if count > 1:
        reach = float(t.ppf(0.975, count - 1) * np.std(by_seed, ddof=1)) / math.sqrt(count)
    value = float(by_seed.mean())
    low, high = (value if not math.isfinite(end) else end for end in (interval.ci_low, interval.ci_high))
    return Figure(value, value - math.hypot(value - low, reach), value + math.hypot(high - value, reach), count)
