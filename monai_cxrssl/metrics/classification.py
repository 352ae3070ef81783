# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Area under the ROC curve per class and on average, where labels may be unknown, with intervals over patients."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from monai_cxrssl.errors import DatalistError
from monai_cxrssl.metrics.patient_bootstrap import Interval, PatientBootstrap

__all__ = ["bootstrap_auc", "compare_auc", "macro_auc", "roc_auc"]

logger = logging.getLogger(__name__)


def _as_array(values: Any) -> np.ndarray:
    return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)


def _one_versus_rest(score: Any, label: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return scores ``(N, C)`` and labels ``(N, C)`` of 0, 1 and NaN."""
    scores, labels = _as_array(score), _as_array(label)
    if scores.ndim != 2 or labels.shape not in (scores.shape, scores.shape[:1]):
        raise DatalistError(
            f"There are scores {scores.shape} and labels {labels.shape}; expected scores (N, classes) and labels (N,) "
            "or (N, classes)."
        )
    if not np.isfinite(scores).all():
        bad = int(np.flatnonzero(~np.isfinite(scores).all(axis=1))[0])
        raise DatalistError(f"The scores of film {bad} are not finite numbers; no ranking can be made of them.")
    if labels.ndim == 1:
        classes = np.arange(scores.shape[1])
        bad_rows = np.flatnonzero((labels < -1) | (labels >= len(classes)))
        if bad_rows.size:
            raise DatalistError(
                f"The label of film {bad_rows[0]} is {labels[bad_rows[0]]}; expected 0 to {len(classes) - 1}, or "
                "-1 for unknown."
            )
        return scores, np.where(labels[:, None] == -1, np.nan, labels[:, None] == classes)
    labels = labels.astype(np.float64)
    known = labels[~np.isnan(labels)]
    if not np.isin(known, (0, 1)).all():
        odd = known[~np.isin(known, (0, 1))][0]
        raise DatalistError(f"A label is {odd:g}; an area under the ROC curve needs 0, 1, or NaN for unknown.")
    return scores, labels


def _ranker(score: np.ndarray, label: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Sort one class once; return a function from weights ``(R, N)`` to areas ``(R,)``.

    The area is the share of pairs (positive, negative) in the right order, ties counted half, each pair weighing the
    product of its weights (Mann-Whitney).
    """
    positive, negative = np.flatnonzero(label == 1), np.flatnonzero(label == 0)
    negative = negative[np.argsort(score[negative], kind="stable")]
    below = np.searchsorted(score[negative], score[positive], side="left")
    up_to = np.searchsorted(score[negative], score[positive], side="right")

    def areas(weights: np.ndarray) -> np.ndarray:
        if not positive.size or not negative.size:
            return np.full(len(weights), np.nan)
        passed = np.zeros((len(weights), len(negative) + 1))
        np.cumsum(weights[:, negative], axis=1, out=passed[:, 1:])
        of_positive = weights[:, positive]
        won = np.einsum("rp,rp->r", of_positive, passed[:, below] + passed[:, up_to]) / 2
        with np.errstate(invalid="ignore", divide="ignore"):
            return won / (of_positive.sum(axis=1) * passed[:, -1])

    return areas


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
    scores, labels = _one_versus_rest(score, label)
    weights = np.ones((1, len(scores))) if weight is None else np.asarray(weight, dtype=np.float64)[None]
    return np.array([_ranker(scores[:, c], labels[:, c])(weights)[0] for c in range(scores.shape[1])])


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
    names = _names(class_names, len(areas))
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


def _names(class_names: Sequence[str] | None, count: int) -> list[str]:
    names = [str(number) for number in range(count)] if class_names is None else [str(name) for name in class_names]
    if len(names) != count:
        raise DatalistError(f"There are {len(names)} class names for scores of {count} classes.")
    return names


def _intervals(
    models: Sequence[Any],
    label: Any,
    patient: Any,
    class_names: Sequence[str] | None,
    resamples: int,
    confidence: float,
    seed: int,
) -> dict[str, Interval]:
    pairs = [_one_versus_rest(score, label) for score in models]
    films, count = pairs[0][0].shape
    if any(scores.shape != (films, count) for scores, _ in pairs) or len(np.asarray(patient)) != films:
        raise DatalistError(
            f"Scores {[scores.shape for scores, _ in pairs]} and {len(np.asarray(patient))} patient ids do not belong "
            "together; expected (N, classes) for the same N films."
        )
    names = _names(class_names, count)
    bootstrap = PatientBootstrap(patient, resamples, confidence, seed)
    rankers = [[_ranker(scores[:, c], labels[:, c]) for c in range(count)] for scores, labels in pairs]

    def figures(weights: np.ndarray) -> np.ndarray:
        areas = [np.stack([ranker(weights) for ranker in model], axis=1) for model in rankers]  # (R, C) per model
        return areas[0] if len(areas) == 1 else areas[0] - areas[1]

    def macro(areas: np.ndarray) -> np.ndarray:
        known = np.isfinite(areas)
        total = np.where(known, areas, 0.0).sum(axis=1)
        return np.where(known.any(axis=1), total / np.maximum(known.sum(axis=1), 1), np.nan)

    values = figures(np.ones((1, films)))
    left_out = [name for name, area in zip(names, values[0], strict=True) if np.isnan(area)]
    if left_out:
        logger.warning("Left out of the macro AUC, for want of positives or of negatives: %s.", ", ".join(left_out))
    resampled = np.concatenate([figures(weights) for weights in bootstrap.weights()])
    result = {"macro_auc": bootstrap.interval(float(macro(values)[0]), macro(resampled), "macro_auc")}
    for column, name in enumerate(names):
        key = f"auc_{name}"
        result[key] = bootstrap.interval(float(values[0, column]), resampled[:, column], key)
    return result
