# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Intervals of means and differences of figures, by MOVER."""

from __future__ import annotations

import numpy as np

__all__ = ["linear_interval"]


def linear_interval(
    values: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    weights: np.ndarray,
    covariance: np.ndarray | None = None,
    patients: int = 0,
) -> tuple[float, float]:
    """Return both ends of the interval of a weighted sum of K figures, made of their intervals.

    The method of variance estimates recovery (MOVER; Zou and Donner 2008, Statistics in Medicine 27:1693, equation 5,
    with correlation Zou 2009, ibid. 28:1, equation 3) keeps skewed intervals skewed, and the interval of a difference
    of two perfect models as wide as theirs. Three rules are our own:

    - What two positively correlated figures of opposite signs share moves both to the same side, so it counts by the
      difference of their reaches to that side, and not of one's lower to the other's upper; for symmetrical intervals
      that is MOVER.
    - Where one of two figures does not vary, so that their correlation is not known, figures of one sign count as fully
      correlated and those of opposite signs as independent.
    - A correlation of opposite signs counts as ``1 - 1 / patients`` at most: two models that rank the same images alike
      may yet differ.

    Args:
        values: ``(K,)``, as ``low``, ``high`` and ``weights``; figures of weight 0 may be NaN.
        covariance: ``(K, K)`` of the figures, of which the correlation counts only; ``None``: they are independent.
        patients: whose images the covariance is of.

    Example:
        >>> ends = linear_interval(*map(np.array, ([0.9, 0.8], [0.87, 0.76], [0.93, 0.84], [1.0, -1.0])))
        >>> [round(end, 3) for end in ends]
        [0.05, 0.15]
    """
    used = np.flatnonzero(weights)
    weight, value = weights[used], values[used]
    same = np.outer(weight, weight) > 0
    correlation = np.eye(len(used))
    if covariance is not None:
        correlation = _correlation(covariance[np.ix_(used, used)], same, patients)
    below, above = abs(weight) * (value - low[used]), abs(weight) * (high[used] - value)
    apart = np.maximum((below[:, None] - below) ** 2, (above[:, None] - above) ** 2)
    middle, reach = float(weight @ value), []
    for side in (np.where(weight > 0, below, above), np.where(weight > 0, above, below)):
        squares = side**2
        product = np.outer(side, side)
        opposite = np.where(correlation > 0, (apart - squares[:, None] - squares) / 2, -product)
        shared = np.where(same, product, opposite)
        reach.append(float(np.sqrt(max((correlation * shared).sum(), 0.0))))
    return middle - reach[0], middle + reach[1]


def _correlation(covariance: np.ndarray, same: np.ndarray, patients: int) -> np.ndarray:
    spread = np.outer(*[np.sqrt(np.diag(covariance))] * 2)
    correlation = np.where(spread > 0, covariance / np.where(spread > 0, spread, 1.0), same)
    correlation = np.where(same, correlation, np.minimum(correlation, 1 - 1 / max(patients, 1)))
    np.fill_diagonal(correlation, 1.0)
    return correlation
