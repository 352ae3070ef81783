# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t
from sklearn.metrics import roc_auc_score

from monai_cxrssl.metrics import Cohort, auc_intervals, compare_auc, delong_test
from monai_cxrssl.metrics.clustered_auc import ClusteredAUC
from tests.metrics.references import ends_by_root, obuchowski


def films(seed=0, patients=14, mixed=True, decimals=12, columns=2):
    """Images of 1 to 4 of each patient; of both kinds where mixed."""
    generator = np.random.default_rng(seed)
    patient = np.repeat(np.arange(patients), generator.integers(1, 5, patients))
    own = patient % 2 if not mixed else generator.integers(0, 2, len(patient))
    own[:2] = 0, 1
    label = own.astype(float) if mixed else (patient % 2).astype(float)
    shared = generator.normal(size=(patients, columns))[patient]
    score = shared + generator.normal(size=(len(patient), columns)) + 1.2 * label[:, None]
    return np.round(score, decimals), label, patient


def of(score, label, patient):
    return ClusteredAUC.of(score, np.repeat(label[:, None], score.shape[1], axis=1), patient)


@pytest.mark.parametrize("decimals", [0, 12])
@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("seed", [0, 1])
def test_equals_the_formula_pair_by_pair(seed, mixed, decimals):
    score, label, patient = films(seed, mixed=mixed, decimals=decimals)
    found = of(score, label, patient)
    areas, covariance = obuchowski(score.T, label, patient)
    np.testing.assert_allclose(found.areas, areas, rtol=1e-13)
    np.testing.assert_allclose(found.areas, [roc_auc_score(label, column) for column in score.T], rtol=1e-13)
    np.testing.assert_allclose(found.covariance, covariance, rtol=1e-10, atol=1e-15)


def test_films_of_patients_of_their_own_have_delongs_variance():
    score, label, _ = films(3, patients=40)
    found = of(score, label, np.arange(len(label)))
    expected = delong_test(*score.T, label)
    np.testing.assert_allclose(found.covariance[0], [expected.variance, expected.covariance], rtol=1e-12)
    assert found.covariance[1, 1] == pytest.approx(expected.other_variance)


@pytest.mark.parametrize("seed", range(3))
def test_interval_by_its_definition(seed):
    score, label, patient = films(seed, patients=24, mixed=False, columns=1)
    found = of(score, label, patient)
    (area,), ((variance,),) = obuchowski(score.T, label, patient)
    kinds = [[np.flatnonzero((patient == p) & (label == kind)) for p in np.unique(patient)] for kind in (1, 0)]
    kinds = [[rows for rows in kind if len(rows)] for kind in kinds]
    size = min(sum(map(len, kind)) ** 2 / sum(len(rows) ** 2 for rows in kind) for kind in kinds)
    beaten = [score[label == 0].max(), score[label == 1].min()]
    unlike = [sum((score[rows] < beaten[0]).any() for rows in kinds[0]), sum((score[rows] > beaten[1]).any() for rows in kinds[1])]  # fmt: skip
    telling = min(unlike)
    ratio = (telling * variance / (area * (1 - area) / size) + 0.5) / (telling + 0.5)
    # Of patients of one kind, the two halves of the variance, each by its own formula.
    halves = []
    for kind, rest, sign in ((kinds[0], 0, 1), (kinds[1], 1, -1)):
        other = score[label == rest]
        place = [((sign * score[rows] > sign * other.T).mean(axis=1) - area).sum() for rows in kind]
        halves.append(len(kind) / (len(kind) - 1) * np.sum(np.square(place)) / sum(map(len, kind)) ** 2)
    assert sum(halves) == pytest.approx(variance)
    freedom = variance**2 / sum(half**2 / (len(kind) - 1) for half, kind in zip(halves, kinds, strict=True))
    expected = ends_by_root(area, size / ratio, t.ppf(0.975, freedom))
    np.testing.assert_allclose([end[0] for end in found.ends(0.95)], expected, rtol=1e-8)


