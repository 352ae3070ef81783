# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, cohen_kappa_score, f1_score, precision_score, recall_score, roc_curve

from monai_cxrssl.errors import ConfigurationError, DatalistError
from monai_cxrssl.metrics import (
    Cohort,
    ResamplingPlan,
    choose_threshold,
    choose_thresholds,
    operating_point_figures,
    proportion_interval,
)
from tests.metrics.references import expanded_percentiles


def films(count: int = 300, decimals: int = 2):
    generator = np.random.default_rng(0)
    label = (generator.random((count, 2)) < [0.3, 0.6]).astype(float)
    score = (1 / (1 + np.exp(-generator.normal(size=(count, 2)) - 1.5 * (label - 0.5)))).round(decimals)
    label[generator.random((count, 2)) < 0.1] = np.nan
    return score, label, generator.integers(0, count // 3, size=count)


def by_hand(score, label, threshold):
    called = (score >= threshold).astype(int)
    return [
        recall_score(label, called),
        recall_score(label, called, pos_label=0),
        precision_score(label, called, zero_division=np.nan),
        precision_score(label, called, pos_label=0, zero_division=np.nan),
        f1_score(label, called),
        accuracy_score(label, called),
        cohen_kappa_score(label, called),
    ]


@pytest.mark.parametrize("decimals", [1, 2, 12])
@pytest.mark.parametrize(
    ("rule", "target"), [("youden", 0.9), ("f1", 0.9), ("sensitivity", 0.9), ("sensitivity", 0.6), ("specificity", 0.8)]
)
def test_no_other_threshold_serves_the_rule_better(rule, target, decimals):
    score, label, _ = films(decimals=decimals)
    known = ~np.isnan(label[:, 0])
    score, label = score[known, 0], label[known, 0]
    point = choose_threshold(score, label, rule, target)
    found = by_hand(score, label, point.threshold)
    assert (point.sensitivity, point.specificity) == pytest.approx(tuple(found[:2]))

    def merit(values):
        sensitivity, specificity, f1 = values[0], values[1], values[4]
        return {
            "youden": sensitivity + specificity,
            "f1": f1,
            "sensitivity": specificity if sensitivity >= target else -1,
            "specificity": sensitivity if specificity >= target else -1,
        }[rule]

    others = np.unique(score)[1:]  # the lowest score calls all images positive
    assert merit(found) == pytest.approx(max(merit(rates(score, label, other)) for other in others))


def rates(score, label, threshold):
    called = score >= threshold
    sensitivity, specificity = called[label == 1].mean(), 1 - called[label == 0].mean()
    f1 = 2 * (called & (label == 1)).sum() / (called.sum() + label.sum())
    return sensitivity, specificity, np.nan, np.nan, f1


def test_youden_equals_the_corner_of_the_roc_curve():
    score, label, _ = films()
    known = ~np.isnan(label[:, 1])
    false, true, _ = roc_curve(label[known, 1], score[known, 1])
    point = choose_threshold(score[:, 1], label[:, 1])
    assert point.sensitivity + point.specificity - 1 == pytest.approx((true - false).max())


def test_threshold_lies_halfway_and_ties_take_the_lowest():
    assert choose_threshold([0.1, 0.3, 0.6, 0.9], [0, 0, 1, 1]).threshold == pytest.approx(0.45)
    point = choose_threshold([0.1, 0.2, 0.3, 0.4], [0, 1, 0, 1])  # 0.15 and 0.35 are equally good
    assert (point.threshold, point.sensitivity, point.specificity) == (pytest.approx(0.15), 1.0, 0.5)


def test_threshold_between_neighbouring_numbers_separates_them():
    low, high = 0.5, np.nextafter(0.5, 1)
    point = choose_threshold([low, low, high, high], [0, 0, 1, 1])
    assert low < point.threshold <= high


@pytest.mark.parametrize(
    ("score", "label", "rule", "reason"),
    [
        ([0.1, 0.2, 0.3, 0.4], [1, 0, 1, 0], "sensitivity", "reached only by calling all images positive"),
        ([0.1, 0.2, 0.3, 0.4], [1, 0, 1, 0], "specificity", "reached only by calling all images negative"),
        ([0.1, 0.2, 0.3, 0.4], [1, 1, 0, 0], "youden", "no threshold is better than chance"),
        ([0.1, 0.2, 0.2, 0.1], [1, 0, 0, 1], "f1", "no threshold finds a positive image"),
        ([0.3, 0.3, 0.3, 0.3], [1, 0, 1, 0], "youden", "all scores are 0.3"),
        ([0.1, 0.2, np.nan, 0.4], [1, 0, 1, 0], "f1", "1 of 4 images are not finite"),
        ([0.1, 0.2, 0.3, 0.4], [0, 0, 0, np.nan], "f1", "no positive images"),
        ([0.1, 0.2], [np.nan, np.nan], "f1", "no image has a known label"),
    ],
)
def test_no_threshold_says_why(score, label, rule, reason):
    point = choose_threshold(score, label, rule)
    assert np.isnan(point.threshold)
    assert reason in point.reason
    cohort = Cohort.of(np.array(score)[:, None], np.array(label, dtype=float)[:, None])
    figures = operating_point_figures(cohort, point, ResamplingPlan(10))
    assert all(np.isnan(interval.value) and interval.reason for interval in figures.values())


def test_figures_equal_scikit_learn_resampled_film_by_film():
    score, label, patient = films(count=150)
    cohort, plan = Cohort.of(score, label, patient, ["a", "b"]), ResamplingPlan(20, 0.8, 2)
    points = choose_thresholds(cohort, "sensitivity", 0.7)
    figures = operating_point_figures(cohort, points, plan)
    kinds = ["sensitivity", "specificity", "ppv", "npv", "f1", "accuracy", "kappa"]
    called = score >= [point.threshold for point in points]
    counted = {
        "sensitivity": lambda label, called: (label == 1, called),
        "specificity": lambda label, called: (label == 0, ~called),
        "ppv": lambda label, called: (called & ~np.isnan(label), label == 1),
        "npv": lambda label, called: (~called & ~np.isnan(label), label == 0),
        "accuracy": lambda label, called: (~np.isnan(label), called == (label == 1)),
    }
    values, resampled = {}, {}
    for c, name in enumerate("ab"):
        known = np.flatnonzero(~np.isnan(label[:, c]))
        values[name] = by_hand(score[known, c], label[known, c], points[c].threshold)
        resampled[name] = [
            by_hand(score[drawn, c], label[drawn, c], points[c].threshold)
            for weights in plan.weights(patient)
            for drawn in (np.repeat(known, row[known].astype(int)) for row in weights)
        ]
    for i, kind in enumerate(kinds):
        for name in "ab":
            interval = figures[f"{kind}_{name}"]
            assert interval.value == pytest.approx(values[name][i])
            if kind in ("f1", "kappa"):
                own = label[:, "ab".index(name)]
                fewer = min(len(np.unique(patient[own == value])) for value in (0, 1))
                low, high = expanded_percentiles(np.array(resampled[name])[:, i], fewer, 0.8)
            else:
                kept, right = counted[kind](*(side[:, "ab".index(name)] for side in (label, called)))
                expected = proportion_interval(right[kept], patient[kept], 0.8)
                low, high = expected.ci_low, expected.ci_high
            assert (interval.ci_low, interval.ci_high) == pytest.approx((low, high))
        assert figures[f"macro_{kind}"].value == pytest.approx((values["a"][i] + values["b"][i]) / 2)
    one = operating_point_figures(cohort.of_classes(["b"]), points[1].threshold, plan)
    assert list(one) == [f"macro_{kind}" for kind in kinds] + [f"{kind}_b" for kind in kinds]
    for kind in kinds:
        assert one[f"{kind}_b"] == figures[f"{kind}_b"]
        for end in ("value", "ci_low", "ci_high"):
            assert getattr(one[f"macro_{kind}"], end) == pytest.approx(getattr(figures[f"{kind}_b"], end), rel=1e-12)


def test_multi_class_and_one_threshold_for_all():
    score, _, patient = films()
    label = np.random.default_rng(3).integers(-1, 2, size=len(score))
    figures = operating_point_figures(Cohort.of(score, label, patient, ["a", "b"]), 0.5, ResamplingPlan(10))
    known = label >= 0
    expected = by_hand(score[known, 1], (label[known] == 1).astype(int), 0.5)
    assert figures["npv_b"].value == pytest.approx(expected[3])


def test_nothing_called_positive_has_no_ppv():
    score, label, patient = films()
    cohort = Cohort.of(score[:, :1], label[:, :1], patient)
    figures = operating_point_figures(cohort, 2.0, ResamplingPlan(10))
    assert (figures["sensitivity_0"].value, figures["specificity_0"].value) == (0.0, 1.0)
    assert np.isnan(figures["ppv_0"].value)
    assert figures["ppv_0"].reason == "no image is called positive"
    assert figures["macro_ppv"].reason == "no class can be assessed"
    assert operating_point_figures(cohort, -1)["npv_0"].reason == "no image is called negative"


@pytest.mark.parametrize(("rule", "target"), [("best", 0.9), ("f1", 0.0), ("sensitivity", 1.1), ("f1", float("nan"))])
def test_rules_that_cannot_work(rule, target):
    with pytest.raises(ConfigurationError, match="rule of the threshold"):
        choose_threshold([0.1, 0.2], [0, 1], rule, target)


def test_input_that_does_not_fit():
    with pytest.raises(DatalistError, match="labels of 0, 1"):
        choose_threshold([0.1, 0.2], [0, 2])
    score, label, patient = films()
    with pytest.raises(DatalistError, match="3 thresholds for scores of 2 classes"):
        operating_point_figures(Cohort.of(score, label, patient), [0.1, 0.2, 0.3])
