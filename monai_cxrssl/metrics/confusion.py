# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Confusion matrix, accuracy, kappa and F1 with intervals over patients."""

from __future__ import annotations

import numpy as np

from monai_cxrssl.metrics.clustered_proportion import proportion_interval
from monai_cxrssl.metrics.cohort import Cohort, macro_mean
from monai_cxrssl.metrics.patient_bootstrap import DEFAULT_PLAN, Interval, ResamplingPlan

__all__ = ["confusion_figures", "confusion_matrix"]


def _cells(cohort: Cohort) -> np.ndarray:
    """Return the cell of the matrix of each film ``(N,)``, row by row; -1 for films of unknown label."""
    numbers = cohort.class_numbers
    return np.where(numbers >= 0, numbers * len(cohort.classes) + cohort.scores.argmax(axis=1), -1)


def confusion_matrix(cohort: Cohort) -> np.ndarray:
    """Count the films of each class (rows) by the class of the highest score (columns); the first of equals.

    These are ``(C, C)`` float64 whole numbers; all NaN when scores of films that count are not finite.

    Raises:
        DatalistError: films that may have several classes.

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

    The macro F1 is the mean over the classes that the films have, in each resample those that it has. Return
    ``{"accuracy", "kappa", "macro_f1", "top_f1_<class>", …}``; the last are named apart from the F1 at a threshold. NaN
    with a reason where there is no figure.

    Raises:
        DatalistError: films that may have several classes.
    """
    from scipy.sparse import csr_matrix

    cell, reason, count = _cells(cohort), cohort.why_undecided(), len(cohort.classes)
    counted = np.flatnonzero(cell >= 0)
    cells = csr_matrix((np.ones(len(counted)), (cell[counted], counted)), shape=(count**2, len(cell)))

    def figures(weights: np.ndarray) -> np.ndarray:
        matrix = (cells @ np.ascontiguousarray(weights.T)).T.reshape(len(weights), count, count)
        of_class, called, right = matrix.sum(axis=2), matrix.sum(axis=1), np.einsum("rcc->rc", matrix)
        total = of_class.sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            accuracy = right.sum(axis=1) / total
            chance = (of_class * called).sum(axis=1) / total**2
            kappa = (accuracy - chance) / (1 - chance)
            f1 = np.where(of_class > 0, 2 * right / (of_class + called), np.nan)
        return np.column_stack([accuracy, kappa, macro_mean(f1), f1])

    absent = [
        reason or ("" if (cohort.labels[:, c] == 1).any() else "there are no positive films") for c in range(count)
    ]
    keys = ["accuracy", "kappa", "macro_f1", *(f"top_f1_{name}" for name in cohort.classes)]
    limits, patients = [(0.0, 1.0), (-1.0, 1.0)] + [(0.0, 1.0)] * (1 + count), np.maximum(cohort.rarer_patients(), 1)
    there = patients[[not why for why in absent]]
    fewest = len(there) / (1 / there).sum() if there.size else 1.0
    found = plan.intervals(figures, keys, cohort, [reason] * 3 + absent, limits, [fewest] * 3 + patients.tolist())
    if not found["accuracy"].reason:
        right = np.where(cell >= 0, cohort.scores.argmax(axis=1) == cohort.class_numbers, np.nan)
        found["accuracy"] = proportion_interval(right, cohort.patients, plan.confidence)
    return found