@pytest.mark.parametrize(("positives", "negatives"), [(16, 16), (16, 200), (200, 40)])
def test_perfect_order_is_a_share_of_one_over_the_smaller_class(positives, negatives):
    label = np.repeat([1.0, 0.0], [positives, negatives])
    found = of(label[:, None], label, np.arange(len(label)))
    fewer = min(positives, negatives)
    quantile = t.ppf(0.975, fewer - 1)
    assert [end[0] for end in found.ends(0.95)] == pytest.approx([fewer / (fewer + quantile**2), 1.0])
    # Near the bound that no distribution of the scores breaks: any pairs of other patients are in order by chance.
    assert found.ends(0.95)[0][0] <= 0.025 ** (1 / fewer)
    upside_down = of(-label[:, None], label, np.arange(len(label)))
    assert [end[0] for end in upside_down.ends(0.95)] == pytest.approx([0.0, quantile**2 / (fewer + quantile**2)])


def test_more_films_of_the_same_patients_prove_no_more():
    label = np.repeat([1.0, 0.0], 16)
    one = of(label[:, None], label, np.arange(32))
    five = of(np.repeat(label, 5)[:, None], np.repeat(label, 5), np.repeat(np.arange(32), 5))
    np.testing.assert_allclose(five.ends(0.95), one.ends(0.95))
    score, label, patient = films(2, mixed=False, columns=1)
    twice = of(np.repeat(score, 2, axis=0), np.repeat(label, 2), np.repeat(patient, 2))
    np.testing.assert_allclose(twice.ends(0.95), of(score, label, patient).ends(0.95), rtol=1e-12)


def test_two_perfect_models_may_differ():
    label = np.repeat([1, 0], 16)
    score = np.stack([label == 0, label == 1], axis=1) * 1.0
    sides = compare_auc(Cohort.of(score, label), score * 2)
    for key in ("macro_auc", "auc_0"):
        single, difference = sides[0][key], sides[2][key]
        assert (single.value, single.ci_high, difference.value) == (1, 1, 0)
        reach = 1 - single.ci_low
        assert (difference.ci_low, difference.ci_high) == pytest.approx((-reach, reach))
        assert 0.15 < reach < 0.25


@pytest.mark.parametrize("shared", [-1.0, 2.0])
def test_difference_by_its_definition(shared):
    score, label, patient = films(5, patients=30, columns=2)
    score[:, 1] += shared * score[:, 0] * (1 if shared > 0 else 0.2)
    areas, covariance = obuchowski(score.T, label, patient)
    first, second, difference = (
        side["auc_0"] for side in compare_auc(Cohort.of(score[:, :1], label[:, None], patient), score[:, 1:])
    )
    correlation = covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1])
    assert np.sign(correlation) == np.sign(shared)
    down, other_down = (side.value - side.ci_low for side in (first, second))
    up, other_up = (side.ci_high - side.value for side in (first, second))
    apart = max((down - other_down) ** 2, (up - other_up) ** 2)
    expected = []
    for own, other in ((down, other_up), (up, other_down)):
        # What the models share moves both to one side; what they do not, moves them apart.
        if correlation > 0:
            expected.append(np.sqrt((1 - correlation) * (own**2 + other**2) + correlation * apart))
        else:
            expected.append(np.sqrt(own**2 + other**2 - 2 * correlation * own * other))
    value = areas[0] - areas[1]
    assert (difference.ci_low, difference.ci_high) == pytest.approx((value - expected[0], value + expected[1]))


def test_mean_of_two_classes_that_mirror_each_other_is_either():
    score, label, patient = films(6, patients=30, columns=1)
    cohort = Cohort.of(np.hstack([-score, score]), label.astype(int), patient)
    found = auc_intervals(cohort)
    for end in ("value", "ci_low", "ci_high"):
        # The two kinds have different numbers of patients, and so nearly the same factor of the variance.
        assert getattr(found["macro_auc"], end) == pytest.approx(getattr(found["auc_0"], end), abs=2e-3)


def test_one_patient_of_a_kind_tells_next_to_nothing():
    label = np.repeat([1.0, 0.0], [3, 60])
    score = np.concatenate([[2.0, 2.5, 3.0], np.random.default_rng(0).normal(size=60)])[:, None]
    found = auc_intervals(Cohort.of(score, label[:, None], [*"aaa", *range(60)]))["auc_0"]
    assert found.value > 0.9
    assert found.ci_low < 0.1
