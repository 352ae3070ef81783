# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, t

from monai_cxrssl.errors import ConfigurationError, DatalistError
from monai_cxrssl.metrics import Cohort, ResamplingPlan, bootstrap_mean, ranking_figures
from tests.metrics.references import expanded_percentiles


@pytest.mark.parametrize("ids", [["b", "a", "b", "c"], [7, -1, 7, 3], np.array([2.0, 1.0, 2.0, 5.0])])
def test_films_of_a_patient_are_drawn_together(ids):
    plan = ResamplingPlan(120)
    weights = np.concatenate(list(plan.weights(ids)))
    assert weights.shape == (120, 4)
    np.testing.assert_array_equal(weights[:, 0], weights[:, 2])
    np.testing.assert_array_equal(weights[:, [0, 1, 3]].sum(axis=1), 3)  # as many patients as there are
    np.testing.assert_array_equal(weights, np.concatenate(list(plan.weights(ids))))
    assert (weights != np.concatenate(list(ResamplingPlan(120, seed=1).weights(ids)))).any()


def test_every_patient_is_drawn_equally_often():
    weights = np.concatenate(list(ResamplingPlan(4000).weights(np.arange(10))))
    np.testing.assert_allclose(weights.mean(axis=0), 1, atol=0.08)
    np.testing.assert_allclose(weights.var(axis=0), 0.9, atol=0.1)  # binomial, 10 draws of 1 in 10


def test_mean_equals_resampling_film_by_film():
    generator = np.random.default_rng(0)
    values, patient = generator.random(40), generator.integers(0, 12, size=40)
    values[5] = np.nan
    interval = bootstrap_mean(values, patient, plan=ResamplingPlan(70, seed=4))
    kept = ~np.isnan(values)
    resampled = [
        np.repeat(values[kept], row.astype(int)).mean()
        for weights in ResamplingPlan(70, seed=4).weights(patient[kept])
        for row in weights
    ]
    assert interval.value == pytest.approx(np.nanmean(values))
    expected = expanded_percentiles(resampled, len(np.unique(patient[kept])))
    np.testing.assert_allclose([interval.ci_low, interval.ci_high], expected)


def test_interval_covers_where_films_as_patients_would_not():
    """Simulation: 50 patients with 6 nearly equal images each, true mean 0."""
    generator, covered, naive, trials = np.random.default_rng(0), 0, 0, 200
    patient = np.repeat(np.arange(50), 6)
    for trial in range(trials):
        values = np.repeat(generator.normal(size=50), 6) + 0.2 * generator.normal(size=300)
        interval = bootstrap_mean(values, patient, plan=ResamplingPlan(200, seed=trial))
        covered += interval.ci_low <= 0 <= interval.ci_high
        interval = bootstrap_mean(values, np.arange(300), plan=ResamplingPlan(200, seed=trial))
        naive += interval.ci_low <= 0 <= interval.ci_high
    assert 0.89 <= covered / trials <= 0.99
    assert naive / trials < 0.75


@pytest.mark.parametrize("options", [{"resamples": 0}, {"confidence": 1.0}, {"confidence": 0.0}])
def test_options_that_cannot_work(options):
    with pytest.raises(ConfigurationError, match="cannot be drawn"):
        ResamplingPlan(**options)


def test_one_patient_has_no_interval():
    with pytest.raises(DatalistError, match="two or more patients; the images are of 1"):
        next(ResamplingPlan().weights([3, 3, 3]))
    with pytest.raises(DatalistError, match="images are of 0"):
        bootstrap_mean([np.nan], ["a"])


def test_lengths_that_differ():
    with pytest.raises(DatalistError, match="one of each per image"):
        bootstrap_mean([0.5, 0.6], ["a"])


def test_strata_keep_their_number_of_patients():
    patient = np.repeat(np.arange(30), 2)
    strata = np.where(patient < 5, "rare", "common")
    weights = np.concatenate(list(ResamplingPlan(80).weights(patient, strata)))
    np.testing.assert_array_equal(weights[:, strata == "rare"].sum(axis=1), 10)
    np.testing.assert_array_equal(weights[:, strata == "common"].sum(axis=1), 50)
    np.testing.assert_array_equal(weights[:, 0::2], weights[:, 1::2])
    assert weights[:, 0].std() > 0.5


def test_one_stratum_is_none():
    patient = np.arange(20)
    plain, one = (np.concatenate(list(ResamplingPlan(60, seed=3).weights(patient, s))) for s in (None, patient * 0))
    np.testing.assert_array_equal(plain, one)


