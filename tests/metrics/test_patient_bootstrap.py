# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from monai_cxrssl.errors import ConfigurationError, DatalistError
from monai_cxrssl.metrics import PatientBootstrap, bootstrap_figures, bootstrap_mean, patient_strata, ranking_figures


@pytest.mark.parametrize("ids", [["b", "a", "b", "c"], [7, -1, 7, 3], np.array([2.0, 1.0, 2.0, 5.0])])
def test_films_of_a_patient_are_drawn_together(ids):
    bootstrap = PatientBootstrap(ids, resamples=120)
    weights = np.concatenate(list(bootstrap.weights()))
    assert weights.shape == (120, 4)
    np.testing.assert_array_equal(weights[:, 0], weights[:, 2])
    np.testing.assert_array_equal(weights[:, [0, 1, 3]].sum(axis=1), 3)  # as many patients as there are
    np.testing.assert_array_equal(weights, np.concatenate(list(bootstrap.weights())))
    assert (weights != np.concatenate(list(PatientBootstrap(ids, 120, seed=1).weights()))).any()


def test_every_patient_is_drawn_equally_often():
    weights = np.concatenate(list(PatientBootstrap(np.arange(10), resamples=4000).weights()))
    np.testing.assert_allclose(weights.mean(axis=0), 1, atol=0.08)
    np.testing.assert_allclose(weights.var(axis=0), 0.9, atol=0.1)  # binomial, 10 draws of 1 in 10


def test_mean_equals_resampling_film_by_film():
    generator = np.random.default_rng(0)
    values, patient = generator.random(40), generator.integers(0, 12, size=40)
    values[5] = np.nan
    interval = bootstrap_mean(values, patient, resamples=70, seed=4)
    kept = ~np.isnan(values)
    resampled = [
        np.repeat(values[kept], row.astype(int)).mean()
        for weights in PatientBootstrap(patient[kept], 70, seed=4).weights()
        for row in weights
    ]
    assert interval.value == pytest.approx(np.nanmean(values))
    np.testing.assert_allclose([interval.ci_low, interval.ci_high], np.quantile(resampled, [0.025, 0.975]))


def test_interval_covers_where_films_as_patients_would_not():
    """Simulation: 50 patients with 6 nearly equal films each, true mean 0."""
    generator, covered, naive, trials = np.random.default_rng(0), 0, 0, 200
    patient = np.repeat(np.arange(50), 6)
    for trial in range(trials):
        values = np.repeat(generator.normal(size=50), 6) + 0.2 * generator.normal(size=300)
        interval = bootstrap_mean(values, patient, resamples=200, seed=trial)
        covered += interval.ci_low <= 0 <= interval.ci_high
        interval = bootstrap_mean(values, np.arange(300), resamples=200, seed=trial)
        naive += interval.ci_low <= 0 <= interval.ci_high
    assert 0.89 <= covered / trials <= 0.99
    assert naive / trials < 0.75


@pytest.mark.parametrize("options", [{"resamples": 0}, {"confidence": 1.0}, {"confidence": 0.0}])
def test_options_that_cannot_work(options):
    with pytest.raises(ConfigurationError, match="cannot be drawn"):
        PatientBootstrap([1, 2], **options)


def test_one_patient_has_no_interval():
    with pytest.raises(DatalistError, match="two or more patients; the films are of 1"):
        PatientBootstrap([3, 3, 3])
    with pytest.raises(DatalistError, match="films are of 0"):
        bootstrap_mean([np.nan], ["a"])


def test_lengths_that_differ():
    with pytest.raises(DatalistError, match="one of each per film"):
        bootstrap_mean([0.5, 0.6], ["a"])


def test_strata_keep_their_number_of_patients():
    patient = np.repeat(np.arange(30), 2)
    strata = np.where(patient < 5, "rare", "common")
    weights = np.concatenate(list(PatientBootstrap(patient, 80, strata=strata).weights()))
    np.testing.assert_array_equal(weights[:, strata == "rare"].sum(axis=1), 10)
    np.testing.assert_array_equal(weights[:, strata == "common"].sum(axis=1), 50)
    np.testing.assert_array_equal(weights[:, 0::2], weights[:, 1::2])
    assert weights[:, 0].std() > 0.5


def test_one_stratum_is_none():
    patient = np.arange(20)
    plain, one = (
        np.concatenate(list(PatientBootstrap(patient, 60, 0.95, 3, s).weights())) for s in (None, patient * 0)
    )
    np.testing.assert_array_equal(plain, one)


def test_draws_without_strata_are_those_of_the_seed():
    """As published figures depend on them: each draw is one row of whole numbers of NumPy's generator."""
    generator = np.random.default_rng(5)
    expected = [np.bincount(row, minlength=7) for row in generator.integers(0, 7, size=(40, 7))]
    np.testing.assert_array_equal(next(PatientBootstrap(np.arange(7), 40, seed=5).weights()), expected)


@pytest.mark.parametrize(
    ("strata", "message"),
    [([0, 1, 1], "Patient a has films in two strata"), ([0, 1], r"\(2,\) strata for \(3,\) films")],
)
def test_strata_that_do_not_fit(strata, message):
    with pytest.raises(DatalistError, match=message):
        PatientBootstrap(["a", "a", "b"], strata=strata)


def test_stratum_is_the_rarest_class_of_the_patient():
    nan = np.nan
    label = np.array([[1, 0], [1, nan], [1, 1], [0, nan], [nan, nan], [1, 0]])
    patient = ["p", "q", "q", "r", "s", "t"]
    assert patient_strata(label, patient).tolist() == [0, 1, 1, -1, -1, 0]
    assert patient_strata(np.array([], dtype=int), []).tolist() == []


def test_stratified_interval_covers_the_truth_as_often_as_it_says():
    """Simulation: 12 sick and 60 healthy patients of two films each; the true AUC of unit normals 1 apart."""
    generator, trials, truth = np.random.default_rng(0), 300, 0.760249938906523
    patient = np.repeat(np.arange(72), 2)
    sick = (patient < 12).astype(float)
    covered, means = 0, 0
    for trial in range(trials):
        own, film = np.repeat(generator.normal(size=72), 2), generator.normal(size=144)
        score = sick + np.sqrt(0.6) * own + np.sqrt(0.4) * film
        interval = ranking_figures(score[:, None], sick[:, None], patient, None, 200, 0.95, trial, sick)["auc_0"]
        assert interval.resamples == 200
        covered += interval.ci_low <= truth <= interval.ci_high
        mean = bootstrap_figures(
            lambda weights, score=score: (weights @ score / weights.sum(axis=1))[:, None],
            ["mean"],
            [""],
            patient,
            resamples=200,
            seed=trial,
            strata=sick,
        )["mean"]
        means += mean.ci_low <= 1 / 6 <= mean.ci_high
    assert 0.90 <= covered / trials <= 0.98
    assert 0.90 <= means / trials <= 0.98


def test_figures_that_are_not_defined_say_so():
    found = bootstrap_figures(
        lambda weights: np.column_stack([weights.sum(axis=1), np.full(len(weights), np.nan)]),
        ["films", "nothing", "absent"],
        ["", "", "there is no mask"],
        [1, 1, 2],
        resamples=5,
    )
    assert found["films"].value == 3
    assert [interval.reason for interval in found.values()] == [
        "",
        "it is not defined on these films",
        "there is no mask",
    ]
