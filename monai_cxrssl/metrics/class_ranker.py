# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""AUC and average precision of one class under weights.

scikit-learn's functions take one set of weights at a time; a thousand resamples of 14 classes would take them minutes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

__all__ = ["class_ranker"]


def class_ranker(score: np.ndarray, label: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Sort one class once; return a function from weights ``(N, R)`` to (AUC, average precision) ``(2, R)``.

    The AUC is the share of pairs (positive, negative) in the right order, ties counted half, each pair weighing the
    product of its weights (Mann-Whitney). Without positives or without negatives of any weight both are NaN.

    Both figures change at the scores of positives only, so negatives are summed into the gaps between these: two rows
    per distinct positive score, one for the negatives below it and one for those level with it.
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
