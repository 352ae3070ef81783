# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from monai_cxrssl.errors import DatalistError
from monai_cxrssl.metrics import delong_test, holm_adjust, roc_auc


def by_definition(scores, label):
    """Areas (2,) and covariance (2, 2) by the kernel of each pair of a positive and a negative."""
    positive, negative = (np.asarray(scores, float)[:, np.asarray(label) == value] for value in (1, 0))
    m, n = positive.shape[1], negative.shape[1]
    up, down = np.zeros((2, m)), np.zeros((2, n))
    for model in range(2):
        for i in range(m):
            for j in range(n):
                x, y = positive[model, i], negative[model, j]
                kernel = 1.0 if x > y else 0.5 if x == y else 0.0
                up[model, i] += kernel / n
                down[model, j] += kernel / m
    area = up.mean(axis=1)
    parts = [(v - area[:, None]) @ (v - area[:, None]).T / (v.shape[1] - 1) / v.shape[1] for v in (up, down)]
    return area, parts[0] + parts[1]


def films(seed: int, count: int, decimals: int, gain: float = 0.5):
    generator = np.random.default_rng(seed)
    label = np.arange(count) % 3 == 0
    shared = generator.normal(size=count)
    scores = [shared + generator.normal(size=count) + strength * label for strength in (1.5 + gain, 1.5)]
    return np.round(scores, decimals), label.astype(float)


@pytest.mark.parametrize("decimals", [0, 12])
@pytest.mark.parametrize("count", [6, 15, 40])
def test_equals_the_definition(count, decimals):
    scores, label = films(count, count, decimals)
    area, covariance = by_definition(scores, label)
    result = delong_test(*scores, label)
    found = [result.variance, result.covariance, result.covariance, result.other_variance]
    np.testing.assert_allclose([result.auc, result.other_auc], area, rtol=1e-12)
    np.testing.assert_allclose(found, covariance.ravel(), rtol=1e-9, atol=1e-15)
    error = np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    assert result.z == pytest.approx((area[0] - area[1]) / error)
    assert result.p == pytest.approx(2 * (1 - norm.cdf(abs(result.z))), abs=1e-12)
    assert result.ci_high - result.ci_low == pytest.approx(2 * 1.959963984540054 * error)


def test_small_table_worked_by_hand():
    """Positives 2, 4 and negatives 1, 3: the placements are 1/2 and 1, so each half of the variance is 1/16."""
    result = delong_test([2, 4, 1, 3], [4, 2, 1, 3], [1, 1, 0, 0])
    assert (result.auc, result.variance, result.covariance) == (0.75, 0.125, 0.0)
    assert (result.z, result.p) == (0.0, 1.0)


def test_unknown_labels_do_not_count():
    scores, label = films(1, 40, 3)
    more = np.concatenate([scores, np.full((2, 3), np.nan)], axis=1)
    assert delong_test(*more, np.append(label, [np.nan] * 3)) == delong_test(*scores, label)
    assert delong_test(*scores, label).auc == pytest.approx(roc_auc(scores[0][:, None], label[:, None])[0])


def test_equal_models_are_called_different_as_often_as_said():
    found = []
    for seed in range(400):
        scores, label = films(seed, 90, 12, gain=0.0)
        found.append(delong_test(*scores, label).p < 0.05)
    assert 0.025 <= np.mean(found) <= 0.08


@pytest.mark.parametrize(
    ("scores", "label", "reason"),
    [
        ([[1, 2, 3, 4], [1, 2, 3, 4]], [0, 0, 1, 1], "rank alike"),
        ([[1, 3, 2, 4], [2, 6, 4, 8]], [0, 0, 1, 1], "rank alike"),
        ([[1, 2, 3, 4], [5, 5, 5, 5]], [0, 0, 1, 1], "of the second model, all scores are 5"),
        ([[1, np.nan, 3, 4], [4, 5, 6, 7]], [0, 0, 1, 1], "of the first model, the scores of 1 of 4"),
        ([[1, 2, 3, 4], [4, 3, 2, 1]], [0, 0, 0, 1], "fewer than two"),
        ([[1, 2, 3, 4], [4, 3, 2, 1]], [0, 0, 0, 0], "no positive images"),
        ([[1, 2], [2, 1]], [np.nan, np.nan], "no image has a known label"),
    ],
)
def test_no_test_says_why(scores, label, reason):
    result = delong_test(*scores, label)
    assert np.isnan(result.p)
    assert reason in result.reason


def test_lengths_that_differ():
    with pytest.raises(DatalistError, match=r"expected \(N,\) of each"):
        delong_test([1, 2], [1, 2, 3], [0, 1])


@pytest.mark.parametrize(
    ("p_values", "adjusted"),
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.5, 0.9], [1.0, 1.0]),
        ([0.02, np.nan, 0.01], [0.02, np.nan, 0.02]),
        ([0.2], [0.2]),
        ([], []),
    ],
)
def test_holm(p_values, adjusted):
    np.testing.assert_allclose(holm_adjust(p_values), adjusted)


def test_p_values_that_are_none():
    with pytest.raises(DatalistError, match="outside 0 to 1"):
        holm_adjust([0.1, 1.2])
