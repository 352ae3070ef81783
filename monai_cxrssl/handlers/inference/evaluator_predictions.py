# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Predictions of an evaluator as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from monai_cxrssl.data.datalists.predictions import Predictions

__all__ = ["evaluator_predictions"]


def evaluator_predictions(
    evaluator: Any,
    items: Sequence[Mapping[str, Any]],
    classes: Sequence[str],
    task: str,
    split: str | None = None,
    unreadable: Sequence[dict[str, str]] = (),
    name: str | None = None,
) -> Predictions:
    """Return what an evaluator holds after its run, with the measure ``dice`` where an image has one.

    Args:
        evaluator: a :class:`~monai_cxrssl.engines.MultiTaskPredictor`.
        items: datalist items, by the numbers that are the evaluator's ``indices``.
        classes: names of the classes; none of a network that only segments.
        task: ``"multi_class"`` or ``"multi_label"``.
        split: for the column of that name; by default what the items say.
        unreadable: files that were left out, each with ``image`` and ``cause``.
        name: of the data set, written as the source of items that name none: by source and id a patient is known again
            (:mod:`monai_cxrssl.data.audit.leak`), also from the table alone.
    """
    rows = [dict(items[index]) for index in evaluator.indices]
    if split is not None:
        rows = [{**row, "split": split} for row in rows]
    if name is not None:
        rows = [row if row.get("source") else {**row, "source": name} for row in rows]
    scores, labels = np.asarray(evaluator.scores, dtype=np.float64), np.asarray(evaluator.labels)
    if not classes:
        # A data set of masks only says class -1 of every image, whatever its task.
        scores = np.zeros((len(rows), 0))
        labels = np.full(len(rows), -1) if task == "multi_class" else np.zeros((len(rows), 0), np.float32)
    # A network that diverged gives infinite logits, whose probabilities are no numbers.
    scores = np.where(np.isfinite(scores), scores, np.nan)
    dice = np.asarray(evaluator.dice, dtype=np.float64)
    measures = {} if np.isnan(dice).all() else {"dice": dice}
    return Predictions(list(classes), task, rows, scores, labels, measures, list(unreadable))
