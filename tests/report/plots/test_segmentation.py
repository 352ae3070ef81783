# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import cv2
import numpy as np
import pytest

from monai_cxrssl.errors import DatalistError
from monai_cxrssl.metrics.surface_distance import segmentation_figures
from monai_cxrssl.report.plots.segmentation import SegmentationCase, choose_segmentation_cases, draw_segmentation_figure


@pytest.mark.parametrize(
    ("dice", "hd95", "counts", "worst", "median"),
    [
        ([0.9, 0.1, 0.5, 0.7, 0.3], None, (2, 1), [1, 4], [2]),
        ([0.9, 0.1, 0.5, 0.7, 0.3, 0.8, 0.6], None, (1, 3), [1], [2, 6, 3]),
        # NaN is left out; of one Dice, the larger distance first, and no distance before any.
        ([np.nan, 0.5, 0.5, 0.5, 0.9], [1, 2, 3, np.nan, 1], (3, 0), [3, 2, 1], []),
        ([0.2, 0.4], None, (4, 4), [0, 1], []),
        ([0.2, 0.4, 0.3], None, (1, 4), [0], [2, 1]),
        ([np.nan, np.nan], None, (4, 4), [], []),
        ([], None, (4, 4), [], []),
    ],
)
def test_choice(dice, hd95, counts, worst, median):
    found = choose_segmentation_cases(dice, hd95, *counts)
    assert [part.tolist() for part in found] == [worst, median]


def test_choice_refuses_lists_of_two_lengths():
    with pytest.raises(DatalistError, match="2 Dice and 3 distances"):
        choose_segmentation_cases([0.1, 0.2], [1, 2, 3])


def case(shape=(60, 90), dilate=0, empty=False, spacing=None):
    mask = np.zeros(shape, dtype=np.uint8)
    mask[10:40, 20:35] = mask[10:40, 50:65] = 1
    prediction = cv2.dilate(mask, np.ones((3, 3), np.uint8), iterations=dilate) * (not empty)
    figures = segmentation_figures(prediction, mask, spacing)
    return SegmentationCase(np.linspace(0, 1, mask.size).reshape(shape), prediction, mask, figures, "film")


@pytest.mark.parametrize(("worst", "typical"), [(1, 0), (2, 3), (5, 1), (0, 2)])
def test_draws_every_case_once(tmp_path, worst, typical):
    cases = [case(dilate=2, spacing=(0.5, 0.5))] * worst, [case(dilate=1)] * typical
    figure = draw_segmentation_figure(*cases, path=tmp_path / "new" / "figure.png")
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    units = [case.figures.unit for group in cases for case in group]
    assert ["px" if "px" in title else "mm" for title in titles] == ["px" if u == "pixel" else u for u in units]
    assert all(
        f"Dice {c.figures.dice:.3f}, HD95 {c.figures.hd95:.1f} " in t
        for c, t in zip([*cases[0], *cases[1]], titles, strict=True)
    )
    picture = cv2.imread(str(tmp_path / "new" / "figure.png"))
    assert picture.std() > 5
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["figure.png"]
    # Both colours of the contours are there.
    for rgb in ((0x3F, 0xC1, 0xFF), (0xFF, 0x8C, 0x1A)):
        assert (np.abs(picture[..., ::-1].astype(int) - rgb).max(axis=2) < 12).sum() > 200


def test_nan_is_never_shown():
    figure = draw_segmentation_figure([case(empty=True)])
    (title,) = (axes.get_title() for axes in figure.axes)
    assert title == "film\nDice 0.000, the prediction is empty"


def test_draws_one_pixel_and_a_mask_at_the_border(tmp_path):
    mask = np.zeros((30, 30), dtype=bool)
    mask[0, 0] = True
    whole = np.ones((30, 30), dtype=bool)
    shown = SegmentationCase(np.zeros((30, 30)), mask, whole, segmentation_figures(mask, whole), "", (2.0, 0.5))
    draw_segmentation_figure([shown], path=tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 1000


def test_refuses_nothing_and_masks_of_another_shape():
    with pytest.raises(DatalistError, match="no image"):
        draw_segmentation_figure([], [])
    good = case()
    bad = SegmentationCase(good.image[:-1], good.prediction, good.mask, good.figures)
    with pytest.raises(DatalistError, match="expected \\(H, W\\) three times"):
        draw_segmentation_figure([bad])
