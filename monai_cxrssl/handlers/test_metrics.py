# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Test predictions and metrics with intervals over patients."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import numpy as np
from ignite.engine import Engine, Events

from monai_cxrssl.data.audit.audit import patient_numbers
from monai_cxrssl.data.datalists.predictions import Predictions, save_predictions
from monai_cxrssl.files import write_json
from monai_cxrssl.handlers.inference.evaluator_predictions import evaluator_predictions
from monai_cxrssl.handlers.run_figures import figure_table
from monai_cxrssl.metrics.cohort import Cohort
from monai_cxrssl.metrics.patient_bootstrap import ResamplingPlan, bootstrap_mean, flat_metrics, missing_interval
from monai_cxrssl.metrics.ranking import auc_intervals, roc_auc

__all__ = ["TestMetrics"]

logger = logging.getLogger(__name__)


class TestMetrics:
    """When an evaluator completes, write ``predictions.csv`` and the figures with their 95 % intervals.

    The figures are ``macro_auc``, ``auc_<class>`` and ``dice``, each with ``_ci_low``, ``_ci_high`` and ``_ci_method``
    of an interval over the patients that have such a figure; and ``images``, ``patients``, ``labelled`` and ``masked``,
    which count what was evaluated. What cannot be assessed is null, and ``not_assessable`` names it with the reason.
    Without any known label there are no AUCs, without any mask there is no Dice coefficient.

    Args:
        output_dir: folder of the files; only the first process writes.
        items: datalist items, by the numbers that are the evaluator's ``indices``: all that were decoded.
        task: ``"multi_class"`` or ``"multi_label"``.
        settings: entries to put before the figures, plain JSON values.
        unreadable: files that were left out, each with ``image`` and ``cause``.
        filename: of the figures; ``None`` when they are written elsewhere, as by
            :class:`~monai_cxrssl.handlers.FineTuningSummary`.
        resamples: of the bootstrap, as ``seed``.
        split: what the images are of, for the column of that name; by default what their items say.
        table: of the predictions, below the folder; ``None`` where a later handler writes it with further columns, as
            :class:`~monai_cxrssl.report.checks.ReportChecks` does.
        name: of the data set, the source of items that name none.

    Attributes:
        figures: of the latest run; empty before it.
        predictions: of the latest run, ``None`` before it.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike,
        items: Sequence[Mapping[str, Any]],
        classes: Sequence[str],
        task: str,
        settings: Mapping[str, Any] | None = None,
        unreadable: Sequence[dict[str, str]] = (),
        filename: str | None = "metrics.json",
        resamples: int = 1000,
        seed: int = 0,
        split: str | None = None,
        table: str | None = "predictions.csv",
        name: str | None = None,
    ) -> None:
        self.output_dir = Path(output_dir)
        self.items = items
        self.classes = list(classes)
        self.task = task
        self.settings = dict(settings or {})
        self.unreadable = list(unreadable)
        self.filename = filename
        self.plan = ResamplingPlan(resamples, seed=seed)
        self.split = split
        self.table = table
        self.name = name
        self.figures: dict[str, Any] = {}
        self.predictions: Predictions | None = None

    def attach(self, engine: Engine) -> None:
        """Follow a :class:`monai_cxrssl.engines.MultiTaskPredictor`, on the first process."""
        if idist.get_rank() == 0:
            engine.add_event_handler(Events.COMPLETED, self.write)

    def write(self, engine: Any) -> None:
        """Write the files from what the evaluator holds, and log the figures."""
        self.predictions = evaluator_predictions(
            engine, self.items, self.classes, self.task, self.split, self.unreadable, self.name
        )
        if self.table is not None:
            path = save_predictions(self.predictions, self.output_dir / self.table)
            logger.info("Predictions: %s.", path)
        self.figures = self._figures(self.predictions, np.asarray(engine.dice))
        if self.filename is not None:
            content = {**self.settings, **self.figures, "unreadable": self.unreadable}
            write_json(content, self.output_dir / self.filename)
        logger.info("The evaluation is complete.\n%s", figure_table(self.figures))
        for entry in self.figures["not_assessable"]:
            logger.warning("Not assessable: %s, since %s.", entry["figure"], entry["reason"])

    def _figures(self, predictions: Predictions, dice: np.ndarray) -> dict[str, Any]:
        labels = predictions.labels
        known = labels >= 0 if labels.ndim == 1 else ~np.isnan(labels).all(axis=1)
        masked = np.isfinite(dice)
        patients = patient_numbers(predictions.items)
        figures: dict[str, Any] = {
            "images": len(patients),
            "patients": len(np.unique(patients)),
            "labelled": int(known.sum()),
            "masked": int(masked.sum()),
        }
        absent: list[dict[str, str]] = []
        if known.any():
            figures |= self._areas(predictions.scores[known], labels[known], patients[known], absent)
        if masked.any():
            if len(set(patients[masked].tolist())) > 1:
                figures |= flat_metrics(
                    {"dice": bootstrap_mean(dice[masked], patients[masked], "dice", self.plan, (0, 1))}
                )
            else:
                figures |= flat_metrics({"dice": replace(missing_interval(""), value=float(dice[masked].mean()))})
                absent.append({"figure": "the interval of dice", "reason": "all masks are of one patient"})
        plain = {n: None if isinstance(v, float) and not np.isfinite(v) else v for n, v in figures.items()}
        return {**plain, "not_assessable": absent}

    def _areas(
        self,
        scores: np.ndarray,
        labels: np.ndarray,
        patients: np.ndarray,
        absent: list[dict[str, str]],
    ) -> dict[str, Any]:
        """AUCs of images with a known label; what has none is told in ``absent``."""
        names = ["macro_auc", *(f"auc_{name}" for name in self.classes)]
        figures: dict[str, Any] = flat_metrics({name: missing_interval("") for name in names})
        broken = int((~np.isfinite(scores)).any(axis=1).sum())
        if broken:
            reason = f"the network gave no finite probabilities for {broken} of {len(scores)} labelled images"
            absent.append({"figure": "every AUC", "reason": reason})
            return figures
        areas = roc_auc(scores, labels)
        if len(set(patients.tolist())) > 1:
            figures = flat_metrics(auc_intervals(Cohort.of(scores, labels, patients, self.classes), self.plan))
        else:
            known = areas[np.isfinite(areas)]
            figures |= dict(zip(names, [known.mean() if known.size else np.nan, *areas.tolist()], strict=True))
            absent.append({"figure": "the intervals of the AUCs", "reason": "all labels are of one patient"})
        without = [name for name, area in zip(self.classes, areas, strict=True) if np.isnan(area)]
        reason = "no image with a known label has it, or none is without it"
        absent += [{"figure": f"auc_{name}", "reason": reason} for name in without]
        if without:
            reason = "no class has both" if len(without) == len(areas) else f"it lacks {', '.join(without)}"
            absent.append(
                {"figure": "macro_auc" if len(without) == len(areas) else "macro_auc of all", "reason": reason}
            )
        return figures
