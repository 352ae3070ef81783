# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Doubts about a predicted lung mask."""

from __future__ import annotations

import cv2
import numpy as np

__all__ = ["expected_dice", "lung_doubts"]

#: Smaller parts, as shares of the mask, are specks.
_PART = 0.08
_LEAST_AREA, _MOST_AREA = 0.06, 0.75
_LEAST_DICE = 0.9
#: Two lungs are wider than this part of their height; one alone is narrower.
_ONE_LUNG = 0.65


def expected_dice(probability: np.ndarray) -> float:
    """Return the Dice coefficient that a mask of probabilities above 0.5 has if each pixel is as likely as it is said.

    Args:
        probability: ``(h, w)`` in [0, 1].

    Returns:
        ``2 * sum(p * m) / (sum(p) + sum(m))``; 0 of a mask that marks nothing.
    """
    marked = probability > 0.5
    return float(2 * probability[marked].sum() / max(float(probability.sum()) + float(marked.sum()), 1e-6))


def lung_doubts(probability: np.ndarray) -> list[str]:
    """Say in words what about the lungs that a network found speaks against a frontal image with whole lungs.

    Args:
        probability: ``(h, w)`` in [0, 1] on the grid of the image, without padding.

    Returns:
        Nothing where all is as in frontal images; else ``"no lungs found"``, ``"one lung alone"`` and their like.
    """
    marked = (probability > 0.5).astype(np.uint8)
    share = float(marked.mean())
    if share < _LEAST_AREA:
        return ["no lungs found" if share < _LEAST_AREA / 6 else f"lungs cover {share:.0%} of the image"]
    doubts = [] if share <= _MOST_AREA else [f"lungs cover {share:.0%} of the image"]
    dice = expected_dice(probability)
    if dice < _LEAST_DICE:
        doubts.append(f"outline of the lungs unsure (expected Dice {dice:.2f})")
    count, _, statistics, _ = cv2.connectedComponentsWithStats(marked)
    parts = statistics[1:][statistics[1:, cv2.CC_STAT_AREA] > _PART * marked.sum()]
    if count > 1 and len(parts) == 1:
        width, height = int(parts[0][cv2.CC_STAT_WIDTH]), int(parts[0][cv2.CC_STAT_HEIGHT])
        if width < _ONE_LUNG * height:
            doubts.append("one lung alone")
    if len(parts) > 2:
        doubts.append(f"lungs in {len(parts)} parts")
    return doubts
