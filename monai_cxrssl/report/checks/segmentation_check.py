# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Surface distances of predicted masks in mm or pixels."""

from __future__ import annotations

import dataclasses
import math
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from monai_cxrssl.cores import usable_cores
from monai_cxrssl.data.reading.read import read_film
from monai_cxrssl.data.reading.spacing import film_spacing, grid_spacing
from monai_cxrssl.errors import CXRReadError
from monai_cxrssl.metrics.surface_distance import SegmentationFigures, segmentation_figures
from monai_cxrssl.report.checks.checked_images import CheckedImages
from monai_cxrssl.report.plots.segmentation import SegmentationCase, choose_segmentation_cases, draw_segmentation_figure

__all__ = ["check_segmentation", "draw_segmentations"]

# Enough to tell the rows and columns of an image, which some formats say only when decoded.
_THUMBNAIL = 64


def check_segmentation(drawn: np.ndarray, checked: CheckedImages) -> list[SegmentationFigures | None]:
    """Compare the masks ``(N, H, W)`` that a network drew on the grid of its images with the true ones.

    Returns:
        Figures of each image, ``None`` where it has no true mask. Distances are NaN, and ``problem`` says why, where
        the image can no longer be read, so that neither its spacing nor its size is known.
    """
    masked = [place for place in range(len(checked)) if checked.dataset.has_mask[checked.positions[place]]]
    figures: list[SegmentationFigures | None] = [None] * len(checked)
    # Reading headers waits for the disk; distances leave the interpreter's lock as well.
    with ThreadPoolExecutor(usable_cores(), thread_name_prefix="distances") as pool:
        found = pool.map(lambda place: _figures(drawn[place], checked, place), masked)
        bar = tqdm(masked, desc="distances", unit="image", disable=not checked.progress or not masked)
        for place, row in zip(bar, found, strict=True):
            figures[place] = row
    return figures


def _figures(drawn: np.ndarray, checked: CheckedImages, place: int) -> SegmentationFigures:
    mask = checked.sample(place)["mask"]
    path = checked.items[place]["image"]
    mode = checked.dataset.transform.mode
    try:
        spacing = film_spacing(path)
        shape = read_film(path, max_side=_THUMBNAIL).shape
    except CXRReadError as error:
        figures = segmentation_figures(drawn, mask)
        problem = f"the size of the image is not known, since {error.cause or error}"
        return dataclasses.replace(figures, hd95=math.nan, surface_distance=math.nan, problem=problem)
    unit = "pixel" if spacing is None else "mm"
    return segmentation_figures(drawn, mask, grid_spacing(shape, drawn.shape, mode, spacing), unit)


def draw_segmentations(
    drawn: np.ndarray, checked: CheckedImages, figures: list[SegmentationFigures | None], path: str | os.PathLike
) -> Path | None:
    """Draw the worst images and those around the median; ``None`` where no image has a true mask."""

    def case(place: int) -> SegmentationCase:
        sample, row = checked.sample(place), figures[place]
        assert row is not None
        return SegmentationCase(sample["image"][0].numpy(), drawn[place], sample["mask"][0].numpy(), row)

    dice, hd95 = (
        np.array([math.nan if row is None else getattr(row, name) for row in figures]) for name in ("dice", "hd95")
    )
    worst, median = choose_segmentation_cases(dice, hd95)
    if not len(worst):
        return None
    draw_segmentation_figure([case(place) for place in worst], [case(place) for place in median], path)
    return Path(path)
