# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn.metrics import log_loss

from monai_cxrssl.errors import ConfigurationError, DatalistError
from monai_cxrssl.metrics import apply_temperature, fit_temperature, negative_log_likelihood, roc_auc


def films(task: str, temperature: float, count: int = 6000):
    """Labels drawn from calibrated probabilities, which a model then shows sharpened by the temperature."""
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(count, 4)) * 1.5
    if task == "multi_class":
        true = softmax(logits, axis=1)
        label = (true.cumsum(axis=1) < generator.random((count, 1))).sum(axis=1).clip(0, 3)
        label[:50] = -1
        return softmax(logits * temperature, axis=1), label, true
    label = (generator.random((count, 4)) < expit(logits)).astype(float)
    label[generator.random((count, 4)) < 0.1] = np.nan
    return expit(logits * temperature), label, expit(logits)


TASKS = pytest.mark.parametrize("task", ["multi_class", "multi_label"])


@TASKS
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_planted_temperature_is_found(task, temperature):
    score, label, true = films(task, temperature)
    found = fit_temperature(score, label, task)
    assert found == pytest.approx(temperature, rel=0.05)
    after = apply_temperature(score, found, task)
    assert negative_log_likelihood(after, label, task) <= negative_log_likelihood(score, label, task)
    np.testing.assert_allclose(apply_temperature(score, temperature, task), true, atol=1e-9)
    np.testing.assert_allclose(roc_auc(after, label), roc_auc(true, label), atol=1e-3)


@TASKS
@pytest.mark.parametrize("seed", range(8))
def test_never_worse_on_the_films_of_the_fit(task, seed):
    generator = np.random.default_rng(seed)
    score = generator.dirichlet([0.3] * 3, size=7)
    label = generator.integers(0, 3, size=7) if task == "multi_class" else generator.integers(0, 2, size=(7, 3)) * 1.0
    after = apply_temperature(score, fit_temperature(score, label, task), task)
    assert negative_log_likelihood(after, label, task) <= negative_log_likelihood(score, label, task) + 1e-9


def test_order_of_films_stays():
    score, label, _ = films("multi_label", 2.5)
    np.testing.assert_array_equal(roc_auc(apply_temperature(score, 1.7, "multi_label"), label), roc_auc(score, label))
    score, _, _ = films("multi_class", 2.5)
    scaled = apply_temperature(score, 1.7, "multi_class")
    np.testing.assert_array_equal(scaled.argmax(axis=1), score.argmax(axis=1))


def test_likelihood_equals_scikit_learn():
    score, label, _ = films("multi_class", 1.0, 300)
    known = label >= 0
    assert negative_log_likelihood(score, label, "multi_class") == pytest.approx(log_loss(label[known], score[known]))
    score, label, _ = films("multi_label", 1.0, 300)
    known = ~np.isnan(label)
    assert negative_log_likelihood(score, label, "multi_label") == pytest.approx(log_loss(label[known], score[known]))


@TASKS
def test_certain_probabilities_stay_finite(task):
    score = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    label = np.array([0, 1, 1]) if task == "multi_class" else np.array([[1, 0], [0, 1], [0, 1.0]])
    temperature = fit_temperature(score, label, task)
    assert temperature == pytest.approx(20)  # one of three certain answers is wrong
    assert np.isfinite(apply_temperature(score, temperature, task)).all()


@TASKS
def test_separated_films_end_at_the_lowest(task, caplog):
    score = np.array([[0.9, 0.1], [0.2, 0.8]])
    label = np.array([0, 1]) if task == "multi_class" else np.array([[1, 0], [0, 1.0]])
    assert fit_temperature(score, label, task) == 0.05
    assert "separated perfectly" in caplog.text


@pytest.mark.parametrize(
    ("score", "label", "reason"),
    [
        ([[0.2, 0.8], [0.3, 0.7]], [-1, -1], "no image has a known label"),
        ([[0.2, 0.8], [0.3, 0.7]], [1, 1], "all known labels are the same"),
        ([[0.2, 0.8], [0.2, 0.8]], [0, 1], "all scores are the same"),
        ([[0.2, 0.8], [np.nan, 0.7]], [0, 1], "not finite"),
    ],
)
def test_no_temperature_says_why(score, label, reason, caplog):
    assert np.isnan(fit_temperature(score, label, "multi_class"))
    assert reason in caplog.text


def test_input_that_cannot_work():
    with pytest.raises(ConfigurationError, match="task is 'both'"):
        fit_temperature([[0.5]], [0], "both")
    with pytest.raises(ConfigurationError, match="temperature is nan"):
        apply_temperature([[0.5]], float("nan"), "multi_label")
    with pytest.raises(DatalistError, match="each in 0 to 1"):
        apply_temperature([[1.5]], 1.0, "multi_label")
    with pytest.raises(DatalistError, match="labels are"):
        fit_temperature([[0.5, 0.5]], [0], "multi_label")
    with pytest.raises(DatalistError, match="A label is 2"):
        fit_temperature([[0.5, 0.5]], [2], "multi_class")
