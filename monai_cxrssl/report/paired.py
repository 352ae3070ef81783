# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Paired differences of AUC."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from monai_cxrssl.metrics.linear_interval import linear_interval
from monai_cxrssl.metrics.patient_bootstrap import Interval, missing_interval

__all__ = ["apart_difference", "match_films", "p_of_interval"]


def match_films(items: Sequence[Mapping[str, Any]], others: Sequence[Mapping[str, Any]]) -> tuple[Any, Any]:
    """Return the places ``(M,)`` in both lists of the images that both hold, by image and patient.

    Example:
        >>> first, second = ({"image": name, "patient_id": "1"} for name in "ab")
        >>> match_films([first, second], [second])
        (array([1]), array([0]))
    """
    at = {(item["image"], str(item["patient_id"])): number for number, item in enumerate(others)}
    pairs = [
        (number, at[key])
        for number, item in enumerate(items)
        if (key := (item["image"], str(item["patient_id"]))) in at
    ]
    both = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return both[:, 0], both[:, 1]


def apart_difference(first: Interval, second: Interval) -> Interval:
    """Return ``first - second`` of two separate sets of images, with an interval made of theirs.

    They are independent, see :func:`~monai_cxrssl.metrics.linear_interval.linear_interval`.

    Example:
        >>> apart_difference(Interval(0.9, 0.87, 0.93, 9), Interval(0.8, 0.76, 0.84, 9)).ci_low.__round__(3)
        0.05
    """
    difference = first.value - second.value
    if not math.isfinite(difference):
        return missing_interval(first.reason or second.reason or "one of the two has no figure")
    values, lows, highs = (
        np.array([getattr(side, end) for side in (first, second)]) for end in ("value", "ci_low", "ci_high")
    )
    low, high = linear_interval(values, lows, highs, np.array([1.0, -1.0]))
    return Interval(difference, low, high, 0, method=f"{first.method}, both squared and added")


def p_of_interval(interval: Interval) -> float:
    """Return the two-sided p of a 95 % interval of a difference, by its width (Altman and Bland, BMJ 2011;343:d2304).

    It is NaN where there is no interval, or none of any width.

    Example:
        >>> round(p_of_interval(Interval(1.96, 0.0, 3.92, 1000)), 3)
        0.05
    """
    from scipy.stats import norm

    width = interval.ci_high - interval.ci_low
    if not math.isfinite(width) or width <= 0:
        return float("nan")
    error = width / (2 * float(norm.ppf(0.975)))
    return float(2 * norm.sf(abs(interval.value) / error))
