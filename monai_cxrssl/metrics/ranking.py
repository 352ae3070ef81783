# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""ROC AUC and average precision with intervals over patients."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from monai_cxrssl.metrics.cohort import Cohort, macro_mean
from monai_cxrssl.metrics.patient_bootstrap import DEFAULT_PLAN, Interval, ResamplingPlan

__all__ = [
    *("average_precision", "bootstrap_auc", "class_ranker", "compare_auc", "macro_auc", "ranked_classes"),
    *("ranking_figures", "roc_auc"),
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


def bootstrap_auc(cohort: Cohort, plan: ResamplingPlan = DEFAULT_PLAN) -> dict[str, Interval]:
    """Return the macro AUC and the AUC of each class with percentile intervals over patients.

    A resample without positives or without negatives of a class has no AUC of that class; it is left out of the
    interval of the class, and its macro AUC is the mean over its other classes. Return ``{"macro_auc": …,
    "auc_<class>": …}``; classes with one kind only have NaN, and are not in the macro.

    Raises:
        DatalistError: scores that are not finite, or films of one patient.
    """
    ranked = ranked_classes(cohort.finite())
    _left_out(cohort)
    return plan.class_intervals(lambda weights: ranked(weights)[:, :1], ["auc"], cohort)


def ranking_figures(cohort: Cohort, plan: ResamplingPlan = DEFAULT_PLAN) -> dict[str, Interval]:
    """Return AUC and average precision, macro and per class, with percentile intervals over patients.

    They are ``{"macro_auc", "macro_ap", "auc_<class>", …, "ap_<class>", …}``; the areas equal :func:`bootstrap_auc`. A
    class that cannot be assessed has NaN and a reason (:meth:`~monai_cxrssl.metrics.Cohort.reasons`), and is left out
    of the macro figures.
    """
    reasons = cohort.reasons()
    return plan.class_intervals(ranked_classes(cohort, reasons), ["auc", "ap"], cohort, [reasons] * 2)


def compare_auc(cohort: Cohort, other: Any, plan: ResamplingPlan = DEFAULT_PLAN) -> tuple[dict[str, Interval], ...]:
    """Return the AUCs of two models on the same films, and their differences, over the same drawn patients.

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
    models = [ranked_classes(each, reasons) for each in (cohort, second)]

    def areas(weights: np.ndarray) -> np.ndarray:
        first, last = (model(weights)[:, 0] for model in models)
        return np.stack([first, last, first - last], axis=1)

    sides = [f"{side} auc" for side in ("first", "second", "difference")]
    found = list(plan.class_intervals(areas, sides, cohort, [reasons] * 3).values())
    keys, count = ["macro_auc", *(f"auc_{name}" for name in cohort.classes)], len(cohort.classes)
    return tuple(dict(zip(keys, [found[side], *found[3 + side * count :][:count]], strict=True)) for side in range(3))
