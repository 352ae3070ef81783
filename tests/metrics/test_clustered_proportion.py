# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, t

from monai_cxrssl.errors import DatalistError
from monai_cxrssl.metrics import Cohort, operating_point_figures, proportion_interval
from tests.metrics.references import ends_by_root


@pytest.mark.parametrize(("right", "films"), [(3, 10), (16, 16), (0, 16), (199, 200), (1, 400)])
def test_films_of_patients_of_their_own_have_wilsons_interval(right, films):
    found = proportion_interval(np.arange(films) < right, np.arange(films))
    assert found.value == right / films
    expected = ends_by_root(right / films, films, t.ppf(0.975, films - 1))
    assert (found.ci_low, found.ci_high) == pytest.approx(expected, rel=1e-7)


def test_many_patients_have_scipys_wilson_interval():
    found = proportion_interval(np.arange(20_000) < 19_000, np.arange(20_000))
    wilson = binomtest(19_000, 20_000).proportion_ci(method="wilson")
    exact = binomtest(19_000, 20_000).proportion_ci(method="exact")
    assert (found.ci_low, found.ci_high) == pytest.approx((wilson.low, wilson.high), abs=1e-6)
    assert (found.ci_low, found.ci_high) == pytest.approx((exact.low, exact.high), abs=1e-4)


@pytest.mark.parametrize("patients", [5, 16, 40, 200])
def test_without_an_error_the_bound_is_near_the_exact_one(patients):
    low = proportion_interval(np.ones(patients), np.arange(patients)).ci_low
    exact = binomtest(patients, patients).proportion_ci(method="exact").low
    assert exact - 0.1 < low <= exact + 0.01


def test_without_an_error_films_of_a_patient_count_as_one():
    one = proportion_interval(np.ones(16), np.arange(16))
    assert proportion_interval(np.ones(80), np.repeat(np.arange(16), 5)) == one
    # Of unequal size, as many as there would be of equal size.
    sizes = np.arange(1, 17)
    uneven = proportion_interval(np.ones(136), np.repeat(np.arange(16), sizes))
    size = 136**2 / (sizes**2).sum()
    assert uneven.ci_low == pytest.approx(size / (size + t.ppf(0.975, 15) ** 2))


def test_interval_by_its_definition():
    generator = np.random.default_rng(0)
    patient = np.repeat(np.arange(20), generator.integers(1, 6, 20))
    right = (generator.normal(size=20)[patient] + generator.normal(size=len(patient)) < 1).astype(float)
    films, share = len(patient), right.mean()
    sizes = np.array([(patient == p).sum() for p in range(20)])
    sums = np.array([right[patient == p].sum() for p in range(20)])
    variance = 20 / 19 * ((sums - sizes * share) ** 2).sum() / films**2
    kish = (sizes**2).sum() / films
    effect = variance / (share * (1 - share) / films)
    correlation = max((effect - 1) / (kish - 1), 0)
    erring = min((sums > 0).sum(), (sums < sizes).sum())
    correlation = (erring * correlation + 1) / (erring + 1)
    expected = ends_by_root(share, films / (1 + (kish - 1) * correlation), t.ppf(0.975, 19))
    found = proportion_interval(right, patient)
    assert (found.value, found.ci_low, found.ci_high) == pytest.approx((share, *expected), rel=1e-8)


def test_films_that_do_not_count_and_what_cannot_be():
    found = proportion_interval([1, np.nan, 0, 1], ["a", "x", "b", "c"])
    assert found == proportion_interval([1, 0, 1], ["a", "b", "c"])
    alone = proportion_interval([1, 1], ["a", "a"])
    assert (alone.value, alone.ci_low, alone.ci_high) == (1, 0, 1)
    with pytest.raises(DatalistError, match="No image counts"):
        proportion_interval([np.nan], ["a"])
    with pytest.raises(DatalistError, match="one of each per image"):
        proportion_interval([1, 0], ["a"])


def test_perfect_decisions_are_no_certainty():
    label = np.repeat([1, 0], 16)
    score = np.stack([1.0 - label, label], axis=1)
    found = operating_point_figures(Cohort.of(score, label), 0.5)
    assert {interval.value for interval in found.values()} == {1.0}
    for name, interval in found.items():
        assert interval.ci_high == 1, name
        assert 0.5 < interval.ci_low < 0.95, name
        assert interval.method, name
    assert found["macro_sensitivity"].ci_low == pytest.approx(found["sensitivity_1"].ci_low)
    # Half of the predicted positives are of one patient: the patients of that share count, and not its images.
    many = operating_point_figures(Cohort.of(score, label, [*range(8), *[8] * 8, *range(9, 25)]), 0.5)
    assert many["sensitivity_1"].ci_low < found["sensitivity_1"].ci_low
