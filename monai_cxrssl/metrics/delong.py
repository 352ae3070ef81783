# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""DeLong's test of paired AUCs and Holm's correction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from monai_cxrssl.errors import DatalistError
from monai_cxrssl.metrics.cohort import why_not_assessable

__all__ = ["DeLongResult", "delong_test", "holm_adjust", "placements"]


@dataclass(frozen=True)
class DeLongResult:
    """Two AUCs, their difference and the test of it."""

    auc: float  #: of the first model.
    other_auc: float  #: of the second.
    variance: float  #: of the first AUC.
    other_variance: float  #: of the second.
    covariance: float  #: of the two.
    difference: float  #: the first minus the second.
    ci_low: float  #: of the difference, normal approximation.
    ci_high: float  #: of the difference.
    z: float  #: the difference over its standard error.
    p: float  #: two-sided.
    reason: str = ""  #: why there is no test, as half a sentence; figures that do not exist are NaN then.


def placements(score: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the share of negatives below each positive, and of positives above each negative, ties counted half."""
    from scipy.stats import rankdata

    above, below = score[positive], score[~positive]
    rank = rankdata(score)
    return ((rank[positive] - rankdata(above)) / len(below), 1 - (rank[~positive] - rankdata(below)) / len(above))


def delong_test(score: Any, other_score: Any, label: Any, confidence: float = 0.95) -> DeLongResult:
    """Test whether two models have the same AUC of one class on the same images.

    DeLong, DeLong and Clarke-Pearson (1988), by the midranks of Sun and Xu (2014, algorithm 2). The test takes images
    as independent; where patients have several, :func:`~monai_cxrssl.metrics.compare_auc` is the one to trust.

    Args:
        score: ``(N,)`` of the first model, and ``other_score`` of the second.
        label: ``(N,)`` of 0, 1 and NaN for unknown; images of unknown label do not count.

    Returns:
        The test; NaN and a reason with fewer than two positives or negatives, scores that are equal or not finite, or
        two models that rank alike.

    Raises:
        DatalistError: shapes that do not fit.

    Example:
        >>> delong_test([0.1, 0.4, 0.35, 0.8], [0.1, 0.2, 0.7, 0.8], [0, 0, 1, 1]).difference
        -0.25
    """
    from scipy.stats import norm

    first, second, labels = (np.asarray(values, dtype=np.float64) for values in (score, other_score, label))
    if first.ndim != 1 or not first.shape == second.shape == labels.shape:
        raise DatalistError(
            f"There are scores {first.shape} and {second.shape} and labels {labels.shape}; expected (N,) of each."
        )
    nan, reason = float("nan"), ""
    for which, scores in (("first", first), ("second", second)):
        problem = why_not_assessable(scores, labels)
        reason = reason or (f"of the {which} model, {problem}" if "scores" in problem else problem)
    known = ~np.isnan(labels)
    positive = labels[known] == 1
    if not reason and min(positive.sum(), (~positive).sum()) < 2:
        reason = "there are fewer than two positive or two negative images"
    if reason:
        return DeLongResult(nan, nan, nan, nan, nan, nan, nan, nan, nan, nan, reason)
    (up, down), (other_up, other_down) = (placements(scores[known], positive) for scores in (first, second))
    covariance = np.cov(up, other_up) / len(up) + np.cov(down, other_down) / len(down)
    area, other_area = float(up.mean()), float(other_up.mean())
    # From the differences themselves: the sum of variances less covariances would cancel.
    variance = np.var(up - other_up, ddof=1) / len(up) + np.var(down - other_down, ddof=1) / len(down)
    difference, error = area - other_area, float(np.sqrt(variance))
    known_part = (area, other_area, float(covariance[0, 0]), float(covariance[1, 1]), float(covariance[0, 1]))
    if error < 1e-12:
        return DeLongResult(
            *known_part, difference, nan, nan, nan, nan, "the two models rank alike; there is nothing to test"
        )
    z, reach = difference / error, float(norm.ppf((1 + confidence) / 2)) * error
    return DeLongResult(*known_part, difference, difference - reach, difference + reach, z, float(2 * norm.sf(abs(z))))


def holm_adjust(p_values: Any) -> np.ndarray:
    """Return p-values adjusted for the number of tests by Holm (1979), which controls the family-wise error.

    The p-values are ``(K,)`` in [0, 1]; NaN stands for a test that was not made: it does not count, and stays. Own
    code, since scipy has the false discovery rate only.

    Raises:
        DatalistError: numbers outside [0, 1].

    Example:
        >>> holm_adjust([0.01, 0.04, 0.03]).round(2)
        array([0.03, 0.06, 0.06])
    """
    adjusted = np.array(p_values, dtype=np.float64)
    made = np.flatnonzero(~np.isnan(adjusted))
    if ((adjusted[made] < 0) | (adjusted[made] > 1)).any():
        raise DatalistError("A p-value is outside 0 to 1; expected two-sided p-values, or NaN for a test not made.")
    order = made[np.argsort(adjusted[made], kind="stable")]
    steps = adjusted[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return adjusted
