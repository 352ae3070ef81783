# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Wilson score interval at any effective sample size."""

from __future__ import annotations

import numpy as np

__all__ = ["wilson_ends"]


def wilson_ends(
    share: np.ndarray, size: np.ndarray, freedom: np.ndarray, confidence: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return both ends ``(K,)`` of the values that a share in [0, 1] lies within t standard errors of.

    The variance at a value v is ``v (1 - v) / size`` (Wilson 1927), and t, of ``freedom`` degrees, is in the place of
    the normal quantile. NaN shares stay NaN.

    Example:
        >>> low, high = wilson_ends(np.array([1.0]), np.array([16.0]), np.array([1e9]), 0.95)
        >>> low.round(3).tolist(), high.tolist()
        ([0.806], [1.0])
    """
    from scipy.stats import t

    reach = t.ppf((1 + confidence) / 2, freedom) ** 2 / size
    middle = (share + reach / 2) / (1 + reach)
    width = np.sqrt(reach * (share * (1 - share) + reach / 4)) / (1 + reach)
    low, high = np.where(share == 0, 0.0, middle - width), np.where(share == 1, 1.0, middle + width)
    return np.clip(low, 0, 1), np.clip(high, 0, 1)
