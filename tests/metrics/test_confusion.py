# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, cohen_kappa_score, f1_score
from sklearn.metrics import confusion_matrix as reference

from monai_cxrssl.errors import DatalistError
from monai_cxrssl.metrics import Cohort, ResamplingPlan, confusion_figures, confusion_matrix, proportion_interval
from tests.metrics.references import expanded_percentiles


def films(count: int = 120):
    generator = np.random.default_rng(0)
    label = generator.integers(-1, 4, size=count)
    score = generator.random((count, 5))  # class 4 has no image, and is called nevertheless
    score[np.arange(count), label] += 0.4
    return score / score.sum(axis=1, keepdims=True), label, generator.integers(0, count // 3, size=count)


def by_hand(label, called):
    each = f1_score(label, called, labels=range(5), average=None, zero_division=np.nan)
    each[~np.isin(range(5), label)] = np.nan
    return [accuracy_score(label, called), cohen_kappa_score(label, called), np.nanmean(each), *each]


def test_matrix_equals_scikit_learn():
    score, label, _ = films()
    known = label >= 0
    expected = reference(label[known], score[known].argmax(axis=1), labels=range(5))
    np.testing.assert_array_equal(confusion_matrix(Cohort.of(score, label)), expected)


def test_figures_equal_scikit_learn_resampled_film_by_film():
    score, label, patient = films()
    names = list("abcde")
    figures = confusion_figures(Cohort.of(score, label, patient, names), ResamplingPlan(30, 0.8, 1))
    known, called = np.flatnonzero(label >= 0), score.argmax(axis=1)
    values = by_hand(label[known], called[known])
    resampled = [
        by_hand(label[drawn], called[drawn])
        for weights in ResamplingPlan(30, seed=1).weights(patient)
        for drawn in (np.repeat(known, row[known].astype(int)) for row in weights)
    ]
    fewer = [min(len(np.unique(patient[(label >= 0) & ((label == c) == kind)])) for kind in (0, 1)) for c in range(4)]
    mean = 4 / sum(1 / count for count in fewer)
    counts = [mean, mean, mean, *fewer]
    low, high = np.array(
        [expanded_percentiles(v, n, 0.8) for v, n in zip(np.array(resampled)[:, :-1].T, counts, strict=True)]
    ).T
    accuracy = proportion_interval(called[known] == label[known], patient[known], 0.8)
    assert figures["accuracy"] == accuracy
    low[0], high[0] = accuracy.ci_low, accuracy.ci_high
    assert list(figures) == ["accuracy", "kappa", "macro_f1", *(f"top_f1_{name}" for name in names)]
    for i, interval in enumerate(list(figures.values())[:-1]):
        assert (interval.value, interval.ci_low, interval.ci_high) == pytest.approx((values[i], low[i], high[i]))
    assert figures["top_f1_e"].reason == "there are no positive images"


def test_scores_that_are_not_finite_make_no_matrix():
    score, label, _ = films()
    score[np.flatnonzero(label >= 0)[0], 2] = np.nan
    assert np.isnan(confusion_matrix(Cohort.of(score, label))).all()


def test_labels_of_many_columns():
    with pytest.raises(DatalistError, match="needs \\(N,\\) class numbers"):
        confusion_matrix(Cohort.of(np.zeros((3, 2)), np.zeros((3, 2))))
