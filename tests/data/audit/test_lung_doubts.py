# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""What speaks against a predicted lung mask."""

from __future__ import annotations

import numpy as np
import pytest

from monai_cxrssl.data.audit.lung_doubts import expected_dice, lung_doubts


def lungs(*boxes: tuple[int, int, int, int], sure: float = 1.0) -> np.ndarray:
    probability = np.full((100, 100), 1 - sure, np.float32)
    for top, bottom, left, right in boxes:
        probability[top:bottom, left:right] = sure
    return probability


LEFT, RIGHT = (20, 80, 15, 42), (20, 80, 58, 85)


@pytest.mark.parametrize(
    ("probability", "doubts"),
    [
        (lungs(LEFT, RIGHT), []),
        (lungs((20, 80, 15, 85)), []),  # they touch
        (lungs(LEFT), ["one lung alone"]),
        (lungs(LEFT, RIGHT, (85, 99, 20, 80)), ["lungs in 3 parts"]),
        (lungs((50, 52, 50, 52)), ["no lungs found"]),
        (lungs((40, 60, 40, 55)), ["lungs cover 3% of the image"]),
        (lungs((2, 98, 2, 98)), ["lungs cover 92% of the image"]),
        (lungs(LEFT, RIGHT, sure=0.75), ["outline of the lungs unsure (expected Dice 0.66)"]),
    ],
)
def test_doubts(probability, doubts):
    assert lung_doubts(probability) == doubts


def test_expected_dice_is_the_mean_over_draws():
    """Of pixels drawn as they are likely, against the mask above 0.5: a ratio of sums, so the mean of many pixels."""
    random = np.random.default_rng(0)
    probability = random.random((300, 300)) ** 2
    truth = random.random(probability.shape) < probability
    marked = probability > 0.5
    assert expected_dice(probability) == pytest.approx(
        2 * (truth & marked).sum() / (truth.sum() + marked.sum()), abs=0.01
    )
    assert expected_dice(np.zeros((4, 4))) == 0
