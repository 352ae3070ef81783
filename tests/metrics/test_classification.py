# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from monai_cxrssl.errors import DatalistError
from monai_cxrssl.metrics import PatientBootstrap, bootstrap_auc, compare_auc, flat_metrics, macro_auc, roc_auc

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
    intervals = bootstrap_auc(score, label, patient, NAMES, resamples=20)
    assert "Mass" in caplog.text
    assert np.isnan(intervals["auc_Mass"].value)
    assert intervals["macro_auc"].value == pytest.approx(value)
    assert intervals["macro_auc"].resamples == 20


def test_no_class_at_all():
    assert np.isnan(macro_auc(np.zeros((4, 1)), np.ones((4, 1)))[0])


@pytest.mark.parametrize("ties", [False, True])
def test_bootstrap_equals_resampling_film_by_film(ties):
    score, label, patient = films(ties, count=120)
    intervals = bootstrap_auc(score, label, patient, NAMES, resamples=60, confidence=0.9, seed=3)
    resampled = []
    for weights in PatientBootstrap(patient, 60, seed=3).weights():
        for row in weights.astype(int):
            drawn = np.repeat(np.arange(len(score)), row)
            areas = []
            for c in range(3):
                known = drawn[~np.isnan(label[drawn, c])]
                areas.append(roc_auc_score(label[known, c], score[known, c]))
            resampled.append([np.mean(areas), *areas])
    low, high = np.quantile(resampled, [0.05, 0.95], axis=0)
    assert list(intervals) == ["macro_auc", "auc_Edema", "auc_Mass", "auc_Nodule"]
    np.testing.assert_allclose([interval.ci_low for interval in intervals.values()], low)
    np.testing.assert_allclose([interval.ci_high for interval in intervals.values()], high)
    np.testing.assert_allclose([intervals[f"auc_{name}"].value for name in NAMES], roc_auc(score, label))


def test_same_seed_same_interval():
    score, label, patient = films()
    first, again, other = (bootstrap_auc(score, label, patient, resamples=50, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first["macro_auc"].value == other["macro_auc"].value
    assert first["macro_auc"].ci_low != other["macro_auc"].ci_low


def test_paired_difference_of_two_models():
    score, label, patient = films()
    worse = score + np.random.default_rng(5).normal(size=score.shape) * 0.5
    difference = compare_auc(score, worse, label, patient, NAMES, resamples=200)
    ours, theirs = (bootstrap_auc(each, label, patient, NAMES, resamples=200) for each in (score, worse))
    for name, interval in difference.items():
        assert interval.value == pytest.approx(ours[name].value - theirs[name].value)
        assert interval.ci_low < interval.value < interval.ci_high
    # Pairing takes out what the films have in common.
    paired = difference["macro_auc"].ci_high - difference["macro_auc"].ci_low
    assert paired < ours["macro_auc"].ci_high - ours["macro_auc"].ci_low
    equal = compare_auc(score, score, label, patient, resamples=20)["macro_auc"]
    assert (equal.value, equal.ci_low, equal.ci_high) == (0, 0, 0)


def test_rare_class_says_how_many_resamples_it_had(caplog):
    score, label, patient = films(count=80)
    patient = np.arange(80)
    label[:, 0] = 0
    label[7, 0] = 1
    intervals = bootstrap_auc(score, label, patient, NAMES, resamples=200)
    assert 80 < intervals["auc_Edema"].resamples < 170  # 1 - 1 / e of 200 are expected
    assert intervals["macro_auc"].resamples == 200
    assert "auc_Edema" in caplog.text


def test_entries_of_the_metrics_file():
    score, label, patient = films()
    flat = flat_metrics(bootstrap_auc(score, label, patient, NAMES, resamples=20))
    assert {"macro_auc", "macro_auc_ci_low", "macro_auc_ci_high", "auc_Mass", "auc_Mass_ci_low"} <= set(flat)
    assert len(flat) == 12
    assert all(isinstance(value, float) for value in flat.values())


def test_interval_covers_the_truth_as_often_as_it_says():
    """Simulation: films of a patient are nearly the same, and the true AUC is known."""
    generator, covered, trials = np.random.default_rng(0), 0, 120
    truth = 0.760249938906523  # Phi(1 / sqrt 2) of two normals of unit variance, means 0 and 1
    for trial in range(trials):
        sick = np.repeat(generator.random(80) < 0.5, 3)
        patient = np.repeat(np.arange(80), 3)
        own, film = np.repeat(generator.normal(size=80), 3), generator.normal(size=240)
        score = sick + np.sqrt(0.9) * own + np.sqrt(0.1) * film
        interval = bootstrap_auc(score[:, None], sick[:, None].astype(float), patient, resamples=200, seed=trial)[
            "auc_0"
        ]
        covered += interval.ci_low <= truth <= interval.ci_high
    assert 0.88 <= covered / trials <= 1.0


@pytest.mark.parametrize(
    ("score", "label", "message"),
    [
        (np.zeros((4, 2)), np.zeros((4, 3)), r"scores \(4, 2\) and labels \(4, 3\)"),
        (np.zeros(4), np.zeros(4), r"scores \(4,\)"),
        (np.zeros((4, 2)), np.array([0, 1, 2, 0]), "label of film 2 is 2"),
        (np.zeros((4, 2)), np.full((4, 2), -1.0), "A label is -1"),
        (np.array([[0.0], [np.nan]]), np.zeros((2, 1)), "scores of film 1"),
    ],
)
def test_input_that_does_not_fit(score, label, message):
    with pytest.raises(DatalistError, match=message):
        roc_auc(score, label)


def test_names_and_patients_that_do_not_fit():
    score, label, patient = films()
    with pytest.raises(DatalistError, match="2 class names"):
        bootstrap_auc(score, label, patient, NAMES[:2])
    with pytest.raises(DatalistError, match="patient ids do not belong"):
        bootstrap_auc(score, label, patient[1:])
    with pytest.raises(DatalistError, match=r"scores \(300, 2\) and labels \(300, 3\)"):
        compare_auc(score, score[:, :2], label, patient)
