# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from monai_cxrssl.engines import MultiTaskPredictor
from monai_cxrssl.errors import ConfigurationError
from tests.engines.small_multi_task import SmallMultiTask, batches


class Multiple(SmallMultiTask):
    """One branch only, chosen by name."""

    def __init__(self, *names: str) -> None:
        super().__init__()
        self.names = names

    def forward(self, image):
        return {name: value for name, value in super().forward(image).items() if name in self.names}


def test_figures_equal_independent_ones():
    data, network = batches(3, seed=4), SmallMultiTask().train()
    network.encoder[1].running_mean[0] = 0.1
    evaluator = MultiTaskPredictor("cpu", data, network, classes=["a", "b", "c"], amp=False)
    evaluator.run(5)
    assert network.training
    network.eval()
    with torch.no_grad():
        outputs = [network(batch["image"]) for batch in data]
    scores = torch.cat([output["label"] for output in outputs]).double().softmax(1).numpy()
    labels = torch.cat([batch["label"] for batch in data]).numpy()
    known = labels >= 0
    areas = [roc_auc_score(labels[known] == column, scores[known, column]) for column in range(3)]
    metrics = evaluator.state.metrics
    assert [metrics[f"auc_{name}"] for name in "abc"] == pytest.approx(areas)
    assert metrics["macro_auc"] == pytest.approx(np.mean(areas))
    dices = []
    for batch, output in zip(data, outputs, strict=True):
        for logits, mask, has in zip(output["mask"], batch["mask"], batch["has_mask"], strict=True):
            drawn, mask = logits.numpy() > 0, mask.numpy() > 0
            dices.append(2 * (drawn & mask).sum() / (drawn.sum() + mask.sum()) if has else np.nan)
    np.testing.assert_allclose(evaluator.dice, dices, rtol=1e-6)
    assert metrics["dice"] == pytest.approx(np.nanmean(dices), rel=1e-6)
    np.testing.assert_allclose(evaluator.scores, scores, rtol=1e-4)
    np.testing.assert_array_equal(evaluator.labels, labels)
    assert evaluator.indices.tolist() == [100 * number + index for number in range(3) for index in range(6)]


def test_multi_label_with_unknown_values():
    data, network = batches(1), SmallMultiTask()
    data[0]["label"] = torch.tensor(
        [[1, 0, 0], [0, 1, float("nan")], [1, 0, 0], [0, 1, 0], [1, float("nan"), 0], [0, 0, 0]]
    )
    evaluator = MultiTaskPredictor("cpu", data, network, "multi_label", ["a", "b", "c"], amp=False)
    evaluator.run()
    logits = network.eval()(data[0]["image"])["label"].detach().numpy()
    known = [0, 1, 2, 3, 5]
    expected = [roc_auc_score([1, 0, 1, 0, 1, 0], logits[:, 0]), roc_auc_score([0, 1, 0, 1, 0], logits[known, 1])]
    assert [evaluator.state.metrics[f"auc_{name}"] for name in "ab"] == pytest.approx(expected)
    assert "auc_c" not in evaluator.state.metrics
    assert evaluator.state.metrics["macro_auc"] == pytest.approx(np.mean(expected))


def test_a_class_without_images_is_named_once(caplog):
    data = batches(2)
    for batch in data:
        batch["label"][batch["label"] == 1] = -1
    evaluator = MultiTaskPredictor("cpu", data, SmallMultiTask(), classes=["normal", "TB", "mass"], amp=False)
    with caplog.at_level(logging.WARNING):
        evaluator.run()
        evaluator.run()
    assert [record.message for record in caplog.records] == [
        "The evaluated split has no image with, or none without, TB: no AUC can be given for it, and the macro AUC is "
        "the mean over the other 2 classes."
    ]
    assert set(evaluator.state.metrics) == {"auc_normal", "auc_mass", "macro_auc", "dice", "score"}


@pytest.mark.parametrize(("branch", "expected"), [("label", "macro_auc"), ("mask", "dice")])
def test_one_branch(branch, expected):
    evaluator = MultiTaskPredictor("cpu", batches(1), Multiple(branch), classes=["a", "b", "c"], amp=False)
    evaluator.run()
    assert expected in evaluator.state.metrics
    assert len(evaluator.state.metrics) == (5 if branch == "label" else 2)


def test_two_empty_masks_agree():
    data, network = batches(1), SmallMultiTask()
    data[0]["mask"][:] = 0
    torch.nn.init.constant_(network.decoder.bias, -100.0)
    evaluator = MultiTaskPredictor("cpu", data, network, classes=["a", "b", "c"], amp=False)
    evaluator.run()
    assert evaluator.state.metrics["dice"] == 1


def test_a_network_that_diverged_has_no_auc(caplog):
    network = SmallMultiTask()
    torch.nn.init.constant_(network.label_head.bias, float("nan"))
    evaluator = MultiTaskPredictor("cpu", batches(2), network, classes=["a", "b", "c"], amp=False)
    with caplog.at_level(logging.WARNING):
        evaluator.run()
    assert np.isnan(evaluator.state.metrics["macro_auc"])
    assert np.isnan(evaluator.state.metrics["score"])
    assert 0 <= evaluator.state.metrics["dice"] <= 1
    assert "no finite scores for 12 of 12 images" in caplog.text


def test_an_unknown_task():
    with pytest.raises(ConfigurationError, match="task is 'ranking'"):
        MultiTaskPredictor("cpu", batches(1), SmallMultiTask(), "ranking")
