# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Metrics that a grid compares, as functions of resampled weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from monai_cxrssl.data.datalists.predictions import Predictions, take_predictions
from monai_cxrssl.metrics.cohort import Cohort
from monai_cxrssl.metrics.confusion import class_decisions, finding_decisions
from monai_cxrssl.metrics.patient_bootstrap import Statistic
from monai_cxrssl.metrics.ranking import ranked_classes

__all__ = ["ATTENTION", "METRICS", "Metric", "assessed", "is_measured", "statistic_of"]

#: Measure of each image: the share of the saliency on the lungs, less that of the lungs in the image.
ATTENTION = "lung_attention"


@dataclass(frozen=True)
class Metric:
    """A metric of test predictions."""

    title: str  #: as tables show it.
    of_labels: bool  #: whether it is made of probabilities and labels, else of a measure of each image.
    by_class: bool = True  #: whether there is a value of each class.
    lowest: float = 0.0  #: that it may be; the highest is 1.


METRICS = {
    "macro_auc": Metric("macro AUC", True),
    "macro_ap": Metric("macro AUPRC", True),
    "macro_f1": Metric("macro F1", True),
    "accuracy": Metric("accuracy", True, False),
    "dice": Metric("mean Dice", False, False),
    ATTENTION: Metric("lung attention above chance", False, False, -1.0),
}


def is_measured(predictions: Predictions, metric: str) -> bool:
    """Whether predictions hold what a metric is made of."""
    return bool(predictions.classes) if _of_labels(metric) else metric in predictions.measures


def assessed(predictions: Predictions, metric: str) -> Predictions:
    """Return the rows of the images that a metric is over: with a known label, or with a measure.

    So a network that also marks images without a label is compared on the images that all rows have.
    """
    labels = predictions.labels
    if not is_measured(predictions, metric):
        return predictions
    if not _of_labels(metric):
        return take_predictions(predictions, np.isfinite(predictions.measures[metric]))
    return take_predictions(predictions, labels >= 0 if labels.ndim == 1 else ~np.isnan(labels).all(axis=1))


def _of_labels(metric: str) -> bool:
    return metric in METRICS and METRICS[metric].of_labels


def statistic_of(predictions: Predictions, films: Sequence[int], metric: str) -> Statistic:
    """Return a function from weights ``(R, N)`` of the images to a metric ``(R, K)``, of each class or one for all.

    Decisions are for the most probable class; of findings, for those of a probability of 0.5 or more.

    Raises:
        DatalistError: scores that are not finite.
    """
    if not _of_labels(metric):
        measure = predictions.measures[metric][films]
        known = np.isfinite(measure)

        def mean(weights: np.ndarray) -> np.ndarray:
            with np.errstate(invalid="ignore", divide="ignore"):
                return (weights[:, known] @ measure[known] / weights[:, known].sum(axis=1))[:, None]

        return mean
    cohort = Cohort.of(predictions.scores[films], predictions.labels[films]).finite()
    if metric in ("macro_auc", "macro_ap"):
        ranked = ranked_classes(cohort)
        return lambda weights: ranked(weights)[:, int(metric == "macro_ap")]
    decided = (class_decisions if predictions.task == "multi_class" else finding_decisions)(cohort)
    return lambda weights: decided(weights)[int(metric == "macro_f1")]
