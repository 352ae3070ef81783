# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, jaccard_score

from monai_cxrssl.errors import ConfigurationError, DatalistError
from monai_cxrssl.metrics import ResamplingPlan, bootstrap_mean, overlap_per_image


@pytest.mark.parametrize(("metric", "reference"), [("dice", f1_score), ("iou", jaccard_score)])
@pytest.mark.parametrize("kind", [torch.bool, torch.uint8, torch.float32])
def test_equals_scikit_learn(metric, reference, kind):
    generator = torch.Generator().manual_seed(0)
    prediction, mask = (torch.rand(4, 2, 9, 7, generator=generator) < 0.4 for _ in range(2))
    figures = overlap_per_image(prediction.to(kind), mask.to(kind), metric)
    assert figures.shape == (4, 2)
    for film in range(4):
        for channel in range(2):
            expected = reference(mask[film, channel].flatten(), prediction[film, channel].flatten())
            assert figures[film, channel].item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("metric", ["dice", "iou"])
def test_empty_masks(metric):
    nothing, something = torch.zeros(1, 1, 4, 4), torch.eye(4)[None, None]
    assert overlap_per_image(nothing, nothing, metric).item() == 1
    assert overlap_per_image(nothing, nothing, metric, empty=float("nan")).isnan().all()
    assert overlap_per_image(nothing, something, metric).item() == 0
    assert overlap_per_image(something, nothing, metric).item() == 0


def test_interval_over_patients_leaves_empty_films_out():
    mask = torch.stack([torch.eye(4), torch.eye(4), torch.zeros(4, 4), torch.ones(4, 4)])[:, None]
    prediction = torch.stack([torch.eye(4), torch.ones(4, 4), torch.zeros(4, 4), torch.ones(4, 4)])[:, None]
    dice = overlap_per_image(prediction, mask, empty=float("nan"))[:, 0]
    interval = bootstrap_mean(dice, ["a", "b", "c", "c"], plan=ResamplingPlan(50))
    assert interval.value == pytest.approx(np.mean([1, 0.4, 1]))
    assert 0.4 <= interval.ci_low <= interval.value <= interval.ci_high <= 1


def test_input_that_does_not_fit():
    with pytest.raises(DatalistError, match=r"\(1, 1, 4, 4\).*\(1, 1, 4, 5\)"):
        overlap_per_image(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 5))
    with pytest.raises(ConfigurationError, match="'jaccard'"):
        overlap_per_image(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4), "jaccard")
