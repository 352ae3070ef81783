# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The regression of probes and pixels against scikit-learn's; how its penalty is chosen, and that no test image takes part."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from monai_cxrssl.label_efficiency import LabelledFeatures, fit_logistic
from monai_cxrssl.label_efficiency.logistic import STRENGTHS


def films(count=120, seed=0, task="multi_class"):
    """Two images per patient; the first of 30 features tell the class, with much noise."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) // 2 % 3
    features = generator.normal(size=(count, 30))
    features[:, :3] += 0.8 * np.eye(3)[labels]
    if task == "multi_label":
        labels = np.eye(3, dtype=np.float32)[labels]
        labels[::5, 1] = np.nan
    return LabelledFeatures(features, labels, np.arange(count) // 2)


def regression(strength):
    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000, class_weight="balanced"))


def test_penalty_of_the_best_validation_auc():
    training, validation, test = films(), films(60, 1), films(90, 2)
    areas = []
    for strength in STRENGTHS:
        model = regression(strength).fit(training.features, training.labels)
        areas.append(roc_auc_score(validation.labels, model.predict_proba(validation.features), multi_class="ovr"))
    model = fit_logistic(training, 3, validation)
    assert (model.strength, model.chosen_on) == (STRENGTHS[int(np.argmax(areas))], "validation")
    best = regression(model.strength).fit(training.features, training.labels)
    np.testing.assert_allclose(model(test.features), best.predict_proba(test.features), atol=1e-6)


def test_without_validation_by_folds_of_patients():
    training = films()
    areas = []
    for strength in STRENGTHS:
        scores = np.zeros((120, 3))
        for kept, left in GroupKFold(5).split(training.features, groups=training.patients):
            assert not set(training.patients[kept]) & set(training.patients[left])
            scores[left] = (
                regression(strength)
                .fit(training.features[kept], training.labels[kept])
                .predict_proba(training.features[left])
            )
        areas.append(roc_auc_score(training.labels, scores, multi_class="ovr"))
    one_class = LabelledFeatures(np.zeros((2, 30)), np.zeros(2, dtype=int), np.arange(2))
    for validation in (None, one_class):
        model = fit_logistic(training, 3, validation)
        assert (model.strength, model.chosen_on) == (STRENGTHS[int(np.argmax(areas))], "training patients")


def test_findings_each_for_itself_with_unknown_labels():
    training, test = films(task="multi_label"), films(90, 2)
    model = fit_logistic(training, 3, films(60, 1, "multi_label"))
    for column in range(3):
        known = ~np.isnan(training.labels[:, column])
        one = regression(model.strength).fit(training.features[known], training.labels[known, column])
        np.testing.assert_allclose(model(test.features)[:, column], one.predict_proba(test.features)[:, 1], atol=1e-6)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [([1, 1], [0, 1, 0]), ([-1, 2], [0, 0, 1]), ([-1, -1], [0, 0, 0]),
     (np.array([[1, 0, np.nan]] * 2, dtype=np.float32), [1, 0, 0])],
)  # fmt: skip
def test_films_that_tell_nothing_apart(labels, expected):
    features = np.random.default_rng(0).normal(size=(2, 4))
    model = fit_logistic(LabelledFeatures(features, np.array(labels), np.arange(2)), 3)
    assert (model.strength, model.chosen_on) == (STRENGTHS[0], "nothing")
    np.testing.assert_array_equal(model(features), [expected] * 2)
