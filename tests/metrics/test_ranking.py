# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from monai_cxrssl.errors import DatalistError
from monai_cxrssl.metrics import (
    Cohort,
    ResamplingPlan,
    auc_intervals,
    average_precision,
    compare_auc,
    flat_metrics,
    macro_auc,
    ranking_figures,
    roc_auc,
)
from tests.metrics.references import expanded_percentiles

NAMES = ["Edema", "Mass", "Nodule"]


def films(ties: bool = False, count: int = 300):
    generator = np.random.default_rng(0)
    score = generator.normal(size=(count, 3))
    label = (score + generator.normal(size=(count, 3)) > [0, 1, -1]).astype(float)
    label[generator.random((count, 3)) < 0.2] = np.nan
    return (score.round(0) if ties else score), label, generator.integers(0, count // 4, size=count)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_multi_label_equals_scikit_learn(ties, weighted):
    score, label, _ = films(ties)
    weight = np.random.default_rng(1).integers(0, 4, size=len(score)) if weighted else None
    for c, area in enumerate(roc_auc(score, label, weight)):
        known = ~np.isnan(label[:, c])
        expected = roc_auc_score(
            label[known, c], score[known, c], sample_weight=None if weight is None else weight[known]
        )
        assert area == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("ties", [False, True])
def test_multi_class_equals_scikit_learn(ties):
    score, _, _ = films(ties)
    share = np.exp(score) / np.exp(score).sum(axis=1, keepdims=True)
    label = np.random.default_rng(2).integers(0, 3, size=len(score))
    expected = roc_auc_score(label, share, multi_class="ovr", average="macro")
    value, left_out = macro_auc(torch.from_numpy(share), torch.from_numpy(label))
    assert value == pytest.approx(expected, rel=1e-12)
    assert left_out == []
    unknown = np.concatenate([label, [-1, -1]])
    assert macro_auc(np.concatenate([share, share[:2]]), unknown)[0] == pytest.approx(expected, rel=1e-12)


def test_class_of_one_kind_is_left_out_and_named(caplog):
    score, label, patient = films()
    label[:, 1] = np.where(np.isnan(label[:, 1]), np.nan, 0)
    value, left_out = macro_auc(score, label, NAMES)
    assert left_out == ["Mass"]
    assert "Mass" in caplog.text
    areas = roc_auc(score, label)
    assert np.isnan(areas[1])
    assert value == pytest.approx((areas[0] + areas[2]) / 2)
    caplog.clear()
    intervals = auc_intervals(Cohort.of(score, label, patient, NAMES), ResamplingPlan(20))
    assert "Mass" in caplog.text
    assert np.isnan(intervals["auc_Mass"].value)
    assert intervals["macro_auc"].value == pytest.approx(value)


def test_no_class_at_all():
    assert np.isnan(macro_auc(np.zeros((4, 1)), np.ones((4, 1)))[0])


def test_areas_do_not_depend_on_the_seed_and_precisions_do():
    cohort = Cohort.of(*films(), NAMES)
    first, again, other = (ranking_figures(cohort, ResamplingPlan(50, seed=seed)) for seed in (1, 1, 2))
    assert first == again
    assert first["macro_auc"] == other["macro_auc"]
    assert first["macro_ap"].value == other["macro_ap"].value
    assert first["macro_ap"].ci_low != other["macro_ap"].ci_low


def test_paired_difference_of_two_models():
    score, label, patient = films()
    worse = score + np.random.default_rng(5).normal(size=score.shape) * 0.5
    cohort, plan = Cohort.of(score, label, patient, NAMES), ResamplingPlan(200)
    *sides, difference = compare_auc(cohort, worse, plan)
    ours, theirs = (auc_intervals(each, plan) for each in (cohort, cohort.with_scores(worse)))
    assert sides == [ours, theirs]
    for name, interval in difference.items():
        assert interval.value == pytest.approx(ours[name].value - theirs[name].value)
        assert interval.ci_low < interval.value < interval.ci_high
    # Pairing takes out what the images have in common.
    paired = difference["macro_auc"].ci_high - difference["macro_auc"].ci_low
    assert paired < ours["macro_auc"].ci_high - ours["macro_auc"].ci_low
    equal = compare_auc(cohort, score, plan)[2]["macro_auc"]
    assert equal.value == 0
    assert -paired / 2 < equal.ci_low < 0 < equal.ci_high < paired / 2


def test_interval_of_a_mean_is_made_of_those_of_the_classes():
    score, label, patient = films(count=100)
    label[:, 1] = 0
    cohort = Cohort.of(score, label, patient, NAMES)
    found = ranking_figures(cohort)
    assert found["auc_Mass"].reason == "there are no positive images"
    sides = [found["auc_Edema"], found["auc_Nodule"]]
    # By the bootstrap the correlation is nearly that of what each patient adds.
    weights = np.concatenate(list(ResamplingPlan(2000).weights(patient)))
    correlation = np.corrcoef(np.array([roc_auc(score, label, row)[[0, 2]] for row in weights]).T)
    for end in ("ci_low", "ci_high"):
        reach = np.array([abs(side.value - getattr(side, end)) / 2 for side in sides])
        expected = np.sqrt(reach @ correlation @ reach)
        assert abs(getattr(found["macro_auc"], end) - found["macro_auc"].value) == pytest.approx(expected, rel=0.06)


def test_rare_class_says_how_many_resamples_it_had(caplog):
    plan, cohort = ResamplingPlan(200), Cohort.of(np.zeros((80, 1)), np.arange(80)[:, None] == 7)
    with np.errstate(invalid="ignore"):
        found = plan.intervals(lambda weights: weights[:, [7, 9]] / (weights[:, [7, 9]] > 0), ["rare", "other"], cohort)
    assert 80 < found["rare"].resamples < 170  # 1 - 1 / e of 200 are expected
    assert "rare" in caplog.text


def test_entries_of_the_metrics_file():
    flat = flat_metrics(auc_intervals(Cohort.of(*films(), NAMES), ResamplingPlan(20)))
    assert {"macro_auc", "macro_auc_ci_low", "macro_auc_ci_high", "auc_Mass", "auc_Mass_ci_low"} <= set(flat)
    assert len(flat) == 16
    assert all(isinstance(value, str if name.endswith("_method") else float) for name, value in flat.items())


def test_interval_covers_the_truth_as_often_as_it_says():
    """Simulation: images of a patient are nearly the same, and the true AUC is known."""
    generator, covered, trials = np.random.default_rng(0), 0, 120
    truth = 0.760249938906523  # Phi(1 / sqrt 2) of two normals of unit variance, means 0 and 1
    for trial in range(trials):
        sick = np.repeat(generator.random(80) < 0.5, 3)
        patient = np.repeat(np.arange(80), 3)
        own, film = np.repeat(generator.normal(size=80), 3), generator.normal(size=240)
        score = sick + np.sqrt(0.9) * own + np.sqrt(0.1) * film
        cohort = Cohort.of(score[:, None], sick[:, None].astype(float), patient)
        interval = auc_intervals(cohort, ResamplingPlan(200, seed=trial))["auc_0"]
        covered += interval.ci_low <= truth <= interval.ci_high
    assert 0.88 <= covered / trials <= 1.0


@pytest.mark.parametrize(
    ("score", "label", "message"),
    [
        (np.zeros((4, 2)), np.zeros((4, 3)), r"scores \(4, 2\) and labels \(4, 3\)"),
        (np.zeros(4), np.zeros(4), r"scores \(4,\)"),
        (np.zeros((4, 2)), np.array([0, 1, 2, 0]), "label of image 2 is 2"),
        (np.zeros((4, 2)), np.full((4, 2), -1.0), "A label is -1"),
        (np.array([[0.0], [np.nan]]), np.zeros((2, 1)), "scores of image 1"),
    ],
)
def test_input_that_does_not_fit(score, label, message):
    with pytest.raises(DatalistError, match=message):
        roc_auc(score, label)


def test_some_films_of_a_cohort_compare_as_they_would_alone():
    score, label, patient = films(count=120)
    kept = np.flatnonzero(patient > 10)
    part = Cohort.of(score, label, patient).take(kept)
    alone = Cohort.of(score[kept], label[kept], patient[kept])
    assert compare_auc(part, -score[kept]) == compare_auc(alone, -score[kept])


def test_models_and_patients_that_do_not_fit():
    score, label, patient = films()
    with pytest.raises(DatalistError, match=r"scores \(300, 2\) and labels \(300, 3\)"):
        compare_auc(Cohort.of(score, label, patient), score[:, :2])
    with pytest.raises(DatalistError, match="two or more patients; the images are of 1"):
        auc_intervals(Cohort.of(score, label, patient * 0))


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_average_precision_equals_scikit_learn(ties, weighted):
    score, label, _ = films(ties, 200)
    weight = np.random.default_rng(1).integers(0, 4, size=len(score)) if weighted else None
    for c, value in enumerate(average_precision(score, label, weight)):
        known = ~np.isnan(label[:, c])
        own = None if weight is None else weight[known]
        expected = average_precision_score(label[known, c], score[known, c], sample_weight=own)
        assert value == pytest.approx(expected, rel=1e-12)


def test_average_precision_of_multi_class_is_each_class_against_the_rest():
    score, _, _ = films(count=200)
    label = np.random.default_rng(2).integers(0, 3, size=len(score))
    expected = [average_precision_score(label == c, score[:, c]) for c in range(3)]
    np.testing.assert_allclose(average_precision(score, label), expected)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("stratified", [False, True])
def test_average_precision_equals_resampling_film_by_film(ties, stratified):
    score, label, patient = films(ties, count=120)
    cohort = Cohort.of(score, label, patient, ["a", "b", "c"])
    cohort, plan = cohort.stratified() if stratified else cohort, ResamplingPlan(40, 0.9, 3)
    intervals = ranking_figures(cohort, plan)
    resampled = []
    for weights in plan.weights(patient, cohort.strata):
        for row in weights.astype(int):
            drawn = np.repeat(np.arange(len(score)), row)
            precisions = []
            for c in range(3):
                known = drawn[~np.isnan(label[drawn, c])]
                precisions.append(average_precision_score(label[known, c], score[known, c]))
            resampled.append([np.mean(precisions), *precisions])
    counts = [min(len(np.unique(patient[label[:, c] == kind])) for kind in (0, 1)) for c in range(3)]
    counts = [3 / sum(1 / count for count in counts), *counts]
    low, high = np.array(
        [expanded_percentiles(v, n, 0.9) for v, n in zip(np.transpose(resampled), counts, strict=True)]
    ).T
    assert list(intervals) == ["macro_auc", "macro_ap", "auc_a", "auc_b", "auc_c", "ap_a", "ap_b", "ap_c"]
    found = [interval for name, interval in intervals.items() if "auc" not in name]
    np.testing.assert_allclose([interval.ci_low for interval in found], low)
    np.testing.assert_allclose([interval.ci_high for interval in found], high)
    assert intervals["macro_ap"].value == pytest.approx(average_precision(score, label).mean())


def test_class_without_positives_is_left_out_of_the_macro_figure():
    score, label, patient = films(count=200)
    label[:, 1] = 0
    figures = ranking_figures(Cohort.of(score, label, patient), ResamplingPlan(20))
    assert figures["auc_1"].reason == figures["ap_1"].reason == "there are no positive images"
    assert figures["macro_ap"].value == pytest.approx(average_precision(score, label)[[0, 2]].mean())
