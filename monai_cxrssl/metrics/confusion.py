# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Confusion matrix, accuracy, kappa and F1 with intervals over patients."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from monai_cxrssl.metrics.clustered_proportion import proportion_interval
from monai_cxrssl.metrics.cohort import Cohort, macro_mean
from monai_cxrssl.metrics.patient_bootstrap import DEFAULT_PLAN, Interval, ResamplingPlan

__all__ = ["class_decisions", "confusion_figures", "confusion_matrix", "finding_decisions"]


def _cells(cohort: Cohort) -> np.ndarray:
    """Return the cell of the matrix of each image ``(N,)``, row by row; -1 for images of unknown label."""
    numbers = cohort.class_numbers
    return np.where(numbers >= 0, numbers * len(cohort.classes) + cohort.scores.argmax(axis=1), -1)


def confusion_matrix(cohort: Cohort) -> np.ndarray:
    """Count the images of each class (rows) by the class of the highest score (columns); the first of equals.

    These are ``(C, C)`` float64 whole numbers; all NaN when scores of images that count are not finite.

    Raises:
        DatalistError: images that may have several classes.

    Example:
        >>> confusion_matrix(Cohort.of([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]], [0, 1, 1]))
        array([[1., 0.],
               [1., 1.]])
    """
    cells, count = _cells(cohort), len(cohort.classes)
    if not np.isfinite(cohort.scores[cells >= 0]).all():
        return np.full((count, count), np.nan)
    return np.bincount(cells[cells >= 0], minlength=count**2).astype(np.float64).reshape(count, count)


def confusion_figures(cohort: Cohort, plan: ResamplingPlan = DEFAULT_PLAN) -> dict[str, Interval]:
    """Return accuracy, Cohen's kappa and F1 of the most probable class, with intervals over patients.

    The macro F1 is the mean over the classes that the images have, in each resample those that it has. Return
    ``{"accuracy", "kappa", "macro_f1", "top_f1_<class>", …}``; the last are named apart from the F1 at a threshold. NaN
    with a reason where there is no figure.

    Raises:
        DatalistError: images that may have several classes.
    """
    reason, count, matrices = cohort.why_undecided(), len(cohort.classes), _weighted_matrix(cohort)

    def figures(weights: np.ndarray) -> np.ndarray:
        matrix = matrices(weights)
        accuracy, f1 = _accuracy_and_f1(matrix)
        of_class, called = matrix.sum(axis=2), matrix.sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            chance = (of_class * called).sum(axis=1) / of_class.sum(axis=1) ** 2
            kappa = (accuracy - chance) / (1 - chance)
        return np.column_stack([accuracy, kappa, macro_mean(f1), f1])

    absent = [
        reason or ("" if (cohort.labels[:, c] == 1).any() else "there are no positive images") for c in range(count)
    ]
    keys = ["accuracy", "kappa", "macro_f1", *(f"top_f1_{name}" for name in cohort.classes)]
    limits, patients = [(0.0, 1.0), (-1.0, 1.0)] + [(0.0, 1.0)] * (1 + count), np.maximum(cohort.rarer_patients(), 1)
    there = patients[[not why for why in absent]]
    fewest = len(there) / (1 / there).sum() if there.size else 1.0
    found = plan.intervals(figures, keys, cohort, [reason] * 3 + absent, limits, [fewest] * 3 + patients.tolist())
    if not found["accuracy"].reason:
        right = np.where(cohort.class_numbers >= 0, cohort.scores.argmax(axis=1) == cohort.class_numbers, np.nan)
        found["accuracy"] = proportion_interval(right, cohort.patients, plan.confidence)
    return found


def class_decisions(cohort: Cohort) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Decide each image for its most probable class; return a function from weights ``(R, N)`` to accuracy and F1.

    These are ``(R, 1)`` and ``(R, C)``; the F1 is NaN for classes that images of any weight do not have.

    Raises:
        DatalistError: images that may have several classes, or scores that are not finite.
    """
    matrices = _weighted_matrix(cohort.finite())

    def figures(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        accuracy, f1 = _accuracy_and_f1(matrices(weights))
        return accuracy[:, None], f1

    return figures


def finding_decisions(cohort: Cohort, threshold: float = 0.5) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Decide every class of an image for itself; return a function from weights ``(R, N)`` to accuracy and F1.

    Both are ``(R, C)``, over the images whose label is known. The F1 is NaN for classes of which no image of any weight
    is positive, as sklearn's ``zero_division`` would have it.

    Args:
        threshold: score from which on a class is taken as shown.

    Raises:
        DatalistError: scores that are not finite.
    """
    called = cohort.finite().scores >= threshold
    known, positive = ~np.isnan(cohort.labels), cohort.labels == 1
    counts = [np.asarray(part, dtype=np.float64) for part in (known, positive, called & known, positive & called)]
    counts.append(np.asarray((positive == called) & known, dtype=np.float64))

    def figures(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        films, shown, named, hits, right = (weights @ part for part in counts)
        with np.errstate(invalid="ignore", divide="ignore"):
            return right / films, np.where(shown > 0, 2 * hits / (shown + named), np.nan)

    return figures


def _weighted_matrix(cohort: Cohort) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function from weights ``(R, N)`` to confusion matrices ``(R, C, C)``."""
    from scipy.sparse import csr_matrix

    cell, count = _cells(cohort), len(cohort.classes)
    counted = np.flatnonzero(cell >= 0)
    cells = csr_matrix((np.ones(len(counted)), (cell[counted], counted)), shape=(count**2, len(cell)))
    return lambda weights: (cells @ np.ascontiguousarray(weights.T)).T.reshape(len(weights), count, count)


def _accuracy_and_f1(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the accuracy ``(R,)`` and the F1 of each class ``(R, C)`` of matrices ``(R, C, C)``."""
    of_class, called, right = matrix.sum(axis=2), matrix.sum(axis=1), np.einsum("rcc->rc", matrix)
    with np.errstate(invalid="ignore", divide="ignore"):
        f1 = np.where(of_class > 0, 2 * right / (of_class + called), np.nan)
        return right.sum(axis=1) / of_class.sum(axis=1), f1
