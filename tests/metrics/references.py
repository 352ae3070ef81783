# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Slow references of intervals over patients."""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm, t

__all__ = ["ends_by_root", "expanded_percentiles", "obuchowski"]


def expanded_percentiles(values, patients, confidence=0.95):
    """Percentiles at the level at which those of a normal sampling distribution are Student's interval."""
    level = norm.cdf(math.sqrt(patients / (patients - 1)) * t.ppf((1 - confidence) / 2, patients - 1))
    return np.quantile(values, [level, 1 - level], axis=0)


def obuchowski(scores, label, patient):
    """Areas (K,) and covariance (K, K), pair by pair, with the letters of Obuchowski (1997)."""
    names = list(dict.fromkeys(patient))
    films = {
        name: [np.flatnonzero((np.asarray(patient) == name) & (np.asarray(label) == kind)) for kind in (1, 0)]
        for name in names
    }
    positive, negative = np.flatnonzero(np.asarray(label) == 1), np.flatnonzero(np.asarray(label) == 0)
    m, n, count = len(positive), len(negative), len(scores)

    def kernel(x, y):
        return 1.0 if x > y else 0.5 if x == y else 0.0

    areas = [sum(kernel(s[i], s[j]) for i in positive for j in negative) / (m * n) for s in scores]
    with_positive = [name for name in names if len(films[name][0])]
    with_negative = [name for name in names if len(films[name][1])]

    def won(k, name):
        return sum(sum(kernel(scores[k][i], scores[k][j]) for j in negative) / n - areas[k] for i in films[name][0])

    def lost(k, name):
        return sum(sum(kernel(scores[k][i], scores[k][j]) for i in positive) / m - areas[k] for j in films[name][1])

    covariance = np.empty((count, count))
    for r in range(count):
        for s in range(count):
            ten, one, all_of = len(with_positive), len(with_negative), len(names)
            s10 = ten / ((ten - 1) * m) * sum(won(r, name) * won(s, name) for name in with_positive)
            s01 = one / ((one - 1) * n) * sum(lost(r, name) * lost(s, name) for name in with_negative)
            s11 = all_of / (all_of - 1) * sum(won(r, name) * lost(s, name) for name in names)
            s11_back = all_of / (all_of - 1) * sum(won(s, name) * lost(r, name) for name in names)
            covariance[r, s] = s10 / m + s01 / n + (s11 + s11_back) / (m * n)
    return np.array(areas), covariance


def ends_by_root(value, size, quantile):
    """Ends of the values that lie within quantile standard errors of a share, by a root of each side."""

    def off(other):
        return (value - other) ** 2 - quantile**2 * other * (1 - other) / size

    low = 0.0 if value == 0 else brentq(off, 0, min(value, 1 - 1e-9), xtol=1e-14)
    high = 1.0 if value == 1 else brentq(off, max(value, 1e-9), 1, xtol=1e-14)
    return low, high
