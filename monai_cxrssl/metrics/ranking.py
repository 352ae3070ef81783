# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""ROC AUC and average precision with intervals over patients."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from monai_cxrssl.metrics.clustered_auc import AUC_METHOD, ClusteredAUC
from monai_cxrssl.metrics.cohort import Cohort, macro_mean
from monai_cxrssl.metrics.patient_bootstrap import (
    DEFAULT_PLAN,
    Interval,
    ResamplingPlan,
    missing_interval,
    require_patients,
)

__all__ = [
    *("auc_intervals", "average_precision", "class_ranker", "clustered_auc", "compare_auc", "macro_auc"),
    *("ranked_classes", "ranking_figures", "roc_auc"),
]

logger = logging.getLogger(__name__)


def class_ranker(score: np.ndarray, label: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Sort one class once; return a function from weights ``(N, R)`` to (AUC, average precision) ``(2, R)``.

    The AUC is the share of pairs (positive, negative) in the right order, ties counted half, each pair weighing the
    product of its weights (Mann-Whitney). Without positives or without negatives of any weight both are NaN.

    Both figures change at the scores of positives only, so negatives are summed into the gaps between these: two rows
    per distinct positive score, one for the negatives below it and one for those level with it. scikit-learn's
    functions take one set of weights at a time; a thousand resamples of 14 classes would take them minutes.
    """
    from scipy.sparse import csr_matrix

    positive, negative = np.flatnonzero(label == 1), np.flatnonzero(label == 0)
    steps, step = np.unique(score[positive], return_inverse=True)
    gap = np.searchsorted(steps, score[negative], side="left")
    level = np.append(steps, np.inf)[gap] == score[negative]
    films = len(score)
    won_by = csr_matrix((np.ones(len(positive)), (step, positive)), shape=(len(steps), films))
    gaps = csr_matrix((np.ones(len(negative)), (2 * gap + level, negative)), shape=(2 * len(steps) + 1, films))

    def figures(weights: np.ndarray) -> np.ndarray:
        if not positive.size or not negative.size:
            return np.full((2, weights.shape[1]), np.nan)
        hits, misses = won_by @ weights, gaps @ weights
        passed = np.cumsum(misses, axis=0)
        below, false = passed[0:-1:2], passed[-1] - passed[0:-1:2]  # false: negatives at or above each step
        true = np.cumsum(hits[::-1], axis=0)[::-1]
        with np.errstate(invalid="ignore", divide="ignore"):
            area = (hits * (below + misses[1::2] / 2)).sum(axis=0) / (true[0] * passed[-1])
            precision = np.where(true > 0, true / (true + false), 0.0)
            average = (hits * precision).sum(axis=0) / true[0]
        # A resample without negatives ranks nothing; its precision of 1 would be no finding.
        return np.stack([area, np.where(passed[-1] > 0, average, np.nan)])

    return figures


def ranked_classes(cohort: Cohort, reasons: Sequence[str] = ()) -> Callable[[np.ndarray], np.ndarray]:
    """Sort every class once; return a function from weights ``(R, N)`` to AUC and average precision ``(R, 2, C)``.

    Args:
        cohort: of finite scores, in the classes that are ranked.
        reasons: half sentences why a class cannot be assessed (:meth:`~monai_cxrssl.metrics.Cohort.reasons`); it has
            NaN.
    """
    count = len(cohort.classes)
    rankers = {
        c: class_ranker(cohort.scores[:, c], cohort.labels[:, c]) for c in range(count) if not any(reasons[c : c + 1])
    }

    def figures(weights: np.ndarray) -> np.ndarray:
        columns = np.ascontiguousarray(weights.T)
        values = np.full((len(weights), 2, count), np.nan)
        for c, ranker in rankers.items():
            values[:, :, c] = ranker(columns).T
        return values

    return figures


def roc_auc(score: Any, label: Any, weight: Any = None) -> np.ndarray:
    """Return the area under the ROC curve of each class, as ``sklearn.metrics.roc_auc_score`` would.

    Args:
        score: ``(N, C)``, any finite numbers that rank: logits or probabilities.
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
    return _weighted(Cohort.of(score, label), weight)[0]


def average_precision(score: Any, label: Any, weight: Any = None) -> np.ndarray:
    """Return the average precision ``(C,)``, as ``sklearn.metrics.average_precision_score`` would, see :func:`roc_auc`.

    Example:
        >>> average_precision([[0.1], [0.4], [0.35], [0.8]], [[0], [0], [1], [1]]).round(3)
        array([0.833])
    """
    return _weighted(Cohort.of(score, label), weight)[1]


def _weighted(cohort: Cohort, weight: Any = None) -> np.ndarray:
    weights = np.ones(len(cohort.scores)) if weight is None else np.asarray(weight, dtype=np.float64)
    return ranked_classes(cohort.finite())(weights[None])[0]


def macro_auc(score: Any, label: Any, class_names: Sequence[str] | None = None) -> tuple[float, list[str]]:
    """Return the mean area over the classes that have positives and negatives, and the names of those left out.

    Scores and labels are those of :func:`roc_auc`. The mean is NaN when every class is left out; they are logged too.
    """
    cohort = Cohort.of(score, label, class_names=class_names)
    return float(macro_mean(_weighted(cohort)[0])), _left_out(cohort)


def _left_out(cohort: Cohort) -> list[str]:
    """Name and log the classes that have positives only, or negatives only."""
    both = (cohort.labels == 1).any(axis=0) & (cohort.labels == 0).any(axis=0)
    names = [name for name, there in zip(cohort.classes, both, strict=True) if not there]
    if names:
        logger.warning("Left out of the macro AUC, for want of positives or of negatives: %s.", ", ".join(names))
    return names


def clustered_auc(cohort: Cohort, reasons: Sequence[str] = ()) -> ClusteredAUC:
    """Return the AUC of each class with what each patient adds to it; NaN for classes that have a reason."""
    gone = np.array([bool(reason) for reason in reasons] or [False] * len(cohort.classes))
    return ClusteredAUC.of(cohort.scores, np.where(gone, np.nan, cohort.labels), cohort.patients)


def auc_intervals(cohort: Cohort, plan: ResamplingPlan = DEFAULT_PLAN) -> dict[str, Interval]:
    """Return the macro AUC and the AUC of each class with score intervals over patients.

    See :class:`~monai_cxrssl.metrics.clustered_auc.ClusteredAUC`; the macro AUC has its interval made of the classes'
    (MOVER). Of the plan only the confidence counts. Return ``{"macro_auc": …, "auc_<class>": …}``; classes with one
    kind only have NaN, and are not in the macro.

    Raises:
        DatalistError: scores that are not finite, or images of one patient.
    """
    _left_out(cohort.finite())
    require_patients(cohort.patients)
    areas = clustered_auc(cohort)
    absent = ["it is not defined on these images"] * len(cohort.classes)
    return _of_classes(areas, np.eye(len(absent)), areas.areas, cohort, plan, absent)


def _of_classes(
    areas: ClusteredAUC,
    rows: np.ndarray,
    values: np.ndarray,
    cohort: Cohort,
    plan: ResamplingPlan,
    reasons: Sequence[str],
) -> dict[str, Interval]:
    """Return a figure per class, ``rows`` ``(C, K)`` of the areas, and their mean, by the names of AUCs."""
    known = np.isfinite(values)
    mean = rows[known].mean(axis=0, keepdims=True) if known.any() else np.zeros((1, rows.shape[1]))
    ends = areas.combined(np.concatenate([mean, np.where(known[:, None], rows, 0)]), plan.confidence)
    keys = ["macro_auc", *(f"auc_{name}" for name in cohort.classes)]
    why = ["no class can be assessed", *reasons]
    return {
        key: Interval(float(value), float(low), float(high), 0, method=AUC_METHOD)
        if np.isfinite(value)
        else missing_interval(reason)
        for key, value, (low, high), reason in zip(keys, [macro_mean(values), *values], ends, why, strict=True)
    }


def ranking_figures(cohort: Cohort, plan: ResamplingPlan = DEFAULT_PLAN) -> dict[str, Interval]:
    """Return AUC and average precision, macro and per class, with intervals over patients.

    They are ``{"macro_auc", "macro_ap", "auc_<class>", …, "ap_<class>", …}``; the areas are those of
    :func:`auc_intervals`, the average precision has the bootstrap of patients. A class that cannot be assessed has NaN
    and a reason (:meth:`~monai_cxrssl.metrics.Cohort.reasons`), and is left out of the macro figures.
    """
    reasons = cohort.reasons()
    areas, ranked = clustered_auc(cohort, reasons), ranked_classes(cohort, reasons)
    found = _of_classes(areas, np.eye(len(reasons)), areas.areas, cohort, plan, reasons)
    precision = plan.class_intervals(lambda weights: ranked(weights)[:, 1:], ["ap"], cohort, [reasons])
    return {"macro_auc": found.pop("macro_auc"), "macro_ap": precision.pop("macro_ap"), **found, **precision}


def compare_auc(cohort: Cohort, other: Any, plan: ResamplingPlan = DEFAULT_PLAN) -> tuple[dict[str, Interval], ...]:
    """Return the AUCs of two models on the same images, and their differences, paired over patients.

    Intervals of differences are made of those of both models and of their covariance over patients (MOVER, see
    :func:`~monai_cxrssl.metrics.linear_interval.linear_interval`).

    Args:
        other: scores ``(N, C)`` of the second; the difference is the first minus the second.

    Returns:
        ``{"macro_auc": …, "auc_<class>": …}`` of the first, of the second, and of the difference. A class that cannot
        be assessed with both has NaN and a reason; the macro figures are over the others.

    Raises:
        DatalistError: scores of another shape.
    """
    second = cohort.with_scores(other)
    reasons = [one or two for one, two in zip(cohort.reasons(), second.reasons(), strict=True)]
    models = [clustered_auc(each, reasons) for each in (cohort, second)]
    both, one, none = ClusteredAUC.stack(models), np.eye(len(reasons)), np.zeros((len(reasons), len(reasons)))
    first, last = (model.areas for model in models)
    sides = [([one, none], first), ([none, one], last), ([one, -one], first - last)]
    return tuple(_of_classes(both, np.hstack(rows), values, cohort, plan, reasons) for rows, values in sides)
