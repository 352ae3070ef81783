# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from monai_cxrssl.errors import DatalistError
from monai_cxrssl.metrics import (
    Cohort,
    ResamplingPlan,
    calibration_figures,
    confusion_figures,
    operating_point_figures,
    ranking_figures,
    reliability_diagram,
    subgroup_figures,
    why_not_assessable,
)

SCORE = np.random.default_rng(0).random((12, 2))
LABEL = np.tile([0, 1, 1, 0, 0, 1], 2)
PATIENT = np.arange(12) // 2


def operating(cohort, plan):
    return operating_point_figures(cohort, 0.5, plan)


def subgroup(cohort, plan):
    groups = subgroup_figures(cohort, ["all"] * len(cohort.scores), plan=plan)
    return groups[0].figures if groups else {}


FIGURES = pytest.mark.parametrize(
    "figures", [ranking_figures, operating, calibration_figures, confusion_figures, subgroup]
)


def test_parts_of_a_cohort():
    cohort = Cohort.of(SCORE, np.append(LABEL[1:], -1), [f"p{number}" for number in PATIENT], ["a", "b"]).stratified()
    np.testing.assert_array_equal(cohort.labels[:-1], np.eye(2)[LABEL[1:]])
    assert np.isnan(cohort.labels[-1]).all()
    part = cohort.take([3, 11])
    assert (part.numbers.tolist(), part.patients.tolist()) == ([0, -1], [1, 5])
    np.testing.assert_array_equal(part.strata, cohort.strata[[3, 11]])
    one = cohort.of_classes(["b"])
    assert one.classes == ["b"]
    np.testing.assert_array_equal(one.scores[:, 0], SCORE[:, 1])
    np.testing.assert_array_equal(one.labels[:, 0], cohort.labels[:, 1])
    assert one.numbers is None
    other = cohort.with_scores(SCORE + 1)
    np.testing.assert_array_equal(other.scores, SCORE + 1)
    np.testing.assert_array_equal(other.strata, cohort.strata)
    assert cohort.reasons() == ["", ""]
    assert other.reasons(probability=True)[0].endswith("and are no probabilities")


@pytest.mark.parametrize(
    ("label", "options", "message"),
    [
        (LABEL, {"class_names": ["a"]}, "There are 1 class names for scores of 2 classes"),
        (LABEL, {"patient": PATIENT[1:]}, "one id for each of N images"),
        (LABEL[1:], {}, r"scores \(12, 2\) and labels \(11,\)"),
        (LABEL + 1, {}, "label of image 1 is 2; expected 0 to 1, or -1 for unknown"),
        (np.full(12, np.nan), {}, "label of image 0 is nan"),
        (np.full((12, 2), 0.5), {}, "A label is 0.5"),
    ],
)
def test_what_does_not_make_a_cohort(label, options, message):
    with pytest.raises(DatalistError, match=message):
        Cohort.of(SCORE, label, **options)


@FIGURES
@pytest.mark.parametrize(
    ("score", "label", "patient"),
    [
        (SCORE, np.zeros(12, int), PATIENT),
        (SCORE, np.full(12, -1), PATIENT),
        (SCORE, LABEL, np.zeros(12, int)),
        (np.full((12, 2), 0.5), LABEL, PATIENT),
        (np.full((12, 2), np.nan), LABEL, PATIENT),
        (np.full((12, 2), np.inf), LABEL, PATIENT),
        (SCORE[:1], LABEL[:1], PATIENT[:1]),
        (SCORE[:0], LABEL[:0], PATIENT[:0]),
    ],
    ids=["one class", "no labels", "one patient", "constant", "nan", "infinite", "one image", "no image"],
)
def test_degenerate_films_give_nan_and_a_reason(figures, score, label, patient):
    for interval in figures(Cohort.of(score, label, patient), ResamplingPlan(10)).values():
        assert np.isnan([interval.value, interval.ci_low, interval.ci_high]).all()
        assert interval.resamples == 0
        assert interval.reason


@FIGURES
def test_multi_label_with_one_class_that_works(figures):
    if figures is confusion_figures:
        pytest.skip("needs one class per image")
    score, label = SCORE.copy(), np.stack([LABEL, LABEL], axis=1).astype(float)
    score[3, 1] = np.nan
    found = figures(Cohort.of(score, label, PATIENT), ResamplingPlan(50))
    assert any(key.endswith("_0") for key in found)
    for key, interval in found.items():
        assert (interval.reason == "the scores of 1 of 12 images are not finite numbers") == key.endswith("_1")
        assert np.isfinite(interval.value) != key.endswith("_1")
    label[3, 1] = np.nan  # an image without a label has no need of a score
    assert all(
        not interval.reason for interval in figures(Cohort.of(score, label, PATIENT), ResamplingPlan(50)).values()
    )


@pytest.mark.parametrize(
    ("score", "label", "options", "reason"),
    [
        ([0.1, 0.2], [0, 1], {}, ""),
        ([0.1, 0.2], [1, 1], {}, "there are no negative images"),
        ([0.1, 0.2], [1, 1], {"both_kinds": False}, ""),
        ([0.1, 1.5], [0, 1], {}, ""),
        ([0.1, 1.5], [0, 1], {"probability": True}, "the scores lie in 0.1 to 1.5, and are no probabilities"),
        ([0.1, 0.2, 0.3], [0, 0, 1], {"patient": [1, 2, 3]}, "the positive images are of one patient"),
        ([0.1, 0.2, 0.3, 0.4], [0, 0, 1, 1], {"patient": [1, 1, 3, 4]}, "the negative images are of one patient"),
        ([0.1, 0.2, 0.3, 0.4], [0, 0, 1, 1], {"patient": [1, 2, 2, 1]}, ""),
    ],
)
def test_reasons(score, label, options, reason):
    assert why_not_assessable(np.array(score), np.array(label, dtype=float), **options) == reason


@pytest.mark.parametrize("binning", ["equal_width", "equal_mass"])
@pytest.mark.parametrize("score", [SCORE[:, 0] * np.nan, np.full(12, 0.5), SCORE[:, 0] + 3])
def test_no_reliability_diagram(score, binning):
    diagram = reliability_diagram(score, LABEL, binning=binning)
    assert np.isnan(diagram.ece)
    assert diagram.reason
    assert not diagram.count.size