def test_draws_without_strata_are_those_of_the_seed():
    """As published figures depend on them: each draw is one row of whole numbers of NumPy's generator."""
    generator = np.random.default_rng(5)
    expected = [np.bincount(row, minlength=7) for row in generator.integers(0, 7, size=(40, 7))]
    np.testing.assert_array_equal(next(ResamplingPlan(40, seed=5).weights(np.arange(7))), expected)


@pytest.mark.parametrize(
    ("strata", "message"),
    [([0, 1, 1], "Patient a has images in two strata"), ([0, 1], r"\(2,\) strata for \(3,\) images")],
)
def test_strata_that_do_not_fit(strata, message):
    with pytest.raises(DatalistError, match=message):
        next(ResamplingPlan().weights(["a", "a", "b"], strata))


def test_stratum_is_the_rarest_class_of_the_patient():
    nan = np.nan
    label = np.array([[1, 0], [1, nan], [1, 1], [0, nan], [nan, nan], [1, 0]])
    patient = ["p", "q", "q", "r", "s", "t"]
    assert Cohort.of(label * 0 + 0.5, label, patient).stratified().strata.tolist() == [0, 1, 1, -1, -1, 0]
    assert Cohort.of(np.empty((0, 2)), []).stratified().strata.tolist() == []
    assert Cohort.of(np.empty((3, 0)), [-1] * 3).stratified().strata.tolist() == [-1, -1, -1]


def test_stratified_interval_covers_the_truth_as_often_as_it_says():
    """Simulation: 12 sick and 60 healthy patients of two images each; the true AUC of unit normals 1 apart."""
    generator, trials, truth = np.random.default_rng(0), 300, 0.760249938906523
    patient = np.repeat(np.arange(72), 2)
    sick = (patient < 12).astype(float)
    covered, means = 0, 0
    for trial in range(trials):
        own, film = np.repeat(generator.normal(size=72), 2), generator.normal(size=144)
        score = sick + np.sqrt(0.6) * own + np.sqrt(0.4) * film
        cohort, plan = Cohort.of(score[:, None], sick[:, None], patient, strata=sick), ResamplingPlan(200, seed=trial)
        interval = ranking_figures(cohort, plan)["auc_0"]
        covered += interval.ci_low <= truth <= interval.ci_high
        mean = plan.interval(plan.resample(lambda w, score=score: w @ score / w.sum(axis=1), patient, sick))
        means += mean.ci_low <= 1 / 6 <= mean.ci_high
    assert 0.90 <= covered / trials <= 0.98
    assert 0.90 <= means / trials <= 0.98


def test_figures_that_are_not_defined_say_so():
    found = ResamplingPlan(5).intervals(
        lambda weights: np.column_stack([weights.sum(axis=1), np.full(len(weights), np.nan)]),
        ["films", "nothing", "absent"],
        Cohort.of(np.zeros((3, 1)), np.zeros((3, 1)), [1, 1, 2]),
        ["", "", "there is no mask"],
    )
    assert found["films"].value == 3
    assert [interval.reason for interval in found.values()] == [
        "",
        "it is not defined on these images",
        "there is no mask",
    ]


@pytest.mark.parametrize(("value", "limits"), [(1.0, (0.0, 1.0)), (0.0, (-1.0, 1.0)), (0.4, (0.0, 1.0))])
def test_equal_resamples_are_bounded_by_patients_that_may_be_unseen(value, limits):
    found = bootstrap_mean(np.full(40, value), np.repeat(np.arange(20), 2), limits=limits)
    # By the binomial distribution itself: the largest share of which 20 patients show none in 1 of 40 samples.
    unseen = binomtest(0, 20).proportion_ci(method="exact").high
    expected = value - unseen * (value - limits[0]), value + unseen * (limits[1] - value)
    assert (found.value, found.ci_low, found.ci_high) == pytest.approx((value, *expected))
    assert found.ci_low < found.ci_high
    assert "all resamples are equal" in found.method


def test_equal_resamples_without_limits_have_no_interval():
    found = bootstrap_mean(np.zeros(40), np.arange(40), limits=(0, np.inf))
    assert found.value == 0
    assert np.isnan([found.ci_low, found.ci_high]).all()
    assert found.reason.startswith("all resamples are equal")


def test_mean_of_few_patients_has_students_interval():
    values = np.random.default_rng(0).normal(size=12)
    found = bootstrap_mean(values, np.arange(12), plan=ResamplingPlan(40_000))
    reach = t.ppf(0.975, 11) * values.std(ddof=1) / np.sqrt(12)
    assert (found.ci_high - found.ci_low) / 2 == pytest.approx(reach, rel=0.06)
