# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch

from monai_cxrssl.errors import DatalistError
from monai_cxrssl.metrics.surface_distance import segmentation_figures, segmentation_measures


def contour(mask: np.ndarray) -> np.ndarray:
    """Coordinates of the pixels with a 4-neighbour outside of the mask, found one by one."""
    rows, columns = mask.shape
    found = []
    for y, x in np.argwhere(mask):
        around = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
        if any(not (0 <= a < rows and 0 <= b < columns) or not mask[a, b] for a, b in around):
            found.append((y, x))
    return np.array(found, dtype=np.float64)


def brute_force(prediction: np.ndarray, mask: np.ndarray, spacing: tuple[float, float]) -> tuple[float, float]:
    """HD95 and mean surface distance from all pairs of contour pixels, float64."""
    a, b = contour(prediction) * spacing, contour(mask) * spacing
    distances = np.sqrt(((a[:, None] - b[None]) ** 2).sum(axis=2))
    there, back = distances.min(axis=1), distances.min(axis=0)
    return max(np.percentile(there, 95), np.percentile(back, 95)), np.concatenate([there, back]).mean()


def ellipse(shape: tuple[int, int], centre: tuple[float, float], radii: tuple[float, float]) -> np.ndarray:
    y, x = np.mgrid[: shape[0], : shape[1]]
    return ((y - centre[0]) / radii[0]) ** 2 + ((x - centre[1]) / radii[1]) ** 2 <= 1


CASES = {
    "shifted": (ellipse((40, 64), (20, 30), (12, 8)), ellipse((40, 64), (18, 35), (12, 8))),
    "disjoint": (ellipse((40, 64), (10, 10), (5, 5)), ellipse((40, 64), (28, 50), (8, 6))),
    "at the border": (ellipse((40, 64), (0, 0), (12, 20)), ellipse((40, 64), (2, 0), (14, 15))),
    "whole image": (np.ones((33, 21), dtype=bool), ellipse((33, 21), (16, 10), (9, 6))),
    "one pixel each": (ellipse((20, 50), (3, 4), (0.1, 0.1)), ellipse((20, 50), (15, 40), (0.1, 0.1))),
    "two lungs, one missed": (
        ellipse((48, 48), (24, 12), (15, 7)),
        ellipse((48, 48), (24, 12), (15, 7)) | ellipse((48, 48), (24, 36), (15, 7)),
    ),
    "a hole": (
        ellipse((48, 40), (24, 20), (15, 12)) & ~ellipse((48, 40), (24, 20), (4, 4)),
        ellipse((48, 40), (24, 20), (15, 12)),
    ),
    "noise": tuple(np.random.default_rng(0).random((2, 30, 45)) < 0.2),
}


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.143, 0.143), (2.0, 0.5), (0.3, 1.7)])
@pytest.mark.parametrize("case", list(CASES))
def test_distances_equal_all_pairs(case, spacing):
    prediction, mask = CASES[case]
    figures = segmentation_figures(prediction, mask, spacing)
    hd95, mean = brute_force(prediction, mask, spacing)
    assert figures.hd95 == pytest.approx(hd95, rel=1e-6)
    assert figures.surface_distance == pytest.approx(mean, rel=1e-6)
    assert figures.area_ratio == pytest.approx(prediction.sum() / mask.sum(), rel=1e-12)
    assert figures.dice == pytest.approx(2 * (prediction & mask).sum() / (prediction.sum() + mask.sum()), rel=1e-12)
    assert figures.iou == pytest.approx((prediction & mask).sum() / (prediction | mask).sum(), rel=1e-12)
    assert (figures.unit, figures.problem) == ("mm", "")
    # The other way round, all but the ratio of areas is the same.
    swapped = segmentation_figures(mask, prediction, spacing)
    assert (swapped.hd95, swapped.dice) == (figures.hd95, figures.dice)
    assert swapped.area_ratio == pytest.approx(1 / figures.area_ratio)


def test_same_masks():
    mask = CASES["shifted"][0]
    figures = segmentation_figures(mask, mask)
    assert (figures.dice, figures.iou, figures.hd95, figures.surface_distance, figures.area_ratio) == (1, 1, 0, 0, 1)
    assert figures.unit == "pixel"


@pytest.mark.parametrize(
    ("found", "true", "dice", "ratio", "words"),
    [
        (False, True, 0.0, 0.0, "the prediction is empty"),
        (True, False, 0.0, math.nan, "the true mask is empty"),
        (False, False, 1.0, math.nan, "both masks are empty"),
    ],
)
def test_empty_masks(found, true, dice, ratio, words):
    square = np.zeros((9, 12), dtype=np.uint8)
    square[2:5, 3:8] = 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figures = segmentation_figures(square * found, square * true, (0.5, 0.5))
    assert (figures.dice, figures.iou) == (dice, dice)
    assert math.isnan(figures.hd95)
    assert math.isnan(figures.surface_distance)
    assert figures.area_ratio == pytest.approx(ratio, nan_ok=True)
    assert words in figures.problem


@pytest.mark.parametrize("kind", [torch.bool, torch.uint8, torch.float32])
def test_takes_tensors_with_a_channel(kind):
    prediction, mask = CASES["shifted"]
    expected = segmentation_figures(prediction, mask)
    given = segmentation_figures(torch.from_numpy(prediction)[None].to(kind), torch.from_numpy(mask)[None].to(kind))
    assert given == expected


@pytest.mark.parametrize(
    ("spacing", "unit", "expected"),
    [(None, None, "pixel"), ((math.nan, math.nan), None, "pixel"), ((2, 2), None, "mm"), ((2, 2), "pixel", "pixel")],
)
def test_says_its_unit(spacing, unit, expected):
    assert segmentation_figures(*CASES["shifted"], spacing, unit).unit == expected


@pytest.mark.parametrize(
    ("prediction", "mask", "spacing", "unit", "words"),
    [
        (np.ones((4, 4)), np.ones((4, 5)), None, None, "one grid"),
        (np.ones((2, 4, 4)), np.ones((2, 4, 4)), None, None, "expected \\(H, W\\)"),
        (np.full((4, 4), np.nan), np.ones((4, 4)), None, None, "holds NaN"),
        (np.ones((4, 4)), np.ones((4, 4)), (0, 1), None, "two positive numbers"),
        (np.ones((4, 4)), np.ones((4, 4)), (1, math.nan), None, "two positive numbers"),
        (np.ones((4, 4)), np.ones((4, 4)), None, "mm", "together with a spacing"),
    ],
)
def test_refuses(prediction, mask, spacing, unit, words):
    with pytest.raises(DatalistError, match=words):
        segmentation_figures(prediction, mask, spacing, unit)


def test_columns_keep_mm_and_pixels_apart():
    prediction, mask = CASES["shifted"]
    rows = [segmentation_figures(prediction, mask, (0.5, 0.5)), None, segmentation_figures(prediction, mask)]
    columns = segmentation_measures(rows)
    assert columns["dice"] == pytest.approx([rows[0].dice, np.nan, rows[0].dice], nan_ok=True)
    assert columns["hd95_mm"] == pytest.approx([rows[0].hd95, np.nan, np.nan], nan_ok=True)
    assert columns["hd95_pixel"] == pytest.approx([np.nan, np.nan, 2 * rows[0].hd95], nan_ok=True)
    assert columns["surface_distance_pixel"] == pytest.approx([np.nan, np.nan, rows[2].surface_distance], nan_ok=True)
    assert all(column.dtype == np.float64 for column in columns.values())
