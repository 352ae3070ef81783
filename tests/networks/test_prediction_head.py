# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""PredictionHead against float64 formulas, and that it refuses outputs of another network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import expit

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.networks import PredictionHead

LOGITS = torch.tensor([1.5, -0.5, 0.25])
CLASSES = ["a", "b", "c"]


@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("task", ["multi_class", "multi_label"])
def test_probabilities(task, temperature):
    exact = LOGITS.numpy().astype(np.float64) / temperature
    expected = np.exp(exact) / np.exp(exact).sum() if task == "multi_class" else 1 / (1 + np.exp(-exact))
    head = PredictionHead(task, CLASSES, temperature)
    found = head.predict({"label": LOGITS, "mask": torch.zeros(1, 4, 4)})
    np.testing.assert_allclose(found["label"], expected, rtol=1e-12)
    assert found["mask"].tolist() == torch.full((1, 4, 4), 0.5).tolist()
    batch = head({"label": LOGITS[None], "mask": torch.zeros(1, 1, 4, 4)})
    assert {name: value.dtype for name, value in batch.items()} == dict.fromkeys(("label", "mask"), torch.float32)
    np.testing.assert_allclose(batch["label"][0], expected, rtol=1e-6)


def test_decisions_need_a_threshold_and_a_probability():
    head = PredictionHead("multi_label", CLASSES, thresholds={"c": 0.25, "a": 0.5, "b": None})
    assert head.thresholds == {"c": 0.25, "a": 0.5}
    decisions = head.decide(torch.tensor([[0.5, 0.9, 0.2], [0.4, 0.9, torch.nan]], dtype=torch.float64))
    np.testing.assert_array_equal(decisions, [[1, np.nan, 0], [0, np.nan, np.nan]])


@pytest.mark.parametrize("threshold", [0.0, 0.2, 0.5, 0.9])
def test_a_mask_is_where_the_probability_is_above_its_threshold(threshold):
    logits = torch.linspace(-6, 6, 101, dtype=torch.float64)
    marked = PredictionHead(mask_threshold=threshold).mark(logits)
    np.testing.assert_array_equal(marked, expit(logits.numpy()) > threshold)


@pytest.mark.parametrize(
    ("options", "prediction", "words"),
    [
        ({"task": "other"}, None, "multi_label"),
        ({"temperature": 0.0}, None, "above 0"),
        ({"mask_threshold": 1.0}, None, "mask_threshold is 1.0"),
        ({"classes": ["a"], "thresholds": {"z": 0.5}}, None, "threshold of 'z'; the classes are a"),
        ({"classes": ["a"], "thresholds": {"a": 1.5}}, None, "threshold of a is 1.5"),
        ({"classes": ["a"]}, {"label": LOGITS}, "3 values"),
        ({"classes": ["a"]}, {"mask": torch.zeros(1, 4, 4)}, "0 values per image for 1 classes"),
        ({}, {"mask": torch.zeros(2, 4, 4)}, "2 masks"),
    ],
)
def test_refusals(options, prediction, words):
    with pytest.raises(ConfigurationError, match=words):
        PredictionHead(**options).predict(prediction)


def test_a_bare_output_is_of_the_classes_or_of_the_mask():
    logits = torch.randn(2, 3)
    head = PredictionHead("multi_label", CLASSES)
    assert torch.equal(head.predict(logits)["label"], head.predict({"label": logits})["label"])
    mask = torch.randn(2, 1, 4, 4)
    assert torch.equal(PredictionHead()(mask)["mask"], mask.sigmoid())
