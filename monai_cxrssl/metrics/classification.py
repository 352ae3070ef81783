# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""ROC AUC per class and macro, with unknown labels."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from monai_cxrssl.errors import DatalistError
from monai_cxrssl.metrics.assessable import macro_mean
from monai_cxrssl.metrics.class_ranker import class_ranker
from monai_cxrssl.metrics.one_versus_rest import names_of_classes, one_versus_rest
from monai_cxrssl.metrics.patient_bootstrap import Interval, PatientBootstrap

__all__ = ["bootstrap_auc", "compare_auc", "macro_auc", "roc_auc"]

logger = logging.getLogger(__name__)


def roc_auc(score: Any, label: Any, weight: Any = None) -> np.ndarray:
    """Return the area under the ROC curve of each class, as ``sklearn.metrics.roc_auc_score`` would.

    Args:
        score: ``(N, C)``, any numbers that rank: logits or probabilities.
        label: ``(N,)`` class numbers with -1 for unknown (each class against the rest), or ``(N, C)`` of 0, 1 and NaN
            for unknown.
        weight: ``(N,)``, 0 or more, or ``None`` for equal weights.

    Returns:
        ``(C,)`` float64 in [0, 1]; NaN for a class with positives only, or negatives only.

    Raises:
        DatalistError: shapes that do not fit, labels of another kind, or scores that are not finite.

    Example:
        >>> roc_auc([[0.1], [0.4], [0.35], [0.8]], [[0], [0], [1], [1]])
        array([0.75])
    """
    scores, labels = one_versus_rest(score, label)
    weights = np.ones((len(scores), 1)) if weight is None else np.asarray(weight, dtype=np.float64)[:, None]
    return np.array([class_ranker(scores[:, c], labels[:, c])(weights)[0, 0] for c in range(scores.shape[1])])


def macro_auc(score: Any, label: Any, class_names: Sequence[str] | None = None) -> tuple[float, list[str]]:
    """Return the mean area over the classes that have positives and negatives, and the names of those left out.

    Args:
        score: see :func:`roc_auc`.
        label: see :func:`roc_auc`.
        class_names: C names; numbers when not given.

    Returns:
        The mean, NaN when every class is left out, and the classes left out, which are logged too.
    """
    areas = roc_auc(score, label)
    names = names_of_classes(class_names, len(areas))
    left_out = [name for name, area in zip(names, areas, strict=True) if np.isnan(area)]
    if left_out:
        logger.warning("Left out of the macro AUC, for want of positives or of negatives: %s.", ", ".join(left_out))
    return (float(np.nanmean(areas)) if len(left_out) < len(areas) else float("nan")), left_out


def bootstrap_auc(
    score: Any,
    label: Any,
    patient: Any,
    class_names: Sequence[str] | None = None,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval]:
    """Return the macro AUC and the AUC of each class with percentile intervals over patients.

    A resample without positives or without negatives of a class has no AUC of that class; it is left out of the
    interval of the class, and its macro AUC is the mean over its other classes.

    Args:
        score: see :func:`roc_auc`.
        label: see :func:`roc_auc`.
        patient: ``(N,)``, one id per film.
        class_names: C names; numbers when not given.
        resamples: see :class:`~monai_cxrssl.metrics.PatientBootstrap`.
        confidence: see :class:`~monai_cxrssl.metrics.PatientBootstrap`.
        seed: see :class:`~monai_cxrssl.metrics.PatientBootstrap`.

    Returns:
        ``{"macro_auc": …, "auc_<class>": …}``; classes with one kind only have NaN, and are not in the macro.
    """
    return _intervals([score], label, patient, class_names, resamples, confidence, seed)


def compare_auc(
    score: Any,
    other_score: Any,
    label: Any,
    patient: Any,
    class_names: Sequence[str] | None = None,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval]:
    """Return the difference in AUC of two models on the same films, with intervals over the same drawn patients.

    Args:
        score: ``(N, C)`` of the first model.
        other_score: ``(N, C)`` of the second; the difference is the first minus the second.
        label: see :func:`roc_auc`.
        patient: ``(N,)``, one id per film.
        class_names: C names; numbers when not given.
        resamples: see :class:`~monai_cxrssl.metrics.PatientBootstrap`.
        confidence: see :class:`~monai_cxrssl.metrics.PatientBootstrap`.
        seed: see :class:`~monai_cxrssl.metrics.PatientBootstrap`.

    Returns:
        ``{"macro_auc": …, "auc_<class>": …}``, as :func:`bootstrap_auc`, of differences.
    """
    return _intervals([score, other_score], label, patient, class_names, resamples, confidence, seed)


def _intervals(
    models: Sequence[Any],
    label: Any,
    patient: Any,
    class_names: Sequence[str] | None,
    resamples: int,
    confidence: float,
    seed: int,
) -> dict[str, Interval]:
    pairs = [one_versus_rest(score, label) for score in models]
    films, count = pairs[0][0].shape
    if any(scores.shape != (films, count) for scores, _ in pairs) or len(np.asarray(patient)) != films:
        raise DatalistError(
            f"Scores {[scores.shape for scores, _ in pairs]} and {len(np.asarray(patient))} patient ids do not belong "
            "together; expected (N, classes) for the same N films."
        )
    names = names_of_classes(class_names, count)
    bootstrap = PatientBootstrap(patient, resamples, confidence, seed)
    rankers = [[class_ranker(scores[:, c], labels[:, c]) for c in range(count)] for scores, labels in pairs]

    def figures(weights: np.ndarray) -> np.ndarray:
        columns = np.ascontiguousarray(weights.T)
        areas = [np.stack([ranker(columns)[0] for ranker in model], axis=1) for model in rankers]  # (R, C) per model
        return areas[0] if len(areas) == 1 else areas[0] - areas[1]

    values = figures(np.ones((1, films)))
    left_out = [name for name, area in zip(names, values[0], strict=True) if np.isnan(area)]
    if left_out:
        logger.warning("Left out of the macro AUC, for want of positives or of negatives: %s.", ", ".join(left_out))
    resampled = np.concatenate([figures(weights) for weights in bootstrap.weights()])
    result = {"macro_auc": bootstrap.interval(float(macro_mean(values)[0]), macro_mean(resampled), "macro_auc")}
    for column, name in enumerate(names):
        key = f"auc_{name}"
        result[key] = bootstrap.interval(float(values[0, column]), resampled[:, column], key)
    return result
