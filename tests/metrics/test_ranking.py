# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from monai_cxrssl.errors import DatalistError
from monai_cxrssl.metrics import (
    PatientBootstrap,
    average_precision,
    bootstrap_auc,
    patient_strata,
    ranking_figures,
    roc_auc,
)


def films(ties: bool = False, count: int = 200):
    generator = np.random.default_rng(0)
    score = generator.normal(size=(count, 3))
    label = (score + generator.normal(size=(count, 3)) > [0, 1, -1]).astype(float)
    label[generator.random((count, 3)) < 0.2] = np.nan
    return (score.round(0) if ties else score), label, generator.integers(0, count // 4, size=count)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_average_precision_equals_scikit_learn(ties, weighted):
    score, label, _ = films(ties)
    weight = np.random.default_rng(1).integers(0, 4, size=len(score)) if weighted else None
    for c, value in enumerate(average_precision(score, label, weight)):
        known = ~np.isnan(label[:, c])
        own = None if weight is None else weight[known]
        expected = average_precision_score(label[known, c], score[known, c], sample_weight=own)
        assert value == pytest.approx(expected, rel=1e-12)


def test_multi_class_is_each_class_against_the_rest():
    score, _, _ = films()
    label = np.random.default_rng(2).integers(0, 3, size=len(score))
    expected = [average_precision_score(label == c, score[:, c]) for c in range(3)]
    np.testing.assert_allclose(average_precision(score, label), expected)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("stratified", [False, True])
def test_intervals_equal_resampling_film_by_film(ties, stratified):
    score, label, patient = films(ties, count=120)
    strata = patient_strata(label, patient) if stratified else None
    intervals = ranking_figures(score, label, patient, ["a", "b", "c"], 40, 0.9, 3, strata)
    resampled = []
    for weights in PatientBootstrap(patient, 40, seed=3, strata=strata).weights():
        for row in weights.astype(int):
            drawn = np.repeat(np.arange(len(score)), row)
            areas = roc_auc(score[drawn], label[drawn])
            precisions = []
            for c in range(3):
                known = drawn[~np.isnan(label[drawn, c])]
                precisions.append(average_precision_score(label[known, c], score[known, c]))
            resampled.append([areas.mean(), np.mean(precisions), *areas, *precisions])
    low, high = np.quantile(resampled, [0.05, 0.95], axis=0)
    assert list(intervals) == ["macro_auc", "macro_ap", "auc_a", "auc_b", "auc_c", "ap_a", "ap_b", "ap_c"]
    np.testing.assert_allclose([interval.ci_low for interval in intervals.values()], low)
    np.testing.assert_allclose([interval.ci_high for interval in intervals.values()], high)
    assert intervals["macro_ap"].value == pytest.approx(average_precision(score, label).mean())


def test_areas_are_those_of_the_other_bootstrap():
    score, label, patient = films()
    ours, other = (each(score, label, patient, resamples=60) for each in (ranking_figures, bootstrap_auc))
    for key, interval in other.items():
        np.testing.assert_allclose([ours[key].value, ours[key].ci_low], [interval.value, interval.ci_low])


def test_class_without_positives_is_left_out_of_the_macro_figure():
    score, label, patient = films()
    label[:, 1] = 0
    figures = ranking_figures(score, label, patient, resamples=20)
    assert figures["auc_1"].reason == figures["ap_1"].reason == "there are no positive films"
    assert figures["macro_ap"].value == pytest.approx(average_precision(score, label)[[0, 2]].mean())


def test_patients_that_do_not_fit():
    score, label, patient = films()
    with pytest.raises(DatalistError, match="one id for each"):
        ranking_figures(score, label, patient[1:])
