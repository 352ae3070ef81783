# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from monai_cxrssl.errors import ConfigurationError, DatalistError
from monai_cxrssl.metrics import PatientBootstrap, bootstrap_mean


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
