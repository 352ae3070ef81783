# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Confusion matrix and its metrics with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from monai_cxrssl.errors import DatalistError
from monai_cxrssl.metrics.assessable import class_columns, macro_mean
from monai_cxrssl.metrics.patient_bootstrap import Interval, bootstrap_figures

__all__ = ["confusion_figures", "confusion_matrix"]


def _decided(score: Any, label: Any, patient: Any, names: Sequence[str] | None) -> tuple[Any, Any, list[str], str]:
    """Return the cell of the matrix of each film ``(N,)``, -1 for none, the labels, the names, and why none is."""
    if np.ndim(label) != 1:
        raise DatalistError(
            f"The labels are {np.shape(label)}; a confusion matrix needs (N,) class numbers, -1 for unknown."
        )
    scores, _, _, class_names = class_columns(score, label, patient, names)
    labels = np.asarray(label).astype(np.int64)
    known = labels >= 0
    bad = int((~np.isfinite(scores[known])).any(axis=1).sum())
    reason = ""
    if not known.any():
        reason = "no film has a known label"
    elif bad:
        reason = f"the scores of {bad} of {known.sum()} films are not finite numbers"
    elif len(np.unique(labels[known])) < 2:
        reason = f"all films are of class {class_names[labels[known][0]]}"
    elif (scores[known] == scores[known][0]).all():
        reason = "all films have the same scores"
    cell = np.where(known, labels * len(class_names) + scores.argmax(axis=1), -1)
    return cell, labels, class_names, reason


def confusion_matrix(score: Any, label: Any) -> np.ndarray:
    """Count the films of each class (rows) by the class of the highest score (columns); the first of equals.

    Args:
        score: ``(N, C)``.
        label: ``(N,)`` class numbers with -1 for unknown; those films do not count.

    Returns:
        ``(C, C)`` float64 whole numbers; all NaN when scores of films that count are not finite.

    Raises:
        DatalistError: shapes that do not fit, or labels of another kind.

    Example:
        >>> confusion_matrix([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]], [0, 1, 1])
        array([[1., 0.],
               [1., 1.]])
    """
    cell, _, names, reason = _decided(score, label, np.zeros(len(np.asarray(label))), None)
    if "not finite" in reason:
        return np.full((len(names), len(names)), np.nan)
    counts = np.bincount(cell[cell >= 0], minlength=len(names) ** 2).astype(np.float64)
    return counts.reshape(len(names), len(names))


def confusion_figures(
    score: Any,
    label: Any,
    patient: Any,
    class_names: Sequence[str] | None = None,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    strata: Any = None,
) -> dict[str, Interval]:
    """Return accuracy, Cohen's kappa and F1 of the most probable class, with percentile intervals over patients.

    The macro F1 is the mean over the classes that the films have, in each resample those that it has.

    Args:
        score: ``(N, C)``.
        label: ``(N,)`` class numbers with -1 for unknown.
        patient: ``(N,)``, one id per film.
        class_names: C names; numbers when not given.
        resamples: see :class:`~monai_cxrssl.metrics.PatientBootstrap`.
        confidence: see :class:`~monai_cxrssl.metrics.PatientBootstrap`.
        seed: see :class:`~monai_cxrssl.metrics.PatientBootstrap`.
        strata: see :class:`~monai_cxrssl.metrics.PatientBootstrap`.

    Returns:
        ``{"accuracy", "kappa", "macro_f1", "top_f1_<class>", …}``; the last are named apart from the F1 at a
        threshold. NaN with a reason where there is no figure.

    Raises:
        DatalistError: shapes that do not fit, or labels of another kind.
    """
    from scipy.sparse import csr_matrix

    cell, labels, names, reason = _decided(score, label, patient, class_names)
    count, counted = len(names), np.flatnonzero(cell >= 0)
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

    absent = [reason or ("" if (labels == c).any() else "there are no positive films") for c in range(count)]
    keys = ["accuracy", "kappa", "macro_f1", *(f"top_f1_{name}" for name in names)]
    return bootstrap_figures(figures, keys, [reason] * 3 + absent, patient, resamples, confidence, seed, strata)
