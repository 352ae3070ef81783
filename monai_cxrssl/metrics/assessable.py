# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Reasons why a class allows no metric."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from monai_cxrssl.errors import DatalistError
from monai_cxrssl.metrics.one_versus_rest import as_array, names_of_classes, one_versus_rest

__all__ = ["class_columns", "macro_mean", "why_not_assessable"]


def class_columns(
    score: Any, label: Any, patient: Any, class_names: Sequence[str] | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
    """Bring scores and labels to one column per class; scores that are not finite are kept, for a reason to name.

    Args:
        score: ``(N, C)``.
        label: ``(N,)`` class numbers with -1 for unknown, or ``(N, C)`` of 0, 1 and NaN for unknown.
        patient: ``(N,)``, one id per film.
        class_names: C names; numbers when not given.

    Returns:
        Scores ``(N, C)`` float64, labels ``(N, C)`` float64 of 0, 1 and NaN, patient numbers ``(N,)``, and C names.

    Raises:
        DatalistError: shapes that do not fit, or labels of another kind.
    """
    scores = as_array(score).astype(np.float64)
    labels = one_versus_rest(np.where(np.isfinite(scores), scores, 0.0), label)[1].astype(np.float64)
    ids = np.asarray(patient)
    if ids.shape != scores.shape[:1]:
        raise DatalistError(
            f"There are scores {scores.shape} and {ids.shape} patient ids; expected one id for each of the N films."
        )
    return scores, labels, np.unique(ids, return_inverse=True)[1], names_of_classes(class_names, scores.shape[1])


def why_not_assessable(
    score: np.ndarray, label: np.ndarray, patient: Any = None, probability: bool = False, both_kinds: bool = True
) -> str:
    """Say why a class has no figure, or return an empty string when it has.

    Args:
        score: ``(N,)``.
        label: ``(N,)`` of 0, 1 and NaN for unknown; films of unknown label do not count.
        patient: ``(N,)`` ids; when given, positives and negatives must each be of two or more patients, since the
            figure would be about one person and could have no interval.
        probability: whether the scores must lie in [0, 1].
        both_kinds: whether positives and negatives must be there, and scores differ.

    Example:
        >>> why_not_assessable(np.array([0.2, 0.7]), np.array([0.0, np.nan]))
        'there are no positive films'
    """
    known = ~np.isnan(label)
    scores, labels = score[known], label[known]
    bad = int((~np.isfinite(scores)).sum())
    if not len(labels):
        return "no film has a known label"
    if bad:
        return f"the scores of {bad} of {len(scores)} films are not finite numbers"
    for kind, value in (("positive", 1), ("negative", 0)) if both_kinds else ():
        if not (labels == value).any():
            return f"there are no {kind} films"
        if patient is not None and len(np.unique(np.asarray(patient)[known][labels == value])) < 2:
            return f"the {kind} films are of one patient"
    if both_kinds and scores.min() == scores.max():
        return f"all scores are {scores[0]:.6g}"
    if probability and not (scores.min() >= 0 and scores.max() <= 1):
        return f"the scores lie in {scores.min():.6g} to {scores.max():.6g}, and are no probabilities"
    return ""


def macro_mean(values: np.ndarray) -> np.ndarray:
    """Return the mean over classes ``(..., C)`` to ``(...)`` of those that have a figure; NaN where none has."""
    known = np.isfinite(values)
    total = np.where(known, values, 0.0).sum(axis=-1)
    return np.where(known.any(axis=-1), total / np.maximum(known.sum(axis=-1), 1), np.nan)
