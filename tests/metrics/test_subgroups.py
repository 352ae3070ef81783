# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from monai_cxrssl.errors import DatalistError
from monai_cxrssl.metrics import Cohort, ResamplingPlan, age_band, ranking_figures, subgroup_figures


def films(count: int = 240):
    generator = np.random.default_rng(0)
    label = (generator.random((count, 2)) < 0.4).astype(float)
    patient = generator.integers(0, count // 3, size=count)
    group = np.where(patient % 4 == 0, "AP", "PA").astype(object)
    return generator.normal(size=(count, 2)) + label, label, patient, group


def test_each_group_has_the_figures_of_its_films():
    score, label, patient, group = films()
    group[:6] = [None, "", float("nan"), np.nan, " ", None]
    subgroups = subgroup_figures(Cohort.of(score, label, patient, ["a", "b"]), group, 30, ResamplingPlan(30))
    assert [each.name for each in subgroups] == ["AP", "PA", "unknown"]
    assert [each.small for each in subgroups] == [True, False, True]
    assert sum(each.films for each in subgroups) == len(score)
    here = group == "PA"
    expected = ranking_figures(Cohort.of(score[here], label[here], patient[here], ["a", "b"]), ResamplingPlan(30))
    assert subgroups[1].patients == len(np.unique(patient[here]))
    assert list(subgroups[1].figures) == ["macro_auc", "auc_a", "auc_b"]
    assert all(interval == expected[key] for key, interval in subgroups[1].figures.items())


def test_group_that_cannot_be_assessed_says_why():
    score, label, patient, group = films()
    label[group == "AP", 0] = 0
    group[0] = "LL"
    groups = subgroup_figures(Cohort.of(score, label, patient), group, plan=ResamplingPlan(10))
    by_name = {each.name: each for each in groups}
    assert by_name["AP"].figures["auc_0"].reason == "there are no positive images"
    assert np.isfinite(by_name["AP"].figures["macro_auc"].value)
    assert by_name["LL"].films == 1
    assert by_name["LL"].figures["macro_auc"].reason == "no class can be assessed"


def test_multi_class_lists_and_strata():
    score, _, patient, group = films()
    label = np.random.default_rng(1).integers(-1, 2, size=len(score))
    cohort = Cohort.of(score.tolist(), label.tolist(), patient.tolist(), strata=patient % 2)
    subgroups = subgroup_figures(cohort, group.tolist(), plan=ResamplingPlan(10))
    assert all(np.isfinite(each.figures["macro_auc"].ci_low) for each in subgroups)


def test_lengths_that_differ():
    score, label, patient, group = films()
    with pytest.raises(DatalistError, match="239 groups for 240 images"):
        subgroup_figures(Cohort.of(score, label, patient), group[1:])


@pytest.mark.parametrize(
    ("age", "band"),
    [
        (0, "0-17"), (0.5, "0-17"), (17.9, "0-17"), (18, "18-39"), ("39", "18-39"), (40, "40-59"), ("59.5", "40-59"),
        ("060Y", "60-79"), ("063Y", "60-79"), (" 63y ", "60-79"), (np.float64(79.0), "60-79"), (80, "80+"),
        (np.int64(120), "80+"), ("018M", "0-17"), ("240M", "18-39"), ("006W", "0-17"), ("010D", "0-17"),
        (121, "unknown"), (-1, "unknown"), ("413", "unknown"), (None, "unknown"), (float("nan"), "unknown"),
        ("", "unknown"), ("old", "unknown"), ("63 years", "unknown"), (float("inf"), "unknown"),
    ],
)  # fmt: skip
def test_age_bands(age, band):
    assert age_band(age) == band
